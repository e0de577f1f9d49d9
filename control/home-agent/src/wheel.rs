//! A hierarchical timing wheel: a million timers, each set, moved, cancelled and fired in constant
//! time.
//!
//! Time is counted in milliseconds; level `l` has 64 slots of `64^l` ms each. A timer lies on the
//! level of the highest 6-bit digit in which its deadline differs from the wheel's time, in the
//! slot of that digit; reaching a slot above level 0 spreads its timers over the levels below.
//!
//! ```text
//! level 2  | 0 | 1 | .. 63 |     4096 ms a slot
//! level 1  | 0 | 1 | .. 63 |       64 ms a slot
//! level 0  | 0 | 1 | .. 63 |        1 ms a slot, and what is due
//! ```

use crate::time::Timestamp;

const DIGIT: u32 = 6;
const SLOTS: usize = 1 << DIGIT;
/// Enough digits for every 64-bit deadline.
const LEVELS: usize = 11;
/// The list of timers whose deadline has come, behind those of the slots.
const DUE: usize = LEVELS * SLOTS;
const NONE: u32 = u32::MAX;
/// In place of a list.
const FREE: u16 = u16::MAX;

/// A timer that was set; it names nothing any more once the timer has fired or was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerId {
    index: u32,
    issue: u16,
}

impl TimerId {
    /// Names no timer.
    pub(crate) const NONE: Self = Self { index: NONE, issue: 0 };
}

#[derive(Debug)]
struct Entry<T> {
    deadline: u64,
    item: T,
    prev: u32,
    next: u32,
    /// Counts the uses of this entry, so that an old [`TimerId`] is known as such: for 65535 uses,
    /// and nobody keeps one that long.
    issue: u16,
    /// Which list it is in; [`FREE`] while it is in none.
    list: u16,
}

/// Timers with an item each.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    now: u64,
    entries: Vec<Entry<T>>,
    free: u32,
    heads: Box<[u32; DUE + 1]>,
    /// One bit per slot that holds a timer.
    occupied: [u64; LEVELS],
    /// A slot that the wheel's time has reached and that is not yet spread wholly. Until it is,
    /// nothing behind it is looked at.
    spreading: Option<usize>,
}

