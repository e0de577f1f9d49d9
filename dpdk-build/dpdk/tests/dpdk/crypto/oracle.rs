//! The naive twin: RustCrypto, and AES-XCBC-MAC straight from RFC 3566 s.4.

use aes::Aes128;
use aes_gcm::{AeadInOut, Aes128Gcm};
use cipher::{BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit};
use des::TdesEde3;
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// AES-128-CBC or TripleDES-CBC by the key's length, or nothing for an empty key, in place.
pub(super) fn encrypt(key: &[u8], iv: &[u8], data: &mut [u8]) {
    match key.len() {
        0 => {}
        16 => {
            let mut mode = cbc::Encryptor::<Aes128>::new_from_slices(key, iv).expect("lengths");
            for block in data.chunks_exact_mut(16) {
                mode.encrypt_block(block.try_into().expect("a block"));
            }
        }
        _ => {
            let mut mode = cbc::Encryptor::<TdesEde3>::new_from_slices(key, iv).expect("lengths");
            for block in data.chunks_exact_mut(8) {
                mode.encrypt_block(block.try_into().expect("a block"));
            }
        }
    }
}

/// The other direction of [`encrypt`].
pub(super) fn decrypt(key: &[u8], iv: &[u8], data: &mut [u8]) {
    match key.len() {
        0 => {}
        16 => {
            let mut mode = cbc::Decryptor::<Aes128>::new_from_slices(key, iv).expect("lengths");
            for block in data.chunks_exact_mut(16) {
                mode.decrypt_block(block.try_into().expect("a block"));
            }
        }
        _ => {
            let mut mode = cbc::Decryptor::<TdesEde3>::new_from_slices(key, iv).expect("lengths");
            for block in data.chunks_exact_mut(8) {
                mode.decrypt_block(block.try_into().expect("a block"));
            }
        }
    }
}

/// HMAC-SHA1-96 for a key of 20 octets, AES-XCBC-MAC-96 for one of 16.
pub(super) fn tag(key: &[u8], data: &[u8]) -> [u8; 12] {
    let full: Vec<u8> = if key.len() == 20 {
        let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("any length");
        mac.update(data);
        mac.finalize().into_bytes().to_vec()
    } else {
        xcbc(key.try_into().expect("16 octets"), data).to_vec()
    };
    full[..12].try_into().expect("12 octets")
}

/// AES-128-GCM in place; `ekey` is key | salt, `iv` the explicit IV. The tag covers the
/// ciphertext.
pub(super) fn seal(ekey: &[u8], iv: &[u8], aad: &[u8], data: &mut [u8]) -> [u8; 16] {
    let (key, salt) = ekey.split_at(16);
    let nonce: [u8; 12] = [salt, iv].concat().try_into().expect("12 octets");
    let gcm = Aes128Gcm::new_from_slice(key).expect("16 octets");
    gcm.encrypt_inout_detached(&nonce.into(), aad, data.into()).expect("short").into()
}

/// The other direction: the text, and the tag that its ciphertext should have had.
pub(super) fn open(ekey: &[u8], iv: &[u8], aad: &[u8], data: &mut [u8]) -> [u8; 16] {
    // Counter mode is its own inverse; the tag is that of the result encrypted again.
    seal(ekey, iv, aad, data);
    seal(ekey, iv, aad, &mut data.to_vec())
}

fn aes(key: &[u8; 16], mut block: [u8; 16]) -> [u8; 16] {
    Aes128::new(key.into()).encrypt_block((&mut block).into());
    block
}

fn xor(a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

/// RFC 3566 s.4, step by step.
fn xcbc(key: &[u8; 16], message: &[u8]) -> [u8; 16] {
    let [k1, k2, k3] = [1, 2, 3].map(|n| aes(key, [n; 16]));
    let last = message.len().saturating_sub(1) / 16 * 16;
    let (whole, rest) = message.split_at(last);
    let mut e = [0; 16];
    for block in whole.chunks_exact(16) {
        e = aes(&k1, xor(e, block.try_into().expect("a block")));
    }
    let mut end = [0; 16];
    end[..rest.len()].copy_from_slice(rest);
    let key = if rest.len() == 16 {
        k2
    } else {
        end[rest.len()] = 0x80;
        k3
    };
    aes(&k1, xor(xor(e, end), key))
}
