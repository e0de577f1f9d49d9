//! Mobility Header messages.
//!
//! Read first: RFC 6275 s.6.1, 6.2, 9.2; RFC 5555 s.3; readings R-29, R-30, R-37.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Payload Proto |  Header Len   |   MH Type     |   Reserved    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |           Checksum            |                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+       Message Data            :
//! :                                                               :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::exthdr::NO_NEXT_HEADER;
use crate::ip;

pub mod option;
pub mod status;
#[cfg(test)]
mod tests;

pub use status::{Ipv4AckStatus, Status};

use option::Writer;

/// Next Header value of the Mobility Header.
pub const PROTO: u8 = 135;

/// MH Types (RFC 6275 s.6.1) that are named in code.
pub mod mh_type {
    /// Binding Refresh Request.
    pub const BRR: u8 = 0;
    /// Home Test Init: data between MN and HA (RFC 6618 s.6.3).
    pub const HOTI: u8 = 1;
    /// Care-of Test Init.
    pub const COTI: u8 = 2;
    /// Home Test.
    pub const HOT: u8 = 3;
    /// Care-of Test.
    pub const COT: u8 = 4;
    /// Binding Update.
    pub const BU: u8 = 5;
    /// Binding Acknowledgement.
    pub const BA: u8 = 6;
    /// Binding Error.
    pub const BE: u8 = 7;
}

/// Why a Mobility Header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MhError {
    /// Fewer octets than the fixed header, or than Header Len says (MHP-05).
    Truncated,
    /// Checksum wrong over the pseudo-header of R-30 (RFC 6275 s.9.2).
    Checksum,
    /// Payload Proto is not 59 (RFC 6275 s.9.2).
    PayloadProto,
    /// Header Len is shorter than the message type's minimum (RFC 6275 s.9.2).
    HeaderLen,
    /// The MH Type is unknown: answered by a Binding Error, status 2 (RFC 6275 s.9.2).
    UnknownType(u8),
    /// A mobility option runs past the end, or has a length its type can't have.
    Option,
}

/// A Mobility Header message, its options read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// MH Type 0.
    BindingRefreshRequest,
    /// MH Type 5.
    BindingUpdate(BindingUpdate<'a>),
    /// MH Type 6.
    BindingAck(BindingAck<'a>),
    /// MH Type 7.
    BindingError(BindingError),
    /// HoTI, CoTI, HoT, CoT: known types that are data between MN and HA (RFC 6618 s.6.3).
    ReturnRoutability(u8),
}

/// Binding Update (RFC 6275 s.6.1.7, RFC 5555 s.3.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingUpdate<'a> {
    /// Sequence #.
    pub seq: u16,
    /// The flags.
    pub flags: BuFlags,
    /// Lifetime in units of 4 seconds; 0 de-registers (R-39).
    pub lifetime: u16,
    /// The mobility options; unknown ones were skipped (RFC 6275 s.6.2.1).
    pub options: BuOptions<'a>,
}

/// Flags of a Binding Update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a wire format, named as in the RFC")]
pub struct BuFlags {
    /// A: an acknowledgement is asked for.
    pub acknowledge: bool,
    /// H: home registration.
    pub home_registration: bool,
    /// L: the HoA's interface identifier is that of the link-local address.
    pub link_local_compat: bool,
    /// K: key management mobility; echoed as 0 (R-37).
    pub key_management: bool,
    /// R: mobile router (RFC 3963).
    pub mobile_router: bool,
    /// F: force UDP encapsulation (RFC 5555); accepted, UDP is the only encapsulation (R-37).
    pub force_udp: bool,
}

/// Mobility options of a Binding Update. Of an option that may stand once, the first one counts
/// (MHP-09).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BuOptions<'a> {
    /// Alternate Care-of Address (type 3).
    pub alternate_coa: Option<Ipv6Addr>,
    /// Nonce Indices (type 4) is present; only for correspondents (REG-26).
    pub nonce_indices: bool,
    /// Mobile Node Identifier (type 8): subtype and octets (RFC 4283).
    pub mn_id: Option<(u8, &'a [u8])>,
    /// IPv4 home address (type 29).
    pub ipv4_hoa: Option<Ipv4HomeAddress>,
    /// IPv4 care-of address (type 32).
    pub ipv4_coa: Option<Ipv4Addr>,
}

