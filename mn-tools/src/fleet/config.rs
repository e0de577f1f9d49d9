//! The fleet's YAML file; `configs/fleet.yaml` explains every key.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearth_config::{ConfigError, Document, Location, Spanned};
use hearth_wire::MobileNodeId;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::keys::Keys;
use super::probe;
use crate::config::{self, Asking, Auth, Config};
use crate::path::is_care_of_address;

/// What the fleet is told, checked.
#[derive(Debug)]
pub struct Plan {
    /// What every node is told alike.
    pub node: Config,
    /// How many nodes.
    pub nodes: u32,
    /// Their names, `{}` for the number.
    pub mn_id: String,
    /// The first number.
    pub first: u32,
    /// Their keys.
    pub keys: Keys,
    /// Care-of addresses, given out in turn; empty: the kernel's choice.
    pub care_of_addresses: Vec<IpAddr>,
    /// How long the load lasts, once all are registered.
    pub duration: Duration,
    /// First bootstraps a second, over the fleet.
    pub bootstraps_per_second: f64,
    /// Sessions with the HAC at a time.
    pub bootstraps_at_once: u16,
    /// Refreshing Binding Updates a second, over the fleet.
    pub updates_per_second: f64,
    /// Changes of the care-of address a second, over the fleet.
    pub handovers_per_second: f64,
    /// Whether the old care-of address works until the new one is registered.
    pub make_before_break: bool,
    /// Data.
    pub traffic: Option<Traffic>,
    /// Threads of nodes.
    pub threads: u16,
    /// Where the results go as JSON.
    pub report: Option<PathBuf>,
}

/// What each node sends while the load lasts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// The correspondent.
    pub to: Ipv6Addr,
    /// What it is sent.
    pub kind: Kind,
    /// UDP port, but for pings.
    pub port: u16,
    /// Packets a second, of each node.
    pub packets_per_second: f64,
    /// Octets of an inner packet, its IPv6 header included.
    pub octets: u16,
}

/// What a correspondent is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// ICMPv6 echo requests: any host answers.
    Ping,
    /// UDP to a port that sends it back (RFC 862).
    Echo,
    /// UDP that nobody answers.
    OneWay,
}

impl Plan {
    /// The mn-id of node `number`, counted from 0.
    #[must_use]
    pub fn mn_id(&self, number: u32) -> Option<MobileNodeId> {
        name(&self.mn_id, self.first, number)
    }
}

