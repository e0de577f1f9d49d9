//! The search of RFC 2544 s.26.1, by trials of a generator's packets.

use std::time::{Duration, Instant};

use hearth_dpdk::{Burst, Mempool};

use crate::buffers;
use crate::cycles;
use crate::fault::Fault;
use crate::frames::Direction;
use crate::generator::{Generator, Load, Plan};
use crate::lab::Lab;
use crate::raw::BURST;
use crate::signalling;
use crate::trial::{Field, Outcome, Side};

/// Halvings of the range of rates: the result is as fine as one part in 2^9 of the range.
const STEPS: u32 = 9;
/// How often a trial is done because the kernel took a core away while the last one ran.
const ATTEMPTS: u32 = 4;
/// After this time a search ends with what it has: on a busy machine every trial is done again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Seconds that a trial of a search may take, and packets that it has at least.
const LONGEST: f64 = 0.5;
const LEAST_PACKETS: usize = 1000;

/// What a search has come to.
pub(crate) struct Found {
    /// At the throughput, or at the rate that was asked for.
    pub(crate) best: Outcome,
    /// At half of it.
    pub(crate) half: Option<Outcome>,
    pub(crate) trials: u32,
    /// Trials while which the kernel took a core away.
    pub(crate) disturbed: u32,
}

/// What sends and receives.
pub(crate) struct Range<'a> {
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
    /// Seconds that a trial may take.
    longest: f64,
    /// When no more trials are begun.
    deadline: Instant,
}

impl<'a> Range<'a> {
    pub(crate) fn new(
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
            longest: LONGEST,
            deadline: Instant::now() + PATIENCE,
            generator,
        }
    }

    /// Lets every mobile node register with the machine under test, and waits until it has.
    pub(crate) fn register(&mut self, [mac, _]: [[u8; 6]; 2]) -> Result<(), Fault> {
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
                for (sa, seq) in received.iter().filter_map(signalling::answer) {
                    // Data goes on behind the acknowledgement's number.
                    if let Some(next) = self.next_down.get_mut(sa) {
                        *next = seq.saturating_add(1);
                        answers += 1;
                    }
                }
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
        let packets = self.packets(rate);
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
            let outcome = field.run(&self.load, packets, rate)?;
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

    /// The packets of a trial at this rate: a search does not wait long for slow ones.
    fn packets(&self, rate: f64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "packets of a trial")]
        let packets = (rate * self.longest) as usize;
        packets.max(LEAST_PACKETS)
    }

    /// The highest rate without loss below `limit`, or what happens at the rate that was asked for.
    pub(crate) fn search(mut self, rate: Option<f64>, limit: f64) -> Result<Found, Fault> {
        // The first packets find cold caches.
        self.trial(limit / 2.0)?;
        if let Some(rate) = rate {
            self.longest = f64::INFINITY;
            let best = self.trial(rate)?;
            return Ok(self.found(best, None));
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
                if received < sent {
                    return Err(Fault::Lost { sent, received, drop: None });
                }
                outcome
            }
        };
        let half = self.trial(best.rate / 2.0)?;
        Ok(self.found(best, Some(half)))
    }

    fn found(self, best: Outcome, half: Option<Outcome>) -> Found {
        Found { best, half, trials: self.trials, disturbed: self.disturbed }
    }
}
