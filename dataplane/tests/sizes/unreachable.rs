//! TUN-03, TUN-14, R-33 and the hop limit: what cannot be delivered, who is told, and how often.

use std::net::IpAddr;

use hearth_dataplane::{Defended, DropReason as D, Route};
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{ACCESS, CN_MAC, CN4, CN6, Event, HA4, HA6, HOME, MobileNode, Registration, Rig};
use crate::tools::{Icmp, icmp, talkative, told};

fn error(rig: &mut Rig, port: hearth_dataplane::PortId, packet: &[u8]) -> Icmp {
    rig.send(port, packet);
    icmp(rig.received_one(port).packet())
}

/// RFC 4443 s.3.3, RFC 1812 s.5.3.1: forwarded, into a tunnel, and out of one.
#[test]
fn the_hop_limit_runs_out() {
    let mut rig = talkative(|_| ());
    let mut mn = rig.attach(MobileNode::usual());
    let far: IpAddr = "2001:db8:77::1".parse().unwrap();
    for hop_limit in [0, 1] {
        for to in [far, mn.home6.into()] {
            let packet = codec::ip_with(CN6.into(), to, 17, hop_limit, 0, b"too far");
            let error = error(&mut rig, HOME, &packet);
            assert_eq!((error.from, error.to), (HA6.into(), CN6.into()));
            assert_eq!((error.kind, error.code, error.rest), (3, 0, 0));
            assert_eq!(error.quote, packet);
        }
        for to in ["192.0.2.9".parse().unwrap(), IpAddr::from(mn.home4)] {
            let packet = codec::ip_with(CN4.into(), to, 17, hop_limit, 0, b"too far");
            let error = error(&mut rig, HOME, &packet);
            assert_eq!((error.from, error.to), (HA4.into(), CN4.into()));
            assert_eq!((error.kind, error.code, error.rest), (11, 0, 0));
            assert_eq!(error.quote, packet);
        }
        // to the mobile node it travels as data.
        for (from, to, kind) in
            [(IpAddr::from(mn.home6), IpAddr::from(CN6), 3), (mn.home4.into(), CN4.into(), 11)]
        {
            let inner = codec::ip_with(from, to, 17, hop_limit, 0, b"too far");
            let packet = mn.data(&inner);
            rig.send(ACCESS, &packet);
            let error = told(&mut rig, &mn, ACCESS);
            assert_eq!((error.to, error.kind, error.code), (from, kind, 0));
            assert_eq!(error.quote, inner);
        }
    }
    assert_eq!(rig.drops(), [("hop_limit", 12)].into());
    assert_eq!(rig.counters().sizes.icmp_errors, 12);
    rig.finish();
}

/// A mobile node with scope 0, and a hairpin: the error goes back the way the packet came.
#[test]
fn errors_find_every_kind_of_mobile_node() {
    let mut rig = talkative(|_| ());
    let mut n = 0;
    for suite in Suite::known() {
        for (scope, outer6) in [
            (Scope::SignallingAndData, true),
            (Scope::SignallingAndData, false),
            (Scope::Signalling, true),
        ] {
            n += 2;
            let mut a = rig.attach(MobileNode::new(n, suite, scope, outer6));
            let b = rig.attach(MobileNode::new(n + 1, suite, scope, outer6));
            let inner = codec::ip_with(a.home6.into(), b.home6.into(), 17, 1, 0, b"to a friend");
            let packet = if scope == Scope::Signalling {
                a.packet(&[&[0; 8], &inner[..]].concat())
            } else {
                a.data(&inner)
            };
            rig.send(ACCESS, &packet);
            let frame = rig.received_one(ACCESS);
            let content = codec::Datagram::read(frame.packet()).content;
            let error = if scope == Scope::Signalling {
                icmp(&content[8..])
            } else {
                icmp(&a.open(&frame).payload)
            };
            assert_eq!((error.kind, error.to, error.quote), (3, a.home6.into(), inner));
        }
    }
    rig.finish();
}

