//! The kernel's links, addresses, routes and rules, over netlink.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

mod messages;
mod monitor;

use messages::{
    address_message, family, host_prefix, is_no_route, is_same_rule, is_unicast_route, link_around,
    link_layer_of, link_of, messages, network_address_message, route_message, rule_message,
    unreachable_message,
};
pub use monitor::{Change, Monitor};

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
    /// Refuses, with an ICMP error to the sender.
    Unreachable,
}

/// What a [`Rule`] applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// Every packet.
    All,
    /// Packets from this prefix.
    From(IpNet),
    /// Packets to this prefix.
    To(IpNet),
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

    /// Gives a link an address and its prefix unless it has them; whether it had not.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn add_network_address(&mut self, index: u32, address: Ipv6Net) -> io::Result<bool> {
        self.add(RouteNetlinkMessage::NewAddress(network_address_message(index, address)))
    }

    /// Takes that back.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn delete_network_address(&mut self, index: u32, address: Ipv6Net) -> io::Result<()> {
        let message = RouteNetlinkMessage::DelAddress(network_address_message(index, address));
        self.request(message, 0).map(drop)
    }

    /// Routes `prefix` to a link in `table`, with `source` as the address of what starts here.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn set_route(
        &mut self,
        table: u32,
        prefix: IpNet,
        index: u32,
        source: IpAddr,
    ) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewRoute(route_message(table, prefix, index, source));
        self.request(message, NLM_F_CREATE | NLM_F_REPLACE).map(drop)
    }

    /// The same unless there is one; whether there was none.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn add_route(
        &mut self,
        table: u32,
        prefix: IpNet,
        index: u32,
        source: IpAddr,
    ) -> io::Result<bool> {
        let message = RouteNetlinkMessage::NewRoute(route_message(table, prefix, index, source));
        self.add(message)
    }

    /// Makes what `table` knows nothing longer of within `prefix` unreachable.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn add_unreachable(&mut self, table: u32, prefix: IpNet) -> io::Result<bool> {
        self.add(RouteNetlinkMessage::NewRoute(unreachable_message(table, prefix)))
    }

    /// Takes that back; no error if it is not there.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn delete_unreachable(&mut self, table: u32, prefix: IpNet) -> io::Result<()> {
        let message = RouteNetlinkMessage::DelRoute(unreachable_message(table, prefix));
        match self.request(message, 0) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// The links that are up and have a prefix with `address` in it, by an address of their own beside
    /// that.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn links_with(&mut self, address: Ipv6Addr) -> io::Result<Vec<u32>> {
        let up = self.links()?;
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet6;
        let answers = self.request(RouteNetlinkMessage::GetAddress(message), NLM_F_DUMP)?;
        let found = answers.iter().filter_map(|answer| link_around(answer, address));
        Ok(found.filter(|index| up.iter().any(|link| link.index == *index && link.is_up)).collect())
    }

    /// The link-layer address of a link, where it is one of six octets.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn link_layer_address(&mut self, index: u32) -> io::Result<Option<[u8; 6]>> {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.request(message, NLM_F_DUMP)?;
        Ok(answers.iter().find_map(|answer| link_layer_of(answer, index)))
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

    /// Adds a rule unless it is there; whether it was not.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn add_rule(&mut self, rule: &Rule) -> io::Result<bool> {
        self.add(RouteNetlinkMessage::NewRule(rule_message(rule)))
    }

    fn add(&mut self, message: RouteNetlinkMessage) -> io::Result<bool> {
        match self.request(message, NLM_F_CREATE | NLM_F_EXCL) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a rule.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn delete_rule(&mut self, rule: &Rule) -> io::Result<()> {
        self.request(RouteNetlinkMessage::DelRule(rule_message(rule)), 0).map(drop)
    }

    /// Deletes every rule whose priority lies in `priorities`, but for `kept`: what a node that was
    /// killed left.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn delete_rules(
        &mut self,
        priorities: core::ops::Range<u32>,
        kept: &[Rule],
    ) -> io::Result<()> {
        let kept: Vec<RuleMessage> = kept.iter().map(rule_message).collect();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RuleMessage::default();
            message.header.family = family;
            for answer in self.request(RouteNetlinkMessage::GetRule(message), NLM_F_DUMP)? {
                let RouteNetlinkMessage::NewRule(rule) = answer else { continue };
                let ours = |attribute: &RuleAttribute| matches!(attribute, RuleAttribute::Priority(p) if priorities.contains(p));
                let is_kept = kept.iter().any(|kept| is_same_rule(kept, &rule));
                if rule.attributes.iter().any(ours) && !is_kept {
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
