//! Taking packets in: from a port, from another worker, from control.

use hearth_dpdk::{Burst, Mbuf, RxChecksum};

use crate::config::PortId;
use crate::drop_reason::DropReason;
use crate::layout::{ETHERNET_LEN, Ip, ethertype, write_ethernet};
use crate::note::Note;
use crate::stage::classify::{Class, Receiver, classify, classify_inside};
use crate::stage::envelope::Envelope;
use crate::stage::express::{Express, Matcher};
use crate::stage::{
    assist, egress, forward, host, members, pieces, relay, select, tunnel_out, unresolved,
};
use crate::table::next_hop;
use crate::view::View;
use crate::work::{Chosen, Outgoing, Routed, Via, Work};

/// Cache lines of a received frame that are asked for at once: all headers, and the first blocks.
pub(crate) const LINES_AHEAD: usize = 3;
/// Octets of them.
const OCTETS_AHEAD: usize = LINES_AHEAD * 64;

/// Asks for what [`from_wire`] will look at.
pub(crate) fn look_ahead(burst: &Burst) {
    burst.iter().for_each(|mbuf| mbuf.prefetch_received(LINES_AHEAD));
}

/// Sorts a burst of frames that a port received.
pub(crate) fn from_wire(view: &View, work: &mut Work, port: PortId, burst: &mut Burst) {
    let watched = view.watch.is_on();
    if watched {
        view.watch.received(port, burst);
    }
    let (packets, mut octets, mut before) = (burst.len(), 0, None);
    let mac = view.own_mac(port).unwrap_or_default();
    let matcher = Matcher::new(mac, &view.tables.service);
    // What may go to another worker's core would have to come from this one's cache.
    let whole = !work.sharing.is_on();
    for mut mbuf in burst.drain() {
        let len = mbuf.len();
        octets += len;
        if whole && len > OCTETS_AHEAD {
            mbuf.prefetch_rest(OCTETS_AHEAD);
        }
        let told = if mbuf.is_contiguous() { matcher.tell(mbuf.data()) } else { None };
        match told {
            Some(Express::Envelope(envelope)) if mbuf.adj(ETHERNET_LEN).is_some() => {
                enveloped(view, work, mbuf, envelope);
            }
            Some(Express::Routed { len, to }) if mbuf.keep(ETHERNET_LEN, len.into()).is_some() => {
                // Where a trailer would go.
                mbuf.prefetch_at(len.into());
                let packet = Routed { mbuf, via: Via::Wire(port) };
                if watched {
                    work.lanes.routed.push(packet);
                } else {
                    forward::take(view, work, packet, to, &mut before);
                }
            }
            _ => sort(view, work, port, mac, mbuf),
        }
    }
    if let Some(flows) = view.counters.ports.get(usize::from(port.0)) {
        flows.rx.add_many(packets as u64, octets as u64);
    }
}

/// Sorts a frame that is none of the common shapes.
#[inline(never)]
pub(crate) fn sort(view: &View, work: &mut Work, port: PortId, mac: [u8; 6], mut mbuf: Mbuf) {
    if !mbuf.is_contiguous() {
        return pieces::several_buffers(view, work, port, mbuf);
    }
    let receiver = Receiver {
        mac,
        service: &view.tables.service,
        udp_checksum_verified: mbuf.rx_l4_checksum() == RxChecksum::Good,
    };
    match classify(mbuf.data(), receiver) {
        Class::Drop(reason) => view.drop(mbuf, reason),
        Class::UnregisteredPType(ptype) => unregistered(view, mbuf, ptype),
        Class::Host => host::from_wire(view, work, port, mbuf),
        Class::LinkLocal(to) => host::to_link_local(view, work, port, to, mbuf),
        Class::Fragment { v6 } => pieces::outer_fragment(view, work, port, v6, mbuf),
        Class::OuterError(error) => relay::relay(view, work, mbuf, &error),
        Class::NeighbourQuery => host::query_from_wire(view, work, port, mbuf),
        Class::Routed(ip) => {
            if mbuf.keep(ETHERNET_LEN, ip.total_len.into()).is_none() {
                return view.drop(mbuf, DropReason::IpLengthBeyondData);
            }
            work.lanes.routed.push(Routed { mbuf, via: Via::Wire(port) });
        }
        Class::Envelope(envelope) => {
            if mbuf.adj(ETHERNET_LEN).is_none() {
                return view.drop(mbuf, DropReason::EthernetShort);
            }
            enveloped(view, work, mbuf, envelope);
        }
    }
}

/// An envelope goes to the owner of its SA; PType 0 has none.
#[inline]
fn enveloped(view: &View, work: &mut Work, mbuf: Mbuf, envelope: Envelope) {
    let spi = envelope.spi_bits();
    if spi == 0 {
        return work.lanes.plain.push((mbuf, envelope));
    }
    let owner = view.tables.owner(spi);
    if owner != view.index {
        return view.hand_over(owner, Note::Envelope(envelope), mbuf);
    }
    mbuf.prefetch_at(envelope.frame_offset() + usize::from(envelope.frame_len()) - 1);
    work.lanes.protected.push((mbuf, envelope));
}

