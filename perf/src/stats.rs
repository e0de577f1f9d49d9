//! Measuring in turns, and the statistics of a book.

use std::time::{Duration, Instant};

use crate::cycles;
use crate::fault::Fault;

/// Undisturbed rounds that a median needs at least.
pub(crate) const LEAST_ROUNDS: usize = 7;
/// Rounds after which a row is done before its time.
const MOST_ROUNDS: usize = 101;
/// How much longer than planned a row may take on a busy machine.
const PATIENCE: u32 = 8;

/// One measurement of every side, in the order of the sides.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Round {
    pub(crate) values: Vec<f64>,
    /// Whether the kernel took the core away during a timed part.
    pub(crate) disturbed: bool,
}

/// All rounds that count.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rounds {
    pub(crate) values: Vec<Vec<f64>>,
    /// Rounds during which the kernel took the core away.
    pub(crate) disturbed: usize,
    /// Whether those were left out. They are not where too few others are there.
    pub(crate) disturbed_left_out: bool,
}

/// A ratio and how far it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    /// First and third quartile of the rounds' ratios.
    pub(crate) quartiles: [f64; 2],
    pub(crate) rounds: usize,
    pub(crate) disturbed: usize,
    pub(crate) disturbed_left_out: bool,
}

/// Says whether the kernel took the core away from this thread in the timed parts.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) disturbed: bool,
}

impl Watch {
    /// Watches over a timed part.
    pub(crate) fn over<T>(&mut self, timed: impl FnOnce() -> T) -> T {
        let before = cycles::preemptions();
        let result = timed();
        self.disturbed |= cycles::preemptions() != before;
        result
    }
}

/// How often a side is measured because the kernel took the core away the last time.
const ATTEMPTS: usize = 3;
/// A side that takes longer is measured once: the kernel leaves nobody alone for so long.
const LONG: Duration = Duration::from_millis(60);

/// Measures one side, again where the kernel took the core away.
pub(crate) fn undisturbed(
    round: &mut Round,
    mut side: impl FnMut(&mut Watch) -> Result<f64, Fault>,
) -> Result<(), Fault> {
    for attempt in 1..=ATTEMPTS {
        let mut watch = Watch::default();
        let start = Instant::now();
        let value = side(&mut watch)?;
        if !watch.disturbed || attempt == ATTEMPTS || start.elapsed() > LONG {
            round.values.push(value);
            round.disturbed |= watch.disturbed;
            break;
        }
    }
    Ok(())
}

/// Takes rounds for about `time`.
pub(crate) fn alternate(
    time: Duration,
    mut round: impl FnMut() -> Result<Round, Fault>,
) -> Result<Rounds, Fault> {
    let start = Instant::now();
    let (mut values, mut disturbed) = (Vec::new(), Vec::new());
    while values.len() < MOST_ROUNDS
        && (start.elapsed() < time
            || values.len() < LEAST_ROUNDS && start.elapsed() < time * PATIENCE)
    {
        let taken = round()?;
        if taken.disturbed { disturbed.push(taken.values) } else { values.push(taken.values) }
    }
    let count = disturbed.len();
    let disturbed_left_out = values.len() >= LEAST_ROUNDS;
    if !disturbed_left_out {
        // A pass of 3DES takes longer than the kernel leaves anybody alone: the median is over all.
        values.append(&mut disturbed);
    }
    if values.len() < LEAST_ROUNDS {
        return Err(Fault::Busy { pairs: values.len() });
    }
    Ok(Rounds { values, disturbed: count, disturbed_left_out })
}

impl Rounds {
    /// The median of what `of` makes of a round.
    pub(crate) fn median(&self, of: impl Fn(&[f64]) -> f64) -> f64 {
        quantile(self.values.iter().map(|values| of(values)).collect(), 0.5)
    }

    /// The median of one side; NaN where there is none.
    pub(crate) fn side(&self, side: usize) -> f64 {
        self.median(|values| values.get(side).copied().unwrap_or(f64::NAN))
    }

    /// The ratio that `of` makes of a round.
    pub(crate) fn ratio(&self, of: impl Fn(&[f64]) -> f64) -> Ratio {
        let ratios: Vec<f64> = self.values.iter().map(|values| of(values)).collect();
        Ratio {
            median: quantile(ratios.clone(), 0.5),
            quartiles: [quantile(ratios.clone(), 0.25), quantile(ratios, 0.75)],
            rounds: self.values.len(),
            disturbed: self.disturbed,
            disturbed_left_out: self.disturbed_left_out,
        }
    }

    /// The ratio of two sides, by their numbers.
    pub(crate) fn quotient(&self, over: usize, under: usize) -> Ratio {
        let side = |values: &[f64], side: usize| values.get(side).copied().unwrap_or(f64::NAN);
        self.ratio(|values| side(values, over) / side(values, under))
    }
}

/// The value below which this part of the values lies, between neighbours where it falls there.
pub(crate) fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = part * values.len().saturating_sub(1) as f64;
    #[expect(clippy::cast_possible_truncation, reason = "within the number of values")]
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(vec![4.0, 1.0, 3.0, 2.0], 0.5), 2.5);
        assert_eq!(quantile(vec![7.0], 0.25), 7.0);
        assert!(quantile(vec![], 0.5).is_nan());
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let values = vec![vec![100.0, 200.0], vec![90.0, 150.0], vec![80.0, 100.0]];
        let rounds = Rounds { values, disturbed: 4, disturbed_left_out: true };
        // 0.5, 0.6, 0.8
        let ratio = rounds.quotient(0, 1);
        assert_eq!((ratio.median, ratio.quartiles), (0.6, [0.55, 0.7]));
        assert_eq!((ratio.rounds, ratio.disturbed), (3, 4));
        assert_eq!(rounds.side(1), 150.0);
    }

    #[test]
    fn disturbed_rounds_count_only_where_others_are_missing() {
        let mut number = 0;
        let mut take = |every: usize| {
            let rounds = alternate(Duration::from_millis(2), || {
                number += 1;
                let disturbed = number % every == 0;
                let value = if disturbed { 9.0 } else { 1.0 };
                Ok(Round { values: vec![value], disturbed })
            });
            rounds.unwrap()
        };
        let some = take(2);
        assert!(some.disturbed_left_out && some.disturbed > 0);
        assert!(some.values.iter().all(|values| values == &[1.0]));
        let all = take(1);
        assert!(!all.disturbed_left_out);
        assert_eq!(all.values.len(), all.disturbed);
    }

    #[test]
    fn a_disturbed_side_is_measured_again() {
        let mut round = Round::default();
        let mut attempts = [true, false, true, true, true].into_iter().zip(1_u8..);
        for _ in 0..2 {
            let side = |watch: &mut Watch| {
                let (disturbed, number) = attempts.next().unwrap();
                watch.disturbed = disturbed;
                Ok(f64::from(number))
            };
            undisturbed(&mut round, side).unwrap();
        }
        assert_eq!(round, Round { values: vec![2.0, 5.0], disturbed: true });
    }

    #[test]
    fn what_fails_is_not_tried_again() {
        let mut count = 0;
        let failed = alternate(Duration::from_secs(9), || {
            count += 1;
            Err(Fault::Pool)
        });
        assert_eq!((failed, count), (Err(Fault::Pool), 1));
    }
}
