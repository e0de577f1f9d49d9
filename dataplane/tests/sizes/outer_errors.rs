//! TUN-12, TUN-13, MTU-04: ICMP errors about outer packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_dataplane::{DropReason as D, PortId};
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::rig::{ACCESS, CN4, CN6, Event, GATEWAY6, HA4, HA6, HOME, MobileNode, Rig};
use crate::tools::{Icmp, icmp, icmp_error, one_hop_less, talkative, to_mobile};

/// A router on the way to the mobile node.
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xee, 0, 0, 0, 0, 1);
const ROUTER4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 250);

/// What a router says of an outer packet.
fn complain(outer: &[u8], (kind, code, rest): (u8, u8, u32), quoted: usize) -> Vec<u8> {
    let v6 = outer[0] >> 4 == 6;
    let (from, to): (IpAddr, IpAddr) =
        if v6 { (ROUTER6.into(), HA6.into()) } else { (ROUTER4.into(), HA4.into()) };
    icmp_error(from, to, (kind, code, rest), &outer[..outer.len().min(quoted)])
}

/// Sends a packet into the tunnel and returns the outer packet.
fn outer_of(rig: &mut Rig, packet: &[u8]) -> Vec<u8> {
    rig.send(HOME, packet);
    rig.received_one(ACCESS).packet().to_vec()
}

/// The one error that came out towards the correspondent.
fn heard(rig: &mut Rig, port: PortId) -> Icmp {
    icmp(rig.received_one(port).packet())
}

fn all_nodes() -> Vec<MobileNode> {
    let mut nodes = Vec::new();
    for suite in Suite::known() {
        for (scope, outer6) in [
            (Scope::SignallingAndData, true),
            (Scope::SignallingAndData, false),
            (Scope::Signalling, true),
        ] {
            nodes.push(MobileNode::new(nodes.len() as u8 + 1, suite, scope, outer6));
        }
    }
    nodes
}

/// TUN-12, RFC 2473 s.8.2 and 8.3: unreachable and time exceeded become address unreachable, to
/// the sender of the inner packet, with as much of it as the router quoted.
#[test]
fn unreachable_and_time_exceeded_are_relayed() {
    let mut rig = talkative(|_| ());
    let mut relayed = 0;
    for mn in all_nodes() {
        let mn = rig.attach(mn);
        let outer6 = mn.remote.is_ipv6();
        let complaints: [(u8, u8, u32); 4] = if outer6 {
            [(1, 0, 0), (1, 3, 0), (1, 4, 0), (3, 0, 0)]
        } else {
            [(3, 0, 0), (3, 1, 0), (3, 3, 0), (11, 0, 0)]
        };
        for (v6, len) in [(true, 60), (true, 700), (false, 60), (false, 700)] {
            let inner = to_mobile(&mn, v6, false, len);
            for what in complaints {
                let outer = outer_of(&mut rig, &inner);
                let quoted = if outer6 { 1232 } else { 548 };
                rig.send(ACCESS, &complain(&outer, what, quoted));
                let error = heard(&mut rig, HOME);
                let expected: (IpAddr, IpAddr, u8, u8) = if v6 {
                    (HA6.into(), CN6.into(), 1, 3)
                } else {
                    (HA4.into(), CN4.into(), 3, 1)
                };
                assert_eq!((error.from, error.to, error.kind, error.code), expected);
                assert_eq!(error.rest, 0);
                let sent = one_hop_less(&inner);
                // 3DES is read for its headers alone.
                let least =
                    if mn.suite == Suite::TripleDesEdeCbcSha { 48 } else { sent.len().min(400) };
                assert!(error.quote.len() >= least.min(sent.len()), "{} octets", error.quote.len());
                assert_eq!(error.quote, sent[..error.quote.len()], "{:?}", mn.suite);
                relayed += 1;
            }
        }
    }
    assert_eq!(rig.counters().sizes.outer_errors_relayed, relayed);
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    rig.finish();
}

/// TUN-12, R-33: the sender is another mobile node, and hears of it through its own tunnel.
#[test]
fn an_error_behind_a_hairpin() {
    let mut rig = talkative(|_| ());
    let mut a = rig.attach(MobileNode::usual());
    let b = rig.attach(MobileNode::new(2, Suite::Aes128CbcSha256, Scope::SignallingAndData, false));
    let inner = codec::ip(a.home6.into(), b.home6.into(), 17, &[3; 100]);
    let packet = a.data(&inner);
    rig.send(ACCESS, &packet);
    let outer = rig.received_one(ACCESS).packet().to_vec();
    rig.send(ACCESS, &complain(&outer, (11, 0, 0), 548));
    let error = icmp(&a.open(&rig.received_one(ACCESS)).payload);
    assert_eq!((error.kind, error.code, error.to), (1, 3, a.home6.into()));
    assert_eq!(error.quote[..80], one_hop_less(&inner)[..80]);
    rig.finish();
}

