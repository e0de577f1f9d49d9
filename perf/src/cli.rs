//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use hearth_wire::Suite;

use crate::capture;
use crate::directory;
use crate::efficiency::Case;
use crate::fault::Fault;
use crate::figures::{
    SIZES, binding_updates, bootstraps, churn, cryptodev, efficiency, elephant, flood, handover,
    limit, mix, mobile_node, passes, ring, scale, soak, updates, wireguard,
};
use crate::frames::Direction;
use crate::generator::{Plan, Sizes};
use crate::nic::{Mac, Nics};
use crate::run::{self, measured};

/// Measure a Hearth datapath against what the machine can do.
#[derive(Debug, Parser)]
#[command(name = "hearth-perf", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything, in about ten minutes, with the page of plots.
    Bench(Whole),
    /// The main rows in about a minute, with the page of plots.
    Quick(Whole),
    /// One row of efficiency: to look closer, or to profile.
    Efficiency(Efficiency),
    /// One figure.
    #[command(flatten)]
    Figure(Figure),
    /// RFC 2544 throughput, loss and latency of the whole dataplane between two ports.
    Ring(Ring),
    /// Write protected packets to a pcap file, for generators that replay it.
    Capture(capture::Options),
    /// Give a hearthd under test the SAs of the generator's mobile nodes. Their keys are no secret.
    Directory(directory::Options),
}

#[derive(Debug, Subcommand)]
enum Figure {
    /// ipsec-mb alone: every suite, four sizes.
    Raw(Timed),
    /// A worker's turns on prepared packets: cycles and drops.
    Pipeline(Timed),
    /// What floods cost, and what they cost good packets.
    Flood(Timed),
    /// What each stage of a turn takes.
    Stages(Timed),
    /// Many SAs against one, and the memory they take.
    Scale(ScaleOptions),
    /// All suites in each burst against the same one by one.
    Mix(Timed),
    /// One SA over two workers against one.
    Elephant(Timed),
    /// boringtun and DPDK's cryptodev.
    Peers(Timed),
    /// What table changes cost forwarding.
    Churn(Timed),
    /// Packets lost while bindings move.
    Handover(Timed),
    /// Binding Updates a second, a storm of registrations, bindings that all end, a restart.
    Bu(BuOptions),
    /// Full bootstraps of a home agent controller against bare TLS handshakes; idle connections; how
    /// soon home agents have the SAs.
    Hac(Timed),
    /// A TCP stream through hearth-mn against strongSwan's userspace ESP and boringtun, in network
    /// namespaces. It takes root, and the daemons beside this program.
    Mn(Timed),
    /// Packets of all kinds through the whole dataplane: each has to be accounted for, and every
    /// buffer to come back. It leaves the cores to others.
    Soak(SoakOptions),
}

#[derive(Debug, Args)]
struct Whole {
    /// The time for each row, as a multiple of the usual one.
    #[arg(long, default_value_t = 1.0, value_parser = pace, value_name = "FACTOR")]
    pace: f64,
    /// Where the summary goes; report.html is written beside it.
    #[arg(long, default_value = "target/perf/summary.json", value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct Timed {
    /// About how long a row takes; the whole table, with raw and pipeline.
    #[arg(long, default_value_t = 5, value_parser = seconds(), value_name = "SECONDS")]
    seconds: u64,
    /// Where the summary goes.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct BuOptions {
    #[command(flatten)]
    timed: Timed,
    /// Mobile nodes of the storm and of the restart.
    #[arg(
        long, default_value_t = 50_000, value_name = "SAS",
        value_parser = clap::value_parser!(u32).range(1..=4_000_000)
    )]
    sas: u32,
    /// Mobile nodes that end in the same second.
    #[arg(
        long, default_value_t = 20_000, value_name = "SAS",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    ending: u32,
}

#[derive(Debug, Args)]
struct SoakOptions {
    /// Packets, at least.
    #[arg(
        long, default_value_t = 10_000_000, value_name = "PACKETS",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    packets: u64,
    /// Which packets.
    #[arg(long, default_value_t = 6618, value_name = "NUMBER")]
    seed: u64,
    /// Where the summary goes.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ScaleOptions {
    #[command(flatten)]
    timed: Timed,
    /// Numbers of SAs to compare with one.
    #[arg(
        long, value_delimiter = ',', default_values_t = scale::COUNTS, value_name = "N,...",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    sas: Vec<u32>,
    /// Inner sizes, 64 to 1400.
    #[arg(
        long, value_delimiter = ',', default_values_t = SIZES, value_name = "OCTETS,...",
        value_parser = inner_bytes
    )]
    inner: Vec<usize>,
}

