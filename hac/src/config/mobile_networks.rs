//! Judges the mobile networks of all subscribers together: none takes an address that is another's
//! (RFC 3963 s.9).

use std::net::IpAddr;
use std::sync::Arc;

use hearth_config::{ConfigError, Document};
use hearth_wire::MobileNodeId;
use ipnet::IpNet;

use super::Realm;
use super::raw::Root;
use crate::overlap::Networks;

/// A mobile network's subscriber by its place in the file, and its own place there.
#[derive(Clone, Copy)]
struct Place {
    subscriber: usize,
    index: usize,
}

type Taken = Networks<Place>;

/// A network that has an address in common with `first` to `last`.
fn overlapping(networks: &Taken, first: IpAddr, last: IpAddr) -> Option<(IpNet, Place)> {
    networks.overlapping(first, last).next().copied()
}

/// No two mobile networks overlap, and none holds an address that is dealt out otherwise.
pub(super) fn check(file: &Document<Root>, realm: &Realm) -> Result<(), ConfigError> {
    let wrong = |place: Place, message: String| {
        let given = file.value.subscribers.get(place.subscriber);
        let given = given.and_then(|subscriber| subscriber.prefixes.get(place.index));
        let location = given.map_or(super::check::start(), |given| given.referenced);
        let key = format!("subscribers[{}].prefixes[{}]", place.subscriber, place.index);
        file.error(location, key, message)
    };
    let mut networks = Taken::default();
    for (subscriber, checked) in subscribers(file, realm) {
        for (index, prefix) in placed(file, subscriber, &checked) {
            let place = Place { subscriber, index };
            let other = overlapping(&networks, prefix.network(), prefix.broadcast());
            if let Some((other, Place { subscriber, .. })) = other {
                let name = file.value.subscribers.get(subscriber);
                let name = name.map_or("", |subscriber| subscriber.mn_id.value.as_str());
                return Err(wrong(place, format!("{prefix} overlaps {other} of {name}")));
            }
            networks.insert(prefix, place);
        }
    }
    for (subscriber, checked) in subscribers(file, realm) {
        let fixed = [checked.ip6.fixed().map(IpAddr::from), checked.ip4.fixed().map(IpAddr::from)];
        for address in fixed.into_iter().flatten() {
            let network = overlapping(&networks, address, address);
            // Its own home address may well lie in its own mobile network (RFC 3963 s.6.2).
            if let Some((_, place)) = network.filter(|(_, place)| place.subscriber != subscriber) {
                let message = format!("holds {address}, the home address of another subscriber");
                return Err(wrong(place, message));
            }
        }
    }
    match foreign(realm, &networks) {
        None => Ok(()),
        Some((place, message)) => Err(wrong(place, message)),
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
fn foreign(realm: &Realm, networks: &Taken) -> Option<(Place, String)> {
    let dns = realm.dns_ip6.iter().copied().map(IpAddr::from);
    for server in dns.chain(realm.dns_ip4.iter().copied().map(IpAddr::from)) {
        if let Some((_, place)) = overlapping(networks, server, server) {
            return Some((place, format!("holds the DNS server {server}")));
        }
    }
    for agent in &realm.home_agents {
        let name = &agent.name;
        for address in [Some(agent.ip6.into()), agent.ip4.map(IpAddr::from)].into_iter().flatten() {
            if let Some((_, place)) = overlapping(networks, address, address) {
                return Some((place, format!("holds {address}, the address of {name}")));
            }
        }
        let ip6 = agent.pools.ip6.as_ref();
        let ip6 = ip6.map(|pool| (IpAddr::from(*pool.start()), IpAddr::from(*pool.end())));
        let ip4 = agent.pools.ip4.as_ref();
        let ip4 = ip4.map(|pool| (IpAddr::from(*pool.start()), IpAddr::from(*pool.end())));
        let prefixes = agent.pools.prefixes();
        let prefixes = prefixes.map(|pool| (pool.within.network(), pool.within.broadcast()));
        for (first, last) in [ip6, ip4].into_iter().flatten().chain(prefixes) {
            if let Some((_, place)) = overlapping(networks, first, last) {
                return Some((place, format!("overlaps the pool {first} to {last} of {name}")));
            }
        }
        let ip4 = agent.prefix_ip4.map(IpNet::from);
        for home in [Some(IpNet::from(agent.prefix_ip6)), ip4].into_iter().flatten() {
            let network = overlapping(networks, home.network(), home.network());
            if let Some((_, place)) = network.filter(|(network, _)| network.contains(&home)) {
                return Some((place, format!("holds the whole home prefix {home} of {name}")));
            }
        }
    }
    None
}

/// What is wrong with a mobile network apart from other subscribers' claims.
pub(super) fn foreign_prefix(realm: &Realm, prefix: IpNet) -> Option<String> {
    let mut networks = Taken::default();
    networks.insert(prefix, Place { subscriber: 0, index: 0 });
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
