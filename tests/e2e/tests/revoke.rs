//! An operator ends a binding: the mobile node is told, and by what, on the wire.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access, captured]-- hearth-ha: hearthd <- hearth revoke
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use hearth_e2e::{PATIENCE, TestLab, directory, payload};
use hearth_lab::{capture::Capture, plan::Visited, wait};
use hearth_wire::{directory::DirectionKeys, suite::Suite};
use serde_json::{Value, json};

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn keys(keys: &DirectionKeys) -> Value {
    json!({ "ikey": hex(keys.integrity()), "ekey": hex(keys.encryption()) })
}

/// What a Python program that knows only the RFC finds in the envelopes: for each the next header
/// and the octets inside, as `peer/decrypt.py` prints them with `--inside`.
fn inside(work: &Value) -> Vec<(bool, u8, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peer/decrypt.py");
    let mut python = Command::new("/usr/bin/python3");
    python.arg(script).arg("--inside");
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = python.spawn().unwrap();
    child.stdin.take().unwrap().write_all(work.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let way = words.next()? == "up";
        let next_header = words.next()?.parse().ok()?;
        Some((way, next_header, words.next()?.to_owned()))
    };
    text.lines().map(|line| parse(line).unwrap()).collect()
}

/// tshark's words for a PType 8 packet's content, put behind an IPv6 header between `from` and `to`.
fn named(folder: &Path, from: &str, to: &str, next_header: u8, octets: &str) -> String {
    let len = octets.len() / 2;
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(len).unwrap().to_be_bytes());
    packet.extend([next_header, 64]);
    for address in [from, to] {
        packet.extend(address.parse::<std::net::Ipv6Addr>().unwrap().octets());
    }
    packet.extend((0..len).map(|at| u8::from_str_radix(&octets[2 * at..2 * at + 2], 16).unwrap()));
    let (text, pcap) = (folder.join("inside.txt"), folder.join("inside.pcap"));
    let dump: Vec<String> = packet.iter().map(|octet| format!("{octet:02x}")).collect();
    std::fs::write(&text, format!("0000 {}\n", dump.join(" "))).unwrap();
    // Link type 101: raw IP.
    let made = Command::new("text2pcap").args(["-q", "-l", "101"]).arg(&text).arg(&pcap).output();
    assert!(made.unwrap().status.success());
    let tshark = Command::new("tshark").arg("-r").arg(&pcap).arg("-V").output().unwrap();
    String::from_utf8(tshark.stdout).unwrap()
}

fn hearth(lab: &TestLab, arguments: &[&str]) -> Output {
    let mut command: Command = lab.options.programs.command("hearth").unwrap();
    command.arg("--socket").arg(lab.options.files.api_socket()).args(arguments);
    command.output().unwrap()
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

#[test]
fn a_revoked_binding_goes_and_the_mobile_node_is_told() {
    let mut lab = TestLab::up("revoke");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let path = lab.options.files.dir.join("access.pcapng");
    let capture = Capture::start(&lab.network.net6, "access", &path).unwrap();
    let mut node = lab.register(&who, Visited::Net6);
    let spi = node.status().unwrap().spi.unwrap();
    let record = directory::record(&lab.options.files.directory_socket(), spi);
    let home = who.home6.to_string();

    let output = hearth(&lab, &["revoke", "--home-address", "2001:db8::1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no binding of home address 2001:db8::1"));

    let output = hearth(&lab, &["revoke", "--home-address", &home]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let expected = format!("1 binding of home address {home} is being revoked\n");
    assert_eq!(text(&output.stdout), expected);
    wait::until("the binding is gone", PATIENCE, || {
        Ok(lab.bindings()?.iter().all(|binding| binding.home_address != who.home6).then_some(()))
    })
    .unwrap();
    // Acknowledged, not timed out (RFC 5846 s.11).
    let hearthd = lab.hearthd.as_mut().unwrap();
    hearthd
        .until("what came of it", PATIENCE, |program| {
            let log = program.log();
            let line = log.lines().find(|line| line.contains("revoked") && line.contains("answer"));
            Ok(line.map(|line| assert!(line.contains("Acknowledged"), "{line}")))
        })
        .unwrap();
    node.stop().unwrap();

    let frames = payload::of(&capture.finish().unwrap());
    let under_it = |frame: &&payload::Datagram| {
        frame
            .payload
            .first_chunk()
            .is_some_and(|word| u32::from_be_bytes(*word) & 0x0fff_ffff == spi)
    };
    let frames: Vec<Value> = frames
        .iter()
        .filter(under_it)
        .map(|frame| json!({ "up": frame.to_home_agent, "hex": hex(&frame.payload) }))
        .collect();
    let envelopes = inside(&json!({
        "suite": Suite::Aes128CbcSha.name(), "frames": frames,
        "up": keys(&record.mn_to_ha), "down": keys(&record.ha_to_mn),
    }));
    let home_agent = record.ha_address.to_string();
    let words: Vec<String> = envelopes
        .iter()
        .map(|(up, next_header, octets)| {
            let (from, to) = if *up { (&home, &home_agent) } else { (&home_agent, &home) };
            named(&lab.options.files.dir, from, to, *next_header, octets)
        })
        .collect();
    let has = |way: bool, parts: &[&str]| {
        envelopes
            .iter()
            .zip(&words)
            .any(|((up, ..), words)| *up == way && parts.iter().all(|part| words.contains(part)))
    };
    let all = words.join("\n");
    assert!(has(false, &["Binding Revocation Indication", "Administrative Reason"]), "{all}");
    assert!(has(true, &["Binding Revocation Acknowledge"]), "{all}");
}
