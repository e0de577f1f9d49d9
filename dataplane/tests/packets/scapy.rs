//! Questions as another program asks them, and answers as it reads them: Scapy, by capture files.

use std::path::Path;

use hearth_dataplane::Defended;
use hearth_scapy::pcap;

use crate::rig::{Frame, HOME, MobileNode, Registration, Rig};

const NEIGHBOURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packets/neighbours.py");

fn neighbours(what: &str, file: &Path, router: [u8; 6]) -> String {
    let router = router.map(|octet| format!("{octet:02x}")).join(":");
    let file = file.to_str().expect("its name is ours");
    hearth_scapy::run(&[NEIGHBOURS, what, file, &router], b"").unwrap()
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
    let questions = pcap::read(&std::fs::read(&file).unwrap()).unwrap();
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
    std::fs::write(&file, pcap::write(answers.iter().map(|Frame(octets)| octets))).unwrap();
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
