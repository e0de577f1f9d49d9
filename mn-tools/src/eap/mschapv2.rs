//! MS-CHAP-V2: what proves a password, and what proves that the server knows it.
//!
//! Read first: RFC 2759 s.8. MD4 and DES are broken; here they are inside TLS.

use cipher::{Array, BlockCipherEncrypt, KeyInit};
use des::Des;
use md4::Md4;
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const MAGIC_1: &[u8] = b"Magic server to client signing constant";
const MAGIC_2: &[u8] = b"Pad to make it do more than one iteration";

/// Both challenges of one exchange, and whose they are.
pub(super) struct Exchange<'a> {
    pub(super) authenticator_challenge: [u8; 16],
    pub(super) peer_challenge: [u8; 16],
    pub(super) user: &'a str,
}

/// MD4 of the password in UTF-16 (RFC 2759 s.8.3); `None` where it is no UTF-8.
pub(super) fn password_hash(password: &[u8]) -> Option<Zeroizing<[u8; 16]>> {
    let text = std::str::from_utf8(password).ok()?;
    let mut octets = Zeroizing::new(Vec::with_capacity(2 * text.len()));
    octets.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    Some(Zeroizing::new(Md4::digest(octets.as_slice()).into()))
}

impl Exchange<'_> {
    /// ChallengeHash (s.8.2), over the user's name without a Windows domain.
    fn challenge_hash(&self) -> [u8; 8] {
        let user = self.user.rsplit_once('\\').map_or(self.user, |(_, user)| user);
        let digest: [u8; 20] = Sha1::new()
            .chain_update(self.peer_challenge)
            .chain_update(self.authenticator_challenge)
            .chain_update(user)
            .finalize()
            .into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        [a, b, c, d, e, f, g, h]
    }

    /// GenerateNTResponse (s.8.1, 8.5): the challenge under three keys out of the password's hash.
    pub(super) fn nt_response(&self, password_hash: &[u8; 16]) -> [u8; 24] {
        let challenge = self.challenge_hash();
        let mut padded = Zeroizing::new([0; 21]);
        for (to, from) in padded.iter_mut().zip(password_hash) {
            *to = *from;
        }
        let mut response = [0; 24];
        let (keys, _) = padded.as_chunks::<7>();
        let (blocks, _) = response.as_chunks_mut::<8>();
        for (key, out) in keys.iter().zip(blocks) {
            let mut block = Array(challenge);
            Des::new(&Array(*with_parity(key))).encrypt_block(&mut block);
            *out = block.0;
        }
        response
    }

    /// Whether `message`, `S=` and 40 digits, is of one who knows the password
    /// (GenerateAuthenticatorResponse, CheckAuthenticatorResponse; s.8.7, 8.8).
    pub(super) fn is_authentic(
        &self,
        password_hash: &[u8; 16],
        nt_response: &[u8; 24],
        message: &[u8],
    ) -> bool {
        let hash_hash: Zeroizing<[u8; 16]> = Zeroizing::new(Md4::digest(password_hash).into());
        let digest = Sha1::new()
            .chain_update(hash_hash.as_slice())
            .chain_update(nt_response)
            .chain_update(MAGIC_1)
            .finalize();
        let digest = Sha1::new()
            .chain_update(digest)
            .chain_update(self.challenge_hash())
            .chain_update(MAGIC_2)
            .finalize();
        let mut expected = b"S=".to_vec();
        for octet in digest {
            expected.extend(format!("{octet:02X}").into_bytes());
        }
        // More may follow, behind a space.
        let said = message.get(..expected.len()).unwrap_or_default();
        expected.ct_eq(&said.to_ascii_uppercase()).into()
    }
}

/// Seven octets with a parity bit behind each seven of their bits, which DES ignores (s.8.6).
fn with_parity(key: &[u8; 7]) -> Zeroizing<[u8; 8]> {
    let [a, b, c, d, e, f, g] = *key;
    let bits = u64::from_be_bytes([0, a, b, c, d, e, f, g]);
    let mut spread = Zeroizing::new([0; 8]);
    for (octet, shift) in spread.iter_mut().zip((0..8).rev()) {
        let [.., seven] = (bits >> (7 * shift)).to_be_bytes();
        *octet = seven << 1;
    }
    spread
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2759 s.9.2.
    #[test]
    fn the_rfcs_exchange() {
        let exchange = Exchange {
            authenticator_challenge: [
                0x5b, 0x5d, 0x7c, 0x7d, 0x7b, 0x3f, 0x2f, 0x3e, 0x3c, 0x2c, 0x60, 0x21, 0x32, 0x26,
                0x26, 0x28,
            ],
            peer_challenge: [
                0x21, 0x40, 0x23, 0x24, 0x25, 0x5e, 0x26, 0x2a, 0x28, 0x29, 0x5f, 0x2b, 0x3a, 0x33,
                0x7c, 0x7e,
            ],
            user: "User",
        };
        let challenge = [0xd0, 0x2e, 0x43, 0x86, 0xbc, 0xe9, 0x12, 0x26];
        assert_eq!(exchange.challenge_hash(), challenge);
        let hash = password_hash(b"clientPass").unwrap();
        assert_eq!(
            *hash,
            [
                0x44, 0xeb, 0xba, 0x8d, 0x53, 0x12, 0xb8, 0xd6, 0x11, 0x47, 0x44, 0x11, 0xf5, 0x69,
                0x89, 0xae
            ]
        );
        let response = exchange.nt_response(&hash);
        assert_eq!(
            response,
            [
                0x82, 0x30, 0x9e, 0xcd, 0x8d, 0x70, 0x8b, 0x5e, 0xa0, 0x8f, 0xaa, 0x39, 0x81, 0xcd,
                0x83, 0x54, 0x42, 0x33, 0x11, 0x4a, 0x3d, 0x85, 0xd6, 0xdf
            ]
        );
        let right = b"S=407A5589115FD0D6209F510FE9C04566932CDA56";
        assert!(exchange.is_authentic(&hash, &response, right));
        assert!(exchange.is_authentic(&hash, &response, &[&right[..], b" M=hello"].concat()));
        for at in 0..right.len() {
            let mut wrong = right.to_vec();
            wrong[at] ^= 1;
            assert!(!exchange.is_authentic(&hash, &response, &wrong), "octet {at}");
            assert!(!exchange.is_authentic(&hash, &response, &right[..at]), "{at} octets");
        }
        // The domain is no part of the name.
        assert_eq!(Exchange { user: "HOME\\User", ..exchange }.challenge_hash(), challenge);
    }
}
