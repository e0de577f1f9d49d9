//! ICMPv6 messages that Scapy builds, read by us, and the same octets written by us (RFC 4861 s.4,
//! RFC 6275 s.6.5 to 6.8, 7, RFC 2710 s.3, RFC 3810 s.5).

use core::net::Ipv6Addr;

use hearth_wire::addresses::Addresses;
use hearth_wire::group::{GroupRecord, GroupRecords, RecordType, SourceQuery};
use hearth_wire::icmp6::{
    self, Envelope, HomeAgentDiscoveryReply, HomeAgentDiscoveryRequest, HomeAgentInformation,
    ListenerQuery, Message, MobilePrefixAdvertisement, MobilePrefixSolicitation,
    NeighbourAdvertisement, NeighbourSolicitation, PrefixInformation, Prefixes,
    RouterAdvertisement, RouterSolicitation,
};
use hearth_wire::ip::Ipv6Header;

use crate::{HA, HOA, built};

const MAC: Option<[u8; 6]> = Some([2, 0, 0, 0, 0, 1]);

const PREFIXES: [PrefixInformation; 2] = [
    PrefixInformation {
        prefix: HA,
        len: 64,
        on_link: true,
        autonomous: true,
        router_address: true,
        valid: 7200,
        preferred: 3600,
    },
    PrefixInformation {
        prefix: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        len: 56,
        on_link: false,
        autonomous: false,
        router_address: false,
        valid: icmp6::option::INFINITE,
        preferred: 0,
    },
];

const ADDRESSES: [Ipv6Addr; 2] = [HA, HOA];

const GROUP: Ipv6Addr = Ipv6Addr::new(0xff3e, 0, 0, 0, 0, 0, 0, 7);

const RECORDS: [GroupRecord<'static, Ipv6Addr>; 2] = [
    GroupRecord {
        record_type: RecordType::TO_EXCLUDE,
        group: GROUP,
        sources: Addresses::List(&[]),
    },
    GroupRecord {
        record_type: RecordType::ALLOW_NEW_SOURCES,
        group: Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 8),
        sources: Addresses::List(&ADDRESSES),
    },
];

fn expected(name: &str) -> Message<'static> {
    match name {
        "rs" => Message::RouterSolicitation(RouterSolicitation { source_link_layer: MAC }),
        "ra" => Message::RouterAdvertisement(RouterAdvertisement {
            hop_limit: 64,
            managed: false,
            other: true,
            home_agent: true,
            router_lifetime: 1800,
            reachable_time: 7,
            retrans_timer: 8,
            source_link_layer: MAC,
            mtu: Some(1400),
            advertisement_interval: Some(4000),
            home_agent_information: Some(HomeAgentInformation {
                mobile_routers: false,
                preference: 5,
                lifetime: 600,
            }),
            prefixes: Prefixes::List(&PREFIXES),
        }),
        "dad" => Message::NeighbourSolicitation(NeighbourSolicitation {
            target: HOA,
            source_link_layer: None,
        }),
        "ns" => Message::NeighbourSolicitation(NeighbourSolicitation {
            target: HOA,
            source_link_layer: MAC,
        }),
        "na" => Message::NeighbourAdvertisement(NeighbourAdvertisement {
            router: false,
            solicited: false,
            overrides: true,
            target: HOA,
            target_link_layer: Some([2, 0, 0, 0, 0, 2]),
        }),
        "dhaad-request" => Message::HomeAgentDiscoveryRequest(HomeAgentDiscoveryRequest {
            id: 0x1234,
            mobile_routers: true,
        }),
        "dhaad-reply" => Message::HomeAgentDiscoveryReply(HomeAgentDiscoveryReply {
            id: 0x1234,
            mobile_routers: true,
            addresses: Addresses::List(&ADDRESSES),
        }),
        "mps" => Message::MobilePrefixSolicitation(MobilePrefixSolicitation { id: 0x4321 }),
        "mpa" => Message::MobilePrefixAdvertisement(MobilePrefixAdvertisement {
            id: 0x4321,
            managed: true,
            other: false,
            prefixes: Prefixes::List(&PREFIXES),
        }),
        other => listener_message(other),
    }
}

fn listener_message(name: &str) -> Message<'static> {
    match name {
        "mld-query" => Message::ListenerQuery(ListenerQuery {
            max_response_code: 10_000,
            group: Ipv6Addr::UNSPECIFIED,
            v2: None,
        }),
        "mld-query-v2" => Message::ListenerQuery(ListenerQuery {
            max_response_code: 1000,
            group: GROUP,
            v2: Some(SourceQuery {
                suppress: true,
                robustness: 2,
                interval_code: 125,
                sources: Addresses::List(&ADDRESSES),
            }),
        }),
        "mld-report" => Message::ListenerReportV1(GROUP),
        "mld-done" => Message::ListenerDone(GROUP),
        "mld-report-v2" => Message::ListenerReportV2(GroupRecords::List(&RECORDS)),
        other => panic!("{other}"),
    }
}

#[test]
fn we_read_and_write_what_scapy_builds() {
    let packets = built("icmp6.py");
    assert_eq!(packets.len(), 14);
    for (name, octets) in packets {
        let (header, payload) = Ipv6Header::parse(&octets).unwrap();
        assert_eq!(header.next_header, icmp6::PROTO);
        let (source, destination) = (header.source(), header.destination());
        let envelope = Envelope { source, destination, hop_limit: header.hop_limit };
        let message = expected(&name);
        assert_eq!(icmp6::parse(payload, &envelope), Ok(message), "{name}");
        let mut out = [0; 512];
        let len = icmp6::emit(&message, source, destination, &mut out).unwrap();
        assert_eq!(out[..len], *payload, "{name}");
    }
}
