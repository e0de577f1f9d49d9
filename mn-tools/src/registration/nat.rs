//! The mapping of the registered path in a NAT, kept alive as [`super::keepalive`] says.

use std::time::{Duration, Instant};

use super::keepalive::{Keepalive, Step, Why};
use super::{Action, Purpose, Registration, Report};
use crate::path::Path;

/// Mappings whose patience is remembered.
const MAX_MAPPINGS: usize = 8;

impl Registration {
    /// How often the NAT hears of this node when nothing else is sent, and why so often; `None`
    /// where there is no NAT, or nobody tells of traffic ([`Self::on_traffic`]).
    #[must_use]
    pub fn nat_keepalive(&self) -> Option<(Duration, Why)> {
        let binding = self.binding.as_ref().filter(|binding| binding.nat == Some(true))?;
        let (_, keepalive) = self.keepalives.iter().find(|(path, _)| *path == binding.path)?;
        Some((keepalive.interval(), keepalive.why()))
    }

    fn keepalive(&mut self) -> Option<&mut Keepalive> {
        let binding = self.binding.as_ref().filter(|binding| binding.nat == Some(true))?;
        let found = self.keepalives.iter_mut().find(|(path, _)| *path == binding.path);
        found.map(|(_, keepalive)| keepalive)
    }

    /// A Binding Update was accepted behind a NAT; `limit` is what the home agent asks for.
    pub(super) fn keepalive_registered(&mut self, limit: Duration, now: Instant) {
        let Some(path) = self.binding.as_ref().map(|binding| binding.path.clone()) else { return };
        if !self.is_watched() {
            return;
        }
        if !self.keepalives.iter().any(|(other, _)| *other == path) {
            if self.keepalives.len() >= MAX_MAPPINGS {
                self.keepalives.remove(0);
            }
            let new = Keepalive::new(limit, self.timers.nat_keepalive_min, now);
            self.keepalives.push((path, new));
        }
        let wait = self.wait();
        let step = self.keepalive().map(|it| it.on_registered(limit, wait, now));
        self.keepalive_step(step, now);
    }

    pub(super) fn keepalive_traffic(&mut self, sent: bool, received: bool, now: Instant) {
        let Some(it) = self.keepalive() else { return };
        let step = received.then(|| it.on_received(now));
        if sent {
            it.on_refreshed(now);
        }
        self.keepalive_step(step, now);
    }

    /// Something of ours leaves by this path.
    pub(super) fn keepalive_refreshed(&mut self, path: &Path, now: Instant) {
        let found = self.keepalives.iter_mut().find(|(other, _)| other == path);
        if let Some((_, it)) = found {
            it.on_refreshed(now);
        }
    }

    pub(super) fn keepalive_is_testing(&self) -> bool {
        let path = self.binding.as_ref().map(|binding| &binding.path);
        self.keepalives.iter().any(|(other, it)| Some(other) == path && it.is_testing())
    }

    pub(super) fn keepalive_deadline(&self) -> Option<Instant> {
        let binding = self.binding.as_ref().filter(|binding| binding.nat == Some(true))?;
        let usable = self.exchange.is_none() && self.paths.contains(&binding.path);
        let found = self.keepalives.iter().find(|(path, _)| *path == binding.path);
        found.filter(|_| usable).map(|(_, it)| it.deadline())
    }

    pub(super) fn keepalive_timer(&mut self, now: Instant) {
        if self.keepalive_deadline().is_some_and(|at| at <= now) {
            let wait = self.wait();
            let step = self.keepalive().map(|it| it.on_timer(wait, now));
            self.keepalive_step(step, now);
        }
    }

    fn keepalive_step(&mut self, step: Option<Step>, now: Instant) {
        let Some(binding) = &self.binding else { return };
        let (path, spi) = (binding.path.clone(), binding.spi);
        match step {
            None | Some(Step::Nothing) => {}
            Some(Step::Echo) => {
                self.watch_closely(now);
                self.actions.push_back(Action::Echo(path, spi));
            }
            Some(Step::Refresh) => self.probe(path, now),
            Some(Step::Update) => self.refresh(now),
            Some(Step::Forgotten(after)) => {
                let interval = self.nat_keepalive().map(|(interval, _)| interval);
                self.report(Report::NatForgot { after, interval: interval.unwrap_or(after) });
                let newest = self.associations.last().map_or(spi, |association| association.spi);
                self.begin(Purpose::Refresh, path, newest, now, now);
            }
        }
    }
}
