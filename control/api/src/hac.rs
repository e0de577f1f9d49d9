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
