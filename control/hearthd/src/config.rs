//! The daemon's YAML: types with unit, default and consequence, and the checks that only the
//! daemon can make.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hearth_config::{ConfigError, Document, Location, Spanned};
use ipnet::IpNet;
use serde::Deserialize;

use crate::api_config;
pub use crate::api_config::Api;
use crate::crypto_config::{self, Crypto};
use crate::daemon;
use crate::directory_config::{self, SaDirectory};
use crate::home_agent_config::{self, HomeAgent};
use crate::host_path::MOBILE_NODES;
use crate::kernel_routes;
use crate::operations_config::{self, Drain, Heartbeat, Multicast, RefreshRequest, Revocation};
use crate::paths_config;
use crate::state_config::{self, State};
use crate::tunnel_config::{self, Icmp, Tunnel};

/// `hearthd.yaml`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// DPDK's environment.
    #[serde(default)]
    pub eal: Eal,
    /// One worker per core; the first port's packets go to the first worker.
    pub workers: Vec<WorkerCore>,
    /// Workers never sleep when idle: lowest latency, a whole core each. Default: off.
    #[serde(default)]
    pub busy_poll: bool,
    /// A loaded worker lends the cryptography of large packets to workers that have little to do.
    /// Default: on.
    #[serde(default = "yes")]
    pub share_crypto: bool,
    /// Where packets come from and go to.
    pub ports: Vec<Port>,
    /// The home agent's own addresses and policy.
    pub home_agent: HomeAgent,
    /// Routes that the kernel is given, so that the box reaches its mobile nodes and FRR can announce
    /// them. Default: both kinds.
    #[serde(default = "kernel_routes::all")]
    pub kernel_routes: Vec<Spanned<kernel_routes::Given>>,
    /// The HAC's directory of security associations.
    #[serde(default)]
    pub sa_directory: SaDirectory,
    /// Packet sizes.
    #[serde(default)]
    pub tunnel: Tunnel,
    /// ICMP errors.
    #[serde(default)]
    pub icmp: Icmp,
    /// A crypto device. Default: none; ipsec-mb on the workers' cores does it all.
    #[serde(default)]
    pub crypto: Option<Crypto>,
    /// Sizes of the tables.
    #[serde(default)]
    pub tables: Tables,
    /// Binding Refresh Requests before a binding ends.
    #[serde(default)]
    pub refresh_request: RefreshRequest,
    /// Binding revocation.
    #[serde(default)]
    pub revocation: Revocation,
    /// A planned shutdown.
    #[serde(default)]
    pub drain: Drain,
    /// Heartbeats to silent mobile nodes.
    #[serde(default)]
    pub heartbeat: Heartbeat,
    /// Multicast groups through tunnels. Default: none; mobile nodes' reports are ignored.
    #[serde(default)]
    pub multicast: Option<Multicast>,
    /// Where `hearth` and others ask.
    #[serde(default)]
    pub api: Api,
    /// Metrics for Prometheus.
    #[serde(default)]
    pub metrics: Metrics,
    /// The page for a browser on this machine.
    #[serde(default)]
    pub dashboard: Dashboard,
    /// What survives a restart.
    #[serde(default)]
    pub state: State,
    /// The file that this was read from.
    #[serde(skip)]
    pub file: PathBuf,
}

/// DPDK's environment abstraction layer.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Eal {
    /// Take packet memory from hugepages. Off: ordinary memory, for laptops, tests and the lab.
    pub huge_pages: bool,
    /// Packet memory in MiB. It is reserved at once with hugepages, touched lazily without.
    pub memory_mb: Spanned<u32>,
    /// Prefix of DPDK's runtime files; one per process on a machine.
    pub file_prefix: String,
    /// The core of the control thread.
    pub control_core: Spanned<u32>,
}

impl Default for Eal {
    fn default() -> Self {
        let at = Location::UNKNOWN;
        Self {
            huge_pages: true,
            memory_mb: Spanned::new(512, at, at),
            file_prefix: "hearth".into(),
            control_core: Spanned::new(0, at, at),
        }
    }
}

const fn yes() -> bool {
    true
}

