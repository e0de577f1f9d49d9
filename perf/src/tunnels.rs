//! Three tunnels between the same namespaces: Hearth's, strongSwan's, boringtun's.
//!
//! ```text
//!   mn ---- visit6 ---- net6 ---- access | acc0, DPDK: hearthd ----- home ---- cn
//!                            `--- peers  | kernel: charon, boringtun ---- peers ---'
//! ```
//!
//! The peers' ends at the home agent's side stand in its namespace, beside its DPDK links, on links
//! with the same MTU and the same offloads: none, as frames on a wire have none. The mobile node's
//! link has what a veth has by default, for all.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hearth_lab::{
    Lab, LabError, LabOptions, Result,
    config::{Files, NodeTuning},
    netns::{self, Netns},
    node::MobileNode,
    plan::{CN6, Visited},
    program::Program,
    wait,
};
use serde_json::Value;

mod strongswan;
mod wireguard;

/// The way of the octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// From the mobile node.
    Up,
    /// To the mobile node.
    Down,
}

/// Why a peer is not measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Absent([Option<&'static str>; 2]);

impl Absent {
    /// Of this peer.
    pub(crate) fn of(&self, peer: usize) -> Option<&'static str> {
        self.0.get(peer).copied().flatten()
    }
}

/// What one stream came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    pub(crate) mbit_per_s: f64,
    /// Processor time of the mobile node's program for a GiB.
    pub(crate) cpu_s_per_gib: f64,
}

/// One end-to-end way through a tunnel.
struct Way {
    /// The address in the mobile node's namespace.
    inside: String,
    /// The correspondent's.
    correspondent: String,
    /// The mobile node's program.
    pid: u32,
}

/// A peer that runs.
struct Peer {
    way: Way,
    /// Its programs, those of the mobile node's side first.
    programs: Vec<Program>,
}

/// The home agent's address for the peers, and the router's.
const GATEWAY: &str = "2001:db8:95::10";
const GATEWAY_ROUTER: &str = "2001:db8:95::1";
/// The home agent's address on the peers' link to the correspondent.
const GATEWAY_HOME: &str = "2001:db8:99::1";
/// How long a program may take to serve.
const START: Duration = Duration::from_secs(20);

/// The programs that are needed in any case.
const IPERF: &str = "iperf3";

/// The ports of its servers: ours and the peers'.
const PORTS: [u16; 3] = [5201, 5202, 5203];

/// All tunnels, up.
pub(crate) struct Tunnels {
    lab: Lab,
    node: MobileNode,
    /// One for each tunnel: the end of a stream may reach its server late.
    servers: Vec<Program>,
    ours: Way,
    peers: [std::result::Result<Peer, &'static str>; 2],
}

/// Where a program is, in the folders of root's programs too.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|place| place.is_file())
}

impl Tunnels {
    /// Makes namespaces, starts everything and waits until all of it carries.
    pub(crate) fn up() -> Result<Self> {
        if find(IPERF).is_none() {
            return Err(LabError::Wrong("iperf3 is not installed: scripts/deps.sh bench".into()));
        }
        let here = std::env::current_dir()
            .map_err(|error| LabError::Wrong(format!("the current folder: {error}")))?;
        let files = Files { dir: here.join("target/perf/mn"), run: "/run/hearth-perf-mn".into() };
        let options = LabOptions { prefix: "hearth-perf".into(), files, ..LabOptions::standard()? };
        let lab = Lab::up(options.clone());
        lab.and_then(Self::over).inspect_err(|_| {
            // The first error is the one to tell.
            let _ = Lab::down(&options);
        })
    }

