//! The IPv6 header.
//!
//! Read first: RFC 8200 s.3; RFC 2474 s.3.

use core::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IpError;

/// IPv6 header.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |Version| Traffic Class |           Flow Label                  |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |         Payload Length        |  Next Header  |   Hop Limit   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// :                  Source Address (16 octets)                   :
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// :                Destination Address (16 octets)                :
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Ipv6Header {
    /// 6, traffic class and flow label.
    version_class_flow: U32,
    /// Octets behind this header.
    pub payload_len: U16,
    /// Type of the header behind this one.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

const _: () = assert!(size_of::<Ipv6Header>() == Ipv6Header::LEN);

impl Ipv6Header {
    /// Octets on the wire.
    pub const LEN: usize = 40;

    /// A header in front of `payload_len` octets; `None` where these are more than 65535.
    #[must_use]
    pub fn new(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_header: u8,
        hop_limit: u8,
        payload_len: usize,
    ) -> Option<Self> {
        Some(Self {
            version_class_flow: U32::new(6 << 28),
            payload_len: U16::new(u16::try_from(payload_len).ok()?),
            next_header,
            hop_limit,
            source: source.octets(),
            destination: destination.octets(),
        })
    }

    /// The header at the start of `bytes` and its packet's payload. Octets behind the packet's own
    /// length are left out (R-22).
    ///
    /// # Errors
    /// [`IpError::Version`], [`IpError::Truncated`].
    pub fn parse(bytes: &[u8]) -> Result<(&Self, &[u8]), IpError> {
        let (header, rest) = Self::ref_from_prefix(bytes).map_err(|_| IpError::Truncated)?;
        if header.version_class_flow.get() >> 28 != 6 {
            return Err(IpError::Version);
        }
        let payload = rest.get(..usize::from(header.payload_len.get()));
        Ok((header, payload.ok_or(IpError::Truncated)?))
    }

    /// The source address.
    #[must_use]
    pub const fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.source)
    }

    /// The destination address.
    #[must_use]
    pub const fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.destination)
    }

    /// DSCP and ECN.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "8 of the 32 bits")]
    pub const fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// Sets DSCP and ECN.
    #[inline]
    pub const fn set_traffic_class(&mut self, traffic_class: u8) {
        let others = self.version_class_flow.get() & 0xf00f_ffff;
        self.version_class_flow = U32::new(others | (traffic_class as u32) << 20);
    }

    /// The 20 bits of the flow label.
    #[must_use]
    pub const fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & 0x000f_ffff
    }

    /// Takes one off the hop limit. `false`, and nothing changed, where it is 0 or 1: the packet
    /// must not be forwarded.
    #[inline]
    #[must_use]
    pub const fn decrement_hop_limit(&mut self) -> bool {
        if self.hop_limit <= 1 {
            return false;
        }
        self.hop_limit -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ipv6_header_field_by_field() {
        let source = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        let destination = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
        let mut octets = vec![0x6a, 0xb1, 0x23, 0x45, 0, 3, 17, 64];
        octets.extend_from_slice(&source.octets());
        octets.extend_from_slice(&destination.octets());
        octets.extend_from_slice(b"abcpadding");
        let (header, payload) = Ipv6Header::parse(&octets).unwrap();
        assert_eq!((header.source(), header.destination()), (source, destination));
        assert_eq!((header.next_header, header.hop_limit), (17, 64));
        assert_eq!((header.traffic_class(), header.flow_label()), (0xab, 0x1_2345));
        assert_eq!(payload, b"abc");
        let mut made = Ipv6Header::new(source, destination, 17, 64, 3).unwrap();
        assert_eq!(made.as_bytes()[..8], [0x60, 0, 0, 0, 0, 3, 17, 64]);
        made.set_traffic_class(0xab);
        assert_eq!(made.as_bytes()[..4], [0x6a, 0xb0, 0, 0]);
        assert!(made.decrement_hop_limit());
        made.hop_limit = 1;
        assert!(!made.decrement_hop_limit());
        assert_eq!(made.hop_limit, 1);
        octets[0] = 0x45;
        assert_eq!(Ipv6Header::parse(&octets), Err(IpError::Version));
    }

    #[test]
    fn a_payload_has_65535_octets_at_most() {
        let address = Ipv6Addr::LOCALHOST;
        assert!(Ipv6Header::new(address, address, 17, 1, 65535).is_some());
        assert!(Ipv6Header::new(address, address, 17, 1, 65536).is_none());
    }

    proptest! {
        #[test]
        fn parse_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(first) = bytes.first_mut() {
                *first = 0x60;
            }
            let _ = Ipv6Header::parse(&bytes);
        }
    }
}