/// MTU-04, RFC 8201: lowered, told to the sender at once, and kept through a refresh.
#[test]
fn packet_too_big_lowers_the_path_mtu_of_that_tunnel() {
    let mut rig = talkative(|_| ());
    let mn = rig.attach(MobileNode::usual());
    let other = rig.attach(MobileNode::new(2, Suite::Aes128CbcSha, Scope::SignallingAndData, true));
    let large = to_mobile(&mn, true, false, 1400);
    let outer = outer_of(&mut rig, &large);
    rig.send(ACCESS, &complain(&outer, (2, 0, 1400), 1232));
    // 1400 - 48 - 8 - 16 - 12 = 1316 = 82 * 16 + 4, less 2 of trailer.
    let error = heard(&mut rig, HOME);
    assert_eq!((error.kind, error.code, error.rest, error.to), (2, 0, 1310, CN6.into()));
    assert_eq!(error.quote, one_hop_less(&large)[..error.quote.len()]);
    assert_eq!(rig.counters().sizes.path_mtu_lowered, 1);
    // From now on the home agent says so itself.
    rig.send(HOME, &large);
    assert_eq!(heard(&mut rig, HOME).rest, 1310);
    rig.send(HOME, &to_mobile(&mn, true, false, 1310));
    assert_eq!(rig.received_one(ACCESS).packet().len(), 1396);
    // Other tunnels are as they were.
    rig.send(HOME, &to_mobile(&other, true, false, 1400));
    assert!(rig.received_one(ACCESS).packet().len() > 1400);
    // A refresh from the same care-of address keeps it, a handover does not.
    rig.bind(&mn);
    rig.send(HOME, &large);
    assert_eq!(heard(&mut rig, HOME).rest, 1310);
    let mut moved = mn.clone();
    moved.remote.set_ip("2001:db8:100::99".parse().unwrap());
    rig.bind(&moved);
    rig.send(HOME, &large);
    assert!(rig.received_one(ACCESS).packet().len() > 1400);
    rig.finish();
}

/// Below 1500 but not below 1280: packets of 1280 octets go in fragments (MTU-02).
#[test]
fn a_path_that_shrinks_to_1280() {
    let mut rig = talkative(|_| ());
    let mn = rig.attach(MobileNode::usual());
    let packet = to_mobile(&mn, true, false, 1280);
    let outer = outer_of(&mut rig, &packet);
    rig.send(ACCESS, &complain(&outer, (2, 0, 1280), 1232));
    // It will be carried: nobody has to be told.
    rig.is_silent();
    rig.send(HOME, &packet);
    let fragments = rig.received(ACCESS);
    assert_eq!(fragments.len(), 2);
    let whole = crate::tools::join(&fragments, 1280);
    assert_eq!(codec::open(mn.suite, &mn.down, &whole[48..]).payload, one_hop_less(&packet));
    // An error about a fragment is understood as well.
    rig.send(ACCESS, &complain(fragments[0].packet(), (1, 0, 0), 1232));
    let error = heard(&mut rig, HOME);
    assert_eq!((error.kind, error.code), (1, 3));
    assert_eq!(error.quote, one_hop_less(&packet)[..error.quote.len()]);
    assert!(rig.drops().is_empty());
    rig.finish();
}

/// IPv4 outside: DF is clear, but who says so is believed, down to 576.
#[test]
fn fragmentation_needed_on_an_ipv4_path() {
    let mut rig = talkative(|_| ());
    let mn = rig.attach(MobileNode::new(1, Suite::Aes128CbcSha, Scope::SignallingAndData, false));
    let large = to_mobile(&mn, false, true, 1400);
    let outer = outer_of(&mut rig, &large);
    rig.send(ACCESS, &complain(&outer, (3, 4, 300), 548));
    // 576 - 28 - 8 - 16 - 12 = 512 = 32 * 16, less 2.
    let error = heard(&mut rig, HOME);
    assert_eq!((error.kind, error.code, error.rest, error.to), (3, 4, 510, CN4.into()));
    rig.send(HOME, &to_mobile(&mn, false, false, 1400));
    let fragments = rig.received(ACCESS);
    assert_eq!(fragments.len(), 3);
    crate::tools::join(&fragments, 576);
    rig.finish();
}

