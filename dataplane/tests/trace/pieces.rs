//! Packets in fragments.

use hearth_dataplane::trace::{Stage, Step, Verdict};
use hearth_dataplane::{DropReason, Filter};
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{ACCESS, CN6, HOME, MobileNode, Rig};

fn told(rig: &mut Rig) -> Vec<Step> {
    let mut steps = Vec::new();
    let progress = rig.control.trace_steps(usize::MAX, |step| steps.push(step));
    assert_eq!((progress.ended, progress.lost), (progress.begun, 0), "{steps:#?}");
    steps
}

/// The two halves of an IPv4 packet (RFC 791 s.3.2).
fn halves(packet: &[u8]) -> [Vec<u8>; 2] {
    let middle = 20 + (packet.len() - 20) / 16 * 8;
    let fragment = |from: usize, to: usize, more: u16| {
        let mut fragment = [&packet[..20], &packet[from..to]].concat();
        let offset = (from - 20) as u16 / 8;
        let len = fragment.len() as u16;
        fragment[2..4].copy_from_slice(&len.to_be_bytes());
        fragment[6..8].copy_from_slice(&(more << 13 | offset).to_be_bytes());
        fragment[10..12].fill(0);
        let sum = codec::checksum(&fragment[..20]).to_be_bytes();
        fragment[10..12].copy_from_slice(&sum);
        fragment
    };
    [fragment(20, middle, 1), fragment(middle, packet.len(), 0)]
}

#[test]
fn fragments_wait_and_the_whole_packet_goes_on() {
    let mut rig = Rig::new();
    let mut mn =
        rig.attach(MobileNode::new(1, Suite::Aes128CbcSha, Scope::SignallingAndData, false));
    rig.control.start_trace(&Filter::EVERYTHING, 100);
    let inner = mn.inner6();
    let packet = mn.data(&inner);
    for fragment in halves(&packet) {
        rig.send(ACCESS, &fragment);
    }
    assert_eq!(rig.received_one(HOME).packet().len(), inner.len());
    let steps = told(&mut rig);
    let verdicts = |number: u32| -> Vec<(Stage, Verdict)> {
        let steps = steps.iter().filter(|step| step.packet == number);
        steps.map(|step| (step.stage, step.verdict)).collect()
    };
    assert_eq!(verdicts(1), [(Stage::Receive, Verdict::AwaitsFragments)]);
    assert_eq!(verdicts(2), [(Stage::Receive, Verdict::AwaitsFragments)]);
    let whole = verdicts(3);
    assert_eq!(whole[0], (Stage::Reassembled, Verdict::Next(Stage::TunnelIn)));
    assert_eq!(whole.last(), Some(&(Stage::Transmit, Verdict::Sent)));
    let envelope = steps.iter().find(|step| step.stage == Stage::Reassembled).unwrap();
    assert_eq!(envelope.facts.envelope.unwrap().spi, mn.spi.get());
    rig.finish();
}

#[test]
fn fragments_that_are_sent_have_their_packets_number() {
    let mut rig = Rig::with(|config| config.path_mtu = 1280);
    let mn = rig.attach(MobileNode::usual());
    rig.control.start_trace(&Filter::EVERYTHING, 100);
    // IPv6 of 1280 octets is carried whatever the path.
    rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, &[7; 1240]));
    assert_eq!(rig.received(ACCESS).len(), 2);
    let steps = told(&mut rig);
    assert!(steps.iter().all(|step| step.packet == 1), "{steps:#?}");
    let split = (Stage::Egress, Verdict::Fragmented(2));
    assert!(steps.iter().any(|step| (step.stage, step.verdict) == split), "{steps:#?}");
    let sent = steps.iter().filter(|step| step.stage == Stage::Transmit).count();
    assert_eq!((sent, steps.last().unwrap().verdict), (2, Verdict::Sent), "{steps:#?}");
    rig.finish();
}

/// What is told of a packet that did not fit is another packet.
#[test]
fn an_icmp_error_has_a_number_of_its_own() {
    let mut rig = Rig::with(|config| {
        config.icmp_errors_per_second = 1_000_000;
        config.icmp_errors_per_peer = 1_000_000;
    });
    let mn = rig.attach(MobileNode::usual());
    rig.control.start_trace(&Filter::EVERYTHING, 100);
    rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, &[7; 1450]));
    let steps = told(&mut rig);
    assert_eq!(rig.received(HOME).len(), 1, "{steps:#?}");
    let dropped = steps.iter().find(|step| matches!(step.verdict, Verdict::Dropped(_))).unwrap();
    assert_eq!(dropped.packet, 1);
    let last = steps.last().unwrap();
    assert_eq!((last.packet, last.verdict), (2, Verdict::Sent), "{steps:#?}");
    assert_eq!((last.facts.proto, last.facts.addresses.unwrap().1), (58, CN6.into()));
    rig.finish();
}

/// One fragment that finds no buffer is the packet lost, and the trace says so.
#[test]
fn fragments_that_find_no_buffer() {
    let mut rig = Rig::with(|config| {
        config.path_mtu = 1280;
        config.large_buffers = 1;
    });
    let mn = rig.attach(MobileNode::usual());
    rig.control.start_trace(&Filter::EVERYTHING, 100);
    let taken = rig.exhaust(1);
    rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, &[7; 1240]));
    assert!(rig.received(ACCESS).is_empty());
    let steps = told(&mut rig);
    assert!(steps.iter().all(|step| step.packet == 1), "{steps:#?}");
    let dropped = Verdict::Dropped(DropReason::FragmentBuffers);
    assert!(steps.iter().any(|step| step.verdict == dropped), "{steps:#?}");
    assert_eq!(rig.drops(), [("fragment_buffers", 1)].into());
    drop(taken);
    rig.finish();
}
