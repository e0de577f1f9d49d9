//! Sleep of the machine, and steps of its clock.
//!
//! [`std::time::Instant`] stands still while the machine sleeps; bindings, SAs and NATs do not.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

/// Shorter pauses are the scheduler's.
const LEAST: Duration = Duration::from_secs(1);
/// A day that never comes, in Unix seconds: the timer is only there to be cancelled.
const NEVER: i64 = 1 << 40;

/// How long the machine has slept so far.
#[derive(Debug)]
pub struct Sleep(Duration);

impl Sleep {
    /// From now on.
    #[must_use]
    pub fn new() -> Self {
        Self(slept_since_boot())
    }

    /// How long the machine slept since the last call; zero where it did not.
    pub fn take(&mut self) -> Duration {
        self.until(slept_since_boot())
    }

    fn until(&mut self, total: Duration) -> Duration {
        let slept = total.saturating_sub(self.0);
        if slept < LEAST {
            return Duration::ZERO;
        }
        self.0 = total;
        slept
    }
}

impl Default for Sleep {
    fn default() -> Self {
        Self::new()
    }
}

/// CLOCK_BOOTTIME counts sleep, CLOCK_MONOTONIC does not.
fn slept_since_boot() -> Duration {
    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    let awake = read(ClockId::Monotonic);
    read(ClockId::Boottime).saturating_sub(awake)
}

/// Waits for steps of the clock, as there is one after a sleep.
#[derive(Debug)]
pub struct Steps(OwnedFd);

impl Steps {
    /// # Errors
    /// As the kernel says.
    pub fn watch() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC)?;
        arm(&timer)?;
        Ok(Self(timer))
    }

    /// Returns after the next step.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn wait(&self) -> io::Result<()> {
        loop {
            match rustix::io::read(self.0.as_fd(), &mut [0; 8]) {
                Err(rustix::io::Errno::CANCELED) => {
                    arm(&self.0)?;
                    return Ok(());
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn arm(timer: &OwnedFd) -> io::Result<()> {
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    let never = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec { tv_sec: NEVER, tv_nsec: 0 },
    };
    match timerfd_settime(timer, flags, &never) {
        // A step between the last one and this: the timer is armed nevertheless.
        Ok(_) | Err(rustix::io::Errno::CANCELED) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_is_told_once_and_small_pauses_are_none() {
        let mut sleep = Sleep(Duration::from_secs(10));
        assert_eq!(sleep.until(Duration::from_millis(10_900)), Duration::ZERO);
        assert_eq!(sleep.until(Duration::from_millis(11_500)), Duration::from_millis(1500));
        assert_eq!(sleep.until(Duration::from_millis(11_500)), Duration::ZERO);
        assert_eq!(Sleep::new().take(), Duration::ZERO);
    }

    #[test]
    fn a_timer_can_be_set_that_only_a_step_ends() {
        let steps = Steps::watch().unwrap();
        let mut fds = [rustix::event::PollFd::new(&steps.0, rustix::event::PollFlags::IN)];
        let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut fds, Some(&nothing)).unwrap(), 0);
    }
}
