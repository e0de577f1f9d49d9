//! Routes, tunnels to mobile nodes, neighbours (ENC-12, ENC-13, ENC-44, R-23, R-42).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_dataplane::{DropReason as D, Route};
use hearth_wire::{Scope, Suite};

use crate::codec::{self, Datagram};
use crate::rig::{
    ACCESS, CN_MAC, CN4, CN6, Event, GATEWAY_MAC, GATEWAY4, GATEWAY6, HA4, HA6, HOME, MobileNode,
    Rig,
};

fn stops(rig: &mut Rig, port: hearth_dataplane::PortId, packet: &[u8], reason: D) {
    let before = rig.counters();
    rig.send(port, packet);
    let after = rig.counters();
    assert_eq!(after.dropped(reason), before.dropped(reason) + 1, "{:?}", rig.drops());
    assert_eq!(after.dropped_total(), before.dropped_total() + 1);
    rig.is_silent();
}

/// MN to MN: out of one tunnel into the other, one hop less, and no further.
#[test]
fn hairpin_between_two_mobile_nodes() {
    let mut rig = Rig::new();
    let mut a = rig.attach(MobileNode::new(1, Suite::Aes128CbcSha, Scope::SignallingAndData, true));
    for (n, suite) in (2..).zip(Suite::known()) {
        let b = rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, n % 2 == 0));
        for (from, to) in
            [(IpAddr::from(a.home6), IpAddr::from(b.home6)), (a.home4.into(), b.home4.into())]
        {
            let inner = codec::ip_with(from, to, 17, 9, 0, b"from one to the other");
            let packet = a.data(&inner);
            rig.send(ACCESS, &packet);
            let opened = b.open(&rig.received_one(ACCESS));
            let hop = if to.is_ipv6() { 7 } else { 8 };
            assert_eq!(opened.payload[hop], 8);
            assert_eq!(opened.payload.len(), inner.len());
        }
        assert!(rig.received(HOME).is_empty());
    }
    rig.finish();
}

/// ENC-12, ENC-13: downlink follows the scope; a Home Test is protected where the suite encrypts.
#[test]
fn downlink_follows_the_scope() {
    let mut rig = Rig::new();
    for (n, suite, outer6) in [
        (1, Suite::Aes128CbcSha, true),
        (2, Suite::NullSha, true),
        (3, Suite::Aes128CbcSha256, false),
    ] {
        let mn = rig.attach(MobileNode::new(n, suite, Scope::Signalling, outer6));
        let inner = codec::ip(CN6.into(), mn.home6.into(), 17, b"in the clear");
        rig.send(HOME, &inner);
        let datagram = Datagram::read(rig.received_one(ACCESS).packet());
        assert_eq!((datagram.from, datagram.to), (mn.local, mn.remote));
        assert_eq!(datagram.content[..8], [0; 8]);
        assert_eq!(datagram.content[48..], inner[40..]);
        let home_test = codec::ip(CN6.into(), mn.home6.into(), 135, &[59, 2, 3, 0, 0, 0, 0, 0]);
        rig.send(HOME, &home_test);
        let frame = rig.received_one(ACCESS);
        if suite.encrypts() {
            assert_eq!(mn.open(&frame).ptype, 1);
        } else {
            assert_eq!(Datagram::read(frame.packet()).content[..8], [0; 8]);
        }
    }
    assert_eq!(rig.counters().downlink_plain.packets, 4);
    rig.finish();
}

/// R-25, RFC 6275 s.10.4.6: a Home Test is found behind extension headers too, and nothing else is
/// taken for one.
#[test]
fn a_home_test_behind_extension_headers_is_protected() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::new(1, Suite::Aes128CbcSha, Scope::Signalling, true));
    let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let routing = |next: u8| [next, 0, 0, 0, 0, 0, 0, 0];
    let first_fragment = |next: u8| [next, 0, 0, 1, 0, 0, 0, 7];
    let mobility = |kind: u8| [59, 1, kind, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    for (first, headers, kind, protected) in [
        (60, vec![options(135)], 3, true),
        (43, vec![routing(135)], 3, true),
        (60, vec![options(43), routing(135)], 3, true),
        (60, vec![options(44), first_fragment(135)], 3, true),
        // A Care-of Test, and data that looks like a Home Test.
        (60, vec![options(135)], 4, false),
        (60, vec![options(17)], 3, false),
        (135, vec![], 1, false),
    ] {
        let content = [&headers.concat()[..], &mobility(kind)].concat();
        rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), first, &content));
        let frame = rig.received_one(ACCESS);
        if protected {
            assert_eq!(mn.open(&frame).payload[40..], content);
        } else {
            assert_eq!(Datagram::read(frame.packet()).content[..8], [0; 8]);
        }
    }
    // An IPv4 packet with 135 where an IPv6 header has its next header.
    let mut v4 = codec::ip(CN4.into(), mn.home4.into(), 17, &[3; 40]);
    v4[6] = 0;
    rig.send(HOME, &v4);
    assert_eq!(Datagram::read(rig.received_one(ACCESS).packet()).content[..8], [0; 8]);
    rig.finish();
}

