//! A real home link: duplicate address detection, announcement, defence. RFC 6275 s.10.3.1,
//! 10.4.1; RFC 5555 s.4.5.

use core::net::{IpAddr, Ipv6Addr};

use hearth_home_agent::{
    Action, Event, HomeLink, HomePrefix, LinkEvent, LinkId, LinkPolicy, Notice,
};
use hearth_wire::icmp6::{self, Envelope, Message};

use crate::lab::{Bu, COA2, HA, HOA, HOA4, Lab, OTHER_HOA, Outcome, hoa, other_sa, seconds};

pub(crate) const LINK: LinkId = LinkId(1);
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const HA_ON_LINK: Ipv6Addr = hoa(1);
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa);

/// Both home prefixes of the drawing on one link.
pub(crate) fn links() -> LinkPolicy {
    let on_link = |prefix: &str| HomePrefix {
        link: Some(LINK),
        ..HomePrefix::routed(prefix.parse().unwrap())
    };
    LinkPolicy {
        links: vec![HomeLink { id: LINK, mac: MAC, ip6: HA_ON_LINK }],
        prefixes: vec![on_link("2001:db8:6618:100::/64"), on_link("203.0.113.128/25")],
        ..LinkPolicy::default()
    }
}

pub(crate) fn lab(policy: &LinkPolicy) -> Lab {
    let mut lab = Lab::new();
    lab.event(Event::Link(LinkEvent::Configured(policy)));
    lab.issue(other_sa(2));
    lab
}

/// A frame on the link, as a host there reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// Target; source address; R, S, O.
    Advertisement(Ipv6Addr, Ipv6Addr, (bool, bool, bool)),
    /// Target of duplicate address detection.
    Solicitation(Ipv6Addr),
    /// Sender and target address of an ARP request.
    Arp([u8; 4], [u8; 4]),
}

fn seen(outcome: &Outcome) -> Vec<Seen> {
    let frame = |action: &Action| match action {
        Action::Frame { link, frame } => {
            assert_eq!((*link, &frame[6..12]), (LINK, &MAC[..]));
            Some(read(frame))
        }
        _ => None,
    };
    outcome.0.iter().filter_map(frame).collect()
}

fn read(frame: &[u8]) -> Seen {
    if frame[12..14] == [8, 6] {
        assert_eq!((&frame[..6], &frame[22..28]), (&[0xff; 6][..], &MAC[..]));
        assert_eq!(frame[14..22], [0, 1, 8, 0, 6, 4, 0, 1]);
        return Seen::Arp(frame[28..32].try_into().unwrap(), frame[38..42].try_into().unwrap());
    }
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap());
    let envelope = Envelope { source: address(22), destination: address(38), hop_limit: frame[21] };
    assert_eq!(frame[..2], [0x33, 0x33]);
    assert_eq!(frame[2..6], envelope.destination.octets()[12..]);
    match icmp6::parse(&frame[54..], &envelope).unwrap() {
        Message::NeighbourAdvertisement(na) => {
            assert_eq!(envelope.destination, "ff02::1".parse::<Ipv6Addr>().unwrap());
            assert_eq!(na.target_link_layer, Some(MAC));
            let flags = (na.router, na.solicited, na.overrides);
            Seen::Advertisement(na.target, envelope.source, flags)
        }
        Message::NeighbourSolicitation(ns) => {
            assert_eq!((envelope.source, ns.source_link_layer), (Ipv6Addr::UNSPECIFIED, None));
            Seen::Solicitation(ns.target)
        }
        other => panic!("{other:?}"),
    }
}

const fn announced(target: Ipv6Addr) -> Seen {
    Seen::Advertisement(target, HA_ON_LINK, (false, false, true))
}

fn contested(lab: &mut Lab, address: impl Into<IpAddr>, probing: bool) -> Outcome {
    let (link, address, mac) = (LINK, address.into(), OTHER_MAC);
    lab.event(Event::Link(LinkEvent::Contested { link, address, mac, probing }))
}

#[test]
fn nd_01_and_nd_03_first_registration_with_l_0() {
    let mut lab = lab(&links());
    let asked = lab.bu(Bu::new(15));
    assert!(asked.binds().is_empty() && asked.0.is_empty(), "nothing before the detection");
    let mut outcome = lab.wait(seconds(0));
    assert_eq!(seen(&outcome), [Seen::Solicitation(HOA)]);
    outcome = lab.wait(seconds(1));
    assert_eq!(outcome.answer(), (0, 15, 100));
    assert_eq!(outcome.binds().len(), 1);
    assert_eq!(seen(&outcome), [announced(HOA)]);
    let bind = outcome.0.iter().position(|action| matches!(action, Action::Bind(_)));
    let frame = outcome.0.iter().position(|action| matches!(action, Action::Frame { .. }));
    assert!(bind < frame, "answered for before it is announced");
    // RFC 4861 s.7.2.6: twice more.
    assert_eq!(seen(&lab.wait(seconds(10))), [announced(HOA), announced(HOA)]);
}

