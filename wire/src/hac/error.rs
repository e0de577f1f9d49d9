//! What can be wrong with a message: each a 400.

use core::fmt;

use super::HeaderName;
use crate::ids::IdError;

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageError {
    /// An LF without a CR in front.
    BareLf,
    /// A CR without an LF behind.
    BareCr,
    /// A control character other than a tab.
    ControlCharacter,
    /// A line without a colon.
    NoColon,
    /// What stands in front of a colon is not a token.
    Name,
    /// The content ends before its end-of-message (RFC 6618 s.5.5.7).
    NoEndOfMessage,
    /// Octets stand behind the end-of-message.
    OctetsBehindEnd,
    /// A header that must be single stands twice.
    Duplicate(HeaderName),
    /// A header stands behind `auth` (RFC 6618 s.5.5.5).
    AuthNotLast,
    /// The mn-id is not a network access identifier.
    MnId(IdError),
    /// An odd number of hexadecimal digits, or something else than digits.
    Hex(HeaderName),
    /// The header's octets are none, too many, or not the number that it must have.
    Length(HeaderName),
    /// An authentication method is not a token, or the list has an empty element.
    AuthMethod,
    /// The status code is not one of RFC 6618 s.5.5.4.
    StatusCode,
    /// Not an rfc1123-date (RFC 2616 s.3.3.1).
    Date(HeaderName),
    /// The SPI is not decimal, 0, or above 28 bits.
    Spi,
    /// The scope is neither 0 nor 1; the letter O is neither.
    Scope,
    /// Not of the form `{HH,HH}`, or a list of these.
    SuiteSyntax(HeaderName),
    /// The selected ciphersuite is not one of RFC 6618 s.5.6.5.
    SuiteReserved,
    /// The port is not 1 to 65535 in at most 5 digits.
    Port,
    /// Not an address of the header's family.
    Address(HeaderName),
    /// The prefix length is missing, not decimal, or longer than an address.
    PrefixLength(HeaderName),
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BareLf => f.write_str("LF without CR"),
            Self::BareCr => f.write_str("CR without LF"),
            Self::ControlCharacter => f.write_str("control character"),
            Self::NoColon => f.write_str("line without a colon"),
            Self::Name => f.write_str("header name is not a token"),
            Self::NoEndOfMessage => f.write_str("no end-of-message"),
            Self::OctetsBehindEnd => f.write_str("octets behind the end-of-message"),
            Self::Duplicate(name) => write!(f, "{} stands twice", name.name()),
            Self::AuthNotLast => f.write_str("auth is not the last header"),
            Self::MnId(error) => write!(f, "mn-id: {error}"),
            Self::Hex(name) => write!(f, "{}: not pairs of hexadecimal digits", name.name()),
            Self::Length(name) => write!(f, "{}: wrong number of octets", name.name()),
            Self::AuthMethod => f.write_str("auth-method: not a list of tokens"),
            Self::StatusCode => f.write_str("status-code: not a code of RFC 6618"),
            Self::Date(name) => write!(f, "{}: not an rfc1123-date", name.name()),
            Self::Spi => f.write_str("mip6-spi: not 1 to 268435455"),
            Self::Scope => f.write_str("mip6-sas: neither 0 nor 1"),
            Self::SuiteSyntax(name) => write!(f, "{}: not of the form {{HH,HH}}", name.name()),
            Self::SuiteReserved => f.write_str("mip6-ciphersuite: reserved value"),
            Self::Port => f.write_str("mip6-port: not 1 to 65535"),
            Self::Address(name) => write!(f, "{}: not an address", name.name()),
            Self::PrefixLength(name) => write!(f, "{}: wrong prefix length", name.name()),
        }
    }
}

impl std::error::Error for MessageError {}
