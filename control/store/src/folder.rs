//! The folder: its user's alone, and one process's.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{OpenError, Why};

/// Makes the folder, and keeps other processes out of it.
pub(crate) fn lock(folder: &Path) -> Result<File, OpenError> {
    if !folder.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(OpenError::io(folder))?;
    }
    let facts = fs::metadata(folder).map_err(OpenError::io(folder))?;
    if facts.mode() & 0o077 != 0 || facts.uid() != rustix::process::geteuid().as_raw() {
        return Err(OpenError::new(folder, Why::Exposed));
    }
    let path = folder.join("lock");
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(OpenError::io(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::new(folder, Why::Locked)),
        Err(TryLockError::Error(error)) => Err(OpenError::io(&path)(error)),
    }
}
