//! `hearth-mn fleet`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tracing_subscriber::EnvFilter;

use super::{Plan, keys, load};
use crate::commands::{Outcome, complain};

/// Many mobile nodes in one process, as a load on a HAC and a home agent.
#[derive(Debug, Args)]
pub struct Fleet {
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the YAML file and every file it names.
    Check,
    /// Print the nodes and their keys for `hearth subscriber import`.
    Subscribers {
        /// Write them to this new file (mode 0600) instead of standard output.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Where the YAML file is by default.
const FILE: &str = "/etc/hearth/fleet.yaml";

impl Fleet {
    /// Does what was asked for.
    #[must_use]
    pub fn run(self, config: Option<&Path>, filter: EnvFilter) -> Outcome {
        let file = config.unwrap_or(Path::new(FILE));
        let plan = match load(file) {
            Ok(plan) => plan,
            Err(error) => {
                complain(&error.to_string());
                return Outcome::WrongUse;
            }
        };
        match self.command {
            None => run(plan, self.json, filter),
            Some(Command::Check) => {
                println!("{}: ok", file.display());
                Outcome::Done
            }
            Some(Command::Subscribers { output }) => subscribers(&plan, output.as_deref()),
        }
    }
}

fn run(plan: Plan, json: bool, filter: EnvFilter) -> Outcome {
    let _log = hearth_log::begin("hearth-mn", filter);
    let report = plan.report.clone();
    let results = match super::run(plan) {
        Ok(results) => results,
        Err(error) => {
            complain(&error.to_string());
            return Outcome::Failed;
        }
    };
    let text = format!("{:#}\n", results.json());
    if let Some(path) = report
        && let Err(error) = std::fs::write(&path, &text)
    {
        complain(&format!("{} can't be written: {error}", path.display()));
        return Outcome::Failed;
    }
    let said = if json { text } else { results.summary() };
    match io::stdout().write_all(said.as_bytes()) {
        Ok(()) if results.all_registered() => Outcome::Done,
        _ => Outcome::Failed,
    }
}

fn subscribers(plan: &Plan, output: Option<&Path>) -> Outcome {
    let outcome = match output {
        None => keys::write_subscribers(plan, &mut io::stdout().lock()),
        Some(path) => create(path).and_then(|file| {
            let mut file = BufWriter::new(file);
            keys::write_subscribers(plan, &mut file)
        }),
    };
    match (outcome, output) {
        (Ok(()), Some(path)) => {
            println!("hearth subscriber import {}", path.display());
            Outcome::Done
        }
        (Ok(()), None) => Outcome::Done,
        (Err(error), _) => {
            let name = output.map_or("standard output".into(), |path| path.display().to_string());
            complain(&format!("{name} can't be written: {error}"));
            Outcome::Failed
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
