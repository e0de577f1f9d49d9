//! The control socket: `hearth-mn status`, `monitor` and `down` talk to the running node here.
//!
//! A request is one line of JSON, `{"do": "status"}`; the answer is one line of JSON, or of
//! `monitor` one for each event. Whoever may open the socket (root, and the group that the node
//! runs as) may look; only root and the node's own user may end it.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::place::Place;

/// Longest request.
const MAX_REQUEST: u64 = 256;
/// Connections that are answered at the same time; more are closed.
const MAX_CONNECTIONS: usize = 16;
/// How long a peer may take for its request, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the peer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub enum Question {
    /// The status, as one object.
    Status,
    /// Events from now on, a line each; the first is the state.
    Monitor,
    /// End; answered when everything is put back.
    Down,
}

/// A question, and how it is answered.
#[derive(Debug)]
pub enum Request {
    /// With the line of the status.
    Status(SyncSender<Vec<u8>>),
    /// With lines, into a socket that never waits.
    Monitor(UnixStream),
    /// With the last thing that the process does.
    Down(UnixStream),
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A node of this name runs.
    #[error(
        "process {pid} runs here as mobile node {name} already; `hearth-mn down {name}` ends it, and \
         a YAML file of another name has a node of its own"
    )]
    Taken {
        /// Its name.
        name: String,
        /// Who it is.
        pid: i32,
    },
    /// As the operating system says.
    #[error("no control socket at {}: {error}{}", path.display(), rights(error))]
    System {
        /// Where it was to be.
        path: PathBuf,
        /// What was wrong.
        error: io::Error,
    },
}

fn rights(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { "; it takes root" } else { "" }
}

/// The socket; dropping it removes its name.
#[derive(Debug)]
pub struct Control(PathBuf);

impl Control {
    /// Listens at `place`. `tell` takes a request; it returns whether anybody still does.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn listen(
        place: &Place,
        tell: impl Fn(Request) -> bool + Clone + Send + 'static,
    ) -> Result<Self, ControlError> {
        let path = place.socket();
        let listener = bind(place, &path)?;
        let system = |error| ControlError::System { path: path.clone(), error };
        let control = Self(path.clone());
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || serve(&listener, &tell))
            .map_err(system)?;
        Ok(control)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn bind(place: &Place, path: &Path) -> Result<UnixListener, ControlError> {
    let system = |error| ControlError::System { path: path.to_owned(), error };
    place.prepare().map_err(system)?;
    if let Ok(owner) = UnixStream::connect(path) {
        let owner = rustix::net::sockopt::socket_peercred(&owner);
        let pid = owner.map_or(0, |owner| owner.pid.as_raw_nonzero().get());
        return Err(ControlError::Taken { name: place.name().to_owned(), pid });
    }
    // What a node that was killed left behind.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(system)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(system)?;
    Ok(listener)
}

fn serve(listener: &UnixListener, tell: &(impl Fn(Request) -> bool + Clone + Send + 'static)) {
    let running = Arc::new(());
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let (tell, running) = (tell.clone(), Arc::clone(&running));
        // One is the listener's own, one this connection's.
        if Arc::strong_count(&running) > MAX_CONNECTIONS + 1 {
            continue;
        }
        let answer = move || {
            let _running = running;
            if let Err(error) = answer(stream, &tell) {
                tracing::debug!(%error, "control connection");
            }
        };
        if thread::Builder::new().name("control".to_owned()).spawn(answer).is_err() {
            tracing::warn!("no thread for a control connection");
        }
    }
}

