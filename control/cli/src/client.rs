//! One HTTP request over the daemon's Unix socket.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

/// Why the daemon did not answer.
#[derive(Debug, Error)]
pub enum Error {
    /// Nobody listens on the socket.
    #[error("no home agent listens on {}: {source}; is hearthd running?", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to hearthd broke: {0}")]
    Http(#[from] hyper::Error),
    /// The runtime could not start, or the request could not be built.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The daemon refused.
    #[error("hearthd answered {0}")]
    Status(StatusCode),
    /// The answer is not what this version expects.
    #[error("hearthd's answer can't be read: {0}; are hearth and hearthd of one version?")]
    Json(#[from] serde_json::Error),
}

/// Fetches the document at `path` from the daemon behind `socket`.
///
/// # Errors
/// [`Error`].
pub fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let body = runtime.block_on(fetch(socket, path))?;
    Ok(serde_json::from_slice(&body)?)
}

async fn fetch(socket: &Path, path: &str) -> Result<Bytes, Error> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| Error::Connect { path: socket.to_owned(), source })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "hearthd")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(Error::Status(response.status()));
    }
    Ok(response.into_body().collect().await?.to_bytes())
}

/// Prints `text`; a reader that closed the pipe (`hearth show sas | head`) is no error.
pub fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => eprintln!("hearth: {error}"),
        _ => {}
    }
}
