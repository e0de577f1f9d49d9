//! A capture of the access link, taken by dumpcap and judged by tshark.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::{
    error::{LabError, Result, file},
    netns::{Netns, line, run},
    plan::{HA_PORT, HAC_PORT},
    traffic::MARKER,
    wait,
};

/// The kernel hands captured packets over in blocks, at the latest after dumpcap's read timeout of
/// 250 ms; twice that is safe. No event tells that a block is empty.
const HANDED_OVER: Duration = Duration::from_millis(500);

/// A running capture.
pub struct Capture {
    child: Child,
    path: PathBuf,
}

impl Capture {
    /// Captures everything on a link into `path`, and is capturing when this returns.
    ///
    /// # Errors
    /// Where dumpcap cannot be started.
    pub fn start(namespace: &Netns, link: &str, path: &Path) -> Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(file(path)(error));
            }
            _ => {}
        }
        let log = fs::File::create(path.with_extension("log")).map_err(file(path))?;
        let mut dumpcap = namespace.command("dumpcap");
        // 64 MiB between kernel and disk: a capture with holes would prove nothing.
        dumpcap.args(["-q", "-B", "64", "-i", link, "-w"]).arg(path);
        dumpcap.stdout(Stdio::null()).stderr(log);
        let child = dumpcap.spawn();
        let child = child.map_err(|source| LabError::Start { command: line(&dumpcap), source })?;
        let mut capture = Self { child, path: path.to_owned() };
        // dumpcap writes the file's header once its socket is bound.
        wait::until("the start of the capture", Duration::from_secs(10), || {
            if let Ok(Some(status)) = capture.child.try_wait() {
                let said = fs::read_to_string(path.with_extension("log")).unwrap_or_default();
                return Err(LabError::Wrong(format!("dumpcap ended with {status}: {said}")));
            }
            Ok(fs::metadata(path).is_ok_and(|meta| meta.len() > 0).then_some(()))
        })?;
        Ok(capture)
    }

    /// Ends the capture and gives its file, complete.
    ///
    /// # Errors
    /// Where dumpcap lost packets or does not end.
    pub fn finish(mut self) -> Result<PathBuf> {
        // dumpcap drops what the kernel has not handed over yet, and says nothing of it.
        std::thread::sleep(HANDED_OVER);
        self.interrupt();
        let child = &mut self.child;
        wait::until("the end of the capture", Duration::from_secs(10), || {
            child.try_wait().map_err(file("dumpcap"))
        })?;
        let log = fs::read_to_string(self.path.with_extension("log")).unwrap_or_default();
        if let Some(lost) = dropped(&log).filter(|&lost| lost > 0) {
            return Err(LabError::Wrong(format!("the capture lost {lost} packets")));
        }
        Ok(self.path.clone())
    }

    fn interrupt(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // One that has ended by itself is reported by who waits for it.
        let _ = pid.map(|pid| kill_process(pid, Signal::INT));
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The count of dropped packets in dumpcap's closing words:
/// `Packets received/dropped on interface 'access': 120/0 (pcap:0/dumpcap:0/flushed:0/ps_ifdrop:0)`.
fn dropped(log: &str) -> Option<u64> {
    let counts = log.lines().find(|line| line.starts_with("Packets received/dropped"))?;
    let counts = counts.rsplit_once("': ")?.1.split_whitespace().next()?;
    counts.split_once('/')?.1.parse().ok()
}

/// What tshark finds in a capture of the access link.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Findings {
    /// TLS ClientHellos to the HAC.
    pub tls_handshakes: usize,
    /// PType 8 packets of either direction.
    pub signalling: usize,
    /// Frames that are neither TLS with the HAC, UDP 7872, ARP nor neighbour discovery.
    pub strangers: Vec<String>,
    /// TCP payload on the HAC's port that tshark cannot read as TLS.
    pub not_tls: Vec<String>,
    /// Frames that show an inner address or the payload's marker.
    pub cleartext: Vec<String>,
    /// From each PType 8 request to the answer behind it, in milliseconds.
    pub signalling_round_trips_ms: Vec<f64>,
}

impl Findings {
    /// Whether nothing but the two protocols was seen, and nothing in the clear.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.strangers.is_empty() && self.not_tls.is_empty() && self.cleartext.is_empty()
    }
}

/// Frames of the two protocols and of the link itself. ICMP quotes packets, and a quoted port is
/// no port.
fn expected() -> String {
    format!(
        "(arp or icmpv6.type in {{133..136,143}} or \
         ((tcp.port == {HAC_PORT} or udp.port == {HA_PORT}) and not icmp and not icmpv6))"
    )
}

