//! The kernel's routes, neighbours and addresses, by netlink.
//!
//! The kernel is the box's slow path and its routing table the operator's: whatever `ip route`,
//! FRR or an RA put on a port's TAP ends up in the dataplane's FIB. A next hop whose link-layer
//! address is unknown is resolved by the kernel on request (`NTF_USE`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Multicast groups of rtnetlink that concern the FIB: neighbours, IPv4 and IPv6 addresses and
/// routes (`RTNLGRP_*`).
const GROUPS: [u32; 5] = [3, 5, 7, 9, 11];

/// Octets of one read: larger than any datagram the kernel sends for a dump.
const READ_ROOM: usize = 64 * 1024;

/// A route of the main table that leaves by a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelRoute {
    /// Destination prefix.
    pub prefix: (IpAddr, u8),
    /// The port, by its place in YAML.
    pub port: u16,
    /// The next hop; none where the destination itself is on the link.
    pub gateway: Option<IpAddr>,
}

/// What changed in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// All routes that leave by a port, as they are now.
    Routes(Vec<KernelRoute>),
    /// All addresses of the box on its ports, as they are now.
    Addresses(Vec<IpAddr>),
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
    monitor: Socket,
    command: Socket,
    ports: HashMap<u32, u16>,
    buffer: Vec<u8>,
}

