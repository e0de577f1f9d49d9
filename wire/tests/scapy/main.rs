//! Packets of ours read by Scapy, and Scapy's read by us.
//!
//! Needs a python3 with Scapy (Debian: python3-scapy); the tests fail without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use core::net::Ipv6Addr;
use std::io::Write;
use std::process::{Command, Stdio};

mod icmp6;
mod igmp;
mod mobility;

const HOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const COA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x77);

/// A python3 that has Scapy: the first in PATH, or Debian's own.
fn python() -> &'static str {
    let has_scapy = |python: &&str| {
        Command::new(python)
            .args(["-c", "import scapy.layers.inet6"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(has_scapy)
        .expect("this test needs a python3 with Scapy: apt-get install python3-scapy")
}

/// The lines that a script in this folder prints.
fn scapy(script: &str, command: &str, input: &str) -> Vec<String> {
    let mut child = Command::new(python())
        .arg(format!("{}/tests/scapy/{script}", env!("CARGO_MANIFEST_DIR")))
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script} {command} failed");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The packets that a script builds, by their names.
fn built(script: &str) -> Vec<(String, Vec<u8>)> {
    let lines = scapy(script, "build", "");
    lines
        .iter()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, octets)| (name.to_owned(), unhex(octets)))
        .collect()
}
