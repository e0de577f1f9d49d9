//! Reading the live records back.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::buffer::SecretBuffer;
use crate::error::OpenError;
use crate::record::{self, Entry, Kind, Record};

/// What becomes of a record of an older schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrated {
    /// Its value reads the same in the present schema.
    Same,
    /// The buffer holds its value in the present schema.
    Changed,
    /// The present schema has no such record.
    Dropped,
}

/// Brings a record of the schema given, not older than
/// [`Options::oldest_schema`](crate::Options::oldest_schema), to the present one. Keys stay: by them
/// a later record replaces an earlier one, whatever their schemas.
pub type Migrate = fn(schema: u16, record: Record<'_>, value: &mut SecretBuffer) -> Migrated;

/// The live records of a log, in batches that may be read in any order and on any thread.
#[derive(Debug)]
pub struct Live {
    pub(crate) batches: Vec<Batch>,
    pub(crate) counts: [u64; Kind::HIGHEST],
    pub(crate) octets: u64,
}

impl Live {
    /// The batches, in the order in which the records were written. A key occurs once in all of
    /// them, so that order matters only between kinds.
    #[must_use]
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// Live records of a kind, those of an older schema included that a migration will drop.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts[kind as usize - 1]
    }

    /// Live records of all kinds.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Octets of the live records as they stand in the log.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }
}

/// A piece of the log.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
    pub(crate) schema: u16,
    pub(crate) wanted: u16,
    pub(crate) migrate: Migrate,
    pub(crate) offset: u64,
    pub(crate) length: usize,
    pub(crate) first: u32,
    /// One bit for each record of the segment: whether it is live.
    pub(crate) bits: Arc<[u64]>,
}

/// Room to read batches in, one after another. It is wiped when it is dropped, and not before:
/// wiping costs more than reading.
#[derive(Debug, Default)]
pub struct Room {
    octets: SecretBuffer,
    value: SecretBuffer,
}

impl Batch {
    /// Hands out the live records.
    ///
    /// # Errors
    /// The file can't be read, or does not say any more what it said when the store was opened.
    pub fn read(
        &self,
        Room { octets, value }: &mut Room,
        mut each: impl FnMut(Record<'_>),
    ) -> Result<(), OpenError> {
        self.file
            .read_exact_at(octets.sized(self.length), self.offset)
            .map_err(OpenError::io(&self.path))?;
        let mut rest = octets.as_slice();
        let mut ordinal = self.first as usize;
        while !rest.is_empty() {
            let (entry, taken) = record::read(rest)
                .map_err(|_| OpenError::io(&self.path)(io::ErrorKind::InvalidData.into()))?;
            rest = rest.get(taken..).unwrap_or(&[]);
            let live = self.bits.get(ordinal / 64).is_some_and(|w| w >> (ordinal % 64) & 1 == 1);
            ordinal += 1;
            let Entry::Put(record) = entry else { continue };
            if !live {
                continue;
            }
            if self.schema == self.wanted {
                each(record);
                continue;
            }
            value.wipe();
            match (self.migrate)(self.schema, record, value) {
                Migrated::Same => each(record),
                Migrated::Changed => each(Record { value: value.as_slice(), ..record }),
                Migrated::Dropped => {}
            }
        }
        Ok(())
    }
}
