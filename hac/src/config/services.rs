//! Judges what subscribers may beyond a home address: mobile networks, several care-of addresses,
//! flow bindings, multicast, lifetimes.

use std::net::{Ipv4Addr, Ipv6Addr};

use hearth_config::{ConfigError, Document, Spanned};
use hearth_wire::directory::Services;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::check::in_range;
use super::pools::{POOL_IP4, POOL_IP6};
use super::raw::{Root, Subscriber};

/// Lifetimes that a Binding Update can ask for, in seconds (RFC 6275 s.6.1.7).
const LIFETIMES: std::ops::RangeInclusive<u64> = 4..=262_140;

/// What no mobile network is part of: addresses that stay on a link or a host, and multicast.
const NOT_ROUTED: [IpNet; 8] = [
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 127)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 3)),
];

/// What holds for subscribers that say nothing else.
pub(super) fn of_deployment(file: &Document<Root>) -> Result<Services, ConfigError> {
    file.value.policy.services().over(file, Services::default(), "policy")
}

/// What a subscriber may, where `base` holds for what is absent. One with mobile network prefixes
/// is a mobile router unless it says no.
pub(super) fn of_subscriber<T>(
    file: &Document<T>,
    raw: &Subscriber,
    base: &Services,
    key: &str,
) -> Result<Services, ConfigError> {
    let prefixes = prefixes(file, raw, key)?;
    let mobile_router = base.mobile_router || !raw.prefixes.is_empty();
    raw.services().over(file, Services { prefixes, mobile_router, ..base.clone() }, key)
}

/// The keys that say what somebody may.
pub(super) struct Keys<'a> {
    pub(super) mobile_router: Option<&'a Spanned<bool>>,
    pub(super) care_of_addresses: Option<&'a Spanned<u64>>,
    pub(super) bulk: Option<&'a Spanned<bool>>,
    pub(super) flow_bindings: Option<&'a Spanned<u64>>,
    pub(super) multicast: Option<&'a Spanned<bool>>,
    pub(super) max_lifetime: Option<&'a Spanned<u64>>,
}

impl Keys<'_> {
    pub(super) fn over<T>(
        &self,
        file: &Document<T>,
        base: Services,
        key: &str,
    ) -> Result<Services, ConfigError> {
        let count = |given: Option<&Spanned<u64>>, name: &str, range, default: u8| match given {
            Some(given) => in_range(file, given, &format!("{key}.{name}"), range)
                .map(|count| u8::try_from(count).unwrap_or(u8::MAX)),
            None => Ok(default),
        };
        let said = |given: Option<&Spanned<bool>>, default| given.map_or(default, |g| g.value);
        let care_of_addresses = count(
            self.care_of_addresses,
            "care_of_addresses",
            1..=Services::MAX_CARE_OF_ADDRESSES.into(),
            base.care_of_addresses,
        )?;
        let most = Services::MAX_FLOWS.into();
        let flows = count(self.flow_bindings, "flow_bindings", 0..=most, base.flows)?;
        let max_lifetime = match self.max_lifetime {
            Some(given) => {
                let seconds = in_range(file, given, &format!("{key}.max_lifetime"), LIFETIMES)?;
                u32::try_from(seconds).ok()
            }
            None => base.max_lifetime,
        };
        let services = Services {
            mobile_router: said(self.mobile_router, base.mobile_router),
            care_of_addresses,
            bulk: said(self.bulk, base.bulk),
            flows,
            multicast: said(self.multicast, base.multicast),
            max_lifetime,
            prefixes: base.prefixes,
        };
        self.several(file, &services, key)?;
        Ok(services)
    }

    /// What only makes sense with several care-of addresses, and is asked for in the same place.
    fn several<T>(
        &self,
        file: &Document<T>,
        services: &Services,
        key: &str,
    ) -> Result<(), ConfigError> {
        let bulk = self.bulk.filter(|bulk| bulk.value).map(|bulk| (bulk.referenced, "bulk"));
        let flows = self.flow_bindings.filter(|flows| flows.value > 0);
        let flows = flows.map(|flows| (flows.referenced, "flow_bindings"));
        match bulk.or(flows).filter(|_| services.care_of_addresses == 1) {
            None => Ok(()),
            Some((location, name)) => {
                let message = "needs several care-of addresses; give care_of_addresses, 2 or more";
                Err(file.error(location, format!("{key}.{name}"), message))
            }
        }
    }
}

fn prefixes<T>(
    file: &Document<T>,
    raw: &Subscriber,
    key: &str,
) -> Result<Box<[IpNet]>, ConfigError> {
    if let Some(first_beyond) = raw.prefixes.get(Services::MAX_PREFIXES) {
        let message = format!(
            "has {} prefixes; at most {}: name a shorter prefix that covers several",
            raw.prefixes.len(),
            Services::MAX_PREFIXES
        );
        return Err(file.error(first_beyond.referenced, format!("{key}.prefixes"), message));
    }
    raw.prefixes
        .iter()
        .enumerate()
        // These are leased ([`super::pools`]).
        .filter(|(_, text)| ![POOL_IP6, POOL_IP4].contains(&text.value.as_str()))
        .map(|(index, text)| {
            prefix(&text.value).map_err(|message| {
                file.error(text.referenced, format!("{key}.prefixes[{index}]"), message)
            })
        })
        .collect()
}

fn prefix(text: &str) -> Result<IpNet, String> {
    let prefix: Option<IpNet> = text.parse().ok();
    let prefix = prefix.filter(|prefix| prefix.prefix_len() > 0).ok_or_else(|| {
        format!("{text} is no prefix; ADDRESS/LENGTH, length 1 to 128, for IPv4 1 to 32")
    })?;
    if prefix.trunc() != prefix {
        return Err(format!("has bits behind its length; {}", prefix.trunc()));
    }
    match NOT_ROUTED.iter().find(|other| other.contains(&prefix) || prefix.contains(*other)) {
        None => Ok(prefix),
        Some(other) => Err(format!("{prefix} overlaps {other}, which no router forwards")),
    }
}
