//! Envelopes from mobile nodes, up to the point where crypto takes over.
//!
//! Read first: RFC 6618 s.6.2 to 6.4; RFC 4303 s.3.4; readings.

use hearth_dpdk::Mbuf;
use hearth_wire::Scope;
use hearth_wire::frame::FrameHeader;

use crate::capture::Way;
use crate::crypto::engine::Job;
use crate::crypto::frame::Frame;
use crate::drop_reason::DropReason;
use crate::layout::Ip;
use crate::note::Note;
use crate::sa::keys::{Direction, KeySchedule, Material, PerSuite};
use crate::sa::replay::Replay;
use crate::sa::table::SaRef;
use crate::stage::assist::{stage, submit};
use crate::stage::envelope::{Envelope, PayloadLayout};
use crate::stage::inner::Onward;
use crate::stage::{inner, mss};
use crate::trace::Stage;
use crate::view::View;
use crate::work::{Routed, Via, Work};

/// PType 0: the sender is found by the inner source address.
pub(crate) fn plain(view: &View, work: &mut Work) {
    let Work { lanes, .. } = work;
    if view.watch.is_on() {
        view.watch.passes(Stage::TunnelIn, lanes.plain.iter().map(|(mbuf, _)| mbuf));
    }
    for (mut mbuf, envelope) in lanes.plain.drain(..) {
        match admit_plain(view, &mut mbuf, &envelope) {
            Ok((ip, onward)) => {
                view.counters.uplink.add(ip.total_len.into());
                view.counters.uplink_plain.add(ip.total_len.into());
                if view.watch.is_on() {
                    view.watch.decrypted(Way::In, &mbuf, None);
                }
                match onward {
                    Onward::Forward => lanes.routed.push(Routed { mbuf, via: Via::Inside }),
                    Onward::FromBehind => lanes.behind.push((mbuf, envelope.depth() + 1)),
                    Onward::ForControl => for_control(view, mbuf, &ip),
                }
            }
            Err(reason) => view.drop(mbuf, reason),
        }
    }
}

/// A packet for the home agent itself.
#[cold]
fn for_control(view: &View, mbuf: Mbuf, ip: &Ip) {
    let Some((_, binding)) = view.carried_to(ip.source) else {
        return view.drop(mbuf, DropReason::PlainSenderUnknown);
    };
    let Some(sa) = view.tables.sas.find(binding.spi.get()) else {
        return view.drop(mbuf, DropReason::SpiUnknown);
    };
    let home_address = binding.sender().home6.address();
    view.asked_under(sa.slot, Note::Inner { spi: binding.spi, home_address }, mbuf);
}

fn admit_plain(
    view: &View,
    mbuf: &mut Mbuf,
    envelope: &Envelope,
) -> Result<(Ip, Onward), DropReason> {
    let start = envelope.frame_offset() + FrameHeader::LEN;
    let end = envelope.frame_offset() + usize::from(envelope.frame_len());
    let packet = mbuf.data().get(start..end).ok_or(DropReason::FrameShort)?;
    let ip = inner::read(packet, None)?;
    let (_, binding) = view.carried_to(ip.source).ok_or(DropReason::PlainSenderUnknown)?;
    // R-25, RFC 6618 s.6.4: "the receiver MUST silently discard any packet with the PType set to
    // 0" where mip6-sas is 1.
    if binding.facts.scope == Scope::SignallingAndData {
        return Err(DropReason::PlainDataForbidden);
    }
    // From any of its care-of addresses (RFC 5648 s.6.5).
    let remote = envelope.endpoints(mbuf.data()).map(|(remote, _)| remote);
    if !view.tunnels(binding).any(|tunnel| Some(tunnel.remote()) == remote) {
        return Err(DropReason::PlainOuterSource);
    }
    let onward = inner::admit(view, &ip, packet, binding)?;
    // What anybody on the link of a care-of address could have said changes no membership.
    if onward == Onward::ForControl && ip.destination.is_multicast() {
        return Err(DropReason::InnerLinkScope);
    }
    mbuf.keep(start, ip.total_len.into()).ok_or(DropReason::InnerLength)?;
    inner::carry_ecn(&ip, mbuf.data_mut(), envelope.ecn())?;
    if view.tables.mss_clamp {
        mss::clamp_packet(view, mbuf.data_mut(), binding);
    }
    Ok((ip, onward))
}

