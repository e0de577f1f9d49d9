//! What is wrong with an envelope, one thing at a time: dropped under its own reason, nothing sent
//! back, window and binding untouched (ENC-04 to 08, 14, 16 to 18, 20, 24, 25, 34, 38, 45).

use hearth_dataplane::DropReason as D;
use hearth_wire::{Scope, Suite};

use crate::codec::{self, Plain};
use crate::rig::{ACCESS, Event, HA4, HA6, HOME, MobileNode, Rig, SPI_BASE};

/// An SA that works afterwards.
fn still_works(rig: &mut Rig, mn: &mut MobileNode) {
    let packet = mn.data(&mn.inner6());
    rig.send(ACCESS, &packet);
    rig.received_one(HOME);
}

fn header(ptype: u8, spi: u32, seq: u32) -> Vec<u8> {
    [(u32::from(ptype) << 28 | spi).to_be_bytes(), seq.to_be_bytes()].concat()
}

/// ENC-04: even with a valid SPI and ICV.
#[test]
fn unregistered_packet_types() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    for ptype in (2..=7).chain(9..=15) {
        let packet = mn.sealed(&mn.plain(ptype, 0, 41, &mn.inner6()));
        rig.refuses(&mn, &packet, D::PtypeUnregistered);
        assert_eq!(rig.counters().unregistered_ptypes[usize::from(ptype)], 1);
    }
    still_works(&mut rig, &mut mn);
    rig.finish();
}

/// ENC-05, ENC-06, ENC-07, ENC-08.
#[test]
fn spi_0_is_for_ptype_0_and_nothing_else() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::new(1, Suite::NullSha, Scope::Signalling, false));
    let spi = mn.spi.get();
    for (ptype, spi, seq, reason) in [
        (8, 0, 0, D::SignallingSpiZero),
        (1, 0, 0, D::ProtectedSpiZero),
        (0, spi, 0, D::PlainSpiNotZero),
        (0, 0, 1, D::PlainSequenceNotZero),
    ] {
        let frame = [header(ptype, spi, seq), mn.inner6()].concat();
        rig.refuses(&mn, &mn.packet(&frame), reason);
        let sealed =
            Plain { spi, seq, ..mn.plain(ptype, 0, 41, &mn.inner6()) }.seal(mn.suite, &mn.up);
        rig.refuses(&mn, &mn.packet(&sealed), reason);
    }
    still_works(&mut rig, &mut mn);
    rig.finish();
}

/// ENC-14; control hears of what signalling names, so that it can ask the HAC.
#[test]
fn unknown_spis() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let ours = SPI_BASE..SPI_BASE + 64;
    for spi in [1, SPI_BASE - 1, SPI_BASE, SPI_BASE + 2, SPI_BASE + 63, SPI_BASE + 64, 0x0fff_ffff]
    {
        let inner = mn.inner6();
        let data = Plain { spi, ..mn.plain(1, 0, 41, &inner) };
        rig.refuses(&mn, &mn.sealed(&data), D::SpiUnknown);
        assert!(rig.events().is_empty());
        let signalling = Plain { ptype: 8, ..data };
        rig.send(ACCESS, &mn.sealed(&signalling));
        // The HAC has none outside the home agent's range.
        match rig.events()[..] {
            [Event::UnknownSpi(named)] => assert!(named == spi && ours.contains(&spi)),
            [] => assert!(!ours.contains(&spi), "{spi}"),
            _ => panic!("one hint"),
        }
        rig.is_silent();
    }
    assert_eq!(rig.drops(), [("spi_unknown", 14)].into());
    still_works(&mut rig, &mut mn);
    rig.finish();
}

