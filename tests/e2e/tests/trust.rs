//! What a mobile node does with a HAC that it should not trust, or that is not there.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha: hearthd, and hearth-hac or an impostor
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{net::TcpListener, process::Child, time::Duration};

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{
    config::NodeTuning,
    node::{MobileNode, Status},
    pki::{Authority, Server},
    plan::{HAC_NAME, HAC_PORT, Subscriber, Visited},
    wait,
};
use hearth_wire::suite::Suite;

/// Starts a mobile node that must not get anywhere; its complaint.
fn complaint(lab: &TestLab, who: &Subscriber, tuning: &NodeTuning) -> (MobileNode, String) {
    let mut node = lab.start_node(0, who, tuning).unwrap();
    let status = node.until("a complaint", PATIENCE, |status| status.last_error.is_some()).unwrap();
    assert_unregistered(&status);
    let text = status.last_error.unwrap().text;
    println!("{text}");
    (node, text)
}

fn assert_unregistered(status: &Status) {
    assert_eq!(status.state, "bootstrapping");
    assert!(status.bootstraps.is_empty() && status.registrations.is_empty(), "{status:?}");
}

/// `text` must name the trouble by one of these words.
fn assert_names(text: &str, words: &[&str]) {
    let lower = text.to_lowercase();
    assert!(words.iter().any(|word| lower.contains(word)), "none of {words:?} in: {text}");
}

#[test]
fn a_mobile_node_refuses_the_wrong_authority_and_the_wrong_name_and_fails_with_the_wrong_key() {
    let lab = TestLab::up("trust");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, Visited::Net6.home_agent()).unwrap();

    let other = lab.options.files.dir.join("other-ca.pem");
    Authority::new("Somebody else").unwrap().write_certificate(&other).unwrap();
    let wrong_ca = NodeTuning { ca: Some(other), ..NodeTuning::default() };
    let wrong_name = NodeTuning { hac_name: "hac2.example.net".into(), ..NodeTuning::default() };
    let wrong_key = NodeTuning { psk: Some("5a".repeat(32)), ..NodeTuning::default() };
    let cases: [(NodeTuning, &[&str]); 3] = [
        (wrong_ca, &["not signed by"]),
        (wrong_name, &["name"]),
        // Response/Init is keyed already: the node notices before the HAC does (R-8).
        (wrong_key, &["auth", "key", "401"]),
    ];
    for (tuning, words) in cases {
        let (mut node, text) = complaint(&lab, &who, &tuning);
        assert_names(&text, words);
        node.stop().unwrap();
    }
    assert!(lab.bindings().unwrap().is_empty());

    // None of this hurt the HAC or the subscriber.
    let mut node = lab.register(&who, Visited::Net6);
    node.stop().unwrap();
}

/// `openssl s_server` in the place of the HAC, with a certificate of the right authority that
/// nevertheless proves nothing (R-1). The HAC itself would refuse to start on it.
fn impostor(lab: &TestLab, server: Server<'_>) -> Child {
    let files = &lab.options.files;
    let (certificate, key) = (files.dir.join("impostor.pem"), files.dir.join("impostor.key"));
    lab.authority.write_server(server, &certificate, &key).unwrap();
    let mut openssl = lab.network.ha.command("openssl");
    openssl.args(["s_server", "-quiet", "-accept", &format!("[::]:{HAC_PORT}"), "-cert"]);
    let child = openssl.arg(&certificate).arg("-key").arg(&key).spawn().unwrap();
    lab.hac_listening(&lab.network.ha).unwrap();
    child
}

#[test]
fn a_mobile_node_refuses_certificates_without_its_name_as_subject_alternative() {
    let mut lab = TestLab::prepare("impostor");
    // The directory is the HAC's; hearthd needs none for this.
    lab.start_hearthd().unwrap();
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Net6).unwrap();
    let cases: [(Server<'_>, &[&str]); 2] = [
        (Server { common_name: HAC_NAME, alt_names: &[] }, &["name"]),
        (Server { common_name: "x", alt_names: &["*.example.net"] }, &["wildcard"]),
    ];
    for (server, words) in cases {
        let mut openssl = impostor(&lab, server);
        lab.hac_reachable(0, Visited::Net6.home_agent()).unwrap();
        let (mut node, text) = complaint(&lab, &who, &NodeTuning::default());
        assert_names(&text, words);
        node.stop().unwrap();
        openssl.kill().unwrap();
        openssl.wait().unwrap();
    }
}

#[test]
fn a_mobile_node_waits_for_a_hac_that_is_down() {
    let mut lab = TestLab::prepare("hac-down");
    lab.start_hearthd().unwrap();
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Net6).unwrap();
    let (mut node, text) = complaint(&lab, &who, &NodeTuning::default());
    assert_names(&text, &["refused", "connect", "reach"]);
    lab.start_hac().unwrap();
    node.registered_at(Visited::Net6, PATIENCE).unwrap();
    lab.ping_both(&who);
    node.stop().unwrap();
}

