//! Finished packets: next hop, Ethernet header, port.

use hearth_dpdk::Mbuf;
use hearth_wire::frame::FrameHeader;

use crate::config::PortId;
use crate::drop_reason::DropReason;
use crate::layout::{ETHERNET_LEN, Ip, ethertype};
use crate::outer::{OVER_IPV6, leave_checksums_to_port};
use crate::sa::slot::BindingIndex;
use crate::side::Pools;
use crate::stage::sizes;
use crate::table::next_hop::{self, NeighbourIndex, NextHop, Way};
use crate::trace::Stage;
use crate::view::View;
use crate::work::{Downlink, Outgoing, PortTx, Work};

/// Tunnels that an envelope may be in, besides its own: mobile routers behind mobile routers.
pub(crate) const MOST_DEPTH: u8 = 3;

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
        NextHop::Routed(depth) => by_route(view, work, mbuf, (None, depth)),
        NextHop::Split(mtu, depth) => by_route(view, work, mbuf, (Some(mtu), depth)),
    }
}

/// Sends an outer packet in so many tunnels wherever the routes lead, or into another tunnel; whole,
/// or in fragments of at most so many octets.
#[cold]
fn by_route(view: &View, work: &mut Work, mbuf: Mbuf, (split, depth): (Option<u16>, u8)) {
    let Some((_, destination)) = Ip::addresses(mbuf.data()) else {
        return view.drop(mbuf, DropReason::IpHeader);
    };
    if let Some((binding, _)) = view.carried_to(destination) {
        return match split {
            Some(mtu) => sizes::split(view, work, mbuf, mtu, NextHop::Routed(depth)),
            None => into_tunnel(view, work, mbuf, (binding, depth)),
        };
    }
    match next_hop::find(view, destination) {
        Way::Out(hop @ (NextHop::Neighbour(_) | NextHop::Unresolved(..))) => match (split, hop) {
            (Some(mtu), _) => sizes::split(view, work, mbuf, mtu, hop),
            (None, NextHop::Unresolved(port, next_hop)) => view.to_resolve(port, next_hop, mbuf),
            (None, NextHop::Neighbour(neighbour)) => to_neighbour(view, work, mbuf, neighbour),
            (None, NextHop::Routed(_) | NextHop::Split(..)) => view.drop(mbuf, DropReason::NoRoute),
        },
        // The box's own address is no care-of address.
        Way::Out(NextHop::Routed(_) | NextHop::Split(..))
        | Way::Local
        | Way::Unbound
        | Way::None => view.drop(mbuf, DropReason::NoRoute),
    }
}

/// Lets an outer packet to a mobile node that is behind a mobile router go into the tunnel of that
/// one (RFC 3963 s.6.5).
#[cold]
fn into_tunnel(view: &View, work: &mut Work, mbuf: Mbuf, (binding, depth): (BindingIndex, u8)) {
    if depth >= MOST_DEPTH {
        return view.drop(mbuf, DropReason::NestedTooDeep);
    }
    let Some(mbuf) = with_room(view, work, mbuf) else { return };
    let lane = &mut work.lanes.downlink;
    if lane.len() == lane.capacity() {
        // The lane does not grow in a turn.
        return view.drop(mbuf, DropReason::BufferRoom);
    }
    // This box has sent it, and counts no hop.
    lane.push(Downlink { mbuf, binding, from_host: true, depth: depth + 1 });
}

/// The packet with room for the headers and the trailer of one more tunnel; dropped where no buffer
/// has it.
fn with_room(view: &View, work: &Work, mbuf: Mbuf) -> Option<Mbuf> {
    const FRONT: usize = ETHERNET_LEN + OVER_IPV6 + FrameHeader::LEN + 16;
    const BACK: usize = 48;
    if mbuf.headroom() >= FRONT && mbuf.tailroom() >= BACK {
        return Some(mbuf);
    }
    let has_room = |copy: &Mbuf| copy.headroom() >= FRONT && copy.tailroom() >= BACK;
    let Pools { packets, large, .. } = &work.side.pools;
    let copy = mbuf.copy(packets, usize::MAX).filter(has_room);
    let copy = copy.or_else(|| mbuf.copy(large, usize::MAX).filter(has_room));
    match copy {
        Some(copy) => {
            view.forget(mbuf);
            Some(copy)
        }
        None => {
            view.drop(mbuf, DropReason::BufferRoom);
            None
        }
    }
}

