//! A worker that stops making progress is seen and reported within a second.
//!
//! A tracer holds the worker's thread alone; the control thread goes on.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use hearth_api::WorkerRow;
use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{plan::Visited, wait};
use hearth_wire::suite::Suite;

/// The thread of this name in a process.
fn thread(process: u32, name: &str) -> String {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut tasks = tasks.map(|task| task.unwrap().path());
    let task = tasks.find(|task| fs::read_to_string(task.join("comm")).unwrap().trim() == name);
    task.unwrap().file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_stuck_worker_is_reported_within_a_second() {
    let lab = TestLab::up("stuck-worker");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    lab.ping_both(&who);
    let worker = || -> WorkerRow { lab.show("workers").unwrap().remove(0) };
    let before = worker();
    assert_eq!(before.stuck_ms, None);
    assert!((0.0..=1.0).contains(&before.utilisation), "{before:?}");
    let ever = before.utilisation_since_start;
    assert!(ever > 0.0 && ever < 1.0, "{before:?}");
    assert!(before.cycles_per_packet_since_start.unwrap() > 0.0, "{before:?}");

    let hearthd = lab.hearthd.as_ref().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peer/hold_thread.py");
    let mut tracer = Command::new("/usr/bin/python3");
    tracer.arg(script).arg(thread(hearthd.id(), "worker0"));
    let mut tracer = tracer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut held = String::new();
    BufReader::new(tracer.stdout.take().unwrap()).read_line(&mut held).unwrap();
    assert_eq!(held, "held\n");
    wait::until("the report", Duration::from_secs(1), || {
        Ok(hearthd.log().contains("the worker is stuck").then_some(()))
    })
    .unwrap();
    // The control thread answers all the while.
    let stuck = worker().stuck_ms.unwrap();
    assert!((500..3000).contains(&stuck), "{stuck}");

    drop(tracer.stdin.take());
    assert!(tracer.wait().unwrap().success());
    wait::until("the recovery", PATIENCE, || {
        Ok(hearthd.log().contains("the worker takes turns again").then_some(()))
    })
    .unwrap();
    assert_eq!(worker().stuck_ms, None);
    assert_eq!(hearthd.log().matches("the worker is stuck").count(), 1, "once per incident");
    lab.ping_both(&who);
    node.stop().unwrap();
}
