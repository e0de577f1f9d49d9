//! What crypto has finished: the verdicts from the ICV on, and the last touch to what is sent.
//!
//! Read first: RFC 4303 s.3.4.3, 3.4.4; RFC 6618 s.6.3, 6.4; readings,
//!

use hearth_dpdk::Mbuf;
use hearth_wire::Scope;
use hearth_wire::frame::{FrameError, read_trailer};

use crate::capture;
use crate::crypto::device::DeviceQueue;
use crate::crypto::engine::{Flight, Icv, Job, Rule};
use crate::drop_reason::DropReason;
use crate::layout::{ETHERNET_LEN, decrement_hop_limit, len16, proto};
use crate::note::Note;
use crate::outer::seal;
use crate::sa::replay::Replay;
use crate::sa::slot::SaSlot;
use crate::sharing::Sharing;
use crate::stage::envelope::Envelope;
use crate::stage::inner::{Common, Onward};
use crate::stage::{assist, egress, inner, mss};
use crate::table::next_hop::{OuterHop, RecentHops};
use crate::trace::Stage;
use crate::view::View;
use crate::work::{Lanes, Outgoing, PortTx, Routed, Via, Work};

/// Takes out of the lanes what comes out under this rule; returns how many packets that were.
pub(crate) fn settle(view: &View, work: &mut Work, rule: Rule) -> usize {
    let Work { engine, lanes, sharing, tx, leaves_checksums, recent, .. } = work;
    let (mut settled, watched) = (0, view.watch.is_on());
    // A trace and a capture are to see packets as they leave.
    let by_port = *leaves_checksums && !watched;
    let sealed = lanes.outgoing.len();
    let short_cuts = !watched && !view.tables.mss_clamp;
    let mut desk = Desk { view, lanes, sharing, tx, by_port, recent, watched, short_cuts };
    for side in engine.collect(rule) {
        settled += side.settle(|mbuf, flight, tag| desk.finish(mbuf, flight, tag));
    }
    if let Some(device) = engine.collect_from_device(rule) {
        settled += desk.finish_device(device);
    }
    if watched {
        let sealed = lanes.outgoing.iter().skip(sealed);
        sealed.for_each(|packet| view.watch.protected(capture::Way::Out, &packet.mbuf));
    }
    work.settled += settled;
    settled
}

/// Where packets that came out of crypto are looked at, and sent on.
struct Desk<'a> {
    view: &'a View,
    lanes: &'a mut Lanes,
    sharing: &'a mut Sharing,
    tx: &'a mut [PortTx],
    /// Whether checksums may be left to a port that fills them in.
    by_port: bool,
    recent: &'a RecentHops,
    watched: bool,
    /// Whether packets may go straight to their port: nobody watches the stages between, and none
    /// of them changes more than a hop limit.
    short_cuts: bool,
}

