//! Frames through uplink and downlink, with a home agent made of the same keys turned round.

use std::io::IoSlice;
use std::net::{Ipv6Addr, UdpSocket};
use std::sync::Mutex;

use hearth_wire::frame::{FrameHeader, PType};
use hearth_wire::{Scope, SeqNo, Suite};
use zerocopy::IntoBytes;

use super::datagrams::{Received, Receiver};
use super::downlink::Downlink;
use super::uplink::Uplink;
use super::*;
use crate::association::tests::grant;

const HOME6: &str = "2001:db8:b:1::7";

/// An IPv6 packet with `payload` and this next header.
fn ipv6(source: &str, destination: &str, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, u8::try_from(payload.len()).unwrap(), next_header, 64];
    packet.extend(source.parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(destination.parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(payload);
    packet
}

struct Bench {
    tunnel: Arc<Tunnel>,
    sa: Arc<SecurityAssociation>,
    home_agent: UdpSocket,
    events: Arc<Mutex<Vec<Event>>>,
    seq: u32,
}

impl Bench {
    fn new(suite: Suite, scope: Scope) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let tunnel = Arc::new(Tunnel::new(move |event| told.lock().unwrap().push(event)));
        let home_agent = UdpSocket::bind("[::1]:0").unwrap();
        let socket = Arc::new(UdpSocket::bind("[::1]:0").unwrap());
        socket.connect(home_agent.local_addr().unwrap()).unwrap();
        let sa = Arc::new(SecurityAssociation::new(grant(suite, scope)));
        tunnel.publish(State {
            associations: vec![Arc::clone(&sa)],
            ways: vec![Carry { bid: 0, socket, sa: Arc::clone(&sa) }],
            flows: Vec::new(),
            networks: Vec::new(),
            correspondents: Correspondents::default(),
            homes: vec![HOME6.parse().unwrap(), "203.0.113.200".parse().unwrap()],
        });
        Self { tunnel, sa, home_agent, events, seq: 0 }
    }

    /// What the home agent gets for this packet.
    fn uplink(&self, packet: &[u8]) -> Vec<u8> {
        self.try_uplink(packet);
        let mut frame = vec![0; 2048];
        let len = self.home_agent.recv(&mut frame).unwrap();
        frame.truncate(len);
        frame
    }

    fn try_uplink(&self, packet: &[u8]) {
        let mut uplink = Uplink::new(Arc::clone(&self.tunnel), IvSource::new().unwrap(), false);
        let read = |room: &mut [u8]| {
            room[..packet.len()].copy_from_slice(packet);
            Ok(packet.len())
        };
        uplink.carry_one(read).unwrap();
    }

    /// What the TUN gets for this frame.
    fn downlink(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut written = None;
        let mut downlink = Downlink::new(Arc::clone(&self.tunnel), true);
        let receive = |receiver: &mut Receiver| {
            receiver.arena[..frame.len()].copy_from_slice(frame);
            let whole = Received { start: 0, len: frame.len(), segment: frame.len(), ecn: 0 };
            receiver.received = vec![whole];
            Ok(())
        };
        let write = |parts: &[IoSlice<'_>]| {
            let [_, packet] = parts else { panic!("no train is made of one packet") };
            written = Some(packet.to_vec());
            Ok(packet.len())
        };
        downlink.carry(receive, write).unwrap();
        written
    }

    /// A frame as the home agent seals it.
    fn sealed(&mut self, ptype: PType, payload: &[u8], next_header: u8) -> Vec<u8> {
        let mut frame = vec![0; payload.len() + 128];
        let at = self.sa.inbound.payload_offset();
        frame[at..at + payload.len()].copy_from_slice(payload);
        let id = (ptype, self.sa.spi, SeqNo(self.seq));
        self.seq += 1;
        let len = self.sa.inbound.seal(&mut frame, payload.len(), id, next_header, &[5; 16]);
        frame.truncate(len.unwrap());
        frame
    }

    fn dropped(&self, reason: DropReason) -> bool {
        let all: Vec<_> =
            DropReason::ALL.into_iter().filter(|r| self.tunnel.counters.dropped(*r) > 0).collect();
        all == [reason] && self.tunnel.counters.dropped(reason) == 1
    }
}

