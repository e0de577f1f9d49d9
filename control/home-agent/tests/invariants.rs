//! Random events keep the invariants: what the dataplane was told is what the home agent believes,
//! a binding has an SA that is alive, and every Binding Update that is not discarded is answered.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use hearth_home_agent::{
    Action, BindingView, Event, HomeAgent, Policy, SaInfo, SaState, SignallingPacket, Timestamp,
    Tunnels,
};
use hearth_wire::directory::Services;
use hearth_wire::mh::selector::Range;
use hearth_wire::mh::{
    self, Bid, BindingUpdate, BuFlags, BuOptions, Flow, FlowStatus, FlowSummary, Ids,
    Ipv4HomeAddress, Message, MobileNetworkPrefix, Repeated, Selector, Status, TrafficSelector,
};
use hearth_wire::{MobileNodeId, Scope, Spi, Suite, exthdr};
use ipnet::IpNet;
use proptest::prelude::*;

const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x6618, 0, 0, 0, 0, 1);
const HA4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NODES: u8 = 3;

fn home_address(node: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x6618, 0x100, 0, 0, 0, 10 + u16::from(node))
}

fn ipv4_home_address(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 10 + node)
}

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "a test's")]
enum Step {
    Issue {
        spi: u32,
        node: u8,
        home: u8,
        seconds: u64,
        generation: u64,
        services: Services,
    },
    Revoke(u32),
    WatchBegun,
    WatchSynced,
    /// `full`: the dataplane has no room for what comes of it.
    Update {
        spi: u32,
        home: Option<u8>,
        from: SocketAddr,
        update: BindingUpdate<'static>,
        more: More,
        full: bool,
    },
    /// A Binding Update whose mobility options are whatever: type and data.
    Options {
        spi: u32,
        from: SocketAddr,
        seq: u16,
        flags: u8,
        lifetime: u16,
        options: Vec<(u8, Vec<u8>)>,
    },
    Bytes {
        spi: u32,
        next_header: u8,
        payload: Vec<u8>,
    },
    SequenceNearEnd(u32),
    ReinitWanted(u32),
    Wait(u64),
}

/// Options that may stand several times.
#[derive(Debug, Clone, Default)]
struct More {
    prefixes: Vec<MobileNetworkPrefix>,
    bids: Vec<Bid>,
    flows: Vec<(u16, u16, Vec<u16>, Option<u16>)>,
    summary: Vec<u16>,
}

/// Prefixes that overlap, and one that lies in the home prefix.
const NETS: [&str; 5] = [
    "2001:db8:a::/48",
    "2001:db8:a:1::/64",
    "2001:db8:b::/64",
    "2001:db8:6618:100::8/126",
    "198.18.0.0/28",
];

fn net() -> impl Strategy<Value = IpNet> {
    (0..NETS.len()).prop_map(|n| NETS[n].parse().unwrap())
}

fn services() -> impl Strategy<Value = Services> {
    let prefixes = prop::collection::vec(net(), 0..3);
    let bools = (prop::bool::weighted(0.7), prop::bool::weighted(0.7));
    (prefixes, bools, 1..4u8, 0..3u8).prop_map(|(prefixes, (router, bulk), care_of, flows)| {
        Services {
            prefixes: prefixes.into(),
            mobile_router: router,
            care_of_addresses: care_of,
            bulk,
            flows,
            ..Services::default()
        }
    })
}

fn more() -> impl Strategy<Value = More> {
    let prefix = net().prop_map(|net| {
        let IpAddr::V6(prefix) = net.addr() else { return (Ipv6Addr::LOCALHOST, 1) };
        (prefix, net.prefix_len())
    });
    let prefix = prefix.prop_map(|(prefix, len)| MobileNetworkPrefix { prefix, len });
    let care_of = prop::option::of(remote().prop_map(|remote| remote.ip()));
    let bid = (0..5u16, any::<bool>(), 0..3u8, prop::bool::weighted(0.05), care_of).prop_map(
        |(id, _, priority, home, care_of)| Bid {
            id,
            status: Status::ACCEPTED,
            home,
            priority,
            care_of,
        },
    );
    let flow = (1..5u16, 1..5u16, prop::collection::vec(1..5u16, 0..3), prop::option::of(1..3u16));
    let few = |weight: f64| prop::bool::weighted(weight);
    let all = (
        prop::collection::vec(prefix, 0..3),
        prop::collection::vec(bid, 0..4),
        prop::collection::vec(flow, 0..4),
        prop::collection::vec(1..5u16, 0..3),
    );
    (all, few(0.3), few(0.5), few(0.4)).prop_map(|((prefixes, bids, flows, summary), p, b, f)| {
        let (mut more, all) = (More::default(), More { prefixes, bids, flows, summary });
        if p {
            more.prefixes = all.prefixes;
        }
        if b {
            more.bids = all.bids;
        }
        if f {
            (more.flows, more.summary) = (all.flows, all.summary);
        }
        more
    })
}

