//! An hour on the move, compressed: one mobile node, one TCP connection that carries data both ways, and
//! everything that networks do to them, one thing after the other. Nothing is slept through; each
//! event ends when data flows again.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    config::{NodeTuning, Tuning},
    error::{LabError, Result, file},
    lab::{Lab, LabOptions},
    node::MobileNode,
    plan::{CN6, HOME_INTERFACE, Subscriber, Visited},
    traffic::{Echo, Probe, Stream},
    wait,
};

mod events;
mod log;
mod picture;
mod report;

use log::Log;
pub use report::{EventReport, Report};

/// Octets a second of each direction of the connection.
const RATE: u64 = 250_000;
/// Time between two probes.
const PERIOD: Duration = Duration::from_millis(10);
/// How long nothing is lost before the next event.
const CALM: Duration = Duration::from_secs(1);
/// Longest time for one event.
const PATIENCE: Duration = Duration::from_secs(40);

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Every event.
    Full,
    /// Those that take no time of their own.
    Short,
}

/// Brings up a lab of its own, roams in it, takes it down, and writes `report.json` and `roam.svg`
/// to `folder`.
///
/// # Errors
/// Where nothing can be written; what goes wrong in an event is in the report.
pub fn run(options: LabOptions, folder: &Path, length: Length) -> Result<Report> {
    fs::create_dir_all(folder).map_err(file(folder))?;
    let tuning = Tuning { home_on_link: true, ..options.tuning.clone() };
    let options = LabOptions { tuning, ..options };
    let up = Lab::up(options.clone());
    let report = up.and_then(|lab| during(&lab, folder, length));
    wait::forget_signal();
    for role in ["hac", "hearthd", "mn"] {
        let from = options.files.log_of(role);
        if from.exists() {
            let to = folder.join(format!("{role}.log"));
            fs::copy(&from, &to).map_err(file(to))?;
        }
    }
    Lab::down(&options)?;
    report
}

/// The same in a lab that is up, its home prefixes on the home link.
///
/// # Errors
/// As [`run`].
pub fn during(lab: &Lab, folder: &Path, length: Length) -> Result<Report> {
    fs::create_dir_all(folder).map_err(file(folder))?;
    let mut roamer = Roamer::start(lab)?;
    let outcome = roamer.all(length);
    let report = roamer.finish(outcome);
    let text = serde_json::to_string_pretty(&report)
        .map_err(|source| LabError::Json { from: "the report".into(), source })?;
    let path = folder.join("report.json");
    fs::write(&path, text + "\n").map_err(file(path))?;
    let path = folder.join("roam.svg");
    fs::write(&path, picture::draw(&report)).map_err(file(path))?;
    Ok(report)
}

struct Roamer<'a> {
    lab: &'a Lab,
    who: Subscriber,
    start: Instant,
    node: MobileNode,
    _echo: Echo,
    probe: Probe,
    stream: Stream,
    log: Log,
    events: Vec<EventReport>,
    /// When traffic went on that had rested on purpose in this event: no gap lies before that.
    rested_until: Option<Duration>,
}

impl<'a> Roamer<'a> {
    fn start(lab: &'a Lab) -> Result<Self> {
        let who = lab.subscribers[0].clone();
        lab.network.attach(0, Visited::Net6)?;
        lab.hac_reachable(0, Visited::Net6.home_agent())?;
        // A NAT's patience is compressed like the hour, and so is what the node finds out about it.
        let tuning = NodeTuning {
            nat_keepalive_min: 1.0,
            home_link: true,
            interfaces: vec![HOME_INTERFACE, "visit6", "visit4"],
            ..NodeTuning::default()
        };
        let mut node = lab.start_node(0, &who, &tuning)?;
        node.registered_at(Visited::Net6, PATIENCE)?;
        let namespace = lab.network.mobile_node(0)?;
        let home = SocketAddr::new(who.home6.into(), 0);
        let echo = Echo::start(&lab.network.cn, SocketAddr::new(CN6.into(), 0))?;
        let probe = Probe::start(namespace, home, echo.address(), PERIOD)?;
        wait::until("the first answer", PATIENCE, || {
            Ok(probe.answered_since(Duration::ZERO).then_some(()))
        })?;
        let there = (&lab.network.cn, SocketAddr::new(CN6.into(), 0));
        let stream = Stream::start((namespace, home), there, RATE)?;
        let start = Instant::now();
        let log = Log::start(start, node.status_file(), stream.meter());
        let mut roamer = Self {
            lab,
            who,
            start,
            node,
            _echo: echo,
            probe,
            stream,
            log,
            events: Vec::new(),
            rested_until: None,
        };
        roamer.progress(&[0, 0])?;
        Ok(roamer)
    }

    fn say(&self, text: &str) {
        let _ =
            writeln!(std::io::stdout(), "[{:6.2} s] {text}", self.start.elapsed().as_secs_f64());
    }

