//! FreeRADIUS (Debian's `freeradius`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    NAME, PASSWORD, Place, ROUTER, SECRET, STRAY, TAKER, UNLISTED, certificates, network,
    probe::{Question, await_answer},
};
use crate::{Process, spawn};

/// FreeRADIUS: EAP-TLS, -TTLS, -PEAP and -PWD, accounting, RadSec.
#[derive(Debug)]
pub struct FreeRadius {
    process: Option<Process>,
    folder: tempfile::TempDir,
    place: Place,
    /// Port of authentication, by IPv4 and IPv6.
    pub auth: u16,
    /// Port of accounting, by IPv4.
    pub acct: u16,
    /// Port of RADIUS over TLS, by IPv4; its client's certificate is of the same CA.
    pub radsec: u16,
}

impl FreeRadius {
    /// Starts it on loopback and waits until it answers.
    #[must_use]
    pub fn start() -> Self {
        Self::start_in(Place::loopback())
    }

    /// Starts it and waits until it answers.
    #[must_use]
    pub fn start_in(place: Place) -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let (auth, acct, radsec) = (place.port(1812), place.port(1813), place.port(2083));
        let text = include_str!("radiusd.conf")
            .replace("@FOLDER@", folder.path().to_str().unwrap())
            .replace("@SECRET@", SECRET)
            .replace("@IP4@", &place.ip4.to_string())
            .replace("@IP6@", &place.ip6.to_string())
            .replace("@CLIENTS4@", &place.clients[0])
            .replace("@CLIENTS6@", &place.clients[1])
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
        let mut server = Self { process: None, folder, place, auth, acct, radsec };
        server.run();
        server
    }

    /// Starts it again on the same ports.
    pub fn run(&mut self) {
        let log = self.path("log");
        let mut command = self.place.command("freeradius");
        command.args(["-fxx", "-l", "stdout", "-d"]).arg(self.folder.path());
        let mut process = spawn(&mut command, &log);
        self.place.probe.connect((self.place.ip4, self.auth)).unwrap();
        await_answer(&self.place.probe, Question::Status, &mut process, &log);
        self.process = Some(process);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Its folder, with the CA of [`certificates`].
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file in its folder: `ca.pem`; `log`, which holds the keys that it has sent; `detail`, the
    /// accounting.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// wpa_supplicant's network block for the subscriber; `more` behind it.
    #[must_use]
    pub fn network(&self, method: &str, more: &str) -> String {
        network(&format!(
            "eap={method}\nidentity=\"{NAME}\"\npassword=\"{PASSWORD}\"\nca_cert=\"{}\"\n{more}",
            self.path("ca.pem").display()
        ))
    }
}
