//! Home links: what the configuration says of them, and what is seen on them.
//!
//! Read first: RFC 6275 s.10.3.1, 10.4.1, 10.5.1; RFC 4861 s.4; RFC 5227 s.2.1.
//!
//! Frames pass here on their way between the workers and the kernel. The dataplane answers for
//! home addresses by itself; what is left is who else has an address that is being asked for, and
//! who advertises what.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use hearth_dataplane::{LinkEnds, PortId, SignallingPacket};
use hearth_home_agent::{
    Action, DiscoveryPolicy, Event, HomeAgent, HomeLink, HomePrefix, LinkEvent, LinkId, LinkPolicy,
    MobilePrefixPolicy, Timestamp, WallClock, anycast,
};
use hearth_wire::icmp6::{self, Envelope, Message, icmp_type};
use hearth_wire::ip::Ipv6Header;
use ipnet::IpNet;
use tracing::warn;

use crate::config::Config;
use crate::control::{Control, Parts};
use crate::home_link_config::own_ip6;

const ETHERNET: usize = 14;

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

/// The port on whose link the Home-Agents anycast address of a prefix is answered for. Of a routed
/// prefix nobody asks on any link, and the first port does.
fn anycast_of(home: &HomePrefix) -> Option<(PortId, Ipv6Addr)> {
    let IpNet::V6(prefix) = home.prefix else { return None };
    Some((PortId(home.link.map_or(0, |link| link.0)), anycast(prefix)))
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
        let asked_at: Vec<_> = if policy.discovery.is_some() {
            policy.prefixes.iter().filter_map(anycast_of).collect()
        } else {
            Vec::new()
        };
        self.parts.tables.set_anycast(&asked_at);
        self.parts.home_agent.seed(seed());
        self.tell(Event::Link(LinkEvent::Configured(&policy)));
    }
}

/// A mobile node that signals from its home address on its home link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AtHome {
    home_address: IpAddr,
    port: PortId,
    mac: [u8; 6],
}

impl AtHome {
    /// The sender of a message, where it is one; `macs` are those of the ports. What a router has
    /// forwarded comes from another link, or looks no different, and goes back by that router.
    pub(crate) fn of(
        home_agent: &HomeAgent,
        macs: &[[u8; 6]],
        packet: &SignallingPacket<'_>,
    ) -> Option<Self> {
        let LinkEnds { destination, source } = packet.frame?;
        let home_address = packet.remote.ip();
        let LinkId(port) = home_agent.home_link(home_address)?;
        let own = macs.get(usize::from(port)) == Some(&destination);
        own.then_some(Self { home_address, port: PortId(port), mac: source })
    }
}

impl Control {
    /// The port on whose link an answer finds a mobile node that is at home while its address is
    /// still bound: it was refused. "The home agent MUST send it to the mobile node's link-layer
    /// address" (RFC 6275 s.10.3.2): by the routes it would go into the tunnel.
    pub(crate) fn refused_at_home(&mut self, remote: IpAddr) -> Option<PortId> {
        let AtHome { port, mac, .. } =
            *self.at_home.iter().rfind(|sender| sender.home_address == remote)?;
        let IpAddr::V6(home_address) = remote else { return None };
        self.parts.home_agent.binding(home_address)?;
        // It is used for such answers only, and goes with the binding.
        match self.parts.tables.set_neighbour(port, remote, Some(mac)) {
            Ok(()) => Some(port),
            Err(error) => {
                warn!(%home_address, %error, "a mobile node at home can't be answered there");
                None
            }
        }
    }

    /// While a home address was bound, the kernel found its mobile node by the dataplane's answer
    /// on the TAP. What is sent to it from now on goes to the link, the answer to a de-registration
    /// at home first of all (RFC 6275 s.10.3.2, 9.5.4).
    pub(crate) fn forget_stand_in(&mut self, home_address: Ipv6Addr) {
        let Parts { home_agent, tables, kernel, .. } = &mut self.parts;
        let Some(LinkId(port)) = home_agent.home_link(home_address.into()) else { return };
        let address = IpAddr::V6(home_address);
        if !tables.knows_neighbour(PortId(port), address) {
            return;
        }
        let forgotten = tables.set_neighbour(PortId(port), address, None);
        if let Err(error) = forgotten {
            warn!(%home_address, %error, "a neighbour of before is still known");
        }
        if let Err(error) = kernel.forget_neighbour(port, address) {
            warn!(%home_address, %error, "the kernel does not forget a neighbour");
        }
    }
}

