//! One row of efficiency: the pipeline against raw ipsec-mb, on the same buffers, in turns.

use std::time::{Duration, Instant};

use hearth_dpdk::{Eal, Mbuf, Mempool, MultiBuffer};
use hearth_wire::suite::ICV_LEN;
use hearth_wire::{SeqNo, Suite};
use serde::Serialize;

use crate::buffers::{self, BUFFERS, Slots};
use crate::cycles;
use crate::fault::Fault;
use crate::frames::{self, Act, Direction, OUTER_LEN, Station};
use crate::keys::Schedules;
use crate::pipeline::{Pipeline, max_job_age_us};
use crate::raw::{Api, Raw};
use hearth_wire::frame::FrameHeader;
use hearth_wire::ip::EthernetHeader;

/// Undisturbed pairs that a median needs at least.
const LEAST_PAIRS: usize = 7;
/// Pairs after which a row is done before its time.
const MOST_PAIRS: usize = 101;
/// How much longer than planned a row may take on a busy machine.
const PATIENCE: u32 = 3;

/// What a row measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) suite: Suite,
    pub(crate) direction: Direction,
    pub(crate) inner_bytes: usize,
}

/// One measurement of both sides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    /// By [`Api`], cycles per packet.
    raw: [f64; 2],
    pipeline: f64,
}

/// What came out of all pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Efficiency {
    pub(crate) cycles_per_packet: f64,
    pub(crate) reference_cycles_per_packet: f64,
    pub(crate) reference_api: Api,
    pub(crate) ratio: f64,
    /// First and third quartile of the pairs' ratios.
    pub(crate) ratio_quartiles: [f64; 2],
    pub(crate) pairs: usize,
    /// Pairs during which the kernel took the core away.
    pub(crate) disturbed_pairs: usize,
    /// Whether those were left out. They are not where too few others are there.
    pub(crate) disturbed_left_out: bool,
}

/// Both sides and what they work on.
struct Bench<'k, 'p> {
    case: Case,
    station: Station,
    next_seq: u32,
    /// Whether the kernel took the core away during a timed part.
    preempted: bool,
    keys: &'k Schedules,
    raw: Raw<'k>,
    pipeline: &'p mut Pipeline,
    slots: Slots,
    inner: Vec<Vec<u8>>,
}

/// Measures a row in about `time`.
pub(crate) fn measure(
    eal: &Eal,
    pool: &Mempool,
    name: &str,
    case: Case,
    time: Duration,
) -> Result<Efficiency, Fault> {
    let station = Station::new(1, case.suite)?;
    let mut pipeline = Pipeline::new(eal, pool, name, &[station])?;
    let keys = Schedules::expand(&MultiBuffer::new()?, &station, case.direction)?;
    let mut bench = Bench::new(case, station, &keys, &mut pipeline)?;
    bench.check_everything()?;
    let start = Instant::now();
    let (mut pairs, mut disturbed) = (Vec::new(), Vec::new());
    while pairs.len() < MOST_PAIRS
        && (start.elapsed() < time
            || pairs.len() < LEAST_PAIRS && start.elapsed() < time * PATIENCE)
    {
        bench.preempted = false;
        let pair = bench.pair()?;
        if bench.preempted { disturbed.push(pair) } else { pairs.push(pair) }
    }
    let disturbed_pairs = disturbed.len();
    let left_out = pairs.len() >= LEAST_PAIRS;
    if !left_out {
        // A pass of 3DES takes longer than the kernel leaves anybody alone: the median is over all.
        pairs.append(&mut disturbed);
    }
    if pairs.len() < LEAST_PAIRS {
        return Err(Fault::Busy { pairs: pairs.len() });
    }
    Ok(summarise(&pairs, disturbed_pairs, left_out))
}

