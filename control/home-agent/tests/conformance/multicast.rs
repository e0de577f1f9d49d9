//! Multicast groups through tunnels (RFC 6275 s.10.4.2, 10.4.3; R-27), and what else comes out of
//! them for the home agent itself.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use hearth_home_agent::{
    Action, Event, InnerPacket, MulticastPolicy, OperationsPolicy, Policy, Refusal, SaInfo,
};
use hearth_wire::addresses::Addresses;
use hearth_wire::directory::Services;
use hearth_wire::group::{GroupRecord, GroupRecords, RecordType};
use hearth_wire::icmp6::{self, Envelope, Message};
use hearth_wire::igmp;
use hearth_wire::ip::{Ipv4Header, Ipv6Header};
use zerocopy::IntoBytes;

use crate::lab::{
    Bu, COA2, HOA, HOA4, Lab, OTHER_HOA, Outcome, other_sa, policy, sa, seconds, spi,
};

const GROUP: Ipv6Addr = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 0x6618);
const GROUP4: Ipv4Addr = Ipv4Addr::new(233, 252, 0, 1);
const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
/// The same for every mobile node.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

fn listening(change: impl FnOnce(&mut MulticastPolicy)) -> Policy {
    let mut multicast = MulticastPolicy::default();
    change(&mut multicast);
    Policy { multicast: Some(multicast), ..policy() }
}

/// Who may listen.
fn listener(info: SaInfo) -> SaInfo {
    SaInfo { services: Services { multicast: true, ..Services::default() }, ..info }
}

/// Mobile node a, which may listen.
fn one(policy: Policy) -> Lab {
    let mut lab = Lab::with(policy);
    lab.issue(listener(sa(1)));
    lab
}

/// Mobile nodes a and b, both registered.
fn two() -> Lab {
    let mut lab = one(listening(|_| {}));
    lab.issue(listener(other_sa(2)));
    assert_eq!(lab.bu(Bu::new(1).ipv4(HOA4)).status(), 0);
    assert_eq!(lab.bu(Bu::new(1).spi(2).home_address(Some(OTHER_HOA))).status(), 0);
    lab
}

fn ipv6(source: Ipv6Addr, to: Ipv6Addr, next: u8, hop_limit: u8, rest: &[u8]) -> Vec<u8> {
    let header = Ipv6Header::new(source, to, next, hop_limit, rest.len()).unwrap();
    [header.as_bytes(), rest].concat()
}

/// An MLD message as hosts send it: hop limit 1, Router Alert.
fn mld(message: &Message<'_>, to: Ipv6Addr) -> Vec<u8> {
    let mut octets = [0; 512];
    let len = icmp6::emit(message, LINK_LOCAL, to, &mut octets).unwrap();
    let alert = [icmp6::PROTO, 0, 5, 2, 0, 0, 1, 0];
    ipv6(LINK_LOCAL, to, 0, 1, &[&alert[..], &octets[..len]].concat())
}

fn report(record_type: RecordType, group: Ipv6Addr, sources: &[Ipv6Addr]) -> Vec<u8> {
    let record = GroupRecord { record_type, group, sources: Addresses::List(sources) };
    mld(&Message::ListenerReportV2(GroupRecords::List(&[record])), ROUTERS)
}

fn join(group: Ipv6Addr) -> Vec<u8> {
    report(RecordType::TO_EXCLUDE, group, &[])
}

fn leave(group: Ipv6Addr) -> Vec<u8> {
    report(RecordType::TO_INCLUDE, group, &[])
}

fn igmp_packet(message: &igmp::Message<'_>, to: Ipv4Addr) -> Vec<u8> {
    let mut octets = [0; 512];
    let len = igmp::emit(message, &mut octets).unwrap();
    let header = Ipv4Header::new(HOA4, to, igmp::PROTO, 1, len).unwrap();
    [header.as_bytes(), &octets[..len]].concat()
}

fn inner(lab: &mut Lab, number: u32, home_address: Ipv6Addr, packet: &[u8]) -> Outcome {
    lab.event(Event::Inner(InnerPacket { spi: spi(number), home_address, packet }))
}

fn a_says(lab: &mut Lab, packet: &[u8]) -> Outcome {
    inner(lab, 1, HOA, packet)
}

