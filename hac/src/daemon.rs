//! The parts put together: a running HAC.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hearth_api::scrape;
use hearth_wire::directory::SaRecord;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::admin::{Admin, end};
use crate::config::{Config, DirectoryConfig, RadiusConfig, Realm, RemoteConfig};
use crate::connection::Shared;
use crate::counters::Counters;
use crate::directory::remote::Remote;
use crate::directory::server::Server;
use crate::directory::{Clock, Directory, OpenError, Store};
use crate::failures::Failures;
use crate::handshake::Handshakes;
use crate::listener::{self, Admission};
use crate::live::Live;
use crate::methods::ByMethod;
use crate::metrics;
use crate::radius::{Accounting, Client};
use crate::reload::{Reloaded, Reloader};
use crate::subscribers::Subscribers;
use crate::subscribers::files::{self, Watch};
use crate::subscribers::registry::{ChangeError, Registry};
use hearth_log::LogLimit;

/// How long sessions may go on after the order to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// How often certificates are looked at for a change.
const WATCH_INTERVAL: Duration = Duration::from_secs(10);

/// How long accounting may take then to get rid of its records.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a HAC does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not open.
    #[error("store {path}: {error}")]
    Store {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: OpenError,
    },
    /// The directory's socket can't be made.
    #[error("directory socket {path}: {error}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// An address can't be listened on.
    #[error("listen {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What is wrong.
        error: io::Error,
    },
    /// The subscribers' store does not open, or its keys are wrapped by another key.
    #[error("{0}")]
    Subscribers(ChangeError),
    /// Something is wrong in a file of subscribers.
    #[error("{0}")]
    Files(String),
    /// Files of subscribers can't be watched.
    #[error("subscriber_files: {0}")]
    Watch(io::Error),
    /// The metrics' address can't be listened on.
    #[error("metrics.listen: {0}")]
    Metrics(io::Error),
    /// The admin socket can't be made.
    #[error("admin socket {0}")]
    Admin(io::Error),
    /// The kernel refuses a thread.
    #[error("{0}")]
    Thread(io::Error),
}

/// The time of the system in unix seconds.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// A running HAC. Dropping it stops it without waiting for sessions.
pub struct Hac {
    admission: Arc<Admission>,
    shared: Arc<Shared>,
    reloader: Arc<Reloader>,
    tasks: JoinSet<()>,
    /// Those that end last: they tell what the others did.
    accounts: JoinSet<()>,
    addresses: Vec<SocketAddr>,
}

impl Hac {
    /// Opens the store, then the directory's socket, then the listening ones. To be called within
    /// a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        let Config { path, sections, listen, tls, directory: places, .. } = config;
        let Config { realm, limits, radius, admin, metrics, sources, warnings, .. } = config;
        for warning in &warnings {
            warn!("{warning}");
        }
        let live = Arc::new(Live::new(realm.clone()));
        // Everybody is known before the directory asks whose leases and SAs are whose.
        let followed = read_files(&realm, &sources.files)?;
        let registry = Registry::open(sources.store, live.clone());
        let registry = Arc::new(registry.map_err(StartError::Subscribers)?);
        let (radius, accounting) = ask_and_tell(radius, &clock);
        let store = open_store(&places, &realm, clock(), accounting.as_deref())?;
        let server = Server::bind(&places.socket, &places.allow_uids)
            .map_err(|error| StartError::Socket { path: places.socket.clone(), error })?;
        let admin = admin.map(Admin::bind).transpose().map_err(StartError::Admin)?;
        let scraped = metrics.map(scrape::listen).transpose().map_err(StartError::Metrics)?;
        let (listeners, addresses) = listen_on(listen)?;
        let (remotes, directory_tls) = remotes(places.remote, &realm)?;
        let directory =
            Arc::new(Directory::start(store, clock.clone()).map_err(StartError::Thread)?);
        realm.subscribers.heed(&directory);
        let shared = Arc::new(Shared {
            handshakes: Handshakes::new(tls),
            realm: live,
            directory: directory.clone(),
            directory_tls,
            limits: Live::new(limits),
            clock,
            radius,
            accounting,
            counters: Counters::default(),
            by_method: ByMethod::default(),
            failures: Failures::new(Instant::now()),
            log_limit: LogLimit::default(),
        });
        shared.warn_of_what_is_outdated();
        let admission = Admission::new(shared.clone());
        let (mut tasks, mut accounts) = (JoinSet::new(), JoinSet::new());
        if let Some(accounting) = &shared.accounting {
            accounting.spawn(&directory, &mut accounts);
        }
        for remote in remotes {
            let directory = directory.clone();
            tasks.spawn(async move { remote.serve(directory).await });
        }
        tasks.spawn(async move { server.serve(directory).await });
        tasks.spawn(watch(shared.clone()));
        let reloader = Arc::new(Reloader::new(
            (path, sections),
            sources.files.clone(),
            shared.clone(),
            admission.clone(),
            registry.clone(),
        ));
        if let Some(listener) = scraped {
            tasks.spawn(serve_metrics(listener, shared.clone(), admission.clone()));
        }
        if let Some(admin) = admin {
            let desk = (shared.clone(), admission.clone(), registry, reloader.clone());
            tasks.spawn(admin.serve(desk));
        }
        if let Some(followed) = followed {
            tasks.spawn(follow(shared.clone(), sources.files, followed));
        }
        for listener in listeners {
            tasks.spawn(listener::accept(listener, admission.clone()));
        }
        info!(listen = ?addresses, socket = %places.socket.display(), "ready");
        Ok(Self { admission, shared, reloader, tasks, accounts, addresses })
    }

    /// The addresses listened on, with the ports that the kernel chose for port 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Accounting of SAs, where it is wanted.
    #[must_use]
    pub fn accounting(&self) -> Option<&Arc<Accounting>> {
        self.shared.accounting.as_ref()
    }

    /// Home agents, policy and subscribers, as they are now.
    #[must_use]
    pub fn realm(&self) -> Arc<Realm> {
        self.shared.realm.get()
    }

    /// Who can get an SA.
    #[must_use]
    pub fn subscribers(&self) -> Subscribers {
        self.shared.realm.get().subscribers.clone()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Reads the YAML again, and every file that it names. Open sessions go on.
    ///
    /// # Errors
    /// What is wrong, with file, line and key, as it is logged; nothing has changed then.
    pub async fn reload(&self) -> Result<Reloaded, String> {
        self.reloader.reload().await
    }

    /// Accepts no more, gives the open sessions a moment to end, and closes the store.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
        while self.admission.open() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if let Some(accounting) = &self.shared.accounting {
            accounting.flush(FLUSH_TIMEOUT).await;
            accounting.keep(&self.shared.directory).await;
        }
        self.accounts.shutdown().await;
        let directory = self.shared.directory.clone();
        let _ = tokio::task::spawn_blocking(move || directory.close()).await;
        info!(counters = %self.shared.counters, "stopped");
    }
}