/// ENC-16: every bit of the frame in turn, for a suite of each kind, PType 1 and 8.
#[test]
fn every_flipped_bit_is_noticed() {
    let mut rig = Rig::new();
    for (n, suite) in (1..).zip(Suite::known()) {
        let mn = rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, true));
        for (seq, ptype, next_header) in [(0, 1, 41), (1, 8, 135)] {
            let inner = codec::ip(mn.home6.into(), HA6.into(), 17, b"short");
            let frame = mn.plain(ptype, seq, next_header, &inner).seal(suite, &mn.up);
            for bit in 0..frame.len() * 8 {
                let mut mutant = frame.clone();
                mutant[bit / 8] ^= 0x80 >> (bit % 8);
                let reason = match bit {
                    // To 0, or to a number nobody registered.
                    0..4 if mutant[0] >> 4 == 0 => D::PlainSpiNotZero,
                    0..4 => D::PtypeUnregistered,
                    4..32
                        if (1..=6).any(|n| {
                            mutant[..4] == ((u32::from(ptype) << 28) | (SPI_BASE + n)).to_be_bytes()
                                && n <= mn.spi.get() - SPI_BASE
                        }) =>
                    {
                        // Another mobile node's SA, whose suite may want another length.
                        rig.send(ACCESS, &mn.packet(&mutant));
                        rig.is_silent();
                        continue;
                    }
                    4..32 => D::SpiUnknown,
                    // The number of the packet before.
                    32..64 if seq == 1 && mutant[4..8] == [0; 4] => D::Replayed,
                    _ => D::IcvMismatch,
                };
                rig.refuses(&mn, &mn.packet(&mutant), reason);
            }
            rig.send(ACCESS, &mn.packet(&frame));
            assert_eq!(rig.events().len(), 1, "the original passes; {:?}", rig.drops());
        }
    }
    rig.finish();
}

/// ENC-17: the packet type is under the ICV.
#[test]
fn relabelled_packet_types() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    for (ptype, other) in [(1, 8), (8, 1)] {
        let mut frame = mn.plain(ptype, 0, 41, &mn.inner6()).seal(mn.suite, &mn.up);
        frame[0] = frame[0] & 0x0f | other << 4;
        rig.refuses(&mn, &mn.packet(&frame), D::IcvMismatch);
    }
    rig.finish();
}

/// ENC-18: keys are per direction.
#[test]
fn a_packet_of_the_home_agents_own_comes_back() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    rig.send(HOME, &codec::ip(crate::rig::CN6.into(), mn.home6.into(), 17, b"x"));
    let sent = codec::Datagram::read(rig.received_one(ACCESS).packet()).content;
    rig.refuses(&mn, &mn.packet(&sent), D::IcvMismatch);
    rig.finish();
}

/// ENC-20: another suite than the SA's, under the same keys.
#[test]
fn another_suite_than_the_sas() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let mut keys = mn.up.clone();
    keys.integrity.truncate(16);
    let frame = mn.plain(1, 0, 41, &mn.inner6()).seal(Suite::Aes128CbcSha256, &keys);
    rig.refuses(&mn, &mn.packet(&frame), D::IcvMismatch);
    rig.finish();
}

/// ENC-25: nothing, too little, ragged.
#[test]
fn truncated_and_ragged_frames() {
    let mut rig = Rig::new();
    for (n, suite) in (1..).zip(Suite::known()) {
        let mut mn = rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, false));
        let (iv_len, block, icv_len) = codec::lengths(suite);
        let least = 8 + iv_len + block + icv_len;
        for (ptype, next_header) in [(1, 41), (8, 135)] {
            let frame = mn.plain(ptype, 0, next_header, &mn.inner6()).seal(suite, &mn.up);
            for len in 0..frame.len() {
                let reason = match len {
                    _ if len < least => D::FrameShort,
                    _ if (len - least) % block != 0 => D::FrameNotWholeBlocks,
                    _ => D::IcvMismatch,
                };
                rig.refuses(&mn, &mn.packet(&frame[..len]), reason);
            }
        }
        still_works(&mut rig, &mut mn);
    }
    rig.finish();
}

/// ENC-25 for PType 0: less than its own header, less than an inner header, less than the inner
/// packet says.
#[test]
fn truncated_frames_in_the_clear() {
    let mut rig = Rig::new();
    for (n, outer6) in [(1, true), (2, false)] {
        let mn = rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, Scope::Signalling, outer6));
        for inner in [mn.inner6(), mn.inner4()] {
            let frame = [&[0; 8], &inner[..]].concat();
            for len in 0..frame.len() {
                let reason = if len < 8 { D::FrameShort } else { D::InnerLength };
                rig.refuses(&mn, &mn.packet(&frame[..len]), reason);
            }
            rig.send(ACCESS, &mn.packet(&frame));
            assert_eq!(rig.received_one(HOME).packet().len(), inner.len());
        }
    }
    rig.finish();
}

