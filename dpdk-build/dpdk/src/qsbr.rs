//! RCU by quiescent states: when may control free what workers were reading?
//!
//! ```text
//! control                          worker (one QsbrReader each)
//!   take the record out of table     look up, use, ...
//!   token = start()                  quiescent(): "I hold no reference"
//!   until check(token)               ...
//!   free the record
//! ```
//!
//! A worker with jobs in crypto lanes holds references longer than a poll: it notes
//! [`QsbrReader::epoch`] when it cuts a batch off, and reports [`QsbrReader::quiescent_at`] that
//! epoch when the last job of the batch has left the lanes.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use hearth_dpdk_sys as sys;

use crate::eal::Eal;
use crate::errno::Errno;

/// A grace period under way ([`Qsbr::start`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(u64);

/// A point in control's time that a reader has seen ([`QsbrReader::epoch`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// One group of readers. Clones are handles on the same group.
#[derive(Debug, Clone)]
pub struct Qsbr {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    raw: NonNull<sys::rte_rcu_qsbr>,
    /// Which reader numbers are taken.
    readers: Mutex<Vec<bool>>,
    _eal: Eal,
}

// SAFETY: rte_rcu_qsbr is made for many threads; each reader's counter is written by the thread
// that has the QsbrReader.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Qsbr {
    /// Makes a group for up to `max_readers` readers.
    ///
    /// # Errors
    /// `ENOMEM`, or `EINVAL` for 0 readers.
    pub fn new(eal: &Eal, max_readers: u32) -> Result<Self, Errno> {
        // SAFETY: the EAL runs.
        let raw = NonNull::new(unsafe { sys::hearth_qsbr_create(max_readers) });
        let raw = raw.ok_or(if max_readers == 0 { Errno::INVALID } else { Errno::NO_MEMORY })?;
        let readers = Mutex::new(vec![false; max_readers as usize]);
        Ok(Self { inner: Arc::new(Inner { raw, readers, _eal: eal.clone() }) })
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rte_rcu_qsbr {
        self.inner.raw.as_ptr()
    }

    /// Adds a reader, online. None when the group is full.
    #[must_use]
    pub fn reader(&self) -> Option<QsbrReader> {
        let mut readers = self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let id = readers.iter().position(|taken| !taken)?;
        let number = u32::try_from(id).ok()?;
        // SAFETY: the number is below max_readers and not in use.
        if unsafe { sys::rte_rcu_qsbr_thread_register(self.as_ptr(), number) } != 0 {
            return None;
        }
        readers[id] = true;
        drop(readers);
        let mut reader = QsbrReader { qsbr: self.clone(), number, _one_thread: PhantomData };
        reader.online();
        Some(reader)
    }

    /// Starts a grace period, after something was taken out of the readers' sight.
    #[must_use]
    pub fn start(&self) -> Token {
        // SAFETY: alive as long as `self`.
        Token(unsafe { sys::hearth_qsbr_start(self.as_ptr()) })
    }

    /// Whether every reader that is online has passed a quiescent point since [`Qsbr::start`].
    /// Never waits.
    #[must_use]
    pub fn check(&self, token: Token) -> bool {
        // SAFETY: alive as long as `self`.
        unsafe { sys::hearth_qsbr_check(self.as_ptr(), token.0) == 1 }
    }

    /// Starts a grace period and waits for its end, spinning. For control at start and stop; a
    /// reader of the group must not call it.
    pub fn synchronize(&self) {
        const NO_READER: u32 = u32::MAX; // RTE_QSBR_THRID_INVALID
        // SAFETY: alive as long as `self`; the caller is no reader.
        unsafe { sys::rte_rcu_qsbr_synchronize(self.as_ptr(), NO_READER) };
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: every reader and every table held a handle; this was the last.
        unsafe { sys::hearth_qsbr_free(self.raw.as_ptr()) };
    }
}

/// One reader of a group; it belongs to one thread at a time.
#[derive(Debug)]
pub struct QsbrReader {
    qsbr: Qsbr,
    number: u32,
    _one_thread: PhantomData<Cell<()>>,
}

impl QsbrReader {
    /// Says that this reader holds no reference to anything it has read.
    #[inline]
    pub fn quiescent(&mut self) {
        // SAFETY: the reader is registered and this thread is its only user.
        unsafe { sys::hearth_qsbr_quiescent(self.qsbr.as_ptr(), self.number) };
    }

    /// The point in time up to which this reader sees what was taken away: references taken
    /// after this call are to nothing that was gone before it.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        // SAFETY: alive as long as `self`.
        Epoch(unsafe { sys::hearth_qsbr_epoch(self.qsbr.as_ptr()) })
    }

    /// Says that this reader holds no reference that it took before `epoch`. An epoch older than
    /// one reported before changes nothing.
    #[inline]
    pub fn quiescent_at(&mut self, epoch: Epoch) {
        // SAFETY: the reader is registered and this thread is its only user.
        unsafe { sys::hearth_qsbr_quiescent_at(self.qsbr.as_ptr(), self.number, epoch.0) };
    }

    /// Takes part again, holding no reference yet.
    pub fn online(&mut self) {
        // SAFETY: as in `quiescent`.
        unsafe { sys::hearth_qsbr_online(self.qsbr.as_ptr(), self.number) };
    }

    /// Takes no part until [`QsbrReader::online`], and reads nothing until then: for waits.
    pub fn offline(&mut self) {
        // SAFETY: as in `quiescent`.
        unsafe { sys::hearth_qsbr_offline(self.qsbr.as_ptr(), self.number) };
    }
}

impl Drop for QsbrReader {
    fn drop(&mut self) {
        self.offline();
        let mut readers = self.qsbr.inner.readers.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the reader is registered, and this is its end.
        unsafe { sys::rte_rcu_qsbr_thread_unregister(self.qsbr.as_ptr(), self.number) };
        if let Some(taken) = readers.get_mut(self.number as usize) {
            *taken = false;
        }
    }
}
