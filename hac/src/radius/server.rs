//! One server: requests with retransmission, dead-server detection, Status-Server.
//!
//! Read first: RFC 2865 s.2.4; RFC 5080 s.2.2.1; RFC 5997; reading R-9.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;
use tracing::{info, warn};

use super::attribute::NAS_IDENTIFIER;
use super::counters::{Counter, Counters};
use super::health::{Health, Standing, Verdict};
use super::link::{Link, Task, Ticket};
use super::packet::{Asked, Code, Request, Response, Secret};
use super::radsec;

/// Sockets to one server: 256 requests in flight on each.
const LINKS: usize = 64;

/// How packets reach a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Transport {
    /// UDP (RFC 2865).
    Udp,
    /// RADIUS over TLS (RFC 6614).
    Tls(radsec::Tls),
}

/// A server of the configuration.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is reached.
    pub transport: Transport,
    /// The shared secret.
    pub secret: Secret,
    /// How long one request may take, retransmissions included.
    pub timeout: Duration,
    /// How often a request is sent again in that time, at growing intervals.
    pub retries: u32,
    /// Whether it is asked by Status-Server if it lives.
    pub status_server: bool,
    /// A dead server is asked by Status-Server this often; one that does not know it is tried again
    /// after this time.
    pub dead_time: Duration,
    /// Whether User-Name in its Access-Accept is who was authenticated.
    pub returns_authenticated_name: bool,
    /// Whether who is no subscriber gets an SA if this server accepts it.
    pub unlisted_subscribers: bool,
}

/// The part of a server that its receivers need.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) secret: Secret,
    pub(super) counters: Arc<Counters>,
    health: Mutex<Health>,
}

impl Peer {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A valid answer came.
    pub(super) fn heard(&self, asked: Code, answer: Code) {
        self.counters.count(Counter::Responses);
        match answer {
            _ if asked == Code::StatusServer => self.health().answers_status(),
            Code::AccessAccept => self.counters.count(Counter::AccessAccepts),
            Code::AccessReject => self.counters.count(Counter::AccessRejects),
            Code::AccessChallenge => self.counters.count(Counter::AccessChallenges),
            _ => {}
        }
        if self.health().heard(Instant::now()) {
            info!(server = %self.address, "the RADIUS server is back");
        }
    }

    fn died(&self) {
        self.counters.count(Counter::Deaths);
        warn!(server = %self.address, "the RADIUS server is dead");
    }
}

/// No answer came in time, or the request could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unanswered;

/// Why one transmission came to nothing.
enum Lost {
    /// The connection broke.
    Broken,
    /// Time is over, or nothing could be sent.
    Silent,
}

/// An answer, and what is needed to read its keys.
pub(super) struct Answered {
    pub(super) response: Response,
    pub(super) authenticator: [u8; 16],
}

/// A server that requests are sent to.
pub(super) struct Server {
    pub(super) peer: Arc<Peer>,
    transport: Transport,
    timeout: Duration,
    retries: u32,
    status_server: bool,
    dead_time: Duration,
    pub(super) returns_authenticated_name: bool,
    pub(super) unlisted_subscribers: bool,
    nas_identifier: Box<str>,
    links: AsyncMutex<Vec<Link>>,
    prober: Mutex<Option<Task>>,
}

impl Server {
    /// A server of which nothing is known but what was counted; to be called within a tokio runtime. It
    /// is asked by Status-Server at once, if it may be.
    fn start(config: ServerConfig, nas_identifier: &str, counters: Arc<Counters>) -> Arc<Self> {
        if config.secret.octets().len() < 16 {
            // RFC 2865 s.3: it is preferred that the secret be at least 16 octets.
            warn!(server = %config.address, "the shared secret is under 16 octets and can be guessed");
        }
        let server = Arc::new(Self {
            peer: Arc::new(Peer {
                address: config.address,
                secret: config.secret,
                counters,
                health: Mutex::new(Health::default()),
            }),
            transport: config.transport,
            timeout: config.timeout,
            retries: config.retries,
            status_server: config.status_server,
            dead_time: config.dead_time,
            returns_authenticated_name: config.returns_authenticated_name,
            unlisted_subscribers: config.unlisted_subscribers,
            nas_identifier: nas_identifier.into(),
            links: AsyncMutex::new(Vec::new()),
            prober: Mutex::new(None),
        });
        server.probe(Duration::ZERO);
        server
    }

    /// Whether it is the server of `config` to the letter.
    fn is_as(&self, config: &ServerConfig) -> bool {
        self.peer.address == config.address
            && self.peer.secret == config.secret
            && self.transport == config.transport
            && self.timeout == config.timeout
            && self.retries == config.retries
            && self.status_server == config.status_server
            && self.dead_time == config.dead_time
            && self.returns_authenticated_name == config.returns_authenticated_name
            && self.unlisted_subscribers == config.unlisted_subscribers
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        self.peer.health().standing(now, self.dead_time)
    }

    /// Time until it may be asked again, if it is dead.
    pub(super) fn until_retry(&self, now: Instant) -> Duration {
        self.peer.health().until_retry(now, self.dead_time)
    }

