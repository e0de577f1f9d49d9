//! One SA over two workers: the loaded one lends packets to the idle one; order, numbers and window
//! stay whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hearth_dataplane::Filter;
use hearth_dataplane::trace::{Stage, Verdict};
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{ACCESS, CN6, HOME, MobileNode, Rig};

/// The rig, and a mobile node whose SA belongs to the worker that has this port's first queue.
fn loaded(suite: Suite, port: usize) -> (Rig, MobileNode) {
    let mut rig = Rig::with(|config| config.workers = 2);
    let mn = (1..).map(|n| MobileNode::new(n, suite, Scope::SignallingAndData, true));
    let mn = mn.take(2).find(|mn| mn.spi.get() as usize % 2 == port).unwrap();
    let mn = rig.attach(mn);
    (rig, mn)
}

fn lent(rig: &Rig) -> (u64, u64) {
    let workers = rig.counters().workers;
    (workers.iter().map(|worker| worker.lent).sum(), workers.iter().map(|w| w.assisted).sum())
}

/// 3DES keeps to its own lanes, and so to its owner.
fn is_lent(suite: Suite) -> bool {
    suite != Suite::TripleDesEdeCbcSha
}

/// Bursts of 32 packets, each worker taking a turn behind each; the inner packet bears its number.
fn feed(rig: &mut Rig, bursts: u16, mut inject: impl FnMut(&mut Rig, u16)) {
    for burst in 0..bursts {
        (0..32).for_each(|place| inject(rig, burst * 32 + place));
        for worker in 0..2 {
            rig.workers[worker].turn();
        }
    }
    rig.turns();
}

fn payload(number: u16) -> Vec<u8> {
    // Every seventh is too small to be lent.
    let len = if number.is_multiple_of(7) { 30 } else { 900 + usize::from(number % 64) };
    number.to_be_bytes().into_iter().cycle().take(len).collect()
}

fn number(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[40], packet[41]])
}

#[test]
fn uplink_keeps_its_order() {
    for suite in Suite::known() {
        let (mut rig, mut mn) = loaded(suite, 0);
        let mac = rig.mac(ACCESS);
        let mut got = Vec::new();
        feed(&mut rig, 20, |rig, number| {
            let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &payload(number));
            rig.inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &mn.data(&inner)));
            got.extend(rig.received(HOME));
        });
        got.extend(rig.received(HOME));
        let numbers: Vec<_> = got.iter().map(|frame| number(frame.packet())).collect();
        assert_eq!(numbers, (0..640).collect::<Vec<_>>(), "{suite:?}");
        assert!(got.iter().all(|frame| frame.packet()[40..] == payload(number(frame.packet()))));
        let (lent, assisted) = lent(&rig);
        assert_eq!(lent > 100, is_lent(suite), "{suite:?}: {lent} lent, {assisted} assisted");
        assert_eq!(lent, assisted, "{suite:?}");
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
        rig.finish();
    }
}

#[test]
fn downlink_draws_every_number_once_and_in_order() {
    for suite in Suite::known() {
        let (mut rig, mn) = loaded(suite, 1);
        let mac = rig.mac(HOME);
        let mut got = Vec::new();
        feed(&mut rig, 20, |rig, number| {
            let down = codec::ip(CN6.into(), mn.home6.into(), 17, &payload(number));
            rig.inject(HOME, 0, &codec::ethernet(mac, [2; 6], &down));
            got.extend(rig.received(ACCESS));
        });
        got.extend(rig.received(ACCESS));
        let opened: Vec<_> = got.iter().map(|frame| mn.open(frame)).collect();
        assert_eq!(
            opened.iter().map(|got| got.seq).collect::<Vec<_>>(),
            (0..640).collect::<Vec<_>>()
        );
        for (expected, got) in (0..).zip(&opened) {
            assert_eq!(got.payload[40..], payload(expected), "{suite:?}");
        }
        assert_eq!(lent(&rig).0 > 100, is_lent(suite), "{suite:?}");
        rig.finish();
    }
}

