//! Two workers: every SA has one owner, whatever queue its packets come by.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hearth_dataplane::{Dataplane, TableWriter, Worker};
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{ACCESS, CN6, HOME, MobileNode, Rig};

fn two() -> Rig {
    Rig::with(|config| config.workers = 2)
}

#[test]
fn packets_are_handed_to_the_owner_of_their_sa() {
    let mut rig = two();
    let mut nodes: Vec<_> = (1..)
        .zip(Suite::known())
        .map(|(n, suite)| rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, true)))
        .collect();
    let mac = rig.mac(ACCESS);
    let home_mac = rig.mac(HOME);
    let mut sent = 0;
    for round in 0..40 {
        for mn in &mut nodes {
            let queue = (round + sent) % 2;
            let frame = codec::ethernet(mac, [2; 6], &mn.data(&mn.inner6()));
            rig.inject(ACCESS, queue, &frame);
            let down = codec::ip(CN6.into(), mn.home6.into(), 17, &[round as u8; 33]);
            rig.inject(HOME, queue, &codec::ethernet(home_mac, [2; 6], &down));
            sent += 1;
        }
        rig.turns();
    }
    assert_eq!(rig.received(HOME).len(), sent);
    // Each SA's numbers are drawn once, by its owner.
    let mut numbers: Vec<Vec<u32>> = vec![Vec::new(); nodes.len()];
    for frame in rig.received(ACCESS) {
        let datagram = codec::Datagram::read(frame.packet());
        let (place, mn) =
            nodes.iter().enumerate().find(|(_, mn)| mn.remote == datagram.to).unwrap();
        numbers[place].push(mn.open(&frame).seq);
    }
    for mut numbers in numbers {
        numbers.sort_unstable();
        assert_eq!(numbers, (0..40).collect::<Vec<_>>());
    }
    let counters = rig.counters();
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    assert!(counters.workers.iter().all(|worker| worker.handed_over > 0 && worker.rx_packets > 0));
    rig.finish();
}

/// A replay that comes by another queue is one all the same.
#[test]
fn a_replay_by_another_queue() {
    let mut rig = two();
    let mut mn = rig.attach(MobileNode::usual());
    let frame = codec::ethernet(rig.mac(ACCESS), [2; 6], &mn.data(&mn.inner6()));
    rig.inject(ACCESS, 0, &frame);
    rig.inject(ACCESS, 1, &frame);
    rig.turns();
    rig.received_one(HOME);
    assert_eq!(rig.drops(), [("replayed", 1)].into());
    rig.finish();
}

#[test]
fn hairpin_over_two_workers() {
    let mut rig = two();
    let mut a = rig.attach(MobileNode::new(1, Suite::Aes128CbcSha, Scope::SignallingAndData, true));
    let b = rig.attach(MobileNode::new(2, Suite::Aes128CbcSha256, Scope::SignallingAndData, false));
    for queue in [0, 1] {
        let inner = codec::ip_with(a.home6.into(), b.home6.into(), 17, 64, 0, b"across");
        let frame = codec::ethernet(rig.mac(ACCESS), [2; 6], &a.data(&inner));
        rig.inject(ACCESS, queue, &frame);
        rig.turns();
        assert_eq!(b.open(&rig.received_one(ACCESS)).payload[7], 63, "one hop");
    }
    rig.finish();
}

/// From the box itself to a mobile node of another worker: no hop is counted.
#[test]
fn the_kernels_packets_are_handed_over_too() {
    let mut rig = two();
    for n in [1, 2] {
        let mn =
            rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, true));
        for port in [ACCESS, HOME] {
            let ping =
                codec::ip(crate::rig::HA6.into(), IpAddr::from(mn.home6), 58, &[128, 0, 0, 0]);
            let frame = codec::ethernet(rig.mac(port), [2; 6], &ping);
            rig.control.send_from_host(port, &frame).unwrap();
            rig.turns();
            assert_eq!(mn.open(&rig.received_one(ACCESS)).payload, ping);
        }
        rig.control.send_signalling(mn.spi, mn.local, mn.remote, 43, &[1; 24]).unwrap();
        rig.turns();
        assert_eq!(mn.open(&rig.received_one(ACCESS)).ptype, 8);
    }
    rig.finish();
}

