//! The EAP authenticator of one session, without I/O.
//!
//! Read first: RFC 3748 s.2, 4.1, 5.1 to 5.3; RFC 4137 s.5, 6, 7; RFC 3579 s.2.1; readings R-10,
//! R-11.
//!
//! ```text
//!  Identity --> Proposed --Nak--> Proposed (another) ...
//!     |            |
//!     |            +--> Running --> Success | Failure
//!     |
//!     +--> Relaying <--> Challenged --> Success | Failure      (the AAA server's method)
//! ```
//!
//! The carrier is lockstep and reliable, so there are no retransmissions: what RFC 3748 silently
//! discards ends the conversation (R-10).

use std::collections::VecDeque;

use hearth_wire::eap::{Code, EapType, HEADER_LEN, Packet, encode};

use super::{Identity, Method, MethodStep, Msk, Proof};
use crate::keys::Entropy;
use crate::radius::{Authorisation, RelayState, Relayed};

/// Responses of one conversation at most. EAP-TLS with a long chain in small fragments needs some
/// dozens.
pub const MAX_ROUNDS: u8 = 120;

/// The Identifier of the first Request.
const FIRST_IDENTIFIER: u8 = 1;

/// Octets of the longest EAP-Response/Identity: that of a User-Name (RFC 2865 s.5.1).
const MAX_IDENTITY: usize = 253;

/// Who runs a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// This server.
    Local(EapType),
    /// The AAA server, which chooses it (RFC 3579 s.2.1).
    Aaa,
}

/// Makes a run of a local method.
pub trait Methods {
    /// A fresh run of the method of this type; `None` by a fault of this server.
    fn make(&self, eap_type: EapType, entropy: &mut dyn Entropy) -> Option<Box<dyn Method>>;
}

/// What comes of a Response, or of what the AAA server made of it.
#[derive(Debug)]
pub enum Turn {
    /// Send this Request.
    Request(Vec<u8>),
    /// Have the AAA server judge this Response, then call [`Server::relayed`].
    Relay {
        /// The Response.
        eap: Vec<u8>,
        /// What came with the Request that it answers.
        state: Option<RelayState>,
    },
    /// The conversation ended well.
    Success(Box<Success>),
    /// It did not: send this EAP-Failure.
    Failure([u8; HEADER_LEN]),
    /// The Response was malformed, or not the answer to the Request (R-10: 400).
    Malformed,
    /// A MAC or a nonce of the Response was wrong (R-10: 401).
    Discarded,
    /// A fault of this server.
    Fault,
}

/// A conversation that ended well.
#[derive(Debug)]
pub struct Success {
    /// EAP-Success.
    pub packet: [u8; HEADER_LEN],
    /// EAP-Failure, if who decides thinks otherwise.
    pub failure: [u8; HEADER_LEN],
    /// The method; `None` where the AAA server named none.
    pub eap_type: Option<EapType>,
    /// What it proved.
    pub proof: Proof,
    /// What the AAA server says that the mobile node gets.
    pub authorisation: Option<Box<Authorisation>>,
}

enum State {
    /// EAP-Request/Identity is out.
    Identity,
    /// The method's first Request is out: a Nak may come (RFC 3748 s.5.3.1).
    Proposed(Box<dyn Method>),
    /// The method has had a Response.
    Running(Box<dyn Method>),
    /// A Response is with the AAA server.
    Relaying,
    /// The AAA server's Request is out.
    Challenged(RelayState),
    Ended,
}

/// One conversation.
pub struct Server {
    /// What was not offered yet, the most wanted first; each is offered once.
    offers: VecDeque<Offer>,
    state: State,
    /// Of the last Request.
    identifier: u8,
    rounds: u8,
    /// Type-Data of EAP-Response/Identity: for the AAA server alone (R-11).
    identity: Vec<u8>,
    /// Type of the last Request that was a method's.
    eap_type: Option<EapType>,
}

impl Server {
    /// A conversation that offers `offers` in this order, and its EAP-Request/Identity.
    #[must_use]
    pub fn start(offers: impl IntoIterator<Item = Offer>) -> (Self, Vec<u8>) {
        let server = Self {
            offers: offers.into_iter().collect(),
            state: State::Identity,
            identifier: FIRST_IDENTIFIER,
            rounds: 0,
            identity: Vec::new(),
            eap_type: None,
        };
        let request = encode(Code::Request, FIRST_IDENTIFIER, EapType::IDENTITY, &[]);
        (server, request.unwrap_or_default())
    }

    /// Type of the last Request that was a method's, here.
    #[must_use]
    pub const fn eap_type(&self) -> Option<EapType> {
        self.eap_type
    }