#[test]
fn nd_01_and_nd_03_with_l_1_the_link_local_address_too() {
    let mut lab = lab(&links());
    lab.bu(Bu::new(15).flags(|flags| flags.link_local_compat = true));
    let asked = seen(&lab.wait(seconds(0)));
    assert_eq!(asked, [Seen::Solicitation(HOA), Seen::Solicitation(LINK_LOCAL)]);
    let outcome = lab.wait(seconds(1));
    assert_eq!(outcome.answer(), (0, 15, 100));
    assert_eq!(seen(&outcome), [announced(HOA), announced(LINK_LOCAL)]);
    let tunnels = outcome.binds()[0];
    assert_eq!(tunnels.link.unwrap().link_local, Some(LINK_LOCAL));
}

#[test]
fn nd_02_somebody_has_the_address_or_wants_it() {
    for (address, probing) in [(HOA, false), (HOA, true), (LINK_LOCAL, false)] {
        let mut lab = lab(&links());
        lab.bu(Bu::new(15).flags(|flags| flags.link_local_compat = true));
        lab.wait(seconds(0));
        let outcome = contested(&mut lab, address, probing);
        assert_eq!(outcome.answer(), (134, 15, 0), "{address} {probing}");
        assert!(matches!(outcome.notices()[0], Notice::Duplicate { mac: OTHER_MAC, .. }));
        let after = lab.wait(seconds(10));
        assert!(after.0.is_empty() && lab.binding().is_none(), "{:?}", after.0);
    }
}

#[test]
fn nd_02_the_own_frames_come_back() {
    let mut lab = lab(&links());
    lab.bu(Bu::new(15));
    lab.wait(seconds(0));
    let (link, address, mac) = (LINK, HOA.into(), MAC);
    lab.event(Event::Link(LinkEvent::Contested { link, address, mac, probing: true }));
    assert_eq!(lab.wait(seconds(1)).answer(), (0, 15, 100));
}

#[test]
fn a_retransmission_joins_the_detection_that_runs() {
    let mut lab = lab(&links());
    lab.bu(Bu::new(15));
    assert_eq!(seen(&lab.wait(seconds(0))).len(), 1);
    lab.now = lab.now.after(core::time::Duration::from_millis(900));
    assert!(lab.bu(Bu::new(16).from(COA2)).0.is_empty());
    // An older one that was overtaken changes nothing.
    assert!(lab.bu(Bu::new(14)).0.is_empty());
    let outcome = lab.wait(core::time::Duration::from_millis(100));
    assert_eq!(outcome.answer(), (0, 16, 100));
    assert_eq!(lab.binding(), Some((COA2.parse().unwrap(), 16)));
}

#[test]
fn reg_27_a_refresh_or_a_move_asks_and_announces_nothing() {
    let mut lab = lab(&links());
    lab.bu(Bu::new(15));
    lab.wait(seconds(10));
    for bu in [Bu::new(16), Bu::new(17).from(COA2)] {
        let outcome = lab.bu(bu);
        assert_eq!(outcome.status(), 0);
        assert!(seen(&outcome).is_empty() && seen(&lab.wait(seconds(10))).is_empty());
    }
}

#[test]
fn nd_06_and_reg_18_after_the_end_nothing_is_announced_or_defended() {
    for expire in [false, true] {
        let mut lab = lab(&links());
        lab.bu(Bu::new(15).flags(|flags| flags.link_local_compat = true));
        lab.wait(seconds(1));
        if expire {
            let outcome = lab.wait(seconds(400));
            assert_eq!(outcome.unbinds(), [HOA]);
            assert!(matches!(outcome.notices()[..], [Notice::Expired { .. }]));
        } else {
            let outcome = lab.bu(Bu::new(16).lifetime(0));
            assert_eq!((outcome.status(), outcome.unbinds()), (0, vec![HOA]));
        }
        for address in [HOA, LINK_LOCAL] {
            assert!(contested(&mut lab, address, false).0.is_empty());
        }
        // DRG-07: and what follows is a first registration, with all that it takes.
        assert!(seen(&lab.wait(seconds(20))).is_empty());
        lab.bu(Bu::new(20));
        assert_eq!(seen(&lab.wait(seconds(0))), [Seen::Solicitation(HOA)]);
    }
}

