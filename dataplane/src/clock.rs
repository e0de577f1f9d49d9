//! The time stamp counter in microseconds.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Cycles since some time in the past: a clock without a syscall.
pub(crate) use hearth_dpdk::tsc as now;

/// Cycles in a second.
pub(crate) fn second() -> u64 {
    cycles_per_us().saturating_mul(1_000_000)
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
