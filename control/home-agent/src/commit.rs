//! A Binding Update that was accepted, carried out; and taken back where the dataplane has no room
//! for it.
//!
//! Read first: RFC 6275 s.10.3.1, 10.3.2; RFC 5555 s.4.4.2, 4.5; readings.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use hearth_wire::mh::Status;

use crate::HomeAgent;
use crate::binding::{Binding, State};
use crate::event::{Action, Notice};
use crate::nemo::Lost;
use crate::node::Node;
use crate::plan::{Change, Plan};
use crate::policy::lifetime_units;
use crate::refresh::first_look;
use crate::registration::{Answer, Request};
use crate::sa_table::Sa;
use crate::slab::Id;
use crate::time::Timestamp;
use crate::timer::Timer;
use crate::view::{Reinit, SaState};
use crate::wheel::TimerId;

/// What was there before a registration of which the dataplane may still say that it has no room.
#[derive(Debug)]
pub(crate) struct Undo {
    request: Request,
    /// The status that the answer would have had.
    status: Status,
    before: Option<Binding>,
    sas: Option<SasBefore>,
    /// Prefixes that other bindings of the mobile node lost to it.
    lost: Vec<Lost>,
}

/// The SAs of a mobile node before the first Binding Update under one of them was accepted.
#[derive(Debug)]
struct SasBefore {
    node: Id<Node>,
    used_generation: Option<u64>,
    sas: Vec<SaBefore>,
}

/// One of them, and where a binding is under it, its end, which comes no later than the SA's.
#[derive(Debug)]
struct SaBefore {
    id: Id<Sa>,
    state: SaState,
    ends: Timestamp,
    binding: Option<(Id<Binding>, Timestamp)>,
}

impl Binding {
    /// Lets the care-of addresses that `plan` renews end at `expires`; when the last one ends.
    fn renew(&mut self, plan: &Plan, units: u16, expires: Timestamp) -> Timestamp {
        let Some(more) = &mut self.more else { return expires };
        let renewed = plan.answers.as_ref().map_or(&[][..], |answers| &answers.renewed);
        for care_of in &mut more.care_of {
            if renewed.contains(&care_of.bid) {
                (care_of.units, care_of.expires) = (units, expires);
            }
        }
        more.care_of.iter().map(|care_of| care_of.expires).max().unwrap_or(expires)
    }
}

impl HomeAgent {
    /// Carries a plan out. A plan that has waited is void where its SA has ended meanwhile, and
    /// with it whatever could be answered.
    pub(crate) fn commit(&mut self, now: Timestamp, plan: &Plan, out: &mut Vec<Action>) {
        let Some(id) = self.sas.find(plan.request.spi) else { return };
        match plan.change {
            Change::Refresh => self.refresh(now, id, plan, out),
            Change::Register | Change::Withdraw => self.register(now, id, plan, out),
            Change::Deregister => self.deregister(now, id, plan, out),
        }
        self.heed_update(now, id, plan.change, out);
    }

    /// Moves the end of a binding, and nothing else.
    fn refresh(&mut self, now: Timestamp, id: Id<Sa>, plan: &Plan, out: &mut Vec<Action>) {
        let request = &plan.request;
        let home_address = request.home_address;
        let Some(sa) = self.sas.at(id) else { return };
        let ends = sa.ends;
        let (units, expires) = self.granted(now, sa, request);
        let Some(entry) = self.entry_under(id) else { return };
        let Some(binding) = self.cache.at_mut(entry) else { return };
        binding.sequence = request.sequence;
        binding.units = units;
        binding.expires = binding.renew(plan, units, expires).min(ends);
        binding.signalling = request.remote.into();
        binding.nat = request.care_of.nat;
        binding.reinit_sent = false;
        let look = first_look(&self.policy, binding);
        binding.timer = self.wheel.no_later(binding.timer, look, Timer::BindingEnd(entry).into());
        let lifetime = binding.lifetime();
        self.notice_taken(id, plan, out);
        self.accept(plan, units, out);
        out.push(Action::Notice(Notice::Refreshed { home_address, lifetime }));
    }

