//! Life on a host: the commands, and what is put back.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use hearth_wire::hac::StatusCode;
use serde_json::Value;

use super::home::{HA6, PSK};
use super::{Bench, echoes, ip, wait_for};

mod as_before;

/// Where nothing on the bench is.
const ELSEWHERE: &str = "2001:db8:c::2";

impl Bench {
    /// `hearth-mn` with these arguments in the MN's namespace.
    pub(super) fn hearth_mn(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.mn])
            .arg(super::program())
            .args(arguments)
            .current_dir(self.folder.path());
        command
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.hearth_mn(arguments).output().unwrap()
    }

    /// What `ip route get` says of an address, or that there is no way.
    fn way_to(&self, address: &str) -> String {
        let arguments = ["-n", &self.mn, "route", "get", address];
        let output = Command::new("ip").args(arguments).output().unwrap();
        if output.status.success() {
            return String::from_utf8(output.stdout).unwrap();
        }
        assert!(String::from_utf8_lossy(&output.stderr).contains("unreachable"), "{output:?}");
        "unreachable".to_owned()
    }

    fn rules(&self) -> [String; 2] {
        ["-4", "-6"].map(|family| ip(&format!("-n {} {family} rule", self.mn)))
    }

    fn kill(&mut self) {
        let mut node = self.node.take().unwrap();
        node.kill().unwrap();
        node.wait().unwrap();
    }

    /// The code and what was said on standard error.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let Output { status, stderr, .. } = self.ask(arguments);
        (status.code().unwrap(), String::from_utf8(stderr).unwrap())
    }
}

/// The notes of a node that was killed; they go with it.
struct Killed(std::path::PathBuf);

