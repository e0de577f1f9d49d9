//! `route_optimisation`: correspondents that are asked to send directly.

use hearth_config::{ConfigError, Document, Spanned};
use ipnet::Ipv6Net;
use serde::Deserialize;

use super::Raw;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RouteOptimisation")]
pub(super) struct RawRouteOptimisation {
    /// The hosts, by IPv6 prefix; `::/0` for all.
    #[schemars(with = "Spanned<Vec<Spanned<hearth_config::Prefix>>>")]
    correspondents: Spanned<Vec<Spanned<Ipv6Net>>>,
}

/// The prefixes of correspondents; none where there is no route optimisation.
pub(super) fn correspondents(file: &Document<Raw>) -> Result<Vec<Ipv6Net>, ConfigError> {
    let raw = &file.value;
    let Some(wanted) = &raw.route_optimisation else { return Ok(Vec::new()) };
    let list = &wanted.value.correspondents;
    let wrong = |what| Err(file.error(wanted.referenced, "route_optimisation", what));
    if raw.fail_closed {
        return wrong("takes packets out of the tunnel, which `fail_closed` forbids");
    }
    if raw.care_of_addresses.is_some() {
        return wrong("is for one care-of address; it can't stand beside `care_of_addresses`");
    }
    if list.value.is_empty() {
        let what = "names nobody; prefixes of correspondents, `::/0` for all";
        return Err(file.error(list.referenced, "route_optimisation.correspondents", what));
    }
    let mut prefixes = Vec::new();
    for (index, prefix) in list.value.iter().enumerate() {
        let net = prefix.value;
        if net.trunc() != net {
            let key = format!("route_optimisation.correspondents[{index}]");
            let what = format!("has bits behind the prefix; {} would be right", net.trunc());
            return Err(file.error(prefix.referenced, key, what));
        }
        prefixes.push(net);
    }
    Ok(prefixes)
}