impl Desk<'_> {
    /// Packets that a crypto device has finished.
    #[cold]
    #[inline(never)]
    fn finish_device(&mut self, device: &mut DeviceQueue) -> usize {
        let settled = device.settle(|mbuf, flight, tag| self.finish(mbuf, flight, tag));
        self.view.counters.device_packets.add(settled as u64);
        settled
    }

    /// One packet that came out.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a copy for the lanes, another for a device")]
    fn finish(&mut self, mbuf: Mbuf, flight: &Flight, tag: Icv) {
        // Another worker's packet settles there.
        if self.watched && !matches!(flight.job, Job::Assisted { .. }) {
            self.view.watch.passes(Stage::Settle, [&mbuf]);
        }
        match flight.job {
            Job::Inbound { sa, envelope } => self.inbound(mbuf, sa, envelope, tag),
            Job::Outbound { hop } => self.outbound(mbuf, hop, flight.is_remote()),
            Job::Assisted { worker, inbound, ok } => {
                assist::settle(self.sharing, mbuf, worker.into(), inbound, ok);
            }
            Job::Failed => self.view.drop(mbuf, DropReason::CryptoFailed),
        }
    }

    /// The UDP checksum covers the ciphertext, so it comes last.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as for `finish`")]
    fn outbound(&mut self, mut mbuf: Mbuf, hop: OuterHop, is_sealed: bool) {
        if !is_sealed {
            if self.by_port
                && let OuterHop::Neighbour(neighbour) = hop
                && self.lanes.outgoing.is_empty()
            {
                match egress::leave_unsealed(self.view, self.tx, mbuf, neighbour) {
                    Ok(()) => return,
                    Err(refused) => mbuf = refused,
                }
            }
            seal(mbuf.data_mut());
        }
        if let OuterHop::Neighbour(neighbour) = hop
            && self.short_cuts
            && self.lanes.outgoing.is_empty()
        {
            match egress::leave(self.view, self.tx, mbuf, neighbour) {
                Ok(()) => return,
                Err((refused, _)) => mbuf = refused,
            }
        }
        self.lanes.outgoing.push(Outgoing { mbuf, hop: hop.into() });
    }

    /// A packet whose tag has been computed and whose payload is decrypted.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as for `finish`")]
    fn inbound(&mut self, mut mbuf: Mbuf, sa: u32, envelope: Envelope, tag: Icv) {
        let view = self.view;
        let opened = match open(view, &mbuf, sa, envelope, tag) {
            Ok(opened) => opened,
            Err(reason) => return view.drop(mbuf, reason),
        };
        if envelope.is_signalling() {
            return signalling(view, mbuf, envelope, opened.content);
        }
        let Opened { slot, content } = opened;
        if envelope.ecn() == 0
            && let Some(sender) = slot.sender()
            && let Some(payload) = mbuf.data().get(content.offset..content.offset + content.len)
            && let Some(common) =
                inner::express(payload, content.next_header, &sender, &view.tables.service)
        {
            accepted(view, slot, common.len);
            if self.short_cuts && self.lanes.routed.is_empty() {
                match self.straight_out(mbuf, content.offset, &common) {
                    Ok(()) => return,
                    Err(refused) => mbuf = refused,
                }
            }
            if mbuf.keep(content.offset, common.len.into()).is_none() {
                return view.drop(mbuf, DropReason::InnerLength);
            }
        } else {
            match uncommon_data(view, &mut mbuf, slot, envelope.ecn(), content) {
                Ok((len, Onward::Forward)) => accepted(view, slot, len),
                Ok((len, Onward::FromBehind)) => {
                    accepted(view, slot, len);
                    return self.behind(mbuf, envelope);
                }
                Ok((len, Onward::ForControl)) => {
                    accepted(view, slot, len);
                    return self.for_control(mbuf, envelope, slot);
                }
                Err(reason) => return view.drop(mbuf, reason),
            }
        }
        self.by_the_stages(mbuf, envelope, slot);
    }

    /// A packet that is to be looked up by its destination as any other.
    #[inline(never)]
    fn by_the_stages(&mut self, mut mbuf: Mbuf, envelope: Envelope, slot: &SaSlot) {
        if self.view.tables.mss_clamp {
            mss::clamp_under(self.view, mbuf.data_mut(), slot.binding());
        }
        if self.watched {
            self.view.watch.decrypted(capture::Way::In, &mbuf, envelope.spi());
        }
        self.lanes.routed.push(Routed { mbuf, via: Via::Inside });
    }

    /// A packet to the home agent that may be an envelope itself.
    #[cold]
    #[inline(never)]
    fn behind(&mut self, mbuf: Mbuf, envelope: Envelope) {
        if self.watched {
            self.view.watch.decrypted(capture::Way::In, &mbuf, envelope.spi());
        }
        self.lanes.behind.push((mbuf, envelope.depth() + 1));
    }

    /// A packet for the home agent itself.
    #[cold]
    #[inline(never)]
    fn for_control(&self, mbuf: Mbuf, envelope: Envelope, slot: &SaSlot) {
        let (Some(spi), Some(sender)) = (envelope.spi(), slot.sender()) else {
            return self.view.drop(mbuf, DropReason::NoBinding);
        };
        if self.watched {
            self.view.watch.decrypted(capture::Way::In, &mbuf, Some(spi));
        }
        let home_address = sender.home6.address();
        self.view.asked_under(slot, Note::Inner { spi, home_address }, mbuf);
    }

    /// Sends an inner packet to a destination that is remembered straight to its port, as the
    /// stages between would.
    ///
    /// # Errors
    /// The packet, unchanged, where one of them has more to do.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as for `finish`")]
    fn straight_out(&mut self, mut mbuf: Mbuf, offset: usize, packet: &Common) -> Result<(), Mbuf> {
        let Some(neighbour) = self.recent.get(packet.destination) else { return Err(mbuf) };
        let Ok((port, exit, mac)) = egress::exit(self.view, self.tx, neighbour) else {
            return Err(mbuf);
        };
        let len = usize::from(packet.len);
        // What was in front of the packet leaves more room than that.
        let Some(start) = offset.checked_sub(ETHERNET_LEN) else { return Err(mbuf) };
        if !packet.may_travel
            || packet.len > exit.mtu
            || mbuf.keep(start, ETHERNET_LEN + len).is_none()
        {
            return Err(mbuf);
        }
        if let Some((header, octets)) = mbuf.data_mut().split_first_chunk_mut() {
            egress::write_ethernet(header, mac, exit.mac_word, packet.ethertype);
            decrement_hop_limit(octets);
        }
        self.view.counters.forwarded.add(len);
        exit.transmit(self.view, port, mbuf);
        Ok(())
    }
}

/// Counts an inner packet that its mobile node may send.
#[inline]
fn accepted(view: &View, slot: &SaSlot, len: u16) {
    if slot.scope() == Scope::Signalling {
        view.counters.uplink_protected_under_scope_0.add(1);
    }
    view.counters.uplink.add(len.into());
}

