//! What the table makes of fragments.

use hearth_dpdk::{FragmentDrop, Mbuf, Mempool, Reassembled, Reassembly};
use proptest::prelude::*;

use super::{
    EXPERIMENT, Pools, fragments, ipv4, ipv4_checksum, ipv6, ipv6_fragment, octets, payload,
};
use crate::{all_back, eal, pool};

/// Cycles that a fragment may wait in these tests.
const TIMEOUT: u64 = 1000;

fn table() -> Reassembly {
    Reassembly::new(eal(), 64, TIMEOUT).expect("a table")
}

/// Gives the table a packet behind an Ethernet header, at time 0.
fn give(table: &mut Reassembly, pool: &Mempool, packet: &[u8]) -> Reassembled {
    give_at(table, pool, packet, 0)
}

fn give_at(table: &mut Reassembly, pool: &Mempool, packet: &[u8], now: u64) -> Reassembled {
    let mbuf = pool.alloc_with(&[&[0xee; 14][..], packet].concat()).expect("an mbuf");
    match packet[0] >> 4 {
        4 => table.reassemble4(mbuf, 14, now),
        _ => table.reassemble6(mbuf, 14, now),
    }
}

#[track_caller]
fn whole(outcome: Reassembled) -> Mbuf {
    match outcome {
        Reassembled::Whole(mbuf) => mbuf,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn held(outcome: &Reassembled) {
    assert!(matches!(outcome, Reassembled::Held), "{outcome:?}");
}

#[track_caller]
fn dropped(outcome: &Reassembled, why: FragmentDrop, mbufs: u32) {
    match outcome {
        Reassembled::Dropped(drop, n) => assert_eq!((*drop, *n), (why, mbufs)),
        other => panic!("{other:?}"),
    }
}

/// The packets of both families with this payload, and their fragments.
fn both(pools: &Pools, len: usize) -> [(Vec<u8>, Vec<Vec<u8>>); 2] {
    [ipv4(7, 0, false, &payload(len)), ipv6(EXPERIMENT, &payload(len))].map(|packet| {
        let cut = fragments(pools, &packet, 1280);
        (packet, cut)
    })
}

#[test]
fn whatever_the_order_the_packet_is_whole_with_the_last_fragment() {
    let pools = Pools::new("reass_order");
    let cut = both(&pools, 7 * 1200);
    let order = Just((0..7_usize).collect::<Vec<_>>()).prop_shuffle();
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() };
    proptest!(config, |(order in order)| {
        let mut table = table();
        for (packet, fragments) in &cut {
            prop_assert_eq!(fragments.len(), 7);
            for &n in &order[..6] {
                held(&give(&mut table, &pools.packets, &fragments[n]));
            }
            prop_assert_eq!(table.held(), 6);
            let mbuf = whole(give(&mut table, &pools.packets, &fragments[order[6]]));
            prop_assert_eq!((table.held(), mbuf.segments()), (0, 7));
            prop_assert_eq!(&octets(&mbuf)[..14], &[0xee; 14]);
            prop_assert!(&octets(&mbuf)[14..] == packet, "put together wrongly");
        }
    });
    pools.all_back();
}

#[test]
fn a_reassembled_ipv4_header_has_its_checksum_and_the_first_fragments_private_area() {
    let pool = pool("reass_attributes");
    let text = payload(24);
    let mut table = table();
    let mut first = pool.alloc_with(&ipv4(7, 0, true, &text[..16])).expect("an mbuf");
    *first.meta_mut::<u64>() = 99;
    held(&give(&mut table, &pool, &ipv4(7, 16, false, &text[16..])));
    let mbuf = whole(table.reassemble4(first, 0, 0));
    assert_eq!(octets(&mbuf), ipv4(7, 0, false, &text));
    assert_eq!((ipv4_checksum(&mbuf.data()[..20]), *mbuf.meta::<u64>()), (0, 99));
    drop(mbuf);
    all_back(&pool);
}

#[test]
fn what_is_no_fragment_passes() {
    let pool = pool("reass_pass");
    let mut table = table();
    for packet in [ipv4(7, 0, false, &payload(30)), ipv6(EXPERIMENT, &payload(30))] {
        let mbuf = whole(give(&mut table, &pool, &packet));
        assert_eq!(mbuf.data()[14..], packet);
    }
    // RFC 6946: a fragment that is all of its set is never mixed with others of its number.
    held(&give(&mut table, &pool, &ipv6_fragment(5, 0, true, &payload(8))));
    let atomic = give(&mut table, &pool, &ipv6_fragment(5, 0, false, &payload(30)));
    let mbuf = whole(atomic);
    assert_eq!(mbuf.data(), [&[0xee; 14][..], &ipv6(EXPERIMENT, &payload(30))].concat());
    assert_eq!(table.held(), 1);
    drop((mbuf, table));
    all_back(&pool);
}

#[test]
fn padding_behind_a_fragment_is_cut_off() {
    let pool = pool("reass_padding");
    let text = payload(40);
    for (first, last, expected) in [
        (ipv4(7, 0, true, &text[..16]), ipv4(7, 16, false, &text[16..]), ipv4(7, 0, false, &text)),
        (
            ipv6_fragment(7, 0, true, &text[..16]),
            ipv6_fragment(7, 16, false, &text[16..]),
            ipv6(EXPERIMENT, &text),
        ),
    ] {
        let mut table = table();
        held(&give(&mut table, &pool, &[&first[..], &[9; 10]].concat()));
        let mbuf = whole(give(&mut table, &pool, &[&last[..], &[9; 3]].concat()));
        assert_eq!(octets(&mbuf)[14..], expected);
    }
    all_back(&pool);
}

/// RFC 5722 s.3: the whole set goes, silently. No part of these sets is a whole packet. The last two rows are the attacks for which
/// reassembly that goes by the sum of lengths alone would fall: an overlap and a hole of the
/// same size.
#[test]
fn a_set_with_an_overlap_is_dropped_whatever_the_order() {
    let pool = pool("reass_overlap");
    let text = payload(64);
    let sets: [&[(usize, usize)]; 5] = [
        &[(0, 32), (24, 64)],
        &[(0, 16), (16, 40), (32, 48), (48, 64)],
        &[(0, 32), (24, 48), (48, 64)],
        &[(0, 32), (16, 32), (48, 64)],
        &[(0, 24), (8, 24), (40, 56), (56, 64)],
    ];
    type Maker = fn(usize, bool, &[u8]) -> Vec<u8>;
    let v4: Maker = |offset, more, part| ipv4(7, offset, more, part);
    let v6: Maker = |offset, more, part| ipv6_fragment(7, offset, more, part);
    for (set, make) in sets.into_iter().flat_map(|set| [(set, v4), (set, v6)]) {
        for turn in 0..set.len() {
            let mut table = table();
            let mut gone = 0;
            let mut set = set.to_vec();
            set.rotate_left(turn);
            for &(from, to) in &set {
                match give(&mut table, &pool, &make(from, to != 64, &text[from..to])) {
                    Reassembled::Held => {}
                    Reassembled::Dropped(FragmentDrop::Overlap, mbufs) => gone += mbufs,
                    other => panic!("{set:?}: {other:?}"),
                }
            }
            assert!(gone >= 2, "{set:?} was not dropped");
            assert_eq!(table.held() + gone, set.len() as u32, "{set:?}");
            assert_eq!(pool.in_use(), table.held());
        }
    }
    all_back(&pool);
}

#[test]
fn an_exact_duplicate_and_a_ninth_fragment_end_their_set() {
    let pool = pool("reass_limits");
    let text = payload(72);
    let mut table = table();
    let part = |n: usize| ipv6_fragment(7, n * 8, n != 8, &text[n * 8..n * 8 + 8]);
    for n in [0, 1, 2] {
        held(&give(&mut table, &pool, &part(n)));
    }
    dropped(&give(&mut table, &pool, &part(0)), FragmentDrop::Overlap, 4);

    // DPDK keeps two of the eight places for the first and the last fragment.
    for n in 0..7 {
        held(&give(&mut table, &pool, &part(n)));
    }
    dropped(&give(&mut table, &pool, &part(7)), FragmentDrop::Overlap, 8);
    held(&give(&mut table, &pool, &part(8)));
    assert_eq!((table.held(), pool.in_use()), (1, 1));
    drop(table);
    all_back(&pool);
}

#[test]
fn a_fragment_that_cannot_be_is_dropped() {
    let pool = pool("reass_malformed");
    let mut table = table();
    let v4 = ipv4(7, 0, true, &payload(16));
    let v6 = ipv6_fragment(7, 0, true, &payload(16));
    let changed = |packet: &[u8], at: usize, octet: u8| {
        let mut packet = packet.to_vec();
        packet[at] = octet;
        packet
    };
    let malformed = [
        // Not a multiple of 8 though more follow; nothing in it.
        ipv4(7, 0, true, &payload(12)),
        ipv6_fragment(7, 0, true, &payload(12)),
        ipv4(7, 8, true, &[]),
        ipv6_fragment(7, 8, false, &[]),
        // Another version, a header beyond the packet or too short, a length beyond the packet.
        changed(&v4, 0, 0x4f),
        changed(&v4, 0, 0x44),
        changed(&v4, 3, 200),
        changed(&v6, 5, 200),
        changed(&v6, 5, 7),
        v4[..19].to_vec(),
        v6[..39].to_vec(),
        v6[..47].to_vec(),
    ];
    for (row, packet) in malformed.iter().enumerate() {
        let outcome = give(&mut table, &pool, packet);
        assert!(
            matches!(outcome, Reassembled::Dropped(FragmentDrop::Malformed, 1)),
            "row {row}: {outcome:?}"
        );
    }
    // The ping of death: longer than IP can say.
    for packet in [ipv4(7, 65528, false, &payload(8)), ipv6_fragment(7, 65528, false, &payload(8))]
    {
        dropped(&give(&mut table, &pool, &packet), FragmentDrop::TooLong, 1);
    }
    assert_eq!(table.held(), 0);
    let edge = ipv6_fragment(7, 65528, false, &payload(7));
    held(&give(&mut table, &pool, &edge));
    drop(table);
    all_back(&pool);
}

#[test]
fn memory_is_bounded_and_comes_back_after_the_timeout() {
    let pool = pool("reass_bounds");
    let mut table = Reassembly::new(eal(), 4, TIMEOUT).expect("a table");
    let first = |id: u32| ipv6_fragment(id, 0, true, &payload(8));
    for id in 0..4 {
        held(&give_at(&mut table, &pool, &first(id), u64::from(id)));
    }
    dropped(&give_at(&mut table, &pool, &first(9), 4), FragmentDrop::TableFull, 1);
    assert_eq!((table.held(), pool.in_use()), (4, 4));

    // The oldest has timed out: its place is taken.
    held(&give_at(&mut table, &pool, &first(9), TIMEOUT + 1));
    assert_eq!((table.held(), table.expired(), pool.in_use()), (4, 1, 4));
    // Its other fragment comes too late.
    let late = ipv6_fragment(0, 8, false, &payload(8));
    dropped(&give_at(&mut table, &pool, &late, TIMEOUT + 1), FragmentDrop::TableFull, 1);

    assert_eq!(table.free_expired(TIMEOUT), 0);
    assert_eq!(table.free_expired(TIMEOUT + 4), 3);
    assert_eq!((table.held(), table.expired(), pool.in_use()), (1, 4, 1));
    assert_eq!(table.free_expired(u64::MAX), 1);
    all_back(&pool);

    // A set that has timed out does not mix with a new one of the same number.
    held(&give_at(&mut table, &pool, &first(3), 0));
    held(&give_at(&mut table, &pool, &ipv6_fragment(3, 8, false, &payload(8)), TIMEOUT + 1));
    assert_eq!((table.held(), table.expired()), (1, 6));
    drop(table);
    all_back(&pool);
}

#[test]
fn many_sets_expire_at_once() {
    let pool = pool("reass_many");
    let mut table = Reassembly::new(eal(), 64, TIMEOUT).expect("a table");
    for (id, n) in (0..64).flat_map(|id| [0, 8, 16, 24, 32, 40, 48].map(|n| (id, n))) {
        held(&give(&mut table, &pool, &ipv6_fragment(id, n, true, &payload(8))));
    }
    assert_eq!((table.held(), pool.in_use()), (448, 448));
    assert_eq!(table.free_expired(TIMEOUT + 1), 448);
    drop(table);
    all_back(&pool);
}

#[test]
fn a_table_of_no_or_too_many_flows_is_refused() {
    assert!(Reassembly::new(eal(), 0, 1).is_err());
    assert!(Reassembly::new(eal(), (1 << 20) + 1, 1).is_err());
}
