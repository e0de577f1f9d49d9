//! What goes wrong for a mobile node and heals again: addresses that are all given out, a clock that
//! is wrong, a machine that slept.
//!
//! ```text
//!  hearth-mn  --[visit6]-- hearth-net6 --[access]-- hearth-ha: hearthd <- hearth-hac
//!  hearth-mn2 --[visit6]----/   |
//!             \-[visit4]-- hearth-nat4
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf, time::Duration};

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{
    config::{self, NodeTuning},
    node::MobileNode,
    plan::{Subscriber, Visited},
    program::Program,
    wait,
};
use hearth_wire::suite::Suite;
use rustix::process::Signal;

/// Rewrites the HAC's YAML.
fn rewrite(lab: &TestLab, change: impl FnOnce(String) -> String) {
    let yaml = lab.options.files.config("hac");
    let text = fs::read_to_string(&yaml).unwrap();
    config::write(&yaml, &change(text)).unwrap();
}

/// Takes a subscriber out of the HAC's YAML.
fn without(text: &str, mn_id: &str) -> String {
    let (head, subscribers) = text.split_once("subscribers:\n").unwrap();
    let entries = subscribers.split("  - mn_id: ").skip(1);
    let kept = entries.filter(|entry| entry.lines().next() != Some(mn_id));
    kept.fold(format!("{head}subscribers:\n"), |text, entry| text + "  - mn_id: " + entry)
}

/// What the node says went wrong.
fn last_error(node: &MobileNode) -> String {
    node.status().and_then(|status| status.last_error).map(|error| error.text).unwrap_or_default()
}

/// A pool of one address, which the first node has: the second one is told to come back, says so and
/// when, and has the address as soon as the operator has taken it from the first.
#[test]
fn a_node_for_whom_there_is_no_address_waits_for_one() {
    let mut lab = TestLab::prepare_with("no-address", |options| options.mobile_nodes = 2);
    rewrite(&lab, |text| {
        let own = |line: &&str| !line.trim_start().starts_with("home_address_ip");
        let text: String = text.split_inclusive('\n').filter(own).collect();
        let pools = "    pools: {ip6: [\"2001:db8:b:1::1000\", \"2001:db8:b:1::1000\"]}\npolicy:\n";
        text.replacen("policy:\n", pools, 1) + "limits: {retry_after: 2}\n"
    });
    lab.start_hac().unwrap();
    lab.start_hearthd().unwrap();
    let nodes = [Suite::Aes128CbcSha, Suite::Aes128CbcSha256].map(|suite| lab.subscriber(suite, 1));
    let start = |index: u8, who: &Subscriber| {
        lab.network.attach(index, Visited::Net6).unwrap();
        lab.hac_reachable(index, Visited::Net6.home_agent()).unwrap();
        lab.start_node(index, who, &NodeTuning::default()).unwrap()
    };
    let address = Some("2001:db8:b:1::1000".parse().unwrap());
    let has_it = |status: &hearth_lab::node::Status| {
        status.state == "registered" && status.home_address_ip6 == address
    };
    let mut first = start(0, &nodes[0]);
    first.until("the first registration", PATIENCE, has_it).unwrap();

    let mut second = start(1, &nodes[1]);
    second
        .until("a refusal for want of addresses", PATIENCE, |status| {
            let said =
                status.last_error.as_ref().map(|error| error.text.as_str()).unwrap_or_default();
            said.contains("no room now (503)") && said.contains("next try at ")
        })
        .unwrap();
    let told = |line: &str| line.contains("503") && line.contains("retry_in_s");
    second
        .program
        .until("a line of the log", PATIENCE, |node| Ok(node.log().lines().any(told).then_some(())))
        .unwrap();

    rewrite(&lab, |text| without(&text, &nodes[0].mn_id));
    let said = lab.hearth(&["hac", "reload"]).unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    second.until("the second registration", PATIENCE, has_it).unwrap();
    assert_eq!(lab.bindings().unwrap().len(), 1);
    second.stop().unwrap();
}

/// The library that gives a program another time of day, of Debian's libfaketime.
fn faketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut libraries = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    libraries.find(|library| library.is_file()).expect("libfaketime")
}

/// A clock that is years behind finds no certificate valid: the node says that it may be the clock,
/// and is registered once the clock is right, without help.
#[test]
fn a_clock_that_is_wrong_is_named_and_once_it_is_right_all_goes_on() {
    let lab = TestLab::up("clock");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, Visited::Net6.home_agent()).unwrap();
    let files = &lab.options.files;
    let (yaml, status, clock) =
        (files.config("slow"), files.run.join("slow.json"), files.dir.join("clock"));
    let node = config::mobile_node(files, &who, &NodeTuning::default());
    config::write(&yaml, &node).unwrap();
    config::write(&clock, "-10y\n").unwrap();
    let environment = [
        format!("LD_PRELOAD={}", faketime().display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    let program = lab.options.programs.path("hearth-mn").unwrap().display().to_string();
    let (yaml, place) = (yaml.display().to_string(), status.display().to_string());
    let command = [&program, "up", "--config", &yaml, "--status-file", &place];
    let arguments: Vec<&str> = environment.iter().map(String::as_str).chain(command).collect();
    let namespace = lab.network.mobile_node(0).unwrap();
    let env = std::path::Path::new("/usr/bin/env");
    let program = Program::start(namespace, env, &arguments, &files.log_of("mn")).unwrap();
    let mut node = MobileNode::new(program, namespace.clone(), 0, status);
    node.until("a complaint about the clock", PATIENCE, |status| {
        let said = status.last_error.as_ref().map(|error| error.text.as_str()).unwrap_or_default();
        said.contains("is not valid yet (or the clock here is wrong)")
    })
    .unwrap();
    assert!(lab.bindings().unwrap().is_empty());

    config::write(&clock, "+0\n").unwrap();
    node.registered_at(Visited::Net6, PATIENCE).unwrap();
    node.stop().unwrap();
}

/// A machine that slept until its binding was gone, and wakes in another network.
#[test]
fn a_node_that_slept_through_its_binding_comes_back_from_where_it_wakes() {
    let lab = TestLab::up("slept");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, Visited::Net6.home_agent()).unwrap();
    let tuning = NodeTuning { lifetime: 4, ..NodeTuning::default() };
    let mut node = lab.start_node(0, &who, &tuning).unwrap();
    node.registered_at(Visited::Net6, PATIENCE).unwrap();
    lab.ping_both(&who);

    node.program.signal(Signal::STOP);
    wait::until("the end of the binding", Duration::from_secs(20), || {
        Ok(lab.bindings()?.is_empty().then_some(()))
    })
    .unwrap();
    lab.network.detach(0, Visited::Net6).unwrap();
    lab.network.attach(0, Visited::Nat4).unwrap();
    node.program.signal(Signal::CONT);
    node.registered_at(Visited::Nat4, PATIENCE).unwrap();
    lab.ping_both(&who);
    println!("{}", last_error(&node));
    node.stop().unwrap();
}
