//! REG: home registration (RFC 6275 s.9.5.1, 9.5.4, 10.3.1).

use core::net::SocketAddr;

use hearth_home_agent::{Action, Notice, Policy, Refusal, Tunnel, Tunnels};
use hearth_wire::MobileNodeId;
use hearth_wire::mh::NonceIndices;

use crate::lab::{
    Bu, COA, COA2, COA4, HA, HA4, HOA, HOA4, Lab, OTHER_HOA, OTHER_HOA4, addr, hoa, other_sa,
    policy, sa, seconds, spi,
};

#[test]
fn reg_01_first_registration() {
    let mut lab = Lab::new();
    let outcome = lab.bu(Bu::new(7));
    let ack = outcome.ack();
    assert_eq!((ack.message.status, ack.message.seq, ack.message.lifetime), (0, 7, 100));
    // from where the BU was sent to, to where it came from; R-29: with routing header.
    assert_eq!((ack.from, ack.to), ((HA, 7872).into(), addr(COA)));
    assert_eq!((ack.routing, ack.spi), (Some(HOA), spi(1)));
    let tunnel = Tunnel {
        bid: 0,
        priority: Tunnel::NO_PRIORITY,
        spi: spi(1),
        local: (HA, 7872).into(),
        remote: addr(COA),
    };
    let bind = Action::Bind(Box::new(Tunnels {
        home_address: HOA,
        ipv4_home_address: None,
        link: None,
        prefixes: Vec::new(),
        tunnels: vec![tunnel],
        flows: Vec::new(),
        carriers: vec![spi(1)],
    }));
    // The path is there before the mobile node hears of it.
    assert_eq!(outcome.0[0], bind);
    assert!(matches!(outcome.notices()[..], [Notice::Registered { home_address: HOA, .. }]));
}

#[test]
fn reg_02_and_reg_23_an_answer_without_a() {
    let mut lab = Lab::new();
    let quiet = |seq| Bu::new(seq).flags(|flags| flags.acknowledge = false);
    assert_eq!(lab.bu(quiet(7)).status(), 0);
    assert_eq!(lab.bu(quiet(7)).answer(), (135, 7, 0));
}

#[test]
fn reg_03_alternate_care_of_address() {
    let mut lab = Lab::new();
    let outcome = lab.bu(Bu::new(1).alternate("2001:db8:9::9"));
    // the option is the care-of address, at the port seen; R-32: the answer goes to the
    // outer source all the same.
    assert_eq!(outcome.ack().to, addr(COA));
    assert_eq!(lab.binding(), Some((addr("[2001:db8:9::9]:5000"), 1)));

    // Over IPv4 the outer source is the tunnel's end.
    let outcome = lab.bu(Bu::new(2).from(COA4).alternate("2001:db8:9::9"));
    assert_eq!(outcome.status(), 0);
    assert_eq!(lab.binding(), Some((addr(COA4), 2)));

    let mut lab = Lab::with(Policy { nat66_follow_source: true, ..policy() });
    assert_eq!(lab.bu(Bu::new(1).alternate("2001:db8:9::9")).status(), 0);
    assert_eq!(lab.binding(), Some((addr(COA), 1)));
}

#[test]
fn reg_04_care_of_address_that_is_not_unicast_routable() {
    for bad in ["ff02::1", "ff0e::1", "fe80::1", "::1", "::", "::ffff:198.51.100.7"] {
        let mut lab = Lab::registered();
        let outcome = lab.bu(Bu::new(16).alternate(bad));
        assert_eq!(outcome.refusal(), Refusal::CareOfAddressNotRoutable, "{bad}");
        let from = format!("[{bad}]:5000");
        assert_eq!(lab.bu(Bu::new(16).from(&from)).refusal(), Refusal::OuterSource, "{bad}");
        assert_eq!(lab.binding(), Some((addr(COA), 15)), "{bad}");
    }
}

