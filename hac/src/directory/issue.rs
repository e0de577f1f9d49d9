//! What a session asks the directory for.

use std::net::{Ipv4Addr, Ipv6Addr};

use hearth_wire::directory::{DirectionKeys, Services};
use hearth_wire::{MobileNodeId, Scope, Spi, Suite};
use ipnet::{IpNet, Ipv6Net};

use super::leases::Family;
use crate::config::{HomeAddress, LeasedNetworks, Subscriber};
use crate::policy::HomeAgentChoice;

/// An SA to be issued. Everything that the directory alone can know (SPI, leased home addresses,
/// generation) is filled in there.
#[derive(Debug)]
pub struct IssueRequest {
    /// Whose SA it is; a subscriber that proved to be it.
    pub mn_id: MobileNodeId,
    /// The ciphersuite.
    pub suite: Suite,
    /// The scope.
    pub scope: Scope,
    /// Keys for packets from MN to HA.
    pub mn_to_ha: DirectionKeys,
    /// Keys for packets from HA to MN.
    pub ha_to_mn: DirectionKeys,
    /// End of validity, unix seconds.
    pub validity_end: u64,
    /// What it is granted where that is not its subscriber's entry, as by an AAA server.
    pub grant: Option<Box<Grant>>,
    /// What is to be kept of it for accounting, unread; see [`super::Store::open_telling`].
    pub account: Option<Box<[u8]>>,
}

/// What a mobile node gets beside keys.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Index of its home agent in [`crate::config::Realm::home_agents`]; `None`: one is chosen.
    pub home_agent: Option<usize>,
    /// How it is chosen.
    pub choice: HomeAgentChoice,
    /// The region whose home agents come first, where it is chosen by region.
    pub region: Option<Box<str>>,
    /// The IPv6 home address; never [`HomeAddress::None`].
    pub ip6: HomeAddress<Ipv6Addr>,
    /// The IPv4 home address.
    pub ip4: HomeAddress<Ipv4Addr>,
    /// What it may beyond a home address.
    pub services: Services,
    /// Mobile networks beside those of its services.
    pub leased_networks: LeasedNetworks,
    /// Mobile networks that an AAA server has delegated, beside all of these.
    pub delegated: Vec<Ipv6Net>,
    /// SAs that it holds at most.
    pub max_sas: usize,
}

impl From<&Subscriber> for Grant {
    fn from(subscriber: &Subscriber) -> Self {
        Self {
            home_agent: subscriber.home_agent,
            choice: subscriber.policy.home_agent_choice,
            region: subscriber.region.clone(),
            ip6: subscriber.ip6,
            ip4: subscriber.ip4,
            services: subscriber.services.clone(),
            leased_networks: subscriber.leased_networks,
            delegated: Vec::new(),
            max_sas: subscriber.policy.max_sas,
        }
    }
}

/// Whose SAs are to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoke {
    /// This one.
    Spi(Spi),
    /// All of a mobile node.
    Node(MobileNodeId),
    /// All of the mobile nodes of a realm: what stands behind the last `@` of their mn-ids, in
    /// whatever case.
    Realm(Box<str>),
}

/// A pool of one home agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// What it holds.
    pub family: Family,
    /// Index of its home agent in [`crate::config::Realm::home_agents`].
    pub home_agent: usize,
}

/// Why nothing was issued; nothing was consumed either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueError {
    /// The home agent's range of SPIs is in use.
    NoSpi,
    /// No home agent that it can have is alive and has room.
    NoHomeAgent,
    /// The home agent's pool of home addresses is leased out.
    NoHomeAddress(Pool),
    /// The home agent's pool of mobile networks is leased out.
    NoMobileNetwork(Pool),
    /// The AAA server grants an address or a mobile network that is another's.
    Taken(IpNet),
    /// The clock can't be believed: an SA might have ended before it began.
    Clock,
    /// More sessions wait for the store than it can serve.
    Busy,
    /// The store failed.
    Store,
}

impl IssueError {
    /// As logs have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSpi => "NoSpi",
            Self::NoHomeAgent => "NoHomeAgent",
            Self::NoHomeAddress(_) => "NoHomeAddress",
            Self::NoMobileNetwork(_) => "NoMobileNetwork",
            Self::Taken(_) => "Taken",
            Self::Clock => "Clock",
            Self::Busy => "Busy",
            Self::Store => "Store",
        }
    }

    /// The pool that is leased out, where that is the reason.
    #[must_use]
    pub const fn pool(self) -> Option<Pool> {
        match self {
            Self::NoHomeAddress(pool) | Self::NoMobileNetwork(pool) => Some(pool),
            _ => None,
        }
    }

    /// What is another's, where that is the reason.
    #[must_use]
    pub const fn taken(self) -> Option<IpNet> {
        match self {
            Self::Taken(prefix) => Some(prefix),
            _ => None,
        }
    }

    /// Whether coming back later helps (R-9: 503, else 500).
    #[must_use]
    pub const fn will_pass(self) -> bool {
        !matches!(self, Self::Store | Self::Taken(_))
    }
}
