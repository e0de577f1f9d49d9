//! The path MTU of one tunnel: what was configured, or less for a while after an ICMP error said
//! so.
//!
//! Read first: RFC 8201 s.4, 5.2, 5.3; RFC 2473 s.6.7, 7; reading R-42.
//!
//! It stands in its binding's entry, so that there are never more than bindings, and readers find
//! it on a cache line that they touch anyway: one load says what the largest inner packet is. Any
//! worker may lower it, because an ICMP error comes to any of them; that is rare.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hearth_wire::Suite;
use hearth_wire::frame::{FrameHeader, max_payload};

use crate::outer::OVER_IPV6;

/// Time is counted in units of so many cycles (a power of two), some milliseconds.
const TICK_BITS: u32 = 24;

/// Below this an IPv4 path is never believed to be: every host takes such datagrams, and what is
/// longer is split on the way, because outer packets over IPv4 leave with DF clear.
const LEAST_V4: u16 = 576;
/// RFC 8201 s.4: "A node must not reduce its estimate of the Path MTU below the IPv6 minimum link
/// MTU".
const LEAST_V6: u16 = 1280;

/// The path MTU of a tunnel.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct PathMtu {
    /// The path MTU learned (upper 16 bits) and the tick in which it is forgotten; 0: none.
    learned: AtomicU64, // workers: rw
    /// Largest inner packet as PType 1 (upper half) and as PType 0, by `learned`.
    limits: AtomicU32, // workers: rw
    configured: u16,
    outer_len: u8,
    suite: Suite,
}

impl PathMtu {
    /// The path of outer packets of at most `configured` octets with so many octets of outer IP
    /// and UDP headers.
    pub(crate) fn new(suite: Suite, configured: u16, outer_len: usize) -> Self {
        let path = Self {
            limits: AtomicU32::new(0),
            learned: AtomicU64::new(0),
            configured,
            outer_len: u8::try_from(outer_len).unwrap_or(u8::MAX),
            suite,
        };
        path.publish();
        path
    }

    const fn is_ipv6(&self) -> bool {
        self.outer_len as usize == OVER_IPV6
    }

    /// The largest inner packet that needs no fragments.
    #[inline]
    pub(crate) fn tunnel_mtu(&self, protected: bool) -> u16 {
        let limits = self.limits.load(Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "one half")]
        let limit = if protected { limits >> 16 } else { limits & 0xffff } as u16;
        limit
    }

    /// The largest outer packet.
    pub(crate) fn path_mtu(&self) -> u16 {
        mtu(self.learned.load(Ordering::Acquire)).unwrap_or(self.configured)
    }

    /// Lowers the path MTU for `lifetime` cycles; `false` where the value is no news, or not to be
    /// believed.
    pub(crate) fn learn(&self, said: u16, now: u64, lifetime: u64) -> bool {
        // RFC 8201 s.4: "a Packet Too Big message reporting a next-hop MTU that is less than the
        // IPv6 minimum link MTU [...] must [be] discard[ed]".
        if self.is_ipv6() && said < LEAST_V6 {
            return false;
        }
        let said = said.max(if self.is_ipv6() { LEAST_V6 } else { LEAST_V4 });
        let until = (now.saturating_add(lifetime) >> TICK_BITS).max(1) & TICKS;
        let new = u64::from(said) << TICKS.count_ones() | until;
        let lowered = self.learned.try_update(Ordering::AcqRel, Ordering::Acquire, |learned| {
            let current = mtu(learned).unwrap_or(self.configured);
            // "A node must not increase its estimate [...] in response to the contents of a Packet
            // Too Big message."
            (said < current).then_some(new)
        });
        if lowered.is_ok() {
            self.publish();
        }
        lowered.is_ok()
    }

    /// Forgets what was learned, if its time is up. For a packet that is too big otherwise.
    pub(crate) fn age(&self, now: u64) {
        let due = |learned: u64| learned != 0 && learned & TICKS <= now >> TICK_BITS;
        let aged = self
            .learned
            .try_update(Ordering::AcqRel, Ordering::Acquire, |learned| due(learned).then_some(0));
        if aged.is_ok() {
            self.publish();
        }
    }

    /// Takes over what was learned of the same path.
    pub(crate) fn inherit(&self, other: &Self) {
        self.learned.store(other.learned.load(Ordering::Acquire), Ordering::Release);
        self.publish();
    }

    /// Sets the limits that follow from what was learned. Two workers may do so at once: the last
    /// to write looks again.
    fn publish(&self) {
        loop {
            let learned = self.learned.load(Ordering::SeqCst);
            self.limits.store(self.limits(learned), Ordering::SeqCst);
            if self.learned.load(Ordering::SeqCst) == learned {
                return;
            }
        }
    }

    fn limits(&self, learned: u64) -> u32 {
        let path = mtu(learned).unwrap_or(self.configured).min(self.configured);
        let frame = usize::from(path.saturating_sub(self.outer_len.into()));
        let narrow = |octets: usize| u32::from(u16::try_from(octets).unwrap_or(u16::MAX));
        narrow(max_payload(self.suite, frame)) << 16
            | narrow(frame.saturating_sub(FrameHeader::LEN))
    }
}

