//! Leases: home addresses, home network prefixes and mobile networks from pools, each held by one
//! mobile node.
//!
//! Read first: RFC 6618 s.5.7.3.
//!
//! A mobile node gets again what it held. A lease that has ended stays where it is until the pool has
//! nothing else left; then the one that ended first goes. Addresses that the configuration or an AAA
//! server fixes are held as well, so that no pool deals them out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use hearth_api::hac::LeaseKind;
use redb::{ReadableTable, StorageError, Table, TableDefinition, WriteTransaction};

use super::tables::ip4_of;
use crate::config::{Pools, PrefixPool, Realm, number};
use crate::subscribers::Subscribers;

/// What is leased; addresses, and prefixes by their first address, are kept as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// An IPv6 home address.
    Ip6,
    /// An IPv4 home address.
    Ip4,
    /// A home network prefix of one mobile node, IPv6.
    HomePrefix,
    /// An IPv6 mobile network.
    Network6,
    /// An IPv4 mobile network.
    Network4,
}

/// The tables of one family.
pub(super) struct Names {
    pub(super) by_address: TableDefinition<'static, u128, &'static str>,
    pub(super) by_node: TableDefinition<'static, (&'static str, u128), (&'static str, u64)>,
    by_end: TableDefinition<'static, (&'static str, u64, u128), ()>,
}

macro_rules! names {
    ($name:literal) => {
        Names {
            by_address: TableDefinition::new(concat!("lease-", $name, "-holder")),
            by_node: TableDefinition::new(concat!("lease-", $name, "-node")),
            by_end: TableDefinition::new(concat!("lease-", $name, "-end")),
        }
    };
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Ip6, Self::Ip4, Self::HomePrefix, Self::Network6, Self::Network4];

    /// As operators see it.
    #[must_use]
    pub const fn kind(self) -> LeaseKind {
        match self {
            Self::Ip6 => LeaseKind::HomeAddressIp6,
            Self::Ip4 => LeaseKind::HomeAddressIp4,
            Self::HomePrefix => LeaseKind::HomePrefixIp6,
            Self::Network6 => LeaseKind::MobileNetworkIp6,
            Self::Network4 => LeaseKind::MobileNetworkIp4,
        }
    }

    pub(super) const fn is_ip6(self) -> bool {
        matches!(self, Self::Ip6 | Self::HomePrefix | Self::Network6)
    }

    /// The pool of prefixes that it is leased from; `None` for addresses.
    pub(super) const fn pool(self, pools: &Pools) -> Option<&PrefixPool> {
        match self {
            Self::Ip6 | Self::Ip4 => None,
            Self::HomePrefix => pools.home_prefixes_ip6.as_ref(),
            Self::Network6 => pools.mobile_networks_ip6.as_ref(),
            Self::Network4 => pools.mobile_networks_ip4.as_ref(),
        }
    }

    /// The first addresses of what `pools` hold of it, the first and the last, and how far one is from
    /// the next.
    pub(super) fn span(self, pools: &Pools) -> Option<(RangeInclusive<u128>, u128)> {
        match self {
            Self::Ip6 => {
                pools.ip6.as_ref().map(|pool| (pool.start().to_bits()..=pool.end().to_bits(), 1))
            }
            Self::Ip4 => pools
                .ip4
                .as_ref()
                .map(|pool| (pool.start().to_bits().into()..=pool.end().to_bits().into(), 1)),
            _ => self.pool(pools).map(|pool| (pool.range.clone(), pool.step())),
        }
    }

    /// How many of it `pools` hold.
    #[must_use]
    pub fn room(self, pools: &Pools) -> u128 {
        self.span(pools).map_or(0, |(range, step)| {
            let distance = range.end().saturating_sub(*range.start());
            distance.checked_div(step).unwrap_or(0).saturating_add(1)
        })
    }

    pub(super) const fn names(self) -> Names {
        match self {
            Self::Ip6 => names!("ip6"),
            Self::Ip4 => names!("ip4"),
            Self::HomePrefix => names!("home-prefix"),
            Self::Network6 => names!("network-ip6"),
            Self::Network4 => names!("network-ip4"),
        }
    }
}

/// What no pool deals out.
#[derive(Debug)]
pub(super) struct Reserved {
    /// Addresses of home agents and DNS servers.
    numbers: HashSet<u128>,
    /// Who has addresses for good, as they are at the time.
    subscribers: Subscribers,
}

