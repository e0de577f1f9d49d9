//! Route optimisation with hearthd as home agent, and a correspondent made of Scapy.
//!
//! ```text
//!  hearth-mn --[visit6]-- hearth-net6 --[access]-- hearthd --[home]-- hearth-cn: correspondent.py
//!            \-[visit4]-- hearth-nat4 ---/
//! ```
//!
//! HoTI and HoT, and data until there is a binding, go through the tunnel; CoTI and CoT, Binding
//! Updates and the data behind them are packets that hearthd forwards as any router would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs::{self, File},
    net::{Ipv6Addr, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use hearth_e2e::{PATIENCE, TestLab};
use hearth_lab::{
    config::{self, NodeTuning},
    netns,
    node::MobileNode,
    plan::{HA_HOME6, HA6, Subscriber, Visited},
    program::Program,
    wait,
};
use hearth_wire::suite::Suite;
use serde_json::Value;

/// The correspondent's address: the kernel has it too, and answers for it as a neighbour, but sees
/// nothing else that comes to it.
const CORRESPONDENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0xc0);

struct Correspondent {
    program: Child,
    log: PathBuf,
    pcap: PathBuf,
}

impl Correspondent {
    fn new(lab: &TestLab) -> Self {
        let (cn, folder) = (&lab.network.cn, &lab.options.files.dir);
        cn.ip(&format!("address add {CORRESPONDENT}/128 dev home nodad")).unwrap();
        cn.nft(&format!(
            "table ip6 scapy {{ chain in {{ type filter hook prerouting priority raw; \
             ip6 daddr {CORRESPONDENT} meta l4proto != ipv6-icmp drop; }}; }}"
        ))
        .unwrap();
        // Learnt by asking for it.
        let _ = netns::output(cn.command("ping").args(["-c1", "-W2", &HA_HOME6.to_string()]));
        let asked = ["-j", "-6", "neigh", "show", &HA_HOME6.to_string(), "dev", "home"];
        let shown = netns::run(cn.command("ip").args(asked)).unwrap();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let router = shown[0]["lladdr"].as_str().expect("the home agent's address on the link");
        let (log, pcap) = (folder.join("log/cn.log"), folder.join("cn.pcap"));
        let program = cn
            .command("/usr/bin/python3")
            .arg(hearth_peers::script("correspondent.py"))
            .args(["home", &CORRESPONDENT.to_string(), router])
            .arg(&pcap)
            .stdin(Stdio::piped())
            .stdout(File::create(&log).unwrap())
            .stderr(File::create(folder.join("log/cn.err")).unwrap())
            .spawn()
            .unwrap();
        let this = Self { program, log, pcap };
        this.until_heard("ready");
        this
    }

    fn heard(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn until_heard(&self, words: &str) {
        let heard = || Ok(self.heard().contains(words).then_some(()));
        wait::until(words, PATIENCE, heard).unwrap_or_else(|_| panic!("{words}: {}", self.heard()));
    }

    /// How many packets tshark finds.
    fn captured(&self, filter: &str) -> usize {
        let tshark = ["-r", &self.pcap.display().to_string(), "-Y", filter];
        netns::run(Command::new("tshark").args(tshark)).unwrap().lines().count()
    }
}

impl Drop for Correspondent {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// A mobile node that takes the short way to the correspondent's network.
fn start(lab: &TestLab, who: &Subscriber) -> MobileNode {
    let files = &lab.options.files;
    let (yaml, status) = (files.config("direct"), files.run.join("direct.json"));
    let node = config::mobile_node(files, who, &NodeTuning::default());
    let wanted = "route_optimisation: {correspondents: [\"2001:db8:c::/64\"]}\n";
    config::write(&yaml, &(node + wanted)).unwrap();
    let program = lab.options.programs.path("hearth-mn").unwrap();
    let (yaml, place) = (yaml.display().to_string(), status.display().to_string());
    let arguments = ["up", "--config", &yaml, "--status-file", &place];
    let namespace = lab.network.mobile_node(0).unwrap();
    let program = Program::start(namespace, &program, &arguments, &files.log_of("mn")).unwrap();
    MobileNode::new(program, namespace.clone(), 0, status)
}

fn status(node: &MobileNode) -> Value {
    let text = fs::read(node.status_file()).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Waits until the node's way to the correspondent is this.
fn until_way(node: &MobileNode, state: &str) {
    wait::until(format!("the way: {state}"), PATIENCE, || {
        Ok((status(node)["correspondents"][0]["state"] == state).then_some(()))
    })
    .unwrap_or_else(|_| panic!("{:#}", status(node)["correspondents"]));
}

/// Sends words until they come back.
fn echoed(socket: &UdpSocket, words: &str) {
    let mut octets = [0; 2048];
    wait::until(format!("an echo of {words}"), PATIENCE, || {
        socket.send(words.as_bytes()).unwrap();
        let back = socket.recv(&mut octets).is_ok_and(|len| &octets[..len] == words.as_bytes());
        Ok(back.then_some(()))
    })
    .unwrap();
}

/// The way becomes direct by return routability through hearthd, and goes back into the tunnel when
/// the node moves to where there is no IPv6.
#[test]
fn the_short_way_is_found_through_the_home_agent_and_left_for_the_tunnel() {
    let lab = TestLab::up("direct");
    let who = lab.subscriber(Suite::Aes128CbcSha, 1);
    lab.network.net6.ip(&format!("-6 route add 2001:db8:c::/64 via {HA6}")).unwrap();
    let cn = Correspondent::new(&lab);
    lab.network.attach(0, Visited::Net6).unwrap();
    lab.hac_reachable(0, HA6.into()).unwrap();
    let mut node = start(&lab, &who);
    let care_of = node.registered_at(Visited::Net6, PATIENCE).unwrap().care_of_address.unwrap();
    let socket = node.namespace.enter(|| {
        let socket = UdpSocket::bind((who.home6, 0)).unwrap();
        socket.connect((CORRESPONDENT, 7)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        socket
    });
    let socket = socket.unwrap();
    echoed(&socket, "first");
    assert!(cn.heard().contains(&format!("tunnelled {} first", who.home6)), "{}", cn.heard());
    until_way(&node, "optimised");
    cn.until_heard(&format!("update {care_of}"));
    let tunnelled = lab.bindings().unwrap().len();
    assert_eq!(tunnelled, 1, "the binding at the home agent stays");
    echoed(&socket, "second");
    assert!(cn.heard().contains(&format!("direct {care_of} second")), "{}", cn.heard());

    lab.network.attach(0, Visited::Nat4).unwrap();
    lab.network.detach(0, Visited::Net6).unwrap();
    node.registered_at(Visited::Nat4, PATIENCE).unwrap();
    cn.until_heard(&format!("update {} 0", who.home6));
    echoed(&socket, "third");
    assert!(cn.heard().contains(&format!("tunnelled {} third", who.home6)), "{}", cn.heard());
    node.stop().unwrap();
    for bad in ["bad-", "Traceback"] {
        assert!(!cn.heard().contains(bad), "{}", cn.heard());
    }
    // HoTI to Binding Acknowledgement, both ways of data, as others read them.
    for kind in 1..=6 {
        assert_ne!(cn.captured(&format!("mip6.mhtype == {kind}")), 0, "{kind}");
    }
    assert_eq!(cn.captured("_ws.malformed"), 0);
}
