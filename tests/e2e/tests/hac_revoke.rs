//! An operator of the HAC ends SAs: at their home agent they are gone at once, whoever still
//! subscribes comes back, and whoever does not is refused.
//!
//! ```text
//!  hearth-mn  --[visit6]-- hearth-net6 --[access]-- hearth-ha: hearthd <- hearth-hac <- hearth hac
//!  hearth-mn2 --[visit6]----/  |
//!  hearth-mn3 --[visit6]------/
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use hearth_e2e::{PATIENCE, TestLab, api};
use hearth_lab::{
    config::{self, NodeTuning},
    node::{MobileNode, Status},
    plan::{CN6, Subscriber, Visited},
    traffic::{Echo, Probe},
    wait,
};
use hearth_wire::suite::Suite;

/// From the operator's command to the home agent without the SA.
const BOUND: Duration = Duration::from_millis(100);
/// What a machine may add that is busy with other things.
const BUSY: Duration = Duration::from_secs(1);

/// A lab whose subscribers stand in YAML, but for `stored`, who stands in the HAC's store.
fn up(stored: &Subscriber, mut lab: TestLab) -> TestLab {
    let files = &lab.options.files;
    fs::write(files.dir.join("wrap.key"), "11".repeat(32)).unwrap();
    fs::write(files.dir.join("psk"), &stored.psk).unwrap();
    let others: Vec<_> =
        lab.subscribers.iter().filter(|other| other.mn_id != stored.mn_id).cloned().collect();
    let text = config::hac(files, &lab.options.tuning, &others)
        + &format!(
            "subscriber_store: {{path: {}, key_file: {}}}\n",
            files.run.join("subscribers.redb").display(),
            files.dir.join("wrap.key").display(),
        );
    config::write(&files.config("hac"), &text).unwrap();
    lab.start_hac().unwrap();
    lab.start_hearthd().unwrap();
    let psk = lab.options.files.dir.join("psk").display().to_string();
    let values = [
        format!("home_address_ip6={}", stored.home6),
        format!("home_address_ip4={}", stored.home4),
        format!("suites={}", stored.suite.name()),
    ];
    let [ip6, ip4, suites] = &values;
    hearth(&lab, &["subscriber", "add", &stored.mn_id, ip6, ip4, suites, "--psk-file", &psk]);
    lab
}

