//! The TUN device with the home addresses, and the routing that leads into it.
//!
//! ```text
//!   priority   who                        what
//!   table      with our mark              goes on behind these rules: outer packets and the
//!                                         connection to the HAC, as if there were no tunnel
//!   table+1    to a mobile network        main, routes longer than the default: its own links
//!   table+2    from a home address or a   table: all of it goes through the tunnel, the outer
//!              mobile network             packets of mobile nodes behind a mobile router too
//!   table+3    to home agent and HAC      main; reverse path checks of outer packets look here
//!   table+4    all                        table, routes longer than the default
//!   table+5    all                        main, routes longer than the default (visited links)
//!   table+6    all                        table
//!   table+7                               where marked packets go on
//! ```
//!
//! What of a mobile network prefix is on no link of ours is unreachable by a route in the table:
//! it must not go back into the tunnel that it came from (RFC 3963 s.5.5).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use hearth_wire::{Suite, frame};
use ipnet::{IpNet, Ipv6Net};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::claim::{Claim, ClaimError};
use crate::netlink::{Change, MAIN_TABLE, Netlink, Rule, Selector, Verdict};

/// Rules that a node may own, counted from its table's number.
const RULES: u32 = 8;
/// The least that IPv6 must be able to carry (RFC 8200 s.5).
const MIN_MTU: usize = 1280;
/// IPv6 and UDP in front of a frame: the worse of the two outer families.
const OUTER_HEADERS: usize = 40 + 8;

/// The tunnel's MTU: what fits into a visited link's under this suite, whatever the outer family,
/// and never under 1280 (a larger outer packet is then fragmented, R-42).
#[must_use]
pub fn mtu(suite: Suite, link_mtu: u16) -> usize {
    frame::max_payload(suite, usize::from(link_mtu).saturating_sub(OUTER_HEADERS)).max(MIN_MTU)
}

/// How the tunnel is to be set up.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Name of the device.
    pub name: String,
    /// Routing table, mark and first priority.
    pub table: u32,
    /// Prefixes that go through it.
    pub routes: Vec<IpNet>,
    /// Mobile network prefixes, if this is a mobile router.
    pub networks: Vec<Ipv6Net>,
}

impl Layout {
    /// Priorities of the rules.
    fn rules(&self) -> Range<u32> {
        self.table..self.table + RULES
    }

    /// The routes of families that have a home address, with that.
    fn routes_from(&self, addresses: &Addresses) -> Vec<(IpNet, IpAddr)> {
        let with_source = |route: &IpNet| {
            let is_ipv6 = route.addr().is_ipv6();
            Some((*route, addresses.homes().find(|home| home.is_ipv6() == is_ipv6)?))
        };
        self.routes.iter().filter_map(with_source).collect()
    }
}

/// What can change with a new SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The home address.
    pub home6: Ipv6Addr,
    /// The IPv4 home address, where it is bound.
    pub home4: Option<Ipv4Addr>,
    /// Addresses that stay outside the tunnel: home agent and HAC.
    pub outside: Vec<IpAddr>,
    /// MTU of the tunnel.
    pub mtu: usize,
}

impl Addresses {
    fn homes(&self) -> impl Iterator<Item = IpAddr> {
        [Some(IpAddr::V6(self.home6)), self.home4.map(IpAddr::V4)].into_iter().flatten()
    }
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Another node has the numbers of our rules.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// As the kernel says.
    #[error(transparent)]
    Device(#[from] io::Error),
}

/// The device with everything that leads into it. Dropping it takes all of it away.
pub struct Tun {
    layout: Layout,
    netlink: Netlink,
    device: Arc<SyncDevice>,
    index: u32,
    /// What is set up now.
    current: Option<(Addresses, Vec<Rule>)>,
    // Last: the numbers are free when nothing of ours is under them any more.
    _claim: Claim,
}

impl Tun {
    /// Makes the device, without address and down. What an earlier node with the same table left
    /// behind is removed, once it is certain that no other node runs here with these numbers and
    /// that the device is ours: until then nothing is touched.
    ///
    /// # Errors
    /// Another node runs with these numbers, or as the kernel says.
    pub fn create(layout: Layout) -> Result<Self, CreateError> {
        let claim = Claim::new(layout.rules())?;
        let mut netlink = Netlink::open()?;
        let device = DeviceBuilder::new().name(&layout.name).enable(false).build_sync()?;
        device.set_nonblocking(true)?;
        netlink.delete_rules(layout.rules())?;
        for network in &layout.networks {
            netlink.delete_unreachable(layout.table, IpNet::V6(*network))?;
        }
        let index = netlink.index_of(&layout.name)?;
        // A router solicitation or a multicast report of the kernel's own has nothing to say here.
        let conf = format!("/proc/sys/net/ipv6/conf/{}", layout.name);
        for (key, value) in [("addr_gen_mode", "1"), ("accept_ra", "0")] {
            let _ = std::fs::write(format!("{conf}/{key}"), value);
        }
        let device = Arc::new(device);
        Ok(Self { layout, netlink, device, index, current: None, _claim: claim })
    }

