//! The exchange with a HAC that follows a script.

use proptest::prelude::*;

use super::*;

pub(crate) const PSK: &[u8] = b"a pre-shared key of 32 octets...";
const CB: &[u8] = b"hash of a certificate";
const HAC_RAND: [u8; 32] = [0x44; 32];

pub(crate) fn mn_id() -> MobileNodeId {
    MobileNodeId::new("mn1@example.net").unwrap()
}

fn proposal(mn_id: &MobileNodeId) -> Proposal<'_> {
    Proposal {
        mn_id,
        credentials: &Credentials::Psk(PSK),
        suites: &[Suite::Aes128CbcSha256, Suite::Aes128CbcSha],
        scope: Scope::SignallingAndData,
    }
}

/// Response/MHAuth-Init to `request`.
pub(crate) fn init_response(request: &Message) -> Message {
    Message {
        mn_rand: request.mn_rand,
        hac_rand: Some(HAC_RAND),
        auth_methods: vec![AuthMethod::Psk],
        ..Message::default()
    }
}

/// Response/MHAuth-Done to `request`: a whole SA.
pub(crate) fn done_response(request: &Message) -> Message {
    let key = |len: usize, octet: u8| Some(Zeroizing::new(vec![octet; len]));
    Message {
        status: Some(StatusCode::Ok),
        mn_rand: request.mn_rand,
        hac_rand: request.hac_rand,
        scope: Some(Scope::SignallingAndData),
        suite: Some(Suite::Aes128CbcSha),
        spi: Some(Spi::new(77).unwrap()),
        mn_to_ha_ikey: key(20, 1),
        ha_to_mn_ikey: key(20, 2),
        mn_to_ha_ekey: key(16, 3),
        ha_to_mn_ekey: key(16, 4),
        validity_end: Some(2_000_000_000),
        ha_ip6: Some("2001:db8:a::10".parse().unwrap()),
        ha_ip4: Some([198, 51, 100, 10].into()),
        hoa_ip6: Some("2001:db8:b:1::10".parse().unwrap()),
        hoa_ip4: Some([203, 0, 113, 200].into()),
        ..Message::default()
    }
}

fn read(octets: &[u8]) -> (u8, Message) {
    let (container, taken) = container::decode(octets).unwrap().unwrap();
    assert_eq!(taken, octets.len());
    (container.identifier, message::parse(container.content).unwrap().message)
}

fn response(identifier: u8, message: &Message) -> Zeroizing<Vec<u8>> {
    container::encode(identifier, &message.encode_signed(Side::Hac, PSK, CB)).unwrap()
}

/// Runs an exchange whose responses `init` and `done` may spoil.
fn exchange(
    init: impl FnOnce(&mut Message),
    done: impl FnOnce(&mut Message),
) -> Result<Box<Grant>, BootstrapError> {
    let mn_id = mn_id();
    let (mut session, request) =
        Session::begin(proposal(&mn_id), CB.to_vec(), [0x33; 32], [0x55; 32])?;
    let (_, request) = read(&request);
    let mut answer = init_response(&request);
    init(&mut answer);
    let request = match session.receive(&response(1, &answer))? {
        Progress::Send(request) => request,
        other => panic!("{other:?}"),
    };
    let (_, request) = read(&request);
    let mut answer = done_response(&request);
    done(&mut answer);
    match session.receive(&response(2, &answer))? {
        Progress::Done(grant) => Ok(grant),
        other => panic!("{other:?}"),
    }
}

fn fails(init: impl FnOnce(&mut Message), done: impl FnOnce(&mut Message)) -> BootstrapError {
    exchange(init, done).expect_err("a spoiled exchange")
}

