//! Many mobile nodes in one process, as a load on the lab's HAC and home agent.
//!
//! ```text
//!  hearth-mn: a fleet --[visit6]-- hearth-net6 --[access]-- hearth-ha --[home]-- hearth-cn
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{path::Path, process::Output};

use hearth_e2e::TestLab;
use hearth_lab::{
    config,
    config::NodeTuning,
    netns,
    plan::{CN6, HA6, SPI_RANGE, Visited},
};
use serde_json::Value;

const NODES: u64 = 300;

/// The lab with a pool of home addresses and a store, room for so many, and the fleet's YAML.
fn lab_of_a_fleet(name: &str, nodes: u64, load: &str) -> TestLab {
    let mut lab = TestLab::prepare(name);
    let files = lab.options.files.clone();
    let key = files.dir.join("wrap.key");
    config::write(&key, &"5a".repeat(32)).unwrap();
    let yaml = files.config("hac");
    let last = 0x1000 + 2 * nodes;
    let pools = format!(
        "    pools: {{ip6: [\"2001:db8:b:1::1000\", \"2001:db8:b:1::{last:x}\"]}}\npolicy:\n"
    );
    let room = |text: String| {
        let spis = format!("spi_range: [1, {}]", 4096 + 4 * nodes);
        let bindings = format!("max_bindings: {}", 1024 + 2 * nodes);
        text.replacen(&format!("spi_range: [1, {}]", SPI_RANGE.1), &spis, 1).replacen(
            "max_bindings: 1024",
            &bindings,
            1,
        )
    };
    let hearthd = files.config("hearthd");
    config::write(&hearthd, &room(std::fs::read_to_string(&hearthd).unwrap())).unwrap();
    let text = room(std::fs::read_to_string(&yaml).unwrap()).replacen("policy:\n", &pools, 1);
    let store = files.run.join("subscribers.redb");
    let (store, key) = (store.display(), key.display());
    let store = format!("subscriber_store: {{path: {store}, key_file: {key}}}\n");
    config::write(&yaml, &(text + &store)).unwrap();
    let node = config::mobile_node(
        &files,
        &lab.subscribers[0],
        &NodeTuning { hac_addresses: vec![HA6.into()], ..NodeTuning::default() },
    );
    config::write(&files.config("node"), &node).unwrap();
    let report = files.dir.join("fleet.json");
    let fleet = format!(
        "node: node.yaml\nnodes: {nodes}\nmn_id: \"fleet{{}}@example.net\"\nreport: {}\n{load}",
        report.display()
    );
    config::write(&files.config("fleet"), &fleet).unwrap();
    lab.start_hac().unwrap();
    lab.start_hearthd().unwrap();
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, HA6.into()).unwrap();
    lab
}

fn fleet(lab: &TestLab, arguments: &[&str]) -> Output {
    let program = lab.options.programs.path("hearth-mn").unwrap();
    let yaml = lab.options.files.config("fleet");
    let mut command = lab.network.mobile_nodes[0].command(&program);
    command.args(["fleet", "--config"]).arg(yaml).args(arguments);
    netns::output(&mut command).unwrap()
}

