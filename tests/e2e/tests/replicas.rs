//! Two replicas of a HAC and two home agents, each on a machine of its own.
//!
//! ```text
//!                                 +--[access-0]-- fleet-ha0: hearthd --[home-0]--+
//!  hearth-mn .. --[visit6]-- hearth-net6 --[access-1]-- fleet-ha1: hearthd --[home-1]--+-- hearth-cn
//!                                 +--[hac-0]-- fleet-hac0: hearth-hac, replica 0
//!                                 +--[hac-1]-- fleet-hac1: hearth-hac, replica 1
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::HashSet, net::Ipv6Addr};

use hearth_api::SaRow;
use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{
    config::NodeTuning,
    fleet::{Fleet, Size, correspondent, hac_address},
    node::MobileNode,
    plan::{Subscriber, Visited},
    wait,
};

const NODES: u8 = 4;

/// A mobile node that asks these HACs in turn.
fn start(lab: &TestLab, index: u8, who: &Subscriber, hacs: [u8; 2]) -> MobileNode {
    let hac_addresses = hacs.map(hac_address).to_vec();
    let tuning = NodeTuning { hac_addresses, ..NodeTuning::default() };
    lab.start_node(index, who, &tuning).unwrap()
}

/// Waits until it is registered; its home address.
fn registered(node: &mut MobileNode) -> Ipv6Addr {
    let status =
        node.until("the registration", PATIENCE, |status| status.state == "registered").unwrap();
    status.home_address_ip6.unwrap()
}

/// Which home agent has a home address.
fn agent_of(home: Ipv6Addr) -> u8 {
    u8::try_from(home.segments()[3] - 1).unwrap()
}

fn until_answered(lab: &TestLab, index: u8, home: Ipv6Addr) {
    let namespace = lab.network.mobile_node(index).unwrap();
    let to = correspondent(agent_of(home)).into();
    wait::until("an answer to a ping", PATIENCE, || {
        Ok((lab.ping(namespace, home.into(), to, 1)? == 1).then_some(()))
    })
    .unwrap();
}

/// The SAs of both home agents; no SPI is there twice, no address is two mobile nodes'.
fn all_sas(fleet: &Fleet) -> Vec<SaRow> {
    let rows: Vec<SaRow> =
        (0..fleet.agents.len()).flat_map(|agent| fleet.sas(agent).unwrap()).collect();
    let spis: HashSet<u32> = rows.iter().map(|row| row.spi).collect();
    assert_eq!(spis.len(), rows.len(), "{rows:?}");
    for row in &rows {
        let shares = |other: &SaRow| other.home_address == row.home_address;
        let others = rows.iter().filter(|other| shares(other));
        assert!(others.into_iter().all(|other| other.mn_id == row.mn_id), "{rows:?}");
    }
    rows
}

