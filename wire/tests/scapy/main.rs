//! Packets of ours read by Scapy, and Scapy's read by us.
//!
//! Needs a python3 with Scapy (Debian: python3-scapy); the tests fail without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use core::net::Ipv6Addr;

use hearth_scapy::unhex;

mod icmp6;
mod igmp;
mod mobility;

const HOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const COA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x77);

/// The lines that a script in this folder prints.
fn scapy(script: &str, command: &str, input: &str) -> Vec<String> {
    let script = format!("{}/tests/scapy/{script}", env!("CARGO_MANIFEST_DIR"));
    let said = hearth_scapy::run(&[script.as_str(), command], input.as_bytes()).unwrap();
    said.lines().map(str::to_owned).collect()
}

/// The packets that a script builds, by their names.
fn built(script: &str) -> Vec<(String, Vec<u8>)> {
    let lines = scapy(script, "build", "");
    lines
        .iter()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, octets)| (name.to_owned(), unhex(octets).unwrap()))
        .collect()
}
