//! Prefixes of which none has an address in common with another: what lies where (RFC 3963 s.9).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// An address of either family, in the order in which prefixes are ranges.
pub(crate) type Point = (bool, u128);

pub(crate) const fn point(address: IpAddr) -> Point {
    match address {
        IpAddr::V4(address) => (false, address.to_bits() as u128),
        IpAddr::V6(address) => (true, address.to_bits()),
    }
}

/// Prefixes and whose they are, by their first addresses; none overlaps another.
#[derive(Debug)]
pub(crate) struct Networks<T>(BTreeMap<Point, (IpNet, T)>);

impl<T> Default for Networks<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Networks<T> {
    /// Those that have an address in common with `first` to `last`.
    pub(crate) fn overlapping(
        &self,
        first: IpAddr,
        last: IpAddr,
    ) -> impl Iterator<Item = &(IpNet, T)> {
        // They don't overlap each other, so that at most one begins before the range and reaches into
        // it: behind the first that does not, there is none.
        let others = self.0.range(..=point(last)).rev().map(|(_, network)| network);
        others.take_while(move |(network, _)| point(network.broadcast()) >= point(first))
    }

    /// Enters one that overlaps none of those that are there.
    pub(crate) fn insert(&mut self, network: IpNet, whose: T) {
        self.0.insert(point(network.network()), (network, whose));
    }

    /// Takes one out, where it is its that `is_its` says so of.
    pub(crate) fn remove(&mut self, network: IpNet, is_its: impl Fn(&T) -> bool) {
        let at = point(network.network());
        if self.0.get(&at).is_some_and(|(_, whose)| is_its(whose)) {
            self.0.remove(&at);
        }
    }
}
