//! One node of a fleet.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_wire::Spi;

use super::Plan;
use super::bootstraps::{Bootstraps, Job};
use super::mailbox::Mailbox;
use super::probe::Stream;
use super::results::{Results, tell};
use super::shard::Event;
use crate::association::SecurityAssociation;
use crate::bootstrap::Grant;
use crate::hac_client::{Failure, unix_now};
use crate::network::HomeAgent;
use crate::path::Path;
use crate::registration::{Action, Association, Purpose, Registered, Registration, Report};
use crate::tunnel::IvSource;

mod receiving;
mod sending;
mod signalling;
mod sockets;

/// Room for the largest packet of ours, sealed, and for what comes.
pub(super) const BUFFER: usize = 2048;
/// Next Header that announces an inner IPv6 packet.
const IPV6: u8 = 41;

/// What the nodes of a shard share.
pub(super) struct Tools {
    pub(super) plan: Arc<Plan>,
    pub(super) bootstraps: Bootstraps,
    pub(super) mailbox: Mailbox<Event>,
    pub(super) epoll: std::os::fd::OwnedFd,
    pub(super) ivs: IvSource,
    pub(super) results: Results,
    /// The fleet's start.
    pub(super) begun: Instant,
    /// The kernel's choice of a care-of address towards a home agent.
    pub(super) sources: HashMap<SocketAddr, IpAddr>,
    pub(super) interface: Arc<str>,
    pub(super) buffer: Box<[u8; BUFFER]>,
}

struct Held {
    sa: SecurityAssociation,
    home_agent: HomeAgent,
}

/// One node.
pub(super) struct Node {
    number: u32,
    /// What its sockets are waited for under.
    token: u64,
    registration: Registration,
    held: Vec<Held>,
    open: Vec<(Path, UdpSocket)>,
    way: Option<(Path, Spi)>,
    moves: u32,
    stream: Stream,
    /// When the shard's timer for it is set to.
    pub(super) armed: Option<Instant>,
    pub(super) was_registered: bool,
    pub(super) stopped: bool,
}

