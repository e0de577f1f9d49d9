//! Groups: what mobile nodes that are away hear of them, and what they say to join them.
//!
//! Read first: RFC 6275 s.10.4.2, 10.4.3, 10.4.4; reading R-27.

use std::net::{IpAddr, Ipv6Addr};

use hearth_dataplane::{GroupMember, PortId, TableError, Tunnel};
use hearth_wire::mh::TrafficSelector;
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{ACCESS, CN4, CN6, Event, HA6, HOME, MobileNode, Registration, Rig};

const GROUP: &str = "ff0e::1:2";

fn group_mac(group: IpAddr) -> [u8; 6] {
    match group {
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            [0x33, 0x33, a, b, c, d]
        }
        IpAddr::V4(v4) => {
            let [_, b, c, d] = v4.octets();
            [1, 0, 0x5e, b & 0x7f, c, d]
        }
    }
}

/// A frame to a group from a correspondent on the link, padded as Ethernet does.
fn to_group(group: &str, hop: u8, content: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let group: IpAddr = group.parse().unwrap();
    let from = if group.is_ipv6() { IpAddr::from(CN6) } else { CN4.into() };
    let packet = codec::ip_with(from, group, 17, hop, 0, content);
    let mut frame = codec::ethernet(group_mac(group), [2, 0, 0, 0, 0xaa, 2], &packet);
    frame.resize(frame.len().max(60), 0);
    (frame, packet)
}

fn hopped(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 6 {
        packet[7] -= 1;
    } else {
        packet[8] -= 1;
        packet[10..12].fill(0);
        let sum = codec::checksum(&packet[..20]).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
    }
    packet
}

fn inject(rig: &mut Rig, port: PortId, frame: &[u8]) {
    rig.inject(port, 0, frame);
    rig.turns();
}

/// TUN-06: each member gets a copy, under its own SA, and the kernel the packet; none after it left.
#[test]
fn members_get_copies_while_they_are_members() {
    for workers in [1, 2] {
        let mut rig = Rig::with(|config| config.workers = workers);
        let nodes: Vec<_> = (1..=3)
            .map(|n| MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, n != 2))
            .map(|mn| rig.attach(mn))
            .collect();
        let homes: Vec<_> = nodes.iter().map(|mn| mn.home6).collect();
        for group in [GROUP, "233.1.2.3"] {
            let address = group.parse().unwrap();
            let (frame, packet) = to_group(group, 9, b"to whom it may concern");
            for members in [&homes[..], &homes[1..], &[]] {
                rig.tables.set_group(HOME, address, members).unwrap();
                inject(&mut rig, HOME, &frame);
                let copies = rig.received(ACCESS);
                assert_eq!(copies.len(), members.len());
                for mn in nodes.iter().filter(|mn| members.contains(&mn.home6)) {
                    let mine = |frame: &&crate::rig::Frame| {
                        codec::Datagram::read(frame.packet()).to == mn.remote
                    };
                    let opened = mn.open(copies.iter().find(mine).unwrap());
                    assert_eq!(opened.payload, hopped(packet.clone()));
                }
                assert!(
                    matches!(&rig.events()[..], [Event::Host { frame: seen, .. }] if *seen == frame)
                );
                // Another link has groups of its own.
                inject(&mut rig, ACCESS, &frame);
                assert!(rig.received(ACCESS).is_empty() && rig.received(HOME).is_empty());
                rig.events();
            }
        }
        assert!(rig.drops().is_empty());
        rig.reclaim();
        rig.finish();
    }
}

