//! Reading ICMP errors and fragments, and making large packets, by the RFCs alone.

use std::net::IpAddr;

use hearth_dataplane::{Config, PortId};

use crate::codec;
use crate::rig::{ACCESS, CN4, CN6, Frame, HOME, MobileNode, Rig};

/// An ICMP error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icmp {
    pub from: IpAddr,
    pub to: IpAddr,
    pub kind: u8,
    pub code: u8,
    /// What stands behind the checksum.
    pub rest: u32,
    pub quote: Vec<u8>,
}

/// Reads an ICMP error; panics where it is none, or where a length or a checksum is wrong.
pub fn icmp(packet: &[u8]) -> Icmp {
    let v6 = packet[0] >> 4 == 6;
    let (from, to, message): (IpAddr, IpAddr, &[u8]) = if v6 {
        assert_eq!(packet[6], 58, "not ICMPv6");
        assert_eq!(usize::from(word(packet, 4)), packet.len() - 40);
        assert!(packet.len() <= 1280);
        (address16(packet, 8), address16(packet, 24), &packet[40..])
    } else {
        assert_eq!((packet[0], packet[9]), (0x45, 1), "not ICMP");
        assert_eq!(codec::checksum(&packet[..20]), 0, "header checksum");
        assert_eq!(usize::from(word(packet, 2)), packet.len());
        assert!(packet.len() <= 576);
        (address4(packet, 12), address4(packet, 16), &packet[20..])
    };
    let pseudo = if v6 {
        let mut pseudo = packet[8..40].to_vec();
        pseudo.extend((message.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, 58]);
        pseudo
    } else {
        Vec::new()
    };
    assert_eq!(codec::checksum(&[&pseudo[..], message].concat()), 0, "ICMP checksum");
    Icmp {
        from,
        to,
        kind: message[0],
        code: message[1],
        rest: u32::from_be_bytes(message[4..8].try_into().unwrap()),
        quote: message[8..].to_vec(),
    }
}

/// An ICMP error with a right checksum.
pub fn icmp_error(
    from: IpAddr,
    to: IpAddr,
    (kind, code, rest): (u8, u8, u32),
    quote: &[u8],
) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend(quote);
    let proto = if to.is_ipv6() { 58 } else { 1 };
    let mut pseudo = Vec::new();
    if let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) {
        pseudo = [from.octets(), to.octets()].concat();
        pseudo.extend((message.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, 58]);
    }
    let sum = codec::checksum(&[pseudo, message.clone()].concat());
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    codec::ip(from, to, proto, &message)
}

/// A packet of `len` octets from the correspondent to a home address.
pub fn to_mobile(mn: &MobileNode, v6: bool, dont_fragment: bool, len: usize) -> Vec<u8> {
    let (from, to, header): (IpAddr, IpAddr, usize) =
        if v6 { (CN6.into(), mn.home6.into(), 40) } else { (CN4.into(), mn.home4.into(), 20) };
    let payload: Vec<u8> = (0..len - header).map(|i| (i * 7) as u8).collect();
    let mut packet = codec::ip(from, to, 17, &payload);
    if !v6 && dont_fragment {
        set_flags(&mut packet, 0x4000);
    }
    packet
}

