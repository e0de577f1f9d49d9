use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const PEER: &[u8] = b"mn1@example.net";
const SERVER: &[u8] = b"hac.example.net";

/// The two runs of wpa_supplicant's implementation in `hostap.txt`, by suite.
fn vectors() -> Vec<(Ciphersuite, HashMap<&'static str, Vec<u8>>)> {
    let mut runs = Vec::new();
    for line in include_str!("hostap.txt").lines().filter(|line| !line.starts_with('#')) {
        let (key, value) = line.split_once(' ').unwrap();
        match (key, value) {
            ("suite", "1") => runs.push((Ciphersuite::Aes, HashMap::new())),
            ("suite", "2") => runs.push((Ciphersuite::Sha256, HashMap::new())),
            _ => {
                let octets = value.as_bytes().chunks(2);
                let octets = octets.map(|pair| {
                    u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()
                });
                runs.last_mut().unwrap().1.insert(key, octets.collect());
            }
        }
    }
    assert_eq!(runs.len(), 2);
    runs
}

fn keys(suite: Ciphersuite, run: &HashMap<&str, Vec<u8>>) -> Keys {
    let (rand_peer, rand_server) = rands(run);
    Keys::derive(suite, &run["psk"], (&rand_peer, PEER), (&rand_server, SERVER)).unwrap()
}

fn rands(run: &HashMap<&str, Vec<u8>>) -> ([u8; RAND_LEN], [u8; RAND_LEN]) {
    let octets = |name| <[u8; RAND_LEN]>::try_from(&run[name][..]).unwrap();
    (octets("rand-peer"), octets("rand-server"))
}

/// EAP-10: keys as the implementation of others derives them.
#[test]
fn keys_are_those_of_hostap() {
    for (suite, run) in vectors() {
        let (peer, server) = rands(&run);
        let id = Keys::method_id(suite, &run["psk"], (&peer, PEER), (&server, SERVER)).unwrap();
        assert_eq!(id[..], run["method-id"][..]);
        assert_eq!(keys(suite, &run).into_msk()[..], run["msk"][..], "{suite:?}");
    }
}

/// EAP-10: its messages are read, their MACs verify, and ours are octet by octet the same.
#[test]
fn messages_are_those_of_hostap() {
    for (suite, run) in vectors() {
        let (rand_peer, _) = rands(&run);
        let keys = keys(suite, &run);
        let Ok(Message::One(one)) = Message::parse(&run["gpsk-1"], None) else { panic!() };
        assert_eq!(one.id_server, SERVER);
        assert_eq!(known_suites(one.suite_list).collect::<Vec<_>>(), Ciphersuite::ALL);
        assert_eq!(one.encode(), run["gpsk-1"]);

        let Ok(Message::Two(two)) = Message::parse(&run["gpsk-2"], None) else { panic!() };
        assert_eq!((two.id_peer, two.id_server, two.suite), (PEER, SERVER, suite));
        assert_eq!(two.suite_list, Ciphersuite::list(&Ciphersuite::ALL));
        assert!(keys.verify(&two.sealed) && keys.opens(&two.sealed));
        assert_eq!(encode_2(&one, PEER, &rand_peer, suite, &keys), run["gpsk-2"]);

        let Ok(Message::Three(three)) = Message::parse(&run["gpsk-3"], None) else { panic!() };
        assert_eq!((three.id_server, three.suite), (SERVER, suite));
        assert!(three.rand_peer == two.rand_peer && three.rand_server == two.rand_server);
        assert!(keys.verify(&three.sealed));
        assert_eq!(encode_3(&two, &keys), run["gpsk-3"]);

        let four = Message::parse(&run["gpsk-4"], Some(suite));
        let Ok(Message::Four(four)) = four else { panic!() };
        assert!(keys.verify(&four));
        assert_eq!(encode_4(&keys), run["gpsk-4"]);
        let mut flipped = four.mac.to_vec();
        flipped[3] ^= 1;
        assert!(!keys.verify(&Sealed { mac: &flipped, ..four }));
    }
}

