//! Envelopes from mobile nodes, up to the point where crypto takes over.
//!
//! Read first: RFC 6618 s.6.2 to 6.4; RFC 4303 s.3.4; readings.

use hearth_dpdk::{Mbuf, Op, Tag};
use hearth_wire::frame::{FrameError, FrameHeader, PType, ProtectedLayout, protected_layout};
use hearth_wire::{Cipher, Scope, SeqNo, Spi};

use crate::capture::Way;
use crate::crypto::engine::Job;
use crate::drop_reason::DropReason;
use crate::layout::{Ip, len32};
use crate::sa::keys::Direction;
use crate::sa::replay::Replay;
use crate::sa::table::SaRef;
use crate::stage::classify::{Content, Envelope};
use crate::stage::inner;
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
            Ok(ip) => {
                view.counters.uplink.add(ip.total_len.into());
                view.counters.uplink_plain.add(ip.total_len.into());
                if view.watch.is_on() {
                    view.watch.decrypted(Way::In, &mbuf, None);
                }
                lanes.routed.push(Routed { mbuf, via: Via::Inside });
            }
            Err(reason) => view.drop(mbuf, reason),
        }
    }
}

fn admit_plain(view: &View, mbuf: &mut Mbuf, envelope: &Envelope) -> Result<Ip, DropReason> {
    let start = envelope.frame_offset() + FrameHeader::LEN;
    let end = envelope.frame_offset() + usize::from(envelope.frame_len);
    let packet = mbuf.data().get(start..end).ok_or(DropReason::FrameShort)?;
    let ip = inner::read(packet, None)?;
    let (_, binding) = view.bound(ip.source).ok_or(DropReason::PlainSenderUnknown)?;
    // R-25, RFC 6618 s.6.4: "the receiver MUST silently discard any packet with the PType set to
    // 0" where mip6-sas is 1.
    if binding.facts.scope == Scope::SignallingAndData {
        return Err(DropReason::PlainDataForbidden);
    }
    let outer = envelope.endpoints(mbuf.data());
    if outer.is_none_or(|(remote, _)| remote != binding.remote) {
        return Err(DropReason::PlainOuterSource);
    }
    inner::admit(&ip, packet, binding, &view.tables.service)?;
    mbuf.keep(start, ip.total_len.into()).ok_or(DropReason::InnerLength)?;
    inner::carry_ecn(&ip, mbuf.data_mut(), envelope.ecn)?;
    Ok(ip)
}

/// PType 1 and 8: SPI look-up, scope, replay look; then the packet goes into the lanes.
pub(crate) fn protected(view: &View, work: &mut Work) {
    let mut lane = core::mem::take(&mut work.lanes.protected);
    if view.watch.is_on() {
        view.watch.passes(Stage::TunnelIn, lane.iter().map(|(mbuf, _)| mbuf));
    }
    for (mbuf, envelope) in lane.drain(..) {
        if let Content::Protected { ptype, spi, seq } = envelope.content {
            match look(view, ptype, spi, seq, &envelope) {
                Ok((sa, _)) if is_triple_des(sa) && !work.triple_des.admits_uplink() => {
                    work.triple_des.hold_uplink(view, mbuf, envelope);
                }
                Ok((sa, layout)) => submit(view, work, mbuf, sa, envelope, layout),
                Err(reason) => view.drop(mbuf, reason),
            }
        }
    }
    work.lanes.protected = lane;
}

/// The verdicts that come before the ICV.
fn look<'v>(
    view: &'v View,
    ptype: PType,
    spi: Spi,
    seq: SeqNo,
    envelope: &Envelope,
) -> Result<(SaRef<'v>, ProtectedLayout), DropReason> {
    let Some(sa) = view.tables.sas.find(spi.get()) else {
        // Only of an SPI of this home agent's can the HAC know anything.
        if ptype == PType::MobilityHeader && view.tables.sas.index_of(spi.get()).is_some() {
            view.missing.note(view.index, spi);
        }
        return Err(DropReason::SpiUnknown);
    };
    let layout =
        protected_layout(sa.facts.suite, envelope.frame_len.into()).map_err(
            |error| match error {
                FrameError::NotWholeBlocks => DropReason::FrameNotWholeBlocks,
                FrameError::Short | FrameError::PadLength | FrameError::Padding => {
                    DropReason::FrameShort
                }
            },
        )?;
    // PType 1 under scope 0 is accepted and counted when it settles.
    match view.tables.sas.window(sa.index, sa.slot).look(seq) {
        Replay::Fresh => {}
        Replay::Replayed => return Err(DropReason::Replayed),
        Replay::TooOld => return Err(DropReason::ReplayTooOld),
    }
    Ok((sa, layout))
}

fn is_triple_des(sa: SaRef<'_>) -> bool {
    sa.facts.suite.cipher() == Cipher::TripleDesCbc
}

/// Puts the packet into the lanes. It is decrypted in place before the tag is compared; the
/// verdicts keep the order of R-24 nevertheless.
fn submit(
    view: &View,
    work: &mut Work,
    mbuf: Mbuf,
    sa: SaRef<'_>,
    envelope: Envelope,
    layout: ProtectedLayout,
) {
    if view.watch.is_on() {
        view.watch.protected(Way::In, &mbuf);
    }
    // SAFETY: `find` has just seen the SA published, and this worker reports quiescent only for
    // epochs whose jobs have left the lanes (`Worker::quiesce`).
    let keys = unsafe { sa.slot.keys(Direction::Inbound) };
    let at = |offset: usize| len32(envelope.frame_offset() + offset);
    let encrypts = sa.facts.suite.encrypts();
    let op = Op {
        cipher: keys.cipher(),
        auth: keys.auth(),
        iv_offset: at(FrameHeader::LEN),
        cipher_offset: at(layout.cipher_offset),
        cipher_len: if encrypts { len32(layout.cipher_len) } else { 0 },
        auth_offset: at(0),
        auth_len: len32(layout.icv_offset),
        tag: Tag::Meta(0),
    };
    if let Some(binding) = sa.slot.binding() {
        view.tables.bindings.prefetch(binding);
    }
    let job = Job::Inbound { sa: sa.index, envelope };
    if let Err(mbuf) = work.engine.submit(sa.facts.suite, mbuf, &op, job, work.now) {
        view.drop(mbuf, DropReason::CryptoFailed);
    }
}
