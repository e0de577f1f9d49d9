//! EAP inside MHAuth at the level of Content: rows EAP-01 to EAP-10 of the conformance list.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::eap::{
    GpskPeer, NO_MSK, Peer, answer, issue, payload, request, respond, responded, status,
};
use common::{Counting, NOW, change, mn_id, realm, subscriber};
use hearth_hac::auth::eap::server::{MAX_ROUNDS, Offer};
use hearth_hac::config::{HomeAddress, Realm};
use hearth_hac::directory::IssueError;
use hearth_hac::radius::{Authorisation, MppeKeys, RelayError, RelayState, Relayed};
use hearth_hac::session::{Outcome, Step};
use hearth_hac::subscribers::sealed::SealedPsk;
use hearth_wire::eap::gpsk::{self, Ciphersuite};
use hearth_wire::eap::{Code, EapType, Packet, encode};
use hearth_wire::hac::{AuthMethod, Message, StatusCode, message};
use ipnet::Ipv6Net;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use zeroize::Zeroizing;

/// Some AAA server.
const AAA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), 1812);

const ID: &str = "mn1@example.net";

/// A realm that offers EAP with these methods.
fn eap(offers: &[Offer]) -> Realm {
    let mut realm = realm();
    realm.auth.default.methods = vec![AuthMethod::Eap];
    realm.auth.default.eap = offers.to_vec();
    realm
}

fn gpsk_only() -> Realm {
    eap(&[Offer::Local(EapType::GPSK)])
}

/// The EAP packet of a refusal, which is signed with "1".
fn failure(peer: &Peer, step: Step) -> Option<Vec<u8>> {
    let reply = responded(step);
    assert_eq!(reply.outcome, Outcome::Refused(StatusCode::Unauthorized));
    peer.read(&reply, NO_MSK).eap_payload
}

/// EAP-01: EAP-Request/Identity in Response/Init, then Mids until the method ends.
#[test]
fn eap_01_mids_until_the_method_ends() {
    let mut peer = Peer::new(gpsk_only());
    assert_eq!(peer.init(ID), [1, 1, 0, 5, 1]);
    let mut gpsk = GpskPeer::new(Ciphersuite::Aes);
    let mut peer = Peer::new(gpsk_only());
    let four = peer.gpsk(&mut gpsk);
    // RFC 6618 s.5.9 (4), R-10: EAP-Success without a status-code.
    let step = peer.mid(&four);
    let success = peer.request(step);
    assert_eq!(success, Packet::success(four[1]));
}

/// EAP-02: Done with the method's last Response, keyed with the MSK both ways.
#[test]
fn eap_02_success_in_done() {
    for suite in Ciphersuite::ALL {
        let mut gpsk = GpskPeer::new(suite);
        let mut peer = Peer::new(gpsk_only());
        let four = peer.gpsk(&mut gpsk);
        let msk = gpsk.msk();
        let request = issue(peer.done(Some(&four), &msk));
        assert_eq!(request.mn_id, mn_id(ID));
        let reply = peer.session.issued(Ok(common::record(*request)), NOW);
        let response = peer.read(&reply, &msk);
        assert_eq!(response.status, Some(StatusCode::Ok));
        assert_eq!(response.eap_payload, Some(Packet::success(four[1]).to_vec()));
        assert!(response.spi.is_some() && response.mn_to_ha_ekey.is_some());
        let text = std::str::from_utf8(&reply.content).unwrap();
        assert!(text.trim_end().rsplit("\r\n").next().unwrap().starts_with("auth:"));
    }
}

