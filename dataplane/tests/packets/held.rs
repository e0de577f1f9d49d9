//! Signalling that is here before its SA: it waits, some of it, for some time, and is counted
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hearth_dataplane::{DropReason as D, Worker};
use hearth_wire::{Scope, Spi, Suite};

use crate::codec::{self, Plain};
use crate::rig::{ACCESS, Event, MobileNode, Rig, SPI_BASE};

/// Longer than a test takes.
const LONG: u32 = 100_000;

fn rig(hold_ms: u32, workers: usize) -> Rig {
    Rig::with(|config| {
        config.signalling_hold_ms = hold_ms;
        config.workers = workers;
    })
}

fn update(mn: &mut MobileNode) -> Vec<u8> {
    let packet = mn.sealed(&mn.plain(8, mn.seq, 135, &[59; 24]));
    mn.seq += 1;
    packet
}

/// Lets control look at its rings, and the workers at what it gives them; returns the signalling.
fn turn(rig: &mut Rig) -> Vec<u32> {
    let mut spis = Vec::new();
    for event in rig.events() {
        match event {
            Event::Signalling { spi, payload, .. } => {
                assert_eq!(payload, [59; 24]);
                spis.push(spi);
            }
            Event::UnknownSpi(_) => {}
            _ => panic!("nothing else"),
        }
    }
    rig.turns();
    spis
}

/// Takes what came for control.
fn signalling(rig: &mut Rig) -> u64 {
    let events = rig.events();
    events.iter().filter(|event| matches!(event, Event::Signalling { .. })).count() as u64
}

/// Turns until this many packets were dropped; how many came through meanwhile.
fn until_dropped(rig: &mut Rig, dropped: u64) -> usize {
    let (start, mut came) = (Instant::now(), 0);
    while rig.counters().dropped(D::SpiUnknown) < dropped {
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", rig.drops());
        came += turn(rig).len();
    }
    came
}

#[test]
fn a_binding_update_waits_for_its_sa_and_goes_through_every_check() {
    for workers in 1..=3 {
        let mut rig = rig(LONG, workers);
        for (n, suite) in (1..).zip(Suite::known()) {
            let mut mn = MobileNode::new(n, suite, Scope::Signalling, n % 2 == 0);
            let before = rig.counters();
            let first = update(&mut mn);
            rig.send(ACCESS, &first);
            assert!(turn(&mut rig).is_empty(), "without an SA");
            // One that nobody of the SA made, and data, which does not wait.
            let mut forged = mn.plain(8, 1, 135, &[59; 24]).seal(suite, &mn.up);
            *forged.last_mut().unwrap() ^= 1;
            rig.send(ACCESS, &mn.packet(&forged));
            rig.send(ACCESS, &mn.data(&mn.inner6()));
            assert!(turn(&mut rig).is_empty());
            assert_eq!((rig.in_use(), rig.counters().signalling_in), (2, before.signalling_in));

            rig.insert_sa(&mn);
            assert!(turn(&mut rig).is_empty());
            assert_eq!(turn(&mut rig), [mn.spi.get()]);
            assert_eq!(rig.counters().signalling_in, before.signalling_in + 1);
            // The same again is a replay, whether it waited or not.
            rig.send(ACCESS, &first);
            rig.is_silent();
            let after = rig.counters();
            for reason in [D::SpiUnknown, D::IcvMismatch, D::Replayed] {
                assert_eq!(after.dropped(reason), before.dropped(reason) + 1, "{reason:?}");
            }
            assert_eq!(after.dropped_total(), before.dropped_total() + 3);
        }
        rig.finish();
    }
}

/// The SA came while the packet was on its way to control.
#[test]
fn an_sa_that_comes_in_between_is_found() {
    let mut rig = rig(LONG, 1);
    let mut mn = MobileNode::usual();
    let packet = update(&mut mn);
    rig.send(ACCESS, &packet);
    rig.insert_sa(&mn);
    assert!(turn(&mut rig).is_empty());
    assert_eq!(turn(&mut rig), [mn.spi.get()]);
    assert!(rig.drops().is_empty());
    rig.finish();
}

#[test]
fn what_waited_in_vain_is_dropped_once() {
    let mut rig = rig(1, 2);
    for n in [5, 6] {
        let packet = update(&mut MobileNode::new(n, Suite::Aes128CbcSha, Scope::Signalling, true));
        rig.send(ACCESS, &packet);
    }
    assert!(rig.drops().is_empty(), "they wait");
    assert_eq!(until_dropped(&mut rig, 2), 0);
    assert_eq!(rig.drops(), [("spi_unknown", 2)].into());
    rig.is_silent();
    rig.finish();
}

/// Nobody's packets wait, and outside the range nobody will have the SA.
#[test]
fn what_cannot_have_an_sa_does_not_wait() {
    let mut rig = rig(LONG, 1);
    let mn = MobileNode::usual();
    for spi in [1, SPI_BASE - 1, SPI_BASE + 64, 0x0fff_ffff] {
        let packet = mn.sealed(&Plain { spi, ..mn.plain(8, 0, 135, &[59; 24]) });
        rig.send(ACCESS, &packet);
    }
    assert_eq!(rig.drops(), [("spi_unknown", 4)].into());
    assert!(rig.events().is_empty());
    rig.is_silent();
    rig.finish();
}

