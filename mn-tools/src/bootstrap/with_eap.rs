//! The exchange with EAP.
//!
//! Read first: RFC 6618 s.5.9; reading R-10.

use super::{Awaited, BootstrapError, Session};
use crate::eap::{Answer, EapFault, Msk};
use hearth_wire::hac::{AuthMethod, Message, Parsed, Side, StatusCode};
use zeroize::Zeroizing;

/// `shared-key` of messages that no MSK keys.
const NO_MSK: &[u8] = b"1";

impl Session<'_> {
    /// Response/MHAuth-Init.
    pub(super) fn on_eap_init(
        &mut self,
        content: &[u8],
        parsed: &Parsed,
    ) -> Result<Zeroizing<Vec<u8>>, BootstrapError> {
        let packet = self.eap_packet(content, parsed)?;
        if parsed.message.auth_methods != [AuthMethod::Eap] {
            return Err(BootstrapError::NotOffered);
        }
        self.eap_answer(packet)
    }

    /// Response/MHAuth-Mid.
    pub(super) fn on_eap_mid(
        &mut self,
        content: &[u8],
        parsed: &Parsed,
    ) -> Result<Zeroizing<Vec<u8>>, BootstrapError> {
        let packet = self.eap_packet(content, parsed)?;
        self.eap_answer(packet)
    }

    /// The EAP packet of a response that goes on.
    fn eap_packet<'a>(
        &self,
        content: &[u8],
        parsed: &'a Parsed,
    ) -> Result<&'a [u8], BootstrapError> {
        self.authenticate(content, parsed, NO_MSK)?;
        let response = &parsed.message;
        match response.status {
            None | Some(StatusCode::Continue) => {}
            Some(status) => return Err(self.refusal(status, response)),
        }
        response.eap_payload.as_deref().ok_or(BootstrapError::Missing("eap-payload"))
    }

    /// The request that carries our Response: Done where it is the method's last or where the method
    /// has ended, else Mid.
    fn eap_answer(&mut self, packet: &[u8]) -> Result<Zeroizing<Vec<u8>>, BootstrapError> {
        // There is no 256th exchange.
        self.identifier = self.identifier.checked_add(1).ok_or(BootstrapError::Malformed)?;
        let answer = self.eap.answer(packet).map_err(|fault| match fault {
            EapFault::Malformed => BootstrapError::Malformed,
            EapFault::NotAuthentic => BootstrapError::NotAuthentic,
            other => BootstrapError::Eap(other),
        })?;
        match answer {
            Answer::Response(packet) => self.mid(packet, Awaited::Mid),
            Answer::GiveUp(packet, fault) => self.mid(packet, Awaited::Verdict(fault)),
            Answer::Last(packet, msk) => self.done(Some(packet), msk),
            // after EAP-Success in Mid, Done carries no EAP.
            Answer::Succeeded(msk) => self.done(None, msk),
        }
    }

    /// Request/MHAuth-Mid.
    fn mid(
        &mut self,
        packet: Vec<u8>,
        awaited: Awaited,
    ) -> Result<Zeroizing<Vec<u8>>, BootstrapError> {
        self.awaited = awaited;
        let request = Message { eap_payload: Some(packet), ..Message::default() };
        self.contain(&request.encode_signed(Side::Mn, NO_MSK, &self.channel_binding))
    }

    /// Request/MHAuth-Done.
    fn done(
        &mut self,
        eap_payload: Option<Vec<u8>>,
        msk: Msk,
    ) -> Result<Zeroizing<Vec<u8>>, BootstrapError> {
        self.awaited = Awaited::Done;
        let request = Message {
            scope: Some(self.proposal.scope),
            suite_list: Some(self.proposal.suites.to_vec()),
            eap_payload,
            ..Message::default()
        };
        let msk = self.msk.insert(msk);
        let signed = request.encode_signed(Side::Mn, msk.as_slice(), &self.channel_binding);
        self.contain(&signed)
    }
}
