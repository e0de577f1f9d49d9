//! The API: HTTP with JSON over a Unix socket.
//!
//! A thread of its own with a small runtime; each request becomes a question to the control
//! thread, which owns the state and answers when it next looks.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use crossbeam_channel::{Receiver, Sender, bounded};
use hearth_api::follow::{CaptureRequest, TraceRequest};
use hearth_api::operate::{Begun, DrainRequest, GroupRow, ReinitRequest, RevokeRequest};
use hearth_api::{BindingRow, CounterRow, DropRow, PortRow, SaRow, WorkerRow, paths};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use crate::config::Api;
use crate::operate::Request;
use crate::operations_config::Operators;
use crate::outlet::Inlet;
use crate::wake::Waker;

/// A question to the control thread; the answer goes back through the sender inside.
#[derive(Debug)]
pub enum Question {
    /// All bindings.
    Bindings(oneshot::Sender<Vec<BindingRow>>),
    /// All SAs.
    Sas(oneshot::Sender<Vec<SaRow>>),
    /// All ports.
    Ports(oneshot::Sender<Vec<PortRow>>),
    /// All workers.
    Workers(oneshot::Sender<Vec<WorkerRow>>),
    /// All drop reasons.
    Drops(oneshot::Sender<Vec<DropRow>>),
    /// All counters that are no drops.
    Counters(oneshot::Sender<Vec<CounterRow>>),
    /// All multicast listeners.
    Groups(oneshot::Sender<Vec<GroupRow>>),
    /// Something that changes something.
    Operate(Request, Peer, oneshot::Sender<Result<Begun, Refused>>),
    /// A trace, as a stream of lines.
    Trace(TraceRequest, Peer, oneshot::Sender<Result<Inlet, Refused>>),
    /// A capture, as a stream of a pcapng file's octets.
    Capture(CaptureRequest, Peer, oneshot::Sender<Result<Inlet, Refused>>),
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The user; `None` where the kernel does not say.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// The process.
    pub pid: Option<i32>,
}

impl Peer {
    /// Whether it may change something.
    fn may_operate(&self, operators: &Operators) -> bool {
        let is_one = |id: Option<u32>, ids: &[u32]| id.is_some_and(|id| ids.contains(&id));
        self.uid == Some(0)
            || is_one(self.uid, &operators.uids)
            || is_one(self.gid, &operators.gids)
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred().ok();
        Self {
            uid: credentials.map(|credentials| credentials.uid()),
            gid: credentials.map(|credentials| credentials.gid()),
            pid: credentials.and_then(|credentials| credentials.pid()),
        }
    }
}

/// Why there is no answer, as the operator reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Others may.
    Forbidden(String),
    /// Something in the request is out of range.
    Request(String),
    /// What it names does not exist.
    Unknown(String),
    /// Another one is running.
    Busy(String),
    /// This daemon's own trouble.
    Fault(String),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Forbidden(text) => (StatusCode::FORBIDDEN, text),
            Self::Request(text) => (StatusCode::BAD_REQUEST, text),
            Self::Unknown(text) => (StatusCode::NOT_FOUND, text),
            Self::Busy(text) => (StatusCode::CONFLICT, text),
            Self::Fault(text) => (StatusCode::INTERNAL_SERVER_ERROR, text),
        };
        (status, text).into_response()
    }
}

/// Questions that wait; a client beyond them gets 503.
const BACKLOG: usize = 64;

/// How long the control thread may take.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Desk {
    questions: Sender<Question>,
    waker: Waker,
    operators: Arc<Operators>,
}

/// Starts to listen on the API's socket; questions come out of the receiver, and each wakes `waker`.
///
/// # Errors
/// The socket can't be made: another daemon listens on it, or its folder can't be written.
pub fn serve(api: &Api, waker: Waker) -> io::Result<Receiver<Question>> {
    let (questions, receiver) = bounded(BACKLOG);
    let listener = bind(&api.socket.value)?;
    let operators = Arc::new(api.operators.clone());
    let desk = Desk { questions, waker, operators };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("api".into()).spawn(move || {
        let ended = runtime.block_on(async move {
            let service = router(desk).into_make_service_with_connect_info::<Peer>();
            axum::serve(UnixListener::from_std(listener)?, service).await
        });
        if let Err(error) = ended {
            tracing::error!(%error, "the API ended");
        }
    })?;
    Ok(receiver)
}

