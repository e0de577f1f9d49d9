//! When mobile nodes are told of home prefixes, and what.
//!
//! Read first: RFC 6275 s.6.7, 6.8, 10.6.2, 10.6.3, 12, 13.
//!
//! A solicitation is answered at once. A change is told at a random time, so that a renumbering
//! does not call on all mobile nodes in one second, and again after 3, 6 and 12 seconds until a
//! solicitation says that it has arrived. What is sent is always the whole list as it is then, so
//! that a second change before the first is acknowledged costs no second message (MPD-06). There
//! is an entry only while something is due, and for a second behind it.

use core::net::Ipv6Addr;
use core::time::Duration;
use std::collections::{BTreeSet, HashMap};

use hearth_wire::exthdr;
use hearth_wire::icmp6::{self, Message, MobilePrefixAdvertisement, PrefixInformation, Prefixes};
use hearth_wire::ip::Ipv6Header;
use zerocopy::IntoBytes;

use crate::time::Timestamp;

/// `PREFIX_ADV_RETRIES` and `PREFIX_ADV_TIMEOUT`.
const RETRIES: u8 = 3;
const TIMEOUT: Duration = Duration::from_secs(3);
/// RFC 6275 s.6.8: "The home agent MUST NOT send more than one Mobile Prefix Advertisement message
/// per second to any mobile node."
const APART: Duration = Duration::from_secs(1);
/// Octets of the longest message: 31 prefixes; some 1,100 octets with the headers in front.
const LONGEST: usize = 8 + 31 * 32;
const HOP_LIMIT: u8 = 64;

/// Mobile Prefix Advertisements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MobilePrefixPolicy {
    /// Whether any are sent (RFC 6275 s.8.4). Default: yes.
    pub enabled: bool,
    /// `MinMobPfxAdvInterval`: how long a change waits at least. Default: 600 s.
    pub min_interval: Duration,
    /// `MaxMobPfxAdvInterval`: and at most. Default: 86,400 s.
    pub max_interval: Duration,
    /// Whether mobile nodes away from home reach a DHCPv6 server of the home network: M and O of
    /// the box's own Router Advertisements are told then, else both are 0 (RFC 6275 s.6.8).
    /// Default: no.
    pub dhcpv6: bool,
}

impl Default for MobilePrefixPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            min_interval: Duration::from_secs(600),
            max_interval: Duration::from_secs(86_400),
            dhcpv6: false,
        }
    }
}

impl MobilePrefixPolicy {
    /// `RAND_ADV_DELAY` of RFC 6275 s.10.6.2, of a prefix that is preferred so much longer.
    pub(crate) fn delay(&self, preferred: Option<Duration>, random: u64) -> Duration {
        let most = preferred.map_or(self.max_interval, |left| left.min(self.max_interval));
        let span = u64::try_from(most.abs_diff(self.min_interval).as_millis()).unwrap_or(u64::MAX);
        self.min_interval + Duration::from_millis(random.checked_rem(span).unwrap_or(0))
    }
}

/// Why an advertisement is sent, or an entry kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It answers a solicitation.
    Solicited {
        /// Identifier of the solicitation.
        id: u16,
        /// Its source.
        to: Ipv6Addr,
    },
    /// Something has changed; it was sent so often before.
    Changed { sent: u8 },
    /// Nothing is sent: one was, less than a second ago.
    Rest,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    last: Option<Timestamp>,
    due: Timestamp,
    why: Why,
}

/// What is due, by home address.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    entries: HashMap<Ipv6Addr, Entry>,
    due: BTreeSet<(Timestamp, Ipv6Addr)>,
}

impl Schedule {
    fn put(&mut self, home_address: Ipv6Addr, entry: Entry) {
        if let Some(before) = self.entries.insert(home_address, entry) {
            self.due.remove(&(before.due, home_address));
        }
        self.due.insert((entry.due, home_address));
    }

