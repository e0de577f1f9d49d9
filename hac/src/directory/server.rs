//! Watch and lookup for home agents, on the directory's Unix socket; [`super::remote`] has the
//! same for other machines.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_wire::Spi;
use hearth_wire::directory::{MAX_FRAME, Request, Update, decode_request, deframe, encode_update};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::store;
use super::writer::{Directory, Told, Watch, WatchError};
use hearth_log::LogLimit;

/// Home agents, and whoever else looks in, at a time.
pub(super) const CONNECTIONS: usize = 64;
/// Longest wait for a peer to take one write; a peer that does not read is cut.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Records read from the store at a time while a watch replays them.
const PAGE: usize = 256;
/// Longest wait for the end of a connection to be sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// A home agent that has said that it is at work, and does not say so again for this long, is not.
const SILENCE: Duration = Duration::from_secs(6);
/// Requests of one peer that may wait while something is written to it.
const REQUESTS: usize = 64;

/// The socket, removed from the file system on drop.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    allow_uids: Arc<[u32]>,
    log_limit: Arc<LogLimit>,
}

impl Server {
    /// Binds `path`; a socket that a dead process left is replaced. Peers whose uid is neither
    /// root's, nor this process's, nor in `allow_uids` are refused.
    ///
    /// # Errors
    /// The socket can't be made, or somebody listens there.
    pub fn bind(path: &Path, allow_uids: &[u32]) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.exists()) {
            DirBuilder::new().recursive(true).create(folder)?;
            // Home agents of other users pass through it, whatever the umask says.
            fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o660))?;
        let own = rustix::process::geteuid().as_raw();
        let allow_uids = [0, own].into_iter().chain(allow_uids.iter().copied()).collect();
        let log_limit = Arc::default();
        Ok(Self { listener, path: path.to_owned(), allow_uids, log_limit })
    }

    /// Serves until the process ends.
    pub async fn serve(&self, directory: Arc<Directory>) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    if let Some(suppressed) = self.log_limit.admit(Instant::now()) {
                        warn!(%error, suppressed, "accept on the directory socket");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let uid = stream.peer_cred().map(|peer| peer.uid());
            if !uid.as_ref().is_ok_and(|uid| self.allow_uids.contains(uid)) {
                if let Some(suppressed) = self.log_limit.admit(Instant::now()) {
                    warn!(?uid, suppressed, "refused on the directory socket");
                }
                continue;
            }
            let Ok(permit) = connections.clone().try_acquire_owned() else {
                if let Some(suppressed) = self.log_limit.admit(Instant::now()) {
                    warn!(suppressed, "too many connections to the directory socket");
                }
                continue;
            };
            let (directory, log_limit) = (directory.clone(), self.log_limit.clone());
            tokio::spawn(async move {
                let (reader, writer) = stream.into_split();
                let ended = Peer::new(reader, writer, None, directory, log_limit).run().await;
                debug!(?ended, "a directory connection ended");
                drop(permit);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes a socket on which nobody listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            if StdUnixStream::connect(path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there"));
            }
            fs::remove_file(path)
        }
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "exists and is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The peer closed it.
    ByPeer,
    /// What the peer sent is no request.
    BadRequest,
    /// The peer does not read.
    Stuck,
    /// The peer's watch lagged too far behind.
    Lagged,
    /// The peer calls itself what no home agent of the configuration is called.
    UnknownHomeAgent,
    /// The peer's certificate is another home agent's.
    NotItsOwn,
    /// The peer was at work and no longer is.
    Silent,
    /// The store failed.
    Store,
}

/// One connection. A single task writes to it, so that the answer to a lookup never overtakes a
/// later change of the same record.
pub(super) struct Peer<W> {
    requests: mpsc::Receiver<Result<Request, Ended>>,
    /// Whose records the peer watches: lookups give these and no others.
    home_agent: Option<Box<str>>,
    /// The home agents that the peer may watch; `None`: any, as it is on this machine.
    may: Option<Box<[Box<str>]>>,
    reader: AbortHandle,
    /// When the peer said last that it is at work.
    alive: Option<tokio::time::Instant>,
    writer: W,
    directory: Arc<Directory>,
    log_limit: Arc<LogLimit>,
}

impl<W: AsyncWrite + Unpin> Peer<W> {
    pub(super) fn new(
        reader: impl AsyncRead + Unpin + Send + 'static,
        writer: W,
        may: Option<Box<[Box<str>]>>,
        directory: Arc<Directory>,
        log_limit: Arc<LogLimit>,
    ) -> Self {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let reader = tokio::spawn(read_requests(reader, sender)).abort_handle();
        Self { requests, reader, home_agent: None, may, alive: None, writer, directory, log_limit }
    }

    /// Serves the peer, and closes the connection afterwards.
    pub(super) async fn run(mut self) -> Ended {
        let ended = self.converse().await;
        self.reader.abort();
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.writer.shutdown()).await;
        ended
    }

    async fn converse(&mut self) -> Ended {
        let mut changes: Option<mpsc::Receiver<Told>> = None;
        loop {
            let alive = self.alive;
            let step = tokio::select! {
                request = self.requests.recv() => match request {
                    Some(Ok(request)) => self.answer(request, &mut changes).await,
                    Some(Err(ended)) => Err(ended),
                    None => Err(Ended::ByPeer),
                },
                change = next(&mut changes) => match change {
                    Some(change) => self.write(&change.frame).await,
                    None => Err(Ended::Lagged),
                },
                () = silent(alive) => Err(Ended::Silent),
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    async fn answer(
        &mut self,
        request: Request,
        changes: &mut Option<mpsc::Receiver<Told>>,
    ) -> Result<(), Ended> {
        match request {
            Request::Lookup { spi } => self.lookup(spi).await,
            Request::Alive => {
                self.alive = Some(tokio::time::Instant::now());
                Ok(())
            }
            Request::Usage(usage) => {
                if let Some(home_agent) = &self.home_agent {
                    self.directory.used(home_agent, usage);
                }
                Ok(())
            }
            Request::Watch { home_agent } => {
                if self.may.as_ref().is_some_and(|may| !may.contains(&home_agent)) {
                    if let Some(suppressed) = self.log_limit.admit(Instant::now()) {
                        let may = &self.may;
                        warn!(%home_agent, ?may, suppressed, "its certificate is another's");
                    }
                    return Err(Ended::NotItsOwn);
                }
                let watch = match self.directory.watch(&home_agent).await {
                    Ok(watch) => watch,
                    Err(WatchError::Unavailable) => return Err(Ended::Store),
                    Err(WatchError::UnknownHomeAgent) => {
                        // An empty replay would look like a home agent without mobile nodes.
                        if let Some(suppressed) = self.log_limit.admit(Instant::now()) {
                            let known = self.directory.home_agents();
                            warn!(%home_agent, ?known, suppressed, "no home agent has this name");
                        }
                        return Err(Ended::UnknownHomeAgent);
                    }
                };
                info!(%home_agent, "a home agent watches its SAs");
                *changes = Some(self.replay(&home_agent, watch).await?);
                self.home_agent = Some(home_agent);
                Ok(())
            }
        }
    }

    async fn lookup(&mut self, spi: Spi) -> Result<(), Ended> {
        let answer = match &self.home_agent {
            Some(home_agent) => self.directory.lookup(home_agent, spi),
            None => encode_update(&Update::Unknown(spi)),
        };
        self.write(&answer.ok_or(Ended::Store)?).await
    }

    /// Every record of the snapshot, then [`Update::Synced`].
    async fn replay(
        &mut self,
        home_agent: &str,
        watch: Watch,
    ) -> Result<mpsc::Receiver<Told>, Ended> {
        let mut after = 0;
        loop {
            let page =
                store::page(&watch.snapshot, home_agent, after, PAGE).map_err(|_| Ended::Store)?;
            for record in &page.records {
                self.write(record).await?;
            }
            match page.last {
                Some(last) => after = last,
                None => break,
            }
        }
        let synced = Update::Synced(self.directory.spis(home_agent));
        self.write(&encode_update(&synced).ok_or(Ended::Store)?).await?;
        Ok(watch.changes)
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), Ended> {
        match tokio::time::timeout(WRITE_TIMEOUT, write_out(&mut self.writer, frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::ByPeer),
            Err(_) => Err(Ended::Stuck),
        }
    }
}

async fn write_out(writer: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    writer.write_all(frame).await?;
    writer.flush().await
}

/// Waits until a peer that was at work counts as gone; for ever where it never said so.
async fn silent(alive: Option<tokio::time::Instant>) {
    match alive {
        Some(alive) => tokio::time::sleep_until(alive + SILENCE).await,
        None => std::future::pending().await,
    }
}

/// The next change of a watch; never, where there is none.
async fn next(changes: &mut Option<mpsc::Receiver<Told>>) -> Option<Told> {
    match changes {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}

/// Cuts what the peer sends into requests.
async fn read_requests(
    mut reader: impl AsyncRead + Unpin,
    requests: mpsc::Sender<Result<Request, Ended>>,
) {
    let mut buffer = Vec::with_capacity(MAX_FRAME);
    loop {
        match next_request(&buffer) {
            Ok(Some((request, used))) => {
                buffer.drain(..used);
                if requests.send(Ok(request)).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(None) => {}
            Err(ended) => {
                let _ = requests.send(Err(ended)).await;
                return;
            }
        }
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn next_request(buffer: &[u8]) -> Result<Option<(Request, usize)>, Ended> {
    match deframe(buffer) {
        Ok(Some((message, used))) => match decode_request(message) {
            Ok(request) => Ok(Some((request, used))),
            Err(_) => Err(Ended::BadRequest),
        },
        Ok(None) => Ok(None),
        Err(_) => Err(Ended::BadRequest),
    }
}
