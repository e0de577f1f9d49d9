//! `hearth`: what the home agent knows, asked over its Unix socket.

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use clap_complete::CompleteEnv;
use hearth_api::forwarding::{NeighbourRow, RouteRow};
use hearth_api::home_link::{HomeAgentRow, HomeLinkRow};
use hearth_api::operate::GroupRow;
use hearth_api::status::StatusRow;
use hearth_api::{BindingRow, CounterRow, DropRow, ListRequest, PortRow, SaRow, WorkerRow, paths};
use hearth_cli::arguments::{Arguments, Command, What};
use hearth_cli::clear;
use hearth_cli::client::{self, Daemon};
use hearth_cli::completion;
use hearth_cli::config;
use hearth_cli::explain::explain;
use hearth_cli::follow::{capture, trace};
use hearth_cli::hac;
use hearth_cli::operate::{drain, reinit, revoke, undrain};
use hearth_cli::setup;
use hearth_cli::subscriber;
use hearth_cli::table::{Row, Table, status_text};
use hearth_cli::top::top;
use hearth_manual::Section;
use serde::de::DeserializeOwned;

fn main() -> ExitCode {
    // Where a shell asks what can follow, this answers and ends.
    CompleteEnv::with_factory(Arguments::command).shells(completion::SHELLS).complete();
    let Arguments { socket, hac_socket, timeout, command } = Arguments::parse();
    let patience = Duration::from_secs(timeout);
    let daemon = Daemon { socket, name: "hearthd", patience };
    let hac = Daemon { socket: hac_socket, name: "hearth-hac", patience };
    let done = match command {
        Command::Show { what, ref search, count, .. }
            if !what.is_searched() && (search.is_some() || count.is_some()) =>
        {
            let text = "--search and --count are for bindings, SAs, routes and neighbours";
            Err(client::Error::Arguments(text))
        }
        Command::Show { what: What::Leases, json, mn_id, prefix, .. } => {
            hac::leases(&hac, json, mn_id, prefix)
        }
        Command::Show { mn_id, prefix, .. } if mn_id.is_some() || prefix.is_some() => {
            let text = "--mn-id and --prefix are for hearth show leases";
            Err(client::Error::Arguments(text))
        }
        Command::Show { what: What::Hac, json, all, .. } => hac::show(&hac, json, all),
        Command::Show { what, json, all, search, count, .. } => {
            let request = ListRequest { search: search.unwrap_or_default(), count };
            show_what(&daemon, what, (json, all), &request)
        }
        Command::Top(arguments) => top(&daemon, &arguments),
        Command::Explain(arguments) => explain(&daemon, &arguments),
        Command::Revoke(arguments) => revoke(&daemon, arguments),
        Command::Clear(command) => clear::run(&daemon, command),
        Command::Reinit(arguments) => reinit(&daemon, arguments),
        Command::Drain(arguments) => drain(&daemon, arguments),
        Command::Undrain { json } => undrain(&daemon, json),
        Command::Subscriber(command) => subscriber::run(&hac, command),
        Command::Trace(arguments) => trace(&daemon, &arguments),
        Command::Capture(arguments) => capture(&daemon, &arguments),
        Command::Setup(arguments) => setup::run(&arguments),
        Command::Config(command) => config::run(command),
        Command::Hac(command) => hac::run(&hac, command),
        Command::Completion { shell } => completion::print(shell),
        Command::Man { folder } => {
            hearth_manual::write(&Arguments::command(), Section::User, &folder).map_err(Into::into)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show_what(
    daemon: &Daemon,
    what: What,
    (json, all): (bool, bool),
    request: &ListRequest,
) -> Result<(), client::Error> {
    let text = match what {
        What::Status => {
            let status: StatusRow = daemon.get(paths::STATUS)?;
            if json {
                Ok(serde_json::to_string_pretty(&status)? + "\n")
            } else {
                Ok(status_text(&status))
            }
        }
        What::Bindings => search::<BindingRow>(daemon, paths::BINDINGS, json, request),
        What::Sas => search::<SaRow>(daemon, paths::SAS, json, request),
        What::Routes => search::<RouteRow>(daemon, paths::ROUTES, json, request),
        What::Neighbours => search::<NeighbourRow>(daemon, paths::NEIGHBOURS, json, request),
        What::Ports => show::<PortRow>(daemon, paths::PORTS, json, |_| true),
        What::Workers => show::<WorkerRow>(daemon, paths::WORKERS, json, |_| true),
        What::Groups => show::<GroupRow>(daemon, paths::GROUPS, json, |_| true),
        What::HomeLinks => show::<HomeLinkRow>(daemon, paths::HOME_LINKS, json, |_| true),
        What::HomeAgents => show::<HomeAgentRow>(daemon, paths::HOME_AGENTS, json, |_| true),
        What::Counters => {
            show::<CounterRow>(daemon, paths::COUNTERS, json, |row| all || row.count > 0)
        }
        What::Hac | What::Leases => return Ok(()),
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
    lay_out(rows, json)
}

/// Fetches the rows at `path` that `request` wants, and lays them out.
fn search<R: Row + DeserializeOwned + serde::Serialize>(
    daemon: &Daemon,
    path: &str,
    json: bool,
    request: &ListRequest,
) -> Result<String, client::Error> {
    lay_out(daemon.list::<R>(path, request)?, json)
}

fn lay_out<R: Row + serde::Serialize>(
    mut rows: Vec<R>,
    json: bool,
) -> Result<String, client::Error> {
    R::sort(&mut rows);
    if json {
        Ok(serde_json::to_string_pretty(&rows)? + "\n")
    } else if let Some(words) = R::NONE.filter(|_| rows.is_empty()) {
        Ok(format!("{words}\n"))
    } else {
        Ok(Table::of(&rows).to_string())
    }
}
