//! The TUN device with the home addresses, and the routing that leads into it.
//!
//! ```text
//!   priority   who                        what
//!   table      with our mark              goes on behind these rules: outer packets and the
//!                                         connection to the HAC, as if there were no tunnel
//!   table+1    to a mobile network        main, routes longer than the default: its own links
//!   table+2    from a home address or a   table: all of it goes through the tunnel, the outer
//!              mobile network             packets of mobile nodes behind a mobile router too
//!   table+3    to home agent and HAC, to  main; reverse path checks of outer packets look here
//!              what YAML excludes
//!   table+4    all                        table, routes longer than the default
//!   table+5    to routes of YAML longer   fail-closed: unreachable, as the tunnel is not there
//!              than the default
//!   table+6    all                        main, routes longer than the default (visited links)
//!   table+7    all                        table
//!   table+8    all                        fail-closed with a default route: unreachable
//!   table+9                               where marked packets go on
//! ```
//!
//! Fail-closed rules are there from before the first bootstrap until `down`, and stay when the
//! process is killed, while the routes in the table go with the TUN.
//!
//! What of a mobile network prefix is on no link of ours is unreachable by a route in the table:
//! it must not go back into the tunnel that it came from (RFC 3963 s.5.5).

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use hearth_wire::{Suite, frame};
use ipnet::{IpNet, Ipv6Net};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::claim::{Claim, ClaimError};
use crate::netlink::{Change, MAIN_TABLE, Netlink, Rule, Selector, Verdict};

mod rest;

/// Rules that a node may own, counted from its table's number.
const RULES: u32 = 10;
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
    /// Prefixes that stay outside, whatever the routes say.
    pub exclude: Vec<IpNet>,
    /// What belongs into the tunnel goes nowhere else while there is none.
    pub fail_closed: bool,
    /// Mobile network prefixes, if this is a mobile router.
    pub networks: Vec<Ipv6Net>,
}

impl Layout {
    /// Priorities of the rules.
    fn rules(&self) -> Range<u32> {
        priorities(self.table)
    }

    /// Whether packets of a family may need rules before there is a home address of it.
    fn closes(&self, is_ipv6: bool) -> bool {
        self.fail_closed && self.routes.iter().any(|route| route.addr().is_ipv6() == is_ipv6)
    }

    /// The routes of families that have a home address, with that.
    fn routes_from(&self, addresses: &Addresses) -> Vec<(IpNet, IpAddr)> {
        let with_source = |route: &IpNet| {
            let is_ipv6 = route.addr().is_ipv6();
            Some((*route, addresses.homes().find(|home| home.is_ipv6() == is_ipv6)?))
        };
        // RFC 6618 s.5.7.4: they are reached by the home agent.
        let dns: Vec<IpNet> = addresses.dns.iter().map(|server| IpNet::from(*server)).collect();
        self.routes.iter().chain(&dns).filter_map(with_source).collect()
    }
}

fn priorities(table: u32) -> Range<u32> {
    table..table.saturating_add(RULES)
}

/// Removes the rules and unreachable routes that a killed node with this table left.
///
/// # Errors
/// A node runs with these numbers, or as the kernel says.
pub fn clean(table: u32, networks: &[Ipv6Net]) -> Result<(), CreateError> {
    let _claim = Claim::new(priorities(table))?;
    let mut netlink = Netlink::open()?;
    netlink.delete_rules(priorities(table), &[])?;
    for network in networks {
        netlink.delete_unreachable(table, IpNet::V6(*network))?;
    }
    Ok(())
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
    /// DNS servers that are reached through the tunnel.
    pub dns: Vec<IpAddr>,
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

/// What other programs did to the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Nothing, or nothing that is not made good.
    None,
    /// The device was deleted; there is another one now.
    NewDevice,
}

/// The device with everything that leads into it. Dropping it takes all of it away.
pub struct Tun {
    layout: Layout,
    netlink: Netlink,
    device: TunDevice,
    index: u32,
    /// What is set up now.
    current: Option<Addresses>,
    /// What is set up again when the node leaves its home link.
    resting: Option<Addresses>,
    /// The rules that are to be there.
    rules: Vec<Rule>,
    // Last: the numbers are free when nothing of ours is under them any more.
    _claim: Claim,
}

