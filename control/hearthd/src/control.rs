//! The control thread: everything that is not a packet's path.
//!
//! It owns the sans-I/O home agent and the only hand on the dataplane's tables, and turns what
//! comes from the workers, the TAPs, the kernel, the SA directory and the API into each other. It
//! never does data cryptography and never waits for anybody.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Receiver;
use hearth_dataplane::{ControlPort, Counters, FromWorker, HeldPacket, PortId, TableWriter};
use hearth_dpdk::{Mempool, Offloads};
use hearth_home_agent::{Action, Event, HomeAgent, SignallingPacket, Timestamp};
use hearth_wire::directory::ALIVE_INTERVAL;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::CpuSet;
use tracing::{debug, error, info, warn};

use crate::alarms::Alarms;
use crate::chronicle::Chronicle;
use crate::config::Config;
use crate::daemon::dataplane_config;
use crate::decisions::Draining;
use crate::directory::Directory;
use crate::follow::Follow;
use crate::from_worker;
use crate::home_link::{self, AtHome};
use crate::host_path::{Tap, Tun, frame_of};
use crate::journal::Journal;
use crate::kernel::{Change, Kernel};
use crate::kernel_routes::KernelRoutes;
use crate::load::Loads;
use crate::lookups::Lookups;
use crate::neighbours::Neighbours;
use crate::operate::Operations;
use crate::persist::{Outgoing, Persist};
use crate::routes::Routes;
use crate::sa_limits::SaLimits;
use crate::server::Question;
use crate::service_manager::ServiceManager;
use crate::spi_horizon::SpiHorizon;
use crate::wake::Waker;
use crate::watchdog::{Incident, Watchdog};

/// Messages taken from the workers, and frames from a TAP, before the others get their turn.
const BATCH: usize = 64;

/// Steps of what is due in the home agent, such as a binding that ends, and updates of the SA
/// directory, before the others get their turn: a hundred thousand in one second stall nothing.
const TIMERS: usize = 256;
const UPDATES: usize = 128;

/// How often kernel and waker are asked while packets come: each of them costs a system call, as
/// much as a packet's turn. When none come they wake the thread.
const GLANCE: Duration = Duration::from_millis(1);

/// How often replaced table entries are freed and slow timers looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(10);

/// Sleep between two looks at the workers' rings while packets come, and when none have come for
/// [`DROWSY`]. Descriptors wake the thread at once; rings can't.
const NAP: Duration = Duration::from_micros(100);
const SLEEP: Duration = Duration::from_millis(1);
const DROWSY: Duration = Duration::from_millis(50);

/// What the control thread works with.
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// The home agent.
    pub home_agent: HomeAgent,
    /// The tables that the workers read.
    pub tables: TableWriter,
    /// The rings to and from the workers.
    pub workers: ControlPort,
    /// The packet buffers.
    pub pool: Mempool,
    /// The workers' counters.
    pub counters: Arc<Counters>,
    /// One TAP per port, in the order of YAML.
    pub taps: Vec<Tap>,
    /// The interface by which the kernel reaches mobile nodes, if it has routes that lead there.
    pub tun: Option<Tun>,
    /// Cores that are nobody's, for work that can wait.
    pub spare_cores: CpuSet,
    /// MAC addresses of the ports, in the same order.
    pub macs: Vec<[u8; 6]>,
    /// What the devices do for us, in the same order.
    pub offloads: Vec<Offloads>,
    /// Netlink.
    pub kernel: Kernel,
    /// The SA directory.
    pub directory: Directory,
    /// Questions of the API.
    pub questions: Receiver<Question>,
    /// What survives a restart.
    pub persist: Persist,
    /// Which SPIs may be installed.
    pub horizon: SpiHorizon,
    /// Woken by directory and API.
    pub waker: Waker,
}

