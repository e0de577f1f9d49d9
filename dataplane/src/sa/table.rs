//! The SA table: SPI minus base is the index.
//!
//! Memory is reserved for the highest SPI of the range and touched as SAs are dealt out. A packet
//! with an SPI of nobody costs one comparison, or the look at one slot.

use core::sync::atomic::{AtomicU64, Ordering};

use hearth_dpdk::prefetch;
use hearth_wire::{SeqNo, Spi};

use crate::sa::keys::{Direction, KeySchedule};
use crate::sa::replay::{ReplayWindow, place_of};
use crate::sa::slot::{Beginning, SLOT_WORDS, SaFacts, SaSlot};
use crate::table::reserve::Reserve;

/// A published SA, found by its SPI.
#[derive(Clone, Copy)]
pub(crate) struct SaRef<'a> {
    pub(crate) slot: &'a SaSlot,
    pub(crate) index: u32,
    pub(crate) spi: Spi,
}

impl SaRef<'_> {
    /// Suite and scope.
    pub(crate) fn facts(&self) -> Option<SaFacts> {
        self.slot.facts()
    }
}

/// All SAs.
pub(crate) struct SaTable {
    base: u32,
    slots: Reserve<SaSlot>,
    /// `words` per slot, where a slot has no room for them. owner of the SA: rw, control: wo while
    /// the slot is empty
    replay_bits: Reserve<AtomicU64>,
    words: usize,
    /// One more than the highest index ever filled: what has to be wiped at the end.
    used: AtomicU64,
}

impl SaTable {
    /// Room for the SPIs `base .. base + max_sas`, with replay windows of `window` numbers (a
    /// power of two from 64 on). `None` where memory or arguments forbid it.
    pub(crate) fn new(base: u32, max_sas: u32, window: u32) -> Option<Self> {
        if !window.is_power_of_two() || window < 64 {
            return None;
        }
        let slots = usize::try_from(max_sas).ok()?;
        let words = usize::try_from(window / 64).ok()?;
        Some(Self {
            base,
            slots: Reserve::new(slots)?,
            replay_bits: Reserve::new(slots.checked_mul(words)?)?,
            words,
            used: AtomicU64::new(0),
        })
    }

    /// The index of `spi`, if it lies in the range.
    #[inline]
    pub(crate) fn index_of(&self, spi: u32) -> Option<u32> {
        let index = spi.checked_sub(self.base)?;
        (index as usize).checked_sub(self.slots.as_slice().len()).is_none().then_some(index)
    }

    /// The slot at `index`, published or not.
    #[inline]
    pub(crate) fn slot(&self, index: u32) -> Option<&SaSlot> {
        self.slots.get(index as usize)
    }

