//! The host's DNS servers: set through whatever manages them, and put back.
//!
//! Nothing is written to `/etc/resolv.conf` here: a host on which nothing manages it keeps its own.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A manager that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// What YAML says of the DNS servers that the HAC hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// Set by whatever manages this host's, if anything does.
    #[default]
    Auto,
    /// Not set.
    Off,
    /// Set by systemd-resolved.
    Resolved,
    /// Set by resolvconf.
    Resolvconf,
}

/// What manages DNS servers on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// systemd-resolved, through `resolvectl`: per link.
    Resolved,
    /// `resolvconf`, of Debian or openresolv.
    Resolvconf,
}

impl Choice {
    /// Who is to set them, if anybody; or why nobody can.
    ///
    /// # Errors
    /// In words.
    pub fn manager(self) -> Result<Option<Manager>, &'static str> {
        match self {
            Self::Off => Ok(None),
            Self::Resolved => Ok(Some(Manager::Resolved)),
            Self::Resolvconf => Ok(Some(Manager::Resolvconf)),
            Self::Auto if is_elsewhere() => {
                Err("this network namespace is not that of the host's resolver")
            }
            Self::Auto if Path::new("/run/systemd/resolve").is_dir() && has("resolvectl") => {
                Ok(Some(Manager::Resolved))
            }
            Self::Auto if has("resolvconf") => Ok(Some(Manager::Resolvconf)),
            Self::Auto => Err("neither systemd-resolved nor resolvconf is here"),
        }
    }
}

impl Manager {
    /// Has `servers` asked through `device`; for every name where `everything` goes through it.
    ///
    /// # Errors
    /// The manager can't be run, or refuses.
    pub fn set(self, device: &str, servers: &[IpAddr], everything: bool) -> io::Result<()> {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        match self {
            Self::Resolved => {
                let mut arguments = vec!["dns", device];
                arguments.extend(servers.iter().map(String::as_str));
                run("resolvectl", &arguments, "")?;
                if everything {
                    run("resolvectl", &["domain", device, "~."], "")?;
                    run("resolvectl", &["default-route", device, "true"], "")?;
                }
                Ok(())
            }
            Self::Resolvconf => {
                let lines: String =
                    servers.iter().map(|server| format!("nameserver {server}\n")).collect();
                // Metric 0: before those of other interfaces; exclusive where everything goes here.
                let name = resolvconf_name(device);
                let mut arguments = vec!["-a", &name, "-m", "0"];
                arguments.extend(everything.then_some("-x"));
                run("resolvconf", &arguments, &lines)
            }
        }
    }

    /// Puts back what was before.
    ///
    /// # Errors
    /// The manager can't be run, or refuses.
    pub fn restore(self, device: &str) -> io::Result<()> {
        match self {
            Self::Resolved => run("resolvectl", &["revert", device], ""),
            Self::Resolvconf => run("resolvconf", &["-d", &resolvconf_name(device), "-f"], ""),
        }
    }
}

/// Debian's resolvconf orders interfaces by patterns: `tun*` comes before those of networks.
fn resolvconf_name(device: &str) -> String {
    let is_debian = Path::new("/etc/resolvconf/interface-order").exists();
    if is_debian { format!("tun.{device}") } else { device.to_owned() }
}

/// Whether the first process has another network namespace: a resolver that it started knows other
/// links. Where that can't be seen we were started by it, with few rights.
fn is_elsewhere() -> bool {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net"));
    matches!((of("1"), of("thread-self")), (Ok(first), Ok(own)) if first != own)
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<()> {
    let in_words = |what: String| io::Error::other(format!("{program} {what}"));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| in_words(format!("can't be run: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not read it says so by its exit code.
        let _ = stdin.write_all(input.as_bytes());
    }
    let until = Instant::now() + PATIENCE;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(in_words(format!("failed: {status}"))),
            None if Instant::now() >= until => {
                child.kill()?;
                child.wait()?;
                return Err(in_words("did not end in time".to_owned()));
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}
