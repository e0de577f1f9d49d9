//! `binding_updates`, `registration_storm`, `expiry`, `restart`: what the control thread does in a
//! second, and that it harms no packet meanwhile.
//!
//! Binding Updates are sealed beforehand and go in by the access port; a worker on a core of its own
//! opens them, the control thread decides, writes and answers, and the worker seals the answers.
//! Packets to a mobile node that stays where it is go through the same worker all the while and are
//! counted.

use core::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use hearth_dpdk::{Burst, Mbuf, Mempool};
use hearth_wire::ip::EthernetHeader;
use hearth_wire::{SeqNo, Suite};

use crate::buffers::{self, Slots};
use crate::fault::Fault;
use crate::figures::Rows;
use crate::frames::{self, Direction, OUTER_LEN, Station};
use crate::home_agent::{HomeAgentRig, serve};
use crate::lab::Lab;
use crate::memory;
use crate::report::{Row, Target, rounded};
use crate::signalling::{self, Asked};
use crate::traffic::{Parcel, seal};

const SUITE: Suite = Suite::Aes128CbcSha;
/// Binding Updates that are sealed at a time.
const BATCH: u32 = 4096;
/// Binding Updates without an answer at a time: half of what waits for control at the most.
const WINDOW: u32 = 512;
/// Data packets on their way at a time, and their size.
const DATA: u64 = 128;
const DATA_OCTETS: usize = 576;
/// How long nothing may come back before what is missing is sent again, as RFC 6275 s.11.8 has it.
const RETRANSMIT: Duration = Duration::from_secs(1);
/// What lifetimes are granted in (RFC 6275 s.6.1.8).
const LIFETIME_UNIT: Duration = Duration::from_secs(4);
/// Validity of SAs that are not to end.
const DAY: Duration = Duration::from_secs(86_400);

/// How far a run goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Mobile nodes that register, and come back after a restart.
    pub(crate) storm: u32,
    /// Mobile nodes whose SAs and bindings end in the same second.
    pub(crate) ending: u32,
}

impl Size {
    /// That of a whole run.
    pub(crate) const WHOLE: Self = Self { storm: 1_000_000, ending: 100_000 };
    /// That of the main rows.
    pub(crate) const QUICK: Self = Self { storm: 50_000, ending: 20_000 };
}

/// Measures all rows for about `time` each, besides what a storm takes.
pub(crate) fn rows(lab: &Lab, size: Size, time: Duration, rows: &mut Rows) {
    if let Err(fault) = town(lab, size, time, rows) {
        rows.push(updates("refresh").failed(fault));
    }
    let row = Row::new("expiry", "the longest turn of the control thread, 5 ms")
        .asked(Some(Target::at_most(1.0, Some(0.4))));
    rows.push(match ending(lab, size.ending) {
        Ok(found) => sized(row, size.ending)
            .counted(found.longest.as_secs_f64() / 5e-3)
            .with("longest_turn_ms", rounded(found.longest.as_secs_f64() * 1e3, 3))
            .with("control_seconds", rounded(found.busy.as_secs_f64(), 3))
            .with("data_packets", found.sent)
            .with("data_lost", found.lost),
        Err(fault) => row.failed(fault),
    });
}

fn updates(kind: &'static str) -> Row {
    Row::new("binding_updates", "one a second of the control thread's time")
        .asked(Some(Target::at_least(50_000.0, 200_000.0)))
        .with("kind", kind)
}

fn sized(mut row: Row, sas: u32) -> Row {
    row.suite = Some(SUITE.name().to_owned());
    row.sas = Some(sas);
    row
}

/// The town of the storm, and what is measured in it.
fn town(lab: &Lab, size: Size, time: Duration, rows: &mut Rows) -> Result<(), Fault> {
    let folder = tempfile::tempdir_in("target").or_else(|_| tempfile::tempdir());
    let folder = folder.map_err(|error| Fault::File(error.kind()))?;
    let before = memory::now();
    let directory = serve(folder.path(), SUITE, size.storm + 1, DAY)?;
    let home_agent = HomeAgentRig::start(lab, folder.path(), size.storm + 1)?;
    let mut town = Town::new(lab, home_agent, size.storm)?;
    town.home_agent.until_sas(size.storm as usize + 1)?;
    town.register_watched()?;
    storm(&mut town, size.storm, rows)?;
    let after = memory::now();
    let octets = after.resident.saturating_sub(before.resident) as f64 / f64::from(size.storm);
    let buffers = after.shared.saturating_sub(before.shared) >> 20;
    let row = Row::new("memory", "1 KiB").asked(Some(Target::at_most(2.0, Some(1.0))));
    rows.push(
        sized(row, size.storm)
            .with("what", "home agent")
            .with("octets_per_sa_and_binding", rounded(octets, 1))
            .with("counted", "tables, the home agent with its timers, keys kept for the log")
            .with("packet_buffers_mib_besides", buffers)
            .counted(octets / 1024.0),
    );
    for (kind, port) in [("refresh", 0), ("handover", 1)] {
        let found = town.rounds(port, time)?;
        rows.push(rate(updates(kind), &found, size.storm));
    }
    let Town { home_agent, .. } = town;
    home_agent.end();
    let _gone = directory.join();
    restart(lab, folder.path(), size.storm, rows)
}

