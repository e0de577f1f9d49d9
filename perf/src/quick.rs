//! `hearth-perf quick`: the main rows in about a minute.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hearth_dpdk::{Eal, EalOptions};
use hearth_wire::Suite;
use rustix::thread::CpuSet;

use crate::efficiency::{Case, measure};
use crate::fault::Fault;
use crate::frames::Direction;
use crate::machine::{self, Machine};
use crate::pipeline;
use crate::report::{HEADINGS, Row, Summary};

/// DPDK's heap in MiB: two route tables of each family at a time, and the mbufs.
const MEMORY_MB: u32 = 512;

/// Inner sizes and the efficiency that AES_128_CBC_SHA has to reach at each.
const SIZES: [(usize, f64); 3] = [(64, 0.68), (576, 0.80), (1400, 0.88)];

/// The size at which the other suites are measured.
const OTHERS_SIZE: usize = 576;

/// Measures, prints and writes the rows, or only one of them.
pub(crate) fn run(seconds: u64, only: Option<Case>, output: &Path) -> Result<ExitCode, Fault> {
    let huge_pages = machine::has_huge_pages(MEMORY_MB);
    let eal = Eal::init(&EalOptions { huge_pages, memory_mb: MEMORY_MB, ..EalOptions::default() })?;
    let machine = Machine::read(&eal, huge_pages)?;
    stay_undisturbed();
    let pool = pipeline::pool(&eal)?;
    println!(
        "{}, {} cores, ipsec-mb {}, {}, {} huge pages",
        machine.cpu,
        machine.cores,
        machine.ipsec_mb_arch,
        machine.dpdk,
        if huge_pages { "with" } else { "without" },
    );
    println!("{HEADINGS}");
    let cases = only.map_or_else(cases, |case| vec![(case, None)]);
    let count = u32::try_from(cases.len()).unwrap_or(u32::MAX).max(1);
    let time = Duration::from_secs(seconds) / count;
    let mut rows = Vec::new();
    for (number, (case, must)) in cases.into_iter().enumerate() {
        let found = measure(&eal, &pool, &format!("perf{number}"), case, time);
        let row = Row::efficiency(case, must, found);
        println!("{}", row.line());
        rows.push(row);
    }
    let summary = Summary { machine, commit: machine::commit(), date: machine::date(), rows };
    match summary.write(output) {
        Ok(()) => {
            println!("written to {}", output.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("{}: {error}", output.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn cases() -> Vec<(Case, Option<f64>)> {
    let both = [Direction::Uplink, Direction::Downlink];
    let main = SIZES.into_iter().flat_map(|(inner_bytes, must)| {
        let suite = Suite::Aes128CbcSha;
        both.map(|direction| (Case { suite, direction, inner_bytes }, Some(must)))
    });
    let others = Suite::ALL.into_iter().filter(|suite| *suite != Suite::Aes128CbcSha);
    let others = others.flat_map(|suite| {
        both.map(|direction| (Case { suite, direction, inner_bytes: OTHERS_SIZE }, None))
    });
    main.chain(others).collect()
}

/// Keeps this thread on one core, before others where that is allowed. Both sides of a pair suffer
/// from a neighbour, but not both from the same one.
fn stay_undisturbed() {
    if let Ok(allowed) = rustix::thread::sched_getaffinity(None)
        && let Some(last) = (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu))
    {
        let mut one = CpuSet::new();
        one.set(last);
        let _ = rustix::thread::sched_setaffinity(None, &one);
    }
    let _ = rustix::process::setpriority_process(None, -20);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_and_both_directions_are_measured() {
        let cases = cases();
        assert_eq!(cases.len(), 14);
        for suite in Suite::ALL {
            for direction in [Direction::Uplink, Direction::Downlink] {
                let case = Case { suite, direction, inner_bytes: 576 };
                assert_eq!(cases.iter().filter(|(other, _)| *other == case).count(), 1);
            }
        }
        assert_eq!(cases.iter().filter(|(_, must)| must.is_some()).count(), 6);
    }
}