/// Reads the files of subscribers, and watches them where there are some.
fn read_files(realm: &Realm, paths: &[PathBuf]) -> Result<Option<Watch>, StartError> {
    let followed = match paths {
        [] => None,
        // Watched first: what changes while they are read is read again.
        paths => Some(Watch::begin(paths).map_err(StartError::Watch)?),
    };
    files::load(realm, paths).map_err(StartError::Files)?;
    Ok(followed)
}

/// Listens on all of them; says which addresses they are.
fn listen_on(listen: Vec<SocketAddr>) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), StartError> {
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for address in listen {
        let error = |error| StartError::Listen { address, error };
        let listener = listener::bind(address).map_err(error)?;
        addresses.push(listener.local_addr().map_err(error)?);
        listeners.push(listener);
    }
    Ok((listeners, addresses))
}

/// The AAA servers: those that are asked, those that are told.
fn ask_and_tell(
    radius: Option<RadiusConfig>,
    clock: &Clock,
) -> (Option<Client>, Option<Arc<Accounting>>) {
    let Some(RadiusConfig { nas_identifier, servers, accounting }) = radius else {
        return (None, None);
    };
    let accounting = accounting.map(|to| Accounting::start(to, &nas_identifier, clock.clone()));
    (Some(Client::start(servers, &nas_identifier)), accounting)
}

/// Opens the store; what has ended since it was closed is told to accounting, too.
fn open_store(
    places: &DirectoryConfig,
    realm: &Arc<Realm>,
    now: u64,
    accounting: Option<&Accounting>,
) -> Result<Store, StartError> {
    let mut restored = |record: &SaRecord, account: Option<&[u8]>| {
        if let Some(accounting) = accounting {
            accounting.restored(record, account);
        }
    };
    let mut store = Store::open_telling(&places.store, realm.clone(), now, &mut restored)
        .map_err(|error| StartError::Store { path: places.store.clone(), error })?;
    if places.trust_clock {
        store.trust_clock(now);
    }
    Ok(store)
}

/// Reads files of subscribers again when they change, and ends the SAs that no longer hold then.
async fn follow(shared: Arc<Shared>, paths: Vec<PathBuf>, watch: Watch) {
    let directory = shared.directory.clone();
    let ends = move |stale| {
        let directory = directory.clone();
        async move {
            end(&directory, stale).await;
        }
    };
    files::follow(shared.realm.clone(), paths, watch, ends).await;
}

/// What home agents on other machines meet, where there are any.
pub(crate) type DirectoryTls = Option<Arc<Live<ServerConfig>>>;

/// Listens for home agents on other machines.
fn remotes(
    config: Option<RemoteConfig>,
    realm: &Arc<Realm>,
) -> Result<(Vec<Remote>, DirectoryTls), StartError> {
    let Some(RemoteConfig { listen, tls }) = config else { return Ok((Vec::new(), None)) };
    let tls = Arc::new(Live::new(tls));
    let bind = |address| {
        Remote::bind(address, tls.clone(), realm.clone())
            .map_err(|error| StartError::Listen { address, error })
    };
    let remotes: Result<_, _> = listen.into_iter().map(bind).collect();
    Ok((remotes?, Some(tls)))
}

/// Answers Prometheus.
async fn serve_metrics(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    admission: Arc<Admission>,
) {
    let answer = move || metrics::sheet(shared.clone(), admission.clone());
    let Err(error) = scrape::serve(listener, answer).await;
    error!(%error, "the metrics' listener ended");
}

/// Looks now and then whether certificates have changed: whoever renews them need not say so.
async fn watch(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        read_again(&shared).await;
    }
}

async fn read_again(shared: &Arc<Shared>) {
    let (server, now) = (shared.handshakes.server().clone(), (shared.clock)());
    let eap_tls = shared.realm.get().auth.eap_tls.clone();
    // Files, signatures of keys: nothing for a thread that serves sessions.
    let _ = tokio::task::spawn_blocking(move || {
        server.reload(false, now);
        if let Some(eap_tls) = eap_tls {
            eap_tls.reload(false, now);
        }
    })
    .await;
}
