//! On the home link: the home address on the interface, the tunnel at rest, neighbours told (RFC 6275
//! s.11.5.5).

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::Node;
use crate::path::Path;

/// MAX_NEIGHBOR_ADVERTISEMENT and RetransTimer (RFC 4861 s.10).
const ADVERTISEMENTS: u32 = 3;
const BETWEEN: Duration = Duration::from_secs(1);

/// The home address stands on an interface of the home link.
#[derive(Debug)]
pub(super) struct Stay {
    index: u32,
    interface: String,
    home: Ipv6Addr,
    announcements: u32,
    announce_at: Option<Instant>,
}

impl Stay {
    /// The home address, and the interface that it stands on: by index and name.
    pub(super) fn door(&self) -> (Ipv6Addr, u32, String) {
        (self.home, self.index, self.interface.clone())
    }
}

impl Node {
    /// Looks whether the home prefix is on one of the links that lead to the home agent.
    pub(super) fn look_for_home(&mut self, paths: &[Path], now: Instant) {
        if !self.config.home_link || self.stops > 0 {
            return;
        }
        let Some(home) = self.held.last().map(|held| held.sa.home_address) else { return };
        let links = match self.netlink.links_with(home) {
            Ok(links) => links,
            Err(error) => return tracing::warn!(%error, "the home link can't be looked for"),
        };
        if let Some(stay) = &self.stay {
            // The home address there may have become the source towards the home agent.
            if stay.home == home && links.contains(&stay.index) {
                return;
            }
            self.leave_home();
        }
        let door = paths.iter().find(|path| path.care_of.is_ipv6() && links.contains(&path.index));
        let found = door.map(|door| (Path { care_of: home.into(), ..door.clone() }, door.clone()));
        if let Some((_, door)) = &found {
            tracing::info!(interface = %door.interface, "the home prefix is on this link");
        }
        self.registration.on_home(found, now);
    }

    /// Puts the home address on the home link's interface, where the path begins there: without
    /// duplicate address detection, as the home agent still defends it.
    pub(super) fn settle(&mut self, path: &Path) -> io::Result<()> {
        let ours = self.held.iter().any(|held| IpAddr::V6(held.sa.home_address) == path.care_of);
        let (true, IpAddr::V6(home)) = (ours, path.care_of) else { return Ok(()) };
        self.netlink.add_address(path.index, path.care_of)?;
        self.stay = Some(Stay {
            index: path.index,
            interface: path.interface.to_string(),
            home,
            announcements: 0,
            announce_at: None,
        });
        Ok(())
    }

    /// The home agent has stopped: packets go by the home link, and its hosts are told.
    pub(super) fn arrive_home(&mut self, now: Instant) {
        if let Err(error) = self.tun.rest() {
            tracing::error!(%error, "the tunnel can't be put to rest");
        }
        if let Some(stay) = &mut self.stay {
            stay.announcements = ADVERTISEMENTS;
            stay.announce_at = Some(now);
        }
        self.announce(now);
    }

    /// The home link is gone, or the node stops: the home address leaves the interface.
    pub(super) fn leave_home(&mut self) {
        let Some(stay) = self.stay.take() else { return };
        // With its link it may have gone already.
        let _ = self.netlink.delete_address(stay.index, stay.home.into());
        self.registration.on_home(None, Instant::now());
        if self.stops > 0 {
            return;
        }
        if let Err(error) = self.tun.wake() {
            tracing::error!(%error, "the tunnel can't be set up again");
        }
    }

    pub(super) fn announce_at(&self) -> Option<Instant> {
        self.stay.as_ref().and_then(|stay| stay.announce_at)
    }

    /// Advertises the interface's link-layer address for the home address to all nodes.
    pub(super) fn announce(&mut self, now: Instant) {
        let Some(stay) = self.stay.as_mut() else { return };
        if stay.announce_at.is_none_or(|at| at > now) {
            return;
        }
        stay.announcements = stay.announcements.saturating_sub(1);
        stay.announce_at = (stay.announcements > 0).then(|| now + BETWEEN);
        let told = self.netlink.link_layer_address(stay.index).and_then(|mac| match mac {
            Some(mac) => advertise(&stay.interface, stay.index, stay.home, mac),
            // A link without such addresses has nobody to be told.
            None => Ok(()),
        });
        if let Err(error) = told {
            tracing::warn!(%error, "hosts on the home link are not told of the home address");
        }
    }
}

/// An unsolicited Neighbor Advertisement (RFC 4861 s.4.4): S clear, O set, with the Target Link-Layer
/// Address option. The kernel puts the checksum in.
fn advertise(interface: &str, index: u32, home: Ipv6Addr, mac: [u8; 6]) -> io::Result<()> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_multicast_hops_v6(255)?;
    socket.bind(&SocketAddrV6::new(home, 0, 0, 0).into())?;
    let to = SocketAddrV6::new(ALL_NODES, 0, 0, index);
    socket.send_to(&advertisement(home, mac), &to.into()).map(drop)
}

fn advertisement(home: Ipv6Addr, mac: [u8; 6]) -> [u8; 32] {
    let mut message = [0; 32];
    message[0] = 136;
    message[4] = 0x20;
    message[8..24].copy_from_slice(&home.octets());
    message[24] = 2;
    message[25] = 1;
    message[26..32].copy_from_slice(&mac);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advertisement_overrides_and_was_not_asked_for() {
        let home: Ipv6Addr = "2001:db8:b:1::10".parse().unwrap();
        let octets = advertisement(home, [2, 0, 0, 0, 0, 7]);
        // Type, code, checksum of the kernel's, flags: O alone.
        assert_eq!(octets[..8], [136, 0, 0, 0, 0x20, 0, 0, 0]);
        assert_eq!(octets[8..24], home.octets());
        // Target Link-Layer Address, one unit of eight octets.
        assert_eq!(octets[24..], [2, 1, 2, 0, 0, 0, 0, 7]);
    }
}
