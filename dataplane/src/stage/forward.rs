//! Looking packets up by their destination: a bound home address, the network behind one, the box
//! itself, or a route.
//!
//! Read first: RFC 6275 s.10.4.2, 10.4.5; RFC 3963 s.6.5; RFC 8200 s.3; RFC 4291 s.2.5.6.

use hearth_dpdk::BURST;

use crate::drop_reason::DropReason;
use crate::layout::{Address6, Ip, be32, decrement_hop_limit, is_global4, is_link_scope};
use crate::sa::slot::BindingIndex;
use crate::stage::icmp::Problem;
use crate::stage::refuse::{refuse, refuse_on_link};
use crate::stage::{egress, host};
use crate::table::next_hop::{self, NextHop, Way};
use crate::table::shared::Tables;
use crate::view::View;
use crate::work::{Downlink, Routed, Unknown, Via, Work};

/// Asks for what [`route`] will look at first of the packets that wait for it, in a loop of its own as
/// [`tunnel_in::look_ahead`](super::tunnel_in::look_ahead) does.
pub(crate) fn look_ahead(view: &View, work: &Work) {
    for unknown in work.lanes.unknown.iter().filter(|unknown| !unknown.repeats) {
        view.tables.homes.prefetch(unknown.to);
    }
}

/// Routes the packets of the lane: those whose destination is remembered at once, the others a chunk
/// at a time.
pub(crate) fn route(view: &View, work: &mut Work) {
    let mut lane = core::mem::take(&mut work.lanes.routed);
    if view.watch.is_on() {
        view.watch.forwards(lane.iter_mut().map(|packet| &mut packet.mbuf));
    }
    let mut before = None;
    for packet in lane.drain(..) {
        let (is_global, to) = ends(packet.mbuf.data()).unwrap_or_default();
        if is_global {
            take(view, work, packet, to, &mut before);
            continue;
        }
        before = None;
        let to = uncommon(packet.mbuf.data());
        work.lanes.unknown.push(Unknown { packet, to, is_global, repeats: false });
    }
    work.lanes.routed = lane;
    if !work.lanes.unknown.is_empty() {
        route_unknown(view, work);
    }
}

/// Sends a packet between two addresses that are beyond their links on its way, if its destination is
/// remembered; else it waits for [`route`]. `before` is where the last one went that does.
#[inline]
pub(crate) fn take(
    view: &View,
    work: &mut Work,
    packet: Routed,
    to: Address6,
    before: &mut Option<Address6>,
) {
    // Packets to one destination come in trains: what is said of the first holds for all.
    let repeats = *before == Some(to);
    if !repeats && let Some(neighbour) = work.recent.get(to) {
        return send_on(view, work, packet, NextHop::Neighbour(neighbour));
    }
    *before = Some(to);
    work.lanes.unknown.push(Unknown { packet, to, is_global: true, repeats });
}

fn route_unknown(view: &View, work: &mut Work) {
    let mut lane = core::mem::take(&mut work.lanes.unknown);
    while !lane.is_empty() {
        let count = lane.len().min(BURST);
        let found = look_up(view, lane.get(..count).unwrap_or_default());
        for (Unknown { packet, is_global, .. }, binding) in lane.drain(..count).zip(found) {
            let Some(binding) = binding else {
                by_route(view, work, packet);
                continue;
            };
            if !is_global && is_from_link(packet.mbuf.data()) {
                view.drop(packet.mbuf, DropReason::LinkLocalForward);
                continue;
            }
            let from_host = packet.via == Via::Host;
            let mbuf = packet.mbuf;
            work.lanes.downlink.push(Downlink { mbuf, binding, from_host, depth: 0 });
        }
    }
    work.lanes.unknown = lane;
}

