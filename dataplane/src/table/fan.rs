//! The ways to mobile nodes that have several, and which packets go which way.
//!
//! Read first: RFC 5648 s.6.3 to 6.5; RFC 6089 s.5.3.6; RFC 6088 s.3.
//!
//! A binding with several tunnels has a cell of the binding table for each, and one more that its
//! home addresses and SAs lead to and that names its fan. What follows the choice is the same as for
//! everybody: a cell, with a path MTU and a next hop of its own. A fan never changes; it lives as
//! long as the cell that names it.

use core::num::NonZeroU32;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use hearth_wire::flow_key::FlowKey;
use hearth_wire::mh::TrafficSelector;

use crate::sa::slot::BindingIndex;
use crate::table::reserve::{Reserve, Zeroed};

/// Tunnels, and rules, that one binding has at most.
pub(crate) const MOST: usize = 16;
/// Tunnels that get a copy of one packet at most.
pub(crate) const MOST_COPIES: usize = 4;

/// Number of a fan, plus 1.
pub(crate) type FanNumber = NonZeroU32;

/// A tunnel and its Binding ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) bid: u16,
    pub(crate) tunnel: BindingIndex,
}

/// Which packets go which ways.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) selector: TrafficSelector,
    /// At least one, at most [`MOST_COPIES`].
    pub(crate) ways: Box<[Way]>,
}

/// The ways of one binding.
#[derive(Debug)]
pub(crate) struct Fan {
    /// The preferred one first; at least one.
    pub(crate) ways: Box<[Way]>,
    /// The first that matches counts.
    pub(crate) rules: Box<[Rule]>,
}

impl Fan {
    /// The ways of a packet: "The first entry that creates a match defines how the packet is
    /// routed", and without one "the packet SHOULD be forwarded to the highest order care-of
    /// address" (RFC 6089 s.5.3.6).
    pub(crate) fn choose(&self, key: &FlowKey) -> &[Way] {
        let rule = self.rules.iter().find(|rule| rule.selector.matches(key));
        rule.map_or_else(|| self.preferred(), |rule| &rule.ways)
    }

    /// The way of what no rule says anything of.
    pub(crate) fn preferred(&self) -> &[Way] {
        self.ways.get(..1).unwrap_or_default()
    }

    /// The way with this Binding ID.
    pub(crate) fn way(&self, bid: u16) -> Option<Way> {
        self.ways.iter().copied().find(|way| way.bid == bid)
    }
}

/// A place for a fan; null is an empty one.
struct Cell(AtomicPtr<Fan>);

// SAFETY: a null pointer is valid, and atomics are Sync.
unsafe impl Zeroed for Cell {}

/// All fans.
pub(crate) struct FanTable {
    cells: Reserve<Cell>,
    /// One more than the highest place ever filled: what has to be freed at the end.
    used: AtomicU32,
}

impl FanTable {
    pub(crate) fn new(fans: usize) -> Option<Self> {
        Some(Self { cells: Reserve::new(fans)?, used: AtomicU32::new(0) })
    }

    /// A fan. A worker may use it until it reports quiescent.
    pub(crate) fn get(&self, number: FanNumber) -> Option<&Fan> {
        let cell = self.cells.get(number.get() as usize - 1)?;
        // SAFETY: null, or a box that `put` published and that `free` gets after a grace period, or
        // that goes with `self`.
        unsafe { cell.0.load(Ordering::Acquire).as_ref() }
    }

    /// Puts a fan into a free place. Control only.
    pub(crate) fn put(&self, place: u32, fan: Fan) -> Option<FanNumber> {
        let number = NonZeroU32::new(place.checked_add(1)?)?;
        let cell = self.cells.get(place as usize)?;
        cell.0.store(Box::into_raw(Box::new(fan)), Ordering::Release);
        self.used.fetch_max(number.get(), Ordering::Relaxed);
        Some(number)
    }

    /// Frees a fan.
    ///
    /// # Safety
    /// Every worker has been quiescent since the last entry that names it was taken away.
    pub(crate) unsafe fn free(&self, number: FanNumber) {
        if let Some(cell) = self.cells.get(number.get() as usize - 1) {
            release(cell.0.swap(ptr::null_mut(), Ordering::AcqRel));
        }
    }
}

/// Frees a fan that nobody has any more.
fn release(fan: *mut Fan) {
    if !fan.is_null() {
        // SAFETY: made by `put`, taken out of its cell by the only caller, and promised to be in
        // nobody's hands.
        drop(unsafe { Box::from_raw(fan) });
    }
}

impl Drop for FanTable {
    fn drop(&mut self) {
        let used = *self.used.get_mut() as usize;
        for cell in self.cells.as_slice().get(..used).unwrap_or_default() {
            release(cell.0.swap(ptr::null_mut(), Ordering::AcqRel));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_wire::mh::selector::{Addresses, Range};

    fn way(bid: u16) -> Way {
        Way { bid, tunnel: BindingIndex(u32::from(bid) + 100) }
    }

    fn to_port(port: u16) -> TrafficSelector {
        TrafficSelector { destination_port: Some(Range::only(port)), ..TrafficSelector::ANY_IPV6 }
    }

    fn key(port: u16) -> FlowKey {
        FlowKey {
            source: "2001:db8::1".parse().unwrap(),
            destination: "2001:db8::2".parse().unwrap(),
            traffic_class: 0,
            flow_label: 0,
            protocol: 17,
            ports: Some((9, port)),
            spi: None,
        }
    }

    fn fan() -> Fan {
        let rule = |selector, ways: &[Way]| Rule { selector, ways: ways.into() };
        Fan {
            ways: [way(1), way(2), way(3)].into(),
            rules: [
                rule(to_port(53), &[way(2)]),
                rule(to_port(80), &[way(3), way(1)]),
                rule(to_port(53), &[way(3)]),
            ]
            .into(),
        }
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let fan = fan();
        assert_eq!(fan.choose(&key(53)), [way(2)]);
        assert_eq!(fan.choose(&key(80)), [way(3), way(1)]);
        assert_eq!(fan.choose(&key(443)), [way(1)]);
        assert_eq!((fan.way(3), fan.way(4)), (Some(way(3)), None));
        let any4 = Addresses::V4 { source: None, destination: None };
        assert!(fan.rules.iter().all(|rule| rule.selector.addresses != any4));
    }

    #[test]
    fn a_fan_is_there_until_it_is_freed() {
        let table = FanTable::new(4).unwrap();
        let number = table.put(3, fan()).unwrap();
        assert_eq!(number.get(), 4);
        assert_eq!(table.get(number).unwrap().ways.len(), 3);
        assert!(table.get(NonZeroU32::MIN).is_none());
        // SAFETY: no reference is left.
        unsafe { table.free(number) };
        assert!(table.get(number).is_none());
        // What is left goes with the table.
        table.put(0, fan()).unwrap();
        assert!(table.put(4, fan()).is_none());
    }
}