impl Kernel {
    /// Connects; `interfaces` are the kernel's numbers of the TAPs, in the order of the ports.
    ///
    /// # Errors
    /// Netlink is not to be had.
    pub fn connect(interfaces: impl IntoIterator<Item = u32>) -> io::Result<Self> {
        let mut monitor = Socket::new(NETLINK_ROUTE)?;
        monitor.bind_auto()?;
        for group in GROUPS {
            monitor.add_membership(group)?;
        }
        monitor.set_non_blocking(true)?;
        // A burst of routes (a BGP table) must not overrun the socket at once.
        monitor.set_rx_buf_sz(4 << 20)?;
        let mut command = Socket::new(NETLINK_ROUTE)?;
        command.bind_auto()?;
        command.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            monitor,
            command,
            ports: interfaces.into_iter().zip(0..).collect(),
            buffer: Vec::with_capacity(READ_ROOM),
        })
    }

    /// Everything as it is now.
    ///
    /// # Errors
    /// The kernel did not answer.
    pub fn snapshot(&mut self) -> io::Result<Vec<Change>> {
        let mut changes =
            vec![Change::Routes(self.routes()?), Change::Addresses(self.addresses()?)];
        let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        for message in self.dump(request)? {
            if let RouteNetlinkMessage::NewNeighbour(neighbour) = message {
                changes.extend(self.neighbour(&neighbour, false));
            }
        }
        Ok(changes)
    }

    /// What changed since the last call. Routes and addresses come whole, however many changed.
    ///
    /// # Errors
    /// The kernel did not answer.
    pub fn changes(&mut self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        let (mut routes, mut addresses) = (false, false);
        loop {
            match self.monitor_messages() {
                Ok(messages) => {
                    for message in messages {
                        match message {
                            RouteNetlinkMessage::NewRoute(_) | RouteNetlinkMessage::DelRoute(_) => {
                                routes = true;
                            }
                            RouteNetlinkMessage::NewAddress(_)
                            | RouteNetlinkMessage::DelAddress(_) => addresses = true,
                            RouteNetlinkMessage::NewNeighbour(neighbour) => {
                                changes.extend(self.neighbour(&neighbour, false));
                            }
                            RouteNetlinkMessage::DelNeighbour(neighbour) => {
                                changes.extend(self.neighbour(&neighbour, true));
                            }
                            _ => {}
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The kernel had more to say than the socket could hold: look at everything.
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => return self.snapshot(),
                Err(error) => return Err(error),
            }
        }
        if routes {
            changes.push(Change::Routes(self.routes()?));
        }
        if addresses {
            changes.push(Change::Addresses(self.addresses()?));
        }
        Ok(changes)
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
        self.request(message, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK)?;
        self.answers(|_| {})
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
        self.request(message, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK)?;
        self.answers(|_| {})
    }

    fn routes(&mut self) -> io::Result<Vec<KernelRoute>> {
        let mut request = RouteMessage::default();
        let mut best = BTreeMap::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            request.header.address_family = family;
            for message in self.dump(RouteNetlinkMessage::GetRoute(request.clone()))? {
                if let RouteNetlinkMessage::NewRoute(route) = message
                    && let Some((metric, route)) = self.route(&route)
                {
                    let kept = best.entry(route.prefix).or_insert((metric, route));
                    if metric < kept.0 {
                        *kept = (metric, route);
                    }
                }
            }
        }
        Ok(best.into_values().map(|(_, route)| route).collect())
    }

    /// The route and its metric, where it is one of the main table that leaves by a port.
    fn route(&self, message: &RouteMessage) -> Option<(u32, KernelRoute)> {
        let header = &message.header;
        if header.kind != RouteType::Unicast || header.table != RouteHeader::RT_TABLE_MAIN {
            return None;
        }
        let mut destination = None;
        let mut metric = 0;
        let mut hop = (None, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => destination = ip_of(address),
                RouteAttribute::Priority(priority) => metric = *priority,
                RouteAttribute::Oif(index) => hop.0 = Some(*index),
                RouteAttribute::Gateway(gateway) => hop.1 = ip_of(gateway),
                RouteAttribute::Via(via) => hop.1 = ip_of_via(via),
                RouteAttribute::MultiPath(hops) => hop = hops.first().map_or(hop, first_hop),
                _ => {}
            }
        }
        let any: IpAddr = match header.address_family {
            AddressFamily::Inet => std::net::Ipv4Addr::UNSPECIFIED.into(),
            _ => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let prefix = (destination.unwrap_or(any), header.destination_prefix_length);
        let link_local = matches!(prefix.0, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let port = *self.ports.get(&hop.0?)?;
        (!link_local && !prefix.0.is_multicast())
            .then_some((metric, KernelRoute { prefix, port, gateway: hop.1 }))
    }

    fn addresses(&mut self) -> io::Result<Vec<IpAddr>> {
        let mut found = HashSet::new();
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        for message in self.dump(request)? {
            let RouteNetlinkMessage::NewAddress(address) = message else { continue };
            if !self.ports.contains_key(&address.header.index) {
                continue;
            }
            for attribute in &address.attributes {
                if let AddressAttribute::Address(ip) | AddressAttribute::Local(ip) = attribute {
                    found.insert(*ip);
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    fn neighbour(&self, message: &NeighbourMessage, deleted: bool) -> Option<Change> {
        let port = *self.ports.get(&message.header.ifindex)?;
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
        let unusable = failed
            || matches!(message.header.state, NeighbourState::Incomplete | NeighbourState::None);
        let mac = mac.filter(|_| !deleted && !unusable);
        Some(Change::Neighbour { port, address: address?, mac, failed })
    }

    fn monitor_messages(&mut self) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.buffer.clear();
        self.monitor.recv(&mut self.buffer, 0)?;
        let mut messages = Vec::new();
        for_each_message(&self.buffer, |message| {
            if let NetlinkPayload::InnerMessage(message) = message {
                messages.push(message);
            }
            Ok(true)
        })?;
        Ok(messages)
    }

    fn dump(&mut self, request: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.request(request, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut messages = Vec::new();
        self.answers(|message| messages.push(message))?;
        Ok(messages)
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.command.send(&octets, 0).map(drop)
    }

    /// Reads until the request is done, or acknowledged.
    fn answers(&mut self, mut each: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
        let mut done = false;
        while !done {
            self.buffer.clear();
            self.command.recv(&mut self.buffer, 0)?;
            for_each_message(&self.buffer, |payload| {
                match payload {
                    NetlinkPayload::Done(_) => done = true,
                    NetlinkPayload::Error(error) => {
                        done = true;
                        if error.code.is_some() {
                            return Err(error.to_io());
                        }
                    }
                    NetlinkPayload::InnerMessage(message) => each(message),
                    _ => {}
                }
                Ok(!done)
            })?;
        }
        Ok(())
    }
}

/// Readable when [`Kernel::changes`] has something to say.
impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

/// "No buffer space available": the monitor's socket overran.
const ENOBUFS: i32 = 105;

/// Calls `each` with every message in `octets`, until it says `false`.
fn for_each_message(
    octets: &[u8],
    mut each: impl FnMut(NetlinkPayload<RouteNetlinkMessage>) -> io::Result<bool>,
) -> io::Result<()> {
    let mut rest = octets;
    while !rest.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
        // Messages start at multiples of 4 octets.
        let length = (message.header.length as usize).next_multiple_of(4);
        if !each(message.payload)? || length == 0 {
            break;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn ip_of_via(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteVia::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn first_hop(hop: &RouteNextHop) -> (Option<u32>, Option<IpAddr>) {
    let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(gateway) => ip_of(gateway),
        RouteAttribute::Via(via) => ip_of_via(via),
        _ => None,
    });
    (Some(hop.interface_index), gateway)
}
