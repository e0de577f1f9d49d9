//! What an operator asks for: revocation, new SAs, shutdown; and multicast groups.
//!
//! `POST` of a request to its path in [`paths`](crate::paths) answers with [`Begun`]. Only root and
//! the operators of hearthd's YAML are heard.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Whom a request is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// The mobile node with this home address of either family.
    HomeAddress(IpAddr),
    /// The SA, and the binding that was made under it.
    Spi(u32),
    /// The mobile node.
    MnId(String),
    /// The mobile nodes of a realm: what stands behind the `@`, whatever its case.
    Realm(String),
    /// All of them.
    All,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HomeAddress(address) => write!(f, "home address {address}"),
            Self::Spi(spi) => write!(f, "SPI {spi}"),
            Self::MnId(mn_id) => write!(f, "mn-id {mn_id}"),
            Self::Realm(realm) => write!(f, "realm {realm}"),
            Self::All => f.write_str("all mobile nodes"),
        }
    }
}

/// What of a binding is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// All of it.
    #[default]
    Binding,
    /// The IPv4 home address alone.
    Ipv4,
    /// The care-of addresses with these Binding Identifiers.
    Bids(Vec<u16>),
}

/// Why a binding is revoked, as the mobile node is told (RFC 5846 s.5.1). For the first two a
/// Binding Update that comes meanwhile is refused with status 129; for the others it shows that the
/// mobile node is there, and the binding stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// An operator's wish.
    #[default]
    Administrative,
    /// Not said.
    Unspecified,
    /// The subscriber ended the session.
    User,
    /// The access network did.
    AccessNetwork,
    /// The binding may not be what the mobile node believes.
    OutOfSync,
}

/// `POST` to [`REVOKE`](crate::paths::REVOKE): bindings end (RFC 5846).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeRequest {
    /// Whose.
    pub who: Selector,
    /// What of them.
    #[serde(default)]
    pub part: Part,
    /// Why.
    #[serde(default)]
    pub reason: Reason,
}

/// `POST` to [`REINIT`](crate::paths::REINIT): mobile nodes are to fetch new SAs; their next refresh
/// is answered with status 176.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReinitRequest {
    /// Which.
    pub who: Selector,
    /// Ask for that refresh now.
    #[serde(default)]
    pub now: bool,
}

/// `POST` to [`DRAIN`](crate::paths::DRAIN): mobile nodes are sent to other home agents (RFC 5142).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct DrainRequest {
    /// The other home agents; `None`: those of YAML.
    pub home_agents: Option<Vec<Ipv6Addr>>,
    /// In how many seconds this one stops, as mobile nodes are told; `None`: as YAML says.
    pub within: Option<u32>,
}

/// `POST` to [`CLEAR_NEIGHBOURS`](crate::paths::CLEAR_NEIGHBOURS): neighbours on the links of ports are
/// forgotten, and looked for anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct ClearNeighboursRequest {
    /// This one, on whichever port; `None`: all of them.
    #[serde(default)]
    pub address: Option<IpAddr>,
}

/// What came of a request at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// How many bindings, SAs or neighbours it concerns; `None` where that is found out part by part, and
    /// logged at the end.
    pub concerned: Option<u64>,
}

/// A mobile node that listens to a multicast group through its tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// The group.
    pub group: IpAddr,
    /// The home address of the mobile node.
    pub home_address: Ipv6Addr,
    /// The sources that it wants; `None`: any.
    pub sources: Option<Vec<IpAddr>>,
    /// Seconds after which it is forgotten unless it says so again.
    pub remaining: u32,
}
