//! `raw`: ipsec-mb alone, suites × sizes. No packet work at all.

use std::time::Duration;

use hearth_dpdk::MultiBuffer;
use hearth_wire::ip::EthernetHeader;
use hearth_wire::{SeqNo, Suite};

use crate::buffers::{self, BUFFERS, Slots};
use crate::cycles;
use crate::fault::Fault;
use crate::figures::Rows;
use crate::frames::{self, Act, Direction, OUTER_LEN, Station};
use crate::keys::Schedules;
use crate::lab::Lab;
use crate::raw::{Api, Raw};
use crate::report::Row;
use crate::rig;
use crate::stats::{Round, Rounds, Watch, alternate};

/// Inner sizes of the table, in octets.
const SIZES: [usize; 4] = [64, 128, 576, 1400];

/// How much more time the rows of 3DES get.
const SLOW: u32 = 5;

/// Measures the whole table in about `time`.
pub(crate) fn rows(lab: &Lab, time: Duration, rows: &mut Rows) {
    let count = (Suite::known().count() + SLOW as usize) * SIZES.len() * Direction::BOTH.len();
    let usual = time / u32::try_from(count).unwrap_or(u32::MAX);
    for suite in Suite::known() {
        let time = if suite == Suite::TripleDesEdeCbcSha { usual * SLOW } else { usual };
        for inner_bytes in SIZES {
            for direction in Direction::BOTH {
                let row = Row::new("raw", "the better of job and burst API").of(
                    suite,
                    direction,
                    inner_bytes,
                );
                rows.push(match measure(lab, suite, direction, inner_bytes, time) {
                    Ok(rounds) => {
                        let (job, burst) = (rounds.side(0), rounds.side(1));
                        let ratio = rounds.ratio(|round| match round {
                            [job, burst] => job.min(*burst) / job,
                            _ => f64::NAN,
                        });
                        row.cycles(job, job.min(burst)).measured(&ratio)
                    }
                    Err(fault) => row.failed(fault),
                });
            }
        }
    }
}

/// Cycles per packet by the job API and by the burst API.
fn measure(
    lab: &Lab,
    suite: Suite,
    direction: Direction,
    inner_bytes: usize,
    time: Duration,
) -> Result<Rounds, Fault> {
    let station = Station::new(1, suite)?;
    let keys = Schedules::expand(&MultiBuffer::new()?, &station, direction)?;
    #[expect(clippy::cast_possible_truncation, reason = "some ten thousand ticks")]
    let max_age = (f64::from(rig::max_job_age_us()) * cycles::per_microsecond()) as u64;
    let mut raw = Raw::new(max_age)?;
    let mut slots = Slots::new();
    buffers::fill(&mut slots, &lab.pool)?;
    let offset = EthernetHeader::LEN + OUTER_LEN;
    let act = match direction {
        Direction::Uplink => Act::Open,
        Direction::Downlink => Act::Seal,
    };
    let op = frames::operation(&keys, act, suite, inner_bytes, offset);
    // What is decrypted need not be ciphertext: crypto takes the same time for any octets.
    let inner = frames::inner(&station, direction, 1, inner_bytes);
    let packet = frames::envelope(&station, direction, SeqNo(0), &inner);
    for slot in slots.iter_mut() {
        let mbuf = slot.as_mut().ok_or(Fault::Pool)?;
        buffers::lay(mbuf, 0, &frames::ethernet([0; 6], &packet))?;
        frames::lay_nonce(&keys, offset, mbuf);
    }
    alternate(time, || {
        let mut watch = Watch::default();
        let mut pass = |api| -> Result<f64, Fault> {
            Ok(watch.over(|| raw.pass(api, &op, &mut slots))? as f64 / BUFFERS as f64)
        };
        let values = vec![pass(Api::Job)?, pass(Api::Burst)?];
        Ok(Round { values, disturbed: watch.disturbed })
    })
}
