//! Time as a parameter: milliseconds since a start that the caller chose.
//!
//! Everything in this crate lives on one monotonic line. The only instant that comes from a wall
//! clock is the end of an SA's validity; the caller moves it onto the line with
//! [`WallClock`] when it hands an SA in, and hands the SA in again with the corrected end should
//! the wall clock be stepped.

use core::fmt;
use core::time::Duration;

/// Milliseconds since the caller's start; never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The caller's start.
    pub const ZERO: Self = Self(0);

    /// The instant `ms` milliseconds after the start.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// The instant `seconds` seconds after the start.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds after the start.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero where `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The instant `duration` earlier; the start where that lies before it.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The instant `duration` later; the last one there is where that lies beyond it.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.0 / 1000, self.0 % 1000)
    }
}

/// The wall clock, as it stood at one [`Timestamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallClock {
    at: Timestamp,
    unix_millis: u64,
}

impl WallClock {
    /// A reading: at `at` the wall clock showed `since_epoch` after 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn new(at: Timestamp, since_epoch: Duration) -> Self {
        Self { at, unix_millis: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX) }
    }

    /// The instant at which the wall clock shows `unix_seconds`; [`Timestamp::ZERO`] where that
    /// lies before the start.
    #[must_use]
    pub const fn timestamp(self, unix_seconds: u64) -> Timestamp {
        let unix_millis = unix_seconds.saturating_mul(1000);
        if unix_millis >= self.unix_millis {
            Timestamp(self.at.0.saturating_add(unix_millis - self.unix_millis))
        } else {
            Timestamp(self.at.0.saturating_sub(self.unix_millis - unix_millis))
        }
    }

    /// What the wall clock shows at `at`, in whole seconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn unix_seconds(self, at: Timestamp) -> u64 {
        if at.0 >= self.at.0 {
            self.unix_millis.saturating_add(at.0 - self.at.0) / 1000
        } else {
            self.unix_millis.saturating_sub(self.at.0 - at.0) / 1000
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clock_maps_both_ways() {
        let clock =
            WallClock::new(Timestamp::from_millis(5_000), Duration::from_millis(1_700_000_000_250));
        let end = clock.timestamp(1_700_000_010);
        assert_eq!(end, Timestamp::from_millis(14_750));
        assert_eq!(clock.unix_seconds(end), 1_700_000_010);
        assert_eq!(clock.timestamp(1_699_999_999), Timestamp::from_millis(3_750));
        assert_eq!(clock.timestamp(0), Timestamp::ZERO);
        assert!(clock.timestamp(u64::MAX) > end);
    }

    #[test]
    fn time_saturates() {
        let last = Timestamp::from_millis(u64::MAX);
        assert_eq!(last.after(Duration::MAX), last);
        assert_eq!(Timestamp::ZERO.since(last), Duration::ZERO);
        assert_eq!(Timestamp::from_millis(61_005).to_string(), "61.005s");
    }
}
