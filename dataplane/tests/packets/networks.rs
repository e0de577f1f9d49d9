//! Networks behind mobile routers (NEM-04, NEM-05, NEM-08, NEM-10, NEM-11, NEM-12; RFC 3963 s.6.4,
//! 6.5; R-27).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_dataplane::{DropReason as D, PortId, TableError};
use hearth_wire::{Scope, Suite};

use crate::codec::{self, Opened};
use crate::rig::{ACCESS, CN4, CN6, HA6, HOME, MobileNode, Registration, Rig};

/// Network `n` of 48 bits, or of 16 bits of IPv4, and host 5 in it.
pub fn network6(n: u8) -> (IpAddr, u8) {
    (Ipv6Addr::new(0x2001, 0xdb8, 0x500 + u16::from(n), 0, 0, 0, 0, 0).into(), 48)
}

pub fn network4(n: u8) -> (IpAddr, u8) {
    (Ipv4Addr::new(10, n, 0, 0).into(), 16)
}

pub fn host6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x500 + u16::from(n), 7, 0, 0, 0, 5)
}

pub fn host4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, n, 7, 5)
}

pub fn cn(of: IpAddr) -> IpAddr {
    if of.is_ipv6() { CN6.into() } else { CN4.into() }
}

pub fn with(mn: &MobileNode, prefixes: &[(IpAddr, u8)]) -> Registration {
    Registration { prefixes: prefixes.to_vec(), ..mn.binding() }
}

/// A mobile router with both networks of its number.
pub fn router(rig: &mut Rig, n: u8) -> MobileNode {
    let mr = MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, n % 2 == 1);
    rig.insert_sa(&mr);
    with(&mr, &[network6(n), network4(n)]).bind(&mut rig.tables, &[]).unwrap();
    mr
}

fn stops(rig: &mut Rig, port: PortId, packet: &[u8], reason: D) {
    let before = rig.counters();
    rig.send(port, packet);
    let after = rig.counters();
    assert_eq!(after.dropped(reason), before.dropped(reason) + 1, "{:?}", rig.drops());
    assert_eq!(after.dropped_total(), before.dropped_total() + 1);
    rig.is_silent();
}

/// What a mobile router gets of a packet from the home link.
fn down(rig: &mut Rig, mr: &MobileNode, to: IpAddr) -> Opened {
    rig.send(HOME, &codec::ip_with(cn(to), to, 17, 9, 0, b"to the network"));
    let opened = mr.open(&rig.received_one(ACCESS));
    let hop = if to.is_ipv6() { 7 } else { 8 };
    assert_eq!(opened.payload[hop], 8);
    opened
}

/// A packet to this address is nobody's: it leaves by the route.
fn is_routed(rig: &mut Rig, to: IpAddr) {
    rig.send(HOME, &codec::ip(cn(to), to, 17, b"to nobody"));
    let frame = rig.received_one(ACCESS);
    let (at, len) = if to.is_ipv6() { (24, 16) } else { (16, 4) };
    let octets = match to {
        IpAddr::V6(v6) => v6.octets().to_vec(),
        IpAddr::V4(v4) => v4.octets().to_vec(),
    };
    assert_eq!(frame.packet()[at..at + len], octets, "not as it came");
}

