//! Binding Updates, and what the home agent says.

use std::time::Instant;

use hearth_wire::Spi;
use hearth_wire::mh::{Heartbeat, Message, Repeated, RevocationAck, RevocationStatus};

use super::sockets::send;
use super::{Node, Tools};
use crate::fleet::results::tell;
use crate::registration::Update;
use crate::signalling::{self, MAX_UPDATE, Received, Wishes};

impl Node {
    pub(super) fn send_update(&mut self, tools: &mut Tools, update: &Update) {
        tell(&mut tools.results.updates_sent, update.purpose.name());
        let held = self.held.iter().find(|held| held.sa.spi == update.spi);
        let open = self.open.iter().find(|(path, _)| *path == update.path);
        let (Some(held), Some((_, socket))) = (held, open) else { return };
        let mut buffer = [0; MAX_UPDATE];
        let iv = tools.ivs.draw();
        let wishes = Wishes::default();
        let sealed = signalling::seal_update(update, &wishes, &held.sa, &iv, &mut buffer);
        let frame = sealed.and_then(|len| buffer.get(..len));
        let sent = frame.is_some_and(|frame| send(socket, frame));
        if !sent {
            tell(&mut tools.results.troubles, "Binding Update not sent");
        }
    }

    pub(super) fn on_signalling(
        &mut self,
        tools: &mut Tools,
        spi: Spi,
        next_header: u8,
        payload: &[u8],
        now: Instant,
    ) {
        let Some(held) = self.held.iter().find(|held| held.sa.spi == spi) else { return };
        let is_bound = self.registration.binding().is_some();
        let answer = match signalling::read(&held.sa, next_header, payload) {
            Some(Received::Ack(acknowledged)) => {
                self.registration.on_ack(&acknowledged.ack, now);
                None
            }
            Some(Received::RefreshRequest) => {
                self.registration.on_refresh_request(now);
                None
            }
            Some(Received::Error(1)) => {
                self.registration.on_binding_error(now);
                None
            }
            Some(Received::Switch) => {
                self.registration.on_switch();
                None
            }
            Some(Received::Heartbeat(Heartbeat { seq, restart_counter, .. })) => {
                let unsolicited = false;
                let answer = Heartbeat { unsolicited, response: true, seq, restart_counter };
                Some(Message::Heartbeat(answer))
            }
            Some(Received::Revocation(asked)) => {
                let status = match is_bound {
                    true => RevocationStatus::SUCCESS,
                    false => RevocationStatus::NO_BINDING,
                };
                let (seq, flags, bids) = (asked.seq, asked.flags, Repeated::default());
                if is_bound && !flags.ipv4_only {
                    self.registration.on_revocation(now);
                }
                Some(Message::RevocationAck(RevocationAck { status, seq, flags, bids }))
            }
            Some(Received::HeartbeatAnswer(_) | Received::Error(_)) | None => {
                tell(&mut tools.results.troubles, "unusable Mobility Header");
                None
            }
        };
        // The way of data is still the old one where the binding has just been revoked.
        if let (Some(answer), Some((path, _))) = (answer, &self.way) {
            let open = self.open.iter().find(|(open, _)| open == path);
            let mut buffer = [0; MAX_UPDATE];
            let len = signalling::seal(&answer, &held.sa, &tools.ivs.draw(), &mut buffer);
            if let (Some(frame), Some((_, socket))) = (len.and_then(|len| buffer.get(..len)), open)
            {
                send(socket, frame);
            }
        }
        self.act(tools);
    }
}
