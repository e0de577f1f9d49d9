//! Messages written out octet by octet from the diagrams of RFC 6275 s.6.1 and RFC 5555 s.3, with
//! checksums worked out apart from this crate, over HoA and HA address (R-30, MHP-13).

use proptest::prelude::*;

use super::wire::checksum;
use super::*;

const HOA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
const HA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const COA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x77);
const V4_HOA: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 16);

const BRR: &str = "3b 00 00 00 68eb 0000";

const BU_BARE: &str = "3b 01 05 00 a2cf 0001 c000 000f 01 02 0000";

/// The option stands at 8n+6: offset 14.
const BU_ALTERNATE_COA: &str = "3b 03 05 00 5bd5 1234 c000 0384
    01 00
    03 10 20010db8 00020000 00000000 00000077";

const BU_FULL: &str = "3b 07 05 00 d783 fffe f540 ffff
    01 00
    03 10 20010db8 00020000 00000000 00000077
    1d 06 82 00 c6336410
    20 06 0000 cb007109
    04 04 0000 0000
    08 08 01 6d6e40612e6263";

const BA_BARE: &str = "3b 01 06 00 b1de b0 00 0001 0000 01 02 0000";

const BA_FULL: &str = "3b 05 06 00 382f 00 40 fffe 0384
    02 02 0040
    1e 06 00 80 c6336410
    1f 06 80 00 0000006e
    08 08 01 6d6e40612e6263
    01 04 00000000";

const BE: &str = "3b 02 07 00 320f 02 00 20010db8 00010000 00000000 00000010";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const fn home_registration() -> BuFlags {
    BuFlags {
        acknowledge: true,
        home_registration: true,
        link_local_compat: false,
        key_management: false,
        mobile_router: false,
        force_udp: false,
        overwrite: false,
    }
}

fn update(seq: u16, lifetime: u16, options: BuOptions<'static>) -> Message<'static> {
    Message::BindingUpdate(BindingUpdate { seq, flags: home_registration(), lifetime, options })
}

fn full_update() -> Message<'static> {
    Message::BindingUpdate(BindingUpdate {
        seq: 0xfffe,
        flags: BuFlags {
            link_local_compat: true,
            key_management: true,
            mobile_router: true,
            force_udp: true,
            overwrite: true,
            ..home_registration()
        },
        lifetime: 0xffff,
        options: BuOptions {
            alternate_coa: Some(COA),
            nonce_indices: Some(NonceIndices::default()),
            mn_id: Some((option::MN_ID_NAI, b"mn@a.bc")),
            ipv4_hoa: Some(Ipv4HomeAddress {
                prefix_len: 32,
                prefix_request: true,
                address: V4_HOA,
            }),
            ipv4_coa: Some(Ipv4Addr::new(203, 0, 113, 9)),
            ..BuOptions::default()
        },
    })
}

fn full_ack() -> Message<'static> {
    Message::BindingAck(BindingAck {
        status: Status::ACCEPTED,
        key_management: false,
        mobile_router: true,
        seq: 0xfffe,
        lifetime: 900,
        options: BaOptions {
            refresh_advice: Some(64),
            mn_id: Some((option::MN_ID_NAI, b"mn@a.bc")),
            ipv4_ack: Some(Ipv4Ack {
                status: Ipv4AckStatus::SUCCESS,
                prefix_len: 32,
                address: V4_HOA,
            }),
            nat_detection: Some(NatDetection { force_udp: true, refresh_time: 110 }),
            ..BaOptions::default()
        },
    })
}

/// Octets, message, whether it travels from MN to HA.
fn table() -> Vec<(&'static str, Message<'static>, bool)> {
    let with_coa = BuOptions { alternate_coa: Some(COA), ..BuOptions::default() };
    let reinit = BindingAck {
        status: Status::REINIT_SA_WITH_HAC,
        key_management: false,
        mobile_router: false,
        seq: 1,
        lifetime: 0,
        options: BaOptions::default(),
    };
    vec![
        (BRR, Message::BindingRefreshRequest { bids: Repeated::default() }, false),
        (BU_BARE, update(1, 15, BuOptions::default()), true),
        (BU_ALTERNATE_COA, update(0x1234, 900, with_coa), true),
        (BU_FULL, full_update(), true),
        (BA_BARE, Message::BindingAck(reinit), false),
        (BA_FULL, full_ack(), false),
        (BE, Message::BindingError(BindingError { status: 2, home_address: HOA }), false),
    ]
}