/// ENC-23, ENC-24: Pad Length from 0 to 255 is valid; more than there is, is not; and padding is
/// looked at.
#[test]
fn padding() {
    let mut rig = Rig::new();
    for (n, suite) in (1..).zip(Suite::known()) {
        let mn = rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, true));
        let block = suite.pad_block();
        let mut seq = 0;
        for padding in [0_usize, block - 1, 255] {
            // An inner packet that leaves just this much padding.
            let len = (40..).find(|len| (len + padding + 2) % block == 0).unwrap();
            let inner = codec::ip(mn.home6.into(), crate::rig::CN6.into(), 17, &vec![9; len - 40]);
            let octets = (1..=padding).map(|i| i as u8).collect();
            let plain = Plain { padding: Some(octets), ..mn.plain(1, seq, 41, &inner) };
            rig.send(ACCESS, &mn.sealed(&plain));
            assert_eq!(rig.received_one(HOME).packet()[40..], inner[40..], "{suite} {padding}");
            seq += 1;
        }
        let before = rig.drops();
        let inner = vec![0x60; 4 * block - 2];
        let none = Some(Vec::new());
        let beyond = Plain {
            padding: none.clone(),
            pad_length: Some(4 * block as u8 - 1),
            ..mn.plain(1, seq, 41, &inner)
        };
        rig.send(ACCESS, &mn.sealed(&beyond));
        let wrong =
            Plain { padding: none, pad_length: Some(3), ..mn.plain(1, seq + 1, 41, &inner) };
        rig.send(ACCESS, &mn.sealed(&wrong));
        let count =
            |name| rig.drops().get(name).copied().unwrap_or(0) - before.get(name).unwrap_or(&0);
        assert_eq!((count("pad_length"), count("padding")), (1, 1), "{suite}");
        rig.is_silent();
    }
    rig.finish();
}

/// ENC-34, and everything else that is no IPv6 extension header.
#[test]
fn signalling_that_is_none() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    for next_header in [41, 4, 59, 17, 50, 58] {
        let packet = mn.sealed(&mn.plain(8, mn.seq, next_header, &mn.inner6()));
        mn.seq += 1;
        rig.send(ACCESS, &packet);
        rig.is_silent();
    }
    assert_eq!(rig.drops(), [("signalling_next_header", 6)].into());
    rig.finish();
}

/// ENC-38 and R-40.
#[test]
fn outer_udp_checksums() {
    let mut rig = Rig::new();
    for (n, outer6) in [(1, true), (2, false)] {
        let mut mn = rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, Scope::Signalling, outer6));
        let at = if outer6 { 46 } else { 26 };
        let data = mn.data(&mn.inner6());
        let signalling = mn.sealed(&mn.plain(8, 1, 135, &[135, 0, 5, 0, 0, 0, 59, 0]));
        let clear = mn.clear(&mn.inner6());
        let with = |packet: &[u8], sum: [u8; 2]| {
            let mut packet = packet.to_vec();
            packet[at..at + 2].copy_from_slice(&sum);
            packet
        };
        for packet in [&signalling, &clear] {
            let wrong = [packet[at] ^ 0x55, packet[at + 1] | 1];
            rig.refuses(&mn, &with(packet, wrong), D::UdpChecksum);
        }
        if outer6 {
            for packet in [&data, &signalling, &clear] {
                rig.refuses(&mn, &with(packet, [0, 0]), D::UdpChecksumZero);
            }
            // PType 1 relies on its ICV.
            rig.send(ACCESS, &with(&data, [1, 1]));
            rig.received_one(HOME);
        } else {
            for packet in [&data, &clear] {
                rig.send(ACCESS, &with(packet, [0, 0]));
                rig.received_one(HOME);
            }
            rig.send(ACCESS, &with(&signalling, [0, 0]));
            assert_eq!(rig.events().len(), 1);
        }
    }
    rig.finish();
}

