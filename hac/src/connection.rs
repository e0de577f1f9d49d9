//! One TCP connection from a mobile node: TLS, lockstep, session, and a close that loses nothing.
//!
//! Read first: RFC 6618 s.5.3; readings.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hearth_wire::MobileNodeId;
use hearth_wire::hac::container;
use hearth_wire::hac::message::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::auth::eap::tls::server::warn_of;
use crate::cert::ChannelBinding;
use crate::config::{Limits, RadiusConfig, Realm, RemoteConfig};
use crate::counters::{Counter, Counters};
use crate::daemon::DirectoryTls;
use crate::directory::{Clock, Directory, IssueError};
use crate::failures::Failures;
use crate::handshake::{self, Handshakes};
use crate::keys::DrawnEntropy;
use crate::live::Live;
use crate::lockstep::{Lockstep, Refused, Request};
use crate::methods::ByMethod;
use crate::radius::accounting::ledger::Authorised;
use crate::radius::{Accounting, Client, Relay, RelayError, Relayed};
use crate::session::{Outcome, Reply, Session, Step, refuse_unkeyed};
use hearth_log::LogLimit;

/// Longest wait for the peer's FIN after ours.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Octets read and thrown away while waiting for it.
const DRAIN_OCTETS: usize = 256 << 10;
/// Octets of one TLS record at most (RFC 8446 s.5.1).
const RECORD: usize = 1 << 14;

/// What every connection needs.
pub struct Shared {
    /// The TLS server.
    pub handshakes: Handshakes,
    /// Home agents and subscribers.
    pub realm: Arc<Live<Realm>>,
    /// The SA directory.
    pub directory: Arc<Directory>,
    /// What home agents on other machines meet.
    pub(crate) directory_tls: DirectoryTls,
    /// Limits of connections and of time.
    pub limits: Live<Limits>,
    /// Unix seconds.
    pub clock: Clock,
    /// The AAA servers.
    pub radius: Option<Client>,
    /// Accounting of SAs.
    pub accounting: Option<Arc<Accounting>>,
    /// Counters.
    pub counters: Counters,
    /// How sessions ended.
    pub by_method: ByMethod,
    /// Who failed to authenticate of late.
    pub failures: Failures,
    /// For warnings that strangers can cause.
    pub log_limit: LogLimit,
}

impl Shared {
    /// Goes on with the RADIUS servers of `config`, with their secrets and certificates as they are now.
    /// What was not there at the start, or is gone since, stays until a restart.
    pub(crate) fn renew_radius(&self, config: Option<RadiusConfig>) {
        let Some(RadiusConfig { servers, accounting, .. }) = config else { return };
        if let Some(client) = &self.radius {
            client.reload(servers);
        }
        if let (Some(current), Some(fresh)) = (&self.accounting, accounting) {
            current.reload(fresh.servers);
        }
    }

    /// Shows home agents on other machines these certificates from their next connection on.
    pub(crate) fn renew_directory(&self, config: Option<RemoteConfig>) {
        if let (Some(current), Some(RemoteConfig { tls, .. })) = (&self.directory_tls, config) {
            current.set(tls);
        }
    }

    /// Says which OCSP responses are not stapled, and which CRLs have expired.
    pub(crate) fn warn_of_what_is_outdated(&self) {
        for (path, error) in self.handshakes.server().unstapled() {
            warn!(ocsp = %path.display(), %error, "no OCSP response is stapled");
        }
        if let Some(eap_tls) = &self.realm.get().auth.eap_tls {
            warn_of(&eap_tls.outdated((self.clock)()));
        }
    }

    /// Whether a warning that a stranger can cause may be logged: then, how many were not since
    /// the last one.
    pub fn may_warn(&self) -> Option<u64> {
        let admitted = self.log_limit.admit(std::time::Instant::now());
        if admitted.is_none() {
            self.counters.count(Counter::WarningsSuppressed);
        }
        admitted
    }
}

/// How much a connection gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A session.
    Full,
    /// The server is overloaded: its first request is answered with 503.
    TurnAway,
}

/// Serves one connection from its TLS handshake to its end.
pub async fn serve(stream: TcpStream, peer: SocketAddr, service: Service, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let limits = shared.limits.get();
    let Some((stream, binding)) = handshake::accept(stream, peer, shared).await else { return };
    let deadline = Instant::now() + limits.session_timeout;
    let lockstep = Lockstep::default();
    let authorised = None;
    let mut connection =
        Connection { stream, binding, peer, deadline, lockstep, authorised, shared };
    if let Err(error) = timeout_at(deadline, connection.run(service)).await.unwrap_or_else(|_| {
        shared.counters.count(Counter::TimedOut);
        Err(io::ErrorKind::TimedOut.into())
    }) {
        debug!(%peer, %error, "the session broke off");
    }
    connection.close().await;
}