fn ends(from_mn: bool) -> (Ipv6Addr, Ipv6Addr) {
    if from_mn { (HOA, HA) } else { (HA, HOA) }
}

/// Puts the right checksum into a message from the MN.
fn seal(message: &mut [u8]) {
    message[4..6].fill(0);
    let sum = checksum(message, HOA, HA);
    message[4..6].copy_from_slice(&sum.to_be_bytes());
}

/// A BU with these octets as options; what is short of a unit is filled with Pad1.
fn update_with(options: &[u8]) -> Vec<u8> {
    let mut message = hex(BU_BARE);
    message.truncate(12);
    message.extend_from_slice(options);
    message.resize(message.len().next_multiple_of(8).max(16), 0);
    message[1] = u8::try_from(message.len() / 8 - 1).unwrap();
    seal(&mut message);
    message
}

fn parse_update_with(options: &[u8]) -> Result<BuOptions<'static>, MhError> {
    let message = update_with(options).leak();
    match parse(message, HOA, HA)? {
        Message::BindingUpdate(update) => Ok(update.options),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_message_stands_on_the_wire_as_the_diagrams_say() {
    for (text, message, from_mn) in table() {
        let (source, destination) = ends(from_mn);
        let octets = hex(text);
        assert_eq!(parse(&octets, source, destination), Ok(message));
        let mut out = [0xee; 80];
        let len = emit(&message, source, destination, &mut out).unwrap();
        assert_eq!(out[..len], octets, "{message:?}");
        assert!(out[len..].iter().all(|octet| *octet == 0xee), "wrote behind the message");
    }
}

#[test]
fn emit_needs_room_for_the_whole_message() {
    for (text, message, from_mn) in table() {
        let (source, destination) = ends(from_mn);
        let mut out = vec![0; hex(text).len() - 1];
        assert_eq!(emit(&message, source, destination, &mut out), None);
    }
}

#[test]
fn emit_refuses_values_that_do_not_fit_their_field() {
    let refused = |options| emit(&update(1, 1, options), HOA, HA, &mut [0; 512]).is_none();
    let id = &[b'x'; 255];
    assert!(refused(BuOptions { mn_id: Some((1, &id[..])), ..BuOptions::default() }));
    let hoa = Ipv4HomeAddress { prefix_len: 64, prefix_request: false, address: V4_HOA };
    assert!(refused(BuOptions { ipv4_hoa: Some(hoa), ..BuOptions::default() }));
}

#[test]
fn checksum_covers_every_octet_and_both_ends() {
    // MHP-02
    let octets = hex(BU_FULL);
    for place in 0..octets.len() {
        let mut broken = octets.clone();
        broken[place] ^= 0x10;
        assert!(
            matches!(parse(&broken, HOA, HA), Err(MhError::Checksum | MhError::Truncated)),
            "octet {place}"
        );
    }
    assert_eq!(parse(&octets, COA, HA), Err(MhError::Checksum));
    assert_eq!(parse(&octets, HOA, COA), Err(MhError::Checksum));
}

#[test]
fn payload_proto_must_be_59() {
    // MHP-03
    let mut octets = hex(BU_FULL);
    octets[0] = 41;
    seal(&mut octets);
    assert_eq!(parse(&octets, HOA, HA), Err(MhError::PayloadProto));
}

#[test]
fn header_len_below_the_minimum_of_its_type() {
    // MHP-04
    for (mh_type, header_len) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 0), (6, 0), (7, 1)] {
        let mut octets = vec![0; 8 * (header_len + 1)];
        octets[0] = 59;
        octets[1] = u8::try_from(header_len).unwrap();
        octets[2] = mh_type;
        seal(&mut octets);
        assert_eq!(parse(&octets, HOA, HA), Err(MhError::HeaderLen), "type {mh_type}");
        octets.extend_from_slice(&[0; 8]);
        octets[1] += 1;
        seal(&mut octets);
        assert!(parse(&octets, HOA, HA).is_ok(), "type {mh_type}");
    }
}

