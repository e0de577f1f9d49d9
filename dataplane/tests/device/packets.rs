//! Packets through a device are those through the lanes, and what is wrong is refused likewise.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hearth_dataplane::DropReason as D;
use hearth_wire::{Scope, Suite};

use crate::codec::{self, Datagram, Plain};
use crate::rig::{ACCESS, CN6, Event, HOME, MobileNode, Rig};
use crate::{DEVICES, by_device, each, inject, usual, with_device};

#[test]
fn data_of_all_lengths_both_ways_octet_by_octet() {
    each(|rig, mn, offered| {
        let before = by_device(rig);
        let mut packets = 0;
        for len in (0..40).chain([512, 1300, 1330]) {
            let payload = vec![len as u8; len];
            let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &payload);
            let packet = mn.data(&inner);
            rig.send(ACCESS, &packet);
            let frame = rig.received_one(HOME);
            assert_eq!(frame.packet()[..7], inner[..7], "{} {len}", mn.suite);
            assert_eq!(frame.packet()[8..], inner[8..], "{} {len}", mn.suite);

            let inner = codec::ip(CN6.into(), mn.home6.into(), 17, &payload);
            rig.send(HOME, &inner);
            let frame = rig.received_one(ACCESS);
            let opened = mn.open(&frame);
            assert_eq!(opened.payload[8..], inner[8..], "{} {len}", mn.suite);
            let mut iv = [0; 16];
            iv[..opened.iv.len()].copy_from_slice(&opened.iv);
            let again = Plain { iv, ..mn.plain(1, opened.seq, 41, &opened.payload) };
            let sealed = again.seal(mn.suite, &mn.down);
            assert_eq!(Datagram::read(frame.packet()).content, sealed, "{} {len}", mn.suite);
            packets += 2;
        }
        assert_eq!(by_device(rig) - before, if offered { packets } else { 0 }, "{}", mn.suite);
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    });
}

#[test]
fn signalling_both_ways() {
    each(|rig, mn, offered| {
        let before = by_device(rig);
        let content = [&[135, 2, 0xc9][..], &[7; 53]].concat();
        let packet = mn.sealed(&mn.plain(8, 0, 60, &content));
        rig.send(ACCESS, &packet);
        match &rig.events()[..] {
            [Event::Signalling { spi, next_header: 60, payload, .. }] => {
                assert_eq!((*spi, payload), (mn.spi.get(), &content));
            }
            _ => panic!("one signalling packet; {:?}", rig.drops()),
        }
        rig.control.send_signalling(mn.spi, mn.local, mn.remote, 43, &[0x3b; 40]).unwrap();
        rig.turns();
        let opened = mn.open(&rig.received_one(ACCESS));
        assert_eq!((opened.ptype, opened.seq, opened.next_header), (8, 0, 43));
        assert_eq!(opened.payload, [0x3b; 40]);
        assert_eq!(by_device(rig) - before, if offered { 2 } else { 0 });
    });
}

/// header, IV, ciphertext and each octet of the ICV are covered; the window does not move.
#[test]
fn a_wrong_icv_is_refused() {
    each(|rig, mn, _| {
        let (iv_len, _, icv_len) = codec::lengths(mn.suite);
        let good = mn.plain(1, 5, 41, &mn.inner6()).seal(mn.suite, &mn.up);
        let end = good.len();
        let mut places = vec![7, 8, 8 + iv_len, end - icv_len - 1];
        places.extend(end - icv_len..end);
        for at in places {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            rig.refuses(mn, &mn.packet(&bad), D::IcvMismatch);
        }
        rig.send(ACCESS, &mn.packet(&good));
        rig.received_one(HOME);
    });
}

/// padding and next header are judged behind the ICV, as they are behind the lanes.
#[test]
fn what_the_icv_covers_is_judged_too() {
    for (device, _) in DEVICES {
        let mut rig = with_device(device, |_| ());
        let mn = usual(&mut rig, 1);
        let inner = mn.inner6();
        let sent = |plain: Plain<'_>| mn.packet(&plain.seal(mn.suite, &mn.up));
        let long = Plain { pad_length: Some(250), ..mn.plain(1, 0, 41, &inner) };
        rig.send(ACCESS, &sent(long));
        rig.send(ACCESS, &sent(mn.plain(1, 1, 59, &inner)));
        rig.send(ACCESS, &sent(mn.plain(8, 2, 41, &inner)));
        let expected = [("dummy_packet", 1), ("pad_length", 1), ("signalling_next_header", 1)];
        assert_eq!(rig.drops(), expected.into(), "{device}");
        rig.is_silent();
        rig.finish();
    }
}