/// EAP-02, R-10: EAP-Success in Response/Mid; the Done that follows has no eap-payload.
#[test]
fn eap_02_success_in_mid() {
    let run = || {
        let mut gpsk = GpskPeer::new(Ciphersuite::Aes);
        let mut peer = Peer::new(gpsk_only());
        let four = peer.gpsk(&mut gpsk);
        responded(peer.mid(&four));
        (peer, four, gpsk.msk())
    };
    let (mut peer, _, msk) = run();
    let request = issue(peer.done(None, &msk));
    let reply = peer.session.issued(Ok(common::record(*request)), NOW);
    let response = peer.read(&reply, &msk);
    assert_eq!((response.status, response.eap_payload), (Some(StatusCode::Ok), None));

    // Not with another key, and nothing but that Done.
    let (mut peer, _, mut msk) = run();
    msk[0] ^= 1;
    assert_eq!(status(peer.done(None, &msk)), StatusCode::Unauthorized);
    let (mut peer, ..) = run();
    assert_eq!(status(peer.done(None, NO_MSK)), StatusCode::Unauthorized);
    let (mut peer, four, msk) = run();
    assert_eq!(status(peer.done(Some(&four), &msk)), StatusCode::BadRequest);
    let (mut peer, four, _) = run();
    assert_eq!(status(peer.mid(&four)), StatusCode::BadRequest);
    // A refusal after the method's success is keyed with the MSK, too.
    let (mut peer, _, msk) = run();
    issue(peer.done(None, &msk));
    let reply = peer.session.issued(Err(IssueError::NoSpi), NOW);
    assert_eq!(peer.read(&reply, &msk).status, Some(StatusCode::ServiceUnavailable));
}

/// EAP-02: a Done that the MSK does not sign opens nothing, whatever the method says.
#[test]
fn eap_02_done_under_another_key() {
    for wrong in [NO_MSK, &[0; 64], &common::PSK] {
        let mut gpsk = GpskPeer::new(Ciphersuite::Aes);
        let mut peer = Peer::new(gpsk_only());
        let four = peer.gpsk(&mut gpsk);
        assert_eq!(status(peer.done(Some(&four), wrong)), StatusCode::Unauthorized);
    }
}

/// a Done whose Response does not finish the method, or that has none.
#[test]
fn eap_02_done_too_early() {
    let mut peer = Peer::new(gpsk_only());
    let one = peer.identified(ID, ID);
    let two = respond(&mut GpskPeer::new(Ciphersuite::Aes), &one);
    let step = peer.done(Some(&two), NO_MSK);
    assert!(failure(&peer, step).is_some());
    let mut peer = Peer::new(gpsk_only());
    peer.init(ID);
    assert_eq!(status(peer.done(None, NO_MSK)), StatusCode::Unauthorized);
}

/// EAP-03, HAC-23: `auth` of Mids is keyed with the one octet 0x31, and must be there.
#[test]
fn eap_03_auth_of_init_and_mid() {
    let identity = |peer: &mut Peer| {
        let request = peer.init(ID); // checks the `auth` of Response/Init
        payload(&answer(&request, EapType::IDENTITY, ID.as_bytes()))
    };
    for wrong in [&b"0"[..], b"1\0\x31", b"", &common::PSK] {
        let mut peer = Peer::new(gpsk_only());
        let message = identity(&mut peer);
        let content = peer.sign(&message, wrong);
        assert_eq!(status(peer.send(&content)), StatusCode::Unauthorized, "{wrong:?}");
    }
    let mut peer = Peer::new(gpsk_only());
    let content = identity(&mut peer).encode_unsigned();
    assert_eq!(status(peer.send(&content)), StatusCode::BadRequest);
    // The right key over another message.
    let mut peer = Peer::new(gpsk_only());
    let message = identity(&mut peer);
    let mut content = peer.sign(&message, NO_MSK);
    let digit = content.iter().position(|octet| *octet == b':').unwrap() + 2;
    content[digit] = if content[digit] == b'3' { b'2' } else { b'3' };
    assert!(matches!(
        status(peer.send(&content)),
        StatusCode::Unauthorized | StatusCode::BadRequest
    ));
}

/// What an AAA server that runs `eap_type` makes of everything: one Request, then Accept.
fn accept_after(
    peer: &mut Peer,
    eap_type: EapType,
    user_name: Option<&str>,
    msk: Option<[u8; 64]>,
) -> (Vec<u8>, Relayed) {
    let first = peer.init(ID);
    let step = peer.mid(&answer(&first, EapType::IDENTITY, ID.as_bytes()));
    assert!(matches!(step, Step::Relay(relay) if relay.state.is_none()));
    let challenge = encode(Code::Request, 77, eap_type, b"challenge").unwrap();
    let state = RelayState { server: AAA, state: Vec::new(), user_name: Box::default() };
    let relayed = Relayed::Challenge { eap: challenge.clone(), state };
    let step = peer.session.relayed(Ok(relayed), NOW, &mut peer.entropy);
    assert_eq!(peer.request(step), challenge, "handed on as it is");
    let accept = Relayed::Accept {
        eap: Packet::success(77).to_vec(),
        user_name: user_name.map(str::to_owned),
        msk: msk.map(|octets| MppeKeys::new(Zeroizing::new(octets))),
        authorisation: Box::new(Authorisation::default()),
    };
    (answer(&challenge, eap_type, b"response"), accept)
}

