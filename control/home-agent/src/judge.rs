//! What a Binding Update will change, decided before anything is changed.
//!
//! Read first: RFC 6275 s.9.5.1, 10.3.1, 10.3.2; RFC 5555 s.4.5; readings.

use core::net::{IpAddr, SocketAddr};

use hearth_wire::MobileNodeId;
use hearth_wire::mh::option::MN_ID_NAI;
use hearth_wire::mh::{BuOptions, Status};
use ipnet::IpNet;

use crate::HomeAgent;
use crate::binding::{Binding, More};
use crate::dsmipv6::{self, Ipv4Claim};
use crate::event::Action;
use crate::flows::{self, FlowPlan};
use crate::mcoa::{self, Asked, CareOfAddress, CareOfPlan};
use crate::nemo;
use crate::plan::{Answers, Change, Ipv4Plan, Plan, Prefixes, Refused};
use crate::prefix_table::normal;
use crate::registration::Request;
use crate::sa_table::Sa;
use crate::slab::Id;
use crate::time::Timestamp;

/// To make room for a first registration, slices of so many steps of what is due are taken, and at
/// most so many of them: most steps only move a timer that has to come down the wheel.
const ROOM_SLICE: usize = 64;
const ROOM_SLICES: usize = 128;

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
    ) -> Result<Plan, Refused> {
        // RFC 6275 s.9.5.1. Of a de-registered binding the number is remembered (s.10.3.2).
        let there = self.entry_under(id).and_then(|there| self.cache.at(there));
        let entry = there.filter(|entry| entry.node == sa.node);
        if entry.is_some_and(|entry| !is_newer(request.sequence, entry.sequence)) {
            return Err(Status::SEQUENCE_OUT_OF_WINDOW.into());
        }
        let own = entry.filter(|entry| entry.is_bound());
        if !request.flags.home_registration {
            // RFC 6275 s.9.5.1: H differs from that of the binding, which is always 1 here; RFC 3963
            // s.6.2: a mobile router sets H.
            let first = own.is_none() && request.flags.mobile_router;
            let change = Status::REGISTRATION_TYPE_CHANGE;
            return Err(if first { Status::MOBILE_ROUTER_NOT_PERMITTED } else { change }.into());
        }
        if !self.policy.home_registration {
            return Err(Status::HOME_REGISTRATION_NOT_SUPPORTED.into());
        }
        // R-38; REG-11.
        if (options.mn_id.is_some() || self.policy.denies_some())
            && self.sas.mn_id(sa.node).is_none_or(|mn_id| self.is_denied(mn_id, options))
        {
            return Err(Status::ADMINISTRATIVELY_PROHIBITED.into());
        }
        if request.lifetime == 0 {
            return self.judge_deregistration(sa, request, options, own);
        }
        // A shutdown is prepared, or the binding is being revoked.
        if self.operator_refuses(self.entry_under(id).filter(|_| own.is_some())) {
            return Err(Status::ADMINISTRATIVELY_PROHIBITED.into());
        }
        self.judge_mobile_router(sa, request, own)?;
        let prefixes = self.judge_registration(sa, (request, options), (now, there))?;
        let ipv4 = self.judge_ipv4(sa, request, own);
        let prefixes = with_ipv4(prefixes, &ipv4);
        if ipv4.grant.is_some_and(|grant| grant.prefix.is_some())
            && self.leads_back(request, request.care_of.address.ip(), &prefixes.prefixes)
        {
            return Err(Status::INVALID_COA.into());
        }
        let care_of = self.judge_care_of((now, sa), (request, options), own, &prefixes)?;
        if own.is_none() && self.cache.live() >= self.policy.max_bindings {
            return Err(Status::INSUFFICIENT_RESOURCES.into());
        }
        let flows = self.judge_flows(sa, options, own, &care_of.after);
        let plan = Plan::new(request, prefixes, ipv4, (care_of, flows));
        let moves = own.is_some_and(|own| plan.moves(own));
        if own.is_some_and(|own| !moves && self.wants_reinit(now, (id, sa), own)) {
            return Err(Status::REINIT_SA_WITH_HAC.into());
        }
        if moves {
            self.judge_move(now, sa)?;
        }
        let refreshes = own.is_some_and(|own| own.sa == id && plan.changes_only_time_of(own));
        let change = if refreshes { Change::Refresh } else { Change::Register };
        Ok(Plan { change, ..plan })
    }

    /// RFC 6275 s.10.3.2: no home registration: 133. RFC 3963 s.6.2, 6.7: R and prefixes are
    /// ignored. RFC 5648 s.6.2: of some of several care-of addresses, or of all.
    fn judge_deregistration(
        &self,
        sa: &Sa,
        request: &Request,
        options: &BuOptions<'_>,
        own: Option<&Binding>,
    ) -> Result<Plan, Refused> {
        let own = own.ok_or(Status::NOT_HOME_AGENT)?;
        let (mut change, ipv4, mut more, mut answers) =
            (Change::Deregister, Ipv4Plan::default(), None, None);
        if !request.bids.is_empty() {
            if options.bids.iter().any(|bid| bid.is_err()) {
                return Err(Status::MCOA_MALFORMED.into());
            }
            let plan = self.asked(sa, request).deregister(own.care_of_addresses())?;
            // RFC 6089 s.5.3.3: without the others it is a Binding Update like any to the flows.
            let mut flows = self.judge_flows(sa, options, Some(own), &plan.after);
            if plan.after.is_empty() {
                flows = FlowPlan::default();
            }
            let (care_of, said) = Answers::of(plan, flows.answers);
            answers = said;
            if !care_of.is_empty() {
                change = Change::Withdraw;
                let before = own.more.as_deref().cloned().unwrap_or_default();
                more = More { care_of, flows: flows.after, ..before }.boxed();
            }
        }
        Ok(Plan { request: request.clone(), change, ipv4, more, answers })
    }

    fn judge_flows(
        &self,
        sa: &Sa,
        options: &BuOptions<'_>,
        own: Option<&Binding>,
        care_of: &[CareOfAddress],
    ) -> FlowPlan {
        if options.flows.is_empty() && options.flow_summaries.is_empty() {
            return FlowPlan::default();
        }
        let most = self.sas.services(sa.node).map_or(0, |services| services.flows);
        flows::judge(own.map_or(&[], Binding::flows), options, care_of, most)
    }

    fn asked<'a>(&self, sa: &Sa, request: &'a Request) -> Asked<'a> {
        Asked {
            bids: &request.bids,
            overwrite: request.flags.overwrite,
            remote: request.remote,
            local: request.local,
            ha_address: self.sas.ha_address(sa),
            follow_source6: self.policy.nat66_follow_source,
        }
    }

    /// What RFC 5648 s.6.2 asks of a registration with Binding Identifiers; without one there is
    /// nothing to plan.
    fn judge_care_of(
        &self,
        (now, sa): (Timestamp, &Sa),
        (request, options): (&Request, &BuOptions<'_>),
        own: Option<&Binding>,
        prefixes: &Prefixes,
    ) -> Result<CareOfPlan, Refused> {
        if request.bids.is_empty() {
            return Ok(CareOfPlan::default());
        }
        let asked = self.asked(sa, request);
        let services = self.sas.services(sa.node);
        let existing = own.map_or(&[][..], Binding::care_of_addresses);
        let plain = own.is_some() && existing.is_empty();
        mcoa::may_register(&asked, options, services, plain)?;
        let most = services.map_or(1, |services| services.care_of_addresses);
        let is_invalid =
            |care_of| self.is_invalid_care_of(now, (sa, request), care_of, &prefixes.prefixes);
        let plan = asked.register(existing, most, is_invalid)?;
        // What stays may have become wrong by new prefixes.
        let stays = plan.after.iter().filter(|it| !plan.renewed.contains(&it.bid));
        let mut stays = stays.map(|it| SocketAddr::from(it.address).ip());
        if stays.any(|care_of| self.leads_back(request, care_of, &prefixes.prefixes)) {
            return Err(Status::INVALID_COA.into());
        }
        Ok(plan)
    }

    fn is_denied(&self, mn_id: &MobileNodeId, options: &BuOptions<'_>) -> bool {
        let other_name =
            |(subtype, id): (u8, &[u8])| subtype == MN_ID_NAI && id != mn_id.as_str().as_bytes();
        options.mn_id.is_some_and(other_name) || self.policy.denies(mn_id)
    }

    /// RFC 3963 s.6.2: R stays what it is while a binding lasts, and is for those who may.
    fn judge_mobile_router(
        &self,
        sa: &Sa,
        request: &Request,
        own: Option<&Binding>,
    ) -> Result<(), Status> {
        let router = request.flags.mobile_router;
        if own.is_some_and(|own| own.is_mobile_router() != router) {
            return Err(Status::REGISTRATION_TYPE_CHANGE);
        }
        if router && !self.may_be_router(sa) {
            return Err(Status::MOBILE_ROUTER_NOT_PERMITTED);
        }
        Ok(())
    }

    /// Whether the subscriber may register as a mobile router.
    pub(crate) fn may_be_router(&self, sa: &Sa) -> bool {
        self.sas.services(sa.node).is_some_and(|services| services.mobile_router)
    }

    /// RFC 5555 s.5: a care-of address can be told from the mobile node's own only by how often it
    /// moves, where it is the outer source.
    fn judge_move(&self, now: Timestamp, sa: &Sa) -> Result<(), Refused> {
        let pace = self.sas.nodes.get(sa.node).map(|node| node.moves).unwrap_or_default();
        if pace.grants(now, self.policy.care_of_moves_per_minute) {
            return Ok(());
        }
        let status = Status::ADMINISTRATIVELY_PROHIBITED;
        Err(Refused { status, bids: None, moves_too_often: true })
    }

    /// What RFC 6275 s.10.3.1, RFC 3963 s.6.2 and R-36 ask of a registration; `there` is what the
    /// cache has of the home address.
    fn judge_registration(
        &self,
        sa: &Sa,
        (request, options): (&Request, &BuOptions<'_>),
        (now, there): (Timestamp, Option<&Binding>),
    ) -> Result<Prefixes, Status> {
        self.judge_home_address(now, sa, request, there)?;
        let prefixes = self.judge_prefixes(sa, request, options);
        let own = prefixes.as_ref().map_or(&[][..], |prefixes| &prefixes.prefixes);
        // Those of Binding Identifiers are judged one by one.
        if request.bids.is_empty()
            && self.is_invalid_care_of(now, (sa, request), request.care_of.address.ip(), own)
        {
            return Err(Status::INVALID_COA);
        }
        prefixes
    }

    /// What may not hold any more of a plan that has waited.
    pub(crate) fn judge_late(&self, now: Timestamp, sa: &Sa, plan: &Plan) -> Result<(), Status> {
        let request = &plan.request;
        let there = self.cache.entry(request.home_address);
        self.judge_home_address(now, sa, request, there)?;
        let prefixes = plan.more.as_ref().map_or(&[][..], |more| &more.prefixes);
        let mut care_of = plan.care_of_ips();
        if care_of.any(|care_of| self.is_invalid_care_of(now, (sa, request), care_of, prefixes)) {
            return Err(Status::INVALID_COA);
        }
        if prefixes.iter().any(|prefix| self.is_taken(sa.node, *prefix)) {
            return Err(Status::FORWARDING_SETUP_FAILED);
        }
        let new = there.is_none_or(|there| !there.is_bound());
        if new && self.cache.live() >= self.policy.max_bindings {
            return Err(Status::INSUFFICIENT_RESOURCES);
        }
        Ok(())
    }

    /// Whether the home address is one to be bound, and by this mobile node.
    fn judge_home_address(
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
            || self.is_in_mobile_network_of_another(sa.node, home_address)
        {
            return Err(Status::DAD_FAILED);
        }
        Ok(())
    }

    /// an HA address, or a home address, this mobile node's own included: the tunnel would
    /// lead into itself, or back here through the bindings of others. Nothing is bound outside the
    /// prefixes served.
    fn is_invalid_care_of(
        &self,
        now: Timestamp,
        (sa, request): (&Sa, &Request),
        care_of: IpAddr,
        own_prefixes: &[IpNet],
    ) -> bool {
        self.policy.ha_addresses.contains(&care_of)
            || care_of == request.local.ip()
            || care_of == IpAddr::V6(self.sas.ha_address(sa))
            || self.policy.serves(care_of) && self.sas.is_home_address(care_of, now)
            || self.leads_back(request, care_of, own_prefixes)
    }

    /// status 176 answers only a refresh with unchanged care-of address and port, once per
    /// binding lifetime, and only while that outlasts the mobile node's retry.
    fn wants_reinit(&self, now: Timestamp, (id, sa): (Id<Sa>, &Sa), binding: &Binding) -> bool {
        sa.reinit(now).is_some()
            && binding.sa == id
            && !binding.reinit_sent
            && binding.expires.since(now) >= self.policy.reinit_margin
    }

    /// RFC 5555 s.4.5; without the option an IPv4 home address is not, or no longer, bound.
    fn judge_ipv4(&self, sa: &Sa, request: &Request, own: Option<&Binding>) -> Ipv4Plan {
        let Some(option) = request.ipv4_home_address else { return Ipv4Plan::default() };
        let assigned = sa.ipv4_home_address;
        let of_ipv4 = |prefix: &&IpNet| prefix.addr().is_ipv4();
        let bound_prefix = own.and_then(|own| own.prefixes().iter().find(of_ipv4)).copied();
        let bound =
            own.is_some_and(|own| own.ipv4_home_address.is_some()) || bound_prefix.is_some();
        // At most one binding has it: this one, or else whichever the table names.
        let holds = own.is_some_and(|own| assigned.is_some() && own.ipv4_home_address == assigned);
        let holder = assigned.filter(|_| !holds).and_then(|ipv4| self.cache.holder_of(ipv4));
        let holder = holder.and_then(|holder| self.cache.at(holder));
        let taken = holder.is_some_and(|holder| holder.home_address != request.home_address)
            || assigned
                .is_some_and(|ipv4| self.is_in_mobile_network_of_another(sa.node, ipv4.into()));
        let prefix = self
            .sas
            .services(sa.node)
            .and_then(|services| nemo::ipv4_prefix(services, option.prefix_len, &self.policy));
        let free = |prefix: &IpNet| !self.is_taken(sa.node, *prefix);
        let prefix = prefix.filter(free);
        let claim = Ipv4Claim { assigned, bound, taken, bound_prefix, prefix };
        let grant = Some(dsmipv6::acknowledge_ipv4(option, claim, &self.policy));
        Ipv4Plan { grant, taken: assigned.filter(|_| taken) }
    }
}

/// The mobile networks of a binding, with the IPv4 one that was asked for beside a home address.
fn with_ipv4(prefixes: Prefixes, ipv4: &Ipv4Plan) -> Prefixes {
    let Some(prefix) = ipv4.grant.and_then(|grant| grant.prefix) else { return prefixes };
    let Prefixes { mobile_router, mut prefixes } = prefixes;
    prefixes.push(prefix);
    Prefixes { mobile_router, prefixes: normal(prefixes) }
}

/// RFC 6275 s.9.5.1: modulo 2^16, a number "is considered less than or equal to the last received
/// number if its value lies in the range of the last received number and the preceding 32768
/// values, inclusive".
pub(crate) const fn is_newer(sequence: u16, last: u16) -> bool {
    let ahead = sequence.wrapping_sub(last);
    ahead != 0 && ahead < 0x8000
}
