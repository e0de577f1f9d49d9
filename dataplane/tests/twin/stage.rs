//! A world with tables of its own, and the changes that control makes to it between bursts.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hearth_dataplane::{CryptoDeviceConfig, PortId, Route, SaParameters, Worker};
use hearth_wire::directory::DirectionKeys;
use hearth_wire::{Scope, SeqNo, Spi};

use crate::chance::Chance;
use crate::codec::Keys;
use crate::model::{Content, Sa, Verdict, Way, Window, World};
use crate::node::Node;
use crate::rig::{
    ACCESS, CN_MAC, CN4, CN6, GATEWAY_MAC, GATEWAY4, GATEWAY6, HA4, HA6, HOME, MobileNode, Rig,
    SERVICE_PORT, SPI_BASE,
};
use crate::traffic::{SUITES, Traffic, somewhere};
use crate::watch::{self, Twins};

pub struct Stage {
    seed: u64,
    /// Packets of a burst at most.
    most: usize,
    seen: Seen,
    pub twins: Twins,
    pub traffic: Traffic,
}

/// Other addresses of the box, on the home link.
const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 2);
const OWN4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

fn route(prefix: &str, len: u8, port: PortId, gateway: Option<IpAddr>) -> Route {
    Route { prefix: (prefix.parse().unwrap(), len), port, gateway }
}

impl Stage {
    pub fn new(seed: u64, most: usize) -> Self {
        let workers = *Chance::new(seed ^ 0x77).one_of(&[1, 1, 2, 3]);
        Self::of(workers, seed, most, None)
    }

    /// Of so many workers, with a crypto device or without.
    pub fn of(workers: usize, seed: u64, most: usize, device: Option<&str>) -> Self {
        let mut chance = Chance::new(seed);
        let most = if chance.once_in(6) { 1 } else { most };
        let width = *chance.one_of(&[64, 256, 1024]);
        let path_mtu = *chance.one_of(&[1280, 1400, 1500, 1500]);
        let dscp = seed.is_multiple_of(3).then_some((seed % 64) as u8);
        let rig = Rig::with(|config| {
            config.workers = workers;
            config.crypto_device =
                device.map(|device| CryptoDeviceConfig { device: device.into(), max_sas: 64 });
            config.replay_window = width;
            config.path_mtu = path_mtu;
            config.dscp = dscp;
            // Fragments that wait are to be gone soon.
            config.reassembly_timeout_ms = 10;
            config.reassembly_packets = 1024;
            // A worker that waits for a slow one takes nothing in that could flood its ring.
            config.share_crypto = seed % 4 < 2;
            // Their rate is a matter of time, which the model has none of.
            config.icmp_errors_per_second = 0;
        });
        let world = World {
            macs: vec![rig.mac(ACCESS), rig.mac(HOME)],
            mtu: 1500,
            path_mtu: path_mtu.into(),
            dscp,
            service: [(true, HA6.into()), (false, HA4.into())].into(),
            service_port: SERVICE_PORT,
            ..World::default()
        };
        let traffic = Traffic {
            chance,
            nodes: Vec::new(),
            macs: world.macs.clone(),
            queues: workers,
            salt: 0,
            width,
            echoes: VecDeque::new(),
            pieces: VecDeque::new(),
            one_queue: false,
        };
        let mut stage =
            Self { seed, most, seen: Seen::default(), twins: Twins::new(rig, world), traffic };
        stage.lay_routes();
        stage.meet_neighbours();
        stage.settle_nodes();
        stage
    }

