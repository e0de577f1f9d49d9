//! What the requests look like, and what is read from the answers.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Link, Rule, Selector, Verdict};

/// The messages of a datagram, as far as they can be read.
pub(super) fn messages(
    mut datagram: &[u8],
) -> impl Iterator<Item = NetlinkMessage<RouteNetlinkMessage>> + use<'_> {
    std::iter::from_fn(move || {
        loop {
            let length = datagram.first_chunk::<4>().map(|octets| u32::from_ne_bytes(*octets))?;
            let length = usize::try_from(length).ok().filter(|length| *length >= 16)?;
            let message = datagram.get(..length)?;
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
            // A kind that this program does not know is passed over.
            if let Ok(message) = NetlinkMessage::deserialize(message) {
                return Some(message);
            }
        }
    })
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

pub(super) const fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

pub(super) fn link_of(message: &RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    Some(Link {
        index: link.header.index,
        name,
        is_up: is_up(link),
        is_loopback: link.header.flags.contains(LinkFlags::Loopback),
    })
}

/// The link of a global address whose prefix, longer than none and shorter than a host's, has
/// `address` in it.
pub(super) fn link_around(message: &RouteNetlinkMessage, address: Ipv6Addr) -> Option<u32> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let own = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(IpAddr::V6(own)) => Some(*own),
        _ => None,
    })?;
    let length = message.header.prefix_len;
    let around = own != address
        && (1..128).contains(&length)
        && !own.is_unicast_link_local()
        && Ipv6Net::new(own, length).is_ok_and(|net| net.contains(&address));
    around.then_some(message.header.index)
}

pub(super) fn link_layer_of(message: &RouteNetlinkMessage, index: u32) -> Option<[u8; 6]> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let mac = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(octets) => <[u8; 6]>::try_from(octets.as_slice()).ok(),
        _ => None,
    });
    mac.filter(|_| link.header.index == index)
}

pub(super) fn is_up(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp)
}

pub(super) fn address_message(index: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.index = index;
    message.header.prefix_len = host_prefix(address);
    if address.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    message
}

/// An address on a link that others share, with duplicate address detection.
pub(super) fn network_address_message(index: u32, address: Ipv6Net) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    message.attributes.push(AddressAttribute::Local(address.addr().into()));
    message.attributes.push(AddressAttribute::Address(address.addr().into()));
    message
}

pub(super) fn route_message(table: u32, prefix: IpNet, index: u32, source: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(prefix.addr());
    message.header.destination_prefix_length = prefix.prefix_len();
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Table(table));
    if prefix.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(prefix.network().into()));
    }
    message.attributes.push(RouteAttribute::Oif(index));
    message.attributes.push(RouteAttribute::PrefSource(source.into()));
    message
}

pub(super) fn unreachable_message(table: u32, prefix: IpNet) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(prefix.addr());
    message.header.destination_prefix_length = prefix.prefix_len();
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unreachable;
    message.attributes.push(RouteAttribute::Table(table));
    message.attributes.push(RouteAttribute::Destination(prefix.network().into()));
    message
}

pub(super) fn is_unicast_route(message: &RouteNetlinkMessage) -> bool {
    matches!(message, RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Unicast)
}

pub(super) fn is_no_route(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, NotFound};
    matches!(error.kind(), HostUnreachable | NetworkUnreachable | NotFound)
}

pub(super) fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.is_ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::Static));
    message.header.action = match rule.verdict {
        Verdict::Table(table) => {
            attributes.push(RuleAttribute::Table(table));
            RuleAction::ToTable
        }
        Verdict::TableButDefault(table) => {
            attributes.push(RuleAttribute::Table(table));
            attributes.push(RuleAttribute::SuppressPrefixLen(0));
            RuleAction::ToTable
        }
        Verdict::Goto(priority) => {
            attributes.push(RuleAttribute::Goto(priority));
            RuleAction::Goto
        }
        Verdict::Nop => RuleAction::Nop,
        Verdict::Unreachable => RuleAction::Unreachable,
    };
    match rule.selector {
        Selector::All => {}
        Selector::From(prefix) => {
            message.header.src_len = prefix.prefix_len();
            attributes.push(RuleAttribute::Source(prefix.network()));
        }
        Selector::To(prefix) => {
            message.header.dst_len = prefix.prefix_len();
            attributes.push(RuleAttribute::Destination(prefix.network()));
        }
        Selector::Marked(mark) => attributes.push(RuleAttribute::FwMark(mark)),
    }
    message
}

