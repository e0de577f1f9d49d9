//! `churn`: what 50,000 table changes a second cost forwarding.
//!
//! A thread on another core changes tables all the time or not at all, while passes are measured:
//! half of its changes move bindings, of which some are those of the packets under way, a quarter
//! take an SA away, and a quarter bring it back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use core::net::SocketAddr;
use hearth_dataplane::{TableError, TableWriter};
use hearth_wire::Suite;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::buffers::BUFFERS;
use crate::fault::Fault;
use crate::figures::{Rows, scale};
use crate::frames::{Direction, Station};
use crate::lab::{self, Lab};
use crate::pipeline::drive;
use crate::report::{Row, Target, rounded};
use crate::rig::{self, Rig, Shape};
use crate::stats::{Round, Rounds, Watch, alternate};
use crate::traffic::Traffic;

const SUITE: Suite = Suite::Aes128CbcSha;
const INNER_BYTES: usize = 64;
/// Mobile nodes whose packets are under way, and as many again whose SAs come and go.
const STATIONS: u32 = 50_000;
/// Changes a second.
const RATE: f64 = 50_000.0;
/// Forwarding has to keep this part of its throughput.
const TARGET: Target = Target { must: 0.95, aim: None, at_most: false };
/// Changes between two looks at what may be freed.
const BATCH: u32 = 50;
/// Passes of each side in a round.
const PASSES: usize = 4;

/// Measures both directions in about `time` each.
pub(crate) fn rows(lab: &Lab, time: Duration, rows: &mut Rows) {
    for direction in Direction::BOTH {
        let mut row = Row::new("churn", "the same without changes")
            .of(SUITE, direction, INNER_BYTES)
            .asked(Some(TARGET));
        row.sas = Some(STATIONS);
        rows.push(match measure(lab, direction, time) {
            Ok((rounds, rate)) => row
                .cycles(rounds.side(1), rounds.side(0))
                .measured(&rounds.quotient(0, 1))
                .with("changes_per_second", rounded(rate, 0)),
            Err(fault) => row.failed(fault),
        });
    }
}

/// What the two threads tell each other.
#[derive(Debug, Default)]
struct Signals {
    change: AtomicBool,
    stop: AtomicBool,
    changes: AtomicU64,
}

fn measure(lab: &Lab, direction: Direction, time: Duration) -> Result<(Rounds, f64), Fault> {
    let [first, .., _] = &lab.cores[..] else { return Err(Fault::Cores(2)) };
    let shape = Shape { stations: 2 * STATIONS, ..Shape::default() };
    let mut rig = Rig::new(&lab.eal, &lab.pool, &lab.name(), &shape)?;
    for number in 0..2 * STATIONS {
        rig.attach(&Station::new(number, SUITE)?)?;
    }
    rig.settle();
    let mac = rig.ingress_mac(direction);
    let Rig { mut workers, mut tables, mut wires, counters, .. } = rig;
    let mut worker = workers.pop().ok_or(Fault::Pool)?;
    let mut traffic = Traffic::new(&lab.pool);
    let mut dice = ChaCha8Rng::seed_from_u64(6275);
    let signals = Signals::default();
    let mut changing = Duration::ZERO;
    let rounds = std::thread::scope(|scope| {
        let changer = scope.spawn(|| {
            lab::stay_on(*first);
            change(&mut tables, &signals)
        });
        let rounds = alternate(time, || {
            let mut watch = Watch::default();
            let mut values = Vec::new();
            for on in [false, true] {
                let since = Instant::now();
                signals.change.store(on, Ordering::Relaxed);
                let mut ticks = 0;
                for _ in 0..PASSES {
                    let parcels = scale::draw(&mut dice, STATIONS, INNER_BYTES)?;
                    traffic.prepare(direction, mac, &parcels)?;
                    // While packets were prepared what was replaced waited for this worker.
                    worker.turn();
                    let (from, to) = Rig::ends(&mut wires, direction);
                    let passed = watch.over(|| drive(&mut worker, from, to, &mut traffic.slots))?;
                    if passed.received != passed.sent {
                        let drop = rig::main_drop(&counters);
                        let (sent, received) = (passed.sent, passed.received);
                        return Err(Fault::Lost { sent, received, drop });
                    }
                    ticks += passed.ticks;
                }
                if on {
                    changing += since.elapsed();
                }
                values.push(ticks as f64 / (BUFFERS * PASSES) as f64);
            }
            Ok(Round { values, disturbed: watch.disturbed })
        });
        signals.stop.store(true, Ordering::Relaxed);
        changer.join().map_err(|_| Fault::Thread)??;
        rounds
    })?;
    let changes = signals.changes.load(Ordering::Relaxed);
    Ok((rounds, changes as f64 / changing.as_secs_f64().max(f64::MIN_POSITIVE)))
}

