//! IGMP messages that Scapy builds, read by us, and the same octets written by us (RFC 2236 s.2,
//! RFC 3376 s.4).

use core::net::Ipv4Addr;

use hearth_wire::addresses::Addresses;
use hearth_wire::group::{GroupRecord, GroupRecords, RecordType, SourceQuery};
use hearth_wire::igmp::{self, Message, Query};

use crate::built;

const GROUP: Ipv4Addr = Ipv4Addr::new(232, 1, 2, 3);
const SOURCES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];

const RECORDS: [GroupRecord<'static, Ipv4Addr>; 2] = [
    GroupRecord {
        record_type: RecordType::TO_EXCLUDE,
        group: GROUP,
        sources: Addresses::List(&[]),
    },
    GroupRecord {
        record_type: RecordType::ALLOW_NEW_SOURCES,
        group: Ipv4Addr::new(239, 1, 1, 1),
        sources: Addresses::List(&SOURCES),
    },
];

fn expected(name: &str) -> Message<'static> {
    match name {
        "query-v2" => {
            Message::Query(Query { max_response_code: 100, group: Ipv4Addr::UNSPECIFIED, v3: None })
        }
        "query-v3" => Message::Query(Query {
            max_response_code: 100,
            group: GROUP,
            v3: Some(SourceQuery {
                suppress: true,
                robustness: 2,
                interval_code: 125,
                sources: Addresses::List(&SOURCES),
            }),
        }),
        "report-v1" => Message::ReportV1(GROUP),
        "report-v2" => Message::ReportV2(GROUP),
        "leave" => Message::Leave(GROUP),
        "report-v3" => Message::ReportV3(GroupRecords::List(&RECORDS)),
        other => panic!("{other}"),
    }
}

#[test]
fn we_read_and_write_what_scapy_builds() {
    let messages = built("igmp.py");
    assert_eq!(messages.len(), 6);
    for (name, octets) in messages {
        let message = expected(&name);
        assert_eq!(igmp::parse(&octets), Ok(message), "{name}");
        let mut out = [0; 128];
        let len = igmp::emit(&message, &mut out).unwrap();
        assert_eq!(out[..len], octets, "{name}");
    }
}
