//! The whole pipeline: a dataplane worker's turns on prepared mbufs.
//!
//! What feeds and empties the ports is outside the timed part.

use hearth_dataplane::Worker;
use hearth_dpdk::{Burst, Eal, Mempool};

use crate::buffers::{BUFFERS, Slots};
use crate::cycles;
use crate::fault::Fault;
use crate::frames::{Direction, Station};
use crate::raw::BURST;
use crate::rig::{Rig, Shape, Wire};

/// Octets of a buffer: headroom and the largest outer packet.
const DATA_ROOM: u16 = 2304;

/// A rig with one worker, driven turn by turn.
pub(crate) struct Pipeline {
    pub(crate) rig: Rig,
    worker: Worker,
}

impl Pipeline {
    /// A dataplane that knows these mobile nodes.
    pub(crate) fn new(
        eal: &Eal,
        pool: &Mempool,
        name: &str,
        stations: &[Station],
    ) -> Result<Self, Fault> {
        let shape = Shape {
            stations: u32::try_from(stations.len()).unwrap_or(u32::MAX),
            ..Shape::default()
        };
        let mut this = Self::empty(eal, pool, name, &shape)?;
        stations.iter().try_for_each(|station| this.rig.attach(station))?;
        this.settle();
        Ok(this)
    }

    /// A dataplane of this shape that knows no mobile node yet.
    pub(crate) fn empty(
        eal: &Eal,
        pool: &Mempool,
        name: &str,
        shape: &Shape,
    ) -> Result<Self, Fault> {
        let mut rig = Rig::new(eal, pool, name, shape)?;
        let worker = rig.workers.pop().ok_or(Fault::Pool)?;
        Ok(Self { rig, worker })
    }

    /// Lets the worker pass quiescent points, so that what was replaced is freed.
    pub(crate) fn settle(&mut self) {
        for _ in 0..3 {
            self.rig.tables.reclaim();
            self.worker.turn();
        }
    }

    /// Where buffers come from.
    pub(crate) const fn pool(&self) -> &Mempool {
        self.rig.pool()
    }

    /// MAC address of the port that packets of this direction come to.
    pub(crate) const fn ingress_mac(&self, direction: Direction) -> [u8; 6] {
        self.rig.ingress_mac(direction)
    }

    /// Sends every packet through, a burst a turn; they are in their places afterwards, in the
    /// order in which they came out. Returns the ticks that the turns took.
    pub(crate) fn pass(&mut self, direction: Direction, slots: &mut Slots) -> Result<u64, Fault> {
        let passed = self.run(direction, slots)?;
        if passed.received == passed.sent {
            Ok(passed.ticks)
        } else {
            Err(self.rig.lost(passed.sent, passed.received))
        }
    }

    /// As [`Self::pass`], and packets may get lost.
    pub(crate) fn run(&mut self, direction: Direction, slots: &mut Slots) -> Result<Passed, Fault> {
        let (from, to) = Rig::ends(&mut self.rig.wires, direction);
        drive(&mut self.worker, from, to, slots)
    }
}

/// What became of the packets of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Ticks that the worker's turns took.
    pub(crate) ticks: u64,
    pub(crate) sent: usize,
    pub(crate) received: usize,
}

/// Feeds a worker a burst a turn until it has nothing left to do.
pub(crate) fn drive(
    worker: &mut Worker,
    from: &mut Wire,
    to: &mut Wire,
    slots: &mut Slots,
) -> Result<Passed, Fault> {
    let mut passed = Passed { ticks: 0, sent: 0, received: 0 };
    let mut out = Burst::<64>::new();
    loop {
        let mut burst = Burst::<BURST>::new();
        while passed.sent < slots.len() && !burst.is_full() {
            let Some(mbuf) = slots.get_mut(passed.sent).and_then(Option::take) else { break };
            passed.sent += 1;
            burst.push(mbuf).map_err(|_| Fault::Room)?;
        }
        let fed = from.to_port.send(&mut burst);
        let start = cycles::now();
        let handled = worker.turn();
        let took = cycles::now().wrapping_sub(start);
        let before = passed.received;
        for end in &mut to.from_port {
            while end.receive(&mut out) > 0 {
                for mbuf in out.drain() {
                    if let Some(slot) = slots.get_mut(passed.received) {
                        *slot = Some(mbuf);
                    }
                    passed.received += 1;
                }
            }
        }
        // The last packets may go out in a turn that found nothing else to do.
        if fed == 0 && handled == 0 && passed.received == before {
            return Ok(passed);
        }
        passed.ticks += took;
    }
}

/// Octets of a buffer for frames of ports with an MTU of 9000.
const JUMBO_ROOM: u16 = 9728;

/// Buffers for jumbo frames.
pub(crate) fn jumbo_pool(eal: &Eal) -> Result<Mempool, Fault> {
    let count = u32::try_from(2 * BUFFERS - 1).unwrap_or(u32::MAX);
    Mempool::new(eal, "perf_jumbo", count, 256, JUMBO_ROOM)
        .map_err(|errno| Fault::Dpdk("a mempool", errno))
}

/// The buffers of a whole run.
pub(crate) fn pool(eal: &Eal) -> Result<Mempool, Fault> {
    // Some more than a row needs, for what a thread's cache keeps.
    pool_of(eal, "perf", u32::try_from(2 * BUFFERS - 1).unwrap_or(u32::MAX))
}

/// So many buffers.
pub(crate) fn pool_of(eal: &Eal, name: &str, count: u32) -> Result<Mempool, Fault> {
    Mempool::new(eal, name, count, 256, DATA_ROOM).map_err(|errno| Fault::Dpdk("a mempool", errno))
}
