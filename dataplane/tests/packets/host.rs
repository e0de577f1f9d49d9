//! The host path: what is the kernel's, and what the kernel sends.

use std::net::{IpAddr, Ipv6Addr};

use hearth_dataplane::PortId;
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{ACCESS, CN4, CN6, Event, HA4, HA6, HOME, MobileNode, Rig};

const BROADCAST: [u8; 6] = [0xff; 6];
const ASKER_MAC: [u8; 6] = [2, 0, 0, 0, 0xbb, 7];

fn host_frame(rig: &mut Rig) -> (PortId, Vec<u8>) {
    match rig.events().pop() {
        Some(Event::Host { port, frame }) => (port, frame),
        _ => panic!("a frame for the host; {:?}", rig.drops()),
    }
}

fn arp_request(target: [u8; 4]) -> Vec<u8> {
    let mut frame = [&BROADCAST[..], &ASKER_MAC, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    frame.extend(ASKER_MAC);
    frame.extend(CN4.octets());
    frame.extend([0; 6]);
    frame.extend(target);
    frame.extend([0; 18]);
    frame
}

fn solicitation(target: Ipv6Addr) -> Vec<u8> {
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&target.octets()[13..]);
    let mac = [0x33, 0x33, 0xff, group[13], group[14], group[15]];
    let option = [&[1, 1][..], &ASKER_MAC].concat();
    codec::ethernet(mac, ASKER_MAC, &solicit(CN6, group.into(), target, &option))
}

/// A Neighbour Solicitation (RFC 4861 s.4.3).
fn solicit(from: Ipv6Addr, to: Ipv6Addr, target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend(options);
    let len = [0, 0, 0, message.len() as u8, 0, 0, 0, 58];
    let pseudo = [&from.octets()[..], &to.octets(), &len, &message].concat();
    message[2..4].copy_from_slice(&codec::checksum(&pseudo).to_be_bytes());
    codec::ip_with(from.into(), to.into(), 58, 255, 0, &message)
}

