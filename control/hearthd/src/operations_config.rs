//! The YAML of what the home agent does of its own accord, and of who may ask it to.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

pub use hearth_api::server::Operators;
use hearth_config::{ConfigError, Document, Location, Spanned};
use hearth_home_agent::{MulticastPolicy, OperationsPolicy, Policy};
use serde::Deserialize;

use crate::config::Config;

const fn plain<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN)
}

/// Binding Refresh Requests before a binding ends (RFC 6275 s.9.5.5).
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RefreshRequest {
    /// A binding that was not refreshed is asked for so many seconds before its end, but not before
    /// three quarters of its lifetime have passed, and at most three times. 0: not asked for.
    /// Default: 20.
    pub before: Spanned<u32>,
    /// Most requests a second. Default: 1000.
    pub rate: Spanned<u32>,
}

impl Default for RefreshRequest {
    fn default() -> Self {
        Self { before: plain(20), rate: plain(1000) }
    }
}

/// Binding revocation (RFC 5846 s.11).
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Revocation {
    /// How long an acknowledgement is waited for before the message is sent again, in milliseconds,
    /// 500 or more. Default: 1000.
    pub delay_ms: Spanned<u32>,
    /// How often it is sent again. Default: 1.
    pub retries: Spanned<u32>,
    /// Most messages a second. Default: 1000.
    pub rate: Spanned<u32>,
}

impl Default for Revocation {
    fn default() -> Self {
        Self { delay_ms: plain(1000), retries: plain(1), rate: plain(1000) }
    }
}

/// A planned shutdown (RFC 5142). With `home_agents` SIGTERM begins one; a second SIGTERM ends the
/// daemon at once.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// The home agents that mobile nodes are sent to. Default: none, and SIGTERM ends the daemon.
    pub home_agents: Vec<Spanned<Ipv6Addr>>,
    /// Seconds after which the daemon ends though there still are bindings. Default: 60.
    pub within: Spanned<u32>,
    /// Most messages a second: far fewer than the other home agents can register. Default: 1
    /// (RFC 5142 s.8).
    pub rate: Spanned<u32>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { home_agents: Vec::new(), within: plain(60), rate: plain(1) }
    }
}

/// Heartbeats to silent mobile nodes (RFC 5847). Those of mobile nodes are answered in any case.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Heartbeat {
    /// Seconds of silence after which a mobile node is asked whether it is there, and that each
    /// answer is waited for. 0: not asked. Default: 0.
    pub interval: Spanned<u32>,
    /// Heartbeats without an answer until the log says that it is unreachable. Default: 3.
    pub missing: Spanned<u32>,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: plain(0), missing: plain(3) }
    }
}

/// Multicast groups through tunnels (RFC 6275 s.10.4.3).
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Multicast {
    /// Names of the ports that packets to groups come from: there the groups are joined.
    pub ports: Vec<Spanned<String>>,
    /// How often a mobile node is asked for its groups, in seconds; what it does not confirm for
    /// twice as long ends. Default: 125.
    #[serde(default = "default_query_interval")]
    pub query_interval: Spanned<u32>,
    /// Most groups of one mobile node. Default: 32.
    #[serde(default = "default_groups_per_node")]
    pub groups_per_node: Spanned<u32>,
    /// Most groups in all. Default: 256.
    #[serde(default = "default_groups")]
    pub groups: Spanned<u32>,
    /// Most mobile nodes in one group; each gets a copy of every packet. Default: 1024.
    #[serde(default = "default_members_per_group")]
    pub members_per_group: Spanned<u32>,
}

const fn default_query_interval() -> Spanned<u32> {
    plain(125)
}

const fn default_groups_per_node() -> Spanned<u32> {
    plain(32)
}

const fn default_groups() -> Spanned<u32> {
    plain(256)
}

const fn default_members_per_group() -> Spanned<u32> {
    plain(1024)
}

