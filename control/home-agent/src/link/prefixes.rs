//! Home prefixes: which link each is on, and how long it lasts.
//!
//! Read first: RFC 6275 s.10.3.1, 10.6.1, 10.6.4; RFC 4861 s.6.2.7.
//!
//! A lifetime comes from the configuration, or else from the Router Advertisements that the box
//! itself sends on the link (radvd, systemd-networkd). Those of others are not believed: anybody
//! on a link can send one, and a short lifetime ends every binding in the prefix.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use hearth_wire::icmp6::option::INFINITE;
use hearth_wire::icmp6::{PrefixInformation, RouterAdvertisement};
use ipnet::{IpNet, Ipv6Net};

use super::LinkId;
use crate::policy::lifetime_units;
use crate::time::Timestamp;

/// Two ends of one lifetime that are no further apart are the same: Router Advertisements count in
/// seconds and travel.
const JITTER: Duration = Duration::from_secs(2);

/// How long a prefix is valid, or preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lifetime {
    /// It does not end.
    #[default]
    Infinite,
    /// It is always this long from now, as routers usually advertise it (RFC 4861 s.6.2.1): it
    /// bounds every binding, and never ends.
    Constant(Duration),
    /// It ends at this instant.
    Until(Timestamp),
}

impl Lifetime {
    /// What is left of it at `now`; `None` where it does not end.
    #[must_use]
    pub fn left(self, now: Timestamp) -> Option<Duration> {
        match self {
            Self::Infinite => None,
            Self::Constant(duration) => Some(duration),
            Self::Until(end) => Some(end.since(now)),
        }
    }

    /// Whole seconds of it that are left at `now`, as they stand in a message.
    fn seconds(self, now: Timestamp) -> u32 {
        let seconds = |left: Duration| u32::try_from(left.as_secs()).unwrap_or(INFINITE - 1);
        self.left(now).map_or(INFINITE, |left| seconds(left).min(INFINITE - 1))
    }

    /// Whether it ends before `units` of 4 s are over; with `at_the_end` also where it ends with
    /// them. RFC 6275 s.10.3.1: "the prefix lifetimes are first converted into units of four
    /// seconds by ignoring the two least significant bits."
    fn ends_within(self, now: Timestamp, units: u16, at_the_end: bool) -> bool {
        let Self::Until(end) = self else { return false };
        let left = lifetime_units(end.since(now));
        left < units || at_the_end && left == units
    }

    /// Whether both are the same but for the clock's grain.
    fn is_near(self, other: Self) -> bool {
        match (self, other) {
            (Self::Until(a), Self::Until(b)) => a.since(b).max(b.since(a)) <= JITTER,
            (a, b) => a == b,
        }
    }

    /// Whether it is what it was, but for time that has gone by: the same end, or the same length
    /// advertised again.
    fn continues(self, before: Self, heard: (Timestamp, Timestamp)) -> bool {
        match (self, before) {
            (Self::Until(end), Self::Until(old)) => {
                let (then, now) = heard;
                self.is_near(before) || end.since(now).abs_diff(old.since(then)) <= JITTER
            }
            (this, before) => this == before,
        }
    }
}

/// A prefix whose addresses are home addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HomePrefix {
    /// The prefix.
    pub prefix: IpNet,
    /// The link that it is on; `None` where it is routed to the home agent, on a virtual home link:
    /// then there is no Neighbour Discovery at all for it.
    pub link: Option<LinkId>,
    /// How long it is valid; `None`: by the box's own Router Advertisements, infinite until one is
    /// heard.
    pub valid: Option<Lifetime>,
    /// How long it is preferred; `None` as for `valid`.
    pub preferred: Option<Lifetime>,
    /// A: mobile nodes may form addresses in it by themselves. Advertised to them, and of no
    /// meaning here: their home addresses come from the HAC.
    pub autonomous: bool,
    /// The home agent's own address in it, which stands in the prefix's place in what mobile nodes
    /// are told (R, RFC 6275 s.7.2).
    pub router: Option<Ipv6Addr>,
}

impl HomePrefix {
    /// A prefix that is routed to the home agent and does not end.
    #[must_use]
    pub const fn routed(prefix: IpNet) -> Self {
        let (valid, preferred) = (Some(Lifetime::Infinite), Some(Lifetime::Infinite));
        Self { prefix, link: None, valid, preferred, autonomous: false, router: None }
    }
}

/// What the box last advertised of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Advertised {
    at: Timestamp,
    valid: Lifetime,
    preferred: Lifetime,
    autonomous: bool,
}

impl Advertised {
    fn of(now: Timestamp, option: &PrefixInformation) -> Self {
        let lifetime = |seconds: u32| match seconds {
            INFINITE => Lifetime::Infinite,
            seconds => Lifetime::Until(now.after(Duration::from_secs(seconds.into()))),
        };
        Self {
            at: now,
            valid: lifetime(option.valid),
            preferred: lifetime(option.preferred),
            autonomous: option.autonomous,
        }
    }

