//! An envelope of RFC 6618 s.6, as it goes from stage to stage.

use core::net::SocketAddr;

use hearth_wire::frame::PType;
use hearth_wire::{SeqNo, Spi};

use crate::layout::{Ip, UDP_LEN};

/// An envelope in a packet that starts with its outer IP header. It is moved with every packet, and
/// has the size of two words therefore.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub(crate) struct Envelope {
    /// PType and SPI as in the first word of the frame.
    word: u32,
    seq: u32,
    /// First octet of the UDP header.
    pub(crate) udp_offset: u16,
    /// Octets from PType to the end of the UDP payload.
    pub(crate) frame_len: u16,
    /// All zero until the suite is known.
    pub(crate) payload: PayloadLayout,
    /// ECN field of the outer header.
    pub(crate) ecn: u8,
    spare: u8,
}

const _: () = assert!(size_of::<Envelope>() == 16);

/// What the suite says of a protected frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub(crate) struct PayloadLayout {
    /// First octet of the payload, counted from PType.
    pub(crate) offset: u8,
    /// Octets of the ICV.
    pub(crate) icv_len: u8,
}

/// What the envelope says it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// PType 0.
    Plain,
    /// PType 1 or 8 under an SA.
    Protected { ptype: PType, spi: Spi, seq: SeqNo },
}

impl Envelope {
    /// An envelope whose suite is not known yet.
    #[inline]
    pub(crate) fn new(udp_offset: u16, frame_len: u16, ecn: u8, content: Content) -> Self {
        let (word, seq) = match content {
            Content::Plain => (0, 0),
            Content::Protected { ptype, spi, seq } => {
                (u32::from(ptype.bits()) << 28 | spi.get(), seq.0)
            }
        };
        let payload = PayloadLayout::default();
        Self { word, seq, udp_offset, frame_len, payload, ecn, spare: 0 }
    }

    /// What it says it holds.
    #[inline]
    pub(crate) fn content(&self) -> Content {
        #[expect(clippy::cast_possible_truncation, reason = "four bits")]
        let bits = (self.word >> 28) as u8;
        match (PType::from_bits(bits), self.spi()) {
            (Some(ptype @ (PType::ProtectedData | PType::MobilityHeader)), Some(spi)) => {
                Content::Protected { ptype, spi, seq: self.seq() }
            }
            _ => Content::Plain,
        }
    }

    /// The SA it travels under; `None` for PType 0.
    #[inline]
    pub(crate) const fn spi(&self) -> Option<Spi> {
        Spi::from_word(self.word)
    }

    /// The same as a number, 0 for PType 0.
    #[inline]
    pub(crate) const fn spi_bits(&self) -> u32 {
        self.word & Spi::MAX.get()
    }

    /// Whether it is PType 8.
    #[inline]
    pub(crate) const fn is_signalling(&self) -> bool {
        self.word >> 28 == PType::MobilityHeader.bits() as u32
    }

    /// Its number under its SA.
    #[inline]
    pub(crate) const fn seq(&self) -> SeqNo {
        SeqNo(self.seq)
    }

    /// First octet of PType.
    #[inline]
    pub(crate) const fn frame_offset(&self) -> usize {
        self.udp_offset as usize + UDP_LEN
    }

    /// Outer source and destination, read from the packet: the mobile node, and the address and
    /// port of the service that it used.
    pub(crate) fn endpoints(&self, packet: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
        let ip = Ip::addresses(packet)?;
        let &[s0, s1, d0, d1] = packet.get(usize::from(self.udp_offset)..)?.first_chunk::<4>()?;
        Some((
            SocketAddr::new(ip.0, u16::from_be_bytes([s0, s1])),
            SocketAddr::new(ip.1, u16::from_be_bytes([d0, d1])),
        ))
    }
}

impl core::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Envelope")
            .field("udp_offset", &self.udp_offset)
            .field("frame_len", &self.frame_len)
            .field("ecn", &self.ecn)
            .field("payload", &self.payload)
            .field("content", &self.content())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_survives_packing() {
        let spi = Spi::MAX;
        for content in [
            Content::Plain,
            Content::Protected { ptype: PType::ProtectedData, spi, seq: SeqNo(0) },
            Content::Protected { ptype: PType::MobilityHeader, spi, seq: SeqNo(u32::MAX) },
        ] {
            let envelope = Envelope::new(40, 1400, 3, content);
            assert_eq!(envelope.content(), content);
            assert_eq!(envelope.is_signalling(), format!("{content:?}").contains("Mobility"));
            assert_eq!(envelope.spi().is_none(), content == Content::Plain);
        }
    }
}
