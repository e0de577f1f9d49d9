//! Mobility Headers read by tshark (RFC 6275 s.6.1 to 6.4, RFC 5555 s.3). tshark does not check
//! their checksum; Scapy does.

use core::net::Ipv4Addr;

use hearth_wire::mh::{
    BaOptions, BindingAck, BindingError, BindingUpdate, BuFlags, BuOptions, Ipv4Ack, Ipv4AckStatus,
    Ipv4HomeAddress, Message, NatDetection, Repeated, Status,
};

use crate::{COA, HOA, check, from_ha, from_mn};

const V4_HOA: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 16);

fn update() -> Message<'static> {
    Message::BindingUpdate(BindingUpdate {
        seq: 4660,
        flags: BuFlags {
            acknowledge: true,
            home_registration: true,
            force_udp: true,
            ..BuFlags::default()
        },
        lifetime: 900,
        options: BuOptions {
            alternate_coa: Some(COA),
            nonce_indices: None,
            mn_id: Some((1, b"mn1@example.net")),
            ipv4_hoa: Some(Ipv4HomeAddress {
                prefix_len: 32,
                prefix_request: false,
                address: V4_HOA,
            }),
            ipv4_coa: Some(Ipv4Addr::new(203, 0, 113, 9)),
            ..BuOptions::default()
        },
    })
}

fn ack() -> Message<'static> {
    Message::BindingAck(BindingAck {
        status: Status::ACCEPTED,
        key_management: false,
        mobile_router: false,
        seq: 4660,
        lifetime: 900,
        options: BaOptions {
            refresh_advice: Some(800),
            mn_id: None,
            ipv4_ack: Some(Ipv4Ack {
                status: Ipv4AckStatus::SUCCESS,
                prefix_len: 32,
                address: V4_HOA,
            }),
            nat_detection: Some(NatDetection { force_udp: false, refresh_time: 110 }),
            ..BaOptions::default()
        },
    })
}

#[test]
fn tshark_reads_what_we_emit() {
    let error = Message::BindingError(BindingError { status: 2, home_address: HOA });
    let frames = [
        from_mn(&update()),
        from_ha(&ack()),
        from_ha(&error),
        from_ha(&Message::BindingRefreshRequest { bids: Repeated::default() }),
    ];
    check("mobility", &frames, &EXPECTED);
}

/// Lines that stand in this order, others between them.
const EXPECTED: [&str; 41] = [
    "Next Header: Mobile IPv6 (135)",
    "MIPv6 Home Address: 2001:db8:1::10",
    "Payload protocol: No Next Header for IPv6 (59)",
    "Header length: 8 (72 bytes)",
    "Mobility Header Type: Binding Update (5)",
    "Sequence number: 4660",
    "1... .... .... .... = Acknowledge (A) flag: Binding Acknowledgement requested",
    ".1.. .... .... .... = Home Registration (H) flag: Home Registration",
    "...0 .... .... .... = Key Management Compatibility (K) flag: No Key Management Mobility \
     Compatibility",
    ".... ...1 .... .... = Forcing UDP encapsulation (F) flag: Forcing UDP encapsulation used",
    "Lifetime: 900 (3600 seconds)",
    "MIPv6 Option - Alternate Care-of Address",
    "Alternate care-of address: 2001:db8:2::77",
    "MIPv6 Option - IPv4 Home Address",
    "1000 00.. = Prefix-len: 32",
    "IPv4 Home Address: 198.51.100.16",
    "MIPv6 Option - IPv4 Care-of Address",
    "IPv4 Care-of address: 203.0.113.9",
    "Subtype: Network Access Identifier (NAI) (1)",
    "Identifier: mn1@example.net",
    "Type: Type 2 Routing (2)",
    "Segments Left: 1",
    "Address[1]: 2001:db8:1::10",
    "Mobility Header Type: Binding Acknowledgement (6)",
    "Status: Binding Update accepted (0)",
    "Sequence number: 4660",
    "Lifetime: 900 (3600 seconds)",
    "MIPv6 Option - Binding Refresh Advice",
    "Refresh interval: 800 (3200 seconds)",
    "MIPv6 Option - IPv4 Address Acknowledgement",
    "Status: Success (0)",
    "1000 00.. = Prefix-len: 32",
    "IPv4 Home Address: 198.51.100.16",
    "MIPv6 Option - NAT Detection",
    "0... .... .... .... = (F) flag: Do not use UDP encapsulation",
    "Refresh time: 110s",
    "Mobility Header Type: Binding Error (7)",
    "Status: Unrecognized MH type value (2)",
    "Home Address: 2001:db8:1::10",
    "Mobility Header Type: Binding Refresh Request (0)",
    "Binding Refresh Request: 0000",
];
