//! Finished packets: next hop, Ethernet header, port.

use hearth_dpdk::Mbuf;

use crate::drop_reason::DropReason;
use crate::layout::{ETHERNET_LEN, Ip, ethertype};
use crate::stage::sizes;
use crate::table::next_hop::{self, NeighbourIndex, NextHop, Way};
use crate::trace::Stage;
use crate::view::View;
use crate::work::{Outgoing, Work};

/// Sends the packets of the lane.
pub(crate) fn send(view: &View, work: &mut Work) {
    let mut lane = core::mem::take(&mut work.lanes.outgoing);
    for Outgoing { mbuf, hop } in lane.drain(..) {
        send_to(view, work, mbuf, hop);
    }
    work.lanes.outgoing = lane;
}

/// Sends one packet.
#[inline]
pub(crate) fn send_to(view: &View, work: &mut Work, mbuf: Mbuf, hop: NextHop) {
    if view.watch.is_on() {
        view.watch.passes(Stage::Egress, [&mbuf]);
    }
    match hop {
        NextHop::Neighbour(neighbour) => to_neighbour(view, work, mbuf, neighbour),
        NextHop::Unresolved(port, next_hop) => view.to_resolve(port, next_hop, mbuf),
        NextHop::Routed => by_route(view, work, mbuf, None),
        NextHop::Split(mtu) => by_route(view, work, mbuf, Some(mtu)),
    }
}

/// Sends a packet wherever the routes lead, whole or in fragments of at most so many octets.
#[cold]
fn by_route(view: &View, work: &mut Work, mbuf: Mbuf, split: Option<u16>) {
    let Some((_, destination)) = Ip::addresses(mbuf.data()) else {
        return view.drop(mbuf, DropReason::IpHeader);
    };
    match next_hop::find(view, destination) {
        Way::Out(hop @ (NextHop::Neighbour(_) | NextHop::Unresolved(..))) => match (split, hop) {
            (Some(mtu), _) => sizes::split(view, work, mbuf, mtu, hop),
            (None, NextHop::Unresolved(port, next_hop)) => view.to_resolve(port, next_hop, mbuf),
            (None, NextHop::Neighbour(neighbour)) => to_neighbour(view, work, mbuf, neighbour),
            (None, NextHop::Routed | NextHop::Split(_)) => view.drop(mbuf, DropReason::NoRoute),
        },
        // The box's own address is no care-of address.
        Way::Out(NextHop::Routed | NextHop::Split(_)) | Way::Local | Way::Unbound | Way::None => {
            view.drop(mbuf, DropReason::NoRoute);
        }
    }
}

#[inline]
fn to_neighbour(view: &View, work: &mut Work, mut mbuf: Mbuf, neighbour: NeighbourIndex) {
    let Some((port, mac)) = view.tables.macs.get(neighbour) else {
        return view.drop(mbuf, DropReason::NoRoute);
    };
    let Some((mtu, own_mac)) = work.tx.get(usize::from(port.0)).map(|tx| (tx.mtu, tx.mac_word))
    else {
        return view.drop(mbuf, DropReason::PortUnknown);
    };
    if mbuf.len() > usize::from(mtu) {
        let hop = NextHop::Neighbour(neighbour);
        return sizes::too_large_for_port(view, work, mbuf, mtu, hop);
    }
    let ethertype = match mbuf.data().first().map(|first| first >> 4) {
        Some(4) => ethertype::IPV4,
        _ => ethertype::IPV6,
    };
    let Some(header) = mbuf.prepend_array::<ETHERNET_LEN>() else {
        return view.drop(mbuf, DropReason::BufferRoom);
    };
    // Two words that overlap: the second overwrites what the first has too much.
    let own = own_mac | u64::from(u16::from_be_bytes(ethertype));
    if let Some(start) = header.first_chunk_mut() {
        *start = mac.to_be_bytes();
    }
    if let Some(end) = header.last_chunk_mut() {
        *end = own.to_be_bytes();
    }
    work.transmit(view, port, mbuf);
}
