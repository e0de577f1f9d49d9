//! Home prefixes that end or change, and how mobile nodes are told. RFC 6275 s.10.3.1, 10.6.

use core::net::Ipv6Addr;
use core::time::Duration;

use hearth_home_agent::{
    Action, Event, HomePrefix, InnerPacket, Lifetime, LinkEvent, LinkPolicy, MobilePrefixPolicy,
    Notice, Refusal, Timestamp,
};
use hearth_wire::icmp6::{
    self, Envelope, Message, MobilePrefixAdvertisement, MobilePrefixSolicitation,
    PrefixInformation, Prefixes, RouterAdvertisement,
};
use hearth_wire::ip::Ipv6Header;
use zerocopy::IntoBytes;

use crate::home_link::{LINK, MAC};
use crate::lab::{Bu, COA, HA, HOA, Lab, OTHER_HOA, Outcome, hoa, seconds, spi};

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn until(seconds: u64) -> Option<Lifetime> {
    Some(Lifetime::Until(Timestamp::from_secs(seconds)))
}

/// The routed home prefix of the drawing with these lifetimes, and a second one.
fn policy(valid: Option<Lifetime>, preferred: Option<Lifetime>) -> LinkPolicy {
    let first = HomePrefix {
        valid,
        preferred,
        router: Some(hoa(1)),
        ..HomePrefix::routed("2001:db8:6618:100::/64".parse().unwrap())
    };
    let second = HomePrefix::routed("2001:db8:6618:200::/64".parse().unwrap());
    let mobile_prefixes = MobilePrefixPolicy {
        min_interval: seconds(60),
        max_interval: seconds(120),
        ..MobilePrefixPolicy::default()
    };
    LinkPolicy { prefixes: vec![first, second], mobile_prefixes, ..LinkPolicy::default() }
}

fn configured(policy: &LinkPolicy) -> Lab {
    let mut lab = Lab::new();
    lab.event(Event::Link(LinkEvent::Configured(policy)));
    lab
}

/// The answer to a Binding Update for 400 s at 1000 s.
fn answer(valid: Option<Lifetime>, preferred: Option<Lifetime>) -> (u8, u16, u16) {
    let mut lab = configured(&policy(valid, preferred));
    lab.wait(seconds(1000));
    lab.bu(Bu::new(15)).answer()
}

#[test]
fn reg_13_not_longer_than_the_prefix_is_valid() {
    assert_eq!(answer(until(1203), until(1203)), (1, 15, 50));
    assert_eq!(answer(Some(Lifetime::Constant(seconds(203))), None), (0, 15, 50));
    assert_eq!(answer(until(1400), until(1400)), (1, 15, 100));
    assert_eq!(answer(until(10_000), until(10_000)), (0, 15, 100));
}

#[test]
fn reg_14_status_1_where_prefix_discovery_is_necessary() {
    // Deprecated now; later within the lifetime; not within it.
    assert_eq!(answer(until(10_000), until(1000)), (1, 15, 100));
    assert_eq!(answer(until(10_000), until(1399)), (1, 15, 100));
    assert_eq!(answer(until(10_000), until(1400)), (0, 15, 100));
    // Invalid at its end, in units of four seconds; not at its end.
    assert_eq!(answer(until(1403), until(1403)), (1, 15, 100));
    assert_eq!(answer(until(1404), until(1404)), (0, 15, 100));
    assert_eq!(answer(Some(Lifetime::Infinite), Some(Lifetime::Infinite)), (0, 15, 100));
}

