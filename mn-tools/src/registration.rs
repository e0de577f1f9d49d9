//! Registration with the home agent: a state machine without clock, socket or keys.
//!
//! Read first: RFC 6275 s.11.7.1, 11.7.3, 11.7.4, 11.8; RFC 5555 s.4.2 to 4.4; readings R-15, R-23,
//! R-31, R-36, R-43.
//!
//! Events go in with the time they happened at, [`Action`]s come out of [`Registration::action`],
//! and [`Registration::deadline`] says when [`Registration::on_timer`] wants to be called.
//!
//! ```text
//!   on_paths ------+                      +--> Open, Close     sockets of care-of addresses
//!   on_association-+                      +--> Send            a Binding Update
//!   on_ack --------+-->  Registration  ---+--> Carry           where data goes
//!   on_timer ------+   (binding, exchange)+--> Bootstrap       a new SA is wanted
//!   on_stop -------+                      +--> Report, Stopped
//! ```
//!
//! A handover is make-before-break: data stays on the old path until the home agent has accepted
//! the new one, unless the old path is gone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hearth_wire::Spi;

use crate::path::Path;

mod ack;
mod bootstrap_timer;
mod home;
mod keepalive;
mod nat;
mod probing;
mod sequence;
mod timer;
mod types;

#[cfg(test)]
mod tests;

pub use ack::Ack;
use bootstrap_timer::BootstrapTimer;
use home::Home;
use keepalive::Keepalive;
pub use keepalive::Why;
use probing::{Failed, Probing};
pub use probing::{Probe, Traffic};
pub use sequence::Sequence;
pub use types::{Action, Association, Binding, Purpose, Registered, Report, Timers, Update};

/// Unanswered Binding Updates, over all paths, after which the SA itself is doubted for the first
/// time: a home agent that does not know it stays silent. As long as no answer comes, each doubt
/// doubles the number that it takes for the next: a new SA is no cure for a home agent that is
/// dead, and all its mobile nodes together would use up its SPIs and flood the HAC.
pub const SILENT_AFTER: u32 = 6;

/// How long a node whose binding was revoked leaves its home agent alone.
const REVOKED_PAUSE: Duration = Duration::from_secs(30);

/// SAs that are kept at a time.
const MAX_ASSOCIATIONS: usize = 4;

/// A Binding Update on its way, with its retransmissions.
#[derive(Debug, Clone)]
struct Exchange {
    purpose: Purpose,
    path: Path,
    spi: Spi,
    /// Outstanding transmissions: sequence number, time, lifetime asked for.
    sent: Vec<(u16, Instant, u16)>,
    tries: u32,
    timeout: Duration,
    deadline: Instant,
    noticed: Instant,
    /// Status 135 in a row.
    adopted: u32,
    /// What a withdrawal is about.
    withdraws: Vec<u16>,
}

/// The state machine.
#[derive(Debug)]
pub struct Registration {
    timers: Timers,
    sequence: Sequence,
    /// Oldest first; the last one is used for Binding Updates.
    associations: Vec<Association>,
    /// Older SAs that a Binding Update under a newer one has replaced.
    retiring: Vec<(Spi, Instant)>,
    /// Usable paths, the most wanted first.
    paths: Vec<Path>,
    failed: Vec<Failed>,
    probing: Probing,
    home: Option<Home>,
    /// Of paths behind a NAT, the oldest first.
    keepalives: Vec<(Path, Keepalive)>,
    open: Vec<Path>,
    lingering: Vec<(Path, Instant)>,
    binding: Option<Binding>,
    exchange: Option<Exchange>,
    /// Binding Updates in a row without an answer, under the newest SA.
    unanswered: u32,
    /// SAs fetched since the last answer because there was none.
    doubts: u32,
    bootstrap: BootstrapTimer,
    carry: Option<(Path, Spi)>,
    /// Care-of addresses of this node, by Binding ID, that the home agent is to forget.
    withdrawals: Vec<u16>,
    revoked_until: Option<Instant>,
    had_network: bool,
    stopping: Option<Instant>,
    stopped: bool,
    actions: VecDeque<Action>,
}

