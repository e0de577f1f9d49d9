//! The log of a node in the background: lines to /dev/log, where syslog or the journal reads.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use tracing_subscriber::fmt::MakeWriter;

/// Facility daemon, severity info (RFC 5424 s.6.2.1); the line itself says its level.
const PRIORITY: u8 = 3 << 3 | 6;

/// Where lines go; nowhere on a machine without a log.
#[derive(Debug, Clone)]
pub struct Syslog {
    socket: Option<Arc<UnixDatagram>>,
    tag: String,
}

impl Syslog {
    /// Lines of the node `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let open = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect("/dev/log")?;
            // A log that is stuck must not hold the node up.
            socket.set_nonblocking(true)?;
            io::Result::Ok(Arc::new(socket))
        };
        Self { socket: open().ok(), tag: format!("hearth-mn[{}]: {name}:", std::process::id()) }
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { log: self, text: Vec::new() }
    }
}

/// One line on its way.
#[derive(Debug)]
pub struct Line<'a> {
    log: &'a Syslog,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let Some(socket) = &self.log.socket else { return };
        let text = String::from_utf8_lossy(&self.text);
        let line = format!("<{PRIORITY}>{} {}", self.log.tag, text.trim_end());
        let _ = socket.send(line.as_bytes());
    }
}
