//! `hearth clear`: what a router's operator clears.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::plan::{CN6, Visited};
use hearth_wire::suite::Suite;

/// Runs `hearth`; what it says, and whether it succeeds.
fn hearth(lab: &TestLab, arguments: &[&str]) -> (String, bool) {
    let output = lab.hearth(arguments).unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.success())
}

#[test]
fn neighbours_are_looked_for_anew_and_a_binding_ends() {
    let lab = TestLab::up("clear");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    lab.ping_both(&who);
    let (said, cleared) = hearth(&lab, &["clear", "neighbours", &CN6.to_string()]);
    assert!(cleared, "{said}");
    // It is found again as if it had never been known.
    lab.ping_both(&who);
    let (said, cleared) = hearth(&lab, &["clear", "neighbours", "2001:db8:c::dead"]);
    assert!(!cleared && said.contains("2001:db8:c::dead"), "{said}");

    let (said, cleared) = hearth(&lab, &["clear", "binding", &who.mn_id]);
    assert!(cleared, "{said}");
    node.until("word of the end of the binding", PATIENCE, |status| {
        let said = status.last_error.as_ref().map(|error| error.text.as_str()).unwrap_or_default();
        said.contains("the home agent has revoked the binding")
    })
    .unwrap();
    let (said, cleared) = hearth(&lab, &["clear", "binding", "nobody@example.net"]);
    assert!(!cleared, "{said}");
    node.stop().unwrap();
}
