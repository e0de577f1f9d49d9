//! Putting the daemon together, and taking it apart.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use hearth_config::ConfigError;
use hearth_dataplane::{BuildError, Dataplane, PortSetup, Service, Worker};
use hearth_dpdk::{
    Eal, EalError, EalOptions, Errno, LogLevel, Mempool, Offloads, Port, PortConfig, PortError,
    Queues,
};
use hearth_home_agent::HomeAgent;
use hearth_store::{OpenError, StoreError};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use thiserror::Error;
use tracing::{error, info};

use crate::config::{Config, Device, Port as PortSection};
use crate::control::{Control, Parts};
use crate::crypto_config::{self, Crypto};
use crate::directory::{Directory, DirectoryConfig};
use crate::home_agent_config;
use crate::host_path::{Tap, Tun};
use crate::kernel::Kernel;
use crate::operations_config;
use crate::persist::Persist;
use crate::server::{self, SocketFile};
use crate::spi_horizon::SpiHorizon;
use crate::wake::Waker;

/// Why the daemon could not start, or ended.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// Something of the operating system's.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// DPDK did not start.
    #[error("DPDK: {0}")]
    Eal(#[from] EalError),
    /// DPDK did not start, and there are too few huge pages.
    #[error(
        "{error}: of {wanted} MiB (eal.memory_mb) in huge pages {free} are free; reserve them \
         (sysctl vm.nr_hugepages={}, more where others take some), or set eal.huge_pages to false",
        wanted.div_ceil(2)
    )]
    HugePages {
        /// What DPDK said.
        error: EalError,
        /// MiB that are wanted.
        wanted: u64,
        /// MiB that are free.
        free: u64,
    },
    /// There is not enough packet memory.
    #[error("no packet buffers: {0}; raise eal.memory_mb or lower tables.mbufs")]
    Mempool(Errno),
    /// A port did not start.
    #[error("port {name}: {source}")]
    Port {
        /// Its name in YAML.
        name: String,
        /// Why.
        source: PortError,
    },
    /// A port has too few transmit queues.
    #[error("port {name}: {workers} workers need a transmit queue each, and it has {queues}")]
    TransmitQueues {
        /// Its name in YAML.
        name: String,
        /// Workers.
        workers: u16,
        /// Transmit queues.
        queues: u32,
    },
    /// The configuration names something that can't be used.
    #[error("{0}")]
    Config(ConfigError),
    /// What has to survive a restart can't be read.
    #[error("state: {0}")]
    State(#[from] OpenError),
    /// What has to survive a restart can't be written.
    #[error("state: {0}")]
    StateNotKept(#[from] StoreError),
    /// The dataplane could not be built.
    #[error("dataplane: {0}")]
    Dataplane(#[from] BuildError),
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::System { what, source }
}

/// Ports with their devices, in the order of YAML.
#[derive(Default)]
struct Ports {
    ports: Vec<Port>,
    setups: Vec<PortSetup>,
    macs: Vec<[u8; 6]>,
    offloads: Vec<Offloads>,
}

/// Runs the home agent until SIGTERM or SIGINT.
///
/// # Errors
/// [`DaemonError`].
pub fn run(config: Config) -> Result<(), DaemonError> {
    let Orders { stop, shutdown, reload } = Orders::listen(&config).map_err(system("signals"))?;
    harden().map_err(system("hardening"))?;
    raise_files().map_err(system("the limit of open files"))?;
    let (persist, remembered) = Persist::open(&config.state, &config.home_agent.name.value)?;
    let mut horizon =
        SpiHorizon::open(&config.state.folder.value, config.home_agent.spi_range.value.0)
            .map_err(system("state"))?;
    if let Some(highest) = remembered.highest_spi {
        horizon.whole_up_to(highest);
    }
    let waker = Waker::new().map_err(system("eventfd"))?;
    // Threads inherit the affinity of the one that starts them, and the EAL pins its caller: these
    // come first, so that they keep off nothing and are kept off nothing.
    let questions = server::serve(&config, waker.clone()).map_err(system("API"))?;
    let _socket = SocketFile(config.api.socket.value.clone());
    let directory = watch_directory(&config, &waker).map_err(system("SA directory"))?;

    let spare_cores = spare_cores(&config).map_err(system("cores"))?;
    let eal = Eal::init(&eal_options(&config)).map_err(|error| not_started(&config, error))?;
    pin(config.eal.control_core.value).map_err(system("pinning the control thread"))?;
    let pool = Mempool::new(&eal, "hearth", config.tables.mbufs.value, 256, data_room(&config))
        .map_err(DaemonError::Mempool)?;
    let Ports { ports, setups, macs, offloads } = open_ports(&eal, &config, &pool)?;
    let Dataplane { workers, tables, control, counters } =
        build_dataplane(&eal, &config, setups, &pool)?;
    let (taps, tun, kernel) = connect_kernel(&config, &macs)?;

    let (policy, counter) = (home_agent_config::policy(&config), Some(persist.restart_counter()));
    let parts = Parts {
        home_agent: HomeAgent::new(operations_config::add(&config, counter, policy)),
        tables,
        workers: control,
        pool,
        counters,
        taps,
        tun,
        spare_cores,
        macs,
        offloads,
        kernel,
        directory,
        questions,
        persist,
        horizon,
        waker,
        config: config.clone(),
    };
    let mut control = Control::new(parts).map_err(system("netlink"))?;
    control.operations.begin(&config, shutdown);
    control.reload = reload;
    // Only now: a start that failed has used no SA, and must not cost the next one any.
    control.begin(&remembered)?;
    drop(remembered);
    let threads = start_workers(&config, workers, &stop)?;
    info!(
        dpdk = eal.version(),
        workers = threads.len(),
        ports = ports.len(),
        home_agent = %config.home_agent.address_ip6.value,
        "hearthd is up"
    );
    control.service_manager.ready();
    let ended = control.run(&stop);
    control.service_manager.stopping(END);
    stop.store(true, Ordering::Relaxed);
    join(threads);
    control.end();
    info!("hearthd ends");
    drop(control);
    drop(ports);
    ended.map_err(system("the kernel side"))
}

/// Waits for the workers, which have been told to stop.
fn join<T>(threads: Vec<std::thread::JoinHandle<T>>) {
    for thread in threads {
        if thread.join().is_err() {
            error!("a worker panicked");
        }
    }
}

/// Within which time it has ended once it stops to forward: workers, and what has to reach the disk.
pub(crate) const END: std::time::Duration = std::time::Duration::from_secs(30);

/// What the operator wants by a signal.
struct Orders {
    stop: Arc<AtomicBool>,
    shutdown: Arc<AtomicBool>,
    /// One that comes before there is anything to be read anew waits.
    reload: Arc<AtomicBool>,
}

impl Orders {
    fn listen(config: &Config) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        // With other home agents to send mobile nodes to, SIGTERM begins a shutdown.
        let shutdown = Arc::new(AtomicBool::new(false));
        let by_term = if config.drain.home_agents.is_empty() { &stop } else { &shutdown };
        let reload = Arc::new(AtomicBool::new(false));
        for (signal, flag) in [(SIGTERM, by_term), (SIGINT, &stop), (SIGHUP, &reload)] {
            signal_hook::flag::register(signal, Arc::clone(flag))?;
        }
        Ok(Self { stop, shutdown, reload })
    }
}

fn watch_directory(config: &Config, waker: &Waker) -> io::Result<Directory> {
    let directory = DirectoryConfig {
        sources: config.sa_directory.sources.clone(),
        uid: config.sa_directory.uid.as_ref().map(|uid| uid.value),
        home_agent: config.home_agent.name.value.as_str().into(),
    };
    Directory::watch(directory, waker.clone())
}

fn eal_options(config: &Config) -> EalOptions {
    let devices: Vec<(usize, Device)> = config
        .ports
        .iter()
        .enumerate()
        .filter_map(|(index, port)| Some((index, Device::parse(&port.device.value)?)))
        .collect();
    EalOptions {
        huge_pages: config.eal.huge_pages,
        memory_mb: config.eal.memory_mb.value,
        file_prefix: config.eal.file_prefix.clone(),
        main_core: usize::try_from(config.eal.control_core.value).ok(),
        vdevs: devices
            .iter()
            .filter_map(|(index, device)| device.vdev(*index, config.workers.len()))
            .collect(),
        pci_allow: devices
            .iter()
            .filter_map(|(_, device)| match device {
                Device::Pci(address) => Some(address.clone()),
                Device::Virtual { .. } => None,
            })
            .chain(config.crypto.as_ref().and_then(Crypto::pci_address))
            .collect(),
        log_level: LogLevel::Warning,
        telemetry: false,
    }
}

/// What to say of a DPDK that did not start: it blames permissions where huge pages are missing.
fn not_started(config: &Config, error: EalError) -> DaemonError {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (wanted, free) = (config.eal.memory_mb.value.into(), free_huge_mb(&meminfo));
    if config.eal.huge_pages && free < wanted {
        DaemonError::HugePages { error, wanted, free }
    } else {
        error.into()
    }
}

/// MiB in free huge pages of the usual size, by /proc/meminfo.
fn free_huge_mb(meminfo: &str) -> u64 {
    let field = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let pages = field("HugePages_Free:").unwrap_or(0);
    pages.saturating_mul(field("Hugepagesize:").unwrap_or(0)) / 1024
}

/// Octets that a packet buffer takes in DPDK's memory: the mbuf, its data, what the pool keeps.
pub(crate) fn buffer_octets(config: &Config) -> u64 {
    const MBUF: u64 = 128;
    const POOL: u64 = 64;
    MBUF + u64::from(data_room(config)) + POOL
}

/// Octets of an mbuf: headroom for the outer headers, the largest frame, tailroom for padding and
/// ICV. net_af_packet wants room for a whole frame of its ring, 2016 octets, whatever the MTU.
fn data_room(config: &Config) -> u16 {
    let mtu = config.ports.iter().map(|port| port.mtu.value).max().unwrap_or(1500);
    let headroom = u16::try_from(hearth_dpdk::HEADROOM).unwrap_or(128);
    (headroom + 18 + mtu + 320).max(headroom + 2048).next_multiple_of(64)
}

fn open_ports(eal: &Eal, config: &Config, pool: &Mempool) -> Result<Ports, DaemonError> {
    let mut opened = Ports::default();
    let workers = u16::try_from(config.workers.len()).unwrap_or(u16::MAX);
    for (index, port) in config.ports.iter().enumerate() {
        let name = || port.name.value.clone();
        let failed = |source| match source {
            PortError::Queues { tx: queues, .. } => {
                DaemonError::TransmitQueues { name: name(), workers, queues }
            }
            source => DaemonError::Port { name: name(), source },
        };
        let device =
            Device::parse(&port.device.value).ok_or_else(|| failed(PortError::NoSuchPort))?;
        let (opened_port, queues) =
            open_port(eal, (&device, index), port, workers, pool).map_err(failed)?;
        let mac = opened_port.mac().map_err(|error| failed(PortError::Info(error)))?;
        opened.macs.push(mac);
        opened.offloads.push(opened_port.offloads());
        opened.setups.push(PortSetup { mac, mtu: port.mtu.value, queues });
        opened.ports.push(opened_port);
    }
    Ok(opened)
}

/// Opens a port with a transmit queue for every worker, and as many receive queues where it has
/// them: packets are spread over the workers then. With one receive queue its worker hands over.
fn open_port(
    eal: &Eal,
    (device, index): (&Device, usize),
    port: &PortSection,
    workers: u16,
    pool: &Mempool,
) -> Result<(Port, Queues), PortError> {
    let name = device.eal_name(index);
    let (rx, _) = Port::queue_limits(eal, &name)?;
    let setup = PortConfig {
        rx_queues: u16::try_from(rx).unwrap_or(workers).clamp(1, workers),
        tx_queues: workers,
        mtu: Some(port.mtu.value),
        checksum_offload: port.checksum_offload,
        // A veth under net_af_packet has a MAC of its own, and knows no all-multicast.
        promiscuous: matches!(device, Device::Virtual { .. }),
        ..PortConfig::default()
    };
    Port::open(eal, &name, &setup, pool)
}

fn build_dataplane(
    eal: &Eal,
    config: &Config,
    ports: Vec<PortSetup>,
    pool: &Mempool,
) -> Result<Dataplane, DaemonError> {
    let dataplane = Dataplane::new(eal, &dataplane_config(config), ports, pool).map_err(
        |error| match error {
            BuildError::CryptoDevice(error) => {
                DaemonError::Config(crypto_config::unusable(config, error))
            }
            error => error.into(),
        },
    )?;
    if let Some(crypto) = &config.crypto {
        let device = crypto.device.value.as_str();
        let suites: Vec<_> = dataplane.tables.device_suites().map(|s| s.to_string()).collect();
        info!(device, suites = suites.join(" "), "crypto device is up");
    }
    Ok(dataplane)
}

pub(crate) fn dataplane_config(config: &Config) -> hearth_dataplane::Config {
    let home_agent = &config.home_agent;
    let (first, last) = home_agent.spi_range.value;
    let smallest_mtu = config.ports.iter().map(|port| port.mtu.value).min().unwrap_or(1500);
    hearth_dataplane::Config {
        workers: config.workers.len(),
        spi_base: first,
        max_sas: last - first + 1,
        max_bindings: config.tables.max_bindings.value,
        max_prefixes: config.tables.max_prefixes.value,
        max_routes: config.tables.max_routes.value,
        replay_window: config.tables.replay_window.value,
        service: Service {
            ip6: Some(home_agent.address_ip6.value),
            ip4: home_agent.address_ip4.as_ref().map(|address| address.value),
            port: home_agent.port.value,
        },
        home_prefixes: home_agent
            .home_prefixes
            .iter()
            .map(|home| (home.value.prefix.addr(), home.value.prefix.prefix_len()))
            .collect(),
        path_mtu: config.tunnel.path_mtu.as_ref().map_or(smallest_mtu, |mtu| mtu.value),
        path_mtu_lifetime_s: config.tunnel.path_mtu_lifetime.value,
        mss_clamp: config.tunnel.mss_clamp,
        dscp: config.tunnel.dscp.pinned(),
        reassembly_packets: config.tunnel.reassembly.value,
        reassembly_timeout_ms: config.tunnel.reassembly_timeout.value.saturating_mul(1000),
        icmp_errors_per_second: config.icmp.errors_per_second.value,
        icmp_errors_per_peer: config.icmp.errors_per_peer.value,
        signalling_hold_ms: config.sa_directory.signalling_hold_ms.value,
        busy_poll: config.busy_poll,
        share_crypto: config.share_crypto,
        crypto_device: config
            .crypto
            .as_ref()
            .map(|crypto| crypto.dataplane_config(config.workers.len())),
        ..hearth_dataplane::Config::default()
    }
}

type KernelSide = (Vec<Tap>, Option<Tun>, Kernel);

fn connect_kernel(config: &Config, macs: &[[u8; 6]]) -> Result<KernelSide, DaemonError> {
    let taps = config
        .ports
        .iter()
        .zip(macs)
        .map(|(port, mac)| Tap::create(&port.name.value, *mac, port.mtu.value))
        .collect::<io::Result<Vec<Tap>>>()
        .map_err(system("host path"))?;
    let interfaces = taps.iter().map(Tap::index);
    let mut kernel = Kernel::connect(interfaces, macs).map_err(system("netlink"))?;
    for (port, number) in config.ports.iter().zip(0..) {
        for address in &port.addresses {
            kernel.add_address(number, address.value).map_err(system("setting an address"))?;
        }
    }
    let mtu = config.ports.iter().map(|port| port.mtu.value).min();
    let tun = match (config.kernel_routes.is_empty(), mtu) {
        (false, Some(mtu)) => Some(Tun::create(mtu).map_err(system("host path"))?),
        _ => None,
    };
    Ok((taps, tun, kernel))
}

/// The cores of this process that are neither a worker's nor the control thread's; the control
/// thread's where there are no others.
fn spare_cores(config: &Config) -> io::Result<CpuSet> {
    let mut cores = sched_getaffinity(None)?;
    let control = usize::try_from(config.eal.control_core.value).unwrap_or(usize::MAX);
    for worker in &config.workers {
        cores.unset(usize::try_from(worker.core.value).unwrap_or(usize::MAX));
    }
    cores.unset(control);
    if cores.count() == 0 {
        cores.set(control);
    }
    Ok(cores)
}

fn start_workers(
    config: &Config,
    workers: Vec<Worker>,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<JoinHandle<()>>, DaemonError> {
    let mut threads = Vec::new();
    for ((number, worker), core) in workers.into_iter().enumerate().zip(&config.workers) {
        let (stop, core) = (Arc::clone(stop), core.core.value);
        let body = move || {
            if let Err(error) = pin(core) {
                error!(core, %error, "the worker is not pinned to its core");
            }
            worker.run(&stop);
        };
        let thread = thread::Builder::new().name(format!("worker{number}")).spawn(body);
        threads.push(thread.map_err(system("starting a worker"))?);
    }
    Ok(threads)
}

/// No core dumps, and nobody of the same user reads this process's memory: it holds every key.
fn harden() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// As many open files as this process may have at all: each multicast group takes one a port, and the
/// state and the API must not go without for that.
fn raise_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// Pins the calling thread to `core`.
fn pin(core: u32) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(usize::try_from(core).unwrap_or(usize::MAX));
    Ok(sched_setaffinity(None, &cores)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_huge_pages_are_read_from_meminfo() {
        let meminfo = "MemTotal: 1 kB\nHugePages_Total:    600\nHugePages_Free:      512\n\
                       Hugepagesize:       2048 kB\n";
        assert_eq!(free_huge_mb(meminfo), 1024);
        assert_eq!(free_huge_mb("MemTotal: 1 kB\n"), 0);
    }

    #[test]
    fn too_few_huge_pages_are_named_with_both_ways_out() {
        let error = EalError::AlreadyStarted;
        let text = DaemonError::HugePages { error, wanted: 1024, free: 6 }.to_string();
        let ways = [
            "of 1024 MiB (eal.memory_mb)",
            "6 are free",
            "nr_hugepages=512",
            "eal.huge_pages to false",
        ];
        assert!(ways.iter().all(|way| text.contains(way)), "{text}");
    }
}
