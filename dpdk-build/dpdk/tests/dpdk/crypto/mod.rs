//! ipsec-mb against the vectors of the RFCs, against openssl, and against the portable twin.

mod device;
mod gcm;
mod mixed;
mod oracle;

use std::io::Write;
use std::process::{Command, Stdio};

use hearth_dpdk::{
    Aes128DecryptKey, Aes128EncryptKey, Aes128GcmKey, Auth, Cipher, Completed, HmacSha1Key, Mbuf,
    Mempool, MultiBuffer, Op, OpError, Tag, TripleDesKey, XcbcKey,
};

use crate::{all_back, pool};

/// Octets from hex, blanks ignored.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| {
        u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex digits")
    };
    digits.chunks_exact(2).map(octet).collect()
}

/// A cipher key, in both directions.
enum CipherKey {
    Null,
    Aes(Box<(Aes128EncryptKey, Aes128DecryptKey)>),
    TripleDes(Box<TripleDesKey>),
    Gcm(Box<Aes128GcmKey>),
}

impl CipherKey {
    /// By length: 0, 16 or 24 octets; 20 are an AES-GCM key and its salt, which is left alone.
    fn new(mb: &MultiBuffer<'_>, key: &[u8]) -> Self {
        match key.len() {
            0 => Self::Null,
            16 => {
                let key = key.try_into().expect("16 octets");
                Self::Aes(Box::new((mb.aes128_encrypt_key(key), mb.aes128_decrypt_key(key))))
            }
            20 => Self::Gcm(Box::new(mb.aes128_gcm_key(key[..16].try_into().expect("16 octets")))),
            _ => Self::TripleDes(Box::new(mb.triple_des_key(key.try_into().expect("24 octets")))),
        }
    }

    fn encrypt(&self) -> Cipher<'_> {
        match self {
            Self::Null => Cipher::Null,
            Self::Aes(keys) => Cipher::Aes128Encrypt(&keys.0),
            Self::TripleDes(key) => Cipher::TripleDesEncrypt(key),
            Self::Gcm(key) => Cipher::Aes128GcmEncrypt(key),
        }
    }

    fn decrypt(&self) -> Cipher<'_> {
        match self {
            Self::Null => Cipher::Null,
            Self::Aes(keys) => Cipher::Aes128Decrypt(&keys.1),
            Self::TripleDes(key) => Cipher::TripleDesDecrypt(key),
            Self::Gcm(key) => Cipher::Aes128GcmDecrypt(key),
        }
    }
}

/// An integrity key.
enum AuthKey {
    Sha1(HmacSha1Key),
    Xcbc(Box<XcbcKey>),
    Gcm,
}

impl AuthKey {
    /// By length: 20 or 16 octets, or none for AES-GCM.
    fn new(mb: &MultiBuffer<'_>, key: &[u8]) -> Self {
        match key.len() {
            0 => Self::Gcm,
            20 => Self::Sha1(mb.hmac_sha1_key(key.try_into().expect("20 octets"))),
            _ => Self::Xcbc(Box::new(mb.xcbc_key(key.try_into().expect("16 octets")))),
        }
    }

    fn auth(&self) -> Auth<'_> {
        match self {
            Self::Sha1(key) => Auth::HmacSha1(key),
            Self::Xcbc(key) => Auth::Xcbc(key),
            Self::Gcm => Auth::Gcm,
        }
    }
}

/// Submits one packet and flushes it out at once.
fn alone<'k>(mb: &mut MultiBuffer<'k>, mbuf: Mbuf, op: &Op<'k>) -> Mbuf {
    let done = mb.submit(mbuf, op, 42).expect("a valid operation");
    let Completed { mbuf, user, ok } = done.or_else(|| mb.flush()).expect("flush finishes it");
    assert_eq!((user, ok, mb.len()), (42, true, 0));
    mbuf
}

