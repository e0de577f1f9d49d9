//! What a deployment decides: prefixes, limits, times.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;

use hearth_wire::MobileNodeId;
use hearth_wire::directory::MAX_SAS_PER_NODE;
use ipnet::IpNet;

use crate::membership::MulticastPolicy;
use crate::operate::OperationsPolicy;

/// The unit of a binding's lifetime on the wire: 4 seconds (RFC 6275 s.6.1.7).
pub const LIFETIME_UNIT: Duration = Duration::from_secs(4);

/// Policy of one home agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Prefixes whose addresses are home addresses, IPv6 and IPv4. A home address outside them is
    /// refused with status 132 (RFC 6275 s.10.3.1), an IPv4 one with acknowledgement status 129.
    /// Default: none.
    pub home_prefixes: Vec<IpNet>,
    /// Every address of the home agent, both families; none can be a care-of address.
    /// Default: none.
    pub ha_addresses: Vec<IpAddr>,
    /// Whether the home agent role is on; switched off, Binding Updates are refused with status
    /// 131. Default: on.
    pub home_registration: bool,
    /// Mobile nodes that are refused with status 129. Default: none.
    pub denied: BTreeSet<MobileNodeId>,
    /// Realms whose mobile nodes are refused with status 129: what stands behind the `@`, compared
    /// without regard to case (RFC 4282 s.2.4). Default: none.
    pub denied_realms: Vec<Box<str>>,
    /// Longest lifetime that is granted; rounded down to whole units of 4 s, at least one, at
    /// most 65535 (some 72 h). Default: 1 h.
    pub max_lifetime: Duration,
    /// Most bindings at a time; a first registration beyond is refused with status 130, those that
    /// exist are unaffected. Default: 1,000,000.
    pub max_bindings: usize,
    /// How often a mobile node behind a NAT is told to refresh its mapping, in seconds, as it
    /// stands in the NAT detection option. Default: 110 (RFC 5555 s.6, NATKATIMEOUT).
    pub nat_refresh_time: u32,
    /// `nat66: follow_source`: IPv6 is treated as IPv4 is: the outer source is the care-of
    /// address, and a NAT is looked for. Default: off.
    pub nat66_follow_source: bool,
    /// How long the older SAs of a mobile node still carry data after its first accepted Binding
    /// Update under a newer one. Default: 10 s.
    pub sa_grace: Duration,
    /// Most SAs of one mobile node; the oldest unused go first. Default: 64.
    pub max_sas_per_node: usize,
    /// How long the sequence number of a de-registered binding is remembered (RFC 6275 s.10.3.2,
    /// `MAX_DELETE_BCE_TIMEOUT`). Default: 10 s.
    pub deregistration_hold: Duration,
    /// Status 176 is sent only while the binding lasts at least this much longer, so that the
    /// mobile node's next try finds it alive. Default: 7 s, three tries of RFC 6275 s.11.8
    /// (1 s, 2 s, 4 s).
    pub reinit_margin: Duration,
    /// Binding Errors, and likewise ICMP errors, to one mobile node: so many a second, and as many
    /// in one burst (RFC 6275 s.9.3.3, R-33). Default: 10.
    pub errors_per_second: u32,
    /// Messages of the home agent's own accord.
    pub operations: OperationsPolicy,
    /// Multicast through tunnels; `None`: membership messages are ignored (RFC 6275 s.10.4.3).
    /// Default: `None`.
    pub multicast: Option<MulticastPolicy>,
    /// Moves of one mobile node's care-of addresses, in a minute at most and in one burst; beyond,
    /// Binding Updates are refused with status 129. Whoever sits on the path can rewrite the outer
    /// source of a Binding Update, and with it the care-of address (RFC 5555 s.5). 0: no limit.
    /// Default: 30.
    pub care_of_moves_per_minute: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            home_prefixes: Vec::new(),
            ha_addresses: Vec::new(),
            home_registration: true,
            denied: BTreeSet::new(),
            denied_realms: Vec::new(),
            max_lifetime: Duration::from_secs(3600),
            max_bindings: 1_000_000,
            nat_refresh_time: 110,
            nat66_follow_source: false,
            sa_grace: Duration::from_secs(10),
            max_sas_per_node: MAX_SAS_PER_NODE as usize,
            deregistration_hold: Duration::from_secs(10),
            reinit_margin: Duration::from_secs(7),
            errors_per_second: 10,
            operations: OperationsPolicy::default(),
            multicast: None,
            care_of_moves_per_minute: 30,
        }
    }
}

impl Policy {
    /// Whether `address` lies in a prefix that this home agent serves.
    pub(crate) fn serves(&self, address: IpAddr) -> bool {
        self.home_prefixes.iter().any(|prefix| prefix.contains(&address))
    }

    /// Whether the operator refuses anybody.
    pub(crate) fn denies_some(&self) -> bool {
        !self.denied.is_empty() || !self.denied_realms.is_empty()
    }

    /// Whether the operator refuses `mn_id` (REG-11).
    pub(crate) fn denies(&self, mn_id: &MobileNodeId) -> bool {
        let is_denied = |realm: &str| {
            self.denied_realms.iter().any(|denied| denied.eq_ignore_ascii_case(realm))
        };
        self.denied.contains(mn_id) || mn_id.realm().is_some_and(is_denied)
    }

    /// [`Self::max_lifetime`] in units of 4 s, at least one.
    pub(crate) fn max_lifetime_units(&self) -> u16 {
        lifetime_units(self.max_lifetime).max(1)
    }
}

/// Whole units of 4 s in `duration`, rounded down (RFC 6275 s.10.3.1).
pub(crate) fn lifetime_units(duration: Duration) -> u16 {
    u16::try_from(duration.as_secs() / LIFETIME_UNIT.as_secs()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_whole_units_of_four_seconds() {
        assert_eq!(lifetime_units(Duration::from_millis(3_999)), 0);
        assert_eq!(lifetime_units(Duration::from_millis(11_999)), 2);
        assert_eq!(lifetime_units(Duration::MAX), u16::MAX);
        let policy = Policy { max_lifetime: Duration::ZERO, ..Policy::default() };
        assert_eq!(policy.max_lifetime_units(), 1);
    }

    #[test]
    fn serves_only_its_prefixes() {
        let policy = Policy {
            home_prefixes: vec![
                "2001:db8:100::/64".parse().unwrap(),
                "198.51.100.0/24".parse().unwrap(),
            ],
            ..Policy::default()
        };
        assert!(policy.serves("2001:db8:100::1".parse().unwrap()));
        assert!(policy.serves("198.51.100.255".parse().unwrap()));
        assert!(!policy.serves("2001:db8:100:1::1".parse().unwrap()));
        assert!(!policy.serves("198.51.101.1".parse().unwrap()));
    }
}