/// NEM-11: both ways, both families, both packet types, and nothing from outside the network.
#[test]
fn a_network_behind_a_mobile_router() {
    let mut rig = Rig::new();
    let mut mr = router(&mut rig, 1);
    let hosts: [IpAddr; 2] = [host6(1).into(), host4(1).into()];
    for host in hosts {
        down(&mut rig, &mr, host);
        let inner = codec::ip_with(host, cn(host), 17, 9, 0, b"from the network");
        let packet = mr.data(&inner);
        rig.send(ACCESS, &packet);
        let frame = rig.received_one(HOME);
        assert_eq!(frame.packet().len(), inner.len());
        assert_eq!(frame.packet()[if host.is_ipv6() { 7 } else { 8 }], 8);
    }
    // Its own address is as anybody's.
    rig.send(HOME, &codec::ip(CN6.into(), mr.home6.into(), 17, b"x"));
    mr.open(&rig.received_one(ACCESS));
    let outside: [IpAddr; 4] =
        [host6(2).into(), host4(2).into(), CN6.into(), "2001:db8:f::1:77".parse().unwrap()];
    for from in outside {
        let packet = mr.data(&codec::ip(from, cn(from), 17, b"from outside"));
        stops(&mut rig, ACCESS, &packet, D::InnerSource);
    }
    // the same in PType 0.
    let plain = MobileNode::new(3, Suite::Aes128CbcSha, Scope::Signalling, true);
    rig.insert_sa(&plain);
    with(&plain, &[network6(3)]).bind(&mut rig.tables, &[]).unwrap();
    rig.send(ACCESS, &plain.clear(&codec::ip(host6(3).into(), CN6.into(), 17, b"clear")));
    rig.received_one(HOME);
    rig.send(HOME, &codec::ip(CN6.into(), host6(3).into(), 17, b"clear"));
    let datagram = codec::Datagram::read(rig.received_one(ACCESS).packet());
    assert_eq!((datagram.to, &datagram.content[..8]), (plain.remote, &[0; 8][..]));
    let elsewhere = MobileNode { remote: "[2001:db8:100::77]:9".parse().unwrap(), ..plain.clone() };
    let packet = elsewhere.clear(&codec::ip(host6(3).into(), CN6.into(), 17, b"clear"));
    stops(&mut rig, ACCESS, &packet, D::PlainOuterSource);
    rig.finish();
}

/// A subscriber can't speak for another one whose home address lies in its network.
#[test]
fn a_home_address_in_somebody_elses_network() {
    let mut rig = Rig::new();
    let mut mr = router(&mut rig, 1);
    let mut mn = MobileNode::new(3, Suite::Aes128CbcSha, Scope::SignallingAndData, true);
    mn.home6 = host6(1);
    let mut mn = rig.attach(mn);
    rig.send(HOME, &codec::ip(CN6.into(), host6(1).into(), 17, b"x"));
    mn.open(&rig.received_one(ACCESS));
    let packet = mr.data(&codec::ip(host6(1).into(), CN6.into(), 17, b"I am the other"));
    stops(&mut rig, ACCESS, &packet, D::InnerSource);
    let packet = mn.data(&mn.inner6());
    rig.send(ACCESS, &packet);
    rig.received_one(HOME);
    // NEM-09: that of a mobile router itself may be in its own.
    assert!(rig.tables.unbind(mn.home6) && rig.tables.unbind(mr.home6));
    mr.home6 = host6(1);
    with(&mr, &[network6(1)]).bind(&mut rig.tables, &[]).unwrap();
    let packet = mr.data(&mr.inner6());
    rig.send(ACCESS, &packet);
    rig.received_one(HOME);
    rig.finish();
}

/// From one network to another, and between a network and a home address, through both tunnels.
#[test]
fn between_networks() {
    let mut rig = Rig::new();
    let mut a = router(&mut rig, 1);
    let mut b = router(&mut rig, 2);
    let mut mn = rig.attach(MobileNode::new(3, Suite::NullSha256, Scope::SignallingAndData, true));
    let (a6, b6): (IpAddr, IpAddr) = (host6(1).into(), host6(2).into());
    let home6 = IpAddr::from(mn.home6);
    let mut through = |from: &mut MobileNode, to: &MobileNode, ends: (IpAddr, IpAddr)| {
        let packet = from.data(&codec::ip(ends.0, ends.1, 17, b"from one to the other"));
        rig.send(ACCESS, &packet);
        let payload = to.open(&rig.received_one(ACCESS)).payload;
        assert_eq!(payload[7], 63);
    };
    through(&mut a, &b, (a6, b6));
    through(&mut b, &a, (b6, a6));
    through(&mut a, &mn, (a6, home6));
    through(&mut mn, &b, (home6, b6));
    let packet = a.data(&codec::ip(host4(1).into(), host4(2).into(), 17, b"IPv4"));
    rig.send(ACCESS, &packet);
    b.open(&rig.received_one(ACCESS));
    rig.finish();
}

