//! A Binding Update's path: silent checks, then checks that are answered, then the binding.
//!
//! ```text
//! validate ---> judge ----> commit ----> binding, answer
//!    |            |
//! Refusal       Status ---> answer
//! (silent)
//! ```
//!
//! Read first: RFC 6275 s.9.5.1, 9.5.4, 10.3.1; readings R-29, R-32, R-34, R-35, R-37.

use core::net::{Ipv6Addr, SocketAddr};

use hearth_wire::Spi;
use hearth_wire::mh::{
    BaOptions, Bid, BindingAck, BindingUpdate, BuFlags, Ipv4Ack, Ipv4HomeAddress, Message,
    Repeated, Status,
};

use crate::HomeAgent;
use crate::answer::{Whereabouts, fits};
use crate::binding::Binding;
use crate::dsmipv6::CareOf;
use crate::event::{Action, Notice, SignallingPacket};
use crate::flows::FlowAnswer;
use crate::mcoa;
use crate::plan::Refused;
use crate::refusal::Refusal;
use crate::sa_table::Sa;
use crate::signalling::whereabouts;
use crate::slab::Id;
use crate::time::Timestamp;

/// A Binding Update that is not to be discarded silently, and all that it takes to carry it out
/// and to answer it. It borrows nothing of the packet, so that it can wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) spi: Spi,
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) home_address: Ipv6Addr,
    pub(crate) ha_address: Ipv6Addr,
    pub(crate) whereabouts: Whereabouts,
    pub(crate) care_of: CareOf,
    pub(crate) sequence: u16,
    /// In units of 4 s.
    pub(crate) lifetime: u16,
    pub(crate) flags: BuFlags,
    pub(crate) ipv4_home_address: Option<Ipv4HomeAddress>,
    /// O (RFC 5648 s.4.2) is in `flags`.
    pub(crate) bids: Box<[Bid]>,
}

/// Flow Identification options of an answer that has no room for all of them in full.
const MOST_BARE_FLOWS: usize = 64;

/// What an answer says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) status: Status,
    pub(crate) sequence: u16,
    /// In units of 4 s.
    pub(crate) lifetime: u16,
    pub(crate) ipv4_ack: Option<Ipv4Ack>,
    /// Binding Identifiers; `None`: as they were asked for, the status says all.
    pub(crate) bids: Option<&'a [Bid]>,
    pub(crate) flows: &'a [FlowAnswer],
}

impl Answer<'_> {
    /// A refusal, which repeats the number of the Binding Update unless it is out of the window.
    pub(crate) const fn refusal(status: Status, sequence: u16) -> Self {
        Self { status, sequence, lifetime: 0, ipv4_ack: None, bids: None, flows: &[] }
    }
}

impl HomeAgent {
    pub(crate) fn binding_update(
        &mut self,
        now: Timestamp,
        (id, packet): (Id<Sa>, &SignallingPacket<'_>),
        named: Option<Ipv6Addr>,
        update: &BindingUpdate<'_>,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        if let Some(entry) = self.entry_under(id) {
            self.settle_binding(now, entry, out);
        }
        let sa = self.sas.at(id).ok_or(Refusal::UnknownSpi)?;
        let request = match self.validate(sa, packet, named, update) {
            Ok(request) => request,
            Err(refusal) => {
                if let (Refusal::HomeAddressForeign, Some(claimed)) = (refusal, named) {
                    self.notice_foreign(id, packet, claimed, out);
                }
                return Err(refusal);
            }
        };
        self.settle_competitors(now, id, &request, out);
        let sa = self.sas.at(id).ok_or(Refusal::UnknownSpi)?;
        let verdict = self.judge(now, (id, sa), &request, &update.options);
        // RFC 6275 s.9.5.5: "MUST stop retransmitting when it receives a Binding Update."
        self.stop_refresh_request(self.entry_under(id));
        match verdict {
            Ok(plan) => self.claim(now, plan, out),
            Err(refused) => {
                if request.lifetime == 0 {
                    self.withdraw_claim(request.home_address);
                }
                self.refuse(&request, refused, out);
            }
        }
        Ok(())
    }