fn b_says(lab: &mut Lab, packet: &[u8]) -> Outcome {
    inner(lab, 2, OTHER_HOA, packet)
}

fn groups(outcome: &Outcome) -> Vec<(IpAddr, Vec<Ipv6Addr>)> {
    let group = |action: &Action| match action {
        Action::Group { group, members, .. } => Some((*group, members.clone())),
        _ => None,
    };
    outcome.0.iter().filter_map(group).collect()
}

/// A question into a tunnel: whom it asks, and for which group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    home_address: Ipv6Addr,
    group: IpAddr,
    max_response_ms: u32,
}

fn asked(outcome: &Outcome) -> Vec<Asked> {
    let question = |action: &Action| {
        let Action::SendData { home_address, packet } = action else { return None };
        let (group, max_response_ms) = match packet[0] >> 4 {
            6 => mld_question(packet),
            _ => igmp_question(packet),
        };
        Some(Asked { home_address: *home_address, group, max_response_ms })
    };
    outcome.0.iter().filter_map(question).collect()
}

fn mld_question(packet: &[u8]) -> (IpAddr, u32) {
    let (header, payload) = Ipv6Header::parse(packet).unwrap();
    // RFC 3810 s.5.1.14, 5.1.15, and s.5: hop limit 1, Router Alert.
    let (source, destination) = (header.source(), header.destination());
    assert_eq!(source.segments()[0], 0xfe80);
    assert_eq!((header.next_header, header.hop_limit), (0, 1));
    assert_eq!(payload[..8], [icmp6::PROTO, 0, 5, 2, 0, 0, 1, 0]);
    let envelope = Envelope { source, destination, hop_limit: 1 };
    let Ok(Message::ListenerQuery(query)) = icmp6::parse(&payload[8..], &envelope) else {
        panic!("no question")
    };
    let all = query.group.is_unspecified();
    let to = if all { "ff02::1".parse().unwrap() } else { query.group };
    assert_eq!(destination, to);
    let v2 = query.v2.unwrap();
    assert_eq!((v2.robustness, v2.interval_code, v2.sources.len()), (2, 125, 0));
    (query.group.into(), query.max_response_ms())
}

fn igmp_question(packet: &[u8]) -> (IpAddr, u32) {
    let (header, payload) = Ipv4Header::parse(packet).unwrap();
    assert_eq!((header.ttl, header.proto, header.version_ihl), (1, igmp::PROTO, 0x46));
    assert_eq!(packet[20..24], [0x94, 4, 0, 0]);
    let Ok(igmp::Message::Query(query)) = igmp::parse(payload) else { panic!("no question") };
    assert!(query.v3.is_some());
    (query.group.into(), u32::from(query.max_response_code) * 100)
}

/// TUN-06: members of a group get what is sent to it, and do so until they leave it.
#[test]
fn tun_06_joined_left_and_forgotten() {
    let mut lab = two();
    let group = IpAddr::V6(GROUP);
    assert_eq!(groups(&a_says(&mut lab, &join(GROUP))), [(group, vec![HOA])]);
    assert_eq!(groups(&b_says(&mut lab, &join(GROUP))), [(group, vec![HOA, OTHER_HOA])]);
    assert!(a_says(&mut lab, &join(GROUP)).0.is_empty(), "nothing is new");
    let mut shown: Vec<_> = lab.ha.listeners().map(|it| (it.group, it.home_address)).collect();
    shown.sort_unstable();
    assert_eq!(shown, [(group, HOA), (group, OTHER_HOA)]);
    // RFC 3810 s.7.6.3: asked twice, a second apart, before it is believed.
    let outcome = a_says(&mut lab, &leave(GROUP));
    let question = Asked { home_address: HOA, group, max_response_ms: 1000 };
    assert_eq!((asked(&outcome), groups(&outcome)), (vec![question], vec![]));
    let outcome = lab.wait(Duration::from_millis(1_999));
    assert_eq!((asked(&outcome), groups(&outcome)), (vec![question], vec![]));
    assert_eq!(groups(&lab.wait(seconds(1))), [(group, vec![OTHER_HOA])]);
    // The other one falls silent: twice the interval and a response time (RFC 3810 s.9.4).
    let before = lab.wait(seconds(256));
    assert!(groups(&before).is_empty(), "{before:?}");
    assert_eq!(groups(&lab.wait(seconds(4))), [(group, vec![])]);
    assert_eq!(lab.ha.listeners().count(), 0);
}

