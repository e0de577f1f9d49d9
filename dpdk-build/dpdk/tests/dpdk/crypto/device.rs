//! Crypto devices against the lanes, octet for octet: crypto_aesni_mb and crypto_openssl.

use hearth_dpdk::{
    Completed, CryptoConfig, CryptoDevice, CryptoError, CryptoQueue, CryptoSession, CryptoSuite,
    DeviceOp, Mbuf, Mempool, MultiBuffer, Op, OpError, Tag, Way,
};

use super::mixed::{Case, SUITES};
use super::{AuthKey, CipherKey, alone};
use crate::{CRYPTO_VDEV, all_back, eal, pool};

/// As in [`SUITES`].
const DEVICE_SUITES: [CryptoSuite; 6] = [
    CryptoSuite::NullSha1,
    CryptoSuite::NullXcbc,
    CryptoSuite::TripleDesSha1,
    CryptoSuite::Aes128Sha1,
    CryptoSuite::Aes128Xcbc,
    CryptoSuite::Aes128Gcm,
];

/// Numbers of the suites that each device offers: OpenSSL knows no AES-XCBC-MAC.
const DEVICES: [(&str, &[usize]); 2] =
    [("crypto_aesni_mb", &[0, 1, 2, 3, 4, 5]), ("crypto_openssl", &[0, 2, 3, 5])];

fn open<'k>(name: &str, config: &CryptoConfig) -> (CryptoDevice, Vec<CryptoQueue<'k>>) {
    CryptoDevice::attach(eal(), name, config).expect("a device")
}

fn session(device: &CryptoDevice, queue: u16, suite: usize, way: Way) -> CryptoSession {
    let (ekey, ikey) = SUITES[suite];
    // The salt stays here.
    let ekey = if ekey.len() == 20 { &ekey[..16] } else { ekey };
    device.session(queue, DEVICE_SUITES[suite], way, ekey, ikey).expect("a session")
}

/// The same operation for a device.
fn device_op<'k>(op: &Op<'_>, session: &'k CryptoSession) -> DeviceOp<'k> {
    DeviceOp {
        session,
        iv_offset: op.iv_offset,
        cipher_offset: op.cipher_offset,
        cipher_len: op.cipher_len,
        auth_offset: op.auth_offset,
        auth_len: op.auth_len,
        tag: op.tag,
    }
}

fn device_alone<'k>(queue: &mut CryptoQueue<'k>, mbuf: Mbuf, op: &DeviceOp<'k>) -> Mbuf {
    assert!(queue.submit(mbuf, op, 42).expect("a valid operation").is_none());
    let Completed { mbuf, user, ok } = queue.flush().expect("the device answers");
    assert_eq!((user, ok, queue.len()), (42, true, 0));
    mbuf
}

/// The packet with its nonce, before decryption.
fn sealed(pool: &Mempool, case: &Case, octets: &[u8]) -> Mbuf {
    let mut mbuf = case.mbuf(pool);
    mbuf.data_mut().copy_from_slice(octets);
    mbuf
}

#[test]
fn devices_do_as_the_lanes_octet_for_octet() {
    let pool = pool("device_lanes");
    let expander = MultiBuffer::new().expect("a manager");
    let keys: Vec<_> = SUITES
        .iter()
        .map(|(e, i)| (CipherKey::new(&expander, e), AuthKey::new(&expander, i)))
        .collect();
    for (name, suites) in DEVICES {
        let (device, mut queues) = open(name, &CryptoConfig::default());
        let sessions: Vec<_> = suites
            .iter()
            .map(|&suite| [Way::Encrypt, Way::Decrypt].map(|way| session(&device, 0, suite, way)))
            .collect();
        // From here on it is bound to the life of the sessions.
        let mut queue = queues.remove(0);
        let mut mb = MultiBuffer::new().expect("a manager");
        for (&suite, [encrypt, decrypt]) in suites.iter().zip(&sessions) {
            for blocks in [1, 2, 3, 4, 7, 16, 33, 87] {
                let mut case =
                    Case { suite, encrypt: true, blocks, seed: blocks as u8, flush: false };
                let op = case.op(&keys);
                let lanes = alone(&mut mb, case.mbuf(&pool), &op);
                let ours = device_alone(&mut queue, case.mbuf(&pool), &device_op(&op, encrypt));
                assert!(ours.data() == lanes.data(), "{name}, {case:?}");

                case.encrypt = false;
                let op = case.op(&keys);
                let octets = lanes.data().to_vec();
                drop((lanes, ours));
                let lanes = alone(&mut mb, sealed(&pool, &case, &octets), &op);
                let device_op = device_op(&op, decrypt);
                let ours = device_alone(&mut queue, sealed(&pool, &case, &octets), &device_op);
                assert!(ours.data() == lanes.data(), "{name}, {case:?}");
                assert!(ours.data() != octets || suite < 2, "nothing was decrypted");
                let tag = &octets[octets.len() - case.tag_len()..];
                let [vouched, computed] = [&ours, &lanes].map(Mbuf::meta::<[u8; 16]>);
                assert_eq!(&vouched[..case.tag_len()], tag, "{name}, {case:?}");
                assert_eq!(&computed[..case.tag_len()], tag, "{name}, {case:?}");
            }
        }
    }
    all_back(&pool);
}

