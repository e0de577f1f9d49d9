//! Known-answer packets: five suites, both outer families, PType 1 and 8, both directions
//! (ENC-19, ENC-22, ENC-26, ENC-31, ENC-33, ENC-37, ENC-43).

use std::net::IpAddr;

use hearth_wire::{Scope, Suite};

use crate::codec::{self, Datagram, Plain};
use crate::rig::{ACCESS, CN_MAC, CN4, CN6, Event, GATEWAY_MAC, HOME, MobileNode, Rig};

fn each(test: impl Fn(&mut Rig, &mut MobileNode)) {
    let mut rig = Rig::new();
    let mut n = 0;
    for suite in Suite::known() {
        for outer6 in [true, false] {
            n += 1;
            let mn = MobileNode::new(n, suite, Scope::SignallingAndData, outer6);
            let mut mn = rig.attach(mn);
            test(&mut rig, &mut mn);
        }
    }
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    rig.finish();
}

#[test]
fn uplink_data_of_both_versions() {
    each(|rig, mn| {
        for inner in [mn.inner6(), mn.inner4()] {
            let packet = mn.data(&inner);
            rig.send(ACCESS, &packet);
            let frame = rig.received_one(HOME);
            assert_eq!(frame.destination(), CN_MAC, "{} {}", mn.suite, mn.remote);
            assert_eq!(frame.0[6..12], rig.mac(HOME));
            // As it was sent, but for one hop.
            let mut expected = inner.clone();
            let hop = if inner[0] >> 4 == 6 { 7 } else { 8 };
            expected[hop] -= 1;
            if hop == 8 {
                expected[10..12].copy_from_slice(&[0, 0]);
                let sum = codec::checksum(&expected[..20]).to_be_bytes();
                expected[10..12].copy_from_slice(&sum);
            }
            assert_eq!(frame.packet(), expected);
        }
    });
}

#[test]
fn downlink_data_of_both_versions_equals_the_codec_octet_by_octet() {
    each(|rig, mn| {
        for (seq, to) in (0..).zip([IpAddr::from(mn.home6), mn.home4.into()]) {
            let from: IpAddr = if to.is_ipv6() { CN6.into() } else { CN4.into() };
            let inner = codec::ip(from, to, 17, &[0xd7; 101]);
            rig.send(HOME, &inner);
            let frame = rig.received_one(ACCESS);
            assert_eq!(frame.destination(), GATEWAY_MAC);
            let opened = mn.open(&frame);
            assert_eq!((opened.ptype, opened.spi, opened.seq), (1, mn.spi.get(), seq));
            assert_eq!(opened.next_header, if to.is_ipv6() { 41 } else { 4 });
            assert_eq!(opened.payload.len(), inner.len());
            let mut iv = [0; 16];
            iv[..opened.iv.len()].copy_from_slice(&opened.iv);
            let again = Plain { iv, ..mn.plain(1, seq, opened.next_header, &opened.payload) };
            assert_eq!(
                Datagram::read(frame.packet()).content,
                again.seal(mn.suite, &mn.down),
                "{}",
                mn.suite
            );
        }
    });
}

#[test]
fn signalling_in_and_out_shares_the_sa_with_data() {
    each(|rig, mn| {
        // ENC-33: destination options first, or the Mobility Header directly.
        for (seq, next_header) in [(0, 60), (1, 135)] {
            let content = [&[135, 2, 0xc9][..], &[seq as u8; 53]].concat();
            let packet = mn.sealed(&mn.plain(8, seq, next_header, &content));
            rig.send(ACCESS, &packet);
            match &rig.events()[..] {
                [Event::Signalling { spi, remote, local, next_header: first, payload }] => {
                    assert_eq!((*spi, *remote, *local), (mn.spi.get(), mn.remote, mn.local));
                    assert_eq!((*first, payload), (next_header, &content));
                }
                _ => panic!("one signalling packet; {:?}", rig.drops()),
            }
        }
        let answer = [0x3b; 40];
        rig.control.send_signalling(mn.spi, mn.local, mn.remote, 43, &answer).unwrap();
        rig.turns();
        let opened = mn.open(&rig.received_one(ACCESS));
        assert_eq!((opened.ptype, opened.seq, opened.next_header), (8, 0, 43));
        assert_eq!(opened.payload, answer);
        // ENC-22: one sequence space per direction for both PTypes.
        rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, b"x"));
        assert_eq!(mn.open(&rig.received_one(ACCESS)).seq, 1);
        let usage = rig.tables.sa_usage(mn.spi).unwrap();
        assert_eq!((usage.in_packets, usage.out_packets, usage.next_outbound), (2, 2, 2));
        assert_eq!(usage.highest_inbound.unwrap().0, 1);
    });
}

