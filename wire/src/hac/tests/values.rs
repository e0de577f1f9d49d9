//! What each header's value may be.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{error, read};
use crate::hac::message::parse;
use crate::hac::{AuthMethod, HeaderName, Message, MessageError, StatusCode};
use crate::ids::{IdError, Spi};
use crate::suite::{Scope, Suite};

#[test]
fn mn_id_is_a_network_access_identifier() {
    // HAC-16
    assert_eq!(error("mn-id:"), Some(MessageError::MnId(IdError::NaiLength)));
    assert_eq!(error("mn-id:a b@example.net"), Some(MessageError::MnId(IdError::NaiSyntax)));
    let long = format!("mn-id:{}@example.net", "a".repeat(254 - 12));
    assert_eq!(error(&long), Some(MessageError::MnId(IdError::NaiLength)));
    assert!(read(&long.replacen('a', "", 1)).is_ok());
    let not_utf8 = b"mn-id:\xff@example.net\r\n\r\n\r\n";
    assert_eq!(parse(not_utf8), Err(MessageError::MnId(IdError::NaiSyntax)));
}

#[test]
fn auth_methods_are_tokens_and_unknown_ones_are_left_out() {
    // HAC-17
    let both = read("auth-method:eap,psk,EAP,x-new").unwrap();
    assert_eq!(both.auth_methods, [AuthMethod::Eap, AuthMethod::Psk]);
    assert_eq!(read("auth-method:x-new").unwrap().auth_methods, []);
    for list in ["", ",", "psk,", "psk,,eap", "psk eap", "{psk}"] {
        assert_eq!(error(&format!("auth-method:{list}")), Some(MessageError::AuthMethod), "{list}");
    }
}

#[test]
fn randoms_have_32_octets_of_hex() {
    // HAC-18
    for name in [HeaderName::MnRand, HeaderName::HacRand] {
        let of = |value: &str| error(&format!("{}:{value}", name.name()));
        assert_eq!(of(&"00".repeat(31)), Some(MessageError::Length(name)));
        assert_eq!(of(&"00".repeat(32)), None);
        assert_eq!(of(&"00".repeat(33)), Some(MessageError::Length(name)));
        assert_eq!(of(&("00".repeat(31) + "0")), Some(MessageError::Hex(name)));
        assert_eq!(of(&("00".repeat(31) + "0g")), Some(MessageError::Hex(name)));
        assert_eq!(of(&("00".repeat(31) + "0 0")), Some(MessageError::Hex(name)));
        assert_eq!(of(""), Some(MessageError::Length(name)));
    }
}

#[test]
fn keys_are_bounded_and_eap_packets_are_not_empty() {
    let ikey = HeaderName::MnToHaIkey;
    let of = |len: usize| error(&format!("{}:{}", ikey.name(), "5a".repeat(len)));
    assert_eq!((of(1), of(64)), (None, None));
    assert_eq!((of(0), of(65)), (Some(MessageError::Length(ikey)), of(30_000)));
    assert_eq!(error("eap-payload:"), Some(MessageError::Length(HeaderName::EapPayload)));
    assert_eq!(error("eap-payload:012"), Some(MessageError::Hex(HeaderName::EapPayload)));
    assert_eq!(
        read(&format!("eap-payload:{}", "5a".repeat(30_000))).unwrap().eap_payload.unwrap().len(),
        30_000
    );
}

#[test]
fn suites_are_read_by_the_letter() {
    // HAC-29, HAC-30
    let known = read("mip6-suitelist:{C0,2B},{00,0a},{00,00},{00,0A},{00,02}").unwrap();
    assert_eq!(known.suite_list, Some(vec![Suite::TripleDesEdeCbcSha, Suite::NullSha]));
    assert_eq!(read("mip6-suitelist:{13,01}").unwrap().suite_list, Some(vec![]));
    for value in [
        "",
        "{00,2F",
        "00,2F",
        "{0,2f}",
        "{00,2F}}",
        "{00,2F},",
        "{00 2F}",
        "{00,2F}{00,3C}",
        "{00,2G}",
        "{0 0,2F}",
        ",{00,2F}",
    ] {
        for name in [HeaderName::SuiteList, HeaderName::Ciphersuite] {
            let syntax = Some(MessageError::SuiteSyntax(name));
            assert_eq!(error(&format!("{}:{value}", name.name())), syntax, "{value}");
        }
    }
    let two = error("mip6-ciphersuite:{00,2F},{00,3C}");
    assert_eq!(two, Some(MessageError::SuiteSyntax(HeaderName::Ciphersuite)));
    assert_eq!(error("mip6-ciphersuite:{00,00}"), Some(MessageError::SuiteReserved));
}

