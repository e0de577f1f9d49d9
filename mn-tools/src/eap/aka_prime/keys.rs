//! The keys of EAP-AKA'.
//!
//! Read first: RFC 9048 s.3.3, 3.4; 3GPP TS 33.402 annex A.2.

use aes::Aes128Dec;
use cbc::Decryptor;
use cipher::{Array, BlockModeDecrypt, InnerIvInit, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::super::Msk;
use super::usim::Vector;

/// K_encr, K_aut, K_re, MSK; EMSK is not used.
const MATERIAL: usize = 16 + 32 + 32 + 64;

/// What one run makes.
pub(super) struct Keys {
    material: Zeroizing<[u8; MATERIAL]>,
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    // HMAC takes a key of any length.
    if let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) {
        for part in parts {
            mac.update(part);
        }
        out.copy_from_slice(&mac.finalize().into_bytes());
    }
    out
}

impl Keys {
    /// With what the card made of the challenge, for this network and identity.
    pub(super) fn derive(vector: &Vector, network: &[u8], identity: &[u8]) -> Self {
        // TS 33.402 annex A.2: FC 0x20, P0 the network's name, P1 SQN xor AK, each with its length.
        let key = Zeroizing::new([vector.ck, vector.ik].concat());
        let length = u16::try_from(network.len()).unwrap_or(u16::MAX).to_be_bytes();
        let both = hmac(&key, &[&[0x20], network, &length, &vector.sqn_xor_ak, &[0, 6]]);
        let (ck, ik) = both.split_at(16);
        let key = Zeroizing::new([ik, ck].concat());
        // RFC 9048 s.3.4.1: T1 | T2 | ..., each over the one before.
        let mut material = Zeroizing::new([0; MATERIAL]);
        let mut last = Zeroizing::new(Vec::new());
        for (chunk, number) in material.chunks_mut(32).zip(1..) {
            let t = hmac(&key, &[&last, b"EAP-AKA'", identity, &[number]]);
            for (to, from) in chunk.iter_mut().zip(t.iter()) {
                *to = *from;
            }
            last = Zeroizing::new(t.to_vec());
        }
        Self { material }
    }

    fn part(&self, from: usize, len: usize) -> &[u8] {
        self.material.get(from..from + len).unwrap_or_default()
    }

    /// AT_MAC over a whole EAP packet in which its value is zero.
    pub(super) fn mac(&self, packet: &[u8]) -> [u8; 16] {
        let mac = hmac(self.part(16, 32), &[packet]);
        let mut out = [0; 16];
        for (to, from) in out.iter_mut().zip(mac.iter()) {
            *to = *from;
        }
        out
    }

    /// Whether AT_MAC at `at` of `packet` is right.
    pub(super) fn verify(&self, packet: &[u8], at: usize) -> bool {
        let mut zeroed = packet.to_vec();
        let Some(value) = zeroed.get_mut(at..at + 16) else { return false };
        let sent = value.to_vec();
        value.fill(0);
        self.mac(&zeroed).ct_eq(&sent).into()
    }

    /// AT_ENCR_DATA in the clear.
    pub(super) fn decrypt(&self, iv: &[u8; 16], data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let key = Aes128Dec::new_from_slice(self.part(0, 16)).ok()?;
        let mut clear = Zeroizing::new(data.to_vec());
        let (blocks, rest) = Array::slice_as_chunks_mut(&mut clear);
        let whole = rest.is_empty();
        Decryptor::inner_iv_init(key, &Array(*iv)).decrypt_blocks(blocks);
        whole.then_some(clear)
    }

    /// The MSK.
    pub(super) fn msk(&self) -> Msk {
        let mut msk = Msk::new([0; 64]);
        for (to, from) in msk.iter_mut().zip(self.part(80, 64)) {
            *to = *from;
        }
        msk
    }

    #[cfg(test)]
    fn k_encr_aut_re(&self) -> [&[u8]; 3] {
        [self.part(0, 16), self.part(16, 32), self.part(48, 32)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eap::tests::unhex;

    /// RFC 5448 appendix C, cases 1 to 4, as RFC 9048 keeps them.
    #[test]
    fn the_rfcs_cases() {
        let mut cases = 0;
        for case in include_str!("rfc5448.txt").split("\n\n") {
            let field = |name: &str| {
                let line = case.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
                line.unwrap_or_else(|| panic!("{name} in {case}"))
            };
            let octets = |name| unhex(field(name));
            let vector = Vector {
                res: octets("RES")[..8].try_into().unwrap(),
                ck: octets("CK").try_into().unwrap(),
                ik: octets("IK").try_into().unwrap(),
                sqn_xor_ak: octets("AUTN")[..6].try_into().unwrap(),
            };
            let network = field("NETWORK").as_bytes();
            let keys = Keys::derive(&vector, network, b"0555444333222111");
            let [k_encr, k_aut, k_re] = keys.k_encr_aut_re();
            assert_eq!(k_encr, octets("K_encr"), "{case}");
            assert_eq!(k_aut, octets("K_aut"), "{case}");
            assert_eq!(k_re, octets("K_re"), "{case}");
            assert_eq!(keys.msk()[..], octets("MSK"), "{case}");
            cases += 1;
        }
        assert_eq!(cases, 4);
    }
}
