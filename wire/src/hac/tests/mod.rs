//! Messages as they stand in the container, and what R-4 says about reading them.

use core::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use zeroize::Zeroizing;

mod values;

use super::message::{parse, verify};
use super::*;
use crate::ids::{MobileNodeId, Spi};
use crate::suite::{Scope, Suite};

/// 2026-11-22 07:15:00 UTC.
const VALIDITY_END: u64 = 1_795_331_700;

const MN_RAND_HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn mn_rand() -> [u8; 32] {
    core::array::from_fn(|place| u8::try_from(place).unwrap())
}

fn key(fill: u8, len: usize) -> Option<Zeroizing<Vec<u8>>> {
    Some(Zeroizing::new(vec![fill; len]))
}

/// Request/MHAuth-Init (RFC 6618 s.5.8).
fn init() -> Message {
    Message {
        mn_id: Some(MobileNodeId::new("mn1@example.net").unwrap()),
        auth_methods: vec![AuthMethod::Psk, AuthMethod::Eap],
        mn_rand: Some(mn_rand()),
        ..Message::default()
    }
}

/// Response/MHAuth-Done with everything that RFC 6618 s.5.6, 5.7 can put there.
fn done() -> Message {
    Message {
        status: Some(StatusCode::Ok),
        mn_rand: Some(mn_rand()),
        hac_rand: Some([0xab; 32]),
        scope: Some(Scope::SignallingAndData),
        suite: Some(Suite::Aes128CbcSha),
        spi: Some(Spi::MAX),
        mn_to_ha_ikey: key(0xa1, 20),
        ha_to_mn_ikey: key(0xa2, 20),
        mn_to_ha_ekey: key(0xe1, 16),
        ha_to_mn_ekey: key(0xe2, 16),
        validity_end: Some(VALIDITY_END),
        ha_ip6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ha_ip4: Some(Ipv4Addr::new(198, 51, 100, 1)),
        port: Some(7872),
        hoa_ip6: Some(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10)),
        hoa_ip4: Some(Ipv4Addr::new(203, 0, 113, 16)),
        hnp_ip6: Some((Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0), 64)),
        hnp_ip4: Some((Ipv4Addr::new(203, 0, 113, 0), 24)),
        dns_ip6: vec![Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED],
        dns_ip4: vec![Ipv4Addr::new(192, 0, 2, 53)],
        ..Message::default()
    }
}

fn done_text() -> String {
    let lines = [
        "status-code:200".to_owned(),
        format!("mn-rand:{MN_RAND_HEX}"),
        format!("hac-rand:{}", "ab".repeat(32)),
        "mip6-sas:1".to_owned(),
        "mip6-ciphersuite:{00,2F}".to_owned(),
        "mip6-spi:268435455".to_owned(),
        format!("mip6-mn-to-ha-ikey:{}", "a1".repeat(20)),
        format!("mip6-ha-to-mn-ikey:{}", "a2".repeat(20)),
        format!("mip6-mn-to-ha-ekey:{}", "e1".repeat(16)),
        format!("mip6-ha-to-mn-ekey:{}", "e2".repeat(16)),
        "mip6-sa-validity-end:Sun, 22 Nov 2026 07:15:00 GMT".to_owned(),
        "mip6-haa-ip6:2001:db8:0:0:0:0:0:1".to_owned(),
        "mip6-haa-ip4:198.51.100.1".to_owned(),
        "mip6-port:7872".to_owned(),
        "mip6-ip6-hoa:2001:db8:1:0:0:0:0:10".to_owned(),
        "mip6-ip4-hoa:203.0.113.16".to_owned(),
        "mip6-ip6-hnp:2001:db8:1:0:0:0:0:0/64".to_owned(),
        "mip6-ip4-hnp:203.0.113.0/24".to_owned(),
        "dns-ip6:0:0:0:0:0:0:0:1".to_owned(),
        "dns-ip6:0:0:0:0:0:0:0:0".to_owned(),
        "dns-ip4:192.0.2.53".to_owned(),
    ];
    lines.join("\r\n") + "\r\n\r\n\r\n"
}

