//! Changes of subscribers while the daemon runs: each is checked as the configuration is, is on disk,
//! and only then in force. A change of several is made as a whole or not at all.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_api::subscribers::Row;
use hearth_wire::MobileNodeId;
use serde_json::{Map, Value};
use tracing::{info, warn};
use zeroize::Zeroize;

use super::claims::Claims;
use super::sealed::{KeyId, SEALED_LEN, SealedPsk, SealingKey};
use super::store::{Record, Store, StoreError, Wrapped, Write};
use super::{Change, LeftOut, News, Replaced, Source, files};
use crate::auth::psk::Psk;
use crate::config::subscribers::{Rules, decode_hex, needs_psk, read_values};
use crate::config::{Realm, Subscriber, SubscriberStoreConfig, foreign};
use crate::keys::SystemEntropy;
use crate::live::Live;

/// Records that are read at a time.
const PAGE: usize = 1000;
/// Subscribers of the store that are left out and named in the log; beyond, they are counted.
const NAMED: usize = 20;

/// Why a change is not made; nothing of it is.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// What is asked for is wrong.
    #[error("{0}")]
    Wrong(String),
    /// Nobody has this mn-id.
    #[error("{0} is no subscriber of the store")]
    Unknown(String),
    /// No source has this mn-id.
    #[error("no such subscriber: {0}")]
    Nobody(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// There is no store.
    #[error("there is no subscriber_store in hearth-hac's YAML")]
    NoStore,
    /// The store failed.
    #[error("the subscribers' store: {0}")]
    Store(#[from] StoreError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Entropy,
}

/// Whether an mn-id may, or has to, stand in the store already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not yet.
    Add,
    /// It has to: the values that are given replace those that it has.
    Set,
    /// Either; all values are replaced.
    Replace,
}

/// What changes subscribers.
#[derive(Debug)]
pub struct Registry {
    realm: Arc<Live<Realm>>,
    keys: Option<Keys>,
    store: Mutex<Option<Store>>,
}

#[derive(Debug)]
struct Keys {
    current: Arc<SealingKey>,
    previous: Option<Arc<SealingKey>>,
}

impl Keys {
    fn of(&self, id: KeyId) -> Option<&Arc<SealingKey>> {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.id() == id)
    }

    fn open(&self, mn_id: &MobileNodeId, (id, octets): &Wrapped) -> Option<SealedPsk> {
        let sealed = SealedPsk::sealed(self.of(*id)?.clone(), *octets);
        sealed.open(mn_id).map(|_| sealed)
    }
}

/// A subscriber that was given in the form of the store.
struct Given {
    mn_id: MobileNodeId,
    values: Map<String, Value>,
    psk: Option<Value>,
}

impl Registry {
    /// Opens the store and puts in force who stands in it. A subscriber that the configuration has
    /// no place for is left out and logged; it stays in the store.
    ///
    /// # Errors
    /// The store does not open, or keys in it are wrapped by another key.
    pub fn open(
        config: Option<SubscriberStoreConfig>,
        realm: Arc<Live<Realm>>,
    ) -> Result<Self, ChangeError> {
        let Some(SubscriberStoreConfig { path, key, previous }) = config else {
            return Ok(Self { realm, keys: None, store: Mutex::new(None) });
        };
        let mut store = Store::open(&path)?;
        let keys = Keys { current: key, previous };
        let (subscribers, LeftOut { count: left_out, .. }) =
            restore(&realm.get(), &keys, &mut store)?;
        info!(subscribers, left_out, store = %path.display(), "the subscribers' store");
        Ok(Self { realm, keys: Some(keys), store: Mutex::new(Some(store)) })
    }

    /// Puts the rules of `fresh` in force, and everybody of its file, of `files` and of the store by
    /// these rules.
    ///
    /// # Errors
    /// What is wrong, in words; nothing has changed then.
    pub fn replace(&self, fresh: Realm, files: &[PathBuf]) -> Result<Replaced, String> {
        let mut guard = self.store();
        let realm = self.realm.get();
        let _changing = realm.subscribers.changing();
        files::load(&fresh, files)?;
        let mut left_out = LeftOut::default();
        if let (Some(store), Some(keys)) = (guard.as_mut(), &self.keys) {
            let restored = restore(&fresh, keys, store);
            (_, left_out) = restored.map_err(|error| error.to_string())?;
        }
        realm.subscribers.none_in_use(&fresh.subscribers)?;
        let difference = realm.subscribers.difference(&fresh.subscribers);
        let mut replaced = realm.subscribers.replace(&fresh.subscribers);
        replaced.news = News { difference, left_out };
        self.realm.set(realm.with_rules_of(fresh));
        Ok(replaced)
    }

