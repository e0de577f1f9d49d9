//! Several HACs of one deployment: which part of SPIs and pools is each one's.
//!
//! Read first: reading R-51.
//!
//! All of them have the same YAML but for `replica.index`. Parts follow from it alone: replicas never
//! ask each other, and none deals out what another one could.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use hearth_config::{ConfigError, Document};

use super::check::start;
use super::raw::Root;
use super::{HomeAgent, PrefixPool, Realm};

/// Most replicas of a deployment.
const MOST: u16 = 64;

/// Which one of how many this HAC is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    /// From 0.
    pub index: u16,
    /// How many there are; 1 to 64.
    pub of: u16,
}

impl Default for Replica {
    /// The only one.
    fn default() -> Self {
        Self { index: 0, of: 1 }
    }
}

impl Replica {
    /// Whether there are others.
    #[must_use]
    pub const fn has_others(self) -> bool {
        self.of > 1
    }

    /// This replica's part of numbers that are `step` apart; parts differ by one in size at most. `None`
    /// where there are fewer numbers than replicas.
    #[must_use]
    pub fn part(self, range: &RangeInclusive<u128>, step: u128) -> Option<RangeInclusive<u128>> {
        let (index, of) = (u128::from(self.index), u128::from(self.of));
        // One less than there are, which never is too large for the type.
        let last = range.end().checked_sub(*range.start())?.checked_div(step)?;
        if last < of - 1 {
            return None;
        }
        let (each, rest) = ((last / of), (last % of) + 1);
        let before = |index: u128| index * each + index.min(rest);
        let count = before(index + 1).checked_sub(before(index)).filter(|count| *count > 0)?;
        let first = range.start() + before(index) * step;
        Some(first..=first + (count - 1) * step)
    }
}

/// The replica that the file says it is.
pub(super) fn check(file: &Document<Root>) -> Result<Replica, ConfigError> {
    let Some(given) = &file.value.replica else { return Ok(Replica::default()) };
    let replica = Replica { index: given.value.index, of: given.value.of };
    if (1..=MOST).contains(&replica.of) && replica.index < replica.of {
        return Ok(replica);
    }
    let message = format!(
        "index {}, of {}: of is 1 to {MOST}, index from 0 to one less",
        replica.index, replica.of
    );
    Err(file.error(given.referenced, "replica", message))
}

/// Leaves the home agents of `realm` what is its replica's.
pub(super) fn part(file: &Document<Root>, realm: &mut Realm) -> Result<(), ConfigError> {
    let replica = realm.replica;
    for (index, agent) in realm.home_agents.iter_mut().enumerate() {
        if let Err(name) = part_of(agent, replica) {
            let location = file.value.home_agents.get(index);
            let location = location.map_or_else(start, |agent| agent.name.referenced);
            let message = format!("is too small for {} replicas", replica.of);
            return Err(file.error(location, format!("home_agents[{index}].{name}"), message));
        }
    }
    Ok(())
}

fn part_of(agent: &mut HomeAgent, replica: Replica) -> Result<(), &'static str> {
    let spis = u128::from(*agent.spis.start())..=u128::from(*agent.spis.end());
    let spis = replica.part(&spis, 1).ok_or("spi_range")?;
    let spi = |number: u128| u32::try_from(number).map_err(|_| "spi_range");
    agent.spis = spi(*spis.start())?..=spi(*spis.end())?;
    if let Some(most) = &mut agent.max_sas {
        // Each sends as many as it may where all send as many.
        *most = most.div_ceil(replica.of.into());
    }
    let pools = &mut agent.pools;
    if let Some(pool) = &mut pools.ip6 {
        let range = pool.start().to_bits()..=pool.end().to_bits();
        let range = replica.part(&range, 1).ok_or("pools.ip6")?;
        *pool = Ipv6Addr::from_bits(*range.start())..=Ipv6Addr::from_bits(*range.end());
    }
    if let Some(pool) = &mut pools.ip4 {
        let range = u128::from(pool.start().to_bits())..=u128::from(pool.end().to_bits());
        let range = replica.part(&range, 1).ok_or("pools.ip4")?;
        let address =
            |number: u128| u32::try_from(number).map(Ipv4Addr::from_bits).map_err(|_| "pools.ip4");
        *pool = address(*range.start())?..=address(*range.end())?;
    }
    prefixes(&mut pools.home_prefixes_ip6, replica).ok_or("pools.home_prefixes_ip6")?;
    prefixes(&mut pools.mobile_networks_ip6, replica).ok_or("pools.mobile_networks_ip6")?;
    prefixes(&mut pools.mobile_networks_ip4, replica).ok_or("pools.mobile_networks_ip4")
}

fn prefixes(pool: &mut Option<PrefixPool>, replica: Replica) -> Option<()> {
    if let Some(pool) = pool {
        pool.range = replica.part(&pool.range, pool.step())?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// SA-01: the parts of all replicas are disjoint, and nothing is left between them.
        #[test]
        fn sa_01_parts_are_disjoint_and_complete(
            first in any::<u64>(),
            count in 1..5000u128,
            bits in 0..64u32,
            of in 1..=MOST,
        ) {
            let (first, step) = (u128::from(first), 1u128 << bits);
            let range = first..=first + (count - 1) * step;
            let parts: Vec<_> =
                (0..of).map(|index| Replica { index, of }.part(&range, step)).collect();
            if u128::from(of) <= count {
                let mut next = first;
                for part in parts {
                    let part = part.unwrap();
                    prop_assert_eq!(*part.start(), next);
                    let size = (part.end() - part.start()) / step + 1;
                    prop_assert!((count / u128::from(of)..=count / u128::from(of) + 1).contains(&size));
                    next = part.end() + step;
                }
                prop_assert_eq!(next, range.end() + step);
            } else {
                prop_assert!(parts.iter().any(Option::is_none));
            }
        }
    }

    #[test]
    fn the_only_one_has_everything() {
        // No pool is larger than half of all addresses.
        let all = 0..=u128::MAX >> 1;
        assert_eq!(Replica::default().part(&all, 1), Some(all));
    }
}
