//! `hearth hac reload`.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use hearth_api::hac::Reloaded as Answer;
use hearth_api::server::{Peer, Refused};
use tracing::info;

use super::Desk;
use crate::reload::Reloaded;

pub(super) async fn reload(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
) -> Result<Json<Answer>, Refused> {
    desk.operator(peer, "reload")?;
    info!(uid = peer.uid, pid = peer.pid, "an operator has the YAML read again");
    let done = desk.reloader.reload().await.map_err(Refused::Request)?;
    let Reloaded { applied, needs_restart, subscribers, revoked, waiting } = done;
    let subscribers = subscribers as u64;
    Ok(Json(Answer { applied, needs_restart, subscribers, revoked, waiting }))
}
