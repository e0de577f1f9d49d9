//! Mobile nodes behind mobile routers (NEM-11, NEM-12; RFC 3963 s.6.4, 6.5).
//!
//! ```text
//!   MN, care-of address in the network of ---> MR, care-of address ---> gateway === port 0
//! ```

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hearth_dataplane::DropReason as D;
use hearth_wire::{Scope, Suite};

use crate::codec::{self, Datagram, Opened};
use crate::networks::{host4, host6, network6, router, with};
use crate::rig::{ACCESS, CN6, Event, HA4, HA6, HOME, MobileNode, Rig, SERVICE_PORT};

/// A mobile node at this address of a network.
fn guest(n: u8, at: IpAddr, scope: Scope) -> MobileNode {
    let mut mn = MobileNode::new(n, Suite::Aes128CbcSha256, scope, at.is_ipv6());
    mn.remote = SocketAddr::new(at, 4000);
    let local: IpAddr = if at.is_ipv6() { HA6.into() } else { HA4.into() };
    mn.local = SocketAddr::new(local, SERVICE_PORT);
    mn
}

/// Opens an outer packet to this mobile node.
fn opened(mn: &MobileNode, packet: &[u8]) -> Opened {
    let datagram = Datagram::read(packet);
    assert_eq!((datagram.from, datagram.to, datagram.hop_limit), (mn.local, mn.remote, 64));
    codec::open(mn.suite, &mn.down, &datagram.content)
}

/// Through both tunnels and both ways, over both families.
#[test]
fn through_two_tunnels() {
    let mut rig = Rig::new();
    let mut mr = router(&mut rig, 1);
    let nodes = [(3, host6(1).into()), (4, IpAddr::from(host4(1)))];
    for (n, at) in nodes {
        let mut mn = rig.attach(guest(n, at, Scope::SignallingAndData));
        for round in 0..3 {
            let up = mr.data(&mn.data(&mn.inner6()));
            rig.send(ACCESS, &up);
            let frame = rig.received_one(HOME);
            assert_eq!((frame.packet()[7], frame.packet().len()), (63, mn.inner6().len()));
            let inner = codec::ip_with(CN6.into(), mn.home6.into(), 17, 9, 0x2e, &[round; 300]);
            rig.send(HOME, &inner);
            let outer = mr.open(&rig.received_one(ACCESS));
            assert_eq!(outer.next_header, if at.is_ipv6() { 41 } else { 4 });
            let inner = opened(&mn, &outer.payload);
            assert_eq!((inner.payload[7], inner.payload.len()), (8, 340));
        }
    }
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    rig.finish();
}

/// All packet types of the mobile node in the tunnel of the mobile router, with the care-of address
/// that it has there (R-36).
#[test]
fn envelopes_of_all_types() {
    let mut rig = Rig::new();
    let mut mr = router(&mut rig, 1);
    let mn = rig.attach(guest(3, host6(1).into(), Scope::Signalling));
    let update = mr.data(&mn.sealed(&mn.plain(8, 0, 60, &[59; 16])));
    rig.send(ACCESS, &update);
    match &rig.events()[..] {
        [Event::Signalling { spi, remote, local, next_header: 60, payload }] => {
            assert_eq!((*spi, *remote, *local), (mn.spi.get(), mn.remote, mn.local));
            assert_eq!(payload[..], [59; 16]);
        }
        other => panic!("{} events; {:?}", other.len(), rig.drops()),
    }
    let clear = mr.data(&mn.clear(&mn.inner6()));
    rig.send(ACCESS, &clear);
    rig.received_one(HOME);
    // What is wrong with it inside is wrong as it is outside.
    let mut corrupt = mn.sealed(&mn.plain(8, 1, 60, &[59; 16]));
    corrupt[46] ^= 1;
    let stray = codec::ip(host6(1).into(), HA6.into(), 135, &[59, 1, 5, 0, 0, 0, 0, 0]);
    let short = codec::udp_packet(mn.remote, mn.local, &[0x10, 0, 0]);
    let odd = codec::udp_packet(mn.remote, mn.local, &[0x70; 20]);
    for (inner, reason) in [
        (corrupt, D::UdpChecksum),
        (stray, D::EmbeddedMobilityHeader),
        (short, D::FrameShort),
        (odd, D::PtypeUnregistered),
    ] {
        let before = rig.counters();
        let packet = mr.data(&inner);
        rig.send(ACCESS, &packet);
        assert_eq!(rig.counters().dropped(reason), before.dropped(reason) + 1, "{:?}", rig.drops());
        assert_eq!(rig.counters().dropped_total(), before.dropped_total() + 1);
        rig.is_silent();
    }
    // A mobile router's own envelopes do not come by its own tunnel.
    let own = mr.inner6();
    let own = codec::udp_packet(SocketAddr::new(mr.home6.into(), 4000), mn.local, &own);
    let packet = mr.data(&own);
    rig.send(ACCESS, &packet);
    assert_eq!(rig.drops().get("embedded_envelope"), Some(&1));
    // A ping to the home agent is the kernel's, as ever.
    let ping = codec::ip(host6(1).into(), HA6.into(), 58, &[128, 0, 0, 0, 0, 0, 0, 0]);
    let packet = mr.data(&ping);
    rig.send(ACCESS, &packet);
    assert!(matches!(&rig.events()[..], [Event::Host { frame, .. }] if frame[14..] == ping));
    // Signalling from the home agent goes the same way down.
    rig.control.send_signalling(mn.spi, mn.local, mn.remote, 43, &[7; 24]).unwrap();
    rig.turns();
    let outer = mr.open(&rig.received_one(ACCESS));
    let answer = opened(&mn, &outer.payload);
    assert_eq!((answer.ptype, &answer.payload[..]), (8, &[7; 24][..]));
    // So does data in the clear.
    rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, b"in the clear"));
    let outer = mr.open(&rig.received_one(ACCESS));
    assert_eq!(Datagram::read(&outer.payload).content[..8], [0; 8]);
    rig.finish();
}

