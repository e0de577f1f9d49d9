//! Hash tables that workers read without locks.

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use std::sync::Arc;

use hearth_dpdk_sys as sys;
use thiserror::Error;

use crate::eal::{Eal, c_name};
use crate::errno::Errno;
use crate::qsbr::Qsbr;

/// Why a table could not be made or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HashError {
    /// Every slot is taken, or waits for readers to pass a quiescent point.
    #[error("the table is full")]
    Full,
    /// DPDK refused.
    #[error("the table could not be made: {0}")]
    Create(Errno),
}

#[derive(Debug)]
struct Inner<const KEY: usize> {
    raw: NonNull<sys::rte_hash>,
    _qsbr: Qsbr,
    _eal: Eal,
}

// SAFETY: the table is made for one writer and any number of readers at once
// (RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF); the handles below keep to that.
unsafe impl<const KEY: usize> Send for Inner<KEY> {}
// SAFETY: as above.
unsafe impl<const KEY: usize> Sync for Inner<KEY> {}

impl<const KEY: usize> Drop for Inner<KEY> {
    fn drop(&mut self) {
        // SAFETY: the writer and all readers are gone.
        unsafe { sys::rte_hash_free(self.raw.as_ptr()) };
    }
}

/// The only writer of a table with keys of `KEY` octets and 32-bit values.
#[derive(Debug)]
pub struct HashWriter<const KEY: usize> {
    inner: Arc<Inner<KEY>>,
    /// rte_hash_count counts slots that wait for readers, too.
    len: usize,
}

/// One of any number of readers. Each thread that looks up is a reader of the table's [`Qsbr`].
#[derive(Debug, Clone)]
pub struct HashReader<const KEY: usize> {
    inner: Arc<Inner<KEY>>,
}

impl<const KEY: usize> HashWriter<KEY> {
    /// Makes a table for `entries` keys. A deleted key's slot is used again after the readers of
    /// `qsbr` have passed a quiescent point. The name is unique among DPDK's tables.
    ///
    /// # Errors
    /// [`HashError::Create`].
    pub fn new(eal: &Eal, name: &str, entries: u32, qsbr: &Qsbr) -> Result<Self, HashError> {
        const { assert!(KEY > 0 && KEY <= 64) };
        let key_len = u32::try_from(KEY).map_err(|_| HashError::Create(Errno::INVALID))?;
        let name = c_name(name).map_err(HashError::Create)?;
        // SAFETY: the EAL runs; the name is copied; `qsbr` lives as long as the table.
        let raw =
            unsafe { sys::hearth_hash_create(name.as_ptr(), entries, key_len, qsbr.as_ptr()) };
        let raw = NonNull::new(raw).ok_or_else(|| HashError::Create(Errno::last()))?;
        let inner = Inner { raw, _qsbr: qsbr.clone(), _eal: eal.clone() };
        Ok(Self { inner: Arc::new(inner), len: 0 })
    }

    /// A handle for readers.
    #[must_use]
    pub fn reader(&self) -> HashReader<KEY> {
        HashReader { inner: Arc::clone(&self.inner) }
    }

    /// Adds a key, or replaces its value; readers see the old value or the new one.
    ///
    /// # Errors
    /// [`HashError::Full`].
    pub fn insert(&mut self, key: &[u8; KEY], value: u32) -> Result<(), HashError> {
        let new = self.get(key).is_none();
        let data = ptr::without_provenance_mut::<c_void>(value as usize);
        // SAFETY: `self` is the only writer; the key has the table's length.
        let code = unsafe {
            sys::rte_hash_add_key_data(self.inner.raw.as_ptr(), key.as_ptr().cast(), data)
        };
        if code < 0 {
            return Err(HashError::Full);
        }
        self.len += usize::from(new);
        Ok(())
    }

    /// Takes a key out; false when it was not there. What its value stands for may be freed
    /// after a grace period of the table's [`Qsbr`].
    pub fn remove(&mut self, key: &[u8; KEY]) -> bool {
        // SAFETY: as in `insert`.
        let code = unsafe { sys::rte_hash_del_key(self.inner.raw.as_ptr(), key.as_ptr().cast()) };
        self.len -= usize::from(code >= 0);
        code >= 0
    }

    /// The key's value.
    #[must_use]
    pub fn get(&self, key: &[u8; KEY]) -> Option<u32> {
        self.inner.lookup(key)
    }

    /// Keys in the table.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<const KEY: usize> Inner<KEY> {
    fn lookup(&self, key: &[u8; KEY]) -> Option<u32> {
        let mut data = ptr::null_mut();
        // SAFETY: lock-free for readers; the key has the table's length, `data` is writable.
        let found = unsafe {
            sys::rte_hash_lookup_data(self.raw.as_ptr(), key.as_ptr().cast(), &raw mut data)
        };
        (found >= 0).then(|| value(data))
    }
}

impl<const KEY: usize> HashReader<KEY> {
    /// The key's value.
    #[inline]
    #[must_use]
    pub fn lookup(&self, key: &[u8; KEY]) -> Option<u32> {
        self.inner.lookup(key)
    }
}

/// The value that [`HashWriter::insert`] put into the data pointer.
fn value(data: *mut c_void) -> u32 {
    u32::try_from(data.addr()).unwrap_or(u32::MAX)
}
