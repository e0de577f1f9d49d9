//! The processor's time stamp counter: a clock without a syscall.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Cycles since some time in the past.
#[inline]
pub(crate) fn now() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static START: OnceLock<Instant> = OnceLock::new();
        u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Cycles in a microsecond, measured once.
pub(crate) fn cycles_per_us() -> u64 {
    static RATE: OnceLock<u64> = OnceLock::new();
    *RATE.get_or_init(|| {
        let (start, cycles) = (Instant::now(), now());
        std::thread::sleep(Duration::from_millis(5));
        let passed = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
        (now().wrapping_sub(cycles) / passed).max(1)
    })
}