#[test]
fn scope_is_0_or_1_and_not_the_letter_o() {
    // HAC-32, R-12
    assert_eq!(read("mip6-sas:0").unwrap().scope, Some(Scope::Signalling));
    assert_eq!(read("mip6-sas: 1").unwrap().scope, Some(Scope::SignallingAndData));
    for value in ["", "O", "o", "2", "3", "4", "5", "6", "7", "8", "9", "00", "01", "-1"] {
        assert_eq!(error(&format!("mip6-sas:{value}")), Some(MessageError::Scope), "{value}");
    }
}

#[test]
fn dates_are_rfc1123_dates() {
    // HAC-33, HAC-38
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let message = read(&format!("retry-after:{date}\r\nmip6-sa-validity-end:{date}")).unwrap();
    assert_eq!((message.retry_after, message.validity_end), (Some(784_111_777), Some(784_111_777)));
    for value in [
        "",
        "784111777",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 31 Feb 2027 08:49:37 GMT",
        "Wed, 31 Dec 1969 23:59:59 GMT",
    ] {
        let refused = Some(MessageError::Date(HeaderName::RetryAfter));
        assert_eq!(error(&format!("retry-after:{value}")), refused, "{value}");
    }
    let last = Message { retry_after: Some(u64::MAX), ..Message::default() };
    let content = last.encode_unsigned();
    assert_eq!(content[..], *b"retry-after:Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n\r\n");
}

#[test]
fn spi_and_port_are_decimal_and_in_range() {
    assert_eq!(read("mip6-spi:00000000001").unwrap().spi, Spi::new(1).ok());
    assert_eq!(read("mip6-spi:268435455").unwrap().spi, Some(Spi::MAX));
    for value in ["", "0", "268435456", "4294967297", "-1", "+1", "0x10", "1 2"] {
        assert_eq!(error(&format!("mip6-spi:{value}")), Some(MessageError::Spi), "{value}");
    }
    assert_eq!(read("mip6-port:00080").unwrap().port, Some(80));
    for value in ["", "0", "65536", "000080", "+80", "http"] {
        assert_eq!(error(&format!("mip6-port:{value}")), Some(MessageError::Port), "{value}");
    }
}

#[test]
fn addresses_are_read_in_any_text_form_of_their_family() {
    // HAC-34, R-14
    for text in ["2001:db8::1", "2001:0DB8:0:0:0:0:0:1", "2001:db8::0.0.0.1"] {
        let message = read(&format!("mip6-haa-ip6:{text}")).unwrap();
        assert_eq!(message.ha_ip6, Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), "{text}");
    }
    let six = Some(MessageError::Address(HeaderName::HaIp6));
    for text in ["", "1:2:3:4:5:6:7", "[::1]", "fe80::1%eth0", "198.51.100.1", "2001:db8::1/64"] {
        assert_eq!(error(&format!("mip6-haa-ip6:{text}")), six, "{text}");
    }
    let message = read("mip6-haa-ip4:198.051.100.001").unwrap();
    assert_eq!(message.ha_ip4, Some(Ipv4Addr::new(198, 51, 100, 1)));
    let four = Some(MessageError::Address(HeaderName::HaIp4));
    for text in ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.0004", "1..2.3", "::1", "1.2.3.4."] {
        assert_eq!(error(&format!("mip6-haa-ip4:{text}")), four, "{text}");
    }
}

#[test]
fn prefix_lengths_have_up_to_three_digits_and_a_range() {
    let six = |text: &str| read(&format!("mip6-ip6-hnp:2001:db8::{text}")).map(|m| m.hnp_ip6);
    let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);
    assert_eq!(six("/128"), Ok(Some((prefix, 128))));
    assert_eq!(six("/064"), Ok(Some((prefix, 64))));
    assert_eq!(six("/0"), Ok(Some((prefix, 0))));
    for text in ["", "/", "/129", "/0064", "/-1", "/64/64", "/ffff:ffff::"] {
        assert_eq!(six(text), Err(MessageError::PrefixLength(HeaderName::HnpIp6)), "{text}");
    }
    let four = |text: &str| read(&format!("mip6-ip4-hnp:{text}")).map(|m| m.hnp_ip4);
    assert_eq!(four("203.0.113.0/24"), Ok(Some((Ipv4Addr::new(203, 0, 113, 0), 24))));
    assert_eq!(four("203.0.113.0/33"), Err(MessageError::PrefixLength(HeaderName::HnpIp4)));
    assert_eq!(four("203.0.113/24"), Err(MessageError::Address(HeaderName::HnpIp4)));
}

#[test]
fn status_codes_are_those_listed() {
    // HAC-37
    for code in 0..1000 {
        let status = read(&format!("status-code:{code}")).map(|message| message.status);
        if [100, 200, 400, 401, 500, 501, 503, 504].contains(&code) {
            assert_eq!(status, Ok(StatusCode::from_code(code)));
        } else {
            assert_eq!(status, Err(MessageError::StatusCode), "{code}");
        }
    }
    assert_eq!(error("status-code:200 OK"), Some(MessageError::StatusCode));
    assert_eq!(error("status-code:0200"), Some(MessageError::StatusCode));
}
