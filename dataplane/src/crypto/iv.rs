//! Initialisation vectors: unpredictable for every packet.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use zeroize::Zeroizing;

/// A worker's own generator, seeded once from the operating system.
pub(crate) struct IvSource(ChaCha20Rng);

impl IvSource {
    /// `None` where the operating system gives no random numbers.
    pub(crate) fn new() -> Option<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).ok()?;
        Some(Self(ChaCha20Rng::from_seed(*seed)))
    }

    /// Fills an IV.
    pub(crate) fn fill(&mut self, iv: &mut [u8]) {
        self.0.fill_bytes(iv);
    }

    /// A number to start a counter with.
    pub(crate) fn number(&mut self) -> u16 {
        let mut octets = [0; 2];
        self.fill(&mut octets);
        u16::from_be_bytes(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sources_and_two_packets_never_agree() {
        let mut ivs = std::collections::HashSet::new();
        for mut source in [IvSource::new().unwrap(), IvSource::new().unwrap()] {
            for _ in 0..100 {
                let mut iv = [0; 16];
                source.fill(&mut iv);
                assert!(ivs.insert(iv));
            }
        }
    }
}
