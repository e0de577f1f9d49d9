//! The sans-I/O home agent: events and a time in, actions out (RFC 6275 s.10, RFC 5555 s.4.5,
//! RFC 6618 s.4.3).
//!
//! No clock, no socket, no thread, no log: [`HomeAgent::handle`] takes an [`Event`] and the time
//! and appends what is to be done, in order, as [`Action`]s. The caller calls it for every event,
//! and [`HomeAgent::tick`] when [`HomeAgent::next_deadline`] has come.
//!
//! | module | what | clause |
//! |---|---|---|
//! | `signalling` | a PType 8 packet as far as its message; Binding Error | RFC 6275 s.9.2, 9.3, R-33 |
//! | `registration` | a Binding Update's path, its silent checks, its answer | RFC 6275 s.9.5, R-35 |
//! | `judge`, `plan` | what an update will change, decided before anything is changed | RFC 6275 s.10.3, R-39 |
//! | `commit` | an accepted update, carried out or taken back | RFC 6275 s.10.3; RFC 5555 s.4.5; R-15 |
//! | `dsmipv6` | care-of address, NAT detection, IPv4 home address | RFC 5555 s.4.5; R-36, R-37 |
//! | `nemo`, `prefix_table` | mobile network prefixes, and whose they are | RFC 3963 s.6; R-27, R-36 |
//! | `services` | what goes with a permission | RFC 3963 s.6.6, RFC 5648 s.6.2, RFC 6089 s.5.3 |
//! | `mcoa` | several care-of addresses | RFC 5648 s.6 |
//! | `flows` | flow bindings | RFC 6089 s.5.3 |
//! | `binding`, `cache` | bindings, and where they are kept | RFC 6275 s.9.1, 10.1 |
//! | `sa`, `sa_table` | the life of the SAs, and where they are kept | RFC 6618 s.4.3, R-50 |
//! | `node` | mobile nodes | R-15 |
//! | `link` | home links and prefixes, discovery of both | RFC 6275 s.10.3.1, 10.4.1, 10.5, 10.6 |
//! | `ended` | SAs that must not come back | R-15, R-23 |
//! | `refresh` | Binding Refresh Requests | RFC 6275 s.9.5.5; R-31 |
//! | `operate`, `operations` | the operator's commands, and what goes on of its own accord | |
//! | `outstanding` | messages repeated until they are answered | |
//! | `revocation` | Binding Revocation | RFC 5846 |
//! | `switch` | Home Agent Switch before a shutdown | RFC 5142 |
//! | `heartbeat` | Heartbeats | RFC 5847 |
//! | `inner`, `listener`, `membership` | packets out of tunnels; multicast groups | RFC 6275 s.10.4.3; R-27 |
//! | `answer` | the messages sent | RFC 6275 s.6.1; R-29, R-30 |
//! | `icmp` | Parameter Problem | RFC 6275 s.9.2; R-33 |
//! | `tunnels` | a binding as the dataplane carries it | RFC 6275 s.10.4; R-27, R-32 |
//! | `timer`, `wheel` | what is due, in slices | |
//! | `persist`, `touched` | what outlives a restart | R-23, R-31, R-43 |
//! | `slab`, `spi_index`, `endpoint` | a million of everything in little memory | R-51 |
#![forbid(unsafe_code)]

mod answer;
mod binding;
mod cache;
mod commit;
mod dsmipv6;
mod ended;
mod endpoint;
mod event;
mod flows;
mod heartbeat;
mod icmp;
mod inner;
mod judge;
mod link;
mod listener;
mod mcoa;
mod membership;
mod nemo;
mod node;
mod operate;
mod operations;
mod outstanding;
mod persist;
mod plan;
mod policy;
mod prefix_table;
mod rate;
mod refresh;
mod refusal;
mod registration;
mod revocation;
mod sa;
mod sa_table;
mod services;
mod signalling;
mod slab;
mod spi_index;
mod switch;
mod time;
mod timer;
mod touched;
mod tunnels;
mod view;
mod wheel;

use core::net::Ipv6Addr;
use core::ops::Range;
use std::collections::HashSet;

use hearth_wire::Spi;

use binding::Binding;
use cache::BindingCache;
use commit::Undo;
use link::Links;
use operations::Operations;
use sa_table::{Sa, SaTable};
use slab::Id;
use timer::{Packed, Sweep};
use wheel::Wheel;