#[test]
fn a_wrong_tag_never_compares_equal() {
    let pool = pool("device_bad");
    let expander = MultiBuffer::new().expect("a manager");
    let keys: Vec<_> = SUITES
        .iter()
        .map(|(e, i)| (CipherKey::new(&expander, e), AuthKey::new(&expander, i)))
        .collect();
    for (name, suites) in DEVICES {
        let (device, mut queues) = open(name, &CryptoConfig::default());
        let sessions: Vec<_> =
            suites.iter().map(|&suite| session(&device, 0, suite, Way::Decrypt)).collect();
        let mut queue = queues.remove(0);
        for (&suite, decrypt) in suites.iter().zip(&sessions) {
            let mut case = Case { suite, encrypt: true, blocks: 4, seed: 5, flush: false };
            let octets = case.after().0;
            case.encrypt = false;
            let op = device_op(&case.op(&keys), decrypt);
            // The header, the IV, the text, the first and the last octet of the tag.
            let end = octets.len();
            for at in [0, 9, end - case.tag_len() - 1, end - case.tag_len(), end - 1] {
                let mut octets = octets.clone();
                octets[at] ^= 0x40;
                let mut mbuf = sealed(&pool, &case, &octets);
                if at == 9 && case.tag_len() == 16 {
                    // The IV of AES-GCM is not covered itself: it is in the nonce.
                    mbuf.meta_mut::<[u8; 28]>()[21] ^= 0x40;
                }
                let mbuf = device_alone(&mut queue, mbuf, &op);
                let received = &mbuf.data()[end - case.tag_len()..];
                let verdict = &mbuf.meta::<[u8; 16]>()[..case.tag_len()];
                assert_ne!(verdict, received, "{name}, suite {suite}, octet {at}");
            }
        }
    }
    all_back(&pool);
}

#[test]
fn mixed_packets_come_back_in_order_as_the_twin_says() {
    let pool = pool("device_mixed");
    let expander = MultiBuffer::new().expect("a manager");
    let keys: Vec<_> = SUITES
        .iter()
        .map(|(e, i)| (CipherKey::new(&expander, e), AuthKey::new(&expander, i)))
        .collect();
    for (name, suites) in DEVICES {
        // Fewer places than packets, so that the ring wraps and fills.
        let config = CryptoConfig { descriptors: 64, ..CryptoConfig::default() };
        let (device, mut queues) = open(name, &config);
        let sessions: Vec<_> =
            suites.iter().map(|&suite| session(&device, 0, suite, Way::Encrypt)).collect();
        let mut queue = queues.remove(0);
        let case = |n: usize| {
            let suite = suites[(n * 7 + n / 5) % suites.len()];
            Case { suite, encrypt: true, blocks: 1 + n * 13 % 80, seed: n as u8, flush: false }
        };
        let mut back = 0;
        let mut settle = |done: Completed| {
            assert_eq!((done.user, done.ok), (back as u64, true), "{name}: not in order");
            assert!(done.mbuf.data() == case(back).after().0, "{name}, packet {back}");
            back += 1;
        };
        let mut most = 0;
        for n in 0..500 {
            let case = case(n);
            let number = suites.iter().position(|&suite| suite == case.suite).expect("offered");
            let op = device_op(&case.op(&keys), &sessions[number]);
            let oldest = queue.submit(case.mbuf(&pool), &op, n as u64).expect("room");
            oldest.into_iter().for_each(&mut settle);
            most = most.max(queue.len());
            // Sometimes ask in between.
            if n % 90 == 45 {
                std::iter::from_fn(|| queue.completed()).for_each(&mut settle);
            }
        }
        while let Some(done) = queue.flush() {
            settle(done);
        }
        assert_eq!((back, most, queue.len()), (500, 63, 0), "{name}");
        assert!(queue.completed().is_none() && queue.flush().is_none());
    }
    all_back(&pool);
}

