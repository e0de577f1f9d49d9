use std::collections::HashMap;

use hearth_wire::eap::gpsk::{self, Ciphersuite, FailureCode, Gpsk1};

use super::*;

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    let octets = (0..hex.len()).step_by(2);
    octets.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A run of wpa_supplicant's implementation against hostapd's, with ciphersuite 1.
fn recorded() -> HashMap<&'static str, Vec<u8>> {
    let text = include_str!("../../../wire/src/eap/gpsk/hostap.txt");
    let run = text.lines().skip_while(|line| *line != "suite 1").skip(1);
    let run = run.take_while(|line| *line != "suite 2");
    run.map(|line| {
        let (key, hex) = line.split_once(' ').unwrap();
        (key, unhex(hex))
    })
    .collect()
}

fn request(identifier: u8, data: &[u8]) -> Vec<u8> {
    encode(Code::Request, identifier, EapType::GPSK, data).unwrap()
}

fn response_data(answer: Answer) -> Vec<u8> {
    let (Answer::Response(packet) | Answer::Last(packet, _)) = answer else { panic!("{answer:?}") };
    let packet = Packet::parse(&packet).unwrap();
    assert_eq!((packet.code, packet.body.unwrap().eap_type), (Code::Response, EapType::GPSK));
    packet.body.unwrap().data.to_vec()
}

fn peer<'a>(
    run: &'a HashMap<&str, Vec<u8>>,
    key: &'a Credentials<'a>,
    mn_id: &'a MobileNodeId,
) -> Peer<'a> {
    Peer::new(mn_id, key, run["rand-peer"][..].try_into().unwrap())
}

/// To hostapd's requests come the octets that wpa_supplicant answered, and its MSK.
#[test]
fn answers_as_wpa_supplicant_does() {
    let (run, mn_id) = (recorded(), MobileNodeId::new("mn1@example.net").unwrap());
    let key = Credentials::Gpsk(&run["psk"]);
    let mut peer = peer(&run, &key, &mn_id);
    let identity = encode(Code::Request, 8, EapType::IDENTITY, b"").unwrap();
    let Ok(Answer::Response(identity)) = peer.answer(&identity) else { panic!() };
    assert_eq!(identity[..6], [2, 8, 0, 20, 1, b'm']);
    assert_eq!(response_data(peer.answer(&request(9, &run["gpsk-1"])).unwrap()), run["gpsk-2"]);
    let Ok(Answer::Last(packet, msk)) = peer.answer(&request(10, &run["gpsk-3"])) else { panic!() };
    assert_eq!(packet[5..], run["gpsk-4"]);
    assert_eq!(msk[..], run["msk"][..]);
    assert_eq!(peer.answer(&request(11, &run["gpsk-3"])).err(), Some(EapFault::Malformed));
}

/// RFC 5433 s.10: a GPSK-3 that was changed, an early one, another GPSK-1.
#[test]
fn a_server_that_has_not_our_key() {
    let (run, mn_id) = (recorded(), MobileNodeId::new("mn1@example.net").unwrap());
    let key = Credentials::Gpsk(&run["psk"]);
    for at in 1..run["gpsk-3"].len() {
        let mut peer = peer(&run, &key, &mn_id);
        peer.answer(&request(9, &run["gpsk-1"])).unwrap();
        let mut three = run["gpsk-3"].clone();
        three[at] ^= 1;
        assert!(peer.answer(&request(10, &three)).is_err(), "octet {at}");
    }
    let early = peer(&run, &key, &mn_id).answer(&request(9, &run["gpsk-3"])).err();
    assert_eq!(early, Some(EapFault::Malformed));
}

#[test]
fn failures_are_replayed() {
    let (run, mn_id) = (recorded(), MobileNodeId::new("mn1@example.net").unwrap());
    let key = Credentials::Gpsk(&run["psk"]);
    let mut peer = peer(&run, &key, &mn_id);
    peer.answer(&request(9, &run["gpsk-1"])).unwrap();
    let fail = gpsk::encode_fail(FailureCode::AuthenticationFailure);
    assert_eq!(response_data(peer.answer(&request(10, &fail)).unwrap()), fail);
}

/// RFC 3748 s.5.3.1, RFC 5433 s.10.
#[test]
fn naks() {
    let (run, mn_id) = (recorded(), MobileNodeId::new("mn1@example.net").unwrap());
    let key = Credentials::Gpsk(&run["psk"]);
    let tls = encode(Code::Request, 3, EapType::TLS, &[0x20]).unwrap();
    let Ok(Answer::Response(nak)) = peer(&run, &key, &mn_id).answer(&tls) else { panic!() };
    assert_eq!(nak, [2, 3, 0, 6, 3, 51]);
    // 16 octets are too few for the only suite on offer.
    let suite_list = Ciphersuite::list(&[Ciphersuite::Sha256]);
    let one = Gpsk1 { id_server: b"s", rand_server: &[1; 32], suite_list: &suite_list };
    let short = Credentials::Gpsk(&[7; 16]);
    let mut short = Peer::new(&mn_id, &short, [2; 32]);
    let Ok(Answer::Response(nak)) = short.answer(&request(4, &one.encode())) else { panic!() };
    assert_eq!(nak, [2, 4, 0, 6, 3, 0]);
    for octets in [&[4, 1, 0, 4][..], &[2, 1, 0, 5, 1], &[1, 1, 0, 9, 1], &[]] {
        assert_eq!(peer(&run, &key, &mn_id).answer(octets).err(), Some(EapFault::Malformed));
    }
}

#[test]
fn an_msk_is_not_shown() {
    let answer = Answer::Last(vec![1; 9], Msk::new([0xab; 64]));
    assert_eq!(format!("{answer:?}"), "Last(9 octets)");
}
