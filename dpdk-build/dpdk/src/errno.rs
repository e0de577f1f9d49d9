//! DPDK's error numbers.

use core::ffi::CStr;
use core::fmt;

use hearth_dpdk_sys as sys;

/// An error number as DPDK returns it: positive, one of the system's (`ENOMEM`, …).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// `EINVAL`: an argument that DPDK could not have taken, such as a name with a NUL in it.
    pub const INVALID: Self = Self(22);

    /// `ENOMEM`.
    pub(crate) const NO_MEMORY: Self = Self(12);

    /// The number itself.
    #[must_use]
    pub const fn code(self) -> i32 {
        self.0
    }

    /// From a return value that is negative on error.
    pub(crate) fn check(code: i32) -> Result<(), Self> {
        if code < 0 { Err(Self(-code)) } else { Ok(()) }
    }

    /// DPDK's `rte_errno` of this thread, for functions that only say "failed".
    pub(crate) fn last() -> Self {
        // SAFETY: reads a thread-local of this thread.
        Self(unsafe { sys::hearth_errno() })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: rte_strerror returns a NUL-terminated string, static or of this thread, which
        // nothing overwrites before it has been written out below.
        let text = unsafe { CStr::from_ptr(sys::rte_strerror(self.0)) };
        f.write_str(&text.to_string_lossy())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {self})", self.0)
    }
}
