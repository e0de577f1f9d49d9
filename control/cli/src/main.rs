//! `hearth`: what the home agent knows, asked over its Unix socket.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use hearth_api::{BindingRow, CounterRow, DropRow, PortRow, SaRow, WorkerRow, paths};
use hearth_cli::client::{self, Daemon};
use hearth_cli::follow::{CaptureArguments, TraceArguments, capture, trace};
use hearth_cli::table::{Row, Table};
use serde::de::DeserializeOwned;

/// Operate a Hearth home agent.
#[derive(Debug, Parser)]
#[command(name = "hearth", version)]
struct Arguments {
    /// The daemon's API socket.
    #[arg(long, global = true, default_value = "/run/hearth/hearthd.sock", value_name = "PATH")]
    socket: PathBuf,
    /// For how many seconds hearthd may be silent before that is an error.
    #[arg(
        long, global = true, default_value_t = 10, value_name = "S",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    timeout: u64,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what the daemon knows.
    Show {
        /// What to show.
        what: What,
        /// Print the daemon's JSON instead of a table. Times are seconds since 1970-01-01 UTC.
        #[arg(long)]
        json: bool,
        /// Drop reasons and counters that are 0 too.
        #[arg(long)]
        all: bool,
    },
    /// Follow the next packets through the stages of the home agent, with the verdict of each.
    ///
    /// Ends after --count packets, after --seconds, or at Ctrl-C. Shows addresses, lengths and the
    /// headers of envelopes, never payload.
    Trace(TraceArguments),
    /// Copy packets into a pcapng file.
    ///
    /// Ends after --count packets, after --seconds, or at Ctrl-C. What mobile nodes say can be read
    /// in the file with --stage decrypted, and with --stage wire too, as ports on the home side
    /// carry it in the clear; --stage protected alone has envelopes only. hearthd logs who captures.
    Capture(CaptureArguments),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Home registrations.
    Bindings,
    /// Security associations.
    Sas,
    /// Ports and their counters.
    Ports,
    /// Workers and how busy they are.
    Workers,
    /// Packets that stopped, by reason.
    Drops,
    /// Everything else that workers count: tunnels, ICMP errors, fragments.
    Counters,
}

fn main() -> ExitCode {
    let Arguments { socket, timeout, command } = Arguments::parse();
    let daemon = Daemon { socket, patience: Duration::from_secs(timeout) };
    let done = match command {
        Command::Show { what, json, all } => show_what(&daemon, what, json, all),
        Command::Trace(arguments) => trace(&daemon, &arguments),
        Command::Capture(arguments) => capture(&daemon, &arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show_what(daemon: &Daemon, what: What, json: bool, all: bool) -> Result<(), client::Error> {
    let text = match what {
        What::Bindings => show::<BindingRow>(daemon, paths::BINDINGS, json, |_| true),
        What::Sas => show::<SaRow>(daemon, paths::SAS, json, |_| true),
        What::Ports => show::<PortRow>(daemon, paths::PORTS, json, |_| true),
        What::Workers => show::<WorkerRow>(daemon, paths::WORKERS, json, |_| true),
        What::Counters => {
            show::<CounterRow>(daemon, paths::COUNTERS, json, |row| all || row.count > 0)
        }
        What::Drops => show::<DropRow>(daemon, paths::DROPS, json, |row| all || row.packets > 0),
    }?;
    client::print(&text);
    Ok(())
}

/// Fetches the rows at `path` and lays out those that `keep` wants.
fn show<R: Row + DeserializeOwned + serde::Serialize>(
    daemon: &Daemon,
    path: &str,
    json: bool,
    keep: impl Fn(&R) -> bool,
) -> Result<String, client::Error> {
    let mut rows: Vec<R> = daemon.get(path)?;
    rows.retain(keep);
    if json {
        Ok(serde_json::to_string_pretty(&rows)? + "\n")
    } else if let Some(words) = R::NONE.filter(|_| rows.is_empty()) {
        Ok(format!("{words}\n"))
    } else {
        Ok(Table::of(&rows).to_string())
    }
}