#[test]
fn a_bound_address_is_defended_once_a_second() {
    let mut lab = lab(&links());
    lab.bu(Bu::new(15).ipv4(HOA4));
    lab.wait(seconds(10));
    let outcome = contested(&mut lab, HOA, false);
    assert_eq!(seen(&outcome), [announced(HOA)]);
    assert!(matches!(outcome.notices()[..], [Notice::AddressContested { mac: OTHER_MAC, .. }]));
    assert!(contested(&mut lab, HOA, false).0.is_empty());
    let outcome = contested(&mut lab, HOA4, false);
    assert_eq!(seen(&outcome), [Seen::Arp(HOA4.octets(), HOA4.octets())]);
    lab.wait(seconds(1));
    assert_eq!(seen(&contested(&mut lab, HOA, false)), [announced(HOA)]);
    // Who only asks gets the dataplane's answer, and nobody is asked about what is not bound.
    lab.wait(seconds(1));
    assert!(contested(&mut lab, HOA, true).0.is_empty());
    assert!(contested(&mut lab, OTHER_HOA, false).0.is_empty());
}

#[test]
fn dsm_14_the_ipv4_home_address_by_arp() {
    let mut lab = lab(&links());
    lab.bu(Bu::new(15).ipv4(HOA4));
    let asked = seen(&lab.wait(seconds(0)));
    assert_eq!(asked, [Seen::Solicitation(HOA), Seen::Arp([0; 4], HOA4.octets())]);
    let outcome = lab.wait(seconds(1));
    assert_eq!(outcome.status(), 0);
    let own = Seen::Arp(HOA4.octets(), HOA4.octets());
    assert_eq!(seen(&outcome), [announced(HOA), own]);
}

#[test]
fn dsm_14_somebody_has_the_ipv4_home_address() {
    let mut lab = lab(&links());
    lab.bu(Bu::new(15).ipv4(HOA4));
    lab.wait(seconds(0));
    assert_eq!(contested(&mut lab, HOA4, true).answer(), (134, 15, 0));
}

#[test]
fn an_ipv4_home_address_that_comes_later_is_asked_for_and_the_binding_stays() {
    let mut lab = lab(&links());
    lab.bu(Bu::new(15));
    lab.wait(seconds(10));
    assert!(lab.bu(Bu::new(16).ipv4(HOA4)).0.is_empty());
    assert_eq!(seen(&lab.wait(seconds(0))), [Seen::Arp([0; 4], HOA4.octets())]);
    assert_eq!(contested(&mut lab, HOA4, false).answer(), (134, 16, 0));
    assert_eq!(lab.binding().map(|(_, sequence)| sequence), Some(15));
}

#[test]
fn a_de_registration_ends_the_detection() {
    let mut lab = lab(&links());
    lab.bu(Bu::new(15));
    assert_eq!(lab.bu(Bu::new(16).lifetime(0)).status(), 133);
    assert!(seen(&lab.wait(seconds(10))).is_empty() && lab.binding().is_none());
}

#[test]
fn the_sa_ends_while_the_registration_waits() {
    let mut lab = lab(&links());
    lab.bu(Bu::new(15));
    lab.event(Event::SaRevoked(crate::lab::spi(1)));
    let outcome = lab.wait(seconds(10));
    assert!(outcome.binds().is_empty() && lab.ha.binding_count() == 0, "{:?}", outcome.0);
}

#[test]
fn registrations_beyond_the_bound_get_130() {
    let mut lab = lab(&LinkPolicy { max_probing: 1, ..links() });
    lab.bu(Bu::new(15));
    let other = Bu::new(15).spi(2).home_address(Some(OTHER_HOA));
    let payload = lab.bu(other);
    assert!(
        payload
            .notices()
            .iter()
            .any(|notice| matches!(notice, Notice::Refused { status, .. } if status.0 == 130))
    );
    assert_eq!(lab.ha.probing(), 1);
}

#[test]
fn nd_09_a_routed_prefix_knows_no_neighbour_discovery() {
    let mut policy = links();
    policy.prefixes.iter_mut().for_each(|home| home.link = None);
    let mut lab = lab(&policy);
    let outcome = lab.bu(Bu::new(15).ipv4(HOA4).flags(|flags| flags.link_local_compat = true));
    assert_eq!(outcome.status(), 0);
    let tunnels = outcome.binds()[0];
    assert_eq!(tunnels.link, None);
    assert!(contested(&mut lab, HOA, false).0.is_empty());
    assert!(seen(&lab.wait(seconds(10))).is_empty());
    assert_eq!(lab.ha.binding(HOA).unwrap().local.ip(), IpAddr::V6(HA));
}
