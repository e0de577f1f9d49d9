//! What a home agent remembers across a restart: an append log in segments (R-16, R-23, R-31, R-43,
//!
//!
//! Keys and values are octets; what they mean is the caller's. Per turn of its loop the caller puts
//! and deletes records and then calls [`Store::flush_turn`] once: one write to the file, which
//! outlives the process from then on. A thread of the store makes it durable, back to back;
//! [`Store::durable`] says how far that is. What must outlive a power cut waits for it.
//!
//! A turn counts as a whole or not at all. After a crash the log ends with the last whole turn.
//!
//! There is no second copy of the records in memory. When the log has grown to more than twice what
//! is live in it ([`Store::rewrite_due`]), the caller walks over its own state and hands every
//! record in again, some in each turn, between [`Store::begin_rewrite`] and
//! [`Store::end_rewrite`]; then the older part goes. So the log takes up to three times the live
//! octets, and three segments.
//!
//! **Time.** Records hold times of the caller's; the log holds the time of each turn, on the same
//! line: Unix ms at the caller's start, and monotonic from there. After a restart
//! [`Recovered::now`] is the time that the ends in the records are to be held against: the wall
//! clock's, but never before the last turn. Where the clock went back, a binding keeps the lifetime
//! that it had then. A caller must still grant no remaining lifetime beyond the one granted.
//!
//! **Damage.** The log is taken up to the first place where it is not what was written;
//! [`Recovered::lost`] says what lay behind it. Where that was durable, sequence numbers in use may
//! lie beyond what the log says: no SA of before may be used again. Where the damage
//! is in the part that a rewriting wrote, records that it had not come to are missing as well.
//!
//! **No space.** Nothing that was flushed is lost; what was put waits, [`Store::flush_turn`] says
//! so, and goes on when there is space again. A rewriting needs a segment to begin with: it does
//! not help a disk that is full already, so [`Store::trouble`] tells before that.
//!
//! Values may hold keys. The folder is its user's alone, buffers are wiped, `Debug` shows lengths.
//!
//! | module | what |
//! |---|---|
//! | `record` | a record on disk |
//! | `segment` | a file of the log; how files make a log |
//! | `store` | putting, writing, rewriting |
//! | `sync` | the thread that makes it durable |
//! | `recovery`, `index` | what the log says at the start |
//! | `folder` | whose it is |
//! | `live` | reading it back; older schemas |
#![forbid(unsafe_code)]

mod buffer;
mod error;
mod folder;
mod index;
mod live;
mod record;
mod recovery;
mod segment;
mod store;
mod sync;

use std::fmt;
use std::path::PathBuf;

pub use buffer::SecretBuffer;
pub use error::{OpenError, StoreError, Why};
pub use live::{Batch, Live, Migrate, Migrated, Room};
pub use record::{KEY_MAX, Kind, Record, VALUE_MAX};
pub use store::{Mark, Store};

/// How a store is kept.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The version of the values that the caller writes.
    pub schema: u16,
    /// The oldest version that `migrate` reads.
    pub oldest_schema: u16,
    /// Brings values of versions before `schema` to it.
    pub migrate: Migrate,
    /// The size of a segment, in octets. Two of them are made ahead.
    pub segment_octets: u64,
    /// How many octets may wait to be written or to become durable. They are kept in memory.
    pub behind: usize,
}

impl Options {
    /// Segments of 64 MiB, 64 MiB behind at most, values of version `schema` and no older ones.
    #[must_use]
    pub fn new(schema: u16) -> Self {
        Self {
            schema,
            oldest_schema: schema,
            migrate: |_, _, _| Migrated::Same,
            segment_octets: 64 << 20,
            behind: 64 << 20,
        }
    }
}

/// What the log said when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// The live records.
    pub live: Live,
    /// The time of the last turn, Unix ms; `None` where there is none.
    pub last_turn: Option<u64>,
    /// What could not be taken.
    pub lost: Option<Lost>,
}

impl Recovered {
    /// The time that the ends in the records are to be held against, where the wall clock shows
    /// `unix_millis`.
    #[must_use]
    pub fn now(&self, unix_millis: u64) -> u64 {
        self.last_turn.map_or(unix_millis, |last| last.max(unix_millis))
    }
}

/// A part of the log that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The file in which the log stops being what was written.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// Octets that were written from there on, later files included.
    pub octets: u64,
    /// Turns that were lost: up to the last one that can still be read behind that place. 0 where
    /// none can: then it is a turn that was being written when the process or the machine stopped.
    pub turns: u64,
    /// Puts and deletions in those turns.
    pub records: u64,
    /// Whether turns are among them that were durable: the medium, or somebody, changed what it
    /// had taken. Otherwise the machine stopped before they were.
    pub durable: bool,
    /// The time of the last turn that was taken, Unix ms.
    pub last_kept: Option<u64>,
    /// The time of the last turn lost, Unix ms.
    pub last_lost: Option<u64>,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, octets, turns, records, .. } = self;
        write!(f, "{}, offset {offset}: ", self.file.display())?;
        if *turns == 0 {
            return write!(f, "{octets} octets that are no whole turn are ignored");
        }
        let kind = if self.durable { "damaged" } else { "not on disk when the machine stopped" };
        write!(f, "{kind}; {records} records in {turns} turns are lost ({octets} octets)")?;
        if let (Some(kept), Some(lost)) = (self.last_kept, self.last_lost) {
            write!(f, ", those of {} ms up to Unix time {} ms", lost.saturating_sub(kept), lost)?;
        }
        Ok(())
    }
}
