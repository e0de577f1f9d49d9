//! The sans-I/O home agent: events and a time in, actions out (RFC 6275 s.10, RFC 5555 s.4.5,
//! RFC 6618 s.4.3).
//!
//! No clock, no socket, no thread, no log: [`HomeAgent::handle`] takes an [`Event`] and the time
//! and appends what is to be done, in order, as [`Action`]s. The caller calls it for every event,
//! and with [`Event::Tick`] when [`HomeAgent::next_deadline`] has come. Home addresses live in
//! routed prefixes: nothing is defended on a home link.
//!
//! | module | what | clause |
//! |---|---|---|
//! | `signalling` | a PType 8 packet as far as its message; Binding Error | RFC 6275 s.9.2, 9.3, R-33 |
//! | `registration` | a Binding Update's path | RFC 6275 s.9.5, 10.3, R-39 |
//! | `dsmipv6` | care-of address, NAT detection, IPv4 home address | RFC 5555 s.4.5; R-36, R-37 |
//! | `binding` | the binding cache | RFC 6275 s.9.1, 10.1 |
//! | `sa` | the life of the SAs | RFC 6618 s.4.3, R-50 |
//! | `ended` | SAs that must not come back | R-15, R-23 |
//! | `refresh` | Binding Refresh Requests | RFC 6275 s.9.5.5; R-31 |
//! | `answer` | the messages sent | RFC 6275 s.6.1; R-29, R-30 |
//! | `icmp` | Parameter Problem | RFC 6275 s.9.2; R-33 |
//! | `wheel` | timers | |
#![forbid(unsafe_code)]

mod answer;
mod binding;
mod dsmipv6;
mod ended;
mod event;
mod icmp;
mod policy;
mod rate;
mod refresh;
mod refusal;
mod registration;
mod sa;
mod signalling;
mod time;
mod timer;
mod view;
mod wheel;

use core::net::Ipv6Addr;

use hearth_wire::Spi;

use binding::{Binding, BindingCache};
use sa::{Sa, SaTable};
use timer::Timer;
use wheel::Wheel;

pub use event::{Action, Event, Notice, SaEnd, SaInfo, SignallingPacket};
pub use policy::{LIFETIME_UNIT, Policy};
pub use refusal::Refusal;
pub use time::{Timestamp, WallClock};
pub use view::{BindingView, Counters, Reinit, SaState, SaView};

/// One home agent: its SAs, its binding cache and its timers.
#[derive(Debug)]
pub struct HomeAgent {
    policy: Policy,
    sas: SaTable,
    cache: BindingCache,
    wheel: Wheel<Timer>,
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
            counters: Counters::default(),
            now: Timestamp::ZERO,
        }
    }

    /// Takes in `event` at `now` and appends what is to be done to `out`. What was due until `now`
    /// is done first: an SA that has ended authenticates nothing any more. A `now` before
    /// that of an earlier call counts as that one.
    pub fn handle(&mut self, now: Timestamp, event: Event<'_>, out: &mut Vec<Action>) {
        let now = now.max(self.now);
        self.now = now;
        self.run_timers(now, out);
        match event {
            Event::WatchBegun => self.watch_begun(),
            Event::WatchSynced => self.watch_synced(now, out),
            Event::SaIssued(info) => self.sa_issued(now, info, out),
            Event::SaRevoked(spi) => self.end_sa(now, spi, SaEnd::Revoked, out),
            Event::Signalling(packet) => {
                if let Err(refusal) = self.signalling(now, &packet, out) {
                    self.counters.refuse(refusal);
                    out.push(Action::Count(refusal));
                }
            }
            Event::SequenceNearEnd(spi) => self.want_reinit(now, spi, Reinit::SequenceLimit, out),
            Event::ReinitWanted(spi) => self.want_reinit(now, spi, Reinit::Operator, out),
            Event::Tick => {}
        }
        // A grace time of 0 ends with the event that began it.
        self.run_timers(now, out);
    }

    /// When [`Self::handle`] is to be called at the latest. Nothing may turn out to be due then:
    /// the wheel names the start of a slot, not always the deadline itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.wheel.next_deadline()
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

    /// How many bindings there are.
    #[must_use]
    pub fn binding_count(&self) -> usize {
        self.cache.live()
    }

    /// How many SAs there are.
    #[must_use]
    pub fn sa_count(&self) -> usize {
        self.sas.len()
    }

    /// All bindings, in no order.
    pub fn bindings(&self) -> impl Iterator<Item = BindingView<'_>> {
        self.cache.iter().map(|(home_address, binding)| binding_view(home_address, binding))
    }

    /// The binding of `home_address`.
    #[must_use]
    pub fn binding(&self, home_address: Ipv6Addr) -> Option<BindingView<'_>> {
        self.cache.get(home_address).map(|binding| binding_view(home_address, binding))
    }

    /// All SAs, in no order.
    pub fn sas(&self) -> impl Iterator<Item = SaView<'_>> {
        self.sas.iter().map(|(spi, sa)| self.sa_view(spi, sa))
    }

    /// The SA of `spi`.
    #[must_use]
    pub fn sa(&self, spi: Spi) -> Option<SaView<'_>> {
        self.sas.get(spi).map(|sa| self.sa_view(spi, sa))
    }

    fn sa_view<'a>(&self, spi: Spi, sa: &'a Sa) -> SaView<'a> {
        SaView {
            spi,
            mn_id: &sa.mn_id,
            suite: sa.suite,
            scope: sa.scope,
            home_address: sa.home_address,
            ipv4_home_address: sa.ipv4_home_address,
            generation: sa.generation,
            state: sa.state,
            ends: sa.ends,
            reinit: sa.reinit(self.now),
        }
    }
}

fn binding_view(home_address: Ipv6Addr, binding: &Binding) -> BindingView<'_> {
    BindingView {
        home_address,
        ipv4_home_address: binding.ipv4_home_address,
        mn_id: &binding.mn_id,
        spi: binding.spi,
        care_of: binding.care_of,
        local: binding.local,
        sequence: binding.sequence,
        lifetime: binding.lifetime,
        registered: binding.registered,
        expires: binding.expires,
        nat: binding.nat,
    }
}
