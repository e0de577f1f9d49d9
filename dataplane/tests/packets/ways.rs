//! Several care-of addresses and flow rules (MCA-11 to MCA-13; RFC 5648 s.6.3 to 6.5; RFC 6089
//! s.5.3.6).

use std::net::{IpAddr, SocketAddr};

use hearth_dataplane::{DropReason as D, TableError, Tunnel};
use hearth_wire::mh::TrafficSelector;
use hearth_wire::mh::selector::Range;
use hearth_wire::{Scope, Suite};

use crate::codec::{self, Datagram};
use crate::networks::{host6, network6};
use crate::rig::{ACCESS, CN4, CN6, HA4, HA6, HOME, MobileNode, Registration, Rig, SERVICE_PORT};

/// The mobile node's way with this Binding ID: the first is the one that it was made with.
fn tunnel(mn: &MobileNode, bid: u16) -> Tunnel {
    match bid {
        1 => Tunnel { bid, ..mn.tunnel() },
        // Another family, another port.
        2 => Tunnel {
            bid,
            spi: mn.spi,
            local: SocketAddr::new(HA4.into(), SERVICE_PORT),
            remote: "192.0.2.99:1024".parse().unwrap(),
        },
        _ => Tunnel {
            bid,
            spi: mn.spi,
            local: SocketAddr::new(HA6.into(), SERVICE_PORT),
            remote: SocketAddr::new("2001:db8:300::9".parse().unwrap(), bid),
        },
    }
}

/// Packets to this port, of either family.
fn to_port(port: u16) -> [TrafficSelector; 2] {
    [TrafficSelector::ANY_IPV6, TrafficSelector::ANY_IPV4]
        .map(|any| TrafficSelector { destination_port: Some(Range::only(port)), ..any })
}

/// The ways with these Binding IDs, and rules: packets to a port go by some of them.
fn registration(mn: &MobileNode, bids: &[u16], rules: &[(u16, &[u16])]) -> Registration {
    Registration {
        tunnels: bids.iter().map(|bid| tunnel(mn, *bid)).collect(),
        flows: rules
            .iter()
            .flat_map(|(port, bids)| to_port(*port).map(|selector| (selector, bids.to_vec())))
            .collect(),
        ..mn.binding()
    }
}

fn bind(rig: &mut Rig, mn: &MobileNode, bids: &[u16], rules: &[(u16, &[u16])]) {
    registration(mn, bids, rules).bind(&mut rig.tables, &[]).unwrap();
}

fn to_mobile(to: IpAddr, port: u16, content: &[u8]) -> Vec<u8> {
    let from: IpAddr = if to.is_ipv6() { CN6.into() } else { CN4.into() };
    let udp = codec::udp(SocketAddr::new(from, 9), SocketAddr::new(to, port), content);
    codec::ip(from, to, 17, &udp)
}

/// What came out, by the Binding ID of the way it took.
fn arrived(rig: &mut Rig, mn: &MobileNode) -> Vec<(u16, codec::Opened)> {
    let way = |datagram: &Datagram| {
        let ways = (1..=20).map(|bid| tunnel(mn, bid));
        let way =
            ways.into_iter().find(|way| (way.local, way.remote) == (datagram.from, datagram.to));
        way.expect("one of its care-of addresses").bid
    };
    rig.received(ACCESS)
        .iter()
        .map(|frame| {
            let datagram = Datagram::read(frame.packet());
            (way(&datagram), codec::open(mn.suite, &mn.down, &datagram.content))
        })
        .collect()
}

/// The ways that one packet takes.
fn bids(rig: &mut Rig, mn: &MobileNode, packet: &[u8]) -> Vec<u16> {
    rig.send(HOME, packet);
    let mut bids: Vec<_> = arrived(rig, mn).into_iter().map(|(bid, _)| bid).collect();
    bids.sort_unstable();
    bids
}