/// A worker.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkerCore {
    /// The core that the worker is pinned to.
    pub core: Spanned<u32>,
}

/// A port: a DPDK device, and the TAP through which the kernel sees it.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Name in the CLI and metrics, and of the TAP: at most 15 octets.
    pub name: Spanned<String>,
    /// PCI address (`0000:01:00.0`) or DPDK virtual device (`net_af_packet,iface=eth1`).
    pub device: Spanned<String>,
    /// Largest IP packet in octets. Default: 1500.
    #[serde(default = "default_mtu")]
    pub mtu: Spanned<u16>,
    /// Leave IPv4 and UDP checksums to the device where it offers that: those of received packets,
    /// and the outer ones of packets to mobile nodes. Off: for devices that get them wrong.
    /// Default: on.
    #[serde(default = "yes")]
    pub checksum_offload: bool,
    /// Addresses with prefix length; they are set on the TAP.
    #[serde(default)]
    #[schemars(with = "Vec<Spanned<hearth_config::Prefix>>")]
    pub addresses: Vec<Spanned<IpNet>>,
}

/// Sizes of the tables; memory is touched as they fill.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tables {
    /// Most bindings.
    pub max_bindings: Spanned<u32>,
    /// Most mobile network prefixes, of all mobile routers.
    pub max_prefixes: Spanned<u32>,
    /// Most routes, IPv4 and IPv6 each.
    pub max_routes: Spanned<u32>,
    /// Packets per SA that the replay window spans: a power of two, 64 to 4096.
    pub replay_window: Spanned<u32>,
    /// Packet buffers.
    pub mbufs: Spanned<u32>,
}

impl Default for Tables {
    fn default() -> Self {
        let at = Location::UNKNOWN;
        Self {
            max_bindings: Spanned::new(16_384, at, at),
            max_prefixes: Spanned::new(16_384, at, at),
            max_routes: Spanned::new(4096, at, at),
            replay_window: Spanned::new(1024, at, at),
            mbufs: Spanned::new(16_384, at, at),
        }
    }
}

/// Metrics. The API's socket has them in any case.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Address and TCP port of `GET /metrics`. Whoever reaches it may read. Default: none.
    pub listen: Option<Spanned<SocketAddr>>,
}

/// The page for a browser.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Dashboard {
    /// Address and TCP port of the page, on loopback: whoever reaches it may look. Default: none.
    pub listen: Option<Spanned<SocketAddr>>,
}

impl Dashboard {
    fn check(&self, document: &Document<Config>) -> Result<(), ConfigError> {
        match &self.listen {
            Some(listen) if !listen.value.ip().is_loopback() => {
                let message = "the dashboard is for this machine alone: give 127.0.0.1 or [::1] and a \
                               port; from elsewhere by ssh -L";
                Err(document.error(listen.referenced, "dashboard.listen", message))
            }
            _ => Ok(()),
        }
    }
}

fn default_mtu() -> Spanned<u16> {
    Spanned::new(1500, Location::UNKNOWN, Location::UNKNOWN)
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// The first thing that is wrong, with file, line and key.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    check(hearth_config::load(path)?)
}

/// Checks what the types alone can't.
fn check(document: Document<Config>) -> Result<Config, ConfigError> {
    let config = &document.value;
    check_ports(&document, config)?;
    check_workers(&document, config)?;
    home_agent_config::check(&document, config)?;
    check_tables(&document, config)?;
    let sources = directory_config::check(&document, config)?;
    let files = api_config::check(&document, config)?;
    paths_config::check(&document, config)?;
    state_config::check(&document, config)?;
    tunnel_config::check(&document, config)?;
    operations_config::check(&document, config)?;
    crypto_config::check(&document, config)?;
    config.dashboard.check(&document)?;
    let file = document.path().to_owned();
    let sa_directory = SaDirectory { sources, ..document.value.sa_directory };
    let api = Api { files, ..document.value.api };
    Ok(Config { file, sa_directory, api, ..document.value })
}

