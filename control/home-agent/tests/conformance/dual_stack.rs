//! DSM: dual stack (RFC 5555 s.3 to 5.1).

use core::net::Ipv4Addr;

use hearth_home_agent::{Policy, Tunnel};
use hearth_wire::mh::NatDetection;

use crate::lab::{
    Bu, COA, COA2, COA4, HA4, HOA, HOA4, Lab, OTHER_HOA, OTHER_HOA4, addr, hoa4, other_sa, policy,
    sa, seconds,
};

/// Status, prefix length and address of the IPv4 address acknowledgement option.
fn ipv4_ack(lab: &mut Lab, bu: Bu<'_>) -> Option<(u8, u8, Ipv4Addr)> {
    let outcome = lab.bu(bu);
    // The IPv6 part is independent.
    assert_eq!(outcome.status(), 0);
    let ack = outcome.ack().message.options.ipv4_ack;
    ack.map(|ack| (ack.status.0, ack.prefix_len, ack.address))
}

fn bound_ipv4(lab: &Lab) -> Option<Ipv4Addr> {
    lab.ha.binding(HOA).unwrap().ipv4_home_address
}

#[test]
fn dsm_01_ipv4_home_address() {
    let mut lab = Lab::new();
    let outcome = lab.bu(Bu::new(1).ipv4(HOA4));
    let ack = outcome.ack().message.options.ipv4_ack.unwrap();
    assert_eq!((ack.status.0, ack.prefix_len, ack.address), (0, 32, HOA4));
    assert_eq!(outcome.bind().ipv4_home_address, Some(HOA4));
}

