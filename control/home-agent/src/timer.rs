//! What the wheel's timers are for, and how much is done for them at a time.

use hearth_wire::directory::SpiRange;

use crate::HomeAgent;
use crate::binding::Binding;
use crate::event::{Action, SaEnd};
use crate::sa_table::Sa;
use crate::slab::Id;
use crate::time::Timestamp;

/// What is to be looked at when a timer fires. A timer is cancelled with what it names, but for
/// [`Timer::BindAgain`], which does no harm to whoever has the place then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The end of an SA: its validity, or its grace time.
    SaEnd(Id<Sa>),
    /// The end of a binding's lifetime, or of the hold behind a de-registration; or before it.
    BindingEnd(Id<Binding>),
    /// The dataplane is to be told of a binding again.
    BindAgain(Id<Binding>),
}

/// A [`Timer`] in four octets: the place it names, below 2^30, and its kind in the two highest bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed(u32);

impl From<Timer> for Packed {
    fn from(timer: Timer) -> Self {
        let (kind, number) = match timer {
            Timer::SaEnd(id) => (0, id.number()),
            Timer::BindingEnd(id) => (1, id.number()),
            Timer::BindAgain(id) => (2, id.number()),
        };
        Self(kind << Id::<()>::BITS | number)
    }
}

impl Packed {
    fn unpack(self) -> Option<Timer> {
        let index = (self.0 & ((1 << Id::<()>::BITS) - 1)) as usize;
        Some(match self.0 >> Id::<()>::BITS {
            0 => Timer::SaEnd(Id::from_index(index)?),
            1 => Timer::BindingEnd(Id::from_index(index)?),
            _ => Timer::BindAgain(Id::from_index(index)?),
        })
    }
}

/// SAs that the last complete replay of the directory did not name, being ended part by part.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// The watch that was complete: what an earlier one named last is gone.
    watch: u32,
    /// Of these SPIs alone, where it was complete for them; `None`: of all.
    spis: Option<Vec<SpiRange>>,
    /// The first place that has not been looked at.
    next: usize,
}

impl Sweep {
    /// One behind `watch`, which is complete for `spis`. What is left of a `former` one behind the same
    /// watch is done with it: HACs are few, and they seldom end their replays at the same time.
    pub(crate) fn begin(former: Option<Self>, watch: u32, spis: Option<SpiRange>) -> Self {
        let former = former.filter(|former| former.watch == watch);
        let spis = match (former, spis) {
            (None, spis) => spis.map(|spis| vec![spis]),
            (Some(Self { spis: Some(mut all), .. }), Some(spis)) => {
                if !all.contains(&spis) {
                    all.push(spis);
                }
                Some(all)
            }
            (Some(_), _) => None,
        };
        Self { watch, spis, next: 0 }
    }

    /// Whether `sa` is one that is gone.
    pub(crate) fn takes(&self, sa: &Sa) -> bool {
        let of_these = |spis: &Vec<SpiRange>| spis.iter().any(|spis| spis.contains(sa.spi));
        sa.watch < self.watch && self.spis.as_ref().is_none_or(of_these)
    }
}

impl HomeAgent {
    /// Does what is due at `now`, but not more than `budget` steps of it: a timer that fires, or
    /// one that only moves down the wheel, or a look at one SA behind a replay. A step takes a few
    /// microseconds at most. Whether more is due: then it is to be called again, when others have
    /// had their turn. What has ended counts as gone meanwhile.
    pub fn tick(&mut self, now: Timestamp, budget: usize, out: &mut Vec<Action>) -> bool {
        let now = self.advance(now);
        self.run_timers(now, budget, out);
        self.run_links(now, budget, out);
        self.next_deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Takes up to `budget` steps of what is due.
    pub(crate) fn run_timers(&mut self, now: Timestamp, budget: usize, out: &mut Vec<Action>) {
        let mut left = budget;
        self.sweep(now, &mut left, out);
        while let Some(timer) = self.wheel.pop(now, &mut left).and_then(Packed::unpack) {
            match timer {
                Timer::SaEnd(id) => self.sa_timer(now, id, out),
                Timer::BindingEnd(id) => self.binding_timer(now, id, out),
                Timer::BindAgain(id) => self.bind_again(id, out),
            }
        }
        self.run_operations(now, &mut left, out);
    }

    fn sweep(&mut self, now: Timestamp, left: &mut usize, out: &mut Vec<Action>) {
        while let Some(sweep) = &mut self.sweep {
            let next = sweep.next;
            if next >= self.sas.places() {
                self.sweep = None;
                return;
            }
            if *left == 0 {
                return;
            }
            *left -= 1;
            sweep.next += 1;
            let Some(id) = Id::from_index(next) else { continue };
            if self.sas.at(id).is_some_and(|sa| sweep.takes(sa)) {
                self.end_sa(now, id, SaEnd::Revoked, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_back_from_four_octets() {
        for index in [0, 1, (1 << Id::<()>::BITS) - 1] {
            let (sa, binding) = (Id::from_index(index).unwrap(), Id::from_index(index).unwrap());
            for timer in [Timer::SaEnd(sa), Timer::BindingEnd(binding), Timer::BindAgain(binding)] {
                assert_eq!(Packed::from(timer).unpack(), Some(timer));
            }
        }
    }
}