impl<'k, 'p> Bench<'k, 'p> {
    fn new(
        case: Case,
        station: Station,
        keys: &'k Schedules,
        pipeline: &'p mut Pipeline,
    ) -> Result<Self, Fault> {
        #[expect(clippy::cast_possible_truncation, reason = "some ten thousand ticks")]
        let max_age = (f64::from(max_job_age_us()) * cycles::per_microsecond()) as u64;
        let mut slots = Slots::new();
        buffers::fill(&mut slots, pipeline.pool())?;
        let inner = (0_u32..)
            .take(BUFFERS)
            .map(|number| frames::inner(&station, case.direction, number, case.inner_bytes));
        let inner = inner.collect();
        let raw = Raw::new(max_age)?;
        Ok(Self { case, station, next_seq: 0, preempted: false, keys, raw, pipeline, slots, inner })
    }

    /// Measures both sides once, by both of raw's ways.
    fn pair(&mut self) -> Result<Pair, Fault> {
        let per_packet = |ticks: u64| ticks as f64 / BUFFERS as f64;
        let job = per_packet(self.raw_pass(Api::Job)?);
        let pipeline = per_packet(self.pipeline_pass()?);
        self.check(64)?;
        let burst = per_packet(self.raw_pass(Api::Burst)?);
        Ok(Pair { raw: [job, burst], pipeline })
    }

    /// Sends every packet through the pipeline once and checks each.
    fn check_everything(&mut self) -> Result<(), Fault> {
        self.raw_pass(Api::Burst)?;
        self.pipeline_pass()?;
        self.check(1)
    }

    fn raw_pass(&mut self, api: Api) -> Result<u64, Fault> {
        let Case { suite, direction, inner_bytes } = self.case;
        let (act, offset) = match direction {
            Direction::Uplink => {
                self.prepare_received_envelopes()?;
                (Act::Open, EthernetHeader::LEN + OUTER_LEN)
            }
            Direction::Downlink => {
                self.prepare_unsealed_envelopes()?;
                (Act::Seal, OUTER_LEN)
            }
        };
        let op = frames::operation(self.keys, act, suite, inner_bytes, offset);
        self.timed(|bench| bench.raw.pass(api, &op, &mut bench.slots))
    }

    fn pipeline_pass(&mut self) -> Result<u64, Fault> {
        match self.case.direction {
            Direction::Uplink => self.prepare_received_envelopes()?,
            Direction::Downlink => self.prepare_inner_packets()?,
        }
        self.timed(|bench| bench.pipeline.pass(bench.case.direction, &mut bench.slots))
    }

    fn timed<T>(&mut self, pass: impl FnOnce(&mut Self) -> T) -> T {
        let before = cycles::preemptions();
        let result = pass(self);
        self.preempted |= cycles::preemptions() != before;
        result
    }

    /// Uplink for both sides: sealed packets with numbers never used before, as a port receives
    /// them.
    fn prepare_received_envelopes(&mut self) -> Result<(), Fault> {
        let Case { suite, direction, inner_bytes } = self.case;
        let mac = self.pipeline.ingress_mac(direction);
        for (slot, inner) in self.slots.iter_mut().zip(&self.inner) {
            let packet = frames::envelope(&self.station, direction, SeqNo(self.next_seq), inner);
            self.next_seq += 1;
            let mbuf = slot.as_mut().ok_or(Fault::Pool)?;
            buffers::lay(mbuf, 0, &frames::ethernet(mac, &packet))?;
        }
        let offset = EthernetHeader::LEN + OUTER_LEN;
        let op = frames::operation(self.keys, Act::Seal, suite, inner_bytes, offset);
        self.raw.pass(Api::Job, &op, &mut self.slots)?;
        for mbuf in self.slots.iter_mut().flatten() {
            if let Some(packet) = mbuf.data_mut().get_mut(EthernetHeader::LEN..) {
                frames::seal_udp(packet);
            }
        }
        Ok(())
    }

