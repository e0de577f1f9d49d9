//! When the HAC is contacted, and how long a failure keeps us away from it.

use std::time::{Duration, Instant};

use super::Timers;

/// Longest pause that a 503 can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// No SA is wanted.
    #[default]
    Idle,
    /// A session with the HAC is under way.
    Running,
    /// The last one failed.
    Waiting { until: Instant, by_network: bool },
}

/// State of the bootstrap.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BootstrapTimer {
    state: State,
    failures: u32,
}

impl BootstrapTimer {
    /// A new SA is wanted: whether a session is to begin now.
    pub(super) fn request(&mut self) -> bool {
        let begin = self.state == State::Idle;
        if begin {
            self.state = State::Running;
        }
        begin
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The pause before the next session: doubled with each failure, with a quarter of jitter to
    /// either side, and never shorter than a 503 asks for.
    pub(super) fn failed(
        &mut self,
        timers: &Timers,
        retry_after: Option<Duration>,
        by_network: bool,
        jitter: f64,
        now: Instant,
    ) -> Duration {
        let pause = super::back_off(timers.hac_retry, self.failures, timers.hac_max_retry)
            .mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0);
        let pause = pause.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting { until: now + pause, by_network };
        pause
    }

    /// A new network is worth a try at once where the old one was the trouble.
    pub(super) fn network_changed(&mut self, now: Instant) {
        if let State::Waiting { until, by_network: true } = &mut self.state {
            *until = now;
            self.failures = 0;
        }
    }

    /// The clock was set, or the machine has slept: a certificate may be valid now that was not, and a
    /// pause that a 503 asked for by the time of day may be over.
    pub(super) fn clock_changed(&mut self, now: Instant) {
        if let State::Waiting { until, .. } = &mut self.state {
            *until = now;
            self.failures = 0;
        }
    }

    /// Whether a session is to begin now.
    pub(super) fn on_timer(&mut self, now: Instant) -> bool {
        let due = matches!(self.state, State::Waiting { until, .. } if until <= now);
        if due {
            self.state = State::Running;
        }
        due
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until, .. } => Some(until),
            State::Idle | State::Running => None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }
}
