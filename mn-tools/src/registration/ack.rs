//! Binding Acknowledgements (RFC 6275 s.11.7.3).

use std::time::{Duration, Instant};

use hearth_wire::Spi;
use hearth_wire::mh::{NatDetection, Status};

use super::{Action, Binding, Purpose, Registered, Registration, Report, back_off, seconds};
use crate::path::Path;

/// A Binding Acknowledgement whose SA, type 2 routing header and checksum were in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The SA that it came under.
    pub spi: Spi,
    /// Status.
    pub status: Status,
    /// Sequence #.
    pub seq: u16,
    /// Lifetime in units of 4 seconds.
    pub lifetime: u16,
    /// Binding Refresh Advice in units of 4 seconds.
    pub refresh_advice: Option<u16>,
    /// NAT detection option (RFC 5555 s.3.2.2).
    pub nat_detection: Option<NatDetection>,
}

/// Status 135 in a row that are answered at once; then the timer paces (RFC 6275 s.11.8,
/// MAX_UPDATE_RATE).
const QUICK_ADOPTIONS: u32 = 2;
/// First pause after a refusal.
const REFUSAL_PAUSE: Duration = Duration::from_secs(2);

impl Registration {
    /// A Binding Acknowledgement. Whether it belonged to an outstanding Binding Update; one that
    /// does not is silently ignored (RFC 6275 s.11.7.3).
    pub fn on_ack(&mut self, ack: &Ack, now: Instant) -> bool {
        let Some(exchange) = &self.exchange else { return false };
        if exchange.spi != ack.spi {
            return false;
        }
        // 135 carries the home agent's last accepted number, not that of the Binding Update.
        if ack.status == Status::SEQUENCE_OUT_OF_WINDOW {
            self.adopt_sequence(ack.seq, now);
            return true;
        }
        let Some(&(_, sent_at, asked)) = exchange.sent.iter().find(|(seq, ..)| *seq == ack.seq)
        else {
            return false;
        };
        let purpose = exchange.purpose;
        self.answered();
        if purpose == Purpose::Deregistration {
            self.deregistered(ack, sent_at, now);
        } else if purpose == Purpose::Return {
            self.returned(ack, sent_at, now);
        } else if purpose == Purpose::Withdrawal {
            self.withdrew(ack, now);
        } else if ack.status.is_accepted() {
            self.accepted(ack, sent_at, asked, now);
        } else {
            self.refused(ack.status, now);
        }
        true
    }

    /// The home agent is alive and knows the SA.
    const fn answered(&mut self) {
        self.unanswered = 0;
        self.doubts = 0;
    }

    fn adopt_sequence(&mut self, last_accepted: u16, now: Instant) {
        self.answered();
        self.sequence.adopt(last_accepted);
        self.report(Report::SequenceAdopted(last_accepted));
        let Some(exchange) = &mut self.exchange else { return };
        exchange.sent.clear();
        exchange.adopted += 1;
        if exchange.adopted <= QUICK_ADOPTIONS {
            self.transmit(now);
        }
    }

    fn deregistered(&mut self, ack: &Ack, sent_at: Instant, now: Instant) {
        if let Some(exchange) = self.exchange.take() {
            if ack.status.is_accepted() {
                self.report(Report::Registered(Registered {
                    purpose: exchange.purpose,
                    path: exchange.path,
                    previous: None,
                    round_trip: now.saturating_duration_since(sent_at),
                    since_noticed: now.saturating_duration_since(exchange.noticed),
                    tries: exchange.tries,
                    status: ack.status,
                    lifetime: Duration::ZERO,
                    nat: None,
                }));
            } else {
                self.report(Report::Refused(exchange.purpose, ack.status));
            }
        }
        self.finish();
    }

    /// Refused or not, it is not told again: what was withdrawn ends with its lifetime at the latest.
    fn withdrew(&mut self, ack: &Ack, now: Instant) {
        let Some(exchange) = self.exchange.take() else { return };
        self.withdrawals.retain(|bid| !exchange.withdraws.contains(bid));
        if !ack.status.is_accepted() {
            self.report(Report::Refused(exchange.purpose, ack.status));
        }
        self.reconsider(now);
    }

    fn accepted(&mut self, ack: &Ack, sent_at: Instant, asked: u16, now: Instant) {
        let Some(exchange) = self.exchange.take() else { return };
        // L_remain - (L_update - L_ack), counted from when the update was sent; a home agent can
        // shorten what was asked for, not prolong it.
        let lifetime = seconds(ack.lifetime.min(asked));
        let nat = exchange.path.care_of.is_ipv4().then(|| is_nat(ack.nat_detection));
        let binding = Binding {
            path: exchange.path.clone(),
            spi: exchange.spi,
            lifetime,
            expires: sent_at + lifetime,
            refresh_at: sent_at + self.refresh_after(ack, lifetime, nat),
            nat,
        };
        let previous = self.binding.replace(binding).map(|binding| binding.path);
        self.retire_older_than(exchange.spi, now);
        if let Some(old) = previous.as_ref().filter(|old| **old != exchange.path) {
            self.lingering.push((old.clone(), now + self.timers.grace));
        }
        self.failed.retain(|failed| failed.path != exchange.path);
        self.carry_binding();
        // In front of a first registration the home agent asks the home link for a duplicate.
        let round_trip = now.saturating_duration_since(sent_at);
        self.on_path_in_use((exchange.purpose != Purpose::Initial).then_some(round_trip));
        if nat == Some(true) {
            self.keepalive_registered(self.nat_interval(ack), now);
        }
        self.report(Report::Registered(Registered {
            purpose: exchange.purpose,
            path: exchange.path,
            previous,
            round_trip: now.saturating_duration_since(sent_at),
            since_noticed: now.saturating_duration_since(exchange.noticed),
            tries: exchange.tries,
            status: ack.status,
            lifetime,
            nat,
        }));
        self.reconsider(now);
    }

