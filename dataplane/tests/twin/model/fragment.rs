//! Fragments (RFC 791 s.3.2, RFC 8200 s.4.5, R-42).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use hearth_dataplane::{DropReason as D, PortId};

use super::ip::{self, Fragment, Ip};
use super::{Step, Verdict, World};

/// Where envelopes come from (RFC 6618 s.8.2).
const SERVICE_PORT: u16 = 7872;

/// Whether routers may cut the packet.
pub fn is_allowed(packet: &[u8]) -> bool {
    packet[0] >> 4 == 4 && packet[6] & 0x40 == 0
}

/// Cuts an IPv4 packet as RFC 791's example does: as large pieces as go, options that say so in
/// each.
pub fn cut(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let header = usize::from(packet[0] & 15) * 4;
    let (first, content) = packet.split_at(header);
    let before = u16::from_be_bytes([packet[6], packet[7]]);
    // What is a later fragment already has been chosen for by who cut it first.
    let later = match before & 0x1fff {
        0 => [&first[..20], &copied_options(&first[20..])].concat(),
        _ => first.to_vec(),
    };
    let mut pieces = Vec::new();
    let mut done = 0;
    while done < content.len() {
        let mut piece = if done == 0 { first.to_vec() } else { later.clone() };
        let room = (mtu - piece.len()) / 8 * 8;
        let all = content.len() - done <= mtu - piece.len();
        let end = if all { content.len() } else { done + room };
        let more = if all { before & 0x2000 } else { 0x2000 };
        let offset = (before & 0x1fff) + (done / 8) as u16;
        piece[0] = 0x40 | (piece.len() / 4) as u8;
        piece[6..8].copy_from_slice(&(before & 0xc000 | more | offset).to_be_bytes());
        piece.extend(&content[done..end]);
        let total = piece.len() as u16;
        piece[2..4].copy_from_slice(&total.to_be_bytes());
        ip::mend(&mut piece);
        pieces.push(piece);
        done = end;
    }
    pieces
}

/// Those with the copied flag, filled up to words.
fn copied_options(mut options: &[u8]) -> Vec<u8> {
    let mut copied = Vec::new();
    while let Some(kind) = options.first() {
        let len = match kind {
            0 => break,
            1 => 1,
            _ => match options.get(1) {
                Some(len) if *len >= 2 && usize::from(*len) <= options.len() => usize::from(*len),
                _ => break,
            },
        };
        if kind & 0x80 != 0 {
            copied.extend(&options[..len]);
        }
        options = &options[len..];
    }
    copied.resize(copied.len().next_multiple_of(4), 0);
    copied
}

/// Joins the envelopes that one of these addresses sent in pieces; everything else, fragments of
/// the box's own packets among it, stays as it is. No piece is larger than it may be, and none but
/// the last is no multiple of 8.
pub fn join_sent(frames: Vec<Vec<u8>>, senders: &[IpAddr], mtu: usize) -> Vec<Vec<u8>> {
    type Pieces = BTreeMap<usize, (Vec<u8>, bool, Vec<u8>)>;
    let mut sets: BTreeMap<Vec<u8>, (Vec<u8>, Pieces)> = BTreeMap::new();
    let mut joined = Vec::new();
    for frame in frames {
        let piece = piece(&frame).filter(|piece| piece.is_udp() && senders.contains(&piece.from));
        let Some(piece) = piece.filter(|_| frame.len() - 14 <= mtu) else {
            joined.push(frame);
            continue;
        };
        let set =
            sets.entry(piece.name.clone()).or_insert_with(|| (piece.head.clone(), Pieces::new()));
        if piece.offset == 0 {
            set.0 = piece.head;
        }
        match set.1.entry(piece.offset) {
            Entry::Vacant(place) => _ = place.insert((piece.content, piece.more, frame)),
            Entry::Occupied(_) => joined.push(frame),
        }
    }
    for (head, pieces) in sets.into_values() {
        let mut content = Vec::new();
        let last = pieces.len() - 1;
        let whole = pieces.iter().enumerate().all(|(place, (offset, (octets, more, _)))| {
            let fits = *offset == content.len()
                && *more == (place != last)
                && (!*more || octets.len().is_multiple_of(8));
            content.extend(octets);
            fits
        });
        let is_envelope = content.starts_with(&SERVICE_PORT.to_be_bytes());
        if whole && is_envelope && pieces.len() > 1 {
            joined.push(finish(&head, &content));
        } else {
            joined.extend(pieces.into_values().map(|(_, _, frame)| frame));
        }
    }
    joined
}

/// A fragment.
pub struct Piece {
    from: IpAddr,
    /// What all pieces of a packet have in common.
    name: Vec<u8>,
    /// Ethernet and IP header of the whole.
    head: Vec<u8>,
    offset: usize,
    more: bool,
    content: Vec<u8>,
}

impl Piece {
    /// Whether the whole is a UDP packet, as far as this piece says.
    pub(super) fn is_udp(&self) -> bool {
        self.head.get(if self.head[12] == 0x86 { 20 } else { 23 }) == Some(&17)
    }
}

