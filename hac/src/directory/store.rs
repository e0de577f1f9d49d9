//! The embedded store: SA records with their keys, SPIs and leases, in one file.
//!
//! Read first: readings.
//!
//! The file has mode 0600. Keys in it are not encrypted: whoever may read the file may as well
//! read them from this process. Records are kept as frames of the directory protocol, so that
//! what a home agent gets pushed and what it gets by asking are the same octets.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use hearth_wire::directory::{SaRecord, SpiRange};
use hearth_wire::{MobileNodeId, Spi};
use redb::WriteTransaction;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use zeroize::Zeroizing;

use super::choice::{Loads, Presence};
use super::fit;
use super::issue::Revoke;
use super::issue::{IssueError, IssueRequest};
use super::issuer::Issuer;
use super::leases::{Cursors, Reserved};
use super::tables::{
    ACCOUNTS, BY_END, BY_HOME_AGENT, BY_NODE, BY_REALM, Change, RECORDS, Tables, decode_record,
    realm_of,
};
use super::time::{At, Behind, Timekeeper};
use crate::config::Realm;

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

/// What became of requests, in their order.
pub(super) type Answers = Vec<Result<Box<SaRecord>, IssueError>>;

/// SAs that are revoked in one transaction; others get their turn behind it.
const REVOKED_AT_ONCE: usize = 1024;

/// The store, opened for one realm.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    database: Handle,
    realm: Arc<Realm>,
    reserved: Reserved,
    cursors: Cursors,
    loads: Loads,
    time: Timekeeper,
}

