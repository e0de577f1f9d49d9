//! Whether a file is another one than when it was last read.

use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// A digest of a file's octets.
///
/// Length, inode and time would not do: a renewed key has the length of the old one, and a clock of
/// files that ticks every few milliseconds gives both the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileMark([u8; 32]);

impl FileMark {
    /// That of the file at `path`; nothing where it can't be read.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let octets = Zeroizing::new(std::fs::read(path).ok()?);
        Some(Self(Sha256::digest(&*octets).into()))
    }
}
