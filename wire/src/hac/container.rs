//! The request-response message container.
//!
//! Read first: RFC 6618 s.5.1, 5.3; reading R-3.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Ver |  Rsrvd  | Identifier    | Length                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Content portion..                                             ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::fmt;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};
use zeroize::Zeroizing;

/// The first Identifier of a session, and the one of a refusal that has none to copy (R-3).
pub const FIRST_IDENTIFIER: u8 = 1;

/// The largest content in octets.
pub const MAX_CONTENT: usize = u16::MAX as usize;

/// The four octets in front of the content, as they stand on the wire.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Ver in the upper 3 bits; Rsrvd, which is ignored on receipt (R-3), in the lower 5.
    ver_rsrvd: u8,
    identifier: u8,
    length: U16,
}

const _: () = assert!(size_of::<Header>() == Header::LEN);

impl Header {
    /// Octets on the wire.
    pub const LEN: usize = 4;

    /// The 3-bit version.
    #[must_use]
    pub const fn version(self) -> u8 {
        self.ver_rsrvd >> 5
    }

    /// The Identifier, 0 included.
    #[must_use]
    pub const fn identifier(self) -> u8 {
        self.identifier
    }

    /// Octets of content.
    #[must_use]
    pub const fn length(self) -> u16 {
        self.length.get()
    }
}

/// One request or response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Container<'a> {
    /// Identifier, 1 to 255.
    pub identifier: u8,
    /// Content portion, 1 to 65535 octets.
    pub content: &'a [u8],
}

/// The content may hold keys, so only its length is shown.
impl fmt::Debug for Container<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container")
            .field("identifier", &self.identifier)
            .field("length", &self.content.len())
            .finish()
    }
}

/// Why a container is refused: 400 and close (R-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerError {
    /// Ver is not 0.
    Version(u8),
    /// Identifier is 0.
    Identifier,
    /// Length is 0.
    Length {
        /// The Identifier, which the refusal copies.
        identifier: u8,
    },
}

impl ContainerError {
    /// The Identifier that a refusal carries: a copy where there is a valid one, else 1 (R-3).
    #[must_use]
    pub const fn response_identifier(self) -> u8 {
        match self {
            // Under another version the octet may mean anything.
            Self::Version(_) | Self::Identifier => FIRST_IDENTIFIER,
            Self::Length { identifier } => identifier,
        }
    }
}

impl fmt::Display for ContainerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "container version {version} is not 0"),
            Self::Identifier => f.write_str("container Identifier is 0"),
            Self::Length { .. } => f.write_str("container Length is 0"),
        }
    }
}

impl std::error::Error for ContainerError {}

/// The container at the start of `buf` and the octets it takes; `None` where more octets have to
/// be read first.
///
/// # Errors
/// [`ContainerError`], as soon as the header is there.
pub fn decode(buf: &[u8]) -> Result<Option<(Container<'_>, usize)>, ContainerError> {
    let Ok((header, rest)) = Header::read_from_prefix(buf) else {
        return Ok(None);
    };
    let identifier = header.identifier();
    if header.version() != 0 {
        return Err(ContainerError::Version(header.version()));
    }
    if identifier == 0 {
        return Err(ContainerError::Identifier);
    }
    if header.length() == 0 {
        return Err(ContainerError::Length { identifier });
    }
    let length = usize::from(header.length());
    Ok(rest.get(..length).map(|content| (Container { identifier, content }, Header::LEN + length)))
}

/// Header and `content`, wiped on drop as the content may hold keys; `None` where `identifier` is
/// 0 or the content is not 1 to 65535 octets.
#[must_use]
pub fn encode(identifier: u8, content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let length = u16::try_from(content.len()).ok().filter(|length| *length != 0)?;
    if identifier == 0 {
        return None;
    }
    let header = Header { ver_rsrvd: 0, identifier, length: U16::new(length) };
    let mut container = Zeroizing::new(Vec::with_capacity(Header::LEN + content.len()));
    container.extend_from_slice(header.as_bytes());
    container.extend_from_slice(content);
    Some(container)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stands_as_figure_3_says() {
        let octets = [0x00, 0x07, 0x00, 0x03, b'a', b'b', b'c'];
        assert_eq!(encode(7, b"abc").unwrap()[..], octets);
        let container = Container { identifier: 7, content: b"abc" };
        assert_eq!(decode(&octets), Ok(Some((container, 7))));
    }

    #[test]
    fn version_other_than_0() {
        // HAC-04
        for version in 1..8 {
            let refused = ContainerError::Version(version);
            assert_eq!(decode(&[version << 5, 9, 0, 1, b'x']), Err(refused));
            assert_eq!(refused.response_identifier(), 1);
        }
    }

    #[test]
    fn reserved_bits_are_ignored_and_sent_as_0() {
        // HAC-05
        assert!(matches!(decode(&[0x1f, 1, 0, 1, b'x']), Ok(Some(_))));
        assert_eq!(encode(1, b"x").unwrap()[0], 0);
    }

    #[test]
    fn identifier_0() {
        // HAC-06
        assert_eq!(decode(&[0, 0, 0, 1, b'x']), Err(ContainerError::Identifier));
        assert_eq!(ContainerError::Identifier.response_identifier(), 1);
        assert!(encode(0, b"x").is_none());
    }

    #[test]
    fn lengths_0_1_and_65535() {
        // HAC-09
        let refused = ContainerError::Length { identifier: 5 };
        assert_eq!(decode(&[0, 5, 0, 0]), Err(refused));
        assert_eq!(refused.response_identifier(), 5);
        for length in [1, MAX_CONTENT] {
            let container = encode(1, &vec![b'x'; length]).unwrap();
            let (decoded, taken) = decode(&container).unwrap().unwrap();
            assert_eq!((decoded.content.len(), taken), (length, container.len()));
        }
        assert!(encode(1, b"").is_none());
        assert!(encode(1, &vec![b'x'; MAX_CONTENT + 1]).is_none());
    }

    #[test]
    fn dribbled_octets_and_two_in_one_record() {
        // HAC-12
        let two = [&encode(1, b"first").unwrap()[..], &encode(2, b"second").unwrap()].concat();
        for len in 0..9 {
            assert_eq!(decode(&two[..len]), Ok(None), "{len} octets");
        }
        let (first, taken) = decode(&two).unwrap().unwrap();
        let (second, rest) = decode(&two[taken..]).unwrap().unwrap();
        assert_eq!((first.identifier, first.content), (1, &b"first"[..]));
        assert_eq!((second.identifier, second.content), (2, &b"second"[..]));
        assert_eq!(taken + rest, two.len());
    }

    #[test]
    fn debug_shows_no_content() {
        let container = Container { identifier: 1, content: b"mip6-mn-to-ha-ikey:00" };
        assert_eq!(format!("{container:?}"), "Container { identifier: 1, length: 21 }");
    }

    proptest! {
        #[test]
        fn decode_never_panics(buf in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&buf);
        }

        #[test]
        fn survives_the_wire(
            identifier in 1..=255_u8,
            content in prop::collection::vec(any::<u8>(), 1..300),
        ) {
            let octets = encode(identifier, &content).unwrap();
            let container = Container { identifier, content: &content };
            prop_assert_eq!(decode(&octets), Ok(Some((container, octets.len()))));
        }
    }
}