#[test]
fn header_len_beyond_the_packet() {
    // MHP-05
    let octets = hex(BU_FULL);
    for len in 0..octets.len() {
        assert_eq!(parse(&octets[..len], HOA, HA), Err(MhError::Truncated), "{len} octets");
    }
    let mut longer = octets;
    longer[1] = 255;
    assert_eq!(parse(&longer, HOA, HA), Err(MhError::Truncated));
}

#[test]
fn octets_behind_the_message_are_not_looked_at() {
    let mut octets = hex(BU_FULL);
    octets.extend_from_slice(&[0xff; 13]);
    assert_eq!(parse(&octets, HOA, HA), Ok(full_update()));
}

#[test]
fn unknown_type_is_told_apart_whatever_its_length() {
    // MHP-01
    for mh_type in (8..=255).filter(|mh_type| ![12, 13, 16].contains(mh_type)) {
        let mut octets = vec![59, 0, mh_type, 0, 0, 0, 0, 0];
        seal(&mut octets);
        assert_eq!(parse(&octets, HOA, HA), Err(MhError::UnknownType(mh_type)));
    }
}

#[test]
fn unknown_options_are_skipped_and_the_rest_honoured() {
    // MHP-06
    let options = hex("fe 03 aabbcc 00 20 06 0000 cb007109 63 00 08 04 01 614062 02 02 0001");
    let read = parse_update_with(&options).unwrap();
    assert_eq!(read.ipv4_coa, Some(Ipv4Addr::new(203, 0, 113, 9)));
    assert_eq!(read.mn_id, Some((1, &b"a@b"[..])));
}

#[test]
fn option_past_the_end_is_refused() {
    // MHP-07
    assert_eq!(parse_update_with(&hex("fe 03 0000")), Err(MhError::Option));
    assert_eq!(parse_update_with(&hex("01 ff 0000")), Err(MhError::Option));
    assert_eq!(parse_update_with(&hex("01 01 00 fe")), Err(MhError::Option));
}

#[test]
fn known_option_of_a_wrong_length_is_refused() {
    for option in ["03 0f", "03 11", "04 03", "07 00", "08 00", "1d 05", "1d 07", "20 00", "20 07"]
    {
        let mut octets = hex(option);
        octets.resize(usize::from(octets[1]) + 2, 0);
        assert_eq!(parse_update_with(&octets), Err(MhError::Option), "{option}");
    }
}

#[test]
fn a_hundred_options_and_more_are_walked_once() {
    // MHP-07: as many empty options as a Mobility Header holds
    let read = parse_update_with(&[0xfe, 0].repeat((2048 - 12) / 2)).unwrap();
    assert_eq!(read, BuOptions::default());
}

#[test]
fn reserved_bits_are_ignored() {
    // MHP-08: every reserved bit and field set; M, P and T are not ours either
    let mut octets = hex(BU_FULL);
    octets[3] = 0xff;
    octets[8] |= 0x0a;
    octets[9] |= 0xbf;
    octets[34] |= 0x01;
    octets[35] = 0xff;
    octets[42..44].fill(0xff);
    seal(&mut octets);
    assert_eq!(parse(&octets, HOA, HA), Ok(full_update()));
}

#[test]
fn of_a_repeated_option_the_first_counts() {
    // MHP-09
    let read = parse_update_with(&hex(
        "0000 03 10 20010db8000200000000000000000077 03 10 20010db8000200000000000000000088
         1d 06 8000 c6336410 1d 06 8000 c6336411 08 02 01 61 08 02 01 62",
    ))
    .unwrap();
    assert_eq!(read.alternate_coa, Some(COA));
    assert_eq!(read.ipv4_hoa.unwrap().address, V4_HOA);
    assert_eq!(read.mn_id, Some((1, &b"a"[..])));
}

#[test]
fn options_are_aligned_wherever_they_stand() {
    let ipv4_coa = Some(Ipv4Addr::BROADCAST);
    let ipv4_hoa = Some(Ipv4HomeAddress { prefix_len: 32, prefix_request: false, address: V4_HOA });
    for alternate_coa in [None, Some(COA)] {
        for ipv4_hoa in [None, ipv4_hoa] {
            for ipv4_coa in [None, ipv4_coa] {
                for id_len in 0..9 {
                    let mn_id = Some((2, &b"........"[..id_len]));
                    let options = BuOptions {
                        alternate_coa,
                        ipv4_hoa,
                        ipv4_coa,
                        mn_id,
                        nonce_indices: Some(NonceIndices::default()),
                        ..BuOptions::default()
                    };
                    let mut out = [0; 128];
                    let len = emit(&update(1, 1, options), HOA, HA, &mut out).unwrap();
                    assert!(len.is_multiple_of(8));
                    check_alignment(&out[12..len]);
                }
            }
        }
    }
}