impl Tun {
    /// Makes the device, without address and down. What an earlier node with the same table left
    /// behind is removed, once it is certain that no other node runs here with these numbers and
    /// that the device is ours: until then nothing is touched. Where the layout is fail-closed there
    /// is no moment in which it is open.
    ///
    /// # Errors
    /// Another node runs with these numbers, or as the kernel says.
    pub fn create(layout: Layout) -> Result<Self, CreateError> {
        let claim = Claim::new(layout.rules())?;
        let mut netlink = Netlink::open()?;
        let is_there = netlink.index_of(&layout.name).is_ok();
        let device = make_device(&layout.name, is_there)?;
        let rules = rules(&layout, None);
        for rule in &rules {
            netlink.add_rule(rule)?;
        }
        netlink.delete_rules(layout.rules(), &rules)?;
        for network in &layout.networks {
            netlink.delete_unreachable(layout.table, IpNet::V6(*network))?;
        }
        let index = netlink.index_of(&layout.name)?;
        Ok(Self {
            layout,
            netlink,
            device,
            index,
            current: None,
            resting: None,
            rules,
            _claim: claim,
        })
    }

    /// The device, for the threads of the data path.
    #[must_use]
    pub fn device(&self) -> TunDevice {
        self.device.clone()
    }

    /// Its index, which a new name does not change.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Sets up (or changes to) these addresses, with routes and rules.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn configure(&mut self, addresses: &Addresses) -> io::Result<()> {
        if self.current.as_ref() == Some(addresses) {
            return Ok(());
        }
        let mtu = u32::try_from(addresses.mtu).unwrap_or(u32::from(u16::MAX));
        self.netlink.bring_up(self.index, mtu)?;
        if let Some(old) = self.current.take() {
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
        let rules = rules(&self.layout, Some(addresses));
        for rule in &rules {
            self.netlink.add_rule(rule)?;
        }
        for stale in self.rules.iter().filter(|old| !rules.contains(old)) {
            self.netlink.delete_rule(stale)?;
        }
        self.rules = rules;
        self.current = Some(addresses.clone());
        Ok(())
    }

    /// Puts back what somebody else removed (a network manager that tidies up): rules and routes,
    /// without which what belongs into the tunnel would leave in the clear, and the device itself.
    pub fn heed(&mut self, changes: &[Change]) -> Harm {
        let (table, priorities) = (self.layout.table, self.layout.rules());
        if changes.contains(&Change::LinkDown(self.index)) && self.is_harmed() {
            return self.revive();
        }
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
        Harm::None
    }

    /// Whether the device is gone, or down although it was set up. (The kernel also tells of a link that
    /// is down while it is being brought up.)
    fn is_harmed(&mut self) -> bool {
        let Ok(links) = self.netlink.links() else { return false };
        match links.iter().find(|link| link.index == self.index) {
            Some(link) => self.current.is_some() && !link.is_up,
            None => true,
        }
    }

    /// The device was brought down or deleted: up again, or another one.
    fn revive(&mut self) -> Harm {
        match self.try_revive() {
            Ok(Harm::None) => {
                tracing::warn!("the tunnel's device was brought down by another program; it is up");
                Harm::None
            }
            Ok(Harm::NewDevice) => {
                tracing::warn!("the tunnel's device was deleted by another program; it is back");
                Harm::NewDevice
            }
            Err(error) => {
                tracing::error!(%error, "the tunnel's device is gone and can't be made again");
                Harm::None
            }
        }
    }

    fn try_revive(&mut self) -> io::Result<Harm> {
        let is_there = self.netlink.links()?.iter().any(|link| link.index == self.index);
        if !is_there {
            self.device = make_device(&self.layout.name, false)?;
            self.index = self.netlink.index_of(&self.layout.name)?;
        }
        if let Some(addresses) = self.current.take() {
            self.configure(&addresses)?;
        }
        Ok(if is_there { Harm::None } else { Harm::NewDevice })
    }

