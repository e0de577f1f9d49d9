//! What the fuzz targets do with their octets; a panic or a failed assertion is a finding.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "each target uses a part of it, and a finding is a panic"
)]

use hearth_hac::auth::eap::Method;
use hearth_hac::auth::eap::gpsk::{Gpsk, Settings};
use hearth_hac::auth::eap::server::{Methods, Offer, Server, Turn};
use hearth_hac::auth::psk::Psk;
use hearth_hac::keys::{Entropy, EntropyError};
use hearth_hac::lockstep::Lockstep;
use hearth_hac::radius::accounting::remembered::Remembered;
use hearth_hac::radius::authorisation::Authorisation;
use hearth_hac::radius::packet::{Asked, Code as RadiusCode, Request, Response, Secret};
use hearth_hac::radius::{RelayState, Relayed, mppe};
use hearth_wire::MobileNodeId;
use hearth_wire::eap::gpsk::{self, Ciphersuite, Keys, Sealed};
use hearth_wire::eap::{Body, Code, EapType, Packet, encode};
use hearth_wire::hac::{Side, container as wire, message};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use zeroize::Zeroizing;

const ID: &str = "mn1@example.net";
const PSK: [u8; 32] = [0x5a; 32];

/// Containers, whole and in pieces: the requests are the same.
pub fn container(data: &[u8]) {
    let Some((&size, octets)) = data.split_first() else { return };
    let mut whole = Lockstep::default();
    whole.push(octets);
    let mut pieces = Lockstep::default();
    let mut dribbled = Vec::new();
    let mut refused = false;
    for piece in octets.chunks(usize::from(size).max(1)) {
        pieces.push(piece);
        while !refused {
            match pieces.next_request() {
                Ok(Some(request)) => dribbled.push(request),
                Ok(None) => break,
                Err(_) => refused = true,
            }
        }
    }
    for expected in dribbled {
        assert_eq!(whole.next_request(), Ok(Some(expected)));
    }
    assert_eq!(whole.next_request().is_err(), refused);
    if let Ok(Some((container, taken))) = wire::decode(octets) {
        let again = wire::encode(container.identifier, container.content).unwrap();
        // Rsrvd is ignored on receipt and sent as 0.
        assert_eq!(again[1..], octets[1..taken]);
    }
}

/// TV-headers: what was read is written so that it is read again.
pub fn tv_headers(data: &[u8]) {
    let Ok(parsed) = message::parse(data) else { return };
    assert!(parsed.signed_len <= data.len());
    let _ = message::verify(data, &parsed, Side::Mn, &PSK, b"CB");
    let written = parsed.message.encode_signed(Side::Hac, &PSK, b"CB");
    let again = message::parse(&written).expect("what is written can be read");
    assert!(message::verify(&written, &again, Side::Hac, &PSK, b"CB"));
    assert!(!message::verify(&written, &again, Side::Mn, &PSK, b"CB"));
    if parsed.message.suite_list.as_ref().is_none_or(|suites| !suites.is_empty()) {
        assert!(again.message == parsed.message);
    }
}

struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, buf: &mut [u8]) -> Result<(), EntropyError> {
        for octet in buf {
            self.0 = self.0.wrapping_mul(29).wrapping_add(1);
            *octet = self.0;
        }
        Ok(())
    }
}

struct OnlyGpsk;

impl Methods for OnlyGpsk {
    fn make(&self, _: EapType, entropy: &mut dyn Entropy) -> Option<Box<dyn Method>> {
        let (mn_id, psk) = (MobileNodeId::new(ID).ok()?, Psk::new(PSK.to_vec()).ok()?);
        Some(Box::new(Gpsk::new(Settings::default(), mn_id, psk, entropy).ok()?))
    }
}

/// A peer that knows the key, so that octets that are wrong in one place get far.
#[derive(Default)]
struct Peer(Option<(Ciphersuite, Keys)>);

impl Peer {
    fn answer(&mut self, type_data: &[u8], suite: Ciphersuite) -> Option<Vec<u8>> {
        match gpsk::Message::parse(type_data, Some(suite)).ok()? {
            gpsk::Message::One(one) => {
                let id = ID.as_bytes();
                let server = (one.rand_server, one.id_server);
                let keys = Keys::derive(suite, &PSK, (&[7; 32], id), server)?;
                let two = gpsk::encode_2(&one, id, &[7; 32], suite, &keys);
                self.0 = Some((suite, keys));
                Some(two)
            }
            gpsk::Message::Three(_) => self.0.as_ref().map(|(_, keys)| gpsk::encode_4(keys)),
            gpsk::Message::Fail(code) => Some(gpsk::encode_fail(code)),
            _ => None,
        }
    }
}

