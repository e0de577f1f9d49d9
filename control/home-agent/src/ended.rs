//! SAs that have ended here and must not come back.
//!
//! A directory replays what it believes alive, and it may believe longer than the home agent does:
//! an SA behind a newer one is valid at the HAC until its validity ends. Installed once more, it
//! would start with an empty replay window and with outbound number 0, so that old packets pass
//! again and numbers are used twice under one key.

use std::collections::{BTreeSet, HashMap};

use core::time::Duration;

use hearth_wire::Spi;

use crate::event::SaEnd;
use crate::time::Timestamp;

/// How much longer than its validity an SA is remembered. A wall clock that is stepped back moves
/// the end of a replayed record ahead.
const SLACK: Duration = Duration::from_secs(3600);
/// SAs that are remembered at one time: what a million mobile nodes leave behind that fetch a new
/// one in the last tenth of each validity, several times over; some 100 MB if it ever fills.
const MOST: usize = 1 << 20;

/// What one issue is called: SPI, number of the issue, a digest of whose.
pub(crate) type Name = (Spi, u64, u64);

/// SAs that ended, each until its validity and some slack are over. Beyond [`MOST`] the one that
/// would be forgotten first makes room, and SAs whose validity ends no later than its own are
/// refused from then on.
#[derive(Debug)]
pub(crate) struct EndedSas {
    ended: HashMap<Name, SaEnd>,
    by_time: BTreeSet<(Timestamp, Name)>,
    most: usize,
    /// Until when the latest one that had to make room was to be remembered.
    floor: Option<Timestamp>,
}

impl Default for EndedSas {
    fn default() -> Self {
        Self::with_room(MOST)
    }
}

impl EndedSas {
    fn with_room(most: usize) -> Self {
        Self { ended: HashMap::new(), by_time: BTreeSet::new(), most, floor: None }
    }

    /// An SA that was installed has ended.
    pub(crate) fn remember(
        &mut self,
        now: Timestamp,
        name: Name,
        validity_end: Timestamp,
        why: SaEnd,
    ) {
        self.forget(now);
        let until = validity_end.max(now).after(SLACK);
        if self.ended.insert(name, why).is_none() {
            self.by_time.insert((until, name));
        }
        if self.ended.len() > self.most
            && let Some((until, name)) = self.by_time.pop_first()
        {
            self.ended.remove(&name);
            self.floor = self.floor.max(Some(until));
        }
    }

    /// Why this SA ended here before, if it did or if that is not known any more.
    pub(crate) fn why(
        &mut self,
        now: Timestamp,
        name: Name,
        validity_end: Timestamp,
    ) -> Option<SaEnd> {
        self.forget(now);
        let below = self.floor.is_some_and(|floor| validity_end.after(SLACK) <= floor);
        self.ended.get(&name).copied().or_else(|| below.then_some(SaEnd::Superseded))
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((until, _)) = self.by_time.first()
            && *until <= now
            && let Some((_, name)) = self.by_time.pop_first()
        {
            self.ended.remove(&name);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn name(spi: u32, generation: u64) -> Name {
        (Spi::new(spi).unwrap(), generation, 0xa)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn remembered_until_validity_and_slack_are_over() {
        let mut ended = EndedSas::default();
        ended.remember(at(10), name(1, 1), at(100), SaEnd::TooMany);
        assert_eq!(ended.why(at(10), name(1, 2), at(100)), None);
        assert_eq!(ended.why(at(3699), name(1, 1), at(9999)), Some(SaEnd::TooMany));
        assert_eq!(ended.why(at(3700), name(1, 1), at(9999)), None);
        assert!(ended.ended.is_empty() && ended.by_time.is_empty());
    }

    #[test]
    fn without_room_what_is_forgotten_stays_out_all_the_same() {
        let mut ended = EndedSas::with_room(2);
        for spi in 1..=1000 {
            let end = at(1000 + u64::from(spi));
            ended.remember(at(10), name(spi, 1), end, SaEnd::Superseded);
            assert!(ended.ended.len() <= 2 && ended.by_time.len() == ended.ended.len());
        }
        for spi in 1..=1000 {
            assert!(ended.why(at(20), name(spi, 1), at(1000 + u64::from(spi))).is_some());
        }
        // A new one lives longer than those.
        assert_eq!(ended.why(at(20), name(1001, 1), at(2001)), None);
    }
}
