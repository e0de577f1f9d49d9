//! `care_of_addresses` and `flows`: several networks at once, and what prefers which.

use core::net::{Ipv4Addr, Ipv6Addr};

use hearth_config::{ConfigError, Document, Location, Spanned};
use hearth_wire::mh::TrafficSelector;
use hearth_wire::mh::selector::{Addresses, Range};
use ipnet::IpNet;
use serde::Deserialize;

use super::{INTERFACE_NAME, Raw, is_interface_name};
use crate::flows::FlowRule;

/// Care-of addresses that a node can have at once.
const MAX_CARE_OF: usize = 8;
/// Rules that a node can have; each takes a Flow Identification option for each IP version.
const MAX_FLOWS: usize = 8;

/// One care-of address of several (RFC 5648).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CareOf {
    /// Binding ID, not 0.
    pub bid: u16,
    /// The interface that it is on.
    pub interface: String,
    /// BID-PRI, 1 to 127: the lower, the earlier used (RFC 6089 s.4.1).
    pub priority: u8,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CareOf")]
pub(super) struct RawCareOf {
    /// Binding ID, not 0.
    bid: Spanned<u16>,
    /// The interface that it is on.
    interface: Spanned<String>,
    /// BID-PRI, 1 (used first) to 127. Default: the order of the list.
    priority: Option<Spanned<u8>>,
}

