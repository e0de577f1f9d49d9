//! Multicast groups that mobile nodes listen to, as the kernel knows them: it joins them on the
//! ports that YAML names, so that routers and switches there send their packets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, socket, sockopt};

/// Groups that were joined. A socket for each port and group: a kernel lets one be in few groups
/// (`net.ipv4.igmp_max_memberships`), and closing it leaves them.
#[derive(Debug, Default)]
pub struct Groups {
    joined: HashMap<IpAddr, Vec<OwnedFd>>,
}

impl Groups {
    /// Joins `group` on these interfaces, or leaves it where nobody listens any more.
    ///
    /// # Errors
    /// The kernel refuses it; then it is joined nowhere.
    pub fn set(&mut self, group: IpAddr, interfaces: &[u32], any: bool) -> io::Result<()> {
        if !any {
            self.joined.remove(&group);
            return Ok(());
        }
        if let Entry::Vacant(place) = self.joined.entry(group) {
            let sockets = interfaces.iter().map(|interface| join(group, *interface));
            place.insert(sockets.collect::<io::Result<_>>()?);
        }
        Ok(())
    }
}

fn join(group: IpAddr, interface: u32) -> io::Result<OwnedFd> {
    let family = if group.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket(family, SocketType::DGRAM, None)?;
    match group {
        IpAddr::V6(group) => sockopt::set_ipv6_add_membership(&socket, &group, interface)?,
        IpAddr::V4(group) => {
            let any = Ipv4Addr::UNSPECIFIED;
            sockopt::set_ip_add_membership_with_ifindex(&socket, &group, &any, interface)?;
        }
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Whether the kernel is in a group on the loopback interface.
    fn is_in(file: &str, group: &str) -> bool {
        fs::read_to_string(file).unwrap().to_lowercase().contains(group)
    }

    #[test]
    fn the_kernel_joins_and_leaves() {
        let mut groups = Groups::default();
        let (ipv6, ipv4) = ("ff0e::6618:1".parse().unwrap(), "233.252.0.66".parse().unwrap());
        let is_in = || {
            let v6 = is_in("/proc/self/net/igmp6", "ff0e0000000000000000000066180001");
            // In the order of its octets in memory.
            (v6, is_in("/proc/self/net/igmp", "4200fce9"))
        };
        for (any, expected) in [(true, true), (true, true), (false, false)] {
            groups.set(ipv6, &[1], any).unwrap();
            groups.set(ipv4, &[1], any).unwrap();
            assert_eq!(is_in(), (expected, expected));
        }
        assert!(groups.set(ipv6, &[u32::MAX >> 1], true).is_err());
        assert!(groups.joined.is_empty());
    }
}
