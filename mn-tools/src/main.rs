//! `hearth-mn`: a mobile node for Linux.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use hearth_manual::Section;
use hearth_mn::commands::{self, Outcome, Up, complain};
use hearth_mn::fleet::commands::Fleet;
use hearth_mn::place::config_file;
use tracing_subscriber::EnvFilter;

/// Exit codes, in `--help`.
const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 it went wrong; 2 the command line or the YAML file is wrong; 3 the mobile node \
is not up; 4 not permitted (it takes root); 5 `up --detach`: up, but not registered yet.";

/// A mobile node: bootstraps over TLS, registers, tunnels, hands over (RFC 6618).
#[derive(Debug, Parser)]
#[command(name = "hearth-mn", version, after_help = EXIT_CODES)]
struct Arguments {
    /// With --config: only check the file, as the `check` command does.
    #[arg(long, requires = "config")]
    check: bool,
    /// The YAML file, in the place of NAME or FILE.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or as RUST_LOG.
    #[arg(long, value_name = "LEVEL", global = true)]
    log: Option<String>,
    /// Write the manual pages into a folder, as a package does.
    #[arg(long, hide = true, value_name = "FOLDER")]
    man: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Which mobile node.
#[derive(Debug, Args)]
struct Which {
    /// A YAML file (with a slash, or ending in .yaml), or the NAME in /etc/hearth/mn/NAME.yaml;
    /// without it, /etc/hearth/mn.yaml, or the nodes that are up.
    #[arg(value_name = "NAME|FILE")]
    which: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run in the foreground until SIGTERM, SIGINT or `hearth-mn down`.
    Up {
        #[command(flatten)]
        which: Which,
        /// Run in the background (log: syslog or journal), and return once it is registered.
        #[arg(long, short)]
        detach: bool,
        /// Write the status to this file on every change.
        #[arg(long, value_name = "PATH")]
        status_file: Option<PathBuf>,
        #[arg(long, hide = true)]
        in_background: bool,
    },
    /// End the node, and wait until routes, DNS and interfaces are as they were.
    Down {
        #[command(flatten)]
        which: Which,
    },
    /// Show addresses, security association, round trip, losses and handovers.
    Status {
        #[command(flatten)]
        which: Which,
        /// As JSON, an object on a line; configs/mn.yaml explains it.
        #[arg(long)]
        json: bool,
    },
    /// Tell what happens, a line for each event.
    Monitor {
        #[command(flatten)]
        which: Which,
        /// As JSON, an object on a line.
        #[arg(long)]
        json: bool,
    },
    /// Check the YAML file and every file it names.
    Check {
        #[command(flatten)]
        which: Which,
    },
    /// Run many mobile nodes in this process, as a load on a HAC and a home agent.
    Fleet(Fleet),
    /// Make a pre-shared key, and say what to do with it.
    Keygen {
        /// The network access identifier that it is for.
        #[arg(value_name = "MN-ID")]
        mn_id: String,
        /// Write the key to this new file (mode 0600) instead of standard output.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.man {
        return ExitCode::from(manual(folder) as u8);
    }
    if let Err(error) = hearth_mn::hardening::harden() {
        complain(&format!("can't be hardened: {error}"));
        return ExitCode::FAILURE;
    }
    let outcome = match hearth_log::filter(arguments.log.as_deref()) {
        Ok(filter) => run(arguments, filter),
        Err(error) => wrong_use(&error),
    };
    ExitCode::from(outcome as u8)
}

fn run(arguments: Arguments, filter: EnvFilter) -> Outcome {
    let Arguments { check, config, log, man: _, command } = arguments;
    let file = |which: Which| match &config {
        Some(file) => file.clone(),
        None => config_file(which.which.as_deref()),
    };
    let word = |which: Which| which.which.or_else(|| config.as_deref().map(slashed));
    match command {
        Some(Command::Fleet(fleet)) => fleet.run(config.as_deref(), filter),
        Some(Command::Check { which }) => commands::check(&file(which)),
        _ if check => commands::check(&file(Which { which: None })),
        Some(Command::Up { which, detach: true, status_file, .. }) => {
            commands::detach(&file(which), status_file.as_deref(), log.as_deref())
        }
        Some(Command::Up { which, status_file, in_background, .. }) => {
            commands::up(Up { file: file(which), status_file, filter, in_background })
        }
        Some(Command::Down { which }) => commands::down(word(which).as_deref()),
        Some(Command::Status { which, json }) => commands::status(word(which).as_deref(), json),
        Some(Command::Monitor { which, json }) => commands::monitor(word(which).as_deref(), json),
        Some(Command::Keygen { mn_id, output }) => commands::keygen(&mn_id, output.as_deref()),
        None => wrong_use(
            "no command; say `up`, `down`, `status`, `monitor`, `check`, `keygen` or `fleet`",
        ),
    }
}

fn manual(folder: &Path) -> Outcome {
    match hearth_manual::write(&Arguments::command(), Section::Administration, folder) {
        Ok(()) => Outcome::Done,
        Err(error) => {
            complain(&format!("{}: {error}", folder.display()));
            Outcome::Failed
        }
    }
}

fn wrong_use(what: &str) -> Outcome {
    complain(what);
    Outcome::WrongUse
}

/// What follows --config is a file, also without a slash.
fn slashed(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}
