//! EAP-GPSK: key derivation, MACs, protected data.
//!
//! Read first: RFC 5433 s.4, 6 to 8, 9.4.

use core::fmt;

use aes::Aes128;
use aes::cipher::BlockCipherDecrypt;
use cmac::Cmac;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::{Ciphersuite, RAND_LEN, Sealed};
use crate::eap::EapType;

/// Octets of the shortest pre-shared key of RFC 5433 s.6.
pub const MIN_PSK: usize = 16;

/// Octets of MSK and EMSK each.
const MSK_LEN: usize = 64;

/// Octets of a block of AES.
const BLOCK: usize = 16;

/// SK, PK and MSK of one run; wiped on drop. The EMSK has no use and is not kept.
pub struct Keys {
    suite: Ciphersuite,
    msk: Zeroizing<[u8; MSK_LEN]>,
    sk: Zeroizing<Vec<u8>>,
    pk: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl Keys {
    /// Derives them (RFC 5433 s.4); `None` where the pre-shared key is shorter than the ciphersuite
    /// needs, or longer than 65535 octets.
    #[must_use]
    pub fn derive(
        suite: Ciphersuite,
        psk: &[u8],
        (rand_peer, id_peer): (&[u8; RAND_LEN], &[u8]),
        (rand_server, id_server): (&[u8; RAND_LEN], &[u8]),
    ) -> Option<Self> {
        let ks = suite.key_len();
        let input = [&rand_peer[..], id_peer, &rand_server[..], id_server];
        let pl = u16::try_from(psk.len()).ok()?.to_be_bytes();
        let sel = suite.octets();
        // MK = KDF-KS(PSK[0..KS-1], PL || PSK || CSuite_Sel || inputString)
        let mut mk = Zeroizing::new(vec![0; ks]);
        let mut seed: Vec<&[u8]> = vec![&pl, psk, &sel];
        seed.extend(input);
        gkdf(suite, psk.get(..ks)?, &seed, &mut mk)?;
        // MSK | EMSK | SK | PK = KDF-{128+2*KS}(MK, inputString)
        let mut material = Zeroizing::new(vec![0; 2 * MSK_LEN + 2 * ks]);
        gkdf(suite, &mk, &input, &mut material)?;
        let (msk, rest) = material.split_first_chunk::<MSK_LEN>()?;
        let (sk, pk) = rest.get(MSK_LEN..)?.split_at_checked(ks)?;
        Some(Self {
            suite,
            msk: Zeroizing::new(*msk),
            sk: Zeroizing::new(sk.to_vec()),
            pk: Zeroizing::new(pk.to_vec()),
        })
    }

    /// The MAC over `covered`.
    #[must_use]
    pub fn mac(&self, covered: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.suite.mac_len()];
        // SK has the length that the suite's MAC wants, so there is one.
        let _ = mac(self.suite, &self.sk, &[covered], &mut out);
        out
    }

    /// Whether the MAC is right; takes the same time wherever octets differ.
    #[must_use]
    pub fn verify(&self, sealed: &Sealed<'_>) -> bool {
        self.mac(sealed.covered).ct_eq(sealed.mac).into()
    }

    /// Whether PD_Payload_Block is none, or one that decrypts to PD_Payloads (RFC 5433 s.9.4, 10).
    /// No PD_Payload is defined, so all are ignored.
    #[must_use]
    pub fn opens(&self, sealed: &Sealed<'_>) -> bool {
        let block = sealed.protected_data;
        block.is_empty() || self.open(block).is_some()
    }

    fn open(&self, block: &[u8]) -> Option<()> {
        let (&iv_len, rest) = block.split_first()?;
        let (iv, text) = rest.split_at_checked(usize::from(iv_len))?;
        let plain = match (self.suite, iv) {
            (Ciphersuite::Aes, iv) => cbc_decrypt(&self.pk, iv.try_into().ok()?, text)?,
            (Ciphersuite::Sha256, []) => Zeroizing::new(text.to_vec()),
            (Ciphersuite::Sha256, _) => return None,
        };
        let (&pad_len, rest) = plain.split_last()?;
        if self.suite == Ciphersuite::Sha256 && pad_len != 0 {
            return None;
        }
        let mut payloads = rest.get(..rest.len().checked_sub(usize::from(pad_len))?)?;
        while !payloads.is_empty() {
            // Vendor (4), Specifier (2), Length (2), Value.
            let (&[.., high, low], rest) = payloads.split_first_chunk::<8>()?;
            payloads = rest.get(usize::from(u16::from_be_bytes([high, low]))..)?;
        }
        Some(())
    }

    /// The Method-ID (RFC 5433 s.4).
    #[must_use]
    pub fn method_id(
        suite: Ciphersuite,
        psk: &[u8],
        (rand_peer, id_peer): (&[u8; RAND_LEN], &[u8]),
        (rand_server, id_server): (&[u8; RAND_LEN], &[u8]),
    ) -> Option<[u8; 16]> {
        let (sel, method) = (suite.octets(), [EapType::GPSK.as_legacy()?]);
        let seed: [&[u8]; 7] =
            [b"Method ID", &method, &sel, rand_peer, id_peer, rand_server, id_server];
        let mut id = [0; 16];
        gkdf(suite, psk.get(..suite.key_len())?, &seed, &mut id)?;
        Some(id)
    }

    /// The MSK; nothing else is left.
    #[must_use]
    pub fn into_msk(self) -> Zeroizing<[u8; MSK_LEN]> {
        self.msk
    }
}

/// GKDF (RFC 5433 s.7) with the suite's MAC: `MAC_key(1 || seed) || MAC_key(2 || seed) ..`,
/// truncated to `out`.
fn gkdf(suite: Ciphersuite, key: &[u8], seed: &[&[u8]], out: &mut [u8]) -> Option<()> {
    let mut block = Zeroizing::new(vec![0; suite.mac_len()]);
    for (index, out) in out.chunks_mut(suite.mac_len()).enumerate() {
        let counter = u16::try_from(index + 1).ok()?.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![&counter];
        parts.extend(seed);
        mac(suite, key, &parts, &mut block)?;
        out.copy_from_slice(block.get(..out.len())?);
    }
    Some(())
}

/// The MAC of `parts` into `out`, which has ML octets.
fn mac(suite: Ciphersuite, key: &[u8], parts: &[&[u8]], out: &mut [u8]) -> Option<()> {
    match suite {
        Ciphersuite::Aes => {
            finish(<Cmac<Aes128> as KeyInit>::new_from_slice(key).ok()?, parts, out)
        }
        Ciphersuite::Sha256 => {
            finish(<Hmac<Sha256> as KeyInit>::new_from_slice(key).ok()?, parts, out)
        }
    }
}

fn finish(mut mac: impl Mac, parts: &[&[u8]], out: &mut [u8]) -> Option<()> {
    for part in parts {
        mac.update(part);
    }
    let mut result = mac.finalize().into_bytes();
    let filled = result.len() == out.len();
    if filled {
        out.copy_from_slice(&result);
    }
    result.as_mut_slice().zeroize();
    filled.then_some(())
}

/// AES-128-CBC; `None` where `text` is not whole blocks.
fn cbc_decrypt(key: &[u8], iv: [u8; BLOCK], text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = Aes128::new_from_slice(key).ok()?;
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    if blocks.is_empty() || !rest.is_empty() {
        return None;
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut chained = iv;
    for block in blocks {
        let mut state = aes::Block::from(*block);
        cipher.decrypt_block(&mut state);
        plain.extend(state.iter().zip(chained).map(|(octet, chained)| octet ^ chained));
        chained = *block;
    }
    Some(plain)
}