#[test]
fn requests_are_those_of_section_5_8() {
    let mn_id = mn_id();
    let (mut session, octets) =
        Session::begin(proposal(&mn_id), CB.to_vec(), [0x33; 32], [0x55; 32]).unwrap();
    let (identifier, request) = read(&octets);
    assert_eq!((identifier, request.mn_id.as_ref()), (1, Some(&mn_id)));
    assert_eq!(
        (request.mn_rand, request.auth_methods.as_slice()),
        (Some([0x33; 32]), &[AuthMethod::Psk][..])
    );
    // no auth in the first request.
    assert_eq!(message::parse(&octets[4..]).unwrap().auth, None);
    let Ok(Progress::Send(octets)) = session.receive(&response(1, &init_response(&request))) else {
        panic!("no second request")
    };
    let (identifier, request) = read(&octets);
    assert_eq!(identifier, 2);
    assert_eq!((request.mn_rand, request.hac_rand), (Some([0x33; 32]), Some(HAC_RAND)));
    assert_eq!(request.scope, Some(Scope::SignallingAndData));
    assert_eq!(request.suite_list, Some(vec![Suite::Aes128CbcSha256, Suite::Aes128CbcSha]));
    let parsed = message::parse(&octets[4..]).unwrap();
    assert!(message::verify(&octets[4..], &parsed, Side::Mn, PSK, CB));
    assert!(!message::verify(&octets[4..], &parsed, Side::Mn, PSK, b"other channel"));
}

#[test]
fn a_good_exchange_grants_the_sa() {
    let grant = exchange(|_| {}, |_| {}).unwrap();
    assert_eq!(
        (grant.spi.get(), grant.suite, grant.scope),
        (77, Suite::Aes128CbcSha, Scope::SignallingAndData)
    );
    // RFC 6618 s.5.7.2: without mip6-port, 7872.
    assert_eq!(grant.port, 7872);
    assert_eq!(grant.home_address_ip4, Some([203, 0, 113, 200].into()));
    let grant = exchange(|_| {}, |done| done.port = Some(9000)).unwrap();
    assert_eq!(grant.port, 9000);
}

/// key and salt in one ekey, and no ikey.
#[test]
fn aes_128_gcm_has_ekeys_alone() {
    let mn_id = mn_id();
    let proposal = || Proposal { suites: &[Suite::Aes128Gcm], ..proposal(&mn_id) };
    let granted = |ekey: usize, ikey: Option<usize>| {
        let (mut session, request) =
            Session::begin(proposal(), CB.to_vec(), [0x33; 32], [0x55; 32]).unwrap();
        let answer = init_response(&read(&request).1);
        let Ok(Progress::Send(request)) = session.receive(&response(1, &answer)) else {
            panic!("no second request")
        };
        let request = read(&request).1;
        assert_eq!(request.suite_list, Some(vec![Suite::Aes128Gcm]));
        let answer = Message {
            suite: Some(Suite::Aes128Gcm),
            mn_to_ha_ikey: ikey.map(|len| Zeroizing::new(vec![1; len])),
            ha_to_mn_ikey: None,
            mn_to_ha_ekey: Some(Zeroizing::new(vec![3; ekey])),
            ha_to_mn_ekey: Some(Zeroizing::new(vec![4; 20])),
            ..done_response(&request)
        };
        session.receive(&response(2, &answer))
    };
    let Ok(Progress::Done(grant)) = granted(20, None) else { panic!("no grant") };
    assert_eq!((grant.suite, grant.outbound.suite()), (Suite::Aes128Gcm, Suite::Aes128Gcm));
    for (ekey, ikey) in [(16, None), (20, Some(20))] {
        assert_eq!(granted(ekey, ikey).err(), Some(BootstrapError::KeyLength));
    }
}