    /// Sends `request` until it is answered or its time is over.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        request: &Request,
    ) -> Result<Answered, Unanswered> {
        let begun = Instant::now();
        self.peer.counters.count(Counter::Requests);
        let result = self.attempt(request).await;
        if result.is_ok() {
            self.peer.counters.round_trips.observe(begun.elapsed().as_secs_f64());
        } else {
            self.peer.counters.count(Counter::Timeouts);
            let verdict = self.peer.health().unanswered(begun, Instant::now());
            match verdict {
                Verdict::Nothing => {}
                Verdict::Probe => self.probe(Duration::ZERO),
                Verdict::Died => {
                    self.peer.died();
                    self.probe(self.dead_time);
                }
            }
        }
        result
    }

    /// One request, on a new connection where the old one turns out to be closed.
    async fn attempt(&self, request: &Request) -> Result<Answered, Unanswered> {
        let deadline = Instant::now() + self.timeout;
        match self.send(request, deadline).await {
            Err(Lost::Broken) => self.send(request, deadline).await,
            result => result,
        }
        .map_err(|_| Unanswered)
    }

    async fn send(&self, request: &Request, deadline: Instant) -> Result<Answered, Lost> {
        let rest = || deadline.saturating_duration_since(Instant::now());
        let ticket = timeout(rest(), self.ticket()).await.ok().flatten().ok_or(Lost::Silent)?;
        let fresh = random::<16>().ok_or(Lost::Silent)?;
        let (authenticator, octets) = request.sign(ticket.identifier, fresh, &self.peer.secret);
        let mut answered = ticket.ask(Asked { code: request.code(), authenticator });
        // RFC 2865 s.2.5: the same octets again, so that the server knows it for a duplicate.
        // Over TLS nothing is lost (RFC 6614 s.2.6).
        let retries = if matches!(self.transport, Transport::Udp) { self.retries } else { 0 };
        for attempt in 0..=retries {
            if attempt > 0 {
                self.peer.counters.count(Counter::Retransmissions);
            }
            ticket.send(&octets).await;
            let wait = if attempt == retries { rest() } else { self.wait(attempt).min(rest()) };
            match timeout(wait, &mut answered).await {
                Ok(Ok(response)) => return Ok(Answered { response, authenticator }),
                Ok(Err(_)) => return Err(Lost::Broken),
                Err(_) => {}
            }
        }
        Err(Lost::Silent)
    }

    /// Time before transmission `attempt + 1`: doubled each time, so that they fill the timeout,
    /// and a tenth more or less, so that clients of a server that was away don't come in step
    /// (RFC 5080 s.2.2.1).
    fn wait(&self, attempt: u32) -> Duration {
        let parts = (1_u32 << (self.retries.min(16) + 1)) - 1;
        let base = self.timeout * (1 << attempt.min(16)) / parts;
        jitter(base)
    }

    async fn ticket(&self) -> Option<Ticket> {
        let mut links = self.links.lock().await;
        links.retain(|link| !link.is_closed());
        if let Some(ticket) = links.iter().find_map(Link::take) {
            return Some(ticket);
        }
        if links.len() >= LINKS {
            return None;
        }
        let [first] = random::<1>()?;
        let peer = self.peer.clone();
        let link = match &self.transport {
            Transport::Udp => Link::datagram(self.peer.address, peer, first).await,
            Transport::Tls(tls) => radsec::connect(self.peer.address, tls, peer, first).await,
        };
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                // Once for each server that is tried: who connects again only does so to probe.
                if self.standing(Instant::now()) == Standing::Alive {
                    warn!(server = %self.peer.address, %error, "the RADIUS server can't be reached");
                }
                return None;
            }
        };
        let ticket = link.take();
        links.push(link);
        ticket
    }

    /// Asks by Status-Server after `delay`, and on until it is alive or known not to answer that.
    fn probe(self: &Arc<Self>, delay: Duration) {
        if !self.status_server {
            return;
        }
        let weak = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            let mut delay = delay;
            loop {
                tokio::time::sleep(delay).await;
                // While it sleeps nothing keeps a server that the daemon has dropped.
                let Some(server) = weak.upgrade() else { return };
                server.ask_status().await;
                if server.standing(Instant::now()) == Standing::Alive {
                    return;
                }
                delay = jitter(server.dead_time);
            }
        });
        let mut prober = self.prober.lock().unwrap_or_else(PoisonError::into_inner);
        *prober = Some(Task(task));
    }

    async fn ask_status(&self) {
        let begun = Instant::now();
        self.peer.counters.count(Counter::StatusServers);
        let mut request = Request::new(Code::StatusServer);
        // RFC 5997 s.4.4: who asks.
        let _ = request.put(NAS_IDENTIFIER, self.nas_identifier.as_bytes());
        if self.attempt(&request).await.is_err()
            && self.peer.health().status_unanswered(begun, Instant::now())
        {
            self.peer.died();
        }
    }
}

/// The servers of `configs`: those of `known` that are the same go on, with what is known of them.
pub(super) fn renew(
    known: &[Arc<Server>],
    configs: Vec<ServerConfig>,
    nas_identifier: &str,
) -> Vec<Arc<Server>> {
    let renewed = configs.into_iter().map(|config| {
        let former = known.iter().find(|server| server.peer.address == config.address);
        match former {
            Some(server) if server.is_as(&config) => server.clone(),
            Some(server) => Server::start(config, nas_identifier, server.peer.counters.clone()),
            None => Server::start(config, nas_identifier, Arc::default()),
        }
    });
    renewed.collect()
}

/// A tenth more or less.
fn jitter(base: Duration) -> Duration {
    let share = random::<2>().map_or(0, u16::from_be_bytes);
    let span = base / 5;
    base - base / 10 + span * u32::from(share) / u32::from(u16::MAX)
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).ok()?;
    Some(octets)
}
