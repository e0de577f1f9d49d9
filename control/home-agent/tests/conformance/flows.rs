//! MCA-12, MCA-13: flow bindings (RFC 6089 s.4.2, 5.3).

use hearth_home_agent::{Event, FlowRule, Notice, SaInfo};
use hearth_wire::directory::Services;
use hearth_wire::mh::selector::Range;
use hearth_wire::mh::{
    Bid, Flow, FlowStatus, FlowSummary, Ids, Repeated, Selector, Status, TrafficSelector,
};

use crate::lab::{Bu, COA, HA, HOA, Lab, fix_checksum, policy, sa, seconds, with_home_address};

fn services() -> Services {
    Services { care_of_addresses: 6, bulk: true, flows: 4, ..Services::default() }
}

fn with(services: Services) -> SaInfo {
    SaInfo { services, ..sa(1) }
}

const fn bid(id: u16, priority: u8, last: u16) -> Bid {
    let care_of = core::net::Ipv6Addr::new(0x2001, 0xdb8, last, 0, 0, 0, 0, 0xc);
    let care_of = Some(core::net::IpAddr::V6(care_of));
    Bid { id, status: Status::ACCEPTED, home: false, priority, care_of }
}

const BIDS: [Bid; 3] = [bid(1, 1, 1), bid(2, 2, 2), bid(3, 3, 3)];
const KNOWN: [Bid; 1] = [Bid { care_of: None, ..BIDS[0] }];

/// UDP to one port, over IPv6.
fn port(port: u16) -> TrafficSelector {
    let protocol = Some(Range::only(17));
    TrafficSelector {
        protocol,
        destination_port: Some(Range::only(port)),
        ..TrafficSelector::ANY_IPV6
    }
}

fn flow(id: u16, priority: u16, bids: &[u16], selector: Option<u16>) -> Flow<'_> {
    let selector = selector.map(|number| Selector::Binary(port(number)));
    Flow { id, priority, status: FlowStatus::SUCCESS, bids: Ids::List(bids), selector }
}

fn bu<'a>(seq: u16, bids: &'a [Bid], flows: &'a [Flow<'a>]) -> Bu<'a> {
    Bu::new(seq).options(|options| {
        options.bids = Repeated::List(bids);
        options.flows = Repeated::List(flows);
    })
}

fn summary<'a>(bu: Bu<'a>, flows: &'a [FlowSummary<'a>]) -> Bu<'a> {
    bu.options(|options| options.flow_summaries = Repeated::List(flows))
}

fn rule(priority: u16, number: u16, tunnels: &[u16]) -> FlowRule {
    FlowRule { priority, selector: port(number), tunnels: tunnels.to_vec() }
}

/// Identifier, priority, Binding IDs and whether it is active, as the home agent shows it.
fn shown(lab: &Lab) -> Vec<(u16, u16, Vec<u16>, bool)> {
    let binding = lab.ha.binding(HOA).unwrap();
    binding.flows().map(|it| (it.id, it.priority, it.bids.to_vec(), it.active)).collect()
}

fn lab() -> Lab {
    let mut lab = Lab::with(policy());
    lab.issue(with(services()));
    lab
}

/// Three care-of addresses; flow 10 goes to 2 and flow 20 to 3; sequence number 15.
fn bound() -> Lab {
    let mut lab = lab();
    let flows = [flow(20, 200, &[3], Some(53)), flow(10, 100, &[2], Some(443))];
    let outcome = lab.bu(bu(15, &BIDS, &flows));
    assert_eq!(outcome.flows(), [(20, 0), (10, 0)]);
    lab
}

#[test]
fn mca_13_flows_are_added() {
    let mut lab = lab();
    let flows = [flow(20, 200, &[3], Some(53)), flow(10, 100, &[2, 1, 2], Some(443))];
    let outcome = lab.bu(bu(1, &BIDS, &flows));
    assert_eq!((outcome.flows(), outcome.bids().0), (vec![(20, 0), (10, 0)], 0));
    // All in one word, in the order in which they are matched.
    assert_eq!(outcome.bind().flows, [rule(100, 443, &[2, 1]), rule(200, 53, &[3])]);
    let tunnels: Vec<_> = outcome.bind().tunnels.iter().map(|tunnel| tunnel.bid).collect();
    assert_eq!(tunnels, [1, 2, 3]);
}

