//! What DPDK's heap and its pools hold.

use core::ptr::NonNull;

use hearth_dpdk_sys as sys;

/// DPDK's heap: what rings, tables and pools are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeapStats {
    /// Octets.
    pub total: u64,
    /// Octets that somebody has.
    pub allocated: u64,
    /// Octets of the largest piece that nobody has: more can't be had at once.
    pub largest_free: u64,
    /// Pieces that somebody has.
    pub allocations: u32,
    /// Pieces that nobody has: many of them are what is called fragmentation.
    pub free_pieces: u32,
}

impl HeapStats {
    pub(crate) fn read() -> Self {
        let mut heap = sys::hearth_heap {
            total: 0,
            allocated: 0,
            largest_free: 0,
            allocations: 0,
            free_pieces: 0,
        };
        // SAFETY: `heap` is valid for writing.
        unsafe { sys::hearth_heap_stats(&raw mut heap) };
        let sys::hearth_heap { total, allocated, largest_free, allocations, free_pieces } = heap;
        Self { total, allocated, largest_free, allocations, free_pieces }
    }
}

/// How much of a pool is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUse {
    /// The pool's name.
    pub name: String,
    /// Mbufs that somebody holds.
    pub in_use: u32,
}

/// All pools that have not been freed.
#[derive(Debug, Default)]
pub(crate) struct Pools(Vec<Pool>);

#[derive(Debug)]
struct Pool {
    raw: NonNull<sys::rte_mempool>,
    name: String,
    /// Whether the last handle is gone, so that nobody can allocate.
    retired: bool,
}

// SAFETY: a mempool may be used from any thread; this pointer is only used to count and free it.
unsafe impl Send for Pool {}

impl Pool {
    fn in_use(&self) -> u32 {
        // SAFETY: the pool was made by DPDK and has not been freed.
        unsafe { sys::rte_mempool_in_use_count(self.raw.as_ptr()) }
    }

    fn free(&self) {
        // SAFETY: nobody allocates any more and every mbuf is back, as the callers have seen. The
        // pool is taken off the list.
        unsafe { sys::rte_mempool_free(self.raw.as_ptr()) };
    }
}

impl Pools {
    /// Notes a pool that has a handle.
    pub(crate) fn add(&mut self, raw: NonNull<sys::rte_mempool>, name: &str) {
        self.0.push(Pool { raw, name: name.to_owned(), retired: false });
    }

    /// The last handle of a pool is gone. Its memory goes with it, or with the first
    /// [`Pools::sweep`] that finds every mbuf back.
    pub(crate) fn retire(&mut self, raw: NonNull<sys::rte_mempool>) {
        self.0.iter_mut().filter(|pool| pool.raw == raw).for_each(|pool| pool.retired = true);
        self.sweep();
    }

    /// Frees the pools without a handle to which every mbuf has come back.
    pub(crate) fn sweep(&mut self) {
        self.0.retain(|pool| {
            let done = pool.retired && pool.in_use() == 0;
            if done {
                pool.free();
            }
            !done
        });
    }

    /// Frees all pools, where no mbuf of any is in use; false where one is.
    pub(crate) fn free_all(&mut self) -> bool {
        if self.0.iter().any(|pool| pool.in_use() != 0) {
            return false;
        }
        self.0.drain(..).for_each(|pool| pool.free());
        true
    }

    pub(crate) fn in_use(&self) -> Vec<PoolUse> {
        self.0
            .iter()
            .map(|pool| PoolUse { name: pool.name.clone(), in_use: pool.in_use() })
            .collect()
    }
}
