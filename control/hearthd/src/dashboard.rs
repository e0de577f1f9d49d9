//! The dashboard: a page for a browser on this machine, and what it asks of the API. Nothing can be
//! changed here.
//!
//! It is plain HTTP without a word of who asks, so it listens on loopback alone. Whoever may run a program
//! on the machine may look; pages of others in a browser may not: the Host of a request has to be
//! loopback's, and no other origin is allowed to read an answer.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at one time; more wait in the kernel's queue. A browser has six.
const CONNECTIONS: usize = 64;
/// From a connection's begin, or the end of a request, to the end of the next one's headers.
const PATIENCE: Duration = Duration::from_secs(30);
/// Octets of a request's line and headers.
const REQUEST_ROOM: usize = 16_384;
/// How long a listener that can't accept waits, as when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Scripts and styles are its own, and it asks nobody else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and its parts. Relative to where it stands, so that it can be served elsewhere too.
pub(crate) fn page<S: Clone + Send + Sync + 'static>() -> axum::Router<S> {
    let part = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(CONTENT_TYPE, kind)], text) })
    };
    axum::Router::new()
        .route("/", part("text/html; charset=utf-8", include_str!("../dashboard/index.html")))
        .route("/dashboard.css", part("text/css", include_str!("../dashboard/dashboard.css")))
        .route("/dashboard.js", part("text/javascript", include_str!("../dashboard/dashboard.js")))
        .route("/dashboard.svg", part("image/svg+xml", include_str!("../dashboard/dashboard.svg")))
}

/// Answers with `router` for as long as the runtime runs.
///
/// # Errors
/// The listener can't be used.
pub(crate) async fn serve(listener: StdListener, router: axum::Router) -> io::Result<Infallible> {
    let router = router.layer(from_fn(guard));
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            // Whoever is slow loses the connection, and that is all there is to say.
            let _ended = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(REQUEST_ROOM)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(place);
        });
    }
}

async fn guard(request: Request, next: Next) -> Response {
    let mut response = if is_loopback(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "ask by localhost, 127.0.0.1 or [::1]").into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a request names this machine: a name that a stranger has pointed here is another one.
fn is_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].contains(&name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_name_for_this_machine_is_refused() {
        let is = |host: &'static str| {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            is_loopback(&headers)
        };
        for right in ["localhost", "localhost:9680", "127.0.0.1:1", "[::1]", "[::1]:9680"] {
            assert!(is(right), "{right}");
        }
        for wrong in ["", "example.net", "localhost.example.net:80", "127.0.0.1.nip.io", "::1:80:x"]
        {
            assert!(!is(wrong), "{wrong}");
        }
        assert!(!is_loopback(&HeaderMap::new()));
    }

    /// Nothing in the page needs what its policy forbids, and it asks nobody else.
    #[test]
    fn the_page_keeps_its_own_policy() {
        let html = include_str!("../dashboard/index.html");
        let script = include_str!("../dashboard/dashboard.js");
        for forbidden in ["style=", "onclick", "<style", "http://", "https://"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        for forbidden in ["innerHTML", "insertAdjacentHTML", "eval(", "document.write", ".style."] {
            assert!(!script.contains(forbidden), "{forbidden}");
        }
    }
}
