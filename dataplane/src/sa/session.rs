//! SAs whose packets go by a crypto device: those whose suite it offers, as long as it has room.

use hearth_dpdk::{CryptoDevice, CryptoSession, CryptoSuite, Way};
use hearth_wire::Suite;
use hearth_wire::directory::DirectionKeys;

use crate::config::SaParameters;
use crate::sa::keys::{KeySchedule, Material};

/// The keys of one direction of an SA that is in a device.
pub(crate) struct DeviceKeys {
    session: CryptoSession,
    /// The session is of one worker's queue. For packets that are worked on elsewhere, the same
    /// keys as the lanes want them.
    lanes: KeySchedule,
}

impl DeviceKeys {
    /// As [`KeySchedule::material`]. Out of line, so that the lanes' suites pay nothing for it.
    #[cold]
    #[inline(never)]
    pub(crate) fn material(&self) -> Material<'_> {
        Material { session: Some(&self.session), ..self.lanes.material() }
    }
}

/// A device as control has it: where sessions come from.
pub(crate) struct Sessions {
    device: CryptoDevice,
}

impl Sessions {
    pub(crate) const fn new(device: CryptoDevice) -> Self {
        Self { device }
    }

    /// Whether the device offers the suite.
    pub(crate) fn offers(&self, suite: Suite) -> bool {
        self.device.supports(device_suite(suite))
    }

    /// Puts an SA into the device, for the queue of the worker that owns it. Where the device does
    /// not offer the suite or has no room, the SA stays with the lanes, both directions of it.
    pub(crate) fn take_over(
        &self,
        owner: usize,
        sa: &SaParameters<'_>,
        [inbound, outbound]: [KeySchedule; 2],
    ) -> [KeySchedule; 2] {
        let session = |way, keys| self.session(owner, sa.suite, way, keys);
        match (session(Way::Decrypt, sa.mn_to_ha), session(Way::Encrypt, sa.ha_to_mn)) {
            (Some(decrypt), Some(encrypt)) => {
                [(decrypt, inbound), (encrypt, outbound)].map(|(session, lanes)| {
                    KeySchedule::Device(Box::new(DeviceKeys { session, lanes }))
                })
            }
            _ => [inbound, outbound],
        }
    }

    fn session(
        &self,
        owner: usize,
        suite: Suite,
        way: Way,
        keys: &DirectionKeys,
    ) -> Option<CryptoSession> {
        let queue = u16::try_from(owner).ok()?;
        // The salt of AES-GCM is no part of the key (RFC 4106 s.8.1).
        let cipher_key = match suite {
            Suite::Aes128Gcm => keys.encryption().get(..16)?,
            _ => keys.encryption(),
        };
        self.device.session(queue, device_suite(suite), way, cipher_key, keys.integrity()).ok()
    }
}

const fn device_suite(suite: Suite) -> CryptoSuite {
    match suite {
        Suite::NullSha => CryptoSuite::NullSha1,
        Suite::NullSha256 => CryptoSuite::NullXcbc,
        Suite::TripleDesEdeCbcSha => CryptoSuite::TripleDesSha1,
        Suite::Aes128CbcSha => CryptoSuite::Aes128Sha1,
        Suite::Aes128CbcSha256 => CryptoSuite::Aes128Xcbc,
        Suite::Aes128Gcm => CryptoSuite::Aes128Gcm,
    }
}
