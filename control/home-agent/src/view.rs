//! What the home agent shows of itself.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use hearth_wire::mh::{Status, TrafficSelector};
use hearth_wire::{MobileNodeId, Scope, Spi, Suite};
use ipnet::IpNet;

use crate::binding::More;
use crate::operate::OperationCounters;
use crate::policy::LIFETIME_UNIT;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use crate::tunnels::Tunnel;

/// A binding, to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingView<'a> {
    /// The home address.
    pub home_address: Ipv6Addr,
    /// The IPv4 home address, where one is bound as well.
    pub ipv4_home_address: Option<Ipv4Addr>,
    /// Whose binding it is.
    pub mn_id: &'a MobileNodeId,
    /// The SA of the last accepted Binding Update.
    pub spi: Spi,
    /// The registered care-of address and the port that data goes to.
    pub care_of: SocketAddr,
    /// The HA address and port that the mobile node uses.
    pub local: SocketAddr,
    /// Sequence number of the last accepted Binding Update.
    pub sequence: u16,
    /// The lifetime that was granted.
    pub lifetime: Duration,
    /// When the binding was first made.
    pub registered: Timestamp,
    /// When it ends unless it is refreshed.
    pub expires: Timestamp,
    /// Whether a NAT was found; `None` where none was looked for.
    pub nat: Option<bool>,
    /// Whether it is a mobile router's (RFC 3963).
    pub mobile_router: bool,
    /// Its mobile network prefixes, growing.
    pub prefixes: &'a [IpNet],
    pub(crate) more: Option<&'a More>,
}

/// One of several care-of addresses, to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CareOfView {
    /// Binding ID.
    pub bid: u16,
    /// BID-PRI, the lower the earlier used; `None` where the mobile node gave none.
    pub priority: Option<u8>,
    /// The address, and the port that data goes to.
    pub care_of: SocketAddr,
    /// The HA address and port that data comes from.
    pub local: SocketAddr,
    /// Whether a NAT was found; `None` where none was looked for.
    pub nat: Option<bool>,
    /// The lifetime that was granted.
    pub lifetime: Duration,
    /// When it ends unless it is refreshed.
    pub expires: Timestamp,
}

/// A flow binding, to look at (RFC 6089).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowView<'a> {
    /// Flow Identifier.
    pub id: u16,
    /// FID-PRI, the lower the earlier matched.
    pub priority: u16,
    /// Which packets.
    pub selector: &'a TrafficSelector,
    /// The Binding IDs, each of which gets a copy.
    pub bids: &'a [u16],
    /// Whether one of them is registered.
    pub active: bool,
}

impl<'a> BindingView<'a> {
    /// Flow bindings, by growing priority (RFC 6089).
    pub fn flows(&self) -> impl Iterator<Item = FlowView<'a>> + use<'a> {
        self.more.into_iter().flat_map(|more| {
            more.flows.iter().map(|flow| FlowView {
                id: flow.id,
                priority: flow.priority,
                selector: &flow.selector,
                bids: &flow.bids,
                active: flow.active(&more.care_of).next().is_some(),
            })
        })
    }

    /// Care-of addresses with Binding IDs, the one to be preferred first (RFC 5648); none where
    /// there is one without a Binding ID.
    pub fn care_of_addresses(&self) -> impl Iterator<Item = CareOfView> + use<'a> {
        let end = self.expires;
        let all = self.more.map_or(&[][..], |more| &more.care_of);
        all.iter().map(move |it| CareOfView {
            bid: it.bid,
            priority: (it.priority < Tunnel::NO_PRIORITY).then_some(it.priority),
            care_of: it.address.into(),
            local: it.local.into(),
            nat: it.nat,
            lifetime: LIFETIME_UNIT * u32::from(it.units),
            expires: it.expires.min(end),
        })
    }
}

/// An SA, to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaView<'a> {
    /// The SPI.
    pub spi: Spi,
    /// Whose SA it is.
    pub mn_id: &'a MobileNodeId,
    /// The ciphersuite.
    pub suite: Suite,
    /// The scope.
    pub scope: Scope,
    /// The home address.
    pub home_address: Ipv6Addr,
    /// The IPv4 home address, where one was assigned.
    pub ipv4_home_address: Option<Ipv4Addr>,
    /// Number of the issue for this mn-id.
    pub generation: u64,
    /// Where it is in its life.
    pub state: SaState,
    /// When it ends: its validity, or the grace time behind a newer one.
    pub ends: Timestamp,
    /// Why the mobile node is to fetch a new one, if it is.
    pub reinit: Option<Reinit>,
}

/// Where an SA is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaState {
    /// No Binding Update was accepted under it yet.
    Unused,
    /// A Binding Update was accepted under it, and none under a newer one.
    Used,
    /// A Binding Update was accepted under a newer one: it carries data only, for a grace time.
    Superseded,
}

impl SaState {
    /// The name, as the CLI shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Used => "used",
            Self::Superseded => "superseded",
        }
    }
}

/// Why the mobile node is to fetch a new SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reinit {
    /// The last tenth of the SA's validity has begun.
    Validity,
    /// A sequence number or the octet count reached its limit.
    SequenceLimit,
    /// The operator wants it.
    Operator,
}

/// Counters since the start.
#[derive(Debug, Clone)]
pub struct Counters {
    refusals: [u64; Refusal::ALL.len()],
    answers: [u64; 256],
    pub(crate) binding_errors: u64,
    pub(crate) refresh_requests: u64,
    pub(crate) operations: OperationCounters,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            refusals: [0; Refusal::ALL.len()],
            answers: [0; 256],
            binding_errors: 0,
            refresh_requests: 0,
            operations: OperationCounters::default(),
        }
    }
}

impl Counters {
    /// Packets discarded without an answer, for this reason.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refusals.get(refusal.index()).copied().unwrap_or(0)
    }

    /// Binding Acknowledgements sent with this status.
    #[must_use]
    pub fn answered(&self, status: Status) -> u64 {
        self.answers.get(usize::from(status.0)).copied().unwrap_or(0)
    }

    /// Statuses of which a Binding Acknowledgement was sent, with their number.
    pub fn answers(&self) -> impl Iterator<Item = (Status, u64)> {
        (0..=u8::MAX).map(Status).map(|status| (status, self.answered(status))).filter(|a| a.1 > 0)
    }

    /// Binding Errors sent.
    #[must_use]
    pub const fn binding_errors(&self) -> u64 {
        self.binding_errors
    }

    /// Binding Refresh Requests sent, repetitions included.
    #[must_use]
    pub const fn refresh_requests(&self) -> u64 {
        self.refresh_requests
    }

    /// Messages of the home agent's own accord.
    #[must_use]
    pub const fn operations(&self) -> &OperationCounters {
        &self.operations
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        if let Some(count) = self.refusals.get_mut(refusal.index()) {
            *count += 1;
        }
    }

    /// An answer with this status was not sent after all.
    pub(crate) fn withdraw(&mut self, status: Status) {
        if let Some(count) = self.answers.get_mut(usize::from(status.0)) {
            *count = count.saturating_sub(1);
        }
    }

    pub(crate) fn answer(&mut self, status: Status) {
        if let Some(count) = self.answers.get_mut(usize::from(status.0)) {
            *count += 1;
        }
    }
}
