//! `bootstraps`, `idle_connections`: how much of what TLS alone takes a home agent controller makes
//! use of, and what those cost it who only connect.
//!
//! The controller is whole: it accepts, shakes hands, runs MHAuth with a pre-shared key, writes the
//! SA to disk, answers and closes. Beside it a server does the same handshakes with the same
//! certificate and settings and closes. Mobile nodes of this process use both in turns. What counts is
//! the processor time that the threads of either have taken: those of the mobile nodes are not in it.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::controller::{Bare, Controller, Deed, Key, Nodes, roam, time_of};
use crate::fault::Fault;
use crate::figures::Rows;
use crate::lab::Lab;
use crate::memory;
use crate::report::{Row, Target, rounded};
use crate::stats::{Round, alternate};

/// Bootstraps of one side in a round, and how many of them run at a time.
const COUNT: usize = 256;
const AT_ONCE: usize = 64;
/// Connections that only exist, at most, and descriptors for everything else.
const IDLE: usize = 10_000;
const OTHERS: usize = 500;
/// The thread of the controller that writes the store.
const STORE: [&str; 1] = ["directory"];
/// What one of them may take.
const OCTETS: f64 = 65_536.0;
/// Bootstraps one after the other in a round, beside idle connections and without.
const GOOD: usize = 8;

/// Measures all rows, each for about `time`.
pub(crate) fn rows(lab: &Lab, time: Duration, rows: &mut Rows) {
    let cores = &lab.cores[..];
    // A thread of its own: what it starts is not bound to the core that measures.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            roam(cores);
            for key in [Key::Ecdsa, Key::Rsa] {
                rows.push(bootstraps(key, time));
            }
            idle(time, rows);
        });
    });
}

fn bootstraps(key: Key, time: Duration) -> Row {
    let row = Row::new("bootstraps", "bare rustls handshakes a second, same certificate")
        .asked(Some(Target::at_least(0.6, 0.85)))
        .with("certificate", key.name())
        .with("at_once", AT_ONCE);
    match measure(key, time) {
        Ok(found) => found.tell(row),
        Err(fault) => row.failed(fault),
    }
}

/// Seconds of a round: of processor time of handshakes and bootstraps, then the same of the clock, then
/// of the thread that writes the store.
struct Found(crate::stats::Rounds);

impl Found {
    fn tell(&self, row: Row) -> Row {
        let Self(rounds) = self;
        let rate = |side| rounded(COUNT as f64 / rounds.side(side), 0);
        row.measured(&rounds.quotient(0, 1))
            .with("bootstraps_per_core_second", rate(1))
            .with("handshakes_per_core_second", rate(0))
            .with("bootstraps_per_second_with_clients", rate(3))
            .with("handshakes_per_second_with_clients", rate(2))
            .with("ratio_with_clients", rounded(rounds.quotient(2, 3).median, 4))
            .with("store_share", rounded(rounds.quotient(4, 1).median, 4))
    }
}

fn measure(key: Key, time: Duration) -> Result<Found, Fault> {
    let controller = Controller::start(key)?;
    let bare = Bare::start(controller.folder.path())?;
    let nodes = Nodes::new(controller.folder.path())?;
    let (mut first, mut bootstraps) = (0, 0);
    let mut side = |deed| {
        let (server, threads): (_, &[&str]) = match deed {
            Deed::Handshake => (bare.address, &Bare::THREADS),
            Deed::Bootstrap => (controller.address, &Controller::THREADS),
        };
        let (clock, busy) = (Instant::now(), time_of(threads));
        nodes.run(deed, server, first, COUNT, AT_ONCE)?;
        first += COUNT;
        bootstraps += if deed == Deed::Bootstrap { COUNT as u64 } else { 0 };
        let busy = time_of(threads).saturating_sub(busy);
        Ok::<_, Fault>([busy.as_secs_f64(), clock.elapsed().as_secs_f64()])
    };
    // Pages, caches, the first rows of the store.
    side(Deed::Handshake)?;
    side(Deed::Bootstrap)?;
    let rounds = alternate(time, || {
        let [busy, clock] = side(Deed::Handshake)?;
        let store = time_of(&STORE);
        let [busy_too, clock_too] = side(Deed::Bootstrap)?;
        let store = time_of(&STORE).saturating_sub(store).as_secs_f64();
        Ok(Round { values: vec![busy, busy_too, clock, clock_too, store], disturbed: false })
    })?;
    let (found, expected) = (controller.issued(), bootstraps);
    if found != expected {
        return Err(Fault::Unaccounted { what: "SAs issued", expected, found });
    }
    Ok(Found(rounds))
}

