//! SAs under which nothing has come for a while.
//!
//! Read first: RFC 5847 s.3. Workers count packets; the control thread looks at a part of the SAs
//! at a time, as [`crate::sa_limits`] does.

use std::ops::Range;
use std::time::{Duration, Instant};

use hearth_wire::Spi;

/// Places looked at in one sweep, and the least time between two.
const PART: usize = 512;
const PAUSE: Duration = Duration::from_millis(100);

/// What was heard under one SA.
#[derive(Debug)]
struct Heard {
    spi: Spi,
    packets: u64,
    since: Instant,
}

/// The SAs that are listened to.
#[derive(Debug, Default)]
pub struct Silence {
    /// How long one may be silent; zero: nobody is listened to.
    interval: Duration,
    /// By the place of their binding.
    heard: Vec<Option<Heard>>,
    /// The next place that is looked at.
    next: usize,
    swept: Option<Instant>,
}

impl Silence {
    /// SAs may be silent for `interval`; zero: for ever.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, ..Self::default() }
    }

    /// The places that are to be looked at now, of so many, and by nobody else; none before their
    /// time.
    pub fn due(&mut self, now: Instant, places: usize) -> Range<usize> {
        let early = self.swept.is_some_and(|swept| now.duration_since(swept) < PAUSE);
        if self.interval.is_zero() || early {
            return 0..0;
        }
        self.swept = Some(now);
        let start = if self.next < places { self.next } else { 0 };
        self.next = start.saturating_add(PART).min(places);
        start..self.next
    }

    /// Whether under the SA of this place, under which so many packets have come, none has come for
    /// the interval, since it was said last.
    pub fn is_silent(&mut self, now: Instant, place: usize, spi: Spi, packets: u64) -> bool {
        if self.heard.len() <= place {
            self.heard.resize_with(place.saturating_add(1), || None);
        }
        let Some(heard) = self.heard.get_mut(place) else { return false };
        let before = heard.as_ref().filter(|heard| heard.spi == spi && heard.packets == packets);
        let silent = before.map(|heard| now.duration_since(heard.since) >= self.interval);
        if silent != Some(false) {
            *heard = Some(Heard { spi, packets, since: now });
        }
        silent == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spi(number: u32) -> Spi {
        Spi::new(number).unwrap()
    }

    #[test]
    fn the_silent_are_named_once_in_an_interval() {
        let start = Instant::now();
        let mut silence = Silence::new(Duration::from_secs(60));
        let mut named = Vec::new();
        for tenth in 0..2000_u64 {
            let now = start + PAUSE * u32::try_from(tenth).unwrap();
            for place in silence.due(now, 2) {
                // The first one speaks every 30 s.
                let packets = if place == 0 { tenth / 300 } else { 7 };
                if silence.is_silent(now, place, spi(1), packets) {
                    named.push(place);
                }
            }
        }
        assert_eq!(named, [1; 3]);
    }

    #[test]
    fn a_sweep_is_short_and_a_place_may_become_anothers() {
        let start = Instant::now();
        let mut silence = Silence::new(Duration::from_secs(1));
        let at = |tenth: u32| start + PAUSE * tenth;
        let rounds: Vec<_> = (0..5).map(|tenth| silence.due(at(tenth), 1200)).collect();
        assert_eq!(rounds, [0..512, 512..1024, 1024..1200, 0..512, 512..1024]);
        assert_eq!(silence.due(at(4), 1200), 0..0, "too early");
        assert_eq!(silence.due(at(5), 100), 0..100, "fewer than before");
        assert!(!silence.is_silent(start, 3, spi(1), 7));
        assert!(!silence.is_silent(at(20), 3, spi(2), 7), "another SA");
        assert!(!silence.is_silent(at(29), 3, spi(2), 7));
        assert!(silence.is_silent(at(30), 3, spi(2), 7));
        assert_eq!(Silence::default().due(start, 100), 0..0);
    }
}
