//! What strangers can do to a HAC: connect, say nothing, shake hands, guess. And what good mobile
//! nodes notice of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod peer;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use hearth_hac::counters::Counter;
use hearth_wire::MobileNodeId;
use hearth_wire::hac::{AuthMethod, Message};
use peer::{Client, ECDSA, NAME, RSA, Running, connector, identity, yaml};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Connects from this address of the loopback.
async fn connect_from(source: &str, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(server).await.unwrap()
}

/// Whether the HAC has closed it; it says nothing by itself otherwise.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut octet = [0; 1];
    let read = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut octet));
    read.await.is_ok_and(|read| read.unwrap_or(0) == 0)
}

/// HAC-39: many addresses of one site are still one site.
#[tokio::test(flavor = "multi_thread")]
async fn hac_39_connections_of_a_site_are_limited() {
    let running = Running::plain("limits: {connections_per_source: 4, connections_per_site: 6}");
    let mut held = Vec::new();
    for (host, refused) in [(2, [false; 4]), (3, [false, false, true, true]), (4, [true; 4])] {
        for refused in refused {
            let mut stream = connect_from(&format!("127.0.0.{host}"), running.address()).await;
            if refused {
                assert!(is_closed(&mut stream).await, "127.0.0.{host}");
            } else {
                held.push(stream);
            }
        }
    }
    assert_eq!(running.hac.counters().get(Counter::ConnectionsRefused), 6);
    let connector = connector(&[running.path("hac.pem")]);
    let stream = connect_from("127.0.1.1", running.address()).await;
    assert_eq!(Client::over(&connector, stream).await.unwrap().bootstrap().await, 200);
    drop(held);
}

/// HAC-39: who shakes hands too often is closed before it costs anything; others are not.
#[tokio::test(flavor = "multi_thread")]
async fn hac_39_handshakes_a_second_are_limited() {
    let running = Running::plain("limits: {handshakes_per_source: 5}");
    let mut flood = Vec::new();
    for _ in 0..50 {
        flood.push(connect_from("127.0.0.2", running.address()).await);
    }
    let connector = connector(&[running.path("hac.pem")]);
    let stream = connect_from("127.0.1.1", running.address()).await;
    assert_eq!(Client::over(&connector, stream).await.unwrap().bootstrap().await, 200);
    let refused = running.hac.counters().get(Counter::HandshakesRefused);
    // Ten at once, and some more if this machine is slow.
    assert!((20..=40).contains(&refused), "{refused}");

    let running = Running::plain("limits: {handshakes_per_second: 5}");
    for _ in 0..5 {
        for net in 1..=10 {
            flood.push(connect_from(&format!("127.0.{net}.2"), running.address()).await);
        }
    }
    assert!(is_closed(flood.last_mut().unwrap()).await);
    let refused = running.hac.counters().get(Counter::HandshakesRefused);
    assert!((20..=40).contains(&refused), "{refused}");
}