pub use event::{Action, Event, InnerPacket, Notice, SaEnd, SaInfo, SignallingPacket};
pub use link::{
    DiscoveryPolicy, HomeAgentView, HomeLink, HomePrefix, Lifetime, LinkCounters, LinkEvent,
    LinkPolicy, MobilePrefixPolicy, anycast,
};
pub use listener::ListenerView;
pub use membership::MulticastPolicy;
pub use operate::{
    Begun, Command, CommandError, OperationCounters, OperationNotice, OperationsPolicy, Selector,
};
pub use persist::{Change, Cursor, NotRestored, SA_LIFE_LEN, SaLife};
pub use policy::{LIFETIME_UNIT, Policy};
pub use refusal::Refusal;
pub use revocation::{Answer, Revoke};
pub use time::{Timestamp, WallClock};
pub use tunnels::{Defended, FlowRule, LinkId, Tunnel, Tunnels};
pub use view::{BindingView, CareOfView, Counters, FlowView, Reinit, SaState, SaView};

/// Steps of what is due that are taken before and after an event: enough that few events are ever
/// late, few enough that an event costs little more while a million timers run out.
const BESIDE: usize = 4;

/// Steps of what is due that an [`Event::Tick`] takes.
const SLICE: usize = 512;

/// One home agent: its SAs, its binding cache and its timers.
#[derive(Debug)]
pub struct HomeAgent {
    policy: Policy,
    sas: SaTable,
    cache: BindingCache,
    wheel: Wheel<Packed>,
    sweep: Option<Sweep>,
    links: Links,
    /// Numbers of the places of bindings that the dataplane is to be told of again.
    again: HashSet<u32>,
    /// Registrations of which the caller has not yet said that the dataplane took them.
    undo: Vec<Undo>,
    operations: Operations,
    counters: Counters,
    now: Timestamp,
}

