//! The keys of one direction, expanded as the crypto library wants them.
//!
//! Read first: RFC 6618 s.5.6.5; RFC 4106 s.4, 8.1; readings.

use hearth_dpdk::{
    Aes128DecryptKey, Aes128EncryptKey, Aes128GcmKey, Auth, Cipher, CryptoSession, HmacSha1Key,
    MultiBuffer, TripleDesKey, XcbcKey,
};
use hearth_wire::Suite;
use hearth_wire::directory::DirectionKeys;
use zeroize::Zeroize;

use crate::sa::session::DeviceKeys;

/// What may be done with a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From MN to HA: the tag is computed, then the packet decrypted.
    Inbound,
    /// From HA to MN: the packet is encrypted, then the tag computed.
    Outbound,
}

/// AES-GCM's key, and what makes a nonce of a sequence number.
pub(crate) struct GcmSchedule {
    /// A box, because it is more than twice as large as all other suites' keys.
    key: Box<Aes128GcmKey>,
    salt: [u8; 4],
    /// Of the IVs that this home agent writes.
    epoch: u32,
}

impl Drop for GcmSchedule {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
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
    Gcm(Direction, GcmSchedule),
    /// Of any suite, in a crypto device.
    Device(Box<DeviceKeys>),
}

/// A suite's part of a job: both algorithms with their keys, and the lengths that follow from them.
#[derive(Clone, Copy)]
pub(crate) struct Material<'k> {
    pub(crate) cipher: Cipher<'k>,
    pub(crate) auth: Auth<'k>,
    /// AES-GCM's salt and epoch.
    pub(crate) nonce: Option<(&'k [u8; 4], u32)>,
    /// The keys in a crypto device, if it is to do the job.
    pub(crate) session: Option<&'k CryptoSession>,
}

/// Work on one packet that is compiled once for each suite, with all lengths and constants of the
/// suite known: one branch on the suite replaces a branch for each of them.
pub(crate) trait PerSuite<'k> {
    type Output;

    /// Does it. To be inlined.
    fn run(self, material: Material<'k>) -> Self::Output;
}

/// The suite's part of a job and no more.
struct Whole;

impl<'k> PerSuite<'k> for Whole {
    type Output = Material<'k>;

    fn run(self, material: Material<'k>) -> Material<'k> {
        material
    }
}

impl Material<'_> {
    /// Octets of the explicit IV.
    #[inline]
    pub(crate) const fn iv_len(&self) -> usize {
        if self.nonce.is_some() { 8 } else { self.cipher.block() }
    }

    /// Octets of the ICV.
    #[inline]
    pub(crate) const fn icv_len(&self) -> usize {
        self.auth.tag_len()
    }

    /// What payload and trailer are padded to; a power of two.
    #[inline]
    pub(crate) const fn pad_block(&self) -> usize {
        match self.cipher.block() {
            block @ (8 | 16) => block,
            _ => 4,
        }
    }

    /// Whether the cipher does anything.
    #[inline]
    pub(crate) const fn encrypts(&self) -> bool {
        !matches!(self.cipher, Cipher::Null)
    }

    /// Whether it is 3DES, whose jobs have lanes and a budget of their own.
    #[inline]
    pub(crate) const fn is_triple_des(&self) -> bool {
        matches!(self.cipher, Cipher::TripleDesEncrypt(_) | Cipher::TripleDesDecrypt(_))
    }
}

