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
use std::time::{Duration, Instant};

use hearth_dpdk::{Burst, Mempool, Port};
use hearth_wire::Suite;

use crate::buffers::{self, BUFFERS};
use crate::cycles;
use crate::fault::Fault;
use crate::figures::Rows;
use crate::frames::{Direction, Station};
use crate::generator::{Generator, Load, Plan, Sizes};
use crate::lab::{self, Lab};
use crate::nic::Nics;
use crate::pipeline::{self, Pipeline};
use crate::raw::BURST;
use crate::report::{Row, rounded};
use crate::rig::{self, Rig, Shape, Wire};
use crate::signalling;
use crate::stats::{Round, Watch, alternate};
use crate::traffic::{Parcel, Traffic};
use crate::trial::{Field, Outcome, Side};

/// Halvings of the range of rates: the result is as fine as one part in 2^9 of the range.
const STEPS: u32 = 9;
/// How often a trial is done again because the kernel took a core away while it ran.
const ATTEMPTS: u32 = 4;
/// After this time a search ends with what it has: on a busy machine every trial is done again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Frames that a ring holds: as many as the descriptors of a good NIC.
const RING: u32 = 2048;

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
            Ok(found) => found.row(course, nics.is_some()),
            Err(fault) => blank(course, nics.is_some()).failed(fault),
        });
    }
}

/// What a course has come to.
struct Found {
    /// At the throughput, or at the rate that was asked for.
    best: Outcome,
    /// At half of it.
    half: Option<Outcome>,
    /// Packets a second to compare with.
    reference: f64,
    trials: u32,
    disturbed: u32,
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

impl Found {
    fn row(&self, course: &Course, nics: bool) -> Row {
        let best = &self.best;
        let inner_bits = course.plan.sizes.mean() * 8.0;
        let us = |outcome: &Outcome, quantile: f64| {
            rounded(outcome.latency.value_at_quantile(quantile) as f64 / 1000.0, 2)
        };
        let mut row = blank(course, nics)
            .counted(best.rate / self.reference)
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
            .with("trials", self.trials)
            .with("disturbed_trials", self.disturbed);
        if let Some(half) = &self.half {
            row = row
                .with("half_rate_latency_us_p50", us(half, 0.5))
                .with("half_rate_latency_us_p99", us(half, 0.99))
                .with("half_rate_latency_us_max", us(half, 1.0));
        }
        row
    }
}

/// What sends and receives.
struct Range<'a> {
    plan: Plan,
    generator: Generator,
    load: Load,
    pool: &'a Mempool,
    /// Towards the mobile nodes, towards the correspondent.
    sides: [Side; 2],
    /// MAC address of the port under test that packets go to.
    mac: [u8; 6],
    next_down: Vec<u32>,
    ticks_per_us: f64,
    trials: u32,
    disturbed: u32,
    /// When no more trials are begun.
    deadline: Instant,
}

impl<'a> Range<'a> {
    fn new(
        lab: &Lab,
        pool: &'a Mempool,
        generator: Generator,
        sides: [Side; 2],
        macs: [[u8; 6]; 2],
    ) -> Self {
        let plan = generator.plan();
        let [access, home] = macs;
        Self {
            plan,
            load: Load::default(),
            pool,
            sides,
            mac: if plan.direction == Direction::Uplink { access } else { home },
            next_down: vec![0; plan.sas as usize],
            ticks_per_us: lab.machine.tsc_mhz,
            trials: 0,
            disturbed: 0,
            deadline: Instant::now() + PATIENCE,
            generator,
        }
    }

