//! The YAML of home prefixes and home links.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hearth_config::{ConfigError, Document, Location, Spanned};
use hearth_home_agent::{Lifetime, WallClock};
use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::{Config, Port};
use crate::home_agent_config::HomeAgent;

/// A prefix that home addresses come from: the prefix alone, or more about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomePrefix {
    /// The prefix.
    pub prefix: IpNet,
    /// What else is said of it.
    pub about: About,
}

/// Where a home prefix is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Routed to the home agent, on no link: no Neighbour Discovery for it.
    #[default]
    Routed,
    /// On the link of a port: home addresses are defended there.
    Link,
}

/// What is said of a home prefix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Where it is. Default: routed.
    pub mode: Mode,
    /// The port, by name, that its link is on.
    pub port: Option<Spanned<String>>,
    /// It is always valid for so many seconds more: no binding is longer. Default: infinite; on a
    /// link what the box's own Router Advertisements say.
    pub valid_lifetime: Option<Spanned<u32>>,
    /// It is always preferred for so many seconds more. Default: as for `valid_lifetime`.
    pub preferred_lifetime: Option<Spanned<u32>>,
    /// It is valid until then, as `2027-03-01T00:00:00Z`; bindings in it end.
    pub valid_until: Option<Spanned<Instant>>,
    /// It is preferred until then.
    pub preferred_until: Option<Spanned<Instant>>,
    /// Tell mobile nodes that they may form addresses in it by themselves (A). Default: off.
    pub autonomous: bool,
}

/// A date and time of RFC 3339, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom("not a date and time; as in 2027-03-01T00:00:00Z");
        let instant = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| wrong())?;
        u64::try_from(instant.unix_timestamp()).map(Self).map_err(|_| wrong())
    }
}

impl JsonSchema for Instant {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A home prefix, and more about it.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Section {
    /// The prefix.
    #[schemars(with = "hearth_config::Prefix")]
    prefix: IpNet,
    /// Where it is. Default: routed.
    #[serde(default)]
    mode: Mode,
    /// The port, by name, that its link is on.
    #[serde(default)]
    port: Option<Spanned<String>>,
    /// It is always valid for so many seconds more: no binding is longer. Default: infinite; on a
    /// link what the box's own Router Advertisements say.
    #[serde(default)]
    valid_lifetime: Option<Spanned<u32>>,
    /// It is always preferred for so many seconds more. Default: as for `valid_lifetime`.
    #[serde(default)]
    preferred_lifetime: Option<Spanned<u32>>,
    /// It is valid until then, as `2027-03-01T00:00:00Z`; bindings in it end.
    #[serde(default)]
    valid_until: Option<Spanned<Instant>>,
    /// It is preferred until then.
    #[serde(default)]
    preferred_until: Option<Spanned<Instant>>,
    /// Tell mobile nodes that they may form addresses in it by themselves (A). Default: off.
    #[serde(default)]
    autonomous: bool,
}

impl From<Section> for HomePrefix {
    fn from(section: Section) -> Self {
        let Section { prefix, mode, port, valid_lifetime, preferred_lifetime, .. } = section;
        let Section { valid_until, preferred_until, autonomous, .. } = section;
        let about = About {
            mode,
            port,
            valid_lifetime,
            preferred_lifetime,
            valid_until,
            preferred_until,
            autonomous,
        };
        Self { prefix, about }
    }
}

impl JsonSchema for HomePrefix {
    fn schema_name() -> Cow<'static, str> {
        "HomePrefix".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let prefix = generator.subschema_for::<hearth_config::Prefix>();
        let section = generator.subschema_for::<Section>();
        json_schema!({ "anyOf": [prefix, section] })
    }
}

impl<'de> Deserialize<'de> for HomePrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = HomePrefix;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a prefix such as 2001:db8:100::/64, or a section with the key prefix")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<HomePrefix, E> {
                let prefix = text.parse().map_err(E::custom)?;
                Ok(HomePrefix { prefix, about: About::default() })
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<HomePrefix, M::Error> {
                Section::deserialize(MapAccessDeserializer::new(map)).map(HomePrefix::from)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl HomePrefix {
    /// Valid and preferred lifetime, moved onto the home agent's line of time; `None` where the
    /// box's own Router Advertisements say it.
    #[must_use]
    pub fn lifetimes(&self, clock: WallClock) -> (Option<Lifetime>, Option<Lifetime>) {
        let about = &self.about;
        let of = |constant: &Option<Spanned<u32>>, until: &Option<Spanned<Instant>>| {
            let constant = constant
                .as_ref()
                .map(|seconds| Lifetime::Constant(Duration::from_secs(seconds.value.into())));
            let until = until.as_ref().map(|at| Lifetime::Until(clock.timestamp(at.value.0)));
            let unsaid = (about.mode == Mode::Routed).then_some(Lifetime::Infinite);
            constant.or(until).or(unsaid)
        };
        let valid = of(&about.valid_lifetime, &about.valid_until);
        (valid, of(&about.preferred_lifetime, &about.preferred_until))
    }

    /// The place of its port in YAML, where it is on a link.
    #[must_use]
    pub fn port(&self, ports: &[Port]) -> Option<usize> {
        let name = self.about.port.as_ref().filter(|_| self.about.mode == Mode::Link)?;
        ports.iter().position(|port| port.name.value == name.value)
    }
}

/// What is done on home links.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HomeLink {
    /// Questions of duplicate address detection in front of a first registration; 0: none is made.
    /// Default: 1.
    pub dad_transmits: Spanned<u8>,
    /// How long an answer to each is waited for, in milliseconds. Default: 1000.
    pub dad_wait_ms: Spanned<u32>,
    /// Registrations that may wait for it; one beyond is refused with status 130. Default: 4096.
    pub max_probing: Spanned<u32>,
    /// Home addresses announced a second. Default: 1000.
    pub announcements_per_second: Spanned<u32>,
}

