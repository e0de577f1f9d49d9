//! The API: HTTP with JSON over a Unix socket, and over mutual TLS where YAML says so.
//!
//! A thread of its own with a small runtime; each request becomes a question to the control
//! thread, which owns the state and answers when it next looks.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Path as UrlPath, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use crossbeam_channel::{Receiver, Sender, bounded};
use hearth_api::events::MobileNodeRow;
use hearth_api::follow::{CaptureRequest, TraceRequest};
use hearth_api::forwarding::{NeighbourRow, RouteRow};
use hearth_api::home_link::{HomeAgentRow, HomeLinkRow};
use hearth_api::metrics::Sheet;
use hearth_api::operate::{
    Begun, ClearNeighboursRequest, DrainRequest, GroupRow, ReinitRequest, RevokeRequest,
};
use hearth_api::remote::{self, Names};
use hearth_api::scrape;
use hearth_api::server::{Operators, bind};
pub use hearth_api::server::{Peer, Refused, SocketFile};
use hearth_api::status::StatusRow;
use hearth_api::tls::FileError;
use hearth_api::{BindingRow, CounterRow, DropRow, ListRequest, PortRow, SaRow, WorkerRow, paths};
use hearth_wire::MobileNodeId;
use rustls::ServerConfig;
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::sync::{oneshot, watch};

use crate::api_config::Api;
use crate::chronicle::Listening;
use crate::config::Config;
use crate::dashboard;
use crate::event_stream;
use crate::operate::Request;
use crate::outlet::Inlet;
use crate::pages::{Page, list, wanted};
use crate::wake::Waker;

/// A question to the control thread; the answer goes back through the sender inside.
#[derive(Debug)]
pub enum Question {
    /// The whole at a glance.
    Status(oneshot::Sender<StatusRow>),
    /// Some bindings, from this place on.
    Bindings(usize, oneshot::Sender<Page<BindingRow>>),
    /// Some SAs, from this place on.
    Sas(usize, oneshot::Sender<Page<SaRow>>),
    /// Some routes, from this place on.
    Routes(usize, oneshot::Sender<Page<RouteRow>>),
    /// All neighbours.
    Neighbours(oneshot::Sender<Result<Vec<NeighbourRow>, Refused>>),
    /// All ports.
    Ports(oneshot::Sender<Vec<PortRow>>),
    /// All workers.
    Workers(oneshot::Sender<Vec<WorkerRow>>),
    /// All drop reasons.
    Drops(oneshot::Sender<Vec<DropRow>>),
    /// All counters that are no drops.
    Counters(oneshot::Sender<Vec<CounterRow>>),
    /// Everything as metrics.
    Metrics(oneshot::Sender<Sheet>),
    /// All multicast listeners.
    Groups(oneshot::Sender<Vec<GroupRow>>),
    /// All home prefixes.
    HomeLinks(oneshot::Sender<Vec<HomeLinkRow>>),
    /// All other home agents.
    HomeAgents(oneshot::Sender<Vec<HomeAgentRow>>),
    /// What happens from now on.
    Events(oneshot::Sender<Result<Listening, Refused>>),
    /// The life of a mobile node.
    MobileNode(MobileNodeId, oneshot::Sender<Result<MobileNodeRow, Refused>>),
    /// Something that changes something.
    Operate(Request, Peer, oneshot::Sender<Result<Begun, Refused>>),
    /// A trace, as a stream of lines.
    Trace(TraceRequest, Peer, oneshot::Sender<Result<Inlet, Refused>>),
    /// A capture, as a stream of a pcapng file's octets.
    Capture(CaptureRequest, Peer, oneshot::Sender<Result<Inlet, Refused>>),
}

/// Questions that wait; a client beyond them gets 503.
const BACKLOG: usize = 64;

/// How long the control thread may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where questions are put to the control thread.
#[derive(Clone)]
pub(crate) struct Desk {
    questions: Sender<Question>,
    waker: Waker,
    operators: Arc<Operators>,
}

