//! The fleet's YAML is refused before anything starts, with line, key and what would be right; its
//! nodes take what a mobile node takes.

use std::collections::HashMap;
use std::net::{Ipv6Addr, UdpSocket};
use std::sync::Arc;

use hearth_wire::ip::Ipv6Header;
use hearth_wire::{Scope, Suite};
use rustix::event::epoll;
use zerocopy::IntoBytes;

use super::keys::write_subscribers;
use super::node::{BUFFER, Node, Tools};
use super::*;
use crate::tunnel::IvSource;

const NODE: &str = "\
mn_id: any@example.net
psk: {hex: 00112233445566778899aabbccddeeff}
hac:
  name: hac.example.net
  ca: ca.pem
";

const GOOD: &str = "\
node: mn.yaml
nodes: 3
mn_id: \"fleet{}@example.net\"
";

fn load_text(node: &str, text: &str) -> Result<Plan, String> {
    let folder = tempfile::tempdir().unwrap();
    let ca = include_str!("../config/test-ca.pem");
    std::fs::write(folder.path().join("ca.pem"), ca).unwrap();
    std::fs::write(folder.path().join("mn.yaml"), node).unwrap();
    let list = "{\"mn_id\":\"fleet1@example.net\",\"psk\":{\"hex\":\"000102030405060708090a0b0c0d0e0f\"}}\n";
    std::fs::write(folder.path().join("list"), list).unwrap();
    std::fs::write(folder.path().join("bad-list"), "{\"mn_id\":\"x\"}\n").unwrap();
    let file = folder.path().join("fleet.yaml");
    std::fs::write(&file, text).unwrap();
    let prefix = format!("{}/", folder.path().display());
    load(&file).map_err(|error| error.to_string().replace(&prefix, ""))
}

