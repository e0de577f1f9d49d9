//! How busy the workers are, over the last second and since the start.

use std::time::{Duration, Instant};

use hearth_dataplane::counters::WorkerTotals;

/// How old the figures of the last second may be, and how long a second they are about.
const SECOND: Duration = Duration::from_secs(1);
/// How often the counters are read.
const INTERVAL: Duration = Duration::from_millis(250);

/// A worker's load over some time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Part of the time that it spent in turns with packets, 0 to 1.
    pub utilisation: f64,
    /// Cycles per packet in these turns; `None` without packets.
    pub cycles_per_packet: Option<f64>,
}

/// The workers' counters at one time.
#[derive(Debug, Clone)]
struct Reading {
    at: Instant,
    cycles: u64,
    workers: Vec<WorkerTotals>,
}

/// Readings of the last second or a little more, oldest first.
#[derive(Debug, Default)]
pub struct Loads(std::collections::VecDeque<Reading>);

impl Loads {
    /// Takes a reading, if it is time to: `read` gives the cycles since the start, and the
    /// workers' counters.
    pub fn look(&mut self, now: Instant, read: impl FnOnce() -> (u64, Vec<WorkerTotals>)) {
        let due = |last: &Reading| now.saturating_duration_since(last.at) >= INTERVAL;
        if !self.0.back().is_none_or(due) {
            return;
        }
        let (cycles, workers) = read();
        self.0.push_back(Reading { at: now, cycles, workers });
        // The second one is what the last second is counted from, once it is old enough.
        while self.0.get(1).is_some_and(|next| now.saturating_duration_since(next.at) >= SECOND) {
            self.0.pop_front();
        }
    }

    /// The load of a worker since the oldest reading, given its counters of now.
    #[must_use]
    pub fn last_second(&self, worker: usize, cycles: u64, totals: &WorkerTotals) -> Load {
        let Some(then) = self.0.front() else { return Load::default() };
        let Some(before) = then.workers.get(worker) else { return Load::default() };
        load(
            cycles.saturating_sub(then.cycles),
            totals.busy_cycles.saturating_sub(before.busy_cycles),
            totals.packets.saturating_sub(before.packets),
        )
    }
}

/// The load since the start.
#[must_use]
pub fn since_start(cycles: u64, totals: &WorkerTotals) -> Load {
    load(cycles, totals.busy_cycles, totals.packets)
}

#[expect(clippy::cast_precision_loss, reason = "figures to show, not to count with")]
fn load(cycles: u64, busy: u64, packets: u64) -> Load {
    Load {
        utilisation: if cycles == 0 { 0.0 } else { (busy as f64 / cycles as f64).min(1.0) },
        cycles_per_packet: (packets > 0).then(|| busy as f64 / packets as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(busy_cycles: u64, packets: u64) -> WorkerTotals {
        WorkerTotals { busy_cycles, packets, ..WorkerTotals::default() }
    }

    /// A machine of 1000 cycles a second: idle for ten seconds, then half busy.
    #[test]
    fn the_last_second_forgets_what_was_before() {
        let (mut loads, start) = (Loads::default(), Instant::now());
        let busy = |at: u64| at.saturating_sub(10_000) / 2;
        let mut read = 0;
        for at in (0..20_000).step_by(10) {
            loads.look(start + Duration::from_millis(at), || {
                read += 1;
                (at, vec![totals(0, 0), totals(busy(at), busy(at) / 10)])
            });
        }
        assert_eq!(read, 80, "four a second");
        let now = totals(busy(20_000), busy(20_000) / 10);
        let Load { utilisation, cycles_per_packet } = loads.last_second(1, 20_000, &now);
        assert!((utilisation - 0.5).abs() < 0.01, "{utilisation}");
        assert!((cycles_per_packet.unwrap() - 10.0).abs() < 0.5, "{cycles_per_packet:?}");
        let whole = since_start(20_000, &now);
        assert!((whole.utilisation - 0.25).abs() < 0.01, "{whole:?}");
        assert_eq!(loads.last_second(0, 20_000, &totals(0, 0)), Load::default());
    }

    #[test]
    fn without_readings_and_without_packets_there_is_no_figure() {
        assert_eq!(Loads::default().last_second(0, 10, &totals(5, 5)), Load::default());
        let idle = since_start(10, &totals(0, 0));
        assert_eq!((idle.utilisation, idle.cycles_per_packet), (0.0, None));
        assert_eq!(since_start(0, &totals(0, 0)).utilisation, 0.0);
    }
}