/// RFC 4291 s.2.5.6: what is of a link does not leave it by a tunnel either.
#[test]
fn packets_of_a_link_are_not_tunnelled() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    for (from, to) in [("fe80::9", IpAddr::from(mn.home6)), ("169.254.0.9", IpAddr::from(mn.home4))]
    {
        let packet = codec::ip(from.parse().unwrap(), to, 17, b"next door");
        stops(&mut rig, HOME, &packet, D::LinkLocalForward);
        stops(&mut rig, ACCESS, &packet, D::LinkLocalForward);
    }
    // From the box itself, which has such addresses too.
    for from in ["fe80::1", "::"] {
        let packet = codec::ip(from.parse().unwrap(), mn.home6.into(), 17, b"next door");
        let frame = codec::ethernet(rig.mac(HOME), [2; 6], &packet);
        rig.control.send_from_host(HOME, &frame).unwrap();
        rig.turns();
        rig.is_silent();
    }
    assert_eq!(rig.drops(), [("link_local_forward", 6)].into());
    rig.still_bound(&mn);
    rig.finish();
}

/// RFC 2473 s.3.1: it is forwarded, and then it enters the tunnel; so the hop limit says first that
/// it may not.
#[test]
fn the_hop_limit_comes_before_the_tunnels_mtu() {
    let mut rig = Rig::new();
    for (n, scope) in [(1, Scope::SignallingAndData), (2, Scope::Signalling)] {
        let mn = rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, scope, true));
        let packet = |hop| codec::ip_with(CN6.into(), mn.home6.into(), 17, hop, 0, &[7; 1480 - 40]);
        for hop in [0, 1] {
            stops(&mut rig, HOME, &packet(hop), D::HopLimit);
        }
    }
    rig.finish();
}

/// ENC-44, R-41: the outer header carries the inner DSCP and ECN.
#[test]
fn dscp_and_ecn_go_onto_the_outer_header() {
    let mut rig = Rig::new();
    for (n, outer6) in [(1, true), (2, false)] {
        let mn =
            rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, outer6));
        for class in [0, 0xb8, 0x02, 0xff, 0x2b] {
            for (from, to) in
                [(IpAddr::from(CN6), IpAddr::from(mn.home6)), (CN4.into(), mn.home4.into())]
            {
                rig.send(HOME, &codec::ip_with(from, to, 17, 64, class, b"x"));
                let frame = rig.received_one(ACCESS);
                assert_eq!(Datagram::read(frame.packet()).traffic_class, class);
            }
        }
    }
    rig.finish();
}

/// a deployment pins the DSCP of what carries data, protected or plain; ECN goes on as it is
/// (RFC 6040 s.4.1), the inner packet keeps its own, and signalling has CS6.
#[test]
fn a_pinned_dscp_leaves_ecn_to_the_packet() {
    for (dscp, class) in [(46, 0xb8), (0, 0), (63, 0xfc)] {
        let mut rig = Rig::with(|config| config.dscp = Some(dscp));
        for (n, (outer6, scope)) in (1..).zip([
            (true, Scope::SignallingAndData),
            (false, Scope::SignallingAndData),
            (true, Scope::Signalling),
            (false, Scope::Signalling),
        ]) {
            let mn = rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, scope, outer6));
            let ways = [(IpAddr::from(CN6), IpAddr::from(mn.home6)), (CN4.into(), mn.home4.into())];
            for (from, to) in ways {
                for inner_class in [0, 0x88, 0x01, 0x02, 0x03, 0xff] {
                    rig.send(HOME, &codec::ip_with(from, to, 17, 64, inner_class, b"x"));
                    let frame = rig.received_one(ACCESS);
                    let outer = Datagram::read(frame.packet());
                    assert_eq!(outer.traffic_class, class | inner_class & 3, "{to} {inner_class}");
                    let inner = match scope {
                        Scope::SignallingAndData => mn.open(&frame).payload,
                        Scope::Signalling => outer.content[8..].to_vec(),
                    };
                    let forwarded = codec::ip_with(from, to, 17, 63, inner_class, b"x");
                    assert_eq!(inner, forwarded);
                }
            }
            rig.control.send_signalling(mn.spi, mn.local, mn.remote, 135, &[59; 16]).unwrap();
            rig.turns();
            let frame = rig.received_one(ACCESS);
            assert_eq!(Datagram::read(frame.packet()).traffic_class, 0xc0);
        }
        rig.finish();
    }
}

