//! Packets whose next hop could not be found: their senders are told.
//!
//! Read first: RFC 4861 s.7.2.2; RFC 1812 s.3.3.2, 5.2.7.1; RFC 2473 s.8; reading R-33.

use hearth_dpdk::Mbuf;

use crate::drop_reason::DropReason;
use crate::layout::Ip;
use crate::stage::icmp::Problem;
use crate::stage::icmp_outer::Complaint;
use crate::stage::refuse::refuse;
use crate::stage::relay;
use crate::view::View;
use crate::work::Work;

/// Stops a packet that waited for its next hop in vain; it starts with its IP header.
///
/// "The sender MUST return ICMP destination unreachable indications with code 3 (Address
/// Unreachable) for each packet queued awaiting address resolution" (RFC 4861 s.7.2.2). An outer
/// packet is this home agent's own: the sender of the inner one is told (RFC 2473 s.8).
#[cold]
pub(crate) fn unreachable(view: &View, work: &mut Work, mut mbuf: Mbuf) {
    let (reason, problem) = (DropReason::NeighbourUnresolved, Problem::AddressUnreachable);
    let own = Ip::addresses(mbuf.data()).is_some_and(|(from, _)| view.tables.service.is_at(from));
    if !own {
        return refuse(view, work, mbuf, reason, problem);
    }
    view.stopped(&mut mbuf, reason);
    relay::own(view, work, mbuf, Complaint::Unreachable);
}
