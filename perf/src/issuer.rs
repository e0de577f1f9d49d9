//! The SA directory of a Home Agent Controller in this process: its store on disk, its sockets for
//! home agents, and SAs that are issued at a rate.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_hac::config::Config;
use hearth_hac::daemon::system_clock;
use hearth_hac::directory::remote::Remote;
use hearth_hac::directory::server::Server;
use hearth_hac::directory::{Directory, IssueRequest, Store};
use hearth_hac::live::Live;
use hearth_wire::{MobileNodeId, Scope};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::controller::{self, Key, NAME, file, part};
use crate::fault::Fault;
use crate::frames::{Direction, HOME_AGENT, SPI_BASE, Station};
use crate::keys::direction_keys;

/// The home agent's name: that of [`crate::home_agent`], and in its certificate.
const HOME_AGENT_NAME: &str = "perf";
const WHAT: &str = "the SA directory";
/// Validity of SAs.
const DAY: u64 = 86_400;

/// How a home agent comes to the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// On the same machine.
    Socket,
    /// From another one, by mutual TLS.
    Tls,
}

impl Channel {
    pub(crate) const BOTH: [Self; 2] = [Self::Socket, Self::Tls];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Socket => "Unix socket",
            Self::Tls => "mutual TLS",
        }
    }
}

/// When an SA was asked for, and when whoever asked was told that it is issued: the moment in which
/// its mobile node would hear of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Issued {
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
}

/// A directory that home agents can watch.
pub(crate) struct Issuer {
    folder: TempDir,
    directory: Arc<Directory>,
    /// Where home agents come by TLS.
    port: u16,
    /// Serves them until it is dropped.
    runtime: Option<Runtime>,
}

impl Issuer {
    /// Opens a store with these mobile nodes for subscribers.
    pub(crate) fn start(stations: &[Station]) -> Result<Self, Fault> {
        // The store on a real disk, as it will be.
        let folder =
            tempfile::tempdir_in("target").or_else(|_| tempfile::tempdir()).map_err(file)?;
        controller::identity(folder.path(), Key::Ecdsa)?;
        authority(folder.path())?;
        let path = folder.path().join("hac.yaml");
        std::fs::write(&path, yaml(stations)).map_err(file)?;
        let config = Config::load(&path, system_clock()()).map_err(part(WHAT))?;
        let (places, realm) = (config.directory, config.realm);
        let store = Store::open(&places.store, realm.clone(), system_clock()());
        let directory = Directory::start(store.map_err(part(WHAT))?, system_clock());
        let directory = Arc::new(directory.map_err(|_| Fault::Thread)?);
        let runtime = controller::runtime("hac", 2)?;
        let port = runtime.block_on(async {
            let server = Server::bind(&places.socket, &[]).map_err(file)?;
            let remote = places.remote.ok_or(Fault::Part(WHAT))?;
            let address = remote.listen.first().copied().ok_or(Fault::Part(WHAT))?;
            let remote =
                Remote::bind(address, Arc::new(Live::new(remote.tls)), realm).map_err(file)?;
            let port = remote.address().map_err(file)?.port();
            let (near, far) = (Arc::clone(&directory), Arc::clone(&directory));
            tokio::spawn(async move { server.serve(near).await });
            tokio::spawn(async move { remote.serve(far).await });
            Ok::<_, Fault>(port)
        })?;
        Ok(Self { folder, directory, port, runtime: Some(runtime) })
    }

    /// What hearthd's YAML says under `sa_directory`.
    pub(crate) fn yaml(&self, channel: Channel) -> String {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        match channel {
            Channel::Socket => format!("{{socket: {}}}", path("hac.sock")),
            Channel::Tls => format!(
                "{{address: '127.0.0.1:{}', name: {NAME}, ca: {}, certificate: {}, key: {}}}",
                self.port,
                path("ca.pem"),
                path("ha.pem"),
                path("ha.key"),
            ),
        }
    }

