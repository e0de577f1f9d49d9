//! The errors and fragments as another program reads them: scapy, from a capture file.

use hearth_dataplane::Route;
use hearth_scapy::pcap;
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{ACCESS, CN4, CN6, Frame, HOME, MobileNode};
use crate::tools::{set_flags, talkative, to_mobile};

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sizes/reader.py");

#[test]
fn scapy_reads_what_was_sent() {
    let mut rig = talkative(|_| ());
    let over6 = rig.attach(MobileNode::usual());
    let over4 = rig.attach(MobileNode::new(2, Suite::NullSha, Scope::SignallingAndData, false));
    let far6 = "2001:db8:77::1".parse().unwrap();
    let mut with_options = codec::ip(CN4.into(), over6.home4.into(), 17, &[0; 1480]);
    set_flags(&mut with_options, 0x4000);
    for packet in [
        to_mobile(&over6, true, false, 1500),
        with_options,
        codec::ip_with(CN6.into(), far6, 17, 1, 0xb8, b"an odd number of octets"),
        codec::ip_with(CN4.into(), "192.0.2.9".parse().unwrap(), 17, 1, 0, b"odd"),
        to_mobile(&over4, false, false, 1500),
    ] {
        rig.send(HOME, &packet);
    }
    let home = |prefix: &str, len| Route {
        prefix: (prefix.parse().unwrap(), len),
        port: HOME,
        gateway: None,
    };
    rig.tables.set_routes(&[home("2001:db8:f::", 64), home("203.0.113.0", 24)]).unwrap();
    for to in [far6, "192.0.2.9".parse().unwrap()] {
        let from = if to.is_ipv6() { CN6.into() } else { CN4.into() };
        rig.send(HOME, &codec::ip(from, to, 17, b"nowhere"));
    }
    let mut frames = rig.received(HOME);
    frames.extend(rig.received(ACCESS));

    let file = std::env::temp_dir().join(format!("hearth-sizes-{}.pcap", std::process::id()));
    std::fs::write(&file, pcap::write(frames.iter().map(|Frame(octets)| octets))).unwrap();
    let said = hearth_scapy::run(&[READER, file.to_str().unwrap()], b"");
    std::fs::remove_file(&file).unwrap();
    let said = said.unwrap();
    let expected = [
        "2001:db8:a::1 > 2001:db8:f::c0 ICMPv6PacketTooBig 2/0 mtu 1406 about \
         2001:db8:f::c0 > 2001:db8:f::1:1, 1280 octets",
        "198.51.100.1 > 203.0.113.200 ICMP 3/4 mtu 1406 about 203.0.113.200 > 203.0.113.1, \
         576 octets",
        "2001:db8:a::1 > 2001:db8:f::c0 ICMPv6TimeExceeded 3/0 mtu 0 about \
         2001:db8:f::c0 > 2001:db8:77::1, 111 octets",
        "198.51.100.1 > 203.0.113.200 ICMP 11/0 mtu 0 about 203.0.113.200 > 192.0.2.9, 51 octets",
        "2001:db8:a::1 > 2001:db8:f::c0 ICMPv6DestUnreach 1/0 mtu 0 about \
         2001:db8:f::c0 > 2001:db8:77::1, 95 octets",
        "198.51.100.1 > 203.0.113.200 ICMP 3/0 mtu 0 about 203.0.113.200 > 192.0.2.9, 55 octets",
        "2 fragments 198.51.100.1 > 192.0.2.2 UDP 1532",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    rig.finish();
}
