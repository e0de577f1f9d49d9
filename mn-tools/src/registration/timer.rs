//! What time brings about (RFC 6275 s.11.8).

use std::time::Instant;

use super::{Action, Purpose, Registration, Report, SILENT_AFTER, back_off};

impl Registration {
    /// When [`Self::on_timer`] wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let exchange = self.exchange.as_ref().map(|exchange| exchange.deadline);
        if let Some(end) = self.stopping {
            return Some(exchange.map_or(end, |deadline| deadline.min(end)));
        }
        let refresh = self
            .binding
            .as_ref()
            .filter(|_| self.exchange.is_none() && !self.paths.is_empty())
            .map(|binding| binding.refresh_at);
        let renew =
            self.associations.last().filter(|_| self.bootstrap.is_idle()).map(|a| a.renew_at);
        let single = [
            exchange,
            refresh,
            renew,
            self.binding.as_ref().map(|binding| binding.expires),
            self.bootstrap.deadline(),
            self.revoked_until,
            self.probing_deadline(),
            self.keepalive_deadline(),
            self.home_deadline(),
        ];
        single
            .into_iter()
            .flatten()
            .chain(self.associations.iter().map(|association| association.valid_until))
            .chain(self.retiring.iter().map(|(_, until)| *until))
            .chain(self.lingering.iter().map(|(_, until)| *until))
            .chain(self.failed.iter().map(|failed| failed.until))
            .min()
    }

    /// Does what is due.
    pub fn on_timer(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        if self.stopping.is_some_and(|end| end <= now) {
            return self.finish();
        }
        if self.exchange.as_ref().is_some_and(|exchange| exchange.deadline <= now) {
            self.retransmit(now);
        }
        if self.stopping.is_some() {
            return;
        }
        if self.revoked_until.is_some_and(|until| until <= now) {
            self.revoked_until = None;
            self.reconsider(now);
        }
        self.expire(now);
        self.close_lingering(now);
        let renew = self.associations.last().is_some_and(|association| association.renew_at <= now);
        if renew {
            self.request_bootstrap();
        }
        if self.bootstrap.on_timer(now) {
            self.actions.push_back(Action::Bootstrap);
        }
        let due = self.binding.as_ref().is_some_and(|binding| binding.refresh_at <= now);
        if due && self.exchange.is_none() && !self.paths.is_empty() {
            self.refresh(now);
        }
        self.home_timer(now);
        self.keepalive_timer(now);
        self.probing_timer(now);
    }

    /// The exchange was not answered in time: the same again with twice the patience, or, after
    /// so many attempts, another path (RFC 5555 s.4.4.1).
    fn retransmit(&mut self, now: Instant) {
        let Some(exchange) = &mut self.exchange else { return };
        let (tries, path) = (exchange.tries, exchange.path.clone());
        exchange.timeout = back_off(exchange.timeout, 1, self.timers.max_timeout);
        let stopping = exchange.purpose == Purpose::Deregistration;
        if !exchange.sent.is_empty() {
            self.unanswered = self.unanswered.saturating_add(1);
            let told = self.unanswered.is_multiple_of(SILENT_AFTER)
                || self.unanswered == self.timers.attempts_per_path;
            if !stopping && told {
                self.report(Report::Unanswered(self.unanswered));
            }
            if !stopping && self.unanswered >= self.doubt_at() && self.request_bootstrap() {
                self.doubts = self.doubts.saturating_add(1);
            }
        }
        if tries >= self.timers.attempts_per_path {
            self.fail_over(now);
        }
        if self.exchange.as_ref().is_some_and(|exchange| exchange.path == path) {
            self.transmit(now);
        }
        self.survey(now);
    }

    /// How many unanswered Binding Updates make the SA doubtful: twice as many each time, up to
    /// what [`Timers::max_silence`](super::Timers::max_silence) has room for.
    fn doubt_at(&self) -> u32 {
        let spacing = self.timers.max_timeout.as_millis().max(1);
        let most = u32::try_from(self.timers.max_silence.as_millis() / spacing).unwrap_or(u32::MAX);
        let doubled = 2u32.checked_pow(self.doubts).and_then(|n| n.checked_mul(SILENT_AFTER));
        doubled.unwrap_or(u32::MAX).min(most.max(SILENT_AFTER))
    }

    fn expire(&mut self, now: Instant) {
        let before = self.failed.len();
        self.failed.retain(|failed| failed.until > now);
        let mut changed = self.failed.len() != before;
        while let Some(at) = self.associations.iter().position(|a| a.valid_until <= now) {
            let spi = self.associations.remove(at).spi;
            self.actions.push_back(Action::Forget(spi));
            self.report(Report::AssociationExpired(spi));
            // A binding never outlives its SA.
            if self.binding.as_ref().is_some_and(|binding| binding.spi == spi) {
                self.lose_binding();
            }
            if self.exchange.as_ref().is_some_and(|exchange| exchange.spi == spi) {
                self.drop_exchange();
            }
            changed = true;
        }
        if self.binding.as_ref().is_some_and(|binding| binding.expires <= now) {
            self.report(Report::BindingExpired);
            self.lose_binding();
            changed = true;
        }
        if changed {
            self.reconsider(now);
        }
    }

    pub(super) fn lose_binding(&mut self) {
        self.set_carry(None);
        if let Some(binding) = self.binding.take() {
            let used = self.exchange.as_ref().is_some_and(|e| e.path == binding.path);
            if !used {
                self.close_path(&binding.path);
            }
        }
    }
}
