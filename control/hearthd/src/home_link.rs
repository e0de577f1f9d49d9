//! Home links: what the configuration says of them, and what is seen on them.
//!
//! Read first: RFC 6275 s.9.3.1, 10.3.1, 10.4.1, 10.5.1; RFC 4861 s.4; RFC 5227 s.2.1.
//!
//! Frames pass here on their way between the workers and the kernel. The dataplane answers for
//! home addresses by itself; what is left is who else has an address that is being asked for, and
//! who advertises what.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use hearth_dataplane::PortId;
use hearth_home_agent::{
    Action, DiscoveryPolicy, Event, HomeAgent, HomeLink, HomePrefix, LinkEvent, LinkId, LinkPolicy,
    MobilePrefixPolicy, Timestamp, WallClock, anycast,
};
use hearth_wire::icmp6::{Envelope, icmp_type};
use ipnet::IpNet;

use crate::config::Config;
use crate::control::Control;
use crate::home_link_config::own_ip6;

const ETHERNET: usize = 14;
const IPV6: usize = 40;

/// The policy that the YAML asks for; `macs` are those of the ports, in its order.
pub(crate) fn policy(config: &Config, macs: &[[u8; 6]], clock: WallClock) -> LinkPolicy {
    let home_agent = &config.home_agent;
    let prefix = |section: &crate::home_link_config::HomePrefix| {
        let port = section.port(&config.ports);
        let own = config.ports.iter().flat_map(|port| &port.addresses).map(|net| net.value.addr());
        let within = |address: &IpAddr| section.prefix.contains(address);
        let (valid, preferred) = section.lifetimes(clock);
        HomePrefix {
            prefix: section.prefix,
            link: port.and_then(link),
            valid,
            preferred,
            autonomous: section.about.autonomous,
            router: own.filter(within).find_map(as_ip6),
        }
    };
    let prefixes: Vec<_> =
        home_agent.home_prefixes.iter().map(|section| prefix(&section.value)).collect();
    let end = |(at, (port, mac)): (usize, (&crate::config::Port, &[u8; 6]))| {
        let id = link(at)?;
        let in_use = prefixes.iter().any(|home| home.link == Some(id));
        let ip6 = own_ip6(port).filter(|_| in_use)?;
        Some(HomeLink { id, mac: *mac, ip6 })
    };
    let links = config.ports.iter().zip(macs).enumerate().filter_map(end).collect();
    let (on_links, told) = (&home_agent.home_link, &home_agent.mobile_prefixes);
    let seconds = |value: u32| Duration::from_secs(value.into());
    LinkPolicy {
        links,
        prefixes,
        probes: on_links.dad_transmits.value,
        probe_wait: Duration::from_millis(on_links.dad_wait_ms.value.into()),
        max_probing: usize::try_from(on_links.max_probing.value).unwrap_or(usize::MAX),
        announcements_per_second: on_links.announcements_per_second.value,
        mobile_prefixes: MobilePrefixPolicy {
            enabled: told.enabled,
            min_interval: seconds(told.min_interval.value),
            max_interval: seconds(told.max_interval.value),
            dhcpv6: told.dhcpv6,
        },
        discovery: home_agent.discovery.enabled.then(|| DiscoveryPolicy {
            preference: home_agent.discovery.preference,
            mobile_routers: true,
            addresses: vec![home_agent.address_ip6.value],
        }),
    }
}

fn link(port: usize) -> Option<LinkId> {
    u16::try_from(port).ok().map(LinkId)
}

const fn as_ip6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

/// Where discovery can be asked: the Home-Agents anycast address of each home prefix, where it is
/// answered at all.
pub(crate) fn anycast_addresses(config: &Config) -> Vec<IpAddr> {
    let home_agent = &config.home_agent;
    let of = |prefix: IpNet| match prefix {
        IpNet::V6(prefix) => Some(anycast(prefix).into()),
        IpNet::V4(_) => None,
    };
    let prefixes = home_agent.home_prefixes.iter().map(|home| home.value.prefix);
    prefixes.filter(|_| home_agent.discovery.enabled).filter_map(of).collect()
}