#[test]
fn mca_13_new_flows_that_are_wrong() {
    let other = Selector::Other { format: 9, octets: &[1, 2, 3] };
    let exotic = Flow { selector: Some(other), ..flow(3, 3, &[1], None) };
    let many = [1, 2, 3, 4, 5];
    let flows = [
        flow(1, 1, &[1], None),
        flow(2, 2, &[], Some(53)),
        exotic,
        flow(4, 4, &[1, 9], Some(53)),
        flow(5, 5, &many, Some(53)),
        flow(6, 6, &[1], Some(53)),
        flow(7, 6, &[2], Some(54)),
    ];
    let bids = [BIDS[0], BIDS[1], BIDS[2], bid(4, 4, 4), bid(5, 5, 5)];
    let mut lab = lab();
    let outcome = lab.bu(bu(1, &bids, &flows));
    // What is wrong with one is no matter of the others, nor of the binding.
    let statuses = [(1, 130), (2, 130), (3, 133), (4, 131), (5, 128), (6, 0), (7, 129)];
    assert_eq!((outcome.bids().0, outcome.flows()), (0, statuses.to_vec()));
    assert_eq!(outcome.bind().flows, [rule(6, 53, &[1])]);
    // One identifier twice: all are rejected.
    let twice = [flow(1, 1, &[1], Some(1)), flow(2, 2, &[1], Some(2)), flow(1, 3, &[1], Some(3))];
    assert_eq!(lab.bu(bu(2, &KNOWN, &twice)).flows(), [(1, 129), (2, 129), (1, 129)]);
    assert!(shown(&lab).is_empty());
    // More than the subscriber may have.
    let five: Vec<_> = (1..=5).map(|n| flow(n, n, &[1], Some(n))).collect();
    let outcome = lab.bu(bu(3, &KNOWN, &five));
    assert_eq!(outcome.flows(), [(1, 0), (2, 0), (3, 0), (4, 0), (5, 128)]);
    lab.issue(with(Services { flows: 0, ..services() }));
    assert_eq!(lab.bu(bu(4, &KNOWN, &five[..1])).flows(), [(1, 128)]);
    assert!(shown(&lab).is_empty());
    // A mobile node without Binding IDs has none to name.
    let mut lab = self::lab();
    assert_eq!(lab.bu(bu(1, &[], &five[..1])).flows(), [(1, 131)]);
}

#[test]
fn mca_13_flows_are_modified() {
    let mut lab = bound();
    let ten = [FlowSummary { flows: Ids::List(&[20]) }];
    // Another priority; selector and Binding IDs stay.
    let flows = [flow(10, 300, &[], None)];
    let outcome = lab.bu(summary(bu(16, &KNOWN, &flows), &ten));
    assert_eq!(outcome.flows(), [(10, 0)]);
    assert_eq!(outcome.bind().flows, [rule(200, 53, &[3]), rule(300, 443, &[2])]);
    // Another selector, then other care-of addresses.
    let flows = [flow(10, 300, &[], Some(8443))];
    let outcome = lab.bu(summary(bu(17, &KNOWN, &flows), &ten));
    assert_eq!(outcome.bind().flows[1], rule(300, 8443, &[2]));
    let flows = [flow(10, 300, &[1, 3], None)];
    let outcome = lab.bu(summary(bu(18, &KNOWN, &flows), &ten));
    assert_eq!(outcome.bind().flows[1], rule(300, 8443, &[1, 3]));
    // What is wrong leaves it as it was.
    let exotic = Selector::Other { format: 9, octets: &[] };
    let exotic = Flow { selector: Some(exotic), ..flow(10, 1, &[1], None) };
    for (seq, bad, status) in [
        (19, exotic, 133),
        (20, flow(10, 1, &[7], None), 131),
        (21, flow(10, 200, &[1], None), 129),
    ] {
        let outcome = lab.bu(summary(bu(seq, &KNOWN, &[bad]), &ten));
        assert_eq!((outcome.flows(), outcome.binds().len()), (vec![(10, status)], 0));
        let as_before = (10, 300, vec![1, 3], true);
        assert_eq!(shown(&lab), [(20, 200, vec![3], true), as_before]);
    }
}

#[test]
fn mca_13_flows_are_removed_by_not_being_named() {
    let mut lab = bound();
    let named =
        [FlowSummary { flows: Ids::List(&[20, 20]) }, FlowSummary { flows: Ids::List(&[20]) }];
    let outcome = lab.bu(summary(bu(16, &KNOWN, &[]), &named));
    assert_eq!((outcome.flows(), outcome.bind().flows.len()), (vec![], 1));
    assert_eq!(shown(&lab), [(20, 200, vec![3], true)]);
    // A refresh that names it says nothing to the dataplane.
    let outcome = lab.bu(summary(bu(17, &KNOWN, &[]), &named));
    assert_eq!((outcome.status(), outcome.binds().len()), (0, 0));
    // One that is not there.
    let unknown = [FlowSummary { flows: Ids::List(&[10, 20, 99]) }];
    let outcome = lab.bu(summary(bu(18, &KNOWN, &[]), &unknown));
    assert_eq!(outcome.flows(), [(10, 132), (99, 132)]);
    assert_eq!(shown(&lab).len(), 1);
    let outcome = lab.bu(bu(19, &KNOWN, &[]));
    assert!(outcome.bind().flows.is_empty() && shown(&lab).is_empty());
}

