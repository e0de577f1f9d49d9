//! `octets.py`, which builds packets with Scapy.

use core::net::Ipv6Addr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::case::{Head, Octets};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/octets.py");

/// A python3 that has Scapy: the first in PATH, or Debian's own.
fn python() -> Result<Command, String> {
    let has_scapy = |python: &&str| {
        let mut command = Command::new(python);
        command.args(["-c", "import scapy.layers.inet6"]);
        command.output().is_ok_and(|output| output.status.success())
    };
    let python = ["python3", "/usr/bin/python3"].into_iter().find(has_scapy);
    let python = python.ok_or("needs a python3 with Scapy: apt-get install python3-scapy")?;
    let mut command = Command::new(python);
    command.arg(SCRIPT);
    Ok(command)
}

/// Whether all octets in the cases below a folder are Scapy's.
///
/// # Errors
/// Where they are not, or why nobody can say.
pub fn check(folder: &Path) -> Result<(), String> {
    let output = python()?.arg("--check").arg(folder).output().map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{said}\noctets.py --write {} puts Scapy's in their place", folder.display()))
}

/// A packet in the notation of the cases, and between whom it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The HA's address of the checksum.
    pub ha: Ipv6Addr,
    /// The home address of the SA.
    pub home: Ipv6Addr,
    /// The packet in words.
    pub words: String,
}

/// The octets of packets, in their order.
///
/// # Errors
/// What Scapy does not build.
pub fn build(wanted: &[Wanted]) -> Result<Vec<Octets>, String> {
    let lines: String =
        wanted.iter().map(|one| format!("{} {} {}\n", one.ha, one.home, one.words)).collect();
    let mut child = python()?
        .arg("--build")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let writer = thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let written = writer.join().is_ok_and(|written| written.is_ok());
    if !written || !output.status.success() {
        return Err("octets.py --build failed".into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let octets: Option<Vec<_>> = text.lines().map(built).collect();
    octets.filter(|octets| octets.len() == wanted.len()).ok_or_else(|| text.into_owned())
}

/// `NEXT-HEADER HEX`
fn built(line: &str) -> Option<Octets> {
    let (next_header, hex) = line.split_once(' ')?;
    let octet = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let payload = (0..hex.len()).step_by(2).map(octet).collect::<Option<_>>()?;
    Some(Octets { head: Head::Next(next_header.parse().ok()?), payload })
}
