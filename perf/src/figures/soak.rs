//! `soak`: packets of all kinds through the whole dataplane, each accounted for, every buffer back.
//!
//! ```text
//!   mixture ===> port 0 [ worker ] port 1 ===> counted
//! ```
//!
//! A worker runs on its core, the packets are made and taken out on another, and bindings move all
//! the while. No more is under way than the queues hold, so that nothing has to be dropped but what
//! is wrong: of each kind as many packets have to end where that kind ends as were sent.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use core::net::SocketAddr;
use hearth_dataplane::{ControlPort, FromWorker, Snapshot, TableError, TableWriter};
use hearth_dpdk::{Burst, MultiBuffer};
use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::figures::Rows;
use crate::frames::{Direction, Station};
use crate::keys::Schedules;
use crate::kinds::{End, Kind, Sent};
use crate::lab::{self, Lab};
use crate::mixture::{self, Mixture, Staged};
use crate::pipeline;
use crate::report::{Row, Target, rounded};
use crate::rig::{self, Rig, Shape, Wire};

/// Mobile nodes, a sixth of them of each suite.
const STATIONS: u32 = 96;
/// Frames that a ring holds.
const RING: u32 = 16_384;
/// Frames that wait for the worker at a port at most: all of both ports fit into one port's ring,
/// and keep the worker busy while this thread has to wait for its core.
const WAITING: usize = 7000;
/// Buffers: for both ports' rings, and for what is being made.
const BUFFERS: u32 = 32_767;
/// How long buffers may take to come back: fragments wait for others for two seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two lines that say how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(20);

/// Sends at least so many packets; which, `seed` says.
pub(crate) fn rows(lab: &Lab, packets: u64, seed: u64, rows: &mut Rows) {
    let row = Row::new("soak", "packets sent")
        .asked(Some(Target { must: 1.0, aim: None, at_most: false }))
        .with("seed", seed);
    lab::give_way();
    let found = soak(lab, packets, seed);
    lab::take_precedence();
    rows.push(match found {
        Ok(account) => {
            let row = filled(row, &account);
            account.check().map_or_else(|fault| row.clone().failed(fault), |()| row.clone())
        }
        Err(fault) => row.failed(fault),
    });
}

/// Everything that was counted.
struct Account {
    sent: Sent,
    /// Frames that came out of the ports.
    received: u64,
    /// Binding Updates that control got.
    signalled: u64,
    /// What else control got.
    strays: u64,
    counters: Snapshot,
    /// Buffers in use, of all pools: before, when all was quiet, and without a dataplane again.
    in_use: [u64; 3],
    moves: u64,
    time: Duration,
}

impl Account {
    /// Packets of which it is known what became of them.
    fn known(&self) -> u64 {
        self.received + self.signalled + self.strays + self.counters.dropped_total()
    }

    /// Whether everything agrees.
    fn check(&self) -> Result<(), Fault> {
        let Self { sent, counters, in_use: [before, quiet, after], .. } = self;
        agree("buffers in use when all is quiet", *before, *quiet)?;
        agree("buffers in use without a dataplane", *before, *after)?;
        let ends_out = |kind: Kind| matches!(kind.end(), End::Out);
        let out = Kind::ALL.into_iter().filter(|(kind, _)| ends_out(*kind));
        agree("packets that left", out.map(|(kind, _)| sent.kind(kind)).sum(), self.received)?;
        agree("Binding Updates in control", sent.kind(Kind::Signalling), self.signalled)?;
        agree("other packets in control", 0, self.strays)?;
        let mut expected = Vec::new();
        for (kind, _) in Kind::ALL {
            let End::Dropped(reasons) = kind.end() else { continue };
            let found = reasons.iter().map(|reason| counters.dropped(*reason)).sum();
            agree(reasons.first().map_or("", |reason| reason.name()), sent.kind(kind), found)?;
            expected.extend(reasons);
        }
        for (reason, count) in counters.drops().filter(|(reason, _)| !expected.contains(reason)) {
            agree(reason.name(), 0, count)?;
        }
        let by_ports = counters.ports.iter().map(|port| [port.rx.packets, port.tx.packets]);
        let [taken_in, sent_out] = by_ports.fold([0, 0], |[a, b], [c, d]| [a + c, b + d]);
        agree("frames received by ports", sent.frames, taken_in)?;
        agree("frames sent by ports", self.received, sent_out)?;
        let fragmented = sent.kind(Kind::Fragmented);
        agree("packets put together", fragmented, counters.sizes.reassembled)?;
        agree("packets sent", sent.packets(), self.known())
    }
}

