//! `hearth-perf`: the performance lab. Every figure is a ratio taken in one run.

mod buffers;
mod cycles;
mod efficiency;
mod fault;
mod frames;
mod keys;
mod machine;
mod pipeline;
mod quick;
mod raw;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hearth_wire::Suite;

use crate::efficiency::Case;
use crate::frames::Direction;

/// Measure a Hearth datapath against what the machine can do.
#[derive(Debug, Parser)]
#[command(name = "hearth-perf", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The main rows: efficiency of every suite, one SA, one core.
    Quick {
        /// About how long all rows together measure.
        #[arg(long, default_value_t = 50, value_name = "SECONDS")]
        seconds: u64,
        /// Where the summary goes.
        #[arg(long, default_value = "target/perf/summary.json", value_name = "FILE")]
        output: PathBuf,
    },
    /// One row of efficiency: to look closer, or to profile.
    Efficiency {
        /// The ciphersuite's name in RFC 6618.
        #[arg(long, default_value = "AES_128_CBC_SHA", value_parser = suite)]
        suite: Suite,
        /// The direction of data.
        #[arg(long, value_enum, default_value = "uplink")]
        direction: Direction,
        /// Octets of the inner packet.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(64..=1400))]
        inner: u16,
        /// About how long to measure.
        #[arg(long, default_value_t = 5, value_name = "SECONDS")]
        seconds: u64,
        /// Where the summary goes.
        #[arg(long, default_value = "target/perf/efficiency.json", value_name = "FILE")]
        output: PathBuf,
    },
}

fn suite(name: &str) -> Result<Suite, String> {
    let names = Suite::ALL.map(Suite::name).join(", ");
    Suite::from_name(name).ok_or_else(|| format!("one of {names}"))
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let result = match command {
        Command::Quick { seconds, output } => quick::run(seconds, None, &output),
        Command::Efficiency { suite, direction, inner, seconds, output } => {
            let case = Case { suite, direction, inner_bytes: inner.into() };
            quick::run(seconds, Some(case), &output)
        }
    };
    result.unwrap_or_else(|fault| {
        eprintln!("hearth-perf: {fault}");
        ExitCode::FAILURE
    })
}