#[test]
fn no_route() {
    let mut rig = talkative(|_| ());
    let mut mn = rig.attach(MobileNode::usual());
    rig.tables
        .set_routes(&[
            route("2001:db8:f::", 64, HOME),
            route("203.0.113.0", 24, HOME),
            route("2001:db8:100::", 64, ACCESS),
        ])
        .unwrap();
    rig.tables.set_neighbour(ACCESS, mn.remote.ip(), Some([2, 5, 5, 5, 5, 5])).unwrap();
    let packet = codec::ip(CN6.into(), "2001:db8:77::1".parse().unwrap(), 17, b"x");
    let e = error(&mut rig, HOME, &packet);
    assert_eq!((e.kind, e.code, e.rest, e.quote), (1, 0, 0, packet));
    let packet = codec::ip(CN4.into(), "192.0.2.9".parse().unwrap(), 17, b"x");
    let e = error(&mut rig, HOME, &packet);
    assert_eq!((e.kind, e.code, e.rest, e.quote), (3, 0, 0, packet));
    let inner = codec::ip(mn.home6.into(), "2001:db8:77::1".parse().unwrap(), 17, b"x");
    let packet = mn.data(&inner);
    rig.send(ACCESS, &packet);
    let e = told(&mut rig, &mn, ACCESS);
    assert_eq!((e.kind, e.code, e.quote), (1, 0, inner));
    assert_eq!(rig.drops(), [("no_route", 3)].into());
    rig.finish();
}

fn route(prefix: &str, len: u8, port: hearth_dataplane::PortId) -> Route {
    Route { prefix: (prefix.parse().unwrap(), len), port, gateway: None }
}

/// TUN-14: nobody is behind an unbound address of a virtual home prefix; on a home link of its own
/// the packet is forwarded, as the home agent is not to intercept it.
#[test]
fn an_address_without_a_binding() {
    let prefixes =
        || vec![("2001:db8:eeee::".parse().unwrap(), 64), ("192.0.2.128".parse().unwrap(), 25)];
    let virtual6 = "2001:db8:eeee::5".parse().unwrap();
    let virtual4 = "192.0.2.133".parse().unwrap();
    let mut rig = talkative(|config| config.home_prefixes = prefixes());
    for (from, to, kind, code) in
        [(IpAddr::from(CN6), virtual6, 1, 3), (CN4.into(), virtual4, 3, 1)]
    {
        let packet = codec::ip(from, to, 17, b"anybody home?");
        let error = error(&mut rig, HOME, &packet);
        assert_eq!((error.kind, error.code, error.rest), (kind, code, 0));
        assert_eq!((error.to, error.quote), (from, packet));
    }
    assert_eq!(rig.drops(), [("home_address_unbound", 2)].into());

    // Bound, it is reached; unbound again, it is not.
    let mut mn = MobileNode::usual();
    let std::net::IpAddr::V6(home6) = virtual6 else { panic!() };
    mn.home6 = home6;
    let mn = rig.attach(mn);
    rig.send(HOME, &codec::ip(CN6.into(), virtual6, 17, b"there"));
    assert_eq!(mn.open(&rig.received_one(ACCESS)).ptype, 1);
    rig.tables.unbind(home6);
    assert_eq!(error(&mut rig, HOME, &codec::ip(CN6.into(), virtual6, 17, b"gone")).code, 3);

    // A route of the prefix's own makes it a home link.
    rig.tables
        .set_routes(&[route("2001:db8:eeee::", 64, HOME), route("2001:db8:f::", 64, HOME)])
        .unwrap();
    rig.send(ACCESS, &codec::ip("2001:db8:77::1".parse().unwrap(), virtual6, 17, b"at home"));
    assert!(matches!(
        &rig.events()[..],
        [Event::Unresolved { port, next_hop, .. }] if (*port, *next_hop) == (HOME, virtual6)
    ));
    assert_eq!(rig.drops(), [("home_address_unbound", 3)].into());
    rig.finish();
}

