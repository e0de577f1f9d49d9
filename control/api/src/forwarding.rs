//! Where packets without a binding go: routes and neighbours.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Searched, is_in};

/// A route of the FIB: of the kernel's main table, the best of its prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRow {
    /// The prefix.
    pub prefix: String,
    /// The port that it leaves by; none where it leads nowhere (a blackhole or as good as one).
    pub port: Option<String>,
    /// The next hop; none where destinations are on the link.
    pub gateway: Option<IpAddr>,
}

impl Searched for RouteRow {
    fn has(&self, text: &str) -> bool {
        is_in(text, &[&self.prefix])
            || self.port.as_ref().is_some_and(|port| is_in(text, &[port]))
            || self.gateway.is_some_and(|gateway| is_in(text, &[&gateway]))
    }
}

/// A neighbour on the link of a port, as the kernel knows it (RFC 4861 s.5.1, RFC 826).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourRow {
    /// The port.
    pub port: String,
    /// Its address there.
    pub address: IpAddr,
    /// Its MAC address, once it is known.
    pub mac: Option<String>,
    /// `incomplete`, `reachable`, `stale`, `delay`, `probe`, `failed` or `permanent`.
    pub state: String,
    /// Seconds since it was last known to answer; none where it has not, or is permanent.
    pub age: Option<u32>,
    /// Whether workers send to it: they know its MAC address.
    pub usable: bool,
    /// Packets that wait until it is found.
    pub waiting: usize,
}

impl Searched for NeighbourRow {
    fn has(&self, text: &str) -> bool {
        is_in(text, &[&self.port, &self.address, &self.state])
            || self.mac.as_ref().is_some_and(|mac| is_in(text, &[mac]))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_what_they_are_known_by() {
        let gateway = Some("2001:db8::FE".parse().unwrap());
        let route =
            RouteRow { prefix: "2001:db8:a::/48".into(), port: Some("home".into()), gateway };
        for (text, found) in [("db8:a::", true), ("home", true), ("::fe", true), ("access", false)]
        {
            assert_eq!(route.has(text), found, "{text}");
        }
        let neighbour = NeighbourRow {
            port: "access".into(),
            address: "192.0.2.7".parse().unwrap(),
            mac: Some("02:00:00:00:00:0a".into()),
            state: "stale".into(),
            age: Some(7),
            usable: true,
            waiting: 0,
        };
        for (text, found) in
            [("access", true), ("2.7", true), (":0a", true), ("stal", true), ("x", false)]
        {
            assert_eq!(neighbour.has(text), found, "{text}");
        }
    }
}