/// Reads these header lines, which stand without the CRLF of the last one.
fn read(lines: &str) -> Result<Message, MessageError> {
    parse(format!("{lines}\r\n\r\n\r\n").as_bytes()).map(|parsed| parsed.message)
}

fn error(lines: &str) -> Option<MessageError> {
    read(lines).err()
}

#[test]
fn request_init_stands_line_by_line() {
    let content = init().encode_unsigned();
    let expected = format!(
        "mn-id:mn1@example.net\r\nauth-method:psk,eap\r\nmn-rand:{MN_RAND_HEX}\r\n\r\n\r\n"
    );
    assert_eq!(str::from_utf8(&content), Ok(expected.as_str()));
    let parsed = parse(&content).unwrap();
    assert_eq!((parsed.message, parsed.auth), (init(), None));
    assert_eq!(parsed.signed_len, content.len() - 4);
}

#[test]
fn response_done_stands_line_by_line() {
    // HAC-19, HAC-34
    let content = done().encode_unsigned();
    assert_eq!(str::from_utf8(&content), Ok(done_text().as_str()));
    assert_eq!(parse(&content).unwrap().message, done());
}

#[test]
fn request_done_and_eap_stand_line_by_line() {
    let message = Message {
        eap_payload: Some(vec![0x02, 0x01, 0x00, 0x04]),
        scope: Some(Scope::Signalling),
        suite_list: Some(Suite::known().collect()),
        ..Message::default()
    };
    let content = message.encode_unsigned();
    let expected = "eap-payload:02010004\r\nmip6-sas:0\r\n\
                    mip6-suitelist:{00,02},{00,3B},{00,0A},{00,2F},{00,3C},{00,9C}\r\n\r\n\r\n";
    assert_eq!(str::from_utf8(&content), Ok(expected));
    assert_eq!(parse(&content).unwrap().message, message);
}

#[test]
fn keys_are_written_and_read_in_one_allocation() {
    let message = Message { eap_payload: Some(vec![7; 30_000]), ..done() };
    let content = message.encode_signed(Side::Hac, b"key", b"cb");
    assert!(content.len() > 60_000);
    let first_allocation = 4096 + 2 * 30_000 + 2 * (20 + 20 + 16 + 16) + 3 * 50;
    assert!(content.capacity() <= first_allocation, "{}", content.capacity());
    let read = parse(&content).unwrap().message;
    assert_eq!(read.mn_to_ha_ikey.unwrap().capacity(), 20);
}

