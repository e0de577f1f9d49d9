//! What crypto has finished: the verdicts from the ICV on, and the last touch to what is sent.
//!
//! Read first: RFC 4303 s.3.4.3, 3.4.4; RFC 6618 s.6.3, 6.4; readings,
//!

use hearth_dpdk::Mbuf;
use hearth_wire::frame::{FrameError, PType, read_trailer};
use hearth_wire::{Scope, Spi};

use crate::capture;
use crate::crypto::device::DeviceQueue;
use crate::crypto::engine::{Done, Flight, Job, Rule};
use crate::drop_reason::DropReason;
use crate::layout::{len16, proto};
use crate::note::Note;
use crate::outer::seal;
use crate::sa::replay::Replay;
use crate::sa::slot::SaSlot;
use crate::sharing::Sharing;
use crate::stage::classify::{Content, Envelope};
use crate::stage::{assist, inner, mss};
use crate::table::binding::BindingEntry;
use crate::table::next_hop::OuterHop;
use crate::trace::Stage;
use crate::view::View;
use crate::work::{Lanes, Outgoing, Routed, Via, Work};

/// Takes out of the lanes what comes out under this rule; returns how many packets that were.
pub(crate) fn settle(view: &View, work: &mut Work, rule: Rule) -> usize {
    let Work { engine, lanes, sharing, .. } = work;
    let (mut settled, watched) = (0, view.watch.is_on());
    let sealed = lanes.outgoing.len();
    for side in engine.collect(rule) {
        settled += side.settle(|done, flight, tag| {
            finish(view, lanes, sharing, watched, done, flight, tag);
        });
    }
    if let Some(device) = engine.collect_from_device(rule) {
        settled += from_device(view, lanes, sharing, watched, device);
    }
    if watched {
        let sealed = lanes.outgoing.iter().skip(sealed);
        sealed.for_each(|packet| view.watch.protected(capture::Way::Out, &packet.mbuf));
    }
    work.settled += settled;
    settled
}

/// Packets that a crypto device has finished.
#[cold]
#[inline(never)]
fn from_device(
    view: &View,
    lanes: &mut Lanes,
    sharing: &mut Sharing,
    watched: bool,
    device: &mut DeviceQueue,
) -> usize {
    let settled = device.settle(|done, flight, tag| {
        finish(view, lanes, sharing, watched, done, flight, tag);
    });
    view.counters.by_device.add(settled as u64);
    settled
}

/// One packet that came out.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a copy for the lanes, another for a device")]
fn finish(
    view: &View,
    lanes: &mut Lanes,
    sharing: &mut Sharing,
    watched: bool,
    done: Done,
    flight: &Flight,
    tag: &[u8; 16],
) {
    if watched {
        view.watch.passes(Stage::Settle, [&done.mbuf]);
    }
    match &flight.job {
        Job::Assisted { worker, inbound } => {
            assist::settle(sharing, done, (*worker).into(), *inbound);
        }
        _ if !done.ok => view.drop(done.mbuf, DropReason::CryptoFailed),
        Job::Outbound { hop } => outbound(lanes, done, *hop),
        Job::Inbound { sa, envelope } => inbound(view, lanes, done.mbuf, *sa, envelope, tag),
    }
}

/// The UDP checksum covers the ciphertext, so it comes last.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as for `finish`")]
fn outbound(lanes: &mut Lanes, done: Done, hop: OuterHop) {
    let Done { mut mbuf, remote, .. } = done;
    if !remote {
        seal(mbuf.data_mut());
    }
    lanes.outgoing.push(Outgoing { mbuf, hop: hop.into() });
}

/// A packet whose tag has been computed and whose payload is decrypted.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as for `finish`")]
fn inbound(
    view: &View,
    lanes: &mut Lanes,
    mut mbuf: Mbuf,
    sa: u32,
    envelope: &Envelope,
    tag: &[u8; 16],
) {
    let opened = match open(view, &mbuf, sa, envelope, tag) {
        Ok(opened) => opened,
        Err(reason) => return view.drop(mbuf, reason),
    };
    if opened.ptype == PType::MobilityHeader {
        return signalling(view, mbuf, envelope, &opened);
    }
    match data(view, &mut mbuf, envelope.ecn, &opened) {
        Ok(len) => {
            if view.tables.mss_clamp {
                mss::clamp_under(view, mbuf.data_mut(), opened.slot.binding());
            }
            if opened.slot.scope() == Scope::Signalling {
                view.counters.uplink_protected_under_scope_0.add(1);
            }
            view.counters.uplink.add(len.into());
            if view.watch.is_on() {
                view.watch.decrypted(capture::Way::In, &mbuf, envelope.content.spi());
            }
            lanes.routed.push(Routed { mbuf, via: Via::Inside });
        }
        Err(reason) => view.drop(mbuf, reason),
    }
}

/// A packet that its SA's other end sent, and once.
struct Opened<'v> {
    slot: &'v SaSlot,
    ptype: PType,
    spi: Spi,
    /// Where the payload stands in the packet.
    offset: usize,
    len: usize,
    next_header: u8,
}

