//! A dataplane between two ports of rings, with routes, neighbours and mobile nodes.
//!
//! ```text
//!   mobile nodes === port 0 [ workers ] port 1 === correspondent
//! ```
//!
//! Rings cost a worker what a very good driver would; no frame is copied.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hearth_dataplane::{
    Binding, Config, ControlPort, Counters, Dataplane, DropReason, PortId, PortSetup, Route,
    SaParameters, Service, TableError, TableWriter, Tunnel, Worker,
};
use hearth_dpdk::{Eal, Mempool, Port, RingConsumer, RingProducer, spsc_ring};
use hearth_wire::{MIPV6TLS_PORT, Scope, SeqNo, Suite};

use crate::fault::Fault;
use crate::frames::{self, CORRESPONDENT, Direction, GATEWAY, HOME_AGENT, SPI_BASE, Station};
use crate::keys::direction_keys;

const ACCESS: PortId = PortId(0);
const HOME: PortId = PortId(1);
/// MAC addresses of the next hops behind the ports.
const NEIGHBOUR_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0xaa, 1], [2, 0, 0, 0, 0xaa, 2]];
/// How a rig is built.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Room for SAs and bindings.
    pub(crate) stations: u32,
    pub(crate) workers: usize,
    /// Frames that a port's ring holds.
    pub(crate) ring: u32,
    /// Octets of the largest IP packet.
    pub(crate) mtu: u16,
    /// What else of the configuration differs from the default.
    pub(crate) adjust: fn(&mut Config),
}

impl Default for Shape {
    fn default() -> Self {
        Self { stations: 1, workers: 1, ring: 512, mtu: 1500, adjust: |_| {} }
    }
}

/// The far end of a port.
pub(crate) struct Wire {
    pub(crate) mac: [u8; 6],
    pub(crate) to_port: RingProducer,
    /// One for each worker.
    pub(crate) from_port: Vec<RingConsumer>,
}

/// A dataplane whose workers nobody has started yet.
pub(crate) struct Rig {
    pub(crate) workers: Vec<Worker>,
    pub(crate) tables: TableWriter,
    pub(crate) counters: Arc<Counters>,
    /// Towards the mobile nodes, towards the correspondent.
    pub(crate) wires: [Wire; 2],
    pool: Mempool,
    _ports: [Port; 2],
    pub(crate) control: ControlPort,
}

/// A rig whose dataplane somebody else runs.
pub(crate) struct RigParts {
    pub(crate) workers: Vec<Worker>,
    pub(crate) tables: TableWriter,
    pub(crate) counters: Arc<Counters>,
    pub(crate) wires: [Wire; 2],
    pub(crate) control: ControlPort,
}

impl Rig {
    /// A dataplane that knows no mobile node yet. DPDK's objects are named after `name`.
    pub(crate) fn new(eal: &Eal, pool: &Mempool, name: &str, shape: &Shape) -> Result<Self, Fault> {
        let (access, access_port, access_setup) = wire(eal, &format!("{name}_0"), pool, shape)?;
        let (home, home_port, home_setup) = wire(eal, &format!("{name}_1"), pool, shape)?;
        let Dataplane { workers, tables, control, counters } =
            Dataplane::new(eal, &config(shape), vec![access_setup, home_setup], pool)?;
        let mut this = Self {
            workers,
            tables,
            counters,
            wires: [access, home],
            pool: pool.clone(),
            _ports: [access_port, home_port],
            control,
        };
        set_up_routes(&mut this.tables)?;
        this.settle();
        Ok(this)
    }

    /// What others run, and what has to outlive them.
    pub(crate) fn split(self) -> (RigParts, Box<dyn core::any::Any>) {
        let Self { workers, tables, counters, wires, pool, _ports, control } = self;
        (RigParts { workers, tables, counters, wires, control }, Box::new((_ports, pool)))
    }

    /// Makes a mobile node known: its SA and its binding.
    pub(crate) fn attach(&mut self, station: &Station) -> Result<(), Fault> {
        attach(&mut self.tables, station)
    }

