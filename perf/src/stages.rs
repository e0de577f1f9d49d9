//! What single stages cost: packets that end at a stage, and the parts that stages are made of.
//!
//! A worker's turn can't be cut open from outside. But a packet with a fault ends where the fault
//! is seen: what a stage costs is the difference between packets that end behind it and before it.

use std::time::Duration;

use hearth_dpdk::{Fib6, FibParameters, Mbuf, MultiBuffer, NextHopWidth};
use hearth_wire::frame::PType;
use hearth_wire::ip::{EthernetHeader, Ipv6Header, udp_checksum_v6};
use hearth_wire::{SeqNo, Suite};

use crate::buffers::{self, BUFFERS, Slots};
use crate::cycles;
use crate::fault::Fault;
use crate::frames::{self, Act, Direction, OUTER_LEN, Station};
use crate::keys::Schedules;
use crate::lab::Lab;
use crate::pipeline::Pipeline;
use crate::raw::{Api, BURST, Raw};
use crate::rig;
use crate::stats::Watch;
use crate::traffic::{Parcel, Traffic};

/// Where a packet ends, in the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its MAC address is somebody else's.
    NotForUs,
    /// It ends before its frame does.
    Truncated,
    /// It has no SPI.
    SpiZero,
    /// No SA has its SPI.
    UnknownSpi,
    /// Its number was received before.
    Replayed,
    /// Its ICV is wrong.
    BadIcv,
    /// It is let through a tunnel.
    Tunnel,
    /// It is let through, and nobody's home address is concerned.
    Forwarded,
}

impl Ending {
    /// Uplink, each with what its packets do not cost the one before.
    pub(crate) const UPLINK: [(Self, &'static str); 6] = [
        (Self::NotForUs, "receive, Ethernet"),
        (Self::SpiZero, "outer headers, frame header"),
        (Self::UnknownSpi, "SA look-up"),
        (Self::Replayed, "SA found, replay look"),
        (Self::BadIcv, "crypto, ICV"),
        (Self::Tunnel, "replay commit, inner packet, route, send"),
    ];
    /// Downlink.
    pub(crate) const DOWNLINK: [(Self, &'static str); 3] = [
        (Self::NotForUs, "receive, Ethernet"),
        (Self::Forwarded, "classification, home address look-up, route, neighbour, send"),
        (Self::Tunnel, "binding, SA, envelope, crypto"),
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NotForUs => "not for us",
            Self::Truncated => "truncated",
            Self::SpiZero => "no SPI",
            Self::UnknownSpi => "unknown SPI",
            Self::Replayed => "replayed",
            Self::BadIcv => "bad ICV",
            Self::Tunnel => "good",
            Self::Forwarded => "forwarded",
        }
    }

    /// Whether its packets come out.
    pub(crate) const fn passes(self) -> bool {
        matches!(self, Self::Tunnel | Self::Forwarded)
    }
}

/// Sends packets that end somewhere through a pipeline.
pub(crate) struct Walk {
    pipeline: Pipeline,
    traffic: Traffic,
    direction: Direction,
    inner_len: usize,
    station: Station,
    stranger: Station,
}

impl Walk {
    pub(crate) fn new(
        lab: &Lab,
        suite: Suite,
        direction: Direction,
        inner_len: usize,
    ) -> Result<Self, Fault> {
        let (station, stranger) = (Station::new(1, suite)?, Station::new(2, suite)?);
        let pipeline = Pipeline::new(&lab.eal, &lab.pool, &lab.name(), &[station])?;
        let traffic = Traffic::new(&lab.pool);
        Ok(Self { pipeline, traffic, direction, inner_len, station, stranger })
    }

