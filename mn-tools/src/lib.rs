//! The mobile node: bootstraps over TLS, registers, tunnels, hands over (RFC 6618, RFC 6275 s.11).
#![forbid(unsafe_code)]

pub mod crypto;
