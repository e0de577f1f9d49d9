//! `hearth setup`: whether this machine can be the home agent that `hearthd.yaml` describes, what it
//! lacks, and what of that can be mended while it runs: huge pages, and the drivers of NICs.

mod change;
mod checks;
mod machine;
mod wanted;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::client::{self, Error};
use crate::table::{Row, Table};

pub use checks::check;
pub use machine::Machine;
pub use wanted::Wanted;

/// What `hearth setup` takes.
#[derive(Debug, Args)]
pub struct SetupArguments {
    /// Change nothing; say what is there, what is missing and what mends it. Exit status 1 if
    /// something is missing.
    #[arg(long)]
    check: bool,
    /// hearthd's configuration, which names devices, cores and memory.
    #[arg(long, value_name = "FILE", default_value = "/etc/hearth/hearthd.yaml")]
    config: PathBuf,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it has to be.
    Ok,
    /// hearthd starts without it, and is slower or less safe.
    Advice,
    /// hearthd does not start without it.
    Missing,
}

/// One thing that a home agent needs of its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What, as in `huge pages` or `port access`.
    pub subject: String,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it, a command where there is one. None where all is well.
    pub remedy: Option<String>,
}

impl Row for Finding {
    const HEADS: &'static [&'static str] = &["SUBJECT", "STATE", "FOUND", "REMEDY"];

    fn cells(&self) -> Vec<String> {
        let state = match self.state {
            State::Ok => "ok",
            State::Advice => "advice",
            State::Missing => "missing",
        };
        let remedy = self.remedy.clone().unwrap_or_default();
        vec![self.subject.clone(), state.into(), self.found.clone(), remedy]
    }
}

/// Looks, and without `--check` mends what it can before it looks again.
///
/// # Errors
/// The configuration can't be read; a change was refused; something is missing still.
pub fn run(arguments: &SetupArguments) -> Result<(), Error> {
    let wanted =
        Wanted::read(&arguments.config).map_err(|error| Error::Setup(error.to_string()))?;
    let machine = Machine::here();
    if !arguments.check {
        for line in change::mend(&machine, &wanted).map_err(Error::Setup)? {
            eprintln!("hearth setup: {line}");
        }
    }
    let findings = check(&machine, &wanted);
    let text = if arguments.json {
        serde_json::to_string_pretty(&findings)? + "\n"
    } else {
        Table::of(&findings).to_string()
    };
    client::print(&text);
    match findings.iter().filter(|finding| finding.state == State::Missing).count() {
        0 => Ok(()),
        1 => Err(Error::Setup("one thing is missing".into())),
        many => Err(Error::Setup(format!("{many} things are missing"))),
    }
}
