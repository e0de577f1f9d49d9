//! The embedded store: SA records with their keys, SPIs and leases, in one file.
//!
//! Read first: readings.
//!
//! The file has mode 0600. Keys in it are not encrypted: whoever may read the file may as well
//! read them from this process. Records are kept as frames of the directory protocol, so that
//! what a home agent gets pushed and what it gets by asking are the same octets.

use std::collections::HashSet;
use std::fs::{self, OpenOptions, Permissions};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use hearth_wire::directory::{SaRecord, Update, decode_update, deframe, encode_update};
use hearth_wire::{MobileNodeId, Spi};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, StorageError, Table,
    TableDefinition, WriteTransaction,
};
use zeroize::Zeroizing;

use super::issue::{IssueError, IssueRequest};
use super::leases::{Cursors, Family, Leases};
use super::spis::Spis;
use crate::config::{HomeAddress, HomeAgent, Realm, Subscriber};

/// SPI -> record.
const RECORDS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("records");
/// Home agent, SPI.
const BY_HOME_AGENT: TableDefinition<'_, (&str, u32), ()> = TableDefinition::new("by-home-agent");
/// mn-id, generation -> SPI.
const BY_NODE: TableDefinition<'_, (&str, u64), u32> = TableDefinition::new("by-node");
/// End of validity, SPI.
const BY_END: TableDefinition<'_, (u64, u32), ()> = TableDefinition::new("by-end");
/// Name -> number; the last generation.
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
const GENERATION: &str = "generation";

/// SAs that one mn-id may have at a time.
pub(super) const SAS_PER_NODE: usize = 64;

/// redb's page cache; its own default is a gibibyte.
const CACHE_OCTETS: usize = 64 << 20;

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder can't be made or read.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// Not a store, damaged, or in use by another process.
    #[error("{0}")]
    Database(#[from] redb::Error),
}

/// What a transaction changed, for the watchers of a home agent.
#[derive(Debug)]
pub(super) enum Change {
    /// A record, in the form of the directory protocol.
    Issued { home_agent: Box<str>, encoded: Arc<Zeroizing<Vec<u8>>> },
    /// An SA is gone.
    Revoked { home_agent: Box<str>, spi: Spi },
}

/// The store, opened for one realm.
#[derive(Debug)]
pub struct Store {
    database: Arc<Database>,
    realm: Arc<Realm>,
    reserved: HashSet<u128>,
    cursors: Cursors,
}