/// TUN-04, TUN-05: whoever listens.
#[test]
fn what_must_stay_on_its_link_is_not_copied() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    for group in ["ff02::1:2", "ff05::1:2", "ff08::1:2", "ff11::5", "224.0.0.251", "239.1.2.3"] {
        rig.tables.set_group(HOME, group.parse().unwrap(), &[mn.home6]).unwrap();
        inject(&mut rig, HOME, &to_group(group, 9, b"x").0);
        assert!(rig.received(ACCESS).is_empty(), "{group}");
    }
    // The last hop is one hop.
    rig.tables.set_group(HOME, GROUP.parse().unwrap(), &[mn.home6]).unwrap();
    inject(&mut rig, HOME, &to_group(GROUP, 1, b"x").0);
    assert!(rig.received(ACCESS).is_empty());
    assert_eq!(rig.drops(), [("hop_limit", 1)].into());
    rig.events();
    rig.finish();
}

/// Some copies in a turn, in order, all of them in the end, and each member one.
#[test]
fn a_large_group_is_served_in_several_turns() {
    const MEMBERS: u16 = 200;
    let mut rig = Rig::with(|config| {
        config.max_bindings = 300;
    });
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    let home = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 2, n);
    let homes: Vec<_> = (0..MEMBERS).map(home).collect();
    for home_address in &homes {
        let registration =
            Registration { home_address: *home_address, ipv4_home_address: None, ..mn.binding() };
        registration.bind(&mut rig.tables, &[]).unwrap();
    }
    rig.tables.set_group(HOME, GROUP.parse().unwrap(), &homes).unwrap();
    for content in [b"first", b"other"] {
        rig.inject(HOME, 0, &to_group(GROUP, 9, content).0);
    }
    let mut copies = Vec::new();
    for turn in 0..100 {
        (rig.turn)(&mut rig.workers[0]);
        let sent = rig.received(ACCESS);
        // What the lanes held back of a turn comes out with the next.
        assert!(sent.len() <= 128, "{turn}");
        copies.extend(sent);
        if turn == 2 {
            // Who has had one gets no other, and who left gets none.
            rig.tables.set_group(HOME, GROUP.parse().unwrap(), &homes[..150]).unwrap();
        }
    }
    let contents: Vec<_> = copies.iter().map(|copy| mn.open(copy).payload[40..].to_vec()).collect();
    let (first, other) = contents.split_at(contents.iter().position(|c| c == b"other").unwrap());
    assert!((150..=200).contains(&first.len()), "{}", first.len());
    assert_eq!(
        (first, other),
        (&vec![b"first".to_vec(); first.len()][..], &vec![b"other".to_vec(); 150][..])
    );
    assert!(rig.drops().is_empty());
    rig.events();
    rig.finish();
}

/// Buffers are there for everything else first, and whoever is not bound any more is counted.
#[test]
fn copies_that_can_not_be_made() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::usual());
    let gone: Ipv6Addr = "2001:db8:f::77".parse().unwrap();
    rig.tables.set_group(HOME, GROUP.parse().unwrap(), &[mn.home6, gone]).unwrap();
    let (frame, _) = to_group(GROUP, 9, b"x");
    inject(&mut rig, HOME, &frame);
    mn.open(&rig.received_one(ACCESS));
    assert_eq!(rig.drops(), [("group_no_member", 1)].into());
    let taken = rig.exhaust(300);
    inject(&mut rig, HOME, &frame);
    assert!(rig.received(ACCESS).is_empty());
    assert_eq!(rig.drops(), [("group_copies", 2), ("group_no_member", 1)].into());
    drop(taken);
    // More packets at once than wait.
    for _ in 0..200 {
        rig.inject(HOME, 0, &frame);
    }
    rig.turns();
    let served = rig.received(ACCESS).len() as u64;
    let drops = rig.drops();
    assert_eq!(served + (drops["group_copies"] - 2) / 2, 200);
    assert_eq!(served, drops["group_no_member"] - 1);
    rig.events();
    rig.finish();
}

#[test]
fn groups_that_are_none() {
    let mut rig = Rig::new();
    for address in ["2001:db8::1", "192.0.2.1"] {
        let refused = rig.tables.set_group(HOME, address.parse().unwrap(), &[HA6]);
        assert_eq!(refused, Err(TableError::Address));
    }
    let many = vec![HA6; 70_000];
    assert_eq!(rig.tables.set_group(HOME, GROUP.parse().unwrap(), &many), Err(TableError::Full));
    rig.finish();
}

