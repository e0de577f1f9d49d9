//! One TCP connection with a checksum over what was sent and what arrived.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use sha2::{Digest, Sha256};

use super::MARKER;
use crate::{
    error::{LabError, Result, socket},
    netns::Netns,
};

/// Longest silence of the peer before a transfer counts as broken.
const SILENCE: Duration = Duration::from_secs(30);
const CHUNK: usize = 64 * 1024;

/// Which way the octets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the correspondent to the mobile node.
    Download,
    /// From the mobile node to the correspondent.
    Upload,
}

/// A transfer to be run. The client connects, as a mobile node's user would.
#[derive(Debug, Clone)]
pub struct TransferPlan<'a> {
    /// Where the client runs.
    pub client: &'a Netns,
    /// The client's address: a home address.
    pub from: SocketAddr,
    /// Where the server runs.
    pub server: &'a Netns,
    /// The server's address; port 0 picks one.
    pub to: SocketAddr,
    /// Which way.
    pub direction: Direction,
    /// How many octets.
    pub octets: u64,
    /// Upper limit in octets a second, so that a transfer lasts through what is done beside it;
    /// 0 for none.
    pub rate: u64,
}

/// What one end saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Octets.
    pub octets: u64,
    /// SHA-256 over them, hexadecimal.
    pub sha256: String,
}

/// A finished transfer.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was sent.
    pub sent: End,
    /// What arrived.
    pub received: End,
    /// From the connection's start to its end.
    pub took: Duration,
}

impl Outcome {
    /// Whether all of it arrived as it was sent.
    #[must_use]
    pub fn intact(&self) -> bool {
        self.sent == self.received
    }

    /// Mbit/s over the whole time.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // a figure for people
    pub fn mbit_per_second(&self) -> f64 {
        self.received.octets as f64 * 8e-6 / self.took.as_secs_f64().max(1e-9)
    }
}

/// A running transfer.
pub struct Transfer {
    progress: Arc<AtomicU64>,
    start: Instant,
    sender: JoinHandle<io::Result<End>>,
    receiver: JoinHandle<io::Result<End>>,
}

impl Transfer {
    /// Connects and begins.
    ///
    /// # Errors
    /// Where an address cannot be bound or the connection does not come about.
    pub fn start(plan: &TransferPlan<'_>) -> Result<Self> {
        let listener = plan.server.enter(|| TcpListener::bind(plan.to))?;
        let listener = listener.map_err(socket(format!("TCP {}", plan.to)))?;
        let to = listener.local_addr().map_err(socket("transfer"))?;
        let progress = Arc::new(AtomicU64::new(0));
        let start = Instant::now();

        let connected = plan.client.enter(|| connect_from(plan.from, to))?;
        let stream = connected.map_err(socket(format!("TCP {} to {to}", plan.from)))?;
        let (peer, _) = listener.accept().map_err(socket("TCP accept"))?;
        let (octets, rate, direction) = (plan.octets, plan.rate, plan.direction);
        let (sender, receiver) = match direction {
            Direction::Download => (peer, stream),
            Direction::Upload => (stream, peer),
        };
        let arriving = Arc::clone(&progress);
        let sender = thread::spawn(move || send(sender, octets, rate));
        let receiver = thread::spawn(move || receive(receiver, &arriving));
        Ok(Self { progress, start, sender, receiver })
    }

    /// Octets that have arrived.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Whether an end has given up or everything has arrived.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.sender.is_finished() || self.receiver.is_finished()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Where the connection broke or fell silent.
    pub fn finish(self) -> Result<Outcome> {
        let join = |end: JoinHandle<io::Result<End>>, what: &str| match end.join() {
            Ok(end) => end.map_err(socket(format!("TCP transfer, {what}"))),
            Err(_) => Err(LabError::Wrong(format!("TCP transfer, {what}: panicked"))),
        };
        let received = join(self.receiver, "receiver")?;
        let took = self.start.elapsed();
        let sent = join(self.sender, "sender")?;
        Ok(Outcome { sent, received, took })
    }
}

/// Connects from a given local address, which `TcpStream` cannot.
pub(super) fn connect_from(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&fd, &from)?;
    rustix::net::sockopt::set_socket_timeout(
        &fd,
        rustix::net::sockopt::Timeout::Send,
        Some(Duration::from_secs(10)),
    )?;
    connect(&fd, &to)?;
    Ok(TcpStream::from(fd))
}

fn send(mut stream: TcpStream, octets: u64, rate: u64) -> io::Result<End> {
    stream.set_write_timeout(Some(SILENCE))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0_u8; CHUNK];
    let start = Instant::now();
    let mut sent = 0_u64;
    while sent < octets {
        fill(&mut chunk, sent);
        let len = usize::try_from(octets - sent).unwrap_or(CHUNK).min(CHUNK);
        stream.write_all(&chunk[..len])?;
        hash.update(&chunk[..len]);
        sent += len as u64;
        // A rate of 0 is no limit.
        if let Some(due) = sent.saturating_mul(1_000_000).checked_div(rate) {
            thread::sleep(Duration::from_micros(due).saturating_sub(start.elapsed()));
        }
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    // The peer closes once it has everything.
    stream.set_read_timeout(Some(SILENCE))?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(End { octets: sent, sha256: hex(&hash.finalize()) })
}

/// Blocks of 64 octets, each with the marker and its own offset: no two alike, and every segment
/// shows the marker.
fn fill(chunk: &mut [u8], offset: u64) {
    for (block, number) in chunk.chunks_mut(64).zip(0_u64..) {
        let at = (offset + number * 64).to_be_bytes();
        for (octet, value) in block.iter_mut().zip(MARKER.iter().chain(&at).cycle()) {
            *octet = *value;
        }
    }
}

fn receive(mut stream: TcpStream, progress: &AtomicU64) -> io::Result<End> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; CHUNK];
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            let octets = progress.load(Ordering::Relaxed);
            return Ok(End { octets, sha256: hex(&hash.finalize()) });
        }
        hash.update(&buffer[..len]);
        progress.fetch_add(len as u64, Ordering::Relaxed);
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_agree_over_loopback_and_openssl_agrees_with_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let server = thread::spawn(move || send(listener.accept().unwrap().0, 200_000, 0).unwrap());
        let stream = connect_from("127.0.0.1:0".parse().unwrap(), to).unwrap();
        let received = receive(stream, &AtomicU64::new(0)).unwrap();
        let sent = server.join().unwrap();
        assert_eq!(sent, received);

        let mut content = vec![0; 262_144];
        fill(&mut content, 0);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("content");
        std::fs::write(&path, &content[..200_000]).unwrap();
        let openssl = crate::netns::run(
            std::process::Command::new("openssl").args(["sha256", "-r"]).arg(path),
        );
        assert!(openssl.unwrap().starts_with(&sent.sha256));
    }

    #[test]
    fn every_segment_shows_the_marker() {
        let mut chunk = vec![0; CHUNK];
        fill(&mut chunk, 0);
        assert!(
            chunk.chunks(200).all(|part| part.windows(16).any(|w| w == MARKER) || part.len() < 80)
        );
    }
}
