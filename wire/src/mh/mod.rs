//! Mobility Header messages.
//!
//! Read first: RFC 6275 s.6.1, 6.2, 9.2; RFC 5555 s.3; RFC 3963 s.4; RFC 5648 s.4; RFC 6089 s.4;
//! RFC 5142 s.4; RFC 5846 s.5; RFC 5847 s.4; readings R-29, R-30, R-37.
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

/// Names the codes of a status once, so that `ALL` has them all.
macro_rules! codes {
    ($status:ident { $($(#[$doc:meta])+ $name:ident = $code:literal,)+ }) => {
        impl $status {
            $($(#[$doc])+ pub const $name: Self = Self($code);)+

            /// All that have a name here.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

pub mod authorization;
mod bid;
mod flow;
mod heartbeat;
#[cfg(test)]
mod operation_tests;
pub mod option;
mod prefix;
pub mod repeated;
#[cfg(test)]
mod repeated_tests;
mod return_routability;
mod revocation;
pub mod selector;
mod selector_text;
pub mod status;
mod switch;
#[cfg(test)]
mod tests;
mod wire;
pub(crate) mod writer;

pub use crate::addresses::Addresses;
pub use authorization::{Authorization, authorization, emit_authorized};
pub use bid::{Bid, MalformedBid};
pub use flow::{Flow, FlowStatus, FlowSummary, MalformedFlow, MalformedSummary, Selector};
pub use heartbeat::Heartbeat;
pub use prefix::{MalformedPrefix, MobileNetworkPrefix};
pub use repeated::{Ids, Repeated, RepeatedOption};
pub use return_routability::{KeygenToken, ReturnRoutability, TestedAddress};
pub use revocation::{Revocation, RevocationAck, RevocationFlags, RevocationStatus, trigger};
pub use selector::TrafficSelector;
pub use status::{Ipv4AckStatus, Status};
pub use switch::HomeAgentSwitch;
pub use wire::{emit, parse};

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
    /// Home Agent Switch (RFC 5142).
    pub const HOME_AGENT_SWITCH: u8 = 12;
    /// Heartbeat (RFC 5847).
    pub const HEARTBEAT: u8 = 13;
    /// Binding Revocation, Indication or Acknowledgement (RFC 5846).
    pub const REVOCATION: u8 = 16;
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
    /// The MH Type, or the Binding Revocation Type behind type 16, is unknown: answered by a
    /// Binding Error, status 2 (RFC 6275 s.9.2).
    UnknownType(u8),
    /// A mobility option runs past the end, or has a length its type can't have. Options that may
    /// stand several times are judged one by one: see [`repeated`].
    Option,
}

/// A Mobility Header message, its options read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// MH Type 0.
    BindingRefreshRequest {
        /// The bindings to be refreshed, of several (RFC 5648 s.4.3); none where there is one only.
        bids: Repeated<'a, Bid>,
    },
    /// MH Type 5.
    BindingUpdate(BindingUpdate<'a>),
    /// MH Type 6.
    BindingAck(BindingAck<'a>),
    /// MH Type 7.
    BindingError(BindingError),
    /// MH Type 12.
    HomeAgentSwitch(HomeAgentSwitch<'a>),
    /// MH Type 13.
    Heartbeat(Heartbeat),
    /// MH Type 16, Binding Revocation Type 1.
    Revocation(Revocation<'a>),
    /// MH Type 16, Binding Revocation Type 2.
    RevocationAck(RevocationAck<'a>),
    /// HoTI, CoTI, HoT, CoT: data between MN and HA (RFC 6618 s.6.3).
    ReturnRoutability(ReturnRoutability<'a>),
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
    /// O: the bindings of this BU replace all others (RFC 5648 s.4.2).
    pub overwrite: bool,
}

/// Mobility options of a Binding Update. Of an option that may stand once, the first one counts
/// (MHP-09).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BuOptions<'a> {
    /// Alternate Care-of Address (type 3).
    pub alternate_coa: Option<Ipv6Addr>,
    /// Nonce Indices (type 4); only for correspondents (REG-26).
    pub nonce_indices: Option<NonceIndices>,
    /// Mobile Node Identifier (type 8): subtype and octets (RFC 4283).
    pub mn_id: Option<(u8, &'a [u8])>,
    /// IPv4 home address (type 29).
    pub ipv4_hoa: Option<Ipv4HomeAddress>,
    /// IPv4 care-of address (type 32).
    pub ipv4_coa: Option<Ipv4Addr>,
    /// Mobility Header Link-Layer Address (type 7, RFC 5568): the mobile node's address on the home
    /// link, of a length of that link's (RFC 5648 s.5.6).
    pub link_layer: Option<&'a [u8]>,
    /// Mobile Network Prefix (type 6).
    pub prefixes: Repeated<'a, MobileNetworkPrefix>,
    /// Binding Identifier (type 35).
    pub bids: Repeated<'a, Bid>,
    /// Flow Identification (type 45).
    pub flows: Repeated<'a, Flow<'a>>,
    /// Flow Summary (type 44).
    pub flow_summaries: Repeated<'a, FlowSummary<'a>>,
}

/// Nonce Indices option (RFC 6275 s.6.2.6): which nonces of the correspondent made its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NonceIndices {
    /// Home Nonce Index.
    pub home: u16,
    /// Care-of Nonce Index; ignored where a binding is deleted.
    pub care_of: u16,
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
    /// Binding Identifier (type 35).
    pub bids: Repeated<'a, Bid>,
    /// Flow Identification (type 45).
    pub flows: Repeated<'a, Flow<'a>>,
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
