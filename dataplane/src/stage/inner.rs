//! The inner packet of PType 0 and 1: is it one, and may this mobile node send it?
//!
//! Read first: RFC 6275 s.10.4.5; RFC 6040 s.4.2; readings R-22, R-24 (its last three checks),
//!

use crate::config::Service;
use crate::drop_reason::DropReason;
use crate::layout::{
    Address6, IPV4_LEN, IPV6_LEN, Ip, IpError, be16, be32, destination_port, ethertype,
    ipv4_header_sum, is_global4, is_link_scope, proto, set_ecn, upper_layer,
};
use crate::outer::combine_ecn;
use crate::sa::slot::Sender;
use crate::stage::for_control;
use crate::table::binding::BindingEntry;
use crate::view::View;

/// An inner packet of the common shape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common {
    /// Octets by its own length field.
    pub(crate) len: u16,
    pub(crate) destination: Address6,
    pub(crate) ethertype: [u8; 2],
    /// Whether one hop more does not end its way.
    pub(crate) may_travel: bool,
}

/// Reads an inner packet of the common shape, out of a tunnel that met no congestion, whose
/// sender may send it; whatever [`read`], [`admit`] or [`carry_ecn`] might object to or change is
/// left to them.
#[inline(always)]
#[expect(clippy::inline_always, reason = "once per packet")]
pub(crate) fn express(
    packet: &[u8],
    next_header: u8,
    sender: &Sender,
    service: &Service,
) -> Option<Common> {
    match next_header {
        proto::IPV6 => express6(packet, sender, service),
        proto::IPV4 => express4(packet, sender, service),
        _ => None,
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "once per packet")]
fn express6(packet: &[u8], sender: &Sender, service: &Service) -> Option<Common> {
    let header = packet.first_chunk::<IPV6_LEN>()?;
    let payload_len = be16(header, 4);
    let (source, destination) = (Address6::at(header, 8), Address6::at(header, 24));
    let is_sound = header[0] >> 4 == 6
        && usize::from(payload_len) + IPV6_LEN <= packet.len()
        && sender.home6 == source
        && source.is_global()
        && destination.is_global()
        && service.ip6.is_none_or(|ip| Address6::from(ip) != destination);
    is_sound.then(|| Common {
        // No overflow: the packet is as long.
        len: payload_len.wrapping_add(40),
        destination,
        ethertype: ethertype::IPV6,
        may_travel: header[7] > 1,
    })
}

#[inline]
fn express4(packet: &[u8], sender: &Sender, service: &Service) -> Option<Common> {
    let header = packet.first_chunk::<IPV4_LEN>()?;
    let total_len = be16(header, 2);
    let (source, destination) = (be32(header, 12), be32(header, 16));
    let is_sound = header[0] == 0x45
        && total_len >= 20
        && usize::from(total_len) <= packet.len()
        && ipv4_header_sum(header) == 0
        && sender.home4 == source
        && is_global4(source)
        && is_global4(destination)
        && service.ip4.is_none_or(|ip| ip.to_bits() != destination);
    is_sound.then(|| Common {
        len: total_len,
        destination: Address6::mapped(destination),
        ethertype: ethertype::IPV4,
        may_travel: header[8] > 1,
    })
}

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

/// Where a packet goes that its mobile node may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Onward {
    /// Wherever its destination is.
    Forward,
    /// To the home agent, from behind a mobile router: it may be an envelope of a mobile node that
    /// is there (RFC 3963 s.6.4).
    FromBehind,
    /// To control.
    ForControl,
}

/// Whether a mobile node with this binding may send the packet, and whether it may be forwarded.
pub(crate) fn admit(
    view: &View,
    ip: &Ip,
    packet: &[u8],
    binding: &BindingEntry,
) -> Result<Onward, DropReason> {
    if for_control::wants(ip, packet, binding, &view.tables.service)? {
        return Ok(Onward::ForControl);
    }
    // such packets are never forwarded, whoever sent them.
    if is_link_scope(ip.source) || is_link_scope(ip.destination) {
        return Err(DropReason::InnerLinkScope);
    }
    if !view.may_send_from(binding, ip.source) {
        return Err(DropReason::InnerSource);
    }
    let service = &view.tables.service;
    if service.is_at(ip.destination) {
        return admit_to_home_agent(ip, packet, service, binding.is_home(ip.source));
    }
    Ok(Onward::Forward)
}

/// RFC 6618 s.6.3: signalling for the home agent comes as PType 8, and a mobile node's own envelope
/// in no other of its packets: the kernel, which has nobody at the service port, would answer it.
fn admit_to_home_agent(
    ip: &Ip,
    packet: &[u8],
    service: &Service,
    from_home: bool,
) -> Result<Onward, DropReason> {
    match upper_layer(ip, packet) {
        Some(upper) if upper.proto == proto::MOBILITY && ip.destination.is_ipv6() => {
            Err(DropReason::EmbeddedMobilityHeader)
        }
        Some(upper)
            if from_home
                && upper.proto == proto::UDP
                && destination_port(packet, upper) == Some(service.port) =>
        {
            Err(DropReason::EmbeddedEnvelope)
        }
        _ if from_home => Ok(Onward::Forward),
        _ => Ok(Onward::FromBehind),
    }
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