/// SA-01, HAC-35, R-51: nothing is dealt out twice, whoever deals; when one of the HACs dies its mobile
/// nodes go on, and get their next SA from the other one.
#[test]
fn sa_01_two_hacs_two_home_agents_and_the_death_of_one_hac() {
    let lab = TestLab::prepare_with("replicas", |options| options.mobile_nodes = NODES);
    let who = lab.subscribers[..usize::from(NODES)].to_vec();
    let mut fleet = Fleet::prepare(&lab, Size { hacs: 2, agents: 2 }, &who).unwrap();
    for index in 0..2 {
        fleet.start_hac(index).unwrap();
        fleet.start_hearthd(index).unwrap();
    }
    // Half of them ask this HAC first, half the other one.
    let mut nodes = Vec::new();
    for (index, who) in (0..NODES).zip(&who) {
        lab.network.attach(index, Visited::Net6).unwrap();
        nodes.push(start(&lab, index, who, [index % 2, 1 - index % 2]));
    }
    let homes: Vec<Ipv6Addr> = nodes.iter_mut().map(registered).collect();
    for (index, home) in (0..NODES).zip(&homes) {
        until_answered(&lab, index, *home);
    }
    let rows = all_sas(&fleet);
    assert_eq!(rows.len(), usize::from(NODES));
    let agents: HashSet<u8> = homes.iter().map(|home| agent_of(*home)).collect();
    assert_eq!(agents.len(), 2, "both home agents have mobile nodes: {homes:?}");
    // Replica 0 deals out the lower half of each range, replica 1 the upper one.
    let dealt_by = |spi: u32| u8::from((spi - 1) % 4096 >= 2048);
    for row in &rows {
        let index = who.iter().position(|who| who.mn_id == row.mn_id).unwrap();
        assert_eq!(usize::from(dealt_by(row.spi)), index % 2, "{row:?}");
    }

    fleet.hacs[0].crash().unwrap();
    // All of them go on; one of those who asked the dead HAC starts anew and asks the other.
    nodes[0].stop().unwrap();
    nodes[0] = start(&lab, 0, &who[0], [0, 1]);
    let moved = registered(&mut nodes[0]);
    assert!(!homes.contains(&moved), "an address of the other HAC's part");
    until_answered(&lab, 0, moved);
    for (index, home) in (0..NODES).zip(&homes).skip(1) {
        until_answered(&lab, index, *home);
    }
    let newest = nodes[0].status().unwrap().spi.unwrap();
    assert_eq!(dealt_by(newest), 1);
    all_sas(&fleet);

    // It is back, and has forgotten nothing: the same address.
    fleet.start_hac(0).unwrap();
    nodes[0].stop().unwrap();
    nodes[0] = start(&lab, 0, &who[0], [0, 1]);
    assert_eq!(registered(&mut nodes[0]), homes[0]);
    let again = nodes[0].status().unwrap().spi.unwrap();
    assert_eq!(dealt_by(again), 0);
    assert!(rows.iter().all(|row| row.spi != again), "never dealt out again");
    all_sas(&fleet);
    for node in &mut nodes {
        assert_eq!(node.status().unwrap().bootstraps.len(), 1);
        node.stop().unwrap();
    }
}

/// R-50, R-51: a home agent starts anew while one of the HACs is dead. What the other one has revoked
/// meanwhile is gone; who has an SA of the dead one goes on; who is new gets service.
#[test]
fn sa_01_a_home_agent_restarts_while_one_hac_is_dead() {
    let lab = TestLab::prepare_with("replica-dead", |options| options.mobile_nodes = 3);
    let who = lab.subscribers[..3].to_vec();
    let mut fleet = Fleet::prepare(&lab, Size { hacs: 2, agents: 1 }, &who).unwrap();
    for index in 0..2 {
        fleet.start_hac(index).unwrap();
    }
    fleet.start_hearthd(0).unwrap();
    for index in 0..3 {
        lab.network.attach(index, Visited::Net6).unwrap();
    }
    let mut of_dead = start(&lab, 0, &who[0], [0, 1]);
    let mut of_alive = start(&lab, 1, &who[1], [1, 0]);
    let (home, other) = (registered(&mut of_dead), registered(&mut of_alive));
    until_answered(&lab, 0, home);
    until_answered(&lab, 1, other);
    let spis = [&of_dead, &of_alive].map(|node| node.status().unwrap().spi.unwrap());

    of_alive.program.crash().unwrap();
    fleet.agents[0].crash().unwrap();
    fleet.hacs[0].crash().unwrap();
    let revoked = fleet.hearth_hac(1, &["hac", "revoke", "--mn-id", &who[1].mn_id]).unwrap();
    assert_eq!(String::from_utf8_lossy(&revoked.stdout), "1 SA revoked\n");
    fleet.start_hearthd(0).unwrap();
    wait::until("the end of what was revoked", PATIENCE, || {
        let left: Vec<u32> = fleet.sas(0)?.iter().map(|row| row.spi).collect();
        Ok((left == [spis[0]]).then_some(()))
    })
    .unwrap();
    until_answered(&lab, 0, home);
    let mut third = start(&lab, 2, &who[2], [1, 0]);
    let newest = registered(&mut third);
    until_answered(&lab, 2, newest);
    assert!(third.status().unwrap().bootstraps.len() == 1 && newest != home && newest != other);

    // The dead one is back, and has nothing to add.
    fleet.start_hac(0).unwrap();
    until_answered(&lab, 0, home);
    assert_eq!(all_sas(&fleet).len(), 2);
    assert_eq!(of_dead.status().unwrap().bootstraps.len(), 1);
    of_dead.stop().unwrap();
    third.stop().unwrap();
}
