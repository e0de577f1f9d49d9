//! The configuration: read from YAML, checked as a whole before anything starts.
//!
//! Read first: configs/hac.yaml.

mod admin;
pub mod auth;
mod check;
mod directory;
mod eap_tls;
mod home_agents;
mod limits;
mod metrics;
mod mobile_networks;
mod pools;
pub mod radius;
mod raw;
mod readers;
mod realms;
mod replica;
pub mod sections;
mod services;
mod subscriber_store;
pub(crate) mod subscribers;
mod tls;

pub(crate) use pools::number;
pub use pools::{LeasedNetworks, Pools, PrefixPool};
pub use realms::{Base, Bases};
pub use replica::Replica;
pub use subscriber_store::{SubscriberSources, SubscriberStoreConfig};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearth_config::ConfigError;
use hearth_wire::directory::Services;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub use self::admin::AdminConfig;
pub use self::auth::Auth;
pub use self::limits::Limits;
pub use self::radius::{AccountingConfig, RadiusConfig};
pub use self::sections::Sections;
use crate::policy::Policy;
use crate::subscribers::Subscribers;
use crate::subscribers::sealed::SealedPsk;
use crate::tls::Server;

/// Everything that a HAC needs to run.
#[derive(Debug)]
pub struct Config {
    /// The file that says all this.
    pub path: PathBuf,
    /// What is no mistake, but to be mended: secrets that others can read.
    pub warnings: Vec<String>,
    /// What stands in it, to be compared with what will.
    pub sections: Sections,
    /// Addresses and TCP ports to serve.
    pub listen: Vec<SocketAddr>,
    /// The TLS server.
    pub tls: Arc<Server>,
    /// The SA directory.
    pub directory: DirectoryConfig,
    /// Home agents, subscribers and policy.
    pub realm: Arc<Realm>,
    /// What one client, and all of them together, may take.
    pub limits: Limits,
    /// AAA servers and accounting.
    pub radius: Option<RadiusConfig>,
    /// The socket for operators.
    pub admin: Option<AdminConfig>,
    /// Address and TCP port of `GET /metrics`. Whoever reaches it may read.
    pub metrics: Option<SocketAddr>,
    /// Subscribers that stand elsewhere.
    pub sources: SubscriberSources,
}

/// Where the SA directory lies and who may read it.
#[derive(Debug, Clone)]
pub struct DirectoryConfig {
    /// The durable store.
    pub store: PathBuf,
    /// The Unix socket.
    pub socket: PathBuf,
    /// Users, beside root and this process's own, that may connect.
    pub allow_uids: Vec<u32>,
    /// For home agents on other machines.
    pub remote: Option<RemoteConfig>,
    /// The clock is right, also where the store has seen a later time.
    pub trust_clock: bool,
}

/// Where home agents on other machines are served.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// Addresses and TCP ports.
    pub listen: Vec<SocketAddr>,
    /// Mutual TLS.
    pub tls: Arc<rustls::ServerConfig>,
}

/// Home agents and subscribers of one deployment.
#[derive(Debug)]
pub struct Realm {
    /// In the order of the file.
    pub home_agents: Vec<HomeAgent>,
    /// Everybody who can get an SA.
    pub subscribers: Subscribers,
    /// For an mn-id that nobody has, and for subscribers without a policy of their own.
    pub policy: Policy,
    /// What holds for subscribers that don't say otherwise, by realm.
    pub bases: Bases,
    /// How its mobile nodes may authenticate.
    pub auth: Auth,
    /// Which part of SPIs and pools is this HAC's.
    pub replica: Replica,
    /// IPv6 DNS servers reachable through the home agents.
    pub dns_ip6: Vec<Ipv6Addr>,
    /// IPv4 DNS servers.
    pub dns_ip4: Vec<Ipv4Addr>,
}

