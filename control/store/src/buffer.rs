//! Octets that may hold keys: wiped before their memory is given back, growth included.

use std::fmt;

use zeroize::Zeroize;

/// A growing buffer. `Vec` would leave the old octets behind when it moves.
#[derive(Default)]
pub struct SecretBuffer {
    octets: Vec<u8>,
}

impl SecretBuffer {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.octets
    }

    pub(crate) fn capacity(&self) -> usize {
        self.octets.capacity()
    }

    pub(crate) fn len(&self) -> usize {
        self.octets.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Appends octets.
    pub fn extend(&mut self, octets: &[u8]) {
        self.reserve(octets.len());
        self.octets.extend_from_slice(octets);
    }

    /// Exactly `length` octets, to be read into.
    pub(crate) fn sized(&mut self, length: usize) -> &mut [u8] {
        self.octets.truncate(length);
        self.reserve(length - self.octets.len());
        self.octets.resize(length, 0);
        &mut self.octets
    }

    /// Takes the last octets off again; they are overwritten by what comes next, or wiped with all.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.octets.truncate(length);
    }

    /// Wipes the octets and keeps the memory.
    pub(crate) fn wipe(&mut self) {
        self.octets.zeroize();
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.octets.len().saturating_add(more);
        if needed > self.octets.capacity() {
            let larger = needed.max(self.octets.capacity().saturating_mul(2)).max(4096);
            let mut moved = Vec::with_capacity(larger);
            moved.extend_from_slice(&self.octets);
            self.octets.zeroize();
            self.octets = moved;
        }
    }
}

impl Drop for SecretBuffer {
    fn drop(&mut self) {
        self.octets.zeroize();
    }
}

impl fmt::Debug for SecretBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.octets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::SecretBuffer;

    #[test]
    fn holds_what_was_put_across_growth() {
        let mut buffer = SecretBuffer::default();
        let mut plain = Vec::new();
        for round in 0..3000_u32 {
            buffer.extend(&round.to_le_bytes());
            plain.extend(round.to_le_bytes());
        }
        assert_eq!(buffer.as_slice(), plain);
        assert_eq!(format!("{buffer:?}"), "12000 octets");
        buffer.wipe();
        assert!(buffer.is_empty());
    }
}