    fn store(&self) -> MutexGuard<'_, Option<Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds or changes one, given as a JSON object with the keys of YAML. Gives those whose SAs
    /// no longer hold.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn put(&self, text: &str, mode: Mode) -> Result<Vec<MobileNodeId>, ChangeError> {
        self.put_all([(None, text)].into_iter(), mode)
    }

    /// The same for one in each line.
    ///
    /// # Errors
    /// [`ChangeError`]; it names the line.
    pub fn import(
        &self,
        text: &str,
        mode: Mode,
    ) -> Result<(usize, Vec<MobileNodeId>), ChangeError> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let count = lines.clone().count();
        let stale = self.put_all(lines.map(|(number, line)| (Some(number + 1), line)), mode)?;
        Ok((count, stale))
    }

    fn put_all<'a>(
        &self,
        given: impl Iterator<Item = (Option<usize>, &'a str)>,
        mode: Mode,
    ) -> Result<Vec<MobileNodeId>, ChangeError> {
        let mut guard = self.store();
        let (Some(store), Some(keys)) = (guard.as_mut(), &self.keys) else {
            return Err(ChangeError::NoStore);
        };
        let realm = self.realm.get();
        let _changing = realm.subscribers.changing();
        let mut staged = Staged::default();
        for (line, text) in given {
            stage(&realm, (store, keys), text, mode, &mut staged)
                .map_err(|error| in_line(error, line))?;
        }
        store.write(staged.writes)?;
        Ok(realm.subscribers.apply(staged.changes))
    }

    /// Removes one. Gives those whose SAs no longer hold.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn remove(&self, mn_id: &str) -> Result<Vec<MobileNodeId>, ChangeError> {
        let mut guard = self.store();
        let store = guard.as_mut().ok_or(ChangeError::NoStore)?;
        let realm = self.realm.get();
        if store.get(mn_id)?.is_none() {
            return Err(not_of_store(&realm, mn_id));
        }
        let _changing = realm.subscribers.changing();
        store.write(vec![Write::Remove(mn_id.into())])?;
        let Ok(mn_id) = MobileNodeId::new(mn_id) else { return Ok(Vec::new()) };
        match realm.subscribers.source(&mn_id) {
            Some(Source::Store) => Ok(realm.subscribers.apply(vec![(mn_id, None)])),
            _ => Ok(Vec::new()),
        }
    }

    /// Wraps all keys by the current key; gives how many were not.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn rewrap(&self) -> Result<usize, ChangeError> {
        let mut guard = self.store();
        let (Some(store), Some(keys)) = (guard.as_mut(), &self.keys) else {
            return Err(ChangeError::NoStore);
        };
        let realm = self.realm.get();
        let _changing = realm.subscribers.changing();
        let (mut after, mut writes, mut changes) = (String::new(), Vec::new(), Vec::new());
        loop {
            let page = store.page(&after, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            for (text, mut record) in page {
                let old = record.psk.filter(|(id, _)| *id != keys.current.id());
                let (Some((id, octets)), Ok(mn_id)) = (old, MobileNodeId::new(&text)) else {
                    continue;
                };
                let former = keys.of(id).map(|key| SealedPsk::sealed(key.clone(), octets));
                let Some(psk) = former.and_then(|former| former.open(&mn_id)) else { continue };
                let sealed = SealedPsk::seal(&keys.current, &mn_id, &psk, &mut SystemEntropy)
                    .map_err(|_| ChangeError::Entropy)?;
                record.psk = Some((keys.current.id(), *sealed.octets()));
                writes.push(Write::Put(text.into(), record));
                // One of the same mn-id that another source has keeps its own key.
                let in_force = realm.subscribers.source(&mn_id) == Some(Source::Store);
                if in_force && let Some(subscriber) = realm.subscribers.find(&mn_id) {
                    let subscriber = Subscriber { psk: Some(sealed), ..(*subscriber).clone() };
                    changes.push((mn_id, Some((Source::Store, subscriber))));
                }
            }
        }
        let count = writes.len();
        store.write(writes)?;
        realm.subscribers.apply(changes);
        Ok(count)
    }

    /// Up to `count` subscribers behind `after`, those of the configuration and of files first, then
    /// those of the store.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn page(&self, after: &str, count: usize) -> Result<Vec<Row>, ChangeError> {
        let mut guard = self.store();
        let stored = match guard.as_mut() {
            Some(store) => store.page(after, count)?,
            None => Vec::new(),
        };
        drop(guard);
        let known = &self.realm.get().subscribers;
        let mut rows: Vec<Row> = [Source::Configuration, Source::File]
            .into_iter()
            .flat_map(|source| known.of(source).into_iter().map(move |mn_id| (mn_id, source)))
            .filter(|(mn_id, _)| mn_id.as_str() > after)
            .map(|(mn_id, source)| Row {
                has_psk: known.find(&mn_id).is_some_and(|known| known.psk.is_some()),
                mn_id: mn_id.to_string(),
                source: source.name().into(),
                in_force: true,
                values: Value::Null,
                instead: None,
            })
            .collect();
        rows.extend(stored.into_iter().map(|(mn_id, record)| self.row(mn_id, &record)));
        rows.sort_by(|one, other| one.mn_id.cmp(&other.mn_id));
        rows.truncate(count);
        Ok(rows)
    }

    /// One subscriber.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn show(&self, mn_id: &str) -> Result<Row, ChangeError> {
        let record = match self.store().as_mut() {
            Some(store) => store.get(mn_id)?,
            None => None,
        };
        let id = MobileNodeId::new(mn_id).ok();
        let elsewhere = id.as_ref().and_then(|id| self.elsewhere(id));
        match record {
            Some(record) => {
                let instead = elsewhere.map(Box::new);
                Ok(Row { instead, ..self.row(mn_id.to_owned(), &record) })
            }
            None => elsewhere.ok_or_else(|| ChangeError::Nobody(mn_id.to_owned())),
        }
    }

    /// One that is in force and does not come from the store.
    fn elsewhere(&self, mn_id: &MobileNodeId) -> Option<Row> {
        let known = &self.realm.get().subscribers;
        let source = known.source(mn_id).filter(|source| *source != Source::Store)?;
        Some(Row {
            mn_id: mn_id.to_string(),
            source: source.name().into(),
            in_force: true,
            has_psk: known.find(mn_id)?.psk.is_some(),
            values: Value::Null,
            instead: None,
        })
    }

    fn row(&self, mn_id: String, record: &Record) -> Row {
        let source = MobileNodeId::new(&mn_id).ok();
        let source = source.and_then(|mn_id| self.realm.get().subscribers.source(&mn_id));
        Row {
            mn_id,
            source: Source::Store.name().into(),
            in_force: source == Some(Source::Store),
            has_psk: record.psk.is_some(),
            values: serde_json::from_str(&record.values).unwrap_or_default(),
            instead: None,
        }
    }

    /// The store as lines that [`Registry::import`] takes: keys stay wrapped.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn export(&self) -> Result<String, ChangeError> {
        let mut guard = self.store();
        let store = guard.as_mut().ok_or(ChangeError::NoStore)?;
        let (mut after, mut lines) = (String::new(), String::new());
        loop {
            let page = store.page(&after, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            for (mn_id, record) in page {
                let mut line = Map::from_iter([("mn_id".to_owned(), Value::String(mn_id))]);
                if let Some((id, octets)) = &record.psk {
                    let text = hex(id.0.iter().chain(octets));
                    line.insert("psk".into(), serde_json::json!({ "sealed": text }));
                }
                line.extend(object(&record.values)?);
                lines.push_str(&Value::Object(line).to_string());
                lines.push('\n');
            }
        }
        Ok(lines)
    }
}

