//! The kernel's links, addresses, routes and rules, over netlink.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Up, with carrier.
    pub is_up: bool,
    /// The loopback interface.
    pub is_loopback: bool,
}

/// A rule of policy routing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Order among the rules, and with [`Self::selector`] its name.
    pub priority: u32,
    /// What it applies to.
    pub selector: Selector,
    /// Whether it is about IPv6.
    pub is_ipv6: bool,
    /// What it does.
    pub verdict: Verdict,
}

/// What a [`Rule`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Takes a route from this table.
    Table(u32),
    /// Takes a route from this table unless it is a default route.
    TableButDefault(u32),
    /// Goes on at the rule of this priority.
    Goto(u32),
    /// Nothing: something to go on at.
    Nop,
}

/// What a [`Rule`] applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// Every packet.
    All,
    /// Packets from this address.
    From(IpAddr),
    /// Packets to this address.
    To(IpAddr),
    /// Packets with this firewall mark.
    Marked(u32),
}

/// Table `main`.
pub const MAIN_TABLE: u32 = 254;

/// A request socket.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// All links.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.request(message, NLM_F_DUMP)?;
        Ok(answers.iter().filter_map(link_of).collect())
    }

    /// The index of the link called `name`.
    ///
    /// # Errors
    /// There is none, or as the kernel says.
    pub fn index_of(&mut self, name: &str) -> io::Result<u32> {
        let links = self.links()?;
        let link = links.into_iter().find(|link| link.name == name);
        link.map(|link| link.index).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Brings a link up with this MTU.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn bring_up(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.request(RouteNetlinkMessage::SetLink(message), 0).map(drop)
    }

    /// Gives a link a host address, without duplicate address detection.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn add_address(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewAddress(address_message(index, address));
        self.request(message, NLM_F_CREATE | NLM_F_REPLACE).map(drop)
    }

    /// Takes a host address away.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn delete_address(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        let message = RouteNetlinkMessage::DelAddress(address_message(index, address));
        self.request(message, 0).map(drop)
    }

    /// Routes `prefix` to a link in `table`, with `source` as the address of what starts here.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn add_route(
        &mut self,
        table: u32,
        prefix: IpNet,
        index: u32,
        source: IpAddr,
    ) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(prefix.addr());
        message.header.destination_prefix_length = prefix.prefix_len();
        message.header.protocol = RouteProtocol::Static;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Table(table));
        if prefix.prefix_len() > 0 {
            message.attributes.push(RouteAttribute::Destination(prefix.network().into()));
        }
        message.attributes.push(RouteAttribute::Oif(index));
        message.attributes.push(RouteAttribute::PrefSource(source.into()));
        let message = RouteNetlinkMessage::NewRoute(message);
        self.request(message, NLM_F_CREATE | NLM_F_REPLACE).map(drop)
    }

    /// Whether the tables have a route to `destination` over this link for packets with `mark`. (A
    /// plain look-up would take any IPv4 destination for a neighbour.)
    ///
    /// # Errors
    /// As the kernel says; having no route is no error.
    pub fn has_route(&mut self, destination: IpAddr, index: u32, mark: u32) -> io::Result<bool> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(destination);
        message.header.destination_prefix_length = host_prefix(destination);
        message.header.flags = RouteFlags::FibMatch;
        message.attributes.push(RouteAttribute::Destination(destination.into()));
        message.attributes.push(RouteAttribute::Oif(index));
        message.attributes.push(RouteAttribute::Mark(mark));
        match self.request(RouteNetlinkMessage::GetRoute(message), 0) {
            Ok(answers) => Ok(answers.iter().any(is_unicast_route)),
            Err(error) if is_no_route(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn add_rule(&mut self, rule: &Rule) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewRule(rule_message(rule));
        match self.request(message, NLM_F_CREATE | NLM_F_EXCL) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Deletes a rule.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn delete_rule(&mut self, rule: &Rule) -> io::Result<()> {
        self.request(RouteNetlinkMessage::DelRule(rule_message(rule)), 0).map(drop)
    }

    /// Deletes every rule whose priority lies in `priorities`: what a node that was killed left.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn delete_rules(&mut self, priorities: core::ops::Range<u32>) -> io::Result<()> {
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RuleMessage::default();
            message.header.family = family;
            for answer in self.request(RouteNetlinkMessage::GetRule(message), NLM_F_DUMP)? {
                let RouteNetlinkMessage::NewRule(rule) = answer else { continue };
                let ours = |attribute: &RuleAttribute| matches!(attribute, RuleAttribute::Priority(p) if priorities.contains(p));
                if rule.attributes.iter().any(ours) {
                    self.request(RouteNetlinkMessage::DelRule(rule), 0)?;
                }
            }
        }
        Ok(())
    }

    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut buffer = vec![0; message.buffer_len()];
        message.serialize(&mut buffer);
        self.socket.send(&buffer, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            if take_answers(&datagram, self.sequence, &mut answers)? {
                return Ok(answers);
            }
        }
    }
}

