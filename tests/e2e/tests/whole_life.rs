//! A capture of a whole life: bootstrap, registration, two moves, `down`. tshark reads every packet of
//! it, and once it is decrypted, what is inside of the tunnel; `hearth capture decrypt` finds there what
//! a program finds that knows only the RFC.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access, captured]-- hearth-ha --[home]-- hearth-cn
//!            \-[visit4]-- hearth-nat4 ----/
//! ```
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use hearth_e2e::{PATIENCE, TestLab, directory};
use hearth_lab::{
    capture::Capture,
    netns::run,
    plan::{CN4, CN6, HA_PORT, HA6, HAC_PORT, NAT_OUTSIDE, Subscriber, Visited},
};
use hearth_wire::{
    directory::{DirectionKeys, SaRecord},
    suite::Suite,
};
use serde_json::{Value, json};

const SUITE: Suite = Suite::Aes128CbcSha;
/// What tshark cannot read, and whatever else it calls an error.
const WRONG: &str = "_ws.malformed or _ws.expert.severity == error";

fn tree(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}

/// One line per frame that tshark shows for a filter, with the first value of each field.
fn shown(capture: &Path, more: &[&str], filter: &str, fields: &[&str]) -> Vec<String> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-n").arg("-r").arg(capture).args(more).args(["-Y", filter, "-T", "fields"]);
    tshark.args(["-E", "separator= ", "-E", "occurrence=f"]);
    tshark.args(fields.iter().flat_map(|field| ["-e", field]));
    run(&mut tshark).unwrap().lines().map(str::to_owned).collect()
}

