//! A packet's way, stage by stage.

use std::net::IpAddr;

use hearth_dataplane::trace::{Stage, Step, TraceProgress, Verdict};
use hearth_dataplane::{DropReason, Filter};
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::only;
use crate::rig::{ACCESS, CN4, CN6, Event, HA6, HOME, MobileNode, Rig};

/// What a worker's way of telling is: stage, then what became of the packet.
type Way = Vec<(Stage, Verdict)>;

fn read(rig: &mut Rig) -> (Vec<Step>, TraceProgress) {
    let mut steps = Vec::new();
    let progress = rig.control.trace_steps(usize::MAX, |step| steps.push(step));
    (steps, progress)
}

/// The way of the only packet there is.
fn way(rig: &mut Rig) -> Way {
    let (steps, progress) = read(rig);
    let numbers: Vec<u32> = steps.iter().map(|step| step.packet).collect();
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{steps:#?}");
    assert_eq!(progress.begun, progress.ended, "{steps:#?}");
    steps.iter().map(|step| (step.stage, step.verdict)).collect()
}

/// Every stage but the last leads to the next one.
fn through(stages: &[Stage], end: Verdict) -> Way {
    let verdicts = stages.iter().skip(1).map(|stage| Verdict::Next(*stage)).chain([end]);
    stages.iter().copied().zip(verdicts).collect()
}

const UP: [Stage; 6] = [
    Stage::Receive,
    Stage::TunnelIn,
    Stage::Settle,
    Stage::Forward,
    Stage::Egress,
    Stage::Transmit,
];
const DOWN: [Stage; 6] = [
    Stage::Receive,
    Stage::Forward,
    Stage::TunnelOut,
    Stage::Settle,
    Stage::Egress,
    Stage::Transmit,
];

#[test]
fn a_packet_shows_every_stage_in_both_directions() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    rig.control.start_trace(&only(&[mn.spi], &[mn.home6.into()]), 10);
    let inner = mn.inner6();
    let outer = mn.data(&inner);
    rig.send(ACCESS, &outer);
    let (steps, _) = read(&mut rig);
    let told: Way = steps.iter().map(|step| (step.stage, step.verdict)).collect();
    assert_eq!(told, through(&UP, Verdict::Sent));

    let (outside, inside) = (&steps[0].facts, &steps[3].facts);
    assert_eq!(outside.addresses, Some((mn.remote.ip(), mn.local.ip())));
    assert_eq!(usize::from(outside.len), outer.len());
    let envelope = outside.envelope.unwrap();
    assert_eq!((envelope.ptype, envelope.spi, envelope.seq), (1, mn.spi.get(), 0));
    assert_eq!(inside.addresses, Some((mn.home6.into(), CN6.into())));
    assert_eq!((usize::from(inside.len), inside.proto), (inner.len(), 17));
    assert_eq!(inside.envelope, None);
    assert_eq!((steps[0].port, steps[5].port), (Some(ACCESS), Some(HOME)));
    assert!(steps.windows(2).all(|pair| pair[0].since_start <= pair[1].since_start));
    assert!(steps.iter().all(|step| step.worker == 0 && step.packet == 1));

    rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, b"down"));
    let (steps, progress) = read(&mut rig);
    let told: Way = steps.iter().map(|step| (step.stage, step.verdict)).collect();
    assert_eq!(told, through(&DOWN, Verdict::Sent));
    assert_eq!(steps[5].facts.envelope.unwrap().spi, mn.spi.get());
    assert_eq!(steps[5].facts.addresses, Some((mn.local.ip(), mn.remote.ip())));
    assert_eq!(progress, TraceProgress { begun: 2, ended: 2, lost: 0 });
    // Not the mobile node's.
    rig.send(HOME, &codec::ip(CN6.into(), HA6.into(), 17, b"other"));
    assert_eq!(read(&mut rig).1.begun, 2);
    rig.finish();
}

#[test]
fn a_dropped_packet_shows_where_and_why() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let good = mn.data(&mn.inner6());
    rig.send(ACCESS, &good);
    let mut forged = mn.data(&mn.inner6());
    *forged.last_mut().unwrap() ^= 1;
    let unknown = MobileNode::new(9, Suite::Aes128CbcSha, Scope::SignallingAndData, true);
    let stray = unknown.clone().data(&unknown.inner6());
    let short = &good[..good.len() - 1];
    rig.control.start_trace(&Filter::EVERYTHING, 100);
    for (packet, stages, reason) in [
        (&good[..], &UP[..2], DropReason::Replayed),
        (&forged[..], &UP[..3], DropReason::IcvMismatch),
        (&stray[..], &UP[..2], DropReason::SpiUnknown),
        (short, &UP[..1], DropReason::IpLengthBeyondData),
    ] {
        rig.send(ACCESS, packet);
        assert_eq!(way(&mut rig), through(stages, Verdict::Dropped(reason)));
    }
    rig.finish();
}

