//! Where the daemons' log lines go: to the journal with their fields, else to standard error as text.
//!
//! A thread of its own writes them. Whoever logs never waits for a disk, a pipe or a journal that is
//! stuck: lines beyond [`QUEUE`] are lost and counted, and once there is room again the log says how
//! many. Under systemd a line is a message of the journal's own protocol, whose fields can be asked for:
//! `journalctl MN_ID=mn1@example.net`.
#![forbid(unsafe_code)]

mod filter;
mod journal;
mod limit;
mod writer;

use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

pub use filter::filter;
pub use limit::LogLimit;
use writer::{Sink, Writer};

/// Lines that may wait to be written.
pub const QUEUE: usize = 8192;

/// Counts lines that found the queue full.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines among them that nobody was there for.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// The log of this process; writes what waits when it is dropped, for a second at most.
#[derive(Debug)]
#[must_use = "what waits is written when it is dropped"]
pub struct Log {
    _guard: WorkerGuard,
}

/// Begins to log what `filter` lets pass, as `program`: to the journal where that is what standard error
/// is connected to, else to standard error. Once in a process; a later call changes nothing.
pub fn begin(program: &'static str, filter: EnvFilter) -> Log {
    let sink = if journal::is_stderr() { Sink::Journal } else { Sink::StandardError };
    let (queue, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUE)
        .lossy(true)
        .thread_name("log")
        .finish(Writer::new(sink, program));
    // What is said of the second log of a process is lost with it.
    let _ = LOST.set(queue.error_counter());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(queue);
    match sink {
        Sink::Journal => {
            let _ = log.event_format(journal::Format::new(program)).try_init();
        }
        Sink::StandardError => {
            let _ = log.with_ansi(io::stderr().is_terminal()).try_init();
        }
    }
    Log { _guard: guard }
}

/// Lines that were lost because nobody took them in time.
#[must_use]
pub fn lost() -> u64 {
    let dropped = LOST.get().map_or(0, |counter| counter.dropped_lines() as u64);
    dropped + REFUSED.load(Ordering::Relaxed)
}
