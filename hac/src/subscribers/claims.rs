//! Which addresses and mobile networks are whose: none is another's too (RFC 3963 s.9).

use std::collections::BTreeMap;
use std::net::IpAddr;

use hearth_wire::MobileNodeId;
use ipnet::IpNet;

use crate::config::Subscriber;
use crate::overlap::{Networks, Point, point};

/// Home addresses and mobile networks; no two networks overlap.
#[derive(Debug, Default)]
pub(super) struct Claims {
    addresses: BTreeMap<Point, MobileNodeId>,
    networks: Networks<MobileNodeId>,
}

/// The home addresses that are a subscriber's for good.
pub(super) fn fixed(subscriber: &Subscriber) -> impl Iterator<Item = IpAddr> {
    let (ip6, ip4) = (subscriber.ip6.fixed(), subscriber.ip4.fixed());
    [ip6.map(IpAddr::from), ip4.map(IpAddr::from)].into_iter().flatten()
}

impl Claims {
    pub(super) fn take(&mut self, mn_id: &MobileNodeId, subscriber: &Subscriber) {
        for address in fixed(subscriber) {
            self.addresses.insert(point(address), mn_id.clone());
        }
        for network in &*subscriber.services.prefixes {
            self.networks.insert(*network, mn_id.clone());
        }
    }

    pub(super) fn release(&mut self, mn_id: &MobileNodeId, subscriber: &Subscriber) {
        for address in fixed(subscriber) {
            if self.addresses.get(&point(address)).is_some_and(|holder| holder == mn_id) {
                self.addresses.remove(&point(address));
            }
        }
        for network in &*subscriber.services.prefixes {
            self.networks.remove(*network, |holder| holder == mn_id);
        }
    }

    /// Whether somebody has this home address for good.
    pub(super) fn is_fixed(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&point(address))
    }

    /// What of `subscriber` is somebody else's: the key, and words.
    pub(super) fn conflict(
        &self,
        mn_id: &MobileNodeId,
        subscriber: &Subscriber,
    ) -> Option<(&'static str, String)> {
        for address in fixed(subscriber) {
            let key = if address.is_ipv6() { "home_address_ip6" } else { "home_address_ip4" };
            let holder = self.addresses.get(&point(address)).filter(|holder| *holder != mn_id);
            if let Some(holder) = holder {
                return Some((key, format!("{address} is taken by {holder}")));
            }
            if let Some((network, holder)) = self.network(mn_id, address, address) {
                return Some((key, format!("{address} lies in {network} of {holder}")));
            }
        }
        subscriber.services.prefixes.iter().find_map(|network| {
            let (first, last) = (network.network(), network.broadcast());
            if let Some((other, holder)) = self.network(mn_id, first, last) {
                return Some(("prefixes", format!("{network} overlaps {other} of {holder}")));
            }
            let mut inside = self.addresses.range(point(first)..=point(last));
            let (_, holder) = inside.find(|(_, holder)| *holder != mn_id)?;
            Some(("prefixes", format!("{network} holds the home address of {holder}")))
        })
    }

    /// A network of somebody else that has an address in common with `first` to `last`.
    fn network(
        &self,
        mn_id: &MobileNodeId,
        first: IpAddr,
        last: IpAddr,
    ) -> Option<&(IpNet, MobileNodeId)> {
        self.networks.overlapping(first, last).find(|(_, holder)| holder != mn_id)
    }
}

#[cfg(test)]
mod tests {
    use hearth_wire::Scope;
    use hearth_wire::directory::Services;

    use super::*;
    use crate::config::HomeAddress;
    use crate::policy::{Policy, ScopePolicy};
    use crate::subscribers::testing::subscriber;

    fn mn_id(text: &str) -> MobileNodeId {
        MobileNodeId::new(text).unwrap()
    }

    fn with(ip6: &str, networks: &[&str]) -> Subscriber {
        let prefixes = networks.iter().map(|network| network.parse().unwrap()).collect();
        Subscriber {
            ip6: HomeAddress::Fixed(ip6.parse().unwrap()),
            services: Services { prefixes, ..Services::default() },
            policy: Policy {
                scope: ScopePolicy::Mandated(Scope::SignallingAndData),
                ..subscriber().policy
            },
            ..subscriber()
        }
    }

    #[test]
    fn what_is_somebody_elses_is_refused_and_free_again_after_a_release() {
        let (one, two) = (mn_id("one@example.net"), mn_id("two@example.net"));
        let mut claims = Claims::default();
        let first = with("2001:db8::1", &["2001:db8:1::/48", "192.0.2.0/28"]);
        claims.take(&one, &first);
        for (other, key) in [
            (with("2001:db8::1", &[]), "home_address_ip6"),
            (with("2001:db8:1::7", &[]), "home_address_ip6"),
            (with("2001:db8::2", &["2001:db8:1:2::/64"]), "prefixes"),
            (with("2001:db8::2", &["2001:db8::/32"]), "prefixes"),
            (with("2001:db8::2", &["2001:db8::/64"]), "prefixes"),
            (with("2001:db8::2", &["192.0.2.8/29"]), "prefixes"),
        ] {
            assert_eq!(claims.conflict(&two, &other).map(|(key, _)| key), Some(key));
            // What is its own is no conflict.
            assert_eq!(claims.conflict(&one, &other), None);
        }
        assert_eq!(claims.conflict(&two, &with("2001:db8::2", &["2001:db8:2::/48"])), None);
        claims.release(&one, &first);
        assert_eq!(claims.conflict(&two, &first), None);
        assert!(!claims.is_fixed("2001:db8::1".parse().unwrap()));
    }
}
