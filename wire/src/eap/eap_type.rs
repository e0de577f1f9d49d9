//! EAP method types.
//!
//! Read first: RFC 3748 s.5, 5.7; the IANA registry of EAP method types.

use core::fmt;

/// The type of a Request or Response: a legacy one of one octet, or an Expanded one.
///
/// An Expanded Type of vendor 0 below 254 is the same method as the legacy type of that number
/// (RFC 3748 s.5.7), but what is sent and received keeps the form that it has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EapType {
    /// `None`: a legacy type.
    vendor: Option<u32>,
    number: u32,
}

impl EapType {
    /// The legacy octet that announces an Expanded Type.
    pub(super) const EXPANDED: u8 = 254;
    /// Octets of the longest form: 254, Vendor-Id (3), Vendor-Type (4).
    pub(super) const MAX_LEN: usize = 8;

    /// Identity (RFC 3748 s.5.1).
    pub const IDENTITY: Self = Self::legacy(1);
    /// Notification (RFC 3748 s.5.2).
    pub const NOTIFICATION: Self = Self::legacy(2);
    /// Legacy Nak (RFC 3748 s.5.3.1), in Responses only.
    pub const NAK: Self = Self::legacy(3);
    /// MD5-Challenge (RFC 3748 s.5.4); derives no MSK.
    pub const MD5_CHALLENGE: Self = Self::legacy(4);
    /// One-Time Password (RFC 3748 s.5.5); derives no MSK.
    pub const OTP: Self = Self::legacy(5);
    /// Generic Token Card (RFC 3748 s.5.6); derives no MSK.
    pub const GTC: Self = Self::legacy(6);
    /// EAP-TLS (RFC 5216, 9190).
    pub const TLS: Self = Self::legacy(13);
    /// EAP-SIM (RFC 4186).
    pub const SIM: Self = Self::legacy(18);
    /// EAP-TTLS (RFC 5281).
    pub const TTLS: Self = Self::legacy(21);
    /// EAP-AKA (RFC 4187).
    pub const AKA: Self = Self::legacy(23);
    /// PEAP.
    pub const PEAP: Self = Self::legacy(25);
    /// EAP-MSCHAPv2; an MSK of fewer than 64 octets.
    pub const MSCHAPV2: Self = Self::legacy(26);
    /// EAP-FAST (RFC 4851).
    pub const FAST: Self = Self::legacy(43);
    /// EAP-AKA' (RFC 9048).
    pub const AKA_PRIME: Self = Self::legacy(50);
    /// EAP-GPSK (RFC 5433).
    pub const GPSK: Self = Self::legacy(51);
    /// EAP-pwd (RFC 5931).
    pub const PWD: Self = Self::legacy(52);
    /// TEAP (RFC 7170).
    pub const TEAP: Self = Self::legacy(55);

    /// Expanded Nak (RFC 3748 s.5.3.2), in Responses only.
    pub const EXPANDED_NAK: Self = Self { vendor: Some(0), number: 3 };
    /// "No desired alternative" in an Expanded Nak (RFC 3748 s.5.3.2).
    pub(super) const NONE_DESIRED: Self = Self { vendor: Some(0), number: 0 };

    /// Those that have a name, as YAML and logs use it.
    const NAMED: [(Self, &'static str); 17] = [
        (Self::IDENTITY, "identity"),
        (Self::NOTIFICATION, "notification"),
        (Self::NAK, "nak"),
        (Self::MD5_CHALLENGE, "md5"),
        (Self::OTP, "otp"),
        (Self::GTC, "gtc"),
        (Self::TLS, "tls"),
        (Self::SIM, "sim"),
        (Self::TTLS, "ttls"),
        (Self::AKA, "aka"),
        (Self::PEAP, "peap"),
        (Self::MSCHAPV2, "mschapv2"),
        (Self::FAST, "fast"),
        (Self::AKA_PRIME, "aka-prime"),
        (Self::GPSK, "gpsk"),
        (Self::PWD, "pwd"),
        (Self::TEAP, "teap"),
    ];

    /// The type of one octet.
    #[must_use]
    pub const fn legacy(number: u8) -> Self {
        Self { vendor: None, number: number as u32 }
    }

    /// The Expanded Type of this vendor (24 bits) and number.
    #[must_use]
    pub const fn expanded(vendor: u32, number: u32) -> Self {
        Self { vendor: Some(vendor & 0x00ff_ffff), number }
    }

    /// The octet of a legacy type.
    #[must_use]
    pub fn as_legacy(self) -> Option<u8> {
        match self.vendor {
            None => u8::try_from(self.number).ok(),
            Some(_) => None,
        }
    }

    /// Whether this is a method, which proves something, and neither Identity, Notification nor
    /// Nak.
    #[must_use]
    pub const fn is_method(self) -> bool {
        self.number > 3 || !matches!(self.vendor, None | Some(0))
    }

    /// The method of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::methods().find(|(_, known)| *known == name).map(|(eap_type, _)| eap_type)
    }

    /// Methods that have a name.
    pub fn methods() -> impl Iterator<Item = (Self, &'static str)> {
        Self::NAMED.into_iter().filter(|(eap_type, _)| eap_type.is_method())
    }

    /// The type at the start of `octets`, and what stands behind it.
    pub(super) fn decode(octets: &[u8]) -> Option<(Self, &[u8])> {
        match octets {
            &[Self::EXPANDED, v1, v2, v3, t1, t2, t3, t4, ref data @ ..] => {
                let vendor = u32::from_be_bytes([0, v1, v2, v3]);
                Some((Self::expanded(vendor, u32::from_be_bytes([t1, t2, t3, t4])), data))
            }
            [] | [Self::EXPANDED, ..] => None,
            &[number, ref data @ ..] => Some((Self::legacy(number), data)),
        }
    }

    pub(super) fn encode(self, octets: &mut Vec<u8>) {
        match (self.vendor, self.as_legacy()) {
            (None, Some(number)) => octets.push(number),
            (vendor, _) => {
                octets.push(Self::EXPANDED);
                octets.extend(vendor.unwrap_or(0).to_be_bytes().into_iter().skip(1));
                octets.extend(self.number.to_be_bytes());
            }
        }
    }
}

/// The name, else the number.
impl fmt::Display for EapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Self::NAMED.into_iter().find(|(known, _)| known == self);
        match (known, self.vendor) {
            (Some((_, name)), _) => f.write_str(name),
            (None, None) => write!(f, "{}", self.number),
            (None, Some(vendor)) => write!(f, "{vendor}/{}", self.number),
        }
    }
}

impl fmt::Debug for EapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
