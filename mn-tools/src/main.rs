//! `hearth-mn`: a mobile node for Linux.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// A mobile node: bootstraps over TLS, registers, tunnels, hands over (RFC 6618).
#[derive(Debug, Parser)]
#[command(name = "hearth-mn", version)]
struct Arguments {
    /// With --config: only check the file, as the `check` command does.
    #[arg(long, requires = "config")]
    check: bool,
    /// The YAML file.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or as RUST_LOG.
    #[arg(long, value_name = "LEVEL", global = true)]
    log: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run in the foreground until SIGTERM or SIGINT.
    Up {
        /// Write the status to this file on every change.
        #[arg(long, value_name = "PATH")]
        status_file: Option<PathBuf>,
    },
    /// Check the YAML file and every file it names.
    Check,
}

/// Exit code where the configuration or the command line is wrong.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = hearth_mn::hardening::harden() {
        eprintln!("hearth-mn: can't be hardened: {error}");
        return ExitCode::FAILURE;
    }
    let filter = match filter(arguments.log.as_deref()) {
        Ok(filter) => filter,
        Err(error) => return complain(&error),
    };
    let Some(file) = &arguments.config else {
        return complain("no configuration; say --config FILE");
    };
    match (&arguments.command, arguments.check) {
        (Some(Command::Check), _) | (_, true) => check(file),
        (Some(Command::Up { status_file }), false) => up(file, status_file.clone(), filter),
        (None, false) => complain("no command; say `up` or `check`"),
    }
}

fn complain(what: &str) -> ExitCode {
    eprintln!("hearth-mn: {what}");
    ExitCode::from(WRONG_USE)
}

fn check(file: &Path) -> ExitCode {
    match hearth_mn::config::load(file) {
        Ok(_) => {
            println!("{}: ok", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error.to_string()),
    }
}

/// The filter of `--log`, else of RUST_LOG, else `info`; or what is wrong with it.
fn filter(argument: Option<&str>) -> Result<EnvFilter, String> {
    let environment = || Some(("RUST_LOG", std::env::var(EnvFilter::DEFAULT_ENV).ok()?));
    let (from, text) = argument
        .map(|text| ("--log", text.to_owned()))
        .or_else(environment)
        .unwrap_or(("", "info".to_owned()));
    EnvFilter::try_new(&text).map_err(|error| format!("{from} {text}: {error}"))
}

fn up(file: &Path, status_file: Option<PathBuf>, filter: EnvFilter) -> ExitCode {
    let mut config = match hearth_mn::config::load(file) {
        Ok(config) => config,
        Err(error) => return complain(&error.to_string()),
    };
    config.status_file = status_file.or(config.status_file);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match hearth_mn::run::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
