//! FRR beside hearthd: home prefixes and mobile networks are announced by BGP, and what FRR learns
//! the dataplane forwards by. With the example of configs/frr/.
//!
//! ```text
//!  hearth-lan --[lan]-- hearth-mn --[visit6]-- hearth-net6 --[access]-- hearth-ha  --[home]-- hearth-cn
//!         2001:db8:d::/56                                               zebra, bgpd     zebra, bgpd
//!                                                                       AS 65001        AS 65002:
//!                                                                       2001:db8:e::/48, 192.0.2.0/24
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{
    config::NodeTuning,
    netns::{Netns, run},
    plan::{
        BEHIND6, CN6, HA_HOME4, HA_HOME6, HOME_PREFIX4, HOME_PREFIX6, MOBILE_NETWORK6, Visited,
    },
    program::Program,
    wait,
};
use hearth_wire::suite::Suite;

const HOME_AGENT: &str = include_str!("../../../configs/frr/frr.conf");
const PEER: &str = include_str!("../../../configs/frr/peer.conf");

/// Addresses behind the peer that only BGP leads to.
const BEHIND_PEER: [&str; 2] = ["2001:db8:e::1", "192.0.2.1"];

/// BGP's own timers are seconds.
const BGP: Duration = Duration::from_secs(40);

/// FRR's zebra and bgpd in a namespace, with a folder of their own for everything.
struct Frr {
    namespace: Netns,
    folder: PathBuf,
    programs: Vec<Program>,
}