/// On threads of their own, and a clean end with packets under way.
#[test]
fn workers_run_and_stop() {
    let mut rig = two();
    let mut mn = rig.attach(MobileNode::usual());
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = rig
        .workers
        .drain(..)
        .map(|worker| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || worker.run(&stop))
        })
        .collect();
    let mac = rig.mac(ACCESS);
    let mut received = 0;
    for number in 0..200 {
        let frame = codec::ethernet(mac, [2; 6], &mn.data(&mn.inner6()));
        rig.inject(ACCESS, number % 2, &frame);
    }
    while received < 200 {
        received += rig.received(HOME).len();
        rig.tables.reclaim();
        assert_eq!(rig.counters().dropped_total(), 0, "{:?}", rig.drops());
        std::thread::yield_now();
    }
    for number in 0..100 {
        let frame = codec::ethernet(mac, [2; 6], &mn.data(&mn.inner6()));
        rig.inject(ACCESS, number % 2, &frame);
    }
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    // What a worker took off the wire came out, or has a reason.
    let counters = rig.counters();
    let taken: u64 = counters.workers.iter().map(|worker| worker.rx_packets).sum();
    let out = received as u64 + rig.received(HOME).len() as u64;
    assert_eq!(out + counters.dropped_total(), taken, "{:?}", rig.drops());
    assert!(rig.drops().keys().all(|reason| *reason == "stopped"), "{:?}", rig.drops());
    rig.finish();
}

/// What waits in a worker that stops has a reason, wherever it waits.
#[test]
fn what_waits_when_a_worker_stops_is_counted() {
    let mut rig = Rig::with(|config| config.triple_des_budget = 1);
    let slow = MobileNode::new(1, Suite::TripleDesEdeCbcSha, Scope::SignallingAndData, true);
    let mut slow = rig.attach(slow);
    for _ in 0..20 {
        let up = codec::ethernet(rig.mac(ACCESS), [2; 6], &slow.data(&slow.inner6()));
        rig.inject(ACCESS, 0, &up);
        let down = codec::ip(CN6.into(), slow.home6.into(), 17, b"down");
        rig.inject(HOME, 0, &codec::ethernet(rig.mac(HOME), [2; 6], &down));
    }
    rig.workers[0].turn();
    for _ in 0..3 {
        rig.control.send_signalling(slow.spi, slow.local, slow.remote, 43, &[1; 24]).unwrap();
    }
    let out = (rig.received(ACCESS).len() + rig.received(HOME).len()) as u64;
    rig.workers.clear();
    assert_eq!(rig.drops(), [("stopped", 43 - out)].into());
    rig.finish();
}

/// A worker that does not keep up: what does not fit into its ring is dropped by the one that
/// received it.
#[test]
fn a_worker_that_does_not_keep_up() {
    let mut rig = two();
    let mut mn = rig.attach(MobileNode::usual());
    let (mac, owner) = (rig.mac(ACCESS), 1);
    let mut sent = 0;
    while rig.counters().dropped_total() == 0 {
        let frame = codec::ethernet(mac, [2; 6], &mn.data(&mn.inner6()));
        rig.inject(ACCESS, 1 - owner, &frame);
        rig.workers[1 - owner].turn();
        sent += 1;
    }
    assert_eq!(rig.drops(), [("handover_ring_full", 1)].into());
    let mut received = 0;
    while rig.workers[owner].turn() > 0 {
        received += rig.received(HOME).len();
    }
    assert_eq!(received, sent - 1);
    rig.finish();
}

#[test]
fn the_parts_may_go_to_threads() {
    const fn sendable<T: Send>() {}
    sendable::<Worker>();
    sendable::<TableWriter>();
    sendable::<Dataplane>();
}