#[test]
fn reg_15_the_binding_ends_with_the_prefix() {
    let mut lab = configured(&policy(until(1003), until(500)));
    lab.wait(seconds(800));
    assert_eq!(lab.bu(Bu::new(15)).answer(), (1, 15, 50));
    assert!(lab.wait(Duration::from_millis(199_999)).unbinds().is_empty());
    assert_eq!(lab.wait(Duration::from_millis(1)).unbinds(), [HOA]);
    // A refresh in the prefix's last seconds gets the least that can be said, and ends with it.
    let mut lab = configured(&policy(until(1003), until(500)));
    lab.wait(seconds(1001));
    assert_eq!(lab.bu(Bu::new(15)).answer(), (1, 15, 1));
    assert_eq!(lab.wait(seconds(2)).unbinds(), [HOA]);
    assert_eq!(lab.bu(Bu::new(16)).status(), 132);
}

#[test]
fn reg_15_a_prefix_that_is_shortened_or_taken_away_takes_its_bindings_with_it() {
    let mut lab = configured(&policy(until(10_000), until(10_000)));
    lab.bu(Bu::new(15));
    let shorter = policy(until(100), until(50));
    lab.event(Event::Link(LinkEvent::Configured(&shorter)));
    assert!(lab.wait(seconds(99)).unbinds().is_empty());
    let outcome = lab.wait(seconds(1));
    assert_eq!(outcome.unbinds(), [HOA]);
    assert!(matches!(outcome.notices()[..], [Notice::Expired { .. }]));

    let mut lab = configured(&policy(None, None));
    lab.bu(Bu::new(15));
    let mut gone = policy(None, None);
    gone.prefixes.remove(0);
    lab.event(Event::Link(LinkEvent::Configured(&gone)));
    assert_eq!(lab.wait(seconds(0)).unbinds(), [HOA]);
    assert_eq!(lab.bu(Bu::new(16)).status(), 132);
}

/// An advertisement as the mobile node read it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    to: Ipv6Addr,
    id: u16,
    flags: (bool, bool),
    prefixes: Vec<PrefixInformation>,
}

fn told(outcome: &Outcome) -> Vec<Told> {
    let read = |action: &Action| {
        let Action::SendData { home_address, packet } = action else { return None };
        let address = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).unwrap().into();
        let (from, to, routing): (Ipv6Addr, Ipv6Addr, Ipv6Addr) =
            (address(8), address(24), address(48));
        assert_eq!((*home_address, from, routing), (HOA, HA, HOA));
        // Routing header, then ICMPv6; type 2, one segment left.
        assert_eq!((packet[6], &packet[40..44]), (43, &[58, 2, 2, 1][..]));
        let envelope = Envelope { source: from, destination: routing, hop_limit: packet[7] };
        let message = icmp6::parse(&packet[64..], &envelope).unwrap();
        let Message::MobilePrefixAdvertisement(message) = message else { panic!("{message:?}") };
        let MobilePrefixAdvertisement { id, managed, other, prefixes } = message;
        Some(Told { to, id, flags: (managed, other), prefixes: prefixes.iter().collect() })
    };
    outcome.0.iter().filter_map(read).collect()
}

fn solicit(lab: &mut Lab, id: u16) -> Outcome {
    let mut octets = [0; 8];
    let message = Message::MobilePrefixSolicitation(MobilePrefixSolicitation { id });
    icmp6::emit(&message, HOA, HA, &mut octets).unwrap();
    let header = Ipv6Header::new(HOA, HA, 58, 64, octets.len()).unwrap();
    let packet = [header.as_bytes(), &octets].concat();
    lab.event(Event::Inner(InnerPacket { spi: spi(1), home_address: HOA, packet: &packet }))
}

#[test]
fn mpd_01_a_solicitation_is_answered_at_once_with_the_whole_list() {
    let mut lab = configured(&policy(until(7200), until(3600)));
    lab.bu(Bu::new(15));
    lab.wait(seconds(100));
    let answers = told(&solicit(&mut lab, 0x1234));
    assert_eq!(answers.len(), 1);
    let Told { to, id, flags, prefixes } = &answers[0];
    assert_eq!((*to, *id, *flags), (HOA, 0x1234, (false, false)));
    let first = PrefixInformation {
        prefix: hoa(1),
        len: 64,
        on_link: false,
        autonomous: false,
        router_address: true,
        valid: 7100,
        preferred: 3500,
    };
    let second = PrefixInformation {
        prefix: "2001:db8:6618:200::".parse().unwrap(),
        router_address: false,
        valid: u32::MAX,
        preferred: u32::MAX,
        ..first
    };
    assert_eq!(prefixes[..], [first, second]);
    assert!(told(&lab.wait(seconds(300))).is_empty(), "nothing is repeated");
}

