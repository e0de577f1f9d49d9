//! Workers, SAs and packets that come and go while a device has some of them.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hearth_dataplane::TableError;
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{ACCESS, CN6, HOME, MobileNode, Rig};
use crate::{DEVICES, by_device, inject, usual, with_device};

/// Jobs ride for as long as they like.
const FOR_EVER: u32 = 1_000_000_000;

/// A rig in which packets wait in the device until a turn finds nothing else to do.
fn riding(device: &str) -> Rig {
    with_device(device, |config| config.max_job_age_us = FOR_EVER)
}

/// Packets each way that go in together, few enough that a turn takes them up at once.
const FEW: usize = 15;

/// Puts some packets of each way into the device.
fn fill(rig: &mut Rig, mn: &mut MobileNode) {
    for number in 0..FEW {
        let inner = mn.inner6();
        inject(rig, mn, 0, &inner);
        let down = codec::ip(CN6.into(), mn.home6.into(), 17, &[number as u8; 50]);
        let frame = codec::ethernet(rig.mac(HOME), [2; 6], &down);
        rig.inject(HOME, 0, &frame);
    }
    rig.workers[0].turn();
    assert_eq!(rig.in_use() as usize, 2 * FEW, "they wait");
}

/// Every worker has a queue of its own, and the SA's packets go to its owner's.
#[test]
fn two_workers() {
    for (device, _) in DEVICES {
        let mut rig = with_device(device, |config| config.workers = 2);
        let mut nodes = [usual(&mut rig, 1), usual(&mut rig, 2)];
        for round in 0..40_usize {
            for mn in &mut nodes {
                let inner = mn.inner6();
                inject(&mut rig, mn, round % 2, &inner);
                let down = codec::ip(CN6.into(), mn.home6.into(), 17, &[round as u8; 33]);
                let frame = codec::ethernet(rig.mac(HOME), [2; 6], &down);
                rig.inject(HOME, round / 2 % 2, &frame);
            }
            rig.turns();
        }
        assert_eq!((rig.received(HOME).len(), rig.received(ACCESS).len()), (80, 80));
        let counters = rig.counters();
        assert!(rig.drops().is_empty(), "{device}: {:?}", rig.drops());
        assert!(counters.workers.iter().all(|worker| worker.device_packets == 80), "{device}");
        rig.finish();
    }
}

/// One goes up through one worker's queue and down through the other's.
#[test]
fn from_mobile_node_to_mobile_node() {
    for (device, _) in DEVICES {
        let mut rig = with_device(device, |config| config.workers = 2);
        let (mut a, b) = (usual(&mut rig, 1), usual(&mut rig, 2));
        let inner = codec::ip_with(a.home6.into(), b.home6.into(), 17, 64, 0, b"across");
        inject(&mut rig, &mut a, 0, &inner);
        rig.turns();
        assert_eq!(b.open(&rig.received_one(ACCESS)).payload[7], 63, "{device}: one hop");
        rig.finish();
    }
}

/// The keys stay until the packets are out of the device; then the SPI and the place are free.
#[test]
fn an_sa_is_removed_while_packets_are_in_the_device() {
    for (device, _) in DEVICES {
        let mut rig = riding(device);
        let mut mn = usual(&mut rig, 1);
        for round in 0..50 {
            fill(&mut rig, &mut mn);
            rig.tables.remove_sa(mn.spi).unwrap();
            // Turns that find something else to do leave them in it.
            for _ in 0..5 {
                rig.tables.reclaim();
                rig.inject(ACCESS, 0, &[0; 10]);
                rig.workers[0].turn();
            }
            assert_eq!(rig.try_insert_sa(&mn), Err(TableError::SpiDraining), "{device}");
            assert_eq!(rig.in_use() as usize, 2 * FEW);
            rig.turns();
            // What was encrypted is sent; what came in has lost its binding.
            let sent = rig.received(ACCESS);
            assert_eq!(sent.len(), FEW);
            for (seq, frame) in (0..).zip(&sent) {
                assert_eq!(mn.open(frame).seq, seq, "{device}, round {round}");
            }
            let drops = [("ethernet_short", 5), ("no_binding", FEW as u64)];
            assert_eq!(rig.drops(), drops.map(|(reason, n)| (reason, n * (round + 1))).into());
            rig.reclaim();
            rig.insert_sa(&mn);
            rig.bind(&mn);
            assert_eq!(rig.tables.sa_is_in_device(mn.spi), Some(true), "no place came back");
            mn.seq = 0;
        }
        assert!(rig.received(HOME).is_empty());
        rig.finish();
    }
}