    /// Takes an EAP packet of the peer.
    pub fn respond(
        &mut self,
        octets: &[u8],
        methods: &dyn Methods,
        entropy: &mut dyn Entropy,
    ) -> Turn {
        let Ok(Packet { code: Code::Response, identifier, body: Some(body) }) =
            Packet::parse(octets)
        else {
            self.state = State::Ended;
            return Turn::Malformed;
        };
        // RFC 3748 s.4.1: a Response to another Request is discarded.
        if identifier != self.identifier {
            self.state = State::Ended;
            return Turn::Malformed;
        }
        if self.rounds >= MAX_ROUNDS {
            return self.fail();
        }
        self.rounds += 1;
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Identity if body.eap_type == EapType::IDENTITY => {
                // RFC 3748 s.5.1: who the peer says it is routes, and authenticates nobody.
                if body.data.len() > MAX_IDENTITY {
                    return Turn::Malformed;
                }
                self.identity = body.data.to_vec();
                self.offer(None, methods, entropy)
            }
            State::Proposed(method) if body.eap_type == method.eap_type() => {
                self.run(method, body.data)
            }
            State::Proposed(_) if body.eap_type == EapType::NAK => match body.nak() {
                Some(wanted) => self.offer(Some(&wanted), methods, entropy),
                None => Turn::Malformed,
            },
            State::Running(method) if body.eap_type == method.eap_type() => {
                self.run(method, body.data)
            }
            State::Challenged(state) => self.relay(octets.to_vec(), Some(state)),
            _ => Turn::Malformed,
        }
    }

    /// Takes what the AAA server made of [`Turn::Relay`].
    pub fn relayed(&mut self, relayed: Relayed) -> Turn {
        if !matches!(std::mem::replace(&mut self.state, State::Ended), State::Relaying) {
            return Turn::Fault;
        }
        match relayed {
            Relayed::Challenge { eap, state } => {
                let Ok(Packet { code: Code::Request, identifier, body: Some(body) }) =
                    Packet::parse(&eap)
                else {
                    return Turn::Fault;
                };
                self.identifier = identifier;
                if body.eap_type.is_method() {
                    self.eap_type = Some(body.eap_type);
                }
                self.state = State::Challenged(state);
                Turn::Request(eap)
            }
            Relayed::Accept { user_name, msk, authorisation, .. } => {
                let identity = user_name.map_or_else(Identity::none, |name| Identity::one(&name));
                let msk = msk.and_then(|keys| Msk::take(&mut *keys.into_octets()));
                self.succeed(Proof { identity, msk }, Some(authorisation))
            }
            Relayed::Reject { .. } => self.fail(),
        }
    }

    /// EAP-Failure to the last Request.
    #[must_use]
    pub const fn failure(&self) -> [u8; HEADER_LEN] {
        Packet::failure(self.identifier)
    }

    /// Offers the next method: any, or one of those that a Nak asks for.
    fn offer(
        &mut self,
        wanted: Option<&[EapType]>,
        methods: &dyn Methods,
        entropy: &mut dyn Entropy,
    ) -> Turn {
        let acceptable = |offer: &Offer| match (offer, wanted) {
            (_, None) => true,
            (Offer::Local(eap_type), Some(wanted)) => wanted.contains(eap_type),
            // Which methods the AAA server has it says itself.
            (Offer::Aaa, Some(wanted)) => !wanted.is_empty(),
        };
        let next = self.offers.iter().position(acceptable);
        match next.and_then(|next| self.offers.remove(next)) {
            None => self.fail(),
            Some(Offer::Aaa) => {
                // RFC 3579 s.2.1: the conversation begins with EAP-Response/Identity. It answers the
                // last Request, so that the AAA server's first one gets another Identifier.
                let (identifier, identity) = (self.identifier, &self.identity);
                match encode(Code::Response, identifier, EapType::IDENTITY, identity) {
                    Some(eap) => self.relay(eap, None),
                    None => Turn::Fault,
                }
            }
            Some(Offer::Local(eap_type)) => {
                let Some(mut method) = methods.make(eap_type, entropy) else {
                    return Turn::Fault;
                };
                let data = method.begin();
                let turn = self.request(eap_type, &data);
                self.state = State::Proposed(method);
                turn
            }
        }
    }

    fn run(&mut self, mut method: Box<dyn Method>, data: &[u8]) -> Turn {
        match method.respond(data) {
            MethodStep::Request(data) => {
                let turn = self.request(method.eap_type(), &data);
                self.state = State::Running(method);
                turn
            }
            MethodStep::Success(proof) => self.succeed(proof, None),
            MethodStep::Failure => self.fail(),
            MethodStep::Malformed => Turn::Malformed,
            MethodStep::Discarded => Turn::Discarded,
            MethodStep::Fault => Turn::Fault,
        }
    }

    fn request(&mut self, eap_type: EapType, data: &[u8]) -> Turn {
        self.identifier = self.identifier.wrapping_add(1);
        self.eap_type = Some(eap_type);
        encode(Code::Request, self.identifier, eap_type, data).map_or(Turn::Fault, Turn::Request)
    }

    fn relay(&mut self, eap: Vec<u8>, state: Option<RelayState>) -> Turn {
        self.state = State::Relaying;
        Turn::Relay { eap, state }
    }

    fn succeed(&mut self, proof: Proof, authorisation: Option<Box<Authorisation>>) -> Turn {
        // RFC 3748 s.4.2: Identifier of the Response that it answers.
        Turn::Success(Box::new(Success {
            packet: Packet::success(self.identifier),
            failure: self.failure(),
            eap_type: self.eap_type,
            proof,
            authorisation,
        }))
    }

    fn fail(&mut self) -> Turn {
        self.state = State::Ended;
        Turn::Failure(self.failure())
    }
}
