//! Subscribers over the admin socket ([`hearth_api::subscribers`]).

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hearth_api::server::{Peer, Refused};
use hearth_api::subscribers::{Done, Name, PageRequest, paths};
use hearth_wire::MobileNodeId;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::Desk;
use crate::subscribers::registry::{ChangeError, Mode, Registry};

/// Octets of a request at most: a million subscribers.
const MOST_OCTETS: usize = 512 << 20;
/// Rows of a page at most.
const MOST_ROWS: usize = 1000;

pub(super) fn routes() -> axum::Router<Desk> {
    let limit = DefaultBodyLimit::max(MOST_OCTETS);
    axum::Router::new()
        .route(paths::LIST, post(list))
        .route(paths::SHOW, post(show))
        .route(paths::ADD, post(add))
        .route(paths::SET, post(set))
        .route(paths::REMOVE, post(remove))
        .route(paths::IMPORT, post(import).layer(limit))
        .route(paths::IMPORT_OVER, post(import_over).layer(limit))
        .route(paths::EXPORT, post(export))
        .route(paths::REWRAP, post(rewrap))
}

impl From<ChangeError> for Refused {
    fn from(error: ChangeError) -> Self {
        let text = error.to_string();
        match error {
            ChangeError::Wrong(_) | ChangeError::NoStore => Self::Request(text),
            ChangeError::Unknown(_) | ChangeError::Nobody(_) => Self::Unknown(text),
            ChangeError::Conflict(_) => Self::Busy(text),
            ChangeError::Store(_) | ChangeError::Entropy => Self::Fault(text),
        }
    }
}

type Answer<T> = Result<Json<T>, Refused>;

/// Does `work` where it may take its time: it reads and writes files.
async fn off<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChangeError> + Send + 'static,
) -> Result<T, Refused> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(given_up()),
    }
}

fn given_up() -> Refused {
    Refused::Fault("the request was given up".into())
}

/// What a request says; a key may stand in it.
fn text_of(body: Bytes) -> Result<Zeroizing<String>, Refused> {
    match String::from_utf8(body.into()) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(Refused::Request("not UTF-8".into()))
        }
    }
}

impl Desk {
    /// Changes subscribers, then ends the SAs of those that `work` names, and says how many these were:
    /// both, also where the operator hangs up meanwhile.
    async fn change<T: Send + 'static>(
        self,
        work: impl FnOnce(&Registry) -> Result<(T, Vec<MobileNodeId>), ChangeError> + Send + 'static,
    ) -> Result<(T, Ended), Refused> {
        let both = async move {
            let registry = self.registry.clone();
            let (told, stale) = off(move || work(&registry)).await?;
            Ok((told, end(&self.shared.directory, stale).await))
        };
        tokio::spawn(both).await.unwrap_or_else(|_| Err(given_up()))
    }
}

/// What came of ending SAs.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// SAs that ended.
    pub(crate) revoked: u64,
    /// Mobile nodes whose SAs end as soon as the store works.
    pub(crate) waiting: u64,
}

/// Ends the SAs of subscribers that are gone or have become others.
pub(crate) async fn end(
    directory: &crate::directory::Directory,
    stale: Vec<MobileNodeId>,
) -> Ended {
    let mut done = Ended::default();
    for mn_id in stale {
        let text = mn_id.to_string();
        match directory.end(mn_id).await {
            Ok(ended) => done.revoked += ended as u64,
            Err(error) => {
                done.waiting += 1;
                warn!(mn_id = text, ?error, "its SAs end as soon as the store works");
            }
        }
    }
    done
}

async fn list(State(desk): State<Desk>, Json(request): Json<PageRequest>) -> Response {
    let PageRequest { after, count } = request;
    let page = off(move || desk.registry.page(&after, count.min(MOST_ROWS))).await;
    page.map(Json).into_response()
}

async fn show(State(desk): State<Desk>, Json(Name { mn_id }): Json<Name>) -> Response {
    off(move || desk.registry.show(&mn_id)).await.map(Json).into_response()
}

async fn add(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Bytes,
) -> Answer<Done> {
    put(desk, peer, body, Mode::Add).await
}

async fn set(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Bytes,
) -> Answer<Done> {
    put(desk, peer, body, Mode::Set).await
}

/// Of a subscriber's JSON, whose it is.
#[derive(serde::Deserialize)]
struct Whose {
    mn_id: String,
}

async fn put(desk: Desk, peer: Peer, body: Bytes, mode: Mode) -> Answer<Done> {
    desk.operator(&peer, "subscriber")?;
    let text = text_of(body)?;
    let work = move |registry: &Registry| {
        let stale = registry.put(&text, mode)?;
        let mn_id =
            serde_json::from_str(&text).map_or_else(|_| String::new(), |Whose { mn_id }| mn_id);
        info!(uid = peer.uid, pid = peer.pid, ?mode, mn_id, "an operator has changed a subscriber");
        Ok(((), stale))
    };
    let ((), Ended { revoked, waiting }) = desk.change(work).await?;
    Ok(Json(Done { subscribers: 1, revoked, waiting }))
}

async fn remove(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(Name { mn_id }): Json<Name>,
) -> Answer<Done> {
    desk.operator(&peer, "subscriber remove")?;
    info!(uid = peer.uid, pid = peer.pid, mn_id, "an operator removes a subscriber");
    let work = move |registry: &Registry| Ok(((), registry.remove(&mn_id)?));
    let ((), Ended { revoked, waiting }) = desk.change(work).await?;
    Ok(Json(Done { subscribers: 1, revoked, waiting }))
}

async fn import(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Bytes,
) -> Answer<Done> {
    import_all(desk, peer, body, Mode::Add).await
}

async fn import_over(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Bytes,
) -> Answer<Done> {
    import_all(desk, peer, body, Mode::Replace).await
}

async fn import_all(desk: Desk, peer: Peer, body: Bytes, mode: Mode) -> Answer<Done> {
    desk.operator(&peer, "subscriber import")?;
    let text = text_of(body)?;
    let work = move |registry: &Registry| {
        let (count, stale) = registry.import(&text, mode)?;
        info!(uid = peer.uid, pid = peer.pid, count, "an operator has imported subscribers");
        Ok((count, stale))
    };
    let (count, Ended { revoked, waiting }) = desk.change(work).await?;
    Ok(Json(Done { subscribers: count as u64, revoked, waiting }))
}

async fn export(State(desk): State<Desk>, ConnectInfo(peer): ConnectInfo<Peer>) -> Response {
    if let Err(refused) = desk.operator(&peer, "subscriber export") {
        return refused.into_response();
    }
    info!(uid = peer.uid, pid = peer.pid, "an operator exports subscribers");
    match off(move || desk.registry.export()).await {
        Ok(lines) => ([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn rewrap(State(desk): State<Desk>, ConnectInfo(peer): ConnectInfo<Peer>) -> Answer<Done> {
    desk.operator(&peer, "subscriber rewrap")?;
    let count = off(move || desk.registry.rewrap()).await?;
    info!(uid = peer.uid, pid = peer.pid, count, "an operator has wrapped keys anew");
    Ok(Json(Done { subscribers: count as u64, revoked: 0, waiting: 0 }))
}
