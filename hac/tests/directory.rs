//! The SA directory: SPIs, leases, durability, watch and lookup.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Counting, NOW, change, home_agent, mn_id, realm, subscriber};
use hearth_hac::config::{HomeAddress, Realm};
use hearth_hac::directory::server::Server;
use hearth_hac::directory::{Clock, Directory, IssueError, IssueRequest, Store, WatchError};
use hearth_hac::keys::direction_keys;
use hearth_wire::directory::{
    Request, SaRecord, Services, SpiRange, Update, decode_update, deframe, encode_request,
    encode_update,
};
use hearth_wire::{Scope, Spi, Suite};

/// A directory in a folder of its own, with a clock that the test moves.
struct Place {
    folder: tempfile::TempDir,
    clock: Arc<AtomicU64>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, clock: Arc::new(AtomicU64::new(NOW)) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self, realm: Realm) -> Directory {
        let now = self.clock.load(Ordering::Relaxed);
        let store = Store::open(&self.path("hac.redb"), Arc::new(realm), now).unwrap();
        let clock = self.clock.clone();
        let clock: Clock = Arc::new(move || clock.load(Ordering::Relaxed));
        // Time that passes, passes by both clocks.
        Directory::start_with(store, clock.clone(), clock).unwrap()
    }

    /// A directory with its socket; the latter ends with the runtime.
    fn serve(&self, realm: Realm) -> Arc<Directory> {
        let directory = Arc::new(self.open(realm));
        let server = Server::bind(&self.path("hac.sock"), &[]).unwrap();
        let served = directory.clone();
        tokio::spawn(async move { server.serve(served).await });
        directory
    }
}

fn request(id: &str) -> IssueRequest {
    let suite = Suite::Aes128CbcSha;
    let mut entropy = Counting(7);
    IssueRequest {
        mn_id: mn_id(id),
        suite,
        scope: Scope::SignallingAndData,
        mn_to_ha: direction_keys(suite, &mut entropy).unwrap(),
        ha_to_mn: direction_keys(suite, &mut entropy).unwrap(),
        validity_end: NOW + 3600,
        grant: None,
        account: None,
    }
}

async fn issue(directory: &Directory, id: &str) -> Box<SaRecord> {
    directory.issue(request(id)).await.unwrap()
}

/// `count` subscribers `n0@example.net`, ... whose home addresses come from the pools.
fn pooled(count: usize) -> Realm {
    let realm = realm();
    for index in 0..count {
        let mut subscriber = subscriber();
        subscriber.ip6 = HomeAddress::Pool;
        subscriber.ip4 = HomeAddress::Pool;
        realm.subscribers.insert(mn_id(&format!("n{index}@example.net")), subscriber);
    }
    realm
}

/// `mn1@example.net` at `ha1` and `n0@example.net` at `ha2`.
fn two_home_agents() -> Realm {
    let mut two = pooled(1);
    let mut second = home_agent();
    second.name = "ha2".into();
    second.ip6 = "2001:db8:1::2".parse().unwrap();
    second.spis = 1001..=2000;
    two.home_agents.push(second);
    change(&two, "n0@example.net", |subscriber| subscriber.home_agent = Some(1));
    two
}

fn lookup(directory: &Directory, spi: u32) -> Update {
    let frame = directory.lookup("ha1", Spi::new(spi).unwrap()).unwrap();
    decode_update(deframe(&frame).unwrap().unwrap().0).unwrap()
}

/// A home agent's end of the socket.
struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(place: &Place) -> Self {
        let stream = UnixStream::connect(place.path("hac.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    fn watch(place: &Place, home_agent: &str) -> Self {
        let mut client = Self::connect(place);
        client.send(&Request::Watch { home_agent: home_agent.into() });
        client
    }

    fn send(&mut self, request: &Request) {
        self.stream.write_all(&encode_request(request).unwrap()).unwrap();
    }

    /// The next frame; `None`: the directory closed.
    fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((_, used)) = deframe(&self.buffer).unwrap() {
                return Some(self.buffer.drain(..used).collect());
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk).unwrap() {
                0 => return None,
                count => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }

    fn update(&mut self) -> Option<Update> {
        self.frame().map(|frame| decode_update(deframe(&frame).unwrap().unwrap().0).unwrap())
    }
}

/// Runs what blocks beside the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// SA-01, SA-02, SA-05: SPIs differ, lie in the range, are dense, and generations grow.
#[tokio::test]
async fn sa_01_spis_are_dense_and_distinct() {
    let place = Place::new();
    let directory = Arc::new(place.open(realm()));
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let directory = directory.clone();
            tokio::spawn(async move { issue(&directory, "mn1@example.net").await })
        })
        .collect();
    let mut records = Vec::new();
    for task in tasks {
        records.push(task.await.unwrap());
    }
    let spis: HashSet<u32> = records.iter().map(|record| record.spi.get()).collect();
    assert_eq!(spis, (1..=40).collect());
    records.sort_by_key(|record| record.generation);
    records.dedup_by_key(|record| record.generation);
    assert_eq!(records.len(), 40);
}