#[test]
fn replays_are_refused() {
    each(|rig, mn, _| {
        let data = |mn: &MobileNode, seq| mn.sealed(&mn.plain(1, seq, 41, &mn.inner6()));
        // Ten copies at once: all pass the look, one the commit.
        let frame = codec::ethernet(rig.mac(ACCESS), [2; 6], &data(mn, 5000));
        let before = rig.counters().dropped(D::Replayed);
        for _ in 0..10 {
            rig.inject(ACCESS, 0, &frame);
        }
        rig.turns();
        rig.received_one(HOME);
        assert_eq!(rig.counters().dropped(D::Replayed) - before, 9);
        rig.refuses(mn, &data(mn, 5000), D::Replayed);
        rig.refuses(mn, &data(mn, 5000 - 1024), D::ReplayTooOld);
        rig.send(ACCESS, &data(mn, 5000 - 1023));
        rig.received_one(HOME);
    });
}

/// A load that never pauses, both ways, of all suites mixed, so that device and lanes work side by
/// side: nothing is lost or changed, and each direction of an SA stays in order.
#[test]
fn a_load_of_all_suites_in_order() {
    for (device, _) in DEVICES {
        let mut rig = with_device(device, |config| config.max_job_age_us = 1_000_000_000);
        let mut nodes: Vec<_> = (1..)
            .zip(Suite::known())
            .map(|(n, suite)| rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, true)))
            .collect();
        let mut expected: BTreeMap<(IpAddr, bool), Vec<Vec<u8>>> = BTreeMap::new();
        let mut got = expected.clone();
        let mut number = 0_u32;
        for _ in 0..60 {
            for _ in 0..48 {
                number += 1;
                let mn = &mut nodes[number as usize % 6];
                // 3DES has a budget, and waits its turn beyond it.
                let up = (number / 6).is_multiple_of(2);
                let payload: Vec<u8> = (0..40 + number % 900).map(|i| (i ^ number) as u8).collect();
                let (home, cn) = (IpAddr::from(mn.home6), IpAddr::from(CN6));
                let (from, to) = if up { (home, cn) } else { (cn, home) };
                let inner = codec::ip(from, to, 17, &payload);
                if up {
                    inject(&mut rig, mn, 0, &inner);
                } else {
                    let frame = codec::ethernet(rig.mac(HOME), [2; 6], &inner);
                    rig.inject(HOME, 0, &frame);
                }
                expected.entry((home, up)).or_default().push(payload);
            }
            rig.workers[0].turn();
            take(&mut rig, &nodes, &mut got);
        }
        rig.turns();
        take(&mut rig, &nodes, &mut got);
        assert!(rig.drops().is_empty(), "{device}: {:?}", rig.drops());
        for (way, expected) in expected {
            assert!(got.get(&way) == Some(&expected), "{device}: {way:?}");
        }
        assert!(by_device(&rig) > 1000);
        rig.finish();
    }
}

/// Sorts what came out by mobile node and way; true is uplink.
fn take(rig: &mut Rig, nodes: &[MobileNode], got: &mut BTreeMap<(IpAddr, bool), Vec<Vec<u8>>>) {
    for frame in rig.received(HOME) {
        let from: [u8; 16] = frame.packet()[8..24].try_into().unwrap();
        let payload = frame.packet()[40..].to_vec();
        got.entry((IpAddr::from(from), true)).or_default().push(payload);
    }
    for frame in rig.received(ACCESS) {
        let to = Datagram::read(frame.packet()).to;
        let mn = nodes.iter().find(|mn| mn.remote == to).unwrap();
        let payload = mn.open(&frame).payload[40..].to_vec();
        got.entry((mn.home6.into(), false)).or_default().push(payload);
    }
}

/// The budget for 3DES is of a worker's own time: what a device does is not held back by it.
#[test]
fn the_device_has_no_budget_for_3des() {
    for (device, _) in DEVICES {
        let mut rig = with_device(device, |config| config.triple_des_budget = 1);
        let mn = MobileNode::new(1, Suite::TripleDesEdeCbcSha, Scope::SignallingAndData, true);
        let mut mn = rig.attach(mn);
        assert_eq!(rig.tables.sa_is_in_device(mn.spi), Some(true));
        let inner = mn.inner6();
        for _ in 0..20 {
            inject(&mut rig, &mut mn, 0, &inner);
            let down = codec::ip(CN6.into(), mn.home6.into(), 17, b"down");
            rig.inject(HOME, 0, &codec::ethernet(rig.mac(HOME), [2; 6], &down));
        }
        // In by one turn, out by the next at the latest.
        for _ in 0..2 {
            rig.workers[0].turn();
        }
        assert_eq!((rig.received(HOME).len(), rig.received(ACCESS).len()), (20, 20), "{device}");
        rig.finish();
    }
}
