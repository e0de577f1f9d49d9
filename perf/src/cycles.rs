//! What the processor offers and std does not: its time stamp counter, and prefetches.
//!
//! The two instructions below are this crate's only unsafe code: a clock that goes through the
//! vDSO costs as much as a small packet, and a reference without prefetches would not be fair.

use std::path::Path;
use std::time::{Duration, Instant};

/// Octets of a cache line.
const LINE: usize = 64;

/// Ticks of the time stamp counter: constant-rate cycles, whatever the core's clock does.
#[inline]
#[expect(unsafe_code, reason = "an instruction without preconditions")]
pub(crate) fn now() -> u64 {
    // SAFETY: every x86-64 processor has RDTSC, and it touches no memory.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Asks for the first cache lines of `octets`, at most `lines` of them.
#[inline]
#[expect(unsafe_code, reason = "an instruction without effects but on the cache")]
pub(crate) fn prefetch(octets: &[u8], lines: usize) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    for line in octets.chunks(LINE).take(lines) {
        // SAFETY: a prefetch never faults, and the address is that of a live slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// Ticks in a microsecond, measured against the system's clock.
pub(crate) fn per_microsecond() -> f64 {
    let (clock, ticks) = (Instant::now(), now());
    std::thread::sleep(Duration::from_millis(20));
    let passed = clock.elapsed().as_secs_f64() * 1e6;
    now().wrapping_sub(ticks) as f64 / passed
}

/// How often the kernel has taken the core away from this thread so far; 0 where it does not say.
pub(crate) fn preemptions() -> u64 {
    preemptions_in("/proc/thread-self/status".as_ref())
}

/// The same, of all threads of this process together.
pub(crate) fn preemptions_of_all_threads() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads.map(|thread| preemptions_in(&thread.path().join("status"))).sum()
}

fn preemptions_in(status: &Path) -> u64 {
    let status = std::fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