#[test]
fn mpd_01_not_more_than_one_a_second() {
    let mut lab = configured(&policy(None, None));
    lab.bu(Bu::new(15));
    assert_eq!(told(&solicit(&mut lab, 1)).len(), 1);
    for id in 2..100 {
        assert!(told(&solicit(&mut lab, id)).is_empty());
    }
    let later = told(&lab.wait(seconds(1)));
    assert_eq!(later.iter().map(|told| told.id).collect::<Vec<_>>(), [99]);
}

#[test]
fn mpd_02_a_solicitation_without_a_binding() {
    let mut lab = configured(&policy(None, None));
    assert_eq!(solicit(&mut lab, 1).refusal(), Refusal::InnerWithoutBinding);
    assert!(lab.wait(seconds(100)).0.is_empty());
}

/// When something was told, in seconds after `since`.
fn times(lab: &mut Lab, time: u64) -> Vec<u64> {
    let since = lab.now;
    let mut times = Vec::new();
    for _ in 0..time * 10 {
        let outcome = lab.wait(Duration::from_millis(100));
        times.extend(told(&outcome).iter().map(|_| lab.now.since(since).as_secs()));
    }
    times
}

#[test]
fn mpd_03_and_mpd_04_a_change_is_told_in_its_window_and_repeated() {
    for seed in 0..20 {
        let mut lab = configured(&policy(until(20_000), until(20_000)));
        lab.ha.seed(seed);
        lab.bu(Bu::new(15).lifetime(900));
        let changed = policy(until(15_000), until(10_000));
        lab.event(Event::Link(LinkEvent::Configured(&changed)));
        let times = times(&mut lab, 300);
        assert_eq!(times.len(), 4, "{times:?}");
        assert!((60..=120).contains(&times[0]), "{times:?}");
        for (n, wait) in [(1, 3), (2, 6), (3, 12)] {
            assert!(times[n].abs_diff(times[n - 1] + wait) <= 1, "{times:?}");
        }
    }
}

#[test]
fn mpd_04_a_solicitation_acknowledges() {
    let mut lab = configured(&policy(until(20_000), until(20_000)));
    lab.bu(Bu::new(15).lifetime(900));
    let changed = policy(until(15_000), until(10_000));
    lab.event(Event::Link(LinkEvent::Configured(&changed)));
    while told(&lab.wait(Duration::from_millis(100))).is_empty() {}
    lab.wait(seconds(2));
    assert_eq!(told(&solicit(&mut lab, 7)).len(), 1);
    assert!(times(&mut lab, 100).is_empty());
}

#[test]
fn mpd_05_nothing_is_told_when_the_binding_has_ended() {
    let mut lab = configured(&policy(until(20_000), until(20_000)));
    lab.bu(Bu::new(15).lifetime(900));
    let changed = policy(until(15_000), until(10_000));
    lab.event(Event::Link(LinkEvent::Configured(&changed)));
    lab.wait(seconds(1));
    assert_eq!(lab.bu(Bu::new(16).lifetime(0)).status(), 0);
    assert!(times(&mut lab, 300).is_empty());
}

