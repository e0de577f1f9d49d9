//! Every format that crosses a wire in Hearth.
//!
//! No I/O, no clock, no unsafe code, and no allocation in the modules that the packet path uses
//! ([`frame`], [`ip`], [`exthdr`], [`flow_key`], [`mh`]). Each module follows the same shape: the RFC's diagram,
//! then a checked view or a plain representation with `parse` and `emit`, then a bytes/value pair
//! used in both directions as the test.
//!
//! | module | format | clause |
//! |---|---|---|
//! | [`frame`] | PType, SPI, sequence number, padding and next header in UDP | RFC 6618 s.6 |
//! | [`suite`] | the ciphersuites and their sizes | RFC 6618 s.5.6.5 |
//! | [`exthdr`] | Home Address option, type 2 routing header | RFC 6275 s.6.3, 6.4 |
//! | [`mh`] | Mobility Header messages and options | RFC 6275 s.6.1, 6.2; RFC 3963, 5142, 5555, 5648, 5846, 5847, 6088, 6089 |
//! | [`flow_key`] | the fields of a packet that a traffic selector looks at | RFC 6088 s.3 |
//! | [`ip`] | IPv4, IPv6, UDP headers and checksums | RFC 791, 8200, 768 |
//! | [`icmp6`] | Neighbour Discovery, home agent and prefix discovery, Multicast Listener Discovery | RFC 4861 s.4; RFC 6275 s.6.5 to 6.8, 7; RFC 2710, 3810 |
//! | [`igmp`] | IGMP of versions 1 to 3 | RFC 2236, 3376 |
//! | [`eap`] | EAP packets | RFC 3748 s.4, 5 |
//! | [`hac`] | container, TV-headers, MHAuth messages | RFC 6618 s.5 |
//! | [`directory`] | the SA directory between HAC and HA | R-50 |
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod addresses;
pub mod directory;
pub mod eap;
pub mod exthdr;
pub mod flow_key;
pub mod frame;
pub mod group;
pub mod hac;
pub mod icmp6;
pub mod ids;
pub mod igmp;
pub mod ip;
pub mod mh;
pub mod suite;

pub use ids::{IdError, MobileNodeId, SeqNo, Spi};
pub use suite::{Cipher, Integrity, Scope, Suite};

/// UDP port of the Mobile IPv6 service, `mipv6tls` (RFC 6618 s.8.3).
pub const MIPV6TLS_PORT: u16 = 7872;
