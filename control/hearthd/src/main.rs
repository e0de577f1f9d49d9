//! `hearthd`: the Mobile IPv6 home agent daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hearthd::{config, daemon};

/// The Mobile IPv6 home agent (RFC 6618) on DPDK.
#[derive(Debug, Parser)]
#[command(name = "hearthd", version)]
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
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
