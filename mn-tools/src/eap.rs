//! The mobile node's EAP: a peer of EAP-GPSK.
//!
//! Read first: RFC 3748 s.4, 5; RFC 5433 s.3, 10; reading R-10.

use hearth_wire::MobileNodeId;
use hearth_wire::eap::gpsk::{self, Ciphersuite, FailureCode, Gpsk1, Keys, RAND_LEN};
use hearth_wire::eap::{Body, Code, EapType, Packet, encode};
use zeroize::Zeroizing;

/// What the peer says to a Request.
#[derive(Debug)]
pub enum Answer {
    /// This Response; the method goes on.
    Response(Vec<u8>),
    /// This Response is the method's last; its MSK.
    Last(Vec<u8>, Zeroizing<[u8; 64]>),
}

/// Why a Request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EapFault {
    /// It is no EAP-Request, or none that comes now.
    Malformed,
    /// The server has not proved that it knows our key.
    NotAuthentic,
}

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

/// One conversation.
pub struct Peer<'a> {
    mn_id: &'a MobileNodeId,
    psk: &'a [u8],
    rand_peer: [u8; RAND_LEN],
    state: State,
}

impl<'a> Peer<'a> {
    /// A peer with this identity and key; `rand_peer` is used once.
    #[must_use]
    pub const fn new(mn_id: &'a MobileNodeId, psk: &'a [u8], rand_peer: [u8; RAND_LEN]) -> Self {
        Self { mn_id, psk, rand_peer, state: State::Idle }
    }

    /// Answers a Request.
    ///
    /// # Errors
    /// [`EapFault`]; the conversation is over.
    pub fn answer(&mut self, octets: &[u8]) -> Result<Answer, EapFault> {
        let Ok(Packet { code: Code::Request, identifier, body: Some(Body { eap_type, data }) }) =
            Packet::parse(octets)
        else {
            return Err(EapFault::Malformed);
        };
        let id = self.mn_id.as_str().as_bytes();
        match eap_type {
            EapType::IDENTITY => response(identifier, EapType::IDENTITY, id),
            EapType::NOTIFICATION => response(identifier, EapType::NOTIFICATION, &[]),
            EapType::GPSK => self.gpsk(identifier, data),
            // RFC 3748 s.5.3.1: what we would rather do.
            _ => response(identifier, EapType::NAK, EapType::GPSK.as_legacy().as_slice()),
        }
    }

    fn gpsk(&mut self, identifier: u8, data: &[u8]) -> Result<Answer, EapFault> {
        let state = std::mem::replace(&mut self.state, State::Ended);
        let suite = match &state {
            State::Keyed { suite, .. } => Some(*suite),
            State::Idle | State::Ended => None,
        };
        let message = gpsk::Message::parse(data, suite).map_err(|_| EapFault::Malformed)?;
        match (state, message) {
            (State::Idle, gpsk::Message::One(one)) => self.second(identifier, &one),
            (State::Keyed { suite, id_server, rand_server, keys }, gpsk::Message::Three(three)) => {
                // RFC 5433 s.10: what was sent in GPSK-2, and the MAC.
                let same = *three.rand_peer == self.rand_peer
                    && *three.rand_server == rand_server
                    && *three.id_server == *id_server
                    && three.suite == suite;
                if !same || !keys.verify(&three.sealed) || !keys.opens(&three.sealed) {
                    return Err(EapFault::NotAuthentic);
                }
                let four = response(identifier, EapType::GPSK, &gpsk::encode_4(&keys))?;
                match four {
                    Answer::Response(packet) => Ok(Answer::Last(packet, keys.into_msk())),
                    Answer::Last(..) => Err(EapFault::Malformed),
                }
            }
            // RFC 5433 s.10: the peer replays the failure, then comes EAP-Failure.
            (State::Keyed { .. }, gpsk::Message::Fail(code)) => {
                response(identifier, EapType::GPSK, &gpsk::encode_fail(code))
            }
            (State::Keyed { keys, .. }, gpsk::Message::ProtectedFail(code, sealed)) => {
                self.protected_fail(identifier, code, &keys, keys.verify(&sealed))
            }
            _ => Err(EapFault::Malformed),
        }
    }

    /// GPSK-1 -> GPSK-2: the server's first ciphersuite that our key is long enough for.
    fn second(&mut self, identifier: u8, one: &Gpsk1<'_>) -> Result<Answer, EapFault> {
        let mut known = gpsk::known_suites(one.suite_list);
        let Some(suite) = known.find(|suite| self.psk.len() >= suite.key_len()) else {
            // RFC 5433 s.10: no ciphersuite in common; there is no other method either.
            return response(identifier, EapType::NAK, &[0]);
        };
        let id = self.mn_id.as_str().as_bytes();
        let server = (one.rand_server, one.id_server);
        let keys = Keys::derive(suite, self.psk, (&self.rand_peer, id), server);
        let keys = Box::new(keys.ok_or(EapFault::Malformed)?);
        let two = gpsk::encode_2(one, id, &self.rand_peer, suite, &keys);
        let (id_server, rand_server) = (one.id_server.into(), *one.rand_server);
        self.state = State::Keyed { suite, id_server, rand_server, keys };
        response(identifier, EapType::GPSK, &two)
    }

    fn protected_fail(
        &self,
        identifier: u8,
        code: FailureCode,
        keys: &Keys,
        authentic: bool,
    ) -> Result<Answer, EapFault> {
        if !authentic {
            return Err(EapFault::NotAuthentic);
        }
        response(identifier, EapType::GPSK, &gpsk::encode_protected_fail(code, keys))
    }
}

fn response(identifier: u8, eap_type: EapType, data: &[u8]) -> Result<Answer, EapFault> {
    encode(Code::Response, identifier, eap_type, data)
        .map(Answer::Response)
        .ok_or(EapFault::Malformed)
}

#[cfg(test)]
mod tests;