    /// Lets every worker pass quiescent points, so that what was replaced is freed.
    pub(crate) fn settle(&mut self) {
        for _ in 0..3 {
            self.tables.reclaim();
            for worker in &mut self.workers {
                worker.turn();
            }
        }
    }

    /// Where buffers come from.
    pub(crate) const fn pool(&self) -> &Mempool {
        &self.pool
    }

    /// MAC address of the port that packets of this direction come to.
    pub(crate) const fn ingress_mac(&self, direction: Direction) -> [u8; 6] {
        let [access, home] = &self.wires;
        match direction {
            Direction::Uplink => access.mac,
            Direction::Downlink => home.mac,
        }
    }

    /// Where packets of this direction go in and come out.
    pub(crate) const fn ends(
        wires: &mut [Wire; 2],
        direction: Direction,
    ) -> (&mut Wire, &mut Wire) {
        let [access, home] = wires;
        match direction {
            Direction::Uplink => (access, home),
            Direction::Downlink => (home, access),
        }
    }

    /// Why packets are missing.
    pub(crate) fn lost(&self, sent: usize, received: usize) -> Fault {
        Fault::Lost { sent, received, drop: main_drop(&self.counters) }
    }
}

/// Adds a mobile node's SA and binding.
pub(crate) fn attach(tables: &mut TableWriter, station: &Station) -> Result<(), Fault> {
    let added = tables.insert_sa(&SaParameters {
        spi: station.spi,
        suite: station.suite,
        scope: Scope::SignallingAndData,
        mn_to_ha: &direction_keys(station, Direction::Uplink)?,
        ha_to_mn: &direction_keys(station, Direction::Downlink)?,
        next_outbound: SeqNo(0),
        grant: u16::MAX,
        inbound_floor: 0,
        epoch: 1,
    });
    if added == Err(TableError::KeyLength) && Suite::EXTENSIONS.contains(&station.suite) {
        return Err(Fault::NoSuite);
    }
    added?;
    Ok(bind(tables, station, station.remote)?)
}

/// Binds a mobile node that is at `remote`, or moves it there.
pub(crate) fn bind(
    tables: &mut TableWriter,
    station: &Station,
    remote: SocketAddr,
) -> Result<(), TableError> {
    let tunnel = Tunnel { bid: 0, spi: station.spi, local: frames::service(), remote };
    let binding = Binding {
        home_address: station.home,
        ipv4_home_address: None,
        defended: None,
        prefixes: &[],
        tunnels: &[tunnel],
        flows: &[],
    };
    tables.bind(&binding, &[])
}

/// The reason for which most packets were dropped.
pub(crate) fn main_drop(counters: &Counters) -> Option<DropReason> {
    let drops = counters.snapshot();
    let drop = drops.drops().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 0);
    drop.map(|(reason, _)| reason)
}

fn set_up_routes(tables: &mut TableWriter) -> Result<(), Fault> {
    let route = |prefix: IpAddr, len, port, gateway: Option<IpAddr>| Route {
        prefix: (prefix, len),
        port,
        gateway,
    };
    tables.set_local_addresses(&[HOME_AGENT.into()])?;
    tables.set_routes(&[
        route(Ipv6Addr::UNSPECIFIED.into(), 0, ACCESS, Some(GATEWAY.into())),
        route(GATEWAY.into(), 64, ACCESS, None),
        route(CORRESPONDENT.into(), 64, HOME, None),
    ])?;
    tables.set_neighbour(ACCESS, GATEWAY.into(), Some(NEIGHBOUR_MACS[0]))?;
    tables.set_neighbour(HOME, CORRESPONDENT.into(), Some(NEIGHBOUR_MACS[1]))?;
    Ok(())
}

fn config(shape: &Shape) -> Config {
    let room = shape.stations.saturating_add(64);
    let mut config = Config {
        workers: shape.workers,
        spi_base: SPI_BASE,
        max_sas: room,
        max_bindings: room,
        max_routes: 64,
        max_neighbours: 64,
        service: Service { ip6: Some(HOME_AGENT), ip4: None, port: MIPV6TLS_PORT },
        path_mtu: shape.mtu,
        busy_poll: true,
        ..Config::default()
    };
    (shape.adjust)(&mut config);
    config
}