/// A packet that its SA's other end sent, and once.
struct Opened<'v> {
    slot: &'v SaSlot,
    content: Payload,
}

/// What a frame carried.
#[derive(Clone, Copy)]
struct Payload {
    /// Where it stands in the packet.
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
    envelope: Envelope,
    tag: Icv,
) -> Result<Opened<'v>, DropReason> {
    let slot = view.tables.sas.slot(index).ok_or(DropReason::SpiUnknown)?;
    let offset = usize::from(envelope.payload().offset);
    let start = envelope.frame_offset() + offset;
    let end = envelope.frame_offset() + usize::from(envelope.frame_len());
    let (plaintext, icv) = end
        .checked_sub(start + usize::from(envelope.payload().icv_len))
        .and_then(|len| mbuf.data().get(start..end)?.split_at_checked(len))
        .ok_or(DropReason::FrameShort)?;
    if !is_same_icv(tag, icv).ok_or(DropReason::FrameShort)? {
        return Err(DropReason::IcvMismatch);
    }
    // A test-and-set: two copies in one batch have both passed the look.
    match view.tables.sas.window(index, slot).commit(envelope.seq()) {
        Replay::Fresh => slot.inbound.count(envelope.frame_len().into()),
        Replay::Replayed => return Err(DropReason::Replayed),
        Replay::TooOld => return Err(DropReason::ReplayTooOld),
    }
    let (len, next_header) = read_trailer(plaintext).map_err(|error| match error {
        FrameError::Padding => DropReason::Padding,
        FrameError::PadLength | FrameError::Short | FrameError::NotWholeBlocks => {
            DropReason::PadLength
        }
    })?;
    Ok(Opened { slot, content: Payload { offset: start, len, next_header } })
}

/// Compares the computed ICV with the received one. Whole words and no branch
/// between them: how long it takes says nothing about where they differ.
#[inline]
fn is_same_icv(computed: Icv, received: &[u8]) -> Option<bool> {
    let word = |octets: &[u8; 8]| u64::from_le_bytes(*octets);
    // The second word ends with the ICV; of 12 octets it covers four again.
    let behind = received.len().checked_sub(8).filter(|behind| *behind <= 8)? * 8;
    #[expect(clippy::cast_possible_truncation, reason = "the octets that are compared")]
    let (first, last) = (computed as u64, (computed >> behind) as u64);
    let difference = first ^ word(received.first_chunk()?) | last ^ word(received.last_chunk()?);
    Some(difference == 0)
}

/// PType 8: IPv6 extension headers and the Mobility Header, never an inner IP header.
#[inline(never)]
fn signalling(view: &View, mbuf: Mbuf, envelope: Envelope, content: Payload) {
    let next_header = content.next_header;
    let Some(spi) = envelope.spi() else { return view.drop(mbuf, DropReason::SpiUnknown) };
    if !matches!(
        next_header,
        proto::MOBILITY | proto::DESTINATION_OPTIONS | proto::ROUTING | proto::HOP_BY_HOP
    ) {
        return view.drop(mbuf, DropReason::SignallingNextHeader);
    }
    let Some((remote, local)) = envelope.endpoints(mbuf.data()) else {
        return view.drop(mbuf, DropReason::IpHeader);
    };
    let payload = (len16(content.offset), len16(content.len));
    let note = Note::Signalling { spi, local, remote, next_header, payload, link: None };
    if view.watch.is_on() {
        view.watch.signalling(capture::Way::In, &note, mbuf.data());
    }
    view.to_control(note, mbuf);
}

/// PType 1: an IP packet of a mobile node with a binding. Leaves it alone in the mbuf and returns
/// its length, and where it goes.
#[inline(never)]
fn uncommon_data(
    view: &View,
    mbuf: &mut Mbuf,
    slot: &SaSlot,
    outer_ecn: u8,
    Payload { offset, len, next_header }: Payload,
) -> Result<(u16, Onward), DropReason> {
    match next_header {
        proto::IPV4 | proto::IPV6 => {}
        proto::NONE => return Err(DropReason::DummyPacket),
        _ => return Err(DropReason::DataNextHeader),
    }
    mbuf.keep(offset, len).ok_or(DropReason::InnerLength)?;
    let ip = inner::read(mbuf.data(), Some(next_header))?;
    let binding = slot.binding().and_then(|index| view.tables.bindings.entry(index));
    let binding = binding.ok_or(DropReason::NoBinding)?;
    let onward = inner::admit(view, &ip, mbuf.data(), binding)?;
    // what lies behind the inner packet's own length is traffic-flow padding.
    mbuf.keep(0, ip.total_len.into()).ok_or(DropReason::InnerLength)?;
    inner::carry_ecn(&ip, mbuf.data_mut(), outer_ecn)?;
    Ok((ip.total_len, onward))
}
