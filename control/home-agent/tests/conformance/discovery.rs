//! The Home Agents List, dynamic home agent address discovery, and Home Address options from
//! strangers. RFC 6275 s.9.3.1, 10.5; RFC 3963 s.7.

use core::net::Ipv6Addr;
use std::collections::BTreeSet;

use hearth_home_agent::{Action, DiscoveryPolicy, Event, LinkEvent, LinkPolicy, anycast};
use hearth_wire::icmp6::{
    self, Envelope, HomeAgentDiscoveryRequest, HomeAgentInformation, Message, PrefixInformation,
    Prefixes, RouterAdvertisement,
};
use hearth_wire::mh;

use crate::home_link::LINK;
use crate::lab::{HA, HOA, Lab, Outcome, hoa, seconds};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const MN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xc);
const OWN: Ipv6Addr = hoa(1);

fn policy() -> LinkPolicy {
    let discovery = DiscoveryPolicy { preference: 5, mobile_routers: true, addresses: vec![OWN] };
    LinkPolicy { discovery: Some(discovery), ..crate::home_link::links() }
}

fn configured(policy: &LinkPolicy) -> Lab {
    let mut lab = Lab::new();
    lab.event(Event::Link(LinkEvent::Configured(policy)));
    lab
}

/// A peer: its number, and what it says.
struct Peer {
    number: u16,
    home_agent: bool,
    router_lifetime: u16,
    information: Option<HomeAgentInformation>,
    /// R of its prefixes, one for each of its addresses.
    addresses: Vec<bool>,
}

impl Peer {
    fn new(number: u16, preference: u16) -> Self {
        let information =
            HomeAgentInformation { mobile_routers: false, preference, lifetime: 1000 };
        let addresses = vec![true];
        let (home_agent, router_lifetime) = (true, 1800);
        Self { number, home_agent, router_lifetime, information: Some(information), addresses }
    }

    fn address(&self, n: u16) -> Ipv6Addr {
        hoa(0x1000 + self.number * 16 + n)
    }

    fn advertise(&self, lab: &mut Lab) {
        let prefix = |(n, router_address): (u16, &bool)| PrefixInformation {
            prefix: self.address(n),
            len: 64,
            on_link: true,
            autonomous: true,
            router_address: *router_address,
            valid: 3600,
            preferred: 3600,
        };
        let list: Vec<_> = (0..).zip(&self.addresses).map(prefix).collect();
        let message = Message::RouterAdvertisement(RouterAdvertisement {
            home_agent: self.home_agent,
            router_lifetime: self.router_lifetime,
            home_agent_information: self.information,
            prefixes: Prefixes::List(&list),
            ..RouterAdvertisement::default()
        });
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, self.number);
        let mut octets = [0; 1024];
        let len = icmp6::emit(&message, source, ALL_NODES, &mut octets).unwrap();
        let envelope = Envelope { source, destination: ALL_NODES, hop_limit: 255 };
        let octets = &octets[..len];
        let (link, own) = (LINK, false);
        lab.event(Event::Link(LinkEvent::RouterAdvertisement { link, own, envelope, octets }));
    }
}

fn ask(lab: &mut Lab, mobile_routers: bool) -> Outcome {
    let request = HomeAgentDiscoveryRequest { id: 0x4321, mobile_routers };
    let destination = anycast("2001:db8:6618:100::/64".parse().unwrap());
    ask_at(lab, destination, request)
}

fn ask_at(lab: &mut Lab, destination: Ipv6Addr, request: HomeAgentDiscoveryRequest) -> Outcome {
    let mut octets = [0; 8];
    let message = Message::HomeAgentDiscoveryRequest(request);
    icmp6::emit(&message, MN, destination, &mut octets).unwrap();
    let envelope = Envelope { source: MN, destination, hop_limit: 60 };
    lab.event(Event::Link(LinkEvent::HomeAgentDiscovery { envelope, octets: &octets }))
}

fn plain(outcome: &Outcome) -> Vec<Vec<u8>> {
    let packet = |action: &Action| match action {
        Action::SendPlain { packet } => Some(packet.clone()),
        _ => None,
    };
    outcome.0.iter().filter_map(packet).collect()
}

/// R and addresses of the one reply.
fn reply(outcome: &Outcome) -> (bool, Vec<Ipv6Addr>) {
    let packets = plain(outcome);
    assert_eq!(packets.len(), 1);
    let packet = &packets[0];
    assert!(packet.len() <= 1280);
    let address = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).unwrap().into();
    let (source, destination): (Ipv6Addr, Ipv6Addr) = (address(8), address(24));
    assert_eq!((source, destination, packet[6]), (OWN, MN, 58), "DHD-01: a unicast address");
    let envelope = Envelope { source, destination, hop_limit: 64 };
    match icmp6::parse(&packet[40..], &envelope).unwrap() {
        Message::HomeAgentDiscoveryReply(reply) => {
            assert_eq!(reply.id, 0x4321);
            (reply.mobile_routers, reply.addresses.iter().collect())
        }
        other => panic!("{other:?}"),
    }
}

fn listed(lab: &mut Lab) -> Vec<Ipv6Addr> {
    lab.wait(seconds(1));
    let outcome = ask(lab, false);
    reply(&outcome).1
}

#[test]
fn dhd_01_a_request_to_the_anycast_address() {
    let mut lab = configured(&policy());
    assert_eq!(listed(&mut lab), [OWN]);
    let request = HomeAgentDiscoveryRequest { id: 1, mobile_routers: false };
    let elsewhere = anycast("2001:db8:6618:999::/64".parse().unwrap());
    for destination in [elsewhere, HA, OWN] {
        assert!(ask_at(&mut lab, destination, request).0.is_empty());
    }
}

