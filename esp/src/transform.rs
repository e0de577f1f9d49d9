//! One direction of a security association: seals and opens frames in place.
//!
//! Read first: RFC 6618 s.6.2 to 6.4; RFC 4303 s.2.4 to 2.8; readings.

use core::ops::Range;

use aes::{Aes128Dec, Aes128Enc};
use cbc::{Decryptor, Encryptor};
use cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit,
    KeyInit,
};
use des::TdesEde3;
use hearth_wire::frame::{self, FrameError, FrameHeader, GcmIv, PType, ProtectedLayout};
use hearth_wire::suite::ICV_LEN;
use hearth_wire::{Cipher, Integrity, SeqNo, Spi, Suite};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zerocopy::IntoBytes;

use super::gcm::GcmKey;
use super::lanes::{self, BLOCK, LANES};
use super::xcbc::XcbcMac;

/// The epoch of every IV under AES-GCM. An SA lives in this process only: its numbers are drawn
/// from 0 up, each once, and are gone together with its keys. A mobile node that starts again
/// bootstraps and gets fresh keys, so that one epoch is enough for an SA and is never used twice
/// within it. Should SAs ever be kept over a restart, each run has to take an epoch of its
/// own.
const EPOCH: u32 = 0;

/// Why a received frame is not what its sender wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenError {
    /// Too short or not whole blocks.
    Length(FrameError),
    /// The ICV is wrong.
    Icv,
    /// The ICV is right and the trailer is not.
    Trailer(FrameError),
}

/// Cipher with its key schedules expanded. No `Debug`: it is a key.
enum CipherKey {
    Null,
    TripleDes(Box<TdesEde3>),
    Aes128(Box<(Aes128Enc, Aes128Dec)>),
}

enum IntegrityKey {
    HmacSha1(Box<Hmac<Sha1>>),
    Xcbc(Box<XcbcMac>),
}

enum Keys {
    /// Encrypt, then authenticate.
    Separate(CipherKey, IntegrityKey),
    /// Both in one.
    Combined(Box<GcmKey>),
}

/// Keys of one direction under one suite, ready for use. Wiped on drop.
pub struct Transform {
    suite: Suite,
    keys: Keys,
}

impl core::fmt::Debug for Transform {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Transform").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl Transform {
    /// Expands the keys; `None` where a length is not the suite's.
    #[must_use]
    pub fn new(suite: Suite, ikey: &[u8], ekey: &[u8]) -> Option<Self> {
        if ikey.len() != suite.ikey_len() || ekey.len() != suite.ekey_len() {
            return None;
        }
        let cipher = match suite.cipher() {
            Cipher::Null => CipherKey::Null,
            Cipher::TripleDesCbc => {
                CipherKey::TripleDes(Box::new(TdesEde3::new_from_slice(ekey).ok()?))
            }
            Cipher::Aes128Cbc => CipherKey::Aes128(Box::new((
                Aes128Enc::new_from_slice(ekey).ok()?,
                Aes128Dec::new_from_slice(ekey).ok()?,
            ))),
            Cipher::Aes128Gcm => {
                let keys = Keys::Combined(Box::new(GcmKey::new(ekey)?));
                return Some(Self { suite, keys });
            }
        };
        let integrity = match suite.integrity() {
            Integrity::HmacSha1_96 => IntegrityKey::HmacSha1(Box::new(
                <Hmac<Sha1> as KeyInit>::new_from_slice(ikey).ok()?,
            )),
            Integrity::AesXcbcMac96 => {
                IntegrityKey::Xcbc(Box::new(XcbcMac::new(ikey.try_into().ok()?)))
            }
            Integrity::Combined => return None,
        };
        Some(Self { suite, keys: Keys::Separate(cipher, integrity) })
    }

    /// The suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Where the payload stands in a frame: behind header and IV.
    #[must_use]
    pub fn payload_offset(&self) -> usize {
        FrameHeader::LEN + self.suite.iv_len()
    }