#[test]
fn debug_shows_no_secret() {
    let text = format!("{:?} {:?}", done(), parse(done_text().as_bytes()));
    for secret in ["161", "162", "225", "226", "a1a1", "171"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn auth_is_the_last_header_and_signs_what_stands_before() {
    // The MAC was computed by Python's hmac over b"MN" + octets + CB; R-6.
    let (psk, cb) = ([0x5a; 32], [0xcb; 32]);
    let content = init().encode_signed(Side::Mn, &psk, &cb);
    let unsigned = init().encode_unsigned();
    let headers = unsigned.strip_suffix(b"\r\n\r\n").unwrap();
    let auth = "87805eeda366826509cacd89965e643ac968bf9af7f84194f4c03baf5c8cc801";
    let expected = [headers, b"auth:", auth.as_bytes(), b"\r\n\r\n\r\n"].concat();
    assert_eq!(str::from_utf8(&content), str::from_utf8(&expected));
    let parsed = parse(&content).unwrap();
    assert_eq!(parsed.signed_len, headers.len());
    assert!(verify(&content, &parsed, Side::Mn, &psk, &cb));
}

#[test]
fn auth_fails_under_another_key_side_or_binding() {
    // HAC-21, HAC-25, HAC-27
    let content = done().encode_signed(Side::Hac, b"0123456789abcdef", b"CB");
    let parsed = parse(&content).unwrap();
    assert!(verify(&content, &parsed, Side::Hac, b"0123456789abcdef", b"CB"));
    assert!(!verify(&content, &parsed, Side::Hac, b"0123456789abcdeF", b"CB"));
    assert!(!verify(&content, &parsed, Side::Hac, b"0123456789abcdef", b"CC"));
    assert!(!verify(&content, &parsed, Side::Mn, b"0123456789abcdef", b"CB"));
    let unsigned = done().encode_unsigned();
    let parsed = parse(&unsigned).unwrap();
    assert!(!verify(&unsigned, &parsed, Side::Hac, b"0123456789abcdef", b"CB"));
}

#[test]
fn every_flipped_octet_is_noticed() {
    // HAC-24: a flip either breaks the syntax, or the authenticator
    let content = done().encode_signed(Side::Hac, b"0123456789abcdef", b"CB");
    for place in 0..content.len() - b"\r\n\r\n\r\n".len() {
        let mut flipped = content.clone();
        // Bit 5 would only change the case of auth's name or digits, which is no change (R-4).
        flipped[place] ^= 0x01;
        let accepted = parse(&flipped)
            .is_ok_and(|parsed| verify(&flipped, &parsed, Side::Hac, b"0123456789abcdef", b"CB"));
        assert!(!accepted, "octet {place}");
    }
}

#[test]
fn names_and_literals_in_any_case_white_space_and_folds() {
    // HAC-15
    let message = read(concat!(
        "MN-ID : \r\n\tmn1@example.net\r\n",
        "Auth-Method:PSK \t,\r\n Eap\r\n",
        "Mn-Rand:000102030405060708090A0B0C0D0E0F\r\n 101112131415161718191a1b1c1D1E1f\r\n",
        "MIP6-SUITELIST: { 00 , 2f } ,\r\n {00,3C}\r\n",
        "X-Unknown: {{{\r\n",
        "mip6-sa-validity-end: Sun,\r\n 22 Nov 2026 07:15:00 GMT",
    ))
    .unwrap();
    let expected = Message {
        suite_list: Some(vec![Suite::Aes128CbcSha, Suite::Aes128CbcSha256]),
        validity_end: Some(VALIDITY_END),
        ..init()
    };
    assert_eq!(message, expected);
}

#[test]
fn auth_must_be_last_and_single() {
    // HAC-23
    let auth = format!("auth:{}", "00".repeat(32));
    assert!(read(&auth).is_ok());
    assert_eq!(error(&format!("{auth}\r\nmn-id:a")), Some(MessageError::AuthNotLast));
    assert_eq!(error(&format!("{auth}\r\nx-unknown:a")), Some(MessageError::AuthNotLast));
    let twice = Some(MessageError::Duplicate(HeaderName::Auth));
    assert_eq!(error(&format!("{auth}\r\n{auth}")), twice);
    let length = Some(MessageError::Length(HeaderName::Auth));
    assert_eq!(error(&format!("auth:{}", "00".repeat(31))), length);
    assert_eq!(error(&format!("{auth}00")), length);
}

#[test]
fn single_headers_stand_once_and_dns_servers_repeat() {
    for line in done_text().trim_end().split("\r\n") {
        let name = HeaderName::from_name(line.split(':').next().unwrap().as_bytes()).unwrap();
        let twice = error(&format!("{line}\r\n{line}"));
        let expected = (!name.repeats()).then_some(MessageError::Duplicate(name));
        assert_eq!(twice, expected, "{line}");
    }
}

/// Text that gets past the first checks often enough to reach all of the parser.
fn almost_a_message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(HeaderName::ALL.to_vec()).prop_map(|name| name.name().to_owned()),
        prop::sample::select(vec![
            ":",
            "\r\n",
            "\r\n ",
            ",",
            "{",
            "}",
            "00",
            "ab",
            "/",
            "64",
            " ",
            "2001:db8::1",
            "1.2.3.4",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "psk",
            "\n",
            "\r",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,4}",
    ];
    prop::collection::vec(piece, 0..40)
        .prop_map(|pieces| (pieces.concat() + "\r\n\r\n\r\n").into_bytes())
}

fn optional_key() -> impl Strategy<Value = Option<Zeroizing<Vec<u8>>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 1..=64).prop_map(Zeroizing::new))
}