impl Store {
    /// Opens or makes the store at `path`, and fits it to the realm at `now` (unix seconds):
    /// leases and SAs that the configuration no longer grants are gone afterwards.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, realm: Arc<Realm>, now: u64) -> Result<Self, OpenError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        }
        // The file has its mode before there is anything in it.
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        let database = Database::builder()
            .set_cache_size(CACHE_OCTETS)
            .create(path)
            .map_err(redb::Error::from)?;
        let reserved = realm.reserved_addresses().map(number).collect();
        let mut store =
            Self { database: Arc::new(database), realm, reserved, cursors: Cursors::new() };
        store.fit(now)?;
        Ok(store)
    }

    /// The database, for readers.
    pub(super) fn database(&self) -> Arc<Database> {
        self.database.clone()
    }

    /// Makes every table, and drops what the configuration no longer grants.
    fn fit(&mut self, now: u64) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut tables = Tables::open(&transaction)?;
            let realm = &self.realm;
            tables.ip6.retain(|mn_id, address| {
                !self.reserved.contains(&address) && leases_ip6(realm, mn_id, address)
            })?;
            tables.ip4.retain(|mn_id, address| {
                !self.reserved.contains(&address) && leases_ip4(realm, mn_id, address)
            })?;
            let mut stale = Vec::new();
            for entry in tables.records.iter()? {
                let (spi, encoded) = entry?;
                let granted = match decode_record(encoded.value()) {
                    Some(record) => tables.grants(realm, &record)?,
                    None => false,
                };
                if !granted {
                    stale.push(spi.value());
                }
            }
            for spi in stale {
                tables.remove(spi, now, &mut Vec::new())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Issues all of `requests` in one transaction. The answers are in the order of the requests;
    /// `changes` gets what watchers are to be told, in order, once this has returned.
    ///
    /// # Errors
    /// The store failed: nothing was issued.
    pub(super) fn issue(
        &mut self,
        requests: Vec<IssueRequest>,
        now: u64,
        changes: &mut Vec<Change>,
    ) -> Result<Vec<Result<Box<SaRecord>, IssueError>>, redb::Error> {
        let result = self.try_issue(requests, now, changes);
        if result.is_err() {
            changes.clear();
            self.cursors.clear();
        }
        result
    }

    fn try_issue(
        &mut self,
        requests: Vec<IssueRequest>,
        now: u64,
        changes: &mut Vec<Change>,
    ) -> Result<Vec<Result<Box<SaRecord>, IssueError>>, redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut answers = Vec::with_capacity(requests.len());
        {
            let mut tables = Tables::open(&transaction)?;
            for request in requests {
                let mut issuer = Issuer {
                    realm: &self.realm,
                    reserved: &self.reserved,
                    cursors: &mut self.cursors,
                    tables: &mut tables,
                    now,
                };
                answers.push(issuer.issue(request, changes)?);
            }
        }
        transaction.commit()?;
        Ok(answers)
    }

    /// Removes every SA whose validity has ended at `now`.
    ///
    /// # Errors
    /// The store failed: nothing was removed.
    pub(super) fn purge(&mut self, now: u64, changes: &mut Vec<Change>) -> Result<(), redb::Error> {
        let ended: Vec<u32> = {
            let table = self.database.begin_read()?.open_table(BY_END)?;
            table
                .range((0, 0)..=(now, u32::MAX))?
                .map(|entry| entry.map(|(key, _)| key.value().1))
                .collect::<Result<_, _>>()?
        };
        if ended.is_empty() {
            return Ok(());
        }
        let transaction = self.database.begin_write()?;
        {
            let mut tables = Tables::open(&transaction)?;
            for spi in ended {
                tables.remove(spi, now, changes)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// The record of `spi`, in the form of the directory protocol.
pub(super) fn lookup(
    database: &Database,
    spi: Spi,
) -> Result<Option<Zeroizing<Vec<u8>>>, redb::Error> {
    let table = database.begin_read()?.open_table(RECORDS)?;
    Ok(table.get(spi.get())?.map(|encoded| Zeroizing::new(encoded.value().to_vec())))
}

/// Up to `count` records of `home_agent` with SPIs above `after`, and the last SPI among them.
pub(super) fn page(
    snapshot: &ReadTransaction,
    home_agent: &str,
    after: u32,
    count: usize,
) -> Result<(Vec<Zeroizing<Vec<u8>>>, Option<u32>), redb::Error> {
    let index = snapshot.open_table(BY_HOME_AGENT)?;
    let records = snapshot.open_table(RECORDS)?;
    let (mut page, mut last) = (Vec::new(), None);
    let from = (home_agent, after.saturating_add(1));
    for entry in index.range(from..=(home_agent, u32::MAX))?.take(count) {
        let spi = entry?.0.value().1;
        last = Some(spi);
        if let Some(encoded) = records.get(spi)? {
            page.push(Zeroizing::new(encoded.value().to_vec()));
        }
    }
    Ok((page, last))
}

pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V6(address) => address.to_bits(),
        IpAddr::V4(address) => address.to_bits().into(),
    }
}

fn decode_record(encoded: &[u8]) -> Option<Box<SaRecord>> {
    let (body, _) = deframe(encoded).ok()??;
    match decode_update(body) {
        Ok(Update::Issued(record)) => Some(record),
        _ => None,
    }
}

fn find<'r>(realm: &'r Realm, mn_id: &str) -> Option<(&'r Subscriber, &'r HomeAgent)> {
    let subscriber = realm.subscribers.get(&MobileNodeId::new(mn_id).ok()?)?;
    Some((subscriber, realm.home_agent(subscriber)?))
}

fn leases_ip6(realm: &Realm, mn_id: &str, address: u128) -> bool {
    let address = Ipv6Addr::from_bits(address);
    find(realm, mn_id).is_some_and(|(subscriber, agent)| {
        subscriber.ip6 == HomeAddress::Pool
            && agent.pool_ip6.as_ref().is_some_and(|pool| pool.contains(&address))
    })
}

fn leases_ip4(realm: &Realm, mn_id: &str, address: u128) -> bool {
    let Ok(address) = u32::try_from(address).map(Ipv4Addr::from_bits) else { return false };
    find(realm, mn_id).is_some_and(|(subscriber, agent)| {
        subscriber.ip4 == HomeAddress::Pool
            && agent.pool_ip4.as_ref().is_some_and(|pool| pool.contains(&address))
    })
}

/// Every table, in one write transaction.
struct Tables<'txn> {
    records: Table<'txn, u32, &'static [u8]>,
    by_home_agent: Table<'txn, (&'static str, u32), ()>,
    by_node: Table<'txn, (&'static str, u64), u32>,
    by_end: Table<'txn, (u64, u32), ()>,
    counters: Table<'txn, &'static str, u64>,
    spis: Spis<'txn>,
    ip6: Leases<'txn>,
    ip4: Leases<'txn>,
}

