//! Which records of a log are live: the last of each key.
//!
//! The index is kept by a thread of its own while another one reads the log: with millions of keys a
//! look into it goes to memory, and takes as long as reading and checking a record.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::{Hash, Hasher};
use std::sync::mpsc::SyncSender;

use rustc_hash::FxBuildHasher;

use crate::record::{Entry, KEY_MAX, Kind};

/// Steps that are handed over at a time, roughly.
const STEPS: usize = 1 << 13;

/// A kind and a key, inline.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key([u8; KEY_MAX + 1]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl Key {
    fn new(kind: Kind, key: &[u8]) -> Self {
        let mut octets = [0; KEY_MAX + 1];
        // Three bits and five: keys have up to 23 octets.
        octets[0] = (kind as u8) << 5 | u8::try_from(key.len()).unwrap_or(0);
        octets[1..=key.len()].copy_from_slice(key);
        Self(octets)
    }

    const fn kind(&self) -> usize {
        (self.0[0] >> 5) as usize
    }
}

/// Where the last record of a key stands.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) ordinal: u32,
    pub(crate) octets: u32,
}

/// What a record does to the index.
pub(crate) struct Step {
    key: Key,
    place: Place,
    live: bool,
}

/// The steps on their way to the index, those of whole turns.
pub(crate) struct Steps {
    steps: Vec<Step>,
    /// Of those, the ones whose turn has ended.
    counted: usize,
    to: SyncSender<Vec<Step>>,
}

impl Steps {
    pub(crate) fn new(to: SyncSender<Vec<Step>>) -> Self {
        Self { steps: Vec::with_capacity(STEPS), counted: 0, to }
    }

    /// A record of the turn that is being read.
    pub(crate) fn push(&mut self, entry: &Entry<'_>, place: Place) {
        let (key, live) = match *entry {
            Entry::Put(record) => (Key::new(record.kind, record.key), true),
            Entry::Delete(kind, key) => (Key::new(kind, key), false),
            Entry::Turn(_) => return,
        };
        self.steps.push(Step { key, place, live });
    }

    /// The turn counts.
    pub(crate) fn end_turn(&mut self) {
        self.counted = self.steps.len();
        if self.counted >= STEPS {
            self.hand_over();
        }
    }

    /// The turn that is being read has no end, and does not count.
    pub(crate) fn forget_turn(&mut self) {
        self.steps.truncate(self.counted);
    }

    /// Hands the rest over; there is no more.
    pub(crate) fn end(mut self) {
        self.forget_turn();
        self.hand_over();
    }

    fn hand_over(&mut self) {
        self.counted = 0;
        let steps = std::mem::replace(&mut self.steps, Vec::with_capacity(STEPS));
        // The index is there until this is dropped.
        let _there = self.to.send(steps);
    }
}

#[derive(Default)]
pub(crate) struct Index {
    places: HashMap<Key, Place, FxBuildHasher>,
    /// Of each segment one bit for each record: whether it is live.
    pub(crate) bits: Vec<Vec<u64>>,
    pub(crate) counts: [u64; Kind::HIGHEST],
    pub(crate) octets: u64,
}

impl Index {
    /// An index with room for so many keys.
    pub(crate) fn with_room(keys: usize) -> Self {
        let places = HashMap::with_capacity_and_hasher(keys, FxBuildHasher);
        Self { places, ..Self::default() }
    }

    pub(crate) fn take(&mut self, steps: Vec<Step>) {
        for Step { key, place, live } in steps {
            if live { self.put(key, place) } else { self.delete(&key) }
        }
    }

    fn mark(&mut self, place: Place, live: bool) {
        let segment = place.segment as usize;
        if self.bits.len() <= segment {
            self.bits.resize_with(segment + 1, Vec::new);
        }
        let bits = &mut self.bits[segment];
        let (word, bit) = (place.ordinal as usize / 64, place.ordinal % 64);
        if bits.len() <= word {
            bits.resize(word + 1, 0);
        }
        if live {
            bits[word] |= 1 << bit;
        } else {
            bits[word] &= !(1 << bit);
        }
    }

    fn put(&mut self, key: Key, place: Place) {
        let before = match self.places.entry(key) {
            Slot::Occupied(mut slot) => Some(slot.insert(place)),
            Slot::Vacant(slot) => {
                slot.insert(place);
                None
            }
        };
        self.mark(place, true);
        self.octets += u64::from(place.octets);
        match before {
            Some(before) => self.forget(before),
            None => self.counts[key.kind() - 1] += 1,
        }
    }

    fn delete(&mut self, key: &Key) {
        if let Some(before) = self.places.remove(key) {
            self.forget(before);
            self.counts[key.kind() - 1] -= 1;
        }
    }

    fn forget(&mut self, before: Place) {
        self.mark(before, false);
        self.octets -= u64::from(before.octets);
    }
}
