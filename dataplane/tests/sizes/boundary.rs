//! MTU-01 to MTU-03, MTU-05, MTU-06: exactly which inner packets go through, in how many pieces,
//! and what the sender of the others is told.

use hearth_dataplane::{Config, DropReason as D};
use hearth_wire::{Scope, Suite};

use crate::codec::{self, Datagram};
use crate::rig::{ACCESS, CN_MAC, CN4, CN6, GATEWAY6, HA4, HA6, HOME, MobileNode, Rig};
use crate::tools::{cut, icmp, join, one_hop_less, opened, set_flags, talkative, to_mobile};

/// What becomes of an inner packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It arrives in so many outer packets.
    Arrives(usize),
    /// Its sender is told so many octets.
    Told(u16),
}
use Fate::{Arrives, Told};

/// As much of the packet as goes; it may have lost its hop (RFC 1812 s.4.3.2.3).
fn quotes(quote: &[u8], packet: &[u8], most: usize) {
    let most = packet.len().min(most);
    assert!(quote == &packet[..most] || quote == &one_hop_less(packet)[..most]);
}

/// Sends a packet to the mobile node and says what became of it.
fn fate(rig: &mut Rig, mn: &MobileNode, packet: &[u8], path_mtu: usize) -> Fate {
    rig.send(HOME, packet);
    let outer = rig.received(ACCESS);
    let back = rig.received(HOME);
    if outer.is_empty() {
        assert_eq!(back.len(), 1, "one error; drops: {:?}", rig.drops());
        assert_eq!(back[0].destination(), CN_MAC);
        let error = icmp(back[0].packet());
        if packet[0] >> 4 == 6 {
            assert_eq!((error.from, error.to), (HA6.into(), CN6.into()));
            assert_eq!((error.kind, error.code), (2, 0));
            quotes(&error.quote, packet, 1232);
        } else {
            assert_eq!((error.from, error.to), (HA4.into(), CN4.into()));
            assert_eq!((error.kind, error.code), (3, 4));
            quotes(&error.quote, packet, 548);
        }
        return Told(error.rest.try_into().expect("16 bits"));
    }
    assert!(back.is_empty());
    let whole = join(&outer, path_mtu);
    let datagram = Datagram::read(&whole);
    assert_eq!((datagram.from, datagram.to), (mn.local, mn.remote));
    let inner = if mn.scope == Scope::Signalling {
        assert_eq!(datagram.content[..8], [0; 8]);
        datagram.content[8..].to_vec()
    } else {
        codec::open(mn.suite, &mn.down, &datagram.content).payload
    };
    assert_eq!(inner, one_hop_less(packet));
    Arrives(outer.len())
}

/// The largest inner packet whose outer packet has `path_mtu` octets, worked out by trying.
fn tunnel_mtu(mn: &MobileNode, path_mtu: usize) -> usize {
    let headers = if mn.remote.is_ipv6() { 48 } else { 28 };
    if mn.scope == Scope::Signalling {
        return path_mtu - headers - 8;
    }
    let fits = |len: &usize| {
        let plain = mn.plain(1, 0, 41, &vec![0; *len]).seal(mn.suite, &mn.down);
        headers + plain.len() <= path_mtu
    };
    (0..path_mtu).rev().find(fits).unwrap()
}

/// MTU-05: the octets of IPv6 and of IPv4 that arrive whole, in the order of `Suite::ALL`, over
/// IPv6 and IPv4, with a path MTU of 1500. Worked out by hand: 1500 - 48 or 28 octets of headers,
/// 8 of SPI and number, IV, whole blocks, 12 of ICV; 2 octets of the last block are the trailer.
const TABLE: [(Suite, u16, u16); 6] = [
    // 1500 - 48 - 8 - 12 = 1432 = 358 * 4; 1500 - 28 - 20 = 1452 = 363 * 4.
    (Suite::NullSha, 1430, 1450),
    (Suite::NullSha256, 1430, 1450),
    // 8 of IV: 1424 = 178 * 8; 1444 = 180 * 8 + 4.
    (Suite::TripleDesEdeCbcSha, 1422, 1438),
    // 16 of IV: 1416 = 88 * 16 + 8; 1436 = 89 * 16 + 12.
    (Suite::Aes128CbcSha, 1406, 1422),
    (Suite::Aes128CbcSha256, 1406, 1422),
    // 8 of IV, 16 of ICV: 1420 = 355 * 4; 1440 = 360 * 4.
    (Suite::Aes128Gcm, 1418, 1438),
];

#[test]
fn the_table_is_what_trying_gives() {
    for (suite, over6, over4) in TABLE {
        for (outer6, expected) in [(true, over6), (false, over4)] {
            let mn = MobileNode::new(1, suite, Scope::SignallingAndData, outer6);
            assert_eq!(tunnel_mtu(&mn, 1500), usize::from(expected), "{suite:?}");
        }
    }
}

