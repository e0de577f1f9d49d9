//! `hearth hac export-keys`: the keys of SAs, for reading captures.
//!
//! Off unless YAML switches it on, for operators only, and told in the log each time: whoever has the
//! keys can read and forge what their mobile nodes send.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hearth_api::keys::{DirectionKeys, ExportKeys, KeyFile, SaKeys, Secret, VERSION};
use hearth_api::server::{Peer, Refused};
use hearth_wire::directory::{DirectionKeys as Keys, SaRecord};
use hearth_wire::{MobileNodeId, Spi};
use tracing::{error, warn};
use zeroize::Zeroizing;

use super::{Desk, leases};
use crate::directory::Revoke;

/// Octets of one SA in JSON at most: an mn-id may have 253, and keys are at most 44, in hex.
const SA_LENGTH: usize = 1024;

pub(super) async fn keys(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<ExportKeys>,
) -> Result<Response, Refused> {
    desk.operator(&peer, "export keys")?;
    if !desk.key_export {
        let text = "keys are not given away here; set admin.key_export to true in hearth-hac's \
                    YAML and restart it, if they are to be";
        return Err(Refused::Forbidden(text.into()));
    }
    let (which, none) = match request {
        ExportKeys::Spi(spi) => {
            let checked = Spi::new(spi)
                .map_err(|_| Refused::Request(format!("{spi} is no SPI; 1 to 268435455")))?;
            (Revoke::Spi(checked), format!("no SA has SPI {spi}"))
        }
        ExportKeys::MnId(mn_id) => {
            let checked =
                MobileNodeId::new(&mn_id).map_err(|error| Refused::Request(error.to_string()))?;
            (Revoke::Node(checked), format!("{mn_id} has no SA"))
        }
    };
    let read = move |shared: &crate::connection::Shared, _: &_| shared.directory.records(&which);
    let records = leases::off(desk.shared, read).await?;
    if records.is_empty() {
        return Err(Refused::Unknown(none));
    }
    for record in &records {
        let (spi, mn_id) = (record.spi.get(), record.mn_id.as_str());
        warn!(uid = peer.uid, pid = peer.pid, spi, mn_id, "the keys of an SA were given away");
    }
    let file = KeyFile { version: VERSION, sas: records.iter().map(of).collect() };
    // As long as it gets, so that no copy of a part stays behind.
    let mut json = Zeroizing::new(Vec::with_capacity(SA_LENGTH * (1 + file.sas.len())));
    if let Err(error) = serde_json::to_writer(&mut *json, &file) {
        error!(%error, "keys can't be written as JSON");
        return Err(Refused::Fault("the keys can't be written as JSON; the log says why".into()));
    }
    Ok(([(CONTENT_TYPE, "application/json")], Bytes::from_owner(json)).into_response())
}

fn of(record: &SaRecord) -> SaKeys {
    let keys = |keys: &Keys| DirectionKeys {
        ikey: Secret::new(keys.integrity()),
        ekey: Secret::new(keys.encryption()),
    };
    let home_addresses =
        [Some(record.home_address.into()), record.ipv4_home_address.map(Into::into)];
    SaKeys {
        spi: record.spi.get(),
        mn_id: record.mn_id.to_string(),
        suite: record.suite.name().into(),
        ha_address: record.ha_address,
        home_addresses: home_addresses.into_iter().flatten().collect(),
        mn_to_ha: keys(&record.mn_to_ha),
        ha_to_mn: keys(&record.ha_to_mn),
    }
}
