//! EAP-GPSK.
//!
//! Read first: RFC 5433 s.3, 10.

use hearth_wire::MobileNodeId;
use hearth_wire::eap::gpsk::{self, Ciphersuite, Gpsk1, Keys, RAND_LEN};

use super::{EapFault, Method, Request, Step};

enum State {
    /// Nothing of the method was heard.
    Idle,
    /// GPSK-2 is out.
    Keyed {
        suite: Ciphersuite,
        id_server: Box<[u8]>,
        rand_server: [u8; RAND_LEN],
        keys: Box<Keys>,
    },
    Ended,
}

/// One run.
pub(super) struct Gpsk<'a> {
    mn_id: &'a MobileNodeId,
    psk: &'a [u8],
    rand_peer: [u8; RAND_LEN],
    state: State,
}

impl<'a> Gpsk<'a> {
    pub(super) const fn new(
        mn_id: &'a MobileNodeId,
        psk: &'a [u8],
        rand_peer: [u8; RAND_LEN],
    ) -> Self {
        Self { mn_id, psk, rand_peer, state: State::Idle }
    }

    /// GPSK-1 -> GPSK-2: the server's first ciphersuite that our key is long enough for.
    fn second(&mut self, one: &Gpsk1<'_>) -> Result<Step, EapFault> {
        let mut known = gpsk::known_suites(one.suite_list);
        let Some(suite) = known.find(|suite| self.psk.len() >= suite.key_len()) else {
            // RFC 5433 s.10: no ciphersuite in common; there is no other method either.
            return Ok(Step::Nak);
        };
        let id = self.mn_id.as_str().as_bytes();
        let server = (one.rand_server, one.id_server);
        let keys = Keys::derive(suite, self.psk, (&self.rand_peer, id), server);
        let keys = Box::new(keys.ok_or(EapFault::Malformed)?);
        let two = gpsk::encode_2(one, id, &self.rand_peer, suite, &keys);
        let (id_server, rand_server) = (one.id_server.into(), *one.rand_server);
        self.state = State::Keyed { suite, id_server, rand_server, keys };
        Ok(Step::Response(two))
    }
}

impl Method for Gpsk<'_> {
    fn request(&mut self, request: Request<'_>) -> Result<Step, EapFault> {
        let state = std::mem::replace(&mut self.state, State::Ended);
        let suite = match &state {
            State::Keyed { suite, .. } => Some(*suite),
            State::Idle | State::Ended => None,
        };
        let message = gpsk::Message::parse(request.data, suite).map_err(|_| EapFault::Malformed)?;
        match (state, message) {
            (State::Idle, gpsk::Message::One(one)) => self.second(&one),
            (State::Keyed { suite, id_server, rand_server, keys }, gpsk::Message::Three(three)) => {
                // RFC 5433 s.10: what was sent in GPSK-2, and the MAC.
                let same = *three.rand_peer == self.rand_peer
                    && *three.rand_server == rand_server
                    && *three.id_server == *id_server
                    && three.suite == suite;
                if !same || !keys.verify(&three.sealed) || !keys.opens(&three.sealed) {
                    return Err(EapFault::NotAuthentic);
                }
                Ok(Step::Last(gpsk::encode_4(&keys), keys.into_msk()))
            }
            // RFC 5433 s.10: the peer replays the failure, then comes EAP-Failure.
            (State::Keyed { .. }, gpsk::Message::Fail(code)) => {
                Ok(Step::Response(gpsk::encode_fail(code)))
            }
            (State::Keyed { keys, .. }, gpsk::Message::ProtectedFail(code, sealed)) => {
                if !keys.verify(&sealed) {
                    return Err(EapFault::NotAuthentic);
                }
                Ok(Step::Response(gpsk::encode_protected_fail(code, &keys)))
            }
            _ => Err(EapFault::Malformed),
        }
    }
}
