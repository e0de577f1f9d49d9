//! `hearth-perf`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hearth_perf::main()
}
