//! `hearth-lab`: the lab of network namespaces, and the demo in it.
#![forbid(unsafe_code)]

use std::{path::Path, process::ExitCode};

use clap::{Parser, Subcommand};
use hearth_lab::{Lab, LabOptions, Result, demo, wait};

/// Bring up the lab of network namespaces, take it down, or run the demo in it.
#[derive(Debug, Parser)]
#[command(name = "hearth-lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring up the lab and leave it there; target/lab/lab.json describes it.
    Up,
    /// Remove every trace of the lab.
    Down,
    /// Bring up the lab, move a mobile node during a TCP transfer, report, and take the lab down.
    Demo,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match act(&command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hearth-lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(command: &Command) -> Result<bool> {
    let options = LabOptions::standard()?;
    wait::catch_signals()?;
    match command {
        Command::Up => {
            let lab = Lab::up(options)?;
            println!("lab: up, described in {}", lab.options.files.description().display());
            Ok(true)
        }
        Command::Down => {
            Lab::down(&options)?;
            println!("lab: down");
            Ok(true)
        }
        Command::Demo => {
            let report = demo::run(options, Path::new("target/demo"))?;
            println!("\n{report}");
            Ok(report.ok)
        }
    }
}
