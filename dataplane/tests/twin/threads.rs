//! Workers on threads of their own, random traffic, and tables that change under them: what goes in
//! comes out, is held or is dropped and counted, and every mbuf is back in the end.
//!
//! Nothing is compared packet by packet here, since nobody can say what the tables were when a
//! packet was looked at; this is about races.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hearth_dataplane::TableError;
use hearth_wire::Spi;

use crate::chance::Chance;
use crate::rig::{ACCESS, HA4, HA6, HOME, Rig};
use crate::stage::Stage;
use crate::traffic::{GATEWAYS, somewhere};
use crate::watch::Input;

/// Far more than any wait here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Packets that went in, and that came out again.
#[derive(Default, Debug)]
struct Ledger {
    sent: u64,
    received: u64,
    for_control: u64,
}

#[test]
fn packets_are_conserved_while_tables_change() {
    let packets = crate::number("HEARTH_THREADS_PACKETS").unwrap_or(100_000);
    let first = crate::number("HEARTH_TWIN_SEED").unwrap_or(1);
    for workers in [1, 2] {
        let mut stage = Stage::of(workers, first, 64, None);
        race(&mut stage, packets / 2);
        stage.finish();
    }
}

fn race(stage: &mut Stage, packets: u64) {
    let stop = Arc::new(AtomicBool::new(false));
    let workers = stage.twins.rig.workers.drain(..);
    let threads: Vec<_> = workers
        .map(|worker| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || worker.run(&stop))
        })
        .collect();
    let mut ledger = Ledger::default();
    let mut chance = Chance::new(7);
    while ledger.sent < packets {
        for input in stage.traffic.burst(64) {
            ledger.sent += u64::from(give(&mut stage.twins.rig, input));
        }
        if chance.once_in(3) {
            change(stage, &mut chance);
        }
        take(&mut stage.twins.rig, &mut ledger);
    }
    let start = Instant::now();
    while stage.twins.rig.in_use() > 0 {
        take(&mut stage.twins.rig, &mut ledger);
        assert!(start.elapsed() < PATIENCE, "{} mbufs are not back", stage.twins.rig.in_use());
        std::thread::yield_now();
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let counters = stage.twins.rig.counters();
    let ended = ledger.received + ledger.for_control + counters.dropped_total();
    // What was split or copied, and what was put together.
    let sizes = counters.sizes;
    let more = sizes.fragments - sizes.fragmented + sizes.copies;
    let less = sizes.reassembled_fragments - sizes.reassembled;
    assert_eq!(ledger.sent + more, ended + less, "{ledger:?}, {:?}", stage.twins.rig.drops());
}

/// Whether there was room.
fn give(rig: &mut Rig, input: Input) -> bool {
    match input {
        Input::Wire { port, queue, frame } => rig.try_inject(port, queue, &frame),
        Input::Host { port, frame } => rig.control.send_from_host(port, &frame).is_ok(),
        Input::Signalling { spi, local, remote, next_header, payload } => {
            let spi = Spi::new(spi).unwrap();
            rig.control.send_signalling(spi, local, remote, next_header, &payload).is_ok()
        }
    }
}

fn take(rig: &mut Rig, ledger: &mut Ledger) {
    ledger.received +=
        [ACCESS, HOME].map(|port| rig.received(port).len() as u64).iter().sum::<u64>();
    let events = rig.events().into_iter();
    let is_packet = |event: &_| !matches!(event, crate::rig::Event::UnknownSpi(_));
    ledger.for_control += events.filter(is_packet).count() as u64;
}

/// A hand-over, an end, a new SA under an old SPI, another gateway.
fn change(stage: &mut Stage, chance: &mut Chance) {
    let node = chance.within(0..stage.traffic.nodes.len());
    let mn = &mut stage.traffic.nodes[node].mn;
    let tables = &mut stage.twins.rig.tables;
    match chance.within(0..8) {
        0..4 => {
            let v6 = chance.once_in(2);
            mn.remote = somewhere(chance, v6);
            mn.local.set_ip(if v6 { HA6.into() } else { HA4.into() });
            _ = mn.binding().bind(tables, &[]);
        }
        4 => _ = tables.unbind(mn.home6),
        5 => {
            let _ = tables.remove_sa(mn.spi);
            mn.seq = 0;
            let mn = mn.clone();
            let start = Instant::now();
            // The old one's keys go when no worker can have a packet under them any more.
            while stage.twins.rig.try_insert_sa(&mn) == Err(TableError::SpiDraining) {
                stage.twins.rig.tables.reclaim();
                assert!(start.elapsed() < PATIENCE, "the SPI never drained");
                std::thread::yield_now();
            }
            stage.twins.rig.bind(&mn);
        }
        6 => {
            let mac = (!chance.once_in(3)).then(|| [2, 0, 0, 0, 0xaa, chance.octet()]);
            tables.set_neighbour(ACCESS, *chance.one_of(&GATEWAYS), mac).unwrap();
        }
        _ => _ = mn.binding().bind(tables, &[]),
    }
    stage.twins.rig.tables.reclaim();
}