    fn continues(&self, before: &Self) -> bool {
        let heard = (before.at, self.at);
        self.valid.continues(before.valid, heard)
            && self.preferred.continues(before.preferred, heard)
            && self.autonomous == before.autonomous
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    home: HomePrefix,
    advertised: Option<Advertised>,
}

impl Entry {
    fn valid(&self) -> Lifetime {
        let advertised = self.advertised.map(|advertised| advertised.valid);
        self.home.valid.or(advertised).unwrap_or_default()
    }

    fn preferred(&self) -> Lifetime {
        let advertised = self.advertised.map(|advertised| advertised.preferred);
        self.home.preferred.or(advertised).unwrap_or_default()
    }

    /// Whether both say the same to a mobile node.
    fn says_as(&self, other: &Self) -> bool {
        let (this, that) = (&self.home, &other.home);
        self.valid().is_near(other.valid())
            && self.preferred().is_near(other.preferred())
            && self.autonomous() == other.autonomous()
            && (this.link, this.router) == (that.link, that.router)
    }

    fn autonomous(&self) -> bool {
        self.advertised.map_or(self.home.autonomous, |advertised| advertised.autonomous)
    }
}

/// The home prefixes that more is known of than that they are there. A prefix that is not among
/// them is routed and does not end.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    entries: Vec<Entry>,
    /// M and O of the box's own Router Advertisements.
    managed: bool,
    other: bool,
}

impl Prefixes {
    /// Takes a new list; the prefixes about which a mobile node in them has to be told, or whose
    /// bindings have to be looked at. What was advertised of those that stay is kept.
    pub(crate) fn replace(&mut self, homes: &[HomePrefix]) -> Vec<IpNet> {
        let before = core::mem::take(&mut self.entries);
        let old = |prefix: IpNet| before.iter().find(|entry| entry.home.prefix == prefix);
        let entry = |home: &HomePrefix| Entry {
            home: *home,
            advertised: old(home.prefix).and_then(|old| old.advertised),
        };
        self.entries = homes.iter().map(entry).collect();
        let is_same = |entry: &&Entry| old(entry.home.prefix).is_some_and(|old| old.says_as(entry));
        let changed = self.entries.iter().filter(|entry| !is_same(entry));
        let mut changed: Vec<IpNet> = changed.map(|entry| entry.home.prefix).collect();
        let gone = |old: &&Entry| homes.iter().all(|home| home.prefix != old.home.prefix);
        changed.extend(before.iter().filter(gone).map(|old| old.home.prefix));
        changed
    }

    /// Whether nothing is known of any prefix.
    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn of(&self, address: IpAddr) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.home.prefix.contains(&address))
    }

    /// The link that `address` is on.
    pub(crate) fn link_of(&self, address: IpAddr) -> Option<LinkId> {
        self.of(address)?.home.link
    }

    /// How much longer a binding of `home_address` may last at `now`; `None` without bound.
    pub(crate) fn left(&self, home_address: Ipv6Addr, now: Timestamp) -> Option<Duration> {
        self.of(home_address.into())?.valid().left(now)
    }

    /// Whether the prefix of `home_address` is not valid any more.
    pub(crate) fn is_over(&self, home_address: Ipv6Addr, now: Timestamp) -> bool {
        self.left(home_address, now).is_some_and(|left| left.is_zero())
    }

    /// RFC 6275 s.10.3.1: whether status 1 says that prefix discovery is necessary. It "MUST be
    /// used if the subnet prefix of the specified home address is deprecated, or becomes
    /// deprecated during the lifetime of the binding, or becomes invalid at the end of the
    /// lifetime".
    pub(crate) fn wants_discovery(&self, home: Ipv6Addr, now: Timestamp, units: u16) -> bool {
        self.of(home.into()).is_some_and(|entry| {
            entry.preferred().left(now).is_some_and(|left| left.is_zero())
                || entry.preferred().ends_within(now, units, false)
                || entry.valid().ends_within(now, units, true)
        })
    }

    /// How long the prefix of `home_address` is preferred: MaxScheduleDelay of RFC 6275 s.10.6.2 is
    /// no longer.
    pub(crate) fn preferred_left(&self, home: Ipv6Addr, now: Timestamp) -> Option<Duration> {
        self.of(home.into())?.preferred().left(now)
    }

    /// Whether mobile nodes with `home_address` are on the same home link as the prefix.
    pub(crate) fn is_neighbour(&self, home_address: Ipv6Addr, prefix: IpNet) -> bool {
        let link = self.link_of(home_address.into());
        self.entries.iter().any(|entry| entry.home.prefix == prefix && entry.home.link == link)
    }

    /// M and O of the box's own Router Advertisements.
    pub(crate) const fn dhcp(&self) -> (bool, bool) {
        (self.managed, self.other)
    }

    /// All that a mobile node with `home_address` is told (RFC 6275 s.6.8, 10.6.1): every valid
    /// prefix of its home link; all routed ones are one, virtual, home link.
    pub(crate) fn information(&self, home: Ipv6Addr, now: Timestamp) -> Vec<PrefixInformation> {
        let link = self.link_of(home.into());
        let told = |entry: &Entry| {
            let IpNet::V6(prefix) = entry.home.prefix else { return None };
            (entry.home.link == link).then(|| information(entry, prefix, now))
        };
        self.entries.iter().filter_map(told).collect()
    }

    /// Takes in a Router Advertisement of the box itself; the prefixes of which it says something
    /// new "for any reason other than advancing real time" (RFC 6275 s.10.6.2).
    pub(crate) fn on_advertisement(
        &mut self,
        now: Timestamp,
        link: LinkId,
        message: &RouterAdvertisement<'_>,
    ) -> Vec<IpNet> {
        if self.entries.iter().any(|entry| entry.home.link == Some(link)) {
            (self.managed, self.other) = (message.managed, message.other);
        }
        let mut changed = Vec::new();
        for option in message.prefixes.iter() {
            let Ok(prefix) = Ipv6Net::new(option.prefix, option.len) else { continue };
            let prefix = IpNet::V6(prefix.trunc());
            let on_it =
                |entry: &&mut Entry| entry.home.prefix == prefix && entry.home.link == Some(link);
            let Some(entry) = self.entries.iter_mut().find(on_it) else { continue };
            let advertised = Advertised::of(now, &option);
            // A prefix that was thought infinite until now may not be it.
            let before = entry.advertised.unwrap_or(Advertised {
                valid: Lifetime::Infinite,
                preferred: Lifetime::Infinite,
                autonomous: entry.home.autonomous,
                ..advertised
            });
            let (valid, preferred) = (entry.valid(), entry.preferred());
            entry.advertised = Some(advertised);
            let heeded = (entry.valid(), entry.preferred()) != (valid, preferred)
                || advertised.autonomous != before.autonomous;
            if heeded && !advertised.continues(&before) {
                changed.push(prefix);
            }
        }
        changed
    }
}

