//! One trial: packets go out at a rate, and what comes back is counted and timed.

use hdrhistogram::Histogram;
use hearth_dpdk::{Burst, Mbuf, Mempool, RxQueue, TxQueue};
use hearth_wire::ip::{EthernetHeader, Ipv6Header, UdpHeader};

use crate::buffers;
use crate::cycles;
use crate::fault::Fault;
use crate::frames::{Direction, OUTER_LEN, SPI_BASE};
use crate::generator::Load;
use crate::raw::BURST;

/// Microseconds without a packet after which no more are waited for.
const SILENCE_US: f64 = 200_000.0;
/// The largest latency that is told apart from others, in nanoseconds.
const LONGEST_NS: u64 = 10_000_000_000;

/// The ports of generated inner packets.
const INNER_PORTS: u32 = 5001 << 16 | 5001;

/// The generator's side of a port: of rings, or a NIC.
pub(crate) struct Side {
    pub(crate) rx: Vec<RxQueue>,
    pub(crate) tx: TxQueue,
}

/// What came of a trial.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) offered: usize,
    /// Of those, refused by a full queue.
    pub(crate) refused: usize,
    pub(crate) received: usize,
    /// Packets a second that were offered; below the rate asked for where the generator is slower.
    pub(crate) rate: f64,
    /// Nanoseconds from sending to receiving.
    pub(crate) latency: Histogram<u64>,
}

impl Outcome {
    /// The part of the packets that did not come back.
    pub(crate) fn loss(&self) -> f64 {
        (self.offered - self.received.min(self.offered)) as f64 / self.offered.max(1) as f64
    }
}

/// What a trial needs.
pub(crate) struct Field<'a> {
    pub(crate) direction: Direction,
    /// Towards the device under test, and what comes back from it.
    pub(crate) out: &'a mut TxQueue,
    pub(crate) back: &'a mut [RxQueue],
    pub(crate) pool: &'a Mempool,
    pub(crate) ticks_per_us: f64,
    /// Mobile nodes that are addressed in turns.
    pub(crate) sas: u32,
    /// The next sequence number under each SA that the device will draw, downlink.
    pub(crate) next_down: &'a mut [u32],
}

/// When each packet was sent, and what has come back.
struct Log {
    /// In ticks, by number; 0 for what was not sent.
    sent_at: Vec<u64>,
    /// Downlink: the numbers sent to each SA in their order.
    order: Vec<Vec<u32>>,
    /// Downlink: the highest sequence number that came back under each SA.
    highest: Vec<u32>,
    received: usize,
    last_received: u64,
    latency: Histogram<u64>,
}

