//! Instructions that std does not offer, safe to call from crates without unsafe code.

use hearth_dpdk_sys as sys;

/// Octets of a cache line.
const LINE: usize = 64;

/// The time stamp counter: constant-rate cycles since some time in the past, read without a
/// syscall. What DPDK's own clocks count.
#[must_use]
#[inline]
pub fn tsc() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has RDTSC, and it touches no memory.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let passed = START.get_or_init(std::time::Instant::now).elapsed().as_nanos();
        u64::try_from(passed).unwrap_or(u64::MAX)
    }
}

/// Asks for `lines` cache lines (64 octets each) from `address` on. The address may be anything,
/// a reference among them: nothing is read, nothing faults.
#[inline]
pub fn prefetch<T: ?Sized>(address: *const T, lines: usize) {
    let address: *const u8 = address.cast();
    for line in 0..lines {
        prefetch_line(address.wrapping_add(line * LINE));
    }
}

/// What the Internet checksum of `octets` is folded from (RFC 1071), by the widest vectors there are:
/// to 16 bits it folds as the sum of their 16-bit words as they stand in memory, the last one filled
/// up with a zero. Sums of several pieces may be added.
#[must_use]
#[inline]
pub fn sum_words(octets: &[u8]) -> u64 {
    // SAFETY: it reads these octets alone.
    unsafe { sys::hearth_sum_words(octets.as_ptr(), octets.len()) }
}

/// Asks for the cache line at `address`.
#[inline]
pub(crate) fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Asks for the cache line at `address`, into the second cache.
#[inline]
pub(crate) fn prefetch_far(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch never faults; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_counts_up() {
        let first = tsc();
        let passed = std::iter::repeat_with(tsc).take(1_000_000).find(|&now| now > first);
        assert!(passed.is_some(), "it stands still");
    }

    #[test]
    fn words_are_summed_as_they_stand() {
        let octets: Vec<u8> = (0..=255).cycle().take(2100).collect();
        let fold = |sum: u64| if sum == 0 { 0 } else { (sum - 1) % 0xffff + 1 };
        for len in (0..400).chain([1401, 1460, 1999]) {
            for piece in (0..70).map(|start| &octets[start..start + len]) {
                let expected = piece.chunks(2).map(|chunk| {
                    let high = chunk.get(1).copied().unwrap_or(0);
                    u64::from(u16::from_ne_bytes([chunk[0], high]))
                });
                assert_eq!(fold(sum_words(piece)), fold(expected.sum()), "{len}");
            }
        }
    }

    #[test]
    fn anything_may_be_prefetched() {
        prefetch(&[0_u64; 100], 13);
        prefetch("text", 1);
        prefetch(core::ptr::null::<u8>(), 2);
        prefetch(core::ptr::without_provenance::<u8>(usize::MAX), 2);
    }
}
