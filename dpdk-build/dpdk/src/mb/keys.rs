//! Key schedules as ipsec-mb reads them.
//!
//! One struct per direction, so that an SA keeps only what it uses. They have no `Debug` and no
//! `Clone` and are wiped on drop. A job in a lane points at them: [`crate::Op`] borrows them for
//! as long as the [`crate::MultiBuffer`] may.

use hearth_ipsec_mb_sys as sys;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::manager::MultiBuffer;

/// Octets of an AES-128 key schedule: 11 round keys.
const AES128_SCHEDULE: usize = 11 * 16;

/// AES-128 schedule for CBC encryption.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(16))]
pub struct Aes128EncryptKey(pub(super) [u8; AES128_SCHEDULE]);

/// AES-128 schedule for CBC decryption.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(16))]
pub struct Aes128DecryptKey(pub(super) [u8; AES128_SCHEDULE]);

/// Schedules of the three keys of TripleDES, for both directions.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub struct TripleDesKey(pub(super) [[u64; 16]; 3]);

/// HMAC-SHA1 key: SHA-1 states after the inner and the outer pad.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(16))]
pub struct HmacSha1Key {
    pub(super) inner: [u8; 20],
    pub(super) outer: [u8; 20],
}

/// AES-XCBC-MAC keys: K1 expanded, K2 and K3 (RFC 3566 s.4).
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(16))]
pub struct XcbcKey {
    pub(super) k1: [u8; AES128_SCHEDULE],
    pub(super) k2: [u8; 16],
    pub(super) k3: [u8; 16],
}

/// AES-128-GCM key: the schedule and the powers of the hash key that GHASH wants, for both
/// directions. How the powers are laid out depends on the instruction set: it is used by managers
/// of the same [`super::Arch`] as the one that expanded it.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub struct Aes128GcmKey(pub(super) [u8; sys::HEARTH_GCM_KEY_SIZE as usize]);

// An SA holds one cipher and one integrity key per direction; these sizes are in its budget.
const _: () = assert!(size_of::<Aes128EncryptKey>() == 176 && size_of::<TripleDesKey>() == 384);
const _: () = assert!(size_of::<HmacSha1Key>() == 48 && size_of::<XcbcKey>() == 208);
const _: () = assert!(size_of::<Aes128GcmKey>() == 1024);

