//! The tables of the store.

use std::net::Ipv4Addr;
use std::sync::Arc;

use hearth_wire::directory::{SaRecord, Services, Update, decode_update, deframe, encode_update};
use hearth_wire::{MobileNodeId, Spi};
use ipnet::IpNet;
use redb::{ReadableTable, StorageError, Table, TableDefinition, WriteTransaction};
use zeroize::Zeroizing;

use super::leases::{Family, Leases};
use super::networks::{Networks, is_anothers};
use super::spis::Spis;
use super::time::{At, Kept};
use crate::config::{HomeAddress, Realm, Subscriber, number};

/// SPI -> record.
pub(super) const RECORDS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("records");
/// Home agent, SPI.
pub(super) const BY_HOME_AGENT: TableDefinition<'_, (&str, u32), ()> =
    TableDefinition::new("by-home-agent");
/// mn-id, generation -> SPI.
pub(super) const BY_NODE: TableDefinition<'_, (&str, u64), u32> = TableDefinition::new("by-node");
/// Realm of the mn-id, SPI.
pub(super) const BY_REALM: TableDefinition<'_, (&str, u32), ()> = TableDefinition::new("by-realm");
/// SPIs of SAs that something else than the subscriber's entry granted.
const GRANTED: TableDefinition<'_, u32, ()> = TableDefinition::new("granted");
/// SPI -> what accounting has to know of its SA.
pub(super) const ACCOUNTS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("accounts");
/// End of validity, SPI.
pub(super) const BY_END: TableDefinition<'_, (u64, u32), ()> = TableDefinition::new("by-end");
/// Name -> number; the last generation.
pub(super) const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
pub(super) const GENERATION: &str = "generation";
const SEEN: &str = "seen";
const SERVICE: &str = "service";

