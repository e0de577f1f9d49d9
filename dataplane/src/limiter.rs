//! How many ICMP errors a worker sends, altogether and to one peer.
//!
//! Read first: RFC 4443 s.2.4 (f); RFC 1812 s.4.3.2.8; reading R-33.
//!
//! Token buckets, so that a burst (a traceroute) passes while the average holds. Peers share a
//! fixed number of buckets by a keyed hash: a flood from invented addresses costs no memory, and
//! nobody can choose whose bucket to empty. Time is a count of TSC cycles that the caller gives.

use core::hash::BuildHasher;
use core::net::IpAddr;
use std::hash::RandomState;

/// Buckets of peers. Two of a thousand peers share one with even odds, and then share their rate.
const PEERS: usize = 1024;

/// Tokens, counted in cycles: a token is worth `cost` of them, and `most` are saved up.
///
/// It is empty when `full_at` is `most` cycles ahead of now, and full when it is not ahead.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    full_at: u64,
}

impl Bucket {
    /// The bucket that [`Self::full_at`] is of.
    pub(crate) const fn of(full_at: u64) -> Self {
        Self { full_at }
    }

    /// When it is full, if nothing is taken before; 0 is always full.
    pub(crate) const fn full_at(self) -> u64 {
        self.full_at
    }

    /// Takes a token, where there is one.
    pub(crate) fn take(&mut self, cost: u64, most: u64, now: u64) -> bool {
        let full_at = self.full_at.max(now).saturating_add(cost);
        let affordable = full_at - now <= most;
        if affordable {
            self.full_at = full_at;
        }
        affordable
    }
}

/// A worker's limiter.
#[derive(Debug)]
pub(crate) struct Limiter {
    second: u64,
    /// Cycles that one message costs; `None` where none may be sent.
    all_cost: Option<u64>,
    peer_cost: Option<u64>,
    all: Bucket,
    peers: Box<[Bucket; PEERS]>,
    key: RandomState,
}

impl Limiter {
    /// At most `per_second` altogether and `per_peer` to one address, in a second and in a burst;
    /// 0 forbids all. `second` is in cycles.
    pub(crate) fn new(per_second: u32, per_peer: u32, second: u64) -> Self {
        let cost = |rate: u32| second.checked_div(rate.into());
        Self {
            second,
            all_cost: cost(per_second),
            peer_cost: cost(per_peer),
            all: Bucket::default(),
            peers: Box::new([Bucket::default(); PEERS]),
            key: RandomState::new(),
        }
    }

    /// Whether a message to `peer` may be sent now; it is counted then. A peer that has had its
    /// share takes nothing from the others.
    pub(crate) fn admits(&mut self, peer: IpAddr, now: u64) -> bool {
        let (Some(all_cost), Some(peer_cost)) = (self.all_cost, self.peer_cost) else {
            return false;
        };
        let place = self.key.hash_one(peer) % PEERS as u64;
        let Some(bucket) = usize::try_from(place).ok().and_then(|place| self.peers.get_mut(place))
        else {
            return false;
        };
        let before = *bucket;
        if !bucket.take(peer_cost, self.second, now) {
            return false;
        }
        let admitted = self.all.take(all_cost, self.second, now);
        if !admitted {
            *bucket = before;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    const SECOND: u64 = 2_500_000_000;

    fn peer(n: u32) -> IpAddr {
        Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n)).into()
    }

    #[test]
    fn a_burst_passes_and_the_average_holds() {
        let mut limiter = Limiter::new(1000, 10, SECOND);
        let start = 17 * SECOND;
        let burst = (0..50).filter(|_| limiter.admits(peer(1), start)).count();
        assert_eq!(burst, 10);
        // A tenth of a second later there is one token more, and no second one.
        assert!(limiter.admits(peer(1), start + SECOND / 10));
        assert!(!limiter.admits(peer(1), start + SECOND / 10));
        // However often somebody asks, ten a second come out.
        let asked =
            (1..=3000).filter(|ms| limiter.admits(peer(1), start + SECOND + ms * SECOND / 1000));
        assert!((30..=40).contains(&asked.count()));
    }

    #[test]
    fn one_peer_does_not_starve_the_others() {
        let mut limiter = Limiter::new(1000, 10, SECOND);
        for _ in 0..100_000 {
            limiter.admits(peer(1), SECOND);
        }
        let others = (2..50).filter(|n| limiter.admits(peer(*n), SECOND)).count();
        // Some may share the bucket of the first.
        assert!(others >= 45, "{others}");
    }

    #[test]
    fn all_peers_together_are_limited() {
        let mut limiter = Limiter::new(100, 10, SECOND);
        let sent = (0..10_000).filter(|n| limiter.admits(peer(*n), SECOND)).count();
        assert_eq!(sent, 100);
        assert!(limiter.admits(Ipv4Addr::new(192, 0, 2, 1).into(), 2 * SECOND));
    }

    #[test]
    fn a_rate_of_0_sends_none() {
        for (all, peers) in [(0, 10), (10, 0), (0, 0)] {
            assert!(!Limiter::new(all, peers, SECOND).admits(peer(1), SECOND));
        }
    }

    #[test]
    fn a_clock_that_goes_back_a_little_does_no_harm() {
        let mut limiter = Limiter::new(1000, 10, SECOND);
        assert!(limiter.admits(peer(1), 5 * SECOND));
        assert!(limiter.admits(peer(1), 5 * SECOND - 100));
        assert!(limiter.admits(peer(1), 6 * SECOND));
    }
}
