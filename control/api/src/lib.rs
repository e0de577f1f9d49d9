//! The documents that hearthd and hearth-hac serve on their Unix sockets and the CLI reads.
//!
//! `GET` of a path in [`paths`] answers with a JSON list of the rows named there; [`follow`] says
//! what trace and capture take and give, [`operate`] what changes something, [`hac`] what the HAC
//! serves. Times are whole seconds, sizes octets, rates per second, unless a field says otherwise.
//! hearthd's bindings and SAs, of which there may be a million, come in no order, and while they are
//! listed others come and go. What is refused is answered with a status of 4xx or 5xx and a sentence.
#![forbid(unsafe_code)]

pub mod events;
pub mod explain;
pub mod follow;
pub mod forwarding;
pub mod hac;
pub mod home_link;
pub mod keys;
#[cfg(feature = "server")]
pub mod metrics;
pub mod operate;
#[cfg(feature = "server")]
pub mod remote;
#[cfg(feature = "server")]
pub mod scrape;
#[cfg(feature = "server")]
pub mod server;
pub mod status;
pub mod subscribers;
#[cfg(feature = "server")]
pub mod tls;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Paths of the API.
pub mod paths {
    /// [`StatusRow`](super::status::StatusRow).
    pub const STATUS: &str = "/v1/status";
    /// List of [`BindingRow`](super::BindingRow); a [`ListRequest`](super::ListRequest) is its query.
    pub const BINDINGS: &str = "/v1/bindings";
    /// List of [`SaRow`](super::SaRow), with the same query.
    pub const SAS: &str = "/v1/sas";
    /// List of [`PortRow`](super::PortRow).
    pub const PORTS: &str = "/v1/ports";
    /// List of [`WorkerRow`](super::WorkerRow).
    pub const WORKERS: &str = "/v1/workers";
    /// List of [`DropRow`](super::DropRow).
    pub const DROPS: &str = "/v1/drops";
    /// List of [`CounterRow`](super::CounterRow).
    pub const COUNTERS: &str = "/v1/counters";
    /// Metrics as text for Prometheus.
    pub const METRICS: &str = "/metrics";
    /// List of [`GroupRow`](super::operate::GroupRow).
    pub const GROUPS: &str = "/v1/groups";
    /// List of [`HomeLinkRow`](super::home_link::HomeLinkRow).
    pub const HOME_LINKS: &str = "/v1/home-links";
    /// List of [`HomeAgentRow`](super::home_link::HomeAgentRow).
    pub const HOME_AGENTS: &str = "/v1/home-agents";
    /// List of [`RouteRow`](super::forwarding::RouteRow), with the query of [`BINDINGS`].
    pub const ROUTES: &str = "/v1/routes";
    /// List of [`NeighbourRow`](super::forwarding::NeighbourRow), with the same query.
    pub const NEIGHBOURS: &str = "/v1/neighbours";
    /// Server-sent events, each an [`EventRow`](super::events::EventRow).
    pub const EVENTS: &str = "/v1/events";
    /// With `/` and an mn-id behind it: a [`MobileNodeRow`](super::events::MobileNodeRow).
    pub const MOBILE_NODES: &str = "/v1/mobile-nodes";
    /// `POST` of a [`RevokeRequest`](super::operate::RevokeRequest).
    pub const REVOKE: &str = "/v1/revoke";
    /// `POST` of a [`ReinitRequest`](super::operate::ReinitRequest).
    pub const REINIT: &str = "/v1/reinit";
    /// `POST` of a [`DrainRequest`](super::operate::DrainRequest).
    pub const DRAIN: &str = "/v1/drain";
    /// `POST` of nothing: what [`DRAIN`] began is taken back.
    pub const UNDRAIN: &str = "/v1/undrain";
    /// `POST` of a [`ClearNeighboursRequest`](super::operate::ClearNeighboursRequest).
    pub const CLEAR_NEIGHBOURS: &str = "/v1/clear/neighbours";
    /// `POST` of a [`TraceRequest`](super::follow::TraceRequest).
    pub const TRACE: &str = "/v1/trace";
    /// `POST` of a [`CaptureRequest`](super::follow::CaptureRequest).
    pub const CAPTURE: &str = "/v1/capture";
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
    /// Whether it is a mobile router's (RFC 3963).
    #[serde(default)]
    pub mobile_router: bool,
    /// Mobile network prefixes, of both families.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Care-of addresses with Binding IDs (RFC 5648), the one to be preferred first; none where
    /// there is one without a Binding ID.
    #[serde(default)]
    pub care_of_addresses: Vec<CareOfRow>,
    /// Flow bindings (RFC 6089), by growing priority.
    #[serde(default)]
    pub flows: Vec<FlowRow>,
}

/// Which rows of a list, as the query of its URL: all of them without.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListRequest {
    /// Rows with this text in their mn-id, in one of their addresses or prefixes, or as their SPI; of
    /// routes and neighbours, in the name of their port too, and in a neighbour's state and MAC
    /// address. Capital letters count as small ones.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub search: String,
    /// So many rows at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
}

/// What can be searched for.
pub trait Searched {
    /// Whether `text`, in small letters, is in one of the words that it is known by.
    fn has(&self, text: &str) -> bool;
}