fn agree(what: &'static str, expected: u64, found: u64) -> Result<(), Fault> {
    if found == expected { Ok(()) } else { Err(Fault::Unaccounted { what, expected, found }) }
}

fn filled(row: Row, account: &Account) -> Row {
    let Account { sent, received, signalled, counters, in_use, moves, time, .. } = account;
    let kinds = Kind::ALL.map(|(kind, _)| (kind.name().to_owned(), sent.kind(kind).into()));
    let drops = counters.drops().filter(|(_, count)| *count > 0);
    let drops = drops.map(|(reason, count)| (reason.name().to_owned(), count.into()));
    let [before, quiet, after] = *in_use;
    row.counted(account.known() as f64 / sent.packets().max(1) as f64)
        .with("packets", sent.packets())
        .with("mpps", rounded(sent.packets() as f64 / time.as_secs_f64() / 1e6, 3))
        .with("seconds", rounded(time.as_secs_f64(), 1))
        .with("frames", sent.frames)
        .with("sent", Value::Object(Map::from_iter(kinds)))
        .with("received", *received)
        .with("to_control", *signalled)
        .with("drops", Value::Object(drops.collect()))
        .with("moves", *moves)
        .with("in_use_before", before)
        .with("in_use_when_quiet", quiet)
        .with("in_use_after", after)
        .with("leaked", after.saturating_sub(before))
}

fn soak(lab: &Lab, packets: u64, seed: u64) -> Result<Account, Fault> {
    let (Some(&core), true) = (lab.cores.first(), lab.cores.len() > 1) else {
        return Err(Fault::Cores(2));
    };
    let before = in_use(lab);
    let stations = mixture::stations(STATIONS)?;
    let crypto = MultiBuffer::new()?;
    let expand = |station| Schedules::expand(&crypto, station, Direction::Uplink);
    let keys = stations.iter().map(expand).collect::<Result<Vec<_>, _>>()?;
    let shape = Shape {
        stations: STATIONS,
        ring: RING,
        adjust: |config| {
            (config.large_buffers, config.reassembly_packets) = (1023, 1024);
            config.busy_poll = false;
        },
        ..Shape::default()
    };
    let name = lab.name();
    let pool = pipeline::pool_of(&lab.eal, &format!("{name}_soak"), BUFFERS)?;
    let mut rig = Rig::new(&lab.eal, &pool, &name, &shape)?;
    stations.iter().try_for_each(|station| rig.attach(station))?;
    rig.settle();
    let macs = Direction::BOTH.map(|direction| rig.ingress_mac(direction));
    let workers = core::mem::take(&mut rig.workers);
    let mut mixture = Mixture::new(&stations, &keys, &pool, macs, seed)?;
    let stop = AtomicBool::new(false);
    let (mut line, end) = {
        let mut line = Line::new(&mut rig, &stations);
        let end = std::thread::scope(|scope| {
            for worker in workers {
                let stop = &stop;
                scope.spawn(move || {
                    lab::stay_on(core);
                    worker.run(stop);
                });
            }
            let end = line.run(lab, &mut mixture, packets, before);
            stop.store(true, Ordering::Relaxed);
            end
        });
        (line, end?)
    };
    // What the worker had in hand when it ended.
    line.take();
    let Line { received, signalled, strays, moves, .. } = line;
    let (counters, sent) = (rig.counters.snapshot(), mixture.sent);
    drop((mixture, rig));
    // With its last handle a pool goes, unless a buffer of it is missing.
    drop(pool);
    let in_use = [before, end.in_use, in_use(lab)];
    Ok(Account { sent, received, signalled, strays, counters, in_use, moves, time: end.time })
}

/// Buffers in use, of all pools of this process.
fn in_use(lab: &Lab) -> u64 {
    lab.eal.pools().iter().map(|pool| u64::from(pool.in_use)).sum()
}

/// The far ends of a running dataplane.
struct Line<'a> {
    wires: &'a mut [Wire; 2],
    control: &'a mut ControlPort,
    tables: &'a mut TableWriter,
    stations: &'a [Station],
    received: u64,
    signalled: u64,
    strays: u64,
    moves: u64,
}

/// How a run ended.
struct Quiet {
    in_use: u64,
    /// From the first packet to the last.
    time: Duration,
}

impl<'a> Line<'a> {
    fn new(rig: &'a mut Rig, stations: &'a [Station]) -> Self {
        let Rig { wires, control, tables, .. } = rig;
        Self { wires, control, tables, stations, received: 0, signalled: 0, strays: 0, moves: 0 }
    }

