//! The client of the HAC's SA directory.
//!
//! A thread of its own keeps the connection, so that neither a HAC that is away nor one that is
//! slow ever holds up the control thread: forwarding goes on with the SAs that are there, and a
//! new connection begins a new watch, which resynchronises.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use hearth_wire::Spi;
use hearth_wire::directory::{Request, Update, decode_update, deframe, encode_request};
use rustix::net::{SendFlags, send, sockopt::socket_peercred};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::wake::Waker;

/// Longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Updates that wait for the control thread; beyond them the HAC waits.
const BACKLOG: usize = 1024;

/// What the directory says.
#[derive(Debug)]
pub enum FromDirectory {
    /// A watch begins: the whole state follows, up to [`Update::Synced`].
    WatchBegun,
    /// A record, a revocation, the end of the replay, or the answer to a lookup.
    Update(Update),
}

/// Who may be believed, and where.
#[derive(Debug, Clone)]
pub struct DirectoryConfig {
    /// The HAC's socket.
    pub socket: PathBuf,
    /// The HAC's user; `None`: root or this process's own.
    pub uid: Option<u32>,
    /// The name of this home agent in the HAC's YAML.
    pub home_agent: Box<str>,
}

/// The directory, seen from the control thread.
#[derive(Debug)]
pub struct Directory {
    updates: Receiver<FromDirectory>,
    connection: Arc<Mutex<Option<UnixStream>>>,
}

impl Directory {
    /// Starts the thread that keeps the watch; it wakes `waker` with every update.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn watch(config: DirectoryConfig, waker: Waker) -> io::Result<Self> {
        let (sender, updates) = bounded(BACKLOG);
        let connection = Arc::new(Mutex::new(None));
        let watcher = Watcher { config, waker, sender, connection: Arc::clone(&connection) };
        thread::Builder::new().name("directory".into()).spawn(move || watcher.run())?;
        Ok(Self { updates, connection })
    }

    /// The next update that has come, if any.
    #[must_use]
    pub fn next(&self) -> Option<FromDirectory> {
        self.updates.try_recv().ok()
    }

    /// Asks for the record of `spi`. Never waits: while the HAC is away or behind, nothing is
    /// asked, and the next watch will tell.
    pub fn lookup(&self, spi: Spi) {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(stream), Some(octets)) =
            (connection.as_ref(), encode_request(&Request::Lookup { spi }))
        {
            let _ = send(stream, &octets, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }
}

/// The thread's own.
struct Watcher {
    config: DirectoryConfig,
    waker: Waker,
    sender: Sender<FromDirectory>,
    connection: Arc<Mutex<Option<UnixStream>>>,
}

impl Watcher {
    fn run(self) {
        let path = self.config.socket.display().to_string();
        let mut pause = Duration::from_millis(50);
        let mut complained = false;
        loop {
            let ended = self.connect().and_then(|stream| {
                info!(socket = %path, "watching the SA directory");
                pause = Duration::from_millis(50);
                complained = false;
                self.follow(stream)
            });
            self.keep(None);
            match ended {
                Ok(()) => return,
                Err(error) if !complained => {
                    warn!(socket = %path, %error, "no SA directory; trying again, forwarding goes on");
                    complained = true;
                }
                Err(_) => {}
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.config.socket)?;
        self.check_peer(&stream, &self.config.socket)?;
        let request = Request::Watch { home_agent: self.config.home_agent.clone() };
        let octets = encode_request(&request)
            .ok_or_else(|| io::Error::other("the home agent's name is too long"))?;
        stream.write_all(&octets)?;
        self.keep(Some(stream.try_clone()?));
        Ok(stream)
    }

    /// Whoever listens on the socket could hand out keys of its own: it must be the HAC's user.
    fn check_peer(&self, stream: &UnixStream, path: &Path) -> io::Result<()> {
        let uid = socket_peercred(stream)?.uid.as_raw();
        let own = rustix::process::geteuid().as_raw();
        let trusted = self.config.uid.map_or(uid == 0 || uid == own, |expected| uid == expected);
        if trusted {
            return Ok(());
        }
        let message = format!(
            "{} belongs to user {uid}, which is not to be believed; set sa_directory.uid if it is \
             the HAC's",
            path.display()
        );
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }

    fn keep(&self, stream: Option<UnixStream>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = stream;
    }

    /// Reads updates until the connection ends; `Ok` where the control thread is gone.
    fn follow(&self, mut stream: UnixStream) -> io::Result<()> {
        if !self.tell(FromDirectory::WatchBegun) {
            return Ok(());
        }
        // Records hold keys: what was read is wiped when it has been used.
        let mut buffered = Zeroizing::new(Vec::with_capacity(64 * 1024));
        let mut chunk = Zeroizing::new([0u8; 16 * 1024]);
        loop {
            let len = stream.read(&mut *chunk)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffered.extend_from_slice(chunk.get(..len).unwrap_or_default());
            let mut used = 0;
            while let Some((body, octets)) =
                deframe(buffered.get(used..).unwrap_or_default()).map_err(broken)?
            {
                let update = decode_update(body).map_err(broken)?;
                used += octets;
                if !self.tell(FromDirectory::Update(update)) {
                    return Ok(());
                }
            }
            buffered.drain(..used);
        }
    }

    fn tell(&self, update: FromDirectory) -> bool {
        let told = self.sender.send(update).is_ok();
        self.waker.wake();
        told
    }
}

fn broken(error: hearth_wire::directory::DirectoryError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("broken record: {error}"))
}
