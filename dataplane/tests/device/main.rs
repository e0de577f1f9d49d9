//! The dataplane with a crypto device in the place of the lanes: crypto_aesni_mb and
//! crypto_openssl, on real packets, turn by turn.
// All of it is test code; a panic is how it says no.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation, clippy::too_many_lines)]
#![allow(missing_docs, unreachable_pub)]

mod life;
mod packets;

#[path = "../packets/codec.rs"]
#[allow(dead_code)]
mod codec;
#[path = "../packets/rig.rs"]
#[allow(dead_code)]
mod rig;

use hearth_dataplane::{Config, CryptoDeviceConfig};
use hearth_wire::{Scope, Suite};

use crate::rig::{ACCESS, MobileNode, Rig};

/// The devices, and the suites that they do not offer.
const DEVICES: [(&str, &[Suite]); 2] =
    [("crypto_aesni_mb", &[]), ("crypto_openssl", &[Suite::NullSha256, Suite::Aes128CbcSha256])];

/// A rig with this device.
fn with_device(device: &str, change: impl FnOnce(&mut Config)) -> Rig {
    Rig::with(|config| {
        config.crypto_device = Some(CryptoDeviceConfig { device: device.into(), max_sas: 32 });
        change(config);
    })
}

/// Packets that came out of the device, of all workers.
fn by_device(rig: &Rig) -> u64 {
    rig.counters().workers.iter().map(|worker| worker.device_packets).sum()
}

/// Runs `test` on each device with a mobile node of each suite behind each family; the last
/// argument says whether the device offers the suite.
fn each(test: impl Fn(&mut Rig, &mut MobileNode, bool)) {
    for (device, lacks) in DEVICES {
        let mut rig = with_device(device, |_| ());
        let mut n = 0;
        for suite in Suite::known() {
            for outer6 in [true, false] {
                n += 1;
                let mut mn =
                    rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, outer6));
                let offered = !lacks.contains(&suite);
                assert_eq!(rig.tables.sa_is_in_device(mn.spi), Some(offered), "{device}, {suite}");
                test(&mut rig, &mut mn, offered);
            }
        }
        rig.finish();
    }
}

/// A mobile node with AES_128_CBC_SHA, which every device offers.
fn usual(rig: &mut Rig, n: u8) -> MobileNode {
    let mn = rig.attach(MobileNode::new(n, Suite::Aes128CbcSha, Scope::SignallingAndData, true));
    assert_eq!(rig.tables.sa_is_in_device(mn.spi), Some(true));
    mn
}

/// Puts an uplink packet of it on the wire.
fn inject(rig: &mut Rig, mn: &mut MobileNode, queue: usize, inner: &[u8]) {
    let frame = codec::ethernet(rig.mac(ACCESS), [2, 9, 9, 9, 9, 9], &mn.data(inner));
    rig.inject(ACCESS, queue, &frame);
}