fn is_in(text: &str, words: &[&dyn std::fmt::Display]) -> bool {
    words.iter().any(|word| word.to_string().to_lowercase().contains(text))
}

impl Searched for BindingRow {
    fn has(&self, text: &str) -> bool {
        let Self { mn_id, home_address, care_of_address, spi, .. } = self;
        is_in(text, &[mn_id, home_address, care_of_address])
            || spi.to_string() == text
            || self.ipv4_home_address.is_some_and(|address| is_in(text, &[&address]))
            || self.prefixes.iter().any(|prefix| is_in(text, &[prefix]))
            || self.care_of_addresses.iter().any(|row| is_in(text, &[&row.care_of_address]))
    }
}

impl Searched for SaRow {
    fn has(&self, text: &str) -> bool {
        is_in(text, &[&self.mn_id, &self.home_address]) || self.spi.to_string() == text
    }
}

/// One of several care-of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CareOfRow {
    /// Binding ID.
    pub bid: u16,
    /// BID-PRI, the lower the earlier used; none where the mobile node gave none.
    pub priority: Option<u8>,
    /// The address.
    pub care_of_address: IpAddr,
    /// UDP port at it, as the home agent sees it.
    pub care_of_port: u16,
    /// The home agent address the tunnel starts at.
    pub home_agent_address: IpAddr,
    /// Whether a NAT stands between.
    pub nat: bool,
    /// Granted lifetime.
    pub lifetime: u32,
    /// What is left of it.
    pub remaining: u32,
}

/// A flow binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRow {
    /// Flow Identifier.
    pub id: u16,
    /// FID-PRI, the lower the earlier matched.
    pub priority: u16,
    /// Binding IDs, each of which gets a copy.
    pub bids: Vec<u16>,
    /// Whether one of them is registered.
    pub active: bool,
    /// Which packets (RFC 6088), in words.
    pub selector: String,
}

/// A security association.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaRow {
    /// Security Parameter Index.
    pub spi: u32,
    /// Whose SA it is.
    pub mn_id: String,
    /// Ciphersuite, as named in RFC 6618 s.5.6.5, or AES_128_GCM.
    pub suite: String,
    /// `mip6-sas`: 0 protects signalling only, 1 data too.
    pub scope: u8,
    /// `unused`, `used`, or `superseded` by a newer one and in its grace time.
    pub state: String,
    /// IPv6 home address of the SA.
    pub home_address: Ipv6Addr,
    /// Who does its cryptography: `cpu`, or `device` for the crypto device.
    pub crypto: String,
    /// When it ends: its validity or its grace time, seconds since 1970-01-01 UTC.
    pub ends: u64,
    /// Packets accepted from the mobile node.
    pub packets_in: u64,
    /// Octets in them, as UDP payload.
    pub octets_in: u64,
    /// Packets sent to the mobile node.
    pub packets_out: u64,
    /// Octets in them, as UDP payload.
    pub octets_out: u64,
    /// Sequence number of the next packet to the mobile node; 2^32 when all are used.
    pub next_sequence: u64,
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
    /// Checksums that are left to the device: `rx` verified, `tx` filled in, `rx tx` both, or
    /// `none`.
    pub checksum_offload: String,
    /// Packets received.
    pub rx_packets: u64,
    /// Octets received.
    pub rx_octets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Octets sent.
    pub tx_octets: u64,
    /// Of the packets sent, those whose outer checksums the device filled in.
    pub tx_checksums: u64,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Number, from 0.
    pub worker: usize,
    /// The core that it is pinned to.
    pub core: u32,
    /// Part of the last second that it spent in turns with packets, 0 to 1.
    pub utilisation: f64,
    /// Part of all time since the daemon's start, 0 to 1.
    pub utilisation_since_start: f64,
    /// Cycles of the time stamp counter that a packet took in the last second, on average, of all
    /// that it took in: from ports, from other workers and from control. `None` where there was
    /// none.
    pub cycles_per_packet: Option<f64>,
    /// The same since the daemon's start.
    pub cycles_per_packet_since_start: Option<f64>,
    /// For how many milliseconds it has not taken a turn, where that is so long that it is stuck.
    pub stuck_ms: Option<u64>,
    /// Turns of its loop that found packets.
    pub busy_turns: u64,
    /// Turns that found none.
    pub idle_turns: u64,
    /// Packets that it received.
    pub rx_packets: u64,
    /// Packets that it handed to the worker that owns their SA.
    pub handed_over: u64,
    /// Packets whose cryptography another worker did for it.
    pub lent: u64,
    /// Packets whose cryptography it did for others.
    pub assisted: u64,
    /// Who does its cryptography: `cpu`, or the crypto device as YAML names it, which leaves SAs
    /// that it can't take to the CPU.
    pub crypto: String,
    /// Packets that came out of the crypto device.
    pub device_packets: u64,
}

/// Something that workers count and that is no drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterRow {
    /// Its name.
    pub counter: String,
    /// How many, since the start.
    pub count: u64,
    /// What it means.
    pub description: String,
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
    /// What most often brings it about.
    #[serde(default)]
    pub cause: String,
    /// What an operator can do about it.
    #[serde(default)]
    pub remedy: String,
}
