//! A dataplane between two wires, driven turn by turn in the test's own thread.
//!
//! ```text
//!   MN (care-of) --- gateway === port 0 [ dataplane ] port 1 === CN (home link)
//!                                   |  control  |
//! ```
//!
//! The wires are rings, so that nothing is timed and nothing is lost unseen. A test ends with
//! [`Rig::finish`], which counts the mempool.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use hearth_dataplane::{
    Binding, Config, ControlPort, Counters, Dataplane, Defended, DropReason, FlowRule, FromWorker,
    HeldPacket, PortId, PortSetup, Route, SaParameters, Service, Snapshot, TableError, TableWriter,
    Tunnel, Worker,
};
use hearth_dpdk::{
    Burst, Eal, EalOptions, Mbuf, Mempool, Port, PortConfig, RingConsumer, RingProducer, spsc_ring,
};
use hearth_wire::directory::DirectionKeys;
use hearth_wire::mh::TrafficSelector;
use hearth_wire::{Scope, SeqNo, Spi, Suite};

use crate::codec::{self, Datagram, Keys, Opened, Plain};

pub const ACCESS: PortId = PortId(0);
pub const HOME: PortId = PortId(1);
pub const HA6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
pub const HA4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0xff);
pub const GATEWAY4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);
pub const CN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0xc0);
pub const CN4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 200);
pub const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0xaa, 1];
pub const CN_MAC: [u8; 6] = [2, 0, 0, 0, 0xaa, 2];
pub const SPI_BASE: u32 = 1000;
pub const SERVICE_PORT: u16 = 7872;

fn eal() -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| {
        // All tests of a binary may run in one process, and DPDK's heap gets holes meanwhile.
        let options = EalOptions { memory_mb: 2048, ..EalOptions::default() };
        Eal::init(&options).expect("DPDK starts")
    })
}

/// One test at a time: DPDK's names and this process's cores are shared.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Wire {
    mac: [u8; 6],
    /// By queue.
    to_port: Vec<RingProducer>,
    from_port: Vec<RingConsumer>,
    _port: Port,
}

/// All octets of a packet, in however many buffers.
fn octets(mbuf: &Mbuf) -> Vec<u8> {
    mbuf.segment_data().flatten().copied().collect()
}

/// A packet on a wire.
#[derive(Clone)]
pub struct Frame(pub Vec<u8>);

impl Frame {
    pub fn destination(&self) -> [u8; 6] {
        self.0[..6].try_into().unwrap()
    }

    pub fn packet(&self) -> &[u8] {
        &self.0[14..]
    }
}

/// What control was handed.
pub enum Event {
    Signalling {
        spi: u32,
        remote: SocketAddr,
        local: SocketAddr,
        next_header: u8,
        payload: Vec<u8>,
    },
    Host {
        port: PortId,
        frame: Vec<u8>,
    },
    Unresolved {
        port: PortId,
        next_hop: IpAddr,
        packet: HeldPacket,
    },
    UnknownSpi(u32),
    Inner {
        spi: u32,
        home_address: Ipv6Addr,
        packet: Vec<u8>,
    },
    HomeAgentDiscovery(Vec<u8>),
    PlainHomeAddress {
        from: Ipv6Addr,
        to: Ipv6Addr,
        home_address: Ipv6Addr,
    },
}

/// Somebody who claims an address: the port, the address, who, whether he only asks.
pub type Contest = (PortId, IpAddr, [u8; 6], bool);