    /// RFC 6275 s.10.3.1, RFC 5555 s.4.5: makes or moves a binding.
    fn register(&mut self, now: Timestamp, id: Id<Sa>, plan: &Plan, out: &mut Vec<Action>) {
        let request = &plan.request;
        let home_address = request.home_address;
        let there = self.entry_under(id);
        let before = there.and_then(|there| self.cache.at(there)).cloned();
        let sas = self.sas_before(id);
        self.use_sa(now, id);
        let Some(sa) = self.sas.at(id) else { return };
        let (units, expires) = self.granted(now, sa, request);
        let bound = before.as_ref().filter(|before| before.is_bound());
        let mut binding = Binding {
            home_address,
            node: sa.node,
            sa: id,
            ipv4_home_address: plan.ipv4.bound(),
            state: State::Bound,
            nat: request.care_of.nat,
            reinit_sent: false,
            sequence: request.sequence,
            units,
            care_of: plan.care_of(),
            signalling: request.remote.into(),
            local: request.local.into(),
            registered: bound.map_or(now, |before| before.registered),
            expires,
            timer: TimerId::NONE,
            more: plan.more.clone(),
        };
        binding.expires = binding.renew(plan, units, expires).min(sa.ends);
        let granted = if plan.change == Change::Withdraw { 0 } else { units };
        if plan.change == Change::Withdraw {
            // What stays has the lifetime that it had.
            binding.units = bound.map_or(units, |before| before.units);
            binding.reinit_sent = bound.is_some_and(|before| before.reinit_sent);
            binding.ipv4_home_address = bound.and_then(|before| before.ipv4_home_address);
        }
        let changed = bound.is_none_or(|before| !before.carries_as(&binding));
        let moved = bound.is_none_or(|before| before.sa != id || before.care_of != binding.care_of);
        let lifetime = binding.lifetime();
        let notices = self.registration_notices(plan, bound, lifetime, sa.node);
        self.notice_taken(id, plan, out);
        let node = binding.node;
        let lost = self.take_prefixes(request, node, binding.prefixes(), out);
        let goes_on =
            |care_of| bound.is_none_or(|it| it.ways().any(|(.., there)| there == care_of));
        if !binding.ways().all(|(.., care_of)| goes_on(care_of)) {
            self.count_move(now, node);
        }
        self.put(there, binding);
        if changed {
            let status = self.accepted(plan, granted);
            self.undo.push(Undo { request: request.clone(), status, before, sas, lost });
            self.rebind(home_address, out);
        }
        self.accept(plan, granted, out);
        out.extend(notices.into_iter().map(Action::Notice));
        // What was processed normally may have come in the place of the refresh that was
        // asked for, and the next one may be an hour away.
        let wanted = self.sas.at(id).and_then(|sa| sa.reinit(now));
        if moved && wanted == Some(Reinit::SequenceLimit) {
            self.invite_refresh(now, id, home_address, out);
        }
    }

    /// Puts a binding in the place of what is there, if anything is, and sets its timer.
    fn put(&mut self, there: Option<Id<Binding>>, binding: Binding) {
        let (look, sa) = (first_look(&self.policy, &binding), binding.sa);
        let (id, timer) = match there {
            Some(there) => {
                let before = self.cache.replace(there, binding);
                (Some(there), before.map_or(TimerId::NONE, |before| before.timer))
            }
            None => (self.cache.insert(binding), TimerId::NONE),
        };
        let Some(id) = id else { return };
        let timer = self.wheel.no_later(timer, look, Timer::BindingEnd(id).into());
        if let Some(binding) = self.cache.fleeting_mut(id) {
            binding.timer = timer;
        }
        if let Some(sa) = self.sas.fleeting_mut(sa) {
            sa.binding = Some(id);
        }
    }

