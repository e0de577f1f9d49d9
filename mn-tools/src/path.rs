//! Ways to the home agent, and which one is wanted most.
//!
//! Read first: RFC 5555 s.4.4.1.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A care-of address on an interface, and the home agent address that it reaches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    /// Name of the interface.
    pub interface: Arc<str>,
    /// Its index.
    pub index: u32,
    /// How often the interface had lost its link or an address when this path was found: the same
    /// address after such a gap may belong to another network.
    pub epoch: u32,
    /// The care-of address.
    pub care_of: IpAddr,
    /// The home agent's address of the same family, and its port.
    pub home_agent: SocketAddr,
}

impl Path {
    /// `ipv6` or `ipv4`.
    #[must_use]
    pub const fn family(&self) -> &'static str {
        if self.care_of.is_ipv6() { "ipv6" } else { "ipv4" }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.care_of, self.interface)
    }
}

/// Whether a home agent can reach this address: a node's own and link-local ones it can't.
#[must_use]
pub fn is_care_of_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.to_ipv4_mapped().is_some())
        }
    }
}

/// Puts the most wanted path first: in the order of `interfaces`, where that names some (others are
/// left out); then IPv6 before IPv4 (RFC 5555 s.4.4.1); then what the kernel itself would use
/// (`by_default`), then the order in which they came.
pub fn rank(paths: &mut Vec<Path>, interfaces: &[String], by_default: &[IpAddr]) {
    let wanted = |path: &Path| interfaces.iter().position(|name| **name == *path.interface);
    if !interfaces.is_empty() {
        paths.retain(|path| wanted(path).is_some());
    }
    paths.sort_by_key(|path| {
        (wanted(path), path.care_of.is_ipv4(), !by_default.contains(&path.care_of))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(interface: &str, care_of: &str) -> Path {
        let care_of: IpAddr = care_of.parse().unwrap();
        let home_agent = if care_of.is_ipv6() { "[2001:db8::1]:7872" } else { "192.0.2.1:7872" };
        let home_agent = home_agent.parse().unwrap();
        Path { interface: interface.into(), index: 1, epoch: 0, care_of, home_agent }
    }

    fn order(paths: &[Path]) -> Vec<String> {
        paths.iter().map(|path| path.care_of.to_string()).collect()
    }

    #[test]
    fn ipv6_comes_first_then_the_kernels_choice() {
        let mut paths =
            vec![path("a", "192.0.2.7"), path("a", "2001:db8::7"), path("b", "2001:db8:1::7")];
        rank(&mut paths, &[], &["2001:db8:1::7".parse().unwrap()]);
        assert_eq!(order(&paths), ["2001:db8:1::7", "2001:db8::7", "192.0.2.7"]);
    }

    #[test]
    fn named_interfaces_rule_and_others_are_left_out() {
        let mut paths =
            vec![path("a", "2001:db8::7"), path("b", "192.0.2.7"), path("c", "2001:db8:2::7")];
        rank(&mut paths, &["b".to_owned(), "a".to_owned()], &[]);
        assert_eq!(order(&paths), ["192.0.2.7", "2001:db8::7"]);
    }

    #[test]
    fn addresses_that_reach_nowhere_are_no_care_of_addresses() {
        for bad in ["::1", "fe80::1", "::", "ff02::1", "127.0.0.1", "169.254.1.1", "0.0.0.0"] {
            assert!(!is_care_of_address(bad.parse().unwrap()), "{bad}");
        }
        for good in ["2001:db8::1", "10.1.2.3", "fd00::1"] {
            assert!(is_care_of_address(good.parse().unwrap()), "{good}");
        }
    }
}
