//! MHP: Mobility Header processing (RFC 6275 s.6.1, 6.2, 9.2, 9.3.3).

use core::net::Ipv6Addr;

use hearth_home_agent::{Action, Refusal, SaInfo};
use hearth_wire::mh::{self, BaOptions, BindingAck, BindingError, Message, Repeated, Status};
use hearth_wire::{Scope, Suite, exthdr};

use crate::lab::{
    Bu, COA, COA4, HA, HOA, Lab, OTHER_HOA, Outcome, addr, fix_checksum, mobility_header,
    raw_header, sa, seconds, spi, with_home_address,
};

/// An MH Type that nobody uses.
const UNKNOWN: u8 = 200;

fn update() -> Vec<u8> {
    mobility_header(&Message::BindingUpdate(Bu::new(16).update), HOA)
}

fn untouched(lab: &Lab) {
    assert_eq!(lab.binding(), Some((addr(COA), 15)));
}

fn error_of(outcome: &Outcome) -> BindingError {
    let errors = outcome.errors();
    assert_eq!(errors.len(), 1, "{outcome:?}");
    errors[0].message
}

#[test]
fn mhp_01_unknown_type() {
    for mut lab in [Lab::new(), Lab::registered()] {
        let outcome = lab.header(&raw_header(UNKNOWN, &[0; 10], HOA));
        assert_eq!(error_of(&outcome), BindingError { status: 2, home_address: HOA });
        let error = outcome.errors()[0];
        // to the outer source of the offending packet, under its SA.
        assert_eq!((error.to, error.from), (addr(COA), (HA, 7872).into()));
        assert_eq!((error.spi, error.routing), (spi(1), Some(HOA)));
        assert_eq!(outcome.counted(), Refusal::MhUnknownType);
    }
}

#[test]
fn mhp_01_unknown_type_without_home_address_option() {
    let mut lab = Lab::new();
    let outcome = lab.packet(1, COA4, mh::PROTO, &raw_header(UNKNOWN, &[], HOA));
    let expected = BindingError { status: 2, home_address: Ipv6Addr::UNSPECIFIED };
    assert_eq!(error_of(&outcome), expected);
    assert_eq!(outcome.errors()[0].to, addr(COA4));
}

#[test]
fn mhp_02_wrong_checksum() {
    for octet in 0..update().len() {
        let mut lab = Lab::registered();
        let mut header = update();
        header[octet] ^= 0x10;
        // A changed Header Len may also run past the end.
        let refusal = lab.header(&header).refusal();
        assert!(matches!(refusal, Refusal::MhChecksum | Refusal::MhTruncated), "{octet}");
        untouched(&lab);
    }
}

#[test]
fn mhp_03_payload_proto() {
    let mut header = update();
    header[0] = 6;
    fix_checksum(&mut header, HOA);
    let mut lab = Lab::registered();
    let outcome = lab.header(&header);
    assert_eq!(outcome.refusal(), Refusal::MhPayloadProto);
    // 24 octets of Destination Options stand in front of the field.
    assert_parameter_problem(&outcome, 40 + 24, &with_home_address(&header, HOA));
    untouched(&lab);
    // ICMP is data, which needs a binding.
    assert_eq!(Lab::new().header(&header).0, [Action::Count(Refusal::MhPayloadProto)]);
}

#[test]
fn mhp_04_header_len_below_the_minimum() {
    // A BU of 8 octets; RFC 6275 s.6.1.7 has 12 before its options, hence 16.
    let header = raw_header(mh::mh_type::BU, &[0, 16], HOA);
    let mut lab = Lab::registered();
    let outcome = lab.header(&header);
    assert_eq!(outcome.refusal(), Refusal::MhHeaderLen);
    assert_parameter_problem(&outcome, 40 + 24 + 1, &with_home_address(&header, HOA));
    untouched(&lab);
}