    /// Puts back what is missing of rules and routes; how many there were.
    fn restore(&mut self) -> io::Result<usize> {
        let mut restored = 0;
        for rule in &self.rules {
            restored += usize::from(self.netlink.add_rule(rule)?);
        }
        let Some(addresses) = &self.current else { return Ok(restored) };
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

/// Queues of a device, each with a thread of its own.
const MAX_QUEUES: usize = 4;

/// A device without an address, down. One that `is_there` already must not get queues of ours beside
/// those of its owner.
fn make_device(name: &str, is_there: bool) -> io::Result<TunDevice> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let queues = if is_there { 1 } else { cores.min(MAX_QUEUES) };
    let make = |several, offload| {
        let builder = DeviceBuilder::new().name(name).enable(false);
        let builder = builder.with(|options| {
            options.offload(offload).multi_queue(several);
        });
        builder.build_sync()
    };
    // A kernel without offloads or queues refuses them; whatever else is wrong, it says again.
    let made = if queues > 1 { make(true, true) } else { make(false, true) };
    let made = made.or_else(|_| make(false, true)).or_else(|_| make(false, false));
    let first = made.map_err(|error| match error.kind() {
        // Another program's device has several queues.
        io::ErrorKind::InvalidInput if is_there => io::ErrorKind::ResourceBusy.into(),
        _ => error,
    })?;
    // Without several queues there is this one.
    let more: Vec<_> = (1..queues).map_while(|_| first.try_clone().ok()).collect();
    let all: Arc<[_]> = [first].into_iter().chain(more).map(Arc::new).collect();
    for queue in &*all {
        queue.set_nonblocking(true)?;
    }
    // A router solicitation or a multicast report of the kernel's own has nothing to say here.
    let conf = format!("/proc/sys/net/ipv6/conf/{name}");
    for (key, value) in [("addr_gen_mode", "1"), ("accept_ra", "0")] {
        let _ = std::fs::write(format!("{conf}/{key}"), value);
    }
    let queue = all.first().map(Arc::clone).ok_or(io::ErrorKind::NotFound)?;
    Ok(TunDevice { queue, all })
}

impl Drop for Tun {
    fn drop(&mut self) {
        // Addresses and routes go with the device; it goes when the last thread has let it go.
        let _ = self.netlink.delete_rules(self.layout.rules(), &[]);
        for network in &self.layout.networks {
            let _ = self.netlink.delete_unreachable(self.layout.table, IpNet::V6(*network));
        }
    }
}

/// The rules of the table above, for the families that have a home address, or must be closed.
fn rules(layout: &Layout, addresses: Option<&Addresses>) -> Vec<Rule> {
    [true, false].into_iter().flat_map(|is_ipv6| rules_of(layout, addresses, is_ipv6)).collect()
}

fn rules_of(layout: &Layout, addresses: Option<&Addresses>, is_ipv6: bool) -> Vec<Rule> {
    let home = addresses.and_then(|it| it.homes().find(|home| home.is_ipv6() == is_ipv6));
    let closes = layout.closes(is_ipv6);
    if home.is_none() && !closes {
        return Vec::new();
    }
    let table = layout.table;
    let rule = |offset, selector, verdict| Rule {
        priority: table.saturating_add(offset),
        selector,
        is_ipv6,
        verdict,
    };
    // What keeps outer packets out of the tunnel comes first, its target before it.
    let mut rules = vec![
        rule(9, Selector::All, Verdict::Nop),
        rule(0, Selector::Marked(table), Verdict::Goto(table.saturating_add(9))),
    ];
    let outside = addresses.map_or(&[][..], |it| &it.outside).iter().map(|it| IpNet::from(*it));
    for prefix in outside.chain(layout.exclude.iter().copied()) {
        if prefix.addr().is_ipv6() == is_ipv6 {
            rules.push(rule(3, Selector::To(prefix), Verdict::Table(MAIN_TABLE)));
        }
    }
    if let Some(home) = home {
        for network in layout.networks.iter().filter(|_| is_ipv6) {
            let network = IpNet::V6(*network);
            rules.push(rule(1, Selector::To(network), Verdict::TableButDefault(MAIN_TABLE)));
            rules.push(rule(2, Selector::From(network), Verdict::Table(table)));
        }
        rules.push(rule(2, Selector::From(home.into()), Verdict::Table(table)));
    }
    rules.push(rule(4, Selector::All, Verdict::TableButDefault(table)));
    rules.push(rule(6, Selector::All, Verdict::TableButDefault(MAIN_TABLE)));
    rules.push(rule(7, Selector::All, Verdict::Table(table)));
    for route in layout.routes.iter().filter(|it| closes && it.addr().is_ipv6() == is_ipv6) {
        let closing = match route.prefix_len() {
            0 => rule(8, Selector::All, Verdict::Unreachable),
            _ => rule(5, Selector::To(*route), Verdict::Unreachable),
        };
        rules.push(closing);
    }
    rules
}

/// A queue of the TUN device as the data path sees it: whole IP packets in and out; with offloads
/// several of a stream in one piece, behind a `struct virtio_net_hdr` each.
#[derive(Clone)]
pub struct TunDevice {
    queue: Arc<SyncDevice>,
    /// All queues of the device, this one among them.
    all: Arc<[Arc<SyncDevice>]>,
}

impl TunDevice {
    /// Whether packets have a `struct virtio_net_hdr` in front and come in trains.
    #[must_use]
    pub fn has_offload(&self) -> bool {
        self.queue.tcp_gso()
    }

