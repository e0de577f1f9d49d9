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
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use hearth_wire::Spi;
use hearth_wire::directory::{SaRecord, Update, encode_update};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use zeroize::Zeroizing;

use super::issue::{IssueError, IssueRequest};
use super::issuer::Issuer;
use super::leases::Cursors;
use super::tables::{BY_END, BY_HOME_AGENT, Change, RECORDS, Tables, decode_record, find};
use crate::config::{HomeAddress, Realm};

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

/// The database, while it is open: after an I/O error redb wants it closed and opened anew.
#[derive(Debug, Clone, Default)]
pub(super) struct Handle(Arc<RwLock<Option<Database>>>);

impl Handle {
    /// Begins a read transaction.
    pub(super) fn read(&self) -> Result<ReadTransaction, redb::Error> {
        let database = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(redb::Error::DatabaseClosed)?;
        Ok(database.begin_read()?)
    }

    /// Begins a write transaction; a database that did not open after an error is tried again.
    fn write(&self, path: &Path) -> Result<WriteTransaction, redb::Error> {
        if self.0.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.open(path)?;
        }
        let database = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(redb::Error::DatabaseClosed)?;
        Ok(database.begin_write()?)
    }

    /// Closes the database.
    pub(super) fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Closes the database if it is open, and opens the one at `path`.
    fn open(&self, path: &Path) -> Result<(), redb::Error> {
        let mut database = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *database = None;
        *database = Some(Database::builder().set_cache_size(CACHE_OCTETS).create(path)?);
        Ok(())
    }
}

/// The store, opened for one realm.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    database: Handle,
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
        let database = Handle::default();
        database.open(path)?;
        let reserved = realm.reserved_addresses().map(number).collect();
        let cursors = Cursors::new();
        let store = Self { path: path.to_owned(), database, realm, reserved, cursors };
        store.fit(now)?;
        Ok(store)
    }

    /// The home agents that SAs are issued for.
    pub(super) fn home_agents(&self) -> impl Iterator<Item = &str> {
        self.realm.home_agents.iter().map(|agent| &*agent.name)
    }

    /// The database, for readers.
    pub(super) fn database(&self) -> Handle {
        self.database.clone()
    }

    /// Opens the database anew after an error.
    ///
    /// # Errors
    /// It still does not open.
    pub(super) fn reopen(&mut self) -> Result<(), redb::Error> {
        self.cursors.clear();
        self.database.open(&self.path)
    }

    /// Makes every table, and drops what the configuration no longer grants.
    fn fit(&self, now: u64) -> Result<(), redb::Error> {
        let transaction = self.database.write(&self.path)?;
        {
            let mut tables = Tables::open(&transaction)?;
            let realm = &self.realm;
            tables.ip6.retain(|mn_id, address| {
                !self.reserved.contains(&address) && leases_ip6(realm, mn_id, address)
            })?;
            tables.ip4.retain(|mn_id, address| {
                !self.reserved.contains(&address) && leases_ip4(realm, mn_id, address)
            })?;
            let (mut stale, mut changed) = (Vec::new(), Vec::new());
            for entry in tables.records.iter()? {
                let (spi, encoded) = entry?;
                match decode_record(encoded.value()) {
                    Some(record) if tables.grants(realm, &record)? => {
                        changed
                            .extend(with_services_of(realm, record).map(|record| record.spi.get()));
                    }
                    _ => stale.push(spi.value()),
                }
            }
            for spi in stale {
                tables.remove(spi, now, &mut Vec::new())?;
            }
            for spi in changed {
                let record = tables.records.get(spi)?.and_then(|old| decode_record(old.value()));
                let record = record.and_then(|record| with_services_of(realm, record));
                if let Some(new) = record.and_then(|record| encode_update(&Update::Issued(record)))
                {
                    tables.records.insert(spi, &**new)?;
                }
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
        }
        result
    }

    fn try_issue(
        &mut self,
        requests: Vec<IssueRequest>,
        now: u64,
        changes: &mut Vec<Change>,
    ) -> Result<Vec<Result<Box<SaRecord>, IssueError>>, redb::Error> {
        let transaction = self.database.write(&self.path)?;
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
        let ended: Vec<(u64, u32)> = {
            let table = self.database.read()?.open_table(BY_END)?;
            table
                .range((0, 0)..=(now, u32::MAX))?
                .map(|entry| entry.map(|(key, _)| key.value()))
                .collect::<Result<_, _>>()?
        };
        if ended.is_empty() {
            return Ok(());
        }
        let transaction = self.database.write(&self.path)?;
        {
            let mut tables = Tables::open(&transaction)?;
            for (end, spi) in ended {
                tables.by_end.remove((end, spi))?;
                tables.remove(spi, now, changes)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// The record of `spi` if it is one of `home_agent`'s, in the form of the directory protocol.
pub(super) fn lookup(
    database: &Handle,
    home_agent: &str,
    spi: Spi,
) -> Result<Option<Zeroizing<Vec<u8>>>, redb::Error> {
    let snapshot = database.read()?;
    if snapshot.open_table(BY_HOME_AGENT)?.get((home_agent, spi.get()))?.is_none() {
        return Ok(None);
    }
    let table = snapshot.open_table(RECORDS)?;
    Ok(table.get(spi.get())?.map(|encoded| Zeroizing::new(encoded.value().to_vec())))
}

/// Some records of a home agent.
pub(super) struct Page {
    /// The records, in the form of the directory protocol, by SPI.
    pub(super) records: Vec<Zeroizing<Vec<u8>>>,
    /// The last SPI of the page; `None` where there is none above the place asked for.
    pub(super) last: Option<u32>,
}

/// Up to `count` records of `home_agent` with SPIs above `after`.
pub(super) fn page(
    snapshot: &ReadTransaction,
    home_agent: &str,
    after: u32,
    count: usize,
) -> Result<Page, redb::Error> {
    let index = snapshot.open_table(BY_HOME_AGENT)?;
    let records = snapshot.open_table(RECORDS)?;
    let mut page = Page { records: Vec::new(), last: None };
    let from = (home_agent, after.saturating_add(1));
    for entry in index.range(from..=(home_agent, u32::MAX))?.take(count) {
        let spi = entry?.0.value().1;
        page.last = Some(spi);
        if let Some(encoded) = records.get(spi)? {
            page.records.push(Zeroizing::new(encoded.value().to_vec()));
        }
    }
    Ok(page)
}

/// The record with what its subscriber may by now, where that has changed: what a subscriber lost
/// may be another's already.
fn with_services_of(realm: &Realm, mut record: Box<SaRecord>) -> Option<Box<SaRecord>> {
    let (subscriber, _) = find(realm, record.mn_id.as_str())?;
    let has_changed = record.services != subscriber.services;
    has_changed.then(|| {
        record.services = subscriber.services.clone();
        record
    })
}

pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V6(address) => address.to_bits(),
        IpAddr::V4(address) => address.to_bits().into(),
    }
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
