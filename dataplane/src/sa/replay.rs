//! The replay window of one SA.
//!
//! Read first: RFC 4303 s.3.4.3; readings R-23, R-24.
//!
//! A ring of `N` bits, one per sequence number; `N` is a power of two. The window is the last `N`
//! numbers up to the highest accepted one. It is full from the first packet on: a number that lies
//! `N` or more left of the highest is too old, whatever was seen before.
//!
//! ```text
//!            too old        |<----------- N ----------->|        fresh
//!  . . . . . . . . . . . . .|. 1 1 . 1 1 1 1 1 . 1 1 1 1|. . . . . . . . .
//!                            highest - N + 1      highest
//! ```
//!
//! The bit of number `s` is bit `s mod N`. When the window moves right by `d`, the bits of the `d`
//! numbers that come in still hold what left on the other side, so they are cleared.
//!
//! Looking changes nothing; only [`ReplayWindow::commit`] does, and only after the ICV passed. Two
//! copies of one number in one batch both pass the look: the commit is a test-and-set.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hearth_wire::SeqNo;

/// What the window says about a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replay {
    /// Not seen yet.
    Fresh,
    /// Already accepted.
    Replayed,
    /// Left of the window.
    TooOld,
}

/// The window of one SA: a view of its state in the SA table.
///
/// The state is atomic only so that control may read it; one worker writes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplayWindow<'a> {
    /// Highest accepted number plus 1; 0 while nothing was accepted. owner: rw, control: ro
    top: &'a AtomicU64,
    /// `N / 64` words. owner: rw
    bits: &'a [AtomicU64],
}

impl<'a> ReplayWindow<'a> {
    /// A window over this state. The number of words must be a power of two; with none every
    /// number is refused.
    #[must_use]
    pub(crate) const fn new(top: &'a AtomicU64, bits: &'a [AtomicU64]) -> Self {
        Self { top, bits }
    }

    const fn width(self) -> u64 {
        self.bits.len() as u64 * 64
    }

    /// Whether `seq` would be accepted.
    #[must_use]
    pub(crate) fn look(self, seq: SeqNo) -> Replay {
        let (seq, top) = (u64::from(seq.0), self.top.load(Relaxed));
        if seq >= top {
            return if self.bits.is_empty() { Replay::TooOld } else { Replay::Fresh };
        }
        if top - seq > self.width() {
            return Replay::TooOld;
        }
        let (word, mask) = self.place(seq);
        match word {
            Some(word) if word.load(Relaxed) & mask == 0 => Replay::Fresh,
            Some(_) => Replay::Replayed,
            None => Replay::TooOld,
        }
    }

    /// Accepts `seq` if it is fresh, and says what it was.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a few words for most packets")]
    pub(crate) fn commit(self, seq: SeqNo) -> Replay {
        match self.commit_next(seq) {
            Some(verdict) => verdict,
            None => self.commit_any(seq),
        }
    }

    #[inline(never)]
    fn commit_any(self, seq: SeqNo) -> Replay {
        let verdict = self.look(seq);
        if verdict != Replay::Fresh {
            return verdict;
        }
        let (seq, top) = (u64::from(seq.0), self.top.load(Relaxed));
        if seq >= top {
            self.clear(top, seq);
            self.top.store(seq + 1, Relaxed);
        }
        if let (Some(word), mask) = self.place(seq) {
            word.store(word.load(Relaxed) | mask, Relaxed);
        }
        Replay::Fresh
    }

    /// [`Self::commit`] of the number behind the highest: what nearly all packets have.
    #[inline]
    fn commit_next(self, seq: SeqNo) -> Option<Replay> {
        let seq = u64::from(seq.0);
        if seq != self.top.load(Relaxed) {
            return None;
        }
        let (word, mask) = self.place(seq);
        let word = word?;
        word.store(word.load(Relaxed) | mask, Relaxed);
        self.top.store(seq + 1, Relaxed);
        Some(Replay::Fresh)
    }

    /// The highest accepted number.
    #[must_use]
    pub(crate) fn highest(self) -> Option<SeqNo> {
        self.top.load(Relaxed).checked_sub(1).and_then(|seq| u32::try_from(seq).ok()).map(SeqNo)
    }

    /// Clears the bits of the numbers `from ..= to`.
    fn clear(self, from: u64, to: u64) {
        if to - from >= self.width() {
            self.bits.iter().for_each(|word| word.store(0, Relaxed));
            return;
        }
        let mut seq = from;
        while seq <= to {
            // All that lie in this number's word, at once.
            let first = seq % 64;
            let count = (64 - first).min(to - seq + 1);
            let mask = (u64::MAX >> (64 - count)) << first;
            if let (Some(word), _) = self.place(seq) {
                word.store(word.load(Relaxed) & !mask, Relaxed);
            }
            seq += count;
        }
    }

