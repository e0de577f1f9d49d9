//! What the log says at the start.
//!
//! Two passes: the first reads every segment, checks it and finds out which records are live, one
//! bit each; the second, [`Batch::read`](crate::Batch::read), hands those out. The index by key, on
//! a thread of its own, lives as long as the first.
//!
//! The log counts up to its first gap or damage and no further: what lies beyond may contradict
//! what is missing (a revoked SA would be back). How much that was is found out by the turns that
//! can still be read behind it, which carry the number of records and what was known to be durable.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use crate::buffer::SecretBuffer;
use crate::error::{OpenError, Why};
use crate::index::{Index, Place, Steps};
use crate::live::{Batch, Live};
use crate::record::{self, Entry, NoEntry, TURN_MARK, Turn};
use crate::segment::{self, FORMAT, HEADER, Header, NoHeader};
use crate::{Lost, Options};

/// Octets of log that one batch covers, roughly.
const BATCH: usize = 4 << 20;

/// A file of the log as it was found.
struct Found {
    id: u64,
    path: PathBuf,
    file: Arc<File>,
    length: u64,
    header: Result<Header, NoHeader>,
    /// The turn from which on later segments replace this one's.
    limit: u64,
}

/// The log as it was found.
pub(crate) struct Scan {
    pub(crate) live: Live,
    /// The last turn that counts.
    pub(crate) last: Turn,
    pub(crate) base: u64,
    /// Where the id of a new segment begins.
    pub(crate) next_id: u64,
    /// Segments that stay: id and length.
    pub(crate) kept: Vec<(u64, u64)>,
    /// Files that were made ahead and never became part of the log.
    pub(crate) blank: Vec<PathBuf>,
    /// Files to be removed once a new segment is durable: others replace them.
    pub(crate) idle: Vec<PathBuf>,
    pub(crate) lost: Option<Lost>,
    pub(crate) older_schema: bool,
}

/// Offset and ordinal of the first record of each batch of a segment, and those of the end.
type Starts = Vec<(usize, u32)>;

/// Steps that wait for the index, in [`Steps`]' portions.
const WAITING: usize = 8;

/// Octets of a record, roughly, and the most keys that are expected: for a first guess how many
/// there are, so that the index need not grow by halves.
const RECORD: u64 = 160;
const MOST_EXPECTED: usize = 1 << 22;

/// Why the reading of a segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing more was written.
    Blank,
    /// The next turn stands in a later segment.
    Limit,
    /// Something that is no record, or a turn with another number.
    Bad,
}

/// Reads the log in `folder`.
///
/// # Errors
/// A file can't be read, or another version wrote it.
pub(crate) fn scan(folder: &Path, options: &Options) -> Result<Scan, OpenError> {
    let found = find(folder, options)?;
    let octets: u64 = found.iter().map(|segment| segment.length).sum();
    let keys = usize::try_from(octets / RECORD).unwrap_or(0).min(MOST_EXPECTED);
    let (to, steps) = mpsc::sync_channel(WAITING);
    thread::scope(|scope| {
        let keep = move || {
            let mut index = Index::with_room(keys);
            steps.into_iter().for_each(|portion| index.take(portion));
            index
        };
        let index = thread::Builder::new().name("state-index".into()).spawn_scoped(scope, keep);
        let index = index.map_err(OpenError::io(folder))?;
        let read = read(&found, Steps::new(to))?;
        let index = index.join().map_err(|_| OpenError::io(folder)(io::ErrorKind::Other.into()))?;
        Ok(read.with(index, options))
    })
}

/// What [`scan`] finds out without the index.
struct Read<'f> {
    /// The segments that count, with their batches.
    chain: Vec<(&'f Found, Starts)>,
    last: Turn,
    base: u64,
    next_id: u64,
    kept: Vec<(u64, u64)>,
    blank: Vec<PathBuf>,
    idle: Vec<PathBuf>,
    lost: Option<Lost>,
}

impl Read<'_> {
    fn with(self, index: Index, options: &Options) -> Scan {
        let Self { chain, last, base, next_id, kept, blank, idle, lost } = self;
        let older_schema = chain.iter().any(|(segment, _)| segment.schema() < options.schema);
        let live = live(chain, index, options);
        Scan { live, last, base, next_id, kept, blank, idle, lost, older_schema }
    }
}

