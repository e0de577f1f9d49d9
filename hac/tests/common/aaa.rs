//! AAA servers by others, on loopback: FreeRADIUS and hostapd, each in a folder of its own.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hearth_hac::radius::packet::{Asked, Code, Request, Response, Secret};
use zeroize::Zeroizing;

/// What both servers share with their clients.
pub(crate) const SECRET: &str = "sixteen octets..";
/// The subscriber that both know.
pub(crate) const NAME: &str = "mn1@example.net";
/// One that FreeRADIUS alone knows: it gets 2001:db8:100::33 for 600 seconds.
pub(crate) const UNLISTED: &str = "mn3@example.net";
/// One whose home address FreeRADIUS makes up.
pub(crate) const STRAY: &str = "mn4@example.net";
/// One that gets two mobile networks and the policy of ships.example.net.
pub(crate) const ROUTER: &str = "mn5@example.net";
/// One that is to get a part of one of these networks.
pub(crate) const TAKER: &str = "mn6@example.net";
/// Its password (TTLS, PEAP, PWD).
pub(crate) const PASSWORD: &str = "a pass word";
/// Its key (GPSK).
pub(crate) const PSK: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Its IMSI and what its USIM holds (AKA').
pub(crate) const IMSI: &str = "232010000000000";
const KI: &str = "90dca4eda45b53cf0f12d7c9c3bc6a89";
const OPC: &str = "cb9cccc4b9258e6dca4760379fb82581";

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(command: &mut Command, log: &Path) -> Process {
    let log = File::create(log).unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; see scripts/deps.sh"));
    Process(child)
}

/// A port that was free just now, for UDP and TCP.
pub(crate) fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn secret() -> Secret {
    Secret::new(Zeroizing::new(SECRET.as_bytes().to_vec())).unwrap()
}

/// Waits until what listens on `port` answers this request (any answer will do).
fn await_answer(port: u16, code: Code, process: &mut Process, log: &Path) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut request = Request::new(code);
    request.put(1, b"nobody").unwrap();
    if code == Code::AccessRequest {
        request.put(79, b"\x02\x01\x00\x0b\x01nobody").unwrap();
    }
    let (authenticator, octets) = request.sign(1, [7; 16], &secret());
    let asked = Asked { code, authenticator };
    let begun = Instant::now();
    loop {
        let mut buffer = [0; 4096];
        // Refused as long as nobody listens.
        if let Ok(len) = socket.send(&octets).and_then(|_| socket.recv(&mut buffer)) {
            Response::judge(&buffer[..len], &asked, &secret()).unwrap();
            return;
        }
        let ended = process.0.try_wait().unwrap();
        if ended.is_some() || begun.elapsed() > Duration::from_secs(20) {
            panic!("does not start ({ended:?}):\n{}", fs::read_to_string(log).unwrap());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let output =
        Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A CA (`ca.pem`, `ca.key`), and a certificate for `aaa.example.net` (`server.pem`, `server.key`)
/// that will do for both ends of TLS.
pub(crate) fn certificates(folder: &Path) {
    const EC: &str = "-nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -sha256";
    openssl(
        folder,
        &format!(
            "req -x509 {EC} -days 2 -keyout ca.key -out ca.pem -subj /CN=ca \
             -addext basicConstraints=critical,CA:TRUE"
        ),
    );
    certificate(folder, "server", "DNS:aaa.example.net");
}

/// A certificate of the CA in `folder` with this subjectAltName.
pub(crate) fn certificate(folder: &Path, name: &str, san: &str) {
    let extensions = format!("subjectAltName={san}\nextendedKeyUsage=serverAuth,clientAuth\n");
    fs::write(folder.join(format!("{name}.ext")), extensions).unwrap();
    const EC: &str = "-nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -sha256";
    openssl(folder, &format!("req {EC} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile {name}.ext -out {name}.pem"
        ),
    );
}

/// FreeRADIUS (Debian's `freeradius`): EAP-TLS, -TTLS, -PEAP and -PWD, accounting, RadSec.
pub(crate) struct FreeRadius {
    process: Option<Process>,
    folder: tempfile::TempDir,
    /// Port of authentication, on 127.0.0.1 and ::1.
    pub(crate) auth: u16,
    /// Port of accounting, on 127.0.0.1.
    pub(crate) acct: u16,
    /// Port of RADIUS over TLS, on 127.0.0.1; its client's certificate is of the same CA.
    pub(crate) radsec: u16,
}

impl FreeRadius {
    /// Starts it and waits until it answers.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let (auth, acct, radsec) = (free_port(), free_port(), free_port());
        let text = include_str!("aaa/radiusd.conf")
            .replace("@FOLDER@", folder.path().to_str().unwrap())
            .replace("@SECRET@", SECRET)
            .replace("@AUTH@", &auth.to_string())
            .replace("@ACCT@", &acct.to_string())
            .replace("@RADSEC@", &radsec.to_string());
        fs::write(folder.path().join("radiusd.conf"), text).unwrap();
        fs::write(
            folder.path().join("users"),
            [NAME, UNLISTED, STRAY, ROUTER, TAKER]
                .map(|name| format!("{name} Cleartext-Password := \"{PASSWORD}\"\n"))
                .concat(),
        )
        .unwrap();
        let mut server = Self { process: None, folder, auth, acct, radsec };
        server.run();
        server
    }

    /// Starts it again on the same ports.
    pub(crate) fn run(&mut self) {
        let log = self.path("log");
        let mut command = Command::new("freeradius");
        command.args(["-fxx", "-l", "stdout", "-d"]).arg(self.folder.path());
        let mut process = spawn(&mut command, &log);
        await_answer(self.auth, Code::StatusServer, &mut process, &log);
        self.process = Some(process);
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// A file in its folder: `ca.pem`; `log`, which holds the keys that it has sent; `detail`, the
    /// accounting.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// wpa_supplicant's network block for the subscriber; `more` behind it.
    pub(crate) fn network(&self, method: &str, more: &str) -> String {
        network(&format!(
            "eap={method}\nidentity=\"{NAME}\"\npassword=\"{PASSWORD}\"\nca_cert=\"{}\"\n{more}",
            self.path("ca.pem").display()
        ))
    }
}

/// hostapd's RADIUS server (Debian's `hostapd`): EAP-GPSK and -AKA'.
pub(crate) struct Hostapd {
    process: Process,
    auc: Process,
    folder: tempfile::TempDir,
    /// Port of authentication.
    pub(crate) auth: u16,
}

impl Hostapd {
    /// Starts it, with an AuC, and waits until it answers.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let auth = free_port();
        fs::write(path("clients"), format!("127.0.0.1 {SECRET}\n")).unwrap();
        // hostapd returns the name that it is told to, once that user is authenticated.
        let name = format!("radius_accept_attr=1:s:{NAME}");
        fs::write(
            path("users"),
            format!("\"{NAME}\" GPSK {PSK}\n{name}\n\"{}\" AKA'\n{name}\n", permanent_identity()),
        )
        .unwrap();
        fs::write(
            path("hostapd.conf"),
            format!(
                "driver=none\ninterface=aaa\neap_server=1\nserver_id=aaa.example.net\n\
                 eap_user_file={users}\neap_sim_db=unix:{auc}\nradius_server_clients={clients}\n\
                 radius_server_auth_port={auth}\n",
                users = path("users").display(),
                auc = path("auc").display(),
                clients = path("clients").display(),
            ),
        )
        .unwrap();
        let mut auc = aka();
        auc.arg("auc").arg(path("auc")).args([IMSI, KI, OPC]);
        let auc = spawn(&mut auc, &path("auc.log"));
        let begun = Instant::now();
        while !path("auc").exists() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the AuC does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut command = Command::new("hostapd");
        command.arg("-dK").arg(path("hostapd.conf"));
        let mut process = spawn(&mut command, &path("log"));
        await_answer(auth, Code::AccessRequest, &mut process, &path("log"));
        Self { process, auc, folder, auth }
    }

    /// A file in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// wpa_supplicant's network block for GPSK.
    pub(crate) fn gpsk(&self) -> String {
        network(&format!("eap=GPSK\nidentity=\"{NAME}\"\npassword={PSK}\n"))
    }
}

/// A USIM for an eapol_test, which runs until it has answered one challenge.
pub(crate) struct Usim {
    process: Process,
    folder: tempfile::TempDir,
}

impl Usim {
    pub(crate) fn insert() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("control")).unwrap();
        let mut command = aka();
        command.arg("usim").arg(folder.path().join("control")).args([KI, OPC]);
        let process = spawn(&mut command, &folder.path().join("log"));
        Self { process, folder }
    }

    /// wpa_supplicant's configuration for AKA' with this USIM; eapol_test waits for it with `-W`.
    pub(crate) fn configuration(&self) -> String {
        format!(
            "ctrl_interface={}\nexternal_sim=1\n{}",
            self.folder.path().join("control").display(),
            network(&format!("eap=AKA'\nidentity=\"{}\"\n", permanent_identity()))
        )
    }
}

/// RFC 9048 s.5.3.2.
fn permanent_identity() -> String {
    format!("6{IMSI}@wlan.mnc001.mcc232.3gppnetwork.org")
}

fn aka() -> Command {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/aaa/aka.py"));
    command
}

fn network(lines: &str) -> String {
    format!("network={{\nkey_mgmt=WPA-EAP\n{lines}\n}}\n")
}