impl<'txn> Tables<'txn> {
    fn open(transaction: &'txn WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            by_home_agent: transaction.open_table(BY_HOME_AGENT)?,
            by_node: transaction.open_table(BY_NODE)?,
            by_end: transaction.open_table(BY_END)?,
            counters: transaction.open_table(COUNTERS)?,
            spis: Spis::open(transaction)?,
            ip6: Leases::open(transaction, Family::Ip6)?,
            ip4: Leases::open(transaction, Family::Ip4)?,
        })
    }

    /// Whether the configuration still grants this SA as it stands.
    fn grants(&self, realm: &Realm, record: &SaRecord) -> Result<bool, StorageError> {
        let Some((subscriber, agent)) = find(realm, record.mn_id.as_str()) else {
            return Ok(false);
        };
        let mn_id = record.mn_id.as_str();
        let ip6 = match subscriber.ip6 {
            HomeAddress::None => None,
            HomeAddress::Fixed(address) => Some(address),
            HomeAddress::Pool => self.ip6.held(mn_id)?.map(Ipv6Addr::from_bits),
        };
        let ip4 = match subscriber.ip4 {
            HomeAddress::None => None,
            HomeAddress::Fixed(address) => Some(address),
            HomeAddress::Pool => self.ip4.held(mn_id)?.and_then(ip4_of),
        };
        Ok(record.home_agent == agent.name
            && record.ha_address == agent.ip6
            && Some(record.home_address) == ip6
            && record.ipv4_home_address == ip4)
    }

    /// Takes an SA out of every table and lays its SPI to rest.
    fn remove(
        &mut self,
        spi: u32,
        now: u64,
        changes: &mut Vec<Change>,
    ) -> Result<(), StorageError> {
        let record = match self.records.remove(spi)? {
            Some(encoded) => decode_record(encoded.value()),
            None => return Ok(()),
        };
        let Some(record) = record else { return Ok(()) };
        self.by_home_agent.remove((&*record.home_agent, spi))?;
        self.by_node.remove((record.mn_id.as_str(), record.generation))?;
        self.by_end.remove((record.validity_end, spi))?;
        self.spis.rest(&record.home_agent, spi, record.validity_end, now)?;
        let home_agent = record.home_agent.clone();
        changes.push(Change::Revoked { home_agent, spi: record.spi });
        Ok(())
    }
}

fn ip4_of(number: u128) -> Option<Ipv4Addr> {
    u32::try_from(number).ok().map(Ipv4Addr::from_bits)
}

/// Issues one SA within a transaction.
struct Issuer<'a, 'txn> {
    realm: &'a Realm,
    reserved: &'a HashSet<u128>,
    cursors: &'a mut Cursors,
    tables: &'a mut Tables<'txn>,
    now: u64,
}

impl Issuer<'_, '_> {
    fn issue(
        &mut self,
        request: IssueRequest,
        changes: &mut Vec<Change>,
    ) -> Result<Result<Box<SaRecord>, IssueError>, StorageError> {
        let Some((subscriber, agent)) = find(self.realm, request.mn_id.as_str()) else {
            return Ok(Err(IssueError::Store));
        };
        let mn_id = request.mn_id.as_str();
        let (home_address, ipv4_home_address) = match self.home(mn_id, subscriber, agent)? {
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

    fn insert(&mut self, record: &SaRecord, encoded: &[u8]) -> Result<(), StorageError> {
        let spi = record.spi.get();
        self.tables.records.insert(spi, encoded)?;
        self.tables.by_home_agent.insert((&*record.home_agent, spi), ())?;
        self.tables.by_node.insert((record.mn_id.as_str(), record.generation), spi)?;
        self.tables.by_end.insert((record.validity_end, spi), ())?;
        Ok(())
    }

    /// at most 64 SAs of one mn-id; the oldest go.
    fn retire(&mut self, mn_id: &str, changes: &mut Vec<Change>) -> Result<(), StorageError> {
        let live: Vec<u32> = self
            .tables
            .by_node
            .range((mn_id, 0)..=(mn_id, u64::MAX))?
            .map(|entry| entry.map(|(_, spi)| spi.value()))
            .collect::<Result<_, _>>()?;
        let excess = live.len().saturating_sub(SAS_PER_NODE);
        for spi in live.into_iter().take(excess) {
            self.tables.remove(spi, self.now, changes)?;
        }
        Ok(())
    }

    /// The home addresses of a subscriber.
    fn home(
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
