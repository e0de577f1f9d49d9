//! A home agent that is killed under traffic and started again.

use std::{
    collections::{HashMap, HashSet},
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::Duration,
};

use serde::Serialize;

use crate::{
    capture::Capture,
    error::{LabError, Result, file},
    lab::Lab,
    netns::run,
    node::MobileNode,
    plan::{CN6, HA_PORT, Subscriber},
    traffic::{Direction, Echo, Probe, Transfer, TransferPlan},
    wait,
};

/// The transfer that goes on across it, and its limit in octets a second.
const OCTETS: u64 = 16_000_000;
const RATE: u64 = 4_000_000;
/// Time between two probes.
const PROBE_PERIOD: Duration = Duration::from_millis(5);
/// Longest time for one step.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a crash and a restart cost, and that they cost nothing else.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RestartReport {
    /// Longest silence between two answers to the probe stream.
    pub gap_ms: f64,
    /// From the start of the daemon until it answered on its socket.
    pub start_ms: f64,
    /// Probes that were never answered, of those sent in the gap.
    pub packets_lost: usize,
    /// Probes sent from the crash to the first answer after it.
    pub packets_sent: usize,
    /// Bindings that the home agent showed before.
    pub bindings_before: usize,
    /// Those that it shows afterwards, of the same care-of address, SA and sequence number.
    pub bindings_after: usize,
    /// SAs before.
    pub sas_before: usize,
    /// SAs afterwards.
    pub sas_after: usize,
    /// Binding Updates that the mobile node sent meanwhile.
    pub binding_updates: usize,
    /// SAs that it fetched meanwhile.
    pub bootstraps: usize,
    /// Whether the TCP transfer went through and arrived as it was sent.
    pub transfer_intact: bool,
    /// Packets of the home agent in the capture.
    pub packets: usize,
    /// Pairs of SPI and sequence number that it used more than once.
    pub numbers_used_twice: usize,
    /// Packets whose number was below one that the same SA had used before.
    pub numbers_that_came_back: usize,
}

/// Sequence numbers of a home agent, as a capture shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Packets under an SA.
    pub packets: usize,
    /// Pairs of SPI and sequence number that stand in more than one packet.
    pub used_twice: usize,
    /// Packets whose number is below an earlier one of the same SA.
    pub came_back: usize,
}

/// Lets tshark read the sequence numbers that the home agent used (RFC 6618 s.6).
///
/// # Errors
/// Where tshark cannot read the capture.
pub fn numbers(capture: &Path) -> Result<Numbers> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-n").arg("-r").arg(capture);
    tshark.args(["-Y", &format!("udp.srcport == {HA_PORT} and not icmp and not icmpv6")]);
    tshark.args(["-o", "udp.try_heuristic_first:FALSE", "-T", "fields", "-e", "udp.payload"]);
    let rows = run(&mut tshark)?;
    let words = rows.lines().filter_map(|row| {
        let word = |at: usize| u32::from_str_radix(row.get(at..at + 8)?, 16).ok();
        Some((word(0)? & 0x0fff_ffff, word(8)?))
    });
    Ok(judge(words.filter(|(spi, _)| *spi != 0)))
}

/// Judges SPIs and sequence numbers in the order of their packets.
fn judge(packets: impl Iterator<Item = (u32, u32)>) -> Numbers {
    let (mut seen, mut highest) = (HashSet::new(), HashMap::new());
    let mut numbers = Numbers::default();
    for (spi, sequence) in packets {
        numbers.packets += 1;
        numbers.used_twice += usize::from(!seen.insert((spi, sequence)));
        let top = highest.entry(spi).or_insert(sequence);
        numbers.came_back += usize::from(sequence < *top);
        *top = (*top).max(sequence);
    }
    numbers
}

