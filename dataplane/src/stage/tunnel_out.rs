//! Packets to mobile nodes: headers, trailer, and the job that protects them.
//!
//! Read first: RFC 6618 s.6.3, 6.4; RFC 4303 s.3.3; RFC 6275 s.10.4.2, 10.4.6; readings R-20 to
//! R-23, R-25, R-32, R-40 to R-42.

use core::net::SocketAddr;

use hearth_dpdk::Mbuf;
use hearth_wire::frame::{FrameHeader, GcmIv, PType, write_trailer};
use hearth_wire::{Cipher, Scope, SeqNo, Spi};
use zerocopy::IntoBytes;

use crate::capture;
use crate::config::PortId;
use crate::crypto::engine::Job;
use crate::crypto::frame::Frame;
use crate::drop_reason::DropReason;
use crate::layout::{Ip, UDP_LEN, decrement_hop_limit, len16, proto, upper_layer};
use crate::note::Note;
use crate::outer::{OVER_IPV4, OVER_IPV6, OuterFields, OuterHeaders, seal};
use crate::sa::keys::{Direction, KeySchedule, Material, PerSuite};
use crate::sa::slot::BindingIndex;
use crate::sa::table::SaRef;
use crate::stage::assist::{stage, submit};
use crate::stage::icmp::Problem;
use crate::stage::icmp_outer::Complaint;
use crate::stage::refuse::refuse;
use crate::stage::sizes::{self, Fit};
use crate::stage::train::Train;
use crate::stage::{egress, mss, relay, select};
use crate::table::binding::BindingEntry;
use crate::table::next_hop::{self, NeighbourIndex, NextHop, OuterHop, Way};
use crate::trace::Stage;
use crate::view::View;
use crate::work::{Chosen, Downlink, Outgoing, Work};

/// Encapsulates the packets of the lane.
pub(crate) fn encapsulate(view: &View, work: &mut Work) {
    let (mut before, mut several) = (None, false);
    for packet in &work.lanes.downlink {
        // Packets to one mobile node come in trains.
        if before != Some(packet.binding)
            && let Some(binding) = view.tables.bindings.entry(packet.binding)
        {
            view.tables.sas.prefetch_outbound(binding.spi.get());
            several |= binding.fan.is_some();
        }
        before = Some(packet.binding);
    }
    if several {
        select::spread(view, work);
    }
    let mut lane = core::mem::take(&mut work.lanes.downlink);
    if view.watch.is_on() {
        view.watch.passes(Stage::TunnelOut, lane.iter().map(|packet| &packet.mbuf));
    }
    let mut packets = lane.drain(..);
    let mut next = packets.next();
    while let Some(packet) = next {
        let index = packet.binding;
        let Some(binding) = view.tables.bindings.entry(index) else {
            view.drop(packet.mbuf, DropReason::NoBinding);
            next = packets.next();
            continue;
        };
        next = match Train::to(view, work, index, binding) {
            Some(train) => train.carry(view, work, packet, &mut packets),
            None => {
                downlink(view, work, packet, binding);
                packets.next()
            }
        };
    }
    drop(packets);
    work.lanes.downlink = lane;
    submit(view, work);
}