    /// Makes a protected frame around the `payload_len` octets that stand at
    /// [`Self::payload_offset`] in `buf`; the frame's length, or `None` where `buf` is too small.
    /// `iv` is unpredictable; as many octets of it are used as the suite needs, none under
    /// AES-GCM, whose IV is made of `seq`: a number must not be sealed twice.
    #[must_use]
    pub fn seal(
        &self,
        buf: &mut [u8],
        payload_len: usize,
        (ptype, spi, seq): (PType, Spi, SeqNo),
        next_header: u8,
        iv: &[u8; 16],
    ) -> Option<usize> {
        let layout = self.enclose(buf, payload_len, (ptype, spi, seq), next_header, iv)?;
        let len = layout.icv_offset + self.suite.icv_len();
        let frame = buf.get_mut(..len)?;
        let (covered, icv) = frame.split_at_mut_checked(layout.icv_offset)?;
        let (head, text) = covered.split_at_mut_checked(layout.cipher_offset)?;
        match &self.keys {
            Keys::Separate(cipher, integrity) => {
                cipher.encrypt(iv.get(..self.suite.iv_len())?, text)?;
                icv.copy_from_slice(&integrity.icv(covered));
            }
            Keys::Combined(key) => {
                let (aad, iv) = gcm_head(head)?;
                icv.copy_from_slice(&key.seal(iv, aad, text)?);
            }
        }
        Some(len)
    }

    /// Makes protected frames of user data, one every `stride` octets of `buf`, as [`Self::seal`] does
    /// with the numbers from `first`; `payload_len` of each but the last, and of that. `None` where
    /// `buf` is too small, or the numbers are not enough.
    #[must_use]
    pub fn seal_train(
        &self,
        buf: &mut [u8],
        stride: usize,
        (payload_len, last_len): (usize, usize),
        (spi, first): (Spi, SeqNo),
        next_header: u8,
        mut draw: impl FnMut() -> [u8; 16],
    ) -> Option<()> {
        let count = buf.len().div_ceil(stride);
        let number = |index: usize| {
            let number = first.0.checked_add(u32::try_from(index).ok()?)?;
            Some((PType::ProtectedData, spi, SeqNo(number)))
        };
        let lanes = match &self.keys {
            Keys::Separate(CipherKey::Aes128(keys), integrity) => Some((&keys.0, integrity)),
            _ => None,
        };
        // The last one may be shorter, and goes alone then.
        let equal = if last_len == payload_len { count } else { count - 1 };
        // Without a shorter one the last frame need not fill its stride.
        let (alike, last) = buf.split_at_mut((equal * stride).min(buf.len()));
        for (group, frames) in alike.chunks_mut(stride * LANES).enumerate() {
            let done = group * LANES;
            let Some((cipher, integrity)) = lanes else {
                for (index, frame) in frames.chunks_mut(stride).enumerate() {
                    self.seal(frame, payload_len, number(done + index)?, next_header, &draw())?;
                }
                continue;
            };
            let mut ivs = [[0; BLOCK]; LANES];
            let mut layout = None;
            for ((index, frame), iv) in frames.chunks_mut(stride).enumerate().zip(&mut ivs) {
                *iv = draw();
                let id = number(done + index)?;
                layout = Some(self.enclose(frame, payload_len, id, next_header, iv)?);
            }
            self.seal_lanes(frames, stride, layout?, (cipher, integrity), ivs)?;
        }
        if !last.is_empty() {
            self.seal(last, last_len, number(count - 1)?, next_header, &draw())?;
        }
        Some(())
    }

    /// Encrypts frames of the same layout together, then authenticates each.
    fn seal_lanes(
        &self,
        frames: &mut [u8],
        stride: usize,
        layout: ProtectedLayout,
        (cipher, integrity): (&Aes128Enc, &IntegrityKey),
        ivs: [[u8; BLOCK]; LANES],
    ) -> Option<()> {
        let text = layout.cipher_offset..layout.icv_offset;
        let count = frames.len().div_ceil(stride);
        let mut texts = frames.chunks_mut(stride).map(|frame| frame.get_mut(text.clone()));
        let texts = std::array::from_fn(|_| texts.next().flatten().unwrap_or_default());
        lanes::encrypt(cipher, count, ivs, texts);
        for frame in frames.chunks_mut(stride) {
            let (covered, icv) = frame.split_at_mut_checked(layout.icv_offset)?;
            icv.get_mut(..ICV_LEN)?.copy_from_slice(&integrity.icv(covered));
        }
        Some(())
    }

    /// Writes header, IV and trailer around a payload.
    fn enclose(
        &self,
        buf: &mut [u8],
        payload_len: usize,
        (ptype, spi, seq): (PType, Spi, SeqNo),
        next_header: u8,
        iv: &[u8; 16],
    ) -> Option<ProtectedLayout> {
        let len = frame::protected_len(self.suite, payload_len);
        let frame = buf.get_mut(..len)?;
        let layout = frame::protected_layout(self.suite, len).ok()?;
        let header = FrameHeader::protected(ptype, spi, seq);
        frame.get_mut(..FrameHeader::LEN)?.copy_from_slice(header.as_bytes());
        let counter = GcmIv::new(EPOCH, seq);
        let iv = match &self.keys {
            Keys::Separate(..) => iv.get(..self.suite.iv_len())?,
            Keys::Combined(_) => counter.as_bytes(),
        };
        frame.get_mut(FrameHeader::LEN..layout.cipher_offset)?.copy_from_slice(iv);
        let trailer = layout.cipher_offset + payload_len..layout.icv_offset;
        frame::write_trailer(frame.get_mut(trailer)?, next_header);
        Some(layout)
    }

