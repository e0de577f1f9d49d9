//! Counters: each worker writes its own, a reader adds them up.
//!
//! A worker adds with a relaxed load and a relaxed store, which is one plain `add` to memory: no
//! other thread ever writes the same line. A reader sees each counter whole, but not all of them at
//! one instant.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::clock;
use crate::drop_reason::DropReason;
use crate::size_counters::{SizeCounters, SizeTotals};

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64); // worker: rw, everybody else: ro

impl Counter {
    /// Adds `n`. Only the owning worker calls this.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Packets and octets of one kind.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    packets: Counter,
    octets: Counter,
}

impl Flow {
    pub(crate) fn add(&self, octets: usize) {
        self.add_many(1, octets as u64);
    }

    pub(crate) fn add_many(&self, packets: u64, octets: u64) {
        self.packets.add(packets);
        self.octets.add(octets);
    }

    fn total(&self) -> Total {
        Total { packets: self.packets.get(), octets: self.octets.get() }
    }
}

/// Packets and octets of one port, both directions.
#[derive(Debug, Default)]
pub(crate) struct PortFlows {
    pub(crate) rx: Flow,
    pub(crate) tx: Flow,
    pub(crate) checksums: Counter,
}

/// What one worker counts; on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct WorkerCounters {
    pub(crate) drops: [Counter; DropReason::COUNT],
    pub(crate) unregistered_ptypes: [Counter; 16],
    pub(crate) ports: Box<[PortFlows]>,
    pub(crate) uplink: Flow,
    pub(crate) downlink: Flow,
    pub(crate) uplink_plain: Flow,
    pub(crate) downlink_plain: Flow,
    pub(crate) uplink_protected_under_scope_0: Counter,
    pub(crate) signalling_in: Counter,
    pub(crate) signalling_out: Counter,
    pub(crate) forwarded: Flow,
    pub(crate) to_host: Flow,
    pub(crate) from_host: Flow,
    pub(crate) handed_over: Counter,
    pub(crate) lent: Counter,
    pub(crate) assisted: Counter,
    pub(crate) unresolved: Counter,
    pub(crate) neighbour_answers: Counter,
    pub(crate) busy_turns: Counter,
    pub(crate) idle_turns: Counter,
    pub(crate) busy_cycles: Counter,
    pub(crate) idle_cycles: Counter,
    pub(crate) sizes: SizeCounters,
    pub(crate) taken_in: Counter,
    pub(crate) device_packets: Counter,
}

impl WorkerCounters {
    fn new(ports: usize) -> Self {
        Self {
            drops: core::array::from_fn(|_| Counter::default()),
            unregistered_ptypes: core::array::from_fn(|_| Counter::default()),
            ports: (0..ports).map(|_| PortFlows::default()).collect(),
            uplink: Flow::default(),
            downlink: Flow::default(),
            uplink_plain: Flow::default(),
            downlink_plain: Flow::default(),
            uplink_protected_under_scope_0: Counter::default(),
            signalling_in: Counter::default(),
            signalling_out: Counter::default(),
            forwarded: Flow::default(),
            to_host: Flow::default(),
            from_host: Flow::default(),
            handed_over: Counter::default(),
            lent: Counter::default(),
            assisted: Counter::default(),
            unresolved: Counter::default(),
            neighbour_answers: Counter::default(),
            busy_turns: Counter::default(),
            idle_turns: Counter::default(),
            busy_cycles: Counter::default(),
            idle_cycles: Counter::default(),
            sizes: SizeCounters::default(),
            taken_in: Counter::default(),
            device_packets: Counter::default(),
        }
    }

    pub(crate) fn stopped(&self, reason: DropReason) {
        self.stopped_many(reason, 1);
    }

    /// Counts packets that stopped where nobody has them in hand any more.
    pub(crate) fn stopped_many(&self, reason: DropReason, packets: u64) {
        if let Some(counter) = self.drops.get(reason as usize) {
            counter.add(packets);
        }
    }
}

/// The counters of all workers.
#[derive(Debug)]
pub struct Counters {
    workers: Box<[Arc<WorkerCounters>]>,
    /// When they began, in cycles of the time stamp counter.
    begin: u64,
}

/// Packets and octets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Packets.
    pub packets: u64,
    /// Octets; of IP packets in tunnel and forwarding counters, of frames in port counters.
    pub octets: u64,
}

impl core::ops::AddAssign for Total {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.octets += other.octets;
    }
}

/// One port's totals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortTotals {
    /// Received frames.
    pub rx: Total,
    /// Sent frames.
    pub tx: Total,
    /// Of those, outer packets whose checksums the port was asked to fill in.
    pub tx_checksums: u64,
}

/// One worker's time and work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerTotals {
    /// Turns that handled at least one packet.
    pub busy_turns: u64,
    /// Turns that found nothing to do.
    pub idle_turns: u64,
    /// TSC cycles spent in busy turns.
    pub busy_cycles: u64,
    /// TSC cycles spent in idle turns, sleep not included.
    pub idle_cycles: u64,
    /// Frames received by this worker, over all its queues.
    pub rx_packets: u64,
    /// Packets that it took in from ports, from other workers and from control.
    pub packets: u64,
    /// Packets handed to another worker because it owns their SA.
    pub handed_over: u64,
    /// Packets that came out of the crypto device.
    pub device_packets: u64,
    /// Packets whose crypto another worker did for this one.
    pub lent: u64,
    /// Packets whose crypto this worker did for others.
    pub assisted: u64,
}

