//! A whole conversation with the HAC's EAP server, every method of it: what a mobile node can send, in
//! whatever order. A panic, or one who is let in without having proved who it is, is a finding.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a finding is a panic"
)]

use std::fs;
use std::sync::{Arc, LazyLock};

use hearth_hac::auth::eap::Method;
use hearth_hac::auth::eap::gpsk::{Gpsk, Settings};
use hearth_hac::auth::eap::server::{MAX_ROUNDS, Methods, Offer, Server, Turn};
use hearth_hac::auth::eap::tls::EapTls;
use hearth_hac::auth::eap::tls::names::NameKind;
use hearth_hac::auth::eap::tls::server::{Files, Policy};
use hearth_hac::auth::psk::Psk;
use hearth_hac::keys::{Entropy, EntropyError};
use hearth_hac::radius::{RelayState, Relayed};
use hearth_wire::MobileNodeId;
use hearth_wire::eap::gpsk::{self, Ciphersuite, Keys};
use hearth_wire::eap::tls::{Fragment, Fragments, Reassembly, TLS_EMPTY};
use hearth_wire::eap::{Body, Code, EapType, Packet, encode};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

const ID: &str = "mn1@example.net";
const PSK: [u8; 32] = [0x5a; 32];
const NOW: u64 = 1_800_000_000;
/// Octets of Type-Data that the server sends at most, by the first octet of the input.
const MTU: [usize; 2] = [100, 1400];

/// The server's side of EAP-TLS, for each MTU, and mobile nodes that it knows and that it doesn't.
struct Pki {
    servers: [EapTls; 2],
    /// By TLS 1.2 and 1.3: with a certificate of the server's authority, with one of another, with none.
    clients: [[Arc<ClientConfig>; 3]; 2],
}

static PKI: LazyLock<Pki> = LazyLock::new(Pki::make);

fn authority(name: &str) -> (Issuer<'static, KeyPair>, CertificateDer<'static>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let (der, pem) = (certificate.der().clone(), certificate.pem());
    (Issuer::new(params, key), der, pem)
}

fn signed_by(issuer: &Issuer<'_, KeyPair>, name: SanType) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![name];
    (params.signed_by(&key, issuer).unwrap(), key)
}

impl Pki {
    fn make() -> Self {
        let (own, ca, ca_pem) = authority("own");
        let (foreign, ..) = authority("foreign");
        let (server, server_key) = signed_by(&own, SanType::DnsName("hac".try_into().unwrap()));
        let folder = std::env::temp_dir().join(format!("hearth-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let put = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let files = || Files {
            certificate: put("server.pem", server.pem()),
            key: put("server.key", server_key.serialize_pem()),
            client_ca: put("ca.pem", ca_pem.clone()),
            crls: Vec::new(),
        };
        let names: Arc<[NameKind]> = Arc::new([NameKind::Email]);
        let policy = |mtu| Policy { tls12: true, tls13: true, mtu, names: names.clone() };
        let servers = MTU.map(|mtu| EapTls::load(files(), policy(mtu), NOW).unwrap());
        fs::remove_dir_all(&folder).unwrap();
        let clients = [&TLS12, &TLS13].map(|version| {
            [Some(&own), Some(&foreign), None].map(|issuer| {
                let mut roots = RootCertStore::empty();
                roots.add(ca.clone()).unwrap();
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let roots = Arc::new(roots);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
                let config = ClientConfig::builder_with_provider(provider)
                    .with_protocol_versions(&[version])
                    .unwrap()
                    .dangerous()
                    .with_custom_certificate_verifier(verifier.build().unwrap());
                let Some(issuer) = issuer else { return Arc::new(config.with_no_client_auth()) };
                let mail = SanType::Rfc822Name(ID.try_into().unwrap());
                let (certificate, key) = signed_by(issuer, mail);
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                let chain = vec![certificate.der().clone()];
                Arc::new(config.with_client_auth_cert(chain, key).unwrap())
            })
        });
        Self { servers, clients }
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

struct All<'a>(&'a EapTls);

impl Methods for All<'_> {
    fn make(&self, eap_type: EapType, entropy: &mut dyn Entropy) -> Option<Box<dyn Method>> {
        if eap_type == EapType::TLS {
            return Some(Box::new(self.0.run()?));
        }
        let (mn_id, psk) = (MobileNodeId::new(ID).ok()?, Psk::new(PSK.to_vec()).ok()?);
        Some(Box::new(Gpsk::new(Settings::default(), mn_id, psk, entropy).ok()?))
    }
}

/// A mobile node that answers rightly where it is to, so that what is wrong in one place gets far.
struct Peer {
    gpsk: Option<(Ciphersuite, Keys)>,
    tls: ClientConnection,
    incoming: Reassembly,
    outgoing: Fragments,
    /// Right answers that the server got as they are.
    honest: u32,
}

impl Peer {
    fn new(config: &Arc<ClientConfig>) -> Self {
        let tls = ClientConnection::new(config.clone(), "hac".try_into().unwrap()).unwrap();
        let (incoming, outgoing) = (Reassembly::default(), Fragments::new(Vec::new(), 1400));
        Self { gpsk: None, tls, incoming, outgoing, honest: 0 }
    }