/// MCA-12: by the first rule that matches, else by the preferred way; both families, home addresses
/// and the network behind them.
#[test]
fn by_rule_or_by_preference() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    let rules: &[(u16, &[u16])] = &[(53, &[2]), (80, &[3]), (53, &[3]), (99, &[7])];
    let registration = registration(&mn, &[1, 2, 3], rules);
    Registration { prefixes: vec![network6(1)], ..registration }
        .bind(&mut rig.tables, &[])
        .unwrap();
    for to in [IpAddr::from(mn.home6), mn.home4.into(), host6(1).into()] {
        for (port, expected) in [(53, 2), (80, 3), (443, 1), (99, 1)] {
            assert_eq!(bids(&mut rig, &mn, &to_mobile(to, port, b"x")), [expected], "{to} {port}");
        }
    }
    // Another order: another preference.
    bind(&mut rig, &mn, &[3, 1, 2], &[(53, &[2])]);
    assert_eq!(bids(&mut rig, &mn, &to_mobile(mn.home6.into(), 443, b"x")), [3]);
    assert_eq!(bids(&mut rig, &mn, &to_mobile(mn.home6.into(), 53, b"x")), [2]);
    // One is left, and then the binding has one care-of address again (MCA-05).
    bind(&mut rig, &mn, &[2], &[(53, &[1])]);
    assert_eq!(bids(&mut rig, &mn, &to_mobile(mn.home6.into(), 53, b"x")), [2]);
    rig.bind(&mn);
    assert_eq!(bids(&mut rig, &mn, &to_mobile(mn.home6.into(), 53, b"x")), [1]);
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    rig.finish();
}

/// RFC 6089 s.5.3.6: "a copy of the packet is forwarded to each of the care-of addresses", under a
/// number of its own, and to four at most.
#[test]
fn copies() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    let rules: &[(u16, &[u16])] = &[(53, &[2, 3]), (80, &[1, 2, 3, 4, 5]), (81, &[2, 2, 9])];
    bind(&mut rig, &mn, &[1, 2, 3, 4, 5], rules);
    let packet = to_mobile(mn.home6.into(), 53, b"twice");
    rig.send(HOME, &packet);
    let arrived = arrived(&mut rig, &mn);
    assert_eq!(arrived.iter().map(|(bid, _)| *bid).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(arrived[0].1.payload, arrived[1].1.payload);
    assert_eq!(arrived[0].1.payload[8..], packet[8..]);
    assert_ne!(arrived[0].1.seq, arrived[1].1.seq);
    assert_eq!(bids(&mut rig, &mn, &to_mobile(mn.home4.into(), 80, b"x")), [1, 2, 3, 4]);
    assert_eq!(bids(&mut rig, &mn, &to_mobile(mn.home4.into(), 81, b"x")), [2]);
    assert_eq!(rig.counters().sizes.copies, 4);
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    rig.finish();
}

/// A turn makes 64 copies at most, and none without buffers; what it copies goes on all the same.
#[test]
fn copies_are_bounded() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    bind(&mut rig, &mn, &[1, 2, 3], &[(53, &[1, 2, 3])]);
    let frame = codec::ethernet(rig.mac(HOME), [2; 6], &to_mobile(mn.home6.into(), 53, b"x"));
    for _ in 0..60 {
        rig.inject(HOME, 0, &frame);
    }
    rig.turns();
    let made = arrived(&mut rig, &mn).len() as u64;
    let refused = rig.counters().dropped(D::FlowCopies);
    assert_eq!(made + refused, 180);
    assert!(refused >= 120 - 64, "{refused}");
    assert_eq!(rig.counters().sizes.copies, 120);
    // The large buffers are for what is too large, but have room for this, too.
    rig.inject(HOME, 0, &frame);
    let kept = rig.exhaust(0);
    rig.turns();
    assert_eq!(arrived(&mut rig, &mn).len(), 3);
    drop(kept);
    rig.finish();
}

