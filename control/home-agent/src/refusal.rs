//! Why a packet is discarded without an answer: one name each, and the name is the counter's.

use hearth_wire::exthdr::ChainError;
use hearth_wire::mh::MhError;

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// Why a PType 8 packet is discarded without a Binding Acknowledgement.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Refusal {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The counter's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The sentence an operator reads.
            #[must_use]
            pub fn describe(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+
                }
            }
        }
    };
}

refusals! {
    /// The SA is not, or no longer, known here.
    UnknownSpi => "unknown_spi",
    /// The SA is superseded and carries data only.
    SupersededSa => "superseded_sa",
    /// The outer source is not a unicast address with a port (RFC 6275 s.9.5.4).
    OuterSource => "outer_source",
    /// An extension header runs past the end.
    ChainTruncated => "chain_truncated",
    /// A header that may not stand in front of a Mobility Header, an inner IP header say.
    ChainUnexpectedHeader => "chain_unexpected_header",
    /// A destination option that is unknown and says to discard (RFC 8200 s.4.2).
    ChainUnknownOption => "chain_unknown_option",
    /// A Home Address option or routing header that is malformed or stands twice.
    ChainMalformed => "chain_malformed",
    /// A type 2 routing header from a mobile node.
    ChainRoutingHeader => "chain_routing_header",
    /// The Home Address option holds no unicast routable address (RFC 6275 s.9.3.1).
    HomeAddressNotRoutable => "home_address_not_routable",
    /// The Home Address option is missing, and the mobile node is not at home de-registering
    ///
    HomeAddressMissing => "home_address_missing",
    /// The Home Address option names another address than the SA: a security event.
    HomeAddressForeign => "home_address_foreign",
    /// The Mobility Header is shorter than it says.
    MhTruncated => "mh_truncated",
    /// The Mobility Header's checksum is wrong.
    MhChecksum => "mh_checksum",
    /// Payload Proto is not 59 (RFC 6275 s.9.2).
    MhPayloadProto => "mh_payload_proto",
    /// Header Len is below the message's minimum (RFC 6275 s.9.2).
    MhHeaderLen => "mh_header_len",
    /// A mobility option is malformed.
    MhOption => "mh_option",
    /// The MH Type is unknown; a Binding Error was sent (RFC 6275 s.9.2).
    MhUnknownType => "mh_unknown_type",
    /// The MH Type is unknown, and the rate limit held the Binding Error back.
    MhUnknownTypeLimited => "mh_unknown_type_limited",
    /// A message that a home agent only sends, or that answers nothing outstanding.
    MhUnexpected => "mh_unexpected",
    /// More Heartbeats than are answered or noted a second.
    HeartbeatLimited => "heartbeat_limited",
    /// HoTI, CoTI, HoT or CoT: these are data, not signalling.
    MhReturnRoutability => "mh_return_routability",
    /// A Nonce Indices option in a home registration (RFC 6275 s.9.5.1).
    NonceIndices => "nonce_indices",
    /// H is 0 and there is no binding: a Binding Update for a correspondent (RFC 6275 s.9.5.1).
    NotHomeRegistration => "not_home_registration",
    /// The care-of address is not unicast routable (RFC 6275 s.6.1.7, R-36).
    CareOfAddressNotRoutable => "care_of_address_not_routable",
    /// A packet out of a tunnel for the home agent itself, without a binding.
    InnerWithoutBinding => "inner_without_binding",
    /// A packet out of a tunnel for the home agent itself that is malformed, or was forwarded.
    InnerMalformed => "inner_malformed",
    /// A packet out of a tunnel of which the home agent itself makes nothing.
    InnerUnexpected => "inner_unexpected",
    /// DHCP out of a tunnel: it is neither relayed nor served (RFC 6275 s.10.4.4).
    InnerDhcp => "inner_dhcp",
    /// A multicast membership report, and multicast is off or not the subscriber's.
    MulticastOff => "multicast_off",
    /// A mobile node wants to listen to more groups than it may.
    GroupsOfNode => "groups_of_node",
    /// There are as many multicast groups as there may be.
    GroupsTooMany => "groups_too_many",
    /// A multicast group has as many members as it may have.
    GroupFull => "group_full",
    /// A mobile node names more sources for a group than it may.
    GroupSources => "group_sources",
    /// The answer would be longer than a Mobility Header can be; nothing was sent.
    AnswerTooLong => "answer_too_long",
}

impl Refusal {
    /// The place of this one in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl From<ChainError> for Refusal {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Truncated => Self::ChainTruncated,
            ChainError::UnexpectedHeader(_) => Self::ChainUnexpectedHeader,
            ChainError::UnknownOption(_) => Self::ChainUnknownOption,
            ChainError::Malformed => Self::ChainMalformed,
        }
    }
}

impl From<MhError> for Refusal {
    fn from(error: MhError) -> Self {
        match error {
            MhError::Truncated => Self::MhTruncated,
            MhError::Checksum => Self::MhChecksum,
            MhError::PayloadProto => Self::MhPayloadProto,
            MhError::HeaderLen => Self::MhHeaderLen,
            MhError::UnknownType(_) => Self::MhUnknownType,
            MhError::Option => Self::MhOption,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_refusal_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
        for (index, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(refusal.index(), index);
            assert!(
                refusal
                    .name()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
            );
        }
    }
}
