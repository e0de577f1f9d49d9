//! Stopping a packet and telling its sender by ICMP.
//!
//! Read first: RFC 4443 s.2.4; RFC 1812 s.4.3.2; reading R-33.

use hearth_dpdk::Mbuf;

use crate::config::PortId;
use crate::drop_reason::DropReason;
use crate::layout::Ip;
use crate::stage::icmp::{Answer, Problem};
use crate::table::next_hop;
use crate::view::View;
use crate::work::{Outgoing, Routed, Via, Work};

/// Stops a packet, which starts with its IP header. The error finds its own way: to a mobile node
/// it travels as data to the home address.
#[cold]
pub(crate) fn refuse(
    view: &View,
    work: &mut Work,
    mut mbuf: Mbuf,
    reason: DropReason,
    problem: Problem,
) {
    view.stopped(&mut mbuf, reason);
    if let Some(mbuf) = error(view, work, mbuf, problem) {
        route_error(view, work, mbuf);
    }
}

/// Sends an error wherever its receiver is.
pub(crate) fn route_error(view: &View, work: &mut Work, mbuf: Mbuf) {
    let errors = &mut work.lanes.errors;
    if errors.len() == errors.capacity() {
        // The lane does not grow in a turn.
        return view.counters.sizes.icmp_errors_limited.add(1);
    }
    view.counters.sizes.icmp_errors.add(1);
    errors.push(Routed { mbuf, via: Via::Host });
}

/// Stops a packet from a link: its sender is a neighbour there, and nowhere else.
#[cold]
pub(crate) fn refuse_on_link(
    view: &View,
    work: &mut Work,
    port: PortId,
    mut mbuf: Mbuf,
    reason: DropReason,
    problem: Problem,
) {
    view.stopped(&mut mbuf, reason);
    let Some(mbuf) = error(view, work, mbuf, problem) else { return };
    if let Some((_, to)) = Ip::addresses(mbuf.data()) {
        view.counters.sizes.icmp_errors.add(1);
        let hop = next_hop::neighbour(view, port, to);
        work.lanes.outgoing.push(Outgoing { mbuf, hop });
    }
}

/// The error about a packet, where there may be one.
pub(crate) fn error(view: &View, work: &mut Work, mbuf: Mbuf, problem: Problem) -> Option<Mbuf> {
    let answer = Answer::new(mbuf.data(), problem, &view.tables.service)?;
    let counters = &view.counters.sizes;
    if !work.side.errors.admits(answer.to, work.now) {
        counters.icmp_errors_limited.add(1);
        return None;
    }
    answer.enclose(mbuf).ok()
}
