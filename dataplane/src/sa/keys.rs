//! The keys of one direction, expanded as the crypto library wants them.
//!
//! Read first: RFC 6618 s.5.6.5; readings.

use hearth_dpdk::{
    Aes128DecryptKey, Aes128EncryptKey, Auth, Cipher, HmacSha1Key, MultiBuffer, TripleDesKey,
    XcbcKey,
};
use hearth_wire::Suite;
use hearth_wire::directory::DirectionKeys;

/// What may be done with a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From MN to HA: the tag is computed, then the packet decrypted.
    Inbound,
    /// From HA to MN: the packet is encrypted, then the tag computed.
    Outbound,
}

/// Cipher and integrity keys of one direction of an SA; an enum over the suites, so that an SA
/// takes the room of the largest pair and not of the largest of each. Wiped on drop.
#[repr(align(64))]
pub(crate) enum KeySchedule {
    NullSha(HmacSha1Key),
    NullXcbc(XcbcKey),
    TripleDesSha(Direction, TripleDesKey, HmacSha1Key),
    DecryptSha(Aes128DecryptKey, HmacSha1Key),
    EncryptSha(Aes128EncryptKey, HmacSha1Key),
    DecryptXcbc(Aes128DecryptKey, XcbcKey),
    EncryptXcbc(Aes128EncryptKey, XcbcKey),
}

impl KeySchedule {
    /// Expands the keys of one direction; `None` where a length is not the suite's.
    pub(crate) fn expand(
        crypto: &MultiBuffer<'_>,
        suite: Suite,
        direction: Direction,
        keys: &DirectionKeys,
    ) -> Option<Self> {
        let sha = || Some(crypto.hmac_sha1_key(keys.integrity().try_into().ok()?));
        let xcbc = || Some(crypto.xcbc_key(keys.integrity().try_into().ok()?));
        let decrypt = || Some(crypto.aes128_decrypt_key(keys.encryption().try_into().ok()?));
        let encrypt = || Some(crypto.aes128_encrypt_key(keys.encryption().try_into().ok()?));
        let triple_des = || Some(crypto.triple_des_key(keys.encryption().try_into().ok()?));
        if keys.encryption().len() != suite.ekey_len() {
            return None;
        }
        Some(match (suite, direction) {
            (Suite::NullSha, _) => Self::NullSha(sha()?),
            (Suite::NullSha256, _) => Self::NullXcbc(xcbc()?),
            (Suite::TripleDesEdeCbcSha, _) => Self::TripleDesSha(direction, triple_des()?, sha()?),
            (Suite::Aes128CbcSha, Direction::Inbound) => Self::DecryptSha(decrypt()?, sha()?),
            (Suite::Aes128CbcSha, Direction::Outbound) => Self::EncryptSha(encrypt()?, sha()?),
            (Suite::Aes128CbcSha256, Direction::Inbound) => Self::DecryptXcbc(decrypt()?, xcbc()?),
            (Suite::Aes128CbcSha256, Direction::Outbound) => Self::EncryptXcbc(encrypt()?, xcbc()?),
            (Suite::Aes128Gcm, _) => return None,
        })
    }

    /// The cipher's part of a job.
    pub(crate) const fn cipher(&self) -> Cipher<'_> {
        match self {
            Self::NullSha(_) | Self::NullXcbc(_) => Cipher::Null,
            Self::TripleDesSha(Direction::Inbound, key, _) => Cipher::TripleDesDecrypt(key),
            Self::TripleDesSha(Direction::Outbound, key, _) => Cipher::TripleDesEncrypt(key),
            Self::DecryptSha(key, _) | Self::DecryptXcbc(key, _) => Cipher::Aes128Decrypt(key),
            Self::EncryptSha(key, _) | Self::EncryptXcbc(key, _) => Cipher::Aes128Encrypt(key),
        }
    }

    /// The integrity algorithm's part of a job.
    pub(crate) const fn auth(&self) -> Auth<'_> {
        match self {
            Self::NullSha(key)
            | Self::TripleDesSha(_, _, key)
            | Self::DecryptSha(_, key)
            | Self::EncryptSha(_, key) => Auth::HmacSha1(key),
            Self::NullXcbc(key) | Self::DecryptXcbc(_, key) | Self::EncryptXcbc(_, key) => {
                Auth::Xcbc(key)
            }
        }
    }
}

// The pairs of RFC 6618: 3DES with SHA-1 is the largest.
const _: () = assert!(size_of::<KeySchedule>() == 448);
