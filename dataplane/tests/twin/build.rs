//! Packets of every shape, good ones and others.

use std::net::{IpAddr, SocketAddr};

use crate::chance::Chance;
use crate::codec::{self, checksum};
use crate::model::fragment;

/// An IP packet with something in it that this protocol number promises, mostly.
pub fn inner(chance: &mut Chance, from: IpAddr, to: IpAddr) -> Vec<u8> {
    let v6 = to.is_ipv6();
    let shape = chance.weighted(&[
        (60, 17_u8),
        (10, 6),
        (6, if v6 { 58 } else { 1 }),
        (6, 135),
        (3, 59),
        (3, 50),
        (3, 60),
        (2, 0),
        (2, 43),
        (4, 44),
        (1, 51),
        (1, 255),
    ]);
    let len =
        chance.weighted(&[(30, 0..64), (30, 64..600), (30, 600..1300), (10, 1300..1475)].map(
            |(weight, range): (usize, std::ops::Range<usize>)| (weight, (range.start, range.end)),
        ));
    let len = chance.within(len.0..len.1);
    let mut proto = shape;
    let mut payload = Vec::new();
    // A chain of extension headers; for IPv4 a protocol number like any other.
    if matches!(shape, 0 | 43 | 60 | 44 | 51) {
        let next = *chance.one_of(&[17, 58, 135, 6, 60, 44, 59]);
        let (header, kind) = (extension(chance, shape, next), next);
        payload.extend(header);
        if kind == 60 || kind == 44 {
            let last = *chance.one_of(&[17, 135]);
            payload.extend(extension(chance, kind, last));
            proto = last;
        } else {
            proto = kind;
        }
    }
    payload.extend(upper(chance, proto, from, to, len));
    let hop = chance.weighted(&[(40, 64), (20, 255), (20, 2), (6, 1), (1, 0), (13, 128)]);
    let class = if chance.once_in(2) { 0 } else { chance.octet() };
    let mut packet = codec::ip_with(from, to, shape, hop, class, &payload);
    if v6 {
        if chance.once_in(10) {
            (packet[1], packet[2], packet[3]) =
                (packet[1] & 0xf0 | chance.octet() & 0x0f, chance.octet(), chance.octet());
        }
    } else {
        if chance.once_in(12) {
            packet = with_ipv4_options(chance, &packet);
        }
        packet[6] = *chance.one_of(&[0, 0, 0x40, 0x40, 0x40, 0x20, 0, 0x40]);
        if chance.once_in(20) {
            packet[7] = chance.octet();
        }
        if packet[6] & 0x20 != 0 || packet[7] != 0 {
            // A packet of its own, not a piece of another.
            (packet[4], packet[5]) = (chance.octet(), chance.octet());
            // Nor one that follows another, where the first one leads the way.
            packet[5] = packet[5] & 0xfe | u8::from(packet[7] != 0);
        }
        mend(&mut packet);
    }
    packet
}

/// What a host says to its router, and to whom it may concern on its link.
pub fn to_router(chance: &mut Chance, from: IpAddr) -> Vec<u8> {
    let v6 = from.is_ipv6();
    let unnamed = if v6 { ["::", "fe80::5"] } else { ["0.0.0.0", "169.254.1.5"] };
    let from = match chance.within(0..4) {
        0 => chance.one_of(&unnamed).parse().unwrap(),
        _ => from,
    };
    let to = if v6 {
        ["ff02::16", "ff02::2", "ff0e::1:2", "ff02::1:2", "2001:db8:a::1", "2001:db8:a::1"]
    } else {
        ["224.0.0.22", "224.0.0.2", "233.1.2.3", "255.255.255.255", "198.51.100.1", "198.51.100.1"]
    };
    let to = chance.one_of(&to).parse().unwrap();
    let (proto, mut payload) = if chance.once_in(4) {
        let port: u16 = *chance.one_of(&[547, 67, 546]);
        let from = std::net::SocketAddr::new(from, 546);
        (17, codec::udp(from, std::net::SocketAddr::new(to, port), &chance.octets(8)))
    } else if v6 {
        let kind = *chance.one_of(&[130, 131, 132, 143, 143, 146, 146, 128, 133, 135, 136, 137]);
        (58, [&[kind, 0, 0, 0][..], &chance.octets(24)].concat())
    } else {
        let kind = *chance.one_of(&[0x11, 0x12, 0x16, 0x17, 0x22]);
        (2, [&[kind, 0, 0, 0][..], &chance.octets(12)].concat())
    };
    // Router Alert (RFC 2711), as listener reports have it.
    let (first, hop) = (if v6 && chance.once_in(2) { 0 } else { proto }, *chance.one_of(&[1, 255]));
    if first != proto {
        payload.splice(0..0, [proto, 0, 5, 2, 0, 0, 1, 0]);
    }
    codec::ip_with(from, to, first, hop, 0, &payload)
}

