//! What several unit tests share.

use crate::keys::{Entropy, EntropyError};

/// A source that counts: every octet it gives is foreseeable, and no two draws are alike.
pub(crate) struct Counting(u64);

impl From<u64> for Counting {
    fn from(start: u64) -> Self {
        Self(start)
    }
}

impl Entropy for Counting {
    fn fill(&mut self, buf: &mut [u8]) -> Result<(), EntropyError> {
        for octet in buf {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *octet = self.0.to_be_bytes()[0];
        }
        Ok(())
    }
}
