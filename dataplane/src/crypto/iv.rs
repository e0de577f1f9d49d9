//! Initialisation vectors: unpredictable for every packet.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use zeroize::Zeroizing;

/// Octets that are drawn at a time: a generator is fastest in bulk.
const STOCK: usize = 4096;

/// A worker's own generator, seeded once from the operating system.
///
/// ChaCha with eight rounds: what stands here goes out in the clear with every packet, and has to be
/// unpredictable beforehand, no more.
pub(crate) struct IvSource {
    generator: ChaCha8Rng,
    stock: Box<[u8; STOCK]>,
    used: usize,
}

impl IvSource {
    /// `None` where the operating system gives no random numbers.
    pub(crate) fn new() -> Option<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).ok()?;
        let generator = ChaCha8Rng::from_seed(*seed);
        Some(Self { generator, stock: Box::new([0; STOCK]), used: STOCK })
    }

    /// An IV of `N` octets.
    #[inline]
    pub(crate) fn next<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= 64) };
        if let Some(iv) = self.stock.get(self.used..).and_then(|left| left.first_chunk()) {
            self.used += N;
            return *iv;
        }
        self.refill();
        self.used = N;
        self.stock.first_chunk().copied().unwrap_or([0; N])
    }

    #[cold]
    fn refill(&mut self) {
        self.generator.fill_bytes(&mut *self.stock);
    }

    /// A number to start a counter with.
    pub(crate) fn number(&mut self) -> u16 {
        u16::from_be_bytes(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sources_and_two_packets_never_agree() {
        let mut ivs = std::collections::HashSet::new();
        for mut source in [IvSource::new().unwrap(), IvSource::new().unwrap()] {
            for _ in 0..1000 {
                assert!(ivs.insert(source.next::<16>()));
            }
        }
    }
}
