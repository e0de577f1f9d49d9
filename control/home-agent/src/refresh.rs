//! Binding Refresh Requests.
//!
//! Read first: RFC 6275 s.9.5.5; readings.

use core::net::Ipv6Addr;
use core::time::Duration;

use hearth_wire::Spi;
use hearth_wire::mh::Message;

use crate::HomeAgent;
use crate::answer::{self, Whereabouts};
use crate::binding::RefreshRequest;
use crate::event::Action;
use crate::time::Timestamp;
use crate::timer::Timer;

/// Most requests for one refresh. "The correspondent node MAY retransmit Binding Refresh Request
/// messages as long as the rate limitation is applied."
const MOST: u32 = 3;

impl HomeAgent {
    /// Invites the refresh that gets status 176, where the binding is the SA's and no
    /// invitation is under way.
    pub(crate) fn invite_refresh(
        &mut self,
        now: Timestamp,
        spi: Spi,
        home_address: Ipv6Addr,
        out: &mut Vec<Action>,
    ) {
        let binding = self.cache.get(home_address).filter(|binding| binding.spi == spi);
        if binding.is_some_and(|binding| binding.refresh_request.is_none()) {
            self.request_refresh(now, home_address, out);
        }
    }

    /// Asks the mobile node to refresh its binding, and again after 1 s and 2 s more.
    pub(crate) fn request_refresh(
        &mut self,
        now: Timestamp,
        home_address: Ipv6Addr,
        out: &mut Vec<Action>,
    ) {
        let Some(binding) = self.cache.get_mut(home_address) else { return };
        let Some(sa) = self.sas.get(binding.spi) else { return };
        let sent = binding.refresh_request.map_or(0, |request| request.sent);
        if sent >= MOST {
            binding.refresh_request = None;
            return;
        }
        let timer = Timer::RefreshRequest(home_address);
        let next = now.after(Duration::from_secs(1 << sent));
        let timer = match binding.refresh_request {
            Some(request) => self.wheel.reset(request.timer, next, timer),
            None => self.wheel.set(next, timer),
        };
        binding.refresh_request = Some(RefreshRequest { sent: sent + 1, timer });
        // "This message is always sent to the home address of the mobile node"; R-32: to where the
        // last accepted Binding Update came from.
        let (spi, local, remote) = (binding.spi, binding.local, binding.signalling);
        let message = Message::BindingRefreshRequest;
        if let Some((next_header, payload)) =
            answer::payload(&message, home_address, sa.ha_address, Whereabouts::Away)
        {
            self.counters.refresh_requests += 1;
            out.push(Action::SendSignalling { spi, local, remote, next_header, payload });
        }
    }

    /// "MUST stop retransmitting when it receives a Binding Update."
    pub(crate) fn stop_refresh_request(&mut self, home_address: Ipv6Addr) {
        let Some(binding) = self.cache.get_mut(home_address) else { return };
        if let Some(request) = binding.refresh_request.take() {
            self.wheel.cancel(request.timer);
        }
    }
}
