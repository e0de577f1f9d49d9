//! Why a packet stopped: one closed enum, and the variant is the counter's name.
//!
//! A packet that stops anywhere in the dataplane is counted under exactly one reason. There is no
//! `Other`: a new way to stop is a new variant with a sentence of its own.

/// Declares the enum once, so that `ALL`, `name` and `describe` cannot drift from it.
macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a packet stopped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(usize)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DropReason {
            /// Every reason, in the order of a packet's path.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The counter's name in the CLI and in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The sentence an operator reads.
            #[must_use]
            pub fn describe(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

drop_reasons! {
    // Link and outer headers.
    /// The frame is shorter than its Ethernet header.
    EthernetShort = "ethernet_short",
    /// The frame's destination is another station's MAC address.
    EthernetNotForUs = "ethernet_not_for_us",
    /// The packet is spread over several buffers, and none is free that would hold it whole.
    MultiSegment = "multi_segment",
    /// The IP header is truncated, has a wrong version or a wrong header length.
    IpHeader = "ip_header",
    /// The IPv4 header checksum is wrong.
    Ipv4Checksum = "ipv4_checksum",
    /// The IP length says more octets than the frame carries.
    IpLengthBeyondData = "ip_length_beyond_data",
    /// The source address can't be a sender: multicast, loopback or unspecified.
    IpSource = "ip_source",
    /// A fragment of an outer packet that can't be put together: broken headers, or too long a whole.
    OuterFragment = "outer_fragment",
    /// A fragment of an outer packet that overlaps or doubles another, or is the ninth; its set goes.
    FragmentOverlap = "fragment_overlap",
    /// More outer packets wait for their fragments than the table takes.
    FragmentTableFull = "fragment_table_full",
    /// A fragment of an outer packet whose others did not come in time.
    FragmentTimeout = "fragment_timeout",
    /// An ICMP error about an outer packet that this home agent did not send, or that proves nothing.
    OuterErrorUnrelated = "outer_error_unrelated",
    /// A Packet Too Big about an outer packet, with a path MTU that is known already.
    OuterErrorKnown = "outer_error_known",
    /// An ICMP error about an outer packet that quotes too little of it to say whose it was.
    OuterErrorTooShort = "outer_error_too_short",
    /// More ICMP errors about outer packets than are looked at.
    OuterErrorLimited = "outer_error_limited",
    /// An outer packet to the service port behind IPv6 extension headers.
    OuterExtensionHeader = "outer_extension_header",
    /// The UDP header is truncated, or its length does not fit the IP packet.
    UdpLength = "udp_length",
    /// The outer UDP checksum is 0 over IPv6.
    UdpChecksumZero = "udp_checksum_zero",
    /// The outer UDP checksum of a PType 0 or 8 packet is wrong.
    UdpChecksum = "udp_checksum",

    // The envelope of RFC 6618 section 6, in the order of R-24.
    /// Fewer octets than PType, SPI and sequence number, or than IV, one block and ICV of the suite.
    FrameShort = "frame_short",
    /// The ciphertext is not a whole number of cipher blocks.
    FrameNotWholeBlocks = "frame_not_whole_blocks",
    /// PType is none of 0, 1 and 8 (RFC 6618 s.8.1).
    PtypeUnregistered = "ptype_unregistered",
    /// PType 8 with SPI 0 (RFC 6618 s.6.1).
    SignallingSpiZero = "signalling_spi_zero",
    /// PType 1 with SPI 0 (RFC 6618 s.6.2).
    ProtectedSpiZero = "protected_spi_zero",
    /// PType 0 with an SPI that is not 0 (RFC 6618 s.6.4).
    PlainSpiNotZero = "plain_spi_not_zero",
    /// PType 0 with a sequence number that is not 0 (RFC 6618 s.6.4).
    PlainSequenceNotZero = "plain_sequence_not_zero",
    /// No SA has this SPI.
    SpiUnknown = "spi_unknown",
    /// PType 0 from a mobile node whose SA has scope 1.
    PlainDataForbidden = "plain_data_forbidden",
    /// The sequence number was already accepted.
    Replayed = "replayed",
    /// The sequence number is left of the replay window.
    ReplayTooOld = "replay_too_old",
    /// The Integrity Check Value does not match.
    IcvMismatch = "icv_mismatch",
    /// Pad Length is larger than what is left of the payload.
    PadLength = "pad_length",
    /// The padding octets are not 1, 2, 3, ....
    Padding = "padding",
    /// A dummy packet: PType 1 with next header 59 (RFC 4303 s.2.6).
    DummyPacket = "dummy_packet",
    /// The next header of a data packet is neither 4 nor 41.
    DataNextHeader = "data_next_header",
    /// The next header of a PType 8 packet is no IPv6 extension header.
    SignallingNextHeader = "signalling_next_header",

    // The inner packet.
    /// The inner packet's version nibble does not agree with the next header, or is neither 4 nor 6.
    InnerVersion = "inner_version",
    /// The inner header is truncated, or the inner packet is shorter than its own length.
    InnerLength = "inner_length",
    /// The inner IPv4 header has a wrong length field or checksum.
    InnerHeader = "inner_header",
    /// No binding exists under which this SA's data may be carried.
    NoBinding = "no_binding",
    /// PType 0 whose inner source is nobody's home address or network: its sender is unknown.
    PlainSenderUnknown = "plain_sender_unknown",
    /// PType 0 from another outer address or port than the binding's.
    PlainOuterSource = "plain_outer_source",
    /// The inner source is none of the addresses registered in the binding.
    InnerSource = "inner_source",
    /// Multicast or link-scope traffic out of the tunnel, which is never forwarded.
    InnerLinkScope = "inner_link_scope",
    /// DHCP out of a tunnel, which nobody serves (RFC 6275 s.10.4.4).
    InnerDhcp = "inner_dhcp",
    /// A mobile node's membership report or prefix solicitation, beyond 20 a second or 100 at once.
    ReportLimit = "report_limit",
    /// A Mobility Header to the home agent inside a data packet; it must come as PType 8.
    EmbeddedMobilityHeader = "embedded_mobility_header",
    /// An envelope inside a data packet: UDP to the service address and port, which nobody answers.
    EmbeddedEnvelope = "embedded_envelope",
    /// The outer header says Congestion Experienced but the inner packet can't carry it (RFC 6040).
    EcnNotCapable = "ecn_not_capable",

    // Forwarding and encapsulation.
    /// The hop limit or TTL ran out.
    HopLimit = "hop_limit",
    /// A link-local source or destination can't be forwarded (RFC 4291 s.2.5.6).
    LinkLocalForward = "link_local_forward",
    /// No route to the destination.
    NoRoute = "no_route",
    /// The next hop's link-layer address could not be found (RFC 4861 s.7.2.2).
    NeighbourUnresolved = "neighbour_unresolved",
    /// An address of a virtual home prefix that nobody has bound (RFC 6275 s.10.3.1).
    HomeAddressUnbound = "home_address_unbound",
    /// A mobile node's link-local address, which is never tunnelled (RFC 6275 s.10.4.2).
    HomeLinkLocal = "home_link_local",
    /// Somebody else on the link claims a bound home address; control has been told.
    AddressContested = "address_contested",
    /// To a home agents' anycast address, but no discovery request (RFC 6275 s.10.5.1).
    AnycastOther = "anycast_other",
    /// To the box itself, with a Home Address option and not out of a tunnel (RFC 6275 s.9.3.1).
    PlainHomeAddress = "plain_home_address",
    /// A copy of a group's packet for a mobile node that is not bound any more.
    GroupNoMember = "group_no_member",
    /// A copy of a group's packet for which there was no buffer or no place in the queue.
    GroupCopies = "group_copies",
    /// The packet is larger than the MTU of the port it would leave by, and must not be fragmented.
    PortMtu = "port_mtu",
    /// The inner packet is larger than the tunnel's MTU, and must not be fragmented.
    TunnelMtu = "tunnel_mtu",
    /// The SA of the binding is gone, so that nothing may be sent under it.
    OutboundSaGone = "outbound_sa_gone",
    /// All outbound sequence numbers of the SA are used; none is used twice.
    SequenceExhausted = "sequence_exhausted",
    /// The SA's next outbound sequence numbers are not reserved against a restart yet.
    OutboundGrant = "outbound_grant",
    /// A copy for another care-of address that could not be made: no buffer, or 64 in one turn.
    FlowCopies = "flow_copies",
    /// A tunnel inside a fourth one: mobile routers behind each other, or in a circle (NEM-11).
    NestedTooDeep = "nested_too_deep",
    /// No room in front of or behind the packet for the headers it needs.
    BufferRoom = "buffer_room",
    /// No buffers for the fragments of a packet that is too large.
    FragmentBuffers = "fragment_buffers",
    /// The crypto library refused or failed a job.
    CryptoFailed = "crypto_failed",
    /// The crypto device takes no more packets before some come out.
    CryptoDeviceFull = "crypto_device_full",
    /// A worker that was lent the packet for its crypto did not give it back in time.
    HelperStalled = "helper_stalled",
    /// More 3DES packets than can wait for their share of a worker's time.
    TripleDesQueueFull = "triple_des_queue_full",

    // Queues.
    /// The ring to the worker that owns the SA was full.
    HandoverRingFull = "handover_ring_full",
    /// The ring of packets for the host was full.
    HostRingFull = "host_ring_full",
    /// The ring of signalling packets was full.
    SignallingRingFull = "signalling_ring_full",
    /// The port took no more packets.
    TxFull = "tx_full",
    /// A packet addressed to a port that does not exist.
    PortUnknown = "port_unknown",
    /// In flight when the worker stopped.
    Stopped = "stopped",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// `EthernetShort` -> `ethernet_short`.
    fn snake(variant: &str) -> String {
        let mut name = String::new();
        for c in variant.chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }

    #[test]
    fn the_variant_is_the_counter() {
        let mut names = HashSet::new();
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert_eq!(reason.name(), snake(&format!("{reason:?}")));
            assert!(names.insert(reason.name()));
            assert!(reason.describe().ends_with('.'), "{reason:?}");
        }
    }
}