/// EAP-04: a method without an MSK is refused, unless the deployment names it; "1" keys Done then.
#[test]
fn eap_04_methods_without_an_msk() {
    for (allowed, opens) in
        [(vec![], false), (vec![EapType::GTC], false), (vec![EapType::MD5_CHALLENGE], true)]
    {
        let mut realm = eap(&[Offer::Aaa]);
        realm.auth.allow_without_msk = allowed;
        let mut peer = Peer::new(realm);
        let (response, accept) = accept_after(&mut peer, EapType::MD5_CHALLENGE, Some(ID), None);
        assert!(matches!(peer.mid(&response), Step::Relay(relay) if relay.state.is_some()));
        let step = peer.session.relayed(Ok(accept), NOW, &mut peer.entropy);
        if opens {
            assert_eq!(peer.request(step), Packet::success(77));
            issue(peer.done(None, NO_MSK));
        } else {
            assert_eq!(failure(&peer, step), Some(Packet::failure(77).to_vec()));
        }
    }
}

/// EAP-05: EAP-Failure, 401, no SA; the session is over.
#[test]
fn eap_05_failure() {
    let mut peer = Peer::new(gpsk_only());
    let mut gpsk = GpskPeer { psk: vec![0; 32], ..GpskPeer::new(Ciphersuite::Aes) };
    let one = peer.identified(ID, ID);
    let two = respond(&mut gpsk, &one);
    let step = peer.mid(&two);
    let fail = peer.request(step);
    assert_eq!(request(&fail).1.data, gpsk::encode_fail(gpsk::FailureCode::AuthenticationFailure));
    let echo = respond(&mut gpsk, &fail);
    let step = peer.mid(&echo);
    assert_eq!(failure(&peer, step), Some(Packet::failure(echo[1]).to_vec()));
    assert_eq!(status(peer.mid(&echo)), StatusCode::BadRequest);
}

/// EAP-06: a Nak gets another method that is allowed, and EAP-Failure where there is none.
#[test]
fn eap_06_nak() {
    let both = [Offer::Local(EapType::GPSK), Offer::Aaa];
    // Not GPSK, but TTLS: the AAA server may have it, and gets EAP-Response/Identity first, under
    // an Identifier that its first Request will not collide with.
    let mut peer = Peer::new(eap(&both));
    let one = peer.identified(ID, "anonymous@example.net");
    let Step::Relay(relay) = peer.mid(&answer(&one, EapType::NAK, &[21, 25])) else { panic!() };
    let identity = encode(Code::Response, one[1], EapType::IDENTITY, b"anonymous@example.net");
    assert_eq!(relay.eap, identity.unwrap());
    assert_eq!((relay.mn_id, relay.state.is_none()), (mn_id(ID), true));

    for (offers, nak) in [
        (&both[..], &[0][..]), // no alternative
        (&both[..1], &[21]),   // none that we have
        (&both[..1], &[51]),   // the one that was refused, once more
    ] {
        let mut peer = Peer::new(eap(offers));
        let one = peer.identified(ID, ID);
        let step = peer.mid(&answer(&one, EapType::NAK, nak));
        assert_eq!(failure(&peer, step), Some(Packet::failure(one[1]).to_vec()), "{nak:?}");
    }
    // A Nak without a type, an Expanded Nak for a legacy Request, a Nak in the middle of a method.
    for (eap_type, data) in [(EapType::NAK, &b""[..]), (EapType::EXPANDED_NAK, b"")] {
        let mut peer = Peer::new(eap(&both));
        let one = peer.identified(ID, ID);
        assert_eq!(status(peer.mid(&answer(&one, eap_type, data))), StatusCode::BadRequest);
    }
    let mut peer = Peer::new(eap(&both));
    let four = peer.gpsk(&mut GpskPeer::new(Ciphersuite::Aes));
    let nak = encode(Code::Response, four[1], EapType::NAK, &[21]).unwrap();
    assert_eq!(status(peer.mid(&nak)), StatusCode::BadRequest);
}