pub struct Rig {
    pub tables: TableWriter,
    pub control: ControlPort,
    pub workers: Vec<Worker>,
    /// How a worker is made to take a turn; a test may want to stand beside it.
    pub turn: fn(&mut Worker) -> usize,
    counters: std::sync::Arc<Counters>,
    /// SAs that asked for more outbound numbers.
    #[allow(dead_code, reason = "not all who use the rig do")]
    pub near_grant: Vec<u32>,
    /// Who contested defended addresses.
    #[allow(dead_code, reason = "not all who use the rig do")]
    pub contested: Vec<Contest>,
    wires: Vec<Wire>,
    pool: Mempool,
    /// Buffers that the next packet is spread over.
    pub segments: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// A rig whose configuration is changed first.
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::sized(1500, 2304, change)
    }

    /// With ports of this MTU, and so many octets of room in a buffer.
    pub fn sized(mtu: u16, room: u16, change: impl FnOnce(&mut Config)) -> Self {
        Self::over(None, mtu, room, change)
    }

    /// With a DPDK device in the place of the access port's wire; tests have its other end.
    pub fn over(
        device: Option<&str>,
        mtu: u16,
        room: u16,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let alone = alone();
        let eal = eal();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut config = Config {
            spi_base: SPI_BASE,
            max_sas: 64,
            max_bindings: 64,
            max_routes: 64,
            max_neighbours: 64,
            // What is dropped is to be counted at once; `held` has tests of its own.
            signalling_hold_ms: 0,
            service: Service { ip6: Some(HA6), ip4: Some(HA4), port: SERVICE_PORT },
            // Tests of ICMP errors ask for them; in all others what stops is silent.
            icmp_errors_per_second: 0,
            large_buffers: 15,
            ..Config::default()
        };
        change(&mut config);
        let pool = Mempool::new(eal, &format!("rig{number}"), 2047, 0, room).unwrap();
        let queues = config.workers;
        let mut wires = Vec::new();
        let mut ports = Vec::new();
        if let Some(device) = device {
            let tx_queues = queues as u16;
            let setup = PortConfig { tx_queues, promiscuous: true, ..PortConfig::default() };
            let (port, queues) = Port::attach(eal, device, &setup, &pool).unwrap();
            let mac = port.mac().unwrap();
            ports.push(PortSetup { mac, mtu, queues });
            wires.push(Wire { mac, to_port: Vec::new(), from_port: Vec::new(), _port: port });
        }
        for port in ports.len()..2 {
            let ring = |way: &str, queue: usize| {
                spsc_ring(eal, &format!("rig{number}_{port}{way}{queue}"), 512).unwrap()
            };
            let (to_port, rx) = (0..queues).map(|queue| ring("i", queue)).unzip();
            let (tx, from_port): (Vec<_>, _) = (0..queues).map(|queue| ring("o", queue)).unzip();
            let name = format!("rig{number}_{port}");
            let (port, queues) = Port::from_rings(eal, &name, rx, tx, &pool).unwrap();
            let mac = port.mac().unwrap();
            ports.push(PortSetup { mac, mtu, queues });
            wires.push(Wire { mac, to_port, from_port, _port: port });
        }
        let Dataplane { workers, tables, control, counters } =
            Dataplane::new(eal, &config, ports, &pool).unwrap();
        let mut rig = Self {
            tables,
            control,
            workers,
            turn: Worker::turn,
            counters,
            near_grant: Vec::new(),
            contested: Vec::new(),
            wires,
            pool,
            segments: 1,
            _alone: alone,
        };
        rig.set_up_routes();
        rig
    }

    fn set_up_routes(&mut self) {
        let route = |prefix: &str, len, port, gateway: Option<IpAddr>| Route {
            prefix: (prefix.parse().unwrap(), len),
            port,
            gateway,
        };
        let routes = [
            route("::", 0, ACCESS, Some(GATEWAY6.into())),
            route("0.0.0.0", 0, ACCESS, Some(GATEWAY4.into())),
            route("2001:db8:a::", 64, ACCESS, None),
            route("198.51.100.0", 24, ACCESS, None),
            route("2001:db8:f::", 64, HOME, None),
            route("203.0.113.0", 24, HOME, None),
        ];
        self.tables.set_local_addresses(&[HA6.into(), HA4.into()]).unwrap();
        self.tables.set_routes(&routes).unwrap();
        for (port, address, mac) in [
            (ACCESS, IpAddr::from(GATEWAY6), GATEWAY_MAC),
            (ACCESS, GATEWAY4.into(), GATEWAY_MAC),
            (HOME, CN6.into(), CN_MAC),
            (HOME, CN4.into(), CN_MAC),
        ] {
            self.tables.set_neighbour(port, address, Some(mac)).unwrap();
        }
        self.reclaim();
    }

    /// Lets grace periods pass.
    pub fn reclaim(&mut self) {
        for _ in 0..3 {
            self.tables.reclaim();
            self.turns();
        }
    }

    /// Turns until two whole rounds find nothing to do: one may hand over to another worker what it
    /// kept of the round before.
    pub fn turns(&mut self) {
        let mut idle = 0;
        while idle < 2 {
            let handled = self.workers.iter_mut().map(self.turn).sum::<usize>();
            idle = if handled == 0 { idle + 1 } else { 0 };
        }
    }

    pub fn mac(&self, port: PortId) -> [u8; 6] {
        self.wires[usize::from(port.0)].mac
    }

    /// Puts a frame on a wire, to a queue of the port.
    pub fn inject(&mut self, port: PortId, queue: usize, frame: &[u8]) {
        let segments = std::mem::replace(&mut self.segments, 1);
        let mut parts = frame
            .chunks(frame.len().div_ceil(segments).max(1))
            .map(|part| self.pool.alloc_with(part).expect("an mbuf"));
        let mut mbuf = parts.next().or_else(|| self.pool.alloc()).expect("an mbuf");
        parts.for_each(|part| mbuf.append_chain(part).expect("one segment more"));
        self.wires[usize::from(port.0)].to_port[queue].push(mbuf).expect("room in the ring");
    }

    /// The same, where there is room; returns whether there was.
    pub fn try_inject(&mut self, port: PortId, queue: usize, frame: &[u8]) -> bool {
        let Some(mbuf) = self.pool.alloc_with(frame) else { return false };
        self.wires[usize::from(port.0)].to_port[queue].push(mbuf).is_ok()
    }

    /// Sends an IP packet to the port's own MAC address, and lets the workers turn.
    pub fn send(&mut self, port: PortId, packet: &[u8]) {
        let frame = codec::ethernet(self.mac(port), [2, 9, 9, 9, 9, 9], packet);
        self.inject(port, 0, &frame);
        self.turns();
    }

    /// Everything that came out of a port.
    pub fn received(&mut self, port: PortId) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut burst = Burst::<64>::new();
        for ring in &mut self.wires[usize::from(port.0)].from_port {
            while ring.receive(&mut burst) > 0 {
                frames.extend(burst.drain().map(|mbuf| Frame(octets(&mbuf))));
            }
        }
        frames
    }

    /// The one packet that came out of a port.
    pub fn received_one(&mut self, port: PortId) -> Frame {
        let mut frames = self.received(port);
        assert_eq!(frames.len(), 1, "one frame; drops: {:?}", self.drops());
        frames.remove(0)
    }

    /// Everything that control was handed.
    pub fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let Self { near_grant, contested, control, .. } = self;
        control.poll(1000, |event| {
            events.push(match event {
                FromWorker::Signalling(packet) => Event::Signalling {
                    spi: packet.spi.get(),
                    remote: packet.remote,
                    local: packet.local,
                    next_header: packet.next_header,
                    payload: packet.payload.to_vec(),
                },
                FromWorker::Host { port, frame } => Event::Host { port, frame: frame.to_vec() },
                FromWorker::Unresolved { port, next_hop, packet } => {
                    Event::Unresolved { port, next_hop, packet }
                }
                FromWorker::UnknownSpi(spi) => Event::UnknownSpi(spi.get()),
                FromWorker::NearGrant(spi) => return near_grant.push(spi.get()),
                FromWorker::Contested { port, address, mac, probing } => {
                    return contested.push((port, address, mac, probing));
                }
                FromWorker::Inner { spi, home_address, packet } => {
                    Event::Inner { spi: spi.get(), home_address, packet: packet.to_vec() }
                }
                FromWorker::HomeAgentDiscovery { packet } => {
                    Event::HomeAgentDiscovery(packet.to_vec())
                }
                FromWorker::PlainHomeAddress { from, to, home_address } => {
                    Event::PlainHomeAddress { from, to, home_address }
                }
            });
        });
        events
    }

    /// Takes all mbufs out of the pool but so many.
    #[allow(dead_code, reason = "not all who use the rig do")]
    pub fn exhaust(&self, left: u32) -> Vec<Mbuf> {
        (left..self.pool.available()).map(|_| self.pool.alloc().expect("an mbuf")).collect()
    }

    /// Mbufs that are not in the pool.
    pub fn in_use(&self) -> u32 {
        self.pool.in_use()
    }

    pub fn counters(&self) -> Snapshot {
        self.counters.snapshot()
    }

    /// The drop counters that are not 0.
    pub fn drops(&self) -> BTreeMap<&'static str, u64> {
        let drops = self.counters().drops().collect::<Vec<_>>();
        drops.into_iter().filter(|(_, n)| *n > 0).map(|(reason, n)| (reason.name(), n)).collect()
    }

    /// Sends a packet that has to be dropped for this reason, once, with nothing sent, nothing
    /// told to control, and SA and binding of the mobile node left as they were.
    pub fn refuses(&mut self, mn: &MobileNode, packet: &[u8], reason: DropReason) {
        let before = (self.drops(), self.tables.sa_usage(mn.spi));
        self.send(ACCESS, packet);
        let mut expected = before.0;
        *expected.entry(reason.name()).or_insert(0) += 1;
        assert_eq!(self.drops(), expected, "expected one {}", reason.name());
        assert_eq!(self.tables.sa_usage(mn.spi), before.1, "the window moved");
        self.is_silent();
        self.still_bound(mn);
        assert_eq!(self.drops(), expected);
    }

    /// The binding leads where the mobile node registered it.
    pub fn still_bound(&mut self, mn: &MobileNode) {
        for (from, to) in
            [(IpAddr::from(CN6), IpAddr::from(mn.home6)), (CN4.into(), mn.home4.into())]
        {
            self.send(HOME, &codec::ip(from, to, 17, b"still there?"));
            let datagram = Datagram::read(self.received_one(ACCESS).packet());
            assert_eq!((datagram.from, datagram.to), (mn.local, mn.remote), "the binding moved");
        }
    }

    /// Nothing came out anywhere.
    pub fn is_silent(&mut self) {
        assert!(self.received(ACCESS).is_empty());
        assert!(self.received(HOME).is_empty());
        let told = self.events().into_iter().filter(|event| !matches!(event, Event::UnknownSpi(_)));
        assert_eq!(told.count(), 0);
        assert_eq!(self.in_use(), 0, "kept or lost");
    }

    /// Adds the SA of a mobile node.
    pub fn insert_sa(&mut self, mn: &MobileNode) {
        self.try_insert_sa(mn).unwrap();
    }

    /// The same, where it may be refused.
    pub fn try_insert_sa(&mut self, mn: &MobileNode) -> Result<(), TableError> {
        self.insert_sa_at(mn, 0)
    }

    /// Adds an SA whose first outbound number is `next_outbound`.
    pub fn insert_sa_at(&mut self, mn: &MobileNode, next_outbound: u32) -> Result<(), TableError> {
        let keys = |keys: &Keys| {
            DirectionKeys::new(
                mn.suite,
                keys.integrity.clone().into(),
                keys.encryption.clone().into(),
            )
            .unwrap()
        };
        let (mn_to_ha, ha_to_mn) = (keys(&mn.up), keys(&mn.down));
        self.tables.insert_sa(&SaParameters {
            spi: mn.spi,
            suite: mn.suite,
            scope: mn.scope,
            mn_to_ha: &mn_to_ha,
            ha_to_mn: &ha_to_mn,
            next_outbound: SeqNo(next_outbound),
            grant: u16::MAX,
            inbound_floor: 0,
            epoch: 1,
        })
    }

    /// Binds a mobile node's home addresses to where it is.
    pub fn bind(&mut self, mn: &MobileNode) {
        mn.binding().bind(&mut self.tables, &[]).unwrap();
    }

    /// A mobile node with SA and binding.
    pub fn attach(&mut self, mn: MobileNode) -> MobileNode {
        self.insert_sa(&mn);
        self.bind(&mn);
        mn
    }

    /// Ends the test: every mbuf is back.
    pub fn finish(self) {
        let Self { tables, control, workers, wires, pool, .. } = self;
        drop((workers, control, tables, wires));
        assert_eq!(pool.in_use(), 0, "mbufs leaked");
    }
}

