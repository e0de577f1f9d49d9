//! The mobile node's YAML file; `configs/mn.yaml` explains every key.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearth_config::{ConfigError, Document, Location, Spanned};
use hearth_wire::{MobileNodeId, Scope, Suite};
use ipnet::{IpNet, Ipv6Net};
use serde::Deserialize;
use zeroize::Zeroizing;

mod auth;
mod care_of;
mod host;
mod mobile_router;
mod route_optimisation;
mod secret;

use auth::RawAuth;
pub use auth::{AkaAuth, Auth, CredentialError, TlsAuth, TtlsAuth};
pub use care_of::CareOf;
use care_of::{RawCareOf, RawFlow};
use mobile_router::RawMobileRouter;
pub use mobile_router::{MobileRouter, PrefixMode};
use route_optimisation::RawRouteOptimisation;
pub use secret::Asking;
pub(crate) use secret::unhex;
use secret::{Form, RawSecret, Reading};

use crate::flows::FlowRule;
use crate::host_dns::Choice;
use crate::registration::Timers;
use crate::tls::{ReferenceName, TrustAnchors, TrustError};

/// Everything the mobile node was told, checked.
#[derive(Debug)]
pub struct Config {
    /// Who we are.
    pub mn_id: MobileNodeId,
    /// How we prove who we are, and what with.
    pub auth: Auth,
    /// Where and how to bootstrap.
    pub hac: Hac,
    /// Ciphersuites to offer, the most wanted first.
    pub suites: Vec<Suite>,
    /// Scope to propose.
    pub scope: Scope,
    /// Interfaces to use, the most wanted first; empty: all.
    pub interfaces: Vec<String>,
    /// The networks to use at once, by Binding ID; empty: one at a time (RFC 5648).
    pub care_of_addresses: Vec<CareOf>,
    /// Which traffic prefers which of them (RFC 6089).
    pub flows: Vec<FlowRule>,
    /// The networks behind this node, if it is a mobile router.
    pub mobile_router: Option<MobileRouter>,
    /// Correspondents that are asked to send directly; empty: nobody is.
    pub correspondents: Vec<Ipv6Net>,
    /// Name of the TUN device.
    pub tun: String,
    /// MTU of visited links.
    pub link_mtu: u16,
    /// Prefixes that go through the tunnel.
    pub routes: Vec<IpNet>,
    /// Prefixes that stay outside the tunnel.
    pub exclude: Vec<IpNet>,
    /// What belongs into the tunnel goes nowhere else while there is none.
    pub fail_closed: bool,
    /// Whether the link that has the home prefix is believed to be the home link.
    pub home_link: bool,
    /// Who sets the DNS servers that the HAC hands out.
    pub dns: Choice,
    /// Routing table, firewall mark and priority of the first rule.
    pub table: u32,
    /// Where to write the status, if anywhere.
    pub status_file: Option<PathBuf>,
    /// Intervals of registration and bootstrap.
    pub timers: Timers,
    /// Limit for one bootstrap.
    pub hac_timeout: Duration,
    /// What is not wrong but unwise, with line and key: secrets that others can read.
    pub warnings: Vec<ConfigError>,
}

/// The Home Agent Controller.
#[derive(Debug)]
pub struct Hac {
    /// What its certificate must say.
    pub name: ReferenceName,
    /// Addresses to connect to; empty: resolve the name.
    pub addresses: Vec<IpAddr>,
    /// TCP port.
    pub port: u16,
    /// The name to ask for SRV records, in the place of `addresses`, name and port.
    pub srv: Option<String>,
    /// Certification authorities.
    pub ca: TrustAnchors,
}

/// A pre-shared key. Never printed; wiped on drop.
pub struct Psk(Zeroizing<Vec<u8>>);

impl Psk {
    /// Shorter keys could be guessed off line.
    pub const MIN_LEN: usize = 16;

    /// Takes the octets of a key; `None` where they are too few.
    #[must_use]
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Option<Self> {
        (octets.len() >= Self::MIN_LEN).then_some(Self(octets))
    }

