//! Putting, writing, rewriting.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::buffer::SecretBuffer;
use crate::error::{OpenError, StoreError};
use crate::folder;
use crate::record::{self, Kind, TURN_LEN, Turn};
use crate::recovery::{self, Scan};
use crate::segment::{self, HEADER, Header};
use crate::sync::{RETRY, SyncFile, Syncer};
use crate::{Options, Recovered};

/// Buffers larger than this are given back: wiping one costs by its capacity.
const LARGE: usize = 256 << 10;

/// A turn in the log. Later turns are greater, also across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(u64);

/// A turn that may not be durable yet: as octets, should the disk fail to take them.
struct Undurable {
    turn: u64,
    octets: SecretBuffer,
}

/// The segment that is written to.
struct Current {
    id: u64,
    first_turn: u64,
    file: Arc<File>,
    /// Where the next turn goes.
    at: u64,
}

/// Where a rewriting stands.
#[derive(Debug, Clone, Copy)]
enum Pass {
    /// None is under way.
    Idle,
    /// The caller hands records in again.
    Running { base: u64, segment: u64 },
    /// Everything was handed in; turn `last` has the rest of it.
    Ending { base: u64, segment: u64, last: u64 },
}

/// An append log of records, open for writing.
pub struct Store {
    folder: PathBuf,
    options: Options,
    /// Dropped before the lock: its thread writes to the folder.
    syncer: Syncer,
    current: Current,
    /// Segments before the current one: id and octets.
    before: Vec<(u64, u64)>,
    /// The turn with which the log begins.
    base: u64,
    pending: SecretBuffer,
    pending_records: u64,
    undurable: VecDeque<Undurable>,
    undurable_octets: usize,
    spent: Vec<SecretBuffer>,
    last: u64,
    records: u64,
    time: u64,
    pass: Pass,
    /// Records and octets of the last rewriting, or at the start: what one record takes.
    measured: (u64, u64),
    /// Records and octets of the rewriting under way.
    rewritten: (u64, u64),
    /// Octets written since the last rewriting ended.
    since: u64,
    /// A rewriting is due whatever the sizes: the log holds values of an older schema.
    outdated: bool,
    /// When a failing disk was last given another segment.
    begun_anew: Option<Instant>,
    _lock: File,
}

impl Store {
    /// Opens the store in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// [`OpenError`]: another process has it open, others than this user may enter the folder, a
    /// later version wrote it, or a file can't be read or made. The log is as it was then.
    pub fn open(folder: &Path, options: Options) -> Result<(Self, Recovered), OpenError> {
        Self::open_with(folder, options, File::sync_data)
    }

    fn open_with(
        folder: &Path,
        options: Options,
        sync_file: SyncFile,
    ) -> Result<(Self, Recovered), OpenError> {
        let lock = folder::lock(folder)?;
        let scan = recovery::scan(folder, &options)?;
        let Scan { live, last, base, next_id: id, kept, blank, idle, lost, older_schema } = scan;
        for path in blank {
            fs::remove_file(&path).map_err(OpenError::io(&path))?;
        }
        let path = segment::path(folder, id);
        let first_turn = last.number + 1;
        let header = Header { schema: options.schema, id, first_turn, base };
        let file = segment::make(folder, id, options.segment_octets)
            // On a disk that is nearly full it starts with what there is.
            .or_else(|_| segment::make(folder, id, HEADER as u64))
            .and_then(|file| segment::begin(&file, header).and(file.sync_all()).map(|()| file))
            .and_then(|file| segment::sync_folder(folder).map(|()| Arc::new(file)))
            .map_err(OpenError::io(&path))?;
        let syncer = Syncer::start(
            folder,
            options.segment_octets,
            (id, file.clone()),
            last.number,
            sync_file,
        )
        .map_err(OpenError::io(folder))?;
        syncer.remove(idle);
        let store = Self {
            folder: folder.to_owned(),
            options,
            syncer,
            current: Current { id, first_turn, file, at: HEADER as u64 },
            before: kept,
            base,
            pending: SecretBuffer::default(),
            pending_records: 0,
            undurable: VecDeque::new(),
            undurable_octets: 0,
            spent: Vec::new(),
            last: last.number,
            records: last.records,
            time: last.time,
            pass: Pass::Idle,
            measured: (live.records(), live.octets()),
            rewritten: (0, 0),
            since: u64::MAX / 2,
            outdated: older_schema,
            begun_anew: None,
            _lock: lock,
        };
        let last_turn = (last.time > 0).then_some(last.time);
        Ok((store, Recovered { live, last_turn, lost }))
    }

    /// Records that `key` has `value` now.
    ///
    /// # Errors
    /// [`StoreError::TooLong`]; [`StoreError::Behind`] where too much waits to be written because
    /// [`Self::flush_turn`] keeps failing. The record was not taken then.
    pub fn put(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.room(key, value)?;
        record::put(&mut self.pending, kind, key, value);
        self.pending_records += 1;
        Ok(())
    }