/// NEM-08: what a new Binding Update lists not any more stops, what is new starts, the rest stays,
/// wherever the mobile router goes. What was remembered of an address before is forgotten.
#[test]
fn other_prefixes() {
    let mut rig = Rig::new();
    let mut mr = MobileNode::usual();
    rig.insert_sa(&mr);
    let [one, two, three] = [1, 2, 3].map(|n| IpAddr::from(host6(n)));
    is_routed(&mut rig, one);
    is_routed(&mut rig, three);
    with(&mr, &[network6(1), network6(2), network4(1)]).bind(&mut rig.tables, &[]).unwrap();
    for to in [one, two, host4(1).into()] {
        down(&mut rig, &mr, to);
    }
    is_routed(&mut rig, three);
    mr.remote.set_port(9999);
    with(&mr, &[network6(3), network6(2)]).bind(&mut rig.tables, &[]).unwrap();
    for to in [two, three] {
        down(&mut rig, &mr, to);
    }
    is_routed(&mut rig, one);
    is_routed(&mut rig, host4(1).into());
    let packet = mr.data(&codec::ip(one, CN6.into(), 17, b"no more"));
    stops(&mut rig, ACCESS, &packet, D::InnerSource);
    // No prefix at all, and another one again, with and without a grace period between.
    rig.bind(&mr);
    is_routed(&mut rig, two);
    with(&mr, &[network6(2)]).bind(&mut rig.tables, &[]).unwrap();
    down(&mut rig, &mr, two);
    rig.reclaim();
    down(&mut rig, &mr, two);
    rig.bind(&mr);
    rig.reclaim();
    with(&mr, &[network6(2)]).bind(&mut rig.tables, &[]).unwrap();
    down(&mut rig, &mr, two);
    // NEM-10.
    assert!(rig.tables.unbind(mr.home6));
    is_routed(&mut rig, two);
    let packet = mr.data(&codec::ip(two, CN6.into(), 17, b"no more"));
    stops(&mut rig, ACCESS, &packet, D::NoBinding);
    rig.finish();
}

/// The longest prefix counts, down to one address.
#[test]
fn the_longest_prefix_counts() {
    let mut rig = Rig::new();
    let mut nodes = Vec::new();
    let prefixes = ["2001:db8:500::/40", "2001:db8:501::/48", "2001:db8:501:7::/64"];
    for (n, prefix) in (1..).zip(prefixes.into_iter().chain(["2001:db8:501:7::5/128"])) {
        let mr = MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, true);
        rig.insert_sa(&mr);
        let (address, len) = prefix.split_once('/').unwrap();
        let prefix = (address.parse().unwrap(), len.parse().unwrap());
        with(&mr, &[prefix]).bind(&mut rig.tables, &[]).unwrap();
        nodes.push(mr);
    }
    let addresses =
        ["2001:db8:502::1", "2001:db8:501::1", "2001:db8:501:7::1", "2001:db8:501:7::5"];
    for (mr, to) in nodes.iter().zip(addresses) {
        down(&mut rig, mr, to.parse().unwrap());
    }
    assert!(rig.tables.unbind(nodes[3].home6));
    down(&mut rig, &nodes[2], addresses[3].parse().unwrap());
    rig.finish();
}