/// The lower 48 bits: ticks.
const TICKS: u64 = (1 << 48) - 1;

fn mtu(learned: u64) -> Option<u16> {
    if learned == 0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the upper 16 bits")]
    Some((learned >> TICKS.count_ones()) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 2_500_000_000;
    const LIFETIME: u64 = 600 * SECOND;

    fn over6() -> PathMtu {
        PathMtu::new(Suite::Aes128CbcSha, 1500, 48)
    }

    #[test]
    fn limits_follow_from_path_suite_and_packet_type() {
        let path = over6();
        // 1500 - 48 = 1452 = 8 + 16 + 88 * 16 + 8 left + 12; 2 octets of the last block go.
        assert_eq!((path.tunnel_mtu(true), path.tunnel_mtu(false)), (1406, 1444));
        assert!(path.learn(1400, SECOND, LIFETIME));
        // 1400 - 48 = 1352 = 8 + 16 + 82 * 16 + 4 left + 12.
        assert_eq!((path.tunnel_mtu(true), path.tunnel_mtu(false)), (1310, 1344));
        assert_eq!(path.path_mtu(), 1400);
    }

    #[test]
    fn it_falls_and_never_rises() {
        let path = over6();
        assert!(!path.learn(1500, SECOND, LIFETIME));
        assert!(!path.learn(9000, SECOND, LIFETIME));
        assert!(path.learn(1400, SECOND, LIFETIME));
        assert!(!path.learn(1400, SECOND, LIFETIME));
        assert!(!path.learn(1450, SECOND, LIFETIME));
        assert!(path.learn(1280, SECOND, LIFETIME));
        assert_eq!(path.path_mtu(), 1280);
    }

    /// RFC 8201 s.4: a value below 1280 is discarded, not rounded up.
    #[test]
    fn an_ipv6_path_has_1280_at_least() {
        let path = over6();
        for said in [0, 68, 1279] {
            assert!(!path.learn(said, SECOND, LIFETIME));
            assert_eq!(path.path_mtu(), 1500);
        }
    }

    #[test]
    fn an_ipv4_path_has_576_at_least() {
        let path = PathMtu::new(Suite::Aes128CbcSha, 1500, 28);
        assert!(path.learn(1000, SECOND, LIFETIME));
        assert!(path.learn(68, SECOND, LIFETIME));
        assert_eq!(path.path_mtu(), 576);
    }

    #[test]
    fn what_was_learned_is_forgotten_in_time() {
        let path = over6();
        let learned = 1000 * SECOND;
        assert!(path.learn(1300, learned, LIFETIME));
        path.age(learned + 599 * SECOND);
        assert_eq!(path.path_mtu(), 1300);
        path.age(learned + 600 * SECOND);
        assert_eq!((path.path_mtu(), path.tunnel_mtu(true)), (1500, 1406));
        path.age(learned + 601 * SECOND);
        assert!(path.learn(1290, learned + 602 * SECOND, LIFETIME));
    }

    #[test]
    fn a_refreshed_binding_remembers() {
        let (old, new) = (over6(), over6());
        old.learn(1300, SECOND, LIFETIME);
        new.inherit(&old);
        assert_eq!((new.path_mtu(), new.tunnel_mtu(true)), (1300, old.tunnel_mtu(true)));
        new.age(601 * SECOND + (1 << TICK_BITS));
        assert_eq!(new.path_mtu(), 1500);
    }

    #[test]
    fn two_workers_agree_in_the_end() {
        for _ in 0..200 {
            let path = over6();
            std::thread::scope(|scope| {
                for said in [1300, 1350, 1400] {
                    let path = &path;
                    scope.spawn(move || path.learn(said, SECOND, LIFETIME));
                }
            });
            assert_eq!((path.path_mtu(), path.limits(path.learned.load(Ordering::Relaxed))), {
                (1300, path.limits.load(Ordering::Relaxed))
            });
        }
    }
}