/// Outer headers that lie, and outer packets that no envelope should be.
#[test]
fn outer_headers() {
    let mut rig = Rig::new();
    let mut mn6 = rig.attach(MobileNode::new(1, Suite::Aes128CbcSha, Scope::Signalling, true));
    let mut mn4 = rig.attach(MobileNode::new(2, Suite::Aes128CbcSha, Scope::Signalling, false));
    let (good6, good4) = (mn6.data(&mn6.inner6()), mn4.data(&mn4.inner6()));
    let with = |packet: &[u8], changes: &[(usize, u8)], mend: bool| {
        let mut packet = packet.to_vec();
        changes.iter().for_each(|(at, value)| packet[*at] = *value);
        if mend {
            packet[10..12].copy_from_slice(&[0, 0]);
            let sum = codec::checksum(&packet[..20]).to_be_bytes();
            packet[10..12].copy_from_slice(&sum);
        }
        packet
    };
    let long = (good6.len() - 40 + 1) as u16;
    let behind = D::OuterExtensionHeader;
    for (packet, reason) in [
        (with(&good6, &[(4, (long >> 8) as u8), (5, long as u8)], false), D::IpLengthBeyondData),
        (with(&good6, &[(8, 0xff)], false), D::IpSource),
        (with(&good6, &[(44, 0xff)], false), D::UdpLength),
        (with(&good6, &[(44, 0), (45, 7)], false), D::UdpLength),
        (with(&good6, &[(6, 60), (40, 17), (41, 0), (50, 0x1e), (51, 0xc0)], false), behind),
        (with(&good4, &[(8, 63)], false), D::Ipv4Checksum),
        (with(&good4, &[(0, 0x44)], true), D::IpHeader),
        (with(&good4, &[(3, 19), (2, 0)], true), D::IpHeader),
        (with(&good4, &[(2, 0xff)], true), D::IpLengthBeyondData),
        (with(&good4, &[(12, 127)], true), D::IpSource),
        (with(&good4, &[(12, 224)], true), D::IpSource),
    ] {
        rig.refuses(&mn6, &packet, reason);
    }
    for (mn, packet) in [(&mn6, &good6), (&mn4, &good4)] {
        rig.send(ACCESS, packet);
        assert_eq!(rig.received(HOME).len(), 1, "{}", mn.spi);
    }
    rig.finish();
}

/// Frames that are for somebody else, or are none.
#[test]
fn frames_of_others() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let frame = codec::ethernet([2, 0, 0, 0, 0, 0x99], [2; 6], &mn.data(&mn.inner6()));
    rig.inject(ACCESS, 0, &frame);
    rig.inject(ACCESS, 0, &[0xff; 13]);
    rig.turns();
    rig.is_silent();
    assert_eq!(rig.drops(), [("ethernet_not_for_us", 1), ("ethernet_short", 1)].into());
    rig.finish();
}

/// Anything at all, to the service port: no panic, no answer, each counted once.
#[test]
fn junk_is_counted_and_never_answered() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let mut random = 1_u64;
    let mut next = move || {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as u32
    };
    for _ in 0..2000 {
        let len = next() as usize % 120;
        let mut frame: Vec<u8> = (0..len).map(|_| next() as u8).collect();
        if len >= 4 && next().is_multiple_of(2) {
            let spi = mn.spi.get() | [0, 1, 8][next() as usize % 3] << 28;
            frame[..4].copy_from_slice(&spi.to_be_bytes());
        }
        rig.send(ACCESS, &mn.packet(&frame));
    }
    rig.is_silent();
    assert_eq!(rig.counters().dropped_total(), 2000, "{:?}", rig.drops());
    assert_eq!(rig.tables.sa_usage(mn.spi).unwrap().highest_inbound, None);
    rig.finish();
}

/// A packet to another port, or of another protocol, to the service address is the kernel's.
#[test]
fn the_rest_of_the_service_address_is_the_kernels() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    let mut other_port = mn.local;
    other_port.set_port(7873);
    let plain = codec::udp_packet(mn.remote, other_port, b"hello");
    let behind_options = [&[17, 0, 1, 4, 0, 0, 0, 0], &plain[40..]].concat();
    for packet in [
        plain,
        codec::ip(mn.remote.ip(), HA6.into(), 60, &behind_options),
        codec::ip(mn.remote.ip(), HA6.into(), 58, &[128, 0, 0, 0]),
        codec::ip(mn.remote.ip(), HA6.into(), 6, &[0; 20]),
        codec::ip("192.0.2.1".parse().unwrap(), HA4.into(), 1, &[8, 0, 0, 0]),
    ] {
        rig.send(ACCESS, &packet);
        match &rig.events()[..] {
            [Event::Host { port, frame }] => {
                assert_eq!(*port, ACCESS);
                assert_eq!(frame[..6], rig.mac(ACCESS));
                assert_eq!(frame[14..], packet);
            }
            _ => panic!("one frame for the host"),
        }
    }
    assert!(rig.drops().is_empty());
    rig.finish();
}