/// The control thread.
pub struct Control {
    pub(crate) parts: Parts,
    pub(crate) host_queue_full: u64,
    pub(crate) neighbours: Neighbours<HeldPacket>,
    pub(crate) limits: SaLimits,
    pub(crate) lookups: Lookups,
    pub(crate) draining: Draining,
    pub(crate) sa_records_refused: u64,
    pub(crate) spi_ranges_refused: u64,
    /// A HAC has asked what SAs carry: it has accounting.
    pub(crate) usage_wanted: bool,
    pub(crate) clock: Option<(Instant, SystemTime)>,
    /// `None` where there is no kernel side.
    pub(crate) routes: Option<Routes>,
    pub(crate) kernel_routes: KernelRoutes,
    pub(crate) actions: Vec<Action>,
    /// Messages to mobile nodes, until the turn's changes are written down.
    pub(crate) outbox: Vec<Outgoing>,
    /// Mobile nodes at home that signalled in this turn.
    pub(crate) at_home: Vec<AtHome>,
    pub(crate) journal: Journal,
    pub(crate) chronicle: Chronicle,
    pub(crate) watchdog: Watchdog,
    pub(crate) alarms: Alarms,
    /// When the daemon was ready.
    pub(crate) started: Instant,
    pub(crate) loads: Loads,
    pub(crate) follow: Follow,
    pub(crate) operations: Operations,
    unresolved: Vec<(u16, IpAddr, HeldPacket)>,
    last_packet: Instant,
    housekept: Instant,
    /// When the HAC was told last that this home agent is at work.
    said_alive: Instant,
    glanced: Instant,
    /// Set by SIGHUP.
    pub(crate) reload: Arc<AtomicBool>,
    pub(crate) service_manager: ServiceManager,
}

impl Control {
    /// Takes the parts over; what the kernel has now is in the tables when this returns.
    ///
    /// # Errors
    /// Netlink failed.
    pub fn new(mut parts: Parts) -> io::Result<Self> {
        let routes = Routes::start(
            &mut parts.tables,
            (parts.taps.iter().map(Tap::index), parts.tun.as_ref().map(Tun::index)),
            dataplane_config(&parts.config).home_prefixes,
            home_link::anycast_addresses(&parts.config),
            parts.spare_cores,
        )?;
        let mut control = Self::without_kernel(parts);
        control.routes = Some(routes);
        for change in control.parts.kernel.snapshot()? {
            control.kernel_changed(change);
        }
        if let Some(tun) = &control.parts.tun {
            control.parts.kernel.sweep_routes(tun.index())?;
        }
        Ok(control)
    }

    /// A control thread whose routes and neighbours are somebody else's affair: for measurements of
    /// the rest.
    #[must_use]
    pub fn without_kernel(parts: Parts) -> Self {
        let now = Instant::now();
        let kernel_routes = KernelRoutes::new(&parts.config);
        let mut control = Self {
            parts,
            host_queue_full: 0,
            neighbours: Neighbours::default(),
            limits: SaLimits::default(),
            lookups: Lookups::default(),
            draining: Draining::new(),
            at_home: Vec::new(),
            sa_records_refused: 0,
            spi_ranges_refused: 0,
            usage_wanted: false,
            clock: None,
            routes: None,
            kernel_routes,
            actions: Vec::new(),
            outbox: Vec::new(),
            journal: Journal::default(),
            chronicle: Chronicle::default(),
            watchdog: Watchdog::default(),
            alarms: Alarms::default(),
            started: Instant::now(),
            loads: Loads::default(),
            follow: Follow::default(),
            operations: Operations::default(),
            unresolved: Vec::new(),
            last_packet: now,
            housekept: now,
            glanced: now,
            said_alive: now,
            reload: Arc::default(),
            service_manager: ServiceManager::from_environment(),
        };
        control.configure_links();
        let max_bindings = control.parts.home_agent.policy().max_bindings;
        control.parts.home_agent.reserve(max_bindings);
        control
    }

    /// SAs and bindings that there are.
    #[must_use]
    pub fn totals(&self) -> (usize, usize) {
        let home_agent = &self.parts.home_agent;
        (home_agent.sa_count(), home_agent.binding_count())
    }

