//! Heartbeats: whether the other end is there, and whether it was restarted.
//!
//! Read first: RFC 5847 s.3, 4. Written for the two ends of Proxy Mobile IPv6; mobile node and home
//! agent use it the same way, under the SA between them.

use core::net::Ipv6Addr;

use hearth_wire::Spi;
use hearth_wire::mh::{Heartbeat, Message};

use crate::HomeAgent;
use crate::answer::Envelope;
use crate::event::{Action, Notice, SignallingPacket};
use crate::operate::OperationNotice;
use crate::outstanding::{About, Kind, Outstanding, Schedule};
use crate::refusal::Refusal;
use crate::sa_table::Sa;
use crate::signalling::whereabouts;
use crate::slab::Id;
use crate::time::Timestamp;

impl HomeAgent {
    /// Takes in a Heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        now: Timestamp,
        (id, packet): (Id<Sa>, &SignallingPacket<'_>),
        named: Option<Ipv6Addr>,
        heartbeat: Heartbeat,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        if !heartbeat.response {
            return self.answer_heartbeat(now, (id, packet), named, heartbeat.seq, out);
        }
        let binding = self.entry_under(id);
        if heartbeat.unsolicited {
            return self.note_restart(now, id, heartbeat.restart_counter, out);
        }
        let asked = binding.and_then(|it| self.operations.outstanding.find(it, Kind::Heartbeat));
        let asked = asked.ok_or(Refusal::MhUnexpected)?;
        let about = self.operations.outstanding.get(asked).map(|one| &one.about);
        if about != Some(&(About::Heartbeat { seq: heartbeat.seq })) {
            return Err(Refusal::MhUnexpected);
        }
        self.finish(asked);
        Ok(())
    }

    /// "The response […] MUST copy the Sequence Number"; with a binding or without, as it is the
    /// home agent that is asked for.
    fn answer_heartbeat(
        &mut self,
        now: Timestamp,
        (id, packet): (Id<Sa>, &SignallingPacket<'_>),
        named: Option<Ipv6Addr>,
        seq: u32,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        if !self.may_send_error(now, id) {
            return Err(Refusal::HeartbeatLimited);
        }
        let sa = self.sas.at(id).ok_or(Refusal::UnknownSpi)?;
        let (home_address, ha_address) = (sa.home_address, self.sas.ha_address(sa));
        let message = Message::Heartbeat(Heartbeat {
            unsolicited: false,
            response: true,
            seq,
            restart_counter: self.policy.operations.restart_counter,
        });
        let whereabouts = whereabouts(packet.remote, named, home_address);
        let SignallingPacket { spi, local, remote, .. } = *packet;
        let envelope = Envelope { spi, local, remote, home_address, ha_address };
        if self.send(&message, envelope, whereabouts, out) {
            self.counters.operations.heartbeats_answered += 1;
        }
        Ok(())
    }

    /// A response that nobody asked for: the mobile node was restarted.
    fn note_restart(
        &mut self,
        now: Timestamp,
        id: Id<Sa>,
        counter: Option<u32>,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        if !self.may_send_error(now, id) {
            return Err(Refusal::HeartbeatLimited);
        }
        let home_address = self.sas.at(id).ok_or(Refusal::UnknownSpi)?.home_address;
        let notice = OperationNotice::Restarted { home_address, counter };
        out.push(Action::Notice(Notice::Operation(notice)));
        Ok(())
    }

    /// Nothing was heard under an SA for a while: its mobile node is asked whether it is there.
    pub(crate) fn probe(&mut self, now: Timestamp, spi: Spi, out: &mut Vec<Action>) {
        let Some(id) = self.settle_sa(now, spi, out) else { return };
        let Some(binding) = self.entry_under(id) else { return };
        let under_it = self
            .cache
            .at(binding)
            .is_some_and(|it| it.is_bound() && it.sa == id && it.expires > now);
        let policy = &self.policy.operations;
        if !under_it || policy.heartbeat_interval.is_zero() {
            return;
        }
        let schedule = Schedule {
            first: policy.heartbeat_interval,
            longest: policy.heartbeat_interval,
            most: policy.heartbeats_missing.max(1),
        };
        let seq = self.operations.next_heartbeat;
        self.operations.next_heartbeat = seq.wrapping_add(1);
        self.begin(now, binding, (About::Heartbeat { seq }, schedule), out);
    }

    /// `MISSING_HEARTBEATS_ALLOWED` were not answered. The binding stays until its end: the mobile
    /// node may be out of reach for a while only.
    pub(crate) fn heartbeat_missed(&mut self, id: Id<Outstanding>, out: &mut Vec<Action>) {
        let Some(one) = self.finish(id) else { return };
        let Some(binding) = self.cache.at(one.binding) else { return };
        let notice = OperationNotice::Unreachable { home_address: binding.home_address };
        out.push(Action::Notice(Notice::Operation(notice)));
    }
}