    /// Checks the ICV of a protected frame, decrypts it in place and reads its trailer: where the
    /// payload stands, and Next Header. The replay window is the caller's.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, frame: &mut [u8]) -> Result<(Range<usize>, u8), OpenError> {
        let layout = frame::protected_layout(self.suite, frame.len()).map_err(OpenError::Length)?;
        let text = self.verify_and_decrypt(frame, layout)?;
        let (len, next_header) = frame::read_trailer(text).map_err(OpenError::Trailer)?;
        Ok((layout.cipher_offset..layout.cipher_offset + len, next_header))
    }

    /// What stands behind the IV, decrypted.
    fn verify_and_decrypt<'a>(
        &self,
        frame: &'a mut [u8],
        layout: ProtectedLayout,
    ) -> Result<&'a [u8], OpenError> {
        let short = OpenError::Length(FrameError::Short);
        let (covered, icv) = frame.split_at_mut_checked(layout.icv_offset).ok_or(short)?;
        if let Keys::Separate(_, integrity) = &self.keys
            && !bool::from(integrity.icv(covered).ct_eq(icv))
        {
            return Err(OpenError::Icv);
        }
        let (head, text) = covered.split_at_mut_checked(layout.cipher_offset).ok_or(short)?;
        match &self.keys {
            Keys::Separate(cipher, _) => {
                cipher.decrypt(head.get(FrameHeader::LEN..).ok_or(short)?, text).ok_or(short)?;
            }
            Keys::Combined(key) => {
                let (aad, iv) = gcm_head(head).ok_or(short)?;
                let icv = (&*icv).try_into().map_err(|_| short)?;
                if !key.open(iv, aad, text, icv) {
                    return Err(OpenError::Icv);
                }
            }
        }
        Ok(text)
    }
}

/// The parts of what stands in front of the ciphertext under AES-GCM: the authenticated header and
/// the IV.
fn gcm_head(head: &[u8]) -> Option<(&[u8], &[u8; GcmIv::LEN])> {
    let (aad, iv) = head.split_at_checked(FrameHeader::LEN)?;
    Some((aad, iv.try_into().ok()?))
}

impl IntegrityKey {
    fn icv(&self, covered: &[u8]) -> [u8; ICV_LEN] {
        match self {
            Self::Xcbc(key) => key.mac96(covered),
            Self::HmacSha1(key) => {
                let mut mac = Hmac::clone(key);
                mac.update(covered);
                let full = mac.finalize().into_bytes();
                let mut icv = [0; ICV_LEN];
                for (to, from) in icv.iter_mut().zip(full) {
                    *to = from;
                }
                icv
            }
        }
    }
}

impl CipherKey {
    fn encrypt(&self, iv: &[u8], text: &mut [u8]) -> Option<()> {
        match self {
            Self::Null => Some(()),
            Self::TripleDes(key) => cbc_encrypt(key.as_ref(), iv, text),
            Self::Aes128(keys) => cbc_encrypt(&keys.0, iv, text),
        }
    }

    fn decrypt(&self, iv: &[u8], text: &mut [u8]) -> Option<()> {
        match self {
            Self::Null => Some(()),
            Self::TripleDes(key) => cbc_decrypt(key.as_ref(), iv, text),
            Self::Aes128(keys) => cbc_decrypt(&keys.1, iv, text),
        }
    }
}

/// CBC over whole blocks; `None` where `text` is not or `iv` is no block.
fn cbc_encrypt<C: BlockCipherEncrypt>(key: &C, iv: &[u8], text: &mut [u8]) -> Option<()> {
    let (blocks, rest) = Array::slice_as_chunks_mut(text);
    let mut mode = Encryptor::inner_iv_slice_init(key, iv).ok()?;
    mode.encrypt_blocks(blocks);
    rest.is_empty().then_some(())
}

fn cbc_decrypt<C: BlockCipherDecrypt>(key: &C, iv: &[u8], text: &mut [u8]) -> Option<()> {
    let (blocks, rest) = Array::slice_as_chunks_mut(text);
    let mut mode = Decryptor::inner_iv_slice_init(key, iv).ok()?;
    mode.decrypt_blocks(blocks);
    rest.is_empty().then_some(())
}

#[cfg(test)]
mod tests;
