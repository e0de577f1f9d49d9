//! Bound home addresses that somebody else on their link claims: a hint for control, which defends
//! them and tells the operator (RFC 6275 s.10.4.1, RFC 5227 s.2.4).
//!
//! A worker tells of an address once a second at most, and control takes what has found room: a
//! storm costs it nothing more.

use core::net::{IpAddr, Ipv6Addr};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

use crate::config::PortId;
use crate::layout::mapped;

/// Claims that one worker's queue has room for.
const PLACES: usize = 64;

/// Somebody else uses a bound address, or asks for it in order to use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contest {
    pub(crate) port: PortId,
    pub(crate) address: IpAddr,
    pub(crate) mac: [u8; 6],
    pub(crate) probing: bool,
}

/// One worker's queue. worker: adds, control: takes
#[derive(Debug)]
#[repr(align(64))]
struct Queue {
    added: AtomicU32,
    taken: AtomicU32,
    /// Both halves of the address; MAC address, port and what it is about.
    places: [[AtomicU64; 3]; PLACES],
}

impl Default for Queue {
    fn default() -> Self {
        let place = || [const { AtomicU64::new(0) }; 3];
        Self {
            added: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            places: core::array::from_fn(|_| place()),
        }
    }
}

impl Queue {
    fn place(&self, number: u32) -> Option<&[AtomicU64; 3]> {
        self.places.get(number as usize % PLACES)
    }
}

/// Both sides: one for each worker, and control's.
pub(crate) fn contests(workers: usize) -> (Vec<Contests>, Contested) {
    let queues: Arc<[Queue]> = (0..workers).map(|_| Queue::default()).collect();
    let side = |worker| Contests { queues: Arc::clone(&queues), worker };
    ((0..workers).map(side).collect(), Contested { queues })
}

/// A worker's side.
#[derive(Debug)]
pub(crate) struct Contests {
    queues: Arc<[Queue]>,
    worker: usize,
}

impl Contests {
    /// Tells control, where there is room.
    pub(crate) fn note(&self, contest: Contest) {
        let Some(queue) = self.queues.get(self.worker) else { return };
        let added = queue.added.load(Ordering::Relaxed);
        let Some(place) = queue.place(added) else { return };
        if added.wrapping_sub(queue.taken.load(Ordering::Acquire)) as usize >= PLACES {
            return;
        }
        let address = mapped(contest.address).to_bits();
        let [a, b, c, d, e, f] = contest.mac;
        let who = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let about = u64::from(contest.port.0 & 0x7fff) << 49 | u64::from(contest.probing) << 48;
        #[expect(clippy::cast_possible_truncation, reason = "its halves")]
        let words = [(address >> 64) as u64, address as u64, about | who];
        for (cell, word) in place.iter().zip(words) {
            cell.store(word, Ordering::Relaxed);
        }
        queue.added.store(added.wrapping_add(1), Ordering::Release);
    }
}

/// Control's side.
#[derive(Debug)]
pub(crate) struct Contested {
    queues: Arc<[Queue]>,
}

impl Contested {
    /// Takes what workers have told.
    pub(crate) fn take(&mut self, mut each: impl FnMut(Contest)) {
        for queue in &*self.queues {
            let mut taken = queue.taken.load(Ordering::Relaxed);
            while taken != queue.added.load(Ordering::Acquire)
                && let Some(place) = queue.place(taken)
            {
                let [high, low, about] = place.each_ref().map(|cell| cell.load(Ordering::Relaxed));
                taken = taken.wrapping_add(1);
                queue.taken.store(taken, Ordering::Release);
                let address = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
                let [_, _, mac @ ..] = about.to_be_bytes();
                each(Contest {
                    port: PortId(u16::try_from(about >> 49).unwrap_or(0)),
                    address: address.to_canonical(),
                    mac,
                    probing: about >> 48 & 1 != 0,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_was_noted_and_no_more_than_there_is_room_for() {
        let (workers, mut control) = contests(2);
        let contest = |n: u8, address: &str, probing| Contest {
            port: PortId(n.into()),
            address: address.parse().unwrap(),
            mac: [0xfe, 1, 2, 3, 4, n],
            probing,
        };
        let mut taken = || {
            let mut taken = Vec::new();
            control.take(|contest| taken.push(contest));
            taken
        };
        let told = [contest(3, "2001:db8::7", true), contest(255, "203.0.113.9", false)];
        workers[1].note(told[0]);
        workers[1].note(told[1]);
        assert_eq!(taken(), told);
        for round in 0..3_u8 {
            for n in 0..100 {
                workers[0].note(contest(n, "fe80::1", round == 1));
            }
            let kept: Vec<_> = (0..64).map(|n| contest(n, "fe80::1", round == 1)).collect();
            assert_eq!(taken(), kept);
        }
        assert!(taken().is_empty());
    }
}
