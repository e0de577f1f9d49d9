//! `ring`: the whole dataplane with its worker threads between two ports, by RFC 2544.
//!
//! ```text
//!   generator === port 0 [ workers ] port 1 === generator
//! ```
//!
//! The generator has a core of its own and is joined to the dataplane by rings (net_ring), which are
//! ports on both sides; against a NIC the same code sends and receives by the NIC's ports, and the
//! dataplane is another machine's. Throughput (RFC 2544 s.26.1) is the highest rate at which a trial
//! loses nothing, found by halving; latency is taken at that rate and at half of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hearth_dpdk::{Mempool, Port};
use hearth_wire::Suite;
use hearth_wire::frame::protected_len;
use hearth_wire::ip::EthernetHeader;

use crate::buffers::BUFFERS;
use crate::fault::Fault;
use crate::figures::Rows;
use crate::frames::{Direction, OUTER_LEN, Station};
use crate::generator::{Generator, Plan, Sizes};
use crate::lab::{self, Lab};
use crate::nic::Nics;
use crate::pipeline::{self, Pipeline};
use crate::report::{Row, rounded};
use crate::rig::{self, Rig, Shape, Wire};
use crate::search::{Found, Range};
use crate::stats::{Round, Watch, alternate};
use crate::traffic::{Parcel, Traffic};
use crate::trial::{Outcome, Side};

/// Frames that a ring holds: as many as the descriptors of a good NIC.
const RING: u32 = 2048;

/// Octets of a frame's preamble, check sequence and gap.
const AROUND: usize = 24;

/// One row to be measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    pub(crate) plan: Plan,
    pub(crate) workers: usize,
    /// Packets a second; searched for where it is not given.
    pub(crate) rate: Option<f64>,
}

impl Course {
    /// One SA, one worker, a trial of `packets`.
    pub(crate) const fn new(direction: Direction, sizes: Sizes, packets: usize) -> Self {
        let plan = Plan {
            direction,
            suite: Suite::Aes128CbcSha,
            sas: 1,
            sizes,
            packets,
            reorder: 0.0,
            loss: 0.0,
            first_seq: 0,
        };
        Self { plan, workers: 1, rate: None }
    }
}

/// The courses of a whole run.
pub(crate) fn courses(packets: usize) -> Vec<Course> {
    let mut courses = Vec::new();
    for sizes in [Sizes::One(64), Sizes::One(576), Sizes::One(1400), Sizes::Imix, Sizes::Jumbo] {
        courses.extend(Direction::BOTH.map(|direction| Course::new(direction, sizes, packets)));
    }
    let mut many = Course::new(Direction::Uplink, Sizes::Imix, packets);
    many.plan.sas = 1000;
    let mut rough = many;
    (rough.plan.reorder, rough.plan.loss) = (0.01, 0.01);
    courses.extend([many, rough]);
    courses
}

/// Measures these courses.
pub(crate) fn rows(lab: &Lab, courses: &[Course], nics: Option<&Nics>, rows: &mut Rows) {
    let mut jumbo = None;
    for course in courses {
        let pool = if course.plan.sizes == Sizes::Jumbo {
            if jumbo.is_none() {
                jumbo = Some(pipeline::jumbo_pool(&lab.eal));
            }
            jumbo.clone().unwrap_or(Err(Fault::Pool))
        } else {
            Ok(lab.pool.clone())
        };
        let found = pool.and_then(|pool| match nics {
            Some(nics) => beside_nics(lab, &pool, course, nics),
            None => between_rings(lab, &pool, course),
        });
        rows.push(match found {
            Ok(found) => row(&found, course, nics.is_some()),
            Err(fault) => blank(course, nics.is_some()).failed(fault),
        });
    }
}

fn blank(course: &Course, nics: bool) -> Row {
    let Plan { direction, suite, sas, sizes, reorder, loss, .. } = course.plan;
    let reference =
        if nics { "line rate of the link" } else { "one worker's turns on prepared mbufs" };
    let mut row = Row::new(if nics { "nic" } else { "ring" }, reference)
        .with("set", format!("{} SAs {}", sas, sizes.name()));
    row.suite = Some(suite.name().to_owned());
    row.direction = Some(direction);
    row.sas = Some(sas);
    if let Sizes::One(size) = sizes {
        row.inner_bytes = Some(size);
    }
    if reorder > 0.0 || loss > 0.0 {
        row = row
            .with("what", "reordered and lossy")
            .with("reorder", reorder)
            .with("generated_loss", loss);
    }
    row.with("workers", course.workers)
}

/// A row of what a search has come to, and of the packets a second to compare with.
fn row((found, reference): &(Found, f64), course: &Course, nics: bool) -> Row {
    let best = &found.best;
    let inner_bits = course.plan.sizes.mean() * 8.0;
    let us = |outcome: &Outcome, quantile: f64| {
        rounded(outcome.latency.value_at_quantile(quantile) as f64 / 1000.0, 2)
    };
    let mut row = blank(course, nics)
        .counted(best.rate / reference)
        .with("mpps", rounded(best.rate / 1e6, 4))
        .with("inner_gbit_per_second", rounded(best.rate * inner_bits / 1e9, 3))
        .with("loss", rounded(best.loss(), 6))
        .with("packets", best.offered)
        .with("refused", best.refused)
        .with("latency_us_p50", us(best, 0.5))
        .with("latency_us_p90", us(best, 0.9))
        .with("latency_us_p99", us(best, 0.99))
        .with("latency_us_p999", us(best, 0.999))
        .with("latency_us_max", us(best, 1.0))
        .with("trials", found.trials)
        .with("disturbed_trials", found.disturbed);
    if let Some(half) = &found.half {
        row = row
            .with("half_rate_latency_us_p50", us(half, 0.5))
            .with("half_rate_latency_us_p99", us(half, 0.99))
            .with("half_rate_latency_us_max", us(half, 1.0));
    }
    row
}

