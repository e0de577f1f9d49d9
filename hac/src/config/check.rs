//! Judges what was read: the file as a whole, and policy.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use hearth_config::{ConfigError, Document, Location, Spanned};
use hearth_wire::{Scope, Suite};

use super::raw::{self, Root};
use super::subscribers::Rules;
use super::{
    Config, Realm, Sections, admin, auth, directory, eap_tls, home_agents, limits, mobile_networks,
    pools, radius, readers, realms, replica, services, subscriber_store, subscribers, tls,
};
use crate::policy::{HomeAgentChoice, Policy, ScopePolicy};

/// DNS servers at most; a response has room for no more than 65535 octets.
const MAX_DNS: usize = 32;

/// With one, a new SA would end the one that its mobile node still uses.
const MAX_SAS: RangeInclusive<u64> = 2..=Policy::MAX_SAS as u64;

/// Checks everything; `now` in unix seconds. Home agents are those of `running`, where it is given.
pub(super) fn config(
    file: &Document<Root>,
    now: u64,
    running: Option<&Realm>,
) -> Result<Config, ConfigError> {
    let root = &file.value;
    let mut seen = HashSet::new();
    for (index, listen) in root.listen.iter().enumerate() {
        if !seen.insert(listen.value) {
            let key = format!("listen[{index}]");
            return Err(file.error(listen.referenced, key, "stands twice; remove one"));
        }
    }
    if root.listen.is_empty() {
        return Err(file.error(start(), "listen", "is empty; name at least one ADDRESS:PORT"));
    }
    let policy = policy(file, &root.policy, "policy")?;
    let home_agents = match running {
        Some(running) => running.home_agents.clone(),
        None => home_agents::check(file)?,
    };
    pools::apart(file, &home_agents, &root.dns)?;
    let services = services::of_deployment(file)?;
    let mut auth = auth::check(file)?;
    auth.eap_tls = eap_tls::check(file, &auth, now)?;
    let bases = realms::check(file, &home_agents, &policy, services)?;
    let rules = Rules { agents: &home_agents, bases: &bases, auth: &auth };
    let subscribers = subscribers::check(file, &rules)?;
    if root.dns.len() > MAX_DNS {
        let message = format!("names {} servers; at most {MAX_DNS}", root.dns.len());
        return Err(file.error(start(), "dns", message));
    }
    let (mut dns_ip6, mut dns_ip4) = (Vec::new(), Vec::new());
    for server in &root.dns {
        match server {
            IpAddr::V6(server) => dns_ip6.push(*server),
            IpAddr::V4(server) => dns_ip4.push(*server),
        }
    }
    let replica = match running {
        Some(running) => running.replica,
        None => replica::check(file)?,
    };
    let mut realm =
        Realm { home_agents, subscribers, policy, bases, auth, replica, dns_ip6, dns_ip4 };
    mobile_networks::check(file, &realm)?;
    let limits = limits::check(file)?;
    let radius = radius::check(file, &realm.auth, limits.session_timeout)?;
    if running.is_none() {
        replica::part(file, &mut realm)?;
    }
    let sections = hearth_config::load::<Sections>(file.path())?.value;
    let sections = sections.with_files(|path| file.resolve(path));
    Ok(Config {
        path: file.path().to_owned(),
        warnings: readers::warnings(file, &sections),
        sections,
        listen: root.listen.iter().map(|listen| listen.value).collect(),
        tls: tls::check(file, now)?,
        directory: directory::check(file)?,
        realm: Arc::new(realm),
        limits,
        radius,
        admin: admin::check(file),
        metrics: root.metrics.listen,
        sources: subscriber_store::check(file)?,
    })
}

/// A place without a line: the error is about something that is not there.
pub(super) fn start() -> Location {
    Location::UNKNOWN
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{} can't be read: {error}", path.display())
}

