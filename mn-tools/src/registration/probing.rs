//! Whether the way in use still carries, and whether one that failed does so again.
//!
//! Read first: RFC 5847 s.3 (Heartbeat), RFC 6275 s.11.8, RFC 5555 s.4.3; readings R-28, R-32, R-33.
//!
//! A network that is gone says so by netlink. One that swallows packets does not: data goes out and
//! nothing comes back. That is a suspicion, no proof (a stream of datagrams in one direction looks
//! the same), so the home agent is asked. What with?
//!
//! - **A Heartbeat** is the cheapest packet that both ends authenticate. The home agent answers it to
//!   where it came from and changes nothing (it keeps no state of it, writes nothing down), so it can go
//!   by *any* path: by one that is not registered too, without moving the binding there.
//! - **A Binding Update** is the only thing that also repairs: a NAT that deals out another port
//!   lets Heartbeats through and keeps data out. So behind a NAT a suspicion is answered with a
//!   refresh at once; and everywhere where Heartbeats have never been answered (RFC 6618 does not
//!   ask for them) or are not any more.
//! - An echo request through the tunnel would need an answer of the home agent's kernel, which a
//!   firewall may forbid, and says no more than a Heartbeat. (It is the means to test NAT mappings:
//!   `keepalive`.)
//!
//! ```text
//!   data out, none in for PATIENCE --> Heartbeat, Heartbeat --> refresh on the same path
//!                     behind a NAT -------------------------------^      | no answer in a moment
//!                                                                        v
//!                                              Heartbeats on all paths ("survey")
//!                                                    |                        |
//!                                     the same answers: once more      another answers: handover
//! ```
//!
//! A path that failed is asked by Heartbeats at growing intervals, and wanted again after
//! [`GOOD_ANSWERS`] in a row; each time that it fails soon again the first pause doubles, so two bad
//! paths do not make a node flap. Where nothing answers nothing moves but the binding updates of
//! s.11.8 with their backoff.

use std::time::{Duration, Instant};

use hearth_wire::Spi;

use super::{Action, Purpose, Registration, Report};
use crate::path::Path;

/// Data that is not answered for so long makes suspicious; at least, and in round-trip times.
const PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_ROUND_TRIPS: u32 = 3;
/// The most, as suspicions turn out to be wrong one after the other.
const MAX_PATIENCE: Duration = Duration::from_secs(8);
/// Heartbeats on a suspicion before a Binding Update takes over.
const HEARTBEATS: u32 = 2;
/// Patience with an answer: so many round-trip times, within these bounds.
const WAIT_ROUND_TRIPS: u32 = 3;
const WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// The round-trip time of a path that nothing is known of.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(150);
/// How often the counters are looked at: while a mapping is tested, while data flows, at the least.
const LOOK_TESTING: Duration = Duration::from_millis(50);
const LOOK_BUSY: Duration = Duration::from_millis(200);
const LOOK_IDLE: Duration = Duration::from_secs(4);
/// While data goes out and nothing answers on any path.
const SURVEY_AGAIN: Duration = Duration::from_secs(2);
/// Answers in a row after which a path that failed is wanted again, and the time between them.
const GOOD_ANSWERS: u32 = 2;
const BETWEEN_ANSWERS: Duration = Duration::from_secs(1);
/// First pause before a path that failed is asked again.
const FIRST_CHECK: Duration = Duration::from_secs(2);
/// A path that fails within this time after it failed last has failed again.
const FLAP: Duration = Duration::from_secs(600);
/// Heartbeats that are remembered, and failures.
const MAX_PROBES: usize = 32;
const MAX_FLAPS: usize = 16;
/// An answer that is later than this is none.
const LATEST: Duration = Duration::from_secs(10);

/// Packets that the data path has carried so far; those received have been authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// To the home agent.
    pub sent: u64,
    /// From it; 0 where nobody knows by which of several paths they came.
    pub received: u64,
}

/// A Heartbeat to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// By this path.
    pub path: Path,
    /// Under this SA.
    pub spi: Spi,
    /// Its number.
    pub seq: u32,
}

/// A path that is left alone while there is another.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) path: Path,
    /// Where Heartbeats are not answered: when it gets another chance.
    pub(super) until: Instant,
    next: Instant,
    pause: Duration,
    asked: bool,
    answers: u32,
}

