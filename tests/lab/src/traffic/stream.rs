//! One TCP connection that carries data both ways for as long as it is wanted, and can rest.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::transfer::connect_from;
use crate::{
    error::{LabError, Result, socket},
    netns::Netns,
};

/// Octets of one write, and how long a writer waits between two looks at what is wanted of it.
const CHUNK: usize = 4096;
const TICK: Duration = Duration::from_millis(2);

/// What both ends share.
#[derive(Debug, Default)]
struct Shared {
    resting: AtomicBool,
    ended: AtomicBool,
    /// Octets of each direction that have arrived as they were sent: down, up.
    arrived: [AtomicU64; 2],
    sent: [AtomicU64; 2],
    broken: AtomicBool,
}

/// The connection: down is from the server to the client.
pub struct Stream {
    shared: Arc<Shared>,
    ends: [TcpStream; 2],
    threads: Vec<JoinHandle<()>>,
}

/// How far a [`Stream`] has come, for who only looks on.
#[derive(Debug, Clone)]
pub struct Meter(Arc<Shared>);

impl Meter {
    /// Octets that have arrived: down, up.
    #[must_use]
    pub fn arrived(&self) -> [u64; 2] {
        [0, 1].map(|at| self.0.arrived[at].load(Ordering::Relaxed))
    }
}

impl Stream {
    /// Connects and begins; each end sends `rate` octets a second at most.
    ///
    /// # Errors
    /// Where an address cannot be bound or the connection does not come about.
    pub fn start(
        (client, from): (&Netns, SocketAddr),
        (server, to): (&Netns, SocketAddr),
        rate: u64,
    ) -> Result<Self> {
        let listener = server.enter(|| TcpListener::bind(to))?;
        let listener = listener.map_err(socket(format!("TCP {to}")))?;
        let to = listener.local_addr().map_err(socket("stream"))?;
        let near = client.enter(|| connect_from(from, to))?.map_err(socket(format!("TCP {to}")))?;
        let (far, _) = listener.accept().map_err(socket("TCP accept"))?;
        let shared = Arc::new(Shared::default());
        let mut threads = Vec::new();
        for (direction, writer, reader) in [(0, &far, &near), (1, &near, &far)] {
            let writer = writer.try_clone().map_err(socket("stream"))?;
            let reader = reader.try_clone().map_err(socket("stream"))?;
            let (out, back) = (Arc::clone(&shared), Arc::clone(&shared));
            threads.push(thread::spawn(move || send(writer, direction, rate, &out)));
            threads.push(thread::spawn(move || receive(reader, direction, &back)));
        }
        Ok(Self { shared, ends: [near, far], threads })
    }

    /// Something that sees how far it has come.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter(Arc::clone(&self.shared))
    }

    /// Octets that have arrived: down, up.
    #[must_use]
    pub fn arrived(&self) -> [u64; 2] {
        [0, 1].map(|at| self.shared.arrived[at].load(Ordering::Relaxed))
    }

    /// Lets both ends fall silent, or speak again. The connection stays.
    pub fn rest(&self, resting: bool) {
        self.shared.resting.store(resting, Ordering::Relaxed);
    }

    /// Whether the connection is lost, or carried something that nobody sent.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Relaxed)
    }

    /// Ends it once all that was sent has arrived: the octets of each direction.
    ///
    /// # Errors
    /// Where it is broken, or not all of it arrives in time.
    pub fn finish(mut self, within: Duration) -> Result<[u64; 2]> {
        self.shared.ended.store(true, Ordering::Relaxed);
        let all = || [0, 1].map(|at| self.shared.sent[at].load(Ordering::Relaxed));
        let waited = crate::wait::until("the rest of the stream", within, || {
            Ok((self.is_broken() || self.arrived() == all()).then_some(()))
        });
        let (arrived, sent) = (self.arrived(), all());
        let broken = self.is_broken();
        self.close();
        waited?;
        if broken || arrived != sent {
            let text = format!("TCP stream: {sent:?} octets sent, {arrived:?} arrived");
            return Err(LabError::Wrong(text));
        }
        Ok(arrived)
    }

    fn close(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for end in &self.ends {
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}

/// The octet at an offset of a direction: 251 is prime, so shifted data shows.
fn octet(direction: usize, offset: u64) -> u8 {
    u8::try_from((offset + direction as u64 * 97) % 251).unwrap_or_default()
}

fn send(mut stream: TcpStream, direction: usize, rate: u64, shared: &Shared) {
    let mut begin = Instant::now();
    let (mut sent, mut since) = (0_u64, 0_u64);
    let mut chunk = [0_u8; CHUNK];
    while !shared.ended.load(Ordering::Relaxed) {
        let due = since.saturating_mul(1_000_000).checked_div(rate).unwrap_or(0);
        if shared.resting.load(Ordering::Relaxed) {
            (begin, since) = (Instant::now(), 0);
            thread::sleep(TICK);
            continue;
        }
        if begin.elapsed() < Duration::from_micros(due) {
            thread::sleep(TICK);
            continue;
        }
        for (place, at) in chunk.iter_mut().zip(sent..) {
            *place = octet(direction, at);
        }
        // Counted first: what has arrived is never more than what was sent.
        shared.sent[direction].fetch_add(CHUNK as u64, Ordering::Relaxed);
        if stream.write_all(&chunk).is_err() {
            if !shared.ended.load(Ordering::Relaxed) {
                shared.broken.store(true, Ordering::Relaxed);
            }
            return;
        }
        sent += CHUNK as u64;
        since += CHUNK as u64;
        // What a dead network held up is not made good in a burst.
        if begin.elapsed() > Duration::from_micros(due) + Duration::from_millis(200) {
            (begin, since) = (Instant::now(), 0);
        }
    }
}

fn receive(mut stream: TcpStream, direction: usize, shared: &Shared) {
    let mut buffer = [0_u8; 64 * 1024];
    let mut at = 0_u64;
    loop {
        let len = match stream.read(&mut buffer) {
            Ok(len) if len > 0 => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // The end, or a reset.
            _ => {
                if !shared.ended.load(Ordering::Relaxed) {
                    shared.broken.store(true, Ordering::Relaxed);
                }
                return;
            }
        };
        let right = buffer[..len].iter().zip(at..).all(|(got, at)| *got == octet(direction, at));
        if !right {
            shared.broken.store(true, Ordering::Relaxed);
            return;
        }
        at += len as u64;
        shared.arrived[direction].store(at, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_octet_and_a_reset_break_the_stream() {
        for damage in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            let shared = Shared::default();
            if damage {
                far.write_all(&[octet(0, 0), octet(0, 1) ^ 1]).unwrap();
            } else {
                far.write_all(&[octet(0, 0), octet(0, 1)]).unwrap();
                drop(far);
            }
            receive(near, 0, &shared);
            assert!(shared.broken.load(Ordering::Relaxed));
            assert_eq!(shared.arrived[0].load(Ordering::Relaxed), if damage { 0 } else { 2 });
        }
    }
}
