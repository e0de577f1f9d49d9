//! The tables of the store.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hearth_wire::directory::{SaRecord, Update, decode_update, deframe};
use hearth_wire::{MobileNodeId, Spi};
use redb::{StorageError, Table, TableDefinition, WriteTransaction};
use zeroize::Zeroizing;

use super::leases::{Family, Leases};
use super::spis::Spis;
use crate::config::{HomeAddress, HomeAgent, Realm, Subscriber};

/// SPI -> record.
pub(super) const RECORDS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("records");
/// Home agent, SPI.
pub(super) const BY_HOME_AGENT: TableDefinition<'_, (&str, u32), ()> =
    TableDefinition::new("by-home-agent");
/// mn-id, generation -> SPI.
pub(super) const BY_NODE: TableDefinition<'_, (&str, u64), u32> = TableDefinition::new("by-node");
/// End of validity, SPI.
pub(super) const BY_END: TableDefinition<'_, (u64, u32), ()> = TableDefinition::new("by-end");
/// Name -> number; the last generation.
pub(super) const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
pub(super) const GENERATION: &str = "generation";

/// What a transaction changed, for the watchers of a home agent.
#[derive(Debug)]
pub(super) enum Change {
    /// A record, in the form of the directory protocol.
    Issued { home_agent: Box<str>, encoded: Arc<Zeroizing<Vec<u8>>> },
    /// An SA is gone.
    Revoked { home_agent: Box<str>, spi: Spi },
}

pub(super) fn decode_record(encoded: &[u8]) -> Option<Box<SaRecord>> {
    let (body, _) = deframe(encoded).ok()??;
    match decode_update(body) {
        Ok(Update::Issued(record)) => Some(record),
        _ => None,
    }
}

pub(super) fn find<'r>(realm: &'r Realm, mn_id: &str) -> Option<(Arc<Subscriber>, &'r HomeAgent)> {
    let subscriber = realm.subscribers.find(&MobileNodeId::new(mn_id).ok()?)?;
    let home_agent = realm.home_agent(&subscriber)?;
    Some((subscriber, home_agent))
}

/// Every table, in one write transaction.
pub(super) struct Tables<'txn> {
    pub(super) records: Table<'txn, u32, &'static [u8]>,
    pub(super) by_home_agent: Table<'txn, (&'static str, u32), ()>,
    pub(super) by_node: Table<'txn, (&'static str, u64), u32>,
    pub(super) by_end: Table<'txn, (u64, u32), ()>,
    pub(super) counters: Table<'txn, &'static str, u64>,
    pub(super) spis: Spis<'txn>,
    pub(super) ip6: Leases<'txn>,
    pub(super) ip4: Leases<'txn>,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            by_home_agent: transaction.open_table(BY_HOME_AGENT)?,
            by_node: transaction.open_table(BY_NODE)?,
            by_end: transaction.open_table(BY_END)?,
            counters: transaction.open_table(COUNTERS)?,
            spis: Spis::open(transaction)?,
            ip6: Leases::open(transaction, Family::Ip6)?,
            ip4: Leases::open(transaction, Family::Ip4)?,
        })
    }

    /// Whether the configuration still grants this SA as it stands.
    pub(super) fn grants(&self, realm: &Realm, record: &SaRecord) -> Result<bool, StorageError> {
        let Some((subscriber, agent)) = find(realm, record.mn_id.as_str()) else {
            return Ok(false);
        };
        let mn_id = record.mn_id.as_str();
        let ip6 = match subscriber.ip6 {
            HomeAddress::None => None,
            HomeAddress::Fixed(address) => Some(address),
            HomeAddress::Pool => self.ip6.held(mn_id)?.map(Ipv6Addr::from_bits),
        };
        let ip4 = match subscriber.ip4 {
            HomeAddress::None => None,
            HomeAddress::Fixed(address) => Some(address),
            HomeAddress::Pool => self.ip4.held(mn_id)?.and_then(ip4_of),
        };
        Ok(record.home_agent == agent.name
            && record.ha_address == agent.ip6
            && Some(record.home_address) == ip6
            && record.ipv4_home_address == ip4)
    }

    /// Takes an SA out of every table and lays its SPI to rest.
    pub(super) fn remove(
        &mut self,
        spi: u32,
        now: u64,
        changes: &mut Vec<Change>,
    ) -> Result<(), StorageError> {
        let record = match self.records.remove(spi)? {
            Some(encoded) => decode_record(encoded.value()),
            None => return Ok(()),
        };
        let Some(record) = record else { return Ok(()) };
        self.by_home_agent.remove((&*record.home_agent, spi))?;
        self.by_node.remove((record.mn_id.as_str(), record.generation))?;
        self.by_end.remove((record.validity_end, spi))?;
        self.spis.rest(&record.home_agent, spi, record.validity_end, now)?;
        let home_agent = record.home_agent.clone();
        changes.push(Change::Revoked { home_agent, spi: record.spi });
        Ok(())
    }
}

pub(super) fn ip4_of(number: u128) -> Option<Ipv4Addr> {
    u32::try_from(number).ok().map(Ipv4Addr::from_bits)
}