    /// Records that `key` is no more.
    ///
    /// # Errors
    /// As for [`Self::put`].
    pub fn delete(&mut self, kind: Kind, key: &[u8]) -> Result<(), StoreError> {
        self.room(key, &[])?;
        record::delete(&mut self.pending, kind, key);
        self.pending_records += 1;
        Ok(())
    }

    /// Records again what is so, during a rewriting.
    ///
    /// # Errors
    /// As for [`Self::put`].
    pub fn rewrite(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let before = self.pending.len();
        self.put(kind, key, value)?;
        self.rewritten.0 += 1;
        self.rewritten.1 += (self.pending.len() - before) as u64;
        Ok(())
    }

    /// Writes what was put since the last time, in one write, as one turn at `time` (Unix ms on the
    /// caller's line, see the crate's text). From then on it outlives this process; it is durable
    /// when [`Self::durable`] has come to the mark. With nothing put it writes nothing. To be called
    /// in every turn: it also keeps house.
    ///
    /// # Errors
    /// Nothing of this turn counts yet, and nothing of it may be acknowledged to anybody; it stays
    /// pending and goes with the next call, which is to be made when there may be space again.
    pub fn flush_turn(&mut self, time: u64) -> Result<Mark, StoreError> {
        self.forget_durable();
        if let Some(failed) = self.syncer.failed() {
            self.begin_anew(failed)?;
        }
        self.end_pass();
        if self.pending.is_empty() {
            return Ok(Mark(self.last));
        }
        if self.undurable_octets >= self.options.behind {
            return Err(StoreError::Behind);
        }
        let end = self.current.at + (self.pending.len() + TURN_LEN) as u64;
        if end > self.options.segment_octets && self.current.at > HEADER as u64 {
            // While there is no next segment this one grows beyond its size.
            self.rotate(self.base, Vec::new());
        }
        self.write_turn(time)?;
        Ok(Mark(self.last))
    }

    /// The last turn that outlives a power cut.
    #[must_use]
    pub fn durable(&self) -> Mark {
        Mark(self.syncer.durable())
    }

    /// Waits until `mark` is durable, and says whether it is; no longer than `most`, and no longer
    /// where the disk fails. Not for the caller's loop, but for its end.
    #[must_use]
    pub fn wait_durable(&self, mark: Mark, most: Duration) -> bool {
        self.syncer.wait(mark.0, most)
    }

    /// What an operator should know before it hurts: the disk failed to sync, or there is no room
    /// for a next segment. [`Self::flush_turn`] may still succeed.
    #[must_use]
    pub fn trouble(&self) -> Option<StoreError> {
        self.syncer.failed().or_else(|| self.syncer.no_spare())
    }

