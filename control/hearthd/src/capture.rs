//! A capture on its way to a client, as a pcapng file.
//!
//! Read first: draft-ietf-opsawg-pcapng s.4.6.
//!
//! DPDK's library writes the file, to a file in memory: the control thread never waits for a disk
//! or a client, and what a client may write on the disk is its own kernel's matter.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Instant, SystemTime};

use hearth_api::follow::{CaptureRequest, EndReason, Stage};
use hearth_dataplane::ControlPort;
use hearth_dataplane::capture::{CaptureFile, CaptureStage, Captured};
use hearth_home_agent::HomeAgent;
use rustix::fs::{MemfdFlags, memfd_create};
use tracing::{info, warn};

use crate::follow::{BATCH, Ending, Session};
use crate::outlet::Inlet;
use crate::server::{Peer, Refused};

/// A running capture.
#[derive(Debug)]
pub(crate) struct RunningCapture {
    pub(crate) session: Session,
    limit: u64,
    sink: Sink,
    memory: Memory,
}

/// The file, and what became of the copies.
#[derive(Debug)]
struct Sink {
    file: CaptureFile,
    written: u64,
    failed: u64,
}

impl Sink {
    fn write(&mut self, copy: Captured) {
        match self.file.write(copy) {
            Ok(()) => self.written += 1,
            Err(_) => self.failed += 1,
        }
    }

    /// Whether no more copies come: the workers make `limit` of them, written or not.
    const fn has_had(&self, limit: u64) -> bool {
        self.written + self.failed >= limit
    }
}

impl RunningCapture {
    /// Starts to copy.
    pub(crate) fn begin(
        workers: &mut ControlPort,
        home_agent: &HomeAgent,
        request: CaptureRequest,
        peer: &Peer,
    ) -> Result<(Self, Inlet), Refused> {
        let CaptureRequest { stages, target, packets, seconds } = request;
        if packets == Some(0) || stages.is_empty() {
            let text = "packets: 1 or more; stages: one or more of wire, protected, decrypted";
            return Err(Refused::Request(text.into()));
        }
        let (session, inlet, filter) = Session::new(home_agent, target, seconds)?;
        let limit = packets.unwrap_or(u64::MAX);
        let fault = |error: &dyn std::fmt::Display| Refused::Fault(format!("capture: {error}"));
        let (memory, file) = Memory::new().map_err(|error| fault(&error))?;
        let names: Vec<&str> = stages.iter().map(|stage| stage.name()).collect();
        let comment = format!("{} of {}", names.join(", "), session.target);
        let stages: Vec<CaptureStage> =
            stages.iter().map(|stage| dataplane_stage(*stage)).collect();
        workers.start_capture(&stages, &filter, limit).map_err(|error| fault(&error))?;
        let application = concat!("hearthd ", env!("CARGO_PKG_VERSION"));
        let file = workers.capture_file(file, application, &comment).map_err(|error| {
            workers.stop_capture(drop);
            fault(&error)
        })?;
        let (target, Peer { uid, pid, .. }) = (&session.target, peer);
        let certificate = peer.certificate();
        if stages.contains(&CaptureStage::Decrypted) {
            warn!(%target, stages = ?names, uid, pid, certificate, "decrypted traffic is captured from now on");
        } else if stages.contains(&CaptureStage::Wire) {
            // Ports on the home side carry what tunnels contain.
            warn!(
                %target, stages = ?names, uid, pid, certificate,
                "frames are captured from now on, on the home side with the contents of tunnels"
            );
        } else {
            info!(%target, stages = ?names, uid, pid, certificate, "a capture begins");
        }
        let sink = Sink { file, written: 0, failed: 0 };
        Ok((Self { session, limit, sink, memory }, inlet))
    }

