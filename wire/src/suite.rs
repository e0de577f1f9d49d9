//! The ciphersuites between mobile node and home agent, and the scope of an SA.
//!
//! Read first: RFC 6618 s.5.6.4, 5.6.5; RFC 4106 for the extension; readings,
//!

use core::fmt;

/// Integrity Check Value in octets of the two integrity algorithms, which are truncated to 96
/// bits. That of a frame is [`Suite::icv_len`].
pub const ICV_LEN: usize = 12;

/// Integrity Check Value in octets of AES-GCM: the whole tag.
pub const GCM_ICV_LEN: usize = 16;

/// Octets of salt at the end of an AES-GCM `ekey` (RFC 4106 s.8.1, R-16).
pub const GCM_SALT_LEN: usize = 4;

/// Encryption algorithm of an SA (RFC 6618 s.5.6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// NULL (RFC 2410).
    Null,
    /// TripleDES-CBC (RFC 2451).
    TripleDesCbc,
    /// AES-CBC with 128-bit keys (RFC 3602).
    Aes128Cbc,
    /// AES-GCM with 128-bit keys, which gives integrity as well (RFC 4106, R-16).
    Aes128Gcm,
}

/// Integrity algorithm of an SA (RFC 6618 s.5.6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// HMAC-SHA1-96 (RFC 2404).
    HmacSha1_96,
    /// AES-XCBC-MAC-96 (RFC 3566).
    AesXcbcMac96,
    /// No algorithm of its own: the cipher is a combined mode algorithm (RFC 4303 s.1, R-16).
    Combined,
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
    /// `{00,9C}`: AES-GCM with 128-bit keys, an extension.
    Aes128Gcm,
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

    /// The extension's suites, used only where a deployment names them.
    pub const EXTENSIONS: [Self; 1] = [Self::Aes128Gcm];

    /// All suites that Hearth knows: those of RFC 6618, then the extension's.
    pub fn known() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().chain(Self::EXTENSIONS)
    }

    /// The two octets of the TLS 1.2 numeric representation.
    #[must_use]
    pub const fn code(self) -> [u8; 2] {
        match self {
            Self::NullSha => [0x00, 0x02],
            Self::NullSha256 => [0x00, 0x3b],
            Self::TripleDesEdeCbcSha => [0x00, 0x0a],
            Self::Aes128CbcSha => [0x00, 0x2f],
            Self::Aes128CbcSha256 => [0x00, 0x3c],
            Self::Aes128Gcm => [0x00, 0x9c],
        }
    }

    /// The suite with this numeric representation; all other values are reserved.
    #[must_use]
    pub fn from_code(code: [u8; 2]) -> Option<Self> {
        Self::known().find(|suite| suite.code() == code)
    }

    /// The name in RFC 6618 or R-16, as it stands in YAML, the CLI and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NullSha => "NULL_SHA",
            Self::NullSha256 => "NULL_SHA256",
            Self::TripleDesEdeCbcSha => "3DES_EDE_CBC_SHA",
            Self::Aes128CbcSha => "AES_128_CBC_SHA",
            Self::Aes128CbcSha256 => "AES_128_CBC_SHA256",
            Self::Aes128Gcm => "AES_128_GCM",
        }
    }

    /// The suite of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::known().find(|suite| suite.name() == name)
    }

    /// The encryption algorithm.
    #[must_use]
    pub const fn cipher(self) -> Cipher {
        match self {
            Self::NullSha | Self::NullSha256 => Cipher::Null,
            Self::TripleDesEdeCbcSha => Cipher::TripleDesCbc,
            Self::Aes128CbcSha | Self::Aes128CbcSha256 => Cipher::Aes128Cbc,
            Self::Aes128Gcm => Cipher::Aes128Gcm,
        }
    }

    /// The integrity algorithm.
    #[must_use]
    pub const fn integrity(self) -> Integrity {
        match self {
            Self::NullSha | Self::TripleDesEdeCbcSha | Self::Aes128CbcSha => Integrity::HmacSha1_96,
            Self::NullSha256 | Self::Aes128CbcSha256 => Integrity::AesXcbcMac96,
            Self::Aes128Gcm => Integrity::Combined,
        }
    }

    /// Octets of an encryption key; 0 for NULL. Under AES-GCM 16 octets of key, then
    /// [`GCM_SALT_LEN`] of salt.
    #[must_use]
    pub const fn ekey_len(self) -> usize {
        match self.cipher() {
            Cipher::Null => 0,
            Cipher::TripleDesCbc => 24,
            Cipher::Aes128Cbc => 16,
            Cipher::Aes128Gcm => 16 + GCM_SALT_LEN,
        }
    }

    /// Octets of an integrity key; 0 for a combined algorithm.
    #[must_use]
    pub const fn ikey_len(self) -> usize {
        match self.integrity() {
            Integrity::HmacSha1_96 => 20,
            Integrity::AesXcbcMac96 => 16,
            Integrity::Combined => 0,
        }
    }

    /// Octets of the Integrity Check Value at the end of a frame.
    #[must_use]
    pub const fn icv_len(self) -> usize {
        match self.integrity() {
            Integrity::HmacSha1_96 | Integrity::AesXcbcMac96 => ICV_LEN,
            Integrity::Combined => GCM_ICV_LEN,
        }
    }

    /// Octets of the explicit IV at the start of Payload Data; 0 for NULL.
    #[must_use]
    pub const fn iv_len(self) -> usize {
        match self.cipher() {
            Cipher::Null => 0,
            Cipher::TripleDesCbc | Cipher::Aes128Gcm => 8,
            Cipher::Aes128Cbc => 16,
        }
    }

    /// What payload, padding, pad length and next header are padded to: the cipher block, or 4
    /// octets under NULL and AES-GCM (RFC 4106 s.3.2).
    #[must_use]
    pub const fn pad_block(self) -> usize {
        match self.cipher() {
            Cipher::Null | Cipher::Aes128Gcm => 4,
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
    fn suites_are_those_of_rfc6618_section_5_6_5_and_the_extension() {
        let rows = [
            ("NULL_SHA", [0x00, 0x02], Cipher::Null, Integrity::HmacSha1_96, (0, 20, 0, 4, 12)),
            ("NULL_SHA256", [0x00, 0x3b], Cipher::Null, Integrity::AesXcbcMac96, (0, 16, 0, 4, 12)),
            (
                "3DES_EDE_CBC_SHA",
                [0x00, 0x0a],
                Cipher::TripleDesCbc,
                Integrity::HmacSha1_96,
                (24, 20, 8, 8, 12),
            ),
            (
                "AES_128_CBC_SHA",
                [0x00, 0x2f],
                Cipher::Aes128Cbc,
                Integrity::HmacSha1_96,
                (16, 20, 16, 16, 12),
            ),
            (
                "AES_128_CBC_SHA256",
                [0x00, 0x3c],
                Cipher::Aes128Cbc,
                Integrity::AesXcbcMac96,
                (16, 16, 16, 16, 12),
            ),
            //
            (
                "AES_128_GCM",
                [0x00, 0x9c],
                Cipher::Aes128Gcm,
                Integrity::Combined,
                (20, 0, 8, 4, 16),
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
                (
                    suite.ekey_len(),
                    suite.ikey_len(),
                    suite.iv_len(),
                    suite.pad_block(),
                    suite.icv_len()
                ),
                sizes
            );
            assert_eq!(suite.encrypts(), suite.ekey_len() != 0);
        }
        assert_eq!(Suite::known().count(), rows.len());
    }

    /// ENC-21, R-16: every other value is reserved, NULL integrity and larger GCM keys included.
    #[test]
    fn other_codes_are_reserved() {
        let codes = || (0..=u16::MAX).map(u16::to_be_bytes);
        assert_eq!(codes().filter_map(Suite::from_code).count(), 6);
        assert_eq!(Suite::from_code([0x00, 0x00]), None);
        assert_eq!(Suite::from_code([0x00, 0x9d]), None);
    }

    #[test]
    fn scope_is_0_or_1() {
        for digit in 0..=9 {
            assert_eq!(Scope::from_digit(digit).map(Scope::digit), (digit < 2).then_some(digit));
        }
    }
}
