//! The exchange with EAP-GPSK, with a HAC that follows a script.

use hearth_wire::eap::gpsk::{self, Ciphersuite, Gpsk1, Keys};
use hearth_wire::eap::{Code, EapType, Packet, encode};

use super::tests::{PSK, done_response, mn_id};
use super::*;

const CB: &[u8] = b"hash of a certificate";
const RAND_PEER: [u8; 32] = [0x55; 32];
const RAND_SERVER: [u8; 32] = [0x66; 32];

/// What the HAC does with its responses before it signs them: which one, and with which key.
type Spoil<'a> = &'a dyn Fn(u8, &mut Message, &mut Vec<u8>);

fn request(octets: &[u8], key: &[u8]) -> Message {
    let (container, _) = container::decode(octets).unwrap().unwrap();
    let parsed = message::parse(container.content).unwrap();
    assert!(message::verify(container.content, &parsed, Side::Mn, key, CB), "auth of the request");
    parsed.message
}

/// Type-Data of the Response in a request.
fn response_data(message: &Message) -> Vec<u8> {
    let packet = Packet::parse(message.eap_payload.as_ref().unwrap()).unwrap();
    assert_eq!(packet.code, Code::Response);
    packet.body.unwrap().data.to_vec()
}

fn eap(number: u8, eap_type: EapType, data: &[u8]) -> Message {
    let eap_payload = encode(Code::Request, number, eap_type, data);
    Message { eap_payload, ..Message::default() }
}

fn run(spoil: Spoil<'_>) -> Result<Box<Grant>, BootstrapError> {
    let id = mn_id();
    let proposal = Proposal {
        mn_id: &id,
        credentials: &Credentials::Gpsk(PSK),
        suites: &[Suite::Aes128CbcSha],
        scope: Scope::SignallingAndData,
    };
    let (mut session, octets) = Session::begin(proposal, CB.to_vec(), [0x33; 32], RAND_PEER)?;
    let (container, _) = container::decode(&octets).unwrap().unwrap();
    let first = message::parse(container.content).unwrap();
    assert_eq!((first.message.auth_methods, first.auth), (vec![AuthMethod::Eap], None));

    let mut step = |number: u8, mut response: Message, key: &[u8]| {
        let mut key = key.to_vec();
        spoil(number, &mut response, &mut key);
        let signed = response.encode_signed(Side::Hac, &key, CB);
        session.receive(&container::encode(number, &signed).unwrap())
    };
    let mut send = |number, response: Message| match step(number, response, b"1")? {
        Progress::Send(octets) => Ok(octets),
        other => panic!("{other:?}"),
    };
    let identity = eap(1, EapType::IDENTITY, b"");
    let octets = send(1, Message { auth_methods: vec![AuthMethod::Eap], ..identity })?;
    assert_eq!(response_data(&request(&octets, b"1")), b"mn1@example.net");

    let suite_list = Ciphersuite::list(&Ciphersuite::ALL);
    let one = Gpsk1 { id_server: b"hac", rand_server: &RAND_SERVER, suite_list: &suite_list };
    let octets = send(2, eap(2, EapType::GPSK, &one.encode()))?;
    let data = response_data(&request(&octets, b"1"));
    let Ok(gpsk::Message::Two(two)) = gpsk::Message::parse(&data, None) else { panic!() };
    let (peer, server) = ((&RAND_PEER, two.id_peer), (&RAND_SERVER, two.id_server));
    let keys = Keys::derive(two.suite, PSK, peer, server).unwrap();
    assert!(keys.verify(&two.sealed));

    let octets = send(3, eap(3, EapType::GPSK, &gpsk::encode_3(&two, &keys)))?;
    let suite = two.suite;
    let container = container::decode(&octets).unwrap().unwrap().0;
    let done = message::parse(container.content).unwrap().message;
    let data = response_data(&done);
    let Ok(gpsk::Message::Four(four)) = gpsk::Message::parse(&data, Some(suite)) else { panic!() };
    assert!(keys.verify(&four));
    let msk = keys.into_msk();
    // the last Response comes in Done, under the MSK.
    let done = request(&octets, msk.as_slice());
    assert!(done.scope.is_some() && done.suite_list.is_some());
    let success = Some(Packet::success(3).to_vec());
    let response = Message { eap_payload: success, ..done_response(&done) };
    match step(4, response, msk.as_slice())? {
        Progress::Done(grant) => Ok(grant),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_sa_comes_under_the_msk() {
    let grant = run(&|_, _, _| ()).unwrap();
    assert_eq!(grant.spi, Spi::new(77).unwrap());
}

#[test]
fn responses_under_another_key_or_for_another_method() {
    for number in 1..=4 {
        let wrong = run(&|this, _, key| {
            if this == number {
                *key = PSK.to_vec();
            }
        });
        assert_eq!(wrong.unwrap_err(), BootstrapError::NotAuthentic, "response {number}");
    }
    let psk = run(&|this, response, _| {
        if this == 1 {
            response.auth_methods = vec![AuthMethod::Psk];
        }
    });
    assert_eq!(psk.unwrap_err(), BootstrapError::NotOffered);
    for number in 1..=3 {
        let nothing = run(&|this, response, _| {
            if this == number {
                response.eap_payload = None;
            }
        });
        assert_eq!(nothing.unwrap_err(), BootstrapError::Missing("eap-payload"));
    }
}

/// A 401 in the middle, with EAP-Failure, and a GPSK-3 of somebody who has not our key.
#[test]
fn refusals_and_impostors() {
    let refused = run(&|this, response, _| {
        if this == 3 {
            let eap_payload = Some(Packet::failure(3).to_vec());
            let status = Some(StatusCode::Unauthorized);
            *response = Message { eap_payload, status, ..Message::default() };
        }
    });
    let status = StatusCode::Unauthorized;
    assert_eq!(refused.unwrap_err(), BootstrapError::Refused { status, retry_after: None });
    let impostor = run(&|this, response, _| {
        if let (3, Some(last)) =
            (this, response.eap_payload.as_mut().and_then(|eap| eap.last_mut()))
        {
            *last ^= 1;
        }
    });
    assert_eq!(impostor.unwrap_err(), BootstrapError::NotAuthentic);
}
