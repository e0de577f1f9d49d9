//! What a whole run measures, and how it ends.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::fault::Fault;
use crate::figures::{
    Rows, SIZES, churn, cryptodev, efficiency, elephant, flood, handover, later, limit, mix,
    passes, ring, scale, soak, wireguard,
};
use crate::lab::Lab;
use crate::report::{Summary, verdicts};

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
    let lab = Lab::start(nics)?;
    let mut rows = Rows::new();
    measure(&lab, &mut rows);
    let Rows(rows) = rows;
    let failed = rows.iter().filter(|row| row.failed).count();
    if page {
        println!("\n{}", verdicts(&rows));
    }
    let summary = Summary::new(lab.machine, rows);
    let mut files = vec![(output.to_owned(), summary.write(output))];
    if page {
        let report = output.with_file_name("report.html");
        files.push((report.clone(), summary.write_page(&report)));
    }
    let mut code = ExitCode::SUCCESS;
    for (file, result) in files {
        match result {
            Ok(()) => println!("written to {}", file.display()),
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

/// The main rows; `pace` scales the time that each takes, which is a minute together at 1.
pub(crate) fn quick(lab: &Lab, pace: f64, rows: &mut Rows) {
    let time = SECOND.mul_f64(pace);
    efficiency::rows(lab, efficiency::main_cases(), time * 3, rows);
    mix::rows(lab, &[576], time * 2, rows);
    scale::rows(lab, &[scale::MILLION], &[64], time * 4, rows);
    wireguard::rows(lab, time * 2, rows);
    later::rows(rows);
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
    soak::rows(lab, SOAK, 1, rows);
    later::rows(rows);
}
