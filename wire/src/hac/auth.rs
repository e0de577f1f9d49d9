//! The message authenticator `auth`.
//!
//! Read first: RFC 6618 s.5.5.5, 5.8, 5.9; RFC 2104; reading R-6.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Octets of `auth`: HMAC-SHA256 in full.
pub const AUTH_LEN: usize = 32;

/// Octets of a block of SHA-256, to which HMAC brings its key.
const BLOCK_LEN: usize = 64;

/// Who signed a message; its label is part of what is signed, so a message can't be reflected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The mobile node: requests.
    Mn,
    /// The home agent controller: responses.
    Hac,
}

impl Side {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Mn => b"MN",
            Self::Hac => b"HAC",
        }
    }
}

/// `HMAC-SHA256(key, label | msg-octets | CB-octets)` (RFC 6618 s.5.8).
#[must_use]
pub fn authenticator(side: Side, key: &[u8], msg: &[u8], cb: &[u8]) -> [u8; AUTH_LEN] {
    hmac_sha256(key, &[side.label(), msg, cb])
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; AUTH_LEN] {
    // RFC 2104 s.2: a key longer than a block is hashed, and any key is filled up with zeros.
    let mut block = Zeroizing::new([0; BLOCK_LEN]);
    let hashed: Zeroizing<[u8; AUTH_LEN]>;
    let key = if key.len() > BLOCK_LEN {
        hashed = Zeroizing::new(Sha256::digest(key).into());
        &hashed[..]
    } else {
        key
    };
    for (octet, value) in block.iter_mut().zip(key) {
        *octet = *value;
    }
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 s.4.2 to 4.8: key, data, HMAC-SHA-256; case 5 is truncated to 128 bits.
    #[test]
    fn vectors_of_rfc4231() {
        let counted: Vec<u8> = (0x01..=0x19).collect();
        let cases: [(&[u8], &[u8], &str); 7] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                &counted,
                &[0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            ),
            (&[0x0c; 20], b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &[0xaa; 131],
                b"This is a test using a larger than block-size key and a larger than block-size \
                  data. The key needs to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (key, data, expected) in cases {
            let (start, end) = data.split_at(data.len() / 3);
            let mac = hmac_sha256(key, &[start, end]);
            let mac: String = mac.iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(mac[..expected.len()], *expected);
        }
    }

    #[test]
    fn keys_around_the_block_length() {
        // A key of 64 octets is used as it is, one of 65 is hashed first.
        for len in [63, 64, 65] {
            let key = vec![0x5a; len];
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(b"data");
            let expected: [u8; 32] = mac.finalize().into_bytes().into();
            assert_eq!(hmac_sha256(&key, &[b"data"]), expected, "{len} octets");
        }
    }

    #[test]
    fn side_message_and_channel_binding_are_signed() {
        let key = [7; 32];
        let signed = authenticator(Side::Mn, &key, b"mn-rand:00\r\n", b"CB");
        assert_eq!(signed, hmac_sha256(&key, &[b"MNmn-rand:00\r\nCB"]));
        let reflected = authenticator(Side::Hac, &key, b"mn-rand:00\r\n", b"CB");
        assert_eq!(reflected, hmac_sha256(&key, &[b"HACmn-rand:00\r\nCB"]));
    }
}
