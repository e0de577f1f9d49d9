//! One SA in the table.
//!
//! ```text
//! line 0      spi, binding, suite and scope          control: rw   workers: ro
//!             inbound: replay top, counters          owner: rw     control: ro
//!             outbound: next number, counters        owner: rw     control: ro
//! line 1      the binding's home addresses           control: rw   workers: ro
//!             what was asked of the home agent       owner: rw     control: wo while empty
//! lines 2, 3  replay bits, where they have room      owner: rw     control: wo while empty
//! lines 4..   key schedules, inbound then outbound   control: wo while empty   workers: ro
//! ```
//!
//! The owner is one worker (SPI mod workers), so its part needs no locked instruction; it is atomic
//! because control reads it. With a million SAs every line comes from memory, and the address of every
//! page has to be translated: so what a packet looks at stands close together, with copies of what a
//! binding says of an inner packet's source.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use hearth_wire::{Scope, SeqNo, Spi, Suite};

use crate::layout::Address6;
use crate::limiter::Bucket;
use crate::sa::keys::{Direction, KeySchedule};
use crate::table::reserve::Zeroed;

/// What workers have to know of an SA besides its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SaFacts {
    pub(crate) suite: Suite,
    pub(crate) scope: Scope,
}

/// All suites, in the order in which slots number them.
const SUITES: [Suite; 6] = [
    Suite::NullSha,
    Suite::NullSha256,
    Suite::TripleDesEdeCbcSha,
    Suite::Aes128CbcSha,
    Suite::Aes128CbcSha256,
    Suite::Aes128Gcm,
];

impl SaFacts {
    /// Place in [`SUITES`] plus 1, and the scope in the lowest bit; 0 is none. The upper half is
    /// free for [`SaSlot::grant`].
    fn pack(self) -> u32 {
        let place = SUITES.iter().position(|suite| *suite == self.suite);
        place
            .and_then(|place| u32::try_from(place).ok())
            .map_or(0, |place| (place + 1) << 1 | u32::from(self.scope.digit() != 0))
    }

    #[inline]
    fn unpack(packed: u32) -> Option<Self> {
        let suite = *SUITES.get((packed >> 1 & 0x7fff).wrapping_sub(1) as usize)?;
        Some(Self { suite, scope: scope_of(packed) })
    }
}

/// Outbound numbers in one unit of a grant.
pub(crate) const UNIT: u64 = 1 << 16;

/// Where an SA's numbers begin (R-23).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Beginning {
    pub(crate) next_outbound: SeqNo,
    /// Units of outbound numbers, counted from 0, that may be drawn.
    pub(crate) grant: u16,
    /// Inbound numbers below it count as seen.
    pub(crate) inbound_floor: u32,
    /// What was carried before, inbound and outbound.
    pub(crate) octets: [u64; 2],
}

const fn scope_of(packed: u32) -> Scope {
    if packed & 1 == 0 { Scope::Signalling } else { Scope::SignallingAndData }
}

/// Index of a binding in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BindingIndex(pub(crate) u32);

/// The home addresses that data under an SA comes from, as they stand in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) home6: Address6,
    /// 0: none.
    pub(crate) home4: u32,
}

impl Sender {
    /// The IPv4 home address, if there is one.
    pub(crate) fn ipv4(self) -> Option<Ipv4Addr> {
        (self.home4 != 0).then(|| Ipv4Addr::from_bits(self.home4))
    }
}

/// The same in a slot.
#[derive(Debug)]
#[repr(C, align(64))]
struct SenderCell {
    home6: [AtomicU64; 2],
    home4: AtomicU32,
    /// A [`Bucket`]. owner: rw; of PType 0, which any worker takes, it may miss some.
    asked: AtomicU64,
}

/// What the home agent is asked for under one SA, by reports and solicitations, in a second and at
/// once. A mobile node that joins many groups says so in few reports (RFC 3810 s.5.2).
pub(crate) const ASKED_PER_SECOND: u64 = 20;
pub(crate) const ASKED_AT_ONCE: u64 = 100;

/// Words of replay bits that a slot has room for: those of the usual window.
pub(crate) const SLOT_WORDS: usize = 16;

/// Counter state of one direction.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct DirectionState {
    /// Inbound: highest accepted number plus 1. Outbound: the next number.
    pub(crate) sequence: AtomicU64,
    packets: AtomicU64,
    octets: AtomicU64,
}

impl DirectionState {
    /// Counts one packet. Only the owner calls this.
    pub(crate) fn count(&self, octets: usize) {
        let packets = self.packets.load(Ordering::Relaxed).wrapping_add(1);
        self.packets.store(packets, Ordering::Relaxed);
        let octets = self.octets.load(Ordering::Relaxed).wrapping_add(octets as u64);
        self.octets.store(octets, Ordering::Relaxed);
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed)
    }

    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    pub(crate) fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }

    fn reset(&self, sequence: u64, octets: u64) {
        self.sequence.store(sequence, Ordering::Relaxed);
        self.packets.store(0, Ordering::Relaxed);
        self.octets.store(octets, Ordering::Relaxed);
    }
}