#[derive(Debug, Default)]
pub(super) struct Probing {
    next_seq: u32,
    sent: Vec<(u32, Path, Instant)>,
    /// The home agent answers Heartbeats.
    answered: bool,
    /// The path that it was asked on for the first time.
    asked: Option<Path>,
    round_trip: Option<Duration>,
    seen: Option<Traffic>,
    look: Duration,
    look_at: Option<Instant>,
    /// Since when data goes out and nothing comes.
    unanswered_since: Option<Instant>,
    last_sent: Option<Instant>,
    heartbeats: u32,
    next: Option<Instant>,
    /// How often in a row the home agent answered although no data came.
    wrong: u32,
    survey_at: Option<Instant>,
    surveyed: Option<Instant>,
    /// Opened for a question only.
    opened: Vec<Path>,
    flaps: Vec<(Path, u32, Instant)>,
}

impl Probing {
    /// Patience with an answer of the home agent.
    fn wait(&self) -> Duration {
        let round_trip = self.round_trip.unwrap_or(UNKNOWN_ROUND_TRIP);
        (round_trip * WAIT_ROUND_TRIPS).clamp(WAIT.0, WAIT.1)
    }

    fn patience(&self) -> Duration {
        let round_trip = self.round_trip.unwrap_or(UNKNOWN_ROUND_TRIP);
        let patience = PATIENCE.max(round_trip * PATIENCE_ROUND_TRIPS);
        super::back_off(patience, self.wrong, MAX_PATIENCE)
    }

    /// The suspicion was wrong, or is dealt with.
    fn calm(&mut self) {
        (self.unanswered_since, self.next, self.heartbeats) = (None, None, 0);
    }

    pub(super) fn on_round_trip(&mut self, round_trip: Duration) {
        let before = self.round_trip.unwrap_or(round_trip);
        self.round_trip = Some((before * 7 + round_trip) / 8);
    }

    /// When the next question on a suspicion is due.
    fn suspicion(&self) -> Option<Instant> {
        self.next.or_else(|| self.unanswered_since.map(|since| since + self.patience()))
    }
}

impl Registration {
    /// What the data path has carried so far. Whoever calls this, does it at least at every
    /// [`Self::deadline`]; where nobody does, no path is watched.
    pub fn on_traffic(&mut self, traffic: Traffic, now: Instant) {
        let it = &mut self.probing;
        let Some(seen) = it.seen.replace(traffic) else {
            it.look_at = Some(now + LOOK_BUSY);
            return;
        };
        let (sent, received) = (traffic.sent != seen.sent, traffic.received != seen.received);
        if received {
            it.calm();
            it.wrong = 0;
        } else if sent {
            it.unanswered_since.get_or_insert(now);
        }
        if sent {
            it.last_sent = Some(now);
        }
        let due = it.look_at.is_none_or(|at| at <= now);
        if sent || received || due {
            it.look = if sent || received {
                LOOK_BUSY
            } else {
                (it.look * 2).clamp(LOOK_BUSY, LOOK_IDLE)
            };
            it.look_at = Some(now + it.look);
        }
        self.keepalive_traffic(sent, received, now);
        if self.keepalive_is_testing() {
            self.probing.look_at = Some(now + LOOK_TESTING);
        }
        self.introduce(now);
    }

    /// Asks once whether the home agent answers Heartbeats, and how fast.
    fn introduce(&mut self, now: Instant) {
        let Some(binding) = &self.binding else { return };
        if self.exchange.is_some() || self.stopping.is_some() {
            return;
        }
        let known = self.probing.asked.as_ref();
        if known.is_none_or(|asked| asked.home_agent != binding.path.home_agent) {
            let path = binding.path.clone();
            self.probing.asked = Some(path.clone());
            self.probe(path, now);
        }
    }

