//! MHAuth with EAP.
//!
//! Read first: RFC 6618 s.5.9; readings R-5, R-6, R-10, R-11.
//!
//! ```text
//!  MN                                                     HAC
//!   | Init: mn-id, mn-rand, auth-method                    |
//!   |<----- Init: auth-method=eap, EAP-Request/Identity ---|  key "1"
//!   | Mid: EAP-Response --------------------------------->|  key "1", as often as it takes
//!   |<--------------------------------- Mid: EAP-Request --|  key "1"
//!   | Done: mip6-sas, mip6-suitelist, EAP-Response ------->|  key MSK
//!   |<--- Done: EAP-Success, SA, bootstrapping data, 200 --|  key MSK
//! ```
//!
//! EAP-Success comes in Response/Mid where the method's last Response came in Request/Mid.

use hearth_wire::MobileNodeId;
use hearth_wire::eap::{EapType, HEADER_LEN};
use hearth_wire::hac::message;
use hearth_wire::hac::{AuthMethod, Message, Parsed, Side, StatusCode};
use zeroize::Zeroizing;

use super::{Outcome, Reply, Session, State, Step};
use crate::auth::eap::gpsk::Gpsk;
use crate::auth::eap::server::{Methods, Server, Success, Turn};
use crate::auth::eap::{DoneKey, Method, NO_MSK};
use crate::auth::psk::Psk;
use crate::keys::Entropy;
use crate::methods::Method as AuthenticatedBy;
use crate::radius::{Authorisation, Relay, RelayError, Relayed};

/// An exchange from its Init to its Done.
pub(super) struct Run {
    mn_id: MobileNodeId,
    mn_rand: [u8; 32],
    server: Server,
    /// EAP-Success was sent in Response/Mid: what Done will be keyed with.
    proven: Option<Proven>,
}

/// What a successful method leaves behind.
struct Proven {
    key: DoneKey,
    authorisation: Option<Box<Authorisation>>,
}

/// Which request an EAP packet came in.
pub(super) enum Asked {
    Mid,
    /// Its Content waits for the MSK that keys it.
    Done(Zeroizing<Vec<u8>>),
}

/// What keys a final response, and the EAP packet in it.
pub(super) struct Signer {
    key: DoneKey,
    packet: Option<[u8; HEADER_LEN]>,
}

impl Signer {
    pub(super) fn key(&self) -> &[u8] {
        self.key.octets()
    }

    pub(super) fn headers(&self) -> Message {
        Message { eap_payload: self.packet.map(Vec::from), ..Message::default() }
    }
}

/// Makes the methods that this mobile node can run.
struct Offered<'a> {
    session: &'a Session,
    mn_id: &'a MobileNodeId,
}

impl Methods for Offered<'_> {
    fn make(&self, eap_type: EapType, entropy: &mut dyn Entropy) -> Option<Box<dyn Method>> {
        let mn_id = self.mn_id;
        match eap_type {
            EapType::GPSK => {
                let stand_in = Psk::unknown(entropy).ok()?;
                let psk = self.session.realm.subscribers.psk(mn_id, stand_in);
                let settings = self.session.realm.auth.gpsk.clone();
                let run = Gpsk::new(settings, mn_id.clone(), psk, entropy).ok()?;
                Some(Box::new(run))
            }
            EapType::TLS => {
                let run = self.session.realm.auth.eap_tls.as_ref()?.run()?;
                Some(Box::new(run))
            }
            _ => None,
        }
    }
}

impl Session {
    /// Response/MHAuth-Init (RFC 6618 s.5.9, message 2).
    pub(super) fn eap_init(&mut self, mn_id: MobileNodeId, mn_rand: [u8; 32]) -> Reply {
        let offers = self.realm.auth.choice(&mn_id).eap.clone();
        let (server, request) = Server::start(offers);
        self.state = State::Eap(Box::new(Run { mn_id, mn_rand, server, proven: None }));
        self.challenge(Message { auth_methods: vec![AuthMethod::Eap], ..payload(request) })
    }

