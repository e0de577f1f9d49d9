//! ENC-39: outer packets that arrive in fragments.

use std::time::{Duration, Instant};

use hearth_dataplane::DropReason as D;
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{ACCESS, CN6, Event, HA6, HOME, MobileNode, Rig, SERVICE_PORT};
use crate::tools::{cut, nothing_came, one_hop_less, piece};

fn nodes() -> [MobileNode; 2] {
    [true, false].map(|outer6| {
        let n = if outer6 { 1 } else { 2 };
        MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, outer6)
    })
}

/// An inner packet of the mobile node, and the outer packet around it.
fn envelope(mn: &mut MobileNode, len: usize) -> (Vec<u8>, Vec<u8>) {
    let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &vec![0x42; len - 40]);
    let outer = mn.data(&inner);
    (inner, outer)
}

/// Splits an outer packet into its header and what can be cut.
fn halves(outer: &[u8]) -> (&[u8], &[u8]) {
    outer.split_at(if outer[0] >> 4 == 6 { 40 } else { 20 })
}

#[test]
fn in_order_and_in_any_other() {
    let mut rig = Rig::sized(2000, 2304, |_| ());
    for mn in nodes() {
        let mut mn = rig.attach(mn);
        for (id, order) in
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].iter().enumerate()
        {
            let (inner, outer) = envelope(&mut mn, 1900);
            let fragments = cut(&outer, &[800, 1600], id as u32 + 1);
            for (sent, which) in order.iter().enumerate() {
                rig.send(ACCESS, &fragments[*which]);
                if sent < 2 {
                    nothing_came(&mut rig);
                }
            }
            assert_eq!(rig.received_one(HOME).packet(), one_hop_less(&inner), "{order:?}");
        }
    }
    assert_eq!(rig.counters().sizes.reassembled, 12);
    assert!(rig.drops().is_empty());
    rig.finish();
}

/// PType 8 and 0 too, and their checksum is verified over the whole.
#[test]
fn every_packet_type() {
    let mut rig = Rig::sized(2000, 2304, |_| ());
    let mn = rig.attach(nodes()[0].clone());
    let signalling = mn.sealed(&mn.plain(8, 0, 60, &[1; 800]));
    for fragment in cut(&signalling, &[400], 1) {
        rig.send(ACCESS, &fragment);
    }
    assert!(
        matches!(&rig.events()[..], [Event::Signalling { payload, .. }] if *payload == [1; 800])
    );
    let mut plain = rig.attach(MobileNode::new(3, Suite::Aes128CbcSha, Scope::Signalling, true));
    let inner = codec::ip(plain.home6.into(), CN6.into(), 17, &[2; 900]);
    let outer = plain.packet(&[&[0; 8], &inner[..]].concat());
    for fragment in cut(&outer, &[16, 512], 2) {
        rig.send(ACCESS, &fragment);
    }
    assert_eq!(rig.received_one(HOME).packet(), one_hop_less(&inner));
    let mut broken = outer;
    *broken.last_mut().unwrap() ^= 1;
    for fragment in cut(&broken, &[512], 3) {
        rig.send(ACCESS, &fragment);
    }
    assert_eq!(rig.drops(), [("udp_checksum", 1)].into());
    nothing_came(&mut rig);
    plain.seq += 1;
    rig.finish();
}

/// RFC 5722, RFC 8200 s.4.5: the whole set goes.
#[test]
fn overlapping_fragments_are_dropped() {
    let mut rig = Rig::sized(2000, 2304, |_| ());
    let mut lost = 0;
    for mn in nodes() {
        let mut mn = rig.attach(mn);
        for (id, ranges) in [
            // The second overlaps the first; the last doubles the first.
            [0..800, 400..1600, 1600..usize::MAX],
            [0..800, 800..usize::MAX, 0..800],
        ]
        .into_iter()
        .enumerate()
        {
            let (_, outer) = envelope(&mut mn, 1900);
            let (header, payload) = halves(&outer);
            for range in ranges {
                let range = range.start..range.end.min(payload.len());
                rig.send(ACCESS, &piece(header, payload, range, id as u32 + 40));
            }
            lost += 1;
        }
    }
    // The doubled first fragments came behind the last ones: those packets were whole by then.
    let whole = rig.received(HOME).len() as u64;
    assert_eq!(whole, lost / 2);
    assert_eq!(rig.counters().dropped(D::FragmentOverlap), 3 * (lost / 2));
    assert_eq!(rig.counters().sizes.reassembled, whole);
    rig.finish();
}

