//! An IP header of either version, read octet by octet (RFC 791, RFC 8200).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_dataplane::DropReason as D;

use crate::codec::checksum;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragment {
    Whole,
    First,
    Later,
}

/// A header, and how much of the octets is the packet.
#[derive(Debug, Clone)]
pub struct Ip {
    pub header: usize,
    /// Octets of the packet by its own count.
    pub total: usize,
    pub proto: u8,
    pub from: IpAddr,
    pub to: IpAddr,
    pub hop_limit: u8,
    pub class: u8,
    /// Of IPv4; IPv6 fragments have a header of their own.
    pub fragment: Fragment,
}

impl Ip {
    pub const fn is_v6(&self) -> bool {
        self.to.is_ipv6()
    }

    /// Reads a header of the version that the link layer or the next header named.
    pub fn read(v6: bool, octets: &[u8]) -> Result<Self, D> {
        if v6 { Self::read_v6(octets) } else { Self::read_v4(octets) }
    }

    fn read_v6(octets: &[u8]) -> Result<Self, D> {
        if octets.len() < 40 || octets[0] >> 4 != 6 {
            return Err(D::IpHeader);
        }
        let total = 40 + usize::from(u16::from_be_bytes([octets[4], octets[5]]));
        if total > octets.len() {
            return Err(D::IpLengthBeyondData);
        }
        let address =
            |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&octets[at..at + 16]).unwrap());
        Ok(Self {
            header: 40,
            total,
            proto: octets[6],
            from: address(8).into(),
            to: address(24).into(),
            hop_limit: octets[7],
            class: octets[0] << 4 | octets[1] >> 4,
            fragment: Fragment::Whole,
        })
    }

    fn read_v4(octets: &[u8]) -> Result<Self, D> {
        if octets.len() < 20 || octets[0] >> 4 != 4 {
            return Err(D::IpHeader);
        }
        let header = usize::from(octets[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([octets[2], octets[3]]));
        if header < 20 || header > octets.len() || total < header {
            return Err(D::IpHeader);
        }
        if checksum(&octets[..header]) != 0 {
            return Err(D::Ipv4Checksum);
        }
        if total > octets.len() {
            return Err(D::IpLengthBeyondData);
        }
        let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&octets[at..at + 4]).unwrap());
        let flags = u16::from_be_bytes([octets[6], octets[7]]);
        let fragment = match (flags & 0x1fff, flags & 0x2000) {
            (0, 0) => Fragment::Whole,
            (0, _) => Fragment::First,
            _ => Fragment::Later,
        };
        Ok(Self {
            header,
            total,
            proto: octets[9],
            from: address(12).into(),
            to: address(16).into(),
            hop_limit: octets[8],
            class: octets[1],
            fragment,
        })
    }
}

/// Whether the octets end inside the header, which is sound so far.
pub fn is_cut_short(octets: &[u8]) -> bool {
    if octets[0] >> 4 == 6 || octets.len() < 20 {
        return octets.len() < 40;
    }
    let header = usize::from(octets[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([octets[2], octets[3]]));
    header >= 20 && total >= header && header > octets.len()
}

/// Takes one off the hop limit, and computes a whole new IPv4 checksum.
pub fn hop(packet: &mut [u8]) {
    packet[if packet[0] >> 4 == 6 { 7 } else { 8 }] -= 1;
    mend(packet);
}

/// Writes another traffic class.
pub fn set_class(packet: &mut [u8], class: u8) {
    if packet[0] >> 4 == 6 {
        packet[0] = packet[0] & 0xf0 | class >> 4;
        packet[1] = packet[1] & 0x0f | class << 4;
    } else {
        packet[1] = class;
    }
    mend(packet);
}

/// Computes the checksum of an IPv4 header anew.
pub fn mend(packet: &mut [u8]) {
    if packet[0] >> 4 == 4 {
        let header = usize::from(packet[0] & 15) * 4;
        packet[10..12].fill(0);
        let sum = checksum(&packet[..header]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Multicast, loopback and unspecified addresses send nothing.
pub fn is_no_sender(address: IpAddr) -> bool {
    address.is_multicast()
        || address.is_loopback()
        || address.is_unspecified()
        || is_broadcast(address)
}

pub fn is_broadcast(address: IpAddr) -> bool {
    address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Never forwarded: nothing beyond a link, or beyond this box (RFC 4291 s.2.5.2, 2.5.3, 2.5.6;
/// RFC 1812 s.5.3.7).
pub fn is_link_scope(address: IpAddr) -> bool {
    is_link_local(address) || is_no_sender(address)
}

pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// The first header that is no extension header, and where it starts; a fragment header ends the
/// chain. None where the chain is broken.
pub fn upper_layer(packet: &[u8], ip: &Ip) -> Option<(u8, usize)> {
    let (mut proto, mut at, mut headers) = (ip.proto, ip.header, 0);
    while ip.is_v6() && matches!(proto, 0 | 43 | 60) {
        headers += 1;
        // No honest packet has as many.
        if headers == 8 {
            return None;
        }
        let (next, len) = (*packet.get(at)?, *packet.get(at + 1)?);
        proto = next;
        at += 8 + usize::from(len) * 8;
    }
    Some((proto, at))
}

/// The same, through the header of a first fragment; None in a later one.
pub fn upper_layer_of_first(packet: &[u8], ip: &Ip) -> Option<(u8, usize)> {
    if ip.fragment == Fragment::Later {
        return None;
    }
    let (proto, at) = upper_layer(packet, ip)?;
    if !ip.is_v6() || proto != 44 {
        return Some((proto, at));
    }
    let offset = u16::from_be_bytes([*packet.get(at + 2)?, *packet.get(at + 3)?]) >> 3;
    let ip = Ip { proto: *packet.get(at)?, header: at + 8, ..ip.clone() };
    if offset == 0 { upper_layer(packet, &ip) } else { None }
}

/// The checksum over pseudo-header and datagram or message; 0 where it is right (RFC 768, RFC 8200
/// s.8.1).
pub fn transport_checksum(from: IpAddr, to: IpAddr, proto: u8, octets: &[u8]) -> u16 {
    let mut all = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
        _ => unreachable!("one header, one version"),
    };
    all.extend((octets.len() as u32).to_be_bytes());
    all.extend([0, 0, 0, proto]);
    all.extend(octets);
    checksum(&all)
}