fn answer(mut stream: UnixStream, tell: &impl Fn(Request) -> bool) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(Read::take(&stream, MAX_REQUEST)).read_line(&mut line)?;
    let Ok(question) = serde_json::from_str::<Question>(&line) else {
        return refuse(&mut stream, "no request");
    };
    let told = match question {
        Question::Status => {
            let (sender, status) = sync_channel(1);
            if !tell(Request::Status(sender)) {
                return refuse(&mut stream, "the node ends");
            }
            return match status.recv_timeout(PATIENCE) {
                Ok(line) => stream.write_all(&line),
                Err(_) => refuse(&mut stream, "the node does not answer"),
            };
        }
        Question::Monitor => {
            stream.set_nonblocking(true)?;
            tell(Request::Monitor(stream.try_clone()?))
        }
        Question::Down if !may_end(&stream) => {
            return refuse(&mut stream, "only root and the node's own user may end it");
        }
        Question::Down => tell(Request::Down(stream.try_clone()?)),
    };
    if told { Ok(()) } else { refuse(&mut stream, "the node ends") }
}

fn refuse(stream: &mut UnixStream, why: &str) -> io::Result<()> {
    let line = serde_json::json!({ "error": why });
    writeln!(stream, "{line}")
}

fn may_end(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid();
    rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| peer.uid.is_root() || peer.uid == own)
}

/// Peers that want every event.
#[derive(Debug, Default)]
pub struct Monitors(Vec<UnixStream>);

impl Monitors {
    /// One more, which gets `first`. One that has gone makes room.
    pub fn add(&mut self, peer: UnixStream, first: &[u8]) {
        self.0.retain(is_there);
        if self.0.len() < MAX_CONNECTIONS {
            self.0.push(peer);
            if let Some(peer) = self.0.last_mut() {
                let _ = peer.write_all(first);
            }
        }
    }