/// Runs `hearth`, which must succeed; what it says.
fn hearth(lab: &TestLab, arguments: &[&str]) -> String {
    let output = lab.hearth(arguments).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that ends these SAs; how long it takes until the home agent has none of them.
fn until_gone(lab: &TestLab, arguments: &[&str], spis: &[u32]) -> (String, Duration) {
    let socket = lab.options.files.api_socket();
    let begun = Instant::now();
    let said = hearth(lab, arguments);
    loop {
        let left = api::sas(&socket).iter().any(|row| spis.contains(&row.spi));
        let took = begun.elapsed();
        if !left {
            println!("{arguments:?}: gone from the home agent after {took:?}");
            return (said, took);
        }
        assert!(took < BUSY, "{arguments:?}: still there after {took:?}");
    }
}

/// The SPI that a mobile node uses.
fn spi(node: &MobileNode) -> u32 {
    node.status().unwrap().spi.unwrap()
}

/// Waits until a mobile node is registered under an SA that is newer than `old`.
fn until_back(node: &mut MobileNode, old: u32) {
    let is_back =
        |status: &Status| status.state == "registered" && status.spi.is_some_and(|spi| spi != old);
    node.until("service under a new SA", PATIENCE, is_back).unwrap();
}

/// Registers each as a mobile node of its own.
fn register_all(lab: &TestLab, who: &[Subscriber]) -> Vec<MobileNode> {
    // Short, so that a mobile node soon notices that nobody answers it.
    let tuning = NodeTuning { lifetime: 4, retransmit_after: 0.1, ..NodeTuning::default() };
    let start = |(index, who)| {
        lab.network.attach(index, Visited::Net6).unwrap();
        lab.hac_reachable(index, Visited::Net6.home_agent()).unwrap();
        lab.start_node(index, who, &tuning).unwrap()
    };
    let mut nodes: Vec<MobileNode> = (0..).zip(who).map(start).collect();
    for node in &mut nodes {
        node.until("the registration", PATIENCE, |status| status.state == "registered").unwrap();
    }
    nodes
}

/// SA-10: by SPI, by mn-id and by realm.
#[test]
fn sa_10_an_operators_revocation_reaches_the_home_agent_within_100_ms() {
    let lab = TestLab::prepare_with("hac-revoke", |options| options.mobile_nodes = 3);
    let suites = [Suite::Aes128CbcSha, Suite::Aes128CbcSha256, Suite::TripleDesEdeCbcSha];
    let who = suites.map(|suite| lab.subscriber(suite, 1));
    let lab = up(&who[2], lab);
    let mut nodes = register_all(&lab, &who);
    let old: Vec<u32> = nodes.iter().map(spi).collect();

    let echo = Echo::start(&lab.network.cn, SocketAddr::new(CN6.into(), 0)).unwrap();
    let home = SocketAddr::new(who[0].home6.into(), 0);
    let namespace = &lab.network.mobile_nodes[0];
    let probe = Probe::start(namespace, home, echo.address(), Duration::from_millis(5)).unwrap();
    wait::until("traffic", PATIENCE, || Ok(probe.answered_since(Duration::ZERO).then_some(())))
        .unwrap();

    // One SA, and nobody else's.
    let number = old[0].to_string();
    let revoked_at = probe.now();
    let (said, by_spi) = until_gone(&lab, &["hac", "revoke", "--spi", &number], &old[..1]);
    assert_eq!(said, "1 SA revoked\n");
    let gone_at = probe.now();
    let rows = lab.sas().unwrap();
    assert!(rows.iter().any(|row| row.spi == old[1]) && rows.iter().any(|row| row.spi == old[2]));
    assert!(lab.bindings().unwrap().iter().all(|binding| binding.spi != old[0]));
    let again = lab.hearth(&["hac", "revoke", "--spi", &number]).unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("no SA has this SPI"));

    // All of one mobile node.
    let arguments = ["hac", "revoke", "--mn-id", &who[1].mn_id];
    let (said, by_mn_id) = until_gone(&lab, &arguments, &old[1..2]);
    assert_eq!(said, "1 SA revoked\n");
    until_back(&mut nodes[0], old[0]);
    until_back(&mut nodes[1], old[1]);
    wait::until("traffic again", PATIENCE, || {
        Ok(probe.answered_since(gone_at + Duration::from_millis(100)).then_some(()))
    })
    .unwrap();
    let samples = probe.finish();
    // The mobile node notices some tenths of a second later at the earliest.
    let silence = gone_at..gone_at + Duration::from_millis(100);
    assert!(samples.sent(&silence) > 0);
    assert_eq!(samples.lost(&silence), samples.sent(&silence), "data after the end of its SA");
    assert_eq!(samples.lost(&(Duration::from_millis(50)..revoked_at)), 0);

    // No longer a subscriber: its SA ends, and it gets no other one.
    let now: Vec<u32> = nodes.iter().map(spi).collect();
    let (said, _) = until_gone(&lab, &["subscriber", "remove", &who[2].mn_id], &now[2..]);
    assert!(said.contains("is removed"), "{said}");
    // A realm: only if that is meant.
    let realm = ["hac", "revoke", "--realm", "example.net"];
    let unmeant = lab.hearth(&realm).unwrap();
    assert!(!unmeant.status.success());
    assert!(String::from_utf8_lossy(&unmeant.stderr).contains("--yes"));
    assert_eq!(lab.sas().unwrap().len(), 2);
    let (said, by_realm) = until_gone(&lab, &[&realm[..], &["--yes"]].concat(), &now);
    assert_eq!(said, "2 SAs revoked\n");
    assert!(lab.bindings().unwrap().is_empty());
    for (node, old) in nodes.iter_mut().zip(&now[..2]) {
        until_back(node, *old);
    }
    lab.ping_both(&who[0]);
    let refused = |status: &Status| {
        status.last_error.as_ref().is_some_and(|error| error.text.contains("401"))
    };
    nodes[2].until("the refusal", PATIENCE, refused).unwrap();
    assert!(lab.sas().unwrap().iter().all(|row| row.mn_id != who[2].mn_id));

    let took = [by_spi, by_mn_id, by_realm];
    assert!(took.iter().min().is_some_and(|least| *least < BOUND), "{took:?}");
    for node in &mut nodes[..2] {
        node.stop().unwrap();
    }
    // Its de-registration would wait for an answer.
    nodes[2].program.crash().unwrap();
}
