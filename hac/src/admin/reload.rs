//! `hearth hac reload`.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use hearth_api::hac::Reloaded as Answer;
use hearth_api::server::{Peer, Refused};
use tracing::info;

use super::Desk;
use crate::reload::Reloaded;
use crate::subscribers::Difference;

pub(super) async fn reload(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
) -> Result<Json<Answer>, Refused> {
    desk.operator(&peer, "reload")?;
    info!(uid = peer.uid, pid = peer.pid, "an operator has the YAML read again");
    let done = desk.reloader.reload().await.map_err(Refused::Request)?;
    let Reloaded { applied, needs_restart, read_anew, subscribers, of, revoked, waiting } = done;
    let Difference { added, changed, removed } = of.difference;
    Ok(Json(Answer {
        applied,
        needs_restart,
        read_anew,
        subscribers: subscribers as u64,
        added: added as u64,
        changed: changed as u64,
        removed: removed as u64,
        left_out: of.left_out.named,
        left_out_count: of.left_out.count as u64,
        revoked,
        waiting,
    }))
}
