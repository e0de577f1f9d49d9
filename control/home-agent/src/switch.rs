//! Home Agent Switch: before a planned shutdown mobile nodes are sent to other home agents.
//!
//! Read first: RFC 5142 s.5, 7, 8.
//!
//! From its first message on, a mobile node's binding is not extended any more (s.5.3); it is served
//! to its end. New registrations are refused as long as the home agent drains.

use core::net::Ipv6Addr;
use core::time::Duration;
use std::collections::HashSet;

use crate::HomeAgent;
use crate::binding::Binding;
use crate::event::Action;
use crate::operations::Due;
use crate::outstanding::{About, Kind, Schedule};
use crate::policy::lifetime_units;
use crate::slab::Id;
use crate::time::Timestamp;
use crate::wheel::TimerId;

/// `INITIAL-HA-SWITCH-TIMEOUT` and `MAX-HA-SWITCH-TIMEOUT` (RFC 5142 s.8).
const INITIAL_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TIMEOUT: Duration = Duration::from_secs(20);
/// Until "the timeout period reaches the value MAX-HA-SWITCH-TIMEOUT" (s.5.2).
const MOST: u32 = 4;

/// How long the next mobile node waits where this second's share is used up.
const PACE: Duration = Duration::from_millis(10);

/// A shutdown that is being prepared.
#[derive(Debug)]
pub(crate) struct Drain {
    to: Vec<Ipv6Addr>,
    ends: Timestamp,
    /// The next place of the cache that is looked at.
    next: usize,
    /// Bindings whose mobile nodes were told.
    told: HashSet<u32>,
    timer: TimerId,
}

impl HomeAgent {
    /// Begins to send mobile nodes away; told again, to these home agents from now on.
    pub(crate) fn drain(&mut self, now: Timestamp, to: &[Ipv6Addr], within: Duration) {
        self.undrain();
        let timer = self.operations.wheel.set(now, Due::Switches);
        self.operations.drain = Some(Drain {
            to: to.to_vec(),
            ends: now.after(within),
            next: 0,
            told: HashSet::new(),
            timer,
        });
    }

    /// Takes it back: bindings are made and extended again.
    pub(crate) fn undrain(&mut self) {
        let Some(drain) = self.operations.drain.take() else { return };
        self.operations.wheel.cancel(drain.timer);
        for number in drain.told {
            if let Some(id) = Id::from_index(number as usize) {
                self.finish_kind(id, Kind::Switch);
            }
        }
    }

    /// Whether the home agent prepares its shutdown.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.operations.drain.is_some()
    }

    /// Tells the next mobile nodes, as many as this second and `left` allow.
    pub(crate) fn switch_more(&mut self, now: Timestamp, left: &mut usize, out: &mut Vec<Action>) {
        loop {
            let places = self.cache.places();
            let Some(drain) = &mut self.operations.drain else { return };
            if drain.next >= places {
                return;
            }
            let at = if *left == 0 { Some(now) } else { None };
            let id = Id::from_index(drain.next);
            let bound = id.filter(|id| self.cache.at(*id).is_some_and(|it| is_alive(it, now)));
            let at = at.or_else(|| {
                // Who is not told is not refused either.
                let full = self.operations.outstanding.is_full(Kind::Switch);
                let waits = full || !self.has_token(now, Kind::Switch);
                (bound.is_some() && waits).then(|| now.after(PACE))
            });
            if let Some(at) = at {
                let timer = self.operations.wheel.set(at, Due::Switches);
                if let Some(drain) = &mut self.operations.drain {
                    drain.timer = timer;
                }
                return;
            }
            *left -= 1;
            let Some(drain) = &mut self.operations.drain else { return };
            drain.next += 1;
            if let Some(id) = bound {
                drain.told.insert(id.number());
                self.switch(now, id, out);
            }
        }
    }

    fn switch(&mut self, now: Timestamp, id: Id<Binding>, out: &mut Vec<Action>) {
        let Some(drain) = &self.operations.drain else { return };
        // "it SHOULD delay any retransmissions until at least one half of the time period has
        // expired, or INITIAL-HA-SWITCH-TIMEOUT, whichever value is less" (s.5.2)
        let half = drain.ends.since(now) / 2;
        let first = if half.is_zero() { INITIAL_TIMEOUT } else { INITIAL_TIMEOUT.min(half) };
        let schedule = Schedule { first, longest: MAX_TIMEOUT, most: MOST };
        self.begin(now, id, (About::Switch, schedule), out);
    }

    /// The other home agents, and the time until the binding will be deleted in units of 4 s. "The
    /// home agent addresses field should […] randomize addresses of the same preference": every
    /// mobile node's list begins with the next one, so that the load is spread evenly.
    pub(crate) fn switch_content(&self, now: Timestamp) -> (Vec<Ipv6Addr>, Option<u16>) {
        let Some(drain) = &self.operations.drain else { return (Vec::new(), None) };
        let mut addresses = drain.to.clone();
        if !addresses.is_empty() {
            let turn = drain.told.len() % addresses.len();
            addresses.rotate_left(turn);
        }
        let left = lifetime_units(drain.ends.since(now));
        (addresses, Some(left).filter(|units| *units > 0))
    }

    /// RFC 5142 s.5.3: "Attempts by the mobile node to extend the binding lifetime with a Binding
    /// Update message SHOULD be rejected" with status 129. `there` is the mobile node's binding, if
    /// it has one.
    pub(crate) fn drain_refuses(&self, there: Option<Id<Binding>>) -> bool {
        let Some(drain) = &self.operations.drain else { return false };
        there.is_none_or(|id| drain.told.contains(&id.number()))
    }

    /// A binding is gone: its place may be another's.
    pub(crate) fn forget_told(&mut self, id: Id<Binding>) {
        if let Some(drain) = &mut self.operations.drain {
            drain.told.remove(&id.number());
        }
    }
}

fn is_alive(binding: &Binding, now: Timestamp) -> bool {
    binding.is_bound() && binding.expires > now
}
