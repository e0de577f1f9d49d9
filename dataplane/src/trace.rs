//! A trace: the next packets of an SPI or an address, followed from stage to stage.
//!
//! Control arms it, workers write a record where a traced packet comes by, control reads them. A
//! packet is known by a number in the last octets of its mbuf's private area, which is the trace's
//! own as long as the packet lives: it is taken away before the buffer goes back to its pool.
//!
//! Nothing here ever holds payload or keys: a record is addresses, lengths and the envelope's
//! header.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use hearth_dpdk::Mbuf;

use crate::clock;
use crate::config::PortId;
use crate::drop_reason::DropReason;
use crate::filter::{Facts, SharedFilter};
use crate::private_area::TRACE_WORD;
use crate::watch::Shared;

/// Records that wait for control at most; what comes beyond is lost and counted.
const RECORDS: usize = 4096;
/// Places that stay free, so that a worker never waits for the reader, which holds one while it
/// reads it, or for another worker, which holds one while it writes it.
const SPARE: usize = 256;

/// A place on a packet's way, in the order of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Received by a port.
    Receive,
    /// Put together from its fragments.
    Reassembled,
    /// From the box itself: its kernel, or the home agent.
    FromControl,
    /// An envelope, up to the point where crypto takes over.
    TunnelIn,
    /// Crypto has finished; the verdicts that need it.
    Settle,
    /// Looked up by its destination.
    Forward,
    /// To a bound home address: headers and trailer are put around it.
    TunnelOut,
    /// Finished: next hop and Ethernet header.
    Egress,
    /// In a port's transmit queue.
    Transmit,
}

impl Stage {
    /// The name in the CLI.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receive => "rx",
            Self::Reassembled => "reassembled",
            Self::FromControl => "from_control",
            Self::TunnelIn => "tunnel_in",
            Self::Settle => "settle",
            Self::Forward => "forward",
            Self::TunnelOut => "tunnel_out",
            Self::Egress => "egress",
            Self::Transmit => "tx",
        }
    }
}

/// What became of a packet at a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It went on to this stage.
    Next(Stage),
    /// It went on by a ring to this worker.
    HandedOver(usize),
    /// It is out at this worker for its crypto, and comes back.
    Lent(usize),
    /// It waits in the control thread for its next hop's MAC address.
    ToResolve,
    /// It waits in the control thread for its SA.
    AwaitsSa,
    /// It was split into so many fragments, which go on under its number.
    Fragmented(usize),
    /// A fragment, which waits for the others; the whole packet has a number of its own.
    AwaitsFragments,
    /// An ICMP error about a packet of the home agent's, which the worker itself acts on.
    Heeded,
    /// The port took it.
    Sent,
    /// It went to the kernel behind a port's TAP.
    ToKernel,
    /// It went to the home agent.
    ToHomeAgent,
    /// It stopped.
    Dropped(DropReason),
    /// It was still there when the trace ended.
    UnderWay,
}

impl Verdict {
    /// Whether the packet's way ends with it.
    const fn is_end(self) -> bool {
        match self {
            Self::Sent
            | Self::ToKernel
            | Self::ToHomeAgent
            | Self::AwaitsFragments
            | Self::Heeded
            | Self::Dropped(_) => true,
            Self::Next(_)
            | Self::HandedOver(_)
            | Self::Lent(_)
            | Self::ToResolve
            | Self::AwaitsSa
            | Self::Fragmented(_)
            | Self::UnderWay => false,
        }
    }
}

/// A packet at a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Number of the packet in this trace, from 1.
    pub packet: u32,
    /// Time since the packet's first step.
    pub since_start: Duration,
    /// The worker.
    pub worker: usize,
    /// The stage.
    pub stage: Stage,
    /// The port, where the stage has one.
    pub port: Option<PortId>,
    /// The packet as it came to the stage.
    pub facts: Facts,
    /// What became of it there.
    pub verdict: Verdict,
}

/// How far a trace has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceProgress {
    /// Packets that matched.
    pub begun: u32,
    /// Of those, packets that were followed to their end.
    pub ended: u32,
    /// Records that were lost because control did not keep up.
    pub lost: u64,
}

