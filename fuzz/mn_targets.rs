//! What the mobile node's fuzz targets do with their octets; a panic or a failed assertion is a
//! finding.
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

use std::net::{Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use hearth_esp::Transform;
use hearth_mn::association::SecurityAssociation;
use hearth_mn::bootstrap::{Grant, Progress, Proposal, Session};
use hearth_mn::eap::aka_prime::Usim;
use hearth_mn::eap::aka_prime::usim::Keys;
use hearth_mn::eap::{
    AkaCredentials, Answer, Credentials, Inner, Peer, TlsCredentials, TtlsCredentials,
};
use hearth_mn::route_optimisation::{By, IcmpError, Place, RouteOptimisation};
use hearth_mn::signalling;
use hearth_mn::tls::{TrustAnchors, anonymous_client};
use hearth_mn::tunnel::{Downlink, IvSource, Receiver, State, Tunnel};
use hearth_wire::eap::{Code, EapType, Packet, encode};
use hearth_wire::frame::PType;
use hearth_wire::hac::{Side, container, message};
use hearth_wire::{MobileNodeId, Scope, SeqNo, Spi, Suite, exthdr, ip, mh};
use rustls::ClientConfig;
use zeroize::Zeroizing;

const PSK: [u8; 32] = [0x5a; 32];
const CB: &[u8] = b"CB";

static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ca = folder.join("../mn-tools/src/config/test-ca.pem");
    anonymous_client(&TrustAnchors::load(&ca).expect("the CA")).expect("TLS")
});

static USIM: LazyLock<Usim> = LazyLock::new(|| {
    let keys = Keys { k: [1; 16], operator: [2; 16], is_op: true };
    Usim::new(&keys, PathBuf::from("/nonexistent/usim.json"))
});

fn credentials(kind: u8) -> (EapType, Credentials<'static>) {
    let server_name = || "aaa.example.net".try_into().expect("a name");
    match kind % 5 {
        0 => (EapType::GPSK, Credentials::Gpsk(&PSK)),
        1 => {
            let (identity, config) = ("@example.net".to_owned(), Arc::clone(&TLS));
            let server_name = server_name();
            let tls = TlsCredentials { identity, config, server_name, mtu: 100 };
            (EapType::TLS, Credentials::Tls(tls))
        }
        2 | 3 => {
            let ttls = TtlsCredentials {
                identity: "@example.net".to_owned(),
                config: Arc::clone(&TLS),
                server_name: server_name(),
                mtu: 1400,
                inner: if kind % 5 == 2 { Inner::Pap } else { Inner::MsChapV2 },
                user: "mn1@example.net".to_owned(),
                password: Zeroizing::new(b"a pass word".to_vec()),
            };
            (EapType::TTLS, Credentials::Ttls(ttls))
        }
        _ => {
            let aka = AkaCredentials {
                usim: &USIM,
                identity: "7abc@wlan.mnc001.mcc232.3gppnetwork.org".to_owned(),
                permanent: "6232010000000000@wlan.mnc001.mcc232.3gppnetwork.org".to_owned(),
                network: None,
                pseudonyms: true,
            };
            (EapType::AKA_PRIME, Credentials::AkaPrime(aka))
        }
    }
}

