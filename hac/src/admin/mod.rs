//! The admin socket: HTTP with JSON for operators ([`hearth_api::hac`]).
//!
//! Whoever may open the socket may look; only root, this process's own user and the operators of
//! YAML may change something, by the peer credentials of the connection.

mod keys;
pub(crate) mod leases;
mod radius;
mod reload;
mod revoke;
mod subscribers;

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use hearth_api::CounterRow;
use hearth_api::hac::{HomeAgentRow, Status, paths};
use hearth_api::paths::METRICS;
use hearth_api::scrape;
use hearth_api::server::{self, Operators, Peer, Refused, SocketFile};
use tokio::net::UnixListener;
use tracing::{error, warn};

use crate::config::AdminConfig;
use crate::connection::Shared;
use crate::counters::Counter;
use crate::listener::Admission;
use crate::metrics;
use crate::reload::Reloader;
use crate::subscribers::registry::Registry;

pub(crate) use subscribers::{Ended, end};

/// What the answers come from.
#[derive(Clone)]
pub(crate) struct Desk {
    registry: Arc<Registry>,
    pub(crate) shared: Arc<Shared>,
    admission: Arc<Admission>,
    reloader: Arc<Reloader>,
    operators: Arc<Operators>,
    /// Whether operators may have keys.
    key_export: bool,
}

impl Desk {
    /// Refuses a change by others than operators. `what` is logged.
    pub(crate) fn operator(&self, peer: &Peer, what: &str) -> Result<(), Refused> {
        if peer.may_operate(&self.operators) {
            return Ok(());
        }
        warn!(uid = peer.uid, pid = peer.pid, what, "not an operator's request");
        let text = "only root may do that, hearth-hac's own user, and who stands under \
                    admin.operators in its YAML";
        Err(Refused::Forbidden(text.into()))
    }
}

/// The socket, before anything is served on it.
#[derive(Debug)]
pub struct Admin {
    listener: UnixListener,
    operators: Operators,
    key_export: bool,
    _file: SocketFile,
}

impl Admin {
    /// Makes the socket. To be called within a tokio runtime.
    ///
    /// # Errors
    /// It can't be made, or another HAC listens there.
    pub fn bind(config: AdminConfig) -> io::Result<Self> {
        let AdminConfig { socket, mut operators, key_export } = config;
        let taken = "another hearth-hac listens here; give this one an admin.socket of its own";
        let listener = UnixListener::from_std(server::bind(&socket, taken)?)?;
        operators.uids.push(rustix::process::geteuid().as_raw());
        Ok(Self { listener, operators, key_export, _file: SocketFile(socket) })
    }

    /// Serves until the task is cancelled.
    pub async fn serve(
        self,
        (shared, admission, registry, reloader): (
            Arc<Shared>,
            Arc<Admission>,
            Arc<Registry>,
            Arc<Reloader>,
        ),
    ) {
        let Self { listener, operators, key_export, _file } = self;
        let operators = Arc::new(operators);
        let desk = Desk { registry, shared, admission, reloader, operators, key_export };
        let service = router(desk).into_make_service_with_connect_info::<Peer>();
        if let Err(error) = axum::serve(listener, service).await {
            error!(%error, "the admin socket ended");
        }
    }
}

fn router(desk: Desk) -> axum::Router {
    axum::Router::new()
        .route(paths::STATUS, get(status))
        .route(paths::LEASES, post(leases::leases))
        .route(paths::KEYS, post(keys::keys))
        .route(paths::RELOAD, post(reload::reload))
        .route(paths::REVOKE, post(revoke::revoke))
        .route(METRICS, get(scraped))
        .merge(subscribers::routes())
        .with_state(desk)
}

async fn scraped(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    scrape::page(&headers, metrics::sheet(desk.shared, desk.admission).await)
}

async fn status(State(desk): State<Desk>) -> Result<Json<Status>, Refused> {
    let shared = &desk.shared;
    let counters = Counter::ALL.into_iter().map(|counter| CounterRow {
        counter: counter.name().into(),
        count: shared.counters.get(counter),
        description: counter.description().into(),
    });
    let busy = || Refused::Busy("too much waits for the store; try again".into());
    let realm = shared.realm.get();
    let loads = shared.directory.loads().await.ok_or_else(busy)?;
    let home_agents = realm.home_agents.iter().zip(loads).map(|(agent, load)| HomeAgentRow {
        name: agent.name.to_string(),
        region: agent.region.as_deref().map(Into::into),
        alive: load.alive,
        sas: load.sas.into(),
        room: agent.room().into(),
    });
    Ok(Json(Status {
        open_connections: desk.admission.open() as u64,
        subscribers: realm.subscribers.len() as u64,
        home_agents: home_agents.collect(),
        leases: leases::counts(shared.clone()).await?,
        radius: radius::servers(shared),
        counters: counters.chain(radius::rows(shared)).collect(),
    }))
}