/// HAC-22, HAC-39: who guesses waits, whether the mn-id exists or not; who knows the key does not.
#[tokio::test(flavor = "multi_thread")]
async fn failures_are_answered_later_and_later() {
    let running = Running::plain("");
    let connector = connector(&[running.path("hac.pem")]);
    let guess = |mn_id: &'static str| {
        let (connector, address) = (connector.clone(), running.address());
        async move {
            let mut delays = Vec::new();
            for _ in 0..7 {
                let mut client = Client::connect(&connector, address).await;
                let begin = Instant::now();
                let response = client.bootstrap_as(mn_id, &[0xff; 16]).await;
                assert_eq!(response.status.unwrap().code(), 401);
                delays.push(begin.elapsed());
            }
            delays
        }
    };
    let known = tokio::spawn(guess("mn1@example.net"));
    let unknown = tokio::spawn(guess("nobody@example.net"));
    let mut quickest = Duration::MAX;
    while !known.is_finished() {
        let mut client = Client::connect(&connector, running.address()).await;
        let begin = Instant::now();
        assert_eq!(client.bootstrap().await, 200);
        quickest = quickest.min(begin.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for delays in [known.await.unwrap(), unknown.await.unwrap()] {
        for (delay, least) in delays.iter().zip([0, 0, 0, 125, 250, 500, 1000]) {
            assert!(*delay >= Duration::from_millis(least), "{delays:?}");
        }
        assert!(delays[0] < Duration::from_millis(1000), "{delays:?}");
    }
    assert!(quickest < Duration::from_millis(1000), "{quickest:?}");
    assert_eq!(running.hac.counters().get(Counter::Delayed), 8);
    assert_eq!(running.hac.counters().get(Counter::Unauthorized), 14);
}

/// HAC-22, R-8: who goes away after the challenge, as a mobile node does that sees another key in it, is
/// counted and named in the log: whether its mn-id exists or not, it reads the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_after_the_challenge_is_counted_and_named() {
    let mut daemon = Daemon::start("");
    let log = daemon.log.take().unwrap();
    let connector = connector(&[daemon.certificate()]);
    for mn_id in ["mn1@example.net", "nobody@example.net"] {
        let mut client = Client::connect(&connector, daemon.address).await;
        let init = Message {
            mn_id: MobileNodeId::new(mn_id).ok(),
            mn_rand: Some([9; 32]),
            auth_methods: vec![AuthMethod::Psk],
            ..Message::default()
        };
        client.send(1, &init.encode_unsigned()).await;
        assert!(client.response().await.status.is_none());
    }
    let read = move || {
        let lines = log.lines().map(Result::unwrap);
        let mut left: Vec<_> = lines.filter(|line| line.contains("left after")).take(2).collect();
        left.sort();
        left
    };
    let left = tokio::time::timeout(Duration::from_secs(20), tokio::task::spawn_blocking(read));
    let left = left.await.expect("two lines").unwrap();
    let behind = |line: &str| {
        let (_, words) = line.split_once("left after").unwrap();
        let words: Vec<_> = words.split(' ').filter(|word| !word.contains("peer")).collect();
        words.join(" ")
    };
    let (known, unknown) = (&left[0], &left[1]);
    assert!(known.contains("mn1@example.net"), "{known}");
    assert_eq!(behind(&unknown.replace("nobody@", "mn1@")), behind(known));
}

/// The answer to a failure leaves before the session ends, however short that is.
#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_answer_comes_before_the_session_ends() {
    let running = Running::plain("limits: {session_timeout: 1}");
    let connector = connector(&[running.path("hac.pem")]);
    for _ in 0..8 {
        let mut client = Client::connect(&connector, running.address()).await;
        let response = client.bootstrap_as("mn1@example.net", &[0xff; 16]).await;
        assert_eq!(response.status.unwrap().code(), 401);
    }
}

/// HAC-39: an open session is answered while hundreds of handshakes still wait for their signatures.
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_do_not_hold_up_open_sessions() {
    const HELLOS: usize = 400;
    let folder = tempfile::tempdir().unwrap();
    identity(folder.path(), "hac", NAME, &RSA.replace("2048", "4096"));
    let limits = "limits: {connections_per_source: 1000, connections_per_site: 1000, \
                  handshakes_per_source: 10000}";
    let running = Running::start(folder, "certificate: hac.pem, key: hac.key", limits);
    let connector = connector(&[running.path("hac.pem")]);
    let mut open = Client::connect(&connector, running.address()).await;
    let mut hello = Vec::new();
    let name = ServerName::try_from(NAME).unwrap();
    let mut client = rustls::ClientConnection::new(connector.config().clone(), name).unwrap();
    client.write_tls(&mut hello).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..HELLOS {
        waiting.push(TcpStream::connect(running.address()).await.unwrap());
    }
    for stream in &mut waiting {
        stream.write_all(&hello).await.unwrap();
    }
    assert_eq!(open.bootstrap().await, 200);
    let answered = waiting.iter().filter(|stream| stream.try_read(&mut [0; 1]).is_ok()).count();
    assert!(answered < HELLOS * 3 / 4, "{answered} of {HELLOS} were served first");
}