/// The policy of the deployment.
fn policy(file: &Document<Root>, raw: &raw::Policy, key: &str) -> Result<Policy, ConfigError> {
    let default = Policy {
        suites: Policy::DEFAULT_SUITES.to_vec(),
        scope: ScopePolicy::Mandated(Scope::SignallingAndData),
        sa_validity: 86_400,
        home_agent_choice: HomeAgentChoice::Fixed,
        max_sas: Policy::MAX_SAS,
    };
    raw.policy().over(file, default, key)
}

/// The keys that make a policy, of the deployment or of a subscriber.
pub(super) struct PolicyKeys<'a> {
    pub(super) suites: &'a Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) scope: &'a Option<Spanned<String>>,
    pub(super) sa_validity: &'a Option<Spanned<u64>>,
    pub(super) home_agent_choice: &'a Option<Spanned<String>>,
    pub(super) max_sas: &'a Option<Spanned<u64>>,
}

impl PolicyKeys<'_> {
    /// The policy that these keys make where `base` holds for what is absent.
    pub(super) fn over<T>(
        &self,
        file: &Document<T>,
        base: Policy,
        key: &str,
    ) -> Result<Policy, ConfigError> {
        let mut policy = base;
        if let Some(names) = self.suites {
            policy.suites = suites(file, names, &format!("{key}.suites"))?;
        }
        if let Some(scope) = self.scope {
            policy.scope = match scope.value.as_str() {
                "0" => ScopePolicy::Mandated(Scope::Signalling),
                "1" => ScopePolicy::Mandated(Scope::SignallingAndData),
                "proposed" => ScopePolicy::Proposed,
                other => {
                    let message = format!("{other} is no scope; 0, 1 or proposed");
                    return Err(file.error(scope.referenced, format!("{key}.scope"), message));
                }
            };
        }
        if let Some(seconds) = self.sa_validity {
            let key = format!("{key}.sa_validity");
            policy.sa_validity = in_range(file, seconds, &key, 60..=31_536_000)?;
        }
        if let Some(most) = self.max_sas {
            let most = in_range(file, most, &format!("{key}.max_sas"), MAX_SAS)?;
            policy.max_sas = usize::try_from(most).unwrap_or(Policy::MAX_SAS);
        }
        if let Some(name) = self.home_agent_choice {
            let choice = HomeAgentChoice::ALL.into_iter().find(|known| known.name() == name.value);
            policy.home_agent_choice = choice.ok_or_else(|| {
                let message = format!("{} is no choice; fixed, least-loaded, region", name.value);
                file.error(name.referenced, format!("{key}.home_agent_choice"), message)
            })?;
        }
        Ok(policy)
    }
}

fn suites<T>(
    file: &Document<T>,
    names: &Spanned<Vec<Spanned<String>>>,
    key: &str,
) -> Result<Vec<Suite>, ConfigError> {
    let mut suites = Vec::new();
    for (index, name) in names.value.iter().enumerate() {
        let wrong =
            |message: String| Err(file.error(name.referenced, format!("{key}[{index}]"), message));
        match Suite::from_name(&name.value) {
            Some(suite) if suites.contains(&suite) => {
                return wrong(format!("{} stands twice", name.value));
            }
            Some(suite) => suites.push(suite),
            None => {
                let known = Suite::known().map(Suite::name).collect::<Vec<_>>().join(", ");
                return wrong(format!("{} is no ciphersuite; one of {known}", name.value));
            }
        }
    }
    if suites.is_empty() {
        let message = "is empty; name at least one ciphersuite";
        return Err(file.error(names.referenced, key, message));
    }
    Ok(suites)
}

pub(super) fn in_range<T>(
    file: &Document<T>,
    number: &Spanned<u64>,
    key: &str,
    range: RangeInclusive<u64>,
) -> Result<u64, ConfigError> {
    if range.contains(&number.value) {
        return Ok(number.value);
    }
    let message = format!("{} is out of range; {} to {}", number.value, range.start(), range.end());
    Err(file.error(number.referenced, key, message))
}
