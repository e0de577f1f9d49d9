//! Two networks at once (RFC 5648), flows (RFC 6089), and what happens when a network dies.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha --[home]-- hearth-cn
//!            \-[visit4]-- hearth-nat4 ----/
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{net::SocketAddr, time::Duration};

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{
    config::NodeTuning,
    plan::{CN6, HA6, Visited},
    traffic::{Echo, Probe},
    wait,
};

/// MCA-01, MCA-03, MCA-08, MCA-12: a flow is bound to the network that is wanted less, moves to the
/// other when it dies, and comes back with it.
#[test]
fn a_flow_moves_when_its_network_dies_and_comes_back_with_it() {
    let lab = TestLab::up("care-of");
    for visited in Visited::ALL {
        lab.network.attach(0, visited).unwrap();
    }
    lab.hac_reachable(0, HA6.into()).unwrap();
    let who = lab.lab_subscriber("multihomed");
    let echo = Echo::start(&lab.network.cn, SocketAddr::new(CN6.into(), 0)).unwrap();
    let rule = format!("{{bid: 2, protocol: udp, remote_port: {}}}", echo.address().port());
    let tuning = NodeTuning { at_once: true, flows: vec![rule], ..NodeTuning::default() };
    let mut node = lab.start_node(0, who, &tuning).unwrap();
    let both = |status: &hearth_lab::node::Status| status.care_of_addresses.len() == 2;
    node.until("both care-of addresses", PATIENCE, both).unwrap();

    let namespace = lab.network.mobile_node(0).unwrap();
    let home = SocketAddr::new(who.home6.into(), 0);
    let probe = Probe::start(namespace, home, echo.address(), Duration::from_millis(10)).unwrap();
    let flows = || {
        let now = probe.now();
        wait::until("an answered probe", PATIENCE, || Ok(probe.answered_since(now).then_some(())))
            .unwrap();
    };
    // What goes by the other network alone can be counted at its router.
    let carried = |link: &str| {
        let path = format!("/sys/class/net/{link}/statistics/rx_packets");
        let mut cat = lab.network.nat4.command("cat");
        hearth_lab::netns::run(cat.arg(path)).unwrap().trim().parse::<u64>().unwrap()
    };
    flows();
    let before = carried("visit4-0");
    wait::until("the flow by its own network", PATIENCE, || {
        Ok((carried("visit4-0") > before + 20).then_some(()))
    })
    .unwrap();

    lab.network.detach(0, Visited::Nat4).unwrap();
    node.until("one care-of address", PATIENCE, |s| s.care_of_addresses.len() == 1).unwrap();
    // The home agent was told: it does not wait for the end of the lifetime, ten minutes.
    flows();
    lab.network.attach(0, Visited::Nat4).unwrap();
    node.until("both again", PATIENCE, both).unwrap();
    let before = carried("visit4-0");
    wait::until("the flow back on its own network", PATIENCE, || {
        Ok((carried("visit4-0") > before + 20).then_some(()))
    })
    .unwrap();
    node.stop().unwrap();
    assert!(lab.bindings().unwrap().is_empty(), "one Binding Update takes all of them away");
}