#[test]
fn tun_06_a_leave_that_was_overtaken() {
    let mut lab = two();
    a_says(&mut lab, &join(GROUP));
    a_says(&mut lab, &leave(GROUP));
    lab.wait(Duration::from_millis(500));
    let still = report(RecordType::IS_EXCLUDE, GROUP, &[]);
    assert!(groups(&a_says(&mut lab, &still)).is_empty());
    let outcome = lab.wait(seconds(30));
    assert!(groups(&outcome).is_empty() && asked(&outcome).is_empty(), "{outcome:?}");
}

/// Every end of a binding ends its memberships, and a move does not.
#[test]
fn tun_06_groups_end_with_the_binding() {
    let group = IpAddr::V6(GROUP);
    let ends: [fn(&mut Lab) -> Outcome; 3] = [
        |lab| lab.bu(Bu::new(2).lifetime(0)),
        |lab| lab.event(Event::SaRevoked(spi(1))),
        |lab| lab.wait(seconds(400)),
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let mut lab = two();
        a_says(&mut lab, &join(GROUP));
        let outcome = lab.bu(Bu::new(1 + 1).from(COA2).lifetime(100));
        assert!(groups(&outcome).is_empty());
        let outcome = match number {
            0 => lab.bu(Bu::new(3).lifetime(0)),
            2 => {
                // It goes on saying so.
                for _ in 0..3 {
                    lab.wait(seconds(120));
                    a_says(&mut lab, &join(GROUP));
                }
                end(&mut lab)
            }
            _ => end(&mut lab),
        };
        assert!(groups(&outcome).contains(&(group, vec![])), "{number}: {outcome:?}");
        assert_eq!(lab.ha.listeners().count(), 0);
    }
}

/// Sources of include lists: the mobile node listens as long as there is one, and to none else.
#[test]
fn tun_06_include_lists() {
    let mut lab = two();
    let other = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 2);
    let says = |lab: &mut Lab, kind, sources: &[Ipv6Addr]| {
        let outcome = a_says(lab, &report(kind, GROUP, sources));
        let only = |action: &Action| match action {
            Action::Group { members, only, .. } => {
                assert_eq!(members, &[HOA]);
                Some(only.iter().map(|(home, sources)| (*home, sources.len())).collect::<Vec<_>>())
            }
            _ => None,
        };
        outcome.0.iter().find_map(only)
    };
    let to = |count| Some(vec![(HOA, count)]);
    assert_eq!(says(&mut lab, RecordType::ALLOW_NEW_SOURCES, &[SOURCE, other]), to(2));
    // A report that says the same, as answers to questions do, changes nothing.
    assert_eq!(says(&mut lab, RecordType::IS_INCLUDE, &[SOURCE, other]), None);
    assert_eq!(says(&mut lab, RecordType::TO_EXCLUDE, &[]), Some(vec![]));
    assert_eq!(says(&mut lab, RecordType::TO_INCLUDE, &[SOURCE, other]), to(2));
    let sources = |lab: &Lab| {
        lab.ha.listeners().next().and_then(|it| it.sources).map(std::collections::BTreeSet::len)
    };
    assert_eq!(sources(&lab), Some(2));
    assert_eq!(says(&mut lab, RecordType::BLOCK_OLD_SOURCES, &[SOURCE]), to(1));
    assert_eq!(sources(&lab), Some(1));
    let outcome = a_says(&mut lab, &report(RecordType::BLOCK_OLD_SOURCES, GROUP, &[other]));
    assert_eq!(asked(&outcome).len(), 1);
    assert_eq!(groups(&lab.wait(seconds(2))), [(GROUP.into(), vec![])]);
    // A record type that is unknown says nothing.
    assert_eq!(says(&mut lab, RecordType(7), &[SOURCE]), None);
}

/// TUN-05, TUN-06: only global scope.
#[test]
fn tun_05_other_scopes_are_joined_by_nobody() {
    let mut lab = two();
    for group in ["ff01::1", "ff02::1:ff00:1", "ff05::1", "ff08::1", "ff0f::1"] {
        assert!(a_says(&mut lab, &join(group.parse().unwrap())).0.is_empty(), "{group}");
    }
    for group in ["224.0.0.251", "239.1.2.3"] {
        let message = igmp::Message::ReportV2(group.parse().unwrap());
        let outcome = a_says(&mut lab, &igmp_packet(&message, group.parse().unwrap()));
        assert!(outcome.0.is_empty(), "{group}");
    }
    assert_eq!(lab.ha.listeners().count(), 0);
}