/// IPv4 home address option (RFC 5555 s.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4HomeAddress {
    /// Prefix length, 0 to 63 on the wire; 32 for a single address.
    pub prefix_len: u8,
    /// P: a mobile network prefix is asked for.
    pub prefix_request: bool,
    /// The address; 0.0.0.0 asks for one.
    pub address: Ipv4Addr,
}

/// Binding Acknowledgement (RFC 6275 s.6.1.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingAck<'a> {
    /// Status.
    pub status: Status,
    /// K flag; a home agent sends 0 (R-37).
    pub key_management: bool,
    /// R flag (RFC 3963).
    pub mobile_router: bool,
    /// Sequence # copied from the BU, or the last accepted one under status 135.
    pub seq: u16,
    /// Granted lifetime in units of 4 seconds.
    pub lifetime: u16,
    /// The mobility options.
    pub options: BaOptions<'a>,
}

/// Mobility options of a Binding Acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BaOptions<'a> {
    /// Binding Refresh Advice (type 2): interval in units of 4 seconds.
    pub refresh_advice: Option<u16>,
    /// Mobile Node Identifier (type 8): subtype and octets.
    pub mn_id: Option<(u8, &'a [u8])>,
    /// IPv4 address acknowledgement (type 30).
    pub ipv4_ack: Option<Ipv4Ack>,
    /// NAT detection (type 31).
    pub nat_detection: Option<NatDetection>,
}

/// IPv4 address acknowledgement option (RFC 5555 s.3.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Ack {
    /// Outcome of the IPv4 home address binding.
    pub status: Ipv4AckStatus,
    /// Prefix length, 0 to 63 on the wire; 0 in case of failure.
    pub prefix_len: u8,
    /// The IPv4 home address.
    pub address: Ipv4Addr,
}

/// NAT detection option (RFC 5555 s.3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatDetection {
    /// F: UDP encapsulation is required.
    pub force_udp: bool,
    /// Refresh time in seconds; 0 is ignored, all ones: no NAT, no keepalives.
    pub refresh_time: u32,
}

impl NatDetection {
    /// Refresh time that says that no NAT was detected.
    pub const NO_NAT: u32 = u32::MAX;
}

/// Binding Error (RFC 6275 s.6.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingError {
    /// Status: 1 unknown binding for the Home Address option, 2 unrecognised MH Type.
    pub status: u8,
    /// Home Address copied from the Home Address option, or `::`.
    pub home_address: Ipv6Addr,
}

/// The six octets that every Mobility Header begins with, as they stand on the wire.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FixedHeader {
    payload_proto: u8,
    header_len: u8,
    mh_type: u8,
    reserved: u8,
    checksum: U16,
}

const _: () = assert!(size_of::<FixedHeader>() == 6);

/// Message Data of a Binding Update in front of its options.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct UpdateData {
    seq: U16,
    /// `|A|H|L|K|M|R|P|F|  Reserved     |`
    flags: U16,
    lifetime: U16,
}

/// Message Data of a Binding Acknowledgement in front of its options.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct AckData {
    status: u8,
    /// `|K|R|  Reserved |`
    flags: u8,
    seq: U16,
    lifetime: U16,
}

/// Message Data of a Binding Error in front of its options.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ErrorData {
    status: u8,
    reserved: u8,
    home_address: [u8; 16],
}

impl BuFlags {
    const ACKNOWLEDGE: u16 = 0x8000;
    const HOME_REGISTRATION: u16 = 0x4000;
    const LINK_LOCAL_COMPAT: u16 = 0x2000;
    const KEY_MANAGEMENT: u16 = 0x1000;
    const MOBILE_ROUTER: u16 = 0x0400;
    const FORCE_UDP: u16 = 0x0100;