/// TUN-03: never into the tunnel, and the sender hears of it on its link.
#[test]
fn a_mobile_nodes_link_local_address() {
    let mut rig = talkative(|_| ());
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    let home = u128::from(u64::MAX) & mn.home6.to_bits();
    let own = std::net::Ipv6Addr::from_bits(0xfe80 << 112 | home);
    let link_local: IpAddr = own.into();
    let defended = Some(Defended { port: HOME, link_local: Some(own), router: false });
    Registration { defended, ..mn.binding() }.bind(&mut rig.tables, &[]).unwrap();
    let neighbour: IpAddr = "fe80::c0".parse().unwrap();
    rig.tables.set_neighbour(HOME, neighbour, Some(CN_MAC)).unwrap();
    for from in [neighbour, CN6.into()] {
        let packet = codec::ip(from, link_local, 17, b"psst");
        rig.send(HOME, &packet);
        let frame = rig.received_one(HOME);
        assert_eq!(frame.destination(), CN_MAC);
        let error = icmp(frame.packet());
        assert_eq!((error.kind, error.code, error.to), (1, 3, from));
        assert_eq!((error.from, error.quote), (HA6.into(), packet));
    }
    assert_eq!(rig.drops(), [("home_link_local", 2)].into());
    // "This [...] MUST NOT be sent if the Source Address is a multicast address": such a packet
    // has no source at all.
    rig.send(HOME, &codec::ip("ff02::1".parse().unwrap(), link_local, 17, b"psst"));
    rig.is_silent();
    // Any other link-local address is the kernel's, and so is this one where L was not set.
    rig.send(HOME, &codec::ip(neighbour, "fe80::1".parse().unwrap(), 17, b"psst"));
    assert!(matches!(rig.events()[..], [Event::Host { .. }]));
    rig.bind(&mn);
    rig.send(HOME, &codec::ip(neighbour, link_local, 17, b"psst"));
    assert!(matches!(rig.events()[..], [Event::Host { .. }]));
    rig.finish();
}

/// RFC 4443 s.3.1, code 2; IPv4 has nothing like it (RFC 3927 s.7).
#[test]
fn beyond_the_scope_of_the_source() {
    let mut rig = talkative(|_| ());
    let neighbour: IpAddr = "fe80::c0".parse().unwrap();
    rig.tables.set_neighbour(HOME, neighbour, Some(CN_MAC)).unwrap();
    let packet = codec::ip(neighbour, "2001:db8:77::1".parse().unwrap(), 17, b"x");
    rig.send(HOME, &packet);
    let frame = rig.received_one(HOME);
    let error = icmp(frame.packet());
    assert_eq!((error.kind, error.code, error.to), (1, 2, neighbour));
    assert_eq!((frame.destination(), error.quote), (CN_MAC, packet));
    rig.send(
        HOME,
        &codec::ip("169.254.1.1".parse().unwrap(), "192.0.2.9".parse().unwrap(), 17, b"x"),
    );
    rig.is_silent();
    assert_eq!(rig.drops(), [("link_local_forward", 2)].into());
    rig.finish();
}

/// RFC 4443 s.2.4 (e), RFC 1812 s.4.3.2.7.
#[test]
fn no_error_about_an_error_or_to_nobody() {
    let mut rig = talkative(|config| {
        config.home_prefixes = vec![("2001:db8:eeee::".parse().unwrap(), 64)];
    });
    let nobody: IpAddr = "2001:db8:eeee::5".parse().unwrap();
    let far4: IpAddr = "192.0.2.9".parse().unwrap();
    let mut other_fragment = codec::ip_with(CN4.into(), far4, 17, 1, 0, b"12345678");
    crate::tools::set_flags(&mut other_fragment, 1);
    for packet in [
        codec::ip(CN6.into(), nobody, 58, &[1, 3, 0, 0, 0, 0, 0, 0]),
        codec::ip(CN6.into(), nobody, 58, &[137, 0, 0, 0]),
        codec::ip_with(CN4.into(), far4, 1, 1, 0, &[3, 1, 0, 0, 0, 0, 0, 0]),
        codec::ip_with("240.0.0.1".parse().unwrap(), far4, 17, 1, 0, b"class E"),
        other_fragment,
    ] {
        rig.send(HOME, &packet);
        rig.is_silent();
    }
    assert_eq!(rig.counters().dropped(D::HomeAddressUnbound), 2);
    assert_eq!(rig.counters().sizes.icmp_errors, 0);
    rig.finish();
}

