//! Packets that wait for the link-layer address of their next hop.
//!
//! The dataplane hands over what it can't send; the kernel is asked to resolve; what waited is sent
//! when the answer comes, and goes back to the dataplane to be refused when none does (RFC 4861
//! s.7.2.2). Both the packets of one next hop and all of
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
    crowded_out: u64,
}

#[derive(Debug)]
struct Waiting<P> {
    packets: Vec<P>,
    deadline: Instant,
}

impl<P> Default for Neighbours<P> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), count: 0, crowded_out: 0 }
    }
}

impl<P> Neighbours<P> {
    /// Keeps `packet` until `next_hop` is known; whether the kernel has to be asked.
    pub fn wait(&mut self, next_hop: NextHop, packet: P, now: Instant) -> bool {
        let known = self.waiting.contains_key(&next_hop);
        if self.count >= ALTOGETHER {
            self.crowded_out += 1;
            return !known;
        }
        let waiting = self
            .waiting
            .entry(next_hop)
            .or_insert_with(|| Waiting { packets: Vec::new(), deadline: now + PATIENCE });
        if waiting.packets.len() >= PER_NEXT_HOP {
            waiting.packets.remove(0);
            self.crowded_out += 1;
        } else {
            self.count += 1;
        }
        waiting.packets.push(packet);
        !known
    }

    /// The next hop is known, or the kernel gave up on it: what waited for it.
    pub fn taken(&mut self, next_hop: NextHop) -> Vec<P> {
        let packets = self.waiting.remove(&next_hop).map(|waiting| waiting.packets);
        let packets = packets.unwrap_or_default();
        self.count -= packets.len();
        packets
    }

    /// What has waited too long, and for what.
    pub fn expired(&mut self, now: Instant) -> Vec<(NextHop, P)> {
        let late: Vec<NextHop> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.deadline <= now)
            .map(|(next_hop, _)| *next_hop)
            .collect();
        let mut packets = Vec::new();
        for next_hop in late {
            packets.extend(self.taken(next_hop).into_iter().map(|packet| (next_hop, packet)));
        }
        packets
    }

    /// How many packets wait for `next_hop`.
    #[must_use]
    pub fn waiting(&self, next_hop: NextHop) -> usize {
        self.waiting.get(&next_hop).map_or(0, |waiting| waiting.packets.len())
    }

    /// Packets dropped because too many waited.
    #[must_use]
    pub const fn crowded_out(&self) -> u64 {
        self.crowded_out
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
        assert_eq!(neighbours.taken(hop(1)), ['a', 'b']);
        assert_eq!(neighbours.taken(hop(1)), []);
        assert_eq!(neighbours.crowded_out(), 0);
    }

    #[test]
    fn the_oldest_packet_goes_when_a_next_hop_has_too_many() {
        let now = Instant::now();
        let mut neighbours = Neighbours::default();
        for packet in 0..=PER_NEXT_HOP {
            neighbours.wait(hop(1), packet, now);
        }
        assert_eq!(neighbours.crowded_out(), 1);
        let left = neighbours.taken(hop(1));
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
        assert_eq!(neighbours.crowded_out(), 1024 - ALTOGETHER as u64);
    }

    #[test]
    fn what_waits_too_long_comes_back() {
        let now = Instant::now();
        let mut neighbours = Neighbours::default();
        neighbours.wait(hop(1), 'a', now);
        neighbours.wait(hop(1), 'b', now);
        neighbours.wait(hop(2), 'c', now + PATIENCE / 2);
        assert_eq!(neighbours.expired(now + PATIENCE / 2), []);
        assert_eq!(neighbours.expired(now + PATIENCE), [(hop(1), 'a'), (hop(1), 'b')]);
        assert_eq!(neighbours.taken(hop(1)), []);
        assert_eq!((neighbours.taken(hop(2)), neighbours.count), (vec!['c'], 0));
        assert_eq!(neighbours.crowded_out(), 0);
    }
}
