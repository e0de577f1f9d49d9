//! Why a packet stopped: one closed enum, and the variant is the counter's name.
//!
//! A packet that stops anywhere in the dataplane is counted under exactly one reason. There is no
//! `Other`: a new way to stop is a new variant with a sentence of its own.

/// Declares the enum once, so that `ALL` and the words cannot drift from it: a variant without a cause
/// and a remedy does not compile.
macro_rules! drop_reasons {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident = $name:literal, cause: $cause:literal, remedy: $remedy:literal;
    )+) => {
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

            /// What most often brings it about.
            #[must_use]
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause,)+ }
            }

            /// What an operator can do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)+ }
            }
        }
    };
}

drop_reasons! {
    // Link and outer headers.
    /// The frame is shorter than its Ethernet header.
    EthernetShort = "ethernet_short",
        cause: "A faulty sender, cable or driver.",
        remedy: "Look at the port's error counters (`ethtool -S` on the other end); change cable or NIC.";
    /// The frame's destination is another station's MAC address.
    EthernetNotForUs = "ethernet_not_for_us",
        cause: "The port is promiscuous, or the switch floods frames for a station it has forgotten.",
        remedy: "None where it is small; else mend the switch's MAC table, or a duplicate route to another box.";
    /// The packet is spread over several buffers, and none is free that would hold it whole.
    MultiSegment = "multi_segment",
        cause: "Packet buffers run out: too little memory, or far more packets than can be carried.",
        remedy: "Raise tables.mbufs; see `hearth show workers` for one that is stuck or always busy.";
    /// The IP header is truncated, has a wrong version or a wrong header length.
    IpHeader = "ip_header",
        cause: "A broken sender, or somebody probing.",
        remedy: "Capture with --stage wire and look at the source; else none.";
    /// The IPv4 header checksum is wrong.
    Ipv4Checksum = "ipv4_checksum",
        cause: "A packet damaged on its way, or a sender that left the checksum to a NIC that has none.",
        remedy: "Switch transmit checksum offload off at that sender (`ethtool -K DEV tx off`, veth above all).";
    /// The IP length says more octets than the frame carries.
    IpLengthBeyondData = "ip_length_beyond_data",
        cause: "A packet cut on its way, or a broken sender.",
        remedy: "Compare the MTUs of both ends of the link.";
    /// The source address can't be a sender: multicast, loopback or unspecified.
    IpSource = "ip_source",
        cause: "A forged or broken sender.",
        remedy: "Filter it at the border; else none.";
    /// A fragment of an outer packet that can't be put together: broken headers, or too long a whole.
    OuterFragment = "outer_fragment",
        cause: "A broken sender or middlebox, or an attack by fragments.",
        remedy: "Capture with --stage wire and look at the source; lower the path's need for fragments (MTU).";
    /// A fragment of an outer packet that overlaps or doubles another, or is the ninth; its set goes.
    FragmentOverlap = "fragment_overlap",
        cause: "An attack, or a middlebox that sends fragments twice.",
        remedy: "None where it is rare; else find who duplicates by a capture with --stage wire.";
    /// More outer packets wait for their fragments than the table takes.
    FragmentTableFull = "fragment_table_full",
        cause: "A flood of fragments, or much traffic over a path whose MTU is too small.",
        remedy: "Find the source by a capture; have mobile nodes send smaller packets.";
    /// A fragment of an outer packet whose others did not come in time.
    FragmentTimeout = "fragment_timeout",
        cause: "A fragment was lost, or a firewall on the way passes first fragments only.",
        remedy: "Let fragments through on the path, or lower the mobile node's MTU.";
    /// An ICMP error about an outer packet that this home agent did not send, or that proves nothing.
    OuterErrorUnrelated = "outer_error_unrelated",
        cause: "A forged ICMP error, or one about a packet of long ago.",
        remedy: "None: it was not believed.";
    /// A Packet Too Big about an outer packet, with a path MTU that is known already.
    OuterErrorKnown = "outer_error_known",
        cause: "A router that repeats what has been heeded.",
        remedy: "None.";
    /// An ICMP error about an outer packet that quotes too little of it to say whose it was.
    OuterErrorTooShort = "outer_error_too_short",
        cause: "A router that quotes less than it should (RFC 4443 s.2.4, RFC 1812 s.4.3.2.3).",
        remedy: "None here; Packet Too Big is then found out by the mobile node's own probes or by its MTU.";
    /// More ICMP errors about outer packets than are looked at.
    OuterErrorLimited = "outer_error_limited",
        cause: "Many paths changed at once, or a flood of forged errors.",
        remedy: "None where it is short; else filter ICMP errors by rate at the border.";
    /// An outer packet to the service port behind IPv6 extension headers.
    OuterExtensionHeader = "outer_extension_header",
        cause: "A mobile node or middlebox puts extension headers in front of UDP; RFC 6618 has none there.",
        remedy: "Mend the sender.";
    /// The UDP header is truncated, or its length does not fit the IP packet.
    UdpLength = "udp_length",
        cause: "A packet cut on its way, or a broken sender.",
        remedy: "Capture with --stage wire and look at the source.";
    /// The outer UDP checksum is 0 over IPv6.
    UdpChecksumZero = "udp_checksum_zero",
        cause: "A sender, or a NAT64 or tunnel on the way, that leaves the checksum out over IPv6.",
        remedy: "Mend the sender; IPv6 wants the checksum (RFC 8200 s.8.1).";
    /// The outer UDP checksum of a PType 0 or 8 packet is wrong.
    UdpChecksum = "udp_checksum",
        cause: "A packet damaged on its way, or checksum offload of a veth that nobody completed.",
        remedy: "Switch transmit checksum offload off at the sender; look for a middlebox on the path.";

    // The envelope of RFC 6618 section 6, in the order of R-24.
    /// Fewer octets than PType, SPI and sequence number, or than IV, one block and ICV of the suite.
    FrameShort = "frame_short",
        cause: "Something else sends UDP to the service port: a scanner, or another protocol.",
        remedy: "None; filter the source if it is much.";
    /// The ciphertext is not a whole number of cipher blocks.
    FrameNotWholeBlocks = "frame_not_whole_blocks",
        cause: "A broken mobile node, or one that uses another suite than its SA names.",
        remedy: "Update the mobile node; compare its suite with `hearth show sas`.";
    /// PType is none of 0, 1 and 8 (RFC 6618 s.8.1).
    PtypeUnregistered = "ptype_unregistered",
        cause: "A scanner, another protocol on the port, or a newer mobile node.",
        remedy: "Capture with --stage wire and look at PType and source; mend or filter the sender.";
    /// PType 8 with SPI 0 (RFC 6618 s.6.1).
    SignallingSpiZero = "signalling_spi_zero",
        cause: "A broken mobile node, or a scanner.",
        remedy: "Mend the sender.";
    /// PType 1 with SPI 0 (RFC 6618 s.6.2).
    ProtectedSpiZero = "protected_spi_zero",
        cause: "A broken mobile node, or a scanner.",
        remedy: "Mend the sender.";
    /// PType 0 with an SPI that is not 0 (RFC 6618 s.6.4).
    PlainSpiNotZero = "plain_spi_not_zero",
        cause: "A broken mobile node, or a scanner.",
        remedy: "Mend the sender.";
    /// PType 0 with a sequence number that is not 0 (RFC 6618 s.6.4).
    PlainSequenceNotZero = "plain_sequence_not_zero",
        cause: "A broken mobile node, or a scanner.",
        remedy: "Mend the sender.";
    /// No SA has this SPI.
    SpiUnknown = "spi_unknown",
        cause: "The SA has ended or was revoked, the HAC's record has not come, or the state was lost.",
        remedy: "See `hearth show sas` and whether the directory is connected (log); else restart the mobile node.";
    /// PType 0 from a mobile node whose SA has scope 1.
    PlainDataForbidden = "plain_data_forbidden",
        cause: "The mobile node sends data in the clear although its SA protects data.",
        remedy: "Mend the mobile node's scope; it gets what the HAC's policy.scope says.";
    /// The sequence number was already accepted.
    Replayed = "replayed",
        cause: "A network that duplicates packets, or an attacker who repeats them.",
        remedy: "None where it is rare; else find who duplicates by a capture with --stage wire.";
    /// The sequence number is left of the replay window.
    ReplayTooOld = "replay_too_old",
        cause: "Packets overtake each other by more than the window: several paths, or a very long queue.",
        remedy: "Look for load sharing by packet on the path; have it share by flow.";
    /// The Integrity Check Value does not match.
    IcvMismatch = "icv_mismatch",
        cause: "A packet damaged or forged, or two ends with different keys.",
        remedy: "If one SPI has them all: `hearth reinit --spi N --now`; if many paths do, look at the network.";
    /// Pad Length is larger than what is left of the payload.
    PadLength = "pad_length",
        cause: "A mobile node with a fault: its ICV is right.",
        remedy: "Update the mobile node.";
    /// The padding octets are not 1, 2, 3, ....
    Padding = "padding",
        cause: "A mobile node with a fault: its ICV is right.",
        remedy: "Update the mobile node.";
    /// A dummy packet: PType 1 with next header 59 (RFC 4303 s.2.6).
    DummyPacket = "dummy_packet",
        cause: "The mobile node hides how much it sends.",
        remedy: "None: it is meant to be dropped.";
    /// The next header of a data packet is neither 4 nor 41.
    DataNextHeader = "data_next_header",
        cause: "A mobile node that puts something else than IP into data packets.",
        remedy: "Update the mobile node.";
    /// The next header of a PType 8 packet is no IPv6 extension header.
    SignallingNextHeader = "signalling_next_header",
        cause: "A mobile node that sends data as signalling, or puts an IP header inside.",
        remedy: "Update the mobile node.";

    // The inner packet.
    /// The inner packet's version nibble does not agree with the next header, or is neither 4 nor 6.
    InnerVersion = "inner_version",
        cause: "A mobile node with a fault.",
        remedy: "Update the mobile node.";
    /// The inner header is truncated, or the inner packet is shorter than its own length.
    InnerLength = "inner_length",
        cause: "A mobile node with a fault, or a host behind it that sends broken packets.",
        remedy: "Capture with --stage decrypted and look at the inner source.";
    /// The inner IPv4 header has a wrong length field or checksum.
    InnerHeader = "inner_header",
        cause: "A host behind the mobile node that sends broken IPv4 headers.",
        remedy: "Capture with --stage decrypted and look at the inner source.";
    /// No binding exists under which this SA's data may be carried.
    NoBinding = "no_binding",
        cause: "The binding has ended or was refused, and the mobile node goes on sending.",
        remedy: "See `hearth show bindings`; the mobile node registers again, or its status says why it can't.";
    /// PType 0 whose inner source is nobody's home address or network: its sender is unknown.
    PlainSenderUnknown = "plain_sender_unknown",
        cause: "A host without a binding sends in the clear, or its binding has ended.",
        remedy: "See `hearth show bindings`; let the mobile node register again.";
    /// PType 0 from another outer address or port than the binding's.
    PlainOuterSource = "plain_outer_source",
        cause: "The mobile node has moved, or its NAT has changed the port, and it has not registered yet.",
        remedy: "None where it is short; else give the mobile node shorter keep-alives behind its NAT.";
    /// The inner source is none of the addresses registered in the binding.
    InnerSource = "inner_source",
        cause: "A host behind the mobile node uses an address that was not registered.",
        remedy: "Give the subscriber the prefix in the HAC, or masquerade behind the mobile node.";
    /// Multicast or link-scope traffic out of the tunnel, which is never forwarded.
    InnerLinkScope = "inner_link_scope",
        cause: "Hosts behind the mobile node chat: mDNS, SSDP, router discovery.",
        remedy: "None; keep such traffic off the tunnel at the mobile node if it is much.";
    /// DHCP out of a tunnel, which nobody serves (RFC 6275 s.10.4.4).
    InnerDhcp = "inner_dhcp",
        cause: "The mobile node asks for an address by DHCP through its tunnel.",
        remedy: "Stop its DHCP client on the tunnel device; addresses come from the HAC.";
    /// A mobile node's membership report or prefix solicitation, beyond 20 a second or 100 at once.
    ReportLimit = "report_limit",
        cause: "A mobile node joins and leaves groups too fast, or has a fault.",
        remedy: "Find it by a capture with --stage decrypted; mend what joins and leaves.";
    /// A Mobility Header to the home agent inside a data packet; it must come as PType 8.
    EmbeddedMobilityHeader = "embedded_mobility_header",
        cause: "A mobile node that sends Binding Updates in data packets.",
        remedy: "Update the mobile node: they must come as PType 8.";
    /// An envelope inside a data packet: UDP to the service address and port, which nobody answers.
    EmbeddedEnvelope = "embedded_envelope",
        cause: "A mobile node that sends its tunnel through its tunnel.",
        remedy: "Exclude the home agent's address from its routes.";
    /// The outer header says Congestion Experienced but the inner packet can't carry it (RFC 6040).
    EcnNotCapable = "ecn_not_capable",
        cause: "A queue on the way is congested, and the sender inside does not know ECN.",
        remedy: "Look for the congested queue; for the sender it is a loss like any other.";

    // Forwarding and encapsulation.
    /// The hop limit or TTL ran out.
    HopLimit = "hop_limit",
        cause: "A loop of routes, or traceroute.",
        remedy: "Follow with `hearth trace`; compare the kernel's routes with those of the next router.";
    /// A link-local source or destination can't be forwarded (RFC 4291 s.2.5.6).
    LinkLocalForward = "link_local_forward",
        cause: "A host sends link-local packets to a router.",
        remedy: "None.";
    /// No route to the destination.
    NoRoute = "no_route",
        cause: "The kernel has no route to the destination over the ports.",
        remedy: "`ip route get` on this machine; add the route, or see that FRR runs. Routes go when hearthd ends.";
    /// The next hop's link-layer address could not be found (RFC 4861 s.7.2.2).
    NeighbourUnresolved = "neighbour_unresolved",
        cause: "The next hop is down, on another link, or does not answer ARP or Neighbour Solicitations.",
        remedy: "`ping` the next hop from this machine; look at cabling, VLAN and addresses of the port.";
    /// An address of a virtual home prefix that nobody has bound (RFC 6275 s.10.3.1).
    HomeAddressUnbound = "home_address_unbound",
        cause: "Somebody talks to a mobile node that is not registered.",
        remedy: "None; else see `hearth-mn status` at the mobile node.";
    /// A mobile node's link-local address, which is never tunnelled (RFC 6275 s.10.4.2).
    HomeLinkLocal = "home_link_local",
        cause: "A host on the home link talks to a mobile node's link-local address while it is away.",
        remedy: "None.";
    /// Somebody else on the link claims a bound home address; control has been told.
    AddressContested = "address_contested",
        cause: "Another host on the home link uses a mobile node's home address.",
        remedy: "Find its MAC address in the log and give that host another address.";
    /// To a home agents' anycast address, but no discovery request (RFC 6275 s.10.5.1).
    AnycastOther = "anycast_other",
        cause: "Somebody sends other things than discovery requests to the anycast address.",
        remedy: "None.";
    /// To the box itself, with a Home Address option and not out of a tunnel (RFC 6275 s.9.3.1).
    PlainHomeAddress = "plain_home_address",
        cause: "A Binding Update, or a packet for route optimisation, came to the box without its SA.",
        remedy: "None where it is a probe; else have the sender use its tunnel.";
    /// A copy of a group's packet for a mobile node that is not bound any more.
    GroupNoMember = "group_no_member",
        cause: "A mobile node's binding ended between two packets of a group.",
        remedy: "None.";
    /// A copy of a group's packet for which there was no buffer or no place in the queue.
    GroupCopies = "group_copies",
        cause: "A group with many members and much traffic, and buffers run out.",
        remedy: "Raise tables.mbufs; bound the members in YAML.";
    /// The packet is larger than the MTU of the port it would leave by, and must not be fragmented.
    PortMtu = "port_mtu",
        cause: "A packet larger than the next link, with DF; its sender was told by ICMP.",
        remedy: "Let ICMP through to the sender; compare the ports' mtu with the links'.";
    /// The inner packet is larger than the tunnel's MTU, and must not be fragmented.
    TunnelMtu = "tunnel_mtu",
        cause: "A packet larger than the tunnel, with DF; its sender was told by ICMP.",
        remedy: "Let ICMP through to the sender, or clamp TCP's MSS; else lower the sender's MTU.";
    /// The SA of the binding is gone, so that nothing may be sent under it.
    OutboundSaGone = "outbound_sa_gone",
        cause: "The SA ended before its binding did, or was revoked.",
        remedy: "None where it is short; else see `hearth show sas` and why the mobile node gets no new one.";
    /// All outbound sequence numbers of the SA are used; none is used twice.
    SequenceExhausted = "sequence_exhausted",
        cause: "The mobile node did not fetch a new SA in time although it was asked to.",
        remedy: "`hearth reinit --spi N --now`; see at the mobile node why it can't reach the HAC.";
    /// The SA's next outbound sequence numbers are not reserved against a restart yet.
    OutboundGrant = "outbound_grant",
        cause: "The disk with state.folder does not take what is written, or is very slow.",
        remedy: "Look at `state_write_failed` in `hearth show counters`, at the log, and at the disk.";
    /// A copy for another care-of address that could not be made: no buffer, or 64 in one turn.
    FlowCopies = "flow_copies",
        cause: "A flow bound to several care-of addresses, and buffers run out.",
        remedy: "Raise tables.mbufs, or bind the flow to one care-of address.";
    /// A tunnel inside a fourth one: mobile routers behind each other, or in a circle (NEM-11).
    NestedTooDeep = "nested_too_deep",
        cause: "Mobile routers behind each other more than four deep, or in a circle.",
        remedy: "Have the innermost ones use another access network.";
    /// No room in front of or behind the packet for the headers it needs.
    BufferRoom = "buffer_room",
        cause: "A packet with unusual headers in front.",
        remedy: "Report it with a capture with --stage wire.";
    /// No buffers for the fragments of a packet that is too large.
    FragmentBuffers = "fragment_buffers",
        cause: "Packet buffers run out.",
        remedy: "Raise tables.mbufs; see `hearth show workers`.";
    /// The crypto library refused or failed a job.
    CryptoFailed = "crypto_failed",
        cause: "The crypto library or device reported a fault.",
        remedy: "Look at the log; take `crypto:` out of the YAML to see whether the device does it. Report it.";
    /// The crypto device takes no more packets before some come out.
    CryptoDeviceFull = "crypto_device_full",
        cause: "More packets than the crypto device can do.",
        remedy: "Leave more SAs to the cores (`crypto:`), or add devices.";
    /// A worker that was lent the packet for its crypto did not give it back in time.
    HelperStalled = "helper_stalled",
        cause: "Something else runs on a worker's core: another process, an interrupt, a hypervisor.",
        remedy: "Isolate the cores (`hearth setup --check`); `hearth show workers` says which was stuck.";
    /// More 3DES packets than can wait for their share of a worker's time.
    TripleDesQueueFull = "triple_des_queue_full",
        cause: "3DES is far slower than the other suites.",
        remedy: "Give those mobile nodes AES suites (policy.suites of the HAC).";

    // Queues.
    /// The ring to the worker that owns the SA was full.
    HandoverRingFull = "handover_ring_full",
        cause: "The worker that owns the SA is overloaded or stuck.",
        remedy: "See `hearth show workers`; add workers, isolate their cores.";
    /// The ring of packets for the host was full.
    HostRingFull = "host_ring_full",
        cause: "More packets for the kernel than it takes: a flood to the box itself, or much ARP and ND.",
        remedy: "See what comes with `hearth trace`; filter it in front of the box.";
    /// The ring of signalling packets was full.
    SignallingRingFull = "signalling_ring_full",
        cause: "More Binding Updates at once than the control thread takes.",
        remedy: "None after a large outage: mobile nodes try again; else see the control core's load.";
    /// The port took no more packets.
    TxFull = "tx_full",
        cause: "The NIC sends slower than packets come: the link is full, or flow control stops it.",
        remedy: "Compare the rates of `hearth show ports` with the link's; switch pause frames off; a faster link.";
    /// A packet addressed to a port that does not exist.
    PortUnknown = "port_unknown",
        cause: "A route leads to a port that has just gone.",
        remedy: "None where it is short; else report it.";
    /// In flight when the worker stopped.
    Stopped = "stopped",
        cause: "hearthd was stopped.",
        remedy: "None.";
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
            for words in [reason.describe(), reason.cause(), reason.remedy()] {
                assert!(words.ends_with('.'), "{reason:?}: {words}");
            }
        }
    }
}
