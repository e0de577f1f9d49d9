//! The home link: what is answered in a mobile node's place, who else claims its address, and what
//! control sends and sees there.
//!
//! Read first: RFC 6275 s.9.3.1, 10.4.1, 10.5.1; RFC 3963 s.6.2; RFC 4861 s.7; RFC 5227.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use hearth_dataplane::{Defended, FromWorker, LinkEnds, PortId};
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{
    ACCESS, CN_MAC, CN4, CN6, Event, GATEWAY_MAC, HA6, HOME, MobileNode, Registration, Rig,
};

const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0xbb, 9];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ANYCAST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0xfdff, 0xffff, 0xffff, 0xfffe);

fn icmp6(from: Ipv6Addr, to: Ipv6Addr, hop: u8, mut message: Vec<u8>) -> Vec<u8> {
    let len = [0, 0, 0, message.len() as u8, 0, 0, 0, 58];
    let pseudo = [&from.octets()[..], &to.octets(), &len, &message].concat();
    message[2..4].copy_from_slice(&codec::checksum(&pseudo).to_be_bytes());
    codec::ip_with(from.into(), to.into(), 58, hop, 0, &message)
}

fn group_of(target: Ipv6Addr) -> (Ipv6Addr, [u8; 6]) {
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&target.octets()[13..]);
    (group.into(), [0x33, 0x33, 0xff, group[13], group[14], group[15]])
}

/// A Neighbour Solicitation to the solicited-node group; without a source it looks for duplicates.
fn solicitation(from: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let (group, mac) = group_of(target);
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    if !from.is_unspecified() {
        message.extend([1, 1]);
        message.extend(OTHER_MAC);
    }
    codec::ethernet(mac, OTHER_MAC, &icmp6(from, group, 255, message))
}

/// A Neighbour Advertisement to all nodes.
fn advertisement(target: Ipv6Addr, hop: u8) -> Vec<u8> {
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(target.octets());
    message.extend([2, 1]);
    message.extend(OTHER_MAC);
    codec::ethernet(ALL_NODES_MAC, OTHER_MAC, &icmp6(target, ALL_NODES, hop, message))
}

fn arp(operation: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &OTHER_MAC, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
    frame.extend(OTHER_MAC);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

fn defended(mn: &MobileNode, link_local: Option<Ipv6Addr>, router: bool) -> Registration {
    let defended = Some(Defended { port: HOME, link_local, router });
    Registration { defended, ..mn.binding() }
}

/// The flags of the one advertisement that came out of a port.
fn answered(rig: &mut Rig, port: PortId) -> Option<u8> {
    let frame = rig.received(port).pop()?.0;
    assert_eq!((frame[54], &frame[78..80]), (136, &[2, 1][..]), "an advertisement");
    assert_eq!((&frame[80..], &frame[6..12]), (&rig.mac(port)[..], &rig.mac(port)[..]));
    Some(frame[58])
}

fn ask(rig: &mut Rig, port: PortId, frame: &[u8]) -> Option<u8> {
    rig.inject(port, 0, frame);
    rig.turns();
    answered(rig, port)
}

/// ND-04, ND-06, ND-07, ND-09: on its link, as it was registered, while it is bound, and nowhere
/// else.
#[test]
fn what_is_answered_for_is_what_is_defended() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    let link_local: Ipv6Addr = "fe80::1:1".parse().unwrap();
    for (router, with_link_local) in [(false, false), (false, true), (true, true), (true, false)] {
        let link = with_link_local.then_some(link_local);
        defended(&mn, link, router).bind(&mut rig.tables, &[]).unwrap();
        let flag = if router { 0x80 } else { 0 };
        for target in [mn.home6, link_local] {
            let told = target == mn.home6 || with_link_local;
            let expected = |flags: u8| told.then_some(flags | flag);
            assert_eq!(ask(&mut rig, HOME, &solicitation(CN6, target)), expected(0x60));
            let detection = solicitation(Ipv6Addr::UNSPECIFIED, target);
            assert_eq!(ask(&mut rig, HOME, &detection), expected(0x20));
            assert_eq!(ask(&mut rig, ACCESS, &detection), None, "on another link");
        }
    }
    // Routed, its home prefix is on no link: whatever the routes say, nobody is answered.
    Registration { defended: None, ..mn.binding() }.bind(&mut rig.tables, &[]).unwrap();
    for frame in [
        solicitation(CN6, mn.home6),
        solicitation(Ipv6Addr::UNSPECIFIED, mn.home6),
        solicitation(CN6, link_local),
        arp(1, CN4, mn.home4),
    ] {
        assert_eq!(ask(&mut rig, HOME, &frame), None);
    }
    defended(&mn, Some(link_local), false).bind(&mut rig.tables, &[]).unwrap();
    assert!(rig.tables.unbind(mn.home6));
    for target in [mn.home6, link_local] {
        assert_eq!(ask(&mut rig, HOME, &solicitation(CN6, target)), None);
    }
    assert!(rig.drops().is_empty());
    rig.finish();
}

