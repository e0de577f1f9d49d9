//! Finished packets: next hop, Ethernet header, port.

use hearth_dpdk::Mbuf;

use crate::drop_reason::DropReason;
use crate::layout::{ETHERNET_LEN, Ip, ethertype};
use crate::stage::host::write_ethernet;
use crate::table::next_hop::{self, NeighbourIndex, NextHop, Way};
use crate::trace::Stage;
use crate::view::View;
use crate::work::{Outgoing, Work};

/// Sends the packets of the lane.
pub(crate) fn send(view: &View, work: &mut Work) {
    let mut lane = core::mem::take(&mut work.lanes.outgoing);
    if view.watch.is_on() {
        view.watch.passes(Stage::Egress, lane.iter().map(|packet| &packet.mbuf));
    }
    for Outgoing { mbuf, hop } in lane.drain(..) {
        match hop {
            NextHop::Neighbour(neighbour) => to_neighbour(view, work, mbuf, neighbour),
            NextHop::Unresolved(port, next_hop) => view.to_resolve(port, next_hop, mbuf),
            NextHop::Routed => by_route(view, work, mbuf),
        }
    }
    work.lanes.outgoing = lane;
}

/// Sends a packet wherever the routes lead.
#[cold]
fn by_route(view: &View, work: &mut Work, mbuf: Mbuf) {
    let Some((_, destination)) = Ip::addresses(mbuf.data()) else {
        return view.drop(mbuf, DropReason::IpHeader);
    };
    match next_hop::find(view, destination) {
        Way::Out(NextHop::Neighbour(neighbour)) => to_neighbour(view, work, mbuf, neighbour),
        Way::Out(NextHop::Unresolved(port, next_hop)) => view.to_resolve(port, next_hop, mbuf),
        // The box's own address is no care-of address.
        Way::Out(NextHop::Routed) | Way::Local | Way::None => {
            view.drop(mbuf, DropReason::NoRoute);
        }
    }
}

#[inline]
fn to_neighbour(view: &View, work: &mut Work, mut mbuf: Mbuf, neighbour: NeighbourIndex) {
    let Some((port, mac)) = view.tables.macs.get(neighbour) else {
        return view.drop(mbuf, DropReason::NoRoute);
    };
    let Some((mtu, own_mac)) = work.tx.get(usize::from(port.0)).map(|tx| (tx.mtu, tx.mac)) else {
        return view.drop(mbuf, DropReason::PortUnknown);
    };
    if mbuf.len() > usize::from(mtu) {
        return view.drop(mbuf, DropReason::PortMtu);
    }
    let ethertype = match mbuf.data().first().map(|first| first >> 4) {
        Some(4) => ethertype::IPV4,
        _ => ethertype::IPV6,
    };
    let Some(header) = mbuf.prepend(ETHERNET_LEN) else {
        return view.drop(mbuf, DropReason::BufferRoom);
    };
    write_ethernet(header, mac, own_mac, ethertype);
    work.transmit(view, port, mbuf);
}
