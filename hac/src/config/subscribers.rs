//! Judges the subscribers: identity, key, home agent, home addresses.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use hearth_config::{ConfigError, Document, Spanned};
use hearth_wire::MobileNodeId;
use hearth_wire::hac::AuthMethod;
use zeroize::Zeroizing;

use super::check::{start, unreadable};
use super::home_agents::{is_host_ip4, is_host_ip6};
use super::raw::{self, Root};
use super::{Auth, Base, Bases, HomeAddress, HomeAgent, Realm, Subscriber, pools, services};
use crate::auth::psk::Psk;
use crate::keys::SystemEntropy;
use crate::policy::{HomeAgentChoice, Policy};
use crate::subscribers::Subscribers;
use crate::subscribers::sealed::SealedPsk;

/// What a subscriber is judged by.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) agents: &'a [HomeAgent],
    pub(crate) bases: &'a Bases,
    pub(crate) auth: &'a Auth,
}

impl<'a> Rules<'a> {
    /// Those of a deployment that runs.
    pub(crate) fn of(realm: &'a Realm) -> Self {
        Self { agents: &realm.home_agents, bases: &realm.bases, auth: &realm.auth }
    }
}

/// A subscriber that was read, and its key, which its reader wraps.
pub(crate) struct Read {
    pub(crate) mn_id: MobileNodeId,
    pub(crate) subscriber: Subscriber,
    pub(crate) psk: Option<Psk>,
}

pub(super) fn check(file: &Document<Root>, rules: &Rules<'_>) -> Result<Subscribers, ConfigError> {
    let agents = rules.agents;
    let mut taken: HashSet<IpAddr> = agents
        .iter()
        .flat_map(|agent| [Some(IpAddr::from(agent.ip6)), agent.ip4.map(IpAddr::from)])
        .flatten()
        .collect();
    let no_random = |_| file.error(start(), "subscribers", "the system gives no random numbers");
    let subscribers = Subscribers::new(&mut SystemEntropy).map_err(no_random)?;
    for (index, raw) in file.value.subscribers.iter().enumerate() {
        let key = format!("subscribers[{index}]");
        let Read { mn_id, subscriber: mut checked, psk } = read(file, raw, rules, &key)?;
        if let Some(psk) = psk {
            let sealed = SealedPsk::seal(subscribers.key(), &mn_id, &psk, &mut SystemEntropy);
            checked.psk = Some(sealed.map_err(no_random)?);
        }
        let fixed = [
            (checked.ip6.fixed().map(IpAddr::from), &raw.home_address_ip6, "home_address_ip6"),
            (checked.ip4.fixed().map(IpAddr::from), &raw.home_address_ip4, "home_address_ip4"),
        ];
        for (address, given, name) in fixed {
            if let Some(address) = address.filter(|address| !taken.insert(*address)) {
                let location = given.as_ref().map_or_else(start, |given| given.referenced);
                let message = format!("{address} is taken by another subscriber or a home agent");
                return Err(file.error(location, format!("{key}.{name}"), message));
            }
        }
        if subscribers.insert(mn_id, checked).is_some() {
            let message = format!("{} stands twice", raw.mn_id.value);
            return Err(file.error(raw.mn_id.referenced, format!("{key}.mn_id"), message));
        }
    }
    Ok(subscribers)
}

/// Judges one subscriber by itself.
pub(crate) fn read<T>(
    file: &Document<T>,
    raw: &raw::Subscriber,
    rules: &Rules<'_>,
    key: &str,
) -> Result<Read, ConfigError> {
    let mn_id = MobileNodeId::new(&raw.mn_id.value).map_err(|error| {
        file.error(raw.mn_id.referenced, format!("{key}.mn_id"), error.to_string())
    })?;
    let subscriber = subscriber(file, raw, rules.agents, rules.bases.base(&mn_id), key)?;
    let psk = match &raw.psk {
        Some(given) => Some(psk(file, given, &format!("{key}.psk"))?),
        None if needs_psk(rules, &mn_id) => {
            let message = "is missing; its realm authenticates with pre-shared keys alone";
            return Err(file.error(raw.mn_id.referenced, format!("{key}.psk"), message));
        }
        None => None,
    };
    Ok(Read { mn_id, subscriber, psk })
}

