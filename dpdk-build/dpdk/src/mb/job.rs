//! A job of ipsec-mb, filled in for one operation.

use core::ptr::{self, NonNull};

use hearth_ipsec_mb_sys as sys;

use super::op::{Auth, Cipher, Op, Tag};
use crate::mbuf::Mbuf;

/// Pointers to the three schedules of a TripleDES key, which ipsec-mb wants as an array.
pub(super) type TripleDesPointers = [*const u64; 3];

/// A job slot of a manager.
#[derive(Clone, Copy)]
pub(super) struct Job(NonNull<sys::IMB_JOB>);

impl Job {
    pub(super) const fn new(raw: *mut sys::IMB_JOB) -> Option<Self> {
        match NonNull::new(raw) {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }

    /// # Safety
    /// The slot is the caller's, `T` is as wide as the field at `offset` (shim.c asserts the
    /// widths), and a pointer stays valid until the job is done.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one store")]
    unsafe fn set<T>(self, offset: u32, value: T) {
        // SAFETY: by the contract above.
        unsafe { self.0.as_ptr().byte_add(offset as usize).cast::<T>().write(value) }
    }

    /// # Safety
    /// As [`Job::set`].
    #[inline]
    unsafe fn get<T>(self, offset: u32) -> T {
        // SAFETY: by the contract above.
        unsafe { self.0.as_ptr().byte_add(offset as usize).cast::<T>().read() }
    }

    /// Writes the whole operation, the packet (which the job owns from here on) and the caller's
    /// number into the slot.
    ///
    /// # Safety
    /// The slot is the caller's; `op` was checked against `mbuf`; the keys, `des`
    /// and the 16 octets at `kept` stay where they are until the job is done.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the suite is known where it is called")]
    pub(super) unsafe fn fill(
        self,
        mbuf: Mbuf,
        op: &Op<'_>,
        user: u64,
        des: &mut TripleDesPointers,
        kept: *mut u8,
    ) {
        let data = mbuf.data_ptr();
        let tag = match op.tag {
            Tag::Packet(offset) => data.wrapping_add(offset as usize),
            Tag::Meta(offset) => mbuf.meta_ptr().wrapping_add(offset as usize),
            Tag::Kept => kept,
        };
        // The nonce of AES-GCM stands in the private area.
        let iv_area = if matches!(op.auth, Auth::Gcm) { mbuf.meta_ptr() } else { data };
        // SAFETY: the widths are those of the fields, and every address is within the packet or
        // its private area by Op::check.
        unsafe {
            self.set(sys::HEARTH_JOB_SRC, data);
            self.set(sys::HEARTH_JOB_DST, data.wrapping_add(op.cipher_offset as usize));
            self.set(sys::HEARTH_JOB_CIPHER_OFFSET, u64::from(op.cipher_offset));
            self.set(sys::HEARTH_JOB_CIPHER_LEN, u64::from(op.cipher_len));
            self.set(sys::HEARTH_JOB_HASH_OFFSET, u64::from(op.auth_offset));
            self.set(sys::HEARTH_JOB_HASH_LEN, u64::from(op.auth_len));
            self.set(sys::HEARTH_JOB_IV, iv_area.wrapping_add(op.iv_offset as usize));
            self.set(sys::HEARTH_JOB_IV_LEN, op.cipher.iv_len() as u64);
            self.set(sys::HEARTH_JOB_TAG, tag);
            self.set(sys::HEARTH_JOB_TAG_LEN, op.auth.tag_len() as u64);
            self.set(sys::HEARTH_JOB_USER_DATA, mbuf.into_raw());
            self.set(sys::HEARTH_JOB_USER_DATA2, user);
            self.fill_cipher(&op.cipher, des);
            self.fill_auth(&op.auth, data.wrapping_add(op.auth_offset as usize), op.auth_len);
        }
    }

    /// # Safety
    /// As [`Job::fill`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the suite is known where it is called")]
    unsafe fn fill_cipher(self, cipher: &Cipher<'_>, des: &mut TripleDesPointers) {
        let null = ptr::null();
        let (mode, key_len, enc, dec, encrypt): (_, u64, *const u8, *const u8, _) = match cipher {
            Cipher::Null => (sys::HEARTH_CIPHER_NULL, 0, null, null, true),
            Cipher::Aes128Encrypt(key) => (sys::HEARTH_CIPHER_CBC, 16, key.0.as_ptr(), null, true),
            Cipher::Aes128Decrypt(key) => (sys::HEARTH_CIPHER_CBC, 16, null, key.0.as_ptr(), false),
            // One key for both directions: the library reads `enc` or `dec`.
            Cipher::Aes128GcmEncrypt(key) | Cipher::Aes128GcmDecrypt(key) => {
                let encrypt = matches!(cipher, Cipher::Aes128GcmEncrypt(_));
                (sys::HEARTH_CIPHER_GCM, 16, key.0.as_ptr(), key.0.as_ptr(), encrypt)
            }
            Cipher::TripleDesEncrypt(key) | Cipher::TripleDesDecrypt(key) => {
                *des = [key.0[0].as_ptr(), key.0[1].as_ptr(), key.0[2].as_ptr()];
                let pointers = des.as_ptr().cast();
                let encrypt = matches!(cipher, Cipher::TripleDesEncrypt(_));
                (sys::HEARTH_CIPHER_DES3, 24, pointers, pointers, encrypt)
            }
        };
        let (direction, order) = if encrypt {
            (sys::HEARTH_DIR_ENCRYPT, sys::HEARTH_ORDER_CIPHER_HASH)
        } else {
            (sys::HEARTH_DIR_DECRYPT, sys::HEARTH_ORDER_HASH_CIPHER)
        };
        // SAFETY: by the contract of `fill`.
        unsafe {
            self.set(sys::HEARTH_JOB_CIPHER_MODE, mode);
            self.set(sys::HEARTH_JOB_CIPHER_DIRECTION, direction);
            self.set(sys::HEARTH_JOB_CHAIN_ORDER, order);
            self.set(sys::HEARTH_JOB_KEY_LEN, key_len);
            self.set(sys::HEARTH_JOB_ENC_KEYS, enc);
            self.set(sys::HEARTH_JOB_DEC_KEYS, dec);
        }
    }

    /// # Safety
    /// As [`Job::fill`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the suite is known where it is called")]
    unsafe fn fill_auth(self, auth: &Auth<'_>, covered: *const u8, len: u32) {
        // SAFETY: by the contract of `fill`.
        unsafe {
            match auth {
                Auth::HmacSha1(key) => {
                    self.set(sys::HEARTH_JOB_HASH_ALG, sys::HEARTH_AUTH_HMAC_SHA1);
                    self.set(sys::HEARTH_JOB_HMAC_IPAD, key.inner.as_ptr());
                    self.set(sys::HEARTH_JOB_HMAC_OPAD, key.outer.as_ptr());
                }
                Auth::Xcbc(key) => {
                    self.set(sys::HEARTH_JOB_HASH_ALG, sys::HEARTH_AUTH_XCBC);
                    self.set(sys::HEARTH_JOB_XCBC_K1, key.k1.as_ptr());
                    self.set(sys::HEARTH_JOB_XCBC_K2, key.k2.as_ptr());
                    self.set(sys::HEARTH_JOB_XCBC_K3, key.k3.as_ptr());
                }
                Auth::Gcm => {
                    self.set(sys::HEARTH_JOB_HASH_ALG, sys::HEARTH_AUTH_GCM);
                    self.set(sys::HEARTH_JOB_GCM_AAD, covered);
                    self.set(sys::HEARTH_JOB_GCM_AAD_LEN, u64::from(len));
                }
            }
        }
    }

    /// Takes the packet and the number out of a job that ipsec-mb has returned, and whether it
    /// was carried out.
    ///
    /// # Safety
    /// The job was filled by [`Job::fill`] and has been returned, once.
    #[inline]
    pub(super) unsafe fn take(self) -> (Mbuf, u64, bool) {
        // SAFETY: by the contract above the slot holds what `fill` wrote.
        unsafe {
            let mbuf = Mbuf::from_raw(self.get(sys::HEARTH_JOB_USER_DATA));
            let user = self.get(sys::HEARTH_JOB_USER_DATA2);
            let status: u32 = self.get(sys::HEARTH_JOB_STATUS);
            (mbuf, user, status == sys::HEARTH_STATUS_COMPLETED)
        }
    }
}
