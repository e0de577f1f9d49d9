//! How often a NAT in front of this node has to hear of it.
//!
//! Read first: RFC 5555 s.4.3 ("There is no way for the mobile node to know the exact time of the NAT
//! binding"), RFC 4787 s.4.3, RFC 6275 s.11.8; readings R-28, R-32.
//!
//! There is a way. Protected data is accepted from any address (R-28), and its answer goes to the
//! registered care-of address and port (R-32). So an ICMPv6 echo request to the home agent that
//! leaves by *another* port of ours is answered through the mapping of the registered one, without
//! having refreshed that: the answer comes exactly if the mapping is still there.
//!
//! ```text
//!   registered port  -----[ NAT ]----- home agent       idle for `interval`
//!   another port     --echo request-->                  goes by a mapping of its own
//!   registered port  <---echo reply---                  survived: idle longer next time, up to what
//!                                                       the home agent asks for
//!                     X  echo reply                     forgotten: Binding Update at once, and
//!                                                       never idle for so long again
//! ```
//!
//! The interval begins low, as a carrier's NAT may forget within half a minute, and ends at the home
//! agent's unless the NAT is less patient than that. A home agent that answers no echo requests at
//! all shows when it is asked right after a registration; then its own interval stands.

use std::time::{Duration, Instant};

use serde::Serialize;

/// The first interval, in shortest ones.
const FIRST: u32 = 2;
/// Echo requests of one test.
const TRIES: u32 = 2;
/// Least patience with the answer to one.
const LEAST_WAIT: Duration = Duration::from_millis(500);
/// Mappings in a row that seem to die within the shortest interval: the test is what fails.
const IMPLAUSIBLE: u32 = 3;

/// Why the interval is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The home agent asks for it, and the NAT bears it.
    HomeAgent,
    /// It grows towards the home agent's, as long as the NAT bears it.
    Growing,
    /// The NAT forgot after a longer time.
    NatForgot,
    /// The home agent asks for it, and answers no echo requests that would show what the NAT bears.
    NotTested,
}

