//! For tests: Scapy, which reads our packets and builds what we read.
//!
//! Needs a python3 with Scapy (Debian: python3-scapy).

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

pub mod pcap;

/// What a test that can't run says.
const MISSING: &str = "needs a python3 with Scapy: apt-get install python3-scapy";

/// A python3 that has Scapy with its IPsec: the first in PATH, or Debian's own.
///
/// # Errors
/// Where there is none.
pub fn python() -> Result<&'static str, String> {
    static FOUND: OnceLock<Option<&str>> = OnceLock::new();
    let has_scapy = |python: &&str| {
        let mut command = Command::new(python);
        command.args(["-c", "import scapy.layers.ipsec, scapy.layers.inet6"]);
        command.output().is_ok_and(|output| output.status.success())
    };
    let look = || ["python3", "/usr/bin/python3"].into_iter().find(has_scapy);
    FOUND.get_or_init(look).ok_or_else(|| MISSING.to_owned())
}

/// Runs a script, `arguments[0]`, and returns what it prints when it was given `input`.
///
/// # Errors
/// What it complains of, where it fails.
pub fn run<A: AsRef<OsStr>>(arguments: &[A], input: &[u8]) -> Result<String, String> {
    let told = |error: std::io::Error| format!("python3: {error}");
    let mut child = Command::new(python()?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(told)?;
    let stdin = child.stdin.take();
    // Beside the reading: a script that answers line by line would wait for its reader.
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output()
    });
    let output = output.map_err(told)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Octets as scripts read and print them.
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Octets from what [`hex`] makes of them; `None` for any other text.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let octet = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(octet).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn octets_survive_their_digits() {
        let octets: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&octets)).unwrap(), octets);
        assert!(unhex("0").is_none() && unhex("0g").is_none() && unhex("é").is_none());
    }

    #[test]
    fn a_script_answers_or_complains() {
        let echo = "import sys; sys.stdout.write(sys.stdin.read())";
        let long = "line\n".repeat(100_000);
        assert_eq!(run(&["-c", echo], long.as_bytes()).unwrap(), long);
        assert!(run(&["-c", "raise Exception('no')"], b"").unwrap_err().contains("no"));
    }
}
