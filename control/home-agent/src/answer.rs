//! The messages that the home agent sends.
//!
//! Read first: RFC 6275 s.6.1.8, 6.1.9, 9.5.4; readings.

use core::net::Ipv6Addr;

use hearth_wire::exthdr;
use hearth_wire::mh::{self, Message};

/// Octets of the longest message that is sent, with all its options.
const LONGEST: usize = 256;

/// Where the mobile node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// Away from home: a type 2 routing header carries its home address.
    Away,
    /// At home, seen by a de-registration without Home Address option: no routing header.
    Home,
}

/// Next Header and payload of a PType 8 packet that carries `message`. The checksum's source is
/// the HA address that the HAC handed out, its destination the home address.
pub(crate) fn payload(
    message: &Message<'_>,
    home_address: Ipv6Addr,
    ha_address: Ipv6Addr,
    whereabouts: Whereabouts,
) -> Option<(u8, Vec<u8>)> {
    let mut mobility_header = [0; LONGEST];
    let len = mh::emit(message, ha_address, home_address, &mut mobility_header)?;
    let mobility_header = mobility_header.get(..len)?;
    match whereabouts {
        Whereabouts::Away => {
            let routing = exthdr::routing_header(mh::PROTO, home_address);
            Some((exthdr::ROUTING, [&routing, mobility_header].concat()))
        }
        Whereabouts::Home => Some((mh::PROTO, mobility_header.to_vec())),
    }
}
