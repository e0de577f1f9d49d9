//! `hearth hac revoke`: SAs that end at an operator's word.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use hearth_api::hac::{Revoke as Request, Revoked};
use hearth_api::server::{Peer, Refused};
use hearth_wire::{MobileNodeId, Spi};
use tracing::info;

use super::Desk;
use crate::directory::{Revoke, RevokeError};

pub(super) async fn revoke(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<Request>,
) -> Result<Json<Revoked>, Refused> {
    desk.operator(&peer, "revoke")?;
    let which = match request {
        Request::Spi(spi) => Spi::new(spi)
            .map(Revoke::Spi)
            .map_err(|_| Refused::Request(format!("{spi} is no SPI; 1 to 268435455")))?,
        Request::MnId(mn_id) => MobileNodeId::new(&mn_id)
            .map(Revoke::Node)
            .map_err(|error| Refused::Request(error.to_string()))?,
        Request::Realm(realm) => Revoke::Realm(realm.into()),
    };
    let realm = desk.shared.realm.get();
    let unknown = match &which {
        Revoke::Spi(_) => Some("no SA has this SPI".to_owned()),
        Revoke::Node(mn_id) => realm
            .subscribers
            .find(mn_id)
            .is_none()
            .then(|| format!("{mn_id} has no SA, and is no subscriber")),
        Revoke::Realm(_) => None,
    };
    let words = match &which {
        Revoke::Spi(spi) => format!("SPI {}", spi.get()),
        Revoke::Node(mn_id) => mn_id.to_string(),
        Revoke::Realm(realm) => format!("realm {realm:?}"),
    };
    let revoked = desk.shared.directory.revoke(which).await.map_err(|error| match error {
        RevokeError::Store => Refused::Fault("the store failed; the log says why".into()),
        RevokeError::Busy => Refused::Busy("too much waits for the store; try again".into()),
    })?;
    if let Some(words) = unknown.filter(|_| revoked == 0) {
        return Err(Refused::Unknown(words));
    }
    info!(uid = peer.uid, pid = peer.pid, which = words, revoked, "revoked");
    Ok(Json(Revoked { revoked: revoked as u64 }))
}
