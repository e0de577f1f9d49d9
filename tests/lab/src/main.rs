//! `hearth-lab`: the lab of network namespaces, and the demo in it.
#![forbid(unsafe_code)]

use std::{io::Write as _, path::Path, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use hearth_lab::{
    Lab, LabError, LabOptions, Result, demo, netns::Netns, network::Network, plan::Visited, roam,
    wait,
};

/// Bring up the lab of network namespaces, take it down, or run the demo in it.
#[derive(Debug, Parser)]
#[command(name = "hearth-lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring up the lab and leave it there; target/lab/lab.json describes it. One that is up stays.
    Up,
    /// Move the mobile node of a lab that is up.
    Move {
        /// Where to: one network with the other one gone, or both up at once.
        to: Place,
    },
    /// Add the routes of the home agent again, after hearthd was started anew: they go with its TAPs.
    Routes,
    /// Remove every trace of the lab.
    Down,
    /// Bring up the lab, move a mobile node during a TCP transfer, report, and take the lab down.
    Demo,
    /// An hour on the move, compressed, under one connection; target/roam has report.json and roam.svg.
    Roam {
        /// Leave out what takes time: renumbering, NATs that forget, loss, the home link.
        #[arg(long)]
        short: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Place {
    /// The IPv6-only network.
    Net6,
    /// The IPv4 network behind the NAT.
    Nat4,
    /// Both, as after `up`.
    Both,
}

impl Place {
    fn networks(self) -> &'static [Visited] {
        match self {
            Self::Net6 => &[Visited::Net6],
            Self::Nat4 => &[Visited::Nat4],
            Self::Both => &Visited::ALL,
        }
    }
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match act(&command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hearth-lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(command: &Command) -> Result<bool> {
    let options = LabOptions::standard()?;
    wait::catch_signals()?;
    match command {
        Command::Up | Command::Demo | Command::Roam { .. } if Lab::is_up(&options) => {
            Err(LabError::Wrong(
                "a lab is up already, and this would take its place; `make lab-down` takes it down"
                    .into(),
            ))
        }
        Command::Up => {
            let lab = Lab::up(options)?;
            place(&lab.network, Place::Both)?;
            say(format_args!(
                "lab: up, described in {}",
                lab.options.files.description().display()
            ));
            Ok(true)
        }
        Command::Move { to } => {
            place(&standing(&options)?, *to)?;
            Ok(true)
        }
        Command::Routes => {
            standing(&options)?.route_home_agent(Duration::from_secs(10))?;
            Ok(true)
        }
        Command::Down => {
            Lab::down(&options)?;
            say(format_args!("lab: down"));
            Ok(true)
        }
        Command::Demo => {
            let report = demo::run(options, Path::new("target/demo"))?;
            say(format_args!("\n{report}"));
            Ok(report.ok)
        }
        Command::Roam { short } => {
            let length = if *short { roam::Length::Short } else { roam::Length::Full };
            let report = roam::run(options, Path::new("target/roam"), length)?;
            say(format_args!("\n{report}"));
            Ok(report.ok)
        }
    }
}

/// Prints a line; a reader that has gone is no matter.
fn say(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The network of a lab that is up.
fn standing(options: &LabOptions) -> Result<Network> {
    let network = Network::named(&options.prefix, options.mobile_nodes);
    if network.all().all(Netns::exists) {
        return Ok(network);
    }
    Err(LabError::Wrong("no lab is up; `make lab` brings it up".into()))
}

/// Takes the mobile node out of the networks where it should not be, then into those where it
/// should.
fn place(network: &Network, place: Place) -> Result<()> {
    let wanted = place.networks();
    for visited in Visited::ALL.into_iter().filter(|visited| !wanted.contains(visited)) {
        network.detach(0, visited)?;
    }
    wanted.iter().try_for_each(|visited| network.attach(0, *visited))
}
