//! What a person gets to see: log lines, the status and its events.

use std::time::{Duration, Instant};

use super::{Held, Node};
use crate::registration::{Purpose, Registered, Report};
use crate::status::State;

impl Node {
    pub(super) fn report(&mut self, report: Report) {
        match report {
            Report::Registered(registered) => return self.registered(&registered),
            Report::Registering(purpose, path) => {
                let home_agent = path.home_agent;
                tracing::info!(kind = purpose.name(), care_of = %path, %home_agent, "registers");
                return;
            }
            Report::NewSaWanted => {
                tracing::info!("the home agent wants a new SA (status 176)");
                return;
            }
            Report::SequenceAdopted(last) => {
                tracing::info!(last, "sequence number of the home agent adopted (status 135)");
                return;
            }
            Report::PathBack(path) => {
                tracing::info!(%path, "a path that had failed answers again");
                return;
            }
            Report::NatForgot { after, interval } => {
                tracing::info!(
                    after_s = after.as_secs_f64(),
                    interval_s = interval.as_secs_f64(),
                    "the NAT forgot this node; keepalives are sent more often"
                );
                return;
            }
            _ => {}
        }
        let text = match report {
            Report::NoNetwork => "no interface has a way to the home agent".to_owned(),
            Report::Refused(purpose, status) => {
                format!(
                    "the home agent refused the {} registration: status {status}",
                    purpose.name()
                )
            }
            Report::Unanswered(count) => {
                format!("the home agent is silent: {count} Binding Updates without an answer")
            }
            Report::PathFailed(path) => format!("no answer over {path}; trying another way"),
            Report::PathSilent(path) => {
                format!("nothing comes back over {path}, and the home agent does not answer there")
            }
            Report::BindingLost => "the home agent has lost the binding".to_owned(),
            Report::BindingRevoked => "the home agent has revoked the binding".to_owned(),
            Report::BindingExpired => "the binding has expired".to_owned(),
            Report::AssociationExpired(spi) => format!("the SA with SPI {spi} has expired"),
            Report::Registered(_)
            | Report::Registering(..)
            | Report::NewSaWanted
            | Report::PathBack(_)
            | Report::NatForgot { .. }
            | Report::SequenceAdopted(_) => return,
        };
        tracing::warn!("{text}");
        self.status.on_error(&text);
    }

    fn registered(&mut self, registered: &Registered) {
        let Registered { purpose, path, round_trip, tries, lifetime, nat, .. } = registered;
        tracing::info!(
            kind = purpose.name(),
            care_of = %path,
            round_trip_ms = round_trip.as_secs_f64() * 1e3,
            tries,
            lifetime_s = lifetime.as_secs(),
            nat,
            "registered"
        );
        if *purpose == Purpose::Return {
            self.arrive_home(Instant::now());
        } else if *purpose != Purpose::Deregistration {
            // The Binding IDs that flows can go to have changed, perhaps.
            self.publish();
            self.configure_tun();
        }
        self.status.on_registered(registered);
    }

    pub(super) fn report_grant(&mut self, held: &Held, duration: Duration) {
        let info = held.info();
        tracing::info!(
            spi = info.spi,
            suite = %info.suite,
            scope = info.scope.digit(),
            home_address = %held.sa.home_address,
            home_address_ip4 = ?held.sa.home_address_ip4,
            home_agent = %held.home_agent.ip6,
            duration_ms = duration.as_secs_f64() * 1e3,
            "bootstrapped"
        );
        if self.config.scope != info.scope {
            tracing::warn!(scope = info.scope.digit(), "the HAC decided for another scope");
        }
        self.status.on_bootstrap(info, duration);
    }

    fn state(&self) -> State {
        if self.stops > 0 {
            return State::Deregistering;
        }
        if self.held.is_empty() {
            return State::Bootstrapping;
        }
        if self.registration.is_at_home() {
            return State::AtHome;
        }
        if !self.paths_known {
            return State::NoNetwork;
        }
        match (self.registration.binding(), self.registration.pending()) {
            (None, _) => State::Registering,
            (Some(_), Some(Purpose::Handover)) => State::Handover,
            (Some(_), _) => State::Registered,
        }
    }

    /// Brings the status up to date and tells whoever wants to know.
    pub(super) fn show_status(&mut self) {
        let state = self.state();
        self.show_as(state);
    }

    pub(super) fn show_stopped(&mut self) {
        self.show_as(State::Stopped);
    }

    fn show_as(&mut self, state: State) {
        let binding = self.registration.binding();
        let spi = binding.map(|binding| binding.spi);
        let held = self.held.iter().find(|held| Some(held.sa.spi) == spi).or(self.held.last());
        let info = held.map(Held::info);
        let now = Instant::now();
        let left = binding.map(|b| (b, b.expires.saturating_duration_since(now)));
        self.status.set_state(state);
        self.status.set_binding(left, info);
        self.status.set_nat_keepalive(self.registration.nat_keepalive());
        let bindings = self.registration.bindings();
        self.status.set_care_of_addresses(bindings.map(|(care_of, binding)| {
            (care_of, binding, binding.expires.saturating_duration_since(now))
        }));
        if let Some(optimisation) = &self.optimisation {
            self.status.set_correspondents(&optimisation.states());
        }
        let events = self.status.take_events();
        if !events.is_empty() {
            self.manager.status(&self.status.in_a_word());
        }
        // Whoever hears of an event finds it in the file.
        self.write_status(now);
        events.iter().for_each(|event| self.monitors.tell(event));
    }

    /// Takes what the data path counts into the status.
    pub(super) fn count(&mut self) {
        self.status.set_counters(&self.tunnel.counters);
        self.status.set_downlink(self.held.iter().map(|held| held.sa.tally()));
    }

    /// Writes the status file, if there is one.
    fn write_status(&mut self, now: Instant) {
        if self.config.status_file.is_none() {
            return;
        }
        self.status_written = now;
        self.count();
        let Some(file) = &self.config.status_file else { return };
        if let Err(error) = self.status.write(file) {
            tracing::warn!(file = %file.display(), %error, "status file not written");
        }
    }
}
