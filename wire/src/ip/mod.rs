//! IPv4, IPv6 and UDP headers and their checksums.

pub mod checksum;

pub use checksum::{Sum, checksum, pseudo_v4, pseudo_v6};
