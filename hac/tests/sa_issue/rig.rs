//! A directory in a folder of its own, with clocks that the test moves, and a home agent's end of it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hearth_hac::config::{HomeAddress, HomeAgent, Realm, Subscriber};
use hearth_hac::directory::server::Server;
use hearth_hac::directory::{Directory, IssueError, IssueRequest, Store, Watch};
use hearth_hac::keys::direction_keys;
use hearth_hac::policy::HomeAgentChoice;
use hearth_wire::directory::{Request, SaRecord, Update, decode_update, deframe, encode_request};
use hearth_wire::{Scope, Spi, Suite};

use crate::common::{Counting, NOW, home_agent, mn_id, realm, subscriber};

pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) wall: Arc<AtomicU64>,
    pub(crate) monotonic: Arc<AtomicU64>,
    here: Mutex<Vec<Watch>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (wall, monotonic) = (Arc::new(AtomicU64::new(NOW)), Arc::new(AtomicU64::new(0)));
        Self { folder, wall, monotonic, here: Mutex::default() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn store(&self, realm: Realm) -> Store {
        let now = self.wall.load(Ordering::Relaxed);
        Store::open(&self.path("hac.redb"), Arc::new(realm), now).unwrap()
    }

    pub(crate) fn start(&self, store: Store) -> Directory {
        let (wall, monotonic) = (self.wall.clone(), self.monotonic.clone());
        let wall = Arc::new(move || wall.load(Ordering::Relaxed));
        let monotonic = Arc::new(move || monotonic.load(Ordering::Relaxed));
        Directory::start_with(store, wall, monotonic).unwrap()
    }

    pub(crate) fn open(&self, realm: Realm) -> Directory {
        self.start(self.store(realm))
    }

    /// A directory, and the realm that it goes by.
    pub(crate) fn open_shared(&self, realm: Realm) -> (Directory, Arc<Realm>) {
        let (realm, now) = (Arc::new(realm), self.wall.load(Ordering::Relaxed));
        let store = Store::open(&self.path("hac.redb"), realm.clone(), now).unwrap();
        (self.start(store), realm)
    }

    /// A directory with its Unix socket; the latter ends with the runtime.
    pub(crate) fn serve(&self, realm: Realm) -> Arc<Directory> {
        let directory = Arc::new(self.open(realm));
        let server = Server::bind(&self.path("hac.sock"), &[]).unwrap();
        let served = directory.clone();
        tokio::spawn(async move { server.serve(served).await });
        directory
    }

    /// Its home agents are alive from now on.
    pub(crate) async fn stay(&self, directory: &Directory) {
        for home_agent in directory.home_agents() {
            let watch = directory.watch(home_agent).await;
            self.here.lock().unwrap().push(watch.unwrap_or_else(|error| panic!("{error:?}")));
        }
    }

    /// Seconds pass, by both clocks.
    pub(crate) fn pass(&self, seconds: u64) {
        self.wall.fetch_add(seconds, Ordering::Relaxed);
        self.monotonic.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.wall.load(Ordering::Relaxed)
    }

    /// Issues an SA that is valid for an hour.
    pub(crate) async fn issue(
        &self,
        directory: &Directory,
        id: &str,
    ) -> Result<Box<SaRecord>, IssueError> {
        directory.issue(request(id, self.now() + 3600)).await
    }
}

pub(crate) fn request(id: &str, validity_end: u64) -> IssueRequest {
    let suite = Suite::Aes128CbcSha;
    let mut entropy = Counting(7);
    IssueRequest {
        mn_id: mn_id(id),
        suite,
        scope: Scope::SignallingAndData,
        mn_to_ha: direction_keys(suite, &mut entropy).unwrap(),
        ha_to_mn: direction_keys(suite, &mut entropy).unwrap(),
        validity_end,
        grant: None,
        account: None,
    }
}

/// `count` subscribers `n0@example.net`, ... with addresses of the pools, and changed by `change`.
pub(crate) fn pooled(count: usize, change: impl Fn(&mut Subscriber)) -> Realm {
    let realm = realm();
    for index in 0..count {
        let mut subscriber = subscriber();
        subscriber.ip6 = HomeAddress::Pool;
        subscriber.ip4 = HomeAddress::Pool;
        change(&mut subscriber);
        realm.subscribers.insert(mn_id(&format!("n{index}@example.net")), subscriber);
    }
    realm
}

pub(crate) fn second_agent() -> HomeAgent {
    let mut second = home_agent();
    second.name = "ha2".into();
    second.certificate_name = "ha2.example.net".into();
    second.ip6 = "2001:db8:1::2".parse().unwrap();
    second.ip4 = Some("198.51.100.2".parse().unwrap());
    second.spis = 1001..=2000;
    second.prefix_ip6 = "2001:db8:101::/64".parse().unwrap();
    second.pools.ip6 =
        Some("2001:db8:101::1000".parse().unwrap()..="2001:db8:101::1003".parse().unwrap());
    second
}

/// Two home agents, of which the less loaded one is chosen for `count` subscribers.
pub(crate) fn two_to_choose_from(count: usize) -> Realm {
    let mut realm = pooled(count, |subscriber| {
        subscriber.home_agent = None;
        subscriber.ip4 = HomeAddress::None;
        subscriber.policy.home_agent_choice = HomeAgentChoice::LeastLoaded;
    });
    realm.home_agents.push(second_agent());
    realm
}

pub(crate) fn lookup(directory: &Directory, home_agent: &str, spi: Spi) -> Option<Box<SaRecord>> {
    let frame = directory.lookup(home_agent, spi).unwrap();
    match decode_update(deframe(&frame).unwrap().unwrap().0).unwrap() {
        Update::Issued(record) => Some(record),
        _ => None,
    }
}

/// Runs what blocks beside the runtime.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// A home agent's end of the Unix socket.
pub(crate) struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Watches, up to the end of the replay.
    pub(crate) async fn watch(place: &Place, home_agent: &str) -> Self {
        let stream = UnixStream::connect(place.path("hac.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self { stream, buffer: Vec::new() };
        client.send(&Request::Watch { home_agent: home_agent.into() });
        blocking(move || {
            while !matches!(client.update(), Some(Update::Synced(_))) {}
            client
        })
        .await
    }

    pub(crate) fn send(&mut self, request: &Request) {
        self.stream.write_all(&encode_request(request).unwrap()).unwrap();
    }

    /// The next update; `None`: the directory closed.
    pub(crate) fn update(&mut self) -> Option<Update> {
        loop {
            if let Some((body, used)) = deframe(&self.buffer).unwrap() {
                let update = decode_update(body).unwrap();
                self.buffer.drain(..used);
                return Some(update);
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk).unwrap() {
                0 => return None,
                count => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }
}
