//! `hearth capture decrypt`: a capture that Wireshark can read, from one of protected packets and the
//! keys of their SAs.

mod file;
mod keys;
mod open;
mod outer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use self::file::Stopped;
use self::keys::Keys;
use self::open::{Closed, Verdict};
use crate::client::Error;
use crate::new_file;

/// What `hearth capture decrypt` takes.
#[derive(Debug, Clone, Args)]
pub struct DecryptArguments {
    /// The capture, pcap or pcapng, by whatever program; `-` for standard input.
    #[arg(value_name = "CAPTURE")]
    capture: PathBuf,
    /// The file that hearth hac export-keys made.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// The file to make, a pcapng file that only its owner may read; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Write only the IP packets that were inside of envelopes, without what was around them: any
    /// program can read that.
    #[arg(long)]
    inner: bool,
    /// The home agent's UDP port.
    #[arg(long, value_name = "N", default_value_t = 7872)]
    port: u16,
    /// Replace the file if there is one.
    #[arg(long)]
    force: bool,
}

/// What came of all packets.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    opened: u64,
    clear: u64,
    other: u64,
    closed: BTreeMap<Closed, u64>,
}

impl Tally {
    fn count(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Opened(_) => self.opened += 1,
            Verdict::Clear(_) => self.clear += 1,
            Verdict::Other => self.other += 1,
            Verdict::Closed(why) => *self.closed.entry(*why).or_default() += 1,
        }
    }

    /// Reasons that are listed; a capture of a port scan may have more than anybody reads.
    const MOST: usize = 20;

    fn words(&self) -> String {
        let Self { opened, clear, other, closed } = self;
        let mut text = format!(
            "{opened} opened, {clear} in the clear, {other} of something else, {} closed\n",
            closed.values().sum::<u64>()
        );
        for (why, count) in closed.iter().take(Self::MOST) {
            text += &format!("  {count:>8}  {why}\n");
        }
        if closed.len() > Self::MOST {
            text += "  and others\n";
        }
        text
    }
}

/// Decrypts a capture.
///
/// # Errors
/// The capture or the keys can't be read, or the file can't be written.
pub fn decrypt(arguments: &DecryptArguments) -> Result<(), Error> {
    let DecryptArguments { capture, keys, file, inner, port, force } = arguments;
    let keys = Keys::read(keys)?;
    new_file::check(file, *force)?;
    let source = file::source(capture)?;
    let mut out = new_file::open(file, *force)?;
    let mut tally = Tally::default();
    let work = file::Work { keys: &keys, port: *port, inner: *inner };
    let done = file::convert(source, &mut out, &work, &mut tally);
    eprint!("{}", tally.words());
    done.map_err(|stopped| match stopped {
        Stopped::Reading(error) => new_file::named(capture, &error),
        Stopped::Writing(error) => new_file::named(file, &error),
    })?;
    Ok(())
}
