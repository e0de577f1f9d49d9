//! The subscribers' store: one file, a record for each.
//!
//! ```text
//!  version (1) = 1 | id of the wrapping key (8) | wrapped PSK (93) | values (JSON)
//!  version (1) = 2 | values (JSON)                                    one without a PSK
//! ```
//!
//! The values are those of YAML, under the same keys. The file has mode 0600, and no key stands in
//! it in the clear.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, TableDefinition};

use super::sealed::{KeyId, SEALED_LEN};

/// mn-id -> record.
const SUBSCRIBERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("subscribers");

/// redb's page cache: records are read when the daemon starts and when they are exported.
const CACHE_OCTETS: usize = 8 << 20;

const WITH_PSK: u8 = 1;
const WITHOUT_PSK: u8 = 2;

/// A wrapped key as it lies in a record.
pub(super) type Wrapped = (KeyId, [u8; SEALED_LEN]);

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) psk: Option<Wrapped>,
    /// A JSON object.
    pub(super) values: String,
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(1 + 8 + SEALED_LEN + self.values.len());
        match &self.psk {
            Some((id, sealed)) => {
                octets.push(WITH_PSK);
                octets.extend_from_slice(&id.0);
                octets.extend_from_slice(sealed);
            }
            None => octets.push(WITHOUT_PSK),
        }
        octets.extend_from_slice(self.values.as_bytes());
        octets
    }

    fn decode(octets: &[u8]) -> Option<Self> {
        let (version, rest) = octets.split_first()?;
        let (psk, values) = match *version {
            WITH_PSK => {
                let (id, rest) = rest.split_first_chunk::<8>()?;
                let (sealed, values) = rest.split_first_chunk::<SEALED_LEN>()?;
                (Some((KeyId(*id), *sealed)), values)
            }
            WITHOUT_PSK => (None, rest),
            _ => return None,
        };
        Some(Self { psk, values: String::from_utf8(values.to_vec()).ok()? })
    }
}

/// What the store is asked for in one transaction: all of it or nothing.
#[derive(Debug)]
pub(super) enum Write {
    Put(Box<str>, Record),
    Remove(Box<str>),
}

/// Why the store does not give or take.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its folder can't be made or read.
    #[error(
        "{}: {}; subscriber_store.file has to lie in a folder that only the daemon's user can write to",
        .0.display(), .1
    )]
    File(PathBuf, std::io::Error),
    /// It can't be opened.
    #[error(
        "{} can't be opened: {}. Is the disk full or read-only? One that is damaged or of another \
         version: move it away, start, and import the last export",
        .0.display(), .1
    )]
    Open(PathBuf, redb::Error),
    /// Another process has it.
    #[error("{} is in use: does another hearth-hac run?", .0.display())]
    InUse(PathBuf),
    /// Not a store, damaged, full or read-only.
    #[error("{0}")]
    Database(#[from] redb::Error),
    /// A record that this version can't read.
    #[error("the record of {0} can't be read by this version")]
    Record(String),
}