/// EAP packets as they are, then a conversation that `data` steers: an octet says what kind of packet
/// comes, the next how long its data is.
pub fn eap(data: &[u8]) {
    packets(data);
    let offers = [Offer::Local(EapType::GPSK), Offer::Aaa];
    let (mut server, mut request) = Server::start(offers);
    let (mut peer, mut entropy, mut rest) = (Peer::default(), Counting(1), data);
    while let [kind, len, behind @ ..] = rest {
        let (octets, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        let Ok(Packet { code: Code::Request, identifier, body: Some(body) }) =
            Packet::parse(&request)
        else {
            panic!("the server sends Requests");
        };
        let turn = match respond(&mut peer, *kind, octets, identifier, &body) {
            Some(packet) => server.respond(&packet, &OnlyGpsk, &mut entropy),
            None => return,
        };
        match settle(&mut server, turn, octets) {
            Some(next) => request = next,
            None => return,
        }
    }
}

fn packets(data: &[u8]) {
    if let Ok(packet) = Packet::parse(data) {
        assert_eq!(packet.encode().as_deref(), Some(data));
        let _ = packet.body.and_then(|body| body.nak());
    }
    let keys = |suite| Keys::derive(suite, &PSK, (&[1; 32], b"p"), (&[2; 32], b"s")).unwrap();
    for suite in Ciphersuite::ALL {
        let keys = keys(suite);
        if let Ok(gpsk::Message::Four(sealed)) = gpsk::Message::parse(data, Some(suite)) {
            let _ = keys.verify(&sealed);
        }
        let _ = keys.opens(&Sealed { covered: &[], mac: &[], protected_data: data });
    }
}

fn respond(
    peer: &mut Peer,
    kind: u8,
    octets: &[u8],
    identifier: u8,
    body: &Body<'_>,
) -> Option<Vec<u8>> {
    let suite = if kind & 0x80 == 0 { Ciphersuite::Aes } else { Ciphersuite::Sha256 };
    let response = |eap_type, data: &[u8]| encode(Code::Response, identifier, eap_type, data);
    match kind & 0x7f {
        0 => Some(octets.to_vec()),
        1 => response(EapType::IDENTITY, octets),
        2 => response(EapType::NAK, octets),
        3 => response(body.eap_type, octets),
        // The right answer, with one octet changed where `octets` says so.
        _ if body.eap_type == EapType::GPSK => {
            let mut data = peer.answer(body.data, suite)?;
            if let [place, flip, ..] = octets {
                let place = usize::from(*place) % data.len();
                data[place] ^= flip;
            }
            response(EapType::GPSK, &data)
        }
        _ => response(body.eap_type, ID.as_bytes()),
    }
}

/// The next Request, if the conversation goes on. The AAA server says what `octets` say.
fn settle(server: &mut Server, turn: Turn, octets: &[u8]) -> Option<Vec<u8>> {
    match turn {
        Turn::Request(request) => Some(request),
        Turn::Relay { eap, .. } => {
            assert!(matches!(Packet::parse(&eap), Ok(Packet { code: Code::Response, .. })));
            let state = RelayState {
                server: ([192, 0, 2, 10], 1812).into(),
                state: Vec::new(),
                user_name: Box::default(),
            };
            let relayed = match octets {
                [1, ..] => Relayed::Reject { eap: Vec::new() },
                [2, ..] => Relayed::Accept {
                    eap: Vec::new(),
                    user_name: None,
                    msk: None,
                    authorisation: Box::default(),
                },
                [3, raw @ ..] => Relayed::Challenge { eap: raw.to_vec(), state },
                [identifier, raw @ ..] => {
                    let eap = encode(Code::Request, *identifier, EapType::TTLS, raw)?;
                    Relayed::Challenge { eap, state }
                }
                [] => return None,
            };
            match server.relayed(relayed) {
                Turn::Request(request) => Some(request),
                Turn::Relay { .. } => panic!("what the AAA server says is never relayed"),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Responses of an AAA server: as they come, and with authenticators that are right.
pub fn radius(data: &[u8]) {
    let secret = Secret::new(Zeroizing::new(PSK.to_vec())).unwrap();
    let request = Request::new(RadiusCode::AccessRequest);
    let (authenticator, _) = request.sign(7, [9; 16], &secret);
    let asked = Asked { code: RadiusCode::AccessRequest, authenticator };
    let _ = Response::judge(data, &asked, &secret);

    let Some((code, attributes)) = data.split_first() else { return };
    let octets = signed(*code, attributes, &authenticator);
    if let Ok(response) = Response::judge(&octets, &asked, &secret) {
        let attributes = response.attributes();
        let _ = attributes.joined(79);
        let _ = mppe::keys(attributes, &authenticator, &secret);
        let _ = Authorisation::read(attributes);
    }
    // What accounting keeps in the store is attributes, too.
    if let Some(kept) = Remembered::decode(attributes) {
        assert_eq!(Remembered::decode(&kept.encode()), Some(kept));
    }
}

/// A response with Message-Authenticator in front and both authenticators right.
fn signed(code: u8, attributes: &[u8], authenticator: &[u8; 16]) -> Vec<u8> {
    let attributes = &attributes[..attributes.len().min(4000)];
    let len = u16::try_from(38 + attributes.len()).unwrap().to_be_bytes();
    let mut octets =
        [&[code, 7], &len[..], authenticator, &[80, 18], &[0; 16], attributes].concat();
    let mut hmac = Hmac::<Md5>::new_from_slice(&PSK).unwrap();
    hmac.update(&octets);
    octets[22..38].copy_from_slice(&hmac.finalize().into_bytes());
    let mut md5 = Md5::new();
    md5.update(&octets);
    md5.update(PSK);
    let response: [u8; 16] = md5.finalize().into();
    octets[4..20].copy_from_slice(&response);
    octets
}