#[test]
fn packets_of_the_box_and_for_it() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    rig.control.start_trace(&only(&[mn.spi], &[mn.home6.into(), HA6.into()]), 100);
    // A ping to the home agent's address.
    rig.send(HOME, &codec::ip(CN6.into(), HA6.into(), 58, &[128, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(way(&mut rig), [(Stage::Receive, Verdict::ToKernel)]);
    assert!(matches!(rig.events()[..], [Event::Host { .. }]));

    // A Binding Update, or what could be one.
    let signalling = mn.sealed(&mn.plain(8, 5, 135, &[59, 1, 5, 0, 0, 0, 0, 0]));
    rig.send(ACCESS, &signalling);
    assert_eq!(way(&mut rig), through(&UP[..3], Verdict::ToHomeAgent));
    assert!(matches!(rig.events()[..], [Event::Signalling { .. }]));
    let payload = [59, 1, 6, 0, 0, 0, 0, 0];
    rig.control.send_signalling(mn.spi, mn.local, mn.remote, 135, &payload).unwrap();
    rig.turns();
    let stages = [Stage::FromControl, Stage::Settle, Stage::Egress, Stage::Transmit];
    assert_eq!(way(&mut rig), through(&stages, Verdict::Sent));

    // From the kernel to a mobile node.
    let packet = codec::ip(HA6.into(), mn.home6.into(), 17, b"from the box");
    let frame = codec::ethernet([2; 6], rig.mac(HOME), &packet);
    rig.control.send_from_host(HOME, &frame).unwrap();
    rig.turns();
    let stages = [&[Stage::FromControl], &DOWN[1..]].concat();
    assert_eq!(way(&mut rig), through(&stages, Verdict::Sent));
    rig.finish();
}

#[test]
fn a_packet_that_waited_for_its_neighbour_goes_on_under_its_number() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    rig.tables.set_neighbour(HOME, CN6.into(), None).unwrap();
    rig.reclaim();
    rig.control.start_trace(&only(&[mn.spi], &[]), 1);
    let packet = mn.data(&mn.inner6());
    rig.send(ACCESS, &packet);
    let (steps, progress) = read(&mut rig);
    let told: Way = steps.iter().map(|step| (step.stage, step.verdict)).collect();
    assert_eq!(told, through(&UP[..5], Verdict::ToResolve));
    assert_eq!((progress.begun, progress.ended), (1, 0));
    let Some(Event::Unresolved { port, next_hop, packet }) = rig.events().pop() else {
        panic!("nothing to resolve")
    };
    rig.tables.set_neighbour(HOME, CN6.into(), Some([2, 0, 0, 0, 0xaa, 2])).unwrap();
    rig.control.resend(port, next_hop, packet).unwrap();
    rig.turns();
    let stages = [Stage::FromControl, Stage::Egress, Stage::Transmit];
    assert_eq!(way(&mut rig), through(&stages, Verdict::Sent));
    rig.finish();
}

#[test]
fn a_packet_that_waited_for_its_sa_goes_on_under_its_number() {
    let mut rig = Rig::with(|config| config.signalling_hold_ms = 100_000);
    let mn = MobileNode::usual();
    rig.control.start_trace(&only(&[mn.spi], &[]), 1);
    rig.send(ACCESS, &mn.sealed(&mn.plain(8, 0, 135, &[59; 8])));
    let (steps, progress) = read(&mut rig);
    let told: Way = steps.iter().map(|step| (step.stage, step.verdict)).collect();
    assert_eq!(told, through(&UP[..2], Verdict::AwaitsSa));
    assert_eq!((progress.begun, progress.ended), (1, 0));
    rig.insert_sa(&mn);
    rig.events();
    rig.turns();
    let stages = [Stage::FromControl, Stage::TunnelIn, Stage::Settle];
    assert_eq!(way(&mut rig), through(&stages, Verdict::ToHomeAgent));
    assert_eq!(rig.events().len(), 1);
    rig.finish();
}

#[test]
fn the_owner_of_the_sa_goes_on_with_the_same_packet() {
    let mut rig = Rig::with(|config| config.workers = 2);
    let mut mn = rig.attach(MobileNode::usual());
    let owner = mn.spi.get() as usize % 2;
    rig.control.start_trace(&only(&[mn.spi], &[mn.home4.into()]), 2);
    let packet = mn.data(&mn.inner6());
    let frame = codec::ethernet(rig.mac(ACCESS), [2; 6], &packet);
    // Queues are dealt out to the workers in turn, from the port's number on.
    rig.inject(ACCESS, 1 - owner, &frame);
    rig.turns();
    let (steps, _) = read(&mut rig);
    assert_eq!((steps[0].worker, steps[0].verdict), (1 - owner, Verdict::HandedOver(owner)));
    let rest: Way = steps[1..].iter().map(|step| (step.stage, step.verdict)).collect();
    assert_eq!(rest, through(&UP[1..], Verdict::Sent));
    assert!(steps[1..].iter().all(|step| step.worker == owner && step.packet == 1));

    let down = codec::ip(CN4.into(), mn.home4.into(), 17, b"down");
    let frame = codec::ethernet(rig.mac(HOME), [2; 6], &down);
    rig.inject(HOME, owner, &frame);
    rig.turns();
    let (steps, progress) = read(&mut rig);
    let handed: Vec<_> =
        steps.iter().filter(|step| step.verdict == Verdict::HandedOver(owner)).collect();
    assert_eq!(handed.len(), 1, "{steps:#?}");
    assert_eq!(steps.last().unwrap().verdict, Verdict::Sent);
    assert_eq!((progress.begun, progress.ended), (2, 2));
    rig.finish();
}

/// Its addresses are hidden until it is decrypted.
#[test]
fn an_inner_address_is_found_behind_encryption() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    rig.control.start_trace(&only(&[], &[CN6.into()]), 10);
    let packet = mn.data(&mn.inner6());
    rig.send(ACCESS, &packet);
    assert_eq!(way(&mut rig), through(&UP[3..], Verdict::Sent));
    let packet = mn.data(&mn.inner4());
    rig.send(ACCESS, &packet);
    assert_eq!(read(&mut rig).1.begun, 1, "to another correspondent");

    // PType 0 hides nothing.
    let mut plain = rig.attach(MobileNode::new(2, Suite::Aes128CbcSha, Scope::Signalling, true));
    plain.seq = 1;
    rig.send(ACCESS, &plain.clear(&plain.inner6()));
    let stages = [&UP[..2], &UP[3..]].concat();
    assert_eq!(way(&mut rig), through(&stages, Verdict::Sent));
    rig.finish();
}

