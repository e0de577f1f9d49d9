//! What is put together has to be taken apart into the same packets again.

use proptest::prelude::*;
use zerocopy::FromBytes;

use super::*;
use crate::tunnel::gso;

/// Part of a stream from `port`; `id` is that of IPv4, with DF where there is none.
#[derive(Debug, Clone, Copy)]
pub(in crate::tunnel) struct Part {
    pub(in crate::tunnel) is_ipv6: bool,
    pub(in crate::tunnel) port: u8,
    pub(in crate::tunnel) seq: u32,
    pub(in crate::tunnel) len: usize,
    pub(in crate::tunnel) flags: u8,
    pub(in crate::tunnel) id: Option<u16>,
}

pub(in crate::tunnel) const PART: Part =
    Part { is_ipv6: true, port: 1, seq: 1000, len: 100, flags: ACK, id: None };

fn packet(part: Part) -> Vec<u8> {
    let Part { is_ipv6, port, seq, len, flags, id } = part;
    let upper_len = 32 + len;
    let mut packet = Vec::new();
    if is_ipv6 {
        packet.extend([0x60, 0, 0, 9]);
        packet.extend(u16::try_from(upper_len).unwrap().to_be_bytes());
        packet.extend([TCP, 64]);
        packet.extend([0x20; 16]);
        packet.extend([0x31; 16]);
    } else {
        packet.extend([0x45, 0]);
        packet.extend(u16::try_from(20 + upper_len).unwrap().to_be_bytes());
        packet.extend(id.unwrap_or(7).to_be_bytes());
        packet.extend([if id.is_some() { 0 } else { 0x40 }, 0, 64, TCP, 0, 0]);
        packet.extend([203, 0, 113, 2, 203, 0, 113, 200]);
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let ip = packet.len();
    packet.extend([0, port, 0, 80]);
    packet.extend(seq.to_be_bytes());
    packet.extend([1, 2, 3, 4, 0x80, flags, 5, 6, 0, 0, 0, 0]);
    packet.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    packet.extend((0..len).map(|i| u8::try_from((i + 3) * 7 % 251).unwrap()));
    let addresses = if is_ipv6 { &packet[8..40] } else { &packet[12..20] };
    let sum = Sum::new()
        .plus(addresses)
        .plus(&[0, TCP])
        .plus(&u16::try_from(upper_len).unwrap().to_be_bytes())
        .plus(&packet[ip..])
        .finish();
    packet[ip + 16..ip + 18].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// What the kernel gets, and how many packets each is said to be.
pub(in crate::tunnel) fn delivered(packets: &[Vec<u8>], offload: bool) -> Vec<(Vec<u8>, usize)> {
    let mut places = Vec::new();
    let mut arena = Vec::new();
    for packet in packets {
        // A frame's header stands in between.
        arena.extend([0xee; 24]);
        places.push(arena.len()..arena.len() + packet.len());
        arena.extend(packet);
    }
    let (mut written, mut told) = (Vec::new(), Vec::new());
    Gro::new(offload).deliver(
        &arena,
        &places,
        |parts| {
            written.push(parts.iter().flat_map(|part| part.to_vec()).collect::<Vec<u8>>());
            Ok(0)
        },
        |it| {
            assert!(it.taken);
            told.push((it.packets, it.octets));
        },
    );
    assert_eq!(told.iter().map(|it| it.0).sum::<usize>(), packets.len());
    assert_eq!(
        told.iter().map(|it| it.1).sum::<usize>(),
        packets.iter().map(Vec::len).sum::<usize>()
    );
    written.into_iter().zip(told).map(|(written, (count, _))| (written, count)).collect()
}

/// How many packets are in each.
fn counts(packets: &[Vec<u8>]) -> Vec<usize> {
    delivered(packets, true).into_iter().map(|(_, count)| count).collect()
}

/// Back into packets, as the kernel would.
fn taken_apart(written: &[(Vec<u8>, usize)]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (octets, _) in written {
        let (header, packet) = octets.split_at(VirtioHeader::LEN);
        let header = VirtioHeader::read_from_bytes(header).unwrap();
        let mut packet = packet.to_vec();
        match gso::read(&header, &mut packet).unwrap() {
            gso::Read::Packet => all.push(packet),
            gso::Read::Train(train) => {
                for index in 0..train.count() {
                    let mut out = vec![0; train.len_of(index)];
                    train.write(index, &mut out).unwrap();
                    all.push(out);
                }
            }
        }
    }
    all
}

pub(in crate::tunnel) fn stream(part: Part, lens: &[usize]) -> Vec<Vec<u8>> {
    let mut seq = part.seq;
    let mut id = part.id;
    let mut all = Vec::new();
    for &len in lens {
        all.push(packet(Part { seq, len, id, ..part }));
        seq = seq.wrapping_add(u32::try_from(len).unwrap());
        id = id.map(|id| id.wrapping_add(1));
    }
    all
}

#[test]
fn a_stream_becomes_a_train_and_the_same_packets_again() {
    for is_ipv6 in [true, false] {
        for id in [None, Some(0xffff)] {
            let part = Part { is_ipv6, id, seq: 0xffff_ff80, ..PART };
            let mut packets = stream(part, &[100, 100, 100, 40]);
            packets.push(packet(Part { seq: 0xffff_ff80_u32.wrapping_add(340), ..part }));
            let written = delivered(&packets, true);
            assert_eq!(written.iter().map(|it| it.1).collect::<Vec<_>>(), [4, 1]);
            // With DF the IDs may all be the same; segments count them up.
            if is_ipv6 || id.is_some() {
                assert_eq!(taken_apart(&written)[..4], packets[..4]);
            }
        }
    }
}

#[test]
fn psh_ends_a_train_and_is_on_its_last_packet() {
    let mut packets = stream(PART, &[100, 100]);
    packets.push(packet(Part { seq: 1200, flags: ACK | PSH, ..PART }));
    packets.push(packet(Part { seq: 1300, ..PART }));
    let written = delivered(&packets, true);
    assert_eq!(written.iter().map(|it| it.1).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(taken_apart(&written), packets);
}

#[test]
fn what_does_not_follow_stays_apart_and_in_order() {
    let next = Part { seq: 1100, ..PART };
    let first = packet(PART);
    let changed = |at: usize, to: u8| {
        let mut other = packet(next);
        // The checksum is made right again by the word in front of the payload's end.
        let old = u16::from_be_bytes([other[at & !1], other[at | 1]]);
        other[at] = to;
        let new = u16::from_be_bytes([other[at & !1], other[at | 1]]);
        let field = u16::from_be_bytes([other[56], other[57]]);
        let sum = hearth_wire::ip::updated(field, old, new);
        if at >= 8 {
            other[56..58].copy_from_slice(&sum.to_be_bytes());
        }
        other
    };
    assert_eq!(counts(&[first.clone(), packet(next)]), [2]);
    let others = [
        packet(Part { seq: 1101, ..PART }),
        packet(Part { seq: 1100, len: 101, ..PART }),
        packet(Part { seq: 1100, flags: ACK | 1, ..PART }),
        packet(Part { seq: 1100, flags: ACK | 0x80, ..PART }),
        packet(Part { seq: 1100, flags: 2, ..PART }),
        packet(Part { seq: 1100, len: 0, ..PART }),
        packet(Part { is_ipv6: false, seq: 1100, ..PART }),
        // ECN, flow label, hop limit, acknowledgement, window, options.
        changed(1, 0x30),
        changed(3, 8),
        changed(7, 63),
        changed(48, 9),
        changed(54, 9),
        changed(64, 9),
    ];
    for (at, other) in others.iter().enumerate() {
        let packets = [first.clone(), other.clone()];
        let written = delivered(&packets, true);
        assert_eq!(written.len(), 2, "{at}");
        assert_eq!(taken_apart(&written), packets, "{at}");
    }
    // A wrong checksum is the receiver's to see.
    let mut broken = packet(next);
    *broken.last_mut().unwrap() ^= 1;
    let packets = [first.clone(), broken];
    assert_eq!(taken_apart(&delivered(&packets, true)), packets);
    assert_eq!(counts(&packets), [1, 1]);
    assert_eq!(delivered(&[first.clone(), packet(next)], false).len(), 2, "no offload");
}

#[test]
fn trains_end_at_64_packets_and_64_kib() {
    assert_eq!(counts(&stream(PART, &[10; 150])), [64, 64, 22]);
    assert_eq!(counts(&stream(PART, &[1400; 60])), [46, 14]);
}

proptest! {
    /// Several streams, in pieces of any length, some lost: each keeps its order, and nothing
    /// changes on the way.
    #[test]
    fn every_stream_keeps_its_packets_and_their_order(
        parts in prop::collection::vec((0_u8..12, 1_usize..300, any::<bool>(), 0_u8..8), 0..100)
    ) {
        let mut seqs = [0_u32; 12];
        let mut packets = Vec::new();
        for (port, len, psh, odds) in parts {
            let seq = &mut seqs[usize::from(port)];
            let len = if odds > 2 { 200 } else { len };
            let flags = if psh && odds == 7 { ACK | PSH } else { ACK };
            if odds > 0 {
                packets.push(packet(Part { port, seq: *seq, len, flags, ..PART }));
            }
            *seq += u32::try_from(len).unwrap();
        }
        let after = taken_apart(&delivered(&packets, true));
        for port in 0..12 {
            let of = |all: &[Vec<u8>]| -> Vec<Vec<u8>> {
                all.iter().filter(|packet| packet[41] == port).cloned().collect()
            };
            prop_assert_eq!(of(&after), of(&packets));
        }
        prop_assert_eq!(after.len(), packets.len());
    }
}
