//! `flood`, `flooded`: packets that are not let through, alone and ten to each good one.
//!
//! Alone: what one costs ÷ what a good packet costs. In the same bursts as good packets: what both
//! cost apart, and the cryptography that a wrong ICV forces, ÷ what they cost together. Below 1 the
//! good packets pay for the flood beyond that.

use std::time::Duration;

use hearth_dpdk::{Cipher, MultiBuffer, Op};
use hearth_wire::Suite;
use hearth_wire::ip::EthernetHeader;

use crate::buffers::{self, BUFFERS, Slots};
use crate::cycles;
use crate::fault::Fault;
use crate::figures::{Rows, SIZES};
use crate::frames::{self, Act, Direction, OUTER_LEN, Station};
use crate::keys::Schedules;
use crate::lab::Lab;
use crate::pipeline::{self, Pipeline};
use crate::raw::{Api, Raw};
use crate::report::{Row, Target, rounded};
use crate::rig;
use crate::stages::{self, Ending};
use crate::stats::{Round, Rounds, Watch, alternate, undisturbed};
use crate::traffic::{Parcel, Traffic};

const SUITE: Suite = Suite::Aes128CbcSha;
/// What a flood may bring.
const FLOODS: [Ending; 4] =
    [Ending::UnknownSpi, Ending::Truncated, Ending::Replayed, Ending::BadIcv];
/// Packets of a flood to each good one.
const TIMES: usize = 10;
/// Whoever sends invented SPIs gets less of the worker's time than whoever sends good packets.
const UNKNOWN_SPI: Target = Target { must: 1.0, aim: None, at_most: true };
/// As much as for mixed suites is left for what the prediction leaves out: it takes the good packets
/// as they come in full bursts, and in a burst of which three are good these can't share as much.
const FLOODED: Target = Target { must: 0.75, aim: None, at_most: false };

/// What the packets of a pass are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    Good,
    Flood,
    /// Ten of the flood to each good one, in this order.
    Both,
}

impl Share {
    /// Whether the packet at this place is a good one.
    const fn is_good(self, place: usize) -> bool {
        match self {
            Self::Good => true,
            Self::Flood => false,
            Self::Both => place.is_multiple_of(TIMES + 1),
        }
    }
}

/// Measures every flood at every size, in about `time` each.
pub(crate) fn rows(lab: &Lab, time: Duration, rows: &mut Rows) {
    for inner_bytes in SIZES {
        for ending in FLOODS {
            let row = |name, reference| {
                Row::new(name, reference)
                    .of(SUITE, Direction::Uplink, inner_bytes)
                    .with("what", ending.name())
            };
            let unknown = (ending == Ending::UnknownSpi).then_some(UNKNOWN_SPI);
            let alone = row("flood", "a good packet").asked(unknown);
            let reference = "a good packet and ten of the flood apart, and the crypto they force";
            let both = row("flooded", reference).asked(Some(FLOODED));
            match measure(lab, ending, inner_bytes, time) {
                Ok(rounds) => {
                    rows.push(
                        alone
                            .cycles(rounds.side(FLOOD), rounds.side(GOOD))
                            .measured(&rounds.quotient(FLOOD, GOOD)),
                    );
                    rows.push(filled(both, ending, &rounds));
                }
                Err(fault) => {
                    rows.push(alone.failed(fault));
                    rows.push(both.failed(fault));
                }
            }
        }
    }
}

/// Sides of a round: cycles of a packet.
const GOOD: usize = 0;
const FLOOD: usize = 1;
/// Of a good packet together with its ten.
const BOTH: usize = 2;
/// Of one that ends in front of the cryptography.
const BEFORE_CRYPTO: usize = 3;
/// Of ipsec-mb's job for it alone: authentication and decryption, for which it has no other way
/// than both at once.
const JOB: usize = 4;
/// Of the authentication in it.
const AUTHENTICATION: usize = 5;

fn at(round: &[f64], side: usize) -> f64 {
    round.get(side).copied().unwrap_or(f64::NAN)
}

/// What a packet of the flood may cost: being told from a good one, and the cryptography that it
/// takes to see a wrong ICV.
fn allowed(ending: Ending, round: &[f64]) -> f64 {
    match ending {
        Ending::BadIcv => at(round, BEFORE_CRYPTO) + at(round, JOB),
        _ => at(round, FLOOD),
    }
}

/// What a good packet and its ten cost apart.
fn predicted(ending: Ending, round: &[f64]) -> f64 {
    at(round, GOOD) + of_flood(ending, round)
}

