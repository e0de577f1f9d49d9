//! `hearth trace` and `hearth capture`.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use hearth_api::follow::{
    CaptureRequest, MAX_SECONDS, MAX_TRACE_PACKETS, Prefix, Stage, Target, TraceBegin, TraceLine,
    TraceRequest,
};
use hearth_api::{SaRow, paths};

use crate::capture::Blocks;
use crate::client::{Daemon, Error, StreamEnd};
use crate::completion;
use crate::decrypt::{DecryptArguments, decrypt};
use crate::new_file;
use crate::trace::{HEADS, Lines, text};

/// An SPI has 28 bits (RFC 6618 s.5.6.1).
const MAX_SPI: u32 = (1 << 28) - 1;

/// Reads a whole number from 1 to `most`, or says that this is what it takes.
fn whole<T>(most: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: Copy + FromStr + PartialOrd + From<u8> + Display,
{
    move |text| {
        let number = text.parse().ok().filter(|number| (T::from(1)..=most).contains(number));
        number.ok_or_else(|| format!("give a number, 1 to {most}"))
    }
}

/// Which packets; all of them without.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub struct TargetArguments {
    /// Packets under this SPI, and from and to the home addresses of its SA.
    #[arg(long, value_name = "N", value_parser = whole(MAX_SPI), add = completion::spis())]
    spi: Option<u32>,
    /// The same for all SAs of a mobile node.
    #[arg(long, value_name = "ID", add = completion::mn_ids())]
    mn_id: Option<String>,
    /// Packets from and to this address or prefix, outside or inside of tunnels.
    #[arg(long, value_name = "ADDRESS[/LENGTH]", add = completion::home_addresses())]
    address: Option<Prefix>,
}

impl TargetArguments {
    fn target(&self) -> Target {
        match self {
            Self { spi: Some(spi), .. } => Target::Spi(*spi),
            Self { mn_id: Some(mn_id), .. } => Target::MnId(mn_id.clone()),
            Self { address: Some(address), .. } => Target::Address(*address),
            Self { spi: None, mn_id: None, address: None } => Target::All,
        }
    }
}

/// What `hearth trace` takes.
#[derive(Debug, Clone, Args)]
pub struct TraceArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Packets to follow, a million at most.
    #[arg(
        long, value_name = "N", default_value_t = 10,
        value_parser = whole(MAX_TRACE_PACKETS)
    )]
    count: u32,
    /// Time limit in seconds, a day at most.
    #[arg(
        long, value_name = "S", default_value_t = 300,
        value_parser = whole(MAX_SECONDS)
    )]
    seconds: u32,
    /// Print the daemon's JSON, a line for each step.
    #[arg(long)]
    json: bool,
}

/// What `hearth capture` takes.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct CaptureArguments {
    /// What else can be done.
    #[command(subcommand)]
    pub other: Option<CaptureCommand>,
    /// Where packets are copied; several with commas between them.
    #[arg(long, value_name = "STAGE", value_delimiter = ',', default_value = "wire")]
    stage: Vec<StageArgument>,
    #[command(flatten)]
    target: TargetArguments,
    /// Packets to copy; no limit without.
    #[arg(long, value_name = "N", value_parser = whole(u64::MAX))]
    count: Option<u64>,
    /// Time limit in seconds, a day at most.
    #[arg(
        long, value_name = "S", default_value_t = 300,
        value_parser = whole(MAX_SECONDS)
    )]
    seconds: u32,
    /// The file, which only its owner may read; `-` for standard output.
    #[arg(long, value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    /// Replace the file if there is one.
    #[arg(long)]
    force: bool,
}

/// What can be done with a capture.
#[derive(Debug, Clone, Subcommand)]
pub enum CaptureCommand {
    /// Make a capture of envelopes one that Wireshark can read, with the keys of their SAs.
    ///
    /// The packets keep what is around them; their contents stand in the clear behind the header of
    /// RFC 6618, where wireshark/hearth.lua shows them. The keys come from hearth hac export-keys.
    Decrypt(DecryptArguments),
}

/// Where packets are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StageArgument {
    /// Frames as ports receive and send them; in the clear on the home side.
    Wire,
    /// Envelopes before decryption and after encryption.
    Protected,
    /// The contents of envelopes in the clear.
    Decrypted,
    /// Wire and protected. What was decrypted is not among them: it has to be named.
    All,
}

