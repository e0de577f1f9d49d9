//! How many lines a second the log gets: a storm of registrations must not be one of lines.

use std::time::{Duration, Instant};

use hearth_home_agent::Notice;
use tracing::info;

use crate::notices;

/// Lines in one period, and how long that is.
const LINES: u32 = 100;
const PERIOD: Duration = Duration::from_secs(1);

/// Logs what the home agent noticed, as far as the allowance goes.
#[derive(Debug, Default)]
pub struct Journal {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Journal {
    /// Logs `notice`, or counts it.
    pub(crate) fn log(&mut self, notice: &Notice) {
        if self.takes(notice, Instant::now()) {
            notices::log(notice);
        }
    }

    /// Whether `notice` is within the allowance.
    fn takes(&mut self, notice: &Notice, now: Instant) -> bool {
        // Lines for who debugs have no limit: nobody else asks for them.
        if matches!(notice, Notice::Refreshed { .. } | Notice::SaEnded { .. }) {
            return true;
        }
        self.begin_anew(now);
        self.lines += 1;
        let takes = self.lines <= LINES;
        self.left_out += u64::from(!takes);
        takes
    }

    /// Says how much was left out, once the period is over.
    pub(crate) fn begin_anew(&mut self, now: Instant) {
        if self.began.is_some_and(|began| now.duration_since(began) < PERIOD) {
            return;
        }
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            info!(left_out, "and so many more");
        }
        self.began = Some(now);
        self.lines = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn a_storm_leaves_a_hundred_lines_a_second_and_a_count() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        let home_address = Ipv6Addr::LOCALHOST;
        let ended = Notice::Deregistered { home_address };
        let taken = (0..5000).filter(|_| journal.takes(&ended, now)).count();
        assert_eq!((taken, journal.left_out), (100, 4900));
        let refreshed = Notice::Refreshed { home_address, lifetime: PERIOD };
        assert!(journal.takes(&refreshed, now), "as good as free");
        assert!(journal.takes(&ended, now + PERIOD));
        assert_eq!(journal.left_out, 0);
    }
}
