//! From the home agent to the TUN, in the order of R-24.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

use hearth_wire::frame::{FrameError, FrameHeader, PType};
use hearth_wire::{Scope, SeqNo};
use zerocopy::FromBytes;

use super::datagrams::Receiver;
use super::gro::Gro;
use super::{DropReason, Event, Inner, State, Tunnel, View, ecn};
use crate::crypto::{OpenError, ReplayError};

/// One thread's work on downlink packets.
pub(super) struct Downlink {
    view: View,
    receiver: Receiver,
    /// Inner packets of a batch: places in the receiver's arena.
    packets: Vec<Range<usize>>,
    gro: Gro,
}

impl Downlink {
    /// `offload`: whether the TUN takes trains of packets.
    pub(super) fn new(tunnel: Arc<Tunnel>, offload: bool) -> Self {
        Self {
            view: View::new(tunnel),
            receiver: Receiver::new(),
            packets: Vec::new(),
            gro: Gro::new(offload),
        }
    }

    /// Takes a batch of frames from `receive` and hands the packets in them to `write`.
    ///
    /// # Errors
    /// That of `receive`; what goes wrong later is counted.
    pub(super) fn carry(
        &mut self,
        receive: impl FnOnce(&mut Receiver) -> io::Result<()>,
        write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        receive(&mut self.receiver)?;
        let state = Arc::clone(self.view.state());
        let tunnel = &self.view.tunnel;
        let Receiver { arena, received } = &mut self.receiver;
        self.packets.clear();
        for several in received {
            let end = several.start + several.len;
            for start in (several.start..end.max(several.start + 1)).step_by(several.segment.max(1))
            {
                let place = start..(start + several.segment).min(end);
                match open(tunnel, &state, arena, place, several.ecn) {
                    Ok(Some(packet)) => self.packets.push(packet),
                    Ok(None) => {}
                    Err(reason) => tunnel.counters.drop(reason),
                }
            }
        }
        self.gro.deliver(arena, &self.packets, write, |written| {
            if written.taken {
                tunnel.counters.downlink.count(written.packets, written.octets);
            } else {
                tunnel.counters.drop_several(DropReason::TunFailed, written.packets);
            }
        });
        Ok(())
    }
}

/// Opens the frame at `place`; where the inner packet stands, if it holds one.
fn open(
    tunnel: &Tunnel,
    state: &State,
    arena: &mut [u8],
    place: Range<usize>,
    outer_ecn: u8,
) -> Result<Option<Range<usize>>, DropReason> {
    let (start, len) = (place.start, place.len());
    let frame = arena.get_mut(place).ok_or(DropReason::FrameShort)?;
    let (header, _) = FrameHeader::read_from_prefix(frame).map_err(|_| DropReason::FrameShort)?;
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
            return Ok(None);
        }
        (payload, Some(next_header))
    };
    let at = start + payload.start;
    let packet = frame.get_mut(payload).ok_or(DropReason::InnerLength)?;
    let inner = Inner::read(packet).ok_or(DropReason::InnerLength)?;
    match next_header {
        Some(announced) if ![4, 41].contains(&announced) => return Err(DropReason::DataNextHeader),
        Some(announced) if announced != inner.next_header => return Err(DropReason::InnerVersion),
        _ => {}
    }
    if !state.is_ours(inner.destination) {
        return Err(DropReason::DestinationNotHome);
    }
    // what stands behind the inner packet's own length is padding against analysis.
    let packet = packet.get_mut(..inner.len).ok_or(DropReason::InnerLength)?;
    ecn::combine(packet, inner.class & 3, outer_ecn).ok_or(DropReason::EcnNotCapable)?;
    Ok(Some(at..at + inner.len))
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
