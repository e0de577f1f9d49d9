//! Packets that come in pieces: in several buffers, or as fragments of an outer packet.
//!
//! Read first: RFC 8200 s.4.5; RFC 791 s.3.2; RFC 5722; reading R-42.
//!
//! A fragment that the table drops takes its whole set along, and every one is counted. Nobody is
//! told: it is a stranger's until an ICV says otherwise, so that there is no Time Exceeded either.

use hearth_dpdk::{FragmentDrop, Mbuf, Reassembled};

use crate::config::PortId;
use crate::drop_reason::DropReason;
use crate::layout::ETHERNET_LEN;
use crate::stage::receive;
use crate::trace::Verdict;
use crate::view::View;
use crate::work::Work;

/// A frame in several buffers: sorted as soon as it is in one.
#[cold]
pub(crate) fn several_buffers(view: &View, work: &mut Work, port: PortId, mbuf: Mbuf) {
    match mbuf.linearize(&work.side.pools.large) {
        Ok(whole) => receive::sort(view, work, port, view.own_mac(port).unwrap_or_default(), whole),
        Err(mbuf) => view.drop(mbuf, DropReason::MultiSegment),
    }
}

/// A frame with a fragment of an outer packet.
#[cold]
pub(crate) fn outer_fragment(view: &View, work: &mut Work, port: PortId, v6: bool, mut mbuf: Mbuf) {
    const L2_LEN: u8 = 14;
    const { assert!(L2_LEN as usize == ETHERNET_LEN) };
    if view.watch.is_on() {
        view.watch.ends(&mut mbuf, Verdict::AwaitsFragments);
    }
    let (reassembly, now) = (&mut work.side.reassembly, work.now);
    let expired = reassembly.expired();
    let outcome = if v6 {
        reassembly.reassemble6(mbuf, L2_LEN, now)
    } else {
        reassembly.reassemble4(mbuf, L2_LEN, now)
    };
    let expired = reassembly.expired() - expired;
    view.counters.stopped_many(DropReason::FragmentTimeout, expired);
    match outcome {
        Reassembled::Held => {}
        Reassembled::Whole(mut mbuf) => {
            if view.watch.is_on() {
                view.watch.reassembled(port, &mut mbuf);
            }
            view.counters.sizes.reassembled.add(1);
            view.counters.sizes.reassembled_fragments.add(mbuf.segments().into());
            several_buffers(view, work, port, mbuf);
        }
        Reassembled::Dropped(why, fragments) => {
            let reason = match why {
                FragmentDrop::Malformed | FragmentDrop::TooLong => DropReason::OuterFragment,
                FragmentDrop::TableFull => DropReason::FragmentTableFull,
                FragmentDrop::Overlap => DropReason::FragmentOverlap,
            };
            view.counters.stopped_many(reason, fragments.into());
        }
    }
}

/// Frees fragments whose others did not come.
#[inline]
pub(crate) fn age(view: &View, work: &mut Work) {
    let expired = work.side.age(work.now);
    if expired > 0 {
        view.counters.stopped_many(DropReason::FragmentTimeout, expired.into());
    }
}