/// The capture with what is inside of the tunnel in place of it, by a program that knows only the RFC.
fn opened(capture: &Path, record: &SaRecord) -> PathBuf {
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let keys = |keys: &DirectionKeys| -> Value {
        json!({ "ikey": hex(keys.integrity()), "ekey": hex(keys.encryption()) })
    };
    let work = json!({
        "suite": SUITE.name(), "port": HA_PORT, "home_agent": HA6,
        "up": keys(&record.mn_to_ha), "down": keys(&record.ha_to_mn),
    });
    let path = capture.with_file_name("opened.pcap");
    let mut python = Command::new("/usr/bin/python3");
    python.arg(tree("tests/e2e/peer/opened_capture.py")).arg(capture).arg(&path);
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = python.spawn().unwrap();
    child.stdin.take().unwrap().write_all(work.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

/// What `hearth` makes of the capture with the keys that the HAC gives away: in place, and what is inside
/// alone.
fn decrypted(lab: &TestLab, who: &Subscriber, capture: &Path) -> (PathBuf, PathBuf) {
    let file = |name: &str| capture.with_file_name(name).to_str().unwrap().to_owned();
    let (capture, keys) = (capture.to_str().unwrap(), file("keys.json"));
    let (in_place, inner) = (file("decrypted.pcapng"), file("inner.pcapng"));
    let export = ["hac", "export-keys", "--mn-id", &who.mn_id, "--file", &keys];
    let decrypt = ["capture", "decrypt", capture, "--keys", &keys, "--file"];
    for arguments in [
        &export[..],
        &[&decrypt[..], &[&in_place]].concat(),
        &[&decrypt[..], &[&inner, "--inner"]].concat(),
    ] {
        let output = lab.hearth(arguments).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    (in_place.into(), inner.into())
}

/// Lives from bootstrap to `down`; gives the SA's keys.
fn live(lab: &TestLab, who: &Subscriber) -> SaRecord {
    let mut node = lab.register(who, Visited::Net6);
    let spi = node.status().unwrap().spi.unwrap();
    let record = directory::record(&lab.options.files.directory_socket(), spi);
    lab.ping_both(who);
    for (from, to) in [(Visited::Net6, Visited::Nat4), (Visited::Nat4, Visited::Net6)] {
        lab.network.detach(0, from).unwrap();
        lab.network.attach(0, to).unwrap();
        node.registered_at(to, PATIENCE).unwrap();
        lab.until_both_answer(who);
    }
    assert_eq!(node.status().unwrap().bootstraps.len(), 1);
    node.stop().unwrap();
    assert!(lab.bindings().unwrap().is_empty());
    record
}

/// What the registration's Mobility Headers in the opened capture are, in order, with the care-of address
/// that each comes from or goes to. What is sent again at once counts once.
fn signalling(opened: &Path) -> Vec<(String, String)> {
    let fields = ["mip6.mhtype", "ipv6.src", "ipv6.dst", "mip6.bu.seqnr", "mip6.bu.lifetime"];
    let fields = [&fields[..], &["mip6.ba.seqnr", "mip6.ba.status"]].concat();
    // All but the Heartbeats of RFC 5847, which come whenever the path is in doubt.
    let rows = shown(opened, &[], "mip6.mhtype and mip6.mhtype != 13", &fields);
    let (mut asked, mut found) = (Vec::new(), Vec::new());
    for row in &rows {
        let fields: Vec<&str> = row.split(' ').collect();
        found.push(match fields[..] {
            ["5", from, _, number, lifetime, "", ""] => {
                asked.push(number);
                let what = if lifetime == "0" { "BU, lifetime 0" } else { "BU" };
                (what.to_owned(), from.to_owned())
            }
            ["6", _, to, "", "", number, "0"] if asked.contains(&number) => {
                ("BA".to_owned(), to.to_owned())
            }
            _ => panic!("{row:?} is no part of a registration: {rows:#?}"),
        });
    }
    found.dedup();
    found
}

#[test]
fn tshark_reads_every_packet_and_every_message() {
    let lab = TestLab::up("whole-life");
    let who = lab.subscriber(SUITE, 1);
    let path = lab.options.files.dir.join("access.pcapng");
    let capture = Capture::start(&lab.network.net6, "access", &path).unwrap();
    let record = live(&lab, &who);
    let path = capture.finish().unwrap();

    // As it was on the wire, without our dissector and with it.
    let tls = format!("tcp.port=={HAC_PORT},tls");
    let lua = format!("lua_script:{}", tree("wireshark/hearth.lua").display());
    let info = ["frame.number", "_ws.col.Protocol", "_ws.col.Info", "_ws.expert.message"];
    let plain = ["-d", &tls, "-o", "udp.try_heuristic_first:FALSE"];
    let ours = [&plain[..], &["-X", &lua]].concat();
    for more in [&plain[..], &ours] {
        assert_eq!(shown(&path, more, WRONG, &info), [""; 0]);
    }
    let envelopes = shown(&path, &ours, "hearth", &["hearth.ptype"]);
    assert!(envelopes.iter().all(|ptype| ["1", "8", ""].contains(&ptype.as_str())));
    // The bootstrap is over before the tunnel is used.
    let order = "tls.handshake.type == 1 or hearth";
    let first = &shown(&path, &ours, order, &["tls.handshake.type", "hearth.ptype"])[..2];
    assert_eq!(first, ["1 ", " 8"]);

    let opened = opened(&path, &record);
    let (in_place, inner) = decrypted(&lab, &who, &path);
    let octets =
        |capture: &Path| run(Command::new("tshark").args(["-n", "-x", "-r"]).arg(capture)).unwrap();
    assert_eq!(octets(&inner), octets(&opened));
    assert_eq!(shown(&in_place, &ours, WRONG, &info), [""; 0]);
    for filter in ["hearth and mip6.mhtype == 5", "hearth and tcp", "hearth and icmpv6.type == 128"]
    {
        let is_there = !shown(&in_place, &ours, filter, &["frame.number"]).is_empty();
        assert_eq!(is_there, filter != "hearth and tcp", "{filter}");
    }
    let checksums = "icmp.checksum.status == 0 or icmpv6.checksum.status == 0";
    assert_eq!(shown(&opened, &[], &format!("{WRONG} or {checksums}"), &info), [""; 0]);
    let (net6, nat4) =
        (Visited::Net6.care_of_address(0).to_string(), format!("::ffff:{NAT_OUTSIDE}"));
    let expected: Vec<(String, String)> = [("BU", &net6), ("BU", &nat4), ("BU", &net6)]
        .into_iter()
        .chain([("BU, lifetime 0", &net6)])
        .flat_map(|(what, at)| [(what.to_owned(), at.clone()), ("BA".to_owned(), at.clone())])
        .collect();
    assert_eq!(signalling(&opened), expected);

    // Data of both versions: three echoes at first, and one at least after each of two moves.
    for filter in [
        format!("icmpv6.type == 128 and ipv6.src == {} and ipv6.dst == {CN6}", who.home6),
        format!("icmpv6.type == 129 and ipv6.src == {CN6} and ipv6.dst == {}", who.home6),
        format!("icmp.type == 8 and ip.src == {} and ip.dst == {CN4}", who.home4),
        format!("icmp.type == 0 and ip.src == {CN4} and ip.dst == {}", who.home4),
    ] {
        let echoes = shown(&opened, &[], &filter, &["frame.number"]);
        assert!(echoes.len() >= 5, "{filter}: {echoes:?}");
    }
}