/// Sets flags and fragment offset of an IPv4 packet.
pub fn set_flags(packet: &mut [u8], flags: u16) {
    packet[6..8].copy_from_slice(&flags.to_be_bytes());
    packet[10..12].fill(0);
    let sum = codec::checksum(&packet[..20]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
}

/// The packet with one hop less.
pub fn one_hop_less(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 6 {
        packet[7] -= 1;
    } else {
        packet[8] -= 1;
        let flags = word(&packet, 6);
        set_flags(&mut packet, flags);
    }
    packet
}

/// One fragment as it came.
#[derive(Debug)]
pub struct Fragment {
    pub id: u32,
    pub offset: usize,
    pub more: bool,
    pub part: Vec<u8>,
}

/// Puts a packet together from its fragments in the order they came; one that is whole comes back
/// as it is. Panics where they do not join, or where one has more octets than `most`.
pub fn join(frames: &[Frame], most: usize) -> Vec<u8> {
    let first = frames[0].packet();
    let v6 = first[0] >> 4 == 6;
    if frames.len() == 1 && (if v6 { first[6] != 44 } else { word(first, 6) & 0x3fff == 0 }) {
        assert!(first.len() <= most);
        return first.to_vec();
    }
    let fragments: Vec<_> = frames.iter().map(|frame| fragment(frame.packet())).collect();
    let mut whole = Vec::new();
    for (frame, fragment) in frames.iter().zip(&fragments) {
        assert!(frame.packet().len() <= most, "{} octets", frame.packet().len());
        assert_eq!(fragment.offset, whole.len());
        assert_eq!(fragment.id, fragments[0].id);
        whole.extend(&fragment.part);
    }
    assert!(fragments[..fragments.len() - 1].iter().all(|fragment| fragment.more));
    assert!(!fragments[fragments.len() - 1].more);
    let mut header = first[..if v6 { 40 } else { 20 }].to_vec();
    if v6 {
        header[6] = first[40];
        header[4..6].copy_from_slice(&(whole.len() as u16).to_be_bytes());
    } else {
        header[2..4].copy_from_slice(&((whole.len() + 20) as u16).to_be_bytes());
        set_flags(&mut header, 0);
    }
    [header, whole].concat()
}

pub fn fragment(packet: &[u8]) -> Fragment {
    if packet[0] >> 4 == 6 {
        assert_eq!(packet[6], 44, "no fragment");
        assert_eq!(usize::from(word(packet, 4)), packet.len() - 40);
        return Fragment {
            id: u32::from_be_bytes(packet[44..48].try_into().unwrap()),
            offset: usize::from(word(packet, 42) & 0xfff8),
            more: packet[43] & 1 != 0,
            part: packet[48..].to_vec(),
        };
    }
    assert_eq!(codec::checksum(&packet[..20]), 0, "header checksum");
    assert_eq!(usize::from(word(packet, 2)), packet.len());
    Fragment {
        id: word(packet, 4).into(),
        offset: usize::from(word(packet, 6) & 0x1fff) * 8,
        more: packet[6] & 0x20 != 0,
        part: packet[20..].to_vec(),
    }
}

/// Cuts an outer packet into fragments at these octets of its payload.
pub fn cut(packet: &[u8], at: &[usize], id: u32) -> Vec<Vec<u8>> {
    let v6 = packet[0] >> 4 == 6;
    let (header, payload) = packet.split_at(if v6 { 40 } else { 20 });
    let ends = at.iter().copied().chain([payload.len()]);
    let starts = [0].into_iter().chain(at.iter().copied());
    starts.zip(ends).map(|(start, end)| piece(header, payload, start..end, id)).collect()
}

/// One fragment: these octets of a payload.
pub fn piece(header: &[u8], payload: &[u8], range: std::ops::Range<usize>, id: u32) -> Vec<u8> {
    assert_eq!(range.start % 8, 0);
    let more = u16::from(range.end < payload.len());
    let part = &payload[range.clone()];
    let mut piece = header.to_vec();
    if header.len() == 40 {
        piece[6] = 44;
        piece[4..6].copy_from_slice(&((part.len() + 8) as u16).to_be_bytes());
        piece.extend([header[6], 0]);
        piece.extend((range.start as u16 | more).to_be_bytes());
        piece.extend(id.to_be_bytes());
    } else {
        piece[2..4].copy_from_slice(&((part.len() + 20) as u16).to_be_bytes());
        piece[4..6].copy_from_slice(&(id as u16).to_be_bytes());
        set_flags(&mut piece, more << 13 | (range.start / 8) as u16);
    }
    piece.extend(part);
    piece
}

/// What the mobile node gets of the packets that were sent to it: the inner packets.
pub fn opened(rig: &mut Rig, mn: &MobileNode, port: PortId) -> Vec<Vec<u8>> {
    rig.received(port).iter().map(|frame| mn.open(frame).payload).collect()
}

/// The one ICMP error that came to the mobile node as data.
pub fn told(rig: &mut Rig, mn: &MobileNode, port: PortId) -> Icmp {
    let frame = rig.received_one(port);
    icmp(&mn.open(&frame).payload)
}

/// Nothing came out, and fragments may be waiting.
pub fn nothing_came(rig: &mut Rig) {
    for port in [ACCESS, HOME] {
        assert!(rig.received(port).is_empty());
    }
    assert!(rig.events().is_empty());
}

/// A rig that sends as many errors as it likes.
pub fn talkative(change: impl FnOnce(&mut Config)) -> Rig {
    Rig::with(|config| {
        config.icmp_errors_per_second = 1_000_000;
        config.icmp_errors_per_peer = 1_000_000;
        change(config);
    })
}

fn word(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

fn address16(octets: &[u8], at: usize) -> IpAddr {
    <[u8; 16]>::try_from(&octets[at..at + 16]).unwrap().into()
}

fn address4(octets: &[u8], at: usize) -> IpAddr {
    <[u8; 4]>::try_from(&octets[at..at + 4]).unwrap().into()
}