impl Killed {
    fn beside(bench: &Bench) -> Self {
        let link = super::inside(&bench.mn, || std::fs::read_link("/proc/thread-self/ns/net"));
        let link = link.unwrap().display().to_string();
        let number: String = link.chars().filter(char::is_ascii_digit).collect();
        let notes = format!("/run/hearth-mn/killed@{number}.json");
        std::fs::write(&notes, "{}").unwrap();
        Self(notes.into())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_node_is_asked_watched_and_ended_by_its_name() {
    let mut bench = Bench::new("ask");
    bench.attach6();
    assert_eq!(bench.refused(&["status"]).0, 3);
    assert_eq!(bench.refused(&["down", "mn.yaml"]).0, 3);
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    // What a killed node left in this namespace, or in an earlier one of this number.
    let killed = Killed::beside(&bench);
    let mut monitor =
        bench.hearth_mn(&["monitor", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(monitor.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&events.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["state"], "registered");
    bench.attach4();
    bench.detach("eth6");
    let moved = std::iter::repeat_with(&mut next).find(|event| event["event"] == "handover");
    assert_eq!(moved.unwrap()["to"], "192.0.2.100");
    let asked = bench.ask(&["status", "--json"]).stdout;
    let status: Value = serde_json::from_slice(&asked).unwrap();
    assert_eq!((&status["name"], &status["state"]), (&"mn".into(), &"registered".into()));
    assert_eq!(status["handovers"].as_array().unwrap().len(), 1);
    assert!(status["sa_issued"].as_u64() <= status["sa_validity_end"].as_u64());
    let said = String::from_utf8(bench.ask(&["status"]).stdout).unwrap();
    assert!(said.starts_with("mn (mn1@example.net): registered\n"), "{said}");
    assert!(said.contains("care-of address: 192.0.2.100 on eth4, no NAT"), "{said}");
    assert!(said.contains("; lost: 0 % of Binding Updates and 0.0 % of packets"), "{said}");
    // It ends, and all is back at the very moment in which `down` returns.
    let down = bench.ask(&["down"]);
    assert!(down.status.success(), "{down:?}");
    assert!(killed.0.exists());
    drop(killed);
    bench.assert_no_trace();
    assert!(bench.node.take().unwrap().wait().unwrap().success());
    let last = std::iter::repeat_with(&mut next).find(|event| event["state"] == "stopped");
    assert_eq!(last.unwrap()["event"], "state");
    assert!(monitor.wait().unwrap().success());
    let (code, said) = bench.refused(&["status", "mn.yaml"]);
    assert_eq!((code, said.contains("no mobile node mn is up")), (3, true), "{said}");
}

#[test]
fn in_the_background_up_returns_when_it_is_registered() {
    let bench = Bench::new("back");
    bench.attach6();
    let yaml = bench.write_yaml("car.yaml", "");
    let up = bench.ask(&["up", "--detach", yaml.to_str().unwrap()]);
    assert!(up.status.success(), "{up:?}");
    assert_eq!(bench.status()["state"], "registered");
    echoes(&bench.application("2001:db8:c::2".parse().unwrap()), b"in the background");
    // A second copy says so, by whichever way it is started.
    for arguments in [["up", "car.yaml"].as_slice(), &["up", "-d", "car.yaml"]] {
        let (code, said) = bench.refused(arguments);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("runs here as mobile node car already"), "{said}");
    }
    assert!(bench.ask(&["down", "car.yaml"]).status.success());
    bench.assert_no_trace();
    wait_for("the end of the process", || bench.refused(&["down"]).0 == 3);
}

/// What belongs into the tunnel leaves no other way: not before the first bootstrap, not after a
/// SIGKILL, not while the next node starts; until `down`.
#[test]
fn fail_closed_is_closed_from_the_start_until_down() {
    let mut bench = Bench::new("closed");
    bench.attach6();
    bench.attach4();
    assert!(bench.way_to(ELSEWHERE).contains("dev eth6"));
    bench.home.script.lock().unwrap().refusals = vec![StatusCode::Unauthorized; 3].into();
    let yaml = "fail_closed: true\nexclude: [\"2001:db8:e::/48\"]\ntimers: { hac_retry: 1 }\n";
    bench.start(yaml);
    bench.wait("a refused bootstrap", |status| status["last_error"]["text"].is_string());
    let assert_closed = |bench: &Bench| {
        assert_eq!(bench.way_to(ELSEWHERE), "unreachable");
        assert_eq!(bench.way_to("203.0.113.1"), "unreachable");
        // The visited link itself, and what YAML excludes.
        assert!(bench.way_to("2001:db8:6::1").contains("dev eth6"));
        assert!(bench.way_to("2001:db8:e::1").contains("dev eth6"));
        assert!(bench.way_to("192.0.2.1").contains("dev eth4"));
    };
    assert_closed(&bench);
    bench.wait_registered_at("2001:db8:6::100");
    echoes(&bench.application(ELSEWHERE.parse().unwrap()), b"in the tunnel");
    assert!(bench.way_to("2001:db8:e::1").contains("dev eth6"));
    bench.kill();
    assert_closed(&bench);
    bench.home.script.lock().unwrap().refusals = vec![StatusCode::Unauthorized; 1].into();
    std::fs::remove_file(bench.status_file()).unwrap();
    bench.start(yaml);
    bench.wait("a refused bootstrap", |status| status["last_error"]["text"].is_string());
    assert_closed(&bench);
    bench.wait_registered_at("2001:db8:6::100");
    echoes(&bench.application(ELSEWHERE.parse().unwrap()), b"again");
    bench.kill();
    assert_closed(&bench);
    let down = bench.ask(&["down"]);
    assert!(down.status.success(), "{down:?}");
    assert!(bench.way_to(ELSEWHERE).contains("dev eth6"));
    assert_eq!(bench.rules(), Bench::new("closed-not").rules());
    assert_eq!(bench.refused(&["down"]).0, 3);
}

/// Whatever happens to the devices, what can be carried is carried.
#[test]
fn devices_that_others_delete_bring_down_or_rename_do_no_harm() {
    let mut bench = Bench::new("device");
    bench.attach6();
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    let mn = bench.mn.clone();
    let index = |name: &str| ip(&format!("-n {mn} -o link show {name}"));
    let before = index("hearth0");
    ip(&format!("-n {mn} link set hearth0 down"));
    wait_for("the device up again", || index("hearth0").contains(",UP"));
    wait_for("the routes", || bench.way_to(ELSEWHERE).contains("dev hearth0"));
    echoes(&bench.application(ELSEWHERE.parse().unwrap()), b"up again");
    ip(&format!("-n {mn} link delete hearth0"));
    wait_for("another device", || {
        let links = ip(&format!("-n {mn} -o link"));
        let number = before.split(' ').next().unwrap();
        links.lines().any(|link| link.contains(" hearth0:") && !link.starts_with(number))
    });
    wait_for("the routes", || bench.way_to(ELSEWHERE).contains("dev hearth0"));
    echoes(&bench.application(ELSEWHERE.parse().unwrap()), b"by another device");
    // A network that gets another name is another network.
    ip(&format!("-n {mn} link set eth6 down"));
    ip(&format!("-n {mn} link set eth6 name wan6"));
    ip(&format!("-n {mn} link set wan6 up"));
    let address = "address replace 2001:db8:6::100/64 dev wan6 nodad";
    ip(&format!("-n {mn} {address}"));
    ip(&format!("-n {mn} route add default via 2001:db8:6::1 dev wan6"));
    bench.wait("registered by the new name", |status| {
        status["state"] == "registered" && status["interface"] == "wan6"
    });
    echoes(&bench.application(ELSEWHERE.parse().unwrap()), b"by another name");
    bench.stop();
}

/// The DNS servers of the HAC are the host's while the node is up; and after a SIGKILL the next
/// start, or `down`, puts the old ones back.
#[test]
fn dns_servers_are_set_and_put_back() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut bench = Bench::new("dns");
    bench.attach6();
    bench.home.script.lock().unwrap().dns = vec!["2001:db8:d::53".parse().unwrap()];
    // Notes what resolvconf would be told: the real one would change the resolver of this machine.
    let (programs, log) = (bench.folder.path().join("bin"), bench.folder.path().join("log"));
    std::fs::create_dir(&programs).unwrap();
    let script = format!("#!/bin/sh\necho \"$*\" >>{0}\ncat >>{0}\n", log.display());
    std::fs::write(programs.join("resolvconf"), script).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(programs.join("resolvconf"), executable).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let told = || std::fs::read_to_string(&log).unwrap_or_default();
    // A Debian that has its resolvconf takes `tun.hearth0`.
    let added = "hearth0 -m 0 -x\nnameserver 2001:db8:d::53\n";
    let start = |bench: &mut Bench| {
        let mut command = bench.node_command("mn.yaml", "dns: resolvconf\n");
        bench.node = Some(command.env("PATH", &path).spawn().unwrap());
    };
    start(&mut bench);
    bench.wait("DNS servers", |status| status["dns"][0] == "2001:db8:d::53");
    assert!(told().ends_with(added), "{}", told());
    assert!(bench.way_to("2001:db8:d::53").contains("dev hearth0"));
    bench.kill();
    start(&mut bench);
    wait_for("repair, and the servers again", || told().matches(added).count() == 2);
    assert!(told().contains("hearth0 -f\n-a"), "{}", told());
    bench.stop();
    assert!(told().ends_with("hearth0 -f\n"), "{}", told());
    // In a namespace of its own nothing is set by itself.
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    assert_eq!(bench.status()["dns"], Value::Array(Vec::new()));
    bench.stop();
}

/// The socket is root's and its group's; who was let in may look, and not end the node.
#[test]
fn who_may_look_may_not_end_it() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let mut bench = Bench::new("peer");
    bench.attach6();
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    let namespace = std::fs::metadata(format!("/run/netns/{}", bench.mn)).unwrap().ino();
    let socket = format!("/run/hearth-mn/mn@{namespace}.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o777, 0o660);
    let program = bench.folder.path().join("hearth-mn");
    std::fs::copy(env!("CARGO_BIN_EXE_hearth-mn"), &program).unwrap();
    let everybody = || std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bench.folder.path(), everybody()).unwrap();
    let as_nobody = |what: &str| {
        let output = Command::new("ip")
            .args(["netns", "exec", &bench.mn, "setpriv"])
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args([what, "mn.yaml"])
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), said)
    };
    let (code, said) = as_nobody("status");
    assert!(code == 4 && said.contains("only root and its group may"), "{code} {said}");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let (code, said) = as_nobody("status");
    assert!(code == 0 && said.starts_with("mn (mn1@example.net): registered"), "{code} {said}");
    let (code, said) = as_nobody("down");
    assert!(code == 1 && said.contains("only root and the node's own user may end it"), "{said}");
    assert_eq!(bench.status()["state"], "registered");
    bench.stop();
}