/// Those of prefixes that are on links, where a router may ask who has them.
fn anycast_on_links(policy: &LinkPolicy) -> Vec<(PortId, Ipv6Addr)> {
    let of = |home: &HomePrefix| match home.prefix {
        IpNet::V6(prefix) => home.link.map(|link| (PortId(link.0), anycast(prefix))),
        IpNet::V4(_) => None,
    };
    policy.prefixes.iter().filter(|_| policy.discovery.is_some()).filter_map(of).collect()
}

/// A seed for what chance decides; of no use to cryptography.
pub(crate) fn seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
        ^ u64::from(since.subsec_nanos()).rotate_left(32)
        ^ u64::from(std::process::id())
}

impl Control {
    /// Tells the home agent what the configuration says of home prefixes and links.
    pub(crate) fn configure_links(&mut self) {
        let clock = self.wall_clock();
        let policy = policy(&self.parts.config, &self.parts.macs, clock);
        self.parts.tables.set_anycast(&anycast_on_links(&policy));
        self.parts.home_agent.seed(seed());
        self.tell(Event::Link(LinkEvent::Configured(&policy)));
    }
}

/// Tells the home agent what came on a port; whether the kernel is not to see it.
pub(crate) fn told(
    home_agent: &mut HomeAgent,
    now: Timestamp,
    (port, frame): (u16, &[u8]),
    actions: &mut Vec<Action>,
) -> bool {
    let (event, taken) = match look(home_agent.link_policy(), port, frame, false) {
        None => return false,
        Some(Seen::Told(event)) => (event, false),
        Some(Seen::Taken(event)) => (event, true),
    };
    if let LinkEvent::PlainHomeAddress { from, home_address, .. } = &event
        && is_registered(home_agent, *home_address, *from)
    {
        return false;
    }
    home_agent.handle(now, Event::Link(event), actions);
    taken
}

/// Tells the home agent what the kernel sends on a port.
pub(crate) fn sent(
    home_agent: &mut HomeAgent,
    now: Timestamp,
    (port, frame): (u16, &[u8]),
    actions: &mut Vec<Action>,
) {
    if let Some(Seen::Told(event)) = look(home_agent.link_policy(), port, frame, true) {
        home_agent.handle(now, Event::Link(event), actions);
    }
}

/// RFC 6275 s.9.3.1: the option is good where there is a binding of its address with the care-of
/// address that the packet comes from.
fn is_registered(home_agent: &HomeAgent, home_address: Ipv6Addr, from: Ipv6Addr) -> bool {
    home_agent.binding(home_address).is_some_and(|binding| binding.care_of.ip() == from)
}

/// What a frame on a port says to the home agent; `own`: the kernel has sent it.
fn look<'a>(policy: &LinkPolicy, port: u16, frame: &'a [u8], own: bool) -> Option<Seen<'a>> {
    let link = LinkId(port);
    let on_link = policy.links.iter().any(|end| end.id == link);
    let (header, packet) = frame.split_first_chunk::<ETHERNET>()?;
    let [_, _, _, _, _, _, mac @ .., high, low] = *header;
    match [high, low] {
        [0x08, 0x06] if on_link && !own => arp(link, packet),
        [0x86, 0xdd] => ipv6((policy, link, on_link), mac, packet, own),
        _ => None,
    }
}

/// What was seen.
#[derive(Debug, PartialEq, Eq)]
enum Seen<'a> {
    /// The home agent is told; the kernel gets the frame too.
    Told(LinkEvent<'a>),
    /// The home agent alone is told.
    Taken(LinkEvent<'a>),
}

/// RFC 5227 s.2.1.1: whoever sends from an address has it; a Probe, from no address, wants it.
fn arp(link: LinkId, packet: &[u8]) -> Option<Seen<'static>> {
    let arp = packet.first_chunk::<28>()?;
    let ([0, 1, 8, 0, 6, 4, 0, operation @ (1 | 2)], rest) = arp.split_first_chunk()? else {
        return None;
    };
    let (mac, rest) = rest.split_first_chunk::<6>()?;
    let (sender, rest) = rest.split_first_chunk::<4>()?;
    let (_, target) = rest.split_first_chunk::<6>()?;
    let (sender, target) = (Ipv4Addr::from(*sender), <[u8; 4]>::try_from(target).ok()?);
    let probing = sender.is_unspecified();
    if probing && *operation != 1 {
        return None;
    }
    let address = if probing { Ipv4Addr::from(target) } else { sender };
    Some(Seen::Told(LinkEvent::Contested { link, address: address.into(), mac: *mac, probing }))
}