    /// Sends what there is.
    pub(crate) fn turn(&mut self, workers: &mut ControlPort, now: Instant) -> Result<(), Ending> {
        if !self.session.goes_on(now)? {
            return Ok(());
        }
        let sink = &mut self.sink;
        workers.captured(BATCH, |copy| sink.write(copy));
        match self.memory.take() {
            Ok(octets) if octets.is_empty() => {}
            Ok(octets) => self.session.outlet.send(octets)?,
            Err(error) => {
                warn!(%error, "the capture can't go on");
                return Err(Ending::Because(EndReason::Stopped));
            }
        }
        if self.sink.has_had(self.limit) {
            return Err(Ending::Because(EndReason::Complete));
        }
        Ok(())
    }

    /// Stops copying; what has been copied still goes to the client.
    pub(crate) fn end(&mut self, workers: &mut ControlPort, ending: &Ending) {
        let sink = &mut self.sink;
        let progress = workers.stop_capture(|copy| sink.write(copy));
        let (written, lost) = (self.sink.written, progress.lost + self.sink.failed);
        let why = match ending {
            Ending::Because(why) => {
                let mut octets = self.memory.take().unwrap_or_default();
                octets.extend(statistics(written, lost));
                // Nobody is left to be told of a failure.
                let _ = self.session.outlet.send(octets);
                format!("{why:?}")
            }
            Ending::ClientGone => "ClientGone".into(),
        };
        info!(target = %self.session.target, why, written, lost, "the capture ends");
    }
}

const fn dataplane_stage(stage: Stage) -> CaptureStage {
    match stage {
        Stage::Wire => CaptureStage::Wire,
        Stage::Protected => CaptureStage::Protected,
        Stage::Decrypted => CaptureStage::Decrypted,
    }
}

/// A file that holds what has been written since it was last emptied.
#[derive(Debug)]
struct Memory(File);

impl Memory {
    /// The file, and the descriptor to write to it; both have one position.
    fn new() -> io::Result<(Self, OwnedFd)> {
        let file = File::from(memfd_create("hearth-capture", MemfdFlags::CLOEXEC)?);
        let writer = file.try_clone()?.into();
        Ok((Self(file), writer))
    }

    fn take(&mut self) -> io::Result<Vec<u8>> {
        let len = self.0.metadata()?.len();
        let mut octets = vec![0; usize::try_from(len).unwrap_or(0)];
        if len > 0 {
            self.0.read_exact_at(&mut octets, 0)?;
            self.0.set_len(0)?;
            self.0.rewind()?;
        }
        Ok(octets)
    }
}

/// An Interface Statistics Block of the first interface: packets captured and lost.
fn statistics(written: u64, lost: u64) -> Vec<u8> {
    const INTERFACE_STATISTICS: u32 = 5;
    const IF_RECEIVED: u16 = 4;
    const IF_DROPPED: u16 = 5;
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanos = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX).to_be_bytes();
    let (high, low) = nanos.split_at(4);
    let half =
        |octets: &[u8]| octets.iter().fold(0_u32, |word, octet| word << 8 | u32::from(*octet));
    let mut body = Vec::with_capacity(48);
    for word in [0, half(high), half(low)] {
        body.extend(word.to_ne_bytes());
    }
    for (code, value) in [(IF_RECEIVED, written.saturating_add(lost)), (IF_DROPPED, lost)] {
        body.extend(code.to_ne_bytes());
        body.extend(8_u16.to_ne_bytes());
        body.extend(value.to_ne_bytes());
    }
    body.extend([0; 4]);
    let len = u32::try_from(body.len() + 12).unwrap_or(u32::MAX).to_ne_bytes();
    [&INTERFACE_STATISTICS.to_ne_bytes()[..], &len, &body, &len].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn memory_gives_what_was_written_since() {
        let (mut memory, writer) = Memory::new().unwrap();
        let mut writer = File::from(writer);
        assert!(memory.take().unwrap().is_empty());
        for text in ["one", "and another", "x"] {
            writer.write_all(text.as_bytes()).unwrap();
            assert_eq!(memory.take().unwrap(), text.as_bytes());
        }
        assert!(memory.take().unwrap().is_empty());
    }
}
