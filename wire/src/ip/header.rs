//! Fixed headers as typed views on packet data.
//!
//! Read first: RFC 791 s.3.1; RFC 8200 s.3; RFC 768; RFC 2474 s.3; RFC 1624.

use core::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{checksum, updated};

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Protocol number of an IPv4 packet in a tunnel.
pub const PROTO_IPV4: u8 = 4;
/// Protocol number of UDP.
pub const PROTO_UDP: u8 = 17;
/// Protocol number of an IPv6 packet in a tunnel.
pub const PROTO_IPV6: u8 = 41;

/// Why octets are no IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpError {
    /// The version is not that of the header.
    Version,
    /// Fewer octets than the header, or than the packet's own length.
    Truncated,
    /// A length field is smaller than the header in front of it.
    Length,
    /// The IPv4 header checksum is wrong.
    Checksum,
}

/// Ethernet II header without tags.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct EthernetHeader {
    /// Destination address.
    pub destination: [u8; 6],
    /// Source address.
    pub source: [u8; 6],
    /// EtherType.
    pub ethertype: U16,
}

const _: () = assert!(size_of::<EthernetHeader>() == EthernetHeader::LEN);

impl EthernetHeader {
    /// Octets on the wire.
    pub const LEN: usize = 14;
}

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
    pub const fn set_traffic_class(&mut self, traffic_class: u8) {
        let old = u16::from_be_bytes([self.version_ihl, self.traffic_class]);
        self.traffic_class = traffic_class;
        let new = u16::from_be_bytes([self.version_ihl, self.traffic_class]);
        self.checksum = U16::new(updated(self.checksum.get(), old, new));
    }
}

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
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "8 of the 32 bits")]
    pub const fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// Sets DSCP and ECN.
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
    #[must_use]
    pub const fn decrement_hop_limit(&mut self) -> bool {
        if self.hop_limit <= 1 {
            return false;
        }
        self.hop_limit -= 1;
        true
    }
}

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
    fn lengths_of_16_bits_are_the_limit() {
        let (four, six) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        assert!(Ipv4Header::new(four, four, 17, 1, 65515).is_some());
        assert!(Ipv4Header::new(four, four, 17, 1, 65516).is_none());
        assert!(Ipv6Header::new(six, six, 17, 1, 65535).is_some());
        assert!(Ipv6Header::new(six, six, 17, 1, 65536).is_none());
        assert!(UdpHeader::new(1, 2, 65527).is_some());
        assert!(UdpHeader::new(1, 2, usize::MAX).is_none());
    }

    proptest! {
        #[test]
        fn parse_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..80), six: bool) {
            if let Some(first) = bytes.first_mut() {
                *first = if six { 0x60 } else { 0x40 | *first & 0x0f };
            }
            let _ = Ipv4Header::parse(&bytes);
            let _ = Ipv6Header::parse(&bytes);
            let _ = UdpHeader::parse(&bytes);
        }
    }
}
