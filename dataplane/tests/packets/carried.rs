//! What a tunnel carries as it is: fragments, extension headers, options, protocols that nobody
//! here knows, and the messages of return routability (MTU-06, TUN-09, TUN-10).

use std::net::IpAddr;

use hearth_wire::{Scope, Suite};

use crate::codec::{self, checksum};
use crate::rig::{ACCESS, CN4, CN6, HOME, MobileNode, Rig};

/// IPv4 with these flags and offset, and with options if there are any.
fn ipv4(
    from: IpAddr,
    to: IpAddr,
    proto: u8,
    flags: [u8; 2],
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let plain = codec::ip(from, to, proto, payload);
    let mut packet = [&plain[..20], options, &plain[20..]].concat();
    let len = packet.len() as u16;
    packet[0] = 0x45 + options.len() as u8 / 4;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[6..8].copy_from_slice(&flags);
    mend(&mut packet);
    packet
}

fn mend(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..header]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Everything between these two that has no ports to be looked at, or hides them.
fn odd_packets(from: IpAddr, to: IpAddr) -> Vec<Vec<u8>> {
    let fragment = |next, offset_and_more: u16| {
        let [high, low] = offset_and_more.to_be_bytes();
        [&[next, 0, high, low, 0, 0, 0, 9][..], &[0xf7; 32]].concat()
    };
    let options = |next| [&[next, 0, 1, 4, 0, 0, 0, 0][..], &[0x0d; 24]].concat();
    if to.is_ipv6() {
        vec![
            codec::ip(from, to, 44, &fragment(17, 1)),
            codec::ip(from, to, 44, &fragment(17, 0x0010 | 1)),
            codec::ip(from, to, 44, &fragment(6, 0x0100)),
            codec::ip(from, to, 60, &options(17)),
            codec::ip(from, to, 0, &options(58)),
            codec::ip(
                from,
                to,
                43,
                &[6, 2, 3, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9],
            ),
            codec::ip(from, to, 50, &[0xe5; 41]),
            codec::ip(from, to, 59, &[]),
            codec::ip(from, to, 59, &[1]),
            codec::ip(from, to, 253, &[2; 3]),
        ]
    } else {
        vec![
            ipv4(from, to, 17, [0x20, 0], &[], &[1; 24]),
            ipv4(from, to, 17, [0x20, 3], &[], &[2; 24]),
            ipv4(from, to, 6, [0, 6], &[], &[3; 5]),
            ipv4(from, to, 17, [0x40, 0], &[7, 7, 4, 0, 0, 0, 0, 0], &[4; 24]),
            ipv4(from, to, 1, [0, 0], &[1; 40], &[5; 8]),
            ipv4(from, to, 51, [0x40, 0], &[], &[6; 30]),
            ipv4(from, to, 253, [0, 0], &[], &[]),
        ]
    }
}

/// One hop further, as RFC 791 and RFC 8200 want it.
fn one_hop_on(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 6 {
        packet[7] -= 1;
    } else {
        packet[8] -= 1;
        mend(&mut packet);
    }
    packet
}

/// MTU-06: to and from a mobile node, in every scope; forwarded without a look behind the IP
/// header.
#[test]
fn fragments_options_and_unknown_protocols() {
    let mut rig = Rig::new();
    for (n, scope, outer6) in [
        (1, Scope::SignallingAndData, true),
        (2, Scope::SignallingAndData, false),
        (3, Scope::Signalling, true),
    ] {
        let mut mn = rig.attach(MobileNode::new(n, Suite::Aes128CbcSha256, scope, outer6));
        for (home, peer) in
            [(IpAddr::from(mn.home6), IpAddr::from(CN6)), (mn.home4.into(), CN4.into())]
        {
            for packet in odd_packets(home, peer) {
                let outer = mn.data(&packet);
                rig.send(ACCESS, &outer);
                assert_eq!(rig.received_one(HOME).packet(), one_hop_on(&packet));
                if scope == Scope::Signalling {
                    rig.send(ACCESS, &mn.clear(&packet));
                    assert_eq!(rig.received_one(HOME).packet(), one_hop_on(&packet));
                }
            }
            for packet in odd_packets(peer, home) {
                rig.send(HOME, &packet);
                let frame = rig.received_one(ACCESS);
                let got = match scope {
                    Scope::SignallingAndData => mn.open(&frame).payload,
                    Scope::Signalling => {
                        codec::Datagram::read(frame.packet()).content[8..].to_vec()
                    }
                };
                assert_eq!(got, one_hop_on(&packet));
            }
        }
    }
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    rig.finish();
}

/// TUN-10: a Home Test Init goes to the correspondent as data; the Home Test comes back protected,
/// whatever the scope, and after a hand-over to the new care-of address.
#[test]
fn return_routability_follows_a_hand_over() {
    let mut rig = Rig::new();
    for (n, scope) in [(1, Scope::SignallingAndData), (2, Scope::Signalling)] {
        let mut mn = rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, scope, true));
        let init = codec::ip(
            mn.home6.into(),
            CN6.into(),
            135,
            &[59, 1, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        );
        let test = codec::ip(
            CN6.into(),
            mn.home6.into(),
            135,
            &[59, 2, 3, 0, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9],
        );
        for remote in [mn.remote, "192.0.2.99:1234".parse().unwrap()] {
            mn.remote = remote;
            if remote.is_ipv4() {
                mn.local.set_ip(crate::rig::HA4.into());
            }
            rig.bind(&mn);
            let outer = mn.data(&init);
            rig.send(ACCESS, &outer);
            assert_eq!(rig.received_one(HOME).packet(), one_hop_on(&init));
            rig.send(HOME, &test);
            let opened = mn.open(&rig.received_one(ACCESS));
            assert_eq!((opened.ptype, opened.next_header), (1, 41));
            assert_eq!(opened.payload, one_hop_on(&test));
        }
    }
    assert_eq!(rig.counters().downlink_plain.packets, 0);
    assert!(rig.events().is_empty() && rig.drops().is_empty());
    rig.finish();
}

/// TUN-09: a hop is counted once on the way out of a tunnel, and once on the way in.
#[test]
fn one_hop_each_way() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    for (home, peer) in [(IpAddr::from(mn.home6), IpAddr::from(CN6)), (mn.home4.into(), CN4.into())]
    {
        for hop_limit in [2, 64, 255] {
            let up = codec::ip_with(home, peer, 17, hop_limit, 0, b"up");
            let outer = mn.data(&up);
            rig.send(ACCESS, &outer);
            assert_eq!(rig.received_one(HOME).packet(), one_hop_on(&up));
            let down = codec::ip_with(peer, home, 17, hop_limit, 0, b"down");
            rig.send(HOME, &down);
            assert_eq!(mn.open(&rig.received_one(ACCESS)).payload, one_hop_on(&down));
        }
    }
    rig.finish();
}