/// What a change of several will do.
#[derive(Default)]
struct Staged {
    seen: HashSet<MobileNodeId>,
    claims: Claims,
    writes: Vec<Write>,
    changes: Vec<Change>,
}

/// Checks one, and adds what it changes to `staged`.
fn stage(
    realm: &Realm,
    (store, keys): (&mut Store, &Keys),
    text: &str,
    mode: Mode,
    staged: &mut Staged,
) -> Result<(), ChangeError> {
    let Given { mn_id, mut values, psk } = given(text)?;
    if !staged.seen.insert(mn_id.clone()) {
        return Err(ChangeError::Wrong(format!("{mn_id} stands twice")));
    }
    if let Some(source) = realm.subscribers.source(&mn_id)
        && source != Source::Store
    {
        let name = source.name();
        return Err(match mode {
            Mode::Set => not_of_store(realm, mn_id.as_str()),
            _ => ChangeError::Conflict(format!("{mn_id} stands in the {name} already")),
        });
    }
    let former = store.get(mn_id.as_str())?;
    if mode == Mode::Add && former.is_some() {
        return Err(ChangeError::Conflict(format!(
            "{mn_id} is a subscriber already; change it with set"
        )));
    }
    let mut wrapped = None;
    if mode == Mode::Set {
        let former = former.ok_or_else(|| ChangeError::Unknown(mn_id.to_string()))?;
        wrapped = former.psk;
        values = merged(&former.values, values)?;
    }
    values.retain(|_, value| !value.is_null());
    let sealed = match psk {
        None => wrapped.as_ref().and_then(|wrapped| keys.open(&mn_id, wrapped)),
        Some(Value::Null) => None,
        Some(psk) => Some(sealed(keys, &mn_id, psk)?),
    };
    let (rules, values) = (Rules::of(realm), Value::Object(values).to_string());
    let mut subscriber = read_values(&rules, &mn_id, &values).map_err(ChangeError::Wrong)?;
    if sealed.is_none() && needs_psk(&rules, &mn_id) {
        let text = "psk: is missing; its realm authenticates with pre-shared keys alone";
        return Err(ChangeError::Wrong(text.into()));
    }
    conflict(realm, &staged.claims, &mn_id, &subscriber).map_err(ChangeError::Conflict)?;
    let psk = sealed.as_ref().map(|sealed| (sealed.key().id(), *sealed.octets()));
    subscriber.psk = sealed;
    staged.claims.take(&mn_id, &subscriber);
    staged.writes.push(Write::Put(mn_id.as_str().into(), Record { psk, values }));
    staged.changes.push((mn_id, Some((Source::Store, subscriber))));
    Ok(())
}

