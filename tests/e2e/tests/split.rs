//! HACs and home agents on machines of their own, with mutual TLS between them.
//!
//! ```text
//!  hearth-mn, mn2 .. --[visit6]-- hearth-net6 --[access-0]-- fleet-ha0: hearthd  --[home-0]-- hearth-cn
//!                                      |                        | operator's network
//!                                      +------[hac-0]------- fleet-hac0: hearth-hac
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{
    config::NodeTuning,
    fleet::{DIRECTORY_NAME, Fleet, Size, correspondent, hac_address},
    node::{MobileNode, Status},
    pki::Authority,
    plan::{Subscriber, Visited},
    traffic::{Echo, Probe},
    wait,
};
use rustix::process::Signal;

/// A lab without daemons, with a fleet beside it.
fn fleet(name: &str, nodes: u8, size: Size) -> (Fleet, TestLab, Vec<Subscriber>) {
    let lab = TestLab::prepare_with(name, |options| options.mobile_nodes = nodes);
    let who = lab.subscribers[..usize::from(nodes)].to_vec();
    let fleet = Fleet::prepare(&lab, size, &who).unwrap();
    for index in 0..nodes {
        lab.network.attach(index, Visited::Net6).unwrap();
    }
    (fleet, lab, who)
}

/// A mobile node that asks these HACs in turn, and refreshes its binding every few seconds.
fn start(lab: &TestLab, index: u8, who: &Subscriber, hacs: &[u8]) -> MobileNode {
    let tuning = NodeTuning {
        hac_addresses: hacs.iter().map(|hac| hac_address(*hac)).collect(),
        lifetime: 4,
        retransmit_after: 0.1,
        ..NodeTuning::default()
    };
    lab.start_node(index, who, &tuning).unwrap()
}

/// Waits until it is registered; its home address and SPI.
fn registered(node: &mut MobileNode) -> (Ipv6Addr, u32) {
    let status =
        node.until("the registration", PATIENCE, |status| status.state == "registered").unwrap();
    (status.home_address_ip6.unwrap(), status.spi.unwrap())
}

/// Waits until the correspondent of home agent `agent` answers.
fn until_answered(lab: &TestLab, index: u8, home: Ipv6Addr, agent: u8) {
    let namespace = lab.network.mobile_node(index).unwrap();
    wait::until("an answer to a ping", PATIENCE, || {
        let answers = lab.ping(namespace, home.into(), correspondent(agent).into(), 1)?;
        Ok((answers == 1).then_some(()))
    })
    .unwrap();
}

/// Waits until the first mobile node has refreshed its binding.
fn until_refreshed(fleet: &Fleet) {
    let sequence = || fleet.bindings(0).unwrap().first().map(|row| row.sequence);
    let before = sequence();
    wait::until("a refresh", PATIENCE, || Ok((sequence() != before).then_some(()))).unwrap();
}

const ONE: Size = Size { hacs: 1, agents: 1 };

