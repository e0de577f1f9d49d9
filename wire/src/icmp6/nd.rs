//! Neighbour Discovery.
//!
//! Read first: RFC 4861 s.4.1 to 4.4, 6.1, 7.1; RFC 6275 s.7.1.

use core::net::Ipv6Addr;

use super::option::{
    HomeAgentInformation, Prefixes, emit_link_layer, emit_value, first, option_type, value, walk,
};
use super::{Envelope, HOP_LIMIT, IcmpError};
use crate::mh::writer::Writer;

/// Flags of a Router Advertisement.
const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;
const HOME_AGENT: u8 = 0x20;
/// Flags of a Neighbour Advertisement.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// RFC 4861 s.6.1, 7.1: "The IP Hop Limit field has a value of 255".
const fn check_hop_limit(envelope: &Envelope) -> Result<(), IcmpError> {
    if envelope.hop_limit == HOP_LIMIT { Ok(()) } else { Err(IcmpError::HopLimit) }
}

const fn check(holds: bool) -> Result<(), IcmpError> {
    if holds { Ok(()) } else { Err(IcmpError::Addresses) }
}

/// Router Solicitation (RFC 4861 s.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouterSolicitation {
    /// Source Link-Layer Address of Ethernet.
    pub source_link_layer: Option<[u8; 6]>,
}

impl RouterSolicitation {
    pub(super) fn parse(body: &[u8], envelope: &Envelope) -> Result<Self, IcmpError> {
        check_hop_limit(envelope)?;
        let ([_, _, _, _], options) = body.split_first_chunk().ok_or(IcmpError::Truncated)?;
        walk(options)?;
        let source_link_layer = first(options, option_type::SOURCE_LINK_LAYER);
        // s.6.1.1: an unspecified source has no link-layer address.
        check(!envelope.source.is_unspecified() || source_link_layer.is_none())?;
        Ok(Self { source_link_layer })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.put(&[0; 4])?;
        emit_link_layer(option_type::SOURCE_LINK_LAYER, self.source_link_layer, writer)
    }
}

/// Router Advertisement (RFC 4861 s.4.2, RFC 6275 s.7.1).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Cur Hop Limit |M|O|H| Reserved|       Router Lifetime         |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                         Reachable Time                        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                          Retrans Timer                        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouterAdvertisement<'a> {
    /// Cur Hop Limit; 0: not said.
    pub hop_limit: u8,
    /// M: addresses by DHCPv6.
    pub managed: bool,
    /// O: other configuration by DHCPv6.
    pub other: bool,
    /// H: the router is a home agent on this link.
    pub home_agent: bool,
    /// Router Lifetime in seconds; 0: no default router.
    pub router_lifetime: u16,
    /// Reachable Time in milliseconds; 0: not said.
    pub reachable_time: u32,
    /// Retrans Timer in milliseconds; 0: not said.
    pub retrans_timer: u32,
    /// Source Link-Layer Address of Ethernet.
    pub source_link_layer: Option<[u8; 6]>,
    /// MTU.
    pub mtu: Option<u32>,
    /// Advertisement Interval in milliseconds (RFC 6275 s.7.3).
    pub advertisement_interval: Option<u32>,
    /// Home Agent Information (RFC 6275 s.7.4).
    pub home_agent_information: Option<HomeAgentInformation>,
    /// Prefix Information.
    pub prefixes: Prefixes<'a>,
}