/// TUN-07: what a mobile node says to its router goes to control with its SA, whatever its source
/// is, and no further.
#[test]
fn reports_go_to_control_by_their_sa() {
    let mut rig = Rig::new();
    let mut nodes = [1, 2].map(|n| {
        let scope = if n == 1 { Scope::SignallingAndData } else { Scope::Signalling };
        rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, scope, true))
    });
    let alert = [58, 0, 5, 2, 0, 0, 1, 0];
    for mn in &mut nodes {
        // Both have the same link-local address.
        for from in ["fe80::5".parse().unwrap(), Ipv6Addr::UNSPECIFIED, mn.home6] {
            for (kind, to) in [(143, "ff02::16"), (131, GROUP), (132, "ff02::2")] {
                let report = [&alert[..], &[kind, 0, 0, 0], &[0; 20]].concat();
                let to = to.parse().unwrap();
                let inner = codec::ip_with(from.into(), to, 0, 1, 0, &report);
                let packet = mn.data(&inner);
                rig.send(ACCESS, &packet);
                assert!(matches!(
                    &rig.events()[..],
                    [Event::Inner { spi, home_address, packet }]
                        if (*spi, *home_address) == (mn.spi.get(), mn.home6) && *packet == inner
                ));
            }
        }
        for from in [IpAddr::from(mn.home4), "0.0.0.0".parse().unwrap()] {
            let to = "224.0.0.22".parse().unwrap();
            let inner = codec::ip_with(from, to, 2, 1, 0, &[0x22, 0, 0, 0, 0, 0, 0, 0]);
            let packet = mn.data(&inner);
            rig.send(ACCESS, &packet);
            assert!(matches!(&rig.events()[..], [Event::Inner { packet, .. }] if *packet == inner));
        }
    }
    assert!(rig.drops().is_empty());
    // Under another's address; a query, which is the router's; and in the clear.
    let [mut one, two] = nodes;
    for (from, kind, reason) in
        [(two.home6, 143, "inner_source"), (one.home6, 130, "inner_link_scope")]
    {
        let inner =
            codec::ip_with(from.into(), "ff02::16".parse().unwrap(), 58, 1, 0, &[kind, 0, 0, 0]);
        let packet = one.data(&inner);
        rig.send(ACCESS, &packet);
        assert_eq!(rig.drops().get(reason), Some(&1));
    }
    let inner =
        codec::ip_with(two.home6.into(), "ff02::16".parse().unwrap(), 58, 1, 0, &[143, 0, 0, 0]);
    rig.send(ACCESS, &two.clear(&inner));
    assert_eq!(rig.drops()["inner_link_scope"], 2);
    assert!(rig.events().is_empty() && rig.received(HOME).is_empty());
    rig.finish();
}

/// MPD-01: a solicitation is for control, PType 1 or 0; other ICMPv6 to the home agent is the
/// kernel's.
#[test]
fn prefix_solicitations_go_to_control() {
    let mut rig = Rig::new();
    for (n, scope) in [(1, Scope::SignallingAndData), (2, Scope::Signalling)] {
        let mut mn = rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, scope, true));
        let inner = codec::ip(mn.home6.into(), HA6.into(), 58, &[146, 0, 0, 0, 0xab, 0xcd, 0, 0]);
        let mut packets = vec![mn.data(&inner)];
        if scope == Scope::Signalling {
            packets.push(mn.clear(&inner));
        }
        for packet in packets {
            rig.send(ACCESS, &packet);
            assert!(matches!(
                &rig.events()[..],
                [Event::Inner { spi, home_address, packet }]
                    if (*spi, *home_address) == (mn.spi.get(), mn.home6) && *packet == inner
            ));
        }
        let ping = codec::ip(mn.home6.into(), HA6.into(), 58, &[128, 0, 0, 0]);
        let packet = mn.data(&ping);
        rig.send(ACCESS, &packet);
        assert!(matches!(&rig.events()[..], [Event::Host { .. }]));
    }
    // MPD-02: without a binding.
    let mut mn = MobileNode::new(3, Suite::Aes128CbcSha, Scope::SignallingAndData, true);
    rig.insert_sa(&mn);
    let packet = mn.data(&codec::ip(mn.home6.into(), HA6.into(), 58, &[146, 0, 0, 0, 0, 1, 0, 0]));
    rig.send(ACCESS, &packet);
    rig.is_silent();
    assert_eq!(rig.drops(), [("no_binding", 1)].into());
    rig.finish();
}