/// Starts to listen on the API's socket; questions come out of the receiver, and each wakes `waker`.
///
/// # Errors
/// The socket can't be made: another daemon listens on it, or its folder can't be written. The
/// metrics' address is in use.
pub fn serve(config: &Config, waker: Waker) -> io::Result<Receiver<Question>> {
    let Config { api, metrics, dashboard, .. } = config;
    let (questions, receiver) = bounded(BACKLOG);
    let taken = "another hearthd listens here; give this one an api.socket of its own";
    let listener = bind(&api.socket.value, taken)?;
    let scraped = metrics.listen.as_ref().map(|listen| scrape::listen(listen.value)).transpose()?;
    let shown = dashboard.listen.as_ref().map(|listen| scrape::listen(listen.value)).transpose()?;
    let remote = listen(api)?;
    let operators = Arc::new(api.operators.clone());
    let desk = Desk { questions, waker, operators };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("api".into()).spawn(move || {
        let ended = runtime.block_on(async move {
            if let Some(listener) = scraped {
                let desk = desk.clone();
                let answer = move || {
                    let desk = desk.clone();
                    async move { put(&desk, Question::Metrics).await }
                };
                tokio::spawn(scrape::serve(listener, answer));
            }
            if let Some(listener) = shown {
                let router = dashboard::page().merge(looking()).with_state(desk.clone());
                tokio::spawn(dashboard::serve(listener, router));
            }
            let router = router(desk);
            if let Some(Remote { listener, settings, names, following }) = remote {
                tokio::spawn(following);
                tokio::spawn(remote::serve(listener, settings, names, router.clone()));
            }
            let service = router.into_make_service_with_connect_info::<Peer>();
            axum::serve(UnixListener::from_std(listener)?, service).await
        });
        if let Err(error) = ended {
            tracing::error!(%error, "the API ended");
        }
    })?;
    Ok(receiver)
}

/// The API for other machines, ready to begin.
struct Remote<F> {
    listener: TcpListener,
    settings: watch::Receiver<Arc<ServerConfig>>,
    names: Names,
    /// Keeps the settings those of the files.
    following: F,
}

/// Takes the address for other machines, where YAML wants one.
fn listen(api: &Api) -> io::Result<Option<Remote<impl Future<Output = ()> + use<>>>> {
    let (Some(listen), Some(tls), Some(files)) = (&api.listen, &api.tls, &api.files) else {
        return Ok(None);
    };
    let wrong =
        |error: FileError| io::Error::other(format!("api.tls.{}: {}", error.key, error.message));
    let pem = files.read().map_err(wrong)?;
    let (sender, settings) = watch::channel(files.http_server(&pem).map_err(wrong)?);
    Ok(Some(Remote {
        listener: scrape::listen(listen.value)?,
        settings,
        names: tls.value.names(),
        following: files.clone().follow(pem, sender),
    }))
}

fn router(desk: Desk) -> axum::Router {
    looking()
        .route(paths::REVOKE, post(revoke))
        .route(paths::REINIT, post(reinit))
        .route(paths::DRAIN, post(drain))
        .route(paths::UNDRAIN, post(undrain))
        .route(paths::CLEAR_NEIGHBOURS, post(clear_neighbours))
        .route(paths::TRACE, post(trace))
        .route(paths::CAPTURE, post(capture))
        .with_state(desk)
}

/// What changes nothing.
fn looking() -> axum::Router<Desk> {
    axum::Router::new()
        .route(paths::STATUS, get(|State(desk): State<Desk>| ask(desk, Question::Status)))
        .route(paths::BINDINGS, get(bindings))
        .route(paths::SAS, get(sas))
        .route(paths::ROUTES, get(routes))
        .route(paths::NEIGHBOURS, get(neighbours))
        .route(paths::PORTS, get(|State(desk): State<Desk>| ask(desk, Question::Ports)))
        .route(paths::WORKERS, get(|State(desk): State<Desk>| ask(desk, Question::Workers)))
        .route(paths::DROPS, get(|State(desk): State<Desk>| ask(desk, Question::Drops)))
        .route(paths::COUNTERS, get(|State(desk): State<Desk>| ask(desk, Question::Counters)))
        .route(paths::METRICS, get(metrics))
        .route(paths::GROUPS, get(|State(desk): State<Desk>| ask(desk, Question::Groups)))
        .route(paths::HOME_LINKS, get(|State(desk): State<Desk>| ask(desk, Question::HomeLinks)))
        .route(paths::HOME_AGENTS, get(|State(desk): State<Desk>| ask(desk, Question::HomeAgents)))
        .route(paths::EVENTS, get(events))
        .route(&format!("{}/{{mn_id}}", paths::MOBILE_NODES), get(mobile_node))
}

