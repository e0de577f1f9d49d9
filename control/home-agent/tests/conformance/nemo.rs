//! NEM: mobile networks (RFC 3963 s.6, RFC 5555 s.4.5), and what loops they can make.

use core::net::IpAddr;

use hearth_home_agent::{Event, Notice, Policy, SaInfo};
use hearth_wire::directory::Services;
use hearth_wire::mh::{MobileNetworkPrefix, Repeated};
use ipnet::IpNet;

use crate::lab::{
    Bu, COA, COA2, COA4, HOA, HOA4, Lab, OTHER_HOA, addr, hoa, other_sa, policy, sa, seconds,
};

const NET: &str = "2001:db8:a:1::/64";
const NET2: &str = "2001:db8:a:2::/64";
const NET4: &str = "198.18.5.0/28";
const OTHER_NET: &str = "2001:db8:b::/56";

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn router(prefixes: &[&str]) -> Services {
    Services { prefixes: nets(prefixes).into(), mobile_router: true, ..Services::default() }
}

fn with(services: Services, info: SaInfo) -> SaInfo {
    SaInfo { services, ..info }
}

/// Mobile router a has [`NET`], [`NET2`] and [`NET4`], b has [`OTHER_NET`].
fn lab() -> Lab {
    let mut lab = Lab::with(policy());
    lab.issue(with(router(&[NET, NET2, NET4]), sa(1)));
    lab.issue(with(router(&[OTHER_NET]), other_sa(2)));
    lab
}

fn implicit<'a>(seq: u16) -> Bu<'a> {
    Bu::new(seq).flags(|flags| flags.mobile_router = true)
}

fn explicit<'a>(seq: u16, prefixes: &'a [MobileNetworkPrefix]) -> Bu<'a> {
    implicit(seq).options(|options| options.prefixes = Repeated::List(prefixes))
}

fn option(text: &str) -> MobileNetworkPrefix {
    let (prefix, len) = text.split_once('/').unwrap();
    MobileNetworkPrefix { prefix: prefix.parse().unwrap(), len: len.parse().unwrap() }
}

