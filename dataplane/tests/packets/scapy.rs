//! Questions as another program asks them, and answers as it reads them: Scapy, by capture files.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use hearth_dataplane::Defended;

use crate::rig::{Frame, HOME, MobileNode, Registration, Rig};

const NEIGHBOURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packets/neighbours.py");

/// A python3 that has Scapy: the first in PATH, or Debian's own.
fn python_with_scapy() -> &'static str {
    let has_scapy = |python: &&str| {
        let mut import = Command::new(python);
        let import = import.args(["-c", "import scapy.all"]).stderr(Stdio::null());
        import.status().is_ok_and(|status| status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_scapy);
    found.expect("this test needs a python3 with Scapy: apt-get install python3-scapy")
}

/// The frames of a capture file in the order of this machine's octets (libpcap's own format).
fn frames_of(file: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut frames) = (&file[24..], Vec::new());
    while let Some((header, behind)) = rest.split_first_chunk::<16>() {
        let len = u32::from_ne_bytes(header[8..12].try_into().unwrap()) as usize;
        frames.push(behind[..len].to_vec());
        rest = &behind[len..];
    }
    frames
}

fn file_of(frames: &[Frame]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for Frame(octets) in frames {
        let len = octets.len() as u32;
        for word in [0, 0, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(octets);
    }
    file
}

fn neighbours(what: &str, file: &PathBuf, router: [u8; 6]) -> String {
    let router = router.map(|octet| format!("{octet:02x}")).join(":");
    let mut command = Command::new(python_with_scapy());
    let output = command.args([NEIGHBOURS, what]).arg(file).arg(router).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// ND-04, ND-07, DSM-14.
#[test]
fn scapy_asks_and_is_answered() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    let link_local = Some("fe80::1:1".parse().unwrap());
    let file = std::env::temp_dir().join(format!("hearth-link-{}.pcap", std::process::id()));
    neighbours("ask", &file, rig.mac(HOME));
    let questions = frames_of(&std::fs::read(&file).unwrap());
    let mut answers = Vec::new();
    for router in [false, true] {
        let defended = Some(Defended { port: HOME, link_local, router });
        Registration { defended, ..mn.binding() }.bind(&mut rig.tables, &[]).unwrap();
        for question in questions.iter().take(if router { 1 } else { questions.len() }) {
            rig.inject(HOME, 0, question);
            rig.turns();
            answers.push(rig.received_one(HOME));
        }
    }
    std::fs::write(&file, file_of(&answers)).unwrap();
    let said = neighbours("read", &file, rig.mac(HOME));
    std::fs::remove_file(&file).unwrap();
    let na = |to: &str, tgt: &str, dst: &str, flags: &str| {
        format!("router > {to} NA {tgt} is-at router from 2001:db8:a::1 to {dst} {flags} 255 sound")
    };
    let arp = |to: &str| format!("router > asker ARP 2 203.0.113.1 is-at router to {to}");
    let (home, own) = ("2001:db8:f::1:1", "fe80::1:1");
    let expected = [
        na("asker", home, "2001:db8:f::c0", "SO"),
        na("asker", home, "2001:db8:f::c0", "SO"),
        na("all nodes", home, "ff02::1", "O"),
        na("asker", own, "fe80::c0", "SO"),
        na("all nodes", own, "ff02::1", "O"),
        arp("203.0.113.200"),
        arp("0.0.0.0"),
        na("asker", home, "2001:db8:f::c0", "RSO"),
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    rig.finish();
}