/// Judges the values of one that stands in the store: a JSON object, without mn-id and key.
pub(crate) fn read_values(
    rules: &Rules<'_>,
    mn_id: &MobileNodeId,
    values: &str,
) -> Result<Subscriber, String> {
    // JSON is YAML: the store knows the same keys, and the same words for what is wrong.
    let others = values.strip_prefix('{').unwrap_or_default();
    let comma = if others == "}" { "" } else { "," };
    let name = serde_json::Value::from(mn_id.as_str());
    let text = format!("{{\"mn_id\":{name}{comma}{others}");
    let words = |error: ConfigError| {
        format!("{}: {}", error.key().trim_start_matches('.'), error.message())
    };
    let file = hearth_config::parse::<raw::Subscriber>(Path::new(mn_id.as_str()), &text);
    let file = file.map_err(words)?;
    subscriber(&file, &file.value, rules.agents, rules.bases.base(mn_id), "").map_err(words)
}

/// One of a file, and how to say what is wrong with it.
pub(crate) struct FileRead<E> {
    pub(crate) read: Read,
    pub(crate) error: E,
}

/// Judges the subscribers of a file of their own.
pub(crate) fn read_file(
    rules: &Rules<'_>,
    path: &Path,
) -> Result<Vec<FileRead<impl Fn(String) -> String + use<>>>, ConfigError> {
    let file: Arc<Document<raw::SubscriberFile>> = Arc::new(hearth_config::load(path)?);
    let mut all = Vec::new();
    for (index, raw) in file.value.subscribers.iter().enumerate() {
        let key = format!("subscribers[{index}]");
        let read = read(&file, raw, rules, &key)?;
        let (file, location) = (file.clone(), raw.mn_id.referenced);
        let error = move |message: String| file.error(location, &*key, message).to_string();
        all.push(FileRead { read, error });
    }
    Ok(all)
}

/// Whether `mn_id` can do without a pre-shared key.
pub(crate) fn needs_psk(rules: &Rules<'_>, mn_id: &MobileNodeId) -> bool {
    rules.auth.choice(mn_id).methods == [AuthMethod::Psk]
}

fn subscriber<T>(
    file: &Document<T>,
    raw: &raw::Subscriber,
    agents: &[HomeAgent],
    base: &Base,
    key: &str,
) -> Result<Subscriber, ConfigError> {
    let policy = raw.policy().over(file, base.policy.clone(), key)?;
    let home_agent = match (&raw.home_agent, base.home_agent) {
        (None, Some(index)) => Some(index),
        _ => home_agent_of(file, raw, agents, &policy, key)?,
    };
    let candidates = home_agent.map_or(agents, |index| agents.get(index..=index).unwrap_or(agents));
    let (ip6, ip4) = home_addresses(file, raw, candidates, key)?;
    Ok(Subscriber {
        psk: None,
        home_agent,
        region: raw.region.as_deref().map(Box::from).or_else(|| base.region.clone()),
        ip6,
        ip4,
        policy,
        services: services::of_subscriber(file, raw, &base.services, key)?,
        leased_networks: pools::leased_networks(file, raw, candidates, key)?,
    })
}

fn home_agent_of<T>(
    file: &Document<T>,
    raw: &raw::Subscriber,
    agents: &[HomeAgent],
    policy: &Policy,
    key: &str,
) -> Result<Option<usize>, ConfigError> {
    let key = format!("{key}.home_agent");
    match &raw.home_agent {
        None if agents.len() == 1 => Ok(Some(0)),
        None if policy.home_agent_choice != HomeAgentChoice::Fixed => Ok(None),
        None => {
            let message = "is missing; there are several home agents, so name one, or give \
                           home_agent_choice";
            Err(file.error(raw.mn_id.referenced, key, message))
        }
        Some(name) => {
            agents.iter().position(|agent| *agent.name == *name.value).map(Some).ok_or_else(|| {
                let message = format!("{} is none of home_agents", name.value);
                file.error(name.referenced, key, message)
            })
        }
    }
}

/// The home addresses, by the first of the home agents that it can have: where there are several,
/// those that don't have the address or the pool are never chosen for it.
fn home_addresses<T>(
    file: &Document<T>,
    raw: &raw::Subscriber,
    candidates: &[HomeAgent],
    key: &str,
) -> Result<(HomeAddress<Ipv6Addr>, HomeAddress<Ipv4Addr>), ConfigError> {
    let mut wrong = None;
    for agent in candidates {
        let homes = home_ip6(file, raw, agent, key)
            .and_then(|ip6| home_ip4(file, raw, agent, key).map(|ip4| (ip6, ip4)));
        match homes {
            Ok(homes) => return Ok(homes),
            Err(error) => wrong = wrong.or(Some(error)),
        }
    }
    wrong.map_or(Ok((HomeAddress::None, HomeAddress::None)), Err)
}