    const fn bits(self) -> u16 {
        let mut bits = 0;
        if self.acknowledge {
            bits |= Self::ACKNOWLEDGE;
        }
        if self.home_registration {
            bits |= Self::HOME_REGISTRATION;
        }
        if self.link_local_compat {
            bits |= Self::LINK_LOCAL_COMPAT;
        }
        if self.key_management {
            bits |= Self::KEY_MANAGEMENT;
        }
        if self.mobile_router {
            bits |= Self::MOBILE_ROUTER;
        }
        if self.force_udp {
            bits |= Self::FORCE_UDP;
        }
        bits
    }

    /// Reserved bits are ignored (MHP-08), and so are M and P, which belong to other protocols.
    const fn from_bits(bits: u16) -> Self {
        Self {
            acknowledge: bits & Self::ACKNOWLEDGE != 0,
            home_registration: bits & Self::HOME_REGISTRATION != 0,
            link_local_compat: bits & Self::LINK_LOCAL_COMPAT != 0,
            key_management: bits & Self::KEY_MANAGEMENT != 0,
            mobile_router: bits & Self::MOBILE_ROUTER != 0,
            force_udp: bits & Self::FORCE_UDP != 0,
        }
    }
}

/// K and R of a Binding Acknowledgement.
const ACK_KEY_MANAGEMENT: u8 = 0x80;
const ACK_MOBILE_ROUTER: u8 = 0x40;

/// The unit of Header Len, which counts from behind the first unit (RFC 6275 s.6.1.1).
const UNIT: usize = 8;

/// The smallest Header Len of each known type (RFC 6275 s.6.1.2 to 6.1.9).
const fn min_header_len(mh_type: u8) -> Option<u8> {
    match mh_type {
        mh_type::BRR => Some(0),
        mh_type::HOTI | mh_type::COTI | mh_type::BU | mh_type::BA => Some(1),
        mh_type::HOT | mh_type::COT | mh_type::BE => Some(2),
        _ => None,
    }
}

/// Parses and checks the Mobility Header at the start of `bytes` (RFC 6275 s.9.2): length,
/// checksum over the pseudo-header with `source` and `destination` (R-30), Payload Proto, type,
/// Header Len, options, in this order.
///
/// Octets behind the length that Header Len gives are not looked at.
///
/// # Errors
/// [`MhError`].
pub fn parse<'a>(
    bytes: &'a [u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Result<Message<'a>, MhError> {
    let (fixed, _) = FixedHeader::read_from_prefix(bytes).map_err(|_| MhError::Truncated)?;
    let len = (usize::from(fixed.header_len) + 1) * UNIT;
    let bytes = bytes.get(..len).ok_or(MhError::Truncated)?;
    if checksum(bytes, source, destination) != 0 {
        return Err(MhError::Checksum);
    }
    if fixed.payload_proto != NO_NEXT_HEADER {
        return Err(MhError::PayloadProto);
    }
    let min = min_header_len(fixed.mh_type).ok_or(MhError::UnknownType(fixed.mh_type))?;
    if fixed.header_len < min {
        return Err(MhError::HeaderLen);
    }
    let data = bytes.get(size_of::<FixedHeader>()..).ok_or(MhError::Truncated)?;
    match fixed.mh_type {
        mh_type::BRR => Ok(Message::BindingRefreshRequest),
        mh_type::BU => parse_update(data).map(Message::BindingUpdate),
        mh_type::BA => parse_ack(data).map(Message::BindingAck),
        mh_type::BE => parse_error(data).map(Message::BindingError),
        other => Ok(Message::ReturnRoutability(other)),
    }
}

fn parse_update(data: &[u8]) -> Result<BindingUpdate<'_>, MhError> {
    let (update, options) = UpdateData::read_from_prefix(data).map_err(|_| MhError::HeaderLen)?;
    Ok(BindingUpdate {
        seq: update.seq.get(),
        flags: BuFlags::from_bits(update.flags.get()),
        lifetime: update.lifetime.get(),
        options: BuOptions::parse(options)?,
    })
}

