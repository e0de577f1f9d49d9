//! Options that repeat, written out octet by octet from the diagrams of RFC 3963 s.4.3,
//! RFC 5648 s.4.3, RFC 6088 s.3 and RFC 6089 s.4.

use core::net::IpAddr;

use proptest::prelude::*;

use super::selector::{Addresses, Range};
use super::*;
use crate::flow_key::FlowKey;

const HOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const COA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x77);
const V4_COA: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The options of a Binding Update that carries these, without the padding at their end.
fn emitted(options: BuOptions<'_>) -> Vec<u8> {
    let update = BindingUpdate { seq: 1, flags: BuFlags::default(), lifetime: 1, options };
    let mut out = [0; 2048];
    let len = emit(&Message::BindingUpdate(update), HOA, HA, &mut out).unwrap();
    assert_eq!(parse(&out[..len], HOA, HA), Ok(Message::BindingUpdate(update)));
    out[12..len].to_vec()
}

fn read(octets: &[u8]) -> BuOptions<'_> {
    BuOptions::parse(octets).unwrap()
}

const fn bid(id: u16, care_of: Option<IpAddr>) -> Bid {
    Bid { id, status: Status(0), home: false, priority: 0, care_of }
}

#[test]
fn mobile_network_prefixes() {
    let octets = hex("06 12 00 40 20010db8 00100000 00000000 00000000
                      01 02 0000
                      06 12 00 30 20010db8 00200000 00000000 00000000");
    let prefixes = [
        MobileNetworkPrefix { prefix: Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0), len: 64 },
        MobileNetworkPrefix { prefix: Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0), len: 48 },
    ];
    let prefixes = Repeated::List(&prefixes);
    assert_eq!(emitted(BuOptions { prefixes, ..BuOptions::default() }), octets);
    assert_eq!(read(&octets).prefixes, prefixes);
    assert!(read(&octets).bids.is_empty());
}