impl Default for HomeLink {
    fn default() -> Self {
        Self {
            dad_transmits: unsaid(1),
            dad_wait_ms: unsaid(1000),
            max_probing: unsaid(4096),
            announcements_per_second: unsaid(1000),
        }
    }
}

/// Mobile Prefix Advertisements (RFC 6275 s.8.4, 10.6).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MobilePrefixes {
    /// Whether they are sent. Default: on.
    pub enabled: bool,
    /// How long a change waits at least before a mobile node is told, in seconds. Default: 600.
    pub min_interval: Spanned<u32>,
    /// And at most. Default: 86400.
    pub max_interval: Spanned<u32>,
    /// Mobile nodes away from home reach a DHCPv6 server: tell them M and O of the box's own Router
    /// Advertisements. Default: off, both are 0.
    pub dhcpv6: bool,
}

impl Default for MobilePrefixes {
    fn default() -> Self {
        let (min_interval, max_interval) = (unsaid(600), unsaid(86_400));
        Self { enabled: true, min_interval, max_interval, dhcpv6: false }
    }
}

/// Dynamic home agent address discovery (RFC 6275 s.10.5).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Discovery {
    /// Whether it is answered: with this home agent and those heard on the home link, which the HAC
    /// may not know. Default: off; the HAC says which home agent a mobile node uses.
    pub enabled: bool,
    /// This home agent's preference: the higher, the earlier it stands in the list. Default: 0.
    pub preference: u16,
}

fn unsaid<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN)
}

/// Checks prefixes and sections.
pub(crate) fn check(document: &Document<Config>, config: &Config) -> Result<(), ConfigError> {
    let home_agent = &config.home_agent;
    check_overlaps(document, home_agent)?;
    for (index, prefix) in home_agent.home_prefixes.iter().enumerate() {
        let key = format!("home_agent.home_prefixes[{index}]");
        let error = |at: Location, key: &str, message: String| document.error(at, key, message);
        check_place(config, prefix, &key, &error)?;
        check_lifetimes(&prefix.value, &key, &error)?;
    }
    check_ranges(document, home_agent)
}

fn check_overlaps(document: &Document<Config>, home_agent: &HomeAgent) -> Result<(), ConfigError> {
    for (index, section) in home_agent.home_prefixes.iter().enumerate() {
        let key = format!("home_agent.home_prefixes[{index}]");
        let (prefix, at) = (section.value.prefix, section.referenced);
        if prefix.trunc() != prefix {
            let right = prefix.trunc();
            let message = format!("{prefix} has host bits set; {right} would be right");
            return Err(document.error(at, key, message));
        }
        if let Some(other) = home_agent.home_prefixes[..index].iter().find(|other| {
            other.value.prefix.contains(&prefix) || prefix.contains(&other.value.prefix)
        }) {
            let line = other.referenced.line();
            let message = format!("{prefix} overlaps {} of line {line}", other.value.prefix);
            return Err(document.error(at, key, message));
        }
    }
    if home_agent.home_prefixes.is_empty() {
        let message = "empty; at least one prefix for home addresses is needed";
        return Err(document.error(Location::UNKNOWN, "home_agent.home_prefixes", message));
    }
    Ok(())
}

/// Where and what is wrong.
type Wrong<'a> = dyn Fn(Location, &str, String) -> ConfigError + 'a;

