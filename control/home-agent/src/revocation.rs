//! Binding revocation: the home agent ends a binding, or a part of it, and tells the mobile node.
//!
//! Read first: RFC 5846 s.5, 6, 7, 11; readings.
//!
//! The binding stays as it is until the mobile node has acknowledged, or has not done so in time.
//! What a Binding Update does meanwhile depends on the reason, as s.7 says: behind an operator's
//! wish it is refused with status 129; behind the end of a session, or a doubt about the binding, it
//! shows that the mobile node is there and wants to be, and the revocation is over.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use hearth_wire::mh::{
    Bid, Ipv4HomeAddress, RevocationAck, RevocationFlags, RevocationStatus, Status, trigger,
};

use crate::HomeAgent;
use crate::binding::Binding;
use crate::event::{Action, Notice};
use crate::operate::{CommandError, OperationNotice};
use crate::outstanding::{About, Kind, Outstanding, Schedule};
use crate::refusal::Refusal;
use crate::sa_table::Sa;
use crate::slab::Id;
use crate::time::Timestamp;

/// `MAX_BRACK_TIMEOUT` (RFC 5846 s.11).
const LONGEST: Duration = Duration::from_secs(2);

/// What of a binding is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Revoke {
    /// All of it.
    #[default]
    Binding,
    /// The IPv4 home address alone: the V flag.
    Ipv4,
    /// Some of its care-of addresses, by their Binding Identifiers (RFC 5648).
    Bids(Vec<u16>),
}

/// How a revocation came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The mobile node acknowledged it, with this status. What the home agent revokes is revoked
    /// whatever the status says.
    Acknowledged(RevocationStatus),
    /// The mobile node does not know the message: Binding Error, status 2.
    NotUnderstood,
    /// The mobile node de-registered.
    Deregistered,
    /// Nothing came.
    Missing,
}

/// A revocation under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revoking {
    pub(crate) what: Revoke,
    pub(crate) trigger: u8,
    pub(crate) seq: u16,
    /// The IPv4 home address, where that alone is revoked.
    pub(crate) ipv4: Option<Ipv4Addr>,
}

impl Revoking {
    pub(crate) fn flags(&self) -> RevocationFlags {
        RevocationFlags { ipv4_only: self.what == Revoke::Ipv4, ..RevocationFlags::default() }
    }

    /// "MUST include all the related BID mobility options that identify these bindings"; "in the
    /// case when the home agent needs to revoke all of the mobile node bindings, the home agent
    /// SHOULD NOT include any" (RFC 5846 s.7).
    pub(crate) fn bids(&self) -> impl Iterator<Item = Bid> + use<'_> {
        let ids: &[u16] = match &self.what {
            Revoke::Bids(bids) => bids,
            Revoke::Binding | Revoke::Ipv4 => &[],
        };
        let status = Status::ACCEPTED;
        ids.iter().map(move |id| Bid { id: *id, status, home: false, priority: 0, care_of: None })
    }

    /// Whether a Binding Update that races the revocation is refused (RFC 5846 s.7).
    const fn refuses_updates(&self) -> bool {
        let by_wish = matches!(self.trigger, trigger::UNSPECIFIED | trigger::ADMINISTRATIVE);
        by_wish && matches!(self.what, Revoke::Binding)
    }
}

/// The IPv4 Home Address option of an indication with V.
pub(crate) const fn option(address: Ipv4Addr) -> Ipv4HomeAddress {
    Ipv4HomeAddress { prefix_len: 32, prefix_request: false, address }
}

/// Those of `bids` that a binding has.
fn registered(binding: &Binding, bids: &[u16]) -> Result<Vec<u16>, CommandError> {
    let ids = binding.care_of_addresses().iter().map(|care_of| care_of.bid);
    let there: Vec<_> = ids.filter(|bid| bids.contains(bid)).collect();
    if there.is_empty() { Err(CommandError::Nobody) } else { Ok(there) }
}

impl HomeAgent {
    /// Begins to revoke a binding. Where a part of it is being revoked, all of it is from now on.
    pub(crate) fn revoke(
        &mut self,
        now: Timestamp,
        id: Id<Binding>,
        (what, trigger): (&Revoke, u8),
        out: &mut Vec<Action>,
    ) -> Result<(), CommandError> {
        let alive = |binding: &&Binding| binding.is_bound() && binding.expires > now;
        let binding = self.cache.at(id).filter(alive).ok_or(CommandError::Nobody)?;
        let ipv4 = binding.ipv4_home_address.filter(|_| *what == Revoke::Ipv4);
        if *what == Revoke::Ipv4 && ipv4.is_none() {
            return Err(CommandError::Nobody);
        }
        let what = match what {
            Revoke::Bids(bids) => Revoke::Bids(registered(binding, bids)?),
            whole => whole.clone(),
        };
        if let Some(under_way) = self.operations.outstanding.find(id, Kind::Revocation) {
            if what != Revoke::Binding || self.revokes_all(under_way) {
                return Err(CommandError::UnderWay);
            }
            self.finish(under_way);
        }
        let seq = self.operations.outstanding.free_sequence();
        let about = About::Revocation(Box::new(Revoking { what, trigger, seq, ipv4 }));
        let policy = &self.policy.operations;
        let schedule = Schedule {
            first: policy.revocation_delay,
            longest: LONGEST,
            most: u32::from(policy.revocation_retries) + 1,
        };
        if self.begin(now, id, (about, schedule), out) { Ok(()) } else { Err(CommandError::Busy) }
    }

