//! What holds for the subscribers of a realm that don't say otherwise themselves.

use hearth_config::{ConfigError, Document};
use hearth_wire::MobileNodeId;
use hearth_wire::directory::Services;

use super::HomeAgent;
use super::raw::{OfRealm, Root};
use crate::policy::Policy;

/// What holds where a subscriber says nothing.
#[derive(Debug, Clone)]
pub struct Base {
    /// Policy for its SAs.
    pub policy: Policy,
    /// What it may beyond a home address.
    pub services: Services,
    /// Index of its home agent in [`Realm::home_agents`](super::Realm::home_agents).
    pub home_agent: Option<usize>,
    /// Its region.
    pub region: Option<Box<str>>,
}

/// What holds for whom.
#[derive(Debug, Clone)]
pub struct Bases {
    deployment: Base,
    /// By realm, in lower case.
    realms: Vec<(Box<str>, Base)>,
}

impl Bases {
    /// The same for everybody.
    #[must_use]
    pub const fn of(policy: Policy, services: Services) -> Self {
        let deployment = Base { policy, services, home_agent: None, region: None };
        Self { deployment, realms: Vec::new() }
    }

    /// What holds for `mn_id`: its realm's, else the deployment's. Realms are compared as domain
    /// names are, whatever their case (RFC 7542 s.2.4).
    #[must_use]
    pub fn base(&self, mn_id: &MobileNodeId) -> &Base {
        self.named(mn_id.realm().unwrap_or_default()).unwrap_or(&self.deployment)
    }

    /// What holds for a realm that says so.
    #[must_use]
    pub fn named(&self, realm: &str) -> Option<&Base> {
        let realm = realm.to_lowercase();
        let known = self.realms.iter().find(|(known, _)| **known == *realm);
        known.map(|(_, base)| base)
    }
}

pub(super) fn check(
    file: &Document<Root>,
    agents: &[HomeAgent],
    policy: &Policy,
    services: Services,
) -> Result<Bases, ConfigError> {
    let mut bases = Bases::of(policy.clone(), services);
    for (index, raw) in file.value.realms.iter().enumerate() {
        let key = format!("realms[{index}]");
        let name = raw.realm.value.to_lowercase();
        // The grammar of a realm is that of an NAI that has nothing else.
        if name.contains('@') || MobileNodeId::new(&format!("@{name}")).is_err() {
            let message = format!("{name} is no realm; what stands behind the @ of an mn-id");
            return Err(file.error(raw.realm.referenced, format!("{key}.realm"), message));
        }
        if bases.realms.iter().any(|(known, _)| **known == *name) {
            let message = format!("{name} stands twice; remove one");
            return Err(file.error(raw.realm.referenced, format!("{key}.realm"), message));
        }
        let base = base(file, raw, agents, &bases.deployment, &key)?;
        bases.realms.push((name.into(), base));
    }
    Ok(bases)
}

fn base(
    file: &Document<Root>,
    raw: &OfRealm,
    agents: &[HomeAgent],
    deployment: &Base,
    key: &str,
) -> Result<Base, ConfigError> {
    let home_agent = match &raw.home_agent {
        None => None,
        Some(name) => match agents.iter().position(|agent| *agent.name == *name.value) {
            Some(index) => Some(index),
            None => {
                let message = format!("{} is none of home_agents", name.value);
                return Err(file.error(name.referenced, format!("{key}.home_agent"), message));
            }
        },
    };
    Ok(Base {
        policy: raw.policy().over(file, deployment.policy.clone(), key)?,
        services: raw.services().over(file, deployment.services.clone(), key)?,
        home_agent,
        region: raw.region.as_deref().map(Box::from),
    })
}