/// Copies, forgeries and late packets among shuffled ones: each number is accepted once, whoever
/// computed its tag.
#[test]
fn the_window_stays_exact_under_reordering() {
    let (mut rig, mut mn) = loaded(Suite::Aes128CbcSha, 0);
    let mac = rig.mac(ACCESS);
    let mut frames = Vec::new();
    for number in 0..640 {
        let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &payload(number));
        let frame = codec::ethernet(mac, [2; 6], &mn.data(&inner));
        let mut forged = frame.clone();
        *forged.last_mut().unwrap() ^= 1;
        frames.extend([forged, frame.clone(), frame]);
    }
    // A shuffle that keeps everybody within the window of 1024.
    for place in 0..frames.len() - 100 {
        frames.swap(place, place + place * 7919 % 100);
    }
    let mut got = Vec::new();
    for burst in frames.chunks(32) {
        for frame in burst {
            rig.inject(ACCESS, 0, frame);
        }
        for worker in 0..2 {
            rig.workers[worker].turn();
        }
        got.extend(rig.received(HOME));
    }
    rig.turns();
    got.extend(rig.received(HOME));
    let numbers: BTreeSet<_> = got.iter().map(|frame| number(frame.packet())).collect();
    assert_eq!((got.len(), numbers.len()), (640, 640));
    // A forgery behind the packet whose number it bears is a replay before its tag is looked at.
    let drops = rig.drops();
    assert_eq!(drops["icv_mismatch"] + drops["replayed"], 2 * 640);
    assert_eq!((drops.len(), drops["replayed"] >= 640), (2, true), "{drops:?}");
    assert!(lent(&rig).0 > 300);
    rig.finish();
}

/// An SA that ends while its packets are at the other worker's.
#[test]
fn an_sa_may_end_while_its_packets_are_lent() {
    let (mut rig, mut mn) = loaded(Suite::Aes128CbcSha, 0);
    let mac = rig.mac(ACCESS);
    for round in 0..4 {
        for number in 0..32 {
            let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &payload(round * 32 + number));
            rig.inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &mn.data(&inner)));
        }
        rig.workers[1].turn();
        rig.workers[0].turn();
    }
    let (lent, _) = lent(&rig);
    assert!(lent > 0);
    rig.tables.remove_sa(mn.spi).unwrap();
    for _ in 0..4 {
        rig.tables.reclaim();
        rig.workers[0].turn();
    }
    assert!(rig.try_insert_sa(&mn).is_err(), "its keys are in use");
    rig.turns();
    for _ in 0..4 {
        rig.tables.reclaim();
        rig.turns();
    }
    rig.try_insert_sa(&mn).unwrap();
    assert_eq!(rig.received(HOME).len() as u64 + rig.counters().dropped_total(), 128);
    rig.finish();
}

/// Workers that stop with lent packets under way lose none without a reason.
#[test]
fn the_end_while_packets_are_lent() {
    let (mut rig, mut mn) = loaded(Suite::Aes128CbcSha, 0);
    let mac = rig.mac(ACCESS);
    for _ in 0..4 {
        for number in 0..32 {
            let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &payload(number));
            rig.inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &mn.data(&inner)));
        }
        rig.workers[1].turn();
        rig.workers[0].turn();
    }
    assert!(lent(&rig).0 > 0);
    let out = rig.received(HOME).len() as u64;
    rig.workers.clear();
    assert_eq!(out + rig.drops()["stopped"], 128);
    rig.finish();
}

/// A worker that lent packets and gets none of them back.
struct Stalled {
    rig: Rig,
    mn: MobileNode,
    lent: u64,
    out: u64,
}

/// Lends as much as goes to a worker that takes no turn any more.
fn stalled() -> Stalled {
    let (mut rig, mut mn) = loaded(Suite::Aes128CbcSha, 0);
    let mac = rig.mac(ACCESS);
    rig.workers[1].turn();
    let mut number = 0;
    // Twice as much as may be out: what is not lent stays behind it.
    for _ in 0..8 {
        for _ in 0..32 {
            let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &[7; 900]);
            number += u64::from(rig.try_inject(
                ACCESS,
                0,
                &codec::ethernet(mac, [2; 6], &mn.data(&inner)),
            ));
        }
        rig.workers[0].turn();
    }
    let (lent, _) = lent(&rig);
    assert!((90..number).contains(&lent), "{lent} of {number} lent");
    let out = rig.received(HOME).len() as u64;
    Stalled { rig, mn, lent, out: number - out }
}