/// EAP-07, R-11: EAP-Response/Identity names nobody; what the method proves must be the mn-id.
#[test]
fn eap_07_the_proved_identity_names_the_sa() {
    // Another identity on the way in, the right one in GPSK.
    let mut gpsk = GpskPeer::new(Ciphersuite::Aes);
    let mut peer = Peer::new(gpsk_only());
    let one = peer.identified(ID, "somebody.else@example.net");
    let two = respond(&mut gpsk, &one);
    let step = peer.mid(&two);
    let three = peer.request(step);
    let four = respond(&mut gpsk, &three);
    assert_eq!(issue(peer.done(Some(&four), &gpsk.msk())).mn_id, mn_id(ID));

    // A subscriber with a key of his own can't open another's SA.
    let realm = gpsk_only();
    realm.subscribers.insert(mn_id("mn2@example.net"), subscriber());
    let mut gpsk = GpskPeer { id: b"mn2@example.net".to_vec(), ..GpskPeer::new(Ciphersuite::Aes) };
    let mut peer = Peer::new(realm);
    let one = peer.identified(ID, ID);
    let two = respond(&mut gpsk, &one);
    let step = peer.mid(&two);
    let fail = peer.request(step);
    assert_eq!(request(&fail).1.data, gpsk::encode_fail(gpsk::FailureCode::AuthenticationFailure));

    // Pass-through: the User-Name of the Access-Accept, not that of the request, and no less.
    for (user_name, opens) in [(Some(ID), true), (Some("mn2@example.net"), false), (None, false)] {
        let mut peer = Peer::new(eap(&[Offer::Aaa]));
        let msk = [0x5d; 64];
        let (response, accept) = accept_after(&mut peer, EapType::TTLS, user_name, Some(msk));
        // In Done this time: its key is known once the AAA server has answered.
        assert!(matches!(peer.done(Some(&response), &msk), Step::Relay(_)));
        let step = peer.session.relayed(Ok(accept), NOW, &mut peer.entropy);
        match opens {
            true => assert_eq!(issue(step).mn_id, mn_id(ID)),
            false => assert!(failure(&peer, step).is_some(), "{user_name:?}"),
        }
    }
}

/// What an AAA server says of a mobile node: home addresses, home agent, a shorter validity; and one
/// that only the AAA server knows.
#[test]
fn eap_12_what_the_aaa_server_grants() {
    let run = |authorisation: Authorisation, known: bool| {
        let realm = eap(&[Offer::Aaa]);
        if !known {
            realm.subscribers.remove(&mn_id(ID));
        }
        let mut peer = Peer::new(realm);
        let msk = [0x5d; 64];
        let (response, mut accept) = accept_after(&mut peer, EapType::TTLS, Some(ID), Some(msk));
        if let Relayed::Accept { authorisation: said, .. } = &mut accept {
            **said = authorisation;
        }
        assert!(matches!(peer.done(Some(&response), &msk), Step::Relay(_)));
        match peer.session.relayed(Ok(accept), NOW, &mut peer.entropy) {
            Step::Issue(request) => Ok((request.validity_end - NOW, request.grant)),
            step => Err(status(step)),
        }
    };
    let nothing = Authorisation::default;
    let home = "2001:db8:100::77".parse().unwrap();
    // The subscriber's own entry holds; the shorter validity does.
    assert!(matches!(run(nothing(), true), Ok((3600, None))));
    let validity = |seconds| Authorisation { validity: Some(seconds), ..nothing() };
    assert!(matches!(run(validity(60), true), Ok((60, None))));
    assert!(matches!(run(validity(90_000), true), Ok((3600, None))));
    // Addresses of the AAA server's.
    let said = Authorisation {
        home_address: Some(home),
        home_agent: Some("2001:db8:1::1".parse().unwrap()),
        ..nothing()
    };
    let (_, grant) = run(said, true).unwrap();
    let grant = grant.unwrap();
    assert_eq!((grant.home_agent, grant.ip6), (Some(0), HomeAddress::Fixed(home)));
    assert_eq!(grant.ip4, HomeAddress::Fixed("203.0.113.10".parse().unwrap()));
    // One without an entry: from the pools, under the deployment's policy, if YAML lets it.
    assert_eq!(run(nothing(), false).unwrap_err(), StatusCode::Unauthorized);
    let unlisted = || Authorisation { unlisted: true, ..nothing() };
    let (validity, grant) = run(unlisted(), false).unwrap();
    let grant = grant.unwrap();
    assert_eq!((validity, grant.ip6, grant.ip4), (3600, HomeAddress::Pool, HomeAddress::Pool));
    // What does not fit is our operators' mistake, and opens nothing.
    let elsewhere =
        Authorisation { home_address: Some("2001:db8:999::1".parse().unwrap()), ..nothing() };
    assert_eq!(run(elsewhere, true).unwrap_err(), StatusCode::InternalServerError);
    let agent = Authorisation { home_agent: Some("2001:db8:9::1".parse().unwrap()), ..unlisted() };
    assert_eq!(run(agent, false).unwrap_err(), StatusCode::InternalServerError);
}

