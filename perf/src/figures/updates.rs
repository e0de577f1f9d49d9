//! `directory_updates`: how soon an SA that a Home Agent Controller has issued is where workers look.
//!
//! ```text
//!   store, directory --- Unix socket or mutual TLS ---> feed --> [ control ] --> SA table
//!    |                                                                             |
//!    +-- the answer: the mobile node may send from now on ........ packet ---> [ worker ]
//! ```
//!
//! A thousand SAs a second are issued, whether the last ones are there or not. The control thread runs
//! as in the daemon and says after each of its turns how many SAs it has put into the table. As soon as
//! one is seen there a Binding Update under it is sent, which the worker has to open and control to
//! answer: none may be missing. So the table holds what it says.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hearth_dpdk::{Burst, Mbuf, Mempool};
use hearth_wire::ip::EthernetHeader;
use hearth_wire::{SeqNo, Suite};
use hearthd::control::Control;

use crate::buffers::{self, Slots};
use crate::controller::roam;
use crate::fault::Fault;
use crate::figures::Rows;
use crate::frames::{self, Direction, OUTER_LEN, Station};
use crate::home_agent::HomeAgentRig;
use crate::issuer::{Channel, Issued, Issuer};
use crate::lab::Lab;
use crate::report::{Row, Target, rounded};
use crate::rig::Wire;
use crate::signalling::{self, Asked};
use crate::traffic::{Parcel, seal};

const SUITE: Suite = Suite::Aes128CbcSha;
/// From one SA to the next.
const GAP: Duration = Duration::from_millis(1);
/// At most so many in a row: their Binding Updates lie ready in buffers.
const MOST: usize = 3000;
/// How long an SA may take to reach the table, in nanoseconds.
const BOUND: f64 = 5e6;
/// The longest time that is told apart from others, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;
/// What an answer is waited for at the end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Data packets on their way at a time, and their size.
const DATA: u64 = 128;
const DATA_OCTETS: usize = 576;
/// The generator's pause between two looks: on few cores it shares one with all that is measured.
const PAUSE: Duration = Duration::from_micros(100);

/// Measures a row for each way to the directory, with data packets and without, each for about `time`.
pub(crate) fn rows(lab: &Lab, time: Duration, rows: &mut Rows) {
    let count = (time.as_nanos() / GAP.as_nanos()).clamp(100, MOST as u128);
    let count = usize::try_from(count).unwrap_or(MOST);
    for channel in Channel::BOTH {
        for loaded in [false, true] {
            let row = Row::new("directory_updates", "5 ms")
                .asked(Some(Target::at_most(1.0, None)))
                .with("what", channel.name())
                .with("data", loaded);
            rows.push(match measure(lab, channel, loaded, count) {
                Ok(found) => found.tell(row),
                Err(fault) => row.failed(fault),
            });
        }
    }
}

/// What came of a row.
struct Found {
    /// Nanoseconds from the answer to who asked for the SA until it is in the table.
    answered: Histogram<u64>,
    /// The same from the question, with the disk in it.
    asked: Histogram<u64>,
    /// SAs a second.
    rate: f64,
    data: Data,
}

impl Found {
    fn tell(&self, mut row: Row) -> Row {
        let Self { answered, asked, rate, data } = self;
        let milliseconds = |histogram: &Histogram<u64>, quantile| {
            rounded(histogram.value_at_quantile(quantile) as f64 / 1e6, 3)
        };
        row.suite = Some(SUITE.name().to_owned());
        row.counted(answered.value_at_quantile(0.999) as f64 / BOUND)
            .with("updates", answered.len())
            .with("updates_per_second", rounded(*rate, 0))
            .with("ms_p50", milliseconds(answered, 0.5))
            .with("ms_p99", milliseconds(answered, 0.99))
            .with("ms_p999", milliseconds(answered, 0.999))
            .with("ms_max", milliseconds(answered, 1.0))
            .with("with_the_disk_ms_p50", milliseconds(asked, 0.5))
            .with("with_the_disk_ms_p99", milliseconds(asked, 0.99))
            .with("with_the_disk_ms_max", milliseconds(asked, 1.0))
            .with("first_packets_answered", answered.len())
            .with("data_packets", data.sent)
            .with("data_lost", data.sent - data.received)
    }
}

