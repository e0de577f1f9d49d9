//! The demo: a mobile node keeps its connections while it moves.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    capture::{Capture, judge},
    config::NodeTuning,
    error::{LabError, Result, file},
    lab::{Lab, LabOptions},
    node::MobileNode,
    plan::{CN4, CN6, HA6, Subscriber, Visited},
    report::{DropReport, HandoverReport, Ping, Report, RoundTrips, TransferReport},
    restart,
    traffic::{Direction, Echo, Probe, Transfer, TransferPlan},
    wait,
};

mod flows;
mod mobile_router;

/// The transfer.
const OCTETS: u64 = 200_000_000;
/// Its limit in octets a second: slow enough for two moves within it, even on a fast machine.
const RATE: u64 = 20_000_000;
/// Parts of it that have arrived when the moves begin.
const MOVES: [(u64, Visited, Visited); 2] =
    [(OCTETS / 4, Visited::Net6, Visited::Nat4), (OCTETS * 6 / 10, Visited::Nat4, Visited::Net6)];
/// Time between two probes.
const PROBE_PERIOD: Duration = Duration::from_millis(5);
/// Longest time for one step.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the demo in a lab of its own, takes the lab down, and writes `report.json` and the capture
/// to `folder`.
///
/// # Errors
/// Where the report cannot be written; a failed step is in the report.
pub fn run(options: LabOptions, folder: &Path) -> Result<Report> {
    fs::create_dir_all(folder).map_err(file(folder))?;
    let mut demo = Demo {
        start: Instant::now(),
        step: "bring up the lab",
        report: Report::default(),
        capture: folder.join("access.pcapng"),
    };
    let outcome = demo.all(&options);
    wait::forget_signal();
    let logs = keep_logs(&options, folder);
    let gone = demo.step_of(&outcome, "tear down", || Lab::down(&options));
    let mut report = demo.report;
    report.seconds = demo.start.elapsed().as_secs_f64();
    match outcome.and(logs).and(gone) {
        Ok(()) => report.ok = true,
        Err(error) => {
            report.failed_step = Some(demo.step.to_owned());
            report.error = Some(error.to_string());
        }
    }
    let path = folder.join("report.json");
    let text = serde_json::to_string_pretty(&report)
        .map_err(|source| LabError::Json { from: "the report".into(), source })?;
    fs::write(&path, text + "\n").map_err(file(path))?;
    Ok(report)
}

/// The lab's logs go with the lab; what they say about a failed step should not.
fn keep_logs(options: &LabOptions, folder: &Path) -> Result<()> {
    for role in ["hac", "hearthd", "mn"] {
        let from = options.files.log_of(role);
        if from.exists() {
            let to = folder.join(format!("{role}.log"));
            fs::copy(&from, &to).map_err(file(to))?;
        }
    }
    Ok(())
}

struct Demo {
    start: Instant,
    step: &'static str,
    report: Report,
    capture: PathBuf,
}

impl Demo {
    /// Names the next step, for the reader now and for the report where it fails.
    fn step(&mut self, step: &'static str) {
        self.step = step;
        self.say(step);
    }

    fn say(&self, text: &str) {
        // Where nobody reads any more (`| head`), the lab is still taken down in the end.
        let seconds = self.start.elapsed().as_secs_f64();
        let _ = writeln!(std::io::stdout(), "[{seconds:6.2} s] {text}");
    }

