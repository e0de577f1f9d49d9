//! The IPv4 header.
//!
//! Read first: RFC 791 s.3.1; RFC 2474 s.3; RFC 1624.

use core::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IpError;
use super::checksum::{checksum, updated};

/// IPv4 header without its options.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |Version|  IHL  |Type of Service|          Total Length         |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |         Identification        |Flags|      Fragment Offset    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Time to Live |    Protocol   |         Header Checksum       |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                       Source Address                          |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                    Destination Address                        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Ipv4Header {
    /// 4, and the header's length in units of 4 octets.
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Octets of header and payload.
    pub total_len: U16,
    /// Identification.
    pub identification: U16,
    /// `|0|DF|MF| Fragment Offset |`
    pub flags_fragment: U16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub proto: u8,
    /// Header checksum.
    pub checksum: U16,
    source: [u8; 4],
    destination: [u8; 4],
}

const _: () = assert!(size_of::<Ipv4Header>() == Ipv4Header::LEN);

impl Ipv4Header {
    /// Octets without options.
    pub const LEN: usize = 20;
    /// Don't Fragment, in `flags_fragment`.
    pub const DONT_FRAGMENT: u16 = 0x4000;
    /// More Fragments, in `flags_fragment`.
    pub const MORE_FRAGMENTS: u16 = 0x2000;
    /// Fragment Offset, in `flags_fragment`.
    pub const FRAGMENT_OFFSET: u16 = 0x1fff;

    /// A header without options in front of `payload_len` octets, DF clear, checksum included;
    /// `None` where the packet would have more than 65535 octets.
    #[must_use]
    pub fn new(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        proto: u8,
        ttl: u8,
        payload_len: usize,
    ) -> Option<Self> {
        let total_len = payload_len.checked_add(Self::LEN)?;
        let mut header = Self {
            version_ihl: 0x45,
            traffic_class: 0,
            total_len: U16::new(u16::try_from(total_len).ok()?),
            identification: U16::ZERO,
            flags_fragment: U16::ZERO,
            ttl,
            proto,
            checksum: U16::ZERO,
            source: source.octets(),
            destination: destination.octets(),
        };
        header.checksum = U16::new(checksum(header.as_bytes()));
        Some(header)
    }

    /// The header at the start of `bytes` and its packet's payload. Octets behind the packet's own
    /// length are left out (R-22).
    ///
    /// # Errors
    /// [`IpError`].
    pub fn parse(bytes: &[u8]) -> Result<(&Self, &[u8]), IpError> {
        let (header, _) = Self::ref_from_prefix(bytes).map_err(|_| IpError::Truncated)?;
        if header.version_ihl >> 4 != 4 {
            return Err(IpError::Version);
        }
        let (header_len, total_len) = (header.header_len(), usize::from(header.total_len.get()));
        if header_len < Self::LEN || total_len < header_len {
            return Err(IpError::Length);
        }
        let packet = bytes.get(..total_len).ok_or(IpError::Truncated)?;
        let (with_options, payload) =
            packet.split_at_checked(header_len).ok_or(IpError::Truncated)?;
        if checksum(with_options) != 0 {
            return Err(IpError::Checksum);
        }
        Ok((header, payload))
    }