#[test]
fn every_suite_carries_both_ways_under_scope_1() {
    for suite in Suite::known() {
        let mut bench = Bench::new(suite, Scope::SignallingAndData);
        let out = ipv6(HOME6, "2001:db8:c::2", 17, b"hello");
        let mut frame = bench.uplink(&out);
        assert_eq!(frame[..4], [0x10, 0, 0, 7], "PType 1 and SPI 7");
        let (payload, next_header) = bench.sa.outbound.open(&mut frame).unwrap();
        assert_eq!((&frame[payload], next_header), (out.as_slice(), 41));
        let back = ipv6("2001:db8:c::2", HOME6, 17, b"hello back");
        let frame = bench.sealed(PType::ProtectedData, &back, 41);
        assert_eq!(bench.downlink(&frame), Some(back));
        assert_eq!(bench.tunnel.counters.uplink.get(), (1, 45));
        assert_eq!(bench.tunnel.counters.downlink.get(), (1, 50));
    }
}

/// under scope 0 data goes plain, but HoTI protected where the suite encrypts; PType 1 is
/// accepted all the same.
#[test]
fn scope_0_sends_plain_but_for_hoti() {
    let mut bench = Bench::new(Suite::Aes128CbcSha, Scope::Signalling);
    let out = ipv6(HOME6, "2001:db8:c::2", 17, b"hello");
    let frame = bench.uplink(&out);
    assert_eq!(frame, [&[0; 8][..], &out].concat());
    let hoti = ipv6(HOME6, "2001:db8:c::2", 135, &[59, 1, 1, 0, 0, 0, 0, 0]);
    assert_eq!(bench.uplink(&hoti)[0] >> 4, 1);
    let back = ipv6("2001:db8:c::2", HOME6, 17, b"x");
    assert_eq!(bench.downlink(&[&[0; 8][..], &back].concat()), Some(back.clone()));
    let frame = bench.sealed(PType::ProtectedData, &back, 41);
    assert_eq!(bench.downlink(&frame), Some(back));
    let bench = Bench::new(Suite::NullSha, Scope::Signalling);
    assert_eq!(bench.uplink(&hoti)[0] >> 4, 0, "NULL does not hide it");
}

#[test]
fn plain_data_is_refused_under_scope_1_and_with_a_number() {
    let back = ipv6("2001:db8:c::2", HOME6, 17, b"x");
    let bench = Bench::new(Suite::Aes128CbcSha, Scope::SignallingAndData);
    assert_eq!(bench.downlink(&[&[0; 8][..], &back].concat()), None);
    assert!(bench.dropped(DropReason::PlainDataForbidden));
    let bench = Bench::new(Suite::Aes128CbcSha, Scope::Signalling);
    assert_eq!(bench.downlink(&[&[0, 0, 0, 0, 0, 0, 0, 1][..], &back].concat()), None);
    assert!(bench.dropped(DropReason::PlainSequenceNotZero));
    let bench = Bench::new(Suite::Aes128CbcSha, Scope::Signalling);
    assert_eq!(bench.downlink(&[&[0, 0, 0, 7, 0, 0, 0, 0][..], &back].concat()), None);
    assert!(bench.dropped(DropReason::PlainSpiNotZero));
}

#[test]
fn replays_are_dropped_and_a_bad_icv_leaves_the_window_alone() {
    let mut bench = Bench::new(Suite::Aes128CbcSha256, Scope::SignallingAndData);
    let back = ipv6("2001:db8:c::2", HOME6, 17, b"x");
    let frame = bench.sealed(PType::ProtectedData, &back, 41);
    let mut forged = frame.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(bench.downlink(&forged), None);
    assert!(bench.dropped(DropReason::IcvMismatch));
    assert!(bench.downlink(&frame).is_some(), "the number is still free");
    assert_eq!(bench.downlink(&frame), None);
    assert_eq!(bench.tunnel.counters.dropped(DropReason::Replayed), 1);
    bench.seq += 2000;
    let newer = bench.sealed(PType::ProtectedData, &back, 41);
    assert!(bench.downlink(&newer).is_some());
    assert_eq!(bench.downlink(&frame), None);
    assert_eq!(bench.tunnel.counters.dropped(DropReason::ReplayTooOld), 1);
}