/// ENC-43.
#[test]
fn the_same_packet_twice_has_another_iv_and_other_ciphertext() {
    each(|rig, mn| {
        let inner = codec::ip(CN6.into(), mn.home6.into(), 17, &[7; 64]);
        rig.send(HOME, &inner);
        let first = Datagram::read(rig.received_one(ACCESS).packet()).content;
        rig.send(HOME, &inner);
        let second = Datagram::read(rig.received_one(ACCESS).packet()).content;
        if mn.suite.encrypts() {
            let iv = 8..8 + mn.suite.iv_len();
            assert_ne!(first[iv.clone()], second[iv.clone()]);
            assert!(
                first[iv.end..].iter().zip(&second[iv.end..]).filter(|(a, b)| a != b).count() > 50
            );
        }
    });
}

/// Every length around the block sizes, in both directions.
#[test]
fn all_lengths() {
    let mut rig = Rig::new();
    for (n, suite) in (1..).zip(Suite::known()) {
        let mut mn = rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, n % 2 == 0));
        for len in (0..70).chain([512, 1300, 1330]) {
            let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &vec![len as u8; len]);
            let packet = mn.data(&inner);
            rig.send(ACCESS, &packet);
            assert_eq!(rig.received_one(HOME).packet()[40..], inner[40..]);
            let inner = codec::ip(CN6.into(), mn.home6.into(), 17, &vec![len as u8; len]);
            rig.send(HOME, &inner);
            let opened = mn.open(&rig.received_one(ACCESS));
            assert_eq!(opened.payload[40..], inner[40..], "{suite} {len}");
        }
    }
    rig.finish();
}

/// 300 packets of all suites mixed in one go: they ride, and none is lost or changed.
#[test]
fn all_suites_mixed_in_full_bursts() {
    let mut rig = Rig::new();
    let mut nodes: Vec<_> = (1..)
        .zip(Suite::known())
        .map(|(n, suite)| rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, true)))
        .collect();
    let mac = rig.mac(ACCESS);
    let mut expected = std::collections::BTreeMap::new();
    for number in 0..300_u32 {
        let mn = &mut nodes[number as usize % 5];
        let payload: Vec<u8> = (0..40 + number % 700).map(|i| (i ^ number) as u8).collect();
        let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &payload);
        *expected.entry(payload).or_insert(0) += 1;
        let frame = codec::ethernet(mac, [2, 9, 9, 9, 9, 9], &mn.data(&inner));
        rig.inject(ACCESS, 0, &frame);
    }
    rig.turns();
    let mut got = std::collections::BTreeMap::new();
    for frame in rig.received(HOME) {
        *got.entry(frame.packet()[40..].to_vec()).or_insert(0) += 1;
    }
    assert_eq!(got, expected, "{:?}", rig.drops());
    rig.finish();
}

