//! `hearthd`: the Mobile IPv6 home agent daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use hearth_manual::Section;
use hearthd::{config, daemon};

/// Signals and exit codes, in `--help`.
const SIGNALS: &str = "\
Signals: SIGHUP reads home prefixes and the directory's certificates again; SIGTERM stops it, by way of \
the planned shutdown where the configuration has one; SIGINT stops it at once.
Exit codes: 0 stopped, or the configuration is good; 1 it went wrong; 2 the command line or the \
configuration is wrong.";

/// The Mobile IPv6 home agent (RFC 6618) on DPDK.
#[derive(Debug, Parser)]
#[command(name = "hearthd", version, after_help = SIGNALS)]
struct Arguments {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "/etc/hearth/hearthd.yaml")]
    config: PathBuf,
    /// Check the configuration and do nothing else: exit status 0 if it is good, 2 if not.
    #[arg(long)]
    check: bool,
    /// What to log, as in `info` or `hearthd=debug`; default: RUST_LOG, else `info`.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Write the manual pages into a folder, as a package does.
    #[arg(long, hide = true, value_name = "FOLDER")]
    man: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.man {
        return manual(folder);
    }
    let filter = match hearth_log::filter(arguments.log.as_deref()) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("hearthd: {error}");
            return ExitCode::from(2);
        }
    };
    let config = match config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("hearthd: {error}");
            return ExitCode::from(2);
        }
    };
    if arguments.check {
        println!("{}: ok", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    let _log = hearth_log::begin("hearthd", filter);
    match daemon::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn manual(folder: &Path) -> ExitCode {
    match hearth_manual::write(&Arguments::command(), Section::Administration, folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearthd: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