#[test]
fn icmp_errors_reveal_nothing_that_came_encrypted() {
    let mut header = update();
    header[0] = 6;
    fix_checksum(&mut header, HOA);
    let clear = SaInfo { scope: Scope::Signalling, ..sa(2) };
    let null = SaInfo { suite: Suite::NullSha, ..sa(2) };
    // The SA of the binding, the SA under which the packet comes, and whether an error leaves.
    for (bound, came, sent) in [
        (sa(2), 2, true),
        // Data of scope 0 is PType 0; the error would be readable by anybody.
        (clear.clone(), 2, false),
        (clear, 3, false),
        // As it would be under NULL, which hides nothing that came.
        (null.clone(), 2, true),
        (null, 3, false),
    ] {
        let mut lab = Lab::new();
        lab.issue(bound.clone());
        lab.bu(Bu::new(15).spi(2));
        lab.issue(sa(3));
        let payload = with_home_address(&header, HOA);
        let outcome = lab.packet(came, COA, exthdr::DESTINATION_OPTIONS, &payload);
        assert_eq!(outcome.counted(), Refusal::MhPayloadProto);
        assert_eq!(outcome.0.len(), 1 + usize::from(sent), "{bound:?} {came} {outcome:?}");
    }
}

#[test]
fn icmp_errors_need_a_binding_that_is_alive() {
    let mut header = update();
    header[0] = 6;
    fix_checksum(&mut header, HOA);
    // De-registered a moment ago: its sequence number is remembered, its data goes nowhere.
    let mut lab = Lab::registered();
    assert_eq!(lab.bu(Bu::new(16).lifetime(0)).status(), 0);
    assert_eq!(lab.header(&header).0, [Action::Count(Refusal::MhPayloadProto)]);
    // Expired.
    let mut lab = Lab::registered();
    lab.wait(seconds(400));
    assert_eq!(lab.header(&header).0, [Action::Count(Refusal::MhPayloadProto)]);
}

/// An ICMPv6 Parameter Problem, code 0, from the HA address to the home address, that quotes
/// `payload` behind an IPv6 header.
fn assert_parameter_problem(outcome: &Outcome, pointer: u32, payload: &[u8]) {
    let [Action::SendData { home_address: HOA, packet }, Action::Count(_)] = &outcome.0[..] else {
        panic!("{outcome:?}");
    };
    let len = u16::try_from(packet.len() - 40).unwrap();
    assert_eq!(packet[..4], [0x60, 0, 0, 0]);
    assert_eq!(packet[4..6], len.to_be_bytes());
    assert_eq!(packet[6..8], [58, 64]);
    assert_eq!((&packet[8..24], &packet[24..40]), (&HA.octets()[..], &HOA.octets()[..]));
    let sum = hearth_wire::ip::pseudo_v6(HA, HOA, u32::from(len), 58).plus(&packet[40..]);
    assert_eq!(sum.finish(), 0, "checksum");
    assert_eq!(packet[40..42], [4, 0]);
    assert_eq!(packet[44..48], pointer.to_be_bytes());
    let quoted = &packet[48..];
    assert_eq!(quoted[6], exthdr::DESTINATION_OPTIONS);
    assert_eq!((&quoted[8..24], &quoted[24..40]), (&HOA.octets()[..], &HA.octets()[..]));
    assert_eq!(&quoted[40..], payload);
}

#[test]
fn icmp_errors_fit_the_minimum_mtu() {
    let mut header = raw_header(mh::mh_type::BU, &[0; 1800], HOA);
    header[0] = 6;
    fix_checksum(&mut header, HOA);
    let outcome = Lab::registered().header(&header);
    let Action::SendData { packet, .. } = &outcome.0[0] else { panic!("{outcome:?}") };
    assert_eq!(packet.len(), 1280);
}

#[test]
fn mhp_05_header_len_beyond_the_packet() {
    let mut header = update();
    header[1] = 200;
    fix_checksum(&mut header, HOA);
    let mut lab = Lab::registered();
    assert_eq!(lab.header(&header).refusal(), Refusal::MhTruncated);
    for len in 0..update().len() {
        let refusal = lab.header(&update()[..len]).refusal();
        assert_eq!(refusal, Refusal::MhTruncated, "{len}");
    }
    untouched(&lab);
}

#[test]
fn mhp_06_unknown_option_between_known_ones() {
    // BU, sequence 16, A and H, 100 units; option 77; then an Alternate Care-of Address.
    let mut data = vec![0, 16, 0xc0, 0, 0, 100, 77, 4, 1, 2, 3, 4, 3, 16];
    data.extend_from_slice(&"2001:db8:9::9".parse::<Ipv6Addr>().unwrap().octets());
    let mut lab = Lab::registered();
    assert_eq!(lab.header(&raw_header(mh::mh_type::BU, &data, HOA)).answer(), (0, 16, 100));
    assert_eq!(lab.binding(), Some((addr("[2001:db8:9::9]:5000"), 16)));
}

