//! The IPv6 extension headers in front of a Mobility Header in a PType 8 packet.
//!
//! Read first: RFC 6275 s.6.3, 6.4; RFC 8200 s.4.2, 4.6; reading R-29.
//!
//! Destination Options header with the Home Address option (MN to HA), aligned to 8n+6:
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Next Header  |Hdr Ext Len = 2|   PadN = 1    |  Length = 2   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               0               |  Type = 201   |  Length = 16  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                     Home Address (16 octets)                  :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! Type 2 routing header (HA to MN):
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Next Header  |Hdr Ext Len = 2|Routing Type=2 |Segments Left=1|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                            Reserved                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                     Home Address (16 octets)                  :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::mh;

/// Next Header value of the Routing header.
pub const ROUTING: u8 = 43;
/// Next Header value of the Destination Options header.
pub const DESTINATION_OPTIONS: u8 = 60;
/// Next Header value that says that nothing follows.
pub const NO_NEXT_HEADER: u8 = 59;

/// Option types of the Destination Options header.
mod option_type {
    pub(super) const PAD1: u8 = 0;
    pub(super) const PAD_N: u8 = 1;
    pub(super) const HOME_ADDRESS: u8 = 0xc9;
}

/// Routing Type of Mobile IPv6.
const ROUTING_TYPE_2: u8 = 2;

/// Why an extension header chain is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChainError {
    /// A header or an option runs past the end.
    Truncated,
    /// A header that R-29 does not allow in front of the Mobility Header (an inner IP header, say,
    /// or a routing header that is not type 2).
    UnexpectedHeader(u8),
    /// An option that is not understood and whose type says to discard (RFC 8200 s.4.2).
    UnknownOption(u8),
    /// Home Address option or type 2 routing header twice, or with a wrong length or Segments Left.
    Malformed,
}

/// A PType 8 payload, taken apart as far as the Mobility Header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    /// The address in the Home Address destination option (MN to HA).
    pub home_address: Option<Ipv6Addr>,
    /// The address in the type 2 routing header (HA to MN).
    pub routing_home_address: Option<Ipv6Addr>,
    /// The Mobility Header, to the end of the payload.
    pub mobility_header: &'a [u8],
}

/// Walks the chain that `next_header` (from the frame's trailer) starts in `payload`.
///
/// # Errors
/// [`ChainError`].
pub fn parse_chain(next_header: u8, payload: &[u8]) -> Result<Chain<'_>, ChainError> {
    let mut chain =
        Chain { home_address: None, routing_home_address: None, mobility_header: payload };
    let mut next_header = next_header;
    // Every turn takes 8 octets or more off the payload.
    while next_header != mh::PROTO {
        if !matches!(next_header, DESTINATION_OPTIONS | ROUTING) {
            return Err(ChainError::UnexpectedHeader(next_header));
        }
        let (header, rest) = split_header(chain.mobility_header)?;
        let [following, _, body @ ..] = header else {
            return Err(ChainError::Truncated);
        };
        let (slot, address) = if next_header == DESTINATION_OPTIONS {
            (&mut chain.home_address, parse_options(body)?)
        } else {
            (&mut chain.routing_home_address, Some(parse_routing(header)?))
        };
        if slot.is_some() && address.is_some() {
            return Err(ChainError::Malformed);
        }
        *slot = slot.or(address);
        chain.mobility_header = rest;
        next_header = *following;
    }
    Ok(chain)
}

/// Splits off one extension header, `Hdr Ext Len` units of 8 octets behind the first 8.
fn split_header(bytes: &[u8]) -> Result<(&[u8], &[u8]), ChainError> {
    let hdr_ext_len = *bytes.get(1).ok_or(ChainError::Truncated)?;
    bytes.split_at_checked((usize::from(hdr_ext_len) + 1) * 8).ok_or(ChainError::Truncated)
}

/// The Home Address option among the options of one Destination Options header.
fn parse_options(mut options: &[u8]) -> Result<Option<Ipv6Addr>, ChainError> {
    let mut home_address = None;
    while let [option_type, rest @ ..] = options {
        if *option_type == option_type::PAD1 {
            options = rest;
            continue;
        }
        let (len, rest) = rest.split_first().ok_or(ChainError::Truncated)?;
        let (data, rest) = rest.split_at_checked(usize::from(*len)).ok_or(ChainError::Truncated)?;
        match *option_type {
            option_type::PAD_N => {}
            option_type::HOME_ADDRESS => {
                let address = <[u8; 16]>::try_from(data).map_err(|_| ChainError::Malformed)?;
                // RFC 6275 s.6.3: not more than once.
                if home_address.replace(Ipv6Addr::from(address)).is_some() {
                    return Err(ChainError::Malformed);
                }
            }
            // RFC 8200 s.4.2: the two highest bits 00 say skip, all others discard.
            unknown if unknown & 0xc0 == 0 => {}
            unknown => return Err(ChainError::UnknownOption(unknown)),
        }
        options = rest;
    }
    Ok(home_address)
}