    fn place(self, seq: u64) -> (Option<&'a AtomicU64>, u64) {
        (self.bits.get(word_of(seq, self.bits.len())), 1 << (seq % 64))
    }
}

/// The word in which a number's bit stands, of a power of two, so that the ring stays whole as
/// numbers grow.
#[inline]
const fn word_of(seq: u64, words: usize) -> usize {
    (seq / 64) as usize & words.wrapping_sub(1)
}

/// The word in which a packet's bit stands.
#[inline]
pub(crate) const fn place_of(SeqNo(seq): SeqNo, words: usize) -> usize {
    word_of(seq as u64, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    struct State {
        top: AtomicU64,
        bits: Vec<AtomicU64>,
    }

    impl State {
        fn new(width: usize) -> Self {
            let bits = (0..width / 64).map(|_| AtomicU64::new(0)).collect();
            Self { top: AtomicU64::new(0), bits }
        }

        fn window(&self) -> ReplayWindow<'_> {
            ReplayWindow::new(&self.top, &self.bits)
        }
    }

    /// The naive twin: remembers everything.
    struct Naive {
        width: u64,
        seen: HashSet<u32>,
    }

    impl Naive {
        fn commit(&mut self, seq: u32) -> Replay {
            let highest = self.seen.iter().max().copied();
            if highest.is_some_and(|highest| u64::from(seq) + self.width <= u64::from(highest)) {
                Replay::TooOld
            } else if self.seen.insert(seq) {
                Replay::Fresh
            } else {
                Replay::Replayed
            }
        }
    }

    #[test]
    fn zero_is_a_valid_first_number_and_is_accepted_once() {
        let state = State::new(1024);
        assert_eq!(state.window().highest(), None);
        assert_eq!(state.window().commit(SeqNo(0)), Replay::Fresh);
        assert_eq!(state.window().commit(SeqNo(0)), Replay::Replayed);
        assert_eq!(state.window().highest(), Some(SeqNo(0)));
    }

    #[test]
    fn the_window_is_as_wide_as_stated() {
        let state = State::new(1024);
        assert_eq!(state.window().commit(SeqNo(5000)), Replay::Fresh);
        assert_eq!(state.window().look(SeqNo(5000 - 1023)), Replay::Fresh);
        assert_eq!(state.window().look(SeqNo(5000 - 1024)), Replay::TooOld);
    }

    #[test]
    fn looking_moves_nothing() {
        let state = State::new(1024);
        assert_eq!(state.window().commit(SeqNo(1)), Replay::Fresh);
        assert_eq!(state.window().look(SeqNo(u32::MAX)), Replay::Fresh);
        assert_eq!(state.window().highest(), Some(SeqNo(1)));
        assert_eq!(state.window().look(SeqNo(0)), Replay::Fresh);
    }

    #[test]
    fn the_last_number_does_not_wrap() {
        let state = State::new(64);
        assert_eq!(state.window().commit(SeqNo(u32::MAX)), Replay::Fresh);
        assert_eq!(state.window().commit(SeqNo(u32::MAX)), Replay::Replayed);
        assert_eq!(state.window().commit(SeqNo(0)), Replay::TooOld);
        assert_eq!(state.window().commit(SeqNo(u32::MAX - 63)), Replay::Fresh);
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_twin(
            width in prop::sample::select(vec![64_usize, 128, 1024]),
            start in prop::sample::select(vec![0_u32, 900, u32::MAX - 3000]),
            steps in prop::collection::vec((0..100_u32, -1500..1500_i64), 1..400),
        ) {
            let state = State::new(width);
            let mut naive = Naive { width: width as u64, seen: HashSet::new() };
            let mut base = i64::from(start);
            for (forward, jump) in steps {
                // Mostly small steps around a base that wanders, sometimes a jump.
                base += if forward == 0 { jump } else { i64::from(forward % 5) };
                let offset = if forward > 50 { jump / 4 } else { 0 };
                let seq = u32::try_from((base + offset).clamp(0, i64::from(u32::MAX))).unwrap();
                let expected = naive.commit(seq);
                let seen_before = state.window().look(SeqNo(seq));
                prop_assert_eq!(seen_before, expected);
                prop_assert_eq!(state.window().commit(SeqNo(seq)), expected);
                prop_assert_eq!(
                    state.window().highest().map(|seq| seq.0),
                    naive.seen.iter().max().copied()
                );
            }
        }
    }
}
