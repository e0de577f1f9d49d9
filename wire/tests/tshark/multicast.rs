//! MLD and IGMP read by tshark, checksums included (RFC 2710, 2236, 3376, 3810).

use core::net::{Ipv4Addr, Ipv6Addr};

use hearth_wire::addresses::Addresses;
use hearth_wire::group::{GroupRecord, GroupRecords, RecordType, SourceQuery};
use hearth_wire::icmp6::{self, ListenerQuery};
use hearth_wire::igmp;
use hearth_wire::ip::{ETHERTYPE_IPV4, EthernetHeader, Ipv4Header};
use zerocopy::IntoBytes;

use crate::{HA, check, ipv6_frame};

const GROUP: Ipv6Addr = Ipv6Addr::new(0xff3e, 0, 0, 0, 0, 0, 0, 7);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const GROUP4: Ipv4Addr = Ipv4Addr::new(232, 1, 2, 3);
const SOURCE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn mld(message: &icmp6::Message<'_>) -> Vec<u8> {
    let mut out = [0; 256];
    let len = icmp6::emit(message, ROUTER, GROUP, &mut out).unwrap();
    ipv6_frame((ROUTER, GROUP), icmp6::PROTO, 1, &out[..len])
}

fn igmp(message: &igmp::Message<'_>) -> Vec<u8> {
    let mut out = [0; 256];
    let len = igmp::emit(message, &mut out).unwrap();
    let ipv4 = Ipv4Header::new(SOURCE4, GROUP4, igmp::PROTO, 1, len).unwrap();
    let ethernet = EthernetHeader {
        destination: [1, 0, 0x5e, 1, 2, 3],
        source: [2, 0, 0, 0, 0, 2],
        ethertype: ETHERTYPE_IPV4.into(),
    };
    [ethernet.as_bytes(), ipv4.as_bytes(), &out[..len]].concat()
}

#[test]
fn multicast() {
    let sources = [HA];
    let sources = Addresses::List(&sources);
    let v2 = SourceQuery { suppress: true, robustness: 2, interval_code: 125, sources };
    let query = ListenerQuery { max_response_code: 1000, group: GROUP, v2: Some(v2) };
    let records = [GroupRecord { record_type: RecordType::TO_EXCLUDE, group: GROUP, sources }];
    let sources = [SOURCE4];
    let sources = Addresses::List(&sources);
    let records4 =
        [GroupRecord { record_type: RecordType::ALLOW_NEW_SOURCES, group: GROUP4, sources }];
    let v3 = SourceQuery { suppress: false, robustness: 3, interval_code: 60, sources };
    let query4 = igmp::Query { max_response_code: 100, group: GROUP4, v3: Some(v3) };
    let frames = [
        mld(&icmp6::Message::ListenerQuery(query)),
        mld(&icmp6::Message::ListenerReportV1(GROUP)),
        mld(&icmp6::Message::ListenerDone(GROUP)),
        mld(&icmp6::Message::ListenerReportV2(GroupRecords::List(&records))),
        igmp(&igmp::Message::Query(query4)),
        igmp(&igmp::Message::ReportV2(GROUP4)),
        igmp(&igmp::Message::Leave(GROUP4)),
        igmp(&igmp::Message::ReportV3(GroupRecords::List(&records4))),
    ];
    check("multicast", &frames, &EXPECTED);
}

const EXPECTED: [&str; 40] = [
    "Type: Multicast Listener Query (130)",
    "[Checksum Status: Good]",
    "Maximum Response Code: 1000",
    "Multicast Address: ff3e::7",
    "Flags: 0x0a, Suppress Router-Side Processing",
    "QQIC (Querier's Query Interval Code): 125",
    "Number of Sources: 1",
    "Source Address: 2001:db8:1::1",
    "Type: Multicast Listener Report (131)",
    "[Checksum Status: Good]",
    "Multicast Address: ff3e::7",
    "Type: Multicast Listener Done (132)",
    "[Checksum Status: Good]",
    "Multicast Address: ff3e::7",
    "Type: Multicast Listener Report Message v2 (143)",
    "[Checksum Status: Good]",
    "Multicast Address Record Changed to exclude: ff3e::7",
    "Number of Sources: 1",
    "Source Address: 2001:db8:1::1",
    "[IGMP Version: 3]",
    "Type: Membership Query (0x11)",
    "Max Resp Time: 10.0 sec (0x64)",
    "[Checksum Status: Good]",
    "Multicast Address: 232.1.2.3",
    ".... .011 = QRV: 3",
    "QQIC: 60",
    "Source Address: 192.0.2.1",
    "[IGMP Version: 2]",
    "Type: Membership Report (0x16)",
    "[Checksum Status: Good]",
    "Multicast Address: 232.1.2.3",
    "Type: Leave Group (0x17)",
    "[Checksum Status: Good]",
    "Multicast Address: 232.1.2.3",
    "[IGMP Version: 3]",
    "Type: Membership Report (0x22)",
    "[Checksum Status: Good]",
    "Group Record : 232.1.2.3  Allow New Sources",
    "Num Src: 1",
    "Source Address: 192.0.2.1",
];