#[test]
fn mpd_06_a_second_change_is_told_together_with_the_first() {
    let mut lab = configured(&policy(until(20_000), until(20_000)));
    lab.bu(Bu::new(15).lifetime(900));
    for (valid, preferred) in [(15_000, 10_000), (14_000, 9_000)] {
        let changed = policy(until(valid), until(preferred));
        lab.event(Event::Link(LinkEvent::Configured(&changed)));
        lab.wait(seconds(10));
    }
    let outcome = lab.wait(seconds(111));
    let told = told(&outcome);
    assert!(!told.is_empty());
    assert!(told.iter().all(|told| told.prefixes[0].valid < 14_000), "{told:?}");
    assert_eq!(
        times(&mut lab, 300).len() + told.len(),
        4,
        "one advertisement, and its repetitions"
    );
}

fn router_advertisement(lab: &mut Lab, flags: (bool, bool), valid: u32, preferred: u32, own: bool) {
    let list = [PrefixInformation {
        prefix: "2001:db8:6618:100::".parse().unwrap(),
        len: 64,
        on_link: true,
        autonomous: false,
        router_address: false,
        valid,
        preferred,
    }];
    let message = RouterAdvertisement {
        managed: flags.0,
        other: flags.1,
        home_agent: true,
        router_lifetime: 1800,
        source_link_layer: Some(MAC),
        prefixes: Prefixes::List(&list),
        ..RouterAdvertisement::default()
    };
    let mut octets = [0; 256];
    let message = Message::RouterAdvertisement(message);
    let len = icmp6::emit(&message, ROUTER, ALL_NODES, &mut octets).unwrap();
    let envelope = Envelope { source: ROUTER, destination: ALL_NODES, hop_limit: 255 };
    let octets = &octets[..len];
    lab.event(Event::Link(LinkEvent::RouterAdvertisement { link: LINK, own, envelope, octets }));
}

/// The prefix of the drawing on a link, its lifetimes left to Router Advertisements.
fn advertised(dhcpv6: bool) -> LinkPolicy {
    let mut policy = crate::home_link::links();
    policy.probes = 0;
    policy.prefixes.iter_mut().for_each(|home| (home.valid, home.preferred) = (None, None));
    policy.mobile_prefixes.dhcpv6 = dhcpv6;
    policy
}

#[test]
fn lifetimes_come_from_the_own_router_advertisements_and_nobody_elses() {
    let mut lab = configured(&advertised(false));
    router_advertisement(&mut lab, (false, false), 0, 0, false);
    assert_eq!(lab.bu(Bu::new(15)).answer(), (0, 15, 100));
    router_advertisement(&mut lab, (false, false), 100, 50, true);
    assert_eq!(lab.bu(Bu::new(16)).answer(), (1, 16, 25));
    // The binding was told to last no longer, and ends if no further advertisement comes.
    assert_eq!(lab.wait(seconds(100)).unbinds(), [HOA]);
    assert_eq!(lab.ha.binding(OTHER_HOA), None);
}

#[test]
fn mpd_07_m_and_o_of_the_links_router_advertisements() {
    for (dhcpv6, flags) in [(true, (true, true)), (true, (false, true)), (false, (true, true))] {
        let mut lab = configured(&advertised(dhcpv6));
        lab.bu(Bu::new(15));
        router_advertisement(&mut lab, flags, 3600, 3600, true);
        let answer = &told(&solicit(&mut lab, 1))[0];
        assert_eq!(answer.flags, if dhcpv6 { flags } else { (false, false) });
        assert!(answer.prefixes[0].on_link);
        assert_eq!(answer.prefixes[0].valid, 3600);
    }
}

#[test]
fn mpd_08_advertisements_are_switched_off() {
    let mut off = policy(until(20_000), until(20_000));
    off.mobile_prefixes.enabled = false;
    let mut lab = configured(&off);
    lab.bu(Bu::new(15).from(COA).lifetime(900));
    assert!(solicit(&mut lab, 1).0.is_empty());
    off.prefixes[0].preferred = until(100);
    lab.event(Event::Link(LinkEvent::Configured(&off)));
    assert!(times(&mut lab, 300).is_empty());
}
