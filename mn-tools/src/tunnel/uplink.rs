//! From the TUN to the home agent. DSCP and ECN go out as they are (RFC 6040 s.4.1, R-41).

use std::io;
use std::net::Ipv6Addr;
use std::sync::Arc;

use hearth_wire::Scope;
use hearth_wire::frame::{self, FrameHeader, PType};
use hearth_wire::mh::mh_type;
use zerocopy::{FromBytes, IntoBytes};

use super::datagrams::{self, Sender};
use super::direct::{DirectWay, GROWTH};
use super::gso::{self, Read, Train, VirtioHeader};
use super::{BUFFER, Carry, DropReason, Event, Inner, IvSource, Tunnel, View};

/// Where an inner packet stands in the buffer: the largest header and IV fit in front of it.
pub(super) const HEADROOM: usize = FrameHeader::LEN + 16;
const _: () = assert!(HEADROOM >= VirtioHeader::LEN && HEADROOM >= GROWTH);
/// Correspondents that the control thread is told of at a time.
const MOST_TOLD: usize = 64;

/// One thread's work on uplink packets.
pub(super) struct Uplink {
    view: View,
    ivs: IvSource,
    /// Whether the TUN hands over trains of packets, each with a header of virtio.
    offload: bool,
    /// What the TUN handed over.
    buffer: Box<[u8; BUFFER]>,
    /// What a train became.
    frames: Box<[u8; BUFFER]>,
    sender: Sender,
    /// Correspondents that were told since the state of this version came.
    told: (u64, Vec<Ipv6Addr>),
}

impl Uplink {
    pub(super) fn new(tunnel: Arc<Tunnel>, ivs: IvSource, offload: bool) -> Self {
        Self {
            view: View::new(tunnel),
            ivs,
            offload,
            buffer: Box::new([0; BUFFER]),
            frames: Box::new([0; BUFFER]),
            sender: Sender::default(),
            told: (0, Vec::new()),
        }
    }

    /// Takes one packet or train from `read`, which gets the room for it, and sends it on.
    ///
    /// # Errors
    /// That of `read`; what goes wrong later is counted.
    pub(super) fn carry_one(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let start = if self.offload { HEADROOM - VirtioHeader::LEN } else { HEADROOM };
        let room = self.buffer.get_mut(start..BUFFER - 64).unwrap_or_default();
        let end = start + read(room)?;
        if let Err(reason) = self.carry(end) {
            self.view.tunnel.counters.drop(reason);
        }
        Ok(())
    }

    fn carry(&mut self, end: usize) -> Result<(), DropReason> {
        let state = Arc::clone(self.view.state());
        let mut header = VirtioHeader::default();
        if self.offload {
            let room = self.buffer.get(HEADROOM - VirtioHeader::LEN..HEADROOM);
            let read = room.and_then(|octets| VirtioHeader::read_from_bytes(octets).ok());
            header = read.ok_or(DropReason::NotIp)?;
        }
        let packet = self.buffer.get(HEADROOM..end).ok_or(DropReason::NotIp)?;
        let inner = Inner::read(packet).ok_or(DropReason::NotIp)?;
        if !state.is_ours(inner.source) {
            return Err(DropReason::SourceNotHome);
        }
        let carry = state.way(packet).ok_or(DropReason::NoBinding)?;
        let mut unknown = None;
        let direct = state.correspondents.way(&inner, &mut unknown);
        self.tell_of(unknown);
        let packet = self.buffer.get_mut(HEADROOM..end).ok_or(DropReason::NotIp)?;
        match gso::read(&header, packet).ok_or(DropReason::NotIp)? {
            Read::Packet => {
                let room = self.buffer.get_mut(HEADROOM - GROWTH..end).unwrap_or_default();
                if direct.is_some_and(|way| way.send(room)) {
                    self.view.tunnel.counters.direct_uplink.count(1, end - HEADROOM);
                    return Ok(());
                }
                self.carry_packet(carry, inner, end - HEADROOM)
            }
            Read::Train(train) => {
                let Self { view, ivs, frames, sender, .. } = self;
                let mut work = Work { tunnel: &view.tunnel, ivs, frames: &mut frames[..], sender };
                let begin = direct.map_or(0, |way| work.send_directly(&way, &train));
                work.carry_train(carry, inner, &train, begin);
                Ok(())
            }
        }
    }

    /// Tells the control thread of a correspondent, once for each state that it publishes.
    fn tell_of(&mut self, unknown: Option<Ipv6Addr>) {
        let Some(correspondent) = unknown else { return };
        let (version, told) = &mut self.told;
        if *version != self.view.version {
            *version = self.view.version;
            told.clear();
        }
        if told.len() < MOST_TOLD && !told.contains(&correspondent) {
            told.push(correspondent);
            self.view.tunnel.tell(Event::Correspondent(correspondent));
        }
    }