#[test]
fn a_device_says_what_it_offers_and_refuses_the_rest() {
    for (name, suites) in DEVICES {
        let (device, _queues) = open(name, &CryptoConfig { sessions: 4, ..Default::default() });
        for (number, suite) in DEVICE_SUITES.into_iter().enumerate() {
            assert_eq!(device.supports(suite), suites.contains(&number), "{name}, {suite:?}");
        }
        let session = |queue, suite, ekey: &[u8], ikey: &[u8]| {
            device.session(queue, suite, Way::Encrypt, ekey, ikey).err()
        };
        let sha1 = CryptoSuite::Aes128Sha1;
        assert_eq!(session(0, sha1, &[1; 16], &[2; 20]), None);
        assert_eq!(session(0, sha1, &[1; 15], &[2; 20]), Some(CryptoError::KeyLength));
        assert_eq!(session(0, sha1, &[1; 16], &[2; 16]), Some(CryptoError::KeyLength));
        assert_eq!(session(1, sha1, &[1; 16], &[2; 20]), Some(CryptoError::NoSuchQueue));
        if name == "crypto_openssl" {
            let xcbc = CryptoSuite::Aes128Xcbc;
            assert_eq!(session(0, xcbc, &[1; 16], &[2; 16]), Some(CryptoError::Suite));
        }
        // As many as were asked for; a dropped one makes room.
        let made = || device.session(0, sha1, Way::Encrypt, &[1; 16], &[2; 20]);
        let mut held: Vec<_> = std::iter::from_fn(|| made().ok()).take(10).collect();
        assert!(held.len() >= 4 && held.len() < 10, "{} sessions", held.len());
        assert!(matches!(made(), Err(CryptoError::Session(_))));
        held.pop();
        assert!(made().is_ok());
    }
}

#[test]
fn an_operation_that_does_not_fit_is_refused() {
    let pool = pool("device_refused");
    let config = CryptoConfig { queues: 2, ..CryptoConfig::default() };
    let (device, mut queues) = open("crypto_aesni_mb", &config);
    let [encrypt, decrypt, elsewhere] = [(0, Way::Encrypt), (0, Way::Decrypt), (1, Way::Encrypt)]
        .map(|(queue, way)| session(&device, queue, 3, way));
    let gcm = session(&device, 0, 5, Way::Encrypt);
    let mut queue = queues.remove(0);
    // 16 octets of IV, 32 of text, 12 of tag.
    let good = DeviceOp {
        session: &encrypt,
        iv_offset: 0,
        cipher_offset: 16,
        cipher_len: 32,
        auth_offset: 0,
        auth_len: 48,
        tag: Tag::Packet(48),
    };
    let inbound = DeviceOp { session: &decrypt, tag: Tag::Meta(0), ..good };
    let aead = DeviceOp { session: &gcm, auth_len: 8, tag: Tag::Packet(44), ..good };
    let rows = [
        (DeviceOp { session: &elsewhere, ..good }, OpError::Queue),
        (DeviceOp { cipher_len: 31, ..good }, OpError::CipherLength),
        (DeviceOp { iv_offset: 45, ..good }, OpError::Range),
        (DeviceOp { tag: Tag::Packet(49), ..good }, OpError::Range),
        (DeviceOp { tag: Tag::Meta(0), ..good }, OpError::Suite),
        (DeviceOp { tag: Tag::Packet(48), ..inbound }, OpError::Suite),
        (DeviceOp { auth_len: 49, ..inbound }, OpError::Range),
        (DeviceOp { auth_len: 12, ..aead }, OpError::Range),
        (DeviceOp { iv_offset: 117, ..aead }, OpError::Range),
    ];
    for (row, (op, error)) in rows.into_iter().enumerate() {
        let mbuf = pool.alloc_with(&[0; 60]).expect("an mbuf");
        let refused = queue.submit(mbuf, &op, 0).expect_err("it does not fit");
        assert_eq!(refused.error, error, "row {row}");
    }
    for op in [good, inbound, aead] {
        let mbuf = pool.alloc_with(&[0; 60]).expect("an mbuf");
        drop(device_alone(&mut queue, mbuf, &op));
    }
    drop(queue);
    all_back(&pool);
}

