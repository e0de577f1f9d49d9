//! Outer checksums that a port fills in: net_tap, a real driver that does so for packets that ask,
//! in a network namespace of the test's own.
//!
//! ```text
//!   CN === ring [ dataplane ] net_tap === the kernel's tap device, read by a packet socket
//! ```
// All of it is test code; a panic is how it says no.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
#![allow(missing_docs, unreachable_pub)]

#[path = "../packets/codec.rs"]
#[allow(dead_code)]
mod codec;
mod kernel;
#[path = "../packets/rig.rs"]
#[allow(dead_code)]
mod rig;

use std::net::IpAddr;

use hearth_dataplane::Filter;
use hearth_dataplane::capture::CaptureStage;
use hearth_wire::{Scope, Suite};

use crate::codec::Datagram;
use crate::kernel::PacketSocket;
use crate::rig::{ACCESS, CN4, CN6, GATEWAY_MAC, HOME, MobileNode, Rig};

/// A rig whose access port is a tap device, and the device's other end.
fn with_tap(number: u8) -> (Rig, PacketSocket) {
    kernel::enter_namespace();
    let device = format!("net_tap{number},iface=hsum{number}");
    let rig = Rig::over(Some(&device), 1500, 2304, |_| ());
    (rig, PacketSocket::on(&format!("hsum{number}")))
}

/// Packets whose checksums the access port was asked for.
fn asked(rig: &Rig) -> u64 {
    rig.counters().ports[usize::from(ACCESS.0)].tx_checksums
}

fn to_mobile(mn: &MobileNode, v6: bool, payload: &[u8]) -> Vec<u8> {
    let (from, to) =
        if v6 { (CN6.into(), IpAddr::from(mn.home6)) } else { (CN4.into(), mn.home4.into()) };
    codec::ip(from, to, 17, payload)
}

/// R-40: protected and plain packets over both families leave with right checksums, which the port
/// has computed.
#[test]
fn a_port_fills_in_the_outer_checksums() {
    let (mut rig, tap) = with_tap(1);
    let mut frames = Vec::new();
    let scopes = [Scope::SignallingAndData, Scope::Signalling];
    let nodes = scopes.into_iter().flat_map(|scope| [(scope, true), (scope, false)]);
    for (n, (scope, outer6)) in (1..).zip(nodes) {
        let mn = rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, scope, outer6));
        let lengths = [0, 1, 2, 7, 63, 64, 255, 900, 1300];
        for (len, v6) in lengths.into_iter().flat_map(|len| [(len, true), (len, false)]) {
            let payload = vec![0xc5; len];
            let inner = to_mobile(&mn, v6, &payload);
            rig.send(HOME, &inner);
            let frame = tap.frames_to(GATEWAY_MAC, 1).remove(0);
            let opened = match scope {
                Scope::SignallingAndData => mn.open(&frame).payload,
                Scope::Signalling => Datagram::read(frame.packet()).content[8..].to_vec(),
            };
            assert!(opened.len() == inner.len() && opened.ends_with(&payload), "{len}");
            frames.push(frame);
        }
    }
    assert_eq!((frames.len(), asked(&rig)), (72, 72));
    assert_eq!(kernel::judged_right(&frames), 72);
    rig.finish();
}

/// What has to be whole before it leaves, or is to be seen, is sealed in software: packets that are
/// fragmented, and all while a capture is on.
#[test]
fn fragments_and_captured_packets_are_sealed_in_software() {
    let (mut rig, tap) = with_tap(2);
    let mut frames = Vec::new();
    for (n, outer6) in [(1, true), (2, false)] {
        let suite = Suite::Aes128CbcSha;
        let mn = rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, outer6));
        // IPv4 without DF.
        rig.send(HOME, &to_mobile(&mn, false, &[0x5c; 1480]));
        frames.extend(tap.frames_to(GATEWAY_MAC, 2));
    }
    assert_eq!((kernel::judged_right(&frames), asked(&rig)), (2, 0));

    let mn = rig.attach(MobileNode::new(3, Suite::Aes128Gcm, Scope::SignallingAndData, true));
    rig.control.start_capture(&[CaptureStage::Wire], &Filter::EVERYTHING, u64::MAX).unwrap();
    rig.send(HOME, &to_mobile(&mn, true, b"seen"));
    let sent = tap.frames_to(GATEWAY_MAC, 1);
    let mut copies = Vec::new();
    rig.control.captured(100, |copy| copies.push(copy.frame.data().to_vec()));
    assert!(copies.contains(&sent[0].0), "the copy is not what was sent");
    assert_eq!((kernel::judged_right(&sent), asked(&rig)), (1, 0));
    rig.control.stop_capture(drop);
    rig.send(HOME, &to_mobile(&mn, true, b"no more"));
    assert_eq!(kernel::judged_right(&tap.frames_to(GATEWAY_MAC, 1)), 1);
    assert_eq!(asked(&rig), 1);
    rig.finish();
}

/// Nobody asks for packets that only pass: a wrong checksum of theirs is their receiver's affair.
#[test]
fn packets_that_pass_keep_their_checksums() {
    let (mut rig, tap) = with_tap(3);
    let mn = rig.attach(MobileNode::usual());
    let far: IpAddr = "2001:db8:77::1".parse().unwrap();
    for _ in 0..3 {
        rig.send(HOME, &to_mobile(&mn, true, b"tunnelled"));
        let mut wrong = codec::udp_packet((CN6, 9).into(), (far, 9).into(), b"passing");
        wrong[46] ^= 0x55;
        rig.send(HOME, &wrong);
        wrong[7] -= 1;
        let frames = tap.frames_to(GATEWAY_MAC, 2);
        assert_eq!(frames[1].packet(), wrong);
    }
    assert_eq!(asked(&rig), 3);
    rig.finish();
}
