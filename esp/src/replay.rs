//! The window of received sequence numbers.
//!
//! Read first: RFC 4303 s.3.4.3; RFC 6618 s.6.1; readings R-23, R-24.
//!
//! ```text
//!            oldest                                newest
//!   dropped  |<------------ 1024 numbers ------------>|  new: moves the window
//! ```

use hearth_wire::SeqNo;

const WORD: u32 = 64;
const WORDS: usize = 16;
/// Numbers that the window covers.
pub const WINDOW: u32 = 1024;
const _: () = assert!(WINDOW as usize == WORD as usize * WORDS);

/// Why a sequence number is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplayError {
    /// It was accepted before.
    Replayed,
    /// It is left of the window.
    TooOld,
}

/// Which of the last [`WINDOW`] sequence numbers were received. The first packet may carry any
/// number, 0 included (R-23).
#[derive(Debug, Default)]
pub struct ReplayWindow {
    /// Newest number plus one; 0 before the first packet.
    next: u64,
    /// Bit `n % WINDOW` tells whether `n` was received, for the numbers in the window.
    seen: [u64; WORDS],
    tally: Tally,
}

/// What became of the sender's packets, as far as their numbers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Numbers that came.
    pub received: u64,
    /// Numbers between those that came which did not come (yet).
    pub missing: u64,
}

impl ReplayWindow {
    /// Whether `seq` could be new: the look before the ICV is checked (R-24).
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn look(&self, seq: SeqNo) -> Result<(), ReplayError> {
        let number = u64::from(seq.0);
        if number >= self.next {
            return Ok(());
        }
        if number + u64::from(WINDOW) < self.next {
            return Err(ReplayError::TooOld);
        }
        if self.is_seen(number) { Err(ReplayError::Replayed) } else { Ok(()) }
    }

    /// Takes `seq` if it is new: the commit after the ICV has passed (R-24).
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn accept(&mut self, seq: SeqNo) -> Result<(), ReplayError> {
        self.look(seq)?;
        let number = u64::from(seq.0);
        if number >= self.next {
            self.tally.missing += self.skipped_by(number);
            self.advance_to(number);
        } else {
            self.tally.missing = self.tally.missing.saturating_sub(1);
        }
        self.tally.received += 1;
        let (word, bit) = position(number);
        if let Some(word) = self.seen.get_mut(word) {
            *word |= bit;
        }
        Ok(())
    }

    /// How many numbers were received, and how many are missing in between.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// The numbers that `number` leaves out. Those before the first packet are none, and a sender that
    /// was restarted skips ahead by more than any loss (R-23).
    const fn skipped_by(&self, number: u64) -> u64 {
        let skipped = number - self.next;
        if self.next == 0 || skipped >= WINDOW as u64 { 0 } else { skipped }
    }

    /// Forgets the numbers that the window leaves behind when `number` becomes the newest.
    fn advance_to(&mut self, number: u64) {
        let step = number + 1 - self.next;
        if step >= u64::from(WINDOW) {
            self.seen = [0; WORDS];
        } else {
            for forgotten in self.next..=number {
                let (word, bit) = position(forgotten);
                if let Some(word) = self.seen.get_mut(word) {
                    *word &= !bit;
                }
            }
        }
        self.next = number + 1;
    }

    fn is_seen(&self, number: u64) -> bool {
        let (word, bit) = position(number);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }
}

/// Word and bit of a number in the ring.
#[expect(clippy::cast_possible_truncation, reason = "the remainder is below WORDS")]
fn position(number: u64) -> (usize, u64) {
    let slot = number % u64::from(WINDOW);
    ((slot / u64::from(WORD)) as usize, 1 << (slot % u64::from(WORD)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zero_is_a_valid_first_number_and_only_once() {
        let mut window = ReplayWindow::default();
        assert_eq!(window.accept(SeqNo(0)), Ok(()));
        assert_eq!(window.accept(SeqNo(0)), Err(ReplayError::Replayed));
        assert_eq!(window.accept(SeqNo(1)), Ok(()));
    }

    #[test]
    fn numbers_behind_the_window_are_refused() {
        let mut window = ReplayWindow::default();
        assert_eq!(window.accept(SeqNo(5000)), Ok(()));
        assert_eq!(window.accept(SeqNo(5000 - (WINDOW - 1))), Ok(()));
        assert_eq!(window.accept(SeqNo(5000 - WINDOW)), Err(ReplayError::TooOld));
        assert_eq!(window.accept(SeqNo(u32::MAX)), Ok(()));
        assert_eq!(window.accept(SeqNo(u32::MAX)), Err(ReplayError::Replayed));
        assert_eq!(window.accept(SeqNo(0)), Err(ReplayError::TooOld));
    }

    proptest! {
        /// Against a set that remembers everything.
        #[test]
        fn window_agrees_with_a_plain_set(numbers in prop::collection::vec(0u32..4000, 0..400)) {
            let mut window = ReplayWindow::default();
            let mut taken = BTreeSet::new();
            for number in numbers {
                let newest = taken.last().copied();
                let inside = newest.is_none_or(|newest: u32| number + WINDOW > newest);
                let expected = inside && !taken.contains(&number);
                prop_assert_eq!(window.accept(SeqNo(number)).is_ok(), expected);
                if expected {
                    taken.insert(number);
                }
            }
        }
    }

    #[test]
    fn what_is_missing_is_counted_until_it_comes() {
        let mut window = ReplayWindow::default();
        let mut take = |number| {
            window.accept(SeqNo(number)).unwrap();
            (window.tally().received, window.tally().missing)
        };
        // R-23: the first may carry any number, and a restart skips ahead.
        assert_eq!(take(500), (1, 0));
        assert_eq!(take(503), (2, 2));
        assert_eq!(take(501), (3, 1));
        assert_eq!(take(500_000), (4, 1));
        assert_eq!(take(500_001), (5, 1));
        window.accept(SeqNo(500_001)).unwrap_err();
        assert_eq!(window.tally(), Tally { received: 5, missing: 1 });
    }
}
