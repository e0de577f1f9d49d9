//! The mobile node's side of MHAuth with EAP: EAP-GPSK, and messages keyed with "1" or the MSK.

use std::sync::Arc;

use hearth_hac::cert::ChannelBinding;
use hearth_hac::config::Realm;
use hearth_hac::directory::IssueRequest;
use hearth_hac::session::{Outcome, Reply, Session, Step};
use hearth_wire::eap::gpsk::{self, Ciphersuite, Keys};
use hearth_wire::eap::{Body, Code, EapType, Packet, encode};
use hearth_wire::hac::{AuthMethod, Message, Side, StatusCode, message};
use hearth_wire::{Scope, Suite};

use super::{Counting, NOW, PSK, binding, mn_id};

pub(crate) const MN_RAND: [u8; 32] = [0x11; 32];
pub(crate) const RETRY_AFTER: u64 = 30;
pub(crate) const NO_MSK: &[u8] = b"1";

/// A peer of EAP-GPSK.
pub(crate) struct GpskPeer {
    pub(crate) id: Vec<u8>,
    pub(crate) psk: Vec<u8>,
    pub(crate) suite: Ciphersuite,
    pub(crate) keys: Option<Keys>,
}

impl GpskPeer {
    pub(crate) fn new(suite: Ciphersuite) -> Self {
        Self { id: b"mn1@example.net".to_vec(), psk: PSK.to_vec(), suite, keys: None }
    }

    pub(crate) fn msk(self) -> Vec<u8> {
        self.keys.unwrap().into_msk().to_vec()
    }

    /// Type-Data of the Response to this Type-Data.
    pub(crate) fn respond(&mut self, type_data: &[u8]) -> Vec<u8> {
        match gpsk::Message::parse(type_data, Some(self.suite)).ok().unwrap() {
            gpsk::Message::One(one) => {
                let rand_peer = [0x77; 32];
                let server = (one.rand_server, one.id_server);
                let peer = (&rand_peer, &self.id[..]);
                let keys = Keys::derive(self.suite, &self.psk, peer, server).unwrap();
                let two = gpsk::encode_2(&one, &self.id, &rand_peer, self.suite, &keys);
                self.keys = Some(keys);
                two
            }
            gpsk::Message::Three(three) => {
                let keys = self.keys.as_ref().unwrap();
                assert!(keys.verify(&three.sealed), "the server has proved itself");
                gpsk::encode_4(keys)
            }
            gpsk::Message::Fail(code) => gpsk::encode_fail(code),
            _ => panic!("not for a peer"),
        }
    }
}

/// A session and the mobile node at its other end.
pub(crate) struct Peer {
    pub(crate) session: Session,
    pub(crate) binding: ChannelBinding,
    pub(crate) entropy: Counting,
}

impl Peer {
    pub(crate) fn new(realm: Realm) -> Self {
        let binding = binding();
        let session = Session::new(Arc::new(realm), binding.clone(), RETRY_AFTER);
        Self { session, binding, entropy: Counting(1) }
    }

    pub(crate) fn send(&mut self, content: &[u8]) -> Step {
        self.session.request(content, NOW, &mut self.entropy)
    }

    pub(crate) fn sign(&self, message: &Message, key: &[u8]) -> Vec<u8> {
        message.encode_signed(Side::Mn, key, self.binding.octets()).to_vec()
    }

    /// Reads a response, whose `auth` must be right under `key`.
    pub(crate) fn read(&self, reply: &Reply, key: &[u8]) -> Message {
        let parsed = message::parse(&reply.content).unwrap();
        let binding = self.binding.octets();
        assert!(message::verify(&reply.content, &parsed, Side::Hac, key, binding), "auth");
        parsed.message
    }