impl KeySchedule {
    /// Expands the keys of one direction; `None` where a length is not the suite's. `epoch` is of
    /// AES-GCM's IVs, and has never been used with these keys.
    pub(crate) fn expand(
        crypto: &MultiBuffer<'_>,
        suite: Suite,
        direction: Direction,
        keys: &DirectionKeys,
        epoch: u32,
    ) -> Option<Self> {
        let sha = || Some(crypto.hmac_sha1_key(keys.integrity().try_into().ok()?));
        let xcbc = || Some(crypto.xcbc_key(keys.integrity().try_into().ok()?));
        let decrypt = || Some(crypto.aes128_decrypt_key(keys.encryption().try_into().ok()?));
        let encrypt = || Some(crypto.aes128_encrypt_key(keys.encryption().try_into().ok()?));
        let triple_des = || Some(crypto.triple_des_key(keys.encryption().try_into().ok()?));
        let gcm = || {
            let (key, salt) = keys.encryption().split_first_chunk::<16>()?;
            let key = Box::new(crypto.aes128_gcm_key(key));
            Some(GcmSchedule { key, salt: salt.try_into().ok()?, epoch })
        };
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
            (Suite::Aes128Gcm, _) => Self::Gcm(direction, gcm()?),
        })
    }

    /// The suite's part of a job, where no suite is known beforehand.
    pub(crate) fn material(&self) -> Material<'_> {
        self.with(Whole)
    }

    /// The cipher's part of a job, where no suite is known beforehand.
    pub(crate) fn cipher(&self) -> Cipher<'_> {
        self.material().cipher
    }

    /// The integrity algorithm's part of a job.
    pub(crate) fn auth(&self) -> Auth<'_> {
        self.material().auth
    }

    /// Whether the keys are in a crypto device.
    pub(crate) const fn is_in_device(&self) -> bool {
        matches!(self, Self::Device(_))
    }

    /// Runs `job` with the suite's part of it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the point of it")]
    pub(crate) fn with<'k, J: PerSuite<'k>>(&'k self, job: J) -> J::Output {
        let plain = |cipher, auth| Material { cipher, auth, nonce: None, session: None };
        match self {
            Self::DecryptSha(key, auth) => {
                job.run(plain(Cipher::Aes128Decrypt(key), Auth::HmacSha1(auth)))
            }
            Self::EncryptSha(key, auth) => {
                job.run(plain(Cipher::Aes128Encrypt(key), Auth::HmacSha1(auth)))
            }
            Self::DecryptXcbc(key, auth) => {
                job.run(plain(Cipher::Aes128Decrypt(key), Auth::Xcbc(auth)))
            }
            Self::EncryptXcbc(key, auth) => {
                job.run(plain(Cipher::Aes128Encrypt(key), Auth::Xcbc(auth)))
            }
            Self::NullSha(auth) => job.run(plain(Cipher::Null, Auth::HmacSha1(auth))),
            Self::NullXcbc(auth) => job.run(plain(Cipher::Null, Auth::Xcbc(auth))),
            Self::TripleDesSha(Direction::Inbound, key, auth) => {
                job.run(plain(Cipher::TripleDesDecrypt(key), Auth::HmacSha1(auth)))
            }
            Self::TripleDesSha(Direction::Outbound, key, auth) => {
                job.run(plain(Cipher::TripleDesEncrypt(key), Auth::HmacSha1(auth)))
            }
            Self::Gcm(direction, GcmSchedule { key, salt, epoch }) => {
                let cipher = match direction {
                    Direction::Inbound => Cipher::Aes128GcmDecrypt(key),
                    Direction::Outbound => Cipher::Aes128GcmEncrypt(key),
                };
                let nonce = Some((salt, *epoch));
                job.run(Material { cipher, auth: Auth::Gcm, nonce, session: None })
            }
            // The job may not go by reference: where it does, it stands in memory for all suites.
            Self::Device(keys) => job.run(keys.material()),
        }
    }
}

// The pairs of RFC 6618: 3DES with SHA-1 is the largest.
const _: () = assert!(size_of::<KeySchedule>() == 448);

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths that jobs are compiled with are those of the wire.
    #[test]
    fn lengths_are_the_suites() {
        let crypto = MultiBuffer::new().unwrap();
        for suite in Suite::known() {
            let key = |len: usize| vec![7; len].into_boxed_slice();
            let keys =
                DirectionKeys::new(suite, key(suite.ikey_len()), key(suite.ekey_len())).unwrap();
            for direction in [Direction::Inbound, Direction::Outbound] {
                let schedule = KeySchedule::expand(&crypto, suite, direction, &keys, 1).unwrap();
                let material = schedule.with(Whole);
                let lengths = (
                    material.iv_len(),
                    material.icv_len(),
                    material.pad_block(),
                    material.encrypts(),
                );
                let expected =
                    (suite.iv_len(), suite.icv_len(), suite.pad_block(), suite.encrypts());
                assert_eq!(lengths, expected, "{suite:?}");
            }
        }
    }
}