/// MTU-04: forged below 1280, about a packet that was small enough, or an increase.
#[test]
fn a_packet_too_big_that_is_not_believed() {
    let mut rig = talkative(|_| ());
    let mn = rig.attach(MobileNode::usual());
    let large = to_mobile(&mn, true, false, 1400);
    let small = to_mobile(&mn, true, false, 1000);
    for (packet, mtu) in
        [(&large, 1279), (&large, 0), (&small, 1300), (&large, 9000), (&large, 1500)]
    {
        let outer = outer_of(&mut rig, packet);
        rig.send(ACCESS, &complain(&outer, (2, 0, mtu), 1232));
        rig.is_silent();
        assert_eq!(outer_of(&mut rig, &large).len(), outer_of(&mut rig, &large).len());
    }
    assert_eq!(rig.drops(), [("outer_error_unrelated", 5)].into());
    assert_eq!(rig.counters().sizes.path_mtu_lowered, 0);
    rig.finish();
}

/// TUN-13: tunnels that do not exist, packets that were never sent, quotations that say nothing.
#[test]
fn forged_errors_are_ignored() {
    let mut rig = talkative(|_| ());
    for mn in all_nodes() {
        let mn = rig.attach(mn);
        let outer6 = mn.remote.is_ipv6();
        let (ip, what) = if outer6 { (40, (2, 0, 1300)) } else { (20, (3, 4, 1300)) };
        let frame = ip + 8;
        let large = to_mobile(&mn, true, false, 1400);
        let outer = outer_of(&mut rig, &large);
        let lowered = rig.counters().sizes.path_mtu_lowered;
        let forgeries: &[(usize, u8, &str)] = &[
            (ip - 1, 0x01, "another care-of address"),
            (ip + 3, 0x01, "another care-of port"),
            (frame, 0x80, "another packet type"),
            (frame + 3, 0x10, "another SPI"),
            (frame + 4, 0x40, "a number that was never sent"),
        ];
        for (place, bits, forgery) in forgeries {
            let mut forged = outer.clone();
            forged[*place] ^= bits;
            let before = rig.counters().dropped(D::OuterErrorUnrelated);
            rig.send(ACCESS, &complain(&forged, what, 548));
            assert_eq!(
                rig.counters().dropped(D::OuterErrorUnrelated),
                before + 1,
                "{forgery}: {:?} {:?}",
                mn.suite,
                mn.scope
            );
        }
        // Invented ciphertext, or another inner destination.
        let mut forged = outer.clone();
        let inner = frame + 8 + if mn.scope == Scope::Signalling { 0 } else { iv_len(mn.suite) };
        forged[inner + 32] ^= 1;
        let before = rig.counters().dropped(D::OuterErrorUnrelated);
        rig.send(ACCESS, &complain(&forged, what, 548));
        let after = rig.counters();
        // Another cipher block may decrypt to no IP header at all.
        let unusable =
            after.dropped(D::OuterErrorUnrelated) - before + after.dropped(D::OuterErrorTooShort);
        assert_eq!(unusable, 1, "{:?}", mn.suite);
        assert_eq!(after.sizes.path_mtu_lowered, lowered);
        rig.is_silent();
    }
    rig.finish();
}

fn iv_len(suite: Suite) -> usize {
    match suite {
        Suite::NullSha | Suite::NullSha256 => 0,
        Suite::TripleDesEdeCbcSha | Suite::Aes128Gcm => 8,
        _ => 16,
    }
}

/// TUN-13: eight octets, as old IPv4 routers quote (RFC 792), and everything up to the inner
/// header.
#[test]
fn a_quotation_that_is_too_short() {
    let mut rig = talkative(|_| ());
    for mn in all_nodes() {
        let mn = rig.attach(mn);
        let outer6 = mn.remote.is_ipv6();
        let (headers, what) = if outer6 { (48, (1, 0, 0)) } else { (28, (3, 1, 0)) };
        let outer = outer_of(&mut rig, &to_mobile(&mn, true, false, 400));
        let iv = if mn.scope == Scope::Signalling { 0 } else { iv_len(mn.suite) };
        for quoted in
            [headers, headers + 7, headers + 8, headers + 8 + iv + 16, headers + 8 + iv + 39]
        {
            let before = rig.counters().dropped(D::OuterErrorTooShort);
            rig.send(ACCESS, &complain(&outer, what, quoted));
            assert_eq!(
                rig.counters().dropped(D::OuterErrorTooShort),
                before + 1,
                "{quoted} octets, {:?}",
                mn.suite
            );
            rig.is_silent();
        }
    }
    rig.finish();
}