/// MTU-01, MTU-03, MTU-05 with a path MTU of 1500.
#[test]
fn every_suite_and_family_at_its_boundary() {
    let mut rig = talkative(|_| ());
    let mut n = 0;
    for (suite, over6, over4) in TABLE {
        for (outer6, most) in [(true, over6), (false, over4)] {
            n += 1;
            let mn = rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, outer6));
            let at = usize::from(most);
            let rows = [
                (true, false, 1280, Arrives(1)),
                (true, false, 1281, Arrives(1)),
                (true, false, at, Arrives(1)),
                (true, false, at + 1, Told(most)),
                (true, false, 1499, Told(most)),
                (true, false, 1500, Told(most)),
                (false, true, at, Arrives(1)),
                (false, true, at + 1, Told(most)),
                (false, true, 1500, Told(most)),
                (false, false, at, Arrives(1)),
                (false, false, at + 1, Arrives(2)),
                (false, false, 1499, Arrives(2)),
                (false, false, 1500, Arrives(2)),
            ];
            for (v6, dont_fragment, len, expected) in rows {
                let packet = to_mobile(&mn, v6, dont_fragment, len);
                let fate = fate(&mut rig, &mn, &packet, 1500);
                assert_eq!(fate, expected, "{suite:?} outer6={outer6} v6={v6} {len}");
            }
        }
    }
    assert_eq!(rig.drops(), [("tunnel_mtu", 12 * 5)].into());
    assert_eq!(rig.counters().sizes.icmp_errors, 12 * 5);
    assert_eq!((rig.counters().sizes.fragmented, rig.counters().sizes.fragments), (36, 72));
    rig.finish();
}

/// MTU-02, MTU-05: on a path of 1280 octets IPv6 packets of 1280 octets still go through, and
/// larger ones are told 1280, whatever the tunnel carries whole (RFC 2473 s.7.1).
#[test]
fn a_path_of_1280_octets() {
    let mut rig = talkative(|config| config.path_mtu = 1280);
    let mut n = 0;
    for suite in Suite::known() {
        for (outer6, scope) in [
            (true, Scope::SignallingAndData),
            (false, Scope::SignallingAndData),
            (true, Scope::Signalling),
            (false, Scope::Signalling),
        ] {
            n += 1;
            let mn = rig.attach(MobileNode::new(n, suite, scope, outer6));
            let most = tunnel_mtu(&mn, 1280);
            assert!(most < 1280);
            for (v6, dont_fragment, len, expected) in [
                (true, false, most, Arrives(1)),
                (true, false, most + 1, Arrives(2)),
                (true, false, 1280, Arrives(2)),
                (true, false, 1281, Told(1280)),
                (true, false, 1500, Told(1280)),
                (false, true, most, Arrives(1)),
                (false, true, most + 1, Told(most as u16)),
                (false, false, most + 1, Arrives(2)),
                (false, false, 1500, Arrives(2)),
            ] {
                let packet = to_mobile(&mn, v6, dont_fragment, len);
                let fate = fate(&mut rig, &mn, &packet, 1280);
                assert_eq!(fate, expected, "{suite:?} {scope:?} outer6={outer6} v6={v6} {len}");
            }
        }
    }
    rig.finish();
}

fn jumbo(path_mtu: u16) -> impl FnOnce(&mut Config) {
    move |config| {
        config.path_mtu = path_mtu;
        config.icmp_errors_per_second = 1_000_000;
        config.icmp_errors_per_peer = 1_000_000;
    }
}

/// MTU-05: jumbo frames of 9000 octets, in one buffer and in several, to tunnels over jumbo paths
/// and over ordinary ones.
#[test]
fn jumbo_packets() {
    for segments in [1, 5] {
        for path_mtu in [9000, 1500] {
            let mut rig =
                Rig::sized(9000, if segments == 1 { 9600 } else { 2304 }, jumbo(path_mtu));
            let mut n = 0;
            for suite in Suite::known() {
                for outer6 in [true, false] {
                    n += 1;
                    let mn =
                        rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, outer6));
                    let most = tunnel_mtu(&mn, path_mtu.into());
                    for (v6, dont_fragment, len, arrives) in [
                        (true, false, most, true),
                        (true, false, most + 1, false),
                        (true, false, 9000, false),
                        (false, true, most, true),
                        (false, true, 9000, false),
                        (false, false, 9000, true),
                    ] {
                        let packet = to_mobile(&mn, v6, dont_fragment, len);
                        rig.segments = segments;
                        let fate = fate(&mut rig, &mn, &packet, path_mtu.into());
                        let pieces = if len <= most { 1 } else { 0 };
                        match fate {
                            Told(mtu) => assert!(!arrives && usize::from(mtu) == most),
                            Arrives(1) => assert!(arrives && pieces == 1),
                            Arrives(count) => {
                                assert!(arrives && pieces == 0);
                                assert_eq!(count, if path_mtu == 9000 { 2 } else { 7 });
                            }
                        }
                    }
                }
            }
            rig.finish();
        }
    }
}