/// IV | text, encrypted in place with the tag over both behind it, then decrypted again; the
/// ciphertext and the tag.
fn there_and_back(
    pool: &Mempool,
    ekey: &[u8],
    ikey: &[u8],
    iv: &[u8],
    text: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    let keys = MultiBuffer::new().expect("a manager");
    let (ekey, ikey) = (CipherKey::new(&keys, ekey), AuthKey::new(&keys, ikey));
    let mut mb = MultiBuffer::new().expect("a manager");
    let [iv_len, len] = [iv.len(), text.len()].map(|n| u32::try_from(n).expect("small"));
    let cipher_len = if iv.is_empty() { 0 } else { len };
    let mut op = Op {
        cipher: ekey.encrypt(),
        auth: ikey.auth(),
        iv_offset: 0,
        cipher_offset: iv_len,
        cipher_len,
        auth_offset: 0,
        auth_len: iv_len + len,
        tag: Tag::Packet(iv_len + len),
    };
    let mbuf = pool.alloc_with(&[iv, text, &[0; 12]].concat()).expect("an mbuf");
    let mbuf = alone(&mut mb, mbuf, &op);
    let (sealed, tag) = mbuf.data().split_at(iv.len() + text.len());
    assert_eq!(&sealed[..iv.len()], iv, "the IV is left as it was");
    let result = (sealed[iv.len()..].to_vec(), tag.to_vec());

    (op.cipher, op.tag) = (ekey.decrypt(), Tag::Meta(16));
    let mbuf = alone(&mut mb, mbuf, &op);
    assert_eq!(&mbuf.data()[iv.len()..iv.len() + text.len()], text);
    assert_eq!(&mbuf.meta::<[u8; 28]>()[16..], &result.1, "the tag in the private area");
    drop(mbuf);
    all_back(pool);
    result
}