    fn over(lab: Lab) -> Result<Self> {
        let mn = lab.network.mobile_node(0)?.clone();
        lab.network.attach(0, Visited::Net6)?;
        join_peers(&lab, &mn)?;
        let subscriber = lab.subscribers.first().cloned();
        let subscriber = subscriber.ok_or_else(|| LabError::Wrong("no subscriber".into()))?;
        let tuning = NodeTuning { interfaces: vec!["visit6"], ..NodeTuning::default() };
        let mut node = lab.start_node(0, &subscriber, &tuning)?;
        node.registered_at(Visited::Net6, START)?;
        let ours = Way {
            inside: subscriber.home6.to_string(),
            correspondent: CN6.to_string(),
            pid: node.program.id(),
        };
        let folder = &lab.options.files.dir;
        let servers = PORTS.into_iter().map(|port| {
            let log = folder.join(format!("iperf3-{port}.log"));
            let port = port.to_string();
            Program::start(&lab.network.cn, Path::new(IPERF), &["-s", "-p", &port], &log)
        });
        let servers = servers.collect::<Result<_>>()?;
        let peers = [
            strongswan::start(&lab, &mn)?.ok_or(strongswan::ABSENT),
            wireguard::start(&lab, &mn)?.ok_or(wireguard::ABSENT),
        ];
        Ok(Self { lab, node, servers, ours, peers })
    }

    /// Which peers are not here.
    pub(crate) fn absent(&self) -> Absent {
        Absent([0, 1].map(|peer| self.peers[peer].as_ref().err().copied()))
    }

    /// One TCP stream through tunnel `side`, 0 being ours; `None` where that peer is absent.
    pub(crate) fn stream(
        &mut self,
        side: usize,
        flow: Flow,
        time: Duration,
    ) -> Result<Option<Stream>> {
        let way = match side.checked_sub(1).and_then(|peer| self.peers.get(peer)) {
            None => &self.ours,
            Some(Ok(peer)) => &peer.way,
            Some(Err(_)) => return Ok(None),
        };
        let others = side > 0;
        if others {
            self.hearthd(rustix::process::Signal::STOP);
        }
        let port = PORTS.get(side).copied().unwrap_or_default();
        let stream = iperf(self.lab.network.mobile_node(0)?, way, port, flow, time);
        if others {
            self.hearthd(rustix::process::Signal::CONT);
        }
        stream.map(Some)
    }

    fn hearthd(&self, signal: rustix::process::Signal) {
        if let Some(hearthd) = &self.lab.hearthd {
            hearthd.signal(signal);
        }
    }

    /// Ends and removes everything.
    pub(crate) fn down(mut self) -> Result<()> {
        self.take_down()
    }

    fn take_down(&mut self) -> Result<()> {
        for program in self.peers.iter_mut().flatten().flat_map(|peer| &mut peer.programs) {
            let _ = program.stop(Duration::from_secs(5));
        }
        self.servers.iter_mut().for_each(|server| drop(server.crash()));
        let _ = self.node.stop();
        Lab::down(&self.lab.options)
    }
}

impl Drop for Tunnels {
    fn drop(&mut self) {
        let _ = self.take_down();
    }
}

/// The peers' links and routes.
fn join_peers(lab: &Lab, mn: &Netns) -> Result<()> {
    let network = &lab.network;
    let (net6, ha, cn) = (&network.net6, &network.ha, &network.cn);
    for (one, other, one_name, other_name) in
        [(net6, ha, "peers", "peers-acc"), (cn, ha, "peers", "peers-home")]
    {
        let (peer, namespace) = (other_name, other.name());
        one.ip(&format!("link add {one_name} type veth peer name {peer} netns {namespace}"))?;
        for (namespace, link) in [(one, one_name), (other, other_name)] {
            let off = ["-K", link, "tx", "off", "sg", "off", "tso", "off", "gso", "off"];
            netns::run(namespace.command("ethtool").args(off).args(["gro", "off"]))?;
        }
    }
    let address = |namespace: &Netns, link: &str, address: &str| {
        namespace.ip(&format!("address add {address}/64 dev {link} nodad"))?;
        namespace.ip(&format!("link set {link} up"))
    };
    address(net6, "peers", GATEWAY_ROUTER)?;
    address(ha, "peers-acc", GATEWAY)?;
    address(ha, "peers-home", GATEWAY_HOME)?;
    ha.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    ha.ip(&format!("-6 route add 2001:db8:6::/64 via {GATEWAY_ROUTER}"))?;
    let (_, router) = Visited::Net6.attachment(0);
    // Longer than the default route, so that it is outside Hearth's tunnel.
    mn.ip(&format!("-6 route add 2001:db8:95::/64 via {router} dev visit6"))?;
    for (correspondent, inside) in [
        (strongswan::CORRESPONDENT, strongswan::INSIDE),
        (wireguard::CORRESPONDENT, wireguard::INSIDE),
    ] {
        address(cn, "peers", correspondent)?;
        cn.ip(&format!("-6 route add {inside}/128 via {GATEWAY_HOME}"))?;
    }
    Ok(())
}

