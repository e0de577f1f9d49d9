//! So many of something a second, at even distances.

use std::time::{Duration, Instant};

/// What is let go at once after a delay; the rest is given up and counted.
const BURST: f64 = 256.0;

/// A pace that began at some time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    begun: Instant,
    per_second: f64,
    done: u64,
    /// Given up: this machine was too slow.
    pub(super) given_up: u64,
}

impl Pace {
    /// `per_second` from `begun` on; 0: never.
    pub(super) const fn new(per_second: f64, begun: Instant) -> Self {
        Self { begun, per_second, done: 0, given_up: 0 }
    }

    /// How many are due now, at most [`BURST`].
    #[expect(clippy::cast_possible_truncation, reason = "bounded by BURST")]
    pub(super) fn due(&mut self, now: Instant) -> u32 {
        let elapsed = now.saturating_duration_since(self.begun).as_secs_f64();
        let behind = (elapsed * self.per_second).floor() - self.done as f64;
        if behind <= 0.0 {
            return 0;
        }
        let count = behind.min(BURST);
        // More than half a second late will not be made good.
        let lost = (behind - count - self.per_second / 2.0).max(0.0) as u64;
        self.given_up += lost;
        self.done += count as u64 + lost;
        count as u32
    }

    /// When the next one is due; `None`: never.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.per_second <= 0.0 {
            return None;
        }
        let after = (self.done + 1) as f64 / self.per_second;
        Some(self.begun + Duration::try_from_secs_f64(after).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_even_and_gives_up_what_is_too_late() {
        let begun = Instant::now();
        let mut pace = Pace::new(100.0, begun);
        let at = |ms| begun + Duration::from_millis(ms);
        assert_eq!(pace.due(at(9)), 0);
        assert_eq!(pace.due(at(11)), 1);
        assert_eq!(pace.next(), Some(at(20)));
        assert_eq!(pace.due(at(51)), 4);
        assert_eq!((pace.due(at(51)), pace.given_up), (0, 0));
        // 10 s late: 256 now, 50 within half a second, the rest never.
        assert_eq!(pace.due(at(10_051)), 256);
        assert_eq!(pace.given_up, 1000 - 256 - 50);
        assert_eq!(pace.due(at(10_051)), 50);
        assert_eq!(Pace::new(0.0, begun).next(), None);
        assert_eq!(Pace::new(0.0, begun).due(at(10_000)), 0);
    }
}
