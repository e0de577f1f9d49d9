//! Packets to groups: a copy to each mobile node that listens, by its tunnel.
//!
//! Read first: RFC 6275 s.10.4.2, 10.4.3; RFC 4291 s.2.7; RFC 2365 s.6; RFC 3810 s.6.3.
//!
//! A packet of a large group waits while it is copied, some copies in a turn, so that it does not
//! hold up everybody else. What waits knows only who has had his copy: the list may change
//! meanwhile, and nobody gets two.

use core::net::{IpAddr, Ipv6Addr};
use std::collections::VecDeque;

use hearth_dpdk::Mbuf;
use hearth_wire::Scope;

use crate::config::PortId;
use crate::drop_reason::DropReason;
use crate::layout::Ip;
use crate::note::Note;
use crate::side::Pools;
use crate::view::View;
use crate::work::{Downlink, Work};

/// Copies of all groups' packets in one turn.
const COPIES: usize = 64;
/// Packets that wait for their copies.
const WAITING: usize = 64;
/// The part of the packet buffers, one in so many, that stays free for everything else.
const SPARE: u32 = 4;

/// A packet on its way to the members of its group.
struct Delivery {
    mbuf: Mbuf,
    port: PortId,
    group: IpAddr,
    source: IpAddr,
    /// The last who has had a copy, or did not want one.
    last: Option<Ipv6Addr>,
}

/// A worker's packets that wait for their copies.
pub(crate) struct Deliveries(VecDeque<Delivery>);

impl Default for Deliveries {
    fn default() -> Self {
        Self(VecDeque::with_capacity(WAITING))
    }
}

impl Deliveries {
    /// Takes out all that wait, when the worker stops.
    pub(crate) fn stop(&mut self, mut give: impl FnMut(Mbuf)) {
        self.0.drain(..).for_each(|delivery| give(delivery.mbuf));
    }
}

/// Whether packets to this group may leave the link by a tunnel.
///
/// RFC 6275 s.10.4.2: those "with a scope larger than link-local but smaller than global (e.g.,
/// site-local and organization-local)" SHOULD NOT be tunneled, link-local ones MUST NOT. IPv4 has
/// its scopes by RFC 2365 and RFC 5771 s.4.
pub(crate) const fn may_be_tunnelled(group: IpAddr) -> bool {
    match group {
        IpAddr::V6(v6) => v6.octets()[0] == 0xff && v6.octets()[1] & 0x0f == 0x0e,
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_multicast() && a != 239 && !(a == 224 && b == 0 && c == 0)
        }
    }
}

/// Sees to the members of the group that a packet from a link is sent to; the packet itself stays
/// the kernel's.
pub(crate) fn from_link(
    view: &View,
    work: &mut Work,
    (port, group): (PortId, IpAddr),
    packet: &[u8],
) {
    if view.tables.groups.is_empty() || !may_be_tunnelled(group) {
        return;
    }
    let members = view.tables.groups.members(port, group);
    let Some((ip, packet)) = whole(packet).filter(|_| !members.is_empty()) else { return };
    let source = ip.source;
    let members = members.iter().filter(|member| member.wants(source)).count() as u64;
    if members == 0 {
        return;
    }
    match room(&work.side.pools).and_then(|pool| pool.alloc_with(packet)) {
        Some(mbuf) if work.side.deliveries.0.len() < WAITING => {
            let delivery = Delivery { mbuf, port, group, source, last: None };
            work.side.deliveries.0.push_back(delivery);
        }
        _ => view.counters.stopped_many(DropReason::GroupCopies, members),
    }
}

/// A packet without what was padded to a frame's least length.
fn whole(packet: &[u8]) -> Option<(Ip, &[u8])> {
    let ip = Ip::parse(packet).ok()?;
    let packet = packet.get(..usize::from(ip.total_len))?;
    Some((ip, packet))
}

/// Where copies come from, while there is enough left for everything else.
fn room(pools: &Pools) -> Option<&hearth_dpdk::Mempool> {
    let (free, used) = (pools.packets.available(), pools.packets.in_use());
    (free > free.saturating_add(used) / SPARE).then_some(&pools.packets)
}