/// The verdicts of R-24 from the ICV to the padding, in their order.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as for `finish`")]
fn open<'v>(
    view: &'v View,
    mbuf: &Mbuf,
    index: u32,
    envelope: &Envelope,
    tag: &[u8; 16],
) -> Result<Opened<'v>, DropReason> {
    let Content::Protected { ptype, spi, seq } = envelope.content else {
        return Err(DropReason::SpiUnknown);
    };
    let slot = view.tables.sas.slot(index).ok_or(DropReason::SpiUnknown)?;
    let offset = usize::from(envelope.payload.offset);
    let start = envelope.frame_offset() + offset;
    let end = envelope.frame_offset() + usize::from(envelope.frame_len);
    let (plaintext, icv) = end
        .checked_sub(start + usize::from(envelope.payload.icv_len))
        .and_then(|len| mbuf.data().get(start..end)?.split_at_checked(len))
        .ok_or(DropReason::FrameShort)?;
    if !is_same_icv(tag, icv).ok_or(DropReason::FrameShort)? {
        return Err(DropReason::IcvMismatch);
    }
    // A test-and-set: two copies in one batch have both passed the look.
    match view.tables.sas.window(index, slot).commit(seq) {
        Replay::Fresh => slot.inbound.count(envelope.frame_len.into()),
        Replay::Replayed => return Err(DropReason::Replayed),
        Replay::TooOld => return Err(DropReason::ReplayTooOld),
    }
    let (len, next_header) = read_trailer(plaintext).map_err(|error| match error {
        FrameError::Padding => DropReason::Padding,
        FrameError::PadLength | FrameError::Short | FrameError::NotWholeBlocks => {
            DropReason::PadLength
        }
    })?;
    Ok(Opened { slot, ptype, spi, offset: start, len, next_header })
}

/// Compares the computed ICV with the received one. Whole words and no branch
/// between them: how long it takes says nothing about where they differ.
#[inline]
fn is_same_icv(computed: &[u8; 16], received: &[u8]) -> Option<bool> {
    let word = |octets: &[u8; 8]| u64::from_ne_bytes(*octets);
    let first = word(computed.first_chunk()?) ^ word(received.first_chunk()?);
    // The second word ends with the ICV; of 12 octets it covers four again.
    let computed = computed.get(..received.len())?;
    let last = word(computed.last_chunk()?) ^ word(received.last_chunk()?);
    Some(first | last == 0)
}

/// PType 8: IPv6 extension headers and the Mobility Header, never an inner IP header.
#[inline(never)]
fn signalling(view: &View, mbuf: Mbuf, envelope: &Envelope, opened: &Opened<'_>) {
    let next_header = opened.next_header;
    if !matches!(
        next_header,
        proto::MOBILITY | proto::DESTINATION_OPTIONS | proto::ROUTING | proto::HOP_BY_HOP
    ) {
        return view.drop(mbuf, DropReason::SignallingNextHeader);
    }
    let Some((remote, local)) = envelope.endpoints(mbuf.data()) else {
        return view.drop(mbuf, DropReason::IpHeader);
    };
    let payload = (len16(opened.offset), len16(opened.len));
    let note = Note::Signalling { spi: opened.spi, local, remote, next_header, payload };
    if view.watch.is_on() {
        view.watch.signalling(capture::Way::In, &note, mbuf.data());
    }
    view.to_control(note, mbuf);
}

/// PType 1: an IP packet of a mobile node with a binding. Leaves it alone in the mbuf and returns
/// its length.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as for `finish`")]
fn data(
    view: &View,
    mbuf: &mut Mbuf,
    outer_ecn: u8,
    opened: &Opened<'_>,
) -> Result<u16, DropReason> {
    let Opened { offset, len, next_header, .. } = *opened;
    let binding = opened.slot.binding().and_then(|index| view.tables.bindings.entry(index));
    if let Some(binding) = binding
        && outer_ecn == 0
        && let Some(packet) = mbuf.data().get(offset..offset + len)
        && let Some(len) = inner::express(packet, next_header, binding, &view.tables.service)
        && mbuf.keep(offset, len.into()).is_some()
    {
        return Ok(len);
    }
    uncommon_data(view, mbuf, binding, outer_ecn, (offset, len), next_header)
}

#[inline(never)]
fn uncommon_data(
    view: &View,
    mbuf: &mut Mbuf,
    binding: Option<&BindingEntry>,
    outer_ecn: u8,
    (offset, len): (usize, usize),
    next_header: u8,
) -> Result<u16, DropReason> {
    match next_header {
        proto::IPV4 | proto::IPV6 => {}
        proto::NONE => return Err(DropReason::DummyPacket),
        _ => return Err(DropReason::DataNextHeader),
    }
    mbuf.keep(offset, len).ok_or(DropReason::InnerLength)?;
    let ip = inner::read(mbuf.data(), Some(next_header))?;
    let binding = binding.ok_or(DropReason::NoBinding)?;
    inner::admit(&ip, mbuf.data(), binding, &view.tables.service)?;
    // what lies behind the inner packet's own length is traffic-flow padding.
    mbuf.keep(0, ip.total_len.into()).ok_or(DropReason::InnerLength)?;
    inner::carry_ecn(&ip, mbuf.data_mut(), outer_ecn)?;
    Ok(ip.total_len)
}
