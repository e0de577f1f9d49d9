//! What is to be done with one packet.

use thiserror::Error;

use super::keys::{
    Aes128DecryptKey, Aes128EncryptKey, Aes128GcmKey, HmacSha1Key, TripleDesKey, XcbcKey,
};
use crate::mbuf::{META_SIZE, Mbuf};

/// The cipher's part of an operation, with its direction. Encryption is done before, decryption
/// after the tag is computed; AES-GCM does both at once.
#[derive(Clone, Copy)]
pub enum Cipher<'k> {
    /// None; `cipher_len` is 0 and the IV's place is not read.
    Null,
    /// AES-128-CBC encryption.
    Aes128Encrypt(&'k Aes128EncryptKey),
    /// AES-128-CBC decryption.
    Aes128Decrypt(&'k Aes128DecryptKey),
    /// TripleDES-CBC encryption.
    TripleDesEncrypt(&'k TripleDesKey),
    /// TripleDES-CBC decryption.
    TripleDesDecrypt(&'k TripleDesKey),
    /// AES-128-GCM encryption (RFC 4106), together with [`Auth::Gcm`].
    Aes128GcmEncrypt(&'k Aes128GcmKey),
    /// AES-128-GCM decryption, together with [`Auth::Gcm`].
    Aes128GcmDecrypt(&'k Aes128GcmKey),
}

impl Cipher<'_> {
    /// Octets of a block, of which `cipher_len` is a multiple; 0 for [`Cipher::Null`].
    #[must_use]
    #[inline]
    pub const fn block(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Aes128Encrypt(_) | Self::Aes128Decrypt(_) => 16,
            Self::TripleDesEncrypt(_) | Self::TripleDesDecrypt(_) => 8,
            Self::Aes128GcmEncrypt(_) | Self::Aes128GcmDecrypt(_) => 1,
        }
    }

    /// Octets that the library reads as the IV: a block, or the nonce of AES-GCM.
    #[must_use]
    #[inline]
    pub const fn iv_len(&self) -> usize {
        if self.is_gcm() { 12 } else { self.block() }
    }

    pub(super) const fn is_triple_des(&self) -> bool {
        matches!(self, Self::TripleDesEncrypt(_) | Self::TripleDesDecrypt(_))
    }

    const fn is_gcm(&self) -> bool {
        matches!(self, Self::Aes128GcmEncrypt(_) | Self::Aes128GcmDecrypt(_))
    }
}

/// The integrity algorithm's part of an operation.
#[derive(Clone, Copy)]
pub enum Auth<'k> {
    /// HMAC-SHA1-96 (RFC 2404).
    HmacSha1(&'k HmacSha1Key),
    /// AES-XCBC-MAC-96 (RFC 3566).
    Xcbc(&'k XcbcKey),
    /// The tag of AES-GCM, by the cipher's key. The octets from `auth_offset` are the additional
    /// authenticated data; those that are encrypted are covered anyway.
    Gcm,
}

impl Auth<'_> {
    /// Octets of the tag: 96 bits, or 128 of AES-GCM.
    #[must_use]
    #[inline]
    pub const fn tag_len(&self) -> usize {
        match self {
            Self::HmacSha1(_) | Self::Xcbc(_) => 12,
            Self::Gcm => 16,
        }
    }
}

/// Where the octets of the tag go ([`Auth::tag_len`]). They are never compared here: the caller
/// does that, in constant time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// Into the packet, at this offset in its data: to be sent.
    Packet(u32),
    /// Into the mbuf's private area ([`Mbuf::meta`]), at this offset: to be compared.
    Meta(u32),
    /// Into a place of the manager's own, which is in the cache where a private area is not: to be
    /// compared ([`super::MultiBuffer::tag`]).
    Kept,
}

/// One cipher and one tag over one packet in place. Offsets count from the first octet of
/// [`Mbuf::data`].
#[derive(Clone, Copy)]
pub struct Op<'k> {
    /// Cipher, direction and key.
    pub cipher: Cipher<'k>,
    /// Integrity algorithm and key.
    pub auth: Auth<'k>,
    /// Where the IV stands in the packet; it is as long as a block. The nonce of AES-GCM, salt |
    /// explicit IV (RFC 4106 s.4), never stands in a packet as a whole: its 12 octets are at this
    /// offset of the private area ([`Mbuf::meta`]).
    pub iv_offset: u32,
    /// Where the octets to encrypt or decrypt start.
    pub cipher_offset: u32,
    /// How many there are: a multiple of the block, not 0 (but 0 for [`Cipher::Null`]).
    pub cipher_len: u32,
    /// Where the octets under the tag start.
    pub auth_offset: u32,
    /// How many there are, not 0 (but for [`Auth::Gcm`]).
    pub auth_len: u32,
    /// Where the tag goes.
    pub tag: Tag,
}

/// Why an operation was not taken: it does not fit the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpError {
    /// The packet is in several segments.
    #[error("the packet is in several segments")]
    Segments,
    /// AES-GCM's cipher without its tag, or its tag without its cipher.
    #[error("the cipher and the integrity algorithm do not go together")]
    Suite,
    /// The length to encrypt or decrypt is no multiple of the block, or 0, or not 0 under NULL.
    #[error("the length to encrypt or decrypt does not fit the cipher's block")]
    CipherLength,
    /// The lanes take no more before some come out.
    #[error("the lanes are full")]
    Full,
    /// The IV, the octets to encrypt or to authenticate, or the tag reach beyond the packet.
    #[error("a part of the operation reaches beyond the packet")]
    Range,
    /// The session belongs to another queue of a crypto device.
    #[error("the session belongs to another queue")]
    Queue,
    /// The queue of the crypto device is full.
    #[error("the queue of the crypto device is full")]
    Busy,
}

