//! Judges what home agents lease: home addresses, home network prefixes, mobile networks.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use hearth_config::{ConfigError, Document, Location, Spanned};
use hearth_wire::directory::Services;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::HomeAgent;
use super::check::{in_range, start};
use super::home_agents::{is_host_ip4, is_host_ip6};
use super::raw::{self, Root};

/// What a home agent's mobile nodes can be leased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pools {
    /// IPv6 home addresses.
    pub ip6: Option<RangeInclusive<Ipv6Addr>>,
    /// IPv4 home addresses.
    pub ip4: Option<RangeInclusive<Ipv4Addr>>,
    /// Home network prefixes, one for each mobile node.
    pub home_prefixes_ip6: Option<PrefixPool>,
    /// IPv6 mobile networks.
    pub mobile_networks_ip6: Option<PrefixPool>,
    /// IPv4 mobile networks.
    pub mobile_networks_ip4: Option<PrefixPool>,
    /// Of which an AAA server may delegate mobile networks to its mobile nodes.
    pub delegated_ip6: Vec<Ipv6Net>,
    /// Seconds that a lease outlives the validity of the last SA that carried it; afterwards it may
    /// be another's, if there is nothing else left. `None`: it is kept as long as there is the
    /// subscriber.
    pub lease_time: Option<u64>,
}

impl Pools {
    /// The pools of prefixes.
    pub fn prefixes(&self) -> impl Iterator<Item = &PrefixPool> {
        [&self.home_prefixes_ip6, &self.mobile_networks_ip6, &self.mobile_networks_ip4]
            .into_iter()
            .flatten()
    }
}

/// Prefixes of one length within a longer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixPool {
    /// What they are cut from.
    pub within: IpNet,
    /// Their length in bits.
    pub length: u8,
    /// The first and the last of them, each by its first address as a number.
    pub range: RangeInclusive<u128>,
}

impl PrefixPool {
    /// All prefixes of `length` within `within`; `None` where there are none.
    #[must_use]
    pub fn new(within: IpNet, length: u8) -> Option<Self> {
        let step = 1u128.checked_shl(u32::from(within.max_prefix_len().checked_sub(length)?))?;
        let (first, last) = (number(within.network()), number(within.broadcast()));
        let range = first..=last - (step - 1);
        (length >= within.prefix_len()).then_some(Self { within, length, range })
    }

    /// Addresses of one prefix.
    #[must_use]
    pub fn step(&self) -> u128 {
        let bits = self.within.max_prefix_len().saturating_sub(self.length);
        1u128.checked_shl(bits.into()).unwrap_or(u128::MAX)
    }

    /// The prefix that begins at the address `number`, if it is of this pool.
    #[must_use]
    pub fn prefix(&self, number: u128) -> Option<IpNet> {
        let address = match self.within {
            IpNet::V6(_) => IpAddr::from(Ipv6Addr::from_bits(number)),
            IpNet::V4(_) => IpAddr::from(Ipv4Addr::from_bits(u32::try_from(number).ok()?)),
        };
        let prefix = IpNet::new(address, self.length).ok()?;
        (self.range.contains(&number) && prefix.trunc() == prefix).then_some(prefix)
    }

    /// The prefix of this pool that `address` lies in, whichever part of the pool is this HAC's.
    #[must_use]
    pub fn prefix_of(&self, address: IpAddr) -> Option<IpNet> {
        if !self.within.contains(&address) {
            return None;
        }
        IpNet::new(address, self.length).ok().map(|prefix| prefix.trunc())
    }
}

/// Which mobile networks a subscriber is leased; one of a family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeasedNetworks {
    /// One of [`Pools::mobile_networks_ip6`].
    pub ip6: bool,
    /// One of [`Pools::mobile_networks_ip4`].
    pub ip4: bool,
}

/// An entry of a subscriber's prefixes that stands for a lease.
pub(super) const POOL_IP6: &str = "pool-ip6";
pub(super) const POOL_IP4: &str = "pool-ip4";

/// An address as the number by which leases know it.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V6(address) => address.to_bits(),
        IpAddr::V4(address) => address.to_bits().into(),
    }
}