#[derive(Debug, Args)]
struct Efficiency {
    /// The ciphersuite's name in RFC 6618.
    #[arg(long, default_value = "AES_128_CBC_SHA", value_parser = suite)]
    suite: Suite,
    /// The direction of data.
    #[arg(long, value_enum, default_value = "uplink")]
    direction: Direction,
    /// Octets of the inner packet.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(64..=1400))]
    inner: u16,
    /// About how long to measure.
    #[arg(long, default_value_t = 5, value_parser = seconds(), value_name = "SECONDS")]
    seconds: u64,
    /// Where the summary goes.
    #[arg(long, default_value = "target/perf/efficiency.json", value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct Ring {
    /// The ciphersuite's name in RFC 6618.
    #[arg(long, default_value = "AES_128_CBC_SHA", value_parser = suite)]
    suite: Suite,
    /// The direction of data.
    #[arg(long, value_enum, default_value = "uplink")]
    direction: Direction,
    /// Octets of the inner packet (64 to 1400), imix or jumbo.
    #[arg(long, default_value = "imix")]
    inner: Sizes,
    /// SAs, addressed in turns.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sas: u32,
    /// Workers, each on a core of its own.
    #[arg(long, default_value_t = 1, value_parser = workers)]
    workers: usize,
    /// Measure at this rate instead of searching for the throughput.
    #[arg(long, value_parser = rate, value_name = "PACKETS PER SECOND")]
    rate: Option<f64>,
    /// The part of packets that come out of order.
    #[arg(long, default_value_t = 0.0, value_parser = reorder, value_name = "PART")]
    reorder: f64,
    /// The part of packets that are lost before they come.
    #[arg(long, default_value_t = 0.0, value_parser = loss, value_name = "PART")]
    loss: f64,
    /// The first sequence number that is used: beyond those of earlier runs against a machine.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    first_seq: u32,
    /// Packets of a trial, at most.
    #[arg(long, default_value_t = 1 << 18, value_parser = packets, value_name = "PACKETS")]
    trial_packets: usize,
    /// PCI address of a NIC, given twice: towards the mobile nodes' side of the machine under test,
    /// and towards its home network. Without it the dataplane runs in this process.
    #[arg(long, value_name = "PCI ADDRESS", requires = "dut_mac")]
    port: Vec<String>,
    /// MAC address of the machine under test behind each NIC.
    #[arg(long, value_name = "MAC", requires = "port")]
    dut_mac: Vec<Mac>,
    /// Where the summary goes.
    #[arg(long, default_value = "target/perf/ring.json", value_name = "FILE")]
    output: PathBuf,
}

/// A suite by its name.
pub(crate) fn suite(name: &str) -> Result<Suite, String> {
    let names = Suite::known().map(Suite::name).collect::<Vec<_>>().join(", ");
    Suite::from_name(name).ok_or_else(|| format!("one of {names}"))
}

fn packets(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(packets @ 1..=0x100_0000) => Ok(packets),
        _ => Err("1 to 16777216".to_owned()),
    }
}

fn inner_bytes(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|size| (64..=1400).contains(size)).ok_or("64 to 1400".to_owned())
}

fn workers(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| (1..=64).contains(count)).ok_or("1 to 64".to_owned())
}

/// A day at most.
fn seconds() -> impl clap::builder::TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(1..=86_400)
}

/// A number from `least` to `most`.
fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{least} to {most}"))
}

fn pace(text: &str) -> Result<f64, String> {
    number(text, 0.1, 1000.0)
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, 1.0, 1e9)
}

fn reorder(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1.0)
}

/// With more of them lost there is hardly anything to measure.
fn loss(text: &str) -> Result<f64, String> {
    number(text, 0.0, 0.9)
}

/// The program: reads the command line, measures, writes the report.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let result = match command {
        Command::Bench(Whole { pace, output }) => {
            measured(&output, true, &[], |lab, rows| run::all(lab, pace, rows))
        }
        Command::Quick(Whole { pace, output }) => {
            measured(&output, true, &[], |lab, rows| run::quick(lab, pace, rows))
        }
        Command::Efficiency(options) => one_efficiency(&options),
        Command::Figure(figure) => one_figure(figure),
        Command::Ring(options) => ring_course(&options),
        Command::Capture(options) => capture::run(&options),
        Command::Directory(options) => directory::run(&options),
    };
    result.unwrap_or_else(|fault| {
        eprintln!("hearth-perf: {fault}");
        ExitCode::FAILURE
    })
}

fn one_efficiency(options: &Efficiency) -> Result<ExitCode, Fault> {
    let Efficiency { suite, direction, inner, seconds, ref output } = *options;
    let case = Case { suite, direction, inner_bytes: inner.into() };
    measured(output, false, &[], |lab, rows| {
        efficiency::rows(lab, vec![(case, None)], Duration::from_secs(seconds), rows);
    })
}