#[test]
fn what_is_not_for_the_tunnel_is_dropped_by_name() {
    let suite = Suite::Aes128CbcSha;
    let good = ipv6("2001:db8:c::2", HOME6, 17, b"x");
    let to_other = ipv6("2001:db8:c::2", "2001:db8:b:1::8", 17, b"x");
    let short = &good[..good.len() - 1];
    let cases: [(&[u8], u8, DropReason); 5] = [
        (&to_other, 41, DropReason::DestinationNotHome),
        (&good, 4, DropReason::InnerVersion),
        (&good, 59, DropReason::DataNextHeader),
        (short, 41, DropReason::InnerLength),
        (&[0x45; 8], 4, DropReason::InnerLength),
    ];
    for (payload, next_header, reason) in cases {
        let mut bench = Bench::new(suite, Scope::SignallingAndData);
        let frame = bench.sealed(PType::ProtectedData, payload, next_header);
        assert_eq!(bench.downlink(&frame), None);
        assert!(bench.dropped(reason), "{reason:?}");
    }
    let raw: [(&[u8], DropReason); 4] = [
        (&[0x10, 0, 0], DropReason::FrameShort),
        (&[0x10, 0, 0, 7, 0, 0, 0, 0, 1, 2, 3], DropReason::FrameShort),
        (&[0x20, 0, 0, 7, 0, 0, 0, 0], DropReason::PtypeUnregistered),
        (&[0x10, 0, 0, 8, 0, 0, 0, 0], DropReason::SpiUnknown),
    ];
    for (frame, reason) in raw {
        let bench = Bench::new(suite, Scope::SignallingAndData);
        assert_eq!(bench.downlink(frame), None);
        assert!(bench.dropped(reason), "{reason:?}");
    }
}

/// padding behind the inner packet's own length is trimmed.
#[test]
fn traffic_flow_padding_is_trimmed() {
    let mut bench = Bench::new(Suite::Aes128CbcSha, Scope::SignallingAndData);
    let back = ipv6("2001:db8:c::2", HOME6, 17, b"x");
    let padded = [&back[..], &[0; 100]].concat();
    let frame = bench.sealed(PType::ProtectedData, &padded, 41);
    assert_eq!(bench.downlink(&frame), Some(back));
}

#[test]
fn uplink_takes_packets_from_home_addresses_only() {
    let bench = Bench::new(Suite::Aes128CbcSha, Scope::SignallingAndData);
    bench.try_uplink(&ipv6("fe80::1", "ff02::16", 58, b"mld"));
    assert!(bench.dropped(DropReason::SourceNotHome));
    let bench = Bench::new(Suite::Aes128CbcSha, Scope::SignallingAndData);
    bench.try_uplink(b"not a packet");
    assert!(bench.dropped(DropReason::NotIp));
    let bench = Bench::new(Suite::Aes128CbcSha, Scope::SignallingAndData);
    let mut state = State::clone(&bench.tunnel.state.read().unwrap());
    state.ways.clear();
    bench.tunnel.publish(state);
    bench.try_uplink(&ipv6(HOME6, "2001:db8:c::2", 17, b"x"));
    assert!(bench.dropped(DropReason::NoBinding));
}

/// RFC 3963: what comes from and goes to the networks behind a mobile router.
#[test]
fn a_mobile_router_carries_for_its_networks() {
    let mut bench = Bench::new(Suite::Aes128CbcSha, Scope::SignallingAndData);
    let behind = "2001:db8:a00::7";
    bench.try_uplink(&ipv6(behind, "2001:db8:c::2", 17, b"x"));
    assert!(bench.dropped(DropReason::SourceNotHome));
    let mut state = State::clone(&bench.tunnel.state.read().unwrap());
    state.networks = vec!["2001:db8:a00::/56".parse().unwrap()];
    bench.tunnel.publish(state);
    assert!(!bench.uplink(&ipv6(behind, "2001:db8:c::2", 17, b"x")).is_empty());
    let packet = ipv6("2001:db8:c::2", behind, 17, b"y");
    let frame = bench.sealed(PType::ProtectedData, &packet, 41);
    assert_eq!(bench.downlink(&frame), Some(packet));
    let astray = ipv6("2001:db8:c::2", "2001:db8:a01::7", 17, b"y");
    let frame = bench.sealed(PType::ProtectedData, &astray, 41);
    assert_eq!(bench.downlink(&frame), None);
}

#[test]
fn mobility_headers_go_to_the_control_thread() {
    let mut bench = Bench::new(Suite::Aes128CbcSha, Scope::SignallingAndData);
    let frame = bench.sealed(PType::MobilityHeader, b"a mobility header", 43);
    assert_eq!(bench.downlink(&frame), None);
    let events = bench.events.lock().unwrap();
    let [Event::Signalling { next_header: 43, payload, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(payload, b"a mobility header");
}

#[test]
fn ivs_differ() {
    let mut ivs = IvSource::new().unwrap();
    assert_ne!(ivs.draw(), ivs.draw());
}

#[test]
fn header_of_plain_data_is_all_zero() {
    assert_eq!(FrameHeader::plain().as_bytes(), [0; 8]);
}
