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
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("subscriber_files: {}: {error}", path.display()))
        };
        for entry in std::fs::read_dir(path).map_err(named)? {
            let file = entry.map_err(named)?.path();
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
    read_all(realm, paths)
}

/// The same by the rules that are in force when nobody else changes anything any more: a reload that is
/// under way has put its own in force by then.
///
/// # Errors
/// As [`load`].
pub fn load_anew(realm: &Live<Realm>, paths: &[PathBuf]) -> Result<Vec<MobileNodeId>, String> {
    // The subscribers are the same ones for the life of the daemon, whatever the rules.
    let subscribers = realm.get().subscribers.clone();
    let _changing = subscribers.changing();
    read_all(&realm.get(), paths)
}

fn read_all(realm: &Realm, paths: &[PathBuf]) -> Result<Vec<MobileNodeId>, String> {
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
            let folder = folder.unwrap_or(Path::new("."));
            inotify::add_watch(&events, folder, what).map_err(|error| {
                let text = format!("subscriber_files: {}: {error}", folder.display());
                io::Error::new(io::Error::from(error).kind(), text)
            })?;
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
        match tokio::task::spawn_blocking(move || load_anew(&realm, &paths)).await {
            Ok(Ok(gone)) => {
                tracing::info!("subscriber_files are read again");
                stale(gone).await;
            }
            Ok(Err(error)) => tracing::error!("{error}; subscribers of files stay as they were"),
            Err(error) => tracing::error!(%error, "subscriber_files"),
        }
    }
}

#[cfg(test)]
mod tests {
    use hearth_wire::directory::Services;

    use super::*;
    use crate::config::{Auth, Bases, HomeAgent, Pools, Replica};
    use crate::subscribers::Subscribers;
    use crate::subscribers::testing::subscriber;
    use crate::testing::Counting;

    fn realm(subscribers: Subscribers, sa_validity: u64) -> Realm {
        let first = "2001:db8:100::1000".parse().unwrap();
        let agent = HomeAgent {
            name: "ha1".into(),
            ip6: "2001:db8:1::1".parse().unwrap(),
            ip4: None,
            port: 7872,
            spis: 1..=1000,
            prefix_ip6: "2001:db8:100::/64".parse().unwrap(),
            prefix_ip4: None,
            certificate_name: "ha".into(),
            region: None,
            max_sas: None,
            pools: Pools { ip6: Some(first..=first), ..Pools::default() },
        };
        let policy = crate::policy::Policy { sa_validity, ..subscriber().policy };
        Realm {
            home_agents: vec![agent],
            subscribers,
            bases: Bases::of(policy.clone(), Services::default()),
            policy,
            auth: Auth::default(),
            replica: Replica::default(),
            dns_ip6: Vec::new(),
            dns_ip4: Vec::new(),
        }
    }

    /// A file changes while a reload is under way: who stands in it goes by the rules of the reload.
    #[test]
    fn files_are_judged_by_the_rules_that_are_in_force_when_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.yaml");
        let psk = "00".repeat(16);
        let text = format!("subscribers: [{{mn_id: f@example.net, psk: {{hex: '{psk}'}}}}]\n");
        std::fs::write(&path, text).unwrap();
        let subscribers = Subscribers::new(&mut Counting::from(1)).unwrap();
        let live = Arc::new(Live::new(realm(subscribers.clone(), 60)));

        let reloading = subscribers.changing();
        let (before, following) = (live.get(), live.clone());
        let reader = std::thread::spawn(move || load_anew(&following, &[path]));
        // It waits for the reload, with the rules of before in its hands or not.
        std::thread::sleep(Duration::from_millis(200));
        live.set(realm(subscribers.clone(), 7200));
        drop((reloading, before));
        assert_eq!(reader.join().unwrap(), Ok(Vec::new()));
        let found = subscribers.find(&MobileNodeId::new("f@example.net").unwrap()).unwrap();
        assert_eq!(found.policy.sa_validity, 7200);
    }
}
