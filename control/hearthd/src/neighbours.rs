//! Packets that wait for the link-layer address of their next hop.
//!
//! The dataplane hands over what it can't send; the kernel is asked to resolve; what waited is sent
//! when the answer comes and dropped when none does. Both the packets of one next hop and all of
//! them together are bounded: nobody can fill the mempool with packets to nowhere.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Packets that may wait for one next hop; the oldest go first, as the kernel does it.
const PER_NEXT_HOP: usize = 32;

/// Packets that may wait altogether.
const ALTOGETHER: usize = 512;

/// How long a packet waits: three tries of the kernel, a second each.
const PATIENCE: Duration = Duration::from_secs(3);

/// A next hop on a port.
pub type NextHop = (u16, IpAddr);

/// Packets by the next hop that they wait for.
#[derive(Debug)]
pub struct Neighbours<P> {
    waiting: HashMap<NextHop, Waiting<P>>,
    count: usize,
    given_up: u64,
}

#[derive(Debug)]
struct Waiting<P> {
    packets: Vec<P>,
    deadline: Instant,
}

impl<P> Default for Neighbours<P> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), count: 0, given_up: 0 }
    }
}

impl<P> Neighbours<P> {
    /// Keeps `packet` until `next_hop` is known; whether the kernel has to be asked.
    pub fn wait(&mut self, next_hop: NextHop, packet: P, now: Instant) -> bool {
        let known = self.waiting.contains_key(&next_hop);
        if self.count >= ALTOGETHER {
            self.given_up += 1;
            return !known;
        }
        let waiting = self
            .waiting
            .entry(next_hop)
            .or_insert_with(|| Waiting { packets: Vec::new(), deadline: now + PATIENCE });
        if waiting.packets.len() >= PER_NEXT_HOP {
            waiting.packets.remove(0);
            self.given_up += 1;
        } else {
            self.count += 1;
        }
        waiting.packets.push(packet);
        !known
    }

    /// The next hop is known: what waited for it.
    pub fn found(&mut self, next_hop: NextHop) -> Vec<P> {
        let packets = self.waiting.remove(&next_hop).map(|waiting| waiting.packets);
        let packets = packets.unwrap_or_default();
        self.count -= packets.len();
        packets
    }

    /// The kernel gave up on the next hop: what waited for it is dropped.
    pub fn lost(&mut self, next_hop: NextHop) {
        let dropped = self.found(next_hop);
        self.given_up += dropped.len() as u64;
    }

    /// Drops what has waited too long.
    pub fn expire(&mut self, now: Instant) {
        let late: Vec<NextHop> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.deadline <= now)
            .map(|(next_hop, _)| *next_hop)
            .collect();
        for next_hop in late {
            self.lost(next_hop);
        }
    }

    /// Packets dropped because their next hop could not be resolved.
    #[must_use]
    pub const fn given_up(&self) -> u64 {
        self.given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(last: u8) -> NextHop {
        (0, IpAddr::from([198, 51, 100, last]))
    }

    #[test]
    fn the_kernel_is_asked_once_and_all_packets_leave_in_order() {
        let now = Instant::now();
        let mut neighbours = Neighbours::default();
        assert!(neighbours.wait(hop(1), 'a', now));
        assert!(!neighbours.wait(hop(1), 'b', now));
        assert!(neighbours.wait(hop(2), 'c', now));
        assert_eq!(neighbours.found(hop(1)), ['a', 'b']);
        assert_eq!(neighbours.found(hop(1)), []);
        assert_eq!(neighbours.given_up(), 0);
    }

    #[test]
    fn the_oldest_packet_goes_when_a_next_hop_has_too_many() {
        let now = Instant::now();
        let mut neighbours = Neighbours::default();
        for packet in 0..=PER_NEXT_HOP {
            neighbours.wait(hop(1), packet, now);
        }
        assert_eq!(neighbours.given_up(), 1);
        let left = neighbours.found(hop(1));
        assert_eq!((left.len(), left[0]), (PER_NEXT_HOP, 1));
    }

    #[test]
    fn all_together_are_bounded() {
        let now = Instant::now();
        let mut neighbours = Neighbours::default();
        for host in 0..=255 {
            for packet in 0..4 {
                neighbours.wait(hop(host), packet, now);
            }
        }
        assert_eq!(neighbours.count, ALTOGETHER);
        assert_eq!(neighbours.given_up(), 1024 - ALTOGETHER as u64);
    }

    #[test]
    fn what_waits_too_long_or_for_a_lost_cause_is_dropped_and_counted() {
        let now = Instant::now();
        let mut neighbours = Neighbours::default();
        neighbours.wait(hop(1), 'a', now);
        neighbours.wait(hop(2), 'b', now);
        neighbours.lost(hop(2));
        neighbours.expire(now + PATIENCE);
        assert_eq!((neighbours.given_up(), neighbours.count), (2, 0));
        assert_eq!(neighbours.found(hop(1)), []);
    }
}
