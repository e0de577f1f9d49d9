//! Pools of mbufs.

use core::ptr::NonNull;
use std::sync::Arc;

use hearth_dpdk_sys as sys;

use crate::eal::{Eal, c_name};
use crate::errno::Errno;
use crate::heap::Pools;
use crate::mbuf::{META_SIZE, Mbuf};

/// A pool of packet buffers. Clones are handles on the same pool. It goes with the last of them
/// where every mbuf is back by then, else once another pool is made after that, or with the EAL.
#[derive(Debug, Clone)]
pub struct Mempool {
    raw: NonNull<sys::rte_mempool>,
    data_room: u16,
    _life: Arc<Life>,
}

/// What all handles of a pool have in common.
#[derive(Debug)]
struct Life {
    raw: NonNull<sys::rte_mempool>,
    eal: Eal,
}

// SAFETY: the pointer only names the pool in the EAL's list.
unsafe impl Send for Life {}
// SAFETY: as above.
unsafe impl Sync for Life {}

impl Drop for Life {
    fn drop(&mut self) {
        self.eal.with_pools(|pools| pools.retire(self.raw));
    }
}

// SAFETY: DPDK's mempools are multi-producer and multi-consumer; the pointer never changes.
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Data room, headroom included, of mbufs that take a jumbo frame with an IP packet of 9000
    /// octets and all headers of a tunnel.
    pub const JUMBO: u16 = 9728;

    /// Makes a pool of `count` mbufs (2^n - 1 wastes no memory), each with `data_room` octets
    /// including the headroom, and a private area of [`META_SIZE`] octets. Every registered
    /// thread caches up to `cache` of them, which count as available.
    ///
    /// # Errors
    /// DPDK's error number: `ENOMEM`, `EEXIST` for a name in use, `ENAMETOOLONG`, `EINVAL` for a
    /// cache that is too large.
    pub fn new(
        eal: &Eal,
        name: &str,
        count: u32,
        cache: u32,
        data_room: u16,
    ) -> Result<Self, Errno> {
        const ANY_SOCKET: i32 = -1;
        const PRIVATE: u16 = 128;
        const { assert!(PRIVATE as usize == META_SIZE) };
        let c_name = c_name(name)?;
        eal.with_pools(Pools::sweep);
        // SAFETY: the EAL runs; the name outlives the call, which copies it.
        let raw = unsafe {
            sys::rte_pktmbuf_pool_create(
                c_name.as_ptr(),
                count,
                cache,
                PRIVATE,
                data_room,
                ANY_SOCKET,
            )
        };
        let raw = NonNull::new(raw).ok_or_else(Errno::last)?;
        eal.with_pools(|pools| pools.add(raw, name));
        Ok(Self { raw, data_room, _life: Arc::new(Life { raw, eal: eal.clone() }) })
    }

    /// Mbufs in the pool and in the threads' caches.
    #[must_use]
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives as long as its last handle.
        unsafe { sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }

    /// Mbufs that somebody holds: this program, a ring, a NIC's descriptors, a crypto lane.
    #[must_use]
    pub fn in_use(&self) -> u32 {
        // SAFETY: as above.
        unsafe { sys::rte_mempool_in_use_count(self.raw.as_ptr()) }
    }

    /// Octets of an mbuf's buffer, headroom included.
    #[must_use]
    pub const fn data_room(&self) -> u16 {
        self.data_room
    }

    /// An empty mbuf, or None when the pool is empty.
    #[must_use]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool is alive; a non-null result is an mbuf that nobody else owns.
        unsafe { Mbuf::from_nullable(sys::hearth_mbuf_alloc(self.raw.as_ptr())) }
    }

    /// An mbuf that holds these octets; None when the pool is empty or they do not fit.
    #[must_use]
    pub fn alloc_with(&self, data: &[u8]) -> Option<Mbuf> {
        let mut mbuf = self.alloc()?;
        mbuf.append(data.len())?.copy_from_slice(data);
        Some(mbuf)
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.raw.as_ptr()
    }
}
