//! EAP packets.
//!
//! Read first: RFC 3748 s.4, 5; reading R-10.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Code      |  Identifier   |            Length             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Type      |  Type-Data ...        (Request and Response only)
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
//! ```
//!
//! [`gpsk`] has the messages and keys of EAP-GPSK, [`tls`] the fragments of EAP-TLS: both ends need
//! them.

mod eap_type;
pub mod gpsk;
pub mod tls;

use core::fmt;

pub use eap_type::EapType;

/// Octets of Code, Identifier and Length.
pub const HEADER_LEN: usize = 4;

/// Octets of the longest packet.
pub const MAX_LEN: usize = u16::MAX as usize;

/// What an EAP packet is (RFC 3748 s.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// From the authenticator, to be answered.
    Request = 1,
    /// The peer's answer.
    Response = 2,
    /// The method ended well.
    Success = 3,
    /// It did not.
    Failure = 4,
}

/// One EAP packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Code.
    pub code: Code,
    /// Matches a Response with its Request.
    pub identifier: u8,
    /// Type and Type-Data: there in every Request and Response, and in nothing else.
    pub body: Option<Body<'a>>,
}

/// Type and Type-Data of a Request or Response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Body<'a> {
    /// Type.
    pub eap_type: EapType,
    /// Type-Data; of an Expanded Type without its Vendor-Id and Vendor-Type.
    pub data: &'a [u8],
}

/// A method's data may be secret, so only its length is shown.
impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("eap_type", &self.eap_type)
            .field("length", &self.data.len())
            .finish()
    }
}

impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("code", &self.code)
            .field("identifier", &self.identifier)
            .field("body", &self.body)
            .finish()
    }
}

/// Why octets are no EAP packet: each a 400 (R-10, EAP-08).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EapError {
    /// Shorter than the header, or than what its Code and Type need.
    Short,
    /// Length is not the number of octets. The carrier is exact, so that there is no padding to
    /// ignore (RFC 3748 s.4).
    Length,
    /// A Code other than 1 to 4.
    Code(u8),
    /// Success and Failure carry no data (RFC 3748 s.4.2).
    Data,
}

impl fmt::Display for EapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("EAP packet is too short"),
            Self::Length => f.write_str("EAP Length is not the packet's"),
            Self::Code(code) => write!(f, "EAP Code {code} is not 1 to 4"),
            Self::Data => f.write_str("EAP Success or Failure carries data"),
        }
    }
}

impl std::error::Error for EapError {}

impl<'a> Packet<'a> {
    /// Reads exactly one packet.
    ///
    /// # Errors
    /// [`EapError`].
    pub fn parse(octets: &'a [u8]) -> Result<Self, EapError> {
        let (&[code, identifier, high, low], data) =
            octets.split_first_chunk::<HEADER_LEN>().ok_or(EapError::Short)?;
        let code = match code {
            1 => Code::Request,
            2 => Code::Response,
            3 => Code::Success,
            4 => Code::Failure,
            other => return Err(EapError::Code(other)),
        };
        if usize::from(u16::from_be_bytes([high, low])) != octets.len() {
            return Err(EapError::Length);
        }
        let body = match code {
            Code::Request | Code::Response => Some(Body::parse(data)?),
            Code::Success | Code::Failure if data.is_empty() => None,
            Code::Success | Code::Failure => return Err(EapError::Data),
        };
        Ok(Self { code, identifier, body })
    }

    /// The packet's octets; `None` where it is longer than [`MAX_LEN`].
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut octets = Vec::with_capacity(
            HEADER_LEN + self.body.map_or(0, |body| EapType::MAX_LEN + body.data.len()),
        );
        octets.extend_from_slice(&[self.code as u8, self.identifier, 0, 0]);
        if let Some(body) = self.body {
            body.eap_type.encode(&mut octets);
            octets.extend_from_slice(body.data);
        }
        let [high, low] = u16::try_from(octets.len()).ok()?.to_be_bytes();
        if let Some(length) = octets.get_mut(2..HEADER_LEN) {
            length.copy_from_slice(&[high, low]);
        }
        Some(octets)
    }

    /// EAP-Success (RFC 3748 s.4.2).
    #[must_use]
    pub const fn success(identifier: u8) -> [u8; HEADER_LEN] {
        [Code::Success as u8, identifier, 0, 4]
    }

    /// EAP-Failure (RFC 3748 s.4.2).
    #[must_use]
    pub const fn failure(identifier: u8) -> [u8; HEADER_LEN] {
        [Code::Failure as u8, identifier, 0, 4]
    }
}

/// A Request's or Response's octets; `None` where they are more than [`MAX_LEN`].
#[must_use]
pub fn encode(code: Code, identifier: u8, eap_type: EapType, data: &[u8]) -> Option<Vec<u8>> {
    Packet { code, identifier, body: Some(Body { eap_type, data }) }.encode()
}

impl<'a> Body<'a> {
    fn parse(octets: &'a [u8]) -> Result<Self, EapError> {
        let (eap_type, data) = EapType::decode(octets).ok_or(EapError::Short)?;
        Ok(Self { eap_type, data })
    }

    /// The methods that a Nak asks for: legacy types of a legacy Nak (RFC 3748 s.5.3.1), any of an
    /// Expanded Nak (s.5.3.2). Type 0 ("no desired alternative") is none. `None` where this is no
    /// Nak, or a malformed one.
    #[must_use]
    pub fn nak(&self) -> Option<Vec<EapType>> {
        if self.eap_type == EapType::NAK {
            // RFC 3748 s.5.3.1: "Type-Data … MUST contain one or more octets".
            let wanted = self.data.iter().filter(|octet| **octet != 0);
            return (!self.data.is_empty()).then(|| wanted.map(|t| EapType::legacy(*t)).collect());
        }
        if self.eap_type != EapType::EXPANDED_NAK {
            return None;
        }
        let mut wanted = Vec::new();
        let mut rest = self.data;
        while !rest.is_empty() {
            // s.5.3.2: each is a whole Expanded Type, one per 8 octets.
            let (eap_type, behind) = match rest.first() {
                Some(&EapType::EXPANDED) => EapType::decode(rest)?,
                _ => return None,
            };
            if eap_type != EapType::NONE_DESIRED {
                wanted.push(eap_type);
            }
            rest = behind;
        }
        Some(wanted)
    }
}

#[cfg(test)]
mod tests;