#[test]
fn spoiled_responses_are_refused() {
    use BootstrapError::{KeyLength, Missing, Nonce, NotOffered};
    assert_eq!(fails(|init| init.mn_rand = Some([0; 32]), |_| {}), Nonce);
    assert_eq!(fails(|init| init.mn_rand = None, |_| {}), Missing("mn-rand"));
    assert_eq!(fails(|init| init.hac_rand = None, |_| {}), Missing("hac-rand"));
    assert_eq!(fails(|init| init.auth_methods = vec![AuthMethod::Eap], |_| {}), NotOffered);
    assert_eq!(fails(|_| {}, |done| done.hac_rand = Some([0; 32])), Nonce);
    assert_eq!(fails(|_| {}, |done| done.suite = Some(Suite::NullSha)), NotOffered);
    assert_eq!(fails(|_| {}, |done| done.suite = Some(Suite::Aes128CbcSha256)), KeyLength);
    assert_eq!(fails(|_| {}, |done| done.ha_to_mn_ekey = None), KeyLength);
    assert_eq!(fails(|_| {}, |done| done.spi = None), Missing("mip6-spi"));
    assert_eq!(fails(|_| {}, |done| done.status = None), Missing("status-code"));
    assert_eq!(fails(|_| {}, |done| done.scope = None), Missing("mip6-sas"));
    assert_eq!(fails(|_| {}, |done| done.ha_ip6 = None), Missing("mip6-haa-ip6"));
    assert_eq!(fails(|_| {}, |done| done.hoa_ip6 = None), Missing("mip6-ip6-hoa"));
    assert_eq!(fails(|_| {}, |done| done.validity_end = None), Missing("mip6-sa-validity-end"));
}

/// A response under another key, another channel, or none at all is not the HAC's, whatever it
/// grants; a refusal needs no key.
#[test]
fn only_a_refusal_may_be_unsigned() {
    let mn_id = mn_id();
    let begin = || Session::begin(proposal(&mn_id), CB.to_vec(), [0x33; 32], [0x55; 32]).unwrap();
    let (_, request) = read(&begin().1);
    let good = init_response(&request);
    let refusal = Message {
        status: Some(StatusCode::ServiceUnavailable),
        retry_after: Some(1_900_000_000),
        ..Message::default()
    };
    let refused = BootstrapError::Refused {
        status: StatusCode::ServiceUnavailable,
        retry_after: Some(1_900_000_000),
    };
    let cases = [
        (
            good.encode_signed(Side::Hac, b"another pre-shared key..........", CB),
            BootstrapError::NotAuthentic,
        ),
        (good.encode_signed(Side::Hac, PSK, b"another certificate"), BootstrapError::NotAuthentic),
        (good.encode_signed(Side::Mn, PSK, CB), BootstrapError::NotAuthentic),
        (good.encode_unsigned(), BootstrapError::NotAuthentic),
        (refusal.encode_unsigned(), refused),
        (refusal.encode_signed(Side::Hac, PSK, CB), refused),
    ];
    for (content, expected) in cases {
        let octets = container::encode(1, &content).unwrap();
        assert_eq!(begin().0.receive(&octets).err(), Some(expected));
    }
}

#[test]
fn containers_are_put_together_and_matched() {
    let mn_id = mn_id();
    let begin = || Session::begin(proposal(&mn_id), CB.to_vec(), [0x33; 32], [0x55; 32]).unwrap();
    let (mut session, request) = begin();
    let octets = response(1, &init_response(&read(&request).1));
    let (last, first) = octets.split_last().unwrap();
    for octet in first {
        assert!(matches!(session.receive(&[*octet]), Ok(Progress::Wait)));
    }
    assert!(matches!(session.receive(&[*last]), Ok(Progress::Send(_))));
    let octets = response(2, &init_response(&read(&request).1));
    assert_eq!(begin().0.receive(&octets).err(), Some(BootstrapError::Identifier));
    assert_eq!(begin().0.receive(&[0x20, 1, 0, 1, b'x']).err(), Some(BootstrapError::Malformed));
    assert_eq!(begin().0.receive(&[0, 1, 0, 1, b'x']).err(), Some(BootstrapError::Malformed));
}

proptest! {
    #[test]
    fn receive_never_panics(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let mn_id = mn_id();
        let (mut session, _) = Session::begin(proposal(&mn_id), CB.to_vec(), [0; 32], [0; 32]).unwrap();
        let _ = session.receive(&octets);
    }
}
