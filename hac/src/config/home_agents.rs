//! Judges the home agents: names, addresses, SPI ranges, prefixes, pools.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use hearth_config::{ConfigError, Document, Spanned};
use hearth_wire::{MIPV6TLS_PORT, Spi};
use ipnet::{Ipv4Net, Ipv6Net};

use super::check::{in_range, start};
use super::raw::{self, Root};
use super::{HomeAgent, pools};

pub(super) fn check(file: &Document<Root>) -> Result<Vec<HomeAgent>, ConfigError> {
    let mut agents: Vec<HomeAgent> = Vec::new();
    for (index, raw) in file.value.home_agents.iter().enumerate() {
        let agent = home_agent(file, raw, &format!("home_agents[{index}]"))?;
        for other in &agents {
            apart(file, raw, &agent, other, &format!("home_agents[{index}]"))?;
        }
        agents.push(agent);
    }
    if agents.is_empty() {
        return Err(file.error(start(), "home_agents", "is empty; name at least one"));
    }
    Ok(agents)
}

fn home_agent(
    file: &Document<Root>,
    raw: &raw::HomeAgent,
    key: &str,
) -> Result<HomeAgent, ConfigError> {
    if raw.name.value.is_empty() || raw.name.value.len() > 255 {
        let message = "a name has 1 to 255 octets";
        return Err(file.error(raw.name.referenced, format!("{key}.name"), message));
    }
    unicast(file, raw.ip6.value.into(), raw.ip6.referenced, &format!("{key}.ip6"))?;
    if let Some(ip4) = &raw.ip4 {
        unicast(file, ip4.value.into(), ip4.referenced, &format!("{key}.ip4"))?;
    }
    let port = match &raw.port {
        Some(port) if port.value == 0 => {
            let message = "0 is no UDP port; 1 to 65535";
            return Err(file.error(port.referenced, format!("{key}.port"), message));
        }
        Some(port) => port.value,
        None => MIPV6TLS_PORT,
    };
    let [first, last] = raw.spi_range.value;
    if Spi::new(first).is_err() || Spi::new(last).is_err() || first > last {
        let message = format!("[{first}, {last}] is no range of SPIs; within [1, 268435455]");
        return Err(file.error(raw.spi_range.referenced, format!("{key}.spi_range"), message));
    }
    let prefix_ip6 = prefix_ip6(file, &raw.home_prefix_ip6, &format!("{key}.home_prefix_ip6"))?;
    let prefix_ip4 = match &raw.home_prefix_ip4 {
        Some(text) => Some(prefix_ip4(file, text, &format!("{key}.home_prefix_ip4"))?),
        None => None,
    };
    let pools = pools::check(file, raw, (prefix_ip6, prefix_ip4), key)?;
    let max_sas = match &raw.max_sas {
        Some(most) => {
            let most = in_range(file, most, &format!("{key}.max_sas"), 1..=Spi::MAX.get().into())?;
            u32::try_from(most).ok()
        }
        None => None,
    };
    Ok(HomeAgent {
        name: raw.name.value.as_str().into(),
        ip6: raw.ip6.value,
        ip4: raw.ip4.as_ref().map(|ip4| ip4.value),
        port,
        spis: first..=last,
        prefix_ip6,
        prefix_ip4,
        certificate_name: raw
            .certificate_name
            .as_ref()
            .unwrap_or(&raw.name.value)
            .to_ascii_lowercase()
            .into(),
        region: raw.region.as_ref().map(|region| region.value.as_str().into()),
        max_sas,
        pools,
    })
}

