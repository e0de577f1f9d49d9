//! `pipeline`: a worker's turns on prepared mbufs, cycles per packet and drops.
//!
//! Beside good packets it measures those that a flood brings, which end at a stage: what a stage
//! costs is the difference between the rows of two neighbours.

use std::time::Duration;

use hearth_wire::Suite;
use hearth_wire::ip::EthernetHeader;

use crate::buffers::{self, BUFFERS};
use crate::fault::Fault;
use crate::figures::{Rows, SIZES};
use crate::frames::{Direction, OUTER_LEN, Station};
use crate::lab::Lab;
use crate::pipeline::Pipeline;
use crate::report::Row;
use crate::stats::{Round, Watch, alternate};
use crate::traffic::{Parcel, Traffic};

/// What is wrong with the packets of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    UnknownSpi,
    Replayed,
    BadIcv,
    Truncated,
}

impl Kind {
    const BAD: [Self; 4] = [Self::UnknownSpi, Self::Truncated, Self::Replayed, Self::BadIcv];

    const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::UnknownSpi => "unknown SPI",
            Self::Replayed => "replayed",
            Self::BadIcv => "bad ICV",
            Self::Truncated => "truncated",
        }
    }
}

/// Measures every suite and size in about `time`.
pub(crate) fn rows(lab: &Lab, time: Duration, rows: &mut Rows) {
    let count = Suite::known().count() * SIZES.len() * Direction::BOTH.len();
    let each = time / u32::try_from(count + SIZES.len()).unwrap_or(u32::MAX);
    for suite in Suite::known() {
        for inner_bytes in SIZES {
            for direction in Direction::BOTH {
                rows.push(good_row(lab, suite, direction, inner_bytes, each));
            }
        }
    }
    floods(lab, each, rows);
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
        let mut traffic = Traffic::new(&lab.pool)?;
        let parcel = Parcel { station, inner_len: inner_bytes };
        let mut dropped = 0_u64;
        let rounds = alternate(time, || {
            let mut watch = Watch::default();
            traffic.prepare(direction, pipeline.ingress_mac(direction), &[parcel])?;
            let passed = watch.over(|| pipeline.run(direction, &mut traffic.slots))?;
            dropped += (passed.sent - passed.received) as u64;
            buffers::fill(&mut traffic.slots, &lab.pool)?;
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

/// Rows of packets that are not let through, against a good packet of the same size.
pub(crate) fn floods(lab: &Lab, time: Duration, rows: &mut Rows) {
    let suite = Suite::Aes128CbcSha;
    for inner_bytes in SIZES {
        let row = |kind: Kind| {
            Row::new("flood", "a good packet")
                .of(suite, Direction::Uplink, inner_bytes)
                .with("what", kind.name())
        };
        match flood(lab, suite, inner_bytes, time) {
            Ok(rounds) => {
                for (place, kind) in Kind::BAD.into_iter().enumerate() {
                    let side = place + 1;
                    let ratio = rounds.quotient(side, 0);
                    rows.push(row(kind).cycles(rounds.side(side), rounds.side(0)).measured(&ratio));
                }
            }
            Err(fault) => Kind::BAD.into_iter().for_each(|kind| rows.push(row(kind).failed(fault))),
        }
    }
}

/// Cycles per packet of good packets, then of each bad kind.
fn flood(
    lab: &Lab,
    suite: Suite,
    inner_len: usize,
    time: Duration,
) -> Result<crate::stats::Rounds, Fault> {
    let station = Station::new(1, suite)?;
    let stranger = Station::new(2, suite)?;
    let mut pipeline = Pipeline::new(&lab.eal, &lab.pool, &lab.name(), &[station])?;
    let mac = pipeline.ingress_mac(Direction::Uplink);
    let mut traffic = Traffic::new(&lab.pool)?;
    alternate(time, || {
        let mut watch = Watch::default();
        let mut values = Vec::new();
        for kind in [Kind::Good].into_iter().chain(Kind::BAD) {
            let sender = if kind == Kind::UnknownSpi { stranger } else { station };
            traffic.prepare(Direction::Uplink, mac, &[Parcel { station: sender, inner_len }])?;
            if kind == Kind::Replayed {
                replay(&mut pipeline, &mut traffic, lab)?;
            }
            spoil(kind, &mut traffic)?;
            let passed = watch.over(|| pipeline.run(Direction::Uplink, &mut traffic.slots))?;
            let expected = if kind == Kind::Good { BUFFERS } else { 0 };
            if passed.received != expected {
                return Err(pipeline.rig.lost(passed.sent, passed.received));
            }
            values.push(passed.ticks as f64 / BUFFERS as f64);
            buffers::fill(&mut traffic.slots, &lab.pool)?;
        }
        Ok(Round { values, disturbed: watch.disturbed })
    })
}

/// Sends the packets through and lays them into the buffers again, as they were.
fn replay(pipeline: &mut Pipeline, traffic: &mut Traffic, lab: &Lab) -> Result<(), Fault> {
    let copies: Vec<_> = traffic.slots.iter().flatten().map(|mbuf| mbuf.data().to_vec()).collect();
    pipeline.pass(Direction::Uplink, &mut traffic.slots)?;
    buffers::fill(&mut traffic.slots, &lab.pool)?;
    for (slot, copy) in traffic.slots.iter_mut().zip(&copies) {
        buffers::lay(slot.as_mut().ok_or(Fault::Pool)?, 0, copy)?;
    }
    Ok(())
}

fn spoil(kind: Kind, traffic: &mut Traffic) -> Result<(), Fault> {
    let frame = EthernetHeader::LEN + OUTER_LEN;
    for mbuf in traffic.slots.iter_mut().flatten() {
        match kind {
            Kind::Good | Kind::UnknownSpi | Kind::Replayed => {}
            Kind::BadIcv => {
                let last = mbuf.len().saturating_sub(1);
                *mbuf.data_mut().get_mut(last).ok_or(Fault::Room)? ^= 1;
            }
            Kind::Truncated => {
                let cut = mbuf.len().saturating_sub(frame + 6);
                mbuf.trim(cut).ok_or(Fault::Room)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_lab;
    use hearth_dataplane::DropReason;

    /// If a flood were stopped elsewhere, its row would say nothing of the stage.
    #[test]
    fn every_bad_kind_ends_at_its_stage() {
        let station = Station::new(1, Suite::Aes128CbcSha).unwrap();
        let stranger = Station::new(2, Suite::Aes128CbcSha).unwrap();
        with_lab(|lab| {
            let mut pipeline = Pipeline::new(&lab.eal, &lab.pool, &lab.name(), &[station]).unwrap();
            let mac = pipeline.ingress_mac(Direction::Uplink);
            let mut traffic = Traffic::new(&lab.pool).unwrap();
            for (kind, reason) in [
                (Kind::UnknownSpi, DropReason::SpiUnknown),
                (Kind::Truncated, DropReason::IpLengthBeyondData),
                // The first of them are behind the window already.
                (Kind::Replayed, DropReason::ReplayTooOld),
                (Kind::BadIcv, DropReason::IcvMismatch),
            ] {
                let sender = if kind == Kind::UnknownSpi { stranger } else { station };
                let parcel = Parcel { station: sender, inner_len: 64 };
                traffic.prepare(Direction::Uplink, mac, &[parcel]).unwrap();
                if kind == Kind::Replayed {
                    replay(&mut pipeline, &mut traffic, lab).unwrap();
                }
                spoil(kind, &mut traffic).unwrap();
                let before = pipeline.rig.counters.snapshot().dropped(reason);
                let passed = pipeline.run(Direction::Uplink, &mut traffic.slots).unwrap();
                assert_eq!((passed.sent, passed.received), (BUFFERS, 0), "{kind:?}");
                let after = pipeline.rig.counters.snapshot();
                let replayed = after.dropped(DropReason::Replayed);
                let dropped = after.dropped(reason) - before;
                match kind {
                    Kind::Replayed => assert_eq!((dropped, replayed), (3072, 1024)),
                    _ => assert_eq!(dropped, BUFFERS as u64, "{kind:?}"),
                }
                buffers::fill(&mut traffic.slots, &lab.pool).unwrap();
            }
        });
    }
}
