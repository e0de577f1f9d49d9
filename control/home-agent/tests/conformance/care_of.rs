//! MCA: several care-of addresses (RFC 5648 s.6, 8.1; RFC 6089 s.4.1).

use core::net::IpAddr;

use hearth_home_agent::{Event, HomeAgent, Notice, SaInfo, Tunnel, Tunnels};
use hearth_wire::directory::Services;
use hearth_wire::mh::{Bid, Repeated, Status};

use crate::lab::{
    Bu, COA, COA2, COA4, HA, HA4, HOA, HOA4, Lab, OTHER_HOA, addr, fix_checksum, other_sa, policy,
    sa, seconds, spi, with_home_address,
};

const IP: &str = "2001:db8:1::c";
const IP2: &str = "2001:db8:2::c";
const IP3: &str = "2001:db8:3::c";
const IP4: &str = "198.51.100.7";

fn services() -> Services {
    Services { care_of_addresses: 4, bulk: true, ..Services::default() }
}

fn with(services: Services) -> SaInfo {
    SaInfo { services, ..sa(1) }
}

fn lab() -> Lab {
    let mut lab = Lab::with(policy());
    lab.issue(with(services()));
    lab
}

fn bid(id: u16, priority: u8, care_of: Option<&str>) -> Bid {
    let care_of = care_of.map(|text| text.parse::<IpAddr>().unwrap());
    Bid { id, status: Status::ACCEPTED, home: false, priority, care_of }
}

fn bu(seq: u16, bids: &[Bid]) -> Bu<'_> {
    Bu::new(seq).options(|options| options.bids = Repeated::List(bids))
}

