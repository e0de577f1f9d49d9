//! Segments: the files of the log.
//!
//! ```text
//!  0          8        10       12        16     24           32      40       44      64
//! +----------+--------+--------+---------+------+------------+-------+--------+-------+--
//! | HEARTHLG | format | schema | 0       | id   | first turn | base  | CRC-32 | 0     | records
//! +----------+--------+--------+---------+------+------------+-------+--------+-------+--
//! ```
//!
//! The log is its segments in the order of their ids. Turns are numbered without a gap. A segment
//! whose `first turn` is not beyond the last one of those before it replaces their turns from that
//! number on: so one header ends what was damaged, or what a failing disk may not have taken.
//! Turns before `base` are no longer part of the log; the highest `base` counts.
//!
//! `format` is the version of this layout, `schema` that of the records' values.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::record::u64_at;

/// The version of the layout of segments and records.
pub(crate) const FORMAT: u16 = 1;
pub(crate) const HEADER: usize = 64;
const MAGIC: &[u8; 8] = b"HEARTHLG";
const CRC_AT: usize = 40;
const SUFFIX: &str = ".log";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) schema: u16,
    pub(crate) id: u64,
    pub(crate) first_turn: u64,
    /// The turn with which the log begins.
    pub(crate) base: u64,
}

/// Why octets are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// The segment was made ahead and never used.
    Blank,
    /// Damaged, or never complete.
    Bad,
    /// Of a later format.
    Newer(u16),
}

impl Header {
    pub(crate) fn octets(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&FORMAT.to_le_bytes());
        out[10..12].copy_from_slice(&self.schema.to_le_bytes());
        out[16..24].copy_from_slice(&self.id.to_le_bytes());
        out[24..32].copy_from_slice(&self.first_turn.to_le_bytes());
        out[32..40].copy_from_slice(&self.base.to_le_bytes());
        let crc = crc32fast::hash(&out[..CRC_AT]);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn read(octets: &[u8]) -> Result<Self, NoHeader> {
        let Some(head) = octets.first_chunk::<HEADER>() else {
            let blank = octets.iter().all(|octet| *octet == 0);
            return Err(if blank { NoHeader::Blank } else { NoHeader::Bad });
        };
        if *head == [0; HEADER] {
            return Err(NoHeader::Blank);
        }
        let crc = crc32fast::hash(&head[..CRC_AT]).to_le_bytes();
        if head[..8] != *MAGIC || head[CRC_AT..CRC_AT + 4] != crc {
            return Err(NoHeader::Bad);
        }
        match u16::from_le_bytes([head[8], head[9]]) {
            FORMAT => {}
            later @ FORMAT.. => return Err(NoHeader::Newer(later)),
            _ => return Err(NoHeader::Bad),
        }
        let field = |at| u64_at(head, at).ok_or(NoHeader::Bad);
        Ok(Self {
            schema: u16::from_le_bytes([head[10], head[11]]),
            id: field(16)?,
            first_turn: field(24)?,
            base: field(32)?,
        })
    }
}

/// The file of segment `id`.
pub(crate) fn path(folder: &Path, id: u64) -> PathBuf {
    folder.join(format!("{id:012}{SUFFIX}"))
}

/// The id in a segment's name; `None` for another file.
pub(crate) fn id(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX)?.parse().ok()
}

/// Makes the file of segment `id` with room for `octets`, so that a write finds its place and a
/// sync has no size to record. A file system that can't do that ahead is used without.
///
/// # Errors
/// The file can't be made, or there is no room: then there is no file either.
pub(crate) fn make(folder: &Path, id: u64, octets: u64) -> io::Result<File> {
    let path = path(folder, id);
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, octets) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(file),
        Err(errno) => {
            drop(file);
            std::fs::remove_file(&path)?;
            Err(errno.into())
        }
    }
}

/// Writes the header: the segment becomes part of the log.
pub(crate) fn begin(file: &File, header: Header) -> io::Result<()> {
    file.write_all_at(&header.octets(), 0)
}

/// Makes names that came or went durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, HEADER, Header, NoHeader, id, path};

    #[test]
    fn headers_are_read_as_they_were_written_and_damage_is_seen() {
        let header = Header { schema: 3, id: 5, first_turn: 77, base: 2 };
        let good = header.octets();
        assert_eq!(Header::read(&good), Ok(header));
        for at in 0..44 {
            let mut bad = good;
            bad[at] ^= 4;
            assert_eq!(Header::read(&bad), Err(NoHeader::Bad), "octet {at}");
        }
        assert_eq!(Header::read(&good[..HEADER - 1]), Err(NoHeader::Bad));
        assert_eq!(Header::read(&[0; 100]), Err(NoHeader::Blank));
        assert_eq!(Header::read(&[]), Err(NoHeader::Blank));
    }

    #[test]
    fn a_later_format_is_named() {
        let mut octets = Header { schema: 1, id: 1, first_turn: 1, base: 1 }.octets();
        octets[8..10].copy_from_slice(&(FORMAT + 1).to_le_bytes());
        let crc = crc32fast::hash(&octets[..40]);
        octets[40..44].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::read(&octets), Err(NoHeader::Newer(FORMAT + 1)));
    }

    #[test]
    fn names_carry_the_id() {
        let path = path(std::path::Path::new("/f"), 42);
        assert_eq!(path.to_str(), Some("/f/000000000042.log"));
        assert_eq!(id("000000000042.log"), Some(42));
        assert_eq!(id("lock"), None);
    }
}
