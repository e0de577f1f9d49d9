//! The HAC goes and comes; forwarding does not notice.
//!
//! ```text
//!  hearth-mn  --[visit6]-- hearth-net6 --[access]-- hearth-ha (hearthd; hearth-hac killed) -- hearth-cn
//!  hearth-mn2 --[visit6]----/
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{net::SocketAddr, time::Duration};

use hearth_e2e::{PATIENCE, TestLab, directory};
use hearth_lab::{
    config::NodeTuning,
    plan::{CN6, Visited},
    traffic::{Echo, Probe},
    wait,
};
use hearth_wire::suite::Suite;

#[test]
fn forwarding_goes_on_while_the_hac_restarts() {
    let mut lab = TestLab::up_with("hac-restart", |options| options.mobile_nodes = 2);
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, Visited::Net6.home_agent()).unwrap();
    // Short, so that refreshes fall into the time without a HAC.
    let tuning = NodeTuning { lifetime: 4, ..NodeTuning::default() };
    let mut node = lab.start_node(0, &who, &tuning).unwrap();
    node.registered_at(Visited::Net6, PATIENCE).unwrap();
    let spi = lab.bindings().unwrap()[0].spi;

    let echo = Echo::start(&lab.network.cn, SocketAddr::new(CN6.into(), 0)).unwrap();
    let home = SocketAddr::new(who.home6.into(), 0);
    let namespace = &lab.network.mobile_nodes[0];
    let probe = Probe::start(namespace, home, echo.address(), Duration::from_millis(10)).unwrap();

    // Killed, not asked: as a crash would.
    lab.hac.take().unwrap().crash().unwrap();
    let sequence = lab.bindings().unwrap()[0].sequence;
    wait::until("a refresh without a HAC", PATIENCE, || {
        Ok(lab.bindings()?.first().filter(|b| b.sequence != sequence).map(drop))
    })
    .unwrap();
    lab.start_hac().unwrap();

    // The store is durable: the same SA, and a new SPI for the next subscriber.
    let socket = lab.options.files.directory_socket();
    assert!(directory::records(&socket).iter().any(|record| record.spi.get() == spi));
    let other = lab.subscriber(Suite::Aes128CbcSha256, 1);
    let mut second = lab.register_node(1, &other, Visited::Net6);
    assert_ne!(second.status().unwrap().spi, Some(spi));

    let end = probe.now();
    let samples = probe.finish();
    let all = Duration::ZERO..end;
    assert_eq!(samples.lost(&all), 0, "of {} probes", samples.sent(&all));
    assert_eq!(node.status().unwrap().bootstraps.len(), 1, "the first node did not need the HAC");
    node.stop().unwrap();
    second.stop().unwrap();
}
