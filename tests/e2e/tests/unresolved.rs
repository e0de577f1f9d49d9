//! A next hop that never answers, as other people's `ping` sees it (RFC 4861 s.7.2.2, RFC 1812
//! s.5.2.7.1).
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha --[home]-- hearth-cn
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;

use hearth_e2e::TestLab;
use hearth_lab::{netns::output, plan::Visited};
use hearth_wire::suite::Suite;

#[test]
fn a_mobile_node_hears_that_nobody_is_there() {
    let lab = TestLab::up("unresolved");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    // On the home link, where the kernel's solicitations go unanswered.
    for (from, to, words) in [
        (IpAddr::from(who.home6), "2001:db8:c::77", "Address unreachable"),
        (who.home4.into(), "203.0.113.20", "Destination Host Unreachable"),
    ] {
        let mut ping = lab.network.mobile_node(0).unwrap().command("ping");
        ping.args(["-n", "-c", "1", "-W", "10", "-I", &from.to_string(), to]);
        let said = String::from_utf8(output(&mut ping).unwrap().stdout).unwrap();
        assert!(said.contains(words), "{said}");
    }
    assert!(lab.dropped("neighbour_unresolved") >= 2);
    lab.ping_both(&who);
    node.stop().unwrap();
}
