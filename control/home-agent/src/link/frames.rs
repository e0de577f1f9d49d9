//! The frames that a home agent sends on a home link in a mobile node's name.
//!
//! Read first: RFC 6275 s.10.3.1, 10.4.1; RFC 4861 s.4.3, 4.4; RFC 4862 s.5.4.2; RFC 5227 s.1.1,
//! 2.3; RFC 2464 s.7.

use core::net::{Ipv4Addr, Ipv6Addr};

use hearth_wire::icmp6::{self, HOP_LIMIT, Message, NeighbourAdvertisement, NeighbourSolicitation};
use hearth_wire::ip::Ipv6Header;
use zerocopy::IntoBytes;

use super::HomeLink;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const BROADCAST: [u8; 6] = [0xff; 6];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ARP: [u8; 2] = [0x08, 0x06];
/// Octets of the longest message here: an advertisement with one option.
const LONGEST: usize = 32;

/// Takes possession of `target` on the link: to all nodes, S=0, O=1, from the home agent's own
/// address.
pub(crate) fn advertisement(link: &HomeLink, target: Ipv6Addr, router: bool) -> Option<Vec<u8>> {
    let message = Message::NeighbourAdvertisement(NeighbourAdvertisement {
        router,
        solicited: false,
        overrides: true,
        target,
        target_link_layer: Some(link.mac),
    });
    ipv6(link.mac, &message, link.ip6, ALL_NODES)
}

/// Asks whether anybody has `target`: from nobody, to its solicited-node group.
pub(crate) fn solicitation(link: &HomeLink, target: Ipv6Addr) -> Option<Vec<u8>> {
    let message =
        Message::NeighbourSolicitation(NeighbourSolicitation { target, source_link_layer: None });
    ipv6(link.mac, &message, Ipv6Addr::UNSPECIFIED, solicited_node(target))
}

/// The group that asks for an address (RFC 4291 s.2.7.1).
fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    const GROUP: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Ipv6Addr::from_bits(GROUP | target.to_bits() & 0x00ff_ffff)
}

/// RFC 2464 s.7: 33:33 and the last four octets of the group.
fn group_mac(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

fn ipv6(mac: [u8; 6], message: &Message<'_>, from: Ipv6Addr, to: Ipv6Addr) -> Option<Vec<u8>> {
    let mut octets = [0; LONGEST];
    let len = icmp6::emit(message, from, to, &mut octets)?;
    let header = Ipv6Header::new(from, to, icmp6::PROTO, HOP_LIMIT, len)?;
    Some([&group_mac(to), &mac, &IPV6[..], header.as_bytes(), octets.get(..len)?].concat())
}

/// RFC 5227 s.1.1: an ARP Probe names no sender address.
pub(crate) fn arp_probe(link: &HomeLink, address: Ipv4Addr) -> Vec<u8> {
    arp(link.mac, Ipv4Addr::UNSPECIFIED, address)
}

/// RFC 5227 s.1.1: an ARP Announcement, which is a gratuitous ARP request.
pub(crate) fn arp_announcement(link: &HomeLink, address: Ipv4Addr) -> Vec<u8> {
    arp(link.mac, address, address)
}

fn arp(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    let (sender, target) = (sender.octets(), target.octets());
    [&BROADCAST, &mac, &ARP[..], &REQUEST, &mac, &sender, &[0; 6], &target].concat()
}

#[cfg(test)]
mod tests {
    use super::super::LinkId;
    use super::*;

    #[test]
    fn frames_octet_by_octet() {
        let link = HomeLink {
            id: LinkId(0),
            mac: [2, 0, 0, 0, 0, 1],
            ip6: "2001:db8:c::1".parse().unwrap(),
        };
        let frame = arp_announcement(&link, Ipv4Addr::new(203, 0, 113, 7));
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[28..32], [203, 0, 113, 7]);
        assert_eq!(frame[38..], [203, 0, 113, 7]);
        let frame = solicitation(&link, "2001:db8:c::12:3456".parse().unwrap()).unwrap();
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(frame.len(), 14 + 40 + 24);
    }
}
