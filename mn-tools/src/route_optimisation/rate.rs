//! How often messages may be sent (RFC 6275 s.11.8).

use std::time::{Duration, Instant};

/// MAX_UPDATE_RATE: messages of one type to one correspondent within a second.
const MAX_UPDATE_RATE: usize = 3;
const SECOND: Duration = Duration::from_secs(1);
/// INITIAL_BINDACK_TIMEOUT.
const INITIAL_TIMEOUT: Duration = SECOND;
/// Unanswered messages after which a correspondent is left alone: 15 s in all.
const TRIES: u32 = 4;

/// When messages of one type were sent last.
#[derive(Debug, Default)]
pub(super) struct Rate {
    sent: [Option<Instant>; MAX_UPDATE_RATE],
}

impl Rate {
    /// When the next one may go.
    pub(super) fn allowed_at(&self, now: Instant) -> Instant {
        let [oldest, ..] = self.sent;
        oldest.map_or(now, |oldest| now.max(oldest + SECOND))
    }

    /// One is sent.
    pub(super) const fn note(&mut self, now: Instant) {
        let [_, second, third] = self.sent;
        self.sent = [second, third, Some(now)];
    }
}

/// When the answer to a message is overdue; every time waits twice as long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    pub(super) at: Instant,
    timeout: Duration,
    tries: u32,
}

impl Retry {
    pub(super) fn new(now: Instant) -> Self {
        Self { at: now + INITIAL_TIMEOUT, timeout: INITIAL_TIMEOUT, tries: 1 }
    }

    /// The same timer, due at another time.
    pub(super) const fn due(self, at: Instant) -> Self {
        Self { at, ..self }
    }

    /// The timer of the message that is sent once more; `None` where it was sent often enough.
    pub(super) fn again(self, now: Instant) -> Option<Self> {
        let timeout = self.timeout * 2;
        let again = Self { at: now + timeout, timeout, tries: self.tries + 1 };
        (self.tries < TRIES).then_some(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_messages_go_within_a_second() {
        let begin = Instant::now();
        let mut rate = Rate::default();
        for ms in [0, 10, 20] {
            let now = begin + Duration::from_millis(ms);
            assert_eq!(rate.allowed_at(now), now);
            rate.note(now);
        }
        assert_eq!(rate.allowed_at(begin + Duration::from_millis(30)), begin + SECOND);
        rate.note(begin + SECOND);
        let now = begin + SECOND;
        assert_eq!(rate.allowed_at(now), begin + Duration::from_millis(1010));
    }

    #[test]
    fn four_messages_wait_1_2_4_and_8_seconds() {
        let begin = Instant::now();
        let mut waits = Vec::new();
        let mut retry = Some(Retry::new(begin));
        let mut now = begin;
        while let Some(timer) = retry {
            waits.push((timer.at - now).as_secs());
            now = timer.at;
            retry = timer.again(now);
        }
        assert_eq!(waits, [1, 2, 4, 8]);
    }
}