#[test]
fn mhp_07_options_that_do_not_add_up() {
    let start = [0, 16, 0xc0, 0, 0, 100];
    // The last one ends in an option type without a length.
    let past_the_end: [&[u8]; 3] =
        [&[77, 200], &[3, 17, 0, 0], &[1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 77]];
    for options in past_the_end {
        let header = raw_header(mh::mh_type::BU, &[&start[..], options].concat(), HOA);
        let mut lab = Lab::registered();
        assert_eq!(lab.header(&header).refusal(), Refusal::MhOption, "{options:?}");
        untouched(&lab);
    }
    let hundred = [77, 0].repeat(100);
    let header = raw_header(mh::mh_type::BU, &[&start[..], &hundred].concat(), HOA);
    assert_eq!(Lab::registered().header(&header).status(), 0);
}

#[test]
fn mhp_08_reserved_bits_are_ignored() {
    // All flags that are not known, and the Reserved octet of the Mobility Header.
    let mut header = raw_header(mh::mh_type::BU, &[0, 16, 0xc0, 0xff, 0, 100], HOA);
    header[3] = 0xff;
    fix_checksum(&mut header, HOA);
    assert_eq!(Lab::registered().header(&header).answer(), (0, 16, 100));
}

#[test]
fn mhp_09_of_two_options_the_first_counts() {
    let coa = |last: &str| format!("2001:db8:9::{last}").parse::<Ipv6Addr>().unwrap().octets();
    let start = [0, 16, 0xc0, 0, 0, 100];
    let options = [&[3, 16], &coa("1")[..], &[3, 16], &coa("2")[..]].concat();
    let header = raw_header(mh::mh_type::BU, &[&start[..], &options].concat(), HOA);
    let mut lab = Lab::registered();
    assert_eq!(lab.header(&header).status(), 0);
    assert_eq!(lab.binding(), Some((addr("[2001:db8:9::1]:5000"), 16)));

    let options = b"\x08\x0e\x01a@example.org\x08\x0e\x01b@example.org";
    let header = raw_header(mh::mh_type::BU, &[&start[..], options].concat(), HOA);
    assert_eq!(Lab::registered().header(&header).status(), 0);

    let options = [&[29, 6, 32 << 2, 0, 203, 0, 113, 130][..], &[29, 6, 0, 0, 1, 1, 1, 1]].concat();
    let header = raw_header(mh::mh_type::BU, &[&start[..], &options].concat(), HOA);
    let ack = Lab::registered().header(&header).ack().message.options.ipv4_ack.unwrap();
    assert_eq!(ack.status.0, 0);
}

#[test]
fn mhp_10_binding_errors_are_rate_limited_per_mobile_node() {
    let mut lab = Lab::new();
    lab.issue(crate::lab::other_sa(2));
    let header = raw_header(UNKNOWN, &[], HOA);
    let burst = |lab: &mut Lab| {
        let sent = (0..1000).map(|_| lab.header(&header)).filter(|o| !o.errors().is_empty());
        sent.count()
    };
    assert_eq!(burst(&mut lab), 10);
    assert_eq!(lab.header(&header).refusal(), Refusal::MhUnknownTypeLimited);
    // Another mobile node has an allowance of its own.
    let other = raw_header(UNKNOWN, &[], OTHER_HOA);
    let payload = with_home_address(&other, OTHER_HOA);
    let outcome = lab.packet(2, COA, exthdr::DESTINATION_OPTIONS, &payload);
    assert_eq!(outcome.errors()[0].routing, Some(OTHER_HOA));
    lab.wait(seconds(1));
    assert_eq!(burst(&mut lab), 10);
    assert_eq!(lab.ha.counters().binding_errors(), 21);
    assert_eq!(lab.ha.counters().refused(Refusal::MhUnknownTypeLimited), 990 + 1 + 990);
}

#[test]
fn mhp_11_no_binding_error_to_a_source_that_is_not_unicast() {
    for from in ["[ff0e::1]:5000", "239.1.1.1:5000"] {
        let payload = with_home_address(&raw_header(UNKNOWN, &[], HOA), HOA);
        let outcome = Lab::new().packet(1, from, exthdr::DESTINATION_OPTIONS, &payload);
        assert_eq!(outcome.refusal(), Refusal::OuterSource);
    }
}