    fn revokes_all(&self, id: Id<Outstanding>) -> bool {
        self.revoking(id).is_some_and(|revoking| revoking.what == Revoke::Binding)
    }

    fn revoking(&self, id: Id<Outstanding>) -> Option<&Revoking> {
        match &self.operations.outstanding.get(id)?.about {
            About::Revocation(revoking) => Some(revoking),
            _ => None,
        }
    }

    /// Whether a Binding Update that races the revocation of its binding is refused.
    pub(crate) fn revocation_refuses(&self, binding: Id<Binding>) -> bool {
        let under_way = self.operations.outstanding.find(binding, Kind::Revocation);
        let revoking = under_way.and_then(|id| self.revoking(id));
        revoking.is_some_and(Revoking::refuses_updates)
    }

    /// A Binding Update was accepted while its binding is being revoked: "it needs to update the
    /// mobile node BCE accordingly, e.g., removing the revocation in progress flag" (RFC 5846 s.7).
    /// A part of the binding goes on being revoked.
    pub(crate) fn revocation_raced(&mut self, binding: Id<Binding>, out: &mut Vec<Action>) {
        let under_way = self.operations.outstanding.find(binding, Kind::Revocation);
        let Some(id) = under_way.filter(|id| self.revokes_all(*id)) else { return };
        self.finish(id);
        if let Some(binding) = self.cache.at(binding) {
            let home_address = binding.home_address;
            let notice = OperationNotice::RevocationOverridden { home_address };
            out.push(Action::Notice(Notice::Operation(notice)));
        }
    }

    /// RFC 5846 s.6.2.2: "If the sequence number does not match a sequence number of any of the
    /// outstanding Binding Revocation Indication messages, the initiator MUST silently discard the
    /// message". It also has to come under an SA of the binding's mobile node.
    pub(crate) fn revocation_acknowledged(
        &mut self,
        sa: Id<Sa>,
        ack: &RevocationAck<'_>,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let id = self.operations.outstanding.revocation(ack.seq).ok_or(Refusal::MhUnexpected)?;
        let one = self.operations.outstanding.get(id).ok_or(Refusal::MhUnexpected)?;
        let (node, home_address) =
            self.sas.at(sa).map(|sa| (sa.node, sa.home_address)).ok_or(Refusal::UnknownSpi)?;
        let binding = self.cache.at(one.binding).ok_or(Refusal::MhUnexpected)?;
        if binding.node != node || binding.home_address != home_address {
            return Err(Refusal::MhUnexpected);
        }
        self.conclude_revocation(id, Answer::Acknowledged(ack.status), out);
        Ok(())
    }

    /// Does what was announced: "the initiator MUST delete the current timer and the mobile node(s)
    /// binding(s) and all associated resources" (RFC 5846 s.6.2.2), and likewise where no answer
    /// came (s.6.3).
    pub(crate) fn conclude_revocation(
        &mut self,
        id: Id<Outstanding>,
        answer: Answer,
        out: &mut Vec<Action>,
    ) {
        let Some(Outstanding { binding, about: About::Revocation(revoking), .. }) = self.finish(id)
        else {
            return;
        };
        let Some(entry) = self.cache.at(binding) else { return };
        let home_address = entry.home_address;
        let Revoking { what, ipv4, .. } = *revoking;
        match &what {
            _ if !entry.is_bound() => {}
            Revoke::Binding => drop(self.remove_binding(binding, out)),
            Revoke::Ipv4 => self.release_ipv4(binding, ipv4, out),
            Revoke::Bids(bids) => self.release_care_of(binding, bids, out),
        }
        let notice = OperationNotice::Revoked { home_address, what, answer };
        out.push(Action::Notice(Notice::Operation(notice)));
    }

    /// Takes the IPv4 home address out of a binding, if it is still that one.
    fn release_ipv4(&mut self, id: Id<Binding>, ipv4: Option<Ipv4Addr>, out: &mut Vec<Action>) {
        let Some(binding) = self.cache.at(id).filter(|it| it.ipv4_home_address == ipv4) else {
            return;
        };
        let home_address: Ipv6Addr = binding.home_address;
        let without = Binding { ipv4_home_address: None, ..binding.clone() };
        self.cache.replace(id, without);
        self.rebind(home_address, out);
    }

    /// Takes care-of addresses out of a binding; where none is left, it ends.
    fn release_care_of(&mut self, id: Id<Binding>, bids: &[u16], out: &mut Vec<Action>) {
        let Some(binding) = self.cache.at(id) else { return };
        let (gone, left): (Vec<u16>, Vec<u16>) = binding
            .care_of_addresses()
            .iter()
            .map(|care_of| care_of.bid)
            .partition(|bid| bids.contains(bid));
        match (gone.is_empty(), left.is_empty()) {
            // A Binding Update has replaced them all meanwhile.
            (true, _) => {}
            (false, true) => drop(self.remove_binding(id, out)),
            (false, false) => self.drop_care_of(id, &gone, out),
        }
    }
}