/// A fragment twice before the packet is whole, and nine fragments.
#[test]
fn doubles_and_a_ninth_fragment_end_a_set() {
    let mut rig = Rig::sized(2000, 2304, |_| ());
    for mn in nodes() {
        let mut mn = rig.attach(mn);
        let (_, outer) = envelope(&mut mn, 1900);
        let fragments = cut(&outer, &[800, 1600], 7);
        let before = rig.counters().dropped(D::FragmentOverlap);
        rig.send(ACCESS, &fragments[0]);
        rig.send(ACCESS, &fragments[0]);
        assert_eq!(rig.counters().dropped(D::FragmentOverlap), before + 2);
        let at: Vec<_> = (1..9).map(|n| n * 200).collect();
        for fragment in cut(&outer, &at, 8) {
            rig.send(ACCESS, &fragment);
        }
        // The last one came behind the end of its set, and waits for others.
        assert_eq!(rig.counters().dropped(D::FragmentOverlap), before + 2 + 8);
        nothing_came(&mut rig);
        // Eight are as many as there may be.
        let (inner, outer) = envelope(&mut mn, 1500);
        let at: Vec<_> = (1..8).map(|n| n * 200).collect();
        for fragment in cut(&outer, &at, 9) {
            rig.send(ACCESS, &fragment);
        }
        assert_eq!(rig.received_one(HOME).packet(), one_hop_less(&inner));
    }
    rig.finish();
}

/// Never completed: the table holds so many, and not for long.
#[test]
fn the_table_is_bounded_and_timed_out() {
    let mut rig = Rig::sized(2000, 2304, |config| {
        config.reassembly_packets = 8;
        config.reassembly_timeout_ms = 50;
    });
    let mut mn = rig.attach(nodes()[0].clone());
    let (inner, outer) = envelope(&mut mn, 1900);
    let first = |id| cut(&outer, &[800], id).remove(0);
    for id in 0..100 {
        rig.send(ACCESS, &first(id));
    }
    let refused = rig.counters().dropped(D::FragmentTableFull);
    assert!((92..100).contains(&refused), "{refused} refused");
    let deadline = Instant::now() + Duration::from_secs(10);
    while rig.counters().dropped(D::FragmentTimeout) < 100 - refused {
        assert!(Instant::now() < deadline, "they never time out: {:?}", rig.drops());
        rig.turns();
    }
    assert_eq!(rig.drops().len(), 2);
    // And there is room again.
    for fragment in cut(&outer, &[800], 1000) {
        rig.send(ACCESS, &fragment);
    }
    assert_eq!(rig.received_one(HOME).packet(), one_hop_less(&inner));
    rig.finish();
}

/// Fragments that can't be: lengths that don't fit, a chain that hides one.
#[test]
fn broken_fragments() {
    let mut rig = Rig::sized(2000, 2304, |_| ());
    for mn in nodes() {
        let mut mn = rig.attach(mn);
        let (_, outer) = envelope(&mut mn, 900);
        let (header, payload) = halves(&outer);
        let before = rig.counters().dropped(D::OuterFragment);
        // All but the last have whole eights.
        let mut odd = piece(header, &payload[..804], 0..800, 1);
        let len = odd.len();
        odd.truncate(len - 4);
        let place = if header.len() == 40 { 4 } else { 2 };
        let value = u16::from_be_bytes([odd[place], odd[place + 1]]) - 4;
        odd[place..place + 2].copy_from_slice(&value.to_be_bytes());
        if header.len() == 20 {
            let flags = u16::from_be_bytes([odd[6], odd[7]]);
            crate::tools::set_flags(&mut odd, flags);
        }
        rig.send(ACCESS, &odd);
        // Beyond 65535 octets in all.
        rig.send(ACCESS, &piece(header, &vec![1; 65_528 + 64], 65_528..65_528 + 64, 2));
        assert_eq!(rig.counters().dropped(D::OuterFragment), before + 2);
    }
    // A fragment header behind other headers may hide anything.
    let hidden = [&[44, 0, 1, 4, 0, 0, 0, 0][..], &[17, 0, 0, 1, 0, 0, 0, 9], &[0; 32]].concat();
    let before = rig.counters().dropped(D::OuterFragment);
    let mn = &nodes()[0];
    rig.send(ACCESS, &codec::ip(mn.remote.ip(), HA6.into(), 60, &hidden));
    assert_eq!(rig.counters().dropped(D::OuterFragment), before + 1);
    nothing_came(&mut rig);
    rig.finish();
}