/// MCA-12, MCA-13: a Binding ID ends, and its flows take the next way with the next packet, under
/// the next number.
#[test]
fn flows_move_at_once_and_in_order() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    let rules: &[(u16, &[u16])] = &[(53, &[2]), (80, &[3, 2])];
    let sets: [&[u16]; 5] = [&[1, 2, 3], &[1, 3], &[3, 1, 2], &[1], &[1, 2]];
    let ways = [(2, vec![2, 3]), (1, vec![3]), (2, vec![2, 3]), (1, vec![1]), (2, vec![2])];
    let mut next = 0;
    for round in 0..30 {
        bind(&mut rig, &mn, sets[round % 5], rules);
        let (dns, web) = &ways[round % 5];
        for number in 0..4 {
            rig.send(HOME, &to_mobile(mn.home6.into(), 53, &[number]));
            for (bid, opened) in arrived(&mut rig, &mn) {
                assert_eq!((bid, opened.seq, opened.payload[48]), (*dns, next, number));
                next += 1;
            }
            let mut taken = bids(&mut rig, &mn, &to_mobile(mn.home6.into(), 80, &[number]));
            taken.sort_unstable();
            assert_eq!(taken, *web);
            next += web.len() as u32;
        }
        if round % 3 == 0 {
            rig.reclaim();
        }
    }
    assert!(rig.tables.unbind(mn.home6));
    rig.reclaim();
    rig.finish();
}

/// MCA-11: from any registered care-of address, and from no other.
#[test]
fn uplink_from_any_care_of_address() {
    let mut rig = Rig::new();
    let mn = MobileNode::new(1, Suite::Aes128CbcSha, Scope::Signalling, true);
    rig.insert_sa(&mn);
    bind(&mut rig, &mn, &[1, 2, 3], &[]);
    let at = |bid: u16| {
        let Tunnel { local, remote, .. } = tunnel(&mn, bid);
        MobileNode { local, remote, ..mn.clone() }
    };
    for bid in [1, 2, 3] {
        rig.send(ACCESS, &at(bid).clear(&mn.inner6()));
        rig.received_one(HOME);
    }
    rig.send(ACCESS, &at(4).clear(&mn.inner6()));
    assert_eq!(rig.drops(), [("plain_outer_source", 1)].into());
    // PType 1 comes from anywhere.
    for (seq, bid) in (0..).zip([1, 2, 3, 4]) {
        let mut there = at(bid);
        there.seq = seq;
        let packet = there.data(&mn.inner6());
        rig.send(ACCESS, &packet);
        rig.received_one(HOME);
    }
    // One that has ended.
    bind(&mut rig, &mn, &[1, 3], &[]);
    rig.send(ACCESS, &at(2).clear(&mn.inner6()));
    assert_eq!(rig.drops(), [("plain_outer_source", 2)].into());
    rig.finish();
}

/// data in the clear by flow rules, too.
#[test]
fn in_the_clear() {
    let mut rig = Rig::new();
    let mn = MobileNode::new(1, Suite::Aes128CbcSha, Scope::Signalling, true);
    rig.insert_sa(&mn);
    bind(&mut rig, &mn, &[1, 2], &[(53, &[2, 1])]);
    rig.send(HOME, &to_mobile(mn.home6.into(), 53, b"x"));
    let mut remotes: Vec<_> =
        rig.received(ACCESS).iter().map(|frame| Datagram::read(frame.packet()).to).collect();
    remotes.sort_unstable();
    let mut expected = [1, 2].map(|bid| tunnel(&mn, bid).remote);
    expected.sort_unstable();
    assert_eq!(remotes, expected);
    rig.finish();
}

/// Fragments have no ports, and go where their first one went (RFC 6089 s.5.3.6).
#[test]
fn fragments_follow_their_first() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    bind(&mut rig, &mn, &[1, 2, 3], &[(53, &[2, 3])]);
    let whole = to_mobile(mn.home6.into(), 53, &[7; 64]);
    let piece = |id: u8, offset: u16, more: bool| {
        let [high, low] = (offset | u16::from(more)).to_be_bytes();
        let part = &whole[40 + usize::from(offset)..40 + usize::from(offset) + 24];
        let payload = [&[17, 0, high, low, 0, 0, 0, id], part].concat();
        codec::ip(CN6.into(), mn.home6.into(), 44, &payload)
    };
    for (id, offset, more, expected) in [
        (1, 24, true, &[1][..]),
        (1, 0, true, &[2, 3]),
        (1, 24, true, &[2, 3]),
        (2, 48, false, &[1]),
        (1, 48, false, &[2, 3]),
    ] {
        assert_eq!(bids(&mut rig, &mn, &piece(id, offset, more)), expected, "{id} {offset}");
    }
    bind(&mut rig, &mn, &[1, 3], &[(53, &[2, 3])]);
    assert_eq!(bids(&mut rig, &mn, &piece(1, 24, true)), [3]);
    rig.finish();
}