    /// Type-Data of the right answer, where there is one.
    fn answer(&mut self, body: &Body<'_>, suite: Ciphersuite, mtu: usize) -> Option<Vec<u8>> {
        match body.eap_type {
            EapType::IDENTITY => Some(ID.as_bytes().to_vec()),
            EapType::GPSK => self.gpsk(body.data, suite),
            EapType::TLS => self.tls(body.data, mtu),
            _ => Some(b"to the AAA server".to_vec()),
        }
    }

    fn gpsk(&mut self, type_data: &[u8], suite: Ciphersuite) -> Option<Vec<u8>> {
        let known = self.gpsk.as_ref().map(|(suite, _)| *suite);
        match gpsk::Message::parse(type_data, known).ok()? {
            gpsk::Message::One(one) => {
                let id = ID.as_bytes();
                let server = (one.rand_server, one.id_server);
                let keys = Keys::derive(suite, &PSK, (&[7; 32], id), server)?;
                let two = gpsk::encode_2(&one, id, &[7; 32], suite, &keys);
                self.gpsk = Some((suite, keys));
                Some(two)
            }
            gpsk::Message::Three(_) => self.gpsk.as_ref().map(|(_, keys)| gpsk::encode_4(keys)),
            gpsk::Message::Fail(code) => Some(gpsk::encode_fail(code)),
            _ => None,
        }
    }

    fn tls(&mut self, type_data: &[u8], mtu: usize) -> Option<Vec<u8>> {
        let fragment = Fragment::parse(type_data).expect("the server sends fragments");
        if !self.outgoing.is_sent() {
            return self.outgoing.next();
        }
        if !fragment.start {
            let Some(flight) = self.incoming.push(&fragment).ok()? else {
                return Some(TLS_EMPTY.to_vec());
            };
            let mut records = &flight[..];
            while !records.is_empty() && matches!(self.tls.read_tls(&mut records), Ok(1..)) {
                if self.tls.process_new_packets().is_err() {
                    break;
                }
            }
        }
        let mut records = Vec::new();
        while self.tls.wants_write() && self.tls.write_tls(&mut records).is_ok() {}
        self.outgoing = Fragments::new(records, mtu);
        Some(self.outgoing.next().unwrap_or_else(|| TLS_EMPTY.to_vec()))
    }

