//! The inner packet: who may send what (ENC-09 to ENC-11, 31, 32, 36, 40 to 42, 44).

use std::net::{IpAddr, Ipv6Addr};

use hearth_dataplane::DropReason as D;
use hearth_wire::{Scope, Suite};

use crate::codec::{self, Plain};
use crate::rig::{ACCESS, CN4, CN6, HA4, HA6, HOME, MobileNode, Rig, SERVICE_PORT};

const OUTSIDER: &str = "2001:db8:ffff::1";

fn scope0(n: u8) -> MobileNode {
    MobileNode::new(n, Suite::Aes128CbcSha, Scope::Signalling, true)
}

/// Sends a protected packet that passes the SA but is dropped behind it.
fn refuses_inside(rig: &mut Rig, mn: &mut MobileNode, next_header: u8, inner: &[u8], reason: D) {
    let before = rig.drops().get(reason.name()).copied().unwrap_or(0);
    let total = rig.counters().dropped_total();
    let packet = mn.sealed(&mn.plain(1, mn.seq, next_header, inner));
    mn.seq += 1;
    rig.send(ACCESS, &packet);
    assert_eq!(rig.drops().get(reason.name()), Some(&(before + 1)), "{:?}", rig.drops());
    assert_eq!(rig.counters().dropped_total(), total + 1);
    rig.is_silent();
    if reason != D::NoBinding {
        rig.still_bound(mn);
        assert_eq!(rig.counters().dropped_total(), total + 1);
    }
}

/// ENC-09, ENC-10, ENC-11, ENC-41, R-26.
#[test]
fn ptype_0_needs_scope_0_and_the_registered_care_of_address() {
    let mut rig = Rig::new();
    let mn = rig.attach(scope0(1));
    for inner in [mn.inner6(), mn.inner4()] {
        rig.send(ACCESS, &mn.clear(&inner));
        rig.received_one(HOME);
    }
    assert_eq!(rig.counters().uplink_plain.packets, 2);

    let strict =
        rig.attach(MobileNode::new(2, Suite::Aes128CbcSha, Scope::SignallingAndData, true));
    rig.refuses(&strict, &strict.clear(&strict.inner6()), D::PlainDataForbidden);
    rig.refuses(&strict, &strict.clear(&strict.inner4()), D::PlainDataForbidden);

    let mut elsewhere = mn.clone();
    elsewhere.remote.set_ip("2001:db8:100::77".parse().unwrap());
    rig.refuses(&mn, &elsewhere.clear(&mn.inner6()), D::PlainOuterSource);
    elsewhere.remote = mn.remote;
    elsewhere.remote.set_port(mn.remote.port() + 1);
    rig.refuses(&mn, &elsewhere.clear(&mn.inner6()), D::PlainOuterSource);

    let stranger = codec::ip(OUTSIDER.parse().unwrap(), CN6.into(), 17, b"x");
    rig.refuses(&mn, &mn.clear(&stranger), D::PlainSenderUnknown);
    rig.refuses(&mn, &mn.clear(&[]), D::InnerLength);
    rig.refuses(&mn, &mn.clear(&[0x50; 60]), D::InnerVersion);
    rig.refuses(&mn, &mn.clear(&mn.inner6()[..50]), D::InnerLength);
    // Octets behind the inner packet's own length are trimmed.
    rig.send(ACCESS, &mn.clear(&[mn.inner6(), vec![0; 30]].concat()));
    assert_eq!(rig.received_one(HOME).packet().len(), mn.inner6().len());
    rig.finish();
}

/// ENC-11, R-25: accepted, and counted apart.
#[test]
fn ptype_1_under_scope_0() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(scope0(1));
    let packet = mn.data(&mn.inner6());
    rig.send(ACCESS, &packet);
    rig.received_one(HOME);
    assert_eq!(rig.counters().uplink_protected_under_scope_0, 1);
    rig.finish();
}

/// ENC-31, ENC-32.
#[test]
fn next_header_names_the_inner_version() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let (inner6, inner4) = (mn.inner6(), mn.inner4());
    refuses_inside(&mut rig, &mut mn, 4, &inner6, D::InnerVersion);
    refuses_inside(&mut rig, &mut mn, 41, &inner4, D::InnerVersion);
    refuses_inside(&mut rig, &mut mn, 59, &inner6, D::DummyPacket);
    for next_header in [50, 135, 17, 0, 60] {
        refuses_inside(&mut rig, &mut mn, next_header, &inner6, D::DataNextHeader);
    }
    rig.finish();
}