/// The store. After an I/O error redb wants it closed and opened anew.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    database: Option<Database>,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let named = |path: &Path| {
            let path = path.to_owned();
            move |error| StoreError::File(path, error)
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(folder);
            made.map_err(named(folder))?;
        }
        // The file has its mode before there is anything in it.
        let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        made.and_then(|_| fs::set_permissions(path, Permissions::from_mode(0o600)))
            .map_err(named(path))?;
        let mut store = Self { path: path.to_owned(), database: None };
        match store.write(Vec::new()) {
            Err(StoreError::Database(redb::Error::DatabaseAlreadyOpen)) => {
                Err(StoreError::InUse(store.path))
            }
            Err(StoreError::Database(error)) => Err(StoreError::Open(store.path, error)),
            done => done.map(|()| store),
        }
    }

    fn database(&mut self) -> Result<&Database, redb::Error> {
        if self.database.is_none() {
            let made = Database::builder().set_cache_size(CACHE_OCTETS).create(&self.path)?;
            self.database = Some(made);
        }
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    /// Does all of `writes`, or nothing.
    pub(super) fn write(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        let done = self.try_write(writes);
        if done.is_err() {
            self.database = None;
        }
        Ok(done?)
    }

    fn try_write(&mut self, writes: Vec<Write>) -> Result<(), redb::Error> {
        let transaction = self.database()?.begin_write()?;
        {
            let mut table = transaction.open_table(SUBSCRIBERS)?;
            for write in writes {
                match write {
                    Write::Put(mn_id, record) => {
                        table.insert(&*mn_id, record.encode().as_slice())?;
                    }
                    Write::Remove(mn_id) => {
                        table.remove(&*mn_id)?;
                    }
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    pub(super) fn get(&mut self, mn_id: &str) -> Result<Option<Record>, StoreError> {
        let transaction = self.database()?.begin_read().map_err(redb::Error::from)?;
        let table = transaction.open_table(SUBSCRIBERS).map_err(redb::Error::from)?;
        let found = table.get(mn_id).map_err(redb::Error::from)?;
        found.map(|octets| read(mn_id, octets.value())).transpose()
    }

    /// Up to `count` records behind `after`, by mn-id.
    pub(super) fn page(
        &mut self,
        after: &str,
        count: usize,
    ) -> Result<Vec<(String, Record)>, StoreError> {
        let transaction = self.database()?.begin_read().map_err(redb::Error::from)?;
        let table = transaction.open_table(SUBSCRIBERS).map_err(redb::Error::from)?;
        let mut page = Vec::new();
        for entry in table.range(after..).map_err(redb::Error::from)? {
            let (mn_id, octets) = entry.map_err(redb::Error::from)?;
            if mn_id.value() == after {
                continue;
            }
            if page.len() == count {
                break;
            }
            page.push((mn_id.value().to_owned(), read(mn_id.value(), octets.value())?));
        }
        Ok(page)
    }
}

fn read(mn_id: &str, octets: &[u8]) -> Result<Record, StoreError> {
    Record::decode(octets).ok_or_else(|| StoreError::Record(mn_id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        for psk in [None, Some((KeyId([3; 8]), [9; SEALED_LEN]))] {
            let record = Record { psk, values: "{\"scope\":\"1\"}".into() };
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
        for wrong in [&[][..], &[0], &[3, 1], &[1; 50], &[2, 0xff]] {
            assert_eq!(Record::decode(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_store_belongs_to_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("subscribers.redb");
        let store = Store::open(&path).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::InUse(which)) if which == path));
        drop(store);
        Store::open(&path).unwrap();
    }

    #[test]
    fn a_store_that_can_not_be_opened_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("subscribers.redb");
        fs::write(&path, [7; 5000]).unwrap();
        let words = Store::open(&path).unwrap_err().to_string();
        let (begin, end) =
            (format!("{} can't be opened: ", path.display()), "import the last export");
        assert!(words.starts_with(&begin) && words.ends_with(end), "{words}");
        let inside = path.join("subscribers.redb");
        let words = Store::open(&inside).unwrap_err().to_string();
        assert!(words.starts_with(&path.display().to_string()), "{words}");
        assert!(words.contains("subscriber_store."), "{words}");
    }

    #[test]
    fn pages_go_through_everybody_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("subscribers.redb");
        let mut store = Store::open(&path).unwrap();
        let record = Record { psk: None, values: "{}".into() };
        let put = |name: &str| Write::Put(name.into(), record.clone());
        store.write(["a", "b", "c", "d", "e"].into_iter().map(put).collect()).unwrap();
        store.write(vec![Write::Remove("c".into())]).unwrap();
        drop(store);
        let mut store = Store::open(&path).unwrap();
        let (mut after, mut seen) = (String::new(), Vec::new());
        loop {
            let page = store.page(&after, 3).unwrap();
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            seen.extend(page.into_iter().map(|(mn_id, _)| mn_id));
        }
        assert_eq!(seen, ["a", "b", "d", "e"]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
