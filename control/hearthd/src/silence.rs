//! SAs under which nothing has come for a while.
//!
//! Read first: RFC 5847 s.3. Workers count packets; the control thread looks at a part of the SAs
//! at a time, as [`crate::sa_limits`] does.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hearth_wire::Spi;

/// SAs looked at in one sweep, and the least time between two.
const PART: usize = 512;
const PAUSE: Duration = Duration::from_millis(100);

/// What was heard under one SA.
#[derive(Debug)]
struct Heard {
    packets: u64,
    since: Instant,
}

/// The SAs that are listened to.
#[derive(Debug, Default)]
pub struct Silence {
    /// How long one may be silent; zero: nobody is listened to.
    interval: Duration,
    sas: HashMap<Spi, Heard>,
    round: Vec<Spi>,
    swept: Option<Instant>,
}

impl Silence {
    /// SAs may be silent for `interval`; zero: for ever.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, ..Self::default() }
    }

    /// Looks at the next part of `all`, of which each sweep but the first of a round asks nothing;
    /// those that were silent for the interval, each once in it. `packets` says how many have come.
    pub fn sweep(
        &mut self,
        now: Instant,
        all: impl FnOnce() -> Vec<Spi>,
        packets: impl Fn(Spi) -> Option<u64>,
    ) -> Vec<Spi> {
        let early = self.swept.is_some_and(|swept| now.duration_since(swept) < PAUSE);
        if self.interval.is_zero() || early {
            return Vec::new();
        }
        self.swept = Some(now);
        if self.round.is_empty() {
            self.round = all();
            let known: std::collections::HashSet<_> = self.round.iter().copied().collect();
            self.sas.retain(|spi, _| known.contains(spi));
        }
        let mut part = self.round.split_off(self.round.len().saturating_sub(PART));
        part.retain(|spi| {
            let Some(packets) = packets(*spi) else { return false };
            let heard = self.sas.entry(*spi).or_insert(Heard { packets, since: now });
            let silent = heard.packets == packets;
            if silent && now.duration_since(heard.since) < self.interval {
                return false;
            }
            *heard = Heard { packets, since: now };
            silent
        });
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spis(numbers: core::ops::Range<u32>) -> Vec<Spi> {
        numbers.map(|number| Spi::new(number).unwrap()).collect()
    }

    #[test]
    fn the_silent_are_named_once_in_an_interval() {
        let start = Instant::now();
        let mut silence = Silence::new(Duration::from_secs(60));
        let mut named = Vec::new();
        for tenth in 0..2000_u64 {
            let now = start + PAUSE * u32::try_from(tenth).unwrap();
            // The first one speaks every 30 s.
            let packets = |spi: Spi| Some(if spi.get() == 1 { tenth / 300 } else { 7 });
            named.extend(silence.sweep(now, || spis(1..3), packets));
        }
        assert_eq!(named, vec![Spi::new(2).unwrap(); 3]);
    }

    #[test]
    fn a_sweep_is_short_and_the_gone_are_forgotten() {
        let start = Instant::now();
        let mut silence = Silence::new(Duration::from_secs(1));
        let at = |tenth: u32| start + PAUSE * tenth;
        for tenth in 0..4 {
            assert!(silence.sweep(at(tenth), || spis(1..1537), |_| Some(0)).is_empty());
        }
        assert_eq!(silence.sas.len(), 1536);
        silence.round.clear();
        silence.sweep(at(5), || spis(1..9), |_| Some(0));
        assert_eq!(silence.sas.len(), 8);
        assert!(Silence::default().sweep(start, || spis(1..9), |_| Some(0)).is_empty());
    }
}