#[test]
fn mca_13_malformed_options() {
    let mut lab = bound();
    let flows = [flow(10, 100, &[2], Some(443))];
    let all = [FlowSummary { flows: Ids::List(&[20]) }];
    let mut header = summary(bu(16, &KNOWN, &flows), &all).mobility_header();
    // FID-PRI 0.
    let at =
        header.windows(4).position(|octets| octets[2..] == [0, 10] && octets[0] == 45).unwrap();
    header[at + 4..at + 6].fill(0);
    fix_checksum(&mut header, HOA);
    let payload = with_home_address(&header, HOA);
    let outcome = lab.packet(1, COA, hearth_wire::exthdr::DESTINATION_OPTIONS, &payload);
    // Its answer can't be parsed either: FID-PRI is copied.
    assert_eq!((outcome.status(), outcome.binds().len()), (0, 0));
    assert_eq!(shown(&lab).len(), 2);
}

#[test]
fn mca_12_a_flow_sleeps_while_its_care_of_address_is_gone() {
    let mut lab = bound();
    let named = [FlowSummary { flows: Ids::List(&[10, 20]) }];
    let gone = [Bid { care_of: None, ..BIDS[1] }];
    let outcome = lab.bu(summary(bu(16, &gone, &[]), &named).lifetime(0));
    assert_eq!(outcome.bind().flows, [rule(200, 53, &[3])]);
    assert_eq!(shown(&lab), [(10, 100, vec![2], false), (20, 200, vec![3], true)]);
    // It wakes when the care-of address is back.
    let back = [BIDS[1]];
    let outcome = lab.bu(summary(bu(17, &back, &[]), &named));
    assert_eq!(outcome.bind().flows.len(), 2);
    // The same where one expires: of several, the others go on.
    let both = [flow(10, 100, &[2, 3], None)];
    lab.bu(summary(bu(18, &back, &both).lifetime(10), &named));
    let outcome = lab.wait(seconds(40));
    assert_eq!(outcome.bind().flows, [rule(100, 443, &[3]), rule(200, 53, &[3])]);
    // A plain Binding Update has one care-of address, and names no flow.
    let outcome = lab.bu(Bu::new(19));
    assert!(outcome.bind().flows.is_empty() && shown(&lab).is_empty());
}

/// A summary can name more than an answer has room for.
#[test]
fn an_answer_that_would_be_too_long() {
    let mut lab = lab();
    let ids: Vec<u16> = (1..=120).collect();
    let more: Vec<u16> = (200..=320).collect();
    let named = [FlowSummary { flows: Ids::List(&ids) }, FlowSummary { flows: Ids::List(&more) }];
    let outcome = lab.bu(summary(bu(1, &BIDS, &[]), &named));
    assert_eq!((outcome.bids().0, outcome.flows().len()), (0, 241));
    // Not with whole options among them.
    let flows: Vec<_> = (1..=20).map(|id| flow(id, id, &[1], Some(id))).collect();
    let outcome = lab.bu(summary(bu(2, &BIDS, &flows), &named));
    assert_eq!(outcome.flows().len(), 64);
    assert_eq!(shown(&lab).len(), 4);
}

#[test]
fn flows_are_taken_back_with_the_binding() {
    let mut lab = bound();
    let before = format!("{:?}", lab.ha.binding(HOA));
    lab.bu(bu(16, &BIDS, &[flow(10, 7, &[1], None)]));
    assert_ne!(format!("{:?}", lab.ha.binding(HOA)), before);
    assert_eq!(lab.event(Event::BindRefused(HOA)).status(), 130);
    assert_eq!(format!("{:?}", lab.ha.binding(HOA)), before);
    assert_ne!(HA, HOA);
}

/// What the subscriber may not have any more is gone before the next Binding Update.
#[test]
fn mca_flows_go_with_their_permission() {
    let mut lab = bound();
    let outcome = lab.issue(with(Services { flows: 1, ..services() }));
    assert_eq!(outcome.bind().flows, [rule(100, 443, &[2])]);
    let withdrawn = |gone| Notice::FlowsWithdrawn { home_address: HOA, gone };
    assert_eq!(outcome.notices(), [&withdrawn(1)]);
    assert_eq!(shown(&lab), [(10, 100, vec![2], true)]);
    let outcome = lab.issue(with(Services { flows: 0, ..services() }));
    assert_eq!((outcome.bind().flows.len(), outcome.bind().tunnels.len()), (0, 3));
    assert_eq!(outcome.notices(), [&withdrawn(1)]);
}
