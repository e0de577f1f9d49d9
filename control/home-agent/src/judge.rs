//! What a Binding Update will change, decided before anything is changed.
//!
//! Read first: RFC 6275 s.9.5.1, 10.3.1, 10.3.2; RFC 5555 s.4.5; readings.

use core::net::{IpAddr, Ipv4Addr};

use hearth_wire::MobileNodeId;
use hearth_wire::mh::option::MN_ID_NAI;
use hearth_wire::mh::{BuOptions, Ipv4Ack, Status};

use crate::HomeAgent;
use crate::binding::Binding;
use crate::dsmipv6::{self, Ipv4Claim};
use crate::event::Action;
use crate::registration::Request;
use crate::sa_table::Sa;
use crate::slab::Id;
use crate::time::Timestamp;

/// Mobile router operation not permitted (RFC 3963 s.4.2).
const MOBILE_ROUTER_NOT_PERMITTED: Status = Status(140);

/// To make room for a first registration, slices of so many steps of what is due are taken, and at
/// most so many of them: most steps only move a timer that has to come down the wheel.
const ROOM_SLICE: usize = 64;
const ROOM_SLICES: usize = 128;

/// An accepted Binding Update: everything is decided and nothing is changed. It holds no place of
/// anything, so that it can wait, and [`HomeAgent::commit`] looks again at what may have changed
/// meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) request: Request,
    pub(crate) change: Change,
    pub(crate) ipv4: Ipv4Plan,
}

/// What an accepted Binding Update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing but the time changes, neither for the dataplane nor for any table here.
    Refresh,
    /// A first registration or a move.
    Register,
    /// Lifetime 0.
    Deregister,
}

/// What becomes of the IPv4 home address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ipv4Plan {
    /// The answer to the option; without the option none is, or stays, bound.
    pub(crate) ack: Option<Ipv4Ack>,
    /// The assigned address, where another mobile node has it bound.
    pub(crate) taken: Option<Ipv4Addr>,
}

impl Ipv4Plan {
    pub(crate) fn bound(&self) -> Option<Ipv4Addr> {
        self.ack.filter(|ack| ack.status.is_success()).map(|ack| ack.address)
    }
}

impl HomeAgent {
    /// Sees off what has lapsed and would stand in the way of `request` until its timer runs: the
    /// holder of its IPv4 home address; where the cache is full, whatever is due.
    pub(crate) fn settle_competitors(
        &mut self,
        now: Timestamp,
        id: Id<Sa>,
        request: &Request,
        out: &mut Vec<Action>,
    ) {
        let assigned = self.sas.at(id).and_then(|sa| sa.ipv4_home_address);
        let own = self.entry_under(id).and_then(|there| self.cache.at(there));
        let new = own.is_none_or(|own| !own.is_bound());
        if request.ipv4_home_address.is_some()
            && own.is_none_or(|own| own.ipv4_home_address != assigned)
            && let Some(holder) = assigned.and_then(|assigned| self.cache.holder_of(assigned))
        {
            self.settle_binding(now, holder, out);
        }
        if new && self.cache.live() >= self.policy.max_bindings {
            for _ in 0..ROOM_SLICES {
                let more = self.tick(now, ROOM_SLICE, out);
                if !more || self.cache.live() < self.policy.max_bindings {
                    break;
                }
            }
        }
    }

    /// The checks whose failure is answered.
    pub(crate) fn judge(
        &self,
        now: Timestamp,
        (id, sa): (Id<Sa>, &Sa),
        request: &Request,
        options: &BuOptions<'_>,
    ) -> Result<Plan, Status> {
        // RFC 6275 s.9.5.1. Of a de-registered binding the number is remembered (s.10.3.2).
        let there = self.entry_under(id).and_then(|there| self.cache.at(there));
        let entry = there.filter(|entry| entry.node == sa.node);
        if entry.is_some_and(|entry| !is_newer(request.sequence, entry.sequence)) {
            return Err(Status::SEQUENCE_OUT_OF_WINDOW);
        }
        // RFC 6275 s.9.5.1: H differs from that of the binding, which is always 1 here.
        if !request.flags.home_registration {
            return Err(Status::REGISTRATION_TYPE_CHANGE);
        }
        if !self.policy.home_registration {
            return Err(Status::HOME_REGISTRATION_NOT_SUPPORTED);
        }
        // R-38; REG-11.
        if (options.mn_id.is_some() || self.policy.denies_some())
            && self.sas.mn_id(sa.node).is_none_or(|mn_id| self.is_denied(mn_id, options))
        {
            return Err(Status::ADMINISTRATIVELY_PROHIBITED);
        }
        let own = entry.filter(|entry| entry.is_bound());
        if request.lifetime == 0 {
            // RFC 6275 s.10.3.2: no home registration: 133.
            own.ok_or(Status::NOT_HOME_AGENT)?;
            let (change, ipv4) = (Change::Deregister, Ipv4Plan::default());
            return Ok(Plan { request: *request, change, ipv4 });
        }
        // A shutdown is prepared, or the binding is being revoked.
        if self.operator_refuses(self.entry_under(id).filter(|_| own.is_some())) {
            return Err(Status::ADMINISTRATIVELY_PROHIBITED);
        }
        self.judge_registration(now, sa, request, there)?;
        if own.is_some_and(|binding| self.wants_reinit(now, (id, sa), binding, request)) {
            return Err(Status::REINIT_SA_WITH_HAC);
        }
        let ipv4 = self.judge_ipv4(sa, request, own);
        let refreshes = |binding: &Binding| {
            binding.sa == id
                && binding.care_of == request.care_of.address.into()
                && binding.local == request.local.into()
                && binding.ipv4_home_address == ipv4.bound()
        };
        let change = if own.is_some_and(refreshes) { Change::Refresh } else { Change::Register };
        Ok(Plan { request: *request, change, ipv4 })
    }

