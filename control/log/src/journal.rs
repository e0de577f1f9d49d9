//! Lines as messages of systemd's journal.
//!
//! Read first: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>, systemd.journal-fields(7).

use std::env;
use std::fmt::{self, Debug, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Octets of a field's name at most.
const LONGEST_NAME: usize = 64;

/// Octets of a message at most, far below what the kernel takes as one datagram.
const LONGEST: usize = 32 << 10;

/// Whether standard error is the journal's, by the device and inode that systemd names.
pub(crate) fn is_stderr() -> bool {
    let Ok(stat) = rustix::fs::fstat(rustix::stdio::stderr()) else { return false };
    let Ok(named) = env::var("JOURNAL_STREAM") else { return false };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// A socket that the journal reads.
pub(crate) fn connect() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(SOCKET)?;
    Ok(socket)
}

/// A line that is no event.
pub(crate) fn warning(program: &str, words: &str) -> String {
    format!("PRIORITY=4\nSYSLOG_IDENTIFIER={program}\nMESSAGE={words}\n")
}

/// Makes a message of an event: its text with all fields in it, for who reads, and each field.
#[derive(Debug)]
pub(crate) struct Format {
    program: &'static str,
}

impl Format {
    pub(crate) const fn new(program: &'static str) -> Self {
        Self { program }
    }
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut message = Message::default();
        event.record(&mut message);
        let (level, target) = (event.metadata().level(), event.metadata().target());
        writeln!(out, "PRIORITY={}\nSYSLOG_IDENTIFIER={}", priority(level), self.program)?;
        writeln!(out, "TARGET={target}\nMESSAGE={}{}", message.text, message.shown)?;
        out.write_str(&message.fields)
    }
}

/// As syslog has them (RFC 5424 s.6.2.1).
fn priority(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// An event in parts.
#[derive(Default)]
struct Message {
    text: String,
    /// ` name=value` for each field.
    shown: String,
    /// `NAME=value`, a line for each.
    fields: String,
}

impl Message {
    fn take(&mut self, field: &Field, value: &dyn fmt::Display) {
        if self.text.len() + self.shown.len() > LONGEST {
            return;
        }
        if field.name() == "message" {
            let _ = write!(Line(&mut self.text), "{value}");
            return;
        }
        let _ = write!(Line(&mut self.shown), " {}={value}", field.name());
        self.fields.extend(field.name().chars().take(LONGEST_NAME).map(letter));
        self.fields.push('=');
        let _ = write!(Line(&mut self.fields), "{value}");
        self.fields.push('\n');
    }
}

/// What the name of a field may have.
fn letter(letter: char) -> char {
    let upper = letter.to_ascii_uppercase();
    if upper.is_ascii_alphanumeric() { upper } else { '_' }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, &format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, &value);
    }
}

/// Writes text that stays one line, whatever a peer has put into it: with a line of its own it could
/// say that it is another message.
struct Line<'a>(&'a mut String);

impl fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if letter.is_control() {
                self.0.extend(letter.escape_default());
            } else {
                self.0.push(letter);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields_are_what_the_journal_takes() {
        let name: String = "mn_id.x-9".chars().map(letter).collect();
        assert_eq!(name, "MN_ID_X_9");
    }

    #[test]
    fn a_peers_text_stays_one_line() {
        let mut text = String::new();
        write!(Line(&mut text), "a\nPRIORITY=0\u{1b}[31m\u{e9}").unwrap();
        assert_eq!(text, "a\\nPRIORITY=0\\u{1b}[31m\u{e9}");
    }
}
