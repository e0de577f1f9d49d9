//! The YAML of the home agent: addresses, home prefixes, whom it serves and how.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hearth_config::{ConfigError, Document, Location, Spanned};
use hearth_home_agent::Policy;
use hearth_wire::MobileNodeId;
use hearth_wire::directory::MAX_SAS_PER_NODE;
use serde::Deserialize;

use crate::config::Config;
use crate::home_link_config::{self, Discovery, HomeLink, HomePrefix, MobilePrefixes};

/// The home agent.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HomeAgent {
    /// The name under which the HAC's YAML knows this home agent.
    pub name: Spanned<String>,
    /// The IPv6 home agent address: the one that the HAC hands out.
    pub address_ip6: Spanned<Ipv6Addr>,
    /// The IPv4 home agent address, for mobile nodes in IPv4 networks.
    #[serde(default)]
    pub address_ip4: Option<Spanned<Ipv4Addr>>,
    /// The Mobile IPv6 service port (UDP). Default: 7872, `mipv6tls`.
    #[serde(default = "default_service_port")]
    pub port: Spanned<u16>,
    /// Prefixes that home addresses come from.
    pub home_prefixes: Vec<Spanned<HomePrefix>>,
    /// What is done on home links.
    #[serde(default)]
    pub home_link: HomeLink,
    /// How mobile nodes are told of home prefixes.
    #[serde(default)]
    pub mobile_prefixes: MobilePrefixes,
    /// Dynamic home agent address discovery.
    #[serde(default)]
    pub discovery: Discovery,
    /// First and last SPI that the HAC deals out for this home agent.
    pub spi_range: Spanned<(u32, u32)>,
    /// Whether Binding Updates are served; switched off, they are refused with status 131, and
    /// bindings that exist last until they end. Default: on.
    #[serde(default = "yes")]
    pub home_registration: bool,
    /// Mobile nodes that are refused with status 129, by mn-id. Default: none.
    #[serde(default)]
    pub denied: Vec<Spanned<String>>,
    /// Realms whose mobile nodes are refused with status 129: what stands behind the `@`. Default:
    /// none.
    #[serde(default)]
    pub denied_realms: Vec<Spanned<String>>,
    /// Longest binding lifetime in seconds. Default: 3600.
    #[serde(default = "default_max_lifetime")]
    pub max_lifetime: Spanned<u32>,
    /// Refresh time in seconds that mobile nodes behind a NAT are told. Default: 110.
    #[serde(default = "default_nat_refresh")]
    pub nat_refresh: Spanned<u32>,
    /// How long an older SA carries data after the first BU under a newer one, in seconds.
    /// Default: 10.
    #[serde(default = "default_sa_grace")]
    pub sa_grace: Spanned<u32>,
    /// Most SAs of one mobile node; the oldest unused go first. Default: 64, also the most.
    #[serde(default = "default_max_sas_per_node")]
    pub max_sas_per_node: Spanned<u32>,
    /// How long the sequence number of a de-registered binding is remembered, in seconds: a delayed
    /// older Binding Update is refused meanwhile (RFC 6275 s.10.3.2). Default: 10.
    #[serde(default = "default_deregistration_hold")]
    pub deregistration_hold: Spanned<u32>,
    /// How much longer than this, in seconds, a binding has to last for its mobile node to be told
    /// by status 176 to fetch a new SA: its next try must find it alive. Default: 7.
    #[serde(default = "default_reinit_margin")]
    pub reinit_margin: Spanned<u32>,
    /// Binding Errors, and likewise ICMP errors, to one mobile node in a second, and in a burst
    /// . Default: 10.
    #[serde(default = "default_errors_per_node")]
    pub errors_per_node: Spanned<u32>,
    /// Moves of one mobile node's care-of addresses in a minute, and in a burst; beyond, Binding
    /// Updates are refused with status 129 (RFC 5555 s.5). 0: no limit. Default: 30.
    #[serde(default = "default_care_of_moves")]
    pub care_of_moves_per_minute: Spanned<u32>,
    /// Follow the outer source of IPv6 Binding Updates too (NAT66), instead of the authenticated
    /// Alternate Care-of Address option. Default: off.
    #[serde(default)]
    pub nat66_follow_source: bool,
}

const fn yes() -> bool {
    true
}

fn default<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN)
}

fn default_service_port() -> Spanned<u16> {
    default(hearth_wire::MIPV6TLS_PORT)
}

fn default_max_lifetime() -> Spanned<u32> {
    default(3600)
}

fn default_nat_refresh() -> Spanned<u32> {
    default(110)
}

fn default_sa_grace() -> Spanned<u32> {
    default(10)
}

fn default_max_sas_per_node() -> Spanned<u32> {
    default(MAX_SAS_PER_NODE)
}

fn default_deregistration_hold() -> Spanned<u32> {
    default(10)
}

fn default_reinit_margin() -> Spanned<u32> {
    default(7)
}

fn default_errors_per_node() -> Spanned<u32> {
    default(10)
}

fn default_care_of_moves() -> Spanned<u32> {
    default(30)
}

