//! A mobile node moves, or the NAT in front of it changes its mind.
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
    plan::{CN6, Visited},
    traffic::{Direction, Echo, Probe, Transfer, TransferPlan},
    wait,
};
use hearth_wire::suite::Suite;

/// What a user may lose of a stream of one packet each 10 ms: what was under way, and what was
/// sent before the new network was up.
const LONGEST_GAP: Duration = Duration::from_millis(1500);

/// A TCP connection and a stream of datagrams survive the way to the NAT'd network and back, with
/// the old network gone before the new one is there.
#[test]
fn connections_survive_moves_between_networks() {
    let lab = TestLab::up("handover");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    let namespace = lab.network.mobile_nodes[0].clone();
    let home = SocketAddr::new(who.home6.into(), 0);
    let echo = Echo::start(&lab.network.cn, SocketAddr::new(CN6.into(), 0)).unwrap();
    let period = Duration::from_millis(10);
    let probe = Probe::start(&namespace, home, echo.address(), period).unwrap();
    let transfer = Transfer::start(&TransferPlan {
        client: &namespace,
        from: home,
        server: &lab.network.cn,
        to: SocketAddr::new(CN6.into(), 0),
        direction: Direction::Upload,
        octets: 30_000_000,
        rate: 5_000_000,
    })
    .unwrap();

    let mut periods = Vec::new();
    for (from, to) in [(Visited::Net6, Visited::Nat4), (Visited::Nat4, Visited::Net6)] {
        let start = probe.now();
        lab.network.detach(0, from).unwrap();
        lab.network.attach(0, to).unwrap();
        let status = node.registered_at(to, PATIENCE).unwrap();
        assert_eq!(status.nat.unwrap_or(false), to == Visited::Nat4);
        let registered = probe.now();
        wait::until("an answered probe", PATIENCE, || {
            Ok(probe.answered_since(registered).then_some(()))
        })
        .unwrap();
        periods.push(start..probe.now());
        let binding = lab.bindings().unwrap().remove(0);
        assert_eq!(binding.care_of_address, to.care_of_address(0));
        assert_eq!(binding.nat, to == Visited::Nat4);
    }
    assert!(!transfer.ended(), "the moves took longer than the transfer");
    let outcome = transfer.finish().unwrap();
    assert!(outcome.intact() && outcome.received.octets == 30_000_000, "{outcome:?}");
    let samples = probe.finish();
    for period in periods {
        let gap = samples.gap(&period);
        println!("gap {gap:?}, lost {} of {}", samples.lost(&period), samples.sent(&period));
        assert!(gap < LONGEST_GAP, "{gap:?}");
    }
    // REG-28.
    assert_eq!(samples.duplicated(), 0, "answers came twice");
    assert_eq!(node.status().unwrap().handovers.len(), 2);
    // The SA is not tied to a care-of address (R-28): no bootstrap was needed for any of this.
    assert_eq!(node.status().unwrap().bootstraps.len(), 1);
    node.stop().unwrap();
}

/// Both networks up at once: the new one is used as soon as it is there, nothing is lost, and
/// nothing comes twice, by the old network and the new one (REG-28).
#[test]
fn nothing_is_lost_or_duplicated_where_the_networks_overlap() {
    let lab = TestLab::up("overlap");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    // Registered over IPv4 first; IPv6 is preferred once it comes up.
    let mut node = lab.register(&who, Visited::Nat4);
    let echo = Echo::start(&lab.network.cn, SocketAddr::new(CN6.into(), 0)).unwrap();
    let home = SocketAddr::new(who.home6.into(), 0);
    let namespace = &lab.network.mobile_nodes[0];
    let probe = Probe::start(namespace, home, echo.address(), Duration::from_millis(10)).unwrap();
    wait::until("the first answer", PATIENCE, || {
        Ok(probe.answered_since(Duration::ZERO).then_some(()))
    })
    .unwrap();
    let start = probe.now();
    lab.network.attach(0, Visited::Net6).unwrap();
    node.registered_at(Visited::Net6, PATIENCE).unwrap();
    let registered = probe.now();
    wait::until("an answered probe", PATIENCE, || {
        Ok(probe.answered_since(registered).then_some(()))
    })
    .unwrap();
    let end = probe.now();
    let samples = probe.finish();
    assert_eq!(samples.lost(&(start..end)), 0, "gap {:?}", samples.gap(&(start..end)));
    assert_eq!(samples.duplicated(), 0, "answers came twice");
    node.stop().unwrap();
}

/// The NAT forgets its mapping and deals out another port: data of the mobile node is still
/// accepted (R-28), and its next Binding Update brings the downlink back (RFC 5555 s.4.3).
#[test]
fn a_rebinding_nat_heals_with_the_next_binding_update() {
    let lab = TestLab::up("rebinding");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Nat4).unwrap();
    lab.hac_reachable(0, Visited::Nat4.home_agent()).unwrap();
    let tuning = NodeTuning { lifetime: 8, ..NodeTuning::default() };
    let mut node = lab.start_node(0, &who, &tuning).unwrap();
    node.registered_at(Visited::Nat4, PATIENCE).unwrap();
    lab.ping_both(&who);
    let before = lab.bindings().unwrap().remove(0);
    assert!((10_000..20_000).contains(&before.care_of_port), "{before:?}");

    lab.network.rebind("20000-29999").unwrap();
    wait::until("a binding at the new port", PATIENCE, || {
        let bindings = lab.bindings()?;
        let new = bindings.iter().find(|b| (20_000..30_000).contains(&b.care_of_port));
        Ok(new.map(drop))
    })
    .unwrap();
    lab.ping_both(&who);
    assert_eq!(node.status().unwrap().bootstraps.len(), 1);
    node.stop().unwrap();
}