    /// What comes next: an octet has said which kind of packet, `octets` say the rest.
    fn packet(&mut self, kind: u8, octets: &[u8], request: &[u8]) -> Option<Vec<u8>> {
        let Ok(Packet { code: Code::Request, identifier, body: Some(body) }) =
            Packet::parse(request)
        else {
            panic!("the server sends Requests");
        };
        let suite = if kind & 0x80 == 0 { Ciphersuite::Aes } else { Ciphersuite::Sha256 };
        let mtu = if kind & 0x40 == 0 { 1400 } else { 60 };
        let response = |eap_type, data: &[u8]| encode(Code::Response, identifier, eap_type, data);
        match kind & 7 {
            0 => Some(octets.to_vec()),
            1 => response(EapType::IDENTITY, octets),
            2 => response(EapType::NAK, octets),
            3 => response(body.eap_type, octets),
            4 | 5 => {
                self.honest += 1;
                let data = self.answer(&body, suite, mtu)?;
                response(body.eap_type, &data)
            }
            6 => {
                let mut data = self.answer(&body, suite, mtu)?;
                let [high, low, flip, ..] = octets else { return response(body.eap_type, &data) };
                let place = usize::from(u16::from_be_bytes([*high, *low]));
                let place = place % data.len().max(1);
                if let Some(octet) = data.get_mut(place) {
                    *octet ^= flip;
                }
                response(body.eap_type, &data)
            }
            _ => {
                let data = self.answer(&body, suite, mtu)?;
                let cut = octets.first().map_or(0, |cut| usize::from(*cut) % (data.len() + 1));
                response(body.eap_type, &[&data[..cut], octets].concat())
            }
        }
    }
}

fn offers(octet: u8) -> Vec<Offer> {
    let (gpsk, tls) = (Offer::Local(EapType::GPSK), Offer::Local(EapType::TLS));
    match octet % 4 {
        0 => vec![gpsk, tls, Offer::Aaa],
        1 => vec![tls, gpsk],
        2 => vec![tls, Offer::Aaa],
        _ => vec![Offer::Aaa, gpsk, tls],
    }
}

/// A conversation that `data` steers: its first octets say who talks and what is offered, then an octet
/// says what kind of packet comes, the next how long its data is.
pub fn eap_server(data: &[u8]) {
    let [who, offered, rest @ ..] = data else { return };
    let mut rest = rest;
    let (mtu, version, client) = (who & 1, who >> 1 & 1, usize::from(who >> 2) % 3);
    let methods = All(&PKI.servers[usize::from(mtu)]);
    let mut peer = Peer::new(&PKI.clients[usize::from(version)][client]);
    let (mut server, mut request) = Server::start(offers(*offered));
    let mut entropy = Counting(1);
    let mut rounds = 0_u32;
    while let [kind, len, behind @ ..] = rest {
        let (octets, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        let Some(packet) = peer.packet(*kind, octets, &request) else { return };
        rounds += 1;
        let turn = server.respond(&packet, &methods, &mut entropy);
        let turn = match turn {
            Turn::Relay { eap, .. } => relayed(&mut server, &eap, octets),
            turn => turn,
        };
        match turn {
            Turn::Request(next) => {
                assert!(rounds <= MAX_ROUNDS.into(), "no conversation is endless");
                let longest = MTU[usize::from(mtu)] + 5;
                let is_tls = matches!(Packet::parse(&next), Ok(Packet { body: Some(body), .. })
                    if body.eap_type == EapType::TLS);
                assert!(!is_tls || next.len() <= longest, "{} octets", next.len());
                request = next;
            }
            Turn::Success(success) => {
                let mn_id = MobileNodeId::new(ID).unwrap();
                let proved = success.proof.identity.proves(&mn_id);
                match success.eap_type {
                    Some(EapType::TLS) if success.authorisation.is_none() => {
                        assert!(client == 0 && proved && success.proof.msk.is_some());
                        // By TLS 1.2 it need not have heard the server's Finished.
                        let is_through = !peer.tls.is_handshaking() || version == 0;
                        assert!(is_through, "it has sent its own");
                    }
                    Some(EapType::GPSK) if success.authorisation.is_none() => {
                        assert!(peer.gpsk.is_some() && proved && success.proof.msk.is_some());
                    }
                    _ => assert!(success.authorisation.is_some(), "the AAA server's word"),
                }
                return over(&mut server, &packet, &methods);
            }
            _ => return over(&mut server, &packet, &methods),
        }
    }
}

/// What has ended, has ended.
fn over(server: &mut Server, packet: &[u8], methods: &dyn Methods) {
    let turn = server.respond(packet, methods, &mut Counting(3));
    assert!(matches!(turn, Turn::Malformed | Turn::Failure(_)), "{turn:?}");
}

/// The AAA server says what `octets` say.
fn relayed(server: &mut Server, eap: &[u8], octets: &[u8]) -> Turn {
    assert!(matches!(Packet::parse(eap), Ok(Packet { code: Code::Response, .. })));
    let server_address = ([192, 0, 2, 10], 1812).into();
    let state = RelayState { server: server_address, state: Vec::new(), user_name: Box::default() };
    server.relayed(match octets {
        [1, ..] | [] => Relayed::Reject { eap: Vec::new() },
        [2, ..] => Relayed::Accept {
            eap: Vec::new(),
            user_name: None,
            msk: None,
            authorisation: Box::default(),
        },
        [3, raw @ ..] => Relayed::Challenge { eap: raw.to_vec(), state },
        [identifier, raw @ ..] => {
            let eap = encode(Code::Request, *identifier, EapType::TTLS, raw).unwrap_or_default();
            Relayed::Challenge { eap, state }
        }
    })
}