/// 3DES has a budget per turn: the rest waits, AES does not wait for it, and more than can wait is
/// dropped and counted.
#[test]
fn triple_des_waits_for_its_share() {
    let mut rig = Rig::with(|config| config.triple_des_budget = 8);
    let attach = |rig: &mut Rig, n, suite| {
        rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, true))
    };
    let mut slow = attach(&mut rig, 1, Suite::TripleDesEdeCbcSha);
    let mut fast = attach(&mut rig, 2, Suite::Aes128CbcSha);
    let mac = rig.mac(ACCESS);
    let inject = |rig: &mut Rig, mn: &mut MobileNode| {
        let frame = codec::ethernet(mac, [2, 9, 9, 9, 9, 9], &mn.data(&mn.inner6()));
        rig.inject(ACCESS, 0, &frame);
    };
    for _ in 0..40 {
        inject(&mut rig, &mut slow);
    }
    for _ in 0..20 {
        inject(&mut rig, &mut fast);
    }
    rig.workers[0].turn();
    rig.workers[0].turn();
    let early = rig.received(HOME);
    let of = |mn: &MobileNode, frames: &[crate::rig::Frame]| {
        frames.iter().filter(|frame| frame.packet()[8..24] == mn.home6.octets()).count()
    };
    assert_eq!(of(&fast, &early), 20);
    assert!(of(&slow, &early) <= 16);
    rig.turns();
    assert_eq!(of(&slow, &early) + of(&slow, &rig.received(HOME)), 40);
    assert!(rig.drops().is_empty());
    // Downlink waits too, and nothing overtakes.
    let mut expected = Vec::new();
    for round in 0..4 {
        for number in 0..10 {
            let down = codec::ip(CN6.into(), slow.home6.into(), 17, &[round * 10 + number; 9]);
            let frame = codec::ethernet(rig.mac(HOME), [2, 9, 9, 9, 9, 9], &down);
            rig.inject(HOME, 0, &frame);
            expected.push((u32::from(round * 10 + number), round * 10 + number));
        }
        rig.workers[0].turn();
    }
    rig.turns();
    let frames = rig.received(ACCESS);
    let got = frames.iter().map(|frame| slow.open(frame)).map(|got| (got.seq, got.payload[40]));
    assert_eq!(got.collect::<Vec<_>>(), expected);
    // 64 of each burst arrive per turn, 8 are taken.
    let (before, mut got) = (slow.seq, 0);
    for _ in 0..2 {
        for _ in 0..400 {
            inject(&mut rig, &mut slow);
        }
        for _ in 0..7 {
            rig.workers[0].turn();
            got += rig.received(HOME).len() as u64;
        }
    }
    while rig.workers[0].turn() > 0 {
        got += rig.received(HOME).len() as u64;
    }
    let dropped = rig.drops()["triple_des_queue_full"];
    assert_eq!(got + dropped, u64::from(slow.seq - before));
    assert!(dropped > 0 && got >= 512);
    rig.finish();
}

/// A load that never pauses, both ways and of all suites, with jobs that ride as long as they like:
/// the lanes always have room.
#[test]
fn a_load_without_a_pause_loses_nothing() {
    for workers in [1, 2] {
        let mut rig = Rig::with(|config| {
            config.max_job_age_us = 1_000_000_000;
            config.max_triple_des_job_age_us = 1_000_000_000;
            // What is lent would ride as long at the other worker, and hold up what came behind.
            config.share_crypto = false;
            config.workers = workers;
        });
        let mut nodes: Vec<_> = (1..)
            .zip(Suite::known())
            .flat_map(|(n, suite)| [(n, suite), (n + 6, suite)])
            .map(|(n, suite)| {
                rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, n % 2 == 0))
            })
            .collect();
        let (access, home) = (rig.mac(ACCESS), rig.mac(HOME));
        let (mut sent, mut got) = (0, 0);
        let mut mix = 1_u32;
        for _ in 0..400 {
            for _ in 0..48 {
                mix = mix.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // 3DES has a budget; it comes seldom enough to stay within it.
                let place = (mix >> 16) as usize % nodes.len();
                let mn = &mut nodes[place];
                if mn.suite == Suite::TripleDesEdeCbcSha && mix >> 28 > 8 {
                    continue;
                }
                let payload = vec![0x5a; (mix >> 8) as usize % 900];
                let (port, frame) = if mix >> 31 == 0 {
                    let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &payload);
                    (ACCESS, codec::ethernet(access, [2; 6], &mn.data(&inner)))
                } else {
                    let inner = codec::ip(CN6.into(), mn.home6.into(), 17, &payload);
                    (HOME, codec::ethernet(home, [2; 6], &inner))
                };
                rig.inject(port, (mix >> 24) as usize % workers, &frame);
                sent += 1;
            }
            rig.workers.iter_mut().for_each(|worker| _ = (rig.turn)(worker));
            got += rig.received(HOME).len() + rig.received(ACCESS).len();
        }
        rig.turns();
        got += rig.received(HOME).len() + rig.received(ACCESS).len();
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
        assert_eq!(got, sent);
        rig.finish();
    }
}
