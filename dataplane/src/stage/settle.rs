//! What crypto has finished: the verdicts from the ICV on, and the last touch to what is sent.
//!
//! Read first: RFC 4303 s.3.4.3, 3.4.4; RFC 6618 s.6.3, 6.4; readings,
//!

use hearth_dpdk::{BURST, Mbuf};
use hearth_wire::frame::{FrameError, PType, protected_layout, read_trailer};
use hearth_wire::{Scope, Spi, Suite};

use crate::capture;
use crate::crypto::engine::{Job, Rule};
use crate::drop_reason::DropReason;
use crate::layout::{len16, proto};
use crate::note::Note;
use crate::outer::seal;
use crate::sa::replay::Replay;
use crate::sa::slot::BindingIndex;
use crate::stage::classify::{Content, Envelope};
use crate::stage::inner;
use crate::trace::Stage;
use crate::table::binding::BindingEntry;
use crate::table::next_hop::NextHop;
use crate::view::View;
use crate::work::{Outgoing, Routed, Via, Work};

/// Takes up to a burst out of the lanes; returns how many came.
pub(crate) fn settle(view: &View, work: &mut Work, rule: Rule) -> usize {
    let (mut settled, watched) = (0, view.watch.is_on());
    let sealed = work.lanes.outgoing.len();
    while settled < BURST
        && let Some(done) = work.engine.next(rule)
    {
        settled += 1;
        if watched {
            view.watch.passes(Stage::Settle, [&done.mbuf]);
        }
        match done.job {
            _ if !done.ok => view.drop(done.mbuf, DropReason::CryptoFailed),
            Job::Outbound { hop } => outbound(work, done.mbuf, hop),
            Job::Inbound { sa, envelope } => inbound(view, work, done.mbuf, sa, &envelope),
        }
    }
    if watched {
        let sealed = work.lanes.outgoing.iter().skip(sealed);
        sealed.for_each(|packet| view.watch.protected(capture::Way::Out, &packet.mbuf));
    }
    work.settled += settled;
    settled
}

/// The UDP checksum covers the ciphertext, so it comes last.
#[inline]
fn outbound(work: &mut Work, mut mbuf: Mbuf, hop: NextHop) {
    seal(mbuf.data_mut());
    work.lanes.outgoing.push(Outgoing { mbuf, hop });
}

/// What a protected packet turned out to be.
enum Verdict {
    /// Data of this many octets; the mbuf holds nothing else any more.
    Data(u16),
    Signalling(Note),
}

/// A packet whose tag has been computed and whose payload is decrypted.
#[inline]
fn inbound(view: &View, work: &mut Work, mut mbuf: Mbuf, sa: u32, envelope: &Envelope) {
    match judge(view, &mut mbuf, sa, envelope) {
        Ok(Verdict::Data(len)) => {
            view.counters.uplink.add(len.into());
            if view.watch.is_on() {
                view.watch.decrypted(capture::Way::In, &mbuf, envelope.content.spi());
            }
            work.lanes.routed.push(Routed { mbuf, via: Via::Inside });
        }
        Ok(Verdict::Signalling(note)) => {
            if view.watch.is_on() {
                view.watch.signalling(capture::Way::In, &note, mbuf.data());
            }
            view.to_control(note, mbuf);
        }
        Err(reason) => view.drop(mbuf, reason),
    }
}

