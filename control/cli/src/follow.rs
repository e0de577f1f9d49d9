//! `hearth trace` and `hearth capture`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use hearth_api::follow::{CaptureRequest, Prefix, Stage, Target, TraceLine, TraceRequest};
use hearth_api::paths;

use crate::capture::Blocks;
use crate::client::{self, Error, StreamEnd};
use crate::trace::{HEADS, Lines, text};

/// Which packets; all of them without.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub struct TargetArguments {
    /// Packets under this SPI, and from and to the home addresses of its SA.
    #[arg(long, value_name = "N")]
    spi: Option<u32>,
    /// The same for all SAs of a mobile node.
    #[arg(long, value_name = "ID")]
    mn_id: Option<String>,
    /// Packets from and to this address or prefix, outside or inside of tunnels.
    #[arg(long, value_name = "ADDRESS[/LENGTH]")]
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
    #[arg(long, value_name = "N", default_value_t = 10)]
    count: u32,
    /// Time limit in seconds, a day at most.
    #[arg(long, value_name = "S", default_value_t = 300)]
    seconds: u32,
    /// Print the daemon's JSON, a line for each step.
    #[arg(long)]
    json: bool,
}

/// What `hearth capture` takes.
#[derive(Debug, Clone, Args)]
pub struct CaptureArguments {
    /// Where packets are copied; several with commas between them.
    #[arg(long, value_name = "STAGE", value_delimiter = ',', default_value = "wire")]
    stage: Vec<StageArgument>,
    #[command(flatten)]
    target: TargetArguments,
    /// Packets to copy; no limit without.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Time limit in seconds, a day at most.
    #[arg(long, value_name = "S", default_value_t = 300)]
    seconds: u32,
    /// The file, which only its owner may read; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

/// Where packets are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StageArgument {
    /// Frames as ports receive and send them.
    Wire,
    /// Envelopes before decryption and after encryption.
    Protected,
    /// The contents of envelopes in the clear.
    Decrypted,
    /// Wire and protected. Decrypted traffic is not among them: it has to be named.
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
pub fn trace(socket: &Path, arguments: &TraceArguments) -> Result<(), Error> {
    let TraceArguments { target, count, seconds, json } = arguments;
    let request = TraceRequest { target: target.target(), packets: *count, seconds: *seconds };
    let (mut lines, mut printer) = (Lines::default(), Printer { json: *json, ended: false });
    let ended = client::stream(socket, paths::TRACE, &request, |chunk| {
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
        match parsed {
            _ if self.json => {
                out.write_all(line)?;
                out.write_all(b"\n")?;
            }
            TraceLine::Begin(_) => {
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
/// [`Error`]; the file can't be written.
pub fn capture(socket: &Path, arguments: &CaptureArguments) -> Result<(), Error> {
    let request = CaptureRequest {
        stages: arguments.stages(),
        target: arguments.target.target(),
        packets: arguments.count,
        seconds: arguments.seconds,
    };
    let (mut blocks, mut out) = (Blocks::default(), None);
    client::stream(socket, paths::CAPTURE, &request, |chunk| {
        blocks.take(chunk);
        // Only now, so that what is refused leaves an older file as it was.
        let out = match &mut out {
            Some(out) => out,
            none => none.insert(open(&arguments.file)?),
        };
        out.write_all(chunk)?;
        out.flush()
    })?;
    let Blocks { packets, lost, .. } = blocks;
    eprintln!("{packets} packet{} captured", if packets == 1 { "" } else { "s" });
    if lost > 0 {
        eprintln!("{lost} more matched and were lost, because they came too fast");
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    Ok(Box::new(file.map_err(named)?))
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