/// What of a subscriber is a home agent's or everybody's: the key, and words.
pub(crate) fn foreign(realm: &Realm, subscriber: &Subscriber) -> Option<(&'static str, String)> {
    let fixed = [
        (subscriber.ip6.fixed().map(IpAddr::from), "home_address_ip6"),
        (subscriber.ip4.fixed().map(IpAddr::from), "home_address_ip4"),
    ];
    for (address, key) in fixed {
        let Some(address) = address else { continue };
        for agent in &realm.home_agents {
            if address == agent.ip6 || agent.ip4.is_some_and(|ip4| address == ip4) {
                return Some((key, format!("{address} is the address of {}", agent.name)));
            }
        }
        let mut dns = realm.dns_ip6.iter().copied().map(IpAddr::from);
        let mut dns_ip4 = realm.dns_ip4.iter().copied().map(IpAddr::from);
        if dns.any(|server| server == address) || dns_ip4.any(|server| server == address) {
            return Some((key, format!("{address} is a DNS server")));
        }
    }
    let mut prefixes = subscriber.services.prefixes.iter();
    prefixes
        .find_map(|prefix| mobile_networks::foreign_prefix(realm, *prefix))
        .map(|message| ("prefixes", message))
}

impl Realm {
    /// The home agent that is called `name`.
    #[must_use]
    pub fn home_agent(&self, name: &str) -> Option<&HomeAgent> {
        self.home_agents.iter().find(|agent| *agent.name == *name)
    }

    /// How many subscribers may do what, for the operator who wrote it down.
    #[must_use]
    pub fn summary(&self) -> String {
        let subscribers = self.subscribers.all();
        let count = |may: &dyn Fn(&Services) -> bool| {
            subscribers.iter().filter(|(_, subscriber)| may(&subscriber.services)).count()
        };
        let prefixes: usize =
            subscribers.iter().map(|(_, subscriber)| subscriber.services.prefixes.len()).sum();
        format!(
            "home agents {}, subscribers {}, mobile routers {}, mobile network prefixes {prefixes}, \
             several care-of addresses {}, flow bindings {}, multicast {}",
            self.home_agents.len(),
            subscribers.len(),
            count(&|services| services.mobile_router),
            count(&|services| services.care_of_addresses > 1),
            count(&|services| services.flows > 0),
            count(&|services| services.multicast),
        )
    }

    /// The same home agents and subscribers with all else of `fresh`, which was read for them.
    #[must_use]
    pub fn with_rules_of(&self, fresh: Self) -> Self {
        Self {
            home_agents: self.home_agents.clone(),
            replica: self.replica,
            subscribers: self.subscribers.clone(),
            ..fresh
        }
    }

    /// Addresses that no pool may deal out: those of home agents and DNS servers. Subscribers have
    /// others ([`Subscribers::is_fixed`]).
    pub fn reserved_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let home_agents = self
            .home_agents
            .iter()
            .flat_map(|agent| [Some(IpAddr::from(agent.ip6)), agent.ip4.map(IpAddr::from)]);
        let dns_ip6 = self.dns_ip6.iter().copied().map(IpAddr::from);
        let dns_ip4 = self.dns_ip4.iter().copied().map(IpAddr::from);
        home_agents.flatten().chain(dns_ip6).chain(dns_ip4)
    }
}

/// One home agent, as its mobile nodes are told about it (RFC 6618 s.5.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeAgent {
    /// Its name in the SA directory.
    pub name: Box<str>,
    /// `mip6-haa-ip6`.
    pub ip6: Ipv6Addr,
    /// `mip6-haa-ip4`.
    pub ip4: Option<Ipv4Addr>,
    /// `mip6-port`.
    pub port: u16,
    /// SPIs of its SAs.
    pub spis: RangeInclusive<u32>,
    /// `mip6-ip6-hnp`.
    pub prefix_ip6: Ipv6Net,
    /// `mip6-ip4-hnp`.
    pub prefix_ip4: Option<Ipv4Net>,
    /// The name in its certificate, in lower case, where it is on another machine.
    pub certificate_name: Box<str>,
    /// Where it stands, as the operator calls it.
    pub region: Option<Box<str>>,
    /// SAs that it is to have at most, over all controllers; `None`: as many as it has SPIs. Then who
    /// is sent to a home agent by choice is sent to another, and who names it is told to come later.
    pub max_sas: Option<u32>,
    /// What is leased to its mobile nodes.
    pub pools: Pools,
}

impl HomeAgent {
    /// SAs that it has room for.
    #[must_use]
    pub fn room(&self) -> u32 {
        let spis = (self.spis.end() - self.spis.start()).saturating_add(1);
        self.max_sas.map_or(spis, |max| max.min(spis))
    }