fn of_b(bu: Bu<'_>) -> Bu<'_> {
    bu.spi(2).home_address(Some(OTHER_HOA)).from(COA2)
}

/// The prefixes that are forwarded, as the home agent shows them.
fn forwarded(lab: &Lab) -> Vec<String> {
    let binding = lab.ha.binding(HOA);
    binding.map_or(Vec::new(), |b| b.prefixes.iter().map(ToString::to_string).collect())
}

#[test]
fn nem_01_h_is_not_set() {
    let mut lab = lab();
    let foreign = |seq| implicit(seq).flags(|flags| flags.home_registration = false);
    assert_eq!(lab.bu(foreign(1)).answer(), (140, 1, 0));
    assert_eq!(lab.ha.binding_count(), 0);
    // What a mobile host sends without H is a correspondent's.
    assert!(lab.bu(Bu::new(1).flags(|flags| flags.home_registration = false)).binds().is_empty());
    lab.bu(implicit(2));
    assert_eq!(lab.bu(foreign(3)).status(), 139);
    assert_eq!(lab.binding(), Some((addr(COA), 2)));
}

#[test]
fn nem_03_r_stays_what_it_is() {
    let mut lab = lab();
    assert_eq!(lab.bu(implicit(1)).status(), 0);
    assert_eq!(lab.bu(Bu::new(2)).answer(), (139, 2, 0));
    assert_eq!(forwarded(&lab), [NET4, NET, NET2]);
    // "if the Binding Update is a de-registration Binding Update, the Home Agent ignores the value
    // of the Mobile Router Flag (R)"
    assert_eq!(lab.bu(Bu::new(3).lifetime(0)).answer(), (0, 3, 0));
    assert_eq!(lab.bu(Bu::new(4)).status(), 0);
    assert_eq!(lab.bu(implicit(5)).status(), 139);
    assert_eq!(lab.bu(implicit(6).lifetime(0)).status(), 0);
    assert_eq!(lab.ha.binding_count(), 0);
}

#[test]
fn nem_04_explicit_mode() {
    let mut lab = lab();
    // Bits behind the prefix length are the sender's; the last one is part of what a has.
    let options = ["2001:db8:a:2::77/64", NET, "2001:db8:a:1:8000::/65"].map(option);
    let outcome = lab.bu(explicit(1, &options));
    let ack = outcome.ack().message;
    assert_eq!((ack.status, ack.mobile_router, ack.lifetime), (0, true, 100));
    assert_eq!(outcome.bind().prefixes, nets(&[NET, NET2]));
    assert_eq!(forwarded(&lab), [NET, NET2]);
    // A part of what a has by itself.
    let options = ["2001:db8:a:1:8000::/65"].map(option);
    assert_eq!(lab.bu(explicit(2, &options)).status(), 0);
    assert_eq!(forwarded(&lab), ["2001:db8:a:1:8000::/65"]);
}

#[test]
fn nem_05_all_or_none() {
    let mut lab = lab();
    lab.bu(explicit(1, &[option(NET)]));
    // b has a's second prefix as well, by mistake of the HAC's, and was there first.
    lab.issue(with(router(&[NET2, OTHER_NET]), other_sa(2)));
    assert_eq!(lab.bu(of_b(implicit(1))).status(), 0);
    for bu in [explicit(2, &[NET, NET2].map(option)), explicit(3, &[option(NET2)])] {
        let outcome = lab.bu(bu);
        assert_eq!(outcome.status(), 141);
        assert!(outcome.binds().is_empty());
    }
    assert_eq!(forwarded(&lab), [NET]);
    assert_eq!(lab.bu(implicit(4)).status(), 143);
    assert_eq!(lab.binding(), Some((addr(COA), 1)));
    // When b is gone it is free.
    lab.bu(of_b(Bu::new(2).lifetime(0)));
    assert_eq!(lab.bu(implicit(5)).status(), 0);
}

#[test]
fn nem_06_not_authorised() {
    let mut lab = lab();
    for prefix in [OTHER_NET, "2001:db8:a::/63", "2001:db8:c::/64"] {
        let outcome = lab.bu(explicit(1, &[NET, prefix].map(option)));
        let ack = outcome.ack().message;
        assert_eq!((ack.status, ack.mobile_router), (142, true), "{prefix}");
        assert_eq!(lab.ha.binding_count(), 0);
    }
    assert_eq!(lab.bu(implicit(2)).status(), 0);
    assert_eq!(lab.bu(explicit(3, &[option(OTHER_NET)])).status(), 142);
    assert_eq!((lab.binding(), forwarded(&lab).len()), (Some((addr(COA), 2)), 3));
}

#[test]
fn nem_07_implicit_mode() {
    let mut lab = lab();
    let outcome = lab.bu(implicit(1));
    assert_eq!((outcome.status(), outcome.ack().message.mobile_router), (0, true));
    assert_eq!(outcome.bind().prefixes, nets(&[NET4, NET, NET2]));
    // A refresh says nothing to the dataplane.
    let outcome = lab.bu(implicit(2));
    assert_eq!((outcome.status(), outcome.binds().len()), (0, 0));
    lab.issue(with(router(&[]), other_sa(2)));
    assert_eq!(lab.bu(of_b(implicit(1))).answer(), (143, 1, 0));
    assert_eq!(lab.ha.binding_count(), 1);
}

#[test]
fn nem_08_fewer_and_other_prefixes() {
    let mut lab = lab();
    lab.bu(explicit(1, &[option(NET)]));
    for (seq, list) in [(2, &[NET, NET2][..]), (3, &[NET2]), (4, &[NET])] {
        let options: Vec<_> = list.iter().map(|text| option(text)).collect();
        let outcome = lab.bu(explicit(seq, &options));
        // One word to the dataplane: what stays does not flap.
        assert_eq!((outcome.status(), outcome.binds().len()), (0, 1), "{list:?}");
        assert!(outcome.unbinds().is_empty());
        assert_eq!(outcome.bind().prefixes, nets(list));
        assert_eq!(forwarded(&lab), list);
        let refreshed =
            |notice: &&Notice| matches!(notice, Notice::Refreshed { home_address: HOA, .. });
        assert!(outcome.notices().iter().any(refreshed));
    }
}

#[test]
fn nem_09_home_address_out_of_a_mobile_network() {
    // Both prefixes lie in the home prefix.
    let (own, others) = ("2001:db8:6618:100::/124", "2001:db8:6618:100::10/124");
    let mut lab = Lab::new();
    lab.issue(with(router(&[own]), sa(1)));
    assert_eq!(lab.bu(implicit(1)).status(), 0);
    assert_eq!(forwarded(&lab), [own]);
    // Another's home address in a's network is a's.
    let stranger = SaInfo { home_address: hoa(0xf), ..other_sa(2) };
    lab.issue(stranger);
    let outcome = lab.bu(of_b(Bu::new(1)).home_address(Some(hoa(0xf))));
    assert_eq!(outcome.status(), 134);
    assert!(outcome.notices().iter().any(|n| matches!(n, Notice::HomeAddressTaken { .. })));
    // And a mobile network is never the home network, nor that around the home agent.
    for prefix in ["2001:db8:6618:100::/64", "2001:db8:6618::/48", "2001:db8:6618::/64"] {
        lab.issue(with(router(&[own, others, prefix]), sa(1)));
        assert_eq!(lab.bu(implicit(2)).status(), 143, "{prefix}");
        assert_eq!(lab.bu(explicit(2, &[option(prefix)])).status(), 141, "{prefix}");
    }
}

#[test]
fn nem_10_and_drg_10_deregistration_ignores_prefixes() {
    for options in [&[option(OTHER_NET)][..], &[]] {
        let mut lab = lab();
        assert_eq!(lab.bu(implicit(1).ipv4(HOA4)).status(), 0);
        let outcome = lab.bu(explicit(2, options).lifetime(0));
        let ack = outcome.ack().message;
        assert_eq!((ack.status, ack.lifetime, ack.mobile_router), (0, 0, true));
        assert_eq!((outcome.unbinds(), outcome.binds().len()), (vec![HOA], 0));
        // All of it is free.
        lab.issue(with(router(&[NET, NET2, NET4]), other_sa(2)));
        assert_eq!(lab.bu(of_b(implicit(1))).status(), 0);
    }
}

#[test]
fn nem_12_prefixes_that_can_not_be() {
    for prefix in ["::/0", "fe80::/64", "ff02::/64", "::/128", "::ffff:192.0.2.0/120", "8000::/1"] {
        let mut lab = lab();
        let options = [NET, prefix].map(option);
        assert_eq!(lab.bu(explicit(1, &options)).answer(), (141, 1, 0), "{prefix}");
        assert_eq!(lab.ha.binding_count(), 0);
        assert_eq!(lab.bu(implicit(2)).status(), 0);
        assert_eq!(lab.bu(explicit(3, &options)).status(), 141, "{prefix}");
        assert_eq!((lab.binding(), forwarded(&lab).len()), (Some((addr(COA), 2)), 3));
    }
}

/// Prefix Length 129, and a length that is not 18: what the codec can't send.
#[test]
fn nem_12_options_that_are_malformed() {
    use hearth_wire::exthdr;

    for (place, value) in [(15, 129), (13, 17)] {
        let mut lab = lab();
        let bu = explicit(1, core::slice::from_ref(const { &NET_OPTION }));
        let mut header = bu.mobility_header();
        assert_eq!(header[12..16], [6, 18, 0, 64]);
        header[place] = value;
        crate::lab::fix_checksum(&mut header, HOA);
        let payload = crate::lab::with_home_address(&header, HOA);
        let outcome = lab.packet(1, COA, exthdr::DESTINATION_OPTIONS, &payload);
        assert_eq!(outcome.status(), 141);
        assert_eq!(lab.ha.binding_count(), 0);
    }
}

const NET_OPTION: MobileNetworkPrefix = MobileNetworkPrefix {
    prefix: core::net::Ipv6Addr::new(0x2001, 0xdb8, 0xa, 1, 0, 0, 0, 0),
    len: 64,
};

/// Prefixes belong to the subscriber: under a new home address it takes them along.
#[test]
fn a_mobile_router_with_a_new_home_address() {
    let mut lab = lab();
    lab.bu(implicit(1));
    let info = SaInfo { home_address: hoa(0xc), ipv4_home_address: None, ..sa(3) };
    lab.issue(with(router(&[NET, NET2]), info));
    // b's are not touched.
    lab.bu(of_b(implicit(1)));
    // The record that is newest says what the subscriber has: the IPv4 prefix is gone.
    assert_eq!(forwarded(&lab), [NET, NET2]);
    let moved = implicit(1).spi(3).home_address(Some(hoa(0xc)));
    let outcome = lab.bu(moved);
    assert_eq!(outcome.status(), 0);
    let binds = outcome.binds();
    assert_eq!((binds.len(), binds[0].home_address, binds[0].prefixes.len()), (2, HOA, 0));
    assert_eq!((binds[1].home_address, binds[1].prefixes.len()), (hoa(0xc), 2));
    // The dataplane has no room for that: all is as it was.
    let outcome = lab.event(Event::BindRefused(hoa(0xc)));
    assert_eq!(outcome.status(), 130);
    assert_eq!((outcome.bind().home_address, &outcome.bind().prefixes), (HOA, &nets(&[NET, NET2])));
    assert_eq!((forwarded(&lab).len(), lab.ha.binding_count()), (2, 2));
}

#[test]
fn a_prefix_that_the_subscriber_loses_is_not_forwarded() {
    let mut lab = lab();
    lab.bu(implicit(1));
    let outcome = lab.issue(with(router(&[NET]), sa(1)));
    assert_eq!(outcome.bind().prefixes, nets(&[NET]));
    let withdrawn = Notice::PrefixesWithdrawn { home_address: HOA, gone: 2 };
    assert_eq!(outcome.notices(), [&withdrawn]);
    assert_eq!(forwarded(&lab), [NET]);
    // A record that says the same says nothing.
    assert!(lab.issue(with(router(&[NET]), sa(1))).0.is_empty());
    // Who may be a mobile router no more has no network.
    let host = Services { mobile_router: false, ..router(&[NET]) };
    assert_eq!(lab.issue(with(host, sa(1))).bind().prefixes, nets(&[]));
    assert_eq!(forwarded(&lab), [""; 0]);
}

#[test]
fn services_bound_the_lifetime() {
    let mut lab = Lab::new();
    let services = Services { max_lifetime: Some(79), ..Services::default() };
    lab.issue(with(services, sa(1)));
    assert_eq!(lab.bu(Bu::new(1)).answer(), (0, 1, 19));
    lab.issue(sa(1));
    assert_eq!(lab.bu(Bu::new(2)).answer(), (0, 2, 100));
}

#[test]
fn dsm_06_ipv4_prefix() {
    let none = core::net::Ipv4Addr::UNSPECIFIED;
    let ack = |lab: &mut Lab, bu: Bu<'_>| {
        let ack = lab.bu(bu).ack().message.options.ipv4_ack.unwrap();
        (ack.status.0, ack.prefix_len, IpAddr::V4(ack.address).to_string())
    };
    // A mobile host may have a prefix too. Of the length asked for, or else another one.
    for (asked, granted) in [(29, "198.18.6.0/29"), (28, NET4), (24, NET4), (32, NET4)] {
        let mut lab = Lab::new();
        let services = Services { mobile_router: false, ..router(&[NET, NET4, "198.18.6.0/29"]) };
        lab.issue(with(services, sa(1)));
        let (address, len) = granted.split_once('/').unwrap();
        let expected = (0, len.parse().unwrap(), address.to_owned());
        assert_eq!(ack(&mut lab, Bu::new(1).ipv4_option(asked, true, none)), expected);
        assert_eq!(forwarded(&lab), [granted]);
        // The home address that the HAC assigned is bound beside it.
        assert_eq!(lab.ha.binding(HOA).unwrap().ipv4_home_address, Some(HOA4));
        // A refresh names its length, and P is ignored; another length gives it up.
        let inside = address.parse::<core::net::Ipv4Addr>().unwrap();
        let refresh = Bu::new(2).ipv4_option(expected.1, false, inside);
        assert_eq!(ack(&mut lab, refresh).0, 0);
        assert_eq!(forwarded(&lab), [granted]);
        assert_eq!(ack(&mut lab, Bu::new(3).ipv4_option(32, true, HOA4)).0, 0);
        assert_eq!(forwarded(&lab), [""; 0]);
    }
    // None there, or bound by another.
    let mut lab = Lab::new();
    assert_eq!(ack(&mut lab, Bu::new(1).ipv4_option(28, true, HOA4)), (133, 0, HOA4.to_string()));
    lab.issue(with(router(&[NET4]), other_sa(2)));
    assert_eq!(lab.bu(of_b(implicit(1))).status(), 0);
    lab.issue(with(router(&[NET4]), sa(1)));
    assert_eq!(ack(&mut lab, Bu::new(2).ipv4_option(28, true, HOA4)).0, 133);
    assert_eq!(forwarded(&lab), [""; 0]);
    // The tunnel can't end in it.
    let mut lab = self::lab();
    let inside = Bu::new(1).from("198.18.5.7:5000");
    assert_eq!(lab.bu(inside.ipv4_option(28, true, HOA4)).status(), 174);
}