/// What a worker writes down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    at: u64,
    id: u64,
    worker: u16,
    event: Event,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    At(Stage, Option<PortId>, Facts),
    Became(Verdict),
}

/// The number of a trace and of a packet in it; 0 for a packet that is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId(u64);

impl TraceId {
    pub(crate) const NONE: Self = Self(0);
    fn new(generation: u32, packet: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(packet))
    }

    /// What the mbuf carries, whatever it is.
    pub(crate) fn load(mbuf: &Mbuf) -> Self {
        Self(mbuf.meta::<[u64; TRACE_WORD + 1]>()[TRACE_WORD])
    }

    pub(crate) fn store(self, mbuf: &mut Mbuf) {
        mbuf.meta_mut::<[u64; TRACE_WORD + 1]>()[TRACE_WORD] = self.0;
    }

    /// Whether a packet with it is followed by the trace of this generation.
    pub(crate) const fn is_of(self, generation: u32) -> bool {
        generation != 0 && self.0 >> 32 == generation as u64
    }

    /// The packet's number.
    const fn packet(self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let packet = self.0 as u32;
        packet
    }
}

/// What control and workers share of a trace.
#[derive(Debug)]
pub(crate) struct TraceShared {
    pub(crate) filter: SharedFilter,
    /// Packets that may still begin.
    left: AtomicU32, // control: wo at the start, workers: rw
    count: AtomicU32, // control: wo, workers: ro
    records: ArrayQueue<Record>,
    lost: AtomicU64, // workers: rw, control: rw
}

impl TraceShared {
    pub(crate) fn new() -> Self {
        Self {
            filter: SharedFilter::default(),
            left: AtomicU32::new(0),
            count: AtomicU32::new(0),
            records: ArrayQueue::new(RECORDS),
            lost: AtomicU64::new(0),
        }
    }

    /// A number for one more packet, while there are any left.
    pub(crate) fn begin(&self, generation: u32) -> Option<TraceId> {
        let take = |left: u32| left.checked_sub(1);
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        let packet = self.count.load(Ordering::Relaxed).wrapping_sub(left).wrapping_add(1);
        Some(TraceId::new(generation, packet))
    }

    /// A packet comes to a stage.
    pub(crate) fn at(
        &self,
        worker: usize,
        id: TraceId,
        place: (Stage, Option<PortId>),
        facts: Facts,
    ) {
        self.push(worker, id, Event::At(place.0, place.1, facts));
    }

    /// A packet leaves the stage it was at.
    pub(crate) fn became(&self, worker: usize, id: TraceId, verdict: Verdict) {
        self.push(worker, id, Event::Became(verdict));
    }

    fn push(&self, worker: usize, id: TraceId, event: Event) {
        let worker = u16::try_from(worker).unwrap_or(u16::MAX);
        let record = Record { at: clock::now(), id: id.0, worker, event };
        if self.records.len() + SPARE >= RECORDS || self.records.push(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Control's side: makes steps out of records.
#[derive(Debug)]
pub(crate) struct TraceReader {
    shared: Arc<Shared>,
    generation: u32,
    /// Packets that have begun and not ended.
    under_way: HashMap<u32, UnderWay>,
    /// Packets that have ended, with the time of their first record. More may come of one: an ICMP
    /// error about it, or the second of its fragments.
    ended: HashMap<u32, u64>,
}

#[derive(Debug)]
struct UnderWay {
    start: u64,
    last: Step,
    /// Whether the last step has been given away with its verdict.
    told: bool,
}

impl TraceReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, generation: 0, under_way: HashMap::new(), ended: HashMap::new() }
    }

    /// Prepares for the next `packets`; returns the generation under which workers are to trace.
    pub(crate) fn begin(&mut self, packets: u32) -> u32 {
        let trace = &self.shared.trace;
        while trace.records.pop().is_some() {}
        trace.left.store(packets, Ordering::Relaxed);
        trace.count.store(packets, Ordering::Relaxed);
        trace.lost.store(0, Ordering::Relaxed);
        self.under_way.clear();
        self.ended.clear();
        // 0 means that there is no trace.
        self.generation = self.generation.wrapping_add(1).max(1);
        self.generation
    }