/// What a transaction changed, for the watchers of a home agent.
#[derive(Debug)]
pub(super) enum Change {
    /// A record, in the form of the directory protocol; whether there was none of its SPI before.
    Issued {
        home_agent: Box<str>,
        encoded: Arc<Zeroizing<Vec<u8>>>,
        /// What is kept of a new one for accounting.
        account: Option<Arc<[u8]>>,
        is_new: bool,
    },
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

/// The entry of a subscriber.
pub(super) fn find(realm: &Realm, mn_id: &str) -> Option<Arc<Subscriber>> {
    realm.subscribers.find(&MobileNodeId::new(mn_id).ok()?)
}

/// The realm of an mn-id; empty where it has none.
pub(super) fn realm_of(mn_id: &str) -> Box<str> {
    let realm = mn_id.rsplit_once('@').map_or("", |(_, realm)| realm);
    realm.to_ascii_lowercase().into()
}

/// Every table, in one write transaction.
pub(super) struct Tables<'txn> {
    pub(super) records: Table<'txn, u32, &'static [u8]>,
    pub(super) by_home_agent: Table<'txn, (&'static str, u32), ()>,
    pub(super) by_node: Table<'txn, (&'static str, u64), u32>,
    pub(super) by_realm: Table<'txn, (&'static str, u32), ()>,
    pub(super) granted: Table<'txn, u32, ()>,
    pub(super) accounts: Table<'txn, u32, &'static [u8]>,
    /// The networks of those that are in `granted`.
    pub(super) networks: Networks<'txn>,
    pub(super) by_end: Table<'txn, (u64, u32), ()>,
    pub(super) counters: Table<'txn, &'static str, u64>,
    pub(super) spis: Spis<'txn>,
    /// In the order of [`Family::ALL`].
    leases: [Leases<'txn>; Family::ALL.len()],
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            by_home_agent: transaction.open_table(BY_HOME_AGENT)?,
            by_node: transaction.open_table(BY_NODE)?,
            by_realm: transaction.open_table(BY_REALM)?,
            granted: transaction.open_table(GRANTED)?,
            accounts: transaction.open_table(ACCOUNTS)?,
            networks: Networks::open(transaction)?,
            by_end: transaction.open_table(BY_END)?,
            counters: transaction.open_table(COUNTERS)?,
            spis: Spis::open(transaction)?,
            leases: [
                Leases::open(transaction, Family::Ip6)?,
                Leases::open(transaction, Family::Ip4)?,
                Leases::open(transaction, Family::HomePrefix)?,
                Leases::open(transaction, Family::Network6)?,
                Leases::open(transaction, Family::Network4)?,
            ],
        })
    }

    pub(super) fn leases(&self, family: Family) -> &Leases<'txn> {
        let [ip6, ip4, home_prefix, network6, network4] = &self.leases;
        match family {
            Family::Ip6 => ip6,
            Family::Ip4 => ip4,
            Family::HomePrefix => home_prefix,
            Family::Network6 => network6,
            Family::Network4 => network4,
        }
    }

    pub(super) fn leases_mut(&mut self, family: Family) -> &mut Leases<'txn> {
        let [ip6, ip4, home_prefix, network6, network4] = &mut self.leases;
        match family {
            Family::Ip6 => ip6,
            Family::Ip4 => ip4,
            Family::HomePrefix => home_prefix,
            Family::Network6 => network6,
            Family::Network4 => network4,
        }
    }

    /// The time of the last transaction.
    pub(super) fn kept(&self) -> Result<Option<Kept>, StorageError> {
        let (seen, service) = (self.counters.get(SEEN)?, self.counters.get(SERVICE)?);
        let both = seen.zip(service);
        Ok(both.map(|(seen, service)| Kept { seen: seen.value(), service: service.value() }))
    }

    pub(super) fn keep(&mut self, kept: Kept) -> Result<(), StorageError> {
        self.counters.insert(SEEN, kept.seen)?;
        self.counters.insert(SERVICE, kept.service)?;
        Ok(())
    }

    pub(super) fn record(&self, spi: u32) -> Result<Option<Box<SaRecord>>, StorageError> {
        Ok(self.records.get(spi)?.and_then(|encoded| decode_record(encoded.value())))
    }

    /// The SPIs of a mobile node, the oldest first.
    pub(super) fn spis_of_node(&self, mn_id: &str) -> Result<Vec<u32>, StorageError> {
        self.by_node
            .range((mn_id, 0)..=(mn_id, u64::MAX))?
            .map(|entry| entry.map(|(_, spi)| spi.value()))
            .collect()
    }

    /// The SPIs of a mobile node whose SAs have this home address.
    pub(super) fn spis_with_address(
        &self,
        mn_id: &str,
        address: u128,
    ) -> Result<Vec<u32>, StorageError> {
        let mut spis = self.spis_of_node(mn_id)?;
        let mut with = Vec::new();
        for spi in spis.drain(..) {
            let has = self.record(spi)?.is_some_and(|record| {
                let ip4 = record.ipv4_home_address.map(|address| number(address.into()));
                number(record.home_address.into()) == address || ip4 == Some(address)
            });
            with.extend(has.then_some(spi));
        }
        Ok(with)
    }

    /// Whether the configuration still grants this SA as it stands.
    pub(super) fn grants(&self, realm: &Realm, record: &SaRecord) -> Result<bool, StorageError> {
        let Some(agent) = realm.home_agent(&record.home_agent) else { return Ok(false) };
        if record.ha_address != agent.ip6 {
            return Ok(false);
        }
        let mn_id = record.mn_id.as_str();
        let (ip6, ip4) = (record.home_address, record.ipv4_home_address);
        let number6 = number(ip6.into());
        let prefix = u128::from(agent.home_prefix_of(ip6).0);
        let is_leased = self.leases(Family::Ip6).is_held(mn_id, number6)?;
        let has_prefix = self.leases(Family::HomePrefix).is_held(mn_id, prefix)?;
        let is_leased_ip4 = match ip4 {
            Some(ip4) => self.leases(Family::Ip4).is_held(mn_id, number(ip4.into()))?,
            None => false,
        };
        if self.granted.get(record.spi.get())?.is_some() {
            let mut networks = record.services.prefixes.iter();
            let is_its = networks.all(|network| !is_anothers(realm, mn_id, *network));
            return Ok(is_its && (is_leased || has_prefix) && (is_leased_ip4 || ip4.is_none()));
        }
        let Some(subscriber) = find(realm, mn_id) else { return Ok(false) };
        let named = subscriber.home_agent.and_then(|index| realm.home_agents.get(index));
        let is_its = named.is_none_or(|named| named.name == agent.name);
        let ip6 = match subscriber.ip6 {
            HomeAddress::None => false,
            HomeAddress::Fixed(address) => ip6 == address,
            HomeAddress::Pool => is_leased,
            HomeAddress::Prefix => has_prefix,
        };
        let ip4 = match subscriber.ip4 {
            HomeAddress::None => ip4.is_none(),
            HomeAddress::Fixed(address) => ip4 == Some(address),
            HomeAddress::Pool => is_leased_ip4,
            HomeAddress::Prefix => false,
        };
        Ok(is_its && ip6 && ip4)
    }

    /// What the subscriber of a record may by now: what it lost may be another's already.
    pub(super) fn services(
        &self,
        realm: &Realm,
        record: &SaRecord,
    ) -> Result<Option<Services>, StorageError> {
        let mn_id = record.mn_id.as_str();
        let agent = realm.home_agent(&record.home_agent);
        let (Some(subscriber), Some(agent)) = (find(realm, mn_id), agent) else { return Ok(None) };
        let leased = subscriber.leased_networks;
        let pools = [
            (leased.ip6, Family::Network6, &agent.pools.mobile_networks_ip6),
            (leased.ip4, Family::Network4, &agent.pools.mobile_networks_ip4),
        ];
        let mut services = subscriber.services.clone();
        let mut prefixes: Vec<IpNet> = services.prefixes.into_vec();
        for (_, family, pool) in pools.into_iter().filter(|(is_wanted, ..)| *is_wanted) {
            let Some(pool) = pool else { continue };
            let held = self.leases(family).held(mn_id)?;
            prefixes.extend(held.into_iter().find_map(|(number, _)| pool.prefix(number)));
        }
        services.prefixes = prefixes.into();
        Ok(Some(services))
    }

    /// Has an SA say what its subscriber may by now, unless something else granted it: the change, where
    /// there is one.
    pub(super) fn refresh(
        &mut self,
        realm: &Realm,
        spi: u32,
    ) -> Result<Option<Change>, StorageError> {
        let Some(mut record) = self.record(spi)? else { return Ok(None) };
        if self.granted.get(spi)?.is_some() {
            return Ok(None);
        }
        let services = self.services(realm, &record)?;
        let Some(services) = services.filter(|services| *services != record.services) else {
            return Ok(None);
        };
        record.services = services;
        let home_agent = record.home_agent.clone();
        let Some(encoded) = encode_update(&Update::Issued(record)) else { return Ok(None) };
        self.records.insert(spi, &**encoded)?;
        let encoded = Arc::new(encoded);
        Ok(Some(Change::Issued { home_agent, encoded, account: None, is_new: false }))
    }

    /// Takes an SA out of every table and lays its SPI to rest.
    pub(super) fn remove(
        &mut self,
        spi: u32,
        at: At,
        changes: &mut Vec<Change>,
    ) -> Result<(), StorageError> {
        let record = match self.records.remove(spi)? {
            Some(encoded) => decode_record(encoded.value()),
            None => return Ok(()),
        };
        let Some(record) = record else { return Ok(()) };
        self.by_home_agent.remove((&*record.home_agent, spi))?;
        self.by_node.remove((record.mn_id.as_str(), record.generation))?;
        self.by_realm.remove((&*realm_of(record.mn_id.as_str()), spi))?;
        if self.granted.remove(spi)?.is_some() {
            self.networks.release(spi, &record.services.prefixes)?;
        }
        self.accounts.remove(spi)?;
        self.by_end.remove((record.validity_end, spi))?;
        let left = record.validity_end.saturating_sub(at.now);
        self.spis.rest(&record.home_agent, spi, at.service.saturating_add(left))?;
        let home_agent = record.home_agent.clone();
        changes.push(Change::Revoked { home_agent, spi: record.spi });
        Ok(())
    }
}

pub(super) fn ip4_of(number: u128) -> Option<Ipv4Addr> {
    u32::try_from(number).ok().map(Ipv4Addr::from_bits)
}
