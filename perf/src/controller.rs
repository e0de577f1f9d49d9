//! A Home Agent Controller in this process, a bare TLS server beside it, and mobile nodes that
//! connect to either over the loopback.

use core::net::SocketAddr;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hearth_hac::cert::ChannelBinding;
use hearth_hac::config::Config;
use hearth_hac::counters::Counter;
use hearth_hac::daemon::{Hac, system_clock};
use hearth_wire::directory::{Request, encode_request};
use hearth_wire::hac::{AuthMethod, Message, Side, StatusCode, container, message};
use hearth_wire::{MobileNodeId, Scope, Suite};
use rustix::thread::CpuSet;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::fault::Fault;

/// Subscribers, so that no mobile node has more SAs than one can have.
pub(crate) const SUBSCRIBERS: usize = 1000;
pub(crate) const NAME: &str = "hac.example.net";
const PSK: [u8; 32] = [0x5a; 32];

/// What the certificate is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Ecdsa,
    Rsa,
}

impl Key {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ECDSA P-256",
            Self::Rsa => "RSA-2048",
        }
    }

    const fn options(self) -> &'static str {
        match self {
            Self::Ecdsa => "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1",
            Self::Rsa => "-newkey rsa:2048",
        }
    }
}

pub(crate) fn part<E>(what: &'static str) -> impl FnOnce(E) -> Fault {
    move |_| Fault::Part(what)
}

pub(crate) fn file(error: std::io::Error) -> Fault {
    Fault::File(error.kind())
}

/// Makes a self-signed server certificate in `folder`.
pub(crate) fn identity(folder: &Path, key: Key) -> Result<(), Fault> {
    let status = Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-x509", "-nodes", "-sha256", "-keyout", "hac.key", "-out", "hac.pem"])
        .args(["-days", "2", "-subj", "/CN=hac", "-addext", &format!("subjectAltName=DNS:{NAME}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(key.options().split(' '))
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Fault::Program),
    }
}

fn yaml() -> String {
    use core::fmt::Write as _;
    let mut text = "\
listen: ['127.0.0.1:0']
tls: {certificate: hac.pem, key: hac.key}
directory: {store: hac.redb, socket: hac.sock}
home_agents:
  - {name: ha1, ip6: '2001:db8::1', spi_range: [1, 1048576], home_prefix_ip6: '2001:db8:1::/64'}
limits: {connections: 100000, connections_per_source: 100000, connections_per_site: 100000, \
handshakes_per_source: 1000000, handshake_timeout: 600, request_timeout: 600, session_timeout: 600}
subscribers:
"
    .to_owned();
    let psk: String = PSK.iter().map(|octet| format!("{octet:02x}")).collect();
    for number in 0..SUBSCRIBERS {
        let _ = writeln!(
            text,
            "  - {{mn_id: mn{number}@example.net, psk: {{hex: '{psk}'}}, \
             home_address_ip6: '2001:db8:1::1:{number:x}'}}"
        );
    }
    text
}

/// A runtime whose threads carry this name and may run everywhere.
pub(crate) fn runtime(name: &str, threads: usize) -> Result<Runtime, Fault> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        // The time of a thread that has ended can't be read any more.
        .thread_keep_alive(Duration::from_secs(86_400))
        .enable_all()
        .build()
        .map_err(|_| Fault::Thread)
}

/// Lets the calling thread, and those that it starts, run on any of these cores.
pub(crate) fn roam(cores: &[usize]) {
    let mut all = CpuSet::new();
    for &core in cores {
        all.set(core);
    }
    let _ = rustix::thread::sched_setaffinity(None, &all);
}

