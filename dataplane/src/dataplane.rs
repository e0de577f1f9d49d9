//! Putting a dataplane together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hearth_dpdk::{
    CryptoConfig, CryptoDevice, CryptoQueue, Eal, Mempool, Qsbr, Queues, RxQueue, TxQueue,
    mpsc_ring, spsc_ring,
};

use crate::capture::{self, CaptureReader, CaptureReaderParts};
use crate::config::{BuildError, Config, PortId};
use crate::control_port::{ControlPort, ControlPortParts, ControlRings};
use crate::counters::Counters;
use crate::crypto::device;
use crate::hints::hints;
use crate::missing::missing_sas;
use crate::sa::session::Sessions;
use crate::sharing::AssistEnds;
use crate::side::Pools;
use crate::table::shared::Tables;
use crate::table::writer::{TableWriter, WriterParts};
use crate::watch::{Shared, Watch};
use crate::worker::{Worker, WorkerParts};

/// Packets that a ring between workers, or from or to control, holds.
const RING_SIZE: u32 = 1024;
/// The most signalling that waits for control: 40 ms at 200,000 Binding Updates a second, and never
/// more than a quarter of the packet buffers.
const SIGNALLING_RING: u32 = 8192;
/// The part of the packet buffers, one in so many, that fragments may hold that wait for others:
/// anybody can send them.
const FRAGMENT_SHARE: u32 = 4;
/// Fragments that are kept of one packet at most.
const FRAGMENTS_OF_ONE: u32 = 8;

/// A port as the dataplane uses it. Its `PortId` is its place in the list.
#[derive(Debug)]
pub struct PortSetup {
    /// Its MAC address, also the TAP's.
    pub mac: [u8; 6],
    /// Octets of the largest IP packet that may leave by it.
    pub mtu: u16,
    /// Its queues: one transmit queue per worker; receive queues are dealt out to the workers.
    pub queues: Queues,
}

impl PortSetup {
    fn dpdk_number(&self) -> u16 {
        self.queues.tx.first().map_or(0, TxQueue::port)
    }
}

/// The workers, the tables' writer, control's end of the rings, and the counters.
pub struct Dataplane {
    /// One per core; each goes to a thread of its own.
    pub workers: Vec<Worker>,
    /// For the control thread.
    pub tables: TableWriter,
    /// For the control thread.
    pub control: ControlPort,
    /// For anybody.
    pub counters: Arc<Counters>,
}

