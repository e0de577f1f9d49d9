//! Looking packets up by their destination: a bound home address, the box itself, or a route.
//!
//! Read first: RFC 6275 s.10.4.2, 10.4.5; RFC 8200 s.3; RFC 4291 s.2.5.6.

use hearth_dpdk::{BURST, HASH_BULK};

use core::net::IpAddr;

use crate::drop_reason::DropReason;
use crate::layout::{decrement_hop_limit, is_link_scope};
use crate::sa::slot::BindingIndex;
use crate::stage::host;
use crate::table::fib::Target;
use crate::view::View;
use crate::work::{Downlink, Hop, Outgoing, Routed, Via, Work};

/// Routes the packets of the lane, a chunk at a time.
pub(crate) fn route(view: &View, work: &mut Work) {
    let mut lane = core::mem::take(&mut work.lanes.routed);
    while !lane.is_empty() {
        let count = lane.len().min(BURST);
        let found = look_up(view, lane.get(..count).unwrap_or_default());
        for (packet, found) in lane.drain(..count).zip(found) {
            match found {
                Found::Bound(binding) => {
                    let from_host = packet.via == Via::Host;
                    let Routed { mbuf, ip, .. } = packet;
                    work.lanes.downlink.push(Downlink { mbuf, ip, binding, from_host });
                }
                Found::At(Target::None) => view.drop(packet.mbuf, DropReason::NoRoute),
                Found::At(Target::Local) => host::to_host(view, work, packet),
                Found::At(Target::Port { port, gateway }) => {
                    let hop = Hop::Via(port, gateway.unwrap_or(packet.ip.destination));
                    forward(view, work, packet, hop);
                }
            }
        }
    }
    work.lanes.routed = lane;
}

/// What a destination turned out to be.
#[derive(Clone, Copy)]
enum Found {
    Bound(BindingIndex),
    At(Target),
}

/// Bindings first, then routes; both families in bulk.
fn look_up(view: &View, packets: &[Routed]) -> [Found; BURST] {
    const { assert!(BURST <= HASH_BULK) };
    let mut found = [Found::At(Target::None); BURST];
    let mut v6 = [([0; 16], 0_usize); BURST];
    let mut v4 = [([0; 4], 0_usize); BURST];
    let (mut count6, mut count4) = (0, 0);
    for (place, packet) in packets.iter().enumerate().take(BURST) {
        match packet.ip.destination {
            IpAddr::V6(to) => {
                v6[count6] = (to.octets(), place);
                count6 += 1;
            }
            IpAddr::V4(to) => {
                v4[count4] = (to.octets(), place);
                count4 += 1;
            }
        }
    }
    if count6 > 0 {
        let unbound =
            bound(&v6[..count6], |keys, values| view.homes6.lookup_bulk(keys, values), &mut found);
        let mut addresses = [[0; 16]; BURST];
        let mut places = [0; BURST];
        let mut count = 0;
        for i in (0..count6).filter(|i| unbound & 1 << i != 0) {
            (addresses[count], places[count]) = v6[i];
            count += 1;
        }
        if let Some(routes) = view.tables.routes() {
            routes.lookup6(&addresses[..count], |i, target| found[places[i]] = Found::At(target));
        }
    }
    if count4 > 0 {
        let unbound =
            bound(&v4[..count4], |keys, values| view.homes4.lookup_bulk(keys, values), &mut found);
        let mut addresses = [0; BURST];
        let mut places = [0; BURST];
        let mut count = 0;
        for i in (0..count4).filter(|i| unbound & 1 << i != 0) {
            (addresses[count], places[count]) = (u32::from_be_bytes(v4[i].0), v4[i].1);
            count += 1;
        }
        if let Some(routes) = view.tables.routes() {
            routes.lookup4(&addresses[..count], |i, target| found[places[i]] = Found::At(target));
        }
    }
    found
}

/// Notes which keys are bound home addresses; returns the bits of those that are not.
fn bound<const KEY: usize>(
    keys: &[([u8; KEY], usize)],
    look_up: impl FnOnce(&[&[u8; KEY]], &mut [u32]) -> u64,
    found: &mut [Found; BURST],
) -> u64 {
    let mut pointers = [&[0; KEY]; BURST];
    for (pointer, (key, _)) in pointers.iter_mut().zip(keys) {
        *pointer = key;
    }
    let mut values = [0; BURST];
    let hits = look_up(&pointers[..keys.len()], &mut values);
    for (i, (_, place)) in keys.iter().enumerate() {
        if hits & 1 << i != 0 {
            found[*place] = Found::Bound(BindingIndex(values[i]));
        }
    }
    !hits
}

/// Sends a packet on its way: one hop less, out by a port.
fn forward(view: &View, work: &mut Work, packet: Routed, hop: Hop) {
    let Routed { mut mbuf, ip, via } = packet;
    if is_link_scope(ip.source) || is_link_scope(ip.destination) {
        return view.drop(mbuf, DropReason::LinkLocalForward);
    }
    if via != Via::Host && !decrement_hop_limit(mbuf.data_mut()) {
        return view.drop(mbuf, DropReason::HopLimit);
    }
    view.counters.forwarded.add(mbuf.len());
    work.lanes.outgoing.push(Outgoing { mbuf, hop });
}