fn overwriting(bu: Bu<'_>) -> Bu<'_> {
    bu.flags(|flags| flags.overwrite = true)
}

/// Binding ID and care-of address of the tunnels, in the order in which they are preferred.
fn tunnels(bind: &Tunnels) -> Vec<(u16, String)> {
    bind.tunnels.iter().map(|tunnel| (tunnel.bid, tunnel.remote.to_string())).collect()
}

/// The same, as the home agent shows it.
fn registered(ha: &HomeAgent) -> Vec<(u16, String)> {
    let binding = ha.binding(HOA);
    let shown = binding.into_iter().flat_map(|binding| {
        binding.care_of_addresses().map(|it| (it.bid, it.care_of.to_string())).collect::<Vec<_>>()
    });
    shown.collect()
}

fn at(bid: u16, care_of: &str) -> (u16, String) {
    (bid, care_of.to_owned())
}

/// Three care-of addresses, the second one preferred; sequence number 15.
fn three() -> Lab {
    let mut lab = lab();
    let bids = [bid(1, 20, Some(IP)), bid(2, 10, Some(IP2)), bid(3, 0, Some(IP3))];
    let outcome = lab.bu(bu(15, &bids));
    assert_eq!(outcome.bids(), (0, vec![(1, 0), (2, 0), (3, 0)]));
    lab
}

#[test]
fn mca_01_lengths_that_no_binding_identifier_has() {
    for change in [3, 5, 7, 9, 19] {
        let mut lab = lab();
        let bids = [bid(1, 0, Some(IP)), bid(2, 0, Some(IP2))];
        let mut header = bu(1, &bids).mobility_header();
        let at = header.windows(4).position(|octets| octets == [35, 20, 0, 1]).unwrap();
        header[at + 1] = change;
        // What is left of its octets is padding.
        let rest = at + 2 + usize::from(change);
        header[rest..at + 22].fill(0);
        fix_checksum(&mut header, HOA);
        let outcome = lab.header(&header);
        let (status, copied) = outcome.bids();
        assert_eq!((status, copied.last()), (164, Some(&(2, 0))), "{change}");
        assert_eq!(copied[0].0, if change < 2 { 0 } else { 1 });
        assert_eq!(lab.ha.binding_count(), 0);
    }
}

#[test]
fn mca_02_addresses_that_are_not_unicast() {
    for address in ["ff02::1", "fe80::1", "::", "::1", "0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        let mut lab = lab();
        let one = [bid(1, 0, Some(address))];
        assert_eq!(lab.bu(bu(1, &one)).bids(), (164, vec![(1, 0)]), "{address}");
        assert_eq!(lab.ha.binding_count(), 0);
        let two = [one[0], bid(2, 0, Some(IP))];
        assert_eq!(lab.bu(bu(2, &two)).bids(), (4, vec![(1, 164), (2, 0)]), "{address}");
        assert_eq!(registered(&lab.ha), [at(2, COA)]);
    }
    // Binding ID 0 is reserved, and one stands once.
    let mut lab = lab();
    let bids = [bid(0, 0, Some(IP)), bid(1, 0, Some(IP)), bid(1, 0, Some(IP2))];
    assert_eq!(lab.bu(bu(1, &bids)).bids(), (4, vec![(0, 164), (1, 0), (1, 164)]));
    assert_eq!(registered(&lab.ha), [at(1, COA)]);
}

#[test]
fn mca_03_a_plain_binding_is_there() {
    let mut lab = lab();
    lab.bu(Bu::new(1));
    let bids = [bid(1, 0, Some(IP2))];
    assert_eq!(lab.bu(bu(2, &bids)).bids(), (165, vec![(1, 0)]));
    assert_eq!(lab.binding(), Some((addr(COA), 1)));
    let outcome = lab.bu(overwriting(bu(3, &bids)));
    assert_eq!(outcome.bids(), (0, vec![(1, 0)]));
    assert_eq!(tunnels(outcome.bind()), [at(1, COA2)]);
    // O replaces those with Binding IDs as well.
    let bids = [bid(7, 0, Some(IP3)), bid(8, 0, Some(IP))];
    let outcome = lab.bu(overwriting(bu(4, &bids)));
    assert_eq!(tunnels(outcome.bind()), [at(7, "[2001:db8:3::c]:5000"), at(8, COA)]);
    // But not where nothing is accepted.
    let bids = [bid(9, 0, Some("ff02::1"))];
    assert_eq!(lab.bu(overwriting(bu(5, &bids))).bids(), (164, vec![(9, 0)]));
    assert_eq!(registered(&lab.ha).len(), 2);
}

#[test]
fn mca_04_binding_identifiers_without_address() {
    let mut lab = three();
    lab.wait(seconds(300));
    let outcome = lab.bu(bu(16, &[bid(2, 30, None), bid(9, 0, None)]));
    assert_eq!(outcome.bids(), (4, vec![(2, 0), (9, 167)]));
    assert_eq!(outcome.ack().message.lifetime, 100);
    // The address is what it was, priority and lifetime are new.
    let bind = outcome.bind();
    assert_eq!(tunnels(bind), [at(1, COA), at(2, COA2), at(3, "[2001:db8:3::c]:5000")]);
    let priorities: Vec<_> = bind.tunnels.iter().map(|tunnel| tunnel.priority).collect();
    assert_eq!(priorities, [20, 30, Tunnel::NO_PRIORITY]);
    let outcome = lab.wait(seconds(100));
    assert_eq!(tunnels(outcome.binds().last().unwrap()), [at(2, COA2)]);
    assert_eq!(lab.bu(bu(17, &[bid(9, 0, None)])).bids(), (167, vec![(9, 0)]));
    // A known one that does not move says nothing to the dataplane.
    let outcome = lab.bu(bu(18, &[bid(2, 30, None)]));
    assert_eq!((outcome.status(), outcome.binds().len()), (0, 0));
}

#[test]
fn mca_05_a_plain_update_replaces_all() {
    let mut lab = three();
    let outcome = lab.bu(Bu::new(16));
    assert_eq!(outcome.bids(), (0, vec![]));
    assert_eq!(tunnels(outcome.bind()), [at(0, COA)]);
    assert!(registered(&lab.ha).is_empty());

    let mut lab = three();
    let outcome = lab.bu(Bu::new(16).lifetime(0));
    assert_eq!((outcome.status(), outcome.unbinds()), (0, vec![HOA]));
    assert!(lab.wait(seconds(1000)).unbinds().is_empty());
}

#[test]
fn mca_06_one_is_removed() {
    let mut lab = three();
    let gone = |bid| Notice::CareOfEnded { home_address: HOA, bid };
    let outcome = lab.bu(bu(16, &[bid(2, 10, None)]).lifetime(0));
    assert_eq!((outcome.answer(), outcome.bids().1), ((0, 16, 0), vec![(2, 0)]));
    assert_eq!(tunnels(outcome.bind()), [at(1, COA), at(3, "[2001:db8:3::c]:5000")]);
    assert_eq!(outcome.notices(), [&gone(2)]);
    assert_eq!(lab.binding(), Some((addr(COA), 16)));
    assert_eq!(lab.bu(bu(17, &[bid(2, 10, None)]).lifetime(0)).bids(), (133, vec![(2, 0)]));
    // O is ignored, and one that is unknown does not keep the others.
    let bids = [bid(2, 0, None), bid(3, 0, None)];
    let outcome = lab.bu(overwriting(bu(18, &bids)).lifetime(0));
    assert_eq!(outcome.bids(), (4, vec![(2, 133), (3, 0)]));
    assert_eq!(registered(&lab.ha), [at(1, COA)]);
    // The others keep their time, and the last one ends the binding.
    assert_eq!(lab.ha.binding(HOA).unwrap().expires, lab.now.after(seconds(400)));
    let outcome = lab.bu(bu(19, &[bid(1, 0, None)]).lifetime(0));
    assert_eq!((outcome.bids(), outcome.unbinds()), ((0, vec![(1, 0)]), vec![HOA]));
    assert_eq!(lab.bu(bu(19, &[bid(1, 0, Some(IP))])).status(), 135);
}

#[test]
fn mca_07_one_of_three_is_bad() {
    let mut lab = lab();
    let bids = [bid(1, 0, Some(IP)), bid(2, 0, Some("ff02::1")), bid(3, 0, Some(IP3))];
    let outcome = lab.bu(bu(16, &bids));
    assert_eq!(outcome.bids(), (4, vec![(1, 0), (2, 164), (3, 0)]));
    assert_eq!(tunnels(outcome.bind()), [at(1, COA), at(3, "[2001:db8:3::c]:5000")]);
    assert_eq!(lab.wait(seconds(400)).unbinds(), [HOA]);
    // Where all are bad nothing is accepted, and each says why.
    let bids = [bid(1, 0, Some("ff02::1")), bid(2, 0, None)];
    assert_eq!(lab.bu(bu(17, &bids)).bids(), (164, vec![(1, 0), (2, 167)]));
    // More than the subscriber may have.
    let many: Vec<_> = (1..=6).map(|id| bid(id, 0, Some(IP))).collect();
    let expected = vec![(1, 0), (2, 0), (3, 0), (4, 0), (5, 130), (6, 130)];
    assert_eq!(lab.bu(bu(18, &many)).bids(), (4, expected));
}

#[test]
fn mca_08_what_the_subscriber_may_not() {
    let one = [bid(1, 0, Some(IP))];
    let two = [bid(1, 0, Some(IP)), bid(2, 0, Some(IP2))];
    let mut lab = Lab::new();
    assert_eq!(lab.bu(bu(1, &one)).bids(), (166, vec![(1, 0)]));
    lab.issue(with(Services { bulk: false, ..services() }));
    assert_eq!(lab.bu(bu(2, &two)).bids(), (168, vec![(1, 0), (2, 0)]));
    assert_eq!(lab.ha.binding_count(), 0);
    assert_eq!(lab.bu(bu(3, &one)).status(), 0);
    // 166 < 164 < 168 < 165.
    assert_eq!(lab.bu(bu(4, &two[1..])).status(), 0);
    assert_eq!(registered(&lab.ha).len(), 2);
    let home = [Bid { home: true, ..one[0] }];
    assert_eq!(lab.bu(bu(5, &home)).bids(), (169, vec![(1, 0)]));
    lab.issue(with(services()));
    let home = [Bid { home: true, ..one[0] }, two[1]];
    assert_eq!(lab.bu(bu(6, &home)).bids(), (4, vec![(1, 169), (2, 0)]));
    assert_eq!(registered(&lab.ha).len(), 2);
    // A subscriber that loses the right keeps one.
    lab.issue(sa(1));
    assert_eq!(lab.bu(bu(7, &one)).status(), 166);
    assert_eq!(registered(&lab.ha).len(), 1);
}

#[test]
fn mca_09_options_are_copied() {
    let mut lab = three();
    // Into refusals too: a number out of the window.
    let bids = [bid(2, 5, Some(IP2)), bid(1, 6, None)];
    let outcome = lab.bu(bu(15, &bids));
    assert_eq!((outcome.answer(), outcome.bids().1), ((135, 15, 0), vec![(2, 0), (1, 0)]));
    // With an IPv4 home address, whose acknowledgement stands before them (RFC 5648 s.8.2).
    let outcome = lab.bu(bu(16, &bids).ipv4(HOA4));
    assert_eq!(outcome.bids(), (0, vec![(2, 0), (1, 0)]));
    assert_eq!(outcome.ack().message.options.ipv4_ack.unwrap().status.0, 0);
    assert_eq!(outcome.bind().ipv4_home_address, Some(HOA4));
}

/// R-31 for several: a refresh is what moves none of them.
#[test]
fn a_refresh_of_some_of_several() {
    let mut lab = three();
    lab.event(Event::ReinitWanted(spi(1)));
    let moved = [bid(1, 20, Some("2001:db8:9::c"))];
    assert_eq!(lab.bu(bu(16, &moved)).status(), 0);
    let same = [bid(3, 0, None)];
    let outcome = lab.bu(bu(17, &same));
    assert_eq!(outcome.bids(), (176, vec![(3, 0)]));
    assert_eq!(lab.bu(bu(17, &same)).status(), 0);
}

#[test]
fn mca_12_failover_when_one_expires() {
    let mut lab = lab();
    lab.bu(bu(1, &[bid(1, 1, Some(IP))]).lifetime(10));
    lab.bu(bu(2, &[bid(2, 2, Some(IP2))]).from(COA2).lifetime(20));
    let outcome = lab.bu(bu(3, &[bid(3, 3, Some(IP3))]).lifetime(30));
    assert_eq!(outcome.bind().tunnels.len(), 3);
    assert_eq!(lab.ha.binding(HOA).unwrap().expires, lab.now.after(seconds(120)));
    for (gone, rest) in [
        (1, vec![at(2, COA2), at(3, "[2001:db8:3::c]:5000")]),
        (2, vec![at(3, "[2001:db8:3::c]:5000")]),
    ] {
        assert!(lab.wait(seconds(39)).0.is_empty());
        let outcome = lab.wait(seconds(1));
        assert_eq!(tunnels(outcome.bind()), rest);
        let notice = Notice::CareOfEnded { home_address: HOA, bid: gone };
        assert_eq!(outcome.notices(), [&notice]);
        assert_eq!(registered(&lab.ha), rest);
    }
    assert_eq!(lab.wait(seconds(40)).unbinds(), [HOA]);
}

#[test]
fn mca_14_ipv4() {
    // By itself, and the outer source wins where it differs.
    for (named, nat) in [(IP4, false), ("10.0.0.7", true)] {
        let mut lab = lab();
        let other = "203.0.113.1".parse().unwrap();
        let bids = [bid(1, 0, Some(named))];
        // The IPv4 Care-of Address option "MUST always be omitted", and does not count.
        let update = bu(1, &bids).from(COA4).options(|options| options.ipv4_coa = Some(other));
        let outcome = lab.bu(update);
        assert_eq!(outcome.bids(), (0, vec![(1, 0)]));
        let Tunnel { remote, local, .. } = outcome.bind().tunnels[0];
        assert_eq!((remote, local), (addr(COA4), (HA4, 7872).into()));
        let detected = outcome.ack().message.options.nat_detection.unwrap();
        assert_eq!(detected.refresh_time == u32::MAX, !nat);
        // Together with others afterwards, from wherever, where there is no NAT.
        let bids = [bid(1, 0, Some(named)), bid(2, 0, Some(IP2))];
        let outcome = lab.bu(bu(2, &bids).from(COA2));
        let expected = if nat { (4, vec![(1, 168), (2, 0)]) } else { (0, vec![(1, 0), (2, 0)]) };
        assert_eq!(outcome.bids(), expected);
        assert_eq!(tunnels(outcome.bind()), [at(1, COA4), at(2, COA2)]);
        // Without its address it is refreshed in any case.
        let bids = [bid(1, 0, None), bid(2, 0, None)];
        assert_eq!(lab.bu(bu(3, &bids).from(COA2)).bids().0, 0);
        assert_eq!(registered(&lab.ha), [at(1, COA4), at(2, COA2)]);
        // A NAT that has moved it: the outer source.
        let moved = "198.51.100.7:6001";
        assert_eq!(lab.bu(bu(4, &[bid(1, 0, None)]).from(moved)).bids().0, 0);
        assert_eq!(registered(&lab.ha), [at(1, moved), at(2, COA2)]);
    }
    // "Bulk registration MUST NOT be used for the initial binding registration from an IPv4
    // care-of address".
    let mut lab = lab();
    let bids = [bid(1, 0, Some(IP4)), bid(2, 0, Some(IP2))];
    for from in [COA4, COA2] {
        assert_eq!(lab.bu(bu(1, &bids).from(from)).bids(), (4, vec![(1, 168), (2, 0)]));
        lab.bu(Bu::new(2).lifetime(0));
        lab.wait(seconds(10));
    }
    assert_eq!(lab.bu(bu(1, &bids[..1]).from(COA2)).bids(), (168, vec![(1, 0)]));
    // An IPv6 address that is named over IPv4 is reached from the HA's IPv6 address.
    let outcome = lab.bu(bu(2, &bids[1..]).from(COA4));
    let Tunnel { remote, local, .. } = outcome.bind().tunnels[0];
    assert_eq!((remote, local), (addr(COA2), (HA, 7872).into()));
}

#[test]
fn reg_05_each_care_of_address_is_judged() {
    let mut lab = three();
    lab.issue(other_sa(2));
    let bad = [HA.to_string(), HOA.to_string(), OTHER_HOA.to_string()];
    for address in &bad {
        let bids = [bid(1, 0, Some(address))];
        assert_eq!(lab.bu(bu(16, &bids)).bids(), (174, vec![(1, 0)]), "{address}");
        assert_eq!(lab.binding().unwrap().1, 15);
    }
    let bids = [bid(1, 0, Some(&bad[2])), bid(2, 0, Some("2001:db8:2::d"))];
    assert_eq!(lab.bu(bu(16, &bids)).bids(), (4, vec![(1, 174), (2, 0)]));
}

/// RFC 5648 s.6.4: the request says which bindings.
#[test]
fn requests_name_the_binding_identifiers() {
    use hearth_wire::{exthdr, mh};

    let mut lab = three();
    let outcome = lab.event(Event::SequenceNearEnd(spi(1)));
    let asked = outcome.0.iter().find_map(|action| match action {
        hearth_home_agent::Action::SendSignalling { next_header, payload, .. } => {
            let chain = exthdr::parse_chain(*next_header, payload).unwrap();
            match mh::parse(chain.mobility_header, HA, HOA).unwrap() {
                mh::Message::BindingRefreshRequest { bids } => {
                    Some(bids.iter().map(|bid| bid.unwrap().id).collect::<Vec<_>>())
                }
                _ => None,
            }
        }
        _ => None,
    });
    assert_eq!(asked.unwrap(), [2, 1, 3]);
}

/// The dataplane has no room: all is as it was, times included.
#[test]
fn several_are_taken_back() {
    let mut lab = three();
    lab.wait(seconds(100));
    let before = format!("{:?}", lab.ha.binding(HOA));
    lab.bu(bu(16, &[bid(1, 20, None), bid(2, 10, Some("2001:db8:2::d"))]));
    assert_ne!(format!("{:?}", lab.ha.binding(HOA)), before);
    let outcome = lab.event(Event::BindRefused(HOA));
    assert_eq!(outcome.bids(), (130, vec![(1, 0), (2, 0)]));
    assert_eq!(format!("{:?}", lab.ha.binding(HOA)), before);
    // First ones too.
    let mut lab = self::lab();
    lab.bu(bu(1, &[bid(1, 0, Some(IP)), bid(2, 0, Some("::"))]));
    assert_eq!(lab.event(Event::BindRefused(HOA)).status(), 130);
    assert_eq!(lab.ha.binding_count(), 0);
    assert_eq!(lab.ha.counters().answered(Status::MCOA_NOT_COMPLETE), 0);
}

/// RFC 5648 s.7: "the extensions described in this document can also be used to support a mobile
/// router with multiple care-of addresses."
#[test]
fn drg_10_a_mobile_router_with_several_care_of_addresses() {
    let mut lab = Lab::with(policy());
    let prefixes = ["198.18.5.0/28", "2001:db8:a::/48"].map(|text| text.parse().unwrap());
    let router = Services { prefixes: prefixes.into(), mobile_router: true, ..services() };
    lab.issue(with(router));
    let routing = |bu: Bu<'static>| bu.flags(|flags| flags.mobile_router = true);
    const BIDS: &[Bid] = &[
        Bid { id: 1, status: Status::ACCEPTED, home: false, priority: 1, care_of: None },
        Bid { id: 2, status: Status::ACCEPTED, home: false, priority: 2, care_of: None },
    ];
    let bids: &'static [Bid] = Box::leak(Box::new([
        Bid { care_of: Some(IP.parse().unwrap()), ..BIDS[0] },
        Bid { care_of: Some(IP2.parse().unwrap()), ..BIDS[1] },
    ]));
    let outcome = lab.bu(routing(bu(1, bids)).ipv4(HOA4));
    assert_eq!(outcome.bids(), (0, vec![(1, 0), (2, 0)]));
    let bind = outcome.bind();
    assert_eq!((&bind.prefixes[..], bind.tunnels.len()), (&prefixes[..], 2));
    // One care-of address less: prefixes and IPv4 home address stay, whatever R says.
    let outcome = lab.bu(bu(2, &BIDS[..1]).lifetime(0));
    let bind = outcome.bind();
    assert_eq!((&bind.prefixes[..], bind.ipv4_home_address), (&prefixes[..], Some(HOA4)));
    assert_eq!(tunnels(bind), [at(2, COA2)]);
    // A care-of address of its own network leads back, that of one of several too.
    let inside = [Bid { care_of: Some("2001:db8:a::7".parse().unwrap()), ..BIDS[0] }];
    let inside = bu(3, &inside).flags(|flags| flags.mobile_router = true);
    assert_eq!(lab.bu(inside).bids(), (174, vec![(1, 0)]));
    // All of it ends at once.
    let outcome = lab.bu(Bu::new(4).lifetime(0));
    assert_eq!((outcome.unbinds(), outcome.binds().len()), (vec![HOA], 0));
    assert_eq!(lab.ha.binding_count(), 0);
}

