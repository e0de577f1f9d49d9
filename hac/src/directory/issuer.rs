//! Issues one SA: home agent, home addresses, mobile networks, SPI, generation, record.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hearth_wire::directory::{SaRecord, Services, Update, encode_update};
use ipnet::IpNet;
use redb::{ReadableTable, StorageError};
use tracing::warn;

use super::choice::{Candidates, Loads, Presence};
use super::fit::fixes;
use super::issue::{Grant, IssueError, IssueRequest, Pool};
use super::leases::{Cursors, Family, Reserved, Span, Term};
use super::networks::is_anothers;
use super::tables::{Change, GENERATION, Tables, find, ip4_of, realm_of};
use super::time::At;
use crate::config::{HomeAddress, HomeAgent, PrefixPool, Realm, number};

/// Bits of a generation below the second it is of, where several HACs count on their own.
const GENERATIONS_PER_SECOND: u32 = 16;

/// Seconds that a lease outlives the last SA of a mobile node that only an AAA server knows, where
/// the pool has no lease time.
const UNCONFIGURED_LEASE: u64 = 7 * 86_400;

/// What an SA gets, or why there is none; outside, that the store failed.
type Outcome<T> = Result<Result<T, IssueError>, StorageError>;

/// Issues SAs within a transaction.
pub(super) struct Issuer<'a, 'txn> {
    pub(super) realm: &'a Realm,
    pub(super) reserved: &'a Reserved,
    pub(super) loads: &'a Loads,
    /// Whether each home agent is there, in the order of the realm's.
    pub(super) presence: &'a [Presence],
    pub(super) cursors: &'a mut Cursors,
    pub(super) tables: &'a mut Tables<'txn>,
    pub(super) at: At,
}

/// Whose lease, of which home agent, until when.
struct Holder<'a> {
    mn_id: &'a str,
    agent: &'a HomeAgent,
    term: Term,
}

/// Where a mobile node is at home.
struct Home<'a> {
    agent: &'a HomeAgent,
    address: Ipv6Addr,
    ipv4_address: Option<Ipv4Addr>,
    services: Services,
}

