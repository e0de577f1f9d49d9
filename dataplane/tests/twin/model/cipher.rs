//! The five suites on one packet, with RustCrypto (RFC 6618 s.5.6.5, R-20 to R-22).

use aes::Aes128;
use cbc::Decryptor;
use cipher::{BlockModeDecrypt, KeyIvInit};
use des::TdesEde3;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use hearth_wire::Suite;

use crate::codec::{Keys, xcbc};

/// IV, block and ICV in octets.
pub const fn lengths(suite: Suite) -> (usize, usize, usize) {
    match suite {
        Suite::NullSha | Suite::NullSha256 => (0, 4, 12),
        Suite::TripleDesEdeCbcSha => (8, 8, 12),
        Suite::Aes128CbcSha | Suite::Aes128CbcSha256 => (16, 16, 12),
        Suite::Aes128Gcm => (8, 4, 16),
    }
}

/// Whether the last octets are the ICV of those before.
pub fn authentic(suite: Suite, keys: &Keys, frame: &[u8]) -> bool {
    let (covered, icv) = frame.split_at(frame.len() - lengths(suite).2);
    match suite {
        Suite::NullSha | Suite::TripleDesEdeCbcSha | Suite::Aes128CbcSha => {
            let mut mac = Hmac::<Sha1>::new_from_slice(&keys.integrity).unwrap();
            mac.update(covered);
            mac.finalize().into_bytes()[..12] == *icv
        }
        Suite::NullSha256 | Suite::Aes128CbcSha256 => xcbc(&keys.integrity, covered)[..12] == *icv,
        Suite::Aes128Gcm => unreachable!("the twin has no GCM"),
    }
}

/// What was encrypted: from behind the IV to in front of the ICV.
pub fn decrypt(suite: Suite, keys: &Keys, frame: &[u8]) -> Vec<u8> {
    let (iv_len, _, icv_len) = lengths(suite);
    let (iv, body) = frame[8..frame.len() - icv_len].split_at(iv_len);
    let mut body = body.to_vec();
    match suite {
        Suite::NullSha | Suite::NullSha256 => {}
        Suite::TripleDesEdeCbcSha => {
            whole(Decryptor::<TdesEde3>::new_from_slices(&keys.encryption, iv).unwrap(), &mut body);
        }
        Suite::Aes128CbcSha | Suite::Aes128CbcSha256 => {
            whole(Decryptor::<Aes128>::new_from_slices(&keys.encryption, iv).unwrap(), &mut body);
        }
        Suite::Aes128Gcm => unreachable!("the twin has no GCM"),
    }
    body
}

fn whole<M: BlockModeDecrypt>(mut mode: M, body: &mut [u8]) {
    for block in body.chunks_exact_mut(M::block_size()) {
        mode.decrypt_block(block.try_into().unwrap());
    }
}