    /// Gives up to `max` records to `each`, as steps.
    pub(crate) fn read(&mut self, max: usize, mut each: impl FnMut(Step)) -> TraceProgress {
        let shared = Arc::clone(&self.shared);
        for _ in 0..max {
            let Some(record) = shared.trace.records.pop() else { break };
            if TraceId(record.id).is_of(self.generation) {
                self.take(&record, &mut each);
            }
        }
        self.progress()
    }

    /// Gives the last step of each packet that has not ended to `each`.
    pub(crate) fn flush(&mut self, mut each: impl FnMut(Step)) -> TraceProgress {
        let progress = self.read(RECORDS, &mut each);
        let mut rest: Vec<Step> =
            self.under_way.drain().filter(|(_, it)| !it.told).map(|(_, it)| it.last).collect();
        rest.sort_by_key(|step| step.packet);
        rest.into_iter().for_each(each);
        progress
    }

    fn progress(&self) -> TraceProgress {
        let trace = &self.shared.trace;
        let [count, left] = [&trace.count, &trace.left].map(|n| n.load(Ordering::Relaxed));
        TraceProgress {
            begun: count.saturating_sub(left),
            ended: u32::try_from(self.ended.len()).unwrap_or(u32::MAX),
            lost: trace.lost.load(Ordering::Relaxed),
        }
    }

    fn take(&mut self, record: &Record, each: &mut impl FnMut(Step)) {
        let packet = TraceId(record.id).packet();
        let under_way = self.under_way.get_mut(&packet);
        match record.event {
            Event::At(stage, port, facts) => {
                let start = under_way.as_ref().map(|under_way| under_way.start);
                let start = start.or(self.ended.get(&packet).copied()).unwrap_or(record.at);
                if let Some(UnderWay { last, told: false, .. }) = under_way {
                    each(Step { verdict: Verdict::Next(stage), ..*last });
                }
                let last = Step {
                    packet,
                    since_start: duration(record.at.saturating_sub(start)),
                    worker: record.worker.into(),
                    stage,
                    port,
                    facts,
                    verdict: Verdict::UnderWay,
                };
                self.under_way.insert(packet, UnderWay { start, last, told: false });
            }
            Event::Became(verdict) => {
                if let Some(under_way) = under_way {
                    each(Step { verdict, ..under_way.last });
                    under_way.told = true;
                }
                if verdict.is_end()
                    && let Some(UnderWay { start, .. }) = self.under_way.remove(&packet)
                {
                    self.ended.insert(packet, start);
                }
            }
        }
    }
}