/// Reads the messages of a datagram that answer request `sequence`; whether the last was there.
fn take_answers(
    datagram: &[u8],
    sequence: u32,
    answers: &mut Vec<RouteNetlinkMessage>,
) -> io::Result<bool> {
    for message in messages(datagram) {
        if message.header.sequence_number != sequence {
            continue;
        }
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => answers.push(inner),
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => {
                return match error.code {
                    None => Ok(true),
                    Some(_) => Err(error.to_io()),
                };
            }
            _ => {}
        }
    }
    Ok(false)
}

/// The messages of a datagram, as far as they can be read.
fn messages(
    mut datagram: &[u8],
) -> impl Iterator<Item = NetlinkMessage<RouteNetlinkMessage>> + use<'_> {
    std::iter::from_fn(move || {
        loop {
            let length = datagram.first_chunk::<4>().map(|octets| u32::from_ne_bytes(*octets))?;
            let length = usize::try_from(length).ok().filter(|length| *length >= 16)?;
            let message = datagram.get(..length)?;
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
            // A kind that this program does not know is passed over.
            if let Ok(message) = NetlinkMessage::deserialize(message) {
                return Some(message);
            }
        }
    })
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

const fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

fn link_of(message: &RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    Some(Link {
        index: link.header.index,
        name,
        is_up: is_up(link),
        is_loopback: link.header.flags.contains(LinkFlags::Loopback),
    })
}

fn is_up(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp)
}

fn address_message(index: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.index = index;
    message.header.prefix_len = host_prefix(address);
    if address.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    message
}

fn is_unicast_route(message: &RouteNetlinkMessage) -> bool {
    matches!(message, RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Unicast)
}

fn is_no_route(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, NotFound};
    matches!(error.kind(), HostUnreachable | NetworkUnreachable | NotFound)
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.is_ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::Static));
    message.header.action = match rule.verdict {
        Verdict::Table(table) => {
            attributes.push(RuleAttribute::Table(table));
            RuleAction::ToTable
        }
        Verdict::TableButDefault(table) => {
            attributes.push(RuleAttribute::Table(table));
            attributes.push(RuleAttribute::SuppressPrefixLen(0));
            RuleAction::ToTable
        }
        Verdict::Goto(priority) => {
            attributes.push(RuleAttribute::Goto(priority));
            RuleAction::Goto
        }
        Verdict::Nop => RuleAction::Nop,
    };
    match rule.selector {
        Selector::All => {}
        Selector::From(address) => {
            message.header.src_len = host_prefix(address);
            attributes.push(RuleAttribute::Source(address));
        }
        Selector::To(address) => {
            message.header.dst_len = host_prefix(address);
            attributes.push(RuleAttribute::Destination(address));
        }
        Selector::Marked(mark) => attributes.push(RuleAttribute::FwMark(mark)),
    }
    message
}

/// A change of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A link went down, lost its carrier or is gone.
    LinkDown(u32),
    /// A link lost an address.
    AddressGone(u32, IpAddr),
    /// Something else about links, addresses or routes; or changes were missed.
    Other,
}

/// A socket that hears of changes.
pub struct Monitor(Socket);

/// Multicast groups of rtnetlink (linux/rtnetlink.h): LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR,
/// IPV6_ROUTE.
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];

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
                Ok(vec![Change::Other])
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
        _ => Change::Other,
    })
}
