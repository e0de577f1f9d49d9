//! ICMPv6 Parameter Problem about a Mobility Header.
//!
//! Read first: RFC 6275 s.9.2; RFC 4443 s.2.4, 3.4; reading R-33.
//!
//! A PType 8 packet has no inner IP header that an ICMP error could quote. The error travels as
//! data to the home address and quotes the packet as the mobile node's IP layer would have seen it
//! from the home address to the HA address.
//!
//! RFC 4443 s.2.4 (c) leaves no choice of how much is quoted: "as much of the IPv6 offending
//! (invoking) packet as possible". So what came encrypted is quoted in full or not at all: the
//! error is sent only where data is protected no worse than the packet was. RFC 6275 s.9.2 only
//! asks for it (SHOULD), and the packet is counted either way.

use core::net::Ipv6Addr;

use hearth_wire::Scope;
use hearth_wire::ip::{Ipv6Header, pseudo_v6};
use zerocopy::IntoBytes;

use crate::event::SignallingPacket;
use crate::sa_table::Sa;

const ICMPV6: u8 = 58;
const ICMPV6_HEADER: usize = 8;
const HOP_LIMIT: u8 = 64;
/// "As much of invoking packet as possible without the ICMPv6 packet exceeding the minimum IPv6
/// MTU" (RFC 4443 s.3.4).
const MOST: usize = 1280;

/// Whether what came under one SA as signalling may leave under the other as data.
pub(crate) fn may_quote(came: &Sa, leaves: &Sa) -> bool {
    let hidden = leaves.suite.encrypts() || !came.suite.encrypts();
    leaves.scope == Scope::SignallingAndData && hidden
}

/// An IPv6 packet with a Parameter Problem, code 0, whose pointer names the octet at `offset` in
/// the payload of `packet`; `None` for a payload that no IPv6 packet can carry.
pub(crate) fn parameter_problem(
    packet: &SignallingPacket<'_>,
    offset: usize,
    home_address: Ipv6Addr,
    ha_address: Ipv6Addr,
) -> Option<Vec<u8>> {
    let (next_header, payload) = (packet.next_header, packet.payload);
    let invoking =
        Ipv6Header::new(home_address, ha_address, next_header, HOP_LIMIT, payload.len())?;
    let quoted = payload.len().min(MOST - 2 * Ipv6Header::LEN - ICMPV6_HEADER);
    let pointer = u32::try_from(Ipv6Header::LEN + offset).ok()?;
    let mut icmp = vec![4, 0, 0, 0];
    icmp.extend_from_slice(&pointer.to_be_bytes());
    icmp.extend_from_slice(invoking.as_bytes());
    icmp.extend_from_slice(payload.get(..quoted)?);
    let len = u32::try_from(icmp.len()).ok()?;
    let checksum = pseudo_v6(ha_address, home_address, len, ICMPV6).plus(&icmp).finish();
    icmp.get_mut(2..4)?.copy_from_slice(&checksum.to_be_bytes());
    let header = Ipv6Header::new(ha_address, home_address, ICMPV6, HOP_LIMIT, icmp.len())?;
    Some([header.as_bytes(), &icmp].concat())
}
