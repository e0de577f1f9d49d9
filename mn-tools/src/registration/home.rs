//! Returning home: the home agent is told to stop, and data goes by the home link.
//!
//! Read first: RFC 6275 s.11.5.5; readings R-35, R-39.
//!
//! ```text
//!   home prefix on a link --> Heartbeat by another address of that link
//!                                  |  answered: the next hop's link-layer address is known, so that
//!                                  |  no Neighbor Solicitation has to come from the home address
//!                                  v  while the home agent still defends that
//!                             de-registration from the home address itself, without Home Address option
//!                                  |  accepted (or 133: it had no binding)
//!                                  v
//!                             at home; the caller advertises its link-layer address and lets the
//!                             tunnel rest
//!   no home prefix any more --> a first registration from wherever the node is
//! ```

use std::time::{Duration, Instant};

use hearth_wire::Spi;
use hearth_wire::mh::Status;

use super::ack::Ack;
use super::{Purpose, Registered, Registration, Report};
use crate::path::Path;

/// Heartbeats before a home agent that answers none is sent the de-registration all the same.
const KNOCKS: u32 = 3;
/// Time between two of them.
const BETWEEN_KNOCKS: Duration = Duration::from_millis(300);

/// The home link, as long as the node is on it.
#[derive(Debug)]
pub(super) struct Home {
    /// From the home address, by the home link.
    path: Path,
    /// From another address there.
    door: Path,
    knocks: u32,
    next: Instant,
    is_open: bool,
    has_arrived: bool,
}

impl Registration {
    /// The home link is there: the path from the home address by it, and one from another address
    /// there; or it is not there any more.
    pub fn on_home(&mut self, home: Option<(Path, Path)>, now: Instant) {
        if self.stopping.is_some() || self.stopped {
            return;
        }
        let same = match (&self.home, &home) {
            (None, None) => true,
            (Some(old), Some((path, _))) => old.path == *path,
            _ => false,
        };
        if same {
            return;
        }
        let called_off =
            self.exchange.as_ref().is_some_and(|exchange| exchange.purpose == Purpose::Return);
        if called_off {
            self.drop_exchange();
        }
        if let Some(old) = self.home.take() {
            self.close_path(&old.path);
        }
        let (knocks, next, is_open, has_arrived) = (0, now, false, false);
        self.home =
            home.map(|(path, door)| Home { path, door, knocks, next, is_open, has_arrived });
        if self.home.is_some() {
            self.knock(now);
        } else {
            self.reconsider(now);
            // The home agent may have stopped already.
            if called_off && self.exchange.is_none() && self.binding.is_some() {
                self.refresh(now);
            }
        }
    }

    /// Whether the home agent has stopped, and data goes by the home link.
    #[must_use]
    pub fn is_at_home(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.has_arrived)
    }

    fn knock(&mut self, now: Instant) {
        let Some(home) = &mut self.home else { return };
        if home.is_open || home.next > now || self.associations.is_empty() {
            return;
        }
        if home.knocks >= KNOCKS {
            home.is_open = true;
            return self.reconsider(now);
        }
        home.knocks += 1;
        home.next = now + BETWEEN_KNOCKS;
        let door = home.door.clone();
        self.probe(door, now);
    }

    pub(super) fn home_timer(&mut self, now: Instant) {
        self.knock(now);
    }

    pub(super) fn home_deadline(&self) -> Option<Instant> {
        let waits = |home: &&Home| !home.is_open && !self.associations.is_empty();
        self.home.as_ref().filter(waits).map(|home| home.next)
    }

    /// Whether an answer is waited for on this path.
    pub(super) fn is_door(&self, path: &Path) -> bool {
        self.home.as_ref().is_some_and(|home| !home.is_open && home.door == *path)
    }

    /// A Heartbeat was answered on this path.
    pub(super) fn on_door(&mut self, path: &Path, now: Instant) {
        let Some(home) = self.home.as_mut().filter(|home| home.door == *path) else { return };
        if !std::mem::replace(&mut home.is_open, true) {
            self.reconsider(now);
        }
    }

    /// Whether the home link is there; then de-registers once it can.
    pub(super) fn come_home(&mut self, spi: Spi, now: Instant) -> bool {
        let Some(home) = &self.home else { return false };
        let under_way = self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.purpose == Purpose::Return && exchange.spi == spi);
        if home.is_open && !home.has_arrived && !under_way {
            let path = home.path.clone();
            self.had_network = true;
            self.begin(Purpose::Return, path, spi, now, now);
        }
        true
    }

    pub(super) fn returned(&mut self, ack: &Ack, sent_at: Instant, now: Instant) {
        // 133: it had no binding, and so defends nothing either.
        if !ack.status.is_accepted() && ack.status != Status::NOT_HOME_AGENT {
            return self.refused(ack.status, now);
        }
        let Some(exchange) = self.exchange.take() else { return };
        let previous = self.binding.as_ref().map(|binding| binding.path.clone());
        self.retire_older_than(exchange.spi, now);
        self.lose_binding();
        if let Some(home) = &mut self.home {
            home.has_arrived = true;
        }
        self.close_path(&exchange.path);
        self.report(Report::Registered(Registered {
            purpose: exchange.purpose,
            path: exchange.path,
            previous,
            round_trip: now.saturating_duration_since(sent_at),
            since_noticed: now.saturating_duration_since(exchange.noticed),
            tries: exchange.tries,
            status: ack.status,
            lifetime: Duration::ZERO,
            nat: None,
        }));
    }
}
