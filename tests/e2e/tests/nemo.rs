//! Networks that move: hosts and mobile nodes behind a mobile router (RFC 3963).
//!
//! ```text
//!  hearth-lan --[lan]-- hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha -- hearth-cn
//!                                 \-[visit4]-- hearth-nat4 ----/
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{
    config::NodeTuning,
    netns::run,
    node::MobileNode,
    plan::{BEHIND6, CN6, HA6, MOBILE_NETWORK6, MOBILE_ROUTER6, Visited},
    program::Program,
    traffic::{Direction, Echo, Probe, Transfer, TransferPlan},
    wait,
};
use hearth_wire::suite::Suite;
use serde_json::Value;

/// Starts a mobile router for these prefixes in the IPv6 network.
fn router(lab: &TestLab, prefixes: Vec<&'static str>, mode: &'static str) -> MobileNode {
    router_with(lab, &NodeTuning { mobile_router: Some((prefixes, mode)), ..NodeTuning::default() })
}

fn router_with(lab: &TestLab, tuning: &NodeTuning) -> MobileNode {
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, HA6.into()).unwrap();
    lab.start_node(0, lab.lab_subscriber("mobile-router"), tuning).unwrap()
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

/// radvd on the mobile router's LAN, with the file that the documentation gives.
fn radvd(lab: &TestLab) -> Program {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/radvd");
    let text = fs::read_to_string(example.join("mobile-router.conf")).unwrap();
    let text = text.replace("lan0", "lan").replace("2001:db8:200:1::/64", "2001:db8:d::/64");
    let dir = &lab.options.files.dir;
    fs::write(dir.join("radvd.conf"), text).unwrap();
    let place = |name: &str| dir.join(name).display().to_string();
    let (config, pid, log) = (place("radvd.conf"), place("radvd.pid"), place("radvd.log"));
    let arguments = ["-C", &config, "-p", &pid, "-n", "-d", "1", "-m", "logfile", "-l", &log];
    let (radvd, said) = (Path::new("/usr/sbin/radvd"), dir.join("radvd.said"));
    Program::start(lab.network.mobile_node(0).unwrap(), radvd, &arguments, &said).unwrap()
}

/// The address that the host behind the router has from Router Advertisements, where it has one.
fn configured(lab: &TestLab) -> Option<Ipv6Addr> {
    let mut ip = Command::new("ip");
    ip.args(["-n", lab.network.lan.name(), "-json", "-6", "address", "show", "dev", "lan"]);
    let links: Value = serde_json::from_str(&run(&mut ip).unwrap()).unwrap();
    let global = |entry: &&Value| entry["scope"] == "global" && entry["dynamic"] == true;
    let address = links[0]["addr_info"].as_array()?.iter().find(global)?;
    address["local"].as_str()?.parse().ok()
}

/// RFC 3963 s.5.6: a host that takes its address from radvd on the router's LAN talks to the
/// correspondent, and neither its stream nor its TCP connection ends where the router moves.
#[test]
fn a_host_that_configures_itself_keeps_its_connections_while_its_router_moves() {
    let lab = TestLab::up("nemo-slaac");
    let (network, cn) = (&lab.network, SocketAddr::new(CN6.into(), 0));
    network.bare_mobile_network().unwrap();
    let mut advertises = radvd(&lab);
    for mode in ["implicit", "explicit"] {
        let lan = Some(format!("{MOBILE_ROUTER6}/64"));
        let mobile_router = Some((vec![MOBILE_NETWORK6], mode));
        let mut node =
            router_with(&lab, &NodeTuning { mobile_router, lan, ..NodeTuning::default() });
        node.registered_at(Visited::Net6, PATIENCE).unwrap();
        let address = wait::until("SLAAC", PATIENCE, || Ok(configured(&lab))).unwrap();
        assert_eq!(address.segments()[..4], MOBILE_ROUTER6.segments()[..4], "{mode}: {address}");
        let host = SocketAddr::new(address.into(), 0);

        let echo = Echo::start(&network.cn, cn).unwrap();
        let probe =
            Probe::start(&network.lan, host, echo.address(), Duration::from_millis(10)).unwrap();
        let plan = TransferPlan {
            client: &network.lan,
            from: host,
            server: &network.cn,
            to: cn,
            direction: Direction::Download,
            octets: 6_000_000,
            rate: 3_000_000,
        };
        let transfer = Transfer::start(&plan).unwrap();
        let carries = |part: u64| {
            wait::until(format!("1/{part} of the transfer"), PATIENCE, || {
                Ok((transfer.progress() >= plan.octets / part).then_some(()))
            })
        };
        carries(4).unwrap();
        network.detach(0, Visited::Net6).unwrap();
        network.attach(0, Visited::Nat4).unwrap();
        node.registered_at(Visited::Nat4, PATIENCE).unwrap();
        let registered = probe.now();
        let answered = || Ok(probe.answered_since(registered).then_some(()));
        wait::until("an echo after the move", PATIENCE, answered).unwrap();
        let outcome = transfer.finish().unwrap();
        assert!(outcome.intact() && outcome.received.octets == plan.octets, "{mode}: {outcome:?}");
        assert_eq!(probe.finish().duplicated(), 0, "{mode}");
        assert_eq!(configured(&lab), Some(address), "{mode}: the host notices nothing");
        assert_eq!(lab.ping(&network.cn, CN6.into(), address.into(), 3).unwrap(), 3, "{mode}");
        node.stop().unwrap();
        assert_eq!(lab.ping(&network.cn, CN6.into(), address.into(), 1).unwrap(), 0, "{mode}");
        network.detach(0, Visited::Nat4).unwrap();
    }
    advertises.stop(PATIENCE).unwrap();
}