/// A helper that stops taking turns costs what it has, once, and nobody else's packets.
#[test]
fn a_stalled_helper_holds_nobody_up_for_long() {
    let Stalled { mut rig, mn, lent, mut out } = stalled();
    let other = MobileNode::new(8, Suite::Aes128CbcSha256, Scope::SignallingAndData, true);
    assert_eq!(other.spi.get() % 2, mn.spi.get() % 2);
    let mut other = rig.attach(other);
    let mac = rig.mac(ACCESS);
    let (mut sent, mut small, start) = (0, 0, Instant::now());
    while small < 400 {
        assert!(start.elapsed() < Duration::from_secs(20), "{small} came out: {:?}", rig.drops());
        let frame = codec::ethernet(mac, [2; 6], &other.data(&other.inner6()));
        sent += u32::from(sent < 400 && rig.try_inject(ACCESS, 0, &frame));
        rig.workers[0].turn();
        for frame in rig.received(HOME) {
            let is_small = frame.packet().len() < 400;
            small += u32::from(is_small);
            out -= u64::from(!is_small);
        }
    }
    assert_eq!(rig.drops(), [("helper_stalled", lent)].into());
    assert_eq!(out, lent);

    // What it has needs the keys that it was lent with.
    rig.tables.remove_sa(mn.spi).unwrap();
    for _ in 0..4 {
        rig.tables.reclaim();
        rig.workers[0].turn();
    }
    assert!(rig.try_insert_sa(&mn).is_err(), "its keys are in use");
    // What comes back late is nobody's any more.
    for _ in 0..4 {
        rig.turns();
        rig.tables.reclaim();
    }
    rig.try_insert_sa(&mn).unwrap();
    assert!(rig.received(HOME).is_empty());
    assert_eq!(rig.drops(), [("helper_stalled", lent)].into());
    rig.finish();
}

/// A helper that stops gives back what it has not done.
#[test]
fn a_helper_that_stops_gives_back_what_it_has() {
    let Stalled { mut rig, lent, out, .. } = stalled();
    rig.workers.truncate(1);
    rig.turns();
    assert_eq!(rig.drops(), [("crypto_failed", lent)].into());
    assert_eq!(rig.received(HOME).len() as u64, out - lent);
    rig.finish();
}

/// A helper whom so many ask that its ring is full costs nobody a packet: what does not fit in is
/// done at home, in its place.
#[test]
fn a_ring_that_is_full_loses_nothing() {
    let mut rig = Rig::with(|config| config.workers = 10);
    let mut owners = Vec::new();
    for worker in 0..9_usize {
        let mn =
            (1..).map(|n| MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, true));
        let mn = mn.take(10).find(|mn| mn.spi.get() as usize % 10 == worker).unwrap();
        owners.push(rig.attach(mn));
    }
    let mac = rig.mac(ACCESS);
    rig.workers[9].turn();
    for round in 0..7_u16 {
        for (queue, mn) in owners.iter_mut().enumerate() {
            for place in 0..32 {
                let payload = (round * 32 + place).to_be_bytes().repeat(450);
                let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &payload);
                rig.inject(ACCESS, queue, &codec::ethernet(mac, [2; 6], &mn.data(&inner)));
            }
            rig.workers[queue].turn();
        }
    }
    let (lent, _) = lent(&rig);
    assert!(lent > 1024, "{lent} lent: a ring holds 1023");
    rig.turns();
    let mut numbers: BTreeMap<Vec<u8>, Vec<u16>> = BTreeMap::new();
    for frame in rig.received(HOME) {
        let packet = frame.packet();
        numbers.entry(packet[8..24].to_vec()).or_default().push(number(packet));
    }
    assert_eq!(numbers.len(), 9);
    for numbers in numbers.into_values() {
        assert_eq!(numbers, (0..7 * 32).collect::<Vec<_>>());
    }
    assert_eq!(rig.drops(), [].into());
    rig.finish();
}

/// A trace says where a packet was meanwhile, and that it settled at its owner, once.
#[test]
fn a_trace_shows_what_was_lent() {
    let (mut rig, mut mn) = loaded(Suite::Aes128CbcSha, 0);
    let mac = rig.mac(ACCESS);
    rig.control.start_trace(&Filter::EVERYTHING, 256);
    let mut steps = Vec::new();
    let mut progress = None;
    feed(&mut rig, 8, |rig, number| {
        let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &payload(number));
        rig.inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &mn.data(&inner)));
        progress = Some(rig.control.trace_steps(usize::MAX, |step| steps.push(step)));
    });
    progress = Some(rig.control.trace_steps(usize::MAX, |step| steps.push(step))).or(progress);
    let progress = progress.unwrap();
    assert_eq!((progress.begun, progress.ended, progress.lost), (256, 256, 0));
    let at = |stage| steps.iter().filter(move |step| step.stage == stage);
    assert!(at(Stage::Settle).all(|step| step.worker == 0 && step.verdict != Verdict::Lent(1)));
    assert_eq!(at(Stage::Settle).count(), 256);
    let shown = at(Stage::TunnelIn).filter(|step| step.verdict == Verdict::Lent(1)).count();
    let (lent, _) = lent(&rig);
    assert_eq!(shown as u64, lent);
    assert!(lent > 50, "{lent}");
    rig.finish();
}
