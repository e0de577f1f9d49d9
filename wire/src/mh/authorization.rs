//! The Binding Authorization Data option, which ends a message between a mobile node and a
//! correspondent.
//!
//! Read first: RFC 6275 s.6.2.7.
//!
//! ```text
//!                                 +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!                                 |   Type = 5    |  Length = 12  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! +                   Authenticator (12 octets)                   +
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! The key and the algorithm are the caller's: this is where the octets stand.

use core::net::Ipv6Addr;

use super::option::{next_option, option_type};
use super::wire::{emit_with, set_checksum};
use super::{Message, mh_type};

/// Octets of an Authenticator.
pub const AUTHENTICATOR_LEN: usize = 12;
/// Where a Mobility Header has its checksum.
const CHECKSUM: core::ops::Range<usize> = 4..6;

/// What an Authenticator covers of a message, and the Authenticator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// MH Data, which goes behind care-of address and correspondent: the message in three pieces,
    /// its checksum as 0.
    pub mh_data: [&'a [u8]; 3],
    /// The Authenticator, to be compared in constant time.
    pub authenticator: &'a [u8; AUTHENTICATOR_LEN],
}

/// The Binding Authorization Data option of the Binding Acknowledgement at the start of `bytes`, which
/// [`super::parse`] has found right. `None` without one, and where it is not the last option or padding
/// follows it (RFC 6275 s.11.7.3).
#[must_use]
pub fn authorization(bytes: &[u8]) -> Option<Authorization<'_>> {
    let header_len = usize::from(*bytes.get(1)?);
    let message = bytes.get(..(header_len + 1) * 8)?;
    if message.get(2) != Some(&mh_type::BA) {
        return None;
    }
    let mut options = message.get(12..)?;
    while let Ok(Some((kind, data))) = next_option(&mut options) {
        if kind == option_type::AUTHORIZATION {
            let authenticator = data.try_into().ok().filter(|_| options.is_empty())?;
            let (head, rest) = message.split_at_checked(CHECKSUM.start)?;
            let rest = rest.get(CHECKSUM.len()..)?;
            let covered = rest.get(..rest.len().checked_sub(AUTHENTICATOR_LEN)?)?;
            return Some(Authorization { mh_data: [head, &[0, 0], covered], authenticator });
        }
    }
    None
}

/// As [`super::emit`], with a Binding Authorization Data option behind all others. `authenticate` gets
/// MH Data: the message without the Authenticator, its checksum 0.
#[must_use]
pub fn emit_authorized(
    message: &Message<'_>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
    authenticate: impl FnOnce(&[u8]) -> [u8; AUTHENTICATOR_LEN],
) -> Option<usize> {
    let len = emit_with(message, out, |writer| {
        writer.align(8, 2)?;
        writer.option(option_type::AUTHORIZATION, &[0; AUTHENTICATOR_LEN])
    })?;
    let (covered, place) = out.get_mut(..len)?.split_at_mut_checked(len - AUTHENTICATOR_LEN)?;
    place.copy_from_slice(&authenticate(covered));
    set_checksum(out.get_mut(..len)?, source, destination)?;
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mh::{
        BaOptions, BindingAck, BindingUpdate, BuFlags, BuOptions, NonceIndices, Status, parse,
    };

    const HERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const THERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
    const MAC: [u8; 12] = [0xa5; 12];

    fn ack() -> Message<'static> {
        Message::BindingAck(BindingAck {
            status: Status::ACCEPTED,
            key_management: false,
            mobile_router: false,
            seq: 7,
            lifetime: 105,
            options: BaOptions { refresh_advice: Some(1), ..BaOptions::default() },
        })
    }

    #[test]
    fn an_update_ends_with_its_authenticator() {
        let nonce_indices = Some(NonceIndices { home: 0x0102, care_of: 0x0304 });
        let options = BuOptions { nonce_indices, ..BuOptions::default() };
        let flags = BuFlags { acknowledge: true, ..BuFlags::default() };
        let update =
            Message::BindingUpdate(BindingUpdate { seq: 7, flags, lifetime: 105, options });
        let mut out = [0; 64];
        let mut covered = Vec::new();
        let len = emit_authorized(&update, HERE, THERE, &mut out, |mh_data| {
            covered = mh_data.to_vec();
            MAC
        });
        assert_eq!(len, Some(32));
        // Behind Nonce Indices no padding is needed up to 8n + 2.
        let head = [59, 3, 5, 0, 0, 0, 0, 7, 0x80, 0, 0, 105];
        let options = [4, 4, 1, 2, 3, 4, 5, 12];
        assert_eq!(covered, [&head[..], &options].concat());
        assert_eq!(out[20..32], MAC);
        assert_eq!(parse(&out[..32], HERE, THERE), Ok(update));
    }

    #[test]
    fn an_acknowledgement_gives_back_what_was_covered() {
        let mut out = [0; 64];
        let mut covered = Vec::new();
        let authenticate = |mh_data: &[u8]| {
            covered = mh_data.to_vec();
            MAC
        };
        let len = emit_authorized(&ack(), THERE, HERE, &mut out, authenticate).unwrap();
        let Authorization { mh_data, authenticator } = authorization(&out[..len]).unwrap();
        assert_eq!((mh_data.concat(), *authenticator), (covered, MAC));
    }

    /// RFC 6275 s.11.7.3: the last option, without trailing padding.
    #[test]
    fn what_stands_behind_it_spoils_it() {
        let mut out = [0; 64];
        let len = emit_authorized(&ack(), THERE, HERE, &mut out, |_| MAC).unwrap();
        for behind in [[1, 6, 0, 0, 0, 0, 0, 0], [0; 8]] {
            let mut longer = out[..len].to_vec();
            longer[1] += 1;
            longer.extend(behind);
            assert_eq!(authorization(&longer), None);
        }
        assert_eq!(authorization(&out[..len - 1]), None);
        let bare = crate::mh::emit(&ack(), THERE, HERE, &mut out).unwrap();
        assert_eq!(authorization(&out[..bare]), None);
    }
}