/// What the ten may cost.
fn of_flood(ending: Ending, round: &[f64]) -> f64 {
    TIMES as f64 * allowed(ending, round)
}

fn filled(row: Row, ending: Ending, rounds: &Rounds) -> Row {
    let ratio = rounds.ratio(|round| predicted(ending, round) / at(round, BOTH));
    let cycles = |of: &dyn Fn(&[f64]) -> f64| rounded(rounds.median(of), 1);
    let row = row
        .cycles(rounds.side(BOTH), rounds.median(|round| predicted(ending, round)))
        .measured(&ratio)
        .with("good_cycles", cycles(&|round| at(round, GOOD)))
        .with("good_cycles_flooded", cycles(&|round| at(round, BOTH) - of_flood(ending, round)))
        .with("flood_cycles", cycles(&|round| at(round, FLOOD)))
        .with("allowed_cycles", cycles(&|round| allowed(ending, round)));
    if ending == Ending::BadIcv {
        row.with("job_cycles", cycles(&|round| at(round, JOB)))
            .with("authentication_cycles", cycles(&|round| at(round, AUTHENTICATION)))
    } else {
        row
    }
}

fn measure(lab: &Lab, ending: Ending, inner_len: usize, time: Duration) -> Result<Rounds, Fault> {
    let (station, stranger) = (Station::new(1, SUITE)?, Station::new(2, SUITE)?);
    let keys = Schedules::expand(&MultiBuffer::new()?, &station, Direction::Uplink)?;
    let mut forced = Forced::new(lab, &keys, &station, inner_len)?;
    let mut field = Field {
        pipeline: Pipeline::new(&lab.eal, &lab.pool, &lab.name(), &[station])?,
        traffic: Traffic::new(&lab.pool),
        inner_len,
        station,
        stranger,
    };
    alternate(time, || {
        let mut round = Round::default();
        for (share, ending) in
            [(Share::Good, ending), (Share::Flood, ending), (Share::Both, ending)]
        {
            undisturbed(&mut round, |watch| field.pass(share, ending, watch))?;
        }
        if ending == Ending::BadIcv {
            undisturbed(&mut round, |watch| field.pass(Share::Flood, Ending::Replayed, watch))?;
            let Forced { raw, job, authentication, slots } = &mut forced;
            for op in [job, authentication] {
                undisturbed(&mut round, |watch| better(raw, op, slots, watch))?;
            }
        }
        Ok(round)
    })
}

/// Sends passes of good packets, of a flood, of both.
struct Field {
    pipeline: Pipeline,
    traffic: Traffic,
    inner_len: usize,
    station: Station,
    stranger: Station,
}

impl Field {
    /// One pass: the ticks of a packet; of a good one with its ten where there are both.
    fn pass(&mut self, share: Share, ending: Ending, watch: &mut Watch) -> Result<f64, Fault> {
        let mac = self.pipeline.ingress_mac(Direction::Uplink);
        let parcels: Vec<_> = (0..if share == Share::Both { TIMES + 1 } else { 1 })
            .map(|place| self.parcel(share.is_good(place) || ending != Ending::UnknownSpi))
            .collect();
        let old = if ending == Ending::Replayed { self.accepted()? } else { Vec::new() };
        self.traffic.prepare(Direction::Uplink, mac, &parcels)?;
        let mut good = 0;
        for (place, slot) in self.traffic.slots.iter_mut().enumerate() {
            let mbuf = slot.as_mut().ok_or(Fault::Pool)?;
            if share.is_good(place) {
                good += 1;
            } else if let Some(copy) = old.get(place) {
                buffers::lay(mbuf, 0, copy)?;
            } else {
                stages::spoil(ending, mbuf)?;
            }
        }
        let slots = &mut self.traffic.slots;
        let passed = watch.over(|| self.pipeline.run(Direction::Uplink, slots))?;
        if passed.received != good {
            return Err(self.pipeline.rig.lost(good, passed.received));
        }
        // Other rows need the buffers, too.
        self.traffic.slots.clear();
        let count = if share == Share::Both { good } else { BUFFERS };
        Ok(passed.ticks as f64 / count as f64)
    }

    fn parcel(&self, known: bool) -> Parcel {
        let station = if known { self.station } else { self.stranger };
        Parcel { station, inner_len: self.inner_len }
    }

