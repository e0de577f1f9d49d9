//! One HTTP request over the daemon's Unix socket.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hearth_api::ListRequest;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::{DeserializeOwned, Deserializer as _, SeqAccess, Visitor};
use signal_hook::consts::{SIGINT, SIGTERM};
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// Why the daemon did not answer.
#[derive(Debug, Error)]
pub enum Error {
    /// Nobody listens on the socket.
    #[error("no daemon listens on {}: {source}; is {daemon} running?", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
        /// Who should listen there.
        daemon: &'static str,
    },
    /// The socket is somebody else's.
    #[error(
        "{} can't be opened: permission denied; run hearth as root, or as a member of the group \
         that the socket belongs to",
        path.display()
    )]
    Forbidden {
        /// The socket.
        path: PathBuf,
    },
    /// Something listens and says nothing.
    #[error(
        "{daemon} listens on {} and does not answer within {} s: it is stopped or stuck; see its \
         log, or wait longer with --timeout",
        path.display(),
        patience.as_secs()
    )]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long was waited.
        patience: Duration,
        /// Who listens there.
        daemon: &'static str,
    },
    /// The connection broke.
    #[error("the connection to the daemon broke: {0}; it may have ended")]
    Http(#[from] hyper::Error),
    /// The machine is not as it has to be.
    #[error("{0}")]
    Setup(String),
    /// The runtime could not start, the request could not be built, or a file can't be used.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Arguments that don't go together.
    #[error("{0}")]
    Arguments(&'static str),
    /// The daemon refused without a word.
    #[error("the daemon answered {0}{words}", words = meaning(*.0))]
    Status(StatusCode),
    /// The daemon refused, and said why.
    #[error("{0}")]
    Refused(String),
    /// A command about many without a word that this is meant.
    #[error("that concerns {0}; say --yes if it is meant")]
    NotMeant(String),
    /// `set` without anything to set.
    #[error("nothing to change for {0}; give KEY=VALUE, or a pre-shared key")]
    NothingToSet(String),
    /// `explain` of what there is not.
    #[error(
        "there is no drop reason and no status {0}; hearth show drops --all lists the reasons, and \
         docs/reasons.md everything"
    )]
    NothingToExplain(String),
    /// The answer is not what this version expects.
    #[error("the daemon's answer can't be read: {0}; are hearth and it of one version?")]
    Json(#[from] serde_json::Error),
}

/// What an answer without a word means.
fn meaning(status: StatusCode) -> &'static str {
    match status {
        StatusCode::GATEWAY_TIMEOUT => {
            ": its control thread is busy or stuck; see its log, and try again"
        }
        StatusCode::SERVICE_UNAVAILABLE => ": too many clients ask at once; try again",
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            ": it knows no such question; are hearth and it of one version?"
        }
        _ => "",
    }
}

/// Where the daemon is, and how long it may take to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Its API socket.
    pub socket: PathBuf,
    /// Its name.
    pub name: &'static str,
    /// For how long it may be silent.
    pub patience: Duration,
}

/// The whole rows at the beginning of a JSON list that breaks off somewhere.
struct Beginning<T>(Vec<T>);

impl<T: DeserializeOwned> Beginning<T> {
    fn of(octets: &[u8]) -> Self {
        let mut rows = Self(Vec::new());
        // Its end is an error where the list breaks off, and the rows before it are there.
        let _ = serde_json::Deserializer::from_slice(octets).deserialize_seq(&mut rows);
        rows
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for &mut Beginning<T> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(row) = list.next_element()? {
            self.0.push(row);
        }
        Ok(())
    }
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The daemon had no more.
    Finished,
    /// By SIGINT or SIGTERM to this process, or by `each`.
    Interrupted,
}