impl Registration {
    /// A node without an SA. `sequence` is random, as it knows of no earlier Binding Update.
    #[must_use]
    pub fn new(timers: Timers, sequence: u16) -> Self {
        Self::sharing(timers, Sequence::new(sequence))
    }

    /// The same, its sequence numbers shared with the other care-of addresses of this node.
    #[must_use]
    pub fn sharing(timers: Timers, sequence: Sequence) -> Self {
        Self {
            timers,
            sequence,
            associations: Vec::new(),
            retiring: Vec::new(),
            paths: Vec::new(),
            failed: Vec::new(),
            probing: Probing::default(),
            home: None,
            keepalives: Vec::new(),
            open: Vec::new(),
            lingering: Vec::new(),
            binding: None,
            exchange: None,
            unanswered: 0,
            doubts: 0,
            bootstrap: BootstrapTimer::default(),
            carry: None,
            withdrawals: Vec::new(),
            revoked_until: None,
            had_network: true,
            stopping: None,
            stopped: false,
            actions: VecDeque::new(),
        }
    }

    /// The next thing to do, if there is one.
    pub fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The current binding.
    #[must_use]
    pub fn binding(&self) -> Option<&Binding> {
        self.binding.as_ref()
    }

    /// Why a Binding Update is on its way, if one is.
    #[must_use]
    pub fn pending(&self) -> Option<Purpose> {
        self.exchange.as_ref().map(|exchange| exchange.purpose)
    }

    /// Asks for the first SA.
    pub fn start(&mut self) {
        self.request_bootstrap();
    }

    /// The ways to the home agent have changed; the most wanted first.
    pub fn on_paths(&mut self, paths: Vec<Path>, now: Instant) {
        self.bootstrap.network_changed(now);
        if paths == self.paths {
            return;
        }
        self.paths = paths;
        self.failed.retain(|failed| self.paths.contains(&failed.path));
        if self.stopping.is_none() {
            let is_lost = |exchange: &Exchange| {
                exchange.purpose != Purpose::Return && !self.paths.contains(&exchange.path)
            };
            if self.exchange.as_ref().is_some_and(is_lost) {
                self.drop_exchange();
            }
            self.reconsider(now);
        }
    }

    /// The HAC issued a new SA.
    pub fn on_association(&mut self, association: Association, now: Instant) {
        self.bootstrap.succeeded();
        self.associations.push(association);
        // The new SA is tried as briskly as the first, but doubted as late as the last (`doubts`).
        self.unanswered = 0;
        // While the home agent is silent each doubt brings another SA; the first of them goes.
        let in_use = self.binding.as_ref().map(|binding| binding.spi);
        if self.associations.len() > MAX_ASSOCIATIONS
            && let Some(at) = self.associations.iter().position(|old| Some(old.spi) != in_use)
        {
            let spi = self.associations.remove(at).spi;
            self.actions.push_back(Action::Forget(spi));
        }
        self.reconsider(now);
    }

    /// The bootstrap failed. `retry_after` is what a 503 asked for; `by_network` says that the HAC
    /// was not reached, so that a change of the network is worth another try; `jitter` is in 0..1.
    pub fn on_bootstrap_failed(
        &mut self,
        retry_after: Option<Duration>,
        by_network: bool,
        jitter: f64,
        now: Instant,
    ) -> Duration {
        self.bootstrap.failed(&self.timers, retry_after, by_network, jitter, now)
    }

    /// The machine slept so long: what ends, ends that much earlier for a clock that stood still.
    /// A NAT may have forgotten this node meanwhile, so the binding is refreshed at once.
    pub fn on_sleep(&mut self, slept: Duration, now: Instant) {
        let earlier = |at: Instant| at.checked_sub(slept).unwrap_or(now);
        if let Some(binding) = &mut self.binding {
            binding.expires = earlier(binding.expires);
            binding.refresh_at = earlier(binding.refresh_at).min(now);
        }
        self.failed.clear();
        self.bootstrap.network_changed(now);
    }