/// The verdicts of R-24 from the ICV on, in their order.
#[inline]
fn judge(
    view: &View,
    mbuf: &mut Mbuf,
    index: u32,
    envelope: &Envelope,
) -> Result<Verdict, DropReason> {
    let Content::Protected { ptype, spi, seq } = envelope.content else {
        return Err(DropReason::SpiUnknown);
    };
    let slot = view.tables.sas.slot(index).ok_or(DropReason::SpiUnknown)?;
    let facts = slot.facts().ok_or(DropReason::SpiUnknown)?;
    let frame = envelope.frame(mbuf.data()).ok_or(DropReason::FrameShort)?;

    if !is_same_icv(mbuf.meta(), frame, facts.suite).ok_or(DropReason::FrameShort)? {
        return Err(DropReason::IcvMismatch);
    }
    // A test-and-set: two copies in one batch have both passed the look.
    match view.tables.sas.window(index, slot).commit(seq) {
        Replay::Fresh => slot.inbound.count(envelope.frame_len.into()),
        Replay::Replayed => return Err(DropReason::Replayed),
        Replay::TooOld => return Err(DropReason::ReplayTooOld),
    }

    let layout = protected_layout(facts.suite, frame.len()).map_err(|_| DropReason::FrameShort)?;
    let plaintext =
        frame.get(layout.cipher_offset..layout.icv_offset).ok_or(DropReason::FrameShort)?;
    let (payload_len, next_header) = read_trailer(plaintext).map_err(|error| match error {
        FrameError::Padding => DropReason::Padding,
        FrameError::PadLength | FrameError::Short | FrameError::NotWholeBlocks => {
            DropReason::PadLength
        }
    })?;
    let payload = (envelope.frame_offset() + layout.cipher_offset, payload_len);
    if ptype == PType::MobilityHeader {
        return signalling(mbuf, spi, envelope, payload, next_header).map(Verdict::Signalling);
    }
    let len = data(view, mbuf, slot.binding(), envelope.ecn, payload, next_header)?;
    if facts.scope == Scope::Signalling {
        view.counters.uplink_protected_under_scope_0.add(1);
    }
    Ok(Verdict::Data(len))
}

/// Compares the computed ICV with the one at the end of the frame. Whole words and no branch
/// between them: how long it takes says nothing about where they differ.
#[inline]
fn is_same_icv(computed: &[u8; 16], frame: &[u8], suite: Suite) -> Option<bool> {
    let word = |octets: &[u8; 8]| u64::from_ne_bytes(*octets);
    let received = frame.get(frame.len().checked_sub(suite.icv_len())?..)?;
    let first = word(computed.first_chunk()?) ^ word(received.first_chunk()?);
    // The second word ends with the ICV; of 12 octets it covers four again.
    let computed = computed.get(..suite.icv_len())?;
    let last = word(computed.last_chunk()?) ^ word(received.last_chunk()?);
    Some(first | last == 0)
}

/// PType 8: IPv6 extension headers and the Mobility Header, never an inner IP header.
fn signalling(
    mbuf: &Mbuf,
    spi: Spi,
    envelope: &Envelope,
    (offset, len): (usize, usize),
    next_header: u8,
) -> Result<Note, DropReason> {
    if !matches!(
        next_header,
        proto::MOBILITY | proto::DESTINATION_OPTIONS | proto::ROUTING | proto::HOP_BY_HOP
    ) {
        return Err(DropReason::SignallingNextHeader);
    }
    let (remote, local) = envelope.endpoints(mbuf.data()).ok_or(DropReason::IpHeader)?;
    let payload = (len16(offset), len16(len));
    Ok(Note::Signalling { spi, local, remote, next_header, payload })
}

/// PType 1: an IP packet of a mobile node with a binding. Leaves it alone in the mbuf and returns
/// its length.
#[inline]
fn data(
    view: &View,
    mbuf: &mut Mbuf,
    binding: Option<BindingIndex>,
    outer_ecn: u8,
    payload: (usize, usize),
    next_header: u8,
) -> Result<u16, DropReason> {
    let binding = binding.and_then(|index| view.tables.bindings.entry(index));
    let (offset, len) = payload;
    if let Some(binding) = binding
        && outer_ecn == 0
        && let Some(packet) = mbuf.data().get(offset..).and_then(|rest| rest.get(..len))
        && let Some(len) = inner::express(packet, next_header, binding, &view.tables.service)
        && mbuf.keep(offset, len.into()).is_some()
    {
        return Ok(len);
    }
    uncommon_data(view, mbuf, binding, outer_ecn, payload, next_header)
}

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