    /// The home network prefix of a mobile node with this home address, and its length.
    #[must_use]
    pub fn home_prefix_of(&self, home_address: Ipv6Addr) -> (Ipv6Addr, u8) {
        let leased = self.pools.home_prefixes_ip6.as_ref();
        match leased.and_then(|pool| pool.prefix_of(home_address.into())) {
            Some(IpNet::V6(prefix)) => (prefix.network(), prefix.prefix_len()),
            _ => (self.prefix_ip6.network(), self.prefix_ip6.prefix_len()),
        }
    }

    /// Whether all of these may be delegated to its mobile nodes.
    #[must_use]
    pub fn delegates(&self, prefixes: &[Ipv6Net]) -> bool {
        let mut prefixes = prefixes.iter();
        prefixes.all(|prefix| self.pools.delegated_ip6.iter().any(|range| range.contains(prefix)))
    }

    /// Whether a mobile node with these home addresses can be its.
    #[must_use]
    pub fn serves(&self, ip6: HomeAddress<Ipv6Addr>, ip4: HomeAddress<Ipv4Addr>) -> bool {
        let ip6 = match ip6 {
            HomeAddress::None => false,
            HomeAddress::Fixed(address) => home_agents::is_host_ip6(self.prefix_ip6, address),
            HomeAddress::Pool => self.pools.ip6.is_some(),
            HomeAddress::Prefix => self.pools.home_prefixes_ip6.is_some(),
        };
        let ip4 = match (ip4, self.prefix_ip4) {
            (HomeAddress::None, _) => true,
            (HomeAddress::Fixed(address), Some(prefix)) => {
                home_agents::is_host_ip4(prefix, address)
            }
            (HomeAddress::Pool, _) => self.pools.ip4.is_some(),
            (HomeAddress::Fixed(_), None) | (HomeAddress::Prefix, _) => false,
        };
        ip6 && ip4
    }
}

/// How a subscriber gets a home address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HomeAddress<A> {
    /// None of this family.
    None,
    /// Always this one.
    Fixed(A),
    /// A lease from the home agent's pool.
    Pool,
    /// The first address of a home network prefix of its own, leased from the home agent's pool of
    /// them; IPv6 only.
    Prefix,
}

impl<A: Copy> HomeAddress<A> {
    /// The fixed address.
    #[must_use]
    pub const fn fixed(&self) -> Option<A> {
        match self {
            Self::Fixed(address) => Some(*address),
            Self::None | Self::Pool | Self::Prefix => None,
        }
    }
}

/// Somebody who can get an SA.
#[derive(Debug, Clone)]
pub struct Subscriber {
    /// The pre-shared key, wrapped; `None` for one that has other means to prove who it is.
    pub psk: Option<SealedPsk>,
    /// Index of its home agent in [`Realm::home_agents`]; `None`: its policy chooses.
    pub home_agent: Option<usize>,
    /// Home agents of this region come first, where its policy chooses by region.
    pub region: Option<Box<str>>,
    /// The IPv6 home address; never [`HomeAddress::None`].
    pub ip6: HomeAddress<Ipv6Addr>,
    /// The IPv4 home address.
    pub ip4: HomeAddress<Ipv4Addr>,
    /// Policy for this subscriber's SAs.
    pub policy: Policy,
    /// What it may beyond a home address; a change of it reaches the SAs that it has.
    pub services: Services,
    /// Mobile networks beside those, leased from the home agent's pools.
    pub leased_networks: LeasedNetworks,
}

impl Config {
    /// Reads and checks the file at `path` and every file it names; `now` in unix seconds.
    ///
    /// # Errors
    /// The first thing that is wrong, with file, line, key and what would be right.
    pub fn load(path: &Path, now: u64) -> Result<Self, ConfigError> {
        check::config(&hearth_config::load(path)?, now, None)
    }

    /// Reads the file again for a daemon that runs with the home agents of `running`: the file has to
    /// be right by itself, and what is said about subscribers is judged by those home agents.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_again(path: &Path, now: u64, running: &Realm) -> Result<Self, ConfigError> {
        let file = hearth_config::load(path)?;
        let fresh = check::config(&file, now, None)?;
        let realm = &fresh.realm;
        if realm.home_agents == running.home_agents && realm.replica == running.replica {
            return Ok(fresh);
        }
        check::config(&file, now, Some(running))
    }
}
