//! Records on disk.
//!
//! ```text
//!  0       2      3      4        8
//! +-------+------+------+--------+-----+-------+
//! | value | kind | key  | CRC-32 | key | value |     numbers are little endian
//! | octets|      |octets|        |     |       |
//! +-------+------+------+--------+-----+-------+
//! ```
//!
//! The CRC covers everything but itself. The highest bit of `kind` says that the record deletes its
//! key. A turn ends with a record of kind 0x7f: what stands behind the last one was never
//! acknowledged and does not count.

use std::fmt;

use crate::buffer::SecretBuffer;

/// The longest key, in octets.
pub const KEY_MAX: usize = 23;
/// The longest value, in octets.
pub const VALUE_MAX: usize = u16::MAX as usize;

pub(crate) const HEAD: usize = 8;
const DELETE: u8 = 0x80;
const TURN: u8 = 0x7f;
const TURN_VALUE: u8 = 32;
/// Octets of the record that ends a turn.
pub(crate) const TURN_LEN: usize = HEAD + TURN_VALUE as usize;
/// How every record that ends a turn begins.
pub(crate) const TURN_MARK: [u8; 4] = [TURN_VALUE, 0, TURN, 0];

/// What a record is about. Keys are unique within a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A security association, by SPI and generation (R-51: an SPI may come back).
    Sa = 1,
    /// A binding, by home address.
    Binding = 2,
    /// Outbound sequence numbers that an SA may use, by SPI and generation (R-23).
    Grant = 3,
    /// How far the inbound numbers of an SA have come, by SPI and generation (R-23).
    Inbound = 4,
    /// What the home agent knows of itself, by name. (Number 5 was never written, and stays free.)
    HomeAgent = 6,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Sa, Self::Binding, Self::Grant, Self::Inbound, Self::HomeAgent];

    /// The highest number.
    pub(crate) const HIGHEST: usize = Self::HomeAgent as usize;

    pub(crate) fn from_octet(octet: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == octet)
    }
}

/// A live record that is read back. The value may hold keys: `Debug` shows its length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is about.
    pub kind: Kind,
    /// Its key.
    pub key: &'a [u8],
    /// Its value, in the present schema.
    pub value: &'a [u8],
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("kind", &self.kind)
            .field("key", &self.key)
            .field("value", &format_args!("{} octets", self.value.len()))
            .finish()
    }
}

/// The record that ends a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Its number: the one of the turn before, and 1.
    pub(crate) number: u64,
    /// The last turn that was known to be durable when this one was written.
    pub(crate) durable: u64,
    /// The time of the turn, Unix ms.
    pub(crate) time: u64,
    /// Records since the store was made, this turn's included.
    pub(crate) records: u64,
}

/// One record as it stands in the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    Put(Record<'a>),
    Delete(Kind, &'a [u8]),
    Turn(Turn),
}

/// Why no record could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoEntry {
    /// Nothing was written here: zeros, or the end of the file.
    Blank,
    /// Cut off, or not what was written.
    Bad,
}

fn frame(out: &mut SecretBuffer, kind: u8, key: &[u8], value: &[u8]) {
    // The lengths were checked by `put`.
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes();
    let head = [length[0], length[1], kind, u8::try_from(key.len()).unwrap_or(u8::MAX)];
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head);
    crc.update(key);
    crc.update(value);
    out.extend(&head);
    out.extend(&crc.finalize().to_le_bytes());
    out.extend(key);
    out.extend(value);
}

/// Whether the fields hold a record of this size.
pub(crate) fn fits(key: &[u8], value: &[u8]) -> bool {
    (1..=KEY_MAX).contains(&key.len()) && value.len() <= VALUE_MAX
}

pub(crate) fn put(out: &mut SecretBuffer, kind: Kind, key: &[u8], value: &[u8]) {
    frame(out, kind as u8, key, value);
}

pub(crate) fn delete(out: &mut SecretBuffer, kind: Kind, key: &[u8]) {
    frame(out, kind as u8 | DELETE, key, &[]);
}

pub(crate) fn turn(out: &mut SecretBuffer, turn: Turn) {
    let mut value = [0; TURN_VALUE as usize];
    for (field, number) in
        value.chunks_exact_mut(8).zip([turn.number, turn.durable, turn.time, turn.records])
    {
        field.copy_from_slice(&number.to_le_bytes());
    }
    frame(out, TURN, &[], &value);
}

