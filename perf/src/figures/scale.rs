//! `scale`: throughput with N SAs addressed uniformly at random ÷ with one SA; and the memory that
//! an SA and its binding take.

use std::time::{Duration, Instant};

use hearth_wire::Suite;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::buffers::BUFFERS;
use crate::fault::Fault;
use crate::figures::Rows;
use crate::frames::{Direction, Station};
use crate::lab::Lab;
use crate::memory;
use crate::pipeline::Pipeline;
use crate::report::{Row, Target, rounded};
use crate::rig::Shape;
use crate::stats::{Round, Rounds, alternate, undisturbed};
use crate::traffic::{Parcel, Traffic};

const SUITE: Suite = Suite::Aes128CbcSha;
/// The number of SAs that something is asked of.
pub(crate) const MILLION: u32 = 1_000_000;
/// Numbers of SAs that are compared with one.
pub(crate) const COUNTS: [u32; 3] = [1_000, 100_000, MILLION];
/// Octets of memory that make a ratio of 1.
const MEMORY_UNIT: f64 = 1024.0;

/// What a million SAs have to reach, by inner size.
fn target(sas: u32, inner_bytes: usize) -> Option<Target> {
    match (sas, inner_bytes) {
        (MILLION, 64) => Some(Target::at_least(0.55, 0.75)),
        (MILLION, 576) => Some(Target::at_least(0.70, 0.85)),
        (MILLION, 1400) => Some(Target::at_least(0.78, 0.92)),
        _ => None,
    }
}

/// A dataplane with so many mobile nodes, and what it took to build.
struct Town {
    pipeline: Pipeline,
    sas: u32,
    built: Built,
}

/// What building took.
#[derive(Debug, Clone, Copy)]
struct Built {
    seconds: f64,
    /// Octets by which the resident memory grew.
    octets: u64,
    /// Octets by which that in huge pages grew.
    huge: u64,
}

/// Measures these sizes in about `time` a row, for these numbers of SAs, and the memory of the
/// largest.
pub(crate) fn rows(lab: &Lab, counts: &[u32], sizes: &[usize], time: Duration, rows: &mut Rows) {
    // What is allocated only once in a process is no part of any of those that are compared.
    let first = build(lab, 1);
    let all = [1].into_iter().chain(counts.iter().copied());
    let mut towns = match all.map(|sas| build(lab, sas)).collect::<Result<Vec<_>, _>>() {
        Ok(towns) => towns,
        Err(fault) => {
            rows.push(Row::new("scale", REFERENCE).failed(fault));
            return;
        }
    };
    drop(first);
    memory_row(&towns, rows);
    // One for all: numbers go on from row to row.
    let mut traffic = Traffic::new(&lab.pool);
    let all_of_them = time * u32::try_from(counts.len()).unwrap_or(1);
    for &inner_bytes in sizes {
        for direction in Direction::BOTH {
            let found = measure(&mut traffic, &mut towns, (direction, inner_bytes), all_of_them);
            for (place, town) in towns.iter().enumerate().skip(1) {
                let mut row = Row::new("scale", REFERENCE)
                    .of(SUITE, direction, inner_bytes)
                    .asked(target(town.sas, inner_bytes))
                    .with("huge_pages", memory::share(town.built.huge, town.built.octets))
                    .with("built_in_seconds", rounded(town.built.seconds, 2));
                row.sas = Some(town.sas);
                rows.push(match &found {
                    Ok(rounds) => row
                        .cycles(rounds.side(place), rounds.side(0))
                        .measured(&rounds.quotient(0, place)),
                    Err(fault) => row.failed(*fault),
                });
            }
        }
    }
}

const REFERENCE: &str = "one SA";

fn memory_row(towns: &[Town], rows: &mut Rows) {
    let (Some(first), Some(last)) = (towns.first(), towns.last()) else { return };
    let octets = last.built.octets.saturating_sub(first.built.octets) as f64 / f64::from(last.sas);
    let mut row = Row::new("memory", "1 KiB")
        .asked(Some(Target::at_most(2.0, Some(1.0))))
        .with("octets_per_sa_and_binding", rounded(octets, 1))
        .with("counted", "resident memory of tables, hash tables and the control thread's copies")
        .with("huge_pages", memory::share(last.built.huge, last.built.octets));
    row.suite = Some(SUITE.name().to_owned());
    row.sas = Some(last.sas);
    rows.push(row.counted(octets / MEMORY_UNIT));
}

fn build(lab: &Lab, sas: u32) -> Result<Town, Fault> {
    let before = memory::now();
    let start = Instant::now();
    let shape = Shape { stations: sas, ..Shape::default() };
    let mut pipeline = Pipeline::empty(&lab.eal, &lab.pool, &lab.name(), &shape)?;
    for number in 0..sas {
        pipeline.rig.attach(&Station::new(number, SUITE)?)?;
    }
    pipeline.settle();
    let seconds = start.elapsed().as_secs_f64();
    let after = memory::now();
    let octets = after.resident.saturating_sub(before.resident);
    let huge = after.huge.saturating_sub(before.huge);
    Ok(Town { pipeline, sas, built: Built { seconds, octets, huge } })
}

/// Cycles per packet of every town.
fn measure(
    traffic: &mut Traffic,
    towns: &mut [Town],
    (direction, inner_len): (Direction, usize),
    time: Duration,
) -> Result<Rounds, Fault> {
    let mut dice = ChaCha8Rng::seed_from_u64(6618);
    alternate(time, || {
        let mut round = Round::default();
        for Town { pipeline, sas, .. } in &mut *towns {
            undisturbed(&mut round, |watch| {
                // Drawn anew for each pass: what the last one has left in the caches is of no use.
                let parcels = draw(&mut dice, *sas, inner_len)?;
                traffic.prepare(direction, pipeline.ingress_mac(direction), &parcels)?;
                let ticks = watch.over(|| pipeline.pass(direction, &mut traffic.slots))?;
                Ok(ticks as f64 / BUFFERS as f64)
            })?;
        }
        Ok(round)
    })
}

/// Packets for mobile nodes drawn uniformly at random out of the first `sas`.
pub(crate) fn draw(
    dice: &mut ChaCha8Rng,
    sas: u32,
    inner_len: usize,
) -> Result<Vec<Parcel>, Fault> {
    let station = |number| Station::new(number, SUITE);
    (0..BUFFERS)
        .map(|_| Ok(Parcel { station: station(dice.next_u32() % sas)?, inner_len }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_lab;

    #[test]
    fn memory_and_ratios_are_of_the_numbers_that_were_asked_for() {
        with_lab(|lab| {
            let mut rows = Rows::new();
            super::rows(lab, &[20_000], &[64, 576], Duration::from_millis(800), &mut rows);
            let [memory, ways @ ..] = &rows.0[..] else { panic!("no rows") };
            // An SA and its binding can't be smaller than their keys, nor have they ever been
            // larger than this.
            assert!((0.25..4.0).contains(&memory.ratio.unwrap()), "{memory:?}");
            assert_eq!(ways.len(), 4);
            for row in ways {
                assert_eq!((row.sas, row.target), (Some(20_000), None));
                assert!(row.ratio.is_some_and(|ratio| ratio > 0.0), "{row:?}");
            }
        });
    }
}