#[test]
fn dhd_02_by_preference_and_in_no_order_among_equals() {
    let mut lab = configured(&policy());
    let peers =
        [Peer::new(1, 9), Peer::new(2, 9), Peer { addresses: vec![true; 3], ..Peer::new(3, 1) }];
    peers.iter().for_each(|peer| peer.advertise(&mut lab));
    let mut orders = BTreeSet::new();
    for _ in 0..200 {
        let list = listed(&mut lab);
        assert_eq!(list.len(), 6);
        assert_eq!(list[2], OWN);
        assert!(
            list[..2].contains(&peers[0].address(0)) && list[..2].contains(&peers[1].address(0))
        );
        orders.insert(list);
    }
    // Two ways for the equals, six for the addresses of the last.
    assert_eq!(orders.len(), 12);
}

#[test]
fn dhd_03_who_is_no_home_agent_any_more() {
    let gone: [fn(&mut Peer); 2] = [
        |peer| peer.home_agent = false,
        |peer| {
            peer.information =
                Some(HomeAgentInformation { lifetime: 0, ..peer.information.unwrap() });
        },
    ];
    for change in gone {
        let mut lab = configured(&policy());
        let mut peer = Peer::new(1, 9);
        peer.advertise(&mut lab);
        assert_eq!(listed(&mut lab), [peer.address(0), OWN]);
        change(&mut peer);
        peer.advertise(&mut lab);
        assert_eq!(listed(&mut lab), [OWN]);
    }
    let mut lab = configured(&policy());
    Peer::new(1, 9).advertise(&mut lab);
    lab.wait(seconds(998));
    assert_eq!(listed(&mut lab).len(), 2);
    assert_eq!(listed(&mut lab), [OWN], "its lifetime is over");
}

#[test]
fn dhd_04_without_the_option_preference_0_and_the_routers_lifetime() {
    let mut lab = configured(&policy());
    let peer = Peer { information: None, router_lifetime: 100, ..Peer::new(1, 0) };
    peer.advertise(&mut lab);
    assert_eq!(listed(&mut lab), [OWN, peer.address(0)]);
    lab.wait(seconds(99));
    assert_eq!(listed(&mut lab), [OWN]);
}

#[test]
fn dhd_05_a_prefix_without_r_names_no_address() {
    let mut lab = configured(&policy());
    let peer = Peer { addresses: vec![false, true], ..Peer::new(1, 9) };
    peer.advertise(&mut lab);
    assert_eq!(listed(&mut lab), [peer.address(1), OWN]);
}

#[test]
fn dhd_06_more_home_agents_than_fit() {
    let mut lab = configured(&policy());
    (0..78).for_each(|n| Peer::new(n, n).advertise(&mut lab));
    let list = listed(&mut lab);
    assert_eq!(list.len(), 77);
    assert_eq!(list[0], Peer::new(77, 77).address(0));
    // 79 with the own one; those of the two lowest preferences are left out.
    assert!([0, 1].iter().all(|n| !list.contains(&Peer::new(*n, *n).address(0))));
}

#[test]
fn dhd_07_home_agents_that_serve_mobile_routers() {
    let mut lab = configured(&policy());
    Peer::new(1, 9).advertise(&mut lab);
    let (flag, list) = reply(&ask(&mut lab, true));
    assert_eq!((flag, list), (true, vec![OWN]));
    let mut none = policy();
    none.discovery.as_mut().unwrap().mobile_routers = false;
    let mut lab = configured(&none);
    Peer::new(1, 9).advertise(&mut lab);
    let (flag, list) = reply(&ask(&mut lab, true));
    assert_eq!((flag, list.len()), (false, 2));
}

#[test]
fn dhd_08_discovery_is_off_unless_it_is_configured() {
    let mut lab = configured(&crate::home_link::links());
    Peer::new(1, 9).advertise(&mut lab);
    assert!(ask(&mut lab, false).0.is_empty());
    assert_eq!(lab.ha.home_agents().count(), 0);
}

#[test]
fn answers_to_strangers_are_limited() {
    let mut lab = configured(&policy());
    lab.wait(seconds(10));
    let sent = (0..1000).filter(|_| !ask(&mut lab, false).0.is_empty()).count();
    assert_eq!(sent, 100);
    assert_eq!(lab.ha.link_counters().answers_limited, 900);
}

#[test]
fn peers_are_bounded() {
    let mut lab = configured(&policy());
    (0..2000).for_each(|n| Peer::new(n, 1).advertise(&mut lab));
    assert_eq!(lab.ha.home_agents().count(), 1024);
}

#[test]
fn tun_15_a_home_address_option_without_a_binding() {
    let mut lab = Lab::new();
    lab.wait(seconds(10));
    let event = LinkEvent::PlainHomeAddress { from: MN, to: HA, home_address: HOA };
    let packets = plain(&lab.event(Event::Link(event.clone())));
    let packet = &packets[0];
    assert_eq!((packet[6], packet.len()), (mh::PROTO, 40 + 24));
    match mh::parse(&packet[40..], HA, MN).unwrap() {
        mh::Message::BindingError(error) => {
            assert_eq!((error.status, error.home_address), (1, HOA));
        }
        other => panic!("{other:?}"),
    }
    let more = (0..1000).filter(|_| !lab.event(Event::Link(event.clone())).0.is_empty()).count();
    assert_eq!(more, 99);
    let group = LinkEvent::PlainHomeAddress { from: ALL_NODES, to: HA, home_address: HOA };
    lab.wait(seconds(10));
    assert!(lab.event(Event::Link(group)).0.is_empty());
}
