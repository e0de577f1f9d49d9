//! A network that knows the card's key, and what it does not get away with.

use proptest::prelude::*;

use super::milenage::Milenage;
use super::usim::Vector;
use super::*;
use crate::eap::{Answer, Credentials, Peer};
use hearth_wire::MobileNodeId;
use hearth_wire::eap::Packet;

const K: [u8; 16] = [1; 16];
const OPC: [u8; 16] = [2; 16];
const RAND: [u8; 16] = [0x23; 16];
const NETWORK: &[u8] = b"WLAN";
const PERMANENT: &str = "6232010000000000@wlan.mnc001.mcc232.3gppnetwork.org";

fn card(folder: &tempfile::TempDir) -> Usim {
    let keys = usim::Keys { k: K, operator: OPC, is_op: false };
    Usim::new(&keys, folder.path().join("usim.json"))
}

fn credentials(usim: &Usim) -> Credentials<'_> {
    Credentials::AkaPrime(AkaCredentials {
        usim,
        identity: PERMANENT.to_owned(),
        permanent: PERMANENT.to_owned(),
        network: None,
        pseudonyms: true,
    })
}

fn mn_id() -> MobileNodeId {
    MobileNodeId::new("mn1@example.net").unwrap()
}

/// AUTN, and what the card will make of it.
fn vector(sqn: u64) -> ([u8; 16], Vector) {
    let milenage = Milenage::new(&K, &OPC);
    let [_, _, sqn @ ..] = sqn.to_be_bytes();
    let outputs = milenage.outputs(&RAND);
    let mut hidden = sqn;
    hidden.iter_mut().zip(outputs.ak).for_each(|(to, from)| *to ^= from);
    let (mac, _) = milenage.f1(&RAND, &sqn, [0x80, 0]);
    let autn = [&hidden[..], &[0x80, 0], &mac].concat().try_into().unwrap();
    (autn, Vector { res: outputs.res, ck: outputs.ck, ik: outputs.ik, sqn_xor_ak: hidden })
}

/// EAP-Request/AKA'-Challenge with these AT_KDF, and more in it.
fn challenge(sqn: u64, kdfs: &[u16], more: impl FnOnce(&mut Vec<u8>)) -> (Vec<u8>, Keys) {
    let (autn, vector) = vector(sqn);
    let mut data = message(Subtype::Challenge);
    put(&mut data, AT_RAND, &[&[0, 0], &RAND[..]].concat());
    put(&mut data, AT_AUTN, &[&[0, 0], &autn[..]].concat());
    put_counted(&mut data, AT_KDF_INPUT, 4, NETWORK);
    for kdf in kdfs {
        put(&mut data, AT_KDF, &kdf.to_be_bytes());
    }
    more(&mut data);
    put(&mut data, AT_MAC, &[0; 18]);
    let keys = Keys::derive(&vector, NETWORK, PERMANENT.as_bytes());
    let mut packet = encode(Code::Request, 7, EapType::AKA_PRIME, &data).unwrap();
    let mac = keys.mac(&packet);
    let len = packet.len();
    packet[len - 16..].copy_from_slice(&mac);
    (packet, keys)
}

fn subtype(packet: &[u8]) -> u8 {
    let packet = Packet::parse(packet).unwrap();
    assert_eq!(packet.body.unwrap().eap_type, EapType::AKA_PRIME);
    packet.body.unwrap().data[0]
}

fn given_up(answer: Result<Answer, EapFault>) -> (u8, EapFault) {
    let Ok(Answer::GiveUp(packet, fault)) = answer else { panic!("{answer:?}") };
    (subtype(&packet), fault)
}

#[test]
fn the_network_and_the_card_agree() {
    let folder = tempfile::tempdir().unwrap();
    let (card, mn_id) = (card(&folder), mn_id());
    let credentials = credentials(&card);
    let mut peer = Peer::new(&mn_id, &credentials, [0; 32]);
    // Another function first: ours is asked for, and then stands in front of the same list.
    let (first, _) = challenge(32, &[2, 1], |_| ());
    let Ok(Answer::Response(kdf)) = peer.answer(&first) else { panic!() };
    assert_eq!(kdf[5..], [1, 0, 0, 24, 1, 0, 1]);
    let (second, keys) = challenge(32, &[1, 2, 1], |_| ());
    let Ok(Answer::Last(response, msk)) = peer.answer(&second) else { panic!() };
    assert_eq!(msk, keys.msk());
    assert!(keys.verify(&response, response.len() - 16));
    // The same again: SQN was used.
    let mut peer = Peer::new(&mn_id, &credentials, [0; 32]);
    let (again, _) = challenge(32, &[1], |_| ());
    let Ok(Answer::Response(auts)) = peer.answer(&again) else { panic!() };
    assert_eq!((subtype(&auts), auts[8..10].to_vec()), (4, vec![4, 4]));
    assert_eq!(auts[24..], [24, 1, 0, 1]);
    let (fresh, _) = challenge(64, &[1], |_| ());
    assert!(matches!(peer.answer(&fresh), Ok(Answer::Last(..))));
}