/// shorter than its own length, or longer.
#[test]
fn inner_lengths_and_headers() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let (inner6, inner4) = (mn.inner6(), mn.inner4());
    refuses_inside(&mut rig, &mut mn, 41, &inner6[..inner6.len() - 1], D::InnerLength);
    refuses_inside(&mut rig, &mut mn, 41, &inner6[..39], D::InnerLength);
    refuses_inside(&mut rig, &mut mn, 4, &inner4[..inner4.len() - 1], D::InnerLength);
    refuses_inside(&mut rig, &mut mn, 4, &inner4[..19], D::InnerLength);
    refuses_inside(&mut rig, &mut mn, 41, &[], D::InnerLength);
    let mut bad = inner4.clone();
    bad[8] ^= 1;
    refuses_inside(&mut rig, &mut mn, 4, &bad, D::InnerHeader);
    let mut bad = inner4.clone();
    bad[0] = 0x44;
    refuses_inside(&mut rig, &mut mn, 4, &bad, D::InnerHeader);
    let padded = [&inner6[..], &[0xee; 40]].concat();
    let packet = mn.data(&padded);
    rig.send(ACCESS, &packet);
    assert_eq!(rig.received_one(HOME).packet().len(), inner6.len());
    rig.finish();
}

/// ENC-40: the SA is not tied to the care-of address, and nothing but a Binding Update moves the
/// binding.
#[test]
fn ptype_1_from_elsewhere() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let registered = mn.remote;
    mn.remote = "[2001:db8:200::5]:999".parse().unwrap();
    let packet = mn.data(&mn.inner6());
    rig.send(ACCESS, &packet);
    rig.received_one(HOME);
    rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, b"x"));
    mn.remote = registered;
    mn.open(&rig.received_one(ACCESS));
    rig.finish();
}

/// ENC-42.
#[test]
fn inner_sources_are_those_of_the_binding() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let other = rig.attach(MobileNode::new(2, Suite::NullSha, Scope::SignallingAndData, false));
    let sources: [(IpAddr, IpAddr); 4] = [
        (OUTSIDER.parse().unwrap(), CN6.into()),
        (other.home6.into(), CN6.into()),
        (other.home4.into(), CN4.into()),
        (HA6.into(), CN6.into()),
    ];
    for (source, to) in sources {
        let inner = codec::ip(source, to, 17, b"spoof");
        let next_header = if source.is_ipv6() { 41 } else { 4 };
        refuses_inside(&mut rig, &mut mn, next_header, &inner, D::InnerSource);
    }
    rig.finish();
}

///
#[test]
fn data_needs_a_binding() {
    let mut rig = Rig::new();
    let mut mn = MobileNode::usual();
    rig.insert_sa(&mn);
    let inner = mn.inner6();
    refuses_inside(&mut rig, &mut mn, 41, &inner, D::NoBinding);
    rig.bind(&mn);
    let packet = mn.data(&inner);
    rig.send(ACCESS, &packet);
    rig.received_one(HOME);
    assert!(rig.tables.unbind(mn.home6));
    refuses_inside(&mut rig, &mut mn, 41, &inner, D::NoBinding);
    rig.finish();
}

/// multicast and link-scope traffic is never forwarded. Queries are the router's to ask; what
/// listeners report goes to control.
#[test]
fn link_scope_traffic_stays() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let link_local: IpAddr = "fe80::1".parse().unwrap();
    let home: IpAddr = mn.home6.into();
    let group: IpAddr = "ff02::16".parse().unwrap();
    let any: IpAddr = Ipv6Addr::UNSPECIFIED.into();
    for (from, to) in [
        (link_local, group),
        (any, group),
        (home, group),
        (home, link_local),
        (link_local, CN6.into()),
    ] {
        let inner = codec::ip(from, to, 58, &[130, 0, 0, 0]);
        refuses_inside(&mut rig, &mut mn, 41, &inner, D::InnerLinkScope);
    }
    let igmp = codec::ip(mn.home4.into(), "224.0.0.22".parse().unwrap(), 2, &[0x11, 0, 0, 0]);
    refuses_inside(&mut rig, &mut mn, 4, &igmp, D::InnerLinkScope);
    rig.finish();
}

/// ENC-35, ENC-36.
#[test]
fn a_mobility_header_to_the_home_agent_comes_as_ptype_8_only() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(scope0(1));
    let update = [59, 1, 5, 0, 0, 0, 0, 1, 0xc0, 0, 0, 60, 1, 2, 0, 0];
    let direct = codec::ip(mn.home6.into(), HA6.into(), 135, &update);
    let options = [&[135, 0, 1, 4, 0, 0, 0, 0][..], &update].concat();
    let behind_options = codec::ip(mn.home6.into(), HA6.into(), 60, &options);
    for inner in [&direct, &behind_options] {
        refuses_inside(&mut rig, &mut mn, 41, inner, D::EmbeddedMobilityHeader);
        rig.refuses(&mn, &mn.clear(inner), D::EmbeddedMobilityHeader);
    }
    // A Home Test Init to a correspondent is data.
    let init = codec::ip(
        mn.home6.into(),
        CN6.into(),
        135,
        &[59, 1, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
    );
    let packet = mn.data(&init);
    rig.send(ACCESS, &packet);
    assert_eq!(rig.received_one(HOME).packet()[40..], init[40..]);
    rig.finish();
}