fn extension(chance: &mut Chance, kind: u8, next: u8) -> Vec<u8> {
    let mut header = match kind {
        44 if chance.once_in(2) => vec![next, 0, chance.octet(), chance.octet() & 0xf8 | 1],
        44 => vec![next, 0, 0, chance.octet() & 1],
        51 => vec![next, 4, 0, 0],
        43 => vec![next, 2, 2, 1],
        _ => vec![next, chance.within(0..3) as u8, 1, 2],
    };
    let len = match kind {
        44 => 8,
        51 => 24,
        _ => 8 + usize::from(header[1]) * 8,
    };
    header.extend(chance.octets(len - 4));
    header
}

fn upper(chance: &mut Chance, proto: u8, from: IpAddr, to: IpAddr, len: usize) -> Vec<u8> {
    match proto {
        17 => {
            let ports = [53, 7872, 7873, 4500, 40_000];
            let ports = (*chance.one_of(&ports), *chance.one_of(&ports));
            let content = chance.octets(len);
            codec::udp(SocketAddr::new(from, ports.0), SocketAddr::new(to, ports.1), &content)
        }
        // HoTI, HoT, BU, and others.
        135 => {
            let kind = *chance.one_of(&[1, 2, 3, 3, 4, 5, 6]);
            [&[59, 1, kind, 0][..], &chance.octets(12 + len / 8)].concat()
        }
        58 => [&[128, 0][..], &chance.octets(6 + len)].concat(),
        1 => [&[8, 0][..], &chance.octets(6 + len)].concat(),
        6 => {
            let mut segment = chance.octets(20 + len);
            segment[12] = 0x50;
            segment
        }
        _ => chance.octets(len),
    }
}

/// The same IPv4 packet with options behind its header.
pub fn with_ipv4_options(chance: &mut Chance, packet: &[u8]) -> Vec<u8> {
    let words = chance.within(1..11);
    let mut options = vec![1; words * 4];
    if chance.once_in(2) {
        options = chance.octets(words * 4);
    }
    let mut longer = [&packet[..20], &options, &packet[20..]].concat();
    longer[0] = 0x45 + words as u8;
    let total = longer.len() as u16;
    longer[2..4].copy_from_slice(&total.to_be_bytes());
    mend(&mut longer);
    longer
}

