//! With a crypto device, a worker's turn allocates nothing, takes no lock and makes no system call
//! either, as far as the device's driver does not: crypto_aesni_mb does not, libcrypto behind
//! crypto_openssl may allocate.
// All of it is test code; a panic is how it says no.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation, clippy::too_many_lines)]
#![allow(missing_docs, unreachable_pub, dead_code)]
// The watchmen: an allocator, C symbols, a signal handler.
#![allow(unsafe_code)]

#[path = "../watched/mod.rs"]
mod watched;

use hearth_dataplane::CryptoDeviceConfig;
use hearth_wire::{Scope, Suite};
use rig::{ACCESS, CN6, HOME, MobileNode};
use watched::watchmen::Watch;
use watched::{codec, rig, watched_rig};

/// Packets of all suites, good and forged, as many at a time as a ring holds and one by one.
#[test]
fn a_turn_with_a_device_is_quiet() {
    let _watch = Watch::set_up();
    let mut rig = watched_rig(|config| {
        let device = "crypto_aesni_mb".into();
        config.crypto_device = Some(CryptoDeviceConfig { device, max_sas: 32 });
    });
    let mut nodes: Vec<_> = (1..)
        .zip(Suite::known())
        .map(|(n, suite)| rig.attach(MobileNode::new(n, suite, Scope::SignallingAndData, true)))
        .collect();
    let (up, down) = (rig.mac(ACCESS), rig.mac(HOME));
    for round in 0..60_usize {
        for number in 0..[1, 7, 40, 250][round % 4] {
            let mn = &mut nodes[number % 6];
            let mut frame = codec::ethernet(up, [2; 6], &mn.data(&mn.inner6()));
            if number % 9 == 8 {
                let last = frame.len() - 1;
                frame[last] ^= 1;
            }
            let inner = codec::ip(CN6.into(), mn.home6.into(), 17, &vec![7; 20 + number]);
            rig.inject(ACCESS, 0, &frame);
            rig.inject(HOME, 0, &codec::ethernet(down, [2; 6], &inner));
        }
        rig.turns();
        rig.received(ACCESS);
        rig.received(HOME);
    }
    assert!(rig.counters().workers[0].device_packets > 8000);
    assert_eq!(rig.drops().into_keys().collect::<Vec<_>>(), ["icv_mismatch"]);
    rig.finish();
}
