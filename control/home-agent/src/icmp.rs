//! ICMPv6 Parameter Problem about a Mobility Header.
//!
//! Read first: RFC 6275 s.9.2; RFC 4443 s.2.4, 3.4; reading R-33.
//!
//! A PType 8 packet has no inner IP header that an ICMP error could quote. The error travels as
//! data to the home address and quotes the packet as the mobile node's IP layer would have seen it
//! from the home address to the HA address.

use core::net::Ipv6Addr;

use hearth_wire::ip::pseudo_v6;

use crate::event::SignallingPacket;

const ICMPV6: u8 = 58;
const IPV6_HEADER: usize = 40;
const ICMPV6_HEADER: usize = 8;
const HOP_LIMIT: u8 = 64;
/// "As much of invoking packet as possible without the ICMPv6 packet exceeding the minimum IPv6
/// MTU" (RFC 4443 s.3.4).
const MOST: usize = 1280;

/// An IPv6 packet with a Parameter Problem, code 0, whose pointer names the octet at `offset` in
/// the payload of `packet`.
pub(crate) fn parameter_problem(
    packet: &SignallingPacket<'_>,
    offset: usize,
    home_address: Ipv6Addr,
    ha_address: Ipv6Addr,
) -> Vec<u8> {
    let invoking = [
        &ipv6_header(packet.next_header, packet.payload.len(), home_address, ha_address),
        packet.payload,
    ]
    .concat();
    let quoted = invoking.len().min(MOST - IPV6_HEADER - ICMPV6_HEADER);
    let pointer = u32::try_from(IPV6_HEADER + offset).unwrap_or(u32::MAX);
    let mut icmp = vec![4, 0, 0, 0];
    icmp.extend_from_slice(&pointer.to_be_bytes());
    icmp.extend_from_slice(invoking.get(..quoted).unwrap_or_default());
    let len = u32::try_from(icmp.len()).unwrap_or(u32::MAX);
    let checksum = pseudo_v6(ha_address, home_address, len, ICMPV6).plus(&icmp).finish();
    if let Some(field) = icmp.get_mut(2..4) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
    [&ipv6_header(ICMPV6, icmp.len(), ha_address, home_address)[..], &icmp].concat()
}

fn ipv6_header(
    next_header: u8,
    payload_len: usize,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Vec<u8> {
    let payload_len = u16::try_from(payload_len).unwrap_or(u16::MAX);
    let [high, low] = payload_len.to_be_bytes();
    let start = [0x60, 0, 0, 0, high, low, next_header, HOP_LIMIT];
    [&start[..], &source.octets(), &destination.octets()].concat()
}