fn read(found: &[Found], mut steps: Steps) -> Result<Read<'_>, OpenError> {
    let base = found.iter().filter_map(|s| s.header.ok()).map(|h| h.base).max().unwrap_or(1);
    let next_id = found.last().map_or(1, |segment| segment.id + 1);
    let mut last = Turn { number: base - 1, durable: 0, time: 0, records: 0 };
    let mut beyond = Beyond::default();
    let (mut kept, mut blank, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    let (mut chain, mut headless): (Vec<(&Found, Starts)>, Vec<&Found>) = (Vec::new(), Vec::new());
    let mut octets = SecretBuffer::default();
    for segment in found {
        let first_turn = match segment.header {
            Ok(header) if header.first_turn < segment.limit && segment.limit > base => {
                Some(header.first_turn)
            }
            Ok(_) => {
                idle.push(segment.path.clone());
                continue;
            }
            Err(NoHeader::Blank) => {
                blank.push(segment.path.clone());
                continue;
            }
            Err(_) => None,
        };
        segment.read(&mut octets)?;
        kept.push((segment.id, segment.length));
        if let Some(first) = first_turn.filter(|first| chain.is_empty() && *first <= base) {
            // After a failed sync a segment may begin before the log does.
            last.number = first - 1;
        }
        if beyond.cut || first_turn != Some(last.number + 1) {
            beyond.cut |= first_turn.is_some();
            beyond.look(segment, octets.as_slice(), 0);
            headless.extend(first_turn.is_none().then_some(segment));
            continue;
        }
        // The log goes on without what had no header: it mattered at an earlier start, if ever.
        beyond = Beyond::default();
        idle.extend(headless.drain(..).map(|segment| segment.path.clone()));
        let number = u32::try_from(chain.len()).unwrap_or(u32::MAX);
        let (end, starts) = walk((segment, number), octets.as_slice(), &mut last, &mut steps);
        let offset = starts.last().map_or(HEADER, |(end, _)| *end);
        let open_ended = segment.limit == u64::MAX;
        if end == End::Bad || end == End::Blank && !open_ended {
            beyond.cut = true;
            beyond.look(segment, octets.as_slice(), offset);
        }
        if open_ended {
            // Zeros: the room made ahead. That it stays where it can't be cut off does no harm.
            let written = offset.max(written(octets.as_slice())) as u64;
            if segment.file.set_len(written).is_ok() {
                kept.pop();
                kept.push((segment.id, written));
            }
        }
        chain.push((segment, starts));
    }
    steps.end();
    for (segment, _) in &chain {
        segment.file.sync_data().map_err(OpenError::io(&segment.path))?;
    }
    let lost = beyond.lost(last);
    Ok(Read { chain, last, base, next_id, kept, blank, idle, lost })
}

/// The files of the log, in the order of their ids.
fn find(folder: &Path, options: &Options) -> Result<Vec<Found>, OpenError> {
    let mut ids: Vec<u64> = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name().to_str().and_then(segment::id)))
                .filter_map(io::Result::transpose)
                .collect()
        })
        .map_err(OpenError::io(folder))?;
    ids.sort_unstable();
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let path = segment::path(folder, id);
        let segment = Found::open(id, &path).map_err(OpenError::io(&path))?;
        let newer = match segment.header {
            Err(NoHeader::Newer(found)) => Some(Why::Newer { found, known: FORMAT }),
            Ok(header) if header.schema > options.schema => {
                Some(Why::Newer { found: header.schema, known: options.schema })
            }
            Ok(header) if header.schema < options.oldest_schema => {
                Some(Why::Migration { found: header.schema })
            }
            _ => None,
        };
        if let Some(why) = newer {
            return Err(OpenError::new(&path, why));
        }
        found.push(segment);
    }
    let mut limit = u64::MAX;
    for segment in found.iter_mut().rev() {
        segment.limit = limit;
        if let Ok(header) = segment.header {
            limit = limit.min(header.first_turn);
        }
    }
    Ok(found)
}

impl Found {
    fn open(id: u64, path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let length = file.metadata()?.len();
        let mut head = [0; HEADER];
        let there = usize::try_from(length).map_or(HEADER, |length| length.min(HEADER));
        file.read_exact_at(&mut head[..there], 0)?;
        // A header of another segment is none.
        let header = match Header::read(&head[..there]) {
            Ok(header) if header.id != id => Err(NoHeader::Bad),
            header => header,
        };
        let path = path.to_owned();
        Ok(Self { id, path, file: Arc::new(file), length, header, limit: u64::MAX })
    }

    fn read(&self, octets: &mut SecretBuffer) -> Result<(), OpenError> {
        let length = usize::try_from(self.length)
            .map_err(|_| OpenError::io(&self.path)(io::ErrorKind::FileTooLarge.into()))?;
        self.file.read_exact_at(octets.sized(length), 0).map_err(OpenError::io(&self.path))
    }

    fn schema(&self) -> u16 {
        self.header.map_or(0, |header| header.schema)
    }
}