/// A Binding Update that is full of Binding Identifiers is answered, and costs little.
#[test]
fn as_many_as_a_message_holds() {
    let mut lab = lab();
    let many: Vec<_> = (1..=330).map(|id| bid(id, 0, None)).collect();
    let mut bytes = vec![0; 2048];
    let update = bu(1, &many);
    let len = hearth_wire::mh::emit(
        &hearth_wire::mh::Message::BindingUpdate(update.update),
        HOA,
        HA,
        &mut bytes,
    );
    let payload = with_home_address(&bytes[..len.unwrap()], HOA);
    let outcome = lab.packet(1, COA, hearth_wire::exthdr::DESTINATION_OPTIONS, &payload);
    let (status, bids) = outcome.bids();
    assert_eq!((status, bids.len()), (167, 330));
    assert_eq!(lab.ha.binding_count(), 0);
}

/// What the subscriber may not have any more is gone before the next Binding Update.
#[test]
fn mca_care_of_addresses_go_with_their_permission() {
    let mut lab = three();
    let outcome = lab.issue(with(Services { care_of_addresses: 2, ..services() }));
    // The least preferred one.
    assert_eq!(tunnels(outcome.bind()), [at(2, "[2001:db8:2::c]:5000"), at(1, COA)]);
    let ended = |bid| Notice::CareOfEnded { home_address: HOA, bid };
    assert_eq!(outcome.notices(), [&ended(3)]);
    let outcome = lab.issue(with(Services::default()));
    assert_eq!(tunnels(outcome.bind()), [at(2, "[2001:db8:2::c]:5000")]);
    assert_eq!(outcome.notices(), [&ended(1)]);
    assert_eq!(lab.bu(bu(16, &[bid(2, 10, Some(IP2))])).bids().0, 166);
    // More is no reason to do anything.
    assert!(lab.issue(with(services())).0.is_empty());
}
