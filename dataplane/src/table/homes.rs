//! Bound home addresses, of both families: which binding a destination belongs to.
//!
//! Every packet to a mobile node is looked up here, and with a million bindings nearly every look-up
//! goes to memory. So an entry is found by one cache line of one huge page: the key stands in the
//! bucket itself, and no key ever moves.
//!
//! ```text
//! bucket   passed | value 0 .. 2 | key 0 .. 2        control: rw   workers: ro
//! ```
//!
//! An address belongs to a bucket by its hash; where that is full, to the next with room. `passed`
//! counts the entries that had to go on from a bucket, so that a look-up knows when to stop, also
//! after entries were taken out.
//!
//! There is one writer, and readers take no lock. A value of 0 is no entry; control writes the key
//! while the value is 0, and a value never comes back within a grace period, because it names a
//! binding's cell. So a reader that finds the same value before and after it compared the key has
//! seen both as they belong together.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::layout::Address6;
use crate::sa::slot::BindingIndex;
use crate::table::reserve::{Reserve, Zeroed};

/// Entries of a bucket.
const ENTRIES: usize = 3;

/// One cache line; all zero is an empty bucket.
#[repr(C, align(64))]
struct Bucket {
    passed: AtomicU32,
    /// Index of a binding plus 1; 0: no entry.
    values: [AtomicU32; ENTRIES],
    keys: [[AtomicU64; 2]; ENTRIES],
}

const _: () = assert!(size_of::<Bucket>() == 64);

// SAFETY: atomic integers, of which 0 is valid.
unsafe impl Zeroed for Bucket {}

/// No place is left for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The table; IPv4 addresses stand in it in their mapped form.
pub(crate) struct HomeTable {
    buckets: Reserve<Bucket>,
    /// Nobody outside knows which addresses share a bucket.
    multipliers: [u64; 2],
    shift: u32,
}

/// A place in the table.
#[derive(Clone, Copy)]
struct Place<'t> {
    bucket: &'t Bucket,
    entry: usize,
}

impl Place<'_> {
    fn value(&self) -> &AtomicU32 {
        &self.bucket.values[self.entry]
    }
}

impl HomeTable {
    /// Room for so many addresses; `None` where memory or random numbers are lacking.
    pub(crate) fn new(addresses: usize) -> Option<Self> {
        // At most three quarters full, and mostly much less.
        let buckets = (addresses.checked_mul(4)? / 9).max(64).checked_next_power_of_two()?;
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).ok()?;
        let number = u128::from_ne_bytes(seed);
        #[expect(clippy::cast_possible_truncation, reason = "its halves")]
        let multipliers = [number as u64 | 1, (number >> 64) as u64 | 1];
        let shift = 64 - buckets.trailing_zeros();
        Some(Self { buckets: Reserve::new(buckets)?, multipliers, shift })
    }

    /// Where the bucket of an address is.
    #[inline]
    fn home(&self, address: Address6) -> usize {
        let ([high, low], [a, b]) = (address.words(), self.multipliers);
        // The upper bits of a product depend on all bits of its factors.
        let mixed = (high ^ high >> 32).wrapping_mul(a) ^ (low ^ low >> 32).wrapping_mul(b);
        #[expect(clippy::cast_possible_truncation, reason = "below the number of buckets")]
        let home = (mixed >> self.shift) as usize;
        home
    }

    /// Asks for the bucket of an address.
    #[inline]
    pub(crate) fn prefetch(&self, address: Address6) {
        self.buckets.prefetch(self.home(address), 1);
    }

    /// The binding of an address.
    #[inline]
    pub(crate) fn get(&self, address: Address6) -> Option<BindingIndex> {
        let mut at = self.home(address);
        for _ in self.buckets.as_slice() {
            let bucket = self.buckets.get(at)?;
            for entry in 0..ENTRIES {
                if let Some(found) = read(bucket, entry, address) {
                    return Some(found);
                }
            }
            if bucket.passed.load(Ordering::Acquire) == 0 {
                return None;
            }
            at = self.next(at);
        }
        None
    }

    const fn next(&self, at: usize) -> usize {
        (at + 1) & (self.buckets.as_slice().len() - 1)
    }

    /// Adds an address, or gives it another binding. Control only.
    pub(crate) fn insert(&self, address: Address6, index: BindingIndex) -> Result<(), Full> {
        let value = index.0.checked_add(1).ok_or(Full)?;
        if let Some(place) = self.find(address) {
            place.value().store(value, Ordering::Release);
            return Ok(());
        }
        let place = self.vacancy(address).ok_or(Full)?;
        self.pass(address, place.bucket, |passed| passed + 1);
        fence(Ordering::Release);
        for (word, half) in place.bucket.keys[place.entry].iter().zip(address.words()) {
            word.store(half, Ordering::Relaxed);
        }
        place.value().store(value, Ordering::Release);
        Ok(())
    }

    /// Takes an address out. Control only.
    pub(crate) fn remove(&self, address: Address6) {
        if let Some(place) = self.find(address) {
            place.value().store(0, Ordering::Relaxed);
            fence(Ordering::Release);
            self.pass(address, place.bucket, |passed| passed - 1);
        }
    }

    fn find(&self, address: Address6) -> Option<Place<'_>> {
        let mut at = self.home(address);
        for _ in self.buckets.as_slice() {
            let bucket = self.buckets.get(at)?;
            let entry = (0..ENTRIES).find(|&entry| {
                bucket.values[entry].load(Ordering::Relaxed) != 0 && key(bucket, entry) == address
            });
            if let Some(entry) = entry {
                return Some(Place { bucket, entry });
            }
            if bucket.passed.load(Ordering::Relaxed) == 0 {
                return None;
            }
            at = self.next(at);
        }
        None
    }

    fn vacancy(&self, address: Address6) -> Option<Place<'_>> {
        let mut at = self.home(address);
        for _ in self.buckets.as_slice() {
            let bucket = self.buckets.get(at)?;
            let free = bucket.values.iter().position(|value| value.load(Ordering::Relaxed) == 0);
            if let Some(entry) = free {
                return Some(Place { bucket, entry });
            }
            at = self.next(at);
        }
        None
    }

    /// Changes the counts of the buckets that an address goes on from, up to the one it stands in.
    fn pass(&self, address: Address6, end: &Bucket, change: impl Fn(u32) -> u32) {
        let mut at = self.home(address);
        while let Some(bucket) = self.buckets.get(at).filter(|bucket| !core::ptr::eq(*bucket, end))
        {
            let passed = change(bucket.passed.load(Ordering::Relaxed));
            bucket.passed.store(passed, Ordering::Relaxed);
            at = self.next(at);
        }
    }
}

