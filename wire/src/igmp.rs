//! Internet Group Management Protocol.
//!
//! Read first: RFC 2236 s.2; RFC 3376 s.4, 7.1.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Type      | Max Resp Code |           Checksum            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         Group Address                         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Resv  |S| QRV |     QQIC      |     Number of Sources (N)     |  query, version 3
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                         Source Addresses                      :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::Ipv4Addr;

use crate::group::{GroupRecords, SourceQuery};
use crate::ip;
use crate::mh::writer::Writer;

/// Protocol number of IGMP.
pub const PROTO: u8 = 2;

/// Types that are named in code.
pub mod igmp_type {
    /// Membership Query.
    pub const QUERY: u8 = 0x11;
    /// Membership Report of version 1.
    pub const REPORT_V1: u8 = 0x12;
    /// Membership Report of version 2.
    pub const REPORT_V2: u8 = 0x16;
    /// Leave Group.
    pub const LEAVE: u8 = 0x17;
    /// Membership Report of version 3.
    pub const REPORT_V3: u8 = 0x22;
}

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IgmpError {
    /// Fewer octets than the type has.
    Truncated,
    /// Checksum wrong.
    Checksum,
    /// A type that is not here: ignored (RFC 3376 s.4).
    UnknownType(u8),
}

/// An IGMP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Membership Query of any version.
    Query(Query<'a>),
    /// Membership Report of version 1.
    ReportV1(Ipv4Addr),
    /// Membership Report of version 2.
    ReportV2(Ipv4Addr),
    /// Leave Group.
    Leave(Ipv4Addr),
    /// Membership Report of version 3.
    ReportV3(GroupRecords<'a, Ipv4Addr>),
}

/// Membership Query. 8 octets are version 1 with a Max Resp Code of 0 and version 2 with another,
/// 12 and more are version 3 (RFC 3376 s.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// Max Resp Code in tenths of a second; in version 3 see [`crate::group::code_value`].
    pub max_response_code: u8,
    /// The group, or 0.0.0.0 for all.
    pub group: Ipv4Addr,
    /// The fields of version 3.
    pub v3: Option<SourceQuery<'a, Ipv4Addr>>,
}

/// Parses and checks an IGMP message, which is all of `octets`.
///
/// # Errors
/// [`IgmpError`].
pub fn parse(octets: &[u8]) -> Result<Message<'_>, IgmpError> {
    let (fixed, rest) = octets.split_first_chunk::<8>().ok_or(IgmpError::Truncated)?;
    if ip::checksum(octets) != 0 {
        return Err(IgmpError::Checksum);
    }
    let [message_type, max_response_code, _, _, a, b, c, d] = *fixed;
    let group = Ipv4Addr::new(a, b, c, d);
    match message_type {
        igmp_type::QUERY => {
            let v3 = if rest.is_empty() {
                None
            } else {
                Some(SourceQuery::parse(rest).ok_or(IgmpError::Truncated)?)
            };
            Ok(Message::Query(Query { max_response_code, group, v3 }))
        }
        igmp_type::REPORT_V1 => Ok(Message::ReportV1(group)),
        igmp_type::REPORT_V2 => Ok(Message::ReportV2(group)),
        igmp_type::LEAVE => Ok(Message::Leave(group)),
        igmp_type::REPORT_V3 => GroupRecords::parse(rest, u16::from_be_bytes([c, d]))
            .map(Message::ReportV3)
            .ok_or(IgmpError::Truncated),
        other => Err(IgmpError::UnknownType(other)),
    }
}

/// Writes `message` with its checksum at the start of `out`; the octets written. `None` where `out`
/// is too small.
#[must_use]
pub fn emit(message: &Message<'_>, out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(out);
    let mut group = |message_type, group: Ipv4Addr| {
        writer.put(&[message_type, 0, 0, 0])?;
        writer.put(&group.octets())
    };
    match message {
        Message::ReportV1(address) => group(igmp_type::REPORT_V1, *address)?,
        Message::ReportV2(address) => group(igmp_type::REPORT_V2, *address)?,
        Message::Leave(address) => group(igmp_type::LEAVE, *address)?,
        Message::Query(query) => {
            writer.put(&[igmp_type::QUERY, query.max_response_code, 0, 0])?;
            writer.put(&query.group.octets())?;
            if let Some(v3) = query.v3 {
                v3.emit(&mut writer)?;
            }
        }
        Message::ReportV3(records) => {
            writer.put(&[igmp_type::REPORT_V3, 0, 0, 0])?;
            records.emit(&mut writer)?;
        }
    }
    let len = writer.len();
    let sum = ip::checksum(out.get(..len)?);
    out.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    Some(len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::addresses::Addresses;
    use crate::group::{GroupRecord, RecordType, code_value};

    const GROUP: Ipv4Addr = Ipv4Addr::new(232, 1, 2, 3);

    #[test]
    fn messages_of_other_versions_and_lengths() {
        let mut query = [0x11, 0, 0, 0, 0, 0, 0, 0, 2, 125, 0, 1];
        let sum = ip::checksum(&query);
        query[2..4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(parse(&query), Err(IgmpError::Truncated));
        assert_eq!(parse(&query[..7]), Err(IgmpError::Truncated));
        assert_eq!(parse(&[0x11; 8]), Err(IgmpError::Checksum));
        assert_eq!(parse(&[0x13, 0, 0xec, 0xff, 0, 0, 0, 0]), Err(IgmpError::UnknownType(0x13)));
    }

    #[test]
    fn codes() {
        // RFC 3376 s.4.1.1: (mant | 0x10) << (exp + 3)
        assert_eq!([0, 127, 128, 0x8f, 0xff].map(code_value), [0, 127, 128, 248, 31_744]);
    }

    proptest! {
        #[test]
        fn parse_never_panics(mut octets in prop::collection::vec(any::<u8>(), 0..80), kind in 0..3_u8) {
            let _ = parse(&octets);
            if let [message_type, _, high, low, _, _, _, records, ..] = &mut octets[..] {
                *message_type = [0x11, 0x22, 0x16][usize::from(kind)];
                *records %= 4;
                (*high, *low) = (0, 0);
                let sum = ip::checksum(&octets);
                octets[2..4].copy_from_slice(&sum.to_be_bytes());
                if let Ok(Message::ReportV3(records)) = parse(&octets) {
                    let _ = records.iter().count();
                }
            }
        }

        #[test]
        fn messages_survive_the_wire(
            code: u8, sources in prop::collection::vec(any::<Ipv4Addr>(), 0..20), suppress: bool,
            robustness in 0..8_u8, types in prop::collection::vec(any::<u8>(), 0..5),
        ) {
            let sources = Addresses::List(&sources);
            let records: Vec<_> = types
                .into_iter()
                .map(|t| GroupRecord { record_type: RecordType(t), group: GROUP, sources })
                .collect();
            let v3 = Some(SourceQuery { suppress, robustness, interval_code: code, sources });
            for message in [
                Message::Query(Query { max_response_code: code, group: GROUP, v3: None }),
                Message::Query(Query { max_response_code: code, group: GROUP, v3 }),
                Message::ReportV1(GROUP),
                Message::ReportV2(GROUP),
                Message::Leave(GROUP),
                Message::ReportV3(GroupRecords::List(&records)),
            ] {
                let mut out = [0; 1024];
                let len = emit(&message, &mut out).unwrap();
                prop_assert_eq!(parse(&out[..len]), Ok(message));
            }
        }
    }
}
