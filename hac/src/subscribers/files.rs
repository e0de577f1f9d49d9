//! Subscribers in YAML files of their own, watched: what changes there is in force at once.
//!
//! A file holds `subscribers:`, a list as in the configuration. All files together are taken or, where
//! anything is wrong in one of them, none: then what was goes on, and the log says file, line and key.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearth_wire::MobileNodeId;
use rustix::fs::inotify;
use tokio::net::unix::pipe::Receiver;

use super::Source;
use super::claims::Claims;
use super::registry::conflict;
use super::sealed::SealedPsk;
use crate::config::subscribers::{FileRead, Rules, read_file};
use crate::config::{Realm, Subscriber};
use crate::keys::SystemEntropy;
use crate::live::Live;

/// Whoever writes several files does so within this time.
const SETTLE: Duration = Duration::from_millis(200);

/// The files that stand for `paths`: those that are files, and `.yaml` files of those that are
/// folders, by name.
fn files_of(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "yaml") {
                inside.push(file);
            }
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

/// Reads all files and puts in force who stands in them. Gives those whose SAs no longer hold.
///
/// # Errors
/// What is wrong, with file, line and key; nothing has changed then.
pub fn load(realm: &Realm, paths: &[PathBuf]) -> Result<Vec<MobileNodeId>, String> {
    let _changing = realm.subscribers.changing();
    let files = files_of(paths).map_err(|error| format!("subscriber_files: {error}"))?;
    let (mut found, mut claims) = (HashMap::new(), Claims::default());
    for path in files {
        one(realm, &path, &mut found, &mut claims)?;
    }
    let former = realm.subscribers.of(Source::File);
    let gone = former.into_iter().filter(|mn_id| !found.contains_key(mn_id));
    let mut changes: Vec<_> = gone.map(|mn_id| (mn_id, None)).collect();
    let found = found.into_iter();
    changes.extend(found.map(|(mn_id, subscriber)| (mn_id, Some((Source::File, subscriber)))));
    Ok(realm.subscribers.apply(changes))
}

fn one(
    realm: &Realm,
    path: &Path,
    found: &mut HashMap<MobileNodeId, Subscriber>,
    claims: &mut Claims,
) -> Result<(), String> {
    let read = read_file(&Rules::of(realm), path).map_err(|error| error.to_string())?;
    for FileRead { read, error } in read {
        let mn_id = read.mn_id;
        let mut subscriber = read.subscriber;
        let source = realm.subscribers.source(&mn_id).filter(|source| *source != Source::File);
        if let Some(source) = source {
            return Err(error(format!("{mn_id} stands in the {} already", source.name())));
        }
        conflict(realm, claims, &mn_id, &subscriber).map_err(&error)?;
        if let Some(psk) = read.psk {
            let key = realm.subscribers.key();
            let sealed = SealedPsk::seal(key, &mn_id, &psk, &mut SystemEntropy);
            let no_random = |_| "the system gives no random numbers".to_owned();
            subscriber.psk = Some(sealed.map_err(no_random)?);
        }
        claims.take(&mn_id, &subscriber);
        if found.insert(mn_id.clone(), subscriber).is_some() {
            return Err(error(format!("{mn_id} stands twice")));
        }
    }
    Ok(())
}

/// A watch of files and folders.
#[derive(Debug)]
pub struct Watch {
    /// An inotify descriptor is read as a pipe is.
    events: Receiver,
}

impl Watch {
    /// Begins to watch. To be called within a tokio runtime.
    ///
    /// # Errors
    /// A folder can't be watched.
    pub fn begin(paths: &[PathBuf]) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let events = inotify::init(flags)?;
        // A file that is replaced is another file: its folder is what stays.
        let what = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::DELETE;
        for path in paths {
            let folder = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
            let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
            inotify::add_watch(&events, folder.unwrap_or(Path::new(".")), what)?;
        }
        Ok(Self { events: Receiver::from_owned_fd_unchecked(events)? })
    }

    /// Waits until something has changed and no more does.
    ///
    /// # Errors
    /// The watch broke.
    pub async fn changed(&self) -> io::Result<()> {
        self.some().await?;
        while tokio::time::timeout(SETTLE, self.some()).await.is_ok() {}
        Ok(())
    }

    async fn some(&self) -> io::Result<()> {
        // What it was that changed does not matter.
        let mut events = [0; 4096];
        loop {
            self.events.readable().await?;
            match self.events.try_read(&mut events) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Puts changes in force as they come, until the task is cancelled; `stale` gets those whose SAs no
/// longer hold.
pub async fn follow<F: Future<Output = ()> + Send>(
    realm: Arc<Live<Realm>>,
    paths: Vec<PathBuf>,
    watch: Watch,
    stale: impl Fn(Vec<MobileNodeId>) -> F + Send,
) {
    loop {
        if let Err(error) = watch.changed().await {
            tracing::error!(%error, "subscriber_files are no longer watched");
            return;
        }
        let (realm, paths) = (realm.clone(), paths.clone());
        match tokio::task::spawn_blocking(move || load(&realm.get(), &paths)).await {
            Ok(Ok(gone)) => {
                tracing::info!("subscriber_files are read again");
                stale(gone).await;
            }
            Ok(Err(error)) => tracing::error!("{error}; subscribers of files stay as they were"),
            Err(error) => tracing::error!(%error, "subscriber_files"),
        }
    }
}