/// TUN-06, RFC 3810 s.6.3: who listens to some sources gets what they send and nothing else.
#[test]
fn a_member_hears_the_sources_that_it_wants() {
    let mut rig = Rig::new();
    let [all, some, none] = [1, 2, 3].map(|n| {
        rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, true))
    });
    for (group, source, other) in
        [(GROUP, IpAddr::from(CN6), "2001:db8:c::99"), ("233.1.2.3", CN4.into(), "192.0.2.99")]
    {
        let other: IpAddr = other.parse().unwrap();
        let only = |home_address, source: IpAddr| GroupMember {
            home_address,
            sources: Some(Box::new([source])),
        };
        let members = [all.home6.into(), only(some.home6, source), only(none.home6, other)];
        rig.tables.set_group(HOME, group.parse().unwrap(), &members).unwrap();
        let (frame, packet) = to_group(group, 9, b"of one source");
        inject(&mut rig, HOME, &frame);
        let copies = rig.received(ACCESS);
        assert_eq!(copies.len(), 2);
        for mn in [&all, &some] {
            let mine =
                |frame: &&crate::rig::Frame| codec::Datagram::read(frame.packet()).to == mn.remote;
            let opened = mn.open(copies.iter().find(mine).unwrap());
            assert_eq!(opened.payload, hopped(packet.clone()));
        }
        // Nobody wants it: nobody is missing a copy either.
        rig.tables.set_group(HOME, group.parse().unwrap(), &[only(none.home6, other)]).unwrap();
        inject(&mut rig, HOME, &frame);
        assert!(rig.received(ACCESS).is_empty());
        rig.tables.set_group::<GroupMember>(HOME, group.parse().unwrap(), &[]).unwrap();
    }
    rig.events();
    assert!(rig.drops().is_empty());
    rig.finish();
}

/// one mobile node's reports and solicitations leave room for others', whatever PType they
/// come as.
#[test]
fn a_mobile_node_that_asks_without_end_is_not_listened_to() {
    let mut rig = Rig::new();
    let [mut loud, mut other] = [(1, Scope::Signalling), (2, Scope::SignallingAndData)]
        .map(|(n, scope)| rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, scope, true)));
    let report = |mn: &MobileNode| {
        let to = "ff02::16".parse().unwrap();
        codec::ip_with(mn.home6.into(), to, 58, 1, 0, &[143, 0, 0, 0, 0, 0, 0, 0])
    };
    let solicitation = codec::ip(loud.home6.into(), HA6.into(), 58, &[146, 0, 0, 0, 0, 1, 0, 0]);
    let start = std::time::Instant::now();
    let mut heard = 0;
    for _ in 0..200 {
        let packets = [loud.data(&report(&loud)), loud.clear(&solicitation)];
        for packet in packets {
            rig.send(ACCESS, &packet);
            heard += rig.events().len();
        }
    }
    let most = 100 + 20 * (1 + usize::try_from(start.elapsed().as_secs()).unwrap());
    assert!((100..=most).contains(&heard), "{heard}");
    assert_eq!(rig.drops(), [("report_limit", 400 - heard as u64)].into());
    let packet = other.data(&report(&other));
    rig.send(ACCESS, &packet);
    assert!(
        matches!(&rig.events()[..], [Event::Inner { home_address, .. }] if *home_address == other.home6)
    );
    rig.finish();
}

