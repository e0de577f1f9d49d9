//! `hearth`: what the home agent knows, asked over its Unix socket.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use hearth_api::home_link::{HomeAgentRow, HomeLinkRow};
use hearth_api::operate::GroupRow;
use hearth_api::{BindingRow, CounterRow, DropRow, PortRow, SaRow, WorkerRow, paths};
use hearth_cli::client::{self, Daemon};
use hearth_cli::explain::{ExplainArguments, explain};
use hearth_cli::follow::{CaptureArguments, TraceArguments, capture, trace};
use hearth_cli::hac;
use hearth_cli::operate::{
    DrainArguments, ReinitArguments, RevokeArguments, drain, reinit, revoke, undrain,
};
use hearth_cli::setup::{self, SetupArguments};
use hearth_cli::subscriber;
use hearth_cli::table::{Row, Table};
use serde::de::DeserializeOwned;

/// Operate a Hearth home agent.
#[derive(Debug, Parser)]
#[command(name = "hearth", version)]
struct Arguments {
    /// hearthd's API socket.
    #[arg(long, global = true, default_value = "/run/hearth/hearthd.sock", value_name = "PATH")]
    socket: PathBuf,
    /// The HAC's admin socket.
    #[arg(long, global = true, default_value = "/run/hearth/hac.sock", value_name = "PATH")]
    hac_socket: PathBuf,
    /// For how many seconds a daemon may be silent before that is an error.
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
        /// Of leases, those of this mobile node.
        #[arg(long, value_name = "NAI")]
        mn_id: Option<String>,
        /// Of leases, those that have an address in common with this prefix, or this address.
        #[arg(long, value_name = "PREFIX")]
        prefix: Option<String>,
    },
    /// Say what a drop reason or a status means, what brings it about, and what can be done.
    Explain(ExplainArguments),
    /// End bindings, or parts of them, and tell the mobile nodes (RFC 5846).
    ///
    /// A binding goes when its mobile node has acknowledged that, or has not done so in time.
    Revoke(RevokeArguments),
    /// Have mobile nodes fetch new SAs from the HAC: their next refresh is answered with status 176.
    Reinit(ReinitArguments),
    /// Send mobile nodes to other home agents before a shutdown (RFC 5142), and make no more
    /// bindings.
    ///
    /// hearthd goes on; with drain.home_agents in its YAML, SIGTERM does the same and then ends it.
    Drain(DrainArguments),
    /// Take a drain back.
    Undrain {
        /// Print the daemon's JSON.
        #[arg(long)]
        json: bool,
    },
    /// Who can get an SA from the HAC.
    #[command(subcommand)]
    Subscriber(subscriber::Command),
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
    /// Prepare this machine for hearthd: huge pages, and NICs bound to vfio-pci.
    ///
    /// Done before each start by hearth-setup.service. With --check nothing changes: it says what is
    /// missing, and what mends it.
    Setup(SetupArguments),
    /// Operate the HAC.
    #[command(subcommand)]
    Hac(hac::Command),
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
    /// Mobile nodes that listen to multicast groups.
    Groups,
    /// Home prefixes: where they are, and how long they are valid.
    HomeLinks,
    /// Other home agents on home links.
    HomeAgents,
    /// Packets that stopped, by reason.
    Drops,
    /// Everything else that workers count: tunnels, ICMP errors, fragments.
    Counters,
    /// What the HAC does, and how its sessions ended.
    Hac,
    /// Home addresses and prefixes that the HAC has leased, and to whom.
    Leases,
}

fn main() -> ExitCode {
    let Arguments { socket, hac_socket, timeout, command } = Arguments::parse();
    let patience = Duration::from_secs(timeout);
    let daemon = Daemon { socket, name: "hearthd", patience };
    let hac = Daemon { socket: hac_socket, name: "hearth-hac", patience };
    let done = match command {
        Command::Show { what: What::Leases, json, all: _, mn_id, prefix } => {
            hac::leases(&hac, json, mn_id, prefix)
        }
        Command::Show { mn_id, prefix, .. } if mn_id.is_some() || prefix.is_some() => {
            let text = "--mn-id and --prefix are for hearth show leases";
            Err(client::Error::Arguments(text))
        }
        Command::Show { what: What::Hac, json, all, .. } => hac::show(&hac, json, all),
        Command::Show { what, json, all, .. } => show_what(&daemon, what, json, all),
        Command::Explain(arguments) => explain(&daemon, &arguments),
        Command::Revoke(arguments) => revoke(&daemon, arguments),
        Command::Reinit(arguments) => reinit(&daemon, arguments),
        Command::Drain(arguments) => drain(&daemon, arguments),
        Command::Undrain { json } => undrain(&daemon, json),
        Command::Subscriber(command) => subscriber::run(&hac, command),
        Command::Trace(arguments) => trace(&daemon, &arguments),
        Command::Capture(arguments) => capture(&daemon, &arguments),
        Command::Setup(arguments) => setup::run(&arguments),
        Command::Hac(command) => hac::run(&hac, command),
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
    R::sort(&mut rows);
    if json {
        Ok(serde_json::to_string_pretty(&rows)? + "\n")
    } else if let Some(words) = R::NONE.filter(|_| rows.is_empty()) {
        Ok(format!("{words}\n"))
    } else {
        Ok(Table::of(&rows).to_string())
    }
}