/// A mobile node that moves to another link, or loses its IPv4 home address, leaves nothing behind.
#[test]
fn what_is_defended_follows_the_binding() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    assert!(ask(&mut rig, HOME, &solicitation(CN6, mn.home6)).is_some());
    let there = Some(Defended { port: ACCESS, link_local: None, router: false });
    Registration { defended: there, ipv4_home_address: None, ..mn.binding() }
        .bind(&mut rig.tables, &[])
        .unwrap();
    assert_eq!(ask(&mut rig, HOME, &solicitation(CN6, mn.home6)), None);
    assert!(ask(&mut rig, ACCESS, &solicitation(CN6, mn.home6)).is_some());
    for port in [HOME, ACCESS] {
        rig.inject(port, 0, &arp(1, CN4, mn.home4));
        rig.turns();
        assert!(rig.received(port).is_empty());
    }
    rig.finish();
}

/// The kernel finds nobody under a mobile node's link-local address, but its own duplicates there.
#[test]
fn the_kernel_and_a_link_local_address() {
    let mut rig = Rig::new();
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    let link_local: Ipv6Addr = "fe80::1:1".parse().unwrap();
    defended(&mn, Some(link_local), false).bind(&mut rig.tables, &[]).unwrap();
    let question = solicitation(HA6, link_local);
    rig.control.send_from_host(HOME, &question).unwrap();
    rig.turns();
    assert_eq!(rig.received_one(HOME).0, question);
    rig.control.send_from_host(HOME, &solicitation(Ipv6Addr::UNSPECIFIED, link_local)).unwrap();
    rig.turns();
    assert!(matches!(&rig.events()[..], [Event::Host { frame, .. }] if frame[54] == 136));
    rig.finish();
}

/// ND-02 while it is away, RFC 5227 s.2.4: control hears who else has a bound address or wants it,
/// once a second for each address; the kernel does not.
#[test]
fn claims_of_bound_addresses() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let probe = arp(1, Ipv4Addr::UNSPECIFIED, mn.home4);
    let cases = [
        (advertisement(mn.home6, 255), IpAddr::from(mn.home6), false, false),
        (solicitation(Ipv6Addr::UNSPECIFIED, mn.home6), mn.home6.into(), true, true),
        (arp(2, mn.home4, CN4), mn.home4.into(), false, false),
        (arp(1, mn.home4, mn.home4), mn.home4.into(), false, true),
        (probe, mn.home4.into(), true, true),
    ];
    for (frame, address, probing, answered) in cases {
        let started = Instant::now();
        // The case before may have had this second.
        while rig.contested.is_empty() && started.elapsed() < Duration::from_secs(10) {
            rig.inject(HOME, 0, &frame);
            rig.turns();
            assert!(rig.events().is_empty(), "the kernel heard of it");
            rig.received(HOME);
        }
        assert_eq!(rig.contested, [(HOME, address, OTHER_MAC, probing)]);
        let told = Instant::now();
        for _ in 0..50 {
            rig.inject(HOME, 0, &frame);
        }
        rig.turns();
        assert!(rig.events().is_empty());
        assert_eq!(rig.received(HOME).len(), if answered { 50 } else { 0 });
        let seconds = usize::try_from(told.elapsed().as_secs()).unwrap();
        assert!(rig.contested.drain(..).count() <= 1 + seconds);
    }
    assert!(rig.drops()["address_contested"] >= 100);
    assert_eq!(rig.drops().len(), 1);
    rig.finish();
}