#[test]
fn dsm_02_to_dsm_06_statuses() {
    let none = Ipv4Addr::UNSPECIFIED;
    let rows: [(&str, Bu<'_>, (u8, u8, Ipv4Addr)); 11] = [
        ("not this node's", Bu::new(1).ipv4(hoa4(200)), (130, 0, hoa4(200))),
        ("another node's", Bu::new(1).ipv4(OTHER_HOA4), (130, 0, OTHER_HOA4)),
        ("length 0", Bu::new(1).ipv4_option(0, false, HOA4), (131, 0, HOA4)),
        ("length 33", Bu::new(1).ipv4_option(33, false, HOA4), (131, 0, HOA4)),
        ("multicast", Bu::new(1).ipv4([224, 0, 0, 1].into()), (131, 0, [224, 0, 0, 1].into())),
        ("loopback", Bu::new(1).ipv4([127, 0, 0, 1].into()), (131, 0, [127, 0, 0, 1].into())),
        ("broadcast", Bu::new(1).ipv4(Ipv4Addr::BROADCAST), (131, 0, Ipv4Addr::BROADCAST)),
        ("any", Bu::new(1).ipv4(none), (0, 32, HOA4)),
        ("another length", Bu::new(1).ipv4_option(24, false, HOA4), (0, 32, HOA4)),
        ("a prefix", Bu::new(1).ipv4_option(28, true, none), (133, 0, none)),
        ("its prefix", Bu::new(1).ipv4_option(28, true, HOA4), (133, 0, HOA4)),
    ];
    for (name, bu, expected) in rows {
        let mut lab = Lab::new();
        lab.issue(other_sa(2));
        assert_eq!(ipv4_ack(&mut lab, bu), Some(expected), "{name}");
        assert_eq!(bound_ipv4(&lab).is_some(), expected.0 == 0, "{name}");
    }
}

#[test]
fn dsm_05_none_assigned() {
    let mut lab = Lab::new();
    lab.issue(hearth_home_agent::SaInfo { ipv4_home_address: None, ..sa(2) });
    let any = Bu::new(1).spi(2).ipv4(Ipv4Addr::UNSPECIFIED);
    assert_eq!(ipv4_ack(&mut lab, any), Some((132, 0, Ipv4Addr::UNSPECIFIED)));
    assert_eq!(ipv4_ack(&mut lab, Bu::new(2).spi(2).ipv4(HOA4)), Some((130, 0, HOA4)));
}

#[test]
fn p_is_ignored_in_a_refresh() {
    let mut lab = Lab::new();
    lab.bu(Bu::new(1).ipv4(HOA4));
    let again = Bu::new(2).ipv4_option(32, true, HOA4);
    assert_eq!(ipv4_ack(&mut lab, again), Some((0, 32, HOA4)));
}

#[test]
fn ipv4_home_address_outside_every_served_prefix() {
    let mut lab = Lab::new();
    let elsewhere = Ipv4Addr::new(198, 51, 100, 99);
    lab.issue(hearth_home_agent::SaInfo { ipv4_home_address: Some(elsewhere), ..sa(2) });
    let bu = Bu::new(1).spi(2).ipv4(elsewhere);
    assert_eq!(ipv4_ack(&mut lab, bu), Some((129, 0, elsewhere)));
}

#[test]
fn ipv4_home_address_that_another_mobile_node_has_bound() {
    let mut lab = Lab::new();
    lab.issue(hearth_home_agent::SaInfo { ipv4_home_address: Some(HOA4), ..other_sa(2) });
    lab.bu(Bu::new(1).ipv4(HOA4));
    let other = |seq| Bu::new(seq).spi(2).home_address(Some(OTHER_HOA)).from(COA2).ipv4(HOA4);
    assert_eq!(ipv4_ack(&mut lab, other(1)), Some((129, 0, HOA4)));
    assert_eq!(bound_ipv4(&lab), Some(HOA4));
    // Given up, it is free.
    assert_eq!(ipv4_ack(&mut lab, Bu::new(2)), None);
    assert_eq!(ipv4_ack(&mut lab, other(2)), Some((0, 32, HOA4)));
}

#[test]
fn dsm_07_option_missing_in_a_later_update() {
    let mut lab = Lab::new();
    lab.bu(Bu::new(1).ipv4(HOA4));
    let outcome = lab.bu(Bu::new(2));
    assert_eq!(outcome.ack().message.options.ipv4_ack, None);
    assert_eq!(outcome.bind().ipv4_home_address, None);
}

#[test]
fn dsm_08_to_dsm_10_nat_detection() {
    let source = Ipv4Addr::new(198, 51, 100, 7);
    let rows = [
        (Some(source), NatDetection::NO_NAT, false),
        (Some(Ipv4Addr::new(192, 168, 0, 7)), 110, true),
        (None, 110, true),
    ];
    for (option, refresh_time, nat) in rows {
        let mut lab = Lab::new();
        let bu = Bu::new(1).from(COA4).options(|options| options.ipv4_coa = option);
        let outcome = lab.bu(bu);
        let expected = NatDetection { force_udp: true, refresh_time };
        assert_eq!(outcome.ack().message.options.nat_detection, Some(expected));
        assert_eq!(lab.ha.binding(HOA).unwrap().nat, Some(nat));
        // every answer over IPv4 carries it.
        let refused = lab.bu(bu).ack().message;
        assert_eq!((refused.status, refused.options.nat_detection), (135, Some(expected)));
        let mut end = bu.lifetime(0);
        end.update.seq = 2;
        assert_eq!(lab.bu(end).ack().message.options.nat_detection, Some(expected));
    }
    let mut lab = Lab::with(Policy { nat_refresh_time: 25, ..policy() });
    let option = lab.bu(Bu::new(1).from(COA4)).ack().message.options.nat_detection;
    assert_eq!(option.unwrap().refresh_time, 25);
    // Over IPv6 no NAT is looked for.
    assert_eq!(Lab::new().bu(Bu::new(1)).ack().message.options.nat_detection, None);
}

#[test]
fn nat66_is_looked_for_where_the_deployment_says_so() {
    let rows = [(None, 110), (Some("2001:db8:1::c"), NatDetection::NO_NAT), (Some("fd00::9"), 110)];
    for (option, refresh_time) in rows {
        let mut lab = Lab::with(Policy { nat66_follow_source: true, ..policy() });
        let mut bu = Bu::new(1);
        bu.update.options.alternate_coa = option.map(|coa: &str| coa.parse().unwrap());
        let detection = lab.bu(bu).ack().message.options.nat_detection.unwrap();
        assert_eq!(detection.refresh_time, refresh_time, "{option:?}");
        assert_eq!(lab.binding(), Some((addr(COA), 1)));
    }
}

#[test]
fn dsm_11_f_is_accepted() {
    for from in [COA, COA4] {
        let bu = Bu::new(1).from(from).flags(|flags| flags.force_udp = true);
        assert_eq!(Lab::new().bu(bu).status(), 0);
    }
}

#[test]
fn dsm_12_and_dsm_15_over_ipv4() {
    let mut lab = Lab::new();
    let outcome = lab.bu(Bu::new(1).from("203.0.113.9:61000"));
    // The routing header names the IPv6 home address.
    let ack = outcome.ack();
    assert_eq!(
        (ack.routing, ack.from, ack.to),
        (Some(HOA), (HA4, 7872).into(), addr("203.0.113.9:61000"))
    );
    let Tunnel { local, remote, .. } = outcome.bind().tunnels[0];
    assert_eq!((local, remote), ((HA4, 7872).into(), addr("203.0.113.9:61000")));
}

#[test]
fn dsm_17_two_mobile_nodes_behind_one_nat() {
    let mut lab = Lab::new();
    lab.issue(other_sa(2));
    let private = Some(Ipv4Addr::new(192, 168, 0, 7));
    let bu = |bu: Bu<'static>| bu.options(|options| options.ipv4_coa = private);
    let one = bu(Bu::new(1).from("198.51.100.7:1001"));
    let two = bu(Bu::new(1).from("198.51.100.7:1002").spi(2).home_address(Some(OTHER_HOA)));
    assert_eq!((lab.bu(one).status(), lab.bu(two).status()), (0, 0));
    assert_eq!(lab.binding().unwrap().0, addr("198.51.100.7:1001"));
    assert_eq!(lab.ha.binding(OTHER_HOA).unwrap().care_of, addr("198.51.100.7:1002"));
}

#[test]
fn dsm_19_keepalives_for_an_hour() {
    let mut lab = Lab::new();
    lab.issue(hearth_home_agent::SaInfo {
        validity_end: hearth_home_agent::Timestamp::from_secs(86_400),
        ..sa(2)
    });
    let bu = |seq| Bu::new(seq).spi(2).from(COA4).lifetime(30);
    assert_eq!(lab.bu(bu(1)).binds().len(), 1);
    for seq in 2..35 {
        assert!(lab.wait(seconds(110)).unbinds().is_empty());
        let outcome = lab.bu(bu(seq));
        assert_eq!((outcome.answer(), outcome.binds().len()), ((0, seq, 30), 0));
    }
}