/// What control tells of a mobile node.
#[derive(Clone)]
pub struct Registration {
    pub home_address: Ipv6Addr,
    pub ipv4_home_address: Option<Ipv4Addr>,
    pub defended: Option<Defended>,
    pub prefixes: Vec<(IpAddr, u8)>,
    pub tunnels: Vec<Tunnel>,
    pub flows: Vec<(TrafficSelector, Vec<u16>)>,
}

impl Registration {
    pub fn bind(&self, tables: &mut TableWriter, carriers: &[Spi]) -> Result<(), TableError> {
        let flows: Vec<_> = self
            .flows
            .iter()
            .map(|(selector, tunnels)| FlowRule { selector: *selector, tunnels })
            .collect();
        let binding = Binding {
            home_address: self.home_address,
            ipv4_home_address: self.ipv4_home_address,
            defended: self.defended,
            prefixes: &self.prefixes,
            tunnels: &self.tunnels,
            flows: &flows,
        };
        tables.bind(&binding, carriers)
    }
}

/// A mobile node, as the codec plays it.
#[derive(Clone)]
pub struct MobileNode {
    pub suite: Suite,
    pub scope: Scope,
    pub spi: Spi,
    pub up: Keys,
    pub down: Keys,
    pub home6: Ipv6Addr,
    pub home4: Ipv4Addr,
    /// Care-of address and port.
    pub remote: SocketAddr,
    /// Home agent address and port that it uses.
    pub local: SocketAddr,
    pub seq: u32,
}

