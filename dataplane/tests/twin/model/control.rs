//! What a mobile node says to its router through the tunnel (R-27, RFC 6275 s.6.7, 10.4.3, 10.4.4).

use std::net::{IpAddr, Ipv6Addr};

use hearth_dataplane::DropReason as D;

use super::World;
use super::ip::{self, Ip};
use crate::rig::Registration;

/// The home address under which control gets a packet, if it does.
pub fn wanted(
    world: &World,
    packet: &[u8],
    ip: &Ip,
    binding: &Registration,
) -> Result<Option<Ipv6Addr>, D> {
    let to_home_agent = world.service.get(&ip.is_v6()) == Some(&ip.to);
    if !(to_home_agent || ip::is_link_scope(ip.to)) {
        return Ok(None);
    }
    let Some((proto, at)) = ip::upper_layer_of_first(packet, ip) else { return Ok(None) };
    let port = if ip.is_v6() { 547_u16 } else { 67 };
    if proto == 17 && packet.get(at + 2..at + 4) == Some(&port.to_be_bytes()) {
        return Err(D::InnerDhcp);
    }
    let kind = packet.get(at).copied().unwrap_or_default();
    let report = match (ip.is_v6(), proto) {
        (true, 58) => matches!(kind, 131 | 132 | 143),
        (false, 2) => matches!(kind, 0x12 | 0x16 | 0x17 | 0x22),
        _ => false,
    };
    let home = match ip.from {
        IpAddr::V6(from) => from == binding.home_address,
        IpAddr::V4(from) => Some(from) == binding.ipv4_home_address,
    };
    if report && ip.to.is_multicast() {
        let own = home || ip.from.is_unspecified() || ip::is_link_local(ip.from);
        return if own { Ok(Some(binding.home_address)) } else { Err(D::InnerSource) };
    }
    let solicits = to_home_agent && home && ip.is_v6() && (proto, kind) == (58, 146);
    Ok(solicits.then_some(binding.home_address))
}
