//! Announcing and defending home addresses on their links.
//!
//! Read first: RFC 6275 s.10.4.1; RFC 4861 s.7.2.6; RFC 5227 s.2.3, 2.4.
//!
//! Announcements are paced: registrations that come in one storm must not become a storm on every
//! link. What is no longer bound when its turn has come is left out.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use crate::time::Timestamp;

/// MAX_NEIGHBOR_ADVERTISEMENT and ANNOUNCE_NUM: how often an address is announced, and how far
/// apart. RFC 5227 asks for two, RFC 4861 allows three.
const ROUNDS: usize = 3;
const APART: Duration = Duration::from_secs(1);
/// Announcements of one round that may wait; those beyond are left out, and counted in the first.
const MOST: usize = 1 << 16;
/// Those that may leave at one time, in milliseconds of the rate.
const BURST_MS: u64 = 50;

/// Home addresses whose announcement is due, by how often they have been announced.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    rounds: [VecDeque<(Timestamp, Ipv6Addr)>; ROUNDS],
    /// Thousandths of an announcement that may leave, as of `at`.
    credit: u64,
    at: Timestamp,
    lost: u64,
}

impl Announcements {
    /// `home_address` is bound now, or one of its addresses is.
    pub(crate) fn begin(&mut self, now: Timestamp, home_address: Ipv6Addr) {
        if !self.put(0, now, home_address) {
            self.lost += 1;
        }
    }

    fn put(&mut self, round: usize, due: Timestamp, home_address: Ipv6Addr) -> bool {
        let Some(queue) = self.rounds.get_mut(round).filter(|queue| queue.len() < MOST) else {
            return false;
        };
        queue.push_back((due, home_address));
        true
    }

    /// Announcements that were left out because too many waited.
    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }

    /// The next one whose turn has come, at most `per_second` of them.
    pub(crate) fn next(&mut self, now: Timestamp, per_second: u32) -> Option<Ipv6Addr> {
        let rate = u64::from(per_second);
        let elapsed = now.as_millis().saturating_sub(self.at.as_millis());
        let most = (rate * BURST_MS).max(1000);
        self.credit = self.credit.saturating_add(elapsed.saturating_mul(rate)).min(most);
        self.at = self.at.max(now);
        let is_due = |queue: &VecDeque<(Timestamp, Ipv6Addr)>| {
            queue.front().is_some_and(|(due, _)| *due <= now)
        };
        let round = self.rounds.iter().position(is_due)?;
        if self.credit < 1000 {
            return None;
        }
        self.credit -= 1000;
        let (_, home_address) = self.rounds.get_mut(round)?.pop_front()?;
        self.put(round + 1, now.after(APART), home_address);
        Some(home_address)
    }

    pub(crate) fn next_deadline(&self, per_second: u32) -> Option<Timestamp> {
        let first = self.rounds.iter().filter_map(|queue| queue.front()).map(|(due, _)| *due);
        let missing = 1000_u64.saturating_sub(self.credit);
        let wait = missing.div_ceil(u64::from(per_second).max(1));
        Some(first.min()?.max(self.at.after(Duration::from_millis(wait))))
    }
}

/// Addresses that were defended a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Defences {
    until: HashMap<IpAddr, Timestamp>,
}

impl Defences {
    /// Addresses that are remembered; while there are more, others are not defended.
    const MOST: usize = 1024;
    /// RFC 5227 s.2.4 defends once in 10 s (DEFEND_INTERVAL) where an address would be given up
    /// else; it never is here.
    const APART: Duration = Duration::from_secs(1);

    /// Whether `address` is to be defended at `now`.
    pub(crate) fn begin(&mut self, now: Timestamp, address: IpAddr) -> bool {
        if self.until.len() >= Self::MOST {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.get(&address).is_some_and(|until| *until > now)
            || self.until.len() >= Self::MOST
        {
            return false;
        }
        self.until.insert(address, now.after(Self::APART));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, last)
    }

    #[test]
    fn a_storm_of_registrations_is_announced_at_the_rate() {
        let mut queue = Announcements::default();
        (0..3000).for_each(|n| queue.begin(Timestamp::from_secs(10), home(n)));
        let mut sent = Vec::new();
        for ms in 0..10_000 {
            let now = Timestamp::from_millis(10_000 + ms);
            while queue.next(now, 1000).is_some() {
                sent.push(ms);
            }
        }
        assert_eq!(sent.len(), 9000);
        for second in 0..9 {
            let in_it = sent.iter().filter(|ms| **ms / 1000 == second).count();
            assert!(in_it <= 1050, "{in_it} in second {second}");
        }
        assert_eq!(queue.next_deadline(1000), None);
    }

    #[test]
    fn an_address_is_announced_three_times_a_second_apart() {
        let mut queue = Announcements::default();
        queue.begin(Timestamp::from_secs(10), home(1));
        let mut sent = Vec::new();
        while let Some(now) = queue.next_deadline(1000) {
            sent.extend(queue.next(now.max(Timestamp::from_secs(10)), 1000).map(|_| now));
        }
        assert_eq!(sent.len(), 3);
        assert_eq!(sent[2].since(sent[1]), APART);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut queue = Announcements::default();
        (0..=MOST).for_each(|_| queue.begin(Timestamp::ZERO, home(1)));
        assert_eq!(queue.lost(), 1);
    }
}
