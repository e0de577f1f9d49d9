//! Packets of the same TCP stream that follow each other, put together for the kernel.
//!
//! Read first: RFC 9293 s.3.1; RFC 6864 s.4; virtio 1.2 s.5.1.6. The rules are those of the kernel's
//! own GRO: a packet joins a train only where the kernel, were it to send the train on, would take it
//! apart into the same packets, and only after its checksums were found right, because nobody looks
//! at them again.
//!
//! ```text
//!   joins: same addresses, ports, DSCP, ECN, TTL, flow label, acknowledgement, window, options;
//!          the next sequence number; no flag but ACK and PSH; no longer than the first
//!   ends a train: PSH, a shorter packet, 64 packets, 64 KiB
//! ```

use std::io::{self, IoSlice};
use std::ops::Range;

use hearth_wire::ip::{Sum, checksum};
use zerocopy::IntoBytes;

use super::gso::{GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM, PSH, VirtioHeader};

/// Trains under way at a time.
const TRAINS: usize = 8;
/// Packets of a train.
const LONGEST: usize = 64;
/// Octets of the longest headers: IPv6, TCP with all options.
const HEADERS: usize = 40 + 60;
const ACK: u8 = 0x10;
const TCP: u8 = 6;

/// A packet that could be part of a train.
struct Segment<'a> {
    headers: &'a [u8],
    /// Where TCP begins.
    ip_len: usize,
    payload_len: usize,
    seq: u32,
    has_psh: bool,
}

impl<'a> Segment<'a> {
    /// Reads a packet, its checksums included.
    fn read(packet: &'a [u8]) -> Option<Self> {
        let (ip_len, pseudo) = match packet.first()? >> 4 {
            4 => ip4(packet)?,
            6 => ip6(packet)?,
            _ => return None,
        };
        let upper = packet.get(ip_len..)?;
        let upper_len = usize::from(upper.get(12)? >> 4) * 4;
        let flags = *upper.get(13)?;
        if upper_len < 20 || flags & !PSH != ACK || upper.get(12)? & 0x0f != 0 {
            return None;
        }
        let payload_len = upper.len().checked_sub(upper_len).filter(|len| *len > 0)?;
        if pseudo.plus(upper).finish() != 0 {
            return None;
        }
        Some(Self {
            headers: packet.get(..ip_len + upper_len)?,
            ip_len,
            payload_len,
            seq: u32::from_be_bytes(upper.get(4..8)?.try_into().ok()?),
            has_psh: flags & PSH != 0,
        })
    }

    fn payload(&self, at: usize) -> Range<usize> {
        let start = at + self.headers.len();
        start..start + self.payload_len
    }
}

/// Length and pseudo-header of an IPv4 packet without options that is no fragment.
fn ip4(packet: &[u8]) -> Option<(usize, Sum)> {
    let ip = packet.first_chunk::<20>()?;
    let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0xbfff;
    if ip[0] != 0x45 || fragment != 0 || ip[9] != TCP || checksum(ip) != 0 {
        return None;
    }
    let upper_len = u16::try_from(packet.len() - 20).ok()?;
    Some((20, Sum::new().plus(&ip[12..20]).plus(&[0, TCP]).plus(&upper_len.to_be_bytes())))
}

fn ip6(packet: &[u8]) -> Option<(usize, Sum)> {
    let ip = packet.first_chunk::<40>()?;
    if ip[6] != TCP {
        return None;
    }
    let upper_len = u16::try_from(packet.len() - 40).ok()?;
    Some((40, Sum::new().plus(&ip[8..40]).plus(&[0, TCP]).plus(&upper_len.to_be_bytes())))
}

/// Packets that go to the kernel together.
struct Train {
    headers: [u8; HEADERS],
    headers_len: usize,
    ip_len: usize,
    /// Payloads, as places in the arena; the headers of the first stand in front of it.
    payloads: Vec<Range<usize>>,
    /// Payload of all packets but the last.
    segment: usize,
    payload_len: usize,
    next_seq: u32,
    has_psh: bool,
}

impl Train {
    fn new() -> Self {
        Self {
            headers: [0; HEADERS],
            headers_len: 0,
            ip_len: 0,
            payloads: Vec::with_capacity(LONGEST),
            segment: 0,
            payload_len: 0,
            next_seq: 0,
            has_psh: false,
        }
    }