fn rate(row: Row, found: &Found, sas: u32) -> Row {
    let seconds = found.busy.as_secs_f64().max(f64::MIN_POSITIVE);
    sized(row, sas)
        .counted(f64::from(found.answered) / seconds)
        .with("binding_updates", found.answered)
        .with("control_seconds", rounded(seconds, 3))
        .with("wall_seconds", rounded(found.wall.as_secs_f64(), 3))
        .with("state", "on disk, relaxed")
        .with("unanswered", found.offered - found.answered)
        .with("data_packets", found.sent)
        .with("data_lost", found.lost)
}

/// A storm: everybody registers, as fast as answers come.
fn storm(town: &mut Town<'_>, stations: u32, rows: &mut Rows) -> Result<(), Fault> {
    let mut all = Found::default();
    for first in (0..stations).step_by(BATCH as usize) {
        let last = (first + BATCH).min(stations);
        all.add(&town.pass(first..last, Manner { port: 0, window: WINDOW, again: true })?);
    }
    let bound = town.home_agent.control.totals().1;
    let row = Row::new("registration_storm", "every mobile node of the storm")
        .asked(Some(Target::at_least(1.0, 1.0)))
        .counted(f64::from(all.answered) / f64::from(stations))
        .with("bindings", bound)
        .with("dropped", town.home_agent.counters.snapshot().dropped_total())
        .with("sent_again", all.again);
    rows.push(with_data(sized(row, stations), &all));
    rows.push(rate(updates("first"), &all, stations));
    Ok(())
}

fn with_data(row: Row, found: &Found) -> Row {
    row.with("data_packets", found.sent).with("data_lost", found.lost)
}

/// The state of the storm, read by another home agent.
fn restart(lab: &Lab, folder: &Path, stations: u32, rows: &mut Rows) -> Result<(), Fault> {
    let directory = serve(folder, SUITE, stations + 1, DAY)?;
    let begin = Instant::now();
    let home_agent = HomeAgentRig::start(lab, folder, stations + 1)?;
    let whole = begin.elapsed();
    let (sas, bindings) = home_agent.control.totals();
    let start = home_agent.start.as_secs_f64();
    let row = Row::new("restart", "5 s for a million SAs")
        .asked(Some(Target::at_most(1.0, Some(0.4))))
        .counted(start / 5.0 * 1e6 / f64::from(stations))
        .with("seconds_to_ports", rounded(start, 3))
        .with("seconds_with_the_tables", rounded(whole.as_secs_f64(), 3))
        .with("sas_restored", sas)
        .with("bindings_restored", bindings);
    rows.push(sized(row, stations));
    let mut town = Town::new(lab, home_agent, stations)?;
    town.seq = 1 << 20;
    let first = Instant::now();
    let found = town.pass(0..1, Manner { port: 0, window: 1, again: false })?;
    if found.answered != 1 || (sas, bindings) != (stations as usize + 1, stations as usize + 1) {
        return Err(Fault::Unregistered { sent: stations as usize + 1, answers: bindings });
    }
    let _first_answer = first.elapsed();
    let Town { home_agent, .. } = town;
    home_agent.end();
    let _gone = directory.join();
    Ok(())
}

