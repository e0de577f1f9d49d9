//! What a case starts from: SAs, policy, bindings.

use core::net::Ipv4Addr;

use hearth_conformance::case::{self, Step};
use hearth_conformance::plan::{HA, HA4, Node};
use hearth_home_agent::{Policy, SaInfo, Timestamp};
use hearth_wire::directory::Services;
use hearth_wire::{MobileNodeId, Scope, Spi, Suite};

/// The policy of all cases, before a case changes it.
pub(crate) fn policy() -> Policy {
    Policy {
        home_prefixes: vec![
            "2001:db8:6618:100::/64".parse().unwrap(),
            "203.0.113.128/25".parse().unwrap(),
        ],
        ha_addresses: vec![HA.into(), HA4.into()],
        ..Policy::default()
    }
}

/// `policy KEY VALUE`
pub(crate) fn change_policy(policy: &mut Policy, step: &Step) -> Result<(), String> {
    let words: Vec<_> = step.words().collect();
    let [_, key, value] = words[..] else { return Err("not `policy KEY VALUE`".into()) };
    let bad = || format!("{key} can't be {value}");
    let time = || case::duration(value).ok_or_else(bad);
    match key {
        "max_lifetime" => policy.max_lifetime = time()?,
        "sa_grace" => policy.sa_grace = time()?,
        "max_bindings" => policy.max_bindings = value.parse().map_err(|_| bad())?,
        "nat_refresh_time" => policy.nat_refresh_time = value.parse().map_err(|_| bad())?,
        "home_registration" => policy.home_registration = value == "on",
        "nat66_follow_source" => policy.nat66_follow_source = value == "on",
        "denied" => {
            policy.denied.insert(MobileNodeId::new(value).map_err(|_| bad())?);
        }
        "refresh_request_before" => policy.operations.refresh_request_before = time()?,
        "revocation_retries" => {
            policy.operations.revocation_retries = value.parse().map_err(|_| bad())?;
        }
        "heartbeat_interval" => policy.operations.heartbeat_interval = time()?,
        "restart_counter" => {
            policy.operations.restart_counter = Some(value.parse().map_err(|_| bad())?);
        }
        "care_of_moves" => {
            policy.care_of_moves_per_minute = value.parse().map_err(|_| bad())?;
        }
        "denied_realm" => policy.denied_realms.push(value.into()),
        "home_prefix" => policy.home_prefixes.push(value.parse().map_err(|_| bad())?),
        _ => return Err(format!("no policy is called {key}")),
    }
    Ok(())
}

/// `sa SPI NODE [scope 0] [suite NAME] [ends TIME] [home ADDRESS] [ipv4 ADDRESS|none]`, and what
/// the subscriber may: `[router yes] [prefixes P,P] [care_of N] [bulk yes] [flows N]
/// [multicast yes] [max_lifetime SECONDS]`
pub(crate) fn sa(step: &Step) -> Result<SaInfo, String> {
    let mut words = step.words().skip(1);
    let spi = words.next().and_then(|spi| spi.parse().ok()).and_then(|spi| Spi::new(spi).ok());
    let spi = spi.ok_or("not an SPI")?;
    let node = words.next().and_then(Node::named).ok_or("no mobile node is called so")?;
    let mut info = SaInfo {
        spi,
        mn_id: MobileNodeId::new(&node.nai()).unwrap(),
        suite: Suite::Aes128CbcSha,
        scope: Scope::SignallingAndData,
        home_address: node.home_address(),
        ipv4_home_address: Some(node.ipv4_home_address()),
        ha_address: HA,
        validity_end: Timestamp::from_secs(3600),
        generation: u64::from(spi.get()),
        services: Services::default(),
    };
    while let Some(key) = words.next() {
        let value = words.next().ok_or_else(|| format!("{key} without a value"))?;
        let bad = || format!("{key} can't be {value}");
        match key {
            "scope" if value == "0" => info.scope = Scope::Signalling,
            "suite" => {
                let named = |suite: &&Suite| format!("{suite:?}") == value;
                info.suite = *Suite::ALL.iter().find(named).ok_or_else(bad)?;
            }
            "ends" => {
                let end = case::duration(value).ok_or_else(bad)?;
                info.validity_end = Timestamp::ZERO.after(end);
            }
            "home" => info.home_address = value.parse().map_err(|_| bad())?,
            "ipv4" if value == "none" => info.ipv4_home_address = None,
            "ipv4" => {
                info.ipv4_home_address = Some(value.parse::<Ipv4Addr>().map_err(|_| bad())?);
            }
            _ if service(&mut info.services, key, value).is_some() => {}
            _ => return Err(format!("no SA has {key} {value}")),
        }
    }
    Ok(info)
}

fn service(services: &mut Services, key: &str, value: &str) -> Option<()> {
    match (key, value) {
        ("router", "yes") => services.mobile_router = true,
        ("bulk", "yes") => services.bulk = true,
        ("multicast", "yes") => services.multicast = true,
        ("care_of", _) => services.care_of_addresses = value.parse().ok()?,
        ("flows", _) => services.flows = value.parse().ok()?,
        ("max_lifetime", _) => services.max_lifetime = Some(value.parse().ok()?),
        ("prefixes", _) => {
            let prefixes = value.split(',').map(|prefix| prefix.parse().ok());
            services.prefixes = prefixes.collect::<Option<_>>()?;
        }
        _ => return None,
    }
    Some(())
}
