//! Routes: built aside from the kernel's list, swapped in by pointer, never changed in place.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::{HashMap, HashSet};

use hearth_dpdk::{Eal, Fib4, Fib6, FibParameters, NextHopWidth};

use crate::config::{PortId, Route, TableError};

/// Where a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// Nowhere.
    None,
    /// The box itself.
    Local,
    /// In a home prefix that is on no link, so that only a binding leads there. Without it the
    /// packet would leave by this port, if by any.
    Unbound { under: Option<PortId> },
    /// Out of this port, by a gateway or on the link.
    Port { port: PortId, gateway: Option<IpAddr> },
}

/// A network and the length of its prefix.
type Prefix = (IpAddr, u8);

/// One generation of the routes.
pub(crate) struct Routes {
    fib4: Fib4,
    fib6: Fib6,
    /// By next hop number; 0 is [`Target::None`].
    targets: Vec<Target>,
}

impl Routes {
    /// Builds both tables; local addresses are host routes of their own, and what is blocked leads
    /// nowhere. `name` is not in use.
    pub(crate) fn build(
        eal: &Eal,
        name: &str,
        routes: &[Route],
        (local, home_prefixes, blocked): (&[IpAddr], &[Prefix], &[Prefix]),
    ) -> Result<Self, TableError> {
        let count = routes.len() + local.len() + home_prefixes.len() + blocked.len();
        let count = u32::try_from(count).map_err(|_| TableError::Full)?;
        let nowhere = blocked.iter().map(|&(address, len)| (address, len, Target::None));
        // Before routes, so that one of the same prefix takes its place: a home link of its own.
        let homes = home_prefixes.iter().map(|&(address, len)| {
            (address, len, Target::Unbound { under: covering(routes, address, len) })
        });
        let others = routes.iter().map(|route| {
            let (address, len) = route.prefix;
            (address, len, Target::Port { port: route.port, gateway: route.gateway })
        });
        let own = local.iter().map(|address| (*address, host_len(*address), Target::Local));
        let mut entries: Vec<_> = nowhere.chain(homes).chain(others).chain(own).collect();
        // The shorter first: DPDK reserves groups for what lies between a prefix and the longest that
        // covers it by then.
        entries.sort_by_key(|(_, len, _)| *len);
        let (groups4, groups6) = groups(entries.iter().map(|(address, len, _)| (*address, *len)));
        // Two octets per next hop leave 15 bits for the number of a group.
        let parameters = |groups: u32| FibParameters {
            max_routes: count + 1,
            tbl8_groups: groups + SPARE_GROUPS,
            next_hop: match groups + SPARE_GROUPS {
                0..0x7f00 => NextHopWidth::Two,
                _ => NextHopWidth::Four,
            },
            default_next_hop: 0,
        };
        let mut built = Self {
            fib4: Fib4::new(eal, name, &parameters(groups4)).map_err(|_| TableError::Dpdk)?,
            fib6: Fib6::new(eal, &format!("{name}v6"), &parameters(groups6))
                .map_err(|_| TableError::Dpdk)?,
            targets: vec![Target::None],
        };
        let mut numbers = HashMap::from([(Target::None, 0)]);
        for (address, len, target) in entries {
            built.insert(&mut numbers, address, len, target)?;
        }
        Ok(built)
    }

    fn insert(
        &mut self,
        numbers: &mut HashMap<Target, u64>,
        address: IpAddr,
        len: u8,
        target: Target,
    ) -> Result<(), TableError> {
        let fresh = self.targets.len() as u64;
        let number = *numbers.entry(target).or_insert(fresh);
        if number == fresh {
            self.targets.push(target);
        }
        match address {
            IpAddr::V4(v4) if len <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                let prefix = Ipv4Addr::from_bits(v4.to_bits() & mask);
                self.fib4.insert(prefix, len, number)
            }
            IpAddr::V6(v6) if len <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                let prefix = Ipv6Addr::from_bits(v6.to_bits() & mask);
                self.fib6.insert(prefix, len, number)
            }
            _ => return Err(TableError::Route),
        }
        .map_err(|_| TableError::Full)
    }

    /// Looks up one address.
    pub(crate) fn lookup(&self, address: IpAddr) -> Target {
        let mut number = [0];
        match address {
            IpAddr::V4(v4) => self.fib4.lookup_bulk(&[v4.to_bits()], &mut number),
            IpAddr::V6(v6) => self.fib6.lookup_bulk(&[v6.octets()], &mut number),
        }
        self.target(number[0])
    }

    fn target(&self, number: u64) -> Target {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        self.targets.get(index).copied().unwrap_or(Target::None)
    }
}