impl Frr {
    fn start(namespace: &Netns, config: &str) -> Self {
        // Sockets have short paths, and FRR gives up root.
        let folder = Path::new("/run").join(format!("{}-frr", namespace.name()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("zebra.conf"), "").unwrap();
        fs::write(folder.join("bgpd.conf"), config).unwrap();
        run(Command::new("chown").args(["-R", "frr:frr"]).arg(&folder)).unwrap();
        let mut frr = Self { namespace: namespace.clone(), folder, programs: Vec::new() };
        frr.run();
        frr
    }

    fn run(&mut self) {
        self.programs = ["zebra", "bgpd"].map(|daemon| self.daemon(daemon)).into();
    }

    fn daemon(&self, daemon: &str) -> Program {
        let place = |name: &str| self.folder.join(name).display().to_string();
        let (config, pid) = (place(&format!("{daemon}.conf")), place(&format!("{daemon}.pid")));
        let (socket, folder) = (place("zserv.api"), place(""));
        let arguments = [
            ["-u", "frr"],
            ["-g", "frr"],
            ["-f", &config],
            ["-i", &pid],
            ["-z", &socket],
            ["--vty_socket", &folder],
            ["-A", "127.0.0.1"],
            ["-P", "0"],
            ["--log", "stdout"],
        ];
        let path = Path::new("/usr/lib/frr").join(daemon);
        let log = self.folder.join(format!("{daemon}.log"));
        let mut program =
            Program::start(&self.namespace, &path, arguments.as_flattened(), &log).unwrap();
        let ready = self.folder.join(format!("{daemon}.vty"));
        program.until(daemon, PATIENCE, |_| Ok(ready.exists().then_some(()))).unwrap();
        program
    }

    /// As a crash of zebra would, and watchfrr behind it.
    fn crash_and_restart(&mut self) {
        for program in self.programs.iter_mut().rev() {
            program.crash().unwrap();
        }
        for socket in ["zserv.api", "zebra.vty", "bgpd.vty"] {
            let _ = fs::remove_file(self.folder.join(socket));
        }
        self.run();
    }

    fn words(&self) -> String {
        self.programs.iter().map(Program::log).collect()
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: {}", self.namespace.name(), self.words());
        }
        for program in &mut self.programs {
            let _ = program.crash();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The routes of both families in a namespace's kernel that a protocol has put there.
fn routes(namespace: &Netns, protocol: &str) -> String {
    let of = |family| {
        let arguments = ["-n", namespace.name(), family, "route", "show", "proto", protocol];
        run(Command::new("ip").args(arguments)).unwrap()
    };
    of("-4") + &of("-6")
}

/// Waits until BGP has brought `prefix` into a namespace's kernel, or taken it away.
fn until_bgp_has(namespace: &Netns, prefix: &str, has: bool) {
    let waited = wait::until(format!("{prefix} by BGP: {has}"), BGP, || {
        let routes = routes(namespace, "bgp");
        let found = routes.lines().any(|line| line.split_whitespace().next() == Some(prefix));
        Ok((found == has).then_some(()))
    });
    let all = routes(namespace, "bgp");
    assert!(
        waited.is_ok(),
        "{prefix} in {}: {has} is wanted, and there is\n{all}",
        namespace.name()
    );
}

/// Waits until a ping is answered: a route is a moment on its way into the FIB.
fn until_answered(lab: &TestLab, from: &Netns, source: IpAddr, to: IpAddr) {
    let waited = wait::until(format!("{source} -> {to}"), PATIENCE, || {
        Ok((lab.ping(from, source, to, 1)? == 1).then_some(()))
    });
    waited.unwrap();
    assert_eq!(lab.ping(from, source, to, 3).unwrap(), 3, "{source} -> {to}");
}

/// A lab with FRR on both ends, in which BGP has found out what the lab usually sets by hand.
struct Routed {
    home_agent: Frr,
    _peer: Frr,
    lab: TestLab,
    ha: Netns,
    cn: Netns,
}

impl Routed {
    fn up(name: &str) -> Self {
        let lab = TestLab::up(name);
        let (ha, cn) = (lab.network.ha.clone(), lab.network.cn.clone());
        cn.ip(&format!("-6 route del {HOME_PREFIX6} via {HA_HOME6}")).unwrap();
        cn.ip(&format!("-6 route del {MOBILE_NETWORK6} via {HA_HOME6}")).unwrap();
        cn.ip(&format!("-4 route del {HOME_PREFIX4} via {HA_HOME4}")).unwrap();
        for address in BEHIND_PEER {
            cn.ip(&format!("address add {address} dev lo")).unwrap();
        }
        let (home_agent, peer) = (Frr::start(&ha, HOME_AGENT), Frr::start(&cn, PEER));
        until_bgp_has(&cn, HOME_PREFIX6, true);
        until_bgp_has(&cn, HOME_PREFIX4, true);
        Self { home_agent, _peer: peer, lab, ha, cn }
    }
}

#[test]
fn frr_announces_home_prefixes_and_what_it_learns_forwards() {
    let Routed { mut home_agent, _peer, mut lab, ha, cn } = Routed::up("frr");
    // Of the box's routes nothing else is announced.
    assert!(!routes(&cn, "bgp").contains("default"), "{}", routes(&cn, "bgp"));

    // Data goes by what came in: the box's own default route leads to the access network.
    until_bgp_has(&ha, "2001:db8:e::/48", true);
    until_bgp_has(&ha, "192.0.2.0/24", true);
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    let mut node = lab.register(&who, Visited::Net6);
    let mn = node.namespace.clone();
    let [behind6, behind4] = BEHIND_PEER.map(|address| address.parse::<IpAddr>().unwrap());
    until_answered(&lab, &mn, who.home6.into(), behind6);
    until_answered(&lab, &mn, who.home4.into(), behind4);
    // TUN-02: the box itself reaches the mobile node by hearth0.
    until_answered(&lab, &ha, HA_HOME6.into(), who.home6.into());
    until_answered(&lab, &ha, HA_HOME4.into(), who.home4.into());

    // FRR neither adopts nor deletes what is not its own.
    let before = routes(&ha, "201");
    assert!([HOME_PREFIX6, HOME_PREFIX4].iter().all(|p| before.contains(p)), "{before}");
    home_agent.crash_and_restart();
    until_bgp_has(&ha, "192.0.2.0/24", true);
    until_bgp_has(&cn, HOME_PREFIX4, true);
    assert_eq!(routes(&ha, "201"), before);
    until_answered(&lab, &mn, who.home4.into(), behind4);

    // With the home agent its routes go.
    node.stop().unwrap();
    lab.hearthd.take().unwrap().stop(PATIENCE).unwrap();
    until_bgp_has(&cn, HOME_PREFIX6, false);
    assert_eq!(routes(&ha, "201"), "");
}

/// NEM-04, NEM-10: a mobile network is announced while its router is bound, and reached.
#[test]
fn frr_announces_mobile_networks_while_their_routers_are_bound() {
    let Routed { lab, ha, cn, home_agent: _home_agent, _peer } = Routed::up("frr_nemo");
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, Visited::Net6.home_agent()).unwrap();
    let mobile_router = Some((vec![MOBILE_NETWORK6], "explicit"));
    let tuning = NodeTuning { mobile_router, ..NodeTuning::default() };
    let mut node = lab.start_node(0, lab.lab_subscriber("mobile-router"), &tuning).unwrap();
    node.registered_at(Visited::Net6, PATIENCE).unwrap();
    until_bgp_has(&cn, MOBILE_NETWORK6, true);
    until_answered(&lab, &cn, CN6.into(), BEHIND6.into());

    node.stop().unwrap();
    until_bgp_has(&cn, MOBILE_NETWORK6, false);
    let left = routes(&ha, "201");
    assert!(!left.contains(MOBILE_NETWORK6) && left.contains(HOME_PREFIX6), "{left}");
    assert!(routes(&cn, "bgp").contains(HOME_PREFIX6));
}
