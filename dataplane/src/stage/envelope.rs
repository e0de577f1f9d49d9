//! An envelope of RFC 6618 s.6, as it goes from stage to stage.

#![expect(clippy::cast_possible_truncation, reason = "fields of a word, masked before")]

use core::net::SocketAddr;

use hearth_wire::frame::PType;
use hearth_wire::{SeqNo, Spi};

use crate::layout::{Ip, UDP_LEN};

/// An envelope in a packet that starts with its outer IP header. It is handed on with every packet,
/// and has the form of two words therefore, which fit in registers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// PType and SPI as in the first word of the frame, sequence number.
    header: u64,
    /// First octet of the UDP header (16 bits), octets of the frame (16), first octet of the payload
    /// (8), octets of the ICV (8), ECN (8), the tunnels around it (8).
    place: u64,
}

/// What the suite says of a protected frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
        let header = match content {
            Content::Plain => 0,
            Content::Protected { ptype, spi, seq } => {
                u64::from(u32::from(ptype.bits()) << 28 | spi.get()) << 32 | u64::from(seq.0)
            }
        };
        let place = u64::from(udp_offset) | u64::from(frame_len) << 16 | u64::from(ecn) << 48;
        Self { header, place }
    }

    /// The same, now that the suite is known.
    #[inline]
    pub(crate) fn with_payload(self, payload: PayloadLayout) -> Self {
        let layout = u64::from(payload.offset) << 32 | u64::from(payload.icv_len) << 40;
        Self { place: self.place & !(0xffff << 32) | layout, ..self }
    }

    /// The same, inside so many tunnels of mobile routers.
    #[inline]
    pub(crate) fn at_depth(self, depth: u8) -> Self {
        Self { place: self.place & !(0xff << 56) | u64::from(depth) << 56, ..self }
    }

    /// The tunnels of mobile routers that it came in.
    #[inline]
    pub(crate) const fn depth(self) -> u8 {
        (self.place >> 56) as u8
    }

    /// PType and SPI as in the first word of the frame.
    #[inline]
    const fn word(self) -> u32 {
        (self.header >> 32) as u32
    }

    /// First octet of the UDP header.
    #[inline]
    pub(crate) const fn udp_offset(self) -> u16 {
        (self.place & 0xffff) as u16
    }

    /// Octets from PType to the end of the UDP payload.
    #[inline]
    pub(crate) const fn frame_len(self) -> u16 {
        (self.place >> 16 & 0xffff) as u16
    }

    /// All zero until the suite is known.
    #[inline]
    pub(crate) const fn payload(self) -> PayloadLayout {
        let (offset, icv_len) = (self.place >> 32 & 0xff, self.place >> 40 & 0xff);
        PayloadLayout { offset: offset as u8, icv_len: icv_len as u8 }
    }

    /// ECN field of the outer header.
    #[inline]
    pub(crate) const fn ecn(self) -> u8 {
        (self.place >> 48 & 0xff) as u8
    }

    /// What it says it holds.
    #[inline]
    pub(crate) fn content(self) -> Content {
        let bits = (self.word() >> 28) as u8;
        match (PType::from_bits(bits), self.spi()) {
            (Some(ptype @ (PType::ProtectedData | PType::MobilityHeader)), Some(spi)) => {
                Content::Protected { ptype, spi, seq: self.seq() }
            }
            _ => Content::Plain,
        }
    }

    /// The SA it travels under; `None` for PType 0.
    #[inline]
    pub(crate) const fn spi(self) -> Option<Spi> {
        Spi::from_word(self.word())
    }

    /// The same as a number, 0 for PType 0.
    #[inline]
    pub(crate) const fn spi_bits(self) -> u32 {
        self.word() & Spi::MAX.get()
    }

    /// Whether it is PType 8.
    #[inline]
    pub(crate) const fn is_signalling(self) -> bool {
        self.word() >> 28 == PType::MobilityHeader.bits() as u32
    }

    /// Its number under its SA.
    #[inline]
    pub(crate) const fn seq(self) -> SeqNo {
        SeqNo((self.header & 0xffff_ffff) as u32)
    }

    /// First octet of PType.
    #[inline]
    pub(crate) const fn frame_offset(self) -> usize {
        self.udp_offset() as usize + UDP_LEN
    }

    /// Outer source and destination, read from the packet: the mobile node, and the address and
    /// port of the service that it used.
    pub(crate) fn endpoints(self, packet: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
        let ip = Ip::addresses(packet)?;
        let &[s0, s1, d0, d1] = packet.get(usize::from(self.udp_offset())..)?.first_chunk::<4>()?;
        Some((
            SocketAddr::new(ip.0, u16::from_be_bytes([s0, s1])),
            SocketAddr::new(ip.1, u16::from_be_bytes([d0, d1])),
        ))
    }
}

impl core::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Envelope")
            .field("udp_offset", &self.udp_offset())
            .field("frame_len", &self.frame_len())
            .field("ecn", &self.ecn())
            .field("payload", &self.payload())
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
            let payload = PayloadLayout { offset: 24, icv_len: 12 };
            let envelope = envelope.at_depth(3).with_payload(payload);
            assert_eq!(envelope.depth(), 3);
            assert_eq!((envelope.content(), envelope.payload()), (content, payload));
            let place = (envelope.udp_offset(), envelope.frame_len(), envelope.ecn());
            assert_eq!(place, (40, 1400, 3));
        }
    }
}