pub(super) fn piece(frame: &[u8]) -> Option<Piece> {
    let v6 = match frame.get(12..14)? {
        [0x86, 0xdd] => true,
        [8, 0] => false,
        _ => return None,
    };
    let packet = &frame[14..];
    let ip = Ip::read(v6, packet).ok()?;
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    if v6 {
        if ip.proto != 44 || ip.total < 48 {
            return None;
        }
        let mut head = frame[..54].to_vec();
        head[20] = packet[40];
        return Some(Piece {
            from: ip.from,
            name: [&packet[8..40], &packet[44..48]].concat(),
            head,
            offset: usize::from(word(42) >> 3) * 8,
            more: word(42) & 1 != 0,
            content: packet[48..ip.total].to_vec(),
        });
    }
    if ip.fragment == Fragment::Whole {
        return None;
    }
    let mut head = frame[..14 + ip.header].to_vec();
    head[20..22].fill(0);
    Some(Piece {
        from: ip.from,
        name: [&packet[12..20], &packet[4..6], &packet[9..10]].concat(),
        head,
        offset: usize::from(word(6) & 0x1fff) * 8,
        more: word(6) & 0x2000 != 0,
        content: packet[ip.header..ip.total].to_vec(),
    })
}

fn finish(head: &[u8], content: &[u8]) -> Vec<u8> {
    let mut frame = [head, content].concat();
    let v6 = frame[12] == 0x86;
    let len = if v6 { content.len() } else { frame.len() - 14 } as u16;
    let at = if v6 { 18 } else { 16 };
    frame[at..at + 2].copy_from_slice(&len.to_be_bytes());
    ip::mend(&mut frame[14..]);
    frame
}

/// Fragments of one packet that are kept.
const MOST_PIECES: usize = 8;

impl World {
    /// How many fragments wait.
    pub fn held(&self) -> usize {
        self.pieces.values().map(Vec::len).sum()
    }

    /// A fragment of an outer packet: kept until all are there, then the whole goes on. What
    /// overlaps or comes twice takes its set along (RFC 5722).
    pub(super) fn take_piece(&mut self, port: PortId, frame: &[u8]) -> Step {
        let piece = piece(frame).ok_or(D::OuterFragment)?;
        let len = piece.content.len();
        if len == 0 || piece.more && !len.is_multiple_of(8) || piece.offset + len > 65_535 {
            return Err(D::OuterFragment);
        }
        // RFC 6946: all of it in one.
        if piece.offset == 0 && !piece.more {
            return self.whole(port, &[piece]);
        }
        let name = piece.name.clone();
        let set = self.pieces.entry(name.clone()).or_default();
        let end = |piece: &Piece| piece.offset + piece.content.len();
        let overlaps =
            set.iter().any(|other| piece.offset < end(other) && other.offset < end(&piece));
        set.push(piece);
        if overlaps || set.len() > MOST_PIECES {
            let count = set.len();
            self.pieces.remove(&name);
            return Ok(Verdict::All(vec![Verdict::Drop(D::FragmentOverlap); count]));
        }
        set.sort_by_key(|piece| piece.offset);
        let mut reached = 0;
        for piece in set.iter() {
            if piece.offset != reached {
                return Ok(Verdict::All(Vec::new()));
            }
            reached = end(piece);
        }
        if set.last().is_some_and(|last| last.more) {
            return Ok(Verdict::All(Vec::new()));
        }
        let set = self.pieces.remove(&name).unwrap_or_default();
        self.whole(port, &set)
    }

    fn whole(&mut self, port: PortId, pieces: &[Piece]) -> Step {
        let content: Vec<u8> = pieces.iter().flat_map(|piece| &piece.content).copied().collect();
        let frame = finish(&pieces[0].head, &content);
        let ip = Ip::read(frame[12] == 0x86, &frame[14..])?;
        self.packet(port, &frame, &ip)
    }
}

/// RFC 791 s.3.2, its own example of 472 octets of data, and a packet with options.
#[test]
fn what_was_cut_is_joined_again() {
    let [from, to] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
    let ethernet = |packet: &[u8]| crate::codec::ethernet([2; 6], [4; 6], packet);
    let envelope =
        |octet, len: usize| [&SERVICE_PORT.to_be_bytes()[..], &vec![octet; len]].concat();
    let plain = crate::codec::ip(from, to, 17, &envelope(7, 450));
    let pieces = cut(&plain, 280);
    let lengths: Vec<_> = pieces.iter().map(Vec::len).collect();
    assert_eq!(lengths, [276, 216], "256 octets of data and the rest");
    assert_eq!(pieces[1][6..8], [0, 32]);
    // Record route is not copied, a security option is.
    let options = [7, 7, 4, 0, 0, 0, 0, 130, 3, 1, 0, 0];
    let mut long = [&plain[..20], &options, &envelope(9, 2998)].concat();
    long[0] = 0x48;
    long[2..4].copy_from_slice(&3032_u16.to_be_bytes());
    ip::mend(&mut long);
    for packet in [plain, long] {
        let pieces = cut(&packet, 280);
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() <= 280));
        let frames = pieces.iter().rev().map(|piece| ethernet(piece)).collect();
        assert_eq!(join_sent(frames, &[from], 280), [ethernet(&packet)]);
    }
    // Of the box's own packets every piece stays what it is.
    let other = crate::codec::ip(from, to, 17, &[7; 452]);
    let frames: Vec<_> = cut(&other, 280).iter().map(|piece| ethernet(piece)).collect();
    assert_eq!(join_sent(frames.clone(), &[from], 280), frames);
    assert_eq!(copied_options(&options), [130, 3, 1, 0]);
}
