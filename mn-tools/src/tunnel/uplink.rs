//! From the TUN to the home agent.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use hearth_wire::Scope;
use hearth_wire::frame::{FrameHeader, PType};
use zerocopy::IntoBytes;

use super::{BUFFER, Carry, DropReason, Event, Inner, IvSource, Tunnel, View};

/// Where an inner packet stands in the buffer: the largest header and IV fit in front of it.
pub(super) const HEADROOM: usize = FrameHeader::LEN + 16;

/// One thread's work on uplink packets.
pub(super) struct Uplink {
    view: View,
    ivs: IvSource,
    buffer: Box<[u8; BUFFER]>,
}

impl Uplink {
    pub(super) fn new(tunnel: Arc<Tunnel>, ivs: IvSource) -> Self {
        Self { view: View::new(tunnel), ivs, buffer: Box::new([0; BUFFER]) }
    }

    /// Takes one packet from `read`, which gets the room for it, and sends it on.
    ///
    /// # Errors
    /// That of `read`; what goes wrong later is counted.
    pub(super) fn carry_one(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let room = self.buffer.get_mut(HEADROOM..BUFFER - 64).unwrap_or_default();
        let len = read(room)?;
        if let Err(reason) = self.carry(len) {
            self.view.tunnel.counters.drop(reason);
        }
        Ok(())
    }

    fn carry(&mut self, len: usize) -> Result<(), DropReason> {
        let state = Arc::clone(self.view.state());
        let packet = self.buffer.get(HEADROOM..HEADROOM + len).ok_or(DropReason::NotIp)?;
        let inner = Inner::read(packet).ok_or(DropReason::NotIp)?;
        if !state.is_ours(inner.source) {
            return Err(DropReason::SourceNotHome);
        }
        let Carry { socket, sa, .. } = state.way(packet).ok_or(DropReason::NoBinding)?;
        // HoTI is protected wherever the suite encrypts (RFC 6275 s.10.4.6).
        let plain = sa.scope == Scope::Signalling && !(inner.is_hoti && sa.suite().encrypts());
        let (start, frame_len) = if plain {
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
        send(socket, frame)?;
        self.view.tunnel.counters.uplink.count(len);
        Ok(())
    }
}

/// Sends; an ICMP error about an earlier packet is reported here, and the packet then not sent.
fn send(socket: &UdpSocket, frame: &[u8]) -> Result<(), DropReason> {
    match socket.send(frame).or_else(|_| socket.send(frame)) {
        Ok(_) => Ok(()),
        Err(_) => Err(DropReason::SendFailed),
    }
}
