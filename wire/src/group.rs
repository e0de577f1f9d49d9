//! Group records, which Multicast Listener Discovery and IGMP share but for the size of an address.
//!
//! Read first: RFC 3810 s.5.2; RFC 3376 s.4.2.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Record Type  |  Aux Data Len |     Number of Sources (N)     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :       Multicast Address, Source Addresses, Auxiliary Data     :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::fmt;

use crate::addresses::{Address, Addresses};
use crate::mh::writer::Writer;

/// Record Type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordType(pub u8);

impl RecordType {
    /// Current state: only these sources.
    pub const IS_INCLUDE: Self = Self(1);
    /// Current state: all but these sources.
    pub const IS_EXCLUDE: Self = Self(2);
    /// From now on only these sources; none: the group is left.
    pub const TO_INCLUDE: Self = Self(3);
    /// From now on all but these sources.
    pub const TO_EXCLUDE: Self = Self(4);
    /// These sources as well.
    pub const ALLOW_NEW_SOURCES: Self = Self(5);
    /// No longer these sources.
    pub const BLOCK_OLD_SOURCES: Self = Self(6);
}

/// What a listener wants of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupRecord<'a, A: Address> {
    /// Record Type; unknown ones are to be ignored.
    pub record_type: RecordType,
    /// The group.
    pub group: A,
    /// Sources.
    pub sources: Addresses<'a, A>,
}

impl<'a, A: Address> GroupRecord<'a, A> {
    /// Splits one record off `octets`; auxiliary data is skipped.
    fn split(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([record_type, auxiliary, a, b], rest) = octets.split_first_chunk()?;
        let ([group], rest) = A::split(rest, 1)? else { return None };
        let (sources, rest) = A::split(rest, usize::from(u16::from_be_bytes([*a, *b])))?;
        let rest = rest.get(usize::from(*auxiliary) * 4..)?;
        let record = Self {
            record_type: RecordType(*record_type),
            group: A::from_wire(*group),
            sources: Addresses::Wire(sources),
        };
        Some((record, rest))
    }

    fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.put(&[self.record_type.0, 0])?;
        writer.put(&u16::try_from(self.sources.len()).ok()?.to_be_bytes())?;
        writer.put(self.group.to_wire().as_ref())?;
        self.sources.iter().try_for_each(|source| writer.put(source.to_wire().as_ref()))
    }
}

/// Group records, as they stand in a message that was received or as values to be sent.
#[derive(Clone, Copy)]
pub enum GroupRecords<'a, A: Address> {
    /// As on the wire. The records were walked once, so that each is whole.
    Wire(&'a [u8]),
    /// Values.
    List(&'a [GroupRecord<'a, A>]),
}

impl<'a, A: Address> GroupRecords<'a, A> {
    /// `count` records at the start of `octets`; `None` where there are fewer. What follows them is
    /// not looked at (RFC 3810 s.5.2.11, RFC 3376 s.4.2.11).
    pub(crate) fn parse(octets: &'a [u8], count: u16) -> Option<Self> {
        let mut rest = octets;
        for _ in 0..count {
            rest = GroupRecord::<A>::split(rest)?.1;
        }
        octets.get(..octets.len() - rest.len()).map(Self::Wire)
    }

    /// The records in their order.
    pub fn iter(self) -> impl Iterator<Item = GroupRecord<'a, A>> + use<'a, A> {
        let (mut wire, list): (&[u8], &[GroupRecord<'a, A>]) = match self {
            Self::Wire(records) => (records, &[]),
            Self::List(records) => (&[], records),
        };
        core::iter::from_fn(move || {
            let (record, rest) = GroupRecord::split(wire)?;
            wire = rest;
            Some(record)
        })
        .chain(list.iter().copied())
    }

    /// Writes two reserved octets, the number of records and the records.
    pub(crate) fn emit(self, writer: &mut Writer<'_>) -> Option<()> {
        writer.put(&[0, 0])?;
        writer.put(&u16::try_from(self.iter().count()).ok()?.to_be_bytes())?;
        self.iter().try_for_each(|record| record.emit(writer))
    }
}

impl<A: Address> PartialEq for GroupRecords<'_, A> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<A: Address> Eq for GroupRecords<'_, A> {}

impl<A: Address> fmt::Debug for GroupRecords<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// What a query of MLDv2 or IGMPv3 says more than one of the versions before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceQuery<'a, A: Address> {
    /// S: routers do not update their timers by it.
    pub suppress: bool,
    /// Querier's Robustness Variable, 0 to 7.
    pub robustness: u8,
    /// Querier's Query Interval Code: see [`code_value`], in seconds.
    pub interval_code: u8,
    /// Sources that are asked for.
    pub sources: Addresses<'a, A>,
}

const SUPPRESS: u8 = 0x08;
const ROBUSTNESS: u8 = 0x07;

impl<'a, A: Address> SourceQuery<'a, A> {
    /// Reads what stands behind the group; `None` where it is cut off.
    pub(crate) fn parse(octets: &'a [u8]) -> Option<Self> {
        let ([flags, interval_code, a, b], rest) = octets.split_first_chunk()?;
        let (sources, _) = A::split(rest, usize::from(u16::from_be_bytes([*a, *b])))?;
        Some(Self {
            suppress: flags & SUPPRESS != 0,
            robustness: flags & ROBUSTNESS,
            interval_code: *interval_code,
            sources: Addresses::Wire(sources),
        })
    }

    pub(crate) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        if self.robustness > ROBUSTNESS {
            return None;
        }
        let flags = self.robustness | if self.suppress { SUPPRESS } else { 0 };
        writer.put(&[flags, self.interval_code])?;
        writer.put(&u16::try_from(self.sources.len()).ok()?.to_be_bytes())?;
        self.sources.iter().try_for_each(|source| writer.put(source.to_wire().as_ref()))
    }
}

/// The value of an 8-bit code, QQIC or the Max Resp Code of IGMPv3: plain below 128, with three bits
/// of exponent and four of mantissa above (RFC 3376 s.4.1.1, 4.1.7; RFC 3810 s.5.1.9).
#[must_use]
pub const fn code_value(code: u8) -> u32 {
    if code < 0x80 { code as u32 } else { (code as u32 & 0x0f | 0x10) << ((code >> 4 & 0x07) + 3) }
}
