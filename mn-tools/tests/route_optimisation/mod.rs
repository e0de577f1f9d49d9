//! Route optimisation with a correspondent made of Scapy.
//!
//! ```text
//!   mn  eth6 2001:db8:6::100 ---- net6 ha netc ---- ethc cn 2001:db8:c::2
//!       eth7 2001:db8:7::100 ---- net7 |
//!       eth4 192.0.2.100     ---- net4 |  home0, to the mobile node
//! ```

use std::io::Write as _;
use std::net::{Ipv6Addr, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;

use super::home::HOME6;
use super::{Bench, ip, wait_for};

const CN: &str = "2001:db8:c::2";
const YAML: &str = "route_optimisation: { correspondents: [\"2001:db8:c::/64\"] }\n";

/// The correspondent's program and its namespace.
struct Correspondent {
    namespace: String,
    program: Child,
    stdin: Option<ChildStdin>,
    log: std::path::PathBuf,
    pcap: std::path::PathBuf,
}

impl Correspondent {
    fn new(bench: &Bench, name: &str, mode: &str) -> Self {
        let namespace = format!("hmnt-{name}-cn");
        let _ = Command::new("ip").args(["netns", "delete", &namespace]).output();
        ip(&format!("netns add {namespace}"));
        let ha = &bench.ha;
        ip(&format!("-n {ha} link add netc type veth peer name ethc netns {namespace}"));
        let (router, own) = ("02:00:00:00:00:01", "02:00:00:00:00:02");
        ip(&format!("-n {ha} link set netc address {router} addrgenmode none"));
        ip(&format!("-n {namespace} link set ethc address {own} addrgenmode none"));
        ip(&format!("-n {ha} address add 2001:db8:c::1/64 dev netc nodad"));
        ip(&format!("-n {ha} link set netc up"));
        ip(&format!("-n {namespace} link set ethc up"));
        // The address is Scapy's, which answers for no neighbour.
        ip(&format!("-n {ha} neigh add {CN} lladdr {own} dev netc"));
        super::inside(ha, || {
            std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        });
        bench.home.forward(ha);
        let folder = bench.folder.path();
        let (log, pcap) = (folder.join("cn.log"), folder.join("cn.pcap"));
        let mut program = Command::new("ip")
            .args(["netns", "exec", &namespace, hearth_scapy::python().unwrap()])
            .arg(hearth_peers::script("correspondent.py"))
            .args(["ethc", CN, router])
            .arg(&pcap)
            .args((!mode.is_empty()).then_some(mode))
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(&log).unwrap())
            .stderr(std::fs::File::create(folder.join("cn.err")).unwrap())
            .spawn()
            .unwrap();
        let stdin = program.stdin.take();
        let cn = Self { namespace, program, stdin, log, pcap };
        cn.wait_heard("ready");
        cn
    }

    fn heard(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn wait_heard(&self, words: &str) {
        wait_for(words, || self.heard().contains(words));
    }

    /// What tshark finds of this in the capture, a line for each packet.
    fn captured(&self, filter: &str) -> String {
        let mut tshark = Command::new("tshark");
        let output = tshark.arg("-r").arg(&self.pcap).args(["-Y", filter]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn assert_wellformed(&self) {
        // HoTI, CoTI, HoT, CoT, Binding Update and Acknowledgement, and data both ways.
        for kind in 1..=6 {
            assert_ne!(self.captured(&format!("mip6.mhtype == {kind}")), "", "{kind}");
        }
        assert_ne!(self.captured("udp && ipv6.routing.type == 2"), "");
        assert_ne!(self.captured("udp && ipv6.dstopts"), "");
        assert_eq!(self.captured("_ws.malformed"), "");
    }
}

impl Drop for Correspondent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the correspondent heard:\n{}", self.heard());
            let error = std::fs::read_to_string(self.log.with_extension("err"));
            eprintln!("{}", error.unwrap_or_default());
        }
        drop(self.stdin.take());
        let _ = self.program.kill();
        let _ = self.program.wait();
        let _ = Command::new("ip").args(["netns", "delete", &self.namespace]).output();
    }
}

impl Bench {
    fn start_optimising(&mut self) -> UdpSocket {
        self.attach6();
        self.start(YAML);
        self.wait_registered_at("2001:db8:6::100");
        self.application(CN.parse().unwrap())
    }

    fn wait_correspondent(&self, key: &str, value: &str) {
        self.wait(&format!("{key} {value}"), |status| status["correspondents"][0][key] == value);
    }

    /// Data packets that went directly, and came.
    fn direct(&self) -> (u64, u64) {
        let status: Value =
            serde_json::from_slice(&self.hearth_mn(&["status", "--json"]).output().unwrap().stdout)
                .unwrap();
        let count = |key: &str| status["counters"][key].as_u64().unwrap();
        (count("direct_tx_packets"), count("direct_rx_packets"))
    }
}

/// Sends one packet until it comes back, by whichever way.
fn echoes(socket: &UdpSocket, words: &str) {
    super::echoes(socket, words.as_bytes());
}