    fn lay_routes(&mut self) {
        let mut routes = vec![
            route("2001:db8:a::", 64, ACCESS, None),
            route("198.51.100.0", 24, ACCESS, None),
            route("2001:db8:f::", 64, HOME, None),
            route("203.0.113.0", 24, HOME, None),
            route("2001:db8:88::", 48, HOME, Some(CN6.into())),
            route("10.0.0.0", 8, HOME, Some(CN4.into())),
            route("10.1.0.0", 16, ACCESS, Some(GATEWAY4.into())),
        ];
        if !self.traffic.chance.once_in(5) {
            routes.push(route("::", 0, ACCESS, Some(GATEWAY6.into())));
            routes.push(route("0.0.0.0", 0, ACCESS, Some(GATEWAY4.into())));
        } else {
            // Without these mobile nodes are out of reach.
            routes.push(route("2001:db8:100::", 48, ACCESS, Some(GATEWAY6.into())));
            routes.push(route("192.0.2.0", 25, ACCESS, Some(GATEWAY4.into())));
        }
        for extra in [
            route("2001:db8:f::c0", 128, ACCESS, Some(GATEWAY6.into())),
            route("203.0.113.192", 26, ACCESS, None),
            route("2001:db8:300::", 40, HOME, Some(CN6.into())),
        ] {
            if self.traffic.chance.once_in(8) {
                routes.push(extra);
            }
        }
        let mut local = vec![IpAddr::from(HA6), HA4.into()];
        if !self.traffic.chance.once_in(4) {
            local.extend([IpAddr::from(OWN6), OWN4.into()]);
        }
        let Twins { rig, world, .. } = &mut self.twins;
        rig.tables.set_local_addresses(&local).unwrap();
        rig.tables.set_routes(&routes).unwrap();
        world.local = local;
        world.routes = routes;
    }

    fn meet_neighbours(&mut self) {
        let Twins { rig, world, .. } = &mut self.twins;
        for (port, address, mac) in [
            (ACCESS, IpAddr::from(GATEWAY6), GATEWAY_MAC),
            (ACCESS, GATEWAY4.into(), GATEWAY_MAC),
            (HOME, CN6.into(), CN_MAC),
            (HOME, CN4.into(), CN_MAC),
        ] {
            world.neighbours.insert((port, address), mac);
        }
        rig.reclaim();
    }

    fn settle_nodes(&mut self) {
        let mut n = 10;
        for suite in SUITES {
            for outer6 in [true, false] {
                for scope in [Scope::SignallingAndData, Scope::Signalling] {
                    let mut mn = MobileNode::new(n, suite, scope, outer6);
                    if self.traffic.chance.once_in(6) {
                        mn.seq = self.traffic.chance.bits() as u32;
                    }
                    self.traffic.nodes.push(Node::new(mn));
                    let node = usize::from(n) - 10;
                    self.insert(node);
                    if !self.traffic.chance.once_in(10) {
                        self.bind(node);
                    }
                    n += 1;
                }
            }
        }
        // Mobile nodes behind those mobile routers whose data is protected.
        let routers: Vec<_> = (0..self.traffic.nodes.len())
            .filter(|node| self.traffic.nodes[*node].has_network())
            .filter(|node| self.traffic.nodes[*node].mn.scope == Scope::SignallingAndData)
            .collect();
        for (place, scope) in
            [Scope::SignallingAndData, Scope::Signalling, Scope::SignallingAndData]
                .iter()
                .enumerate()
        {
            let router = *self.traffic.chance.one_of(&routers);
            let v6 = self.traffic.chance.once_in(2);
            let suite = *self.traffic.chance.one_of(&SUITES);
            let mut guest = Node::new(MobileNode::new(n, suite, *scope, v6));
            let host = self.traffic.nodes[router].host(v6, place as u8);
            guest.mn.remote = SocketAddr::new(host, 4000 + place as u16);
            guest.behind = Some(router);
            self.traffic.nodes.push(guest);
            let node = usize::from(n) - 10;
            self.insert(node);
            self.bind(node);
            n += 1;
        }
    }

    fn insert(&mut self, node: usize) {
        let chance = &mut self.traffic.chance;
        let mn = &self.traffic.nodes[node].mn;
        // Who gets the last numbers of several in one burst is nobody's business.
        let next = if self.most == 1 && chance.once_in(4) {
            0xfffe_ffff - chance.within(0..40) as u32
        } else {
            0
        };
        let keys = |keys: &Keys| {
            let (integrity, encryption) = (keys.integrity.clone(), keys.encryption.clone());
            DirectionKeys::new(mn.suite, integrity.into(), encryption.into()).unwrap()
        };
        let sa = SaParameters {
            spi: mn.spi,
            suite: mn.suite,
            scope: mn.scope,
            mn_to_ha: &keys(&mn.up),
            ha_to_mn: &keys(&mn.down),
            next_outbound: SeqNo(next),
            grant: u16::MAX,
            inbound_floor: 0,
            epoch: 1,
        };
        self.twins.rig.tables.insert_sa(&sa).unwrap();
        let sa = Sa {
            suite: mn.suite,
            scope: mn.scope,
            up: mn.up.clone(),
            down: mn.down.clone(),
            window: Window::new(self.traffic.width),
            window_before: None,
            accepted: Vec::new(),
            next_outbound: next.into(),
        };
        self.twins.world.sas.insert(mn.spi.get(), sa);
        self.twins.forget(mn.spi.get());
    }

