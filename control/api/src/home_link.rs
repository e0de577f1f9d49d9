//! Home prefixes, and the other home agents of their links.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

/// A home prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeLinkRow {
    /// The prefix, of either family.
    pub prefix: String,
    /// The port on whose link it is; none where it is routed to the home agent.
    pub port: Option<String>,
    /// For how many seconds it is valid yet, as mobile nodes are told; none where it does not end.
    pub valid_lifetime: Option<u32>,
    /// For how many seconds it is preferred yet; none where that does not end.
    pub preferred_lifetime: Option<u32>,
}

/// Another home agent that was heard on a home link (RFC 6275 s.10.1, Home Agents List).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeAgentRow {
    /// The port on whose link it was heard.
    pub port: String,
    /// Its link-local address there.
    pub link_local_address: Ipv6Addr,
    /// Its global addresses.
    pub addresses: Vec<Ipv6Addr>,
    /// Its preference, the higher the better.
    pub preference: u16,
    /// Whether it serves mobile routers (RFC 3963).
    pub mobile_routers: bool,
    /// Seconds after which it is forgotten unless it is heard again.
    pub remaining: u32,
}