#[test]
fn mhp_12_messages_that_a_home_agent_only_sends() {
    let ack = BindingAck {
        status: Status::ACCEPTED,
        key_management: false,
        mobile_router: false,
        seq: 15,
        lifetime: 1,
        options: BaOptions::default(),
    };
    let messages = [
        Message::BindingAck(ack),
        Message::BindingRefreshRequest { bids: Repeated::default() },
        Message::BindingError(BindingError { status: 1, home_address: HOA }),
    ];
    for message in messages {
        let mut lab = Lab::registered();
        let refusal = lab.header(&mobility_header(&message, HOA)).refusal();
        assert_eq!(refusal, Refusal::MhUnexpected, "{message:?}");
        untouched(&lab);
    }
    // ENC-35, R-29: return routability is data.
    for mh_type in mh::mh_type::HOTI..=mh::mh_type::COT {
        let refusal = Lab::registered().header(&raw_header(mh_type, &[0; 18], HOA)).refusal();
        assert_eq!(refusal, Refusal::MhReturnRoutability, "{mh_type}");
    }
}

#[test]
fn mhp_13_checksum_over_home_address_and_ha_address() {
    // R-30, against a plain sum of 16-bit words.
    let header = update();
    let reference = |source: Ipv6Addr| {
        let mut sum: u32 = 0;
        let words = |bytes: &[u8]| -> u32 {
            bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum()
        };
        sum += words(&source.octets()) + words(&HA.octets());
        sum += u32::try_from(header.len()).unwrap() + u32::from(mh::PROTO) + words(&header);
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum
    };
    assert_eq!(reference(HOA), 0xffff);
    // For both outer families, and not over the care-of address.
    for from in [COA, COA4] {
        let payload = with_home_address(&header, HOA);
        let mut lab = Lab::registered();
        assert_eq!(lab.packet(1, from, exthdr::DESTINATION_OPTIONS, &payload).status(), 0);
    }
    let over_coa = mobility_header(
        &Message::BindingUpdate(Bu::new(16).update),
        "2001:db8:1::c".parse().unwrap(),
    );
    assert_eq!(Lab::registered().header(&over_coa).refusal(), Refusal::MhChecksum);
}

#[test]
fn the_chain_in_front_of_the_header() {
    let header = update();
    let options = |option: &[u8]| [&[mh::PROTO, 0][..], option, &header].concat();
    let rows: [(u8, Vec<u8>, Refusal); 6] = [
        (exthdr::DESTINATION_OPTIONS, vec![mh::PROTO], Refusal::ChainTruncated),
        (41, header.clone(), Refusal::ChainUnexpectedHeader),
        (17, header.clone(), Refusal::ChainUnexpectedHeader),
        (exthdr::DESTINATION_OPTIONS, options(&[0x45, 4, 0, 0, 0, 0]), Refusal::ChainUnknownOption),
        (exthdr::DESTINATION_OPTIONS, options(&[0xc9, 4, 0, 0, 0, 0]), Refusal::ChainMalformed),
        (
            exthdr::ROUTING,
            [&exthdr::routing_header(mh::PROTO, HOA)[..], &header].concat(),
            Refusal::ChainRoutingHeader,
        ),
    ];
    for (next_header, payload, refusal) in rows {
        let mut lab = Lab::registered();
        assert_eq!(lab.packet(1, COA, next_header, &payload).refusal(), refusal);
        assert_eq!(lab.ha.counters().refused(refusal), 1);
        untouched(&lab);
    }
}

#[test]
fn an_acknowledgement_octet_by_octet() {
    let outcome = Lab::new().bu(Bu::new(0x0102));
    let payload = outcome.0.iter().find_map(|action| match action {
        Action::SendSignalling { next_header: 43, payload, .. } => Some(payload.clone()),
        _ => None,
    });
    let expected = [
        // Routing header: next 135, 16 octets more, type 2, one segment left, reserved
        &[135, 2, 2, 1, 0, 0, 0, 0][..],
        &[0x20, 1, 0x0d, 0xb8, 0x66, 0x18, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a],
        // Mobility Header: no next header, 8 octets more, BA, reserved, checksum
        &[59, 1, 6, 0, 0x93, 0x51],
        // Status 0, K and R 0, sequence 258, 100 units, PadN of 4
        &[0, 0, 1, 2, 0, 100, 1, 2, 0, 0],
    ]
    .concat();
    assert_eq!(payload.unwrap(), expected);
}
