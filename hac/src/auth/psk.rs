//! Pre-shared keys.
//!
//! Read first: RFC 6618 s.5.8; reading R-8.

use core::fmt;

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::keys::{Entropy, EntropyError};

/// A pre-shared key is too short: it could be guessed off line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PskTooShort;

impl fmt::Display for PskTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a pre-shared key has at least {} octets", Psk::MIN_LEN)
    }
}

impl std::error::Error for PskTooShort {}

/// A pre-shared key, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Psk(Box<[u8]>);

impl Psk {
    /// Octets of the shortest key that is accepted.
    pub const MIN_LEN: usize = 16;

    /// Octets of the longest key as it is kept: one block of SHA-256, as HMAC hashes a longer key
    /// first (RFC 2104 s.2).
    pub const MAX_LEN: usize = 64;

    /// Takes a key.
    ///
    /// One longer than a block is replaced by its hash here, once, which is the same key to HMAC:
    /// then an exchange takes as long for a known mn-id as for an unknown one.
    ///
    /// # Errors
    /// [`PskTooShort`].
    pub fn new(mut octets: Vec<u8>) -> Result<Self, PskTooShort> {
        if octets.len() < Self::MIN_LEN {
            octets.zeroize();
            return Err(PskTooShort);
        }
        if octets.len() > Self::MAX_LEN {
            let hashed = Box::from(Sha256::digest(&octets).as_slice());
            octets.zeroize();
            return Ok(Self(hashed));
        }
        // A growing vector may have left copies behind; this one is handed over without one more.
        Ok(Self(octets.into_boxed_slice()))
    }

    /// A key that nobody knows, for an mn-id that nobody has.
    ///
    /// # Errors
    /// [`EntropyError`].
    pub fn unknown(entropy: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let mut key = vec![0; 32].into_boxed_slice();
        entropy.fill(&mut key)?;
        Ok(Self(key))
    }

    /// The octets that key HMAC-SHA256.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_octets_are_the_least() {
        assert!(Psk::new(vec![1; 15]).is_err());
        assert_eq!(Psk::new(vec![1; 16]).unwrap().octets(), [1; 16]);
        assert_eq!(Psk::new(vec![1; 64]).unwrap().octets(), [1; 64]);
    }

    /// RFC 4231 test case 6 has a key of 131 octets: its hash keys the same HMAC.
    #[test]
    fn a_long_key_is_hashed_once() {
        let hashed = Sha256::digest([0xaa; 131]);
        assert_eq!(Psk::new(vec![0xaa; 131]).unwrap().octets(), hashed.as_slice());
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Psk::new(vec![0x41; 16]).unwrap()), "Psk(..)");
    }
}
