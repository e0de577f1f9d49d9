//! The whole pipeline: a dataplane worker's turns on prepared mbufs, between two ports of rings.
//!
//! ```text
//!   mobile nodes === port 0 [ worker ] port 1 === correspondent
//! ```
//!
//! Rings cost the worker what a very good driver would; no frame is copied. What feeds and empties
//! them is outside the timed part.

use core::net::IpAddr;

use hearth_dataplane::{
    Binding, Config, ControlPort, Counters, Dataplane, DropReason, PortId, PortSetup, Route,
    SaParameters, Service, TableWriter, Worker,
};
use hearth_dpdk::{Burst, Eal, Mempool, Port, RingConsumer, RingProducer, spsc_ring};
use hearth_wire::{MIPV6TLS_PORT, Scope, SeqNo};

use crate::buffers::{BUFFERS, Slots};
use crate::cycles;
use crate::fault::Fault;
use crate::frames::{self, CORRESPONDENT, Direction, GATEWAY, HOME_AGENT, SPI_BASE, Station};
use crate::keys::direction_keys;
use crate::raw::BURST;

const ACCESS: PortId = PortId(0);
const HOME: PortId = PortId(1);
/// MAC addresses of the next hops behind the ports.
const NEIGHBOUR_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0xaa, 1], [2, 0, 0, 0, 0xaa, 2]];
/// Frames that a port's ring holds.
const RING: u32 = 512;
/// Octets of a buffer: headroom and the largest outer packet.
const DATA_ROOM: u16 = 2304;

/// The far end of a port.
struct Wire {
    mac: [u8; 6],
    to_port: RingProducer,
    from_port: RingConsumer,
    _port: Port,
}

/// A dataplane with one worker, driven turn by turn.
pub(crate) struct Pipeline {
    worker: Worker,
    tables: TableWriter,
    counters: std::sync::Arc<Counters>,
    wires: [Wire; 2],
    pool: Mempool,
    _control: ControlPort,
}

impl Pipeline {
    /// A dataplane that knows these mobile nodes.
    pub(crate) fn new(
        eal: &Eal,
        pool: &Mempool,
        name: &str,
        stations: &[Station],
    ) -> Result<Self, Fault> {
        let (access, access_setup) = wire(eal, &format!("{name}_0"), pool)?;
        let (home, home_setup) = wire(eal, &format!("{name}_1"), pool)?;
        let Dataplane { mut workers, tables, control, counters } =
            Dataplane::new(eal, &config(stations.len()), vec![access_setup, home_setup], pool)?;
        let worker = workers.pop().ok_or(Fault::Pool)?;
        let wires = [access, home];
        let mut this =
            Self { worker, tables, counters, wires, pool: pool.clone(), _control: control };
        this.set_up_routes()?;
        for station in stations {
            this.attach(station)?;
        }
        for _ in 0..3 {
            this.tables.reclaim();
            this.worker.turn();
        }
        Ok(this)
    }

    fn set_up_routes(&mut self) -> Result<(), Fault> {
        let route = |prefix: IpAddr, len, port, gateway: Option<IpAddr>| Route {
            prefix: (prefix, len),
            port,
            gateway,
        };
        self.tables.set_local_addresses(&[HOME_AGENT.into()])?;
        self.tables.set_routes(&[
            route(core::net::Ipv6Addr::UNSPECIFIED.into(), 0, ACCESS, Some(GATEWAY.into())),
            route(GATEWAY.into(), 64, ACCESS, None),
            route(CORRESPONDENT.into(), 64, HOME, None),
        ])?;
        self.tables.set_neighbour(ACCESS, GATEWAY.into(), Some(NEIGHBOUR_MACS[0]))?;
        self.tables.set_neighbour(HOME, CORRESPONDENT.into(), Some(NEIGHBOUR_MACS[1]))?;
        Ok(())
    }

    fn attach(&mut self, station: &Station) -> Result<(), Fault> {
        self.tables.insert_sa(&SaParameters {
            spi: station.spi,
            suite: station.suite,
            scope: Scope::SignallingAndData,
            mn_to_ha: &direction_keys(station, Direction::Uplink)?,
            ha_to_mn: &direction_keys(station, Direction::Downlink)?,
            next_outbound: SeqNo(0),
        })?;
        let binding = Binding {
            home_address: station.home,
            ipv4_home_address: None,
            spi: station.spi,
            local: frames::service(),
            remote: station.remote,
        };
        self.tables.bind(&binding, &[])?;
        Ok(())
    }