    /// The clock was set: what the HAC, or its certificate, said about time is judged anew.
    pub fn on_clock(&mut self, now: Instant) {
        self.bootstrap.clock_changed(now);
    }

    /// When an SA ends, by a clock that was set meanwhile (R-43).
    pub fn on_validity(&mut self, changed: Association) {
        if let Some(held) = self.associations.iter_mut().find(|held| held.spi == changed.spi) {
            *held = changed;
        }
    }

    /// A sequence or volume limit of this SA comes near (R-23).
    pub fn on_worn(&mut self, spi: Spi) {
        if self.associations.last().is_some_and(|association| association.spi == spi) {
            self.request_bootstrap();
        }
    }

    /// A Binding Refresh Request under this SA (RFC 6275 s.11.7.4).
    pub fn on_refresh_request(&mut self, now: Instant) {
        if self.exchange.is_none() && self.binding.is_some() {
            self.refresh(now);
        }
    }

    /// A Binding Error, status 1: the home agent knows no binding for the home address.
    pub fn on_binding_error(&mut self, now: Instant) {
        if self.exchange.is_none() && self.binding.take().is_some() {
            self.report(Report::BindingLost);
            self.reconsider(now);
        }
    }

    /// Has the home agent told that these other care-of addresses can't be reached any more, as
    /// soon as this one is registered.
    pub fn withdraw(&mut self, bids: &[u16], now: Instant) {
        self.withdrawals.extend(bids);
        self.withdrawals.sort_unstable();
        self.withdrawals.dedup();
        self.reconsider(now);
    }

    /// This care-of address can be reached again: whatever was to be told of it is not any more.
    pub fn keep(&mut self, bid: u16) {
        self.withdrawals.retain(|other| *other != bid);
        let stale = self.exchange.as_ref().is_some_and(|exchange| {
            exchange.purpose == Purpose::Withdrawal && exchange.withdraws.contains(&bid)
        });
        if stale {
            self.exchange = None;
        }
    }

    /// Another care-of address has told the home agent that this one can't be reached.
    pub fn withdrawn(&mut self) {
        self.lose_binding();
    }

    /// Whether an SA is held, in use or for what is still under way under it.
    #[must_use]
    pub fn holds(&self, spi: Spi) -> bool {
        self.associations.iter().any(|association| association.spi == spi)
            || self.retiring.iter().any(|(retiring, _)| *retiring == spi)
    }

    /// The home agent sends this node to the HAC: for another home agent (RFC 5142).
    pub fn on_switch(&mut self) {
        self.request_bootstrap();
    }

    /// The home agent has revoked the binding (RFC 5846 s.7.3). After a pause it is asked again:
    /// whoever does not want this node at all refuses that.
    pub fn on_revocation(&mut self, now: Instant) {
        if self.stopping.is_some() || self.stopped {
            return;
        }
        self.exchange = None;
        if self.binding.is_some() {
            self.report(Report::BindingRevoked);
            self.lose_binding();
        }
        self.revoked_until = Some(now + REVOKED_PAUSE);
    }

    /// De-registers and stops.
    pub fn on_stop(&mut self, now: Instant) {
        if self.stopping.is_some() || self.stopped {
            return;
        }
        self.stopping = Some(now + self.timers.stop_timeout);
        let known = match (&self.exchange, &self.binding) {
            (Some(exchange), _) => Some((exchange.path.clone(), exchange.spi)),
            (None, Some(binding)) if self.paths.contains(&binding.path) => {
                Some((binding.path.clone(), binding.spi))
            }
            (None, Some(binding)) => self.target().map(|path| (path, binding.spi)),
            (None, None) => None,
        };
        match known {
            Some((path, spi)) => self.begin(Purpose::Deregistration, path, spi, now, now),
            None => self.finish(),
        }
    }

