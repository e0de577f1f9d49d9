//! `hearth`: what the home agent knows, asked over its Unix socket.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use hearth_api::{BindingRow, DropRow, PortRow, SaRow, WorkerRow, paths};
use hearth_cli::client;
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
        /// Drop reasons that have not occurred too.
        #[arg(long)]
        all: bool,
    },
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
}

fn main() -> ExitCode {
    let Arguments { socket, command: Command::Show { what, json, all } } = Arguments::parse();
    let shown = match what {
        What::Bindings => show::<BindingRow>(&socket, paths::BINDINGS, json, |_| true),
        What::Sas => show::<SaRow>(&socket, paths::SAS, json, |_| true),
        What::Ports => show::<PortRow>(&socket, paths::PORTS, json, |_| true),
        What::Workers => show::<WorkerRow>(&socket, paths::WORKERS, json, |_| true),
        What::Drops => show::<DropRow>(&socket, paths::DROPS, json, |row| all || row.packets > 0),
    };
    match shown {
        Ok(text) => {
            client::print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hearth: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Fetches the rows at `path` and lays out those that `keep` wants.
fn show<R: Row + DeserializeOwned + serde::Serialize>(
    socket: &std::path::Path,
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
