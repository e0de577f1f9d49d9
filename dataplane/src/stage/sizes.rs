//! Packets that are larger than what they have to go through.
//!
//! Read first: RFC 2473 s.7.1, 7.2; RFC 8200 s.4.5, 5; RFC 791 s.3.2; reading R-42.
//!
//! | packet | tunnel | port |
//! |---|---|---|
//! | inner IPv6 above 1280 octets | Packet Too Big | Packet Too Big |
//! | inner IPv6 of 1280 octets or less | the outer packet is fragmented | Packet Too Big |
//! | IPv4 with DF | fragmentation needed | fragmentation needed |
//! | IPv4 without DF | the outer packet is fragmented | fragmented |

use hearth_dpdk::{BURST, Burst, FragmentError, Mbuf, fragment4, fragment6};

use crate::drop_reason::DropReason;
use crate::layout::len16;
use crate::side::Pools;
use crate::stage::egress;
use crate::stage::icmp::{IPV6_MIN_MTU, Problem};
use crate::stage::refuse::refuse;
use crate::table::binding::BindingEntry;
use crate::table::next_hop::NextHop;
use crate::view::View;
use crate::work::Work;

/// What is done with a packet that seemed too large for its tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It fits after all.
    Whole,
    /// It is carried, and the outer packet split into fragments of at most so many octets.
    Split(u16),
    /// It is not carried: at most so many octets are.
    Refused(u16),
}

/// Decides about an inner packet that is larger than the tunnel's MTU was.
#[cold]
pub(crate) fn fit(packet: &[u8], binding: &BindingEntry, protected: bool, now: u64) -> Fit {
    // What was learned from an ICMP error does not hold for ever.
    binding.path.age(now);
    let (len, mtu) = (len16(packet.len()), binding.path.tunnel_mtu(protected));
    if len <= mtu {
        return Fit::Whole;
    }
    if is_ipv6(packet) {
        // RFC 2473 s.7.1 (a): "the tunnel MTU or the IPv6 minimum link MTU, whichever is larger".
        let most = mtu.max(IPV6_MIN_MTU);
        if len > most { Fit::Refused(most) } else { Fit::Split(binding.path.path_mtu()) }
    } else if may_not_be_split(packet) {
        Fit::Refused(mtu)
    } else {
        Fit::Split(binding.path.path_mtu())
    }
}

/// A packet that is larger than the MTU of the port that it leaves by.
#[cold]
pub(crate) fn too_large_for_port(view: &View, work: &mut Work, mbuf: Mbuf, mtu: u16, hop: NextHop) {
    // Outer packets are not among these: no path MTU is larger than a port's.
    if is_ipv6(mbuf.data()) || may_not_be_split(mbuf.data()) {
        return refuse(view, work, mbuf, DropReason::PortMtu, Problem::TooBig(mtu));
    }
    split(view, work, mbuf, mtu, hop);
}

/// Splits a finished packet into fragments of at most `mtu` octets and sends them.
#[cold]
pub(crate) fn split(view: &View, work: &mut Work, mbuf: Mbuf, mtu: u16, hop: NextHop) {
    let followed = view.watch.is_on().then(|| view.watch.number(&mbuf));
    let mut fragments = Burst::<BURST>::new();
    let v6 = is_ipv6(mbuf.data());
    let id = work.side.next_fragment_id();
    let pools = work.side.pools.fragments();
    let made = if v6 {
        fragment6(mbuf, mtu, id, pools, &mut fragments)
    } else {
        fragment4(mbuf, mtu, pools, &mut fragments)
    };
    match made {
        Ok(_) => {
            if let Some(number) = followed {
                view.watch.fragmented(number, &mut fragments);
            }
            send_fragments(view, work, &mut fragments, hop);
        }
        Err((mbuf, FragmentError::Malformed)) => view.drop(mbuf, DropReason::IpHeader),
        Err((mbuf, FragmentError::DontFragment)) => view.drop(mbuf, DropReason::PortMtu),
        Err((mbuf, FragmentError::Mtu | FragmentError::NoRoom | FragmentError::NoMbufs)) => {
            view.drop(mbuf, DropReason::FragmentBuffers);
        }
    }
}

/// Sends fragments, each in one buffer as every stage and every port wants it.
fn send_fragments(view: &View, work: &mut Work, fragments: &mut Burst, hop: NextHop) {
    let mut whole = Burst::<BURST>::new();
    let Pools { packets, large, .. } = &work.side.pools;
    let mut left = fragments.drain();
    let lost = left.find_map(|fragment| {
        let one = fragment.linearize(packets).or_else(|fragment| fragment.linearize(large));
        one.and_then(|one| whole.push(one)).err()
    });
    if let Some(lost) = lost {
        // One of them lost is the packet lost.
        view.drop(lost, DropReason::FragmentBuffers);
        return left.chain(whole.drain()).for_each(|rest| view.forget(rest));
    }
    let counters = &view.counters.sizes;
    counters.fragmented.add(1);
    counters.fragments.add(whole.len() as u64);
    for mbuf in whole.drain() {
        egress::send_to(view, work, mbuf, hop);
    }
}

fn is_ipv6(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 6)
}

/// IPv4's DF.
fn may_not_be_split(packet: &[u8]) -> bool {
    packet.get(6).is_some_and(|flags| flags & 0x40 != 0)
}