impl Store {
    /// Opens or makes the store at `path`, and fits it to the realm at `now` (unix seconds):
    /// leases and SAs that the configuration no longer grants are gone afterwards.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, realm: Arc<Realm>, now: u64) -> Result<Self, OpenError> {
        Self::open_telling(path, realm, now, &mut |_, _| {})
    }

    /// The same, and tells `tell` of each SA that the store had, and of [`IssueRequest::account`]: those
    /// that have ended since it was closed are gone afterwards.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_telling(
        path: &Path,
        realm: Arc<Realm>,
        now: u64,
        tell: &mut dyn FnMut(&SaRecord, Option<&[u8]>),
    ) -> Result<Self, OpenError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        }
        // The file has its mode before there is anything in it.
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        let database = Handle::default();
        database.open(path)?;
        let reserved = Reserved::of(&realm);
        let transaction = database.write(path)?;
        let fitted = fit::fit(&transaction, &realm, &reserved, now, tell)?;
        transaction.commit().map_err(redb::Error::from)?;
        let time = Timekeeper::new(fitted.kept, now);
        let (path, cursors) = (path.to_owned(), Cursors::new());
        Ok(Self { path, database, realm, reserved, cursors, loads: fitted.loads, time })
    }

    /// Takes the clock at its word where the store has seen a later time.
    pub fn trust_clock(&mut self, now: u64) {
        self.time.trust(now);
    }

    /// Goes by these rules from now on; its home agents and subscribers are those of the realm before.
    pub(super) fn go_by(&mut self, realm: Arc<Realm>) {
        self.reserved = Reserved::of(&realm);
        self.realm = realm;
    }

    /// The home agents that SAs are issued for.
    pub(super) fn home_agents(&self) -> impl Iterator<Item = &str> {
        self.realm.home_agents.iter().map(|agent| &*agent.name)
    }

    /// The SPIs that are dealt out for each of them.
    pub(super) fn spis(&self) -> impl Iterator<Item = Option<SpiRange>> {
        self.realm.home_agents.iter().map(|agent| {
            let ends = [agent.spis.start(), agent.spis.end()].map(|spi| Spi::new(*spi).ok());
            ends[0].zip(ends[1]).and_then(|(first, last)| SpiRange::new(first, last))
        })
    }

    /// SAs of each home agent, in the order of the realm's.
    pub(super) fn loads(&self) -> impl Iterator<Item = u32> {
        (0..self.realm.home_agents.len()).map(|index| self.loads.at(index))
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

    /// The time of now by the wall clock and the monotonic one, in seconds.
    pub(super) fn look(&mut self, wall: u64, monotonic: u64) -> Result<At, Behind> {
        self.time.look(wall, monotonic)
    }

    /// Does `work` in one transaction; `changes` gets what watchers are to be told, in order, once
    /// this has returned.
    ///
    /// # Errors
    /// The store failed: nothing was done.
    fn transact<T>(
        &mut self,
        changes: &mut Vec<Change>,
        work: impl FnOnce(&mut Work<'_, '_>, &mut Vec<Change>) -> Result<T, redb::StorageError>,
    ) -> Result<T, redb::Error> {
        let mut loads = self.loads.clone();
        let result = (|| {
            let transaction = self.database.write(&self.path)?;
            let mut tables = Tables::open(&transaction)?;
            let result = {
                let mut work_on = Work {
                    realm: &self.realm,
                    reserved: &self.reserved,
                    cursors: &mut self.cursors,
                    loads: &mut loads,
                    tables: &mut tables,
                };
                work(&mut work_on, changes)?
            };
            tables.keep(self.time.kept())?;
            drop(tables);
            transaction.commit()?;
            Ok(result)
        })();
        match &result {
            Ok(_) => {
                loads.follow(&self.realm, changes);
                loads.settle();
                self.loads = loads;
            }
            Err(_) => {
                self.cursors.clear();
                changes.clear();
            }
        }
        result
    }

    /// Issues all of `requests` in one transaction; `presence` says which home agents are there, in the
    /// order of the realm's.
    ///
    /// # Errors
    /// The store failed: nothing was issued.
    pub(super) fn issue(
        &mut self,
        requests: Vec<IssueRequest>,
        (at, presence): (At, &[Presence]),
        changes: &mut Vec<Change>,
    ) -> Result<Answers, redb::Error> {
        self.transact(changes, |work, changes| {
            let mut answers = Vec::with_capacity(requests.len());
            for request in requests {
                work.loads.follow(work.realm, changes);
                let mut issuer = Issuer {
                    realm: work.realm,
                    reserved: work.reserved,
                    loads: work.loads,
                    presence,
                    cursors: work.cursors,
                    tables: work.tables,
                    at,
                };
                answers.push(issuer.issue(request, changes)?);
            }
            Ok(answers)
        })
    }

    /// Removes every SA whose validity has ended.
    ///
    /// # Errors
    /// The store failed: nothing was removed.
    pub(super) fn purge(&mut self, at: At, changes: &mut Vec<Change>) -> Result<(), redb::Error> {
        let ended: Vec<(u64, u32)> = {
            let table = self.database.read()?.open_table(BY_END)?;
            table
                .range((0, 0)..=(at.now, u32::MAX))?
                .map(|entry| entry.map(|(key, _)| key.value()))
                .collect::<Result<_, _>>()?
        };
        if ended.is_empty() {
            return Ok(());
        }
        self.transact(changes, |work, changes| {
            for (end, spi) in ended {
                work.tables.by_end.remove((end, spi))?;
                work.tables.remove(spi, at, changes)?;
            }
            Ok(())
        })
    }

    /// Has the SAs of these mobile nodes say what their subscribers may by now. Who has a part of it by the
    /// word of an AAA server gives way, as when an SA is issued.
    ///
    /// # Errors
    /// The store failed: nothing has changed.
    pub(super) fn refresh(
        &mut self,
        mn_ids: &[MobileNodeId],
        at: At,
        changes: &mut Vec<Change>,
    ) -> Result<(), redb::Error> {
        self.transact(changes, |work, changes| {
            for mn_id in mn_ids.iter().map(MobileNodeId::as_str) {
                for spi in work.tables.spis_of_node(mn_id)? {
                    let Some(change) = work.tables.refresh(work.realm, spi)? else { continue };
                    let record = work.tables.record(spi)?;
                    let networks = record.map(|record| record.services.prefixes);
                    work.tables.clear(mn_id, &networks.unwrap_or_default(), at, changes)?;
                    changes.push(change);
                }
            }
            Ok(())
        })
    }

    /// Keeps this of these SAs for accounting, of those that there are.
    ///
    /// # Errors
    /// The store failed: nothing has changed.
    pub(super) fn keep_accounts(
        &mut self,
        accounts: &[(Spi, Box<[u8]>)],
    ) -> Result<(), redb::Error> {
        self.transact(&mut Vec::new(), |work, _| {
            for (spi, account) in accounts {
                if work.tables.records.get(spi.get())?.is_some() {
                    work.tables.accounts.insert(spi.get(), &**account)?;
                }
            }
            Ok(())
        })
    }

    /// Removes SAs that `which` names, so many at a time; how many it were, 0 behind the last. With the
    /// last of them goes, where it is `for_good`, what their mobile node held and no longer is granted.
    ///
    /// # Errors
    /// The store failed: nothing was removed.
    pub(super) fn revoke(
        &mut self,
        (which, for_good): (&Revoke, bool),
        at: At,
        changes: &mut Vec<Change>,
    ) -> Result<usize, redb::Error> {
        let snapshot = self.database.read()?;
        let spis = named(&snapshot, which)?;
        let (mn_id, lost) = match which {
            // Home agents hear of the end before an address can be another's: both go the same way.
            Revoke::Node(mn_id) if for_good && spis.len() < REVOKED_AT_ONCE => {
                let whose = (mn_id.as_str(), at.now);
                (mn_id.as_str(), fit::lost(&snapshot, &self.realm, &self.reserved, whose)?)
            }
            _ => ("", Vec::new()),
        };
        drop(snapshot);
        if spis.is_empty() && lost.is_empty() {
            return Ok(0);
        }
        self.transact(changes, |work, changes| {
            for spi in &spis {
                work.tables.remove(*spi, at, changes)?;
            }
            for (family, number) in lost {
                work.tables.leases_mut(family).give_back(mn_id, number, work.cursors)?;
            }
            Ok(spis.len())
        })
    }
}