impl Node {
    pub(super) fn new(number: u32, token: u64, plan: &Plan, sequence: u16) -> Self {
        Self {
            number,
            token,
            registration: Registration::new(plan.node.timers.clone(), sequence),
            held: Vec::new(),
            open: Vec::new(),
            way: None,
            moves: 0,
            stream: Stream::default(),
            armed: None,
            was_registered: false,
            stopped: false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.registration.deadline()
    }

    pub(super) fn start(&mut self, tools: &mut Tools) {
        self.registration.start();
        self.act(tools);
    }

    pub(super) fn on_timer(&mut self, tools: &mut Tools, now: Instant) {
        self.registration.on_timer(now);
        self.act(tools);
    }

    pub(super) fn stop(&mut self, tools: &mut Tools, now: Instant) {
        self.registration.on_stop(now);
        self.act(tools);
    }

    /// Refreshes its binding; whether it has one that rests.
    pub(super) fn refresh(&mut self, tools: &mut Tools, now: Instant) -> bool {
        if !self.rests() {
            return false;
        }
        self.registration.on_refresh_request(now);
        self.act(tools);
        true
    }

    fn rests(&self) -> bool {
        self.registration.binding().is_some() && self.registration.pending().is_none()
    }

    /// Moves to another care-of address or port; whether it had a binding that rests.
    pub(super) fn hand_over(&mut self, tools: &mut Tools, now: Instant) -> bool {
        let Some(old) = self.registration.binding().map(|binding| binding.path.clone()) else {
            return false;
        };
        if !self.rests() {
            return false;
        }
        self.moves = self.moves.wrapping_add(1);
        let mut paths = self.paths(tools);
        if tools.plan.make_before_break {
            paths.push(old);
        } else {
            self.open.clear();
        }
        tools.results.handovers_begun += 1;
        self.stream.on_move();
        self.registration.on_paths(paths, now);
        self.act(tools);
        true
    }

    /// What the HAC issued, or why it did not.
    pub(super) fn on_bootstrapped(
        &mut self,
        tools: &mut Tools,
        outcome: Result<Box<Grant>, Failure>,
        took: Duration,
        now: Instant,
    ) {
        match outcome {
            Ok(grant) => {
                tools.results.bootstrapped += 1;
                tools.results.bootstrap.record(took);
                self.on_grant(tools, *grant, now);
            }
            Err(Failure { text, retry_after, by_network }) => {
                tell(&mut tools.results.bootstraps_failed, &text);
                let jitter = f64::from(tools.ivs.draw()[0]) / 256.0;
                self.registration.on_bootstrap_failed(retry_after, by_network, jitter, now);
            }
        }
        self.act(tools);
    }

    fn on_grant(&mut self, tools: &mut Tools, grant: Grant, now: Instant) {
        let validity = grant.validity_end.saturating_sub(unix_now());
        let validity = Duration::from_secs(validity);
        let renew_before = tools.plan.node.timers.renew_before;
        let association = Association::issued(grant.spi, validity, validity, renew_before, now);
        let home_agent =
            HomeAgent { ip6: grant.home_agent, ip4: grant.home_agent_ip4, port: grant.port };
        self.held.push(Held { sa: SecurityAssociation::new(grant), home_agent });
        let paths = self.paths(tools);
        self.registration.on_paths(paths, now);
        self.registration.on_association(association, now);
    }

    /// Does what the state machine wants.
    fn act(&mut self, tools: &mut Tools) {
        while let Some(action) = self.registration.action() {
            match action {
                Action::Open(path) => self.open_path(tools, path),
                Action::Close(path) => self.open.retain(|(open, _)| *open != path),
                Action::Send(update) => self.send_update(tools, &update),
                // Nobody tells a fleet's registrations of traffic, so they ask nothing.
                Action::Probe(_) | Action::Echo(..) => {}
                Action::Carry(way) => self.way = way,
                Action::Forget(spi) => self.held.retain(|held| held.sa.spi != spi),
                Action::Bootstrap => {
                    let shard = tools.mailbox.clone();
                    tools.bootstraps.ask(Job { number: self.number, shard });
                }
                Action::Report(report) => self.report(tools, report),
                Action::Stopped => self.stopped = true,
            }
        }
    }

    fn report(&mut self, tools: &mut Tools, report: Report) {
        let results = &mut tools.results;
        match report {
            Report::Registered(registered) => self.on_registered(results, &registered),
            Report::Refused(purpose, status) => {
                let name = format!("{}: status {status}", purpose.name());
                tell(&mut results.updates_refused, &name);
            }
            Report::NewSaWanted => tell(&mut results.updates_refused, "refresh: status 176"),
            Report::SequenceAdopted(_) => tell(&mut results.updates_refused, "status 135"),
            Report::Unanswered(_) => tell(&mut results.troubles, "home agent silent"),
            Report::PathFailed(_) => tell(&mut results.troubles, "path failed"),
            Report::BindingLost => tell(&mut results.troubles, "binding lost"),
            Report::BindingRevoked => tell(&mut results.troubles, "binding revoked"),
            Report::BindingExpired => tell(&mut results.troubles, "binding expired"),
            Report::AssociationExpired(_) => tell(&mut results.troubles, "SA expired"),
            Report::NoNetwork => tell(&mut results.troubles, "no way to the home agent"),
            Report::Registering(..)
            | Report::PathSilent(_)
            | Report::PathBack(_)
            | Report::NatForgot { .. } => {}
        }
    }

    fn on_registered(&mut self, results: &mut Results, registered: &Registered) {
        let Registered { purpose, round_trip, since_noticed, .. } = registered;
        tell(&mut results.updates_accepted, purpose.name());
        results.round_trip.record(*round_trip);
        match purpose {
            Purpose::Handover => results.handover.record(*since_noticed),
            Purpose::Deregistration => return,
            _ => {}
        }
        if !std::mem::replace(&mut self.was_registered, true) {
            results.registered_nodes += 1;
        }
    }
}
