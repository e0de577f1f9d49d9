//! A registration's claim to its addresses on a home link: asked for, taken, defended.
//!
//! Read first: RFC 6275 s.10.3.1, 10.4.1; RFC 5555 s.4.5; RFC 5227 s.2.4.

use core::net::{IpAddr, Ipv6Addr};

use hearth_wire::mh::Status;

use super::probe::{Next, OnLink};
use super::{frames, link_local};
use crate::HomeAgent;
use crate::event::{Action, Notice};
use crate::judge::is_newer;
use crate::plan::{Change, Plan};
use crate::registration::Answer;
use crate::time::Timestamp;

impl HomeAgent {
    /// Carries an accepted plan out, once nobody else has its addresses.
    pub(crate) fn claim(&mut self, now: Timestamp, plan: Plan, out: &mut Vec<Action>) {
        let home_address = plan.request.home_address;
        let addresses = self.unproved(&plan);
        if addresses.is_empty() || plan.change == Change::Deregister {
            self.links.probes.cancel(home_address);
            return self.commit(now, &plan, out);
        }
        let waiting = self.links.probes.plan(home_address).map(|plan| plan.request.sequence);
        if waiting.is_some_and(|waiting| !is_newer(plan.request.sequence, waiting)) {
            // Overtaken on its way: the newer one will be answered.
            return;
        }
        let taken = |address: &OnLink| {
            let holder = self.links.link_locals_holder(*address);
            holder.is_some_and(|holder| holder != home_address)
        };
        if addresses.iter().any(taken) || self.links.probes.competes(home_address, &addresses) {
            return self.refuse(&plan.request, Status::DAD_FAILED, out);
        }
        let links = &mut self.links;
        if waiting.is_none() && links.probes.len() >= links.policy.max_probing {
            return self.refuse(&plan.request, Status::INSUFFICIENT_RESOURCES, out);
        }
        if links.policy.probes == 0 {
            return self.proved(now, &plan, out);
        }
        links.counters.probes += u64::from(waiting.is_none());
        links.probes.begin(now, plan, &addresses, links.policy.probes);
    }

    /// A mobile node that de-registers waits for nothing any more.
    pub(crate) fn withdraw_claim(&mut self, home_address: Ipv6Addr) {
        self.links.probes.cancel(home_address);
    }

    /// The addresses on links that `plan` would have and that no binding of the mobile node has
    /// yet. RFC 6275 s.10.3.1: "Unless this home agent already has a binding for the given home
    /// address"; with L also for "the derived link-local".
    fn unproved(&self, plan: &Plan) -> Vec<OnLink> {
        let links = &self.links;
        let mut addresses = Vec::new();
        if links.policy.links.is_empty() {
            return addresses;
        }
        let home_address = plan.request.home_address;
        let own = self.cache.get(home_address);
        if let Some(link) = links.prefixes.link_of(home_address.into()) {
            // RFC 3963 s.6.2: an address out of a mobile network is on no home link.
            if own.is_none() && !plan.is_in_own_network(home_address.into()) {
                addresses.push((link, home_address.into()));
            }
            let derived = (link, IpAddr::V6(link_local(home_address)));
            if plan.request.flags.link_local_compat
                && links.link_locals_holder(derived) != Some(home_address)
            {
                addresses.push(derived);
            }
        }
        let ipv4 = plan.ipv4.bound();
        let new = ipv4.filter(|_| own.is_none_or(|own| own.ipv4_home_address != ipv4));
        if let Some(ipv4) = new.map(IpAddr::V4)
            && let Some(link) = links.prefixes.link_of(ipv4)
        {
            addresses.push((link, ipv4));
        }
        addresses
    }

    /// Takes one step of what is due for plans that wait; whether there was one.
    pub(crate) fn probe_due(&mut self, now: Timestamp, out: &mut Vec<Action>) -> bool {
        match self.links.probes.next(now, self.links.policy.probe_wait) {
            None => return false,
            Some(Next::Ask(addresses)) => {
                out.extend(addresses.into_iter().filter_map(|(link, address)| {
                    let end = self.links.link(link)?;
                    let frame = match address {
                        IpAddr::V4(address) => frames::arp_probe(end, address),
                        IpAddr::V6(address) => frames::solicitation(end, address)?,
                    };
                    Some(Action::Frame { link, frame })
                }));
            }
            Some(Next::Done(plan)) => self.proved(now, &plan, out),
        }
        true
    }

    /// Nobody else has the addresses of `plan`; whatever else may have changed while it waited is
    /// looked at again.
    fn proved(&mut self, now: Timestamp, plan: &Plan, out: &mut Vec<Action>) {
        let request = &plan.request;
        let home_address = request.home_address;
        if let Err(status) = self.judge_again(now, plan) {
            return self.refuse(request, status, out);
        }
        if request.flags.link_local_compat {
            self.links.hold_link_local(home_address);
        }
        self.commit(now, plan, out);
        let bound = self.cache.get(home_address);
        if bound.is_none_or(|bound| bound.sequence != request.sequence) {
            // Its SA has ended, and nobody is there to be answered.
            if bound.is_none() {
                self.links.released(home_address);
            }
            return;
        }
        if plan.change == Change::Refresh {
            // Only the link-local address is new, which the dataplane has to answer for.
            self.rebind(home_address, out);
        }
        self.links.announcements.begin(now, home_address);
    }

