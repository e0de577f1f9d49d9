//! The cases of `tests/cases`, each a test of its own: what comes in and what is expected, with
//! the octets of every packet, against the core and a clock of the test's own.
//!
//! docs/conformance.md says how a case is written; `octets.py` of `tests/conformance` builds the
//! octets with Scapy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod actions;
mod commands;
mod given;
mod home_link;
mod player;

use std::path::Path;
use std::process::ExitCode;

use hearth_conformance::case::{self, Case};
use hearth_conformance::scapy;
use libtest_mimic::{Arguments, Failed, Trial};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let files = case::files(Path::new(FOLDER)).expect("the folder of the cases");
    let mut trials: Vec<_> = files
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            Trial::test(name, move || play(&path))
        })
        .collect();
    trials.push(Trial::test("the_octets_are_those_of_scapy", || {
        scapy::check(Path::new(FOLDER)).map_err(Failed::from)
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn play(path: &Path) -> Result<(), Failed> {
    let case = Case::read(path).map_err(|error| error.to_string())?;
    player::play(&case).map_err(Failed::from)
}
