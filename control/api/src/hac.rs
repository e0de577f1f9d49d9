//! The documents that hearth-hac serves on its Unix socket.
//!
//! `GET` of [`STATUS`](paths::STATUS) answers with [`Status`]. What concerns subscribers stands in
//! [`subscribers`](crate::subscribers). Whoever may open the socket may look; only root, the
//! daemon's own user and the operators of its YAML may change something.

use serde::{Deserialize, Serialize};

use crate::CounterRow;

/// Paths of the HAC's API.
pub mod paths {
    /// [`Status`](super::Status).
    pub const STATUS: &str = "/v1/hac";
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
    /// Names of the home agents that SAs are issued for.
    pub home_agents: Vec<String>,
    /// What happened since the start.
    pub counters: Vec<CounterRow>,
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
