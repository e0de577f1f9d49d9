//! The kernel's neighbours, and what it is asked to do, by netlink.
//!
//! The kernel is the box's slow path: a next hop whose link-layer address is unknown is resolved by
//! it on request (`NTF_USE`). Its routes come another way ([`crate::route_watch`]).

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use tracing::{info, warn};

use crate::kernel_neighbour::Neighbour;
use crate::netlink::{Netlink, Notifications};

/// The multicast groups of interfaces and of neighbours (`RTNLGRP_LINK`, `RTNLGRP_NEIGH`).
const GROUPS: [u32; 2] = [1, 3];

/// What changed in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A neighbour's link-layer address is known, or no longer.
    Neighbour {
        /// The port.
        port: u16,
        /// The neighbour.
        address: IpAddr,
        /// Its MAC address.
        mac: Option<[u8; 6]>,
        /// The kernel gave up looking for it.
        failed: bool,
    },
}

/// The connection to the kernel.
pub struct Kernel {
    monitor: Netlink,
    pub(crate) command: Netlink,
    ports: HashMap<u32, u16>,
    /// The MAC addresses that the TAPs have to have, in the order of the ports: those of the devices.
    macs: Vec<[u8; 6]>,
}

impl Kernel {
    /// Connects; `interfaces` are the kernel's numbers of the TAPs, in the order of the ports, and
    /// `macs` their addresses.
    ///
    /// # Errors
    /// Netlink is not to be had.
    pub fn connect(
        interfaces: impl IntoIterator<Item = u32>,
        macs: &[[u8; 6]],
    ) -> io::Result<Self> {
        let mut kernel = Self {
            monitor: Netlink::for_notifications(&GROUPS)?,
            command: Netlink::for_requests()?,
            ports: interfaces.into_iter().zip(0..).collect(),
            macs: macs.to_vec(),
        };
        kernel.keep_all_macs()?;
        Ok(kernel)
    }

    /// Looks at all interfaces.
    fn keep_all_macs(&mut self) -> io::Result<()> {
        let mut links = Vec::new();
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.command.dump(request, |message| {
            if let RouteNetlinkMessage::NewLink(message) = message {
                links.push(message);
            }
        })?;
        links.iter().for_each(|link| self.keep_mac(link));
        Ok(())
    }