    /// Octets of the header with its options.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// The source address.
    #[must_use]
    pub const fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.source)
    }

    /// The destination address.
    #[must_use]
    pub const fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.destination)
    }

    /// Whether the packet must not be fragmented.
    #[must_use]
    pub const fn dont_fragment(&self) -> bool {
        self.flags_fragment.get() & Self::DONT_FRAGMENT != 0
    }

    /// Whether this is one fragment of a packet, the first or another.
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.flags_fragment.get() & (Self::MORE_FRAGMENTS | Self::FRAGMENT_OFFSET) != 0
    }

    /// Takes one off the TTL and brings the checksum along (RFC 1624). `false`, and nothing
    /// changed, where the TTL is 0 or 1: the packet must not be forwarded.
    #[inline]
    #[must_use]
    pub const fn decrement_ttl(&mut self) -> bool {
        if self.ttl <= 1 {
            return false;
        }
        let old = u16::from_be_bytes([self.ttl, self.proto]);
        self.ttl -= 1;
        let new = u16::from_be_bytes([self.ttl, self.proto]);
        self.checksum = U16::new(updated(self.checksum.get(), old, new));
        true
    }

    /// Sets DSCP and ECN and brings the checksum along (RFC 1624).
    #[inline]
    pub const fn set_traffic_class(&mut self, traffic_class: u8) {
        let old = u16::from_be_bytes([self.version_ihl, self.traffic_class]);
        self.traffic_class = traffic_class;
        let new = u16::from_be_bytes([self.version_ihl, self.traffic_class]);
        self.checksum = U16::new(updated(self.checksum.get(), old, new));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ip::PROTO_UDP;

    /// The header of a packet that was captured and whose checksum is known to be right.
    const IPV4: [u8; 20] = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00,
        0x01, 0xc0, 0xa8, 0x00, 0xc7,
    ];

    fn ipv4_packet() -> Vec<u8> {
        [&IPV4[..], &[0xaa; 0x73 - 20], b"padding"].concat()
    }

    #[test]
    fn ipv4_header_field_by_field() {
        let packet = ipv4_packet();
        let (header, payload) = Ipv4Header::parse(&packet).unwrap();
        assert_eq!(header.source(), Ipv4Addr::new(192, 168, 0, 1));
        assert_eq!(header.destination(), Ipv4Addr::new(192, 168, 0, 199));
        assert_eq!((header.proto, header.ttl, header.header_len()), (PROTO_UDP, 64, 20));
        assert!(header.dont_fragment() && !header.is_fragment());
        assert_eq!(payload, [0xaa; 0x73 - 20], "octets behind the packet are left out");
        let mut made =
            Ipv4Header::new(header.source(), header.destination(), 17, 64, payload.len()).unwrap();
        assert_eq!(checksum(made.as_bytes()), 0);
        made.flags_fragment = U16::new(Ipv4Header::DONT_FRAGMENT);
        made.checksum = U16::new(updated(made.checksum.get(), 0, Ipv4Header::DONT_FRAGMENT));
        assert_eq!(made.as_bytes(), IPV4);
    }

    #[test]
    fn ipv4_options_belong_to_the_header() {
        let mut packet = ipv4_packet();
        packet[0] = 0x46;
        packet.splice(20..20, [1, 1, 1, 0]);
        packet[2..4].copy_from_slice(&0x77_u16.to_be_bytes());
        packet[10..12].fill(0);
        let sum = checksum(&packet[..24]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        let (header, payload) = Ipv4Header::parse(&packet).unwrap();
        assert_eq!((header.header_len(), payload), (24, &[0xaa; 0x73 - 20][..]));
        packet[21] = 7;
        assert_eq!(Ipv4Header::parse(&packet), Err(IpError::Checksum));
    }

    #[test]
    fn broken_ipv4_is_refused() {
        let altered = |place: usize, value: u8| {
            let mut packet = ipv4_packet();
            packet[place] = value;
            Ipv4Header::parse(packet.leak()).map(|_| ())
        };
        assert_eq!(altered(0, 0x65), Err(IpError::Version));
        assert_eq!(altered(0, 0x44), Err(IpError::Length));
        assert_eq!(altered(3, 19), Err(IpError::Length));
        assert_eq!(altered(2, 0x01), Err(IpError::Truncated));
        assert_eq!(altered(8, 63), Err(IpError::Checksum));
        for len in 0..0x73 {
            assert_eq!(Ipv4Header::parse(&ipv4_packet()[..len]), Err(IpError::Truncated));
        }
    }

    #[test]
    fn fragments_are_told_by_offset_or_flag() {
        let mut header = Ipv4Header::read_from_bytes(&IPV4).unwrap();
        for (flags, fragment) in [(0, false), (0x8000, false), (0x2000, true), (1, true)] {
            header.flags_fragment = U16::new(flags);
            assert_eq!(header.is_fragment(), fragment, "{flags:#06x}");
        }
    }

    #[test]
    fn ttl_and_traffic_class_bring_the_checksum_along() {
        let mut header = Ipv4Header::read_from_bytes(&IPV4).unwrap();
        for ttl in (1..64).rev() {
            assert!(header.decrement_ttl());
            assert_eq!((header.ttl, checksum(header.as_bytes())), (ttl, 0));
        }
        let before = header;
        assert!(!header.decrement_ttl());
        assert_eq!(header, before);
        for traffic_class in 0..=255 {
            header.set_traffic_class(traffic_class);
            assert_eq!((header.traffic_class, checksum(header.as_bytes())), (traffic_class, 0));
        }
    }

    #[test]
    fn a_packet_has_65535_octets_at_most() {
        let address = Ipv4Addr::LOCALHOST;
        assert!(Ipv4Header::new(address, address, 17, 1, 65515).is_some());
        assert!(Ipv4Header::new(address, address, 17, 1, 65516).is_none());
    }

    proptest! {
        #[test]
        fn parse_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(first) = bytes.first_mut() {
                *first = 0x40 | *first & 0x0f;
            }
            let _ = Ipv4Header::parse(&bytes);
        }
    }
}
