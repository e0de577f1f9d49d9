//! Mobility options and messages of the extensions read by tshark (RFC 3963, 5142, 5568, 5648, 5846,
//! 5847, 6088, 6089).

use core::net::{Ipv4Addr, Ipv6Addr};

use hearth_wire::mh::selector::{Addresses as SelectorAddresses, Range};
use hearth_wire::mh::{
    Addresses, BaOptions, Bid, BindingAck, BindingUpdate, BuFlags, BuOptions, Flow, FlowStatus,
    FlowSummary, Heartbeat, HomeAgentSwitch, Ids, Ipv4HomeAddress, Message, MobileNetworkPrefix,
    Repeated, Revocation, RevocationAck, RevocationFlags, RevocationStatus, Selector, Status,
    TrafficSelector, trigger,
};

use crate::{COA, HA, HOA, check, check_in_part, from_ha, from_mn};

const V4_COA: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

const fn bid(id: u16) -> Bid {
    Bid { id, status: Status::ACCEPTED, home: false, priority: 0, care_of: None }
}

#[test]
fn options_that_repeat() {
    let prefixes = [
        MobileNetworkPrefix { prefix: Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0), len: 64 },
        MobileNetworkPrefix { prefix: Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0), len: 48 },
    ];
    let bids = [
        Bid { care_of: Some(COA.into()), home: true, ..bid(1) },
        Bid { care_of: Some(V4_COA.into()), ..bid(2) },
        bid(3),
    ];
    let flags =
        BuFlags { acknowledge: true, mobile_router: true, overwrite: true, ..BuFlags::default() };
    let options = BuOptions {
        prefixes: Repeated::List(&prefixes),
        bids: Repeated::List(&bids),
        link_layer: Some(&[2, 0, 0, 0, 0, 7]),
        ..BuOptions::default()
    };
    let update = BindingUpdate { seq: 1, flags, lifetime: 1, options };
    let refused = [Bid { status: Status::MCOA_UNKNOWN_COA, ..bid(3) }];
    let ack = BindingAck {
        status: Status::MCOA_NOT_COMPLETE,
        key_management: false,
        mobile_router: true,
        seq: 1,
        lifetime: 1,
        options: BaOptions { bids: Repeated::List(&refused), ..BaOptions::default() },
    };
    let frames = [from_mn(&Message::BindingUpdate(update)), from_ha(&Message::BindingAck(ack))];
    check("options", &frames, &OPTIONS);
}

const OPTIONS: [&str; 24] = [
    "Mobility Header Type: Binding Update (5)",
    ".... .1.. .... .... = Mobile Router (R) flag: Mobile Router Compatibility",
    "MIPv6 Option - Mobile Network Prefix: 2001:db8:10::/64",
    "Length: 18",
    "Mobile Network Prefix Length: 64",
    "Mobile Network Prefix: 2001:db8:10::",
    "MIPv6 Option - Mobile Network Prefix: 2001:db8:20::/48",
    "MIPv6 Option - Binding Identifier",
    "Length: 20",
    "Binding ID (BID): 1",
    "Status: 0",
    "1... .... = Simultaneous Home and Foreign Binding (H): True",
    "IPv6 care-of address (CoA): 2001:db8:2::77",
    "Length: 8",
    "Binding ID (BID): 2",
    "IPv4 care-of address (CoA): 203.0.113.9",
    "Length: 4",
    "Binding ID (BID): 3",
    "MIPv6 Option - Mobility Header Link-Layer Address",
    "Option-Code: Link Layer Address of the MN (2)",
    "Link-layer address: 02:00:00:00:00:07",
    "Mobility Header Type: Binding Acknowledgement (6)",
    "Binding ID (BID): 3",
    "Status: 167",
];