    /// The checks whose failure is not answered.
    fn validate(
        &self,
        sa: &Sa,
        packet: &SignallingPacket<'_>,
        named: Option<Ipv6Addr>,
        update: &BindingUpdate<'_>,
    ) -> Result<Request, Refusal> {
        let home_address = sa.home_address;
        let whereabouts = whereabouts(packet.remote, named, home_address);
        match named {
            // R-34; RFC 6275 s.10.3.1: the home address unequivocally identifies the SA.
            Some(named) if named != home_address => return Err(Refusal::HomeAddressForeign),
            Some(_) => {}
            // R-35: only a mobile node that de-registers at home may leave the option out.
            None if whereabouts == Whereabouts::Home && update.lifetime == 0 => {}
            None => return Err(Refusal::HomeAddressMissing),
        }
        if update.flags.home_registration {
            // RFC 6275 s.9.5.1: "If the Home Registration (H) bit is set, the Nonce Indices
            // mobility option MUST NOT be present."
            if update.options.nonce_indices.is_some() {
                return Err(Refusal::NonceIndices);
            }
        } else if !update.flags.mobile_router && self.cache.get(home_address).is_none() {
            // A correspondent's: it would need nonces and an authenticator.
            return Err(Refusal::NotHomeRegistration);
        }
        // RFC 6275 s.6.1.7: "Binding Updates for a care-of address that is not a unicast routable
        // address MUST be silently discarded."
        let bids = mcoa::copied(&update.options);
        let care_of = if bids.is_empty() {
            CareOf::of(packet.remote, &update.options, &self.policy)
                .ok_or(Refusal::CareOfAddressNotRoutable)?
        } else {
            // Whether they are unicast routable is answered (RFC 5648 s.6.2).
            let existing = self.cache.get(home_address).map_or(&[][..], Binding::care_of_addresses);
            let nat = mcoa::nat_on_path(packet.remote, &bids, existing, &self.policy);
            CareOf { address: packet.remote, nat }
        };
        Ok(Request {
            spi: packet.spi,
            remote: packet.remote,
            local: packet.local,
            home_address,
            ha_address: self.sas.ha_address(sa),
            whereabouts,
            care_of,
            sequence: update.seq,
            lifetime: update.lifetime,
            flags: update.flags,
            ipv4_home_address: update.options.ipv4_hoa,
            bids,
        })
    }

    /// R-34: a security event.
    fn notice_foreign(
        &self,
        id: Id<Sa>,
        packet: &SignallingPacket<'_>,
        claimed: Ipv6Addr,
        out: &mut Vec<Action>,
    ) {
        let mn_id = self.sas.at(id).and_then(|sa| self.sas.mn_id(sa.node));
        let (spi, remote) = (packet.spi, packet.remote);
        out.extend(mn_id.cloned().map(|mn_id| {
            Action::Notice(Notice::ForeignHomeAddress { mn_id, spi, claimed, remote })
        }));
    }

    /// Answers a Binding Update that changes nothing.
    pub(crate) fn refuse(
        &mut self,
        request: &Request,
        refused: impl Into<Refused>,
        out: &mut Vec<Action>,
    ) {
        let Refused { status, bids, moves_too_often } = refused.into();
        let mut sequence = request.sequence;
        match status {
            // RFC 6275 s.9.5.1: "the last accepted sequence number"
            Status::SEQUENCE_OUT_OF_WINDOW => {
                let entry = self.cache.entry(request.home_address);
                sequence = entry.map_or(sequence, |entry| entry.sequence);
            }
            Status::REINIT_SA_WITH_HAC => {
                if let Some(binding) = self.cache.get_mut(request.home_address) {
                    binding.reinit_sent = true;
                }
            }
            _ => {}
        }
        let answer = Answer { bids: bids.as_deref(), ..Answer::refusal(status, sequence) };
        self.answer(request, answer, out);
        let Some(sa) = self.sas.get(request.spi) else { return };
        let Some(mn_id) = self.sas.mn_id(sa.node) else { return };
        let home_address = request.home_address;
        if status == Status::DAD_FAILED {
            let home_address = home_address.into();
            let taken = Notice::HomeAddressTaken { mn_id: mn_id.clone(), home_address };
            out.push(Action::Notice(taken));
        }
        let mn_id = mn_id.clone();
        if moves_too_often {
            let (mn_id, care_of) = (mn_id.clone(), request.care_of.address);
            let notice = Notice::MovesTooOften { mn_id, home_address, care_of };
            out.push(Action::Notice(notice));
        }
        out.push(Action::Notice(Notice::Refused { mn_id, home_address, status }));
    }

    /// Sends a Binding Acknowledgement, whatever A says (RFC 6275 s.10.3.1). K is 0 (R-37).
    pub(crate) fn answer(&mut self, request: &Request, answer: Answer<'_>, out: &mut Vec<Action>) {
        let away = request.whereabouts == Whereabouts::Away;
        let nat_detection = request.care_of.nat_detection(&self.policy).filter(|_| away);
        let flows: Vec<_> = answer.flows.iter().map(|flow| flow.option(true)).collect();
        let mut ack = BindingAck {
            status: answer.status,
            key_management: false,
            // RFC 3963 s.4.2: R says that mobile routers are served, to those that are.
            mobile_router: request.flags.mobile_router
                && self.sas.get(request.spi).is_some_and(|sa| self.may_be_router(sa)),
            seq: answer.sequence,
            lifetime: answer.lifetime,
            options: BaOptions {
                ipv4_ack: answer.ipv4_ack,
                nat_detection,
                bids: Repeated::List(answer.bids.unwrap_or(&request.bids)),
                flows: Repeated::List(&flows),
                ..BaOptions::default()
            },
        };
        let mut bare = Vec::new();
        if !flows.is_empty() && !fits(&Message::BindingAck(ack)) {
            // What is copied can be longer than it came: a summary's numbers become options.
            let numbers = answer.flows.iter().take(MOST_BARE_FLOWS);
            bare.extend(numbers.map(|flow| flow.option(false)));
            ack.options.flows = Repeated::List(&bare);
        }
        let envelope = request.into();
        if self.send(&Message::BindingAck(ack), envelope, request.whereabouts, out) {
            self.counters.answer(answer.status);
        }
    }
}
