//! `octets.py`, which builds packets with Scapy.

use core::net::Ipv6Addr;
use std::path::Path;

use hearth_scapy::unhex;

use crate::case::{Head, Octets};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/octets.py");

/// Whether all octets in the cases below a folder are Scapy's.
///
/// # Errors
/// Where they are not, or why nobody can say.
pub fn check(folder: &Path) -> Result<(), String> {
    let folder = folder.to_str().ok_or("a folder's name that is no UTF-8")?;
    let said = hearth_scapy::run(&[SCRIPT, "--check", folder], b"");
    said.map(drop)
        .map_err(|said| format!("{said}\noctets.py --write {folder} puts Scapy's in their place"))
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
    let text = hearth_scapy::run(&[SCRIPT, "--build"], lines.as_bytes())?;
    let octets: Option<Vec<_>> = text.lines().map(built).collect();
    octets.filter(|octets| octets.len() == wanted.len()).ok_or(text)
}

/// `NEXT-HEADER HEX`
fn built(line: &str) -> Option<Octets> {
    let (next_header, hex) = line.split_once(' ')?;
    let payload = unhex(hex)?;
    Some(Octets { head: Head::Next(next_header.parse().ok()?), payload })
}
