//! Ethernet, IPv4, IPv6 and UDP headers and their checksums.
//!
//! Headers are typed views that are read in place, or values that are written with
//! `zerocopy::IntoBytes`; nothing here allocates.

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub mod checksum;
mod ipv4;
mod ipv6;
mod udp;

pub use checksum::{Sum, checksum, pseudo_v6, udp_checksum_v6, udp_valid_v6, updated};
pub use ipv4::Ipv4Header;
pub use ipv6::Ipv6Header;
pub use udp::UdpHeader;

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