impl Op<'_> {
    /// Whether every part of the operation lies within the packet.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the suite is known where it is called")]
    pub(super) fn check(&self, mbuf: &Mbuf) -> Result<(), OpError> {
        let gcm = self.cipher.is_gcm();
        if gcm != matches!(self.auth, Auth::Gcm) {
            return Err(OpError::Suite);
        }
        let places = Places {
            gcm,
            block: self.cipher.block(),
            iv_len: self.cipher.iv_len(),
            tag_len: self.auth.tag_len(),
            iv_offset: self.iv_offset,
            cipher_offset: self.cipher_offset,
            cipher_len: self.cipher_len,
            auth_offset: self.auth_offset,
            auth_len: self.auth_len,
            tag: self.tag,
        };
        places.check(mbuf)
    }
}

/// The places of an operation in its packet, whoever carries it out.
pub(crate) struct Places {
    /// Whether the IV is a nonce of AES-GCM in the private area.
    pub(crate) gcm: bool,
    /// Octets of the cipher's block, 0 without one.
    pub(crate) block: usize,
    pub(crate) iv_len: usize,
    pub(crate) tag_len: usize,
    pub(crate) iv_offset: u32,
    pub(crate) cipher_offset: u32,
    pub(crate) cipher_len: u32,
    pub(crate) auth_offset: u32,
    pub(crate) auth_len: u32,
    pub(crate) tag: Tag,
}

impl Places {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the suite is known where it is called")]
    pub(crate) fn check(&self, mbuf: &Mbuf) -> Result<(), OpError> {
        if !mbuf.is_contiguous() {
            return Err(OpError::Segments);
        }
        let len = mbuf.len();
        let cipher_len = self.cipher_len as usize;
        if self.block == 0 {
            if cipher_len != 0 {
                return Err(OpError::CipherLength);
            }
        } else {
            // Block sizes are powers of two.
            if cipher_len == 0 || cipher_len & (self.block - 1) != 0 {
                return Err(OpError::CipherLength);
            }
            let iv_room = if self.gcm { META_SIZE } else { len };
            if !within(self.iv_offset, self.iv_len, iv_room)
                || !within(self.cipher_offset, cipher_len, len)
            {
                return Err(OpError::Range);
            }
        }
        let tag_fits = match self.tag {
            Tag::Packet(offset) => within(offset, self.tag_len, len),
            Tag::Meta(offset) => within(offset, self.tag_len, META_SIZE),
            Tag::Kept => true,
        };
        let auth_len = self.auth_len as usize;
        if !tag_fits || (auth_len == 0 && !self.gcm) || !within(self.auth_offset, auth_len, len) {
            return Err(OpError::Range);
        }
        Ok(())
    }
}

pub(crate) const fn within(offset: u32, n: usize, len: usize) -> bool {
    // No overflow: `offset` is 32 bits wide and `n` at most that.
    offset as usize + n <= len
}
