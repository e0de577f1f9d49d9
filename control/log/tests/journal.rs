//! The log with a real journald, which runs in namespaces of its own (it takes root): its fields, and
//! what becomes of a program when the journal is stuck or gone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::env;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tracing::{info, warn};

const PART: &str = "HEARTH_LOG_TEST";

/// What the journal has of a program that plays `part`, the oldest first.
fn journal(part: &str) -> Vec<Value> {
    let output = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--mount-proc"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/journal.sh"))
        .arg(env::current_exe().unwrap())
        .args(["--exact", "program", "--ignored", "--nocapture"])
        .env(PART, part)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn journald(signal: Signal) {
    let pid = fs::read_to_string("/run/journald.pid").unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Waits for what another thread or process brings about; the runner ends a test that hangs.
fn until(done: impl Fn() -> bool) {
    while !done() {
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "the program that the other tests run"]
fn program() {
    let log = hearth_log::begin("program", hearth_log::filter(Some("info")).unwrap());
    match env::var(PART).unwrap().as_str() {
        "fields" => {
            let (mn_id, spi) = ("mn1@example.net", 7);
            info!(mn_id, spi, home_address = %"2001:db8:100::1", "registered");
            warn!(said = "a\nPRIORITY=0\nMESSAGE=forged", "a peer's\ntext");
        }
        "stuck" => {
            journald(Signal::STOP);
            // Far more than the kernel and the queue hold: who waits for the journal never comes through.
            for number in 0..3 * hearth_log::QUEUE {
                info!(number, "line");
            }
            assert!(hearth_log::lost() > 0);
            journald(Signal::CONT);
        }
        "dead" => {
            journald(Signal::KILL);
            until(|| {
                UnixDatagram::unbound().unwrap().connect("/run/systemd/journal/socket").is_err()
            });
            for _ in 0..10 {
                info!("to nobody");
            }
            until(|| hearth_log::lost() == 10);
            let mut again = Command::new("/lib/systemd/systemd-journald").spawn().unwrap();
            until(|| {
                UnixDatagram::unbound().unwrap().connect("/run/systemd/journal/socket").is_ok()
            });
            info!("to the new one");
            assert!(again.try_wait().unwrap().is_none());
        }
        other => panic!("{other}"),
    }
    drop(log);
}

#[test]
fn the_journal_has_every_field() {
    let lines = journal("fields");
    let [registered, text] = &lines[..] else { panic!("{lines:#?}") };
    for (field, value) in [
        ("MESSAGE", "registered mn_id=mn1@example.net spi=7 home_address=2001:db8:100::1"),
        ("MN_ID", "mn1@example.net"),
        ("SPI", "7"),
        ("HOME_ADDRESS", "2001:db8:100::1"),
        ("PRIORITY", "6"),
        ("TARGET", "journal"),
    ] {
        assert_eq!(registered[field], value);
    }
    assert_eq!(text["PRIORITY"], "4");
    assert_eq!(text["SAID"], "a\\nPRIORITY=0\\nMESSAGE=forged");
    assert!(text["MESSAGE"].as_str().unwrap().starts_with("a peer's\\ntext said=a\\n"));
}

#[test]
fn nobody_waits_for_a_journal_that_is_stuck() {
    let lines = journal("stuck");
    let said = |line: &Value| line["MESSAGE"].as_str().unwrap().to_owned();
    assert!(lines.len() > 100, "{}", lines.len());
    assert!(
        lines
            .iter()
            .any(|line| said(line).ends_with("log lines were lost: nobody took them in time"))
    );
}

#[test]
fn a_journal_that_is_started_again_is_found() {
    let lines = journal("dead");
    let said: Vec<_> = lines.iter().filter_map(|line| line["MESSAGE"].as_str()).collect();
    assert_eq!(said, ["to the new one", "10 log lines were lost: nobody took them in time"]);
}
