//! Packets that are too large for a tunnel, or for nobody, as other people's `ping` and kernels
//! see them (MTU-01, MTU-03, TUN-14, R-42).
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha --[home]-- hearth-cn
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;

use hearth_e2e::TestLab;
use hearth_lab::{netns::output, plan::Visited};
use hearth_wire::suite::Suite;

/// What `ping` says in the correspondent's namespace, of `len` octets of IP.
fn ping(lab: &TestLab, to: IpAddr, may_be_split: bool, len: usize) -> String {
    let headers = if to.is_ipv6() { 48 } else { 28 };
    let split = if may_be_split { "dont" } else { "do" };
    let mut ping = lab.network.cn.command("ping");
    ping.args(["-n", "-c", "2", "-i", "0.2", "-W", "2", "-M", split]);
    ping.args(["-s", &(len - headers).to_string(), &to.to_string()]);
    let output = output(&mut ping).unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat()
}

#[test]
fn the_correspondents_kernel_learns_the_tunnels_mtu() {
    let lab = TestLab::up("sizes");
    let subscriber = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&subscriber, Visited::Net6);
    let (home6, home4) = (subscriber.home6.into(), subscriber.home4.into());
    // 1500 - 40 - 8 - 8 - 16 - 12 = 1416 = 88 * 16 + 8, less 2 octets of trailer.
    for (to, words) in [(home6, "Packet too big: mtu=1406"), (home4, "(mtu = 1406)")] {
        let said = ping(&lab, to, false, 1500);
        assert!(said.contains(words), "{said}");
        // It went into the kernel's cache, so that the second one did not leave.
        assert!(said.contains("message too long") || said.contains("Message too long"), "{said}");
        let said = ping(&lab, to, false, 1406);
        assert!(said.contains(" 2 received"), "{said}");
    }
    // Without DF the outer packet goes in fragments, and the mobile node's kernel joins them.
    let said = ping(&lab, home4, true, 1500);
    assert!(said.contains(" 2 received"), "{said}");
    node.stop().unwrap();

    // A virtual home link: nobody is there now.
    for (to, words) in [(home6, "Address unreachable"), (home4, "Destination Host Unreachable")] {
        let said = ping(&lab, to, true, 100);
        assert!(said.contains(words), "{said}");
    }
    assert!(lab.dropped("home_address_unbound") >= 4);
    assert!(lab.dropped("tunnel_mtu") >= 2);
}
