//! Keys of a new SA, and where their randomness comes from.
//!
//! Read first: RFC 6618 s.5.6.2; RFC 2451 s.2.2, 2.3; RFC 4106 s.8.1; readings.

use hearth_wire::directory::DirectionKeys;
use hearth_wire::{Cipher, Suite};
use zeroize::Zeroizing;

/// The random source failed; nothing can be issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntropyError;

/// A cryptographic random source.
pub trait Entropy {
    /// Fills `buf`.
    ///
    /// # Errors
    /// [`EntropyError`]; `buf` is then not to be used.
    fn fill(&mut self, buf: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, buf: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(buf).map_err(|_| EntropyError)
    }
}

/// Octets drawn at a time: more than any one message takes of them.
const DRAWN: usize = 128;

/// The operating system's generator, asked once for what one message takes in several parts: asking
/// costs more than the octets. What is left is wiped.
pub struct DrawnEntropy {
    octets: Zeroizing<[u8; DRAWN]>,
    used: usize,
}

impl Default for DrawnEntropy {
    fn default() -> Self {
        Self { octets: Zeroizing::new([0; DRAWN]), used: DRAWN }
    }
}

impl Entropy for DrawnEntropy {
    fn fill(&mut self, buf: &mut [u8]) -> Result<(), EntropyError> {
        if buf.len() > DRAWN {
            return SystemEntropy.fill(buf);
        }
        if self.octets.len() - self.used < buf.len() {
            // Not to be used if this fails.
            self.used = DRAWN;
            SystemEntropy.fill(&mut *self.octets)?;
            self.used = 0;
        }
        let fresh = self.octets.get_mut(self.used..self.used + buf.len()).ok_or(EntropyError)?;
        buf.copy_from_slice(fresh);
        // Nothing is handed out twice, whatever happens.
        fresh.fill(0);
        self.used += buf.len();
        Ok(())
    }
}

/// Fresh keys for one direction of an SA under `suite`. The salt of AES-GCM is as random as its key.
///
/// # Errors
/// [`EntropyError`].
pub fn direction_keys(
    suite: Suite,
    entropy: &mut dyn Entropy,
) -> Result<DirectionKeys, EntropyError> {
    let mut integrity = vec![0; suite.ikey_len()].into_boxed_slice();
    entropy.fill(&mut integrity)?;
    let mut encryption = vec![0; suite.ekey_len()].into_boxed_slice();
    if suite.cipher() == Cipher::TripleDesCbc {
        fill_3des(&mut encryption, entropy)?;
    } else {
        entropy.fill(&mut encryption)?;
    }
    DirectionKeys::new(suite, integrity, encryption).ok_or(EntropyError)
}

/// How often equal or weak 3DES keys are drawn again. One draw fails with a chance of about 2^-52;
/// a source that fails this often is no random source.
const DRAWS: usize = 4;

/// K1 | K2 | K3 with odd parity, pairwise different and none of them weak (R-13, RFC 2451 s.2.3).
fn fill_3des(key: &mut [u8], entropy: &mut dyn Entropy) -> Result<(), EntropyError> {
    for _ in 0..DRAWS {
        entropy.fill(key)?;
        for octet in key.iter_mut() {
            *octet = (*octet & 0xfe) | u8::from((*octet >> 1).count_ones().is_multiple_of(2));
        }
        if is_strong_3des(key) {
            return Ok(());
        }
    }
    Err(EntropyError)
}

fn is_strong_3des(key: &[u8]) -> bool {
    let (parts, rest) = key.as_chunks::<8>();
    match parts {
        [k1, k2, k3] if rest.is_empty() => {
            k1 != k2 && k2 != k3 && k1 != k3 && !parts.iter().any(is_weak_des)
        }
        _ => false,
    }
}

/// The weak and semi-weak DES keys of RFC 2409 Appendix A, with parity set: each half is one of
/// four patterns that the key schedule maps to itself.
fn is_weak_des(key: &[u8; 8]) -> bool {
    const WEAK: [u64; 16] = [
        0x0101_0101_0101_0101,
        0x1f1f_1f1f_0e0e_0e0e,
        0xe0e0_e0e0_f1f1_f1f1,
        0xfefe_fefe_fefe_fefe,
        0x01fe_01fe_01fe_01fe,
        0xfe01_fe01_fe01_fe01,
        0x1fe0_1fe0_0ef1_0ef1,
        0xe01f_e01f_f10e_f10e,
        0x01e0_01e0_01f1_01f1,
        0xe001_e001_f101_f101,
        0x1ffe_1ffe_0efe_0efe,
        0xfe1f_fe1f_fe0e_fe0e,
        0x011f_011f_010e_010e,
        0x1f01_1f01_0e01_0e01,
        0xe0fe_e0fe_f1fe_f1fe,
        0xfee0_fee0_fef1_fef1,
    ];
    WEAK.contains(&u64::from_be_bytes(*key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Counting;

    /// SA-04, R-13, R-16.
    #[test]
    fn keys_have_the_lengths_of_their_suite() {
        for suite in Suite::known() {
            let keys = direction_keys(suite, &mut SystemEntropy).unwrap();
            assert_eq!(keys.integrity().len(), suite.ikey_len());
            assert_eq!(keys.encryption().len(), suite.ekey_len());
        }
    }

    #[test]
    fn octets_that_were_drawn_together_are_handed_out_once() {
        let mut drawn = DrawnEntropy::default();
        let mut seen = std::collections::HashSet::new();
        // Eight octets each, so that chance does not repeat any; some draws don't fit what is left.
        for len in (8..=DRAWN + 8).chain([DRAWN, 120, 16]) {
            let mut octets = vec![0; len];
            drawn.fill(&mut octets).unwrap();
            for part in octets.as_chunks::<8>().0 {
                assert!(seen.insert(*part), "{len}");
            }
            assert!(drawn.octets[..drawn.used.min(DRAWN)].iter().all(|octet| *octet == 0));
        }
    }

    /// parity set, K1, K2, K3 pairwise different.
    #[test]
    fn three_des_keys_have_odd_parity_and_differ() {
        for seed in 0..64 {
            let keys =
                direction_keys(Suite::TripleDesEdeCbcSha, &mut Counting::from(seed)).unwrap();
            let key = keys.encryption();
            assert!(key.iter().all(|octet| octet.count_ones() % 2 == 1), "{key:02x?}");
            assert!(key[..8] != key[8..16] && key[8..16] != key[16..] && key[..8] != key[16..]);
        }
    }

    #[test]
    fn a_source_that_repeats_itself_is_refused() {
        struct Constant(u8);
        impl Entropy for Constant {
            fn fill(&mut self, buf: &mut [u8]) -> Result<(), EntropyError> {
                buf.fill(self.0);
                Ok(())
            }
        }
        let keys = direction_keys(Suite::TripleDesEdeCbcSha, &mut Constant(7));
        assert_eq!(keys.err(), Some(EntropyError));
    }

    #[test]
    fn equal_and_weak_parts_are_not_strong() {
        let strong = *b"\x02\x02\x02\x02\x02\x02\x02\x02\x04\x04\x04\x04\x04\x04\x04\x04\x07\x07\x07\x07\x07\x07\x07\x07";
        assert!(is_strong_3des(&strong));
        for (from, to) in [(0..8, 8), (0..8, 16), (8..16, 16)] {
            let mut key = strong;
            key.copy_within(from, to);
            assert!(!is_strong_3des(&key));
        }
        let mut key = strong;
        key[..8].fill(0x01);
        assert!(!is_strong_3des(&key));
        assert!(!is_strong_3des(&strong[..16]));
    }
}
