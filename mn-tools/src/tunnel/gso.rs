//! Trains of packets that the kernel hands over in one piece, taken apart.
//!
//! Read first: virtio 1.2 s.5.1.6 (`struct virtio_net_hdr`); RFC 9293 s.3.1; RFC 768; RFC 3168 s.6.1.2.
//!
//! ```text
//!   from the TUN   virtio_net_hdr | IP | TCP or UDP | payload of n segments
//!   segment i      IP (length, ID + i, checksum) | TCP (sequence + i * size, flags, checksum) | payload i
//! ```
//!
//! What the kernel does with such a train on a link without offloads, in the same order: the first
//! segment alone has CWR, the last alone FIN and PSH, IDs of IPv4 count up, DSCP and ECN are those of
//! the train in every segment (R-41).

use hearth_wire::ip::{Sum, checksum};
use zerocopy::byteorder::{NativeEndian, U16};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The checksum is to be filled in.
pub(super) const NEEDS_CSUM: u8 = 1;
/// Kinds of trains.
pub(super) const GSO_NONE: u8 = 0;
/// TCP over IPv4.
pub(super) const GSO_TCPV4: u8 = 1;
/// TCP over IPv6.
pub(super) const GSO_TCPV6: u8 = 4;
/// UDP, each segment a datagram.
const GSO_UDP_L4: u8 = 5;
/// A flag beside the kind: the first segment has CWR.
const GSO_ECN: u8 = 0x80;

const FIN: u8 = 0x01;
/// TCP flag.
pub(super) const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// `struct virtio_net_hdr`: what stands in front of each packet of a TUN with offloads.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub(super) struct VirtioHeader {
    pub(super) flags: u8,
    pub(super) kind: u8,
    pub(super) header_len: U16<NativeEndian>,
    pub(super) segment: U16<NativeEndian>,
    pub(super) csum_start: U16<NativeEndian>,
    pub(super) csum_offset: U16<NativeEndian>,
}

impl VirtioHeader {
    /// Octets.
    pub(super) const LEN: usize = 10;
}

const _: () = assert!(size_of::<VirtioHeader>() == VirtioHeader::LEN);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upper {
    Tcp,
    Udp,
}

/// Several packets in one piece.
#[derive(Debug, Clone, Copy)]
pub(super) struct Train<'a> {
    headers: &'a [u8],
    payload: &'a [u8],
    upper: Upper,
    /// Where TCP or UDP begins.
    upper_at: usize,
    /// Payload of each segment but the last.
    segment: usize,
}

/// What the kernel handed over.
#[derive(Debug)]
pub(super) enum Read<'a> {
    /// One packet, complete.
    Packet,
    /// Several.
    Train(Train<'a>),
}

/// Finds out what `packet` is, and completes its checksum where it is one packet. `None` where the
/// header says what can't be.
pub(super) fn read<'a>(header: &VirtioHeader, packet: &'a mut [u8]) -> Option<Read<'a>> {
    let start = usize::from(header.csum_start.get());
    let field = start + usize::from(header.csum_offset.get());
    if header.kind == GSO_NONE {
        if header.flags & NEEDS_CSUM != 0 {
            complete(packet, start, field)?;
        }
        return Some(Read::Packet);
    }
    let upper = match header.kind & !GSO_ECN {
        GSO_TCPV4 | GSO_TCPV6 => Upper::Tcp,
        GSO_UDP_L4 => Upper::Udp,
        _ => return None,
    };
    let upper_len = match upper {
        Upper::Tcp => usize::from(packet.get(start + 12)? >> 4) * 4,
        Upper::Udp => 8,
    };
    let wanted = match upper {
        Upper::Tcp => start + 16,
        Upper::Udp => start + 6,
    };
    let segment = usize::from(header.segment.get());
    let (headers, payload) = packet.split_at_checked(start + upper_len)?;
    let is_wrong = header.flags & NEEDS_CSUM == 0
        || field != wanted
        || segment == 0
        || start < 20
        || field + 2 > headers.len()
        || (headers.first()? >> 4 == 6 && start < 40);
    if is_wrong {
        return None;
    }
    Some(Read::Train(Train { headers, payload, upper, upper_at: start, segment }))
}