/// One SA; all zero is an empty slot.
#[repr(C, align(64))]
pub(crate) struct SaSlot {
    /// 0: empty. Stored last when an SA is published, first when it is withdrawn.
    spi: AtomicU32,
    /// Index of the binding whose data this SA may carry, plus 1 (R-27).
    binding: AtomicU32,
    /// Suite and scope; in the upper half the units of outbound numbers that are granted.
    facts: AtomicU32,
    /// 1 while the keys are initialised. control: rw
    filled: AtomicU32,
    pub(crate) inbound: DirectionState,
    pub(crate) outbound: DirectionState,
    sender: SenderCell,
    pub(crate) replay_bits: [AtomicU64; SLOT_WORDS],
    keys: [UnsafeCell<MaybeUninit<KeySchedule>>; 2],
}

// SAFETY: `keys` is written only through `fill`, whose caller promises that nobody reads; the other
// fields are atomic.
unsafe impl Sync for SaSlot {}
// SAFETY: all fields are integers, and keys that are not read before they are written.
unsafe impl Zeroed for SaSlot {}

impl SaSlot {
    /// The SPI of the SA in this slot.
    pub(crate) fn spi(&self) -> Option<Spi> {
        Spi::new(self.spi.load(Ordering::Acquire)).ok()
    }

    /// Suite and scope. A worker that read [`Self::spi`] before may trust them until it reports
    /// quiescent.
    pub(crate) fn facts(&self) -> Option<SaFacts> {
        SaFacts::unpack(self.facts.load(Ordering::Relaxed))
    }

    /// The scope alone of [`Self::facts`].
    #[inline]
    pub(crate) fn scope(&self) -> Scope {
        scope_of(self.facts.load(Ordering::Relaxed))
    }

    /// The binding whose data this SA may carry.
    pub(crate) fn binding(&self) -> Option<BindingIndex> {
        self.binding.load(Ordering::Acquire).checked_sub(1).map(BindingIndex)
    }

    /// The home addresses of that binding. Of packets that are none of these's, the binding itself
    /// has to be asked.
    #[inline]
    pub(crate) fn sender(&self) -> Option<Sender> {
        let binding = self.binding.load(Ordering::Acquire);
        let [high, low] = &self.sender.home6;
        let home6 = Address6::of_words([high.load(Ordering::Relaxed), low.load(Ordering::Relaxed)]);
        let home4 = self.sender.home4.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        // While control writes other addresses there is no binding, and then another one.
        let is_whole = binding != 0 && self.binding.load(Ordering::Relaxed) == binding;
        is_whole.then_some(Sender { home6, home4 })
    }

    /// Sets or clears that binding. Control only.
    pub(crate) fn set_binding(&self, binding: Option<(BindingIndex, Sender)>) {
        let Some((index, sender)) = binding else {
            return self.binding.store(0, Ordering::Release);
        };
        // A mobile node that moves keeps its home addresses, and loses no packet.
        if self.sender() != Some(sender) {
            self.binding.store(0, Ordering::Relaxed);
            fence(Ordering::Release);
            for (place, word) in self.sender.home6.iter().zip(sender.home6.words()) {
                place.store(word, Ordering::Relaxed);
            }
            self.sender.home4.store(sender.home4, Ordering::Relaxed);
        }
        self.binding.store(index.0.wrapping_add(1), Ordering::Release);
    }

    /// Whether the mobile node may ask the home agent itself for something `now`; it is counted then.
    #[cold]
    pub(crate) fn may_ask(&self, now: u64, second: u64) -> bool {
        let mut bucket = Bucket::of(self.sender.asked.load(Ordering::Relaxed));
        let cost = second / ASKED_PER_SECOND;
        let may = bucket.take(cost, cost * ASKED_AT_ONCE, now);
        self.sender.asked.store(bucket.full_at(), Ordering::Relaxed);
        may
    }

    /// The cache line, counted from the slot's first, at which the keys of a direction begin.
    #[inline]
    pub(crate) const fn key_line(direction: Direction) -> usize {
        let place = match direction {
            Direction::Inbound => 0,
            Direction::Outbound => 1,
        };
        (core::mem::offset_of!(Self, keys) + place * size_of::<KeySchedule>()) / 64
    }

    /// The keys of one direction.
    ///
    /// # Safety
    /// The caller found the SA published in this slot, is a worker that has not reported quiescent
    /// since and will not do so before it is done with the keys, however long `'k` is.
    pub(crate) unsafe fn keys<'k>(&self, direction: Direction) -> &'k KeySchedule {
        let [inbound, outbound] = &self.keys;
        let keys = match direction {
            Direction::Inbound => inbound,
            Direction::Outbound => outbound,
        };
        // SAFETY: a published slot is filled, and its keys are neither written nor wiped before
        // the grace period that the caller holds up.
        unsafe { (*keys.get()).assume_init_ref() }
    }