/// Mobile routers, each in the network of the one before; the last ones are deep inside.
fn chain(rig: &mut Rig, count: u8) -> Vec<MobileNode> {
    let mut routers = vec![router(rig, 1)];
    for n in 2..=count {
        let mr = guest(n, host6(n - 1).into(), Scope::SignallingAndData);
        rig.insert_sa(&mr);
        with(&mr, &[network6(n)]).bind(&mut rig.tables, &[]).unwrap();
        routers.push(mr);
    }
    routers
}

/// Three mobile routers behind each other, and a mobile node behind the last; not four.
#[test]
fn three_deep_and_no_deeper() {
    for workers in [1, 2] {
        let mut rig = Rig::sized(3000, 4096, |config| {
            config.workers = workers;
            config.path_mtu = 3000;
        });
        let mut nodes = chain(&mut rig, 4);
        for (depth, n) in (0..).zip(1..=4_u8) {
            // Up: the packet of a host in network n.
            let mut packet = codec::ip(host6(n).into(), CN6.into(), 17, b"from deep inside");
            for mr in nodes[..usize::from(n)].iter_mut().rev() {
                packet = mr.data(&packet);
            }
            rig.send(ACCESS, &packet);
            assert_eq!(rig.received_one(HOME).packet()[7], 63, "{depth}");
            // Down: to it.
            rig.send(HOME, &codec::ip(CN6.into(), host6(n).into(), 17, b"to deep inside"));
            let mut payload = nodes[0].open(&rig.received_one(ACCESS)).payload;
            for mr in &nodes[1..usize::from(n)] {
                payload = opened(mr, &payload).payload;
            }
            assert_eq!(payload[7], 63, "{depth}");
        }
        let mut mn = rig.attach(guest(5, host6(4).into(), Scope::SignallingAndData));
        let mut packet = mn.data(&mn.inner6());
        for mr in nodes.iter_mut().rev() {
            packet = mr.data(&packet);
        }
        rig.send(ACCESS, &packet);
        assert_eq!(rig.drops(), [("nested_too_deep", 1)].into());
        rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, b"too deep"));
        assert_eq!(rig.drops(), [("nested_too_deep", 2)].into());
        rig.is_silent();
        rig.finish();
    }
}

/// Two mobile routers, each in the other's network: no packet goes round for ever.
#[test]
fn a_circle() {
    let mut rig = Rig::new();
    let a = guest(1, host6(2).into(), Scope::SignallingAndData);
    let b = guest(2, host6(1).into(), Scope::SignallingAndData);
    for (mr, n) in [(&a, 1), (&b, 2)] {
        rig.insert_sa(mr);
        with(mr, &[network6(n)]).bind(&mut rig.tables, &[]).unwrap();
    }
    rig.send(HOME, &codec::ip(CN6.into(), host6(1).into(), 17, b"round and round"));
    assert_eq!(rig.drops(), [("nested_too_deep", 1)].into());
    rig.is_silent();
    rig.finish();
}

/// Where a care-of address lies is asked anew when a mobile router comes and when it goes.
#[test]
fn the_mobile_router_comes_and_goes() {
    let mut rig = Rig::new();
    let mn = rig.attach(guest(3, host6(1).into(), Scope::SignallingAndData));
    let inner = codec::ip(CN6.into(), mn.home6.into(), 17, b"x");
    let mut mr = MobileNode::usual();
    rig.insert_sa(&mr);
    for round in 0..4_u16 {
        // No mobile router: by the route, and twice, so that the way is remembered.
        for _ in 0..2 {
            rig.send(HOME, &inner);
            opened(&mn, rig.received_one(ACCESS).packet());
        }
        mr.remote.set_port(5000 + round);
        with(&mr, &[network6(1)]).bind(&mut rig.tables, &[]).unwrap();
        for port in [6000, 6001] {
            rig.send(HOME, &inner);
            opened(&mn, &mr.open(&rig.received_one(ACCESS)).payload);
            mr.remote.set_port(port + round);
            with(&mr, &[network6(1)]).bind(&mut rig.tables, &[]).unwrap();
        }
        match round % 2 {
            0 => assert!(rig.tables.unbind(mr.home6)),
            _ => rig.bind(&mr),
        }
        rig.reclaim();
    }
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    rig.finish();
}

/// The mobile node's envelope came in fragments through the tunnel.
#[test]
fn fragments_of_an_envelope() {
    let mut rig = Rig::new();
    let mut mr = router(&mut rig, 1);
    let mut mn = rig.attach(guest(3, host6(1).into(), Scope::SignallingAndData));
    let inner = codec::ip(mn.home6.into(), CN6.into(), 17, &[5; 1200]);
    let whole = mn.data(&inner);
    let udp = &whole[40..];
    let half = udp.len() / 2 / 8 * 8;
    for (part, flags) in [(&udp[..half], 1_u16), (&udp[half..], half as u16)] {
        let [high, low] = flags.to_be_bytes();
        let payload = [&[17, 0, high, low, 0, 0, 0, 9], part].concat();
        let from: Ipv6Addr = host6(1);
        let packet = mr.data(&codec::ip(from.into(), HA6.into(), 44, &payload));
        rig.send(ACCESS, &packet);
    }
    assert_eq!(rig.received_one(HOME).packet()[40..], inner[40..]);
    assert_eq!(rig.counters().sizes.reassembled, 1);
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    rig.finish();
}