#[inline]
fn to_neighbour(view: &View, work: &mut Work, mbuf: Mbuf, neighbour: NeighbourIndex) {
    match leave(view, &mut work.tx, mbuf, neighbour) {
        Ok(()) => {}
        Err((mbuf, Obstacle::TooLarge(mtu))) => {
            sizes::too_large_for_port(view, work, mbuf, mtu, NextHop::Neighbour(neighbour));
        }
        Err((mbuf, Obstacle::Fault(reason))) => view.drop(mbuf, reason),
    }
}

/// Why a finished packet can't leave as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Obstacle {
    /// The port's packets have at most so many octets.
    TooLarge(u16),
    /// Nothing helps.
    Fault(DropReason),
}

/// Sends a packet to a neighbour.
///
/// # Errors
/// The packet as it was, and what is in the way.
#[inline]
pub(crate) fn leave(
    view: &View,
    tx: &mut [PortTx],
    mut mbuf: Mbuf,
    neighbour: NeighbourIndex,
) -> Result<(), (Mbuf, Obstacle)> {
    let (port, exit, mac) = match exit(view, tx, neighbour) {
        Ok(exit) => exit,
        Err(reason) => return Err((mbuf, Obstacle::Fault(reason))),
    };
    if mbuf.len() > usize::from(exit.mtu) {
        return Err((mbuf, Obstacle::TooLarge(exit.mtu)));
    }
    let ethertype = match mbuf.data().first().map(|first| first >> 4) {
        Some(4) => ethertype::IPV4,
        _ => ethertype::IPV6,
    };
    let Some(header) = mbuf.prepend_array() else {
        return Err((mbuf, Obstacle::Fault(DropReason::BufferRoom)));
    };
    write_ethernet(header, mac, exit.mac_word, ethertype);
    exit.transmit(view, port, mbuf);
    Ok(())
}

/// Sends an outer packet that lacks its checksums to a neighbour, where the port there fills them in.
///
/// # Errors
/// The packet as it was, where the port does not, or where something is in the way: [`seal`](crate::outer::seal) it, and
/// [`leave`] says what.
#[inline(never)]
pub(crate) fn leave_unsealed(
    view: &View,
    tx: &mut [PortTx],
    mut mbuf: Mbuf,
    neighbour: NeighbourIndex,
) -> Result<(), Mbuf> {
    let Ok((port, exit, mac)) = exit(view, tx, neighbour) else { return Err(mbuf) };
    if !exit.fills_in_checksums || mbuf.len() > usize::from(exit.mtu) {
        return Err(mbuf);
    }
    let is_ipv6 = mbuf.data().first().is_some_and(|first| first >> 4 == 6);
    let ethertype = if is_ipv6 { ethertype::IPV6 } else { ethertype::IPV4 };
    let Some(header) = mbuf.prepend_array() else { return Err(mbuf) };
    write_ethernet(header, mac, exit.mac_word, ethertype);
    leave_checksums_to_port(mbuf.data_mut().get_mut(ETHERNET_LEN..).unwrap_or_default());
    exit.transmit_unsealed(view, port, mbuf, is_ipv6);
    Ok(())
}

/// The port towards a neighbour, and the neighbour's MAC address in the upper 48 bits.
#[inline]
pub(crate) fn exit<'t>(
    view: &View,
    tx: &'t mut [PortTx],
    neighbour: NeighbourIndex,
) -> Result<(PortId, &'t mut PortTx, u64), DropReason> {
    let (port, mac) = view.tables.macs.get(neighbour).ok_or(DropReason::NoRoute)?;
    let exit = tx.get_mut(usize::from(port.0)).ok_or(DropReason::PortUnknown)?;
    Ok((port, exit, mac))
}

/// Writes the Ethernet header in front of an IP packet; both MAC addresses stand in the upper 48
/// bits.
#[inline]
pub(crate) fn write_ethernet(
    header: &mut [u8; ETHERNET_LEN],
    to: u64,
    from: u64,
    ethertype: [u8; 2],
) {
    // Two words that overlap: the second overwrites what the first has too much.
    let end = from | u64::from(u16::from_be_bytes(ethertype));
    if let Some(start) = header.first_chunk_mut() {
        *start = to.to_be_bytes();
    }
    if let Some(rest) = header.last_chunk_mut() {
        *rest = end.to_be_bytes();
    }
}
