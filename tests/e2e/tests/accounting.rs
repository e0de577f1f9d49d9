//! What FreeRADIUS in the operator's network is told of an SA: what it has carried, as the home agent
//! says it to the HAC.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha --[operator]-- hearth-aaa
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, time::Instant};

use hearth_e2e::{PATIENCE, TestLab, eap::operator};
use hearth_lab::plan::{AAA4, Visited};
use hearth_peers::aaa::{self, FreeRadius};
use hearth_wire::suite::Suite;

/// The value of an attribute in a record.
fn number(record: &str, attribute: &str) -> u64 {
    let value = record
        .lines()
        .find_map(|line| line.trim().strip_prefix(attribute)?.strip_prefix(" = "))
        .unwrap_or_else(|| panic!("{attribute} in\n{record}"));
    value.parse().unwrap()
}

/// RFC 2866, RFC 2869: a mobile node registers and is reached; then its SA is revoked.
#[test]
fn octets_of_an_sa_reach_the_accounting_server() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, format!("{}\n", aaa::SECRET)).unwrap();
    let mut lab = TestLab::prepare_with("accounting", |options| {
        options.tuning.auth += &format!(
            "\nradius: {{nas_identifier: hac, accounting: {{servers: [{{address: {AAA4}, \
             secret_file: {}}}]}}}}",
            secret.display()
        );
    });
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.network.operator().unwrap();
    let aaa = FreeRadius::start_in(operator(&lab.network));
    lab.start_hac().unwrap();
    lab.start_hearthd().unwrap();
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let node = lab.register(&who, Visited::Net6);
    lab.ping_both(&who);
    let output = lab.hearth(&["hac", "revoke", "--mn-id", &who.mn_id]).unwrap();
    assert!(output.status.success(), "{output:?}");
    let begun = Instant::now();
    let stop = loop {
        let text = fs::read_to_string(aaa.path("detail")).unwrap_or_default();
        let stop = text.split("\n\n").find(|record| record.contains("Acct-Status-Type = Stop"));
        if let Some(stop) = stop {
            break stop.to_owned();
        }
        assert!(begun.elapsed() < PATIENCE, "no Stop in\n{text}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    for attribute in [
        format!("User-Name = \"{}\"", who.mn_id),
        format!("Framed-IPv6-Address = {}", who.home6),
        "Acct-Terminate-Cause = Admin-Reset".to_owned(),
        "Acct-Authentic = Local".to_owned(),
    ] {
        assert!(stop.contains(&attribute), "{attribute} in\n{stop}");
    }
    // Three echo requests and three replies to each of two home addresses, and the signalling.
    for (packets, octets) in
        [("Acct-Input-Packets", "Acct-Input-Octets"), ("Acct-Output-Packets", "Acct-Output-Octets")]
    {
        let (packets, octets) = (number(&stop, packets), number(&stop, octets));
        assert!(packets >= 7, "{stop}");
        assert!(octets > 60 * packets, "{stop}");
    }
    drop(node);
}