    /// Tells all; who does not read loses its place.
    pub fn tell(&mut self, line: &[u8]) {
        self.0.retain_mut(|peer| peer.write_all(line).is_ok());
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A peer that has hung up reads as ended; one that listens has nothing to say.
fn is_there(mut peer: &UnixStream) -> bool {
    match peer.read(&mut [0; 1]) {
        Ok(len) => len > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Why a running node can't be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is none.
    #[error("no mobile node {0} is up in this network namespace")]
    NotRunning(String),
    /// The socket is not for this user.
    #[error("mobile node {0} can't be asked: only root and its group may")]
    NotPermitted(String),
    /// What the node said.
    #[error("mobile node {0} refuses: {1}")]
    Refused(String, String),
    /// Something else.
    #[error("mobile node {0} does not answer: {1}")]
    Broken(String, io::Error),
}

/// Puts a question to the node at `place`; its answers can be read line by line.
///
/// # Errors
/// [`AskError`].
pub fn ask(place: &Place, question: Question) -> Result<BufReader<UnixStream>, AskError> {
    let name = || place.name().to_owned();
    let mut stream = UnixStream::connect(place.socket()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning(name()),
        io::ErrorKind::PermissionDenied => AskError::NotPermitted(name()),
        _ => AskError::Broken(name(), error),
    })?;
    let mut line = serde_json::to_vec(&question).unwrap_or_default();
    line.push(b'\n');
    stream.write_all(&line).map_err(|error| AskError::Broken(name(), error))?;
    Ok(BufReader::new(stream))
}

/// Whether a node at `place` takes questions, from whomever it may be.
#[must_use]
pub fn is_running(place: &Place) -> bool {
    match UnixStream::connect(place.socket()) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// The next line of an answer; `None` at its end.
///
/// # Errors
/// [`AskError`].
pub fn next(
    place: &Place,
    answers: &mut BufReader<UnixStream>,
) -> Result<Option<serde_json::Value>, AskError> {
    let broken = |error| AskError::Broken(place.name().to_owned(), error);
    let mut line = String::new();
    if answers.read_line(&mut line).map_err(broken)? == 0 {
        return Ok(None);
    }
    let value: serde_json::Value =
        serde_json::from_str(&line).map_err(|error| broken(io::Error::other(error)))?;
    match value.get("error").and_then(serde_json::Value::as_str) {
        Some(why) if value.get("event").is_none() => {
            Err(AskError::Refused(place.name().to_owned(), why.to_owned()))
        }
        _ => Ok(Some(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    proptest::proptest! {
        /// Octets that are no question reach nobody, and get one line that says so.
        #[test]
        fn whatever_comes_there_is_one_line_for_an_answer(
            start in proptest::sample::select(vec!["", "{\"do\":\"status\"}", "{\"do\":\"down\""]),
            rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        ) {
            let (mut peer, own) = UnixStream::pair().unwrap();
            let mut octets = start.as_bytes().to_vec();
            octets.extend(rest);
            octets.push(b'\n');
            let asked = std::cell::Cell::new(false);
            peer.write_all(&octets).unwrap();
            let ended = answer(own, &|_| { asked.set(true); false });
            let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default();
            let question = serde_json::from_slice::<Question>(line);
            let said = BufReader::new(peer).lines().map_while(Result::ok).collect::<Vec<_>>();
            match (question.is_ok(), ended) {
                (true, Ok(())) => assert!(asked.get() && said.len() == 1, "{said:?}"),
                // More than a request may have is left unread, which a Unix socket's other end hears of.
                (false, Ok(())) => assert!(!asked.get() && said.len() <= 1, "{said:?}"),
                // Not UTF-8: the connection ends.
                (_, Err(error)) => assert!(!asked.get(), "{error}"),
            }
        }
    }

    #[test]
    fn questions_are_answered_and_anything_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::in_folder(folder.path());
        let (sender, requests) = channel();
        let control = Control::listen(&place, move |request| sender.send(request).is_ok()).unwrap();
        let taken = Control::listen(&place, |_| true).unwrap_err();
        let pid = std::process::id().to_string();
        assert!(taken.to_string().contains(&format!("process {pid} runs here")), "{taken}");
        let node = thread::spawn(move || {
            let Request::Status(answer) = requests.recv().unwrap() else { panic!("not asked") };
            answer.send(b"{\"state\":\"registered\"}\n".to_vec()).unwrap();
            let Request::Monitor(peer) = requests.recv().unwrap() else { panic!("not asked") };
            let mut monitors = Monitors::default();
            monitors.add(peer, b"{\"event\":\"state\"}\n");
            monitors.tell(b"{\"event\":\"error\",\"error\":\"x\"}\n");
            let Request::Down(mut peer) = requests.recv().unwrap() else { panic!("not asked") };
            peer.write_all(b"{\"stopped\":true}\n").unwrap();
        });
        let mut answers = ask(&place, Question::Status).unwrap();
        assert_eq!(next(&place, &mut answers).unwrap().unwrap()["state"], "registered");
        let mut events = ask(&place, Question::Monitor).unwrap();
        for event in ["state", "error"] {
            assert_eq!(next(&place, &mut events).unwrap().unwrap()["event"], event);
        }
        let mut end = ask(&place, Question::Down).unwrap();
        assert_eq!(next(&place, &mut end).unwrap().unwrap()["stopped"], true);
        assert!(next(&place, &mut end).unwrap().is_none());
        node.join().unwrap();
        for wrong in ["\n", "{\"do\":\"dance\"}\n", "down\n", &"x".repeat(400)] {
            let mut peer = UnixStream::connect(place.socket()).unwrap();
            peer.write_all(wrong.as_bytes()).unwrap();
            let mut answers = BufReader::new(peer);
            assert!(matches!(next(&place, &mut answers), Err(AskError::Refused(..))), "{wrong}");
        }
        drop(control);
        assert!(matches!(ask(&place, Question::Status), Err(AskError::NotRunning(_))));
    }

    #[test]
    fn who_hangs_up_or_does_not_read_loses_its_place() {
        let mut monitors = Monitors::default();
        let mut peers = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let (near, far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            monitors.add(near, b"{}\n");
            peers.push(far);
        }
        peers.pop();
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        monitors.add(near, b"first\n");
        let mut first = [0; 6];
        far.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"first\n");
        // Nobody reads: their buffers fill, and then nobody is left.
        let line = [b'x'; 65536];
        (0..64).for_each(|_| monitors.tell(&line));
        assert!(monitors.is_empty());
    }
}
