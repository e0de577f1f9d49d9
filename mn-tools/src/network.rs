//! Which ways lead to the home agent at the moment.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::netlink::{Change, Netlink};
use crate::path::{Path, is_care_of_address, rank};

/// The home agent, by its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HomeAgent {
    /// From IPv6 networks.
    pub ip6: Ipv6Addr,
    /// From IPv4 networks, where it has an address there.
    pub ip4: Option<Ipv4Addr>,
    /// UDP port.
    pub port: u16,
}

impl HomeAgent {
    /// Its socket addresses, IPv6 first.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let port = self.port;
        std::iter::once(SocketAddr::from((self.ip6, port)))
            .chain(self.ip4.map(|ip4| SocketAddr::from((ip4, port))))
            .collect()
    }
}

/// Gaps in the attachment of links and addresses; see [`Path::epoch`].
#[derive(Debug, Default)]
pub struct Gaps {
    links: HashMap<u32, u32>,
    addresses: HashMap<(u32, IpAddr), u32>,
}

impl Gaps {
    /// Remembers a change that is a gap.
    pub fn note(&mut self, change: Change) {
        let count = match change {
            Change::LinkDown(index) => self.links.entry(index).or_default(),
            Change::AddressGone(index, address) => {
                self.addresses.entry((index, address)).or_default()
            }
            Change::Other | Change::Missed | Change::RuleGone(_) | Change::RouteGone(_) => return,
        };
        *count = count.wrapping_add(1);
    }

    fn epoch(&self, index: u32, address: IpAddr) -> u32 {
        let link = self.links.get(&index).copied().unwrap_or_default();
        link.wrapping_add(self.addresses.get(&(index, address)).copied().unwrap_or_default())
    }
}

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The destination.
    pub home_agent: HomeAgent,
    /// Interfaces to use, the most wanted first; empty: all.
    pub interfaces: &'a [String],
    /// The tunnel's own interface by its index, which is no way to the home agent.
    pub tun: u32,
    /// The home addresses, which are no care-of addresses: while a link loses its own address but
    /// not yet its route, the kernel would send from one of them.
    pub homes: &'a [IpAddr],
    /// Firewall mark of outer packets.
    pub mark: u32,
}

/// The ways to the home agent, the most wanted first.
///
/// # Errors
/// As the kernel says.
pub fn paths(netlink: &mut Netlink, gaps: &Gaps, search: &Search<'_>) -> io::Result<Vec<Path>> {
    let mut paths = Vec::new();
    let mut by_default = Vec::new();
    let links = netlink.links()?;
    for home_agent in search.home_agent.addresses() {
        by_default.extend(source_address(home_agent, None, search.mark));
        for link in &links {
            let unwanted = link.is_loopback || !link.is_up || link.index == search.tun;
            if unwanted || !netlink.has_route(home_agent.ip(), link.index, search.mark)? {
                continue;
            }
            let Some(care_of) = source_address(home_agent, Some(&link.name), search.mark)
                .filter(|address| !search.homes.contains(address))
            else {
                continue;
            };
            paths.push(Path {
                interface: link.name.as_str().into(),
                index: link.index,
                epoch: gaps.epoch(link.index, care_of),
                care_of,
                home_agent,
            });
        }
    }
    rank(&mut paths, search.interfaces, &by_default);
    Ok(paths)
}

/// The address that the kernel would send from, over `interface` where one is given. No packet is
/// sent.
fn source_address(to: SocketAddr, interface: Option<&str>, mark: u32) -> Option<IpAddr> {
    let socket = outer_socket(to, interface, mark).ok()?;
    socket.connect(&to.into()).ok()?;
    let address = socket.local_addr().ok()?.as_socket()?.ip();
    is_care_of_address(address).then_some(address)
}

/// A UDP socket whose packets stay out of the tunnel.
///
/// # Errors
/// As the kernel says; the mark needs CAP_NET_ADMIN.
pub fn outer_socket(to: SocketAddr, interface: Option<&str>, mark: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    self::mark(&socket, mark)?;
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    Ok(socket)
}

/// Marks a socket's packets; 0: they need no mark, and no privilege either.
///
/// # Errors
/// As [`outer_socket`].
pub(crate) fn mark(socket: &Socket, mark: u32) -> io::Result<()> {
    if mark == 0 { Ok(()) } else { socket.set_mark(mark) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_changes_the_epoch_of_what_it_hit() {
        let (a, b): (IpAddr, IpAddr) =
            ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let mut gaps = Gaps::default();
        gaps.note(Change::Other);
        assert_eq!(gaps.epoch(3, a), 0);
        gaps.note(Change::AddressGone(3, a));
        assert_eq!((gaps.epoch(3, a), gaps.epoch(3, b), gaps.epoch(4, a)), (1, 0, 0));
        gaps.note(Change::LinkDown(3));
        assert_eq!((gaps.epoch(3, a), gaps.epoch(3, b), gaps.epoch(4, a)), (2, 1, 0));
    }
}