/// Why no request came.
enum NoRequest {
    Refused(Refused),
    /// The peer closed, or nothing came in time.
    Gone,
}

struct Connection<'a> {
    stream: TlsStream<TcpStream>,
    /// CB-octets of the certificate that the mobile node has met.
    binding: ChannelBinding,
    peer: SocketAddr,
    /// When the session ends.
    deadline: Instant,
    lockstep: Lockstep,
    /// What an AAA server has said of this session for accounting.
    authorised: Option<Authorised>,
    shared: &'a Shared,
}

impl Connection<'_> {
    /// Runs the session until a response ends it.
    async fn run(&mut self, service: Service) -> io::Result<()> {
        let shared = self.shared;
        let (realm, binding) = (shared.realm.get(), self.binding.clone());
        let mut session = Session::new(realm, binding, shared.limits.get().retry_after);
        loop {
            let request = match self.request().await {
                Ok(Ok(request)) => request,
                Ok(Err(NoRequest::Refused(Refused { identifier }))) => {
                    let reply = refuse_unkeyed(StatusCode::BadRequest, None);
                    self.report(reply.outcome, &session);
                    return self.respond(identifier, &reply).await;
                }
                Ok(Err(NoRequest::Gone)) => {
                    self.report_gone(&session);
                    return Ok(());
                }
                Err(error) => {
                    self.report_gone(&session);
                    return Err(error);
                }
            };
            let reply = match service {
                Service::Full => self.answer(&mut session, &request).await,
                Service::TurnAway => {
                    let retry_after =
                        (shared.clock)().saturating_add(shared.limits.get().retry_after);
                    refuse_unkeyed(StatusCode::ServiceUnavailable, Some(retry_after))
                }
            };
            self.report(reply.outcome, &session);
            self.hold_back(reply.outcome, session.mn_id()).await;
            self.respond(request.identifier, &reply).await?;
            if reply.outcome.ends() {
                return Ok(());
            }
        }
    }

    async fn answer(&mut self, session: &mut Session, request: &Request) -> Reply {
        let shared = self.shared;
        let mut step =
            session.request(&request.content, (shared.clock)(), &mut DrawnEntropy::default());
        if let Step::Relay(relay) = step {
            let result = self.relay(*relay).await;
            step = session.relayed(result, (shared.clock)(), &mut DrawnEntropy::default());
        }
        match step {
            Step::Respond(reply) => reply,
            Step::Issue(mut request) => {
                let accounting = shared.accounting.as_ref();
                request.account = accounting.map(|it| it.to_keep(self.authorised.take()));
                // the record is in the directory before Response/Done leaves.
                let result = shared.directory.issue(*request).await;
                if let (Err(error), Some(suppressed)) = (&result, shared.may_warn()) {
                    self.not_issued(*error, session.mn_id(), suppressed);
                }
                session.issued(result, (shared.clock)())
            }
            // What the AAA server says is answered or issued.
            Step::Relay(_) => refuse_unkeyed(StatusCode::InternalServerError, None),
        }
    }

    /// Says why nothing was issued, and to whom; of a pool that is leased out, which one it is.
    fn not_issued(&self, error: IssueError, mn_id: Option<&MobileNodeId>, suppressed: u64) {
        let realm = self.shared.realm.get();
        let (pool, taken) = (error.pool(), error.taken().map(tracing::field::display));
        let home_agent = pool.and_then(|pool| realm.home_agents.get(pool.home_agent));
        warn!(
            peer = %self.peer,
            mn_id = mn_id.map(tracing::field::display),
            error = error.name(),
            pool = pool.map(|pool| pool.family.kind().name()),
            home_agent = home_agent.map(|agent| &*agent.name),
            taken,
            suppressed,
            "no SA could be issued"
        );
    }

    /// Lets who fails again and again wait for its 401. It goes on to count as a connection of its
    /// source, whether it waits for the answer or not.
    async fn hold_back(&self, outcome: Outcome, mn_id: Option<&MobileNodeId>) {
        let (Outcome::Refused(StatusCode::Unauthorized), Some(mn_id)) = (outcome, mn_id) else {
            return;
        };
        let delay = self.shared.failures.count(mn_id, std::time::Instant::now());
        if !delay.is_zero() {
            self.shared.counters.count(Counter::Delayed);
            // The answer has to leave before the session ends.
            let left = self.deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(delay.min(left / 2)).await;
        }
    }

    /// Asks the AAA server.
    async fn relay(&mut self, relay: Relay) -> Result<Relayed, RelayError> {
        let Some(client) = &self.shared.radius else {
            // The configuration never offers what no server is there for.
            return Err(RelayError::AllDead { retry_after: self.shared.limits.get().retry_after });
        };
        let (mn_id, from) = (relay.mn_id.clone(), self.peer.ip());
        let relayed = client.relay(relay, from).await;
        if let Ok(Relayed::Accept { user_name, authorisation, .. }) = &relayed
            // What is said about one subscriber is never put to another's account.
            && user_name.as_deref() == Some(mn_id.as_str())
        {
            let interim_interval = authorisation.interim_interval;
            let class = authorisation.class.clone();
            self.authorised = Some(Authorised { class, interim_interval, from });
        }
        relayed
    }

    /// Waits for one request.
    async fn request(&mut self) -> io::Result<Result<Request, NoRequest>> {
        let deadline = Instant::now() + self.shared.limits.get().request_timeout;
        let mut chunk = [0; 4096];
        loop {
            match self.lockstep.next_request() {
                Ok(Some(request)) => return Ok(Ok(request)),
                Ok(None) => {}
                Err(refused) => return Ok(Err(NoRequest::Refused(refused))),
            }
            match timeout_at(deadline, self.stream.read(&mut chunk)).await {
                Ok(Ok(0)) => return Ok(Err(self.unfinished())),
                Ok(Ok(count)) => self.lockstep.push(chunk.get(..count).unwrap_or_default()),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    self.shared.counters.count(Counter::TimedOut);
                    return Ok(Err(self.unfinished()));
                }
            }
        }
    }

    fn unfinished(&self) -> NoRequest {
        self.lockstep.abandon().map_or(NoRequest::Gone, NoRequest::Refused)
    }

    async fn respond(&mut self, identifier: u8, reply: &Reply) -> io::Result<()> {
        let container =
            container::encode(identifier, &reply.content).ok_or(io::ErrorKind::InvalidData)?;
        if reply.outcome.ends() && container.len() <= RECORD {
            // The last one and close_notify in one go: each segment costs both ends as much again.
            let (_, tls) = self.stream.get_mut();
            tls.writer().write_all(&container)?;
            tls.send_close_notify();
        } else {
            self.stream.write_all(&container).await?;
        }
        self.stream.flush().await
    }

    fn report(&self, outcome: Outcome, session: &Session) {
        let (peer, mn_id) = (self.peer, session.mn_id().map_or("-", |mn_id| mn_id.as_str()));
        match outcome {
            Outcome::Challenged => debug!(%peer, mn_id, "challenged"),
            Outcome::Issued(spi) => {
                self.ended(session, Counter::Issued);
                info!(%peer, mn_id, %spi, "issued");
            }
            Outcome::Refused(status) => {
                self.ended(session, Counter::of(status));
                if let Some(suppressed) = self.shared.may_warn() {
                    match session.misfit() {
                        Some(misfit) => {
                            warn!(%peer, mn_id, ?status, %misfit, suppressed, "the AAA server grants \
                                   what there is not");
                        }
                        None => warn!(%peer, mn_id, ?status, suppressed, "refused"),
                    }
                }
            }
        }
    }

    fn ended(&self, session: &Session, end: Counter) {
        self.shared.counters.count(end);
        self.shared.by_method.count(session.method(), end);
    }

    /// A mobile node that does not go on after the challenge: its key may be another, which it sees first
    /// (RFC 6618 s.5.8), or it may be none of ours. Nothing here knows whether its mn-id exists.
    fn report_gone(&self, session: &Session) {
        let Some(mn_id) = session.mn_id() else { return };
        self.ended(session, Counter::LeftAfterChallenge);
        if let Some(suppressed) = self.shared.may_warn() {
            warn!(
                peer = %self.peer, mn_id = mn_id.as_str(), suppressed,
                "left after the challenge: another key here or there, or no subscriber?"
            );
        }
    }

    /// close_notify, FIN, a short drain.
    async fn close(mut self) {
        let closing = timeout(DRAIN_TIMEOUT, self.stream.shutdown());
        if matches!(closing.await, Ok(Ok(()))) {
            drain(self.stream.get_mut().0).await;
        }
    }
}

/// Reads and throws away until the peer closes, for a bounded time.
pub(crate) async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let rest = async {
        let (mut chunk, mut drained) = ([0; 2048], 0);
        while drained < DRAIN_OCTETS {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(count) => drained += count,
            }
        }
    };
    let _ = timeout(DRAIN_TIMEOUT, rest).await;
}
