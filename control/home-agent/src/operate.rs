//! What the operator asks for, what he hears of it, and the policy of the messages that the home
//! agent sends of its own accord.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use hearth_wire::{MobileNodeId, Spi};

use crate::outstanding::Kind;
use crate::revocation::{Answer, Revoke};

/// How often, and how long, the home agent speaks of its own accord.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationsPolicy {
    /// A binding that was not refreshed is asked for by a Binding Refresh Request so long before
    /// its end, but not before three quarters of its lifetime have passed (RFC 6275 s.9.5.5). Zero:
    /// not asked for. Default: zero.
    pub refresh_request_before: Duration,
    /// Most Binding Refresh Requests a second. Default: 1000.
    pub refresh_requests_per_second: u32,
    /// How long the acknowledgement of a Binding Revocation Indication is waited for before it is
    /// sent again, not below 0.5 s (RFC 5846 s.11, `InitMINDelayBRIs`). Default: 1 s.
    pub revocation_delay: Duration,
    /// How often it is sent again (`BRIMaxRetriesNumber`). Default: 1.
    pub revocation_retries: u8,
    /// Most Binding Revocation Indications a second. Default: 1000.
    pub revocations_per_second: u32,
    /// Most Home Agent Switch messages a second, far below what the other home agents can register
    /// (RFC 5142 s.7, `MAX-HA-SWITCH-TRANSMIT-RATE`). Default: 1.
    pub switches_per_second: u32,
    /// How long a mobile node may be silent before it is asked by a Heartbeat whether it is there,
    /// and how long each answer is waited for (RFC 5847 s.3). Zero: it is not asked. Default: zero.
    pub heartbeat_interval: Duration,
    /// Heartbeats without an answer until a mobile node counts as unreachable
    /// (`MISSING_HEARTBEATS_ALLOWED`). Default: 3.
    pub heartbeats_missing: u32,
    /// Most Heartbeat requests a second. Default: 1000.
    pub heartbeats_per_second: u32,
    /// The restart counter in Heartbeat responses: grows with every start of this home agent that
    /// has lost its bindings. `None`: not said. Default: `None`.
    pub restart_counter: Option<u32>,
}

impl Default for OperationsPolicy {
    fn default() -> Self {
        Self {
            refresh_request_before: Duration::ZERO,
            refresh_requests_per_second: 1000,
            revocation_delay: Duration::from_secs(1),
            revocation_retries: 1,
            revocations_per_second: 1000,
            switches_per_second: 1,
            heartbeat_interval: Duration::ZERO,
            heartbeats_missing: 3,
            heartbeats_per_second: 1000,
            restart_counter: None,
        }
    }
}

impl OperationsPolicy {
    pub(crate) const fn per_second(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Refresh => self.refresh_requests_per_second,
            Kind::Revocation => self.revocations_per_second,
            Kind::Switch => self.switches_per_second,
            Kind::Heartbeat => self.heartbeats_per_second,
        }
    }
}

/// What the operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Mobile nodes are to fetch new SAs: the next refresh is answered with status 176.
    Reinit {
        /// Which.
        who: Selector,
        /// Ask for that refresh now, by a Binding Refresh Request, instead of waiting for it.
        invite: bool,
    },
    /// Bindings end (RFC 5846).
    Revoke {
        /// Which.
        who: Selector,
        /// What of them.
        what: Revoke,
        /// Revocation Trigger: see [`hearth_wire::mh::trigger`].
        trigger: u8,
    },
    /// Mobile nodes are sent to other home agents (RFC 5142), and no binding is made any more.
    Drain {
        /// The other home agents; none: mobile nodes have to find one themselves.
        to: Vec<Ipv6Addr>,
        /// When this home agent stops.
        within: Duration,
    },
    /// [`Command::Drain`] is taken back.
    Undrain,
}

/// Whom a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The mobile node with this home address of either family.
    HomeAddress(IpAddr),
    /// The SA, and the binding that was made under it.
    Spi(Spi),
    /// The mobile node.
    MnId(MobileNodeId),
    /// The mobile nodes of a realm: what stands behind the `@`, whatever its case.
    Realm(Box<str>),
    /// All of them.
    All,
}

/// Why a command is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandError {
    /// Nobody is meant: no binding, or no SA, or no such part of it.
    Nobody,
    /// It is being carried out already, or another one that excludes it.
    UnderWay,
    /// Too much is being carried out already; try again.
    Busy,
}

/// How far a command came at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It concerns so many bindings, or SAs, and each of them was dealt with.
    At(usize),
    /// It goes on part by part.
    Walk,
}

/// What became of messages and commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationNotice {
    /// A binding, or a part of it, was revoked.
    Revoked {
        /// The home address.
        home_address: Ipv6Addr,
        /// What of it.
        what: Revoke,
        /// What the mobile node said to it.
        answer: Answer,
    },
    /// A Binding Update was accepted, and ended the revocation of its binding.
    RevocationOverridden {
        /// The home address.
        home_address: Ipv6Addr,
    },
    /// The mobile node does not know Home Agent Switch messages, and is told no more (RFC 5142
    /// s.5.3).
    SwitchNotUnderstood {
        /// The home address.
        home_address: Ipv6Addr,
    },
    /// The mobile node does not know Heartbeats.
    HeartbeatNotUnderstood {
        /// The home address.
        home_address: Ipv6Addr,
    },
    /// The mobile node did not answer Heartbeats.
    Unreachable {
        /// The home address.
        home_address: Ipv6Addr,
    },
    /// The mobile node says that it was restarted.
    Restarted {
        /// The home address.
        home_address: Ipv6Addr,
        /// Its restart counter.
        counter: Option<u32>,
    },
    /// A command about many was carried out.
    Walked {
        /// So many bindings, or SAs, were concerned.
        matched: usize,
    },
}

/// Messages sent of the home agent's own accord, and answers to such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OperationCounters {
    /// Binding Revocation Indications, repetitions included.
    pub revocations: u64,
    /// Home Agent Switch messages, repetitions included.
    pub switches: u64,
    /// Heartbeat requests, repetitions included.
    pub heartbeats: u64,
    /// Heartbeat responses.
    pub heartbeats_answered: u64,
    /// Questions to multicast listeners.
    pub group_queries: u64,
}

impl Selector {
    /// Whether it may name more mobile nodes than one.
    pub(crate) const fn is_many(&self) -> bool {
        matches!(self, Self::Realm(_) | Self::All)
    }

    /// Whether a selector of many names this one.
    pub(crate) fn names(&self, mn_id: &MobileNodeId) -> bool {
        match self {
            Self::All => true,
            Self::Realm(realm) => {
                mn_id.realm().is_some_and(|of_it| of_it.eq_ignore_ascii_case(realm))
            }
            Self::HomeAddress(_) | Self::Spi(_) | Self::MnId(_) => false,
        }
    }
}