impl Dataplane {
    /// Builds a dataplane over these ports. Packets that control sends come from `pool`.
    ///
    /// # Errors
    /// [`BuildError`]; the ports are closed then.
    pub fn new(
        eal: &Eal,
        config: &Config,
        ports: Vec<PortSetup>,
        pool: &Mempool,
    ) -> Result<Self, BuildError> {
        let name = own_name();
        let config = &checked(config, &ports, pool)?;
        let (sessions, device_queues) = open_crypto(eal, config)?;
        let tables = Arc::new(Tables::new(config)?);
        let pools = Pools::new(eal, &name, config, pool)?;
        let qsbr = readers(eal, &tables)?;
        let writer = TableWriter::new(WriterParts {
            tables: Arc::clone(&tables),
            eal,
            qsbr: qsbr.clone(),
            config,
            ports: u16::try_from(ports.len()).map_err(|_| BuildError::Config("ports"))?,
            name: name.clone(),
            sessions,
        })?;
        let counters = Arc::new(Counters::new(config.workers, ports.len()));
        let (missing, held) = missing_sas(eal, config, &tables, &name)?;
        let (hints, hinted) = hints(config.workers);
        let ring = |_| BuildError::Dpdk("a ring");
        let sized =
            |part: &str, size| mpsc_ring(eal, &format!("{name}_{part}"), size).map_err(ring);
        let many = |part: &str| sized(part, RING_SIZE);
        let (to_signalling, signalling) = sized("sig", signalling_room(pool))?;
        let (to_host, host) = many("host")?;
        let (copies, captured) = sized("copy", capture::RING_SIZE)?;
        let dpdk_ports = ports.iter().map(PortSetup::dpdk_number).collect();
        let watched = Arc::new(Shared::new(config.service));
        let inboxes = (0..config.workers).map(|worker| many(&format!("w{worker}")));
        let inboxes = inboxes.collect::<Result<Vec<_>, _>>()?;
        let peers: Vec<_> = inboxes.iter().map(|(producer, _)| producer.clone()).collect();
        let assists = AssistEnds::new(config.workers, |worker| many(&format!("a{worker}")))?;
        let (mut control_rings, mut workers) = (Vec::new(), Vec::new());
        let mut queues = deal(config.workers, ports, device_queues).into_iter();
        let ends = inboxes.into_iter().zip(assists).zip(missing).zip(hints);
        for (index, ((((_, inbox), assist), missing), hints)) in ends.enumerate() {
            let (producer, from_control) =
                spsc_ring(eal, &format!("{name}_c{index}"), RING_SIZE).map_err(ring)?;
            control_rings.push(producer);
            workers.push(Worker::new(WorkerParts {
                index,
                eal,
                config,
                pools: pools.clone(),
                queues: queues.next().unwrap_or_default(),
                tables: Arc::clone(&tables),
                writer: &writer,
                reader: qsbr.reader().ok_or(BuildError::Dpdk("a reader"))?,
                counters: Arc::clone(&counters),
                missing,
                hints,
                inbox,
                assist,
                from_control,
                peers: peers.clone(),
                signalling: to_signalling.clone(),
                host: to_host.clone(),
                watch: Watch::new(Arc::clone(&watched), copies.clone(), index),
            })?);
        }
        let capture = CaptureReader::new(CaptureReaderParts {
            shared: Arc::clone(&watched),
            ring: captured,
            eal: eal.clone(),
            pool: (format!("{name}_cap"), pool.data_room()),
            dpdk_ports,
        });
        let rings = ControlRings { to_workers: control_rings, signalling, host };
        let pool = pool.clone();
        let parts = ControlPortParts { pool, rings, held, hinted, capture, watched };
        Ok(Self { workers, tables: writer, control: ControlPort::new(parts), counters })
    }
}

/// Packets that the ring of signalling holds: a power of two.
fn signalling_room(pool: &Mempool) -> u32 {
    let quarter = (pool.available() + pool.in_use()) / 4;
    (1 << quarter.max(RING_SIZE).ilog2()).min(SIGNALLING_RING)
}

/// The prefix of this dataplane's names in DPDK, which no other of the process has.
fn own_name() -> String {
    static INSTANCE: AtomicU64 = AtomicU64::new(0);
    format!("hd{}", INSTANCE.fetch_add(1, Ordering::Relaxed) % 100_000)
}

/// The configuration, with no outer packet larger than what every port carries, and no more
/// strangers' fragments than the buffers can spare.
fn checked(config: &Config, ports: &[PortSetup], pool: &Mempool) -> Result<Config, BuildError> {
    check(config, ports)?;
    let path_mtu = ports.iter().map(|port| port.mtu).fold(config.path_mtu, u16::min);
    let workers = u32::try_from(config.workers).unwrap_or(u32::MAX);
    let buffers = pool.available().saturating_add(pool.in_use());
    let spare = buffers / FRAGMENT_SHARE / FRAGMENTS_OF_ONE / workers;
    let reassembly_packets = config.reassembly_packets.min(spare.max(1));
    Ok(Config { path_mtu, reassembly_packets, ..config.clone() })
}

/// The group of those who read the tables: the workers.
fn readers(eal: &Eal, tables: &Tables) -> Result<Qsbr, BuildError> {
    Qsbr::new(eal, tables.workers).map_err(|_| BuildError::Dpdk("the readers' group"))
}