#[test]
fn reg_05_care_of_addresses_in_mobile_networks() {
    let mut lab = lab();
    // A care-of address in another's mobile network is nesting.
    let nested = "[2001:db8:b::7]:5000";
    assert_eq!(lab.bu(implicit(1).from(nested)).status(), 0);
    assert_eq!(lab.bu(of_b(implicit(1))).status(), 0);
    assert_eq!(lab.bu(implicit(2).from(nested)).status(), 0);
    // In its own it leads back, of either family; so it does before it has that network.
    for inside in ["[2001:db8:a:1::7]:5000", "198.18.5.7:5000"] {
        assert_eq!(lab.bu(implicit(3).from(inside)).status(), 174, "{inside}");
        let mut fresh = self::lab();
        assert_eq!(fresh.bu(implicit(1).from(inside)).status(), 174, "{inside}");
        assert_eq!(fresh.bu(implicit(1).from(COA4)).status(), 0);
    }
    // By way of the other one too: a is in b's.
    let back = of_b(implicit(2)).from("[2001:db8:a:2::7]:5000");
    assert_eq!(lab.bu(back).status(), 174);
    // And where the loop would close when a prefix is registered, not an address.
    let mut lab = self::lab();
    assert_eq!(lab.bu(of_b(implicit(1)).from("[2001:db8:a:2::7]:5000")).status(), 0);
    assert_eq!(lab.bu(explicit(1, &[option(NET)]).from(nested)).status(), 0);
    assert_eq!(lab.bu(explicit(2, &[NET, NET2].map(option)).from(nested)).status(), 174);
    assert_eq!(forwarded(&lab), [NET]);
}