/// The type 2 routing header as it stands on the wire.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RoutingHeader {
    next_header: u8,
    hdr_ext_len: u8,
    routing_type: u8,
    segments_left: u8,
    reserved: U32,
    home_address: [u8; 16],
}

const _: () = assert!(size_of::<RoutingHeader>() == 24);

/// The home address of a type 2 routing header (RFC 6275 s.6.4.1).
fn parse_routing(header: &[u8]) -> Result<Ipv6Addr, ChainError> {
    if header.get(2) != Some(&ROUTING_TYPE_2) {
        return Err(ChainError::UnexpectedHeader(ROUTING));
    }
    // The whole header is 24 octets: Hdr Ext Len MUST be 2.
    let header = RoutingHeader::ref_from_bytes(header).map_err(|_| ChainError::Malformed)?;
    if header.segments_left == 1 {
        Ok(header.home_address.into())
    } else {
        Err(ChainError::Malformed)
    }
}

/// Takes a type 2 routing header off the start of `bytes`: its Next Header, the home address in it, and
/// what follows.
///
/// # Errors
/// [`ChainError`], where it is another header, or malformed (RFC 6275 s.6.4.1).
pub fn split_routing_header(bytes: &[u8]) -> Result<(u8, Ipv6Addr, &[u8]), ChainError> {
    let (header, rest) = split_header(bytes)?;
    let home_address = parse_routing(header)?;
    Ok((*header.first().ok_or(ChainError::Truncated)?, home_address, rest))
}

/// A Destination Options header with nothing but a Home Address option, as it is sent.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct HomeAddressHeader {
    next_header: u8,
    hdr_ext_len: u8,
    pad_n: [u8; 4],
    option_type: u8,
    option_len: u8,
    home_address: [u8; 16],
}

/// A Destination Options header that holds a Home Address option: 24 octets.
#[must_use]
pub fn home_address_header(next_header: u8, home_address: Ipv6Addr) -> [u8; 24] {
    zerocopy::transmute!(HomeAddressHeader {
        next_header,
        hdr_ext_len: 2,
        pad_n: [option_type::PAD_N, 2, 0, 0],
        option_type: option_type::HOME_ADDRESS,
        option_len: 16,
        home_address: home_address.octets(),
    })
}

