//! `elephant`: one SA over two workers ÷ over one.
//!
//! All packets of one SA lie in one port's queue before the clock starts, and the workers take them
//! out, each on a core of its own. The clock stops with the last turn that had something to do.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hearth_dataplane::Worker;
use hearth_dpdk::Burst;
use hearth_wire::Suite;

use crate::buffers::BUFFERS;
use crate::cycles;
use crate::fault::Fault;
use crate::figures::Rows;
use crate::frames::{Direction, Station};
use crate::lab::{self, Lab};
use crate::report::{Row, Target};
use crate::rig::{Rig, Shape, Wire};
use crate::stats::{Round, Rounds, Watch, alternate};
use crate::traffic::{Parcel, Traffic};

const SUITE: Suite = Suite::Aes128CbcSha;
const INNER_BYTES: usize = 1400;
const TARGET: Target = Target::at_least(1.5, 1.8);
/// Room for every packet of a pass.
const RING: u32 = 8192;
const _: () = assert!(RING as usize > BUFFERS);
/// Ticks without a packet coming out after which no more are waited for, some ten milliseconds.
const PATIENCE: u64 = 1 << 26;

/// Measures both directions in about `time` each.
pub(crate) fn rows(lab: &Lab, time: Duration, rows: &mut Rows) {
    for direction in Direction::BOTH {
        let row = Row::new("elephant", "one worker")
            .of(SUITE, direction, INNER_BYTES)
            .asked(Some(TARGET))
            .with("workers", 2);
        rows.push(match measure(lab, direction, time) {
            Ok((rounds, shares)) => row
                .cycles(rounds.side(1), rounds.side(0))
                .measured(&rounds.quotient(0, 1))
                .with("lost", shares.lost)
                .with("lent", shares.lent)
                .with("busy_cycles", shares.busy),
            Err(fault) => row.failed(fault),
        });
    }
}

/// A dataplane with `workers` workers that share one SA's packets.
fn shape(workers: usize) -> Shape {
    Shape { stations: 1, workers, ring: RING, ..Shape::default() }
}

/// Of all packets.
struct Shares {
    /// The part that did not come out.
    lost: f64,
    /// The part whose crypto the second worker did, of those that two had.
    lent: f64,
    /// Ticks of busy turns per packet that two workers had, by worker.
    busy: Vec<f64>,
}

/// Ticks per packet that came out, with one worker, then with two, and who did what.
fn measure(lab: &Lab, direction: Direction, time: Duration) -> Result<(Rounds, Shares), Fault> {
    if lab.cores.len() < 2 {
        return Err(Fault::Cores(2));
    }
    // An SA of the worker that has the port's queue: what another one receives crosses a ring first,
    // which holds fewer packets than lie in the queue here.
    let number = match direction {
        Direction::Uplink => 2,
        Direction::Downlink => 1,
    };
    let station = Station::new(number, SUITE)?;
    let mut rigs = Vec::new();
    for workers in [1, 2] {
        let mut rig = Rig::new(&lab.eal, &lab.pool, &lab.name(), &shape(workers))?;
        rig.attach(&station)?;
        rig.settle();
        rigs.push(rig);
    }
    let mut traffic = Traffic::new(&lab.pool);
    let parcel = Parcel { station, inner_len: INNER_BYTES };
    let (mut sent, mut lost) = (0, 0);
    let rounds = alternate(time, || {
        let mut watch = Watch::default();
        let mut values = Vec::new();
        for rig in &mut rigs {
            traffic.prepare(direction, rig.ingress_mac(direction), &[parcel])?;
            let passed = watch.over(|| pass(lab, rig, direction, &mut traffic))?;
            let Passed { ticks, received, disturbed } = passed;
            watch.disturbed |= disturbed;
            sent += BUFFERS;
            lost += BUFFERS - received;
            values.push(ticks as f64 / received as f64);
        }
        Ok(Round { values, disturbed: watch.disturbed })
    })?;
    let part = |count: u64, of: usize| crate::report::rounded(count as f64 / of as f64, 4);
    let workers = rigs.last().map(|rig| rig.counters.snapshot().workers).unwrap_or_default();
    let of_two = sent / 2;
    Ok((
        rounds,
        Shares {
            lost: part(lost as u64, sent),
            lent: part(workers.iter().map(|worker| worker.lent).sum(), of_two),
            busy: workers.iter().map(|worker| part(worker.busy_cycles, of_two)).collect(),
        },
    ))
}

/// What became of a pass.
struct Passed {
    ticks: u64,
    received: usize,
    /// Whether the kernel took a core away from a worker.
    disturbed: bool,
}

/// Sends all packets through all workers at once.
fn pass(
    lab: &Lab,
    rig: &mut Rig,
    direction: Direction,
    traffic: &mut Traffic,
) -> Result<Passed, Fault> {
    let workers = core::mem::take(&mut rig.workers);
    let (from, to) = Rig::ends(&mut rig.wires, direction);
    for slot in &mut traffic.slots {
        let mbuf = slot.take().ok_or(Fault::Pool)?;
        from.to_port.push(mbuf).map_err(|_| Fault::Room)?;
    }
    let (workers, ticks, disturbed) = run(lab, workers, to)?;
    rig.workers = workers;
    let received = collect(to, traffic);
    if received == 0 {
        return Err(rig.lost(BUFFERS, received));
    }
    Ok(Passed { ticks, received, disturbed })
}

