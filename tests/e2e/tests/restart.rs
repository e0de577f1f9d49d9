//! The home agent is killed under traffic, or its disk fails, and mobile nodes do not notice.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access, captured]-- hearth-ha --[home]-- hearth-cn
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{path::Path, process::Command, time::Duration};

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{
    config,
    node::MobileNode,
    plan::{HA_PORT, Subscriber, Visited},
    restart::{numbers, run_under_traffic},
    wait,
};
use hearth_wire::suite::Suite;

/// What a restart may cost on a machine that is busy with other things; the daemon's own start is
/// most of it.
const LONGEST_GAP: Duration = Duration::from_secs(10);

/// What Scapy makes of the sequence numbers in a capture.
fn judged_by_scapy(capture: &Path) -> serde_json::Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peer/sent_numbers.py");
    let output =
        Command::new("/usr/bin/python3").arg(script).arg(capture).arg(HA_PORT.to_string()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// SA-14, R-23: kill -9 under a TCP transfer and a stream of datagrams, twice. Mobile nodes send no
/// Binding Update and fetch no SA; no sequence number is used twice, and none comes back.
fn survives(name: &str, suite: Suite) {
    let mut lab = TestLab::up(name);
    let who = lab.subscriber(suite, 1);
    let mut node = lab.register(&who, Visited::Net6);
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        crash_under_traffic(&mut lab, &who, &node, folder.path());
    }
    lab.ping_both(&who);
    node.stop().unwrap();
    assert!(lab.bindings().unwrap().is_empty());
}

/// One crash, and whoever starts afterwards by the lab's YAML.
fn crash_under_traffic(lab: &mut TestLab, who: &Subscriber, node: &MobileNode, folder: &Path) {
    let report = run_under_traffic(lab, who, node, folder).unwrap();
    println!("{report:?}");
    assert_eq!(report.wrong(), None, "{report:?}");
    assert_eq!((report.binding_updates, report.bindings_before), (0, 1), "{report:?}");
    assert!(report.gap_ms < LONGEST_GAP.as_secs_f64() * 1e3, "{report:?}");
    let capture = folder.join("restart.pcapng");
    let (ours, theirs) = (numbers(&capture).unwrap(), judged_by_scapy(&capture));
    assert!(ours.packets > 1000, "{ours:?}");
    assert_eq!(theirs["packets"], ours.packets);
    assert_eq!(theirs["used_twice"], 0);
    assert_eq!(theirs["came_back"], 0);
}

#[test]
fn sa_14_a_crash_under_traffic_costs_a_gap_and_nothing_else() {
    survives("restart", Suite::Aes128CbcSha);
}

/// R-16: another epoch after each start.
#[test]
fn sa_14_a_crash_under_aes_gcm_costs_a_gap_and_nothing_else() {
    survives("restart-gcm", Suite::Aes128Gcm);
}

/// SA-15: a standby, with YAML of its own and the same folder, waits while the first home agent has
/// it. It takes over under traffic when the first has crashed: no number is used twice, and the mobile
/// node notices nothing but a gap.
#[test]
fn sa_15_a_standby_takes_over_under_traffic_and_not_before() {
    let mut lab = TestLab::up("standby");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    let files = &lab.options.files;
    let standby = config::hearthd(files, &lab.options.tuning, "hearth-e2e-standby");
    let path = files.config("standby");
    config::write(&path, &standby).unwrap();
    let hearthd = lab.options.programs.path("hearthd").unwrap();
    let mut second = lab.network.ha.command(hearthd.to_str().unwrap());
    let output = second.arg("--config").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("state/log: in use by another process"), "{said}");
    lab.ping_both(&who);

    std::fs::rename(path, files.config("hearthd")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    crash_under_traffic(&mut lab, &who, &node, folder.path());
    lab.ping_both(&who);
    node.stop().unwrap();
    lab.hearthd.take().unwrap().crash().unwrap();
    let _its_own = std::fs::remove_dir_all("/var/run/dpdk/hearth-e2e-standby");
}

/// A disk that is full: packets are forwarded and registrations answered, but the end of a binding is
/// not acknowledged, and the log says so. When there is room again, it is.
#[test]
fn a_full_disk_stops_neither_packets_nor_registrations() {
    let mut lab = TestLab::prepare("full-disk");
    let state = lab.options.files.run.join("state");
    std::fs::create_dir_all(&state).unwrap();
    mount(&["-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs"], &state);
    let tested = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        lab.start_hac().unwrap();
        lab.start_hearthd().unwrap();
        full_and_free_again(&lab, &state);
        lab.hearthd.take().unwrap().crash().unwrap();
    }));
    assert!(Command::new("umount").arg("-l").arg(&state).status().unwrap().success());
    tested.unwrap();
}

fn mount(arguments: &[&str], at: &Path) {
    let done = Command::new("mount").args(arguments).arg(at).status().unwrap();
    assert!(done.success(), "mount {arguments:?}");
}

fn full_and_free_again(lab: &TestLab, state: &Path) {
    std::fs::write(state.join("ballast"), vec![1; 1 << 20]).unwrap_err();
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    lab.ping_both(&who);
    let count = |counter: &str| {
        let rows: Vec<serde_json::Value> = lab.show("counters").unwrap();
        let row = rows.iter().find(|row| row["counter"] == counter);
        row.map_or(0, |row| row["count"].as_u64().unwrap())
    };
    assert!(count("state_write_failed") > 0);
    let says = |what: &str| {
        let log = std::fs::read_to_string(lab.options.files.log_of("hearthd")).unwrap();
        log.contains(what)
    };
    let told = || Ok(says("no space left for the state").then_some(()));
    wait::until("the line about the disk", PATIENCE, told).unwrap();
    // It is answered only if there was room left for the end of its binding.
    let _answered = node.stop();
    mount(&["-o", "remount,size=300m"], state);
    wait::until("the state to be kept", PATIENCE, || Ok(says("is kept again").then_some(())))
        .unwrap();
    let mut node = lab.register(&who, Visited::Net6);
    lab.ping_both(&who);
    node.stop().unwrap();
    assert!(lab.bindings().unwrap().is_empty());
}