/// Puts in force who stands in the store; how many stand there, and who of them is left out.
fn restore(realm: &Realm, keys: &Keys, store: &mut Store) -> Result<(usize, LeftOut), ChangeError> {
    let (mut after, mut left_out, mut count) = (String::new(), LeftOut::default(), 0);
    loop {
        let page = store.page(&after, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok((count, left_out)) };
        after.clone_from(last);
        for (mn_id, record) in page {
            count += 1;
            if let Some((id, _)) = record.psk.as_ref().filter(|(id, _)| keys.of(*id).is_none()) {
                return Err(ChangeError::Wrong(format!(
                    "subscriber_store: the key of {mn_id} is wrapped by {id}, and this key is {}; \
                     give that one as key_file, or as previous_key_file",
                    keys.current.id()
                )));
            }
            match restored(realm, keys, &mn_id, &record) {
                Ok((mn_id, subscriber)) => {
                    realm.subscribers.apply(vec![(mn_id, Some((Source::Store, subscriber)))]);
                }
                Err(error) => {
                    left_out.count += 1;
                    if left_out.count <= NAMED {
                        warn!(mn_id, %error, "a subscriber of the store is left out");
                        left_out.named.push(mn_id);
                    }
                }
            }
        }
    }
}

fn restored(
    realm: &Realm,
    keys: &Keys,
    text: &str,
    record: &Record,
) -> Result<(MobileNodeId, Subscriber), String> {
    let mn_id = MobileNodeId::new(text).map_err(|error| error.to_string())?;
    if let Some(source) = realm.subscribers.source(&mn_id) {
        return Err(format!("it stands in the {} too", source.name()));
    }
    let mut subscriber = read_values(&Rules::of(realm), &mn_id, &record.values)?;
    conflict(realm, &Claims::default(), &mn_id, &subscriber)?;
    if let Some(wrapped) = &record.psk {
        let sealed = keys.open(&mn_id, wrapped).ok_or("its key is damaged")?;
        subscriber.psk = Some(sealed);
    }
    Ok((mn_id, subscriber))
}

/// Whether nothing of `subscriber` is somebody else's.
pub(super) fn conflict(
    realm: &Realm,
    staged: &Claims,
    mn_id: &MobileNodeId,
    subscriber: &Subscriber,
) -> Result<(), String> {
    let others = realm.subscribers.conflict(mn_id, subscriber);
    let others = others.or_else(|| staged.conflict(mn_id, subscriber));
    match others.or_else(|| foreign(realm, subscriber)) {
        Some((key, message)) => Err(format!("{key}: {message}")),
        None => Ok(()),
    }
}