#[test]
fn failures() {
    let (suite, run) = &vectors()[0];
    let keys = keys(*suite, run);
    let fail = encode_fail(FailureCode::AuthenticationFailure);
    assert_eq!(fail, [5, 0, 0, 0, 2]);
    assert!(Message::parse(&fail, None) == Ok(Message::Fail(FailureCode::AuthenticationFailure)));
    let fail = encode_protected_fail(FailureCode::AuthorizationFailure, &keys);
    match Message::parse(&fail, Some(*suite)) {
        Ok(Message::ProtectedFail(FailureCode::AuthorizationFailure, sealed)) => {
            assert!(keys.verify(&sealed));
        }
        _ => panic!(),
    }
    assert!(Message::parse(&fail, None) == Err(Malformed));
}

#[test]
fn short_psks_have_no_keys() {
    let (_, run) = &vectors()[0];
    let (peer, server) = rands(run);
    let derive =
        |suite, len| Keys::derive(suite, &vec![7; len], (&peer, PEER), (&server, SERVER)).is_some();
    assert!(derive(Ciphersuite::Aes, 16) && !derive(Ciphersuite::Aes, 15));
    assert!(derive(Ciphersuite::Sha256, 32) && !derive(Ciphersuite::Sha256, 31));
}

#[test]
fn malformed_messages() {
    let (_, run) = &vectors()[0];
    let two = &run["gpsk-2"];
    for len in 0..two.len() {
        assert!(Message::parse(&two[..len], None) == Err(Malformed), "{len}");
    }
    assert!(Message::parse(&[&two[..], &[0]].concat(), None) == Err(Malformed));
    // A suite that nobody knows, and a list that is no multiple of 6.
    let sel = two.len() - 16 - 2 - 6;
    let mut unknown = two.clone();
    unknown[sel + 5] = 3;
    assert!(Message::parse(&unknown, None) == Err(Malformed));
    let one = Writer::new(1).variable(SERVER).put(&[7; RAND_LEN]).variable(&[0; 7]).0;
    assert!(Message::parse(&one, None) == Err(Malformed));
    let one = Writer::new(1).variable(&[7; 255]).put(&[7; RAND_LEN]).variable(&[0; 6]).0;
    assert!(Message::parse(&one, None) == Err(Malformed));
}

/// RFC 5433 s.9.4: encrypted under suite 1, in the clear under suite 2.
#[test]
fn protected_data() {
    let sealed = |protected_data| Sealed { covered: &[], mac: &[], protected_data };
    let [(_, aes), (_, sha)] = &vectors()[..] else { panic!() };
    let clear = keys(Ciphersuite::Sha256, sha);
    let payload = [0, 0, 0x37, 0x2a, 0, 1, 0, 2, 8, 9];
    let block = [&[0][..], &payload, &[0]].concat();
    assert!(clear.opens(&sealed(&block)) && clear.opens(&sealed(&[])));
    for wrong in [&block[1..], &block[..9], &[0], &[1, 7, 0], &[0, 0, 1], &[0, 1, 1, 0]] {
        assert!(!clear.opens(&sealed(wrong)), "{wrong:?}");
    }
    let secret = keys(Ciphersuite::Aes, aes);
    assert!(secret.opens(&sealed(&aes["pd"])));
    for wrong in [&aes["pd-wrong-length"][..], &aes["pd"][..32], &[0; 17], &[16; 17], &[16; 32]] {
        assert!(!secret.opens(&sealed(wrong)), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..200), op in 0..8_u8) {
        let (suite, run) = &vectors()[usize::from(op % 2)];
        let keys = keys(*suite, run);
        let octets = [&[op][..], &octets].concat();
        if let Ok(Message::Four(sealed)) = Message::parse(&octets, Some(*suite)) {
            let _ = keys.verify(&sealed);
        }
        let _ = keys.opens(&Sealed { covered: &[], mac: &[], protected_data: &octets });
    }
}