/// Reads the turns of a segment as far as they are whole, and says where batches begin and where
/// the last whole turn ends.
fn walk(
    (segment, number): (&Found, u32),
    octets: &[u8],
    last: &mut Turn,
    steps: &mut Steps,
) -> (End, Starts) {
    let (mut counted, mut at, mut ordinal, mut starts) = (HEADER, HEADER, 0, vec![(HEADER, 0)]);
    let end = loop {
        if last.number + 1 == segment.limit {
            break End::Limit;
        }
        let rest = octets.get(at..).unwrap_or(&[]);
        match record::read(rest) {
            Err(NoEntry::Blank) if counted == at && is_blank(rest) => {
                break End::Blank;
            }
            Err(_) => break End::Bad,
            Ok((Entry::Turn(end), _)) if end.number != last.number + 1 => break End::Bad,
            Ok((Entry::Turn(end), taken)) => {
                *last = end;
                at += taken;
                counted = at;
                steps.end_turn();
                ordinal += 1;
                if starts.last().is_some_and(|(start, _)| at - start >= BATCH) {
                    starts.push((at, ordinal));
                }
            }
            Ok((entry, taken)) => {
                let octets = u32::try_from(taken).unwrap_or(u32::MAX);
                steps.push(&entry, Place { segment: number, ordinal, octets });
                at += taken;
                ordinal += 1;
            }
        }
    };
    steps.forget_turn();
    starts.push((counted, ordinal));
    (end, starts)
}

/// Whether there is nothing but zeros.
fn is_blank(octets: &[u8]) -> bool {
    octets.chunks(4096).all(|page| page.iter().fold(0, |seen, octet| seen | octet) == 0)
}

/// Octets up to the last one that is not zero.
fn written(octets: &[u8]) -> usize {
    let mut end = octets.len();
    for page in octets.rchunks(4096) {
        if !is_blank(page) {
            return end - page.iter().rev().take_while(|octet| **octet == 0).count();
        }
        end -= page.len();
    }
    0
}

/// Hands the live records over as batches; the index goes.
fn live(chain: Vec<(&Found, Starts)>, index: Index, options: &Options) -> Live {
    let mut batches = Vec::new();
    // A segment behind the last live record has no bits.
    let bits = index.bits.into_iter().chain(std::iter::repeat_with(Vec::new));
    for ((segment, starts), bits) in chain.into_iter().zip(bits) {
        let bits: Arc<[u64]> = bits.into();
        for pair in starts.windows(2) {
            let [(start, first), (end, _)] = *pair else { continue };
            if start < end {
                batches.push(Batch {
                    file: segment.file.clone(),
                    path: segment.path.clone(),
                    schema: segment.schema(),
                    wanted: options.schema,
                    migrate: options.migrate,
                    offset: start as u64,
                    length: end - start,
                    first,
                    bits: bits.clone(),
                });
            }
        }
    }
    Live { batches, counts: index.counts, octets: index.octets }
}

/// What was written behind the place where the log ends.
#[derive(Default)]
struct Beyond {
    /// The log does not go on where it should.
    cut: bool,
    place: Option<(PathBuf, u64)>,
    octets: u64,
    latest: Option<Turn>,
    durable: u64,
}

impl Beyond {
    /// Looks for turns from `offset` on.
    fn look(&mut self, segment: &Found, octets: &[u8], offset: usize) {
        self.place.get_or_insert_with(|| (segment.path.clone(), offset as u64));
        let rest = octets.get(offset..).unwrap_or(&[]);
        let written = written(rest);
        self.octets += written as u64;
        let mut at = 0;
        while let Some(rest) = rest.get(at..).filter(|_| at < written) {
            let Some(step) = rest.windows(TURN_MARK.len()).position(|four| four == TURN_MARK)
            else {
                break;
            };
            if let Ok((Entry::Turn(turn), _)) = record::read(&rest[step..]) {
                self.durable = self.durable.max(turn.durable);
                if self.latest.is_none_or(|latest| latest.number < turn.number) {
                    self.latest = Some(turn);
                }
            }
            at += step + TURN_MARK.len();
        }
    }

    /// What was lost, where `last` is the last turn that counts.
    fn lost(self, last: Turn) -> Option<Lost> {
        let latest = self.latest.filter(|latest| latest.number > last.number);
        if !self.cut && latest.is_none() {
            return None;
        }
        let (file, offset) = self.place?;
        Some(Lost {
            file,
            offset,
            octets: self.octets,
            turns: latest.map_or(0, |latest| latest.number - last.number),
            records: latest.map_or(0, |latest| latest.records.saturating_sub(last.records)),
            durable: self.durable > last.number,
            last_kept: (last.time > 0).then_some(last.time),
            last_lost: latest.map(|latest| latest.time),
        })
    }
}