impl<T: Copy> Wheel<T> {
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            entries: Vec::new(),
            free: NONE,
            heads: Box::new([NONE; DUE + 1]),
            occupied: [0; LEVELS],
            spreading: None,
        }
    }

    /// Makes room for `more` timers.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.entries.reserve(more);
    }

    /// Sets a timer. A deadline that has passed is due at once.
    pub(crate) fn set(&mut self, deadline: Timestamp, item: T) -> TimerId {
        let deadline = deadline.as_millis();
        let index = match self.entries.get(self.free as usize) {
            Some(entry) => {
                let index = self.free;
                self.free = entry.next;
                index
            }
            None => self.grow(deadline, item),
        };
        let list = self.list_of(deadline);
        let issue = match self.entries.get_mut(index as usize) {
            Some(entry) => {
                entry.deadline = deadline;
                entry.item = item;
                entry.issue
            }
            None => 0,
        };
        self.link(index, list);
        TimerId { index, issue }
    }

    /// Moves a timer to another deadline; sets it anew with `item` where it has fired.
    pub(crate) fn reset(&mut self, id: TimerId, deadline: Timestamp, item: T) -> TimerId {
        if self.is_set(id) {
            self.unlink(id.index);
            if let Some(entry) = self.entries.get_mut(id.index as usize) {
                entry.deadline = deadline.as_millis();
                entry.item = item;
            }
            let list = self.list_of(deadline.as_millis());
            self.link(id.index, list);
            id
        } else {
            self.set(deadline, item)
        }
    }

    /// Lets a timer fire at `deadline` at the latest: one that is set for earlier stays where it
    /// is, so that putting an end off costs nothing until the timer fires too early.
    pub(crate) fn no_later(&mut self, id: TimerId, deadline: Timestamp, item: T) -> TimerId {
        let set = self.entries.get(id.index as usize).filter(|_| self.is_set(id));
        match set {
            Some(entry) if entry.deadline <= deadline.as_millis() => id,
            _ => self.reset(id, deadline, item),
        }
    }

    /// Takes a timer back; nothing where it has fired.
    pub(crate) fn cancel(&mut self, id: TimerId) {
        if self.is_set(id) {
            self.unlink(id.index);
            self.release(id.index);
        }
    }

    /// The item of one timer whose deadline is not after `now`; `None` when there is no more, or
    /// when `left` steps were taken. Every timer touched is one.
    pub(crate) fn pop(&mut self, now: Timestamp, left: &mut usize) -> Option<T> {
        let target = now.as_millis().max(self.now);
        loop {
            if let Some(list) = self.spreading {
                self.spread(list, left);
                if self.heads[list] != NONE {
                    return None;
                }
                self.spreading = None;
            }
            let due = self.heads[DUE];
            if due != NONE {
                *left = left.checked_sub(1)?;
                self.unlink(due);
                let item = self.entries.get(due as usize).map(|entry| entry.item);
                self.release(due);
                return item;
            }
            match self.next_slot() {
                Some((start, list)) if start <= target => {
                    self.now = start;
                    self.spreading = Some(list);
                }
                _ => {
                    self.now = target;
                    return None;
                }
            }
        }
    }

    /// When [`Self::pop`] is to be called next: never after the earliest deadline, and before it
    /// only as far as a slot reaches.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        if self.heads[DUE] != NONE || self.spreading.is_some() {
            return Some(Timestamp::from_millis(self.now));
        }
        self.next_slot().map(|(start, _)| Timestamp::from_millis(start))
    }

    /// Start and list of the first slot that holds a timer. Slots at and before the wheel's time
    /// are empty, so the lowest level that holds anything comes first.
    fn next_slot(&self) -> Option<(u64, usize)> {
        let (level, occupied) = self.occupied.iter().enumerate().find(|(_, bits)| **bits != 0)?;
        let slot = occupied.trailing_zeros() as usize;
        let shift = shift_of(level);
        let above = self.now.checked_shr(shift + DIGIT).unwrap_or(0);
        let start = above.checked_shl(shift + DIGIT).unwrap_or(0) | ((slot as u64) << shift);
        Some((start, level * SLOTS + slot))
    }

    /// Moves the timers of a slot that the wheel's time has reached to where they now belong: to
    /// lower levels all of them, as is everything that is set from now on.
    fn spread(&mut self, list: usize, left: &mut usize) {
        while self.heads[list] != NONE && *left > 0 {
            *left -= 1;
            let index = self.heads[list];
            self.unlink(index);
            let deadline = self.entries.get(index as usize).map_or(0, |entry| entry.deadline);
            let list = self.list_of(deadline);
            self.link(index, list);
        }
    }

    fn list_of(&self, deadline: u64) -> usize {
        if deadline <= self.now {
            return DUE;
        }
        let level = ((deadline ^ self.now).ilog2() / DIGIT) as usize;
        let slot = ((deadline >> shift_of(level)) & 0x3f) as usize;
        level * SLOTS + slot
    }

    fn is_set(&self, id: TimerId) -> bool {
        self.entries
            .get(id.index as usize)
            .is_some_and(|entry| entry.issue == id.issue && entry.list != FREE)
    }

    fn grow(&mut self, deadline: u64, item: T) -> u32 {
        let index = u32::try_from(self.entries.len()).unwrap_or(NONE);
        self.entries.push(Entry { deadline, item, prev: NONE, next: NONE, issue: 0, list: FREE });
        index
    }

    fn release(&mut self, index: u32) {
        let free = self.free;
        if let Some(entry) = self.entries.get_mut(index as usize) {
            entry.issue = entry.issue.wrapping_add(1);
            entry.next = free;
            self.free = index;
        }
    }

    fn link(&mut self, index: u32, list: usize) {
        let head = self.heads[list];
        if let Some(entry) = self.entries.get_mut(index as usize) {
            entry.prev = NONE;
            entry.next = head;
            entry.list = u16::try_from(list).unwrap_or(FREE);
        }
        if let Some(next) = self.entries.get_mut(head as usize) {
            next.prev = index;
        }
        self.heads[list] = index;
        if let Some(bits) = self.occupied.get_mut(list / SLOTS) {
            *bits |= 1 << (list % SLOTS);
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let (prev, next) = (entry.prev, entry.next);
        let list = match core::mem::replace(&mut entry.list, FREE) {
            FREE => return,
            list => usize::from(list),
        };
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.prev = prev;
        }
        match self.entries.get_mut(prev as usize) {
            Some(prev) => prev.next = next,
            None => self.heads[list] = next,
        }
        if self.heads[list] == NONE
            && let Some(bits) = self.occupied.get_mut(list / SLOTS)
        {
            *bits &= !(1 << (list % SLOTS));
        }
    }
}

