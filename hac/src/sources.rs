//! How many connections one source has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// One IPv4 address or one IPv6 /64: what one client has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Ip4(Ipv4Addr),
    Ip6(u64),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::Ip4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let words = [a, b, c, d].map(u64::from);
                Self::Ip6(words.into_iter().fold(0, |prefix, word| prefix << 16 | word))
            }
        }
    }
}

/// Counts connections by source.
#[derive(Debug, Clone)]
pub struct Sources {
    counts: Arc<Mutex<HashMap<Source, usize>>>,
    limit: usize,
}

/// A counted connection; dropping it takes it off the count.
#[derive(Debug)]
pub struct Counted {
    sources: Sources,
    source: Source,
}

impl Sources {
    /// At most `limit` connections of each source.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { counts: Arc::default(), limit }
    }

    /// Counts a connection from `address`; `None` where its source has as many as it may.
    #[must_use]
    pub fn admit(&self, address: IpAddr) -> Option<Counted> {
        let source = Source::from(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_insert(0);
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Counted { sources: self.clone(), source })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.sources.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_64() {
        let sources = Sources::new(1);
        let held = |text: &str| sources.admit(text.parse().unwrap());
        let first = held("2001:db8:0:1::1");
        assert!(first.is_some());
        assert!(held("2001:db8:0:1:ffff::2").is_none());
        assert!(held("2001:db8:0:2::1").is_some());
        let v4 = held("192.0.2.1");
        assert!(v4.is_some() && held("::ffff:192.0.2.1").is_none() && held("192.0.2.2").is_some());
        drop(first);
        assert!(held("2001:db8:0:1::3").is_some());
        drop(v4);
        assert!(sources.counts.lock().unwrap().is_empty());
    }
}