fn signalling() -> String {
    format!("(udp.port == {HA_PORT} and udp.payload[0:1] >= 80 and udp.payload[0:1] <= 8f)")
}

/// Frames that show payload or, as addresses, what is inside of a tunnel. An IPv4 address alone
/// turns up in ciphertext by chance, so a pair of them must stand side by side, as in a header.
fn cleartext(inner: &[IpAddr]) -> String {
    let hex = |octets: &[u8]| {
        octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
    };
    let mut patterns = vec![hex(MARKER)];
    let v4: Vec<[u8; 4]> = inner
        .iter()
        .filter_map(|a| if let IpAddr::V4(a) = a { Some(a.octets()) } else { None })
        .collect();
    for address in inner {
        if let IpAddr::V6(address) = address {
            patterns.push(hex(&address.octets()));
        }
    }
    for source in &v4 {
        for destination in v4.iter().filter(|other| *other != source) {
            patterns.push(hex(&[*source, *destination].concat()));
        }
    }
    let contains: Vec<String> =
        patterns.iter().map(|pattern| format!("frame contains {pattern}")).collect();
    format!("({})", contains.join(" or "))
}

/// Lets tshark judge a capture. `inner` are the addresses that must not be seen.
///
/// # Errors
/// Where tshark cannot read the capture.
pub fn judge(capture: &Path, inner: &[IpAddr]) -> Result<Findings> {
    let cleartext = cleartext(inner);
    let strangers = format!("not {}", expected());
    let interesting =
        format!("{strangers} or {cleartext} or {} or tcp.port == {HAC_PORT}", signalling());
    // The one pass over everything; the questions then go to the few frames it leaves.
    let matched = capture.with_extension("matched.pcapng");
    run(tshark(capture, &interesting).arg("-w").arg(&matched))?;

    let frames = |filter: &str| -> Result<Vec<String>> {
        let mut tshark = tshark(&matched, filter);
        tshark.args(["-T", "fields", "-e", "frame.time_relative", "-e", "_ws.col.Source"]);
        tshark.args(["-e", "_ws.col.Destination", "-e", "_ws.col.Info"]);
        Ok(run(&mut tshark)?.lines().map(str::to_owned).collect())
    };
    let not_tls =
        format!("tcp.port == {HAC_PORT} and tcp.len > 0 and not tls and not tcp.segment_data");
    let findings = Findings {
        tls_handshakes: frames("tls.handshake.type == 1")?.len(),
        signalling: frames(&signalling())?.len(),
        strangers: frames(&strangers)?,
        not_tls: frames(&not_tls)?,
        cleartext: frames(&cleartext)?,
        signalling_round_trips_ms: round_trips(&matched)?,
    };
    fs::remove_file(&matched).map_err(file(&matched))?;
    Ok(findings)
}

fn tshark(capture: &Path, filter: &str) -> Command {
    let mut tshark = Command::new("tshark");
    tshark.arg("-n").arg("-r").arg(capture).args(["-Y", filter]);
    tshark.args(["-d", &format!("tcp.port=={HAC_PORT},tls")]);
    // A payload on our port that happens to look like another protocol is still ours.
    tshark.args(["-o", "udp.try_heuristic_first:FALSE"]);
    tshark
}

/// Times from each PType 8 packet to the home agent to the next one from it.
fn round_trips(capture: &Path) -> Result<Vec<f64>> {
    let mut tshark = tshark(capture, &signalling());
    tshark.args(["-T", "fields", "-e", "frame.time_relative", "-e", "udp.dstport"]);
    let mut asked = None;
    let mut times = Vec::new();
    for row in run(&mut tshark)?.lines() {
        let (time, port) = row.split_once('\t').unwrap_or((row, ""));
        let time: f64 = time.parse().unwrap_or_default();
        if port == HA_PORT.to_string() {
            asked.get_or_insert(time);
        } else if let Some(asked) = asked.take() {
            times.push((time - asked) * 1e3);
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_reads_dumpcaps_closing_words() {
        let log = "Capturing on 'access'\nPackets captured: 12\n\
             Packets received/dropped on interface 'access': 12/3 (pcap:3/dumpcap:0)\n";
        assert_eq!(dropped(log), Some(3));
        assert_eq!(dropped("Capturing on 'access'\n"), None);
    }

    #[test]
    fn ipv4_addresses_are_looked_for_in_pairs() {
        let filter = cleartext(&["203.0.113.2".parse().unwrap(), "203.0.113.144".parse().unwrap()]);
        assert!(filter.contains("frame contains cb:00:71:02:cb:00:71:90"));
        assert!(filter.contains("frame contains cb:00:71:90:cb:00:71:02"));
        assert!(!filter.contains("cb:00:71:02 "));
    }
}
