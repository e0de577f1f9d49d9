//! The inner packet of PType 0 and 1: is it one, and may this mobile node send it?
//!
//! Read first: RFC 6275 s.10.4.5; RFC 6040 s.4.2; readings R-22, R-24 (its last three checks),
//!

use core::net::{IpAddr, Ipv6Addr};

use crate::drop_reason::DropReason;
use crate::layout::{Ip, IpError, is_link_scope, proto, set_ecn, upper_layer_v6};
use crate::outer::combine_ecn;
use crate::table::binding::BindingEntry;

/// Reads the inner header. `next_header` is what the trailer says of it; PType 0 says nothing.
pub(crate) fn read(packet: &[u8], next_header: Option<u8>) -> Result<Ip, DropReason> {
    let said = match packet.first().map(|first| first >> 4) {
        Some(4) => proto::IPV4,
        Some(6) => proto::IPV6,
        Some(_) => return Err(DropReason::InnerVersion),
        None => return Err(DropReason::InnerLength),
    };
    if next_header.is_some_and(|next_header| next_header != said) {
        return Err(DropReason::InnerVersion);
    }
    Ip::parse(packet).map_err(|error| match error {
        IpError::Version => DropReason::InnerVersion,
        IpError::Truncated | IpError::BeyondData => DropReason::InnerLength,
        IpError::Malformed | IpError::Checksum => DropReason::InnerHeader,
    })
}

/// Whether a mobile node with this binding may send the packet, and whether it may be forwarded.
pub(crate) fn admit(
    ip: &Ip,
    packet: &[u8],
    binding: &BindingEntry,
    home_agent: Option<Ipv6Addr>,
) -> Result<(), DropReason> {
    // such packets are never forwarded, whoever sent them.
    if is_link_scope(ip.source) || is_link_scope(ip.destination) {
        return Err(DropReason::InnerLinkScope);
    }
    if !binding.may_send_from(ip.source) {
        return Err(DropReason::InnerSource);
    }
    // RFC 6618 s.6.3: what is meant for the home agent comes as PType 8.
    let to_home_agent = matches!(ip.destination, IpAddr::V6(to) if Some(to) == home_agent);
    if to_home_agent && upper_layer_v6(packet).is_some_and(|upper| upper.proto == proto::MOBILITY) {
        return Err(DropReason::EmbeddedMobilityHeader);
    }
    Ok(())
}

/// Carries congestion marks of the outer header into the inner one (RFC 6040 s.4.2).
pub(crate) fn carry_ecn(ip: &Ip, packet: &mut [u8], outer_ecn: u8) -> Result<(), DropReason> {
    match combine_ecn(ip.traffic_class, outer_ecn) {
        None => return Err(DropReason::EcnNotCapable),
        Some(ecn) if ecn == ip.traffic_class & 3 => {}
        Some(ecn) => set_ecn(packet, ecn),
    }
    Ok(())
}
