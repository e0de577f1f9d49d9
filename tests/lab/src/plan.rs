//! The lab's map: names and addresses, all of them from documentation prefixes.
//!
//! ```text
//!  hearth-mn                 hearth-net6                      hearth-ha                  hearth-cn
//!  visit6 2001:db8:6::100 -- visit6-0 .. ::1                  +-----------+
//!                            access 2001:db8:a::1      ------ | acc0 DPDK |
//!                                   198.51.100.1              | hearthd   |
//!                            wan4   198.51.100.33             | home0 DPDK| ---- home 2001:db8:c::2
//!                              |                              +-----------+           203.0.113.2
//!                            wan4   198.51.100.34              hearth-hac :7873 behind the TAP
//!  visit4 198.51.100.70   -- visit4-0 198.51.100.65            of the access port
//!                            hearth-nat4 (masquerade)
//! ```
//!
//! The operator's AAA servers, where [`crate::network::Network::operator`] has made their network:
//! hearth-ha 192.0.2.1, 2001:db8:e::1 -- hearth-aaa 192.0.2.10, 2001:db8:e::10.
//!
//! Behind mobile node 0, where it is a mobile router: `lan` 2001:db8:d::1 -- hearth-lan 2001:db8:d::100.
//!
//! `hearth-lab up` leaves the mobile node attached to both visited networks; `hearth-lab move net6`,
//! `move nat4` and `move both` change that. The demo moves with the old network gone first.
//!
//! Home addresses: 2001:db8:b:1::/64 and 203.0.113.128/25, routed by the correspondent to the home
//! agent's home port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hearth_wire::suite::Suite;

/// UDP port of the home agent (RFC 6618 s.9.1).
pub const HA_PORT: u16 = 7872;
/// Where hearthd has its metrics, within its namespace.
pub const METRICS: &str = "127.0.0.1:9618";
/// Where the HAC has its metrics, in the same namespace.
pub const HAC_METRICS: &str = "127.0.0.1:9619";
/// Where the home agent shows its dashboard.
pub const DASHBOARD: &str = "127.0.0.1:9680";
/// TCP port of the HAC; RFC 6618 names none.
pub const HAC_PORT: u16 = 7873;
/// The name in the HAC's certificate.
pub const HAC_NAME: &str = "hac.example.net";

/// The home agent's addresses, on its access port; the HAC answers there too.
pub const HA6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x10);
/// The same for IPv4.
pub const HA4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// The access router's addresses on the access link.
pub const ACCESS_ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1);
/// The same for IPv4.
pub const ACCESS_ROUTER4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The home agent's addresses on the home link.
pub const HA_HOME6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 1);
/// The same for IPv4.
pub const HA_HOME4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The correspondent's addresses.
pub const CN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
/// The same for IPv4.
pub const CN4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The home prefix.
pub const HOME_PREFIX6: &str = "2001:db8:b:1::/64";
/// The same for IPv4.
pub const HOME_PREFIX4: &str = "203.0.113.128/25";
/// The home agent's addresses in the home prefixes, where these are on its home link.
pub const HA_ON_LINK6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 1, 0, 0, 0, 1);
/// The same for IPv4.
pub const HA_ON_LINK4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 129);
/// The correspondent's there.
pub const CN_ON_LINK6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 1, 0, 0, 0, 2);
/// The same for IPv4.
pub const CN_ON_LINK4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 130);
/// What a mobile node on that link is called beside its home address.
pub const GUEST_ON_LINK6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 1, 0, 0, 0, 0x1234);
/// Mobile node 0's interface to it.
pub const HOME_INTERFACE: &str = "homelink";
/// The address translator's outside address.
pub const NAT_OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 34);
/// The access router's end of the link to the address translator.
pub const NAT_ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 33);
/// The network behind the mobile router, routed by the correspondent to the home agent's home port.
pub const MOBILE_NETWORK6: &str = "2001:db8:d::/56";
/// The mobile router's address there.
pub const MOBILE_ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xd, 0, 0, 0, 0, 1);
/// A host there.
pub const BEHIND6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xd, 0, 0, 0, 0, 0x100);
/// The AAA servers' addresses in the operator's network.
pub const AAA6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xe, 0, 0, 0, 0, 0x10);
/// The same for IPv4.
pub const AAA4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The HAC's addresses there.
pub const HAC_OPERATOR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xe, 0, 0, 0, 0, 1);
/// The same for IPv4.
pub const HAC_OPERATOR4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// SPIs that the HAC may deal out for the lab's home agent.
pub const SPI_RANGE: (u32, u32) = (1, 4096);

/// A visited network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visited {
    /// IPv6 only.
    Net6,
    /// IPv4 only, behind a masquerading address translator.
    Nat4,
}

impl Visited {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Net6, Self::Nat4];

    /// Its name in output and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Net6 => "net6",
            Self::Nat4 => "nat4",
        }
    }

    /// The mobile node's interface to it.
    #[must_use]
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Net6 => "visit6",
            Self::Nat4 => "visit4",
        }
    }

    /// What mobile node number `index` has there: its address with prefix length, and its router.
    #[must_use]
    pub fn attachment(self, index: u8) -> (String, IpAddr) {
        match self {
            Self::Net6 => {
                let subnet = u16::from(index);
                let at = |host| Ipv6Addr::new(0x2001, 0xdb8, 6, subnet, 0, 0, 0, host);
                (format!("{}/64", at(0x100)), at(1).into())
            }
            Self::Nat4 => {
                let base = 64 + 32 * index;
                let at = |host| Ipv4Addr::new(198, 51, 100, base + host);
                (format!("{}/27", at(6)), at(1).into())
            }
        }
    }

    /// The address of mobile node number `index` there, as the home agent sees it.
    #[must_use]
    pub fn care_of_address(self, index: u8) -> IpAddr {
        match self {
            Self::Net6 => Ipv6Addr::new(0x2001, 0xdb8, 6, u16::from(index), 0, 0, 0, 0x100).into(),
            Self::Nat4 => NAT_OUTSIDE.into(),
        }
    }

    /// The home agent's address for nodes there.
    #[must_use]
    pub fn home_agent(self) -> IpAddr {
        match self {
            Self::Net6 => HA6.into(),
            Self::Nat4 => HA4.into(),
        }
    }
}