    /// Waits until data of the connection has arrived in both directions since then.
    fn progress(&mut self, before: &[u64; 2]) -> Result<()> {
        let stream = &self.stream;
        let waited = wait::until("progress of the connection", PATIENCE, || {
            if stream.is_broken() {
                return Err(LabError::Wrong("the connection is lost".into()));
            }
            let now = stream.arrived();
            Ok((now[0] > before[0] && now[1] > before[1]).then_some(()))
        });
        waited.map_err(|error| self.with_words_of_the_node(error))
    }

    fn with_words_of_the_node(&self, error: LabError) -> LabError {
        let log = self.node.program.log();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n");
        LabError::Wrong(format!("{error}; hearth-mn said last:\n{last}"))
    }

    /// One event: something is done to the networks, `there` waits for what the node makes of it, and
    /// then data flows again both ways.
    fn event(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Self) -> Result<()>,
        there: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.calm()?;
        self.say(name);
        let from = self.log.path_now(&self.node);
        let (at, begin) = (self.start.elapsed(), self.probe.now());
        let handovers = self.handovers();
        change(self)?;
        let before = self.stream.arrived();
        there(self)?;
        let registered = self.probe.now();
        let probe = &self.probe;
        let answered = wait::until("an answer to a probe", PATIENCE, || {
            Ok(probe.answered_since(registered).then_some(()))
        });
        answered.map_err(|error| self.with_words_of_the_node(error))?;
        self.progress(&before)?;
        let end = self.probe.now();
        // Late answers of the event's own packets are waited for: a round trip is milliseconds here.
        let settled = end + 10 * PERIOD;
        wait::until("the last answers", PATIENCE, || {
            Ok((self.probe.now() > settled).then_some(()))
        })?;
        let samples = self.probe.so_far();
        let rested = self.rested_until.take();
        let period = rested.unwrap_or(begin)..end;
        let gap = match rested {
            Some(at) => samples.until_answer(at).unwrap_or_default(),
            None => samples.gap(&period),
        };
        let moved = (self.handovers() > handovers).then(|| self.node.status()).flatten();
        let registration = moved.and_then(|status| status.handovers.last().map(|h| h.duration_ms));
        let event = EventReport {
            name: name.into(),
            at_s: at.as_secs_f64(),
            until_s: self.start.elapsed().as_secs_f64(),
            from,
            to: self.log.path_now(&self.node),
            gap_ms: gap.as_secs_f64() * 1e3,
            packets_lost: samples.lost(&period),
            packets_sent: samples.sent(&period),
            registration_ms: registration,
        };
        self.say(&format!(
            "  {} -> {}: gap {:.0} ms, {} of {} packets lost",
            event.from, event.to, event.gap_ms, event.packets_lost, event.packets_sent
        ));
        self.events.push(event);
        Ok(())
    }

    /// Lets all traffic rest, or go on.
    fn rest(&mut self, resting: bool) {
        self.rested_until = (!resting).then(|| self.probe.now());
        self.stream.rest(resting);
        self.probe.rest(resting);
    }

    /// Waits until data has flowed for a while without a loss: what follows is the event's own.
    fn calm(&self) -> Result<()> {
        let begin = self.probe.now();
        wait::until("a calm second", PATIENCE, || {
            let now = self.probe.now();
            let since = begin.max(now.saturating_sub(CALM));
            let settled = now.saturating_sub(5 * PERIOD);
            let calm = now >= begin + CALM && self.probe.so_far().lost(&(since..settled)) == 0;
            Ok(calm.then_some(()))
        })
    }

    fn handovers(&self) -> usize {
        self.node.status().map_or(0, |status| status.handovers.len())
    }

    /// Waits until the node is registered at an address of its own.
    fn at(&mut self, care_of: IpAddr) -> Result<()> {
        let what = format!("the registration at {care_of}");
        let there = self.node.until(&what, PATIENCE, |status| {
            status.state == "registered" && status.care_of_address == Some(care_of)
        });
        there.map(drop)
    }

    fn at_visited(&mut self, visited: Visited) -> Result<()> {
        self.node.registered_at(visited, PATIENCE).map(drop)
    }

    /// The port that the home agent sends to.
    fn port(&self) -> Result<u16> {
        let bindings = self.lab.bindings()?;
        let own = bindings.iter().find(|binding| binding.home_address == self.who.home6);
        Ok(own.map_or(0, |binding| binding.care_of_port))
    }

    fn finish(mut self, outcome: Result<()>) -> Report {
        let seconds = self.start.elapsed().as_secs_f64();
        let stopped = match &outcome {
            Ok(()) => self.stream.finish(PATIENCE),
            Err(_) => Ok(self.stream.arrived()),
        };
        let counted = stopped.as_ref().copied().unwrap_or_default();
        let samples = self.probe.finish();
        let (timeline, throughput) = self.log.finish();
        let left = self.node.stop();
        let error = outcome.err().or(stopped.err()).or(left.err());
        Report {
            ok: error.is_none(),
            error: error.map(|error| error.to_string()),
            seconds,
            octets_down: counted[0],
            octets_up: counted[1],
            probe_period_ms: PERIOD.as_secs_f64() * 1e3,
            duplicates: samples.duplicated(),
            events: self.events,
            timeline,
            throughput,
        }
    }
}
