//! Issues one SA: home addresses, SPI, generation, record.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hearth_wire::directory::{SaRecord, Update, encode_update};
use redb::{ReadableTable, StorageError};

use super::issue::{IssueError, IssueRequest};
use super::leases::Cursors;
use super::tables::{Change, GENERATION, Tables, find, ip4_of};
use crate::config::{HomeAddress, HomeAgent, Realm, Subscriber};

/// SAs that the store holds of one mn-id; the next one ends the oldest, used or not.
///
/// This bounds memory and nothing else: the 64 of R-15, of which the oldest *unused* go first, are
/// the home agent's to keep, as only it knows which SAs are in use. It lies well above, so that who
/// fetches SAs and uses them, however restless, never meets it.
pub(super) const RECORDS_PER_NODE: usize = 128;

/// Issues one SA within a transaction.
pub(super) struct Issuer<'a, 'txn> {
    pub(super) realm: &'a Realm,
    pub(super) reserved: &'a HashSet<u128>,
    pub(super) cursors: &'a mut Cursors,
    pub(super) tables: &'a mut Tables<'txn>,
    pub(super) now: u64,
}

impl Issuer<'_, '_> {
    pub(super) fn issue(
        &mut self,
        request: IssueRequest,
        changes: &mut Vec<Change>,
    ) -> Result<Result<Box<SaRecord>, IssueError>, StorageError> {
        let Some((subscriber, agent)) = find(self.realm, request.mn_id.as_str()) else {
            return Ok(Err(IssueError::Store));
        };
        let mn_id = request.mn_id.as_str();
        let (home_address, ipv4_home_address) = match self.home(mn_id, &subscriber, agent)? {
            Ok(home) => home,
            Err(error) => return Ok(Err(error)),
        };
        let records = &self.tables.records;
        let alive = |spi| records.get(spi).map(|record| record.is_some());
        let spi = match self.tables.spis.take(&agent.name, &agent.spis, self.now, alive)? {
            Some(spi) => spi,
            None => return Ok(Err(IssueError::NoSpi)),
        };
        let generation = self.tables.counters.get(GENERATION)?.map_or(0, |last| last.value()) + 1;
        self.tables.counters.insert(GENERATION, generation)?;
        let update = Update::Issued(Box::new(SaRecord {
            spi,
            mn_id: request.mn_id,
            home_agent: agent.name.clone(),
            suite: request.suite,
            scope: request.scope,
            mn_to_ha: request.mn_to_ha,
            ha_to_mn: request.ha_to_mn,
            validity_end: request.validity_end,
            home_address,
            ipv4_home_address,
            ha_address: agent.ip6,
            generation,
            services: subscriber.services.clone(),
        }));
        let (Some(encoded), Update::Issued(record)) = (encode_update(&update), update) else {
            return Ok(Err(IssueError::Store));
        };
        let encoded = Arc::new(encoded);
        self.insert(&record, &encoded)?;
        self.retire(record.mn_id.as_str(), changes)?;
        changes.push(Change::Issued { home_agent: agent.name.clone(), encoded });
        Ok(Ok(record))
    }

    pub(super) fn insert(&mut self, record: &SaRecord, encoded: &[u8]) -> Result<(), StorageError> {
        let spi = record.spi.get();
        self.tables.records.insert(spi, encoded)?;
        self.tables.by_home_agent.insert((&*record.home_agent, spi), ())?;
        self.tables.by_node.insert((record.mn_id.as_str(), record.generation), spi)?;
        self.tables.by_end.insert((record.validity_end, spi), ())?;
        Ok(())
    }

    /// Keeps to [`RECORDS_PER_NODE`].
    pub(super) fn retire(
        &mut self,
        mn_id: &str,
        changes: &mut Vec<Change>,
    ) -> Result<(), StorageError> {
        let live: Vec<u32> = self
            .tables
            .by_node
            .range((mn_id, 0)..=(mn_id, u64::MAX))?
            .map(|entry| entry.map(|(_, spi)| spi.value()))
            .collect::<Result<_, _>>()?;
        let excess = live.len().saturating_sub(RECORDS_PER_NODE);
        for spi in live.into_iter().take(excess) {
            self.tables.remove(spi, self.now, changes)?;
        }
        Ok(())
    }

    /// The home addresses of a subscriber.
    pub(super) fn home(
        &mut self,
        mn_id: &str,
        subscriber: &Subscriber,
        agent: &HomeAgent,
    ) -> Result<Result<(Ipv6Addr, Option<Ipv4Addr>), IssueError>, StorageError> {
        let (reserved, cursors) = (self.reserved, &mut *self.cursors);
        let ip6 = match (subscriber.ip6, &agent.pool_ip6) {
            (HomeAddress::Fixed(address), _) => Some(address),
            (HomeAddress::Pool, Some(pool)) => {
                let pool = pool.start().to_bits()..=pool.end().to_bits();
                let leased = self.tables.ip6.lease(mn_id, &agent.name, pool, reserved, cursors)?;
                leased.map(Ipv6Addr::from_bits)
            }
            _ => None,
        };
        let Some(ip6) = ip6 else { return Ok(Err(IssueError::NoHomeAddress)) };
        let ip4 = match (subscriber.ip4, &agent.pool_ip4) {
            (HomeAddress::None, _) => return Ok(Ok((ip6, None))),
            (HomeAddress::Fixed(address), _) => Some(address),
            (HomeAddress::Pool, Some(pool)) => {
                let pool = pool.start().to_bits().into()..=pool.end().to_bits().into();
                let leased = self.tables.ip4.lease(mn_id, &agent.name, pool, reserved, cursors)?;
                leased.and_then(ip4_of)
            }
            _ => None,
        };
        Ok(ip4.map(|ip4| (ip6, Some(ip4))).ok_or(IssueError::NoHomeAddress))
    }
}