    /// Sends the packet in the buffer.
    fn carry_packet(&mut self, carry: &Carry, inner: Inner, len: usize) -> Result<(), DropReason> {
        let Carry { socket, sa, .. } = carry;
        let (start, frame_len) = if is_plain(carry, inner) {
            let start = HEADROOM - FrameHeader::LEN;
            let header = self.buffer.get_mut(start..HEADROOM).ok_or(DropReason::NotIp)?;
            header.copy_from_slice(FrameHeader::plain().as_bytes());
            (start, FrameHeader::LEN + len)
        } else {
            let start = HEADROOM - sa.outbound.payload_offset();
            let seq = sa.draw().ok_or(DropReason::SequenceExhausted)?;
            if sa.wears(seq, len) {
                self.view.tunnel.tell(Event::Worn(sa.spi));
            }
            let frame = self.buffer.get_mut(start..).ok_or(DropReason::NotIp)?;
            let id = (PType::ProtectedData, sa.spi, seq);
            let sealed = sa.outbound.seal(frame, len, id, inner.next_header, &self.ivs.draw());
            (start, sealed.ok_or(DropReason::SendFailed)?)
        };
        let frame = self.buffer.get(start..start + frame_len).ok_or(DropReason::SendFailed)?;
        datagrams::send_one(socket, frame, inner.class).map_err(|_| DropReason::SendFailed)?;
        self.view.tunnel.counters.uplink.count(1, len);
        Ok(())
    }
}

/// Whether a packet goes without protection. R-25: HoTI is protected wherever the suite encrypts
/// (RFC 6275 s.10.4.6).
fn is_plain(carry: &Carry, inner: Inner) -> bool {
    let sa = &carry.sa;
    let is_hoti = inner.mh_type == Some(mh_type::HOTI);
    sa.scope == Scope::Signalling && !(is_hoti && sa.suite().encrypts())
}

/// What it takes to send a train, beside the buffer in which that stands.
struct Work<'a> {
    tunnel: &'a Tunnel,
    ivs: &'a mut IvSource,
    frames: &'a mut [u8],
    sender: &'a mut Sender,
}

impl Work<'_> {
    /// Sends the packets of a train directly, up to the first that can't be sent so; how many.
    fn send_directly(&mut self, way: &DirectWay<'_>, train: &Train<'_>) -> usize {
        let count = train.count();
        for index in 0..count {
            let room = self.frames.get_mut(GROWTH..).unwrap_or_default();
            let len = train.write(index, room).unwrap_or_default();
            let room = self.frames.get_mut(..GROWTH + len).unwrap_or_default();
            if !way.send(room) {
                return index;
            }
            self.tunnel.counters.direct_uplink.count(1, len);
        }
        count
    }

    /// Sends a train from packet `begin` on, as many packets at a time as the kernel takes.
    fn carry_train(&mut self, carry: &Carry, inner: Inner, train: &Train<'_>, begin: usize) {
        let counters = &self.tunnel.counters;
        let plain = is_plain(carry, inner);
        let frame_len = |len| {
            if plain { FrameHeader::LEN + len } else { frame::protected_len(carry.sa.suite(), len) }
        };
        let stride = frame_len(train.packet_len());
        let most = (datagrams::LONGEST / stride).clamp(1, datagrams::MOST);
        let count = train.count();
        for first in (begin..count).step_by(most) {
            let packets = most.min(count - first);
            let last_len = train.len_of(first + packets - 1);
            let all = (packets - 1) * stride + frame_len(last_len);
            let outcome = if plain {
                self.lay_plain(train, first, stride, packets)
            } else {
                self.seal(carry, inner, train, (first, packets), (stride, all))
            };
            let octets = (packets - 1) * train.packet_len() + last_len;
            match outcome {
                Ok(()) => {
                    let frames = self.frames.get(..all).unwrap_or_default();
                    let sent = self.sender.send(&carry.socket, frames, stride, inner.class);
                    counters.uplink.count(sent, octets * sent / packets);
                    counters.drop_several(DropReason::SendFailed, packets - sent);
                }
                Err(reason) => counters.drop_several(reason, packets),
            }
        }
    }

    /// Packets of a train in protected frames.
    fn seal(
        &mut self,
        carry: &Carry,
        inner: Inner,
        train: &Train<'_>,
        (first, packets): (usize, usize),
        (stride, all): (usize, usize),
    ) -> Result<(), DropReason> {
        let sa = &carry.sa;
        let at = sa.outbound.payload_offset();
        for index in 0..packets {
            let room = self.frames.get_mut(index * stride + at..).ok_or(DropReason::SendFailed)?;
            train.write(first + index, room).ok_or(DropReason::NotIp)?;
        }
        let seq = sa.draw_train(packets).ok_or(DropReason::SequenceExhausted)?;
        if sa.wears(seq, packets * train.packet_len()) {
            self.tunnel.tell(Event::Worn(sa.spi));
        }
        let lens = (train.packet_len(), train.len_of(first + packets - 1));
        let frames = self.frames.get_mut(..all).ok_or(DropReason::SendFailed)?;
        let id = (sa.spi, seq);
        let ivs = &mut self.ivs;
        let sealed =
            sa.outbound.seal_train(frames, stride, lens, id, inner.next_header, || ivs.draw());
        sealed.ok_or(DropReason::SendFailed)
    }

    /// Packets of a train without protection.
    fn lay_plain(
        &mut self,
        train: &Train<'_>,
        first: usize,
        stride: usize,
        packets: usize,
    ) -> Result<(), DropReason> {
        for index in 0..packets {
            let room = self.frames.get_mut(index * stride..).ok_or(DropReason::SendFailed)?;
            let (header, room) =
                room.split_at_mut_checked(FrameHeader::LEN).ok_or(DropReason::SendFailed)?;
            header.copy_from_slice(FrameHeader::plain().as_bytes());
            train.write(first + index, room).ok_or(DropReason::NotIp)?;
        }
        Ok(())
    }
}