    /// A Heartbeat was answered.
    pub fn on_heartbeat(&mut self, seq: u32, now: Instant) {
        let it = &mut self.probing;
        let Some(at) = it.sent.iter().position(|(sent, ..)| *sent == seq) else { return };
        let (_, path, sent_at) = it.sent.swap_remove(at);
        let round_trip = now.saturating_duration_since(sent_at);
        if round_trip > LATEST {
            return;
        }
        it.answered = true;
        self.on_door(&path, now);
        let it = &mut self.probing;
        let in_use = self.binding.as_ref().is_some_and(|binding| binding.path == path);
        if in_use {
            it.on_round_trip(round_trip);
            if it.unanswered_since.is_some() {
                it.wrong = it.wrong.saturating_add(1);
                it.calm();
            }
        }
        match &self.exchange {
            Some(exchange)
                if matches!(exchange.purpose, Purpose::Deregistration | Purpose::Return) => {}
            Some(exchange) if self.probing.surveyed.is_some() => {
                self.probing.surveyed = None;
                if exchange.path == path {
                    self.transmit(now);
                } else {
                    self.fail_over_to(path, now);
                }
            }
            _ => self.on_check(&path, now),
        }
    }

    /// A path that failed has answered.
    fn on_check(&mut self, path: &Path, now: Instant) {
        let Some(failed) = self.failed.iter_mut().find(|failed| failed.path == *path) else {
            return;
        };
        failed.asked = false;
        failed.answers += 1;
        if failed.answers < GOOD_ANSWERS {
            failed.next = now + BETWEEN_ANSWERS;
            return;
        }
        self.failed.retain(|failed| failed.path != *path);
        self.report(Report::PathBack(path.clone()));
        self.reconsider(now);
    }

    /// Leaves a path alone for a while; the longer, the sooner it failed again.
    pub(super) fn mark_failed(&mut self, path: &Path, now: Instant) {
        let it = &mut self.probing;
        it.flaps.retain(|(_, _, at)| now.saturating_duration_since(*at) < FLAP);
        let before = it.flaps.iter().position(|(other, ..)| other == path);
        let count = before.map_or(0, |at| it.flaps.swap_remove(at).1);
        it.flaps.push((path.clone(), count.saturating_add(1), now));
        if it.flaps.len() > MAX_FLAPS {
            it.flaps.remove(0);
        }
        let longest = self.timers.failed_path_pause;
        let pause = super::back_off(FIRST_CHECK, count, longest);
        self.failed.retain(|failed| failed.path != *path);
        let (until, next) = (now + longest, now + pause);
        let path = path.clone();
        self.failed.push(Failed { path, until, next, pause, asked: false, answers: 0 });
    }

    /// What is due of all this.
    pub(super) fn probing_timer(&mut self, now: Instant) {
        if self.probing.seen.is_none() {
            return;
        }
        self.suspect(now);
        if self.probing.survey_at.is_some_and(|at| at <= now) {
            self.survey(now);
        }
        self.check_failed(now);
        self.close_opened();
    }

    pub(super) fn probing_deadline(&self) -> Option<Instant> {
        let it = &self.probing;
        it.seen?;
        let bound = self.binding.is_some();
        let suspicion = it.suspicion().filter(|_| bound && self.exchange.is_none());
        let checks = self.failed.iter().map(|failed| failed.next).filter(|_| it.answered);
        let survey = it.survey_at.filter(|_| self.exchange.is_some());
        let look = it.look_at.filter(|_| bound);
        [suspicion, survey, look].into_iter().flatten().chain(checks).min()
    }

    fn suspect(&mut self, now: Instant) {
        let Some(binding) = &self.binding else { return };
        let due = self.probing.suspicion().is_some_and(|at| at <= now);
        if !due || self.exchange.is_some() || !self.paths.contains(&binding.path) {
            if due {
                self.probing.calm();
            }
            return;
        }
        let (path, is_nat) = (binding.path.clone(), binding.nat == Some(true));
        let it = &mut self.probing;
        if it.answered && !is_nat && it.heartbeats < HEARTBEATS {
            it.heartbeats += 1;
            it.next = Some(now + it.wait() * it.heartbeats);
            return self.probe(path, now);
        }
        if it.heartbeats > 0 {
            self.report(Report::PathSilent(path.clone()));
        }
        self.probing.calm();
        self.probing.wrong = self.probing.wrong.saturating_add(1);
        let Some(spi) = self.associations.last().map(|association| association.spi) else { return };
        self.begin(Purpose::Refresh, path, spi, now, now);
        self.probing.survey_at = Some(now + self.probing.wait());
    }