    /// A solicitation came: it acknowledges what was sent, and is answered at once, but not twice
    /// within a second.
    pub(crate) fn solicited(&mut self, now: Timestamp, home: Ipv6Addr, id: u16, to: Ipv6Addr) {
        let last = self.entries.get(&home).and_then(|entry| entry.last);
        let due = last.map_or(now, |last| now.max(last.after(APART)));
        self.put(home, Entry { last, due, why: Why::Solicited { id, to } });
    }

    /// Something that this mobile node has to know is different now. What is due anyway will say
    /// so.
    pub(crate) fn changed(&mut self, now: Timestamp, home: Ipv6Addr, delay: Duration) {
        let before = self.entries.get(&home);
        if before.is_some_and(|entry| {
            matches!(entry.why, Why::Changed { sent: 0 } | Why::Solicited { .. })
        }) {
            return;
        }
        let last = before.and_then(|entry| entry.last);
        let due = now.after(delay).max(last.map_or(now, |last| last.after(APART)));
        self.put(home, Entry { last, due, why: Why::Changed { sent: 0 } });
    }

    /// The binding has ended.
    pub(crate) fn cancel(&mut self, home_address: Ipv6Addr) {
        if let Some(entry) = self.entries.remove(&home_address) {
            self.due.remove(&(entry.due, home_address));
        }
    }

    /// One that is due at `now`; `None` in the middle where it was nothing but an entry's end.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Option<(Ipv6Addr, Why)>> {
        let (_, home_address) = *self.due.first().filter(|(due, _)| *due <= now)?;
        let entry = *self.entries.get(&home_address)?;
        let (due, why) = match entry.why {
            Why::Rest => {
                self.cancel(home_address);
                return Some(None);
            }
            Why::Changed { sent } if sent < RETRIES => {
                (now.after(TIMEOUT * (1 << sent)), Why::Changed { sent: sent + 1 })
            }
            Why::Changed { .. } | Why::Solicited { .. } => (now.after(APART), Why::Rest),
        };
        self.put(home_address, Entry { last: Some(now), due, why });
        Some(Some((home_address, entry.why)))
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }
}

/// The message, as the packet that goes into the tunnel. A type 2 routing header names the home
/// address (RFC 6275 s.10.6.3), and the checksum's destination is the final one (RFC 8200 s.8.1).
pub(crate) fn packet(
    (from, to, home_address): (Ipv6Addr, Ipv6Addr, Ipv6Addr),
    id: u16,
    (managed, other): (bool, bool),
    prefixes: &[PrefixInformation],
) -> Option<Vec<u8>> {
    let most = (LONGEST - 8) / 32;
    let prefixes = prefixes.get(..most).unwrap_or(prefixes);
    let prefixes = Prefixes::List(prefixes);
    let message = MobilePrefixAdvertisement { id, managed, other, prefixes };
    let mut octets = [0; LONGEST];
    let message = Message::MobilePrefixAdvertisement(message);
    let len = icmp6::emit(&message, from, home_address, &mut octets)?;
    let routing = exthdr::routing_header(icmp6::PROTO, home_address);
    let header = Ipv6Header::new(from, to, exthdr::ROUTING, HOP_LIMIT, routing.len() + len)?;
    Some([header.as_bytes(), &routing, octets.get(..len)?].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_lies_within_its_window() {
        let policy = MobilePrefixPolicy::default();
        for random in [0, 1, 85_799_999, u64::MAX] {
            let delay = policy.delay(None, random);
            assert!(delay >= policy.min_interval && delay < policy.max_interval, "{delay:?}");
        }
        // A prefix that is nearly deprecated: |60 - 600| s is the width (RFC 6275 s.10.6.2).
        let delay = policy.delay(Some(Duration::from_secs(60)), u64::MAX);
        assert!(delay >= policy.min_interval && delay < Duration::from_secs(600 + 540));
        assert_eq!(policy.delay(Some(policy.min_interval), 7), policy.min_interval);
    }
}
