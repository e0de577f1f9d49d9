//! `mobile_router`: the networks behind this node.

use std::path::Path;

use hearth_config::{ConfigError, Document, Spanned};
use ipnet::Ipv6Net;
use serde::Deserialize;

use super::care_of::RawCareOf;
use super::{Config, INTERFACE_NAME, Raw, is_interface_name};
use crate::lan::{self, LanAddress};

/// Prefixes that one Binding Update can name.
const MAX_PREFIXES: usize = 16;

/// What makes a mobile node a mobile router (RFC 3963).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MobileRouter {
    /// Who tells the home agent the prefixes.
    pub mode: PrefixMode,
    /// The mobile network prefixes; never empty.
    pub prefixes: Vec<Ipv6Net>,
    /// Its addresses in them, set while it is up.
    pub lan: Vec<LanAddress>,
}

impl Config {
    /// What keeps this host from being the mobile router that it is to be; nothing where it is to be
    /// none.
    #[must_use]
    pub fn router_advice(&self) -> Vec<String> {
        let Some(router) = &self.mobile_router else { return Vec::new() };
        let several = self.care_of_addresses.iter().map(|care_of| &care_of.interface);
        let visited: Vec<&str> =
            self.interfaces.iter().chain(several).map(String::as_str).collect();
        let lan = router.lan.iter().map(|lan| lan.interface.as_str());
        let own: Vec<&str> = lan.chain([self.tun.as_str()]).collect();
        lan::advice(Path::new("/proc/sys/net/ipv6/conf"), &visited, &own)
    }
}

/// How the home agent learns of the mobile network prefixes (RFC 3963 s.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PrefixMode {
    /// Every Binding Update names them.
    #[default]
    Explicit,
    /// The subscription does.
    Implicit,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "MobileRouter")]
pub(super) struct RawMobileRouter {
    /// Who tells the home agent the prefixes. Default: explicit.
    #[serde(default)]
    mode: PrefixMode,
    /// Mobile network prefixes, as the HAC has them for the subscriber.
    #[schemars(with = "Spanned<Vec<Spanned<hearth_config::Prefix>>>")]
    prefixes: Spanned<Vec<Spanned<Ipv6Net>>>,
    /// Our addresses in them, set while the node is up. Default: none.
    #[serde(default)]
    lan: Option<Spanned<Vec<RawLan>>>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Lan")]
struct RawLan {
    /// The interface.
    interface: Spanned<String>,
    /// The address, with prefix length.
    #[schemars(with = "Spanned<hearth_config::Prefix>")]
    address: Spanned<Ipv6Net>,
}

pub(super) fn mobile_router(file: &Document<Raw>) -> Result<Option<MobileRouter>, ConfigError> {
    let Some(raw) = &file.value.mobile_router else { return Ok(None) };
    let list = &raw.prefixes;
    if !(1..=MAX_PREFIXES).contains(&list.value.len()) {
        let what = format!("{} prefixes; 1 to {MAX_PREFIXES}", list.value.len());
        return Err(file.error(list.referenced, "mobile_router.prefixes", what));
    }
    let mut prefixes: Vec<Ipv6Net> = Vec::new();
    for (index, prefix) in list.value.iter().enumerate() {
        let key = format!("mobile_router.prefixes[{index}]");
        let wrong = |what: String| Err(file.error(prefix.referenced, &*key, what));
        let net = prefix.value;
        if net.trunc() != net {
            return wrong(format!("has bits behind the prefix; {} would be right", net.trunc()));
        }
        let address = net.network();
        if net.prefix_len() == 0 || address.is_multicast() || address.is_unicast_link_local() {
            return wrong("no prefix that can be routed to a mobile network".to_owned());
        }
        if let Some(other) =
            prefixes.iter().find(|other| other.contains(&net) || net.contains(*other))
        {
            return wrong(format!("overlaps {other}; each network once"));
        }
        prefixes.push(net);
    }
    let lan = lan_addresses(file, raw.lan.as_ref(), &prefixes)?;
    Ok(Some(MobileRouter { mode: raw.mode, prefixes, lan }))
}

fn lan_addresses(
    file: &Document<Raw>,
    list: Option<&Spanned<Vec<RawLan>>>,
    prefixes: &[Ipv6Net],
) -> Result<Vec<LanAddress>, ConfigError> {
    let Some(list) = list else { return Ok(Vec::new()) };
    if list.value.len() > MAX_PREFIXES {
        let what = format!("{} addresses; at most {MAX_PREFIXES}", list.value.len());
        return Err(file.error(list.referenced, "mobile_router.lan", what));
    }
    let visited = |name: &str| {
        let several = file.value.care_of_addresses.iter().flat_map(|list| &list.value);
        let one = file.value.interfaces.iter();
        one.chain(several.map(RawCareOf::interface)).any(|visited| visited.value == name)
    };
    let mut all: Vec<LanAddress> = Vec::new();
    for (index, RawLan { interface, address }) in list.value.iter().enumerate() {
        let key = |of: &str| format!("mobile_router.lan[{index}].{of}");
        let wrong_interface = |what| Err(file.error(interface.referenced, key("interface"), what));
        let wrong_address = |what| Err(file.error(address.referenced, key("address"), what));
        if !is_interface_name(&interface.value) {
            return wrong_interface(INTERFACE_NAME);
        }
        if visited(&interface.value) {
            return wrong_interface(
                "is among the visited networks; a mobile network is none of them",
            );
        }
        let net = address.value;
        if !prefixes.iter().any(|prefix| prefix.contains(&net)) {
            return wrong_address("lies in none of the prefixes");
        }
        // RFC 4291 s.2.6.1; RFC 6164 for links of two.
        if net.addr() == net.network() && net.prefix_len() < 127 {
            return wrong_address(
                "is the subnet-router anycast address; an address as 2001:db8::1/64",
            );
        }
        if all.iter().any(|other| other.address.addr() == net.addr()) {
            return wrong_address("stands twice");
        }
        all.push(LanAddress { interface: interface.value.clone(), address: net });
    }
    Ok(all)
}