/// What is said of other addresses, or said wrongly, is the kernel's, and tells nothing.
#[test]
fn what_claims_nothing_of_a_mobile_node() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let mut spoilt = advertisement(mn.home6, 255);
    spoilt[56] ^= 1;
    for frame in [
        advertisement("2001:db8:f::99".parse().unwrap(), 255),
        advertisement(mn.home6, 64),
        spoilt,
        arp(2, Ipv4Addr::new(203, 0, 113, 99), CN4),
        // On its way home it asks for the home agent's address.
        arp(1, mn.home4, CN4),
    ] {
        rig.inject(HOME, 0, &frame);
        rig.turns();
        assert!(matches!(&rig.events()[..], [Event::Host { frame: seen, .. }] if *seen == frame));
    }
    rig.inject(ACCESS, 0, &advertisement(mn.home6, 255));
    rig.turns();
    assert_eq!(rig.events().len(), 1);
    assert_eq!(rig.contested, [(HOME, mn.home4.into(), OTHER_MAC, false)]);
    assert!(rig.drops().is_empty());
    rig.finish();
}

/// Out of a tunnel nothing is said of a link: nobody can make a mobile node's address look taken.
#[test]
fn a_mobile_node_claims_nothing_through_its_tunnel() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let victim = rig.attach(MobileNode::new(2, Suite::NullSha, Scope::SignallingAndData, false));
    for kind in [133, 134, 135, 136, 137] {
        let mut message = vec![kind, 0, 0, 0, 0x20, 0, 0, 0];
        message.extend(victim.home6.octets());
        let inner = icmp6(mn.home6, HA6, 255, message);
        let packet = mn.data(&inner);
        rig.send(ACCESS, &packet);
        rig.is_silent();
    }
    // The kernel would find it behind as many headers as there are.
    let options = [60, 0, 1, 4, 0, 0, 0, 0].repeat(9);
    let mut message = icmp6(
        mn.home6,
        HA6,
        255,
        [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &victim.home6.octets()].concat(),
    );
    let mut payload = options;
    payload[64] = 58;
    payload.extend(message.drain(40..));
    let inner = codec::ip_with(mn.home6.into(), HA6.into(), 60, 255, 0, &payload);
    let packet = mn.data(&inner);
    rig.send(ACCESS, &packet);
    rig.is_silent();
    assert!(rig.contested.is_empty());
    assert_eq!(rig.drops(), [("inner_link_scope", 6)].into());
    rig.finish();
}

/// Control's own frames leave as they are, whatever they ask; its packets go wherever packets of
/// the box go.
#[test]
fn control_sends_frames_and_packets() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    // Of the kernel the same would be answered over its TAP.
    let frame = solicitation(Ipv6Addr::UNSPECIFIED, mn.home6);
    rig.control.send_frame(HOME, &frame).unwrap();
    rig.turns();
    assert_eq!(rig.received_one(HOME).0, frame);
    let packet = codec::ip(HA6.into(), CN6.into(), 58, &[145, 0, 0, 0]);
    rig.control.send_packet(&packet).unwrap();
    rig.turns();
    let sent = rig.received_one(HOME);
    assert_eq!((sent.destination(), sent.packet()), (CN_MAC, &packet[..]));
    let packet = codec::ip(HA6.into(), "2001:db8:77::1".parse().unwrap(), 135, &[59, 0, 7, 0]);
    rig.control.send_packet(&packet).unwrap();
    rig.turns();
    let sent = rig.received_one(ACCESS);
    assert_eq!((sent.destination(), sent.packet()), (GATEWAY_MAC, &packet[..]));
    let packet = codec::ip(HA6.into(), mn.home6.into(), 58, &[128, 0, 0, 0]);
    rig.control.send_packet(&packet).unwrap();
    rig.turns();
    assert_eq!(mn.open(&rig.received_one(ACCESS)).payload, packet);
    rig.control.send_packet(&[0x60, 1, 2]).unwrap();
    rig.control.send_frame(PortId(9), &frame).unwrap();
    rig.turns();
    assert_eq!(rig.drops(), [("ip_header", 1), ("port_unknown", 1)].into());
    rig.finish();
}