fn idle(time: Duration, rows: &mut Rows) {
    let memory = Row::new("idle_connections", "64 KiB each")
        .asked(Some(Target::at_most(1.0, Some(0.5))))
        .with("what", "memory");
    let delay = Row::new("idle_connections", "good mobile nodes without idle connections")
        .asked(Some(Target { must: 1.1, aim: None, at_most: true }))
        .with("what", "delay");
    match beside_idle(time) {
        Ok(Beside { connections, octets, rounds }) => {
            let memory = memory.with("connections", connections);
            rows.push(memory.counted(octets / OCTETS).with("octets", rounded(octets, 0)));
            let milliseconds = |side| rounded(rounds.side(side) / GOOD as f64 * 1e3, 3);
            rows.push(
                delay
                    .measured(&rounds.quotient(0, 1))
                    .with("connections", connections)
                    .with("bootstrap_ms", milliseconds(0))
                    .with("reference_bootstrap_ms", milliseconds(1)),
            );
        }
        Err(fault) => {
            rows.push(memory.failed(fault));
            rows.push(delay.failed(fault));
        }
    }
}

/// What was found beside idle connections.
struct Beside {
    connections: usize,
    /// Octets of one of them.
    octets: f64,
    /// Seconds of a round of bootstraps, beside them and elsewhere.
    rounds: crate::stats::Rounds,
}

/// As many idle connections as this process may have descriptors for: it has both ends of each.
fn affordable() -> usize {
    let wanted = (2 * IDLE + OTHERS) as u64;
    let files = getrlimit(Resource::Nofile);
    let raised = files.maximum.map(|maximum| maximum.max(wanted));
    for maximum in [raised, files.maximum] {
        if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
            break;
        }
    }
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    (descriptors.saturating_sub(OTHERS) / 2).min(IDLE)
}

fn beside_idle(time: Duration) -> Result<Beside, Fault> {
    let connections = affordable();
    let (crowded, quiet) = (Controller::start(Key::Ecdsa)?, Controller::start(Key::Ecdsa)?);
    let (friends, others) = (Nodes::new(crowded.folder.path())?, Nodes::new(quiet.folder.path())?);
    friends.run(Deed::Bootstrap, crowded.address, 0, COUNT, AT_ONCE)?;
    others.run(Deed::Bootstrap, quiet.address, 0, COUNT, AT_ONCE)?;
    let before = memory::now().resident;
    let idle = friends.establish(crowded.address, connections)?;
    let octets = memory::now().resident.saturating_sub(before) as f64 / connections as f64;
    let mut number = COUNT;
    let rounds = alternate(time, || {
        let mut values = vec![0.0; 2];
        let mut sides = [(0, &friends, &crowded), (1, &others, &quiet)];
        // What one of them leaves to the disk the next one waits for: each is first in turn.
        if number / GOOD % 2 == 1 {
            sides.reverse();
        }
        for (side, nodes, controller) in sides {
            let clock = Instant::now();
            nodes.run(Deed::Bootstrap, controller.address, number, GOOD, 1)?;
            if let Some(value) = values.get_mut(side) {
                *value = clock.elapsed().as_secs_f64();
            }
        }
        number += GOOD;
        Ok(Round { values, disturbed: false })
    })?;
    drop(idle);
    Ok(Beside { connections, octets, rounds })
}
