//! EAP-GPSK at the server.
//!
//! Read first: RFC 5433 s.3, 10, 11; readings R-8, R-10, R-11.
//!
//! ```text
//!  Offered --GPSK-2--> Keyed --GPSK-4--> Success
//!     |
//!     +--GPSK-2, wrong MAC--> Failed --GPSK-Fail--> Failure
//! ```

use hearth_wire::MobileNodeId;
use hearth_wire::eap::EapType;
use hearth_wire::eap::gpsk::{
    Ciphersuite, FailureCode, Gpsk1, Gpsk2, Keys, Message, RAND_LEN, Sealed, encode_3, encode_fail,
    known_suites,
};

use super::{Identity, Method, MethodStep, Msk, Proof};
use crate::auth::psk::Psk;
use crate::keys::{Entropy, EntropyError};

/// What a deployment settles for EAP-GPSK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// ID_Server: 1 to 254 octets.
    pub id_server: Box<[u8]>,
    /// The ciphersuites offered, the most wanted first; never empty.
    pub suites: Vec<Ciphersuite>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { id_server: Box::from(&b"hearth-hac"[..]), suites: Ciphersuite::ALL.to_vec() }
    }
}

/// One run.
pub struct Gpsk {
    settings: Settings,
    mn_id: MobileNodeId,
    psk: Psk,
    /// Does the same work where the key is too short for the ciphersuite, or another's (R-8).
    stand_in: Psk,
    rand_server: [u8; RAND_LEN],
    state: State,
}

enum State {
    /// GPSK-1 is out.
    Offered,
    /// GPSK-3 is out.
    Keyed(Ciphersuite, Box<Keys>),
    /// GPSK-Fail is out.
    Failed,
    Ended,
}

impl Gpsk {
    /// A run for `mn_id`, whose pre-shared key is `psk`, or a random one where nobody has this
    /// mn-id (R-8).
    ///
    /// # Errors
    /// [`EntropyError`].
    pub fn new(
        settings: Settings,
        mn_id: MobileNodeId,
        psk: Psk,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, EntropyError> {
        let mut rand_server = [0; RAND_LEN];
        entropy.fill(&mut rand_server)?;
        let stand_in = Psk::unknown(entropy)?;
        Ok(Self { settings, mn_id, psk, stand_in, rand_server, state: State::Offered })
    }

    /// CSuite_List.
    fn suite_list(&self) -> Vec<u8> {
        Ciphersuite::list(&self.settings.suites)
    }

    /// GPSK-2 -> GPSK-3 or GPSK-Fail.
    fn second(&mut self, two: &Gpsk2<'_>) -> MethodStep {
        // RFC 5433 s.10: another RAND_Server or CSuite_List than in GPSK-1 is discarded; so is
        // another ID_Server, which that list forgets.
        if *two.rand_server != self.rand_server
            || *two.suite_list != *self.suite_list()
            || *two.id_server != *self.settings.id_server
        {
            return MethodStep::Discarded;
        }
        if !known_suites(two.suite_list).any(|suite| suite == two.suite) {
            return MethodStep::Malformed;
        }
        // R-8: an unknown or foreign identity, and a key that is too short for the suite, are a
        // wrong key: the same work, the same answer, never PSK Not Found.
        let known = *two.id_peer == *self.mn_id.as_str().as_bytes();
        let fits = self.psk.octets().len() >= two.suite.key_len();
        let key = if known && fits { &self.psk } else { &self.stand_in };
        let peer = (two.rand_peer, two.id_peer);
        let server = (two.rand_server, two.id_server);
        let Some(keys) = Keys::derive(two.suite, key.octets(), peer, server) else {
            return MethodStep::Fault;
        };
        if !keys.verify(&two.sealed) {
            self.state = State::Failed;
            return MethodStep::Request(encode_fail(FailureCode::AuthenticationFailure));
        }
        if !keys.opens(&two.sealed) {
            return MethodStep::Discarded;
        }
        let three = encode_3(two, &keys);
        self.state = State::Keyed(two.suite, Box::new(keys));
        MethodStep::Request(three)
    }

    /// GPSK-4.
    fn fourth(&self, keys: Keys, sealed: &Sealed<'_>) -> MethodStep {
        if !keys.verify(sealed) || !keys.opens(sealed) {
            return MethodStep::Discarded;
        }
        let msk = Msk::take(&mut *keys.into_msk());
        MethodStep::Success(Proof { identity: Identity::one(self.mn_id.as_str()), msk })
    }
}

impl Method for Gpsk {
    fn eap_type(&self) -> EapType {
        EapType::GPSK
    }

    fn begin(&mut self) -> Vec<u8> {
        let suite_list = self.suite_list();
        let id_server = &self.settings.id_server;
        Gpsk1 { id_server, rand_server: &self.rand_server, suite_list: &suite_list }.encode()
    }

    fn respond(&mut self, type_data: &[u8]) -> MethodStep {
        let state = std::mem::replace(&mut self.state, State::Ended);
        let suite = match &state {
            State::Keyed(suite, _) => Some(*suite),
            State::Offered | State::Failed | State::Ended => None,
        };
        match (state, Message::parse(type_data, suite)) {
            (State::Offered, Ok(Message::Two(two))) => self.second(&two),
            (State::Keyed(_, keys), Ok(Message::Four(sealed))) => self.fourth(*keys, &sealed),
            // RFC 5433 s.10: the peer replays GPSK-Fail, then comes EAP-Failure.
            (State::Failed, Ok(Message::Fail(_))) => MethodStep::Failure,
            _ => MethodStep::Malformed,
        }
    }
}
