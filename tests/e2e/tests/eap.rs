//! A mobile node that authenticates with EAP-GPSK: it bootstraps, registers and reaches the
//! correspondent.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha --[home]-- hearth-cn
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{config::NodeTuning, plan::Visited};
use hearth_wire::suite::Suite;

/// EAP-02, EAP-10: and one with another key gets a 401.
#[test]
fn eap_gpsk_opens_a_tunnel() {
    let lab = TestLab::up("eap");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Net6).unwrap();
    let wrong =
        NodeTuning { auth: "eap-gpsk".into(), psk: Some("5a".repeat(32)), ..NodeTuning::default() };
    let mut node = lab.start_node(0, &who, &wrong).unwrap();
    let status = node.until("a complaint", PATIENCE, |status| status.last_error.is_some()).unwrap();
    let text = status.last_error.unwrap().text;
    assert!(text.contains("401"), "{text}");
    node.stop().unwrap();
    assert!(lab.bindings().unwrap().is_empty());

    let right = NodeTuning { auth: "eap-gpsk".into(), ..NodeTuning::default() };
    let mut node = lab.start_node(0, &who, &right).unwrap();
    node.registered_at(Visited::Net6, PATIENCE).unwrap();
    lab.ping_both(&who);
    node.stop().unwrap();
}