#[test]
fn reg_05_care_of_address_that_leads_back() {
    let bad: [SocketAddr; 6] = [
        (HA, 5000).into(),
        (HA4, 5000).into(),
        (HOA, 5000).into(),
        (HOA4, 5000).into(),
        (OTHER_HOA, 5000).into(),
        (OTHER_HOA4, 5000).into(),
    ];
    for coa in bad {
        let mut lab = Lab::registered();
        lab.issue(other_sa(2));
        let outcome = lab.bu(Bu::new(16).from(&coa.to_string()));
        assert_eq!(outcome.answer(), (174, 16, 0), "{coa}");
        if let SocketAddr::V6(coa) = coa {
            assert_eq!(lab.bu(Bu::new(17).alternate(&coa.ip().to_string())).status(), 174);
        }
        assert_eq!(lab.binding(), Some((addr(COA), 15)), "{coa}");
    }
    // What the mobile node knows as the HA's, the policy need not name.
    for coa in [(HA, 5000).into(), SocketAddr::from((HA4, 5000))] {
        let mut lab = Lab::with(Policy { ha_addresses: Vec::new(), ..policy() });
        assert_eq!(lab.bu(Bu::new(1).from(&coa.to_string())).status(), 174, "{coa}");
    }
    // Sent to another address of the HA than the one that the HAC handed out.
    let mut lab = Lab::with(Policy { ha_addresses: Vec::new(), ..policy() });
    let outcome = lab.bu_to("[2001:db8:6618::2]:7872", Bu::new(1).alternate(&HA.to_string()));
    assert_eq!(outcome.status(), 174);
    // Private and documentation ranges, and the home link itself, are as good as any.
    for coa in
        ["10.0.0.1:9", "192.168.1.1:9", "198.18.0.1:9", "[fd00::1]:9", "[2001:db8:6618:100::ff]:9"]
    {
        let mut lab = Lab::new();
        assert_eq!(lab.bu(Bu::new(1).from(coa)).status(), 0, "{coa}");
        assert_eq!(lab.binding(), Some((addr(coa), 1)));
    }
}

/// without mobile network prefixes a loop needs a care-of address that is somebody's home
/// address, and none is let in, whichever came first.
#[test]
fn reg_05_no_chain_of_bindings_leads_back() {
    let mut lab = Lab::new();
    let elsewhere = hoa(0xcc);
    let coa = SocketAddr::from((elsewhere, 5000)).to_string();
    assert_eq!(lab.bu(Bu::new(1).from(&coa)).status(), 0);
    // Only now it becomes b's home address; b cannot close the ring, and a cannot stay in it.
    lab.issue(hearth_home_agent::SaInfo { home_address: elsewhere, ..other_sa(2) });
    let b = |seq| Bu::new(seq).spi(2).home_address(Some(elsewhere));
    let back = SocketAddr::from((HOA, 5000)).to_string();
    assert_eq!(lab.bu(b(1).from(&back)).status(), 174);
    assert_eq!(lab.bu(Bu::new(2).from(&coa)).status(), 174);
    assert_eq!(lab.bu(b(2).from(COA2)).status(), 0);
    assert_eq!(lab.bu(Bu::new(3).from(COA)).status(), 0);
    assert_eq!(lab.bu(b(3).from(&back)).status(), 174);
}

#[test]
fn reg_06_home_address_option_missing() {
    // also where the SA names the home address, and where the source is a stranger's.
    for (from, lifetime) in [(COA, 100), (COA, 0), ("[2001:db8:6618:100::a]:9", 100), (COA4, 0)] {
        let mut lab = Lab::registered();
        let outcome = lab.bu(Bu::new(16).home_address(None).from(from).lifetime(lifetime));
        assert_eq!(outcome.refusal(), Refusal::HomeAddressMissing, "{from} {lifetime}");
        assert_eq!(lab.binding(), Some((addr(COA), 15)));
    }
}