/// The order of refusals: 139, 140, 132, 174, 14x.
#[test]
fn the_order_of_refusals() {
    let bad = [option("ff02::/64")];
    let loops = |bu: Bu<'static>| bu.from("[2001:db8:6618:100::b]:5000");
    // 139 before 140.
    let mut lab = Lab::registered();
    assert_eq!(lab.bu(implicit(16)).status(), 139);
    // 140 before 132.
    let mut lab = Lab::with(Policy { home_prefixes: Vec::new(), ..policy() });
    lab.issue(other_sa(2));
    assert_eq!(lab.bu(loops(implicit(1))).status(), 140);
    // 132 before 174.
    lab.issue(with(router(&[NET]), sa(1)));
    let leads_to_the_home_agent = || implicit(1).alternate("2001:db8:6618::1");
    assert_eq!(lab.bu(leads_to_the_home_agent()).status(), 132);
    // 174 before 14x.
    let mut lab = self::lab();
    let bu = explicit(1, &bad).alternate("2001:db8:6618::1");
    assert_eq!(lab.bu(bu).status(), 174);
    assert_eq!(lab.bu(explicit(1, &bad)).status(), 141);
    // 14x before 130.
    let mut lab = Lab::with(Policy { max_bindings: 0, ..policy() });
    lab.issue(with(router(&[NET]), sa(1)));
    assert_eq!(lab.bu(explicit(1, &bad)).status(), 141);
    assert_eq!(lab.bu(implicit(1)).status(), 130);
}