/// tshark names the flow options, by the numbers of RFC 6089 s.4.2, and does not look into them.
#[test]
fn flows_stand_where_tshark_names_them() {
    let selector = TrafficSelector {
        addresses: SelectorAddresses::V6 {
            source: Some(Range { first: HA, last: HOA }),
            destination: None,
            flow_label: None,
        },
        destination_port: Some(Range::only(5004)),
        ..TrafficSelector::ANY_IPV6
    };
    let flows = [Flow {
        id: 7,
        priority: 11,
        status: FlowStatus::SUCCESS,
        bids: Ids::List(&[1, 2]),
        selector: Some(Selector::Binary(selector)),
    }];
    let summaries = [FlowSummary { flows: Ids::List(&[21, 22]) }];
    let options = BuOptions {
        flows: Repeated::List(&flows),
        flow_summaries: Repeated::List(&summaries),
        ..BuOptions::default()
    };
    let update = BindingUpdate { seq: 1, flags: BuFlags::default(), lifetime: 1, options };
    let expected =
        ["Mobility Option: Flow Identification (45)", "Mobility Option: Flow Summary (44)"];
    check_in_part("flows", &[from_mn(&Message::BindingUpdate(update))], &expected);
}

#[test]
fn messages_of_operation() {
    let bids = [bid(1), bid(2)];
    let bids = Repeated::List(&bids);
    let heartbeat =
        Heartbeat { unsolicited: false, response: true, seq: 67305985, restart_counter: Some(77) };
    let flags = RevocationFlags { ipv4_only: true, ..RevocationFlags::default() };
    let address = Ipv4Addr::new(198, 51, 100, 16);
    let ipv4_hoa = Some(Ipv4HomeAddress { prefix_len: 32, prefix_request: false, address });
    let revocation =
        Revocation { trigger: trigger::ADMINISTRATIVE, seq: 4660, flags, bids, ipv4_hoa };
    let ack = RevocationAck { status: RevocationStatus::PARTIAL, seq: 4660, flags, bids };
    let frames = [
        from_ha(&Message::BindingRefreshRequest { bids }),
        from_ha(&Message::Heartbeat(heartbeat)),
        from_ha(&Message::Revocation(revocation)),
        from_mn(&Message::RevocationAck(ack)),
    ];
    check("operation", &frames, &OPERATION);
}

const OPERATION: [&str; 29] = [
    "Mobility Header Type: Binding Refresh Request (0)",
    "Binding ID (BID): 1",
    "Binding ID (BID): 2",
    "Mobility Header Type: Heartbeat (13)",
    ".... ..0. = Unsolicited (U) flag: Otherwise",
    ".... ...1 = Response (R) flag: Heartbeat Response",
    "Sequence number: 67305985",
    "MIPv6 Option - Restart Counter",
    "Length: 4",
    "Restart Counter: 77",
    "Mobility Header Type: Binding Revocation (16)",
    "Binding Revocation Indication",
    "B.R. Type: 1",
    "R. Trigger: Administrative Reason (1)",
    "Sequence Number: 4660",
    "0... .... .... .... = Proxy Binding (P) Flag: Not set",
    ".1.. .... .... .... = IPv4 HoA Binding Only (V) Flag: Set",
    "..0. .... .... .... = Global (G) Flag: Not set",
    "IPv4 Home Address: 198.51.100.16",
    "Binding ID (BID): 1",
    "Binding ID (BID): 2",
    "Binding Revocation Acknowledge",
    "B.R. Type: 2",
    "Status: Partial Success (1)",
    "Sequence Number: 4660",
    ".1.. .... .... .... = IPv4 HoA Binding Only (V) Flag: Set",
    "..0. .... .... .... = Global (G) Flag: Not set",
    "Binding ID (BID): 1",
    "Binding ID (BID): 2",
];

/// tshark 4.0 reads options from within the addresses on.
#[test]
fn home_agent_switch_with_addresses() {
    let addresses = [HA, HOA];
    let switch = HomeAgentSwitch { addresses: Addresses::List(&addresses), refresh_advice: None };
    let expected = [
        "Mobility Header Type: Home Agent Switch (12)",
        "Number of Addresses: 2",
        "Address: 2001:db8:1::1",
        "Address: 2001:db8:1::10",
    ];
    check_in_part("switch", &[from_ha(&Message::HomeAgentSwitch(switch))], &expected);
}