    /// Draws the next outbound number; `None` where no more are granted (R-23). Only the owner
    /// calls this. `tell` is called when half of a unit is used, and where none is left.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "once per packet, and one test")]
    pub(crate) fn draw(&self, tell: impl FnOnce()) -> Option<SeqNo> {
        let next = self.outbound.sequence.load(Ordering::Relaxed);
        // A grant ends, and half of a unit is used, at whole multiples of this and nowhere else.
        if next.is_multiple_of(UNIT / 2) && !self.goes_on(next, tell) {
            return None;
        }
        self.outbound.sequence.store(next + 1, Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "no grant goes beyond 32 bits")]
        Some(SeqNo(next as u32))
    }

    #[cold]
    #[inline(never)]
    fn goes_on(&self, next: u64, tell: impl FnOnce()) -> bool {
        let granted = next < u64::from(self.granted()) * UNIT;
        if !granted || !next.is_multiple_of(UNIT) {
            tell();
        }
        granted
    }

    /// Units of outbound numbers that are granted.
    pub(crate) fn granted(&self) -> u16 {
        (self.facts.load(Ordering::Relaxed) >> 16) as u16
    }

    /// Grants outbound numbers up to so many units, if that is more than before. Control only.
    pub(crate) fn grant(&self, units: u16) {
        let facts = self.facts.load(Ordering::Relaxed) & 0xffff;
        // Suite and scope stay, so that the larger word is the one with more units.
        self.facts.fetch_max(u32::from(units) << 16 | facts, Ordering::Relaxed);
    }

    /// Writes an SA into an empty slot; nothing is published yet.
    ///
    /// # Safety
    /// No worker may hold or use the slot's keys: the slot has never been published, or every
    /// worker has been quiescent since it was withdrawn. Control is the only caller.
    pub(crate) unsafe fn fill(&self, facts: SaFacts, from: Beginning, keys: [KeySchedule; 2]) {
        // SAFETY: promised by the caller.
        unsafe { self.wipe() };
        for (place, keys) in self.keys.iter().zip(keys) {
            // SAFETY: the caller promises that nobody else refers to the keys.
            unsafe { (*place.get()).write(keys) };
        }
        self.filled.store(1, Ordering::Relaxed);
        let [in_octets, out_octets] = from.octets;
        self.inbound.reset(from.inbound_floor.into(), in_octets);
        self.outbound.reset(from.next_outbound.0.into(), out_octets);
        self.set_binding(None);
        self.sender.asked.store(0, Ordering::Relaxed);
        self.facts.store(facts.pack() | u32::from(from.grant) << 16, Ordering::Relaxed);
    }

    /// Lets workers find the SA.
    pub(crate) fn publish(&self, spi: Spi) {
        self.spi.store(spi.get(), Ordering::Release);
    }

    /// Hides the SA from workers; those that found it before may still use it.
    pub(crate) fn withdraw(&self) {
        self.spi.store(0, Ordering::Release);
        self.set_binding(None);
    }

    /// Wipes the keys, if there are any.
    ///
    /// # Safety
    /// As for [`Self::fill`].
    pub(crate) unsafe fn wipe(&self) {
        if self.filled.swap(0, Ordering::Relaxed) == 0 {
            return;
        }
        for place in &self.keys {
            // SAFETY: filled, and the caller promises that nobody else refers to the keys. Key
            // types wipe themselves when they are dropped.
            unsafe { (*place.get()).assume_init_drop() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_survive_packing() {
        for suite in Suite::known() {
            for scope in [Scope::Signalling, Scope::SignallingAndData] {
                let facts = SaFacts { suite, scope };
                assert_eq!(SaFacts::unpack(facts.pack()), Some(facts));
            }
        }
        assert_eq!(SaFacts::unpack(0), None);
        assert_eq!(SaFacts::unpack(0xffff_0000), None);
    }

    #[test]
    fn a_sender_is_read_whole_or_not_at_all() {
        let table = crate::table::reserve::Reserve::<SaSlot>::new(1).unwrap();
        let slot = table.get(0).unwrap();
        assert_eq!(slot.sender(), None);
        let sender = |n: u64| Sender { home6: Address6::of_words([n, n]), home4: n as u32 };
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 1..200_000 {
                    slot.set_binding(Some((BindingIndex(n), sender(u64::from(n / 3)))));
                }
            });
            while !writer.is_finished() {
                if let Some(seen) = slot.sender() {
                    assert_eq!(seen, sender(seen.home4.into()));
                }
            }
        });
        assert_eq!(slot.binding(), Some(BindingIndex(199_999)));
        assert_eq!(slot.sender(), Some(sender(66_666)));
        slot.set_binding(None);
        assert_eq!((slot.binding(), slot.sender()), (None, None));
    }

    #[test]
    fn what_a_packet_looks_at_is_one_line_and_its_keys() {
        assert_eq!(core::mem::offset_of!(SaSlot, sender), 64);
        assert_eq!(core::mem::offset_of!(SaSlot, replay_bits), 128);
        assert_eq!(core::mem::offset_of!(SaSlot, keys), 256);
        // 2 KiB is the limit with its binding.
        assert!(size_of::<SaSlot>() <= 1152);
    }
}