/// RFC 4818, RFC 2865 s.5.11: mobile networks stand in the place of the entry's own; a network or a
/// policy that this deployment has not opens nothing, and it is said which.
#[test]
fn eap_12_networks_and_policy_of_the_aaa_server() {
    let network = |text: &str| text.parse::<Ipv6Net>().unwrap();
    let run = |authorisation: Authorisation| {
        let mut realm = eap(&[Offer::Aaa]);
        realm.home_agents[0].pools.delegated_ip6 = vec![network("2001:db8:5000::/36")];
        let mut entry = subscriber();
        let own = ["2001:db8:7000::/48", "2001:db8:5e00::/48", "198.51.100.0/28"];
        entry.services.prefixes = own.map(|own| own.parse().unwrap()).into();
        realm.subscribers.insert(mn_id(ID), entry);
        let mut peer = Peer::new(realm);
        let msk = [0x5d; 64];
        let (response, mut accept) = accept_after(&mut peer, EapType::TTLS, Some(ID), Some(msk));
        if let Relayed::Accept { authorisation: said, .. } = &mut accept {
            **said = authorisation;
        }
        assert!(matches!(peer.done(Some(&response), &msk), Step::Relay(_)));
        match peer.session.relayed(Ok(accept), NOW, &mut peer.entropy) {
            Step::Issue(request) => Ok(request.grant.unwrap()),
            step => {
                assert_eq!(status(step), StatusCode::InternalServerError);
                Err(peer.session.misfit().unwrap().to_string())
            }
        }
    };
    let delegated = |prefixes: &[&str]| Authorisation {
        prefixes: prefixes.iter().map(|prefix| network(prefix)).collect(),
        ..Authorisation::default()
    };
    let grant = run(delegated(&["2001:db8:5100::/56", "2001:db8:5e00::/48"])).unwrap();
    assert_eq!(grant.delegated, [network("2001:db8:5100::/56")]);
    let kept: Vec<_> = grant.services.prefixes.iter().map(ToString::to_string).collect();
    assert_eq!(kept, ["2001:db8:5e00::/48", "198.51.100.0/28"]);
    assert!(grant.services.mobile_router);
    let outside = run(delegated(&["2001:db8:5100::/56", "2001:db8:6000::/56"])).unwrap_err();
    assert!(outside.starts_with("Delegated-IPv6-Prefix 2001:db8:6000::/56 lies in"), "{outside}");
    let many: Vec<_> = (0..33).map(|n| format!("2001:db8:51{n:02x}::/48")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(run(delegated(&many)).unwrap_err(), "more than 32 mobile networks");
    let policy = Authorisation { policy: Some("gold".into()), ..Authorisation::default() };
    assert_eq!(run(policy).unwrap_err(), "Filter-Id gold is none of realms");
    let ip4 = Some("192.0.2.1".parse().unwrap());
    let elsewhere = Authorisation { ipv4_home_address: ip4, ..Authorisation::default() };
    let said = "192.0.2.1 is no home address that the home agent has";
    assert_eq!(run(elsewhere).unwrap_err(), said);
}

/// EAP-08, R-10: what is no EAP packet, or none that comes now, is a 400.
#[test]
fn eap_08_malformed_packets() {
    for hex in ["", "0", "020100060", "zz", "02010005 0"] {
        let mut peer = Peer::new(gpsk_only());
        peer.init(ID);
        let lines = format!("eap-payload:{hex}\r\n");
        let binding = peer.binding.octets();
        let auth = hearth_wire::hac::auth::authenticator(
            hearth_wire::hac::Side::Mn,
            NO_MSK,
            lines.as_bytes(),
            binding,
        );
        let auth: String = auth.iter().map(|octet| format!("{octet:02x}")).collect();
        let content = format!("{lines}auth:{auth}\r\n\r\n\r\n");
        assert_eq!(status(peer.send(content.as_bytes())), StatusCode::BadRequest, "{hex}");
    }
    let other = |octets: &[u8]| {
        let mut peer = Peer::new(gpsk_only());
        peer.init(ID);
        status(peer.mid(octets))
    };
    for octets in [
        &[2, 1, 0, 6, 1][..], // Length one too many
        &[2, 1, 0, 4, 1],     // and one too few
        &[2, 1, 0, 4],        // no Type
        &[1, 1, 0, 5, 1],     // a Request
        &[3, 1, 0, 4],        // a Success
        &[4, 1, 0, 4],        // a Failure
        &[9, 1, 0, 5, 1],     // neither
        &[2, 2, 0, 5, 1],     // the Response to another Request
        &[2, 1, 0, 6, 51, 2], // a method that nobody has offered
        &[2, 1, 0, 6, 3, 13], // a Nak of Identity
        &[2, 1, 0, 5, 2],     // Notification
    ] {
        assert_eq!(other(octets), StatusCode::BadRequest, "{octets:?}");
    }
    let long = encode(Code::Response, 1, EapType::IDENTITY, &[b'a'; 254]).unwrap();
    assert_eq!(other(&long), StatusCode::BadRequest);
    // Neither Mid nor Done, and both.
    let mut peer = Peer::new(gpsk_only());
    peer.init(ID);
    let content = peer.sign(&Message::default(), NO_MSK);
    assert_eq!(status(peer.send(&content)), StatusCode::BadRequest);
    let mut peer = Peer::new(gpsk_only());
    peer.init(ID);
    let half = Message { suite_list: Some(vec![hearth_wire::Suite::NullSha]), ..payload(&[2]) };
    let content = peer.sign(&half, NO_MSK);
    assert_eq!(status(peer.send(&content)), StatusCode::BadRequest);
}

/// EAP-09: one use of the MSK in the whole crate. That nobody else can read, copy or print it is the
/// compiler's to see to: the compile_fail examples of `Msk`.
#[test]
fn eap_09_the_msk_has_one_consumer() {
    let mut uses = Vec::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            uses.extend(code.filter(|line| line.contains("into_done_key")).map(|_| name.clone()));
        }
    }
    uses.sort();
    assert_eq!(uses, ["eap.rs", "mod.rs"], "one call in session/eap.rs, one definition");
}