fn imported(lab: &TestLab) {
    let list = lab.options.files.dir.join("fleet.jsonl");
    let list = list.display().to_string();
    assert!(fleet(lab, &["subscribers", "-o", &list]).status.success());
    let said = lab.hearth(&["subscriber", "import", &list]).unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

fn results(lab: &TestLab) -> Value {
    let text = std::fs::read(Path::new(&lab.options.files.dir).join("fleet.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// All bootstrap and register with keys that `hearth subscriber import` took; each moves and is
/// reached by the correspondent before and after; at the end no binding is left.
#[test]
fn a_fleet_bootstraps_moves_and_is_reached() {
    let load = format!(
        "duration: 4\nbootstraps_per_second: 100\nbootstraps_at_once: 8\nupdates_per_second: 100\n\
         handovers_per_second: 100\nmake_before_break: true\n\
         traffic: {{to: \"{CN6}\", packets_per_second: 3, octets: 300}}\n"
    );
    let lab = lab_of_a_fleet("fleet", NODES, &load);
    imported(&lab);
    let ended = fleet(&lab, &[]);
    let said = String::from_utf8_lossy(&ended.stdout);
    println!("{said}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success());
    let results = results(&lab);
    let count = |at: &str| results.pointer(at).and_then(Value::as_u64).unwrap();
    assert_eq!(count("/registered_nodes"), NODES, "{results:#}");
    assert_eq!(count("/bootstraps/succeeded"), NODES);
    assert_eq!(count("/bootstraps/duration_ms/count"), NODES);
    assert_eq!(results["bootstraps"]["failed"], serde_json::json!({}));
    assert_eq!(results["binding_updates"]["refused"], serde_json::json!({}));
    assert_eq!(count("/binding_updates/accepted/initial"), NODES);
    assert_eq!(count("/binding_updates/accepted/deregistration"), NODES);
    assert!(count("/binding_updates/accepted/refresh") >= 300, "{results:#}");
    let moves = count("/handovers/begun");
    assert!(moves >= 300, "{results:#}");
    assert_eq!(count("/handovers/completed"), moves);
    assert!(count("/handovers/gap_ms/count") > 0);
    assert!(count("/traffic/sent") >= 2500, "{results:#}");
    assert_eq!((count("/traffic/duplicated"), count("/traffic/foreign")), (0, 0));
    // The machine of a test may be too slow for a moment; the home agent loses none.
    assert!(count("/traffic/lost") * 100 <= count("/traffic/sent"), "{results:#}");
    assert!(count("/memory/resident_octets") > 0);
    assert_eq!(lab.bindings().unwrap().len(), 0, "all have de-registered");
    assert!(said.contains("300 of 300 registered"), "{said}");
}

/// Ten thousand in one process, against both daemons: all are registered, move and are reached, in less
/// than a GiB. Takes minutes and says what it measured: a load, not a test of every day.
#[test]
#[ignore = "minutes of load; cargo nextest run -p hearth-e2e --test fleet --run-ignored only"]
fn ten_thousand_nodes_live_in_one_process() {
    let nodes = 10_000;
    let load = format!(
        "duration: 20\nbootstraps_per_second: 150\nbootstraps_at_once: 32\nupdates_per_second: 1000\n\
         handovers_per_second: 250\nmake_before_break: true\n\
         traffic: {{to: \"{CN6}\", packets_per_second: 0.5, octets: 300}}\n"
    );
    let lab = lab_of_a_fleet("fleet-live", nodes, &load);
    imported(&lab);
    let ended = fleet(&lab, &[]);
    println!("{}", String::from_utf8_lossy(&ended.stdout));
    println!("{}", String::from_utf8_lossy(&ended.stderr));
    let results = results(&lab);
    println!("{results:#}");
    let count = |at: &str| results.pointer(at).and_then(Value::as_u64).unwrap();
    assert!(ended.status.success());
    assert_eq!(count("/registered_nodes"), nodes);
    // The end of a binding is answered when it is on the disk. Where that takes a second, the answer to
    // the retransmission, which ends nothing any more, is there first.
    let refused = results.pointer("/binding_updates/refused").and_then(Value::as_object).unwrap();
    let by_slow_disk = |what: &String| what == "deregistration: status 133";
    assert!(refused.keys().all(by_slow_disk), "{results:#}");
    assert_eq!(count("/handovers/completed"), count("/handovers/begun"));
    assert!(count("/memory/resident_octets") < 1 << 30);
    assert_eq!(lab.bindings().unwrap().len(), 0, "all have de-registered");
}

/// Nodes that the HAC does not know are counted by what was said to them, and the exit code tells.
#[test]
fn a_fleet_that_nobody_knows_is_refused() {
    let lab = lab_of_a_fleet("fleet-unknown", NODES, "bootstraps_per_second: 1000\nduration: 0\n");
    let mut command = {
        let program = lab.options.programs.path("hearth-mn").unwrap();
        let mut command = lab.network.mobile_nodes[0].command("timeout");
        command.args(["-s", "INT", "5"]).arg(program).args(["fleet", "--config"]);
        command.arg(lab.options.files.config("fleet"));
        command
    };
    let ended = netns::output(&mut command).unwrap();
    assert!(!ended.status.success());
    let results = results(&lab);
    assert_eq!((&results["registered_nodes"], &results["nodes"]), (&0.into(), &NODES.into()));
    let failed = results["bootstraps"]["failed"].as_object().unwrap();
    let reason = failed.keys().next().unwrap();
    assert!(failed.len() == 1 && reason.starts_with("not authenticated (401)"), "{results:#}");
    assert!(failed[reason].as_u64() >= Some(NODES), "{results:#}");
}