impl Field<'_> {
    /// Sends the first `packets` of the load at `rate` a second and waits for the last to come back.
    pub(crate) fn run(&mut self, load: &Load, packets: usize, rate: f64) -> Result<Outcome, Fault> {
        let packets = packets.min(load.len());
        let mut log = Log {
            sent_at: vec![0; load.numbers()],
            order: vec![Vec::new(); self.sas as usize],
            highest: vec![0; self.sas as usize],
            received: 0,
            last_received: 0,
            latency: Histogram::new_with_bounds(1, LONGEST_NS, 3).map_err(|_| Fault::Histogram)?,
        };
        let per_tick = rate / (self.ticks_per_us * 1e6);
        let (mut next, mut refused) = (0, 0);
        let start = cycles::now();
        while next < packets {
            let passed = cycles::now().wrapping_sub(start);
            #[expect(clippy::cast_possible_truncation, reason = "packets of a trial")]
            let due = ((passed as f64 * per_tick) as usize).min(packets);
            if next < due {
                let upto = due.min(next + BURST);
                refused += self.send(load, next..upto, &mut log)?;
                next = upto;
            }
            self.receive(&mut log);
        }
        let took = cycles::now().wrapping_sub(start) as f64 / (self.ticks_per_us * 1e6);
        self.wait(packets - refused, &mut log);
        for (next, highest) in self.next_down.iter_mut().zip(&log.highest) {
            *next = (*next).max(highest.saturating_add(1));
        }
        Ok(Outcome {
            offered: packets,
            refused,
            received: log.received,
            rate: packets as f64 / took,
            latency: log.latency,
        })
    }

    /// Sends some packets; how many were refused.
    fn send(
        &mut self,
        load: &Load,
        places: core::ops::Range<usize>,
        log: &mut Log,
    ) -> Result<usize, Fault> {
        let mut burst = Burst::<BURST>::new();
        let mut numbers = [0; BURST];
        let count = places.len();
        for (place, own) in places.zip(&mut numbers) {
            let (frame, number) = load.packet(place).ok_or(Fault::Room)?;
            let mut mbuf = self.pool.alloc().ok_or(Fault::Pool)?;
            buffers::lay(&mut mbuf, 0, frame)?;
            burst.push(mbuf).map_err(|_| Fault::Room)?;
            *own = number;
        }
        let now = cycles::now();
        let sent = self.out.send(&mut burst);
        for &number in numbers.iter().take(sent) {
            if let Some(at) = log.sent_at.get_mut(number as usize) {
                *at = now;
            }
            let sa = number % self.sas.max(1);
            if self.direction == Direction::Downlink
                && let Some(order) = log.order.get_mut(sa as usize)
            {
                order.push(number);
            }
        }
        Ok(count - sent)
    }

    fn receive(&mut self, log: &mut Log) {
        let mut burst = Burst::<64>::new();
        for queue in &mut *self.back {
            if queue.receive(&mut burst) == 0 {
                continue;
            }
            let now = cycles::now();
            log.last_received = now;
            for mbuf in burst.drain() {
                let number = match self.direction {
                    Direction::Uplink => uplink_number(&mbuf),
                    Direction::Downlink => log.downlink_number(&mbuf, self.next_down),
                };
                if let Some(number) = number {
                    log.note(number, now, self.ticks_per_us);
                }
            }
        }
    }

    /// Receives until all are back or none comes any more.
    fn wait(&mut self, sent: usize, log: &mut Log) {
        #[expect(clippy::cast_possible_truncation, reason = "some hundred million ticks")]
        let silence = (SILENCE_US * self.ticks_per_us) as u64;
        log.last_received = cycles::now();
        while log.received < sent && cycles::now().wrapping_sub(log.last_received) < silence {
            self.receive(log);
        }
    }
}

impl Log {
    /// Counts a packet that came back, and times it where its number is known.
    fn note(&mut self, number: Option<u32>, now: u64, ticks_per_us: f64) {
        self.received += 1;
        let sent_at = number.and_then(|number| self.sent_at.get_mut(number as usize));
        let Some(at) = sent_at.filter(|at| **at != 0) else { return };
        let us = now.wrapping_sub(*at) as f64 / ticks_per_us;
        *at = 0;
        #[expect(clippy::cast_possible_truncation, reason = "nanoseconds of a trial")]
        self.latency.saturating_record((us * 1000.0).max(1.0) as u64);
    }

    /// The number of a packet to a mobile node, by the order of what was sent under its SA; none
    /// where that does not say. `None` for packets that are not of this trial.
    fn downlink_number(&mut self, mbuf: &Mbuf, next_down: &[u32]) -> Option<Option<u32>> {
        let spi = word(mbuf, OUTER_LEN)? & 0x0fff_ffff;
        let sa = spi.checked_sub(SPI_BASE)? as usize;
        let seq = word(mbuf, OUTER_LEN + 4)?;
        let highest = self.highest.get_mut(sa)?;
        *highest = seq.max(*highest);
        let place = seq.checked_sub(*next_down.get(sa)?);
        Some(place.and_then(|place| self.order.get(sa)?.get(place as usize).copied()))
    }
}

/// The number inside a packet that came out of the tunnel.
fn uplink_number(mbuf: &Mbuf) -> Option<Option<u32>> {
    (word(mbuf, Ipv6Header::LEN)? == INNER_PORTS)
        .then(|| word(mbuf, Ipv6Header::LEN + UdpHeader::LEN))
}

/// Four octets of an IP packet behind an Ethernet header.
fn word(mbuf: &Mbuf, at: usize) -> Option<u32> {
    let packet = mbuf.data().get(EthernetHeader::LEN..)?;
    packet.get(at..)?.first_chunk::<4>().map(|octets| u32::from_be_bytes(*octets))
}
