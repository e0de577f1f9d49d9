//! Our packets read by tshark: every field where it belongs, nothing malformed.
//!
//! Needs tshark; the tests fail without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use core::net::Ipv6Addr;
use std::process::Command;

use hearth_wire::exthdr;
use hearth_wire::ip::{ETHERTYPE_IPV6, EthernetHeader, Ipv6Header};
use hearth_wire::mh::{self, Message};
use zerocopy::IntoBytes;

mod extensions;
mod icmp6;
mod mobility;
mod multicast;

const HOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const COA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x77);
/// An Ethernet frame with an IPv6 packet.
fn ipv6_frame(
    (source, destination): (Ipv6Addr, Ipv6Addr),
    next_header: u8,
    hop_limit: u8,
    payload: &[u8],
) -> Vec<u8> {
    let ipv6 = Ipv6Header::new(source, destination, next_header, hop_limit, payload.len()).unwrap();
    let ethernet = EthernetHeader {
        destination: [2, 0, 0, 0, 0, 1],
        source: [2, 0, 0, 0, 0, 2],
        ethertype: ETHERTYPE_IPV6.into(),
    };
    [ethernet.as_bytes(), ipv6.as_bytes(), payload].concat()
}

/// A message from the mobile node, abroad, to the home agent.
fn from_mn(message: &Message<'_>) -> Vec<u8> {
    let mut out = [0; 1024];
    let len = mh::emit(message, HOA, HA, &mut out).unwrap();
    let payload = [&exthdr::home_address_header(mh::PROTO, HOA), &out[..len]].concat();
    ipv6_frame((COA, HA), exthdr::DESTINATION_OPTIONS, 64, &payload)
}

/// A message from the home agent to the mobile node, abroad.
fn from_ha(message: &Message<'_>) -> Vec<u8> {
    let mut out = [0; 1024];
    let len = mh::emit(message, HA, HOA, &mut out).unwrap();
    let payload = [&exthdr::routing_header(mh::PROTO, HOA), &out[..len]].concat();
    ipv6_frame((HA, COA), exthdr::ROUTING, 64, &payload)
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

/// What tshark shows of these frames in full.
fn tshark(name: &str, frames: &[Vec<u8>]) -> String {
    let file = std::env::temp_dir().join(format!("hearth-wire-{name}-{}.pcap", std::process::id()));
    std::fs::write(&file, pcap(frames)).unwrap();
    let output = Command::new("tshark").arg("-n").arg("-V").arg("-r").arg(&file).output();
    std::fs::remove_file(&file).unwrap();
    let output = output.expect("this test needs tshark: apt-get install tshark");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Checks that tshark shows `expected` lines in this order, others between them, and nothing that it
/// does not understand.
fn check(name: &str, frames: &[Vec<u8>], expected: &[&str]) {
    let text = tshark(name, frames);
    for mark in ["Malformed", "Expert Info", "Unknown", "Unreassembled"] {
        assert!(!text.contains(mark), "{mark} in {text}");
    }
    check_lines(&text, expected);
}

/// Checks the lines that tshark shows of frames of which it does not understand all.
fn check_in_part(name: &str, frames: &[Vec<u8>], expected: &[&str]) {
    let text = tshark(name, frames);
    assert!(!text.contains("Malformed"), "{text}");
    check_lines(&text, expected);
}

fn check_lines(text: &str, expected: &[&str]) {
    let mut lines = text.lines().map(str::trim);
    for expected in expected {
        assert!(lines.any(|line| line == *expected), "{expected:?} is not in its place in {text}");
    }
}