    /// Init for this mn-id: EAP-Request/Identity.
    pub(crate) fn init(&mut self, id: &str) -> Vec<u8> {
        let message = Message {
            mn_id: Some(mn_id(id)),
            mn_rand: Some(MN_RAND),
            auth_methods: vec![AuthMethod::Eap],
            ..Message::default()
        };
        let step = self.send(&message.encode_unsigned());
        let response = self.challenged(step);
        assert_eq!(response.auth_methods, [AuthMethod::Eap]);
        response.eap_payload.unwrap()
    }

    /// A Mid with this packet.
    pub(crate) fn mid(&mut self, packet: &[u8]) -> Step {
        let content = self.sign(&payload(packet), NO_MSK);
        self.send(&content)
    }

    /// A Done with this packet under this key.
    pub(crate) fn done(&mut self, packet: Option<&[u8]>, key: &[u8]) -> Step {
        let message = Message {
            scope: Some(Scope::SignallingAndData),
            suite_list: Some(vec![Suite::Aes128CbcSha]),
            eap_payload: packet.map(<[u8]>::to_vec),
            ..Message::default()
        };
        let content = self.sign(&message, key);
        self.send(&content)
    }

    /// A response that goes on: its headers.
    pub(crate) fn challenged(&self, step: Step) -> Message {
        let reply = responded(step);
        assert_eq!(reply.outcome, Outcome::Challenged);
        let message = self.read(&reply, NO_MSK);
        assert_eq!(message.status, None, "only the final response has a status-code");
        message
    }

    /// EAP-Request of a response that goes on.
    pub(crate) fn request(&self, step: Step) -> Vec<u8> {
        self.challenged(step).eap_payload.unwrap()
    }

    /// Init and EAP-Response/Identity: the first Request of a method.
    pub(crate) fn identified(&mut self, id: &str, identity: &str) -> Vec<u8> {
        let request = self.init(id);
        let response = answer(&request, EapType::IDENTITY, identity.as_bytes());
        let step = self.mid(&response);
        self.request(step)
    }

    /// Runs GPSK up to, and without, the Response that ends it.
    pub(crate) fn gpsk(&mut self, gpsk: &mut GpskPeer) -> Vec<u8> {
        let one = self.identified("mn1@example.net", "mn1@example.net");
        let two = respond(gpsk, &one);
        let step = self.mid(&two);
        let three = self.request(step);
        respond(gpsk, &three)
    }
}

pub(crate) fn payload(packet: &[u8]) -> Message {
    Message { eap_payload: Some(packet.to_vec()), ..Message::default() }
}

/// What a Request is.
pub(crate) fn request(octets: &[u8]) -> (u8, Body<'_>) {
    let Ok(Packet { code: Code::Request, identifier, body: Some(body) }) = Packet::parse(octets)
    else {
        panic!("no EAP-Request: {octets:02x?}")
    };
    (identifier, body)
}

/// A Response to `octets`.
pub(crate) fn answer(octets: &[u8], eap_type: EapType, data: &[u8]) -> Vec<u8> {
    encode(Code::Response, request(octets).0, eap_type, data).unwrap()
}

pub(crate) fn respond(gpsk: &mut GpskPeer, octets: &[u8]) -> Vec<u8> {
    let (_, body) = request(octets);
    assert_eq!(body.eap_type, EapType::GPSK);
    let data = gpsk.respond(body.data);
    answer(octets, EapType::GPSK, &data)
}

pub(crate) fn responded(step: Step) -> Reply {
    match step {
        Step::Respond(reply) => reply,
        step => panic!("not answered: {step:?}"),
    }
}

pub(crate) fn issue(step: Step) -> Box<IssueRequest> {
    match step {
        Step::Issue(request) => request,
        step => panic!("not issued: {step:?}"),
    }
}

/// The status-code that ends a session, which nothing may follow.
pub(crate) fn status(step: Step) -> StatusCode {
    let reply = responded(step);
    let sent = message::parse(&reply.content).unwrap().message.status;
    match reply.outcome {
        Outcome::Refused(status) => {
            assert_eq!(sent, Some(status));
            status
        }
        other => panic!("not refused: {other:?}"),
    }
}
