//! `handover`: packets lost while bindings move, beyond those that were sent already.
//!
//! A worker forwards on a core of its own; this thread sends numbered packets down to a mobile node,
//! moves its binding again and again, and looks at what comes out. A packet that was sent after a
//! move and still goes to the old care-of address is lost, and so is one that does not come out.

use core::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hearth_dpdk::{Burst, Mbuf};
use hearth_wire::Suite;
use hearth_wire::frame::FrameHeader;
use hearth_wire::ip::{EthernetHeader, Ipv6Header};

use crate::buffers;
use crate::fault::Fault;
use crate::figures::Rows;
use crate::frames::{self, Direction, OUTER_LEN, Station};
use crate::lab::{self, Lab};
use crate::report::{Row, Target};
use crate::rig::{self, Rig, Shape, Wire};

const SUITE: Suite = Suite::Aes128CbcSha;
const INNER_BYTES: usize = 576;
/// Packets between two moves: less than a worker has in flight.
const BETWEEN: u32 = 100;
/// Packets on their way at the most.
const WINDOW: u32 = 256;
/// Care-of ports that are used in turns.
const PORTS: u16 = 1000;

/// What came of it.
#[derive(Debug, Default, Clone, Copy)]
struct Found {
    sent: u32,
    moves: u32,
    /// Went to a care-of address that the binding had left before they were sent.
    astray: u32,
    /// Did not come out.
    missing: u32,
}

/// Moves bindings for about `time`.
pub(crate) fn rows(lab: &Lab, time: Duration, rows: &mut Rows) {
    let row = Row::new("handover", "packets sent before the move")
        .of(SUITE, Direction::Downlink, INNER_BYTES)
        .asked(Some(Target::at_most(0.0, None)));
    rows.push(match measure(lab, time) {
        Ok(found) => row
            .counted(f64::from(found.astray + found.missing))
            .with("packets", found.sent)
            .with("moves", found.moves)
            .with("astray", found.astray)
            .with("missing", found.missing)
            .with("from", "the change of the binding"),
        Err(fault) => row.failed(fault),
    });
}

fn measure(lab: &Lab, time: Duration) -> Result<Found, Fault> {
    let [first, .., _] = &lab.cores[..] else { return Err(Fault::Cores(2)) };
    let station = Station::new(1, SUITE)?;
    let shape = Shape { ring: 1024, ..Shape::default() };
    let mut rig = Rig::new(&lab.eal, &lab.pool, &lab.name(), &shape)?;
    rig.attach(&station)?;
    rig.settle();
    let worker = rig.workers.pop().ok_or(Fault::Pool)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            lab::stay_on(*first);
            worker.run(&stop);
        });
        let found = Course::new(&mut rig, station).run(time).and_then(moved);
        stop.store(true, Ordering::Relaxed);
        thread.join().map_err(|_| Fault::Thread)?;
        found
    })
}

/// Nothing is lost where nothing moves.
fn moved(found: Found) -> Result<Found, Fault> {
    if found.moves == 0 { Err(Fault::Unmoved) } else { Ok(found) }
}

/// The sender's and the receiver's state.
struct Course<'r> {
    rig: &'r mut Rig,
    station: Station,
    found: Found,
    received: u32,
    /// For each number of a packet modulo twice the window: the moves before it was sent.
    moves_before: Vec<u32>,
}

impl<'r> Course<'r> {
    fn new(rig: &'r mut Rig, station: Station) -> Self {
        let moves_before = vec![0; 2 * WINDOW as usize];
        Self { rig, station, found: Found::default(), received: 0, moves_before }
    }

    fn run(mut self, time: Duration) -> Result<Found, Fault> {
        let start = Instant::now();
        let mut last = (0, Instant::now());
        loop {
            let over = start.elapsed() > time;
            let under_way = self.found.sent - self.received;
            if over && under_way == 0 {
                break;
            }
            if !over && under_way < WINDOW {
                self.send()?;
            }
            self.receive()?;
            if self.received != last.0 {
                last = (self.received, Instant::now());
            } else if under_way > 0 && last.1.elapsed() > Duration::from_secs(1) {
                self.found.missing = under_way;
                break;
            }
        }
        Ok(self.found)
    }

