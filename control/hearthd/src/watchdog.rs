//! Workers that stop making progress.
//!
//! A worker counts its turns, and takes one at least every few milliseconds even when it sleeps
//! between them. One whose count stands still is stuck: its port, the crypto library or the
//! machine does not let go of it.

use std::time::{Duration, Instant};

/// How long a worker may take no turn.
const LIMIT: Duration = Duration::from_millis(500);
/// How often the workers are looked at, so that a stuck one is known within a second.
const INTERVAL: Duration = Duration::from_millis(50);
/// The longest time between two looks that counts in full. When the control thread itself did not
/// run for longer, neither did the workers, perhaps: the process or the machine was stopped.
const TRUSTED: Duration = Duration::from_millis(250);

/// What happened to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incident {
    /// It has not taken a turn for this long.
    Stuck {
        /// The worker.
        worker: usize,
        /// Since its last turn.
        silent: Duration,
    },
    /// It takes turns again.
    Recovered {
        /// The worker.
        worker: usize,
        /// How long it took none.
        silent: Duration,
    },
}

/// Watches the workers.
#[derive(Debug, Default)]
pub struct Watchdog {
    workers: Vec<Progress>,
    looked: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    turns: u64,
    silent: Duration,
    told: bool,
}

impl Watchdog {
    /// Looks at the workers' turns, if it is time to; `tell` gets what has changed.
    pub fn look(
        &mut self,
        now: Instant,
        turns: impl Iterator<Item = u64>,
        mut tell: impl FnMut(Incident),
    ) {
        let passed = self.looked.map(|looked| now.saturating_duration_since(looked));
        if passed.is_some_and(|passed| passed < INTERVAL) {
            return;
        }
        self.looked = Some(now);
        let passed = passed.unwrap_or_default().min(TRUSTED);
        for (worker, turns) in turns.enumerate() {
            let Some(progress) = self.workers.get_mut(worker) else {
                self.workers.push(Progress { turns, ..Progress::default() });
                continue;
            };
            if progress.turns != turns {
                if progress.told {
                    tell(Incident::Recovered { worker, silent: progress.silent });
                }
                *progress = Progress { turns, ..Progress::default() };
                continue;
            }
            progress.silent += passed;
            if progress.silent >= LIMIT && !progress.told {
                progress.told = true;
                tell(Incident::Stuck { worker, silent: progress.silent });
            }
        }
    }

    /// For how long a worker has been stuck, if it is.
    #[must_use]
    pub fn stuck(&self, worker: usize) -> Option<Duration> {
        self.workers.get(worker).filter(|progress| progress.told).map(|progress| progress.silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every 10 ms as the control thread does, for `span`; the workers' turns are `turns` at
    /// a time in milliseconds.
    fn watch(
        dog: &mut Watchdog,
        start: Instant,
        span: std::ops::Range<u64>,
        turns: impl Fn(u64) -> [u64; 2],
    ) -> Vec<(u64, Incident)> {
        let mut told = Vec::new();
        for at in span.step_by(10) {
            let now = start + Duration::from_millis(at);
            dog.look(now, turns(at).into_iter(), |incident| told.push((at, incident)));
        }
        told
    }

    #[test]
    fn a_stuck_worker_is_told_of_once_and_within_a_second() {
        let (mut dog, start) = (Watchdog::default(), Instant::now());
        let told = watch(&mut dog, start, 0..5000, |at| [at, at.min(1003)]);
        let [(at, Incident::Stuck { worker: 1, silent })] = told[..] else { panic!("{told:?}") };
        assert!((1500..2000).contains(&at), "{told:?}");
        assert_eq!(silent, LIMIT);
        assert_eq!(dog.stuck(0), None);
        assert!(dog.stuck(1).unwrap() >= Duration::from_millis(3900), "{dog:?}");

        let told = watch(&mut dog, start, 5000..5200, |at| [at, at]);
        let [(at, Incident::Recovered { worker: 1, silent })] = told[..] else {
            panic!("{told:?}")
        };
        assert!(at < 5060 && silent >= Duration::from_millis(3900), "{told:?}");
        assert_eq!(dog.stuck(1), None);
        // And a second time.
        assert_eq!(watch(&mut dog, start, 5200..6000, |at| [at, 7]).len(), 1);
    }

    #[test]
    fn slow_turns_are_no_incident() {
        let (mut dog, start) = (Watchdog::default(), Instant::now());
        let told = watch(&mut dog, start, 0..5000, |at| [at / 400, at / 300]);
        assert_eq!(told, []);
    }

    /// Everything stood still, and goes on.
    #[test]
    fn a_process_that_was_stopped_accuses_nobody() {
        let (mut dog, start) = (Watchdog::default(), Instant::now());
        assert_eq!(watch(&mut dog, start, 0..100, |at| [at, at]), []);
        let later = start + Duration::from_secs(60);
        assert_eq!(watch(&mut dog, later, 0..10, |_| [90, 90]), []);
        assert_eq!(watch(&mut dog, later, 10..2000, |at| [at, at]), []);
    }
}
