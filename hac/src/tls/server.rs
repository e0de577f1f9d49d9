//! All certificates of a HAC, the choice among them, and reading them again while it runs.
//!
//! Read first: RFC 6066 s.3; readings.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rustls::server::ClientHello;
use tracing::{info, warn};

use super::identity::{Files, Fingerprint, Identity, LoadError};
use super::ocsp::StapleError;
use super::settings::Settings;

/// What becomes of a client that asks for a name that no certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownName {
    /// It meets the first certificate.
    #[default]
    Default,
    /// Its handshake ends with the alert unrecognized_name.
    Refuse,
}

/// Whom a client meets.
#[derive(Debug, Clone)]
pub enum Choice {
    /// The TLS server with this certificate.
    Serve(Arc<Identity>),
    /// Nobody: it asks for an unknown name.
    Refuse,
}

/// The certificates of a HAC.
#[derive(Debug)]
pub struct Server {
    /// What the listener reads for each connection.
    current: RwLock<Current>,
    /// Only who reloads looks here.
    sources: Mutex<Sources>,
}

#[derive(Debug, Clone)]
struct Current {
    identities: Arc<[Arc<Identity>]>,
    unknown_name: UnknownName,
}

/// What it is read from.
#[derive(Debug)]
struct Sources {
    settings: Settings,
    slots: Vec<Slot>,
}

impl Sources {
    fn identities(&self) -> Arc<[Arc<Identity>]> {
        self.slots.iter().map(|slot| slot.identity.clone()).collect()
    }
}

#[derive(Debug)]
struct Slot {
    files: Files,
    /// The files as they were when they were last read, with success or without.
    seen: Fingerprint,
    identity: Arc<Identity>,
}

impl Slot {
    fn is_due(&self, now: u64) -> bool {
        let stapled_until = self.identity.staple().and_then(Result::ok);
        self.files.fingerprint() != self.seen || stapled_until.is_some_and(|until| until <= now)
    }
}

impl Server {
    /// Reads the certificates in these files, the one that is met by default first.
    ///
    /// # Errors
    /// Which of them can't serve, and why.
    pub fn load(
        files: Vec<Files>,
        settings: Settings,
        unknown_name: UnknownName,
        now: u64,
    ) -> Result<Self, (usize, LoadError)> {
        let mut slots = Vec::with_capacity(files.len());
        for (index, files) in files.into_iter().enumerate() {
            let seen = files.fingerprint();
            let identity = Identity::load(&files, &settings, None, now);
            let identity = Arc::new(identity.map_err(|error| (index, error))?);
            slots.push(Slot { files, seen, identity });
        }
        let sources = Sources { settings, slots };
        let current = RwLock::new(Current { identities: sources.identities(), unknown_name });
        Ok(Self { current, sources: Mutex::new(sources) })
    }

    /// The certificates as they are now.
    #[must_use]
    pub fn identities(&self) -> Arc<[Arc<Identity>]> {
        self.current().identities
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves with the certificates and the settings of `fresh` from now on. As long as a certificate
    /// is the same, its tickets stay good. Sessions that are open go on.
    pub fn adopt(&self, fresh: &Self) {
        let mut sources = self.sources();
        let unknown_name = fresh.current().unknown_name;
        let mut fresh = fresh.sources();
        for slot in &mut fresh.slots {
            let same =
                |former: &&Slot| former.identity.certificate() == slot.identity.certificate();
            if let Some(former) = sources.slots.iter().find(same) {
                slot.identity = Arc::new(slot.identity.with_tickets_of(&former.identity));
            }
        }
        std::mem::swap(&mut *sources, &mut *fresh);
        let current = Current { identities: sources.identities(), unknown_name };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }

    /// Chooses by the name that a client asks for, then the first whose signatures it can verify.
    #[must_use]
    pub fn choose(&self, hello: &ClientHello<'_>) -> Choice {
        let Current { identities, unknown_name } = self.current();
        let named = |name: &str| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            move |identity: &&Arc<Identity>| identity.names().contains(&name)
        };
        let of_name = hello.server_name().map(|name| {
            let of_name: Vec<_> = identities.iter().filter(named(name)).collect();
            of_name
        });
        let candidates = match of_name {
            Some(of_name) if !of_name.is_empty() => of_name,
            Some(_) if unknown_name == UnknownName::Refuse => return Choice::Refuse,
            _ => by_default(&identities),
        };
        let suitable = candidates.iter().find(|identity| identity.suits(hello));
        // Where none suits rustls finds the words for it.
        match suitable.or(candidates.first()) {
            Some(identity) => Choice::Serve(Arc::clone(identity)),
            None => Choice::Refuse,
        }
    }

    /// Reads again what has changed at `now` (unix seconds), or everything. A certificate that can't
    /// serve leaves the one in place that was there. Sessions that are open go on.
    pub fn reload(&self, everything: bool, now: u64) {
        let mut sources = self.sources();
        let Sources { settings, slots } = &mut *sources;
        let mut changed = false;
        for slot in slots.iter_mut() {
            if everything || slot.is_due(now) {
                changed |= reload(slot, settings, now);
            }
        }
        if changed {
            let identities = sources.identities();
            self.current.write().unwrap_or_else(PoisonError::into_inner).identities = identities;
        }
    }

    /// What is wrong with responses that were to be stapled: the file, and why it is not.
    #[must_use]
    pub fn unstapled(&self) -> Vec<(PathBuf, StapleError)> {
        self.sources().slots.iter().filter_map(unstapled).collect()
    }
}

/// The first certificate, and those of the same name with other keys.
fn by_default(identities: &[Arc<Identity>]) -> Vec<&Arc<Identity>> {
    let Some(first) = identities.first() else { return Vec::new() };
    let same = |identity: &&Arc<Identity>| {
        Arc::ptr_eq(identity, first)
            || first.names().first().is_some_and(|name| identity.names().contains(name))
    };
    identities.iter().filter(same).collect()
}

fn reload(slot: &mut Slot, settings: &Settings, now: u64) -> bool {
    // Taken before: what changes while it is read is read once more.
    slot.seen = slot.files.fingerprint();
    let certificate = slot.files.certificate.display();
    match Identity::load(&slot.files, settings, Some(&slot.identity), now) {
        Ok(identity) => {
            let is_new = identity.certificate() != slot.identity.certificate();
            slot.identity = Arc::new(identity);
            info!(%certificate, is_new, "certificate read");
            if let Some((path, error)) = unstapled(slot) {
                warn!(ocsp = %path.display(), %error, "no OCSP response is stapled");
            }
            true
        }
        Err(error) => {
            warn!(%certificate, %error, "the certificate stays as it was");
            false
        }
    }
}

fn unstapled(slot: &Slot) -> Option<(PathBuf, StapleError)> {
    let error = slot.identity.staple()?.err()?;
    slot.files.ocsp.clone().map(|path| (path, error))
}
