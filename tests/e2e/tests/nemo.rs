//! Networks that move: hosts and mobile nodes behind a mobile router (RFC 3963).
//!
//! ```text
//!  hearth-lan --[lan]-- hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha -- hearth-cn
//!                                 \-[visit4]-- hearth-nat4 ----/
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{
    config::NodeTuning,
    node::MobileNode,
    plan::{BEHIND6, CN6, HA6, MOBILE_NETWORK6, Visited},
};
use hearth_wire::suite::Suite;

/// Starts a mobile router for these prefixes in the IPv6 network.
fn router(lab: &TestLab, prefixes: Vec<&'static str>, mode: &'static str) -> MobileNode {
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, HA6.into()).unwrap();
    let tuning = NodeTuning { mobile_router: Some((prefixes, mode)), ..NodeTuning::default() };
    lab.start_node(0, lab.lab_subscriber("mobile-router"), &tuning).unwrap()
}

/// NEM-01, NEM-03, NEM-04, NEM-06: both modes; the network is reached until the router leaves.
#[test]
fn a_host_behind_a_mobile_router_is_reached_wherever_the_router_is() {
    let lab = TestLab::up("nemo");
    let (host, cn): (IpAddr, IpAddr) = (BEHIND6.into(), CN6.into());
    for mode in ["explicit", "implicit"] {
        let mut node = router(&lab, vec![MOBILE_NETWORK6], mode);
        node.registered_at(Visited::Net6, PATIENCE).unwrap();
        assert_eq!(lab.ping(&lab.network.lan, host, cn, 3).unwrap(), 3, "{mode}: from the host");
        lab.network.detach(0, Visited::Net6).unwrap();
        lab.network.attach(0, Visited::Nat4).unwrap();
        node.registered_at(Visited::Nat4, PATIENCE).unwrap();
        assert_eq!(lab.ping(&lab.network.cn, cn, host, 3).unwrap(), 3, "{mode}: to the host");
        // An address of its network that is on none of its links must not go round in the tunnel.
        let nobody = "2001:db8:d:f0::1".parse().unwrap();
        assert_eq!(lab.ping(&lab.network.cn, cn, nobody, 1).unwrap(), 0);
        node.stop().unwrap();
        lab.network.detach(0, Visited::Nat4).unwrap();
        assert_eq!(lab.ping(&lab.network.cn, cn, host, 1).unwrap(), 0, "{mode}: it has gone");
    }
}

/// NEM-08: status 141 or 142, and nothing is bound.
#[test]
fn a_prefix_of_somebody_else_is_refused() {
    let lab = TestLab::up("nemo-refused");
    let mut node = router(&lab, vec!["2001:db8:c::/64"], "explicit");
    let refused = |status: &hearth_lab::node::Status| {
        status.last_error.as_ref().is_some_and(|error| error.text.contains("status 14"))
    };
    node.until("a refusal", PATIENCE, refused).unwrap();
    assert!(lab.bindings().unwrap().is_empty());
    node.stop().unwrap();
}

/// NEM-11: a mobile node whose care-of address is in a mobile network; its tunnel lies in the
/// router's tunnel.
#[test]
fn a_mobile_node_behind_a_mobile_router() {
    let lab = TestLab::up("nemo-nested");
    let mut router = router(&lab, vec![MOBILE_NETWORK6], "explicit");
    router.registered_at(Visited::Net6, PATIENCE).unwrap();
    let who = lab.subscriber(Suite::Aes128CbcSha256, 1);
    let tuning = NodeTuning { interfaces: vec!["lan"], ..NodeTuning::default() };
    let mut node = lab.start_node_in(&lab.network.lan, 1, &who, &tuning).unwrap();
    node.until("the registration from behind the router", PATIENCE, |status| {
        status.state == "registered" && status.care_of_address == Some(BEHIND6.into())
    })
    .unwrap();
    let lan = &lab.network.lan;
    assert_eq!(lab.ping(lan, who.home6.into(), CN6.into(), 3).unwrap(), 3);
    assert_eq!(lab.ping(&lab.network.cn, CN6.into(), who.home6.into(), 3).unwrap(), 3);
    // The router moves, the node behind it does not notice.
    lab.network.detach(0, Visited::Net6).unwrap();
    lab.network.attach(0, Visited::Nat4).unwrap();
    router.registered_at(Visited::Nat4, PATIENCE).unwrap();
    assert_eq!(lab.ping(lan, who.home6.into(), CN6.into(), 3).unwrap(), 3);
    node.stop().unwrap();
    router.stop().unwrap();
}
