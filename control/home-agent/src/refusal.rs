//! Why a packet is discarded without an answer: one name each, and the name is the counter's.

use hearth_wire::exthdr::ChainError;
use hearth_wire::mh::MhError;

macro_rules! refusals {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident => $name:literal, cause: $cause:literal, remedy: $remedy:literal;
    )+) => {
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

            /// What most often brings it about.
            #[must_use]
            pub const fn cause(self) -> &'static str {
                match self {
                    $(Self::$variant => $cause,)+
                }
            }

            /// What an operator can do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)+
                }
            }
        }
    };
}

refusals! {
    /// The SA is not, or no longer, known here.
    UnknownSpi => "unknown_spi",
        cause: "The SA ended, or was revoked, while the packet waited.",
        remedy: "None: the mobile node fetches a new SA.";
    /// The SA is superseded and carries data only.
    SupersededSa => "superseded_sa",
        cause: "The mobile node has a newer SA and still signals under the older one.",
        remedy: "None where it is rare; else update the mobile node.";
    /// The outer source is not a unicast address with a port (RFC 6275 s.9.5.4).
    OuterSource => "outer_source",
        cause: "A forged source address, or port 0.",
        remedy: "None.";
    /// An extension header runs past the end.
    ChainTruncated => "chain_truncated",
        cause: "A mobile node with a fault.",
        remedy: "Update the mobile node.";
    /// A header that may not stand in front of a Mobility Header, an inner IP header say.
    ChainUnexpectedHeader => "chain_unexpected_header",
        cause: "A mobile node that puts an IP header or data into signalling.",
        remedy: "Update the mobile node.";
    /// A destination option that is unknown and says to discard (RFC 8200 s.4.2).
    ChainUnknownOption => "chain_unknown_option",
        cause: "A mobile node that uses an option which this home agent does not know.",
        remedy: "Switch that feature off at the mobile node.";
    /// A Home Address option or routing header that is malformed or stands twice.
    ChainMalformed => "chain_malformed",
        cause: "A mobile node with a fault.",
        remedy: "Update the mobile node.";
    /// A type 2 routing header from a mobile node.
    ChainRoutingHeader => "chain_routing_header",
        cause: "A mobile node with a fault.",
        remedy: "Update the mobile node.";
    /// The Home Address option holds no unicast routable address (RFC 6275 s.9.3.1).
    HomeAddressNotRoutable => "home_address_not_routable",
        cause: "A mobile node that names a link-local or multicast home address.",
        remedy: "Correct the home address of the mobile node.";
    /// The Home Address option is missing, and the mobile node is not at home de-registering
    ///
    HomeAddressMissing => "home_address_missing",
        cause: "A mobile node that leaves the Home Address option out, or thinks that it is at home.",
        remedy: "Update the mobile node; see where it believes its home link to be.";
    /// The Home Address option names another address than the SA: a security event.
    HomeAddressForeign => "home_address_foreign",
        cause: "A mobile node tries to register an address that is not its own: an attack or a mix-up.",
        remedy: "Find its mn-id by the SPI in the log; `hearth hac revoke --mn-id ID` where it is an attack.";
    /// The Mobility Header is shorter than it says.
    MhTruncated => "mh_truncated",
        cause: "A mobile node with a fault.",
        remedy: "Update the mobile node.";
    /// The Mobility Header's checksum is wrong.
    MhChecksum => "mh_checksum",
        cause: "A mobile node that computes the checksum over other addresses than R-30 says.",
        remedy: "Update the mobile node, or check which home agent address it was given.";
    /// Payload Proto is not 59 (RFC 6275 s.9.2).
    MhPayloadProto => "mh_payload_proto",
        cause: "A mobile node with a fault.",
        remedy: "Update the mobile node.";
    /// Header Len is below the message's minimum (RFC 6275 s.9.2).
    MhHeaderLen => "mh_header_len",
        cause: "A mobile node with a fault.",
        remedy: "Update the mobile node.";
    /// A mobility option is malformed.
    MhOption => "mh_option",
        cause: "A mobile node with a fault.",
        remedy: "Update the mobile node.";
    /// The MH Type is unknown; a Binding Error was sent (RFC 6275 s.9.2).
    MhUnknownType => "mh_unknown_type",
        cause: "A mobile node that uses a message which this home agent does not know.",
        remedy: "Switch that feature off at the mobile node.";
    /// The MH Type is unknown, and the rate limit held the Binding Error back.
    MhUnknownTypeLimited => "mh_unknown_type_limited",
        cause: "The same, and often.",
        remedy: "Switch that feature off at the mobile node.";
    /// A message that a home agent only sends, or that answers nothing outstanding.
    MhUnexpected => "mh_unexpected",
        cause: "An answer that came too late or twice, or a mobile node with a fault.",
        remedy: "None where it is rare.";
    /// More Heartbeats than are answered or noted a second.
    HeartbeatLimited => "heartbeat_limited",
        cause: "A mobile node that sends Heartbeats too often.",
        remedy: "Lengthen its interval.";
    /// HoTI, CoTI, HoT or CoT: these are data, not signalling.
    MhReturnRoutability => "mh_return_routability",
        cause: "A mobile node that sends HoTI or CoTI as signalling.",
        remedy: "Update the mobile node: they are data (R-29).";
    /// A Nonce Indices option in a home registration (RFC 6275 s.9.5.1).
    NonceIndices => "nonce_indices",
        cause: "A mobile node that sends the home agent what is for a correspondent.",
        remedy: "Update the mobile node.";
    /// H is 0 and there is no binding: a Binding Update for a correspondent (RFC 6275 s.9.5.1).
    NotHomeRegistration => "not_home_registration",
        cause: "A mobile node that takes the home agent for a correspondent.",
        remedy: "Update the mobile node, or exclude the home agent from its route optimisation.";
    /// The care-of address is not unicast routable (RFC 6275 s.6.1.7, R-36).
    CareOfAddressNotRoutable => "care_of_address_not_routable",
        cause: "A mobile node that registered before it had a global address.",
        remedy: "None where it is rare; else see its addresses in `hearth-mn status`.";
    /// A packet out of a tunnel for the home agent itself, without a binding.
    InnerWithoutBinding => "inner_without_binding",
        cause: "The binding ended, and the mobile node goes on.",
        remedy: "None: it registers again.";
    /// A packet out of a tunnel for the home agent itself that is malformed, or was forwarded.
    InnerMalformed => "inner_malformed",
        cause: "A mobile node with a fault.",
        remedy: "Update the mobile node.";
    /// A packet out of a tunnel of which the home agent itself makes nothing.
    InnerUnexpected => "inner_unexpected",
        cause: "A mobile node talks to the home agent's address through its tunnel.",
        remedy: "None; `hearth trace --mn-id ID` shows what it is.";
    /// DHCP out of a tunnel: it is neither relayed nor served (RFC 6275 s.10.4.4).
    InnerDhcp => "inner_dhcp",
        cause: "The mobile node asks for an address by DHCP through its tunnel.",
        remedy: "Stop its DHCP client on the tunnel device; addresses come from the HAC.";
    /// A multicast membership report, and multicast is off or not the subscriber's.
    MulticastOff => "multicast_off",
        cause: "A mobile node joins a group, and may not.",
        remedy: "Set multicast for the subscriber in the HAC, and on in hearthd's YAML, if it shall.";
    /// A mobile node wants to listen to more groups than it may.
    GroupsOfNode => "groups_of_node",
        cause: "One mobile node listens to very many groups.",
        remedy: "Raise the limit in hearthd's YAML, or mend the mobile node.";
    /// There are as many multicast groups as there may be.
    GroupsTooMany => "groups_too_many",
        cause: "All mobile nodes together listen to very many groups.",
        remedy: "Raise the limit in hearthd's YAML.";
    /// A multicast group has as many members as it may have.
    GroupFull => "group_full",
        cause: "A group with very many members.",
        remedy: "Raise the limit in hearthd's YAML.";
    /// A mobile node names more sources for a group than it may.
    GroupSources => "group_sources",
        cause: "A mobile node asks for many sources of one group.",
        remedy: "Mend the application, or let it ask for any source.";
    /// The answer would be longer than a Mobility Header can be; nothing was sent.
    AnswerTooLong => "answer_too_long",
        cause: "A mobile node registers more prefixes, care-of addresses and flows than an answer can name.",
        remedy: "Register fewer at a time.";
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
            for words in [refusal.describe(), refusal.cause(), refusal.remedy()] {
                assert!(words.ends_with('.'), "{refusal:?}: {words}");
            }
            assert!(
                refusal
                    .name()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
            );
        }
    }
}
