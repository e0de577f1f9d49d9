//! Packets that the home agent itself wants: out of a tunnel what a mobile node says to its router,
//! and from a link what names a home address.
//!
//! Read first: RFC 6275 s.6.7, 9.3.1, 10.4.3, 10.4.4; RFC 2710 s.3; RFC 3810 s.5; RFC 3376 s.4;
//! reading R-27.

use core::net::IpAddr;
use core::net::Ipv6Addr;

use crate::config::Service;
use crate::drop_reason::DropReason;
use crate::layout::{
    ETHERNET_LEN, IPV6_LEN, Ip, UpperLayer, destination_port, ethertype, is_link_scope, proto,
    upper_layer, upper_layer_v6,
};
use crate::table::binding::BindingEntry;

/// ICMPv6 types: multicast listener reports of both versions, Done, and Mobile Prefix Solicitation.
const LISTENER: [u8; 3] = [131, 132, 143];
const PREFIX_SOLICITATION: u8 = 146;
/// IGMP types: membership reports of all versions, and Leave.
const MEMBERSHIP: [u8; 4] = [0x12, 0x16, 0x17, 0x22];
const IGMP: u8 = 2;
const DHCPV6_SERVER: u16 = 547;
const DHCPV4_SERVER: u16 = 67;

/// Whether an inner packet is for control (R-27): "MLD, IGMP and DHCP from the MN's link-local or
/// unspecified address go to the HA itself, attributed by SA, and are never forwarded".
///
/// DHCP stops here: nobody serves it (RFC 6275 s.10.4.4 leaves that to the home agent).
#[inline]
pub(crate) fn wants(
    ip: &Ip,
    packet: &[u8],
    binding: &BindingEntry,
    service: &Service,
) -> Result<bool, DropReason> {
    let to_home_agent = service.is_at(ip.destination);
    if !to_home_agent && !is_link_scope(ip.destination) {
        return Ok(false);
    }
    look(ip, packet, binding, to_home_agent)
}

#[cold]
fn look(
    ip: &Ip,
    packet: &[u8],
    binding: &BindingEntry,
    to_home_agent: bool,
) -> Result<bool, DropReason> {
    // what lies behind its own length is no part of it.
    let packet = packet.get(..usize::from(ip.total_len)).unwrap_or_default();
    let Some(upper) = upper_layer(ip, packet) else { return Ok(false) };
    let kind = packet.get(upper.offset).copied().unwrap_or_default();
    if is_dhcp(ip, packet, upper) {
        return Err(DropReason::InnerDhcp);
    }
    let is_membership = ip.destination.is_multicast()
        && match upper.proto {
            proto::ICMPV6 => ip.destination.is_ipv6() && LISTENER.contains(&kind),
            IGMP => ip.destination.is_ipv4() && MEMBERSHIP.contains(&kind),
            _ => false,
        };
    if is_membership {
        return if is_own(ip.source, binding) { Ok(true) } else { Err(DropReason::InnerSource) };
    }
    Ok(to_home_agent
        && ip.destination.is_ipv6()
        && upper.proto == proto::ICMPV6
        && kind == PREFIX_SOLICITATION
        && binding.is_home(ip.source))
}

fn is_dhcp(ip: &Ip, packet: &[u8], upper: UpperLayer) -> bool {
    let server = if ip.destination.is_ipv6() { DHCPV6_SERVER } else { DHCPV4_SERVER };
    upper.proto == proto::UDP && destination_port(packet, upper) == Some(server)
}

/// Addresses that a mobile node may have on the link that is its tunnel.
fn is_own(source: IpAddr, binding: &BindingEntry) -> bool {
    let on_link = match source {
        IpAddr::V4(v4) => v4.is_unspecified() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_unicast_link_local(),
    };
    on_link || binding.is_home(source)
}