/// Asks for the SAs of the packets that [`protected`] will look at.
///
/// A loop of its own, and a short one: a prefetch waits for its address to be translated, and only
/// those that stand close together wait at the same time.
pub(crate) fn look_ahead(view: &View, work: &Work) {
    let mut before = 0;
    for (_, envelope) in &work.lanes.protected {
        // Packets under one SA come in trains.
        if envelope.spi_bits() != before {
            before = envelope.spi_bits();
            view.tables.sas.prefetch_inbound(before, envelope.seq());
        }
    }
}

/// PType 1 and 8: SPI look-up, scope, replay look; then the packet goes into the lanes.
pub(crate) fn protected(view: &View, work: &mut Work) {
    let mut lane = core::mem::take(&mut work.lanes.protected);
    if view.watch.is_on() {
        view.watch.passes(Stage::TunnelIn, lane.iter().map(|(mbuf, _)| mbuf));
    }
    for (mbuf, envelope) in lane.drain(..) {
        match view.tables.sas.find(envelope.spi_bits()) {
            Some(sa) => under(view, work, mbuf, sa, envelope),
            None => unknown(view, mbuf, envelope, work.now),
        }
    }
    work.lanes.protected = lane;
    submit(view, work);
}

/// No SA has this SPI.
#[cold]
#[inline(never)]
fn unknown(view: &View, mbuf: Mbuf, envelope: Envelope, now: u64) {
    // Only of an SPI of this home agent's can the HAC know anything.
    if envelope.is_signalling()
        && let Some(spi) = envelope.spi()
        && view.tables.sas.index_of(spi.get()).is_some()
    {
        view.missing.note(spi);
        return view.to_wait(envelope, mbuf, now);
    }
    view.drop(mbuf, DropReason::SpiUnknown);
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "one caller, once per packet")]
fn under(view: &View, work: &mut Work, mbuf: Mbuf, sa: SaRef<'_>, envelope: Envelope) {
    // SAFETY: `find` has just seen the SA published, and this worker reports quiescent only for
    // epochs whose jobs have left the lanes (`Worker::quiesce`).
    let keys: &'static KeySchedule = unsafe { sa.slot.keys(Direction::Inbound) };
    keys.with(Admission { view, work, mbuf, sa, keys, envelope });
}

/// The verdicts that come before the ICV, and the job. The packet is decrypted in place before the
/// tag is compared; the verdicts keep the order of R-24 nevertheless.
struct Admission<'a> {
    view: &'a View,
    work: &'a mut Work,
    mbuf: Mbuf,
    sa: SaRef<'a>,
    keys: &'static KeySchedule,
    envelope: Envelope,
}

impl PerSuite<'static> for Admission<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, material: Material<'static>) {
        let Self { view, work, mbuf, sa, keys, envelope } = self;
        let envelope = match layout(&material, envelope.frame_len()) {
            Ok(layout) => envelope.with_payload(layout),
            Err(reason) => return view.drop(mbuf, reason),
        };
        // PType 1 under scope 0 is accepted and counted when it settles.
        match view.tables.sas.window(sa.index, sa.slot).look(envelope.seq()) {
            Replay::Fresh => {}
            Replay::Replayed => return view.drop(mbuf, DropReason::Replayed),
            Replay::TooOld => return view.drop(mbuf, DropReason::ReplayTooOld),
        }
        // What a device does takes nobody's turn.
        if material.is_triple_des()
            && material.session.is_none()
            && !work.triple_des.admits_uplink()
        {
            return work.triple_des.hold_uplink(view, mbuf, envelope);
        }
        if view.watch.is_on() {
            view.watch.protected(Way::In, &mbuf);
        }
        let frame = Frame {
            keys,
            offset: envelope.frame_offset(),
            len: envelope.frame_len().into(),
            inbound: true,
        };
        let job = || Job::Inbound { sa: sa.index, envelope };
        stage(view, work, mbuf, &material, job, frame);
    }
}

/// Where the parts of the frame stand, once its length has been held against the suite.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the suite is known where it is called")]
fn layout(material: &Material<'_>, frame_len: u16) -> Result<PayloadLayout, DropReason> {
    let overhead = FrameHeader::LEN + material.iv_len() + material.icv_len();
    match usize::from(frame_len).checked_sub(overhead) {
        Some(len) if len < material.pad_block() => Err(DropReason::FrameShort),
        Some(len) if len & (material.pad_block() - 1) != 0 => Err(DropReason::FrameNotWholeBlocks),
        #[expect(clippy::cast_possible_truncation, reason = "IV and ICV have at most 16 octets")]
        Some(_) => Ok(PayloadLayout {
            offset: (FrameHeader::LEN + material.iv_len()) as u8,
            icv_len: material.icv_len() as u8,
        }),
        None => Err(DropReason::FrameShort),
    }
}