/// SAs and bindings that end in the same second.
fn ending(lab: &Lab, stations: u32) -> Result<Found, Fault> {
    let folder = tempfile::tempdir().map_err(|error| Fault::File(error.kind()))?;
    // Time enough to register all of them on a busy machine.
    let validity = Duration::from_secs(20 + u64::from(stations) / 4000);
    let begin = Instant::now();
    let directory = serve(folder.path(), SUITE, stations + 1, validity)?;
    let home_agent = HomeAgentRig::start(lab, folder.path(), stations + 1)?;
    let mut town = Town::new(lab, home_agent, stations)?;
    town.home_agent.until_sas(stations as usize + 1)?;
    town.register_watched()?;
    for first in (0..stations).step_by(BATCH as usize) {
        let last = (first + BATCH).min(stations);
        town.pass(first..last, Manner { port: 0, window: WINDOW, again: true })?;
    }
    // The watched one ends as well, so data stops before: its SA ends up to a second early, where
    // the validity is cut to whole seconds, and its binding up to a unit of lifetimes before that.
    let mut data = Data::default();
    let early = LIFETIME_UNIT + Duration::from_secs(2);
    while begin.elapsed() < validity.saturating_sub(early) {
        town.turn(&mut data)?;
    }
    town.settle(&mut data)?;
    town.home_agent.busy = Duration::ZERO;
    town.home_agent.longest = Duration::ZERO;
    while town.home_agent.control.totals().0 > 0 {
        town.home_agent.turn()?;
        if begin.elapsed() > validity + Duration::from_secs(30) {
            return Err(Fault::Part("the end of the SAs"));
        }
    }
    let found = Found {
        busy: town.home_agent.busy,
        longest: town.home_agent.longest,
        sent: data.sent,
        lost: data.sent - data.received,
        ..Found::default()
    };
    drop(town);
    let _gone = directory.join();
    Ok(found)
}

/// What came of it.
#[derive(Debug, Default, Clone, Copy)]
struct Found {
    offered: u32,
    answered: u32,
    again: u32,
    busy: Duration,
    longest: Duration,
    wall: Duration,
    sent: u64,
    lost: u64,
}

impl Found {
    fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.answered += other.answered;
        self.again += other.again;
        self.busy += other.busy;
        self.longest = self.longest.max(other.longest);
        self.wall += other.wall;
        self.sent += other.sent;
        self.lost += other.lost;
    }
}

/// How Binding Updates are sent.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// Added to the care-of port: another one is a handover.
    port: u16,
    /// How many wait for an answer at a time.
    window: u32,
    /// Whether those without an answer are sent again.
    again: bool,
}

/// Data packets to the mobile node that is watched.
#[derive(Debug, Default, Clone, Copy)]
struct Data {
    sent: u64,
    received: u64,
}

struct Town<'l> {
    pool: &'l Mempool,
    home_agent: HomeAgentRig,
    watched: Station,
    /// Sequence number under all SAs, and of Binding Updates.
    seq: u32,
}

impl<'l> Town<'l> {
    /// The one with the highest number is watched.
    fn new(lab: &'l Lab, home_agent: HomeAgentRig, stations: u32) -> Result<Self, Fault> {
        Ok(Self { pool: &lab.pool, home_agent, watched: Station::new(stations, SUITE)?, seq: 0 })
    }

    fn register_watched(&mut self) -> Result<(), Fault> {
        let number = self.watched.number();
        let manner = Manner { port: 0, window: 1, again: true };
        let found = self.pass_with(number..number + 1, manner, &mut Data::default(), false)?;
        if found.answered == 1 { Ok(()) } else { Err(Fault::Unregistered { sent: 1, answers: 0 }) }
    }

    /// Rounds over the first mobile nodes for about `time`. With a `port` of 1 each is a handover.
    fn rounds(&mut self, port: u16, time: Duration) -> Result<Found, Fault> {
        let begin = Instant::now();
        let (mut all, mut ports) = (Found::default(), (port..=port * 2).cycle());
        while begin.elapsed() < time || all.offered == 0 {
            let port = ports.next().unwrap_or(0);
            let stations = BATCH.min(self.watched.number());
            all.add(&self.pass(0..stations, Manner { port, window: WINDOW, again: false })?);
        }
        Ok(all)
    }

    /// Sends a Binding Update for each of these mobile nodes and takes the answers.
    fn pass(&mut self, stations: core::ops::Range<u32>, manner: Manner) -> Result<Found, Fault> {
        self.pass_with(stations, manner, &mut Data::default(), true)
    }

    fn pass_with(
        &mut self,
        stations: core::ops::Range<u32>,
        manner: Manner,
        data: &mut Data,
        with_data: bool,
    ) -> Result<Found, Fault> {
        let first = stations.start;
        let mut open: Vec<bool> = stations.clone().map(|_| true).collect();
        let mut found = Found { offered: stations.end - first, ..Found::default() };
        let (busy, begin) = (self.home_agent.busy, Instant::now());
        let mut waiting: Vec<u32> = stations.collect();
        loop {
            let mut packets = self.seal(&waiting, manner.port)?.into_iter().flatten();
            let mut under_way = 0;
            let mut last = Instant::now();
            loop {
                while under_way < manner.window
                    && let Some(mbuf) = packets.next()
                {
                    let [access, _] = &mut self.home_agent.wires;
                    access.to_port.push(mbuf).map_err(|_| Fault::Room)?;
                    under_way += 1;
                }
                if with_data {
                    self.send_data(data)?;
                }
                self.home_agent.turn()?;
                let before = found.answered;
                self.receive(data, |station| {
                    let place = station.checked_sub(first).map(|place| place as usize);
                    if let Some(open) = place.and_then(|place| open.get_mut(place))
                        && std::mem::take(open)
                    {
                        found.answered += 1;
                        under_way = under_way.saturating_sub(1);
                    }
                });
                if found.answered > before {
                    last = Instant::now();
                }
                if found.answered == found.offered || last.elapsed() > RETRANSMIT {
                    break;
                }
            }
            let is_open = |number: &u32| open.get((number - first) as usize) == Some(&true);
            waiting.retain(is_open);
            if waiting.is_empty() || !manner.again || found.again > 20 * found.offered {
                break;
            }
            found.again += u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        }
        found.wall = begin.elapsed();
        found.busy = self.home_agent.busy - busy;
        self.settle(data)?;
        (found.sent, found.lost) = (data.sent, data.sent - data.received);
        Ok(found)
    }

