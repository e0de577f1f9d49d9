//! Against another implementation (tun-rs's `gso_split`), and by what the headers have to be.

use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::*;

const CWR_PSH_FIN: u8 = 0x80 | PSH | FIN;

/// A train as the kernel hands it over.
pub(in crate::tunnel) struct Given {
    pub(in crate::tunnel) header: VirtioHeader,
    pub(in crate::tunnel) packet: Vec<u8>,
}

fn pseudo(ip: &[u8], proto: u8, upper_len: usize) -> Sum {
    let addresses = if ip[0] >> 4 == 6 { &ip[8..40] } else { &ip[12..20] };
    let len = u32::try_from(upper_len).unwrap();
    Sum::new().plus(addresses).plus(&[0, proto]).plus(&len.to_be_bytes())
}

/// `options`: words of TCP options.
pub(in crate::tunnel) fn given(
    is_ipv6: bool,
    is_udp: bool,
    options: usize,
    flags: u8,
    tos: u8,
    payload: usize,
    segment: u16,
) -> Given {
    let upper_len = if is_udp { 8 } else { 20 + 4 * options };
    let proto = if is_udp { 17 } else { 6 };
    let mut packet = Vec::new();
    if is_ipv6 {
        let len = u16::try_from(upper_len + payload).unwrap();
        packet.extend([0x60 | tos >> 4, tos << 4 | 5, 6, 7]);
        packet.extend(len.to_be_bytes());
        packet.extend([proto, 64]);
        packet.extend([0x20; 16]);
        packet.extend([0x31; 16]);
    } else {
        let len = u16::try_from(20 + upper_len + payload).unwrap();
        packet.extend([0x45, tos]);
        packet.extend(len.to_be_bytes());
        packet.extend([0xff, 0xfe, 0x40, 0, 64, proto, 0, 0, 203, 0, 113, 200, 203, 0, 113, 2]);
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let start = packet.len();
    let field = if is_udp {
        packet.extend([0x12, 0x34, 0, 53]);
        packet.extend(u16::try_from(8 + payload).unwrap().to_be_bytes());
        packet.extend([0, 0]);
        6
    } else {
        packet.extend([0x12, 0x34, 0, 80, 0xff, 0xff, 0xff, 0xf0, 1, 2, 3, 4]);
        packet.extend([u8::try_from(upper_len / 4).unwrap() << 4, flags, 5, 6, 0, 0, 0, 0]);
        packet.extend((0..4 * options).map(|i| u8::try_from(i + 9).unwrap()));
        16
    };
    packet.extend((0..payload).map(|i| u8::try_from(i * 13 % 251).unwrap()));
    let partial = !pseudo(&packet[..start], proto, upper_len + payload).finish();
    packet[start + field..start + field + 2].copy_from_slice(&partial.to_be_bytes());
    let kind = match (is_udp, is_ipv6) {
        (true, _) => GSO_UDP_L4,
        (false, true) => GSO_TCPV6,
        (false, false) => GSO_TCPV4,
    };
    let header = VirtioHeader {
        flags: NEEDS_CSUM,
        kind,
        header_len: u16::try_from(start + upper_len).unwrap().into(),
        segment: segment.into(),
        csum_start: u16::try_from(start).unwrap().into(),
        csum_offset: u16::try_from(field).unwrap().into(),
    };
    Given { header, packet }
}

pub(in crate::tunnel) fn taken_apart(given: &Given) -> Vec<Vec<u8>> {
    let mut packet = given.packet.clone();
    let Some(Read::Train(train)) = read(&given.header, &mut packet) else { panic!("no train") };
    (0..train.count())
        .map(|index| {
            let mut out = vec![0; train.len_of(index)];
            assert_eq!(train.write(index, &mut out), Some(out.len()));
            out
        })
        .collect()
}

/// The same by tun-rs.
fn by_others(given: &Given) -> Vec<Vec<u8>> {
    let header = tun_rs::VirtioNetHdr::decode(given.header.as_bytes()).unwrap();
    let (mut out, mut sizes) = (vec![vec![0; 66_000]; 128], vec![0; 128]);
    let mut packet = given.packet.clone();
    let is_ipv6 = packet[0] >> 4 == 6;
    let count = tun_rs::gso_split(&mut packet, header, &mut out, &mut sizes, 0, is_ipv6).unwrap();
    out.into_iter().zip(sizes).take(count).map(|(out, size)| out[..size].to_vec()).collect()
}

proptest! {
    /// Odd sizes, short last segments, both families, TCP with options and flags, UDP, DSCP and ECN.
    #[test]
    fn segments_are_those_of_another_implementation(
        (is_ipv6, is_udp) in (any::<bool>(), any::<bool>()),
        (options, flags, tos) in (0_usize..=10, any::<u8>(), any::<u8>()),
        (payload, segment) in (1_usize..9000, 100_u16..2000),
    ) {
        let given = given(is_ipv6, is_udp, options, flags, tos, payload, segment);
        prop_assert_eq!(taken_apart(&given), by_others(&given));
    }
}

#[test]
fn flags_ids_numbers_and_ecn_are_each_segments_own() {
    let given = given(false, false, 3, 0x10 | CWR_PSH_FIN, 0xb9, 250, 100);
    let packets = taken_apart(&given);
    let lens: Vec<_> = packets.iter().map(Vec::len).collect();
    assert_eq!(lens, [152, 152, 102]);
    let flags: Vec<_> = packets.iter().map(|packet| packet[33]).collect();
    assert_eq!(flags, [0x90, 0x10, 0x19]);
    let ids: Vec<_> = packets.iter().map(|packet| [packet[4], packet[5]]).collect();
    assert_eq!(ids, [[0xff, 0xfe], [0xff, 0xff], [0, 0]]);
    for (packet, seq) in packets.iter().zip([0xffff_fff0_u32, 0x54, 0xb8]) {
        assert_eq!(packet[24..28], seq.to_be_bytes());
        assert_eq!(packet[1], 0xb9);
        assert_eq!(checksum(&packet[..20]), 0);
        assert_eq!(pseudo(&packet[..20], 6, packet.len() - 20).plus(&packet[20..]).finish(), 0);
    }
}

#[test]
fn a_checksum_that_is_missing_is_filled_in() {
    for is_udp in [false, true] {
        let mut given = given(true, is_udp, 0, 0x18, 0, 333, 1);
        given.header.kind = GSO_NONE;
        let found = read(&given.header, &mut given.packet);
        assert!(matches!(found, Some(Read::Packet)));
        let proto = if is_udp { 17 } else { 6 };
        let sum = pseudo(&given.packet[..40], proto, given.packet.len() - 40);
        assert_eq!(sum.plus(&given.packet[40..]).finish(), 0);
        // Without the flag it is what it is.
        given.header.flags = 0;
        let before = given.packet.clone();
        assert!(read(&given.header, &mut given.packet).is_some());
        assert_eq!(given.packet, before);
    }
}

#[test]
fn what_can_not_be_is_no_train() {
    let wrong: [fn(&mut VirtioHeader); 7] = [
        |header| header.kind = 3,
        |header| header.flags = 0,
        |header| header.segment = 0.into(),
        |header| header.csum_start = 0.into(),
        |header| header.csum_start = 65_000.into(),
        |header| header.csum_offset = 6.into(),
        |header| header.csum_offset = 65_000.into(),
    ];
    for (at, change) in wrong.into_iter().enumerate() {
        let mut given = given(true, false, 0, 0x10, 0, 300, 100);
        change(&mut given.header);
        assert!(read(&given.header, &mut given.packet).is_none(), "{at}");
    }
    let mut given = given(true, false, 0, 0x10, 0, 300, 100);
    given.header.kind = GSO_NONE;
    given.header.csum_start = 65_000.into();
    assert!(read(&given.header, &mut given.packet).is_none());
    given.packet.truncate(45);
    given.header.kind = GSO_TCPV6;
    given.header.csum_start = 40.into();
    assert!(read(&given.header, &mut given.packet).is_none());
}