/// What the caller is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Send an echo request by another port.
    Echo,
    /// Let the NAT hear of the registered port.
    Refresh,
    /// Send a Binding Update: there is no other way to refresh, or the mapping is gone.
    Update,
    /// The same, as the NAT has forgotten the mapping after so long.
    Forgotten(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tests {
    Untried,
    Work,
    Useless,
}

#[derive(Debug, Clone, Copy)]
struct Test {
    /// How long nothing had passed when it began; zero right after a registration.
    idle: Duration,
    tries: u32,
    deadline: Instant,
}

/// The mapping of one path.
#[derive(Debug, Clone)]
pub(super) struct Keepalive {
    /// What the home agent asks for.
    limit: Duration,
    shortest: Duration,
    interval: Duration,
    survived: Duration,
    forgotten_after: Option<Duration>,
    implausible: u32,
    tests: Tests,
    /// When the NAT last heard of the registered port.
    refreshed: Instant,
    /// Nothing has come by the mapping since then, either.
    is_pure: bool,
    test: Option<Test>,
}

impl Keepalive {
    pub(super) fn new(limit: Duration, shortest: Duration, now: Instant) -> Self {
        let shortest = shortest.min(limit);
        Self {
            limit,
            shortest,
            interval: (shortest * FIRST).min(limit),
            survived: Duration::ZERO,
            forgotten_after: None,
            implausible: 0,
            tests: Tests::Untried,
            refreshed: now,
            is_pure: true,
            test: None,
        }
    }

    /// The home agent accepted a registration by this mapping.
    pub(super) fn on_registered(&mut self, limit: Duration, wait: Duration, now: Instant) -> Step {
        self.limit = limit;
        self.interval = self.interval.min(limit);
        self.on_refreshed(now);
        if self.tests != Tests::Untried || self.test.is_some() {
            return Step::Nothing;
        }
        self.begin(Duration::ZERO, wait, now)
    }

    /// Something left by the registered port.
    pub(super) fn on_refreshed(&mut self, now: Instant) {
        self.refreshed = now;
        self.is_pure = true;
    }

    /// Packets came by the mapping: it is there.
    pub(super) fn on_received(&mut self, now: Instant) -> Step {
        self.is_pure = false;
        let Some(test) = self.test.take() else { return Step::Nothing };
        self.tests = Tests::Work;
        if test.idle.is_zero() {
            return Step::Nothing;
        }
        self.implausible = 0;
        self.survived = self.survived.max(test.idle);
        self.interval = (self.interval + self.interval / 2).min(self.most());
        self.on_refreshed(now);
        Step::Refresh
    }

    /// What it may grow to.
    fn most(&self) -> Duration {
        let nat = self.forgotten_after.map(|after| after * 4 / 5);
        nat.map_or(self.limit, |nat| nat.min(self.limit)).max(self.shortest)
    }

    /// Whether the counters have to be looked at often.
    pub(super) const fn is_testing(&self) -> bool {
        self.test.is_some()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.test.map_or(self.refreshed + self.interval(), |test| test.deadline)
    }

    pub(super) fn on_timer(&mut self, wait: Duration, now: Instant) -> Step {
        if now < self.deadline() {
            return Step::Nothing;
        }
        if let Some(test) = &mut self.test {
            if test.tries < TRIES {
                test.tries += 1;
                test.deadline = now + wait.max(LEAST_WAIT);
                return Step::Echo;
            }
            let idle = test.idle;
            self.test = None;
            return self.on_silence(idle, now);
        }
        let idle = now.saturating_duration_since(self.refreshed);
        match (self.tests, self.is_pure) {
            (Tests::Work, true) => self.begin(idle, wait, now),
            // What came meanwhile may have refreshed it: nothing to be learned.
            (Tests::Work, false) => {
                self.on_refreshed(now);
                Step::Refresh
            }
            (Tests::Untried | Tests::Useless, _) => {
                self.on_refreshed(now);
                Step::Update
            }
        }
    }

    fn begin(&mut self, idle: Duration, wait: Duration, now: Instant) -> Step {
        self.test = Some(Test { idle, tries: 1, deadline: now + wait.max(LEAST_WAIT) });
        Step::Echo
    }

    fn on_silence(&mut self, idle: Duration, now: Instant) -> Step {
        self.on_refreshed(now);
        if idle.is_zero() {
            self.tests = Tests::Useless;
            return Step::Nothing;
        }
        self.implausible = if self.interval <= self.shortest { self.implausible + 1 } else { 0 };
        if self.implausible >= IMPLAUSIBLE {
            (self.tests, self.forgotten_after) = (Tests::Useless, None);
            return Step::Update;
        }
        // What was survived before is no promise where the NAT has changed.
        let bearable = if self.survived < idle { self.survived } else { Duration::ZERO };
        self.survived = bearable;
        self.forgotten_after = Some(idle);
        self.interval = bearable.max(idle / 2).min(idle * 3 / 4).max(self.shortest);
        Step::Forgotten(idle)
    }

    /// The current interval.
    pub(super) fn interval(&self) -> Duration {
        if self.tests == Tests::Useless { self.limit } else { self.interval }
    }

    pub(super) fn why(&self) -> Why {
        match self.tests {
            Tests::Useless => Why::NotTested,
            _ if self.interval >= self.limit => Why::HomeAgent,
            _ if self.forgotten_after.is_some() => Why::NatForgot,
            _ => Why::Growing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(250);

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// A node that is idle behind a NAT which forgets after `patience`: the intervals that it uses,
    /// and how often the NAT forgot.
    fn idle_behind(patience: Duration, limit: u64, steps: usize) -> (Vec<f64>, usize, Keepalive) {
        let mut now = Instant::now();
        let mut it = Keepalive::new(seconds(limit), seconds(10), now);
        assert_eq!(it.on_registered(seconds(limit), WAIT, now), Step::Echo);
        assert_eq!(it.on_received(now), Step::Nothing);
        it.on_refreshed(now);
        let (mut intervals, mut forgotten, mut heard) = (vec![], 0, now);
        while intervals.len() < steps {
            now = it.deadline();
            let testing = it.is_testing();
            match it.on_timer(WAIT, now) {
                Step::Echo if !testing => {
                    intervals.push(it.interval().as_secs_f64());
                    if now - heard < patience {
                        assert_eq!(it.on_received(now), Step::Refresh);
                        heard = now;
                    }
                }
                Step::Echo => {}
                Step::Forgotten(after) => {
                    assert!(after >= patience);
                    forgotten += 1;
                    it.on_registered(seconds(limit), WAIT, now);
                    heard = now;
                }
                step => panic!("{step:?}"),
            }
        }
        (intervals, forgotten, it)
    }

    #[test]
    fn a_patient_nat_gets_the_interval_of_the_home_agent() {
        let (intervals, forgotten, it) = idle_behind(seconds(180), 110, 8);
        assert_eq!(intervals, [20.0, 30.0, 45.0, 67.5, 101.25, 110.0, 110.0, 110.0]);
        assert_eq!((forgotten, it.why()), (0, Why::HomeAgent));
    }

    #[test]
    fn a_carriers_nat_is_outrun_after_one_loss() {
        let (intervals, forgotten, it) = idle_behind(seconds(30), 110, 8);
        assert_eq!(intervals, [20.0, 30.0, 20.0, 24.0, 24.0, 24.0, 24.0, 24.0]);
        assert_eq!((forgotten, it.why()), (1, Why::NatForgot));
    }

    #[test]
    fn the_interval_has_a_lower_end() {
        let (intervals, _, it) = idle_behind(seconds(5), 110, 3);
        assert_eq!(intervals, [20.0, 10.0, 10.0]);
        assert_eq!(it.why(), Why::NatForgot);
    }

    /// Nothing can be as impatient as that: it is the test that does not work any more.
    #[test]
    fn a_test_that_never_succeeds_is_given_up() {
        let mut now = Instant::now();
        let mut it = Keepalive::new(seconds(110), seconds(10), now);
        it.on_registered(seconds(110), WAIT, now);
        it.on_received(now);
        let mut updates = 0;
        while it.why() != Why::NotTested {
            now = it.deadline();
            match it.on_timer(WAIT, now) {
                Step::Forgotten(_) | Step::Update => updates += 1,
                _ => {}
            }
            assert!(updates < 10);
        }
        assert_eq!(it.interval(), seconds(110));
    }

    #[test]
    fn a_home_agent_that_answers_no_echo_gets_binding_updates_at_its_interval() {
        let begin = Instant::now();
        let mut it = Keepalive::new(seconds(110), seconds(10), begin);
        assert_eq!(it.on_registered(seconds(110), WAIT, begin), Step::Echo);
        let mut now = it.deadline();
        assert_eq!(it.on_timer(WAIT, now), Step::Echo, "the second and last");
        now = it.deadline();
        assert_eq!(it.on_timer(WAIT, now), Step::Nothing);
        assert_eq!((it.why(), it.deadline() - now), (Why::NotTested, seconds(110)));
        assert_eq!(it.on_timer(WAIT, it.deadline()), Step::Update);
    }

    #[test]
    fn traffic_takes_the_place_of_keepalives_and_teaches_nothing() {
        let begin = Instant::now();
        let mut it = Keepalive::new(seconds(110), seconds(10), begin);
        it.on_registered(seconds(110), WAIT, begin);
        it.on_received(begin);
        it.on_refreshed(begin + seconds(15));
        assert_eq!(it.deadline(), begin + seconds(35));
        it.on_received(begin + seconds(30));
        assert_eq!(it.on_timer(WAIT, begin + seconds(35)), Step::Refresh);
        assert_eq!(it.interval(), seconds(20));
    }
}
