//! Fits a store to the configuration that it is opened with.

use std::net::Ipv6Addr;

use hearth_wire::directory::SaRecord;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::choice::Loads;
use super::leases::{Family, Reserved, Term};
use super::tables::{Tables, decode_record, find, ip4_of, realm_of};
use super::time::{At, Kept};
use crate::config::{HomeAddress, HomeAgent, PrefixPool, Realm, Subscriber};

/// Told of each SA as the store has it, ended ones and those that are dropped now among them, and of
/// what was kept of it for accounting.
pub(super) type Tell<'a> = dyn FnMut(&SaRecord, Option<&[u8]>) + 'a;

/// What a store says when it is opened.
pub(super) struct Fitted {
    pub(super) kept: Option<Kept>,
    pub(super) loads: Loads,
}

/// Makes every table, and drops what `realm` no longer grants at `now`.
pub(super) fn fit(
    transaction: &WriteTransaction,
    realm: &Realm,
    reserved: &Reserved,
    now: u64,
    tell: &mut Tell<'_>,
) -> Result<Fitted, redb::Error> {
    let mut tables = Tables::open(transaction)?;
    for family in Family::ALL {
        tables.leases_mut(family).fit(|mn_id, number, known| {
            kept(realm, reserved, family, (mn_id, number, known.map(|(_, end)| *end)), now)
        })?;
    }
    let kept = tables.kept()?;
    let at = At { now, service: kept.map_or(now, |kept| kept.service) };
    let (mut stale, mut live) = (Vec::new(), Vec::new());
    for entry in tables.records.iter()? {
        let (spi, encoded) = entry?;
        let record = decode_record(encoded.value());
        if let Some(record) = &record {
            let account = tables.accounts.get(spi.value())?;
            tell(record, account.as_ref().map(redb::AccessGuard::value));
        }
        match record {
            Some(record) if tables.grants(realm, &record)? => live.push(spi.value()),
            _ => stale.push(spi.value()),
        }
    }
    for spi in stale {
        tables.remove(spi, at, &mut Vec::new())?;
    }
    let mut sas = vec![0u32; realm.home_agents.len()];
    for spi in live {
        let Some(record) = tables.record(spi)? else { continue };
        tables.by_realm.insert((&*realm_of(record.mn_id.as_str()), spi), ())?;
        let index = realm.home_agents.iter().position(|agent| agent.name == record.home_agent);
        if let Some(sas) = index.and_then(|index| sas.get_mut(index)) {
            *sas += 1;
        }
        // What a subscriber lost may be another's already.
        tables.refresh(realm, spi)?;
    }
    Ok(Fitted { kept, loads: Loads::of(sas) })
}

/// What `mn_id` holds and `realm` no longer grants it, now that its SAs have ended: its subscriber is gone,
/// or has become another one.
pub(super) fn lost(
    snapshot: &ReadTransaction,
    realm: &Realm,
    reserved: &Reserved,
    (mn_id, now): (&str, u64),
) -> Result<Vec<(Family, u128)>, redb::Error> {
    let mut lost = Vec::new();
    for family in Family::ALL {
        let table = snapshot.open_table(family.names().by_node)?;
        for entry in table.range((mn_id, 0)..=(mn_id, u128::MAX))? {
            let number = entry?.0.value().1;
            // An end makes it no AAA server's: who is asked about stood in the configuration.
            if kept(realm, reserved, family, (mn_id, number, None), now).is_none() {
                lost.push((family, number));
            }
        }
    }
    Ok(lost)
}

/// The home agent of a lease that is kept, and the end that it has at most.
fn kept(
    realm: &Realm,
    reserved: &Reserved,
    family: Family,
    (mn_id, number, end): (&str, u128, Option<u64>),
    now: u64,
) -> Option<(Box<str>, u64)> {
    let subscriber = find(realm, mn_id);
    let subscriber = subscriber.as_deref();
    let is_fixed = subscriber.is_some_and(|subscriber| fixes(subscriber, family, number));
    let is_address = matches!(family, Family::Ip6 | Family::Ip4);
    let is_reserved = is_address && reserved.contains(family, number);
    if is_reserved && !is_fixed {
        return None;
    }
    // An end is what an AAA server's subscriber has: its lease is as good as it was.
    let is_others = subscriber.is_none() && end.is_some_and(|end| end != Term::EVER && end > now);
    let agent = realm.home_agents.iter().find(|agent| {
        let named = subscriber.and_then(|subscriber| subscriber.home_agent);
        let named = named.and_then(|index| realm.home_agents.get(index));
        named.is_none_or(|named| named.name == agent.name) && holds(agent, family, number, is_fixed)
    })?;
    let wants = subscriber.is_some_and(|subscriber| wants(subscriber, family));
    if !(is_fixed || wants || is_others) {
        return None;
    }
    // One from before there was a lease time ends by it, too.
    let most = match agent.pools.lease_time {
        Some(time) => now.saturating_add(LONGEST_SA).saturating_add(time),
        None => Term::EVER,
    };
    Some((agent.name.clone(), most))
}

/// The longest validity of an SA in seconds.
const LONGEST_SA: u64 = 31_536_000;

/// Whether the subscriber's entry says that this is its home address.
pub(super) fn fixes(subscriber: &Subscriber, family: Family, number: u128) -> bool {
    match family {
        Family::Ip6 => subscriber.ip6.fixed().map(Ipv6Addr::to_bits) == Some(number),
        Family::Ip4 => subscriber.ip4.fixed() == ip4_of(number) && subscriber.ip4.fixed().is_some(),
        Family::HomePrefix | Family::Network6 | Family::Network4 => false,
    }
}

/// Whether a subscriber is leased something of this family.
fn wants(subscriber: &Subscriber, family: Family) -> bool {
    match family {
        Family::Ip6 => subscriber.ip6 == HomeAddress::Pool,
        Family::Ip4 => subscriber.ip4 == HomeAddress::Pool,
        Family::HomePrefix => subscriber.ip6 == HomeAddress::Prefix,
        Family::Network6 => subscriber.leased_networks.ip6,
        Family::Network4 => subscriber.leased_networks.ip4,
    }
}

/// Whether a home agent can have a mobile node that holds `number`.
fn holds(agent: &HomeAgent, family: Family, number: u128, is_fixed: bool) -> bool {
    let pools = &agent.pools;
    let has =
        |pool: &Option<PrefixPool>| pool.as_ref().is_some_and(|pool| pool.prefix(number).is_some());
    match family {
        Family::Ip6 => {
            let address = Ipv6Addr::from_bits(number);
            let is_pooled = pools.ip6.as_ref().is_some_and(|pool| pool.contains(&address));
            is_pooled || (is_fixed && agent.prefix_ip6.contains(&address))
        }
        Family::Ip4 => ip4_of(number).is_some_and(|address| {
            let is_pooled = pools.ip4.as_ref().is_some_and(|pool| pool.contains(&address));
            let is_home = agent.prefix_ip4.is_some_and(|prefix| prefix.contains(&address));
            is_pooled || (is_fixed && is_home)
        }),
        Family::HomePrefix => has(&pools.home_prefixes_ip6),
        Family::Network6 => has(&pools.mobile_networks_ip6),
        Family::Network4 => has(&pools.mobile_networks_ip4),
    }
}
