//! Bootstraps with EAP by programs of others: AAA servers in the operator's network, a mobile node
//! that is wpa_supplicant's EAP peer and afterwards one in Python that uses the SA; and the same with
//! `hearth-mn`.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha --[operator]-- hearth-aaa
//! ```

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    net::UdpSocket,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use hearth_lab::{
    config::NodeTuning,
    netns::Netns,
    network::Network,
    node::MobileNode,
    plan::{AAA4, AAA6, HA6, HAC_NAME, HAC_PORT, Subscriber, Visited},
    wait,
};
use hearth_peers::{
    aaa::{self, Place},
    eap::{self, Outcome},
};
use serde_json::{Value, json};

use crate::{PATIENCE, TestLab};

/// A lab in which [`aaa::NAME`] bootstraps and registers from the IPv6 network.
pub struct Bench {
    /// The lab.
    pub lab: TestLab,
    /// The subscriber.
    pub who: Subscriber,
    python: Registrar,
    granted: HashSet<u32>,
}

impl Bench {
    /// A lab whose HAC authenticates as `auth` says, with what `start` starts in the operator's
    /// network.
    #[must_use]
    pub fn up<T>(name: &str, auth: &str, start: impl FnOnce(&Network) -> T) -> (Self, T) {
        let who = Subscriber::with_key(aaa::NAME, aaa::PSK, 30);
        let mut lab = TestLab::prepare_with(name, |options| {
            options.tuning.auth = auth.to_owned();
            options.tuning.more_subscribers = vec![who.clone()];
        });
        lab.network.attach(0, Visited::Net6).unwrap();
        let python = Registrar::start(&lab.network.mobile_nodes[0]);
        lab.network.operator().unwrap();
        let servers = start(&lab.network);
        lab.start_hac().unwrap();
        lab.start_hearthd().unwrap();
        lab.hac_reachable(0, HA6.into()).unwrap();
        (Self { lab, who, python, granted: HashSet::new() }, servers)
    }

    fn bootstrap(&self, configuration: &str, options: &str) -> Outcome {
        let files = &self.lab.options.files;
        let (address, ca) = ((HA6.into(), HAC_PORT), files.ca());
        let hac = eap::Hac { address, name: HAC_NAME, ca: &ca };
        let python = self.lab.network.mobile_nodes[0].command("python3");
        eap::bootstrap(python, hac, configuration, options)
    }

    /// A bootstrap with this method, whose SA the home agent gets and honours: what it printed.
    #[track_caller]
    pub fn bootstraps(&mut self, method: &str, configuration: &str, options: &str) -> String {
        let outcome = self.bootstrap(configuration, options);
        let headers = outcome.accepted(method);
        let spi = headers["mip6-spi"][0].as_str().unwrap().parse().unwrap();
        assert!(self.granted.insert(spi), "{method}: SPI {spi} twice");
        self.home_agent_has(spi);
        self.registers(&headers, spi);
        outcome.text
    }

    /// `hearth show sas` has this SA of the subscriber's, with its home address.
    fn home_agent_has(&self, spi: u32) {
        let there = || Ok(self.lab.sas()?.into_iter().find(|row| row.spi == spi));
        let row = wait::until(format!("SA {spi} at the home agent"), PATIENCE, there).unwrap();
        assert_eq!((row.mn_id.as_str(), row.home_address), (aaa::NAME, self.who.home6));
        assert_eq!((row.suite.as_str(), row.scope), (self.who.suite.name(), self.who.scope));
    }

    /// The keys in the HAC's headers are the home agent's: it binds, it acknowledges, it lets go.
    fn registers(&mut self, headers: &Value, spi: u32) {
        let answer = self.python.register(headers, 60);
        assert_eq!(answer, json!({ "status": 0, "lifetime": 60 }));
        let bound = self.lab.bindings().unwrap();
        let bound: Vec<_> =
            bound.iter().map(|row| (row.spi, row.home_address, row.care_of_address)).collect();
        let care_of_address = Visited::Net6.care_of_address(0);
        assert_eq!(bound, [(spi, self.who.home6, care_of_address)]);
        let answer = self.python.register(headers, 0);
        assert_eq!(answer, json!({ "status": 0, "lifetime": 0 }));
        assert!(self.lab.bindings().unwrap().is_empty());
    }

