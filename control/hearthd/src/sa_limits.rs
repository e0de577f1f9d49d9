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

/// Sequence numbers of an SA.
const NUMBERS: u64 = 1 << 32;

/// How often an SA has been named, or should have been. Whoever did not heed the first invitation
/// gets others, and more of them as the end comes near.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Level {
    /// At the limit, and each time that half of the numbers that were left are used.
    packets: u8,
    /// At the limit under 3DES, and at each doubling.
    octets: u8,
}

impl Level {
    fn of(suite: Suite, usage: &SaUsage) -> Self {
        let inbound = usage.highest_inbound.map_or(0, |seq| u64::from(seq.0) + 1);
        let packets = match NUMBERS.saturating_sub(usage.next_outbound.max(inbound)) {
            0 => u8::MAX,
            left => bits(PACKETS / left),
        };
        let octets = match suite.cipher() {
            Cipher::TripleDesCbc => bits(usage.in_octets.max(usage.out_octets) / TRIPLE_DES_OCTETS),
            _ => 0,
        };
        Self { packets, octets }
    }

    /// Takes over `now`; whether it is higher.
    fn rise(&mut self, now: Self) -> bool {
        let before = *self;
        self.packets = self.packets.max(now.packets);
        self.octets = self.octets.max(now.octets);
        *self != before
    }
}

/// Bits that a number has: 0 for 0, 1 for 1, 2 for 2 and 3, 3 for 4 to 7.
fn bits(number: u64) -> u8 {
    u8::try_from(u64::BITS - number.leading_zeros()).unwrap_or(u8::MAX)
}

/// The SAs that are watched.
#[derive(Debug, Default)]
pub struct SaLimits {
    /// Those that are gone have none, until a sweep finds that.
    sas: HashMap<Spi, Option<(Suite, Level)>>,
    /// The keys, in the order of the sweeps.
    order: Vec<Spi>,
    next: usize,
    swept: Option<Instant>,
}

impl SaLimits {
    /// Watches an SA.
    pub fn watch(&mut self, spi: Spi, suite: Suite) {
        if self.sas.insert(spi, Some((suite, Level::default()))).is_none() {
            self.order.push(spi);
        }
    }

    /// Watches it no more.
    pub fn forget(&mut self, spi: Spi) {
        if let Some(sa) = self.sas.get_mut(&spi) {
            *sa = None;
        }
    }

    /// Looks at the next part of the SAs; those that reached a limit since they were named last.
    pub fn sweep(&mut self, usage: impl Fn(Spi) -> Option<SaUsage>) -> Vec<Spi> {
        if self.swept.is_some_and(|swept| swept.elapsed() < PAUSE) {
            return Vec::new();
        }
        self.swept = Some(Instant::now());
        let mut reached = Vec::new();
        for _ in 0..PART {
            let Some(&spi) = self.order.get(self.next) else {
                self.next = 0;
                break;
            };
            let Some((suite, level)) = self.sas.get_mut(&spi).and_then(Option::as_mut) else {
                self.sas.remove(&spi);
                self.order.swap_remove(self.next);
                continue;
            };
            self.next += 1;
            if usage(spi).is_some_and(|usage| level.rise(Level::of(*suite, &usage))) {
                reached.push(spi);
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_wire::SeqNo;

    fn outbound(next_outbound: u64) -> SaUsage {
        SaUsage { next_outbound, ..SaUsage::default() }
    }

    #[test]
    fn limits_are_those_of_r23() {
        let reached = |suite, usage| Level::of(suite, &usage) != Level::default();
        assert!(!reached(Suite::Aes128CbcSha, outbound(PACKETS - 1)));
        assert!(reached(Suite::Aes128CbcSha, outbound(PACKETS)));
        let usage = SaUsage { highest_inbound: Some(SeqNo(0x7fff_ffff)), ..SaUsage::default() };
        assert!(reached(Suite::NullSha, usage));
        let usage = SaUsage { highest_inbound: Some(SeqNo(0x7fff_fffe)), ..SaUsage::default() };
        assert!(!reached(Suite::NullSha, usage));
        for usage in [
            SaUsage { in_octets: TRIPLE_DES_OCTETS, ..SaUsage::default() },
            SaUsage { out_octets: TRIPLE_DES_OCTETS, ..SaUsage::default() },
        ] {
            assert!(reached(Suite::TripleDesEdeCbcSha, usage));
            assert!(!reached(Suite::Aes128CbcSha, usage));
            assert!(!reached(Suite::Aes128Gcm, usage));
        }
    }

    /// ENC-30: well before the last number, and again while it is not heeded.
    #[test]
    fn a_limit_is_named_once_and_then_at_each_half_of_what_is_left() {
        let mut limits = SaLimits::default();
        let spi = Spi::new(7).unwrap();
        limits.watch(spi, Suite::Aes128CbcSha);
        let mut named = |next| {
            limits.swept = None;
            limits.sweep(|_| Some(outbound(next))) == [spi]
        };
        let steps = [
            (0, false),
            (1 << 31, true),
            (1 << 31, false),
            ((3 << 30) - 1, false),
            (3 << 30, true),
        ];
        for (next, expected) in steps {
            assert_eq!(named(next), expected, "{next}");
        }
        // To the last one, and not for ever behind it.
        let mut times = 0;
        for left in (0..1 << 20).rev() {
            times += u32::from(named(NUMBERS - left));
        }
        assert!((20..=22).contains(&times), "{times}");
        assert!(!named(NUMBERS));
    }

    #[test]
    fn octets_under_3des_are_named_at_each_doubling() {
        let mut level = Level::default();
        let named = [1, 1, 2, 3, 4].map(|gib: u64| {
            let usage = SaUsage { in_octets: gib << 30, ..SaUsage::default() };
            level.rise(Level::of(Suite::TripleDesEdeCbcSha, &usage))
        });
        assert_eq!(named, [true, false, true, false, true]);
    }

    #[test]
    fn what_is_forgotten_is_not_named() {
        let mut limits = SaLimits::default();
        let spis = [7, 8].map(|spi| Spi::new(spi).unwrap());
        spis.iter().for_each(|spi| limits.watch(*spi, Suite::Aes128CbcSha));
        limits.forget(spis[0]);
        assert_eq!(limits.sweep(|_| Some(outbound(PACKETS))), [spis[1]]);
    }
}
