//! A long run in which nobody keeps up: rings fill on every side, packets wait for neighbours, are
//! handed over, dropped and taken out late or never. Whenever all is quiet, every mbuf is back.
//!
//! `HEARTH_SOAK_PACKETS` says how many packets, `HEARTH_SOAK_SEED` which.

use std::time::{Duration, Instant};

use hearth_dataplane::PortId;
use hearth_wire::Spi;

use crate::rig::{ACCESS, Event, HOME};
use crate::stage::Stage;
use crate::watch::Input;

/// Packets of one world.
const PER_WORLD: u64 = 60_000;

#[test]
fn every_mbuf_comes_back() {
    let packets = crate::number("HEARTH_SOAK_PACKETS").unwrap_or(500_000);
    let mut seed = crate::number("HEARTH_SOAK_SEED").unwrap_or(1);
    let (mut done, mut drops) = (0, std::collections::BTreeMap::<_, u64>::new());
    while done < packets {
        let mut stage = Stage::of(1 + (seed % 2) as usize, seed, 400, None);
        let here = PER_WORLD.min(packets - done);
        done += soak(&mut stage, here);
        for (reason, count) in stage.twins.rig.drops() {
            *drops.entry(reason).or_default() += count;
        }
        stage.finish();
        seed += 1;
    }
    println!("{done} packets; dropped: {drops:?}");
    for reason in ["tx_full", "host_ring_full", "handover_ring_full", "icv_mismatch", "hop_limit"] {
        assert!(drops.contains_key(reason), "{reason} was not provoked: {drops:?}");
    }
}

/// What is slow for a while.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slow {
    Nobody,
    /// Neither the wires nor control take anything.
    Outside,
    /// A worker takes no turn.
    Worker(usize),
}

/// So many packets of each: several times what the rings hold of any kind.
const PHASE: u64 = 15_000;

fn soak(stage: &mut Stage, packets: u64) -> u64 {
    let workers = stage.twins.rig.workers.len();
    let mut phases = vec![Slow::Nobody, Slow::Outside];
    if workers > 1 {
        phases.extend((0..workers).map(Slow::Worker));
    }
    let mut done = 0;
    for slow in phases.into_iter().cycle() {
        let end = done + PHASE;
        while done < end {
            done += a_burst(stage, slow);
        }
        take_all(stage);
        if done >= packets {
            break;
        }
    }
    done
}

fn a_burst(stage: &mut Stage, slow: Slow) -> u64 {
    // A change waits for all workers.
    if !matches!(slow, Slow::Worker(_)) && stage.traffic.chance.once_in(8) {
        stage.change_something();
    }
    let inputs = stage.traffic.burst(400);
    let count = inputs.len() as u64;
    inputs.into_iter().for_each(|input| give(stage, input, slow));
    let rig = &mut stage.twins.rig;
    for worker in (0..rig.workers.len()).filter(|worker| slow != Slow::Worker(*worker)) {
        for _ in 0..stage.traffic.chance.within(1..5) {
            (rig.turn)(&mut rig.workers[worker]);
        }
    }
    if slow != Slow::Outside {
        rig.received(ACCESS);
        rig.received(HOME);
        rig.events();
    }
    count
}

/// Hands over a packet where there is room.
fn give(stage: &mut Stage, input: Input, slow: Slow) {
    let rig = &mut stage.twins.rig;
    let queues = rig.workers.len();
    match input {
        Input::Wire { port, queue, frame } => {
            // The one that is awake receives for both.
            let queue = match slow {
                Slow::Worker(asleep) => (asleep + 1) % queues,
                _ => queue,
            };
            rig.try_inject(port, queue, &frame);
        }
        Input::Host { port, frame } => _ = rig.control.send_from_host(port, &frame),
        Input::Signalling { spi, local, remote, next_header, payload } => {
            let spi = Spi::new(spi).unwrap();
            _ = rig.control.send_signalling(spi, local, remote, next_header, &payload);
        }
    }
}

/// Turns until nothing comes any more, giving back every other packet that waited for a neighbour;
/// then counts the pool.
fn take_all(stage: &mut Stage) {
    let rig = &mut stage.twins.rig;
    for round in 0.. {
        rig.turns();
        let mut taken = [ACCESS, HOME].map(|port| rig.received(port).len()).iter().sum::<usize>();
        let events = rig.events();
        taken += events.len();
        for (place, event) in events.into_iter().enumerate() {
            if let Event::Unresolved { port, next_hop, packet } = event
                && place % 2 == 0
                && round < 4
            {
                if place % 4 == 0 {
                    rig.tables.set_neighbour(port, next_hop, Some([2; 6])).unwrap();
                }
                _ = rig.control.resend(port, next_hop, packet);
            }
        }
        if taken == 0 {
            break;
        }
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while rig.in_use() > 0 && Instant::now() < deadline {
        // Fragments that wait for others.
        rig.turns();
    }
    assert_eq!(rig.in_use(), 0, "mbufs that nobody gave back; drops: {:?}", rig.drops());
    // What was learnt for the soak's sake only.
    let known = &stage.twins.world.neighbours;
    for next_hop in ["2001:db8:f::77", "203.0.113.177"] {
        let key = (PortId(1), next_hop.parse().unwrap());
        assert!(!known.contains_key(&key));
        stage.twins.rig.tables.set_neighbour(key.0, key.1, None).unwrap();
    }
    stage.twins.rig.reclaim();
}
