//! How many connections one source has, and how often it shakes hands.
//!
//! A client is given a /64 or an IPv4 address, a site a /56 or a /48: who has many /64s is still one
//! site. So both are limited, and an IPv4 /24 as a site's worth of addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::buckets::Buckets;

/// What a client has for itself (an IPv4 address, an IPv6 /64), or a site (/24, /56).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Ip4(Ipv4Addr),
    Ip6(u64),
    Site4(u32),
    Site6(u64),
}

impl Source {
    /// The client and the site of an address.
    fn of(address: IpAddr) -> [Self; 2] {
        match address.to_canonical() {
            IpAddr::V4(address) => [Self::Ip4(address), Self::Site4(address.to_bits() >> 8)],
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let words = [a, b, c, d].map(u64::from);
                let prefix = words.into_iter().fold(0, |prefix, word| prefix << 16 | word);
                [Self::Ip6(prefix), Self::Site6(prefix >> 8)]
            }
        }
    }
}

/// Connections at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// Of one client.
    pub of_source: usize,
    /// Of one site.
    pub of_site: usize,
}

/// Counts connections by source.
#[derive(Debug, Clone)]
pub struct Sources(Arc<Mutex<Counts>>);

#[derive(Debug)]
struct Counts {
    of: HashMap<Source, usize>,
    most: Most,
}

/// A counted connection; dropping it takes it off the count.
#[derive(Debug)]
pub struct Counted {
    sources: Sources,
    source: [Source; 2],
}

impl Sources {
    /// At most so many connections of each source.
    #[must_use]
    pub fn new(most: Most) -> Self {
        Self(Arc::new(Mutex::new(Counts { of: HashMap::new(), most })))
    }

    /// At most so many from now on; who has more keeps them.
    pub fn limit(&self, most: Most) {
        self.counts().most = most;
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection from `address`; `None` where its source has as many as it may.
    #[must_use]
    pub fn admit(&self, address: IpAddr) -> Option<Counted> {
        let source @ [client, site] = Source::of(address);
        let mut counts = self.counts();
        let (count, most) = (|source| counts.of.get(&source).copied().unwrap_or(0), counts.most);
        if count(client) >= most.of_source || count(site) >= most.of_site {
            return None;
        }
        for source in source {
            *counts.of.entry(source).or_insert(0) += 1;
        }
        drop(counts);
        Some(Counted { sources: self.clone(), source })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let counts = &mut self.sources.counts().of;
        for source in self.source {
            if let Some(count) = counts.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&source);
                }
            }
        }
    }
}

/// How much of what is allowed in a second may come at once, in seconds of it.
const BURST: u32 = 2;
/// A site may do as much as so many clients.
const CLIENTS_OF_SITE: u32 = 4;

/// TLS handshakes a second, of each source and of all together.
#[derive(Debug)]
pub struct Rates {
    buckets: Buckets,
    /// Of each client, of all together.
    rates: Mutex<(u32, Option<u32>)>,
}

impl Rates {
    /// At most `per_source` a second of each client, and `overall` of all together; `begin` is no
    /// later than any `now` to come.
    #[must_use]
    pub fn new(per_source: u32, overall: Option<u32>, begin: Instant) -> Self {
        Self { buckets: Buckets::new(begin), rates: Mutex::new((per_source, overall)) }
    }

    /// So often from now on.
    pub fn limit(&self, per_source: u32, overall: Option<u32>) {
        *self.rates.lock().unwrap_or_else(PoisonError::into_inner) = (per_source, overall);
    }

    /// Whether `address` may shake hands at `now`.
    #[must_use]
    pub fn admit(&self, address: IpAddr, now: Instant) -> bool {
        let [client, site] = Source::of(address);
        let (per_source, overall) = *self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        self.may(client, per_source, now)
            && self.may(site, per_source.saturating_mul(CLIENTS_OF_SITE), now)
            && overall.is_none_or(|rate| self.may((), rate, now))
    }

    fn may(&self, key: impl std::hash::Hash, rate: u32, now: Instant) -> bool {
        let each = Duration::from_secs(1) / rate.max(1);
        self.buckets.pour(key, each, each * rate.max(1) * BURST, now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_64() {
        let sources = Sources::new(Most { of_source: 1, of_site: 100 });
        let held = |text: &str| sources.admit(address(text));
        let first = held("2001:db8:0:1::1");
        assert!(first.is_some());
        assert!(held("2001:db8:0:1:ffff::2").is_none());
        assert!(held("2001:db8:0:2::1").is_some());
        let v4 = held("192.0.2.1");
        assert!(v4.is_some() && held("::ffff:192.0.2.1").is_none() && held("192.0.2.2").is_some());
        drop(first);
        assert!(held("2001:db8:0:1::3").is_some());
        drop(v4);
        assert!(sources.counts().of.is_empty());
    }

    #[test]
    fn a_site_is_an_ipv4_24_or_an_ipv6_56() {
        let sources = Sources::new(Most { of_source: 2, of_site: 3 });
        let held = |text: &str| sources.admit(address(text));
        let site: Vec<_> =
            ["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:ff::1"].map(held).into();
        assert!(site.iter().all(Option::is_some));
        assert!(held("2001:db8:0:3::1").is_none(), "the site has three");
        assert!(held("2001:db8:0:100::1").is_some(), "another site");
        let v4: Vec<_> = ["192.0.2.1", "192.0.2.2", "192.0.2.255"].map(held).into();
        assert!(v4.iter().all(Option::is_some));
        assert!(held("192.0.2.3").is_none() && held("192.0.3.1").is_some());
        drop((site, v4));
        assert!(sources.counts().of.is_empty());
    }

    #[test]
    fn handshakes_a_second_are_limited_by_source_site_and_overall() {
        let begin = Instant::now();
        let rates = Rates::new(10, Some(200), begin);
        let admitted = |from: &str, tries: u32, at: u64| {
            let now = begin + Duration::from_millis(at);
            (0..tries).filter(|_| rates.admit(address(from), now)).count()
        };
        assert_eq!(admitted("2001:db8::1", 100, 0), 20, "two seconds' worth at once");
        assert_eq!(admitted("2001:db8::2", 100, 0), 0, "the same /64");
        assert_eq!(admitted("2001:db8::1", 100, 500), 5);
        assert_eq!(admitted("192.0.2.1", 100, 500), 20, "somebody else");
        // Four clients' worth is a site's.
        let site: usize =
            (1..=9).map(|host| admitted(&format!("198.51.100.{host}"), 100, 500)).sum();
        assert_eq!(site, 80);
        // All others get what is left of two seconds' worth.
        let rest: usize = (0..99).map(|net| admitted(&format!("10.0.{net}.1"), 100, 500)).sum();
        assert_eq!(rest, 400 - 5 - 20 - 80);
    }
}