    /// Sends the packets, and waits until every buffer is back or nobody can expect it any more.
    fn run(
        &mut self,
        lab: &Lab,
        mixture: &mut Mixture<'_>,
        packets: u64,
        before: u64,
    ) -> Result<Quiet, Fault> {
        let begin = Instant::now();
        let mut reported = begin;
        let mut staged: Staged = [VecDeque::new(), VecDeque::new()];
        while mixture.sent.packets() < packets {
            mixture.batch(&mut staged)?;
            while staged.iter().any(|queue| !queue.is_empty()) {
                let sent = self.send(&mut staged)?;
                if sent + self.take() == 0 {
                    std::thread::yield_now();
                }
            }
            self.move_one()?;
            if reported.elapsed() > REPORT_EVERY {
                reported = Instant::now();
                let millions = mixture.sent.packets() as f64 / 1e6;
                let rate = millions / begin.elapsed().as_secs_f64();
                say!("{millions:.0} million packets, {rate:.3} million a second");
            }
        }
        let (time, end) = (begin.elapsed(), Instant::now());
        while in_use(lab) != before && end.elapsed() < PATIENCE {
            self.take();
            std::thread::yield_now();
        }
        Ok(Quiet { in_use: in_use(lab), time })
    }

    /// Hands frames to the ports, where not too many wait already; how many.
    fn send(&mut self, staged: &mut Staged) -> Result<usize, Fault> {
        let mut sent = 0;
        for (wire, queue) in self.wires.iter_mut().zip(staged) {
            if wire.to_port.len() > WAITING {
                continue;
            }
            let mut burst = Burst::<32>::new();
            while let Some(mbuf) = if burst.is_full() { None } else { queue.pop_front() } {
                burst.push(mbuf).map_err(|_| Fault::Room)?;
            }
            sent += wire.to_port.send(&mut burst);
            if !burst.is_empty() {
                return Err(Fault::Room);
            }
        }
        Ok(sent)
    }

    /// Counts and frees what has come out; how much.
    fn take(&mut self) -> usize {
        let mut burst = Burst::<64>::new();
        let mut taken = 0;
        for end in self.wires.iter_mut().flat_map(|wire| &mut wire.from_port) {
            while end.receive(&mut burst) > 0 {
                taken += burst.len();
                burst.clear();
            }
        }
        self.received += taken as u64;
        let (signalled, strays) = (&mut self.signalled, &mut self.strays);
        taken
            + self.control.poll(256, |event| match event {
                FromWorker::Signalling(_) => *signalled += 1,
                // All numbers are granted.
                FromWorker::NearGrant(_) => {}
                _ => *strays += 1,
            })
    }

    /// Moves one mobile node to its other care-of address.
    fn move_one(&mut self) -> Result<(), Fault> {
        let (count, turn) = (self.stations.len().max(1) as u64, self.moves);
        let place = usize::try_from(turn % count).unwrap_or(0);
        let station = self.stations.get(place).ok_or(Fault::Room)?;
        let mut remote = station.remote;
        if turn / count % 2 == 0 {
            remote.set_port(remote.port() + 1);
        }
        match self.bind(station, remote) {
            Ok(()) => self.moves += 1,
            // The worker has not let go of what was replaced.
            Err(TableError::Full) => {}
            Err(other) => return Err(other.into()),
        }
        self.tables.reclaim();
        Ok(())
    }

    fn bind(&mut self, station: &Station, remote: SocketAddr) -> Result<(), TableError> {
        rig::bind(self.tables, station, remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_lab;

    #[test]
    fn every_packet_is_accounted_for() {
        let account = with_lab(|lab| soak(lab, 60_000, 1)).unwrap();
        assert_eq!(account.check(), Ok(()));
        assert!(account.sent.packets() >= 60_000);
        for (kind, _) in Kind::ALL {
            assert!(account.sent.kind(kind) > 0, "no {}", kind.name());
        }
        assert!(account.moves > 10);
    }

    #[test]
    fn what_does_not_agree_is_said() {
        let mut account = with_lab(|lab| soak(lab, 3000, 2)).unwrap();
        let what = |account: &Account| match account.check() {
            Err(Fault::Unaccounted { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        account.received -= 1;
        assert_eq!(what(&account), "packets that left");
        account.received += 1;
        account.in_use[2] += 1;
        assert_eq!(what(&account), "buffers in use without a dataplane");
        account.in_use[2] -= 1;
        account.sent.count(Kind::Replayed, 1);
        assert_eq!(what(&account), "replayed");
    }
}