#[test]
fn as_many_as_asked_for_and_none_when_off() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let mut pass = |rig: &mut Rig, count: u32| {
        for _ in 0..count {
            let packet = mn.data(&mn.inner6());
            rig.send(ACCESS, &packet);
        }
        rig.received(HOME);
    };
    pass(&mut rig, 3);
    assert_eq!(read(&mut rig), (Vec::new(), TraceProgress::default()));
    rig.control.start_trace(&Filter::EVERYTHING, 2);
    pass(&mut rig, 5);
    let (steps, progress) = read(&mut rig);
    assert_eq!((steps.len(), progress.begun, progress.ended), (12, 2, 2));
    assert_eq!(rig.control.stop_trace(|step| panic!("{step:?}")).lost, 0);
    pass(&mut rig, 3);
    assert!(read(&mut rig).0.is_empty());
    rig.finish();
}

/// What is left in a buffer says nothing about its next packet.
#[test]
fn a_number_does_not_outlive_its_packet() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    rig.control.start_trace(&only(&[mn.spi], &[]), u32::MAX);
    for _ in 0..10 {
        let packet = mn.data(&mn.inner6());
        rig.send(ACCESS, &packet);
    }
    assert_eq!(read(&mut rig).0.len(), 60);
    // More packets than there are buffers.
    let other = codec::ip(CN4.into(), IpAddr::from([192, 0, 2, 77]), 17, b"nobody asked");
    for _ in 0..3000 {
        rig.send(HOME, &other);
        rig.received(ACCESS);
    }
    assert_eq!(read(&mut rig).0, []);
    rig.finish();
}

#[test]
fn a_full_ring_to_control_is_a_verdict() {
    let mut rig = Rig::new();
    rig.control.start_trace(&Filter::EVERYTHING, u32::MAX);
    let ping = codec::ip(CN6.into(), HA6.into(), 58, &[128, 0, 0, 0, 0, 0, 0, 0]);
    let mut ends = Vec::new();
    for _ in 0..1100 {
        rig.send(HOME, &ping);
        ends.push(way(&mut rig));
    }
    let taken = ends.iter().filter(|way| **way == [(Stage::Receive, Verdict::ToKernel)]).count();
    let full = Verdict::Dropped(DropReason::HostRingFull);
    assert_eq!(ends.iter().filter(|way| **way == [(Stage::Receive, full)]).count(), 1100 - taken);
    assert_eq!(rig.drops(), [("host_ring_full", 1100 - taken as u64)].into());
    assert_eq!(rig.control.poll(2000, |_| ()), taken);
    rig.finish();
}

#[test]
fn a_full_port_is_a_verdict() {
    let mut rig = Rig::new();
    rig.control.start_trace(&Filter::EVERYTHING, 1000);
    let packet = codec::ip(CN4.into(), IpAddr::from([192, 0, 2, 77]), 17, b"too many");
    let mut ends = Vec::new();
    for _ in 0..600 {
        rig.send(HOME, &packet);
        let (steps, _) = read(&mut rig);
        ends.push(steps.last().unwrap().verdict);
    }
    let full = ends.iter().filter(|end| **end == Verdict::Dropped(DropReason::TxFull)).count();
    let sent = ends.iter().filter(|end| **end == Verdict::Sent).count();
    assert_eq!(rig.drops(), [("tx_full", full as u64)].into());
    assert!(full > 0 && sent == 600 - full && sent == rig.received(ACCESS).len());
    rig.finish();
}
