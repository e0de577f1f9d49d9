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

/// Places of the table looked at in one sweep: a million in some 50 s.
const PART: u32 = 2048;

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

/// The watch over all SAs.
#[derive(Debug, Default)]
pub struct SaLimits {
    /// Those that were named: few, and each until it is gone.
    named: HashMap<Spi, Level>,
    /// Where the next sweep begins.
    next: u32,
    swept: Option<Instant>,
}

impl SaLimits {
    /// An SA is gone: what is said next of its SPI is of another one.
    pub fn forget(&mut self, spi: Spi) {
        self.named.remove(&spi);
    }

    /// Looks at the next part of the SAs; those that reached a limit since they were named last.
    /// `part` gives what SAs have carried from a place on, at so many places, and the place to go
    /// on from.
    pub fn sweep(
        &mut self,
        part: impl FnOnce(u32, u32, &mut dyn FnMut(Spi, Suite, &SaUsage)) -> Option<u32>,
    ) -> Vec<Spi> {
        if self.swept.is_some_and(|swept| swept.elapsed() < PAUSE) {
            return Vec::new();
        }
        self.swept = Some(Instant::now());
        let (mut reached, named) = (Vec::new(), &mut self.named);
        let next = part(self.next, PART, &mut |spi, suite, usage| {
            let level = Level::of(suite, usage);
            if level != Level::default() && named.entry(spi).or_default().rise(level) {
                reached.push(spi);
            }
        });
        self.next = next.unwrap_or(0);
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

    type Each<'a> = &'a mut dyn FnMut(Spi, Suite, &SaUsage);

    /// The only SA.
    fn alone(spi: Spi, usage: SaUsage) -> impl FnOnce(u32, u32, Each<'_>) -> Option<u32> {
        move |from, _, each| {
            assert_eq!(from, 0);
            each(spi, Suite::Aes128CbcSha, &usage);
            None
        }
    }

    /// ENC-30: well before the last number, and again while it is not heeded.
    #[test]
    fn a_limit_is_named_once_and_then_at_each_half_of_what_is_left() {
        let mut limits = SaLimits::default();
        let spi = Spi::new(7).unwrap();
        let mut named = |next| {
            limits.swept = None;
            limits.sweep(alone(spi, outbound(next))) == [spi]
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

    /// an SPI comes back.
    #[test]
    fn what_comes_behind_a_forgotten_one_is_named_anew() {
        let mut limits = SaLimits::default();
        let spi = Spi::new(7).unwrap();
        let mut times = Vec::new();
        for gone in [false, false, true, false] {
            if gone {
                limits.forget(spi);
            }
            limits.swept = None;
            times.push(limits.sweep(alone(spi, outbound(PACKETS))).len());
        }
        assert_eq!(times, [1, 0, 1, 0]);
        assert!(limits.sweep(|_, _, _| panic!("too early")).is_empty());
    }

    #[test]
    fn a_sweep_goes_on_where_the_last_one_stopped() {
        let mut limits = SaLimits::default();
        let mut begun = Vec::new();
        for end in [Some(PART), Some(2 * PART), None, Some(PART)] {
            limits.swept = None;
            limits.sweep(|from, _, _| {
                begun.push(from);
                end
            });
        }
        assert_eq!(begun, [0, PART, 2 * PART, 0]);
    }
}