async fn ask<T: Serialize>(
    desk: Desk,
    question: impl FnOnce(oneshot::Sender<T>) -> Question,
) -> Result<Json<T>, StatusCode> {
    put(&desk, question).await.map(Json)
}

async fn bindings(
    State(desk): State<Desk>,
    request: Result<Query<ListRequest>, QueryRejection>,
) -> Response {
    match request {
        Ok(Query(request)) => list(desk, request, Question::Bindings).await,
        Err(error) => no_query(&error).into_response(),
    }
}

async fn sas(
    State(desk): State<Desk>,
    request: Result<Query<ListRequest>, QueryRejection>,
) -> Response {
    match request {
        Ok(Query(request)) => list(desk, request, Question::Sas).await,
        Err(error) => no_query(&error).into_response(),
    }
}

async fn routes(
    State(desk): State<Desk>,
    request: Result<Query<ListRequest>, QueryRejection>,
) -> Response {
    match request {
        Ok(Query(request)) => list(desk, request, Question::Routes).await,
        Err(error) => no_query(&error).into_response(),
    }
}

async fn neighbours(
    State(desk): State<Desk>,
    request: Result<Query<ListRequest>, QueryRejection>,
) -> Response {
    let request = match request {
        Ok(Query(request)) => request,
        Err(error) => return no_query(&error).into_response(),
    };
    match put(&desk, Question::Neighbours).await {
        Ok(Ok(rows)) => Json(wanted(&request, rows)).into_response(),
        Ok(Err(refused)) => refused.into_response(),
        Err(status) => status.into_response(),
    }
}

fn no_query(error: &QueryRejection) -> Refused {
    Refused::Request(format!("{}; a list takes search=TEXT and count=NUMBER", error.body_text()))
}

async fn metrics(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    scrape::page(&headers, put(&desk, Question::Metrics).await)
}

async fn events(State(desk): State<Desk>) -> Response {
    match put(&desk, Question::Events).await {
        Ok(Ok(listening)) => event_stream::answer(listening),
        Ok(Err(refused)) => refused.into_response(),
        Err(status) => status.into_response(),
    }
}

async fn mobile_node(State(desk): State<Desk>, UrlPath(mn_id): UrlPath<String>) -> Response {
    let Ok(mn_id) = MobileNodeId::new(&mn_id) else {
        return Refused::Request("that is no mn-id: a NAI like mn1@example.net".into())
            .into_response();
    };
    match put(&desk, |sender| Question::MobileNode(mn_id, sender)).await {
        Ok(Ok(row)) => Json(row).into_response(),
        Ok(Err(refused)) => refused.into_response(),
        Err(status) => status.into_response(),
    }
}

async fn trace(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<TraceRequest>,
) -> Response {
    let question = |sender| Question::Trace(request, peer, sender);
    stream(put(&desk, question).await, "application/x-ndjson")
}

async fn capture(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<CaptureRequest>,
) -> Response {
    let question = |sender| Question::Capture(request, peer, sender);
    stream(put(&desk, question).await, "application/x-pcapng")
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

async fn clear_neighbours(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<ClearNeighboursRequest>,
) -> Response {
    operate(desk, peer, Request::ClearNeighbours(request)).await
}

/// Has something changed, by whoever may.
async fn operate(desk: Desk, peer: Peer, request: Request) -> Response {
    if !peer.may_operate(&desk.operators) {
        // Whoever can open the socket can make this line: nothing of what he wrote is in it.
        let asked = request.name();
        let certificate = peer.certificate();
        tracing::warn!(
            uid = peer.uid,
            pid = peer.pid,
            certificate,
            asked,
            "not an operator's request"
        );
        let text = "only root may do that, and who stands under api.operators in hearthd's YAML";
        return Refused::Forbidden(text.into()).into_response();
    }
    match put(&desk, |sender| Question::Operate(request, peer, sender)).await {
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
pub(crate) async fn put<T>(
    desk: &Desk,
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