    /// Octets of the log, without what was made ahead.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.current.at + self.before.iter().map(|(_, octets)| octets).sum::<u64>()
    }

    /// Whether the log is worth rewriting, where the caller would hand in `records`.
    #[must_use]
    pub fn rewrite_due(&self, records: u64) -> bool {
        if !matches!(self.pass, Pass::Idle) {
            return false;
        }
        let (known, octets) = self.measured;
        let live = octets.saturating_mul(records).checked_div(known).unwrap_or(0);
        let spare = self.options.segment_octets.saturating_mul(2);
        let log = self.octets();
        self.outdated
            || log > live.saturating_mul(2).saturating_add(spare)
                // Should the caller count otherwise than it hands in: no endless rewriting.
                && self.since > log / 4
    }

    /// Begins a rewriting. `false` where it has to wait for the next segment to be made ahead.
    pub fn begin_rewrite(&mut self) -> bool {
        if !matches!(self.pass, Pass::Idle) || !self.rotate(self.base, Vec::new()) {
            return false;
        }
        self.rewritten = (0, 0);
        self.pass = Pass::Running { base: self.last + 1, segment: self.current.id };
        true
    }

    /// Ends a rewriting: since its beginning everything that is live was handed in again, or put.
    /// The older part of the log goes when the rest is durable. Nothing where none is under way.
    pub fn end_rewrite(&mut self) {
        if let Pass::Running { base, segment } = self.pass {
            let last = self.last + u64::from(!self.pending.is_empty());
            self.pass = Pass::Ending { base, segment, last };
        }
    }

    fn room(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if !record::fits(key, value) {
            return Err(StoreError::TooLong);
        }
        if self.pending.len() >= self.options.behind { Err(StoreError::Behind) } else { Ok(()) }
    }

    fn write_turn(&mut self, time: u64) -> Result<(), StoreError> {
        let records_end = self.pending.len();
        let turn = Turn {
            number: self.last + 1,
            durable: self.syncer.durable(),
            time: self.time.max(time),
            records: self.records + self.pending_records,
        };
        record::turn(&mut self.pending, turn);
        if let Err(error) = self.current.file.write_all_at(self.pending.as_slice(), self.current.at)
        {
            // What a write cut short has left there is no whole turn, and is written over.
            self.pending.truncate(records_end);
            return Err((&error).into());
        }
        let octets = self.pending.len();
        self.current.at += octets as u64;
        self.since = self.since.saturating_add(octets as u64);
        (self.last, self.time, self.records) = (turn.number, turn.time, turn.records);
        self.pending_records = 0;
        let empty = self.spent.pop().unwrap_or_default();
        let octets_written = std::mem::replace(&mut self.pending, empty);
        self.undurable.push_back(Undurable { turn: turn.number, octets: octets_written });
        self.undurable_octets += octets;
        self.syncer.written(turn.number);
        Ok(())
    }

    /// Wipes the turns that have become durable.
    fn forget_durable(&mut self) {
        let durable = self.syncer.durable();
        while let Some(turn) = self.undurable.pop_front_if(|turn| turn.turn <= durable) {
            let mut octets = turn.octets;
            self.undurable_octets -= octets.len();
            octets.wipe();
            if octets.capacity() <= LARGE && self.spent.len() < 64 {
                self.spent.push(octets);
            }
        }
    }

    /// Goes on in the next segment, with `base` as the log's beginning; `false` where that was not
    /// made yet or can't be written.
    fn rotate(&mut self, base: u64, remove: Vec<PathBuf>) -> bool {
        let Some((id, file)) = self.syncer.take_spare() else { return false };
        let first_turn = self.last + 1;
        let header = Header { schema: self.options.schema, id, first_turn, base };
        if segment::begin(&file, header).is_err() {
            self.syncer.remove(vec![segment::path(&self.folder, id)]);
            return false;
        }
        let file = Arc::new(file);
        self.syncer.rotate(file.clone(), self.current.at, remove);
        self.before.push((self.current.id, self.current.at));
        self.current = Current { id, first_turn, file, at: HEADER as u64 };
        true
    }

    /// After a failed sync: what is not durable goes into the next segment, which replaces it. The
    /// header comes last, so that the replacement is whole whenever it counts.
    fn begin_anew(&mut self, failed: StoreError) -> Result<(), StoreError> {
        if self.begun_anew.is_some_and(|tried| tried.elapsed() < RETRY) {
            return Err(failed);
        }
        let (id, file) = self.syncer.take_spare().ok_or(failed)?;
        self.begun_anew = Some(Instant::now());
        let first_turn = self.undurable.front().map_or(self.last + 1, |turn| turn.turn);
        let header = Header { schema: self.options.schema, id, first_turn, base: self.base };
        let mut at = HEADER as u64;
        let mut write = |octets: &[u8]| {
            file.write_all_at(octets, at)?;
            at += octets.len() as u64;
            Ok(())
        };
        let turns = self.undurable.iter();
        let written = turns.map(|turn| turn.octets.as_slice()).try_for_each(&mut write);
        if let Err(error) = written.and_then(|()| segment::begin(&file, header)) {
            let _ = fs::remove_file(segment::path(&self.folder, id));
            return Err((&error).into());
        }
        let file = Arc::new(file);
        let next = Current { id, first_turn, file: file.clone(), at };
        let failed = std::mem::replace(&mut self.current, next);
        // Room of a disk that goes on failing is not to be used up by trying.
        let _ = failed.file.set_len(failed.at);
        let replaced = failed.first_turn >= first_turn;
        let remove = replaced.then(|| segment::path(&self.folder, failed.id));
        if !replaced {
            self.before.push((failed.id, failed.at));
        }
        self.syncer.restart(file, remove);
        Ok(())
    }

    /// Moves the beginning of the log when the rewriting is durable.
    fn end_pass(&mut self) {
        let Pass::Ending { base, segment, last } = self.pass else { return };
        if self.syncer.durable() < last {
            return;
        }
        let gone = |(id, _): &(u64, u64)| *id < segment;
        let remove = self.before.iter().filter(|one| gone(one));
        let remove = remove.map(|(id, _)| segment::path(&self.folder, *id)).collect();
        if self.rotate(base, remove) {
            self.base = base;
            self.before.retain(|one| !gone(one));
            self.measured = self.rewritten;
            self.since = 0;
            self.outdated = false;
            self.pass = Pass::Idle;
        }
    }
}

impl Drop for Store {
    /// What was flushed becomes durable before it returns, where the disk takes it.
    fn drop(&mut self) {
        let durable = self.wait_durable(Mark(self.last), Duration::from_secs(10));
        if durable {
            // Only room made ahead: the next start would give it back as well.
            let _ = self.current.file.set_len(self.current.at);
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("folder", &self.folder)
            .field("octets", &self.octets())
            .field("last", &self.last)
            .field("durable", &self.syncer.durable())
            .field("pending", &self.pending)
            .field("pass", &self.pass)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