/// EAP-10: RFC 5433 s.10: replayed nonces, wrong MACs, wrong order, suites that were not offered.
#[test]
fn eap_10_gpsk_discards() {
    let (unauthorized, bad) = (StatusCode::Unauthorized, StatusCode::BadRequest);
    // GPSK-2 made for another GPSK-1: its RAND_Server is old.
    let mut old = Peer::new(gpsk_only());
    let one = old.identified(ID, ID);
    let replayed = respond(&mut GpskPeer::new(Ciphersuite::Aes), &one);
    let mut peer = Peer::new(gpsk_only());
    peer.entropy.0 = 99;
    peer.identified(ID, ID);
    assert_eq!(status(peer.mid(&replayed)), unauthorized);

    // Another list or another ID_Server than in GPSK-1.
    for (from, to) in [(&[0, 12][..], &[0, 6][..]), (b"hearth-hac", b"hearth-hax")] {
        let mut peer = Peer::new(gpsk_only());
        let one = peer.identified(ID, ID);
        let mut changed = one.clone();
        let place = one.windows(from.len()).rposition(|window| window == from).unwrap();
        changed.splice(place..place + from.len(), to.iter().copied());
        if to == [0, 6] {
            changed.truncate(changed.len() - 6);
        }
        let len = u16::try_from(changed.len()).unwrap().to_be_bytes();
        changed[2..4].copy_from_slice(&len);
        let two = respond(&mut GpskPeer::new(Ciphersuite::Aes), &changed);
        assert_eq!(status(peer.mid(&two)), unauthorized);
    }

    // GPSK-4 with a wrong MAC, and before GPSK-2.
    let mut peer = Peer::new(gpsk_only());
    let mut four = peer.gpsk(&mut GpskPeer::new(Ciphersuite::Sha256));
    *four.last_mut().unwrap() ^= 1;
    assert_eq!(status(peer.mid(&four)), unauthorized);
    let mut gpsk = GpskPeer::new(Ciphersuite::Aes);
    let mut other = Peer::new(gpsk_only());
    let four = other.gpsk(&mut gpsk);
    let mut peer = Peer::new(gpsk_only());
    let one = peer.identified(ID, ID);
    let early = answer(&one, EapType::GPSK, &four[5..]);
    assert_eq!(status(peer.mid(&early)), bad);

    // A suite that was not offered, and one that nobody knows.
    let mut realm = gpsk_only();
    realm.auth.gpsk.suites = vec![Ciphersuite::Aes];
    let mut peer = Peer::new(realm);
    let one = peer.identified(ID, ID);
    let two = respond(&mut GpskPeer::new(Ciphersuite::Sha256), &one);
    assert_eq!(status(peer.mid(&two)), bad);
}

