//! Binding Refresh Requests.
//!
//! Read first: RFC 6275 s.9.5.5; readings.

use core::net::Ipv6Addr;
use core::time::Duration;

use crate::HomeAgent;
use crate::binding::Binding;
use crate::event::Action;
use crate::outstanding::{About, Kind, Schedule};
use crate::policy::Policy;
use crate::sa_table::Sa;
use crate::slab::Id;
use crate::time::Timestamp;

/// "The correspondent node MAY retransmit Binding Refresh Request messages as long as the rate
/// limitation is applied": after 1 s and 2 s more, then no more.
const SCHEDULE: Schedule =
    Schedule { first: Duration::from_secs(1), longest: Duration::from_secs(4), most: 3 };

/// When the end of a binding is looked at first: early enough to ask for a refresh.
pub(crate) fn first_look(policy: &Policy, binding: &Binding) -> Timestamp {
    let before = policy.operations.refresh_request_before.min(binding.lifetime() / 4);
    let look = if binding.is_bound() { binding.expires.before(before) } else { binding.expires };
    binding.next_care_of_end().map_or(look, |end| end.min(look))
}

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
        if self.cache.at(id).is_some_and(|binding| binding.sa == sa) {
            self.request_refresh(now, id, out);
        }
    }

    /// Asks the mobile node to refresh its binding.
    pub(crate) fn request_refresh(
        &mut self,
        now: Timestamp,
        id: Id<Binding>,
        out: &mut Vec<Action>,
    ) {
        if self.cache.at(id).is_some_and(|binding| binding.is_bound() && binding.expires > now) {
            self.begin(now, id, (About::Refresh, SCHEDULE), out);
        }
    }

    /// The end of a binding is near, or was put off; when to look again. Where the mobile node has
    /// not refreshed it by now, it is asked to: "in an attempt to avoid [the] overhead and latency
    /// due to deleting and recreating the Binding Cache entry".
    pub(crate) fn near_end(
        &mut self,
        now: Timestamp,
        id: Id<Binding>,
        out: &mut Vec<Action>,
    ) -> Option<Timestamp> {
        let binding = self.cache.at(id)?;
        let (look, end) = (first_look(&self.policy, binding), binding.expires);
        if look > now {
            return Some(look);
        }
        if look < end {
            self.request_refresh(now, id, out);
        }
        Some(end)
    }

    /// "MUST stop retransmitting when it receives a Binding Update."
    pub(crate) fn stop_refresh_request(&mut self, there: Option<Id<Binding>>) {
        if let Some(there) = there {
            self.finish_kind(there, Kind::Refresh);
        }
    }
}
