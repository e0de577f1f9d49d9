//! Mobility Headers from the home agent.

use std::time::Instant;

use hearth_wire::mh::{Heartbeat, Message, Repeated, Revocation, RevocationAck, RevocationStatus};

use super::Node;
use crate::association::SecurityAssociation;
use crate::registration::Purpose;
use crate::signalling::{self, Acknowledged, MAX_UPDATE, Received};

impl Node {
    pub(super) fn on_signalling(
        &mut self,
        sa: &SecurityAssociation,
        next_header: u8,
        payload: &[u8],
        now: Instant,
    ) {
        let returns = self.registration.pending() == Some(Purpose::Return);
        let read = signalling::read(sa, next_header, payload);
        let at_home = || signalling::read_at_home(sa, next_header, payload).filter(|_| returns);
        match read.or_else(at_home) {
            Some(Received::Ack(acknowledged)) => self.on_ack(&acknowledged, now),
            Some(Received::RefreshRequest) => {
                tracing::info!("the home agent asks for a refresh");
                self.registration.on_refresh_request(now);
            }
            Some(Received::Error(1)) => self.registration.on_binding_error(now),
            Some(Received::Error(status)) => {
                tracing::warn!(status, "Binding Error from the home agent");
            }
            Some(Received::Switch) => {
                tracing::info!("the home agent is about to stop; asks the HAC for another");
                self.registration.on_switch();
            }
            Some(Received::Heartbeat(heartbeat)) => self.answer_heartbeat(sa, heartbeat),
            Some(Received::HeartbeatAnswer(seq)) => self.registration.on_heartbeat(seq, now),
            Some(Received::Revocation(revocation)) => self.on_revocation(sa, &revocation, now),
            None => tracing::debug!("unusable Mobility Header ignored"),
        }
    }

    fn on_ack(&mut self, acknowledged: &Acknowledged, now: Instant) {
        let Acknowledged { ack, home4_bound, mobile_router, refused_flow } = acknowledged;
        let before = self.home4_bound;
        let bound = ack.status.is_accepted() && ack.lifetime > 0;
        if bound {
            // RFC 5555 s.4.4.2: without the option, or with a failure in it, there is no
            // binding for the IPv4 home address.
            self.home4_bound = *home4_bound == Some(true);
        }
        if !self.registration.on_ack(ack, now) {
            self.home4_bound = before;
            tracing::debug!(seq = ack.seq, "unexpected Binding Acknowledgement ignored");
            return;
        }
        if bound && self.config.mobile_router.is_some() && !mobile_router {
            let text = "the home agent does not forward to mobile networks";
            tracing::warn!("{text}");
            self.status.on_error(text);
        }
        if let Some((flow, status)) = refused_flow {
            let text = format!("the home agent refused flow {flow}: status {status}");
            tracing::warn!("{text}");
            self.status.on_error(&text);
        }
    }

    /// RFC 5847 s.3.1: the answer copies the number.
    fn answer_heartbeat(&mut self, sa: &SecurityAssociation, question: Heartbeat) {
        let restart_counter = question.restart_counter;
        let answer =
            Heartbeat { unsolicited: false, response: true, seq: question.seq, restart_counter };
        self.answer(sa, &Message::Heartbeat(answer));
    }

    /// RFC 5846 s.7.3: acknowledged first, then obeyed.
    fn on_revocation(
        &mut self,
        sa: &SecurityAssociation,
        revocation: &Revocation<'_>,
        now: Instant,
    ) {
        let Revocation { trigger, seq, flags, bids, .. } = *revocation;
        let known = self.registration.binding().is_some();
        let status = if known { RevocationStatus::SUCCESS } else { RevocationStatus::NO_BINDING };
        let ack = RevocationAck { status, seq, flags, bids: Repeated::default() };
        self.answer(sa, &Message::RevocationAck(ack));
        if !known {
            return;
        }
        tracing::warn!(trigger, ipv4_only = flags.ipv4_only, "the home agent revokes the binding");
        if flags.ipv4_only {
            self.home4_bound = false;
            self.configure_tun();
            return;
        }
        let bids: Vec<_> = bids.iter().flatten().map(|bid| bid.id).collect();
        self.registration.on_revocation(&bids, now);
    }

    /// Sends a Mobility Header on the way that data prefers.
    fn answer(&mut self, sa: &SecurityAssociation, message: &Message<'_>) {
        let path = self.registration.binding().map(|binding| &binding.path);
        let Some(open) = path.and_then(|path| self.open.get(path)) else { return };
        let mut buffer = [0; MAX_UPDATE];
        let iv = self.ivs.draw();
        let Some(len) = signalling::seal(message, sa, &iv, &mut buffer) else { return };
        let frame = buffer.get(..len).unwrap_or_default();
        if let Err(error) = open.socket.send(frame).or_else(|_| open.socket.send(frame)) {
            tracing::warn!(%error, "answer to the home agent not sent");
        }
    }
}