impl<'a> Issuer<'a, '_> {
    pub(super) fn issue(
        &mut self,
        mut request: IssueRequest,
        changes: &mut Vec<Change>,
    ) -> Outcome<Box<SaRecord>> {
        if request.validity_end <= self.at.now {
            return Ok(Err(IssueError::Clock));
        }
        let is_configured = request.grant.is_none();
        let grant = match request.grant.take() {
            Some(grant) => *grant,
            None => match find(self.realm, request.mn_id.as_str()) {
                Some(subscriber) => Grant::from(&*subscriber),
                None => return Ok(Err(IssueError::Store)),
            },
        };
        let home = match self.settle(&request, (&grant, is_configured), changes)? {
            Ok(home) => home,
            Err(error) => return Ok(Err(error)),
        };
        self.tables.clear(request.mn_id.as_str(), &home.services.prefixes, self.at, changes)?;
        let records = &self.tables.records;
        let alive = |spi| records.get(spi).map(|record| record.is_some());
        let agent = home.agent;
        let spi = match self.tables.spis.take(&agent.name, &agent.spis, self.at.service, alive)? {
            Some(spi) => spi,
            None => return Ok(Err(IssueError::NoSpi)),
        };
        let account = request.account.map(Arc::from);
        let update = Update::Issued(Box::new(SaRecord {
            spi,
            mn_id: request.mn_id,
            home_agent: agent.name.clone(),
            suite: request.suite,
            scope: request.scope,
            mn_to_ha: request.mn_to_ha,
            ha_to_mn: request.ha_to_mn,
            validity_end: request.validity_end,
            home_address: home.address,
            ipv4_home_address: home.ipv4_address,
            ha_address: agent.ip6,
            generation: self.generation()?,
            services: home.services,
        }));
        let (Some(encoded), Update::Issued(record)) = (encode_update(&update), update) else {
            return Ok(Err(IssueError::Store));
        };
        let encoded = Arc::new(encoded);
        self.insert(&record, &encoded, account.as_deref())?;
        if !is_configured {
            self.tables.granted.insert(spi.get(), ())?;
            self.tables.networks.carry(spi.get(), &record.services.prefixes)?;
        }
        self.retire(record.mn_id.as_str(), grant.max_sas, changes)?;
        let home_agent = agent.name.clone();
        changes.push(Change::Issued { home_agent, encoded, account, is_new: true });
        Ok(Ok(record))
    }

    /// Where a mobile node is at home, and what it has there; none of it is another's.
    fn settle(
        &mut self,
        request: &IssueRequest,
        (grant, is_configured): (&Grant, bool),
        changes: &mut Vec<Change>,
    ) -> Outcome<Home<'a>> {
        let mn_id = request.mn_id.as_str();
        if !is_configured && let Some(taken) = self.taken(mn_id, grant)? {
            return Ok(Err(IssueError::Taken(taken)));
        }
        let agent = match self.choose(mn_id, grant)? {
            Ok(agent) => agent,
            Err(error) => return Ok(Err(error)),
        };
        // Nobody says that a subscriber of an AAA server is gone.
        let lease_time = agent.pools.lease_time.or((!is_configured).then_some(UNCONFIGURED_LEASE));
        let until = lease_time.map_or(Term::EVER, |time| request.validity_end.saturating_add(time));
        let term = Term { now: self.at.now, until };
        let holder = Holder { mn_id, agent, term };
        let (address, ipv4_address) = match self.home(&holder, grant, changes)? {
            Ok(home) => home,
            Err(error) => return Ok(Err(error)),
        };
        let services = self.services(&holder, grant)?;
        Ok(services.map(|services| Home { agent, address, ipv4_address, services }))
    }

    /// The number of this issue. Where other HACs issue as well, all go by the clock, so that the
    /// newest SA of a mobile node is known whichever HAC it has it from.
    fn generation(&mut self) -> Result<u64, StorageError> {
        let counted = self.tables.counters.get(GENERATION)?.map_or(0, |last| last.value()) + 1;
        let generation = if self.realm.replica.has_others() {
            counted.max(self.at.now << GENERATIONS_PER_SECOND)
        } else {
            counted
        };
        self.tables.counters.insert(GENERATION, generation)?;
        Ok(generation)
    }

    fn choose(&self, mn_id: &str, grant: &Grant) -> Outcome<&'a HomeAgent> {
        let former = match grant.home_agent {
            Some(_) => Vec::new(),
            None => self.former(mn_id)?,
        };
        let Self { realm, loads, presence, .. } = self;
        let candidates = Candidates { realm, loads, presence };
        Ok(candidates.choose(grant, &former))
    }

    /// The home agents that `mn_id` has been sent to, the latest first.
    fn former(&self, mn_id: &str) -> Result<Vec<Box<str>>, StorageError> {
        let mut names = Vec::new();
        if let Some(entry) = self.tables.by_node.range((mn_id, 0)..=(mn_id, u64::MAX))?.next_back()
        {
            let spi = entry?.1.value();
            names.extend(self.tables.record(spi)?.map(|record| record.home_agent));
        }
        for family in [Family::Ip6, Family::HomePrefix] {
            let held = self.tables.leases(family).held(mn_id)?;
            names.extend(held.into_iter().map(|(_, home_agent)| home_agent));
        }
        Ok(names)
    }

    fn insert(
        &mut self,
        record: &SaRecord,
        encoded: &[u8],
        account: Option<&[u8]>,
    ) -> Result<(), StorageError> {
        let spi = record.spi.get();
        let mn_id = record.mn_id.as_str();
        self.tables.records.insert(spi, encoded)?;
        self.tables.by_home_agent.insert((&*record.home_agent, spi), ())?;
        self.tables.by_node.insert((mn_id, record.generation), spi)?;
        self.tables.by_realm.insert((&*realm_of(mn_id), spi), ())?;
        self.tables.by_end.insert((record.validity_end, spi), ())?;
        if let Some(account) = account {
            self.tables.accounts.insert(spi, account)?;
        }
        Ok(())
    }

    /// Ends the oldest of more than `most` SAs, used or not.
    fn retire(
        &mut self,
        mn_id: &str,
        most: usize,
        changes: &mut Vec<Change>,
    ) -> Result<(), StorageError> {
        let live = self.tables.spis_of_node(mn_id)?;
        let excess = live.len().saturating_sub(most);
        for spi in live.into_iter().take(excess) {
            self.tables.remove(spi, self.at, changes)?;
        }
        Ok(())
    }

    /// The home addresses of a mobile node.
    fn home(
        &mut self,
        holder: &Holder<'_>,
        grant: &Grant,
        changes: &mut Vec<Change>,
    ) -> Outcome<(Ipv6Addr, Option<Ipv4Addr>)> {
        let pools = &holder.agent.pools;
        let ip6 = match grant.ip6 {
            HomeAddress::None => None,
            HomeAddress::Fixed(address) => {
                self.fixed(Family::Ip6, address.to_bits(), holder, changes)?;
                Some(address)
            }
            HomeAddress::Pool => match &pools.ip6 {
                Some(pool) => {
                    let range = pool.start().to_bits()..=pool.end().to_bits();
                    self.lease(Family::Ip6, range, 1, holder)?.map(Ipv6Addr::from_bits)
                }
                None => None,
            },
            // The first address of a prefix is the subnet-router anycast address.
            HomeAddress::Prefix => self
                .lease_prefix(Family::HomePrefix, pools.home_prefixes_ip6.as_ref(), holder)?
                .map(|prefix| Ipv6Addr::from_bits(number(prefix.network()) | 1)),
        };
        let Some(ip6) = ip6 else {
            let is_prefix = matches!(grant.ip6, HomeAddress::Prefix);
            let family = if is_prefix { Family::HomePrefix } else { Family::Ip6 };
            return Ok(Err(IssueError::NoHomeAddress(self.pool(holder, family))));
        };
        let ip4 = match grant.ip4 {
            HomeAddress::None => return Ok(Ok((ip6, None))),
            HomeAddress::Fixed(address) => {
                let number = address.to_bits().into();
                self.fixed(Family::Ip4, number, holder, changes)?;
                Some(address)
            }
            HomeAddress::Pool => match &pools.ip4 {
                Some(pool) => {
                    let range = pool.start().to_bits().into()..=pool.end().to_bits().into();
                    self.lease(Family::Ip4, range, 1, holder)?.and_then(ip4_of)
                }
                None => None,
            },
            HomeAddress::Prefix => None,
        };
        let none = || IssueError::NoHomeAddress(self.pool(holder, Family::Ip4));
        Ok(ip4.map(|ip4| (ip6, Some(ip4))).ok_or_else(none))
    }

    /// What a mobile node may, its leased networks among it.
    fn services(&mut self, holder: &Holder<'_>, grant: &Grant) -> Outcome<Services> {
        let mut services = grant.services.clone();
        let (leased, pools) = (grant.leased_networks, &holder.agent.pools);
        let wanted = [
            (leased.ip6, Family::Network6, &pools.mobile_networks_ip6),
            (leased.ip4, Family::Network4, &pools.mobile_networks_ip4),
        ];
        let mut prefixes = services.prefixes.into_vec();
        prefixes.extend(grant.delegated.iter().copied().map(IpNet::from));
        for (_, family, pool) in wanted.into_iter().filter(|(is_wanted, ..)| *is_wanted) {
            match self.lease_prefix(family, pool.as_ref(), holder)? {
                Some(prefix) => prefixes.push(prefix),
                None => {
                    let pool = self.pool(holder, family);
                    return Ok(Err(IssueError::NoMobileNetwork(pool)));
                }
            }
        }
        services.prefixes = prefixes.into();
        Ok(Ok(services))
    }

    /// The pool that is leased out.
    fn pool(&self, holder: &Holder<'_>, family: Family) -> Pool {
        let mut agents = self.realm.home_agents.iter();
        let home_agent = agents.position(|agent| agent.name == holder.agent.name).unwrap_or(0);
        Pool { family, home_agent }
    }

    fn lease(
        &mut self,
        family: Family,
        range: std::ops::RangeInclusive<u128>,
        step: u128,
        holder: &Holder<'_>,
    ) -> Result<Option<u128>, StorageError> {
        let pool = Span { home_agent: &holder.agent.name, range, step };
        let (reserved, cursors) = (self.reserved, &mut *self.cursors);
        let leases = self.tables.leases_mut(family);
        leases.lease(holder.mn_id, &pool, holder.term, reserved, cursors)
    }

    fn lease_prefix(
        &mut self,
        family: Family,
        pool: Option<&PrefixPool>,
        holder: &Holder<'_>,
    ) -> Result<Option<IpNet>, StorageError> {
        let Some(pool) = pool else { return Ok(None) };
        let leased = self.lease(family, pool.range.clone(), pool.step(), holder)?;
        Ok(leased.and_then(|number| pool.prefix(number)))
    }

    /// What of an AAA server's grant is somebody else's: it gives nobody what another one has.
    fn taken(&self, mn_id: &str, grant: &Grant) -> Result<Option<IpNet>, StorageError> {
        let ip6 = grant.ip6.fixed().map(|address| (Family::Ip6, address.into()));
        let ip4 = grant.ip4.fixed().map(|address| (Family::Ip4, address.into()));
        for (family, address) in [ip6, ip4].into_iter().flatten() {
            if self.is_anothers_address(family, number(address), mn_id)? {
                return Ok(Some(address.into()));
            }
        }
        for network in &grant.delegated {
            let is_anothers = is_anothers(self.realm, mn_id, IpNet::from(*network))
                || !self.tables.others(mn_id, *network)?.is_empty();
            if is_anothers {
                return Ok(Some((*network).into()));
            }
        }
        Ok(None)
    }

    /// Whether the configuration has fixed this address for another one, or another one has an SA
    /// with it.
    fn is_anothers_address(
        &self,
        family: Family,
        number: u128,
        mn_id: &str,
    ) -> Result<bool, StorageError> {
        let own = find(self.realm, mn_id);
        if own.is_some_and(|subscriber| fixes(&subscriber, family, number)) {
            return Ok(false);
        }
        let leases = self.tables.leases(family);
        if self.reserved.contains(family, number) && !leases.is_held(mn_id, number)? {
            return Ok(true);
        }
        match leases.holder(number)?.filter(|other| **other != *mn_id) {
            Some(other) => Ok(!self.tables.spis_with_address(&other, number)?.is_empty()),
            None => Ok(false),
        }
    }

    /// Takes an address that is fixed, so that no pool deals it out. It is nobody else's who has an SA
    /// with it, unless the configuration gives it away anew.
    fn fixed(
        &mut self,
        family: Family,
        number: u128,
        holder: &Holder<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<(), StorageError> {
        let mn_id = holder.mn_id;
        let other = self.tables.leases(family).holder(number)?;
        if let Some(other) = other.filter(|other| **other != *mn_id) {
            let spis = self.tables.spis_with_address(&other, number)?;
            if !spis.is_empty() {
                let (family, sas) = (family.kind().name(), spis.len());
                warn!(%other, mn_id, family, sas, "another's SAs end: its address is fixed for this one");
            }
            for spi in spis {
                self.tables.remove(spi, self.at, changes)?;
            }
        }
        let leases = self.tables.leases_mut(family);
        leases.hold(mn_id, number, &holder.agent.name, holder.term.until)
    }
}
