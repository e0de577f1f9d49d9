//! `mobile_router`: the networks behind this node.

use hearth_config::{ConfigError, Document, Spanned};
use ipnet::Ipv6Net;
use serde::Deserialize;

use super::Raw;

/// Prefixes that one Binding Update can name.
const MAX_PREFIXES: usize = 16;

/// What makes a mobile node a mobile router (RFC 3963).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MobileRouter {
    /// Who tells the home agent the prefixes.
    pub mode: PrefixMode,
    /// The mobile network prefixes; never empty.
    pub prefixes: Vec<Ipv6Net>,
}

/// How the home agent learns of the mobile network prefixes (RFC 3963 s.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrefixMode {
    /// Every Binding Update names them.
    #[default]
    Explicit,
    /// The subscription does.
    Implicit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMobileRouter {
    #[serde(default)]
    mode: PrefixMode,
    prefixes: Spanned<Vec<Spanned<Ipv6Net>>>,
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
    Ok(Some(MobileRouter { mode: raw.mode, prefixes }))
}
