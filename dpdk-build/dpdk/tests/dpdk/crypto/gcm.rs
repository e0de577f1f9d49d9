//! AES-128-GCM (R-16, RFC 4106).

use hearth_dpdk::{Arch, Auth, Cipher, MultiBuffer, Op, OpError, Tag};

use super::{alone, hex, oracle};
use crate::{all_back, pool};

/// Key, nonce, additional data, text, ciphertext, tag.
type Vector = [&'static str; 6];

/// Test cases 2 to 4 of the GCM specification that NIST adopted (McGrew and Viega, appendix B),
/// and the ESP packets under 128-bit keys of draft-mcgrew-gcm-test-01 s.4.
const VECTORS: [Vector; 8] = [
    [
        "00000000000000000000000000000000",
        "000000000000000000000000",
        "",
        "00000000000000000000000000000000",
        "0388dace60b6a392f328c2b971b2fe78",
        "ab6e47d42cec13bdf53a67b21257bddf",
    ],
    [
        "feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
         21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
        "4d5c2af327cd64a62cf35abd2ba6fab4",
    ],
    [
        "feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
         21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
        "5bc94fbc3221a5db94fae95ae7121a47",
    ],
    [
        "4c80cdefbb5d10da906ac73c3613a634",
        "2e443b684956ed7e3b244cfe",
        "000043218765432100000000",
        "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
         00000000045f736970045f756470037369700963796265726369747902646b00
         0021000101020201",
        "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34
         cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce
         61bc17d768fd9732",
        "459018148f6cbe722fd04796562dfdb4",
    ],
    [
        "feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "0000a5f80000000a",
        "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d00100
         0001000000000000037369700963796265726369747902646b00000100010001",
        "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c
         3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd1",
        "83b70d3aa8bc6ee4c309e9d85a41ad4a",
    ],
    [
        "00000000000000000000000000000000",
        "000000000000000000000000",
        "0000000000000001",
        "4500003c99c500008001cb7a40679318010101010800075c0200440061626364
         65666768696a6b6c6d6e6f707172737475767761626364656667686901020201",
        "4688daf2f973a392732909c331d56d60f694abaa414b5e7ff5fdcdfff5e9a284
         456476492719ffb64de7d9dca1e1d894bc3bd57873ed4d181d19d4d5c8c18af3",
        "f821d496eeb096e98ad2b69e4799c71d",
    ],
    [
        "7d773d00c144c525ac619d18c84a3f47",
        "d966426743457e9182443bc6",
        "335467aeffffffff",
        "01020201",
        "437f866b",
        "cb3f699fe9b0822bac961c4504bef270",
    ],
    [
        "abbccddef00112233445566778899aab",
        "decaf888cafedebaceface74",
        "000001000000000000000001",
        "746f016265016f72016e6f7401746f0162650001",
        "29c9fc69a197d038ccdd14e2ddfcaa0543332164",
        "412503524303ed3c6c5f283843af8c3e",
    ],
];

/// Every instruction set of this processor: each has a layout of the key of its own.
fn archs() -> Vec<Arch> {
    let all = [Arch::Sse, Arch::Avx, Arch::Avx2, Arch::Avx512];
    all.into_iter().filter(|&arch| MultiBuffer::with_arch(arch).is_ok()).collect()
}

#[test]
fn gcm_gives_the_vectors_of_nist_and_of_esp() {
    let pool = pool("crypto_gcm");
    for (arch, vector) in archs().into_iter().flat_map(|arch| VECTORS.map(|v| (arch, v))) {
        let [key, nonce, aad, text, sealed, tag] = vector.map(hex);
        let expander = MultiBuffer::with_arch(arch).expect("checked before");
        let key = expander.aes128_gcm_key(key[..].try_into().expect("16 octets"));
        let mut mb = MultiBuffer::with_arch(arch).expect("checked before");
        let [aad_len, len] = [aad.len(), text.len()].map(|n| u32::try_from(n).expect("small"));
        let mut op = Op {
            cipher: Cipher::Aes128GcmEncrypt(&key),
            auth: Auth::Gcm,
            iv_offset: 16,
            cipher_offset: aad_len,
            cipher_len: len,
            auth_offset: 0,
            auth_len: aad_len,
            tag: Tag::Packet(aad_len + len),
        };
        let mut mbuf = pool.alloc_with(&[&aad[..], &text, &[0; 16]].concat()).expect("an mbuf");
        mbuf.meta_mut::<[u8; 28]>()[16..].copy_from_slice(&nonce);
        let mbuf = alone(&mut mb, mbuf, &op);
        assert_eq!(mbuf.data(), [&aad[..], &sealed, &tag].concat(), "{arch:?}");

        (op.cipher, op.tag) = (Cipher::Aes128GcmDecrypt(&key), Tag::Meta(0));
        let mbuf = alone(&mut mb, mbuf, &op);
        assert_eq!(mbuf.data(), [&aad[..], &text, &tag].concat(), "{arch:?}");
        assert_eq!(mbuf.meta::<[u8; 28]>(), &[&tag[..], &nonce].concat()[..], "{arch:?}");
    }
    all_back(&pool);
}

/// The twin knows the vectors itself, or its agreement says nothing.
#[test]
fn the_twin_gives_the_vectors() {
    for vector in VECTORS {
        let [key, nonce, aad, text, sealed, tag] = vector.map(hex);
        let ekey = [&key[..], &nonce[..4]].concat();
        let mut data = text.clone();
        assert_eq!(oracle::seal(&ekey, &nonce[4..], &aad, &mut data)[..], tag);
        assert_eq!(data, sealed);
        assert_eq!(oracle::open(&ekey, &nonce[4..], &aad, &mut data)[..], tag);
        assert_eq!(data, text);
    }
}

#[test]
fn gcm_does_not_mix_with_other_algorithms_nor_reach_beyond_the_private_area() {
    let pool = pool("crypto_gcm_refused");
    let keys = MultiBuffer::new().expect("a manager");
    let gcm = keys.aes128_gcm_key(&[1; 16]);
    let sha1 = keys.hmac_sha1_key(&[2; 20]);
    let mut mb = MultiBuffer::new().expect("a manager");
    // Header of 8 octets, explicit IV of 8, text of 30, tag of 16.
    let good = Op {
        cipher: Cipher::Aes128GcmEncrypt(&gcm),
        auth: Auth::Gcm,
        iv_offset: 16,
        cipher_offset: 16,
        cipher_len: 30,
        auth_offset: 0,
        auth_len: 8,
        tag: Tag::Packet(46),
    };
    let rows = [
        (Op { auth: Auth::HmacSha1(&sha1), ..good }, OpError::Suite),
        (Op { cipher: Cipher::Null, cipher_len: 0, ..good }, OpError::Suite),
        (Op { cipher_len: 0, ..good }, OpError::CipherLength),
        (Op { cipher_len: 47, ..good }, OpError::Range),
        (Op { iv_offset: 117, ..good }, OpError::Range),
        (Op { auth_offset: 55, ..good }, OpError::Range),
        (Op { tag: Tag::Packet(47), ..good }, OpError::Range),
        (Op { tag: Tag::Meta(113), ..good }, OpError::Range),
    ];
    for (number, (op, error)) in rows.into_iter().enumerate() {
        let mbuf = pool.alloc_with(&[0; 62]).expect("an mbuf");
        let refused = mb.submit(mbuf, &op, 0).expect_err("it does not fit");
        assert_eq!(refused.error, error, "row {number}");
    }
    let mbuf = pool.alloc_with(&[0; 62]).expect("an mbuf");
    let edge = Op { iv_offset: 116, ..good };
    drop(alone(&mut mb, mbuf, &edge));
    all_back(&pool);
}
