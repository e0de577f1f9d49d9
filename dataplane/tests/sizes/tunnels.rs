//! What goes through one tunnel into another, and by one of several: path MTUs of each, and who is
//! told (NEM-11, MCA-12, RFC 2473 s.7, 8; R-42).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hearth_wire::{Scope, Suite};

use crate::codec::{self, Datagram};
use crate::rig::{ACCESS, CN6, HA4, HA6, HOME, MobileNode, Registration, Rig, SERVICE_PORT};
use crate::tools::{icmp, icmp_error, join, one_hop_less, talkative, to_mobile};

const NETWORK: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x501, 0, 0, 0, 0, 0);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xee, 0, 0, 0, 0, 1);

/// A mobile router with this network, and a mobile node that is in it.
fn router_and_guest(rig: &mut Rig) -> (MobileNode, MobileNode) {
    let mr = MobileNode::usual();
    rig.insert_sa(&mr);
    let registration = Registration { prefixes: vec![(NETWORK.into(), 48)], ..mr.binding() };
    registration.bind(&mut rig.tables, &[]).unwrap();
    let mut mn = MobileNode::new(2, Suite::Aes128CbcSha, Scope::SignallingAndData, true);
    mn.remote = SocketAddr::new(Ipv6Addr::from_bits(NETWORK.to_bits() | 5).into(), 4000);
    (mr, rig.attach(mn))
}

/// What the mobile node gets of a packet that came in these frames.
fn opened(mr: &MobileNode, mn: &MobileNode, frames: &[crate::rig::Frame]) -> Vec<u8> {
    let outer = Datagram::read(&join(frames, 1500));
    assert_eq!((outer.from, outer.to), (mr.local, mr.remote));
    let inner = codec::open(mr.suite, &mr.down, &outer.content).payload;
    let datagram = Datagram::read(&inner);
    assert_eq!((datagram.from, datagram.to), (mn.local, mn.remote));
    codec::open(mn.suite, &mn.down, &datagram.content).payload
}

/// The outer packet of the mobile node is too large for the mobile router's tunnel: the sender of
/// what is in it is told what fits through both, and what fits goes.
#[test]
fn the_mtu_of_two_tunnels() {
    let mut rig = talkative(|_| ());
    let (mr, mn) = router_and_guest(&mut rig);
    // The mobile router's tunnel carries 1406; 1406 - 48 - 8 - 16 - 12 = 1322 = 82 * 16 + 10, less
    // 2 of trailer.
    let most = 82 * 16 - 2;
    let packet = to_mobile(&mn, true, false, 1400);
    rig.send(HOME, &packet);
    assert!(rig.received(ACCESS).is_empty());
    let error = icmp(rig.received_one(HOME).packet());
    assert_eq!((error.kind, error.code, error.to), (2, 0, CN6.into()));
    assert_eq!(error.rest, most as u32);
    assert_eq!(error.quote, one_hop_less(&packet)[..error.quote.len()]);
    assert_eq!(rig.drops(), [("tunnel_mtu", 1)].into());
    assert_eq!(rig.counters().sizes.path_mtu_lowered, 1);
    // From now on it is known, and the largest goes.
    rig.send(HOME, &packet);
    let again = icmp(rig.received_one(HOME).packet());
    assert_eq!(again.rest, most as u32);
    let fits = to_mobile(&mn, true, false, most);
    rig.send(HOME, &fits);
    let frames = rig.received(ACCESS);
    assert_eq!(frames.len(), 1);
    assert_eq!(opened(&mr, &mn, &frames), one_hop_less(&fits));
    // Others of the mobile router's go as before.
    rig.send(HOME, &to_mobile(&mr, true, false, 1406));
    mr.open(&rig.received_one(ACCESS));
    rig.finish();
}

/// what must be carried is, in fragments of one outer packet or of the other.
#[test]
fn fragments_through_two_tunnels() {
    let mut rig = talkative(|config| config.path_mtu = 1280);
    let (mr, mn) = router_and_guest(&mut rig);
    // Its outer packet would have 1364 octets, and comes in two pieces, each of which fits.
    let packet = to_mobile(&mn, true, false, 1280);
    rig.send(HOME, &packet);
    let frames = rig.received(ACCESS);
    assert!(frames.len() >= 2, "{}", frames.len());
    // What the mobile router gets: pieces of the mobile node's envelope. The larger one was cut once
    // more.
    let mut pieces = Vec::new();
    let mut waiting = Vec::new();
    for frame in frames {
        waiting.push(frame);
        let whole = waiting[0].packet()[6] != 44 || {
            let last = waiting.last().unwrap().packet();
            last[6] == 44 && last[43] & 1 == 0
        };
        if whole {
            let outer = Datagram::read(&join(&waiting, 1280));
            pieces.push(codec::open(mr.suite, &mr.down, &outer.content).payload);
            waiting.clear();
        }
    }
    assert_eq!(pieces.len(), 2);
    let mut udp = Vec::new();
    for piece in &pieces {
        assert_eq!((piece[6], piece[40]), (44, 17));
        assert_eq!(usize::from(u16::from_be_bytes([piece[42], piece[43]]) & 0xfff8), udp.len());
        udp.extend(&piece[48..]);
    }
    let whole = codec::ip(mn.local.ip(), mn.remote.ip(), 17, &udp);
    let datagram = Datagram::read(&whole);
    let inner = codec::open(mn.suite, &mn.down, &datagram.content).payload;
    assert_eq!(inner, one_hop_less(&packet));
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    rig.finish();
}

