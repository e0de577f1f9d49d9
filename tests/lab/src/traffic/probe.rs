//! A paced stream of numbered datagrams and their echo: what a handover costs, as its user sees it.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::MARKER;
use crate::{
    error::{Result, socket},
    netns::Netns,
};

/// How long a blocked receive waits before it looks whether it should end.
const TICK: Duration = Duration::from_millis(50);
/// Octets of a probe: its number, then marker after marker.
const PROBE_LEN: usize = 8 + 3 * MARKER.len();

/// Sends every datagram back to where it came from, until dropped.
pub struct Echo {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Serves on an address of a namespace; port 0 picks one.
    ///
    /// # Errors
    /// Where the address cannot be bound.
    pub fn start(namespace: &Netns, address: SocketAddr) -> Result<Self> {
        let server = bind(namespace, address)?;
        let address = server.local_addr().map_err(socket("echo"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = [0_u8; 2048];
            while !ended.load(Ordering::Relaxed) {
                if let Ok((len, from)) = server.recv_from(&mut buffer) {
                    // An echo that cannot be sent counts as lost at the probe.
                    let _ = server.send_to(&buffer[..len], from);
                }
            }
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bind(namespace: &Netns, address: SocketAddr) -> Result<UdpSocket> {
    let bound = namespace.enter(|| UdpSocket::bind(address))?;
    let bound = bound.map_err(socket(format!("UDP {address} in {}", namespace.name())))?;
    bound.set_read_timeout(Some(TICK)).map_err(socket("probe timeout"))?;
    Ok(bound)
}

/// When one probe left and when its echo came first, from the start of the stream, and how often
/// it came again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    sent: Duration,
    answered: Option<Duration>,
    again: usize,
}

impl Sample {
    fn on_answer(&mut self, at: Duration) {
        match self.answered {
            None => self.answered = Some(at),
            Some(_) => self.again += 1,
        }
    }
}

/// The probes of one stream.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Probes sent in a period that were never answered.
    #[must_use]
    pub fn lost(&self, period: &Range<Duration>) -> usize {
        let sent = self.0.iter().filter(|sample| period.contains(&sample.sent));
        sent.filter(|sample| sample.answered.is_none()).count()
    }

    /// Answers of the whole stream that came more than once: the probe or its echo was duplicated.
    #[must_use]
    pub fn duplicated(&self) -> usize {
        self.0.iter().map(|sample| sample.again).sum()
    }

    /// Probes sent in a period.
    #[must_use]
    pub fn sent(&self, period: &Range<Duration>) -> usize {
        self.0.iter().filter(|sample| period.contains(&sample.sent)).count()
    }

    /// The longest silence between two answers that touches a period.
    #[must_use]
    pub fn gap(&self, period: &Range<Duration>) -> Duration {
        let mut answers: Vec<Duration> = self.0.iter().filter_map(|s| s.answered).collect();
        answers.sort_unstable();
        let touching = answers.windows(2).filter(|w| w[1] > period.start && w[0] < period.end);
        touching.map(|w| w[1] - w[0]).max().unwrap_or_default()
    }

    /// How long after a moment the first answer came.
    #[must_use]
    pub fn until_answer(&self, at: Duration) -> Option<Duration> {
        let answers = self.0.iter().filter_map(|sample| sample.answered);
        answers.filter(|answered| *answered >= at).min().map(|answered| answered - at)
    }

    /// The median time from probe to answer.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        let answered = self.0.iter().filter_map(|s| s.answered.map(|at| at.saturating_sub(s.sent)));
        let mut times: Vec<Duration> = answered.collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }
}

/// A running stream of probes.
pub struct Probe {
    start: Instant,
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Arc<AtomicBool>,
    resting: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Probe {
    /// Sends one probe per `period` from `from` in a namespace to an [`Echo`].
    ///
    /// # Errors
    /// Where `from` cannot be bound.
    pub fn start(
        namespace: &Netns,
        from: SocketAddr,
        to: SocketAddr,
        period: Duration,
    ) -> Result<Self> {
        let sender = bind(namespace, from)?;
        let receiver = sender.try_clone().map_err(socket("probe"))?;
        let start = Instant::now();
        let samples = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (sent, got) = (Arc::clone(&samples), Arc::clone(&samples));
        let (ended, quiet) = (Arc::clone(&stop), Arc::clone(&stop));
        let resting = Arc::new(AtomicBool::new(false));
        let rests = Arc::clone(&resting);
        let threads = vec![
            thread::spawn(move || send(&sender, to, (start, period), &sent, (&ended, &rests))),
            thread::spawn(move || receive(&receiver, start, &got, &quiet)),
        ];
        Ok(Self { start, samples, stop, resting, threads })
    }

    /// The stream's own time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Sends nothing for a while, or goes on.
    pub fn rest(&self, resting: bool) {
        self.resting.store(resting, Ordering::Relaxed);
    }

    /// The samples so far.
    #[must_use]
    pub fn so_far(&self) -> Samples {
        Samples(lock(&self.samples).clone())
    }

    /// Whether a probe sent after `after` has been answered: the path works since then.
    #[must_use]
    pub fn answered_since(&self, after: Duration) -> bool {
        let samples = lock(&self.samples);
        samples.iter().rev().take_while(|s| s.sent >= after).any(|s| s.answered.is_some())
    }

    /// Ends the stream; answers on their way are waited for.
    #[must_use]
    pub fn finish(mut self) -> Samples {
        self.end();
        Samples(std::mem::take(&mut *lock(&self.samples)))
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock(samples: &Mutex<Vec<Sample>>) -> std::sync::MutexGuard<'_, Vec<Sample>> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(
    socket: &UdpSocket,
    to: SocketAddr,
    (start, period): (Instant, Duration),
    samples: &Mutex<Vec<Sample>>,
    (ended, resting): (&AtomicBool, &AtomicBool),
) {
    let mut next = start;
    for number in 0_u64.. {
        while resting.load(Ordering::Relaxed) && !ended.load(Ordering::Relaxed) {
            thread::sleep(period);
            next = Instant::now();
        }
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let mut datagram = Vec::with_capacity(PROBE_LEN);
        datagram.extend(number.to_be_bytes());
        datagram.extend(MARKER.repeat(3));
        lock(samples).push(Sample { sent: start.elapsed(), answered: None, again: 0 });
        // A probe that the mobile node's kernel cannot send in a handover is a lost one.
        let _ = socket.send_to(&datagram, to);
        next += period;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn receive(socket: &UdpSocket, start: Instant, samples: &Mutex<Vec<Sample>>, ended: &AtomicBool) {
    let mut buffer = [0_u8; 2048];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((len, _)) => {
                let number = buffer[..len].first_chunk().map(|octets| u64::from_be_bytes(*octets));
                let index = number.and_then(|number| usize::try_from(number).ok());
                let mut samples = lock(samples);
                if let Some(sample) = index.and_then(|index| samples.get_mut(index)) {
                    sample.on_answer(start.elapsed());
                }
            }
            // Quiet for a tick after the last probe: what is not here by now is lost.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
            }
            Err(_) if ended.load(Ordering::Relaxed) => return,
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rows: &[(u64, Option<u64>)]) -> Samples {
        let ms = Duration::from_millis;
        let sample =
            |&(s, a): &(u64, Option<u64>)| Sample { sent: ms(s), answered: a.map(ms), again: 0 };
        Samples(rows.iter().map(sample).collect())
    }

    #[test]
    fn an_answer_that_comes_again_is_a_duplicate_and_the_first_counts() {
        let ms = Duration::from_millis;
        let mut stream = samples(&[(0, None), (10, None)]);
        stream.0[0].on_answer(ms(5));
        assert_eq!(stream.duplicated(), 0);
        stream.0[0].on_answer(ms(7));
        stream.0[0].on_answer(ms(8));
        assert_eq!(stream.duplicated(), 2);
        assert_eq!(stream.round_trip(), Some(ms(5)));
    }

    #[test]
    fn gap_is_the_longest_silence_that_touches_the_period() {
        let ms = Duration::from_millis;
        let stream = samples(&[
            (0, Some(1)),
            (10, Some(11)),
            (20, None),
            (30, None),
            (40, Some(42)),
            (50, Some(51)),
            (200, Some(201)),
        ]);
        assert_eq!(stream.gap(&(ms(15)..ms(60))), ms(150));
        assert_eq!(stream.gap(&(ms(15)..ms(40))), ms(31));
        assert_eq!(stream.lost(&(ms(15)..ms(60))), 2);
        assert_eq!(stream.sent(&(ms(15)..ms(60))), 4);
        assert_eq!(stream.lost(&(ms(0)..ms(15))), 0);
        assert_eq!(stream.round_trip(), Some(ms(1)));
    }
}
