//! Rows of efficiency: raw ipsec-mb ÷ the whole pipeline.

use std::time::Duration;

use hearth_wire::Suite;

use crate::efficiency::{Case, measure};
use crate::figures::Rows;
use crate::frames::Direction;
use crate::lab::Lab;
use crate::report::{Row, Target};

/// Inner sizes, and what AES_128_CBC_SHA has to reach at each.
const TARGETS: [(usize, Target); 3] = [
    (64, Target::at_least(0.68, 0.80)),
    (576, Target::at_least(0.80, 0.90)),
    (1400, Target::at_least(0.88, 0.95)),
];

/// The size at which the other suites are measured.
const OTHERS_SIZE: usize = 576;

/// The rows that something is asked of.
pub(crate) fn main_cases() -> Vec<(Case, Option<Target>)> {
    let sizes = TARGETS.into_iter();
    sizes
        .flat_map(|(inner_bytes, target)| {
            let suite = Suite::Aes128CbcSha;
            Direction::BOTH.map(|direction| (Case { suite, direction, inner_bytes }, Some(target)))
        })
        .collect()
}

/// One size of the other suites.
pub(crate) fn other_cases() -> Vec<(Case, Option<Target>)> {
    let others = Suite::known().filter(|suite| *suite != Suite::Aes128CbcSha);
    others
        .flat_map(|suite| {
            Direction::BOTH
                .map(|direction| (Case { suite, direction, inner_bytes: OTHERS_SIZE }, None))
        })
        .collect()
}

/// Measures these rows in about `time` each.
pub(crate) fn rows(lab: &Lab, cases: Vec<(Case, Option<Target>)>, time: Duration, rows: &mut Rows) {
    for (case, target) in cases {
        let mut row = Row::new("efficiency", "raw ipsec-mb")
            .of(case.suite, case.direction, case.inner_bytes)
            .asked(target);
        row.sas = Some(1);
        rows.push(match measure(&lab.eal, &lab.pool, &lab.name(), case, time) {
            Ok(found) => row
                .cycles(found.cycles_per_packet, found.reference_cycles_per_packet)
                .measured(&found.ratio)
                .with("reference_api", found.reference_api.name()),
            Err(fault) => row.failed(fault),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_and_both_directions_are_measured() {
        let cases: Vec<_> = main_cases().into_iter().chain(other_cases()).collect();
        assert_eq!(cases.len(), 16);
        for suite in Suite::known() {
            for direction in Direction::BOTH {
                let case = Case { suite, direction, inner_bytes: 576 };
                assert_eq!(cases.iter().filter(|(other, _)| *other == case).count(), 1);
            }
        }
        assert_eq!(cases.iter().filter(|(_, target)| target.is_some()).count(), 6);
    }
}
