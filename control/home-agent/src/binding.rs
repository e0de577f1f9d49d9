//! One binding, and what ends it.
//!
//! Read first: RFC 6275 s.9.1, 10.1, 10.3.2; RFC 5555 s.4.5.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use ipnet::IpNet;

use crate::HomeAgent;
use crate::endpoint::Endpoint;
use crate::event::{Action, Notice};
use crate::flows::FlowBinding;
use crate::mcoa::CareOfAddress;
use crate::node::Node;
use crate::policy::LIFETIME_UNIT;
use crate::sa_table::Sa;
use crate::slab::Id;
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::tunnels::Tunnel;
use crate::wheel::TimerId;

/// How long after the dataplane had no room for a binding's new form it is told again.
const AGAIN: Duration = Duration::from_secs(1);

/// One home address, where its mobile node is, and for how long. RFC 5555's second entry, for the
/// IPv4 home address, is a field: it lives and dies with this one (DSM-07, DSM-16).
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) home_address: Ipv6Addr,
    pub(crate) node: Id<Node>,
    /// The SA of the last accepted Binding Update; the binding never outlives it.
    pub(crate) sa: Id<Sa>,
    pub(crate) ipv4_home_address: Option<Ipv4Addr>,
    pub(crate) state: State,
    /// Whether a NAT was found; `None` where none was looked for.
    pub(crate) nat: Option<bool>,
    /// Status 176 was sent since the last accepted Binding Update.
    pub(crate) reinit_sent: bool,
    /// Sequence number of the last accepted Binding Update.
    pub(crate) sequence: u16,
    /// The lifetime granted, in units of 4 s.
    pub(crate) units: u16,
    /// The registered care-of address, and the port that data goes to.
    pub(crate) care_of: Endpoint,
    /// Outer source of the last accepted Binding Update: where other messages go.
    pub(crate) signalling: Endpoint,
    /// The HA address and port that it was sent to.
    pub(crate) local: Endpoint,
    pub(crate) registered: Timestamp,
    /// The end of the lifetime, or of the hold. From then on it is gone, whether or not its timer
    /// has run.
    pub(crate) expires: Timestamp,
    /// Fires at `expires` or before it.
    pub(crate) timer: TimerId,
    /// What only some mobile nodes have.
    pub(crate) more: Option<Box<More>>,
}

/// What mobile routers, and mobile nodes with several care-of addresses, have beside a home address
/// and a care-of address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct More {
    /// R: it is a mobile router's (RFC 3963 s.6.1.1).
    pub(crate) mobile_router: bool,
    /// Mobile network prefixes of both families, growing; none overlaps another one.
    pub(crate) prefixes: Vec<IpNet>,
    /// Care-of addresses with Binding IDs, the one to be preferred first, which is the binding's
    /// own; none where there is one without a Binding ID.
    pub(crate) care_of: Vec<CareOfAddress>,
    /// Flow bindings, by growing priority.
    pub(crate) flows: Vec<FlowBinding>,
}

impl More {
    /// In a box, if there is anything to put into it.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// Where a binding is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It is a binding.
    Bound,
    /// De-registered: only the sequence number counts, until the hold ends (RFC 6275 s.10.3.2).
    Held,
}

impl Binding {
    /// Whether the dataplane carries both alike.
    pub(crate) fn carries_as(&self, other: &Self) -> bool {
        self.sa == other.sa
            && self.ipv4_home_address == other.ipv4_home_address
            && self.prefixes() == other.prefixes()
            && self.is_mobile_router() == other.is_mobile_router()
            && self.ways().eq(other.ways())
            && self.flow_rules().eq(other.flow_rules())
    }