fn any_spi() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 1..5u32, 1 => 5..8u32]
}

fn remote() -> impl Strategy<Value = SocketAddr> {
    let addresses = prop_oneof![
        6 => Just("2001:db8:1::c".to_owned()),
        4 => Just("2001:db8:2::c".to_owned()),
        6 => Just("198.51.100.7".to_owned()),
        1 => Just("ff02::1".to_owned()),
        1 => (0..NODES).prop_map(|node| home_address(node).to_string()),
        1 => (0..NODES).prop_map(|node| ipv4_home_address(node).to_string()),
        1 => Just("2001:db8:a:1::c".to_owned()),
        1 => Just("2001:db8:b::c".to_owned()),
        1 => Just("198.18.0.7".to_owned()),
    ];
    (addresses, 4999..5002u16).prop_map(|(ip, port)| SocketAddr::new(ip.parse().unwrap(), port))
}

fn update() -> impl Strategy<Value = BindingUpdate<'static>> {
    let flags = (prop::bool::weighted(0.97), prop::bool::weighted(0.6), any::<bool>()).prop_map(
        |(h, r, o)| BuFlags {
            home_registration: h,
            mobile_router: r,
            overwrite: o,
            ..BuFlags::default()
        },
    );
    let ipv4 = (0..NODES, prop_oneof![Just(32u8), Just(28), 0..40u8], any::<bool>(), any::<bool>());
    let ipv4 = prop::option::of(ipv4.prop_map(|(node, prefix_len, prefix_request, any)| {
        let address = if any { Ipv4Addr::UNSPECIFIED } else { ipv4_home_address(node) };
        Ipv4HomeAddress { prefix_len, prefix_request, address }
    }));
    let alternate = prop::option::weighted(0.2, remote()).prop_map(|remote| match remote {
        Some(SocketAddr::V6(remote)) => Some(*remote.ip()),
        _ => None,
    });
    let lifetime = prop_oneof![1 => Just(0u16), 6 => 1..20u16, 2 => any::<u16>()];
    (0..64u16, flags, lifetime, ipv4, alternate).prop_map(
        |(seq, flags, lifetime, ipv4_hoa, alternate_coa)| BindingUpdate {
            seq,
            flags,
            lifetime,
            options: BuOptions { alternate_coa, ipv4_hoa, ..BuOptions::default() },
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let node = prop_oneof![5 => Just(None), 1 => (0..NODES).prop_map(Some)];
    let issue = (any_spi(), node, 1..200u64, 0..32u64, services()).prop_map(|it| {
        let (spi, home, seconds, generation, services) = it;
        let node = u8::try_from(spi).unwrap() % NODES;
        let home = home.unwrap_or(node);
        Step::Issue { spi, node, home, seconds, generation, services }
    });
    let home = prop::option::weighted(0.95, Just(()));
    let bound = (any_spi(), home, remote(), (update(), more()), prop::bool::weighted(0.2));
    let bu = bound.prop_map(|(spi, home, from, (update, more), full)| {
        let home = home.map(|()| u8::try_from(spi).unwrap() % NODES);
        Step::Update { spi, home, from, update, more, full }
    });
    let bytes = (any_spi(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..80));
    let types =
        prop_oneof![6 => prop::sample::select(&[6u8, 29, 35, 44, 45][..]), 1 => any::<u8>()];
    let option = (types, prop::collection::vec(any::<u8>(), 0..24));
    let numbers = (0..64u16, any::<u8>(), prop_oneof![Just(0u16), 1..20u16]);
    let options = (any_spi(), remote(), numbers, prop::collection::vec(option, 0..40));
    let options = options.prop_map(|(spi, from, (seq, flags, lifetime), options)| Step::Options {
        spi,
        from,
        seq,
        flags,
        lifetime,
        options,
    });
    prop_oneof![
        2 => options,
        2 => issue,
        24 => bu,
        1 => any_spi().prop_map(Step::Revoke),
        1 => Just(Step::WatchBegun),
        1 => Just(Step::WatchSynced),
        1 => any_spi().prop_map(Step::SequenceNearEnd),
        1 => any_spi().prop_map(Step::ReinitWanted),
        3 => prop_oneof![4 => 0..2_000u64, 1 => 0..100_000u64].prop_map(Step::Wait),
        2 => bytes.prop_map(|(spi, next_header, payload)| Step::Bytes { spi, next_header, payload }),
    ]
}

/// What the dataplane would hold.
#[derive(Debug, Default)]
struct Dataplane {
    sas: BTreeSet<Spi>,
    bindings: BTreeMap<Ipv6Addr, Tunnels>,
}

impl Dataplane {
    fn apply(&mut self, actions: &[Action]) {
        for action in actions.iter().cloned() {
            match action {
                Action::InstallSa(spi) => assert!(self.sas.insert(spi), "installed twice"),
                Action::RemoveSa(spi) => {
                    assert!(self.sas.remove(&spi));
                    let used = |b: &Tunnels| b.tunnels[0].spi == spi || b.carriers.contains(&spi);
                    assert!(!self.bindings.values().any(used), "removed under a binding");
                }
                Action::Bind(tunnels) => {
                    let home_address = tunnels.home_address;
                    assert_ne!(self.bindings.get(&home_address), Some(&*tunnels), "to no effect");
                    self.bindings.insert(home_address, *tunnels);
                }
                Action::Unbind { home_address } => {
                    assert!(self.bindings.remove(&home_address).is_some());
                }
                Action::SendSignalling { spi, .. } => assert!(self.sas.contains(&spi)),
                Action::SendData { home_address, .. } => {
                    assert!(self.bindings.contains_key(&home_address));
                }
                // No home link is configured.
                Action::Frame { .. } | Action::SendPlain { .. } => panic!("{action:?}"),
                Action::Notice(_) | Action::Count(_) | Action::Group { .. } => {}
            }
        }
    }

    fn agrees_with(&self, ha: &HomeAgent) {
        let sas: BTreeSet<_> = ha.sas().map(|sa| sa.spi).collect();
        assert_eq!(self.sas, sas);
        assert_eq!((self.bindings.len(), ha.sa_count()), (ha.binding_count(), sas.len()));
        let (mut ipv4, mut prefixes) = (BTreeSet::new(), Vec::new());
        for binding in ha.bindings() {
            let carried = &self.bindings[&binding.home_address];
            let carriers: BTreeSet<_> = ha
                .sas()
                .filter(|sa| sa.mn_id == binding.mn_id && sa.home_address == binding.home_address)
                .map(|sa| sa.spi)
                .collect();
            assert_eq!(carried.carriers, carriers.into_iter().collect::<Vec<_>>());
            assert_eq!(carried.ipv4_home_address, binding.ipv4_home_address);
            let tunnel = carried.tunnels[0];
            assert_eq!((tunnel.spi, tunnel.remote), (binding.spi, binding.care_of));
            assert_eq!(tunnel.local, binding.local);
            carries_more(carried, &binding);
            assert_eq!(carried.prefixes, binding.prefixes);
            for prefix in binding.prefixes {
                let overlaps = |other: &IpNet| other.contains(prefix) || prefix.contains(other);
                assert!(!prefixes.iter().any(overlaps), "{prefix} is two bindings'");
            }
            prefixes.extend_from_slice(binding.prefixes);
            assert!(binding.ipv4_home_address.is_none_or(|address| ipv4.insert(address)));
            let sa = ha.sa(binding.spi).unwrap();
            assert_eq!((sa.mn_id, sa.home_address), (binding.mn_id, binding.home_address));
            assert_ne!(sa.state, SaState::Unused);
            assert!(binding.expires <= sa.ends);
        }
    }
}

struct World {
    ha: HomeAgent,
    /// When an SA was removed: SPI and generation; the SPI says whose it is.
    ended: BTreeMap<(Spi, u64), Timestamp>,
    now: Timestamp,
    dataplane: Dataplane,
}

impl World {
    fn new() -> Self {
        let policy = Policy {
            home_prefixes: vec![
                "2001:db8:6618:100::/64".parse().unwrap(),
                "203.0.113.0/24".parse().unwrap(),
            ],
            ha_addresses: vec![HA.into()],
            max_bindings: NODES.into(),
            max_sas_per_node: 2,
            max_lifetime: Duration::from_secs(100),
            care_of_moves_per_minute: 8,
            ..Policy::default()
        };
        let dataplane = Dataplane::default();
        let ended = BTreeMap::new();
        Self { ha: HomeAgent::new(policy), ended, now: Timestamp::ZERO, dataplane }
    }

    /// Every mobile node has an SA, and two of them prefixes that overlap.
    fn begin(&mut self) {
        for spi in 1..=4 {
            let node = u8::try_from(spi).unwrap() % NODES;
            let few = if node == 0 { &NETS[3..] } else { &NETS[..3] };
            let services = Services {
                prefixes: few.iter().map(|net| net.parse().unwrap()).collect(),
                mobile_router: true,
                care_of_addresses: 3,
                bulk: true,
                flows: 2,
                ..Services::default()
            };
            let (seconds, generation) = (150, spi.into());
            self.take(Step::Issue { spi, node, home: node, seconds, generation, services });
        }
    }

    fn handle(&mut self, event: Event<'_>) -> Vec<Action> {
        self.handle_with(event, false)
    }

    fn handle_with(&mut self, event: Event<'_>, full: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        let before: Vec<_> = self.ha.sas().map(|sa| (sa.spi, sa.generation)).collect();
        self.ha.handle(self.now, event, &mut actions);
        // The one that was registered; others that lost prefixes to it come first.
        let bind = actions.iter().rposition(|action| matches!(action, Action::Bind(_)));
        if full && let Some(bind) = bind {
            let Action::Bind(tunnels) = &actions[bind] else { unreachable!() };
            let home_address = tunnels.home_address;
            // Answer and notice go with it; an invitation to refresh may stand behind them.
            actions.truncate(bind);
            self.ha.handle(self.now, Event::BindRefused(home_address), &mut actions);
            let tried_again = |action: &Action| matches!(action, Action::Bind(tunnels) if tunnels.home_address == home_address);
            assert!(!actions.iter().any(tried_again));
        }
        self.dataplane.apply(&actions);
        // what is gone stays gone, for an hour at least.
        for sa in self.ha.sas().filter(|sa| !before.contains(&(sa.spi, sa.generation))) {
            let ended = self.ended.get(&(sa.spi, sa.generation));
            let hour = Duration::from_secs(3600);
            assert!(ended.is_none_or(|ended| ended.after(hour) <= self.now), "{sa:?} is back");
        }
        for name in before {
            if self.ha.sa(name.0).is_none_or(|sa| sa.generation != name.1) {
                self.ended.insert(name, self.now);
            }
        }
        self.dataplane.agrees_with(&self.ha);
        for binding in self.ha.bindings() {
            assert!(binding.expires > self.now);
        }
        assert!(self.ha.sas().all(|sa| sa.ends > self.now));
        assert!(self.ha.next_deadline().is_none_or(|deadline| deadline > self.now));
        actions
    }

    fn packet(&mut self, spi: u32, from: SocketAddr, next_header: u8, payload: &[u8], full: bool) {
        let ha: IpAddr = if from.is_ipv4() { HA4.into() } else { HA.into() };
        let local = (ha, 7872).into();
        let spi = Spi::new(spi).unwrap();
        let packet = SignallingPacket { spi, remote: from, local, next_header, payload };
        let mut actions = Vec::new();
        // Timers run first; they are no part of what the packet does.
        actions.extend(self.handle(Event::Tick));
        assert!(actions.is_empty());
        let before = self.state();
        let actions = self.handle_with(Event::Signalling(packet), full);
        let counted = actions.iter().filter(|action| matches!(action, Action::Count(_))).count();
        let status = actions.iter().find_map(status_of);
        let changed = before != self.state();
        // A packet is discarded or answered, never both; only an accepted one changes anything,
        // and the answer says so.
        assert_eq!(counted, usize::from(status.is_none()), "{actions:?}");
        match status {
            Some(status) if status < 128 => assert!(changed),
            _ => assert!(!changed, "{status:?} {actions:?}"),
        }
    }

    /// All that a refused packet must not change.
    fn state(&self) -> (BTreeMap<Ipv6Addr, String>, BTreeMap<Spi, String>) {
        let bindings = self.ha.bindings().map(|b| (b.home_address, format!("{b:?}")));
        let sas = self.ha.sas().map(|sa| (sa.spi, format!("{sa:?}")));
        (bindings.collect(), sas.collect())
    }

    fn take(&mut self, step: Step) {
        let spi = |spi| Spi::new(spi).unwrap();
        match step {
            Step::Issue { spi: value, node, home, seconds, generation, services } => {
                let info = SaInfo {
                    spi: spi(value),
                    mn_id: MobileNodeId::new(&format!("{node}@example.org")).unwrap(),
                    suite: Suite::Aes128CbcSha,
                    scope: Scope::SignallingAndData,
                    home_address: home_address(home),
                    ipv4_home_address: Some(ipv4_home_address(home)),
                    ha_address: HA,
                    validity_end: self.now.after(Duration::from_secs(seconds)),
                    generation,
                    services,
                };
                self.handle(Event::SaIssued(info));
            }
            Step::Revoke(value) => {
                self.handle(Event::SaRevoked(spi(value)));
            }
            Step::WatchBegun => {
                self.handle(Event::WatchBegun);
            }
            Step::WatchSynced => {
                self.handle(Event::WatchSynced);
            }
            Step::SequenceNearEnd(value) => {
                self.handle(Event::SequenceNearEnd(spi(value)));
            }
            Step::ReinitWanted(value) => {
                self.handle(Event::ReinitWanted(spi(value)));
            }
            Step::Wait(ms) => self.wait(Duration::from_millis(ms)),
            Step::Bytes { spi, next_header, payload } => {
                let from = "[2001:db8:1::c]:5000".parse().unwrap();
                let payload = &payload[..];
                let next_header = if next_header < 128 { mh::PROTO } else { next_header };
                self.packet(spi, from, next_header, payload, false);
            }
            Step::Update { spi, home, from, update, more, full } => {
                self.update((spi, full), home, from, (update, &more));
            }
            Step::Options { spi, from, seq, flags, lifetime, options } => {
                self.options(spi, from, (seq, flags, lifetime), &options);
            }
        }
    }

    fn options(
        &mut self,
        spi: u32,
        from: SocketAddr,
        (seq, flags, lifetime): (u16, u8, u16),
        options: &[(u8, Vec<u8>)],
    ) {
        let source = home_address(u8::try_from(spi).unwrap() % NODES);
        let mut bytes = vec![exthdr::NO_NEXT_HEADER, 0, mh::mh_type::BU, 0, 0, 0];
        bytes.extend(seq.to_be_bytes());
        // A and H; R and O as they come.
        bytes.extend([flags | 0xc0, flags & 0x40]);
        bytes.extend(lifetime.to_be_bytes());
        for (option_type, data) in options {
            bytes.extend([*option_type, u8::try_from(data.len()).unwrap()]);
            bytes.extend(data);
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes[1] = u8::try_from(bytes.len() / 8 - 1).unwrap();
        let len = u32::try_from(bytes.len()).unwrap();
        let sum = hearth_wire::ip::pseudo_v6(source, HA, len, mh::PROTO).plus(&bytes).finish();
        bytes[4..6].copy_from_slice(&sum.to_be_bytes());
        let header = exthdr::home_address_header(mh::PROTO, source);
        let payload = [&header[..], &bytes].concat();
        self.packet(spi, from, exthdr::DESTINATION_OPTIONS, &payload, false);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(deadline) = self.ha.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline;
            self.handle(Event::Tick);
        }
        self.now = end;
    }

    fn update(
        &mut self,
        (spi, full): (u32, bool),
        home: Option<u8>,
        from: SocketAddr,
        (update, more): (BindingUpdate<'static>, &More),
    ) {
        let source = match (home, from) {
            (Some(node), _) => home_address(node),
            (None, SocketAddr::V6(from)) => *from.ip(),
            (None, SocketAddr::V4(_)) => Ipv6Addr::LOCALHOST,
        };
        let mut bytes = [0; 1024];
        let flows: Vec<_> = more.flows.iter().map(flow).collect();
        let summary = [FlowSummary { flows: Ids::List(&more.summary) }];
        let options = BuOptions {
            prefixes: Repeated::List(&more.prefixes),
            bids: Repeated::List(&more.bids),
            flows: Repeated::List(&flows),
            flow_summaries: Repeated::List(if more.summary.is_empty() { &[] } else { &summary }),
            ..update.options
        };
        let message = Message::BindingUpdate(BindingUpdate { options, ..update });
        let len = mh::emit(&message, source, HA, &mut bytes).unwrap();
        if home.is_some() {
            let options = exthdr::home_address_header(mh::PROTO, source);
            let payload = [&options[..], &bytes[..len]].concat();
            self.packet(spi, from, exthdr::DESTINATION_OPTIONS, &payload, full);
        } else {
            self.packet(spi, from, mh::PROTO, &bytes[..len], full);
        }
    }
}

fn flow((id, priority, bids, port): &(u16, u16, Vec<u16>, Option<u16>)) -> Flow<'_> {
    let selector = port.map(|port| {
        let destination_port = Some(Range::only(port));
        Selector::Binary(TrafficSelector { destination_port, ..TrafficSelector::ANY_IPV6 })
    });
    let status = FlowStatus::SUCCESS;
    Flow { id: *id, priority: *priority, status, bids: Ids::List(bids), selector }
}

/// Care-of addresses and flows of a binding, as the dataplane has to have them.
fn carries_more(carried: &Tunnels, binding: &BindingView<'_>) {
    let several: Vec<_> = binding.care_of_addresses().collect();
    let bids: Vec<_> = carried.tunnels.iter().map(|tunnel| tunnel.bid).collect();
    if several.is_empty() {
        assert_eq!(bids, [0]);
    } else {
        assert_eq!(several.iter().map(|it| it.bid).collect::<Vec<_>>(), bids);
        for (tunnel, it) in carried.tunnels.iter().zip(&several) {
            assert_eq!((tunnel.remote, tunnel.local), (it.care_of, it.local));
            assert_eq!(tunnel.remote.is_ipv4(), tunnel.local.is_ipv4());
            assert_eq!(tunnel.spi, binding.spi);
            assert!(it.bid != 0 && it.expires <= binding.expires);
        }
        assert!(several.iter().any(|it| it.expires == binding.expires));
    }
    let (mut ids, mut priorities) = (BTreeSet::new(), BTreeSet::new());
    let mut rules = carried.flows.iter();
    for flow in binding.flows() {
        assert!(ids.insert(flow.id) && priorities.insert(flow.priority));
        if flow.active {
            let rule = rules.next().unwrap();
            assert_eq!((rule.priority, &rule.selector), (flow.priority, flow.selector));
            assert!(!rule.tunnels.is_empty());
            assert!(rule.tunnels.iter().all(|bid| flow.bids.contains(bid) && bids.contains(bid)));
        }
    }
    assert_eq!(rules.next(), None);
}

/// The status of a Binding Acknowledgement: MH Type and status stand behind a routing header, or at
/// the start.
fn status_of(action: &Action) -> Option<u8> {
    let Action::SendSignalling { next_header, payload, .. } = action else { return None };
    let chain = exthdr::parse_chain(*next_header, payload).unwrap();
    let header = chain.mobility_header;
    (header[2] == mh::mh_type::BA).then_some(header[6])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hold_after_every_event(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        world.begin();
        for step in steps {
            world.take(step);
        }
        // In the end everything ends.
        world.wait(Duration::from_secs(1000));
        assert_eq!((world.ha.binding_count(), world.ha.sa_count()), (0, 0));
        assert_eq!(world.ha.next_deadline(), None);
        assert!(world.dataplane.sas.is_empty() && world.dataplane.bindings.is_empty());
    }
}
