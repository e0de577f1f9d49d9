//! RFC 4861 s.7.2.2, RFC 1812 s.5.2.7.1, R-33: a next hop that never answers, and who is told.

use std::net::IpAddr;

use hearth_dataplane::{DropReason as D, PortId};
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{
    ACCESS, CN_MAC, CN4, CN6, Event, GATEWAY4, GATEWAY6, HA4, HA6, HOME, MobileNode, Rig,
};
use crate::tools::{Icmp, icmp, one_hop_less, talkative, to_mobile, told};

/// Gives back everything that waits for a next hop, as not to be found; returns how many.
fn give_up(rig: &mut Rig) -> usize {
    let mut count = 0;
    for event in rig.events() {
        let Event::Unresolved { port, packet, .. } = event else { panic!("something else waits") };
        rig.control.unreachable(port, packet).unwrap();
        count += 1;
    }
    rig.turns();
    count
}

/// Sends a packet whose next hop does not answer.
fn in_vain(rig: &mut Rig, port: PortId, packet: &[u8]) {
    rig.send(port, packet);
    assert_eq!(give_up(rig), 1);
}

fn no_gateways(rig: &mut Rig) {
    for gateway in [GATEWAY6.into(), GATEWAY4.into()] {
        rig.tables.set_neighbour(ACCESS, gateway, None).unwrap();
    }
}

fn heard(rig: &mut Rig, port: PortId) -> Icmp {
    icmp(rig.received_one(port).packet())
}

#[test]
fn a_sender_on_the_wire_is_told() {
    let mut rig = talkative(|_| ());
    let nobody6: IpAddr = "2001:db8:f::77".parse().unwrap();
    let nobody4: IpAddr = "203.0.113.77".parse().unwrap();
    for (from, to, own, kind, code) in [
        ("2001:db8:77::1".parse().unwrap(), nobody6, IpAddr::from(HA6), 1, 3),
        ("192.0.2.9".parse().unwrap(), nobody4, HA4.into(), 3, 1),
    ] {
        let packet = codec::ip(from, to, 17, b"anybody there?");
        in_vain(&mut rig, ACCESS, &packet);
        let error = heard(&mut rig, ACCESS);
        assert_eq!((error.from, error.to), (own, from));
        assert_eq!((error.kind, error.code, error.rest), (kind, code, 0));
        assert_eq!(error.quote, one_hop_less(&packet));
    }
    assert_eq!(rig.drops(), [("neighbour_unresolved", 2)].into());
    assert_eq!(rig.counters().sizes.icmp_errors, 2);
    rig.finish();
}

/// to a mobile node of either scope it goes as data, through its own tunnel.
#[test]
fn a_mobile_node_is_told_through_its_tunnel() {
    let mut rig = talkative(|config| config.workers = 2);
    for (n, scope) in [(1, Scope::SignallingAndData), (2, Scope::Signalling)] {
        let mut mn = rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, scope, n == 1));
        for (from, to, kind, code) in [
            (IpAddr::from(mn.home6), "2001:db8:f::77".parse().unwrap(), 1, 3),
            (mn.home4.into(), "203.0.113.77".parse().unwrap(), 3, 1),
        ] {
            let inner = codec::ip(from, to, 17, b"anybody there?");
            let protected = scope == Scope::SignallingAndData;
            let packet = if protected { mn.data(&inner) } else { mn.clear(&inner) };
            in_vain(&mut rig, ACCESS, &packet);
            let error = if protected {
                told(&mut rig, &mn, ACCESS)
            } else {
                icmp(&codec::Datagram::read(rig.received_one(ACCESS).packet()).content[8..])
            };
            assert_eq!((error.to, error.kind, error.code), (from, kind, code));
            assert_eq!(error.quote, one_hop_less(&inner));
        }
    }
    assert_eq!(rig.drops(), [("neighbour_unresolved", 4)].into());
    rig.finish();
}

