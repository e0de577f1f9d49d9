//! `hearth-mn fleet`: many mobile nodes in one process, as a load on a HAC and a home agent.
//!
//! ```text
//!              +--> bootstraps: threads with a TLS session each --> HAC
//!   plan --> shard (a thread) --> node, node, node ...  --> home agent
//!              |        each: registration, associations, a socket, its traffic
//!              +--> results: counts and latencies, merged at the end
//! ```
//!
//! A node is what one `hearth-mn` is: the same [`crate::registration`], [`crate::bootstrap`],
//! [`crate::association`], [`crate::signalling`] and [`hearth_esp`]. It has no TUN: its packets
//! are made and judged here.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

mod bootstraps;
pub mod commands;
mod config;
mod keys;
mod limits;
mod mailbox;
mod node;
mod pace;
mod probe;
mod results;
mod shard;

#[cfg(test)]
mod tests;

pub use config::{Kind, Plan, Traffic, load};
pub use results::Results;

use crate::hac_client::HacClient;
use bootstraps::Bootstraps;
use mailbox::Mailbox;
use shard::Shard;

/// How long packets that are under way may take at the end.
const DRAIN: Duration = Duration::from_secs(2);
/// Beyond the time that the paces ask for: how long the start, and the end, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a fleet can't run.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A limit of this machine is too low.
    #[error("{0}")]
    Limit(String),
    /// TLS.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// Something of the operating system's.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// As the kernel says.
        error: io::Error,
    },
}

impl FleetError {
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { what, error }
    }
}

/// What a shard is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Updates, handovers and traffic begin.
    Load,
    /// They end.
    Quiet,
    /// De-register and end.
    Leave,
}

/// What the shards, and signals, tell.
#[derive(Debug)]
enum Told {
    /// A node was registered for the first time.
    Registered,
    Stop,
    /// A shard is over.
    Ended(Box<Results>),
}

/// Runs a fleet to its end, or until SIGTERM or SIGINT; what it has seen.
///
/// # Errors
/// What keeps it from starting.
pub fn run(plan: Plan) -> Result<Results, FleetError> {
    limits::check(&plan)?;
    let (tell, told) = channel();
    watch_signals(tell.clone()).map_err(FleetError::system("signals"))?;
    let plan = std::sync::Arc::new(plan);
    let hac = HacClient::new(&plan.node)?;
    let bootstraps = Bootstraps::start(&plan, hac).map_err(FleetError::system("threads"))?;
    let mut orders = Vec::new();
    for index in 0..plan.threads {
        let shard = Shard::start(index, &plan, &bootstraps, tell.clone());
        orders.push(shard.map_err(FleetError::system("threads"))?);
    }
    drop(tell);
    let fleet = Fleet { orders, told, ended: Vec::new() };
    Ok(fleet.run(&plan))
}

fn watch_signals(tell: Sender<Told>) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    let forward = move || {
        for _ in signals.forever() {
            if tell.send(Told::Stop).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(forward).map(drop)
}

struct Fleet {
    orders: Vec<Mailbox<shard::Event>>,
    told: Receiver<Told>,
    ended: Vec<Results>,
}

impl Fleet {
    /// Start, load, drain, end.
    fn run(mut self, plan: &Plan) -> Results {
        let begun = Instant::now();
        let nodes = f64::from(plan.nodes);
        let start = Duration::from_secs_f64(nodes / plan.bootstraps_per_second) + PATIENCE;
        tracing::info!(nodes = plan.nodes, hac = %plan.node.hac.name, "the fleet starts");
        let registered = self.wait_for(plan.nodes, begun + start);
        let started = begun.elapsed();
        if registered.is_some() {
            tracing::info!(nodes = registered, after_s = started.as_secs_f64(), "registered");
            self.order(Order::Load);
            self.wait_for(u32::MAX, Instant::now() + plan.duration);
            self.order(Order::Quiet);
            self.wait_for(u32::MAX, Instant::now() + DRAIN);
        }
        let loaded = begun.elapsed();
        let resident = limits::resident();
        self.order(Order::Leave);
        let until = Instant::now() + shard::leave_time(plan) + PATIENCE;
        while self.ended.len() < self.orders.len() {
            let left = until.saturating_duration_since(Instant::now());
            match self.told.recv_timeout(left) {
                Ok(Told::Ended(results)) => self.ended.push(*results),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let mut all = Results::default();
        self.ended.iter().for_each(|results| all.merge(results));
        all.of_run(plan, started, loaded, resident);
        all
    }

    fn order(&self, order: Order) {
        self.orders.iter().for_each(|shard| shard.send(shard::Event::Order(order)));
    }

    /// Waits for so many first registrations; how many there were, or `None` where the fleet is
    /// to stop.
    fn wait_for(&mut self, count: u32, until: Instant) -> Option<u32> {
        let mut registered = 0;
        while registered < count {
            match self.told.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Told::Registered) => registered += 1,
                Ok(Told::Ended(results)) => self.ended.push(*results),
                Ok(Told::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        Some(registered)
    }
}
