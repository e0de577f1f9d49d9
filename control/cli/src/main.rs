//! `hearth`: what the home agent knows, asked over its Unix socket.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use hearth_api::{BindingRow, CounterRow, DropRow, PortRow, SaRow, WorkerRow, paths};
use hearth_cli::client;
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
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what the daemon knows.
    Show {
        /// What to show.
        what: What,
        /// Print the daemon's JSON instead of a table.
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
    /// Ends after --count packets, after --seconds, or at Ctrl-C. hearthd logs who captures
    /// decrypted traffic.
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
    let Arguments { socket, command } = Arguments::parse();
    let done = match command {
        Command::Show { what, json, all } => show_what(&socket, what, json, all),
        Command::Trace(arguments) => trace(&socket, &arguments),
        Command::Capture(arguments) => capture(&socket, &arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show_what(socket: &Path, what: What, json: bool, all: bool) -> Result<(), client::Error> {
    let text = match what {
        What::Bindings => show::<BindingRow>(socket, paths::BINDINGS, json, |_| true),
        What::Sas => show::<SaRow>(socket, paths::SAS, json, |_| true),
        What::Ports => show::<PortRow>(socket, paths::PORTS, json, |_| true),
        What::Workers => show::<WorkerRow>(socket, paths::WORKERS, json, |_| true),
        What::Counters => {
            show::<CounterRow>(socket, paths::COUNTERS, json, |row| all || row.count > 0)
        }
        What::Drops => show::<DropRow>(socket, paths::DROPS, json, |row| all || row.packets > 0),
    }?;
    client::print(&text);
    Ok(())
}

/// Fetches the rows at `path` and lays out those that `keep` wants.
fn show<R: Row + DeserializeOwned + serde::Serialize>(
    socket: &Path,
    path: &str,
    json: bool,
    keep: impl Fn(&R) -> bool,
) -> Result<String, client::Error> {
    let mut rows: Vec<R> = client::get(socket, path)?;
    rows.retain(keep);
    if json {
        Ok(serde_json::to_string_pretty(&rows)? + "\n")
    } else {
        Ok(Table::of(&rows).to_string())
    }
}
