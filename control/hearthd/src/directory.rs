//! The client of the HAC's SA directory.
//!
//! A thread of its own keeps the connection, so that neither a HAC that is away nor one that is
//! slow ever holds up the control thread: forwarding goes on with the SAs that are there, and a
//! new connection begins a new watch, which resynchronises.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use hearth_wire::Spi;
use hearth_wire::directory::{
    DirectoryError, Request, SpiRange, Update, Usage, decode_update, deframe, encode_request,
    refused_record,
};
use rustix::net::{SendFlags, send, sockopt::socket_peercred};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::directory_merge::Merge;
use crate::directory_tls::{self, Remote};
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
    /// One of several HACs has told everything of the SPIs that it deals out.
    SpisSynced(SpiRange),
    /// One of several HACs says that SPIs are its own which are another one's: that it is through with
    /// them means nothing.
    SpisRefused,
    /// A record of one HAC whose SPI another one has dealt out.
    Taken(Spi),
    /// A record that can't be used (ENC-21).
    Refused {
        /// Its SPI.
        spi: Spi,
        /// What is wrong with it.
        why: DirectoryError,
    },
}

/// Who may be believed, and where.
#[derive(Debug, Clone)]
pub struct DirectoryConfig {
    /// The HAC; or each of the replicas of one deployment.
    pub sources: Vec<Source>,
    /// The HAC's user; `None`: root or this process's own.
    pub uid: Option<u32>,
    /// The name of this home agent in the HAC's YAML.
    pub home_agent: Box<str>,
}

/// Where a HAC's directory is.
#[derive(Debug, Clone)]
pub enum Source {
    /// On this machine.
    Socket(PathBuf),
    /// On another one.
    Remote(Remote),
}

impl Source {
    /// Whether both are the same HAC's.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Socket(one), Self::Socket(other)) => one == other,
            (Self::Remote(one), Self::Remote(other)) => one.address == other.address,
            _ => false,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Remote(remote) => write!(f, "{}", remote.address),
        }
    }
}

/// The connection to one HAC, while there is one.
type Connection = Arc<Mutex<Option<UnixStream>>>;

/// The directory, seen from the control thread. Dropping it ends the connection and the watch.
#[derive(Debug)]
pub struct Directory {
    updates: Receiver<FromDirectory>,
    connections: Vec<Connection>,
    ended: Arc<AtomicBool>,
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.resynchronise();
    }
}

