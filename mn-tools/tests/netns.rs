//! The whole node in a network namespace, with a scripted HAC and home agent in another. Needs
//! root.
//!
//! ```text
//!   mn  eth6 2001:db8:6::100 ---- net6 2001:db8:6::1  ha   lo 2001:db8:a::10, 198.51.100.10
//!       eth4 192.0.2.100     ---- net4 192.0.2.1
//! ```

// A test's helper fails the test where it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod home;
mod host;
mod route_optimisation;

use std::fs::File;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use hearth_wire::hac::StatusCode;
use hearth_wire::mh::Status;
use home::{HA4, HA6, HAC_NAME, HOME4, HOME6, Home, PSK};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

/// Runs `work` on a thread inside the namespace.
fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let until = home::patience();
    while !condition() {
        assert!(std::time::Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The program: this build's, or the one that HEARTH_MN names (`make mn-static-test`).
fn program() -> PathBuf {
    let named = std::env::var_os("HEARTH_MN").map(PathBuf::from);
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_hearth-mn").into())
}

/// Two namespaces, a home and a node's files; the node when it runs.
struct Bench {
    mn: String,
    ha: String,
    folder: tempfile::TempDir,
    home: Home,
    node: Option<Child>,
}

impl Bench {
    fn new(name: &str) -> Self {
        let (mn, ha) = (format!("hmnt-{name}-mn"), format!("hmnt-{name}-ha"));
        for namespace in [&mn, &ha] {
            // What a run that was killed left behind.
            let _ = Command::new("ip").args(["netns", "delete", namespace]).output();
            ip(&format!("netns add {namespace}"));
            ip(&format!("-n {namespace} link set lo up"));
        }
        for (near, far, far_address) in
            [("eth6", "net6", "2001:db8:6::1/64"), ("eth4", "net4", "192.0.2.1/24")]
        {
            ip(&format!("-n {mn} link add {near} type veth peer name {far} netns {ha}"));
            // A dead link would otherwise come up with addresses of its own to wait for.
            ip(&format!("-n {mn} link set {near} addrgenmode none"));
            ip(&format!("-n {ha} link set {far} addrgenmode none"));
            let nodad = if far == "net6" { " nodad" } else { "" };
            ip(&format!("-n {ha} address add {far_address} dev {far}{nodad}"));
            ip(&format!("-n {ha} link set {far} up"));
        }
        ip(&format!("-n {ha} address add {HA6}/128 dev lo nodad"));
        ip(&format!("-n {ha} address add {HA4}/32 dev lo"));
        let folder = tempfile::tempdir().unwrap();
        let home = Home::serve(&ha, &folder.path().join("ca.pem"));
        Self { mn, ha, folder, home, node: None }
    }

    fn attach6(&self) {
        let mn = &self.mn;
        ip(&format!("-n {mn} link set eth6 up"));
        ip(&format!("-n {mn} address add 2001:db8:6::100/64 dev eth6 nodad"));
        ip(&format!("-n {mn} route add default via 2001:db8:6::1 dev eth6"));
    }

    fn attach4(&self) {
        let mn = &self.mn;
        ip(&format!("-n {mn} link set eth4 up"));
        ip(&format!("-n {mn} address add 192.0.2.100/24 dev eth4"));
        ip(&format!("-n {mn} route add default via 192.0.2.1 dev eth4"));
    }

    fn detach(&self, interface: &str) {
        ip(&format!("-n {} address flush dev {interface} scope global", self.mn));
        ip(&format!("-n {} link set {interface} down", self.mn));
    }

    fn start(&mut self, more: &str) {
        let node = self.node_command("mn.yaml", more).spawn().unwrap();
        self.node = Some(node);
    }

    /// What starts a node, its YAML written.
    fn node_command(&self, yaml: &str, more: &str) -> Command {
        let file = self.write_yaml(yaml, more);
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.mn])
            .arg(program())
            .args(["up", "--config"])
            .arg(&file);
        command
    }

    fn write_yaml(&self, yaml: &str, more: &str) -> PathBuf {
        let psk: String = PSK.iter().map(|octet| format!("{octet:02x}")).collect();
        let text = format!(
            "mn_id: mn1@example.net\npsk: {{ hex: \"{psk}\" }}\nhac:\n  name: {HAC_NAME}\n  \
             port: 7873\n  ca: ca.pem\n  addresses: [\"{HA6}\", \"{HA4}\"]\nstatus_file: status.json\n{more}"
        );
        let file = self.folder.path().join(yaml);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// What a node that can't start says.
    fn start_in_vain(&self, more: &str) -> String {
        let output = self.node_command("second.yaml", more).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Rules and routes of the node with the usual table.
    fn routing(&self) -> Vec<String> {
        let mn = &self.mn;
        ["-4 rule", "-6 rule", "-4 route show table 6618", "-6 route show table 6618"]
            .map(|what| ip(&format!("-n {mn} {what}")))
            .into()
    }

    fn status_file(&self) -> PathBuf {
        self.folder.path().join("status.json")
    }

    fn status(&self) -> Value {
        std::fs::read(self.status_file())
            .ok()
            .and_then(|octets| serde_json::from_slice(&octets).ok())
            .unwrap_or(Value::Null)
    }

    fn wait(&self, what: &str, condition: impl Fn(&Value) -> bool) {
        wait_for(what, || condition(&self.status()));
    }

    fn wait_registered_at(&self, care_of: &str) {
        self.wait(&format!("registered at {care_of}"), |status| {
            status["state"] == "registered" && status["care_of_address"] == care_of
        });
    }

    /// A socket in the MN's namespace that knows of no tunnel.
    fn application(&self, to: IpAddr) -> UdpSocket {
        inside(&self.mn, || {
            let any: SocketAddr =
                if to.is_ipv6() { "[::]:0".parse().unwrap() } else { "0.0.0.0:0".parse().unwrap() };
            let socket = UdpSocket::bind(any).unwrap();
            socket.connect((to, 7)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            socket
        })
    }

    /// A file of the node's under /proc.
    fn proc(&self, name: &str) -> String {
        // `ip netns exec` becomes the node, so their pid is one.
        let pid = self.node.as_ref().unwrap().id();
        std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap()
    }

    /// Processor time that the node has used, in ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    fn stop(&mut self) {
        self.stop_by(rustix::process::Signal::TERM);
    }

    fn stop_by(&mut self, signal: rustix::process::Signal) {
        let mut node = self.node.take().unwrap();
        let pid = rustix::process::Pid::from_child(&node);
        rustix::process::kill_process(pid, signal).unwrap();
        assert!(node.wait().unwrap().success());
        self.assert_no_trace();
    }

    /// Neither device nor rule nor route.
    fn assert_no_trace(&self) {
        assert_eq!(self.status()["state"], "stopped");
        let mn = &self.mn;
        assert!(!ip(&format!("-n {mn} link")).contains("hearth0"));
        for family in ["-4", "-6"] {
            let rules = ip(&format!("-n {mn} {family} rule"));
            assert!(!rules.contains("6618") && !rules.contains("662"), "{rules}");
            assert!(!ip(&format!("-n {mn} {family} route show table all")).contains("6618"));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            let _ = node.kill();
            let _ = node.wait();
        }
        // One in the background, or what one that was killed noted.
        let _ = self.hearth_mn(&["down"]).output();
        for namespace in [&self.mn, &self.ha] {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).output();
        }
    }
}

/// Sends through the tunnel until the same octets come back.
fn echoes(socket: &UdpSocket, octets: &[u8]) {
    wait_for("an echo", || {
        let mut back = [0; 2048];
        let _ = socket.send(octets);
        matches!(socket.recv(&mut back), Ok(len) if back[..len] == *octets)
    });
}

#[test]
fn registers_carries_hands_over_and_leaves_no_trace() {
    let mut bench = Bench::new("move");
    bench.attach6();
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    let (six, four) = (
        bench.application("2001:db8:c::2".parse().unwrap()),
        bench.application("192.0.2.222".parse().unwrap()),
    );
    assert_eq!(six.local_addr().unwrap().ip(), IpAddr::from(HOME6));
    assert_eq!(four.local_addr().unwrap().ip(), IpAddr::from(HOME4));
    echoes(&six, b"over IPv6");
    echoes(&four, &[0x42; 1300]);
    // To the IPv4 network; the sockets know nothing of it.
    bench.detach("eth6");
    bench.attach4();
    bench.wait_registered_at("192.0.2.100");
    echoes(&six, b"over IPv4");
    let got = bench.home.script.lock().unwrap().got.last().unwrap().clone();
    assert_eq!(got.ipv4_coa, Some([192, 0, 2, 100].into()));
    assert_eq!(bench.status()["nat"], false);
    // And back, with both networks there for a while.
    bench.attach6();
    bench.wait_registered_at("2001:db8:6::100");
    bench.detach("eth4");
    echoes(&four, b"IPv4 over IPv6");
    let got = bench.home.script.lock().unwrap().got.last().unwrap().clone();
    assert_eq!(got.alternate_coa, Some("2001:db8:6::100".parse().unwrap()));
    let status = bench.status();
    let handovers = status["handovers"].as_array().unwrap();
    let families: Vec<_> = handovers.iter().map(|h| (&h["from_family"], &h["to_family"])).collect();
    assert_eq!(families, [(&"ipv6".into(), &"ipv4".into()), (&"ipv4".into(), &"ipv6".into())]);
    bench.stop();
    let script = bench.home.script.lock().unwrap();
    assert_eq!(script.got.last().unwrap().lifetime, 0, "de-registered");
    let mut seqs: Vec<u16> = script.got.iter().map(|got| got.seq).collect();
    seqs.dedup();
    assert_eq!(seqs.len(), script.got.len(), "each Binding Update has a number of its own");
}

#[test]
fn falls_back_to_ipv4_where_ipv6_leads_nowhere() {
    let mut bench = Bench::new("fall");
    bench.home.script.lock().unwrap().deaf_on_ipv6 = true;
    bench.attach6();
    bench.attach4();
    bench.start("timers: { first_registration_timeout: 0.2, initial_timeout: 0.2 }\n");
    bench.wait_registered_at("192.0.2.100");
    let script = bench.home.script.lock().unwrap();
    // A Heartbeat that is answered over IPv4 saves it the third attempt over IPv6.
    let over_ipv6 = script.got.iter().take_while(|got| got.from.is_ipv6()).count();
    assert!((2..=3).contains(&over_ipv6) && script.got.len() == over_ipv6 + 1, "{over_ipv6}");
    drop(script);
    bench.stop();
}

#[test]
fn statuses_135_and_176_and_a_refresh_request_are_obeyed() {
    let mut bench = Bench::new("status");
    {
        let mut script = bench.home.script.lock().unwrap();
        script.statuses = [Status::SEQUENCE_OUT_OF_WINDOW].into();
    }
    bench.attach6();
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    assert_eq!(bench.status()["spi"], 1);
    // The answer to the next move asks for a refresh; that is answered with 176.
    {
        let mut script = bench.home.script.lock().unwrap();
        script.statuses = [Status::ACCEPTED, Status::REINIT_SA_WITH_HAC].into();
        script.ask_refresh = true;
    }
    bench.attach4();
    bench.detach("eth6");
    bench.wait("registered under the new SA", |status| {
        status["state"] == "registered" && status["spi"] == 2
    });
    let kinds: Vec<String> = bench.status()["registrations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["initial", "handover", "new_sa"]);
    let application = bench.application("2001:db8:c::2".parse().unwrap());
    echoes(&application, b"under the new SA");
    bench.stop();
}

#[test]
fn a_new_sa_comes_before_the_old_one_ends_without_harm_to_data() {
    let mut bench = Bench::new("renew");
    bench.home.script.lock().unwrap().sa_validity = Duration::from_secs(6);
    bench.attach6();
    bench.start("timers: { renew_before: 0.5 }\n");
    bench.wait_registered_at("2001:db8:6::100");
    let application = bench.application("2001:db8:c::2".parse().unwrap());
    echoes(&application, b"first");
    bench.home.wait("an update under the second SA", |script| {
        script.got.last().is_some_and(|got| got.spi == 2)
    });
    echoes(&application, b"second");
    assert_eq!(bench.status()["last_error"], Value::Null);
    bench.stop();
}

#[test]
fn a_refused_bootstrap_is_told_and_tried_again() {
    let mut bench = Bench::new("refuse");
    bench.home.script.lock().unwrap().refusals = [StatusCode::Unauthorized].into();
    bench.attach6();
    bench.start("timers: { hac_retry: 0.2 }\n");
    bench.wait_registered_at("2001:db8:6::100");
    let status = bench.status();
    let text = status["last_error"]["text"].as_str().unwrap();
    assert!(text.contains("not authenticated (401)"), "{text}");
    bench.stop();
}

#[test]
fn without_a_network_it_waits_for_one() {
    let mut bench = Bench::new("wait");
    bench.start("timers: { hac_retry: 60 }\n");
    bench.wait("an error", |status| status["last_error"]["text"].is_string());
    bench.attach6();
    bench.wait_registered_at("2001:db8:6::100");
    bench.detach("eth6");
    bench.wait("no network", |status| status["state"] == "no_network");
    bench.attach6();
    bench.wait_registered_at("2001:db8:6::100");
    bench.stop();
}

/// Ordered to stop in the middle of a bootstrap, which hangs: it ends at once and leaves no trace.
#[test]
fn stops_during_a_bootstrap_without_a_trace() {
    let mut bench = Bench::new("early");
    bench.attach6();
    // What the HAC answers gets lost.
    ip(&format!("-n {} route add blackhole 2001:db8:6::100/128", bench.ha));
    bench.start("");
    wait_for("a connection that is being made", || {
        let sockets = inside(&bench.mn, || std::fs::read_to_string("/proc/thread-self/net/tcp6"));
        // State 2, SYN_SENT, to port 7873.
        sockets.unwrap().contains(":1EC1 02 ")
    });
    assert!(ip(&format!("-n {} link", bench.mn)).contains("hearth0"));
    let ordered = std::time::Instant::now();
    bench.stop();
    assert!(ordered.elapsed() < Duration::from_secs(2));
}

/// It fits into a small router: under 20 MiB resident, after a transfer as well.
#[test]
fn a_registered_node_is_small() {
    const CHUNK: [u8; 1200] = [0x42; 1200];
    let mut bench = Bench::new("small");
    bench.attach6();
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    let application = bench.application("2001:db8:c::2".parse().unwrap());
    for _ in 0..200 {
        echoes(&application, &CHUNK);
        for _ in 0..20 {
            application.send(&CHUNK).unwrap();
        }
    }
    let status = bench.proc("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("{}", peak.trim());
    let kibibytes: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kibibytes < 20 * 1024, "{kibibytes} KiB at most");
    bench.stop();
}

/// Keys stay in the process, and a node that has nothing to do does nothing.
#[test]
fn an_idle_node_is_quiet_and_dumps_no_core() {
    let mut bench = Bench::new("idle");
    bench.attach6();
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    let limits = bench.proc("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let limits: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(limits, ["0", "0"], "{core}");
    let before = bench.ticks();
    // Nothing happens, so there is nothing to wait for but time.
    std::thread::sleep(Duration::from_secs(2));
    let used = bench.ticks() - before;
    println!("{used} ticks in 2 s");
    assert!(used <= 4, "{used} ticks of 10 ms in 2 s");
    bench.stop();
}

/// A second node touches nothing of the first one's, whose traffic would leave in the clear.
#[test]
fn a_second_node_is_refused_and_harms_nothing() {
    let mut bench = Bench::new("twice");
    bench.attach6();
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    let (before, pid) = (bench.routing(), bench.node.as_ref().unwrap().id());
    assert!(before.iter().all(|text| text.contains("hearth0") || text.contains("6618")));
    // The same node, one whose numbers overlap, and one that has the device's name only.
    for (more, expected) in [
        ("", format!("process {pid} runs here with table 6618")),
        ("tun: other\ntable: 6612\n", format!("process {pid} runs here with table 6618")),
        ("table: 7000\n", "hearth0 can't be made".to_owned()),
    ] {
        let said = bench.start_in_vain(more);
        assert!(said.contains(&expected), "{said}");
        assert_eq!(bench.routing(), before, "{more}");
    }
    assert_eq!(bench.status()["pid"], pid, "nor does it write over the first one's status");
    echoes(&bench.application("2001:db8:c::2".parse().unwrap()), b"still here");
    bench.stop();
}

/// A network manager that tidies up does not turn the tunnel's traffic out into the clear.
#[test]
fn rules_and_routes_that_others_remove_come_back() {
    let mut bench = Bench::new("rules");
    bench.attach6();
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    let (before, mn) = (bench.routing(), bench.mn.clone());
    for removal in ["-6 rule flush", "-4 route flush table 6618", "-6 route flush table 6618"] {
        ip(&format!("-n {mn} {removal}"));
        if removal.ends_with("rule flush") {
            // The kernel's own went too: those are another program's to put back.
            ip(&format!("-n {mn} -6 rule add priority 32766 table main"));
        }
        wait_for(removal, || bench.routing() == before);
    }
    echoes(&bench.application("2001:db8:c::2".parse().unwrap()), b"still here");
    bench.stop();
}

/// The address that radvd's advertisements gave the host, once duplicate address detection is over.
fn address_of_the_host(namespace: &str) -> Option<std::net::Ipv6Addr> {
    let shown = ip(&format!("-n {namespace} -6 -o address show dev eth0 scope global -tentative"));
    let address = shown.split_once("inet6 ")?.1.split_once('/')?.0;
    address.parse().ok()
}

/// RFC 3963 s.5.6: a host behind a mobile router has its address from the mobile network, by the real
/// radvd with the documentation's file, and keeps its traffic while the router moves. The router's
/// address in it comes with `up`, comes back where it is removed, and goes with `down`.
#[test]
fn a_host_behind_the_router_talks_through_the_tunnel_while_it_moves() {
    let mut bench = Bench::new("lan");
    let (mn, host) = (bench.mn.clone(), "hmnt-lan-host");
    let _ = Command::new("ip").args(["netns", "delete", host]).output();
    ip(&format!("netns add {host}"));
    ip(&format!("-n {mn} link add lan0 type veth peer name eth0 netns {host}"));
    ip(&format!("-n {mn} link set lan0 up"));
    ip(&format!("-n {host} link set eth0 up"));
    let forwarding = Command::new("ip")
        .args(["netns", "exec", &mn, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"])
        .status();
    assert!(forwarding.unwrap().success());
    bench.attach6();
    bench.start(
        "mobile_router:\n  prefixes: [\"2001:db8:200::/56\"]\n  lan:\n    \
         - {interface: lan0, address: \"2001:db8:200:1::1/64\"}\n",
    );
    let is_set = || ip(&format!("-n {mn} address show dev lan0")).contains("2001:db8:200:1::1/64");
    wait_for("the router's address", is_set);
    bench.wait_registered_at("2001:db8:6::100");
    let conf = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/radvd/mobile-router.conf");
    let pid = bench.folder.path().join("radvd.pid");
    let mut radvd = Command::new("ip")
        .args(["netns", "exec", &mn, "radvd", "-n", "-m", "stderr", "-C", conf, "-p"])
        .arg(&pid)
        .spawn()
        .unwrap();
    wait_for("an address by radvd", || address_of_the_host(host).is_some());
    let source = address_of_the_host(host).unwrap();
    assert!(source.to_string().starts_with("2001:db8:200:1:"), "{source}");
    let socket = inside(host, || {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        socket.connect("[2001:db8:c::1]:7").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        socket
    });
    echoes(&socket, b"at the first network");
    bench.attach4();
    bench.detach("eth6");
    bench.wait_registered_at("192.0.2.100");
    echoes(&socket, b"at the second network");
    ip(&format!("-n {mn} address del 2001:db8:200:1::1/64 dev lan0"));
    wait_for("the router's address again", is_set);
    bench.stop();
    assert!(!is_set(), "it stays behind");
    radvd.kill().unwrap();
    radvd.wait().unwrap();
    ip(&format!("netns delete {host}"));
}

/// What is there before is not the node's to remove; what a killed one left is taken away by `down`.
#[test]
fn an_address_in_a_mobile_network_goes_with_who_set_it() {
    let mut bench = Bench::new("lanown");
    let mn = bench.mn.clone();
    // The far end may stay in this namespace: nobody is to answer.
    ip(&format!("-n {mn} link add lan0 type veth peer name far0"));
    ip(&format!("-n {mn} link set far0 up"));
    ip(&format!("-n {mn} link set lan0 up"));
    ip(&format!("-n {mn} address add 2001:db8:200:1::1/64 dev lan0 nodad"));
    bench.attach6();
    let router = "mobile_router:\n  prefixes: [\"2001:db8:200::/56\"]\n  lan:\n    \
         - {interface: lan0, address: \"2001:db8:200:1::1/64\"}\n    \
         - {interface: lan0, address: \"2001:db8:200:2::1/64\"}\n";
    bench.start(router);
    let has = |address: &str| ip(&format!("-n {mn} address show dev lan0")).contains(address);
    bench.wait_registered_at("2001:db8:6::100");
    assert!(has("2001:db8:200:1::1/64") && has("2001:db8:200:2::1/64"));
    let mut node = bench.node.take().unwrap();
    node.kill().unwrap();
    node.wait().unwrap();
    assert!(has("2001:db8:200:2::1/64"), "nobody could take it away");
    let put_back = bench.hearth_mn(&["down"]).output().unwrap();
    assert!(put_back.status.success(), "{put_back:?}");
    assert!(has("2001:db8:200:1::1/64") && !has("2001:db8:200:2::1/64"));
    bench.start(router);
    wait_for("the second address", || has("2001:db8:200:2::1/64"));
    bench.wait_registered_at("2001:db8:6::100");
    bench.stop();
    assert!(has("2001:db8:200:1::1/64") && !has("2001:db8:200:2::1/64"));
}