/// A flood of invented SPIs: little of it waits, nothing of it is lost from the count, nobody else
/// loses anything, and the newest wait.
#[test]
fn a_flood_of_invented_spis_fills_nothing() {
    for workers in [1, 2] {
        let mut rig = rig(LONG, workers);
        let mut bound = rig.attach(MobileNode::usual());
        let stranger = MobileNode::new(2, Suite::Aes128CbcSha, Scope::Signalling, true);
        let mac = rig.mac(ACCESS);
        let (mut sent, mut most, mut came) = (0_u64, 0, Vec::new());
        for round in 0..2000_u32 {
            for number in 0..20 {
                let spi = SPI_BASE + 10 + (round + number) % 50;
                let junk = Plain { spi, ..stranger.plain(8, round, 135, &[59; 24]) };
                rig.inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &stranger.sealed(&junk)));
                sent += 1;
            }
            let good = update(&mut bound);
            rig.inject(ACCESS, 0, &codec::ethernet(mac, [2; 6], &good));
            rig.turns();
            came.extend(turn(&mut rig));
            rig.turns();
            // With control's answers out, what is in use waits.
            most = most.max(rig.in_use());
        }
        came.extend(turn(&mut rig));
        assert_eq!(came, vec![bound.spi.get(); 2000]);
        assert!(most <= 64, "{most} wait");
        let dropped = rig.counters().dropped(D::SpiUnknown);
        assert_eq!(dropped + u64::from(rig.in_use()), sent);
        assert_eq!(rig.counters().dropped_total(), dropped);

        // Somebody real, in the middle of it, as soon as there is a place for one more.
        let mut mn = MobileNode::new(63, Suite::Aes128CbcSha, Scope::Signalling, true);
        mn.spi = Spi::new(SPI_BASE + 63).unwrap();
        let start = Instant::now();
        let before = loop {
            assert!(start.elapsed() < Duration::from_secs(30), "no place ever");
            let (before, packet) = (rig.counters().dropped_total(), update(&mut mn));
            let held = rig.in_use();
            rig.send(ACCESS, &packet);
            if rig.in_use() > held {
                break before;
            }
            assert_eq!(rig.counters().dropped_total(), before + 1);
            turn(&mut rig);
        };
        assert_eq!(rig.counters().dropped_total(), before);
        turn(&mut rig);
        rig.insert_sa(&mn);
        turn(&mut rig);
        assert_eq!(turn(&mut rig), [mn.spi.get()]);
        rig.finish();
    }
}

/// Workers on threads of their own, and SAs that come and go: each packet is signalling or is
/// dropped, and is counted as the one that it was.
#[test]
fn every_packet_is_counted_once_while_sas_come_and_go() {
    let mut rig = rig(2, 2);
    let stop = Arc::new(AtomicBool::new(false));
    let run = |worker: Worker| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || worker.run(&stop))
    };
    let threads: Vec<_> = rig.workers.drain(..).map(run).collect();
    let mac = rig.mac(ACCESS);
    let mut nodes: Vec<_> = (1..=8)
        .map(|n| MobileNode::new(n, Suite::Aes128CbcSha, Scope::Signalling, n % 2 == 0))
        .collect();
    let (start, mut sent, mut came) = (Instant::now(), 0_u64, 0);
    for round in 0.. {
        let unknown = rig.counters().dropped(D::SpiUnknown);
        if round > 2000 && came > 500 && unknown > 500 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{came} and {unknown} of {sent}");
        let mn = &mut nodes[round % 8];
        let packet = update(mn);
        if rig.try_inject(ACCESS, round % 2, &codec::ethernet(mac, [2; 6], &packet)) {
            sent += 1;
        }
        // The SA comes behind its packets, and goes after some more; not all can come again soon.
        match round % 64 {
            32..40 => {
                let _ = rig.try_insert_sa(mn);
            }
            8..16 => {
                let _ = rig.tables.remove_sa(mn.spi);
            }
            _ => {}
        }
        rig.tables.reclaim();
        came += signalling(&mut rig);
    }
    while rig.counters().dropped_total() + came < sent {
        assert!(start.elapsed() < Duration::from_secs(60), "{came} of {sent}: {:?}", rig.drops());
        came += signalling(&mut rig);
        rig.tables.reclaim();
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    came += signalling(&mut rig);
    let counters = rig.counters();
    assert_eq!((counters.signalling_in, counters.dropped_total() + came), (came, sent));
    assert_eq!(rig.in_use(), 0);
    rig.finish();
}

/// What waits when the dataplane ends goes back with everything else.
#[test]
fn the_end_comes_while_they_wait() {
    let mut rig = rig(LONG, 1);
    let mut mn = MobileNode::usual();
    for _ in 0..4 {
        let packet = update(&mut mn);
        rig.send(ACCESS, &packet);
        if mn.seq == 2 {
            turn(&mut rig);
        }
    }
    assert_eq!(rig.in_use(), 4);
    rig.finish();
}
