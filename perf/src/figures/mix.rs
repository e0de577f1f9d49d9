//! `mix`: all suites in each burst ÷ what runs of a single suite predict.
//!
//! A mixed packet should cost the mean of what a packet of each suite costs alone: lanes are full
//! in both. Jobs ride, in both, for as long as the worker lets them.

use std::time::Duration;

use hearth_wire::Suite;

use crate::buffers::BUFFERS;
use crate::fault::Fault;
use crate::figures::Rows;
use crate::frames::{Direction, Station};
use crate::lab::Lab;
use crate::pipeline::Pipeline;
use crate::report::{Row, Target};
use crate::stats::{Round, Rounds, alternate, undisturbed};
use crate::traffic::{Parcel, Traffic};

/// Suites that are mixed, and what that has to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// The suites of RFC 6618 but for 3DES.
    WithoutTripleDes,
    /// All suites of RFC 6618.
    WithTripleDes,
}

impl Set {
    /// Both.
    pub(crate) const BOTH: [Self; 2] = [Self::WithoutTripleDes, Self::WithTripleDes];

    const fn name(self) -> &'static str {
        match self {
            Self::WithoutTripleDes => "without 3DES",
            Self::WithTripleDes => "with 3DES",
        }
    }

    const fn target(self) -> Target {
        match self {
            Self::WithoutTripleDes => Target::at_least(0.75, 0.90),
            Self::WithTripleDes => Target::at_least(0.70, 0.85),
        }
    }

    fn suites(self) -> Vec<Suite> {
        let all = Suite::ALL.into_iter();
        all.filter(|suite| self == Self::WithTripleDes || *suite != Suite::TripleDesEdeCbcSha)
            .collect()
    }
}

/// Measures these sizes in about `time` a row.
pub(crate) fn rows(lab: &Lab, sizes: &[usize], time: Duration, rows: &mut Rows) {
    for set in Set::BOTH {
        for &inner_bytes in sizes {
            for direction in Direction::BOTH {
                let mut row = Row::new("mix", "the same suites one by one, cycles added up")
                    .with("set", set.name())
                    .asked(Some(set.target()));
                row.direction = Some(direction);
                row.inner_bytes = Some(inner_bytes);
                rows.push(match measure(lab, set, direction, inner_bytes, time) {
                    Ok(rounds) => {
                        let ratio = rounds.ratio(|round| predicted(round) / mixed(round));
                        row.cycles(rounds.median(mixed), rounds.median(predicted)).measured(&ratio)
                    }
                    Err(fault) => row.failed(fault),
                });
            }
        }
    }
}

/// The last side is the mixed one.
fn mixed(round: &[f64]) -> f64 {
    round.last().copied().unwrap_or(f64::NAN)
}

/// The mean over the single suites.
fn predicted(round: &[f64]) -> f64 {
    round.split_last().map_or(f64::NAN, |(_, alone)| alone.iter().sum::<f64>() / alone.len() as f64)
}

/// Cycles per packet of each suite alone, then of all together.
fn measure(
    lab: &Lab,
    set: Set,
    direction: Direction,
    inner_len: usize,
    time: Duration,
) -> Result<Rounds, Fault> {
    let numbered = set.suites().into_iter().zip(1..);
    let stations = numbered
        .map(|(suite, number)| Station::new(number, suite))
        .collect::<Result<Vec<_>, _>>()?;
    let mut pipeline = Pipeline::new(&lab.eal, &lab.pool, &lab.name(), &stations)?;
    let mac = pipeline.ingress_mac(direction);
    let mut traffic = Traffic::new(&lab.pool);
    let parcels: Vec<_> =
        stations.into_iter().map(|station| Parcel { station, inner_len }).collect();
    let sides: Vec<&[Parcel]> = parcels.chunks(1).chain([&parcels[..]]).collect();
    alternate(time, || {
        let mut round = Round::default();
        for side in &sides {
            undisturbed(&mut round, |watch| {
                traffic.prepare(direction, mac, side)?;
                let ticks = watch.over(|| pipeline.pass(direction, &mut traffic.slots))?;
                Ok(ticks as f64 / BUFFERS as f64)
            })?;
        }
        Ok(round)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prediction_is_the_mean_of_the_single_suites() {
        let round = [100.0, 200.0, 600.0, 400.0];
        assert_eq!((predicted(&round), mixed(&round)), (300.0, 400.0));
        assert_eq!(Set::WithTripleDes.suites().len(), 5);
        assert!(!Set::WithoutTripleDes.suites().contains(&Suite::TripleDesEdeCbcSha));
    }
}
