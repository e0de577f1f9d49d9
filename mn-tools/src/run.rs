//! The running node: sockets, threads and timers around the state machine of [`crate::registration`].

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{IpAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::association::SecurityAssociation;
use crate::bootstrap::Grant;
use crate::care_of_addresses::{CareOfAddresses, Way};
use crate::claim::ClaimError;
use crate::clock::Sleep;
use crate::config::Config;
use crate::control::{Control, ControlError, Monitors, Request};
use crate::hac_client::{Failure, HacClient, unix_now};
use crate::lan::Lan;
use crate::netlink::{Change, Netlink};
use crate::network::{Gaps, HomeAgent, Search, paths};
use crate::notify::ServiceManager;
use crate::path::Path;
use crate::place::Place;
use crate::repair::Notes;
use crate::route_optimisation::RouteOptimisation;
use crate::show;
use crate::status::{AssociationInfo, Status};
use crate::tun::{CreateError, Harm, Layout, Tun};
use crate::tunnel::{self, IvSource, Tunnel, Worker};

mod actions;
mod home;
mod host;
mod mobility;
mod optimise;
mod probe;
mod report;
mod watch;

use home::Stay;
use host::DnsSetter;
use optimise::Outside;
use watch::{watch_clock, watch_network, watch_signals};

/// Changes of the network come in flocks: link, address, route.
const SETTLE: Duration = Duration::from_millis(10);
/// The counters in the status file are at most this old.
const COUNTERS_EVERY: Duration = Duration::from_secs(1);
/// Octets that a socket may hold while its thread is busy.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Why the node can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another node has the routing table.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The TUN device.
    #[error("the TUN device {name} can't be made: {error}{}", busy(error))]
    Tun {
        /// Its name.
        name: String,
        /// As the kernel says.
        error: io::Error,
    },
    /// Something else of the operating system's.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// As the kernel says.
        error: io::Error,
    },
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// TLS.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Route optimisation, where it is wanted.
fn optimisation(config: &Config) -> Result<Option<RouteOptimisation>, getrandom::Error> {
    if config.correspondents.is_empty() {
        return Ok(None);
    }
    Ok(Some(RouteOptimisation::new(config.correspondents.clone(), IvSource::new()?)))
}

/// What to do about a device that another program has.
fn busy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ResourceBusy => {
            "; another program has it: end that, or give this node a `tun` of its own"
        }
        io::ErrorKind::PermissionDenied => "; it takes root, or CAP_NET_ADMIN",
        io::ErrorKind::NotFound => {
            "; there is no /dev/net/tun: modprobe tun; a container has to be given it"
        }
        _ => "",
    }
}

impl StartError {
    /// Whether the user may not do this at all.
    #[must_use]
    pub fn is_not_permitted(&self) -> bool {
        match self {
            Self::Tun { error, .. }
            | Self::System { error, .. }
            | Self::Control(ControlError::System { error, .. }) => {
                error.kind() == io::ErrorKind::PermissionDenied
            }
            _ => false,
        }
    }

    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { what, error }
    }
}

enum Event {
    Network(Vec<Change>),
    Tunnel(tunnel::Event),
    Bootstrapped(Result<(Grant, IpAddr), Failure>, Duration),
    Control(Request),
    /// The clock was set, or the machine slept.
    Clock,
    /// The host's DNS servers are set, or can't be.
    Dns(Result<Vec<IpAddr>, String>),
    Stop,
}

/// An SA and what belongs to it.
struct Held {
    sa: Arc<SecurityAssociation>,
    home_agent: HomeAgent,
    hac: IpAddr,
    dns: Vec<IpAddr>,
    issued: u64,
    validity_end: u64,
}

impl Held {
    fn info(&self) -> AssociationInfo {
        AssociationInfo {
            spi: self.sa.spi.get(),
            suite: self.sa.suite(),
            scope: self.sa.scope,
            issued: self.issued,
            validity_end: self.validity_end,
        }
    }
}

/// An open path. The thread ends before the socket closes.
struct OpenPath {
    socket: Arc<UdpSocket>,
    downlink: Worker,
}

struct Node {
    config: Arc<Config>,
    hac: Arc<HacClient>,
    events: Sender<Event>,
    registration: CareOfAddresses,
    tunnel: Arc<Tunnel>,
    netlink: Netlink,
    gaps: Gaps,
    ivs: IvSource,
    held: Vec<Held>,
    open: HashMap<Path, OpenPath>,
    ways: Vec<Way>,
    /// Whether the home agent bound the IPv4 home address.
    home4_bound: bool,
    rescan_at: Option<Instant>,
    stops: u32,
    paths_known: bool,
    status: Status,
    status_written: Instant,
    manager: ServiceManager,
    monitors: Monitors,
    /// Who waits until everything is put back.
    leaving: Vec<UnixStream>,
    sleep: Sleep,
    dns: DnsSetter,
    /// On the home link.
    stay: Option<Stay>,
    lan: Lan,
    optimisation: Option<RouteOptimisation>,
    /// Until when correspondents may say that they forget this node, which ends.
    farewell: Option<Instant>,
    outside: Option<Outside>,
    // Last, so that the threads are gone when the device goes.
    uplinks: Vec<Worker>,
    tun: Tun,
}