#[test]
fn arp_nd_multicast_and_other_ethertypes_are_the_kernels() {
    let mut rig = Rig::new();
    let to_group = codec::ethernet(
        [0x33, 0x33, 0, 0, 0, 1],
        ASKER_MAC,
        &codec::ip("fe80::1".parse().unwrap(), "ff02::1".parse().unwrap(), 58, &[134, 0, 0, 0]),
    );
    let to_link_local = codec::ethernet(
        rig.mac(HOME),
        ASKER_MAC,
        &codec::ip("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap(), 58, &[136, 0, 0, 0]),
    );
    let lldp = [&[1, 0x80, 0xc2, 0, 0, 0x0e][..], &ASKER_MAC, &[0x88, 0xcc], &[0; 46]].concat();
    for frame in [
        arp_request(HA4.octets()),
        solicitation(HA6),
        solicitation("2001:db8:f::99".parse().unwrap()),
        to_group,
        to_link_local,
        lldp,
    ] {
        rig.inject(HOME, 0, &frame);
        rig.turns();
        assert_eq!(host_frame(&mut rig), (HOME, frame));
    }
    assert!(rig.received(HOME).is_empty() && rig.drops().is_empty());
    rig.finish();
}

/// RFC 6275 s.10.4.1: the home agent answers for bound home addresses, on their home link.
#[test]
fn questions_for_bound_home_addresses_are_answered() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let own = rig.mac(HOME);
    rig.inject(HOME, 0, &arp_request(mn.home4.octets()));
    rig.turns();
    let reply = rig.received_one(HOME).0;
    assert_eq!(reply[..22], [&ASKER_MAC[..], &own, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat());
    assert_eq!(reply[22..32], [&own[..], &mn.home4.octets()].concat());

    rig.inject(HOME, 0, &solicitation(mn.home6));
    rig.turns();
    let reply = rig.received_one(HOME).0;
    assert_eq!(reply[..12], [ASKER_MAC, own].concat());
    assert_eq!((reply[54], reply[58]), (136, 0x60));
    assert_eq!(reply[62..78], mn.home6.octets());
    assert_eq!(reply[78..], [&[2, 1][..], &own].concat());
    let pseudo = [&reply[22..54], &[0, 0, 0, 32, 0, 0, 0, 58], &reply[54..]].concat();
    assert_eq!(codec::checksum(&pseudo), 0);

    // The kernel asks too, and is answered over its TAP.
    for question in [arp_request(mn.home4.octets()), solicitation(mn.home6)] {
        rig.control.send_from_host(HOME, &question).unwrap();
        rig.turns();
        let (port, reply) = host_frame(&mut rig);
        let away = *b"\x02heart";
        assert_eq!((port, &reply[..12]), (HOME, &[ASKER_MAC, away].concat()[..]));
    }
    // Not on another link.
    rig.inject(ACCESS, 0, &arp_request(mn.home4.octets()));
    rig.turns();
    assert_eq!(host_frame(&mut rig).0, ACCESS);
    assert_eq!(rig.counters().neighbour_answers, 4);
    assert!(rig.received(ACCESS).is_empty());
    // Not when it is unbound.
    rig.tables.unbind(mn.home6);
    rig.inject(HOME, 0, &solicitation(mn.home6));
    rig.turns();
    assert_eq!(host_frame(&mut rig).0, HOME);
    rig.finish();
}

/// RFC 4861 s.7.3.3: whoever has the answer asks again from time to time, and asks the address
/// itself; the kernel as well as a host on the link.
#[test]
fn probes_of_bound_home_addresses_are_answered() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    for option in [&[][..], &[&[1, 1][..], &ASKER_MAC].concat()] {
        let probe = solicit(CN6, mn.home6, mn.home6, option);
        let frame = codec::ethernet(*b"\x02heart", ASKER_MAC, &probe);
        rig.control.send_from_host(HOME, &frame).unwrap();
        rig.turns();
        let (port, answer) = host_frame(&mut rig);
        assert_eq!((port, &answer[..6], answer[54]), (HOME, &ASKER_MAC[..], 136));
        assert_eq!(answer[78..], *b"\x02\x01\x02heart");

        rig.inject(HOME, 0, &codec::ethernet(rig.mac(HOME), ASKER_MAC, &probe));
        rig.turns();
        assert_eq!(rig.received_one(HOME).0[54], 136);
    }
    assert!(rig.received(ACCESS).is_empty() && rig.drops().is_empty());
    assert_eq!(rig.counters().neighbour_answers, 4);
    // What asks for another address by way of this one is a packet like any other.
    let odd = solicit(CN6, mn.home6, CN6, &[]);
    rig.control.send_from_host(HOME, &codec::ethernet([2; 6], ASKER_MAC, &odd)).unwrap();
    rig.turns();
    assert_eq!(mn.open(&rig.received_one(ACCESS)).payload, odd);
    rig.finish();
}

/// RFC 4861 s.7.1.1, RFC 7527 s.4.1: a host that looks for duplicates, with a nonce as Linux does,
/// hears that a bound home address is taken.
#[test]
fn duplicate_address_detection_finds_bound_home_addresses() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let group: Ipv6Addr = "ff02::1:ff01:1".parse().unwrap();
    assert_eq!(mn.home6.octets()[13..], group.octets()[13..]);
    let mac = [0x33, 0x33, 0xff, 1, 0, 1];
    for (options, answered) in [
        (&[][..], true),
        (&[14, 1, 1, 2, 3, 4, 5, 6], true),
        (&[14, 1, 1, 2, 3, 4, 5, 6, 200, 1, 0, 0, 0, 0, 0, 0], true),
        (&[1, 1, 2, 0, 0, 0, 0xbb, 7], false),
        (&[14, 1, 1, 2, 3, 4, 5, 6, 1, 1, 2, 0, 0, 0, 0xbb, 7], false),
    ] {
        let detection = solicit(Ipv6Addr::UNSPECIFIED, group, mn.home6, options);
        let frame = codec::ethernet(mac, ASKER_MAC, &detection);
        rig.inject(HOME, 0, &frame);
        rig.turns();
        if answered {
            let answer = rig.received_one(HOME).0;
            assert_eq!(answer[..6], [0x33, 0x33, 0, 0, 0, 1]);
            assert_eq!((answer[54], answer[58] & 0xc0), (136, 0));
            assert_eq!(answer[62..78], mn.home6.octets());
        } else {
            assert_eq!(host_frame(&mut rig), (HOME, frame));
        }
    }
    rig.finish();
}

