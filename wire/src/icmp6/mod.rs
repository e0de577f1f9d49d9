//! ICMPv6 messages of a home link: Neighbour Discovery, home agent discovery, prefix discovery,
//! multicast listeners.
//!
//! Read first: RFC 4443 s.2.1, 2.3; RFC 4861 s.4, 6.1, 7.1; RFC 6275 s.6.5 to 6.8, 7; RFC 3963 s.7;
//! RFC 2710 s.3; RFC 3810 s.5.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Type      |     Code      |           Checksum            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                         Message Body                          :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::Ipv6Addr;

use crate::addresses::Addresses;
use crate::group::GroupRecords;
use crate::ip;
use crate::mh::writer::Writer;

mod discovery;
mod mld;
mod nd;
pub mod option;
#[cfg(test)]
mod tests;

pub use discovery::{
    HomeAgentDiscoveryReply, HomeAgentDiscoveryRequest, MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
};
pub use mld::ListenerQuery;
pub use nd::{
    NeighbourAdvertisement, NeighbourSolicitation, RouterAdvertisement, RouterSolicitation,
};
pub use option::{HomeAgentInformation, PrefixInformation, Prefixes};

/// Next Header value of ICMPv6.
pub const PROTO: u8 = 58;

/// Hop limit of Neighbour Discovery: no router has forwarded the packet (RFC 4861 s.3.1).
pub const HOP_LIMIT: u8 = 255;

/// Types that are named in code.
pub mod icmp_type {
    /// Multicast Listener Query.
    pub const LISTENER_QUERY: u8 = 130;
    /// Multicast Listener Report of version 1.
    pub const LISTENER_REPORT_V1: u8 = 131;
    /// Multicast Listener Done.
    pub const LISTENER_DONE: u8 = 132;
    /// Multicast Listener Report of version 2.
    pub const LISTENER_REPORT_V2: u8 = 143;
    /// Router Solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router Advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour Solicitation.
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// Neighbour Advertisement.
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    /// Home Agent Address Discovery Request.
    pub const HOME_AGENT_DISCOVERY_REQUEST: u8 = 144;
    /// Home Agent Address Discovery Reply.
    pub const HOME_AGENT_DISCOVERY_REPLY: u8 = 145;
    /// Mobile Prefix Solicitation.
    pub const MOBILE_PREFIX_SOLICITATION: u8 = 146;
    /// Mobile Prefix Advertisement.
    pub const MOBILE_PREFIX_ADVERTISEMENT: u8 = 147;
}

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IcmpError {
    /// Fewer octets than the type has.
    Truncated,
    /// Checksum wrong (RFC 4443 s.2.3).
    Checksum,
    /// A type that is not here.
    UnknownType(u8),
    /// Code is not 0.
    Code,
    /// A router has forwarded a message of Neighbour Discovery (RFC 4861 s.6.1, 7.1).
    HopLimit,
    /// Source, destination and contents that RFC 4861 s.6.1 and 7.1 do not allow together.
    Addresses,
    /// An option of length 0, or one that runs past the end.
    Option,
}

/// What the IP header says that the checks of a message ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Source address; of a message with a Home Address option, the home address (RFC 6275
    /// s.6.1.1 says so of Mobility Headers, s.11.3.1 of all that stands behind the option).
    pub source: Ipv6Addr,
    /// Final destination address.
    pub destination: Ipv6Addr,
    /// Hop limit.
    pub hop_limit: u8,
}