fn one_figure(figure: Figure) -> Result<ExitCode, Fault> {
    let (name, seconds, output) = match &figure {
        Figure::Raw(timed) => ("raw", timed.seconds, &timed.output),
        Figure::Pipeline(timed) => ("pipeline", timed.seconds, &timed.output),
        Figure::Flood(timed) => ("flood", timed.seconds, &timed.output),
        Figure::Stages(timed) => ("stages", timed.seconds, &timed.output),
        Figure::Scale(ScaleOptions { timed, .. }) => ("scale", timed.seconds, &timed.output),
        Figure::Mix(timed) => ("mix", timed.seconds, &timed.output),
        Figure::Elephant(timed) => ("elephant", timed.seconds, &timed.output),
        Figure::Peers(timed) => ("peers", timed.seconds, &timed.output),
        Figure::Churn(timed) => ("churn", timed.seconds, &timed.output),
        Figure::Handover(timed) => ("handover", timed.seconds, &timed.output),
        Figure::Bu(BuOptions { timed, .. }) => ("bu", timed.seconds, &timed.output),
        Figure::Hac(timed) => ("hac", timed.seconds, &timed.output),
        Figure::Mn(timed) => ("mn", timed.seconds, &timed.output),
        Figure::Soak(options) => ("soak", 0, &options.output),
    };
    let usual = || PathBuf::from(format!("target/perf/{name}.json"));
    let output = output.clone().unwrap_or_else(usual);
    let time = Duration::from_secs(seconds);
    measured(&output, false, &[], |lab, rows| match &figure {
        Figure::Raw(_) => limit::rows(lab, time, rows),
        Figure::Pipeline(_) => passes::rows(lab, time, rows),
        Figure::Flood(_) => flood::rows(lab, time, rows),
        Figure::Stages(_) => passes::stages(lab, time, rows),
        Figure::Scale(options) => scale::rows(lab, &options.sas, &options.inner, time, rows),
        Figure::Mix(_) => mix::rows(lab, &SIZES, time, rows),
        Figure::Elephant(_) => elephant::rows(lab, time, rows),
        Figure::Peers(_) => {
            wireguard::rows(lab, time, rows);
            cryptodev::rows(lab, rows);
        }
        Figure::Churn(_) => churn::rows(lab, time, rows),
        Figure::Handover(_) => handover::rows(lab, time, rows),
        Figure::Bu(options) => {
            let size = binding_updates::Size { storm: options.sas, ending: options.ending };
            binding_updates::rows(lab, size, time, rows);
        }
        Figure::Hac(_) => {
            bootstraps::rows(lab, time, rows);
            updates::rows(lab, time, rows);
        }
        Figure::Mn(_) => mobile_node::rows(lab, time, rows),
        Figure::Soak(options) => soak::rows(lab, options.packets, options.seed, rows),
    })
}

fn ring_course(options: &Ring) -> Result<ExitCode, Fault> {
    let nics = Nics::new(&options.port, &options.dut_mac);
    if nics.is_none() && !options.port.is_empty() {
        return Err(Fault::TwoPorts);
    }
    let course = ring::Course {
        plan: Plan {
            direction: options.direction,
            suite: options.suite,
            sas: options.sas,
            sizes: options.inner,
            packets: options.trial_packets,
            reorder: options.reorder,
            loss: options.loss,
            first_seq: options.first_seq,
        },
        workers: options.workers,
        rate: options.rate,
    };
    measured(&options.output, false, &options.port, |lab, rows| {
        ring::rows(lab, &[course], nics.as_ref(), rows);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_measured_is_refused_at_once() {
        for wrong in [
            "scale --sas 0",
            "scale --sas 1000,1000001",
            "scale --inner 63",
            "ring --rate 0",
            "ring --rate NaN",
            "ring --loss 1",
            "ring --reorder 2",
            "ring --workers 0",
            "ring --trial-packets 0",
            "efficiency --seconds 0",
            "handover --seconds 0",
            "bench --pace 0",
            "quick --pace inf",
            "soak --packets 0",
        ] {
            let words = ["hearth-perf"].into_iter().chain(wrong.split(' '));
            let error = Arguments::try_parse_from(words).expect_err(wrong);
            let value = wrong.rsplit([' ', ',']).next().unwrap();
            // What would be right stands there.
            assert!(error.to_string().contains(value), "{error}");
            assert!(
                [" to ", " in "].iter().any(|word| error.to_string().contains(word)),
                "{error}"
            );
        }
        for right in
            ["scale --sas 1,1000", "ring --loss 0.9 --reorder 1 --rate 1e6", "bench --pace 0.1"]
        {
            let words = ["hearth-perf"].into_iter().chain(right.split(' '));
            assert!(Arguments::try_parse_from(words).is_ok(), "{right}");
        }
    }
}
