//! Life on a host: the commands, and what is put back.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Bench, echoes, wait_for};

impl Bench {
    /// `hearth-mn` with these arguments in the MN's namespace.
    fn hearth_mn(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.mn, env!("CARGO_BIN_EXE_hearth-mn")])
            .args(arguments)
            .current_dir(self.folder.path());
        command
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.hearth_mn(arguments).output().unwrap()
    }

    /// The code and what was said on standard error.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let Output { status, stderr, .. } = self.ask(arguments);
        (status.code().unwrap(), String::from_utf8(stderr).unwrap())
    }
}

#[test]
fn a_node_is_asked_watched_and_ended_by_its_name() {
    let mut bench = Bench::new("ask");
    bench.attach6();
    assert_eq!(bench.refused(&["status"]).0, 3);
    assert_eq!(bench.refused(&["down", "mn.yaml"]).0, 3);
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    let mut monitor =
        bench.hearth_mn(&["monitor", "mn.yaml", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(monitor.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&events.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["state"], "registered");
    bench.attach4();
    bench.detach("eth6");
    let moved = std::iter::repeat_with(&mut next).find(|event| event["event"] == "handover");
    assert_eq!(moved.unwrap()["to"], "192.0.2.100");
    let asked = bench.ask(&["status", "--json"]).stdout;
    let status: Value = serde_json::from_slice(&asked).unwrap();
    assert_eq!((&status["name"], &status["state"]), (&"mn".into(), &"registered".into()));
    assert_eq!(status["handovers"].as_array().unwrap().len(), 1);
    assert!(status["sa_issued"].as_u64() <= status["sa_validity_end"].as_u64());
    let said = String::from_utf8(bench.ask(&["status"]).stdout).unwrap();
    assert!(said.starts_with("mn (mn1@example.net): registered\n"), "{said}");
    assert!(said.contains("care-of address: 192.0.2.100 on eth4, no NAT"), "{said}");
    // It ends, and all is back at the very moment in which `down` returns.
    let down = bench.ask(&["down"]);
    assert!(down.status.success(), "{down:?}");
    bench.assert_no_trace();
    assert!(bench.node.take().unwrap().wait().unwrap().success());
    let last = std::iter::repeat_with(&mut next).find(|event| event["state"] == "stopped");
    assert_eq!(last.unwrap()["event"], "state");
    assert!(monitor.wait().unwrap().success());
    let (code, said) = bench.refused(&["status", "mn.yaml"]);
    assert_eq!((code, said.contains("no mobile node mn is up")), (3, true), "{said}");
}

#[test]
fn in_the_background_up_returns_when_it_is_registered() {
    let bench = Bench::new("back");
    bench.attach6();
    let yaml = bench.write_yaml("car.yaml", "");
    let up = bench.ask(&["up", "--detach", yaml.to_str().unwrap()]);
    assert!(up.status.success(), "{up:?}");
    assert_eq!(bench.status()["state"], "registered");
    echoes(&bench.application("2001:db8:c::2".parse().unwrap()), b"in the background");
    // A second copy says so, by whichever way it is started.
    for arguments in [["up", "car.yaml"].as_slice(), &["up", "-d", "car.yaml"]] {
        let (code, said) = bench.refused(arguments);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("is a mobile node already"), "{said}");
    }
    assert!(bench.ask(&["down", "car.yaml"]).status.success());
    bench.assert_no_trace();
    wait_for("the end of the process", || bench.refused(&["down"]).0 == 3);
}
