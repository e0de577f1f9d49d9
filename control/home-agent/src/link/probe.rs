//! Duplicate address detection in front of a registration.
//!
//! Read first: RFC 6275 s.10.3.1; RFC 4862 s.5.4; RFC 5227 s.2.1.1; RFC 5555 s.4.5.
//!
//! A plan waits here while its addresses are asked for on the link. Whoever else has one of them,
//! or asks for it too, refuses the plan as a whole; silence lets it go on. ARP and Neighbour
//! Discovery ask at the same time and wait equally long: a mobile node sends its Binding Update
//! again after 1.5 s, and RFC 5227's six seconds would be four tries of it.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::{BTreeSet, HashMap};

use super::LinkId;
use crate::plan::Plan;
use crate::time::Timestamp;

/// An address on a link.
pub(crate) type OnLink = (LinkId, IpAddr);

#[derive(Debug)]
struct Waiting {
    plan: Plan,
    addresses: Vec<OnLink>,
    due: Timestamp,
    /// Questions that are still to be sent.
    left: u8,
}

/// What comes next for a plan that waits.
#[derive(Debug)]
pub(crate) enum Next {
    /// These addresses are to be asked for.
    Ask(Vec<OnLink>),
    /// Nobody has answered.
    Done(Box<Plan>),
}

/// Plans that wait, by home address.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    waiting: HashMap<Ipv6Addr, Waiting>,
    asked: HashMap<OnLink, Ipv6Addr>,
    due: BTreeSet<(Timestamp, Ipv6Addr)>,
}

impl Probes {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a plan for `home_address` waits.
    pub(crate) fn plan(&self, home_address: Ipv6Addr) -> Option<&Plan> {
        self.waiting.get(&home_address).map(|waiting| &waiting.plan)
    }

    /// Whether another plan waits for one of `addresses`.
    pub(crate) fn competes(&self, home_address: Ipv6Addr, addresses: &[OnLink]) -> bool {
        let of_other = |address| self.asked.get(address).is_some_and(|home| *home != home_address);
        addresses.iter().any(of_other)
    }

    /// Lets `plan` wait for `tries` questions about `addresses`, the first of them due at once. A
    /// plan of the same home address that waits already is replaced; where it has asked for all
    /// these addresses, its questions count.
    pub(crate) fn begin(&mut self, now: Timestamp, plan: Plan, addresses: &[OnLink], tries: u8) {
        let home_address = plan.request.home_address;
        if let Some(waiting) = self.waiting.get_mut(&home_address)
            && addresses.iter().all(|address| waiting.addresses.contains(address))
        {
            waiting.plan = plan;
            return;
        }
        self.cancel(home_address);
        let waiting = Waiting { plan, addresses: addresses.to_vec(), due: now, left: tries };
        self.due.insert((now, home_address));
        self.asked.extend(addresses.iter().map(|address| (*address, home_address)));
        self.waiting.insert(home_address, waiting);
    }

    /// Takes the plan of `home_address` out.
    pub(crate) fn cancel(&mut self, home_address: Ipv6Addr) -> Option<Plan> {
        let waiting = self.waiting.remove(&home_address)?;
        self.due.remove(&(waiting.due, home_address));
        for address in &waiting.addresses {
            self.asked.remove(address);
        }
        Some(waiting.plan)
    }

    /// Somebody else has `address`: the plan that it refuses.
    pub(crate) fn heard(&mut self, address: OnLink) -> Option<Plan> {
        let home_address = *self.asked.get(&address)?;
        self.cancel(home_address)
    }

    /// One thing that is due at `now`. `wait` is the time behind each question.
    pub(crate) fn next(&mut self, now: Timestamp, wait: Duration) -> Option<Next> {
        let (due, home_address) = *self.due.first().filter(|(due, _)| *due <= now)?;
        let waiting = self.waiting.get_mut(&home_address)?;
        if waiting.left == 0 {
            return self.cancel(home_address).map(Box::new).map(Next::Done);
        }
        self.due.remove(&(due, home_address));
        waiting.left -= 1;
        waiting.due = now.after(wait);
        self.due.insert((waiting.due, home_address));
        Some(Next::Ask(waiting.addresses.clone()))
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }
}