fn parse_ack(data: &[u8]) -> Result<BindingAck<'_>, MhError> {
    let (ack, options) = AckData::read_from_prefix(data).map_err(|_| MhError::HeaderLen)?;
    Ok(BindingAck {
        status: Status(ack.status),
        key_management: ack.flags & ACK_KEY_MANAGEMENT != 0,
        mobile_router: ack.flags & ACK_MOBILE_ROUTER != 0,
        seq: ack.seq.get(),
        lifetime: ack.lifetime.get(),
        options: BaOptions::parse(options)?,
    })
}

fn parse_error(data: &[u8]) -> Result<BindingError, MhError> {
    let (error, _) = ErrorData::read_from_prefix(data).map_err(|_| MhError::HeaderLen)?;
    Ok(BindingError { status: error.status, home_address: error.home_address.into() })
}

/// The checksum with the pseudo-header of RFC 6275 s.6.1.1: 0 over a message whose own checksum
/// is valid.
fn checksum(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> u16 {
    // At most 256 units.
    let len = u32::try_from(message.len()).unwrap_or_default();
    ip::pseudo_v6(source, destination, len, PROTO).plus(message).finish()
}

/// Writes `message` with its options, aligned and padded to whole units of 8 octets, checksum
/// included, at the start of `out`; the octets written.
///
/// `None` where `out` is too small, where a value does not fit its field (an identifier of more
/// than 254 octets, a prefix length above 63), and for [`Message::ReturnRoutability`], which is
/// data here.
#[must_use]
pub fn emit(
    message: &Message<'_>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
) -> Option<usize> {
    let mut writer = Writer::new(out);
    let mut fixed = FixedHeader {
        payload_proto: NO_NEXT_HEADER,
        header_len: 0,
        mh_type: 0,
        reserved: 0,
        checksum: U16::ZERO,
    };
    writer.put(fixed.as_bytes())?;
    fixed.mh_type = match message {
        Message::BindingRefreshRequest => {
            writer.put(&[0, 0])?;
            mh_type::BRR
        }
        Message::BindingUpdate(update) => {
            emit_update(update, &mut writer)?;
            mh_type::BU
        }
        Message::BindingAck(ack) => {
            emit_ack(ack, &mut writer)?;
            mh_type::BA
        }
        Message::BindingError(error) => {
            let home_address = error.home_address.octets();
            writer.put(ErrorData { status: error.status, reserved: 0, home_address }.as_bytes())?;
            mh_type::BE
        }
        Message::ReturnRoutability(_) => return None,
    };
    writer.align(UNIT, 0)?;
    let len = writer.len();
    fixed.header_len = u8::try_from(len / UNIT - 1).ok()?;
    fixed.write_to_prefix(out).ok()?;
    fixed.checksum = U16::new(checksum(out.get(..len)?, source, destination));
    fixed.write_to_prefix(out).ok()?;
    Some(len)
}

fn emit_update(update: &BindingUpdate<'_>, writer: &mut Writer<'_>) -> Option<()> {
    let data = UpdateData {
        seq: U16::new(update.seq),
        flags: U16::new(update.flags.bits()),
        lifetime: U16::new(update.lifetime),
    };
    writer.put(data.as_bytes())?;
    update.options.emit(writer)
}

fn emit_ack(ack: &BindingAck<'_>, writer: &mut Writer<'_>) -> Option<()> {
    let mut flags = 0;
    if ack.key_management {
        flags |= ACK_KEY_MANAGEMENT;
    }
    if ack.mobile_router {
        flags |= ACK_MOBILE_ROUTER;
    }
    let data = AckData {
        status: ack.status.0,
        flags,
        seq: U16::new(ack.seq),
        lifetime: U16::new(ack.lifetime),
    };
    writer.put(data.as_bytes())?;
    ack.options.emit(writer)
}