impl Reserved {
    pub(super) fn of(realm: &Realm) -> Self {
        let numbers = realm.reserved_addresses().map(number).collect();
        Self { numbers, subscribers: realm.subscribers.clone() }
    }

    pub(super) fn contains(&self, family: Family, number: u128) -> bool {
        let fixed = match family {
            Family::Ip6 => Some(IpAddr::from(Ipv6Addr::from_bits(number))),
            Family::Ip4 => ip4_of(number).map(IpAddr::from),
            Family::HomePrefix | Family::Network6 | Family::Network4 => None,
        };
        self.numbers.contains(&number)
            || fixed.is_some_and(|address| self.subscribers.is_fixed(address))
    }
}

/// Where the search for a free number goes on, by home agent and family; a transaction that fails
/// forgets the places.
pub(super) type Cursors = HashMap<(Box<str>, Family), Cursor>;

/// Where the search for a free number of one pool goes on.
#[derive(Debug)]
pub(super) struct Cursor {
    /// What lies behind was taken when it was looked at.
    next: u128,
    /// What of that has been given back since: dealt out when the pool has nothing else that is free.
    given_back: VecDeque<u128>,
}

/// A pool of one home agent.
#[derive(Debug, Clone)]
pub(super) struct Span<'a> {
    pub(super) home_agent: &'a str,
    pub(super) range: RangeInclusive<u128>,
    /// From one number to the next.
    pub(super) step: u128,
}

impl Span<'_> {
    fn contains(&self, number: u128) -> bool {
        self.range.contains(&number)
            && (number - self.range.start()).checked_rem(self.step) == Some(0)
    }
}

/// When, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    pub(super) now: u64,
    /// Unix seconds; [`Term::EVER`] for a lease that does not end.
    pub(super) until: u64,
}

impl Term {
    pub(super) const EVER: u64 = u64::MAX;
}

/// The lease tables of one family in one write transaction.
pub(super) struct Leases<'txn> {
    family: Family,
    by_address: Table<'txn, u128, &'static str>,
    /// The home agent from whose pool it is, and its end.
    by_node: Table<'txn, (&'static str, u128), (&'static str, u64)>,
    by_end: Table<'txn, (&'static str, u64, u128), ()>,
}

impl<'txn> Leases<'txn> {
    pub(super) fn open(
        transaction: &'txn WriteTransaction,
        family: Family,
    ) -> Result<Self, redb::TableError> {
        let names = family.names();
        Ok(Self {
            family,
            by_address: transaction.open_table(names.by_address)?,
            by_node: transaction.open_table(names.by_node)?,
            by_end: transaction.open_table(names.by_end)?,
        })
    }

    /// Whether `mn_id` holds `number`.
    pub(super) fn is_held(&self, mn_id: &str, number: u128) -> Result<bool, StorageError> {
        Ok(self.by_address.get(number)?.is_some_and(|holder| holder.value() == mn_id))
    }

    /// Who holds `number`.
    pub(super) fn holder(&self, number: u128) -> Result<Option<Box<str>>, StorageError> {
        Ok(self.by_address.get(number)?.map(|holder| holder.value().into()))
    }

    /// Everything that `mn_id` holds, with the home agents from whose pools it is.
    pub(super) fn held(&self, mn_id: &str) -> Result<Vec<(u128, Box<str>)>, StorageError> {
        self.by_node
            .range((mn_id, 0)..=(mn_id, u128::MAX))?
            .map(|entry| entry.map(|(key, value)| (key.value().1, Box::from(value.value().0))))
            .collect()
    }

    /// A number of `pool` for `mn_id`: the one that it holds, else one that nobody holds, else that
    /// whose lease ended first. `None`: the pool is leased out.
    pub(super) fn lease(
        &mut self,
        mn_id: &str,
        pool: &Span<'_>,
        term: Term,
        reserved: &Reserved,
        cursors: &mut Cursors,
    ) -> Result<Option<u128>, StorageError> {
        let held = self.held(mn_id)?.into_iter().map(|(number, _)| number);
        let held = held
            .filter(|number| pool.contains(*number))
            .find(|n| !reserved.contains(self.family, *n));
        let number = match held {
            Some(held) => Some(held),
            None => match self.fresh(pool, reserved, cursors)? {
                Some(fresh) => Some(fresh),
                None => self.ended(pool, term.now, reserved)?,
            },
        };
        if let Some(number) = number {
            self.hold(mn_id, number, pool.home_agent, term.until)?;
        }
        Ok(number)
    }

