//! `GET /metrics` on TCP, for a Prometheus on another machine: read only, nothing else is there.
//!
//! Whoever reaches the port may read. A client costs a connection for a few seconds at most, and
//! there are few of them at one time.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::metrics::{Format, Sheet};
use crate::paths::METRICS;

/// Connections at one time; more wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// From a connection's begin to its end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of a request's line and headers.
const REQUEST_ROOM: usize = 8192;
/// How long a listener that can't accept waits, as when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes the address before the daemon gives up its rights.
///
/// # Errors
/// It is in use, or not this machine's.
pub fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    let listener = StdListener::bind(address).map_err(named)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A response that holds a sheet, for a request with these headers.
#[must_use]
pub fn page(headers: &HeaderMap, answer: Result<Sheet, StatusCode>) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    match answer.map(|sheet| sheet.to_text(format)) {
        Ok(Ok(text)) => ([(CONTENT_TYPE, format.content_type())], text).into_response(),
        Ok(Err(_)) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Err(status) => status.into_response(),
    }
}

/// Answers for as long as the runtime runs.
///
/// # Errors
/// The listener can't be used.
pub async fn serve<F>(
    listener: StdListener,
    answer: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> io::Result<Infallible>
where
    F: Future<Output = Result<Sheet, StatusCode>> + Send + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = answer.clone();
                tokio::spawn(async move {
                    // Whoever is slow loses the connection, and that is all there is to say.
                    let _ended = timeout(PATIENCE, talk(stream, answer)).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn talk<F>(stream: TcpStream, answer: impl Fn() -> F) -> Result<(), hyper::Error>
where
    F: Future<Output = Result<Sheet, StatusCode>>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let refusal = refusal(&request);
        let answer = refusal.is_none().then(&answer);
        async move {
            let response = match (refusal, answer) {
                (None, Some(answer)) => page(request.headers(), answer.await),
                (status, _) => status.unwrap_or(StatusCode::NOT_FOUND).into_response(),
            };
            Ok::<_, Infallible>(response)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .max_buf_size(REQUEST_ROOM)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn refusal(request: &Request<Incoming>) -> Option<StatusCode> {
    if request.uri().path() != METRICS {
        return Some(StatusCode::NOT_FOUND);
    }
    (*request.method() != Method::GET).then_some(StatusCode::METHOD_NOT_ALLOWED)
}