/// Checks the section.
pub(crate) fn check(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let home_agent = &config.home_agent;
    check_addresses(document, config)?;
    let (first, last) = home_agent.spi_range.value;
    if first == 0 || last > hearth_wire::Spi::MAX.get() || first > last {
        let message = "not a range of SPIs; [first, last] within 1 and 268435455";
        let at = home_agent.spi_range.referenced;
        return Err(document.error(at, "home_agent.spi_range", message));
    }
    if !(1..=255).contains(&home_agent.name.value.len()) {
        let message = "1 to 255 octets, as under home_agents in the HAC's YAML";
        return Err(document.error(home_agent.name.referenced, "home_agent.name", message));
    }
    let ranges = [
        (&home_agent.max_lifetime, "max_lifetime", 4, 262_140, " seconds"),
        (&home_agent.nat_refresh, "nat_refresh", 1, 86_400, " seconds"),
        (&home_agent.sa_grace, "sa_grace", 0, 3600, " seconds"),
        (&home_agent.deregistration_hold, "deregistration_hold", 0, 3600, " seconds"),
        (&home_agent.reinit_margin, "reinit_margin", 0, 3600, " seconds"),
        (&home_agent.max_sas_per_node, "max_sas_per_node", 2, MAX_SAS_PER_NODE, ""),
        (&home_agent.errors_per_node, "errors_per_node", 1, 10_000, ""),
        (&home_agent.care_of_moves_per_minute, "care_of_moves_per_minute", 0, 6000, ""),
    ];
    for (value, key, least, most, unit) in ranges {
        if !(least..=most).contains(&value.value) {
            let message = format!("{} is out of range; {least} to {most}{unit}", value.value);
            return Err(document.error(value.referenced, format!("home_agent.{key}"), message));
        }
    }
    check_denied(document, home_agent)?;
    home_link_config::check(document, config)
}

fn check_addresses(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let home_agent = &config.home_agent;
    let own: Vec<IpAddr> =
        config.ports.iter().flat_map(|port| &port.addresses).map(|a| a.value.addr()).collect();
    let on_a_port = |address: IpAddr, at: Location, key: &str| {
        if own.contains(&address) {
            return Ok(());
        }
        let message = format!("{address} is on no port; give it to one under ports[].addresses");
        Err(document.error(at, format!("home_agent.{key}"), message))
    };
    let ip6 = &home_agent.address_ip6;
    on_a_port(ip6.value.into(), ip6.referenced, "address_ip6")?;
    if let Some(ip4) = &home_agent.address_ip4 {
        on_a_port(ip4.value.into(), ip4.referenced, "address_ip4")?;
    }
    if home_agent.port.value == 0 {
        let message = "0 is no port; 1 to 65535";
        return Err(document.error(home_agent.port.referenced, "home_agent.port", message));
    }
    Ok(())
}

fn check_denied(document: &Document<Config>, home_agent: &HomeAgent) -> Result<(), ConfigError> {
    for (index, mn_id) in home_agent.denied.iter().enumerate() {
        if MobileNodeId::new(&mn_id.value).is_err() {
            let key = format!("home_agent.denied[{index}]");
            let message = format!("{} is no mn-id; user@realm, as the HAC knows it", mn_id.value);
            return Err(document.error(mn_id.referenced, key, message));
        }
    }
    for (index, realm) in home_agent.denied_realms.iter().enumerate() {
        if realm.value.contains('@') || MobileNodeId::new(&format!("x@{}", realm.value)).is_err() {
            let key = format!("home_agent.denied_realms[{index}]");
            let message = format!("{} is no realm; what stands behind the @", realm.value);
            return Err(document.error(realm.referenced, key, message));
        }
    }
    Ok(())
}

/// What the home agent goes by.
pub fn policy(config: &Config) -> Policy {
    let home_agent = &config.home_agent;
    let ip4 = home_agent.address_ip4.as_ref().map(|address| IpAddr::V4(address.value));
    let own = config.ports.iter().flat_map(|port| &port.addresses).map(|net| net.value.addr());
    let seconds = |value: &Spanned<u32>| Duration::from_secs(value.value.into());
    let count = |value: &Spanned<u32>| usize::try_from(value.value).unwrap_or(usize::MAX);
    Policy {
        home_prefixes: home_agent.home_prefixes.iter().map(|home| home.value.prefix).collect(),
        ha_addresses: own.chain([home_agent.address_ip6.value.into()]).chain(ip4).collect(),
        home_registration: home_agent.home_registration,
        // Checked; none is lost.
        denied: home_agent.denied.iter().flat_map(|id| MobileNodeId::new(&id.value)).collect(),
        denied_realms: home_agent.denied_realms.iter().map(|r| r.value.as_str().into()).collect(),
        max_lifetime: seconds(&home_agent.max_lifetime),
        max_bindings: count(&config.tables.max_bindings),
        nat_refresh_time: home_agent.nat_refresh.value,
        nat66_follow_source: home_agent.nat66_follow_source,
        sa_grace: seconds(&home_agent.sa_grace),
        max_sas_per_node: count(&home_agent.max_sas_per_node),
        deregistration_hold: seconds(&home_agent.deregistration_hold),
        reinit_margin: seconds(&home_agent.reinit_margin),
        errors_per_second: home_agent.errors_per_node.value,
        care_of_moves_per_minute: home_agent.care_of_moves_per_minute.value,
        ..Policy::default()
    }
}