    fn send(&mut self) -> Result<(), Fault> {
        let number = self.found.sent;
        if number % BETWEEN == BETWEEN - 1 {
            self.found.moves += 1;
            let remote = SocketAddr::new(self.station.remote.ip(), port(self.found.moves));
            rig::bind(&mut self.rig.tables, &self.station, remote)?;
            self.rig.tables.reclaim();
        }
        let place = number as usize % self.moves_before.len();
        if let Some(before) = self.moves_before.get_mut(place) {
            *before = self.found.moves;
        }
        let inner = frames::inner(&self.station, Direction::Downlink, number, INNER_BYTES);
        let mut mbuf = self.rig.pool().alloc().ok_or(Fault::Pool)?;
        let mac = self.rig.ingress_mac(Direction::Downlink);
        buffers::lay(&mut mbuf, 0, &frames::ethernet(mac, &inner))?;
        let [_, home] = &mut self.rig.wires;
        home.to_port.push(mbuf).map_err(|_| Fault::Room)?;
        self.found.sent += 1;
        Ok(())
    }

    /// Packets come out in the order of their sequence numbers, which are drawn as they come in.
    fn receive(&mut self) -> Result<(), Fault> {
        let mut out = Burst::<64>::new();
        let [Wire { from_port, .. }, _] = &mut self.rig.wires;
        let mut packets = Vec::new();
        for end in from_port {
            while end.receive(&mut out) > 0 {
                packets.extend(out.drain());
            }
        }
        for mbuf in packets {
            let (number, to) = read(&mbuf).ok_or(Fault::Content(self.received as usize))?;
            self.received += 1;
            let before = self.moves_before.get(number as usize % self.moves_before.len());
            // Where the binding was when the packet was sent, or where it has gone since.
            let moves = before.copied().unwrap_or(0)..=self.found.moves;
            if !moves.into_iter().any(|moves| port(moves) == to) {
                self.found.astray += 1;
            }
        }
        Ok(())
    }
}

/// The care-of port after so many moves.
fn port(moves: u32) -> u16 {
    40_000 + u16::try_from(moves % u32::from(PORTS)).unwrap_or(0)
}

/// Sequence number and destination port.
fn read(mbuf: &Mbuf) -> Option<(u32, u16)> {
    let packet = mbuf.data().get(EthernetHeader::LEN..)?;
    let to = packet.get(Ipv6Header::LEN + 2..)?.first_chunk::<2>()?;
    let seq = packet.get(OUTER_LEN + FrameHeader::LEN - 4..)?.first_chunk::<4>()?;
    Some((u32::from_be_bytes(*seq), u16::from_be_bytes(*to)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_lab;

    #[test]
    fn without_a_move_there_is_no_figure() {
        assert_eq!(moved(Found { sent: 99, ..Found::default() }).err(), Some(Fault::Unmoved));
        assert!(moved(Found { moves: 1, ..Found::default() }).is_ok());
    }

    #[test]
    fn a_packet_that_follows_an_old_binding_is_seen() {
        let station = Station::new(1, SUITE).unwrap();
        with_lab(|lab| {
            let mut rig = Rig::new(&lab.eal, &lab.pool, &lab.name(), &Shape::default()).unwrap();
            rig.attach(&station).unwrap();
            rig.settle();
            let mut worker = rig.workers.pop().unwrap();
            let mut course = Course::new(&mut rig, station);
            course.send().unwrap();
            while worker.turn() > 0 {}
            course.receive().unwrap();
            assert_eq!((course.received, course.found.astray), (1, 0));
            // The next packet is said to be sent after a move that was never made.
            course.found.moves = 1;
            course.send().unwrap();
            while worker.turn() > 0 {}
            course.receive().unwrap();
            assert_eq!((course.received, course.found.astray), (2, 1));
        });
    }
}
