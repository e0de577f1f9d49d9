//! Registered mobile network prefixes, and whose they are.
//!
//! Read first: RFC 3963 s.6.1.2; readings.
//!
//! No two of them overlap, so that one look finds what an address belongs to.

use core::net::IpAddr;
use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::binding::Binding;
use crate::slab::Id;

/// Bindings by their prefixes.
#[derive(Debug, Default)]
pub(crate) struct PrefixTable(BTreeMap<IpNet, Id<Binding>>);

impl PrefixTable {
    /// The binding that `address` is in a prefix of.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<Id<Binding>> {
        let (prefix, owner) = self.0.range(..=IpNet::from(address)).next_back()?;
        prefix.contains(&address).then_some(*owner)
    }

    /// The bindings with a prefix that overlaps `prefix`, the last one first; one comes as often as
    /// it has such a prefix.
    pub(crate) fn overlapping(&self, prefix: IpNet) -> impl Iterator<Item = Id<Binding>> + '_ {
        let below = self.0.range(..=IpNet::from(prefix.broadcast())).rev();
        below.take_while(move |(other, _)| overlap(**other, prefix)).map(|(_, owner)| *owner)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn enter(&mut self, owner: Id<Binding>, prefixes: &[IpNet]) {
        self.0.extend(prefixes.iter().map(|prefix| (*prefix, owner)));
    }

    pub(crate) fn leave(&mut self, owner: Id<Binding>, prefixes: &[IpNet]) {
        for prefix in prefixes {
            if self.0.get(prefix) == Some(&owner) {
                self.0.remove(prefix);
            }
        }
    }
}

/// Whether there is an address in both.
pub(crate) fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// Without host bits, growing, and without those that lie in another one.
pub(crate) fn normal(prefixes: impl IntoIterator<Item = IpNet>) -> Vec<IpNet> {
    let mut prefixes: Vec<_> = prefixes.into_iter().map(|prefix| prefix.trunc()).collect();
    prefixes.sort_unstable();
    // The one that another lies in comes before it, and only others in it stand between.
    prefixes.dedup_by(|later, kept| kept.contains(&*later));
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn id(index: usize) -> Id<Binding> {
        Id::from_index(index).unwrap()
    }

    #[test]
    fn normal_prefixes_do_not_overlap() {
        let prefixes = nets(&[
            "2001:db8:a:1::/64",
            "192.0.2.77/28",
            "2001:db8:a::/48",
            "2001:db8:a::/64",
            "2001:db8:b::7/64",
            "2001:db8:a::/48",
            "192.0.2.64/27",
        ]);
        let normal = normal(prefixes);
        assert_eq!(normal, nets(&["192.0.2.64/27", "2001:db8:a::/48", "2001:db8:b::/64"]));
    }

    #[test]
    fn an_address_has_one_owner() {
        let mut table = PrefixTable::default();
        table.enter(id(1), &nets(&["192.0.2.0/28", "2001:db8:a::/48"]));
        table.enter(id(2), &nets(&["2001:db8:b::/64", "2001:db8:c::/64"]));
        for (address, owner) in [
            ("192.0.2.15", Some(1)),
            ("192.0.2.16", None),
            ("2001:db8:a::", Some(1)),
            ("2001:db8:a:ffff:ffff:ffff:ffff:ffff", Some(1)),
            ("2001:db8:b::1", Some(2)),
            ("2001:db8:b:1::", None),
            ("::", None),
            ("ffff::", None),
        ] {
            assert_eq!(table.owner(address.parse().unwrap()), owner.map(id), "{address}");
        }
        let owners = |prefix: &str| table.overlapping(prefix.parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(owners("2001:db8::/32"), [id(2), id(2), id(1)]);
        assert_eq!(owners("2001:db8:a:7::/64"), [id(1)]);
        assert_eq!(owners("2001:db8:d::/48"), []);
        assert_eq!(owners("0.0.0.0/0"), [id(1)]);
        // Another's stays.
        table.leave(id(1), &nets(&["2001:db8:b::/64", "2001:db8:a::/48"]));
        assert_eq!(table.owner("2001:db8:b::1".parse().unwrap()), Some(id(2)));
        assert_eq!(table.owner("2001:db8:a::".parse().unwrap()), None);
    }
}