    fn bind(&mut self, node: usize) {
        let chance = &mut self.traffic.chance;
        let mn = &self.traffic.nodes[node].mn;
        let mut binding = mn.binding();
        if chance.once_in(6) {
            binding.ipv4_home_address = None;
        }
        self.traffic.nodes[node].extend(&mut self.traffic.chance, &mut binding);
        self.traffic.nodes[node].ways.clone_from(&binding.tunnels);
        let mn = &self.traffic.nodes[node].mn;
        if self.twins.world.sas.contains_key(&mn.spi.get()) {
            let carriers = self.carriers(node);
            binding.bind(&mut self.twins.rig.tables, &carriers).unwrap();
            self.twins.world.bind(binding, &carriers);
        }
    }

    /// Some of the other SAs of the same mobile node.
    fn carriers(&mut self, node: usize) -> Vec<Spi> {
        let Traffic { nodes, chance, .. } = &mut self.traffic;
        let (home, spi) = (nodes[node].mn.home6, nodes[node].mn.spi);
        nodes
            .iter()
            .map(|node| &node.mn)
            .filter(|mn| mn.home6 == home && mn.spi != spi)
            .filter(|mn| self.twins.world.sas.contains_key(&mn.spi.get()) && chance.once_in(2))
            .map(|mn| mn.spi)
            .collect()
    }

    /// A mobile node gets another SA, and uses both.
    fn bootstrap_again(&mut self, node: usize) {
        let number = self.traffic.nodes.len();
        let Ok(spi) = Spi::new(SPI_BASE + 12 + number as u32) else { return };
        if number > 40 {
            return;
        }
        let seed = self.traffic.chance.octet();
        let old = &self.traffic.nodes[node].mn;
        let (up, down) = (Keys::new(old.suite, seed), Keys::new(old.suite, seed ^ 0x80));
        let mn = MobileNode { spi, up, down, seq: 0, ..old.clone() };
        let behind = self.traffic.nodes[node].behind;
        self.traffic.nodes.push(Node { behind, ..Node::new(mn) });
        self.insert(number);
        self.bind(number);
    }

    /// What control does now and then.
    pub fn change_something(&mut self) {
        let node = self.traffic.chance.within(0..self.traffic.nodes.len());
        let home = self.traffic.nodes[node].mn.home6;
        let spi = self.traffic.nodes[node].mn.spi;
        let known = self.twins.world.sas.contains_key(&spi.get());
        match self.traffic.chance.within(0..10) {
            0..4 => {
                // A hand-over, to the other family sometimes.
                let v6 = self.traffic.chance.once_in(2);
                let mut remote = somewhere(&mut self.traffic.chance, v6);
                if let Some(router) = self.traffic.nodes[node].behind {
                    let host = self.traffic.nodes[router].host(v6, self.traffic.chance.octet());
                    remote = SocketAddr::new(host, remote.port());
                }
                let mn = &mut self.traffic.nodes[node].mn;
                mn.remote = remote;
                mn.local.set_ip(if v6 { HA6.into() } else { HA4.into() });
                self.bind(node);
            }
            4 => {
                let bound = self.twins.rig.tables.unbind(home);
                assert_eq!(bound, self.twins.world.bindings.contains_key(&home));
                self.twins.world.unbind(home);
            }
            5 if known => {
                self.twins.rig.tables.remove_sa(spi).unwrap();
                self.twins.world.sas.remove(&spi.get());
                self.twins.world.carriers.remove(&spi.get());
            }
            5 | 6 if !known => {
                let fresh = self.traffic.chance.octet();
                let mn = &mut self.traffic.nodes[node].mn;
                mn.up = Keys::new(mn.suite, fresh);
                mn.down = Keys::new(mn.suite, fresh.wrapping_add(1));
                mn.seq = 0;
                self.insert(node);
                self.bind(node);
            }
            7 => {
                let gateway = *self.traffic.chance.one_of(&crate::traffic::GATEWAYS);
                let mac = (!self.traffic.chance.once_in(3)).then(|| {
                    let octet = self.traffic.chance.octet();
                    [2, 0, 0, 0, 0xaa, octet]
                });
                self.twins.rig.tables.set_neighbour(ACCESS, gateway, mac).unwrap();
                match mac {
                    Some(mac) => self.twins.world.neighbours.insert((ACCESS, gateway), mac),
                    None => self.twins.world.neighbours.remove(&(ACCESS, gateway)),
                };
            }
            // Seldom: new routes are a whole new table.
            8 if self.traffic.chance.once_in(12) => self.lay_routes(),
            8 => self.bootstrap_again(node),
            _ => self.bind(node),
        }
        self.twins.rig.reclaim();
    }

