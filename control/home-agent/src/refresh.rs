//! Binding Refresh Requests.
//!
//! Read first: RFC 6275 s.9.5.5; readings.

use core::net::Ipv6Addr;
use core::time::Duration;

use hearth_wire::mh::{Message, Repeated};

use crate::HomeAgent;
use crate::answer::{Envelope, Whereabouts};
use crate::binding::Binding;
use crate::event::Action;
use crate::sa_table::Sa;
use crate::slab::Id;
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::wheel::TimerId;

/// Most requests for one refresh. "The correspondent node MAY retransmit Binding Refresh Request
/// messages as long as the rate limitation is applied."
const MOST: u8 = 3;

impl HomeAgent {
    /// Invites the refresh that gets status 176, where the binding is the SA's and no
    /// invitation is under way.
    pub(crate) fn invite_refresh(
        &mut self,
        now: Timestamp,
        sa: Id<Sa>,
        home_address: Ipv6Addr,
        out: &mut Vec<Action>,
    ) {
        let Some(id) = self.cache.find(home_address) else { return };
        if self.cache.at(id).is_some_and(|binding| {
            binding.is_bound()
                && binding.sa == sa
                && binding.refresh_requests == 0
                && binding.expires > now
        }) {
            self.request_refresh(now, id, out);
        }
    }

    /// Asks the mobile node to refresh its binding, and again after 1 s and 2 s more.
    pub(crate) fn request_refresh(
        &mut self,
        now: Timestamp,
        id: Id<Binding>,
        out: &mut Vec<Action>,
    ) {
        let Some(binding) = self.cache.at_mut(id) else { return };
        if binding.expires <= now {
            return;
        }
        let sent = binding.refresh_requests;
        if sent >= MOST {
            binding.refresh_requests = 0;
            binding.refresh_timer = TimerId::NONE;
            return;
        }
        let next = now.after(Duration::from_secs(1 << sent));
        binding.refresh_requests = sent + 1;
        binding.refresh_timer = self.wheel.set(next, Timer::RefreshRequest(id).into());
        let Some(sa) = self.sas.at(binding.sa) else { return };
        // "This message is always sent to the home address of the mobile node"; R-32: to where the
        // last accepted Binding Update came from.
        let envelope = Envelope {
            spi: sa.spi,
            local: binding.local.into(),
            remote: binding.signalling.into(),
            home_address: binding.home_address,
            ha_address: self.sas.ha_address(sa),
        };
        let message = Message::BindingRefreshRequest { bids: Repeated::default() };
        if self.send(&message, envelope, Whereabouts::Away, out) {
            self.counters.refresh_requests += 1;
        }
    }

    /// "MUST stop retransmitting when it receives a Binding Update."
    pub(crate) fn stop_refresh_request(&mut self, there: Option<Id<Binding>>) {
        let Some(binding) = there.and_then(|there| self.cache.at_mut(there)) else { return };
        if binding.refresh_requests > 0 {
            binding.refresh_requests = 0;
            self.wheel.cancel(binding.refresh_timer);
            binding.refresh_timer = TimerId::NONE;
        }
    }
}
