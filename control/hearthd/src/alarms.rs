//! What an operator should know and no event of the home agent tells: the state is not on the disk, the
//! log loses lines. Forwarding goes on under both.

use std::time::{Duration, Instant};

use hearth_api::events::What;

/// For how long no line may be lost before the log counts as well again.
const QUIET: Duration = Duration::from_secs(60);

const STATE: &str = "the state can't be written: a restart would lose what is missing";
const LOG: &str = "the log loses lines: nobody takes them in time";

/// The alarms that are on.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    state: bool,
    /// Lines that were lost, and when the last of them.
    lost: u64,
    last_lost: Option<Instant>,
}

impl Alarms {
    /// What is wrong now.
    pub(crate) fn now(&self) -> impl Iterator<Item = &'static str> {
        let state = self.state.then_some(STATE);
        state.into_iter().chain(self.last_lost.map(|_| LOG))
    }

    /// Looks whether the state can't be written and how many lines the log has `lost`, and tells what
    /// has changed.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        (state, lost): (bool, u64),
        mut tell: impl FnMut(What),
    ) {
        if state != self.state {
            tell(if state {
                What::Alarm { text: STATE.into() }
            } else {
                What::AlarmEnded { text: "the state is written again".into() }
            });
            self.state = state;
        }
        if lost != self.lost {
            if self.last_lost.is_none() {
                tell(What::Alarm { text: LOG.into() });
            }
            (self.lost, self.last_lost) = (lost, Some(now));
        } else if self.last_lost.is_some_and(|last| now.duration_since(last) >= QUIET) {
            tell(What::AlarmEnded {
                text: format!("the log is well again; {lost} lines are lost"),
            });
            self.last_lost = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_told_when_it_begins_and_when_it_ends() {
        let (mut alarms, start) = (Alarms::default(), Instant::now());
        let mut look = |seconds, found| {
            let mut told = Vec::new();
            alarms.look(start + Duration::from_secs(seconds), found, |what| told.push(what));
            told
        };
        assert_eq!(look(0, (false, 0)), []);
        assert_eq!(look(1, (true, 0)), [What::Alarm { text: STATE.into() }]);
        assert_eq!(look(2, (true, 5)), [What::Alarm { text: LOG.into() }]);
        assert_eq!(look(3, (true, 9)), []);
        let well = "the state is written again".into();
        assert_eq!(look(62, (false, 9)), [What::AlarmEnded { text: well }]);
        let well = "the log is well again; 9 lines are lost".into();
        assert_eq!(look(63, (false, 9)), [What::AlarmEnded { text: well }]);
        assert_eq!(look(64, (false, 10)), [What::Alarm { text: LOG.into() }]);
    }
}
