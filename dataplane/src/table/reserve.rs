//! Memory for the big tables: an anonymous mapping of zeros, touched only where it is used.
//!
//! A table for a million entries is reserved at once and costs nothing until entries are written.
//! The kernel is asked for huge pages: without them a million SAs cost half the rate of small
//! packets in TLB misses.

use core::ptr::NonNull;
use core::slice;

use hearth_dpdk::prefetch;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// A type for which all-zero octets are a valid value, and which any thread may refer to.
///
/// # Safety
/// The implementor promises both.
pub(crate) unsafe trait Zeroed: Sync {}

// SAFETY: 0 is a valid atomic integer, and atomics are Sync.
unsafe impl Zeroed for core::sync::atomic::AtomicU64 {}

/// `len` values of `T`, all zero at first, at one place until dropped.
pub(crate) struct Reserve<T: Zeroed> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: a Reserve only hands out `&T`, and `T: Zeroed` implies `T: Sync`.
unsafe impl<T: Zeroed> Sync for Reserve<T> {}
// SAFETY: the mapping belongs to the process, not to a thread; `T` is dropped nowhere.
unsafe impl<T: Zeroed> Send for Reserve<T> {}

impl<T: Zeroed> Reserve<T> {
    /// Reserves room for `len` values; `None` when the system has none, or where `T` needs more
    /// than page alignment.
    pub(crate) fn new(len: usize) -> Option<Self> {
        if align_of::<T>() > 4096 || core::mem::needs_drop::<T>() {
            return None;
        }
        let octets = size_of::<T>().checked_mul(len.max(1))?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe { mmap_anonymous(core::ptr::null_mut(), octets, access, flags) }.ok()?;
        // SAFETY: the range was just mapped; the advice changes nothing but the page size. Kernels
        // without transparent huge pages refuse it, which costs speed only.
        let _ = unsafe { madvise(start, octets, Advice::LinuxHugepage) };
        // SAFETY: as above; it keeps the range out of core dumps. SAs hold keys, and a dump with
        // every table would be as large as the tables.
        unsafe { madvise(start, octets, Advice::LinuxDontDump) }.ok()?;
        NonNull::new(start.cast::<T>()).map(|start| Self { start, len })
    }

    /// The values.
    pub(crate) const fn as_slice(&self) -> &[T] {
        // SAFETY: `start` is a mapping of `len` values, aligned to a page, zero or written through
        // `&T`, and zero is a valid `T`; it lives as long as `self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// Asks for the first `lines` cache lines of the value at `index`.
    #[inline]
    pub(crate) fn prefetch(&self, index: usize, lines: usize) {
        if let Some(value) = self.get(index) {
            prefetch(core::ptr::from_ref(value), lines);
        }
    }

    /// The value at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.as_slice().get(index)
    }
}

impl<T: Zeroed> Drop for Reserve<T> {
    fn drop(&mut self) {
        let octets = size_of::<T>() * self.len.max(1);
        // SAFETY: the range is the one that `new` mapped, and no reference outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), octets) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// `VmFlags` of the mapping, as proc(5) has them: "dd" is "do not include area into core dump".
    #[test]
    fn no_core_dump_holds_a_reserve() {
        let reserve = Reserve::<AtomicU64>::new(1 << 20).unwrap();
        let start = format!("{:x}-", reserve.as_slice().as_ptr().addr());
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| !line.starts_with(&start));
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
        assert!(flags.split_whitespace().any(|flag| flag == "dd"), "{flags}");
    }

    #[test]
    fn a_huge_reserve_costs_nothing_until_it_is_used() {
        let reserve = Reserve::<AtomicU64>::new(1 << 35).unwrap();
        assert_eq!(reserve.get((1 << 35) - 1).unwrap().load(Relaxed), 0);
        reserve.get(7).unwrap().store(9, Relaxed);
        assert_eq!(reserve.get(7).unwrap().load(Relaxed), 9);
        assert!(reserve.get(1 << 35).is_none());
    }
}
