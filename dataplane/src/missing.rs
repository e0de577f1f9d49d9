//! SPIs that signalling named and nobody has: a hint for control, which may ask the HAC, and the
//! packets themselves, which wait with control for their SA.
//!
//! The first Binding Update under a new SA may be here before the SA's record is, and waiting some
//! milliseconds for it spares the mobile node a retransmission of a second and more. Nothing is
//! known of such a packet but its SPI, so it gets no more than that: no answer, no state of its
//! own, and every check once its SA is there.
//!
//! Anybody can invent SPIs. What a flood of them costs is one store each: a worker lets only so
//! many packets per second wait, few wait in all, and the oldest makes room for the newest. A
//! packet that goes back without an SA is dropped by its worker, which counts it: once.

use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_dpdk::{Burst, Eal, Mbuf, RingConsumer, RingProducer, SharedRingProducer, mpsc_ring};
use hearth_wire::Spi;

use crate::clock;
use crate::config::{BuildError, Config};
use crate::limiter::Bucket;
use crate::note::Note;
use crate::table::shared::Tables;

/// Places of the ring to control, of which one stays free.
const RING_SIZE: u32 = 16;
/// Packets that wait with control at most, but for a ringful that is just being taken in.
const HELD: usize = 32;
/// Time that one packet costs a worker, of the time that goes by.
const PACE_US: u64 = 1000;
/// What a worker has saved up at most: a ringful.
const SAVED_US: u64 = RING_SIZE as u64 * PACE_US;

/// Both sides of what is missing: one for each worker, and control's.
pub(crate) fn missing_sas(
    eal: &Eal,
    config: &Config,
    tables: &Arc<Tables>,
    name: &str,
) -> Result<(Vec<MissingSas>, HeldForSa), BuildError> {
    let (to_control, ring) = mpsc_ring(eal, &format!("{name}_spi"), RING_SIZE)
        .map_err(|_| BuildError::Dpdk("a ring"))?;
    let hints: Arc<[Hint]> = (0..config.workers).map(|_| Hint::default()).collect();
    let hold = Duration::from_millis(config.signalling_hold_ms.into());
    let side = |worker| MissingSas {
        hints: Arc::clone(&hints),
        worker,
        to_control: to_control.clone(),
        pace: Pace::new(!hold.is_zero()),
    };
    let workers = (0..config.workers).map(side).collect();
    let held = HeldForSa {
        tables: Arc::clone(tables),
        hints,
        ring,
        batch: Burst::new(),
        packets: VecDeque::with_capacity(HELD + RING_SIZE as usize),
        hold,
    };
    Ok((workers, held))
}

/// The last SPI that a worker missed, 0 for none. A new one replaces an old one.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Hint(AtomicU32); // worker: wo, control: rw

/// A worker's side.
#[derive(Debug)]
pub(crate) struct MissingSas {
    hints: Arc<[Hint]>,
    worker: usize,
    to_control: SharedRingProducer,
    pace: Pace,
}

impl MissingSas {
    /// Tells control that a packet named this SPI.
    pub(crate) fn note(&self, spi: Spi) {
        if let Some(hint) = self.hints.get(self.worker) {
            hint.0.store(spi.get(), Ordering::Relaxed);
        }
    }

    /// Whether one more packet may wait; it is counted then. `now` in cycles.
    pub(crate) fn admits(&self, now: u64) -> bool {
        self.pace.admits(now)
    }

    /// Gives a packet to control; back where its ring is full.
    pub(crate) fn give(&self, mbuf: Mbuf) -> Result<(), Mbuf> {
        self.to_control.push(mbuf)
    }
}

/// How many packets of a worker may wait: one in [`PACE_US`], and some at once.
#[derive(Debug)]
struct Pace {
    /// Cycles that one costs; `None` where none may wait.
    cost: Option<u64>,
    saved: u64,
    bucket: Cell<Bucket>,
}

impl Pace {
    fn new(on: bool) -> Self {
        let cycles = clock::cycles_per_us();
        let (cost, saved) = (on.then_some(PACE_US * cycles), SAVED_US * cycles);
        Self { cost, saved, bucket: Cell::default() }
    }

    fn admits(&self, now: u64) -> bool {
        let Some(cost) = self.cost else { return false };
        let mut bucket = self.bucket.get();
        let affordable = bucket.take(cost, self.saved, now);
        self.bucket.set(bucket);
        affordable
    }
}

/// Control's side.
pub(crate) struct HeldForSa {
    tables: Arc<Tables>,
    hints: Arc<[Hint]>,
    ring: RingConsumer,
    batch: Burst<{ RING_SIZE as usize }>,
    /// The oldest first.
    packets: VecDeque<Held>,
    hold: Duration,
}

struct Held {
    spi: Spi,
    since: Instant,
    mbuf: Mbuf,
}

impl HeldForSa {
    /// Takes the hints.
    pub(crate) fn hints(&self, mut each: impl FnMut(Spi)) {
        for hint in &*self.hints {
            // Looking first keeps the line shared while there is nothing to take.
            if hint.0.load(Ordering::Relaxed) != 0
                && let Ok(spi) = Spi::new(hint.0.swap(0, Ordering::Relaxed))
            {
                each(spi);
            }
        }
    }

    /// Takes packets in, and gives back to the SAs' owners those whose SA is there, that have waited
    /// long enough, or that have to make room. Returns how many packets came or went.
    pub(crate) fn turn(&mut self, workers: &mut [RingProducer]) -> usize {
        // Where workers don't take packets back, none come in, and the ring keeps the others out.
        let room = self.packets.len() <= HELD;
        if (!room || self.ring.receive(&mut self.batch) == 0) && self.packets.is_empty() {
            return 0;
        }
        let now = Instant::now();
        let mut handled = self.batch.len();
        for mbuf in self.batch.drain() {
            if let Some(Note::Waiting(envelope)) = Note::load(&mbuf)
                && let Some(spi) = envelope.spi()
            {
                self.packets.push_back(Held { spi, since: now, mbuf });
            }
        }
        for _ in 0..self.packets.len() {
            let too_many = self.packets.len() > HELD;
            let Some(Held { spi, since, mbuf }) = self.packets.pop_front() else { break };
            let is_there = || self.tables.sas.find(spi.get()).is_some();
            let is_over = too_many || now.duration_since(since) >= self.hold || is_there();
            let owner = workers.get_mut(self.tables.owner(spi.get())).filter(|_| is_over);
            let kept = match owner {
                Some(ring) => ring.push(mbuf).err(),
                None => Some(mbuf),
            };
            match kept {
                Some(mbuf) => self.packets.push_back(Held { spi, since, mbuf }),
                None => handled += 1,
            }
        }
        handled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ringful_at_once_and_then_one_in_a_millisecond() {
        let pace = Pace::new(true);
        let (cost, start) = (pace.cost.unwrap(), 1 << 40);
        let at_once = (0..1000).filter(|_| pace.admits(start)).count();
        assert_eq!(at_once, RING_SIZE as usize);
        for packet in 1..=100 {
            let now = start + packet * cost;
            assert!(!pace.admits(now - 1));
            assert!(pace.admits(now));
        }
        // A silence saves up no more than a ringful.
        let later = start + 10_000 * cost;
        assert_eq!((0..1000).filter(|_| pace.admits(later)).count(), RING_SIZE as usize);
        assert!(!Pace::new(false).admits(start));
    }
}