#[test]
fn a_device_has_one_owner_and_can_be_made_again() {
    let pool = pool("device_again");
    let config = CryptoConfig { queues: 2, ..CryptoConfig::default() };
    let refused = |name: &str, config: &CryptoConfig| {
        CryptoDevice::attach(eal(), name, config).expect_err("no device")
    };
    assert!(matches!(refused("crypto_nowhere0", &config), CryptoError::Attach(_)));
    assert_eq!(refused("nul\0", &config), CryptoError::BadName);
    let open_again = || CryptoDevice::open(eal(), "crypto_openssl3", &config).err();
    assert_eq!(open_again(), Some(CryptoError::NoSuchDevice));
    let many = CryptoConfig { queues: 10_000, ..config };
    assert!(matches!(refused("crypto_openssl3", &many), CryptoError::Queues { .. }));
    let none = CryptoConfig { queues: 0, ..config };
    assert!(matches!(refused("crypto_openssl3", &none), CryptoError::Queues { .. }));
    for _ in 0..3 {
        let (device, mut queues) = open("crypto_openssl3", &config);
        assert_eq!(queues.len(), 2);
        assert_eq!(refused("crypto_openssl3", &config), CryptoError::AlreadyOpen);
        assert_eq!(open_again(), Some(CryptoError::AlreadyOpen));
        let session = session(&device, 1, 0, Way::Encrypt);
        drop(device);
        // The queue keeps the device; what is in it goes back with it.
        let op = DeviceOp {
            session: &session,
            iv_offset: 0,
            cipher_offset: 0,
            cipher_len: 0,
            auth_offset: 0,
            auth_len: 8,
            tag: Tag::Packet(8),
        };
        let mut queue = queues.pop().expect("the second");
        for _ in 0..40 {
            let mbuf = pool.alloc_with(&[0; 20]).expect("an mbuf");
            assert!(queue.submit(mbuf, &op, 0).expect("valid").is_none());
        }
        assert_eq!((queue.queue(), queue.len(), pool.in_use()), (1, 40, 40));
        drop(queue);
        all_back(&pool);
    }
    assert_eq!(open_again(), Some(CryptoError::NoSuchDevice));
}

#[test]
fn a_device_of_the_eal_is_opened_by_name_and_stays() {
    let pool = pool("device_open");
    for _ in 0..2 {
        let opened = CryptoDevice::open(eal(), CRYPTO_VDEV, &CryptoConfig::default());
        let (device, mut queues) = opened.expect("a device of the EAL");
        let again = CryptoDevice::open(eal(), CRYPTO_VDEV, &CryptoConfig::default());
        assert_eq!(again.err(), Some(CryptoError::AlreadyOpen));
        let session = session(&device, 0, 3, Way::Encrypt);
        let mut queue = queues.remove(0);
        let expander = MultiBuffer::new().expect("a manager");
        let keys = SUITES.map(|(e, i)| (CipherKey::new(&expander, e), AuthKey::new(&expander, i)));
        let case = Case { suite: 3, encrypt: true, blocks: 5, seed: 1, flush: false };
        let op = device_op(&case.op(&keys), &session);
        let mbuf = device_alone(&mut queue, case.mbuf(&pool), &op);
        assert!(mbuf.data() == case.after().0);
    }
    all_back(&pool);
}
