//! Keys of SAs, handed out by the HAC for reading captures, and the file that they stand in.
//!
//! Whoever has the file can read and forge what its mobile nodes send under these SAs.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// The only version of the file so far.
pub const VERSION: u32 = 1;

/// Whose keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExportKeys {
    /// Those of the SA with this SPI.
    Spi(u32),
    /// Those of all SAs of this mobile node.
    MnId(String),
}

/// The file, and the HAC's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// [`VERSION`].
    pub version: u32,
    /// The SAs, those of one mobile node the oldest first.
    pub sas: Vec<SaKeys>,
}

/// An SA with its keys.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaKeys {
    /// Its SPI.
    pub spi: u32,
    /// Whose it is.
    pub mn_id: String,
    /// Its ciphersuite, as RFC 6618 s.5.6.5 names it.
    pub suite: String,
    /// The home agent's address: that of signalling inside the envelope.
    pub ha_address: Ipv6Addr,
    /// The home addresses that go with it.
    pub home_addresses: Vec<IpAddr>,
    /// Keys from mobile node to home agent.
    pub mn_to_ha: DirectionKeys,
    /// Keys from home agent to mobile node.
    pub ha_to_mn: DirectionKeys,
}

/// Keys of one direction.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectionKeys {
    /// The integrity key.
    pub ikey: Secret,
    /// The encryption key, with the salt of AES-GCM; empty under NULL.
    pub ekey: Secret,
}

/// Octets of a key, in JSON as hex digits. Not shown by `Debug`; wiped on drop.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Keeps a copy of `octets`.
    #[must_use]
    pub fn new(octets: &[u8]) -> Self {
        Self(octets.to_vec().into())
    }

    /// The octets.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0x0f)]);
        // As long as it gets, so that no copy of a part stays behind.
        let mut text = Zeroizing::new(String::with_capacity(2 * self.0.len()));
        text.extend(self.0.iter().flat_map(|octet| [digit(octet >> 4), digit(*octet)]));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let mut octets = Zeroizing::new(Vec::with_capacity(text.len() / 2));
        for pair in text.as_bytes().chunks(2) {
            let digit = |octet: &u8| char::from(*octet).to_digit(16);
            let octet = match pair {
                [high, low] => digit(high).zip(digit(low)),
                _ => None,
            };
            let octet = octet.and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
            // Nothing of the text: it is a key but for a mistake in it.
            octets.push(octet.ok_or_else(|| D::Error::custom("a key is pairs of hex digits"))?);
        }
        Ok(Self(octets))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_hex_and_are_not_shown() {
        let secret = Secret::new(&[0x00, 0x9f, 0xff]);
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"009fff\"");
        assert_eq!(format!("{secret:?}"), "Secret");
        let back: Secret = serde_json::from_str("\"009FFF\"").unwrap();
        assert_eq!(back.expose(), secret.expose());
        assert_eq!(serde_json::from_str::<Secret>("\"\"").unwrap().expose(), b"");
    }

    #[test]
    fn a_wrong_key_is_not_repeated_in_the_error() {
        for wrong in ["\"abc\"", "\"secret\"", "\"+1\"", "\"0\u{e9}\""] {
            let error = serde_json::from_str::<Secret>(wrong).unwrap_err().to_string();
            assert!(error.contains("hex digits") && !error.contains("secret"), "{error}");
        }
    }
}