    /// A turn between data packets.
    fn turn(&mut self, data: &mut Data) -> Result<(), Fault> {
        self.send_data(data)?;
        self.home_agent.turn()?;
        self.receive(data, |_| ());
        Ok(())
    }

    /// Waits for what is on its way.
    fn settle(&mut self, data: &mut Data) -> Result<(), Fault> {
        let begin = Instant::now();
        while data.received < data.sent && begin.elapsed() < RETRANSMIT {
            self.home_agent.turn()?;
            self.receive(data, |_| ());
        }
        Ok(())
    }

    /// Binding Updates in envelopes, each with numbers of its own.
    fn seal(&mut self, numbers: &[u32], port: u16) -> Result<Slots, Fault> {
        let [access, _] = &self.home_agent.wires;
        let mac = access.mac;
        let (mut slots, mut parcels) = (Slots::new(), Vec::new());
        let seq = self.seq;
        self.seq += 1;
        for number in numbers {
            let mut station = Station::new(*number, SUITE)?;
            station.remote = SocketAddr::new(station.remote.ip(), station.remote.port() + port);
            #[expect(clippy::cast_possible_truncation, reason = "modulo 2^16")]
            let asked = Asked { sequence: seq as u16, lifetime: 900 };
            let (packet, inner_len) = signalling::binding_update_of(&station, SeqNo(seq), asked)?;
            let mut mbuf = self.pool.alloc().ok_or(Fault::Pool)?;
            buffers::lay(&mut mbuf, 0, &frames::ethernet(mac, &packet))?;
            slots.push(Some(mbuf));
            parcels.push(Parcel { station, inner_len });
        }
        seal(&mut slots, &parcels)?;
        Ok(slots)
    }

    fn send_data(&mut self, data: &mut Data) -> Result<(), Fault> {
        let [_, home] = &mut self.home_agent.wires;
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

    /// Takes what comes out: data is counted, answers are told by the number of their mobile node.
    fn receive(&mut self, data: &mut Data, mut answered: impl FnMut(u32)) {
        let mut out = Burst::<64>::new();
        let [access, home] = &mut self.home_agent.wires;
        for end in access.from_port.iter_mut().chain(&mut home.from_port) {
            while end.receive(&mut out) > 0 {
                for mbuf in out.drain() {
                    match signalling::answer(&mbuf) {
                        Some((station, _)) => {
                            answered(u32::try_from(station).unwrap_or(u32::MAX));
                        }
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
    fn a_small_town_registers_moves_ends_and_comes_back() {
        with_lab(|lab| {
            let mut rows = Rows::new();
            let size = Size { storm: 600, ending: 300 };
            super::rows(lab, size, Duration::from_millis(100), &mut rows);
            let of = |name: &str, kind: Option<&str>| {
                let row = rows.0.iter().find(|row| {
                    row.name == name
                        && kind.is_none_or(|kind| row.more("kind").is_some_and(|k| k == kind))
                });
                row.unwrap_or_else(|| panic!("no row {name} {kind:?}: {:?}", rows.0)).clone()
            };
            for kind in ["first", "refresh", "handover"] {
                let row = of("binding_updates", Some(kind));
                assert_eq!(row.why, None, "{row:?}");
                assert_eq!(row.more("unanswered"), Some(&0.into()), "{row:?}");
                assert_eq!(row.more("data_lost"), Some(&0.into()), "{row:?}");
            }
            assert_eq!(of("registration_storm", None).ratio, Some(1.0));
            let restart = of("restart", None);
            assert_eq!(restart.more("bindings_restored"), Some(&601.into()), "{restart:?}");
            let expiry = of("expiry", None);
            assert_eq!(expiry.why, None, "{expiry:?}");
            assert_eq!(expiry.more("data_lost"), Some(&0.into()), "{expiry:?}");
        });
    }
}
