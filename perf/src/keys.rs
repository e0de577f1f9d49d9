//! The keys of one direction of an SA: as the dataplane is given them, and as ipsec-mb reads them.

use hearth_dpdk::{
    Aes128DecryptKey, Aes128EncryptKey, Aes128GcmKey, Auth, Cipher, HmacSha1Key, MultiBuffer,
    TripleDesKey, XcbcKey,
};
use hearth_wire::directory::DirectionKeys;
use hearth_wire::suite::GCM_SALT_LEN;
use hearth_wire::{Integrity, Suite};

use crate::fault::Fault;
use crate::frames::{Act, Direction, Station};

/// The keys of one direction: octets of the suite's lengths, different for each mobile node.
pub(crate) fn direction_keys(
    station: &Station,
    direction: Direction,
) -> Result<DirectionKeys, Fault> {
    let [_, high, middle, low] = station.number().to_be_bytes();
    let salt = if direction == Direction::Uplink { 0x5a } else { 0xa5 };
    let octets = |len: usize, purpose: u8| -> Box<[u8]> {
        let count = (0_u8..=u8::MAX).take(len);
        let own = low.wrapping_mul(113) ^ middle.wrapping_mul(59) ^ high;
        count.map(|i| i.wrapping_mul(29) ^ own ^ salt ^ purpose).collect()
    };
    let suite = station.suite;
    DirectionKeys::new(suite, octets(suite.ikey_len(), 0), octets(suite.ekey_len(), 0x3c))
        .ok_or(Fault::Station(station.number()))
}

/// Schedules for both acts on the traffic of one direction.
pub(crate) struct Schedules {
    cipher: CipherKeys,
    auth: AuthKeys,
}

enum CipherKeys {
    Null,
    Aes(Aes128EncryptKey, Aes128DecryptKey),
    TripleDes(TripleDesKey),
    Gcm(Box<Aes128GcmKey>, [u8; GCM_SALT_LEN]),
}

enum AuthKeys {
    Sha(HmacSha1Key),
    Xcbc(XcbcKey),
    Gcm,
}

impl Schedules {
    /// Expands the keys of a mobile node's direction.
    pub(crate) fn expand(
        crypto: &MultiBuffer<'_>,
        station: &Station,
        direction: Direction,
    ) -> Result<Self, Fault> {
        let keys = direction_keys(station, direction)?;
        Self::of(crypto, station.suite, &keys).ok_or(Fault::Station(station.number()))
    }

    fn of(crypto: &MultiBuffer<'_>, suite: Suite, keys: &DirectionKeys) -> Option<Self> {
        let cipher = match suite.cipher() {
            hearth_wire::Cipher::Aes128Gcm => {
                let (key, salt) = keys.encryption().split_last_chunk::<GCM_SALT_LEN>()?;
                CipherKeys::Gcm(Box::new(crypto.aes128_gcm_key(key.try_into().ok()?)), *salt)
            }
            hearth_wire::Cipher::Null => CipherKeys::Null,
            hearth_wire::Cipher::Aes128Cbc => {
                let key = keys.encryption().try_into().ok()?;
                CipherKeys::Aes(crypto.aes128_encrypt_key(key), crypto.aes128_decrypt_key(key))
            }
            hearth_wire::Cipher::TripleDesCbc => {
                CipherKeys::TripleDes(crypto.triple_des_key(keys.encryption().try_into().ok()?))
            }
        };
        let auth = match suite.integrity() {
            Integrity::Combined => AuthKeys::Gcm,
            Integrity::HmacSha1_96 => {
                AuthKeys::Sha(crypto.hmac_sha1_key(keys.integrity().try_into().ok()?))
            }
            Integrity::AesXcbcMac96 => {
                AuthKeys::Xcbc(crypto.xcbc_key(keys.integrity().try_into().ok()?))
            }
        };
        Some(Self { cipher, auth })
    }

    pub(crate) const fn cipher(&self, act: Act) -> Cipher<'_> {
        match (&self.cipher, act) {
            (CipherKeys::Null, _) => Cipher::Null,
            (CipherKeys::Aes(key, _), Act::Seal) => Cipher::Aes128Encrypt(key),
            (CipherKeys::Aes(_, key), Act::Open) => Cipher::Aes128Decrypt(key),
            (CipherKeys::TripleDes(key), Act::Seal) => Cipher::TripleDesEncrypt(key),
            (CipherKeys::TripleDes(key), Act::Open) => Cipher::TripleDesDecrypt(key),
            (CipherKeys::Gcm(key, _), Act::Seal) => Cipher::Aes128GcmEncrypt(key),
            (CipherKeys::Gcm(key, _), Act::Open) => Cipher::Aes128GcmDecrypt(key),
        }
    }

    pub(crate) const fn auth(&self) -> Auth<'_> {
        match &self.auth {
            AuthKeys::Sha(key) => Auth::HmacSha1(key),
            AuthKeys::Xcbc(key) => Auth::Xcbc(key),
            AuthKeys::Gcm => Auth::Gcm,
        }
    }

    /// The salt of an AES-GCM key (RFC 4106 s.8.1).
    pub(crate) const fn salt(&self) -> Option<[u8; GCM_SALT_LEN]> {
        match &self.cipher {
            CipherKeys::Gcm(_, salt) => Some(*salt),
            _ => None,
        }
    }
}