    /// Asks on all paths at once which of them carry, as long as an exchange is not answered.
    pub(super) fn survey(&mut self, now: Instant) {
        self.probing.survey_at = None;
        let under_way = self.exchange.as_ref().is_some_and(|exchange| {
            !matches!(exchange.purpose, Purpose::Deregistration | Purpose::Return)
        });
        if self.probing.seen.is_none() || !under_way {
            return;
        }
        for path in self.paths.clone() {
            self.probe(path, now);
        }
        let flows = self.probing.last_sent.is_some_and(|at| now - at < 2 * SURVEY_AGAIN);
        self.probing.survey_at = flows.then(|| now + SURVEY_AGAIN);
        self.probing.surveyed = Some(now);
    }

    fn check_failed(&mut self, now: Instant) {
        if !self.probing.answered || self.stopping.is_some() {
            return;
        }
        let longest = self.timers.failed_path_pause;
        let mut ask = Vec::new();
        for failed in self.failed.iter_mut().filter(|failed| failed.next <= now) {
            if std::mem::replace(&mut failed.asked, true) {
                failed.answers = 0;
                failed.pause = super::back_off(failed.pause, 1, longest);
            }
            failed.next = now + failed.pause;
            ask.push(failed.path.clone());
        }
        for path in ask {
            self.probe(path, now);
        }
    }

    /// Sends a Heartbeat on a path.
    pub(super) fn probe(&mut self, path: Path, now: Instant) {
        let Some(spi) = self.associations.last().map(|association| association.spi) else { return };
        if !self.open.contains(&path) {
            self.probing.opened.push(path.clone());
        }
        self.open_path(&path);
        let it = &mut self.probing;
        it.next_seq = it.next_seq.wrapping_add(1);
        it.sent.retain(|(_, _, at)| now.saturating_duration_since(*at) <= LATEST);
        if it.sent.len() >= MAX_PROBES {
            it.sent.remove(0);
        }
        it.sent.push((it.next_seq, path.clone(), now));
        let seq = it.next_seq;
        self.keepalive_refreshed(&path, now);
        self.actions.push_back(Action::Probe(Probe { path, spi, seq }));
    }

    /// Closes what was opened for a question, once that is over.
    fn close_opened(&mut self) {
        if self.exchange.is_some() {
            return;
        }
        let binding = self.binding.as_ref().map(|binding| binding.path.clone());
        let (mut keep, mut close) = (Vec::new(), Vec::new());
        for path in std::mem::take(&mut self.probing.opened) {
            let used = binding.as_ref() == Some(&path)
                || self.lingering.iter().any(|(lingering, _)| *lingering == path);
            let asked = self.is_door(&path) || self.failed.iter().any(|failed| failed.path == path);
            match (used, asked) {
                (true, _) => {}
                (false, true) => keep.push(path),
                (false, false) => close.push(path),
            }
        }
        self.probing.opened = keep;
        close.iter().for_each(|path| self.close_path(path));
    }

    /// How long an answer of the home agent may take.
    pub(super) fn wait(&self) -> Duration {
        self.probing.wait()
    }

    /// An exchange has been answered, or given up.
    pub(super) fn end_survey(&mut self) {
        (self.probing.survey_at, self.probing.surveyed) = (None, None);
    }

    /// The home agent accepted a registration by the path that is used now.
    /// `round_trip` is that to the home agent, unless other questions may have been between.
    pub(super) fn on_path_in_use(&mut self, round_trip: Option<Duration>) {
        if let Some(round_trip) = round_trip {
            self.probing.on_round_trip(round_trip);
        }
        self.probing.calm();
        self.end_survey();
    }

    pub(super) const fn is_watched(&self) -> bool {
        self.probing.seen.is_some()
    }

    /// The counters are to be looked at soon.
    pub(super) fn watch_closely(&mut self, now: Instant) {
        self.probing.look_at = Some(now + LOOK_TESTING);
    }

    /// Numbers its Heartbeats from `first` on: answers tell the care-of addresses of a node apart.
    #[must_use]
    pub fn numbering_probes_from(mut self, first: u32) -> Self {
        self.probing.next_seq = first;
        self
    }
}
