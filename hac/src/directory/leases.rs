//! Home addresses leased from pools: one for each mobile node, kept as long as it subscribes.
//!
//! Read first: RFC 6618 s.5.7.3.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use redb::{ReadableTable, StorageError, Table, TableDefinition, WriteTransaction};

/// Which family of home addresses; addresses are kept as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    Ip6,
    Ip4,
}

impl Family {
    const fn by_node(self) -> TableDefinition<'static, &'static str, u128> {
        match self {
            Self::Ip6 => TableDefinition::new("lease-ip6"),
            Self::Ip4 => TableDefinition::new("lease-ip4"),
        }
    }

    const fn by_address(self) -> TableDefinition<'static, u128, &'static str> {
        match self {
            Self::Ip6 => TableDefinition::new("lease-ip6-holder"),
            Self::Ip4 => TableDefinition::new("lease-ip4-holder"),
        }
    }
}

/// Where the search for a free address goes on, by home agent and family. Leases are given back
/// only when the store is opened, so what lies behind stays taken; a transaction that fails
/// forgets the places.
pub(super) type Cursors = HashMap<(Box<str>, Family), u128>;

/// The lease tables of one family in one write transaction.
pub(super) struct Leases<'txn> {
    family: Family,
    by_node: Table<'txn, &'static str, u128>,
    by_address: Table<'txn, u128, &'static str>,
}

impl<'txn> Leases<'txn> {
    pub(super) fn open(
        transaction: &'txn WriteTransaction,
        family: Family,
    ) -> Result<Self, redb::TableError> {
        Ok(Self {
            family,
            by_node: transaction.open_table(family.by_node())?,
            by_address: transaction.open_table(family.by_address())?,
        })
    }

    /// The address that `mn_id` holds.
    pub(super) fn held(&self, mn_id: &str) -> Result<Option<u128>, StorageError> {
        Ok(self.by_node.get(mn_id)?.map(|address| address.value()))
    }

    /// The address that `mn_id` holds, or the first free one of `pool`, now its own. `None`: the
    /// pool is leased out.
    pub(super) fn lease(
        &mut self,
        mn_id: &str,
        home_agent: &str,
        pool: RangeInclusive<u128>,
        reserved: &HashSet<u128>,
        cursors: &mut Cursors,
    ) -> Result<Option<u128>, StorageError> {
        if let Some(address) = self.held(mn_id)? {
            return Ok(Some(address));
        }
        let cursor = cursors.entry((home_agent.into(), self.family)).or_insert(*pool.start());
        while *cursor <= *pool.end() {
            let address = *cursor;
            *cursor = cursor.saturating_add(1);
            if !reserved.contains(&address) && self.by_address.get(address)?.is_none() {
                self.by_address.insert(address, mn_id)?;
                self.by_node.insert(mn_id, address)?;
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    /// Gives back every lease that `keep` (mn-id, address) does not want.
    pub(super) fn retain(&mut self, keep: impl Fn(&str, u128) -> bool) -> Result<(), StorageError> {
        let mut gone = Vec::new();
        for entry in self.by_node.iter()? {
            let (mn_id, address) = entry?;
            if !keep(mn_id.value(), address.value()) {
                gone.push((mn_id.value().to_owned(), address.value()));
            }
        }
        for (mn_id, address) in gone {
            self.by_node.remove(mn_id.as_str())?;
            self.by_address.remove(address)?;
        }
        Ok(())
    }
}
