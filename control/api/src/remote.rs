//! HTTP for other machines: mutual TLS on TCP.
//!
//! Who has no certificate of the deployment's authority ends in the handshake, and HTTP never sees
//! it. Whoever is slow, sends too much or has too many connections is let go; the socket of this
//! machine and forwarding don't notice.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hearth_log::LogLimit;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::server::{Certified, Peer, Refused, Role};
use crate::tls::client_names;

/// Handshakes at one time; more wait in the kernel's queue.
const HANDSHAKES: usize = 32;
/// Connections at one time whose client has proved who it is.
const CONNECTIONS: usize = 64;
/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Longest wait for the line and headers of a request, and for the next one.
const HEADERS: Duration = Duration::from_secs(10);
/// Longest wait for the rest of a request and the begin of its answer.
const REQUEST: Duration = Duration::from_secs(20);
/// Octets of a request's line and headers.
const HEADER_ROOM: usize = 16 * 1024;
/// Octets of a request's body.
const BODY_ROOM: usize = 64 * 1024;
/// Milliseconds for which a client may leave octets unacknowledged, or its window shut.
const USER_TIMEOUT: u32 = 30_000;
/// How long a listener that can't accept waits, as when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Who may do what, by the names in clients' certificates.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Who may look.
    pub readers: Vec<String>,
    /// Who may change something too.
    pub operators: Vec<String>,
}

impl Names {
    /// Whose certificate has these names, and what that allows: the most of what one of them does.
    fn role(&self, names: &[Box<str>]) -> Option<Certified> {
        let among = |known: &[String], role| {
            let name = names
                .iter()
                .find(|name| known.iter().any(|known| known.eq_ignore_ascii_case(name)))?;
            Some(Certified { name: name.as_ref().into(), role })
        };
        among(&self.operators, Role::Operator).or_else(|| among(&self.readers, Role::Reader))
    }
}

/// Serves `router` to clients of other machines for as long as the runtime runs; `settings` are what
/// they meet at the time.
///
/// # Errors
/// The listener can't be used.
pub async fn serve(
    listener: StdListener,
    settings: watch::Receiver<Arc<ServerConfig>>,
    names: Names,
    router: Router,
) -> io::Result<Infallible> {
    let listener = TcpListener::from_std(listener)?;
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (names, log_limit) = (Arc::new(names), Arc::new(LogLimit::default()));
    loop {
        let handshake = handshakes.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let acceptor = TlsAcceptor::from(settings.borrow().clone());
        let (names, router) = (names.clone(), router.clone());
        let (places, log_limit) = (places.clone(), log_limit.clone());
        tokio::spawn(async move {
            let served = client(stream, address, &acceptor, &names, (handshake, places), router);
            if let Err(error) = served.await
                && let Some(suppressed) = log_limit.admit(Instant::now())
            {
                tracing::warn!(%address, %error, suppressed, "refused at the API");
            }
        });
    }
}

async fn client(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: &TlsAcceptor,
    names: &Names,
    (handshake, places): (OwnedSemaphorePermit, Arc<Semaphore>),
    router: Router,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_user_timeout(&stream, USER_TIMEOUT)?;
    let stream = timeout(HANDSHAKE, acceptor.accept(stream))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    drop(handshake);
    let _place = places
        .try_acquire_owned()
        .map_err(|_| io::Error::other("too many connections at one time"))?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let found = chain.first().map(client_names).unwrap_or_default();
    let certified = names.role(&found);
    if certified.is_none() {
        tracing::debug!(%address, ?found, "neither a reader nor an operator");
    }
    talk(stream, certified, router).await;
    Ok(())
}

/// Answers requests until the client goes, or is let go.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    certified: Option<Certified>,
    router: Router,
) {
    let peer = Peer { certified: certified.clone(), ..Peer::default() };
    let router = router
        .layer(middleware::from_fn_with_state(certified, gate))
        .layer(DefaultBodyLimit::max(BODY_ROOM))
        .layer(Extension(ConnectInfo(peer)));
    // Whoever is slow or speaks no HTTP loses the connection, and that is all there is to say.
    let _ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER_ROOM)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
}

/// Lets through what the certificate allows, for a while.
async fn gate(
    State(certified): State<Option<Certified>>,
    request: Request,
    next: Next,
) -> Response {
    let is_reading = [Method::GET, Method::HEAD].contains(request.method());
    let text = match certified.map(|certified| certified.role) {
        Some(Role::Operator) => None,
        Some(Role::Reader) if is_reading => None,
        Some(Role::Reader) => {
            Some("a reader may only look; api.tls.operators in hearthd's YAML may change something")
        }
        None => Some(
            "no name in this certificate stands under api.tls.readers or api.tls.operators in \
             hearthd's YAML",
        ),
    };
    if let Some(text) = text {
        return Refused::Forbidden(text.into()).into_response();
    }
    match timeout(REQUEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