/// RFC 9048 s.3.1 to 3.3, RFC 4187 s.6.3.1: rejects and errors.
#[test]
fn what_a_network_does_not_get_away_with() {
    let folder = tempfile::tempdir().unwrap();
    let (card, mn_id) = (card(&folder), mn_id());
    let credentials = credentials(&card);
    let answer = |packet: &[u8]| Peer::new(&mn_id, &credentials, [0; 32]).answer(packet);
    // No function of ours, none at all, one twice.
    for kdfs in [&[2][..], &[], &[1, 1], &[1, 2, 2]] {
        let (packet, _) = challenge(1000, kdfs, |_| ());
        assert_eq!(given_up(answer(&packet)), (2, EapFault::Network), "{kdfs:?}");
    }
    // Another list than was negotiated.
    let mut peer = Peer::new(&mn_id, &credentials, [0; 32]);
    assert!(peer.answer(&challenge(1000, &[2, 1], |_| ()).0).is_ok());
    let other = challenge(1000, &[1, 3, 1], |_| ()).0;
    assert_eq!(given_up(peer.answer(&other)), (14, EapFault::Network));
    // Every octet of it is protected: nothing changed is answered with RES.
    let (packet, _) = challenge(1000, &[1], |_| ());
    for at in 5..packet.len() {
        let mut wrong = packet.clone();
        wrong[at] ^= 1;
        assert!(!matches!(answer(&wrong), Ok(Answer::Last(..))), "octet {at}");
    }
    // An attribute that must be known and is not; a checkcode over what was not seen.
    let (packet, _) = challenge(2000, &[1], |data| put(data, 99, &[0, 0]));
    assert_eq!(given_up(answer(&packet)), (14, EapFault::Malformed));
    let (packet, _) = challenge(3000, &[1], |data| put(data, AT_CHECKCODE, &[0; 34]));
    assert_eq!(given_up(answer(&packet)), (14, EapFault::Network));
    // 1031, not subscribed, before the challenge; a success that nothing protects.
    let notified = |code: u16| {
        let mut data = message(Subtype::Notification);
        put(&mut data, AT_NOTIFICATION, &code.to_be_bytes());
        answer(&encode(Code::Request, 1, EapType::AKA_PRIME, &data).unwrap())
    };
    let code = 0x4000 | 1031;
    assert_eq!(given_up(notified(code)), (12, EapFault::Notified(code)));
    assert_eq!(given_up(notified(0x8000)), (14, EapFault::Malformed));
    assert_eq!(answer(&Packet::success(1)).err(), Some(EapFault::Early));
}

/// RFC 4187 s.4.1: the identity, three times at most; the checkcode covers both ways of it.
#[test]
fn identities_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (card, mn_id) = (card(&folder), mn_id());
    let credentials = credentials(&card);
    let mut peer = Peer::new(&mn_id, &credentials, [0; 32]);
    let mut data = message(Subtype::Identity);
    put(&mut data, AT_PERMANENT_ID_REQ, &[0, 0]);
    let request = encode(Code::Request, 6, EapType::AKA_PRIME, &data).unwrap();
    let Ok(Answer::Response(response)) = peer.answer(&request) else { panic!() };
    let code = Sha256::new().chain_update(&request).chain_update(&response).finalize();
    let checkcode = [&[0, 0], code.as_slice()].concat();
    let (packet, _) = challenge(5000, &[1], |data| put(data, AT_CHECKCODE, &checkcode));
    assert!(matches!(peer.answer(&packet), Ok(Answer::Last(..))));
    let mut peer = Peer::new(&mn_id, &credentials, [0; 32]);
    for _ in 0..3 {
        assert!(matches!(peer.answer(&request), Ok(Answer::Response(_))));
    }
    assert_eq!(given_up(peer.answer(&request)), (14, EapFault::Malformed));
}

#[test]
fn imsis_have_a_home() {
    let (identity, realm) = permanent_identity("232010000000000", 2);
    assert_eq!(identity, PERMANENT);
    assert_eq!(realm, "wlan.mnc001.mcc232.3gppnetwork.org");
    assert!(
        permanent_identity("310260123456789", 3).0.ends_with("@wlan.mnc260.mcc310.3gppnetwork.org")
    );
}

proptest! {
    #[test]
    fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..120), subtype in 0_u8..16) {
        let folder = tempfile::tempdir().unwrap();
        let (card, mn_id) = (card(&folder), mn_id());
        let credentials = credentials(&card);
        let data = [&[subtype, 0, 0], &octets[..]].concat();
        let packet = encode(Code::Request, 1, EapType::AKA_PRIME, &data).unwrap();
        let answer = Peer::new(&mn_id, &credentials, [0; 32]).answer(&packet);
        prop_assert!(!matches!(answer, Ok(Answer::Last(..))));
    }
}