/// Whether a packet is of Neighbour Discovery, Redirect included (RFC 4861 s.4), or may be: the
/// kernel follows more extension headers than are followed here.
pub(crate) fn is_discovery(ip: &Ip, packet: &[u8]) -> bool {
    if ip.destination.is_ipv4() {
        return false;
    }
    if upper_layer_v6(packet).is_none() {
        return true;
    }
    upper_layer(ip, packet).is_some_and(|upper| {
        upper.proto == proto::ICMPV6
            && packet.get(upper.offset).is_some_and(|kind| (133..=137).contains(kind))
    })
}

/// Source and destination of the IP packet in a frame, if it is one.
pub(crate) fn ip_addresses(frame: &[u8], packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let header = frame.first_chunk::<ETHERNET_LEN>()?;
    let version = packet.first()? >> 4;
    match [header[12], header[13]] {
        ethertype::IPV4 if version == 4 => Ip::addresses(packet),
        ethertype::IPV6 if version == 6 && packet.len() >= IPV6_LEN => Ip::addresses(packet),
        _ => None,
    }
}

/// The address in the Home Address option of an IPv6 packet, if it has one (RFC 6275 s.6.3), and is
/// no Mobility Header, of which Binding Updates may have it (s.9.3.1).
pub(crate) fn home_address_option(packet: &[u8]) -> Option<Ipv6Addr> {
    if packet.first()? >> 4 != 6 {
        return None;
    }
    let (mut next, mut offset, mut found) = (*packet.get(6)?, IPV6_LEN, None);
    for _ in 0..8 {
        if !matches!(next, proto::HOP_BY_HOP | proto::ROUTING | proto::DESTINATION_OPTIONS) {
            return found.filter(|_| next != proto::MOBILITY);
        }
        let &[following, len] = packet.get(offset..)?.first_chunk::<2>()?;
        let end = offset + (usize::from(len) + 1) * 8;
        if next == proto::DESTINATION_OPTIONS && found.is_none() {
            found = home_address_among(packet.get(offset + 2..end)?);
        }
        (next, offset) = (following, end);
    }
    // Longer than any honest one.
    None
}

fn home_address_among(mut options: &[u8]) -> Option<Ipv6Addr> {
    const PAD1: u8 = 0;
    const HOME_ADDRESS: u8 = 0xc9;
    while let Some((&kind, rest)) = options.split_first() {
        if kind == PAD1 {
            options = rest;
            continue;
        }
        let (&len, rest) = rest.split_first()?;
        let (value, rest) = rest.split_at_checked(len.into())?;
        if kind == HOME_ADDRESS {
            return <[u8; 16]>::try_from(value).ok().map(Ipv6Addr::from);
        }
        options = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_wire::exthdr::home_address_header;
    use proptest::prelude::*;

    fn packet(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, rest.len() as u8, next, 64];
        packet.extend([0x20; 32]);
        packet.extend(rest);
        packet
    }

    #[test]
    fn a_home_address_option_is_found_behind_other_headers() {
        let home: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let options = home_address_header(58, home);
        assert_eq!(home_address_option(&packet(60, &options)), Some(home));
        let behind = [&[60, 0, 5, 2, 0, 0, 1, 0][..], &options].concat();
        assert_eq!(home_address_option(&packet(0, &behind)), Some(home));
        // Another option first; a header of padding alone; a chain that stops short.
        let padded = [&[60, 0, 1, 4, 0, 0, 0, 0][..], &options].concat();
        assert_eq!(home_address_option(&packet(60, &padded)), Some(home));
        assert_eq!(home_address_option(&packet(60, &padded[..8])), None);
        assert_eq!(home_address_option(&packet(60, &options[..20])), None);
        assert_eq!(home_address_option(&packet(17, &options)), None);
        let signalling = home_address_header(135, home);
        assert_eq!(home_address_option(&packet(60, &signalling)), None);
    }

    proptest! {
        #[test]
        fn any_octets_are_answered(
            octets in prop::collection::vec(any::<u8>(), 0..120),
            next in prop::sample::select(vec![0_u8, 43, 60]),
        ) {
            home_address_option(&octets);
            home_address_option(&packet(next, &octets));
            ip_addresses(&octets, octets.get(14..).unwrap_or_default());
        }
    }
}