/// The bindings of a chunk's destinations, where they are bound home addresses or in the networks of
/// mobile routers. Each step has a
/// short loop of its own, so that what all packets need comes from memory at the same time.
fn look_up(view: &View, packets: &[Unknown]) -> [Option<BindingIndex>; BURST] {
    let Tables { homes, bindings, .. } = &*view.tables;
    // Packets to one destination come in trains: those that repeat the one before are left out.
    for unknown in packets.iter().filter(|unknown| !unknown.repeats) {
        homes.prefetch(unknown.to);
    }
    let mut found = [None; BURST];
    // The first may repeat one of another chunk.
    let mut binding = packets.first().and_then(|first| view.tables.binding_of(first.to));
    for (unknown, found) in packets.iter().zip(&mut found) {
        if !unknown.repeats {
            binding = view.tables.binding_of(unknown.to);
            if let Some(binding) = binding {
                bindings.prefetch(binding);
            }
        }
        *found = binding;
    }
    found
}

/// Whether a packet is IPv6, and long enough for its header.
#[inline]
fn is_ipv6(packet: &[u8]) -> bool {
    packet.first_chunk::<40>().is_some_and(|header| header[0] >> 4 == 6)
}

/// Whether both ends of a packet are beyond their links for certain, and its destination.
#[inline]
fn ends(packet: &[u8]) -> Option<(bool, Address6)> {
    if let Some(header) = packet.first_chunk::<40>()
        && header[0] >> 4 == 6
    {
        let (from, to) = (Address6::at(header, 8), Address6::at(header, 24));
        return Some((from.is_global() && to.is_global(), to));
    }
    let header = packet.first_chunk::<20>()?;
    let (from, to) = (be32(header, 12), be32(header, 16));
    Some((is_global4(from) && is_global4(to), Address6::mapped(to)))
}

/// The destination of a packet as home addresses are looked up; the unspecified address, which is
/// nobody's, where it is none.
#[cold]
fn uncommon(packet: &[u8]) -> Address6 {
    let home = Ip::addresses(packet).and_then(|(_, to)| Address6::of_home(to));
    home.unwrap_or_default()
}

/// Whether the source of a packet is of its link only, which a tunnel leaves as well.
#[inline]
fn is_from_link(packet: &[u8]) -> bool {
    Ip::addresses(packet).is_some_and(|(source, _)| is_link_scope(source))
}

/// A packet to no mobile node.
#[inline(never)]
fn by_route(view: &View, work: &mut Work, packet: Routed) {
    let Some((source, destination)) = Ip::addresses(packet.mbuf.data()) else {
        return view.drop(packet.mbuf, DropReason::IpHeader);
    };
    match next_hop::find(view, destination) {
        Way::None => {
            refuse(view, work, packet.mbuf, DropReason::NoRoute, Problem::NoRoute);
        }
        // RFC 6275 s.10.3.1: nobody is there, and nobody else answers for it.
        Way::Unbound => {
            let reason = DropReason::HomeAddressUnbound;
            refuse(view, work, packet.mbuf, reason, Problem::AddressUnreachable);
        }
        Way::Local => host::to_host(view, work, packet),
        Way::Out(_) if is_link_scope(source) || is_link_scope(destination) => {
            beyond_scope(view, work, packet);
        }
        Way::Out(hop) => {
            if let (NextHop::Neighbour(neighbour), Some((_, to))) = (hop, ends(packet.mbuf.data()))
            {
                work.recent.put(to, neighbour);
            }
            send_on(view, work, packet, hop);
        }
    }
}

/// A packet that must not leave its link (RFC 4291 s.2.5.6).
#[cold]
fn beyond_scope(view: &View, work: &mut Work, packet: Routed) {
    let reason = DropReason::LinkLocalForward;
    match packet.via {
        Via::Wire(port) if is_ipv6(packet.mbuf.data()) => {
            refuse_on_link(view, work, port, packet.mbuf, reason, Problem::BeyondScope);
        }
        _ => view.drop(packet.mbuf, reason),
    }
}

/// Sends a packet on its way: one hop less, out by a port.
#[inline]
fn send_on(view: &View, work: &mut Work, packet: Routed, hop: NextHop) {
    let Routed { mut mbuf, via } = packet;
    if via != Via::Host && !decrement_hop_limit(mbuf.data_mut()) {
        return refuse(view, work, mbuf, DropReason::HopLimit, Problem::HopLimit);
    }
    view.counters.forwarded.add(mbuf.len());
    egress::send_to(view, work, mbuf, hop);
}
