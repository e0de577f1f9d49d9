//! The documents that hearth-hac serves on its Unix socket.
//!
//! `GET` of [`STATUS`](paths::STATUS) answers with [`Status`]. What concerns subscribers stands in
//! [`subscribers`](crate::subscribers). Whoever may open the socket may look; only root, the
//! daemon's own user and the operators of its YAML may change something. Times are unix seconds.

use serde::{Deserialize, Serialize};

use crate::CounterRow;

/// Paths of the HAC's API.
pub mod paths {
    /// [`Status`](super::Status).
    pub const STATUS: &str = "/v1/hac";
    /// `POST` of a [`LeasesRequest`](super::LeasesRequest): list of [`LeaseRow`](super::LeaseRow),
    /// empty behind the last.
    pub const LEASES: &str = "/v1/hac/leases";
    /// `POST` of [`ExportKeys`](crate::keys::ExportKeys), where `admin.key_export` in YAML allows it:
    /// [`KeyFile`](crate::keys::KeyFile).
    pub const KEYS: &str = "/v1/hac/keys";
    /// `POST` of nothing: the YAML is read again. Answered with [`Reloaded`](super::Reloaded).
    pub const RELOAD: &str = "/v1/hac/reload";
    /// `POST` of [`Revoke`](super::Revoke), answered with [`Revoked`](super::Revoked).
    pub const REVOKE: &str = "/v1/hac/revoke";
}

/// What a HAC does and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Connections of mobile nodes that are open now.
    pub open_connections: u64,
    /// Subscribers, from all sources.
    pub subscribers: u64,
    /// The home agents that SAs are issued for, in the order of YAML.
    pub home_agents: Vec<HomeAgentRow>,
    /// What is leased, of each kind that there are pools or leases of.
    pub leases: Vec<LeaseCount>,
    /// AAA and accounting servers, the most wanted first.
    pub radius: Vec<RadiusRow>,
    /// What happened since the start.
    pub counters: Vec<CounterRow>,
}

/// A home agent, as the HAC sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeAgentRow {
    /// Its name in the SA directory.
    pub name: String,
    /// Where it stands, as YAML calls it.
    pub region: Option<String>,
    /// Whether it watches the directory of this HAC now.
    pub alive: bool,
    /// SAs that this HAC has issued for it and that are valid.
    pub sas: u64,
    /// SAs that this HAC may have issued for it at a time.
    pub room: u64,
}

/// What can be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseKind {
    /// An IPv6 home address.
    HomeAddressIp6,
    /// An IPv4 home address.
    HomeAddressIp4,
    /// A home network prefix of one mobile node.
    HomePrefixIp6,
    /// An IPv6 mobile network.
    MobileNetworkIp6,
    /// An IPv4 mobile network.
    MobileNetworkIp4,
}

impl LeaseKind {
    /// As JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HomeAddressIp6 => "home_address_ip6",
            Self::HomeAddressIp4 => "home_address_ip4",
            Self::HomePrefixIp6 => "home_prefix_ip6",
            Self::MobileNetworkIp6 => "mobile_network_ip6",
            Self::MobileNetworkIp4 => "mobile_network_ip4",
        }
    }
}

/// How many leases of a kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseCount {
    /// The kind.
    pub kind: LeaseKind,
    /// What of the pools is taken: by leases, by those that have ended and may become another's, and by
    /// fixed addresses out of a pool that have been handed out.
    pub leased: u64,
    /// What the pools of this HAC hold altogether.
    pub pool: u64,
}

/// Which leases, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeasesRequest {
    /// Of this mobile node alone.
    #[serde(default)]
    pub mn_id: Option<String>,
    /// Those that have an address in common with this prefix, or this address.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Those behind this one, the last of the page before.
    #[serde(default)]
    pub after: Option<LeaseKey>,
    /// At most so many; 1000 at most.
    pub count: usize,
}

/// One lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseKey {
    /// Its kind.
    pub kind: LeaseKind,
    /// The prefix; of an address, with its full length.
    pub lease: String,
}

/// A lease, or a fixed address that has been handed out. They come by kind, then by address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    /// What it is.
    pub kind: LeaseKind,
    /// The prefix; of an address, with its full length.
    pub lease: String,
    /// Who holds it.
    pub mn_id: String,
    /// Of which home agent it is.
    pub home_agent: String,
    /// When it ends; `None`: as long as there is the subscriber. One that has ended is its holder's
    /// still, until the pool has nothing else left.
    pub ends: Option<u64>,
    /// SAs that its holder has now.
    pub sas: u64,
}

/// An AAA or accounting server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RadiusRow {
    /// Address and port.
    pub server: String,
    /// `authentication` or `accounting`.
    pub role: String,
    /// `alive`, `suspect` (it left something unanswered: others are asked first) or `dead` (it is not
    /// asked).
    pub state: String,
}

/// What reading the YAML again has brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Keys that have changed and are in force.
    pub applied: Vec<String>,
    /// Keys that have changed and count from the next start on.
    pub needs_restart: Vec<String>,
    /// Keys that name files (secrets, keys, certificates, CRLs) which are others than at the last reading,
    /// and in force.
    #[serde(default)]
    pub read_anew: Vec<String>,
    /// Subscribers, from all sources.
    pub subscribers: u64,
    /// Subscribers that there were not.
    #[serde(default)]
    pub added: u64,
    /// Subscribers whose pre-shared key is another, or what holds for them, by their own word or by their
    /// realm's or the policy.
    #[serde(default)]
    pub changed: u64,
    /// Subscribers that there are no longer.
    #[serde(default)]
    pub removed: u64,
    /// Subscribers of the store that the YAML has no place for, the first twenty: their mn-id stands in
    /// another source too, or what is theirs is another's.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// How many these are.
    #[serde(default)]
    pub left_out_count: u64,
    /// SAs that ended: their subscribers are gone or have become others.
    pub revoked: u64,
    /// Mobile nodes whose SAs end, or say what their subscribers may by now, as soon as the HAC's store
    /// works: it has failed.
    #[serde(default)]
    pub waiting: u64,
}

/// Which SAs are to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Revoke {
    /// This one.
    Spi(u32),
    /// All of this mobile node.
    MnId(String),
    /// All of the mobile nodes of this realm.
    Realm(String),
}

/// How many SAs have ended; their home agents know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The number.
    pub revoked: u64,
}
