//! Keys, as a device holds them.

use core::ffi::c_void;
use core::ptr::NonNull;
use std::sync::Arc;

use hearth_dpdk_sys as sys;

use super::device::DeviceInner;

/// The suites of RFC 6618 s.5.6.5, and AES_128_GCM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CryptoSuite {
    /// NULL with HMAC-SHA1-96.
    NullSha1,
    /// NULL with AES-XCBC-MAC-96.
    NullXcbc,
    /// TripleDES-CBC with HMAC-SHA1-96.
    TripleDesSha1,
    /// AES-128-CBC with HMAC-SHA1-96.
    Aes128Sha1,
    /// AES-128-CBC with AES-XCBC-MAC-96.
    Aes128Xcbc,
    /// AES-128-GCM with 8 octets of additional data and a tag of 16.
    Aes128Gcm,
}

impl CryptoSuite {
    pub(super) const fn number(self) -> sys::hearth_suite {
        match self {
            Self::NullSha1 => sys::HEARTH_SUITE_NULL_SHA1,
            Self::NullXcbc => sys::HEARTH_SUITE_NULL_XCBC,
            Self::TripleDesSha1 => sys::HEARTH_SUITE_3DES_SHA1,
            Self::Aes128Sha1 => sys::HEARTH_SUITE_AES_SHA1,
            Self::Aes128Xcbc => sys::HEARTH_SUITE_AES_XCBC,
            Self::Aes128Gcm => sys::HEARTH_SUITE_AES_GCM,
        }
    }

    /// Octets of the cipher's and of the integrity algorithm's key.
    pub(super) const fn key_lens(self) -> (usize, usize) {
        match self {
            Self::NullSha1 => (0, 20),
            Self::NullXcbc => (0, 16),
            Self::TripleDesSha1 => (24, 20),
            Self::Aes128Sha1 => (16, 20),
            Self::Aes128Xcbc => (16, 16),
            Self::Aes128Gcm => (16, 0),
        }
    }

    /// Octets of the cipher's block, 0 for NULL.
    pub(super) const fn block(self) -> usize {
        match self {
            Self::NullSha1 | Self::NullXcbc => 0,
            Self::TripleDesSha1 => 8,
            Self::Aes128Sha1 | Self::Aes128Xcbc => 16,
            Self::Aes128Gcm => 1,
        }
    }

    pub(super) const fn is_gcm(self) -> bool {
        matches!(self, Self::Aes128Gcm)
    }

    pub(super) const fn iv_len(self) -> usize {
        if self.is_gcm() { 12 } else { self.block() }
    }

    pub(super) const fn tag_len(self) -> usize {
        if self.is_gcm() { 16 } else { 12 }
    }
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To encrypt, then to compute the tag.
    Encrypt,
    /// To verify the tag, then to decrypt.
    Decrypt,
}

/// The keys of one suite and one way in a device, for operations of one queue. They are wiped
/// when it is dropped.
pub struct CryptoSession {
    device: Arc<DeviceInner>,
    raw: NonNull<c_void>,
    queue: u16,
    suite: CryptoSuite,
    way: Way,
}

// SAFETY: what a session points at is used by one queue, to whose operations it is bound, and
// freed when nobody refers to it any more.
unsafe impl Send for CryptoSession {}
// SAFETY: as above; a shared reference gives nothing but the pointer to that queue.
unsafe impl Sync for CryptoSession {}

impl CryptoSession {
    pub(super) const fn new(
        device: Arc<DeviceInner>,
        raw: NonNull<c_void>,
        queue: u16,
        suite: CryptoSuite,
        way: Way,
    ) -> Self {
        Self { device, raw, queue, suite, way }
    }

    pub(super) const fn as_ptr(&self) -> *mut c_void {
        self.raw.as_ptr()
    }

    pub(super) fn belongs_to(&self, device: &Arc<DeviceInner>, queue: u16) -> bool {
        Arc::ptr_eq(&self.device, device) && self.queue == queue
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> CryptoSuite {
        self.suite
    }

    /// What it is for.
    #[must_use]
    pub const fn way(&self) -> Way {
        self.way
    }
}

impl Drop for CryptoSession {
    fn drop(&mut self) {
        // SAFETY: no operation refers to it any more: they borrow it.
        unsafe { sys::hearth_crypto_session_free(self.device.id(), self.raw.as_ptr()) };
    }
}