fn check_place(
    config: &Config,
    section: &Spanned<HomePrefix>,
    key: &str,
    error: &Wrong<'_>,
) -> Result<(), ConfigError> {
    let HomePrefix { prefix, about } = &section.value;
    let on_net = |port: &Port| port.addresses.iter().any(|net| net.value.contains(prefix));
    if about.mode == Mode::Routed {
        if let Some(port) = &about.port {
            let message = "only with mode: link; a routed prefix is on no port";
            return Err(error(port.referenced, &format!("{key}.port"), message.into()));
        }
        if let Some(port) = config.ports.iter().find(|port| on_net(port)) {
            let name = &port.name.value;
            let message = format!(
                "{prefix} lies in the network of port {name}; hosts there look for home addresses \
                 on the link: say mode: link and port: {name}"
            );
            return Err(error(section.referenced, key, message));
        }
        return Ok(());
    }
    let Some(name) = &about.port else {
        let message = "mode: link needs the name of a port under port";
        return Err(error(section.referenced, key, message.into()));
    };
    let key = format!("{key}.port");
    let Some(port) = section.value.port(&config.ports).and_then(|at| config.ports.get(at)) else {
        let names: Vec<_> = config.ports.iter().map(|port| port.name.value.as_str()).collect();
        let message = format!("no port is called {:?}; there are {}", name.value, names.join(", "));
        return Err(error(name.referenced, &key, message));
    };
    if !on_net(port) {
        let message = format!(
            "port {} has no address whose network holds {prefix}; give it one under \
             ports[].addresses",
            name.value
        );
        return Err(error(name.referenced, &key, message));
    }
    if own_ip6(port).is_none() {
        let message = format!(
            "port {} has no IPv6 address to announce home addresses from; give it one under \
             ports[].addresses",
            name.value
        );
        return Err(error(name.referenced, &key, message));
    }
    Ok(())
}

/// The address that announcements on a port come from.
pub(crate) fn own_ip6(port: &Port) -> Option<std::net::Ipv6Addr> {
    port.addresses.iter().find_map(|net| match net.value.addr() {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    })
}

fn check_lifetimes(home: &HomePrefix, key: &str, error: &Wrong<'_>) -> Result<(), ConfigError> {
    let about = &home.about;
    let said = HashMap::from([
        ("valid_lifetime", about.valid_lifetime.as_ref().map(|value| value.referenced)),
        ("preferred_lifetime", about.preferred_lifetime.as_ref().map(|value| value.referenced)),
        ("valid_until", about.valid_until.as_ref().map(|value| value.referenced)),
        ("preferred_until", about.preferred_until.as_ref().map(|value| value.referenced)),
    ]);
    let at = |name: &str| said.get(name).copied().flatten();
    if let (IpNet::V4(_), Some((name, at))) = (
        home.prefix,
        ["valid_lifetime", "preferred_lifetime", "valid_until", "preferred_until"]
            .into_iter()
            .find_map(|name| Some((name, at(name)?))),
    ) {
        let message = "only IPv6 prefixes have lifetimes; leave it out";
        return Err(error(at, &format!("{key}.{name}"), message.into()));
    }
    for (lifetime, until) in
        [("valid_lifetime", "valid_until"), ("preferred_lifetime", "preferred_until")]
    {
        if let (Some(at), Some(_)) = (at(until), at(lifetime)) {
            let message = format!("{lifetime} says it already; one of them");
            return Err(error(at, &format!("{key}.{until}"), message));
        }
    }
    if let Some(lifetime) = about.valid_lifetime.as_ref().filter(|lifetime| lifetime.value < 4) {
        let message =
            format!("{} is too short for any binding; at least 4 seconds", lifetime.value);
        return Err(error(lifetime.referenced, &format!("{key}.valid_lifetime"), message));
    }
    check_order(about, key, error)
}

/// RFC 4861 s.4.6.2: the preferred lifetime "MUST NOT exceed the Valid Lifetime".
fn check_order(about: &About, key: &str, error: &Wrong<'_>) -> Result<(), ConfigError> {
    let message = |what: &str| format!("longer than {what}; at most as long");
    if let (Some(preferred), Some(valid)) = (&about.preferred_lifetime, &about.valid_lifetime)
        && preferred.value > valid.value
    {
        let key = format!("{key}.preferred_lifetime");
        return Err(error(preferred.referenced, &key, message("valid_lifetime")));
    }
    if let (Some(preferred), Some(valid)) = (&about.preferred_until, &about.valid_until)
        && preferred.value > valid.value
    {
        let key = format!("{key}.preferred_until");
        return Err(error(preferred.referenced, &key, message("valid_until")));
    }
    Ok(())
}

fn check_ranges(document: &Document<Config>, home_agent: &HomeAgent) -> Result<(), ConfigError> {
    let (link, told) = (&home_agent.home_link, &home_agent.mobile_prefixes);
    let transmits = &link.dad_transmits;
    if transmits.value > 10 {
        let message = format!("{} is out of range; 0 to 10", transmits.value);
        return Err(document.error(
            transmits.referenced,
            "home_agent.home_link.dad_transmits",
            message,
        ));
    }
    let ranges = [
        (&link.dad_wait_ms, "home_link.dad_wait_ms", 10, 10_000),
        (&link.max_probing, "home_link.max_probing", 1, 65_536),
        (&link.announcements_per_second, "home_link.announcements_per_second", 1, 100_000),
        (&told.min_interval, "mobile_prefixes.min_interval", 1, 86_400),
        (&told.max_interval, "mobile_prefixes.max_interval", told.min_interval.value, 1_000_000),
    ];
    for (value, key, least, most) in ranges {
        if !(least..=most).contains(&value.value) {
            let message = format!("{} is out of range; {least} to {most}", value.value);
            return Err(document.error(value.referenced, format!("home_agent.{key}"), message));
        }
    }
    Ok(())
}