    fn headers(&self) -> &[u8] {
        self.headers.get(..self.headers_len).unwrap_or_default()
    }

    fn begin(&mut self, segment: &Segment<'_>, payload: Range<usize>) {
        self.headers_len = segment.headers.len();
        if let Some(room) = self.headers.get_mut(..self.headers_len) {
            room.copy_from_slice(segment.headers);
        }
        self.ip_len = segment.ip_len;
        self.payloads.clear();
        self.segment = segment.payload_len;
        self.payload_len = 0;
        self.next_seq = segment.seq;
        self.has_psh = false;
        self.join(segment, payload);
    }

    fn join(&mut self, segment: &Segment<'_>, payload: Range<usize>) {
        self.payloads.push(payload);
        self.payload_len += segment.payload_len;
        self.has_psh |= segment.has_psh;
        // Segments are shorter than 2^16.
        self.next_seq =
            segment.seq.wrapping_add(u32::try_from(segment.payload_len).unwrap_or_default());
    }

    /// Whether nothing may join any more.
    fn is_over(&self) -> bool {
        self.has_psh
            || !self.payload_len.is_multiple_of(self.segment)
            || self.payloads.len() == LONGEST
            || self.headers_len + self.payload_len + self.segment > 65535
    }

    /// Whether addresses and ports are the same.
    fn is_of(&self, packet: &[u8]) -> bool {
        let (addresses, ports) = match self.ip_len {
            20 => (12..20, 20..24),
            _ => (8..40, 40..44),
        };
        let same = |range: Range<usize>| self.headers.get(range.clone()) == packet.get(range);
        same(0..1) && same(addresses) && same(ports)
    }

    fn takes(&self, segment: &Segment<'_>) -> bool {
        let (ours, theirs) = (self.headers(), segment.headers);
        let same = |range: Range<usize>| ours.get(range.clone()) == theirs.get(range);
        let ip = self.ip_len;
        if ours.len() != theirs.len() || ip != segment.ip_len {
            return false;
        }
        let same_ip = match ip {
            20 => same(0..2) && same(6..10) && self.follows(theirs),
            _ => same(0..4) && same(6..8),
        };
        // Acknowledgement, data offset; window; urgent pointer and options.
        same_ip
            && same(ip + 8..ip + 13)
            && same(ip + 14..ip + 16)
            && same(ip + 18..ours.len())
            && segment.seq == self.next_seq
            && segment.payload_len <= self.segment
    }

    /// RFC 6864: where a packet may be fragmented its ID means something, and has to count up.
    fn follows(&self, headers: &[u8]) -> bool {
        let id = |headers: &[u8]| Some(u16::from_be_bytes(headers.get(4..6)?.try_into().ok()?));
        let may_fragment = self.headers[6] & 0x40 == 0;
        let count = u16::try_from(self.payloads.len()).unwrap_or_default();
        !may_fragment || id(&self.headers).map(|id| id.wrapping_add(count)) == id(headers)
    }

    /// Makes the headers those of the train, and says how it is to be taken apart.
    fn seal(&mut self) -> Option<VirtioHeader> {
        let len = self.headers_len + self.payload_len;
        let upper_len = u32::try_from(len - self.ip_len).ok()?;
        let (ip, upper) =
            self.headers.get_mut(..self.headers_len)?.split_at_mut_checked(self.ip_len)?;
        let (kind, addresses) = if self.ip_len == 20 {
            ip.get_mut(2..4)?.copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
            ip.get_mut(10..12)?.fill(0);
            let sum = checksum(ip);
            ip.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
            (GSO_TCPV4, ip.get(12..20)?)
        } else {
            let payload_len = u16::try_from(len - 40).ok()?;
            ip.get_mut(4..6)?.copy_from_slice(&payload_len.to_be_bytes());
            (GSO_TCPV6, ip.get(8..40)?)
        };
        // The kernel wants the sum of the pseudo-header, not its complement.
        let pseudo =
            Sum::new().plus(addresses).plus(&[0, TCP]).plus(&upper_len.to_be_bytes()).finish();
        upper.get_mut(16..18)?.copy_from_slice(&(!pseudo).to_be_bytes());
        *upper.get_mut(13)? |= if self.has_psh { PSH } else { 0 };
        Some(VirtioHeader {
            flags: NEEDS_CSUM,
            kind,
            header_len: u16::try_from(self.headers_len).ok()?.into(),
            segment: u16::try_from(self.segment).ok()?.into(),
            csum_start: u16::try_from(self.ip_len).ok()?.into(),
            csum_offset: 16.into(),
        })
    }
}

