//! Pre-shared keys as they lie in memory and in the store: wrapped, opened only for an exchange.
//!
//! ```text
//!  nonce (12) | AES-256-GCM ( length (1) | key, zeros up to 64 ) | tag (16)
//! ```
//!
//! All have one size, so that a short key takes as long to open as a long one (R-8). The mn-id is
//! authenticated along: a key that is moved to another subscriber's record does not open.

use core::fmt;
use std::sync::Arc;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hearth_wire::MobileNodeId;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::auth::psk::Psk;
use crate::keys::{Entropy, EntropyError};

const NONCE: usize = 12;
const TAG: usize = 16;
/// The longest [`Psk`] and its length.
const PLAIN: usize = 1 + Psk::MAX_LEN;

/// Octets of a wrapped key.
pub const SEALED_LEN: usize = NONCE + PLAIN + TAG;

/// Which key wraps: the first octets of a hash of it, which tell nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// The key that wraps pre-shared keys.
pub struct SealingKey {
    id: KeyId,
    cipher: Aes256Gcm,
}

impl SealingKey {
    /// Octets of the key.
    pub const LEN: usize = 32;

    /// A key that was handed in; the caller wipes its copy.
    #[must_use]
    pub fn new(octets: &[u8; Self::LEN]) -> Self {
        let mut hash = Sha256::new_with_prefix(b"hearth-hac subscriber key");
        hash.update(octets);
        let mut id = KeyId([0; 8]);
        for (to, from) in id.0.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self { id, cipher: Aes256Gcm::new(octets.into()) }
    }

    /// A key for the life of this process.
    ///
    /// # Errors
    /// [`EntropyError`].
    pub fn random(entropy: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let mut octets = Zeroizing::new([0; Self::LEN]);
        entropy.fill(&mut *octets)?;
        Ok(Self::new(&octets))
    }

    /// Which key it is.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

/// A wrapped pre-shared key, and what opens it.
#[derive(Clone)]
pub struct SealedPsk {
    key: Arc<SealingKey>,
    octets: [u8; SEALED_LEN],
}

impl SealedPsk {
    /// Wraps the key of `mn_id`.
    ///
    /// # Errors
    /// [`EntropyError`].
    pub fn seal(
        key: &Arc<SealingKey>,
        mn_id: &MobileNodeId,
        psk: &Psk,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, EntropyError> {
        let mut octets = [0; SEALED_LEN];
        let (nonce, rest) = octets.split_at_mut(NONCE);
        let (plain, tag) = rest.split_at_mut(PLAIN);
        entropy.fill(nonce)?;
        let (length, place) = plain.split_at_mut(1);
        length.fill(u8::try_from(psk.octets().len()).map_err(|_| EntropyError)?);
        for (to, from) in place.iter_mut().zip(psk.octets()) {
            *to = *from;
        }
        let nonce = Nonce::try_from(&*nonce).map_err(|_| EntropyError)?;
        let aad = mn_id.as_str().as_bytes();
        match key.cipher.encrypt_inout_detached(&nonce, aad, (&mut *plain).into()) {
            Ok(made) => tag.copy_from_slice(&made),
            Err(_) => {
                plain.zeroize();
                return Err(EntropyError);
            }
        }
        Ok(Self { key: key.clone(), octets })
    }

    /// One that was wrapped before, under `key`.
    #[must_use]
    pub const fn sealed(key: Arc<SealingKey>, octets: [u8; SEALED_LEN]) -> Self {
        Self { key, octets }
    }

    /// Whether both are the same key of `mn_id`, however it is wrapped.
    #[must_use]
    pub fn is_same(&self, other: &Self, mn_id: &MobileNodeId) -> bool {
        if self.key.id() == other.key.id() && self.octets == other.octets {
            return true;
        }
        let opened = self.open(mn_id).zip(other.open(mn_id));
        opened.is_some_and(|(one, two)| one.octets() == two.octets())
    }

    /// The key of `mn_id`; `None` where it was wrapped under another key, for another mn-id, or is
    /// damaged.
    #[must_use]
    pub fn open(&self, mn_id: &MobileNodeId) -> Option<Psk> {
        let (nonce, rest) = self.octets.split_first_chunk::<NONCE>()?;
        let (sealed, tag) = rest.split_at_checked(PLAIN)?;
        let mut plain = Zeroizing::new([0; PLAIN]);
        plain.copy_from_slice(sealed);
        let (nonce, tag) = (Nonce::from(*nonce), Tag::try_from(tag).ok()?);
        let aad = mn_id.as_str().as_bytes();
        #[cfg(test)]
        testing::OPENED.set(testing::OPENED.get() + plain.len() + aad.len());
        self.key.cipher.decrypt_inout_detached(&nonce, aad, (&mut plain[..]).into(), &tag).ok()?;
        let (length, octets) = plain.split_first()?;
        Psk::new(octets.get(..usize::from(*length))?.to_vec()).ok()
    }

    /// What wrapped it.
    #[must_use]
    pub const fn key(&self) -> &Arc<SealingKey> {
        &self.key
    }

    /// As it is stored.
    #[must_use]
    pub const fn octets(&self) -> &[u8; SEALED_LEN] {
        &self.octets
    }
}

impl fmt::Debug for SealedPsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedPsk(..)")
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::cell::Cell;

    thread_local! {
        /// Octets that this thread has decrypted or hashed to open keys.
        pub(in crate::subscribers) static OPENED: Cell<usize> = const { Cell::new(0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Counting;

    fn mn_id(text: &str) -> MobileNodeId {
        MobileNodeId::new(text).unwrap()
    }

    fn key(octet: u8) -> Arc<SealingKey> {
        Arc::new(SealingKey::new(&[octet; 32]))
    }

    #[test]
    fn a_key_opens_under_its_key_for_its_mn_id_alone() {
        let (one, other) = (mn_id("mn1@example.net"), mn_id("mn2@example.net"));
        for length in [16, 32, 64, 65] {
            let psk = Psk::new(vec![0x5a; length]).unwrap();
            let sealed = SealedPsk::seal(&key(1), &one, &psk, &mut Counting::from(1)).unwrap();
            assert_eq!(sealed.open(&one).unwrap().octets(), psk.octets());
            assert!(sealed.open(&other).is_none());
            assert!(SealedPsk::sealed(key(2), *sealed.octets()).open(&one).is_none());
            let shown = sealed.octets().windows(16).any(|octets| octets == [0x5a; 16]);
            assert!(!shown, "the key stands in the clear");
        }
    }

    #[test]
    fn every_octet_counts() {
        let one = mn_id("mn1@example.net");
        let psk = Psk::new(vec![7; 16]).unwrap();
        let sealed = SealedPsk::seal(&key(1), &one, &psk, &mut Counting::from(1)).unwrap();
        for place in 0..SEALED_LEN {
            let mut octets = *sealed.octets();
            octets[place] ^= 1;
            assert!(SealedPsk::sealed(key(1), octets).open(&one).is_none(), "octet {place}");
        }
    }

    #[test]
    fn the_id_names_the_key_and_nothing_shows_it() {
        assert_eq!(key(1).id(), key(1).id());
        assert_ne!(key(1).id(), key(2).id());
        assert!(!format!("{:?}", key(1)).contains("0101"));
    }
}
