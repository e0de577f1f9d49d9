//! Framing between mobile node and home agent inside UDP.
//!
//! Read first: RFC 6618 s.6.1 to 6.4; RFC 4303 s.2.4 to 2.8; RFC 4106 s.3 to 5 for AES-GCM;
//! readings R-16, R-20 to R-26.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ ---
//! | PType |                        SPI                            |  ^
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  |
//! |                      Sequence Number                          |  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  ICV
//! |          IV (0, 8 or 16), payload, padding ...                |  |
//! +               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  |
//! |               |  ... padding  |  Pad Length   | Next Header   |  v
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ ---
//! |               Integrity Check Value (12 or 16)                |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! Under AES-GCM the first two words are the additional authenticated data, the 8 octets of IV are
//! a [`GcmIv`], and the ICV is the tag over all of it.

use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ids::{SeqNo, Spi};
use crate::suite::Suite;

/// Packet Type (RFC 6618 s.8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PType {
    /// 0: a plain tunnelled IP packet.
    PlainData,
    /// 1: a protected tunnelled IP packet.
    ProtectedData,
    /// 8: a protected Mobility Header.
    MobilityHeader,
}

impl PType {
    /// The four bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::PlainData => 0,
            Self::ProtectedData => 1,
            Self::MobilityHeader => 8,
        }
    }

    /// The type of these four bits, if it is registered.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::PlainData),
            1 => Some(Self::ProtectedData),
            8 => Some(Self::MobilityHeader),
            _ => None,
        }
    }
}

/// The eight octets behind the UDP header, as they stand on the wire.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FrameHeader {
    /// PType in the upper 4 bits, SPI in the lower 28.
    ptype_spi: U32,
    /// Sequence number; 0 in unprotected packets.
    seq: U32,
}

const _: () = assert!(size_of::<FrameHeader>() == FrameHeader::LEN);

impl FrameHeader {
    /// Octets on the wire.
    pub const LEN: usize = 8;

    /// Header of a protected packet.
    #[must_use]
    pub const fn protected(ptype: PType, spi: Spi, seq: SeqNo) -> Self {
        Self { ptype_spi: U32::new((ptype.bits() as u32) << 28 | spi.get()), seq: U32::new(seq.0) }
    }

    /// Header of an unprotected data packet: all zero (RFC 6618 s.6.4).
    #[must_use]
    pub const fn plain() -> Self {
        Self { ptype_spi: U32::ZERO, seq: U32::ZERO }
    }

    /// The four bits of the packet type, registered or not.
    #[must_use]
    pub const fn ptype_bits(self) -> u8 {
        (self.ptype_spi.get() >> 28) as u8
    }

    /// The 28 bits of the SPI, 0 included.
    #[must_use]
    pub const fn spi_bits(self) -> u32 {
        self.ptype_spi.get() & 0x0fff_ffff
    }

    /// The sequence number.
    #[must_use]
    pub const fn seq(self) -> SeqNo {
        SeqNo(self.seq.get())
    }
}

/// The explicit IV of AES-GCM: what makes the nonce of each packet under one key unique. The nonce
/// is the salt of the `ekey`, then these octets (RFC 4106 s.4, R-16).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct GcmIv {
    /// A value that the sender never uses again for this SA once it has forgotten which sequence
    /// numbers it drew: every restart and every failover takes a new one.
    epoch: U32,
    /// The sequence number of the frame's header.
    seq: U32,
}

const _: () = assert!(size_of::<GcmIv>() == GcmIv::LEN);

impl GcmIv {
    /// Octets on the wire.
    pub const LEN: usize = 8;

    /// The IV of the packet with this number.
    #[must_use]
    pub const fn new(epoch: u32, seq: SeqNo) -> Self {
        Self { epoch: U32::new(epoch), seq: U32::new(seq.0) }
    }
}

/// Octets of padding for a payload of `payload_len` octets (R-22): payload, padding, Pad Length
/// and Next Header together fill whole blocks.
#[must_use]
pub const fn padding_len(suite: Suite, payload_len: usize) -> usize {
    let block = suite.pad_block();
    // Blocks are powers of two.
    payload_len.wrapping_add(2).wrapping_neg() & (block - 1)
}

/// Octets of the whole protected frame (header, IV, ciphertext, ICV) for this payload.
#[must_use]
pub const fn protected_len(suite: Suite, payload_len: usize) -> usize {
    let trailer_len = padding_len(suite, payload_len) + 2;
    FrameHeader::LEN + suite.iv_len() + payload_len + trailer_len + suite.icv_len()
}

/// The largest payload whose protected frame fits in `frame_len` octets; the inner MTU of a tunnel
/// whose UDP payload is limited to `frame_len`. 0 where nothing fits.
#[must_use]
pub const fn max_payload(suite: Suite, frame_len: usize) -> usize {
    let fixed = FrameHeader::LEN + suite.iv_len() + suite.icv_len();
    if frame_len < fixed {
        return 0;
    }
    let blocks = (frame_len - fixed) / suite.pad_block() * suite.pad_block();
    blocks.saturating_sub(2)
}

