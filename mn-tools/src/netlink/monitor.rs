//! Changes of links, addresses, routes and rules as the kernel tells of them.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::route::RouteAttribute;
use netlink_packet_route::rule::RuleAttribute;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::messages::{is_up, messages};

/// A change of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A link went down, lost its carrier or is gone.
    LinkDown(u32),
    /// A link lost an address.
    AddressGone(u32, IpAddr),
    /// A rule of this priority is gone.
    RuleGone(u32),
    /// A route of this table is gone.
    RouteGone(u32),
    /// There were more changes than the kernel could tell of.
    Missed,
    /// Something else about links, addresses or routes.
    Other,
}

/// A socket that hears of changes.
pub struct Monitor(Socket);

/// Multicast groups of rtnetlink (linux/rtnetlink.h): LINK, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE,
/// IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE.
const GROUPS: [u32; 7] = [1, 5, 7, 8, 9, 11, 19];

impl Monitor {
    /// Opens the socket; changes from now on will be heard of.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        Ok(Self(socket))
    }

    /// Waits for changes.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn wait(&self) -> io::Result<Vec<Change>> {
        match self.0.recv_from_full() {
            Ok((datagram, _)) => Ok(messages(&datagram).filter_map(change_of).collect()),
            // The kernel had more to say than the socket could hold.
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
            {
                Ok(vec![Change::Missed])
            }
            Err(error) => Err(error),
        }
    }
}

fn change_of(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<Change> {
    let NetlinkPayload::InnerMessage(message) = message.payload else { return None };
    Some(match message {
        RouteNetlinkMessage::NewLink(link) if !is_up(&link) => Change::LinkDown(link.header.index),
        RouteNetlinkMessage::DelLink(link) => Change::LinkDown(link.header.index),
        RouteNetlinkMessage::DelAddress(message) => {
            let address = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(address) | AddressAttribute::Address(address) => {
                    Some(*address)
                }
                _ => None,
            });
            match address {
                Some(address) => Change::AddressGone(message.header.index, address),
                None => Change::Other,
            }
        }
        RouteNetlinkMessage::DelRule(rule) => {
            let mut priorities = rule.attributes.iter().filter_map(|attribute| match attribute {
                RuleAttribute::Priority(priority) => Some(*priority),
                _ => None,
            });
            Change::RuleGone(priorities.next().unwrap_or(0))
        }
        RouteNetlinkMessage::DelRoute(route) => {
            let mut tables = route.attributes.iter().filter_map(|attribute| match attribute {
                RouteAttribute::Table(table) => Some(*table),
                _ => None,
            });
            Change::RouteGone(tables.next().unwrap_or(route.header.table.into()))
        }
        // Our own, most of the time, and never a reason to look for other ways.
        RouteNetlinkMessage::NewRule(_) => return None,
        _ => Change::Other,
    })
}