/// Makes this turn's copies of the packets that wait; returns how many there were.
#[inline]
pub(crate) fn copy(view: &View, work: &mut Work) -> usize {
    if work.side.deliveries.0.is_empty() { 0 } else { copy_some(view, work) }
}

#[cold]
fn copy_some(view: &View, work: &mut Work) -> usize {
    let mut copies = 0;
    while copies < COPIES
        && let Some(delivery) = work.side.deliveries.0.pop_front()
    {
        copies += 1;
        let members = view.tables.groups.members(delivery.port, delivery.group);
        let next = members.partition_point(|member| Some(member.home_address) <= delivery.last);
        let Some((member, rest)) = members.get(next..).and_then(<[_]>::split_first) else {
            view.forget(delivery.mbuf);
            continue;
        };
        let wants = member.wants(delivery.source);
        let member = member.home_address;
        if !wants {
            work.side.deliveries.0.push_front(Delivery { last: Some(member), ..delivery });
            continue;
        }
        if rest.is_empty() {
            to_member(view, work, delivery.mbuf, member, false);
            continue;
        }
        match room(&work.side.pools).and_then(|pool| pool.alloc_with(delivery.mbuf.data())) {
            Some(mbuf) => {
                to_member(view, work, mbuf, member, false);
                let delivery = Delivery { last: Some(member), ..delivery };
                work.side.deliveries.0.push_front(delivery);
            }
            None => {
                let others = rest.iter().filter(|member| member.wants(delivery.source));
                let left = others.count() as u64 + 1;
                view.counters.stopped_many(DropReason::GroupCopies, left);
                view.forget(delivery.mbuf);
            }
        }
    }
    copies
}

/// A packet for a mobile node, whatever its destination is: into the tunnel, by the owner of its SA.
pub(crate) fn to_member(
    view: &View,
    work: &mut Work,
    mut mbuf: Mbuf,
    home_address: Ipv6Addr,
    from_host: bool,
) {
    match Ip::parse(mbuf.data()) {
        Ok(ip) if mbuf.keep(0, ip.total_len.into()).is_some() => {}
        _ => return view.drop(mbuf, DropReason::IpHeader),
    }
    if view.watch.is_on() {
        view.watch.forwards(core::iter::once(&mut mbuf));
    }
    // By the preferred of several tunnels.
    let head = view.bound(home_address.into()).map(|(head, _)| head);
    let preferred = |head| view.fan(head).and_then(|fan| fan.preferred().first());
    let binding = head.map(|head| preferred(head).map_or(head, |way| way.tunnel));
    let found = binding.and_then(|index| Some((index, view.tables.bindings.entry(index)?)));
    let Some((binding, entry)) = found else {
        return view.drop(mbuf, DropReason::GroupNoMember);
    };
    let owner = view.tables.owner(entry.spi.get());
    if entry.facts.scope == Scope::SignallingAndData && owner != view.index {
        return view.hand_over(owner, Note::Member { home_address, from_host }, mbuf);
    }
    work.lanes.downlink.push(Downlink { mbuf, binding, from_host, depth: 0 });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TUN-04, TUN-05: RFC 4291 s.2.7's scopes, of which E is global.
    #[test]
    fn only_groups_of_global_scope_leave_the_link() {
        for scope in 0..16_u16 {
            let group = Ipv6Addr::new(0xff00 | scope, 0, 0, 0, 0, 0, 0, 0x99);
            assert_eq!(may_be_tunnelled(group.into()), scope == 0xe, "{group}");
            let transient = Ipv6Addr::new(0xff30 | scope, 0, 0, 0, 0, 0, 0, 0x99);
            assert_eq!(may_be_tunnelled(transient.into()), scope == 0xe, "{transient}");
        }
        for (group, may) in [
            ("224.0.0.251", false),
            ("224.0.1.1", true),
            ("232.1.2.3", true),
            ("238.255.255.255", true),
            ("239.1.2.3", false),
            ("255.255.255.255", false),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(may_be_tunnelled(group.parse().unwrap()), may, "{group}");
        }
    }
}
