//! From the home agent to the TUN, in the order of R-24.

use std::io;
use std::sync::Arc;

use hearth_wire::frame::{FrameHeader, PType};
use hearth_wire::{Scope, SeqNo};
use zerocopy::FromBytes;

use super::{BUFFER, DropReason, Event, Inner, Tunnel, View};
use crate::crypto::OpenError;

/// One thread's work on downlink packets.
pub(super) struct Downlink {
    view: View,
    buffer: Box<[u8; BUFFER]>,
}

impl Downlink {
    pub(super) fn new(tunnel: Arc<Tunnel>) -> Self {
        Self { view: View::new(tunnel), buffer: Box::new([0; BUFFER]) }
    }

    /// Takes one frame from `read` and hands the packet in it to `write`.
    ///
    /// # Errors
    /// That of `read`; what goes wrong later is counted.
    pub(super) fn carry_one(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let len = read(self.buffer.as_mut_slice())?;
        if let Err(reason) = self.deliver(len, write) {
            self.view.tunnel.counters.drop(reason);
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        len: usize,
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Result<(), DropReason> {
        let state = Arc::clone(self.view.state());
        let tunnel = Arc::clone(&self.view.tunnel);
        let frame = self.buffer.get_mut(..len).ok_or(DropReason::Short)?;
        let (header, _) = FrameHeader::read_from_prefix(frame).map_err(|_| DropReason::Short)?;
        let ptype = PType::from_bits(header.ptype_bits()).ok_or(DropReason::UnknownPtype)?;
        let (payload, next_header) = if ptype == PType::PlainData {
            let allowed = state.associations.iter().any(|sa| sa.scope == Scope::Signalling);
            if !allowed || header.spi_bits() != 0 || header.seq() != SeqNo(0) {
                return Err(DropReason::Scope);
            }
            (FrameHeader::LEN..len, None)
        } else {
            let sa = state.associations.iter().find(|sa| sa.spi.get() == header.spi_bits());
            let sa = sa.ok_or(DropReason::UnknownSpi)?;
            if !sa.may_accept(header.seq()) {
                return Err(DropReason::Replay);
            }
            let opened = sa.inbound.open(frame);
            // The window moves once the ICV has passed, whatever stands inside.
            match opened {
                Err(OpenError::Length(_)) => return Err(DropReason::Short),
                Err(OpenError::Icv) => return Err(DropReason::Icv),
                Err(OpenError::Trailer(_)) | Ok(_) if !sa.accept(header.seq()) => {
                    return Err(DropReason::Replay);
                }
                Err(OpenError::Trailer(_)) => return Err(DropReason::Padding),
                Ok(_) => {}
            }
            let Ok((payload, next_header)) = opened else { return Err(DropReason::Padding) };
            if sa.wears(header.seq(), len) {
                tunnel.tell(Event::Worn(sa.spi));
            }
            if ptype == PType::MobilityHeader {
                let payload = frame.get(payload).unwrap_or_default().to_vec();
                tunnel.tell(Event::Signalling { sa: Arc::clone(sa), next_header, payload });
                return Ok(());
            }
            (payload, Some(next_header))
        };
        let packet = frame.get(payload).ok_or(DropReason::InnerLength)?;
        let inner = Inner::read(packet).ok_or(DropReason::InnerLength)?;
        if next_header.is_some_and(|announced| announced != inner.next_header) {
            return Err(DropReason::NextHeader);
        }
        if !state.homes.contains(&inner.destination) {
            return Err(DropReason::DestinationNotHome);
        }
        // what stands behind the inner packet's own length is padding against analysis.
        let packet = packet.get(..inner.len).ok_or(DropReason::InnerLength)?;
        write(packet).map_err(|_| DropReason::TunFailed)?;
        tunnel.counters.downlink.count(packet.len());
        Ok(())
    }
}
