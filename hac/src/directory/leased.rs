//! What is leased, for operators to look at: read from a snapshot, beside whoever issues.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_wire::MobileNodeId;
use ipnet::IpNet;
use redb::{ReadTransaction, StorageError};

use super::leases::{Family, Term};
use super::store::Handle;
use super::tables::{BY_NODE, RECORDS, decode_record};
use crate::config::{Realm, number};

/// A lease, or a fixed address that has been handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is.
    pub family: Family,
    /// The prefix; of an address, with its full length.
    pub prefix: IpNet,
    /// Who holds it.
    pub mn_id: Box<str>,
    /// Of which home agent it is.
    pub home_agent: Box<str>,
    /// Unix seconds; `None`: as long as there is the subscriber.
    pub ends: Option<u64>,
    /// SAs that its holder has.
    pub sas: usize,
}

/// Which leases are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this mobile node alone.
    pub mn_id: Option<MobileNodeId>,
    /// Those that have an address in common with this prefix.
    pub within: Option<IpNet>,
    /// Those behind this one, by family and first address.
    pub after: Option<(Family, IpAddr)>,
    /// At most so many.
    pub count: usize,
}

/// How many of each family are taken out of the pools of `realm`.
pub(super) fn counts(database: &Handle, realm: &Realm) -> Result<[(Family, u64); 5], redb::Error> {
    let snapshot = database.read()?;
    let mut counts = Family::ALL.map(|family| (family, 0));
    for (family, count) in &mut counts {
        let table = snapshot.open_table(family.names().by_address)?;
        for (range, _) in realm.home_agents.iter().filter_map(|agent| family.span(&agent.pools)) {
            *count += table.range(range)?.count() as u64;
        }
    }
    Ok(counts)
}

/// Who holds a home address, and how many SAs with it it has; `None`: nobody has one.
pub(super) fn user(
    database: &Handle,
    address: IpAddr,
) -> Result<Option<(Box<str>, usize)>, redb::Error> {
    let snapshot = database.read()?;
    let family = if address.is_ipv6() { Family::Ip6 } else { Family::Ip4 };
    let holder = snapshot.open_table(family.names().by_address)?.get(number(address))?;
    let Some(holder) = holder.map(|holder| Box::<str>::from(holder.value())) else {
        return Ok(None);
    };
    let records = snapshot.open_table(RECORDS)?;
    let mut sas = 0;
    for entry in snapshot.open_table(BY_NODE)?.range((&*holder, 0)..=(&*holder, u64::MAX))? {
        let record = records.get(entry?.1.value())?;
        let record = record.and_then(|encoded| decode_record(encoded.value()));
        let has = record.is_some_and(|record| {
            let ip4 = record.ipv4_home_address.map(IpAddr::from);
            IpAddr::from(record.home_address) == address || ip4 == Some(address)
        });
        sas += usize::from(has);
    }
    Ok((sas > 0).then_some((holder, sas)))
}

/// Those that are wanted, by family and address.
pub(super) fn page(
    database: &Handle,
    realm: &Realm,
    wanted: &Wanted,
) -> Result<Vec<Lease>, redb::Error> {
    let snapshot = database.read()?;
    let mut page = Vec::new();
    for family in Family::ALL {
        let Some((first, last)) = range(family, realm, wanted) else { continue };
        let left = wanted.count.saturating_sub(page.len());
        if left == 0 {
            break;
        }
        for (number, mn_id) in holders(&snapshot, family, wanted, (first, last), left)? {
            page.extend(lease(&snapshot, realm, family, number, mn_id)?);
        }
    }
    Ok(page)
}

/// The numbers of one family among which there can be what is wanted.
fn range(family: Family, realm: &Realm, wanted: &Wanted) -> Option<(u128, u128)> {
    let from = match wanted.after {
        None => 0,
        Some((of, address)) if of == family => number(address).checked_add(1)?,
        Some((of, _)) if place(of) > place(family) => return None,
        Some(_) => 0,
    };
    let Some(within) = wanted.within else { return Some((from, u128::MAX)) };
    if matches!(within, IpNet::V6(_)) != family.is_ip6() {
        return None;
    }
    let first = within.network();
    // One that begins before the prefix may reach into it.
    let before = realm.home_agents.iter().filter_map(|agent| {
        let prefix = family.pool(&agent.pools)?.prefix_of(first)?;
        Some(number(prefix.network()))
    });
    let first = before.min().unwrap_or_else(|| number(first));
    Some((from.max(first), number(within.broadcast())))
}

fn place(family: Family) -> usize {
    Family::ALL.iter().position(|known| *known == family).unwrap_or(Family::ALL.len())
}

/// Numbers and their holders.
fn holders(
    snapshot: &ReadTransaction,
    family: Family,
    wanted: &Wanted,
    (first, last): (u128, u128),
    count: usize,
) -> Result<Vec<(u128, Box<str>)>, redb::Error> {
    if first > last {
        return Ok(Vec::new());
    }
    if let Some(mn_id) = &wanted.mn_id {
        let mn_id = mn_id.as_str();
        let table = snapshot.open_table(family.names().by_node)?;
        let entries = table.range((mn_id, first)..=(mn_id, last))?.take(count);
        let found: Result<_, StorageError> =
            entries.map(|entry| entry.map(|(key, _)| (key.value().1, mn_id.into()))).collect();
        return Ok(found?);
    }
    let table = snapshot.open_table(family.names().by_address)?;
    let entries = table.range(first..=last)?.take(count);
    let found: Result<_, StorageError> = entries
        .map(|entry| entry.map(|(key, mn_id)| (key.value(), mn_id.value().into())))
        .collect();
    Ok(found?)
}

fn lease(
    snapshot: &ReadTransaction,
    realm: &Realm,
    family: Family,
    number: u128,
    mn_id: Box<str>,
) -> Result<Option<Lease>, redb::Error> {
    let table = snapshot.open_table(family.names().by_node)?;
    let Some(entry) = table.get((&*mn_id, number))? else { return Ok(None) };
    let (home_agent, end) = entry.value();
    let pool = realm.home_agent(home_agent).and_then(|agent| family.pool(&agent.pools));
    let prefix = match pool.and_then(|pool| pool.prefix(number)) {
        Some(prefix) => prefix,
        None => match u32::try_from(number) {
            Ok(number) if !family.is_ip6() => Ipv4Addr::from_bits(number).into(),
            _ => IpAddr::from(Ipv6Addr::from_bits(number)),
        }
        .into(),
    };
    let sas = snapshot.open_table(BY_NODE)?.range((&*mn_id, 0)..=(&*mn_id, u64::MAX))?.count();
    let ends = (end != Term::EVER).then_some(end);
    Ok(Some(Lease { family, prefix, home_agent: home_agent.into(), mn_id, ends, sas }))
}