/// EAP-10, HAC-22, R-8: an unknown mn-id, and a key too short for the suite, look like a wrong key.
#[test]
fn eap_10_unknown_is_wrong_key() {
    let run = |id: &str, psk: &[u8], suite, realm: Realm| {
        let mut peer = Peer::new(realm);
        let mut gpsk =
            GpskPeer { id: id.as_bytes().to_vec(), psk: psk.to_vec(), ..GpskPeer::new(suite) };
        let one = peer.identified(id, id);
        let two = respond(&mut gpsk, &one);
        let step = peer.mid(&two);
        let fail = peer.request(step);
        let step = peer.mid(&respond(&mut gpsk, &fail));
        let reply = responded(step);
        (one, fail, reply.outcome, reply.content.len())
    };
    let (aes, sha) = (Ciphersuite::Aes, Ciphersuite::Sha256);
    let wrong = run(ID, &[9; 32], aes, gpsk_only());
    assert_eq!(run("mn9@example.net", &[9; 32], aes, gpsk_only()), wrong);
    let short = gpsk_only();
    let psk = hearth_hac::auth::psk::Psk::new(vec![5; 16]).unwrap();
    let key = short.subscribers.key();
    let sealed = SealedPsk::seal(key, &mn_id(ID), &psk, &mut Counting(5)).unwrap();
    change(&short, ID, |subscriber| subscriber.psk = Some(sealed));
    assert_eq!(run(ID, &[5; 32], sha, short), run("mn9@example.net", &[5; 32], sha, gpsk_only()));
}

/// 504 where the AAA server is silent, 503 with retry-after where all are dead.
#[test]
fn eap_13_aaa_servers_that_do_not_answer() {
    for (error, expected, retry_after) in [
        (RelayError::Silent, StatusCode::GatewayTimeout, None),
        (RelayError::AllDead { retry_after: 7 }, StatusCode::ServiceUnavailable, Some(NOW + 7)),
    ] {
        let mut peer = Peer::new(eap(&[Offer::Aaa]));
        let first = peer.init(ID);
        peer.mid(&answer(&first, EapType::IDENTITY, ID.as_bytes()));
        let step = peer.session.relayed(Err(error), NOW, &mut peer.entropy);
        let reply = responded(step);
        assert_eq!(reply.outcome, Outcome::Refused(expected));
        assert_eq!(peer.read(&reply, NO_MSK).retry_after, retry_after);
    }
    let mut peer = Peer::new(eap(&[Offer::Aaa]));
    let first = peer.init(ID);
    peer.mid(&answer(&first, EapType::IDENTITY, ID.as_bytes()));
    let reject = Relayed::Reject { eap: Packet::failure(1).to_vec() };
    let step = peer.session.relayed(Ok(reject), NOW, &mut peer.entropy);
    assert_eq!(failure(&peer, step), Some(Packet::failure(1).to_vec()));
}

