//! The end of the queue: one write for each line.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::Ordering;

use crate::{REFUSED, journal};

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sink {
    Journal,
    StandardError,
}

/// Writes lines, and says how many were lost as soon as one can be written again.
#[derive(Debug)]
pub(crate) struct Writer {
    sink: Sink,
    program: &'static str,
    /// Made anew after an error: a journal that was started again listens on another socket.
    socket: Option<UnixDatagram>,
    /// Lost lines that the log knows of.
    told: u64,
}

impl Writer {
    pub(crate) const fn new(sink: Sink, program: &'static str) -> Self {
        Self { sink, program, socket: None, told: 0 }
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        match self.sink {
            Sink::StandardError => io::stderr().write_all(line),
            Sink::Journal => {
                let socket = match &mut self.socket {
                    Some(socket) => socket,
                    none => none.insert(journal::connect()?),
                };
                let sent = socket.send(line).map(drop);
                if sent.is_err() {
                    self.socket = None;
                }
                sent
            }
        }
    }

    fn tell_lost(&mut self) {
        let lost = crate::lost();
        if lost == self.told {
            return;
        }
        let words = format!("{} log lines were lost: nobody took them in time", lost - self.told);
        let line = match self.sink {
            Sink::Journal => journal::warning(self.program, &words),
            Sink::StandardError => format!("{}: {words}\n", self.program),
        };
        if self.put(line.as_bytes()).is_ok() {
            self.told = lost;
        }
    }
}

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A journal that was started again is found by the second try.
        if self.put(line).is_ok() || self.put(line).is_ok() {
            self.tell_lost();
        } else {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
        // An error would end the batch that this line is in.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
