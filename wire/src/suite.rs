//! The ciphersuites between mobile node and home agent, and the scope of an SA.
//!
//! Read first: RFC 6618 s.5.6.4, 5.6.5; readings.

use core::fmt;

/// Integrity Check Value in octets: both integrity algorithms are truncated to 96 bits.
pub const ICV_LEN: usize = 12;

/// Encryption algorithm of an SA (RFC 6618 s.5.6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// NULL (RFC 2410).
    Null,
    /// TripleDES-CBC (RFC 2451).
    TripleDesCbc,
    /// AES-CBC with 128-bit keys (RFC 3602).
    Aes128Cbc,
}

/// Integrity algorithm of an SA (RFC 6618 s.5.6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// HMAC-SHA1-96 (RFC 2404).
    HmacSha1_96,
    /// AES-XCBC-MAC-96 (RFC 3566).
    AesXcbcMac96,
}

/// A ciphersuite, named as in RFC 6618 s.5.6.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// `{00,02}`: NULL, HMAC-SHA1-96.
    NullSha,
    /// `{00,3B}`: NULL, AES-XCBC-MAC-96.
    NullSha256,
    /// `{00,0A}`: TripleDES-CBC, HMAC-SHA1-96.
    TripleDesEdeCbcSha,
    /// `{00,2F}`: AES-CBC with 128-bit keys, HMAC-SHA1-96.
    Aes128CbcSha,
    /// `{00,3C}`: AES-CBC with 128-bit keys, AES-XCBC-MAC-96.
    Aes128CbcSha256,
}

impl Suite {
    /// All suites of RFC 6618.
    pub const ALL: [Self; 5] = [
        Self::NullSha,
        Self::NullSha256,
        Self::TripleDesEdeCbcSha,
        Self::Aes128CbcSha,
        Self::Aes128CbcSha256,
    ];

    /// The two octets of the TLS 1.2 numeric representation.
    #[must_use]
    pub const fn code(self) -> [u8; 2] {
        match self {
            Self::NullSha => [0x00, 0x02],
            Self::NullSha256 => [0x00, 0x3b],
            Self::TripleDesEdeCbcSha => [0x00, 0x0a],
            Self::Aes128CbcSha => [0x00, 0x2f],
            Self::Aes128CbcSha256 => [0x00, 0x3c],
        }
    }

    /// The suite with this numeric representation, if RFC 6618 allows it.
    #[must_use]
    pub fn from_code(code: [u8; 2]) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.code() == code)
    }

    /// The name in RFC 6618, as it stands in YAML, the CLI and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NullSha => "NULL_SHA",
            Self::NullSha256 => "NULL_SHA256",
            Self::TripleDesEdeCbcSha => "3DES_EDE_CBC_SHA",
            Self::Aes128CbcSha => "AES_128_CBC_SHA",
            Self::Aes128CbcSha256 => "AES_128_CBC_SHA256",
        }
    }

    /// The suite of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// The encryption algorithm.
    #[must_use]
    pub const fn cipher(self) -> Cipher {
        match self {
            Self::NullSha | Self::NullSha256 => Cipher::Null,
            Self::TripleDesEdeCbcSha => Cipher::TripleDesCbc,
            Self::Aes128CbcSha | Self::Aes128CbcSha256 => Cipher::Aes128Cbc,
        }
    }

    /// The integrity algorithm.
    #[must_use]
    pub const fn integrity(self) -> Integrity {
        match self {
            Self::NullSha | Self::TripleDesEdeCbcSha | Self::Aes128CbcSha => Integrity::HmacSha1_96,
            Self::NullSha256 | Self::Aes128CbcSha256 => Integrity::AesXcbcMac96,
        }
    }

    /// Octets of an encryption key; 0 for NULL.
    #[must_use]
    pub const fn ekey_len(self) -> usize {
        match self.cipher() {
            Cipher::Null => 0,
            Cipher::TripleDesCbc => 24,
            Cipher::Aes128Cbc => 16,
        }
    }

    /// Octets of an integrity key.
    #[must_use]
    pub const fn ikey_len(self) -> usize {
        match self.integrity() {
            Integrity::HmacSha1_96 => 20,
            Integrity::AesXcbcMac96 => 16,
        }
    }

    /// Octets of the explicit IV at the start of Payload Data; 0 for NULL.
    #[must_use]
    pub const fn iv_len(self) -> usize {
        match self.cipher() {
            Cipher::Null => 0,
            Cipher::TripleDesCbc => 8,
            Cipher::Aes128Cbc => 16,
        }
    }

    /// What payload, padding, pad length and next header are padded to: the cipher block, or 4
    /// octets under NULL.
    #[must_use]
    pub const fn pad_block(self) -> usize {
        match self.cipher() {
            Cipher::Null => 4,
            Cipher::TripleDesCbc => 8,
            Cipher::Aes128Cbc => 16,
        }
    }

    /// Whether the suite gives confidentiality.
    #[must_use]
    pub const fn encrypts(self) -> bool {
        !matches!(self.cipher(), Cipher::Null)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Scope of an SA, the value of `mip6-sas` (RFC 6618 s.5.6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `0`: the SA protects signalling only; data may travel in the clear (PType 0).
    Signalling,
    /// `1`: all data traffic must be protected too.
    SignallingAndData,
}

impl Scope {
    /// The digit of `mip6-sas`.
    #[must_use]
    pub const fn digit(self) -> u8 {
        match self {
            Self::Signalling => 0,
            Self::SignallingAndData => 1,
        }
    }

    /// The scope of this digit.
    #[must_use]
    pub const fn from_digit(digit: u8) -> Option<Self> {
        match digit {
            0 => Some(Self::Signalling),
            1 => Some(Self::SignallingAndData),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_those_of_rfc6618_section_5_6_5() {
        let rows = [
            ("NULL_SHA", [0x00, 0x02], Cipher::Null, Integrity::HmacSha1_96, (0, 20, 0, 4)),
            ("NULL_SHA256", [0x00, 0x3b], Cipher::Null, Integrity::AesXcbcMac96, (0, 16, 0, 4)),
            (
                "3DES_EDE_CBC_SHA",
                [0x00, 0x0a],
                Cipher::TripleDesCbc,
                Integrity::HmacSha1_96,
                (24, 20, 8, 8),
            ),
            (
                "AES_128_CBC_SHA",
                [0x00, 0x2f],
                Cipher::Aes128Cbc,
                Integrity::HmacSha1_96,
                (16, 20, 16, 16),
            ),
            (
                "AES_128_CBC_SHA256",
                [0x00, 0x3c],
                Cipher::Aes128Cbc,
                Integrity::AesXcbcMac96,
                (16, 16, 16, 16),
            ),
        ];
        for (name, code, cipher, integrity, sizes) in rows {
            let suite = Suite::from_code(code).unwrap();
            assert_eq!(Suite::from_name(name), Some(suite));
            assert_eq!(
                (suite.name(), suite.cipher(), suite.integrity()),
                (name, cipher, integrity)
            );
            assert_eq!(
                (suite.ekey_len(), suite.ikey_len(), suite.iv_len(), suite.pad_block()),
                sizes
            );
        }
        assert_eq!(Suite::from_code([0x00, 0x9c]), None);
    }

    #[test]
    fn scope_is_0_or_1() {
        for digit in 0..=9 {
            assert_eq!(Scope::from_digit(digit).map(Scope::digit), (digit < 2).then_some(digit));
        }
    }
}