    /// Has every turn taken by this; for the test `quiet`.
    #[allow(dead_code)]
    pub fn watch(&mut self, turn: fn(&mut Worker) -> usize) {
        self.twins.rig.turn = turn;
    }

    /// Plays so many packets; returns how many there were.
    pub fn play(&mut self, packets: u64) -> u64 {
        let mut done = 0;
        while done < packets {
            if self.traffic.chance.once_in(4) {
                self.change_something();
            }
            for node in &mut self.traffic.nodes {
                let sa = self.twins.world.sas.get(&node.mn.spi.get());
                node.highest = sa.and_then(|sa| sa.window.highest());
            }
            let inputs = self.traffic.burst(self.most);
            let cuts: HashSet<usize> =
                (0..inputs.len()).filter(|_| self.traffic.chance.once_in(20)).collect();
            let (verdicts, differences) = self.twins.burst(&inputs, &cuts);
            if let Some(frame) = self.twins.sent.take() {
                self.traffic.echo(&frame);
            }
            if let Some(list) = differences.list() {
                let inputs = inputs.iter().zip(&verdicts);
                let lines: Vec<_> = inputs.map(|(i, v)| watch::describe(i, v)).collect();
                panic!(
                    "HEARTH_TWIN_SEED={} after {done} packets:\n{list}\nof\n{}",
                    self.seed,
                    lines.join("\n")
                );
            }
            for verdict in verdicts.iter().flat_map(Verdict::ends) {
                self.seen.count(verdict);
                if let Verdict::Out(out) = verdict
                    && let Way::Unresolved { port, next_hop } = out.way
                    && crate::traffic::GATEWAYS.contains(&next_hop)
                {
                    self.twins.rig.tables.set_neighbour(port, next_hop, Some(GATEWAY_MAC)).unwrap();
                    self.twins.world.neighbours.insert((port, next_hop), GATEWAY_MAC);
                }
            }
            done += inputs.len() as u64;
        }
        done
    }

    /// Every mbuf is back; what there was of each kind.
    pub fn finish(self) -> Seen {
        self.twins.rig.finish();
        self.seen
    }
}

/// How many packets came to which end.
#[derive(Default)]
pub struct Seen(pub BTreeMap<String, u64>);

impl Seen {
    fn count(&mut self, verdict: &Verdict) {
        let name = match verdict {
            Verdict::Drop(reason) => reason.name().to_owned(),
            Verdict::All(_) => return,
            Verdict::DropOneOf(reasons) => {
                reasons
                    .iter()
                    .for_each(|reason| *self.0.entry(reason.name().into()).or_default() += 1);
                return;
            }
            Verdict::Out(out) => {
                let way = match out.way {
                    Way::Wire { .. } => "sent",
                    Way::Host { .. } => "for the host",
                    Way::Untouched { .. } => "sent as it is",
                    Way::Unresolved { .. } => "held for a neighbour",
                    Way::ForControl { .. } => "for control",
                    Way::Signalling { .. } => "signalling",
                };
                match out.content {
                    Content::Octets(_) => way.to_owned(),
                    Content::Envelope { ptype, .. } => format!("{way} as PType {ptype}"),
                }
            }
        };
        *self.0.entry(name).or_default() += 1;
    }

    pub fn add(&mut self, other: Self) {
        for (name, count) in other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }
}
