//! The directory's time: no step of the clock has it issue an SA that has ended, or an SPI whose old
//! SA may be alive.
//!
//! Read first: readings.
//!
//! Two clocks. The **wall clock** says when an SA ends, for home agents go by it too. It never runs
//! backwards here: where it was stepped back by up to [`HELD`], the latest time that was seen holds
//! until the clock has caught up; stepped back further, also while the daemon did not run, it is
//! wrong, or was wrong before, and nothing is issued until an operator has seen to it. A step
//! forward counts at once, for it ends SAs too early rather than too late; but it is not remembered
//! as seen before it has stood for [`BELIEVED`], so that the way back stays open.
//!
//! The **service time** is seconds in which the directory ran, by the kernel's monotonic clock. SPIs
//! rest by it: no step makes them rest less, and time in which the daemon did not run does not count.

/// Seconds by which the wall clock may be stepped back without notice.
pub(super) const HELD: u64 = 3600;
/// Seconds until a step forward is remembered.
const BELIEVED: u64 = 3600;
/// Seconds by which the clocks may differ between two looks without one having been stepped.
const JITTER: u64 = 2;

/// Now, by both clocks, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    /// Since 1970-01-01 UTC.
    pub(super) now: u64,
    /// The service time.
    pub(super) service: u64,
}

/// What outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// The latest wall clock time that is believed.
    pub(super) seen: u64,
    /// The service time.
    pub(super) service: u64,
}

/// The wall clock is too far behind what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Behind {
    /// Seconds.
    pub(super) by: u64,
}

/// Makes one time of two clocks.
#[derive(Debug)]
pub(super) struct Timekeeper {
    seen: u64,
    service: u64,
    /// The monotonic clock when it was looked at last.
    monotonic: Option<u64>,
    /// The service time at which the wall clock was found stepped forward.
    stepped: Option<u64>,
}

impl Timekeeper {
    /// Goes on from what the last process left; `None`: there was none.
    pub(super) fn new(kept: Option<Kept>, wall: u64) -> Self {
        // The service time of a new store begins at the wall clock's, as that of older ones did.
        let kept = kept.unwrap_or(Kept { seen: 0, service: wall });
        Self { seen: kept.seen, service: kept.service, monotonic: None, stepped: None }
    }

    /// Forgets what the wall clock showed before: it is right now.
    pub(super) fn trust(&mut self, wall: u64) {
        self.seen = wall;
    }

    /// What is to outlive the process.
    pub(super) const fn kept(&self) -> Kept {
        Kept { seen: self.seen, service: self.service }
    }

    /// The time of now; `wall` and `monotonic` in seconds.
    ///
    /// # Errors
    /// [`Behind`].
    pub(super) fn look(&mut self, wall: u64, monotonic: u64) -> Result<At, Behind> {
        let is_first = self.monotonic.is_none();
        let elapsed = monotonic.saturating_sub(self.monotonic.unwrap_or(monotonic));
        self.monotonic = Some(monotonic);
        self.service = self.service.saturating_add(elapsed);
        if wall < self.seen {
            self.stepped = None;
            let by = self.seen - wall;
            let held = At { now: self.seen, service: self.service };
            return if by <= HELD { Ok(held) } else { Err(Behind { by }) };
        }
        let is_step = !is_first && wall - self.seen > elapsed + JITTER;
        let since = *self.stepped.get_or_insert(self.service);
        if !is_step || self.service - since >= BELIEVED {
            self.seen = wall;
            self.stepped = None;
        } else {
            self.seen = self.seen.saturating_add(elapsed);
        }
        Ok(At { now: wall, service: self.service })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn a_small_step_back_holds_the_time() {
        let mut time = Timekeeper::new(None, NOW);
        assert_eq!(time.look(NOW, 5), Ok(At { now: NOW, service: NOW }));
        assert_eq!(time.look(NOW - HELD, 6), Ok(At { now: NOW, service: NOW + 1 }));
        assert_eq!(time.look(NOW - 1, 7), Ok(At { now: NOW, service: NOW + 2 }));
        assert_eq!(time.look(NOW + 1, 8), Ok(At { now: NOW + 1, service: NOW + 3 }));
    }

    #[test]
    fn a_large_step_back_is_refused_until_the_clock_is_right_or_trusted() {
        let mut time = Timekeeper::new(None, NOW);
        time.look(NOW, 0).unwrap();
        assert_eq!(time.look(NOW - HELD - 1, 1), Err(Behind { by: HELD + 1 }));
        // Also by the next process.
        let mut next = Timekeeper::new(Some(time.kept()), 0);
        assert_eq!(next.look(0, 100), Err(Behind { by: NOW }));
        assert_eq!(next.look(NOW, 101).unwrap().now, NOW);
        next.trust(7);
        assert_eq!(next.look(7, 102).unwrap().now, 7);
    }

    /// A clock that runs away for a moment does not block the right time afterwards.
    #[test]
    fn a_step_forward_is_forgotten_if_it_is_taken_back() {
        let year = 365 * 86_400;
        let mut time = Timekeeper::new(None, NOW);
        time.look(NOW, 0).unwrap();
        assert_eq!(time.look(NOW + year, 1), Ok(At { now: NOW + year, service: NOW + 1 }));
        assert_eq!(time.look(NOW + year + 9, 10).unwrap().now, NOW + year + 9);
        assert_eq!(time.look(NOW + 11, 11), Ok(At { now: NOW + 11, service: NOW + 11 }));
        // One that stays is believed.
        for second in 12..12 + 2 * BELIEVED {
            time.look(NOW + year + second, second).unwrap();
        }
        assert!(matches!(time.look(NOW, 3 * BELIEVED), Err(Behind { .. })));
    }

    /// SPIs rest by seconds that the directory ran, whatever the clock says.
    #[test]
    fn service_time_is_not_stepped_and_goes_on_after_a_restart() {
        let mut time = Timekeeper::new(None, NOW);
        for (wall, monotonic, service) in
            [(NOW, 10, NOW), (NOW * 2, 11, NOW + 1), (5, 12, NOW + 2), (NOW, 20, NOW + 10)]
        {
            let _ = time.look(wall, monotonic);
            assert_eq!(time.kept().service, service);
        }
        let mut next = Timekeeper::new(Some(time.kept()), NOW + 9_000);
        assert_eq!(next.look(NOW + 9_000, 3), Ok(At { now: NOW + 9_000, service: NOW + 10 }));
    }
}
