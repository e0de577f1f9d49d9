//! Messages written out octet by octet from the diagrams of RFC 4861 s.4, RFC 6275 s.6.5 to 6.8, 7
//! and RFC 3963 s.7. Checksums and many more octets are Scapy's: tests/scapy.

use proptest::prelude::*;

use super::*;
use crate::group::{GroupRecord, RecordType, SourceQuery};

const HOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const SOLICITED_NODE: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x10);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const fn envelope(source: Ipv6Addr, destination: Ipv6Addr) -> Envelope {
    Envelope { source, destination, hop_limit: HOP_LIMIT }
}

/// Puts the right checksum into a message.
fn sealed(mut message: Vec<u8>, envelope: &Envelope) -> Vec<u8> {
    message[2..4].fill(0);
    let sum = checksum(&message, envelope.source, envelope.destination);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

fn check(octets: &str, envelope: &Envelope, message: &Message<'_>) {
    let octets = sealed(hex(octets), envelope);
    let mut out = [0; 512];
    let len = emit(message, envelope.source, envelope.destination, &mut out).unwrap();
    assert_eq!(out[..len], octets, "{message:?}");
    assert_eq!(parse(&octets, envelope), Ok(*message));
}

fn refused(octets: &str, envelope: &Envelope) -> IcmpError {
    parse(&sealed(hex(octets), envelope), envelope).unwrap_err()
}

#[test]
fn nd_03_advertisement_for_a_home_address() {
    // RFC 6275 s.10.4.1: to all nodes, R=0 S=0 O=1
    let advertisement = NeighbourAdvertisement {
        router: false,
        solicited: false,
        overrides: true,
        target: HOA,
        target_link_layer: Some([2, 0, 0, 0, 0, 1]),
    };
    check(
        "88 00 0000 20000000 20010db8 00010000 00000000 00000010 02 01 020000000001",
        &envelope(HA, ALL_NODES),
        &Message::NeighbourAdvertisement(advertisement),
    );
    check(
        "88 00 0000 c0000000 20010db8 00010000 00000000 00000010",
        &envelope(HA, HOA),
        &Message::NeighbourAdvertisement(NeighbourAdvertisement {
            router: true,
            solicited: true,
            overrides: false,
            target_link_layer: None,
            ..advertisement
        }),
    );
}

#[test]
fn solicitations() {
    let target = "20010db8 00010000 00000000 00000010";
    let dad = NeighbourSolicitation { target: HOA, source_link_layer: None };
    let anybody = envelope(Ipv6Addr::UNSPECIFIED, SOLICITED_NODE);
    check(&format!("87 00 0000 00000000 {target}"), &anybody, &Message::NeighbourSolicitation(dad));
    let link_layer = "01 01 020000000001";
    let source_link_layer = Some([2, 0, 0, 0, 0, 1]);
    check(
        &format!("87 00 0000 00000000 {target} {link_layer}"),
        &envelope(HA, SOLICITED_NODE),
        &Message::NeighbourSolicitation(NeighbourSolicitation { source_link_layer, ..dad }),
    );
    check(
        &format!("85 00 0000 00000000 {link_layer}"),
        &envelope(ROUTER, ALL_NODES),
        &Message::RouterSolicitation(RouterSolicitation { source_link_layer }),
    );
    // s.6.1.1, 7.1.1
    let with_link_layer = format!("87 00 0000 00000000 {target} {link_layer}");
    assert_eq!(refused(&with_link_layer, &anybody), IcmpError::Addresses);
    let unicast = envelope(Ipv6Addr::UNSPECIFIED, HOA);
    assert_eq!(refused(&format!("87 00 0000 00000000 {target}"), &unicast), IcmpError::Addresses);
    assert_eq!(
        refused(&format!("85 00 0000 00000000 {link_layer}"), &anybody),
        IcmpError::Addresses
    );
}

#[test]
fn advertisement_of_a_home_agent() {
    let prefixes = [PrefixInformation {
        prefix: HA,
        len: 64,
        on_link: true,
        autonomous: true,
        router_address: true,
        valid: option::INFINITE,
        preferred: 604_800,
    }];
    let advertisement = RouterAdvertisement {
        hop_limit: 64,
        managed: true,
        other: false,
        home_agent: true,
        router_lifetime: 1800,
        reachable_time: 1,
        retrans_timer: 2,
        source_link_layer: Some([2, 0, 0, 0, 0, 1]),
        mtu: Some(1500),
        advertisement_interval: Some(600_000),
        home_agent_information: Some(HomeAgentInformation {
            mobile_routers: true,
            preference: 9,
            lifetime: 900,
        }),
        prefixes: Prefixes::List(&prefixes),
    };
    check(
        "86 00 0000 40 a0 0708 00000001 00000002
         01 01 020000000001
         05 01 0000 000005dc
         07 01 0000 000927c0
         08 01 8000 0009 0384
         03 04 40 e0 ffffffff 00093a80 00000000 20010db8 00010000 00000000 00000001",
        &envelope(ROUTER, ALL_NODES),
        &Message::RouterAdvertisement(advertisement),
    );
}

#[test]
fn dhaad_and_prefix_discovery() {
    let to_ha = envelope(HOA, HA);
    let request = HomeAgentDiscoveryRequest { id: 0x1234, mobile_routers: true };
    check("90 00 0000 1234 8000", &to_ha, &Message::HomeAgentDiscoveryRequest(request));
    let addresses = [HA, HOA];
    let reply = HomeAgentDiscoveryReply {
        id: 0x1234,
        mobile_routers: false,
        addresses: Addresses::List(&addresses),
    };
    check(
        "91 00 0000 1234 0000 20010db8 00010000 00000000 00000001 20010db8 00010000 00000000 00000010",
        &to_ha,
        &Message::HomeAgentDiscoveryReply(reply),
    );
    let solicitation = MobilePrefixSolicitation { id: 0xffff };
    check("92 00 0000 ffff 0000", &to_ha, &Message::MobilePrefixSolicitation(solicitation));
    let prefixes = [PrefixInformation {
        prefix: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0),
        len: 64,
        on_link: false,
        autonomous: true,
        router_address: false,
        valid: 7200,
        preferred: 3600,
    }];
    let advertisement = MobilePrefixAdvertisement {
        id: 0xffff,
        managed: true,
        other: true,
        prefixes: Prefixes::List(&prefixes),
    };
    check(
        "93 00 0000 ffff c000
         03 04 40 40 00001c20 00000e10 00000000 20010db8 00010000 00000000 00000000",
        &to_ha,
        &Message::MobilePrefixAdvertisement(advertisement),
    );
}