    /// The device, for the threads of the data path.
    #[must_use]
    pub fn device(&self) -> TunDevice {
        TunDevice(Arc::clone(&self.device))
    }

    /// Sets up (or changes to) these addresses, with routes and rules.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn configure(&mut self, addresses: &Addresses) -> io::Result<()> {
        if self.current.as_ref().is_some_and(|(current, _)| current == addresses) {
            return Ok(());
        }
        let mtu = u32::try_from(addresses.mtu).unwrap_or(u32::from(u16::MAX));
        self.netlink.bring_up(self.index, mtu)?;
        let old = self.current.take();
        if let Some((old, _)) = &old {
            for gone in old.homes().filter(|old| !addresses.homes().any(|new| new == *old)) {
                self.netlink.delete_address(self.index, gone)?;
            }
        }
        for address in addresses.homes() {
            self.netlink.add_address(self.index, address)?;
        }
        for (route, source) in self.layout.routes_from(addresses) {
            self.netlink.set_route(self.layout.table, route, self.index, source)?;
        }
        for network in &self.layout.networks {
            self.netlink.add_unreachable(self.layout.table, IpNet::V6(*network))?;
        }
        let rules = rules(&self.layout, addresses);
        for rule in &rules {
            self.netlink.add_rule(rule)?;
        }
        for stale in old.iter().flat_map(|(_, old)| old).filter(|old| !rules.contains(old)) {
            self.netlink.delete_rule(stale)?;
        }
        self.current = Some((addresses.clone(), rules));
        Ok(())
    }

    /// Puts rules and routes back that somebody else removed (a network manager that tidies up):
    /// without them what belongs into the tunnel would leave in the clear.
    pub fn heed(&mut self, changes: &[Change]) {
        let (table, priorities) = (self.layout.table, self.layout.rules());
        let ours = changes.iter().any(|change| match change {
            Change::RuleGone(priority) => priorities.contains(priority),
            Change::RouteGone(of) => *of == table,
            Change::Missed => true,
            _ => false,
        });
        // What we remove ourselves is not in `current`, so it stays away.
        match if ours { self.restore() } else { Ok(0) } {
            Ok(0) => {}
            Ok(restored) => tracing::warn!(
                restored,
                "rules or routes of the tunnel were removed by another program; they are back"
            ),
            Err(error) => tracing::error!(
                %error,
                "rules or routes of the tunnel were removed by another program and can't be put back"
            ),
        }
    }

    /// Puts back what is missing of rules and routes; how many there were.
    fn restore(&mut self) -> io::Result<usize> {
        let Some((addresses, rules)) = &self.current else { return Ok(0) };
        let mut restored = 0;
        for rule in rules {
            restored += usize::from(self.netlink.add_rule(rule)?);
        }
        for (route, source) in self.layout.routes_from(addresses) {
            let added = self.netlink.add_route(self.layout.table, route, self.index, source)?;
            restored += usize::from(added);
        }
        for network in &self.layout.networks {
            let added = self.netlink.add_unreachable(self.layout.table, IpNet::V6(*network))?;
            restored += usize::from(added);
        }
        Ok(restored)
    }
}