    /// The published SA of these 28 bits.
    #[inline]
    pub(crate) fn find(&self, spi: u32) -> Option<SaRef<'_>> {
        let index = self.index_of(spi)?;
        let slot = self.slot(index)?;
        let found = slot.spi()?;
        (found.get() == spi).then_some(SaRef { slot, index, spi: found })
    }

    /// The published SA at `index`.
    pub(crate) fn at(&self, index: u32) -> Option<SaRef<'_>> {
        let slot = self.slot(index)?;
        slot.spi().map(|spi| SaRef { slot, index, spi })
    }

    /// One more than the highest index that was ever filled.
    pub(crate) fn used(&self) -> u32 {
        u32::try_from(self.used.load(Ordering::Acquire)).unwrap_or(u32::MAX)
    }

    /// Asks for the lines of an SA that a packet from its mobile node touches.
    #[inline]
    pub(crate) fn prefetch_inbound(&self, spi: u32, seq: SeqNo) {
        let Some((index, slot)) = self.prefetch_keys(spi, Direction::Inbound) else { return };
        prefetch(core::ptr::from_ref(slot).cast::<u8>().wrapping_add(64), 1);
        let place = place_of(seq, self.words);
        match slot.replay_bits.get(place) {
            Some(word) if self.words <= SLOT_WORDS => prefetch(word, 1),
            _ => self.replay_bits.prefetch(index as usize * self.words + place, 1),
        }
    }

    /// Asks for the lines of an SA that a packet to its mobile node touches.
    #[inline]
    pub(crate) fn prefetch_outbound(&self, spi: u32) {
        self.prefetch_keys(spi, Direction::Outbound);
    }

    #[inline]
    fn prefetch_keys(&self, spi: u32, direction: Direction) -> Option<(u32, &SaSlot)> {
        /// Lines of the keys of the commonest suites.
        const KEYS: usize = 4;
        let index = self.index_of(spi)?;
        let slot = self.slot(index)?;
        let start = core::ptr::from_ref(slot).cast::<u8>();
        prefetch(start, 1);
        prefetch(start.wrapping_add(SaSlot::key_line(direction) * 64), KEYS);
        Some((index, slot))
    }

    /// The replay window of the SA at `index`.
    #[inline]
    pub(crate) fn window<'a>(&'a self, index: u32, slot: &'a SaSlot) -> ReplayWindow<'a> {
        ReplayWindow::new(&slot.inbound.sequence, self.bits(index, slot))
    }

    #[inline]
    fn bits<'a>(&'a self, index: u32, slot: &'a SaSlot) -> &'a [AtomicU64] {
        match slot.replay_bits.get(..self.words) {
            Some(bits) => bits,
            None => self.many_bits(index),
        }
    }

    #[cold]
    fn many_bits(&self, index: u32) -> &[AtomicU64] {
        let start = index as usize * self.words;
        self.replay_bits.as_slice().get(start..start + self.words).unwrap_or_default()
    }

    /// Fills an empty slot and publishes it.
    ///
    /// # Safety
    /// As for [`SaSlot::fill`].
    pub(crate) unsafe fn insert(
        &self,
        spi: Spi,
        facts: SaFacts,
        from: Beginning,
        keys: [KeySchedule; 2],
    ) -> Option<()> {
        let index = self.index_of(spi.get())?;
        let slot = self.slot(index)?;
        // Below the floor every number counts as seen.
        let bits = if from.inbound_floor == 0 { 0 } else { u64::MAX };
        self.bits(index, slot).iter().for_each(|word| word.store(bits, Ordering::Relaxed));
        self.used.fetch_max(u64::from(index) + 1, Ordering::Relaxed);
        // SAFETY: promised by the caller.
        unsafe { slot.fill(facts, from, keys) };
        slot.publish(spi);
        Some(())
    }
}