/// A mobile node's contract: identity, key, home addresses and its own policy.
#[derive(Clone)]
pub struct Subscriber {
    /// Network access identifier.
    pub mn_id: String,
    /// Pre-shared key in hexadecimal.
    pub psk: String,
    /// Home address.
    pub home6: Ipv6Addr,
    /// IPv4 home address.
    pub home4: Ipv4Addr,
    /// The only ciphersuite that the HAC gives it.
    pub suite: Suite,
    /// `mip6-sas`: 1 protects user data, 0 signalling only.
    pub scope: u8,
    /// What it may beyond a home address, as it stands in `hac.yaml`.
    pub services: &'static [&'static str],
}

/// Without the key.
impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriber").field("mn_id", &self.mn_id).finish_non_exhaustive()
    }
}

impl Subscriber {
    /// One subscriber per suite and scope, twelve in all, with fresh keys. The first is what most
    /// people would run: AES_128_CBC_SHA with user data protected. The last two have the suite that
    /// RFC 6618 does not know (R-16).
    ///
    /// # Errors
    /// Where the operating system's generator fails.
    pub fn matrix() -> std::io::Result<Vec<Self>> {
        let mut suites = Suite::ALL;
        suites.reverse();
        suites.swap(0, 1);
        let both_scopes = |suites: &[Suite]| {
            let with = |scope| suites.iter().map(move |suite| (*suite, scope)).collect::<Vec<_>>();
            [with(1), with(0)].concat()
        };
        let combinations = [both_scopes(&suites), both_scopes(&Suite::EXTENSIONS)].concat();
        combinations
            .into_iter()
            .zip(0_u8..)
            .map(|((suite, scope), index)| Self::new(suite, scope, index))
            .collect()
    }

    /// Those of [`Self::matrix`], a mobile router with [`MOBILE_NETWORK6`] behind it, and a node with
    /// several care-of addresses and flows, in this order.
    ///
    /// # Errors
    /// Where the operating system's generator fails.
    pub fn all() -> std::io::Result<Vec<Self>> {
        let mut all = Self::matrix()?;
        let more: [(&str, &'static [&'static str]); 2] = [
            ("mobile-router", &["prefixes: [\"2001:db8:d::/56\"]"]),
            ("multihomed", &["care_of_addresses: 2", "flow_bindings: 4"]),
        ];
        for ((name, services), index) in more.into_iter().zip(20..) {
            let plain = Self::new(Suite::Aes128CbcSha, 1, index)?;
            all.push(Self { mn_id: format!("{name}@example.net"), services, ..plain });
        }
        Ok(all)
    }

    fn new(suite: Suite, scope: u8, index: u8) -> std::io::Result<Self> {
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key).map_err(|error| std::io::Error::other(error.to_string()))?;
        let key: String = key.iter().map(|octet| format!("{octet:02x}")).collect();
        let name = suite.name().to_lowercase().replace('_', "-");
        let plain = Self::with_key(&format!("{name}-scope{scope}@example.net"), &key, index);
        Ok(Self { suite, scope, ..plain })
    }

    /// One of this name and key (hexadecimal), for programs that know both; `index` tells its
    /// addresses from others' and is below 64. [`Self::all`] has those below 30.
    #[must_use]
    pub fn with_key(mn_id: &str, psk: &str, index: u8) -> Self {
        Self {
            mn_id: mn_id.to_owned(),
            psk: psk.to_owned(),
            home6: Ipv6Addr::new(0x2001, 0xdb8, 0xb, 1, 0, 0, 0, 0x10 + u16::from(index)),
            home4: Ipv4Addr::new(203, 0, 113, 144 + index),
            suite: Suite::Aes128CbcSha,
            scope: 1,
            services: &[],
        }
    }

    /// Its name as part of a file's name.
    #[must_use]
    pub fn label(&self) -> &str {
        self.mn_id.split('@').next().unwrap_or("mn")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_matrix_covers_every_suite_and_scope_once() {
        let all = Subscriber::matrix().unwrap();
        let pairs: HashSet<_> = all.iter().map(|s| (s.suite, s.scope)).collect();
        assert_eq!((all.len(), pairs.len()), (12, 12));
        assert_eq!((all[0].suite, all[0].scope), (Suite::Aes128CbcSha, 1));
        let addresses: HashSet<_> = all.iter().map(|s| (s.home6, s.home4)).collect();
        assert_eq!(addresses.len(), 12);
        assert!(all.iter().all(|s| s.psk.len() == 64));
    }

    #[test]
    fn only_documentation_prefixes_are_used() {
        for visited in Visited::ALL {
            for index in [0, 1] {
                let (address, router) = visited.attachment(index);
                for text in [address, router.to_string()] {
                    let documented = ["2001:db8:", "198.51.100.", "203.0.113."];
                    assert!(documented.iter().any(|p| text.starts_with(p)), "{text}");
                }
            }
        }
    }
}
