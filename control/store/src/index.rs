//! Which records of a log are live: the last of each key.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use crate::record::{KEY_MAX, Kind};

/// A kind and a key, inline.
#[derive(PartialEq, Eq, Hash)]
struct Key([u8; KEY_MAX + 1]);

impl Key {
    fn new(kind: Kind, key: &[u8]) -> Self {
        let mut octets = [0; KEY_MAX + 1];
        // Three bits and five: keys have up to 23 octets.
        octets[0] = (kind as u8) << 5 | u8::try_from(key.len()).unwrap_or(0);
        octets[1..=key.len()].copy_from_slice(key);
        Self(octets)
    }
}

/// Where the last record of a key stands.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) ordinal: u32,
    pub(crate) octets: u32,
}

/// Which records of a segment are live, and where batches begin.
#[derive(Default)]
pub(crate) struct Marks {
    pub(crate) bits: Vec<u64>,
    /// Offset and ordinal of each batch's first record, and those of the end.
    pub(crate) starts: Vec<(usize, u32)>,
}

#[derive(Default)]
pub(crate) struct Index {
    places: HashMap<Key, Place>,
    pub(crate) marks: Vec<Marks>,
    pub(crate) counts: [u64; Kind::HIGHEST],
    pub(crate) octets: u64,
}

impl Index {
    fn mark(&mut self, place: Place, live: bool) {
        let bits = &mut self.marks[place.segment as usize].bits;
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

    pub(crate) fn put(&mut self, kind: Kind, key: &[u8], place: Place) {
        let before = match self.places.entry(Key::new(kind, key)) {
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
            None => self.counts[kind as usize - 1] += 1,
        }
    }

    pub(crate) fn delete(&mut self, kind: Kind, key: &[u8]) {
        if let Some(before) = self.places.remove(&Key::new(kind, key)) {
            self.forget(before);
            self.counts[kind as usize - 1] -= 1;
        }
    }

    fn forget(&mut self, before: Place) {
        self.mark(before, false);
        self.octets -= u64::from(before.octets);
    }
}
