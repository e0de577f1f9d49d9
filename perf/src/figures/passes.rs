//! `pipeline`: a worker's turns on prepared mbufs, cycles per packet and drops.
//!
//! Beside good packets it measures those that end at a stage, and from these what each stage takes of
//! a turn.

use std::time::Duration;

use hearth_wire::Suite;

use crate::fault::Fault;
use crate::figures::{Rows, SIZES};
use crate::frames::{Direction, Station};
use crate::lab::Lab;
use crate::pipeline::Pipeline;
use crate::report::Row;
use crate::stages::{self, Ending, Walk};
use crate::stats::{Round, Rounds, Watch, alternate, undisturbed};
use crate::traffic::{Parcel, Traffic};

/// The suite of stages.
const SUITE: Suite = Suite::Aes128CbcSha;
/// How much more time the rows of 3DES get.
const SLOW: u32 = 5;

/// Measures every suite and size in about `time`.
pub(crate) fn rows(lab: &Lab, time: Duration, rows: &mut Rows) {
    let count = (Suite::known().count() + SLOW as usize) * SIZES.len() * Direction::BOTH.len();
    let usual = time / u32::try_from(count).unwrap_or(u32::MAX);
    for suite in Suite::known() {
        let each = if suite == Suite::TripleDesEdeCbcSha { usual * SLOW } else { usual };
        for inner_bytes in SIZES {
            for direction in Direction::BOTH {
                rows.push(good_row(lab, suite, direction, inner_bytes, each));
            }
        }
    }
}

fn good_row(
    lab: &Lab,
    suite: Suite,
    direction: Direction,
    inner_bytes: usize,
    time: Duration,
) -> Row {
    let row = Row::new("pipeline", "packets sent").of(suite, direction, inner_bytes);
    let measure = || {
        let station = Station::new(1, suite)?;
        let mut pipeline = Pipeline::new(&lab.eal, &lab.pool, &lab.name(), &[station])?;
        let mut traffic = Traffic::new(&lab.pool);
        let parcel = Parcel { station, inner_len: inner_bytes };
        let mut dropped = 0_u64;
        let rounds = alternate(time, || {
            let mut watch = Watch::default();
            traffic.prepare(direction, pipeline.ingress_mac(direction), &[parcel])?;
            let passed = watch.over(|| pipeline.run(direction, &mut traffic.slots))?;
            dropped += (passed.sent - passed.received) as u64;
            Ok(Round {
                values: vec![passed.ticks as f64, passed.sent as f64, passed.received as f64],
                disturbed: watch.disturbed,
            })
        })?;
        Ok((rounds, dropped))
    };
    match measure() {
        Ok((rounds, dropped)) => {
            let mut row = row.measured(&rounds.quotient(2, 1)).with("dropped", dropped);
            row.cycles_per_packet = Some(crate::report::rounded(
                rounds.median(|round| match round {
                    [ticks, sent, _] => ticks / sent,
                    _ => f64::NAN,
                }),
                1,
            ));
            row
        }
        Err(fault) => row.failed(fault),
    }
}

/// The cycle budget of a small packet: what each stage takes of a whole turn, and what the parts of
/// stages take for themselves.
pub(crate) fn stages(lab: &Lab, time: Duration, rows: &mut Rows) {
    let ways =
        [(Direction::Uplink, &Ending::UPLINK[..]), (Direction::Downlink, &Ending::DOWNLINK[..])];
    for (direction, endings) in ways {
        let row = |what: &str| {
            Row::new("stage", "the whole of a worker's turn for a packet")
                .of(SUITE, direction, 64)
                .with("what", what)
        };
        let order: Vec<_> = endings.iter().map(|(ending, _)| *ending).collect();
        let found = walk(lab, direction, 64, &order, time);
        let whole = endings.len() - 1;
        for (place, (_, what)) in endings.iter().enumerate() {
            // A packet that goes no further is freed, which one that is sent is not.
            let own = |round: &[f64]| {
                let side = |place: usize| round.get(place).copied().unwrap_or(f64::NAN);
                let at = |place: usize| match endings.get(place) {
                    Some((ending, _)) if !ending.passes() => side(place) - side(endings.len()),
                    _ => side(place),
                };
                at(place) - place.checked_sub(1).map_or(0.0, at)
            };
            rows.push(match &found {
                Ok(rounds) => {
                    let ratio = rounds.ratio(|round| own(round) / last(round, whole));
                    row(what).cycles(rounds.median(own), rounds.side(whole)).measured(&ratio)
                }
                Err(fault) => row(what).failed(*fault),
            });
        }
        parts(lab, direction, found.map(|rounds| rounds.side(whole)), time, rows);
    }
}

fn last(round: &[f64], whole: usize) -> f64 {
    round.get(whole).copied().unwrap_or(f64::NAN)
}

/// Parts of the stages of this direction.
fn parts(
    lab: &Lab,
    direction: Direction,
    whole: Result<f64, Fault>,
    time: Duration,
    rows: &mut Rows,
) {
    let (Ok(whole), Ok(parts)) = (whole, stages::parts(lab, direction)) else { return };
    for mut part in parts {
        let row = Row::new("stage", "the whole of a worker's turn for a packet")
            .of(SUITE, direction, 64)
            .with("what", format!("({})", part.name()));
        let rounds = alternate(time / 8, || {
            let mut round = Round::default();
            undisturbed(&mut round, |watch| watch.over(|| part.measure()))?;
            Ok(round)
        });
        rows.push(match rounds {
            Ok(rounds) => row
                .cycles(rounds.side(0), whole)
                .measured(&rounds.ratio(|round| round.first().unwrap_or(&f64::NAN) / whole)),
            Err(fault) => row.failed(fault),
        });
    }
}

/// Cycles per packet of packets that end so; and of freeing one.
fn walk(
    lab: &Lab,
    direction: Direction,
    inner_len: usize,
    endings: &[Ending],
    time: Duration,
) -> Result<Rounds, Fault> {
    let mut walk = Walk::new(lab, SUITE, direction, inner_len)?;
    alternate(time, || {
        let mut round = Round::default();
        for &ending in endings {
            undisturbed(&mut round, |watch| walk.pass(ending, watch))?;
        }
        undisturbed(&mut round, |watch| walk.free(watch))?;
        Ok(round)
    })
}
