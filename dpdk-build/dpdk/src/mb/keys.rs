//! Key schedules as ipsec-mb reads them.
//!
//! One struct per direction, so that an SA keeps only what it uses. They have no `Debug` and no
//! `Clone` and are wiped on drop. A job in a lane points at them: [`crate::Op`] borrows them for
//! as long as the [`crate::MultiBuffer`] may.

use zeroize::{Zeroize, ZeroizeOnDrop};

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

// An SA holds one cipher and one integrity key per direction; these sizes are in its budget.
const _: () = assert!(size_of::<Aes128EncryptKey>() == 176 && size_of::<TripleDesKey>() == 384);
const _: () = assert!(size_of::<HmacSha1Key>() == 48 && size_of::<XcbcKey>() == 208);
