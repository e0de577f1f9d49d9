//! Where the datagram of RFC 6618 stands in a captured frame, and the frame again with another one.
//!
//! Read first: RFC 8200 s.4; RFC 791; RFC 768.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_wire::ip::{Ipv4Header, Ipv6Header, PROTO_UDP, Sum, UdpHeader};
use pcap_file::DataLink;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const ETHERTYPES: [(u16, usize); 2] = [(0x8100, 4), (0x88a8, 4)];

/// A UDP datagram within a captured frame, by offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outer {
    /// First octet of the IP header.
    pub(super) ip: usize,
    /// First octet of the UDP header.
    pub(super) udp: usize,
    /// Behind its last octet.
    pub(super) end: usize,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
}

/// What is not a whole UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotWhole {
    /// Something else, or the later part of something.
    Other,
    /// The first fragment of one between these ports.
    Fragment(u16, u16),
    /// One between these ports whose end was not captured.
    Cut(u16, u16),
}

/// Finds the datagram in `frame`.
pub(super) fn find(link: DataLink, frame: &[u8]) -> Result<Outer, NotWhole> {
    let other = NotWhole::Other;
    let ip = network(link, frame).ok_or(other)?;
    let packet = frame.get(ip..).ok_or(other)?;
    let (udp, length, (source, destination), is_fragment) = match packet.first().ok_or(other)? >> 4
    {
        4 => transport_v4(packet).ok_or(other)?,
        6 => transport_v6(packet).ok_or(other)?,
        _ => return Err(other),
    };
    let header = packet.get(udp..udp + UdpHeader::LEN).ok_or(other)?;
    let field = |at: usize| be16(header, at).ok_or(other);
    let (source_port, destination_port) = (field(0)?, field(2)?);
    if is_fragment {
        return Err(NotWhole::Fragment(source_port, destination_port));
    }
    let said = usize::from(field(4)?);
    if said < UdpHeader::LEN || udp + said > length {
        return Err(other);
    }
    if udp + said > packet.len() {
        return Err(NotWhole::Cut(source_port, destination_port));
    }
    let (udp, end) = (ip + udp, ip + udp + said);
    Ok(Outer { ip, udp, end, source, destination, source_port, destination_port })
}

/// Where the IP header begins.
fn network(link: DataLink, frame: &[u8]) -> Option<usize> {
    let (mut at, mut ethertype) = match link {
        DataLink::ETHERNET => (14, be16(frame, 12)?),
        DataLink::LINUX_SLL => (16, be16(frame, 14)?),
        DataLink::LINUX_SLL2 => (20, be16(frame, 0)?),
        DataLink::NULL | DataLink::LOOP => return Some(4),
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => return Some(0),
        _ => return None,
    };
    // VLAN tags (IEEE 802.1Q).
    while let Some((_, tag)) = ETHERTYPES.iter().find(|(tagged, _)| *tagged == ethertype) {
        ethertype = be16(frame, at + 2)?;
        at += tag;
    }
    matches!(ethertype, 0x0800 | 0x86dd).then_some(at)
}

/// Where UDP begins, the packet's length by its header, its addresses, whether it is a first fragment.
type Transport = (usize, usize, (IpAddr, IpAddr), bool);

fn transport_v4(packet: &[u8]) -> Option<Transport> {
    // Not by the checksum: NICs that compute it leave it wrong in what is captured before them.
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    let (length, fragment) = (usize::from(be16(packet, 2)?), be16(packet, 6)?);
    let address = |at: usize| {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::from(Ipv4Addr::from(octets)))
    };
    let is_udp = *packet.get(9)? == PROTO_UDP && fragment & Ipv4Header::FRAGMENT_OFFSET == 0;
    (is_udp && header_len >= Ipv4Header::LEN).then_some(())?;
    let is_fragment = fragment & Ipv4Header::MORE_FRAGMENTS != 0;
    Some((header_len, length, (address(12)?, address(16)?), is_fragment))
}

fn transport_v6(packet: &[u8]) -> Option<Transport> {
    let length = Ipv6Header::LEN + usize::from(be16(packet, 4)?);
    let address = |at: usize| {
        let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::from(Ipv6Addr::from(octets)))
    };
    let addresses = (address(8)?, address(24)?);
    let (mut kind, mut at, mut is_fragment) = (*packet.get(6)?, Ipv6Header::LEN, false);
    loop {
        match kind {
            PROTO_UDP => return Some((at, length, addresses, is_fragment)),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                kind = *packet.get(at)?;
                at += 8 * (1 + usize::from(*packet.get(at + 1)?));
            }
            FRAGMENT => {
                kind = *packet.get(at)?;
                let place = be16(packet, at + 2)?;
                (place >> 3 == 0).then_some(())?;
                is_fragment = place & 1 != 0;
                at += 8;
            }
            _ => return None,
        }
    }
}

/// The frame with another, shorter payload in its datagram, lengths and checksums right.
pub(super) fn with_payload(frame: &[u8], outer: Outer, payload: &[u8]) -> Option<Vec<u8>> {
    let Outer { ip, udp, .. } = outer;
    let mut new = frame.get(..udp + UdpHeader::LEN)?.to_vec();
    new.extend_from_slice(payload);
    let udp_len = u16::try_from(UdpHeader::LEN + payload.len()).ok()?;
    let (packet_len, had) = (u16::try_from(new.len() - ip).ok()?, be16(frame, udp + 6)?);
    put(&mut new, udp + 4, udp_len)?;
    put(&mut new, udp + 6, 0)?;
    if new.get(ip)? >> 4 == 4 {
        put(&mut new, ip + 2, packet_len)?;
        put(&mut new, ip + 10, 0)?;
        let sum = Sum::new().plus(new.get(ip..udp)?).finish();
        put(&mut new, ip + 10, sum)?;
    } else {
        put(&mut new, ip + 4, packet_len.checked_sub(u16::try_from(Ipv6Header::LEN).ok()?)?)?;
    }
    // None stays none.
    if had != 0 {
        let sum = pseudo(outer, udp_len).plus(new.get(udp..)?).finish();
        put(&mut new, udp + 6, if sum == 0 { 0xffff } else { sum })?;
    }
    Some(new)
}

fn pseudo(outer: Outer, udp_len: u16) -> Sum {
    let sum = match (outer.source, outer.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Sum::new().plus(&source.octets()).plus(&destination.octets())
        }
        (source, destination) => {
            Sum::new().plus(&mapped(source).octets()).plus(&mapped(destination).octets())
        }
    };
    sum.plus(&[0, PROTO_UDP]).plus(&udp_len.to_be_bytes())
}

/// An address as one of IPv6.
pub(super) fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn be16(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}

fn put(octets: &mut [u8], at: usize, value: u16) -> Option<()> {
    *octets.get_mut(at..)?.first_chunk_mut()? = value.to_be_bytes();
    Some(())
}