/// Signalling has nobody to be told; errors about other packets are the kernel's.
#[test]
fn errors_about_other_packets_of_the_box() {
    let mut rig = talkative(|_| ());
    let mn = rig.attach(MobileNode::usual());
    rig.control.send_signalling(mn.spi, mn.local, mn.remote, 43, &[0; 48]).unwrap();
    rig.turns();
    let outer = rig.received_one(ACCESS).packet().to_vec();
    rig.send(ACCESS, &complain(&outer, (1, 0, 0), 1232));
    assert_eq!(rig.drops(), [("outer_error_unrelated", 1)].into());
    let tcp = codec::ip(HA6.into(), GATEWAY6.into(), 6, &[0; 40]);
    for what in [(1, 0, 0), (2, 0, 1400)] {
        rig.send(ACCESS, &complain(&tcp, what, 1232));
        assert!(matches!(rig.events()[..], [Event::Host { .. }]));
    }
    rig.send(ACCESS, &codec::ip(ROUTER6.into(), HA6.into(), 58, &[128, 0, 0, 0, 0, 1, 0, 1]));
    assert!(matches!(rig.events()[..], [Event::Host { .. }]));
    rig.finish();
}

/// TUN-13: rate-limited, by the tunnel they are about.
#[test]
fn errors_about_one_tunnel_do_not_flood() {
    let mut rig = talkative(|config| config.icmp_errors_per_peer = 10);
    let mn = rig.attach(MobileNode::usual());
    let outer = outer_of(&mut rig, &to_mobile(&mn, true, false, 400));
    let error = complain(&outer, (1, 0, 0), 1232);
    let mut heard = 0;
    for _ in 0..200 {
        rig.send(ACCESS, &error);
        heard += rig.received(HOME).len() as u64;
    }
    let limited = rig.counters().dropped(D::OuterErrorLimited);
    assert!((10..40).contains(&heard), "{heard}");
    assert!(limited > 150, "{limited}");
    assert_eq!(rig.counters().sizes.outer_errors_relayed, 200 - limited);
    rig.finish();
}

/// TUN-13: whoever can't know what a tunnel carries spends none of what its errors are admitted by.
#[test]
fn forged_errors_do_not_silence_genuine_ones() {
    // As many as there are mobile nodes: they all have the same correspondent.
    let mut rig = talkative(|config| config.icmp_errors_per_peer = 30);
    for mn in all_nodes() {
        let mn = rig.attach(mn);
        let (ip, what) = if mn.remote.is_ipv6() { (40, (2, 0, 1300)) } else { (20, (3, 4, 1300)) };
        let frame = ip + 8;
        let outer = outer_of(&mut rig, &to_mobile(&mn, true, false, 1400));
        let inner = frame + 8 + 32;
        let is_plain = mn.scope == Scope::Signalling;
        for number in 0..60 {
            let mut forged = outer.clone();
            match number % 4 {
                _ if is_plain => forged[inner] ^= 0x40,
                0 => forged[frame] ^= 0x80,
                1 => forged[frame + 3] ^= 0x10,
                2 => forged[frame + 4] ^= 0x40,
                _ => forged[ip + 3] ^= 1,
            }
            rig.send(ACCESS, &complain(&forged, what, 548));
        }
        rig.is_silent();
        rig.send(ACCESS, &complain(&outer, what, 548));
        assert_eq!(heard(&mut rig, HOME).to, IpAddr::from(CN6), "{:?} {:?}", mn.suite, mn.scope);
    }
    assert_eq!(rig.counters().dropped(D::OuterErrorLimited), 0);
    rig.finish();
}

/// A router complains of each packet that was under way; only the first time is it news.
#[test]
fn a_packet_too_big_again() {
    let mut rig = talkative(|_| ());
    let mn = rig.attach(MobileNode::usual());
    let outer = outer_of(&mut rig, &to_mobile(&mn, true, false, 1400));
    rig.send(ACCESS, &complain(&outer, (2, 0, 1400), 1232));
    heard(&mut rig, HOME);
    for _ in 0..3 {
        rig.send(ACCESS, &complain(&outer, (2, 0, 1400), 1232));
    }
    rig.is_silent();
    assert_eq!(rig.drops(), [("outer_error_known", 3)].into());
    rig.finish();
}

/// What the limit on ICMP errors keeps back has not been relayed.
#[test]
fn only_what_is_sent_is_relayed() {
    let mut rig = talkative(|config| config.icmp_errors_per_peer = 4);
    for n in 1..9 {
        let mn = MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, true);
        let mn = rig.attach(mn);
        let outer = outer_of(&mut rig, &to_mobile(&mn, true, false, 400));
        rig.send(ACCESS, &complain(&outer, (1, 0, 0), 1232));
    }
    let heard = rig.received(HOME).len() as u64;
    let sizes = rig.counters().sizes;
    assert_eq!((sizes.outer_errors_relayed, sizes.icmp_errors_limited), (heard, 8 - heard));
    assert!((4..8).contains(&heard), "{heard}");
    rig.finish();
}
