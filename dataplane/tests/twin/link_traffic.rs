//! ARP, neighbour discovery and what else is spoken on a link.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::build;
use crate::chance::Chance;
use crate::codec;
use crate::rig::{CN4, CN6, HA4, HA6};

const ASKER: [u8; 6] = [2, 0, 0, 0, 0xbb, 7];

pub fn any(chance: &mut Chance, home6: Ipv6Addr, home4: Ipv4Addr, own: [u8; 6]) -> Vec<u8> {
    let mut frame = match chance.within(0..14) {
        0..4 => arp(chance, home4, own),
        4..10 => solicitation(chance, home6, own),
        10 => lldp(chance),
        11 | 12 => advertisement(chance, home6, own),
        _ => {
            let kind = *chance.one_of(&[133, 134, 136, 137]);
            let message = [&[kind, 0, 0, 0][..], &chance.octets(20)].concat();
            let to = *chance.one_of(&[Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), home6, HA6]);
            let packet =
                codec::ip_with("fe80::1".parse().unwrap(), to.into(), 58, 255, 0, &message);
            codec::ethernet([0x33, 0x33, 0, 0, 0, 1], ASKER, &packet)
        }
    };
    if chance.once_in(8) {
        build::spoil(chance, &mut frame);
    }
    frame
}

fn lldp(chance: &mut Chance) -> Vec<u8> {
    [&[1, 0x80, 0xc2, 0, 0, 0x0e][..], &ASKER, &[0x88, 0xcc], &chance.octets(46)].concat()
}

fn arp(chance: &mut Chance, home4: Ipv4Addr, own: [u8; 6]) -> Vec<u8> {
    let to = *chance.one_of(&[[0xff; 6], [0xff; 6], own]);
    let operation = *chance.one_of(&[1, 1, 1, 1, 2]);
    let target = *chance.one_of(&[home4, home4, home4, HA4, CN4]);
    let asker = *chance.one_of(&[CN4, CN4, CN4, Ipv4Addr::UNSPECIFIED, home4]);
    let mut frame = [&to[..], &ASKER, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation], &ASKER].concat();
    frame.extend(asker.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    if chance.once_in(2) {
        frame.extend([0; 18]);
    }
    frame
}

/// Somebody says whose an address is.
fn advertisement(chance: &mut Chance, home6: Ipv6Addr, own: [u8; 6]) -> Vec<u8> {
    let target = *chance.one_of(&[home6, home6, home6, HA6, CN6]);
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let (to, mac) = *chance.one_of(&[
        (all_nodes, [0x33, 0x33, 0, 0, 0, 1]),
        (all_nodes, [0x33, 0x33, 0, 0, 0, 1]),
        (HA6, own),
        ("fe80::1".parse().unwrap(), own),
    ]);
    let flags = *chance.one_of(&[0x20, 0x20, 0xa0, 0x60]);
    let mut message = vec![136, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    match chance.within(0..6) {
        0 => {}
        1 => message.extend([2, 0, 2, 0, 0, 0, 0xbb, 7]),
        _ => {
            message.extend([2, 1]);
            message.extend(ASKER);
        }
    }
    if chance.once_in(20) {
        message[1] = 1;
    }
    let from = *chance.one_of(&[CN6, home6, "fe80::c0".parse().unwrap()]);
    let sum = crate::model::transport_checksum(from.into(), to.into(), 58, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let hop = if chance.once_in(20) { 64 } else { 255 };
    codec::ethernet(mac, ASKER, &codec::ip_with(from.into(), to.into(), 58, hop, 0, &message))
}

fn solicitation(chance: &mut Chance, home6: Ipv6Addr, own: [u8; 6]) -> Vec<u8> {
    let target = *chance.one_of(&[home6, home6, home6, home6, HA6, CN6]);
    let from = *chance.one_of(&[CN6, CN6, Ipv6Addr::UNSPECIFIED, "fe80::c0".parse().unwrap()]);
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&target.octets()[13..]);
    let (to, mac) = match chance.within(0..4) {
        0 => (target, own),
        _ => (group.into(), [0x33, 0x33, 0xff, group[13], group[14], group[15]]),
    };
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    let with_link_address =
        if from.is_unspecified() { chance.once_in(8) } else { !chance.once_in(4) };
    if with_link_address {
        message.extend([1, 1]);
        message.extend(ASKER);
    }
    match chance.within(0..12) {
        // A nonce (RFC 3971), an unknown option, and one of length 0.
        0 => message.extend([14, 1, 1, 2, 3, 4, 5, 6]),
        1 => message.extend([200, 1, 0, 0, 0, 0, 0, 0]),
        2 => message.extend([200, 0, 0, 0, 0, 0, 0, 0]),
        _ => {}
    }
    if chance.once_in(20) {
        message[1] = 1;
    }
    let sum = crate::model::transport_checksum(from.into(), to.into(), 58, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let hop = if chance.once_in(20) { 64 } else { 255 };
    codec::ethernet(mac, ASKER, &codec::ip_with(from.into(), to.into(), 58, hop, 0, &message))
}