/// One stream by iperf3, and what it costs the mobile node's program.
fn iperf(mn: &Netns, way: &Way, port: u16, flow: Flow, time: Duration) -> Result<Stream> {
    let port = port.to_string();
    let seconds = time.as_secs().max(1).to_string();
    let mut command = mn.command(IPERF);
    command.args(["-c", &way.correspondent, "-B", &way.inside, "-p", &port]);
    command.args(["-t", &seconds, "-J"]);
    command.args(["--connect-timeout", "5000"]);
    if flow == Flow::Down {
        command.arg("-R");
    }
    // For a moment after a stream the server still says that it is busy with it.
    wait::until("a stream by iperf3", 2 * time + START, || {
        let before = cpu_seconds(way.pid)?;
        let said = netns::output(&mut command)?.stdout;
        let cpu = cpu_seconds(way.pid)? - before;
        let report: Value = serde_json::from_slice(&said).unwrap_or_default();
        let received = |key| report["end"]["sum_received"][key].as_f64();
        match (received("bits_per_second"), received("bytes"), report["error"].as_str()) {
            (Some(rate), Some(octets), None) if octets > 0.0 => {
                let gib = octets / (1_u64 << 30) as f64;
                Ok(Some(Stream { mbit_per_s: rate * 1e-6, cpu_s_per_gib: cpu / gib }))
            }
            (.., Some(error)) if error.contains("busy") => Ok(None),
            _ => Err(LabError::Wrong(format!(
                "iperf3 through {}: {}",
                way.correspondent,
                String::from_utf8_lossy(&said)
            ))),
        }
    })
}

/// User and system time of a process, in seconds.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path)
        .map_err(|error| LabError::Wrong(format!("{path}: a program has ended: {error}")))?;
    let ticks = cpu_ticks(&text).ok_or_else(|| LabError::Wrong(format!("{path}: {text}")))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The fields 14 and 15, counted behind the name in parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(") ")?;
    let mut fields = behind.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Waits until the correspondent answers through a tunnel.
fn carries(mn: &Netns, way: &Way, what: &str) -> Result<()> {
    wait::until(format!("an answer through {what}"), START, || {
        let mut ping = mn.command("ping");
        ping.args(["-n", "-q", "-c", "1", "-W", "1", "-I", &way.inside, &way.correspondent]);
        Ok(netns::output(&mut ping)?.status.success().then_some(()))
    })
}

/// Writes a file for its owner alone.
fn write(path: &Path, text: &str) -> Result<()> {
    hearth_lab::config::write(path, text)
}

/// Runs a command to its end in a namespace.
fn run_in(namespace: &Netns, program: &Path, arguments: &[&str]) -> Result<String> {
    let mut command: Command = namespace.command(program);
    netns::run(command.args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_whatever_the_name() {
        let stat = "42 (a) b (c) S 1 1 1 0 -1 4194560 9 0 0 0 7 35 0 0 20 0 4 0 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("42 (x) S 1"), None);
        assert!(cpu_seconds(std::process::id()).unwrap() >= 0.0);
    }

    #[test]
    fn programs_are_found_where_they_are() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program-at-all"), None);
    }
}