/// TUN-08: nobody serves DHCP, and nobody else hears of it.
#[test]
fn dhcp_out_of_a_tunnel_is_ignored() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    for (from, to) in [
        ("[fe80::5]:546", "[ff02::1:2]:547"),
        ("[2001:db8:f::1:1]:546", "[2001:db8:a::1]:547"),
        ("0.0.0.0:68", "255.255.255.255:67"),
    ] {
        let [from, to]: [std::net::SocketAddr; 2] = [from, to].map(|end| end.parse().unwrap());
        let udp = codec::udp(from, to, &[1, 2, 3, 4]);
        let packet = mn.data(&codec::ip(from.ip(), to.ip(), 17, &udp));
        rig.send(ACCESS, &packet);
        rig.is_silent();
    }
    assert_eq!(rig.drops(), [("inner_dhcp", 3)].into());
    rig.finish();
}

/// Control's queries go down a tunnel, whatever their destination is; no hop is counted.
#[test]
fn control_sends_into_a_tunnel() {
    for workers in [1, 3] {
        let mut rig = Rig::with(|config| config.workers = workers);
        for (n, scope) in
            [(1, Scope::SignallingAndData), (2, Scope::Signalling), (5, Scope::SignallingAndData)]
        {
            let mn = rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, scope, true));
            let [from, to] = ["fe80::1", "ff02::1"].map(|address| address.parse().unwrap());
            let query = codec::ip_with(from, to, 58, 1, 0, &[130, 0, 0, 0]);
            rig.control.send_inner(mn.home6, &query).unwrap();
            rig.turns();
            let sent = rig.received_one(ACCESS);
            let payload = match scope {
                Scope::SignallingAndData => mn.open(&sent).payload,
                Scope::Signalling => codec::Datagram::read(sent.packet()).content[8..].to_vec(),
            };
            assert_eq!(payload, query);
        }
        rig.control.send_inner("2001:db8:f::99".parse().unwrap(), &[0x60; 40]).unwrap();
        let none = codec::ip(CN6.into(), CN6.into(), 17, b"x");
        rig.control.send_inner("2001:db8:f::99".parse().unwrap(), &none).unwrap();
        rig.turns();
        assert_eq!(rig.drops(), [("group_no_member", 1), ("ip_header", 1)].into());
        rig.finish();
    }
}

/// One copy for each member, whatever flow rules and tunnels it has, and whoever owns their SAs.
#[test]
fn a_group_goes_by_the_preferred_tunnel() {
    let mut rig = Rig::with(|config| config.workers = 2);
    let [one, other] =
        [1, 2].map(|n| MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, true));
    rig.insert_sa(&one);
    rig.insert_sa(&other);
    let tunnels = [(&other, 7), (&one, 9)].map(|(mn, bid)| Tunnel { bid, ..mn.tunnel() });
    let flows = vec![(TrafficSelector::ANY_IPV6, vec![9])];
    Registration { tunnels: tunnels.to_vec(), flows, ..one.binding() }
        .bind(&mut rig.tables, &[])
        .unwrap();
    rig.tables.set_group(HOME, GROUP.parse().unwrap(), &[one.home6]).unwrap();
    let (frame, packet) = to_group(GROUP, 9, b"one copy");
    inject(&mut rig, HOME, &frame);
    assert_eq!(other.open(&rig.received_one(ACCESS)).payload, hopped(packet.clone()));
    rig.control.send_inner(one.home6, &packet).unwrap();
    rig.turns();
    assert_eq!(other.open(&rig.received_one(ACCESS)).payload, packet);
    rig.events();
    assert!(rig.drops().is_empty());
    rig.finish();
}