/// The binding of an entry, if it is this address's.
#[inline]
fn read(bucket: &Bucket, entry: usize, address: Address6) -> Option<BindingIndex> {
    let mut value = bucket.values[entry].load(Ordering::Acquire);
    while value != 0 && key(bucket, entry) == address {
        fence(Ordering::Acquire);
        let after = bucket.values[entry].load(Ordering::Relaxed);
        if after == value {
            return Some(BindingIndex(value - 1));
        }
        // Control came in between.
        value = after;
        fence(Ordering::Acquire);
    }
    None
}

#[inline]
fn key(bucket: &Bucket, entry: usize) -> Address6 {
    let [high, low] = &bucket.keys[entry];
    Address6::of_words([high.load(Ordering::Relaxed), low.load(Ordering::Relaxed)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn address(n: u64) -> Address6 {
        Address6::of_words([0x2001_0db8_000f_0000, n])
    }

    #[test]
    fn every_address_of_a_full_prefix_is_found() {
        const COUNT: u32 = 100_000;
        let table = HomeTable::new(COUNT as usize).unwrap();
        for n in 0..COUNT {
            table.insert(address(n.into()), BindingIndex(n)).unwrap();
        }
        for n in 0..COUNT {
            assert_eq!(table.get(address(n.into())), Some(BindingIndex(n)));
        }
        assert_eq!(table.get(address(COUNT.into())), None);
        assert_eq!(table.get(Address6::mapped(7)), None);
    }

    #[test]
    fn a_full_table_says_so_and_keeps_what_it_has() {
        let table = HomeTable::new(1).unwrap();
        let room = 64 * ENTRIES as u32;
        for n in 0..room {
            table.insert(address(n.into()), BindingIndex(n)).unwrap();
        }
        assert_eq!(table.insert(address(room.into()), BindingIndex(room)), Err(Full));
        assert_eq!(table.insert(address(5), BindingIndex(room)), Ok(()));
        assert_eq!(table.get(address(5)), Some(BindingIndex(room)));
        for n in 0..room {
            table.remove(address(n.into()));
        }
        for bucket in table.buckets.as_slice() {
            assert_eq!(bucket.passed.load(Ordering::Relaxed), 0);
        }
        assert_eq!(table.get(address(5)), None);
    }

    proptest! {
        /// 192 places and up to 180 addresses: most buckets pass some on.
        #[test]
        fn agrees_with_a_map(
            steps in prop::collection::vec((0_u64..180, any::<bool>(), 0_u32..1000), 1..600),
        ) {
            let table = HomeTable::new(1).unwrap();
            let mut map = HashMap::new();
            for (n, add, value) in steps {
                if add {
                    prop_assert_eq!(table.insert(address(n), BindingIndex(value)), Ok(()));
                    map.insert(n, BindingIndex(value));
                } else {
                    table.remove(address(n));
                    map.remove(&n);
                }
                for n in 0..180 {
                    prop_assert_eq!(table.get(address(n)), map.get(&n).copied());
                }
            }
        }
    }

    /// Addresses change places with each other; whoever reads one never gets another's binding.
    #[test]
    fn readers_never_see_another_address() {
        const ADDRESSES: u32 = 190;
        let table = HomeTable::new(1).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                // A value is never used again, as after a grace period.
                for n in 0..300_000_u32 {
                    let of = n.wrapping_mul(2_654_435_761) >> 7;
                    let address = address(u64::from(of % ADDRESSES));
                    if of & 1 == 0 {
                        table.insert(address, BindingIndex(n * 256 + of % ADDRESSES)).unwrap();
                    } else {
                        table.remove(address);
                    }
                }
            });
            while !writer.is_finished() {
                for n in 0..ADDRESSES {
                    if let Some(BindingIndex(value)) = table.get(address(n.into())) {
                        assert_eq!(value % 256, n);
                    }
                }
            }
        });
    }
}