/// The time comes to fetch the next SA, and first nobody listens at the HAC, then somebody who
/// takes the connection and says nothing: the old SA and all that hangs on it stay in use.
#[test]
fn a_mobile_node_keeps_its_binding_while_the_hac_is_down_or_silent() {
    // Shorter is no SA (hac.yaml); a tenth of it passes before the next one is fetched.
    let mut lab = TestLab::up_with("hac-away", |options| options.tuning.sa_validity = 60);
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, Visited::Net6.home_agent()).unwrap();
    let tuning = NodeTuning { renew_before: 0.9, hac_timeout: 1.0, ..NodeTuning::default() };
    let mut node = lab.start_node(0, &who, &tuning).unwrap();
    let first = node.registered_at(Visited::Net6, PATIENCE).unwrap();
    let binding = lab.bindings().unwrap().remove(0);
    lab.hac.take().unwrap().crash().unwrap();

    let mut complains_of = |lab: &TestLab, word: &str| {
        let names =
            |status: &Status| status.last_error.as_ref().is_some_and(|e| e.text.contains(word));
        let status = node.until(word, PATIENCE, names).unwrap();
        assert_eq!(status.state, "registered");
        assert_eq!((status.spi, status.bootstraps.len()), (first.spi, 1));
        assert_eq!(status.home_address_ip6, Some(who.home6));
        assert_eq!(status.home_address_ip4, Some(who.home4));
        let now = lab.bindings().unwrap().remove(0);
        assert_eq!(
            (now.spi, now.care_of_address, now.care_of_port, now.sequence),
            (binding.spi, binding.care_of_address, binding.care_of_port, binding.sequence)
        );
        // By both home addresses: they are still the tunnel's, and the binding carries.
        lab.ping_both(&who);
    };
    complains_of(&lab, "refused");
    let silent = lab.network.ha.enter(|| TcpListener::bind(("::", HAC_PORT))).unwrap().unwrap();
    complains_of(&lab, "did not answer");

    drop(silent);
    lab.start_hac().unwrap();
    let renewed = node.until("a new SA", PATIENCE, |s| s.spi != first.spi).unwrap();
    assert_eq!(renewed.bootstraps.len(), 2);
    lab.ping_both(&who);
    node.stop().unwrap();
}

/// Somebody between drops UDP 7872: the node says so and goes on trying, the HAC is left in peace.
#[test]
fn a_mobile_node_says_that_the_home_agent_is_silent() {
    let lab = TestLab::up("ha-silent");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, Visited::Net6.home_agent()).unwrap();
    let router = &lab.network.net6;
    router
        .nft(
            "table inet silence {\n chain forward {\n  type filter hook forward priority 0\n  \
             udp dport 7872 drop\n }\n}\n",
        )
        .unwrap();
    let tuning = NodeTuning { retransmit_after: 0.1, ..NodeTuning::default() };
    let mut node = lab.start_node(0, &who, &tuning).unwrap();
    let status = node.until("a complaint", PATIENCE, |s| s.last_error.is_some()).unwrap();
    let text = status.last_error.unwrap().text;
    println!("{text}");
    assert_names(&text, &["silent", "answer"]);
    assert_eq!(status.bootstraps.len(), 1);
    router.nft("delete table inet silence").unwrap();
    // The next try is at most a doubled timeout away (RFC 6275 s.11.8).
    node.until("service", Duration::from_secs(40), |s| s.state == "registered").unwrap();
    lab.ping_both(&who);
    node.stop().unwrap();
}

/// After a crash whose state is gone as well, the home agent does not know which sequence numbers of
/// its SAs are used, and takes none of them (R-23). The node sees that it is silent, fetches a new SA,
/// and is served again. (What a crash alone costs is in `restart`.)
#[test]
fn a_mobile_node_survives_a_crash_of_the_home_agent() {
    let mut lab = TestLab::up("ha-crash");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, Visited::Net6.home_agent()).unwrap();
    let tuning = NodeTuning { lifetime: 8, retransmit_after: 0.1, ..NodeTuning::default() };
    let mut node = lab.start_node(0, &who, &tuning).unwrap();
    node.registered_at(Visited::Net6, PATIENCE).unwrap();
    lab.hearthd.take().unwrap().crash().unwrap();
    std::fs::remove_dir_all(lab.options.files.run.join("state/log")).unwrap();
    lab.start_hearthd().unwrap();
    wait::until("a binding at the new home agent", Duration::from_secs(40), || {
        Ok((!lab.bindings()?.is_empty()).then_some(()))
    })
    .unwrap();
    lab.ping_both(&who);
    node.stop().unwrap();
}