prop_compose! {
    fn sa_headers()(
        scope in prop::option::of(prop::sample::select(vec![Scope::Signalling, Scope::SignallingAndData])),
        suites in prop::sample::subsequence(Suite::known().collect::<Vec<_>>(), 0..=6).prop_shuffle(),
        suite in prop::option::of(prop::sample::select(Suite::known().collect::<Vec<_>>())),
        spi in prop::option::of(1..=0x0fff_ffff_u32),
        keys in [optional_key(), optional_key(), optional_key(), optional_key()],
        validity_end in prop::option::of(0..=253_402_300_799_u64),
    ) -> Message {
        let [mn_to_ha_ikey, ha_to_mn_ikey, mn_to_ha_ekey, ha_to_mn_ekey] = keys;
        Message {
            scope, suite, mn_to_ha_ikey, ha_to_mn_ikey, mn_to_ha_ekey, ha_to_mn_ekey, validity_end,
            suite_list: (!suites.is_empty()).then_some(suites),
            spi: spi.map(|spi| Spi::new(spi).unwrap()),
            ..Message::default()
        }
    }
}

prop_compose! {
    fn any_message()(
        sa in sa_headers(),
        mn_id in prop::option::of("[a-z]{1,20}(\\.[a-z0-9]{1,9})?@[a-z]{1,9}\\.net"),
        methods in prop::sample::subsequence(vec![AuthMethod::Psk, AuthMethod::Eap], 0..=2),
        eap_payload in prop::option::of(prop::collection::vec(any::<u8>(), 1..50)),
        status in prop::option::of(prop::sample::select(vec![100, 200, 400, 401, 500, 501, 503, 504])),
        dates_and_randoms in any::<(Option<u32>, Option<[u8; 32]>, Option<[u8; 32]>)>(),
        six in any::<(Option<u128>, Option<u128>, Option<u128>, Vec<u128>)>(),
        four in any::<(Option<u32>, Option<u32>, Option<u32>, Vec<u32>)>(),
        lens in (0..=128_u8, 0..=32_u8),
        port in prop::option::of(1..=u16::MAX),
    ) -> Message {
        let (retry_after, mn_rand, hac_rand) = dates_and_randoms;
        Message {
            mn_id: mn_id.map(|text| MobileNodeId::new(&text).unwrap()),
            auth_methods: methods,
            eap_payload,
            status: status.and_then(StatusCode::from_code),
            retry_after: retry_after.map(u64::from),
            mn_rand,
            hac_rand,
            ha_ip6: six.0.map(Ipv6Addr::from),
            hoa_ip6: six.1.map(Ipv6Addr::from),
            hnp_ip6: six.2.map(|prefix| (Ipv6Addr::from(prefix), lens.0)),
            dns_ip6: six.3.into_iter().map(Ipv6Addr::from).collect(),
            ha_ip4: four.0.map(Ipv4Addr::from),
            hoa_ip4: four.1.map(Ipv4Addr::from),
            hnp_ip4: four.2.map(|prefix| (Ipv4Addr::from(prefix), lens.1)),
            dns_ip4: four.3.into_iter().map(Ipv4Addr::from).collect(),
            port,
            ..sa
        }
    }
}

proptest! {
    #[test]
    fn parse_never_panics(content in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&content);
    }

    #[test]
    fn parse_never_panics_on_what_looks_like_headers(content in almost_a_message()) {
        let _ = parse(&content);
    }

    #[test]
    fn messages_survive_the_wire(message in any_message(), key: [u8; 32], cb: [u8; 32]) {
        let content = message.encode_signed(Side::Hac, &key, &cb);
        let parsed = parse(&content).unwrap();
        prop_assert!(verify(&content, &parsed, Side::Hac, &key, &cb));
        prop_assert_eq!(parsed.message, message);
    }
}
