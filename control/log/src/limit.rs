//! How often one line may be logged: a stranger must not be able to fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines in each [`WINDOW`].
const LINES: u32 = 10;
/// Seconds in which so many lines are logged.
const WINDOW: Duration = Duration::from_secs(10);

/// Lets so many lines pass and counts the others. What it limits shares one allowance.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    window: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl LogLimit {
    /// Whether a line may be logged at `now`, and if so how many were suppressed since the last.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.window.is_none_or(|begin| now.saturating_duration_since(begin) >= WINDOW) {
            state.window = Some(now);
            state.lines = 0;
        }
        if state.lines >= LINES {
            state.suppressed = state.suppressed.saturating_add(1);
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let (limit, begin) = (LogLimit::default(), Instant::now());
        let admitted = |at: u64, count: u32| -> Vec<u64> {
            let now = begin + Duration::from_secs(at);
            (0..count).filter_map(|_| limit.admit(now)).collect()
        };
        assert_eq!(admitted(0, 1), [0]);
        assert_eq!(admitted(9, 1000), [0; 9]);
        assert_eq!(admitted(10, 2), [991, 0], "told with the next line, once");
        assert_eq!(admitted(19, 9), [0; 8]);
        assert_eq!(admitted(3600, 1), [1]);
    }
}