#[test]
fn dsm_18_moves_are_limited() {
    let mut lab = Lab::with(Policy { care_of_moves_per_minute: 5, ..policy() });
    lab.bu(Bu::new(1).from(COA4));
    let port = |n: u16| format!("198.51.100.7:{}", 6000 + n);
    for n in 2..7 {
        assert_eq!(lab.bu(Bu::new(n).from(&port(n))).status(), 0, "{n}");
    }
    // A refresh is no move.
    assert_eq!(lab.bu(Bu::new(7).from(&port(6))).status(), 0);
    let outcome = lab.bu(Bu::new(8).from(&port(8)));
    assert_eq!(outcome.answer(), (129, 8, 0));
    let told = |notice: &&Notice| {
        matches!(notice, Notice::MovesTooOften { home_address: HOA, care_of, .. }
            if *care_of == addr(&port(8)))
    };
    assert!(outcome.notices().iter().any(told));
    assert_eq!(lab.binding(), Some((addr(&port(6)), 7)));
    // Refusals cost nothing, and one move is granted every 12 s.
    lab.wait(seconds(11));
    assert_eq!(lab.bu(Bu::new(9).from(COA)).status(), 129);
    lab.wait(seconds(1));
    assert_eq!(lab.bu(Bu::new(10).from(COA)).status(), 0);
    assert_eq!(lab.bu(Bu::new(11).from(COA2)).status(), 129);
}
