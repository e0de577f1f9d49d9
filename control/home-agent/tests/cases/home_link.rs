//! Home links and home prefixes of a case.

use core::net::IpAddr;

use hearth_conformance::case::{self, Step};
use hearth_home_agent::{
    DiscoveryPolicy, HomeLink, HomePrefix, Lifetime, LinkId, LinkPolicy, Timestamp,
};
use ipnet::IpNet;

/// Whether a line is one of these.
pub(crate) fn is_given(step: &Step) -> bool {
    step.kind == case::Kind::Given
        && matches!(step.words().next(), Some("prefix" | "home_link" | "links" | "discovery"))
}

/// `home_link N ADDRESS`; `prefix PREFIX [link N] [valid TIME] [preferred TIME] [router ADDRESS]`,
/// times from the start, infinite where they are not said; `links KEY VALUE`;
/// `discovery ADDRESS,ADDRESS [preference N] [routers no]`. Other lines are left alone.
pub(crate) fn given(links: &mut LinkPolicy, step: &Step) -> Result<(), String> {
    let words: Vec<_> = step.words().collect();
    match words[..] {
        ["home_link", id, address] => {
            let id = LinkId(id.parse().map_err(|_| "not the number of a link")?);
            let ip6 = address.parse().map_err(|_| "not an address")?;
            links.links.push(HomeLink { id, mac: [2, 0, 0, 0, 0, 1], ip6 });
        }
        ["prefix", prefix, ..] => {
            let prefix: IpNet = prefix.parse().map_err(|_| "not a prefix")?;
            let home = home_prefix(prefix, step)?;
            links.prefixes.retain(|old| old.prefix != prefix);
            links.prefixes.push(home);
        }
        ["links", key, value] => change(links, key, value)?,
        ["discovery", addresses, ..] => {
            let addresses = addresses.split(',').map(str::parse).collect::<Result<_, _>>();
            let preference = step.after("preference").unwrap_or("0");
            links.discovery = Some(DiscoveryPolicy {
                preference: preference.parse().map_err(|_| "not a preference")?,
                mobile_routers: step.after("routers") != Some("no"),
                addresses: addresses.map_err(|_| "not addresses")?,
            });
        }
        _ => {}
    }
    Ok(())
}

fn home_prefix(prefix: IpNet, step: &Step) -> Result<HomePrefix, String> {
    let lifetime = |word: &str| match step.after(word) {
        None => Ok(Some(Lifetime::Infinite)),
        Some("advertised") => Ok(None),
        Some(time) => case::duration(time)
            .map(|time| Some(Lifetime::Until(Timestamp::ZERO.after(time))))
            .ok_or_else(|| format!("{word} can't be {time}")),
    };
    let link = step.after("link").map(str::parse).transpose().map_err(|_| "not a link")?;
    let router = step.after("router").map(str::parse::<IpAddr>).transpose();
    let router = match router.map_err(|_| "not an address")? {
        Some(IpAddr::V6(address)) => Some(address),
        _ => None,
    };
    Ok(HomePrefix {
        link: link.map(LinkId),
        valid: lifetime("valid")?,
        preferred: lifetime("preferred")?,
        router,
        ..HomePrefix::routed(prefix)
    })
}

fn change(links: &mut LinkPolicy, key: &str, value: &str) -> Result<(), String> {
    let bad = || format!("{key} can't be {value}");
    let time = || case::duration(value).ok_or_else(bad);
    match key {
        "min_interval" => links.mobile_prefixes.min_interval = time()?,
        "max_interval" => links.mobile_prefixes.max_interval = time()?,
        "mobile_prefixes" => links.mobile_prefixes.enabled = value == "on",
        "dhcpv6" => links.mobile_prefixes.dhcpv6 = value == "on",
        "max_probing" => links.max_probing = value.parse().map_err(|_| bad())?,
        _ => return Err(format!("no policy of links is called {key}")),
    }
    Ok(())
}
