//! Judges the mobile networks of all subscribers together: none takes an address that is another's
//! (RFC 3963 s.9).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hearth_config::{ConfigError, Document};
use hearth_wire::MobileNodeId;
use ipnet::IpNet;

use super::Realm;
use super::raw::Root;

/// An address of either family, in the order in which prefixes are ranges.
type Point = (bool, u128);

const fn point(address: IpAddr) -> Point {
    match address {
        IpAddr::V4(address) => (false, address.to_bits() as u128),
        IpAddr::V6(address) => (true, address.to_bits()),
    }
}

/// A mobile network, its subscriber's place in the file, and its own place there.
#[derive(Clone, Copy)]
struct Network {
    prefix: IpNet,
    subscriber: usize,
    index: usize,
}

/// Mobile networks by their first addresses; none overlaps another.
#[derive(Default)]
struct Networks(BTreeMap<Point, Network>);

impl Networks {
    /// A network that has an address in common with `first` to `last`.
    fn overlapping(&self, first: IpAddr, last: IpAddr) -> Option<Network> {
        let (_, network) = self.0.range(..=point(last)).next_back()?;
        (point(network.prefix.broadcast()) >= point(first)).then_some(*network)
    }

    fn insert(&mut self, network: Network) -> Option<Network> {
        let (first, last) = (network.prefix.network(), network.prefix.broadcast());
        if let Some(other) = self.overlapping(first, last) {
            return Some(other);
        }
        self.0.insert(point(first), network);
        None
    }
}

/// No two mobile networks overlap, and none holds an address that is dealt out otherwise.
pub(super) fn check(file: &Document<Root>, realm: &Realm) -> Result<(), ConfigError> {
    let wrong = |network: Network, message: String| {
        let given = file.value.subscribers.get(network.subscriber);
        let given = given.and_then(|subscriber| subscriber.prefixes.get(network.index));
        let location = given.map_or(super::check::start(), |given| given.referenced);
        let key = format!("subscribers[{}].prefixes[{}]", network.subscriber, network.index);
        file.error(location, key, message)
    };
    let mut networks = Networks::default();
    for (subscriber, checked) in subscribers(file, realm) {
        for (index, prefix) in placed(file, subscriber, &checked) {
            let network = Network { prefix, subscriber, index };
            if let Some(other) = networks.insert(network) {
                let name = file.value.subscribers.get(other.subscriber);
                let name = name.map_or("", |subscriber| subscriber.mn_id.value.as_str());
                let message = format!("{prefix} overlaps {} of {name}", other.prefix);
                return Err(wrong(network, message));
            }
        }
    }
    for (subscriber, checked) in subscribers(file, realm) {
        let fixed = [checked.ip6.fixed().map(IpAddr::from), checked.ip4.fixed().map(IpAddr::from)];
        for address in fixed.into_iter().flatten() {
            let network = networks.overlapping(address, address);
            // Its own home address may well lie in its own mobile network (RFC 3963 s.6.2).
            if let Some(network) = network.filter(|network| network.subscriber != subscriber) {
                let message = format!("holds {address}, the home address of another subscriber");
                return Err(wrong(network, message));
            }
        }
    }
    match foreign(realm, &networks) {
        None => Ok(()),
        Some((network, message)) => Err(wrong(network, message)),
    }
}

/// The mobile networks of a subscriber with their places in the file, where leases stand between.
fn placed<'a>(
    file: &'a Document<Root>,
    subscriber: usize,
    checked: &'a super::Subscriber,
) -> impl Iterator<Item = (usize, IpNet)> {
    let raw = file.value.subscribers.get(subscriber);
    let given = raw.into_iter().flat_map(|raw| raw.prefixes.iter().enumerate());
    let places = given.filter_map(|(place, text)| text.value.parse::<IpNet>().ok().map(|_| place));
    places.zip(checked.services.prefixes.iter().copied())
}

/// A mobile network that takes what belongs to a home agent or to everybody.
fn foreign(realm: &Realm, networks: &Networks) -> Option<(Network, String)> {
    let dns = realm.dns_ip6.iter().copied().map(IpAddr::from);
    for server in dns.chain(realm.dns_ip4.iter().copied().map(IpAddr::from)) {
        if let Some(network) = networks.overlapping(server, server) {
            return Some((network, format!("holds the DNS server {server}")));
        }
    }
    for agent in &realm.home_agents {
        let name = &agent.name;
        for address in [Some(agent.ip6.into()), agent.ip4.map(IpAddr::from)].into_iter().flatten() {
            if let Some(network) = networks.overlapping(address, address) {
                return Some((network, format!("holds {address}, the address of {name}")));
            }
        }
        let ip6 = agent.pools.ip6.as_ref();
        let ip6 = ip6.map(|pool| (IpAddr::from(*pool.start()), IpAddr::from(*pool.end())));
        let ip4 = agent.pools.ip4.as_ref();
        let ip4 = ip4.map(|pool| (IpAddr::from(*pool.start()), IpAddr::from(*pool.end())));
        let prefixes = agent.pools.prefixes();
        let prefixes = prefixes.map(|pool| (pool.within.network(), pool.within.broadcast()));
        for (first, last) in [ip6, ip4].into_iter().flatten().chain(prefixes) {
            if let Some(network) = networks.overlapping(first, last) {
                return Some((network, format!("overlaps the pool {first} to {last} of {name}")));
            }
        }
        let ip4 = agent.prefix_ip4.map(IpNet::from);
        for home in [Some(IpNet::from(agent.prefix_ip6)), ip4].into_iter().flatten() {
            let network = networks.overlapping(home.network(), home.network());
            if let Some(network) = network.filter(|network| network.prefix.contains(&home)) {
                return Some((network, format!("holds the whole home prefix {home} of {name}")));
            }
        }
    }
    None
}

/// What is wrong with a mobile network apart from other subscribers' claims.
pub(super) fn foreign_prefix(realm: &Realm, prefix: IpNet) -> Option<String> {
    let mut networks = Networks::default();
    networks.insert(Network { prefix, subscriber: 0, index: 0 });
    foreign(realm, &networks).map(|(_, message)| format!("{prefix} {message}"))
}

/// The subscribers in the order of the file, with their places there.
fn subscribers<'a>(
    file: &'a Document<Root>,
    realm: &'a Realm,
) -> impl Iterator<Item = (usize, Arc<super::Subscriber>)> {
    file.value.subscribers.iter().enumerate().filter_map(|(place, raw)| {
        let mn_id = MobileNodeId::new(&raw.mn_id.value).ok()?;
        Some((place, realm.subscribers.find(&mn_id)?))
    })
}