    /// Lets every mobile node register with the machine under test, and waits until it has.
    fn register(&mut self, [mac, _]: [[u8; 6]; 2]) -> Result<(), Fault> {
        let mut load = Load::default();
        self.generator.registrations(self.pool, mac, &mut load)?;
        let [Side { tx, rx }, _] = &mut self.sides;
        let mut answers = 0;
        let mut burst = Burst::<BURST>::new();
        for place in 0..load.len() {
            let (frame, _) = load.packet(place).ok_or(Fault::Room)?;
            let mut mbuf = self.pool.alloc().ok_or(Fault::Pool)?;
            buffers::lay(&mut mbuf, 0, frame)?;
            burst.push(mbuf).map_err(|_| Fault::Room)?;
            if burst.is_full() || place + 1 == load.len() {
                while tx.send(&mut burst) > 0 {}
                burst.clear();
                // As fast as a control core takes them.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let begun = Instant::now();
        let mut received = Burst::<64>::new();
        // Duplicate address detection takes a second or two (RFC 6275 s.10.3.1).
        while answers < load.len() && begun.elapsed() < PATIENCE {
            for queue in &mut *rx {
                queue.receive(&mut received);
                answers += received.iter().filter(|mbuf| signalling::is_answer(mbuf)).count();
                received.clear();
            }
        }
        if answers < load.len() {
            return Err(Fault::Unregistered { sent: load.len(), answers });
        }
        Ok(())
    }

    /// One trial at this rate; again where a core was taken away, and only then.
    fn trial(&mut self, rate: f64) -> Result<Outcome, Fault> {
        for attempt in 1.. {
            // Only what mobile nodes send is different each time: it carries numbers.
            if self.plan.direction == Direction::Uplink || self.load.len() == 0 {
                self.generator.load(self.pool, self.mac, &mut self.load)?;
            }
            let [access, home] = &mut self.sides;
            let (near, far) = match self.plan.direction {
                Direction::Uplink => (access, home),
                Direction::Downlink => (home, access),
            };
            let mut field = Field {
                direction: self.plan.direction,
                out: &mut near.tx,
                back: &mut far.rx,
                pool: self.pool,
                ticks_per_us: self.ticks_per_us,
                sas: self.plan.sas,
                next_down: &mut self.next_down,
            };
            let before = cycles::preemptions_of_all_threads();
            let outcome = field.run(&self.load, rate)?;
            self.trials += 1;
            let disturbed = cycles::preemptions_of_all_threads() != before;
            self.disturbed += u32::from(disturbed);
            let late = Instant::now() > self.deadline;
            if outcome.loss() == 0.0 || !disturbed || attempt == ATTEMPTS || late {
                return Ok(outcome);
            }
        }
        Err(Fault::Thread)
    }

    /// The highest rate without loss below `limit`, or what happens at the rate that was asked for.
    fn search(mut self, rate: Option<f64>, limit: f64, reference: f64) -> Result<Found, Fault> {
        // The first packets find cold caches.
        self.trial(limit / 2.0)?;
        if let Some(rate) = rate {
            let best = self.trial(rate)?;
            return Ok(self.found(best, None, reference));
        }
        let (mut low, mut high, mut best) = (0.0, limit, None);
        for _ in 0..STEPS {
            if Instant::now() > self.deadline && best.is_some() {
                break;
            }
            let rate = f64::midpoint(low, high);
            let outcome = self.trial(rate)?;
            // A generator that can't keep up has not shown more than it has sent.
            if outcome.loss() == 0.0 && outcome.rate > rate * 0.98 {
                low = rate;
                best = Some(outcome);
            } else {
                high = rate;
            }
        }
        let best = match best {
            Some(best) => best,
            None => {
                let outcome = self.trial(limit / f64::from(1 << STEPS))?;
                let (sent, received) = (outcome.offered, outcome.received);
                return Err(Fault::Lost { sent, received, drop: None });
            }
        };
        let half = self.trial(best.rate / 2.0)?;
        Ok(self.found(best, Some(half), reference))
    }

    fn found(self, best: Outcome, half: Option<Outcome>, reference: f64) -> Found {
        Found { best, half, reference, trials: self.trials, disturbed: self.disturbed }
    }
}

fn between_rings(lab: &Lab, pool: &Mempool, course: &Course) -> Result<Found, Fault> {
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
        let found = range.search(course.rate, reference * 2.0, reference);
        stop.store(true, Ordering::Relaxed);
        found
    });
    found.map_err(|fault| match fault {
        Fault::Lost { sent, received, .. } => {
            Fault::Lost { sent, received, drop: rig::main_drop(&counters) }
        }
        other => other,
    })
}

fn beside_nics(lab: &Lab, pool: &Mempool, course: &Course, nics: &Nics) -> Result<Found, Fault> {
    let generator = Generator::new(course.plan)?;
    let (sides, mbps) = nics.open(&lab.eal, pool)?;
    // Ethernet header, preamble, check sequence and gap around an outer packet.
    let frame = course.plan.sizes.mean() + 24.0 + 14.0;
    let line = f64::from(mbps) * 1e6 / (frame * 8.0);
    let mut range = Range::new(lab, pool, generator, sides, nics.macs);
    range.register(nics.macs)?;
    range.search(course.rate, line, line)
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
            let best = found.unwrap().best;
            assert_eq!((best.offered, best.refused, best.received), (4000, 0, 4000));
            assert_eq!(best.latency.len(), 4000, "{direction:?}");
        }
    }

    /// Packets of a lossy, reordered stream are all accepted: the window is wider than both.
    #[test]
    fn what_is_reordered_still_comes_through() {
        let mut course = course(Direction::Uplink, Sizes::One(64));
        (course.plan.reorder, course.plan.loss) = (0.2, 0.1);
        let best = with_lab(|lab| between_rings(lab, &lab.pool, &course)).unwrap().best;
        assert!((3300..3900).contains(&best.offered), "{}", best.offered);
        assert_eq!(best.received, best.offered);
    }
}