/// One packet, whatever it needs.
#[inline(never)]
pub(super) fn downlink(view: &View, work: &mut Work, packet: Downlink, binding: &BindingEntry) {
    let Downlink { mut mbuf, from_host, binding: index, depth } = packet;
    let bid = binding.bid;
    let protected = match binding.facts.scope {
        Scope::SignallingAndData => true,
        // R-25: a Home Test is secret from anybody on the path.
        Scope::Signalling => binding.facts.suite.encrypts() && is_home_test(mbuf.data()),
    };
    let owner = view.tables.owner(binding.spi.get());
    if protected && owner != view.index {
        return view.hand_over(owner, Note::Downlink { from_host, bid, depth }, mbuf);
    }
    let triple_des = binding.facts.suite.cipher() == Cipher::TripleDesCbc;
    if protected
        && triple_des
        && !goes_by_device(view, binding)
        && !work.triple_des.admits_downlink()
    {
        return work.triple_des.hold_downlink(view, Chosen { mbuf, from_host, bid, depth });
    }
    let len = mbuf.len();
    // RFC 2473 s.3.1: it is forwarded first, then enters the tunnel.
    if !from_host && !decrement_hop_limit(mbuf.data_mut()) {
        return refuse(view, work, mbuf, DropReason::HopLimit, Problem::HopLimit);
    }
    let mut split = None;
    if len > usize::from(binding.path.tunnel_mtu(protected)) {
        match sizes::fit(mbuf.data(), binding, protected, work.now) {
            Fit::Whole => {}
            Fit::Split(mtu) => split = Some(OuterHop::Split(mtu, depth)),
            Fit::Refused(most) if depth > 0 => {
                view.stopped(&mut mbuf, DropReason::TunnelMtu);
                relay::own(view, work, mbuf, Complaint::TooBig(most));
                return;
            }
            Fit::Refused(most) => {
                let problem = Problem::TooBig(most);
                return refuse(view, work, mbuf, DropReason::TunnelMtu, problem);
            }
        }
    }
    if view.tables.mss_clamp {
        mss::clamp_packet(view, mbuf.data_mut(), binding);
    }
    if view.watch.is_on() {
        view.watch.decrypted(capture::Way::Out, &mbuf, Some(binding.spi));
    }
    let hop = match split {
        None => {
            let hop = outer_hop(view, work, index, binding);
            hop.map_or(OuterHop::Routed(depth), OuterHop::Neighbour)
        }
        Some(hop) => hop,
    };
    let Some((next_header, traffic_class)) = version_and_class(mbuf.data()) else {
        return view.drop(mbuf, DropReason::IpHeader);
    };
    if !protected {
        return plain(view, work, mbuf, (traffic_class, hop), binding);
    }
    let Some(sa) = view.tables.sas.find(binding.spi.get()) else {
        return view.drop(mbuf, DropReason::OutboundSaGone);
    };
    let content = Content { ptype: PType::ProtectedData, next_header, traffic_class, hop };
    if protect(view, work, mbuf, sa, &binding.outer, content) {
        view.counters.downlink.add(len);
    }
}

/// Whether a crypto device encrypts what goes to this mobile node.
fn goes_by_device(view: &View, binding: &BindingEntry) -> bool {
    view.tables.sas.find(binding.spi.get()).is_some_and(|sa| {
        // SAFETY: `find` has just seen the SA published, and this worker reports quiescent later.
        let keys = unsafe { sa.slot.keys(Direction::Outbound) };
        keys.is_in_device()
    })
}

/// The next hop towards the care-of address, which is remembered with the binding.
#[inline]
fn outer_hop(
    view: &View,
    work: &Work,
    index: BindingIndex,
    binding: &BindingEntry,
) -> Option<NeighbourIndex> {
    let generation = work.recent.hops();
    let known = view.tables.bindings.hop(index, generation);
    known.or_else(|| find_outer_hop(view, generation, index, binding))
}

#[cold]
fn find_outer_hop(
    view: &View,
    generation: u32,
    index: BindingIndex,
    binding: &BindingEntry,
) -> Option<NeighbourIndex> {
    let remote = binding.remote().ip();
    // Behind a mobile router: into its tunnel, which is not always there.
    if view.carried_to(remote).is_some() {
        return None;
    }
    match next_hop::find(view, remote) {
        Way::Out(NextHop::Neighbour(neighbour)) => {
            view.tables.bindings.set_hop(index, generation, neighbour);
            Some(neighbour)
        }
        // To be found out, and counted, when the packet leaves.
        Way::Out(_) | Way::Local | Way::Unbound | Way::None => None,
    }
}

/// The next header value that names an IP packet inside a tunnel, and its DSCP and ECN.
#[inline]
pub(super) fn version_and_class(packet: &[u8]) -> Option<(u8, u8)> {
    let &[first, second] = packet.first_chunk()?;
    Some(match first >> 4 {
        6 => (proto::IPV6, first << 4 | second >> 4),
        _ => (proto::IPV4, second),
    })
}