#[test]
fn plain_packets_are_routed_between_the_ports() {
    let mut rig = Rig::new();
    let far: IpAddr = "2001:db8:77::1".parse().unwrap();
    rig.send(HOME, &codec::ip(CN6.into(), far, 17, b"out"));
    let frame = rig.received_one(ACCESS);
    assert_eq!((frame.destination(), frame.packet()[7]), (GATEWAY_MAC, 63));
    rig.send(ACCESS, &codec::ip(far, CN6.into(), 17, b"in"));
    assert_eq!(rig.received_one(HOME).destination(), CN_MAC);
    rig.send(ACCESS, &codec::ip("192.0.2.9".parse().unwrap(), CN4.into(), 17, b"in"));
    assert_eq!(rig.received_one(HOME).packet()[8], 63);
    assert_eq!(rig.counters().forwarded.packets, 3);
    rig.finish();
}

/// Short frames come with Ethernet padding, which must not travel on.
#[test]
fn ethernet_padding_stays_behind() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let inner = codec::ip(CN4.into(), mn.home4.into(), 17, b"x");
    rig.send(HOME, &[&inner[..], &[0; 25]].concat());
    assert_eq!(mn.open(&rig.received_one(ACCESS)).payload.len(), inner.len());
    rig.send(
        HOME,
        &[codec::ip(CN4.into(), "192.0.2.9".parse().unwrap(), 17, b"y"), vec![0; 25]].concat(),
    );
    assert_eq!(rig.received_one(ACCESS).packet().len(), 21);
    rig.finish();
}

#[test]
fn what_cannot_be_forwarded() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let home: IpAddr = mn.home6.into();
    let far: IpAddr = "2001:db8:77::1".parse().unwrap();
    let link_local: IpAddr = "fe80::9".parse().unwrap();
    for hop_limit in [0, 1] {
        let packet = codec::ip_with(CN6.into(), home, 17, hop_limit, 0, b"x");
        stops(&mut rig, HOME, &packet, D::HopLimit);
        let packet =
            codec::ip_with(CN4.into(), "192.0.2.9".parse().unwrap(), 17, hop_limit, 0, b"x");
        stops(&mut rig, HOME, &packet, D::HopLimit);
    }
    let packet = mn.data(&codec::ip_with(home, CN6.into(), 17, 1, 0, b"x"));
    stops(&mut rig, ACCESS, &packet, D::HopLimit);
    stops(&mut rig, HOME, &codec::ip(link_local, far, 17, b"x"), D::LinkLocalForward);
    rig.tables.set_routes(&[]).unwrap();
    stops(&mut rig, HOME, &codec::ip(CN6.into(), far, 17, b"x"), D::NoRoute);
    stops(&mut rig, HOME, &codec::ip(CN6.into(), home, 17, b"x"), D::NoRoute);
    rig.finish();
}

/// the largest packet that goes through the tunnel, and one octet more.
#[test]
fn tunnel_mtu() {
    let mut rig = Rig::new();
    let mut n = 0;
    for suite in Suite::known() {
        for outer6 in [true, false] {
            n += 1;
            let mn = rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, outer6));
            let outer = if outer6 { 48 } else { 28 };
            let most = (1200..1500)
                .rev()
                .find(|len| {
                    let frame = mn.plain(1, 0, 41, &vec![0; *len]).seal(suite, &mn.down);
                    frame.len() + outer <= 1500
                })
                .unwrap();
            let inner = codec::ip(CN6.into(), mn.home6.into(), 17, &vec![1; most - 40]);
            rig.send(HOME, &inner);
            let frame = rig.received_one(ACCESS);
            assert!(frame.packet().len() <= 1500);
            assert_eq!(mn.open(&frame).payload.len(), most);
            let inner = codec::ip(CN6.into(), mn.home6.into(), 17, &vec![1; most - 39]);
            stops(&mut rig, HOME, &inner, D::TunnelMtu);
        }
    }
    let too_big = codec::ip("2001:db8:77::1".parse().unwrap(), CN6.into(), 17, &[0; 1461]);
    stops(&mut rig, ACCESS, &too_big, D::PortMtu);
    rig.finish();
}

