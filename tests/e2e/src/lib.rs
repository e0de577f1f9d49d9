//! End-to-end tests in network namespaces, with programs of others as peers.
//!
//! The tests run daemons of their own build (`make test` builds them first, as does `cargo build
//! --workspace --bins --tests`), or those in the folder that `HEARTH_BIN_DIR` names. They need root.
//!
//! Each test has a lab of its own, one at a time on a machine: under nextest by a test group
//! (`.config/nextest.toml`), anywhere by a lock file. A test that fails leaves its logs in
//! `target/e2e/NAME/log`.
#![forbid(unsafe_code)]
// A test's helper fails the test where it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod api;
pub mod cases;
pub mod directory;
pub mod eap;
pub mod packet;
pub mod payload;

use std::{
    fs::{File, OpenOptions},
    net::IpAddr,
    ops::{Deref, DerefMut},
    path::PathBuf,
    time::Duration,
};

use hearth_lab::{
    Lab, LabOptions,
    config::{Files, NodeTuning, Tuning},
    network::Network,
    node::MobileNode,
    plan::{CN4, CN6, Subscriber, Visited},
    program::Programs,
    wait,
};
use hearth_wire::suite::Suite;

/// Longest time for what should take a moment, on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A lab that exists for one test.
pub struct TestLab {
    lab: Lab,
    options: LabOptions,
    _alone: File,
}

impl TestLab {
    /// A lab with both daemons and one mobile node's place.
    #[must_use]
    pub fn up(name: &str) -> Self {
        Self::up_with(name, |_| ())
    }

    /// The same with other options.
    #[must_use]
    pub fn up_with(name: &str, change: impl FnOnce(&mut LabOptions)) -> Self {
        let mut lab = Self::prepare_with(name, change);
        lab.start_hac().unwrap();
        lab.start_hearthd().unwrap();
        lab
    }

    /// Namespaces, certificates and YAML, without any daemon.
    #[must_use]
    pub fn prepare(name: &str) -> Self {
        Self::prepare_with(name, |_| ())
    }

    /// The same with other options.
    #[must_use]
    pub fn prepare_with(name: &str, change: impl FnOnce(&mut LabOptions)) -> Self {
        let alone = lock();
        let mut options = options(name);
        change(&mut options);
        let lab = Lab::prepare(options.clone()).unwrap();
        Self { lab, options, _alone: alone }
    }

    /// The subscriber of a suite and scope.
    #[must_use]
    pub fn subscriber(&self, suite: Suite, scope: u8) -> Subscriber {
        let mut all = self.lab.subscribers.iter();
        all.find(|s| s.suite == suite && s.scope == scope).unwrap().clone()
    }

    /// The subscriber whose `mn-id` begins with `label`.
    #[must_use]
    pub fn lab_subscriber(&self, label: &str) -> &Subscriber {
        self.lab.subscriber(label).unwrap()
    }

    /// Attaches mobile node 0 to a visited network and registers it from there.
    #[must_use]
    pub fn register(&self, subscriber: &Subscriber, visited: Visited) -> MobileNode {
        self.register_node(0, subscriber, visited)
    }

    /// The same for any mobile node.
    #[must_use]
    pub fn register_node(&self, index: u8, who: &Subscriber, visited: Visited) -> MobileNode {
        self.lab.network.attach(index, visited).unwrap();
        self.lab.hac_reachable(index, visited.home_agent()).unwrap();
        let mut node = self.lab.start_node(index, who, &NodeTuning::default()).unwrap();
        node.registered_at(visited, PATIENCE).unwrap();
        node
    }

    /// Pings the correspondent by both home addresses; every ping must be answered.
    pub fn ping_both(&self, who: &Subscriber) {
        for (from, to) in pairs(who) {
            assert_eq!(self.pinged(from, to, 3), 3, "{from} -> {to}");
        }
    }

    /// Waits until both home addresses reach the correspondent, after a home agent was started under a
    /// mobile node: what comes in the first moments, before the kernel's routes are in use, is lost.
    pub fn until_both_answer(&self, who: &Subscriber) {
        for (from, to) in pairs(who) {
            wait::until("an answer to a ping", PATIENCE, || {
                Ok((self.pinged(from, to, 1) == 1).then_some(()))
            })
            .unwrap();
        }
    }

    fn pinged(&self, from: IpAddr, to: IpAddr, count: u32) -> u32 {
        self.lab.ping(self.network.mobile_node(0).unwrap(), from, to, count).unwrap()
    }

    /// How often hearthd dropped a packet for a reason.
    #[must_use]
    pub fn dropped(&self, reason: &str) -> u64 {
        let rows = self.lab.drops().unwrap();
        rows.iter().find(|row| row.reason == reason).map_or(0, |row| row.packets)
    }

    /// hearthd's log once it is as wanted: lines are written by a thread of their own, a moment after
    /// what they tell of.
    pub fn hearthd_log(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let log = || self.hearthd.as_ref().unwrap().log();
        let found = wait::until(what, PATIENCE, || Ok(Some(log()).filter(|log| wanted(log))));
        found.unwrap_or_else(|_| panic!("the log has no {what}: {}", log()))
    }

    /// Waits until a drop counter has a value, and says what it has where it does not.
    pub fn expect_dropped(&self, reason: &str, count: u64) {
        let waited = wait::until(reason, Duration::from_secs(3), || {
            Ok((self.dropped(reason) >= count).then_some(()))
        });
        let all = self.lab.drops().unwrap();
        assert!(
            waited.is_ok() && self.dropped(reason) == count,
            "{reason} is not {count}: {all:?}"
        );
    }
}

/// A subscriber's home addresses, each with the correspondent's of its version.
fn pairs(who: &Subscriber) -> [(IpAddr, IpAddr); 2] {
    [(who.home6.into(), CN6.into()), (who.home4.into(), CN4.into())]
}

impl Deref for TestLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl DerefMut for TestLab {
    fn deref_mut(&mut self) -> &mut Lab {
        &mut self.lab
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        let gone = if std::thread::panicking() {
            eprintln!("the logs of this test are in {}/log", self.options.files.dir.display());
            for role in ["hac", "hearthd", "mn", "mn2"] {
                let log = self.options.files.log_of(role);
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                for line in &lines[lines.len().saturating_sub(15)..] {
                    eprintln!("{role}: {line}");
                }
            }
            Network::named(&self.options.prefix, self.options.mobile_nodes).delete()
        } else {
            Lab::down(&self.options)
        };
        if let Err(error) = gone {
            eprintln!("the lab did not go down: {error}");
        }
    }
}

/// The folder in which Cargo builds.
#[must_use]
pub fn target() -> PathBuf {
    // target/PROFILE/deps/TEST
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

/// The options of a test's lab.
#[must_use]
pub fn options(name: &str) -> LabOptions {
    LabOptions {
        prefix: "hearth-e2e".into(),
        files: Files { dir: target().join("e2e").join(name), run: "/run/hearth-e2e".into() },
        programs: Programs::find().unwrap(),
        mobile_nodes: 1,
        tuning: Tuning::default(),
    }
}

/// Waits until no other test has a lab.
fn lock() -> File {
    let mut open = OpenOptions::new();
    let file = open.create(true).truncate(false).write(true).open("/run/hearth-e2e.lock").unwrap();
    file.lock().unwrap();
    file
}
