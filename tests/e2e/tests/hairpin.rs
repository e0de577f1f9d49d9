//! Two mobile nodes talk to each other through the home agent.
//!
//! ```text
//!  hearth-mn  --[visit6]-- hearth-net6 --[access]-- hearth-ha
//!  hearth-mn2 --[visit4]-- hearth-nat4 ----/
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, SocketAddr};

use hearth_e2e::TestLab;
use hearth_lab::{
    plan::Visited,
    traffic::{Direction, Transfer, TransferPlan},
};
use hearth_wire::suite::Suite;

#[test]
fn two_mobile_nodes_reach_each_other_by_their_home_addresses() {
    let lab = TestLab::up_with("hairpin", |options| options.mobile_nodes = 2);
    let one = lab.subscriber(Suite::Aes128CbcSha, 1);
    let two = lab.subscriber(Suite::Aes128CbcSha256, 1);
    let mut first = lab.register_node(0, &one, Visited::Net6);
    let mut second = lab.register_node(1, &two, Visited::Nat4);
    let [mn, mn2] = [0, 1].map(|index| lab.network.mobile_node(index).unwrap());

    let pairs: [(_, IpAddr, IpAddr); 4] = [
        (mn, one.home6.into(), two.home6.into()),
        (mn, one.home4.into(), two.home4.into()),
        (mn2, two.home6.into(), one.home6.into()),
        (mn2, two.home4.into(), one.home4.into()),
    ];
    for (from, source, to) in pairs {
        assert_eq!(lab.ping(from, source, to, 3).unwrap(), 3, "{source} -> {to}");
    }
    let plan = TransferPlan {
        client: mn,
        from: SocketAddr::new(one.home6.into(), 0),
        server: mn2,
        to: SocketAddr::new(two.home6.into(), 0),
        direction: Direction::Download,
        octets: 2_000_000,
        rate: 0,
    };
    assert!(Transfer::start(&plan).unwrap().finish().unwrap().intact());
    first.stop().unwrap();
    second.stop().unwrap();
}