/// the last number that can be granted is used, no number is used twice.
#[test]
fn outbound_numbers_end() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    const LAST: u32 = 0xfffe_ffff;
    rig.insert_sa_at(&mn, LAST).unwrap();
    rig.bind(&mn);
    let inner = codec::ip(CN6.into(), mn.home6.into(), 17, b"x");
    rig.send(HOME, &inner);
    assert_eq!(mn.open(&rig.received_one(ACCESS)).seq, LAST);
    stops(&mut rig, HOME, &inner, D::SequenceExhausted);
    rig.control.send_signalling(mn.spi, mn.local, mn.remote, 43, &[0; 24]).unwrap();
    rig.turns();
    rig.is_silent();
    assert_eq!(rig.drops(), [("sequence_exhausted", 2)].into());
    assert_eq!(rig.tables.sa_usage(mn.spi).unwrap().next_outbound, u64::from(LAST) + 1);
    rig.finish();
}

/// A neighbour without MAC address: control gets the packet, finds the neighbour, gives it back.
#[test]
fn unresolved_neighbours() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let stranger: IpAddr = "2001:db8:f::77".parse().unwrap();
    rig.send(ACCESS, &codec::ip(mn.remote.ip(), stranger, 17, b"wait"));
    rig.tables.set_neighbour(ACCESS, GATEWAY6.into(), None).unwrap();
    rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, b"wait in the tunnel"));
    assert!(rig.received(HOME).is_empty() && rig.received(ACCESS).is_empty());
    let mut events = rig.events();
    assert_eq!(events.len(), 2);
    assert!(!rig.tables.knows_neighbour(HOME, stranger));
    rig.tables.set_neighbour(HOME, stranger, Some([2, 7, 7, 7, 7, 7])).unwrap();
    assert!(rig.tables.knows_neighbour(HOME, stranger));
    assert!(!rig.tables.knows_neighbour(ACCESS, stranger));
    rig.tables.set_neighbour(ACCESS, GATEWAY6.into(), Some(GATEWAY_MAC)).unwrap();
    for (expected, event) in
        [(HOME, stranger), (ACCESS, GATEWAY6.into())].into_iter().zip(events.drain(..))
    {
        let Event::Unresolved { port, next_hop, packet } = event else { panic!("unresolved") };
        assert_eq!((port, next_hop), expected);
        assert_eq!(packet.packet()[0] >> 4, 6);
        rig.control.resend(port, next_hop, packet).unwrap();
    }
    rig.turns();
    assert_eq!(rig.received_one(HOME).destination(), [2, 7, 7, 7, 7, 7]);
    let frame = rig.received_one(ACCESS);
    assert_eq!((frame.destination(), mn.open(&frame).ptype), (GATEWAY_MAC, 1));
    assert_eq!(rig.counters().unresolved, 2);
    assert!(rig.drops().is_empty());
    rig.finish();
}

/// A changed neighbour, and one that is gone and comes back.
#[test]
fn neighbours_change() {
    let mut rig = Rig::new();
    let packet = codec::ip("192.0.2.9".parse().unwrap(), CN4.into(), 17, b"x");
    for mac in [[2, 0, 0, 1, 1, 1], [2, 0, 0, 2, 2, 2]] {
        rig.tables.set_neighbour(HOME, CN4.into(), Some(mac)).unwrap();
        rig.send(ACCESS, &packet);
        assert_eq!(rig.received_one(HOME).destination(), mac);
    }
    rig.tables.set_neighbour(HOME, CN4.into(), None).unwrap();
    rig.send(ACCESS, &packet);
    assert_eq!(rig.events().len(), 1);
    rig.reclaim();
    rig.tables.set_neighbour(HOME, CN4.into(), Some(CN_MAC)).unwrap();
    rig.send(ACCESS, &packet);
    assert_eq!(rig.received_one(HOME).destination(), CN_MAC);
    rig.finish();
}