    /// Begins an exchange where the state asks for one.
    fn reconsider(&mut self, now: Instant) {
        let idle = self.stopping.is_some() || self.stopped;
        if idle || self.revoked_until.is_some_and(|until| now < until) {
            return;
        }
        let Some(spi) = self.associations.last().map(|association| association.spi) else {
            self.request_bootstrap();
            return;
        };
        if self.come_home(spi, now) {
            return;
        }
        let Some(target) = self.target() else {
            self.drop_exchange();
            if std::mem::replace(&mut self.had_network, false) {
                self.set_carry(None);
                self.report(Report::NoNetwork);
            }
            return;
        };
        self.had_network = true;
        let under_way = self.exchange.as_ref().map(|e| (e.path == target, e.spi == spi));
        let purpose = match &self.binding {
            None => Purpose::Initial,
            Some(binding) if binding.path != target => Purpose::Handover,
            Some(binding) if binding.spi != spi => Purpose::NewSa,
            // The home agent may have taken the update for a path that is no longer wanted.
            Some(_) if under_way.is_some_and(|(path, _)| !path) => Purpose::Refresh,
            Some(_) => {
                self.carry_binding();
                if self.withdrawals.is_empty() || self.exchange.is_some() {
                    return;
                }
                Purpose::Withdrawal
            }
        };
        if under_way != Some((true, true)) {
            self.begin(purpose, target, spi, now, now);
        }
    }

    /// The path to use: the most wanted one that has not failed lately.
    fn target(&self) -> Option<Path> {
        self.paths.iter().find(|path| !self.has_failed(path)).or(self.paths.first()).cloned()
    }

    fn has_failed(&self, path: &Path) -> bool {
        self.failed.iter().any(|failed| failed.path == *path)
    }