/// NEM-05, NEM-12: a registration that is refused changes nothing, and none of its prefixes is
/// carried.
#[test]
fn what_is_refused_changes_nothing() {
    let mut rig = Rig::with(|config| config.max_prefixes = 4);
    let mr = router(&mut rig, 1);
    let other = MobileNode::new(2, Suite::Aes128CbcSha, Scope::SignallingAndData, true);
    rig.insert_sa(&other);
    let bad: [(IpAddr, u8); 8] = [
        ("2001:db8::".parse().unwrap(), 0),
        ("2001:db8::".parse().unwrap(), 129),
        ("10.0.0.0".parse().unwrap(), 33),
        ("ff0e::".parse().unwrap(), 16),
        ("fe80::".parse().unwrap(), 64),
        ("::".parse().unwrap(), 96),
        ("::ffff:10.9.0.0".parse().unwrap(), 112),
        ("224.0.0.0".parse().unwrap(), 4),
    ];
    for (prefix, expected) in bad
        .map(|prefix| (prefix, TableError::Prefix))
        .into_iter()
        .chain([(network6(1), TableError::PrefixInUse), (network4(1), TableError::PrefixInUse)])
    {
        let registration = with(&other, &[network6(2), prefix]);
        assert_eq!(registration.bind(&mut rig.tables, &[]), Err(expected), "{prefix:?}");
        is_routed(&mut rig, host6(2).into());
        assert_eq!(rig.tables.bindings(), 1);
    }
    for host in [host6(1).into(), host4(1).into()] {
        down(&mut rig, &mr, host);
    }
    // Four in all: one too many, and then just enough.
    let three = [network6(2), network6(3), network6(4)];
    let none = with(&other, &three).bind(&mut rig.tables, &[]);
    assert_eq!(none, Err(TableError::Full));
    is_routed(&mut rig, host6(2).into());
    rig.reclaim();
    with(&other, &three[..2]).bind(&mut rig.tables, &[]).unwrap();
    down(&mut rig, &other, host6(3).into());
    // A refresh with one more is refused, and the binding as it was.
    assert_eq!(with(&other, &three).bind(&mut rig.tables, &[]), Err(TableError::Full));
    for n in [2, 3] {
        down(&mut rig, &other, host6(n).into());
    }
    is_routed(&mut rig, host6(4).into());
    rig.finish();
}

/// Many hand-overs of a mobile router whose prefixes change each time use up nothing.
#[test]
fn places_are_used_again() {
    let mut rig = Rig::with(|config| config.max_prefixes = 64);
    let mut mr = MobileNode::usual();
    rig.insert_sa(&mr);
    for round in 0..4000_u32 {
        mr.remote.set_port(1000 + round as u16);
        let n = (round % 10) as u8;
        with(&mr, &[network6(n), network6(n + 1), network4(n)]).bind(&mut rig.tables, &[]).unwrap();
        if round % 7 == 0 {
            assert!(rig.tables.unbind(mr.home6));
        }
        if round % 5 == 0 {
            rig.reclaim();
        }
    }
    down(&mut rig, &mr, host6(10).into());
    down(&mut rig, &mr, host4(9).into());
    rig.finish();
}

/// RFC 6275 s.10.4.1, RFC 3963 s.6.5: what the box itself sends to the network is tunnelled, with no
/// hop counted.
#[test]
fn the_kernels_packets_to_a_network() {
    let mut rig = Rig::new();
    let mr = router(&mut rig, 1);
    let packet = codec::ip_with(HA6.into(), host6(1).into(), 17, 9, 0, b"from the box");
    let frame = codec::ethernet([2; 6], rig.mac(HOME), &packet);
    rig.control.send_from_host(HOME, &frame).unwrap();
    rig.turns();
    assert_eq!(mr.open(&rig.received_one(ACCESS)).payload, packet);
    rig.finish();
}

/// Whoever owns its SA, packets to and from the network find it.
#[test]
fn with_two_workers() {
    let mut rig = Rig::with(|config| config.workers = 2);
    let mut routers = [1, 2].map(|n| router(&mut rig, n));
    for mr in &mut routers {
        let n = (mr.spi.get() % 10) as u8;
        for queue in [0, 1] {
            let inner = codec::ip(CN6.into(), host6(n).into(), 17, b"x");
            let frame = codec::ethernet(rig.mac(HOME), [2; 6], &inner);
            rig.inject(HOME, queue, &frame);
            rig.turns();
            mr.open(&rig.received_one(ACCESS));
            let packet = mr.data(&codec::ip(host6(n).into(), CN6.into(), 17, b"x"));
            let frame = codec::ethernet(rig.mac(ACCESS), [2; 6], &packet);
            rig.inject(ACCESS, queue, &frame);
            rig.turns();
            rig.received_one(HOME);
        }
    }
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    rig.finish();
}
