//! The host path: frames to and from the kernel behind a port's TAP.
//!
//! Read first: RFC 6275 s.9.3.1, 10.4.1, 10.4.2, 10.5.1; RFC 5227 s.2.4.

use core::net::{IpAddr, Ipv6Addr};

use hearth_dpdk::Mbuf;

use crate::config::PortId;
use crate::contests::Contest;
use crate::drop_reason::DropReason;
use crate::layout::{ETHERNET_LEN, IPV6_LEN, Ip, ethertype, proto, write_ethernet};
use crate::note::Note;
use crate::stage::icmp::Problem;
use crate::stage::neighbour::{ANSWER_ROOM, Claim, Query};
use crate::stage::refuse::refuse_on_link;
use crate::stage::{for_control, members};
use crate::table::fib::Target;
use crate::view::View;
use crate::work::{Routed, Via, Work};

/// The address under which the kernel sees mobile nodes that are away: of packets that came out of
/// a tunnel, and in answers to its questions. Locally administered.
const TUNNEL_MAC: [u8; 6] = [0x02, 0x68, 0x65, 0x61, 0x72, 0x74];

/// Gives a packet for one of the box's own addresses to the kernel.
pub(crate) fn to_host(view: &View, work: &mut Work, packet: Routed) {
    let Routed { mut mbuf, via } = packet;
    let Ok(ip) = Ip::parse(mbuf.data()) else {
        return view.drop(mbuf, DropReason::IpHeader);
    };
    if view.tables.defended.is_anycast(ip.destination) {
        return to_home_agents(view, mbuf, &ip);
    }
    if let Via::Wire(port) = via {
        // The header that was cut off still stands there.
        return match mbuf.prepend(ETHERNET_LEN) {
            Some(_) => from_wire(view, work, port, mbuf),
            None => view.drop(mbuf, DropReason::BufferRoom),
        };
    }
    // What is said of a link is not said in a tunnel.
    if via == Via::Inside && for_control::is_discovery(&ip, mbuf.data()) {
        return view.drop(mbuf, DropReason::InnerLinkScope);
    }
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

/// RFC 6275 s.10.5.1: control answers a request to the home agents' anycast address, and nobody
/// anything else there.
#[cold]
fn to_home_agents(view: &View, mbuf: Mbuf, ip: &Ip) {
    const DISCOVERY_REQUEST: u8 = 144;
    if ip.proto == proto::ICMPV6 && mbuf.data().get(IPV6_LEN) == Some(&DISCOVERY_REQUEST) {
        view.for_control(Note::Discovery, mbuf);
    } else {
        view.drop(mbuf, DropReason::AnycastOther);
    }
}

/// A frame from a wire that is the kernel's, unless control or the members of a group want it.
pub(crate) fn from_wire(view: &View, work: &mut Work, port: PortId, mut mbuf: Mbuf) {
    if contested(view, work, port, mbuf.data()).is_some() {
        return view.drop(mbuf, DropReason::AddressContested);
    }
    let packet = mbuf.data().get(ETHERNET_LEN..).unwrap_or_default();
    let Some((from, to)) = for_control::ip_addresses(mbuf.data(), packet) else {
        return view.to_host(port, mbuf);
    };
    if to.is_multicast() {
        members::from_link(view, work, (port, to), packet);
        return view.to_host(port, mbuf);
    }
    let Some(home_address) = for_control::home_address_option(packet) else {
        return view.to_host(port, mbuf);
    };
    // RFC 6275 s.9.3.1: without a binding the packet is dropped and its sender told. With one it is
    // dropped as well: what a mobile node sends to the home agent comes out of a tunnel.
    let is_bound = view
        .bound(home_address.into())
        .is_some_and(|(_, bound)| view.tunnels(bound).any(|tunnel| tunnel.remote().ip() == from));
    if is_bound || !work.side.strangers.admits(from, work.now) || mbuf.adj(ETHERNET_LEN).is_none() {
        return view.drop(mbuf, DropReason::PlainHomeAddress);
    }
    view.for_control(Note::PlainHomeAddress { home_address }, mbuf);
}

/// Whether a frame claims an address of this link that is defended; control is told then, once a
/// second. The kernel need not hear of it, except of what is only asked under such an address.
fn contested(view: &View, work: &mut Work, port: PortId, frame: &[u8]) -> Option<Claim> {
    let claim = Claim::read(frame)?;
    let guard = view.tables.defended.get(port, claim.address)?;
    if guard.anycast || view.own_mac(port) == Some(claim.mac) {
        return None;
    }
    if work.side.contests.admits(claim.address, work.now) {
        let Claim { address, mac, probing, .. } = claim;
        view.contests.note(Contest { port, address, mac, probing });
    }
    (!claim.in_passing).then_some(claim)
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
    let own = matches!(view.target(to.into()), Target::Local);
    let is_mobile = !own && view.tables.defended.get(port, to.into()).is_some();
    if !is_mobile || mbuf.adj(ETHERNET_LEN).is_none() {
        return from_wire(view, work, port, mbuf);
    }
    let reason = DropReason::HomeLinkLocal;
    refuse_on_link(view, work, port, mbuf, reason, Problem::AddressUnreachable);
}

/// An IP packet that control sends in the name of the box.
pub(crate) fn from_control(view: &View, work: &mut Work, mut mbuf: Mbuf) {
    match Ip::parse(mbuf.data()) {
        Ok(ip) if mbuf.keep(0, ip.total_len.into()).is_some() => {
            work.lanes.routed.push(Routed { mbuf, via: Via::Host });
        }
        _ => view.drop(mbuf, DropReason::IpHeader),
    }
}

/// A frame that the kernel wrote to a port's TAP: a question for a bound home address is answered,
/// a packet to one is tunnelled, and everything else leaves by the port as it is.
pub(crate) fn from_host(view: &View, work: &mut Work, port: PortId, mut mbuf: Mbuf) {
    view.counters.from_host.add(mbuf.len());
    if mbuf.len() < ETHERNET_LEN {
        return view.drop(mbuf, DropReason::EthernetShort);
    }
    // First, since the kernel's probes go to the address itself (RFC 4861 s.7.3.3).
    mbuf = match answer(view, port, Asker::Kernel, mbuf) {
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
    let contested = contested(view, work, port, mbuf.data()).is_some();
    match answer(view, port, Asker::Link, mbuf) {
        Ok(answer) => work.transmit(view, port, answer),
        Err(frame) if contested => view.drop(frame, DropReason::AddressContested),
        Err(frame) => view.to_host(port, frame),
    }
}

/// Who wants to know an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Link,
    Kernel,
}

/// Turns a question for an address that is defended on this link into its answer; gives any other
/// frame back.
fn answer(view: &View, port: PortId, asker: Asker, mut mbuf: Mbuf) -> Result<Mbuf, Mbuf> {
    let Some(query) = Query::read(mbuf.data()) else { return Err(mbuf) };
    let Some(guard) = view.tables.defended.get(port, query.target) else { return Err(mbuf) };
    let is_answered = match (asker, query.target) {
        // Several may have it, so that there are no duplicates of it (RFC 4862 s.5.4).
        _ if guard.anycast => asker == Asker::Link && !query.is_detection(),
        // What the kernel sends to a mobile node's link-local address leads nowhere.
        (Asker::Kernel, IpAddr::V6(target)) if target.is_unicast_link_local() => {
            query.is_detection()
        }
        _ => true,
    };
    if !is_answered {
        return Err(mbuf);
    }
    let mac = match asker {
        Asker::Link => view.own_mac(port).unwrap_or_default(),
        Asker::Kernel => TUNNEL_MAC,
    };
    let mut space = [0; ANSWER_ROOM];
    let len = query.answer(&mut space, mac, guard, view.tables.service.ip6);
    let room = match mbuf.len().checked_sub(len) {
        Some(behind) => mbuf.trim(behind),
        None => mbuf.append(len - mbuf.len()).map(|_| ()),
    };
    let Some(answer) = room.and(space.get(..len)) else { return Err(mbuf) };
    mbuf.data_mut().copy_from_slice(answer);
    view.counters.neighbour_answers.add(1);
    Ok(mbuf)
}