/// Tells the home agent what a frame on a port says of its link; `own`: the kernel sends it.
pub(crate) fn tell(
    home_agent: &mut HomeAgent,
    now: Timestamp,
    (port, frame): (u16, &[u8]),
    own: bool,
    actions: &mut Vec<Action>,
) {
    if let Some(event) = look(home_agent.link_policy(), LinkId(port), frame, own) {
        home_agent.handle(now, Event::Link(event), actions);
    }
}

/// What a frame says of its link, where that is a home link.
fn look<'a>(
    policy: &LinkPolicy,
    link: LinkId,
    frame: &'a [u8],
    own: bool,
) -> Option<LinkEvent<'a>> {
    if policy.links.iter().all(|end| end.id != link) {
        return None;
    }
    let (header, packet) = frame.split_first_chunk::<ETHERNET>()?;
    let [_, _, _, _, _, _, mac @ .., high, low] = *header;
    match [high, low] {
        [0x08, 0x06] if !own => arp(link, packet),
        [0x86, 0xdd] => ipv6(link, mac, packet, own),
        _ => None,
    }
}

/// RFC 5227 s.2.1.1: whoever sends from an address has it; a Probe, from no address, wants it.
fn arp(link: LinkId, packet: &[u8]) -> Option<LinkEvent<'static>> {
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
    Some(LinkEvent::Contested { link, address: address.into(), mac: *mac, probing })
}

fn ipv6(link: LinkId, mac: [u8; 6], packet: &[u8], own: bool) -> Option<LinkEvent<'_>> {
    let (header, payload) = packet.split_first_chunk::<{ Ipv6Header::LEN }>()?;
    let [first, _, _, _, a, b, next_header, hop_limit, addresses @ ..] = *header;
    let (source, destination) = addresses.split_first_chunk::<16>()?;
    let destination = <[u8; 16]>::try_from(destination).ok()?.into();
    let octets = payload.get(..usize::from(u16::from_be_bytes([a, b])))?;
    if first >> 4 != 6 || next_header != icmp6::PROTO {
        return None;
    }
    let envelope = Envelope { source: (*source).into(), destination, hop_limit };
    match *octets.first()? {
        icmp_type::ROUTER_ADVERTISEMENT => {
            Some(LinkEvent::RouterAdvertisement { link, own, envelope, octets })
        }
        icmp_type::NEIGHBOUR_ADVERTISEMENT | icmp_type::NEIGHBOUR_SOLICITATION if !own => {
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
    octets: &[u8],
) -> Option<LinkEvent<'a>> {
    let (address, mac, probing) = match icmp6::parse(octets, envelope).ok()? {
        Message::NeighbourAdvertisement(message) => {
            (message.target, message.target_link_layer.unwrap_or(mac), false)
        }
        Message::NeighbourSolicitation(message) if envelope.source.is_unspecified() => {
            (message.target, mac, true)
        }
        _ => return None,
    };
    Some(LinkEvent::Contested { link, address: address.into(), mac, probing })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(1);
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn policy() -> LinkPolicy {
        let ip6 = "2001:db8:b::1".parse().unwrap();
        let links = vec![HomeLink { id: LINK, mac: [2, 0, 0, 0, 0, 1], ip6 }];
        LinkPolicy { links, ..LinkPolicy::default() }
    }

    fn arp_frame(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
        let fixed = [8, 6, 0, 1, 8, 0, 6, 4, 0, operation];
        [&[0xff; 6], &MAC, &fixed[..], &MAC, &sender, &[0; 6], &target].concat()
    }

    #[test]
    fn who_sends_from_an_address_has_it_and_who_probes_wants_it() {
        let (own, other) = ([203, 0, 113, 7], [203, 0, 113, 9]);
        for (operation, sender, address, probing) in
            [(1, own, own, false), (2, own, own, false), (1, [0; 4], other, true)]
        {
            let frame = arp_frame(operation, sender, other);
            let address = IpAddr::from(address);
            let event = LinkEvent::Contested { link: LINK, address, mac: MAC, probing };
            assert_eq!(look(&policy(), LINK, &frame, false), Some(event));
            assert_eq!(look(&policy(), LinkId(0), &frame, false), None, "no home link");
            assert_eq!(look(&policy(), LINK, &frame, true), None, "the kernel's own");
        }
        assert_eq!(look(&policy(), LINK, &arp_frame(2, [0; 4], other), false), None);
    }

    #[test]
    fn frames_that_are_cut_off_say_nothing() {
        let frame = arp_frame(1, [203, 0, 113, 7], [203, 0, 113, 9]);
        assert!((0..frame.len()).all(|len| look(&policy(), LINK, &frame[..len], false).is_none()));
    }
}
