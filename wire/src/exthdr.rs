//! The IPv6 extension headers in front of a Mobility Header in a PType 8 packet.
//!
//! Read first: RFC 6275 s.6.3, 6.4; RFC 8200 s.4.2, 4.6; reading R-29.

use core::net::Ipv6Addr;

/// Next Header value of the Routing header.
pub const ROUTING: u8 = 43;
/// Next Header value of the Destination Options header.
pub const DESTINATION_OPTIONS: u8 = 60;
/// Next Header value that says that nothing follows.
pub const NO_NEXT_HEADER: u8 = 59;

/// Why an extension header chain is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChainError {
    /// A header or an option runs past the end.
    Truncated,
    /// A header that R-29 does not allow in front of the Mobility Header (an inner IP header, say).
    UnexpectedHeader(u8),
    /// An option that is not understood and whose type says to discard (RFC 8200 s.4.2).
    UnknownOption(u8),
    /// Home Address option or type 2 routing header twice, or with a wrong length or Segments Left.
    Malformed,
}

/// A PType 8 payload, taken apart as far as the Mobility Header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    /// The address in the Home Address destination option (MN to HA).
    pub home_address: Option<Ipv6Addr>,
    /// The address in the type 2 routing header (HA to MN).
    pub routing_home_address: Option<Ipv6Addr>,
    /// The Mobility Header, to the end of the payload.
    pub mobility_header: &'a [u8],
}

/// Walks the chain that `next_header` (from the frame's trailer) starts in `payload`.
///
/// # Errors
/// [`ChainError`].
pub fn parse_chain(next_header: u8, payload: &[u8]) -> Result<Chain<'_>, ChainError> {
    let _ = (next_header, payload);
    todo!()
}

/// A Destination Options header that holds a Home Address option: 24 octets.
#[must_use]
pub fn home_address_header(next_header: u8, home_address: Ipv6Addr) -> [u8; 24] {
    let _ = (next_header, home_address);
    todo!()
}

/// A type 2 routing header: 24 octets.
#[must_use]
pub fn routing_header(next_header: u8, home_address: Ipv6Addr) -> [u8; 24] {
    let _ = (next_header, home_address);
    todo!()
}
