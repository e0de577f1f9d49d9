//! The UDP header.
//!
//! Read first: RFC 768.

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IpError;

/// UDP header.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct UdpHeader {
    /// Source port.
    pub source_port: U16,
    /// Destination port.
    pub destination_port: U16,
    /// Octets of header and payload.
    pub length: U16,
    /// Checksum; 0 says that there is none.
    pub checksum: U16,
}

const _: () = assert!(size_of::<UdpHeader>() == UdpHeader::LEN);

impl UdpHeader {
    /// Octets on the wire.
    pub const LEN: usize = 8;

    /// A header without checksum in front of `payload_len` octets; `None` where the datagram would
    /// have more than 65535 octets.
    #[must_use]
    pub fn new(source_port: u16, destination_port: u16, payload_len: usize) -> Option<Self> {
        let length = payload_len.checked_add(Self::LEN)?;
        Some(Self {
            source_port: U16::new(source_port),
            destination_port: U16::new(destination_port),
            length: U16::new(u16::try_from(length).ok()?),
            checksum: U16::ZERO,
        })
    }

    /// The header at the start of `bytes` and the datagram's payload by its own length.
    ///
    /// # Errors
    /// [`IpError::Truncated`], [`IpError::Length`].
    pub fn parse(bytes: &[u8]) -> Result<(&Self, &[u8]), IpError> {
        let (header, rest) = Self::ref_from_prefix(bytes).map_err(|_| IpError::Truncated)?;
        let payload_len =
            usize::from(header.length.get()).checked_sub(Self::LEN).ok_or(IpError::Length)?;
        Ok((header, rest.get(..payload_len).ok_or(IpError::Truncated)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn udp_header_field_by_field() {
        let octets = [0x1e, 0xc0, 0x30, 0x39, 0, 10, 0xbe, 0xef, b'a', b'b', b'c'];
        let (header, payload) = UdpHeader::parse(&octets).unwrap();
        assert_eq!((header.source_port.get(), header.destination_port.get()), (7872, 12345));
        assert_eq!((header.checksum.get(), payload), (0xbeef, &b"ab"[..]));
        assert_eq!(UdpHeader::new(7872, 12345, 2).unwrap().as_bytes()[..6], octets[..6]);
        assert_eq!(UdpHeader::parse(&octets[..9]), Err(IpError::Truncated));
        assert_eq!(UdpHeader::parse(&[0, 1, 0, 2, 0, 7, 0, 0, 0]), Err(IpError::Length));
    }

    #[test]
    fn a_datagram_has_65535_octets_at_most() {
        assert!(UdpHeader::new(1, 2, 65527).is_some());
        assert!(UdpHeader::new(1, 2, 65528).is_none());
        assert!(UdpHeader::new(1, 2, usize::MAX).is_none());
    }

    proptest! {
        #[test]
        fn parse_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = UdpHeader::parse(&bytes);
        }
    }
}