#[test]
fn a_malformed_prefix_does_not_hide_the_others() {
    // NEM-12: 141 or 142 wants an answer
    let octets = hex("06 11 00 40 20010db8 00100000 00000000 000000
                      06 12 ff 81 20010db8 00100000 00000000 00000000
                      06 12 ff 80 20010db8 00100000 00000000 00000000
                      06 00");
    let items: Vec<_> = read(&octets).prefixes.iter().map(|item| item.map(|p| p.len)).collect();
    let malformed = Err(MalformedPrefix);
    assert_eq!(items, [malformed, malformed, Ok(128), malformed]);
}

#[test]
fn binding_identifiers() {
    let octets = hex("01 04 00000000
                      23 14 0001 00 85 20010db8 00020000 00000000 00000077
                      01 00
                      23 08 0002 00 00 cb007109
                      23 04 ffff a4 7f
                      01 04 00000000");
    let bids = [
        Bid { home: true, priority: 5, ..bid(1, Some(COA.into())) },
        bid(2, Some(V4_COA.into())),
        Bid { status: Status::MCOA_MALFORMED, priority: 127, ..bid(0xffff, None) },
    ];
    let options = BuOptions { bids: Repeated::List(&bids), ..BuOptions::default() };
    assert_eq!(emitted(options), octets);
    assert_eq!(read(&octets).bids, Repeated::List(&bids));
}

#[test]
fn mca_01_a_bid_of_a_wrong_length_is_told_by_its_id() {
    for len in (0..=22).filter(|len| ![4, 8, 20].contains(len)) {
        let mut octets = vec![35, len, 0, 7];
        octets.resize(usize::from(len) + 2, 0);
        let after = octets.len();
        octets.extend(hex("23 04 0008 00 00"));
        let id = (len >= 2).then_some(7);
        let items: Vec<_> = read(&octets).bids.iter().collect();
        assert_eq!(items, [Err(MalformedBid { id }), Ok(bid(8, None))], "{len} {after}");
    }
}

#[test]
fn an_ack_carries_bids_behind_the_ipv4_ack() {
    let bids = [Bid { status: Status::MCOA_UNKNOWN_COA, ..bid(3, None) }];
    let flows = [Flow {
        id: 9,
        priority: 1,
        status: FlowStatus::BID_NOT_FOUND,
        bids: Ids::default(),
        selector: None,
    }];
    let options = BaOptions {
        ipv4_ack: Some(Ipv4Ack { status: Ipv4AckStatus::SUCCESS, prefix_len: 32, address: V4_COA }),
        bids: Repeated::List(&bids),
        flows: Repeated::List(&flows),
        ..BaOptions::default()
    };
    let ack = Message::BindingAck(BindingAck {
        status: Status::MCOA_NOT_COMPLETE,
        key_management: false,
        mobile_router: false,
        seq: 1,
        lifetime: 1,
        options,
    });
    let mut out = [0; 256];
    let len = emit(&ack, HA, HOA, &mut out).unwrap();
    // RFC 5648 s.8.2
    let expected =
        hex("1e 06 00 80 cb007109 23 04 0003 a7 00 2d 06 0009 0001 00 83 01 04 00000000");
    assert_eq!(out[12..len], expected);
    assert_eq!(parse(&out[..len], HA, HOA), Ok(ack));
}

#[test]
fn flow_with_an_ipv4_selector() {
    let selector = TrafficSelector {
        addresses: Addresses::V4 {
            source: Some(Range {
                first: Ipv4Addr::new(192, 0, 2, 0),
                last: Ipv4Addr::new(192, 0, 2, 255),
            }),
            destination: None,
        },
        destination_port: Some(Range { first: 5004, last: 5005 }),
        protocol: Some(Range::only(17)),
        ..TrafficSelector::ANY_IPV4
    };
    let flows = [Flow {
        id: 7,
        priority: 1,
        status: FlowStatus::SUCCESS,
        bids: Ids::List(&[1, 2]),
        selector: Some(Selector::Binary(selector)),
    }];
    // A, B, I, J and M of RFC 6088 s.3.1
    let octets = hex("2d 23 0007 0001 00 00  02 04 0001 0002  01 00
                      03 13 01 00 c0c80000 c0000200 c00002ff 138c 138d 11");
    let flows = Repeated::List(&flows);
    let written = emitted(BuOptions { flows, ..BuOptions::default() });
    assert_eq!(written[..octets.len()], octets);
    assert_eq!(read(&octets).flows, flows);
}

#[test]
fn flow_with_an_ipv6_selector() {
    let selector = TrafficSelector {
        addresses: Addresses::V6 {
            source: Some(Range::only(COA)),
            destination: Some(Range { first: HA, last: HOA }),
            flow_label: Some(Range { first: 1, last: 0xfffff }),
        },
        spi: Some(Range::only(0x1122_3344)),
        source_port: Some(Range::only(53)),
        destination_port: Some(Range { first: 0, last: 0xffff }),
        dscp: Some(Range { first: 0, last: 46 }),
        protocol: Some(Range { first: 6, last: 17 }),
    };
    let flows = [Flow {
        id: 0xfffe,
        priority: 0xffff,
        status: FlowStatus::SUCCESS,
        bids: Ids::default(),
        selector: Some(Selector::Binary(selector)),
    }];
    // A, C, D, E, G, H, I, K, L, M, N, O and P of RFC 6088 s.3.2
    let octets = hex("2d 58 fffe ffff 00 00  01 02 0000
                      03 4c 02 00 bbbf0000
                      20010db8 00020000 00000000 00000077
                      20010db8 00010000 00000000 00000001
                      20010db8 00010000 00000000 00000010
                      11223344 00000001 000fffff
                      0035 0000 ffff 00 b8 06 11");
    let flows = Repeated::List(&flows);
    let written = emitted(BuOptions { flows, ..BuOptions::default() });
    assert_eq!(written[..octets.len()], octets);
    assert_eq!(read(&octets).flows, flows);
}

#[test]
fn flow_summary_and_link_layer_address() {
    let octets = hex("2c 04 0001 ffff 07 07 02 020000000001");
    let options = read(&octets);
    let summary = FlowSummary { flows: Ids::List(&[1, 0xffff]) };
    assert_eq!(options.flow_summaries, Repeated::List(&[summary]));
    assert_eq!(options.link_layer, Some(&[2, 0, 0, 0, 0, 1][..]));
    assert_eq!(emitted(options)[..octets.len()], octets);
    // an access point's address (code 1) is not the mobile node's
    assert_eq!(read(&hex("07 07 01 020000000001")).link_layer, None);
    for malformed in ["2c 00", "2c 03 000100"] {
        let items: Vec<_> =
            read(&hex(malformed)).flow_summaries.iter().map(|i| i.is_err()).collect();
        assert_eq!(items, [true], "{malformed}");
    }
}

#[test]
fn malformed_flows_are_told_by_their_id() {
    let id = Some((7, 1));
    for (octets, id) in [
        ("2d 05 0007 0001 00", None),
        ("2d 06 0000 0001 00 00", Some((0, 1))),
        ("2d 06 0007 0000 00 00", Some((7, 0))),
        // a sub-option past the end; half a BID; none; two references
        ("2d 08 0007 0001 00 00 02 02", id),
        ("2d 09 0007 0001 00 00 02 01 00", id),
        ("2d 08 0007 0001 00 00 02 00", id),
        ("2d 0e 0007 0001 00 00 02 02 0001 02 02 0001", id),
        // a selector without format; of a known format without flags; two selectors
        ("2d 08 0007 0001 00 00 03 00", id),
        ("2d 0d 0007 0001 00 00 03 05 01 00 000000", id),
        ("2d 0e 0007 0001 00 00 03 02 63 00 03 02 63 00", id),
        // an end without start; an end below its start; a field cut off; octets left over
        ("2d 12 0007 0001 00 00 03 0a 01 00 40000000 c0000200", id),
        ("2d 12 0007 0001 00 00 03 0a 01 00 03000000 0002 0001", id),
        ("2d 11 0007 0001 00 00 03 09 01 00 80000000 c00002", id),
        ("2d 0f 0007 0001 00 00 03 07 01 00 00000000 00", id),
    ] {
        let octets = [hex(octets), hex("2d 06 0008 0002 00 00")].concat();
        let items: Vec<_> =
            read(&octets).flows.iter().map(|item| item.map(|flow| flow.id)).collect();
        assert_eq!(items, [Err(MalformedFlow { id }), Ok(8)], "{octets:02x?}");
    }
}

#[test]
fn mca_13_unknown_sub_options_and_formats() {
    // RFC 6089 s.4.2.1: unknown sub-options are skipped; s.4.2: 133 for an unknown format
    let octets = hex("2d 16 0007 0001 ff 85 fe 03 000000 00 02 02 0001 03 04 63 ff aabb");
    let other = Selector::Other { format: 0x63, octets: &[0xaa, 0xbb] };
    let flow = Flow {
        id: 7,
        priority: 1,
        status: FlowStatus::SELECTOR_NOT_SUPPORTED,
        bids: Ids::List(&[1]),
        selector: Some(other),
    };
    let flows = [flow];
    assert_eq!(read(&octets).flows, Repeated::List(&flows));
}

#[test]
fn reserved_bits_of_selectors_are_ignored() {
    assert_eq!(TrafficSelector::parse(1, &hex("0003ffff")), Some(TrafficSelector::ANY_IPV4));
    assert_eq!(TrafficSelector::parse(2, &hex("0000ffff")), Some(TrafficSelector::ANY_IPV6));
    // "the 2 least significant bits' values MUST be ignored"; "the first 8 bits"
    let read = TrafficSelector::parse(2, &hex("02080000 ff000001 bb")).unwrap();
    assert_eq!(read.dscp, Some(Range::only(46)));
    let Addresses::V6 { flow_label, .. } = read.addresses else { panic!("{read:?}") };
    assert_eq!(flow_label, Some(Range::only(1)));
}

#[test]
fn what_cannot_stand_on_the_wire_is_not_emitted() {
    let selector = |selector| {
        [Flow {
            id: 1,
            priority: 1,
            status: FlowStatus::SUCCESS,
            bids: Ids::default(),
            selector: Some(Selector::Binary(selector)),
        }]
    };
    let any = TrafficSelector::ANY_IPV6;
    let flows = [
        selector(TrafficSelector { dscp: Some(Range::only(64)), ..any }),
        selector(TrafficSelector { spi: Some(Range { first: 2, last: 1 }), ..any }),
    ];
    let prefix = [MobileNetworkPrefix { prefix: HOA, len: 129 }];
    let priority = [Bid { priority: 128, ..bid(1, None) }];
    let default = BuOptions::default();
    for options in [
        BuOptions { flows: Repeated::List(&flows[0]), ..default },
        BuOptions { flows: Repeated::List(&flows[1]), ..default },
        BuOptions { prefixes: Repeated::List(&prefix), ..default },
        BuOptions { bids: Repeated::List(&priority), ..default },
        BuOptions { link_layer: Some(&[0; 255]), ..default },
    ] {
        let update = BindingUpdate { seq: 1, flags: BuFlags::default(), lifetime: 1, options };
        let mut out = [0; 2048];
        assert_eq!(emit(&Message::BindingUpdate(update), HOA, HA, &mut out), None);
    }
}

const KEY: FlowKey = FlowKey {
    source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)),
    destination: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 16)),
    traffic_class: 0xbb,
    flow_label: 0,
    protocol: 17,
    ports: Some((5000, 53)),
    spi: None,
};