impl Directory {
    /// Starts the thread that keeps the watch; it wakes `waker` with every update.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn watch(config: DirectoryConfig, waker: Waker) -> io::Result<Self> {
        let (sender, updates) = bounded(BACKLOG);
        let ended = Arc::new(AtomicBool::new(false));
        let merge = match config.sources.len() {
            0 | 1 => None,
            _ => {
                let names = config.sources.iter().map(Source::to_string);
                Some(Arc::new(Mutex::new(Merge::of(names))))
            }
        };
        let mut connections = Vec::new();
        for (number, source) in config.sources.into_iter().enumerate() {
            let connection = Connection::default();
            let watcher = Watcher {
                number,
                source,
                uid: config.uid,
                home_agent: config.home_agent.clone(),
                waker: waker.clone(),
                sender: sender.clone(),
                merge: merge.clone(),
                connection: Arc::clone(&connection),
                ended: Arc::clone(&ended),
            };
            thread::Builder::new().name("directory".into()).spawn(move || watcher.run())?;
            connections.push(connection);
        }
        Ok(Self { updates, connections, ended })
    }

    /// The next update that has come, if any.
    #[must_use]
    pub fn next(&self) -> Option<FromDirectory> {
        self.updates.try_recv().ok()
    }

    /// Ends the connection: the next one begins a new watch, which replays everything.
    pub fn resynchronise(&self) {
        for connection in &self.connections {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(stream) = connection.as_ref() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Asks for the record of `spi`. Never waits: while the HAC is away or behind, nothing is
    /// asked, and the next watch will tell.
    pub fn lookup(&self, spi: Spi) {
        self.ask(&Request::Lookup { spi });
    }

    /// Says that this home agent is at work: mobile nodes may be sent to it.
    pub fn alive(&self) {
        self.ask(&Request::Alive);
    }

    /// Says what an SA has carried. Never waits.
    pub fn usage(&self, usage: Usage) {
        self.ask(&Request::Usage(usage));
    }

    fn ask(&self, request: &Request) {
        let Some(octets) = encode_request(request) else { return };
        for connection in &self.connections {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(stream) = connection.as_ref() {
                let _ = send(stream, &octets, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            }
        }
    }
}

/// The thread's own.
struct Watcher {
    number: usize,
    source: Source,
    uid: Option<u32>,
    home_agent: Box<str>,
    waker: Waker,
    sender: Sender<FromDirectory>,
    merge: Option<Arc<Mutex<Merge>>>,
    connection: Connection,
    ended: Arc<AtomicBool>,
}

impl Watcher {
    fn run(self) {
        let path = self.source.to_string();
        let mut pause = Duration::from_millis(50);
        let mut complained = false;
        while !self.ended.load(Ordering::Relaxed) {
            let ended = self.connect().and_then(|stream| {
                info!(socket = %path, "watching the SA directory");
                pause = Duration::from_millis(50);
                complained = false;
                self.follow(stream)
            });
            self.keep(None);
            match ended {
                Ok(()) => return,
                Err(_) if self.ended.load(Ordering::Relaxed) => return,
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
        let mut stream = match &self.source {
            Source::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                self.check_peer(&stream, path)?;
                stream
            }
            Source::Remote(remote) => directory_tls::connect(remote)?,
        };
        let request = Request::Watch { home_agent: self.home_agent.clone() };
        let octets = encode_request(&request)
            .ok_or_else(|| io::Error::other("the home agent's name is too long"))?;
        stream.write_all(&octets)?;
        self.keep(Some(stream.try_clone()?));
        // Whoever ended the watch meanwhile found no connection to end.
        if self.ended.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(stream)
    }

    /// Whoever listens on the socket could hand out keys of its own: it must be the HAC's user.
    fn check_peer(&self, stream: &UnixStream, path: &Path) -> io::Result<()> {
        let uid = socket_peercred(stream)?.uid.as_raw();
        let own = rustix::process::geteuid().as_raw();
        let trusted = self.uid.map_or(uid == 0 || uid == own, |expected| uid == expected);
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
                used += octets;
                if !self.tell(read(body)?) {
                    return Ok(());
                }
            }
            buffered.drain(..used);
        }
    }

    fn tell(&self, update: FromDirectory) -> bool {
        let send = |update| self.sender.send(update).is_ok();
        let told = match &self.merge {
            None => send(update),
            Some(merge) => {
                let mut merge = merge.lock().unwrap_or_else(PoisonError::into_inner);
                merge.take(self.number, update, send)
            }
        };
        self.waker.wake();
        told
    }
}

/// One broken record must not keep the others from being installed.
fn read(body: &[u8]) -> io::Result<FromDirectory> {
    match (decode_update(body), refused_record(body)) {
        (Ok(update), _) => Ok(FromDirectory::Update(update)),
        (Err(why), Some(spi)) => Ok(FromDirectory::Refused { spi, why }),
        (Err(why), None) => Err(broken(why)),
    }
}

fn broken(error: DirectoryError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("broken record: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_wire::directory::{
        DirectionKeys, SaRecord, Services, decode_request, encode_update,
    };
    use hearth_wire::{MobileNodeId, Scope, Suite};
    use std::os::unix::net::UnixListener;

    struct Hac {
        listener: UnixListener,
        folder: tempfile::TempDir,
    }

    impl Hac {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(folder.path().join("directory.sock")).unwrap();
            Self { listener, folder }
        }

        fn watched_by(&self, uid: Option<u32>) -> Directory {
            let socket = self.folder.path().join("directory.sock");
            let sources = vec![Source::Socket(socket)];
            let config = DirectoryConfig { sources, uid, home_agent: "ha1".into() };
            Directory::watch(config, Waker::new().unwrap()).unwrap()
        }

        /// The next connection; its first request has to be the watch.
        fn accept(&self) -> UnixStream {
            let mut stream = self.listener.accept().unwrap().0;
            assert_eq!(request(&mut stream), Request::Watch { home_agent: "ha1".into() });
            stream
        }
    }

    fn request(stream: &mut UnixStream) -> Request {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body).unwrap();
        decode_request(&body).unwrap()
    }

    fn next(directory: &Directory) -> FromDirectory {
        directory.updates.recv_timeout(Duration::from_secs(10)).unwrap()
    }

    #[test]
    fn a_broken_connection_begins_a_new_watch() {
        let hac = Hac::new();
        let directory = hac.watched_by(None);
        for _ in 0..2 {
            let mut stream = hac.accept();
            stream.write_all(&encode_update(&Update::Synced(None)).unwrap()).unwrap();
            assert!(matches!(next(&directory), FromDirectory::WatchBegun));
            assert!(matches!(next(&directory), FromDirectory::Update(Update::Synced(_))));
        }
    }

    #[test]
    fn a_resynchronisation_begins_a_new_watch() {
        let hac = Hac::new();
        let directory = hac.watched_by(None);
        let _first = hac.accept();
        assert!(matches!(next(&directory), FromDirectory::WatchBegun));
        directory.resynchronise();
        let _second = hac.accept();
        assert!(matches!(next(&directory), FromDirectory::WatchBegun));
    }

    #[test]
    fn an_update_in_pieces_is_read_and_a_lookup_reaches_the_hac() {
        let hac = Hac::new();
        let directory = hac.watched_by(None);
        let mut stream = hac.accept();
        let spi = Spi::new(77).unwrap();
        assert!(matches!(next(&directory), FromDirectory::WatchBegun));
        directory.lookup(spi);
        assert_eq!(request(&mut stream), Request::Lookup { spi });
        let (packets_in, octets_in, packets_out, octets_out) = (1, 2, 3, 4);
        let care_of = Some([192, 0, 2, 1].into());
        let is_over = true;
        let usage = Usage { spi, packets_in, octets_in, packets_out, octets_out, care_of, is_over };
        directory.usage(usage);
        assert_eq!(request(&mut stream), Request::Usage(usage));
        for octet in encode_update(&Update::Unknown(spi)).unwrap().iter() {
            stream.write_all(&[*octet]).unwrap();
        }
        let update = next(&directory);
        assert!(matches!(update, FromDirectory::Update(Update::Unknown(of)) if of == spi));
    }

    #[test]
    fn nobody_but_the_hacs_user_is_believed() {
        let hac = Hac::new();
        let own = rustix::process::geteuid().as_raw();
        let directory = hac.watched_by(Some(own + 1));
        let mut stream = hac.listener.accept().unwrap().0;
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "it leaves without a request");
        assert!(directory.next().is_none());
    }

    /// ENC-21.
    #[test]
    fn a_record_without_integrity_is_refused_and_the_next_one_read() {
        let hac = Hac::new();
        let directory = hac.watched_by(None);
        let mut stream = hac.accept();
        let keys = || DirectionKeys::new(Suite::NullSha, [7; 20].into(), [].into()).unwrap();
        let record = SaRecord {
            spi: Spi::new(77).unwrap(),
            mn_id: MobileNodeId::new("mn@example.net").unwrap(),
            home_agent: "ha1".into(),
            suite: Suite::NullSha,
            scope: Scope::SignallingAndData,
            mn_to_ha: keys(),
            ha_to_mn: keys(),
            validity_end: u64::MAX,
            home_address: "2001:db8::1".parse().unwrap(),
            ipv4_home_address: None,
            ha_address: "2001:db8::2".parse().unwrap(),
            generation: 1,
            services: Services::default(),
        };
        let mut frame = encode_update(&Update::Issued(Box::new(record))).unwrap();
        // NULL_WITH_NULL_NULL in the place of NULL_SHA.
        let suite = frame.windows(3).position(|octets| octets == [0, 2, 1]).unwrap();
        frame[suite + 1] = 0;
        stream.write_all(&frame).unwrap();
        stream.write_all(&encode_update(&Update::Synced(None)).unwrap()).unwrap();
        assert!(matches!(next(&directory), FromDirectory::WatchBegun));
        match next(&directory) {
            FromDirectory::Refused { spi, why } => {
                assert_eq!((spi.get(), why), (77, DirectoryError::Suite));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(next(&directory), FromDirectory::Update(Update::Synced(_))));
    }

    #[test]
    fn a_broken_record_ends_the_connection_not_the_watcher() {
        let hac = Hac::new();
        let directory = hac.watched_by(None);
        let mut stream = hac.accept();
        stream.write_all(&[0, 0, 0, 1, 0xff]).unwrap();
        let _again = hac.accept();
        assert!(matches!(next(&directory), FromDirectory::WatchBegun));
        assert!(matches!(next(&directory), FromDirectory::WatchBegun));
    }
}
