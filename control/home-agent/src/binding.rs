//! The binding cache.
//!
//! Read first: RFC 6275 s.9.1, 10.1, 10.3.2; RFC 5555 s.4.5.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use hearth_wire::{MobileNodeId, Spi};

use crate::HomeAgent;
use crate::event::{Action, Notice};
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::wheel::{TimerId, Wheel};

/// One home address, where its mobile node is, and for how long. RFC 5555's second entry, for the
/// IPv4 home address, is a field: it lives and dies with this one (DSM-07, DSM-16).
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) mn_id: Arc<MobileNodeId>,
    /// The SA of the last accepted Binding Update; the binding never outlives it.
    pub(crate) spi: Spi,
    pub(crate) ipv4_home_address: Option<Ipv4Addr>,
    /// The registered care-of address, and the port that data goes to.
    pub(crate) care_of: SocketAddr,
    /// Outer source of the last accepted Binding Update: where other messages go.
    pub(crate) signalling: SocketAddr,
    /// The HA address and port that it was sent to.
    pub(crate) local: SocketAddr,
    /// Sequence number of the last accepted Binding Update.
    pub(crate) sequence: u16,
    pub(crate) lifetime: Duration,
    pub(crate) registered: Timestamp,
    pub(crate) expires: Timestamp,
    /// Whether a NAT was found; `None` where none was looked for.
    pub(crate) nat: Option<bool>,
    /// Status 176 was sent since the last accepted Binding Update.
    pub(crate) reinit_sent: bool,
    /// De-registered: only the sequence number counts, until the hold ends (RFC 6275 s.10.3.2).
    pub(crate) held: bool,
    /// A Binding Refresh Request that no Binding Update has followed yet.
    pub(crate) refresh_request: Option<RefreshRequest>,
    pub(crate) timer: TimerId,
}

/// Binding Refresh Requests under way (RFC 6275 s.9.5.5).
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefreshRequest {
    pub(crate) sent: u32,
    pub(crate) timer: TimerId,
}

impl Binding {
    /// Whether the dataplane carries both alike.
    pub(crate) fn carries_as(&self, other: &Self) -> bool {
        self.spi == other.spi
            && self.ipv4_home_address == other.ipv4_home_address
            && self.care_of == other.care_of
            && self.local == other.local
    }
}

/// Bindings by home address; at most one for each.
#[derive(Debug, Default)]
pub(crate) struct BindingCache {
    /// Boxed: a hash table of a million wide entries would be half empty.
    bindings: HashMap<Ipv6Addr, Box<Binding>>,
    ipv4: HashMap<Ipv4Addr, Ipv6Addr>,
    held: usize,
}

impl BindingCache {
    /// Bindings that are not merely held after their de-registration.
    pub(crate) fn live(&self) -> usize {
        self.bindings.len() - self.held
    }

    /// The entry of `home_address`, held ones included.
    pub(crate) fn entry(&self, home_address: Ipv6Addr) -> Option<&Binding> {
        self.bindings.get(&home_address).map(Box::as_ref)
    }

    /// The binding of `home_address`.
    pub(crate) fn get(&self, home_address: Ipv6Addr) -> Option<&Binding> {
        self.entry(home_address).filter(|binding| !binding.held)
    }

    /// The binding of `home_address`, for changes to what is no key of the cache.
    pub(crate) fn get_mut(&mut self, home_address: Ipv6Addr) -> Option<&mut Binding> {
        self.bindings.get_mut(&home_address).filter(|binding| !binding.held).map(Box::as_mut)
    }

    /// The home address that `ipv4_home_address` is bound together with.
    pub(crate) fn holder_of(&self, ipv4_home_address: Ipv4Addr) -> Option<Ipv6Addr> {
        self.ipv4.get(&ipv4_home_address).copied()
    }

    /// All bindings.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ipv6Addr, &Binding)> {
        self.bindings
            .iter()
            .filter(|(_, binding)| !binding.held)
            .map(|(home, b)| (*home, b.as_ref()))
    }

    /// Puts `binding` in the place of what was there.
    pub(crate) fn insert(&mut self, home_address: Ipv6Addr, binding: Binding) -> Option<Binding> {
        let before = self.remove(home_address);
        if let Some(ipv4) = binding.ipv4_home_address {
            self.ipv4.insert(ipv4, home_address);
        }
        self.held += usize::from(binding.held);
        self.bindings.insert(home_address, Box::new(binding));
        before
    }

    /// Lets the binding of `home_address` under the SA `spi` end no later than the SA.
    pub(crate) fn cap(
        &mut self,
        wheel: &mut Wheel<Timer>,
        spi: Spi,
        home_address: Ipv6Addr,
        end: Timestamp,
    ) {
        let Some(binding) = self.get_mut(home_address) else { return };
        if binding.spi == spi && binding.expires > end {
            binding.expires = end;
            binding.timer = wheel.reset(binding.timer, end, Timer::BindingEnd(home_address));
        }
    }

    /// Takes the entry of `home_address` out, held or not.
    pub(crate) fn remove(&mut self, home_address: Ipv6Addr) -> Option<Binding> {
        let binding = *self.bindings.remove(&home_address)?;
        if let Some(ipv4) = binding.ipv4_home_address {
            self.ipv4.remove(&ipv4);
        }
        self.held -= usize::from(binding.held);
        Some(binding)
    }
}

impl HomeAgent {
    /// Tells the dataplane the binding of `home_address`, if there is one, as a whole.
    pub(crate) fn rebind(&self, home_address: Ipv6Addr, out: &mut Vec<Action>) {
        let Some(binding) = self.cache.get(home_address) else { return };
        out.push(Action::Bind {
            home_address,
            ipv4_home_address: binding.ipv4_home_address,
            spi: binding.spi,
            local: binding.local,
            remote: binding.care_of,
            carriers: self.sas.carriers(&binding.mn_id, home_address),
        });
    }

    /// Forgets the entry of `home_address`; whether it was a binding.
    pub(crate) fn remove_binding(&mut self, home_address: Ipv6Addr, out: &mut Vec<Action>) -> bool {
        let Some(binding) = self.cache.remove(home_address) else { return false };
        self.wheel.cancel(binding.timer);
        if let Some(request) = binding.refresh_request {
            self.wheel.cancel(request.timer);
        }
        if !binding.held {
            out.push(Action::Unbind { home_address });
        }
        !binding.held
    }

    /// The end of a binding's lifetime, or of its hold, has come.
    pub(crate) fn binding_timer(
        &mut self,
        now: Timestamp,
        home_address: Ipv6Addr,
        out: &mut Vec<Action>,
    ) {
        let over = self.cache.entry(home_address).is_some_and(|binding| binding.expires <= now);
        if over && self.remove_binding(home_address, out) {
            out.push(Action::Notice(Notice::Expired { home_address }));
        }
    }
}