/// The little-endian number at `at`.
pub(crate) fn u64_at(octets: &[u8], at: usize) -> Option<u64> {
    octets.get(at..)?.first_chunk().map(|field| u64::from_le_bytes(*field))
}

/// Reads the record at the start of `octets`, and how many of them it takes.
pub(crate) fn read(octets: &[u8]) -> Result<(Entry<'_>, usize), NoEntry> {
    let Some((head, rest)) = octets.split_first_chunk::<HEAD>() else {
        return Err(if octets.iter().all(|o| *o == 0) { NoEntry::Blank } else { NoEntry::Bad });
    };
    if *head == [0; HEAD] {
        return Err(NoEntry::Blank);
    }
    let [low, high, kind, key_len, crc @ ..] = *head;
    let key_len = usize::from(key_len);
    let length = key_len + usize::from(u16::from_le_bytes([low, high]));
    let body = rest.get(..length).ok_or(NoEntry::Bad)?;
    let mut seen = crc32fast::Hasher::new();
    seen.update(&head[..4]);
    seen.update(body);
    if seen.finalize() != u32::from_le_bytes(crc) {
        return Err(NoEntry::Bad);
    }
    let (key, value) = body.split_at(key_len);
    let entry = if head[..4] == TURN_MARK {
        let field = |n: usize| u64_at(value, 8 * n).ok_or(NoEntry::Bad);
        let (number, durable, time, records) = (field(0)?, field(1)?, field(2)?, field(3)?);
        Entry::Turn(Turn { number, durable, time, records })
    } else {
        let known = Kind::from_octet(kind & !DELETE).ok_or(NoEntry::Bad)?;
        if !fits(key, value) {
            return Err(NoEntry::Bad);
        }
        if kind & DELETE == 0 {
            Entry::Put(Record { kind: known, key, value })
        } else {
            Entry::Delete(known, key)
        }
    };
    Ok((entry, HEAD + length))
}

#[cfg(test)]
mod tests {
    use super::{Entry, HEAD, Kind, NoEntry, Record, TURN_LEN, Turn, delete, put, read, turn};
    use crate::buffer::SecretBuffer;

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut out = SecretBuffer::default();
        let end = Turn { number: 7, durable: 5, time: 1_700_000_000_000, records: 3 };
        put(&mut out, Kind::Binding, b"key", b"value");
        delete(&mut out, Kind::Sa, b"gone");
        turn(&mut out, end);
        let octets = out.as_slice();
        let (first, taken) = read(octets).unwrap();
        assert!(first == Entry::Put(Record { kind: Kind::Binding, key: b"key", value: b"value" }));
        let octets = &octets[taken..];
        let (second, taken) = read(octets).unwrap();
        assert!(second == Entry::Delete(Kind::Sa, b"gone"));
        let octets = &octets[taken..];
        assert_eq!(octets.len(), TURN_LEN);
        assert!(read(octets).unwrap() == (Entry::Turn(end), TURN_LEN));
    }

    #[test]
    fn every_changed_or_missing_octet_is_seen() {
        let mut out = SecretBuffer::default();
        put(&mut out, Kind::Grant, b"12345678", b"\x01\x02");
        let good = out.as_slice();
        for at in 0..good.len() {
            assert!(read(&good[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bad = good.to_vec();
                bad[at] ^= 1 << bit;
                assert!(read(&bad).is_err(), "bit {bit} of octet {at}");
            }
        }
    }

    #[test]
    fn zeros_and_the_end_are_blank() {
        assert!(read(&[]) == Err(NoEntry::Blank));
        assert!(read(&[0; 3]) == Err(NoEntry::Blank));
        assert!(read(&[0; HEAD + 50]) == Err(NoEntry::Blank));
        assert!(read(&[0, 0, 1]) == Err(NoEntry::Bad));
    }

    #[test]
    fn a_value_is_no_ones_to_see() {
        let record = Record { kind: Kind::Sa, key: b"k", value: b"hunter2" };
        let shown = format!("{record:?}");
        assert!(shown.contains("7 octets") && !shown.contains("104"), "{shown}");
    }
}