fn router(desk: Desk) -> axum::Router {
    axum::Router::new()
        .route(paths::BINDINGS, get(|State(desk): State<Desk>| ask(desk, Question::Bindings)))
        .route(paths::SAS, get(|State(desk): State<Desk>| ask(desk, Question::Sas)))
        .route(paths::PORTS, get(|State(desk): State<Desk>| ask(desk, Question::Ports)))
        .route(paths::WORKERS, get(|State(desk): State<Desk>| ask(desk, Question::Workers)))
        .route(paths::DROPS, get(|State(desk): State<Desk>| ask(desk, Question::Drops)))
        .route(paths::COUNTERS, get(|State(desk): State<Desk>| ask(desk, Question::Counters)))
        .route(paths::GROUPS, get(|State(desk): State<Desk>| ask(desk, Question::Groups)))
        .route(paths::REVOKE, post(revoke))
        .route(paths::REINIT, post(reinit))
        .route(paths::DRAIN, post(drain))
        .route(paths::UNDRAIN, post(undrain))
        .route(paths::TRACE, post(trace))
        .route(paths::CAPTURE, post(capture))
        .with_state(desk)
}

async fn ask<T: Serialize>(
    desk: Desk,
    question: impl FnOnce(oneshot::Sender<T>) -> Question,
) -> Result<Json<T>, StatusCode> {
    put(desk, question).await.map(Json)
}

async fn trace(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<TraceRequest>,
) -> Response {
    let question = |sender| Question::Trace(request, peer, sender);
    stream(put(desk, question).await, "application/x-ndjson")
}

async fn capture(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<CaptureRequest>,
) -> Response {
    let question = |sender| Question::Capture(request, peer, sender);
    stream(put(desk, question).await, "application/x-pcapng")
}

async fn revoke(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<RevokeRequest>,
) -> Response {
    operate(desk, peer, Request::Revoke(request)).await
}

async fn reinit(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<ReinitRequest>,
) -> Response {
    operate(desk, peer, Request::Reinit(request)).await
}

async fn drain(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<DrainRequest>,
) -> Response {
    operate(desk, peer, Request::Drain(request)).await
}

async fn undrain(State(desk): State<Desk>, ConnectInfo(peer): ConnectInfo<Peer>) -> Response {
    operate(desk, peer, Request::Undrain).await
}

/// Has something changed, by whoever may.
async fn operate(desk: Desk, peer: Peer, request: Request) -> Response {
    if !peer.may_operate(&desk.operators) {
        tracing::warn!(uid = peer.uid, pid = peer.pid, ?request, "not an operator's request");
        let text = "only root may do that, and who stands under api.operators in hearthd's YAML";
        return Refused::Forbidden(text.into()).into_response();
    }
    match put(desk, |sender| Question::Operate(request, peer, sender)).await {
        Ok(Ok(begun)) => Json(begun).into_response(),
        Ok(Err(refused)) => refused.into_response(),
        Err(status) => status.into_response(),
    }
}

fn stream(answer: Result<Result<Inlet, Refused>, StatusCode>, kind: &'static str) -> Response {
    match answer {
        Ok(Ok(inlet)) => ([(CONTENT_TYPE, kind)], Body::new(inlet)).into_response(),
        Ok(Err(refused)) => refused.into_response(),
        Err(status) => status.into_response(),
    }
}

/// Puts a question to the control thread and waits for the answer.
async fn put<T>(
    desk: Desk,
    question: impl FnOnce(oneshot::Sender<T>) -> Question,
) -> Result<T, StatusCode> {
    let (sender, answer) = oneshot::channel();
    desk.questions.try_send(question(sender)).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    desk.waker.wake();
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        _ => Err(StatusCode::GATEWAY_TIMEOUT),
    }
}

/// Makes the socket, mode 0660. One that a daemon left behind is replaced; one that a living
/// daemon listens on is not.
fn bind(socket: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::net::{UnixListener, UnixStream};
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", socket.display()));
    if let Some(folder) = socket.parent() {
        fs::create_dir_all(folder).map_err(named)?;
    }
    if UnixStream::connect(socket).is_ok() {
        return Err(named(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another hearthd listens here; give this one an api.socket of its own",
        )));
    }
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(named)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o660)).map_err(named)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes the socket file when the daemon ends.
#[derive(Debug)]
pub struct SocketFile(pub PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_root_and_those_of_yaml() {
        let peer = |uid, gid| Peer { uid: Some(uid), gid: Some(gid), pid: None };
        let operators = Operators { uids: vec![1000], gids: vec![4] };
        assert!(peer(0, 9).may_operate(&Operators::default()));
        assert!(peer(1000, 9).may_operate(&operators) && peer(7, 4).may_operate(&operators));
        assert!(!peer(7, 9).may_operate(&operators) && !peer(4, 1000).may_operate(&operators));
        // Who can't be told is nobody, and the root group is not root.
        let nobody = Peer { uid: None, gid: None, pid: None };
        assert!(!nobody.may_operate(&operators) && !peer(7, 0).may_operate(&operators));
    }
}
