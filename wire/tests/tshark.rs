//! Our Mobility Headers read by tshark: every field where it belongs, nothing malformed
//! (RFC 6275 s.6.1 to 6.4, RFC 5555 s.3). tshark does not check their checksum; Scapy does.
//!
//! Needs tshark; the test fails without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use core::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use hearth_wire::exthdr;
use hearth_wire::ip::{ETHERTYPE_IPV6, EthernetHeader, Ipv6Header};
use hearth_wire::mh::{
    self, BaOptions, BindingAck, BindingError, BindingUpdate, BuFlags, BuOptions, Ipv4Ack,
    Ipv4AckStatus, Ipv4HomeAddress, Message, NatDetection, Status,
};
use zerocopy::IntoBytes;

const HOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const COA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x77);
const V4_HOA: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 16);

fn frame(
    (source, destination): (Ipv6Addr, Ipv6Addr),
    first: u8,
    headers: &[u8],
    message: &Message<'_>,
    ends: (Ipv6Addr, Ipv6Addr),
) -> Vec<u8> {
    let mut out = [0; 512];
    let len = mh::emit(message, ends.0, ends.1, &mut out).unwrap();
    let payload = [headers, &out[..len]].concat();
    let ipv6 = Ipv6Header::new(source, destination, first, 64, payload.len()).unwrap();
    let ethernet = EthernetHeader {
        destination: [2, 0, 0, 0, 0, 1],
        source: [2, 0, 0, 0, 0, 2],
        ethertype: ETHERTYPE_IPV6.into(),
    };
    [ethernet.as_bytes(), ipv6.as_bytes(), &payload].concat()
}

/// A capture file in the format of libpcap, link type Ethernet.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0002_0004, 0, 0, 65535, 1] {
        file.extend_from_slice(&word.to_be_bytes());
    }
    for frame in frames {
        let len = u32::try_from(frame.len()).unwrap();
        for word in [0, 0, len, len] {
            file.extend_from_slice(&word.to_be_bytes());
        }
        file.extend_from_slice(frame);
    }
    file
}

fn update() -> Message<'static> {
    Message::BindingUpdate(BindingUpdate {
        seq: 4660,
        flags: BuFlags {
            acknowledge: true,
            home_registration: true,
            force_udp: true,
            ..BuFlags::default()
        },
        lifetime: 900,
        options: BuOptions {
            alternate_coa: Some(COA),
            nonce_indices: false,
            mn_id: Some((1, b"mn1@example.net")),
            ipv4_hoa: Some(Ipv4HomeAddress {
                prefix_len: 32,
                prefix_request: false,
                address: V4_HOA,
            }),
            ipv4_coa: Some(Ipv4Addr::new(203, 0, 113, 9)),
            ..BuOptions::default()
        },
    })
}

fn ack() -> Message<'static> {
    Message::BindingAck(BindingAck {
        status: Status::ACCEPTED,
        key_management: false,
        mobile_router: false,
        seq: 4660,
        lifetime: 900,
        options: BaOptions {
            refresh_advice: Some(800),
            mn_id: None,
            ipv4_ack: Some(Ipv4Ack {
                status: Ipv4AckStatus::SUCCESS,
                prefix_len: 32,
                address: V4_HOA,
            }),
            nat_detection: Some(NatDetection { force_udp: false, refresh_time: 110 }),
            ..BaOptions::default()
        },
    })
}

/// What tshark shows of these frames in full.
fn tshark(frames: &[Vec<u8>]) -> String {
    let file = std::env::temp_dir().join(format!("hearth-wire-{}.pcap", std::process::id()));
    std::fs::write(&file, pcap(frames)).unwrap();
    let output = Command::new("tshark").arg("-n").arg("-V").arg("-r").arg(&file).output();
    std::fs::remove_file(&file).unwrap();
    let output = output.expect("this test needs tshark: apt-get install tshark");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn tshark_reads_what_we_emit() {
    let hao = exthdr::home_address_header(mh::PROTO, HOA);
    let routing = exthdr::routing_header(mh::PROTO, HOA);
    let error = Message::BindingError(BindingError { status: 2, home_address: HOA });
    let from_ha = |message| frame((HA, COA), exthdr::ROUTING, &routing, message, (HA, HOA));
    let text = tshark(&[
        frame((COA, HA), exthdr::DESTINATION_OPTIONS, &hao, &update(), (HOA, HA)),
        from_ha(&ack()),
        from_ha(&error),
        from_ha(&Message::BindingRefreshRequest),
    ]);
    for mark in ["Malformed", "Expert Info", "Unknown", "Unreassembled"] {
        assert!(!text.contains(mark), "{mark} in {text}");
    }
    let mut lines = text.lines().map(str::trim);
    for expected in EXPECTED {
        assert!(lines.any(|line| line == expected), "{expected:?} is not in its place in {text}");
    }
}

/// Lines that stand in this order, others between them.
const EXPECTED: [&str; 41] = [
    "Next Header: Mobile IPv6 (135)",
    "MIPv6 Home Address: 2001:db8:1::10",
    "Payload protocol: No Next Header for IPv6 (59)",
    "Header length: 8 (72 bytes)",
    "Mobility Header Type: Binding Update (5)",
    "Sequence number: 4660",
    "1... .... .... .... = Acknowledge (A) flag: Binding Acknowledgement requested",
    ".1.. .... .... .... = Home Registration (H) flag: Home Registration",
    "...0 .... .... .... = Key Management Compatibility (K) flag: No Key Management Mobility \
     Compatibility",
    ".... ...1 .... .... = Forcing UDP encapsulation (F) flag: Forcing UDP encapsulation used",
    "Lifetime: 900 (3600 seconds)",
    "MIPv6 Option - Alternate Care-of Address",
    "Alternate care-of address: 2001:db8:2::77",
    "MIPv6 Option - IPv4 Home Address",
    "1000 00.. = Prefix-len: 32",
    "IPv4 Home Address: 198.51.100.16",
    "MIPv6 Option - IPv4 Care-of Address",
    "IPv4 Care-of address: 203.0.113.9",
    "Subtype: Network Access Identifier (NAI) (1)",
    "Identifier: mn1@example.net",
    "Type: Type 2 Routing (2)",
    "Segments Left: 1",
    "Address[1]: 2001:db8:1::10",
    "Mobility Header Type: Binding Acknowledgement (6)",
    "Status: Binding Update accepted (0)",
    "Sequence number: 4660",
    "Lifetime: 900 (3600 seconds)",
    "MIPv6 Option - Binding Refresh Advice",
    "Refresh interval: 800 (3200 seconds)",
    "MIPv6 Option - IPv4 Address Acknowledgement",
    "Status: Success (0)",
    "1000 00.. = Prefix-len: 32",
    "IPv4 Home Address: 198.51.100.16",
    "MIPv6 Option - NAT Detection",
    "0... .... .... .... = (F) flag: Do not use UDP encapsulation",
    "Refresh time: 110s",
    "Mobility Header Type: Binding Error (7)",
    "Status: Unrecognized MH type value (2)",
    "Home Address: 2001:db8:1::10",
    "Mobility Header Type: Binding Refresh Request (0)",
    "Binding Refresh Request: 0000",
];