/// Fills a checksum in: its field holds the sum of the pseudo-header.
fn complete(packet: &mut [u8], start: usize, field: usize) -> Option<()> {
    let mut sum = checksum(packet.get(start..)?);
    let is_udp = field == start + 6;
    if sum == 0 && is_udp {
        // RFC 768: all zero means that there is none.
        sum = 0xffff;
    }
    packet.get_mut(field..field + 2)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}

impl Train<'_> {
    /// How many packets it makes.
    pub(super) fn count(&self) -> usize {
        self.payload.len().div_ceil(self.segment).max(1)
    }

    /// The length of all packets but the last, which may be shorter.
    pub(super) fn packet_len(&self) -> usize {
        self.headers.len() + self.segment.min(self.payload.len())
    }

    /// The length of packet `index`.
    pub(super) fn len_of(&self, index: usize) -> usize {
        let before = index * self.segment;
        self.headers.len() + self.segment.min(self.payload.len().saturating_sub(before))
    }

    /// Writes packet `index`; its length, or `None` where it does not fit.
    pub(super) fn write(&self, index: usize, out: &mut [u8]) -> Option<usize> {
        let before = index * self.segment;
        let end = (before + self.segment).min(self.payload.len());
        let payload = self.payload.get(before..end)?;
        let len = self.headers.len() + payload.len();
        let out = out.get_mut(..len)?;
        let (headers, body) = out.split_at_mut_checked(self.headers.len())?;
        headers.copy_from_slice(self.headers);
        body.copy_from_slice(payload);
        let is_last = end == self.payload.len();
        let (ip, upper) = headers.split_at_mut_checked(self.upper_at)?;
        self.write_ip(ip, index, len)?;
        self.write_upper(upper, body, before, is_last)?;
        Some(len)
    }

    fn write_ip(&self, ip: &mut [u8], index: usize, len: usize) -> Option<()> {
        if ip.first()? >> 4 == 6 {
            let payload_len = u16::try_from(len - 40).ok()?;
            ip.get_mut(4..6)?.copy_from_slice(&payload_len.to_be_bytes());
            return Some(());
        }
        ip.get_mut(2..4)?.copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
        let id: &mut [u8; 2] = ip.get_mut(4..6)?.try_into().ok()?;
        let next = u16::from_be_bytes(*id).wrapping_add(u16::try_from(index).ok()?);
        *id = next.to_be_bytes();
        ip.get_mut(10..12)?.fill(0);
        let sum = checksum(ip);
        ip.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
        Some(())
    }

    fn write_upper(
        &self,
        upper: &mut [u8],
        body: &[u8],
        before: usize,
        is_last: bool,
    ) -> Option<()> {
        let len = upper.len() + body.len();
        let field = match self.upper {
            Upper::Tcp => {
                let seq: &mut [u8; 4] = upper.get_mut(4..8)?.try_into().ok()?;
                let moved = u32::from_be_bytes(*seq).wrapping_add(u32::try_from(before).ok()?);
                *seq = moved.to_be_bytes();
                let flags = upper.get_mut(13)?;
                if before > 0 {
                    *flags &= !CWR;
                }
                if !is_last {
                    *flags &= !(FIN | PSH);
                }
                16
            }
            Upper::Udp => {
                upper.get_mut(4..6)?.copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
                6
            }
        };
        // The field holds the sum of the pseudo-header with the length of the whole train in it.
        let whole = self.headers.len() - self.upper_at + self.payload.len();
        let delta = u32::try_from(whole).ok()?;
        let sum = Sum::new()
            .plus(&(!delta).to_be_bytes())
            .plus(&u32::try_from(len).ok()?.to_be_bytes())
            .plus(upper)
            .plus(body)
            .finish();
        let sum = if sum == 0 && self.upper == Upper::Udp { 0xffff } else { sum };
        upper.get_mut(field..field + 2)?.copy_from_slice(&sum.to_be_bytes());
        Some(())
    }
}

#[cfg(test)]
pub(super) mod tests;
