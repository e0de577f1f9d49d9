//! The host path: frames to and from the kernel behind a port's TAP.
//!
//! Read first: RFC 6275 s.10.4.1.

use core::net::Ipv6Addr;

use hearth_dpdk::Mbuf;

use crate::config::PortId;
use crate::drop_reason::DropReason;
use crate::layout::{ETHERNET_LEN, Ip, ethertype, write_ethernet};
use crate::stage::icmp::Problem;
use crate::stage::neighbour::{ANSWER_ROOM, Query};
use crate::stage::refuse::refuse_on_link;
use crate::table::fib::Target;
use crate::view::View;
use crate::work::{Routed, Via, Work};

/// The address under which the kernel sees mobile nodes that are away: of packets that came out of
/// a tunnel, and in answers to its questions. Locally administered.
const TUNNEL_MAC: [u8; 6] = [0x02, 0x68, 0x65, 0x61, 0x72, 0x74];

/// Gives a packet for one of the box's own addresses to the kernel.
pub(crate) fn to_host(view: &View, work: &mut Work, packet: Routed) {
    let Routed { mut mbuf, via } = packet;
    if let Via::Wire(port) = via {
        // The header that was cut off still stands there.
        return match mbuf.prepend(ETHERNET_LEN) {
            Some(_) => view.to_host(port, mbuf),
            None => view.drop(mbuf, DropReason::BufferRoom),
        };
    }
    let Ok(ip) = Ip::parse(mbuf.data()) else {
        return view.drop(mbuf, DropReason::IpHeader);
    };
    // Out of a tunnel: to the port behind which the sender's home link is, so that the kernel's
    // reverse path check sees the packet where it would send the answer.
    let port = match view.target(ip.source) {
        Target::Port { port, .. } | Target::Unbound { under: Some(port) } => port,
        Target::Local | Target::Unbound { under: None } | Target::None => PortId(0),
    };
    let Some(mac) = work.tx.get(usize::from(port.0)).map(|tx| tx.mac) else {
        return view.drop(mbuf, DropReason::PortUnknown);
    };
    let Some(header) = mbuf.prepend(ETHERNET_LEN) else {
        return view.drop(mbuf, DropReason::BufferRoom);
    };
    write_ethernet(header, mac, TUNNEL_MAC, ip.ethertype());
    view.to_host(port, mbuf);
}

/// A frame for a unicast link-local address: the kernel's, unless it is that of a mobile node
/// whose home link this is.
///
/// RFC 6275 s.10.4.2: packets to its link-local address "MUST NOT be tunneled [...] Instead, these
/// packets MUST be discarded and the home agent SHOULD return an ICMP Destination Unreachable,
/// Code 3".
#[cold]
pub(crate) fn to_link_local(
    view: &View,
    work: &mut Work,
    port: PortId,
    to: Ipv6Addr,
    mut mbuf: Mbuf,
) {
    let interface_id = to.to_bits() & u128::from(u64::MAX);
    let is_mobile = |prefix: &Ipv6Addr| {
        let home = Ipv6Addr::from_bits(prefix.to_bits() | interface_id);
        view.bound(home.into()).is_some()
    };
    let own = matches!(view.target(to.into()), Target::Local);
    if own || !view.tables.home_links.iter().any(is_mobile) || mbuf.adj(ETHERNET_LEN).is_none() {
        return view.to_host(port, mbuf);
    }
    let reason = DropReason::HomeLinkLocal;
    refuse_on_link(view, work, port, mbuf, reason, Problem::AddressUnreachable);
}

/// A frame that the kernel wrote to a port's TAP: a question for a bound home address is answered,
/// a packet to one is tunnelled, and everything else leaves by the port as it is.
pub(crate) fn from_host(view: &View, work: &mut Work, port: PortId, mut mbuf: Mbuf) {
    view.counters.from_host.add(mbuf.len());
    if mbuf.len() < ETHERNET_LEN {
        return view.drop(mbuf, DropReason::EthernetShort);
    }
    // First, since the kernel's probes go to the address itself (RFC 4861 s.7.3.3).
    mbuf = match answer(view, port, TUNNEL_MAC, mbuf) {
        Ok(answer) => return view.to_host(port, answer),
        Err(frame) => frame,
    };
    if let Some((header, packet)) = mbuf.data().split_first_chunk::<ETHERNET_LEN>()
        && matches!([header[12], header[13]], ethertype::IPV4 | ethertype::IPV6)
        && let Ok(ip) = Ip::parse(packet)
        && view.carried_to(ip.destination).is_some()
    {
        if mbuf.keep(ETHERNET_LEN, ip.total_len.into()).is_none() {
            return view.drop(mbuf, DropReason::IpLengthBeyondData);
        }
        work.lanes.routed.push(Routed { mbuf, via: Via::Host });
        return;
    }
    work.transmit(view, port, mbuf);
}

/// A question from the link: who has this address?
pub(crate) fn query_from_wire(view: &View, work: &mut Work, port: PortId, mbuf: Mbuf) {
    let mac = view.own_mac(port).unwrap_or_default();
    match answer(view, port, mac, mbuf) {
        Ok(answer) => work.transmit(view, port, answer),
        Err(frame) => view.to_host(port, frame),
    }
}

/// Turns a question for a bound home address on this link into its answer, `mac`; gives any other
/// frame back.
fn answer(view: &View, port: PortId, mac: [u8; 6], mut mbuf: Mbuf) -> Result<Mbuf, Mbuf> {
    let Some(query) = Query::read(mbuf.data()) else { return Err(mbuf) };
    // A home address is answered for on its home link only: where its prefix is routed to.
    let here = matches!(view.target(query.target), Target::Port { port: home, .. } if home == port);
    if !here || view.bound(query.target).is_none() {
        return Err(mbuf);
    }
    let mut space = [0; ANSWER_ROOM];
    let len = query.answer(&mut space, mac, view.tables.service.ip6);
    let room = match mbuf.len().checked_sub(len) {
        Some(behind) => mbuf.trim(behind),
        None => mbuf.append(len - mbuf.len()).map(|_| ()),
    };
    let Some(answer) = room.and(space.get(..len)) else { return Err(mbuf) };
    mbuf.data_mut().copy_from_slice(answer);
    view.counters.neighbour_answers.add(1);
    Ok(mbuf)
}