#[test]
fn reg_07_home_address_that_is_not_unicast_routable() {
    for bad in ["ff02::1", "fe80::a", "::", "::1"] {
        let mut lab = Lab::registered();
        let outcome = lab.bu(Bu::new(16).home_address(Some(bad.parse().unwrap())));
        assert_eq!(outcome.refusal(), Refusal::HomeAddressNotRoutable, "{bad}");
        assert_eq!(lab.binding(), Some((addr(COA), 15)));
    }
}

#[test]
fn reg_08_home_address_outside_every_served_prefix() {
    let mut lab = Lab::new();
    let home = "2001:db8:6618:200::a".parse().unwrap();
    lab.issue(hearth_home_agent::SaInfo { home_address: home, ..other_sa(2) });
    let outcome = lab.bu(Bu::new(1).spi(2).home_address(Some(home)));
    assert_eq!(outcome.answer(), (132, 1, 0));
    assert_eq!(outcome.ack().routing, Some(home));
    assert!(lab.ha.binding(home).is_none());
}

#[test]
fn reg_09_role_switched_off() {
    let mut lab = Lab::with(Policy { home_registration: false, ..policy() });
    assert_eq!(lab.bu(Bu::new(1)).answer(), (131, 1, 0));
    assert_eq!(lab.ha.binding_count(), 0);
}

#[test]
fn reg_10_and_reg_19_table_full() {
    let mut lab = Lab::with(Policy { max_bindings: 1, ..policy() });
    lab.issue(other_sa(2));
    assert_eq!(lab.bu(Bu::new(15)).status(), 0);
    let other = |seq| Bu::new(seq).spi(2).home_address(Some(OTHER_HOA)).from(COA2);
    assert_eq!(lab.bu(other(1)).answer(), (130, 1, 0));
    // The one that is there is neither evicted nor kept from moving.
    assert_eq!(lab.bu(Bu::new(16).from(COA4)).status(), 0);
    assert_eq!(lab.bu(Bu::new(17).lifetime(0).from(COA4)).status(), 0);
    assert_eq!(lab.bu(other(2)).status(), 0);
}

#[test]
fn reg_11_denied_by_the_operator() {
    let denied = [MobileNodeId::new("a@example.org").unwrap()].into();
    let mut lab = Lab::with(Policy { denied, ..policy() });
    assert_eq!(lab.bu(Bu::new(1)).answer(), (129, 1, 0));
    // By realm; b's is the same, another realm that ends alike is not.
    for (realm, status) in [("Example.ORG", 129), ("ple.org", 0), ("org", 0), ("", 0)] {
        let denied_realms = vec![realm.into()];
        let mut lab = Lab::with(Policy { denied_realms, ..policy() });
        lab.issue(other_sa(2));
        assert_eq!(lab.bu(Bu::new(1)).status(), status, "{realm}");
        let other = Bu::new(1).spi(2).home_address(Some(OTHER_HOA));
        assert_eq!(lab.bu(other).status(), status, "{realm}");
    }
}

#[test]
fn reg_12_lifetime_above_policy() {
    let mut lab = Lab::with(Policy { max_lifetime: seconds(43), ..policy() });
    assert_eq!(lab.bu(Bu::new(1)).answer(), (0, 1, 10));
    assert!(lab.wait(seconds(40) - core::time::Duration::from_millis(1)).unbinds().is_empty());
    assert!(lab.binding().is_some());
    assert_eq!(lab.wait(core::time::Duration::from_millis(1)).unbinds(), [HOA]);
}

#[test]
fn reg_16_and_reg_17_no_refresh_advice() {
    // The option MAY be left out; the binding is kept for the whole lifetime.
    let mut lab = Lab::new();
    assert_eq!(lab.bu(Bu::new(1)).ack().message.options.refresh_advice, None);
    lab.wait(seconds(399));
    assert!(lab.binding().is_some());
}

#[test]
fn reg_18_lifetime_ends() {
    let mut lab = Lab::registered();
    assert!(lab.wait(seconds(399)).0.is_empty());
    let outcome = lab.wait(seconds(1));
    assert_eq!(outcome.unbinds(), [HOA]);
    assert_eq!(outcome.notices(), [&Notice::Expired { home_address: HOA }]);
    assert_eq!((lab.binding(), lab.ha.binding_count()), (None, 0));
}