/// R-33, RFC 4443 s.2.4 (f): a peer gets its burst and no more, others are not held up, and what
/// stops is counted all the same.
#[test]
fn errors_are_rate_limited() {
    let mut rig = talkative(|config| config.icmp_errors_per_peer = 10);
    let far = "2001:db8:77::1".parse().unwrap();
    let packet = codec::ip_with(CN6.into(), far, 17, 1, 0, b"x");
    let mut heard = 0;
    for _ in 0..200 {
        rig.send(HOME, &packet);
        heard += rig.received(HOME).len();
    }
    // The test itself takes a part of a second.
    assert!((10..40).contains(&heard), "{heard} errors");
    rig.send(HOME, &codec::ip_with(CN4.into(), "192.0.2.9".parse().unwrap(), 17, 1, 0, b"x"));
    assert_eq!(rig.received(HOME).len(), 1);
    let counters = rig.counters();
    assert_eq!(counters.dropped(D::HopLimit), 201);
    assert_eq!(counters.sizes.icmp_errors, heard as u64 + 1);
    assert_eq!(counters.sizes.icmp_errors_limited, 200 - heard as u64);
    rig.finish();
}

/// A deployment may want none (RFC 4443 s.3.1).
#[test]
fn errors_can_be_switched_off() {
    let mut rig = Rig::with(|config| config.icmp_errors_per_second = 0);
    rig.send(HOME, &codec::ip_with(CN6.into(), "2001:db8:77::1".parse().unwrap(), 17, 1, 0, b"x"));
    rig.is_silent();
    assert_eq!(rig.counters().sizes.icmp_errors_limited, 1);
    rig.finish();
}

/// A burst of refused packets: every one is answered or counted, and no lane grows.
#[test]
fn a_whole_burst_of_refused_packets() {
    let mut rig = talkative(|_| ());
    let mac = rig.mac(HOME);
    let far = "2001:db8:77::1".parse().unwrap();
    for n in 0..300_u16 {
        let packet = codec::ip_with(CN6.into(), far, 17, 1, 0, &n.to_be_bytes());
        rig.inject(HOME, 0, &codec::ethernet(mac, [2; 6], &packet));
    }
    rig.turns();
    let answered = rig.received(HOME);
    assert_eq!(answered.len(), 300);
    for (n, frame) in (0_u16..).zip(&answered) {
        assert_eq!(icmp(frame.packet()).quote[40..], n.to_be_bytes());
    }
    rig.finish();
}

/// The box's own packet to a mobile node: the error goes to the kernel.
#[test]
fn the_kernels_own_packets() {
    let mut rig = talkative(|_| ());
    let mn = rig.attach(MobileNode::usual());
    let packet = codec::ip(HA6.into(), mn.home6.into(), 17, &[1; 1440]);
    let frame = codec::ethernet([2; 6], rig.mac(HOME), &packet);
    rig.control.send_from_host(HOME, &frame).unwrap();
    rig.turns();
    match &rig.events()[..] {
        [Event::Host { frame, .. }] => {
            let error = icmp(&frame[14..]);
            assert_eq!((error.kind, error.rest, error.to), (2, 1406, HA6.into()));
            assert_eq!(error.quote, packet[..1232]);
        }
        events => panic!("{} events", events.len()),
    }
    assert!(rig.received(ACCESS).is_empty());
    rig.finish();
}
