//! Binding Identifier option.
//!
//! Read first: RFC 5648 s.4.3, 4.4; RFC 6089 s.4.1.
//!
//! ```text
//!                                 +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!                                 |   Type = 35   |Length 4, 8, 20|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Binding ID (BID)        |     Status    |H|   BID-PRI   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :            IPv4 or IPv6 care-of address (CoA), or nothing     :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Status;
use super::option::option_type;
use super::repeated::{RepeatedOption, sealed};
use super::writer::Writer;

/// H, in front of seven bits of BID-PRI.
const HOME: u8 = 0x80;

/// One care-of address of several, or the mobile node's word on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bid {
    /// Binding ID; 0 is reserved and should not be used.
    pub id: u16,
    /// In a Binding Acknowledgement the status of this binding; 0 where the message's own counts.
    /// Elsewhere ignored.
    pub status: Status,
    /// H: bindings at home and abroad at the same time.
    pub home: bool,
    /// BID-PRI, 0 to 127: the lower, the earlier used (RFC 6089 s.4.1). Its 0 is reserved, and is
    /// what a sender of RFC 5648 alone writes there.
    pub priority: u8,
    /// Care-of address; only in a Binding Update.
    pub care_of: Option<IpAddr>,
}

/// A Binding Identifier option whose length is none of 4, 8 and 20: status 164 (MCA-01).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MalformedBid {
    /// Binding ID, where there is one.
    pub id: Option<u16>,
}

impl<'a> RepeatedOption<'a> for Bid {
    type Malformed = MalformedBid;

    const OPTION_TYPE: u8 = option_type::BINDING_IDENTIFIER;

    fn parse(data: &'a [u8]) -> Result<Self, MalformedBid> {
        let id = data.first_chunk().copied().map(u16::from_be_bytes);
        let malformed = MalformedBid { id };
        let (fixed, care_of) = data.split_first_chunk::<4>().ok_or(malformed)?;
        let care_of = if let Ok(v6) = <[u8; 16]>::try_from(care_of) {
            Some(IpAddr::V6(Ipv6Addr::from(v6)))
        } else if let Ok(v4) = <[u8; 4]>::try_from(care_of) {
            Some(IpAddr::V4(Ipv4Addr::from(v4)))
        } else if care_of.is_empty() {
            None
        } else {
            return Err(malformed);
        };
        let [a, b, status, flags] = *fixed;
        Ok(Self {
            id: u16::from_be_bytes([a, b]),
            status: Status(status),
            home: flags & HOME != 0,
            priority: flags & !HOME,
            care_of,
        })
    }
}

impl sealed::Emit for Bid {
    fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        if self.priority >= HOME {
            return None;
        }
        let [a, b] = self.id.to_be_bytes();
        let flags = self.priority | if self.home { HOME } else { 0 };
        let fixed = [a, b, self.status.0, flags];
        let mut option = |modulus, offset, len, care_of: &[u8]| {
            writer.align(modulus, offset)?;
            writer.put(&[option_type::BINDING_IDENTIFIER, len])?;
            writer.put(&fixed)?;
            writer.put(care_of)
        };
        match self.care_of {
            None => option(2, 0, 4, &[]),
            Some(IpAddr::V4(address)) => option(8, 2, 8, &address.octets()),
            Some(IpAddr::V6(address)) => option(8, 2, 20, &address.octets()),
        }
    }
}