    /// `hearth-mn` with this `auth` ([`NodeTuning::auth`]) bootstraps, registers and reaches the
    /// correspondent.
    #[track_caller]
    pub fn hearth_mn_bootstraps(&mut self, auth: &str) {
        let mut node = self.hearth_mn(auth);
        let status = node.registered_at(Visited::Net6, PATIENCE).unwrap();
        let spi = status.spi.unwrap();
        assert!(self.granted.insert(spi), "{auth}: SPI {spi} twice");
        self.home_agent_has(spi);
        self.lab.ping_both(&self.who);
        node.stop().unwrap();
    }

    /// The HAC answers `hearth-mn` with a 401.
    #[track_caller]
    pub fn hearth_mn_is_refused(&self, auth: &str) {
        let mut node = self.hearth_mn(auth);
        let status =
            node.until("a complaint", PATIENCE, |status| status.last_error.is_some()).unwrap();
        let text = status.last_error.unwrap().text;
        assert!(text.contains("401"), "{text}");
        node.stop().unwrap();
    }

    /// `hearth-mn` says this in its status, and once `mend` has done its work it bootstraps and
    /// registers without a restart.
    #[track_caller]
    pub fn hearth_mn_recovers(&mut self, auth: &str, complaint: &str, mend: impl FnOnce()) {
        let mut node = self.hearth_mn(auth);
        let status =
            node.until("a complaint", PATIENCE, |status| status.last_error.is_some()).unwrap();
        let text = status.last_error.unwrap().text;
        assert!(text.contains(complaint), "{text}");
        mend();
        let status = node.registered_at(Visited::Net6, PATIENCE).unwrap();
        let spi = status.spi.unwrap();
        assert!(self.granted.insert(spi), "{auth}: SPI {spi} twice");
        self.home_agent_has(spi);
        self.lab.ping_both(&self.who);
        node.stop().unwrap();
    }

    fn hearth_mn(&self, auth: &str) -> MobileNode {
        let tuning = NodeTuning { auth: auth.to_owned(), ..NodeTuning::default() };
        self.lab.start_node(0, &self.who, &tuning).unwrap()
    }

    /// A bootstrap that the HAC refuses with a 401.
    #[track_caller]
    pub fn is_refused(&self, configuration: &str) {
        self.bootstrap(configuration, "").refused();
    }

    /// The home agent has no SA but those of bootstraps that were accepted, the last of them among
    /// them: SAs reach it in their order.
    #[track_caller]
    pub fn has_no_other_sa(&self) {
        let had: HashSet<u32> = self.lab.sas().unwrap().iter().map(|row| row.spi).collect();
        assert!(had.is_subset(&self.granted), "{had:?} beyond {:?}", self.granted);
    }
}

/// The operator's network as AAA servers see it: their addresses, and the HAC's as their client's.
#[must_use]
pub fn operator(network: &Network) -> Place {
    let probe = network.ha.enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    Place::namespace(network.aaa.name(), (AAA4, AAA6), ["192.0.2.0/24", "2001:db8:e::/64"], probe)
}

/// `peer/registers.py` in a mobile node's namespace.
struct Registrar {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Registrar {
    fn start(namespace: &Netns) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peer/registers.py");
        let mut python = namespace.command("/usr/bin/python3");
        python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, stdout: BufReader::new(stdout) }
    }

    /// What a Binding Update with this lifetime, in seconds, is answered with.
    fn register(&mut self, headers: &Value, lifetime: u32) -> Value {
        let work = json!({ "headers": headers, "lifetime": lifetime });
        writeln!(self.stdin, "{work}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("an acknowledgement as the RFCs have it")
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