fn name(template: &str, first: u32, number: u32) -> Option<MobileNodeId> {
    let number = u64::from(first) + u64::from(number);
    MobileNodeId::new(&template.replacen("{}", &number.to_string(), 1)).ok()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    node: Spanned<PathBuf>,
    nodes: Spanned<u32>,
    mn_id: Spanned<String>,
    #[serde(default)]
    first: Option<u32>,
    #[serde(default)]
    keys: Option<Spanned<PathBuf>>,
    #[serde(default)]
    care_of_addresses: Vec<Spanned<IpAddr>>,
    #[serde(default)]
    duration: Option<Spanned<f64>>,
    #[serde(default)]
    bootstraps_per_second: Option<Spanned<f64>>,
    #[serde(default)]
    bootstraps_at_once: Option<Spanned<u16>>,
    #[serde(default)]
    updates_per_second: Option<Spanned<f64>>,
    #[serde(default)]
    handovers_per_second: Option<Spanned<f64>>,
    #[serde(default)]
    make_before_break: bool,
    #[serde(default)]
    traffic: Option<RawTraffic>,
    #[serde(default)]
    threads: Option<Spanned<u16>>,
    #[serde(default)]
    report: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTraffic {
    to: Spanned<Ipv6Addr>,
    #[serde(default)]
    kind: Option<Kind>,
    #[serde(default)]
    port: Option<Spanned<u16>>,
    #[serde(default)]
    packets_per_second: Option<Spanned<f64>>,
    #[serde(default)]
    octets: Option<Spanned<u16>>,
}

/// Most nodes of a process.
const MAX_NODES: u32 = 1_000_000;

/// Reads and checks the file at `path` and every file it names.
///
/// # Errors
/// The first thing that is wrong, with file, line and key.
pub fn load(path: &Path) -> Result<Plan, ConfigError> {
    let file = hearth_config::load::<Raw>(path)?;
    let raw = &file.value;
    let mut node = config::load_with(&file.resolve(&raw.node.value), Asking::Person)?;
    // Packets of a fleet need no routing rules, and so no mark and no privilege.
    node.table = 0;
    let nodes = range(&file, Some(&raw.nodes), "nodes", (1, MAX_NODES), 1)?;
    let first = raw.first.unwrap_or(1);
    check_names(&file, first, nodes)?;
    let rate = |given: &Option<Spanned<f64>>, key: &str, low, default| {
        range(&file, given.as_ref(), key, (low, 1e6), default)
    };
    let plan = Plan {
        nodes,
        mn_id: raw.mn_id.value.clone(),
        first,
        keys: keys(&file, &node)?,
        node,
        care_of_addresses: care_of_addresses(&file)?,
        duration: Duration::from_secs_f64(range(
            &file,
            raw.duration.as_ref(),
            "duration",
            (0.0, 1e6),
            10.0,
        )?),
        bootstraps_per_second: rate(
            &raw.bootstraps_per_second,
            "bootstraps_per_second",
            0.1,
            100.0,
        )?,
        bootstraps_at_once: range(
            &file,
            raw.bootstraps_at_once.as_ref(),
            "bootstraps_at_once",
            (1, 1000),
            32,
        )?,
        updates_per_second: rate(&raw.updates_per_second, "updates_per_second", 0.0, 0.0)?,
        handovers_per_second: rate(&raw.handovers_per_second, "handovers_per_second", 0.0, 0.0)?,
        make_before_break: raw.make_before_break,
        traffic: raw.traffic.as_ref().map(|traffic| self::traffic(&file, traffic)).transpose()?,
        threads: range(&file, raw.threads.as_ref(), "threads", (1, 256), 1)?,
        report: raw.report.as_ref().map(|path| file.resolve(path)),
    };
    check_keys(&file, &plan)?;
    Ok(plan)
}

fn range<T: PartialOrd + Copy + std::fmt::Display>(
    file: &Document<Raw>,
    given: Option<&Spanned<T>>,
    key: &str,
    (low, high): (T, T),
    default: T,
) -> Result<T, ConfigError> {
    match given {
        None => Ok(default),
        Some(given) if (low..=high).contains(&given.value) => Ok(given.value),
        Some(given) => {
            Err(file.error(given.referenced, key, format!("out of range; {low} to {high}")))
        }
    }
}

fn check_names(file: &Document<Raw>, first: u32, nodes: u32) -> Result<(), ConfigError> {
    let template = &file.value.mn_id;
    let wrong = |what: &str| Err(file.error(template.referenced, "mn_id", what));
    if template.value.matches("{}").count() != 1 {
        return wrong("{} stands in the place of the node's number, once: \"fleet{}@example.net\"");
    }
    let fit =
        [0, nodes - 1].into_iter().all(|number| name(&template.value, first, number).is_some());
    if fit { Ok(()) } else { wrong("no network access identifier (RFC 4282), with a number in it") }
}

fn keys(file: &Document<Raw>, node: &Config) -> Result<Keys, ConfigError> {
    let (Auth::Psk(psk) | Auth::Gpsk(psk)) = &node.auth else {
        let what = "its auth is not for a fleet: psk or eap-gpsk, a key for each node";
        return Err(file.error(file.value.node.referenced, "node", what));
    };
    let Some(list) = &file.value.keys else {
        return Ok(Keys::Derived(Zeroizing::new(psk.octets().to_vec())));
    };
    let path = file.resolve(&list.value);
    Keys::read(&path)
        .map_err(|what| file.error(list.referenced, "keys", format!("{}: {what}", path.display())))
}

/// Every node has a key.
fn check_keys(file: &Document<Raw>, plan: &Plan) -> Result<(), ConfigError> {
    let Some(list) = &file.value.keys else { return Ok(()) };
    let names = (0..plan.nodes).filter_map(|number| plan.mn_id(number));
    match names.into_iter().find(|mn_id| plan.keys.of(mn_id).is_none()) {
        None => Ok(()),
        Some(mn_id) => Err(file.error(list.referenced, "keys", format!("has no key for {mn_id}"))),
    }
}

fn care_of_addresses(file: &Document<Raw>) -> Result<Vec<IpAddr>, ConfigError> {
    let mut addresses = Vec::new();
    for (index, address) in file.value.care_of_addresses.iter().enumerate() {
        let wrong =
            |what| Err(file.error(address.referenced, format!("care_of_addresses[{index}]"), what));
        if !is_care_of_address(address.value) {
            return wrong("no address that a home agent can reach");
        }
        if addresses.contains(&address.value) {
            return wrong("stands twice");
        }
        addresses.push(address.value);
    }
    Ok(addresses)
}

fn traffic(file: &Document<Raw>, raw: &RawTraffic) -> Result<Traffic, ConfigError> {
    let wrong =
        |at: Location, key: &str, what: &str| Err(file.error(at, format!("traffic.{key}"), what));
    if raw.to.value.is_unspecified() || raw.to.value.is_multicast() {
        return wrong(raw.to.referenced, "to", "not the address of a host");
    }
    let kind = raw.kind.unwrap_or(Kind::Ping);
    let port = match (&raw.port, kind) {
        (Some(port), Kind::Ping) => {
            return wrong(port.referenced, "port", "pings have none; kind: echo or one-way");
        }
        (None, Kind::OneWay) => {
            return wrong(raw.to.referenced, "port", "missing key; the correspondent's UDP port");
        }
        (Some(port), _) if port.value == 0 => {
            return wrong(port.referenced, "port", "0 is no port; 1 to 65535");
        }
        (Some(port), _) => port.value,
        // RFC 862.
        (None, _) => 7,
    };
    let packets = raw.packets_per_second.as_ref();
    let least = u16::try_from(probe::LEAST).unwrap_or(u16::MAX);
    Ok(Traffic {
        to: raw.to.value,
        kind,
        port,
        packets_per_second: range(file, packets, "traffic.packets_per_second", (0.001, 1e6), 1.0)?,
        octets: range(file, raw.octets.as_ref(), "traffic.octets", (least, 1400), 100)?,
    })
}