/// Ways under SAs of different workers, and of a suite that has to wait its turn: each copy once.
#[test]
fn ways_under_several_sas() {
    let mut rig = Rig::with(|config| {
        config.workers = 2;
        config.triple_des_budget = 2;
    });
    let mn = MobileNode::new(1, Suite::Aes128CbcSha, Scope::SignallingAndData, true);
    let slow = MobileNode::new(2, Suite::TripleDesEdeCbcSha, Scope::SignallingAndData, true);
    rig.insert_sa(&mn);
    rig.insert_sa(&slow);
    let mut registration = registration(&mn, &[1, 2, 3], &[(53, &[1, 2, 3])]);
    registration.tunnels[1].spi = slow.spi;
    registration.tunnels[2].spi = slow.spi;
    registration.bind(&mut rig.tables, &[]).unwrap();
    let count = 40;
    for number in 0..count {
        let packet = to_mobile(mn.home6.into(), 53, &[number as u8]);
        let frame = codec::ethernet(rig.mac(HOME), [2; 6], &packet);
        rig.inject(HOME, number % 2, &frame);
        if number % 8 == 7 {
            rig.turns();
        }
    }
    rig.turns();
    let mut seen = std::collections::BTreeMap::<_, Vec<u8>>::new();
    for frame in rig.received(ACCESS) {
        let datagram = Datagram::read(frame.packet());
        let mn = if datagram.to == mn.remote { &mn } else { &slow };
        let opened = codec::open(mn.suite, &mn.down, &datagram.content);
        seen.entry(datagram.to).or_default().push(opened.payload[48]);
    }
    assert_eq!(seen.len(), 3);
    for (remote, mut numbers) in seen {
        numbers.sort_unstable();
        assert_eq!(numbers, (0..count as u8).collect::<Vec<_>>(), "{remote}");
    }
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    rig.finish();
}

/// Whatever is wrong with a set of ways, the old one stays.
#[test]
fn what_is_refused() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    bind(&mut rig, &mn, &[1, 2], &[(53, &[2])]);
    let none = Registration { tunnels: Vec::new(), ..mn.binding() };
    let same = registration(&mn, &[1, 2, 1], &[]);
    let mut nameless = registration(&mn, &[1, 2], &[]);
    nameless.tunnels[1].bid = 0;
    let many = registration(&mn, &(1..=17).collect::<Vec<_>>(), &[]);
    let rules = registration(&mn, &[1, 2], &[(1, &[1_u16][..]); 9]);
    for (bad, error) in [
        (none, TableError::Tunnels),
        (same, TableError::Tunnels),
        (nameless, TableError::Tunnels),
        (many, TableError::Tunnels),
        (rules, TableError::Tunnels),
    ] {
        assert_eq!(bad.bind(&mut rig.tables, &[]), Err(error));
    }
    let mut unknown = registration(&mn, &[1, 2], &[]);
    unknown.tunnels[1].spi = MobileNode::new(9, mn.suite, mn.scope, true).spi;
    assert_eq!(unknown.bind(&mut rig.tables, &[]), Err(TableError::SpiUnknown));
    let mut mixed = registration(&mn, &[1, 2], &[]);
    mixed.tunnels[1].local = mn.local;
    assert_eq!(mixed.bind(&mut rig.tables, &[]), Err(TableError::Address));
    assert_eq!(bids(&mut rig, &mn, &to_mobile(mn.home6.into(), 53, b"x")), [2]);
    // Sixteen are carried.
    let all: Vec<_> = (1..=16).collect();
    bind(&mut rig, &mn, &all, &[(53, &[16])]);
    assert_eq!(bids(&mut rig, &mn, &to_mobile(mn.home6.into(), 53, b"x")), [16]);
    for round in 0..200 {
        bind(&mut rig, &mn, &all, &[(53, &[round % 16 + 1])]);
        if round % 10 == 0 {
            rig.reclaim();
        }
    }
    assert_eq!(bids(&mut rig, &mn, &to_mobile(mn.home6.into(), 53, b"x")), [8]);
    rig.finish();
}
