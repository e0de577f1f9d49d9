//! `hearth top` in a terminal, and as text, over a lab with a mobile node that has traffic.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use hearth_e2e::TestLab;
use hearth_lab::plan::Visited;
use hearth_wire::suite::Suite;
use serde_json::{Value, json};

/// What leaves the screen of a program and shows what was before.
const LEAVES: &str = "\u{1b}[?1049l";

/// `hearth top` in a terminal of 80 by 24 by a program that types when it sees something.
fn in_terminal(lab: &TestLab, steps: &[Value]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peer/terminal.py");
    let mut python = Command::new("/usr/bin/python3");
    python.arg(script).arg(lab.options.programs.path("hearth").unwrap());
    python.arg("--socket").arg(lab.options.files.api_socket()).arg("top");
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = python.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for step in steps {
        writeln!(input, "{step}").unwrap();
    }
    drop(input);
    child.wait_with_output().unwrap()
}

#[test]
fn a_user_looks_around_and_leaves() {
    let lab = TestLab::up("top");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let _node = lab.register(&who, Visited::Net6);
    lab.ping_both(&who);

    let once = lab.hearth(&["top", "--once"]).unwrap();
    assert!(once.status.success(), "{}", String::from_utf8_lossy(&once.stderr));
    let text = String::from_utf8(once.stdout).unwrap();
    for words in ["hearthd ", "bindings 1 of", "uplink", "dropped", &who.mn_id] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    let json = lab.hearth(&["top", "--once", "--json", "--search", "nobody"]).unwrap();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["now"]["status"]["bindings"], 1);
    assert_eq!(json["now"]["bindings"], json!([]));
    assert!(json["per_second"]["uplink"]["packets"].is_number());
    let status = lab.hearth(&["show", "status"]).unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("bindings    1 of"), "{status}");

    // A name may be longer than its column.
    let name = &who.mn_id[..12];
    let seen = in_terminal(
        &lab,
        &[
            json!({"wait": name, "type": "w"}),
            json!({"wait": "CYCLES/PKT", "type": "d"}),
            json!({"wait": "REASON", "type": "/nobody\r"}),
            json!({"wait": "/nobody", "type": "q"}),
        ],
    );
    let text = String::from_utf8_lossy(&seen.stdout);
    assert!(seen.status.success(), "{}: {:?}", seen.status, text.get(..4000));
    assert!(text.contains(LEAVES));

    // A signal leaves the terminal as it was, too.
    let ended = in_terminal(&lab, &[json!({"wait": name, "signal": "SIGTERM"})]);
    assert!(ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stdout).contains(LEAVES));

    let wrong = lab.hearth(&["show", "bindings", "--nonsense"]).unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}