/// The kernel pings a mobile node: tunnelled, and no hop is counted.
#[test]
fn the_kernels_packets_to_a_home_address_are_tunnelled() {
    let mut rig = Rig::new();
    for (n, scope) in [(1, Scope::SignallingAndData), (2, Scope::Signalling)] {
        let mn = rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, scope, true));
        for (from, to) in
            [(IpAddr::from(HA6), IpAddr::from(mn.home6)), (HA4.into(), mn.home4.into())]
        {
            let ping = codec::ip(from, to, 58, &[128, 0, 0, 0]);
            let frame = codec::ethernet(rig.mac(HOME), [2; 6], &ping);
            rig.control.send_from_host(HOME, &frame).unwrap();
            rig.turns();
            let sent = rig.received_one(ACCESS);
            let payload = match scope {
                Scope::SignallingAndData => mn.open(&sent).payload,
                Scope::Signalling => codec::Datagram::read(sent.packet()).content[8..].to_vec(),
            };
            assert_eq!(payload, ping);
        }
    }
    assert!(rig.events().is_empty());
    rig.finish();
}

#[test]
fn everything_else_of_the_kernels_leaves_as_it_is() {
    let mut rig = Rig::new();
    for (port, frame) in [
        (
            ACCESS,
            codec::ethernet(
                [2, 3, 4, 5, 6, 7],
                [2; 6],
                &codec::ip(HA6.into(), CN6.into(), 6, &[0; 20]),
            ),
        ),
        (HOME, arp_request([203, 0, 113, 9])),
        (HOME, solicitation("2001:db8:f::99".parse().unwrap())),
        (HOME, [&BROADCAST[..], &[2; 6], &[0x88, 0xcc], &[0; 46]].concat()),
    ] {
        rig.control.send_from_host(port, &frame).unwrap();
        rig.turns();
        assert_eq!(rig.received_one(port).0, frame);
    }
    // A frame for a port that does not exist, and one that is none.
    rig.control.send_from_host(PortId(9), &arp_request([203, 0, 113, 9])).unwrap();
    rig.control.send_from_host(HOME, &[1, 2, 3]).unwrap();
    rig.turns();
    assert_eq!(rig.drops(), [("ethernet_short", 1), ("port_unknown", 1)].into());
    assert_eq!(rig.counters().from_host.packets, 6);
    rig.finish();
}

/// A mobile node pings the home agent: the kernel sees it on the port of the node's home link.
#[test]
fn a_mobile_node_talks_to_the_box_itself() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    for (from, to) in [(IpAddr::from(mn.home6), IpAddr::from(HA6)), (mn.home4.into(), HA4.into())] {
        let ping = codec::ip(from, to, 58, &[128, 0, 0, 0]);
        let packet = mn.data(&ping);
        rig.send(ACCESS, &packet);
        let (port, frame) = host_frame(&mut rig);
        assert_eq!(port, HOME);
        assert_eq!(frame[..6], rig.mac(HOME));
        assert_eq!(frame[14..], ping);
    }
    rig.finish();
}

/// Rings that nobody empties: packets are dropped and counted, and signalling has a way of its
/// own.
#[test]
fn a_control_thread_that_does_not_keep_up() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let arp = arp_request(HA4.octets());
    for _ in 0..1100 {
        rig.inject(HOME, 0, &arp);
        rig.turns();
    }
    assert!(rig.drops()["host_ring_full"] > 0);
    let packet = mn.sealed(&mn.plain(8, 0, 135, &[59; 8]));
    mn.seq = 1;
    rig.send(ACCESS, &packet);
    let before = rig.drops();
    assert!(!before.contains_key("signalling_ring_full"));
    let events = rig.events();
    assert!(matches!(events[0], Event::Signalling { .. }), "signalling comes first");
    let host = events.len() as u64 - 1;
    assert_eq!(host + before["host_ring_full"], 1100);
    // And signalling that nobody takes.
    for _ in 0..1100 {
        let packet = mn.sealed(&mn.plain(8, mn.seq, 135, &[59; 8]));
        mn.seq += 1;
        rig.send(ACCESS, &packet);
    }
    let dropped = rig.drops()["signalling_ring_full"];
    assert!(dropped > 0);
    // Both rings hold more than one poll takes.
    assert_eq!(rig.events().len() as u64 + rig.events().len() as u64 + dropped, 1100);
    rig.finish();
}