    /// The octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(..)")
    }
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Raw {
    /// Network access identifier (RFC 4282), as the HAC knows it.
    mn_id: Spanned<String>,
    /// The pre-shared key, at least 16 octets: one of hex, text, file, credential and prompt.
    #[serde(default)]
    psk: Option<Spanned<RawSecret>>,
    /// How to prove who we are. Default: psk.
    #[serde(default)]
    auth: Option<Spanned<RawAuth>>,
    /// The Home Agent Controller.
    hac: RawHac,
    /// Ciphersuites to offer, the most wanted first. Default: AES_128_CBC_SHA256, AES_128_CBC_SHA.
    #[serde(default)]
    suites: Option<Spanned<Vec<Spanned<String>>>>,
    /// mip6-sas to propose: 1 protects user data too, 0 does not. Default: 1.
    #[serde(default)]
    scope: Option<Spanned<u8>>,
    /// Networks to use, the most wanted first. Default: every one.
    #[serde(default)]
    interfaces: Vec<Spanned<String>>,
    /// Several networks at once (RFC 5648), in the place of `interfaces`. Default: none.
    #[serde(default)]
    care_of_addresses: Option<Spanned<Vec<RawCareOf>>>,
    /// Which traffic prefers which of them (RFC 6089); the first rule that matches. Default: none.
    #[serde(default)]
    flows: Option<Spanned<Vec<RawFlow>>>,
    /// The networks behind this node (RFC 3963). Default: none.
    #[serde(default)]
    mobile_router: Option<RawMobileRouter>,
    /// Hosts that are asked to send to the care-of address directly (RFC 6275 s.5.2). Default:
    /// none.
    #[serde(default)]
    route_optimisation: Option<Spanned<RawRouteOptimisation>>,
    /// Name of the TUN device. Default: hearth0.
    #[serde(default)]
    tun: Option<Spanned<String>>,
    /// MTU of visited links in octets, 1280 to 9000. Default: 1500.
    #[serde(default)]
    link_mtu: Option<Spanned<u16>>,
    /// What goes through the tunnel. Default: everything.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Spanned<hearth_config::Prefix>>>")]
    routes: Option<Vec<Spanned<IpNet>>>,
    /// What of that does not, if there is another way. Default: nothing.
    #[serde(default)]
    #[schemars(with = "Vec<Spanned<hearth_config::Prefix>>")]
    exclude: Vec<Spanned<IpNet>>,
    /// What goes through the tunnel leaves no other way. Default: off.
    #[serde(default)]
    fail_closed: bool,
    /// A link that has the home prefix is believed to be the home link (RFC 6275 s.11.5.5).
    /// Default: off.
    #[serde(default)]
    home_link: Option<Spanned<bool>>,
    /// Who sets the DNS servers that the HAC hands out. Default: auto.
    #[serde(default)]
    dns: Choice,
    /// Routing table, firewall mark, and priority of the first rule. Default: 6618.
    #[serde(default)]
    table: Option<Spanned<u32>>,
    /// A file to write the status into on every change. Default: none.
    #[serde(default)]
    status_file: Option<PathBuf>,
    /// Intervals of registration and bootstrap.
    #[serde(default)]
    timers: RawTimers,
    #[serde(skip)]
    reading: Reading,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Hac")]
struct RawHac {
    /// What its certificate must carry as subjectAltName.
    name: Spanned<String>,
    /// Addresses to connect to, in this order. Default: those of the name.
    #[serde(default)]
    addresses: Vec<Spanned<IpAddr>>,
    /// Its TCP port. Default: 7873.
    #[serde(default)]
    port: Option<Spanned<u16>>,
    /// Name of SRV records to ask for in the place of `name` and `port`. Default: none.
    #[serde(default)]
    srv: Option<Spanned<String>>,
    /// PEM: only certificates under these are trusted.
    ca: Spanned<PathBuf>,
}

#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Timers")]
struct RawTimers {
    /// Binding lifetime to ask for, in seconds, 4 to 65535. Default: 600.
    lifetime: Option<Spanned<f64>>,
    /// Seconds before the first retransmission of a Binding Update. Default: 1.
    initial_timeout: Option<Spanned<f64>>,
    /// The same without a binding at the home agent. Default: 1.5.
    first_registration_timeout: Option<Spanned<f64>>,
    /// Seconds at which the doubling stops. Default: 32.
    max_timeout: Option<Spanned<f64>>,
    /// Unanswered Binding Updates before the next path is tried. Default: 3.
    attempts_per_path: Option<Spanned<u32>>,
    /// Seconds between keepalives where the home agent names none. Default: 110.
    nat_keepalive: Option<Spanned<f64>>,
    /// Seconds; a NAT that forgets sooner is not kept up with. Default: 10.
    nat_keepalive_min: Option<Spanned<f64>>,
    /// Part of an SA's validity that is left when a new one is fetched. Default: 0.2.
    renew_before: Option<Spanned<f64>>,
    /// Seconds for a whole bootstrap. Default: 10.
    hac_timeout: Option<Spanned<f64>>,
    /// Seconds of the first pause after a failed bootstrap; it doubles. Default: 1.
    hac_retry: Option<Spanned<f64>>,
    /// Seconds at which that doubling stops. Default: 60.
    hac_max_retry: Option<Spanned<f64>>,
    /// Seconds to wait for the answer to the de-registration. Default: 3.
    stop_timeout: Option<Spanned<f64>>,
}

/// RFC 6618 names no port; this is the one of all examples.
const HAC_PORT: u16 = 7873;

/// Reads and checks the file at `path` and every file it names. Nobody is asked for a secret.
///
/// # Errors
/// The first thing that is wrong, with file, line and key.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    load_with(path, Asking::Never)
}