fn home_ip6<T>(
    file: &Document<T>,
    raw: &raw::Subscriber,
    agent: &HomeAgent,
    key: &str,
) -> Result<HomeAddress<Ipv6Addr>, ConfigError> {
    let key = format!("{key}.home_address_ip6");
    match raw.home_address_ip6.as_ref().filter(|given| given.value != "pool") {
        None if agent.pools.ip6.is_some() => Ok(HomeAddress::Pool),
        Some(given) if given.value == "prefix" => match agent.pools.home_prefixes_ip6 {
            Some(_) => Ok(HomeAddress::Prefix),
            None => {
                let message = format!("{} has no pools.home_prefixes_ip6", agent.name);
                Err(file.error(given.referenced, key, message))
            }
        },
        None => {
            // the HAC always hands out an IPv6 home address.
            let message =
                format!("is missing; {} has no pools.ip6, so give an address", agent.name);
            Err(file.error(raw.mn_id.referenced, key, message))
        }
        Some(given) => {
            let address = fixed(file, given, &key, "an IPv6 address, pool or prefix")?;
            if is_host_ip6(agent.prefix_ip6, address) {
                return Ok(HomeAddress::Fixed(address));
            }
            Err(outside(file, given, &key, &agent.prefix_ip6.to_string()))
        }
    }
}

fn home_ip4<T>(
    file: &Document<T>,
    raw: &raw::Subscriber,
    agent: &HomeAgent,
    key: &str,
) -> Result<HomeAddress<Ipv4Addr>, ConfigError> {
    let key = format!("{key}.home_address_ip4");
    let Some(given) = &raw.home_address_ip4 else {
        return Ok(match agent.pools.ip4 {
            Some(_) => HomeAddress::Pool,
            None => HomeAddress::None,
        });
    };
    match (given.value.as_str(), agent.prefix_ip4) {
        ("none", _) => Ok(HomeAddress::None),
        ("pool", _) if agent.pools.ip4.is_some() => Ok(HomeAddress::Pool),
        ("pool", _) => {
            let message = format!("{} has no pools.ip4; give an address or none", agent.name);
            Err(file.error(given.referenced, key, message))
        }
        (_, None) => {
            let message = format!("{} has no home_prefix_ip4; none", agent.name);
            Err(file.error(given.referenced, key, message))
        }
        (_, Some(prefix)) => {
            let address = fixed(file, given, &key, "an IPv4 address, pool or none")?;
            if is_host_ip4(prefix, address) {
                return Ok(HomeAddress::Fixed(address));
            }
            Err(outside(file, given, &key, &prefix.to_string()))
        }
    }
}

fn fixed<A: std::str::FromStr, T>(
    file: &Document<T>,
    given: &Spanned<String>,
    key: &str,
    expected: &str,
) -> Result<A, ConfigError> {
    given.value.parse().map_err(|_| {
        file.error(given.referenced, key, format!("{} is wrong; {expected}", given.value))
    })
}

fn outside<T>(file: &Document<T>, given: &Spanned<String>, key: &str, prefix: &str) -> ConfigError {
    let message = format!("{} is no host address inside the home prefix {prefix}", given.value);
    file.error(given.referenced, key, message)
}

/// The key, from exactly one of its three forms.
fn psk<T>(file: &Document<T>, raw: &Spanned<raw::Psk>, key: &str) -> Result<Psk, ConfigError> {
    let wrong = |message: String| file.error(raw.referenced, key, message);
    let octets = match (&raw.value.hex, &raw.value.text, &raw.value.file) {
        (Some(hex), None, None) => decode_hex(&hex.0),
        (None, Some(text), None) => Some(Zeroizing::new(text.0.as_bytes().to_vec())),
        (None, None, Some(path)) => decode_hex(&read_key(&file.resolve(path)).map_err(wrong)?),
        _ => return Err(wrong("give exactly one of hex, text and file".to_owned())),
    };
    let mut octets = octets.ok_or_else(|| {
        wrong("is not hexadecimal; an even number of digits, as `openssl rand -hex 32`".to_owned())
    })?;
    Psk::new(std::mem::take(&mut *octets)).map_err(|error| wrong(error.to_string()))
}

pub(super) fn read_key(path: &Path) -> Result<Zeroizing<String>, String> {
    let octets = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    match String::from_utf8(octets) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(format!("{} is no text; hexadecimal digits", path.display()))
        }
    }
}

/// Octets of hexadecimal text; white space around it is ignored.
pub(crate) fn decode_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, rest) = text.trim().as_bytes().as_chunks::<2>();
    let mut octets = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for &[high, low] in pairs {
        let (high, low) = (char::from(high).to_digit(16)?, char::from(low).to_digit(16)?);
        octets.push(u8::try_from(high << 4 | low).ok()?);
    }
    rest.is_empty().then_some(octets)
}
