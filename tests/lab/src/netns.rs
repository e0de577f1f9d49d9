//! A network namespace: made, entered, configured and taken away again.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{
    error::{LabError, Result, file},
    wait,
};

/// A named network namespace, as `ip netns` keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// The handle of a namespace that may or may not exist.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Its name in `ip netns list`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Makes it, with its loopback up and without duplicate address detection, whose second of
    /// silence after every move would hide what the lab measures.
    ///
    /// # Errors
    /// Where `ip` fails, as without root.
    pub fn create(&self) -> Result<()> {
        run(Command::new("ip").args(["netns", "add", &self.name]))?;
        self.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        self.sysctl("net/ipv6/conf/default/accept_ra", "0")?;
        self.ip("link set lo up")
    }

    /// Ends every process in it and takes it away; does nothing where it does not exist.
    ///
    /// # Errors
    /// Where a process cannot be ended or `ip` fails.
    pub fn delete(&self) -> Result<()> {
        if !self.exists() {
            return Ok(());
        }
        self.end_processes()?;
        run(Command::new("ip").args(["netns", "delete", &self.name])).map(drop)
    }

    /// The processes in it.
    ///
    /// # Errors
    /// Where `ip` fails.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let out = run(Command::new("ip").args(["netns", "pids", &self.name]))?;
        Ok(out.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }

    /// Asks every process in it to end, then insists.
    fn end_processes(&self) -> Result<()> {
        for signal in [Signal::TERM, Signal::KILL] {
            let pids = self.pids()?;
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids.into_iter().filter_map(Pid::from_raw) {
                // One that has just ended by itself is no error.
                let _ = kill_process(pid, signal);
            }
            let gone = wait::until("end of processes", Duration::from_secs(3), || {
                Ok(self.pids()?.is_empty().then_some(()))
            });
            match gone {
                Err(LabError::Timeout { .. }) => {}
                other => return other,
            }
        }
        Err(LabError::Wrong(format!("processes in {} outlive SIGKILL", self.name)))
    }

    /// `program`, to be run inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Runs `ip` on it with blank-separated arguments.
    ///
    /// # Errors
    /// Where `ip` fails.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments.split_whitespace()))
            .map(drop)
    }

    /// Loads an nftables script.
    ///
    /// # Errors
    /// Where `nft` refuses it.
    pub fn nft(&self, script: &str) -> Result<()> {
        run(self.command("nft").arg(script)).map(drop)
    }

    /// Writes a `net/...` sysctl of this namespace.
    ///
    /// # Errors
    /// Where the kernel does not know the key or refuses the value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key);
        self.enter(|| fs::write(&path, value))?.map_err(file(path))
    }

    /// Runs `work` on a thread inside the namespace. Sockets opened there stay there and can be
    /// used by any thread.
    ///
    /// # Errors
    /// Where the namespace does not exist or cannot be entered.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let inside = || -> io::Result<T> {
            let namespace = File::open(self.path())?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        };
        let joined = thread::scope(|scope| scope.spawn(inside).join());
        match joined {
            Ok(outcome) => outcome.map_err(file(self.path())),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// One counter of `/proc/net/snmp`, such as `("Udp", "NoPorts")`; 0 where it is not listed.
    ///
    /// # Errors
    /// Where the namespace cannot be entered.
    pub fn snmp(&self, group: &str, counter: &str) -> Result<u64> {
        let path = "/proc/thread-self/net/snmp";
        let text = self.enter(|| fs::read_to_string(path))?.map_err(file(path))?;
        Ok(snmp_value(&text, group, counter).unwrap_or(0))
    }
}

/// Finds a counter in the two-line groups of `/proc/net/snmp`.
fn snmp_value(text: &str, group: &str, counter: &str) -> Option<u64> {
    let prefix = format!("{group}:");
    let mut lines = text.lines().filter(|line| line.starts_with(&prefix));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|name| name == counter)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

/// Runs a command to its end and gives its standard output.
///
/// # Errors
/// Where it cannot be started or does not end with 0.
pub fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stderr, output.stdout].concat();
    Err(LabError::Command { command: line(command), output: tail(&String::from_utf8_lossy(&said)) })
}

/// Runs a command to its end, whatever its exit code.
///
/// # Errors
/// Where it cannot be started.
pub fn output(command: &mut Command) -> Result<Output> {
    let result = command.stdin(Stdio::null()).output();
    result.map_err(|source| LabError::Start { command: line(command), source })
}

/// The command line as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(std::ffi::OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The last lines of what a program said.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snmp_counters_are_found_by_name() {
        let text = "Ip: Forwarding DefaultTTL\nIp: 2 64\n\
                    Udp: InDatagrams NoPorts InErrors\nUdp: 7 3 0\n";
        assert_eq!(snmp_value(text, "Udp", "NoPorts"), Some(3));
        assert_eq!(snmp_value(text, "Ip", "DefaultTTL"), Some(64));
        assert_eq!(snmp_value(text, "Udp", "NoSuch"), None);
        assert_eq!(snmp_value(text, "Tcp", "OutRsts"), None);
    }

    #[test]
    fn a_failing_command_shows_itself_and_its_last_words() {
        let error = run(Command::new("sh").args(["-c", "echo sorry >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c echo sorry >&2; exit 3` failed: sorry");
    }
}
