//! The documents that hearthd serves on its Unix socket and the CLI reads.
//!
//! `GET` of a path in [`paths`] answers with a JSON list of the rows named there. Times are whole
//! seconds, sizes octets, rates per second, unless a field says otherwise.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Paths of the API.
pub mod paths {
    /// List of [`BindingRow`](super::BindingRow).
    pub const BINDINGS: &str = "/v1/bindings";
    /// List of [`SaRow`](super::SaRow).
    pub const SAS: &str = "/v1/sas";
    /// List of [`PortRow`](super::PortRow).
    pub const PORTS: &str = "/v1/ports";
    /// List of [`WorkerRow`](super::WorkerRow).
    pub const WORKERS: &str = "/v1/workers";
    /// List of [`DropRow`](super::DropRow).
    pub const DROPS: &str = "/v1/drops";
}

/// A binding: a home registration (RFC 6275 s.9.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingRow {
    /// Whose binding it is.
    pub mn_id: String,
    /// IPv6 home address.
    pub home_address: Ipv6Addr,
    /// IPv4 home address, where one is bound.
    pub ipv4_home_address: Option<Ipv4Addr>,
    /// Care-of address: where packets for the home addresses are tunnelled to.
    pub care_of_address: IpAddr,
    /// UDP port at the care-of address, as the home agent sees it.
    pub care_of_port: u16,
    /// The home agent address the tunnel starts at.
    pub home_agent_address: IpAddr,
    /// Whether a NAT stands between (RFC 5555 s.4.2).
    pub nat: bool,
    /// The SA that the last Binding Update came under.
    pub spi: u32,
    /// Sequence number of the last Binding Update.
    pub sequence: u16,
    /// Granted lifetime.
    pub lifetime: u32,
    /// What is left of it.
    pub remaining: u32,
}

/// A security association.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaRow {
    /// Security Parameter Index.
    pub spi: u32,
    /// Whose SA it is.
    pub mn_id: String,
    /// Ciphersuite, as named in RFC 6618 s.5.6.5.
    pub suite: String,
    /// `mip6-sas`: 0 protects signalling only, 1 data too.
    pub scope: u8,
    /// `usable`, `current` (the binding's), or `data_only` (in the grace time of R-15).
    pub state: String,
    /// IPv6 home address of the SA.
    pub home_address: Ipv6Addr,
    /// End of validity, seconds since 1970-01-01 UTC.
    pub validity_end: u64,
    /// Packets accepted from the mobile node.
    pub packets_in: u64,
    /// Octets of payload in them.
    pub octets_in: u64,
    /// Packets sent to the mobile node.
    pub packets_out: u64,
    /// Octets of payload in them.
    pub octets_out: u64,
    /// Sequence number of the next packet to the mobile node.
    pub next_sequence: u32,
    /// Highest sequence number accepted from it, once there was one.
    pub highest_sequence: Option<u32>,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRow {
    /// Name in YAML, and of the TAP.
    pub name: String,
    /// The DPDK device.
    pub device: String,
    /// MAC address of the device and the TAP.
    pub mac: String,
    /// Largest IP packet in octets.
    pub mtu: u16,
    /// Packets received.
    pub rx_packets: u64,
    /// Octets received.
    pub rx_octets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Octets sent.
    pub tx_octets: u64,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Number, from 0.
    pub worker: usize,
    /// The core that it is pinned to.
    pub core: u32,
    /// Part of its cycles since start that it spent on packets, 0 to 1.
    pub utilisation: f64,
    /// Turns of its loop that found packets.
    pub busy_turns: u64,
    /// Turns that found none.
    pub idle_turns: u64,
    /// Packets out of tunnels.
    pub tunnel_in_packets: u64,
    /// Packets into tunnels.
    pub tunnel_out_packets: u64,
}

/// A drop reason and its counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRow {
    /// Name of the reason.
    pub reason: String,
    /// Packets that stopped for it.
    pub packets: u64,
    /// What it means.
    pub description: String,
}