#[test]
fn three_lines_are_enough() {
    let plan = load_text(NODE, GOOD).unwrap();
    assert_eq!((plan.nodes, plan.first, plan.threads), (3, 1, 1));
    assert_eq!(plan.mn_id(2).unwrap().as_str(), "fleet3@example.net");
    assert_eq!(plan.node.table, 0, "no mark, and so no privilege");
    assert_eq!((plan.updates_per_second, plan.handovers_per_second), (0.0, 0.0));
    assert!(plan.traffic.is_none());
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_key() {
    let cases = [
        ("nodes: 3", "nodes: 0", "fleet.yaml:2: nodes: out of range; 1 to 1000000"),
        ("fleet{}", "fleet", "fleet.yaml:3: mn_id: {} stands in the place of the node's number"),
        ("fleet{}", "{} {}", "fleet.yaml:3: mn_id: {} stands in the place"),
        ("fleet{}@", "fleet {}@", "fleet.yaml:3: mn_id: no network access identifier"),
        ("mn.yaml", "no.yaml", "no.yaml: can't be read"),
        ("nodes: 3", "nodes: 3\nnoise: 1", "fleet.yaml:3: noise: unknown key"),
        ("nodes: 3", "nodes: 3\nduration: -1", "fleet.yaml:3: duration: out of range"),
        (
            "nodes: 3",
            "nodes: 3\nkeys: list",
            "fleet.yaml:3: keys: has no key for fleet2@example.net",
        ),
        ("nodes: 3", "nodes: 3\nkeys: bad-list", "fleet.yaml:3: keys: bad-list: line 1: give"),
        (
            "nodes: 3",
            "nodes: 3\ncare_of_addresses: [\"2001:db8::1\", \"fe80::1\"]",
            "fleet.yaml:3: care_of_addresses[1]: no address that a home agent can reach",
        ),
        (
            "nodes: 3",
            "nodes: 3\ntraffic: {to: \"2001:db8::1\", port: 7}",
            "fleet.yaml:3: traffic.port: pings have none",
        ),
        (
            "nodes: 3",
            "nodes: 3\ntraffic: {to: \"2001:db8::1\", kind: one-way}",
            "fleet.yaml:3: traffic.port: missing key",
        ),
        (
            "nodes: 3",
            "nodes: 3\ntraffic: {to: \"2001:db8::1\", octets: 60}",
            "fleet.yaml:3: traffic.octets: out of range; 68 to 1400",
        ),
    ];
    for (old, new, wanted) in cases {
        let error = load_text(NODE, &GOOD.replace(old, new)).unwrap_err();
        assert!(error.starts_with(wanted), "{error}\n  is not {wanted}");
    }
    let wrong = NODE.replace("hex: 00112233445566778899aabbccddeeff", "hex: 00");
    assert!(load_text(&wrong, GOOD).unwrap_err().starts_with("mn.yaml:2: psk.hex: "));
}

/// Each node has a key of its own, which the file for the HAC holds, and only that.
#[test]
fn subscribers_are_lines_for_an_import() {
    let plan = load_text(NODE, GOOD).unwrap();
    let mut out = Vec::new();
    write_subscribers(&plan, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    // HMAC-SHA256, by Python's hmac.
    let first = "c5b8ac235907d1070e16b156af818c420996670cbde8c74b65dc5a8309cc7921";
    assert_eq!(lines[0]["mn_id"], "fleet1@example.net");
    assert_eq!(lines[0]["psk"]["hex"], first);
    assert_ne!(lines[1]["psk"]["hex"], first);
    assert!(!format!("{plan:?}").contains(first));
}

/// What a shard without a HAC gives its nodes.
fn tools(plan: &Arc<Plan>) -> Tools {
    Tools {
        plan: Arc::clone(plan),
        bootstraps: Bootstraps::idle(),
        mailbox: Mailbox::new().unwrap().0,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(),
        ivs: IvSource::new().unwrap(),
        results: Results::default(),
        begun: Instant::now(),
        sources: HashMap::new(),
        interface: "fleet".into(),
        buffer: Box::new([0; BUFFER]),
    }
}

/// a node of a fleet drops what a mobile node drops, and under the same names.
#[test]
fn plain_data_is_refused_under_scope_1_and_with_an_spi_or_a_number() {
    let cases = [
        (Scope::Signalling, [0, 0, 0, 0, 0, 0, 0, 0], None),
        (Scope::Signalling, [0, 0, 0, 0, 0, 0, 0, 1], Some("plain_sequence_not_zero")),
        (Scope::Signalling, [0, 0, 0, 7, 0, 0, 0, 0], Some("plain_spi_not_zero")),
        (Scope::SignallingAndData, [0, 0, 0, 0, 0, 0, 0, 0], Some("plain_data_forbidden")),
    ];
    let mut plan = load_text(NODE, GOOD).unwrap();
    plan.care_of_addresses = vec![Ipv6Addr::LOCALHOST.into()];
    let plan = Arc::new(plan);
    for (scope, header, dropped) in cases {
        let (mut tools, now) = (tools(&plan), Instant::now());
        let home_agent = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let mut grant = crate::association::tests::grant(Suite::Aes128CbcSha, scope);
        grant.home_agent = Ipv6Addr::LOCALHOST;
        grant.home_agent_ip4 = None;
        grant.port = home_agent.local_addr().unwrap().port();
        let to = grant.home_address;
        let mut node = Node::new(0, 0, &plan, 0);
        node.on_bootstrapped(&mut tools, Ok(Box::new(grant)), Duration::ZERO, now);
        let (_, care_of) = home_agent.recv_from(&mut [0; 512]).unwrap();
        let inner = Ipv6Header::new("2001:db8:c::2".parse().unwrap(), to, 59, 64, 0).unwrap();
        home_agent.send_to(&[&header[..], inner.as_bytes()].concat(), care_of).unwrap();
        node.receive(&mut tools, now);
        assert_eq!(tools.results.foreign, u64::from(dropped.is_none()), "{header:?}");
        let drops: Vec<_> = tools.results.drops.keys().map(String::as_str).collect();
        assert_eq!(drops, dropped.as_slice(), "{header:?}");
    }
}

/// Who moves has two sockets for a while, and not more nodes move at a time than there are.
#[test]
fn sockets_are_for_nodes_and_those_that_move() {
    let mut plan = load_text(NODE, GOOD).unwrap();
    plan.nodes = 10_000;
    for (handovers_per_second, sockets) in
        [(0.0, 10_000), (0.1, 10_004), (250.0, 18_000), (5000.0, 20_000)]
    {
        plan.handovers_per_second = handovers_per_second;
        assert_eq!(limits::sockets(&plan), sockets, "{handovers_per_second}");
    }
}

/// 10,000 nodes, each with an SA, a socket and a Binding Update under way, take less than 1 GiB.
#[test]
fn ten_thousand_nodes_fit_into_a_process() {
    let mut plan = load_text(NODE, GOOD).unwrap();
    plan.nodes = 10_000;
    plan.care_of_addresses = vec![Ipv6Addr::LOCALHOST.into()];
    limits::check(&plan).unwrap();
    let plan = Arc::new(plan);
    let mut tools = tools(&plan);
    let now = Instant::now();
    let nodes: Vec<Node> = (0..plan.nodes)
        .map(|number| {
            let mut node = Node::new(number, number.into(), &plan, 0);
            let suite = Suite::Aes128CbcSha;
            let mut grant = crate::association::tests::grant(suite, Scope::SignallingAndData);
            grant.home_agent = Ipv6Addr::LOCALHOST;
            grant.home_agent_ip4 = None;
            node.on_bootstrapped(&mut tools, Ok(Box::new(grant)), Duration::ZERO, now);
            node
        })
        .collect();
    assert_eq!(tools.results.updates_sent.get("initial"), Some(&10_000));
    assert_eq!(tools.results.troubles.get("no socket"), None);
    assert_eq!(nodes.len(), 10_000);
    let resident = limits::resident();
    println!("{} KiB resident", resident >> 10);
    assert!((1 << 20..1 << 30).contains(&resident), "{resident}");
}
