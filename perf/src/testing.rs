//! What tests share: one EAL per process, one test at a time.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::lab::Lab;

/// Runs `f` in the lab.
pub(crate) fn with_lab<T>(f: impl FnOnce(&Lab) -> T) -> T {
    static LAB: OnceLock<Mutex<Lab>> = OnceLock::new();
    let lab = LAB.get_or_init(|| Mutex::new(Lab::start(&[]).unwrap()));
    let guard = lab.lock().unwrap_or_else(PoisonError::into_inner);
    f(&guard)
}