#[test]
fn data_goes_directly_both_ways_and_follows_a_handover() {
    let mut bench = Bench::new("direct");
    let cn = Correspondent::new(&bench, "direct", "");
    let application = bench.start_optimising();
    echoes(&application, "first");
    assert!(cn.heard().contains(&format!("tunnelled {HOME6} first")), "{}", cn.heard());
    bench.wait_correspondent("state", "optimised");
    let before = bench.direct();
    let long = "x".repeat(1300);
    echoes(&application, &long);
    let after = bench.direct();
    assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
    assert!(cn.heard().contains("direct 2001:db8:6::100 xxx"), "{}", cn.heard());
    train(&bench, &cn);
    let said = bench.hearth_mn(&["status"]).output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let line = format!("correspondent: {CN}, directly from and to 2001:db8:6::100, ");
    assert!(said.contains(&line), "{said}");
    handover(&bench, &cn, &application);
    // Over IPv4 there is the tunnel alone, and the correspondent is told.
    bench.attach4();
    bench.detach("eth7");
    bench.wait_registered_at("192.0.2.100");
    cn.wait_heard(&format!("update {HOME6} 0"));
    echoes(&application, "over IPv4");
    assert!(cn.heard().contains(&format!("tunnelled {HOME6} over IPv4")), "{}", cn.heard());
    bench.stop();
    for bad in ["bad-", "Traceback"] {
        assert!(!cn.heard().contains(bad), "{}", cn.heard());
    }
    cn.assert_wellformed();
}

/// Several packets that the kernel hands over in one piece.
fn train(bench: &Bench, cn: &Correspondent) {
    let application = bench.application(CN.parse().unwrap());
    setsockopt(&application, sockopt::UdpGsoSegment, &700).unwrap();
    let before = bench.direct();
    let three = ["one ", "two ", "three "].map(|word| word.repeat(700)[..700].to_owned());
    application.send(&three.concat().as_bytes()[..2000]).unwrap();
    for word in ["one", "two", "three"] {
        cn.wait_heard(&format!("direct 2001:db8:6::100 {word} {word} "));
    }
    assert_eq!(bench.direct().0 - before.0, 3);
}

/// To another IPv6 network.
fn handover(bench: &Bench, cn: &Correspondent, application: &UdpSocket) {
    let (mn, ha) = (&bench.mn, &bench.ha);
    ip(&format!("-n {mn} link add eth7 type veth peer name net7 netns {ha}"));
    ip(&format!("-n {ha} address add 2001:db8:7::1/64 dev net7 nodad"));
    ip(&format!("-n {ha} link set net7 up"));
    ip(&format!("-n {mn} link set eth7 up"));
    ip(&format!("-n {mn} address add 2001:db8:7::100/64 dev eth7 nodad"));
    ip(&format!("-n {mn} route add default via 2001:db8:7::1 dev eth7 metric 2000"));
    bench.detach("eth6");
    bench.wait_registered_at("2001:db8:7::100");
    echoes(application, "moved");
    bench.wait("optimised again", |status| {
        let entry = &status["correspondents"][0];
        entry["state"] == "optimised" && entry["care_of_address"] == "2001:db8:7::100"
    });
    echoes(application, "directly again");
    assert!(cn.heard().contains("direct 2001:db8:7::100 directly again"), "{}", cn.heard());
}

/// `down` takes the binding away while the tunnel still stands.
#[test]
fn the_end_of_the_node_ends_its_binding() {
    let mut bench = Bench::new("forget");
    let cn = Correspondent::new(&bench, "forget", "");
    let application = bench.start_optimising();
    echoes(&application, "first");
    bench.wait_correspondent("state", "optimised");
    bench.stop();
    assert!(cn.heard().contains(&format!("update {HOME6} 0")), "{}", cn.heard());
}

/// A Binding Error, and the tunnel again.
#[test]
fn who_forgets_the_binding_keeps_the_tunnel() {
    let mut bench = Bench::new("lose");
    let mut cn = Correspondent::new(&bench, "lose", "");
    let application = bench.start_optimising();
    echoes(&application, "first");
    bench.wait_correspondent("state", "optimised");
    cn.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    cn.wait_heard("forgotten");
    echoes(&application, "after all");
    assert!(cn.heard().contains("unknown-binding 2001:db8:6::100"), "{}", cn.heard());
    assert!(cn.heard().contains(&format!("tunnelled {HOME6} after all")), "{}", cn.heard());
    bench.wait_correspondent("why", "forgotten");
    bench.stop();
}

/// One that refuses, and one that does not know Mobile IPv6: the tunnel goes on as if nothing were.
#[test]
fn who_does_not_want_to_keeps_the_tunnel() {
    for (mode, key, value) in [
        ("refuse", "why", "refused"),
        ("unknown", "why", "not_supported"),
        ("silent", "state", "asked"),
    ] {
        let mut bench = Bench::new(mode);
        let cn = Correspondent::new(&bench, mode, mode);
        let application = bench.start_optimising();
        echoes(&application, "first");
        bench.wait_correspondent(key, value);
        for turn in 0..20 {
            echoes(&application, &format!("packet {turn}"));
        }
        assert_eq!(bench.direct(), (0, 0), "{mode}");
        assert!(!cn.heard().contains("direct "), "{}", cn.heard());
        let home: Ipv6Addr = HOME6;
        assert!(cn.heard().contains(&format!("tunnelled {home} packet 19")), "{}", cn.heard());
        bench.stop();
    }
}