/// What two home agents must not share.
fn apart(
    file: &Document<Root>,
    raw: &raw::HomeAgent,
    agent: &HomeAgent,
    other: &HomeAgent,
    key: &str,
) -> Result<(), ConfigError> {
    if agent.name == other.name {
        let message = format!("{} stands twice; each home agent has its own name", agent.name);
        return Err(file.error(raw.name.referenced, format!("{key}.name"), message));
    }
    if agent.ip6 == other.ip6 {
        let message = format!("{} is the address of {} too", agent.ip6, other.name);
        return Err(file.error(raw.ip6.referenced, format!("{key}.ip6"), message));
    }
    if let Some(ip4) = raw.ip4.as_ref().filter(|ip4| Some(ip4.value) == other.ip4) {
        let message = format!("{} is the address of {} too", ip4.value, other.name);
        return Err(file.error(ip4.referenced, format!("{key}.ip4"), message));
    }
    // each home agent has a range of its own.
    if agent.spis.start() <= other.spis.end() && other.spis.start() <= agent.spis.end() {
        let (first, last) = (other.spis.start(), other.spis.end());
        let message = format!("overlaps with [{first}, {last}] of {}", other.name);
        return Err(file.error(raw.spi_range.referenced, format!("{key}.spi_range"), message));
    }
    Ok(())
}

pub(super) fn unicast(
    file: &Document<Root>,
    address: IpAddr,
    location: hearth_config::Location,
    key: &str,
) -> Result<(), ConfigError> {
    let usable = match address {
        IpAddr::V6(address) => !address.is_unicast_link_local(),
        IpAddr::V4(address) => !address.is_link_local() && !address.is_broadcast(),
    };
    if usable && !address.is_multicast() && !address.is_unspecified() && !address.is_loopback() {
        return Ok(());
    }
    let message = format!("{address} is no address that a mobile node could reach; a unicast one");
    Err(file.error(location, key, message))
}

/// A host inside `prefix`; its first address is the subnet-router anycast address.
pub(super) fn is_host_ip6(prefix: Ipv6Net, address: Ipv6Addr) -> bool {
    prefix.contains(&address) && address != prefix.network()
}

/// A host inside `prefix`, neither its network nor its broadcast address.
pub(super) fn is_host_ip4(prefix: Ipv4Net, address: Ipv4Addr) -> bool {
    prefix.contains(&address)
        && (prefix.prefix_len() >= 31
            || (address != prefix.network() && address != prefix.broadcast()))
}

fn prefix_ip6(
    file: &Document<Root>,
    text: &Spanned<String>,
    key: &str,
) -> Result<Ipv6Net, ConfigError> {
    let wrong = |message: String| file.error(text.referenced, key, message);
    let (address, length) = split_prefix(&text.value, 1..=127).map_err(wrong)?;
    let prefix = Ipv6Net::new(address, length).map_err(|error| wrong(error.to_string()))?;
    no_host_bits(prefix.trunc() == prefix, &prefix.trunc()).map_err(wrong)?;
    Ok(prefix)
}

fn prefix_ip4(
    file: &Document<Root>,
    text: &Spanned<String>,
    key: &str,
) -> Result<Ipv4Net, ConfigError> {
    let wrong = |message: String| file.error(text.referenced, key, message);
    let (address, length) = split_prefix(&text.value, 1..=31).map_err(wrong)?;
    let prefix = Ipv4Net::new(address, length).map_err(|error| wrong(error.to_string()))?;
    no_host_bits(prefix.trunc() == prefix, &prefix.trunc()).map_err(wrong)?;
    Ok(prefix)
}

fn split_prefix<A: FromStr>(text: &str, lengths: RangeInclusive<u8>) -> Result<(A, u8), String> {
    let (first, last) = (lengths.start(), lengths.end());
    text.split_once('/')
        .and_then(|(address, length)| Some((address.parse().ok()?, length.parse().ok()?)))
        .filter(|(_, length)| lengths.contains(length))
        .ok_or_else(|| format!("{text} is no prefix; ADDRESS/LENGTH, length {first} to {last}"))
}

fn no_host_bits(clean: bool, truncated: &impl Display) -> Result<(), String> {
    if clean { Ok(()) } else { Err(format!("has bits behind its length; {truncated}")) }
}