/// An ICMPv6 message, its options read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Type 130.
    ListenerQuery(ListenerQuery<'a>),
    /// Type 131: the group.
    ListenerReportV1(Ipv6Addr),
    /// Type 132: the group.
    ListenerDone(Ipv6Addr),
    /// Type 143.
    ListenerReportV2(GroupRecords<'a, Ipv6Addr>),
    /// Type 133.
    RouterSolicitation(RouterSolicitation),
    /// Type 134.
    RouterAdvertisement(RouterAdvertisement<'a>),
    /// Type 135.
    NeighbourSolicitation(NeighbourSolicitation),
    /// Type 136.
    NeighbourAdvertisement(NeighbourAdvertisement),
    /// Type 144.
    HomeAgentDiscoveryRequest(HomeAgentDiscoveryRequest),
    /// Type 145.
    HomeAgentDiscoveryReply(HomeAgentDiscoveryReply<'a>),
    /// Type 146.
    MobilePrefixSolicitation(MobilePrefixSolicitation),
    /// Type 147.
    MobilePrefixAdvertisement(MobilePrefixAdvertisement<'a>),
}

/// Parses and checks an ICMPv6 message, which is all of `octets`.
///
/// # Errors
/// [`IcmpError`].
pub fn parse<'a>(octets: &'a [u8], envelope: &Envelope) -> Result<Message<'a>, IcmpError> {
    let ([message_type, code, _, _], body) =
        octets.split_first_chunk().ok_or(IcmpError::Truncated)?;
    if checksum(octets, envelope.source, envelope.destination) != 0 {
        return Err(IcmpError::Checksum);
    }
    let message = match *message_type {
        icmp_type::LISTENER_QUERY => Message::ListenerQuery(ListenerQuery::parse(body)?),
        icmp_type::LISTENER_REPORT_V1 => Message::ListenerReportV1(mld::parse_group(body)?),
        icmp_type::LISTENER_DONE => Message::ListenerDone(mld::parse_group(body)?),
        icmp_type::LISTENER_REPORT_V2 => {
            let ([_, _, a, b], records) = body.split_first_chunk().ok_or(IcmpError::Truncated)?;
            let records = GroupRecords::parse(records, u16::from_be_bytes([*a, *b]));
            Message::ListenerReportV2(records.ok_or(IcmpError::Truncated)?)
        }
        icmp_type::ROUTER_SOLICITATION => {
            Message::RouterSolicitation(RouterSolicitation::parse(body, envelope)?)
        }
        icmp_type::ROUTER_ADVERTISEMENT => {
            Message::RouterAdvertisement(RouterAdvertisement::parse(body, envelope)?)
        }
        icmp_type::NEIGHBOUR_SOLICITATION => {
            Message::NeighbourSolicitation(NeighbourSolicitation::parse(body, envelope)?)
        }
        icmp_type::NEIGHBOUR_ADVERTISEMENT => {
            Message::NeighbourAdvertisement(NeighbourAdvertisement::parse(body, envelope)?)
        }
        icmp_type::HOME_AGENT_DISCOVERY_REQUEST => {
            Message::HomeAgentDiscoveryRequest(HomeAgentDiscoveryRequest::parse(body)?)
        }
        icmp_type::HOME_AGENT_DISCOVERY_REPLY => {
            Message::HomeAgentDiscoveryReply(HomeAgentDiscoveryReply::parse(body)?)
        }
        icmp_type::MOBILE_PREFIX_SOLICITATION => {
            Message::MobilePrefixSolicitation(MobilePrefixSolicitation::parse(body)?)
        }
        icmp_type::MOBILE_PREFIX_ADVERTISEMENT => {
            Message::MobilePrefixAdvertisement(MobilePrefixAdvertisement::parse(body)?)
        }
        other => return Err(IcmpError::UnknownType(other)),
    };
    if *code == 0 { Ok(message) } else { Err(IcmpError::Code) }
}

/// Writes `message` with its checksum at the start of `out`; the octets written. `None` where `out`
/// is too small.
#[must_use]
pub fn emit(
    message: &Message<'_>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
) -> Option<usize> {
    let mut writer = Writer::new(out);
    let head = |message_type| [message_type, 0, 0, 0];
    match message {
        Message::ListenerQuery(message) => {
            writer.put(&head(icmp_type::LISTENER_QUERY))?;
            message.emit(&mut writer)
        }
        Message::ListenerReportV1(group) => {
            writer.put(&head(icmp_type::LISTENER_REPORT_V1))?;
            mld::emit_group(*group, &mut writer)
        }
        Message::ListenerDone(group) => {
            writer.put(&head(icmp_type::LISTENER_DONE))?;
            mld::emit_group(*group, &mut writer)
        }
        Message::ListenerReportV2(records) => {
            writer.put(&head(icmp_type::LISTENER_REPORT_V2))?;
            records.emit(&mut writer)
        }
        Message::RouterSolicitation(message) => {
            writer.put(&head(icmp_type::ROUTER_SOLICITATION))?;
            message.emit(&mut writer)
        }
        Message::RouterAdvertisement(message) => {
            writer.put(&head(icmp_type::ROUTER_ADVERTISEMENT))?;
            message.emit(&mut writer)
        }
        Message::NeighbourSolicitation(message) => {
            writer.put(&head(icmp_type::NEIGHBOUR_SOLICITATION))?;
            message.emit(&mut writer)
        }
        Message::NeighbourAdvertisement(message) => {
            writer.put(&head(icmp_type::NEIGHBOUR_ADVERTISEMENT))?;
            message.emit(&mut writer)
        }
        Message::HomeAgentDiscoveryRequest(message) => {
            writer.put(&head(icmp_type::HOME_AGENT_DISCOVERY_REQUEST))?;
            message.emit(&mut writer)
        }
        Message::HomeAgentDiscoveryReply(message) => {
            writer.put(&head(icmp_type::HOME_AGENT_DISCOVERY_REPLY))?;
            message.emit(&mut writer)
        }
        Message::MobilePrefixSolicitation(message) => {
            writer.put(&head(icmp_type::MOBILE_PREFIX_SOLICITATION))?;
            message.emit(&mut writer)
        }
        Message::MobilePrefixAdvertisement(message) => {
            writer.put(&head(icmp_type::MOBILE_PREFIX_ADVERTISEMENT))?;
            message.emit(&mut writer)
        }
    }?;
    let len = writer.len();
    let sum = checksum(out.get(..len)?, source, destination);
    out.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    Some(len)
}

/// The checksum with the pseudo-header of RFC 8200 s.8.1: 0 over a message whose own checksum is
/// valid.
fn checksum(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> u16 {
    let len = u32::try_from(message.len()).unwrap_or_default();
    ip::pseudo_v6(source, destination, len, PROTO).plus(message).finish()
}

/// Writes addresses one behind the other.
fn emit_addresses(addresses: Addresses<'_>, writer: &mut Writer<'_>) -> Option<()> {
    addresses.iter().try_for_each(|address| writer.put(&address.octets()))
}