/// RFC 2473 s.8: an error about the outer one of two tunnels is told to the sender of what is in the
/// inner one, and one about the inner one comes out of the tunnel of the mobile router.
#[test]
fn errors_about_either_tunnel() {
    let mut rig = talkative(|_| ());
    let (mut mr, mn) = router_and_guest(&mut rig);
    let packet = to_mobile(&mn, true, false, 300);
    rig.send(HOME, &packet);
    let outer = rig.received_one(ACCESS);
    let about = |outer: &[u8]| icmp_error(ROUTER6.into(), HA6.into(), (1, 3, 0), outer);
    rig.send(ACCESS, &about(outer.packet()));
    let error = icmp(rig.received_one(HOME).packet());
    assert_eq!((error.kind, error.code, error.to), (1, 3, CN6.into()));
    assert_eq!(error.quote[..200], one_hop_less(&packet)[..200]);
    // A host in the network says that the mobile node is not there.
    let inner = mr.open(&outer).payload;
    let host: IpAddr = Ipv6Addr::from_bits(NETWORK.to_bits() | 1).into();
    let complaint = icmp_error(host, HA6.into(), (1, 3, 0), &inner);
    let complaint = mr.data(&complaint);
    rig.send(ACCESS, &complaint);
    let error = icmp(rig.received_one(HOME).packet());
    assert_eq!((error.kind, error.code, error.to), (1, 3, CN6.into()));
    // Too big for the way to the mobile router: the mobile node's senders are told of less.
    let large = to_mobile(&mn, true, false, 1310);
    rig.send(HOME, &large);
    let outer = rig.received_one(ACCESS).packet().to_vec();
    let too_big = icmp_error(ROUTER6.into(), HA6.into(), (2, 0, 1400), &outer[..1232]);
    rig.send(ACCESS, &too_big);
    let error = icmp(rig.received_one(HOME).packet());
    assert_eq!((error.kind, error.to), (2, CN6.into()));
    // 1310 through the outer one; 1310 - 48 - 8 - 16 - 12 = 1226, 76 * 16 - 2 = 1214, but IPv6 has
    // 1280.
    assert_eq!(error.rest, 1280);
    assert_eq!(rig.counters().sizes.outer_errors_relayed, 3);
    assert_eq!(rig.counters().sizes.path_mtu_lowered, 2);
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    rig.finish();
}

/// Each of several tunnels has a path MTU of its own, which lasts while the care-of address does.
#[test]
fn the_path_mtu_of_each_of_several_tunnels() {
    let mut rig = talkative(|_| ());
    let mn = MobileNode::usual();
    rig.insert_sa(&mn);
    let second = hearth_dataplane::Tunnel {
        bid: 2,
        spi: mn.spi,
        local: SocketAddr::new(HA4.into(), SERVICE_PORT),
        remote: "192.0.2.99:1024".parse().unwrap(),
    };
    let first = hearth_dataplane::Tunnel { bid: 1, ..mn.tunnel() };
    let ways = |tunnels: &[_]| Registration { tunnels: tunnels.to_vec(), ..mn.binding() };
    ways(&[first, second]).bind(&mut rig.tables, &[]).unwrap();
    let large = to_mobile(&mn, true, false, 1400);
    rig.send(HOME, &large);
    let outer = rig.received_one(ACCESS).packet().to_vec();
    let too_big = icmp_error(ROUTER6.into(), HA6.into(), (2, 0, 1400), &outer[..1232]);
    rig.send(ACCESS, &too_big);
    assert_eq!(icmp(rig.received_one(HOME).packet()).rest, 1310);
    rig.send(HOME, &large);
    assert_eq!(icmp(rig.received_one(HOME).packet()).rest, 1310);
    // The other one has more room, and the first is as it was when it is preferred again.
    ways(&[second, first]).bind(&mut rig.tables, &[]).unwrap();
    rig.send(HOME, &large);
    assert!(rig.received_one(ACCESS).packet().len() > 1400);
    ways(&[first]).bind(&mut rig.tables, &[]).unwrap();
    rig.send(HOME, &large);
    assert_eq!(icmp(rig.received_one(HOME).packet()).rest, 1310);
    // An error about a care-of address that is none of these is nobody's.
    let mut stray = outer;
    stray[39] ^= 1;
    rig.send(ACCESS, &icmp_error(ROUTER6.into(), HA6.into(), (2, 0, 1300), &stray[..1232]));
    assert_eq!(rig.drops().get("outer_error_unrelated"), Some(&1));
    rig.finish();
}
