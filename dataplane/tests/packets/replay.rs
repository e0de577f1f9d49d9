//! The replay window on packets (ENC-26 to ENC-29), and numbers near their end (ENC-30).

use std::collections::HashSet;

use hearth_dataplane::DropReason as D;
use hearth_wire::{Scope, SeqNo, Suite};

use crate::codec;
use crate::rig::{ACCESS, CN6, Event, HOME, MobileNode, Rig};

fn data(mn: &MobileNode, seq: u32) -> Vec<u8> {
    mn.sealed(&mn.plain(1, seq, 41, &mn.inner6()))
}

/// ENC-26, ENC-27.
#[test]
fn the_first_number_is_0_and_a_duplicate_is_refused() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    rig.send(ACCESS, &data(&mn, 0));
    rig.received_one(HOME);
    rig.refuses(&mn, &data(&mn, 0), D::Replayed);
    let signalling = mn.sealed(&mn.plain(8, 1, 135, &[59; 24]));
    rig.send(ACCESS, &signalling);
    assert!(matches!(rig.events()[..], [Event::Signalling { .. }]));
    rig.refuses(&mn, &signalling, D::Replayed);
    rig.finish();
}

/// ENC-27: two copies in one burst have both passed the look when the first is committed.
#[test]
fn copies_in_one_burst() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let frame = codec::ethernet(rig.mac(ACCESS), [2; 6], &data(&mn, 7));
    for _ in 0..10 {
        rig.inject(ACCESS, 0, &frame);
    }
    rig.turns();
    rig.received_one(HOME);
    assert_eq!(rig.drops(), [("replayed", 9)].into());
    assert_eq!(rig.tables.sa_usage(mn.spi).unwrap().in_packets, 1);
    rig.finish();
}

/// ENC-28.
#[test]
fn reordering_inside_the_window_and_left_of_it() {
    for width in [64, 1024, 4096] {
        let mut rig = Rig::with(|config| config.replay_window = width);
        let mn = rig.attach(MobileNode::usual());
        let top = 10_000;
        rig.send(ACCESS, &data(&mn, top));
        rig.received_one(HOME);
        for seq in [top - 1, top - width + 1, top - width / 2] {
            rig.send(ACCESS, &data(&mn, seq));
            rig.received_one(HOME);
            rig.refuses(&mn, &data(&mn, seq), D::Replayed);
        }
        rig.refuses(&mn, &data(&mn, top - width), D::ReplayTooOld);
        rig.refuses(&mn, &data(&mn, 0), D::ReplayTooOld);
        rig.finish();
    }
}

/// ENC-29: the window moves only after the ICV passes.
#[test]
fn a_forged_packet_far_ahead() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let mut forged = mn.plain(1, u32::MAX, 41, &mn.inner6()).seal(mn.suite, &mn.up);
    *forged.last_mut().unwrap() ^= 1;
    rig.refuses(&mn, &mn.packet(&forged), D::IcvMismatch);
    let packet = mn.data(&mn.inner6());
    rig.send(ACCESS, &packet);
    rig.received_one(HOME);
    rig.finish();
}

/// ENC-30, R-23: the last number is good, and behind it there is none: not 0, and none again.
#[test]
fn inbound_numbers_end() {
    for suite in Suite::known() {
        let mut rig = Rig::new();
        let mn = rig.attach(MobileNode::new(1, suite, Scope::SignallingAndData, true));
        for seq in [0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX] {
            rig.send(ACCESS, &data(&mn, seq));
            rig.received_one(HOME);
            // What control looks at for the limit of R-23.
            let highest = rig.tables.sa_usage(mn.spi).unwrap().highest_inbound;
            assert_eq!(highest, Some(SeqNo(seq)), "{suite}");
        }
        rig.refuses(&mn, &data(&mn, u32::MAX), D::Replayed);
        for seq in [0, 1, 0x7fff_ffff] {
            rig.refuses(&mn, &data(&mn, seq), D::ReplayTooOld);
        }
        rig.finish();
    }
}

/// ENC-30, R-16, R-23: over the limit and to the end of the numbers, signalling and data between
/// each other, by one worker and by several: each number once, each IV once, and then none.
#[test]
fn no_outbound_number_is_used_twice() {
    for (suite, workers) in Suite::known().zip([1, 2, 3].into_iter().cycle()) {
        // No grant covers the last unit.
        const END: u64 = 0xffff_0000;
        for first in [(1_u64 << 31) - 8, END - 16] {
            let mut rig = Rig::with(|config| config.workers = workers);
            let mn = MobileNode::new(1, suite, Scope::SignallingAndData, true);
            rig.insert_sa_at(&mn, u32::try_from(first).unwrap()).unwrap();
            rig.bind(&mn);
            let inner = codec::ip(CN6.into(), mn.home6.into(), 17, b"towards the end");
            for _ in 0..10 {
                let frame = codec::ethernet(rig.mac(HOME), [2; 6], &inner);
                rig.inject(HOME, 0, &frame);
                rig.inject(HOME, workers - 1, &frame);
                rig.turns();
                rig.control.send_signalling(mn.spi, mn.local, mn.remote, 43, &[0; 24]).unwrap();
                rig.turns();
            }
            let opened: Vec<_> = rig.received(ACCESS).iter().map(|frame| mn.open(frame)).collect();
            let numbers: Vec<u64> = opened.iter().map(|opened| opened.seq.into()).collect();
            let ends = (first + 30).min(END);
            assert_eq!(numbers, (first..ends).collect::<Vec<_>>(), "{suite}");
            if !opened[0].iv.is_empty() {
                let ivs: HashSet<_> = opened.iter().map(|opened| &opened.iv).collect();
                assert_eq!(ivs.len(), opened.len(), "{suite}");
            }
            assert_eq!(rig.tables.sa_usage(mn.spi).unwrap().next_outbound, ends);
            assert_eq!(rig.counters().dropped(D::SequenceExhausted), first + 30 - ends);
            rig.finish();
        }
    }
}