/// Groups that DPDK may want beyond those that the prefixes take.
const SPARE_GROUPS: u32 = 64;

const fn host_len(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Groups of 256 next hops that DPDK reserves for prefixes of which the shorter come first, IPv4 and
/// IPv6. For IPv4 it is one for all that is longer and has its first three octets in common; for
/// IPv6 one for each octet beyond the third, down from the longest prefix that covers it.
fn groups(prefixes: impl Iterator<Item = (IpAddr, u8)>) -> (u32, u32) {
    let (mut ways4, mut known6, mut lens6, mut octets6) =
        (HashSet::new(), HashSet::new(), vec![], 0);
    for (address, len) in prefixes {
        match address {
            IpAddr::V4(v4) if len > 24 => {
                ways4.insert(v4.to_bits() >> 8);
            }
            IpAddr::V6(v6) if len <= 128 => {
                let upper = |len: u8| (len, v6.to_bits().checked_shr(128 - u32::from(len)));
                if !known6.insert(upper(len)) {
                    continue;
                }
                let mut shorter = lens6.iter().rev().copied().filter(|shorter| *shorter < len);
                let covering = shorter.find(|shorter| known6.contains(&upper(*shorter)));
                let from = covering.unwrap_or(0).max(24);
                octets6 += u32::from(len.div_ceil(8).saturating_sub(from.div_ceil(8)));
                if lens6.last() != Some(&len) {
                    lens6.push(len);
                }
            }
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
    }
    let most = u32::MAX - SPARE_GROUPS;
    (u32::try_from(ways4.len()).unwrap_or(most), octets6.min(most))
}

/// The port of the longest route that covers a prefix.
fn covering(routes: &[Route], address: IpAddr, len: u8) -> Option<PortId> {
    let covers = |route: &&Route| {
        let (network, network_len) = route.prefix;
        let (differs, width) = match (network, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits() ^ b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits(), 128),
            _ => return false,
        };
        network_len <= len
            && differs.checked_shr(width - u32::from(network_len).min(width)).unwrap_or(0) == 0
    };
    routes.iter().filter(covers).max_by_key(|route| route.prefix.1).map(|route| route.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups_of(prefixes: &[(&str, u8)]) -> (u32, u32) {
        groups(prefixes.iter().map(|(address, len)| (address.parse().unwrap(), *len)))
    }

    /// As DPDK reserves them, whatever two prefixes have in common beyond the longest that covers both.
    #[test]
    fn groups_are_counted_down_from_the_covering_prefix() {
        assert_eq!(groups_of(&[("0.0.0.0", 0), ("192.0.2.0", 24), ("2001:db8::", 24)]), (0, 0));
        assert_eq!(groups_of(&[("192.0.2.1", 32), ("192.0.2.128", 25), ("192.0.3.0", 30)]), (2, 0));
        assert_eq!(groups_of(&[("2001:db8::", 32)]), (0, 1));
        assert_eq!(groups_of(&[("2001:db8:1::", 48), ("2001:db8:2::", 48)]), (0, 6));
        assert_eq!(groups_of(&[("::", 0), ("2001:db8::", 32), ("2001:db8:1::", 48)]), (0, 3));
        assert_eq!(groups_of(&[("2001:db8::1", 128), ("2001:db8::1", 128)]), (0, 13));
        assert_eq!(groups_of(&[("2001:db8::", 33), ("2001:db8::1", 128)]), (0, 13));
    }
}