impl Drop for SaTable {
    fn drop(&mut self) {
        let used = usize::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        for slot in self.slots.as_slice().iter().take(used) {
            slot.withdraw();
            // SAFETY: `&mut self`: no worker has the table any more.
            unsafe { slot.wipe() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sa::replay::Replay;
    use hearth_dpdk::MultiBuffer;
    use hearth_wire::{Scope, Suite};

    const FACTS: SaFacts = SaFacts { suite: Suite::Aes128CbcSha, scope: Scope::SignallingAndData };

    fn insert(table: &SaTable, spi: u32, next: u32) -> Option<()> {
        insert_from(table, spi, Beginning { next_outbound: SeqNo(next), grant: 1, ..FROM_0 })
    }

    const FROM_0: Beginning =
        Beginning { next_outbound: SeqNo(0), grant: 0, inbound_floor: 0, octets: [0; 2] };

    fn insert_from(table: &SaTable, spi: u32, from: Beginning) -> Option<()> {
        let crypto = MultiBuffer::new().unwrap();
        let key = || KeySchedule::NullSha(crypto.hmac_sha1_key(&[7; 20]));
        // SAFETY: single-threaded, nobody uses the slot.
        unsafe { table.insert(Spi::new(spi).unwrap(), FACTS, from, [key(), key()]) }
    }

    #[test]
    fn a_slot_answers_only_to_its_own_spi() {
        let table = SaTable::new(1000, 10, 1024).unwrap();
        insert(&table, 1003, 0).unwrap();
        assert!(table.find(1003).is_some_and(|sa| sa.facts() == Some(FACTS)));
        for unknown in [0, 3, 999, 1002, 1004, 1010, 0x0fff_ffff] {
            assert!(table.find(unknown).is_none(), "{unknown}");
        }
        assert_eq!(insert(&table, 1010, 0), None);
        assert_eq!(insert(&table, 999, 0), None);
        table.slot(3).unwrap().withdraw();
        assert!(table.find(1003).is_none());
    }

    /// SA-14, R-23: a unit ends where it says, half of it is told of once, and what a grant adds
    /// goes on behind it.
    #[test]
    fn no_number_is_drawn_that_is_not_granted() {
        let table = SaTable::new(1, 1, 1024).unwrap();
        insert(&table, 1, 0).unwrap();
        let slot = table.slot(0).unwrap();
        let told = core::cell::Cell::new(0);
        let draw = || slot.draw(|| told.set(told.get() + 1)).map(|seq| seq.0);
        for number in 0..0x1_0000 {
            assert_eq!(draw(), Some(number));
            assert_eq!(told.get(), u32::from(number >= 0x8000), "{number}");
        }
        assert_eq!([draw(), draw()], [None, None]);
        assert_eq!(told.get(), 3, "whoever still sends is heard");
        slot.grant(3);
        slot.grant(2);
        for number in 0x1_0000..0x3_0000 {
            assert_eq!(draw(), Some(number));
        }
        assert_eq!((draw(), told.get()), (None, 6));
        assert_eq!((slot.facts(), slot.granted()), (Some(FACTS), 3));
    }

    #[test]
    fn the_last_unit_that_can_be_granted_ends_before_numbers_wrap() {
        let table = SaTable::new(1, 1, 1024).unwrap();
        let from = Beginning { next_outbound: SeqNo(0xfffe_ffff), grant: u16::MAX, ..FROM_0 };
        insert_from(&table, 1, from).unwrap();
        let slot = table.slot(0).unwrap();
        let draw = || slot.draw(|| {});
        assert_eq!([draw(), draw()], [Some(SeqNo(0xfffe_ffff)), None]);
        slot.grant(u16::MAX);
        assert_eq!(draw(), None);
    }

    /// SA-14: of what may have been accepted before a restart nothing is accepted again.
    #[test]
    fn numbers_below_the_floor_count_as_seen() {
        for (width, floor) in [(64, 1), (1024, 500), (1024, 500_000), (4096, u32::MAX)] {
            let table = SaTable::new(1, 1, width).unwrap();
            insert_from(&table, 1, Beginning { inbound_floor: floor, ..FROM_0 }).unwrap();
            let window = table.window(0, table.slot(0).unwrap());
            for below in (0..floor).rev().take(5000).chain([0]) {
                assert_ne!(window.look(SeqNo(below)), Replay::Fresh, "{floor} {below}");
                assert_ne!(window.commit(SeqNo(below)), Replay::Fresh, "{floor} {below}");
            }
            assert_eq!(window.highest(), Some(SeqNo(floor - 1)));
            let next = floor.saturating_add(2);
            assert_eq!(window.commit(SeqNo(next)), Replay::Fresh);
            assert_eq!(window.commit(SeqNo(next)), Replay::Replayed);
            if next > floor {
                // What comes late but is above the floor is good.
                assert_eq!(window.commit(SeqNo(floor)), Replay::Fresh);
            }
            assert_ne!(window.look(SeqNo(floor - 1)), Replay::Fresh);
        }
    }

    #[test]
    fn windows_of_neighbours_are_apart_and_a_new_sa_starts_clean() {
        let table = SaTable::new(1, 2, 64).unwrap();
        insert(&table, 1, 0).unwrap();
        insert(&table, 2, 0).unwrap();
        let window = |index| table.window(index, table.slot(index).unwrap());
        for seq in 0..64 {
            assert_eq!(window(0).commit(SeqNo(seq)), Replay::Fresh);
        }
        assert_eq!(window(1).look(SeqNo(0)), Replay::Fresh);
        insert(&table, 1, 0).unwrap();
        assert_eq!(window(0).look(SeqNo(63)), Replay::Fresh);
        assert_eq!(window(0).highest(), None);
    }
}