fn ipv6<'a>(
    (policy, link, on_link): (&LinkPolicy, LinkId, bool),
    mac: [u8; 6],
    packet: &'a [u8],
    own: bool,
) -> Option<Seen<'a>> {
    let (header, _) = packet.split_first_chunk::<IPV6>()?;
    let [first, _, _, _, a, b, next_header, hop_limit, addresses @ ..] = *header;
    let (source, destination) = addresses.split_first_chunk::<16>()?;
    let (source, destination) =
        (Ipv6Addr::from(*source), Ipv6Addr::from(<[u8; 16]>::try_from(destination).ok()?));
    let payload = packet.get(IPV6..)?.get(..usize::from(u16::from_be_bytes([a, b])))?;
    if first >> 4 != 6 {
        return None;
    }
    if next_header != hearth_wire::icmp6::PROTO {
        let home_address = home_address_option(next_header, payload).filter(|_| !own)?;
        let (from, to) = (source, destination);
        return Some(Seen::Taken(LinkEvent::PlainHomeAddress { from, to, home_address }));
    }
    let envelope = Envelope { source, destination, hop_limit };
    let octets = payload;
    match *octets.first()? {
        icmp_type::ROUTER_ADVERTISEMENT if on_link => {
            Some(Seen::Told(LinkEvent::RouterAdvertisement { link, own, envelope, octets }))
        }
        // To whom it is, the home agent looks at.
        icmp_type::HOME_AGENT_DISCOVERY_REQUEST if policy.discovery.is_some() && !own => {
            Some(Seen::Taken(LinkEvent::HomeAgentDiscovery { envelope, octets }))
        }
        icmp_type::NEIGHBOUR_ADVERTISEMENT | icmp_type::NEIGHBOUR_SOLICITATION
            if on_link && !own =>
        {
            contested(link, mac, &envelope, octets)
        }
        _ => None,
    }
}

/// An advertisement says who has an address; a solicitation from nobody, who wants it.
fn contested<'a>(
    link: LinkId,
    mac: [u8; 6],
    envelope: &Envelope,
    octets: &'a [u8],
) -> Option<Seen<'a>> {
    use hearth_wire::icmp6::{Message, parse};
    let (address, mac, probing) = match parse(octets, envelope).ok()? {
        Message::NeighbourAdvertisement(message) => {
            (message.target, message.target_link_layer.unwrap_or(mac), false)
        }
        Message::NeighbourSolicitation(message) if envelope.source.is_unspecified() => {
            (message.target, mac, true)
        }
        _ => return None,
    };
    Some(Seen::Told(LinkEvent::Contested { link, address: address.into(), mac, probing }))
}

/// The address in the Home Address option of a plain packet, unless it is one that may have it
/// without a binding: RFC 6275 s.9.3.1 makes an exception of Binding Updates, and the service port
/// answers nobody who is not authentic.
fn home_address_option(mut next_header: u8, mut rest: &[u8]) -> Option<Ipv6Addr> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const DESTINATION_OPTIONS: u8 = 60;
    const UDP: u8 = 17;
    let mut found = None;
    // Every turn takes 8 octets or more off the payload.
    while matches!(next_header, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) {
        let [following, len, ..] = *rest else { return None };
        let (header, behind) = rest.split_at_checked((usize::from(len) + 1) * 8)?;
        if next_header == DESTINATION_OPTIONS {
            found = found.or_else(|| option_of(header.get(2..).unwrap_or_default()));
        }
        (next_header, rest) = (following, behind);
    }
    let service = hearth_wire::MIPV6TLS_PORT.to_be_bytes();
    let to_service = next_header == UDP && rest.get(2..4) == Some(&service[..]);
    found.filter(|_| next_header != hearth_wire::mh::PROTO && !to_service)
}

fn option_of(mut options: &[u8]) -> Option<Ipv6Addr> {
    const PAD1: u8 = 0;
    const HOME_ADDRESS: u8 = 0xc9;
    while let [kind, rest @ ..] = options {
        if *kind == PAD1 {
            options = rest;
            continue;
        }
        let (len, rest) = rest.split_first()?;
        let (data, rest) = rest.split_at_checked(usize::from(*len))?;
        if *kind == HOME_ADDRESS {
            return <[u8; 16]>::try_from(data).ok().map(Ipv6Addr::from);
        }
        options = rest;
    }
    None
}