/// R-50: the HAC is killed, and packets go on; it is back, and who is new gets service. The home
/// agent is killed, and those who had an SA go on with it, but for one that is revoked meanwhile; who
/// is new gets service.
#[test]
fn either_end_of_the_directory_dies_and_comes_back() {
    let (mut fleet, lab, who) = fleet("split", 3, ONE);
    fleet.start_hac(0).unwrap();
    fleet.start_hearthd(0).unwrap();
    let mut first = start(&lab, 0, &who[0], &[0]);
    let (home, spi) = registered(&mut first);
    until_answered(&lab, 0, home, 0);

    let at: IpAddr = correspondent(0).into();
    let echo = Echo::start(&lab.network.cn, SocketAddr::new(at, 0)).unwrap();
    let namespace = &lab.network.mobile_nodes[0];
    let from = SocketAddr::new(home.into(), 0);
    let probe = Probe::start(namespace, from, echo.address(), Duration::from_millis(10)).unwrap();
    fleet.hacs[0].crash().unwrap();
    until_refreshed(&fleet);
    fleet.start_hac(0).unwrap();
    let mut second = start(&lab, 1, &who[1], &[0]);
    let (other, other_spi) = registered(&mut second);
    until_answered(&lab, 1, other, 0);
    assert!(other != home && other_spi != spi);
    let end = probe.now();
    let samples = probe.finish();
    let all = Duration::ZERO..end;
    assert_eq!(samples.lost(&all), 0, "of {} probes", samples.sent(&all));

    // What is revoked while it is away is gone when it is back.
    fleet.agents[0].crash().unwrap();
    let revoked = fleet.hearth_hac(0, &["hac", "revoke", "--mn-id", &who[1].mn_id]).unwrap();
    assert_eq!(String::from_utf8_lossy(&revoked.stdout), "1 SA revoked\n");
    fleet.start_hearthd(0).unwrap();
    until_answered(&lab, 0, home, 0);
    let mut third = start(&lab, 2, &who[2], &[0]);
    let (newest, newest_spi) = registered(&mut third);
    until_answered(&lab, 2, newest, 0);
    let spis: HashSet<u32> = fleet.sas(0).unwrap().iter().map(|row| row.spi).collect();
    assert!(spis.is_superset(&HashSet::from([spi, newest_spi])) && !spis.contains(&other_spi));
    let is_new = |status: &Status| {
        status.state == "registered" && status.spi.is_some_and(|spi| spi != other_spi)
    };
    second.until("an SA for the one that was revoked", PATIENCE, is_new).unwrap();
    until_answered(&lab, 1, other, 0);
    for (node, bootstraps) in [(&mut first, 1), (&mut second, 2), (&mut third, 1)] {
        assert_eq!(node.status().unwrap().bootstraps.len(), bootstraps);
        node.stop().unwrap();
    }
}

/// SA-16: a home agent that cannot prove that it is the one it says it is gets no SA, and it takes none
/// from a HAC that cannot prove who it is.
#[test]
fn sa_16_the_wrong_certificate_at_either_end_of_the_directory() {
    let (mut fleet, lab, who) = fleet("split-strangers", 1, ONE);
    let (certificate, key) = (fleet.agents[0].certificate(), fleet.agents[0].key());
    let right = std::fs::read_to_string(fleet.agents[0].yaml()).unwrap();
    let stranger = Authority::new("Somebody else").unwrap();
    stranger.write_client("ha0.example.net", &certificate, &key).unwrap();
    fleet.start_hac(0).unwrap();
    fleet.start_hearthd(0).unwrap();
    let mut node = start(&lab, 0, &who[0], &[0]);
    // It has an SA of which its home agent hears nothing.
    node.until("an SA", PATIENCE, |status| status.spi.is_some()).unwrap();
    let said = |log: &dyn Fn() -> String, words: &[&str]| {
        let all = || words.iter().all(|word| log().contains(word));
        wait::until(format!("{words:?}"), PATIENCE, || Ok(all().then_some(()))).unwrap();
    };
    said(&|| fleet.hacs[0].log(), &["refused at the directory", "UnknownIssuer"]);
    said(&|| fleet.agents[0].log(), &["the connection to the SA directory broke"]);

    // Of the right authority, and another home agent's; read while the daemon runs.
    lab.authority.write_client("ha9.example.net", &certificate, &key).unwrap();
    fleet.agents[0].program.as_ref().unwrap().signal(Signal::HUP);
    said(&|| fleet.hacs[0].log(), &["ha9.example.net", "is no home agent's"]);
    assert!(fleet.sas(0).unwrap().is_empty());

    // The right one, and a HAC with another name than was meant.
    lab.authority.write_client("ha0.example.net", &certificate, &key).unwrap();
    let misnamed = right.replace(DIRECTORY_NAME, "directory2.example.net");
    std::fs::write(fleet.agents[0].yaml(), misnamed).unwrap();
    fleet.agents[0].crash().unwrap();
    fleet.start_hearthd(0).unwrap();
    said(&|| fleet.agents[0].log(), &["no SA directory", "directory2.example.net"]);
    assert!(fleet.sas(0).unwrap().is_empty());

    std::fs::write(fleet.agents[0].yaml(), right).unwrap();
    fleet.agents[0].crash().unwrap();
    fleet.start_hearthd(0).unwrap();
    registered(&mut node);
    node.stop().unwrap();
}