    /// Does a step whatever happened before, but lets an earlier failure keep its name.
    fn step_of(
        &mut self,
        before: &Result<()>,
        step: &'static str,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if before.is_ok() {
            self.step(step);
        } else {
            self.say(step);
        }
        work()
    }

    fn all(&mut self, options: &LabOptions) -> Result<()> {
        self.step("bring up the lab");
        let mut lab = Lab::up(options.clone())?;
        let subscriber = lab.subscribers[0].clone();
        lab.network.attach(0, Visited::Net6)?;
        lab.hac_reachable(0, HA6.into())?;
        let capture = Capture::start(&lab.network.net6, "access", &self.capture)?;

        let mut node = self.register(&lab, &subscriber)?;
        self.ping(&lab, &subscriber)?;
        self.move_during_transfer(&lab, &subscriber, &mut node)?;
        self.deregister(&lab, &mut node)?;
        self.judge_capture(capture, &subscriber)?;
        self.mobile_router(&lab)?;
        self.flows(&lab)?;
        self.collect_drops(&lab)?;
        self.restart(&mut lab, &subscriber)
    }

    fn register(&mut self, lab: &Lab, subscriber: &Subscriber) -> Result<MobileNode> {
        self.step("bootstrap and register from the IPv6 network");
        let mut node = lab.start_node(0, subscriber, &NodeTuning::default())?;
        let status = node.registered_at(Visited::Net6, PATIENCE)?;
        self.report.bootstrap_ms = status.bootstraps.first().map(|b| b.duration_ms);
        let bound = lab.bindings()?.into_iter().find(|b| b.home_address == subscriber.home6);
        let Some(binding) = bound else {
            return Err(LabError::Wrong("hearthd shows no binding of the mobile node".into()));
        };
        self.say(&format!(
            "  {} is bound at {} port {}, {} and {}",
            binding.mn_id,
            binding.care_of_address,
            binding.care_of_port,
            subscriber.home6,
            subscriber.home4
        ));
        Ok(node)
    }

    fn ping(&mut self, lab: &Lab, subscriber: &Subscriber) -> Result<()> {
        self.step("ping the correspondent by both home addresses");
        let pairs: [(IpAddr, IpAddr); 2] =
            [(subscriber.home6.into(), CN6.into()), (subscriber.home4.into(), CN4.into())];
        for (from, to) in pairs {
            let sent = 5;
            let answered = lab.ping(lab.network.mobile_node(0)?, from, to, sent)?;
            self.say(&format!("  {from} -> {to}: {answered} of {sent} answered"));
            self.report.pings.push(Ping {
                from: from.to_string(),
                to: to.to_string(),
                sent,
                answered,
            });
            if answered != sent {
                return Err(LabError::Wrong(format!("{from} -> {to}: {answered} of {sent}")));
            }
        }
        Ok(())
    }

    fn move_during_transfer(
        &mut self,
        lab: &Lab,
        subscriber: &Subscriber,
        node: &mut MobileNode,
    ) -> Result<()> {
        self.step("start a TCP transfer of 200 MB");
        let namespace = lab.network.mobile_node(0)?.clone();
        let echo = Echo::start(&lab.network.cn, SocketAddr::new(CN6.into(), 0))?;
        let home = SocketAddr::new(subscriber.home6.into(), 0);
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
        let mut periods = Vec::new();
        for (octets, from, to) in MOVES {
            periods.push(self.hand_over(lab, node, (&probe, &transfer), octets, (from, to))?);
        }
        if transfer.ended() {
            return Err(LabError::Wrong("the transfer ended before the last handover".into()));
        }
        self.step("finish the transfer");
        let outcome = transfer.finish()?;
        let samples = probe.finish();
        for (handover, period) in self.report.handovers.iter_mut().zip(&periods) {
            handover.gap_ms = milliseconds(samples.gap(period));
            handover.packets_lost = samples.lost(period);
            handover.packets_sent = samples.sent(period);
        }
        let intact = outcome.intact() && outcome.received.octets == OCTETS;
        #[allow(clippy::cast_precision_loss)] // a figure for people
        let limit = RATE as f64 * 8e-6;
        self.report.transfer = Some(TransferReport {
            octets: outcome.received.octets,
            seconds: outcome.took.as_secs_f64(),
            mbit_per_second: outcome.mbit_per_second(),
            limit_mbit_per_second: limit,
            sha256_sent: outcome.sent.sha256,
            sha256_received: outcome.received.sha256,
            intact,
        });
        if intact { Ok(()) } else { Err(LabError::Wrong("checksums differ".into())) }
    }

    /// Moves once so many octets have arrived; gives the period of the probe stream that the move
    /// could have hurt.
    fn hand_over(
        &mut self,
        lab: &Lab,
        node: &mut MobileNode,
        (probe, transfer): (&Probe, &Transfer),
        octets: u64,
        (from, to): (Visited, Visited),
    ) -> Result<Range<Duration>> {
        let step = match to {
            Visited::Net6 => "move back to the IPv6 network",
            Visited::Nat4 => "move to the IPv4 network behind the NAT",
        };
        wait::until("progress of the transfer", PATIENCE, || {
            Ok((transfer.progress() >= octets || transfer.ended()).then_some(()))
        })?;
        self.step(step);
        let begin = probe.now();
        let transferred_before = transfer.progress();
        lab.network.detach(0, from)?;
        lab.network.attach(0, to)?;
        let status = node.registered_at(to, PATIENCE)?;
        let registered = probe.now();
        wait::until("an answer to a probe after the move", PATIENCE, || {
            Ok(probe.answered_since(registered).then_some(()))
        })?;
        let end = probe.now();
        wait::until("progress of the transfer after the move", PATIENCE, || {
            Ok((transfer.progress() > transferred_before).then_some(()))
        })?;
        self.say(&format!("  connections go on after {:.0} ms", milliseconds(end - begin)));
        self.report.handovers.push(HandoverReport {
            from: from.name().into(),
            to: to.name().into(),
            gap_ms: 0.0,
            packets_lost: 0,
            packets_sent: 0,
            probe_period_ms: milliseconds(PROBE_PERIOD),
            registration_ms: status.handovers.last().map(|h| h.duration_ms),
            transferred_before,
        });
        // A little before and after, for packets under way.
        let margin = Duration::from_millis(50);
        Ok(begin.saturating_sub(margin)..end + margin)
    }

    /// Kills the home agent under traffic; `restart.json` says what that cost.
    fn restart(&mut self, lab: &mut Lab, who: &Subscriber) -> Result<()> {
        self.step("kill the home agent under traffic, and start it again");
        let mut node = lab.start_node(0, who, &NodeTuning::default())?;
        node.registered_at(Visited::Net6, PATIENCE)?;
        let folder = self.capture.parent().unwrap_or(Path::new("."));
        let report = restart::run_under_traffic(lab, who, &node, folder)?;
        self.say(&format!(
            "  {:.0} ms of silence; {} of {} bindings are back, {} sequence numbers used twice",
            report.gap_ms, report.bindings_after, report.bindings_before, report.numbers_used_twice
        ));
        node.stop()?;
        report.wrong().map_or(Ok(()), |what| Err(LabError::Wrong(what.into())))
    }

    fn deregister(&mut self, lab: &Lab, node: &mut MobileNode) -> Result<()> {
        self.step("de-register");
        let status = node.status();
        node.stop()?;
        let status = node.status().or(status);
        let registrations = status.map(|s| s.registrations).unwrap_or_default();
        let times = registrations.iter().map(|r| r.round_trip_ms).collect();
        self.report.bu_round_trip = RoundTrips::of(times);
        let left = lab.bindings()?;
        if left.is_empty() {
            return Ok(());
        }
        Err(LabError::Wrong(format!("{} binding is left after de-registration", left.len())))
    }

    fn collect_drops(&mut self, lab: &Lab) -> Result<()> {
        self.step("collect the drop counters");
        let rows = lab.drops()?.into_iter();
        self.report.drops =
            rows.map(|row| DropReport { reason: row.reason, packets: row.packets }).collect();
        Ok(())
    }

    fn judge_capture(&mut self, capture: Capture, subscriber: &Subscriber) -> Result<()> {
        self.step("let tshark judge the capture of the access link");
        let path = capture.finish()?;
        let inner: [IpAddr; 4] =
            [subscriber.home6.into(), subscriber.home4.into(), CN6.into(), CN4.into()];
        let findings = judge(&path, &inner)?;
        let median = RoundTrips::of(findings.signalling_round_trips_ms.clone()).median_ms;
        self.report.bu_round_trip.median_at_access_link_ms = median;
        let clean = findings.clean();
        let proof = findings.tls_handshakes > 0 && findings.signalling > 0;
        let first = [&findings.strangers, &findings.not_tls, &findings.cleartext]
            .into_iter()
            .find_map(|rows| rows.first().cloned());
        self.report.capture = Some(findings);
        match (clean, proof) {
            (true, true) => Ok(()),
            (true, false) => Err(LabError::Wrong("the capture shows no TLS or no PType 8".into())),
            (false, _) => Err(LabError::Wrong(format!(
                "the access link shows what it should not: {}",
                first.unwrap_or_default()
            ))),
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