    /// The lifetime granted, in units of 4 s, and its end: not more than asked for, nor than the
    /// policy and what is left of the prefix (RFC 6275 s.10.3.1), nor than what is left of the SA
    /// rounded down. In their last seconds it is one unit, the least that can be said; the
    /// binding ends with whichever ends first.
    fn granted(&self, now: Timestamp, sa: &Sa, request: &Request) -> (u16, Timestamp) {
        let prefix = self.links.prefixes.left(request.home_address, now);
        let left = sa.ends.since(now).min(prefix.unwrap_or(Duration::MAX));
        let own = self.sas.services(sa.node).and_then(|services| services.max_lifetime);
        let own = own.map_or(u16::MAX, |own| lifetime_units(Duration::from_secs(own.into())));
        let units = request.lifetime.min(self.policy.max_lifetime_units()).min(own);
        let units = units.min(lifetime_units(left)).max(1);
        let lifetime = crate::LIFETIME_UNIT * u32::from(units);
        (units, now.after(lifetime.min(left)))
    }

    /// One move more for the allowance of RFC 5555 s.5.
    fn count_move(&mut self, now: Timestamp, node: Id<Node>) {
        if let Some(node) = self.sas.nodes.get_mut(node) {
            node.moves.take(now, self.policy.care_of_moves_per_minute);
        }
    }

    /// RFC 6275 s.10.3.2, RFC 5555 s.4.4.2: ends the binding of both families.
    fn deregister(&mut self, now: Timestamp, id: Id<Sa>, plan: &Plan, out: &mut Vec<Action>) {
        let home_address = plan.request.home_address;
        self.use_sa(now, id);
        if let Some(there) = self.entry_under(id)
            && let Some(binding) = self.cache.at(there).cloned()
        {
            out.push(Action::Unbind { home_address });
            self.links.released(home_address);
            // "It SHOULD mark the Binding Cache entry as invalid": its sequence number refuses a
            // delayed older Binding Update.
            let held = Binding {
                sa: id,
                ipv4_home_address: None,
                sequence: plan.request.sequence,
                expires: now.after(self.policy.deregistration_hold),
                state: State::Held,
                more: None,
                ..binding
            };
            self.put(Some(there), held);
        }
        self.accept(plan, 0, out);
        out.push(Action::Notice(Notice::Deregistered { home_address }));
    }

    fn accept(&mut self, plan: &Plan, lifetime: u16, out: &mut Vec<Action>) {
        let answer = Answer {
            status: self.accepted(plan, lifetime),
            sequence: plan.request.sequence,
            lifetime,
            ipv4_ack: plan.ipv4.ack(),
            bids: plan.answers.as_ref().map(|answers| &answers.bids[..]),
            flows: plan.answers.as_ref().map_or(&[], |answers| &answers.flows),
        };
        self.answer(&plan.request, answer, out);
    }

    /// The status of an answer that accepts; 4 says more than 1, which the next one can say.
    fn accepted(&self, plan: &Plan, lifetime: u16) -> Status {
        let home_address = plan.request.home_address;
        let discover =
            lifetime > 0 && self.links.prefixes.wants_discovery(home_address, self.now, lifetime);
        let plain = if discover { Status::ACCEPTED_PREFIX_DISCOVERY } else { Status::ACCEPTED };
        plan.answers.as_ref().and_then(|answers| answers.status).unwrap_or(plain)
    }

    fn notice_taken(&self, id: Id<Sa>, plan: &Plan, out: &mut Vec<Action>) {
        let Some(taken) = plan.ipv4.taken else { return };
        let mn_id = self.sas.at(id).and_then(|sa| self.sas.mn_id(sa.node));
        let home_address = IpAddr::V4(taken);
        out.extend(
            mn_id
                .cloned()
                .map(|mn_id| Action::Notice(Notice::HomeAddressTaken { mn_id, home_address })),
        );
    }

