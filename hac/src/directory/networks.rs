//! The mobile networks of SAs that an AAA server had a say in, by the SAs that carry them: none is
//! another subscriber's too (RFC 3963 s.9).

use hearth_wire::MobileNodeId;
use ipnet::{IpNet, Ipv6Net};
use redb::{ReadableTable, ReadableTableMetadata, StorageError, Table, TableDefinition};
use redb::{TableError, WriteTransaction};

use super::tables::{Change, Tables};
use super::time::At;
use crate::config::Realm;

/// First address of the network, SPI -> length.
const NETWORKS: TableDefinition<'_, (u128, u32), u8> = TableDefinition::new("granted-networks");

/// Who carries which network.
pub(super) struct Networks<'txn>(Table<'txn, (u128, u32), u8>);

fn ip6(networks: &[IpNet]) -> impl Iterator<Item = Ipv6Net> {
    networks.iter().filter_map(|network| match network {
        IpNet::V6(network) => Some(*network),
        IpNet::V4(_) => None,
    })
}

/// Whether the configuration gives a part of `network` to somebody else.
pub(super) fn is_anothers(realm: &Realm, mn_id: &str, network: IpNet) -> bool {
    let Ok(mn_id) = MobileNodeId::new(mn_id) else { return true };
    crate::subscribers::is_anothers(realm, &mn_id, network)
}

impl<'txn> Networks<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, TableError> {
        Ok(Self(transaction.open_table(NETWORKS)?))
    }

    pub(super) fn is_empty(&self) -> Result<bool, StorageError> {
        self.0.is_empty()
    }

    /// The SA `spi` carries these.
    pub(super) fn carry(&mut self, spi: u32, networks: &[IpNet]) -> Result<(), StorageError> {
        for network in ip6(networks) {
            self.0.insert((network.network().to_bits(), spi), network.prefix_len())?;
        }
        Ok(())
    }

    /// The SA `spi` no longer carries any of these.
    pub(super) fn release(&mut self, spi: u32, networks: &[IpNet]) -> Result<(), StorageError> {
        for network in ip6(networks) {
            self.0.remove((network.network().to_bits(), spi))?;
        }
        Ok(())
    }

    /// The SAs that carry a network that has an address in common with `network`.
    pub(super) fn overlapping(&self, network: Ipv6Net) -> Result<Vec<u32>, StorageError> {
        let mut spis = Vec::new();
        let (first, last) = (network.network().to_bits(), network.broadcast().to_bits());
        for entry in self.0.range((first, 0)..=(last, u32::MAX))? {
            spis.push(entry?.0.value().1);
        }
        // Networks that have an address in common lie one in the other, and one that `network` lies in
        // begins where that length cuts it off.
        let mut begun = first;
        for length in (1..network.prefix_len()).rev() {
            let cut = first & (u128::MAX << (128 - u32::from(length)));
            if cut == begun {
                continue;
            }
            begun = cut;
            for entry in self.0.range((cut, 0)..=(cut, u32::MAX))? {
                let (key, carried) = entry?;
                if carried.value() <= length {
                    spis.push(key.value().1);
                }
            }
        }
        Ok(spis)
    }
}

impl Tables<'_> {
    /// The SAs of others than `mn_id` that carry a part of `network` by the word of an AAA server.
    pub(super) fn others(&self, mn_id: &str, network: Ipv6Net) -> Result<Vec<u32>, StorageError> {
        let mut others = Vec::new();
        for spi in self.networks.overlapping(network)? {
            let record = self.record(spi)?;
            others.extend(record.filter(|record| record.mn_id.as_str() != mn_id).map(|_| spi));
        }
        Ok(others)
    }

    /// Ends them, for all of these networks: the configuration gives them to `mn_id` by now.
    pub(super) fn clear(
        &mut self,
        mn_id: &str,
        networks: &[IpNet],
        at: At,
        changes: &mut Vec<Change>,
    ) -> Result<(), StorageError> {
        if networks.is_empty() || self.networks.is_empty()? {
            return Ok(());
        }
        for network in ip6(networks) {
            for spi in self.others(mn_id, network)? {
                self.remove(spi, at, changes)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_each_other_is_found_and_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let database = redb::Database::create(file.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut networks = Networks::open(&transaction).unwrap();
        let carried =
            ["2001:db8::/48", "2001:db8:1::/56", "2001:db8:1:100::/64", "2001:db8:4::/46"];
        let carried = carried.map(|network| network.parse::<IpNet>().unwrap());
        for (spi, network) in (1..).zip(&carried) {
            networks.carry(spi, &[*network]).unwrap();
        }
        let overlapping = |networks: &Networks<'_>, network: &str| {
            let mut spis = networks.overlapping(network.parse().unwrap()).unwrap();
            spis.sort_unstable();
            spis
        };
        assert_eq!(overlapping(&networks, "2001:db8::/48"), [1]);
        assert_eq!(overlapping(&networks, "2001:db8:0:ffff::/64"), [1]);
        assert_eq!(overlapping(&networks, "2001:db8::/32"), [1, 2, 3, 4]);
        assert_eq!(overlapping(&networks, "2001:db8:1::/48"), [2, 3]);
        assert_eq!(overlapping(&networks, "2001:db8:1:1::/64"), [2]);
        assert_eq!(overlapping(&networks, "2001:db8:1:100::1/128"), [3]);
        assert_eq!(overlapping(&networks, "2001:db8:7:ffff::/64"), [4]);
        assert!(overlapping(&networks, "2001:db8:2::/47").is_empty());
        assert!(overlapping(&networks, "2001:db8:8::/64").is_empty());
        networks.release(2, &carried).unwrap();
        assert!(overlapping(&networks, "2001:db8:1:1::/64").is_empty());
    }
}
