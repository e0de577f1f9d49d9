//! One HTTP request over the daemon's Unix socket.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

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
    /// The daemon refused without a word.
    #[error("hearthd answered {0}")]
    Status(StatusCode),
    /// The daemon refused, and said why.
    #[error("{0}")]
    Refused(String),
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

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The daemon had no more.
    Finished,
    /// By SIGINT or SIGTERM to this process, or by `each`.
    Interrupted,
}

/// Posts `request` and gives the octets of the answer to `each` as they come. When this returns,
/// the connection is closed, and the daemon knows.
///
/// # Errors
/// [`Error`], those of `each` included. [`ErrorKind::BrokenPipe`] from `each` ends the stream
/// without one.
pub fn stream<T: Serialize>(
    socket: &Path,
    path: &str,
    request: &T,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<StreamEnd, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let json = serde_json::to_vec(request)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(Full::from(json)).map_err(io::Error::other)?;
        let mut body = send(socket, request).await?.into_body();
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                _ = interrupt.recv() => return Ok(StreamEnd::Interrupted),
                _ = terminate.recv() => return Ok(StreamEnd::Interrupted),
            };
            let Some(frame) = frame.transpose()? else { return Ok(StreamEnd::Finished) };
            match frame.data_ref().map(|chunk| each(chunk)) {
                Some(Err(error)) if error.kind() == ErrorKind::BrokenPipe => {
                    return Ok(StreamEnd::Interrupted);
                }
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(())) | None => {}
            }
        }
    })
}

async fn fetch(socket: &Path, path: &str) -> Result<Bytes, Error> {
    let request = Request::get(path).body(Full::default()).map_err(io::Error::other)?;
    Ok(send(socket, request).await?.into_body().collect().await?.to_bytes())
}

/// Sends one request; an answer other than 200 is an error.
async fn send(
    socket: &Path,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Error> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| Error::Connect { path: socket.to_owned(), source })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    request.headers_mut().insert("host", hyper::header::HeaderValue::from_static("hearthd"));
    let response = sender.send_request(request).await?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let text = response.into_body().collect().await?.to_bytes();
    match std::str::from_utf8(&text) {
        Ok(text) if !text.is_empty() => Err(Error::Refused(text.into())),
        _ => Err(Error::Status(status)),
    }
}

/// Prints `text`; a reader that closed the pipe (`hearth show sas | head`) is no error.
pub fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => eprintln!("hearth: {error}"),
        _ => {}
    }
}