impl Drop for Tun {
    fn drop(&mut self) {
        // Addresses and routes go with the device; it goes when the last thread has let it go.
        let _ = self.netlink.delete_rules(self.layout.rules());
        for network in &self.layout.networks {
            let _ = self.netlink.delete_unreachable(self.layout.table, IpNet::V6(*network));
        }
    }
}

/// The rules of the table above, for the families that have a home address.
fn rules(layout: &Layout, addresses: &Addresses) -> Vec<Rule> {
    let table = layout.table;
    let mut rules = Vec::new();
    for home in addresses.homes() {
        let is_ipv6 = home.is_ipv6();
        let rule = |offset, selector, verdict| Rule {
            priority: table + offset,
            selector,
            is_ipv6,
            verdict,
        };
        // What keeps outer packets out of the tunnel comes first, its target before it.
        rules.push(rule(7, Selector::All, Verdict::Nop));
        rules.push(rule(0, Selector::Marked(table), Verdict::Goto(table + 7)));
        for outside in addresses.outside.iter().filter(|address| address.is_ipv6() == is_ipv6) {
            rules.push(rule(3, Selector::To((*outside).into()), Verdict::Table(MAIN_TABLE)));
        }
        for network in layout.networks.iter().filter(|_| is_ipv6) {
            let network = IpNet::V6(*network);
            rules.push(rule(1, Selector::To(network), Verdict::TableButDefault(MAIN_TABLE)));
            rules.push(rule(2, Selector::From(network), Verdict::Table(table)));
        }
        rules.push(rule(2, Selector::From(home.into()), Verdict::Table(table)));
        rules.push(rule(4, Selector::All, Verdict::TableButDefault(table)));
        rules.push(rule(5, Selector::All, Verdict::TableButDefault(MAIN_TABLE)));
        rules.push(rule(6, Selector::All, Verdict::Table(table)));
    }
    rules
}

/// A TUN device as the data path sees it: whole IP packets in and out.
#[derive(Clone)]
pub struct TunDevice(Arc<SyncDevice>);

impl TunDevice {
    /// Reads one packet.
    ///
    /// # Errors
    /// `WouldBlock` where there is none.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buf)
    }

    /// Writes one packet.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn write(&self, packet: &[u8]) -> io::Result<usize> {
        self.0.send(packet)
    }
}

impl AsFd for TunDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1500 - 48 = 1452 octets of UDP payload; header 8, IV, whole blocks, trailer 2, ICV 12.
    #[test]
    fn mtu_is_what_fits_and_never_under_1280() {
        assert_eq!(mtu(Suite::Aes128CbcSha, 1500), 1406);
        assert_eq!(mtu(Suite::Aes128CbcSha256, 1500), 1406);
        assert_eq!(mtu(Suite::TripleDesEdeCbcSha, 1500), 1422);
        assert_eq!(mtu(Suite::NullSha, 1500), 1430);
        // R-16: ICV 16.
        assert_eq!(mtu(Suite::Aes128Gcm, 1500), 1418);
        for suite in Suite::known() {
            assert_eq!(mtu(suite, 1280), 1280);
        }
    }

    #[test]
    fn a_family_without_a_home_address_is_left_alone() {
        let addresses = Addresses {
            home6: "2001:db8::7".parse().unwrap(),
            home4: None,
            outside: vec!["2001:db8:a::1".parse().unwrap(), "192.0.2.1".parse().unwrap()],
            mtu: 1280,
        };
        let mut layout =
            Layout { name: "tun".into(), table: 6618, routes: vec![], networks: vec![] };
        let plain = rules(&layout, &addresses);
        assert_eq!(plain.len(), 7);
        assert!(plain.iter().all(|rule| rule.is_ipv6));
        assert!(plain.iter().all(|rule| (6618..6618 + RULES).contains(&rule.priority)));
        layout.networks.push("2001:db8:a00::/56".parse().unwrap());
        let router = rules(&layout, &addresses);
        assert_eq!(router.len(), 9);
        assert!(router.iter().all(|rule| (6618..6618 + RULES).contains(&rule.priority)));
    }
}