/// A `hearth-hac` process of its own.
struct Daemon {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
    log: Option<BufReader<ChildStderr>>,
}

impl Daemon {
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        identity(folder.path(), "hac", NAME, ECDSA);
        let text = yaml("certificate: hac.pem, key: hac.key", more);
        fs::write(folder.path().join("hac.yaml"), text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_hearth-hac"))
            .current_dir(&folder)
            .args(["--config", "hac.yaml"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut ready = String::new();
        while !ready.contains("listen=") {
            ready.clear();
            assert_ne!(log.read_line(&mut ready).unwrap(), 0, "it has ended");
        }
        let (_, port) = ready.split_once("127.0.0.1:").unwrap();
        let port: u16 = port.split([']', ',']).next().unwrap().parse().unwrap();
        Self { child, address: ([127, 0, 0, 1], port).into(), folder, log: Some(log) }
    }

    /// Reads its log, and throws it away.
    fn without_log(mut self) -> Self {
        let log = self.log.take();
        std::thread::spawn(move || log.map(|mut log| log.read_to_end(&mut Vec::new())));
        self
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("hac.pem")
    }

    /// Octets of memory that are resident.
    fn resident(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// As many descriptors as ten thousand connections take, here and in the daemon.
fn raise_limit() {
    let files = getrlimit(Resource::Nofile);
    let maximum = files.maximum.map(|maximum| maximum.max(16_384));
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .expect("ten thousand descriptors: raise the hard limit, or run as root");
}

/// Shakes hands as often as asked, many at a time, and keeps nothing but the sockets.
async fn establish(connector: &TlsConnector, server: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut tasks = JoinSet::new();
    for part in 0..32 {
        let connector = connector.clone();
        let count = count / 32 + usize::from(part < count % 32);
        tasks.spawn(async move {
            let mut streams = Vec::new();
            for _ in 0..count {
                let mut client = Client::connect(&connector, server).await;
                // A request that never ends.
                client.stream.write_all(&[0, 1, 2, 0, b'x']).await.unwrap();
                client.stream.flush().await.unwrap();
                streams.push(client.stream.into_inner().0);
            }
            streams
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// HAC-39: ten thousand connections that say nothing, stop in their hello or in their first request
/// take less than 64 KiB each, and good mobile nodes are served beside them.
#[tokio::test(flavor = "multi_thread")]
async fn hac_39_ten_thousand_idle_connections() {
    const ALL: usize = 10_000;
    const ESTABLISHED: usize = 2000;
    raise_limit();
    let limits = "limits: {connections: 20000, connections_per_source: 20000, \
                  connections_per_site: 20000, handshakes_per_source: 100000, \
                  handshake_timeout: 300, request_timeout: 300, session_timeout: 300}";
    let crowded = Daemon::start(limits).without_log();
    let (connector, address) = (&connector(&[crowded.certificate()]), crowded.address);
    assert_eq!(Client::connect(connector, address).await.bootstrap().await, 200);
    let begin = crowded.resident();
    let established = establish(connector, address, ESTABLISHED).await;
    let each = crowded.resident().saturating_sub(begin) / ESTABLISHED;
    assert!(each < 64 << 10, "{each} octets for a connection that is established");
    let mut silent = Vec::new();
    for number in 0..ALL - ESTABLISHED {
        let mut stream = TcpStream::connect(crowded.address).await.unwrap();
        if number % 2 == 0 {
            // The beginning of a ClientHello.
            stream.write_all(&[22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3]).await.unwrap();
        }
        silent.push(stream);
    }
    // How long that takes beside them is hearth-perf's to measure.
    for _ in 0..50 {
        assert_eq!(Client::connect(connector, address).await.bootstrap().await, 200);
    }
    let each = crowded.resident().saturating_sub(begin) / ALL;
    assert!(each < 64 << 10, "{each} octets for each of {ALL} connections");
    drop((established, silent));
}