#[test]
fn each_field_of_a_selector_decides() {
    let any = TrafficSelector::ANY_IPV4;
    let addresses = |source, destination| TrafficSelector {
        addresses: Addresses::V4 { source, destination },
        ..any
    };
    let range = |first, last| Some(Range { first, last });
    let net = |last: u8| {
        Some(Range { first: Ipv4Addr::new(192, 0, 2, 0), last: [192, 0, 2, last].into() })
    };
    for (selector, matches) in [
        (any, true),
        (TrafficSelector::ANY_IPV6, false),
        (addresses(net(9), None), true),
        (addresses(net(8), None), false),
        (addresses(None, Some(Range::only([198, 51, 100, 16].into()))), true),
        (addresses(None, net(255)), false),
        (TrafficSelector { source_port: range(5000, 5001), ..any }, true),
        (TrafficSelector { source_port: range(5001, 5001), ..any }, false),
        (TrafficSelector { destination_port: range(0, 53), ..any }, true),
        (TrafficSelector { destination_port: range(0, 52), ..any }, false),
        (TrafficSelector { protocol: Some(Range::only(17)), ..any }, true),
        (TrafficSelector { protocol: Some(Range::only(6)), ..any }, false),
        (TrafficSelector { dscp: Some(Range::only(46)), ..any }, true),
        (TrafficSelector { dscp: Some(Range::only(45)), ..any }, false),
        (TrafficSelector { spi: Some(Range { first: 0, last: u32::MAX }), ..any }, false),
    ] {
        assert_eq!(selector.matches(&KEY), matches, "{selector:?}");
    }
    let ports = TrafficSelector { destination_port: range(0, 0xffff), ..any };
    assert!(!ports.matches(&FlowKey { ports: None, ..KEY }));
    let spi = TrafficSelector { spi: Some(Range::only(7)), ..any };
    assert!(spi.matches(&FlowKey { spi: Some(7), ..KEY }));
}

