//! The values of TV-headers, read.
//!
//! Read first: RFC 6618 s.5.5 to 5.7; readings.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::header::is_token;
use super::message::{AuthMethod, StatusCode};
use super::{HeaderName, MessageError};
use crate::ids::{IdError, MobileNodeId, Spi};
use crate::suite::{Scope, Suite};

/// The largest key that is read; the largest that a suite has is 24 octets.
const MAX_KEY_LEN: usize = 64;

/// The value of one known header.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) name: HeaderName,
    pub(super) octets: &'a [u8],
}

impl<'a> Value<'a> {
    fn text(self) -> Option<&'a str> {
        str::from_utf8(self.octets).ok()
    }

    /// `RFC4282-NAI`.
    pub(super) fn mn_id(self) -> Result<MobileNodeId, MessageError> {
        let text = self.text().ok_or(MessageError::MnId(IdError::NaiSyntax))?;
        MobileNodeId::new(text).map_err(MessageError::MnId)
    }

    /// `a-method *("," a-method)`: the known methods in their order.
    pub(super) fn auth_methods(self) -> Result<Vec<AuthMethod>, MessageError> {
        let mut known = Vec::new();
        for method in self.octets.split(|octet| *octet == b',').map(<[u8]>::trim_ascii) {
            if method.is_empty() || !method.iter().all(|octet| is_token(*octet)) {
                return Err(MessageError::AuthMethod);
            }
            if let Some(method) = AuthMethod::from_name(method)
                && !known.contains(&method)
            {
                known.push(method);
            }
        }
        Ok(known)
    }

    /// `1*(HEX HEX)` of 1 to `max` octets, white space of folds between the pairs.
    fn hex(self, max: usize) -> Result<Zeroizing<Vec<u8>>, MessageError> {
        // Allocated once: a second allocation would leave a copy of a key behind.
        let mut octets = Zeroizing::new(Vec::with_capacity(max.min(self.octets.len() / 2)));
        let mut rest = self.octets;
        while let [high, low, behind @ ..] = rest {
            let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low)) else {
                return Err(MessageError::Hex(self.name));
            };
            if octets.len() == max {
                return Err(MessageError::Length(self.name));
            }
            octets.push(high << 4 | low);
            rest = behind.trim_ascii_start();
        }
        if !rest.is_empty() {
            return Err(MessageError::Hex(self.name));
        }
        if octets.is_empty() {
            return Err(MessageError::Length(self.name));
        }
        Ok(octets)
    }

    /// An EAP packet; the container's length is its only limit.
    pub(super) fn eap_payload(self) -> Result<Vec<u8>, MessageError> {
        self.hex(usize::MAX).map(|mut octets| core::mem::take(&mut *octets))
    }

    /// A key; whether it has the suite's length is seen when the suite is known.
    pub(super) fn key(self) -> Result<Zeroizing<Vec<u8>>, MessageError> {
        self.hex(MAX_KEY_LEN)
    }

    /// `32(HEX HEX)`: a random value (RFC 6618 s.5.5.8), or `auth`.
    pub(super) fn octets_32(self) -> Result<[u8; 32], MessageError> {
        let octets = self.hex(32)?;
        octets.as_slice().try_into().map_err(|_| MessageError::Length(self.name))
    }

    pub(super) fn status(self) -> Result<StatusCode, MessageError> {
        self.decimal(3)
            .and_then(|code| u16::try_from(code).ok())
            .and_then(StatusCode::from_code)
            .ok_or(MessageError::StatusCode)
    }

    /// `rfc1123-date` as seconds since 1970.
    pub(super) fn date(self) -> Result<u64, MessageError> {
        let error = MessageError::Date(self.name);
        let words: Vec<&str> = self.text().ok_or(error)?.split_ascii_whitespace().collect();
        let text = words.join(" ");
        let time = httpdate::parse_http_date(&text).map_err(|_| error)?;
        // Of the three formats of RFC 2616 s.3.3.1 the headers allow the first.
        if httpdate::fmt_http_date(time) != text {
            return Err(error);
        }
        seconds(time).ok_or(error)
    }

    /// `1*DIGIT`, 1 to 2^28 - 1.
    pub(super) fn spi(self) -> Result<Spi, MessageError> {
        self.decimal(self.octets.len())
            .and_then(|value| Spi::new(value).ok())
            .ok_or(MessageError::Spi)
    }

    /// `1DIGIT`: 0 or 1; the letter O of the RFC's text is a misprint.
    pub(super) fn scope(self) -> Result<Scope, MessageError> {
        match self.octets {
            b"0" => Ok(Scope::Signalling),
            b"1" => Ok(Scope::SignallingAndData),
            _ => Err(MessageError::Scope),
        }
    }

    /// `csuite`: the selected one, which must be known.
    pub(super) fn suite(self) -> Result<Suite, MessageError> {
        let mut cursor = Cursor(self.octets);
        let code = cursor.csuite().filter(|_| cursor.0.is_empty());
        let code = code.ok_or(MessageError::SuiteSyntax(self.name))?;
        Suite::from_code(code).ok_or(MessageError::SuiteReserved)
    }

    /// `csuite *("," csuite)`: the known ones in their order.
    pub(super) fn suites(self) -> Result<Vec<Suite>, MessageError> {
        let mut suites = Vec::new();
        let mut cursor = Cursor(self.octets);
        loop {
            let code = cursor.csuite().ok_or(MessageError::SuiteSyntax(self.name))?;
            if let Some(suite) = Suite::from_code(code).filter(|suite| !suites.contains(suite)) {
                suites.push(suite);
            }
            if cursor.0.is_empty() {
                return Ok(suites);
            }
            cursor.literal(b',').ok_or(MessageError::SuiteSyntax(self.name))?;
        }
    }

    /// `1*5DIGIT`, 1 to 65535.
    pub(super) fn port(self) -> Result<u16, MessageError> {
        self.decimal(5)
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0)
            .ok_or(MessageError::Port)
    }

    /// `ip6-addr`, or any other text form of RFC 4291 s.2.2.
    pub(super) fn ip6(self) -> Result<Ipv6Addr, MessageError> {
        self.text().and_then(|text| text.parse().ok()).ok_or(MessageError::Address(self.name))
    }

    /// `ip4-addr`: four decimal numbers of up to three digits, leading zeros included.
    pub(super) fn ip4(self) -> Result<Ipv4Addr, MessageError> {
        let mut numbers = self.octets.split(|octet| *octet == b'.');
        let mut address = [0; 4];
        for octet in &mut address {
            *octet = numbers
                .next()
                .and_then(|digits| decimal(digits, 3))
                .and_then(|number| u8::try_from(number).ok())
                .ok_or(MessageError::Address(self.name))?;
        }
        match numbers.next() {
            None => Ok(address.into()),
            Some(_) => Err(MessageError::Address(self.name)),
        }
    }

    /// `ip6-prefix`, with up to three digits of length.
    pub(super) fn ip6_prefix(self) -> Result<(Ipv6Addr, u8), MessageError> {
        let (address, len) = self.prefix(128)?;
        Ok((address.ip6()?, len))
    }

    /// `ip4-subnet`.
    pub(super) fn ip4_prefix(self) -> Result<(Ipv4Addr, u8), MessageError> {
        let (address, len) = self.prefix(32)?;
        Ok((address.ip4()?, len))
    }

    fn prefix(self, max: u8) -> Result<(Self, u8), MessageError> {
        let error = MessageError::PrefixLength(self.name);
        let slash = self.octets.iter().position(|octet| *octet == b'/').ok_or(error)?;
        let (address, len) = self.octets.split_at_checked(slash).ok_or(error)?;
        let len = len
            .get(1..)
            .and_then(|digits| decimal(digits, 3))
            .and_then(|len| u8::try_from(len).ok())
            .filter(|len| *len <= max)
            .ok_or(error)?;
        Ok((Self { octets: address, ..self }, len))
    }

    fn decimal(self, max_digits: usize) -> Option<u32> {
        decimal(self.octets, max_digits)
    }
}

/// 1 to `max_digits` digits that are a number below 2^32.
fn decimal(digits: &[u8], max_digits: usize) -> Option<u32> {
    if digits.is_empty() || digits.len() > max_digits {
        return None;
    }
    digits.iter().try_fold(0_u32, |value, octet| {
        let digit = char::from(*octet).to_digit(10)?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

fn hex_digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok().map(|duration| duration.as_secs())
}

/// What is left of a value to read, with white space around the separators.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn literal(&mut self, literal: u8) -> Option<()> {
        let rest = self.0.trim_ascii_start().strip_prefix(&[literal])?;
        self.0 = rest.trim_ascii_start();
        Some(())
    }

    fn hex_octet(&mut self) -> Option<u8> {
        let [high, low, rest @ ..] = self.0 else {
            return None;
        };
        let octet = hex_digit(*high)? << 4 | hex_digit(*low)?;
        self.0 = rest;
        Some(octet)
    }

    /// `"{" HH "," HH "}"`
    fn csuite(&mut self) -> Option<[u8; 2]> {
        self.literal(b'{')?;
        let first = self.hex_octet()?;
        self.literal(b',')?;
        let second = self.hex_octet()?;
        self.literal(b'}')?;
        Some([first, second])
    }
}
