//! Known answers of the RFCs, and `openssl` as a second opinion.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::gcm::tests::CASES;
use hearth_scapy::hex;

use crate::testing::unhex;

const SPI: u32 = 0x8765;

fn keys(suite: Suite) -> (Vec<u8>, Vec<u8>) {
    let ikey = (0..suite.ikey_len()).map(|i| u8::try_from(i * 7 + 1).unwrap()).collect();
    let ekey = (0..suite.ekey_len()).map(|i| u8::try_from((i * 11 + 3) % 251).unwrap()).collect();
    (ikey, ekey)
}

fn transform(suite: Suite) -> Transform {
    let (ikey, ekey) = keys(suite);
    Transform::new(suite, &ikey, &ekey).unwrap()
}

fn sealed(transform: &Transform, payload: &[u8], seq: u32, next_header: u8) -> Vec<u8> {
    let mut buf = vec![0; payload.len() + 128];
    let at = transform.payload_offset();
    buf[at..at + payload.len()].copy_from_slice(payload);
    let id = (PType::ProtectedData, Spi::new(SPI).unwrap(), SeqNo(seq));
    let len = transform.seal(&mut buf, payload.len(), id, next_header, &[0xa5; 16]).unwrap();
    buf.truncate(len);
    buf
}

/// RFC 3602 s.4 cases 1 to 4.
#[test]
fn aes_cbc_vectors_of_rfc3602() {
    let long = "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\
                c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf";
    let cases: [(&str, &str, Vec<u8>, &str); 4] = [
        (
            "06a9214036b8a15b512e03d534120006",
            "3dafba429d9eb430b422da802c9fac41",
            b"Single block msg".to_vec(),
            "e353779c1079aeb82708942dbe77181a",
        ),
        (
            "c286696d887c9aa0611bbb3e2025a45a",
            "562e17996d093d28ddb3ba695a2e6f58",
            unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
            "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
        ),
        (
            "6c3ea0477630ce21a2ce334aa746c2cd",
            "c782dc4c098c66cbd9cd27d825682c81",
            b"This is a 48-byte message (exactly 3 AES blocks)".to_vec(),
            "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5\
             021c19216bad525c8579695d83ba2684",
        ),
        (
            "56e47a38c5598974bc46903dba290349",
            "8ce82eefbea0da3c44699ed7db51b7d9",
            unhex(long),
            "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e\
             35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
        ),
    ];
    for (key, iv, plain, cipher) in cases {
        let mut text = plain.clone();
        cbc_encrypt(&Aes128Enc::new_from_slice(&unhex(key)).unwrap(), &unhex(iv), &mut text)
            .unwrap();
        assert_eq!(hex(&text), hex(&unhex(cipher)));
        cbc_decrypt(&Aes128Dec::new_from_slice(&unhex(key)).unwrap(), &unhex(iv), &mut text)
            .unwrap();
        assert_eq!(text, plain);
    }
}