/// All counters added up over the workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    drops: [u64; DropReason::COUNT],
    /// By port, in the order in which the ports were given.
    pub ports: Vec<PortTotals>,
    /// By worker.
    pub workers: Vec<WorkerTotals>,
    /// Inner packets accepted out of the tunnel (PType 0 and 1).
    pub uplink: Total,
    /// Inner packets sent into the tunnel (PType 0 and 1).
    pub downlink: Total,
    /// Of the uplink, the PType 0 part.
    pub uplink_plain: Total,
    /// Of the downlink, the PType 0 part.
    pub downlink_plain: Total,
    /// Of the uplink, PType 1 packets of SAs with scope 0.
    pub uplink_protected_under_scope_0: u64,
    /// PType 8 packets that passed all checks and went to the control thread.
    pub signalling_in: u64,
    /// PType 8 packets sent.
    pub signalling_out: u64,
    /// IP packets routed, out of tunnels or between ports.
    pub forwarded: Total,
    /// Frames given to the host path.
    pub to_host: Total,
    /// Frames taken from the host path.
    pub from_host: Total,
    /// Packets that waited for a neighbour to be resolved.
    pub unresolved: u64,
    /// Neighbour solicitations and ARP requests answered for bound home addresses.
    pub neighbour_answers: u64,
    /// Packets that did not fit, and ICMP errors.
    pub sizes: SizeTotals,
    /// Packets dropped as [`DropReason::PtypeUnregistered`], by PType.
    pub unregistered_ptypes: [u64; 16],
}

impl Snapshot {
    /// How many packets were dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or(0)
    }

    /// Every reason with its count, zeros included.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().copied().zip(self.drops.iter().copied())
    }

    /// All drops together.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.drops.iter().sum()
    }
}

impl Counters {
    pub(crate) fn new(workers: usize, ports: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Arc::new(WorkerCounters::new(ports))).collect(),
            begin: clock::now(),
        }
    }

    /// Cycles of the time stamp counter that have passed since the counters began. What a worker
    /// did not spend in turns it slept, or somebody else had its core.
    #[must_use]
    pub fn cycles(&self) -> u64 {
        clock::now().saturating_sub(self.begin)
    }

    /// How many turns each worker has taken. A worker that takes none is stuck: an idle one takes
    /// one at least every few milliseconds.
    pub fn turns(&self) -> impl Iterator<Item = u64> + '_ {
        let turns =
            |worker: &Arc<WorkerCounters>| worker.busy_turns.get() + worker.idle_turns.get();
        self.workers.iter().map(turns)
    }

    /// The counters of one worker, if it exists.
    pub(crate) fn worker(&self, index: usize) -> Option<Arc<WorkerCounters>> {
        self.workers.get(index).cloned()
    }

    /// Adds up all workers. Cheap enough for every second, not for every packet.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let flow = |select: fn(&WorkerCounters) -> &Flow| {
            let mut total = Total::default();
            self.workers.iter().for_each(|worker| total += select(worker).total());
            total
        };
        let count = |select: fn(&WorkerCounters) -> &Counter| {
            self.workers.iter().map(|worker| select(worker).get()).sum::<u64>()
        };
        let ports = self.workers.first().map_or(0, |worker| worker.ports.len());
        Snapshot {
            drops: core::array::from_fn(|reason| self.sum(|worker| worker.drops.get(reason))),
            ports: (0..ports).map(|port| self.port(port)).collect(),
            workers: self.workers.iter().map(|worker| worker_totals(worker)).collect(),
            uplink: flow(|worker| &worker.uplink),
            downlink: flow(|worker| &worker.downlink),
            uplink_plain: flow(|worker| &worker.uplink_plain),
            downlink_plain: flow(|worker| &worker.downlink_plain),
            uplink_protected_under_scope_0: count(|worker| &worker.uplink_protected_under_scope_0),
            signalling_in: count(|worker| &worker.signalling_in),
            signalling_out: count(|worker| &worker.signalling_out),
            forwarded: flow(|worker| &worker.forwarded),
            to_host: flow(|worker| &worker.to_host),
            from_host: flow(|worker| &worker.from_host),
            unresolved: count(|worker| &worker.unresolved),
            neighbour_answers: count(|worker| &worker.neighbour_answers),
            sizes: self.sizes(),
            unregistered_ptypes: core::array::from_fn(|ptype| {
                self.sum(|worker| worker.unregistered_ptypes.get(ptype))
            }),
        }
    }

    fn sizes(&self) -> SizeTotals {
        let mut totals = SizeTotals::default();
        self.workers.iter().for_each(|worker| totals.add(&worker.sizes));
        totals
    }

    fn sum(&self, select: impl Fn(&WorkerCounters) -> Option<&Counter>) -> u64 {
        self.workers.iter().filter_map(|worker| select(worker)).map(Counter::get).sum()
    }

    fn port(&self, port: usize) -> PortTotals {
        let mut totals = PortTotals::default();
        for flows in self.workers.iter().filter_map(|worker| worker.ports.get(port)) {
            totals.rx += flows.rx.total();
            totals.tx += flows.tx.total();
            totals.tx_checksums += flows.checksums.get();
        }
        totals
    }
}

fn worker_totals(worker: &WorkerCounters) -> WorkerTotals {
    WorkerTotals {
        busy_turns: worker.busy_turns.get(),
        idle_turns: worker.idle_turns.get(),
        busy_cycles: worker.busy_cycles.get(),
        idle_cycles: worker.idle_cycles.get(),
        rx_packets: worker.ports.iter().map(|port| port.rx.total().packets).sum(),
        packets: worker.taken_in.get(),
        handed_over: worker.handed_over.get(),
        device_packets: worker.device_packets.get(),
        lent: worker.lent.get(),
        assisted: worker.assisted.get(),
    }
}
