//! One row of efficiency: the pipeline against raw ipsec-mb, on the same buffers, in turns.

use std::time::Duration;

use hearth_dpdk::{Eal, META_SIZE, Mbuf, Mempool, MultiBuffer};
use hearth_wire::ip::EthernetHeader;
use hearth_wire::{SeqNo, Suite};

use crate::buffers::{self, BUFFERS, Slots};
use crate::cycles;
use crate::fault::Fault;
use crate::frames::{self, Act, Direction, OUTER_LEN, Station};
use crate::keys::Schedules;
use crate::pipeline::Pipeline;
use crate::raw::{Api, Raw};
use crate::rig;
use crate::stats::{Ratio, Round, Watch, alternate};

/// What a row measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) suite: Suite,
    pub(crate) direction: Direction,
    pub(crate) inner_bytes: usize,
}

/// What came out of all pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Efficiency {
    pub(crate) cycles_per_packet: f64,
    pub(crate) reference_cycles_per_packet: f64,
    pub(crate) reference_api: Api,
    pub(crate) ratio: Ratio,
}

/// Both sides and what they work on.
struct Bench<'k, 'p> {
    case: Case,
    station: Station,
    next_seq: u32,
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
    let pairs = alternate(time, || bench.pair())?;
    let (api, reference_api) =
        if pairs.side(0) <= pairs.side(2) { (0, Api::Job) } else { (2, Api::Burst) };
    Ok(Efficiency {
        cycles_per_packet: pairs.side(1),
        reference_cycles_per_packet: pairs.side(api),
        reference_api,
        ratio: pairs.quotient(api, 1),
    })
}

impl<'k, 'p> Bench<'k, 'p> {
    fn new(
        case: Case,
        station: Station,
        keys: &'k Schedules,
        pipeline: &'p mut Pipeline,
    ) -> Result<Self, Fault> {
        #[expect(clippy::cast_possible_truncation, reason = "some ten thousand ticks")]
        let max_age = (f64::from(rig::max_job_age_us()) * cycles::per_microsecond()) as u64;
        let mut slots = Slots::new();
        buffers::fill(&mut slots, pipeline.pool())?;
        let inner = (0_u32..)
            .take(BUFFERS)
            .map(|number| frames::inner(&station, case.direction, number, case.inner_bytes));
        let inner = inner.collect();
        let raw = Raw::new(max_age)?;
        Ok(Self { case, station, next_seq: 0, keys, raw, pipeline, slots, inner })
    }

    /// Measures both sides once: raw job by job, the pipeline, raw by bursts.
    fn pair(&mut self) -> Result<Round, Fault> {
        let mut watch = Watch::default();
        let per_packet = |ticks: u64| ticks as f64 / BUFFERS as f64;
        let job = per_packet(self.raw_pass(Api::Job, &mut watch)?);
        let pipeline = per_packet(self.pipeline_pass(&mut watch)?);
        self.check(64)?;
        let burst = per_packet(self.raw_pass(Api::Burst, &mut watch)?);
        Ok(Round { values: vec![job, pipeline, burst], disturbed: watch.disturbed })
    }

    /// Sends every packet through the pipeline once and checks each.
    fn check_everything(&mut self) -> Result<(), Fault> {
        self.raw_pass(Api::Burst, &mut Watch::default())?;
        self.pipeline_pass(&mut Watch::default())?;
        self.check(1)
    }

    fn raw_pass(&mut self, api: Api, watch: &mut Watch) -> Result<u64, Fault> {
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
        self.lay_nonces(offset);
        watch.over(|| self.raw.pass(api, &op, &mut self.slots))
    }

    fn pipeline_pass(&mut self, watch: &mut Watch) -> Result<u64, Fault> {
        match self.case.direction {
            Direction::Uplink => self.prepare_received_envelopes()?,
            Direction::Downlink => self.prepare_inner_packets()?,
        }
        watch.over(|| self.pipeline.pass(self.case.direction, &mut self.slots))
    }

    fn lay_nonces(&mut self, offset: usize) {
        for mbuf in self.slots.iter_mut().flatten() {
            frames::lay_nonce(self.keys, offset, mbuf);
        }
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
        self.lay_nonces(offset);
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
        let ahead = self.station.front_len() - EthernetHeader::LEN;
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
            self.lay_nonces(offset);
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
                let start = self.station.front_len();
                let icv_len = self.case.suite.icv_len();
                let computed = mbuf.meta::<[u8; META_SIZE]>().get(..icv_len);
                data.len().checked_sub(icv_len).and_then(|icv| data.get(icv..)) == computed
                    && packet.get(start..start + expected.len()) == Some(&expected[..])
            }
        }
    }
}

#[cfg(test)]
#[path = "efficiency_tests.rs"]
mod tests;
