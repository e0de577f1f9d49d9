//! Next hops: the neighbour that a packet is sent to, and what a worker remembers of the way there.
//!
//! A route look-up and a neighbour look-up per packet would be the dearest part of forwarding, so
//! both results are remembered by destination, in a small table of the worker's own, and with a
//! binding, whose care-of address does not change. What is remembered is worth nothing as soon as
//! routes change or a neighbour comes or goes ([`crate::table::shared::Tables::hop_generation`]).

use core::net::IpAddr;

use crate::config::PortId;
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
    /// Wherever the routes lead; not known yet.
    Routed,
}

/// Where a destination lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nowhere.
    None,
    /// In the box itself.
    Local,
    /// Beyond a neighbour.
    Out(NextHop),
}

/// Looks a destination up: route, then neighbour.
pub(crate) fn find(view: &View, destination: IpAddr) -> Way {
    match view.target(destination) {
        Target::None => Way::None,
        Target::Local => Way::Local,
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

/// Destinations remembered.
const PLACES: usize = 256;

/// One destination; IPv4 addresses in their mapped form.
#[derive(Debug, Clone, Copy)]
struct Place {
    destination: [u8; 16],
    /// When it was looked up; 0 while the place is empty.
    generation: u32,
    neighbour: NeighbourIndex,
}

/// What a worker remembers of the destinations it sent to last.
pub(crate) struct RecentHops {
    places: Box<[Place; PLACES]>,
    generation: u32,
}

impl Default for RecentHops {
    fn default() -> Self {
        let empty = Place { destination: [0; 16], generation: 0, neighbour: NeighbourIndex(0) };
        Self { places: Box::new([empty; PLACES]), generation: 0 }
    }
}

impl RecentHops {
    /// Starts a turn with this generation of routes and neighbours.
    pub(crate) fn begin(&mut self, generation: u32) {
        self.generation = generation;
    }

    /// The generation of this turn.
    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    /// The neighbour for a destination, if it is remembered.
    #[inline]
    pub(crate) fn get(&self, destination: &[u8; 16]) -> Option<NeighbourIndex> {
        let place = self.places.get(slot(destination))?;
        (place.generation == self.generation && place.destination == *destination)
            .then_some(place.neighbour)
    }

    /// Remembers it.
    pub(crate) fn put(&mut self, destination: [u8; 16], neighbour: NeighbourIndex) {
        if let Some(place) = self.places.get_mut(slot(&destination)) {
            *place = Place { destination, generation: self.generation, neighbour };
        }
    }
}

/// The place of a destination.
#[inline]
const fn slot(destination: &[u8; 16]) -> usize {
    let bits = u128::from_le_bytes(*destination);
    #[expect(clippy::cast_possible_truncation, reason = "both halves, then 8 bits")]
    let mixed = (bits as u64 ^ (bits >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    mixed as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_remembered_beyond_its_generation() {
        let mut recent = RecentHops::default();
        recent.begin(1);
        assert_eq!(recent.get(&[0; 16]), None);
        recent.put([7; 16], NeighbourIndex(3));
        assert_eq!(recent.get(&[7; 16]), Some(NeighbourIndex(3)));
        assert_eq!(recent.get(&[8; 16]), None);
        recent.begin(2);
        assert_eq!(recent.get(&[7; 16]), None);
    }
}
