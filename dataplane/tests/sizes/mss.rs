//! MTU-07: the MSS clamp, a switch that is off by default.

use std::net::IpAddr;

use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{ACCESS, CN4, CN6, HOME, MobileNode, Rig};

/// A SYN with MSS 1460, and its checksum.
fn syn(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let mut tcp = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0];
    tcp.extend([2, 4, 0x05, 0xb4]);
    let sum = tcp_sum(from, to, &tcp);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    codec::ip(from, to, 6, &tcp)
}

fn tcp_sum(from: IpAddr, to: IpAddr, tcp: &[u8]) -> u16 {
    let mut pseudo = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
        _ => panic!("families"),
    };
    pseudo.extend((tcp.len() as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, 6]);
    codec::checksum(&[&pseudo, tcp].concat())
}

/// The MSS of a SYN whose checksum is right.
fn mss(from: IpAddr, to: IpAddr, packet: &[u8]) -> u16 {
    let tcp = &packet[if from.is_ipv6() { 40 } else { 20 }..];
    assert_eq!(tcp_sum(from, to, tcp), 0, "TCP checksum");
    u16::from_be_bytes([tcp[22], tcp[23]])
}

fn both_ways(rig: &mut Rig, mn: &mut MobileNode) -> Vec<u16> {
    let mut seen = Vec::new();
    for (home, cn) in [(IpAddr::from(mn.home6), IpAddr::from(CN6)), (mn.home4.into(), CN4.into())] {
        let inner = syn(home, cn);
        let up = if mn.scope == Scope::Signalling {
            mn.packet(&[&[0; 8], &inner[..]].concat())
        } else {
            mn.data(&inner)
        };
        rig.send(ACCESS, &up);
        seen.push(mss(home, cn, rig.received_one(HOME).packet()));
        rig.send(HOME, &syn(cn, home));
        let frame = rig.received_one(ACCESS);
        let down = if mn.scope == Scope::Signalling {
            codec::Datagram::read(frame.packet()).content[8..].to_vec()
        } else {
            mn.open(&frame).payload
        };
        seen.push(mss(cn, home, &down));
    }
    seen
}

#[test]
fn both_directions_when_it_is_on() {
    let mut rig = Rig::with(|config| config.mss_clamp = true);
    for (n, suite, scope, outer6, tunnel_mtu) in [
        (1, Suite::Aes128CbcSha, Scope::SignallingAndData, true, 1406),
        (2, Suite::NullSha, Scope::SignallingAndData, false, 1450),
        (3, Suite::Aes128CbcSha, Scope::Signalling, true, 1444),
    ] {
        let mut mn = rig.attach(MobileNode::new(n, suite, scope, outer6));
        let (six, four) = (tunnel_mtu - 60, tunnel_mtu - 40);
        assert_eq!(both_ways(&mut rig, &mut mn), [six, six, four, four], "{n}");
    }
    assert_eq!(rig.counters().sizes.mss_clamped, 12);
    rig.finish();
}

#[test]
fn off_by_default() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    assert_eq!(both_ways(&mut rig, &mut mn), [1460; 4]);
    assert_eq!(rig.counters().sizes.mss_clamped, 0);
    rig.finish();
}
