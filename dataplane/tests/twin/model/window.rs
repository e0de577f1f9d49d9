//! The replay window: the highest number, and a set (RFC 4303 s.3.4.3, R-23, R-24).

use std::collections::BTreeSet;

use hearth_dataplane::DropReason as D;

#[derive(Clone)]
pub struct Window {
    pub width: u32,
    pub seen: BTreeSet<u32>,
}

impl Window {
    pub const fn new(width: u32) -> Self {
        Self { width, seen: BTreeSet::new() }
    }

    pub fn highest(&self) -> Option<u32> {
        self.seen.last().copied()
    }

    pub fn look(&self, seq: u32) -> Result<(), D> {
        match self.highest() {
            Some(highest) if highest >= seq && highest - seq >= self.width => Err(D::ReplayTooOld),
            _ if self.seen.contains(&seq) => Err(D::Replayed),
            _ => Ok(()),
        }
    }

    pub fn commit(&mut self, seq: u32) {
        self.seen.insert(seq);
        let highest = self.highest().unwrap_or(0);
        while self.seen.first().is_some_and(|lowest| highest - lowest >= self.width) {
            self.seen.pop_first();
        }
    }
}
