//! Ethernet, IPv4, IPv6 and UDP headers and their checksums.
//!
//! Headers are typed views that are read in place, or values that are written with
//! `zerocopy::IntoBytes`; nothing here allocates.

pub mod checksum;
pub mod header;

pub use checksum::{
    Sum, checksum, pseudo_v4, pseudo_v6, udp_checksum_v4, udp_checksum_v6, udp_valid_v4,
    udp_valid_v6, updated,
};
pub use header::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, IpError, Ipv4Header, Ipv6Header,
    PROTO_IPV4, PROTO_IPV6, PROTO_UDP, UdpHeader,
};