    /// Packets that were let through, as they came.
    fn accepted(&mut self) -> Result<Vec<Vec<u8>>, Fault> {
        let mac = self.pipeline.ingress_mac(Direction::Uplink);
        self.traffic.prepare(Direction::Uplink, mac, &[self.parcel(true)])?;
        let slots = &mut self.traffic.slots;
        let copies = slots.iter().flatten().map(|mbuf| mbuf.data().to_vec()).collect();
        self.pipeline.pass(Direction::Uplink, slots)?;
        Ok(copies)
    }
}

/// ipsec-mb alone with packets like those of a flood.
struct Forced<'k> {
    raw: Raw<'k>,
    job: Op<'k>,
    authentication: Op<'k>,
    slots: Slots,
}

/// Ticks of a packet by the better of both ways to submit.
fn better<'k>(
    raw: &mut Raw<'k>,
    op: &Op<'k>,
    slots: &mut Slots,
    watch: &mut Watch,
) -> Result<f64, Fault> {
    let mut pass = |api| watch.over(|| raw.pass(api, op, slots));
    let ticks = pass(Api::Job)?.min(pass(Api::Burst)?);
    Ok(ticks as f64 / BUFFERS as f64)
}

impl<'k> Forced<'k> {
    fn new(
        lab: &Lab,
        keys: &'k Schedules,
        station: &Station,
        inner_len: usize,
    ) -> Result<Self, Fault> {
        let offset = EthernetHeader::LEN + OUTER_LEN;
        let job = frames::operation(keys, Act::Open, SUITE, inner_len, offset);
        let authentication = Op { cipher: Cipher::Null, cipher_len: 0, ..job };
        #[expect(clippy::cast_possible_truncation, reason = "some ten thousand ticks")]
        let max_age = (f64::from(rig::max_job_age_us()) * cycles::per_microsecond()) as u64;
        let inner = frames::inner(station, Direction::Uplink, 1, inner_len);
        let seq = hearth_wire::SeqNo(0);
        let packet = frames::envelope(station, Direction::Uplink, seq, &inner);
        // Buffers of its own. Whether they hold ciphertext makes no difference to ipsec-mb.
        let name = format!("{}_raw", lab.name());
        let count = u32::try_from(2 * BUFFERS - 1).unwrap_or(u32::MAX);
        let pool = pipeline::pool_of(&lab.eal, &name, count)?;
        let mut slots = Slots::new();
        buffers::fill(&mut slots, &pool)?;
        for mbuf in slots.iter_mut().flatten() {
            buffers::lay(mbuf, 0, &frames::ethernet([0; 6], &packet))?;
        }
        Ok(Self { raw: Raw::new(max_age)?, job, authentication, slots })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_lab;
    use hearth_dataplane::DropReason;

    #[test]
    fn a_flood_ends_where_it_should_and_every_eleventh_packet_is_let_through() {
        for (ending, reasons) in [
            (Ending::UnknownSpi, [DropReason::SpiUnknown, DropReason::SpiUnknown]),
            (Ending::Truncated, [DropReason::IpLengthBeyondData, DropReason::IpLengthBeyondData]),
            (Ending::Replayed, [DropReason::Replayed, DropReason::ReplayTooOld]),
            (Ending::BadIcv, [DropReason::IcvMismatch, DropReason::IcvMismatch]),
        ] {
            with_lab(|lab| {
                let station = Station::new(1, SUITE).unwrap();
                let mut field = Field {
                    pipeline: Pipeline::new(&lab.eal, &lab.pool, &lab.name(), &[station]).unwrap(),
                    traffic: Traffic::new(&lab.pool),
                    inner_len: 64,
                    station,
                    stranger: Station::new(2, SUITE).unwrap(),
                };
                for share in [Share::Good, Share::Flood, Share::Both] {
                    field.pass(share, ending, &mut Watch::default()).unwrap();
                }
                let counters = field.pipeline.rig.counters.snapshot();
                let [one, other] = reasons.map(|reason| counters.dropped(reason));
                let dropped = if reasons[0] == reasons[1] { one } else { one + other };
                let good = BUFFERS.div_ceil(TIMES + 1);
                assert_eq!(dropped, (2 * BUFFERS - good) as u64, "{ending:?}");
                assert_eq!(counters.dropped_total(), dropped, "{ending:?}");
            });
        }
    }

    #[test]
    fn a_wrong_icv_may_cost_its_cryptography_and_no_other_flood_may() {
        let round = [200.0, 250.0, 2000.0, 40.0, 100.0, 70.0];
        assert_eq!(predicted(Ending::BadIcv, &round), 1600.0);
        assert_eq!(predicted(Ending::UnknownSpi, &round), 2700.0);
    }
}