    fn is_denied(&self, mn_id: &MobileNodeId, options: &BuOptions<'_>) -> bool {
        let other_name =
            |(subtype, id): (u8, &[u8])| subtype == MN_ID_NAI && id != mn_id.as_str().as_bytes();
        options.mn_id.is_some_and(other_name) || self.policy.denies(mn_id)
    }

    /// What RFC 6275 s.10.3.1 and R-36 ask of a registration; `there` is what the cache has of the
    /// home address.
    pub(crate) fn judge_registration(
        &self,
        now: Timestamp,
        sa: &Sa,
        request: &Request,
        there: Option<&Binding>,
    ) -> Result<(), Status> {
        let home_address = IpAddr::V6(request.home_address);
        if !self.policy.serves(home_address)
            || self.links.prefixes.is_over(request.home_address, now)
        {
            return Err(Status::NOT_HOME_SUBNET);
        }
        // Another mobile node has it bound, or the home agent uses it: the address is a duplicate.
        let bound = there.filter(|entry| entry.is_bound());
        if bound.is_some_and(|binding| binding.node != sa.node)
            || self.policy.ha_addresses.contains(&home_address)
        {
            return Err(Status::DAD_FAILED);
        }
        if request.flags.mobile_router {
            return Err(MOBILE_ROUTER_NOT_PERMITTED);
        }
        // an HA address, or a home address, this mobile node's own included: the tunnel
        // would lead into itself, or back here through the bindings of others. Nothing is bound
        // outside the prefixes served.
        let care_of = request.care_of.address.ip();
        if self.policy.ha_addresses.contains(&care_of)
            || care_of == request.local.ip()
            || care_of == IpAddr::V6(self.sas.ha_address(sa))
            || self.policy.serves(care_of) && self.sas.is_home_address(care_of, now)
        {
            return Err(Status::INVALID_COA);
        }
        if bound.is_none() && self.cache.live() >= self.policy.max_bindings {
            return Err(Status::INSUFFICIENT_RESOURCES);
        }
        Ok(())
    }

    /// status 176 answers only a refresh with unchanged care-of address and port, once per
    /// binding lifetime, and only while that outlasts the mobile node's retry.
    fn wants_reinit(
        &self,
        now: Timestamp,
        (id, sa): (Id<Sa>, &Sa),
        binding: &Binding,
        request: &Request,
    ) -> bool {
        sa.reinit(now).is_some()
            && binding.sa == id
            && binding.care_of == request.care_of.address.into()
            && !binding.reinit_sent
            && binding.expires.since(now) >= self.policy.reinit_margin
    }

    /// RFC 5555 s.4.5; without the option an IPv4 home address is not, or no longer, bound.
    fn judge_ipv4(&self, sa: &Sa, request: &Request, own: Option<&Binding>) -> Ipv4Plan {
        let Some(option) = request.ipv4_home_address else { return Ipv4Plan::default() };
        let assigned = sa.ipv4_home_address;
        let bound = own.is_some_and(|own| own.ipv4_home_address.is_some());
        // At most one binding has it: this one, or else whichever the table names.
        let holds = own.is_some_and(|own| bound && own.ipv4_home_address == assigned);
        let holder = assigned.filter(|_| !holds).and_then(|ipv4| self.cache.holder_of(ipv4));
        let holder = holder.and_then(|holder| self.cache.at(holder));
        let taken = holder.is_some_and(|holder| holder.home_address != request.home_address);
        let claim = Ipv4Claim { assigned, bound, taken };
        let ack = Some(dsmipv6::acknowledge_ipv4(option, claim, &self.policy));
        Ipv4Plan { ack, taken: assigned.filter(|_| taken) }
    }
}

/// RFC 6275 s.9.5.1: modulo 2^16, a number "is considered less than or equal to the last received
/// number if its value lies in the range of the last received number and the preceding 32768
/// values, inclusive".
pub(crate) const fn is_newer(sequence: u16, last: u16) -> bool {
    let ahead = sequence.wrapping_sub(last);
    ahead != 0 && ahead < 0x8000
}