fn duration(cycles: u64) -> Duration {
    let nanos = u128::from(cycles) * 1000 / u128::from(clock::cycles_per_us());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn shared() -> Arc<Shared> {
        Arc::new(Shared::new(Config::default().service))
    }

    /// `rx`, `1 -> forward`, ... as they came.
    fn told(steps: &[Step]) -> Vec<(u32, usize, Stage, Verdict)> {
        steps.iter().map(|step| (step.packet, step.worker, step.stage, step.verdict)).collect()
    }

    fn at(shared: &Shared, worker: usize, id: TraceId, stage: Stage) {
        shared.trace.at(worker, id, (stage, None), Facts::default());
    }

    #[test]
    fn the_next_record_is_the_verdict_of_the_last() {
        let shared = shared();
        let mut reader = TraceReader::new(Arc::clone(&shared));
        let generation = reader.begin(2);
        let trace = &shared.trace;
        let (one, two) = (trace.begin(generation).unwrap(), trace.begin(generation).unwrap());
        assert_eq!(trace.begin(generation), None, "two packets were asked for");
        at(&shared, 0, one, Stage::Receive);
        at(&shared, 0, two, Stage::Receive);
        trace.became(0, one, Verdict::HandedOver(1));
        at(&shared, 1, one, Stage::TunnelIn);
        let mut steps = Vec::new();
        let progress = reader.read(100, |step| steps.push(step));
        assert_eq!(told(&steps), [(1, 0, Stage::Receive, Verdict::HandedOver(1))]);
        assert_eq!(progress, TraceProgress { begun: 2, ended: 0, lost: 0 });

        trace.became(1, one, Verdict::Dropped(DropReason::Replayed));
        at(&shared, 0, two, Stage::Forward);
        let mut steps = Vec::new();
        let progress = reader.flush(|step| steps.push(step));
        assert_eq!(
            told(&steps),
            [
                (1, 1, Stage::TunnelIn, Verdict::Dropped(DropReason::Replayed)),
                (2, 0, Stage::Receive, Verdict::Next(Stage::Forward)),
                (2, 0, Stage::Forward, Verdict::UnderWay),
            ]
        );
        assert_eq!((progress.begun, progress.ended), (2, 1));
    }

    #[test]
    fn a_hand_over_that_failed_shows_both_verdicts() {
        let shared = shared();
        let mut reader = TraceReader::new(Arc::clone(&shared));
        let generation = reader.begin(1);
        let id = shared.trace.begin(generation).unwrap();
        at(&shared, 0, id, Stage::Receive);
        for verdict in [Verdict::HandedOver(1), Verdict::Dropped(DropReason::HandoverRingFull)] {
            shared.trace.became(0, id, verdict);
        }
        let mut verdicts = Vec::new();
        let progress = reader.read(100, |step| verdicts.push(step.verdict));
        assert_eq!(
            verdicts,
            [Verdict::HandedOver(1), Verdict::Dropped(DropReason::HandoverRingFull)]
        );
        assert_eq!(progress.ended, 1);
    }

    #[test]
    fn what_comes_of_a_dropped_packet_is_shown_and_not_counted() {
        let shared = shared();
        let mut reader = TraceReader::new(Arc::clone(&shared));
        let generation = reader.begin(1);
        let id = shared.trace.begin(generation).unwrap();
        at(&shared, 0, id, Stage::Receive);
        shared.trace.became(0, id, Verdict::Dropped(DropReason::HopLimit));
        at(&shared, 0, id, Stage::Forward);
        shared.trace.became(0, id, Verdict::Sent);
        let mut steps = Vec::new();
        let progress = reader.read(100, |step| steps.push(step));
        assert_eq!(
            told(&steps),
            [
                (1, 0, Stage::Receive, Verdict::Dropped(DropReason::HopLimit)),
                (1, 0, Stage::Forward, Verdict::Sent),
            ]
        );
        assert!(steps[1].since_start > Duration::ZERO);
        assert_eq!((progress.begun, progress.ended), (1, 1));
    }

    #[test]
    fn records_of_an_earlier_trace_are_nobodys() {
        let shared = shared();
        let mut reader = TraceReader::new(Arc::clone(&shared));
        let before = reader.begin(9);
        let old = shared.trace.begin(before).unwrap();
        let generation = reader.begin(1);
        assert!(!old.is_of(generation) && old.is_of(before) && !TraceId::NONE.is_of(0));
        at(&shared, 0, old, Stage::Egress);
        shared.trace.became(0, old, Verdict::Sent);
        let progress = reader.flush(|step| panic!("{step:?}"));
        assert_eq!(progress, TraceProgress::default());
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let shared = shared();
        let mut reader = TraceReader::new(Arc::clone(&shared));
        let generation = reader.begin(u32::MAX);
        for _ in 0..RECORDS {
            let id = shared.trace.begin(generation).unwrap();
            at(&shared, 0, id, Stage::Receive);
        }
        let progress = reader.read(usize::MAX, drop);
        assert_eq!(progress.lost, SPARE as u64);
        assert_eq!(progress.begun as usize, RECORDS);
        at(&shared, 0, shared.trace.begin(generation).unwrap(), Stage::Receive);
        assert_eq!(reader.read(usize::MAX, drop).lost, SPARE as u64, "there is room again");
    }
}