/// The same, for a node that starts, or for a check.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, asking: Asking) -> Result<Config, ConfigError> {
    let mut file = hearth_config::load::<Raw>(path)?;
    file.value.reading.asking = asking;
    check(&file)
}

fn check(file: &Document<Raw>) -> Result<Config, ConfigError> {
    let raw = &file.value;
    let mn_id = MobileNodeId::new(&raw.mn_id.value)
        .map_err(|error| file.error(raw.mn_id.referenced, "mn_id", error.to_string()))?;
    let (timers, hac_timeout) = timers(file)?;
    let care_of_addresses = care_of::care_of_addresses(file)?;
    let hac = hac(file)?;
    Ok(Config {
        auth: auth::auth(file, &mn_id, &hac)?,
        mn_id,
        hac,
        suites: suites(file)?,
        scope: scope(file)?,
        interfaces: interfaces(file)?,
        flows: care_of::flows(file, &care_of_addresses)?,
        care_of_addresses,
        mobile_router: mobile_router::mobile_router(file)?,
        correspondents: route_optimisation::correspondents(file)?,
        tun: tun(file)?,
        link_mtu: link_mtu(file)?,
        routes: host::routes(file)?,
        exclude: host::exclude(file)?,
        fail_closed: raw.fail_closed,
        home_link: home_link(file)?,
        dns: raw.dns,
        table: table(file)?,
        status_file: raw.status_file.as_ref().map(|path| file.resolve(path)),
        timers,
        hac_timeout,
        warnings: raw.reading.warnings.take(),
    })
}

fn psk(file: &Document<Raw>, psk: &Spanned<RawSecret>) -> Result<Psk, ConfigError> {
    let key = match &psk.value {
        RawSecret::Hex(_) => "psk.hex",
        RawSecret::Text(_) => "psk.text",
        RawSecret::File(_) => "psk.file",
        RawSecret::Credential(_) => "psk.credential",
        RawSecret::Prompt(_) => "psk.prompt",
    };
    Psk::new(secret::read(file, psk, "psk", Form::Hex)?).ok_or_else(|| {
        let what = "the key is too short; at least 16 octets (hearth-mn keygen makes one)";
        file.error(psk.referenced, key, what)
    })
}