/// RFC 2473 s.8: the outer packet is the home agent's own, so the inner sender is told; of what
/// it sent, and nothing of the outer packet.
#[test]
fn who_sent_into_a_tunnel_without_a_next_hop_is_told() {
    let mut rig = talkative(|_| ());
    no_gateways(&mut rig);
    let mut n = 0;
    for suite in Suite::known() {
        for (scope, outer6) in [
            (Scope::SignallingAndData, true),
            (Scope::SignallingAndData, false),
            (Scope::Signalling, true),
        ] {
            n += 1;
            let mn = rig.attach(MobileNode::new(n, suite, scope, outer6));
            for (v6, len) in [(true, 60), (true, 700), (false, 60), (false, 700)] {
                let inner = to_mobile(&mn, v6, false, len);
                in_vain(&mut rig, HOME, &inner);
                let error = heard(&mut rig, HOME);
                let expected: (IpAddr, IpAddr, u8, u8) = if v6 {
                    (HA6.into(), CN6.into(), 1, 3)
                } else {
                    (HA4.into(), CN4.into(), 3, 1)
                };
                assert_eq!((error.from, error.to, error.kind, error.code), expected);
                let sent = one_hop_less(&inner);
                // 3DES is read for its headers alone.
                let least = if suite == Suite::TripleDesEdeCbcSha { 48 } else { 548 };
                let least = sent.len().min(least);
                assert!(error.quote.len() >= least, "{suite}: {} octets", error.quote.len());
                assert_eq!(error.quote, sent[..error.quote.len()], "{suite}");
            }
        }
    }
    assert_eq!(rig.drops(), [("neighbour_unresolved", u64::from(n) * 4)].into());
    rig.finish();
}

/// The first fragment of an outer packet says whose it was, the others are counted and no more.
#[test]
fn fragments_of_an_outer_packet() {
    let mut rig = talkative(|config| config.path_mtu = 1280);
    no_gateways(&mut rig);
    let mn = rig.attach(MobileNode::usual());
    let inner = to_mobile(&mn, true, false, 1280);
    rig.send(HOME, &inner);
    assert_eq!(give_up(&mut rig), 2);
    let error = heard(&mut rig, HOME);
    assert_eq!((error.kind, error.code, error.to), (1, 3, CN6.into()));
    assert_eq!(error.quote, one_hop_less(&inner)[..error.quote.len()]);
    assert_eq!(rig.drops(), [("neighbour_unresolved", 2)].into());
    rig.finish();
}

/// Signalling has nobody to be told, and about an error there is none.
#[test]
fn nobody_is_told_of_signalling_or_of_an_error() {
    let mut rig = talkative(|_| ());
    let mn = rig.attach(MobileNode::usual());
    no_gateways(&mut rig);
    rig.control.send_signalling(mn.spi, mn.local, mn.remote, 43, &[0; 24]).unwrap();
    rig.turns();
    assert_eq!(give_up(&mut rig), 1);
    let far = "2001:db8:77::1".parse().unwrap();
    in_vain(&mut rig, HOME, &codec::ip(CN6.into(), far, 58, &[1, 3, 0, 0, 0, 0, 0, 0]));
    // The error about this one has no next hop either; about it there is none.
    let from = "2001:db8:77::2".parse().unwrap();
    in_vain(&mut rig, HOME, &codec::ip(from, far, 17, b"x"));
    assert_eq!(give_up(&mut rig), 1);
    rig.is_silent();
    assert_eq!(rig.drops(), [("neighbour_unresolved", 4)].into());
    assert_eq!(rig.counters().sizes.icmp_errors, 1);
    rig.finish();
}

/// RFC 4443 s.2.4 (f), R-33: within the limits of all errors; what stops is counted all the same.
#[test]
fn errors_about_unresolved_next_hops_are_rate_limited() {
    let mut rig = talkative(|config| config.icmp_errors_per_peer = 10);
    let nobody: IpAddr = "2001:db8:f::77".parse().unwrap();
    for _ in 0..100 {
        rig.send(HOME, &codec::ip(CN6.into(), nobody, 17, b"x"));
    }
    assert_eq!(give_up(&mut rig), 100);
    let heard = rig.received(HOME).len();
    assert!((10..20).contains(&heard), "{heard} errors");
    assert_eq!(rig.counters().dropped(D::NeighbourUnresolved), 100);
    assert_eq!(rig.counters().sizes.icmp_errors_limited, 100 - heard as u64);
    rig.finish();
}

/// The box's own packet to a mobile node: the error goes to the kernel.
#[test]
fn the_kernel_is_told_of_its_own_packets() {
    let mut rig = talkative(|_| ());
    let mn = rig.attach(MobileNode::usual());
    no_gateways(&mut rig);
    let packet = codec::ip(HA6.into(), mn.home6.into(), 17, b"from the box");
    let frame = codec::ethernet(CN_MAC, rig.mac(HOME), &packet);
    rig.control.send_from_host(HOME, &frame).unwrap();
    rig.turns();
    assert_eq!(give_up(&mut rig), 1);
    match &rig.events()[..] {
        [Event::Host { frame, .. }] => {
            let error = icmp(&frame[14..]);
            assert_eq!((error.kind, error.code, error.to), (1, 3, HA6.into()));
            assert_eq!(error.quote, packet);
        }
        events => panic!("{} events", events.len()),
    }
    rig.finish();
}