    /// All queues of the device.
    pub fn queues(&self) -> impl Iterator<Item = Self> + '_ {
        self.all.iter().map(|queue| Self { queue: Arc::clone(queue), all: Arc::clone(&self.all) })
    }

    /// Reads one packet or train.
    ///
    /// # Errors
    /// `WouldBlock` where there is none.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.queue.recv(buf)
    }

    /// Writes one packet or train; its parts are a `struct virtio_net_hdr`, which a device without
    /// offloads does not get, and what follows it. The kernel hands what a flow answers to the queue
    /// that the flow came by, so flows are spread over all of them.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let at = spread(parts.get(1).map_or(&[], |packet| packet)) % self.all.len().max(1);
        let queue = self.all.get(at).unwrap_or(&self.queue);
        let parts = if self.has_offload() { parts } else { parts.get(1..).unwrap_or_default() };
        Ok(rustix::io::writev(queue, parts)?)
    }
}

/// A number that the packets of a flow have in common: addresses and ports, mixed.
fn spread(packet: &[u8]) -> usize {
    let flow = match packet.first().map(|octet| octet >> 4) {
        Some(4) => 12..24,
        _ => 8..44,
    };
    let words = packet.get(flow).unwrap_or_default().as_chunks().0;
    let mix =
        |sum: u32, word: &[u8; 4]| (sum ^ u32::from_ne_bytes(*word)).wrapping_mul(0x0100_0193);
    // The upper half depends on all of it.
    usize::try_from(words.iter().fold(0x811c_9dc5, mix) >> 16).unwrap_or_default()
}

impl AsFd for TunDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
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

    fn layout() -> Layout {
        Layout {
            name: "tun".into(),
            table: 6618,
            routes: vec!["::/0".parse().unwrap(), "0.0.0.0/0".parse().unwrap()],
            exclude: vec![],
            fail_closed: false,
            networks: vec![],
        }
    }

    fn addresses() -> Addresses {
        Addresses {
            home6: "2001:db8::7".parse().unwrap(),
            home4: None,
            outside: vec!["2001:db8:a::1".parse().unwrap(), "192.0.2.1".parse().unwrap()],
            dns: vec![],
            mtu: 1280,
        }
    }

    #[test]
    fn a_family_without_a_home_address_is_left_alone() {
        let (mut layout, addresses) = (layout(), addresses());
        let plain = rules(&layout, Some(&addresses));
        assert_eq!(plain.len(), 7);
        assert!(plain.iter().all(|rule| rule.is_ipv6));
        assert!(plain.iter().all(|rule| (6618..6618 + RULES).contains(&rule.priority)));
        assert_eq!(rules(&layout, None), []);
        layout.networks.push("2001:db8:a00::/56".parse().unwrap());
        let router = rules(&layout, Some(&addresses));
        assert_eq!(router.len(), 9);
        assert!(router.iter().all(|rule| (6618..6618 + RULES).contains(&rule.priority)));
        layout.exclude = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8:e::/48".parse().unwrap()];
        let excluding = rules(&layout, Some(&addresses));
        let to = Selector::To("2001:db8:e::/48".parse().unwrap());
        assert!(excluding.iter().any(|rule| rule.selector == to && rule.priority == 6621));
        assert_eq!(excluding.len(), 10);
    }

    /// Both families, before there is any home address; only what has a route.
    #[test]
    fn fail_closed_rules_are_there_from_the_beginning() {
        let mut layout = Layout { fail_closed: true, ..layout() };
        for addresses in [None, Some(&addresses())] {
            let closing = |is_ipv6| {
                let all = rules(&layout, addresses);
                let last = all.iter().filter(|rule| rule.is_ipv6 == is_ipv6).max_by_key(|rule| {
                    if rule.verdict == Verdict::Nop { 0 } else { rule.priority }
                });
                last.map(|rule| (rule.priority, rule.verdict))
            };
            assert_eq!(closing(true), Some((6626, Verdict::Unreachable)));
            assert_eq!(closing(false), Some((6626, Verdict::Unreachable)));
        }
        layout.routes = vec!["192.0.2.0/24".parse().unwrap()];
        let some = rules(&layout, None);
        assert!(some.iter().all(|rule| !rule.is_ipv6));
        let closing = some.iter().find(|rule| rule.verdict == Verdict::Unreachable).unwrap();
        // Before the routes of visited links, which could be longer.
        assert_eq!((closing.priority, closing.selector), (6623, Selector::To(layout.routes[0])));
    }
}