/// PType 0: the packet behind eight zeros.
fn plain(
    view: &View,
    work: &mut Work,
    mut mbuf: Mbuf,
    (traffic_class, hop): (u8, OuterHop),
    binding: &BindingEntry,
) {
    let outer = &binding.outer;
    let len = mbuf.len();
    let udp_len = UDP_LEN + FrameHeader::LEN + len;
    let fields = OuterFields {
        udp_len: len16(udp_len),
        traffic_class,
        identification: work.next_identification(),
    };
    let Some(front) = mbuf.prepend(outer.len() + FrameHeader::LEN) else {
        return view.drop(mbuf, DropReason::BufferRoom);
    };
    outer.write(front, fields);
    if let Some(header) = front.last_chunk_mut::<{ FrameHeader::LEN }>() {
        header.copy_from_slice(FrameHeader::plain().as_bytes());
    }
    view.counters.downlink.add(len);
    view.counters.downlink_plain.add(len);
    if work.leaves_checksums
        && let OuterHop::Neighbour(neighbour) = hop
        && work.lanes.outgoing.is_empty()
        && !view.watch.is_on()
    {
        match egress::leave_unsealed(view, &mut work.tx, mbuf, neighbour) {
            Ok(()) => return,
            Err(refused) => mbuf = refused,
        }
    }
    seal(mbuf.data_mut());
    work.lanes.outgoing.push(Outgoing { mbuf, hop: hop.into() });
}

/// Control's PType 8 packet: the mbuf holds IPv6 extension headers and a Mobility Header.
pub(crate) fn signalling(
    view: &View,
    work: &mut Work,
    mbuf: Mbuf,
    (spi, next_header): (Spi, u8),
    (local, remote): (SocketAddr, SocketAddr),
    link: Option<PortId>,
) {
    let Some(outer) = OuterHeaders::new(local, remote) else {
        return view.drop(mbuf, DropReason::IpHeader);
    };
    let Some(sa) = view.tables.sas.find(spi.get()) else {
        return view.drop(mbuf, DropReason::OutboundSaGone);
    };
    // RFC 6275 s.10.3.2: a mobile node at home whose address is bound all the same.
    let hop = match link.map(|port| next_hop::neighbour(view, port, remote.ip())) {
        Some(NextHop::Neighbour(neighbour)) => OuterHop::Neighbour(neighbour),
        _ => OuterHop::Routed(0),
    };
    // Signalling is network control traffic: CS6 (RFC 4594 s.3.1).
    let content = Content { ptype: PType::MobilityHeader, next_header, traffic_class: 0xc0, hop };
    if protect(view, work, mbuf, sa, &outer, content) {
        view.counters.signalling_out.add(1);
    }
}

/// What is protected.
pub(super) struct Content {
    pub(super) ptype: PType,
    pub(super) next_header: u8,
    /// DSCP and ECN of the outer header (R-41).
    pub(super) traffic_class: u8,
    /// Towards the care-of address.
    pub(super) hop: OuterHop,
}

/// Puts trailer and headers around the mbuf's content and submits it; `false` where it was dropped.
///
/// ```text
/// outer IP | UDP | PType SPI | Seq | IV | content, padding, Pad Length, Next Header | ICV
/// |<------------- prepended ---------->|          |<------------- appended ------------->|
/// ```
#[inline(never)]
fn protect(
    view: &View,
    work: &mut Work,
    mbuf: Mbuf,
    sa: SaRef<'_>,
    outer: &OuterHeaders,
    content: Content,
) -> bool {
    // SAFETY: `find` has just seen the SA published, and this worker reports quiescent only for
    // epochs whose jobs have left the lanes (`Worker::quiesce`).
    let keys: &'static KeySchedule = unsafe { sa.slot.keys(Direction::Outbound) };
    keys.with(Protection { view, work, mbuf, sa, keys, outer, content })
}

/// What becomes a protected packet.
pub(super) struct Protection<'a> {
    pub(super) view: &'a View,
    pub(super) work: &'a mut Work,
    pub(super) mbuf: Mbuf,
    pub(super) sa: SaRef<'a>,
    pub(super) keys: &'static KeySchedule,
    pub(super) outer: &'a OuterHeaders,
    pub(super) content: Content,
}

impl PerSuite<'static> for Protection<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self, material: Material<'static>) -> bool {
        if self.outer.is_ipv6() {
            protect_over::<OVER_IPV6>(self, &material)
        } else {
            protect_over::<OVER_IPV4>(self, &material)
        }
    }
}