    /// Where buffers come from.
    pub(crate) const fn pool(&self) -> &Mempool {
        &self.pool
    }

    /// MAC address of the port that packets of this direction come to.
    pub(crate) const fn ingress_mac(&self, direction: Direction) -> [u8; 6] {
        match direction {
            Direction::Uplink => self.wires[0].mac,
            Direction::Downlink => self.wires[1].mac,
        }
    }

    /// Sends every packet through, a burst a turn; they are in their places afterwards, in the
    /// order in which they came out. Returns the ticks that the turns took.
    pub(crate) fn pass(&mut self, direction: Direction, slots: &mut Slots) -> Result<u64, Fault> {
        let Self { worker, wires: [access, home], .. } = self;
        let (from, to) = match direction {
            Direction::Uplink => (access, home),
            Direction::Downlink => (home, access),
        };
        let mut ticks = 0;
        let (mut sent, mut received) = (0, 0);
        let mut out = Burst::<64>::new();
        loop {
            let mut burst = Burst::<BURST>::new();
            while sent < slots.len() && !burst.is_full() {
                let Some(mbuf) = slots.get_mut(sent).and_then(Option::take) else { break };
                sent += 1;
                burst.push(mbuf).map_err(|_| Fault::Room)?;
            }
            let fed = from.to_port.send(&mut burst);
            let start = cycles::now();
            let handled = worker.turn();
            let took = cycles::now().wrapping_sub(start);
            if fed == 0 && handled == 0 {
                break;
            }
            ticks += took;
            while to.from_port.receive(&mut out) > 0 {
                for mbuf in out.drain() {
                    if let Some(slot) = slots.get_mut(received) {
                        *slot = Some(mbuf);
                    }
                    received += 1;
                }
            }
        }
        if received == slots.len() { Ok(ticks) } else { Err(self.lost(sent, received)) }
    }

    fn lost(&self, sent: usize, received: usize) -> Fault {
        let drops = self.counters.snapshot();
        let drop = drops.drops().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 0);
        Fault::Lost { sent, received, drop: drop.map(|(reason, _): (DropReason, _)| reason) }
    }
}

fn config(stations: usize) -> Config {
    let room = u32::try_from(stations).unwrap_or(u32::MAX).saturating_add(64);
    Config {
        spi_base: SPI_BASE,
        max_sas: room,
        max_bindings: room,
        max_routes: 64,
        max_neighbours: 64,
        service: Service { ip6: Some(HOME_AGENT), ip4: None, port: MIPV6TLS_PORT },
        busy_poll: true,
        ..Config::default()
    }
}

/// The buffers of a whole run; a pool lives until the EAL goes.
pub(crate) fn pool(eal: &Eal) -> Result<Mempool, Fault> {
    // Some more than a row needs, for what a thread's cache keeps.
    let count = u32::try_from(2 * BUFFERS - 1).unwrap_or(u32::MAX);
    Mempool::new(eal, "perf", count, 256, DATA_ROOM)
        .map_err(|errno| Fault::Dpdk("a mempool", errno))
}

/// How long jobs ride in the pipeline, in microseconds.
pub(crate) fn max_job_age_us() -> u32 {
    config(0).max_job_age_us
}

fn wire(eal: &Eal, name: &str, pool: &Mempool) -> Result<(Wire, PortSetup), Fault> {
    let ring = |way: &str| {
        spsc_ring(eal, &format!("{name}{way}"), RING).map_err(|errno| Fault::Dpdk("a ring", errno))
    };
    let ((to_port, rx), (tx, from_port)) = (ring("i")?, ring("o")?);
    let (port, queues) = Port::from_rings(eal, name, vec![rx], vec![tx], pool)?;
    let mac = port.mac().map_err(|errno| Fault::Dpdk("a port", errno))?;
    Ok((Wire { mac, to_port, from_port, _port: port }, PortSetup { mac, mtu: 1500, queues }))
}