/// An SA that is changed for another of other keys and suite under the same SPI.
#[test]
fn an_spi_is_used_again_for_another_suite() {
    for (device, lacks) in DEVICES {
        let mut rig = with_device(device, |_| ());
        for suite in Suite::known().chain(Suite::known()) {
            let mut mn = MobileNode::new(1, suite, Scope::SignallingAndData, false);
            rig.insert_sa(&mn);
            rig.bind(&mn);
            assert_eq!(rig.tables.sa_is_in_device(mn.spi), Some(!lacks.contains(&suite)));
            let inner = mn.inner6();
            inject(&mut rig, &mut mn, 0, &inner);
            rig.turns();
            rig.received_one(HOME);
            rig.tables.remove_sa(mn.spi).unwrap();
            assert_eq!(rig.tables.sa_is_in_device(mn.spi), None);
            rig.reclaim();
        }
        assert!(rig.drops().is_empty());
        rig.finish();
    }
}

/// SAs beyond those that the device has room for go by the lanes; a place that is free again is
/// used again.
#[test]
fn more_sas_than_the_device_has_room_for() {
    for (device, _) in DEVICES {
        let mut rig = Rig::with(|config| {
            config.crypto_device =
                Some(hearth_dataplane::CryptoDeviceConfig { device: device.into(), max_sas: 4 });
        });
        let new = |n| MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, true);
        let mut nodes: Vec<_> = (1..=30).map(|n| rig.attach(new(n))).collect();
        let inside = |rig: &Rig, mn: &MobileNode| rig.tables.sa_is_in_device(mn.spi).unwrap();
        let places = nodes.iter().filter(|mn| inside(&rig, mn)).count();
        assert!((4..=6).contains(&places), "{device}: {places}");
        assert!(nodes.iter().take(places).all(|mn| inside(&rig, mn)));
        for mn in &mut nodes {
            let inner = mn.inner6();
            inject(&mut rig, mn, 0, &inner);
            let down = codec::ip(CN6.into(), IpAddr::from(mn.home6), 17, b"both ways");
            let frame = codec::ethernet(rig.mac(HOME), [2; 6], &down);
            rig.inject(HOME, 0, &frame);
        }
        rig.turns();
        assert_eq!((rig.received(HOME).len(), rig.received(ACCESS).len()), (30, 30));
        assert_eq!(by_device(&rig), 2 * places as u64);
        for round in 0..100 {
            let out = round % places;
            rig.tables.remove_sa(nodes[out].spi).unwrap();
            rig.reclaim();
            nodes[out].seq = 0;
            rig.insert_sa(&nodes[out]);
            assert!(inside(&rig, &nodes[out]), "{device}, round {round}");
        }
        rig.finish();
    }
}

/// A worker that ends with packets in the device waits for them; `finish` counts the pool.
#[test]
fn an_end_with_packets_in_the_device() {
    for (device, _) in DEVICES {
        let mut rig = riding(device);
        let mut mn = usual(&mut rig, 1);
        fill(&mut rig, &mut mn);
        rig.workers.clear();
        assert_eq!(rig.in_use(), 0, "{device}");
        assert_eq!(rig.drops(), [("stopped", 2 * FEW as u64)].into());
        rig.finish();
    }
}

/// Forged packets, which a device may leave encrypted or not, lose no buffer.
#[test]
fn a_flood_of_forged_packets_comes_back() {
    for (device, _) in DEVICES {
        let mut rig = with_device(device, |_| ());
        let mut mn = usual(&mut rig, 1);
        let mac = rig.mac(ACCESS);
        let (mut good, mut bad) = (0, 0);
        for number in 0..3000_usize {
            let inner = mn.inner6();
            let mut frame = codec::ethernet(mac, [2; 6], &mn.data(&inner));
            if number % 5 > 0 {
                let at = frame.len() - 1 - number % 40;
                frame[at] ^= 1;
                bad += 1;
            } else {
                good += 1;
            }
            rig.inject(ACCESS, 0, &frame);
            if number % 50 == 0 {
                rig.workers[0].turn();
                good -= rig.received(HOME).len();
            }
        }
        rig.turns();
        good -= rig.received(HOME).len();
        assert_eq!(good, 0, "{device}");
        assert_eq!(rig.drops(), [("icv_mismatch", bad)].into(), "{device}");
        assert_eq!(rig.in_use(), 0);
        rig.finish();
    }
}

/// A device that is not there or has too few queues is refused, for this reason.
#[test]
fn a_device_that_cannot_be_used() {
    for (device, workers, reason) in [
        ("crypto_nowhere0", 1, "Attach"),
        ("0000:3d:01.0", 1, "NoSuchDevice"),
        ("crypto_openssl0,max_nb_queue_pairs=1", 2, "Queues { max: 1 }"),
    ] {
        let attempt = || with_device(device, |config| config.workers = workers).finish();
        let panic = catch_unwind(AssertUnwindSafe(attempt)).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains(&format!("CryptoDevice({reason}")), "{device}: {text}");
    }
}