/// What the threads of a row tell each other.
#[derive(Default)]
struct Shared {
    /// When the SAs were found in the table, in the order of their SPIs.
    seen: Mutex<Vec<Instant>>,
    /// Ends the control thread.
    ended: AtomicBool,
}

fn measure(lab: &Lab, channel: Channel, loaded: bool, count: usize) -> Result<Found, Fault> {
    let numbers = 0..u32::try_from(count).map_err(|_| Fault::Room)? + 1;
    let stations: Vec<_> = numbers.map(|n| Station::new(n, SUITE)).collect::<Result<_, _>>()?;
    // As in the daemon: nobody but the worker is on its core.
    let [_, others @ ..] = &lab.cores[..] else { return Err(Fault::Cores(2)) };
    std::thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            roam(others);
            row(lab, channel, loaded, &stations)
        });
        measuring.join().map_err(|_| Fault::Thread)?
    })
}

fn row(lab: &Lab, channel: Channel, loaded: bool, stations: &[Station]) -> Result<Found, Fault> {
    let issuer = Issuer::start(stations)?;
    let folder = tempfile::tempdir_in("target").or_else(|_| tempfile::tempdir());
    let folder = folder.map_err(|error| Fault::File(error.kind()))?;
    let room = u32::try_from(stations.len()).map_err(|_| Fault::Room)?;
    let directory = issuer.yaml(channel);
    let mut rig = HomeAgentRig::start_with(lab, folder.path(), room, &directory)?;
    let (first, rest) = stations.split_first().ok_or(Fault::Room)?;
    let updates = sealed(&lab.pool, stations, rig.wires[0].mac)?;
    let shared = Shared::default();
    let HomeAgentRig { control, wires, .. } = &mut rig;
    let mut generator =
        Generator { pool: &lab.pool, wires, watched: *first, updates, answered: 0, loaded: false };
    std::thread::scope(|scope| {
        scope.spawn(|| attend(control, &shared));
        let result = (|| {
            // The first one is bound before the others come: data goes to it.
            issuer.issue(std::slice::from_ref(first), GAP)?;
            let mut data = Data::default();
            generator.until(1, &shared, &mut data, PATIENCE)?;
            generator.loaded = loaded;
            let begin = Instant::now();
            let issuing = scope.spawn(|| issuer.issue(rest, GAP));
            let patience = GAP * room + PATIENCE;
            let all = generator.until(stations.len(), &shared, &mut data, patience);
            let issued = issuing.join().map_err(|_| Fault::Thread)??;
            all?;
            let took = issued.last().map_or(begin, |last| last.asked) - begin;
            generator.settle(&mut data)?;
            let seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
            found(&issued, seen.get(1..).unwrap_or_default(), took, data)
        })();
        shared.ended.store(true, Ordering::Relaxed);
        result
    })
}

fn found(issued: &[Issued], seen: &[Instant], took: Duration, data: Data) -> Result<Found, Fault> {
    let histogram = || Histogram::new_with_bounds(1, LONGEST, 3).map_err(|_| Fault::Histogram);
    let (mut answered, mut asked) = (histogram()?, histogram()?);
    for (issued, seen) in issued.iter().zip(seen) {
        // Where it is in the table before anybody was told it took no time.
        for (histogram, since) in [(&mut answered, issued.answered), (&mut asked, issued.asked)] {
            let took = seen.saturating_duration_since(since).as_nanos();
            histogram.saturating_record(u64::try_from(took).unwrap_or(LONGEST));
        }
    }
    let rate = issued.len().saturating_sub(1) as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
    Ok(Found { answered, asked, rate, data })
}

/// The control thread, as it runs in the daemon.
fn attend(control: &mut Control, shared: &Shared) {
    while !shared.ended.load(Ordering::Relaxed) {
        if control.step().is_err() {
            return;
        }
        let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, sas) = (Instant::now(), control.totals().0);
        while seen.len() < sas {
            seen.push(now);
        }
    }
}

