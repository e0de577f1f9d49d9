//! Finished packets: route, neighbour, Ethernet header, port.

use core::net::IpAddr;

use hearth_dpdk::Mbuf;

use crate::config::PortId;
use crate::drop_reason::DropReason;
use crate::layout::{ETHERNET_LEN, ethertype};
use crate::stage::host::write_ethernet;
use crate::table::fib::Target;
use crate::view::View;
use crate::work::{Hop, Outgoing, Work};

/// Sends the packets of the lane.
pub(crate) fn send(view: &View, work: &mut Work) {
    let mut lane = core::mem::take(&mut work.lanes.outgoing);
    // Packets of a burst often share their destination and their next hop.
    let mut last = None;
    let mut known = None;
    for Outgoing { mbuf, hop: wanted } in lane.drain(..) {
        let hop = match wanted {
            Hop::Via(port, next_hop) => Some((port, next_hop)),
            Hop::To(destination) => match last {
                Some((to, hop)) if to == destination => hop,
                _ => next_hop(view, destination),
            },
        };
        if let Hop::To(destination) = wanted {
            last = Some((destination, hop));
        }
        match hop {
            Some((port, next_hop)) => to_neighbour(view, work, mbuf, (port, next_hop), &mut known),
            None => view.drop(mbuf, DropReason::NoRoute),
        }
    }
    work.lanes.outgoing = lane;
}

/// Port and neighbour on the way to a destination.
fn next_hop(view: &View, destination: IpAddr) -> Option<(PortId, IpAddr)> {
    match view.target(destination) {
        Target::Port { port, gateway } => Some((port, gateway.unwrap_or(destination))),
        // The box's own address is no care-of address.
        Target::Local | Target::None => None,
    }
}

/// A neighbour that was looked up before in this call.
type Known = Option<((PortId, IpAddr), [u8; 6])>;

fn to_neighbour(
    view: &View,
    work: &mut Work,
    mut mbuf: Mbuf,
    hop: (PortId, IpAddr),
    known: &mut Known,
) {
    let (port, next_hop) = hop;
    let Some((mtu, own_mac)) = work.tx.get(usize::from(port.0)).map(|tx| (tx.mtu, tx.mac)) else {
        return view.drop(mbuf, DropReason::PortUnknown);
    };
    if mbuf.len() > usize::from(mtu) {
        return view.drop(mbuf, DropReason::PortMtu);
    }
    let mac = match known {
        Some((last, mac)) if *last == hop => Some(*mac),
        _ => view.mac_of(port, next_hop),
    };
    let Some(mac) = mac else {
        return view.to_resolve(port, next_hop, mbuf);
    };
    *known = Some((hop, mac));
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