/// Puts the packets of one arena together.
pub(super) struct Gro {
    /// Those that are under way come first, in the order in which they began.
    trains: Vec<Train>,
    under_way: usize,
    /// Whether the kernel takes trains.
    offload: bool,
}

/// What became of packets: how many, of how many octets, and whether the kernel took them.
pub(super) struct Written {
    pub(super) packets: usize,
    pub(super) octets: usize,
    pub(super) taken: bool,
}

impl Gro {
    pub(super) fn new(offload: bool) -> Self {
        let trains = (0..TRAINS).map(|_| Train::new()).collect();
        Self { trains, under_way: 0, offload }
    }

    /// Takes packets, places in `arena`, and gives the kernel what it makes of them.
    pub(super) fn deliver(
        &mut self,
        arena: &[u8],
        packets: &[Range<usize>],
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
        mut tell: impl FnMut(Written),
    ) {
        for place in packets {
            let Some(packet) = arena.get(place.clone()) else { continue };
            let of = self.trains.iter().take(self.under_way).position(|it| it.is_of(packet));
            let segment = Segment::read(packet).filter(|_| self.offload);
            if let Some(of) = of {
                if let (Some(segment), Some(train)) = (&segment, self.trains.get_mut(of))
                    && train.takes(segment)
                {
                    train.join(segment, segment.payload(place.start));
                    if train.is_over() {
                        self.finish(of, arena, &mut write, &mut tell);
                    }
                    continue;
                }
                // What can't join comes after the train.
                self.finish(of, arena, &mut write, &mut tell);
            }
            let Some(segment) = segment else {
                tell(alone(packet, &mut write));
                continue;
            };
            if self.under_way == TRAINS {
                self.finish(0, arena, &mut write, &mut tell);
            }
            if let Some(train) = self.trains.get_mut(self.under_way) {
                train.begin(&segment, segment.payload(place.start));
                self.under_way += 1;
                if train.is_over() {
                    self.finish(self.under_way - 1, arena, &mut write, &mut tell);
                }
            }
        }
        while self.under_way > 0 {
            self.finish(0, arena, &mut write, &mut tell);
        }
    }

    /// Gives train `index` to the kernel.
    fn finish(
        &mut self,
        index: usize,
        arena: &[u8],
        write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
        tell: &mut impl FnMut(Written),
    ) {
        let Some(train) = self.trains.get_mut(index) else { return };
        let first = train.payloads.first().map_or(0, |payload| payload.start);
        if let [payload] = &train.payloads[..] {
            let start = first.saturating_sub(train.headers_len);
            tell(alone(arena.get(start..payload.end).unwrap_or_default(), write));
        } else if let Some(header) = train.seal() {
            let mut parts = [IoSlice::new(&[]); 2 + LONGEST];
            let contents = [header.as_bytes(), train.headers()].into_iter();
            let payloads = train.payloads.iter();
            let payloads = payloads.map(|place| arena.get(place.clone()).unwrap_or_default());
            for (part, content) in parts.iter_mut().zip(contents.chain(payloads)) {
                *part = IoSlice::new(content);
            }
            let packets = train.payloads.len();
            let octets = train.headers_len * packets + train.payload_len;
            let taken = write(parts.get(..2 + packets).unwrap_or_default()).is_ok();
            tell(Written { packets, octets, taken });
        }
        // The others keep their order; its room is used again.
        if let Some(rest) = self.trains.get_mut(index..self.under_way) {
            rest.rotate_left(1);
        }
        self.under_way -= 1;
    }
}

/// Gives the kernel one packet as it is.
fn alone(packet: &[u8], write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Written {
    let header = VirtioHeader::default();
    let taken = write(&[IoSlice::new(header.as_bytes()), IoSlice::new(packet)]).is_ok();
    Written { packets: 1, octets: packet.len(), taken }
}

#[cfg(test)]
pub(super) mod tests;