/// RFC 3602 s.4 case 8: a whole ESP packet in tunnel mode. SPI, sequence number, IV, padding 1 to
/// 10, next header 4 and ciphertext are the frame's; the PType takes the SPI's upper four bits.
#[test]
fn esp_packet_of_rfc3602_is_a_frame_but_for_the_ptype() {
    let ekey = unhex("0123456789abcdef0123456789abcdef");
    let transform = Transform::new(Suite::Aes128CbcSha, &[7; 20], &ekey).unwrap();
    let inner = unhex(
        "45000044090c00004001f990c0a87b03c0a87bc80800d63caa0a0200c69c083d\
         a3de0300ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    );
    let expected = "0000876500000005\
                    85d47224b5f3dd5d2101d4ea8dffab22\
                    15b92683819596a8047232cc00f7048fe45318e11f8a0f62ede3c3fc61203bb5\
                    0f980a08c9843fd3a1b06d5c07ff9639b7eb7dfb3512e5de435e7207ed971ef3\
                    d2726d9b5ef6affc6d17a0decbb13892";
    let mut buf = [0; 256];
    buf[24..24 + inner.len()].copy_from_slice(&inner);
    let id = (PType::PlainData, Spi::new(SPI).unwrap(), SeqNo(5));
    let iv = unhex("85d47224b5f3dd5d2101d4ea8dffab22").try_into().unwrap();
    let len = transform.seal(&mut buf, inner.len(), id, 4, &iv).unwrap();
    assert_eq!(hex(&buf[..len - ICV_LEN]), hex(&unhex(expected)));
    let (payload, next_header) = transform.open(&mut buf[..len]).unwrap();
    assert_eq!((&buf[payload], next_header), (inner.as_slice(), 4));
}

/// RFC 2202 s.3 cases 1 to 7, truncated as RFC 2404 s.2 says (case 5 states the truncation).
#[test]
fn hmac_sha1_vectors_of_rfc2202() {
    let larger: &[u8] =
        b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data";
    let cases: [(Vec<u8>, Vec<u8>, &str); 7] = [
        (vec![0x0b; 20], b"Hi There".to_vec(), "b617318655057264e28bc0b6fb378c8ef146be00"),
        (
            b"Jefe".to_vec(),
            b"what do ya want for nothing?".to_vec(),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        ),
        (vec![0xaa; 20], vec![0xdd; 50], "125d7342b9ac11cd91a39af48aa17b4f63f175d3"),
        ((1..=25).collect(), vec![0xcd; 50], "4c9007f4026250c6bc8414f9bf50c86c2d7235da"),
        (
            vec![0x0c; 20],
            b"Test With Truncation".to_vec(),
            "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04",
        ),
        (
            vec![0xaa; 80],
            b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
            "aa4ae5e15272d00e95705637ce8a3b55ed402112",
        ),
        (vec![0xaa; 80], larger.to_vec(), "e8e99d0f45237d786d6bbaa7965c7808bbff1a91"),
    ];
    for (key, data, digest) in cases {
        let mac = <Hmac<Sha1> as KeyInit>::new_from_slice(&key).unwrap();
        let integrity = IntegrityKey::HmacSha1(Box::new(mac));
        assert_eq!(hex(&integrity.icv(&data)), digest[..24]);
    }
}

/// A NULL frame worked by hand: 5 octets and the trailer make 8, one octet of padding.
#[test]
fn null_frame_has_no_iv_and_pads_to_four() {
    let frame = sealed(&transform(Suite::NullSha), b"hello", 9, 41);
    assert_eq!(hex(&frame[..16]), "1000876500000009".to_owned() + "68656c6c6f010129");
    assert_eq!(frame.len(), 16 + ICV_LEN);
}

/// a packet of draft-mcgrew-gcm-test-01 s.4 with a 32-bit sequence number is a frame, whatever
/// its IV.
#[test]
fn gcm_packets_of_esp_are_frames() {
    let mut opened = Vec::new();
    for [ekey, iv, aad, plain, cipher, tag] in CASES {
        if aad.len() != 2 * FrameHeader::LEN {
            continue;
        }
        let transform = Transform::new(Suite::Aes128Gcm, &[], &unhex(ekey)).unwrap();
        let mut frame = unhex(&[aad, iv, cipher, tag].concat());
        let (payload, next_header) = transform.open(&mut frame).unwrap();
        assert_eq!(next_header, 1);
        assert!(unhex(plain).starts_with(&frame[payload.clone()]));
        opened.push(payload.len());
    }
    assert_eq!(opened, [62, 60, 0]);
}

/// epoch and sequence number, so that no two packets of an SA share an IV.
#[test]
fn gcm_iv_is_epoch_and_number() {
    let transform = transform(Suite::Aes128Gcm);
    for seq in [0, 1, 0x0102_0304, u32::MAX] {
        let frame = sealed(&transform, b"an inner packet", seq, 4);
        assert_eq!(frame[8..12], [0; 4], "the epoch");
        assert_eq!(frame[12..16], frame[4..8], "the number in the header");
        assert_eq!(frame.len(), 8 + 8 + 15 + 3 + 2 + 16);
    }
}

#[test]
fn every_suite_opens_what_it_sealed_and_refuses_every_flipped_octet() {
    for suite in Suite::known() {
        let transform = transform(suite);
        let frame = sealed(&transform, b"an inner packet", 1, 4);
        let mut copy = frame.clone();
        let (payload, next_header) = transform.open(&mut copy).unwrap();
        assert_eq!((&copy[payload], next_header), (b"an inner packet".as_slice(), 4));
        for at in 0..frame.len() {
            let mut bad = frame.clone();
            bad[at] ^= 0x40;
            assert_eq!(transform.open(&mut bad), Err(OpenError::Icv), "{suite} octet {at}");
        }
    }
}

#[test]
fn key_lengths_are_those_of_the_suite() {
    for suite in Suite::known() {
        let (ikey, ekey) = keys(suite);
        assert!(Transform::new(suite, &[&ikey[..], &[0]].concat(), &ekey).is_none());
        assert!(Transform::new(suite, &ikey, &[&ekey[..], &[0]].concat()).is_none());
    }
}

/// `openssl enc` and `openssl dgst`/`mac` compute the same ciphertext and ICV.
#[test]
fn openssl_agrees() {
    for (suite, cipher) in
        [(Suite::Aes128CbcSha, "-aes-128-cbc"), (Suite::TripleDesEdeCbcSha, "-des-ede3-cbc")]
    {
        let (ikey, ekey) = keys(suite);
        let frame = sealed(&transform(suite), &[0x42; 33], 77, 4);
        let layout = frame::protected_layout(suite, frame.len()).unwrap();
        let mut plain = [0x42; 33].to_vec();
        let padding = frame::padding_len(suite, 33);
        plain.extend((1..=padding).map(|i| u8::try_from(i).unwrap()));
        plain.extend([u8::try_from(padding).unwrap(), 4]);
        let iv = hex(&frame[8..8 + suite.iv_len()]);
        let args = ["enc", cipher, "-nopad", "-K", &hex(&ekey), "-iv", &iv];
        assert_eq!(
            hex(&openssl(&args, &plain)),
            hex(&frame[layout.cipher_offset..layout.icv_offset])
        );
        let key = format!("hexkey:{}", hex(&ikey));
        let args = ["dgst", "-sha1", "-mac", "HMAC", "-macopt", &key, "-binary"];
        assert_eq!(
            hex(&openssl(&args, &frame[..layout.icv_offset])[..ICV_LEN]),
            hex(&frame[layout.icv_offset..])
        );
    }
}

fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

proptest! {
    #[test]
    fn open_never_panics(mut frame in prop::collection::vec(any::<u8>(), 0..200)) {
        for suite in Suite::known() {
            let _ = transform(suite).open(&mut frame);
        }
    }

    #[test]
    fn round_trip(payload in prop::collection::vec(any::<u8>(), 0..300), which in 0usize..6) {
        let transform = transform(Suite::known().nth(which).unwrap());
        let mut frame = sealed(&transform, &payload, 3, 41);
        let (range, _) = transform.open(&mut frame).unwrap();
        prop_assert_eq!(&frame[range], payload.as_slice());
    }
}

/// The frames of a train are those that would be made one by one.
#[test]
fn a_train_is_sealed_as_its_packets_would_be_alone() {
    for suite in Suite::known() {
        let (ikey, ekey) =
            (vec![3; suite.ikey_len()], (1..).take(suite.ekey_len()).collect::<Vec<u8>>());
        let transform = Transform::new(suite, &ikey, &ekey).unwrap();
        for (count, len, last_len) in [(1, 50, 50), (1, 50, 9), (9, 700, 700), (20, 333, 1)] {
            let (stride, at) = (frame::protected_len(suite, len), transform.payload_offset());
            let all = (count - 1) * stride + frame::protected_len(suite, last_len);
            let mut train = vec![0; all];
            let len_of = |index| if index + 1 == count { last_len } else { len };
            for index in 0..count {
                let payload = index * stride + at..index * stride + at + len_of(index);
                train[payload].fill(u8::try_from(index + 1).unwrap());
            }
            let mut alone = train.clone();
            let iv = |number: u8| [number ^ 0x5a; 16];
            let mut drawn = 0;
            let draw = || {
                drawn += 1;
                iv(drawn)
            };
            let id = (Spi::new(7).unwrap(), SeqNo(1000));
            transform.seal_train(&mut train, stride, (len, last_len), id, 41, draw).unwrap();
            for (index, frame) in alone.chunks_mut(stride).enumerate() {
                let id = (PType::ProtectedData, id.0, SeqNo(1000 + u32::try_from(index).unwrap()));
                let iv = iv(u8::try_from(index + 1).unwrap());
                transform.seal(frame, len_of(index), id, 41, &iv).unwrap();
            }
            assert_eq!(train, alone, "{suite:?} {count}");
        }
        let id = (Spi::new(7).unwrap(), SeqNo(u32::MAX));
        let stride = frame::protected_len(suite, 50);
        let mut two = vec![0; 2 * stride];
        let sealed = transform.seal_train(&mut two, stride, (50, 50), id, 41, || [0; 16]);
        assert_eq!(sealed, None, "no number comes round");
    }
}
