//! Token buckets: so many in a time, as many in one burst (RFC 4443 s.2.4 (f)).

use core::time::Duration;

use crate::time::Timestamp;

/// One mobile node's allowance of error messages, in eight octets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    /// When it is full again, in microseconds.
    full: u64,
}

impl Bucket {
    const SECOND_US: u64 = 1_000_000;

    /// Takes one token, where there is one.
    pub(crate) fn take(&mut self, now: Timestamp, per_second: u32) -> bool {
        let Some(each) = Self::SECOND_US.checked_div(per_second.into()) else { return false };
        let now = now.as_millis().saturating_mul(1000);
        let full = self.full.max(now).saturating_add(each);
        let granted = full <= now.saturating_add(Self::SECOND_US);
        if granted {
            self.full = full;
        }
        granted
    }
}

/// A bucket in eight octets, of which one may ask without taking.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// When it is full again.
    full: Timestamp,
}

impl Pace {
    const MINUTE_MS: u64 = 60_000;

    /// Whether one more is granted; 0 a minute is no limit.
    pub(crate) fn grants(self, now: Timestamp, per_minute: u32) -> bool {
        let Some(each) = Self::MINUTE_MS.checked_div(per_minute.into()) else { return true };
        let spent = self.full.as_millis().saturating_sub(now.as_millis());
        spent + each <= each * u64::from(per_minute)
    }

    /// Takes one.
    pub(crate) fn take(&mut self, now: Timestamp, per_minute: u32) {
        let each = Self::MINUTE_MS.checked_div(per_minute.into()).unwrap_or(0);
        self.full = self.full.max(now).after(Duration::from_millis(each));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_a_burst_and_then_the_rate() {
        let mut bucket = Bucket::default();
        let granted = |bucket: &mut Bucket, ms: u64, tries: u32| {
            (0..tries).filter(|_| bucket.take(Timestamp::from_millis(ms), 10)).count()
        };
        assert_eq!(granted(&mut bucket, 5, 1000), 10);
        assert_eq!(granted(&mut bucket, 104, 5), 0);
        assert_eq!(granted(&mut bucket, 105, 5), 1);
        assert_eq!(granted(&mut bucket, 1_105, 1000), 10);
        assert!(!Bucket::default().take(Timestamp::ZERO, 0));
    }

    #[test]
    fn a_pace_grants_a_burst_and_then_the_rate() {
        let granted = |pace: &mut Pace, seconds: u64| {
            let now = Timestamp::from_secs(seconds);
            (0..1000)
                .take_while(|_| pace.grants(now, 30).then(|| pace.take(now, 30)).is_some())
                .count()
        };
        let mut pace = Pace::default();
        assert_eq!([1, 2, 3, 4, 60, 1000].map(|at| granted(&mut pace, at)), [30, 0, 1, 0, 28, 30]);
        assert!(pace.grants(Timestamp::ZERO, 0) && size_of::<Pace>() == 8);
    }
}
