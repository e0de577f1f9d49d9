//! Identifiers with a checked constructor each.
//!
//! Read first: RFC 6618 s.5.5.1, 5.6.1, 6.1; RFC 4282 s.2.1; RFC 7542 s.2.2, which obsoletes it.

use core::fmt;

/// Why a value is not a valid identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdError {
    /// SPI 0 is reserved (RFC 6618 s.5.6.1).
    SpiZero,
    /// An SPI has 28 bits (RFC 6618 s.5.6.1).
    SpiTooLarge,
    /// A network access identifier has 1 to 253 octets (RFC 4282 s.2.2).
    NaiLength,
    /// The text breaks the grammar of RFC 4282 s.2.1.
    NaiSyntax,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SpiZero => "SPI 0 is reserved",
            Self::SpiTooLarge => "an SPI is at most 268435455",
            Self::NaiLength => "a network access identifier has 1 to 253 octets",
            Self::NaiSyntax => "not a network access identifier (user@realm, RFC 4282 s.2.1)",
        })
    }
}

impl std::error::Error for IdError {}

/// Security Parameter Index: 28 bits, never 0, one for both directions (RFC 6618 s.4.3, 5.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(u32);

impl Spi {
    /// The largest SPI, 2^28 - 1.
    pub const MAX: Self = Self(0x0fff_ffff);

    /// Checks that `value` is in 1 ..= 268435455.
    ///
    /// # Errors
    /// [`IdError::SpiZero`], [`IdError::SpiTooLarge`].
    pub const fn new(value: u32) -> Result<Self, IdError> {
        match value {
            0 => Err(IdError::SpiZero),
            1..=0x0fff_ffff => Ok(Self(value)),
            _ => Err(IdError::SpiTooLarge),
        }
    }

    /// The SPI in the lower 28 bits of a frame's first word; `None` where they are 0.
    #[must_use]
    #[inline]
    pub const fn from_word(word: u32) -> Option<Self> {
        match word & Self::MAX.0 {
            0 => None,
            bits => Some(Self(bits)),
        }
    }

    /// The number.
    #[must_use]
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u32> for Spi {
    type Error = IdError;

    fn try_from(value: u32) -> Result<Self, IdError> {
        Self::new(value)
    }
}

/// Packet sequence number of one direction of an SA; the first is 0 (RFC 6618 s.4.3, R-23).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SeqNo(pub u32);

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Mobile Node Identifier: a network access identifier (RFC 6618 s.5.5.1; RFC 7542, and what RFC 4282
/// allows beyond it: quoted octets in the username).
///
/// Compared octet by octet; the realm is kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MobileNodeId(Box<str>);

impl MobileNodeId {
    /// The longest NAI that must be supported everywhere (RFC 4282 s.2.2).
    pub const MAX_LEN: usize = 253;

    /// Checks `text` against the grammar of RFC 4282 s.2.1.
    ///
    /// # Errors
    /// [`IdError::NaiLength`], [`IdError::NaiSyntax`].
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(IdError::NaiLength);
        }
        let (user, realm) = match text.rsplit_once('@') {
            Some((user, realm)) => (user, Some(realm)),
            None => (text, None),
        };
        let user_ok = match (user.is_empty(), realm) {
            (true, Some(_)) => true, // "@realm" hides the user (RFC 4282 s.2.3)
            (true, None) => false,
            (false, _) => is_username(user),
        };
        if user_ok && realm.is_none_or(is_realm) {
            Ok(Self(text.into()))
        } else {
            Err(IdError::NaiSyntax)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the `@`, if anything does.
    #[must_use]
    pub fn realm(&self) -> Option<&str> {
        self.0.rsplit_once('@').map(|(_, realm)| realm)
    }
}

impl fmt::Display for MobileNodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `username = dot-string`: atoms of RFC 4282's `char`, a backslash quoting the next octet.
fn is_username(user: &str) -> bool {
    let mut in_atom = false;
    let mut chars = user.chars();
    while let Some(c) = chars.next() {
        in_atom = match c {
            '.' if in_atom => false,
            '\\' => match chars.next() {
                Some(quoted) if !quoted.is_control() => true,
                _ => return false,
            },
            c if is_beyond_ascii(c) || is_nai_char(c) => true,
            _ => return false,
        };
    }
    in_atom
}

fn is_nai_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

/// `UTF8-xtra-char` without C1 controls, which have no place in a log.
fn is_beyond_ascii(c: char) -> bool {
    !c.is_ascii() && !c.is_control()
}

/// `utf8-realm = 1*(label ".") label`: letters, digits, what is beyond ASCII, and inner hyphens.
fn is_realm(realm: &str) -> bool {
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || is_beyond_ascii(c))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    realm.contains('.') && realm.split('.').all(label_ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spi_has_28_bits_and_is_never_0() {
        assert_eq!(Spi::new(0), Err(IdError::SpiZero));
        assert_eq!(Spi::new(1).unwrap().get(), 1);
        assert_eq!(Spi::new(268_435_455), Ok(Spi::MAX));
        assert_eq!(Spi::new(268_435_456), Err(IdError::SpiTooLarge));
    }

    #[test]
    fn nai_examples_of_rfc4282() {
        for valid in [
            "bob",
            "joe@example.com",
            "fred@foo-9.example.com",
            "jack@3rd.depts.example.com",
            "fred.smith@example.com",
            "fred_smith@example.com",
            "fred$@example.com",
            "fred=?#$&*+-/^smith@example.com",
            "nancy@eng.example.net",
            "eng.example.net!nancy@example.net",
            "eng%nancy@example.net",
            "@privatecorp.example.net",
            "\\(user\\)@example.net",
        ] {
            assert!(MobileNodeId::new(valid).is_ok(), "{valid}");
        }
        for invalid in [
            "",
            "fred@example",
            "fred@example_9.com",
            "fred@example.net@example.net",
            "fred.@example.net",
            "eng:nancy@example.net",
            "eng;nancy@example.net",
            "(user)@example.net",
            "<nancy>@example.net",
            "a b@example.net",
            "x@-a.net",
        ] {
            assert!(MobileNodeId::new(invalid).is_err(), "{invalid}");
        }
    }

    /// RFC 7542 s.2.2 and its examples of s.3.3: realms may have more than ASCII.
    #[test]
    fn nai_examples_of_rfc7542() {
        for valid in [
            "fred@b\u{fc}ro.example.net",
            "f\u{f6}\u{f6}@example.net",
            "\u{8ae2}@\u{4f8b}.\u{4f8b}",
        ] {
            assert!(MobileNodeId::new(valid).is_ok(), "{valid}");
        }
        for invalid in [
            "fred@-\u{fc}.example.net",
            "fred@\u{fc}..net",
            "fred@\u{fc}",
            "fred@b\u{85}.example.net",
            "f\u{9b}@example.net",
        ] {
            assert!(MobileNodeId::new(invalid).is_err(), "{invalid:?}");
        }
        // The length is that of octets, not of characters.
        let long = format!("{}@example.net", "\u{fc}".repeat(121));
        assert_eq!(MobileNodeId::new(&long), Err(IdError::NaiLength));
    }

    #[test]
    fn nai_of_254_octets_is_too_long() {
        let realm = "@example.net";
        let longest = format!("{}{realm}", "a".repeat(253 - realm.len()));
        assert!(MobileNodeId::new(&longest).is_ok());
        assert_eq!(MobileNodeId::new(&format!("a{longest}")), Err(IdError::NaiLength));
    }
}
