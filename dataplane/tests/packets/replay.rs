//! The replay window on packets (ENC-26 to ENC-29).

use hearth_dataplane::DropReason as D;

use crate::codec;
use crate::rig::{ACCESS, Event, HOME, MobileNode, Rig};

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