    /// Gives a TAP the address of its device again where it has another one. udev gives a new interface one
    /// of its own choice (systemd.link(5), MACAddressPolicy), and may be later than this daemon; neighbours
    /// would send to an address that the NIC does not take.
    fn keep_mac(&mut self, link: &LinkMessage) {
        let index = link.header.index;
        let Some(mac) = self.ports.get(&index).and_then(|port| self.macs.get(usize::from(*port)))
        else {
            return;
        };
        let has = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(octets) => Some(octets.as_slice()),
            _ => None,
        });
        if has.is_none_or(|has| has == mac) {
            return;
        }
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Address(mac.to_vec()));
        match self.command.change(RouteNetlinkMessage::SetLink(message), 0) {
            Ok(()) => info!(interface = index, "a TAP has the address of its device again"),
            Err(error) => {
                warn!(%error, interface = index, "a TAP keeps an address that is not its device's");
            }
        }
    }

    /// Everything as it is now.
    ///
    /// # Errors
    /// The kernel did not answer.
    pub fn snapshot(&mut self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        let ports = &self.ports;
        self.command.dump(request, |message| {
            if let RouteNetlinkMessage::NewNeighbour(message) = message {
                changes.extend(neighbour(ports, &message, false));
            }
        })?;
        Ok(changes)
    }

    /// What changed since the last call.
    ///
    /// # Errors
    /// The kernel did not answer.
    pub fn changes(&mut self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        loop {
            match self.monitor.notifications()? {
                Notifications::None => return Ok(changes),
                // The kernel had more to say than the socket could hold: look at everything.
                Notifications::Overrun => {
                    self.keep_all_macs()?;
                    return self.snapshot();
                }
                Notifications::Some(messages) => {
                    for message in &messages {
                        if let RouteNetlinkMessage::NewLink(link) = message {
                            self.keep_mac(link);
                        }
                    }
                    changes.extend(messages.iter().filter_map(|message| match message {
                        RouteNetlinkMessage::NewNeighbour(message) => {
                            neighbour(&self.ports, message, false)
                        }
                        RouteNetlinkMessage::DelNeighbour(message) => {
                            neighbour(&self.ports, message, true)
                        }
                        _ => None,
                    }));
                }
            }
        }
    }

    /// Asks the kernel to find the link-layer address of `address` on `port`; the answer comes as
    /// a [`Change::Neighbour`].
    ///
    /// # Errors
    /// The kernel refused.
    pub fn resolve(&mut self, port: u16, address: IpAddr) -> io::Result<()> {
        let Some((&index, _)) = self.ports.iter().find(|(_, of)| **of == port) else {
            return Ok(());
        };
        let mut neighbour = NeighbourMessage::default();
        neighbour.header.family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        neighbour.header.ifindex = index;
        neighbour.header.state = NeighbourState::None;
        neighbour.header.flags = NeighbourFlags::Use;
        neighbour.attributes.push(NeighbourAttribute::Destination(address.into()));
        let message = RouteNetlinkMessage::NewNeighbour(neighbour);
        self.command.change(message, NLM_F_CREATE)
    }

    /// All neighbours on the links of the ports as they are now.
    ///
    /// # Errors
    /// The kernel did not answer.
    pub fn neighbours(&mut self) -> io::Result<Vec<Neighbour>> {
        let mut found = Vec::new();
        let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        let Self { command, ports, .. } = self;
        command.dump(request, |message| {
            if let RouteNetlinkMessage::NewNeighbour(message) = message {
                found.extend(Neighbour::of(ports, &message));
            }
        })?;
        Ok(found)
    }

    /// Has the kernel forget what it knows of a neighbour; whether it knew any.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn forget_neighbour(&mut self, port: u16, address: IpAddr) -> io::Result<bool> {
        let Some((&index, _)) = self.ports.iter().find(|(_, of)| **of == port) else {
            return Ok(false);
        };
        let mut neighbour = NeighbourMessage::default();
        neighbour.header.family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        neighbour.header.ifindex = index;
        neighbour.attributes.push(NeighbourAttribute::Destination(address.into()));
        match self.command.change(RouteNetlinkMessage::DelNeighbour(neighbour), 0) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets `address` on the TAP of `port`.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn add_address(&mut self, port: u16, address: IpNet) -> io::Result<()> {
        let Some((&index, _)) = self.ports.iter().find(|(_, of)| **of == port) else {
            return Ok(());
        };
        let mut message = AddressMessage::default();
        message.header.family = match address {
            IpNet::V4(_) => AddressFamily::Inet,
            IpNet::V6(_) => AddressFamily::Inet6,
        };
        message.header.prefix_len = address.prefix_len();
        message.header.index = index;
        message.attributes.push(AddressAttribute::Local(address.addr()));
        message.attributes.push(AddressAttribute::Address(address.addr()));
        let message = RouteNetlinkMessage::NewAddress(message);
        self.command.change(message, NLM_F_CREATE | NLM_F_REPLACE)
    }
}

/// Readable when [`Kernel::changes`] has something to say.
impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

fn neighbour(
    ports: &HashMap<u32, u16>,
    message: &NeighbourMessage,
    deleted: bool,
) -> Option<Change> {
    let port = *ports.get(&message.header.ifindex)?;
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                address = Some(IpAddr::V4(*ip));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                address = Some(IpAddr::V6(*ip));
            }
            NeighbourAttribute::LinkLayerAddress(octets) => {
                mac = <[u8; 6]>::try_from(octets.as_slice()).ok();
            }
            _ => {}
        }
    }
    let failed = matches!(message.header.state, NeighbourState::Failed);
    let unusable =
        failed || matches!(message.header.state, NeighbourState::Incomplete | NeighbourState::None);
    let mac = mac.filter(|_| !deleted && !unusable);
    Some(Change::Neighbour { port, address: address?, mac, failed })
}
