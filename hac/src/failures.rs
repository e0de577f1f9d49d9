//! How long a mobile node that failed to authenticate waits for its 401.
//!
//! Who guesses waits longer and longer, and its connection counts against its source's limit all the
//! while. Who knows the key is answered at once, however many others have failed under its name: no
//! stranger can lock a mobile node out, or even slow it down. Nothing here knows whether an mn-id
//! exists.

use std::time::{Duration, Instant};

use hearth_wire::MobileNodeId;

use crate::buckets::Buckets;

/// Failures that are answered at once: a mistyped key, a mobile node with an old one.
const FREE: u32 = 3;
/// The delay of the first failure beyond; each one after it doubles it.
const FIRST: Duration = Duration::from_millis(125);
/// The longest.
const MOST: Duration = Duration::from_secs(4);
/// One failure is forgotten in this time.
const FORGET: Duration = Duration::from_secs(30);
/// Failures that are remembered: enough for the longest delay.
const REMEMBER: u32 = FREE + 6;

/// Failures by mn-id, in memory of a fixed size.
#[derive(Debug)]
pub struct Failures(Buckets);

impl Failures {
    /// None so far; `begin` is no later than any `now` to come.
    #[must_use]
    pub fn new(begin: Instant) -> Self {
        Self(Buckets::new(begin))
    }

    /// Counts a failure of `mn_id` at `now`: how long its answer has to wait.
    pub fn count(&self, mn_id: &MobileNodeId, now: Instant) -> Duration {
        let (Ok(level) | Err(level)) = self.0.pour(mn_id.as_str(), FORGET, FORGET * REMEMBER, now);
        let before =
            u32::try_from(level.as_millis().div_ceil(FORGET.as_millis())).unwrap_or(REMEMBER);
        match before.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(doublings) => (FIRST * 2_u32.saturating_pow(doublings)).min(MOST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_four_seconds_and_are_forgotten() {
        let begin = Instant::now();
        let failures = Failures::new(begin);
        let mn1 = MobileNodeId::new("mn1@example.net").unwrap();
        let count = |mn_id: &MobileNodeId, at: u64| {
            failures.count(mn_id, begin + Duration::from_secs(at)).as_millis()
        };
        let delays: Vec<_> = (0..12).map(|_| count(&mn1, 0)).collect();
        assert_eq!(delays, [0, 0, 0, 125, 250, 500, 1000, 2000, 4000, 4000, 4000, 4000]);
        let other = MobileNodeId::new("mn2@example.net").unwrap();
        assert_eq!(count(&other, 0), 0, "others don't wait");
        assert_eq!(count(&mn1, 120), 500, "four of the nine are forgotten");
        assert_eq!(count(&mn1, 3600), 0);
    }
}
