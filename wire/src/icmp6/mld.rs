//! Multicast Listener Discovery.
//!
//! Read first: RFC 2710 s.3; RFC 3810 s.5, 8.1.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Maximum Response Code     |           Reserved            |  130 to 132
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                  Multicast Address (16 octets)                :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Resv  |S| QRV |     QQIC      |     Number of Sources (N)     |  130, version 2
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                         Source Addresses                      :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! The hop limit of 1, the Router Alert option and the source address are the caller's to check: a
//! mobile node's messages come out of its tunnel.

use core::net::Ipv6Addr;

use super::IcmpError;
use crate::group::SourceQuery;
use crate::mh::writer::Writer;

/// Multicast Listener Query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerQuery<'a> {
    /// Maximum Response Code: see [`Self::max_response_ms`].
    pub max_response_code: u16,
    /// The group, or `::` for all.
    pub group: Ipv6Addr,
    /// The fields of version 2; none in version 1.
    pub v2: Option<SourceQuery<'a, Ipv6Addr>>,
}

impl<'a> ListenerQuery<'a> {
    /// RFC 3810 s.8.1: 24 octets are version 1, 28 and more version 2, others are dropped.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, IcmpError> {
        let ([a, b, _, _], rest) = body.split_first_chunk().ok_or(IcmpError::Truncated)?;
        let (group, rest) = rest.split_first_chunk::<16>().ok_or(IcmpError::Truncated)?;
        let v2 = if rest.is_empty() {
            None
        } else {
            Some(SourceQuery::parse(rest).ok_or(IcmpError::Truncated)?)
        };
        Ok(Self {
            max_response_code: u16::from_be_bytes([*a, *b]),
            group: Ipv6Addr::from_octets(*group),
            v2,
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.put(&self.max_response_code.to_be_bytes())?;
        writer.put(&[0, 0])?;
        writer.put(&self.group.octets())?;
        self.v2.as_ref().map_or(Some(()), |v2| v2.emit(writer))
    }

    /// Maximum Response Delay in milliseconds: plain in version 1, in version 2 from 32768 on with
    /// three bits of exponent and twelve of mantissa (RFC 3810 s.5.1.3).
    #[must_use]
    pub const fn max_response_ms(&self) -> u32 {
        let code = self.max_response_code as u32;
        if self.v2.is_none() || code < 0x8000 {
            code
        } else {
            (code & 0x0fff | 0x1000) << ((code >> 12 & 0x07) + 3)
        }
    }
}

/// Group of a report or done of version 1.
pub(super) fn parse_group(body: &[u8]) -> Result<Ipv6Addr, IcmpError> {
    let ([_, _, _, _], rest) = body.split_first_chunk().ok_or(IcmpError::Truncated)?;
    let (group, _) = rest.split_first_chunk::<16>().ok_or(IcmpError::Truncated)?;
    Ok(Ipv6Addr::from_octets(*group))
}

pub(super) fn emit_group(group: Ipv6Addr, writer: &mut Writer<'_>) -> Option<()> {
    writer.put(&[0; 4])?;
    writer.put(&group.octets())
}
