//! Somebody else's fragments, and somebody else's reassembly of ours.

use hearth_dpdk::{Reassembled, Reassembly};
use hearth_scapy::{hex, unhex};

use super::{EXPERIMENT, Pools, fragments, ipv4, ipv6, octets, payload};
use crate::eal;

/// Reads packets in hex, one a line: a line of one packet is answered with its fragments, a line
/// of several (with blanks between) with the packet that they make.
const SCRIPT: &str = r"
import sys
from scapy.all import IP, IPv6, IPv6ExtHdrFragment, UDP, Raw, fragment, fragment6, defragment, defragment6
for line in sys.stdin:
    octets = [bytes.fromhex(word) for word in line.split()]
    v6 = octets[0][0] >> 4 == 6
    packets = [(IPv6 if v6 else IP)(o) for o in octets]
    if len(packets) > 1:
        out = [defragment6(packets)] if v6 else defragment(packets)
    elif v6:
        packet = packets[0]
        out = fragment6(IPv6(src=packet.src, dst=packet.dst, hlim=packet.hlim)
                        / IPv6ExtHdrFragment(id=77, nh=packet.nh) / packet.payload, 1280)
    else:
        out = fragment(packets[0], 1280 - 24)
    print(' '.join(bytes(packet).hex() for packet in out))
";

fn scapy(lines: &[Vec<Vec<u8>>]) -> Vec<Vec<Vec<u8>>> {
    let line = |packets: &Vec<Vec<u8>>| {
        packets.iter().map(|octets| hex(octets)).collect::<Vec<_>>().join(" ")
    };
    let input = lines.iter().map(line).collect::<Vec<_>>().join("\n");
    let text = hearth_scapy::run(&["-c", SCRIPT], input.as_bytes()).expect("Scapy");
    let octets = |word| unhex(word).expect("hex");
    text.lines().map(|line| line.split(' ').map(octets).collect()).collect()
}

#[test]
fn scapy_puts_our_fragments_together_and_we_put_scapys_together() {
    let pools = Pools::new("frag_scapy");
    let packets = [ipv4(0x1234, 0, false, &payload(5000)), ipv6(EXPERIMENT, &payload(5000))];
    let ours = packets.each_ref().map(|packet| fragments(&pools, packet, 1280));
    assert!(ours.iter().all(|cut| cut.len() >= 4));
    let lines = [&ours[..], &packets.each_ref().map(|packet| vec![packet.clone()])].concat();
    let answers = scapy(&lines);
    assert_eq!(answers.len(), 4);

    for (packet, whole) in packets.iter().zip(&answers[..2]) {
        assert!(whole == std::slice::from_ref(packet), "scapy made something else of it");
    }
    let mut table = Reassembly::new(eal(), 8, 1000).expect("a table");
    for (packet, theirs) in packets.iter().zip(&answers[2..]) {
        assert!(theirs.len() >= 4, "{} fragments", theirs.len());
        let (last, others) = theirs.split_last().expect("some");
        let mut give = |octets: &Vec<u8>| {
            let mbuf = pools.packet(octets);
            match octets[0] >> 4 {
                4 => table.reassemble4(mbuf, 0, 0),
                _ => table.reassemble6(mbuf, 0, 0),
            }
        };
        assert!(others.iter().all(|octets| matches!(give(octets), Reassembled::Held)));
        let Reassembled::Whole(whole) = give(last) else { panic!("not whole") };
        assert!(octets(&whole) == *packet);
    }
    drop(table);
    pools.all_back();
}
