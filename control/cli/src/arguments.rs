//! What the command line takes.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::completion::{self, Shell};
use crate::explain::ExplainArguments;
use crate::follow::{CaptureArguments, TraceArguments};
use crate::operate::{DrainArguments, ReinitArguments, RevokeArguments};
use crate::setup::SetupArguments;
use crate::top::TopArguments;
use crate::{clear, config, hac, subscriber};

/// Exit codes, in `--help`.
const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 it went wrong, and standard error says why; 2 the command line is wrong.";

/// Operate a Hearth home agent.
#[derive(Debug, Parser)]
#[command(name = "hearth", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// hearthd's API socket.
    #[arg(long, global = true, default_value = "/run/hearth/hearthd.sock", value_name = "PATH")]
    pub socket: PathBuf,
    /// The HAC's admin socket.
    #[arg(long, global = true, default_value = "/run/hearth/hac.sock", value_name = "PATH")]
    pub hac_socket: PathBuf,
    /// For how many seconds a daemon may be silent before that is an error.
    #[arg(
        long, global = true, default_value_t = 10, value_name = "S",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub timeout: u64,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
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
        #[arg(long, value_name = "NAI", add = completion::subscribers())]
        mn_id: Option<String>,
        /// Of leases, those that have an address in common with this prefix, or this address.
        #[arg(long, value_name = "PREFIX")]
        prefix: Option<String>,
        /// Of bindings, SAs, routes and neighbours, those with this text in their mn-id, an address, a
        /// prefix, or as their SPI; of routes and neighbours, in their port's name too.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Of bindings, SAs, routes and neighbours, so many at most.
        #[arg(long, value_name = "N")]
        count: Option<usize>,
    },
    /// Show throughput, drops, workers and bindings, live.
    Top(TopArguments),
    /// Say what a drop reason or a status means, what brings it about, and what can be done.
    Explain(ExplainArguments),
    /// End bindings, or parts of them, and tell the mobile nodes (RFC 5846).
    ///
    /// A binding goes when its mobile node has acknowledged that, or has not done so in time.
    Revoke(RevokeArguments),
    /// Clear what is learnt anew: neighbours, or a binding.
    #[command(subcommand)]
    Clear(clear::Command),
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
    /// Check the YAML files, and help to write them.
    #[command(subcommand)]
    Config(config::Command),
    /// Operate the HAC.
    #[command(subcommand)]
    Hac(hac::Command),
    /// Print the script that completes hearth's arguments on Tab.
    ///
    /// It asks the daemons for mn-ids, home addresses and SPIs. The Debian package installs it; else:
    /// source <(hearth completion bash)
    Completion {
        /// For which shell.
        shell: Shell,
    },
    /// Write the manual pages of all commands into a folder.
    #[command(hide = true)]
    Man {
        /// The folder, which is made where there is none.
        folder: PathBuf,
    },
}

/// What can be shown.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum What {
    /// The home agent at a glance.
    Status,
    /// Home registrations.
    Bindings,
    /// Security associations.
    Sas,
    /// Ports and their counters.
    Ports,
    /// Workers and how busy they are.
    Workers,
    /// Routes of the forwarding table.
    Routes,
    /// Neighbours on the links of the ports, their state and age.
    Neighbours,
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

impl What {
    /// Whether it takes a search and a count.
    #[must_use]
    pub const fn is_searched(self) -> bool {
        matches!(self, Self::Bindings | Self::Sas | Self::Routes | Self::Neighbours)
    }
}