/// DRG-04: a mobile node that is at home is answered there while its address is still bound, and
/// others go on sending to it through the tunnel.
#[test]
fn who_is_refused_at_home_is_answered_on_the_link() {
    let mut rig = Rig::new();
    let away = rig.attach(MobileNode::usual());
    let home = MobileNode { remote: SocketAddr::new(away.home6.into(), 5000), ..away.clone() };
    let update = home.sealed(&home.plain(8, 0, 135, &[59; 16]));
    rig.inject(HOME, 0, &codec::ethernet(rig.mac(HOME), OTHER_MAC, &update));
    rig.turns();
    let mut frames = Vec::new();
    rig.control.poll(100, |message| {
        if let FromWorker::Signalling(packet) = message {
            assert_eq!((packet.remote, packet.payload), (home.remote, &[59; 16][..]));
            frames.push(packet.frame);
        }
    });
    let ends = LinkEnds { destination: rig.mac(HOME), source: OTHER_MAC };
    assert_eq!(frames, [Some(ends)]);

    let ends = (home.local, home.remote);
    let answer = |rig: &mut Rig| {
        rig.control.send_signalling_on_link(HOME, home.spi, ends, 135, &[60; 16]).unwrap();
        rig.turns();
    };
    // Its link-layer address is not known: as any other packet to it.
    answer(&mut rig);
    assert_eq!(away.open(&rig.received_one(ACCESS)).next_header, 41);
    rig.tables.set_neighbour(HOME, away.home6.into(), Some(OTHER_MAC)).unwrap();
    answer(&mut rig);
    let sent = rig.received_one(HOME);
    assert_eq!(sent.destination(), OTHER_MAC);
    let opened = home.open(&sent);
    assert_eq!((opened.next_header, &opened.payload[..]), (135, &[60; 16][..]));
    let inner = codec::ip(CN6.into(), away.home6.into(), 17, b"to a mobile node");
    rig.send(HOME, &inner);
    assert_eq!(away.open(&rig.received_one(ACCESS)).payload[40..], inner[40..]);
    rig.finish();
}

/// DHD-01: requests go to control; the anycast address is found on its link, and others may have it
/// too (RFC 4861 s.7.2.4).
#[test]
fn discovery_requests_go_to_control() {
    let mut rig = Rig::new();
    rig.tables.set_anycast(&[(HOME, ANYCAST)]);
    rig.tables.set_local_addresses(&[HA6.into(), ANYCAST.into()]).unwrap();
    assert_eq!(ask(&mut rig, HOME, &solicitation(CN6, ANYCAST)), Some(0xc0));
    assert_eq!(ask(&mut rig, HOME, &solicitation(Ipv6Addr::UNSPECIFIED, ANYCAST)), None);
    rig.events();
    let away: Ipv6Addr = "2001:db8:100::77".parse().unwrap();
    let request = icmp6(away, ANYCAST, 64, vec![144, 0, 0, 0, 0xab, 0xcd, 0, 0]);
    for port in [ACCESS, HOME] {
        rig.send(port, &request);
        assert!(matches!(&rig.events()[..], [Event::HomeAgentDiscovery(seen)] if *seen == request));
    }
    for other in [
        icmp6(away, ANYCAST, 64, vec![128, 0, 0, 0, 0, 1, 0, 1]),
        codec::ip(away.into(), ANYCAST.into(), 6, &[0; 20]),
    ] {
        rig.send(ACCESS, &other);
        rig.is_silent();
    }
    assert_eq!(rig.drops(), [("anycast_other", 2)].into());
    rig.tables.set_anycast(&[]);
    assert_eq!(ask(&mut rig, HOME, &solicitation(CN6, ANYCAST)), None);
    rig.finish();
}