    /// Runs until `stop`.
    ///
    /// # Errors
    /// A TAP or netlink broke: the box has lost its kernel side.
    pub fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        while !stop.load(Ordering::Relaxed) && !self.is_shut_down() {
            self.step()?;
        }
        self.stop_following();
        Ok(())
    }

    /// One turn; where nothing came, waits a moment for something to come.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn step(&mut self) -> io::Result<()> {
        if self.turn()? {
            self.last_packet = Instant::now();
            return Ok(());
        }
        self.sleep()
    }

    /// Writes down what only the end knows: to be called when the workers have stopped.
    pub fn end(&mut self) {
        self.end_turn();
        self.parts.persist.end(&mut self.parts.home_agent);
    }

    /// One look at everybody; whether packets came, or more is to be done.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn turn(&mut self) -> io::Result<bool> {
        let mut packets = self.take_from_workers();
        packets += self.take_from_taps()?;
        let now = Instant::now();
        let glance = packets == 0 || now.duration_since(self.glanced) >= GLANCE;
        if glance {
            self.glanced = now;
            // Before what it wakes for is looked at.
            self.parts.waker.clear();
        }
        let mut more = self.take_from_directory_in_part();
        if glance {
            for change in self.parts.kernel.changes()? {
                self.kernel_changed(change);
            }
        }
        more |= self.exchange_routes()?;
        more |= self.answer_some();
        self.follow();
        more |= self.run_timers();
        self.keep_house();
        self.end_turn();
        Ok(packets > 0 || more)
    }

    /// Takes some updates of the SA directory; whether there may be more.
    fn take_from_directory_in_part(&mut self) -> bool {
        for _ in 0..UPDATES {
            let Some(update) = self.parts.directory.next() else { return false };
            self.take_from_directory(update);
        }
        true
    }

    /// Does some of what is due in the home agent; whether more is.
    fn run_timers(&mut self) -> bool {
        let now = self.now();
        let Parts { home_agent, .. } = &mut self.parts;
        if home_agent.next_deadline().is_none_or(|deadline| deadline > now) {
            return false;
        }
        let more = home_agent.tick(now, TIMERS, &mut self.actions);
        self.act(None);
        more
    }

    fn take_from_workers(&mut self) -> usize {
        let now = self.now();
        let Self { parts, host_queue_full, actions, unresolved, lookups, at_home, .. } = self;
        let Parts { workers, home_agent, taps, directory, tables, persist, macs, .. } = parts;
        let count = workers.poll(BATCH, |message| match message {
            FromWorker::Signalling(packet) => {
                at_home.extend(AtHome::of(home_agent, macs, &packet));
                let packet = SignallingPacket {
                    spi: packet.spi,
                    remote: packet.remote,
                    local: packet.local,
                    next_header: packet.next_header,
                    payload: packet.payload,
                };
                home_agent.handle(now, Event::Signalling(packet), actions);
            }
            FromWorker::Host { port, frame } => {
                home_link::tell(home_agent, now, (port.0, frame), false, actions);
                let taken = taps.get(usize::from(port.0)).is_some_and(|tap| tap.send(frame));
                *host_queue_full += u64::from(!taken);
            }
            FromWorker::Unresolved { port, next_hop, packet } => {
                unresolved.push((port.0, next_hop, packet));
            }
            FromWorker::UnknownSpi(spi) => {
                if lookups.wanted(spi, Instant::now()) {
                    directory.lookup(spi);
                }
            }
            FromWorker::NearGrant(spi) => {
                if let Some(usage) = tables.sa_usage(spi) {
                    persist.near_grant(spi, usage.next_outbound);
                }
            }
            other => {
                if let Some(event) = from_worker::event(&other) {
                    home_agent.handle(now, event, actions);
                }
            }
        });
        self.act(None);
        self.at_home.clear();
        self.resolve();
        count
    }

    fn take_from_taps(&mut self) -> io::Result<usize> {
        let mut count = 0;
        let now = self.now();
        let Parts { taps, tun, macs, workers, home_agent, .. } = &mut self.parts;
        if let (Some(tun), Some(mac)) = (tun, macs.first()) {
            for _ in 0..BATCH {
                let Some(packet) = tun.receive()? else { break };
                count += 1;
                let Some(frame) = frame_of(*mac, packet) else { continue };
                if workers.send_from_host(PortId(0), &frame).is_err() {
                    self.host_queue_full += 1;
                }
            }
        }
        for (tap, port) in taps.iter_mut().zip(0..) {
            for _ in 0..BATCH {
                let Some(frame) = tap.receive()? else { break };
                count += 1;
                home_link::tell(home_agent, now, (port, frame), true, &mut self.actions);
                if workers.send_from_host(PortId(port), frame).is_err() {
                    self.host_queue_full += 1;
                }
            }
        }
        Ok(count)
    }

    /// Takes the kernel's routes, and gives it ours; whether there is more to give.
    fn exchange_routes(&mut self) -> io::Result<bool> {
        let Parts { tables, kernel, tun, .. } = &mut self.parts;
        if let Some(routes) = &mut self.routes
            && let Some(kept) = routes.apply(tables, Instant::now())?
        {
            self.kernel_routes.put_back(&kept);
        }
        match tun {
            Some(tun) => self.kernel_routes.apply(kernel, tun.index()),
            None => Ok(false),
        }
    }

    fn kernel_changed(&mut self, change: Change) {
        match change {
            Change::Neighbour { port, address, mac, failed } => {
                if let Err(error) = self.parts.tables.set_neighbour(PortId(port), address, mac) {
                    warn!(%address, %error, "neighbour not learnt");
                }
                if mac.is_some() {
                    for packet in self.neighbours.taken((port, address)) {
                        self.resend(port, address, packet);
                    }
                } else if failed {
                    for packet in self.neighbours.taken((port, address)) {
                        self.give_up(port, packet);
                    }
                }
            }
        }
    }

    fn resolve(&mut self) {
        let now = Instant::now();
        for (port, next_hop, packet) in std::mem::take(&mut self.unresolved) {
            // It was learnt while the packet was on its way here: the kernel, which knows the
            // neighbour, would say nothing more of it.
            if self.parts.tables.knows_neighbour(PortId(port), next_hop) {
                self.resend(port, next_hop, packet);
                continue;
            }
            if self.neighbours.wait((port, next_hop), packet, now)
                && let Err(error) = self.parts.kernel.resolve(port, next_hop)
            {
                debug!(%next_hop, %error, "the kernel can't look for this neighbour");
            }
        }
    }

    /// The link-layer address of the next hop of `packet` is known now.
    fn resend(&mut self, port: u16, next_hop: IpAddr, packet: HeldPacket) {
        let refused = self.parts.workers.resend(PortId(port), next_hop, packet).is_err();
        self.host_queue_full += u64::from(refused);
    }

    /// The next hop of `packet` can't be found; the dataplane tells its sender.
    fn give_up(&mut self, port: u16, packet: HeldPacket) {
        let refused = self.parts.workers.unreachable(PortId(port), packet).is_err();
        self.host_queue_full += u64::from(refused);
    }

    fn keep_house(&mut self) {
        let instant = Instant::now();
        if instant.duration_since(self.housekept) < HOUSEKEEPING {
            return;
        }
        self.housekept = instant;
        if instant.duration_since(self.said_alive) >= ALIVE_INTERVAL {
            self.said_alive = instant;
            self.parts.directory.alive();
        }
        self.watch_workers(instant);
        let found = (self.parts.persist.is_in_trouble(), hearth_log::lost());
        self.alarms.look(instant, found, |what| self.chronicle.alarm(what));
        self.tell_service_manager(instant);
        self.journal.begin_anew(instant);
        self.reload_if_asked();
        self.parts.tables.reclaim();
        self.retry_draining();
        self.follow_wall_clock();
        for ((port, _), packet) in self.neighbours.expired(instant) {
            self.give_up(port, packet);
        }
        if let Err(error) = self.parts.horizon.keep_ahead() {
            error!(%error, "the SPI horizon can't be written");
        }
        self.parts.persist.sweep();
        self.listen_for_silence(instant);
        let tables = &self.parts.tables;
        for spi in self.limits.sweep(|from, most, each| tables.sa_usages(from, most, each)) {
            self.tell(Event::SequenceNearEnd(spi));
        }
    }

    fn watch_workers(&mut self, now: Instant) {
        let counters = &self.parts.counters;
        self.watchdog.look(now, counters.turns(), |incident| {
            match incident {
                Incident::Stuck { worker, silent } => {
                    error!(worker, ?silent, "the worker is stuck: it takes no turns");
                }
                Incident::Recovered { worker, silent } => {
                    info!(worker, ?silent, "the worker takes turns again");
                }
            }
            self.chronicle.incident(incident);
        });
        self.loads.look(now, || (counters.cycles(), counters.snapshot().workers));
    }

    fn tell_service_manager(&mut self, now: Instant) {
        let home_agent = &self.parts.home_agent;
        self.service_manager.alive(now, || {
            let (bindings, sas) = (home_agent.binding_count(), home_agent.sa_count());
            format!("{bindings} bindings, {sas} SAs")
        });
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.parts.persist.now()
    }

    /// Waits until a descriptor has something, but not past the next look at the rings.
    fn sleep(&self) -> io::Result<()> {
        let drowsy = self.last_packet.elapsed() > DROWSY && !self.follow.is_on();
        let pause = if drowsy && !self.parts.config.busy_poll { SLEEP } else { NAP };
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos()) };
        let mut descriptors: Vec<PollFd<'_>> = self
            .parts
            .taps
            .iter()
            .map(AsFd::as_fd)
            .chain(self.parts.tun.as_ref().map(AsFd::as_fd))
            .chain([self.parts.kernel.as_fd(), self.parts.waker.as_fd()])
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