/// Sorts what other workers handed over.
pub(crate) fn from_peers(view: &View, work: &mut Work, burst: &mut Burst) {
    for mbuf in burst.drain() {
        match Note::load(&mbuf) {
            Some(Note::Envelope(envelope)) => enveloped(view, work, mbuf, envelope),
            Some(Note::Member { home_address, from_host }) => {
                members::to_member(view, work, mbuf, home_address, from_host);
            }
            Some(Note::Downlink { from_host, bid, depth }) => match Ip::parse(mbuf.data()) {
                Ok(_) => {
                    let chosen = Chosen { mbuf, from_host, bid, depth };
                    select::take_up(view, &mut work.lanes, chosen);
                }
                Err(_) => view.drop(mbuf, DropReason::IpHeader),
            },
            _ => view.drop(mbuf, DropReason::IpHeader),
        }
    }
}

/// Sorts packets to the home agent that came out of mobile routers' tunnels (RFC 3963 s.6.4).
#[cold]
#[inline(never)]
pub(crate) fn from_behind(view: &View, work: &mut Work) {
    let mut lane = core::mem::take(&mut work.lanes.behind);
    for (mut mbuf, depth) in lane.drain(..) {
        match classify_inside(mbuf.data(), &view.tables.service) {
            Class::Envelope(_) if depth > egress::MOST_DEPTH => {
                view.drop(mbuf, DropReason::NestedTooDeep);
            }
            Class::Envelope(envelope) => enveloped(view, work, mbuf, envelope.at_depth(depth)),
            Class::Fragment { v6 } => fragment_from_behind(view, work, v6, mbuf),
            Class::OuterError(error) => relay::heed(view, work, mbuf, &error),
            Class::Drop(reason) => view.drop(mbuf, reason),
            Class::UnregisteredPType(ptype) => unregistered(view, mbuf, ptype),
            Class::Host | Class::Routed(_) | Class::NeighbourQuery | Class::LinkLocal(_) => {
                mbuf.clear_offloads();
                work.lanes.routed.push(Routed { mbuf, via: Via::Inside });
            }
        }
    }
    work.lanes.behind = lane;
}

/// A fragment of an envelope: as if it had come by the first port. How deep the whole was is
/// forgotten, but not that it is smaller than what it came in.
fn fragment_from_behind(view: &View, work: &mut Work, v6: bool, mut mbuf: Mbuf) {
    let port = PortId(0);
    let mac = view.own_mac(port).unwrap_or_default();
    let ethertype = if v6 { ethertype::IPV6 } else { ethertype::IPV4 };
    let Some(header) = mbuf.prepend(ETHERNET_LEN) else {
        return view.drop(mbuf, DropReason::BufferRoom);
    };
    write_ethernet(header, mac, mac, ethertype);
    mbuf.clear_offloads();
    pieces::outer_fragment(view, work, port, v6, mbuf);
}

fn unregistered(view: &View, mbuf: Mbuf, ptype: u8) {
    if let Some(counter) = view.counters.unregistered_ptypes.get(usize::from(ptype)) {
        counter.add(1);
    }
    view.drop(mbuf, DropReason::PtypeUnregistered);
}

/// An envelope that has waited for its SA long enough, whether it is there or not.
fn waited(view: &View, work: &mut Work, mbuf: Mbuf, envelope: Envelope) {
    match envelope.spi().and_then(|spi| view.tables.sas.find(spi.get())) {
        Some(_) => enveloped(view, work, mbuf, envelope),
        None => view.drop(mbuf, DropReason::SpiUnknown),
    }
}

/// Sorts what control sent.
pub(crate) fn from_control(view: &View, work: &mut Work, burst: &mut Burst) {
    if view.watch.is_on() {
        view.watch.control_sent(burst);
    }
    for mbuf in burst.drain() {
        match Note::load(&mbuf) {
            Some(Note::Signalling { spi, local, remote, next_header, link, .. }) => {
                let ends = (local, remote);
                tunnel_out::signalling(view, work, mbuf, (spi, next_header), ends, link);
            }
            Some(Note::Host { port }) => host::from_host(view, work, port, mbuf),
            Some(Note::Unresolved { port, next_hop }) => {
                let hop = next_hop::neighbour(view, port, next_hop);
                work.lanes.outgoing.push(Outgoing { mbuf, hop });
            }
            Some(Note::Member { home_address, from_host }) => {
                members::to_member(view, work, mbuf, home_address, from_host);
            }
            Some(Note::Frame { port }) if mbuf.len() >= ETHERNET_LEN => {
                work.transmit(view, port, mbuf);
            }
            Some(Note::Frame { .. }) => view.drop(mbuf, DropReason::EthernetShort),
            Some(Note::Packet) => host::from_control(view, work, mbuf),
            Some(Note::Unreachable { .. }) => unresolved::unreachable(view, work, mbuf),
            Some(Note::Waiting(envelope)) => waited(view, work, mbuf, envelope),
            _ => view.drop(mbuf, DropReason::IpHeader),
        }
    }
    // What is settled next is what the lanes have.
    assist::submit(view, work);
}