    /// Issues an SA for each of these, one every `gap`, whether the last one is issued or not; the
    /// SPIs are those that the stations have. To be called by a thread that has nothing else to do.
    pub(crate) fn issue(&self, stations: &[Station], gap: Duration) -> Result<Vec<Issued>, Fault> {
        // One thread, so that they are asked for in this order.
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|_| Fault::Thread)?;
        let end = system_clock()() + DAY;
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            let mut clock = interval(gap);
            clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for (place, station) in stations.iter().copied().enumerate() {
                let request = request(&station, end)?;
                let directory = Arc::clone(&self.directory);
                clock.tick().await;
                tasks.spawn(async move {
                    let asked = Instant::now();
                    let record = directory.issue(request).await;
                    let issued = Issued { asked, answered: Instant::now() };
                    match record {
                        Ok(record) if record.spi == station.spi => Ok((place, issued)),
                        _ => Err(Fault::Part("an SA")),
                    }
                });
            }
            let mut all = Vec::with_capacity(stations.len());
            while let Some(issued) = tasks.join_next().await {
                all.push(issued.map_err(|_| Fault::Thread)??);
            }
            all.sort_by_key(|(place, _)| *place);
            Ok(all.into_iter().map(|(_, issued)| issued).collect())
        })
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

fn mn_id(station: &Station) -> String {
    format!("mn{}@perf.example", station.number())
}

fn request(station: &Station, validity_end: u64) -> Result<IssueRequest, Fault> {
    Ok(IssueRequest {
        mn_id: MobileNodeId::new(&mn_id(station)).map_err(part(WHAT))?,
        suite: station.suite,
        scope: Scope::SignallingAndData,
        mn_to_ha: direction_keys(station, Direction::Uplink)?,
        ha_to_mn: direction_keys(station, Direction::Downlink)?,
        validity_end,
        grant: None,
        account: None,
    })
}

fn yaml(stations: &[Station]) -> String {
    use core::fmt::Write as _;
    let last = SPI_BASE + (1 << 20);
    let mut text = format!(
        "\
listen: ['127.0.0.1:0']
tls: {{certificate: hac.pem, key: hac.key}}
directory: {{store: hac.redb, socket: hac.sock, listen: ['127.0.0.1:0'], certificate: directory.pem, \
key: directory.key, ca: ca.pem}}
home_agents:
  - {{name: {HOME_AGENT_NAME}, ip6: '{HOME_AGENT}', spi_range: [{SPI_BASE}, {last}], \
home_prefix_ip6: '2001:db8:f::/64'}}
subscribers:
"
    );
    let psk = "5a".repeat(32);
    for station in stations {
        let (mn_id, home) = (mn_id(station), station.home);
        let _ = writeln!(
            text,
            "  - {{mn_id: '{mn_id}', psk: {{hex: '{psk}'}}, home_address_ip6: '{home}'}}"
        );
    }
    text
}

/// Makes an authority in `folder`, and what it certifies: the directory and the home agent.
fn authority(folder: &Path) -> Result<(), Fault> {
    let ca = "basicConstraints=critical,CA:TRUE";
    openssl(folder, &["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-addext", ca])?;
    for (file, name) in [("directory", NAME), ("ha", HOME_AGENT_NAME)] {
        let (key, pem) = (format!("{file}.key"), format!("{file}.pem"));
        let (subject, names) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
        let signed = ["-CA", "ca.pem", "-CAkey", "ca.key"];
        let of = ["-keyout", &key, "-out", &pem, "-subj", &subject, "-addext", &names];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
        openssl(folder, &[&signed[..], &of, &leaf].concat())?;
    }
    Ok(())
}

fn openssl(folder: &Path, what: &[&str]) -> Result<(), Fault> {
    let status = Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-x509", "-nodes", "-sha256", "-days", "2", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(what)
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Fault::Program),
    }
}