fn between_rings(lab: &Lab, pool: &Mempool, course: &Course) -> Result<(Found, f64), Fault> {
    let plan = course.plan;
    if lab.cores.len() <= course.workers {
        return Err(Fault::Cores(course.workers + 1));
    }
    let reference = reference(lab, pool, &plan)? * course.workers as f64;
    let generator = Generator::new(plan)?;
    let name = lab.name();
    let mut rig = Rig::new(&lab.eal, pool, &name, &shape(&plan, course.workers))?;
    generator.stations().iter().try_for_each(|station| rig.attach(station))?;
    rig.settle();
    let Rig { workers, wires: [access, home], counters, .. } = rig;
    let macs = [access.mac, home.mac];
    let open = |wire: Wire, end: &str| {
        let name = format!("{name}{end}");
        let (port, queues) =
            Port::from_rings(&lab.eal, &name, wire.from_port, vec![wire.to_port], pool)?;
        let tx = queues.tx.into_iter().next().ok_or(Fault::Thread)?;
        Ok::<_, Fault>((port, Side { rx: queues.rx, tx }))
    };
    let ((_access_port, access), (_home_port, home)) = (open(access, "a")?, open(home, "h")?);
    let range = Range::new(lab, pool, generator, [access, home], macs);
    let stop = AtomicBool::new(false);
    let found = std::thread::scope(|scope| {
        for (worker, &core) in workers.into_iter().zip(&lab.cores) {
            let stop = &stop;
            scope.spawn(move || {
                lab::stay_on(core);
                worker.run(stop);
            });
        }
        // The generator sends at most as fast as this.
        let found = range.search(course.rate, reference * 2.0);
        stop.store(true, Ordering::Relaxed);
        found
    });
    found.map(|found| (found, reference)).map_err(|fault| match fault {
        Fault::Lost { sent, received, .. } => {
            Fault::Lost { sent, received, drop: rig::main_drop(&counters) }
        }
        other => other,
    })
}

fn beside_nics(
    lab: &Lab,
    pool: &Mempool,
    course: &Course,
    nics: &Nics,
) -> Result<(Found, f64), Fault> {
    let generator = Generator::new(course.plan)?;
    let (sides, mbps) = nics.open(&lab.eal, pool)?;
    // Protected packets are the larger ones, whatever the direction.
    let Plan { suite, sizes, .. } = course.plan;
    let octets = sizes
        .mean_of(|inner| EthernetHeader::LEN + OUTER_LEN + protected_len(suite, inner) + AROUND);
    let line = f64::from(mbps) * 1e6 / (octets * 8.0);
    let mut range = Range::new(lab, pool, generator, sides, nics.macs);
    range.register(nics.macs)?;
    Ok((range.search(course.rate, line)?, line))
}

fn shape(plan: &Plan, workers: usize) -> Shape {
    let mtu = if plan.sizes == Sizes::Jumbo { 9000 } else { 1500 };
    Shape { stations: plan.sas, workers, ring: RING, mtu, ..Shape::default() }
}

/// Packets a second that a worker's turns handle on prepared mbufs.
fn reference(lab: &Lab, pool: &Mempool, plan: &Plan) -> Result<f64, Fault> {
    let mut pipeline = Pipeline::empty(&lab.eal, pool, &lab.name(), &shape(plan, 1))?;
    let station = Station::new(0, plan.suite)?;
    pipeline.rig.attach(&station)?;
    pipeline.settle();
    let mut traffic = Traffic::new(pool);
    let parcels: Vec<_> =
        (0..12).map(|number| Parcel { station, inner_len: plan.sizes.of(number) }).collect();
    let mac = pipeline.ingress_mac(plan.direction);
    let rounds = alternate(Duration::from_millis(300), || {
        let mut watch = Watch::default();
        traffic.prepare(plan.direction, mac, &parcels)?;
        let ticks = watch.over(|| pipeline.pass(plan.direction, &mut traffic.slots))?;
        Ok(Round { values: vec![ticks as f64 / BUFFERS as f64], disturbed: watch.disturbed })
    })?;
    Ok(lab.machine.tsc_mhz * 1e6 / rounds.side(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_lab;

    fn course(direction: Direction, sizes: Sizes) -> Course {
        let mut course = Course::new(direction, sizes, 4000);
        course.rate = Some(20_000.0);
        course.plan.sas = 7;
        course
    }

    /// Slow enough for any machine, so that nothing may be missing.
    #[test]
    fn at_a_low_rate_every_packet_comes_back_and_is_timed() {
        for (direction, sizes) in
            [(Direction::Uplink, Sizes::Imix), (Direction::Downlink, Sizes::One(64))]
        {
            let found = with_lab(|lab| between_rings(lab, &lab.pool, &course(direction, sizes)));
            let best = found.unwrap().0.best;
            assert_eq!((best.offered, best.refused, best.received), (4000, 0, 4000));
            assert_eq!(best.latency.len(), 4000, "{direction:?}");
        }
    }

    /// Packets of a lossy, reordered stream are all accepted: the window is wider than both.
    #[test]
    fn what_is_reordered_still_comes_through() {
        let mut course = course(Direction::Uplink, Sizes::One(64));
        (course.plan.reorder, course.plan.loss) = (0.2, 0.1);
        let best = with_lab(|lab| between_rings(lab, &lab.pool, &course)).unwrap().0.best;
        assert!((3300..3900).contains(&best.offered), "{}", best.offered);
        assert_eq!(best.received, best.offered);
    }
}