    /// Request/MHAuth-Mid or Request/MHAuth-Done.
    pub(super) fn eap_request(
        &mut self,
        mut run: Box<Run>,
        content: &[u8],
        now: u64,
        entropy: &mut dyn Entropy,
    ) -> Step {
        let parsed = match self.judge(&run, content) {
            Ok(parsed) => parsed,
            Err(status) => return self.eap_refuse(*run, status, now),
        };
        let Parsed { message, .. } = &parsed;
        if let Some(proven) = run.proven.take() {
            let signer = Signer { key: proven.key, packet: None };
            return self.eap_done(&run, signer, content, proven.authorisation, now, entropy);
        }
        let Some(packet) = &message.eap_payload else {
            // A Done from one that has proved nothing yet; `judge` has refused such a Mid.
            return self.eap_refuse(*run, StatusCode::Unauthorized, now);
        };
        let asked = match message.scope {
            Some(_) => Asked::Done(Zeroizing::new(content.to_vec())),
            None => Asked::Mid,
        };
        let turn = {
            let offered = Offered { session: self, mn_id: &run.mn_id };
            run.server.respond(packet, &offered, entropy)
        };
        self.method = match (&turn, run.server.eap_type()) {
            (Turn::Relay { .. }, _) => AuthenticatedBy::Radius,
            (_, Some(eap_type)) if self.method != AuthenticatedBy::Radius => {
                AuthenticatedBy::local(eap_type)
            }
            _ => self.method,
        };
        self.turn(run, asked, turn, now, entropy)
    }

    /// What the AAA server made of a Response.
    pub(super) fn eap_relayed(
        &mut self,
        mut run: Box<Run>,
        asked: Asked,
        result: Result<Relayed, RelayError>,
        now: u64,
        entropy: &mut dyn Entropy,
    ) -> Step {
        match result {
            Ok(relayed) => {
                let turn = run.server.relayed(relayed);
                self.turn(run, asked, turn, now, entropy)
            }
            // R-9.
            Err(RelayError::Silent) => self.eap_refuse(*run, StatusCode::GatewayTimeout, now),
            Err(RelayError::AllDead { retry_after }) => {
                let signer = super::Signer::Eap(run.without_msk(None));
                let (status, until) =
                    (StatusCode::ServiceUnavailable, now.saturating_add(retry_after));
                Step::Respond(self.refuse_until(&signer, status, until))
            }
        }
    }

    /// Form, kind and, for a Mid, `auth` of a request.
    fn judge(&self, run: &Run, content: &[u8]) -> Result<Parsed, StatusCode> {
        let parsed = message::parse(content).map_err(|_| StatusCode::BadRequest)?;
        let message = &parsed.message;
        // R-5: Done has both headers, Mid neither and an EAP packet; after EAP-Success there is
        // nothing but a Done without one (R-10).
        let well_formed = match (message.scope.is_some(), message.suite_list.is_some()) {
            (true, true) => run.proven.is_none() || message.eap_payload.is_none(),
            (false, false) => run.proven.is_none() && message.eap_payload.is_some(),
            _ => false,
        };
        if !well_formed || parsed.auth.is_none() {
            return Err(StatusCode::BadRequest);
        }
        // R-10, EAP-03. Done is keyed with what the method in it makes.
        let binding = self.binding.octets();
        if message.scope.is_none() && !message::verify(content, &parsed, Side::Mn, NO_MSK, binding)
        {
            return Err(StatusCode::Unauthorized);
        }
        // The identity and the nonce of Init, where they are repeated.
        let same_node = message.mn_id.as_ref().is_none_or(|mn_id| *mn_id == run.mn_id);
        if !same_node || message.mn_rand.is_some_and(|mn_rand| mn_rand != run.mn_rand) {
            return Err(StatusCode::Unauthorized);
        }
        Ok(parsed)
    }

