//! What becomes of the routes that the kernel was given ([`crate::kernel_routes`]).
//!
//! Whoever takes `hearth0` down and up, or flushes a table, takes them away. The kernel tells of
//! routes that are deleted, but not of all that go with a device: when that comes up, and when
//! notifications were lost, those that are left are read.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::kernel_routes::PROTOCOL;
use crate::netlink::Netlink;

/// What the kernel still has of what it was given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// All but these; they may be those that it was told to remove.
    AllBut(Vec<IpNet>),
    /// These and no others.
    Only(HashSet<IpNet>),
}

/// Listens for what happens to the routes by one interface.
#[derive(Debug)]
pub(crate) struct GivenWatch {
    /// The interface; none where the kernel is given no routes.
    interface: Option<u32>,
    gone: Vec<IpNet>,
    /// Notifications do not say all: it is to be read what is left.
    unknown: bool,
}

impl GivenWatch {
    pub(crate) const fn new(interface: Option<u32>) -> Self {
        Self { interface, gone: Vec::new(), unknown: false }
    }

    /// Takes in what the kernel tells.
    pub(crate) fn hear(&mut self, messages: &[RouteNetlinkMessage]) {
        let Some(interface) = self.interface else { return };
        for message in messages {
            match message {
                RouteNetlinkMessage::DelRoute(route) if is_given(route, interface) => {
                    self.gone.extend(prefix(route));
                }
                RouteNetlinkMessage::NewLink(link) if link.header.index == interface => {
                    self.unknown |= link.header.flags.contains(LinkFlags::Up);
                }
                _ => {}
            }
        }
    }

    /// Notifications were lost.
    pub(crate) const fn overrun(&mut self) {
        self.unknown = self.interface.is_some();
    }

    /// What is left, where something has happened.
    ///
    /// # Errors
    /// The kernel did not answer.
    pub(crate) fn kept(&mut self, command: &mut Netlink) -> io::Result<Option<Kept>> {
        let gone = std::mem::take(&mut self.gone);
        match self.interface {
            Some(interface) if std::mem::take(&mut self.unknown) => {
                Ok(Some(Kept::Only(given(command, interface)?)))
            }
            _ => Ok((!gone.is_empty()).then_some(Kept::AllBut(gone))),
        }
    }
}

/// All routes that the kernel was given and has.
fn given(command: &mut Netlink, interface: u32) -> io::Result<HashSet<IpNet>> {
    let mut found = HashSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        command.dump(RouteNetlinkMessage::GetRoute(request), |message| {
            if let RouteNetlinkMessage::NewRoute(route) = message
                && is_given(&route, interface)
            {
                found.extend(prefix(&route));
            }
        })?;
    }
    Ok(found)
}

/// Whether it is one that the kernel was given.
pub(crate) fn is_given(route: &RouteMessage, interface: u32) -> bool {
    route.header.table == RouteHeader::RT_TABLE_MAIN
        && route.header.protocol == RouteProtocol::Other(PROTOCOL)
        && route.attributes.contains(&RouteAttribute::Oif(interface))
}

fn prefix(route: &RouteMessage) -> Option<IpNet> {
    let any = match route.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        _ => IpAddr::from([0; 16]),
    };
    let destination = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    });
    IpNet::new(destination.unwrap_or(any), route.header.destination_prefix_length).ok()
}
