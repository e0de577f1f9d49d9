//! The four messages of the return routability procedure.
//!
//! Read first: RFC 6275 s.5.2.5, 6.1.3 to 6.1.6.
//!
//! Home Test Init and Care-of Test Init:
//!
//! ```text
//!                                 +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!                                 |            Reserved           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! +                     Init Cookie (8 octets)                    +
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! Home Test and Care-of Test:
//!
//! ```text
//!                                 +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!                                 |          Nonce Index          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! +                     Init Cookie (8 octets)                    +
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! +                     Keygen Token (8 octets)                   +
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::fmt;

use super::writer::Writer;
use super::{MhError, mh_type, option};

/// Which of the two addresses a test is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TestedAddress {
    /// The home address: Home Test Init, Home Test.
    Home,
    /// The care-of address: Care-of Test Init, Care-of Test.
    CareOf,
}

/// A keygen token where it stands in a message. Half of the key that authorizes a binding, so it is
/// not printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeygenToken<'a>(pub &'a [u8; 8]);

impl fmt::Debug for KeygenToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeygenToken(..)")
    }
}

/// A message of the return routability procedure; its mobility options mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnRoutability<'a> {
    /// Home Test Init or Care-of Test Init.
    Init {
        /// The address that is tested.
        address: TestedAddress,
        /// Home Init Cookie or Care-of Init Cookie.
        cookie: [u8; 8],
    },
    /// Home Test or Care-of Test.
    Test {
        /// The address that was tested.
        address: TestedAddress,
        /// Home Nonce Index or Care-of Nonce Index, for the Binding Update.
        nonce_index: u16,
        /// The cookie of the message that this one answers.
        cookie: [u8; 8],
        /// Home Keygen Token or Care-of Keygen Token.
        token: KeygenToken<'a>,
    },
}

impl<'a> ReturnRoutability<'a> {
    /// Its MH Type.
    #[must_use]
    pub const fn mh_type(&self) -> u8 {
        match self {
            Self::Init { address: TestedAddress::Home, .. } => mh_type::HOTI,
            Self::Init { address: TestedAddress::CareOf, .. } => mh_type::COTI,
            Self::Test { address: TestedAddress::Home, .. } => mh_type::HOT,
            Self::Test { address: TestedAddress::CareOf, .. } => mh_type::COT,
        }
    }

    /// Reads the Message Data of one of the four types.
    pub(super) fn parse(mh_type: u8, data: &'a [u8]) -> Result<Self, MhError> {
        let address = match mh_type {
            mh_type::HOTI | mh_type::HOT => TestedAddress::Home,
            _ => TestedAddress::CareOf,
        };
        let (index, data) = data.split_first_chunk::<2>().ok_or(MhError::HeaderLen)?;
        let (cookie, data) = data.split_first_chunk::<8>().ok_or(MhError::HeaderLen)?;
        if matches!(mh_type, mh_type::HOTI | mh_type::COTI) {
            option::walk(data)?;
            return Ok(Self::Init { address, cookie: *cookie });
        }
        let (token, options) = data.split_first_chunk::<8>().ok_or(MhError::HeaderLen)?;
        option::walk(options)?;
        let (nonce_index, token) = (u16::from_be_bytes(*index), KeygenToken(token));
        Ok(Self::Test { address, nonce_index, cookie: *cookie, token })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        match self {
            Self::Init { cookie, .. } => {
                writer.put(&[0, 0])?;
                writer.put(cookie)
            }
            Self::Test { nonce_index, cookie, token, .. } => {
                writer.put(&nonce_index.to_be_bytes())?;
                writer.put(cookie)?;
                writer.put(token.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::mh::{Message, emit, parse};

    const HERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const THERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
    const COOKIE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
    const TOKEN: [u8; 8] = [9, 10, 11, 12, 13, 14, 15, 16];

    /// Octets as the diagrams say, checksum left out, and message.
    fn table() -> [(Vec<u8>, ReturnRoutability<'static>); 4] {
        use TestedAddress::{CareOf, Home};
        let init = |mh_type, address| {
            let octets = [&[59, 1, mh_type, 0, 0, 0, 0, 0], &COOKIE[..]].concat();
            (octets, ReturnRoutability::Init { address, cookie: COOKIE })
        };
        let test = |mh_type, address| {
            let octets = [&[59, 2, mh_type, 0, 0, 0, 0x12, 0x34], &COOKIE[..], &TOKEN].concat();
            let token = KeygenToken(&TOKEN);
            let message =
                ReturnRoutability::Test { address, nonce_index: 0x1234, cookie: COOKIE, token };
            (octets, message)
        };
        [init(1, Home), init(2, CareOf), test(3, Home), test(4, CareOf)]
    }

    #[test]
    fn octets_and_messages_are_each_others() {
        for (octets, message) in table() {
            let mut out = [0; 64];
            let wrapped = Message::ReturnRoutability(message);
            let len = emit(&wrapped, HERE, THERE, &mut out).unwrap();
            assert_eq!(message.mh_type(), octets[2]);
            assert_eq!(parse(&out[..len], HERE, THERE), Ok(wrapped));
            out[4..6].fill(0);
            assert_eq!(out[..len], octets);
        }
    }

    #[test]
    fn a_test_without_a_token_is_too_short() {
        assert_eq!(ReturnRoutability::parse(3, &[0; 10]), Err(MhError::HeaderLen));
        assert_eq!(ReturnRoutability::parse(1, &[0; 9]), Err(MhError::HeaderLen));
    }

    #[test]
    fn a_token_is_not_printed() {
        let (_, message) = &table()[2];
        assert!(format!("{message:?}").contains("KeygenToken(..)"));
    }

    proptest! {
        #[test]
        fn never_panics(mh_type in 1..5_u8, data in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = ReturnRoutability::parse(mh_type, &data);
        }
    }
}