/// How long jobs ride in the pipeline, in microseconds.
pub(crate) fn max_job_age_us() -> u32 {
    config(&Shape::default()).max_job_age_us
}

fn wire(
    eal: &Eal,
    name: &str,
    pool: &Mempool,
    shape: &Shape,
) -> Result<(Wire, Port, PortSetup), Fault> {
    let ring = |way: &str| {
        spsc_ring(eal, &format!("{name}{way}"), shape.ring)
            .map_err(|errno| Fault::Dpdk("a ring", errno))
    };
    let (to_port, rx) = ring("i")?;
    let (mut tx, mut from_port) = (Vec::new(), Vec::new());
    for worker in 0..shape.workers {
        let (producer, consumer) = ring(&format!("o{worker}"))?;
        tx.push(producer);
        from_port.push(consumer);
    }
    let (port, queues) = Port::from_rings(eal, name, vec![rx], tx, pool)?;
    let mac = port.mac().map_err(|errno| Fault::Dpdk("a port", errno))?;
    Ok((Wire { mac, to_port, from_port }, port, PortSetup { mac, mtu: shape.mtu, queues }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Lab;
    use crate::testing::with_lab;
    use hearth_dataplane::CryptoDeviceConfig;

    /// More than used to fill the heap of a process.
    const LIVES: u32 = 120;

    /// Makes a dataplane, lets it carry nothing, and drops it.
    fn live(lab: &Lab, workers: usize, adjust: fn(&mut Config)) {
        let shape = Shape { stations: 20, workers, adjust, ..Shape::default() };
        let mut rig = Rig::new(&lab.eal, &lab.pool, &lab.name(), &shape).unwrap();
        for (number, suite) in (0..20).zip(Suite::ALL.into_iter().cycle()) {
            rig.attach(&Station::new(number, suite).unwrap()).unwrap();
        }
        rig.settle();
    }

    /// How many octets and pieces of DPDK's heap somebody has after so many lives.
    fn taken(lab: &Lab, lives: u32, workers: usize, adjust: fn(&mut Config)) -> (u64, u32) {
        (0..lives).for_each(|_| live(lab, workers, adjust));
        let heap = lab.eal.heap();
        println!("after {lives}: {heap:?}");
        (heap.allocated, heap.allocations)
    }

    #[test]
    fn dataplanes_that_are_gone_leave_nothing_in_dpdks_heap() {
        with_lab(|lab| {
            // What DPDK makes once for a process stays.
            let before = taken(lab, 1, 2, |_| {});
            assert_eq!(taken(lab, LIVES, 2, |_| {}), before);
            let pools = lab.eal.pools();
            assert!(pools.iter().all(|pool| pool.in_use == 0), "{pools:?}");
        });
    }

    /// A daemon makes one dataplane, but a table for each change of its routes.
    #[test]
    fn routes_that_were_replaced_leave_nothing_either() {
        with_lab(|lab| {
            let shape = Shape::default();
            let mut rig = Rig::new(&lab.eal, &lab.pool, &lab.name(), &shape).unwrap();
            let mut heap_after = |changes| {
                for _ in 0..changes {
                    set_up_routes(&mut rig.tables).unwrap();
                    rig.settle();
                }
                lab.eal.heap()
            };
            let before = heap_after(1);
            let after = heap_after(LIVES);
            println!("{before:?}, after {LIVES} changes: {after:?}");
            assert_eq!(
                (after.allocated, after.allocations),
                (before.allocated, before.allocations)
            );
            assert!(after.largest_free * 10 > before.largest_free * 9, "the heap is in pieces");
        });
    }

    #[test]
    fn crypto_devices_that_are_gone_leave_less_than_a_kib() {
        let by_device = |config: &mut Config| {
            let device = "crypto_aesni_mb".to_owned();
            config.crypto_device = Some(CryptoDeviceConfig { device, max_sas: 64 });
        };
        with_lab(|lab| {
            let (before, _) = taken(lab, 1, 1, by_device);
            let (after, _) = taken(lab, 10, 1, by_device);
            // DPDK's driver itself keeps three small pieces of each device that it had.
            assert!(after - before <= 10 * 1024, "{before} {after}");
        });
    }
}