#[test]
fn what_neighbour_discovery_forbids() {
    let link = envelope(ROUTER, ALL_NODES);
    let target = "20010db8 00010000 00000000 00000010";
    let valid = format!("88 00 0000 20000000 {target}");
    let forwarded = Envelope { hop_limit: 254, ..link };
    for octets in [
        "85 00 0000 00000000".to_owned(),
        "86 00 0000 40 00 0708 00000000 00000000".to_owned(),
        format!("87 00 0000 00000000 {target}"),
        valid.clone(),
    ] {
        assert!(parse(&sealed(hex(&octets), &link), &link).is_ok(), "{octets}");
        assert_eq!(refused(&octets, &forwarded), IcmpError::HopLimit, "{octets}");
        // cut off, code, an option of length 0, one past the end
        let short = octets[..octets.len() - 2].to_owned();
        assert_eq!(refused(&short, &link), IcmpError::Truncated, "{octets}");
        assert_eq!(refused(&octets.replacen(" 00", " 01", 1), &link), IcmpError::Code);
        for option in ["01 00 020000000001", "63 02 000000000000", "01"] {
            assert_eq!(
                refused(&format!("{octets} {option}"), &link),
                IcmpError::Option,
                "{octets}"
            );
        }
    }
    // a Router Advertisement from elsewhere; S to a group; a group as target
    let advertisement = "86 00 0000 40 00 0708 00000000 00000000";
    assert_eq!(refused(advertisement, &envelope(HA, ALL_NODES)), IcmpError::Addresses);
    assert_eq!(refused(&valid.replace("2000", "6000"), &link), IcmpError::Addresses);
    let group = valid.replace("20010db8", "ff010db8");
    assert_eq!(refused(&group, &link), IcmpError::Addresses);
    let mut wrong = sealed(hex(&valid), &link);
    wrong[2] ^= 1;
    assert_eq!(parse(&wrong, &link), Err(IcmpError::Checksum));
    assert_eq!(refused("80 00 0000 00000000", &link), IcmpError::UnknownType(128));
}