/// TUN-07: two mobile nodes with one link-local address are told apart by their SAs.
#[test]
fn tun_07_attributed_by_sa() {
    let mut lab = two();
    a_says(&mut lab, &join(GROUP));
    b_says(&mut lab, &join(GROUP));
    let outcome = b_says(&mut lab, &leave(GROUP));
    assert_eq!(asked(&outcome)[0].home_address, OTHER_HOA);
    assert_eq!(groups(&lab.wait(seconds(2))), [(GROUP.into(), vec![HOA])]);
    // Nobody speaks for another's home address, whatever the dataplane may say.
    let outcome = inner(&mut lab, 2, HOA, &leave(GROUP));
    assert_eq!(outcome.refusal(), Refusal::InnerWithoutBinding);
}

/// TUN-07: asked at the registration and every 125 s, as both families.
#[test]
fn tun_07_periodic_questions() {
    let mut lab = one(listening(|_| {}));
    let outcome = lab.bu(Bu::new(1).ipv4(HOA4));
    let all = |group: IpAddr| Asked { home_address: HOA, group, max_response_ms: 10_000 };
    let both = [all(Ipv6Addr::UNSPECIFIED.into()), all(Ipv4Addr::UNSPECIFIED.into())];
    assert_eq!(asked(&outcome), both);
    let mut seen = Vec::new();
    for second in 0..390 {
        let outcome = lab.wait(seconds(1));
        if !asked(&outcome).is_empty() {
            assert_eq!(asked(&outcome), both);
            seen.push(second);
        }
    }
    assert!(seen.len() >= 3, "{seen:?}");
    assert!(seen.windows(2).all(|pair| pair[1] - pair[0] == 125), "{seen:?}");
    assert_eq!(lab.ha.counters().operations().group_queries, 2 * (1 + seen.len() as u64));
    // Not who is gone.
    lab.bu(Bu::new(2).lifetime(0));
    assert!(asked(&lab.wait(seconds(300))).is_empty());
}

/// Of many each is asked once in every round, and not all at once.
#[test]
fn tun_07_questions_are_spread() {
    let mut lab = two();
    lab.wait(seconds(32));
    let outcome = lab.wait(seconds(125));
    let ask = asked(&outcome);
    let of = |home| ask.iter().filter(|it| it.home_address == home && it.group.is_ipv6()).count();
    assert_eq!((of(HOA), of(OTHER_HOA)), (1, 1), "{ask:?}");
}

/// Older versions of MLD, and IGMP.
#[test]
fn tun_07_all_versions() {
    let mut lab = two();
    let outcome = a_says(&mut lab, &mld(&Message::ListenerReportV1(GROUP), GROUP));
    assert_eq!(groups(&outcome).len(), 1);
    let done = mld(&Message::ListenerDone(GROUP), "ff02::2".parse().unwrap());
    assert_eq!(asked(&a_says(&mut lab, &done)).len(), 1);
    assert_eq!(groups(&lab.wait(seconds(2))).len(), 1);
    let all = "224.0.0.22".parse().unwrap();
    let record =
        |record_type| GroupRecord { record_type, group: GROUP4, sources: Addresses::List(&[]) };
    let v3 = |record_type| {
        let records = [record(record_type)];
        igmp_packet(&igmp::Message::ReportV3(GroupRecords::List(&records)), all)
    };
    for (say, stop) in [
        (v3(RecordType::TO_EXCLUDE), v3(RecordType::TO_INCLUDE)),
        (
            igmp_packet(&igmp::Message::ReportV2(GROUP4), GROUP4),
            igmp_packet(&igmp::Message::Leave(GROUP4), "224.0.0.2".parse().unwrap()),
        ),
        (igmp_packet(&igmp::Message::ReportV1(GROUP4), GROUP4), v3(RecordType::IS_INCLUDE)),
    ] {
        assert_eq!(groups(&a_says(&mut lab, &say)), [(GROUP4.into(), vec![HOA])]);
        let outcome = a_says(&mut lab, &stop);
        let question = Asked { home_address: HOA, group: GROUP4.into(), max_response_ms: 1000 };
        assert_eq!(asked(&outcome), [question]);
        assert_eq!(groups(&lab.wait(seconds(2))), [(GROUP4.into(), vec![])]);
    }
}