impl Daemon {
    /// Fetches the document at `path`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(serde_json::from_slice(&runtime.block_on(self.fetch(path))?)?)
    }

    /// Fetches the rows of the list at `path` that `request` wants.
    ///
    /// # Errors
    /// [`Error`].
    pub fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &ListRequest,
    ) -> Result<Vec<T>, Error> {
        let query = serde_urlencoded::to_string(request).map_err(io::Error::other)?;
        self.get(&format!("{path}?{query}"))
    }

    /// The beginning of the list at `path`: what comes within the patience, `most` octets or a
    /// little more of it. For who may not wait for a list of a million.
    ///
    /// # Errors
    /// [`Error`].
    pub fn beginning<T: DeserializeOwned>(&self, path: &str, most: usize) -> Result<Vec<T>, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut octets = Vec::new();
        let reading = async {
            let request = Request::get(path).body(Full::default()).map_err(io::Error::other)?;
            let mut body = self.send(request).await?.into_body();
            while octets.len() < most {
                let Some(frame) = body.frame().await.transpose()? else { break };
                octets.extend_from_slice(frame.data_ref().map_or(&[], |chunk| chunk));
            }
            Ok::<(), Error>(())
        };
        let read = runtime.block_on(async { timeout(self.patience, reading).await });
        // Late, and nothing of it: that is an error. Late with a part is what was asked for.
        match read {
            Ok(read) => read?,
            Err(_) if octets.is_empty() => return Err(self.silent()),
            Err(_) => {}
        }
        Ok(Beginning::of(&octets).0)
    }

    /// Posts `request`, and reads the document that answers it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn post<T: Serialize, U: DeserializeOwned>(
        &self,
        path: &str,
        request: &T,
    ) -> Result<U, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let json = serde_json::to_vec(request)?;
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(Full::from(json)).map_err(io::Error::other)?;
        Ok(serde_json::from_slice(&runtime.block_on(self.document(request))?)?)
    }

    /// Posts `lines`, and gives the octets that answer them.
    ///
    /// # Errors
    /// [`Error`].
    pub fn exchange(&self, path: &str, lines: Vec<u8>) -> Result<Vec<u8>, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let request = Request::post(path).header("content-type", "application/x-ndjson");
        let request = request.body(Full::from(lines)).map_err(io::Error::other)?;
        runtime.block_on(self.document(request))
    }

    /// Posts `request` and gives the octets of the answer to `each` as they come, which they do for
    /// `seconds` at most. When this returns, the connection is closed, and the daemon knows.
    ///
    /// # Errors
    /// [`Error`], those of `each` included. [`ErrorKind::BrokenPipe`] from `each` ends the stream
    /// without one.
    pub fn stream<T: Serialize>(
        &self,
        path: &str,
        request: &T,
        seconds: u32,
        each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<StreamEnd, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let json = serde_json::to_vec(request)?;
        runtime.block_on(async {
            // The first signal ends the stream in good order; the second one ends the process,
            // should `each` be stuck in a write.
            let stopping = Arc::new(AtomicBool::new(false));
            for number in [SIGINT, SIGTERM] {
                signal_hook::flag::register_conditional_shutdown(
                    number,
                    128 + number,
                    Arc::clone(&stopping),
                )?;
                signal_hook::flag::register(number, Arc::clone(&stopping))?;
            }
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let request = Request::post(path).header("content-type", "application/json");
            let request = request.body(Full::from(json)).map_err(io::Error::other)?;
            tokio::select! {
                ended = self.frames(request, seconds, each) => ended,
                _ = interrupt.recv() => Ok(StreamEnd::Interrupted),
                _ = terminate.recv() => Ok(StreamEnd::Interrupted),
            }
        })
    }

    async fn frames(
        &self,
        request: Request<Full<Bytes>>,
        seconds: u32,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<StreamEnd, Error> {
        let mut body = self.in_time(self.send(request)).await??.into_body();
        let end = tokio::time::Instant::now() + Duration::from_secs(seconds.into()) + self.patience;
        loop {
            let frame =
                tokio::time::timeout_at(end, body.frame()).await.map_err(|_| self.silent())?;
            let Some(frame) = frame.transpose()? else { return Ok(StreamEnd::Finished) };
            match frame.data_ref().map(|chunk| each(chunk)) {
                Some(Err(error)) if error.kind() == ErrorKind::BrokenPipe => {
                    return Ok(StreamEnd::Interrupted);
                }
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(())) | None => {}
            }
        }
    }

    async fn fetch(&self, path: &str) -> Result<Vec<u8>, Error> {
        let request = Request::get(path).body(Full::default()).map_err(io::Error::other)?;
        self.document(request).await
    }

    /// The document that answers a request; a long one may take long, as long as it goes on.
    async fn document(&self, request: Request<Full<Bytes>>) -> Result<Vec<u8>, Error> {
        let mut body = self.in_time(self.send(request)).await??.into_body();
        let mut octets = Vec::new();
        while let Some(frame) = self.in_time(body.frame()).await?.transpose()? {
            if let Some(chunk) = frame.data_ref() {
                octets.extend_from_slice(chunk);
            }
        }
        Ok(octets)
    }

    /// Sends one request; an answer other than 200 is an error.
    async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| self.unreachable(e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        request.headers_mut().insert("host", hyper::header::HeaderValue::from_static("localhost"));
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

    async fn in_time<T>(&self, what: impl Future<Output = T>) -> Result<T, Error> {
        timeout(self.patience, what).await.map_err(|_| self.silent())
    }

    fn silent(&self) -> Error {
        Error::Silent { path: self.socket.clone(), patience: self.patience, daemon: self.name }
    }

    fn unreachable(&self, source: io::Error) -> Error {
        let path = self.socket.clone();
        match source.kind() {
            ErrorKind::PermissionDenied => Error::Forbidden { path },
            // More clients wait than the socket holds: nobody takes them.
            ErrorKind::WouldBlock => self.silent(),
            _ => Error::Connect { path, source, daemon: self.name },
        }
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
