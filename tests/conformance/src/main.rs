//! `make conformance`: runs what `rows.tsv` names and prints the list.
//!
//! `run` runs the tests that need no lab; `report` reads the report of a run that had them all.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, Subcommand};
use hearth_conformance::case::{self, Case};
use hearth_conformance::junit::{self, Ran};
use hearth_conformance::rows::{self, Proof, Row, TestName};
use hearth_conformance::{map, report};

/// Where the profile of `.config/nextest.toml` puts its report.
const JUNIT: &str = "nextest/conformance/junit.xml";

#[derive(Parser)]
#[command(about = "The conformance list, row by row")]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Runs the tests that the rows name, but for those of the lab, and prints the list
    Run,
    /// Writes the rows into docs/rfc-map.md
    Map,
    /// Prints the list from the JUnit report of a run of everything
    Report {
        /// The report
        junit: PathBuf,
    },
}

fn main() -> ExitCode {
    match list(&Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the list; whether it is good.
fn list(command: &Subcommands) -> Result<bool, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = read(&root.join("tests/conformance/rows.tsv"))?;
    let rows = rows::parse(&text).map_err(|wrong| wrong.join("\n"))?;
    let folder = root.join("control/home-agent/tests/cases");
    let files = case::files(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let cases: Vec<_> = files
        .iter()
        .map(|file| Case::read(file))
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    let (ran, lab) = match command {
        Subcommands::Map => {
            let place = root.join("docs/rfc-map.md");
            let text = map::put(&read(&place)?, &rows, &cases)?;
            fs::write(&place, text).map_err(|error| format!("{}: {error}", place.display()))?;
            return Ok(true);
        }
        Subcommands::Run => (run(&root, &rows)?, false),
        Subcommands::Report { junit } => (junit::parse(&read(junit)?)?, true),
    };
    let report = report::of(&rows, &cases, &ran, lab);
    print!("{}", report.text);
    Ok(report.is_good)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs the tests that need no lab, and says how each ended.
fn run(root: &Path, rows: &[Row]) -> Result<Vec<Ran>, String> {
    let mut tests: BTreeMap<&'static str, BTreeSet<&TestName>> = BTreeMap::new();
    for proof in rows.iter().flat_map(|row| &row.proofs) {
        match proof {
            Proof::Test(test) if !test.is_in_lab() => {
                tests.entry(test.crate_name()).or_default().insert(test);
            }
            _ => {}
        }
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let cargo = || {
        let mut command = Command::new(&cargo);
        command.current_dir(root);
        command
    };
    let has_nextest = cargo().args(["nextest", "--version"]).output();
    if has_nextest.is_ok_and(|output| output.status.success()) {
        with_nextest(root, cargo(), &tests)
    } else {
        with_cargo_test(&cargo, &tests)
    }
}

fn with_nextest(
    root: &Path,
    mut nextest: Command,
    tests: &BTreeMap<&'static str, BTreeSet<&TestName>>,
) -> Result<Vec<Ran>, String> {
    nextest.args(["nextest", "run", "--profile", "conformance", "--show-progress", "none"]);
    let mut filters = vec!["binary_id(hearth-home-agent::cases)".to_owned()];
    for (package, names) in tests {
        nextest.args(["-p", package]);
        let functions: BTreeSet<_> = names.iter().map(|test| &test.function[..]).collect();
        let functions = functions.into_iter().collect::<Vec<_>>().join("|");
        filters.push(format!("(package({package}) and test(/(^|::)({functions})$/))"));
    }
    nextest.args(["-E", &filters.join(" or ")]);
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let report = target.join(JUNIT);
    if report.exists() {
        fs::remove_file(&report).map_err(|error| format!("{}: {error}", report.display()))?;
    }
    // A test that fails is in the report; without one there is nothing to say.
    nextest.status().map_err(|error| format!("cargo nextest: {error}"))?;
    junit::parse(&read(&report)?)
}

fn with_cargo_test(
    cargo: &dyn Fn() -> Command,
    tests: &BTreeMap<&'static str, BTreeSet<&TestName>>,
) -> Result<Vec<Ran>, String> {
    let mut ran = Vec::new();
    for (package, names) in tests {
        let failed = |error: std::io::Error| format!("cargo test -p {package}: {error}");
        let log =
            std::env::temp_dir().join(format!("conformance-{package}-{}", std::process::id()));
        let output = File::create(&log).map_err(failed)?;
        let mut test = cargo();
        test.args(["test", "--no-fail-fast", "--lib", "--bins", "--tests", "-p", package, "--"]);
        test.args(names.iter().map(|test| &test.function));
        if *package == "hearth-home-agent" {
            // The cases have the names of their files.
            test.args(rows::AREAS.iter().map(|(area, _)| format!("{area}-")));
        }
        test.stdin(Stdio::null()).stderr(output.try_clone().map_err(failed)?).stdout(output);
        test.status().map_err(failed)?;
        ran.extend(junit::parse_libtest(package, &read(&log)?));
        fs::remove_file(&log).map_err(failed)?;
    }
    Ok(ran)
}