/// Processor time that threads whose names begin so have taken; zero where the kernel does not say.
pub(crate) fn time_of(names: &[&str]) -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let taken = threads.filter_map(|thread| {
        let name = std::fs::read_to_string(thread.path().join("comm")).ok()?;
        names.iter().any(|wanted| name.starts_with(wanted)).then_some(())?;
        let times = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        times.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(taken.sum())
}

/// The home agent that mobile nodes are sent to: it watches the directory until that closes.
fn home_agent(socket: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    let watch = encode_request(&Request::Watch { home_agent: "ha1".into() });
    stream.write_all(&watch.unwrap_or_default())?;
    let reads = move || while matches!(stream.read(&mut [0; 1 << 16]), Ok(1..)) {};
    std::thread::Builder::new().name("home-agent".into()).spawn(reads).map(drop)
}

/// A running HAC.
pub(crate) struct Controller {
    runtime: Option<Runtime>,
    hac: Option<Hac>,
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
}

impl Controller {
    /// Names of the threads that work for it.
    pub(crate) const THREADS: [&str; 2] = ["hac", "directory"];

    pub(crate) fn start(key: Key) -> Result<Self, Fault> {
        // The store on a real disk, as it will be.
        let folder =
            tempfile::tempdir_in("target").or_else(|_| tempfile::tempdir()).map_err(file)?;
        identity(folder.path(), key)?;
        let path = folder.path().join("hac.yaml");
        std::fs::write(&path, yaml()).map_err(file)?;
        let config = Config::load(&path, system_clock()()).map_err(part("the controller"))?;
        let runtime = runtime("hac", threads())?;
        let started = runtime.block_on(async {
            tokio::spawn(async move { Hac::start(config, system_clock()) }).await
        });
        let hac = started.map_err(|_| Fault::Thread)?.map_err(part("the controller"))?;
        let address = hac.addresses().first().copied().ok_or(Fault::Part("the controller"))?;
        home_agent(&folder.path().join("hac.sock")).map_err(file)?;
        Ok(Self { runtime: Some(runtime), hac: Some(hac), folder, address })
    }

    /// SAs that it has issued.
    pub(crate) fn issued(&self) -> u64 {
        self.hac.as_ref().map_or(0, |hac| hac.counters().get(Counter::Issued))
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let (Some(runtime), Some(hac)) = (self.runtime.take(), self.hac.take()) {
            runtime.block_on(hac.stop());
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, core::num::NonZero::get)
}

/// A server that shakes hands and closes.
pub(crate) struct Bare {
    runtime: Option<Runtime>,
    pub(crate) address: SocketAddr,
}

impl Bare {
    /// Names of the threads that work for it.
    pub(crate) const THREADS: [&str; 1] = ["bare"];

    /// With the certificate in `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Self, Fault> {
        let certificate = CertificateDer::from_pem_file(folder.join("hac.pem"));
        let key = PrivateKeyDer::from_pem_file(folder.join("hac.key"));
        let (Ok(certificate), Ok(key)) = (certificate, key) else {
            return Err(Fault::Part("a certificate"));
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(part("the TLS server"))?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(part("the TLS server"))?;
        // As the controller has them: tickets without a state, one to a client.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(part("the TLS server"))?;
        config.send_tls13_tickets = 1;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = runtime("bare", threads())?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).map_err(file)?;
        let address = listener.local_addr().map_err(file)?;
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        let _ = stream.shutdown().await;
                        // As the controller: until the client has closed, too.
                        let _ = stream.get_mut().0.read(&mut [0; 64]).await;
                    }
                });
            }
        });
        Ok(Self { runtime: Some(runtime), address })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// Mobile nodes.
pub(crate) struct Nodes {
    runtime: Runtime,
    node: Node,
}

/// What each of them knows.
#[derive(Clone)]
struct Node {
    connector: TlsConnector,
    binding: ChannelBinding,
}

/// What mobile nodes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Shake hands and wait for the close.
    Handshake,
    /// Bootstrap: MHAuth with a pre-shared key, and an SA in the end.
    Bootstrap,
}

impl Nodes {
    /// Mobile nodes that trust the certificate in `folder`. They never resume a session.
    pub(crate) fn new(folder: &Path) -> Result<Self, Fault> {
        let wrong = "the mobile nodes";
        let certificate =
            CertificateDer::from_pem_file(folder.join("hac.pem")).map_err(part(wrong))?;
        let binding = ChannelBinding::of_certificate(&certificate).map_err(part(wrong))?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).map_err(part(wrong))?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(part(wrong))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        let node = Node { connector: TlsConnector::from(Arc::new(config)), binding };
        Ok(Self { runtime: runtime("mobile", threads())?, node })
    }

    /// Does this `count` times, `at_once` at a time; the first is mobile node number `first`.
    pub(crate) fn run(
        &self,
        deed: Deed,
        server: SocketAddr,
        first: usize,
        count: usize,
        at_once: usize,
    ) -> Result<(), Fault> {
        let tasks: Vec<_> = (0..at_once)
            .map(|lane| {
                let node = self.node.clone();
                self.runtime.spawn(async move {
                    for number in (lane..count).step_by(at_once) {
                        node.act(deed, server, first + number).await?;
                    }
                    Ok::<_, Fault>(())
                })
            })
            .collect();
        self.runtime.block_on(async {
            for task in tasks {
                task.await.map_err(|_| Fault::Thread)??;
            }
            Ok(())
        })
    }

    /// Shakes hands `count` times and keeps nothing but the sockets.
    pub(crate) fn establish(
        &self,
        server: SocketAddr,
        count: usize,
    ) -> Result<Vec<TcpStream>, Fault> {
        const LANES: usize = 32;
        let tasks: Vec<_> = (0..LANES)
            .map(|lane| {
                let node = self.node.clone();
                self.runtime.spawn(async move {
                    let mut streams = Vec::new();
                    for _ in (lane..count).step_by(LANES) {
                        streams.push(node.connect(server).await?.into_inner().0);
                    }
                    Ok::<_, Fault>(streams)
                })
            })
            .collect();
        self.runtime.block_on(async {
            let mut streams = Vec::new();
            for task in tasks {
                streams.extend(task.await.map_err(|_| Fault::Thread)??);
            }
            Ok(streams)
        })
    }
}

