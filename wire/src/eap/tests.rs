use proptest::prelude::*;

use super::*;

fn body(eap_type: EapType, data: &[u8]) -> Body<'_> {
    Body { eap_type, data }
}

#[test]
fn stands_as_rfc3748_s4_says() {
    for (octets, packet) in [
        (
            &b"\x01\x07\x00\x05\x01"[..],
            Packet { code: Code::Request, identifier: 7, body: Some(body(EapType::IDENTITY, b"")) },
        ),
        (
            b"\x02\x07\x00\x08\x01mn1",
            Packet {
                code: Code::Response,
                identifier: 7,
                body: Some(body(EapType::IDENTITY, b"mn1")),
            },
        ),
        (b"\x03\x09\x00\x04", Packet { code: Code::Success, identifier: 9, body: None }),
        (b"\x04\x09\x00\x04", Packet { code: Code::Failure, identifier: 9, body: None }),
        (
            b"\x01\x01\x00\x0e\xfe\x00\x37\x2a\x00\x00\x00\x01xy",
            Packet {
                code: Code::Request,
                identifier: 1,
                body: Some(body(EapType::expanded(14122, 1), b"xy")),
            },
        ),
    ] {
        assert_eq!(Packet::parse(octets), Ok(packet));
        assert_eq!(packet.encode().unwrap(), octets);
    }
    assert_eq!(Packet::success(9), *b"\x03\x09\x00\x04");
    assert_eq!(Packet::failure(9), *b"\x04\x09\x00\x04");
}

/// EAP-08.
#[test]
fn wrong_lengths_and_codes() {
    for (octets, error) in [
        (&b""[..], EapError::Short),
        (b"\x02\x01\x00", EapError::Short),
        (b"\x02\x01\x00\x04", EapError::Short), // a Response without a Type
        (b"\x02\x01\x00\x04\x01", EapError::Length),
        (b"\x02\x01\x00\x06\x01", EapError::Length),
        (b"\x02\x01\x00\x0b\xfe\x00\x00\x00\x00\x00\x00", EapError::Short), // 254, cut off
        (b"\x03\x01\x00\x05\x00", EapError::Data),
        (b"\x00\x01\x00\x05\x01", EapError::Code(0)),
        (b"\x05\x01\x00\x05\x01", EapError::Code(5)),
    ] {
        assert_eq!(Packet::parse(octets), Err(error), "{octets:02x?}");
    }
    let data = vec![0; MAX_LEN - HEADER_LEN - 1];
    assert_eq!(encode(Code::Response, 1, EapType::TLS, &data).unwrap().len(), MAX_LEN);
    let data = vec![0; MAX_LEN - HEADER_LEN];
    assert_eq!(encode(Code::Response, 1, EapType::TLS, &data), None);
}

/// RFC 3748 s.5.3.1, 5.3.2.
#[test]
fn naks() {
    assert_eq!(body(EapType::NAK, &[13, 51]).nak().unwrap(), [EapType::TLS, EapType::GPSK]);
    assert_eq!(body(EapType::NAK, &[0]).nak().unwrap(), []);
    assert_eq!(body(EapType::NAK, &[]).nak(), None);
    assert_eq!(body(EapType::GPSK, &[13]).nak(), None);
    let expanded = b"\xfe\0\0\0\0\0\0\x0d\xfe\0\x37\x2a\0\0\0\x01\xfe\0\0\0\0\0\0\0";
    let wanted = body(EapType::EXPANDED_NAK, expanded).nak().unwrap();
    assert_eq!(wanted, [EapType::expanded(0, 13), EapType::expanded(14122, 1)]);
    assert_eq!(body(EapType::EXPANDED_NAK, &expanded[..23]).nak(), None);
    assert_eq!(body(EapType::EXPANDED_NAK, &[13]).nak(), None);
    assert!(!EapType::EXPANDED_NAK.is_method() && EapType::expanded(14122, 1).is_method());
}

#[test]
fn names() {
    for (eap_type, name) in EapType::methods() {
        assert_eq!(EapType::from_name(name), Some(eap_type));
        assert_eq!(eap_type.to_string(), name);
    }
    assert_eq!(EapType::from_name("identity"), None);
    assert_eq!(EapType::legacy(99).to_string(), "99");
    assert_eq!(format!("{:?}", EapType::expanded(14122, 1)), "14122/1");
}

proptest! {
    /// What is read is written as it was.
    #[test]
    fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(packet) = Packet::parse(&octets) {
            prop_assert_eq!(&packet.encode().unwrap(), &octets);
            let _ = packet.body.and_then(|body| body.nak());
        }
    }

    #[test]
    fn any_body(code in 1..=2_u8, identifier: u8, number: u8, data: Vec<u8>) {
        let code = if code == 1 { Code::Request } else { Code::Response };
        prop_assume!(number != EapType::EXPANDED);
        let octets = encode(code, identifier, EapType::legacy(number), &data).unwrap();
        let body = Some(body(EapType::legacy(number), &data));
        prop_assert_eq!(Packet::parse(&octets), Ok(Packet { code, identifier, body }));
    }
}