    /// Whether it is a mobile router's.
    pub(crate) fn is_mobile_router(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.mobile_router)
    }

    /// Its mobile network prefixes.
    pub(crate) fn prefixes(&self) -> &[IpNet] {
        self.more.as_ref().map_or(&[], |more| &more.prefixes)
    }

    /// Whether `address` is in one of its mobile networks.
    pub(crate) fn is_in_own_network(&self, address: IpAddr) -> bool {
        self.prefixes().iter().any(|prefix| prefix.contains(&address))
    }

    /// Its care-of addresses with Binding IDs, the one to be preferred first.
    pub(crate) fn care_of_addresses(&self) -> &[CareOfAddress] {
        self.more.as_ref().map_or(&[], |more| &more.care_of)
    }

    /// When the first of them ends.
    pub(crate) fn next_care_of_end(&self) -> Option<Timestamp> {
        self.care_of_addresses().iter().map(|care_of| care_of.expires).min()
    }

    /// Where packets may go: Binding ID, BID-PRI, from, to.
    pub(crate) fn ways(&self) -> impl Iterator<Item = (u16, u8, Endpoint, Endpoint)> + '_ {
        let only = (0, Tunnel::NO_PRIORITY, self.local, self.care_of);
        let many = self.care_of_addresses();
        let many = many.iter().map(|it| (it.bid, it.priority, it.local, it.address));
        self.care_of_addresses().is_empty().then_some(only).into_iter().chain(many)
    }

    /// Its care-of addresses.
    pub(crate) fn care_of_ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.ways().map(|(.., care_of)| SocketAddr::from(care_of).ip())
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.state == State::Bound
    }

    /// The lifetime granted.
    pub(crate) fn lifetime(&self) -> Duration {
        LIFETIME_UNIT * u32::from(self.units)
    }
}

impl HomeAgent {
    /// Where the entry of an SA's home address is, held ones included.
    pub(crate) fn entry_under(&self, id: Id<Sa>) -> Option<Id<Binding>> {
        let sa = self.sas.at(id)?;
        let names_it = |there: &Id<_>| {
            self.cache.at(*there).is_some_and(|entry| entry.home_address == sa.home_address)
        };
        // There is one entry at most: one that names the home address is the one.
        sa.binding.filter(names_it).or_else(|| self.cache.find(sa.home_address))
    }

    /// Forgets an entry; whether it was a binding.
    pub(crate) fn remove_binding(&mut self, id: Id<Binding>, out: &mut Vec<Action>) -> bool {
        let Some(binding) = self.cache.remove(id) else { return false };
        self.wheel.cancel(binding.timer);
        self.forget_operations(id, out);
        let was_bound = binding.is_bound();
        if was_bound {
            out.push(Action::Unbind { home_address: binding.home_address });
            self.links.released(binding.home_address);
        }
        was_bound
    }

    /// The end of a binding's lifetime, or of its hold, may have come.
    pub(crate) fn binding_timer(&mut self, now: Timestamp, id: Id<Binding>, out: &mut Vec<Action>) {
        if self.settle_binding(now, id, out) {
            return;
        }
        // It was refreshed since the timer was set, or it is to be.
        let Some(next) = self.near_end(now, id, out) else { return };
        if let Some(binding) = self.cache.fleeting_mut(id) {
            let next = binding.next_care_of_end().map_or(next, |end| end.min(next));
            binding.timer = self.wheel.set(next, Timer::BindingEnd(id).into());
        }
    }

    /// Ends what has lapsed and whose timer may not have run yet; whether it did.
    pub(crate) fn settle_binding(
        &mut self,
        now: Timestamp,
        id: Id<Binding>,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(binding) = self.cache.at(id).filter(|binding| binding.expires <= now) else {
            self.settle_care_of(now, id, out);
            return false;
        };
        let home_address = binding.home_address;
        if self.remove_binding(id, out) {
            out.push(Action::Notice(Notice::Expired { home_address }));
        }
        true
    }

    /// The dataplane is told again what it had no room for.
    pub(crate) fn bind_again(&mut self, id: Id<Binding>, out: &mut Vec<Action>) {
        self.again.remove(&id.number());
        if let Some(binding) = self.cache.at(id) {
            self.rebind(binding.home_address, out);
        }
    }

    /// Sees to it that the dataplane is told of a binding again, once however often it refused.
    pub(crate) fn bind_later(&mut self, now: Timestamp, id: Id<Binding>) {
        if self.again.insert(id.number()) {
            self.wheel.set(now.after(AGAIN), Timer::BindAgain(id).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million of them: what only some mobile nodes have is a pointer to the others.
    #[test]
    fn a_binding_with_one_care_of_address_is_small() {
        assert!(size_of::<Option<Binding>>() <= 128, "{}", size_of::<Option<Binding>>());
    }
}
