//! AES-GCM with 128-bit keys in ESP's way.
//!
//! Read first: RFC 4106 s.3 to 5, 8.1; reading R-16.
//!
//! ```text
//!   nonce  salt (4 octets, the end of the ekey) | IV (8 octets, in the frame)
//!   AAD    the frame's header: PType | SPI | sequence number
//! ```

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce, Tag};
use cipher::consts::U12;
use hearth_wire::frame::GcmIv;
use hearth_wire::suite::{GCM_ICV_LEN, GCM_SALT_LEN};
use zeroize::ZeroizeOnDrop;

/// Key and salt of one direction of an SA. No `Debug`; wiped on drop.
#[derive(ZeroizeOnDrop)]
pub struct GcmKey {
    key: Aes128Gcm,
    salt: [u8; GCM_SALT_LEN],
}

impl GcmKey {
    /// Takes an `ekey` apart: 16 octets of key and the salt; `None` where it has another length.
    #[must_use]
    pub fn new(ekey: &[u8]) -> Option<Self> {
        let (key, salt) = ekey.split_last_chunk()?;
        Some(Self { key: Aes128Gcm::new_from_slice(key).ok()?, salt: *salt })
    }

    /// Encrypts `text` in place; the tag over it and `aad`. `None` where it is longer than GCM
    /// allows.
    #[must_use]
    pub fn seal(
        &self,
        iv: &[u8; GcmIv::LEN],
        aad: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; GCM_ICV_LEN]> {
        let tag = self.key.encrypt_inout_detached(&self.nonce(iv), aad, text.into());
        tag.ok().map(|tag| tag.0)
    }

    /// Decrypts `text` in place if `icv` is the tag over it and `aad`; else it stays as it is and
    /// the answer is `false`. The tags are compared in constant time.
    #[must_use]
    pub fn open(
        &self,
        iv: &[u8; GcmIv::LEN],
        aad: &[u8],
        text: &mut [u8],
        icv: &[u8; GCM_ICV_LEN],
    ) -> bool {
        let tag: &Tag = icv.into();
        self.key.decrypt_inout_detached(&self.nonce(iv), aad, text.into(), tag).is_ok()
    }

    fn nonce(&self, iv: &[u8; GcmIv::LEN]) -> Nonce<U12> {
        let mut nonce = Nonce::default();
        for (to, from) in nonce.iter_mut().zip(self.salt.iter().chain(iv)) {
            *to = *from;
        }
        nonce
    }
}

#[cfg(test)]
pub(crate) mod tests;