/// What is wrong where the store has no `mn_id`: nobody has it, or another source does.
fn not_of_store(realm: &Realm, mn_id: &str) -> ChangeError {
    let source = MobileNodeId::new(mn_id).ok().and_then(|mn_id| realm.subscribers.source(&mn_id));
    match source {
        Some(Source::Configuration) => ChangeError::Conflict(format!(
            "{mn_id} stands in the configuration: change it there, then hearth hac reload"
        )),
        Some(Source::File) => {
            ChangeError::Conflict(format!("{mn_id} stands in a file: change it there"))
        }
        Some(Source::Store) | None => ChangeError::Unknown(mn_id.to_owned()),
    }
}

fn in_line(error: ChangeError, line: Option<usize>) -> ChangeError {
    let Some(line) = line else { return error };
    match error {
        ChangeError::Wrong(text) => ChangeError::Wrong(format!("line {line}: {text}")),
        ChangeError::Conflict(text) => ChangeError::Conflict(format!("line {line}: {text}")),
        other => other,
    }
}

fn object(text: &str) -> Result<Map<String, Value>, ChangeError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(values)) => Ok(values),
        // The reader's own words may quote the text, which may hold a key.
        _ => Err(ChangeError::Wrong("not a JSON object".into())),
    }
}

fn given(text: &str) -> Result<Given, ChangeError> {
    let mut values = object(text)?;
    let psk = values.remove("psk");
    let mn_id = match values.remove("mn_id") {
        Some(Value::String(mn_id)) => mn_id,
        _ => return Err(ChangeError::Wrong("mn_id: is missing".into())),
    };
    let mn_id = MobileNodeId::new(&mn_id);
    let mn_id = mn_id.map_err(|error| ChangeError::Wrong(format!("mn_id: {error}")))?;
    Ok(Given { mn_id, values, psk })
}

fn merged(former: &str, new: Map<String, Value>) -> Result<Map<String, Value>, ChangeError> {
    let mut values = object(former)?;
    values.extend(new);
    Ok(values)
}

/// Wraps a key that is given as `{"hex": ...}` or, as it was exported, `{"sealed": ...}`.
fn sealed(keys: &Keys, mn_id: &MobileNodeId, mut psk: Value) -> Result<SealedPsk, ChangeError> {
    let wrong = |text: &str| ChangeError::Wrong(format!("psk: {text}"));
    let form = "give it as {\"hex\": digits} or, as it was exported, {\"sealed\": digits}";
    let fields = psk.as_object_mut().filter(|fields| fields.len() == 1);
    let Some((name, Value::String(digits))) = fields.and_then(|fields| fields.iter_mut().next())
    else {
        return Err(wrong(form));
    };
    let octets = decode_hex(digits);
    digits.zeroize();
    let mut octets = octets.ok_or_else(|| wrong("is not hexadecimal"))?;
    match name.as_str() {
        "hex" => {
            let psk = Psk::new(std::mem::take(&mut *octets));
            let psk = psk.map_err(|error| wrong(&error.to_string()))?;
            SealedPsk::seal(&keys.current, mn_id, &psk, &mut SystemEntropy)
                .map_err(|_| ChangeError::Entropy)
        }
        "sealed" => {
            let wrapped = octets.split_first_chunk::<8>().and_then(|(id, rest)| {
                let octets: [u8; SEALED_LEN] = rest.try_into().ok()?;
                Some((KeyId(*id), octets))
            });
            let (id, octets) = wrapped.ok_or_else(|| wrong("sealed: is not as export wrote it"))?;
            let key = keys.of(id).ok_or_else(|| {
                wrong(&format!(
                    "is wrapped by another key, {id}; name that one as \
                     subscriber_store.previous_key_file and restart"
                ))
            })?;
            let sealed = SealedPsk::sealed(key.clone(), octets);
            let psk = sealed.open(mn_id);
            let psk = psk.ok_or_else(|| wrong("is wrapped for another mn-id, or damaged"))?;
            if id == keys.current.id() {
                return Ok(sealed);
            }
            // Nothing new may need the former key.
            SealedPsk::seal(&keys.current, mn_id, &psk, &mut SystemEntropy)
                .map_err(|_| ChangeError::Entropy)
        }
        _ => Err(wrong(form)),
    }
}

fn hex<'a>(octets: impl Iterator<Item = &'a u8>) -> String {
    use std::fmt::Write as _;
    octets.fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}