#[test]
fn options_of_other_lengths_are_skipped() {
    let link = envelope(ROUTER, ALL_NODES);
    let octets = sealed(
        hex("86 00 0000 40 1f 0708 00000000 00000000
             01 02 020000000001 0000000000000000 01 01 020000000002 01 01 020000000003
             03 01 40e0 00000000
             03 04 81 e0 ffffffff 00093a80 00000000 20010db8 00010000 00000000 00000001
             08 02 8000 0009 0384 0000000000000000"),
        &link,
    );
    let Ok(Message::RouterAdvertisement(read)) = parse(&octets, &link) else { panic!() };
    // of those that are left the first counts
    assert_eq!(read.source_link_layer, Some([2, 0, 0, 0, 0, 2]));
    assert_eq!(read.home_agent_information, None);
    assert_eq!(read.prefixes, Prefixes::default());
    assert!(!read.managed && !read.other && !read.home_agent);
}

#[test]
fn listener_queries_of_both_versions() {
    // RFC 3810 s.8.1: 24 octets, 28 and more, others
    let link = envelope(ROUTER, ALL_NODES);
    let v1 = "82 00 0000 8fff 0000 00000000 00000000 00000000 00000000";
    let octets = sealed(hex(v1), &link);
    let Ok(Message::ListenerQuery(query)) = parse(&octets, &link) else { panic!() };
    assert_eq!((query.v2, query.max_response_ms()), (None, 0x8fff));
    let octets = sealed(hex(&format!("{v1} 0a 7d 0000")), &link);
    let Ok(Message::ListenerQuery(query)) = parse(&octets, &link) else { panic!() };
    // s.5.1.3: (mant | 0x1000) << (exp + 3)
    assert_eq!(query.max_response_ms(), 0x1fff << 3);
    assert!(query.v2.is_some_and(|v2| v2.suppress && v2.robustness == 2));
    assert_eq!(refused(&format!("{v1} 0a 7d"), &link), IcmpError::Truncated);
    assert_eq!(refused(&format!("{v1} 0a 7d 0001"), &link), IcmpError::Truncated);
}

#[test]
fn records_are_walked_over_their_auxiliary_data() {
    let link = envelope(ROUTER, ALL_NODES);
    let group = "ff3e0000 00000000 00000000 00000007";
    let report = format!("8f 00 0000 0000 0002 05 01 0000 {group} aabbccdd 03 00 0000 {group}");
    let octets = sealed(hex(&report), &link);
    let Ok(Message::ListenerReportV2(records)) = parse(&octets, &link) else { panic!() };
    let types: Vec<_> = records.iter().map(|record| record.record_type).collect();
    assert_eq!(types, [RecordType::ALLOW_NEW_SOURCES, RecordType::TO_INCLUDE]);
    for cut in [report.replace("0000 0002", "0000 0003"), report.replace("05 01", "05 ff")] {
        assert_eq!(refused(&cut, &link), IcmpError::Truncated);
    }
}

#[test]
fn an_address_that_is_cut_off() {
    let to_ha = envelope(HOA, HA);
    let reply = "91 00 0000 1234 0000 20010db8 00010000 00000000 000000";
    assert_eq!(refused(reply, &to_ha), IcmpError::Truncated);
}

prop_compose! {
    fn prefix()(
        prefix: Ipv6Addr, len in 0..=128_u8, flags: (bool, bool, bool), valid: u32, preferred: u32,
    ) -> PrefixInformation {
        PrefixInformation {
            prefix, len, on_link: flags.0, autonomous: flags.1, router_address: flags.2, valid,
            preferred,
        }
    }
}

proptest! {
    /// Octets behind a right checksum.
    #[test]
    fn parse_never_panics(
        message_type in 128..=150_u8, body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let octets = [&[message_type, 0, 0, 0], &body[..]].concat();
        let link = envelope(ROUTER, ALL_NODES);
        let _ = match parse(&sealed(octets, &link), &link) {
            Ok(Message::RouterAdvertisement(read)) => read.prefixes.iter().count(),
            Ok(Message::ListenerReportV2(records)) => records.iter().count(),
            _ => 0,
        };
        let _ = parse(&body, &link);
    }

    #[test]
    fn messages_survive_the_wire(
        prefixes in prop::collection::vec(prefix(), 0..5),
        addresses in prop::collection::vec(any::<Ipv6Addr>(), 0..20),
        flags: (bool, bool, bool), id: u16, times: (u32, u32), hop_limit: u8,
        mtu in prop::option::of(any::<u32>()), link_layer in prop::option::of(any::<[u8; 6]>()),
        target in any::<u128>().prop_map(|bits| Ipv6Addr::from(bits >> 1)),
        information in prop::option::of(any::<(bool, u16, u16)>()),
        types in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let sources = Addresses::List(&addresses[..addresses.len().min(5)]);
        let records: Vec<_> = types
            .into_iter()
            .map(|t| GroupRecord { record_type: RecordType(t), group: target, sources })
            .collect();
        let v2 = Some(SourceQuery {
            suppress: flags.0, robustness: hop_limit % 8, interval_code: hop_limit, sources,
        });
        let information = information.map(|(mobile_routers, preference, lifetime)| {
            HomeAgentInformation { mobile_routers, preference, lifetime }
        });
        let prefixes = Prefixes::List(&prefixes);
        let (managed, other, home_agent) = flags;
        for message in [
            Message::ListenerQuery(ListenerQuery { max_response_code: id, group: target, v2: None }),
            Message::ListenerQuery(ListenerQuery { max_response_code: id, group: target, v2 }),
            Message::ListenerReportV1(target),
            Message::ListenerDone(target),
            Message::ListenerReportV2(GroupRecords::List(&records)),
            Message::RouterSolicitation(RouterSolicitation { source_link_layer: link_layer }),
            Message::RouterAdvertisement(RouterAdvertisement {
                hop_limit, managed, other, home_agent, router_lifetime: id,
                reachable_time: times.0, retrans_timer: times.1, source_link_layer: link_layer,
                mtu, advertisement_interval: mtu, home_agent_information: information, prefixes,
            }),
            Message::NeighbourSolicitation(NeighbourSolicitation {
                target, source_link_layer: link_layer,
            }),
            Message::NeighbourAdvertisement(NeighbourAdvertisement {
                router: flags.0, solicited: false, overrides: flags.1, target,
                target_link_layer: link_layer,
            }),
            Message::HomeAgentDiscoveryRequest(HomeAgentDiscoveryRequest {
                id, mobile_routers: flags.0,
            }),
            Message::HomeAgentDiscoveryReply(HomeAgentDiscoveryReply {
                id, mobile_routers: flags.0, addresses: Addresses::List(&addresses),
            }),
            Message::MobilePrefixSolicitation(MobilePrefixSolicitation { id }),
            Message::MobilePrefixAdvertisement(MobilePrefixAdvertisement {
                id, managed, other, prefixes,
            }),
        ] {
            let mut out = [0; 1024];
            let len = emit(&message, ROUTER, ALL_NODES, &mut out).unwrap();
            prop_assert_eq!(parse(&out[..len], &envelope(ROUTER, ALL_NODES)), Ok(message));
        }
    }
}