/// Checks these sections.
pub(crate) fn check(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let Config { refresh_request, revocation, drain, heartbeat, .. } = config;
    let mut ranges = vec![
        (&refresh_request.before, "refresh_request.before", 0, 3600, " seconds"),
        (&refresh_request.rate, "refresh_request.rate", 1, 1_000_000, " a second"),
        (&revocation.delay_ms, "revocation.delay_ms", 500, 60_000, " milliseconds"),
        (&revocation.retries, "revocation.retries", 0, 10, ""),
        (&revocation.rate, "revocation.rate", 1, 1_000_000, " a second"),
        (&drain.within, "drain.within", 1, 86_400, " seconds"),
        (&drain.rate, "drain.rate", 1, 1_000_000, " a second"),
        (&heartbeat.interval, "heartbeat.interval", 0, 86_400, " seconds"),
        (&heartbeat.missing, "heartbeat.missing", 1, 100, ""),
    ];
    if let Some(multicast) = &config.multicast {
        ranges.extend([
            (&multicast.query_interval, "multicast.query_interval", 4, 31_744, " seconds"),
            (&multicast.groups_per_node, "multicast.groups_per_node", 1, 1024, ""),
            (&multicast.groups, "multicast.groups", 1, 1024, ""),
            (&multicast.members_per_group, "multicast.members_per_group", 1, 1024, ""),
        ]);
    }
    for (value, key, least, most, unit) in ranges {
        if !(least..=most).contains(&value.value) {
            let message = format!("{} is out of range; {least} to {most}{unit}", value.value);
            return Err(document.error(value.referenced, key, message));
        }
    }
    check_home_agents(document, config)?;
    let ports = config.multicast.iter().flat_map(|multicast| &multicast.ports).enumerate();
    for (index, name) in ports {
        if port_number(config, &name.value).is_none() {
            let names: Vec<_> = config.ports.iter().map(|port| &*port.name.value).collect();
            let message = format!("no port is named '{}'; one of {}", name.value, names.join(", "));
            return Err(document.error(
                name.referenced,
                format!("multicast.ports[{index}]"),
                message,
            ));
        }
    }
    Ok(())
}

fn check_home_agents(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let home_agents = &config.drain.home_agents;
    for (index, address) in home_agents.iter().enumerate() {
        let key = format!("drain.home_agents[{index}]");
        let value = address.value;
        let message = if is_own(config, value) {
            format!("{value} is this home agent's own; give the addresses of others")
        } else if !is_of_another(config, value) {
            format!("{value} is no address of a home agent; give a unicast address")
        } else {
            continue;
        };
        return Err(document.error(address.referenced, key, message));
    }
    // Header Len has eight bits: 127 addresses fill a Mobility Header.
    if let Some(address) = home_agents.get(100) {
        let message = "too many; 100 home agents fit into a message";
        return Err(document.error(address.referenced, "drain.home_agents[100]", message));
    }
    Ok(())
}

fn is_own(config: &Config, address: Ipv6Addr) -> bool {
    let mut own = config.ports.iter().flat_map(|port| &port.addresses);
    own.any(|net| net.value.addr() == IpAddr::V6(address))
}

/// Whether `address` can be another home agent's.
pub(crate) fn is_of_another(config: &Config, address: Ipv6Addr) -> bool {
    let unicast = !(address.is_unspecified() || address.is_multicast() || address.is_loopback());
    unicast && !is_own(config, address)
}

/// The number of the port with this name.
pub(crate) fn port_number(config: &Config, name: &str) -> Option<u16> {
    let index = config.ports.iter().position(|port| port.name.value == name)?;
    u16::try_from(index).ok()
}

/// Adds what the sections say to the home agent's policy.
pub(crate) fn add(config: &Config, restart_counter: Option<u32>, policy: Policy) -> Policy {
    let operations = OperationsPolicy { restart_counter, ..operations(config) };
    Policy { operations, multicast: multicast(config), ..policy }
}

fn operations(config: &Config) -> OperationsPolicy {
    let Config { refresh_request, revocation, drain, heartbeat, .. } = config;
    let seconds = |value: u32| Duration::from_secs(value.into());
    OperationsPolicy {
        refresh_request_before: seconds(refresh_request.before.value),
        refresh_requests_per_second: refresh_request.rate.value,
        revocation_delay: Duration::from_millis(revocation.delay_ms.value.into()),
        revocation_retries: u8::try_from(revocation.retries.value).unwrap_or(u8::MAX),
        revocations_per_second: revocation.rate.value,
        switches_per_second: drain.rate.value,
        heartbeat_interval: seconds(heartbeat.interval.value),
        heartbeats_missing: heartbeat.missing.value,
        ..OperationsPolicy::default()
    }
}

fn multicast(config: &Config) -> Option<MulticastPolicy> {
    let multicast = config.multicast.as_ref()?;
    let count = |value: &Spanned<u32>| usize::try_from(value.value).unwrap_or(usize::MAX);
    Some(MulticastPolicy {
        query_interval: Duration::from_secs(multicast.query_interval.value.into()),
        groups_per_node: count(&multicast.groups_per_node),
        groups: count(&multicast.groups),
        members_per_group: count(&multicast.members_per_group),
        ..MulticastPolicy::default()
    })
}
