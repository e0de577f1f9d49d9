//! What crypto has finished: the verdicts from the ICV on, and the last touch to what is sent.
//!
//! Read first: RFC 4303 s.3.4.3, 3.4.4; RFC 6618 s.6.3, 6.4; readings,
//!

use hearth_dpdk::{BURST, Mbuf};
use hearth_wire::frame::{FrameError, PType, protected_layout, read_trailer};
use hearth_wire::suite::ICV_LEN;
use hearth_wire::{Scope, SeqNo, Spi};
use subtle::ConstantTimeEq;

use crate::crypto::engine::{Job, Rule};
use crate::drop_reason::DropReason;
use crate::layout::{Ip, len16, proto};
use crate::note::Note;
use crate::outer::seal;
use crate::sa::replay::Replay;
use crate::stage::classify::{Content, Envelope};
use crate::stage::inner;
use crate::stage::receive::keep;
use crate::stage::tunnel_in::received_icv;
use crate::view::View;
use crate::work::{Hop, Outgoing, Routed, Via, Work};

/// Takes up to a burst out of the lanes; returns how many came.
pub(crate) fn settle(view: &View, work: &mut Work, rule: Rule) -> usize {
    let mut settled = 0;
    while settled < BURST
        && let Some(done) = work.engine.next(rule)
    {
        settled += 1;
        match done.job {
            _ if !done.ok => view.drop(done.mbuf, DropReason::CryptoFailed),
            Job::Outbound => outbound(view, work, done.mbuf),
            Job::Inbound { sa, ptype, seq, envelope } => {
                inbound(view, work, done.mbuf, Inbound { sa, ptype, seq, envelope });
            }
        }
    }
    work.settled += settled;
    settled
}

/// The UDP checksum covers the ciphertext, so it comes last.
fn outbound(view: &View, work: &mut Work, mut mbuf: Mbuf) {
    seal(mbuf.data_mut());
    match Ip::addresses(mbuf.data()) {
        Some((_, to)) => work.lanes.outgoing.push(Outgoing { mbuf, hop: Hop::To(to) }),
        None => view.drop(mbuf, DropReason::IpHeader),
    }
}

/// A packet whose tag has been computed and whose payload is decrypted.
struct Inbound {
    sa: u32,
    ptype: PType,
    seq: SeqNo,
    envelope: Envelope,
}

/// What a protected packet turned out to be.
enum Verdict {
    Data(Ip),
    Signalling(Note),
}

fn inbound(view: &View, work: &mut Work, mut mbuf: Mbuf, inbound: Inbound) {
    match judge(view, &mut mbuf, &inbound) {
        Ok(Verdict::Data(ip)) => {
            view.counters.uplink.add(ip.total_len.into());
            work.lanes.routed.push(Routed { mbuf, ip, via: Via::Inside });
        }
        Ok(Verdict::Signalling(note)) => view.to_control(note, mbuf),
        Err(reason) => view.drop(mbuf, reason),
    }
}

/// The verdicts of R-24 from the ICV on, in their order.
fn judge(view: &View, mbuf: &mut Mbuf, inbound: &Inbound) -> Result<Verdict, DropReason> {
    let Inbound { sa: index, ptype, seq, envelope } = inbound;
    let slot = view.tables.sas.slot(*index).ok_or(DropReason::SpiUnknown)?;
    let facts = slot.facts().ok_or(DropReason::SpiUnknown)?;
    let frame = envelope.frame(mbuf.data()).ok_or(DropReason::FrameShort)?;

    let computed = mbuf.meta::<[u8; ICV_LEN]>();
    let received = received_icv(frame).ok_or(DropReason::FrameShort)?;
    if !bool::from(computed.ct_eq(received)) {
        return Err(DropReason::IcvMismatch);
    }
    // A test-and-set: two copies in one batch have both passed the look.
    match view.tables.sas.window(*index, slot).commit(*seq) {
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
    if *ptype == PType::MobilityHeader {
        return signalling(mbuf, envelope, payload, next_header).map(Verdict::Signalling);
    }
    let ip = data(view, mbuf, slot.binding(), envelope.ecn, payload, next_header)?;
    if facts.scope == Scope::Signalling {
        view.counters.uplink_protected_under_scope_0.add(1);
    }
    Ok(Verdict::Data(ip))
}

/// PType 8: IPv6 extension headers and the Mobility Header, never an inner IP header.
fn signalling(
    mbuf: &Mbuf,
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
    let spi: Spi = match envelope.content {
        Content::Protected { spi, .. } => spi,
        Content::Plain => return Err(DropReason::SignallingSpiZero),
    };
    let (remote, local) = envelope.endpoints(mbuf.data()).ok_or(DropReason::IpHeader)?;
    let payload = (len16(offset), len16(len));
    Ok(Note::Signalling { spi, local, remote, next_header, payload })
}

/// PType 1: an IP packet of a mobile node with a binding.
fn data(
    view: &View,
    mbuf: &mut Mbuf,
    binding: Option<crate::sa::slot::BindingIndex>,
    outer_ecn: u8,
    (offset, len): (usize, usize),
    next_header: u8,
) -> Result<Ip, DropReason> {
    match next_header {
        proto::IPV4 | proto::IPV6 => {}
        proto::NONE => return Err(DropReason::DummyPacket),
        _ => return Err(DropReason::DataNextHeader),
    }
    keep(mbuf, offset, len).ok_or(DropReason::InnerLength)?;
    let ip = inner::read(mbuf.data(), Some(next_header))?;
    let binding =
        binding.and_then(|index| view.tables.bindings.entry(index)).ok_or(DropReason::NoBinding)?;
    inner::admit(&ip, mbuf.data(), binding, &view.tables.service)?;
    // what lies behind the inner packet's own length is traffic-flow padding.
    keep(mbuf, 0, ip.total_len.into()).ok_or(DropReason::InnerLength)?;
    inner::carry_ecn(&ip, mbuf.data_mut(), outer_ecn)?;
    Ok(ip)
}
