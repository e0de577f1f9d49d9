//! When an SA has carried so much that the mobile node needs a new one.
//!
//! Read first: reading R-23. Workers count; the control thread looks at a part of the SAs at a
//! time, so that a million of them stall nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hearth_dataplane::SaUsage;
use hearth_wire::{Cipher, Spi, Suite};

/// Packets in either direction after which a new SA is asked for.
const PACKETS: u64 = 1 << 31;

/// Octets in either direction after which a new SA is asked for under 3DES: 1 GiB.
const TRIPLE_DES_OCTETS: u64 = 1 << 30;

/// SAs looked at in one sweep.
const PART: usize = 512;

/// Least time between two sweeps. Even at 10 Mpps an SA needs minutes from the limit to the last
/// sequence number.
const PAUSE: Duration = Duration::from_millis(100);

/// The SAs that are watched.
#[derive(Debug, Default)]
pub struct SaLimits {
    suites: HashMap<Spi, Suite>,
    round: Vec<Spi>,
    swept: Option<Instant>,
}

impl SaLimits {
    /// Watches an SA.
    pub fn watch(&mut self, spi: Spi, suite: Suite) {
        self.suites.insert(spi, suite);
    }

    /// Watches it no more.
    pub fn forget(&mut self, spi: Spi) {
        self.suites.remove(&spi);
    }

    /// Looks at the next part of the SAs; those that reached a limit. They are not named again.
    pub fn sweep(&mut self, usage: impl Fn(Spi) -> Option<SaUsage>) -> Vec<Spi> {
        if self.swept.is_some_and(|swept| swept.elapsed() < PAUSE) {
            return Vec::new();
        }
        self.swept = Some(Instant::now());
        if self.round.is_empty() {
            self.round.extend(self.suites.keys());
        }
        let part = self.round.split_off(self.round.len().saturating_sub(PART));
        let mut reached = Vec::new();
        for spi in part {
            let Some(&suite) = self.suites.get(&spi) else { continue };
            if usage(spi).is_some_and(|usage| is_reached(suite, &usage)) {
                self.suites.remove(&spi);
                reached.push(spi);
            }
        }
        reached
    }
}

fn is_reached(suite: Suite, usage: &SaUsage) -> bool {
    let inbound = usage.highest_inbound.map_or(0, |seq| u64::from(seq.0) + 1);
    usage.next_outbound.max(inbound) >= PACKETS
        || suite.cipher() == Cipher::TripleDesCbc
            && usage.in_octets.max(usage.out_octets) >= TRIPLE_DES_OCTETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_wire::SeqNo;

    #[test]
    fn limits_are_those_of_r23() {
        let usage = SaUsage { next_outbound: PACKETS - 1, ..SaUsage::default() };
        assert!(!is_reached(Suite::Aes128CbcSha, &usage));
        let usage = SaUsage { next_outbound: PACKETS, ..SaUsage::default() };
        assert!(is_reached(Suite::Aes128CbcSha, &usage));
        let usage = SaUsage { highest_inbound: Some(SeqNo(0x7fff_ffff)), ..SaUsage::default() };
        assert!(is_reached(Suite::NullSha, &usage));
        let usage = SaUsage { in_octets: TRIPLE_DES_OCTETS, ..SaUsage::default() };
        assert!(is_reached(Suite::TripleDesEdeCbcSha, &usage));
        assert!(!is_reached(Suite::Aes128CbcSha, &usage));
        assert!(!is_reached(Suite::Aes128Gcm, &usage));
    }

    #[test]
    fn a_limit_is_named_once() {
        let mut limits = SaLimits::default();
        let spi = Spi::new(7).unwrap();
        limits.watch(spi, Suite::Aes128CbcSha);
        let full = |_| Some(SaUsage { next_outbound: PACKETS, ..SaUsage::default() });
        assert_eq!(limits.sweep(full), [spi]);
        limits.swept = None;
        assert_eq!(limits.sweep(full), []);
    }
}
