//! What a whole run measures, and how it ends.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::fault::Fault;
use crate::figures::{
    Rows, SIZES, binding_updates, bootstraps, churn, cryptodev, efficiency, elephant, flood,
    handover, limit, mix, mobile_node, passes, ring, scale, soak, updates, wireguard,
};
use crate::lab::Lab;
use crate::report::{Row, Summary, verdicts};

/// Packets of a trial in a whole run.
const TRIAL: usize = 1 << 18;

/// Packets of a soak in a whole run.
const SOAK: u64 = 5_000_000;

/// A second of measuring, at the usual pace.
const SECOND: Duration = Duration::from_secs(1);

/// Starts the lab, measures, writes and prints what came out. A page of plots is written beside
/// the summary where `page` says so.
pub(crate) fn measured(
    output: &Path,
    page: bool,
    nics: &[String],
    measure: impl FnOnce(&Lab, &mut Rows),
) -> Result<ExitCode, Fault> {
    let report = page.then(|| output.with_file_name("report.html"));
    // What took ten minutes must have a place to go.
    for file in [Some(output), report.as_deref()].into_iter().flatten() {
        if let Err(error) = writable(file) {
            eprintln!("hearth-perf: {}: {error}", file.display());
            return Ok(ExitCode::FAILURE);
        }
    }
    let lab = Lab::start(nics)?;
    let mut rows = Rows::new();
    measure(&lab, &mut rows);
    let Rows(rows) = rows;
    let failed = failures(&rows, page);
    if page {
        say!("\n{}", verdicts(&rows));
    }
    let summary = Summary::new(lab.machine, rows);
    let mut files = vec![(output.to_owned(), summary.write(output))];
    if let Some(report) = report {
        files.push((report.clone(), summary.write_page(&report)));
    }
    let mut code = ExitCode::SUCCESS;
    for (file, result) in files {
        match result {
            Ok(()) => say!("written to {}", file.display()),
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                code = ExitCode::FAILURE;
            }
        }
    }
    if failed > 0 {
        eprintln!("{failed} rows could not be measured");
        code = ExitCode::FAILURE;
    }
    Ok(code)
}

/// Whether `file` can be written; makes the folders above it.
fn writable(file: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // What an earlier run has found out stays until this one has, too.
    std::fs::OpenOptions::new().append(true).create(true).open(file).map(drop)
}

/// Rows that could not be measured. In a `whole` run those don't count that this machine can't
/// have; where a figure was asked for and there is nothing but such rows, they do.
fn failures(rows: &[Row], whole: bool) -> usize {
    let failed = rows.iter().filter(|row| row.failed).count();
    let nothing = !whole && rows.iter().all(|row| row.why.is_some());
    if nothing { rows.len() } else { failed }
}

/// The main rows; `pace` scales the time that each takes, which is a minute together at 1.
pub(crate) fn quick(lab: &Lab, pace: f64, rows: &mut Rows) {
    let time = SECOND.mul_f64(pace);
    efficiency::rows(lab, efficiency::main_cases(), time * 3, rows);
    mix::rows(lab, &[576], time * 2, rows);
    scale::rows(lab, &[scale::MILLION], &[64], time * 4, rows);
    wireguard::rows(lab, time * 2, rows);
    binding_updates::rows(lab, binding_updates::Size::QUICK, time * 2, rows);
    bootstraps::rows(lab, time * 2, rows);
    updates::rows(lab, time, rows);
}

/// Everything, in about ten minutes at a pace of 1.
pub(crate) fn all(lab: &Lab, pace: f64, rows: &mut Rows) {
    let time = SECOND.mul_f64(pace);
    efficiency::rows(lab, efficiency::main_cases(), time * 6, rows);
    efficiency::rows(lab, efficiency::other_cases(), time * 3, rows);
    limit::rows(lab, time * 36, rows);
    passes::rows(lab, time * 36, rows);
    flood::rows(lab, time * 2, rows);
    passes::stages(lab, time * 5, rows);
    scale::rows(lab, &scale::COUNTS, &SIZES, time * 3, rows);
    mix::rows(lab, &SIZES, time * 4, rows);
    elephant::rows(lab, time * 6, rows);
    wireguard::rows(lab, time * 5, rows);
    cryptodev::rows(lab, rows);
    churn::rows(lab, time * 8, rows);
    handover::rows(lab, time * 5, rows);
    ring::rows(lab, &ring::courses(TRIAL), None, rows);
    binding_updates::rows(lab, binding_updates::Size::WHOLE, time * 5, rows);
    soak::rows(lab, SOAK, 1, rows);
    bootstraps::rows(lab, time * 6, rows);
    updates::rows(lab, time * 3, rows);
    mobile_node::rows(lab, time * 3, rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_can_not_have_fails_only_where_it_was_asked_for() {
        let row = || Row::new("elephant", "one worker");
        let (good, absent) = (row().counted(1.6), row().failed(Fault::Cores(2)));
        let failed = row().failed(Fault::Pool);
        for (rows, whole, expected) in [
            (vec![good.clone(), absent.clone()], true, 0),
            (vec![absent.clone()], true, 0),
            (vec![good.clone(), absent.clone()], false, 0),
            (vec![absent.clone()], false, 1),
            (vec![good, absent, failed.clone()], true, 1),
            (vec![failed], false, 1),
            (vec![], false, 0),
        ] {
            assert_eq!(failures(&rows, whole), expected, "{rows:?}");
        }
    }

    #[test]
    fn a_place_that_can_not_be_written_is_found_out_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/summary.json");
        writable(&file).unwrap();
        std::fs::write(&file, "older").unwrap();
        writable(&file).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"older");
        assert!(writable(&file.join("c.json")).is_err());
        assert!(writable(folder.path()).is_err());
    }
}