impl HomeAgent {
    /// A home agent without SAs and bindings.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            sas: SaTable::default(),
            cache: BindingCache::default(),
            wheel: Wheel::new(),
            sweep: None,
            links: Links::default(),
            again: HashSet::new(),
            undo: Vec::new(),
            operations: Operations::default(),
            counters: Counters::default(),
            now: Timestamp::ZERO,
        }
    }

    /// Makes room for so many mobile nodes with one SA and one binding each, so that none of them
    /// has to wait while a table grows. Memory that is not used yet is address space only, but for
    /// some 8 octets a mobile node.
    pub fn reserve(&mut self, mobile_nodes: usize) {
        self.sas.reserve(mobile_nodes);
        self.cache.reserve(mobile_nodes);
        self.wheel.reserve(2 * mobile_nodes);
    }

    /// Takes in `event` at `now` and appends what is to be done to `out`; an `out` that is empty
    /// says that all earlier actions were carried out. Some of what was due until `now` is done
    /// before and after it; what is not counts as gone all the same: an SA that has ended
    /// authenticates nothing any more. [`Self::tick`] does the rest. A `now` before that of
    /// an earlier call counts as that one.
    pub fn handle(&mut self, now: Timestamp, event: Event<'_>, out: &mut Vec<Action>) {
        let now = self.advance(now);
        if let Event::BindRefused(home_address) = event {
            return self.bind_refused(now, home_address, out);
        }
        if out.is_empty() {
            self.undo.clear();
        }
        let steps = if event == Event::Tick { SLICE } else { BESIDE };
        self.run_timers(now, steps, out);
        self.run_links(now, steps, out);
        match event {
            Event::WatchBegun => self.watch_begun(),
            Event::WatchSynced => self.synced(now, None, out),
            Event::SpisSynced(spis) => self.synced(now, Some(spis), out),
            Event::SaIssued(info) => self.sa_issued(now, &info, out),
            Event::SaRevoked(spi) => self.sa_revoked(now, spi, out),
            Event::Signalling(packet) => {
                if let Err(refusal) = self.signalling(now, &packet, out) {
                    self.counters.refuse(refusal);
                    out.push(Action::Count(refusal));
                }
            }
            Event::SequenceNearEnd(spi) => self.want_reinit(now, spi, Reinit::SequenceLimit, out),
            Event::ReinitWanted(spi) => self.want_reinit(now, spi, Reinit::Operator, out),
            // Who wants to know why nothing came of it calls `operate`.
            Event::Operator(command) => drop(self.operate(now, &command, out)),
            Event::Silent(spi) => self.probe(now, spi, out),
            Event::Inner(inner) => {
                if let Err(refusal) = self.inner(now, &inner, out) {
                    self.counters.refuse(refusal);
                    out.push(Action::Count(refusal));
                }
            }
            Event::Link(event) => self.link_event(now, &event, out),
            Event::BindRefused(_) | Event::Tick => {}
        }
        // A grace time of 0 ends with the event that began it.
        self.run_timers(now, BESIDE, out);
    }

    fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        self.now
    }

    /// When [`Self::tick`] is to be called at the latest. Nothing may turn out to be due then:
    /// the wheel names the start of a slot, not always the deadline itself, and timers are not
    /// moved with every refresh.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if self.sweep.is_some() {
            return Some(self.now);
        }
        let operations = self.operations.wheel.next_deadline();
        let links = self.link_deadline();
        [self.wheel.next_deadline(), operations, links].into_iter().flatten().min()
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Counters since the start.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many bindings there are, those included that have lapsed and wait for a tick.
    #[must_use]
    pub fn binding_count(&self) -> usize {
        self.cache.live()
    }

    /// How many SAs there are, those included that have ended and wait for a tick.
    #[must_use]
    pub fn sa_count(&self) -> usize {
        self.sas.len()
    }

    /// All bindings, in no order.
    pub fn bindings(&self) -> impl Iterator<Item = BindingView<'_>> {
        self.cache.iter().filter_map(|binding| self.binding_view(binding))
    }

    /// Where a walk over all bindings ends that takes some places at a time: the others have their
    /// turn in between. A binding keeps its place while it lasts.
    #[must_use]
    pub fn binding_places(&self) -> usize {
        self.cache.places()
    }

    /// The bindings in these places.
    pub fn bindings_at(&self, places: Range<usize>) -> impl Iterator<Item = BindingView<'_>> {
        let places = places.start..places.end.min(self.binding_places());
        let ids = places.filter_map(Id::from_index);
        let entries = ids.filter_map(|id| self.cache.at(id)).filter(|entry| entry.is_bound());
        entries.filter_map(|binding| self.binding_view(binding))
    }

    /// The binding of `home_address`.
    #[must_use]
    pub fn binding(&self, home_address: Ipv6Addr) -> Option<BindingView<'_>> {
        self.cache.get(home_address).and_then(|binding| self.binding_view(binding))
    }

    /// All SAs, in no order.
    pub fn sas(&self) -> impl Iterator<Item = SaView<'_>> {
        self.sas.iter().filter_map(|sa| self.sa_view(sa))
    }

    /// The same for SAs as [`Self::binding_places`].
    #[must_use]
    pub fn sa_places(&self) -> usize {
        self.sas.places()
    }

    /// The SAs in these places.
    pub fn sas_at(&self, places: Range<usize>) -> impl Iterator<Item = SaView<'_>> {
        let places = places.start..places.end.min(self.sa_places());
        let ids = places.filter_map(Id::from_index);
        ids.filter_map(|id| self.sas.at(id)).filter_map(|sa| self.sa_view(sa))
    }

    /// The SA of `spi`.
    #[must_use]
    pub fn sa(&self, spi: Spi) -> Option<SaView<'_>> {
        self.sas.get(spi).and_then(|sa| self.sa_view(sa))
    }

    /// The SAs of a mobile node.
    pub fn sas_of_node(
        &self,
        mn_id: &hearth_wire::MobileNodeId,
    ) -> impl Iterator<Item = SaView<'_>> {
        let node = self.sas.nodes.find(mn_id);
        let ids = node.into_iter().flat_map(|node| self.sas.of_node(node));
        ids.filter_map(|id| self.sas.at(id)).filter_map(|sa| self.sa_view(sa))
    }

    /// `None` for what has ended.
    fn sa_view<'a>(&'a self, sa: &'a Sa) -> Option<SaView<'a>> {
        (sa.ends > self.now).then_some(())?;
        Some(SaView {
            spi: sa.spi,
            mn_id: self.sas.mn_id(sa.node)?,
            suite: sa.suite,
            scope: sa.scope,
            home_address: sa.home_address,
            ipv4_home_address: sa.ipv4_home_address,
            generation: sa.generation,
            state: sa.state,
            ends: sa.ends,
            reinit: sa.reinit(self.now),
        })
    }

    /// `None` for what has lapsed.
    fn binding_view<'a>(&'a self, binding: &'a Binding) -> Option<BindingView<'a>> {
        (binding.expires > self.now).then_some(())?;
        Some(BindingView {
            home_address: binding.home_address,
            ipv4_home_address: binding.ipv4_home_address,
            mn_id: self.sas.mn_id(binding.node)?,
            spi: self.sas.at(binding.sa)?.spi,
            care_of: binding.care_of.into(),
            local: binding.ways().next().map_or(binding.local, |(_, _, local, _)| local).into(),
            sequence: binding.sequence,
            lifetime: binding.lifetime(),
            registered: binding.registered,
            expires: binding.expires,
            nat: binding.care_of_addresses().first().map_or(binding.nat, |first| first.nat),
            mobile_router: binding.is_mobile_router(),
            prefixes: binding.prefixes(),
            more: binding.more.as_deref(),
        })
    }
}
