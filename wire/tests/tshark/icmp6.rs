//! ICMPv6 messages read by tshark, checksums and checks of its own included (RFC 4861 s.4, RFC 6275
//! s.6.5 to 6.8, 7, RFC 3963 s.7).

use core::net::Ipv6Addr;

use hearth_wire::addresses::Addresses;
use hearth_wire::icmp6::{
    self, HomeAgentDiscoveryReply, HomeAgentDiscoveryRequest, HomeAgentInformation, Message,
    MobilePrefixAdvertisement, MobilePrefixSolicitation, NeighbourAdvertisement, PrefixInformation,
    Prefixes, RouterAdvertisement,
};

use crate::{HA, HOA, check, ipv6_frame};

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn frame(source: Ipv6Addr, destination: Ipv6Addr, message: &Message<'_>) -> Vec<u8> {
    let mut out = [0; 512];
    let len = icmp6::emit(message, source, destination, &mut out).unwrap();
    ipv6_frame((source, destination), icmp6::PROTO, icmp6::HOP_LIMIT, &out[..len])
}

#[test]
fn home_link() {
    let prefixes = [PrefixInformation {
        prefix: HA,
        len: 64,
        on_link: true,
        autonomous: false,
        router_address: true,
        valid: 7200,
        preferred: 3600,
    }];
    let prefixes = Prefixes::List(&prefixes);
    let advertisement = RouterAdvertisement {
        hop_limit: 64,
        home_agent: true,
        router_lifetime: 1800,
        advertisement_interval: Some(4000),
        home_agent_information: Some(HomeAgentInformation {
            mobile_routers: true,
            preference: 5,
            lifetime: 600,
        }),
        prefixes,
        ..RouterAdvertisement::default()
    };
    let proxy = NeighbourAdvertisement {
        router: false,
        solicited: false,
        overrides: true,
        target: HOA,
        target_link_layer: Some([2, 0, 0, 0, 0, 1]),
    };
    let addresses = [HA, HOA];
    let request = HomeAgentDiscoveryRequest { id: 4660, mobile_routers: true };
    let addresses = Addresses::List(&addresses);
    let reply = HomeAgentDiscoveryReply { id: 4660, mobile_routers: true, addresses };
    let solicitation = MobilePrefixSolicitation { id: 22136 };
    let mpa = MobilePrefixAdvertisement { id: 22136, managed: true, other: false, prefixes };
    let frames = [
        frame(ROUTER, ALL_NODES, &Message::RouterAdvertisement(advertisement)),
        frame(HA, ALL_NODES, &Message::NeighbourAdvertisement(proxy)),
        frame(HOA, HA, &Message::HomeAgentDiscoveryRequest(request)),
        frame(HA, HOA, &Message::HomeAgentDiscoveryReply(reply)),
        frame(HOA, HA, &Message::MobilePrefixSolicitation(solicitation)),
        frame(HA, HOA, &Message::MobilePrefixAdvertisement(mpa)),
    ];
    check("icmp6", &frames, &EXPECTED);
}

/// tshark shows R of RFC 3963 as reserved and the home agent's lifetime as a second preference.
const EXPECTED: [&str; 38] = [
    "Type: Router Advertisement (134)",
    "[Checksum Status: Good]",
    "Cur hop limit: 64",
    "Flags: 0x20, Home Agent, Prf (Default Router Preference): Medium",
    "Router lifetime (s): 1800",
    "ICMPv6 Option (Advertisement Interval : 4000)",
    "ICMPv6 Option (Home Agent Information)",
    "Home Agent Preference: 5",
    "Home Agent Preference: 600",
    "ICMPv6 Option (Prefix information : 2001:db8:1::1/64)",
    "Flag: 0xa0, On-link flag(L), Router address flag(R)",
    "Valid Lifetime: 7200",
    "Preferred Lifetime: 3600",
    "Prefix: 2001:db8:1::1",
    "Type: Neighbor Advertisement (136)",
    "[Checksum Status: Good]",
    "Flags: 0x20000000, Override",
    "Target Address: 2001:db8:1::10",
    "ICMPv6 Option (Target link-layer address : 02:00:00:00:00:01)",
    "Type: Home Agent Address Discovery Request (144)",
    "[Checksum Status: Good]",
    "Identifier: 4660 (0x1234)",
    "Reserved: 8000",
    "Type: Home Agent Address Discovery Reply (145)",
    "[Checksum Status: Good]",
    "Identifier: 4660 (0x1234)",
    "Reserved: 8000",
    "Home Agent Address: 2001:db8:1::1",
    "Home Agent Address: 2001:db8:1::10",
    "Type: Mobile Prefix Solicitation (146)",
    "[Checksum Status: Good]",
    "Identifier: 22136 (0x5678)",
    "Type: Mobile Prefix Advertisement (147)",
    "[Checksum Status: Good]",
    "Identifier: 22136 (0x5678)",
    "Flags: 0x8000, Managed address configuration",
    "ICMPv6 Option (Prefix information : 2001:db8:1::1/64)",
    "Prefix: 2001:db8:1::1",
];