    fn registration_notices(
        &self,
        plan: &Plan,
        before: Option<&Binding>,
        lifetime: Duration,
        node: Id<Node>,
    ) -> Vec<Notice> {
        let home_address = plan.request.home_address;
        let care_of = plan.care_of().into();
        let Some(before) = before else {
            let mn_id = self.sas.mn_id(node).cloned();
            let made = |mn_id| Notice::Registered { mn_id, home_address, care_of, lifetime };
            return mn_id.into_iter().map(made).collect();
        };
        if plan.change == Change::Withdraw {
            let stays = plan.more.as_ref().map_or(&[][..], |more| &more.care_of);
            let gone = |bid: &u16| !stays.iter().any(|stays| stays.bid == *bid);
            let gone = before.care_of_addresses().iter().map(|before| before.bid).filter(gone);
            return gone.map(|bid| Notice::CareOfEnded { home_address, bid }).collect();
        }
        let from = SocketAddr::from(before.care_of);
        if from == care_of {
            vec![Notice::Refreshed { home_address, lifetime }]
        } else {
            vec![Notice::HandedOver { home_address, from, to: care_of, lifetime }]
        }
    }

    /// The SAs of a mobile node, where a first Binding Update under this one is to be accepted.
    fn sas_before(&self, id: Id<Sa>) -> Option<SasBefore> {
        let sa = self.sas.at(id).filter(|sa| sa.state != SaState::Used)?;
        let used_generation = self.sas.nodes.get(sa.node)?.used_generation();
        let fields = |id| {
            let sa = self.sas.at(id)?;
            let there = self.entry_under(id).and_then(|there| Some((there, self.cache.at(there)?)));
            let under_it = there.filter(|(_, entry)| entry.sa == id);
            let binding = under_it.map(|(there, entry)| (there, entry.expires));
            Some(SaBefore { id, state: sa.state, ends: sa.ends, binding })
        };
        let sas = self.sas.of_node(sa.node).filter_map(fields).collect();
        Some(SasBefore { node: sa.node, used_generation, sas })
    }

    /// The dataplane did not take a binding. A registration is taken back and answered with status
    /// 130; what was there before stays as it was (REG-10). Where it was no registration that
    /// changed the binding, the dataplane is told again later.
    pub(crate) fn bind_refused(
        &mut self,
        now: Timestamp,
        home_address: Ipv6Addr,
        out: &mut Vec<Action>,
    ) {
        let Some(id) = self.cache.find(home_address) else { return };
        let of_it = |undo: &Undo| undo.request.home_address == home_address;
        let Some(undo) = self.undo.iter().rposition(of_it).map(|at| self.undo.remove(at)) else {
            return self.bind_later(now, id);
        };
        let Undo { request, status, before, sas, lost } = undo;
        let Some(binding) = self.cache.at(id).filter(|binding| binding.is_bound()) else { return };
        if binding.sequence != request.sequence {
            // A refresh behind it was answered already.
            return self.bind_later(now, id);
        }
        self.stop_refresh_request(Some(id));
        if let Some(sas) = sas {
            self.restore_sas(sas);
        }
        match before {
            Some(before) => self.put(Some(id), before),
            // The dataplane has none either.
            None => drop(self.remove_binding(id, &mut Vec::new())),
        }
        self.return_prefixes(lost, out);
        self.counters.withdraw(status);
        self.refuse(&request, Status::INSUFFICIENT_RESOURCES, out);
    }

    fn restore_sas(&mut self, before: SasBefore) {
        if let Some(node) = self.sas.nodes.get_mut(before.node) {
            node.set_used_generation(before.used_generation);
        }
        for SaBefore { id, state, ends, binding } in before.sas {
            if let Some((there, expires)) = binding
                && let Some(binding) = self.cache.at_mut(there)
            {
                // Its timer may fire too early now, and is set anew then.
                binding.expires = expires;
            }
            if let Some(sa) = self.sas.at_mut(id) {
                sa.state = state;
                sa.ends = ends;
                sa.timer = self.wheel.reset(sa.timer, ends, Timer::SaEnd(id).into());
            }
        }
    }
}