#[test]
fn reg_20_any_number_is_good_for_a_first_registration() {
    for seq in [0, 1, 0x7fff, 0x8000, 0xffff] {
        assert_eq!(Lab::new().bu(Bu::new(seq)).answer(), (0, seq, 100));
    }
}

#[test]
fn reg_21_and_reg_22_sequence_window() {
    let rows = [
        (15, 16, 0),
        (15, 32782, 0),
        (15, 14, 135),
        (15, 15, 135),
        (15, 32783, 135),
        (32783, 32784, 0),
        (32783, 14, 0),
        (32783, 32782, 135),
        (32783, 32783, 135),
        (32783, 15, 135),
    ];
    for (last, next, status) in rows {
        let mut lab = Lab::new();
        lab.bu(Bu::new(last));
        let (got, seq, _) = lab.bu(Bu::new(next).from(COA2)).answer();
        let (coa, kept) = if status == 0 { (COA2, next) } else { (COA, last) };
        assert_eq!((got, seq), (status, kept), "{next} behind {last}");
        assert_eq!(lab.binding(), Some((addr(coa), kept)));
    }
}

#[test]
fn a_refused_update_does_not_move_the_sequence_number() {
    let mut lab = Lab::registered();
    assert_eq!(lab.bu(Bu::new(20).alternate(&HA.to_string())).status(), 174);
    assert_eq!(lab.bu(Bu::new(16)).answer(), (0, 16, 100));
}

#[test]
fn reg_24_and_reg_25_h_not_set() {
    let for_correspondent = |seq| Bu::new(seq).flags(|flags| flags.home_registration = false);
    let mut lab = Lab::new();
    assert_eq!(lab.bu(for_correspondent(1)).refusal(), Refusal::NotHomeRegistration);
    lab.bu(Bu::new(15));
    assert_eq!(lab.bu(for_correspondent(16)).answer(), (139, 16, 0));
    assert_eq!(lab.bu(for_correspondent(17).lifetime(0)).answer(), (139, 17, 0));
    assert_eq!(lab.binding(), Some((addr(COA), 15)));
}

#[test]
fn reg_26_nonce_indices_with_h() {
    let mut lab = Lab::registered();
    let outcome = lab
        .bu(Bu::new(16).options(|options| options.nonce_indices = Some(NonceIndices::default())));
    assert_eq!(outcome.refusal(), Refusal::NonceIndices);
    assert_eq!(lab.binding(), Some((addr(COA), 15)));
}

#[test]
fn reg_27_refresh_changes_nothing_but_the_time() {
    let mut lab = Lab::registered();
    lab.wait(seconds(300));
    let outcome = lab.bu(Bu::new(16));
    assert_eq!(outcome.answer(), (0, 16, 100));
    assert!(outcome.binds().is_empty(), "the dataplane is not touched");
    assert!(matches!(outcome.notices()[..], [Notice::Refreshed { .. }]));
    assert!(lab.wait(seconds(399)).unbinds().is_empty());
    assert_eq!(lab.wait(seconds(1)).unbinds(), [HOA]);
}

#[test]
fn a_shorter_refresh_ends_the_binding_earlier() {
    let mut lab = Lab::registered();
    assert_eq!(lab.bu(Bu::new(16).lifetime(2)).answer(), (0, 16, 2));
    assert_eq!(lab.wait(seconds(8)).unbinds(), [HOA]);
    assert!(lab.wait(seconds(1000)).0.is_empty());
}

