//! A frame from the home agent, up to its payload: the stages of R-24 that the tunnel and the nodes
//! of a fleet have in common.
//!
//! Read first: RFC 6618 s.6.2 to 6.4; readings.

use std::borrow::Borrow;
use std::ops::Range;

use hearth_wire::frame::{FrameError, FrameHeader, PType};
use hearth_wire::{Scope, SeqNo};
use zerocopy::FromBytes;

use super::DropReason;
use crate::association::SecurityAssociation;
use hearth_esp::{OpenError, ReplayError};

/// A frame that has passed.
pub(crate) struct Opened<'a, S> {
    /// The SA that it came under; of plain data the one that allows it.
    pub(crate) sa: &'a S,
    /// Where the payload stands in the frame.
    pub(crate) payload: Range<usize>,
    /// What the payload is.
    pub(crate) content: Content,
    /// The SA has just reached a limit of R-23.
    pub(crate) worn: bool,
}

/// What a frame carries, by its PType.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// PType 0: an inner packet that nothing protects.
    PlainData,
    /// PType 1: an inner packet.
    ProtectedData {
        /// What the sender says that it begins with.
        next_header: u8,
    },
    /// PType 8: extension headers and a Mobility Header.
    Signalling {
        /// What they begin with.
        next_header: u8,
    },
}

/// Opens `frame` in place under one of `associations`, in the order of R-24: length, PType, SPI,
/// scope, replay look, ICV, replay commit, decryption, padding. What stands in the
/// payload is the caller's to judge.
///
/// # Errors
/// Why the frame is dropped.
#[inline]
pub(crate) fn open<'a, S: Borrow<SecurityAssociation>>(
    frame: &mut [u8],
    associations: impl IntoIterator<Item = &'a S>,
) -> Result<Opened<'a, S>, DropReason> {
    let len = frame.len();
    let (header, _) = FrameHeader::read_from_prefix(frame).map_err(|_| DropReason::FrameShort)?;
    let ptype = PType::from_bits(header.ptype_bits()).ok_or(DropReason::PtypeUnregistered)?;
    let mut associations = associations.into_iter();
    if ptype == PType::PlainData {
        if header.spi_bits() != 0 {
            return Err(DropReason::PlainSpiNotZero);
        }
        if header.seq() != SeqNo(0) {
            return Err(DropReason::PlainSequenceNotZero);
        }
        let sa = associations.find(|sa| (*sa).borrow().scope == Scope::Signalling);
        let sa = sa.ok_or(DropReason::PlainDataForbidden)?;
        let payload = FrameHeader::LEN..len;
        return Ok(Opened { sa, payload, content: Content::PlainData, worn: false });
    }
    let sa = associations.find(|sa| (*sa).borrow().spi.get() == header.spi_bits());
    let held = sa.ok_or(DropReason::SpiUnknown)?;
    let sa: &SecurityAssociation = held.borrow();
    sa.look(header.seq())?;
    let opened = sa.inbound.open(frame);
    // The window moves once the ICV has passed, whatever stands inside.
    if matches!(opened, Ok(_) | Err(OpenError::Trailer(_))) {
        sa.accept(header.seq())?;
    }
    let (payload, next_header) = opened?;
    let content = match ptype {
        PType::MobilityHeader => Content::Signalling { next_header },
        _ => Content::ProtectedData { next_header },
    };
    Ok(Opened { sa: held, payload, content, worn: sa.wears(header.seq(), len) })
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