/// What one transaction works on.
struct Work<'a, 'txn> {
    realm: &'a Realm,
    reserved: &'a Reserved,
    cursors: &'a mut Cursors,
    loads: &'a mut Loads,
    tables: &'a mut Tables<'txn>,
}

/// Some SPIs that `which` names, [`REVOKED_AT_ONCE`] at most.
fn named(snapshot: &ReadTransaction, which: &Revoke) -> Result<Vec<u32>, redb::Error> {
    let spis = match which {
        Revoke::Spi(spi) => {
            let record = snapshot.open_table(RECORDS)?.get(spi.get())?.map(|_| spi.get());
            record.into_iter().collect()
        }
        Revoke::Node(mn_id) => {
            let mn_id = mn_id.as_str();
            let table = snapshot.open_table(BY_NODE)?;
            let all = table.range((mn_id, 0)..=(mn_id, u64::MAX))?.take(REVOKED_AT_ONCE);
            all.map(|entry| entry.map(|(_, spi)| spi.value())).collect::<Result<_, _>>()?
        }
        Revoke::Realm(realm) => {
            // As if it were an mn-id's.
            let realm = &*realm_of(&format!("@{realm}"));
            let table = snapshot.open_table(BY_REALM)?;
            let all = table.range((realm, 0)..=(realm, u32::MAX))?.take(REVOKED_AT_ONCE);
            all.map(|entry| entry.map(|(key, _)| key.value().1)).collect::<Result<_, _>>()?
        }
    };
    Ok(spis)
}

/// Some SAs that `which` names, [`REVOKED_AT_ONCE`] at most.
pub(super) fn records(database: &Handle, which: &Revoke) -> Result<Vec<SaRecord>, redb::Error> {
    let snapshot = database.read()?;
    let table = snapshot.open_table(RECORDS)?;
    let mut found = Vec::new();
    for spi in named(&snapshot, which)? {
        let record = table.get(spi)?.and_then(|encoded| decode_record(encoded.value()));
        found.extend(record.map(|record| *record));
    }
    Ok(found)
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
    /// What is kept of each for accounting.
    pub(super) accounts: Vec<Option<Box<[u8]>>>,
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
    let accounts = snapshot.open_table(ACCOUNTS)?;
    // Most deployments have no accounting.
    let accounts = if accounts.is_empty()? { None } else { Some(accounts) };
    let mut page = Page { records: Vec::new(), accounts: Vec::new(), last: None };
    let from = (home_agent, after.saturating_add(1));
    for entry in index.range(from..=(home_agent, u32::MAX))?.take(count) {
        let spi = entry?.0.value().1;
        page.last = Some(spi);
        if let Some(encoded) = records.get(spi)? {
            page.records.push(Zeroizing::new(encoded.value().to_vec()));
            let account = match &accounts {
                Some(accounts) => accounts.get(spi)?.map(|account| account.value().into()),
                None => None,
            };
            page.accounts.push(account);
        }
    }
    Ok(page)
}