    /// Downlink for the pipeline: inner packets, as a port receives them.
    fn prepare_inner_packets(&mut self) -> Result<(), Fault> {
        let mac = self.pipeline.ingress_mac(self.case.direction);
        for (slot, inner) in self.slots.iter_mut().zip(&self.inner) {
            let mbuf = slot.as_mut().ok_or(Fault::Pool)?;
            buffers::lay(mbuf, 0, &frames::ethernet(mac, inner))?;
        }
        Ok(())
    }

    /// Downlink for raw: the envelope around the same inner packet at the same place in the
    /// buffer, as the pipeline submits it.
    fn prepare_unsealed_envelopes(&mut self) -> Result<(), Fault> {
        let headers = OUTER_LEN + FrameHeader::LEN + self.case.suite.iv_len();
        let ahead = headers - EthernetHeader::LEN;
        for ((slot, inner), seq) in self.slots.iter_mut().zip(&self.inner).zip(0..) {
            let packet = frames::envelope(&self.station, self.case.direction, SeqNo(seq), inner);
            buffers::lay(slot.as_mut().ok_or(Fault::Pool)?, ahead, &packet)?;
        }
        Ok(())
    }

    /// Compares every `step`th packet that came out of the pipeline with what it has to be.
    fn check(&mut self, step: usize) -> Result<(), Fault> {
        if self.case.direction == Direction::Downlink {
            let Case { suite, inner_bytes, .. } = self.case;
            let offset = EthernetHeader::LEN + OUTER_LEN;
            let op = frames::operation(self.keys, Act::Open, suite, inner_bytes, offset);
            self.raw.pass(Api::Job, &op, &mut self.slots)?;
        }
        let packets = self.slots.iter().flatten().zip(&self.inner).enumerate();
        for (number, (mbuf, inner)) in packets.step_by(step) {
            if !self.is_right(mbuf, inner) {
                return Err(Fault::Content(number));
            }
        }
        Ok(())
    }

    /// Whether a packet is the inner packet with one hop less; out of its envelope, in downlink.
    fn is_right(&self, mbuf: &Mbuf, inner: &[u8]) -> bool {
        let mut expected = inner.to_vec();
        if let Some(hop_limit) = expected.get_mut(7) {
            *hop_limit -= 1;
        }
        let data = mbuf.data();
        let packet = data.get(EthernetHeader::LEN..).unwrap_or_default();
        match self.case.direction {
            Direction::Uplink => packet == expected,
            Direction::Downlink => {
                let start = OUTER_LEN + FrameHeader::LEN + self.case.suite.iv_len();
                data.last_chunk::<ICV_LEN>() == Some(mbuf.meta::<[u8; ICV_LEN]>())
                    && packet.get(start..start + expected.len()) == Some(&expected[..])
            }
        }
    }
}

/// Medians over the pairs, with the better of raw's two ways.
fn summarise(pairs: &[Pair], disturbed_pairs: usize, disturbed_left_out: bool) -> Efficiency {
    let of = |select: &dyn Fn(&Pair) -> f64| pairs.iter().map(select).collect::<Vec<_>>();
    let raw = [0, 1].map(|api| quantile(of(&|pair| pair.raw[api]), 0.5));
    let (api, reference_api) = if raw[0] <= raw[1] { (0, Api::Job) } else { (1, Api::Burst) };
    let ratios = of(&|pair| pair.raw[api] / pair.pipeline);
    Efficiency {
        cycles_per_packet: quantile(of(&|pair| pair.pipeline), 0.5),
        reference_cycles_per_packet: raw[api],
        reference_api,
        ratio: quantile(ratios.clone(), 0.5),
        ratio_quartiles: [quantile(ratios.clone(), 0.25), quantile(ratios, 0.75)],
        pairs: pairs.len(),
        disturbed_pairs,
        disturbed_left_out,
    }
}

/// The value below which this part of the values lies, between neighbours where it falls there.
fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = part * values.len().saturating_sub(1) as f64;
    #[expect(clippy::cast_possible_truncation, reason = "within the number of values")]
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => f64::NAN,
    }
}

#[cfg(test)]
#[path = "efficiency_tests.rs"]
mod tests;