/// A conversation that `data` steers: its first octet says by which method, then an octet says what
/// kind of packet comes and the next how long its data is. One who has no key gets no MSK.
pub fn eap(data: &[u8]) {
    let Some((kind, mut rest)) = data.split_first() else { return };
    let (eap_type, credentials) = credentials(*kind);
    let mn_id = MobileNodeId::new("mn1@example.net").expect("an identity");
    let mut peer = Peer::new(&mn_id, &credentials, [7; 32]);
    while let [kind, len, behind @ ..] = rest {
        let (octets, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        let request = |eap_type| encode(Code::Request, *kind, eap_type, octets);
        let packet = match kind % 8 {
            0 => Some(octets.to_vec()),
            1 => request(EapType::IDENTITY),
            2 => request(EapType::legacy(octets.first().copied().unwrap_or(4))),
            3 => request(EapType::expanded(0, 13)),
            4 => Some(Packet::success(*kind).to_vec()),
            _ => request(eap_type),
        };
        match peer.answer(&packet.unwrap_or_default()) {
            Ok(Answer::Response(packet)) => assert_response(&packet),
            Ok(Answer::GiveUp(packet, fault)) => {
                assert_response(&packet);
                assert!(!fault.to_string().is_empty());
                return;
            }
            Ok(Answer::Last(..) | Answer::Succeeded(_)) => panic!("an MSK for a stranger"),
            Err(_) => return,
        }
    }
}

fn assert_response(packet: &[u8]) {
    let parsed = Packet::parse(packet).expect("what we send can be read");
    assert_eq!(parsed.code, Code::Response);
}

/// What a HAC says: as it comes, and signed with the key that it has.
pub fn hac(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let mn_id = MobileNodeId::new("mn1@example.net").expect("an identity");
    let psk = Credentials::Psk(&PSK);
    let (_, eap) = credentials(*kind);
    for (credentials, key) in [(&psk, &PSK[..]), (&eap, b"1")] {
        let proposal = Proposal {
            mn_id: &mn_id,
            credentials,
            suites: &[Suite::Aes128CbcSha],
            scope: Scope::SignallingAndData,
        };
        let begin = || Session::begin(proposal, CB.to_vec(), [3; 32], [7; 32]).expect("it fits").0;
        let _ = begin().receive(data);
        let mut session = begin();
        for (identifier, part) in (1..).zip(data.split(|octet| *octet == 0)) {
            let Ok(parsed) = message::parse(part) else { return };
            let signed = parsed.message.encode_signed(Side::Hac, key, CB);
            let Some(octets) = container::encode(identifier, &signed) else { return };
            match session.receive(&octets) {
                Ok(Progress::Send(_)) => {}
                Ok(Progress::Wait) => panic!("the container is whole"),
                Ok(Progress::Done(_)) | Err(_) => break,
            }
        }
    }
}

/// Answers of name servers, of which anybody between can forge some.
pub fn dns(data: &[u8]) {
    let addresses = hearth_mn::discovery::addresses_of(data);
    assert!(addresses.len() <= 16 && addresses.iter().all(|ip| !ip.is_unspecified()));
    let services = hearth_mn::discovery::services_of(data);
    assert!(services.len() <= 16 && services.iter().all(|service| service.port != 0));
}

static SA: LazyLock<SecurityAssociation> = LazyLock::new(association);

/// One that has seen no packet yet.
fn association() -> SecurityAssociation {
    let suite = Suite::NullSha;
    let transform = || {
        let (ikey, ekey) = (vec![1; suite.ikey_len()], vec![1; suite.ekey_len()]);
        Transform::new(suite, &ikey, &ekey).expect("keys of the suite's length")
    };
    SecurityAssociation::new(Grant {
        spi: Spi::new(7).expect("an SPI"),
        suite,
        scope: Scope::SignallingAndData,
        outbound: transform(),
        inbound: transform(),
        validity_end: 4_000_000_000,
        home_agent: "2001:db8:a::10".parse().expect("an address"),
        home_agent_ip4: None,
        port: 7872,
        home_address: "2001:db8:b:1::7".parse().expect("an address"),
        home_address_ip4: Some([203, 0, 113, 200].into()),
        dns: Vec::new(),
    })
}

/// Octets as a Mobility Header with length and checksum put right.
fn put_right(data: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut header = data.to_vec();
    header.resize(data.len().clamp(8, 2048).next_multiple_of(8), 0);
    header[0] = exthdr::NO_NEXT_HEADER;
    header[1] = u8::try_from(header.len() / 8 - 1).expect("not longer");
    header[4..6].fill(0);
    let mut summed = source.octets().to_vec();
    summed.extend(destination.octets());
    summed.extend(u32::try_from(header.len()).expect("short").to_be_bytes());
    summed.extend([0, 0, 0, mh::PROTO]);
    summed.extend(&header);
    header[4..6].copy_from_slice(&ip::checksum(&summed).to_be_bytes());
    header
}

/// What a home agent that has our keys puts into a frame of PType 8: as it comes, with the first octet
/// as next header, and as a Mobility Header with length and checksum put right, away and at home.
pub fn mobility(data: &[u8]) {
    let Some((next_header, data)) = data.split_first() else { return };
    let _ = signalling::read(&SA, *next_header, data);
    let _ = signalling::read_at_home(&SA, *next_header, data);
    let header = put_right(data, SA.home_agent, SA.home_address);
    let _ = signalling::read_at_home(&SA, mh::PROTO, &header);
    let mut payload = exthdr::routing_header(mh::PROTO, SA.home_address).to_vec();
    payload.extend(&header);
    let _ = signalling::read(&SA, exthdr::ROUTING, &payload);
    let is_ack = header[2] == mh::mh_type::BA;
    assert!(is_ack || signalling::read_at_home(&SA, mh::PROTO, &header).is_none());
}

/// What a correspondent, or anybody who forges its address, says while it is asked: pieces of octets, each
/// behind its length, as a Mobility Header put right, behind a routing header, and as an ICMPv6 error.
pub fn correspondent(data: &[u8]) {
    let address = |text: &str| text.parse().expect("an address");
    let (home, care_of) = (address("2001:db8:b:1::7"), address("2001:db8:6::100"));
    let from = address("2001:db8:c::2");
    let random = IvSource::new().expect("random numbers");
    let all = vec!["::/0".parse().expect("a prefix")];
    let mut node = RouteOptimisation::new(all, random);
    let mut now = Instant::now();
    node.on_place(Place { home: Some(home), care_of: Some(care_of) }, now);
    node.on_packet(from, now);
    let mut rest = data;
    while let [kind, len, behind @ ..] = rest {
        let (octets, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        now += Duration::from_millis(u64::from(kind >> 4) * 700);
        let (to, by) = if kind & 1 == 0 { (home, By::Home) } else { (care_of, By::CareOf) };
        match kind >> 1 & 3 {
            0 => node.on_mobility_header((from, to), by, octets, now),
            1 => {
                let header = put_right(octets, from, to);
                let _ = mh::authorization(&header);
                node.on_mobility_header((from, to), by, &header, now);
            }
            2 => {
                let _ = exthdr::split_routing_header(octets);
            }
            _ => {
                if let Some(error) = IcmpError::read(octets) {
                    node.on_icmp(&error, now);
                }
            }
        }
        node.on_timer(now);
        while node.action().is_some() {}
        // Nobody here has the keys.
        assert!(node.routes().all(|route| !route.direct));
    }
}

/// Two ends of a path on this machine.
static PATH: LazyLock<(UdpSocket, UdpSocket)> = LazyLock::new(|| {
    let bind = || UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (home_agent, node) = (bind(), bind());
    home_agent.connect(node.local_addr().expect("an address")).expect("a peer");
    Receiver::prepare(&node);
    (home_agent, node)
});

/// What a home agent that has our keys puts into frames of data, several at a time: the first octet of
/// each says how long it is, the next what it is made of: left as it comes, sealed with the Next Header
/// that is next, or made a TCP segment to the home address before, with a right checksum or without.
pub fn tunnel(data: &[u8]) {
    let sa = Arc::new(association());
    let tunnel = Arc::new(Tunnel::new(|_| {}));
    tunnel.publish(State {
        associations: vec![Arc::clone(&sa)],
        homes: vec![sa.home_address.into(), [203, 0, 113, 200].into()],
        ..State::default()
    });
    let (home_agent, node) = &*PATH;
    let (mut rest, mut sent) = (data, 0);
    while let [len, kind, behind @ ..] = rest
        && sent < 32
    {
        let (payload, behind) = behind.split_at((usize::from(*len) * 4).min(behind.len()));
        rest = behind;
        sent += 1;
        home_agent.send(&frame(&sa, sent, *kind, payload)).expect("it is sent");
    }
    let mut octets = 0;
    let mut downlink = Downlink::new(Arc::clone(&tunnel), true);
    // Until nothing is left to receive.
    let mut carry = || {
        let receive = |receiver: &mut Receiver| receiver.receive(node);
        downlink.carry(receive, |parts| {
            let packet: Vec<u8> = parts[1..].iter().flat_map(|part| part.to_vec()).collect();
            assert!(matches!(packet[0] >> 4, 4 | 6), "the kernel is given IP");
            octets += packet.len();
            Ok(packet.len())
        })
    };
    while carry().is_ok() {}
    // Trains have one header for several packets.
    let (_, counted) = tunnel.counters.downlink.get();
    assert!(u64::try_from(octets).expect("few") <= counted);
}

fn frame(sa: &SecurityAssociation, number: u32, kind: u8, payload: &[u8]) -> Vec<u8> {
    let (next_header, mut inner) = (if kind & 4 == 0 { 41 } else { 4 }, payload.to_vec());
    match kind % 4 {
        0 => return inner,
        1 if inner.len() >= 60 => {
            inner[0] = 0x60 | inner[0] & 0xf;
            let len = u16::try_from(inner.len() - 40).expect("short");
            inner[4..6].copy_from_slice(&len.to_be_bytes());
            inner[6] = 6;
            inner[24..40].copy_from_slice(&sa.home_address.octets());
        }
        2 if inner.len() >= 40 => {
            inner[0] = 0x45;
            let len = u16::try_from(inner.len()).expect("short");
            inner[2..4].copy_from_slice(&len.to_be_bytes());
            inner[9] = 6;
            inner[16..20].copy_from_slice(&[203, 0, 113, 200]);
            inner[10..12].fill(0);
            let sum = ip::checksum(&inner[..20]);
            inner[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        _ => {}
    }
    if kind & 8 != 0 {
        right_checksum(&mut inner);
    }
    let at = sa.inbound.payload_offset();
    let mut buffer = vec![0; inner.len() + 128];
    buffer[at..at + inner.len()].copy_from_slice(&inner);
    let id = (PType::ProtectedData, sa.spi, SeqNo(number));
    let len = sa.inbound.seal(&mut buffer, inner.len(), id, next_header, &[5; 16]);
    buffer.truncate(len.expect("there is room"));
    buffer
}

/// Only segments whose checksum is right are put together.
fn right_checksum(packet: &mut [u8]) {
    let (head, addresses) =
        if packet.first().is_some_and(|it| it >> 4 == 6) { (40, 8..40) } else { (20, 12..20) };
    if packet.len() < head + 20 {
        return;
    }
    packet[head + 16..head + 18].fill(0);
    let mut summed = packet[addresses].to_vec();
    summed.extend(u32::try_from(packet.len() - head).expect("short").to_be_bytes());
    summed.extend([0, 0, 0, 6]);
    summed.extend(&packet[head..]);
    packet[head + 16..head + 18].copy_from_slice(&ip::checksum(&summed).to_be_bytes());
}

/// A YAML file as somebody wrote it: what is wrong has a line and words, and nothing panics.
pub fn config(data: &[u8]) {
    let folder = std::env::temp_dir().join(format!("hearth-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("mn.yaml");
    std::fs::write(&file, data).expect("a file");
    let read = hearth_mn::config::load(&file);
    std::fs::remove_dir_all(&folder).expect("it is there");
    match read {
        Ok(config) => assert!(!config.mn_id.as_str().is_empty()),
        Err(error) => assert!(error.to_string().contains("mn.yaml"), "{error}"),
    }
}
