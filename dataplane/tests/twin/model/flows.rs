//! Which care-of addresses a packet goes to (RFC 5648, RFC 6089 s.5.3.6, RFC 6088), and whose
//! network an address is in (RFC 3963).

use std::net::IpAddr;

use hearth_dataplane::Tunnel;
use hearth_wire::mh::selector::Addresses;

use super::World;
use super::ip::{Fragment, Ip};
use crate::rig::Registration;

/// What rules ask for in these worlds.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    pub v6: bool,
    pub protocol: Option<u8>,
    pub to_port: Option<u16>,
}

impl Flow {
    pub(super) fn of(packet: &[u8], ip: &Ip) -> Self {
        let upper = match ip.fragment {
            _ if ip.is_v6() => behind_all(packet),
            Fragment::Later => (ip.proto, packet.len()),
            Fragment::Whole | Fragment::First => (ip.proto, ip.header),
        };
        let (protocol, at) = upper;
        let ports = packet.get(at..at + 4).filter(|_| [6, 17, 33, 132, 136].contains(&protocol));
        let to_port = ports.map(|ports| u16::from_be_bytes([ports[2], ports[3]]));
        Self { v6: ip.is_v6(), protocol: Some(protocol), to_port }
    }
}

/// What stands behind all extension headers of IPv6, and where; at the end in a later fragment.
fn behind_all(packet: &[u8]) -> (u8, usize) {
    let (mut proto, mut at) = (packet[6], 40);
    for _ in 0..8 {
        let header = &packet[at..];
        let len = match (proto, header) {
            (44, &[next, _, high, low, ..]) if u16::from_be_bytes([high, low]) >> 3 != 0 => {
                return (next, packet.len());
            }
            (44, [_, _, _, _, ..]) => 8,
            (0 | 43 | 60, &[_, len, ..]) => 8 + usize::from(len) * 8,
            _ => break,
        };
        if header.len() < len {
            break;
        }
        (proto, at) = (header[0], at + len);
    }
    (proto, at)
}

/// The tunnels of a packet. A rule names a destination port or a protocol here.
pub fn ways(binding: &Registration, flow: Flow) -> Vec<Tunnel> {
    let tunnel = |bid: &u16| binding.tunnels.iter().find(|tunnel| tunnel.bid == *bid).copied();
    for (selector, bids) in &binding.flows {
        let v6 = matches!(selector.addresses, Addresses::V6 { .. });
        let ways: Vec<_> = bids.iter().filter_map(tunnel).collect();
        let port = selector.destination_port.map(|range| Some(range.first) == flow.to_port);
        let protocol = selector.protocol.map(|range| Some(range.first) == flow.protocol);
        let matches = port.unwrap_or(true) && protocol.unwrap_or(true);
        if v6 == flow.v6 && matches && !ways.is_empty() && binding.tunnels.len() > 1 {
            return ways;
        }
    }
    vec![binding.tunnels[0]]
}

fn is_inside((network, len): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(net), IpAddr::V4(address)) => {
            (net.to_bits() ^ address.to_bits()).leading_zeros() >= len.into()
        }
        (IpAddr::V6(net), IpAddr::V6(address)) => {
            (net.to_bits() ^ address.to_bits()).leading_zeros() >= len.into()
        }
        _ => false,
    }
}

impl World {
    /// The mobile router whose network an address is in.
    pub(super) fn router_of(&self, address: IpAddr) -> Option<&Registration> {
        self.bindings
            .values()
            .find(|binding| binding.prefixes.iter().any(|prefix| is_inside(*prefix, address)))
    }

    /// The binding by which packets to an address go.
    pub(super) fn carried(&self, address: IpAddr) -> Option<&Registration> {
        self.bound(address).or_else(|| self.router_of(address))
    }
}