    /// When to refresh: well before the end, as advised, and as often as the address translator
    /// forgets (RFC 5555 s.4.3).
    fn refresh_after(&self, ack: &Ack, lifetime: Duration, nat: Option<bool>) -> Duration {
        let mut after = lifetime.mul_f64(0.75);
        if let Some(advice) = ack.refresh_advice.filter(|advice| *advice > 0) {
            after = after.min(seconds(advice));
        }
        // Where traffic is watched, the NAT hears of this node when it needs to (`nat`).
        if nat == Some(true) && !self.is_watched() {
            after = after.min(self.nat_interval(ack));
        }
        after.max(Duration::from_secs(1))
    }

    /// How often the home agent wants the NAT to hear of this node.
    fn nat_interval(&self, ack: &Ack) -> Duration {
        let asked = ack.nat_detection.map(|option| option.refresh_time).unwrap_or_default();
        // 0 is to be ignored, and so is "no NAT" where a NAT was seen before.
        match asked {
            0 | NatDetection::NO_NAT => self.timers.nat_keepalive,
            seconds => Duration::from_secs(u64::from(seconds)),
        }
    }

    /// The first accepted Binding Update under a newer SA ends the older ones, after a time in
    /// which packets on the way still arrive.
    pub(super) fn retire_older_than(&mut self, spi: Spi, now: Instant) {
        let Some(at) = self.associations.iter().position(|a| a.spi == spi) else { return };
        let until = now + self.timers.grace;
        self.retiring.extend(self.associations.drain(..at).map(|old| (old.spi, until)));
    }

    pub(super) fn refused(&mut self, status: Status, now: Instant) {
        let Some(exchange) = &mut self.exchange else { return };
        let purpose = exchange.purpose;
        // A refusal is answered with a new sequence number, after a pause that grows.
        exchange.sent.clear();
        exchange.timeout = exchange.timeout.max(REFUSAL_PAUSE);
        exchange.deadline = now + exchange.timeout;
        exchange.timeout = back_off(exchange.timeout, 1, self.timers.max_timeout);
        match status {
            // nothing changed at the home agent; the binding lives on under the old SA.
            Status::REINIT_SA_WITH_HAC => {
                self.report(Report::NewSaWanted);
                self.request_bootstrap();
                if let Some(binding) = &mut self.binding {
                    binding.refresh_at = now + binding.expires.saturating_duration_since(now) / 2;
                    self.exchange = None;
                }
                return;
            }
            // The home address is someone else's; the HAC may know a better one.
            Status::DAD_FAILED => {
                self.request_bootstrap();
            }
            Status::INVALID_COA => {
                self.report(Report::Refused(purpose, status));
                return self.fail_over(now);
            }
            _ => {}
        }
        self.report(Report::Refused(purpose, status));
    }

    /// Leaves a path alone that did not work, where there is another.
    pub(super) fn fail_over(&mut self, now: Instant) {
        let Some(exchange) = &self.exchange else { return };
        let path = exchange.path.clone();
        if matches!(exchange.purpose, Purpose::Deregistration | Purpose::Return)
            || self.paths.iter().all(|other| *other == path)
        {
            return;
        }
        self.mark_failed(&path, now);
        if self.paths.iter().all(|path| self.has_failed(path)) {
            // All of them failed: begin again with the best other one.
            self.failed.retain(|failed| failed.path == path);
        }
        let target = self.target().filter(|target| *target != path);
        self.leave(path, target, now);
    }

    /// Leaves the path of the exchange for one that has just shown that it works.
    pub(super) fn fail_over_to(&mut self, target: Path, now: Instant) {
        let Some(exchange) = &self.exchange else { return };
        let path = exchange.path.clone();
        let better: Vec<_> =
            self.paths.iter().take_while(|other| **other != target).cloned().collect();
        for silent in better.iter().chain([&path]) {
            if !self.has_failed(silent) {
                self.mark_failed(silent, now);
            }
        }
        self.failed.retain(|failed| failed.path != target);
        self.leave(path, Some(target), now);
    }

    fn leave(&mut self, path: Path, target: Option<Path>, now: Instant) {
        let Some(exchange) = &self.exchange else { return };
        let (noticed, spi) = (exchange.noticed, exchange.spi);
        self.report(Report::PathFailed(path));
        let Some(target) = target else { return };
        let purpose = match (&self.binding, self.exchange.as_ref().map(|it| it.purpose)) {
            (_, None) => return,
            (Some(binding), Some(Purpose::Refresh | Purpose::NewSa | Purpose::Handover)) => {
                if binding.path == target {
                    Purpose::Refresh
                } else {
                    Purpose::Handover
                }
            }
            (_, Some(purpose)) => purpose,
        };
        self.begin(purpose, target, spi, noticed, now);
    }

    /// Sends actions that close what has lingered long enough.
    pub(super) fn close_lingering(&mut self, now: Instant) {
        let due = |(_, until): &(_, Instant)| *until <= now;
        let paths: Vec<_> =
            self.lingering.iter().filter(|l| due(l)).map(|(p, _)| p.clone()).collect();
        for path in paths {
            self.close_path(&path);
        }
        let spis: Vec<_> =
            self.retiring.iter().filter(|(_, until)| *until <= now).map(|(spi, _)| *spi).collect();
        self.retiring.retain(|(_, until)| *until > now);
        self.actions.extend(spis.into_iter().map(Action::Forget));
    }
}

/// Whether the option tells of an address translator; absent counts as one.
fn is_nat(option: Option<NatDetection>) -> bool {
    option.is_none_or(|option| option.refresh_time != NatDetection::NO_NAT)
}