/// Why a frame or its trailer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameError {
    /// Too short for the header, or for IV, one block and ICV of the suite.
    Short,
    /// The ciphertext is not a whole number of blocks.
    NotWholeBlocks,
    /// Pad Length is larger than what is left of the payload.
    PadLength,
    /// The padding octets are not 1, 2, 3, ... (RFC 4303 s.2.4).
    Padding,
}

/// Where the parts of a protected frame stand, counted from its first octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtectedLayout {
    /// First octet of the ciphertext (behind the IV).
    pub cipher_offset: usize,
    /// Octets of ciphertext, trailer included.
    pub cipher_len: usize,
    /// First octet of the ICV; also the number of octets it covers.
    pub icv_offset: usize,
}

/// Checks the length of a protected frame against its suite and says where its parts stand.
///
/// # Errors
/// [`FrameError::Short`], [`FrameError::NotWholeBlocks`].
pub const fn protected_layout(suite: Suite, len: usize) -> Result<ProtectedLayout, FrameError> {
    let cipher_offset = FrameHeader::LEN + suite.iv_len();
    let (block, icv_len) = (suite.pad_block(), suite.icv_len());
    if len < cipher_offset + block + icv_len {
        return Err(FrameError::Short);
    }
    let cipher_len = len - cipher_offset - icv_len;
    if cipher_len & (block - 1) != 0 {
        return Err(FrameError::NotWholeBlocks);
    }
    Ok(ProtectedLayout { cipher_offset, cipher_len, icv_offset: len - icv_len })
}

/// Writes padding 1, 2, 3, ..., Pad Length and Next Header into `trailer`, whose length is the
/// padding plus 2 (at most 257; more writes nothing).
#[inline]
pub fn write_trailer(trailer: &mut [u8], next_header: u8) {
    let Some((padding, [pad_length, next])) = trailer.split_last_chunk_mut::<2>() else {
        return;
    };
    let Ok(count) = u8::try_from(padding.len()) else {
        return;
    };
    write_padding(padding);
    *pad_length = count;
    *next = next_header;
}

/// Writes 1, 2, 3, ...: by two words that overlap where there is room for one.
#[inline]
fn write_padding(padding: &mut [u8]) {
    match padding.len() {
        0 => {}
        8..=16 => write_overlapping::<8>(padding),
        4..=7 => write_overlapping::<4>(padding),
        _ => {
            for (octet, value) in padding.iter_mut().zip(1..=u8::MAX) {
                *octet = value;
            }
        }
    }
}

/// Writes 1, 2, 3, ... into `N` to 2 `N` octets.
#[inline]
fn write_overlapping<const N: usize>(padding: &mut [u8]) {
    const COUNT: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    let behind = padding.len().wrapping_sub(N);
    let last = COUNT.get(behind..).and_then(|rest| rest.first_chunk::<N>());
    if let (Some(place), Some(first)) = (padding.first_chunk_mut(), COUNT.first_chunk::<N>()) {
        *place = *first;
    }
    if let (Some(place), Some(last)) = (padding.last_chunk_mut(), last) {
        *place = *last;
    }
}

/// Reads the trailer of a decrypted payload: the payload's length without it, and Next Header.
///
/// # Errors
/// [`FrameError::Short`], [`FrameError::PadLength`], [`FrameError::Padding`].
#[inline(always)]
#[expect(clippy::inline_always, reason = "once per packet, and smaller than a call")]
pub fn read_trailer(plaintext: &[u8]) -> Result<(usize, u8), FrameError> {
    let Some((rest, &[pad_length, next_header])) = plaintext.split_last_chunk::<2>() else {
        return Err(FrameError::Short);
    };
    let Some(payload_len) = rest.len().checked_sub(usize::from(pad_length)) else {
        return Err(FrameError::PadLength);
    };
    if is_padding(rest, usize::from(pad_length)) {
        Ok((payload_len, next_header))
    } else {
        Err(FrameError::Padding)
    }
}

/// What the 16 octets in front of Pad Length have to be for paddings of up to 16 octets: those that
/// count, and their values.
static PADDINGS: [(u128, u128); 17] = [
    paddings(0),
    paddings(1),
    paddings(2),
    paddings(3),
    paddings(4),
    paddings(5),
    paddings(6),
    paddings(7),
    paddings(8),
    paddings(9),
    paddings(10),
    paddings(11),
    paddings(12),
    paddings(13),
    paddings(14),
    paddings(15),
    paddings(16),
];