/// Computes the checksum of an IPv4 header again.
pub fn mend(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    if packet[0] >> 4 == 4 && (20..=packet.len()).contains(&header) {
        packet[10..12].fill(0);
        let sum = checksum(&packet[..header]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The outer packet around a frame, with a fault in its headers sometimes.
pub fn outer(chance: &mut Chance, from: SocketAddr, to: SocketAddr, frame: &[u8]) -> Vec<u8> {
    let class = if chance.once_in(2) { 0 } else { chance.octet() };
    let hop = chance.weighted(&[(90, 64), (5, 255), (4, 1), (1, 0)]);
    let mut datagram = codec::udp(from, to, frame);
    match chance.within(0..60) {
        0..3 => datagram[6..8].fill(0),
        3 => datagram[6] ^= 1 + chance.octet() % 255,
        4 => datagram[5] = chance.octet(),
        5 => {
            // Octets behind the datagram's own end.
            let more = chance.within(1..40);
            datagram.extend(chance.octets(more));
        }
        6 => datagram.truncate(chance.within(0..datagram.len())),
        _ => {}
    }
    let mut packet = codec::ip_with(from.ip(), to.ip(), 17, hop, class, &datagram);
    match (chance.within(0..60), to.is_ipv6()) {
        (0, true) => {
            let kind = *chance.one_of(&[0, 43, 44, 51, 60]);
            let header = extension(chance, kind, 17);
            packet =
                codec::ip_with(from.ip(), to.ip(), kind, hop, class, &[header, datagram].concat());
        }
        (0..3, false) => packet = with_ipv4_options(chance, &packet),
        (3, false) => {
            packet[6] = chance.octet();
            packet[7] = *chance.one_of(&[0, 0, 1, 185]);
            mend(&mut packet);
        }
        (4, _) => {
            // A flow label, or an identification.
            packet[2 + 2 * usize::from(to.is_ipv4())] ^= chance.octet();
            mend(&mut packet);
        }
        _ => {}
    }
    packet
}

/// One bit, one octet, or the end of a frame is another; or all of it.
pub fn spoil(chance: &mut Chance, frame: &mut Vec<u8>) {
    if frame.is_empty() {
        return;
    }
    let at = chance.within(0..frame.len());
    match chance.within(0..10) {
        0..5 => frame[at] ^= 1 << chance.within(0..8),
        5 | 6 => frame[at] = chance.octet(),
        7 => frame.truncate(at),
        8 => {
            let more = chance.within(1..64);
            frame.extend(chance.octets(more));
        }
        _ => {
            let at = at.min(40);
            let len = frame.len() - at;
            frame.truncate(at);
            frame.extend(chance.octets(len));
        }
    }
}

/// The packet in fragments of an own identification, each of which has its own IP header; now and
/// then one is missing, comes twice, or lies over another.
pub fn fragments(chance: &mut Chance, packet: &[u8]) -> Vec<Vec<u8>> {
    let v6 = packet[0] >> 4 == 6;
    let header = if v6 { 40 } else { usize::from(packet[0] & 15) * 4 };
    let content = packet.len() - header;
    let pieces = chance.within(2..8);
    let size = (content / pieces).next_multiple_of(8).max(8);
    let mut pieces = if v6 {
        let id = chance.octets(4);
        let count = content.div_ceil(size);
        let part = |place: usize| {
            let end = content.min((place + 1) * size);
            let flags = (place * size) as u16 | u16::from(place + 1 < count);
            let [high, low] = flags.to_be_bytes();
            let mut piece = packet[..40].to_vec();
            piece[6] = 44;
            piece.extend([packet[6], 0, high, low]);
            piece.extend(&id);
            piece.extend(&packet[40 + place * size..40 + end]);
            let len = (piece.len() - 40) as u16;
            piece[4..6].copy_from_slice(&len.to_be_bytes());
            piece
        };
        (0..count).map(part).collect()
    } else {
        let mut whole = packet.to_vec();
        whole[4..6].copy_from_slice(&chance.octets(2));
        whole[6] &= 0xbf;
        fragment::cut(&whole, header + size)
    };
    let place = chance.within(0..pieces.len());
    match chance.within(0..12) {
        0 => _ = pieces.remove(place),
        1 => pieces.push(pieces[place].clone()),
        2 => {
            // One octet of eight further left.
            let at = if v6 { 42 } else { 6 };
            let flags = u16::from_be_bytes([pieces[place][at], pieces[place][at + 1]]);
            let unit = if v6 { 8 } else { 1 };
            let moved = if flags & 0x1fff >= unit { flags - unit } else { flags };
            pieces[place][at..at + 2].copy_from_slice(&moved.to_be_bytes());
            mend(&mut pieces[place]);
        }
        3..6 => {
            // In any order.
            for place in (1..pieces.len()).rev() {
                pieces.swap(place, chance.within(0..place + 1));
            }
        }
        _ => {}
    }
    pieces
}