/// The longest prefix wins; a gateway of the other kind of route is the next hop.
#[test]
fn routes_are_replaced_whole() {
    let mut rig = Rig::new();
    let far: IpAddr = "192.0.2.77".parse().unwrap();
    let packet = codec::ip(CN4.into(), far, 17, b"x");
    let default = Route {
        prefix: ("0.0.0.0".parse().unwrap(), 0),
        port: ACCESS,
        gateway: Some(GATEWAY4.into()),
    };
    let longer = Route {
        prefix: ("192.0.2.99".parse().unwrap(), 24),
        port: HOME,
        gateway: Some(CN4.into()),
    };
    rig.tables.set_routes(&[default, longer]).unwrap();
    rig.send(HOME, &packet);
    assert_eq!(rig.received_one(HOME).destination(), CN_MAC);
    rig.tables.set_routes(&[default]).unwrap();
    rig.send(HOME, &packet);
    assert_eq!(rig.received_one(ACCESS).destination(), GATEWAY_MAC);
    // Local addresses are part of every generation.
    for to in [IpAddr::from(HA4), HA6.into()] {
        let from: IpAddr = if to.is_ipv4() { far } else { CN6.into() };
        rig.send(HOME, &codec::ip(from, to, 1, &[8, 0, 0, 0]));
        assert!(matches!(rig.events()[..], [Event::Host { .. }]));
    }
    rig.finish();
}

/// A thousand host routes of each family, and every one is found.
#[test]
fn many_routes() {
    let mut rig = Rig::with(|config| config.max_routes = 4096);
    let far = |n: u32| -> [IpAddr; 2] {
        let spread = n.wrapping_mul(2_654_435_761);
        let v6 = 0x2001_0db8_0077 << 80 | u128::from(spread) << 48 | u128::from(n);
        [Ipv6Addr::from_bits(v6).into(), Ipv4Addr::from_bits(0x0a00_0000 | spread >> 8).into()]
    };
    let routes: Vec<_> = (0..1000)
        .flat_map(far)
        .map(|to| Route {
            prefix: (to, if to.is_ipv4() { 32 } else { 128 }),
            port: HOME,
            gateway: Some(if to.is_ipv4() { CN4.into() } else { CN6.into() }),
        })
        .collect();
    rig.tables.set_routes(&routes).unwrap();
    for n in 0..1000 {
        for to in far(n) {
            let from: IpAddr = if to.is_ipv4() { GATEWAY4.into() } else { GATEWAY6.into() };
            rig.send(ACCESS, &codec::ip(from, to, 17, b"x"));
            assert_eq!(rig.received_one(HOME).destination(), CN_MAC, "{to}");
        }
    }
    let too_many = vec![routes[0]; 4097];
    assert_eq!(rig.tables.set_routes(&too_many), Err(hearth_dataplane::TableError::Full));
    rig.finish();
}

/// A port that takes no more: dropped and counted, not waited for.
#[test]
fn a_port_that_does_not_keep_up() {
    let mut rig = Rig::new();
    let packet = codec::ip("192.0.2.9".parse().unwrap(), CN4.into(), 17, b"x");
    for _ in 0..600 {
        rig.send(ACCESS, &packet);
    }
    let sent = rig.received(HOME).len() as u64;
    assert_eq!(rig.drops(), [("tx_full", 600 - sent)].into());
    assert!(sent < 600);
    let counters = rig.counters();
    assert_eq!((counters.ports[0].rx.packets, counters.ports[1].tx.packets), (600, sent));
    assert_eq!(counters.ports[1].tx.octets, sent * (14 + 21));
    rig.finish();
}

/// Control's packet leaves no room for a trailer.
#[test]
fn no_room_in_the_buffer() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let most = 2304 - 128;
    let send = |rig: &mut Rig, len| {
        rig.control.send_signalling(mn.spi, mn.local, mn.remote, 43, &vec![0; len])
    };
    assert_eq!(send(&mut rig, most + 1), Err(hearth_dataplane::ControlError::TooLarge));
    send(&mut rig, most).unwrap();
    rig.turns();
    rig.is_silent();
    assert_eq!(rig.drops(), [("buffer_room", 1)].into());
    rig.finish();
}

/// A worker that stops counts what was riding.
#[test]
fn a_worker_stops_with_packets_under_way() {
    let mut rig = Rig::with(|config| config.max_job_age_us = 1_000_000_000);
    let mn = rig.attach(MobileNode::usual());
    let inner = codec::ip(CN6.into(), mn.home6.into(), 17, b"x");
    let frame = codec::ethernet(rig.mac(HOME), [2; 6], &inner);
    for _ in 0..3 {
        rig.inject(HOME, 0, &frame);
    }
    assert!(rig.workers[0].turn() >= 3);
    rig.workers.clear();
    rig.is_silent();
    assert_eq!(rig.drops(), [("stopped", 3)].into());
    rig.finish();
}