/// Lets every worker take turns on a core of its own until all packets are out; the ticks that it
/// took, and whether the kernel took a core away.
fn run(lab: &Lab, workers: Vec<Worker>, to: &Wire) -> Result<(Vec<Worker>, u64, bool), Fault> {
    let start = Start::of(workers.len());
    let stop = AtomicBool::new(false);
    let began = AtomicU64::new(u64::MAX);
    let ended = AtomicU64::new(0);
    let disturbed = AtomicBool::new(false);
    let mut workers = workers.into_iter();
    let mut first = workers.next().ok_or(Fault::Thread)?;
    let (start, stop, began, ended) = (&start, &stop, &began, &ended);
    let disturbed = &disturbed;
    let workers = std::thread::scope(|scope| {
        // This thread is on the last core.
        let others: Vec<_> = workers
            .zip(&lab.cores)
            .map(|(worker, &core)| {
                scope.spawn(move || {
                    lab::stay_on(core);
                    let _registration = lab_thread(lab);
                    let mut watch = Watch::default();
                    let worker = watch.over(|| {
                        turns(worker, start, began, ended, |_| !stop.load(Ordering::Relaxed))
                    });
                    disturbed.fetch_or(watch.disturbed, Ordering::Relaxed);
                    worker
                })
            })
            .collect();
        let mut last = (0, cycles::now());
        first = turns(first, start, began, ended, |handled| {
            // Looking into the rings costs the workers: only when there is time for it.
            if handled > 0 {
                return true;
            }
            let out = to.from_port.iter().map(hearth_dpdk::RingConsumer::len).sum::<usize>();
            let now = cycles::now();
            if out != last.0 {
                last = (out, now);
            }
            out < BUFFERS && now.wrapping_sub(last.1) < PATIENCE
        });
        stop.store(true, Ordering::Relaxed);
        let others = others.into_iter().map(|thread| thread.join().map_err(|_| Fault::Thread));
        [Ok(first)].into_iter().chain(others).collect::<Result<Vec<_>, _>>()
    })?;
    let ticks = ended.load(Ordering::Relaxed).saturating_sub(began.load(Ordering::Relaxed));
    Ok((workers, ticks, disturbed.load(Ordering::Relaxed)))
}

/// Lets threads begin at once.
struct Start {
    /// Until each is on its core: asleep, since the thread that is waited for may need the core.
    there: Barrier,
    /// Those that are not awake yet. Spinning for them, as a poll-mode worker does between packets:
    /// what wakes last would begin a tenth of a pass after the first.
    asleep: AtomicUsize,
}

impl Start {
    fn of(threads: usize) -> Self {
        Self { there: Barrier::new(threads), asleep: AtomicUsize::new(threads) }
    }

    fn together(&self) {
        self.there.wait();
        self.asleep.fetch_sub(1, Ordering::AcqRel);
        while self.asleep.load(Ordering::Acquire) > 0 {
            core::hint::spin_loop();
        }
    }
}

fn lab_thread(lab: &Lab) -> Option<hearth_dpdk::ThreadRegistration> {
    lab.eal.register_thread().ok()
}

/// Turns until `on` says no; notes when the first began and the last busy one ended.
fn turns(
    mut worker: Worker,
    start: &Start,
    began: &AtomicU64,
    ended: &AtomicU64,
    mut on: impl FnMut(usize) -> bool,
) -> Worker {
    start.together();
    began.fetch_min(cycles::now(), Ordering::Relaxed);
    let mut last_busy = 0;
    loop {
        let handled = worker.turn();
        if handled > 0 {
            last_busy = cycles::now();
        }
        if !on(handled) {
            break;
        }
    }
    ended.fetch_max(last_busy, Ordering::Relaxed);
    worker
}

/// Takes the packets out of the rings; how many there were.
fn collect(to: &mut Wire, traffic: &mut Traffic) -> usize {
    let mut out = Burst::<64>::new();
    let mut received = 0;
    for end in &mut to.from_port {
        while end.receive(&mut out) > 0 {
            for mbuf in out.drain() {
                if let Some(slot) = traffic.slots.get_mut(received) {
                    *slot = Some(mbuf);
                }
                received += 1;
            }
        }
    }
    received
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_lab;

    #[test]
    fn two_workers_carry_every_packet_of_one_sa() {
        with_lab(|lab| {
            let station = Station::new(1, SUITE).unwrap();
            let mut rig = Rig::new(&lab.eal, &lab.pool, &lab.name(), &shape(2)).unwrap();
            rig.attach(&station).unwrap();
            rig.settle();
            let mut traffic = Traffic::new(&lab.pool);
            let direction = Direction::Downlink;
            let parcel = Parcel { station, inner_len: INNER_BYTES };
            for _ in 0..2 {
                traffic.prepare(direction, rig.ingress_mac(direction), &[parcel]).unwrap();
                let passed = pass(lab, &mut rig, direction, &mut traffic).unwrap();
                assert_eq!((passed.received, rig.workers.len()), (BUFFERS, 2));
                assert!(passed.ticks > 0);
            }
        });
    }
}