/// The pools of one home agent with these home prefixes.
pub(super) fn check(
    file: &Document<Root>,
    raw: &raw::HomeAgent,
    (prefix_ip6, prefix_ip4): (Ipv6Net, Option<Ipv4Net>),
    key: &str,
) -> Result<Pools, ConfigError> {
    let key = |name: &str| format!("{key}.pools.{name}");
    let raw = &raw.pools;
    let ip6 = match &raw.ip6 {
        Some(pool) => Some(pool_of(file, pool, &key("ip6"), "home_prefix_ip6", |address| {
            is_host_ip6(prefix_ip6, address)
        })?),
        None => None,
    };
    let ip4 = match &raw.ip4 {
        Some(pool) => Some(pool_of(file, pool, &key("ip4"), "home_prefix_ip4", |address| {
            prefix_ip4.is_some_and(|prefix| is_host_ip4(prefix, address))
        })?),
        None => None,
    };
    let prefixes = |given: &Option<Spanned<raw::PrefixPool>>, name, is_ip6| match given {
        Some(given) => prefix_pool(file, given, &key(name), is_ip6).map(Some),
        None => Ok(None),
    };
    let lease_time = match &raw.lease_time {
        Some(time) => Some(in_range(file, time, &key("lease_time"), 60..=315_360_000)?),
        None => None,
    };
    Ok(Pools {
        ip6,
        ip4,
        home_prefixes_ip6: prefixes(&raw.home_prefixes_ip6, "home_prefixes_ip6", true)?,
        mobile_networks_ip6: prefixes(&raw.mobile_networks_ip6, "mobile_networks_ip6", true)?,
        mobile_networks_ip4: prefixes(&raw.mobile_networks_ip4, "mobile_networks_ip4", false)?,
        delegated_ip6: raw
            .delegated_ip6
            .iter()
            .enumerate()
            .map(|(place, text)| delegated(file, text, &key(&format!("delegated_ip6[{place}]"))))
            .collect::<Result<_, _>>()?,
        lease_time,
    })
}

fn pool_of<A: Copy + Ord + Display>(
    file: &Document<Root>,
    pool: &Spanned<[A; 2]>,
    key: &str,
    prefix_key: &str,
    is_host: impl Fn(A) -> bool,
) -> Result<RangeInclusive<A>, ConfigError> {
    let [first, last] = pool.value;
    let wrong = |message: String| Err(file.error(pool.referenced, key, message));
    if first > last {
        return wrong(format!("[{first}, {last}] runs backwards; [first, last]"));
    }
    if let Some(outside) = [first, last].into_iter().find(|address| !is_host(*address)) {
        return wrong(format!("{outside} is no host address inside {prefix_key}"));
    }
    Ok(first..=last)
}

fn prefix_pool(
    file: &Document<Root>,
    given: &Spanned<raw::PrefixPool>,
    key: &str,
    is_ip6: bool,
) -> Result<PrefixPool, ConfigError> {
    let raw::PrefixPool { within, length } = &given.value;
    let wrong = |message: String| file.error(given.referenced, key, message);
    let parsed: Option<IpNet> = within.parse().ok();
    let parsed = parsed.filter(|prefix| matches!(prefix, IpNet::V6(_)) == is_ip6);
    let parsed = parsed.filter(|prefix| prefix.prefix_len() > 0 && prefix.trunc() == *prefix);
    let Some(prefix) = parsed else {
        let family = if is_ip6 { "IPv6" } else { "IPv4" };
        let message = format!("{within} is no {family} prefix without host bits; ADDRESS/LENGTH");
        return Err(wrong(message));
    };
    // A mobile node's address lies in its prefix, behind the subnet-router anycast address.
    let longest = if is_ip6 { 127 } else { 30 };
    if length > &longest {
        return Err(wrong(format!("length {length} leaves no host; {longest} at most")));
    }
    PrefixPool::new(prefix, *length).ok_or_else(|| {
        wrong(format!("length {length} is shorter than {within} itself; a longer one"))
    })
}

fn delegated(
    file: &Document<Root>,
    text: &Spanned<String>,
    key: &str,
) -> Result<Ipv6Net, ConfigError> {
    let parsed: Option<Ipv6Net> = text.value.parse().ok();
    let parsed = parsed.filter(|prefix| prefix.prefix_len() > 0 && prefix.trunc() == *prefix);
    parsed.ok_or_else(|| {
        let message = format!("{} is no IPv6 prefix without host bits; ADDRESS/LENGTH", text.value);
        file.error(text.referenced, key, message)
    })
}