const fn shift_of(level: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "there are 11 levels")]
    let level = level as u32;
    level * DIGIT
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// One timer, however many steps that takes.
    fn pop<T: Copy>(wheel: &mut Wheel<T>, now: Timestamp) -> Option<T> {
        let mut left = usize::MAX;
        wheel.pop(now, &mut left)
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn fires_at_its_millisecond_and_not_before() {
        for deadline in [1, 63, 64, 65, 4_095, 4_096, 262_140_000, u64::MAX] {
            let mut wheel = Wheel::new();
            wheel.set(at(deadline), 'x');
            assert_eq!(pop(&mut wheel, at(deadline - 1)), None, "{deadline}");
            assert_eq!(wheel.next_deadline(), Some(at(deadline)), "{deadline}");
            assert_eq!(pop(&mut wheel, at(deadline)), Some('x'), "{deadline}");
            assert_eq!((pop(&mut wheel, at(u64::MAX)), wheel.next_deadline()), (None, None));
        }
    }

    #[test]
    fn a_deadline_in_the_past_is_due_at_once() {
        let mut wheel = Wheel::new();
        assert_eq!(pop(&mut wheel, at(1_000)), None);
        wheel.set(at(10), 'x');
        assert_eq!(wheel.next_deadline(), Some(at(1_000)));
        assert_eq!(pop(&mut wheel, at(1_000)), Some('x'));
    }

    #[test]
    fn an_old_id_touches_nothing() {
        let mut wheel = Wheel::new();
        let old = wheel.set(at(10), 'a');
        assert_eq!(pop(&mut wheel, at(10)), Some('a'));
        let new = wheel.set(at(20), 'b');
        wheel.cancel(old);
        assert_eq!(pop(&mut wheel, at(20)), Some('b'));
        let newer = wheel.reset(new, at(30), 'c');
        assert_ne!(new, newer);
        assert_eq!(pop(&mut wheel, at(30)), Some('c'));
    }

    #[test]
    fn a_million_timers_fit() {
        let mut wheel = Wheel::new();
        let ids: Vec<_> =
            (0..1_000_000u64).map(|n| wheel.set(at(1 + n * 7 % 3_600_000), n)).collect();
        for id in ids.iter().step_by(2) {
            wheel.cancel(*id);
        }
        let mut fired = 0;
        while pop(&mut wheel, at(3_600_001)).is_some() {
            fired += 1;
        }
        assert_eq!(fired, 500_000);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Set(u64),
        Reset(usize, u64),
        Cancel(usize),
        Advance(u64),
        /// As much of what is due as so many steps allow.
        Slice(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let far = prop_oneof![0..100u64, 0..10_000u64, 0..100_000_000u64];
        prop_oneof![
            far.clone().prop_map(Step::Set),
            (any::<usize>(), far.clone()).prop_map(|(n, ms)| Step::Reset(n, ms)),
            any::<usize>().prop_map(Step::Cancel),
            far.prop_map(Step::Advance),
            (0..6usize).prop_map(Step::Slice),
        ]
    }

    /// A slot that holds many timers is spread part by part, and fires none before its time.
    #[test]
    fn no_call_takes_more_steps_than_it_may() {
        let mut wheel = Wheel::new();
        for n in 0..1000u64 {
            wheel.set(at(300_000 + n), n);
        }
        let (mut fired, mut calls) = (Vec::new(), 0);
        while wheel.next_deadline().is_some_and(|deadline| deadline <= at(300_499)) {
            calls += 1;
            let mut left = 10;
            fired.extend(std::iter::from_fn(|| wheel.pop(at(300_499), &mut left)));
        }
        assert_eq!(fired.len(), 500);
        assert!(fired.is_sorted());
        assert!(calls >= 150, "1000 timers moved and 500 fired, in {calls} calls");
        assert_eq!(wheel.next_deadline(), Some(at(300_500)));
    }

    #[test]
    fn putting_off_moves_nothing() {
        let mut wheel = Wheel::new();
        let id = wheel.set(at(100), 'a');
        assert_eq!(wheel.no_later(id, at(200), 'b'), id);
        assert_eq!(wheel.next_deadline(), Some(at(64)));
        assert_eq!(wheel.no_later(id, at(50), 'c'), id);
        assert_eq!(pop(&mut wheel, at(50)), Some('c'));
        let again = wheel.no_later(id, at(60), 'd');
        assert_eq!((pop(&mut wheel, at(59)), pop(&mut wheel, at(60))), (None, Some('d')));
        assert_ne!(again, id);
    }

    proptest! {
        /// The wheel against a sorted map.
        #[test]
        fn fires_what_a_sorted_map_fires(steps in proptest::collection::vec(step(), 1..200)) {
            let mut wheel = Wheel::new();
            let mut twin: BTreeMap<usize, u64> = BTreeMap::new();
            let mut ids = Vec::new();
            let mut now = 0u64;
            for step in steps {
                match step {
                    Step::Set(ms) => {
                        twin.insert(ids.len(), now + ms);
                        ids.push(wheel.set(at(now + ms), ids.len()));
                    }
                    Step::Reset(n, ms) if !ids.is_empty() => {
                        let n = n % ids.len();
                        twin.insert(n, now + ms);
                        ids[n] = wheel.reset(ids[n], at(now + ms), n);
                    }
                    Step::Cancel(n) if !ids.is_empty() => {
                        let n = n % ids.len();
                        twin.remove(&n);
                        wheel.cancel(ids[n]);
                    }
                    Step::Advance(ms) => now += ms,
                    Step::Slice(mut left) => {
                        while let Some(n) = wheel.pop(at(now), &mut left) {
                            prop_assert!(twin.remove(&n).is_some_and(|ms| ms <= now));
                        }
                        let due = twin.values().any(|ms| *ms <= now);
                        prop_assert!(left == 0 || !due);
                        continue;
                    }
                    Step::Reset(..) | Step::Cancel(_) => {}
                }
                let earliest = twin.values().min().map(|ms| at((*ms).max(now)));
                if let Some(next) = wheel.next_deadline() {
                    // Behind a slice it may have to look where nothing is left.
                    prop_assert!(next <= earliest.unwrap_or(at(now)));
                } else {
                    prop_assert_eq!(earliest, None);
                }
                // Now and then everything that is due is taken, otherwise it stays.
                if ids.len() % 3 == 1 {
                    continue;
                }
                let mut fired: Vec<_> = std::iter::from_fn(|| pop(&mut wheel, at(now))).collect();
                fired.sort_unstable();
                let expected: Vec<_> =
                    twin.iter().filter(|(_, ms)| **ms <= now).map(|(n, _)| *n).collect();
                prop_assert_eq!(fired, expected);
                twin.retain(|_, ms| *ms > now);
            }
        }
    }
}