impl RawCareOf {
    pub(super) const fn interface(&self) -> &Spanned<String> {
        &self.interface
    }
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Flow")]
pub(super) struct RawFlow {
    /// The care-of address that is preferred, by its Binding ID.
    bid: Spanned<u16>,
    /// tcp, udp, icmp, esp or a number. Default: any.
    #[schemars(with = "Option<hearth_config::Word>")]
    protocol: Option<Spanned<String>>,
    /// The other side, by prefix. Default: any.
    #[schemars(with = "Option<Spanned<hearth_config::Prefix>>")]
    remote: Option<Spanned<IpNet>>,
    /// Our side, by prefix. Default: any.
    #[schemars(with = "Option<Spanned<hearth_config::Prefix>>")]
    local: Option<Spanned<IpNet>>,
    /// The other side's port, or ports as in `5000-5999`. Default: any.
    remote_port: Option<Spanned<RawPorts>>,
    /// Our port, or ports. Default: any.
    local_port: Option<Spanned<RawPorts>>,
    /// DSCP, 0 to 63. Default: any.
    dscp: Option<Spanned<u8>>,
}

/// `443` or `"5000-5999"`.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Ports")]
enum RawPorts {
    One(u16),
    Range(String),
}

pub(super) fn care_of_addresses(file: &Document<Raw>) -> Result<Vec<CareOf>, ConfigError> {
    let raw = &file.value;
    let Some(list) = &raw.care_of_addresses else { return Ok(Vec::new()) };
    let key = "care_of_addresses";
    if !(2..=MAX_CARE_OF).contains(&list.value.len()) {
        let what = format!("2 to {MAX_CARE_OF} of them; leave the key out for one at a time");
        return Err(file.error(list.referenced, key, what));
    }
    if !raw.interfaces.is_empty() {
        let what = "names the interfaces already; leave `interfaces` out";
        return Err(file.error(list.referenced, key, what));
    }
    let mut all: Vec<CareOf> = Vec::new();
    for (index, raw) in list.value.iter().enumerate() {
        let wrong = |at: Location, of: &str, what: &str| {
            Err(file.error(at, format!("{key}[{index}].{of}"), what))
        };
        let (bid, interface) = (raw.bid.value, &raw.interface.value);
        if bid == 0 {
            return wrong(raw.bid.referenced, "bid", "0 is reserved; 1 to 65535");
        }
        if all.iter().any(|other| other.bid == bid) {
            return wrong(raw.bid.referenced, "bid", "stands twice");
        }
        if !is_interface_name(interface) {
            return wrong(raw.interface.referenced, "interface", INTERFACE_NAME);
        }
        if all.iter().any(|other| other.interface == *interface) {
            return wrong(raw.interface.referenced, "interface", "stands twice");
        }
        let priority = match &raw.priority {
            None => u8::try_from(index + 1).unwrap_or(127),
            Some(priority) if (1..=127).contains(&priority.value) => priority.value,
            Some(priority) => {
                return wrong(priority.referenced, "priority", "out of range; 1 (first) to 127");
            }
        };
        all.push(CareOf { bid, interface: interface.clone(), priority });
    }
    Ok(all)
}

pub(super) fn flows(file: &Document<Raw>, all: &[CareOf]) -> Result<Vec<FlowRule>, ConfigError> {
    let Some(list) = &file.value.flows else { return Ok(Vec::new()) };
    if all.is_empty() {
        let what = "needs `care_of_addresses` to choose among";
        return Err(file.error(list.referenced, "flows", what));
    }
    if list.value.len() > MAX_FLOWS {
        let what = format!("{} rules; at most {MAX_FLOWS}", list.value.len());
        return Err(file.error(list.referenced, "flows", what));
    }
    let mut rules = Vec::new();
    for (index, raw) in list.value.iter().enumerate() {
        if !all.iter().any(|care_of| care_of.bid == raw.bid.value) {
            let what = "no care-of address has this Binding ID";
            return Err(file.error(raw.bid.referenced, format!("flows[{index}].bid"), what));
        }
        for selector in selectors(file, index, raw)? {
            let id = u16::try_from(rules.len() + 1).unwrap_or(u16::MAX);
            rules.push(FlowRule { id, bid: raw.bid.value, selector });
        }
    }
    Ok(rules)
}

/// One selector for each IP version that the rule is about.
fn selectors(
    file: &Document<Raw>,
    index: usize,
    raw: &RawFlow,
) -> Result<Vec<TrafficSelector>, ConfigError> {
    let key = |of: &str| format!("flows[{index}].{of}");
    let ports = |ports: &Option<Spanned<RawPorts>>, of: &str| {
        let Some(ports) = ports else { return Ok(None) };
        let what = "no port; 443, or a range as \"5000-5999\"";
        let range = port_range(&ports.value);
        range.map(Some).ok_or_else(|| file.error(ports.referenced, key(of), what))
    };
    let protocol = match &raw.protocol {
        None => None,
        Some(name) => Some(protocol(&name.value).ok_or_else(|| {
            let what = "no protocol; tcp, udp, icmp, esp, or a number from 0 to 255";
            file.error(name.referenced, key("protocol"), what)
        })?),
    };
    if let Some(dscp) = raw.dscp.as_ref().filter(|dscp| dscp.value > 63) {
        return Err(file.error(dscp.referenced, key("dscp"), "out of range; 0 to 63"));
    }
    let base = TrafficSelector {
        source_port: ports(&raw.remote_port, "remote_port")?,
        destination_port: ports(&raw.local_port, "local_port")?,
        dscp: raw.dscp.as_ref().map(|dscp| Range::only(dscp.value)),
        ..TrafficSelector::ANY_IPV6
    };
    let version = |addresses: Addresses, icmp: u8| TrafficSelector {
        addresses,
        protocol: protocol.map(|protocol| Range::only(protocol.unwrap_or(icmp))),
        ..base
    };
    let [remote, local] = [&raw.remote, &raw.local].map(|net| net.as_ref().map(|net| net.value));
    let mut selectors = Vec::new();
    if let (Some(source), Some(destination)) = (range6(remote), range6(local)) {
        selectors.push(version(Addresses::V6 { source, destination, flow_label: None }, 58));
    }
    if let (Some(source), Some(destination)) = (range4(remote), range4(local)) {
        selectors.push(version(Addresses::V4 { source, destination }, 1));
    }
    match (&raw.local, selectors.is_empty()) {
        (Some(local), true) => {
            let what = "is not of the IP version of `remote`";
            Err(file.error(local.referenced, key("local"), what))
        }
        _ => Ok(selectors),
    }
}

/// The addresses of a prefix, all of them where there is none; `None` where it is of the other IP
/// version.
fn range6(prefix: Option<IpNet>) -> Option<Option<Range<Ipv6Addr>>> {
    match prefix {
        None => Some(None),
        Some(IpNet::V6(net)) => Some(Some(Range { first: net.network(), last: net.broadcast() })),
        Some(IpNet::V4(_)) => None,
    }
}

/// The same for IPv4.
fn range4(prefix: Option<IpNet>) -> Option<Option<Range<Ipv4Addr>>> {
    match prefix {
        None => Some(None),
        Some(IpNet::V4(net)) => Some(Some(Range { first: net.network(), last: net.broadcast() })),
        Some(IpNet::V6(_)) => None,
    }
}

fn port_range(ports: &RawPorts) -> Option<Range<u16>> {
    match ports {
        RawPorts::One(port) => Some(Range::only(*port)),
        RawPorts::Range(text) => {
            let (first, last) = text.split_once('-')?;
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some(Range { first, last })
        }
    }
}

/// A protocol's number; of ICMP, which has one for each IP version, none.
fn protocol(name: &str) -> Option<Option<u8>> {
    Some(match name {
        "tcp" => Some(6),
        "udp" => Some(17),
        "esp" => Some(50),
        "icmp" => None,
        number => Some(number.parse().ok()?),
    })
}
