//! Binding Revocation Indication and Acknowledgement.
//!
//! Read first: RFC 5846 s.5.
//!
//! ```text
//!                                 +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!                                 |   B.R. Type   |Trigger, Status|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          Sequence #           |P|V|G|       Reserved          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                        Mobility options                       :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::option::{first, option_type, walk};
use super::writer::Writer;
use super::{Bid, Ipv4HomeAddress, Message, MhError, Repeated, mh_type};

/// Binding Revocation Types.
const INDICATION: u8 = 1;
const ACKNOWLEDGEMENT: u8 = 2;

/// Revocation Triggers of a home agent (RFC 5846 s.5.1).
pub mod trigger {
    /// Unspecified.
    pub const UNSPECIFIED: u8 = 0;
    /// Administrative reason.
    pub const ADMINISTRATIVE: u8 = 1;
    /// User-initiated session termination.
    pub const USER_INITIATED: u8 = 5;
    /// Access network session termination.
    pub const ACCESS_NETWORK: u8 = 6;
    /// Possible out-of-sync binding cache entry.
    pub const OUT_OF_SYNC: u8 = 7;
}

/// Message Data in front of the options.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Data {
    revocation_type: u8,
    trigger_or_status: u8,
    seq: U16,
    flags: U16,
}

/// Flags of both messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RevocationFlags {
    /// P: the binding is one of Proxy Mobile IPv6, which this is not.
    pub proxy: bool,
    /// V: only the IPv4 home address.
    pub ipv4_only: bool,
    /// G: all bindings of the peer.
    pub global: bool,
}

impl RevocationFlags {
    const PROXY: u16 = 0x8000;
    const IPV4_ONLY: u16 = 0x4000;
    const GLOBAL: u16 = 0x2000;

    const fn from_bits(bits: u16) -> Self {
        Self {
            proxy: bits & Self::PROXY != 0,
            ipv4_only: bits & Self::IPV4_ONLY != 0,
            global: bits & Self::GLOBAL != 0,
        }
    }

    const fn bits(self) -> u16 {
        (if self.proxy { Self::PROXY } else { 0 })
            | (if self.ipv4_only { Self::IPV4_ONLY } else { 0 })
            | (if self.global { Self::GLOBAL } else { 0 })
    }
}

/// Binding Revocation Indication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation<'a> {
    /// Revocation Trigger: see [`trigger`].
    pub trigger: u8,
    /// Sequence #, which the acknowledgement copies.
    pub seq: u16,
    /// The flags.
    pub flags: RevocationFlags,
    /// Binding Identifier (type 35): the bindings that end, of several; none where all do.
    pub bids: Repeated<'a, Bid>,
    /// IPv4 home address (type 29); only with V.
    pub ipv4_hoa: Option<Ipv4HomeAddress>,
}

/// Binding Revocation Acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationAck<'a> {
    /// Outcome.
    pub status: RevocationStatus,
    /// Sequence # of the indication.
    pub seq: u16,
    /// Flags of the indication.
    pub flags: RevocationFlags,
    /// Binding Identifier (type 35): bindings whose revocation failed.
    pub bids: Repeated<'a, Bid>,
}

/// Status of a Binding Revocation Acknowledgement (RFC 5846 s.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RevocationStatus(pub u8);

codes! {
    RevocationStatus {
        /// Success.
        SUCCESS = 0,
        /// Partial success.
        PARTIAL = 1,
        /// Binding does not exist.
        NO_BINDING = 128,
        /// IPv4 home address option required.
        IPV4_HOA_REQUIRED = 129,
        /// Global revocation not authorized.
        GLOBAL_NOT_AUTHORIZED = 130,
        /// Revoked mobile node's identity required.
        IDENTITY_REQUIRED = 131,
        /// Revocation failed: the mobile node is attached.
        ATTACHED = 132,
        /// Revocation trigger not supported.
        TRIGGER_NOT_SUPPORTED = 133,
        /// Revocation function not supported.
        NOT_SUPPORTED = 134,
        /// Proxy binding revocation not supported.
        PROXY_NOT_SUPPORTED = 135,
    }
}

impl RevocationStatus {
    /// Whether the indication was processed.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 < 128
    }
}

/// Reads the Message Data of MH Type 16.
pub(super) fn parse(octets: &[u8]) -> Result<Message<'_>, MhError> {
    let (data, options) = Data::read_from_prefix(octets).map_err(|_| MhError::HeaderLen)?;
    walk(options)?;
    let (seq, flags) = (data.seq.get(), RevocationFlags::from_bits(data.flags.get()));
    let bids = Repeated::Wire(options);
    match data.revocation_type {
        INDICATION => Ok(Message::Revocation(Revocation {
            trigger: data.trigger_or_status,
            seq,
            flags,
            bids,
            ipv4_hoa: first(options, option_type::IPV4_HOA)?.map(Ipv4HomeAddress::parse),
        })),
        ACKNOWLEDGEMENT => Ok(Message::RevocationAck(RevocationAck {
            status: RevocationStatus(data.trigger_or_status),
            seq,
            flags,
            bids,
        })),
        _ => Err(MhError::UnknownType(mh_type::REVOCATION)),
    }
}

impl Revocation<'_> {
    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        emit_data(INDICATION, self.trigger, self.seq, self.flags, writer)?;
        if let Some(ipv4_hoa) = self.ipv4_hoa {
            ipv4_hoa.emit(writer)?;
        }
        self.bids.emit(writer)
    }
}

impl RevocationAck<'_> {
    pub(super) fn emit(&self, writer: &mut Writer<'_>) -> Option<()> {
        emit_data(ACKNOWLEDGEMENT, self.status.0, self.seq, self.flags, writer)?;
        self.bids.emit(writer)
    }
}

fn emit_data(
    revocation_type: u8,
    trigger_or_status: u8,
    seq: u16,
    flags: RevocationFlags,
    writer: &mut Writer<'_>,
) -> Option<()> {
    let (seq, flags) = (U16::new(seq), U16::new(flags.bits()));
    writer.put(Data { revocation_type, trigger_or_status, seq, flags }.as_bytes())
}