    /// What was decided when the Binding Update came may not hold any more.
    fn judge_again(&self, now: Timestamp, plan: &Plan) -> Result<(), Status> {
        let request = &plan.request;
        let Some(sa) = self.sas.get(request.spi) else { return Ok(()) };
        self.judge_late(now, sa, plan)?;
        let holder = plan.ipv4.bound().and_then(|ipv4| self.cache.holder_of(ipv4));
        let holder = holder.and_then(|holder| self.cache.at(holder));
        if holder.is_some_and(|holder| holder.home_address != request.home_address) {
            return Err(Status::DAD_FAILED);
        }
        Ok(())
    }

    /// Somebody else claims an address: it refuses the plan that asked for it, and is told off
    /// where the address is bound.
    pub(crate) fn contested(
        &mut self,
        now: Timestamp,
        (link, address): OnLink,
        mac: [u8; 6],
        probing: bool,
        out: &mut Vec<Action>,
    ) {
        if self.links.link(link).is_none_or(|own| own.mac == mac) {
            return;
        }
        if let Some(plan) = self.links.probes.heard((link, address)) {
            self.links.counters.duplicates += 1;
            return self.refuse_duplicate(&plan, address, mac, out);
        }
        // Who only asks is answered by the dataplane.
        let Some(home_address) = self.defended_by((link, address)).filter(|_| !probing) else {
            return;
        };
        if self.links.defences.begin(now, address) {
            self.links.counters.contested += 1;
            out.extend(self.announcement((link, address), home_address));
            Self::notice_contested(address, mac, out);
        }
    }

    /// The home address of the binding that `address` is defended for on this link.
    fn defended_by(&self, (link, address): OnLink) -> Option<Ipv6Addr> {
        let binding = match address {
            IpAddr::V4(ipv4) => self.cache.holder_of(ipv4).and_then(|id| self.cache.at(id))?,
            IpAddr::V6(ipv6) => {
                let home = self.links.link_locals_holder((link, address)).unwrap_or(ipv6);
                self.cache.get(home)?
            }
        };
        let home_address = binding.home_address;
        let derived = address == IpAddr::V6(link_local(home_address));
        let here = derived || self.links.prefixes.link_of(address) == Some(link);
        (binding.is_bound() && binding.expires > self.now && here).then_some(home_address)
    }

    /// RFC 6275 s.10.3.1: "MUST reject the complete Binding Update and MUST return a Binding
    /// Acknowledgement to the mobile node, in which the Status field is set to 134".
    fn refuse_duplicate(
        &mut self,
        plan: &Plan,
        address: IpAddr,
        mac: [u8; 6],
        out: &mut Vec<Action>,
    ) {
        let (request, status) = (&plan.request, Status::DAD_FAILED);
        let Some(sa) = self.sas.get(request.spi) else { return };
        let mn_id = self.sas.mn_id(sa.node).cloned();
        self.answer(request, Answer::refusal(status, request.sequence), out);
        let Some(mn_id) = mn_id else { return };
        let home_address = request.home_address;
        out.push(Action::Notice(Notice::Duplicate { mn_id: mn_id.clone(), address, mac }));
        out.push(Action::Notice(Notice::Refused { mn_id, home_address, status }));
    }

    /// Announces the addresses of a binding, each on its link.
    pub(crate) fn announce(&mut self, home_address: Ipv6Addr, out: &mut Vec<Action>) {
        let Some(binding) = self.cache.get(home_address) else { return };
        if binding.expires <= self.now {
            return;
        }
        let mut addresses = vec![IpAddr::V6(home_address)];
        addresses.retain(|address| !binding.is_in_own_network(*address));
        let defended = self.defended(binding);
        addresses.extend(defended.and_then(|defended| defended.link_local).map(IpAddr::V6));
        addresses.extend(binding.ipv4_home_address.map(IpAddr::V4));
        self.links.counters.announcements += 1;
        for address in addresses {
            let derived =
                defended.filter(|defended| defended.link_local.map(IpAddr::V6) == Some(address));
            let link = derived.map(|defended| defended.link);
            let Some(link) = link.or_else(|| self.links.prefixes.link_of(address)) else {
                continue;
            };
            out.extend(self.announcement((link, address), home_address));
        }
    }

    fn announcement(&self, (link, address): OnLink, home_address: Ipv6Addr) -> Option<Action> {
        let end = self.links.link(link)?;
        let binding = self.cache.get(home_address)?;
        let frame = match address {
            IpAddr::V4(address) => frames::arp_announcement(end, address),
            IpAddr::V6(address) => {
                let router = self.defended(binding).is_some_and(|defended| defended.router);
                frames::advertisement(end, address, router)?
            }
        };
        Some(Action::Frame { link, frame })
    }
}

impl super::Links {
    /// The home address with which a link-local address is defended.
    fn link_locals_holder(&self, (link, address): OnLink) -> Option<Ipv6Addr> {
        let IpAddr::V6(address) = address else { return None };
        self.link_locals.get(&(link, address)).copied()
    }
}
