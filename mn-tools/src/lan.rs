//! The LAN interfaces of a mobile router: its addresses there, and whether it forwards at all.
//!
//! Read first: RFC 3963 s.5.5, 5.6.
//!
//! Router advertisements are another program's (radvd). An address that is there already is its
//! giver's and stays.

use std::fs;
use std::io;
use std::path::Path;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::netlink::{Change, Netlink};

/// An address of the mobile router in one of its mobile networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanAddress {
    /// The interface that the mobile network is on.
    pub interface: String,
    /// The address, with the length of the link's prefix.
    pub address: Ipv6Net,
}

/// The addresses as they are set. Dropping it takes away those that it set.
pub struct Lan {
    wanted: Vec<LanAddress>,
    set: Vec<LanAddress>,
    /// What kept the last one from being set, so that it is told once.
    trouble: Option<String>,
}

impl Lan {
    /// Sets nothing yet.
    #[must_use]
    pub const fn new(wanted: Vec<LanAddress>) -> Self {
        Self { wanted, set: Vec::new(), trouble: None }
    }

    /// Sets what is missing; the addresses that are ours where there is one more. An interface that
    /// is not there yet gets its address when it comes.
    pub fn set(&mut self, netlink: &mut Netlink) -> Option<&[LanAddress]> {
        if self.wanted.is_empty() {
            return None;
        }
        let (mut more, mut trouble) = (false, None);
        for lan in &self.wanted {
            let LanAddress { interface, address } = lan;
            let added = netlink
                .index_of(interface)
                .and_then(|index| netlink.add_network_address(index, *address));
            match added {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(%interface, %address, "address in the mobile network set");
                    if !self.set.contains(lan) {
                        self.set.push(lan.clone());
                        more = true;
                    }
                }
                Err(error) => {
                    trouble = Some(format!("{address} can't be set on {interface}: {error}"));
                }
            }
        }
        if let Some(trouble) = trouble.as_ref().filter(|it| self.trouble.as_ref() != Some(it)) {
            tracing::warn!("{trouble}; tried again when the network changes");
        }
        self.trouble = trouble;
        more.then_some(&self.set)
    }

    /// Sets again what another program took away, or what an interface came without.
    pub fn heed(&mut self, changes: &[Change], netlink: &mut Netlink) -> Option<&[LanAddress]> {
        let may_matter = |change: &Change| {
            matches!(change, Change::AddressGone(..) | Change::Missed | Change::Other)
        };
        if changes.iter().any(may_matter) { self.set(netlink) } else { None }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        if let Err(error) = take_away(&self.set) {
            tracing::warn!(%error, "an address in the mobile network can't be taken away");
        }
    }
}

/// Takes addresses away; one that is gone, with its interface or alone, is no error.
///
/// # Errors
/// As the kernel says, of the last that stays.
pub fn take_away(addresses: &[LanAddress]) -> io::Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    let mut netlink = Netlink::open()?;
    let mut outcome = Ok(());
    for LanAddress { interface, address } in addresses {
        let gone = netlink
            .index_of(interface)
            .and_then(|index| netlink.delete_network_address(index, *address));
        match gone {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::AddrNotAvailable
                ) =>
            {
                outcome = Err(error);
            }
            _ => {}
        }
    }
    outcome
}

/// What keeps this host from being the router that it is to be. `visited` are the interfaces to use
/// (empty: all), `own` those that visit nothing; `sysctls` is /proc/sys/net/ipv6/conf.
#[must_use]
pub fn advice(sysctls: &Path, visited: &[&str], own: &[&str]) -> Vec<String> {
    let value = |interface: &str, key: &str| -> Option<u8> {
        fs::read_to_string(sysctls.join(interface).join(key)).ok()?.trim().parse().ok()
    };
    if value("all", "forwarding") == Some(0) {
        return vec![
            "net.ipv6.conf.all.forwarding is 0: nothing is forwarded between the mobile networks and \
             the tunnel; set it to 1, and net.ipv6.conf.INTERFACE.accept_ra to 2 where a visited \
             network gives addresses by router advertisements"
                .to_owned(),
        ];
    }
    let mut interfaces: Vec<String> = visited.iter().map(|name| (*name).to_owned()).collect();
    if interfaces.is_empty() {
        let entries = fs::read_dir(sysctls).into_iter().flatten().flatten();
        interfaces.extend(entries.filter_map(|entry| entry.file_name().into_string().ok()));
        interfaces.retain(|name| {
            !["all", "default", "lo"].contains(&name.as_str()) && !own.contains(&name.as_str())
        });
        interfaces.sort();
    }
    // A router hears no router advertisements unless it is told to (Linux, ip-sysctl: accept_ra).
    let deaf = interfaces.iter().filter(|interface| {
        value(interface, "forwarding") == Some(1) && value(interface, "accept_ra") == Some(1)
    });
    deaf.map(|interface| {
        format!(
            "net.ipv6.conf.{interface}.accept_ra is 1: where the kernel takes addresses from router \
             advertisements it takes none on a router; 2 has it do so"
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_does_not_forward_or_hears_no_advertisements_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let sysctls = folder.path();
        let set = |interface: &str, forwarding: &str, accept_ra: &str| {
            fs::create_dir_all(sysctls.join(interface)).unwrap();
            fs::write(sysctls.join(interface).join("forwarding"), format!("{forwarding}\n"))
                .unwrap();
            fs::write(sysctls.join(interface).join("accept_ra"), format!("{accept_ra}\n")).unwrap();
        };
        set("all", "0", "1");
        set("eth0", "1", "1");
        let said = advice(sysctls, &[], &[]);
        assert!(said.len() == 1 && said[0].contains("conf.all.forwarding is 0"), "{said:?}");
        set("all", "1", "1");
        for (interface, accept_ra) in [("default", "1"), ("wlan0", "2"), ("lan0", "1"), ("lo", "1")]
        {
            set(interface, "1", accept_ra);
        }
        let said = advice(sysctls, &[], &["lan0"]);
        assert!(said.len() == 1 && said[0].contains("conf.eth0.accept_ra is 1"), "{said:?}");
        assert_eq!(advice(sysctls, &["wlan0", "gone0"], &[]), Vec::<String>::new());
        assert_eq!(advice(sysctls, &["eth0"], &[]).len(), 1);
        set("eth0", "0", "1");
        assert_eq!(advice(sysctls, &[], &["lan0"]), Vec::<String>::new(), "a host's link");
    }
}
