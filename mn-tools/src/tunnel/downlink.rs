//! From the home agent to the TUN, in the order of R-24.

use std::io;
use std::sync::Arc;

use hearth_wire::frame::{FrameError, FrameHeader, PType};
use hearth_wire::{Scope, SeqNo};
use zerocopy::FromBytes;

use super::{BUFFER, DropReason, Event, Inner, Tunnel, View};
use crate::crypto::{OpenError, ReplayError};

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
        let frame = self.buffer.get_mut(..len).ok_or(DropReason::FrameShort)?;
        let (header, _) =
            FrameHeader::read_from_prefix(frame).map_err(|_| DropReason::FrameShort)?;
        let ptype = PType::from_bits(header.ptype_bits()).ok_or(DropReason::PtypeUnregistered)?;
        let (payload, next_header) = if ptype == PType::PlainData {
            if header.spi_bits() != 0 {
                return Err(DropReason::PlainSpiNotZero);
            }
            if header.seq() != SeqNo(0) {
                return Err(DropReason::PlainSequenceNotZero);
            }
            if !state.associations.iter().any(|sa| sa.scope == Scope::Signalling) {
                return Err(DropReason::PlainDataForbidden);
            }
            (FrameHeader::LEN..len, None)
        } else {
            let sa = state.associations.iter().find(|sa| sa.spi.get() == header.spi_bits());
            let sa = sa.ok_or(DropReason::SpiUnknown)?;
            sa.look(header.seq())?;
            let opened = sa.inbound.open(frame);
            // The window moves once the ICV has passed, whatever stands inside.
            if matches!(opened, Ok(_) | Err(OpenError::Trailer(_))) {
                sa.accept(header.seq())?;
            }
            let (payload, next_header) = opened?;
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
        match next_header {
            Some(announced) if ![4, 41].contains(&announced) => {
                return Err(DropReason::DataNextHeader);
            }
            Some(announced) if announced != inner.next_header => {
                return Err(DropReason::InnerVersion);
            }
            _ => {}
        }
        if !state.is_ours(inner.destination) {
            return Err(DropReason::DestinationNotHome);
        }
        // what stands behind the inner packet's own length is padding against analysis.
        let packet = packet.get(..inner.len).ok_or(DropReason::InnerLength)?;
        write(packet).map_err(|_| DropReason::TunFailed)?;
        tunnel.counters.downlink.count(packet.len());
        Ok(())
    }
}

impl From<ReplayError> for DropReason {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Replayed => Self::Replayed,
            ReplayError::TooOld => Self::ReplayTooOld,
        }
    }
}

impl From<OpenError> for DropReason {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Icv => Self::IcvMismatch,
            OpenError::Length(error) | OpenError::Trailer(error) => match error {
                FrameError::Short => Self::FrameShort,
                FrameError::NotWholeBlocks => Self::FrameNotWholeBlocks,
                FrameError::PadLength => Self::PadLength,
                FrameError::Padding => Self::Padding,
            },
        }
    }
}