#[test]
fn aes_cbc_gives_the_vectors_of_rfc3602() {
    let pool = pool("crypto_aes_cbc");
    let rows = [
        (
            "06a9214036b8a15b512e03d534120006",
            "3dafba429d9eb430b422da802c9fac41",
            b"Single block msg".to_vec(),
            "e353779c1079aeb82708942dbe77181a",
        ),
        (
            "c286696d887c9aa0611bbb3e2025a45a",
            "562e17996d093d28ddb3ba695a2e6f58",
            hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
            "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
        ),
        (
            "6c3ea0477630ce21a2ce334aa746c2cd",
            "c782dc4c098c66cbd9cd27d825682c81",
            b"This is a 48-byte message (exactly 3 AES blocks)".to_vec(),
            "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5
             021c19216bad525c8579695d83ba2684",
        ),
        (
            "56e47a38c5598974bc46903dba290349",
            "8ce82eefbea0da3c44699ed7db51b7d9",
            hex("a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf
                 c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf"),
            "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e
             35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
        ),
    ];
    for (key, iv, text, expected) in rows {
        let (sealed, _) = there_and_back(&pool, &hex(key), &[7; 20], &hex(iv), &text);
        assert_eq!(sealed, hex(expected));
    }
}

#[test]
fn hmac_sha1_gives_the_vectors_of_rfc2202_truncated() {
    let pool = pool("crypto_hmac");
    // The cases with a key of 20 octets, the only length here.
    let rows: [([u8; 20], Vec<u8>, &str); 3] = [
        ([0x0b; 20], b"Hi There".to_vec(), "b617318655057264e28bc0b6"),
        ([0xaa; 20], vec![0xdd; 50], "125d7342b9ac11cd91a39af4"),
        ([0x0c; 20], b"Test With Truncation".to_vec(), "4c1a03424b55e07fe7f27be1"),
    ];
    for (key, text, expected) in rows {
        let (sealed, tag) = there_and_back(&pool, &[], &key, &[], &text);
        assert_eq!((sealed, tag), (text, hex(expected)));
    }
}

#[test]
fn aes_xcbc_gives_the_vectors_of_rfc3566() {
    let pool = pool("crypto_xcbc");
    let key = hex("000102030405060708090a0b0c0d0e0f");
    let counting: Vec<u8> = (0..34).collect();
    // Case 1, the empty message, cannot be: an authenticated packet has a header.
    let rows = [
        (&counting[..3], "5b376580ae2f19afe7219cee"),
        (&counting[..16], "d2a246fa349b68a79998a439"),
        (&counting[..20], "47f51b4564966215b8985c63"),
        (&counting[..32], "f54f0ec8d2b9f3d36807734b"),
        (&counting[..34], "becbb3bccdb518a30677d548"),
        (&[0; 1000][..], "f0dafee895db30253761103b"),
    ];
    for (text, expected) in rows {
        let (_, tag) = there_and_back(&pool, &[], &key, &[], text);
        assert_eq!(tag, hex(expected), "{} octets", text.len());
        assert_eq!(oracle::tag(&key, text)[..], hex(expected), "the twin");
    }
}

/// `openssl enc -des-ede3-cbc`.
fn openssl_triple_des(key: &[u8], iv: &[u8], text: &[u8]) -> Vec<u8> {
    let digits = |octets: &[u8]| octets.iter().map(|o| format!("{o:02x}")).collect::<String>();
    let mut child = Command::new("openssl")
        .args(["enc", "-des-ede3-cbc", "-nopad", "-K", &digits(key), "-iv", &digits(iv)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl");
    child.stdin.take().expect("a pipe").write_all(text).expect("openssl reads");
    let output = child.wait_with_output().expect("openssl ends");
    assert!(output.status.success());
    output.stdout
}

#[test]
fn triple_des_agrees_with_openssl() {
    let pool = pool("crypto_3des");
    let key = hex("0123456789abcdef 23456789abcdef01 456789abcdef0123");
    let iv = hex("f69f2445df4f9b17");
    for len in [8, 16, 64, 1400] {
        let text: Vec<u8> = (0..=255).cycle().take(len).collect();
        let (sealed, _) = there_and_back(&pool, &key, &[9; 20], &iv, &text);
        let expected = openssl_triple_des(&key, &iv, &text);
        assert_eq!(expected.len(), len);
        assert_eq!(sealed, expected, "{len} octets");
    }
}

#[test]
fn an_operation_that_does_not_fit_the_packet_is_refused_with_the_packet() {
    let pool = pool("crypto_range");
    let keys = MultiBuffer::new().expect("a manager");
    let aes = keys.aes128_encrypt_key(&[1; 16]);
    let sha1 = keys.hmac_sha1_key(&[2; 20]);
    let mut mb = MultiBuffer::new().expect("a manager");
    // 16 octets of IV, 32 of text, 12 of tag.
    let good = Op {
        cipher: Cipher::Aes128Encrypt(&aes),
        auth: Auth::HmacSha1(&sha1),
        iv_offset: 0,
        cipher_offset: 16,
        cipher_len: 32,
        auth_offset: 0,
        auth_len: 48,
        tag: Tag::Packet(48),
    };
    let rows = [
        (Op { iv_offset: 45, ..good }, OpError::Range),
        (Op { iv_offset: u32::MAX, ..good }, OpError::Range),
        (Op { cipher_offset: 29, ..good }, OpError::Range),
        (Op { cipher_len: 31, ..good }, OpError::CipherLength),
        (Op { cipher_len: 0, ..good }, OpError::CipherLength),
        (Op { cipher_len: 64, ..good }, OpError::Range),
        (Op { cipher: Cipher::Null, ..good }, OpError::CipherLength),
        (Op { auth_len: 61, ..good }, OpError::Range),
        (Op { auth_len: 0, ..good }, OpError::Range),
        (Op { auth_offset: u32::MAX, auth_len: u32::MAX, ..good }, OpError::Range),
        (Op { tag: Tag::Packet(49), ..good }, OpError::Range),
        (Op { tag: Tag::Meta(117), ..good }, OpError::Range),
    ];
    for (number, (op, error)) in rows.into_iter().enumerate() {
        let mbuf = pool.alloc_with(&[0; 60]).expect("an mbuf");
        let refused = mb.submit(mbuf, &op, 0).expect_err("it does not fit");
        assert_eq!(refused.error, error, "row {number}");
        assert_eq!(refused.mbuf.data(), [0; 60], "row {number}");
    }
    assert!(mb.is_empty());
    let mbuf = pool.alloc_with(&[0; 60]).expect("an mbuf");
    drop(alone(&mut mb, mbuf, &good));
    all_back(&pool);
}

#[test]
fn packets_in_the_lanes_go_back_with_the_manager() {
    let pool = pool("crypto_drop");
    let keys = MultiBuffer::new().expect("a manager");
    let sha1 = keys.hmac_sha1_key(&[2; 20]);
    let mut mb = MultiBuffer::new().expect("a manager");
    let op = Op {
        cipher: Cipher::Null,
        auth: Auth::HmacSha1(&sha1),
        iv_offset: 0,
        cipher_offset: 0,
        cipher_len: 0,
        auth_offset: 0,
        auth_len: 8,
        tag: Tag::Packet(8),
    };
    for _ in 0..3 {
        let mbuf = pool.alloc_with(&[0; 20]).expect("an mbuf");
        assert!(mb.submit(mbuf, &op, 0).expect("valid").is_none(), "the lanes are not full");
    }
    assert_eq!((mb.len(), pool.in_use()), (3, 3));
    assert!(mb.completed().is_none(), "nothing is done before a flush");
    drop(mb);
    all_back(&pool);
}