/// Changes tables at [`RATE`] for as long as it is told to, some every millisecond.
fn change(tables: &mut TableWriter, signals: &Signals) -> Result<(), Fault> {
    let mut dice = ChaCha8Rng::seed_from_u64(5555);
    let mut away = VecDeque::with_capacity(AWAY);
    let pause = Duration::from_secs_f64(f64::from(BATCH) / RATE);
    let mut due = Instant::now();
    while !signals.stop.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if signals.change.load(Ordering::Relaxed) {
            tables.reclaim();
            let made = batch(tables, &mut away, &mut dice)?;
            signals.changes.fetch_add(made.into(), Ordering::Relaxed);
            due += pause;
        } else {
            due = Instant::now() + pause;
        }
    }
    Ok(())
}

/// Makes [`BATCH`] changes, fewer where nothing is free; how many.
fn batch(
    tables: &mut TableWriter,
    away: &mut VecDeque<Station>,
    dice: &mut ChaCha8Rng,
) -> Result<u32, Fault> {
    for made in 0..BATCH {
        let number = dice.next_u32() % STATIONS;
        let result = if made % 2 == 0 {
            move_binding(tables, number, dice.next_u32())
        } else {
            come_and_go(tables, away, STATIONS + number)
        };
        match result {
            Ok(()) => {}
            // The other thread prepares packets, so nothing that was replaced is freed yet.
            Err(Fault::Table(TableError::Full | TableError::SpiDraining)) => return Ok(made),
            Err(fault) => return Err(fault),
        }
    }
    Ok(BATCH)
}

fn move_binding(tables: &mut TableWriter, number: u32, port: u32) -> Result<(), Fault> {
    let station = Station::new(number, SUITE)?;
    let port = 40_000 + u16::try_from(port % 20_000).unwrap_or(0);
    let remote = SocketAddr::new(station.remote.ip(), port);
    Ok(rig::bind(tables, &station, remote)?)
}

/// SAs that are away at the most.
const AWAY: usize = 512;

/// Takes an SA away; or brings one back, once so many are away that the first has left the lanes.
fn come_and_go(
    tables: &mut TableWriter,
    away: &mut VecDeque<Station>,
    number: u32,
) -> Result<(), Fault> {
    match away.front().copied() {
        Some(first) if away.len() == AWAY => {
            rig::attach(tables, &first)?;
            away.pop_front();
        }
        _ => {
            let station = Station::new(number, SUITE)?;
            if !away.iter().any(|other| other.spi == station.spi) {
                tables.remove_sa(station.spi)?;
                away.push_back(station);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_lab;

    #[test]
    fn changes_go_on_for_as_long_as_a_worker_takes_turns() {
        with_lab(|lab| {
            let shape = Shape { stations: 2 * STATIONS, ..Shape::default() };
            let mut rig = Rig::new(&lab.eal, &lab.pool, &lab.name(), &shape).unwrap();
            for number in 0..2 * STATIONS {
                rig.attach(&Station::new(number, SUITE).unwrap()).unwrap();
            }
            rig.settle();
            let (mut away, mut dice) = (VecDeque::new(), ChaCha8Rng::seed_from_u64(1));
            for _ in 0..200 {
                let made = batch(&mut rig.tables, &mut away, &mut dice).unwrap();
                assert_eq!(made, BATCH);
                rig.settle();
            }
            assert_eq!(rig.tables.bindings(), 2 * STATIONS as usize);
            assert!((AWAY - 1..=AWAY).contains(&away.len()), "{}", away.len());
        });
    }
}
