//! MHAuth with pre-shared keys.
//!
//! Read first: RFC 6618 s.5.8; readings.

use hearth_wire::MobileNodeId;
use hearth_wire::hac::message;
use hearth_wire::hac::{AuthMethod, Message, Side, StatusCode};

use super::{Outcome, Reply, Session, State, refuse_unkeyed};
use crate::auth::psk::Psk;
use crate::directory::IssueRequest;
use crate::keys::{Entropy, EntropyError};
use crate::subscribers::Subscribers;

/// The exchange between its two round trips.
pub(super) struct Exchange {
    mn_id: MobileNodeId,
    mn_rand: [u8; 32],
    hac_rand: [u8; 32],
    /// The PSK, or what stands in for that of an mn-id that nobody has.
    psk: Psk,
}

impl Exchange {
    fn begin(
        mn_id: MobileNodeId,
        mn_rand: [u8; 32],
        subscribers: &Subscribers,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, EntropyError> {
        let mut hac_rand = [0; 32];
        entropy.fill(&mut hac_rand)?;
        // Drawn for everybody, so that an unknown mn-id takes no longer than a known one.
        let stand_in = Psk::unknown(entropy)?;
        let psk = subscribers.psk(&mn_id, stand_in);
        Ok(Self { mn_id, mn_rand, hac_rand, psk })
    }

    pub(super) const fn psk(&self) -> &Psk {
        &self.psk
    }

    pub(super) fn headers(&self) -> Message {
        Message { mn_rand: Some(self.mn_rand), hac_rand: Some(self.hac_rand), ..Message::default() }
    }
}

impl Session {
    /// Response/MHAuth-Init (RFC 6618 s.5.8, message 2).
    pub(super) fn psk_init(
        &mut self,
        mn_id: MobileNodeId,
        mn_rand: [u8; 32],
        entropy: &mut dyn Entropy,
    ) -> Reply {
        let subscribers = &self.realm.subscribers;
        let Ok(exchange) = Exchange::begin(mn_id, mn_rand, subscribers, entropy) else {
            return refuse_unkeyed(StatusCode::InternalServerError, None);
        };
        // hac-rand here, the ciphersuite in Response/Done. R-5: no status-code.
        let response = Message { auth_methods: vec![AuthMethod::Psk], ..exchange.headers() };
        let (key, binding) = (exchange.psk.octets(), self.binding.octets());
        let content = response.encode_signed(Side::Hac, key, binding);
        self.state = State::Psk(exchange);
        Reply { content, outcome: Outcome::Challenged }
    }

    /// Request/MHAuth-Done (RFC 6618 s.5.8, message 3): what is to be issued, or the refusal.
    pub(super) fn psk_done(
        &mut self,
        exchange: &Exchange,
        content: &[u8],
        now: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<IssueRequest, StatusCode> {
        let parsed = message::parse(content).map_err(|_| StatusCode::BadRequest)?;
        if parsed.auth.is_none() {
            return Err(StatusCode::BadRequest);
        }
        // Nothing in the message counts before this: what fails from here on was sent by the MN.
        let key = exchange.psk.octets();
        if !message::verify(content, &parsed, Side::Mn, key, self.binding.octets()) {
            return Err(StatusCode::Unauthorized);
        }
        let message = parsed.message;
        // under PSK the second request can only be Done, and Done has all of these.
        let (Some(mn_rand), Some(hac_rand), Some(_), Some(_)) =
            (message.mn_rand, message.hac_rand, message.scope, &message.suite_list)
        else {
            return Err(StatusCode::BadRequest);
        };
        // RFC 6618 s.5.8: the consistency of identities and nonces with MHAuth-Init.
        let same_node = message.mn_id.as_ref().is_none_or(|mn_id| *mn_id == exchange.mn_id);
        if mn_rand != exchange.mn_rand || hac_rand != exchange.hac_rand || !same_node {
            return Err(StatusCode::Unauthorized);
        }
        self.issue_request(&exchange.mn_id, &message, None, now, entropy)
    }
}
