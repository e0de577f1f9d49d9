//! Leaky buckets for more keys than anybody could count, in memory of a fixed size.
//!
//! ```text
//!            key -- keyed hash --> one bucket in each row
//!  row 0   [ ][ ][#][ ][ ][ ]
//!  row 1   [ ][ ][ ][ ][#][ ]      its level is the lowest of its buckets
//! ```
//! Who shares a bucket with a noisy neighbour in one row hardly ever does so in the other, and nobody
//! can look for such neighbours without the key of the hash, which is drawn when the process starts.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Buckets of a row.
const CELLS: usize = 1 << 14;

/// Leaky buckets: what is poured in leaks out by itself, a second of it each second.
#[derive(Debug)]
pub struct Buckets {
    hash: RandomState,
    begin: Instant,
    /// When each bucket will be empty, in nanoseconds since `begin`.
    rows: Mutex<[Box<[u64]>; 2]>,
}

impl Buckets {
    /// Empty ones; `begin` is no later than any `now` to come.
    #[must_use]
    pub fn new(begin: Instant) -> Self {
        let row = || vec![0; CELLS].into_boxed_slice();
        Self { hash: RandomState::new(), begin, rows: Mutex::new([row(), row()]) }
    }

    /// Pours `amount` into the bucket of `key` unless it would run over `brim`: the level before.
    ///
    /// # Errors
    /// The level; nothing was poured in.
    pub fn pour(
        &self,
        key: impl Hash,
        amount: Duration,
        brim: Duration,
        now: Instant,
    ) -> Result<Duration, Duration> {
        let hash = self.hash.hash_one(key);
        let places = [place(hash), place(hash >> 32)];
        let now = nanoseconds(now.saturating_duration_since(self.begin));
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cells = rows.iter_mut().zip(places).filter_map(|(row, place)| row.get_mut(place));
        let (Some(one), Some(other)) = (cells.next(), cells.next()) else {
            return Err(Duration::ZERO);
        };
        let level = (*one).min(*other).saturating_sub(now);
        let filled = level.saturating_add(nanoseconds(amount));
        if filled > nanoseconds(brim) {
            return Err(Duration::from_nanos(level));
        }
        // No bucket is filled higher than this key alone has filled it.
        let empty_at = now.saturating_add(filled);
        for cell in [one, other] {
            *cell = (*cell).max(empty_at);
        }
        Ok(Duration::from_nanos(level))
    }
}

fn place(hash: u64) -> usize {
    usize::try_from(hash & u64::from(u32::MAX)).map_or(0, |hash| hash % CELLS)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_takes_so_much_and_leaks() {
        let begin = Instant::now();
        let buckets = Buckets::new(begin);
        let pour = |key: &str, at: u64| {
            buckets.pour(key, SECOND, 3 * SECOND, begin + Duration::from_secs(at))
        };
        for level in 0..3 {
            assert_eq!(pour("a", 0), Ok(level * SECOND));
        }
        assert_eq!(pour("a", 0), Err(3 * SECOND));
        assert_eq!(pour("b", 0), Ok(Duration::ZERO), "each has its own");
        assert_eq!(pour("a", 1), Ok(2 * SECOND), "one has leaked out");
        assert_eq!(pour("a", 1), Err(3 * SECOND));
        assert_eq!(pour("a", 100), Ok(Duration::ZERO));
    }

    #[test]
    fn a_crowd_of_noisy_keys_fills_hardly_anybody_elses_bucket() {
        let begin = Instant::now();
        let buckets = Buckets::new(begin);
        for noisy in 0..1000 {
            while buckets.pour(noisy, SECOND, 3 * SECOND, begin).is_ok() {}
        }
        let quiet = |key: &u32| buckets.pour(key, SECOND, 3 * SECOND, begin) == Err(3 * SECOND);
        let hit = (1_000_000..1_010_000).filter(quiet).count();
        assert!(hit < 200, "{hit} of 10000");
    }
}