/// Runs until SIGTERM, SIGINT or `hearth-mn down`, then de-registers and cleans up. `started` is
/// called once nothing can keep it from running any more.
///
/// # Errors
/// What keeps the node from starting. Later troubles are logged and retried.
pub fn run(config: Config, place: &Place, started: impl FnOnce()) -> Result<(), StartError> {
    let (sender, receiver) = channel();
    watch_signals(sender.clone()).map_err(StartError::system("signals"))?;
    let requests = sender.clone();
    let control = Control::listen(place, move |it| requests.send(Event::Control(it)).is_ok())?;
    host::repair(place, config.table);
    let mut node = Node::new(Arc::new(config), place, sender.clone())?;
    watch_network(sender.clone()).map_err(StartError::system("netlink"))?;
    watch_clock(sender).map_err(StartError::system("clock"))?;
    started();
    node.set_lan();
    node.manager.ready();
    node.show_device();
    node.registration.start();
    node.serve(&receiver);
    let leaving = std::mem::take(&mut node.leaving);
    drop(node);
    Notes::remove(place);
    drop(control);
    for mut peer in leaving {
        let _ = peer.write_all(b"{\"stopped\":true}\n");
    }
    Ok(())
}

impl Node {
    fn new(config: Arc<Config>, place: &Place, events: Sender<Event>) -> Result<Self, StartError> {
        let networks = config.mobile_router.as_ref().map(|router| router.prefixes.clone());
        let layout = Layout {
            name: config.tun.clone(),
            table: config.table,
            routes: config.routes.clone(),
            exclude: config.exclude.clone(),
            fail_closed: config.fail_closed,
            networks: networks.unwrap_or_default(),
        };
        let notes = Notes {
            tun: layout.name.clone(),
            table: layout.table,
            networks: layout.networks.clone(),
            lan: Vec::new(),
            dns: None,
        };
        let tun = Tun::create(layout).map_err(|error| match error {
            CreateError::Claim(error) => error.into(),
            CreateError::Device(error) => StartError::Tun { name: config.tun.clone(), error },
        })?;
        notes.write(place);
        let to_control = events.clone();
        let tunnel = Arc::new(Tunnel::new(move |event| {
            // Nobody listens in the moment in which everything ends.
            let _ = to_control.send(Event::Tunnel(event));
        }));
        let random = |error| StartError::System { what: "random numbers", error };
        let mut sequence = [0; 2];
        getrandom::fill(&mut sequence).map_err(|error| random(io::Error::other(error)))?;
        Ok(Self {
            hac: Arc::new(HacClient::new(&config)?),
            registration: CareOfAddresses::new(
                &config.timers,
                &config.care_of_addresses,
                u16::from_ne_bytes(sequence),
            ),
            netlink: Netlink::open().map_err(StartError::system("netlink"))?,
            gaps: Gaps::default(),
            ivs: IvSource::new().map_err(|error| random(io::Error::other(error)))?,
            held: Vec::new(),
            open: HashMap::new(),
            ways: Vec::new(),
            home4_bound: false,
            rescan_at: None,
            stops: 0,
            paths_known: false,
            status: Status::new(place.name(), &config.mn_id, &config.tun, config.fail_closed),
            status_written: Instant::now(),
            manager: ServiceManager::default(),
            monitors: Monitors::default(),
            leaving: Vec::new(),
            sleep: Sleep::new(),
            stay: None,
            dns: DnsSetter::new(place.clone(), notes, config.dns, &config.routes),
            lan: Lan::new(config.mobile_router.iter().flat_map(|it| it.lan.clone()).collect()),
            optimisation: optimisation(&config).map_err(|error| random(io::Error::other(error)))?,
            farewell: None,
            outside: None,
            uplinks: Worker::uplinks(&tunnel, &tun.device())
                .map_err(StartError::system("thread"))?,
            tunnel,
            tun,
            config,
            events,
        })
    }