    fn fresh(
        &self,
        pool: &Span<'_>,
        reserved: &Reserved,
        cursors: &mut Cursors,
    ) -> Result<Option<u128>, StorageError> {
        let key = (pool.home_agent.into(), self.family);
        let first = *pool.range.start();
        let Cursor { next, given_back } = cursors
            .entry(key)
            .or_insert_with(|| Cursor { next: first, given_back: VecDeque::new() });
        while *next <= *pool.range.end() {
            let number = *next;
            *next = next.saturating_add(pool.step);
            if self.is_free(number, reserved)? {
                return Ok(Some(number));
            }
            if *next == number {
                break;
            }
        }
        while let Some(number) = given_back.pop_front() {
            // It may be fixed by now, or have been outside the pool.
            if pool.contains(number) && self.is_free(number, reserved)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    fn is_free(&self, number: u128, reserved: &Reserved) -> Result<bool, StorageError> {
        Ok(!reserved.contains(self.family, number) && self.by_address.get(number)?.is_none())
    }

    /// The number of `pool` whose lease ended first, by `now`.
    fn ended(
        &self,
        pool: &Span<'_>,
        now: u64,
        reserved: &Reserved,
    ) -> Result<Option<u128>, StorageError> {
        let by_then = (pool.home_agent, 0, 0)..(pool.home_agent, now, 0);
        for entry in self.by_end.range(by_then)? {
            let number = entry?.0.value().2;
            if pool.contains(number) && !reserved.contains(self.family, number) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Has `mn_id` hold `number` until `until` at least; whoever held it does no longer.
    pub(super) fn hold(
        &mut self,
        mn_id: &str,
        number: u128,
        home_agent: &str,
        until: u64,
    ) -> Result<(), StorageError> {
        let former = self.holder(number)?;
        let known = match &former {
            Some(holder) => self.entry(holder, number)?,
            None => None,
        };
        if let (Some(holder), Some((of, end))) = (&former, &known) {
            if **holder == *mn_id && *end >= until {
                return Ok(());
            }
            self.by_node.remove((&**holder, number))?;
            self.by_end.remove((&**of, *end, number))?;
        }
        self.by_address.insert(number, mn_id)?;
        self.by_node.insert((mn_id, number), (home_agent, until))?;
        self.by_end.insert((home_agent, until, number), ())?;
        Ok(())
    }

    fn entry(&self, mn_id: &str, number: u128) -> Result<Option<(Box<str>, u64)>, StorageError> {
        let entry = self.by_node.get((mn_id, number))?;
        Ok(entry.map(|entry| (Box::from(entry.value().0), entry.value().1)))
    }

    /// Gives back `number`, which `mn_id` holds.
    pub(super) fn give_back(
        &mut self,
        mn_id: &str,
        number: u128,
        cursors: &mut Cursors,
    ) -> Result<(), StorageError> {
        let Some((home_agent, end)) = self.entry(mn_id, number)? else { return Ok(()) };
        self.by_node.remove((mn_id, number))?;
        self.by_address.remove(number)?;
        self.by_end.remove((&*home_agent, end, number))?;
        if let Some(cursor) = cursors.get_mut(&(home_agent, self.family)) {
            cursor.given_back.push_back(number);
        }
        Ok(())
    }

    /// Fits every lease to `keep` (mn-id, number, its home agent and end): the home agent from whose
    /// pool it is and the end that it has at most, or `None` where it is given back.
    pub(super) fn fit(
        &mut self,
        keep: impl Fn(&str, u128, Option<&(Box<str>, u64)>) -> Option<(Box<str>, u64)>,
    ) -> Result<(), StorageError> {
        let mut all = Vec::new();
        for entry in self.by_address.iter()? {
            let (number, mn_id) = entry?;
            all.push((number.value(), Box::<str>::from(mn_id.value())));
        }
        for (number, mn_id) in all {
            let known = self.entry(&mn_id, number)?;
            let Some((home_agent, end)) = keep(&mn_id, number, known.as_ref()) else {
                self.give_back(&mn_id, number, &mut Cursors::new())?;
                self.by_address.remove(number)?;
                continue;
            };
            let end = known.as_ref().map_or(end, |(_, known)| end.min(*known));
            if known.as_ref().is_none_or(|known| *known != (home_agent.clone(), end)) {
                if let Some((of, end)) = known {
                    self.by_end.remove((&*of, end, number))?;
                }
                self.by_node.insert((&*mn_id, number), (&*home_agent, end))?;
                self.by_end.insert((&*home_agent, end, number), ())?;
            }
        }
        Ok(())
    }
}
