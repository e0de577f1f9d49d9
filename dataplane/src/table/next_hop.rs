//! Next hops: the neighbour that a packet is sent to, and what a worker remembers of the way there.
//!
//! A route look-up and a neighbour look-up per packet would be the dearest part of forwarding, so
//! both results are remembered by destination, in a small table of the worker's own, and with a
//! binding, whose care-of address does not change. What is remembered is worth nothing as soon as
//! routes change or a neighbour comes or goes, and what is remembered by destination, too, when a home
//! address is bound that was not ([`crate::table::shared::Tables::generation`]).

use core::net::IpAddr;

use crate::config::PortId;
use crate::layout::Address6;
use crate::table::fib::Target;
use crate::view::View;

/// Index of a resolved neighbour. What it names is not given away before a grace period has passed
/// since it was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NeighbourIndex(pub(crate) u32);

/// Where a finished packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextHop {
    /// To this neighbour.
    Neighbour(NeighbourIndex),
    /// To this neighbour, whose MAC address has to be found.
    Unresolved(PortId, IpAddr),
    /// Wherever the routes lead, or into another tunnel; not known yet. It is in so many tunnels.
    Routed(u8),
    /// The same, in fragments of at most so many octets.
    Split(u16, u8),
}

/// Where an outer packet goes: a [`NextHop`] that takes no more room than it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OuterHop {
    /// To this neighbour.
    Neighbour(NeighbourIndex),
    /// Wherever the routes lead, or into another tunnel. It is in so many tunnels more.
    Routed(u8),
    /// The same, in fragments of at most so many octets.
    Split(u16, u8),
}

impl From<OuterHop> for NextHop {
    #[inline]
    fn from(hop: OuterHop) -> Self {
        match hop {
            OuterHop::Neighbour(neighbour) => Self::Neighbour(neighbour),
            OuterHop::Routed(depth) => Self::Routed(depth),
            OuterHop::Split(mtu, depth) => Self::Split(mtu, depth),
        }
    }
}

/// Where a destination lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nowhere.
    None,
    /// In the box itself.
    Local,
    /// Nowhere: a virtual home address that nobody has bound.
    Unbound,
    /// Beyond a neighbour.
    Out(NextHop),
}

/// Looks a destination up: route, then neighbour.
pub(crate) fn find(view: &View, destination: IpAddr) -> Way {
    match view.target(destination) {
        Target::None => Way::None,
        Target::Local => Way::Local,
        Target::Unbound { .. } => Way::Unbound,
        Target::Port { port, gateway } => {
            Way::Out(neighbour(view, port, gateway.unwrap_or(destination)))
        }
    }
}

/// A neighbour by its name.
pub(crate) fn neighbour(view: &View, port: PortId, address: IpAddr) -> NextHop {
    match view.neighbour(port, address) {
        Some(index) => NextHop::Neighbour(index),
        None => NextHop::Unresolved(port, address),
    }
}

/// Destinations remembered, and that they are nobody's home address: a power of two.
const PLACES: usize = 256;

/// Of what next hops depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Generation {
    /// Counts changes of routes, and neighbours that come or go; never 0.
    pub(crate) hops: u32,
    /// Counts home addresses that were not bound before.
    pub(crate) homes: u32,
}

/// One destination that is no bound home address; IPv4 addresses in their mapped form.
#[derive(Debug, Clone, Copy)]
struct Place {
    destination: Address6,
    /// When it was looked up; 0 while the place is empty.
    generation: Generation,
    neighbour: NeighbourIndex,
}

/// What a worker remembers of the destinations it sent to last.
pub(crate) struct RecentHops {
    places: Box<[Place; PLACES]>,
    generation: Generation,
}

impl Default for RecentHops {
    fn default() -> Self {
        let empty = Place {
            destination: Address6::default(),
            generation: Generation::default(),
            neighbour: NeighbourIndex(0),
        };
        Self { places: Box::new([empty; PLACES]), generation: Generation::default() }
    }
}

impl RecentHops {
    /// Starts a turn with this generation of routes, neighbours and home addresses.
    pub(crate) fn begin(&mut self, generation: Generation) {
        self.generation = generation;
    }

    /// The generation of routes and neighbours of this turn.
    #[inline]
    pub(crate) const fn hops(&self) -> u32 {
        self.generation.hops
    }

    /// The neighbour for a destination, if it is remembered.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "once per packet, and a few words")]
    pub(crate) fn get(&self, destination: Address6) -> Option<NeighbourIndex> {
        let place = self.places.get(slot(destination))?;
        (place.generation == self.generation && place.destination == destination)
            .then_some(place.neighbour)
    }

    /// Remembers it.
    pub(crate) fn put(&mut self, destination: Address6, neighbour: NeighbourIndex) {
        if let Some(place) = self.places.get_mut(slot(destination)) {
            *place = Place { destination, generation: self.generation, neighbour };
        }
    }
}

/// The place of a destination.
#[inline]
const fn slot(destination: Address6) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "below PLACES")]
    let slot = destination.mix(PLACES.trailing_zeros()) as usize;
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_remembered_beyond_its_generation() {
        let mut recent = RecentHops::default();
        recent.begin(Generation { hops: 1, homes: 0 });
        let [seven, eight] = [Address6::mapped(7), Address6::mapped(8)];
        assert_eq!(recent.get(Address6::default()), None);
        recent.put(seven, NeighbourIndex(3));
        assert_eq!(recent.get(seven), Some(NeighbourIndex(3)));
        assert_eq!(recent.get(eight), None);
        for generation in [Generation { hops: 1, homes: 1 }, Generation { hops: 2, homes: 0 }] {
            recent.begin(generation);
            assert_eq!(recent.get(seven), None);
        }
    }
}