    fn serve(&mut self, events: &Receiver<Event>) {
        tracing::info!(mn_id = %self.config.mn_id, hac = %self.config.hac.name, "mobile node starts");
        loop {
            if self.act() {
                return;
            }
            self.optimise(Instant::now());
            if self.goes_on_leaving(Instant::now()) && self.act() {
                return;
            }
            self.show_status();
            match events.recv_timeout(self.patience()) {
                Ok(Event::Stop) if self.stops > 0 => return self.show_stopped(),
                Ok(event) => self.on_event(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if self.rescan_at.is_some_and(|at| at <= now) {
                self.rescan_at = None;
                self.rescan();
            }
            self.announce(now);
            self.registration.on_traffic(self.traffic(), now);
            self.registration.on_timer(now);
        }
    }

    /// How long nothing is due.
    fn patience(&self) -> Duration {
        let counters =
            self.config.status_file.as_ref().map(|_| self.status_written + COUNTERS_EVERY);
        let optimisation = self.optimisation.as_ref().and_then(RouteOptimisation::deadline);
        let next = [
            self.registration.deadline(),
            self.rescan_at,
            counters,
            self.announce_at(),
            optimisation,
            self.farewell,
        ];
        let next = next.into_iter().flatten().min();
        next.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(Instant::now()))
    }

    fn on_event(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Network(changes) => {
                if self.tun.heed(&changes) == Harm::NewDevice {
                    self.reconnect_tun();
                }
                if let Some(set) = self.lan.heed(&changes, &mut self.netlink) {
                    self.dns.note_lan(set);
                }
                changes.into_iter().for_each(|change| self.gaps.note(change));
                self.rescan_at.get_or_insert(now + SETTLE);
            }
            Event::Tunnel(tunnel::Event::Worn(spi)) => self.registration.on_worn(spi),
            Event::Tunnel(tunnel::Event::Correspondent(address)) => {
                if let Some(optimisation) = &mut self.optimisation {
                    optimisation.on_packet(address, now);
                }
            }
            Event::Tunnel(tunnel::Event::Mobility { from, to, by, header }) => {
                if let Some(optimisation) = &mut self.optimisation {
                    optimisation.on_mobility_header((from, to), by, &header, now);
                }
            }
            Event::Tunnel(tunnel::Event::Icmp(error)) => {
                if let Some(optimisation) = &mut self.optimisation {
                    optimisation.on_icmp(&error, now);
                }
            }
            Event::Tunnel(tunnel::Event::Signalling { sa, next_header, payload }) => {
                self.on_signalling(&sa, next_header, &payload, now);
            }
            Event::Bootstrapped(Ok((grant, hac)), duration) => self.on_grant(grant, hac, duration),
            Event::Bootstrapped(Err(failure), _) => self.on_bootstrap_failed(&failure, now),
            Event::Clock => self.on_clock(now),
            Event::Dns(outcome) => self.on_dns(outcome),
            Event::Control(request) => self.on_request(request, now),
            Event::Stop => self.stop(now),
        }
    }

    fn on_request(&mut self, request: Request, now: Instant) {
        match request {
            Request::Status(answer) => {
                self.count();
                // Who asked may have gone.
                let _ = answer.try_send(self.status.line());
            }
            Request::Monitor(peer) => self.monitors.add(peer, &self.status.first_event()),
            Request::Down(peer) => {
                self.leaving.push(peer);
                if self.stops == 0 {
                    self.stop(now);
                }
            }
        }
    }

    fn stop(&mut self, now: Instant) {
        self.stops += 1;
        tracing::info!("stopping: de-registers");
        self.manager.stopping();
        self.take_leave(now);
    }

    fn on_grant(&mut self, grant: Grant, hac: IpAddr, duration: Duration) {
        let now = Instant::now();
        let (issued, validity_end) = (unix_now(), grant.validity_end);
        let association = self.association(grant.spi, issued, validity_end, now);
        if association.valid_until <= now {
            let text = "the HAC issued an SA that has already ended: is the clock here right?";
            return self.on_bootstrap_failed(
                &Failure { text: text.to_owned(), retry_after: None, by_network: false },
                now,
            );
        }
        let home_agent =
            HomeAgent { ip6: grant.home_agent, ip4: grant.home_agent_ip4, port: grant.port };
        let dns = grant.dns.clone();
        let sa = Arc::new(SecurityAssociation::new(grant));
        let held = Held { sa, home_agent, hac, dns, issued, validity_end };
        self.report_grant(&held, duration);
        self.held.push(held);
        self.publish();
        self.rescan();
        self.registration.on_association(association, now);
    }

    fn on_bootstrap_failed(&mut self, failure: &Failure, now: Instant) {
        let mut random = [0; 2];
        let _ = getrandom::fill(&mut random);
        let jitter = f64::from(u16::from_ne_bytes(random)) / 65536.0;
        let Failure { text, retry_after, by_network } = failure;
        let pause = self.registration.on_bootstrap_failed(*retry_after, *by_network, jitter, now);
        tracing::error!(retry_in_s = pause.as_secs_f64(), "bootstrap failed: {text}");
        let at = show::second(unix_now().saturating_add(pause.as_secs()));
        self.status.on_error(&format!("bootstrap failed: {text}; next try at {at}"));
    }

    /// Looks for ways to the home agent.
    fn rescan(&mut self) {
        let Some(home_agent) = self.held.last().map(|held| held.home_agent) else {
            // Without a home agent there is nothing to look for, but the HAC may be in reach now.
            self.registration.on_paths(&[], Instant::now());
            return;
        };
        let homes = self.homes();
        let search = Search {
            home_agent,
            homes: &homes,
            interfaces: &self.config.interfaces,
            tun: self.tun.index(),
            mark: self.config.table,
        };
        match paths(&mut self.netlink, &self.gaps, &search) {
            Ok(paths) => {
                self.paths_known = !paths.is_empty();
                let now = Instant::now();
                self.look_for_home(&paths, now);
                self.registration.on_paths(&paths, now);
            }
            Err(error) => {
                tracing::warn!(%error, "the network can't be looked at; again in a second");
                self.rescan_at = Some(Instant::now() + Duration::from_secs(1));
            }
        }
    }
}
