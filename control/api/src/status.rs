//! The home agent at a glance: `GET` of [`paths::STATUS`](crate::paths::STATUS) answers with a
//! [`StatusRow`].

use serde::{Deserialize, Serialize};

/// How the home agent is now, and what has passed since its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRow {
    /// Version of hearthd.
    pub version: String,
    /// Its name in the SA directory.
    pub home_agent: String,
    /// When this was said, in milliseconds since 1970-01-01 UTC.
    pub time_ms: u64,
    /// For how many seconds the daemon has been up.
    pub uptime: u64,
    /// Bindings.
    pub bindings: u64,
    /// Bindings that there is room for.
    pub bindings_max: u64,
    /// Security associations.
    pub sas: u64,
    /// Routes of the kernel in use.
    pub routes: u64,
    /// Packet buffers in use.
    pub mbufs_in_use: u64,
    /// Packet buffers that are free.
    pub mbufs_available: u64,
    /// Whether mobile nodes are being sent to other home agents.
    pub draining: bool,
    /// Inner packets out of tunnels.
    pub uplink: TrafficRow,
    /// Inner packets into tunnels.
    pub downlink: TrafficRow,
    /// Packets routed.
    pub forwarded: TrafficRow,
    /// PType 8 packets that passed all checks.
    pub signalling_in: u64,
    /// PType 8 packets sent.
    pub signalling_out: u64,
    /// Packets that stopped, for whatever reason.
    pub dropped: u64,
    /// What is wrong now, in words.
    pub alarms: Vec<String>,
}

/// Packets of one kind since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficRow {
    /// Packets.
    pub packets: u64,
    /// Octets in them.
    pub octets: u64,
}
