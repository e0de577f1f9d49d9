//! Asking the HAC for SAs that packets name and nobody here has.
//!
//! Read first: reading R-50. Anybody can invent an SPI: questions are bounded in rate, and an SPI
//! that the HAC does not know is not asked for again for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hearth_wire::Spi;

/// Least time between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// How long an SPI that the HAC does not know is not asked for again. Short: the HAC may deal it
/// out at any time, and then the watch tells.
const UNKNOWN_FOR: Duration = Duration::from_secs(2);

/// SPIs remembered as unknown; beyond them nothing is asked until some are forgotten.
const REMEMBERED: usize = 1024;

/// What was asked, and what the HAC did not know.
#[derive(Debug, Default)]
pub struct Lookups {
    asked: Option<Instant>,
    unknown: HashMap<Spi, Instant>,
}

impl Lookups {
    /// Whether the HAC is to be asked for `spi` at `now`.
    pub fn wanted(&mut self, spi: Spi, now: Instant) -> bool {
        if self.asked.is_some_and(|asked| now.duration_since(asked) < PAUSE) {
            return false;
        }
        if self.unknown.len() >= REMEMBERED {
            self.unknown.retain(|_, since| now.duration_since(*since) < UNKNOWN_FOR);
        }
        let known_unknown =
            self.unknown.get(&spi).is_some_and(|since| now.duration_since(*since) < UNKNOWN_FOR);
        if known_unknown || self.unknown.len() >= REMEMBERED {
            return false;
        }
        self.asked = Some(now);
        true
    }

    /// The HAC does not know `spi`.
    pub fn unknown(&mut self, spi: Spi, now: Instant) {
        self.unknown.insert(spi, now);
    }

    /// A record of `spi` came: whatever was remembered is void.
    pub fn issued(&mut self, spi: Spi) {
        self.unknown.remove(&spi);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spi(value: u32) -> Spi {
        Spi::new(value).unwrap()
    }

    #[test]
    fn questions_are_bounded_in_rate() {
        let now = Instant::now();
        let mut lookups = Lookups::default();
        assert!(lookups.wanted(spi(1), now));
        assert!(!lookups.wanted(spi(2), now));
        assert!(lookups.wanted(spi(2), now + PAUSE));
    }

    #[test]
    fn an_unknown_spi_is_not_asked_for_again_until_a_record_or_time_clears_it() {
        let now = Instant::now();
        let mut lookups = Lookups::default();
        lookups.unknown(spi(1), now);
        assert!(!lookups.wanted(spi(1), now));
        assert!(lookups.wanted(spi(1), now + UNKNOWN_FOR));
        lookups.unknown(spi(1), now + UNKNOWN_FOR);
        lookups.issued(spi(1));
        assert!(lookups.wanted(spi(1), now + UNKNOWN_FOR + PAUSE));
    }

    #[test]
    fn a_flood_of_invented_spis_fills_nothing() {
        let now = Instant::now();
        let mut lookups = Lookups::default();
        for value in 1..=5000 {
            if lookups.wanted(spi(value), now + PAUSE * value) {
                lookups.unknown(spi(value), now + PAUSE * value);
            }
        }
        assert!(lookups.unknown.len() <= REMEMBERED);
    }
}
