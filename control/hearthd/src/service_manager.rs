//! Tells the service manager how the daemon is (sd_notify(3)); nothing where there is none.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::warn;

/// How often the line that `systemctl status` shows is written anew.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// The service manager that started this process, if one did.
#[derive(Debug)]
pub struct ServiceManager {
    /// How often it wants to hear that the control thread turns (WatchdogSec=), with room to be late.
    interval: Option<Duration>,
    told_alive: Option<Instant>,
    told_status: Option<Instant>,
    status: String,
    ready: bool,
}

impl ServiceManager {
    /// The one of the environment: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::with_watchdog(sd_notify::watchdog_enabled())
    }

    fn with_watchdog(timeout: Option<Duration>) -> Self {
        Self {
            interval: timeout.map(|timeout| timeout / 3),
            told_alive: None,
            told_status: None,
            status: String::new(),
            ready: false,
        }
    }

    /// The daemon forwards, and what is in its files is in force.
    pub fn ready(&mut self) {
        self.ready = true;
        tell(&[NotifyState::Ready]);
    }

    /// The daemon reads its files again; [`Self::ready`] follows.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// The daemon ends, and that may take so long.
    pub fn stopping(&self, within: Duration) {
        let micros = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
        tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
    }

    /// The control thread turns; `status` makes a line for people.
    ///
    /// Tells no more often than wanted: it may be called in every turn.
    pub fn alive(&mut self, now: Instant, status: impl FnOnce() -> String) {
        if !self.ready {
            return;
        }
        let due = |last: Option<Instant>, interval| {
            last.is_none_or(|last| now.saturating_duration_since(last) >= interval)
        };
        if self.interval.is_some_and(|interval| due(self.told_alive, interval)) {
            self.told_alive = Some(now);
            tell(&[NotifyState::Watchdog]);
        }
        if due(self.told_status, STATUS_INTERVAL) {
            self.told_status = Some(now);
            let status = status();
            if status != self.status {
                tell(&[NotifyState::Status(&status)]);
                self.status = status;
            }
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager can't be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What would be told can be seen without a service manager: by what is asked for.
    #[test]
    fn it_is_told_no_more_often_than_it_wants_to_be() {
        let begun = Instant::now();
        let mut manager = ServiceManager::with_watchdog(Some(Duration::from_secs(3)));
        let mut asked = 0;
        let mut at = |manager: &mut ServiceManager, ms| {
            let before = asked;
            manager.alive(begun + Duration::from_millis(ms), || {
                asked += 1;
                String::from("1 binding")
            });
            (asked - before, manager.told_alive.map(|told| told.duration_since(begun).as_millis()))
        };
        assert_eq!(at(&mut manager, 0), (0, None), "not before it is ready");
        manager.ready();
        assert_eq!(at(&mut manager, 10), (1, Some(10)));
        assert_eq!(at(&mut manager, 1009), (0, Some(10)));
        assert_eq!(at(&mut manager, 1010), (0, Some(1010)));
        assert_eq!(at(&mut manager, 5010), (1, Some(5010)));
    }
}