fn check_ports(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let mut names = HashMap::new();
    let mut devices = HashMap::new();
    let mut addresses = HashMap::new();
    for (index, port) in config.ports.iter().enumerate() {
        let error = |at: Location, key: &str, message: String| {
            document.error(at, format!("ports[{index}].{key}"), message)
        };
        let name = &port.name;
        if !is_interface_name(&name.value) {
            let message = "not an interface name; 1 to 15 letters, digits, '-', '_' or '.'";
            return Err(error(name.referenced, "name", message.into()));
        }
        if name.value == MOBILE_NODES {
            let message = format!("{MOBILE_NODES} is the interface to mobile nodes; another name");
            return Err(error(name.referenced, "name", message));
        }
        if let Some(line) = names.insert(name.value.clone(), name.referenced.line()) {
            let message = format!("'{}' is the port of line {line} already", name.value);
            return Err(error(name.referenced, "name", message));
        }
        let device = Device::parse(&port.device.value)
            .ok_or_else(|| error(port.device.referenced, "device", DEVICE_FORMS.into()))?;
        if let Some(line) = devices.insert(device.identity(), port.device.referenced.line()) {
            let message = format!(
                "{} is the device of the port in line {line} already; a port needs a device of \
                 its own",
                device.identity()
            );
            return Err(error(port.device.referenced, "device", message));
        }
        if !(1280..=9600).contains(&port.mtu.value) {
            let message = format!("{} is out of range; 1280 to 9600 octets", port.mtu.value);
            return Err(error(port.mtu.referenced, "mtu", message));
        }
        for (position, address) in port.addresses.iter().enumerate() {
            let key = format!("addresses[{position}]");
            if let Some(message) = unusable_as_host(address.value) {
                return Err(error(address.referenced, &key, message));
            }
            let line = address.referenced.line();
            if let Some(line) = addresses.insert(address.value.addr(), line) {
                let message = format!("{} stands in line {line} already", address.value.addr());
                return Err(error(address.referenced, &key, message));
            }
        }
    }
    if config.ports.is_empty() {
        let message = "empty; a home agent needs at least one port";
        return Err(document.error(Location::UNKNOWN, "ports", message));
    }
    Ok(())
}

const DEVICE_FORMS: &str = "neither a PCI address (0000:01:00.0) nor a DPDK virtual device \
                            (net_af_packet,iface=eth1)";

fn check_workers(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let exists = |core: u32| usize::try_from(core).is_ok_and(|core| core < available);
    let control = &config.eal.control_core;
    if !exists(control.value) {
        let message = format!("core {} does not exist; 0 to {}", control.value, available - 1);
        return Err(document.error(control.referenced, "eal.control_core", message));
    }
    let mut cores = HashMap::new();
    for (index, worker) in config.workers.iter().enumerate() {
        let key = format!("workers[{index}].core");
        let at = worker.core.referenced;
        if !exists(worker.core.value) {
            let message =
                format!("core {} does not exist; 0 to {}", worker.core.value, available - 1);
            return Err(document.error(at, key, message));
        }
        if let Some(line) = cores.insert(worker.core.value, at.line()) {
            let message = format!("core {} is the worker's of line {line}", worker.core.value);
            return Err(document.error(at, key, message));
        }
    }
    if config.workers.is_empty() {
        let message = "empty; at least one worker is needed";
        return Err(document.error(Location::UNKNOWN, "workers", message));
    }
    Ok(())
}

fn check_tables(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let tables = &config.tables;
    let window = tables.replay_window.value;
    if !window.is_power_of_two() || !(64..=4096).contains(&window) {
        let message = format!("{window} does not fit; a power of two from 64 to 4096");
        return Err(document.error(
            tables.replay_window.referenced,
            "tables.replay_window",
            message,
        ));
    }
    let ranges = [
        (&tables.max_bindings, "tables.max_bindings", 1, 4_000_000),
        (&tables.max_prefixes, "tables.max_prefixes", 1, 16_000_000),
        (&tables.max_routes, "tables.max_routes", 16, 4_000_000),
        (&tables.mbufs, "tables.mbufs", 2048, 4_000_000),
        (&config.eal.memory_mb, "eal.memory_mb", 384, 1_048_576),
    ];
    for (value, key, least, most) in ranges {
        if !(least..=most).contains(&value.value) {
            let message = format!("{} is out of range; {least} to {most}", value.value);
            return Err(document.error(value.referenced, key, message));
        }
    }
    let (buffers, memory) = (u64::from(tables.mbufs.value), config.eal.memory_mb.value);
    let megabytes = (buffers * daemon::buffer_octets(config)).div_ceil(1 << 20);
    // What else the daemon takes comes on top; that shows when it starts.
    if megabytes > memory.into() {
        let message = format!(
            "{buffers} packet buffers take {megabytes} MiB, and eal.memory_mb is {memory}; lower \
             tables.mbufs or raise eal.memory_mb"
        );
        return Err(document.error(tables.mbufs.referenced, "tables.mbufs", message));
    }
    Ok(())
}