/// The crypto device with a queue for each worker, where one is configured.
fn open_crypto(
    eal: &Eal,
    config: &Config,
) -> Result<(Option<Sessions>, Vec<CryptoQueue<'static>>), BuildError> {
    let Some(crypto) = &config.crypto_device else { return Ok((None, Vec::new())) };
    let setup = CryptoConfig {
        queues: u16::try_from(config.workers).map_err(|_| BuildError::Config("workers"))?,
        descriptors: device::DESCRIPTORS,
        // Two directions.
        sessions: crypto.max_sas.saturating_mul(2),
    };
    let opened = if crypto.device.starts_with("crypto_") {
        CryptoDevice::attach(eal, &crypto.device, &setup)
    } else {
        CryptoDevice::open(eal, &crypto.device, &setup)
    };
    let (device, queues) = opened.map_err(BuildError::CryptoDevice)?;
    Ok((Some(Sessions::new(device)), queues))
}

fn check(config: &Config, ports: &[PortSetup]) -> Result<(), BuildError> {
    let window = config.replay_window;
    let fields = [
        ("workers", (1..=128).contains(&config.workers)),
        ("spi_base", (1..=0x0fff_ffff).contains(&config.spi_base)),
        ("max_sas", (1..=0x1000_0000 - config.spi_base.min(0x0fff_ffff)).contains(&config.max_sas)),
        ("max_bindings", (1..=0x0400_0000).contains(&config.max_bindings)),
        ("max_prefixes", (1..=0x0800_0000).contains(&config.max_prefixes)),
        ("max_routes", (1..=1_000_000).contains(&config.max_routes)),
        ("max_neighbours", (1..=1_000_000).contains(&config.max_neighbours)),
        ("replay_window", window.is_power_of_two() && (64..=4096).contains(&window)),
        ("path_mtu", config.path_mtu >= 1280),
        ("dscp", config.dscp.is_none_or(|dscp| dscp < 64)),
        ("path_mtu_lifetime_s", config.path_mtu_lifetime_s >= 300),
        ("reassembly_packets", (1..=65_536).contains(&config.reassembly_packets)),
        ("reassembly_timeout_ms", (1..=60_000).contains(&config.reassembly_timeout_ms)),
        ("large_buffers", (1..=65_535).contains(&config.large_buffers)),
    ];
    if let Some((field, _)) = fields.iter().find(|(_, sound)| !sound) {
        return Err(BuildError::Config(field));
    }
    if ports.is_empty() {
        return Err(BuildError::NoPorts);
    }
    for (id, port) in (0..).map(PortId).zip(ports) {
        if port.queues.tx.len() < config.workers {
            return Err(BuildError::TxQueues(id));
        }
        if port.queues.rx.is_empty() {
            return Err(BuildError::RxQueues(id));
        }
    }
    Ok(())
}

/// One worker's share of the queues.
#[derive(Default)]
pub(crate) struct WorkerQueues {
    pub(crate) rx: Vec<(PortId, RxQueue)>,
    /// By port.
    pub(crate) tx: Vec<PortOut>,
    /// Of the crypto device, where there is one.
    pub(crate) device: Option<CryptoQueue<'static>>,
}

/// A port as one worker sends by it.
pub(crate) struct PortOut {
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u16,
    pub(crate) queue: TxQueue,
}

/// Gives every worker a transmit queue of each port, and deals out the receive queues. Ports with
/// fewer receive queues than workers start at different workers, so that none gets them all.
fn deal(
    workers: usize,
    ports: Vec<PortSetup>,
    device: Vec<CryptoQueue<'static>>,
) -> Vec<WorkerQueues> {
    let mut shares: Vec<WorkerQueues> = (0..workers).map(|_| WorkerQueues::default()).collect();
    for (share, queue) in shares.iter_mut().zip(device) {
        share.device = Some(queue);
    }
    for (id, port) in (0..).map(PortId).zip(ports) {
        for (queue, rx) in port.queues.rx.into_iter().enumerate() {
            if let Some(share) = shares.get_mut((queue + usize::from(id.0)) % workers.max(1)) {
                share.rx.push((id, rx));
            }
        }
        for (share, queue) in shares.iter_mut().zip(port.queues.tx) {
            share.tx.push(PortOut { mac: port.mac, mtu: port.mtu, queue });
        }
    }
    shares
}