fn hac(file: &Document<Raw>) -> Result<Hac, ConfigError> {
    let raw = &file.value.hac;
    let name = ReferenceName::new(&raw.name.value).ok_or_else(|| {
        file.error(raw.name.referenced, "hac.name", "not a DNS name or an address; no wildcard")
    })?;
    for (index, address) in raw.addresses.iter().enumerate() {
        let wrong = |what: &str| {
            Err(file.error(address.referenced, format!("hac.addresses[{index}]"), what))
        };
        if address.value.is_unspecified() || address.value.is_multicast() {
            return wrong("not the address of a host");
        }
        if raw.addresses.iter().take(index).any(|other| other.value == address.value) {
            return wrong("stands twice");
        }
    }
    if let Some(port) = raw.port.as_ref().filter(|port| port.value == 0) {
        return Err(file.error(port.referenced, "hac.port", "0 is no port; 1 to 65535"));
    }
    let path = file.resolve(&raw.ca.value);
    let ca = TrustAnchors::load(&path).map_err(|error| {
        let what = match error {
            TrustError::Unreadable => "can't be read as PEM",
            TrustError::Empty => "holds no certificate",
            TrustError::NotAnAnchor => "holds a certificate that can't be a trust anchor",
        };
        file.error(raw.ca.referenced, "hac.ca", format!("{} {what}", path.display()))
    })?;
    let addresses = raw.addresses.iter().map(|address| address.value).collect();
    let port = raw.port.as_ref().map_or(HAC_PORT, |port| port.value);
    Ok(Hac { name, addresses, port, srv: host::srv(file)?, ca })
}

fn suites(file: &Document<Raw>) -> Result<Vec<Suite>, ConfigError> {
    let Some(list) = &file.value.suites else {
        // NULL, 3DES and AES_128_GCM are offered where they are named.
        return Ok(vec![Suite::Aes128CbcSha256, Suite::Aes128CbcSha]);
    };
    let mut suites = Vec::new();
    for (index, name) in list.value.iter().enumerate() {
        let wrong = |what: String| file.error(name.referenced, format!("suites[{index}]"), what);
        let suite = Suite::from_name(&name.value).ok_or_else(|| {
            let names = Suite::known().map(Suite::name).collect::<Vec<_>>().join(", ");
            wrong(format!("no ciphersuite; one of {names}"))
        })?;
        if suites.contains(&suite) {
            return Err(wrong("stands twice".to_owned()));
        }
        suites.push(suite);
    }
    if suites.is_empty() {
        return Err(file.error(list.referenced, "suites", "empty; at least one ciphersuite"));
    }
    Ok(suites)
}

fn home_link(file: &Document<Raw>) -> Result<bool, ConfigError> {
    let raw = &file.value;
    let Some(wanted) = raw.home_link.as_ref().filter(|wanted| wanted.value) else {
        return Ok(false);
    };
    let wrong = |what| Err(file.error(wanted.referenced, "home_link", what));
    if raw.fail_closed {
        return wrong("at home nothing goes through the tunnel, which `fail_closed` demands");
    }
    if raw.care_of_addresses.is_some() {
        return wrong("with `care_of_addresses` a node does not return home");
    }
    Ok(true)
}

fn scope(file: &Document<Raw>) -> Result<Scope, ConfigError> {
    let Some(digit) = &file.value.scope else {
        return Ok(Scope::SignallingAndData);
    };
    Scope::from_digit(digit.value)
        .ok_or_else(|| file.error(digit.referenced, "scope", "0 (signalling) or 1 (data too)"))
}

/// Linux names interfaces with 1 to 15 octets, none of them white space or a slash.
fn is_interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && !name.contains(|c: char| c.is_whitespace() || c == '/' || c == ':' || c == '\0')
        && name != "."
        && name != ".."
}

const INTERFACE_NAME: &str = "no interface name: 1 to 15 octets, no white space, slash or colon";

fn interfaces(file: &Document<Raw>) -> Result<Vec<String>, ConfigError> {
    let mut names: Vec<String> = Vec::new();
    for (index, name) in file.value.interfaces.iter().enumerate() {
        let wrong = |what| Err(file.error(name.referenced, format!("interfaces[{index}]"), what));
        if !is_interface_name(&name.value) {
            return wrong(INTERFACE_NAME);
        }
        if names.contains(&name.value) {
            return wrong("stands twice");
        }
        names.push(name.value.clone());
    }
    Ok(names)
}