/// The first Binding Update of each of these, as the port with this MAC address receives them.
fn sealed(pool: &Mempool, stations: &[Station], mac: [u8; 6]) -> Result<Slots, Fault> {
    let (mut slots, mut parcels) = (Slots::new(), Vec::new());
    for station in stations {
        let asked = Asked { sequence: 1, lifetime: 900 };
        let (packet, inner_len) = signalling::binding_update_of(station, SeqNo(0), asked)?;
        let mut mbuf = pool.alloc().ok_or(Fault::Pool)?;
        buffers::lay(&mut mbuf, 0, &frames::ethernet(mac, &packet))?;
        slots.push(Some(mbuf));
        parcels.push(Parcel { station: *station, inner_len });
    }
    seal(&mut slots, &parcels)?;
    Ok(slots)
}

/// Data packets to the mobile node that is watched.
#[derive(Debug, Default, Clone, Copy)]
struct Data {
    sent: u64,
    received: u64,
}

/// The mobile nodes and the correspondent.
struct Generator<'a> {
    pool: &'a Mempool,
    wires: &'a mut [Wire; 2],
    /// Data goes to it.
    watched: Station,
    /// Empty where the Binding Update is sent.
    updates: Slots,
    answered: usize,
    /// Whether data goes.
    loaded: bool,
}

impl Generator<'_> {
    /// Sends the first packet under each SA once it is in the table, until so many are answered.
    fn until(
        &mut self,
        count: usize,
        shared: &Shared,
        data: &mut Data,
        patience: Duration,
    ) -> Result<(), Fault> {
        let (begin, mut sent) = (Instant::now(), self.answered);
        while self.answered < count {
            let seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner).len();
            for place in sent..seen {
                let update = self.updates.get_mut(place).and_then(Option::take);
                let [access, _] = &mut *self.wires;
                access.to_port.push(update.ok_or(Fault::Room)?).map_err(|_| Fault::Room)?;
            }
            sent = seen.max(sent);
            if self.loaded {
                self.send_data(data)?;
            }
            self.receive(data);
            if begin.elapsed() > patience {
                return Err(Fault::Unregistered { sent, answers: self.answered });
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Waits for data that is on its way.
    fn settle(&mut self, data: &mut Data) -> Result<(), Fault> {
        let begin = Instant::now();
        while data.received < data.sent && begin.elapsed() < PATIENCE {
            self.receive(data);
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn send_data(&mut self, data: &mut Data) -> Result<(), Fault> {
        let [_, home] = &mut *self.wires;
        while data.sent - data.received < DATA {
            let number = u32::try_from(data.sent & 0xffff_ffff).unwrap_or(0);
            let inner = frames::inner(&self.watched, Direction::Downlink, number, DATA_OCTETS);
            let Some(mut mbuf) = self.pool.alloc() else { return Ok(()) };
            buffers::lay(&mut mbuf, 0, &frames::ethernet(home.mac, &inner))?;
            home.to_port.push(mbuf).map_err(|_| Fault::Room)?;
            data.sent += 1;
        }
        Ok(())
    }

    /// Takes what comes out.
    fn receive(&mut self, data: &mut Data) {
        let mut out = Burst::<64>::new();
        let [access, home] = &mut *self.wires;
        for end in access.from_port.iter_mut().chain(&mut home.from_port) {
            while end.receive(&mut out) > 0 {
                for mbuf in out.drain() {
                    match signalling::answer(&mbuf) {
                        Some(_) => self.answered += 1,
                        None => data.received += u64::from(is_data(&mbuf)),
                    }
                }
            }
        }
    }
}

/// Whether it is a protected data packet (PType 1).
fn is_data(mbuf: &Mbuf) -> bool {
    let octet = mbuf.data().get(EthernetHeader::LEN + OUTER_LEN);
    octet.is_some_and(|octet| octet >> 4 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_lab;

    #[test]
    fn what_is_issued_reaches_the_table_and_its_packets_are_answered() {
        with_lab(|lab| {
            let mut rows = Rows::new();
            super::rows(lab, Duration::from_millis(200), &mut rows);
            assert_eq!(rows.0.len(), 4);
            for row in &rows.0 {
                assert_eq!(row.why, None, "{row:?}");
                assert_eq!(row.more("updates"), Some(&200.into()), "{row:?}");
                assert_eq!(row.more("data_lost"), Some(&0.into()), "{row:?}");
                let sent = row.more("data_packets").and_then(serde_json::Value::as_u64);
                assert_eq!(sent > Some(0), row.more("data") == Some(&true.into()), "{row:?}");
            }
        });
    }
}
