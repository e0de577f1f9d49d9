//! hostapd's RADIUS server (Debian's `hostapd`), the AuC behind it, and USIMs.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    IMSI, NAME, PSK, Place, SECRET, network,
    probe::{Question, await_answer},
};
use crate::{Process, eap, script, spawn};

/// What the USIM holds.
/// K of the USIM.
pub const KI: &str = "90dca4eda45b53cf0f12d7c9c3bc6a89";
/// OPc of the USIM.
pub const OPC: &str = "cb9cccc4b9258e6dca4760379fb82581";

/// hostapd: EAP-GPSK and -AKA'.
#[derive(Debug)]
pub struct Hostapd {
    _process: Process,
    _auc: Process,
    folder: tempfile::TempDir,
    /// Port of authentication, by IPv4.
    pub auth: u16,
}

impl Hostapd {
    /// Starts it on loopback, with an AuC, and waits until it answers.
    #[must_use]
    pub fn start() -> Self {
        Self::start_in(&Place::loopback())
    }

    /// Starts it, with an AuC, and waits until it answers.
    #[must_use]
    pub fn start_in(place: &Place) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let auth = place.port(1822);
        fs::write(path("clients"), format!("{} {SECRET}\n", place.clients[0])).unwrap();
        // hostapd returns the name that it is told to, once that user is authenticated.
        let name = format!("radius_accept_attr=1:s:{NAME}");
        fs::write(
            path("users"),
            // A pseudonym begins with 7 (TS 23.003 s.19.3.4).
            format!(
                "\"{NAME}\" GPSK {PSK}\n{name}\n\"{}\" AKA'\n{name}\n\"7\"* AKA'\n{name}\n",
                permanent_identity()
            ),
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
        let auc = auc(&path("auc"), &path("auc.log"));
        let mut command = place.command("hostapd");
        command.arg("-dK").arg(path("hostapd.conf"));
        let mut process = spawn(&mut command, &path("log"));
        place.probe.connect((place.ip4, auth)).unwrap();
        await_answer(&place.probe, Question::Access, &mut process, &path("log"));
        Self { _process: process, _auc: auc, folder, auth }
    }

    /// A file in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// wpa_supplicant's network block for GPSK.
    #[must_use]
    pub fn gpsk(&self) -> String {
        eap::network(&format!("eap=GPSK\npassword={PSK}"))
    }
}

/// An AuC that listens at `socket`.
fn auc(socket: &std::path::Path, log: &std::path::Path) -> Process {
    let mut auc = aka();
    auc.arg("auc").arg(socket).args([IMSI, KI, OPC]);
    let auc = spawn(&mut auc, log);
    let begun = Instant::now();
    while !socket.exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the AuC does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    auc
}

/// A USIM for an eapol_test, which runs until it has answered one challenge.
#[derive(Debug)]
pub struct Usim {
    _process: Process,
    folder: tempfile::TempDir,
}

impl Usim {
    /// Waits for its eapol_test.
    #[must_use]
    pub fn insert() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("control")).unwrap();
        let mut command = aka();
        command.arg("usim").arg(folder.path().join("control")).args([KI, OPC]);
        let process = spawn(&mut command, &folder.path().join("log"));
        Self { _process: process, folder }
    }

    /// wpa_supplicant's configuration for AKA' with this USIM; eapol_test waits for it with `-W`.
    #[must_use]
    pub fn configuration(&self) -> String {
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
    command.arg(script("aka.py"));
    command
}
