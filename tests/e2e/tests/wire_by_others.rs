//! A Python program that knows only the RFC opens what is on the wire, for every suite.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access, captured]-- hearth-ha --[home]-- hearth-cn
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use hearth_e2e::{TestLab, directory, payload};
use hearth_lab::{
    capture::Capture,
    plan::{CN4, CN6, Visited},
};
use hearth_wire::{directory::DirectionKeys, suite::Suite};
use serde_json::{Value, json};

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn keys(keys: &DirectionKeys) -> Value {
    json!({ "ikey": hex(keys.integrity()), "ekey": hex(keys.encryption()) })
}

/// One line per packet, as `peer/decrypt.py` prints them.
fn opened(work: &Value) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peer/decrypt.py");
    let mut python = Command::new("/usr/bin/python3");
    python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = python.spawn().unwrap();
    child.stdin.take().unwrap().write_all(work.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn python_opens_every_suite() {
    let lab = TestLab::up("wire-by-others");
    for suite in Suite::known() {
        let who = lab.subscriber(suite, 1);
        let path = lab.options.files.dir.join("access.pcapng");
        let capture = Capture::start(&lab.network.net6, "access", &path).unwrap();
        let mut node = lab.register(&who, Visited::Net6);
        let spi = node.status().unwrap().spi.unwrap();
        let record = directory::record(&lab.options.files.directory_socket(), spi);
        lab.ping_both(&who);
        node.stop().unwrap();
        let frames = payload::of(&capture.finish().unwrap());
        let frames: Vec<Value> = frames
            .iter()
            .map(|frame| json!({ "up": frame.to_home_agent, "hex": hex(&frame.payload) }))
            .collect();
        let lines = opened(&json!({
            "suite": suite.name(), "frames": frames,
            "up": keys(&record.mn_to_ha), "down": keys(&record.ha_to_mn),
        }));
        let (home6, home4) = (who.home6, who.home4);
        for expected in [
            // R-29: Home Address option up, type 2 routing header down.
            format!("up 8 0 {home6} IPv6ExtHdrDestOpt / MIP6MH_BU"),
            format!("down 8 0 {home6} IPv6ExtHdrRouting / MIP6MH_BA"),
            format!("{home6} > {CN6} IPv6 / ICMPv6EchoRequest"),
            format!("{CN6} > {home6} IPv6 / ICMPv6EchoReply"),
            format!("{home4} > {CN4} IP / ICMP"),
            format!("{CN4} > {home4} IP / ICMP"),
        ] {
            assert!(lines.contains(&expected), "{}: no {expected:?} in\n{lines}", suite.name());
        }
    }
}