impl<'a> RouterAdvertisement<'a> {
    pub(super) fn parse(body: &'a [u8], envelope: &Envelope) -> Result<Self, IcmpError> {
        check_hop_limit(envelope)?;
        // s.6.1.2: "IP Source Address is a link-local address."
        check(envelope.source.is_unicast_link_local())?;
        let (fixed, options) = body.split_first_chunk::<12>().ok_or(IcmpError::Truncated)?;
        walk(options)?;
        let [hop_limit, flags, l0, l1, a0, a1, a2, a3, t0, t1, t2, t3] = *fixed;
        Ok(Self {
            hop_limit,
            managed: flags & MANAGED != 0,
            other: flags & OTHER != 0,
            home_agent: flags & HOME_AGENT != 0,
            router_lifetime: u16::from_be_bytes([l0, l1]),
            reachable_time: u32::from_be_bytes([a0, a1, a2, a3]),
            retrans_timer: u32::from_be_bytes([t0, t1, t2, t3]),
            source_link_layer: first(options, option_type::SOURCE_LINK_LAYER),
            mtu: value(options, option_type::MTU),
            advertisement_interval: value(options, option_type::ADVERTISEMENT_INTERVAL),
            home_agent_information: HomeAgentInformation::first(options),
            prefixes: Prefixes::Wire(options),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        let flags = (if self.managed { MANAGED } else { 0 })
            | (if self.other { OTHER } else { 0 })
            | (if self.home_agent { HOME_AGENT } else { 0 });
        writer.put(&[self.hop_limit, flags])?;
        writer.put(&self.router_lifetime.to_be_bytes())?;
        writer.put(&self.reachable_time.to_be_bytes())?;
        writer.put(&self.retrans_timer.to_be_bytes())?;
        emit_link_layer(option_type::SOURCE_LINK_LAYER, self.source_link_layer, writer)?;
        emit_value(option_type::MTU, self.mtu, writer)?;
        emit_value(option_type::ADVERTISEMENT_INTERVAL, self.advertisement_interval, writer)?;
        if let Some(information) = self.home_agent_information {
            information.emit(writer)?;
        }
        self.prefixes.emit(writer)
    }
}

/// Neighbour Solicitation (RFC 4861 s.4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NeighbourSolicitation {
    /// The address asked for.
    pub target: Ipv6Addr,
    /// Source Link-Layer Address of Ethernet; none in duplicate address detection.
    pub source_link_layer: Option<[u8; 6]>,
}

impl NeighbourSolicitation {
    pub(super) fn parse(body: &[u8], envelope: &Envelope) -> Result<Self, IcmpError> {
        check_hop_limit(envelope)?;
        let (target, options) = target(body)?;
        walk(options)?;
        let source_link_layer = first(options, option_type::SOURCE_LINK_LAYER);
        // s.7.1.1: from the unspecified address only to a solicited-node address, and without a
        // link-layer address.
        check(
            !envelope.source.is_unspecified()
                || is_solicited_node(envelope.destination) && source_link_layer.is_none(),
        )?;
        Ok(Self { target, source_link_layer })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.put(&[0; 4])?;
        writer.put(&self.target.octets())?;
        emit_link_layer(option_type::SOURCE_LINK_LAYER, self.source_link_layer, writer)
    }
}

/// Neighbour Advertisement (RFC 4861 s.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NeighbourAdvertisement {
    /// R: the sender is a router.
    pub router: bool,
    /// S: answers a solicitation.
    pub solicited: bool,
    /// O: replaces what a cache holds.
    pub overrides: bool,
    /// The address.
    pub target: Ipv6Addr,
    /// Target Link-Layer Address of Ethernet.
    pub target_link_layer: Option<[u8; 6]>,
}

impl NeighbourAdvertisement {
    pub(super) fn parse(body: &[u8], envelope: &Envelope) -> Result<Self, IcmpError> {
        check_hop_limit(envelope)?;
        let flags = body.first().ok_or(IcmpError::Truncated)?;
        let (target, options) = target(body)?;
        walk(options)?;
        let solicited = flags & SOLICITED != 0;
        // s.7.1.2: "If the IP Destination Address is a multicast address the Solicited flag is
        // zero."
        check(!envelope.destination.is_multicast() || !solicited)?;
        Ok(Self {
            router: flags & ROUTER != 0,
            solicited,
            overrides: flags & OVERRIDE != 0,
            target,
            target_link_layer: first(options, option_type::TARGET_LINK_LAYER),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        let flags = (if self.router { ROUTER } else { 0 })
            | (if self.solicited { SOLICITED } else { 0 })
            | (if self.overrides { OVERRIDE } else { 0 });
        writer.put(&[flags, 0, 0, 0])?;
        writer.put(&self.target.octets())?;
        emit_link_layer(option_type::TARGET_LINK_LAYER, self.target_link_layer, writer)
    }
}

/// Target Address and options of a Neighbour message. s.7.1: "Target Address is not a multicast
/// address."
fn target(body: &[u8]) -> Result<(Ipv6Addr, &[u8]), IcmpError> {
    let ([_, _, _, _], rest) = body.split_first_chunk().ok_or(IcmpError::Truncated)?;
    let (target, options) = rest.split_first_chunk().ok_or(IcmpError::Truncated)?;
    let target = Ipv6Addr::from_octets(*target);
    check(!target.is_multicast())?;
    Ok((target, options))
}

/// Whether `address` is in `ff02::1:ff00:0/104` (RFC 4291 s.2.7.1).
fn is_solicited_node(address: Ipv6Addr) -> bool {
    address.octets().starts_with(&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff])
}