impl Node {
    async fn connect(&self, server: SocketAddr) -> Result<TlsStream<TcpStream>, Fault> {
        let stream = TcpStream::connect(server).await.map_err(file)?;
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(NAME).map_err(part("the mobile nodes"))?;
        self.connector.connect(name, stream).await.map_err(file)
    }

    async fn act(&self, deed: Deed, server: SocketAddr, number: usize) -> Result<(), Fault> {
        let mut stream = self.connect(server).await?;
        if deed == Deed::Bootstrap {
            self.bootstrap(&mut stream, number % SUBSCRIBERS).await?;
        }
        match stream.read(&mut [0; 64]).await {
            Ok(0) => Ok(()),
            _ => Err(Fault::Part("the end of a session")),
        }
    }

    async fn bootstrap(
        &self,
        stream: &mut TlsStream<TcpStream>,
        number: usize,
    ) -> Result<(), Fault> {
        let init = Message {
            mn_id: MobileNodeId::new(&format!("mn{number}@example.net")).ok(),
            mn_rand: Some([9; 32]),
            auth_methods: vec![AuthMethod::Psk],
            ..Message::default()
        };
        let challenge = exchange(stream, 1, &init.encode_unsigned()).await?;
        let done = Message {
            mn_rand: Some([9; 32]),
            hac_rand: challenge.hac_rand,
            scope: Some(Scope::SignallingAndData),
            suite_list: Some(vec![Suite::Aes128CbcSha]),
            ..Message::default()
        };
        let done = done.encode_signed(Side::Mn, &PSK, self.binding.octets());
        let response = exchange(stream, 2, &done).await?;
        match response.status {
            Some(StatusCode::Ok) => Ok(()),
            _ => Err(Fault::Part("a bootstrap")),
        }
    }
}

async fn exchange(
    stream: &mut TlsStream<TcpStream>,
    identifier: u8,
    content: &[u8],
) -> Result<Message, Fault> {
    let request = container::encode(identifier, content).ok_or(Fault::Room)?;
    stream.write_all(&request).await.map_err(file)?;
    stream.flush().await.map_err(file)?;
    let mut buffer = Vec::new();
    loop {
        if let Ok(Some((response, _))) = container::decode(&buffer) {
            let parsed = message::parse(response.content).map_err(part("a response"))?;
            return Ok(parsed.message);
        }
        if stream.read_buf(&mut buffer).await.map_err(file)? == 0 {
            return Err(Fault::Part("a response"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_servers_do_what_is_asked_and_their_time_is_counted() {
        let controller = Controller::start(Key::Ecdsa).unwrap();
        let bare = Bare::start(controller.folder.path()).unwrap();
        let nodes = Nodes::new(controller.folder.path()).unwrap();
        let times = || [time_of(&Controller::THREADS), time_of(&Bare::THREADS)];
        let before = times();
        nodes.run(Deed::Bootstrap, controller.address, 0, 20, 4).unwrap();
        nodes.run(Deed::Handshake, bare.address, 0, 20, 4).unwrap();
        for (after, before) in times().into_iter().zip(before) {
            assert!(after > before);
        }
        assert_eq!(controller.issued(), 20);
        // A bare server answers nothing.
        assert!(nodes.run(Deed::Bootstrap, bare.address, 0, 1, 1).is_err());
        assert_eq!(nodes.establish(controller.address, 40).unwrap().len(), 40);
        assert_eq!(controller.issued(), 20);
    }
}
