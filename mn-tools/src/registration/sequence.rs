//! Sequence numbers of Binding Updates.
//!
//! Read first: RFC 6275 s.9.5.1, 11.7.3; RFC 5648 s.5.2.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The next number. Clones draw from the same line: the home agent counts one for all care-of
/// addresses of a home address.
#[derive(Debug, Clone, Default)]
pub struct Sequence(Arc<AtomicU16>);

impl Sequence {
    /// Begins with `first`.
    #[must_use]
    pub fn new(first: u16) -> Self {
        Self(Arc::new(AtomicU16::new(first)))
    }

    /// Takes the next number.
    #[must_use]
    pub fn draw(&self) -> u16 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// The home agent accepted `last` and refused another: goes on behind it, unless this line is
    /// there already, because it was not the number that was old but its way that was slow.
    pub fn adopt(&self, last: u16) {
        let next = last.wrapping_add(1);
        let ahead = self.0.load(Ordering::Relaxed).wrapping_sub(next);
        if ahead >= 0x8000 {
            self.0.store(next, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_draw_from_one_line_that_only_goes_forward() {
        let line = Sequence::new(u16::MAX);
        let other = line.clone();
        assert_eq!((line.draw(), other.draw(), line.draw()), (u16::MAX, 0, 1));
        line.adopt(0);
        assert_eq!(other.draw(), 2, "it was there already");
        line.adopt(40000 - 32768);
        assert_eq!(other.draw(), 40001 - 32768);
    }
}