/// As SIGTERM does; and there was no false alarm while the device was brought up.
#[test]
fn a_terminal_that_is_closed_ends_it_in_order() {
    let mut bench = Bench::new("hangup");
    bench.attach6();
    let log = bench.folder.path().join("log");
    let mut command = bench.node_command("mn.yaml", "");
    command.args(["--log", "info"]).stderr(std::fs::File::create(&log).unwrap());
    bench.node = Some(command.spawn().unwrap());
    bench.wait_registered_at("2001:db8:6::100");
    echoes(&bench.application(ELSEWHERE.parse().unwrap()), b"carried");
    bench.stop_by(rustix::process::Signal::HUP);
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("stopping: de-registers"), "{said}");
    assert!(!said.contains("by another program"), "{said}");
}

/// A device that the kernel refuses is a line that says so, and code 4.
#[test]
fn a_tun_that_is_refused_is_told_in_a_line() {
    let bench = Bench::new("tun");
    bench.write_yaml("mn.yaml", "");
    let node = [env!("CARGO_BIN_EXE_hearth-mn"), "up", "mn.yaml", "--log", "error"];
    let rights = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    let output = Command::new("ip")
        .args(["netns", "exec", &bench.mn])
        .args(rights)
        .args(node)
        .current_dir(bench.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("the TUN device hearth0 can't be made: "), "{said}");
    assert!(
        said.contains("it takes root, or CAP_NET_ADMIN") && said.lines().count() == 1,
        "{said}"
    );
    assert_eq!(bench.rules(), Bench::new("tun-not").rules());
}