/// TUN-15: of a Home Address option without a binding control hears, not often; the kernel sees no
/// packet with one.
#[test]
fn plain_packets_with_a_home_address() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let IpAddr::V6(care_of) = mn.remote.ip() else { panic!() };
    let stranger: Ipv6Addr = "2001:db8:100::99".parse().unwrap();
    let with = |from: Ipv6Addr, to: Ipv6Addr, home: Ipv6Addr, next: u8| {
        let option = [&[next, 2, 1, 2, 0, 0, 0xc9, 16][..], &home.octets()].concat();
        let payload = [&option[..], &[128, 0, 0, 0, 0, 0, 0, 0]].concat();
        codec::ip(from.into(), to.into(), 60, &payload)
    };
    rig.tables.set_local_addresses(&[HA6.into(), "2001:db8:a::2".parse().unwrap()]).unwrap();
    let other_home: Ipv6Addr = "2001:db8:f::55".parse().unwrap();
    for (from, home) in [(stranger, other_home), (stranger, mn.home6), (care_of, other_home)] {
        for to in [HA6, "2001:db8:a::2".parse().unwrap()] {
            rig.send(ACCESS, &with(from, to, home, 58));
            assert!(matches!(
                rig.events()[..],
                [Event::PlainHomeAddress { from: f, to: t, home_address }]
                    if (f, t, home_address) == (from, to, home)
            ));
        }
    }
    assert!(rig.drops().is_empty());
    // Bound, but not out of the tunnel: nobody can tell who it was.
    rig.send(ACCESS, &with(care_of, HA6, mn.home6, 58));
    rig.is_silent();
    assert_eq!(rig.drops(), [("plain_home_address", 1)].into());
    // A Binding Update is the exception of RFC 6275 s.9.3.1, and goes the way of all others that
    // come unprotected.
    rig.send(ACCESS, &with(stranger, HA6, other_home, 135));
    assert!(matches!(rig.events()[..], [Event::Host { .. }]));
    // A flood.
    for _ in 0..100 {
        rig.inject(
            ACCESS,
            0,
            &codec::ethernet(rig.mac(ACCESS), [2; 6], &with(stranger, HA6, other_home, 58)),
        );
    }
    rig.turns();
    assert!(rig.events().len() <= 5);
    assert!(rig.drops()["plain_home_address"] >= 95);
    rig.finish();
}

/// ND-08: ten thousand mobile nodes on a link and a storm of questions for all of them: every one
/// is answered, and control hears nothing.
#[test]
fn a_storm_of_questions_does_not_reach_control() {
    const NODES: u16 = 10_000;
    let mut rig = Rig::with(|config| {
        config.max_sas = u32::from(NODES) + 1;
        config.max_bindings = NODES.into();
    });
    let usual = MobileNode::usual();
    rig.insert_sa(&usual);
    let home = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 2, n);
    for n in 0..NODES {
        Registration { home_address: home(n), ipv4_home_address: None, ..usual.binding() }
            .bind(&mut rig.tables, &[])
            .unwrap();
    }
    let frames: Vec<_> = (0..NODES).map(|n| solicitation(CN6, home(n))).collect();
    let started = Instant::now();
    for round in 0..10 {
        for burst in frames.chunks(256) {
            for frame in burst {
                rig.inject(HOME, 0, frame);
            }
            rig.turns();
            let answers = rig.received(HOME);
            assert_eq!(answers.len(), burst.len(), "round {round}");
        }
    }
    let (asked, took) = (10 * u64::from(NODES), started.elapsed());
    assert_eq!(rig.counters().neighbour_answers, asked);
    assert!(rig.events().is_empty() && rig.contested.is_empty() && rig.drops().is_empty());
    // With the test's own work around each frame; 100,000 a second is what the link may ask.
    println!("{asked} questions in {took:?}");
    rig.finish();
}