/// TUN-08: DHCP is neither relayed nor served; whatever else comes is counted.
#[test]
fn tun_08_dhcp_and_the_rest_are_ignored() {
    let mut lab = two();
    let udp = [2, 34, 2, 35, 0, 8, 0, 0];
    let dhcp = ipv6(LINK_LOCAL, "ff02::1:2".parse().unwrap(), 17, 1, &udp);
    assert_eq!(a_says(&mut lab, &dhcp).refusal(), Refusal::InnerDhcp);
    let udp = [0, 68, 0, 67, 0, 8, 0, 0];
    let all = Ipv4Addr::BROADCAST;
    let header = Ipv4Header::new(Ipv4Addr::UNSPECIFIED, all, 17, 64, udp.len()).unwrap();
    let dhcp = [header.as_bytes(), &udp].concat();
    assert_eq!(a_says(&mut lab, &dhcp).refusal(), Refusal::InnerDhcp);
    let other = ipv6(LINK_LOCAL, ROUTERS, 89, 1, &[0; 16]);
    assert_eq!(a_says(&mut lab, &other).refusal(), Refusal::InnerUnexpected);
}

#[test]
fn reports_that_are_wrong_join_nothing() {
    let mut lab = two();
    let good = join(GROUP);
    for len in 0..good.len() {
        let refusal = a_says(&mut lab, &good[..len]).refusal();
        assert_eq!(refusal, Refusal::InnerMalformed, "{len}");
    }
    // Forwarded on the way: another link's.
    let mut far = good.clone();
    far[7] = 2;
    assert_eq!(a_says(&mut lab, &far).refusal(), Refusal::InnerMalformed);
    let mut wrong = good;
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(a_says(&mut lab, &wrong).refusal(), Refusal::InnerMalformed);
    assert_eq!(lab.ha.listeners().count(), 0);
}

#[test]
fn nobody_listens_without_binding_or_policy() {
    let mut lab = one(listening(|_| {}));
    assert_eq!(a_says(&mut lab, &join(GROUP)).refusal(), Refusal::InnerWithoutBinding);
    // Nor who may not, nor anybody where multicast is off.
    let mut lab = Lab::with(listening(|_| {}));
    assert!(asked(&lab.bu(Bu::new(1))).is_empty());
    assert_eq!(a_says(&mut lab, &join(GROUP)).refusal(), Refusal::MulticastOff);
    assert!(asked(&lab.wait(seconds(300))).is_empty());
    let mut lab = one(policy());
    lab.bu(Bu::new(1));
    assert_eq!(a_says(&mut lab, &join(GROUP)).refusal(), Refusal::MulticastOff);
    let outcome = lab.wait(seconds(300));
    assert!(asked(&outcome).is_empty());
    assert_eq!(OperationsPolicy::default(), lab.ha.policy().operations);
}

/// One record too many is refused and counted, and the others count.
#[test]
fn a_mobile_node_fills_no_more_than_its_share() {
    let mut lab = one(listening(|it| it.groups_per_node = 3));
    lab.bu(Bu::new(1));
    let groups_of = |n: u16| Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 1, n);
    let records: Vec<_> = (0..20)
        .map(|n| GroupRecord {
            record_type: RecordType::TO_EXCLUDE,
            group: groups_of(n),
            sources: Addresses::List(&[]),
        })
        .collect();
    let packet = mld(&Message::ListenerReportV2(GroupRecords::List(&records)), ROUTERS);
    let outcome = a_says(&mut lab, &packet);
    assert_eq!((groups(&outcome).len(), lab.ha.listeners().count()), (3, 3));
    assert_eq!(lab.ha.counters().refused(Refusal::GroupsOfNode), 17);
}

/// What the subscriber may not have any more is gone before the next Binding Update.
#[test]
fn groups_go_with_their_permission() {
    let mut lab = two();
    a_says(&mut lab, &join(GROUP));
    b_says(&mut lab, &join(GROUP));
    let outcome = lab.issue(sa(1));
    assert_eq!(groups(&outcome), [(GROUP.into(), vec![OTHER_HOA])]);
}
