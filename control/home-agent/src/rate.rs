//! A token bucket: so many a second, as many in one burst (RFC 4443 s.2.4 (f)).

use crate::time::Timestamp;

/// One mobile node's allowance of error messages.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    /// Thousandths of a token that are spent.
    spent: u64,
    at: Timestamp,
}

impl Bucket {
    /// Takes one token, where there is one.
    pub(crate) fn take(&mut self, now: Timestamp, per_second: u32) -> bool {
        let rate = u64::from(per_second);
        let elapsed = now.as_millis().saturating_sub(self.at.as_millis());
        // `rate` tokens a second are `rate` thousandths a millisecond.
        self.spent = self.spent.saturating_sub(elapsed.saturating_mul(rate));
        self.at = now;
        let granted = self.spent + 1000 <= rate * 1000;
        if granted {
            self.spent += 1000;
        }
        granted
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
}