impl MobileNode {
    /// Number `n`, behind IPv6 or IPv4.
    pub fn new(n: u8, suite: Suite, scope: Scope, outer6: bool) -> Self {
        let local: IpAddr = if outer6 { HA6.into() } else { HA4.into() };
        let remote: IpAddr = if outer6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, n.into()).into()
        } else {
            Ipv4Addr::new(192, 0, 2, n).into()
        };
        Self {
            suite,
            scope,
            spi: Spi::new(SPI_BASE + u32::from(n)).unwrap(),
            up: Keys::new(suite, n),
            down: Keys::new(suite, n | 0x80),
            home6: Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 1, n.into()),
            home4: Ipv4Addr::new(203, 0, 113, n),
            remote: SocketAddr::new(remote, 40_000 + u16::from(n)),
            local: SocketAddr::new(local, SERVICE_PORT),
            seq: 0,
        }
    }

    /// The usual one for tests of a single thing.
    pub fn usual() -> Self {
        Self::new(1, Suite::Aes128CbcSha, Scope::SignallingAndData, true)
    }

    /// The way to it.
    pub fn tunnel(&self) -> Tunnel {
        Tunnel { bid: 0, spi: self.spi, local: self.local, remote: self.remote }
    }

    pub fn binding(&self) -> Registration {
        Registration {
            home_address: self.home6,
            ipv4_home_address: Some(self.home4),
            // On its home link.
            defended: Some(Defended { port: HOME, link_local: None, router: false }),
            prefixes: Vec::new(),
            tunnels: vec![self.tunnel()],
            flows: Vec::new(),
        }
    }

    /// A frame to be sealed, with this number.
    pub fn plain<'a>(&self, ptype: u8, seq: u32, next_header: u8, payload: &'a [u8]) -> Plain<'a> {
        Plain {
            ptype,
            spi: self.spi.get(),
            seq,
            next_header,
            payload,
            padding: None,
            pad_length: None,
            iv: std::array::from_fn(|i| i as u8 ^ seq as u8 ^ 0x77),
        }
    }

    /// An outer packet around a frame.
    pub fn packet(&self, frame: &[u8]) -> Vec<u8> {
        codec::udp_packet(self.remote, self.local, frame)
    }

    /// An outer packet around a sealed frame.
    pub fn sealed(&self, plain: &Plain<'_>) -> Vec<u8> {
        self.packet(&plain.seal(self.suite, &self.up))
    }

    /// A PType 1 packet around an inner packet, with the next number.
    pub fn data(&mut self, inner: &[u8]) -> Vec<u8> {
        let next_header = if inner[0] >> 4 == 6 { 41 } else { 4 };
        let packet = self.sealed(&self.plain(1, self.seq, next_header, inner));
        self.seq += 1;
        packet
    }

    /// A PType 0 packet around an inner packet.
    pub fn clear(&self, inner: &[u8]) -> Vec<u8> {
        self.packet(&[&[0; 8], inner].concat())
    }

    /// An inner packet from the home address to the correspondent.
    pub fn inner6(&self) -> Vec<u8> {
        codec::ip(self.home6.into(), CN6.into(), 17, b"data over IPv6, some of it")
    }

    /// An inner packet from the IPv4 home address to the correspondent.
    pub fn inner4(&self) -> Vec<u8> {
        codec::ip(self.home4.into(), CN4.into(), 17, b"data over IPv4")
    }

    /// Opens a packet that the home agent sent, and checks its outer headers.
    pub fn open(&self, frame: &Frame) -> Opened {
        let datagram = Datagram::read(frame.packet());
        assert_eq!((datagram.from, datagram.to), (self.local, self.remote));
        assert_eq!(datagram.hop_limit, 64);
        codec::open(self.suite, &self.down, &datagram.content)
    }
}
