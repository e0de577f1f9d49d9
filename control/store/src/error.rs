//! What can go wrong: `Copy` while running, with the file's name at the start.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Why something could not be recorded. What was acknowledged before is not touched by it, and what
/// was put stays pending: the next [`Store::flush_turn`](crate::Store::flush_turn) writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// No space (ENOSPC, EDQUOT, or a limit on the size of files).
    Full,
    /// The medium failed, errno given (EIO and the like).
    Failed(i32),
    /// The disk has not kept up: [`Options::behind`](crate::Options::behind) octets are not durable
    /// yet, or wait to be written.
    Behind,
    /// A key is empty or longer than [`KEY_MAX`](crate::KEY_MAX), or a value longer than
    /// [`VALUE_MAX`](crate::VALUE_MAX) octets.
    TooLong,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("no space left for the state"),
            Self::Failed(errno) => {
                write!(f, "the state can't be written: {}", io::Error::from_raw_os_error(*errno))
            }
            Self::Behind => f.write_str("the disk does not keep up with the state"),
            Self::TooLong => f.write_str("a record exceeds the size of its fields"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<&io::Error> for StoreError {
    fn from(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Self::Full,
            Some(errno) => Self::Failed(errno.raw_os_error()),
            None => Self::Failed(Errno::IO.raw_os_error()),
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Why {
    /// Another process has it open.
    Locked,
    /// Others than its owner may enter the folder, or it is another user's: it holds keys.
    Exposed,
    /// It was written by a later version: format or schema, found and known.
    Newer {
        /// What the file says.
        found: u16,
        /// The latest that this program reads.
        known: u16,
    },
    /// The caller's [`Migrate`](crate::Migrate) does not know this older schema.
    Migration {
        /// What the file says.
        found: u16,
    },
    /// The file or folder can't be read or made.
    Io(io::Error),
}

/// A store can't be opened: which file, and why.
#[derive(Debug)]
pub struct OpenError {
    /// The file or folder.
    pub file: PathBuf,
    /// The reason.
    pub why: Why,
}

impl OpenError {
    pub(crate) fn io(file: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let file = file.to_owned();
        move |error| Self { file, why: Why::Io(error) }
    }

    pub(crate) fn new(file: &Path, why: Why) -> Self {
        Self { file: file.to_owned(), why }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match &self.why {
            Why::Locked => f.write_str("in use by another process"),
            Why::Exposed => {
                f.write_str("holds keys and must be its user's alone: owner this user, mode 0700")
            }
            Why::Newer { found, known } => write!(
                f,
                "written by a later version (format {found}, this version reads up to {known})"
            ),
            Why::Migration { found } => {
                write!(f, "written by a version that is too old (format {found})")
            }
            Why::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::Io(error) => Some(error),
            _ => None,
        }
    }
}