/// A server that asks for ever is stopped.
#[test]
fn rounds_are_bounded() {
    let mut peer = Peer::new(eap(&[Offer::Aaa]));
    let first = peer.init(ID);
    let mut response = answer(&first, EapType::IDENTITY, ID.as_bytes());
    for round in 0..=MAX_ROUNDS {
        let step = peer.mid(&response);
        if round == MAX_ROUNDS {
            assert!(failure(&peer, step).is_some());
            return;
        }
        assert!(matches!(step, Step::Relay(_)), "{round}");
        let eap = encode(Code::Request, round, EapType::TTLS, &[]).unwrap();
        let state = RelayState { server: AAA, state: Vec::new(), user_name: Box::default() };
        let challenge = Relayed::Challenge { eap: eap.clone(), state };
        let step = peer.session.relayed(Ok(challenge), NOW, &mut peer.entropy);
        assert_eq!(peer.request(step), eap);
        response = answer(&eap, EapType::TTLS, &[]);
    }
    panic!("never stopped");
}

/// HAC-17, R-8: by the realm, whether the mn-id exists or not.
#[test]
fn hac_17_methods_by_realm() {
    let chosen = |realm: Realm, id: &str, methods: &[AuthMethod]| {
        let message = Message {
            mn_id: Some(mn_id(id)),
            mn_rand: Some([1; 32]),
            auth_methods: methods.to_vec(),
            ..Message::default()
        };
        let reply = responded(Peer::new(realm).send(&message.encode_unsigned()));
        let methods = message::parse(&reply.content).unwrap().message.auth_methods;
        (reply.outcome, methods)
    };
    let realm = || {
        let mut realm = gpsk_only();
        let psk = vec![AuthMethod::Psk, AuthMethod::Eap];
        let choice = hearth_hac::config::auth::AuthChoice {
            methods: psk,
            eap: vec![Offer::Local(EapType::GPSK)],
        };
        realm.auth.realms.push(("psk.example.net".into(), choice));
        realm
    };
    let both = [AuthMethod::Eap, AuthMethod::Psk];
    for (id, method) in [
        ("mn1@example.net", AuthMethod::Eap),
        ("mn9@example.net", AuthMethod::Eap),
        ("mn1", AuthMethod::Eap),
        ("mn1@psk.example.net", AuthMethod::Psk),
        ("mn9@PSK.example.net", AuthMethod::Psk),
    ] {
        assert_eq!(chosen(realm(), id, &both), (Outcome::Challenged, vec![method]), "{id}");
    }
    let refused = Outcome::Refused(StatusCode::NotImplemented);
    assert_eq!(chosen(realm(), ID, &[AuthMethod::Psk]), (refused, vec![]));
}

proptest::proptest! {
    /// Whatever a stranger sends, it is answered, and opens nothing.
    #[test]
    fn any_packet(packets: Vec<(u8, Vec<u8>)>) {
        let mut peer = Peer::new(eap(&[Offer::Local(EapType::GPSK)]));
        let mut request = peer.init(ID);
        for (kind, mut data) in packets {
            let octets = match kind % 4 {
                0 => std::mem::take(&mut data),
                1 => answer(&request, EapType::IDENTITY, &data),
                2 => answer(&request, EapType::NAK, &data),
                _ => answer(&request, EapType::GPSK, &data),
            };
            let reply = responded(peer.mid(&octets));
            let headers = message::parse(&reply.content).unwrap().message;
            assert!(headers.spi.is_none());
            match headers.eap_payload.filter(|octets| octets[0] == 1) {
                Some(next) => request = next,
                None => break,
            }
        }
    }
}
