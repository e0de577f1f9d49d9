//! Known answers: "Test Cases for the use of GCM and GMAC in IPsec ESP", draft-mcgrew-gcm-test-01
//! s.4, every case with a 128-bit key. Those with 12 octets of AAD have an extended sequence number.

use super::*;
use hearth_scapy::hex;

use crate::testing::unhex;

/// `ekey`, IV, AAD, plaintext with its trailer, ciphertext, tag.
pub(crate) const CASES: [[&str; 6]; 8] = [
    [
        "4c80cdefbb5d10da906ac73c3613a634 2e443b68",
        "4956ed7e3b244cfe",
        "000043218765432100000000",
        "45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000\
         045f736970045f756470037369700963796265726369747902646b000021000101020201",
        "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f\
         14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732",
        "459018148f6cbe722fd04796562dfdb4",
    ],
    [
        "feffe9928665731c6d6a8f9467308308 cafebabe",
        "facedbaddecaf888",
        "0000a5f80000000a",
        "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d0010000010000\
         00000000037369700963796265726369747902646b00000100010001",
        "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827\
         c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd1",
        "83b70d3aa8bc6ee4c309e9d85a41ad4a",
    ],
    [
        "00000000000000000000000000000000 00000000",
        "0000000000000000",
        "0000000000000001",
        "4500003c99c500008001cb7a40679318010101010800075c020044006162636465666768\
         696a6b6c6d6e6f707172737475767761626364656667686901020201",
        "4688daf2f973a392732909c331d56d60f694abaa414b5e7ff5fdcdfff5e9a28445647649\
         2719ffb64de7d9dca1e1d894bc3bd57873ed4d181d19d4d5c8c18af3",
        "f821d496eeb096e98ad2b69e4799c71d",
    ],
    [
        "3de09874b388e6491988d0c3607eae1f 57690e43",
        "4e280000a2fca1a3",
        "42f67e3f1010101010101010",
        "4500003c99c300008001cb7c40679318010101010800085c020043006162636465666768\
         696a6b6c6d6e6f707172737475767761626364656667686901020201",
        "fba2caa4853cf9f0f22cb10d86dd83b0fec75691cf1a04b00d1138ec9c35791765acbd87\
         01ad79845bf9fe3fba487bc91755e6662b4c8d0d1f5e22739530320a",
        "e0d731cc978ecafaeae88f00e80d6e48",
    ],
    [
        "3de09874b388e6491988d0c3607eae1f 57690e43",
        "4e280000a2fca1a3",
        "42f67e3f1010101010101010",
        "4500001c42a200008001441f406793b6e00000020a00f5ff01020201",
        "fba2ca845e5df9f0f22c3e6e86dd831e1fc65792cd1af9130e1379ed",
        "369f071f35e034be95f112e4e7d05d35",
    ],
    [
        "abbccddef00112233445566778899aab decaf888",
        "cafedebaceface74",
        "000001000000000000000001",
        "4500004933ba00007f119106c3fb1d10c2b1d326c02831ce0035dd7b800302d500004e20\
         001e8c18d75b81dc91baa0476b91b924b280389d92c963bac046ec959b6266c04722b149\
         23010101",
        "18a6fd42f72cbf4ab2a2ea901f73d814e3e7f243d95412e1c349c1d2fbec168f9190feeb\
         af2cb01984e65863965d7472b79da345e0e780191f0d2f0e0f496c226f2127b27db35724\
         e7845d68",
        "651f57e65f354f75ff17015769623436",
    ],
    [
        "abbccddef00112233445566778899aab decaf888",
        "cafedebaceface74",
        "000001000000000000000001",
        "746f016265016f72016e6f7401746f0162650001",
        "29c9fc69a197d038ccdd14e2ddfcaa0543332164",
        "412503524303ed3c6c5f283843af8c3e",
    ],
    [
        "7d773d00c144c525ac619d18c84a3f47 d9664267",
        "43457e9182443bc6",
        "335467aeffffffff",
        "01020201",
        "437f866b",
        "cb3f699fe9b0822bac961c4504bef270",
    ],
];

#[test]
fn esp_cases_of_the_draft() {
    for [ekey, iv, aad, plain, cipher, tag] in CASES {
        let key = GcmKey::new(&unhex(ekey)).unwrap();
        let iv: [u8; GcmIv::LEN] = unhex(iv).try_into().unwrap();
        let mut text = unhex(plain);
        let icv = key.seal(&iv, &unhex(aad), &mut text).unwrap();
        assert_eq!((hex(&text), hex(&icv)), (hex(&unhex(cipher)), tag.to_owned()));
        assert!(key.open(&iv, &unhex(aad), &mut text, &icv));
        assert_eq!(text, unhex(plain));
    }
}

#[test]
fn a_wrong_tag_leaves_the_text_encrypted() {
    let key = GcmKey::new(&[7; 20]).unwrap();
    let (iv, aad) = ([1; GcmIv::LEN], [2; 8]);
    let mut text = *b"sixteen octets..";
    let mut icv = key.seal(&iv, &aad, &mut text).unwrap();
    let sealed = text;
    icv[15] ^= 1;
    assert!(!key.open(&iv, &aad, &mut text, &icv));
    assert_eq!(text, sealed);
}

#[test]
fn an_ekey_is_16_octets_of_key_and_4_of_salt() {
    for len in 0..40 {
        assert_eq!(GcmKey::new(&vec![0; len]).is_some(), len == 20, "{len} octets");
    }
}