#[test]
fn ipv6_addresses_and_flow_label_decide() {
    let key = FlowKey { source: COA.into(), destination: HOA.into(), flow_label: 7, ..KEY };
    let selector = |source, destination, flow_label| TrafficSelector {
        addresses: Addresses::V6 { source, destination, flow_label },
        ..TrafficSelector::ANY_IPV6
    };
    let only = |address| Some(Range::only(address));
    assert!(selector(only(COA), only(HOA), Some(Range::only(7))).matches(&key));
    assert!(!selector(only(HA), None, None).matches(&key));
    assert!(!selector(None, only(HA), None).matches(&key));
    assert!(!selector(None, None, Some(Range::only(8))).matches(&key));
    assert!(!TrafficSelector::ANY_IPV6.matches(&KEY));
}

fn range<T: Ord + Copy + core::fmt::Debug>(
    values: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Option<Range<T>>> {
    prop::option::of(
        (values.clone(), values).prop_map(|(a, b)| Range { first: a.min(b), last: a.max(b) }),
    )
}

fn addresses() -> impl Strategy<Value = Addresses> {
    let v4 = || range(any::<u32>().prop_map(Ipv4Addr::from));
    let v6 = || range(any::<u128>().prop_map(Ipv6Addr::from));
    prop_oneof![
        (v4(), v4()).prop_map(|(source, destination)| Addresses::V4 { source, destination }),
        (v6(), v6(), range(0..1_u32 << 24)).prop_map(|(source, destination, flow_label)| {
            Addresses::V6 { source, destination, flow_label }
        }),
    ]
}

prop_compose! {
    fn selector()(
        addresses in addresses(), spi in range(any::<u32>()), source_port in range(any::<u16>()),
        destination_port in range(any::<u16>()), dscp in range(0..64_u8),
        protocol in range(any::<u8>()),
    ) -> TrafficSelector {
        TrafficSelector { addresses, spi, source_port, destination_port, dscp, protocol }
    }
}

prop_compose! {
    fn any_bid()(
        id: u16, status: u8, home: bool, priority in 0..128_u8,
        care_of in prop::option::of(any::<IpAddr>()),
    ) -> Bid {
        Bid { id, status: Status(status), home, priority, care_of }
    }
}

fn prefix() -> impl Strategy<Value = MobileNetworkPrefix> {
    (any::<Ipv6Addr>(), 0..=128_u8).prop_map(|(prefix, len)| MobileNetworkPrefix { prefix, len })
}

proptest! {
    #[test]
    fn options_never_panic(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(options) = BuOptions::parse(&octets) {
            let _ = (options.prefixes.iter().count(), options.bids.iter().count());
            let _ = (options.flows.iter().count(), options.flow_summaries.iter().count());
        }
        let _ = TrafficSelector::parse(1, &octets);
        let _ = TrafficSelector::parse(2, &octets);
        for option in [&octets[..], &[&[7, 0, 1, 0, 0, 0], &octets[..]].concat()] {
            let _ = (Bid::parse(option), Flow::parse(option), FlowSummary::parse(option));
            let _ = MobileNetworkPrefix::parse(option);
        }
    }

    /// Random sub-options behind a flow that is otherwise whole.
    #[test]
    fn sub_options_never_panic(octets in prop::collection::vec(0..6_u8, 0..40)) {
        let _ = Flow::parse(&[&[0, 7, 0, 1, 0, 0], &octets[..]].concat());
    }

    #[test]
    fn repeated_options_survive_the_wire(
        prefixes in prop::collection::vec(prefix(), 0..4),
        bids in prop::collection::vec(any_bid(), 0..5),
        flows in prop::collection::vec(
            (1..=u16::MAX, 1..=u16::MAX, any::<u8>(),
             prop::collection::vec(any::<u16>(), 0..20), prop::option::of(selector())), 0..4),
        summary in prop::collection::vec(any::<u16>(), 1..60),
        link_layer in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
    ) {
        let flows: Vec<_> = flows
            .iter()
            .map(|(id, priority, status, bids, selector)| Flow {
                id: *id, priority: *priority, status: FlowStatus(*status), bids: Ids::List(bids),
                selector: selector.map(Selector::Binary),
            })
            .collect();
        let summaries = [FlowSummary { flows: Ids::List(&summary) }];
        let options = BuOptions {
            prefixes: Repeated::List(&prefixes),
            bids: Repeated::List(&bids),
            flows: Repeated::List(&flows),
            flow_summaries: Repeated::List(&summaries),
            link_layer: link_layer.as_deref(),
            ..BuOptions::default()
        };
        emitted(options);
    }

    /// Ranges against their meaning, field by field.
    #[test]
    fn a_selector_matches_what_its_octets_say(selector in selector(), ports: (u16, u16), spi: u32) {
        let key = FlowKey { ports: Some(ports), spi: Some(spi), ..KEY };
        let within = |range: Option<Range<u16>>, value| {
            range.is_none_or(|range| (range.first..=range.last).contains(&value))
        };
        let expected = within(selector.source_port, ports.0)
            && within(selector.destination_port, ports.1)
            && selector.spi.is_none_or(|range| (range.first..=range.last).contains(&spi));
        let selector = TrafficSelector {
            addresses: TrafficSelector::ANY_IPV4.addresses, dscp: None, protocol: None, ..selector
        };
        prop_assert_eq!(selector.matches(&key), expected);
    }
}