impl CaptureArguments {
    fn stages(&self) -> Vec<Stage> {
        let named = |stage, argument| {
            let all = self.stage.contains(&StageArgument::All) && stage != Stage::Decrypted;
            (all || self.stage.contains(&argument)).then_some(stage)
        };
        [
            named(Stage::Wire, StageArgument::Wire),
            named(Stage::Protected, StageArgument::Protected),
            named(Stage::Decrypted, StageArgument::Decrypted),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Follows packets and prints their way.
///
/// # Errors
/// [`Error`].
pub fn trace(daemon: &Daemon, arguments: &TraceArguments) -> Result<(), Error> {
    let TraceArguments { target, count, seconds, json } = arguments;
    let request = TraceRequest { target: target.target(), packets: *count, seconds: *seconds };
    let (mut lines, mut printer) = (Lines::default(), Printer { json: *json, ended: false });
    let ended = daemon.stream(paths::TRACE, &request, *seconds, |chunk| {
        let mut out = io::stdout().lock();
        let mut result = Ok(());
        lines.take(chunk, |line| {
            if result.is_ok() {
                result = printer.print(&mut out, line);
            }
        });
        result.and_then(|()| out.flush())
    })?;
    if ended == StreamEnd::Finished && !printer.ended {
        eprintln!("hearthd ended the trace without a word");
    }
    Ok(())
}

/// Prints a trace: steps to standard output, what is about them to standard error.
struct Printer {
    json: bool,
    ended: bool,
}

impl Printer {
    fn print(&mut self, out: &mut impl Write, line: &[u8]) -> io::Result<()> {
        let parsed: TraceLine = serde_json::from_slice(line)?;
        self.ended = matches!(parsed, TraceLine::End(_));
        match &parsed {
            _ if self.json => {
                out.write_all(line)?;
                out.write_all(b"\n")?;
            }
            TraceLine::Begin(TraceBegin { target, prefixes, .. }) => {
                match target {
                    // The SA of an SPI has a home address.
                    Target::Spi(spi) if prefixes.is_empty() => eprintln!("{}", unknown_spi(*spi)),
                    _ => {}
                }
                eprintln!("{}", text(&parsed));
                writeln!(out, "{HEADS}")?;
            }
            TraceLine::Step(_) => writeln!(out, "{}", text(&parsed))?,
            TraceLine::End(_) => eprintln!("{}", text(&parsed)),
        }
        Ok(())
    }
}

/// Copies packets into a file.
///
/// # Errors
/// [`Error`]; the file is there already, or can't be written.
pub fn capture(daemon: &Daemon, arguments: &CaptureArguments) -> Result<(), Error> {
    if let Some(CaptureCommand::Decrypt(arguments)) = &arguments.other {
        return decrypt(arguments);
    }
    let CaptureArguments { file: Some(file), force, seconds, .. } = arguments else {
        return Err(Error::Arguments("--file is needed"));
    };
    let request = CaptureRequest {
        stages: arguments.stages(),
        target: arguments.target.target(),
        packets: arguments.count,
        seconds: *seconds,
    };
    new_file::check(file, *force)?;
    let (mut blocks, mut out) = (Blocks::default(), None);
    let ended = daemon.stream(paths::CAPTURE, &request, *seconds, |chunk| {
        // Only now, so that what is refused leaves an older file as it was.
        let out = match &mut out {
            Some(out) => out,
            none => none.insert(new_file::open(file, *force)?),
        };
        let written = out.write_all(chunk).and_then(|()| out.flush());
        written.map_err(|error| new_file::named(file, &error))?;
        blocks.take(chunk);
        Ok(())
    });
    if out.is_some() {
        let Blocks { packets, lost, .. } = blocks;
        eprintln!("{packets} packet{} captured", if packets == 1 { "" } else { "s" });
        if lost > 0 {
            eprintln!("{lost} more matched and were lost, because they came too fast");
        }
        if packets == 0
            && let Target::Spi(spi) = request.target
            && ended.is_ok()
            && !daemon.get::<Vec<SaRow>>(paths::SAS)?.iter().any(|sa| sa.spi == spi)
        {
            eprintln!("{}", unknown_spi(spi));
        }
    }
    ended.map(drop)
}

/// What is said of an SPI that nobody has.
fn unknown_spi(spi: u32) -> String {
    format!("no SA here has SPI {spi} at the moment; `hearth show sas` lists those there are")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        capture: CaptureArguments,
    }

    fn stages(text: &str) -> Vec<Stage> {
        Line::try_parse_from(["capture", "--file", "f", "--stage", text]).unwrap().capture.stages()
    }

    #[test]
    fn decrypted_traffic_is_copied_only_where_it_is_named() {
        assert_eq!(stages("all"), [Stage::Wire, Stage::Protected]);
        assert_eq!(stages("all,decrypted"), [Stage::Wire, Stage::Protected, Stage::Decrypted]);
        assert_eq!(stages("decrypted,wire"), [Stage::Wire, Stage::Decrypted]);
        let usual = Line::try_parse_from(["capture", "--file", "f"]).unwrap();
        assert_eq!(usual.capture.stages(), [Stage::Wire]);
        assert_eq!(usual.capture.target.target(), Target::All);
    }

    #[test]
    fn one_target_at_a_time() {
        let parse = |more: &[&str]| {
            Line::try_parse_from(["capture", "--file", "f"].iter().chain(more).copied())
        };
        let target = |more: &[&str]| parse(more).unwrap().capture.target.target();
        assert_eq!(target(&["--spi", "7"]), Target::Spi(7));
        assert_eq!(target(&["--mn-id", "a@b"]), Target::MnId("a@b".into()));
        let prefix = "2001:db8::/32".parse().unwrap();
        assert_eq!(target(&["--address", "2001:db8::/32"]), Target::Address(prefix));
        assert!(parse(&["--spi", "7", "--mn-id", "a@b"]).is_err());
        assert!(parse(&["--address", "nobody"]).is_err());
    }
}