    fn begin(&mut self, purpose: Purpose, path: Path, spi: Spi, noticed: Instant, now: Instant) {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.path != path) {
            self.drop_exchange();
        }
        self.open_path(&path);
        match purpose {
            // RFC 6275 s.11.5.5: nothing is sent from the home address by the home link yet.
            Purpose::Return => self.stop_lost_carry(),
            _ => self.carry_over(&path),
        }
        self.report(Report::Registering(purpose, path.clone()));
        let first = match self.binding {
            None => self.timers.first_registration_timeout,
            Some(_) => self.timers.initial_timeout,
        };
        // Every round over all paths without an answer doubles what the next one starts with.
        let per_round =
            self.timers.attempts_per_path * u32::try_from(self.paths.len().max(1)).unwrap_or(1);
        let timeout = back_off(first, self.unanswered / per_round, self.timers.max_timeout);
        self.exchange = Some(Exchange {
            purpose,
            path,
            spi,
            sent: Vec::new(),
            tries: 0,
            timeout,
            deadline: now,
            noticed,
            adopted: 0,
            withdraws: match purpose {
                Purpose::Withdrawal => self.withdrawals.clone(),
                _ => Vec::new(),
            },
        });
        self.transmit(now);
    }

    /// Sends the exchange's Binding Update (again), with a sequence number of its own
    /// (RFC 6275 s.11.8).
    fn transmit(&mut self, now: Instant) {
        let Some(exchange) = &mut self.exchange else { return };
        let validity = self.associations.iter().find(|a| a.spi == exchange.spi);
        let lifetime = match (exchange.purpose, validity) {
            (Purpose::Deregistration | Purpose::Withdrawal | Purpose::Return, _) | (_, None) => 0,
            (_, Some(association)) => {
                let left = association.valid_until.saturating_duration_since(now);
                units(self.timers.lifetime.min(left))
            }
        };
        let seq = self.sequence.draw();
        exchange.sent.push((seq, now, lifetime));
        let path = exchange.path.clone();
        exchange.tries += 1;
        exchange.deadline = now + exchange.timeout;
        let update = Update {
            path: exchange.path.clone(),
            spi: exchange.spi,
            seq,
            lifetime,
            purpose: exchange.purpose,
            withdraws: exchange.withdraws.clone(),
        };
        self.actions.push_back(Action::Send(update));
        self.keepalive_refreshed(&path, now);
    }

    /// Moves data to `path` at once where the path of the binding is gone, or carries nothing any
    /// more. The home agent accepts protected data from any address (R-28).
    ///
    /// Over IPv4 data waits for the acknowledgement. A NAT that sees the first two packets of a
    /// flow at the same instant may give it two mappings, of which one soon ends (Linux' clash
    /// resolution: after a second). Would the Binding Update have gone by that one, packets to the
    /// mobile node would end with it; alone, it makes the only mapping.
    fn carry_over(&mut self, path: &Path) {
        let Some(binding) = &self.binding else { return };
        if !self.paths.contains(&binding.path) && self.stopping.is_none() {
            let way = path.care_of.is_ipv6().then(|| (path.clone(), binding.spi));
            self.set_carry(way);
        } else if self.has_failed(&binding.path) && path.care_of.is_ipv6() {
            self.set_carry(Some((path.clone(), binding.spi)));
        }
    }

    fn stop_lost_carry(&mut self) {
        if self.binding.as_ref().is_some_and(|binding| !self.paths.contains(&binding.path)) {
            self.set_carry(None);
        }
    }

    fn carry_binding(&mut self) {
        let way = self.binding.as_ref().map(|binding| (binding.path.clone(), binding.spi));
        self.set_carry(way);
    }

    fn set_carry(&mut self, way: Option<(Path, Spi)>) {
        if self.carry != way {
            self.carry.clone_from(&way);
            self.actions.push_back(Action::Carry(way));
        }
    }

    fn open_path(&mut self, path: &Path) {
        self.lingering.retain(|(lingering, _)| lingering != path);
        if !self.open.contains(path) {
            self.open.push(path.clone());
            self.actions.push_back(Action::Open(path.clone()));
        }
    }

    fn close_path(&mut self, path: &Path) {
        self.lingering.retain(|(lingering, _)| lingering != path);
        if let Some(at) = self.open.iter().position(|open| open == path) {
            let path = self.open.swap_remove(at);
            self.actions.push_back(Action::Close(path));
        }
    }

    /// Gives up the exchange, and its path unless the binding needs it.
    fn drop_exchange(&mut self) {
        let Some(exchange) = self.exchange.take() else { return };
        self.end_survey();
        let used = self.binding.as_ref().is_some_and(|binding| binding.path == exchange.path);
        if !used {
            if self.carry.as_ref().is_some_and(|(path, _)| *path == exchange.path) {
                self.set_carry(None);
            }
            self.close_path(&exchange.path);
        }
    }

    fn refresh(&mut self, now: Instant) {
        let spi = self.associations.last().map(|association| association.spi);
        if let (Some(path), Some(spi)) = (self.target(), spi) {
            self.begin(Purpose::Refresh, path, spi, now, now);
        }
    }

    /// Whether a session with the HAC begins.
    fn request_bootstrap(&mut self) -> bool {
        let begin = self.stopping.is_none() && self.bootstrap.request();
        if begin {
            self.actions.push_back(Action::Bootstrap);
        }
        begin
    }

    fn report(&mut self, report: Report) {
        self.actions.push_back(Action::Report(report));
    }

    fn finish(&mut self) {
        self.exchange = None;
        self.binding = None;
        if !std::mem::replace(&mut self.stopped, true) {
            self.actions.push_back(Action::Stopped);
        }
    }
}

/// `first` doubled `times` times, at most `max`.
fn back_off(first: Duration, times: u32, max: Duration) -> Duration {
    2u32.checked_pow(times).and_then(|factor| first.checked_mul(factor)).unwrap_or(max).min(max)
}

/// A duration in the BU's units of 4 seconds, at least 1.
fn units(duration: Duration) -> u16 {
    u16::try_from(duration.as_secs() / 4).unwrap_or(u16::MAX).max(1)
}

/// A lifetime field as a duration.
fn seconds(units: u16) -> Duration {
    Duration::from_secs(u64::from(units) * 4)
}