/// Key expansion. It touches no lane.
impl MultiBuffer<'_> {
    /// Expands an AES-128 key for encryption.
    #[must_use]
    pub fn aes128_encrypt_key(&self, key: &[u8; 16]) -> Aes128EncryptKey {
        let mut enc = Aes128EncryptKey([0; 176]);
        let mut dec = Aes128DecryptKey([0; 176]);
        self.aes128(key, &mut enc, &mut dec);
        enc
    }

    /// Expands an AES-128 key for decryption.
    #[must_use]
    pub fn aes128_decrypt_key(&self, key: &[u8; 16]) -> Aes128DecryptKey {
        let mut enc = Aes128EncryptKey([0; 176]);
        let mut dec = Aes128DecryptKey([0; 176]);
        self.aes128(key, &mut enc, &mut dec);
        dec
    }

    /// The schedule that decrypts what `key` encrypted: to read back a packet of one's own.
    #[must_use]
    pub fn aes128_reverse_key(&self, key: &Aes128EncryptKey) -> Aes128DecryptKey {
        // FIPS 197 s.5.2: the first round key is the key itself.
        let mut first = Zeroizing::new([0; 16]);
        first.copy_from_slice(&key.0[..16]);
        self.aes128_decrypt_key(&first)
    }

    fn aes128(&self, key: &[u8; 16], enc: &mut Aes128EncryptKey, dec: &mut Aes128DecryptKey) {
        // SAFETY: the key is 16 octets, the schedules are 176 and aligned to 16.
        unsafe {
            sys::hearth_imb_aes128_keyexp(
                self.raw.as_ptr(),
                key.as_ptr(),
                enc.0.as_mut_ptr(),
                dec.0.as_mut_ptr(),
            );
        }
    }

    /// Expands the three keys of TripleDES, K1 | K2 | K3. Parity is ignored.
    #[must_use]
    pub fn triple_des_key(&self, key: &[u8; 24]) -> TripleDesKey {
        let mut expanded = TripleDesKey([[0; 16]; 3]);
        for (schedule, key) in expanded.0.iter_mut().zip(key.chunks_exact(8)) {
            // SAFETY: the key is 8 octets, the schedule 16 words.
            unsafe {
                sys::hearth_imb_des_keysched(
                    self.raw.as_ptr(),
                    schedule.as_mut_ptr(),
                    key.as_ptr(),
                );
            }
        }
        expanded
    }

    /// Expands an AES-128-GCM key. The salt is no part of it: it goes into the nonce.
    #[must_use]
    pub fn aes128_gcm_key(&self, key: &[u8; 16]) -> Aes128GcmKey {
        let mut expanded = Aes128GcmKey([0; sys::HEARTH_GCM_KEY_SIZE as usize]);
        // SAFETY: the key is 16 octets; `expanded` is as large and as aligned as the library's
        // struct.
        unsafe {
            sys::hearth_imb_aes128_gcm_pre(
                self.raw.as_ptr(),
                key.as_ptr(),
                expanded.0.as_mut_ptr(),
            );
        }
        expanded
    }

    /// Prepares an HMAC-SHA1 key of 20 octets (R-13; RFC 2104 s.2).
    #[must_use]
    pub fn hmac_sha1_key(&self, key: &[u8; 20]) -> HmacSha1Key {
        let mut expanded = HmacSha1Key { inner: [0; 20], outer: [0; 20] };
        for (state, pad) in [(&mut expanded.inner, 0x36), (&mut expanded.outer, 0x5c)] {
            let mut block = Zeroizing::new([pad; 64]);
            for (octet, key) in block.iter_mut().zip(key) {
                *octet ^= key;
            }
            // SAFETY: the block is 64 octets, the state 20.
            unsafe {
                sys::hearth_imb_sha1_one_block(
                    self.raw.as_ptr(),
                    block.as_ptr(),
                    state.as_mut_ptr(),
                );
            }
        }
        expanded
    }

    /// Derives and expands the keys of AES-XCBC-MAC (RFC 3566 s.4).
    #[must_use]
    pub fn xcbc_key(&self, key: &[u8; 16]) -> XcbcKey {
        let mut expanded = XcbcKey { k1: [0; 176], k2: [0; 16], k3: [0; 16] };
        // SAFETY: the sizes are those of the shim's signature, aligned to 16.
        unsafe {
            sys::hearth_imb_xcbc_keyexp(
                self.raw.as_ptr(),
                key.as_ptr(),
                expanded.k1.as_mut_ptr(),
                expanded.k2.as_mut_ptr(),
                expanded.k3.as_mut_ptr(),
            );
        }
        expanded
    }
}

/// Overwrites what calls that have returned may have left on the stack of this thread: keys move by
/// value from where they are expanded to where they stay, and ipsec-mb has temporaries of its own.
/// To be called from where that call was made, which has to be one that is not inlined.
#[inline(never)]
pub fn burn_stack() {
    /// More than the frames of an expansion and of all moves together.
    const WORDS: usize = 16 * 1024 / 8;
    let mut area = [0_u64; WORDS];
    area.zeroize();
    core::hint::black_box(&area);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reversed_key_is_the_decryption_key() {
        let mb = MultiBuffer::new().expect("a manager");
        let key: [u8; 16] = *b"sixteen octets..";
        let reversed = mb.aes128_reverse_key(&mb.aes128_encrypt_key(&key));
        assert!(reversed.0 == mb.aes128_decrypt_key(&key).0);
    }
}