/// A device with several queues would take those of another node as well: it must not.
#[test]
fn the_device_of_another_node_is_left_alone() {
    let mut bench = Bench::new("shared");
    bench.attach6();
    bench.start("");
    bench.wait_registered_at("2001:db8:6::100");
    let status = bench.status();
    assert_eq!(status["tun_offload"], true, "{status}");
    assert!(status["tun_queues"].as_u64().unwrap() >= 1, "{status}");
    bench.write_yaml("other.yaml", "table: 7000\n");
    let output = Command::new("ip")
        .args(["netns", "exec", &bench.mn, env!("CARGO_BIN_EXE_hearth-mn")])
        .args(["up", "other.yaml", "--log", "error"])
        .current_dir(bench.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another program has it"), "{said}");
    echoes(&bench.application(ELSEWHERE.parse().unwrap()), b"still carried");
}

/// Files that `ip netns exec` shows to programs in a namespace as those under /etc.
struct NetnsEtc(PathBuf);

impl NetnsEtc {
    fn new(namespace: &str) -> Self {
        let folder = PathBuf::from("/etc/netns").join(namespace);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("resolv.conf"), format!("nameserver {HA6}\n")).unwrap();
        std::fs::write(folder.join("hosts"), "127.0.0.1 localhost\n").unwrap();
        Self(folder)
    }
}

impl Drop for NetnsEtc {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        // Only where nobody else has one.
        let _ = std::fs::remove_dir("/etc/netns");
    }
}

/// The name server of the visited networks, with the zone of the examples.
struct NameServer(Child);

impl NameServer {
    fn serve(bench: &Bench) -> Self {
        let path = bench.folder.path().display();
        let zone = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/dns/example.net.zone");
        let config = format!(
            "server:\n ip-address: {HA6}@53\n username: \"\"\n chroot: \"\"\n database: \"\"\n \
             server-count: 1\n pidfile: \"{path}/pid\"\n xfrdfile: \"{path}/xfrd\"\n zonelistfile: \
             \"{path}/zones\"\n xfrdir: \"{path}\"\nremote-control:\n control-enable: no\nzone:\n \
             name: example.net\n zonefile: \"{zone}\"\n"
        );
        let file = bench.folder.path().join("nsd.conf");
        std::fs::write(&file, config).unwrap();
        let nsd = ["netns", "exec", &bench.ha, "/usr/sbin/nsd", "-d", "-c"];
        let quiet = Stdio::null;
        let child = Command::new("ip").args(nsd).arg(&file).stdout(quiet()).stderr(quiet()).spawn();
        Self(child.expect("nsd: make deps"))
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The page for users in README.md: a key, ten lines, `up`, done. The controller's name is all that
/// the node knows of it, and the tunnel is fail-closed before it asks for that name.
#[test]
fn ten_lines_and_up() {
    let bench = Bench::new("ten");
    let _etc = NetnsEtc::new(&bench.mn);
    let _nsd = NameServer::serve(&bench);
    bench.attach6();
    let folder = bench.folder.path();
    let digits: String = PSK.iter().map(|octet| format!("{octet:02x}")).collect();
    std::fs::write(folder.join("mn1.psk"), digits).unwrap();
    let readme = include_str!("../../../README.md");
    let (_, yaml) = readme.split_once("```yaml\n").unwrap();
    let (yaml, _) = yaml.split_once("```").unwrap();
    assert!(yaml.lines().count() <= 10);
    let here = format!("{}/", folder.display());
    let yaml = yaml.replace("/etc/hearth/", &here);
    std::fs::write(folder.join("easy.yaml"), format!("{yaml}fail_closed: true\n")).unwrap();
    for _ in 0..3 {
        let up = bench.ask(&["up", "--detach", "./easy.yaml"]);
        assert!(up.status.success(), "{up:?}");
        echoes(&bench.application(ELSEWHERE.parse().unwrap()), b"ten lines");
        assert!(bench.ask(&["down"]).status.success());
    }
    assert_eq!(bench.rules(), Bench::new("ten-not").rules());
}