/// With `OUTER` octets of outer headers.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the suite is known where it is called")]
pub(super) fn protect_over<const OUTER: usize>(
    protection: Protection<'_>,
    material: &Material<'static>,
) -> bool {
    let Protection { view, work, mut mbuf, sa, keys, outer, content } = protection;
    let payload_len = mbuf.len();
    let trailer_len = 2 + (payload_len.wrapping_add(2).wrapping_neg() & (material.pad_block() - 1));
    let front_len = OUTER + FrameHeader::LEN + material.iv_len();
    let back_len = trailer_len + material.icv_len();
    let Some(packet) = mbuf.surround(front_len, back_len) else {
        view.drop(mbuf, DropReason::BufferRoom);
        return false;
    };
    let Some(seq) = sa.slot.draw(|| view.grants.note(sa.spi)) else {
        view.drop(mbuf, no_number(sa));
        return false;
    };
    let frame_len = packet.len() - OUTER;
    let Some((front, rest)) = packet.split_at_mut_checked(front_len) else {
        view.drop(mbuf, DropReason::BufferRoom);
        return false;
    };
    let fields = OuterFields {
        udp_len: len16(UDP_LEN + frame_len),
        traffic_class: content.traffic_class,
        identification: work.next_identification(),
    };
    let header = FrameHeader::protected(content.ptype, sa.spi, seq);
    write_front::<OUTER>(front, outer, fields, header);
    write_iv(work, material, front.get_mut(OUTER + FrameHeader::LEN..).unwrap_or_default(), seq);
    if let Some(trailer) = rest.get_mut(payload_len..payload_len + trailer_len) {
        write_trailer(trailer, content.next_header);
    }
    let job = || Job::Outbound { hop: content.hop };
    let frame = Frame { keys, offset: OUTER, len: frame_len, inbound: false };
    if !stage(view, work, mbuf, material, job, frame) {
        return false;
    }
    sa.slot.outbound.count(frame_len);
    true
}

/// Why an SA has no number for a packet: control has granted none yet, or can't grant any more.
#[cold]
fn no_number(sa: SaRef<'_>) -> DropReason {
    if sa.slot.granted() == u16::MAX {
        DropReason::SequenceExhausted
    } else {
        DropReason::OutboundGrant
    }
}

/// Outer headers and frame header.
#[inline(always)]
#[expect(clippy::inline_always, reason = "all lengths are known where it is called")]
fn write_front<const OUTER: usize>(
    front: &mut [u8],
    outer: &OuterHeaders,
    fields: OuterFields,
    header: FrameHeader,
) {
    if let Some((headers, rest)) = front.split_first_chunk_mut::<OUTER>()
        && let Some(place) = rest.first_chunk_mut::<{ FrameHeader::LEN }>()
    {
        outer.write_over(headers, fields);
        place.copy_from_slice(header.as_bytes());
    }
}

/// The IV, where the suite has one, into a place of its length (R-16, R-20).
#[inline(always)]
#[expect(clippy::inline_always, reason = "all lengths are known where it is called")]
fn write_iv(work: &mut Work, material: &Material<'_>, place: &mut [u8], seq: SeqNo) {
    if let Some((_, epoch)) = material.nonce {
        let iv = GcmIv::new(epoch, seq);
        if let (Some(place), Some(iv)) = (place.first_chunk_mut::<8>(), iv.as_bytes().first_chunk())
        {
            *place = *iv;
        }
    } else if let Some(place) = place.first_chunk_mut::<16>() {
        *place = work.ivs.next();
    } else if let Some(place) = place.first_chunk_mut::<8>() {
        *place = work.ivs.next();
    }
}

/// A Home Test message (RFC 6275 s.6.1.5), behind whatever extension headers.
fn is_home_test(packet: &[u8]) -> bool {
    const HOME_TEST: u8 = 3;
    let v6 = packet.first().is_some_and(|first| first >> 4 == 6);
    // What nearly all packets are.
    if !v6 || matches!(packet.get(6), Some(&(proto::TCP | proto::UDP | proto::ICMPV6))) {
        return false;
    }
    let upper = Ip::parse(packet).ok().and_then(|ip| upper_layer(&ip, packet));
    upper.is_some_and(|upper| {
        upper.proto == proto::MOBILITY && packet.get(upper.offset + 2) == Some(&HOME_TEST)
    })
}
