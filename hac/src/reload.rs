//! Reading the YAML again while the daemon runs.
//!
//! The file is judged as a whole, with every file that it names and every subscriber, before anything is
//! changed: one mistake, and all stays as it was. What can't change under open sessions is said to
//! need a restart; everything else is in force for whatever begins afterwards.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::{error, info, warn};

use crate::admin::{Ended, end};
use crate::auth::eap::server::Offer;
use crate::config::sections::Changed;
use crate::config::{Config, Sections};
use crate::connection::Shared;
use crate::listener::Admission;
use crate::subscribers::registry::Registry;
use crate::subscribers::{Difference, News, Replaced};

/// What reading again has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys whose new values are in force.
    pub applied: Vec<String>,
    /// Keys whose new values count from the next start on.
    pub needs_restart: Vec<String>,
    /// Keys that name files which are others than at the last reading.
    pub read_anew: Vec<String>,
    /// Subscribers, from all sources.
    pub subscribers: usize,
    /// What is new among them.
    pub of: News,
    /// SAs that ended: their subscribers are gone or have become others.
    pub revoked: u64,
    /// Mobile nodes whose SAs are to end, or to say something else, and don't yet: the store failed.
    pub waiting: u64,
}

/// Reads the YAML again.
pub struct Reloader {
    path: PathBuf,
    /// Files of subscribers, as they are watched.
    files: Vec<PathBuf>,
    shared: Arc<Shared>,
    admission: Arc<Admission>,
    registry: Arc<Registry>,
    /// What is in force; held while it is changed.
    sections: Mutex<Sections>,
}

impl Reloader {
    pub(crate) fn new(
        (path, sections): (PathBuf, Sections),
        files: Vec<PathBuf>,
        shared: Arc<Shared>,
        admission: Arc<Admission>,
        registry: Arc<Registry>,
    ) -> Self {
        Self { path, files, shared, admission, registry, sections: Mutex::new(sections) }
    }

    /// Reads it again and puts in force what is new.
    ///
    /// # Errors
    /// What is wrong, with file, line and key; nothing has changed then.
    pub async fn reload(self: &Arc<Self>) -> Result<Reloaded, String> {
        let reloader = self.clone();
        // An operator who hangs up leaves no half of it: subscribers that are gone, and their SAs.
        let done = tokio::spawn(async move { reloader.reload_all().await }).await;
        done.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn reload_all(self: Arc<Self>) -> Result<Reloaded, String> {
        let mut sections = self.sections.lock().await;
        let reloader = self.clone();
        // Files, signatures of keys, a million subscribers: nothing for a thread that serves sessions.
        let read = tokio::task::spawn_blocking(move || reloader.read()).await;
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        let (Replaced { stale, changed: others, news }, fresh) = match read {
            Ok(read) => read,
            Err(error) => {
                error!("{error}; nothing has changed");
                return Err(error);
            }
        };
        let shared = &self.shared;
        shared.directory.go_by(shared.realm.get()).await;
        let Ended { revoked, mut waiting } = end(&shared.directory, stale).await;
        waiting += shared.directory.refresh(&others).await as u64;
        let changed = fresh.changed(&sections);
        sections.follow(fresh);
        for key in &changed.at_start {
            warn!(key, "changed, needs a restart");
        }
        let subscribers = shared.realm.get().subscribers.len();
        let Difference { added, changed: others, removed } = news.difference;
        info!(
            applied = ?changed.live, read_anew = ?changed.files, subscribers, added, changed = others,
            removed, left_out = news.left_out.count, revoked, waiting, "read again"
        );
        shared.warn_of_what_is_outdated();
        let Changed { live: applied, at_start: needs_restart, files: read_anew } = changed;
        Ok(Reloaded { applied, needs_restart, read_anew, subscribers, of: news, revoked, waiting })
    }

    /// Judges everything, then puts it in force. Gives what that means for SAs.
    fn read(&self) -> Result<(Replaced, Sections), String> {
        let (shared, now) = (&self.shared, (self.shared.clock)());
        let fresh = Config::load_again(&self.path, now, &shared.realm.get());
        let fresh = fresh.map_err(|error| error.to_string())?;
        if shared.radius.is_none() && fresh.realm.auth.offers(Offer::Aaa) {
            let path = self.path.display();
            return Err(format!("{path}: auth: offers radius, which needs a restart"));
        }
        let Config { tls, realm, limits, radius, sections, directory, warnings, .. } = fresh;
        for warning in &warnings {
            warn!("{warning}");
        }
        let realm = Arc::into_inner(realm).ok_or("the realm is in use")?;
        let replaced = self.registry.replace(realm, &self.files)?;
        shared.handshakes.server().adopt(&tls);
        self.admission.limit(limits);
        shared.renew_radius(radius);
        shared.renew_directory(directory.remote);
        Ok((replaced, sections))
    }
}