    /// One pass: the ticks of a packet.
    pub(crate) fn pass(&mut self, ending: Ending, watch: &mut Watch) -> Result<f64, Fault> {
        let mac = self.pipeline.ingress_mac(self.direction);
        let strange = matches!(ending, Ending::UnknownSpi | Ending::Forwarded);
        let station = if strange { self.stranger } else { self.station };
        let parcel = Parcel { station, inner_len: self.inner_len };
        self.traffic.prepare(self.direction, mac, &[parcel])?;
        if ending == Ending::Replayed {
            self.replay()?;
        }
        self.traffic.slots.iter_mut().flatten().try_for_each(|mbuf| spoil(ending, mbuf))?;
        let passed = watch.over(|| self.pipeline.run(self.direction, &mut self.traffic.slots))?;
        let expected = if ending.passes() { BUFFERS } else { 0 };
        if passed.received != expected {
            return Err(self.pipeline.rig.lost(passed.sent, passed.received));
        }
        // Other stages of this process need the buffers, too.
        self.traffic.slots.clear();
        Ok(passed.ticks as f64 / BUFFERS as f64)
    }

    /// The ticks that it takes to free a packet.
    pub(crate) fn free(&mut self, watch: &mut Watch) -> Result<f64, Fault> {
        buffers::fill(&mut self.traffic.slots, self.pipeline.pool())?;
        let slots = &mut self.traffic.slots;
        Ok(watch.over(|| {
            let mut ticks = 0;
            for burst in slots.chunks_mut(BURST) {
                // Whoever drops a packet has just looked at it.
                burst.iter().flatten().for_each(Mbuf::prefetch_header);
                let start = cycles::now();
                burst.fill_with(|| None);
                ticks += cycles::now().wrapping_sub(start);
            }
            per_packet(ticks)
        }))
    }

    /// Sends the packets through and lays them into the buffers again, as they were.
    fn replay(&mut self) -> Result<(), Fault> {
        let slots = &mut self.traffic.slots;
        let copies: Vec<_> = slots.iter().flatten().map(|mbuf| mbuf.data().to_vec()).collect();
        self.pipeline.pass(self.direction, slots)?;
        buffers::fill(slots, self.pipeline.pool())?;
        for (slot, copy) in slots.iter_mut().zip(&copies) {
            buffers::lay(slot.as_mut().ok_or(Fault::Pool)?, 0, copy)?;
        }
        Ok(())
    }
}

/// Puts the fault into a packet.
pub(crate) fn spoil(ending: Ending, mbuf: &mut Mbuf) -> Result<(), Fault> {
    let frame = EthernetHeader::LEN + OUTER_LEN;
    let (place, change) = match ending {
        Ending::NotForUs => (0, 0x10),
        Ending::SpiZero => {
            let place = mbuf.data_mut().get_mut(frame..).and_then(<[u8]>::first_chunk_mut);
            *place.ok_or(Fault::Room)? = [PType::ProtectedData.bits() << 4, 0, 0, 0];
            return Ok(());
        }
        Ending::BadIcv => (mbuf.len().saturating_sub(1), 1),
        Ending::Truncated => {
            let cut = mbuf.len().saturating_sub(frame + 6);
            return mbuf.trim(cut).ok_or(Fault::Room);
        }
        // Home addresses that nobody has are reached by the default route.
        Ending::Forwarded => (EthernetHeader::LEN + 24 + 5, 0xff),
        Ending::Replayed | Ending::UnknownSpi | Ending::Tunnel => return Ok(()),
    };
    *mbuf.data_mut().get_mut(place).ok_or(Fault::Room)? ^= change;
    Ok(())
}

/// Packets of one measurement of a [`Stage`].
pub const PASS: u64 = BUFFERS as u64;

/// Something to measure again and again: the ticks that it takes for a packet.
type Measure = Box<dyn FnMut() -> Result<f64, Fault>>;

/// One stage, or a part of one.
pub struct Stage {
    name: String,
    measure: Measure,
}

impl Stage {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Measures it once: the ticks of the time stamp counter for a packet.
    pub(crate) fn measure(&mut self) -> Result<f64, Fault> {
        (self.measure)()
    }
}

/// All stages, and what they run in.
pub struct Stages {
    /// In no order that matters.
    pub stages: Vec<Stage>,
    ticks_per_us: f64,
    _lab: Lab,
}

impl Stages {
    /// Starts the lab and prepares every stage: packets of AES_128_CBC_SHA with 64 octets inside.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub fn new() -> Result<Self, String> {
        Self::prepare().map_err(|fault| fault.to_string())
    }

