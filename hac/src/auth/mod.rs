//! Methods by which a mobile node authenticates inside TLS.
//!
//! Read first: RFC 6618 s.5.5.2, 5.8, 5.9.

pub mod eap;
pub mod psk;