/// Fragments to another port of the box are the kernel's, as soon as they are whole; those of
/// other protocols at once.
#[test]
fn fragments_for_the_kernel() {
    let mut rig = Rig::sized(2000, 2304, |_| ());
    let mn = &nodes()[0];
    let other = std::net::SocketAddr::new(HA6.into(), SERVICE_PORT + 1);
    let datagram = codec::udp_packet(mn.remote, other, &[9; 1800]);
    for fragment in cut(&datagram, &[1000], 5) {
        rig.send(ACCESS, &fragment);
    }
    match &rig.events()[..] {
        [Event::Host { frame, .. }] => assert_eq!(frame[14..], datagram),
        events => panic!("{} events", events.len()),
    }
    let ping = codec::ip(mn.remote.ip(), HA6.into(), 58, &[128, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    for fragment in cut(&ping, &[8], 6) {
        rig.send(ACCESS, &fragment);
        assert!(matches!(rig.events()[..], [Event::Host { .. }]));
    }
    assert!(rig.drops().is_empty());
    rig.finish();
}

/// RFC 6946: a fragment that is all of its set stands alone.
#[test]
fn an_atomic_fragment() {
    let mut rig = Rig::sized(2000, 2304, |_| ());
    let mut mn = rig.attach(nodes()[0].clone());
    let (inner, outer) = envelope(&mut mn, 400);
    rig.send(ACCESS, &cut(&outer, &[], 5).remove(0));
    assert_eq!(rig.received_one(HOME).packet(), one_hop_less(&inner));
    assert!(rig.drops().is_empty());
    rig.finish();
}

/// A worker that ends gives the fragments back ([`Rig::finish`] counts).
#[test]
fn a_worker_ends_with_fragments_in_hand() {
    let mut rig = Rig::sized(2000, 2304, |_| ());
    let mut mn = rig.attach(nodes()[0].clone());
    let (_, outer) = envelope(&mut mn, 1900);
    rig.send(ACCESS, &cut(&outer, &[800], 5).remove(0));
    nothing_came(&mut rig);
    rig.workers.clear();
    assert_eq!(rig.drops(), [("stopped", 1)].into());
    rig.finish();
}

/// strangers' fragments take a quarter of the buffers at most, whatever the table would hold.
#[test]
fn a_flood_of_fragments_leaves_buffers_to_others() {
    let mut rig = Rig::with(|_| ());
    let mut mn = rig.attach(nodes()[0].clone());
    let (_, outer) = envelope(&mut mn, 900);
    let (header, payload) = halves(&outer);
    for id in 0..300 {
        // Eight octets each, the last one as well, with holes between them.
        for at in (0..7).map(|place| place * 16).chain([payload.len() / 8 * 8 - 8]) {
            let end = if at > 100 { payload.len() } else { at + 8 };
            rig.send(ACCESS, &piece(header, payload, at..end, id));
        }
    }
    assert!((400..512).contains(&rig.in_use()), "{} buffers are held", rig.in_use());
    let (inner, outer) = envelope(&mut mn, 900);
    rig.send(ACCESS, &outer);
    assert_eq!(rig.received_one(HOME).packet(), one_hop_less(&inner));
    rig.finish();
}
