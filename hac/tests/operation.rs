//! What an operator puts around a HAC: its systemd unit and its zone in DNS, judged by systemd and by
//! a name server. And the daemon's signals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod peer;

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hearth_peers::free_port;
use peer::{ECDSA, NAME, identity, openssl, yaml};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use rustix::process::{Pid, Signal, kill_process};

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")
}

/// Ends a process that a test started.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// HAC-41 and its surroundings: systemd finds nothing wrong with the unit, and little that it exposes.
#[test]
fn the_systemd_unit_is_valid_and_closed() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("hearth-hac.service");
    let text = fs::read_to_string(configs().join("systemd/hearth-hac.service")).unwrap();
    // The programs need not be installed here.
    fs::write(&unit, text.replace("/usr/bin/hearth-hac", env!("CARGO_BIN_EXE_hearth-hac")))
        .unwrap();
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&unit).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
    };
    let (valid, found) = analyze(&["verify", "--man=no"]);
    let own: Vec<_> = found.lines().filter(|line| line.contains("hearth-hac")).collect();
    assert!(valid && own.is_empty(), "{found}");
    // The threshold is in tenths: 2.0 of 10.
    let (closed, found) = analyze(&["security", "--offline=yes", "--no-pager", "--threshold=20"]);
    assert!(closed, "{found}");
}

/// What a service manager is told first; the time of a reload follows.
fn first_line(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    text.lines().next().unwrap_or_default().to_owned()
}

/// systemd learns that the daemon serves, reads again and ends; SIGHUP puts a new certificate into
/// service.
#[test]
fn the_daemon_tells_its_service_manager() {
    let folder = tempfile::tempdir().unwrap();
    identity(folder.path(), "hac", NAME, ECDSA);
    let text = yaml("certificate: hac.pem, key: hac.key", "").replace(
        "listen: ['127.0.0.1:0', '[::1]:0']",
        &format!("listen: ['127.0.0.1:{}']", free_port()),
    );
    fs::write(folder.path().join("hac.yaml"), &text).unwrap();
    let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut message = [0; 64];
        let length = manager.recv(&mut message).unwrap();
        first_line(&message[..length])
    };
    let child = Command::new(env!("CARGO_BIN_EXE_hearth-hac"))
        .current_dir(&folder)
        .args(["--config", "hac.yaml"])
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let pid = Pid::from_child(&child.0);
    assert_eq!(told(), "READY=1");
    let address = text.split('\'').nth(1).unwrap().to_owned();
    let shown = || {
        let arguments = format!("s_client -connect {address} -CAfile hac.pem -verify_return_error");
        openssl(folder.path(), &arguments).0
    };
    assert!(shown());
    identity(folder.path(), "hac", NAME, ECDSA);
    assert!(!shown(), "the new certificate is not read yet");
    kill_process(pid, Signal::HUP).unwrap();
    assert_eq!((told().as_str(), told().as_str()), ("RELOADING=1", "READY=1"));
    assert!(shown());
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(told(), "STOPPING=1");
    assert!(child.0.wait().unwrap().success());
}

/// A CA for mobile nodes in this folder, and its CRL, whose next one was due in the year `due`.
fn mobile_nodes(folder: &Path, due: i32) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(due, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&Issuer::new(params, key)).unwrap();
    fs::write(folder.join("crl.pem"), list.pem().unwrap()).unwrap();
}

