//! Messages of a running home agent, written out octet by octet from the diagrams of RFC 5142 s.4,
//! RFC 5846 s.5, RFC 5847 s.4 and RFC 5648 s.4.3.

use proptest::prelude::*;

use super::wire::checksum;
use super::*;

const HOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const OTHER_HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const BIDS: [Bid; 2] = [bid(1), bid(0x1234)];

const fn bid(id: u16) -> Bid {
    Bid { id, status: Status::ACCEPTED, home: false, priority: 0, care_of: None }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Puts the right checksum into a message.
fn sealed(mut message: Vec<u8>) -> Vec<u8> {
    message[4..6].fill(0);
    let sum = checksum(&message, HA, HOA);
    message[4..6].copy_from_slice(&sum.to_be_bytes());
    message
}

fn check(octets: &str, message: &Message<'_>) {
    let octets = sealed(hex(octets));
    let mut out = [0; 512];
    let len = emit(message, HA, HOA, &mut out).unwrap();
    assert_eq!(out[..len], octets, "{message:?}");
    assert_eq!(parse(&octets, HA, HOA), Ok(*message));
}

fn refused(octets: &str) -> MhError {
    parse(&sealed(hex(octets)), HA, HOA).unwrap_err()
}

#[test]
fn refresh_request_for_some_of_several_bindings() {
    check(
        "3b 02 00 00 0000 0000 23 04 0001 00 00 23 04 1234 00 00 01 02 0000",
        &Message::BindingRefreshRequest { bids: Repeated::List(&BIDS) },
    );
    assert_eq!(
        refused("3b 00 00 00 0000 0000".replace("3b 00", "3b 01").as_str()),
        MhError::Truncated
    );
    assert_eq!(refused("3b 01 00 00 0000 0000 23 07 0001 00 00 0000"), MhError::Option);
}

#[test]
fn home_agent_switch() {
    let addresses = [OTHER_HA, HOA];
    check(
        "3b 05 0c 00 0000 02 00
         20010db8 00010000 00000000 00000002 20010db8 00010000 00000000 00000010
         02 02 0384 01 02 0000",
        &Message::HomeAgentSwitch(HomeAgentSwitch {
            addresses: Addresses::List(&addresses),
            refresh_advice: Some(900),
        }),
    );
    // "the Header Len field in the Mobility Header will be set to zero"
    let none = HomeAgentSwitch { addresses: Addresses::default(), refresh_advice: None };
    check("3b 00 0c 00 0000 00 00", &Message::HomeAgentSwitch(none));
    // one address more than there is
    let short = "3b 02 0c 00 0000 02 00 20010db8 00010000 00000000 00000002";
    assert_eq!(refused(short), MhError::HeaderLen);
}

#[test]
fn heartbeats() {
    let request =
        Heartbeat { unsolicited: false, response: false, seq: 0x0102_0304, restart_counter: None };
    check("3b 01 0d 00 0000 0000 01020304 01 02 0000", &Message::Heartbeat(request));
    let response = Heartbeat { response: true, restart_counter: Some(7), ..request };
    check(
        "3b 02 0d 00 0000 0001 01020304 01 00 1c 04 00000007 01 02 0000",
        &Message::Heartbeat(response),
    );
    let unsolicited = Heartbeat { unsolicited: true, seq: 0, ..response };
    check(
        "3b 02 0d 00 0000 0003 00000000 01 00 1c 04 00000007 01 02 0000",
        &Message::Heartbeat(unsolicited),
    );
    assert_eq!(refused("3b 00 0d 00 0000 0000"), MhError::HeaderLen);
    assert_eq!(refused("3b 01 0d 00 0000 0000 01020304 1c 02 0000"), MhError::Option);
}

#[test]
fn revocations() {
    let all = Revocation {
        trigger: trigger::ADMINISTRATIVE,
        seq: 0xabcd,
        flags: RevocationFlags::default(),
        bids: Repeated::default(),
        ipv4_hoa: None,
    };
    // "4 octets of padding are necessary and the Header Len field [...] will be set to 1"
    check("3b 01 10 00 0000 01 01 abcd 0000 01 02 0000", &Message::Revocation(all));
    let some = Revocation { bids: Repeated::List(&BIDS), ..all };
    check(
        "3b 02 10 00 0000 01 01 abcd 0000 23 04 0001 00 00 23 04 1234 00 00",
        &Message::Revocation(some),
    );
    let address = Ipv4Addr::new(198, 51, 100, 16);
    let ipv4 = Revocation {
        flags: RevocationFlags { ipv4_only: true, ..RevocationFlags::default() },
        ipv4_hoa: Some(Ipv4HomeAddress { prefix_len: 32, prefix_request: false, address }),
        ..all
    };
    check(
        "3b 02 10 00 0000 01 01 abcd 4000 1d 06 80 00 c6336410 01 02 0000",
        &Message::Revocation(ipv4),
    );
}

#[test]
fn revocation_acknowledgements() {
    let ack = RevocationAck {
        status: RevocationStatus::PARTIAL,
        seq: 0xabcd,
        flags: RevocationFlags { proxy: true, ipv4_only: false, global: true },
        bids: Repeated::List(&BIDS[..1]),
    };
    check(
        "3b 02 10 00 0000 02 01 abcd a000 23 04 0001 00 00 01 04 00000000",
        &Message::RevocationAck(ack),
    );
    for unknown in ["00", "03"] {
        let octets = format!("3b 01 10 00 0000 {unknown} 01 abcd 0000 01 02 0000");
        assert_eq!(refused(&octets), MhError::UnknownType(16));
    }
}

#[test]
fn reserved_bits_are_ignored() {
    let octets = sealed(hex("3b 01 10 ff 0000 02 80 abcd 1fff 01 02 ffff"));
    let Ok(Message::RevocationAck(ack)) = parse(&octets, HA, HOA) else { panic!() };
    assert_eq!((ack.status, ack.flags), (RevocationStatus::NO_BINDING, RevocationFlags::default()));
    let octets = sealed(hex("3b 01 0d ff 0000 fffc 01020304 01 02 0000"));
    let Ok(Message::Heartbeat(heartbeat)) = parse(&octets, HA, HOA) else { panic!() };
    assert!(!heartbeat.unsolicited && !heartbeat.response);
    let octets = sealed(hex("3b 00 0c ff 0000 00 ff"));
    assert!(matches!(parse(&octets, HA, HOA), Ok(Message::HomeAgentSwitch(_))));
}

proptest! {
    /// Octets behind a right checksum.
    #[test]
    fn messages_never_panic(
        mh_type in prop::sample::select(vec![0_u8, 12, 13, 16]), units in 0..6_u8,
        data in prop::collection::vec(any::<u8>(), 64),
    ) {
        let mut octets = vec![59, units, mh_type, 0];
        octets.extend(data);
        octets.truncate((usize::from(units) + 1) * 8);
        let _ = parse(&sealed(octets), HA, HOA);
    }

    #[test]
    fn messages_survive_the_wire(
        addresses in prop::collection::vec(any::<Ipv6Addr>(), 0..30),
        refresh_advice in prop::option::of(any::<u16>()), ids in prop::collection::vec(any::<u16>(), 0..9),
        octet: u8, seq: u32, flags: (bool, bool, bool), restart_counter in prop::option::of(any::<u32>()),
    ) {
        let bids: Vec<_> = ids.into_iter().map(bid).collect();
        let bids = Repeated::List(&bids);
        let short = u16::try_from(seq >> 16).unwrap();
        let revocation_flags =
            RevocationFlags { proxy: flags.0, ipv4_only: flags.1, global: flags.2 };
        for message in [
            Message::BindingRefreshRequest { bids },
            Message::HomeAgentSwitch(HomeAgentSwitch {
                addresses: Addresses::List(&addresses), refresh_advice,
            }),
            Message::Heartbeat(Heartbeat {
                unsolicited: flags.0, response: flags.1, seq, restart_counter,
            }),
            Message::Revocation(Revocation {
                trigger: octet, seq: short, flags: revocation_flags, bids, ipv4_hoa: None,
            }),
            Message::RevocationAck(RevocationAck {
                status: RevocationStatus(octet), seq: short, flags: revocation_flags, bids,
            }),
        ] {
            let mut out = [0; 1024];
            let len = emit(&message, HA, HOA, &mut out).unwrap();
            prop_assert_eq!(parse(&out[..len], HA, HOA), Ok(message));
        }
    }
}