fn information(entry: &Entry, prefix: Ipv6Net, now: Timestamp) -> PrefixInformation {
    PrefixInformation {
        prefix: entry.home.router.unwrap_or(prefix.network()),
        len: prefix.prefix_len(),
        on_link: entry.home.link.is_some(),
        autonomous: entry.autonomous(),
        router_address: entry.home.router.is_some(),
        valid: entry.valid().seconds(now),
        preferred: entry.preferred().seconds(now).min(entry.valid().seconds(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0xa);
    const LINK: LinkId = LinkId(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn prefixes(valid: Option<Lifetime>, preferred: Option<Lifetime>) -> Prefixes {
        let mut prefixes = Prefixes::default();
        let home = HomePrefix {
            link: Some(LINK),
            valid,
            preferred,
            ..HomePrefix::routed("2001:db8:c::/64".parse().unwrap())
        };
        prefixes.replace(&[home]);
        prefixes
    }

    fn advertise(prefixes: &mut Prefixes, now: u64, valid: u32, preferred: u32) -> usize {
        let option = PrefixInformation {
            prefix: "2001:db8:c::".parse().unwrap(),
            len: 64,
            on_link: true,
            autonomous: false,
            router_address: false,
            valid,
            preferred,
        };
        let list = [option];
        let message = RouterAdvertisement {
            prefixes: hearth_wire::icmp6::Prefixes::List(&list),
            ..RouterAdvertisement::default()
        };
        prefixes.on_advertisement(at(now), LINK, &message).len()
    }

    #[test]
    fn what_is_advertised_anew_and_what_only_goes_by_is_no_change() {
        let mut prefixes = prefixes(None, None);
        assert_eq!(advertise(&mut prefixes, 10, 3600, 1800), 1, "not infinite after all");
        assert_eq!(advertise(&mut prefixes, 20, 3600, 1800), 0, "the same again");
        assert_eq!(advertise(&mut prefixes, 31, 3589, 1789), 0, "counted down");
        assert_eq!(advertise(&mut prefixes, 40, 60, 0), 1, "on its way out");
        assert!(!prefixes.is_over(HOME, at(99)));
        assert!(prefixes.is_over(HOME, at(100)));
    }

    #[test]
    fn configured_lifetimes_win() {
        let until = Some(Lifetime::Until(at(1000)));
        let mut prefixes = prefixes(until, until);
        assert_eq!(advertise(&mut prefixes, 10, 60, 0), 0);
        assert_eq!(prefixes.left(HOME, at(100)), Some(Duration::from_secs(900)));
    }

    #[test]
    fn a_constant_lifetime_bounds_and_does_not_end() {
        let hour = Some(Lifetime::Constant(Duration::from_secs(3600)));
        let prefixes = prefixes(hour, hour);
        assert_eq!(prefixes.left(HOME, at(1_000_000)), Some(Duration::from_secs(3600)));
        assert!(!prefixes.wants_discovery(HOME, at(1_000_000), 900));
    }
}