fn tun(file: &Document<Raw>) -> Result<String, ConfigError> {
    match &file.value.tun {
        None => Ok("hearth0".to_owned()),
        Some(name) if is_interface_name(&name.value) => Ok(name.value.clone()),
        Some(name) => Err(file.error(name.referenced, "tun", INTERFACE_NAME)),
    }
}

fn link_mtu(file: &Document<Raw>) -> Result<u16, ConfigError> {
    match &file.value.link_mtu {
        None => Ok(1500),
        Some(mtu) if (1280..=9000).contains(&mtu.value) => Ok(mtu.value),
        Some(mtu) => Err(file.error(mtu.referenced, "link_mtu", "out of range; 1280 to 9000")),
    }
}

fn table(file: &Document<Raw>) -> Result<u32, ConfigError> {
    match &file.value.table {
        None => Ok(6618),
        // Below 256 are the kernel's own tables; priorities behind 32765 come after `main`.
        Some(table) if (256..=32_000).contains(&table.value) => Ok(table.value),
        Some(table) => Err(file.error(table.referenced, "table", "out of range; 256 to 32000")),
    }
}

fn timers(file: &Document<Raw>) -> Result<(Timers, Duration), ConfigError> {
    let raw = &file.value.timers;
    let seconds = |value: &Option<Spanned<f64>>, key: &str, (low, high): (f64, f64), default| {
        let Some(value) = value else {
            return Ok(Duration::from_secs_f64(default));
        };
        if (low..=high).contains(&value.value) {
            return Ok(Duration::from_secs_f64(value.value));
        }
        Err(out_of_range(file, value.referenced, key, low, high))
    };
    let renew_before = match &raw.renew_before {
        None => 0.2,
        Some(part) if (0.01..=0.9).contains(&part.value) => part.value,
        Some(part) => return Err(out_of_range(file, part.referenced, "renew_before", 0.01, 0.9)),
    };
    let attempts_per_path = match &raw.attempts_per_path {
        None => 3,
        Some(count) if (1..=10).contains(&count.value) => count.value,
        Some(count) => {
            return Err(out_of_range(file, count.referenced, "attempts_per_path", 1.0, 10.0));
        }
    };
    let timers = Timers {
        lifetime: seconds(&raw.lifetime, "lifetime", (4.0, 65535.0), 600.0)?,
        initial_timeout: seconds(&raw.initial_timeout, "initial_timeout", (0.1, 60.0), 1.0)?,
        first_registration_timeout: seconds(
            &raw.first_registration_timeout,
            "first_registration_timeout",
            (0.1, 60.0),
            1.5,
        )?,
        max_timeout: seconds(&raw.max_timeout, "max_timeout", (1.0, 3600.0), 32.0)?,
        attempts_per_path,
        nat_keepalive: seconds(&raw.nat_keepalive, "nat_keepalive", (5.0, 3600.0), 110.0)?,
        nat_keepalive_min: seconds(
            &raw.nat_keepalive_min,
            "nat_keepalive_min",
            (1.0, 3600.0),
            10.0,
        )?,
        renew_before,
        hac_retry: seconds(&raw.hac_retry, "hac_retry", (0.1, 3600.0), 1.0)?,
        hac_max_retry: seconds(&raw.hac_max_retry, "hac_max_retry", (1.0, 86400.0), 60.0)?,
        stop_timeout: seconds(&raw.stop_timeout, "stop_timeout", (0.1, 60.0), 3.0)?,
        ..Timers::default()
    };
    let hac_timeout = seconds(&raw.hac_timeout, "hac_timeout", (1.0, 300.0), 10.0)?;
    Ok((timers, hac_timeout))
}

fn out_of_range(file: &Document<Raw>, at: Location, key: &str, low: f64, high: f64) -> ConfigError {
    file.error(at, format!("timers.{key}"), format!("out of range; {low} to {high}"))
}

#[cfg(test)]
mod tests;
