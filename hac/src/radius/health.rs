//! Whether a server is dead.
//!
//! Read first: RFC 5997 s.4; RFC 3579 s.2.6.2; reading R-9.
//!
//! A stranger can make a request go unanswered: servers silently discard EAP that they don't like.
//! So one silence proves nothing. A server that has answered Status-Server before is dead when it
//! no longer does; of any other one, [`SILENT`] requests in a row have to go unanswered.
//!
//! ```text
//!          unanswered                 no answer to Status-Server,
//!  Alive -------------> Suspect --------- or SILENT in a row --------> Dead
//!    ^                     |                                            |
//!    +------ any answer ---+--------------------------------------------+
//! ```

use std::time::{Duration, Instant};

/// Requests in a row, with no answer to any other one between, that make a server dead.
const SILENT: u32 = 3;

/// How a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It answers.
    Alive,
    /// It left something unanswered: others are asked first.
    Suspect,
    /// It is not asked.
    Dead,
}

/// What follows from silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Nothing,
    /// It is to be asked by Status-Server.
    Probe,
    /// It is dead from now on.
    Died,
}

/// What is known of a server. Time is a parameter.
#[derive(Debug)]
pub struct Health {
    standing: Standing,
    /// The last answer.
    heard: Option<Instant>,
    /// When silence was last noticed.
    silence: Option<Instant>,
    silent: u32,
    answers_status: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            standing: Standing::Alive,
            heard: None,
            silence: None,
            silent: 0,
            answers_status: false,
        }
    }
}

impl Health {
    /// An answer came, to whatever request. Whether it was dead.
    pub fn heard(&mut self, now: Instant) -> bool {
        self.heard = Some(now);
        self.silent = 0;
        std::mem::replace(&mut self.standing, Standing::Alive) == Standing::Dead
    }

    /// It answered Status-Server.
    pub const fn answers_status(&mut self) {
        self.answers_status = true;
    }

    /// A request that was first sent at `begun` is given up.
    pub fn unanswered(&mut self, begun: Instant, now: Instant) -> Verdict {
        if self.heard.is_some_and(|heard| heard >= begun) {
            return Verdict::Nothing;
        }
        self.silence = Some(now);
        self.silent = self.silent.saturating_add(1);
        match self.standing {
            Standing::Dead => Verdict::Nothing,
            _ if self.silent >= SILENT && !self.answers_status => {
                self.standing = Standing::Dead;
                Verdict::Died
            }
            Standing::Alive => {
                self.standing = Standing::Suspect;
                Verdict::Probe
            }
            Standing::Suspect => Verdict::Nothing,
        }
    }

    /// A Status-Server that was first sent at `begun` is given up. Whether that makes it dead.
    pub fn status_unanswered(&mut self, begun: Instant, now: Instant) -> bool {
        let silent = self.answers_status && self.heard.is_none_or(|heard| heard < begun);
        if !silent {
            return false;
        }
        self.silence = Some(now);
        std::mem::replace(&mut self.standing, Standing::Dead) != Standing::Dead
    }

    /// How it stands. A dead server that Status-Server can't bring back is worth a try once
    /// `dead_time` is over.
    #[must_use]
    pub fn standing(&self, now: Instant, dead_time: Duration) -> Standing {
        let over = self.since_silence(now) >= dead_time;
        match self.standing {
            Standing::Dead if over && !self.answers_status => Standing::Suspect,
            standing => standing,
        }
    }

    /// Time until a dead server may be asked again, where Status-Server is sent every
    /// `dead_time`.
    #[must_use]
    pub fn until_retry(&self, now: Instant, dead_time: Duration) -> Duration {
        dead_time.saturating_sub(self.since_silence(now))
    }

    fn since_silence(&self, now: Instant) -> Duration {
        self.silence.map_or(Duration::MAX, |silence| now.saturating_duration_since(silence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD_TIME: Duration = Duration::from_secs(30);

    struct Clock(Instant);

    impl Clock {
        fn at(&self, seconds: u64) -> Instant {
            self.0 + Duration::from_secs(seconds)
        }
    }

    /// EAP-13: whom Status-Server answers is judged by it, however often requests are discarded.
    #[test]
    fn strangers_cant_kill_a_server_that_answers_status() {
        let (mut health, clock) = (Health::default(), Clock(Instant::now()));
        health.heard(clock.at(0));
        health.answers_status();
        assert_eq!(health.unanswered(clock.at(1), clock.at(4)), Verdict::Probe);
        assert_eq!(health.standing(clock.at(4), DEAD_TIME), Standing::Suspect);
        for _ in 0..10 {
            assert_eq!(health.unanswered(clock.at(2), clock.at(5)), Verdict::Nothing);
        }
        assert!(!health.heard(clock.at(6)));
        assert_eq!(health.standing(clock.at(6), DEAD_TIME), Standing::Alive);
        // Sent before, given up after: it was alive all the time.
        assert_eq!(health.unanswered(clock.at(5), clock.at(9)), Verdict::Nothing);
        assert_eq!(health.unanswered(clock.at(10), clock.at(14)), Verdict::Probe);
    }

    /// EAP-13.
    #[test]
    fn no_answer_to_status_is_death_until_there_is_one() {
        let (mut health, clock) = (Health::default(), Clock(Instant::now()));
        health.heard(clock.at(0));
        health.answers_status();
        assert_eq!(health.unanswered(clock.at(1), clock.at(4)), Verdict::Probe);
        assert!(health.status_unanswered(clock.at(4), clock.at(7)));
        assert!(!health.status_unanswered(clock.at(37), clock.at(40)), "told once");
        assert_eq!(health.standing(clock.at(1000), DEAD_TIME), Standing::Dead);
        assert_eq!(health.until_retry(clock.at(50), DEAD_TIME), Duration::from_secs(20));
        assert!(health.heard(clock.at(1001)));
        assert_eq!(health.standing(clock.at(1001), DEAD_TIME), Standing::Alive);
    }

    #[test]
    fn without_status_three_in_a_row_are_death_for_a_time() {
        let (mut health, clock) = (Health::default(), Clock(Instant::now()));
        assert_eq!(health.unanswered(clock.at(0), clock.at(3)), Verdict::Probe);
        assert!(
            !health.status_unanswered(clock.at(3), clock.at(6)),
            "it may not know Status-Server"
        );
        assert_eq!(health.unanswered(clock.at(3), clock.at(7)), Verdict::Nothing);
        assert!(!health.heard(clock.at(8)), "the row is broken");
        assert_eq!(health.unanswered(clock.at(10), clock.at(13)), Verdict::Probe);
        assert_eq!(health.unanswered(clock.at(13), clock.at(16)), Verdict::Nothing);
        assert_eq!(health.unanswered(clock.at(13), clock.at(16)), Verdict::Died);
        assert_eq!(health.standing(clock.at(45), DEAD_TIME), Standing::Dead);
        assert_eq!(health.standing(clock.at(46), DEAD_TIME), Standing::Suspect, "worth a try");
        assert_eq!(health.unanswered(clock.at(46), clock.at(49)), Verdict::Nothing);
        assert_eq!(health.standing(clock.at(49), DEAD_TIME), Standing::Dead, "and dead again");
        assert!(health.heard(clock.at(80)));
    }
}
