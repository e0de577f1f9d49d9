//! Mobile Network Prefix option.
//!
//! Read first: RFC 3963 s.4.3.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Type = 6    |  Length = 18  |   Reserved    | Prefix Length |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                Mobile Network Prefix (16 octets)              :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::Ipv6Addr;

use super::option::option_type;
use super::repeated::{RepeatedOption, sealed};
use super::writer::Writer;

/// A prefix that a mobile router asks to be forwarded to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MobileNetworkPrefix {
    /// The prefix as it was sent: bits behind `len` are the sender's.
    pub prefix: Ipv6Addr,
    /// Prefix length, 0 to 128.
    pub len: u8,
}

/// A Mobile Network Prefix option of a wrong length, or with a prefix length above 128: status 141
/// (NEM-12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MalformedPrefix;

impl<'a> RepeatedOption<'a> for MobileNetworkPrefix {
    type Malformed = MalformedPrefix;

    const OPTION_TYPE: u8 = option_type::MOBILE_NETWORK_PREFIX;

    fn parse(data: &'a [u8]) -> Result<Self, MalformedPrefix> {
        let [_, len, prefix @ ..] = *<&[u8; 18]>::try_from(data).map_err(|_| MalformedPrefix)?;
        if len > 128 {
            return Err(MalformedPrefix);
        }
        Ok(Self { prefix: prefix.into(), len })
    }
}

impl sealed::Emit for MobileNetworkPrefix {
    fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        if self.len > 128 {
            return None;
        }
        writer.align(8, 4)?;
        writer.put(&[option_type::MOBILE_NETWORK_PREFIX, 18, 0, self.len])?;
        writer.put(&self.prefix.octets())
    }
}