/// ENC-36: an envelope inside the tunnel is neither opened nor left to the kernel, which would
/// answer port unreachable.
#[test]
fn an_envelope_inside_the_tunnel_goes_nowhere() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(scope0(1));
    let update = [59, 1, 5, 0, 0, 0, 0, 1, 0xc0, 0, 0, 60, 1, 2, 0, 0];
    let frame = mn.plain(8, 77, 135, &update).seal(mn.suite, &mn.up);
    let mut pairs = Vec::new();
    for (from, to) in [(IpAddr::from(mn.home6), IpAddr::from(HA6)), (mn.home4.into(), HA4.into())] {
        let datagram = codec::udp((from, 40_000).into(), (to, SERVICE_PORT).into(), &frame);
        pairs.push(codec::ip(from, to, 17, &datagram));
        // As the first of two fragments.
        let mut first = if to.is_ipv6() {
            let fragment = [&[17, 0, 0, 1, 0, 0, 0, 5][..], &datagram[..16]].concat();
            codec::ip(from, to, 44, &fragment)
        } else {
            codec::ip(from, to, 17, &datagram[..16])
        };
        if to.is_ipv4() {
            first[6] |= 0x20;
            first[10..12].fill(0);
            let sum = codec::checksum(&first[..20]).to_be_bytes();
            first[10..12].copy_from_slice(&sum);
        }
        pairs.push(first);
    }
    let datagram = codec::udp((mn.home6, 40_000).into(), (HA6, SERVICE_PORT).into(), &frame);
    let options = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &datagram].concat();
    pairs.push(codec::ip(mn.home6.into(), HA6.into(), 60, &options));
    for inner in &pairs {
        let next_header = if inner[0] >> 4 == 6 { 41 } else { 4 };
        refuses_inside(&mut rig, &mut mn, next_header, inner, D::EmbeddedEnvelope);
        rig.refuses(&mn, &mn.clear(inner), D::EmbeddedEnvelope);
    }
    // Another port of the box is the kernel's, and the same port elsewhere is data.
    for (to, port, kernel) in [(HA6, 53, true), (CN6, SERVICE_PORT, false)] {
        let datagram = codec::udp((mn.home6, 40_000).into(), (to, port).into(), b"x");
        let packet = mn.data(&codec::ip(mn.home6.into(), to.into(), 17, &datagram));
        rig.send(ACCESS, &packet);
        assert_eq!(rig.events().len(), usize::from(kernel));
        assert_eq!(rig.received(HOME).len(), usize::from(!kernel));
    }
    assert_eq!(rig.drops(), [("embedded_envelope", 10)].into());
    rig.finish();
}

/// ENC-44, RFC 6040 s.4.2.
#[test]
fn congestion_marks_come_out_of_the_tunnel() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    for (inner_ecn, outer_ecn, expected) in [
        (2, 3, Some(3)),
        (1, 3, Some(3)),
        (2, 1, Some(1)),
        (0, 2, Some(0)),
        (3, 0, Some(3)),
        (0, 3, None),
    ] {
        for (from, to) in
            [(IpAddr::from(mn.home6), IpAddr::from(CN6)), (mn.home4.into(), CN4.into())]
        {
            let inner = codec::ip_with(from, to, 17, 64, 0xb8 | inner_ecn, b"marked");
            let next_header = if to.is_ipv6() { 41 } else { 4 };
            let frame = Plain { ..mn.plain(1, mn.seq, next_header, &inner) }.seal(mn.suite, &mn.up);
            mn.seq += 1;
            let datagram = codec::udp(mn.remote, mn.local, &frame);
            rig.send(
                ACCESS,
                &codec::ip_with(mn.remote.ip(), mn.local.ip(), 17, 64, outer_ecn, &datagram),
            );
            let Some(expected) = expected else {
                assert!(rig.received(HOME).is_empty());
                continue;
            };
            let frame = rig.received_one(HOME);
            let packet = frame.packet();
            let class = if to.is_ipv6() {
                packet[0] << 4 | packet[1] >> 4
            } else {
                assert_eq!(codec::checksum(&packet[..20]), 0);
                packet[1]
            };
            assert_eq!(class, 0xb8 | expected);
        }
    }
    assert_eq!(rig.drops(), [("ecn_not_capable", 2)].into());
    rig.finish();
}