/// EAP-11: a CRL that has expired lets nobody in, so the operator hears of it: by `--check`, in the log of
/// the start and in that of each reload. One that is good is no news.
#[test]
fn an_expired_crl_is_said_before_mobile_nodes_say_so() {
    let folder = tempfile::tempdir().unwrap();
    identity(folder.path(), "hac", NAME, ECDSA);
    mobile_nodes(folder.path(), 2021);
    let eap_tls = "eap_tls: {certificate: hac.pem, key: hac.key, client_ca: ca.pem, crl: [crl.pem]}\n\
                   auth: {methods: [eap], eap: {methods: [tls]}}\n";
    fs::write(folder.path().join("hac.yaml"), yaml("certificate: hac.pem, key: hac.key", eap_tls))
        .unwrap();
    let daemon = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearth-hac"));
        command.current_dir(&folder).args(["--config", "hac.yaml"]).args(more);
        command
    };
    let checked = || {
        let output = daemon(&["--check"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(checked().contains("crl.pem: has expired"), "{}", checked());
    let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let until = |wanted: &str| {
        let mut message = [0; 64];
        loop {
            let length = manager.recv(&mut message).unwrap();
            if first_line(&message[..length]) == wanted {
                return;
            }
        }
    };
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let child =
        daemon(&[]).env("NOTIFY_SOCKET", folder.path().join("notify")).stderr(log).spawn().unwrap();
    let mut child = Ended(child);
    let warnings = || {
        let log = fs::read_to_string(folder.path().join("log")).unwrap();
        log.lines().filter(|line| line.contains("crl.pem") && line.contains("has expired")).count()
    };
    let reload = || {
        kill_process(Pid::from_child(&child.0), Signal::HUP).unwrap();
        until("RELOADING=1");
        until("READY=1");
    };
    // Lines are written by a thread of their own, in their order.
    let warned = |count: usize| {
        let begin = Instant::now();
        while warnings() < count && begin.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        assert_eq!(warnings(), count);
    };
    until("READY=1");
    warned(1);
    reload();
    warned(2);
    mobile_nodes(folder.path(), 2090);
    assert!(!checked().contains("has expired"));
    reload();
    // The last line is written before it ends.
    kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
    child.0.wait().unwrap();
    assert_eq!(warnings(), 2);
}

/// RFC 6618 s.5.4: the zone of the examples, served by nsd, leads to the controller of the examples.
#[test]
fn the_zone_leads_to_the_controller() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::copy(configs().join("dns/example.net.zone"), folder.path().join("zone")).unwrap();
    let settings = format!(
        "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{}\"\n \
         database: \"\"\n pidfile: \"{}\"\n xfrdfile: \"{}\"\n zonelistfile: \"{}\"\n xfrdir: \"{}\"\n \
         server-count: 1\nremote-control:\n control-enable: no\nzone:\n name: example.net\n \
         zonefile: zone\n",
        folder.path().display(),
        at("pid"),
        at("xfrd"),
        at("zones"),
        folder.path().display(),
    );
    fs::write(folder.path().join("nsd.conf"), settings).unwrap();
    let server = Command::new("/usr/sbin/nsd")
        .args(["-d", "-c", &at("nsd.conf")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nsd: make deps");
    let _server = Ended(server);
    let begin = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(20), "nsd does not serve");
        std::thread::yield_now();
    }
    let ask = |kind: &str, name: &str| -> Vec<String> {
        let port = port.to_string();
        let output = Command::new("drill")
            .args(["-p", &port, "-o", "rd", "@127.0.0.1", kind, name])
            .output()
            .expect("drill: make deps");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("rcode: NOERROR"), "{kind} {name}: {text}");
        let answers = text.split(";; ANSWER SECTION:").nth(1).unwrap_or_default();
        let answers = answers.split(";;").next().unwrap_or_default().lines();
        let data = answers.filter_map(|line| line.split_once(&format!("IN\t{kind}\t")));
        data.map(|(_, data)| data.trim().to_owned()).collect()
    };
    // The name, and the port, that the mobile node of the examples is configured with.
    let node = fs::read_to_string(configs().join("mn.yaml")).unwrap();
    let value = |key: &str| {
        let line = node.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    let (name, tcp_port) = (value("name: "), value("port: "));
    assert_eq!(ask("AAAA", &name), ["2001:db8:a::10"]);
    assert_eq!(ask("A", &name), ["198.51.100.10"]);
    let controller = fs::read_to_string(configs().join("hac.yaml")).unwrap();
    assert!(controller.contains(&format!("- \"[::]:{tcp_port}\"")), "the port of the example");
    let mut services = ask("SRV", "_hac._tcp.example.net");
    services.sort();
    let expected =
        [format!("10 50 {tcp_port} {name}."), format!("20 50 {tcp_port} hac2.example.net.")];
    assert_eq!(services, expected);
    for service in services {
        let target = service.split(' ').nth(3).unwrap().to_owned();
        // RFC 2782: a target has addresses and is no alias.
        assert!(ask("CNAME", &target).is_empty());
        assert_eq!((ask("A", &target).len(), ask("AAAA", &target).len()), (1, 1), "{target}");
    }
}