/// A type 2 routing header: 24 octets.
#[must_use]
pub fn routing_header(next_header: u8, home_address: Ipv6Addr) -> [u8; 24] {
    zerocopy::transmute!(RoutingHeader {
        next_header,
        hdr_ext_len: 2,
        routing_type: ROUTING_TYPE_2,
        segments_left: 1,
        reserved: U32::ZERO,
        home_address: home_address.octets(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
    const HOA_OCTETS: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];

    /// A Destination Options header in front of "MH", from the octets behind Hdr Ext Len.
    fn options_header(options: &[u8]) -> Vec<u8> {
        let mut header = vec![mh::PROTO, 0];
        header.extend_from_slice(options);
        header.resize(header.len().next_multiple_of(8), option_type::PAD1);
        header[1] = u8::try_from(header.len() / 8 - 1).unwrap();
        header.extend_from_slice(b"MH");
        header
    }

    fn home_address_option() -> Vec<u8> {
        [&[0xc9, 16], &HOA_OCTETS[..]].concat()
    }

    #[test]
    fn headers_stand_as_the_diagrams_say() {
        let (start, address) = (&[135, 2, 1, 2, 0, 0, 0xc9, 16], HOA_OCTETS);
        assert_eq!(home_address_header(135, HOA)[..], [&start[..], &address].concat());
        let start = &[135, 2, 2, 1, 0, 0, 0, 0];
        assert_eq!(routing_header(135, HOA)[..], [&start[..], &address].concat());
    }

    #[test]
    fn the_three_shapes_of_a_chain() {
        // ENC-33
        let plain = parse_chain(135, b"MH").unwrap();
        assert_eq!((plain.home_address, plain.routing_home_address), (None, None));
        let payload = [&home_address_header(135, HOA)[..], b"MH"].concat();
        let from_mn = parse_chain(60, &payload).unwrap();
        assert_eq!((from_mn.home_address, from_mn.routing_home_address), (Some(HOA), None));
        let payload = [&routing_header(135, HOA)[..], b"MH"].concat();
        let from_ha = parse_chain(43, &payload).unwrap();
        assert_eq!((from_ha.home_address, from_ha.routing_home_address), (None, Some(HOA)));
        for chain in [plain, from_mn, from_ha] {
            assert_eq!(chain.mobility_header, b"MH");
        }
    }

    #[test]
    fn both_headers_in_either_order() {
        let routing_first =
            [&routing_header(60, HOA)[..], &home_address_header(135, HOA), b"MH"].concat();
        let options_first =
            [&home_address_header(43, HOA)[..], &routing_header(135, HOA), b"MH"].concat();
        for (next_header, payload) in [(43, routing_first), (60, options_first)] {
            let chain = parse_chain(next_header, &payload).unwrap();
            assert_eq!((chain.home_address, chain.routing_home_address), (Some(HOA), Some(HOA)));
            assert_eq!(chain.mobility_header, b"MH");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        // ENC-34: no inner IPv6 (41) or IPv4 (4) header, first or behind another
        for next_header in (0..=255).filter(|value| !matches!(value, 43 | 60 | 135)) {
            let refused = Err(ChainError::UnexpectedHeader(next_header));
            assert_eq!(parse_chain(next_header, &[0; 64]), refused);
            let payload = [&home_address_header(next_header, HOA)[..], &[0; 64]].concat();
            assert_eq!(parse_chain(60, &payload), refused);
        }
    }

    #[test]
    fn padding_and_skippable_options_around_the_home_address() {
        let hoa = home_address_option();
        let before: &[u8] = &[0, 1, 0, 0x1e, 1, 0xff, 0, 1, 1, 0xff, 4, 1, 7];
        let payload = options_header(&[before, &hoa, &[1, 2, 0, 0, 0x3f, 0]].concat());
        let chain = parse_chain(60, &payload).unwrap();
        assert_eq!((chain.home_address, chain.mobility_header), (Some(HOA), &b"MH"[..]));
    }

    #[test]
    fn unknown_options_go_by_their_two_high_bits() {
        for option_type in 2..=255 {
            let result = parse_chain(60, options_header(&[option_type, 0]).leak());
            match option_type {
                0xc9 => assert_eq!(result, Err(ChainError::Malformed)),
                2..0x40 => assert!(result.is_ok()),
                _ => assert_eq!(result, Err(ChainError::UnknownOption(option_type))),
            }
        }
    }

    #[test]
    fn home_address_option_once_and_of_16_octets() {
        let hoa = home_address_option();
        let malformed = Err(ChainError::Malformed);
        assert_eq!(parse_chain(60, &options_header(&[&hoa[..], &hoa].concat())), malformed);
        assert_eq!(
            parse_chain(60, &options_header(&[&[0xc9, 15], &[0; 15][..]].concat())),
            malformed
        );
        let twice = [home_address_header(60, HOA), home_address_header(135, HOA)].concat();
        assert_eq!(parse_chain(60, &twice), malformed);
    }

    #[test]
    fn routing_header_is_type_2_with_one_segment_left() {
        let good = routing_header(135, HOA);
        let broken = |place: usize, value| {
            let mut header = [&good[..], &[0; 40]].concat();
            header[place] = value;
            parse_chain(43, header.leak())
        };
        assert_eq!(broken(1, 4), Err(ChainError::Malformed));
        assert_eq!(broken(1, 0), Err(ChainError::Malformed));
        assert_eq!(broken(3, 0), Err(ChainError::Malformed));
        assert_eq!(broken(3, 2), Err(ChainError::Malformed));
        for routing_type in [0, 1, 3, 4] {
            assert_eq!(broken(2, routing_type), Err(ChainError::UnexpectedHeader(43)));
        }
        assert!(broken(4, 0xff).is_ok(), "the reserved field is ignored");
        let twice = [routing_header(43, HOA), good].concat();
        assert_eq!(parse_chain(43, &twice), Err(ChainError::Malformed));
    }

    #[test]
    fn a_routing_header_comes_off() {
        let packet = [&routing_header(17, HOA)[..], b"behind"].concat();
        assert_eq!(split_routing_header(&packet), Ok((17, HOA, &b"behind"[..])));
        for len in 0..24 {
            assert_eq!(split_routing_header(&packet[..len]), Err(ChainError::Truncated));
        }
        let other = [[17, 2, 0, 1].as_slice(), &packet[4..]].concat();
        assert_eq!(split_routing_header(&other), Err(ChainError::UnexpectedHeader(43)));
    }

    #[test]
    fn what_runs_past_the_end_is_refused() {
        for header in [(60, home_address_header(135, HOA)), (43, routing_header(135, HOA))] {
            for len in 0..24 {
                assert_eq!(parse_chain(header.0, &header.1[..len]), Err(ChainError::Truncated));
            }
        }
        let past_the_header = [135, 0, 0x1e, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(parse_chain(60, &past_the_header), Err(ChainError::Truncated));
        assert_eq!(parse_chain(60, &[135, 0, 0, 0, 0, 0, 0, 0x1e]), Err(ChainError::Truncated));
    }

    proptest! {
        #[test]
        fn never_panics(
            next_header in prop::sample::select(vec![43_u8, 60, 135, 41]),
            payload in prop::collection::vec(any::<u8>(), 0..128),
        ) {
            let _ = parse_chain(next_header, &payload);
        }

        #[test]
        fn options_never_panic(options in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = parse_options(&options);
        }
    }
}
