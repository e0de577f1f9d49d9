//! Opens the envelope in one captured frame.
//!
//! Read first: RFC 6618 s.6.2 to 6.4.

use std::fmt;

use hearth_esp::{OpenError, Transform};
use hearth_wire::frame::{FrameHeader, PType};
use hearth_wire::ip::{Ipv6Header, UdpHeader};
use pcap_file::DataLink;
use zerocopy::{FromBytes, IntoBytes};

use super::keys::{Keys, Sa};
use super::outer::{self, NotWhole, Outer};

/// What came of a captured frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was opened.
    Opened(Opened),
    /// It is of RFC 6618 and was in the clear: unprotected data, or what keeps a NAT's mapping. With the
    /// packet in it.
    Clear(Option<Vec<u8>>),
    /// It is something else.
    Other,
    /// It stays closed.
    Closed(Closed),
}

/// An envelope that was opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// The frame as it was, with plaintext and trailer behind the header of RFC 6618, without IV and
    /// ICV.
    pub(super) frame: Vec<u8>,
    /// The IP packet inside. Of PType 8, whose inner IP header is not sent (s.6.3), with the one that it
    /// stands for.
    pub(super) inner: Vec<u8>,
    pub(super) spi: u32,
    pub(super) mn_id: Box<str>,
}

/// Why an envelope stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closed {
    /// There is no key for this SPI.
    NoKey(u32),
    /// The keys are others, or the packet was changed on its way.
    Icv(u32),
    /// It was opened, and is not what a sender makes.
    Trailer(u32),
    /// It is too short, or has a length that no frame of its suite has.
    Length(u32),
    /// PType that nobody has registered.
    PType(u8),
    /// The outer packet came in fragments.
    Fragment,
    /// Its end was not captured.
    Cut,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey(spi) => write!(f, "no key for SPI 0x{spi:07x} ({spi})"),
            Self::Icv(spi) => write!(f, "wrong ICV under SPI 0x{spi:07x} ({spi})"),
            Self::Trailer(spi) => write!(f, "wrong trailer under SPI 0x{spi:07x} ({spi})"),
            Self::Length(spi) => write!(f, "no length of its suite under SPI 0x{spi:07x} ({spi})"),
            Self::PType(bits) => write!(f, "unregistered PType {bits}"),
            Self::Fragment => f.write_str("a fragment of an outer packet"),
            Self::Cut => f.write_str("captured in part"),
        }
    }
}

/// Opens what is in `frame`, a home agent's port being `port`.
pub(super) fn open(keys: &Keys, port: u16, link: DataLink, frame: &[u8]) -> Verdict {
    let ours = |source: u16, destination: u16| source == port || destination == port;
    let outer = match outer::find(link, frame) {
        Ok(outer) if ours(outer.source_port, outer.destination_port) => outer,
        Err(NotWhole::Fragment(source, destination)) if ours(source, destination) => {
            return Verdict::Closed(Closed::Fragment);
        }
        Err(NotWhole::Cut(source, destination)) if ours(source, destination) => {
            return Verdict::Closed(Closed::Cut);
        }
        _ => return Verdict::Other,
    };
    let envelope = frame.get(outer.udp + UdpHeader::LEN..outer.end).unwrap_or_default();
    let Ok((header, body)) = FrameHeader::ref_from_prefix(envelope) else {
        return Verdict::Clear(None);
    };
    match PType::from_bits(header.ptype_bits()) {
        Some(PType::PlainData) => Verdict::Clear(Some(body.to_vec())),
        Some(ptype) => protected(keys, (frame, outer), (envelope, ptype), port),
        None => Verdict::Closed(Closed::PType(header.ptype_bits())),
    }
}

fn protected(
    keys: &Keys,
    (frame, outer): (&[u8], Outer),
    (envelope, ptype): (&[u8], PType),
    port: u16,
) -> Verdict {
    let spi = FrameHeader::ref_from_prefix(envelope).map_or(0, |(header, _)| header.spi_bits());
    let mut closed = Closed::NoKey(spi);
    for sa in keys.of_spi(spi) {
        // The likelier direction first: with the port at both ends it is either.
        let mut ways = [(true, &sa.mn_to_ha), (false, &sa.ha_to_mn)];
        if outer.destination_port != port {
            ways.reverse();
        }
        for (is_up, transform) in ways {
            match try_open(transform, envelope) {
                Ok((plain, payload, next_header)) => {
                    let inner = inner(sa, is_up, ptype, outer, (&payload, next_header));
                    let opened = outer::with_payload(frame, outer, &plain);
                    return match opened.zip(inner) {
                        Some((frame, inner)) => {
                            let mn_id = sa.mn_id.clone();
                            Verdict::Opened(Opened { frame, inner, spi, mn_id })
                        }
                        None => Verdict::Closed(Closed::Length(spi)),
                    };
                }
                Err(OpenError::Trailer(_)) => closed = Closed::Trailer(spi),
                Err(OpenError::Length(_)) => closed = Closed::Length(spi),
                Err(OpenError::Icv) if closed == Closed::NoKey(spi) => closed = Closed::Icv(spi),
                Err(OpenError::Icv) => {}
            }
        }
    }
    Verdict::Closed(closed)
}

/// Header, plaintext and trailer of an envelope; its payload alone; Next Header.
fn try_open(transform: &Transform, envelope: &[u8]) -> Result<(Vec<u8>, Vec<u8>, u8), OpenError> {
    let mut copy = envelope.to_vec();
    let (payload, next_header) = transform.open(&mut copy)?;
    let icv = copy.len().saturating_sub(transform.suite().icv_len());
    let part = |range: std::ops::Range<usize>| copy.get(range).unwrap_or_default();
    let plain = [part(0..FrameHeader::LEN), part(payload.start..icv)].concat();
    Ok((plain, part(payload).to_vec(), next_header))
}

fn inner(
    sa: &Sa,
    is_up: bool,
    ptype: PType,
    outer: Outer,
    (payload, next_header): (&[u8], u8),
) -> Option<Vec<u8>> {
    const HOP_LIMIT: u8 = 64;
    if ptype == PType::ProtectedData {
        return Some(payload.to_vec());
    }
    let (source, destination) = if is_up {
        (outer::mapped(outer.source), sa.ha_address)
    } else {
        (sa.ha_address, outer::mapped(outer.destination))
    };
    let header = Ipv6Header::new(source, destination, next_header, HOP_LIMIT, payload.len())?;
    Some([header.as_bytes(), payload].concat())
}