/// Checks the places of options that follow 12 octets of message.
fn check_alignment(mut options: &[u8]) {
    let mut place = 12;
    while let [option_type, rest @ ..] = options {
        let len = if *option_type == 0 { 1 } else { usize::from(rest[0]) + 2 };
        match *option_type {
            2 | 4 => assert_eq!(place % 2, 0),
            3 => assert_eq!(place % 8, 6),
            29..=32 => assert_eq!(place % 4, 0),
            _ => {}
        }
        place += len;
        options = &options[len..];
    }
}

fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from)
}

fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from)
}

fn mn_id() -> impl Strategy<Value = Option<(u8, Vec<u8>)>> {
    prop::option::of((any::<u8>(), prop::collection::vec(any::<u8>(), 0..=254)))
}

prop_compose! {
    fn flags()(bits in any::<u16>()) -> BuFlags {
        BuFlags::from_bits(bits)
    }
}

prop_compose! {
    fn ipv4_hoa()(prefix_len in 0..64_u8, prefix_request in any::<bool>(), address in ipv4())
        -> Ipv4HomeAddress
    {
        Ipv4HomeAddress { prefix_len, prefix_request, address }
    }
}

prop_compose! {
    fn ipv4_ack()(status in any::<u8>(), prefix_len in 0..64_u8, address in ipv4()) -> Ipv4Ack {
        Ipv4Ack { status: Ipv4AckStatus(status), prefix_len, address }
    }
}

proptest! {
    #[test]
    fn parse_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
        let _ = parse(&bytes, HOA, HA);
    }

    /// The checksum would hide the option parser from random octets.
    #[test]
    fn options_never_panic(options in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = BuOptions::parse(&options);
        let _ = BaOptions::parse(&options);
    }

    #[test]
    fn update_survives_the_wire(
        seq: u16, flags in flags(), lifetime: u16,
        alternate_coa in prop::option::of(ipv6()), nonces in prop::option::of(any::<(u16, u16)>()), mn_id in mn_id(),
        ipv4_hoa in prop::option::of(ipv4_hoa()), ipv4_coa in prop::option::of(ipv4()),
    ) {
        let mn_id = mn_id.as_ref().map(|(subtype, id)| (*subtype, id.as_slice()));
        let nonce_indices = nonces.map(|(home, care_of)| NonceIndices { home, care_of });
        let options = BuOptions {
            alternate_coa, nonce_indices, mn_id, ipv4_hoa, ipv4_coa, ..BuOptions::default()
        };
        let message = Message::BindingUpdate(BindingUpdate { seq, flags, lifetime, options });
        let mut out = [0; 512];
        let len = emit(&message, HOA, HA, &mut out).unwrap();
        prop_assert_eq!(parse(&out[..len], HOA, HA), Ok(message));
    }

    #[test]
    fn ack_survives_the_wire(
        status: u8, key_management: bool, mobile_router: bool, seq: u16, lifetime: u16,
        refresh_advice in prop::option::of(any::<u16>()), mn_id in mn_id(),
        ipv4_ack in prop::option::of(ipv4_ack()), nat in prop::option::of(any::<(bool, u32)>()),
    ) {
        let mn_id = mn_id.as_ref().map(|(subtype, id)| (*subtype, id.as_slice()));
        let nat_detection =
            nat.map(|(force_udp, refresh_time)| NatDetection { force_udp, refresh_time });
        let message = Message::BindingAck(BindingAck {
            status: Status(status), key_management, mobile_router, seq, lifetime,
            options: BaOptions { refresh_advice, mn_id, ipv4_ack, nat_detection, ..BaOptions::default() },
        });
        let mut out = [0; 512];
        let len = emit(&message, HA, HOA, &mut out).unwrap();
        prop_assert_eq!(parse(&out[..len], HA, HOA), Ok(message));
    }
}