/// Out of the tunnel: a jumbo envelope in several buffers.
#[test]
fn a_jumbo_envelope_from_a_mobile_node() {
    let mut rig = Rig::sized(9000, 2304, jumbo(9000));
    let mut mn = rig.attach(MobileNode::usual());
    for len in [8000, 1900, 100] {
        let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &vec![7; len - 40]);
        let packet = mn.data(&inner);
        rig.segments = 4;
        rig.send(ACCESS, &packet);
        assert_eq!(rig.received_one(HOME).packet(), one_hop_less(&inner));
    }
    assert!(rig.drops().is_empty());
    rig.finish();
}

/// No large buffer is left.
#[test]
fn a_packet_in_several_buffers_that_fits_nowhere() {
    let mut rig = Rig::sized(9000, 2304, |config| config.large_buffers = 1);
    let packet = codec::ip(CN6.into(), "2001:db8:77::1".parse().unwrap(), 17, &[7; 5000]);
    rig.segments = 3;
    rig.send(HOME, &packet);
    // The one large buffer lies on the wire.
    rig.segments = 3;
    rig.send(HOME, &packet);
    assert_eq!(rig.drops(), [("multi_segment", 1)].into());
    assert_eq!(rig.received_one(ACCESS).packet(), one_hop_less(&packet));
    rig.finish();
}

/// A port that carries less than the packet: RFC 8200 s.5, RFC 1812 s.5.3.1.
#[test]
fn forwarding_to_a_port_with_a_smaller_mtu() {
    let mut rig = Rig::sized(1500, 9600, jumbo(1500));
    let far6 = "2001:db8:77::1".parse().unwrap();
    let far4 = "192.0.2.77".parse().unwrap();
    let large6 = codec::ip(far6, CN6.into(), 17, &[7; 1461]);
    rig.send(ACCESS, &large6);
    let error = icmp(rig.received_one(ACCESS).packet());
    assert_eq!((error.kind, error.code, error.rest, error.to), (2, 0, 1500, far6));
    assert_eq!(error.quote, one_hop_less(&large6)[..1232]);

    let mut large4 = codec::ip(far4, CN4.into(), 17, &vec![9; 4000]);
    set_flags(&mut large4, 0x4000);
    rig.send(ACCESS, &large4);
    let error = icmp(rig.received_one(ACCESS).packet());
    assert_eq!((error.kind, error.code, error.rest, error.to), (3, 4, 1500, far4));

    set_flags(&mut large4, 0);
    rig.send(ACCESS, &large4);
    let fragments = rig.received(HOME);
    assert_eq!(fragments.len(), 3);
    assert_eq!(join(&fragments, 1500), one_hop_less(&large4));
    assert_eq!(rig.drops(), [("port_mtu", 2)].into());
    rig.finish();
}

/// MTU-06: inner fragments go through untouched, and nobody looks for ports in them.
#[test]
fn inner_fragments_are_carried_as_they_are() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    for v6 in [true, false] {
        let down = to_mobile(&mn, v6, false, 1400);
        for fragment in cut(&down, &[8, 1024], 77) {
            rig.send(HOME, &fragment);
            assert_eq!(opened(&mut rig, &mn, ACCESS), [one_hop_less(&fragment)]);
        }
        let (from, to) =
            if v6 { (mn.home6.into(), CN6.into()) } else { (mn.home4.into(), CN4.into()) };
        let up = codec::ip(from, to, 6, &[0x5a; 1200]);
        for fragment in cut(&up, &[8, 1024], 78) {
            let packet = mn.data(&fragment);
            rig.send(ACCESS, &packet);
            assert_eq!(rig.received_one(HOME).packet(), one_hop_less(&fragment));
        }
    }
    assert!(rig.drops().is_empty());
    rig.finish();
}

/// The buffers for fragments are all in use: control holds what it can't resolve.
#[test]
fn no_buffers_for_fragments() {
    let mut rig = Rig::sized(9000, 9600, jumbo(1500));
    let mn = rig.attach(MobileNode::usual());
    rig.tables.set_neighbour(ACCESS, GATEWAY6.into(), None).unwrap();
    let packet = to_mobile(&mn, false, false, 9000);
    let mut held = Vec::new();
    while rig.drops().is_empty() {
        rig.send(HOME, &packet);
        held.extend(rig.events());
        assert!(held.len() < 2500);
    }
    assert_eq!(rig.drops(), [(D::FragmentBuffers.name(), 1)].into());
    // 2047 ordinary buffers less one on its way, and 15 large ones, as far as whole packets go.
    assert_eq!(held.len(), 294 * 7);
    drop(held);
    rig.send(HOME, &packet);
    assert_eq!(rig.events().len(), 7);
    rig.finish();
}