/// records, SPIs, generations and leases outlive the process.
#[tokio::test]
async fn a_restart_keeps_everything() {
    let place = Place::new();
    let directory = place.open(pooled(2));
    let first = issue(&directory, "n0@example.net").await;
    drop(directory);

    let directory = place.open(pooled(2));
    let Update::Issued(kept) = lookup(&directory, first.spi.get()) else { panic!("not kept") };
    assert_eq!(kept, first);
    let other = issue(&directory, "n1@example.net").await;
    let again = issue(&directory, "n0@example.net").await;
    assert!(other.spi != first.spi && again.spi != first.spi && other.spi != again.spi);
    assert!(again.generation > other.generation && other.generation > first.generation);
    assert_eq!(again.home_address, first.home_address);
    assert_eq!(again.ipv4_home_address, first.ipv4_home_address);
    assert_ne!(other.home_address, first.home_address);
    let mode = std::fs::metadata(place.path("hac.redb")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// A store that another process, or another part of this one, has open is refused.
#[test]
fn one_process_owns_the_store() {
    let place = Place::new();
    let path = place.path("hac.redb");
    let _first = Store::open(&path, Arc::new(realm()), NOW).unwrap();
    assert!(Store::open(&path, Arc::new(realm()), NOW).is_err());
    std::fs::write(place.path("junk"), "no store at all").unwrap();
    assert!(Store::open(&place.path("junk"), Arc::new(realm()), NOW).is_err());
}

/// HAC-35: a pool deals each address once, spares the reserved ones, and ends with an error.
#[tokio::test]
async fn hac_35_pool_of_home_addresses() {
    let place = Place::new();
    let mut realm = pooled(5);
    // One of the four addresses of the pool belongs to somebody.
    let mut fixed = subscriber();
    fixed.ip6 = HomeAddress::Fixed("2001:db8:100::1001".parse().unwrap());
    realm.subscribers.insert(mn_id("fixed@example.net"), fixed);
    realm.dns_ip4.push(Ipv4Addr::new(203, 0, 113, 102));
    let directory = place.open(realm);
    let mut seen = Vec::new();
    for index in 0..3 {
        let record = issue(&directory, &format!("n{index}@example.net")).await;
        seen.push((
            record.home_address.segments()[7],
            record.ipv4_home_address.unwrap().octets()[3],
        ));
    }
    assert_eq!(seen, [(0x1000, 100), (0x1002, 101), (0x1003, 103)]);
    for _ in 0..2 {
        let error = directory.issue(request("n3@example.net")).await.unwrap_err();
        assert!(matches!(error, IssueError::NoHomeAddress(_)), "{error:?}");
    }
    // Others are served, and no SPI was lost.
    assert_eq!(issue(&directory, "n0@example.net").await.spi.get(), 4);
    assert_eq!(issue(&directory, "mn1@example.net").await.spi.get(), 5);
}

/// A lease whose subscriber is gone is free after the next start.
#[tokio::test]
async fn leases_of_former_subscribers_are_given_back() {
    let place = Place::new();
    let directory = place.open(pooled(4));
    for index in 0..4 {
        issue(&directory, &format!("n{index}@example.net")).await;
    }
    drop(directory);
    let changed = pooled(5);
    changed.subscribers.remove(&mn_id("n2@example.net"));
    let directory = place.open(changed);
    let record = issue(&directory, "n4@example.net").await;
    assert_eq!(record.home_address, "2001:db8:100::1002".parse::<Ipv6Addr>().unwrap());
    // The former subscriber's SA is gone, the others' are not.
    assert_eq!(lookup(&directory, 3), Update::Unknown(Spi::new(3).unwrap()));
    assert!(matches!(lookup(&directory, 2), Update::Issued(_)));
}

/// An SA that names a home address which the configuration has given to somebody else is gone.
#[tokio::test]
async fn a_changed_home_address_ends_the_sa() {
    let place = Place::new();
    let directory = place.open(realm());
    issue(&directory, "mn1@example.net").await;
    drop(directory);
    let changed = realm();
    change(&changed, "mn1@example.net", |subscriber| subscriber.ip4 = HomeAddress::None);
    let directory = place.open(changed);
    assert_eq!(lookup(&directory, 1), Update::Unknown(Spi::new(1).unwrap()));
}

/// records carry what the subscriber may; a change of it reaches the SAs that exist, which
/// stay: a prefix that was taken from one may be another's by now.
#[tokio::test]
async fn changed_services_reach_sas_that_exist() {
    let place = Place::new();
    let may = |prefixes: &[&str]| Services {
        prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        mobile_router: true,
        ..Services::default()
    };
    let with = |services: Services| {
        let realm = realm();
        change(&realm, "mn1@example.net", |subscriber| subscriber.services = services);
        realm
    };
    let both = may(&["2001:db8:200::/56", "192.0.2.0/28"]);
    let directory = place.open(with(both.clone()));
    let first = issue(&directory, "mn1@example.net").await;
    assert_eq!(first.services, both);
    assert_eq!(lookup(&directory, 1), Update::Issued(first));
    drop(directory);

    let directory = place.open(with(may(&["192.0.2.0/28"])));
    let Update::Issued(changed) = lookup(&directory, 1) else { panic!("not kept") };
    assert_eq!((changed.services, changed.generation), (may(&["192.0.2.0/28"]), 1));
    drop(directory);
    let directory = place.open(realm());
    let Update::Issued(changed) = lookup(&directory, 1) else { panic!("not kept") };
    assert_eq!(changed.services, Services::default());
}

/// an ended SA is purged, and its SPI rests before it is dealt again.
#[tokio::test]
async fn ended_sas_are_purged_and_their_spis_rest() {
    let place = Place::new();
    let mut narrow = realm();
    narrow.home_agents[0].spis = 5..=6;
    let directory = place.serve(narrow);
    for spi in [5, 6] {
        assert_eq!(issue(&directory, "mn1@example.net").await.spi.get(), spi);
    }
    let error = directory.issue(request("mn1@example.net")).await.unwrap_err();
    assert_eq!(error, IssueError::NoSpi);

    let mut client = Client::watch(&place, "ha1");
    let mut client = blocking(move || {
        while !matches!(client.update(), Some(Update::Synced(_))) {}
        client
    })
    .await;
    place.clock.store(NOW + 3600, Ordering::Relaxed);
    let (revoked, _there) = blocking(move || {
        let revoked = [client.update().unwrap(), client.update().unwrap()];
        (revoked, client)
    })
    .await;
    let spi = |spi| Spi::new(spi).unwrap();
    assert_eq!(revoked, [Update::Revoked(spi(5)), Update::Revoked(spi(6))]);
    assert_eq!(lookup(&directory, 5), Update::Unknown(spi(5)));
    let late = || IssueRequest { validity_end: NOW + 7200, ..request("mn1@example.net") };
    let error = directory.issue(late()).await.unwrap_err();
    assert_eq!(error, IssueError::NoSpi, "the SPIs rest");
    place.clock.store(NOW + 3600 + 300, Ordering::Relaxed);
    assert_eq!(directory.issue(late()).await.unwrap().spi.get(), 5);
}

/// which of more than 64 SAs of one mn-id go first is the home agent's to say, as it knows
/// which are in use: the 65th ends none here. What is held of one mn-id is bounded all the same.
#[tokio::test]
async fn r_15_at_most_64_is_the_home_agents_to_keep() {
    let place = Place::new();
    let directory = place.open(pooled(1));
    issue(&directory, "n0@example.net").await;
    for _ in 0..128 {
        issue(&directory, "mn1@example.net").await;
    }
    let alive = || -> Vec<u32> {
        (1..=131).filter(|spi| matches!(lookup(&directory, *spi), Update::Issued(_))).collect()
    };
    assert_eq!(alive(), (1..=129).collect::<Vec<_>>());
    for _ in 0..2 {
        issue(&directory, "mn1@example.net").await;
    }
    assert_eq!(alive(), [1].into_iter().chain(4..=131).collect::<Vec<_>>());
    // The SPIs of the two that went are not dealt again while these might be alive.
    assert_eq!(issue(&directory, "n0@example.net").await.spi.get(), 132);
}

/// SA-11, R-50: replay, push and pull give the same octets, in order, and only of one's own.
#[tokio::test]
async fn sa_11_watch_and_lookup() {
    let place = Place::new();
    let directory = place.serve(two_home_agents());

    let old = issue(&directory, "mn1@example.net").await;
    let foreign = issue(&directory, "n0@example.net").await;
    assert_eq!(foreign.spi.get(), 1001);
    let client = Client::watch(&place, "ha1");
    let (replayed, synced, mut client) = blocking(move || {
        let mut client = client;
        (client.frame().unwrap(), client.update().unwrap(), client)
    })
    .await;
    assert_eq!(replayed, *encode_update(&Update::Issued(old)).unwrap());
    // it says which SPIs are its own.
    let own = SpiRange::new(Spi::new(1).unwrap(), Spi::new(1000).unwrap());
    assert_eq!(synced, Update::Synced(own));

    let new = issue(&directory, "mn1@example.net").await;
    issue(&directory, "n0@example.net").await;
    let newer = issue(&directory, "mn1@example.net").await;
    client.send(&Request::Lookup { spi: Spi::new(999).unwrap() });
    let seen = blocking(move || {
        let pushed = [client.frame().unwrap(), client.frame().unwrap()];
        let unknown = client.update().unwrap();
        client.send(&Request::Lookup { spi: Spi::new(2).unwrap() });
        (pushed, unknown, client.frame().unwrap())
    })
    .await;
    let (pushed, unknown, pulled) = seen;
    assert_eq!(unknown, Update::Unknown(Spi::new(999).unwrap()));
    assert_eq!(pushed[0], *encode_update(&Update::Issued(new)).unwrap());
    assert_eq!(pushed[1], *encode_update(&Update::Issued(newer)).unwrap());
    assert_eq!(pulled, pushed[0]);
}

/// a lookup gives the keys of the home agent whose records the connection watches, not
/// another's, and none before there is a watch.
#[tokio::test]
async fn sa_11_a_lookup_gives_ones_own_records_only() {
    let place = Place::new();
    let directory = place.serve(two_home_agents());
    let own = issue(&directory, "mn1@example.net").await;
    let foreign = issue(&directory, "n0@example.net").await;
    assert_eq!(&*foreign.home_agent, "ha2");
    let (own, foreign) = (own.spi, foreign.spi);
    blocking(move || {
        let mut client = Client::connect(&place);
        client.send(&Request::Lookup { spi: own });
        assert_eq!(client.update(), Some(Update::Unknown(own)), "no watch");
        client.send(&Request::Watch { home_agent: "ha1".into() });
        while !matches!(client.update(), Some(Update::Synced(_))) {}
        client.send(&Request::Lookup { spi: foreign });
        assert_eq!(client.update(), Some(Update::Unknown(foreign)), "another's");
        client.send(&Request::Lookup { spi: own });
        assert!(matches!(client.update(), Some(Update::Issued(record)) if record.spi == own));
    })
    .await;
}

/// A misspelt name is no home agent without SAs: the directory closes, others are served.
#[tokio::test]
async fn a_watch_under_an_unknown_name_is_closed() {
    let place = Place::new();
    let directory = place.serve(realm());
    issue(&directory, "mn1@example.net").await;
    assert_eq!(directory.watch("ha-1").await.err(), Some(WatchError::UnknownHomeAgent));
    blocking(move || {
        assert_eq!(Client::watch(&place, "ha-1").update(), None);
        let mut client = Client::watch(&place, "ha1");
        assert!(matches!(client.update(), Some(Update::Issued(_))));
    })
    .await;
}

/// Records that are issued while a watch replays are neither lost nor doubled out of order.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_misses_nothing() {
    let place = Place::new();
    let mut wide = pooled(4);
    wide.home_agents[0].spis = 1..=100_000;
    let directory = place.serve(wide);
    let issuing = tokio::spawn(async move {
        for round in 0..200 {
            issue(&directory, &format!("n{}@example.net", round % 4)).await;
        }
    });
    let client = Client::watch(&place, "ha1");
    let seen = blocking(move || {
        let mut client = client;
        let mut seen = Vec::new();
        while seen.len() < 200 {
            match client.update().unwrap() {
                Update::Issued(record) => seen.push(record.spi.get()),
                Update::Synced(_) => {}
                other => panic!("{other:?}"),
            }
        }
        seen
    })
    .await;
    issuing.await.unwrap();
    assert_eq!(seen, (1..=200).collect::<Vec<_>>());
}

/// A watcher that does not read is cut; issuing goes on and other watchers get everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_watcher_costs_others_nothing() {
    let place = Place::new();
    let mut wide = pooled(4);
    wide.home_agents[0].spis = 1..=100_000;
    let directory = place.serve(wide);
    let mut slow = Client::watch(&place, "ha1");
    let mut brisk = Client::watch(&place, "ha1");
    let (mut slow, mut brisk) = blocking(move || {
        for watcher in [&mut slow, &mut brisk] {
            assert!(matches!(watcher.update(), Some(Update::Synced(_))));
        }
        (slow, brisk)
    })
    .await;
    // Each issue beyond 128 of one node is two updates; the kernel buffers some hundred.
    const ISSUES: u32 = 7000;
    let reading = tokio::task::spawn_blocking(move || {
        let mut last = 0;
        while last < ISSUES {
            match brisk.update().expect("the brisk watcher is not cut") {
                Update::Issued(record) => last = record.spi.get(),
                Update::Revoked(_) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    let issuers: Vec<_> = (0..70)
        .map(|worker| {
            let directory = directory.clone();
            tokio::spawn(async move {
                for _ in 0..ISSUES / 70 {
                    issue(&directory, &format!("n{}@example.net", worker % 4)).await;
                }
            })
        })
        .collect();
    for issuer in issuers {
        issuer.await.unwrap();
    }
    reading.await.unwrap();
    // What it gets late is a part, then the end; after which it resyncs.
    let got = blocking(move || std::iter::from_fn(|| slow.update()).count()).await;
    assert!(got < ISSUES as usize * 2 - 400, "{got}");
    let fresh = Client::watch(&place, "ha1");
    let replayed = blocking(move || {
        let mut fresh = fresh;
        std::iter::from_fn(|| fresh.update())
            .take_while(|update| !matches!(update, Update::Synced(_)))
            .count()
    })
    .await;
    assert_eq!(replayed, 4 * 128);
}

#[tokio::test]
async fn junk_on_the_socket_ends_the_connection() {
    let place = Place::new();
    let directory = place.serve(realm());
    for junk in [&[0, 0, 0, 0][..], &[0xff; 8], &[0, 0, 0, 1, 0x7f]] {
        let mut client = Client::connect(&place);
        client.stream.write_all(junk).unwrap();
        assert_eq!(blocking(move || client.frame()).await, None);
    }
    issue(&directory, "mn1@example.net").await;
}

/// The socket: mode 0660, one owner at a time, a dead one's replaced, removed at the end.
#[tokio::test]
async fn the_socket_file() {
    let place = Place::new();
    let path = place.path("hac.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = Server::bind(&path, &[]).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(Server::bind(&path, &[]).is_err());
    drop(server);
    assert!(!path.exists());
    std::fs::write(&path, "not a socket").unwrap();
    assert!(Server::bind(&path, &[]).is_err());
}

/// A peer whose uid is not allowed gets nothing, even where the file's mode would let it in.
/// Taking another uid needs root, as which the tests of this project run.
#[tokio::test]
async fn other_users_are_refused() {
    const NOBODY: &str = "65534";
    let place = Place::new();
    let directory = place.serve(realm());
    issue(&directory, "mn1@example.net").await;
    let all = |path: &PathBuf, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    all(&place.folder.path().to_owned(), 0o755);
    let connect = move |socket: PathBuf| {
        all(&socket, 0o666);
        let script = "import socket,sys\n\
                      s=socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])\n\
                      s.sendall(bytes.fromhex(sys.argv[2])); print(len(s.recv(9999)))";
        let watch = encode_request(&Request::Watch { home_agent: "ha1".into() }).unwrap();
        let watch: String = watch.iter().map(|octet| format!("{octet:02x}")).collect();
        Command::new("setpriv")
            .args([
                "--reuid",
                NOBODY,
                "--regid",
                NOBODY,
                "--clear-groups",
                "/usr/bin/python3",
                "-c",
                script,
            ])
            .arg(socket)
            .arg(watch)
            .output()
            .unwrap()
    };
    let socket = place.path("hac.sock");
    let output = blocking(move || connect(socket)).await;
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // Closed at once: nothing can be read, or the request can't be written.
    let broken = String::from_utf8_lossy(&output.stderr).contains("BrokenPipeError")
        || String::from_utf8_lossy(&output.stderr).contains("ConnectionResetError");
    assert!(printed == "0" || broken, "{output:?}");

    let server = Server::bind(&place.path("open.sock"), &[NOBODY.parse().unwrap()]).unwrap();
    tokio::spawn(async move { server.serve(directory).await });
    let socket = place.path("open.sock");
    let output = blocking(move || connect(socket)).await;
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(printed.parse::<usize>().is_ok_and(|octets| octets > 80), "{output:?}");
}