const fn paddings(count: u32) -> (u128, u128) {
    const LONGEST: u128 = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;
    if count == 0 {
        return (0, 0);
    }
    // The last octets, in the order in which they stand in memory.
    let spare = (16 - count) * 8;
    ((u128::MAX >> spare).to_be(), (LONGEST >> spare).to_be())
}

/// Whether the last `count` octets are 1, 2, 3, ...
#[inline]
fn is_padding(octets: &[u8], count: usize) -> bool {
    // In one step where a cipher block could need as much and the octets are there.
    if let (Some(last), Some((mask, values))) = (octets.last_chunk::<16>(), PADDINGS.get(count)) {
        return u128::from_ne_bytes(*last) & mask == *values;
    }
    let padding = octets.get(octets.len().saturating_sub(count)..).unwrap_or_default();
    padding.iter().zip(1..=u8::MAX).all(|(octet, value)| *octet == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_puts_ptype_above_28_bits_of_spi() {
        let header = FrameHeader::protected(PType::MobilityHeader, Spi::MAX, SeqNo(0x0102_0304));
        assert_eq!(header.as_bytes(), [0x8f, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
        let (parsed, rest) =
            FrameHeader::read_from_prefix(&[0x10, 0, 0, 7, 0, 0, 0, 9, 0xaa]).unwrap();
        assert_eq!((parsed.ptype_bits(), parsed.spi_bits(), parsed.seq()), (1, 7, SeqNo(9)));
        assert_eq!(rest, [0xaa]);
        assert_eq!(FrameHeader::plain().as_bytes(), [0; 8]);
    }

    #[test]
    fn only_registered_packet_types_exist() {
        for bits in 0..16 {
            let known = PType::from_bits(bits);
            assert_eq!(known.map(PType::bits), matches!(bits, 0 | 1 | 8).then_some(bits));
        }
    }

    #[test]
    fn payload_padding_and_trailer_fill_whole_blocks() {
        for suite in Suite::known() {
            for payload_len in 0..200 {
                let padding = padding_len(suite, payload_len);
                assert!(padding < suite.pad_block());
                assert!((payload_len + padding + 2).is_multiple_of(suite.pad_block()));
                let frame = protected_len(suite, payload_len);
                let layout = protected_layout(suite, frame).unwrap();
                assert_eq!(layout.cipher_len, payload_len + padding + 2);
                assert!(max_payload(suite, frame) >= payload_len);
                assert!(protected_len(suite, max_payload(suite, frame)) <= frame);
            }
        }
    }

    #[test]
    fn short_and_ragged_frames_are_refused() {
        let suite = Suite::Aes128CbcSha;
        assert_eq!(protected_layout(suite, 8 + 16 + 15 + 12), Err(FrameError::Short));
        assert_eq!(protected_layout(suite, 8 + 16 + 17 + 12), Err(FrameError::NotWholeBlocks));
        assert!(protected_layout(suite, 8 + 16 + 16 + 12).is_ok());
        let suite = Suite::Aes128Gcm;
        assert_eq!(protected_layout(suite, 8 + 8 + 3 + 16), Err(FrameError::Short));
        assert_eq!(protected_layout(suite, 8 + 8 + 6 + 16), Err(FrameError::NotWholeBlocks));
        let layout = ProtectedLayout { cipher_offset: 16, cipher_len: 4, icv_offset: 20 };
        assert_eq!(protected_layout(suite, 8 + 8 + 4 + 16), Ok(layout));
    }

    /// R-16: 8 + 8 + 40 + 2 octets of padding + 2 + 16.
    #[test]
    fn gcm_frame_has_an_iv_of_epoch_and_number() {
        assert_eq!(protected_len(Suite::Aes128Gcm, 40), 76);
        assert_eq!(max_payload(Suite::Aes128Gcm, 76), 42);
        assert_eq!(GcmIv::new(0x0102_0304, SeqNo(5)).as_bytes(), [1, 2, 3, 4, 0, 0, 0, 5]);
    }

    #[test]
    fn trailer_round_trip() {
        let mut plaintext = [0x55; 3 + 5];
        write_trailer(&mut plaintext[3..], 41);
        assert_eq!(plaintext, [0x55, 0x55, 0x55, 1, 2, 3, 3, 41]);
        assert_eq!(read_trailer(&plaintext), Ok((3, 41)));
    }

    #[test]
    fn trailer_with_255_octets_of_padding() {
        let mut plaintext = [0; 1 + 257];
        write_trailer(&mut plaintext[1..], 4);
        assert_eq!(read_trailer(&plaintext), Ok((1, 4)));
    }

    #[test]
    fn bad_trailers_are_refused() {
        assert_eq!(read_trailer(&[4]), Err(FrameError::Short));
        assert_eq!(read_trailer(&[9, 2, 41]), Err(FrameError::PadLength));
        assert_eq!(read_trailer(&[1, 3, 2, 41]), Err(FrameError::Padding));
    }
}