/// Why an address can't be a host's, and what would be right.
fn unusable_as_host(net: IpNet) -> Option<String> {
    let address = net.addr();
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Some(format!("{address} is no address of a host; give a unicast address"));
    }
    match net {
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.network() => {
            Some(format!("{address} is the network itself; give an address in it"))
        }
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.broadcast() => {
            Some(format!("{address} is the broadcast address; give an address before it"))
        }
        _ => None,
    }
}

fn is_interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && !name.starts_with('.')
}

/// What a port's `device` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// A NIC by its PCI address.
    Pci(String),
    /// A virtual device: driver and arguments.
    Virtual {
        /// Driver, as in `net_af_packet`; a number may stand behind it.
        driver: String,
        /// What follows the first comma.
        arguments: String,
    },
}

impl Device {
    /// Reads the text of YAML.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if is_pci_address(text) {
            return Some(Self::Pci(text.to_ascii_lowercase()));
        }
        let (driver, arguments) = text.split_once(',').unwrap_or((text, ""));
        let is_driver = driver.starts_with("net_")
            && driver.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_driver.then(|| Self::Virtual { driver: driver.into(), arguments: arguments.into() })
    }

    /// What must not be used twice: the PCI address, the kernel interface, or the whole text.
    fn identity(&self) -> String {
        match self {
            Self::Pci(address) => address.clone(),
            Self::Virtual { driver, arguments } => arguments
                .split(',')
                .find_map(|argument| argument.strip_prefix("iface="))
                .map_or_else(|| format!("{driver},{arguments}"), Into::into),
        }
    }

    /// The name DPDK knows the device by, for the port with this number.
    #[must_use]
    pub fn eal_name(&self, index: usize) -> String {
        match self {
            Self::Pci(address) => address.clone(),
            Self::Virtual { driver, .. } if driver.ends_with(|c: char| c.is_ascii_digit()) => {
                driver.clone()
            }
            Self::Virtual { driver, .. } => format!("{driver}{index}"),
        }
    }

    /// The argument of `--vdev`, where the device is virtual. net_af_packet gets a pair of queues
    /// for each of `workers`, unless YAML says how many: the kernel then spreads flows over them.
    #[must_use]
    pub fn vdev(&self, index: usize, workers: usize) -> Option<String> {
        let Self::Virtual { driver, arguments } = self else { return None };
        let mut vdev = self.eal_name(index);
        if !arguments.is_empty() {
            vdev = format!("{vdev},{arguments}");
        }
        if driver.starts_with("net_af_packet") && workers > 1 && !arguments.contains("qpairs=") {
            vdev = format!("{vdev},qpairs={workers}");
        }
        Some(vdev)
    }
}

/// `dddd:bb:dd.f`.
pub(crate) fn is_pci_address(text: &str) -> bool {
    let hex =
        |part: &str, len: usize| part.len() == len && part.chars().all(|c| c.is_ascii_hexdigit());
    let Some((slot, function)) = text.rsplit_once('.') else { return false };
    let mut parts = slot.split(':');
    let (domain, bus, device) = (parts.next(), parts.next(), parts.next());
    parts.next().is_none()
        && domain.is_some_and(|part| hex(part, 4))
        && bus.is_some_and(|part| hex(part, 2))
        && device.is_some_and(|part| hex(part, 2))
        && matches!(function.as_bytes(), [b'0'..=b'7'])
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