    fn prepare() -> Result<Self, Fault> {
        let lab = Lab::start(&[])?;
        let mut stages = Vec::new();
        for (direction, endings) in
            [(Direction::Uplink, &Ending::UPLINK[..]), (Direction::Downlink, &Ending::DOWNLINK[..])]
        {
            for &(ending, _) in endings {
                let mut walk = Walk::new(&lab, Suite::Aes128CbcSha, direction, 64)?;
                stages.push(Stage {
                    name: format!("turn/{}/{}", direction.name(), ending.name()),
                    measure: Box::new(move || walk.pass(ending, &mut Watch::default())),
                });
            }
            stages.extend(parts(&lab, direction)?);
        }
        Ok(Self { stages, ticks_per_us: lab.machine.tsc_mhz, _lab: lab })
    }

    /// Measures stage `number` as often as asked for; the time for [`PASS`] packets, added up. Zero
    /// where there is none, or where it failed.
    pub fn time(&mut self, number: usize, times: u64) -> Duration {
        let Some(stage) = self.stages.get_mut(number) else { return Duration::ZERO };
        let ticks: Result<f64, Fault> = (0..times).map(|_| stage.measure()).sum();
        let us = ticks.unwrap_or(0.0) * PASS as f64 / self.ticks_per_us;
        Duration::from_secs_f64(us / 1e6)
    }
}

/// What the stages of this direction are made of, by the layers below the dataplane.
pub(crate) fn parts(lab: &Lab, direction: Direction) -> Result<Vec<Stage>, Fault> {
    let crypto = crypto(lab, direction)?;
    Ok(match direction {
        Direction::Uplink => vec![route_look_up(lab)?, crypto],
        Direction::Downlink => vec![outer_checksum(lab)?, crypto],
    })
}

/// Addresses in a look-up of many.
const BULK: usize = 64;
fn route_look_up(lab: &Lab) -> Result<Stage, Fault> {
    let parameters = FibParameters {
        max_routes: 64,
        tbl8_groups: 1024,
        next_hop: NextHopWidth::Two,
        default_next_hop: 0,
    };
    let wrong = |_| Fault::Part("a route table");
    let mut routes = Fib6::new(&lab.eal, &lab.name(), &parameters).map_err(wrong)?;
    routes.insert(frames::CORRESPONDENT, 64, 1).map_err(wrong)?;
    routes.insert(frames::GATEWAY, 64, 2).map_err(wrong)?;
    let addresses = vec![frames::CORRESPONDENT.octets(); BUFFERS];
    Ok(Stage {
        name: "part: routes in bulk".to_owned(),
        measure: Box::new(move || {
            let mut hops = [0; BULK];
            let start = cycles::now();
            for addresses in addresses.chunks(BULK) {
                routes.lookup_bulk(addresses, &mut hops);
            }
            let ticks = cycles::now().wrapping_sub(start);
            if hops == [1; BULK] { Ok(per_packet(ticks)) } else { Err(Fault::Part("a look-up")) }
        }),
    })
}

fn outer_checksum(lab: &Lab) -> Result<Stage, Fault> {
    let station = Station::new(1, Suite::Aes128CbcSha)?;
    let mut traffic = Traffic::new(&lab.pool);
    let parcel = Parcel { station, inner_len: 64 };
    Ok(Stage {
        name: "part: outer checksum".to_owned(),
        measure: Box::new(move || {
            traffic.prepare(Direction::Uplink, [0; 6], &[parcel])?;
            let mut valid = 0;
            let start = cycles::now();
            for mbuf in traffic.slots.iter().flatten() {
                let packet = mbuf.data().get(EthernetHeader::LEN..).unwrap_or_default();
                let Ok((header, datagram)) = Ipv6Header::parse(packet) else { continue };
                let sum = udp_checksum_v6(header.source(), header.destination(), datagram);
                // The sum over a valid datagram, its own checksum included, is that of nothing.
                valid += usize::from(sum == u16::MAX || sum == 0);
            }
            let ticks = cycles::now().wrapping_sub(start);
            traffic.slots.clear();
            if valid == BUFFERS { Ok(per_packet(ticks)) } else { Err(Fault::Part("a checksum")) }
        }),
    })
}