/// Kills the home agent under a TCP transfer and a stream of datagrams, starts it again, and writes
/// `restart.json` to `folder`. The mobile node is registered from the IPv6 network.
///
/// # Errors
/// The step that failed, or what was not as it should.
pub fn run_under_traffic(
    lab: &mut Lab,
    who: &Subscriber,
    node: &MobileNode,
    folder: &Path,
) -> Result<RestartReport> {
    let mut report = RestartReport::default();
    let namespace = lab.network.mobile_node(0)?.clone();
    let capture = Capture::start(&lab.network.net6, "access", &folder.join("restart.pcapng"))?;
    let echo = Echo::start(&lab.network.cn, SocketAddr::new(CN6.into(), 0))?;
    let home = SocketAddr::new(who.home6.into(), 0);
    let probe = Probe::start(&namespace, home, echo.address(), PROBE_PERIOD)?;
    let transfer = Transfer::start(&TransferPlan {
        client: &namespace,
        from: home,
        server: &lab.network.cn,
        to: SocketAddr::new(CN6.into(), 0),
        direction: Direction::Download,
        octets: OCTETS,
        rate: RATE,
    })?;
    wait::until("progress of the transfer", PATIENCE, || {
        Ok((transfer.progress() > OCTETS / 10).then_some(()))
    })?;
    let before = state(lab)?;
    let asked = asked(node);
    let begin = probe.now();
    let Some(mut hearthd) = lab.hearthd.take() else {
        return Err(LabError::Wrong("hearthd does not run".into()));
    };
    hearthd.crash()?;
    let started = probe.now();
    lab.start_hearthd()?;
    let up = probe.now();
    wait::until("an answer to a probe after the restart", PATIENCE, || {
        Ok(probe.answered_since(started).then_some(()))
    })?;
    let end = probe.now();
    let after = state(lab)?;
    let outcome = transfer.finish()?;
    let samples = probe.finish();
    let later = self::asked(node);
    let found = numbers(&capture.finish()?)?;

    let period = begin..end + Duration::from_millis(50);
    report.gap_ms = milliseconds(samples.gap(&period));
    report.start_ms = milliseconds(up - started);
    report.packets_lost = samples.lost(&period);
    report.packets_sent = samples.sent(&period);
    (report.bindings_before, report.sas_before) = (before.0.len(), before.1.len());
    report.bindings_after = after.0.iter().filter(|one| before.0.contains(one)).count();
    report.sas_after = after.1.iter().filter(|one| before.1.contains(one)).count();
    report.binding_updates = later.0.abs_diff(asked.0);
    report.bootstraps = later.1.abs_diff(asked.1);
    report.transfer_intact = outcome.intact() && outcome.received.octets == OCTETS;
    report.packets = found.packets;
    report.numbers_used_twice = found.used_twice;
    report.numbers_that_came_back = found.came_back;
    let path = folder.join("restart.json");
    let text = serde_json::to_string_pretty(&report)
        .map_err(|source| LabError::Json { from: "the report of the restart".into(), source })?;
    fs::write(&path, text + "\n").map_err(file(path))?;
    Ok(report)
}

impl RestartReport {
    /// What is not as it should be after a restart that nobody should notice.
    #[must_use]
    pub fn wrong(&self) -> Option<&'static str> {
        let findings = [
            (self.packets == 0, "the capture shows no packets of the home agent"),
            (self.numbers_used_twice > 0, "a sequence number was used twice"),
            (self.numbers_that_came_back > 0, "a sequence number came back"),
            (self.bindings_after != self.bindings_before, "a binding is gone"),
            (self.sas_after != self.sas_before, "an SA is gone"),
            (self.bootstraps > 0, "the mobile node had to fetch a new SA"),
            (!self.transfer_intact, "the transfer did not arrive as it was sent"),
        ];
        findings.into_iter().find_map(|(wrong, what)| wrong.then_some(what))
    }
}

/// How many Binding Updates of the mobile node were answered, and how many SAs it has fetched.
fn asked(node: &MobileNode) -> (usize, usize) {
    let status = node.status();
    status.map_or((0, 0), |status| (status.registrations.len(), status.bootstraps.len()))
}

/// Bindings and SAs as far as a restart must not change them.
fn state(lab: &Lab) -> Result<(Vec<String>, Vec<u32>)> {
    let bindings = lab.bindings()?.into_iter().map(|b| {
        let (home, care_of, port) = (b.home_address, b.care_of_address, b.care_of_port);
        format!("{home} {care_of} {port} {} {}", b.spi, b.sequence)
    });
    let bindings = bindings.collect();
    let sas: Vec<serde_json::Value> = lab.show("sas")?;
    let spi = |row: &serde_json::Value| u32::try_from(row.get("spi")?.as_u64()?).ok();
    Ok((bindings, sas.iter().filter_map(spi).collect()))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_were_used_before_are_seen() {
        let of = |packets: &[(u32, u32)]| judge(packets.iter().copied());
        let clean = of(&[(7, 0), (9, 0), (7, 1), (7, 1 << 16), (9, 3)]);
        assert_eq!(clean, Numbers { packets: 5, used_twice: 0, came_back: 0 });
        let again = of(&[(7, 5), (7, 6), (7, 5), (7, 6), (9, 6)]);
        assert_eq!(again, Numbers { packets: 5, used_twice: 2, came_back: 1 });
        assert_eq!(of(&[(7, 5), (7, 4)]).came_back, 1);
    }
}