/// Whether the kernel's `dumped` rule is `ours`: it tells more attributes than it was given.
pub(super) fn is_same_rule(ours: &RuleMessage, dumped: &RuleMessage) -> bool {
    let of = |rule: &RuleMessage| {
        (rule.header.family, rule.header.src_len, rule.header.dst_len, rule.header.action)
    };
    of(ours) == of(dumped) && ours.attributes.iter().all(|it| dumped.attributes.contains(it))
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkPayload;

    use super::*;

    fn address(own: &str, length: u8) -> RouteNetlinkMessage {
        let mut message = AddressMessage::default();
        message.header.index = 7;
        message.header.prefix_len = length;
        message.attributes.push(AddressAttribute::Address(own.parse().unwrap()));
        RouteNetlinkMessage::NewAddress(message)
    }

    /// Its own address is no prefix, nor is a link-local one, nor one that is everything.
    #[test]
    fn a_link_is_around_an_address_by_another_address_of_its_prefix() {
        let home = "2001:db8:b:1::10".parse().unwrap();
        assert_eq!(link_around(&address("2001:db8:b:1::1234", 64), home), Some(7));
        for (own, length) in [
            ("2001:db8:b:2::1234", 64),
            ("2001:db8:b:1::10", 64),
            ("2001:db8:b:1::11", 128),
            ("2001:db8:b:1::1234", 0),
            ("203.0.113.144", 25),
        ] {
            assert_eq!(link_around(&address(own, length), home), None, "{own}/{length}");
        }
        assert_eq!(link_around(&address("fe80::1", 64), "fe80::2".parse().unwrap()), None);
    }

    /// Answers as the kernel gives them, one behind the other.
    fn datagram() -> Vec<u8> {
        let home: IpAddr = "2001:db8:b:1::10".parse().unwrap();
        let mut link = LinkMessage::default();
        link.header.index = 7;
        link.attributes.push(LinkAttribute::IfName("eth0".to_owned()));
        link.attributes.push(LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]));
        let (selector, verdict) = (Selector::All, Verdict::Table(6618));
        let rule = Rule { is_ipv6: true, priority: 1000, selector, verdict };
        let answers = [
            RouteNetlinkMessage::NewLink(link),
            address("2001:db8:b:1::1234", 64),
            RouteNetlinkMessage::NewRoute(route_message(6618, "::/0".parse().unwrap(), 7, home)),
            RouteNetlinkMessage::NewRule(rule_message(&rule)),
        ];
        let mut octets = Vec::new();
        for answer in answers {
            let mut message = NetlinkMessage::from(answer);
            message.finalize();
            let start = octets.len();
            octets.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut octets[start..]);
        }
        octets
    }

    #[test]
    fn a_datagram_is_read_message_by_message() {
        let datagram = datagram();
        let read: Vec<_> = messages(&datagram).collect();
        assert_eq!(read.len(), 4);
        let NetlinkPayload::InnerMessage(first) = &read[0].payload else { panic!("{read:?}") };
        assert_eq!(
            link_of(first).map(|link| (link.index, link.name)),
            Some((7, "eth0".to_owned()))
        );
        assert_eq!(link_layer_of(first, 7), Some([2, 0, 0, 0, 0, 1]));
    }

    proptest::proptest! {
        /// Whatever stands in it, a datagram is read to its end.
        #[test]
        fn a_damaged_datagram_is_read_as_far_as_it_goes(
            changes in proptest::collection::vec(
                (proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()),
                0..12,
            ),
            length in proptest::prelude::any::<proptest::sample::Index>(),
        ) {
            let mut datagram = datagram();
            for (place, octet) in changes {
                let place = place.index(datagram.len());
                datagram[place] = octet;
            }
            datagram.truncate(length.index(datagram.len()) + 1);
            for message in messages(&datagram) {
                let NetlinkPayload::InnerMessage(message) = message.payload else { continue };
                let home = "2001:db8:b:1::10".parse().unwrap();
                std::hint::black_box((
                    link_of(&message),
                    link_around(&message, home),
                    link_layer_of(&message, 7),
                ));
            }
        }
    }
}