    fn turn(
        &mut self,
        mut run: Box<Run>,
        asked: Asked,
        turn: Turn,
        now: u64,
        entropy: &mut dyn Entropy,
    ) -> Step {
        match (turn, asked) {
            (Turn::Request(request), Asked::Mid) => {
                self.state = State::Eap(run);
                Step::Respond(self.challenge(payload(request)))
            }
            // R-10: a Done whose response does not finish the method.
            (Turn::Request(_), Asked::Done(_)) => {
                let failure = run.server.failure();
                self.eap_fail(*run, failure, now)
            }
            (Turn::Relay { eap, state }, asked) => {
                let relay = Relay { eap, mn_id: run.mn_id.clone(), state };
                self.state = State::Relaying(run, asked);
                Step::Relay(Box::new(relay))
            }
            (Turn::Success(success), asked) => {
                let (packet, failure) = (success.packet, success.failure);
                match (self.accept(&run.mn_id, *success), asked) {
                    (None, _) => self.eap_fail(*run, failure, now),
                    (Some(proven), Asked::Mid) => {
                        run.proven = Some(proven);
                        self.state = State::Eap(run);
                        Step::Respond(self.challenge(payload(packet.to_vec())))
                    }
                    (Some(Proven { key, authorisation }), Asked::Done(content)) => {
                        let packet = Some(packet);
                        let signer = Signer { key, packet };
                        self.eap_done(&run, signer, &content, authorisation, now, entropy)
                    }
                }
            }
            (Turn::Failure(failure), _) => self.eap_fail(*run, failure, now),
            (Turn::Malformed, _) => self.eap_refuse(*run, StatusCode::BadRequest, now),
            (Turn::Discarded, _) => self.eap_refuse(*run, StatusCode::Unauthorized, now),
            (Turn::Fault, _) => self.eap_refuse(*run, StatusCode::InternalServerError, now),
        }
    }

    /// Whether a successful method opens an SA of `mn_id`, and what keys Done then.
    fn accept(&self, mn_id: &MobileNodeId, success: Success) -> Option<Proven> {
        // R-11, EAP-07: the identity that was proved, never the one that was claimed.
        if !success.proof.identity.proves(mn_id) {
            return None;
        }
        let key = match success.proof.msk {
            Some(msk) => msk.into_done_key(),
            // EAP-04: such a method binds neither the TLS tunnel nor what is sent in it.
            None if success
                .eap_type
                .is_some_and(|eap_type| self.realm.auth.allow_without_msk.contains(&eap_type)) =>
            {
                DoneKey::NoMsk
            }
            None => return None,
        };
        Some(Proven { key, authorisation: success.authorisation })
    }

    /// Request/MHAuth-Done of a mobile node whose method has succeeded.
    fn eap_done(
        &mut self,
        run: &Run,
        signer: Signer,
        content: &[u8],
        authorisation: Option<Box<Authorisation>>,
        now: u64,
        entropy: &mut dyn Entropy,
    ) -> Step {
        let request = match message::parse(content) {
            Ok(parsed) => {
                let binding = self.binding.octets();
                match message::verify(content, &parsed, Side::Mn, signer.key(), binding) {
                    true => {
                        let said = authorisation.as_deref();
                        self.issue_request(&run.mn_id, &parsed.message, said, now, entropy)
                    }
                    false => Err(StatusCode::Unauthorized),
                }
            }
            Err(_) => Err(StatusCode::BadRequest),
        };
        match request {
            Ok(request) => self.issue(request, super::Signer::Eap(signer)),
            Err(status) => Step::Respond(self.refuse(&super::Signer::Eap(signer), status, now)),
        }
    }

    /// Response/MHAuth-Init or Response/MHAuth-Mid.
    fn challenge(&self, response: Message) -> Reply {
        let content = response.encode_signed(Side::Hac, NO_MSK, self.binding.octets());
        Reply { content, outcome: Outcome::Challenged }
    }

    /// EAP-05: 401 with EAP-Failure.
    fn eap_fail(&self, run: Run, failure: [u8; HEADER_LEN], now: u64) -> Step {
        let signer = super::Signer::Eap(run.without_msk(Some(failure)));
        Step::Respond(self.refuse(&signer, StatusCode::Unauthorized, now))
    }

    fn eap_refuse(&self, mut run: Run, status: StatusCode, now: u64) -> Step {
        // After EAP-Success it is the MSK that keys a final response.
        let signer = match run.proven.take() {
            Some(proven) => Signer { key: proven.key, packet: None },
            None => run.without_msk(None),
        };
        Step::Respond(self.refuse(&super::Signer::Eap(signer), status, now))
    }
}

impl Run {
    fn without_msk(self, packet: Option<[u8; HEADER_LEN]>) -> Signer {
        Signer { key: DoneKey::NoMsk, packet }
    }
}

fn payload(packet: Vec<u8>) -> Message {
    Message { eap_payload: Some(packet), ..Message::default() }
}