#[test]
fn reg_28_handover() {
    let mut lab = Lab::registered();
    let steps = [(16, COA2), (17, COA4), (18, "198.51.100.7:6000"), (19, COA)];
    let mut at = COA;
    for (seq, to) in steps {
        let outcome = lab.bu(Bu::new(seq).from(to));
        let ack = outcome.ack();
        assert_eq!((ack.message.status, ack.to), (0, addr(to)));
        let Tunnel { remote, local, .. } = outcome.bind().tunnels[0];
        assert_eq!(remote, addr(to));
        let ha: SocketAddr = if remote.is_ipv4() { (HA4, 7872).into() } else { (HA, 7872).into() };
        assert_eq!(local, ha);
        let moved = |notice: &&Notice| {
            matches!(notice, Notice::HandedOver { from, to: now, .. }
                if *from == addr(at) && *now == addr(to))
        };
        assert!(outcome.notices().iter().any(moved));
        assert_eq!(lab.binding(), Some((addr(to), seq)));
        at = to;
    }
    assert_eq!(lab.ha.binding_count(), 1);
}

#[test]
fn reg_29_k_is_echoed_as_0() {
    // `Outcome::ack` asserts K = 0.
    assert_eq!(Lab::new().bu(Bu::new(1).flags(|flags| flags.key_management = true)).status(), 0);
}

#[test]
fn reg_30_mn_id_option() {
    let rows: [(u8, &[u8], u8); 5] = [
        (1, b"a@example.org", 0),
        (1, b"b@example.org", 129),
        (1, b"", 129),
        (2, b"b@example.org", 0),
        (255, b"\0", 0),
    ];
    for (subtype, id, status) in rows {
        let mut lab = Lab::new();
        let bu = Bu::new(1).options(|options| options.mn_id = Some((subtype, id)));
        assert_eq!(lab.bu(bu).status(), status, "{subtype} {id:?}");
        assert_eq!(lab.binding().is_some(), status == 0);
    }
}

#[test]
fn reg_31_source_that_is_not_unicast() {
    for from in [
        "[ff02::1]:5000",
        "224.0.0.1:5000",
        "255.255.255.255:5000",
        "127.0.0.1:5000",
        "0.0.0.0:5000",
        "[2001:db8:1::c]:0",
    ] {
        let mut lab = Lab::registered();
        let bu = Bu::new(16).from(from).alternate("2001:db8:1::c");
        assert_eq!(lab.bu(bu).refusal(), Refusal::OuterSource, "{from}");
        assert_eq!(lab.binding(), Some((addr(COA), 15)));
    }
}

#[test]
fn nem_02_mobile_routers_are_told_no() {
    let router = |seq| Bu::new(seq).flags(|flags| flags.mobile_router = true);
    let mut lab = Lab::new();
    let ack = lab.bu(router(1)).ack().message;
    assert_eq!((ack.status, ack.seq, ack.lifetime, ack.mobile_router), (140, 1, 0, false));
    assert_eq!(lab.ha.binding_count(), 0);
    // Where a mobile host's binding is, R would change it.
    lab.bu(Bu::new(2));
    assert_eq!(lab.bu(router(3)).status(), 139);
    assert_eq!(lab.binding(), Some((addr(COA), 2)));
}

#[test]
fn a_home_address_that_another_mobile_node_has_bound() {
    let mut lab = Lab::registered();
    lab.issue(hearth_home_agent::SaInfo { home_address: HOA, ..other_sa(2) });
    let outcome = lab.bu(Bu::new(1).spi(2).from(COA2));
    assert_eq!(outcome.answer(), (134, 1, 0));
    assert!(outcome.notices().iter().any(|n| matches!(n, Notice::HomeAddressTaken { .. })));
    assert_eq!(lab.bu(Bu::new(2).spi(2).from(COA2).lifetime(0)).status(), 133);
    assert_eq!(lab.binding(), Some((addr(COA), 15)));
}

#[test]
fn an_address_of_the_home_agent_is_nobodys_home_address() {
    let mut lab = Lab::with(Policy { ha_addresses: vec![hoa(1).into()], ..policy() });
    lab.issue(hearth_home_agent::SaInfo { home_address: hoa(1), ..sa(2) });
    assert_eq!(lab.bu(Bu::new(1).spi(2).home_address(Some(hoa(1)))).status(), 134);
}