/// No pool of prefixes takes what another one, a home prefix, or an address of the deployment is
/// in: what is leased from it is nobody else's.
pub(super) fn apart(
    file: &Document<Root>,
    agents: &[HomeAgent],
    dns: &[IpAddr],
) -> Result<(), ConfigError> {
    for (index, agent) in agents.iter().enumerate() {
        for (name, pool) in named(&agent.pools) {
            let Some(taken) = taken_by(agents, dns, index, (name, pool)) else { continue };
            let location = location(file, index, name);
            let key = format!("home_agents[{index}].pools.{name}");
            let message = format!("{} overlaps {taken}", pool.within);
            return Err(file.error(location, key, message));
        }
        for (place, range) in agent.pools.delegated_ip6.iter().enumerate() {
            let Some(pool) = PrefixPool::new(IpNet::from(*range), range.prefix_len()) else {
                continue;
            };
            let name = "delegated_ip6";
            let Some(taken) = taken_by(agents, dns, index, (name, &pool)) else { continue };
            let given = file.value.home_agents.get(index);
            let given = given.and_then(|agent| agent.pools.delegated_ip6.get(place));
            let location = given.map_or_else(start, |given| given.referenced);
            let key = format!("home_agents[{index}].pools.{name}[{place}]");
            return Err(file.error(location, key, format!("{range} overlaps {taken}")));
        }
    }
    Ok(())
}

fn named(pools: &Pools) -> impl Iterator<Item = (&'static str, &PrefixPool)> {
    [
        ("home_prefixes_ip6", &pools.home_prefixes_ip6),
        ("mobile_networks_ip6", &pools.mobile_networks_ip6),
        ("mobile_networks_ip4", &pools.mobile_networks_ip4),
    ]
    .into_iter()
    .filter_map(|(name, pool)| Some((name, pool.as_ref()?)))
}

fn location(file: &Document<Root>, agent: usize, name: &str) -> Location {
    let pools = file.value.home_agents.get(agent).map(|agent| &agent.pools);
    let given = pools.and_then(|pools| match name {
        "home_prefixes_ip6" => pools.home_prefixes_ip6.as_ref(),
        "mobile_networks_ip6" => pools.mobile_networks_ip6.as_ref(),
        _ => pools.mobile_networks_ip4.as_ref(),
    });
    given.map_or_else(start, |given| given.referenced)
}

/// What the pool of the home agent at `index` has in common with something else.
fn taken_by(
    agents: &[HomeAgent],
    dns: &[IpAddr],
    index: usize,
    (name, pool): (&str, &PrefixPool),
) -> Option<String> {
    let overlaps = |other: IpNet| pool.within.contains(&other) || other.contains(&pool.within);
    if let Some(server) = dns.iter().find(|server| pool.within.contains(*server)) {
        return Some(format!("the DNS server {server}"));
    }
    for (other_index, other) in agents.iter().enumerate() {
        let addresses = [Some(IpAddr::from(other.ip6)), other.ip4.map(IpAddr::from)];
        if let Some(address) =
            addresses.into_iter().flatten().find(|address| pool.within.contains(address))
        {
            return Some(format!("{address}, the address of {}", other.name));
        }
        let homes = [Some(IpNet::from(other.prefix_ip6)), other.prefix_ip4.map(IpNet::from)];
        if let Some(home) = homes.into_iter().flatten().find(|home| overlaps(*home)) {
            return Some(format!("the home prefix {home} of {}", other.name));
        }
        for (other_name, other_pool) in named(&other.pools) {
            let is_itself = other_index == index && other_name == name;
            // Home agents of one home link may lease from one pool.
            let is_shared = other_name == name && other_pool == pool;
            if !is_itself && !is_shared && overlaps(other_pool.within) {
                return Some(format!("pools.{other_name} of {}", other.name));
            }
        }
    }
    None
}

/// The mobile networks that a subscriber's prefixes ask to be leased.
pub(super) fn leased_networks<T>(
    file: &Document<T>,
    raw: &raw::Subscriber,
    candidates: &[HomeAgent],
    key: &str,
) -> Result<LeasedNetworks, ConfigError> {
    let mut leased = LeasedNetworks::default();
    for (index, text) in raw.prefixes.iter().enumerate() {
        let key = format!("{key}.prefixes[{index}]");
        let wrong = |message: &str| Err(file.error(text.referenced, key, message));
        let (leased, has_pool, message) = match text.value.as_str() {
            POOL_IP6 => (
                &mut leased.ip6,
                candidates.iter().any(|agent| agent.pools.mobile_networks_ip6.is_some()),
                "its home agent has no pools.mobile_networks_ip6",
            ),
            POOL_IP4 => (
                &mut leased.ip4,
                candidates.iter().any(|agent| agent.pools.mobile_networks_ip4.is_some()),
                "its home agent has no pools.mobile_networks_ip4",
            ),
            _ => continue,
        };
        if std::mem::replace(leased, true) {
            return wrong("stands twice; one of a family is leased");
        }
        if !has_pool {
            return wrong(message);
        }
    }
    if raw.prefixes.len() > Services::MAX_PREFIXES {
        return Ok(LeasedNetworks::default());
    }
    Ok(leased)
}
