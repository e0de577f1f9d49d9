//! Programs of others that tests run against: AAA servers, wpa_supplicant's EAP peer, and mobile
//! nodes in Python. Nothing here knows Hearth's own code.
#![forbid(unsafe_code)]
// A test's helper fails the test where it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod aaa;
pub mod eap;
pub mod prometheus;

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

/// A port on loopback that nobody uses now, by UDP or TCP, and that the kernel gives no connection:
/// other tests open thousands at the same time.
#[must_use]
pub fn free_port() -> u16 {
    // Neighbouring processes look in different places, and one of them never in one twice.
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 1_000).unwrap() * 20;
    let is_free = |port: &u16| {
        let place = (Ipv4Addr::LOCALHOST, *port);
        UdpSocket::bind(place).is_ok() && TcpListener::bind(place).is_ok()
    };
    let next = || first + TAKEN.fetch_add(1, Ordering::Relaxed);
    std::iter::repeat_with(next).find(is_free).unwrap()
}

/// A program in Python: `peer.py`, `eap_peer.py`, `aka.py`.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

/// A process that ends with its owner.
#[derive(Debug)]
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
