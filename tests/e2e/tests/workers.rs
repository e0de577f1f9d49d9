//! Two workers, where the ports have one receive queue each: what the first one receives and the
//! second one owns is handed over.
//!
//! ```text
//!  hearth-mn  --[visit6]-- hearth-net6 --[access]-- hearth-ha: workers 0, 1 --[home]-- hearth-cn
//!  hearth-mn2 --[visit6]----/
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, SocketAddr};

use hearth_api::WorkerRow;
use hearth_e2e::TestLab;
use hearth_lab::{
    network::DPDK_LINKS,
    plan::{CN6, Visited},
    traffic::{Direction, Transfer, TransferPlan},
};
use hearth_wire::suite::Suite;

const OCTETS: u64 = 4_000_000;

#[test]
fn two_workers_serve_mobile_nodes_of_both() {
    let lab = TestLab::up_with("workers", |options| {
        options.mobile_nodes = 2;
        options.tuning.workers = vec![0, 1];
        // One receive queue and a transmit queue for each worker. net_af_packet has as many of the
        // one as of the other, and spreads packets over all of them.
        options.tuning.devices = DPDK_LINKS
            .map(|link| format!("net_pcap,rx_iface_in={link},tx_iface={link},tx_iface={link}"));
    });
    let suites = [Suite::Aes128CbcSha, Suite::Aes128CbcSha256];
    let who = suites.map(|suite| lab.subscriber(suite, 1));
    let mut nodes =
        [0_u8, 1].map(|index| lab.register_node(index, &who[usize::from(index)], Visited::Net6));
    let spis = nodes.each_ref().map(|node| node.status().unwrap().spi.unwrap());
    assert_ne!(spis[0] % 2, spis[1] % 2, "one worker owns both SAs");
    assert_eq!(lab.bindings().unwrap().len(), 2);

    for ((who, node), direction) in
        who.iter().zip(&nodes).zip([Direction::Upload, Direction::Download])
    {
        let home = IpAddr::from(who.home6);
        assert_eq!(lab.ping(&node.namespace, home, CN6.into(), 3).unwrap(), 3);
        let transfer = Transfer::start(&TransferPlan {
            client: &node.namespace,
            from: SocketAddr::new(home, 0),
            server: &lab.network.cn,
            to: SocketAddr::new(CN6.into(), 0),
            direction,
            octets: OCTETS,
            rate: 0,
        })
        .unwrap();
        let outcome = transfer.finish().unwrap();
        assert!(outcome.intact() && outcome.received.octets == OCTETS, "{outcome:?}");
    }
    let workers: Vec<WorkerRow> = lab.show("workers").unwrap();
    println!("{workers:?}");
    assert_eq!(workers.len(), 2);
    // Of each segment of one of the two transfers somebody else than its owner heard first.
    let handed_over: u64 = workers.iter().map(|worker| worker.handed_over).sum();
    assert!(handed_over > OCTETS / 1500, "{workers:?}");
    for node in &mut nodes {
        node.stop().unwrap();
    }
}
