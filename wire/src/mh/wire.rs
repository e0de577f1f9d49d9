//! Mobility Headers read and written.
//!
//! Read first: RFC 6275 s.6.1, 9.2; readings.

use core::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::writer::Writer;
use super::{
    BaOptions, BindingAck, BindingError, BindingUpdate, BuFlags, BuOptions, Heartbeat,
    HomeAgentSwitch, Message, MhError, PROTO, Repeated, ReturnRoutability, Status, mh_type, option,
    revocation,
};
use crate::exthdr::NO_NEXT_HEADER;
use crate::ip;

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
    /// `|A|H|L|K|M|R|P|F|T|O| Reserved  |`
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
    const OVERWRITE: u16 = 0x0040;

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
        if self.overwrite {
            bits |= Self::OVERWRITE;
        }
        bits
    }

    /// Reserved bits are ignored (MHP-08), and so are M, P and T, which belong to other protocols.
    pub(super) const fn from_bits(bits: u16) -> Self {
        Self {
            acknowledge: bits & Self::ACKNOWLEDGE != 0,
            home_registration: bits & Self::HOME_REGISTRATION != 0,
            link_local_compat: bits & Self::LINK_LOCAL_COMPAT != 0,
            key_management: bits & Self::KEY_MANAGEMENT != 0,
            mobile_router: bits & Self::MOBILE_ROUTER != 0,
            force_udp: bits & Self::FORCE_UDP != 0,
            overwrite: bits & Self::OVERWRITE != 0,
        }
    }
}

/// K and R of a Binding Acknowledgement.
const ACK_KEY_MANAGEMENT: u8 = 0x80;
const ACK_MOBILE_ROUTER: u8 = 0x40;

/// The unit of Header Len, which counts from behind the first unit (RFC 6275 s.6.1.1).
const UNIT: usize = 8;

/// The smallest Header Len of each known type (RFC 6275 s.6.1.2 to 6.1.9; RFC 5142 s.4; RFC 5846
/// s.5; RFC 5847 s.4).
const fn min_header_len(mh_type: u8) -> Option<u8> {
    match mh_type {
        mh_type::BRR | mh_type::HOME_AGENT_SWITCH => Some(0),
        mh_type::HOTI | mh_type::COTI | mh_type::BU | mh_type::BA => Some(1),
        mh_type::HEARTBEAT | mh_type::REVOCATION => Some(1),
        mh_type::HOT | mh_type::COT | mh_type::BE => Some(2),
        _ => None,
    }
}

/// Parses and checks the Mobility Header at the start of `bytes` (RFC 6275 s.9.2): length,
/// checksum over the pseudo-header with `source` and `destination`, Payload Proto, type,
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
        mh_type::BRR => parse_refresh_request(data),
        mh_type::BU => parse_update(data).map(Message::BindingUpdate),
        mh_type::BA => parse_ack(data).map(Message::BindingAck),
        mh_type::BE => parse_error(data).map(Message::BindingError),
        mh_type::HOME_AGENT_SWITCH => HomeAgentSwitch::parse(data).map(Message::HomeAgentSwitch),
        mh_type::HEARTBEAT => Heartbeat::parse(data).map(Message::Heartbeat),
        mh_type::REVOCATION => revocation::parse(data),
        other => ReturnRoutability::parse(other, data).map(Message::ReturnRoutability),
    }
}

fn parse_refresh_request(data: &[u8]) -> Result<Message<'_>, MhError> {
    let ([_, _], options) = data.split_first_chunk().ok_or(MhError::HeaderLen)?;
    option::walk(options)?;
    Ok(Message::BindingRefreshRequest { bids: Repeated::Wire(options) })
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
pub(super) fn checksum(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> u16 {
    // At most 256 units.
    let len = u32::try_from(message.len()).unwrap_or_default();
    ip::pseudo_v6(source, destination, len, PROTO).plus(message).finish()
}

/// Writes `message` with its options, aligned and padded to whole units of 8 octets, checksum
/// included, at the start of `out`; the octets written.
///
/// `None` where `out` is too small, where a value does not fit its field (an identifier of more
/// than 254 octets, a prefix length above 63, a range that ends before it starts).
#[must_use]
pub fn emit(
    message: &Message<'_>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    out: &mut [u8],
) -> Option<usize> {
    let len = emit_with(message, out, |_| Some(()))?;
    set_checksum(out.get_mut(..len)?, source, destination)?;
    Some(len)
}

/// Writes `message` with what `finish` puts behind its options, the checksum left 0.
pub(super) fn emit_with(
    message: &Message<'_>,
    out: &mut [u8],
    finish: impl FnOnce(&mut Writer<'_>) -> Option<()>,
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
        Message::BindingRefreshRequest { bids } => {
            writer.put(&[0, 0])?;
            bids.emit(&mut writer)?;
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
        Message::HomeAgentSwitch(switch) => {
            switch.emit(&mut writer)?;
            mh_type::HOME_AGENT_SWITCH
        }
        Message::Heartbeat(heartbeat) => {
            heartbeat.emit(&mut writer)?;
            mh_type::HEARTBEAT
        }
        Message::Revocation(revocation) => {
            revocation.emit(&mut writer)?;
            mh_type::REVOCATION
        }
        Message::RevocationAck(ack) => {
            ack.emit(&mut writer)?;
            mh_type::REVOCATION
        }
        Message::ReturnRoutability(message) => {
            message.emit(&mut writer)?;
            message.mh_type()
        }
    };
    finish(&mut writer)?;
    writer.align(UNIT, 0)?;
    let len = writer.len();
    fixed.header_len = u8::try_from(len / UNIT - 1).ok()?;
    fixed.write_to_prefix(out).ok()?;
    Some(len)
}

/// Puts the checksum into a message whose checksum field is 0.
pub(super) fn set_checksum(
    message: &mut [u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Option<()> {
    let checksum = checksum(message, source, destination);
    let (fixed, _) = FixedHeader::mut_from_prefix(message).ok()?;
    fixed.checksum = U16::new(checksum);
    Some(())
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