fn crypto(lab: &Lab, direction: Direction) -> Result<Stage, Fault> {
    let suite = Suite::Aes128CbcSha;
    let station = Station::new(1, suite)?;
    // The schedules live as long as the process: a lane may refer to them until it ends.
    let keys: &'static Schedules =
        Box::leak(Box::new(Schedules::expand(&MultiBuffer::new()?, &station, direction)?));
    let act = match direction {
        Direction::Uplink => Act::Open,
        Direction::Downlink => Act::Seal,
    };
    let op = frames::operation(keys, act, suite, 64, EthernetHeader::LEN + OUTER_LEN);
    let max_age = f64::from(rig::max_job_age_us()) * lab.machine.tsc_mhz;
    #[expect(clippy::cast_possible_truncation, reason = "some ten thousand ticks")]
    let mut raw = Raw::new(max_age as u64)?;
    let inner = frames::inner(&station, direction, 1, 64);
    let packet = frames::envelope(&station, direction, SeqNo(0), &inner);
    let pool = lab.pool.clone();
    Ok(Stage {
        name: format!("part: crypto {}", direction.name()),
        measure: Box::new(move || {
            let mut slots = Slots::new();
            buffers::fill(&mut slots, &pool)?;
            for slot in &mut slots {
                let mbuf = slot.as_mut().ok_or(Fault::Pool)?;
                buffers::lay(mbuf, 0, &frames::ethernet([0; 6], &packet))?;
            }
            Ok(per_packet(raw.pass(Api::Job, &op, &mut slots)?))
        }),
    })
}

fn per_packet(ticks: u64) -> f64 {
    ticks as f64 / BUFFERS as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_lab;
    use hearth_dataplane::DropReason;

    /// If a packet ended elsewhere, its row would say nothing of the stage.
    #[test]
    fn packets_end_where_they_are_said_to() {
        with_lab(|lab| {
            let mut walk = Walk::new(lab, Suite::Aes128CbcSha, Direction::Uplink, 64).unwrap();
            for (ending, reason, dropped) in [
                (Ending::NotForUs, DropReason::EthernetNotForUs, BUFFERS),
                (Ending::Truncated, DropReason::IpLengthBeyondData, BUFFERS),
                (Ending::SpiZero, DropReason::ProtectedSpiZero, BUFFERS),
                (Ending::UnknownSpi, DropReason::SpiUnknown, BUFFERS),
                // The last 1024 are within the window.
                (Ending::Replayed, DropReason::ReplayTooOld, BUFFERS - 1024),
                (Ending::BadIcv, DropReason::IcvMismatch, BUFFERS),
                (Ending::Tunnel, DropReason::IcvMismatch, 0),
            ] {
                let count = |walk: &Walk| walk.pipeline.rig.counters.snapshot().dropped(reason);
                let before = count(&walk);
                walk.pass(ending, &mut Watch::default()).unwrap();
                assert_eq!(count(&walk) - before, dropped as u64, "{ending:?}");
            }
        });
    }

    #[test]
    fn every_downlink_stage_is_reached() {
        with_lab(|lab| {
            let mut walk = Walk::new(lab, Suite::Aes128CbcSha, Direction::Downlink, 64).unwrap();
            for (ending, _) in Ending::DOWNLINK {
                walk.pass(ending, &mut Watch::default()).unwrap();
            }
            let counters = walk.pipeline.rig.counters.snapshot();
            assert_eq!(counters.downlink.packets, BUFFERS as u64);
            assert_eq!(counters.forwarded.packets, BUFFERS as u64);
        });
    }

    #[test]
    fn every_part_can_be_measured() {
        with_lab(|lab| {
            for mut stage in Direction::BOTH.into_iter().flat_map(|way| parts(lab, way).unwrap()) {
                assert!(stage.measure().unwrap() > 0.0, "{}", stage.name());
            }
        });
    }
}
